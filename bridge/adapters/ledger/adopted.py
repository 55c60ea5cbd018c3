"""A create that was answered with an incident it did not make, which is open under its key: that of an earlier episode,
maybe one whose answer never came, or somebody else's.

Nothing of what the create was to say is there. It is told as of a problem that joins: what is more severe as an update,
what fires as a list in a note.
"""

from collections.abc import Collection
from dataclasses import replace

from sqlalchemy import Connection, bindparam, select

from bridge.adapters.ledger.changes import Changes
from bridge.adapters.ledger.compiled import Statement
from bridge.adapters.ledger.folded import carried_by
from bridge.adapters.ledger.rows import Row, body_in, incident_from
from bridge.adapters.ledger.schema import incidents
from bridge.adapters.ledger.telling import left_there, part_of, waiting_update
from bridge.domain.delivery import Action, Reason
from bridge.domain.folding import Listed, joined_note
from bridge.domain.incident import CreateBody, Incident, IncidentState
from bridge.domain.transitions import may_be_worse

_EARLIER = Statement(
    select(incidents)
    .where(
        incidents.c.series == bindparam("series"),
        incidents.c.id != bindparam("incident"),
        incidents.c.upstream_id == bindparam("upstream"),
    )
    .order_by(incidents.c.id.desc())
    .limit(1)
)


def earlier_episode(connection: Connection, incident: Incident) -> Incident | None:
    """The earlier episode of the series that has the same incident upstream, if there is one."""
    rows = _EARLIER.rows(connection, series=incident.series, incident=incident.id, upstream=incident.upstream_id)
    return incident_from(rows[0]) if rows else None


def joins(
    connection: Connection,
    changes: Changes,
    incident: Incident,
    earlier: Incident | None,
    row: Row,
    rises: Collection[str],
) -> None:
    """What the create of an open incident was to say is told there; `row` is that create.

    Its series is locked, and the series' next number is known.
    """
    if incident.state is not IncidentState.OPEN:
        return
    if may_be_worse(incident, earlier):
        was = {} if earlier is None else left_there(connection, earlier)
        waiting = waiting_update(connection, incident)
        wanted = part_of(body_in(row), rises).changed_by(waiting)  # the rise came after what the create says
        differs = [name for name, value in wanted.fields.items() if name in waiting.fields or was.get(name) != value]
        if differs:
            incident = replace(incident, telling=replace(incident.telling, has_updates=True))
            changes.put(incident)
            changes.cancel(incident.id, Action.UPDATE, Reason.SUPERSEDED)
            changes.add_delivery(incident, Action.UPDATE, part_of(wanted, differs))
    carried = carried_by(connection, incident.id)
    own = replace(incident, firing=incident.firing - sum(one.firing for one in carried))
    told = (one for one in (own, *carried) if one.firing)
    lines = tuple(Listed(severity=one.severity, title=one.title, alerts=one.firing) for one in told)
    changes.add_delivery(incident, Action.NOTE, CreateBody(fields=joined_note(None, lines), names=(), notes=()))
