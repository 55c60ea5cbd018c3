"""Upkeep: the call that a sender wants before it posts alerts, made by a worker and asked for by the clock.

What is owed is derived from the ledger: a lost job is asked for again, and calling twice does no harm.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bridge.adapters import logs
from bridge.adapters.http import Http
from bridge.adapters.ledger import Ledger
from bridge.domain.alert import Webhook
from bridge.domain.delivery import HttpResponse
from bridge.domain.errors import DecodeError
from bridge.sources.base import Confirms

CONFIRM_TOPIC = "confirm"
AGAIN_AFTER_S = 20.0  # doubled with every further call, up to
AGAIN_MAX_S = 600.0
_FOR_A_WHILE = frozenset({408, 425, 429})


@dataclass(slots=True)
class Confirmations:
    """Makes the calls of one process."""

    ledger: Ledger
    sources: Mapping[str, Confirms]
    http: Http
    monotonic: Callable[[], float] = time.monotonic
    _asked: dict[str, tuple[float, float]] = field(default_factory=dict)  # event -> when again, and after how long then

    def topics(self) -> list[str]:
        """A job for every call that is owed and was not asked for lately."""
        if not self.sources:
            return []
        now = self.monotonic()
        owed = self.ledger.callbacks_owed({name: one.confirmations for name, one in self.sources.items()})
        asked = {event: self._asked.get(event, (now, AGAIN_AFTER_S)) for event in owed}
        due = [event for event, (again_at, _) in asked.items() if again_at <= now]
        self._asked = asked | {event: (now + asked[event][1], min(2 * asked[event][1], AGAIN_MAX_S)) for event in due}
        return [f"{CONFIRM_TOPIC}:{event}" for event in due]

    def confirm(self, event: str) -> None:
        """Make the call of one event and write down how it ended; what may go better later is left for another time."""
        held = self.ledger.stored(event)
        if held is None or held.body is None or held.reason is not None or held.source not in self.sources:
            return
        webhook = Webhook(source=held.source, headers=held.headers, body=held.body, received_at=held.received_at)
        try:
            request = self.sources[held.source].confirmation(webhook)
        except DecodeError:
            request = None
        if request is None:
            self.ledger.event_remarked(event, "it asks for no call that may be made")
            return
        answer = self.http.send(request)
        if isinstance(answer, HttpResponse) and answer.status == 200:
            self.ledger.event_remarked(event, "the subscription was confirmed")
            logs.get().info(logs.SUBSCRIPTION_CONFIRMED, source=held.source, event_id=event)
            return
        detail = f"HTTP {answer.status}" if isinstance(answer, HttpResponse) else answer.detail
        if isinstance(answer, HttpResponse) and answer.status < 500 and answer.status not in _FOR_A_WHILE:
            self.ledger.event_remarked(event, f"the subscription could not be confirmed: {detail}")
        logs.get().warning(logs.SUBSCRIPTION_FAILED, source=held.source, event_id=event, reason=detail)
