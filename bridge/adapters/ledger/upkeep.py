"""What the clock asks of the ledger: lanes with something to do, heartbeats, letters that became too old."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    select,
    type_coerce,
    update,
)

from bridge.adapters.holders import is_gone
from bridge.adapters.ledger import probes
from bridge.adapters.ledger.changes import Route
from bridge.adapters.ledger.compiled import SizedStatement, Statement, listed, padded
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.lanes import UNBLOCKED
from bridge.adapters.ledger.rows import Row, lane_from, lane_row
from bridge.adapters.ledger.schema import (
    UNFINISHED,
    Instant,
    deliveries,
    heartbeats,
    lanes,
    to_us,
)
from bridge.domain.delivery import LaneClass
from bridge.domain.lane import ARMED, GONE_AFTER, JUMP_NOTICED, LEASE, LaneState, Pace, is_ahead, is_failing, sane, slot
from bridge.domain.retry import BACKOFF_MAX

HEARTBEAT_DEAD_AFTER = timedelta(seconds=60)
TOO_OLD_AT_ONCE = 200


def _waits(of: LaneClass, accounts: int, *, critical: bool) -> Select[Any]:
    conditions: list[ColumnElement[bool]] = [
        deliveries.c.lane == lanes.c.name,
        deliveries.c["class"] == of.value,
        deliveries.c.state == "pending",
        deliveries.c.next_at <= bindparam("now"),
        deliveries.c.account.in_(listed("account", accounts)),
        UNBLOCKED,
    ]
    if critical:
        conditions.append(deliveries.c.order_key < 0)
    return select(exists().where(*conditions).correlate(lanes))


@cache
def _lanes(accounts: int, only: int) -> Statement:
    """The lanes, and what waits in each of this many accounts; of `only` so many lanes, 0 for all of them."""
    found = select(
        lanes,
        _waits(LaneClass.CREATE, accounts, critical=True).scalar_subquery().label("critical_waits"),
        _waits(LaneClass.CREATE, accounts, critical=False).scalar_subquery().label("create_waits"),
        _waits(LaneClass.UPDATE, accounts, critical=False).scalar_subquery().label("update_waits"),
    )
    return Statement(found.where(lanes.c.name.in_(listed("lane", only))) if only else found)


_LANE_INSTANTS = tuple(column.name for column in lanes.c if isinstance(column.type, Instant))
_IN_FLIGHT = Statement(
    select(deliveries.c.lane, deliveries.c["class"], deliveries.c.lease_until).where(deliveries.c.state == "sending")
)
_HELD = Statement(
    select(deliveries.c.id, deliveries.c.lease_token).where(
        deliveries.c.state == "sending", deliveries.c.lease_until < bindparam("before")
    )
)
_ARM = SizedStatement(
    lambda names: update(lanes).where(lanes.c.name.in_(listed("names", names))).values(armed_until=bindparam("until"))
)
_IS_UNFINISHED = deliveries.c.state.in_(UNFINISHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """One process that reported itself."""

    process: str
    kind: str
    host: str
    pid: int
    started_at: datetime
    beat_at: datetime


def due_lanes(
    transaction: Transaction,
    paces: Mapping[str, Pace],
    routes: Mapping[str, Route],
    *,
    most: int,
    behind: str = "",
    only: Sequence[str] | None = None,
) -> list[str]:
    """Lanes with something for a worker to do, that nobody was sent to lately; `only` looks at no others.

    That is a delivery that may start now, a lease that ended, or an instant that only a claim can put right. They come
    in the order of their names from the one `behind` the last one that was served, so that of more than `most` each has
    its turn. Failing lanes come last, the one whose probe is due longest first, and no more of them than may occupy
    workers. Lanes with nothing to do cost a row each: a thousand of them are looked at four times a second.
    """
    connection, now = transaction.connection, transaction.now
    in_flight: dict[str, list[tuple[str, datetime]]] = {}
    for row in _IN_FLIGHT.rows(connection):
        in_flight.setdefault(row["lane"], []).append((row["class"], row["lease_until"]))
    due: list[str] = []
    probing: list[LaneState] = []
    probes_sent = 0
    for row in _rows(connection, now, routes, behind, only):
        pace = paces.get(row["name"])
        held = in_flight.get(row["name"], [])
        if pace is None or (not held and _is_idle(row, now)):
            continue
        stored = lane_from(row)
        if _is_armed(stored, now):
            probes_sent += is_failing(stored)
            continue
        if len(due) >= most and not is_failing(stored):
            continue
        state = sane(pace, stored, now)
        ended = any(lease_until <= now or lease_until > now + LEASE for _, lease_until in held)
        if ended or is_ahead(pace, stored, now):
            due.append(state.name)
        elif _may_start(pace, state, row, {of for of, _ in held}, now):
            if is_failing(state):
                probing.append(state)
            else:
                due.append(state.name)
    if probing:
        probing.sort(key=lambda state: (state.probe_at or now, state.name))
        room = probes.room(connection, routes, now) - probes_sent
        due.extend(state.name for state in probing[: max(0, room)])
    return due[:most]


def _is_idle(row: Row, now: datetime) -> bool:
    """Whether nothing waits in a lane and no instant of it lies ahead. Said of the bare row: most lanes are, always."""
    if row["create_waits"] or row["update_waits"]:
        return False
    return not any(row[name] is not None and row[name] > now for name in _LANE_INSTANTS)


def _rows(
    connection: Connection, now: datetime, routes: Mapping[str, Route], behind: str, only: Sequence[str] | None
) -> list[Row]:
    """The lanes, and what waits in each, from the first one behind that name on."""
    accounts, wanted = padded(routes), padded(only or ())
    if not accounts:
        return []  # nobody can send anything
    asked: dict[str, Any] = {"now": now}
    asked |= {f"account_{number}": account for number, account in enumerate(accounts)}
    asked |= {f"lane_{number}": lane for number, lane in enumerate(wanted)}
    found = _lanes(len(accounts), len(wanted)).rows(connection, **asked)
    return sorted(found, key=lambda row: (row["name"] <= behind, row["name"]))


def _is_armed(stored: LaneState, now: datetime) -> bool:
    """Whether a job is on its way; an instant further ahead than that was written before a clock jumped back."""
    return stored.armed_until is not None and now < stored.armed_until <= now + ARMED + JUMP_NOTICED


def _may_start(pace: Pace, state: LaneState, row: Row, busy: set[str], now: datetime) -> bool:
    waits = {
        LaneClass.CREATE: (row["create_waits"], row["critical_waits"]),
        LaneClass.UPDATE: (row["update_waits"], row["update_waits"]),
    }
    return any(_may_go(pace, state, of, waits[of], busy, now) for of in LaneClass)


def _may_go(
    pace: Pace, state: LaneState, of: LaneClass, waits: tuple[bool, bool], busy: set[str], now: datetime
) -> bool:
    anyone_waits, critical_waits = waits
    if of.value in busy or not anyone_waits:
        return False
    free = slot(pace, state, of, now, in_flight=len(busy))
    return free.anyone or (free.critical and critical_waits)


def leases_of_gone(transaction: Transaction) -> list[str]:
    """Deliveries under a lease whose holder has died on this machine, so long ago that its call has ended as well."""
    now = transaction.now
    held = _HELD.rows(transaction.connection, before=now + LEASE - GONE_AFTER)
    return [row["id"] for row in held if row["lease_token"] is not None and is_gone(row["lease_token"])]


def end_leases(transaction: Transaction, ids: Sequence[str]) -> None:
    """These leases are over now, if they still are what they were: the next claim takes the deliveries back."""
    still = deliveries.c.id.in_(ids), deliveries.c.state == "sending", deliveries.c.lease_until > transaction.now
    transaction.connection.execute(update(deliveries).where(*still).values(lease_until=transaction.now))


def arm(transaction: Transaction, names: Sequence[str]) -> None:
    """Remember that a job was sent to these lanes; a lost one is sent again after ARMED."""
    _ARM.run(transaction.connection, {"until": transaction.now + ARMED}, names=padded(names))


def disarm(transaction: Transaction, lane: str | None) -> None:
    """Forget the jobs sent to one lane, or to all of them."""
    statement = update(lanes).where(lanes.c.armed_until.is_not(None)).values(armed_until=None)
    transaction.connection.execute(statement if lane is None else statement.where(lanes.c.name == lane))


def are_lanes_ensured(transaction: Transaction, routes: Mapping[str, Route]) -> bool:
    """Whether ensure_lanes has nothing to do."""
    known = set(transaction.connection.execute(select(lanes.c.name)).scalars())
    return known.issuperset(route.lane for route in routes.values()) and not _astray(transaction.connection, routes)


def ensure_lanes(transaction: Transaction, routes: Mapping[str, Route]) -> None:
    """A row for every configured lane, and what is unfinished in the lane of its account, whatever it was called.

    Lanes keep their state; a new one takes over the pace and the pause of the lane its deliveries come from.
    """
    connection, now = transaction.connection, transaction.now
    known = {row["name"]: lane_from(row) for row in connection.execute(select(lanes)).mappings()}
    astray = _astray(connection, routes)
    rows: list[dict[str, Any]] = []
    for name in sorted({route.lane for route in routes.values()} - known.keys()):
        left = [known[lane] for account, lane in astray if routes[account].lane == name and lane in known]
        fresh = LaneState(name=name, create_tat=now, update_tat=now)
        heir = max(left, key=lambda state: (state.paused_at is not None, state.create_tat), default=fresh)
        rows.append(lane_row(replace(heir, name=name, armed_until=None)))
    if rows:
        connection.execute(insert(lanes), rows)
    for account in sorted({account for account, _ in astray}):
        lane = routes[account].lane
        connection.execute(
            update(deliveries)
            .where(deliveries.c.account == account, deliveries.c.lane != lane, _IS_UNFINISHED)
            .values(lane=lane)
        )


def _astray(connection: Connection, routes: Mapping[str, Route]) -> list[tuple[str, str]]:
    """(account, lane) of unfinished deliveries that wait in another lane than their account's."""
    found = select(deliveries.c.account, deliveries.c.lane).distinct()  # each state has an index of its own
    rows = {tuple(row) for state in UNFINISHED for row in connection.execute(found.where(deliveries.c.state == state))}
    return sorted((account, lane) for account, lane in rows if account in routes and routes[account].lane != lane)


