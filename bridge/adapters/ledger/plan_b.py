"""Plan B in the ledger: which critical pages wait too long, and the incidents that stand for theirs.

Derived from the rows at every look: no incident has two that stand for it (`incidents_stands_for`), and no series two
at once, whoever looks at the same time and whenever a process dies.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, exists, func, literal_column, or_, select, union_all, update

from bridge.adapters.ledger.changes import Changes, Route
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.renewals import next_n
from bridge.adapters.ledger.rows import body_in, incident_from, lane_from, member_from
from bridge.adapters.ledger.schema import IDS_AT_ONCE, deliveries, incidents, lanes, members, problems, series
from bridge.adapters.ledger.world import lock_series
from bridge.domain.alert import Severity
from bridge.domain.delivery import PAGES, Action, DeliveryState, Reason
from bridge.domain.incident import Incident, IncidentState, Member
from bridge.domain.lane import LaneState, sane
from bridge.domain.plan_b import body_for, gives_way, series_for, stand_in, why_now
from bridge.domain.transitions import moved, superseded

LOOKED_AT = 1000  # waiting creates, of one round
AT_ONCE = 100  # incidents that get another one to stand for them, of one round
_OPEN_FOR_MORE = (IncidentState.PENDING.value, IncidentState.SENDING.value, IncidentState.OPEN.value)

_other = incidents.alias("other")


def waiting(transaction: Transaction, routes: Mapping[str, Route]) -> list[tuple[str, str]]:
    """(account, page) that go to plan B now, those that wait longest first, a bounded number.

    A page is a create, or what re-opens an incident: both tell somebody who does not know of it.
    """
    plans = {name: route.plan_b for name, route in routes.items() if route.plan_b is not None}
    if not plans:
        return []
    connection, now = transaction.connection, transaction.now
    held = _lanes(connection, routes, now)
    found: list[tuple[str, str]] = []
    for row in connection.execute(_unrepresented(list(plans))):
        plan, lane = plans[row.account], held.get(row.account)
        if lane is None:
            continue
        if why_now(DeliveryState(row.state), Action(row.action), row.created_at, lane, plan, now) is not None:
            found.append((row.account, row.id))
    return found[:AT_ONCE]


def open_one(
    transaction: Transaction, routes: Mapping[str, Route], new_id: Callable[[], str], account: str, page: str
) -> Incident | None:
    """Another account's incident stands for that of a page, if it still has to: that one."""
    connection, now = transaction.connection, transaction.now
    plan = routes[account].plan_b
    lane = _lanes(connection, routes, now).get(account)
    incident_id = connection.execute(select(deliveries.c.incident_id).where(deliveries.c.id == page)).scalar()
    if plan is None or lane is None or incident_id is None:
        return None
    of_incident = select(incidents).where(incidents.c.id == incident_id)
    incident = incident_from(connection.execute(of_incident).mappings().one())
    fresh_series = series_for(incident, plan)
    changes = Changes(now=now, routes=routes, new_id=new_id)
    locked = _lock_problems(connection, _firing_of(connection, incident_id))
    lock_series(connection, changes, {incident.series, fresh_series}, {fresh_series: plan})
    # only now is what was read certain to stay so
    incident = incident_from(connection.execute(of_incident).mappings().one())
    row = connection.execute(select(deliveries).where(deliveries.c.id == page)).mappings().one()
    state = DeliveryState(row["state"])
    is_over = not incident.live or incident.firing == 0 or incident.severity is not Severity.CRITICAL
    waits = state in (DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.DEAD)
    asked = state, Action(row["action"]), row["created_at"], lane, plan, now
    why = why_now(*asked) if waits and not is_over else None
    told = exists().where(incidents.c.stands_for == incident.id, _represents(incidents))
    if why is None or connection.execute(select(told)).scalar():
        return None
    held = _live_in(connection, fresh_series)
    if held is not None and not gives_way(held):
        return None
    inside = [one for one in _firing_of(connection, incident.id) if one.problem in locked]
    if not inside:
        return None  # whoever fires since is there at the next look
    connection.execute(update(incidents).where(incidents.c.stands_for == incident.id).values(stands_for=None))
    n = next_n(connection, fresh_series, incident.id)
    if held is not None:
        changes.put(superseded(held))
        for member in _firing_of(connection, held.id):
            changes.put_member(moved(member, held.id, now)[0], is_new=False)
    fresh = stand_in(incident, plan, new_id=new_id(), now=now, members=len(inside), n=n)
    # a re-opening says little, what its report would have opened with is kept beside it
    body = incident.renewal if row["action"] == Action.REOPEN and incident.renewal is not None else body_in(row)
    changes.open(fresh, body_for(incident, body, plan, why))
    for member in inside:
        changes.put_member(replace(member, incident=fresh.id, joined_at=now), is_new=True)
    changes.flush(connection)
    return fresh


def standing_for(transaction: Transaction, incident: str) -> list[str]:
    """The live incidents that stand for this one, and for those that it carries: these may have waited before it."""
    of_them = incidents.c.stands_for.in_(_spoken_for(bindparam("incident")))
    found = select(incidents.c.id).where(of_them, incidents.c.live).order_by(incidents.c.id)
    return list(transaction.connection.execute(found, {"incident": incident}).scalars())


