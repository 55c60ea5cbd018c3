"""New episodes of incidents that ended at the upstream while problems of theirs fire: made by a worker that saw the
end, or by the clock once a person who closed one has been left in peace long enough.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, bindparam, func, or_, select

from bridge.adapters.ledger import untold
from bridge.adapters.ledger.changes import Changes, Route, renewed, route_of
from bridge.adapters.ledger.compiled import Statement
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.rows import body_in, incident_from, member_from
from bridge.adapters.ledger.schema import deliveries, incidents, members, series
from bridge.adapters.ledger.telling import linked, with_what_was_told
from bridge.domain import keys
from bridge.domain.delivery import Action
from bridge.domain.incident import CreateBody, Incident
from bridge.domain.transitions import moved
from bridge.domain.truth import is_over_quietly

AT_ONCE = 100  # of one round of the clock

_FIRING_MEMBERS = Statement(select(members).where(members.c.incident_id == bindparam("incident"), members.c.firing))
_NEXT_N = Statement(
    select(func.coalesce(func.max(incidents.c.episode_n) + 1, 0).label("n")).where(
        incidents.c.series == bindparam("series"),
        incidents.c.episode_id == bindparam("episode"),
        incidents.c.claimed,
    )
)
_CREATE = Statement(
    select(deliveries)
    .where(deliveries.c.incident_id == bindparam("incident"), deliveries.c.action == Action.CREATE.value)
    .order_by(deliveries.c.no.desc())
    .limit(1)
)
_INCIDENT = Statement(select(incidents).where(incidents.c.id == bindparam("incident")))


def renew(
    connection: Connection,
    changes: Changes,
    ended: Incident,
    body: CreateBody,
    *,
    new_id: Callable[[], str],
    now: datetime,
) -> None:
    """A new episode with the members that fire of one that ended; its series is locked, and its next number loaded."""
    episode_id = body.episode_id or ended.episode_id
    n = next_n(connection, ended.series, episode_id)
    key = keys.upstream_key(ended.key_rule, ended.series, ended.key_text, keys.episode(episode_id, ended.id, n))
    fresh = renewed(ended, new_id=new_id(), key=key, episode_id=episode_id, episode_n=n, now=now)
    firing = _FIRING_MEMBERS.rows(connection, incident=ended.id)
    changes.put(replace(ended, live=False, firing=0, renewal=None, renews_at=None))
    if not firing:
        return  # what fires belongs to incidents folded into it, and these go on by themselves
    opens, unsaid = linked(body, ended), untold.taken_along(connection, ended, now)
    if unsaid:  # a person's words are about this problem: it goes by itself, not inside of another's incident
        opens = replace(opens, fold_key="", fold_target="")
    worst = min((member_from(row).severity for row in firing), key=lambda one: one.rank)
    taken = replace(fresh, firing=len(firing), severity=worst)  # who joins with more is a rise
    changes.open(taken, opens)
    for text in unsaid:
        changes.add_delivery(taken, Action.NOTE, CreateBody(fields={"note": text}, names=(), notes=(), by_hand=True))
    for row in firing:
        left, joins = moved(member_from(row), fresh.id, now)
        changes.put_member(joins, is_new=True)
        changes.put_member(left, is_new=False)


def next_n(connection: Connection, series_id: str, episode_id: str) -> int:
    """How many incidents of a series were claimed with this episode id: the n of the next one."""
    return int(_NEXT_N.rows(connection, series=series_id, episode=episode_id)[0]["n"])


def with_renewal(connection: Connection, incident: Incident) -> Incident:
    """An incident that knows what a new episode would open with: as its last report said, else as it was told last."""
    if incident.renewal is not None:
        return incident
    found = _CREATE.rows(connection, incident=incident.id)
    if not found:
        return incident
    body = body_in(found[0])
    own = body.own or body  # what it carried goes by itself, and is no longer its list
    told = with_what_was_told(connection, incident, own, (Action.REOPEN, Action.UPDATE))
    return replace(incident, renewal=told)


def due(transaction: Transaction, routes: Mapping[str, Route]) -> list[str]:
    """Incidents whose window of respect has ended with a problem that still fires; also what a clock's jump put off."""
    now = transaction.now
    longest = max((route.trust.respect_human_close for route in routes.values()), default=None)
    if longest is None:
        return []
    statement = (
        select(incidents.c.series, incidents.c.id)
        .where(
            incidents.c.account.in_(sorted(routes)),
            incidents.c.live,
            incidents.c.renews_at.is_not(None),
            or_(incidents.c.renews_at <= now, incidents.c.renews_at > now + longest),
        )
        .order_by(incidents.c.renews_at)  # by the series' own index SQLite would go through all of them
        .limit(AT_ONCE)
    )
    return [row.id for row in sorted(transaction.connection.execute(statement), key=lambda row: row.series)]


def open_due(
    transaction: Transaction, routes: Mapping[str, Route], new_id: Callable[[], str], ids: list[str]
) -> list[Incident]:
    """Open the new episodes of those of these incidents that are due still, under the lock of their series: those."""
    connection, now = transaction.connection, transaction.now
    changes = Changes(now=now, routes=routes, new_id=new_id)
    locked = lock_series_of(connection, ids)
    changes.next_no.update(locked)
    ended = []
    for one in ids:
        incident = incident_from(_INCIDENT.rows(connection, incident=one)[0])
        trust = route_of(routes, incident.account).trust
        if incident.series not in locked or not is_over_quietly(incident, now, trust):
            continue
        known = with_renewal(connection, incident)
        if known.renewal is None or known.firing == 0:
            changes.put(replace(known, live=False, firing=0, renews_at=None))
            continue
        renew(connection, changes, known, known.renewal, new_id=new_id, now=now)
        ended.append(known)
    changes.flush(connection)
    return ended


def lock_series_of(connection: Connection, ids: list[str]) -> dict[str, int]:
    """Lock the series of these incidents, sorted as everybody locks them; what somebody else has is left for later."""
    of_them = select(incidents.c.series).where(incidents.c.id.in_(ids))
    statement = (
        select(series.c.id, series.c.next_no)
        .where(series.c.id.in_(of_them))
        .order_by(series.c.id)
        .with_for_update(skip_locked=True)
    )
    return {row.id: row.next_no for row in connection.execute(statement)}
