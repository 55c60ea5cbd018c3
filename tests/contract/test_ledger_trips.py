"""What goes to PostgreSQL in one trip: how often it is waited for, and what becomes of an error in it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy as sa

from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.compiled import InsertStatement, Statement, in_one_trip
from bridge.adapters.ledger.engine import Database
from bridge.adapters.ledger.schema import marks
from bridge.domain.errors import LedgerUnavailable
from tests.ledgers import fires, open_ledger, settle, webhook
from tests.relays import Trips, relayed

PUT = InsertStatement(marks)
KNOWN = Statement(sa.select(marks.c.what).order_by(marks.c.what))
ANSWER_WITHIN_S = 10.0


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """Of both kinds: SQLite has no trips, and whoever asks for one need not know."""
    made = open_ledger(ledger_url)
    yield made
    made.close()


def known(database: Database) -> list[str]:
    with database.reading() as transaction:
        return [row["what"] for row in KNOWN.rows(transaction.connection)]


def mark(what: str) -> dict[str, str]:
    return {"what": what, "reached": "x"}


def test_what_is_asked_for_in_a_trip_is_there(ledger: Ledger) -> None:
    with ledger.database.writing() as transaction, in_one_trip(transaction.connection):
        PUT.run(transaction.connection, [mark("a")])
        assert [row["what"] for row in KNOWN.rows(transaction.connection)] == ["a"]
        PUT.run(transaction.connection, [mark("b")])
        asked = transaction.connection.execute(sa.select(marks.c.what).order_by(marks.c.what))  # SQLAlchemy's own way
        assert list(asked.scalars()) == ["a", "b"]
        with in_one_trip(transaction.connection):
            PUT.run(transaction.connection, [mark("c")])
    assert known(ledger.database) == ["a", "b", "c"]


@pytest.mark.parametrize("asks", ["nothing", "rows", "sqlalchemy"])
def test_an_error_in_a_trip_undoes_all_of_it_and_nothing_else(
    ledger: Ledger, asks: str, caplog: pytest.LogCaptureFixture
) -> None:
    def write() -> None:
        with ledger.database.writing() as transaction, in_one_trip(transaction.connection):
            PUT.run(transaction.connection, [mark("a")])
            PUT.run(transaction.connection, [mark("a")])
            if asks == "rows":
                KNOWN.rows(transaction.connection)
            elif asks == "sqlalchemy":
                transaction.connection.execute(sa.select(marks.c.what))

    with pytest.raises(Exception, match=r"(?i)unique") as refused:
        write()
    assert type(refused.value).__name__ in ("UniqueViolation", "IntegrityError")
    assert known(ledger.database) == []
    settle(ledger, fires("p"))
    assert caplog.messages == []


def test_a_batch_of_webhooks_makes_as_few_trips_as_one(postgres_url: str) -> None:
    trips = Trips()
    with relayed(postgres_url, trips.answers, trips.asks) as (_relay, through):
        ledger = open_ledger(through)
        numbers = []
        for size in (1, 31):
            batch = [webhook(ledger, fires(f"{size} {number}")) for number in range(size)]
            before = trips.number
            ledger.settle(batch)
            numbers.append(trips.number - before)
        ledger.close()
    assert numbers[0] == numbers[1] <= 8


def test_a_server_that_falls_silent_in_a_trip_is_unavailable_in_time(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("bridge.adapters.ledger.patience.HeardConnection.silence_max_s", 0.5, raising=False)

    def fall_silent_and_write() -> None:
        with ledger.database.writing() as transaction, in_one_trip(transaction.connection):
            relay.fall_silent()
            PUT.run(transaction.connection, [mark("a")])

    with ThreadPoolExecutor() as pool, relayed(postgres_url) as (relay, through):
        ledger = open_ledger(through)
        with pytest.raises(LedgerUnavailable, match=r"said nothing for 0\.5 s"):
            pool.submit(fall_silent_and_write).result(ANSWER_WITHIN_S)
        settle(ledger, fires("p"))
        assert known(ledger.database) == []
        ledger.close()
    assert caplog.messages == []


def test_a_server_that_ends_the_connection_in_a_trip_is_unavailable(postgres_url: str) -> None:
    ledger = open_ledger(postgres_url)

    def end(connection: sa.Connection) -> None:
        mine = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar()
        with psycopg.connect(postgres_url.replace("+psycopg", "")) as administrator:
            administrator.execute("SELECT pg_terminate_backend(%s)", [mine])

    def write() -> None:
        with ledger.database.writing() as transaction:
            end(transaction.connection)
            with in_one_trip(transaction.connection):
                PUT.run(transaction.connection, [mark("a")])
                KNOWN.rows(transaction.connection)

    with pytest.raises(LedgerUnavailable):
        write()
    settle(ledger, fires("p"))
    assert known(ledger.database) == []
    ledger.close()
