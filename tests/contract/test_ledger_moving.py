"""A ledger that goes to another database: whole or not at all, and what is owed is owed once."""

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bridge.adapters.ledger import Claimed, Ledger, receipt
from bridge.adapters.ledger.engine import Database
from bridge.adapters.ledger.moving import CHUNK_ROWS, Moved, NotMoved, NotPaused, called, move
from bridge.adapters.ledger.schema import metadata
from bridge.adapters.ledger.upgrade import upgrade
from bridge.domain.alarms import BEATS_WITHIN
from tests.contract.test_ledger_silences import silence
from tests.ledgers import (
    claim,
    delivered,
    ends,
    fires,
    heartbeat,
    open_ledger,
    record,
    settle,
    sqlite_url,
    states,
    told,
)


class Move:
    """Two addresses: a ledger at the first, which is to go to the second."""

    def __init__(self, old: str, new: str) -> None:
        self.old_url, self.new_url = old, new
        self._open: list[Any] = []
        self.old = self.ledger(old)

    def ledger(self, url: str) -> Ledger:
        self._open.append(open_ledger(url))
        ledger: Ledger = self._open[-1]
        return ledger

    def moved(self, counted: Callable[[int, int], None] = lambda _done, _number: None) -> Moved:
        """The command's work, as another process does it."""
        source, target = Database(self.old_url), Database(self.new_url)
        self._open += (source, target)
        return move(source, target, BEATS_WITHIN, counted)

    def close(self) -> None:
        for one in self._open:
            one.close()


@pytest.fixture(params=["to PostgreSQL", "to SQLite", "between files"])
def moving(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Move]:
    """A ledger, and the address of an empty one, each kind in turn."""
    (tmp_path / "other").mkdir()
    file, other = sqlite_url(tmp_path), sqlite_url(tmp_path / "other")
    if request.param == "between files":
        made = Move(file, other)
    else:
        server = str(request.getfixturevalue("postgres_url"))
        made = Move(*((file, server) if request.param == "to PostgreSQL" else (server, file)))
    yield made
    made.close()


def rows(ledger: Ledger) -> dict[str, list[Sequence[Any]]]:
    """Everything a ledger holds."""
    with ledger.database.reading() as transaction:
        return {
            one.name: sorted(map(tuple, transaction.connection.execute(sa.select(one))), key=repr)
            for one in metadata.sorted_tables
        }


def lived_in(ledger: Ledger) -> None:
    """An incident that is open, one that is over, one that waits, one event of a body larger than a chunk's, a beat."""
    for fingerprint in ("open", "over"):
        settle(ledger, fires(fingerprint, title="Größe \U0001f525 \\u0000 'quoted'"))
        record(ledger, claim(ledger), delivered(f"P-{fingerprint}"))
    settle(ledger, ends("over"))
    record(ledger, claim(ledger), delivered("P-over"))
    settle(ledger, fires("waits"))
    body = bytes(range(256)) * 20_000
    event = {"event_id": ledger.new_id(), "source": "s", "received_at": datetime.now(UTC), "headers": {}}
    ledger.settle([receipt(**event, body=body, packed_body=body, decided=())])
    ledger.heartbeat(heartbeat("worker"))
    ledger.heartbeat_ended("worker@h:1")


def test_every_row_arrives_as_it_was_and_the_old_lanes_are_paused(moving: Move) -> None:
    lived_in(moving.old)
    before = rows(moving.old)
    done = moving.moved()
    after = rows(moving.ledger(moving.new_url))
    assert after == before
    assert done == Moved(rows=sum(map(len, before.values())), events=5, open=2, waiting=1)
    left = rows(moving.old)
    assert all(lane["paused"] for lane in moving.old.lanes({}))
    left["lanes"] = before["lanes"]
    assert left == before


