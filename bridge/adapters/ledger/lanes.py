"""One transaction at one lane: its row, its deliveries and the series of their incidents, under their locks.

claiming.py takes the next due delivery under a lease, recording.py writes what came of it; this is what both stand on.

Locks are taken lane first, then series. Recording the last attempt and claiming the next delivery share a transaction,
so that a busy lane costs one durable commit per delivery. A second series is waited for only when it sorts behind the
ones that are held, as settle locks them; else it is taken if it is free.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import bindparam, exists, literal_column, or_, select, update

from bridge.adapters.ledger import probes, renewals
from bridge.adapters.ledger.changes import Changes, Route
from bridge.adapters.ledger.compiled import Statement
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.names import NameBook
from bridge.adapters.ledger.rows import Row, incident_from, is_worded, lane_from, lane_row
from bridge.adapters.ledger.schema import UNFINISHED, deliveries, incidents, lanes, series
from bridge.domain.decision import KeyRule
from bridge.domain.delivery import (
    Action,
    Delivery,
    DeliveryState,
    LaneClass,
    PermanentFailure,
    Phase,
    Reason,
    TransientFailure,
    lane_class,
)
from bridge.domain.incident import CreateBody, Incident, Transition
from bridge.domain.lane import LaneState, Pace, after, is_failing, is_parked, sane
from bridge.domain.text import storable_or_none
from bridge.domain.transitions import on_dead, on_moot


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A delivery under lease: send it now, then record with the token."""

    delivery: Delivery
    lane: str
    token: str
    attempt: int
    of: LaneClass
    key_rule: KeyRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the ledger made of a finished attempt; None fields when the lease had passed to somebody else."""

    state: DeliveryState | None
    reason: Reason | None


class LaneBusy(Exception):
    """Another worker is at the lane."""


_earlier = deliveries.alias("earlier")
UNBLOCKED = ~exists().where(
    _earlier.c.series == deliveries.c.series,
    _earlier.c.no < deliveries.c.no,
    _earlier.c.state.in_([literal_column(f"'{state}'") for state in UNFINISHED]),  # as its partial index says
    or_(_earlier.c.action != Action.CHECK.value, _earlier.c.state == DeliveryState.SENDING.value),
)
"""First in its series: a resolve never overtakes its create, nor a new episode the end of the last one. A question
holds nobody up.
"""

_ONE_LANE = select(lanes).where(lanes.c.name == bindparam("lane"))
_LANE = Statement(_ONE_LANE.with_for_update())
_FREE_LANE = Statement(_ONE_LANE.with_for_update(skip_locked=True))
_SERIES = select(series.c.id, series.c.next_no).where(series.c.id == bindparam("series"))
_LOCK_SERIES = Statement(_SERIES.with_for_update())
_LOCK_FREE_SERIES = Statement(_SERIES.with_for_update(skip_locked=True))
_DELIVERY = Statement(select(deliveries).where(deliveries.c.id == bindparam("delivery")))
_INCIDENT = Statement(select(incidents).where(incidents.c.id == bindparam("incident")))
_UPDATE_LANE = Statement(
    update(lanes)
    .where(lanes.c.name == bindparam("of_lane"))
    .values({column.name: bindparam("new_" + column.name) for column in lanes.c if column.name != "name"})
)


@cache
def _update_of(names: tuple[str, ...]) -> Statement:
    """The update of one delivery's columns."""
    new: dict[str, Any] = {name: bindparam("new_" + name) for name in names}
    return Statement(update(deliveries).where(deliveries.c.id == bindparam("of_delivery")).values(new))


def waiting_again(row: Row, phase: Phase) -> dict[str, Any]:
    """The columns of a delivery that goes back to its line, under nobody's lease."""
    return {
        "state": DeliveryState.PENDING.value,
        "phase": phase.value,
        "class": lane_class(Action(row["action"]), phase).value,
        "lease_token": None,
        "lease_until": None,
    }


