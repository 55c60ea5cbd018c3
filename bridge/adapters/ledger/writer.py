"""Group commit: one thread per web process prepares the waiting webhooks and writes them together, in one transaction.

Preparing (reading, rules, rendering) happens here too: a hundred request threads that all compute only take the
interpreter lock from one another. While another process has the ledger's lock, the next webhooks are prepared, and what
is ready once the lock is ours goes along. Durability costs one fsync per transaction, not per webhook. A batch that
fails is written again one by one, so that one webhook never spoils its neighbours.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from bridge.adapters import logs
from bridge.adapters.files import Meanwhile
from bridge.adapters.ledger.receipts import Receipt
from bridge.adapters.ledger.settle import Settled
from bridge.domain.errors import LedgerUnavailable

BATCH_MAX = 64
ANSWER_WITHIN_S = 10.0

_LOCKED, _END = object(), object()  # in the line of the waiting: the lock is ours; nothing comes behind this

Prepare = Callable[[], Receipt]


class _Slip:
    """One webhook on its way: the request thread waits on `done`, a bare lock, until the writer has answered."""

    __slots__ = ("answer", "done", "error", "given_up", "prepare", "receipt")

    def __init__(self, prepare: Prepare) -> None:
        self.prepare = prepare
        self.receipt: Receipt | None = None
        self.answer: Settled | None = None
        self.error: BaseException | None = None
        self.given_up = False
        self.done = threading.Lock()
        self.done.acquire()

    def settle(self, answer: Settled | None, error: BaseException | None = None) -> None:
        self.answer, self.error = answer, error
        self.done.release()


class Write(Protocol):
    """Commits a batch of receipts, with what `more` adds once the ledger is ours; `meanwhile` until then."""

    def __call__(
        self, batch: Sequence[Receipt], more: Callable[[], Sequence[Receipt]], meanwhile: Meanwhile
    ) -> tuple[list[Settled], frozenset[str]]: ...


class Writer:
    """Hands webhooks from request threads to the one writing thread."""

    def __init__(self, write: Write, on_committed: Callable[[frozenset[str]], None]) -> None:
        """`write` commits a batch; `on_committed` is told which lanes got something to do."""
        self._write = write
        self._on_committed = on_committed
        self._waiting: queue.SimpleQueue[_Slip | object] = queue.SimpleQueue()
        self._ended = False
        self._ready: list[_Slip] = []  # prepared; the writing thread's own
        self._apart: deque[_Slip] = deque()  # of a batch that failed, each to be written alone; its own, too
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def settle(self, prepare: Prepare) -> Settled:
        """Wait until the receipt that `prepare` makes, in the writing thread, is on disk.

        Raises what `prepare` raises, and LedgerUnavailable when it cannot be written, or not in time.
        """
        slip = _Slip(prepare)
        self._waiting.put(slip)
        if not slip.done.acquire(timeout=ANSWER_WITHIN_S):
            slip.given_up = True
            raise LedgerUnavailable(f"the ledger took longer than {ANSWER_WITHIN_S:.0f} s")
        if slip.error is not None:
            raise slip.error
        if slip.answer is None:
            raise LedgerUnavailable("the writer ended without an answer")
        return slip.answer

    def close(self) -> None:
        """Write what waits, then end the thread."""
        self._waiting.put(_END)
        self._thread.join(timeout=ANSWER_WITHIN_S)

    def _run(self) -> None:
        while self._apart or self._ready or not self._ended:
            try:
                self._round()
            except Exception:  # noqa: BLE001 - the outermost frame of the thread: without it nothing is stored any more
                logs.get().error(logs.TASK_FAILED, task=self._thread.name, exc_info=True)

    def _round(self) -> None:
        if self._apart:
            self._commit([self._apart.popleft()], together=False)
            return
        if not self._ready:  # else they were prepared for a batch that failed before it took them along
            self._take(self._waiting.get())
        while not self._waiting.empty() and len(self._ready) < BATCH_MAX:
            self._take(self._waiting.get())
        if self._ready:
            self._commit(self._taken(), together=True)

    def _prepare_until(self, ours: "Future[Any]") -> None:
        """Prepare what comes, until the ledger's lock is ours."""
        ours.add_done_callback(lambda _done: self._waiting.put(_LOCKED))
        while (item := self._waiting.get()) is not _LOCKED:
            self._take(item)

    def _take(self, item: "_Slip | object") -> None:
        if isinstance(item, _Slip):
            self._prepare(item)
        elif item is _END:
            self._ended = True

    def _prepare(self, slip: _Slip) -> None:
        if slip.given_up:
            return
        try:
            slip.receipt = slip.prepare()
        except Exception as error:  # noqa: BLE001 - raised again in the request's thread
            slip.settle(None, error)
        else:
            self._ready.append(slip)

    def _taken(self) -> list[_Slip]:
        taken, self._ready = self._ready, []
        return taken

    def _commit(self, batch: list[_Slip], *, together: bool) -> None:
        def more() -> list[Receipt]:
            taken = self._taken() if together else []
            batch.extend(taken)
            return _receipts(taken)

        try:
            results, lanes = self._write(_receipts(batch), more, self._prepare_until)
        except LedgerUnavailable as error:
            for slip in batch:
                slip.settle(None, error)
        except Exception as error:  # noqa: BLE001 - handed to the waiting request, whose outermost frame logs it
            if len(batch) == 1:
                batch[0].settle(None, error)
                return
            self._apart.extend(batch)
        else:
            try:
                if lanes:
                    self._on_committed(lanes)
            finally:  # they are stored, whoever failed to tell of it
                for slip, settled in zip(batch, results, strict=True):
                    slip.settle(settled)


def _receipts(slips: Sequence[_Slip]) -> list[Receipt]:
    return [slip.receipt for slip in slips if slip.receipt is not None]
