"""Folding inside a claim: whether the lane is behind, and which waiting creates its next one takes along.

Everything here happens in the claim's transaction, under the lane's lock. Series of those that fold are locked where
they are free; one that is not stays in the line, for somebody changes it right now.
"""

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import ScalarSelect, bindparam, func, literal, or_, select, text, update

from bridge.adapters.ledger.changes import Changes, route_of
from bridge.adapters.ledger.compiled import SizedStatement, Statement, listed, padded
from bridge.adapters.ledger.folded import replaced
from bridge.adapters.ledger.lanes import UNBLOCKED, LaneWork
from bridge.adapters.ledger.names import lookup_from
from bridge.adapters.ledger.rows import Row, body_in, content_json, delivery_from, dumps, incident_from
from bridge.adapters.ledger.schema import alerts, deliveries, incidents, series
from bridge.domain import folding
from bridge.domain.alert import Severity
from bridge.domain.decision import KeyRule, Outcome
from bridge.domain.delivery import Action, Delivery, DeliveryState, LaneClass, Reason
from bridge.domain.folding import FOLD_MAX, FoldForm, Waiting, carried, is_still_behind, takes_more_since
from bridge.domain.incident import CreateBody, Incident, IncidentState
from bridge.domain.lane import LaneState

CROWD = 64  # creates of a lane that may wait before anybody counts them
COUNTED_MAX = 5_000  # a lane that carries more within max_wait is counted in one claim out of COUNTED_EVERY
COUNTED_EVERY = 32

_line = deliveries.alias("line")


def crowded() -> ScalarSelect[Any]:
    """Part of the claim's own query: not null when more creates wait in the lane than the bind `crowd`.

    It costs a quiet lane no statement, and a look at the one index entry it has.
    """
    return (
        select(literal(1))
        .where(
            _line.c.lane == bindparam("lane"),
            _line.c["class"] == LaneClass.CREATE.value,
            _line.c.state == DeliveryState.PENDING.value,
        )
        .limit(1)
        .offset(bindparam("crowd"))
        .scalar_subquery()
    )


_WAITS_FOR = (
    deliveries.c.lane == bindparam("lane"),
    deliveries.c["class"] == LaneClass.CREATE.value,
    deliveries.c.state == DeliveryState.PENDING.value,
)
_MORE_THAN = Statement(select(literal(1).label("one")).where(*_WAITS_FOR).limit(1).offset(bindparam("number")))
_KINDS = Statement(
    select(func.count().label("kinds")).select_from(
        select(deliveries.c.fold_target, deliveries.c.fold_key)
        .where(*_WAITS_FOR, deliveries.c.order_key < 0)
        .distinct()
        .limit(bindparam("most"))
        .subquery()
    )
)
_LOCK_FREE = SizedStatement(
    lambda ids: (
        select(series.c.id)
        .where(series.c.id.in_(listed("ids", ids)))
        .order_by(series.c.id)
        .with_for_update(skip_locked=True)
    )
)
_WAITING = SizedStatement(
    lambda ids: (
        select(
            deliveries.c.id.label("delivery"),
            deliveries.c.incident_id.label("incident"),
            deliveries.c.series,
            deliveries.c.order_key,
            deliveries.c.fold_key,
            deliveries.c.fold_target,
            incidents.c.severity,
            incidents.c.title,
            incidents.c.firing,
        )
        .join_from(deliveries, incidents, incidents.c.id == deliveries.c.incident_id)
        .where(
            deliveries.c.id.in_(listed("ids", ids)),
            deliveries.c.state == DeliveryState.PENDING.value,
            incidents.c.state == IncidentState.PENDING.value,
            incidents.c.live,
            incidents.c.folded == 0,
        )
    )
)
_FOLD_INCIDENTS = SizedStatement(
    lambda ids: (
        update(incidents)
        .where(incidents.c.id.in_(listed("ids", ids)))
        .values(state=IncidentState.FOLDED.value, carrier=bindparam("new_carrier"))
    )
)
_CANCEL_CREATES = SizedStatement(
    lambda ids: (
        update(deliveries)
        .where(deliveries.c.id.in_(listed("ids", ids)))
        .values(
            state=DeliveryState.CANCELLED.value,
            reason=Reason.FOLDED.value,
            detail=bindparam("new_detail"),
            done_at=bindparam("at"),
        )
    )
)
_FOLD_ALERTS = SizedStatement(
    lambda ids: (
        update(alerts)
        .where(alerts.c.incident_id.in_(listed("ids", ids)), alerts.c.outcome == Outcome.OPENED.value)
        .values(outcome=Outcome.FOLDED.value)
    )
)
_INCIDENT = Statement(select(incidents).where(incidents.c.id == bindparam("incident")))
_DELIVERY = Statement(select(deliveries).where(deliveries.c.id == bindparam("delivery")))
_REPLACE_BODY = Statement(
    update(deliveries)
    .where(deliveries.c.id == bindparam("of_delivery"))
    .values({name: bindparam("new_" + name) for name in ("fields", "names", "notes", "ids")})
)
_NOTES = Statement(
    select(deliveries)
    .where(deliveries.c.incident_id == bindparam("incident"), deliveries.c.action == Action.NOTE.value)
    .order_by(deliveries.c.no.desc())
)
_CREATE = Statement(
    select(deliveries)
    .where(deliveries.c.incident_id == bindparam("incident"), deliveries.c.action == Action.CREATE.value)
    .order_by(deliveries.c.no.desc())
    .limit(1)
)
_FIELDS_OF = Statement(
    update(deliveries).where(deliveries.c.id == bindparam("of_delivery")).values(fields=bindparam("new_fields"))
)
_DUE_AT = Statement(
    update(deliveries).where(deliveries.c.id == bindparam("of_delivery")).values(next_at=bindparam("at"))
)
_NEXT_NO = Statement(select(series.c.next_no).where(series.c.id == bindparam("of_series")))


