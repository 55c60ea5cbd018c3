"""A whole ledger into another database: for whoever outgrows one machine, or goes back to one.

What is known of open incidents, of their keys and of what waits lives in no other place: an empty ledger would page
anew for whatever still fires.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from bridge.adapters.ledger.engine import Database, Transaction, first_line
from bridge.adapters.ledger.read_lanes import alive
from bridge.adapters.ledger.schema import (
    UNFINISHED,
    Instant,
    deliveries,
    events,
    heartbeats,
    incidents,
    lanes,
    metadata,
)
from bridge.adapters.ledger.upgrade import SchemaError, require_current, upgrade
from bridge.domain.errors import BridgeError, LedgerUnavailable
from bridge.domain.text import storable

CHUNK_ROWS = 500  # in one go, but
CHUNK_BYTES = 4 << 20  # not more than these: a body has up to `max_body`
_READ_AT_ONCE = 50  # rows a driver holds of what it reads
_STAYS = frozenset({heartbeats.name})  # of processes that have ended
# While the other side writes this one is idle, for longer than engine.IDLE_MAX_MS where a disk is slow.
_PATIENT = "SET LOCAL idle_in_transaction_session_timeout = '10min'"
_ONCE = "SELECT pg_try_advisory_xact_lock(1776423)"
# What senders and people said: where there is some, the ledger is in use. All else a process makes when it starts.
_SAID = ("events", "incidents", "deliveries", "silences", "audit")


class NotMoved(BridgeError):
    """The ledger is where it was, and nowhere else; the message says why and what to do."""


class NotPaused(BridgeError):
    """The new ledger is whole, and the old one would send what waits, too, if anything were started on it."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What the new ledger holds now."""

    rows: int
    events: int
    open: int  # incidents that live
    waiting: int  # deliveries that are owed


def called(database: Database) -> str:
    """A ledger's name for people: its file, or its address without what it is opened with."""
    if database.file is not None:
        return str(database.file)
    address = make_url(database.url)
    # of the options only where it is: a password may be one of them
    places = {name: value for name, value in address.query.items() if name in ("host", "port", "dbname", "user")}
    return address.set(query=places).render_as_string()


def move(source: Database, target: Database, within: timedelta, counted: Callable[[int, int], None]) -> Moved:
    """Carry every row from a ledger to an empty one, then pause every lane of the old: what waits is owed once.

    All or nothing; nobody writes to either meanwhile. `within`: how old the heartbeat of a process that runs may be;
    `counted` is told how many rows of how many are done. Raises NotMoved, NotPaused, LedgerUnavailable.
    """
    _require_ledger(source, target)
    upgrade(target)
    done = None
    try:
        with source.writing() as old:
            _only_ours(source, old, within)
            done = _copied(source, old, target, within, counted)
            old.connection.execute(sa.update(lanes).where(lanes.c.paused_at.is_(None)).values(paused_at=old.now))
    except (DBAPIError, LedgerUnavailable) as error:
        if done is not None:
            paused = f"everything is in {called(target)}, but the lanes of {called(source)} could not be paused"
            raise NotPaused(f"{paused} ({first_line(error)}): see that nothing is started on it again") from error
        if isinstance(error, LedgerUnavailable):
            raise
        raise NotMoved(f"{first_line(error)}; nothing was changed") from error
    _analyzed(target)
    return done


def _copied(
    source: Database, old: Transaction, target: Database, within: timedelta, counted: Callable[[int, int], None]
) -> Moved:
    """Everything is in the new ledger, committed."""
    with target.writing() as new:
        _only_ours(target, new, within)
        _require_unused(source, old, target, new)
        _carried(source, old, new, counted)
        return Moved(
            rows=sum(_number(new, _plain(one)) for one in metadata.sorted_tables),
            events=_number(new, events),
            open=_number(new, incidents, incidents.c.live),
            waiting=_number(new, deliveries, deliveries.c.state.in_(UNFINISHED)),
        )


def _require_ledger(source: Database, target: Database) -> None:
    """There is a ledger to move, of the version that this program knows, and it is not the same one."""
    if source.file is not None and not source.file.exists():
        raise NotMoved(f"there is no file {source.file}: name the ledger that you move")
    if _is_same(source.file, target.file):
        raise NotMoved(f"{called(source)} is the ledger that 'ledger:' names: set 'ledger:' to the new one first")
    try:
        require_current(source)
    except LedgerUnavailable as error:
        raise NotMoved(f"{called(source)} cannot be read: {error}") from error
    except SchemaError as error:
        advice = "that is to be done while 'ledger:' still names the old one"
        raise NotMoved(f"{called(source)}: {error}; {advice}") from error


