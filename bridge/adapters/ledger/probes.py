"""How many workers the failing lanes may hold: half of them, so that no account waits behind a dead upstream.

Counted from the rows, whoever sent the job: calls under a lease, and the heartbeats of workers. Two lanes that claim in
the same instant may both find the last place free; on SQLite, where one writes at a time, they do not.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, select, update

from bridge.adapters.ledger.changes import Route
from bridge.adapters.ledger.compiled import Statement
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.schema import deliveries, heartbeats, lanes, name_fetches
from bridge.domain.alarms import BEATS_WITHIN
from bridge.domain.delivery import Reason
from bridge.domain.lane import FAILING_AFTER, LEASE, failing_share

WORKER = "worker"  # kind of a heartbeat
_REFUSALS = (Reason.AUTH.value, Reason.FORBIDDEN.value)
_END_BACKOFFS = Statement(
    update(deliveries)
    .where(
        deliveries.c.lane == bindparam("of_lane"),
        deliveries.c.state == "pending",
        deliveries.c.reason.is_not(None),
        deliveries.c.next_at > bindparam("at"),
    )
    .values(next_at=bindparam("at"))
)


def room(connection: Connection, routes: Mapping[str, Route], now: datetime) -> int:
    """How many more calls to failing upstreams may begin now."""
    failing = set(connection.execute(select(lanes.c.name).where(lanes.c.failures >= FAILING_AFTER)).scalars())
    accounts = sorted(name for name, route in routes.items() if route.lane in failing)
    sending = _number(
        connection,
        deliveries,
        deliveries.c.state == "sending",
        deliveries.c.lane.in_(sorted(failing)),
        _ahead(deliveries.c.lease_until, now, LEASE),
    )
    fetching = _number(
        connection, name_fetches, name_fetches.c.account.in_(accounts), _ahead(name_fetches.c.lease_until, now, LEASE)
    )
    return failing_share(_workers(connection, now)) - sending - fetching


def may_fetch(connection: Connection, account: str, now: datetime) -> bool:
    """Whether one more list of names of an account may be fetched now.

    Where one has failed, the lists of all such accounts hold half of the workers at most: no delivery goes out while
    its list is missing, so that their lanes never count as failing, and an account has more lists than there are
    workers. A worker that is alone does one thing at a time.
    """
    troubled = select(name_fetches.c.account).where(name_fetches.c.failures > 0)
    if not _number(connection, name_fetches, name_fetches.c.account == account, name_fetches.c.failures > 0):
        return True
    leased = _ahead(name_fetches.c.lease_until, now, LEASE)
    fetching = _number(connection, name_fetches, name_fetches.c.account.in_(troubled), leased)
    workers = _workers(connection, now)
    return workers <= 1 or fetching < failing_share(workers)


def unpark(transaction: Transaction, *lanes_of: ColumnElement[bool]) -> frozenset[str]:
    """Lanes that wait because their key (401) or a permission (403) was refused may be tried at once; which they are.

    Somebody may have mended it. The first call tells; refused again, it parks the lane for another minute.
    """
    found: set[str] = set()
    for of in ("create", "update"):
        until, why = lanes.c[f"{of}_parked_until"], lanes.c[f"{of}_parked_why"]
        refused = (until > transaction.now) & why.in_(_REFUSALS)
        free = update(lanes).where(refused, *lanes_of).values({until.name: None, why.name: None})
        found |= set(transaction.connection.execute(free.returning(lanes.c.name)).scalars())
    return frozenset(found)


def refused_now(transaction: Transaction) -> frozenset[str]:
    """Whatever was refused (401, 403) is tried again at once, lanes and single deliveries; the lanes of it."""
    refused = (deliveries.c.state == "pending") & deliveries.c.reason.in_(_REFUSALS)
    waits = update(deliveries).where(refused, deliveries.c.next_at > transaction.now)
    again = transaction.connection.execute(waits.values(next_at=transaction.now).returning(deliveries.c.lane))
    return unpark(transaction) | frozenset(again.scalars())


def probe_now(transaction: Transaction, routes: Mapping[str, Route], lane: str) -> None:
    """Whatever was refused may be tried at once: a person mended the key, or the upstream. A 429 is still respected."""
    connection, now = transaction.connection, transaction.now
    this = lanes.c.name == lane
    connection.execute(update(lanes).where(this).values(armed_until=None))
    unpark(transaction, this)
    connection.execute(update(lanes).where(this, lanes.c.probe_at.is_not(None)).values(probe_at=now))
    end_backoffs(connection, lane, now)
    accounts = sorted(name for name, route in routes.items() if route.lane == lane)
    lists = update(name_fetches).where(name_fetches.c.account.in_(accounts), name_fetches.c.failures > 0)
    connection.execute(lists.values(due_at=now, asked_until=None))  # what it names may wait for a list


def end_backoffs(connection: Connection, lane: str, now: datetime) -> None:
    """What failed waits no longer before it is tried again: the upstream answers, or a person says that it does."""
    _END_BACKOFFS.run(connection, [{"of_lane": lane, "at": now}])


def _ahead(column: Any, now: datetime, most: timedelta) -> ColumnElement[bool]:
    """An instant still to come; further ahead than it can be, it was written before a clock jumped back."""
    found: ColumnElement[bool] = (column > now) & (column <= now + most)
    return found


def _workers(connection: Connection, now: datetime) -> int:
    beats = heartbeats.c.beat_at.between(now - BEATS_WITHIN, now + BEATS_WITHIN)
    return _number(connection, heartbeats, heartbeats.c.kind == WORKER, beats)


def _number(connection: Connection, table: Any, *conditions: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one())
