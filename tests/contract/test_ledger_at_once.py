"""Two processes at once: one incident, one resolve, no deadlock seen by the sender, on both databases."""

import multiprocessing
import multiprocessing.synchronize
import sys
from collections.abc import Callable
from typing import Any

from bridge.adapters.ledger import Ledger
from tests.ledgers import claim, delivered, ends, fires, open_ledger, record, settle, states, told, webhook

ROUNDS = 25
SPAWN = multiprocessing.get_context("spawn")


def in_two_processes(url: str, first: Callable[[Ledger, int], None], second: Callable[[Ledger, int], None]) -> None:
    """Run both, round by round, each round started together; fail with what either of them raised."""
    gate = SPAWN.Barrier(2)
    failures: Any = SPAWN.Queue()
    both = [SPAWN.Process(target=_rounds, args=(url, work, gate, failures)) for work in (first, second)]
    for one in both:
        one.start()
    for one in both:
        one.join(timeout=60)
    found = [failures.get() for _ in range(2)]
    assert found == [None, None]


def _rounds(url: str, work: Any, gate: multiprocessing.synchronize.Barrier, failures: Any) -> None:
    sys.path.insert(0, ".")
    ledger = open_ledger(url)
    try:
        for number in range(ROUNDS):
            gate.wait(timeout=30)
            work(ledger, number)
    except BaseException as error:
        gate.abort()
        failures.put(repr(error))
        raise
    else:
        failures.put(None)
    finally:
        ledger.close()


def open_same_series(ledger: Ledger, number: int) -> None:
    settle(ledger, fires(f"p{number}", parts=("same", number)))


def open_a_then_b(ledger: Ledger, number: int) -> None:
    settle(ledger, fires(f"a{number}"), fires(f"b{number}"))


def open_b_then_a(ledger: Ledger, number: int) -> None:
    settle(ledger, fires(f"b{number}"), fires(f"a{number}"))


def resolve_left(ledger: Ledger, number: int) -> None:
    settle(ledger, ends(f"left{number}"))


def resolve_right(ledger: Ledger, number: int) -> None:
    settle(ledger, ends(f"right{number}"))


def same_delivery(ledger: Ledger, number: int) -> None:
    ledger.settle([webhook(ledger, fires(f"d{number}"), delivery_id=f"id{number}")])


def claim_and_send(ledger: Ledger, number: int) -> None:
    claimed = ledger.claim("pd")
    if claimed is not None:
        record(ledger, claimed, delivered(claimed.token))  # type: ignore[arg-type,union-attr]


def test_two_processes_open_the_same_series(ledger: Ledger, ledger_url: str) -> None:
    in_two_processes(ledger_url, open_same_series, open_same_series)
    assert told(ledger) == [("create", "pending")] * ROUNDS


def test_batches_in_opposite_order_never_wait_in_a_circle(ledger: Ledger, ledger_url: str) -> None:
    in_two_processes(ledger_url, open_a_then_b, open_b_then_a)
    assert told(ledger) == [("create", "pending")] * (2 * ROUNDS)


def test_the_last_two_members_resolve_at_once_into_one_resolve(ledger: Ledger, ledger_url: str) -> None:
    for number in range(ROUNDS):
        parts = ("x", number)
        settle(ledger, fires(f"left{number}", parts=parts), fires(f"right{number}", parts=parts))
        record(ledger, claim(ledger), delivered(f"P{number}"))
    in_two_processes(ledger_url, resolve_left, resolve_right)
    assert told(ledger).count(("resolve", "pending")) == ROUNDS
    assert set(states(ledger)) == {"resolving"}


def test_one_delivery_id_in_two_processes_is_one_event(ledger: Ledger, ledger_url: str) -> None:
    in_two_processes(ledger_url, same_delivery, same_delivery)
    assert ledger.totals()["received"] == {("s", "accepted"): ROUNDS}


def test_two_workers_never_claim_the_same_delivery(ledger: Ledger, ledger_url: str) -> None:
    settle(ledger, *[fires(f"w{number}") for number in range(ROUNDS)])
    in_two_processes(ledger_url, claim_and_send, claim_and_send)
    attempts = [one["attempts"] for one in ledger.deliveries(limit=500).items]
    assert max(attempts) == 1


def test_ingest_and_workers_side_by_side_lose_nothing(ledger: Ledger, ledger_url: str) -> None:
    in_two_processes(ledger_url, open_a_then_b, claim_and_send)
    assert len(told(ledger)) == 2 * ROUNDS
