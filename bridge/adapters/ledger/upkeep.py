"""What the clock asks of the ledger: lanes with something to do, heartbeats, letters that became too old, pruning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Select, bindparam, delete, exists, insert, select, update

from bridge.adapters.ledger.changes import Route
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.lanes import UNBLOCKED
from bridge.adapters.ledger.rows import lane_from, lane_row
from bridge.adapters.ledger.schema import alerts, attempts, deliveries, events, heartbeats, incidents, lanes, members
from bridge.domain.delivery import LaneClass
from bridge.domain.incident import IncidentState
from bridge.domain.lane import LEASE, LaneState, Pace, sane, slot
from bridge.domain.retry import BACKOFF_MAX

HEARTBEAT_DEAD_AFTER = timedelta(seconds=60)
PRUNE_MAX = 5000  # rows let go of in one transaction


def _waits(of: LaneClass, *, critical: bool) -> Select[Any]:
    conditions: list[ColumnElement[bool]] = [
        deliveries.c.lane == lanes.c.name,
        deliveries.c["class"] == of.value,
        deliveries.c.state == "pending",
        deliveries.c.next_at <= bindparam("now"),
        UNBLOCKED,
    ]
    if critical:
        conditions.append(deliveries.c.order_key < 0)
    return select(exists().where(*conditions).correlate(lanes))


_LANES = select(
    lanes,
    _waits(LaneClass.CREATE, critical=True).scalar_subquery().label("critical_waits"),
    _waits(LaneClass.CREATE, critical=False).scalar_subquery().label("create_waits"),
    _waits(LaneClass.UPDATE, critical=False).scalar_subquery().label("update_waits"),
)
_IN_FLIGHT = select(deliveries.c.lane, deliveries.c["class"], deliveries.c.lease_until).where(
    deliveries.c.state == "sending"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """One process that reported itself."""

    process: str
    kind: str
    host: str
    pid: int
    started_at: datetime
    beat_at: datetime


def due_lanes(transaction: Transaction, paces: Mapping[str, Pace]) -> list[str]:
    """Lanes with a delivery that may start now, or with a lease that ended, and that nobody was sent to lately."""
    connection, now = transaction.connection, transaction.now
    in_flight: dict[str, list[tuple[str, datetime]]] = {}
    for lane, of, lease_until in connection.execute(_IN_FLIGHT):
        in_flight.setdefault(lane, []).append((of, lease_until))
    due: list[str] = []
    for row in connection.execute(_LANES, {"now": now}).mappings():
        pace = paces.get(row["name"])
        if pace is None:
            continue
        state = sane(pace, lane_from(row), now)
        if state.armed_until is not None and state.armed_until > now:
            continue
        held = in_flight.get(state.name, [])
        ended = any(lease_until <= now or lease_until > now + LEASE for _, lease_until in held)
        busy = {of for of, _ in held}
        waits = {
            LaneClass.CREATE: (row["create_waits"], row["critical_waits"]),
            LaneClass.UPDATE: (row["update_waits"], row["update_waits"]),
        }
        if ended or any(_may_go(pace, state, of, waits[of], busy, now) for of in LaneClass):
            due.append(state.name)
    return due


def _may_go(
    pace: Pace, state: LaneState, of: LaneClass, waits: tuple[bool, bool], busy: set[str], now: datetime
) -> bool:
    anyone_waits, critical_waits = waits
    if of.value in busy or not anyone_waits:
        return False
    free = slot(pace, state, of, now, in_flight=len(busy))
    return free.anyone or (free.critical and critical_waits)


def arm(transaction: Transaction, names: Sequence[str]) -> None:
    """Remember that a job was sent to these lanes; a lost one is sent again when a lease has passed."""
    transaction.connection.execute(
        update(lanes).where(lanes.c.name.in_(names)).values(armed_until=transaction.now + LEASE)
    )


def disarm(transaction: Transaction, lane: str | None) -> None:
    """Forget the jobs sent to one lane, or to all of them."""
    statement = update(lanes).where(lanes.c.armed_until.is_not(None)).values(armed_until=None)
    transaction.connection.execute(statement if lane is None else statement.where(lanes.c.name == lane))


def ensure_lanes(transaction: Transaction, names: Sequence[str]) -> None:
    """A row for every configured lane; existing ones keep their state."""
    connection, now = transaction.connection, transaction.now
    known = set(connection.execute(select(lanes.c.name)).scalars())
    rows = [lane_row(LaneState(name=n, create_tat=now, update_tat=now)) for n in sorted(set(names) - known)]
    if rows:
        connection.execute(insert(lanes), rows)


def beat(transaction: Transaction, heartbeat: Heartbeat) -> None:
    """Write one process's heartbeat, and forget processes long silent."""
    connection, now = transaction.connection, transaction.now
    connection.execute(
        delete(heartbeats).where(
            (heartbeats.c.process == heartbeat.process) | (heartbeats.c.beat_at < now - HEARTBEAT_DEAD_AFTER * 10)
        )
    )
    row = {
        "process": heartbeat.process,
        "kind": heartbeat.kind,
        "host": heartbeat.host,
        "pid": heartbeat.pid,
        "started_at": heartbeat.started_at,
        "beat_at": now,
    }
    connection.execute(insert(heartbeats), row)


