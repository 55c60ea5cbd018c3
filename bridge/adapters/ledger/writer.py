"""Group commit: one thread per web process writes the waiting webhooks together, in one transaction.

The batch is gathered once the ledger's lock is held, so that whatever came while another process wrote goes along.
Durability costs one fsync per transaction, not per webhook. A batch that fails is written again one by one, so that
one webhook never spoils its neighbours.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from bridge.adapters.ledger.settle import Receipt, Settled
from bridge.domain.errors import LedgerUnavailable

BATCH_MAX = 128
ANSWER_WITHIN_S = 10.0


class _Slip:
    """One receipt on its way: the request thread waits on `done`, a bare lock, until the writer has answered."""

    __slots__ = ("answer", "done", "error", "given_up", "receipt")

    def __init__(self, receipt: Receipt) -> None:
        self.receipt = receipt
        self.answer: Settled | None = None
        self.error: BaseException | None = None
        self.given_up = False
        self.done = threading.Lock()
        self.done.acquire()

    def settle(self, answer: Settled | None, error: BaseException | None = None) -> None:
        self.answer, self.error = answer, error
        self.done.release()


class Write(Protocol):
    """Commits a batch of receipts, with what `more` adds once the ledger is ours."""

    def __call__(
        self, batch: Sequence[Receipt], more: Callable[[], Sequence[Receipt]]
    ) -> tuple[list[Settled], frozenset[str]]: ...


class Writer:
    """Hands receipts from request threads to the one writing thread."""

    def __init__(self, write: Write, on_committed: Callable[[frozenset[str]], None]) -> None:
        """`write` commits a batch; `on_committed` is told which lanes got something to do."""
        self._write = write
        self._on_committed = on_committed
        self._waiting: queue.SimpleQueue[_Slip | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def settle(self, receipt: Receipt) -> Settled:
        """Wait until the receipt is on disk. Raises LedgerUnavailable when it cannot be, or not in time."""
        slip = _Slip(receipt)
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
        self._waiting.put(None)
        self._thread.join(timeout=ANSWER_WITHIN_S)

    def _run(self) -> None:
        while True:
            first = self._waiting.get()
            if first is None:
                return
            if not first.given_up:
                self._commit([first], self._take_waiting)

    def _take_waiting(self) -> list[_Slip]:
        """What waits now, bounded. The end stays in line: what came before it is written first."""
        taken: list[_Slip] = []
        while len(taken) < BATCH_MAX and not self._waiting.empty():
            following = self._waiting.get()
            if following is None:
                self._waiting.put(None)
                break
            if not following.given_up:
                taken.append(following)
        return taken

    def _commit(self, batch: list[_Slip], take: Callable[[], list[_Slip]] = list) -> None:
        def more() -> list[Receipt]:
            taken = take()
            batch.extend(taken)
            return [slip.receipt for slip in taken]

        try:
            results, lanes = self._write([slip.receipt for slip in batch], more)
        except LedgerUnavailable as error:
            for slip in batch:
                slip.settle(None, error)
        except Exception as error:  # noqa: BLE001 - handed to the waiting request, whose outermost frame logs it
            if len(batch) == 1:
                batch[0].settle(None, error)
                return
            for slip in batch:
                self._commit([slip])
        else:
            if lanes:
                self._on_committed(lanes)
            for slip, settled in zip(batch, results, strict=True):
                slip.settle(settled)