def _is_same(one: Path | None, other: Path | None) -> bool:
    return one is not None and other is not None and other.exists() and one.samefile(other)


def _only_ours(database: Database, transaction: Transaction, within: timedelta) -> None:
    """Nobody else writes until the transaction ends, and no process is running that would go on afterwards."""
    if not database.is_sqlite:
        if not transaction.connection.exec_driver_sql(_ONCE).scalar():  # else it would wait for its own lock for ever
            raise NotMoved(f"{called(database)} is the ledger that is moved, or somebody moves it already")
        database.unhurried(transaction)
        transaction.connection.exec_driver_sql(_PATIENT)
        every = ", ".join(one.name for one in metadata.sorted_tables)
        transaction.connection.exec_driver_sql(f"LOCK TABLE {every} IN SHARE ROW EXCLUSIVE MODE")
    if running := [one["process"] for one in alive(transaction, within)]:
        raise NotMoved(
            f"{', '.join(running)} ran on {called(database)} a moment ago: stop every process first, and try again "
            f"{within.total_seconds():g} s after one that was killed"
        )


def _require_unused(source: Database, old: Transaction, target: Database, new: Transaction) -> None:
    for name in _SAID:
        if not (number := _number(new, metadata.tables[name])):
            continue
        advice = "a ledger is moved to an empty database"
        if _is_moved(old, new):  # whoever killed the command, or lost its terminal, does not know that it was done
            advice = (
                f"the newest event of {called(source)} is there: it was moved before; "
                "start the processes on the new one, and none on the old, whose lanes may not be paused"
            )
        raise NotMoved(f"{called(target)} is in use ({name}: {number:,}); {advice}")


def _is_moved(old: Transaction, new: Transaction) -> bool:
    newest = old.connection.execute(sa.select(sa.func.max(events.c.id))).scalar()
    return newest is not None and _number(new, events, events.c.id == newest) > 0


def _carried(source: Database, old: Transaction, new: Transaction, counted: Callable[[int, int], None]) -> None:
    plain = [_plain(one) for one in metadata.sorted_tables]
    numbers = {one.name: _number(old, one) for one in plain if one.name not in _STAYS}
    done = 0
    for one in plain:
        new.connection.execute(sa.delete(one))
        if one.name in _STAYS:
            continue
        with closing(_read(source, old, one)) as rows:
            for chunk in _chunks(rows):
                new.connection.execute(sa.insert(one), chunk)
                done += len(chunk)
                counted(done, sum(numbers.values()))
        if (arrived := _number(new, one)) != numbers[one.name]:
            raise NotMoved(f"{arrived} of {numbers[one.name]} rows of {one.name} arrived; nothing was changed")


def _read(source: Database, old: Transaction, one: sa.TableClause) -> Generator[sa.RowMapping, None, None]:
    """The rows of one table. Raises NotMoved: it is not the new ledger that has the trouble."""
    try:
        with old.connection.execute(sa.select(one).execution_options(yield_per=_READ_AT_ONCE)) as result:
            yield from result.mappings()
    except DBAPIError as error:
        raise NotMoved(f"{called(source)} cannot be read: {first_line(error)}; nothing was changed") from error


def _plain(of: sa.TableClause) -> sa.TableClause:
    """The same table, its instants as the numbers that they are stored as: nothing is read, only carried."""
    columns = [
        sa.column(one.name, sa.BigInteger() if isinstance(one.type, Instant) else one.type) for one in of.columns
    ]
    return sa.table(of.name, *columns)


def _chunks(rows: Iterable[sa.RowMapping]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        chunk.append({name: storable(value) if isinstance(value, str) else value for name, value in row.items()})
        size += sum(len(value) for value in row.values() if isinstance(value, str | bytes))
        if len(chunk) >= CHUNK_ROWS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _number(transaction: Transaction, of: sa.TableClause, only: sa.ColumnElement[bool] | None = None) -> int:
    asked = sa.select(sa.func.count()).select_from(of)
    return int(transaction.connection.execute(asked if only is None else asked.where(only)).scalar_one())


def _analyzed(target: Database) -> None:
    """PostgreSQL learns at once what it holds: until it looks by itself, it plans as if for a few rows."""
    if target.is_sqlite:
        return
    with target.writing() as transaction:
        target.unhurried(transaction)
        for one in metadata.sorted_tables:
            transaction.connection.exec_driver_sql(f"ANALYZE {one.name}")
