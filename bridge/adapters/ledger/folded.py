"""What becomes of folded incidents when their carrier comes to its end, in the transaction that ends it.

The carrier's series is locked: everybody who changes an incident that is folded into it holds that lock as well, so
that the folded ones need none of their own.
"""

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, select, update

from bridge.adapters.ledger.compiled import Statement
from bridge.adapters.ledger.rows import PENDING_AGAIN, Row, body_in, content_json, dumps, incident_from, names_json
from bridge.adapters.ledger.schema import alerts, deliveries, incidents, to_us
from bridge.domain.decision import Outcome
from bridge.domain.delivery import Action, DeliveryState, Reason
from bridge.domain.folding import Afterwards, afterwards, carries_on, without_folded
from bridge.domain.incident import CreateBody, Incident, IncidentState
from bridge.domain.lane import order_key

if TYPE_CHECKING:
    from bridge.adapters.ledger.changes import Changes

_FOLDED = Statement(
    select(incidents)
    .where(incidents.c.carrier == bindparam("of_carrier"), incidents.c.carrier.is_not(None), incidents.c.live)
    .order_by(incidents.c.id)
)
_CREATE_OF = Statement(
    select(deliveries)
    .where(deliveries.c.incident_id == bindparam("of_incident"), deliveries.c.action == Action.CREATE.value)
    .order_by(deliveries.c.no.desc())
    .limit(1)
)
_END_NOTES = Statement(
    update(deliveries)
    .where(
        deliveries.c.incident_id == bindparam("of_incident"),
        deliveries.c.action == Action.NOTE.value,
        deliveries.c.state == DeliveryState.PENDING.value,
        deliveries.c.sent.is_(False),
    )
    .values(state=DeliveryState.CANCELLED.value, reason=Reason.NOTHING_TO_TELL.value, done_at=bindparam("at"))
)
_SEND = Statement(
    update(deliveries)
    .where(
        deliveries.c.incident_id == bindparam("of_incident"),
        deliveries.c.action == Action.CREATE.value,
        deliveries.c.state == DeliveryState.CANCELLED.value,
        deliveries.c.reason == Reason.FOLDED.value,
    )
    .values(**PENDING_AGAIN, order_key=bindparam("new_order_key"))
)
_BODY = ("fields", "names", "notes", "ids", "fold_key", "fold_target")
_REPLACE_BODY = Statement(
    update(deliveries)
    .where(deliveries.c.id == bindparam("of_delivery"))
    .values({name: bindparam("new_" + name) for name in _BODY})
)
_OPENED_AGAIN = Statement(
    update(alerts)
    .where(alerts.c.incident_id == bindparam("of_incident"), alerts.c.outcome == Outcome.FOLDED.value)
    .values(outcome=Outcome.OPENED.value)
)


def carried_by(connection: Connection, carrier: str) -> list[Incident]:
    """The live incidents that are folded into this one."""
    return [incident_from(row) for row in _FOLDED.rows(connection, of_carrier=carrier)]


def follow(connection: Connection, changes: "Changes", carrier: Incident) -> None:
    """Whatever was folded into an incident that is over now, is over too, or goes out by itself."""
    if carries_on(carrier):
        return
    held = [changes.as_changed(one) for one in carried_by(connection, carrier.id)]
    live = [one for one in held if one.live]
    follows = [afterwards(one, carrier, changes.now) for one in live]
    changes.put(without_folded(carrier, live))
    for one in follows:
        changes.put(one.incident)
    sent = [one for one in follows if one.sends]
    if sent:
        _send(connection, changes, sent)
    _END_NOTES.run(connection, [{"of_incident": carrier.id, "at": changes.now}])
    if carrier.state is IncidentState.DEAD:
        _say_less(connection, carrier)


def _send(connection: Connection, changes: "Changes", sent: list[Afterwards]) -> None:
    """Their creates wait in the lane again, where they stood."""
    rows = []
    for one in sent:
        incident = one.incident
        route = changes.routes.get(incident.account)
        if route is not None:
            changes.lanes.add(route.lane)
        opened_us = to_us(changes.now if one.body is not None else incident.opened_at)
        pace = changes.pace_of(incident.account)
        key = order_key(incident.severity, opened_us, pace.promote_after)
        give_up_at = changes.now + pace.give_up_after  # it did not wait while another one spoke for it
        rows.append({"of_incident": incident.id, "at": changes.now, "new_give_up_at": give_up_at, "new_order_key": key})
    _SEND.run(connection, rows)
    _OPENED_AGAIN.run(connection, [{"of_incident": one.incident.id} for one in sent])
    for one in sent:
        if one.body is not None:
            row = _CREATE_OF.rows(connection, of_incident=one.incident.id)[0]
            _REPLACE_BODY.run(connection, [replaced(row, one.body)])


def _say_less(connection: Connection, carrier: Incident) -> None:
    """A create that surely never reached the upstream speaks for its own incident alone, should somebody replay it."""
    row = _CREATE_OF.rows(connection, of_incident=carrier.id)[0]
    own = body_in(row).own
    if own is not None and not row["sent"]:
        _REPLACE_BODY.run(connection, [replaced(row, own)])


def replaced(row: Row, body: CreateBody) -> dict[str, Any]:
    """A create's row with another body: the binds of a statement over these columns."""
    return {
        "of_delivery": row["id"],
        "new_fields": content_json(body),
        "new_names": names_json(body.names),
        "new_notes": dumps(body.notes),
        "new_ids": "{}",  # looked up for the body that is replaced
        "new_fold_key": body.fold_key or None,
        "new_fold_target": body.fold_target or None,
    }
