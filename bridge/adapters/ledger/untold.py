"""Notes that somebody wrote: a person's words, and the list of what folded into a carrier.

Unlike the others their text is made once, and what it says stands nowhere else. They wait for the end of an incident
like all notes; when it goes on after all they are told there, and a person's in the episode that takes its place.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, and_, bindparam, or_, select, update

from bridge.adapters.ledger.compiled import SizedStatement, Statement, listed, padded
from bridge.adapters.ledger.rows import PENDING_AGAIN, Row, body_in, content_json, is_by_hand
from bridge.adapters.ledger.schema import deliveries
from bridge.domain.decision import KeyRule
from bridge.domain.delivery import Action, DeliveryState, Reason, lane_class
from bridge.domain.incident import CreateBody, Incident
from bridge.domain.retry import first_phase, phase_after_unknown

if TYPE_CHECKING:
    from bridge.adapters.ledger.changes import Changes

_CANCELLED = deliveries.c.state == DeliveryState.CANCELLED.value
_WITH_THE_INCIDENT = (Reason.RECOVERED, Reason.JOINED_AGAIN, Reason.NOTHING_TO_TELL, Reason.SUPERSEDED)
_UNTOLD = Statement(
    select(deliveries)
    .where(
        deliveries.c.incident_id == bindparam("incident"),
        deliveries.c.action == Action.NOTE.value,
        or_(
            deliveries.c.state == DeliveryState.PENDING.value,
            and_(
                _CANCELLED,
                deliveries.c.reason != Reason.DISCARDED.value,
                deliveries.c.reason != Reason.TAKEN_ALONG.value,
            ),
        ),
    )
    .order_by(deliveries.c.no)
    .with_for_update()  # a worker may be about to claim one: it goes with that one, then, and not along
)
_TAKEN_ALONG = Statement(
    update(deliveries)
    .where(deliveries.c.id == bindparam("of_delivery"))
    .values(state=DeliveryState.CANCELLED.value, reason=Reason.TAKEN_ALONG.value, done_at=bindparam("at"))
)
_ENDED = SizedStatement(
    lambda ids: (
        select(deliveries)
        .where(
            deliveries.c.incident_id.in_(listed("ids", ids)),
            deliveries.c.action == Action.NOTE.value,
            _CANCELLED,
            or_(*(deliveries.c.reason == one.value for one in _WITH_THE_INCIDENT)),
        )
        .order_by(deliveries.c.incident_id, deliveries.c.no)
    )
)
_AGAIN = Statement(
    update(deliveries)
    .where(deliveries.c.id == bindparam("of_delivery"))
    .values(
        **PENDING_AGAIN,
        **{name: bindparam("new_" + name) for name in ("no", "phase", "class", "fields")},
    )
)


def taken_along(connection: Connection, ended: Incident, now: datetime) -> tuple[str, ...]:
    """A person's notes that the incident that ended was not told: they leave it, for the one that takes its place."""
    waiting = [row for row in _UNTOLD.rows(connection, incident=ended.id) if is_by_hand(row)]
    _TAKEN_ALONG.run(connection, [{"of_delivery": row["id"], "at": now} for row in waiting])
    return tuple(body_in(row).fields["note"] for row in waiting)


def tell_after_all(connection: Connection, changes: "Changes", incidents: Sequence[Incident]) -> None:
    """What was cancelled because incidents were about to be over, or were: they go on, and this stands behind it.

    A list of what folded is told for as long as its incident carries somebody. Their series are locked, and the next
    numbers of these are known.
    """
    if not incidents:
        return
    by_id = {incident.id: incident for incident in incidents}
    rows = []
    for row in _ENDED.rows(connection, ids=padded(by_id)):
        incident = by_id[row["incident_id"]]
        if not is_by_hand(row) and not (incident.folded and _is_list(row)):
            continue
        phase_of = phase_after_unknown if row["attempts"] else first_phase
        phase = phase_of(Action.NOTE, incident.key_rule)
        route = changes.routes.get(incident.account)
        if route is not None:
            changes.lanes.add(route.lane)
        rows.append(
            {
                "of_delivery": row["id"],
                "at": changes.now,
                "new_give_up_at": changes.now + changes.pace_of(incident.account).give_up_after,
                "new_no": changes.take_no(incident.series),
                "new_phase": phase.value,
                "new_class": lane_class(Action.NOTE, phase).value,
                "new_fields": _fields(row, incident),
            }
        )
    _AGAIN.run(connection, rows)


def _fields(row: Row, incident: Incident) -> str:
    """What it says. The text it is added to may be another by now, and is found when it is claimed."""
    if row["attempts"] or incident.key_rule is KeyRule.WHILE_OPEN:
        return str(row["fields"])
    body = body_in(row)
    kept = {name: value for name, value in body.fields.items() if name in ("note", "joined", "counted")}
    return content_json(CreateBody(fields=kept, names=(), notes=(), by_hand=body.by_hand))


def _is_list(row: Row) -> bool:
    return "joined" in json.loads(row["fields"])["fields"]