def lagging(transaction: Transaction) -> list[str]:
    """Incidents that stand for others which further problems have joined since, or joined again."""
    missing = members.alias("missing")
    known = members.alias("known")
    of_both = and_(known.c.incident_id == incidents.c.id, known.c.problem_id == missing.c.problem_id, known.c.firing)
    knows = select(known.c.problem_id).where(of_both).correlate(incidents, missing).exists()
    statement = (
        select(incidents.c.id)
        .where(
            incidents.c.live,
            incidents.c.stands_for.is_not(None),
            incidents.c.state.in_(_OPEN_FOR_MORE),
            ~_ended_by_hand(incidents),
            exists().where(missing.c.incident_id.in_(_spoken_for(incidents.c.stands_for)), missing.c.firing, ~knows),
        )
        .limit(AT_ONCE)
    )
    return list(transaction.connection.execute(statement).scalars())


def catch_up(transaction: Transaction, routes: Mapping[str, Route], new_id: Callable[[], str], one: str) -> None:
    """One that stands for another is kept open by the problems that have joined that one since."""
    connection, now = transaction.connection, transaction.now
    stands_for = connection.execute(select(incidents.c.stands_for).where(incidents.c.id == one)).scalar()
    if stands_for is None:
        return
    locked = _lock_problems(connection, _firing_of(connection, stands_for))
    of_series = select(incidents.c.series).where(incidents.c.id == one).scalar_subquery()
    connection.execute(select(series.c.id).where(series.c.id == of_series).with_for_update())
    incident = incident_from(connection.execute(select(incidents).where(incidents.c.id == one)).mappings().one())
    if not incident.live or incident.state.value not in _OPEN_FOR_MORE or incident.reason == Reason.RESOLVED_BY_HAND:
        return
    inside = select(members).where(members.c.incident_id == one)
    known = {row["problem_id"]: row["firing"] for row in connection.execute(inside).mappings()}
    joining = [
        member
        for member in _firing_of(connection, stands_for)
        if member.problem in locked and not known.get(member.problem, False)
    ]
    changes = Changes(now=now, routes=routes, new_id=new_id)
    for member in joining:
        joins = replace(member, incident=one, joined_at=now)
        changes.put_member(joins, is_new=member.problem not in known)
    if joining and incident.firing == 0:
        changes.cancel(one, Action.RESOLVE, Reason.JOINED_AGAIN)
    changes.put(replace(incident, firing=incident.firing + len(joining)))
    changes.flush(connection)


def _spoken_for(incident: Any) -> Any:
    """The ids of an incident and of the live ones it carries."""
    inner = incidents.alias("spoken_for")
    carried = and_(inner.c.carrier == incident, inner.c.carrier.is_not(None), inner.c.live)
    return select(inner.c.id).where(or_(inner.c.id == incident, carried)).correlate(incidents)


def _firing_of(connection: Connection, incident: str) -> list[Member]:
    """The problems that fire in an incident or in one it carries, each once."""
    of_them = members.c.incident_id.in_(_spoken_for(bindparam("incident")))
    rows = connection.execute(select(members).where(of_them, members.c.firing), {"incident": incident}).mappings()
    return list({row["problem_id"]: member_from(row) for row in rows}.values())


def _lock_problems(connection: Connection, inside: Sequence[Member]) -> set[str]:
    """Lock these members' problems as ingest does, before any series: none of them recovers unseen meanwhile."""
    ids = sorted(member.problem for member in inside)
    for start in range(0, len(ids), IDS_AT_ONCE):
        some = problems.c.id.in_(ids[start : start + IDS_AT_ONCE])
        connection.execute(select(problems.c.id).where(some).order_by(problems.c.id).with_for_update())
    return set(ids)


def _represents(one: Any) -> Any:
    """Whether an incident that stands for another tells people of it still; one that they ended has told them."""
    own_end = and_(one.c.state == IncidentState.RESOLVED.value, one.c.reason.is_(None))
    return or_(one.c.live, _ended_by_hand(one), ~or_(own_end, one.c.state == IncidentState.CANCELLED.value))


def _ended_by_hand(one: Any) -> Any:
    return func.coalesce(one.c.reason, "") == Reason.RESOLVED_BY_HAND.value


def _unrepresented(accounts: list[str]) -> Any:
    """Pages of critical incidents that nobody has been told of, each state through its own index."""
    of_each = [
        select(*(deliveries.c[name] for name in ("id", "account", "state", "action", "created_at")))
        .join_from(deliveries, incidents, incidents.c.id == deliveries.c.incident_id)
        .where(
            literal_column(f"deliveries.state = '{state.value}'"),
            deliveries.c.action.in_([action.value for action in PAGES]),
            deliveries.c.account.in_(accounts),
            incidents.c.live,
            incidents.c.firing > 0,
            incidents.c.severity == Severity.CRITICAL.value,
            ~exists().where(_other.c.stands_for == incidents.c.id, _represents(_other)),
        )
        for state in (DeliveryState.PENDING, DeliveryState.SENDING, DeliveryState.DEAD)
    ]
    every = union_all(*of_each).subquery()
    return select(every).order_by(every.c.created_at, every.c.id).limit(LOOKED_AT)


def _lanes(connection: Connection, routes: Mapping[str, Route], now: datetime) -> dict[str, LaneState]:
    """The state of each account's lane."""
    rows = {row["name"]: lane_from(row) for row in connection.execute(select(lanes)).mappings()}
    return {name: sane(one.pace, rows[one.lane], now) for name, one in routes.items() if one.lane in rows}


def _live_in(connection: Connection, series_id: str) -> Incident | None:
    found = select(incidents).where(incidents.c.series == series_id, incidents.c.live)
    row = connection.execute(found).mappings().one_or_none()
    return None if row is None else incident_from(row)
