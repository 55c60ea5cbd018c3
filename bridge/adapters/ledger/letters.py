"""Dead letters: sent again or put aside, always by a person, never by themselves."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from sqlalchemy import select, update

from bridge.adapters.ledger.changes import Changes, Route
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.rows import Row, incident_from
from bridge.adapters.ledger.schema import deliveries, incidents, series
from bridge.domain.delivery import Action, DeliveryState, Reason, lane_class
from bridge.domain.incident import Incident, Refused
from bridge.domain.lane import in_its_place
from bridge.domain.retry import first_phase, phase_after_unknown
from bridge.domain.text import storable
from bridge.domain.transitions import on_discarded, on_replayed

REPLAY_PATIENCE = timedelta(hours=24)


class LetterError(Exception):
    """A dead letter that cannot be replayed or discarded; the message says why and what to do."""


class NoSuchLetter(LetterError):
    """There is no delivery of that id."""


def replay(transaction: Transaction, routes: Mapping[str, Route], new_id: Callable[[], str], delivery_id: str) -> str:
    """Put a dead letter back into the lane of its account, under its stored key; answers the lane.

    When its problem is over, whatever it may have opened is resolved behind it.
    """
    row, incident = _dead(transaction, delivery_id)
    route = routes.get(row["account"])
    if route is None:
        raise LetterError(
            f"delivery {delivery_id} cannot be replayed: its account '{row['account']}' is not configured; "
            "configure it again or discard the letter"
        )
    step = on_replayed(incident, Action(row["action"]), sent=row["sent"])
    if isinstance(step, Refused):
        raise LetterError(f"delivery {delivery_id} cannot be replayed: {step.why}; discard it")
    phase_of = phase_after_unknown if row["sent"] else first_phase
    phase = phase_of(Action(row["action"]), incident.key_rule)
    transaction.connection.execute(
        update(deliveries)
        .where(deliveries.c.id == delivery_id)
        .values(
            {
                "state": DeliveryState.PENDING.value,
                "lane": route.lane,
                "phase": phase.value,
                "class": lane_class(Action(row["action"]), phase).value,
                "reason": Reason.REPLAYED.value,
                "order_key": in_its_place(row["order_key"]),  # the person will have mended what forbade it
                "created_at": transaction.now,  # as whatever is sent after all, it waits from then on
                "next_at": transaction.now,
                "give_up_at": transaction.now + REPLAY_PATIENCE,
                "done_at": None,
                "strikes": 0,
                "ids": row["ids"] if row["sent"] else "{}",  # under one key the upstream may get one body only
            }
        )
    )
    changes = Changes(now=transaction.now, routes=routes, new_id=new_id)
    changes.next_no[incident.series] = row["next_no"]
    changes.apply(step)
    changes.flush(transaction.connection)
    return route.lane


def discard(transaction: Transaction, routes: Mapping[str, Route], delivery_id: str, why: str) -> None:
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
            detail=storable(why.strip())[:4096],
            done_at=transaction.now,
        )
    )
    changes = Changes(now=transaction.now, routes=routes, new_id=str)
    changes.put(on_discarded(incident, Action(row["action"]), transaction.now))
    changes.flush(transaction.connection)


def _dead(transaction: Transaction, delivery_id: str) -> tuple[Row, Incident]:
    """The letter, with the number of its series' next delivery as `next_no`, and its incident; the series is locked."""
    connection = transaction.connection
    found = select(deliveries).where(deliveries.c.id == delivery_id)
    row = connection.execute(found).mappings().one_or_none()
    if row is None:
        raise NoSuchLetter(f"there is no delivery {delivery_id}; see 'incident-bridge dead list'")
    lock = select(series.c.next_no).where(series.c.id == row["series"]).with_for_update()
    next_no = connection.execute(lock).scalar_one()
    row = connection.execute(found).mappings().one()
    if row["state"] != DeliveryState.DEAD:
        raise LetterError(f"delivery {delivery_id} is {row['state']}, not dead; there is nothing to mend")
    incident = connection.execute(select(incidents).where(incidents.c.id == row["incident_id"])).mappings().one()
    return {**row, "next_no": next_no}, incident_from(incident)
