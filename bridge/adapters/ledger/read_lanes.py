"""What people ask of lanes, and of the processes that serve them: an item per account, and who is alive."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, case, func, select

from bridge.adapters.ledger.activity import open_by_account
from bridge.adapters.ledger.changes import Route, route_of
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.reads import rfc3339
from bridge.adapters.ledger.rows import lane_from
from bridge.adapters.ledger.schema import UNFINISHED, deliveries, heartbeats, incidents, lanes, members
from bridge.domain.alert import Severity
from bridge.domain.delivery import Action, LaneClass, Reason
from bridge.domain.folding import is_still_behind
from bridge.domain.lane import held_by, parked_sentence, sane, tokens

_NO_ANSWER = tuple(
    one.value
    for one in (
        Reason.TIMEOUT,
        Reason.CONNECTION_LOST,
        Reason.NOT_CONNECTED,
        Reason.SERVER_ERROR,
        Reason.UNREADABLE_ANSWER,
    )
)  # what makes a lane a failing one


def list_lanes(
    transaction: Transaction, routes: Mapping[str, Route], rates: Mapping[str, tuple[str, str]]
) -> list[dict[str, Any]]:
    """One item per account; `rates` gives each account's type and its rate in the owner's words."""
    connection, now = transaction.connection, transaction.now
    states = {row["name"]: lane_from(row) for row in connection.execute(select(lanes)).mappings()}
    waiting = [row for state in UNFINISHED for row in _waiting(connection, state, now)]
    of_dead = select(deliveries.c.account, func.count()).where(deliveries.c.state == "dead")
    dead: dict[str, int] = {row[0]: row[1] for row in connection.execute(of_dead.group_by(deliveries.c.account))}
    return [
        _lane_item(account, routes, rates[account], states, [r for r in waiting if r[0] == account], dead, now)
        for account in sorted(rates)
    ]


def last_said(transaction: Transaction, routes: Mapping[str, Route], account: str) -> str | None:
    """What the upstream said instead of an answer to the first of an account's deliveries that are tried again."""
    tried_again = (
        select(func.coalesce(deliveries.c.detail, deliveries.c.reason))
        .where(deliveries.c.lane == route_of(routes, account).lane, deliveries.c.account == account)
        .where(deliveries.c.state == "pending", deliveries.c.reason.in_(_NO_ANSWER))
        .order_by(deliveries.c["class"], deliveries.c.order_key)  # creates first, as the lane takes them
        .limit(1)
    )
    return transaction.connection.execute(tried_again).scalar()


def unconfigured(transaction: Transaction, accounts: Collection[str]) -> list[dict[str, Any]]:
    """What is bound to accounts other than these: incidents that are open there, deliveries that nobody sends."""
    other = deliveries.c.account.not_in(sorted(accounts))
    waits = select(deliveries.c.account, func.count()).group_by(deliveries.c.account)
    found: dict[str, dict[str, Any]] = {}
    for account, number in open_by_account(transaction).items():
        if account not in accounts:
            found[account] = {"account": account, "open": number, "waiting": 0}
    for state in UNFINISHED:  # each has an index of its own
        waiting = waits.where(deliveries.c.state == state, deliveries.c.action != Action.CHECK.value, other)
        for account, number in transaction.connection.execute(waiting):
            found.setdefault(account, {"account": account, "open": 0, "waiting": 0})["waiting"] += number
    return [found[account] for account in sorted(found)]


def unheard(transaction: Transaction, sources: Collection[str]) -> dict[str, int]:
    """Of other sources than these: how many live incidents wait for one to say that its problem is over."""
    fires = members.c.firing, members.c.source.not_in(sorted(sources)), incidents.c.live
    counted = select(members.c.source, func.count(members.c.incident_id.distinct())).where(*fires)
    counted = counted.join_from(members, incidents, incidents.c.id == members.c.incident_id)
    return {row[0]: row[1] for row in transaction.connection.execute(counted.group_by(members.c.source))}


def _waiting(connection: Connection, state: str, now: datetime) -> Sequence[Any]:
    """(account, severity, number, oldest) of the deliveries in one state, each of which has an index of its own.

    A resolve that is held on purpose (hold_resolve) does not wait yet, and nobody waits for a check.
    """
    is_resolve = deliveries.c.action == Action.RESOLVE.value
    is_held = and_(is_resolve, deliveries.c.attempts == 0, deliveries.c.next_at > now)
    since = case((and_(is_resolve, deliveries.c.attempts == 0), deliveries.c.next_at), else_=deliveries.c.created_at)
    return connection.execute(
        select(deliveries.c.account, incidents.c.severity, func.count(), func.min(since))
        .join_from(deliveries, incidents, incidents.c.id == deliveries.c.incident_id)
        .where(deliveries.c.state == state, deliveries.c.action != Action.CHECK.value, ~is_held)
        .group_by(deliveries.c.account, incidents.c.severity)
    ).all()


def _lane_item(
    account: str,
    routes: Mapping[str, Route],
    rate: tuple[str, str],
    states: Mapping[str, Any],
    waiting: Sequence[Any],
    dead: Mapping[str, int],
    now: datetime,
) -> dict[str, Any]:
    route = route_of(routes, account)
    held = states.get(route.lane)
    state = None if held is None else sane(route.pace, held, now)
    oldest = min((row[3] for row in waiting), default=None)
    paused = None if state is None else max(filter(None, (state.create_parked_until, state.probe_at)), default=None)
    return {
        "account": account,
        "type": rate[0],
        "rate": rate[1],
        "lane": route.lane,
        "tokens": None if state is None else round(tokens(route.pace, state, LaneClass.CREATE, now), 2),
        "burst": route.pace.burst,
        "waiting": sum(row[2] for row in waiting),
        "waiting_by_severity": {s.value: sum(row[2] for row in waiting if row[1] == s) for s in Severity},
        "oldest_wait_s": None if oldest is None else round((now - oldest).total_seconds(), 1),
        "paused_until": rfc3339(paused) if paused is not None and paused > now else None,
        "parked": None if state is None else parked_sentence(state, now),
        "held_by": None if state is None else held_by(state, now),
        "paused": state is not None and state.paused_at is not None,  # by an operator
        "folding": state is not None and is_still_behind(route.pace, state, now),  # creates go out several as one
        "dead": dead.get(account, 0),
    }


def alive(transaction: Transaction, within: timedelta) -> list[dict[str, Any]]:
    """Processes whose heartbeat is younger than `within`; one from far ahead is from before a clock jumped back."""
    young = heartbeats.c.beat_at.between(transaction.now - within, transaction.now + within)
    rows = transaction.connection.execute(select(heartbeats).where(young).order_by(heartbeats.c.process)).mappings()
    return [
        {
            "process": row["process"],
            "kind": row["kind"],
            "host": row["host"],
            "pid": row["pid"],
            "started_at": rfc3339(row["started_at"]),
            "beat_age_s": round((transaction.now - row["beat_at"]).total_seconds(), 1),
        }
        for row in rows
    ]
