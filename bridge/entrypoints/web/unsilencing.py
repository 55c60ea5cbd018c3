"""What a silence hid pages once the silence is over, if nothing was said of it since: most senders report once.

Every web process looks. What both find is settled once, for it has an id as a sender's delivery has.
"""

from datetime import UTC, datetime
from types import MappingProxyType

from bridge.adapters import logs
from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.unsilencing import Over
from bridge.domain.alert import Webhook
from bridge.domain.errors import DecodeError
from bridge.entrypoints.web.receiver import Receiver, heard_at_last

LOOK_EVERY_S = 5.0


class Unsilencing:
    """Looks for silences that ended, and has what they hid received again."""

    def __init__(self, ledger: Ledger, receiver: Receiver) -> None:
        self._ledger, self._receiver = ledger, receiver
        self._done: frozenset[str] = frozenset()  # silences, of those that the next look may find again

    def look(self) -> None:
        """Once. What does not come to its end is found again by the next look. Raises LedgerUnavailable."""
        found = self._ledger.silences_over()
        fresh = [one for one in found.over if one.id not in self._done]
        for silence in fresh:
            self._hear(silence)
        if fresh or found.is_first:
            self._ledger.silences_reached(found.until)
        self._done = frozenset(one.id for one in found.over)

    def _hear(self, silence: Over) -> None:
        for event_id, positions in self._ledger.silence_hid(silence).items():
            now = self._ledger.last_words(event_id, positions)  # the ones before may have taken a while
            if now:
                self._again(silence, event_id, now)

    def _again(self, silence: Over, event_id: str, positions: tuple[int, ...]) -> None:
        about = {"silence": silence.id, "hidden_event": event_id, "alerts": len(positions)}
        stored = self._ledger.stored(event_id)
        if stored is None or stored.body is None or stored.source not in self._receiver.sources:
            reason = "it is not paged: its body is no longer kept, or its source is gone; its next report pages"
            logs.get().warning(logs.SILENCE_OVER, **about, reason=reason)
            return
        headers = MappingProxyType(dict(stored.headers))
        webhook = Webhook(source=stored.source, headers=headers, body=stored.body, received_at=datetime.now(UTC))
        try:
            settled = heard_at_last(self._receiver, webhook, positions, f"silence {silence.id} {event_id}")
        except DecodeError as error:
            logs.get().warning(logs.SILENCE_OVER, **about, reason=f"it is not paged: {error}")
            return
        if not settled.duplicate:
            logs.get().info(logs.SILENCE_OVER, **about, event_id=settled.event_id)