def beat(transaction: Transaction, heartbeat: Heartbeat) -> None:
    """Write one process's heartbeat, and forget processes long silent, or silent since a clock jumped back."""
    connection, now = transaction.connection, transaction.now
    forgotten = HEARTBEAT_DEAD_AFTER * 10
    connection.execute(
        delete(heartbeats).where(
            (heartbeats.c.process == heartbeat.process)
            | ~heartbeats.c.beat_at.between(now - forgotten, now + forgotten)
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


def too_old(transaction: Transaction, routes: Mapping[str, Route]) -> list[tuple[str, str, str]]:
    """(lane, account, delivery) of the configured accounts' deliveries past their give_up_after, a bounded number."""
    rows = transaction.connection.execute(
        select(deliveries.c.lane, deliveries.c.account, deliveries.c.id)
        .where(
            deliveries.c.state == "pending",
            deliveries.c.give_up_at <= transaction.now,
            deliveries.c.account.in_(sorted(routes)),
            deliveries.c.lane.in_(sorted({route.lane for route in routes.values()})),
        )
        .order_by(deliveries.c.id)
        .limit(TOO_OLD_AT_ONCE)
    )
    return [(row.lane, row.account, row.id) for row in rows]


def shorten_waits(transaction: Transaction) -> None:
    """After a clock jumped back: nothing waits because of what the clock said before.

    What was written in the future, as it now looks, moves back by one and the same time: its order and its waits stay
    as they were. A retry waits no longer than the longest backoff.
    """
    connection, now = transaction.connection, transaction.now
    newest = connection.execute(select(func.max(deliveries.c.created_at)).where(_is_from_the_future(now))).scalar()
    if newest is not None:
        shift_us = to_us(newest) - to_us(now)
        moved = {name: _less(name, shift_us) for name in ("created_at", "next_at", "give_up_at", "order_key")}
        first_at = case(
            (deliveries.c.first_attempt_at > now, _less("first_attempt_at", shift_us)),
            else_=type_coerce(deliveries.c.first_attempt_at, BigInteger),
        )
        connection.execute(
            update(deliveries).where(_is_from_the_future(now)).values(**moved, first_attempt_at=first_at)
        )
    connection.execute(update(deliveries).where(_waits_too_long(now)).values(next_at=now + BACKOFF_MAX))


def far_ahead(transaction: Transaction) -> bool:
    """Whether shorten_waits has anything to do."""
    now = transaction.now
    waits = deliveries.c.state == "pending"  # said by itself, SQLite takes the index of what waits
    found = select(exists().where(waits, _waits_too_long(now) | _is_from_the_future(now)))
    return bool(transaction.connection.execute(found).scalar())


def _is_from_the_future(now: datetime) -> ColumnElement[bool]:
    return (deliveries.c.state == "pending") & (deliveries.c.created_at > now + JUMP_NOTICED)


def _waits_too_long(now: datetime) -> ColumnElement[bool]:
    is_retry = deliveries.c.reason.is_not(None)
    return (deliveries.c.state == "pending") & is_retry & (deliveries.c.next_at > now + BACKOFF_MAX)


def _less(name: str, shift_us: int) -> ColumnElement[int]:
    return type_coerce(deliveries.c[name], BigInteger) - shift_us


def routes_paces(routes: Mapping[str, Route]) -> dict[str, Pace]:
    """The pace of each lane: of accounts that share one, the slowest."""
    paces: dict[str, Pace] = {}
    for route in routes.values():
        held = paces.get(route.lane)
        slower = held is None or route.pace.interval > held.interval
        paces[route.lane] = route.pace if slower else replace(held or route.pace)
    return paces


def pause(transaction: Transaction, lane: str, *, pause: bool) -> None:
    """Hold a lane back until it is resumed, or let it go on."""
    at = transaction.now if pause else None
    transaction.connection.execute(update(lanes).where(lanes.c.name == lane).values(paused_at=at))