class LaneWork:
    """One transaction at one lane. Made per transaction; `save` ends it, the commit is the caller's."""

    def __init__(
        self,
        transaction: Transaction,
        lane: str,
        *,
        pace: Pace,
        routes: Mapping[str, Route],
        names: NameBook,
        new_id: Callable[[], str],
        waits: bool = True,
    ) -> None:
        """`waits`: for a worker that has the lane now. Raises LaneBusy when it is not to."""
        self.connection = transaction.connection
        self.now = transaction.now
        self.lane = lane
        self.pace = pace
        self.routes = routes
        self.names = names
        self.new_id = new_id
        self.locked: set[str] = set()  # series
        rows = (_LANE if waits else _FREE_LANE).rows(self.connection, lane=lane)
        if not rows and not waits:
            raise LaneBusy
        self.before = lane_from(rows[0])
        self.state: LaneState = sane(pace, self.before, self.now)

    def save(self) -> None:
        """Write the lane's row, when it changed; last, so that recording and claiming cost one update."""
        if self.state == self.before:
            return
        row = {"new_" + name: value for name, value in lane_row(self.state).items() if name != "name"}
        _UPDATE_LANE.run(self.connection, [{"of_lane": self.lane, **row}])
        self.before = self.state

    def may_ask(self) -> bool:
        """Whether the account may be asked about names: such calls are of the update class."""
        held_back = self.state.paused_at is not None or is_parked(self.state, LaneClass.UPDATE, self.now)
        return not held_back and self.may_occupy_a_worker()

    def may_occupy_a_worker(self) -> bool:
        """Not when the lane fails, and failing lanes have their share of the workers already."""
        return not is_failing(self.state) or probes.room(self.connection, self.routes, self.now) > 0

    def no_list_came(self, failure: TransientFailure | PermanentFailure) -> None:
        """A question about names was refused: too many calls park the updates, a refused key parks the account."""
        if failure.reason in (Reason.RATE_LIMITED, Reason.AUTH):
            self.state = after(self.state, LaneClass.UPDATE, failure, self.now)

    def give_up(self, delivery_id: str) -> bool:
        """Bury a waiting delivery that became too old; False when meanwhile it does not wait, or was pruned."""
        found = _DELIVERY.rows(self.connection, delivery=delivery_id)
        if found:
            self.lock_series(found[0]["series"])
            found = _DELIVERY.rows(self.connection, delivery=delivery_id)
        if not found or found[0]["state"] != DeliveryState.PENDING or found[0]["give_up_at"] > self.now:
            return False
        incident = self.incident(found[0]["incident_id"])
        self.bury(found[0], incident, Reason.TOO_OLD, "older than the account's give_up_after")
        return True

    # -- what becomes of a delivery and its incident

    def drop(self, row: Row, incident: Incident, reason: Reason, why: str | None) -> None:
        """What waits is not sent; the incident stands as it did."""
        self.finish(row, DeliveryState.CANCELLED, reason, why)
        left = on_moot(incident, Action(row["action"]), row["created_at"] if is_worded(row) else None)
        if left != incident:
            changes = self.changes()
            changes.put(left)
            changes.flush(self.connection)

    def bury(self, row: Row, incident: Incident, reason: Reason, detail: str | None) -> Recorded:
        """A dead letter; a question that nobody answered is none, for the sweep asks again."""
        state = DeliveryState.CANCELLED if row["action"] == Action.CHECK else DeliveryState.DEAD
        self.finish(row, state, reason, detail)
        self.follow(on_dead(incident, Action(row["action"]), reason), incident)
        return Recorded(state=state, reason=reason)

    def finish(self, row: Row, state: DeliveryState, reason: Reason | None, detail: str | None) -> None:
        """A delivery has come to its end."""
        self.update_delivery(
            row["id"],
            state=state.value,
            reason=None if reason is None else reason.value,
            detail=storable_or_none(detail),
            done_at=self.now,
            lease_token=None,
            lease_until=None,
        )

    def follow(self, transition: Transition, old: Incident) -> None:
        """Write what the domain decided of an incident, `old` before it."""
        changes = self.changes()
        if transition.add or transition.renews or Action.NOTE in transition.revive:
            self.load_next_no(changes, old.series)
        changes.apply(transition)
        if transition.renews and old.renewal is not None:
            self._renew(changes, transition.incident, old.renewal)
        changes.flush(self.connection)

    def _renew(self, changes: Changes, ended: Incident, body: CreateBody) -> None:
        """A new episode with the problems that fire still, or again, though this one is over at the upstream."""
        renewals.renew(self.connection, changes, ended, body, new_id=self.new_id, now=self.now)

    def changes(self) -> Changes:
        """To gather what this transaction writes of incidents."""
        return Changes(now=self.now, routes=self.routes, new_id=self.new_id)

    # -- rows and locks

    def delivery(self, delivery_id: str) -> Row:
        """The row of a delivery, as it is now."""
        return _DELIVERY.rows(self.connection, delivery=delivery_id)[0]

    def held(self, claimed: Claimed) -> Row | None:
        """The claimed delivery; None when the lease has passed to somebody else."""
        row = self.delivery(claimed.delivery.id)
        return row if row["state"] == DeliveryState.SENDING and row["lease_token"] == claimed.token else None

    def incident(self, incident_id: str) -> Incident:
        """An incident as it is now."""
        return incident_from(_INCIDENT.rows(self.connection, incident=incident_id)[0])

    def update_delivery(self, delivery_id: str, **values: Any) -> None:
        """These columns of a delivery have these values."""
        statement = _update_of(tuple(values))
        new = {"new_" + name: value for name, value in values.items()}
        statement.run(self.connection, [{"of_delivery": delivery_id, **new}])

    def lock_incident(self, row: Row) -> Incident:
        """The incident of a delivery, its series locked."""
        self.lock_series(row["series"])
        return self.incident(row["incident_id"])

    def lock_series(self, series_id: str) -> bool:
        """Lock a series; False when it is somebody else's and waiting for it could go round in a circle.

        SQLite needs none: its one lock is held.
        """
        if self.connection.dialect.name == "sqlite" or series_id in self.locked:
            return True
        in_order = all(series_id > held for held in self.locked)
        statement = _LOCK_SERIES if in_order else _LOCK_FREE_SERIES
        if not statement.rows(self.connection, series=series_id):
            return False
        self.locked.add(series_id)
        return True

    def load_next_no(self, changes: Changes, series_id: str) -> None:
        """Deliveries may be added to this series, which is locked: their next number is known."""
        changes.next_no[series_id] = _LOCK_SERIES.rows(self.connection, series=series_id)[0]["next_no"]
