"""A dead letter that a person mends: other fields, or what today's rules say, under its stored key."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from bridge.adapters.ledger.changes import Route
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.letters import LetterError, NoSuchLetter, replay
from bridge.adapters.ledger.names import lookup_from
from bridge.adapters.ledger.rows import body_in, content_json, delivery_from, dumps, incident_from, names_json
from bridge.adapters.ledger.schema import deliveries, incidents
from bridge.domain.delivery import Action, Delivery, DeliveryState
from bridge.domain.incident import CreateBody, Incident


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead letter: its incident, what it holds, and the delivery as a worker would send it."""

    incident: Incident
    body: CreateBody
    delivery: Delivery
    detail: str | None
    reason: str | None
    attempts: int
    sent: bool  # an attempt may have reached the upstream: it can only go again as it is

    @property
    def may_change(self) -> bool:
        """Whether it may hold something else: a create that surely never arrived."""
        return self.delivery.action is Action.CREATE and not self.sent


def letter(transaction: Transaction, delivery_id: str) -> Letter | None:
    """A dead letter; None when there is none of this id."""
    connection = transaction.connection
    found = select(deliveries).where(deliveries.c.id == delivery_id, deliveries.c.state == DeliveryState.DEAD.value)
    row = connection.execute(found).mappings().one_or_none()
    if row is None:
        return None
    of_it = connection.execute(select(incidents).where(incidents.c.id == row["incident_id"])).mappings().one()
    incident = incident_from(of_it)
    return Letter(
        incident=incident,
        body=body_in(row),
        delivery=delivery_from(row, incident.upstream_id, frozenset(), lookup_from(row["ids"]).ids),
        detail=row["detail"],
        reason=row["reason"],
        attempts=row["attempts"],
        sent=row["sent"],
    )


def replay_mended(
    transaction: Transaction,
    routes: Mapping[str, Route],
    new_id: Callable[[], str],
    delivery_id: str,
    body: CreateBody,
) -> str:
    """Put a dead create back into its lane with another body; answers the lane. Raises LetterError."""
    lane = replay(transaction, routes, new_id, delivery_id)  # locks the series, and says why not
    held = select(deliveries.c.action, deliveries.c.sent).where(deliveries.c.id == delivery_id)
    row = transaction.connection.execute(held).one_or_none()
    if row is None:
        raise NoSuchLetter(f"there is no delivery {delivery_id}")
    if row.action != Action.CREATE.value:
        raise LetterError(f"delivery {delivery_id} is no create: only what opens an incident can be changed")
    if row.sent:
        why = "a call of it may have reached the upstream, which takes one body under one key; replay it as it is"
        raise LetterError(f"delivery {delivery_id} cannot be changed: {why}")
    new: dict[str, Any] = {
        "fields": content_json(body),
        "names": names_json(body.names),
        "notes": dumps(body.notes),
        "ids": "{}",
        "fold_key": body.fold_key or None,
        "fold_target": body.fold_target or None,
    }
    transaction.connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(new))
    return lane
