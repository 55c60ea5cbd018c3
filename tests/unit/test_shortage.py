"""What becomes of webhooks while the machine has no memory or thread to give."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from flask import Blueprint

from bridge.adapters.files import Meanwhile
from bridge.adapters.ledger.receipts import Receipt
from bridge.adapters.ledger.settle import Settled
from bridge.adapters.ledger.writer import Writer
from bridge.domain.errors import LedgerUnavailable
from bridge.entrypoints.web.app import create_app

STORED = Settled(event_id="E1", alerts=1, duplicate=False)


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (MemoryError(), 503, "10"),
        (RuntimeError("can't start new thread"), 503, "10"),
        (RuntimeError("a fault of ours"), 500, None),
    ],
    ids=str,
)
def test_who_sends_while_nothing_is_to_be_had_is_asked_to_come_again(
    error: Exception, status: int, retry_after: str | None
) -> None:
    routes = Blueprint("routes", __name__)

    @routes.get("/")
    def fails() -> str:
        raise error

    answer = create_app((routes,)).test_client().get("/")
    assert (answer.status_code, answer.headers.get("Retry-After")) == (status, retry_after)


def test_a_writer_that_ran_out_of_memory_once_stores_what_comes_then() -> None:
    told: list[frozenset[str]] = []

    def write(batch: Sequence[Receipt], _more: object, _meanwhile: Meanwhile) -> tuple[list[Settled], frozenset[str]]:
        return [STORED for _ in batch], frozenset({"lane"})

    def on_committed(lanes: frozenset[str]) -> None:
        told.append(lanes)
        if len(told) == 1:
            raise MemoryError

    writer = Writer(write, on_committed)
    receipt: Any = object()
    assert [writer.settle(lambda: receipt) for _ in range(2)] == 2 * [STORED]
    writer.close()


class Busy:
    """A ledger whose lock somebody else has at first, until one webhook more has been prepared."""

    def __init__(self, fails: Exception, *, takes_more: bool) -> None:
        self.asked, self.ours, self.batches = threading.Event(), Future[Any](), list[int]()
        self._fails, self._takes_more = fails, takes_more

    def write(
        self, batch: Sequence[Receipt], more: Callable[[], Sequence[Receipt]], meanwhile: Meanwhile
    ) -> tuple[list[Settled], frozenset[str]]:
        if not self.batches:
            self.asked.set()
            meanwhile(self.ours)
        number = len(batch) + (len(more()) if self._takes_more else 0)
        self.batches.append(number)
        if len(self.batches) == 1:
            raise self._fails
        return [STORED] * number, frozenset({"lane"})

    def settled(self, on_committed: Callable[[frozenset[str]], None]) -> list[BaseException | Settled]:
        """What two webhooks came to that were sent one after the other."""
        receipt: Any = object()

        def prepared() -> Any:
            self.ours.set_result(None)
            return receipt

        writer = Writer(self.write, on_committed)
        with ThreadPoolExecutor() as senders:
            first = senders.submit(writer.settle, lambda: receipt)
            assert self.asked.wait(10)
            second = senders.submit(writer.settle, prepared)
            answers = [one.exception() or one.result() for one in (first, second)]
        writer.close()
        return answers


def test_of_a_batch_that_failed_each_webhook_is_stored_whatever_becomes_of_the_others() -> None:
    def on_committed(_lanes: frozenset[str]) -> None:
        raise MemoryError

    ledger = Busy(ValueError("one of them"), takes_more=True)
    assert ledger.settled(on_committed) == [STORED, STORED]
    assert ledger.batches == [2, 1, 1]


def test_what_was_prepared_for_a_batch_that_failed_does_not_wait_for_another_webhook() -> None:
    """Where none came its sender heard nothing for ten seconds."""
    full = LedgerUnavailable("its disk is full")
    ledger = Busy(full, takes_more=False)
    assert ledger.settled(lambda _lanes: None) == [full, STORED]
    assert ledger.batches == [1, 1]