def test_what_was_begun_goes_on_in_the_new_ledger_alone(moving: Move) -> None:
    lived_in(moving.old)
    moving.moved()
    new = moving.ledger(moving.new_url)
    assert settle(new, fires("open")) == ["duplicate"]
    assert settle(new, ends("open")) == ["resolving"]
    sent = [record(new, claim(new), delivered()) for _ in range(2)]
    assert sent
    assert states(new) == ["resolved", "resolved", "open"]
    assert not isinstance(moving.old.claim("pd"), Claimed)
    assert told(moving.old)[-1] == ("create", "pending")
    moving.old.resumed("pd")
    assert isinstance(moving.old.claim("pd"), Claimed), "and one that was moved by mistake goes on"


def test_a_lane_that_a_person_paused_is_paused_there_too(moving: Move) -> None:
    settle(moving.old, fires("waits"))
    moving.old.paused("pd")
    since = rows(moving.old)["lanes"]
    moving.moved()
    assert rows(moving.old)["lanes"] == since
    assert not isinstance(moving.ledger(moving.new_url).claim("pd"), Claimed)


def test_half_a_move_is_none_and_another_try_ends_it(moving: Move) -> None:
    settle(moving.old, *(fires(f"f{number}") for number in range(CHUNK_ROWS + 1)))
    before = rows(moving.old)
    seen: list[tuple[int, int]] = []

    def breaks(done: int, number: int) -> None:
        seen.append((done, number))
        if done > number / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        moving.moved(breaks)
    assert rows(moving.old) == before
    assert not any(rows(moving.ledger(moving.new_url))[name] for name in ("events", "incidents", "deliveries"))
    seen.clear()
    total = moving.moved(lambda done, number: seen.append((done, number))).rows
    assert seen[-1] == (total, total)
    assert rows(moving.ledger(moving.new_url)) == before


def test_who_writes_to_the_old_ledger_meanwhile_waits_and_finds_it_paused(moving: Move) -> None:
    settle(moving.old, fires("before"))
    late = moving.ledger(moving.old_url)
    wrote = threading.Event()

    def write() -> None:
        settle(late, fires("meanwhile"))
        wrote.set()

    writing = threading.Thread(target=write)

    def begin(_done: int, _number: int) -> None:
        if not writing.ident:
            writing.start()
        assert not wrote.wait(0.2)

    moving.moved(begin)
    writing.join(20)
    assert wrote.is_set()
    assert states(moving.ledger(moving.new_url)) == ["pending"]
    assert states(late) == ["pending", "pending"]
    assert not isinstance(late.claim("pd"), Claimed)


def test_what_processes_make_when_they_start_is_no_use_of_the_new_ledger(moving: Move) -> None:
    settle(moving.old, fires("waits"))
    moving.ledger(moving.new_url).paused("pd")
    moving.moved()
    assert isinstance(moving.ledger(moving.new_url).claim("pd"), Claimed)


@pytest.mark.parametrize("said", ["an event", "a silence"])
def test_a_ledger_in_use_is_not_written_over(moving: Move, said: str) -> None:
    settle(moving.old, fires("old"))
    new = moving.ledger(moving.new_url)
    if said == "an event":
        settle(new, fires("new"))
    else:
        new.silence_added(silence(new))
    before = rows(new), rows(moving.old)
    with pytest.raises(NotMoved, match=r"in use \((events|silences): 1\); a ledger is moved to an empty"):
        moving.moved()
    assert (rows(new), rows(moving.old)) == before


def test_who_was_not_told_that_it_is_done_is_told_so_the_next_time(moving: Move) -> None:
    """The command was killed, or lost its terminal, after the new ledger was written."""
    settle(moving.old, fires("waits"))
    moving.moved()
    with pytest.raises(NotMoved, match=r"in use \(events: 1\); the newest event of .+ is there: it was moved before; "):
        moving.moved()


