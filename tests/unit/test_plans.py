"""What SQLite does with our statements: the work of every day goes by index, however large the tables are."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from bridge.adapters.ledger import EventQuery, Ledger
from bridge.domain.delivery import PermanentFailure, Reason
from tests.ledgers import (
    ACCOUNT,
    MovedDatabase,
    claim,
    delivered,
    ends,
    fires,
    ledger_of,
    open_ledger,
    record,
    route,
    settle,
    sqlite_url,
)

LARGE = ("events", "alerts", "problems", "series", "incidents", "members", "deliveries", "attempts")
SCAN = re.compile(rf"SCAN ({'|'.join(LARGE)})(?! USING (?:COVERING )?INDEX)")
BY_TIME = re.compile(r"ORDER BY \w+\.id (DESC)?\s+LIMIT", re.IGNORECASE)  # the newest, or the oldest, so many of them
DAY = timedelta(days=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(sqlite_url(tmp_path))
    settle(opened, fires("a"), fires("b"), fires("c"))
    record(opened, claim(opened), delivered("P1"))
    record(opened, claim(opened), PermanentFailure(reason=Reason.FORBIDDEN, detail="no"))
    yield opened
    opened.close()


@contextmanager
def heard(ledger: Ledger) -> Iterator[list[str]]:
    """Every statement meanwhile, with its values."""
    said: list[str] = []

    def listen(connection: sqlite3.Connection, *_: Any) -> None:
        connection.set_trace_callback(said.append)

    ledger.database.close()  # the one for writing is kept, and was checked out before
    event.listen(ledger.database.engine, "checkout", listen)
    yield said
    event.remove(ledger.database.engine, "checkout", listen)


def scans(ledger: Ledger, said: list[str]) -> list[str]:
    """Statements that go through a whole table that grows with traffic."""
    assert ledger.database.file is not None
    found = []
    with closing(sqlite3.connect(ledger.database.file)) as connection:
        for sql in dict.fromkeys(said):
            if not sql.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE", "WITH")) or BY_TIME.search(sql):
                continue
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
            found += [f"{line}: {sql}" for line in plan if SCAN.search(line)]
    return found


def works(ledger: Ledger) -> None:
    settle(ledger, fires("d"), ends("a"), fires("b"))
    record(ledger, claim(ledger), delivered("P2"))
    settle(ledger, fires("a"), ends("d"))


LOOKS: dict[str, Callable[[Ledger], Any]] = {
    "webhooks, claims and answers": works,
    "the clock": lambda ledger: (
        ledger.due_lanes(9),
        ledger.given_up(),
        ledger.waits_shortened(),
        ledger.renewals_opened(),
        ledger.plan_b_opened(),
        ledger.lanes_ensured(),
        ledger.fetches_asked(),
        ledger.alarms_standing({ACCOUNT: DAY}),
    ),
    "counting": lambda ledger: (ledger.tallied(), ledger.totals()),
    "pruning": lambda ledger: (ledger.pruned(-DAY, -DAY), ledger.bodies_trimmed(1)),
    "lanes": lambda ledger: ledger.lanes({ACCOUNT: ("pagerduty", "12/min")}),
    "what is not configured": lambda ledger: (ledger.unconfigured(["other"]), ledger.unheard(["other"])),
    "the first page": lambda ledger: (
        ledger.lately(),
        ledger.day(),
        ledger.troubles("h"),
        ledger.dead_causes(),
    ),
    "the rules page": lambda ledger: ledger.hits(30 * DAY, DAY),
    "searching for a key": lambda ledger: ledger.events(EventQuery(q="ib1-nothing")),
    "open incidents": lambda ledger: ledger.incidents(state="open", limit=50),
}


@pytest.mark.parametrize("name", LOOKS)
def test_nothing_of_every_day_goes_through_a_whole_table(name: str, ledger: Ledger) -> None:
    with heard(ledger) as said:
        LOOKS[name](ledger)
    assert len(said) > 2
    assert scans(ledger, said) == []


def test_the_sweep_looks_at_what_was_resolved_lately_and_at_nothing_older(tmp_path: Path) -> None:
    database = MovedDatabase(sqlite_url(tmp_path))
    ledger = ledger_of(database, **{ACCOUNT: route()})
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), delivered("P1"))
    settle(ledger, ends("a"))
    record(ledger, claim(ledger), delivered("P1"))
    database.ahead = timedelta(hours=1)
    with heard(ledger) as said:
        assert ledger.swept() == 1
    looks = [sql for sql in said if "incidents.state = 'resolved'" in sql]
    assert len(looks) == 2, "whether there is anything, and what it is"
    assert ledger.database.file is not None
    with closing(sqlite3.connect(ledger.database.file)) as connection:
        plans = [connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall() for sql in looks]
    first = "SEARCH incidents USING INDEX incidents_resolved (state=? AND resolved_at>? AND resolved_at<?)"
    assert [plan[0][3] for plan in plans] == [first, first]
    ledger.close()


def test_a_scan_would_be_found(ledger: Ledger) -> None:
    assert scans(ledger, ["SELECT title FROM members WHERE left_at > 5"]) != []