@cache
def _alike(*, by_target: bool) -> Statement:
    """The waiting creates of one kind, first in the line first."""
    critical = deliveries.c.order_key < 0
    same_key = deliveries.c.fold_key == bindparam("key")
    return Statement(
        select(deliveries.c.id, deliveries.c.series)
        .where(
            deliveries.c.fold_target == bindparam("target"),
            deliveries.c.fold_target.is_not(None),
            or_(same_key, critical) if by_target else same_key,
            deliveries.c.state == DeliveryState.PENDING.value,
            deliveries.c.lane == bindparam("lane"),
            deliveries.c["class"] == LaneClass.CREATE.value,
            deliveries.c.sent.is_(False),
            deliveries.c.next_at <= bindparam("now"),
            deliveries.c.id != bindparam("carrier"),
            UNBLOCKED,
        )
        .order_by(deliveries.c.order_key)
        .limit(FOLD_MAX)
    )


@cache
def _open_carrier(*, by_target: bool) -> Statement:
    """The newest open carrier of a kind that takes more along."""
    conditions: list[Any] = [
        incidents.c.account == bindparam("account"),
        incidents.c.live,
        text("incidents.folded > 0"),  # as it stands in the index
        incidents.c.firing > 0,
        or_(*(incidents.c.state == one.value for one in folding.TAKES_MORE)),
    ]
    alike: list[Any] = [deliveries.c.fold_target == bindparam("target")]
    if not by_target:
        alike.append(deliveries.c.fold_key == bindparam("key"))
    return Statement(
        select(incidents)
        .join_from(deliveries, incidents, deliveries.c.incident_id == incidents.c.id)
        .where(
            deliveries.c.action == Action.CREATE.value,
            deliveries.c.lane == bindparam("lane"),
            deliveries.c.first_attempt_at >= bindparam("since"),
            *alike,
            *conditions,
        )
        .order_by(deliveries.c.first_attempt_at.desc())
        .limit(1)
    )