@pytest.mark.parametrize("which", ["old", "new"])
def test_processes_that_run_are_to_be_stopped_first(moving: Move, which: str) -> None:
    settle(moving.old, fires("waits"))
    running = moving.old if which == "old" else moving.ledger(moving.new_url)
    running.heartbeat(heartbeat("worker"))
    with pytest.raises(NotMoved, match=r"worker@h:1 ran on .* a moment ago: stop every process first") as told:
        moving.moved()
    assert "30 s after one that was killed" in str(told.value)
    running.heartbeat_ended("worker@h:1")
    assert moving.moved().waiting == 1


def test_an_old_version_is_brought_up_to_date_where_it_is(moving: Move) -> None:
    with moving.old.database.writing() as transaction:
        transaction.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0010'")
    with pytest.raises(NotMoved, match=r"version 0010, .* 'incident-bridge db upgrade'; .* still names the old one"):
        moving.moved()


def test_a_ledger_is_not_moved_onto_itself(moving: Move) -> None:
    settle(moving.old, fires("waits"))
    moving.new_url = moving.old_url
    with pytest.raises(NotMoved, match=r"is the ledger that ('ledger:' names|is moved, or somebody)"):
        moving.moved()
    assert isinstance(moving.old.claim("pd"), Claimed)


def test_an_old_ledger_that_cannot_be_paused_is_named(moving: Move) -> None:
    settle(moving.old, fires("waits"))
    lanes = metadata.tables["lanes"]
    source, target = Database(moving.old_url), Database(moving.new_url)

    def fails(_one: Any, _two: Any, statement: str, *_more: Any) -> None:
        if statement.startswith(f"UPDATE {lanes.name}"):
            raise sa.exc.OperationalError(statement, None, Exception("database or disk is full"))

    sa.event.listen(source.engine, "before_cursor_execute", fails)
    with pytest.raises(NotPaused, match=r"everything is in .*, but the lanes of .* \(.*disk is full.*\): see that"):
        move(source, target, BEATS_WITHIN, lambda _done, _number: None)
    assert isinstance(moving.ledger(moving.new_url).claim("pd"), Claimed)
    source.close()
    target.close()


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    source, target = Database(f"sqlite:///{tmp_path}/typo.db"), Database(sqlite_url(tmp_path))
    with pytest.raises(NotMoved, match=r"there is no file .*typo\.db: name the ledger that you move"):
        move(source, target, BEATS_WITHIN, lambda _done, _number: None)
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_a_ledger_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("no database\n" * 100)
    source, target = Database(f"sqlite:///{tmp_path}/notes.db"), Database(sqlite_url(tmp_path))
    with pytest.raises(NotMoved, match=r"notes\.db cannot be read: .* is damaged, or no ledger at all"):
        move(source, target, BEATS_WITHIN, lambda _done, _number: None)
    source.close()
    target.close()


def test_letters_that_postgresql_refuses_are_carried_as_signs(tmp_path: Path, postgres_url: str) -> None:
    old = open_ledger(sqlite_url(tmp_path))
    settle(old, fires("f"))
    with old.database.writing() as transaction:  # as an earlier version might have written it
        transaction.connection.exec_driver_sql("UPDATE incidents SET title = 'a' || char(0) || 'b'")
    target = Database(postgres_url)
    upgrade(target)
    move(old.database, target, BEATS_WITHIN, lambda _done, _number: None)
    new = open_ledger(postgres_url)
    assert [one["title"] for one in new.incidents(limit=1).items] == ["a�b"]
    for one in (old, new, target):
        one.close()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("u:hidden@db.example.com/name", "u:***@db.example.com/name"),
        ("u@db.example.com/name?password=hidden&sslpassword=hidden", "u@db.example.com/name"),
        ("u@/name?host=a&host=b&password=hidden", "u@/name?host=a&host=b"),
    ],
)
def test_a_ledger_is_called_by_where_it_is_without_its_password(address: str, name: str) -> None:
    """The name stands on the screen and in the audit."""
    ledger = Database(f"postgresql+psycopg://{address}")
    assert called(ledger) == f"postgresql+psycopg://{name}"
    ledger.close()
