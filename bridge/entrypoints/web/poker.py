"""Pokes after commit, from a thread of their own: Redis may be slow or away, a sender never waits for it."""

import threading
from collections.abc import Callable

from bridge.adapters import logs
from bridge.adapters.queue import QueueUnavailable

QUIET_AFTER_FAILURE_S = 1.0
GAP_S = 0.05  # a poke costs a millisecond of Python: in a storm one a gap does for all that came in it


class Poker:
    """Gathers lanes that got something to do and pokes each once."""

    def __init__(self, poke: Callable[[str], None]) -> None:
        self._poke = poke
        self._lanes: set[str] = set()
        self._ready = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="poker", daemon=True)
        self._thread.start()

    def __call__(self, lanes: frozenset[str]) -> None:
        """These lanes have something to do; returns at once."""
        with self._ready:
            self._lanes |= lanes
            self._ready.notify()

    def close(self) -> None:
        """Poke what is left and end."""
        with self._ready:
            self._closed = True
            self._ready.notify()
        self._thread.join(timeout=3.0)

    def _run(self) -> None:
        while True:
            with self._ready:
                while not self._lanes and not self._closed:
                    self._ready.wait()
                lanes, self._lanes = self._lanes, set()
                closed = self._closed
            failed = not self._poke_all(lanes)
            if closed:
                return
            with self._ready:  # after a failure the clock finds these lanes anyway
                self._ready.wait_for(lambda: self._closed, timeout=QUIET_AFTER_FAILURE_S if failed else GAP_S)

    def _poke_all(self, lanes: set[str]) -> bool:
        for lane in sorted(lanes):
            try:
                self._poke(lane)
            except QueueUnavailable as error:
                logs.get().warning(logs.QUEUE_LOST, reason=str(error))
                return False
        return True
