"""Heartbeats: every process writes one into the ledger every ten seconds."""

import threading

from bridge.adapters import logs
from bridge.adapters.ledger import Heartbeat, Ledger
from bridge.domain.errors import LedgerUnavailable

EVERY_S = 10.0


class Pulse:
    """A thread that beats until it is stopped; an orderly stop takes the heartbeat back."""

    def __init__(self, ledger: Ledger, heartbeat: Heartbeat, every_s: float = EVERY_S) -> None:
        self._ledger, self._heartbeat, self._every_s = ledger, heartbeat, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Beat at once and from then on."""
        self._thread.start()

    def stop(self) -> None:
        """The process ends."""
        self._stop.set()
        self._thread.join(timeout=2.0)
        try:
            self._ledger.heartbeat_ended(self._heartbeat.process)
        except LedgerUnavailable as error:
            logs.get().warning(logs.LEDGER_UNAVAILABLE, reason=str(error))

    def _run(self) -> None:
        while True:
            try:
                self._ledger.heartbeat(self._heartbeat)
            except LedgerUnavailable as error:
                logs.get().error(logs.LEDGER_UNAVAILABLE, reason=str(error))
            except Exception:  # noqa: BLE001 - the outermost frame of the thread: who stops beating is taken for dead
                logs.get().error(logs.TASK_FAILED, task="heartbeat", exc_info=True)
            if self._stop.wait(self._every_s):
                return
