"""How many workers the failing lanes may hold: half of them, so that no account waits behind a dead upstream.

Counted from the rows, whoever sent the job: calls under a lease, and the heartbeats of workers. Two lanes that claim in
the same instant may both find the last place free; on SQLite, where one writes at a time, they do not.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, update

from bridge.adapters.ledger.changes import Route
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.schema import deliveries, heartbeats, lanes, name_fetches
from bridge.domain.delivery import Reason
from bridge.domain.lane import FAILING_AFTER, LEASE, failing_share

WORKER = "worker"  # kind of a heartbeat
_REFUSALS = (Reason.AUTH.value, Reason.FORBIDDEN.value)
BEATS_WITHIN = timedelta(seconds=30)  # a worker beats every 10 s


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
    beats = heartbeats.c.beat_at.between(now - BEATS_WITHIN, now + BEATS_WITHIN)
    workers = _number(connection, heartbeats, heartbeats.c.kind == WORKER, beats)
    return failing_share(workers) - sending - fetching


def unpark(transaction: Transaction) -> frozenset[str]:
    """Lanes that wait because their key (401) or a permission (403) was refused may be tried at once; which they are.

    Somebody may have mended it. The first call tells; refused again, it parks the lane for another minute.
    """
    found: set[str] = set()
    for of in ("create", "update"):
        until, why = lanes.c[f"{of}_parked_until"], lanes.c[f"{of}_parked_why"]
        refused = (until > transaction.now) & why.in_((Reason.AUTH.value, Reason.FORBIDDEN.value))
        free = update(lanes).where(refused).values({until.name: None, why.name: None}).returning(lanes.c.name)
        found |= set(transaction.connection.execute(free).scalars())
    return frozenset(found)


def probe_now(transaction: Transaction, routes: Mapping[str, Route], lane: str) -> None:
    """Whatever was refused may be tried at once: a person mended the key, or the upstream. A 429 is still respected."""
    connection, now = transaction.connection, transaction.now
    held = select(lanes).where(lanes.c.name == lane).with_for_update()
    row = connection.execute(held).mappings().one()
    new: dict[str, Any] = {"armed_until": None, "probe_at": None if row["probe_at"] is None else now}
    for of in ("create", "update"):
        if row[f"{of}_parked_why"] in _REFUSALS:
            new |= {f"{of}_parked_until": None, f"{of}_parked_why": None}
    connection.execute(update(lanes).where(lanes.c.name == lane).values(new))
    waits = (deliveries.c.lane == lane, deliveries.c.state == "pending", deliveries.c.next_at > now)
    failed = deliveries.c.reason.in_([*_REFUSALS, Reason.NOT_CONNECTED.value, Reason.TIMEOUT.value])
    connection.execute(update(deliveries).where(*waits, failed).values(next_at=now))
    accounts = sorted(name for name, route in routes.items() if route.lane == lane)
    lists = update(name_fetches).where(name_fetches.c.account.in_(accounts), name_fetches.c.failures > 0)
    connection.execute(lists.values(due_at=now, asked_until=None))  # what it names may wait for a list


def _ahead(column: Any, now: datetime, most: timedelta) -> ColumnElement[bool]:
    """An instant still to come; further ahead than it can be, it was written before a clock jumped back."""
    found: ColumnElement[bool] = (column > now) & (column <= now + most)
    return found


def _number(connection: Connection, table: Any, *conditions: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one())
