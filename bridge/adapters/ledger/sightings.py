"""Events of the upstreams, settled: which incident of ours each is about, and what it changes there."""

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, select

from bridge.adapters.ledger.changes import Changes, route_of
from bridge.adapters.ledger.compiled import SizedStatement, Statement, listed, padded
from bridge.adapters.ledger.renewals import with_renewal
from bridge.adapters.ledger.rows import incident_from
from bridge.adapters.ledger.schema import incidents
from bridge.domain.alert import Seen, Sighted
from bridge.domain.decision import Outcome
from bridge.domain.incident import Transition
from bridge.domain.text import storable
from bridge.domain.truth import on_sighted

Known = dict[tuple[str, str], tuple[str, str]]
"""(account, upstream id) to (incident, series), the newest where several episodes had it."""

_BY_UPSTREAM = SizedStatement(
    lambda ids: (
        select(incidents.c.id, incidents.c.series, incidents.c.account, incidents.c.upstream_id)
        .where(incidents.c.upstream_id.in_(listed("ids", ids)))
        .order_by(incidents.c.id)
    )
)
_INCIDENT = Statement(select(incidents).where(incidents.c.id == bindparam("incident")))


def find(connection: Connection, sighted: Iterable[Sighted]) -> Known:
    """Which incidents these events are about; those that are none of ours are not in it."""
    ids = padded(storable(one.upstream_id) for one in sighted)
    if not ids:
        return {}
    rows = _BY_UPSTREAM.rows(connection, ids=ids)
    return {(row["account"], row["upstream_id"]): (row["id"], row["series"]) for row in rows}


def apply(connection: Connection, changes: Changes, known: Known, sighted: Sighted) -> Transition | None:
    """What one event does to our incident, whose series is locked; None when it is about none of ours."""
    found = known.get((sighted.account, storable(sighted.upstream_id)))
    if found is None:
        return None
    incident = changes.changed(found[0])
    if incident is None:
        rows = _INCIDENT.rows(connection, incident=found[0])
        if not rows:  # pruned after `find`
            return None
        incident = incident_from(rows[0])
    may_end = incident.live and sighted.seen is not Seen.OPEN
    body = with_renewal(connection, incident).renewal if may_end else None
    trust = route_of(changes.routes, incident.account).trust
    step = on_sighted(incident, sighted, changes.now, trust, body)
    if step.outcome is not Outcome.IGNORED:
        changes.apply(step)
    return step
