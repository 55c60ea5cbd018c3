"""What becomes of webhooks while the machine has no memory or thread to give."""

from collections.abc import Sequence
from typing import Any

import pytest
from flask import Blueprint

from bridge.adapters.files import Meanwhile
from bridge.adapters.ledger.receipts import Receipt
from bridge.adapters.ledger.settle import Settled
from bridge.adapters.ledger.writer import Writer
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
