"""Heartbeats: every process writes one into the ledger every ten seconds."""

from functools import partial

from bridge.adapters import logs
from bridge.adapters.ledger import Heartbeat, Ledger
from bridge.domain.errors import LedgerUnavailable
from bridge.entrypoints.repeating import Repeating

EVERY_S = 10.0


class Pulse:
    """A thread that beats until it is stopped; an orderly stop takes the heartbeat back."""

    def __init__(self, ledger: Ledger, heartbeat: Heartbeat, every_s: float = EVERY_S) -> None:
        self._ledger, self._heartbeat = ledger, heartbeat
        self._beats = Repeating("heartbeat", partial(ledger.heartbeat, heartbeat), every_s, at_once=True)

    def start(self) -> None:
        """Beat at once and from then on."""
        self._beats.start()

    def stop(self) -> None:
        """The process ends."""
        self._beats.stop()
        try:
            self._ledger.heartbeat_ended(self._heartbeat.process)
        except LedgerUnavailable as error:
            logs.get().warning(logs.LEDGER_UNAVAILABLE, reason=str(error))
