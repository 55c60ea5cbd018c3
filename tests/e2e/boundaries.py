"""Kill -9 in front of every statement that a step of the ledger sends, one by one; then go on as the bridge does.

    python -m tests.e2e.boundaries sqlite:////tmp/x/bridge.db

Each step is done by a child that dies in front of its n-th statement (BEGIN and COMMIT count), for n = 1, 2, … until
one lives through it. After each death another process goes on by the ordinary means: the sender posts again, and a
worker claims once the dead one's lease has ended. What is told to the upstream then is judged. Prints how many
boundaries each step had; ends with an AssertionError where something was lost or doubled.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import psycopg
from sqlalchemy import event, text

from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.schema import metadata
from tests.ledgers import MovedDatabase, claim, delivered, ends, fires, ledger_of, record, route, settle, told

STATEMENTS_MAX = 200
AFTER_A_LEASE = timedelta(seconds=31)


class Step:
    """What is prepared, what the child does and dies in, and what must come of it in the end."""

    def __init__(
        self,
        before: Callable[[Ledger], Any],
        act: Callable[[Ledger, Any], Any],
        again: Callable[[Ledger], Any],
        upstream: list[tuple[str, bool]],
    ) -> None:
        self.before, self.act, self.again, self.upstream = before, act, again, upstream


def nothing(_ledger: Ledger) -> None:
    """Neither prepared nor repeated."""


def opened(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), delivered("P1"))


def resolving(ledger: Ledger) -> None:
    opened(ledger)
    settle(ledger, ends("a"))


STEPS = {
    "ingest": Step(
        before=nothing,
        act=lambda ledger, _: settle(ledger, fires("a"), fires("b")),
        again=lambda ledger: settle(ledger, fires("a"), fires("b")),
        upstream=[("a is down", True), ("b is down", True)],
    ),
    "ingest that joins": Step(
        before=opened,
        act=lambda ledger, _: settle(ledger, fires("b", parts=("s", "a"))),
        again=lambda ledger: settle(ledger, fires("b", parts=("s", "a"))),
        upstream=[("a is down", True)],
    ),
    "cancel": Step(
        before=lambda ledger: settle(ledger, fires("a")),
        act=lambda ledger, _: settle(ledger, ends("a")),
        again=lambda ledger: settle(ledger, ends("a")),
        upstream=[],
    ),
    "claim": Step(
        before=lambda ledger: settle(ledger, fires("a")),
        act=lambda ledger, _: ledger.claim("pd"),
        again=nothing,
        upstream=[("a is down", True)],
    ),
    "record": Step(
        before=lambda ledger: (settle(ledger, fires("a")), claim(ledger))[1],
        act=lambda ledger, claimed: record(ledger, claimed, delivered("P1")),
        again=nothing,
        upstream=[("a is down", True)],
    ),
    "end": Step(
        before=opened,
        act=lambda ledger, _: settle(ledger, ends("a")),
        again=lambda ledger: settle(ledger, ends("a")),
        upstream=[("a is down", False)],
    ),
    "record of an end": Step(
        before=lambda ledger: (resolving(ledger), claim(ledger))[1],
        act=lambda ledger, claimed: record(ledger, claimed, delivered("P1")),
        again=nothing,
        upstream=[("a is down", False)],
    ),
}


def main(url: str) -> None:
    """Every step at every boundary."""
    boundaries = {}
    for name, step in STEPS.items():
        for number in range(1, STATEMENTS_MAX):
            if not died(url, step, number):
                boundaries[name] = number - 1
                break
            judged(url, step, f"{name}, killed in front of statement {number}")
    print(json.dumps(boundaries))


def died(url: str, step: Step, number: int) -> bool:
    """Prepare an empty ledger, and do the step in a child; whether that died in front of its n-th statement."""
    emptied(url)
    before = opened_ledger(url)
    prepared = step.before(before)
    before.close()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            ledger = opened_ledger(url, dies_at=number)
            step.act(ledger, prepared)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, f"the child failed at statement {number}"
    return os.WIFSIGNALED(status)


def judged(url: str, step: Step, when: str) -> None:
    """Go on as the bridge would, until nothing is owed; what the upstream holds then must be what was promised."""
    ledger = opened_ledger(url)
    upstream = {"P1": ("a is down", True)} if any(one == ("create", "delivered") for one in told(ledger)) else {}
    step.again(ledger)
    ledger.database.ahead = AFTER_A_LEASE  # type: ignore[attr-defined]
    while (claimed := ledger.claim("pd")) is not None:
        delivery = claimed.delivery  # type: ignore[union-attr]
        upstream_id = delivery.upstream_id or f"P{len(upstream) + 1}"
        if delivery.action == "create":
            upstream[upstream_id] = (str(delivery.fields["title"]), True)
        elif delivery.action == "resolve":
            upstream[upstream_id] = (upstream[upstream_id][0], False)
        record(ledger, claimed, delivered(upstream_id))  # type: ignore[arg-type]
    assert sorted(upstream.values()) == step.upstream, f"{when}: {upstream}, {told(ledger)}"
    assert {state for _, state in told(ledger)} <= {"delivered", "adopted", "cancelled"}, f"{when}: {told(ledger)}"
    ledger.close()


def opened_ledger(url: str, *, dies_at: int = 0) -> Ledger:
    """The ledger; with `dies_at`, this process dies in front of that statement, counted from its being opened."""
    database = MovedDatabase(url)
    ledger = ledger_of(database, pd=route("pd"))
    if dies_at:
        database.close()  # the next connection counts
        left = iter(range(dies_at - 1))

        def strike() -> None:
            if next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        @event.listens_for(database.engine, "connect")
        def _counted(connection: Any, _record: Any) -> None:
            if database.is_sqlite:
                connection.set_trace_callback(lambda _sql: strike())
            else:
                connection.cursor_factory = counting(strike)

    return ledger


def counting(strike: Callable[[], None]) -> type:
    """psycopg's cursor, which strikes in front of every statement."""

    class Cursor(psycopg.Cursor[Any]):
        def execute(self, *words: Any, **more: Any) -> Any:
            strike()
            return super().execute(*words, **more)

        def executemany(self, *words: Any, **more: Any) -> Any:
            strike()
            return super().executemany(*words, **more)

    return Cursor


def emptied(url: str) -> None:
    """An empty ledger at this address."""
    ledger = opened_ledger(url)
    with ledger.database.writing() as transaction:
        for table in reversed(metadata.sorted_tables):
            transaction.connection.execute(text(f"DELETE FROM {table.name}"))
    ledger.lanes_ensured()
    ledger.close()


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main(sys.argv[1])
