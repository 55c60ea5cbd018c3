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
from bridge.adapters.ledger.rows import Row, body_in, incident_from
from bridge.adapters.ledger.schema import incidents
from bridge.adapters.ledger.telling import left_there, part_of
from bridge.domain.alert import Severity
from bridge.domain.delivery import Action
from bridge.domain.folding import Listed, by_severity, joined_note
from bridge.domain.incident import CreateBody, Incident, IncidentState

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
_CARRIED = Statement(
    select(incidents).where(
        incidents.c.carrier == bindparam("carrier"), incidents.c.carrier.is_not(None), incidents.c.live
    )
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

    Of an incident that nobody here knows (`earlier` is None) a critical makes a critical one, in case it is none. Its
    series is locked, and the series' next number is known.
    """
    if incident.state is not IncidentState.OPEN:
        return
    may_rise = (
        incident.severity is Severity.CRITICAL if earlier is None else incident.severity.rank <= earlier.severity.rank
    )
    if may_rise:  # of the same severity, too: the earlier one may have been over before its own rise was told
        was = {} if earlier is None else left_there(connection, earlier)
        wanted = part_of(body_in(row), rises)
        differs = [name for name, value in wanted.fields.items() if was.get(name) != value]
        if differs:
            incident = replace(incident, telling=replace(incident.telling, has_updates=True))
            changes.put(incident)
            changes.add_delivery(incident, Action.UPDATE, part_of(wanted, differs))
    carried = [incident_from(one) for one in _CARRIED.rows(connection, carrier=incident.id)]
    own = replace(incident, firing=incident.firing - sum(one.firing for one in carried))
    lines = by_severity(
        Listed(severity=one.severity, title=one.title, alerts=one.firing) for one in (own, *carried) if one.firing
    )
    changes.add_delivery(incident, Action.NOTE, CreateBody(fields=joined_note(None, lines), names=(), notes=()))
