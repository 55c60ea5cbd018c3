"""Dead letters: sent again or put aside, always by a person, never by themselves."""

from datetime import timedelta

from sqlalchemy import select, update

from bridge.adapters.ledger.changes import Changes, Route
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.rows import Row, clean, incident_from
from bridge.adapters.ledger.schema import deliveries, incidents, series
from bridge.domain.decision import KeyRule
from bridge.domain.delivery import Action, DeliveryState, Phase, Reason, lane_class
from bridge.domain.incident import Incident, on_discarded, on_replayed

REPLAY_PATIENCE = timedelta(hours=24)


class LetterError(Exception):
    """A dead letter that cannot be replayed or discarded; the message says why and what to do."""


class NoSuchLetter(LetterError):
    """There is no delivery of that id."""


def replay(transaction: Transaction, routes: dict[str, Route], delivery_id: str) -> str:
    """Put a dead letter back into its lane, under its stored key; answers the lane."""
    row, incident = _dead(transaction, delivery_id)
    after = on_replayed(incident, Action(row["action"]))
    if after is None:
        raise LetterError(
            f"delivery {delivery_id} cannot be replayed: a newer incident of the same series took its place; discard it"
        )
    looks = row["sent"] and row["action"] == Action.CREATE and incident.key_rule is KeyRule.WHILE_OPEN
    phase = Phase.LOOK_UP if looks else Phase.SEND
    transaction.connection.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery_id)
        .values(
            {
                "state": DeliveryState.PENDING.value,
                "phase": phase.value,
                "class": lane_class(Action(row["action"]), phase).value,
                "reason": Reason.REPLAYED.value,
                "next_at": transaction.now,
                "give_up_at": transaction.now + REPLAY_PATIENCE,
                "done_at": None,
                "strikes": 0,
                "ids": "{}",
            }
        )
    )
    _put(transaction, routes, after)
    return str(row["lane"])


def discard(transaction: Transaction, routes: dict[str, Route], delivery_id: str, why: str) -> None:
    """Put a dead letter aside for good, with a person's reason."""
    if not why.strip():
        raise LetterError("a discarded letter needs a reason: say why nobody has to be told")
    row, incident = _dead(transaction, delivery_id)
    transaction.connection.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery_id)
        .values(
            state=DeliveryState.CANCELLED.value,
            reason=Reason.DISCARDED.value,
            detail=clean(why.strip())[:4096],
            done_at=transaction.now,
        )
    )
    _put(transaction, routes, on_discarded(incident, Action(row["action"]), transaction.now))


def _dead(transaction: Transaction, delivery_id: str) -> tuple[Row, Incident]:
    connection = transaction.connection
    found = select(deliveries).where(deliveries.c.id == delivery_id)
    row = connection.execute(found).mappings().one_or_none()
    if row is None:
        raise NoSuchLetter(f"there is no delivery {delivery_id}; see 'incident-bridge dead list'")
    connection.execute(select(series.c.id).where(series.c.id == row["series"]).with_for_update())
    row = connection.execute(found).mappings().one()
    if row["state"] != DeliveryState.DEAD:
        raise LetterError(f"delivery {delivery_id} is {row['state']}, not dead; there is nothing to mend")
    incident = connection.execute(select(incidents).where(incidents.c.id == row["incident_id"])).mappings().one()
    return row, incident_from(incident)


def _put(transaction: Transaction, routes: dict[str, Route], incident: Incident) -> None:
    changes = Changes(now=transaction.now, routes=routes, new_id=str)
    changes.put(incident)
    changes.flush(transaction.connection)
