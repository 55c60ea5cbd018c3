"""How SQLite finds the rows of the hot paths: by an index, however many there are."""

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import event

from bridge.adapters.ledger import Ledger
from tests import ledgers

SMALL = {"lanes", "name_lists", "name_fetches", "heartbeats"}  # tables that traffic does not fill


class Plans:
    """Asks SQLite for the plan of every statement a ledger sends, just before it is sent."""

    def __init__(self, ledger: Ledger) -> None:
        self.steps: list[tuple[str, str]] = []  # statement, step of its plan
        plans = self

        class Cursor(sqlite3.Cursor):
            def execute(self, sql: str, given: Any = ()) -> Any:
                if sql.lstrip().startswith(("SELECT", "UPDATE", "DELETE")):
                    planned = self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", given)
                    plans.steps += [(sql, row[3]) for row in planned]
                return super().execute(sql, given)

        class Connection(sqlite3.Connection):
            def cursor(self, factory: Any = Cursor) -> Any:
                return super().cursor(factory)

        @event.listens_for(ledger.database.engine, "do_connect")
        def _connects(_dialect: Any, _record: Any, _args: Any, given: dict[str, Any]) -> None:
            given.update({"factory": Connection})

        ledger.database.close()  # the connections made before

    def of_whole_tables(self) -> list[tuple[str, str]]:
        """The steps that read a table, or an index of all its rows, from end to end."""
        scans = [(sql, step.split()) for sql, step in self.steps if step.startswith("SCAN ")]
        return [(sql, " ".join(words)) for sql, words in scans if "CONSTANT" not in words and words[1] not in SMALL]


def test_no_webhook_and_no_delivery_reads_a_whole_table(tmp_path: Path) -> None:
    ledger = ledgers.open_ledger(ledgers.sqlite_url(tmp_path))
    plans = Plans(ledger)
    ledgers.settle(ledger, ledgers.fires("a"))
    ledgers.settle(ledger, ledgers.fires("b", parts=("s", "a")))
    ledgers.settle(ledger, ledgers.fires("c"))
    claimed = ledgers.claim(ledger)
    ledger.record(ledgers.finished(claimed, ledgers.delivered("P1")), claim_next=True)
    ledgers.settle(ledger, ledgers.ends("a"), ledgers.ends("b"))
    ledger.close()
    assert len(plans.steps) > 20
    assert plans.of_whole_tables() == []


def test_a_look_at_the_lanes_reads_what_is_under_way_and_beyond_that_goes_by_index(tmp_path: Path) -> None:
    ledger = ledgers.open_ledger(ledgers.sqlite_url(tmp_path))
    plans = Plans(ledger)
    ledgers.settle(ledger, ledgers.fires("a"))
    assert ledger.due_lanes(64)
    ledger.close()
    found = {step for _, step in plans.of_whole_tables()}
    assert found == {"SCAN deliveries USING INDEX deliveries_in_flight"}  # the index of what is being sent alone
    assert any("deliveries_waiting" in step for _, step in plans.steps)


def test_whether_a_delivery_is_the_first_owed_of_its_series_is_not_looked_for_in_all_that_was_ever_told_of_it(
    tmp_path: Path,
) -> None:
    ledger = ledgers.open_ledger(ledgers.sqlite_url(tmp_path))
    plans = Plans(ledger)
    ledgers.settle(ledger, ledgers.fires("a"))
    assert ledger.due_lanes(64)
    ledgers.claim(ledger)
    ledger.close()
    found = {step for _, step in plans.steps if " earlier " in step}
    assert found == {"SEARCH earlier USING INDEX deliveries_owed (series=? AND no<?)"}


def test_the_numbers_for_ever_are_not_looked_for_among_those_of_every_hour(tmp_path: Path) -> None:
    ledger = ledgers.open_ledger(ledgers.sqlite_url(tmp_path))
    plans = Plans(ledger)
    ledger.totals()
    ledger.close()
    found = {step for sql, step in plans.steps if "FROM tallies" in sql and " tallies" in step}
    assert found == {"SEARCH tallies USING PRIMARY KEY (what=? AND hour=?)"}
