"""What updates, notes and re-openings hold: made from the rows when they are queued, or at the last moment.

Nothing here is asked for on a quiet lane: rises, notes and re-openings are rare, and each costs what it needs itself.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, func, or_, select

from bridge.adapters.ledger.compiled import Statement
from bridge.adapters.ledger.rows import body_in
from bridge.adapters.ledger.schema import deliveries, members
from bridge.domain.alert import Severity
from bridge.domain.decision import Change, Decision, KeyRule
from bridge.domain.delivery import Action, DeliveryState, Reason
from bridge.domain.incident import CreateBody, Incident, IncidentState
from bridge.domain.telling import NAMED_MAX, SUMMARY_MAX_CHARS, note_text

_CREATE_OF = Statement(
    select(*(deliveries.c[name] for name in ("fields", "names", "notes", "fold_key", "fold_target")))
    .where(deliveries.c.incident_id == bindparam("incident"), deliveries.c.action == Action.CREATE.value)
    .order_by(deliveries.c.no.desc())
    .limit(1)
)
_TOLD_LATER = Statement(
    select(*(deliveries.c[name] for name in ("action", "state", "fields", "names", "notes", "fold_key", "fold_target")))
    .where(
        deliveries.c.incident_id == bindparam("incident"),
        or_(
            and_(deliveries.c.action == Action.REOPEN.value, deliveries.c.state != DeliveryState.CANCELLED.value),
            and_(
                deliveries.c.action == Action.UPDATE.value,
                or_(
                    deliveries.c.state != DeliveryState.DEAD.value,
                    deliveries.c.reason == Reason.TOO_OLD.value,
                ),
            ),
        ),
    )
    .order_by(deliveries.c.no)
)
_WAITING_UPDATE = Statement(
    select(deliveries)
    .where(
        deliveries.c.incident_id == bindparam("incident"),
        deliveries.c.action == Action.UPDATE.value,
        deliveries.c.state == DeliveryState.PENDING.value,
    )
    .order_by(deliveries.c.no.desc())
    .limit(1)
)
_JOINED = Statement(
    select(
        members.c.title, func.count().over().label("number"), func.max(members.c.joined_at).over().label("joined_last")
    )
    .where(members.c.incident_id == bindparam("incident"), members.c.firing, members.c.joined_at > bindparam("since"))
    .order_by(
        case({severity.value: severity.rank for severity in Severity}, value=members.c.severity),
        members.c.joined_at,
        members.c.problem_id,
    )
    .limit(NAMED_MAX)
)
_ARRIVED = frozenset({DeliveryState.DELIVERED.value, DeliveryState.ADOPTED.value})
_MAY_BE_TOLD = frozenset({IncidentState.SENDING, IncidentState.OPEN, IncidentState.RESOLVING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a note's row is to hold; without `fields` it is not sent, and `why` says so.

    `tells_until`: everything up to then is told by it.
    """

    fields: dict[str, Any] | None = None
    why: str | None = None
    tells_until: datetime | None = None


def part_of(body: CreateBody, wanted: Collection[str]) -> CreateBody:
    """The fields of a create that another call says again, with their names."""
    fields = {name: value for name, value in body.fields.items() if name in wanted}
    return CreateBody(fields=fields, names=tuple(ref for ref in body.names if ref.field in fields), notes=())


def rise_of(connection: Connection, incident: Incident | None, decision: Decision, rises: Collection[str]) -> Change:
    """What a report of a higher severity changes upstream; empty when it changes nothing.

    A rule that does not say what a rise does changes those of its fields `rises` that the incident was made without or
    with another value, as a re-opening changed it: who acknowledged it is not asked again because of what is as it was.
    """
    nothing = Change(fields={}, names=(), notes=())
    if incident is None or decision.severity.rank >= incident.severity.rank:
        return nothing
    if incident.state not in _MAY_BE_TOLD and not (incident.state is IncidentState.PENDING and incident.folded):
        return nothing
    if decision.rise is not None:
        return decision.rise
    made = _CREATE_OF.rows(connection, incident=incident.id) if rises else []
    if not made:
        return nothing
    # a waiting update is not in it: the next one takes its place, and has to say all of it
    told = with_what_was_told(connection, incident, body_in(made[0]), (Action.REOPEN,)).fields
    unheard = waiting_update(connection, incident).fields  # also what is as in a create that found another's incident
    said = {name: value for name, value in decision.fields.items() if name in rises}
    fields = {name: value for name, value in said.items() if value != told.get(name) or name in unheard}
    return Change(fields=fields, names=tuple(ref for ref in decision.names if ref.field in fields), notes=())


def waiting_update(connection: Connection, incident: Incident) -> CreateBody:
    """What waits to be told of a higher severity; without fields when nothing does."""
    rows = _WAITING_UPDATE.rows(connection, incident=incident.id)
    return body_in(rows[0]) if rows else CreateBody(fields={}, names=(), notes=())


def with_what_was_told(
    connection: Connection, incident: Incident, made: CreateBody, by: Collection[Action], *, arrived: bool = False
) -> CreateBody:
    """What an incident was made with, and what re-openings or updates of it said since; not what was refused, nor what
    only waited to be said when all is to have `arrived`.
    """
    for row in _TOLD_LATER.rows(connection, incident=incident.id):
        if row["action"] in by and (not arrived or row["state"] in _ARRIVED):
            made = made.changed_by(body_in(row))
    return made


def left_there(connection: Connection, incident: Incident) -> Mapping[str, Any]:
    """The fields of an incident as its create, and what was delivered of it since, left them upstream."""
    made = _CREATE_OF.rows(connection, incident=incident.id)
    if not made:
        return {}
    return with_what_was_told(
        connection, incident, body_in(made[0]), (Action.REOPEN, Action.UPDATE), arrived=True
    ).fields


def note_of(connection: Connection, incident: Incident, now: datetime) -> Note:
    """The note that waits for an incident, with everything that is to be told by now."""
    since = incident.telling.noted_at or incident.opened_at
    found = _JOINED.rows(connection, incident=incident.id, since=since)
    titles, number = [row["title"] for row in found], found[0]["number"] if found else 0
    until = max(now, found[0]["joined_last"]) if found else now
    text = note_text(incident.telling, titles, number, now, when_over=incident.policy.resolution)
    if text is None:
        return Note(why="what it was to tell is over")
    if incident.key_rule is KeyRule.WHILE_OPEN:
        return Note(fields={"note": text}, tells_until=until)
    if incident.summary is None:
        return Note(why="what the incident's summary says is not known, and a note would overwrite it")
    if len(incident.summary) + len(text) > SUMMARY_MAX_CHARS:
        return Note(why="the incident's summary has no room for it")
    return Note(fields={"note": text, "summary": incident.summary}, tells_until=until)


def linked(body: CreateBody, ended: Incident) -> CreateBody:
    """What opens the next episode, with a link to the one that ended a short while ago."""
    what = ended.upstream_url or ended.upstream_id
    if what is None:
        return body
    return replace(body, notes=(*body.notes, f"the same problem had an incident a short while ago: {what}"))
