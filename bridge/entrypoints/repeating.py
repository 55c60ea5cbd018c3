"""A thread that does the same thing again and again until its process ends."""

import threading
from collections.abc import Callable

from bridge.adapters import logs
from bridge.domain.errors import LedgerUnavailable

STOP_WITHIN_S = 2.0


class Repeating:
    """Calls `do` every `every_s` seconds, first after as long or `at_once`. What fails is logged, and ends nothing."""

    def __init__(self, name: str, do: Callable[[], object], every_s: float, *, at_once: bool = False) -> None:
        """`name` is the thread's, and the task's in the log."""
        self._name, self._do, self._every_s, self._at_once = name, do, every_s, at_once
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """From now on."""
        self._thread.start()

    def stop(self) -> None:
        """The process ends: no further call, and one under way may take STOP_WITHIN_S."""
        self._stop.set()
        if self._thread.ident is not None:  # else no thread was to be had, which is why the process ends
            self._thread.join(timeout=STOP_WITHIN_S)

    def _run(self) -> None:
        if self._at_once:
            self._once()
        while not self._stop.wait(self._every_s):
            self._once()

    def _once(self) -> None:
        try:
            self._do()
        except LedgerUnavailable as error:
            logs.get().error(logs.LEDGER_UNAVAILABLE, reason=str(error))
        except Exception:  # noqa: BLE001 - the outermost frame of the thread
            logs.get().error(logs.TASK_FAILED, task=self._name, exc_info=True)