class Folds:
    """The folding of one claim. Made per transaction."""

    def __init__(self, work: LaneWork) -> None:
        self._connection = work.connection
        self._now = work.now
        self._lane = work.lane
        self._pace = work.pace
        self._routes = work.routes
        self._new_id = work.new_id
        self._lock = work.lock_series
        self._locked = work.locked
        self._left = FOLD_MAX  # that may fold in this transaction: ingest waits for it

    # -- is the lane behind?

    def crowd(self, state: LaneState) -> int:
        """How many waiting creates go unnoticed: the bind `crowd` of the claim's query."""
        number = carried(self._pace, state, self._now)
        return CROWD if number is None else min(number, CROWD)

    def looked(self, state: LaneState, found: Row) -> LaneState:
        """The lane after a look at its line: `behind_since` says whether its creates fold now."""
        if is_still_behind(self._pace, state, self._now):
            return state
        number = carried(self._pace, state, self._now)
        if number is None or found["crowded"] is None or not self._waits_more_than(number, found["id"]):
            return state if state.behind_since is None else replace(state, behind_since=None)
        return replace(state, behind_since=self._now)

    def _waits_more_than(self, number: int, candidate: str) -> bool:
        if number > COUNTED_MAX and sum(candidate.encode()) % COUNTED_EVERY:
            return False
        return bool(_MORE_THAN.rows(self._connection, lane=self._lane, number=number))

    # -- an open carrier takes the next create along

    def joined(self, state: LaneState, row: Row, incident: Incident) -> bool:
        """Whether the next create, and all of its kind that wait, became a note at an open carrier."""
        since = takes_more_since(self._pace, state, self._now)
        if since is None or not self._may_fold(row, incident):
            return False
        by_target = self._by_target(state, row)
        found = _open_carrier(by_target=by_target).rows(
            self._connection,
            account=row["account"],
            lane=self._lane,
            since=since,
            target=row["fold_target"],
            key=row["fold_key"],
        )
        carrier = incident_from(found[0]) if found else None
        if carrier is None or not folding.may_join(carrier, incident.severity) or not self._lock(carrier.series):
            return False
        carrier = self._again(carrier)
        if not folding.may_join(carrier, incident.severity):
            return False
        first = _waiting(row, incident)
        alike = self._alike(row, first, by_target=by_target)
        group = (first, *(one for one in alike if folding.may_join(carrier, one.severity)))
        self._mark(group, carrier)
        self._note(carrier, group)
        return True

    def _note(self, carrier: Incident, group: tuple[Waiting, ...]) -> None:
        """One note for all that join while it waits."""
        lines = folding.listed(group)
        changes = Changes(now=self._now, routes=self._routes, new_id=self._new_id)
        changes.put(folding.carrying(carrier, group))
        held = [row for row in _NOTES.rows(self._connection, incident=carrier.id) if _gathers(row)]
        if held:
            before = json.loads(held[0]["fields"])["fields"]
            body = CreateBody(fields=folding.joined_note(before, lines), names=(), notes=())
            _FIELDS_OF.run(self._connection, [{"of_delivery": held[0]["id"], "new_fields": content_json(body)}])
            changes.flush(self._connection)
            due = folding.note_due_at(held[0]["next_at"], lines, self._now)
            _DUE_AT.run(self._connection, [{"of_delivery": held[0]["id"], "at": due}])
            return
        body = CreateBody(fields=folding.joined_note(None, lines), names=(), notes=())
        changes.next_no[carrier.series] = _NEXT_NO.rows(self._connection, of_series=carrier.series)[0]["next_no"]
        note = changes.add_delivery(carrier, Action.NOTE, body)
        changes.flush(self._connection)
        due = folding.note_due_at(None, lines, self._now)
        _DUE_AT.run(self._connection, [{"of_delivery": note, "at": due}])

    # -- the next create takes others along

    def gathered(self, state: LaneState, row: Row, incident: Incident) -> tuple[Row, Incident]:
        """The next create with its body frozen and everything of its kind folded into it; as they are, if that is none.

        Raises nothing and sends nothing: the claim goes on with what it answers.
        """
        form = route_of(self._routes, row["account"]).fold
        if state.behind_since is None or form is None or not self._may_fold(row, incident):
            return row, incident
        first = _waiting(row, incident)
        group = self._alike(row, first, by_target=self._by_target(state, row))
        if not group:
            return row, incident
        everyone = (first, *group)
        best = folding.most_severe(everyone)
        own = body_in(row)
        words = own if best is first else body_in(self._row(best.delivery))
        frozen = folding.frozen_body(own, words, folding.listed(everyone), form)
        carrier = folding.carrying(incident, group)
        self._mark(group, carrier)
        change = replaced(row, frozen)
        _REPLACE_BODY.run(self._connection, [change])
        changes = Changes(now=self._now, routes=self._routes, new_id=self._new_id)
        changes.put(carrier)
        changes.flush(self._connection)
        new = {name: change["new_" + name] for name in ("fields", "names", "notes", "ids")}
        return {**row, **new}, carrier

    # -- a note that is added to the incident's text

    def completed(self, row: Row, incident: Incident) -> Row:
        """A note about to be sent, with the text it is added to, where the upstream has notes only so.

        Of folded incidents, or of a person's: taken along from the incident before, it was written without that text.
        """
        form = route_of(self._routes, row["account"]).fold
        stored = json.loads(row["fields"])
        if form is None or form.written is None or incident.key_rule is not KeyRule.FOR_EVER:
            return row
        if form.body_field in stored["fields"]:
            return row
        whole = incident.summary if incident.summary is not None else self._written(form.written, form, incident)
        fields = dumps({**stored, "fields": {**stored["fields"], form.body_field: whole}})
        _FIELDS_OF.run(self._connection, [{"of_delivery": row["id"], "new_fields": fields}])
        return {**row, "fields": fields}

    def _written(self, written: Callable[[Delivery], str], form: FoldForm, incident: Incident) -> str:
        """What was written last, where the upstream has not said what stands there."""
        told = [one for one in _NOTES.rows(self._connection, incident=incident.id) if _is_told(one, form.body_field)]
        last = told[0] if told else _CREATE.rows(self._connection, incident=incident.id)[0]
        lookup = lookup_from(last["ids"])
        delivery = delivery_from(last, incident.upstream_id, frozenset(), lookup.ids)
        return written(replace(delivery, notes=(*delivery.notes, *lookup.notes)))

    # -- rows

    def _may_fold(self, row: Row, incident: Incident) -> bool:
        """A create that was never sent, of an incident that carries nobody."""
        return (
            row["action"] == Action.CREATE
            and row["fold_target"] is not None
            and not row["sent"]
            and incident.state is IncidentState.PENDING
            and incident.folded == 0
        )

    def _by_target(self, state: LaneState, row: Row) -> bool:
        """Whether more kinds of criticals wait than go out within max_wait: then the target alone decides."""
        number = carried(self._pace, state, self._now)
        if number is None or row["order_key"] >= 0:
            return False
        kinds = _KINDS.rows(self._connection, lane=self._lane, most=number + 1)[0]["kinds"]
        return bool(kinds > number)

    def _alike(self, row: Row, first: Waiting, *, by_target: bool) -> tuple[Waiting, ...]:
        """What waits and is of the candidate's kind, with its series locked."""
        found = _alike(by_target=by_target).rows(
            self._connection,
            target=row["fold_target"],
            key=row["fold_key"],
            lane=self._lane,
            now=self._now,
            carrier=row["id"],
        )[: max(0, self._left)]
        ids = self._free(found)
        rows = _WAITING.rows(self._connection, ids=padded(ids)) if ids else []
        waiting = [Waiting(**{**one, "severity": Severity(one["severity"])}) for one in rows]
        return folding.folded_into(first, waiting, by_target=by_target)

    def _free(self, found: list[Row]) -> Collection[str]:
        """Those of these deliveries whose series nobody else holds; they are ours from here on."""
        if self._connection.dialect.name == "sqlite" or not found:
            return [one["id"] for one in found]
        wanted = padded(one["series"] for one in found if one["series"] not in self._locked)
        if wanted:
            self._locked.update(one["id"] for one in _LOCK_FREE.rows(self._connection, ids=wanted))
        return [one["id"] for one in found if one["series"] in self._locked]

    def _mark(self, group: tuple[Waiting, ...], carrier: Incident) -> None:
        self._left -= len(group)
        detail = f"folded into incident {carrier.id}"
        folded = padded(one.incident for one in group)
        creates = padded(one.delivery for one in group)
        _FOLD_INCIDENTS.run(self._connection, {"new_carrier": carrier.id}, ids=folded)
        _CANCEL_CREATES.run(self._connection, {"new_detail": detail, "at": self._now}, ids=creates)
        _FOLD_ALERTS.run(self._connection, {}, ids=folded)

    @property
    def is_spent(self) -> bool:
        """Whether this transaction has folded as many as one may."""
        return self._left <= 0

    def _row(self, delivery: str) -> Row:
        return _DELIVERY.rows(self._connection, delivery=delivery)[0]

    def _again(self, incident: Incident) -> Incident:
        """An incident as it is now that its series is locked."""
        return incident_from(_INCIDENT.rows(self._connection, incident=incident.id)[0])


def _waiting(row: Row, incident: Incident) -> Waiting:
    return Waiting(
        delivery=row["id"],
        incident=incident.id,
        series=row["series"],
        severity=incident.severity,
        order_key=row["order_key"],
        fold_key=row["fold_key"] or "",
        fold_target=row["fold_target"] or "",
        title=incident.title,
        firing=incident.firing,
    )


def _gathers(row: Row) -> bool:
    """Whether a note about folded incidents waits and nobody has begun to send it."""
    waits = row["state"] == DeliveryState.PENDING and row["attempts"] == 0 and not row["sent"]
    return waits and "joined" in json.loads(row["fields"])["fields"]


def _is_told(row: Row, body_field: str) -> bool:
    """Whether a note stands in the incident's text."""
    told = row["state"] == DeliveryState.DELIVERED or (row["state"] == DeliveryState.ADOPTED and _was_found(row))
    return told and body_field in json.loads(row["fields"])["fields"]


def _was_found(row: Row) -> bool:
    return not (row["detail"] or "").startswith("not sent")