def silence(transaction: Transaction, process: str) -> None:
    """Take a process's heartbeat back: it ended in an orderly way."""
    transaction.connection.execute(delete(heartbeats).where(heartbeats.c.process == process))


def too_old(transaction: Transaction) -> list[tuple[str, str]]:
    """(lane, delivery) of waiting deliveries past their give_up_after, a bounded number."""
    rows = transaction.connection.execute(
        select(deliveries.c.lane, deliveries.c.id)
        .where(deliveries.c.state == "pending", deliveries.c.give_up_at <= transaction.now)
        .order_by(deliveries.c.id)
        .limit(200)
    )
    return [(row.lane, row.id) for row in rows]


def shorten_waits(transaction: Transaction) -> None:
    """After a clock jumped back: no retry further ahead than the longest backoff."""
    limit = transaction.now + BACKOFF_MAX
    transaction.connection.execute(
        update(deliveries)
        .where(deliveries.c.state == "pending", deliveries.c.reason.is_not(None), deliveries.c.next_at > limit)
        .values(next_at=limit)
    )


def far_ahead(transaction: Transaction) -> bool:
    """Whether shorten_waits has anything to do."""
    limit = transaction.now + BACKOFF_MAX
    found = select(
        exists().where(deliveries.c.state == "pending", deliveries.c.reason.is_not(None), deliveries.c.next_at > limit)
    )
    return bool(transaction.connection.execute(found).scalar())


def prune(transaction: Transaction, bodies: timedelta, history: timedelta) -> int:
    """Let go of bodies and of finished history past their retention, a bounded number of rows; how many went."""
    connection, now = transaction.connection, transaction.now
    gone = connection.execute(
        update(events)
        .where(events.c.id.in_(_oldest(events.c.id, events.c.received_at < now - bodies, events.c.body.is_not(None))))
        .values(body=None)
    ).rowcount
    old_events = _ids(connection, _oldest(events.c.id, events.c.received_at < now - history))
    if old_events:
        connection.execute(delete(alerts).where(alerts.c.event_id.in_(old_events)))
        gone += connection.execute(delete(events).where(events.c.id.in_(old_events))).rowcount
    over = incidents.c.state.in_((IncidentState.RESOLVED.value, IncidentState.CANCELLED.value))
    old_incidents = _ids(
        connection, _oldest(incidents.c.id, over, incidents.c.live.is_(False), incidents.c.opened_at < now - history)
    )
    if old_incidents:
        of_them = select(deliveries.c.id).where(deliveries.c.incident_id.in_(old_incidents))
        connection.execute(delete(attempts).where(attempts.c.delivery_id.in_(of_them)))
        connection.execute(delete(deliveries).where(deliveries.c.incident_id.in_(old_incidents)))
        connection.execute(delete(members).where(members.c.incident_id.in_(old_incidents)))
        gone += connection.execute(delete(incidents).where(incidents.c.id.in_(old_incidents))).rowcount
    return int(gone)


def routes_paces(routes: Mapping[str, Route]) -> dict[str, Pace]:
    """The pace of each lane: of accounts that share one, the slowest."""
    paces: dict[str, Pace] = {}
    for route in routes.values():
        held = paces.get(route.lane)
        slower = held is None or route.pace.interval > held.interval
        paces[route.lane] = route.pace if slower else replace(held or route.pace)
    return paces


def _oldest(column: Column[Any], *conditions: ColumnElement[bool]) -> Select[Any]:
    return select(column).where(*conditions).order_by(column).limit(PRUNE_MAX)


def _ids(connection: Connection, statement: Select[Any]) -> list[str]:
    return list(connection.execute(statement).scalars().all())
