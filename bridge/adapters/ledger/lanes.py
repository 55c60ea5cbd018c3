"""Working a lane: claim the next due delivery under a lease, and record what came of it, each in one transaction.

Locks are taken lane first, then series. Recording the last attempt and claiming the next delivery share a transaction,
so that a busy lane costs one durable commit per delivery. A second series is waited for only when it sorts behind the
ones that are held, as settle locks them; else it is taken if it is free.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, assert_never

from sqlalchemy import and_, bindparam, exists, insert, or_, select, update

from bridge.adapters.holders import holder
from bridge.adapters.ledger import adopted, fetches, probes, renewals
from bridge.adapters.ledger.changes import UNROUTED, Changes, Route, restarted
from bridge.adapters.ledger.compiled import Statement, listed, padded
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.folds import Folds, crowded
from bridge.adapters.ledger.names import AGAIN_AFTER, TRUSTED_FOR, Lookup, NameBook, Waits, lookup_from, lookup_json
from bridge.adapters.ledger.rows import (
    Row,
    body_in,
    content_json,
    delivery_from,
    dumps,
    fields_json,
    incident_from,
    is_worded,
    lane_from,
    lane_row,
    names_from,
    names_json,
)
from bridge.adapters.ledger.schema import attempts, deliveries, incidents, lanes, series
from bridge.adapters.ledger.telling import note_of
from bridge.adapters.ledger.truth import is_another_one_now, look
from bridge.domain import keys
from bridge.domain.decision import KeyRule
from bridge.domain.delivery import (
    Action,
    AttemptResult,
    Delivered,
    Delivery,
    DeliveryState,
    LaneClass,
    NameRef,
    PermanentFailure,
    Phase,
    Reason,
    Reference,
    TransientFailure,
    lane_class,
)
from bridge.domain.incident import CreateBody, Incident, Transition
from bridge.domain.lane import (
    LEASE,
    LaneState,
    Pace,
    Slot,
    after,
    behind_the_others,
    is_failing,
    is_parked,
    sane,
    slot,
    take,
)
from bridge.domain.plain import plain_create, plain_key, with_place
from bridge.domain.retry import Done, GiveUp, NextKey, RetryIn, SendPlain, first_phase, next_step, phase_after_unknown
from bridge.domain.telling import noted
from bridge.domain.text import storable, storable_or_none
from bridge.domain.transitions import is_moot, on_claimed, on_dead, on_delivered, on_key_spent, on_moot, on_not_sent
from bridge.domain.truth import may_look

STRIKES_MAX = 5
MOOT = "the incident is no longer open: nobody has to hear of it, and an acknowledgement would open it again"
GOES_ON = "it was to be resolved once more, and a later episode goes on in what is open there"
CANDIDATES_MAX = 50  # looked at in one claim before leaving the lane to the next job
RESPONSE_MAX_CHARS = 4096


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
class NamesNeeded:
    """A due delivery waits for these lists of its account: they are to be fetched now, by whoever claimed."""

    account: str
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """One attempt as the worker saw it."""

    claimed: Claimed
    call: str  # method and path, without credentials
    status: int | None
    request_id: str | None
    response: str  # the beginning of the answer's body
    duration_s: float
    result: AttemptResult
    jitter: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the ledger made of a finished attempt; None fields when the lease had passed to somebody else."""

    state: DeliveryState | None
    reason: Reason | None


class LaneBusy(Exception):
    """Another worker is at the lane."""


Claim = Claimed | NamesNeeded | None

_earlier = deliveries.alias("earlier")
UNBLOCKED = ~exists().where(
    _earlier.c.series == deliveries.c.series,
    _earlier.c.no < deliveries.c.no,
    or_(
        and_(_earlier.c.state == DeliveryState.PENDING.value, _earlier.c.action != Action.CHECK.value),
        _earlier.c.state == DeliveryState.SENDING.value,
    ),
)
"""First in its series: a resolve never overtakes its create, nor a new episode the end of the last one. A question
holds nobody up.
"""

_ONE_LANE = select(lanes).where(lanes.c.name == bindparam("lane"))
_LANE = Statement(_ONE_LANE.with_for_update())
_FREE_LANE = Statement(_ONE_LANE.with_for_update(skip_locked=True))
_IN_FLIGHT = Statement(
    select(deliveries)
    .where(deliveries.c.lane == bindparam("lane"), deliveries.c.state == "sending")
    .order_by(deliveries.c.series)
)
_SERIES = select(series.c.id, series.c.next_no).where(series.c.id == bindparam("series"))
_LOCK_SERIES = Statement(_SERIES.with_for_update())
_LOCK_FREE_SERIES = Statement(_SERIES.with_for_update(skip_locked=True))
_DELIVERY = Statement(select(deliveries).where(deliveries.c.id == bindparam("delivery")))
_INCIDENT = Statement(select(incidents).where(incidents.c.id == bindparam("incident")))
_OWNED = Statement(
    select(incidents.c.upstream_id).where(
        incidents.c.series == bindparam("series"),
        incidents.c.id != bindparam("incident"),
        incidents.c.upstream_id.is_not(None),
    )
)
_UPDATE_LANE = Statement(
    update(lanes)
    .where(lanes.c.name == bindparam("of_lane"))
    .values({column.name: bindparam("new_" + column.name) for column in lanes.c if column.name != "name"})
)
_NEWER_UPDATE = Statement(
    select(deliveries.c.id).where(
        deliveries.c.incident_id == bindparam("incident"),
        deliveries.c.action == Action.UPDATE.value,
        deliveries.c.state == "pending",
        deliveries.c.no > bindparam("no"),
    )
)
_WAITING_BEHIND = Statement(
    select(deliveries.c.id)
    .where(
        deliveries.c.incident_id == bindparam("incident"),
        deliveries.c.action != Action.CREATE.value,
        deliveries.c.state == "pending",
    )
    .order_by(deliveries.c.no)
)
_INSERT_ATTEMPT = Statement(insert(attempts))
EVERYTHING = 1 << 62
_UNROUTED = Route(lane="", pace=UNROUTED)
_REFUSED_FOR_A_NAME = (Reason.BAD_REQUEST, Reason.NOT_FOUND)  # among others


@cache
def _next_of(accounts: int) -> Statement:
    """The next candidate of a lane, of this many accounts: those configured for it, as nobody can send for another."""
    return Statement(
        select(deliveries.c.id, deliveries.c.series, crowded().label("crowded"))
        .where(
            deliveries.c.lane == bindparam("lane"),
            deliveries.c["class"] == bindparam("of"),
            deliveries.c.state == "pending",
            deliveries.c.next_at <= bindparam("now"),
            deliveries.c.order_key < bindparam("below"),
            deliveries.c.account.in_(listed("account", accounts)),
            UNBLOCKED,
        )
        .order_by(deliveries.c.order_key)
        .limit(1)
    )


@cache
def _update_of(names: tuple[str, ...]) -> Statement:
    """The update of one delivery's columns."""
    new: dict[str, Any] = {name: bindparam("new_" + name) for name in names}
    return Statement(update(deliveries).where(deliveries.c.id == bindparam("of_delivery")).values(new))


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
        self._locked: set[str] = set()  # series
        self.folds = Folds(
            self.connection,
            self.now,
            lane,
            pace=pace,
            routes=routes,
            new_id=new_id,
            lock=self._lock_series,
            locked=self._locked,
            unblocked=UNBLOCKED,
        )
        rows = (_LANE if waits else _FREE_LANE).rows(self.connection, lane=lane)
        if not rows and not waits:
            raise LaneBusy
        self.before = lane_from(rows[0])
        self.state: LaneState = sane(pace, self.before, self.now)

    # -- claim

    def claim(self) -> Claim:
        """The next delivery that is due and has a slot, under a new lease; None when there is none."""
        if self.state.armed_until is not None:
            self.state = replace(self.state, armed_until=None)
        busy = self._after_ended_leases()
        found: Claim = None
        for of in LaneClass:
            if of in busy:
                continue
            now_slot = slot(self.pace, self.state, of, self.now, in_flight=len(busy))
            if now_slot.critical and self._may_occupy_a_worker():
                found = self._claim_class(of, now_slot)
            if found is not None:
                break
        return found

    def _may_occupy_a_worker(self) -> bool:
        return not is_failing(self.state) or probes.room(self.connection, self.routes, self.now) > 0

    def _after_ended_leases(self) -> set[LaneClass]:
        """Take back what dead workers held; the classes that are still in flight."""
        busy: set[LaneClass] = set()
        for row in _IN_FLIGHT.rows(self.connection, lane=self.lane):
            lease_until = min(row["lease_until"], self.now + LEASE)
            if lease_until > self.now:
                busy.add(LaneClass(row["class"]))
                if lease_until < row["lease_until"]:
                    self._update_delivery(row["id"], lease_until=lease_until)
            elif self._lock_series(row["series"]):
                self._lease_ended(row)
            else:
                busy.add(LaneClass(row["class"]))  # the next claim takes it back
        return busy

    def _lease_ended(self, row: Row) -> None:
        incident = self._incident(row["incident_id"])
        strikes = row["strikes"] + 1
        if strikes >= STRIKES_MAX:
            self._bury(row, incident, Reason.POISON, f"{strikes} workers died while sending it")
            return
        phase = phase_after_unknown(Action(row["action"]), incident.key_rule)
        self._update_delivery(
            row["id"],
            **self._waiting(row, phase),
            strikes=strikes,
            sent=True,
            next_at=self.now,
            reason=Reason.LEASE_ENDED.value,
            detail="the worker that held it stopped answering; its call may have worked",
        )

    def _claim_class(self, of: LaneClass, now_slot: Slot) -> Claim:
        below = EVERYTHING if now_slot.anyone else 0
        accounts = padded([name for name, route in self.routes.items() if route.lane == self.lane])
        statement = _next_of(len(accounts))
        crowd = self.folds.crowd(self.state)
        asked = {"lane": self.lane, "of": of.value, "now": self.now, "below": below, "crowd": crowd}
        asked |= {f"account_{number}": account for number, account in enumerate(accounts)}
        for _ in range(CANDIDATES_MAX):
            found = statement.rows(self.connection, **asked)
            if not found or not self._lock_series(found[0]["series"]):
                return None  # the clock finds what is due and comes again
            if of is LaneClass.CREATE:
                self.state = self.folds.looked(self.state, found[0])
            claim = self._take(found[0]["id"], of)
            if claim is not None:
                return claim
            if self.folds.is_spent:
                return None  # ingest waits for this transaction: the rest folds in the next
        return None

    def _take(self, delivery_id: str, of: LaneClass) -> Claim:
        """Claim one candidate, whose series is locked; None when it turned out not to be one (the next is tried)."""
        row = self._delivery(delivery_id)
        if row["state"] != DeliveryState.PENDING:
            return None
        incident = self._incident(row["incident_id"])
        if row["give_up_at"] <= self.now:
            self._bury(row, incident, Reason.TOO_OLD, "older than the account's give_up_after")
            return None
        if is_moot(incident, Action(row["action"])):
            self._drop(row, incident, Reason.NOTHING_TO_TELL, MOOT)
            return None
        if row["action"] == Action.CHECK and not may_look(incident):
            self._finish(row, DeliveryState.CANCELLED, Reason.NOTHING_TO_TELL, "nobody believes it open any more")
            return None
        if row["action"] == Action.RESOLVE and is_another_one_now(self.connection, incident):
            self._finish(row, DeliveryState.CANCELLED, Reason.SUPERSEDED, GOES_ON)
            return None
        if row["action"] == Action.NOTE and not is_worded(row):
            row, incident = self._word(row, incident)
            if row["state"] != DeliveryState.PENDING:
                return None
        elif row["action"] == Action.NOTE:
            row = self.folds.completed(row, incident)
        if row["action"] == Action.CREATE and self.state.behind_since is not None:
            if self.folds.joined(self.state, row, incident):
                return None
            row, incident = self.folds.gathered(self.state, row, incident)
        lookup = lookup_from(row["ids"])
        if row["names"] != "[]" and not lookup.is_final(sent=row["sent"]):
            refs = names_from(row["names"])
            route = self.routes.get(row["account"], _UNROUTED)
            found = self.names.resolve(
                self.connection,
                row["account"],
                refs,
                lookup,
                self.now,
                required=route.required,
                defaults=route.defaults,
            )
            if isinstance(found, Waits):
                return self._wait_for_names(row, found)
            if any(ref.field in route.required and ref.field not in found.ids for ref in refs):
                self._bury(row, incident, Reason.NAME_UNKNOWN, "; ".join(found.notes))
                return None
            lookup = found
        return self._lease(row, incident, of, lookup)

    def _word(self, row: Row, incident: Incident) -> tuple[Row, Incident]:
        """A note's text is made when it is first sent: everything that is to be told by now, or it is not sent."""
        note = note_of(self.connection, incident, self.now)
        if note.fields is None:
            self._drop(row, incident, Reason.NOTHING_TO_TELL, note.why)
            return self._delivery(row["id"]), incident
        told = replace(incident, telling=noted(incident.telling, note.tells_until or self.now))
        changes = self._changes()
        changes.put(told)
        changes.flush(self.connection)
        text = fields_json(note.fields)
        self._update_delivery(row["id"], fields=text)
        return {**row, "fields": text}, told

    def _drop(self, row: Row, incident: Incident, reason: Reason, why: str | None) -> None:
        """What waits is not sent; the incident stands as it did."""
        self._finish(row, DeliveryState.CANCELLED, reason, why)
        left = on_moot(incident, Action(row["action"]), row["created_at"] if is_worded(row) else None)
        if left != incident:
            changes = self._changes()
            changes.put(left)
            changes.flush(self.connection)

    def _wait_for_names(self, row: Row, waits: Waits) -> NamesNeeded | None:
        """Not an attempt. None when the lists are asked for already: the next candidate may go."""
        doubted = waits.lookup.doubted
        asked = fetches.want(self.connection, self.now, row["account"], waits.kinds, doubted=doubted)
        self._update_delivery(
            row["id"],
            next_at=waits.until,
            reason=Reason.WAITING_FOR_NAMES.value,
            detail=_waiting_for(waits.kinds),
            ids=lookup_json(waits.lookup),
        )
        return NamesNeeded(account=row["account"], kinds=asked) if asked else None

    def put_back(self, claimed: Claimed, kinds: tuple[str, ...]) -> NamesNeeded | None:
        """The claim is undone, for want of these lists: nothing was sent, and it is no attempt."""
        row = self._held(claimed)
        if row is None:
            return None
        incident = self._lock_incident(row)
        # a list that came since the claim has woken everybody who waited for it, and will not do so again
        missing = tuple(kind for kind in kinds if self.names.list_of(self.connection, row["account"], kind) is None)
        asked = fetches.want(self.connection, self.now, row["account"], missing)
        self._update_delivery(
            row["id"],
            **self._waiting(row, Phase(row["phase"])),
            **_unattempted(row),
            next_at=self.now + AGAIN_AFTER if missing else self.now,
            reason=Reason.WAITING_FOR_NAMES.value,
            detail=_waiting_for(kinds),
        )
        if not row["sent"]:
            self._follow(on_not_sent(incident, Action(row["action"])), incident)
        return NamesNeeded(account=row["account"], kinds=asked) if asked else None

    def let_go(self, claimed: Claimed, why: str) -> None:
        """The claim is undone, for nothing is left to tell: nothing was sent, and it is no attempt."""
        row = self._held(claimed)
        if row is None:
            return
        incident = self._lock_incident(row)
        self._update_delivery(row["id"], **_unattempted(row))
        self._drop(row, incident, Reason.NOTHING_TO_TELL, why)

    def no_list_came(self, failure: TransientFailure | PermanentFailure) -> None:
        """A question about names was refused: too many calls park the updates, a refused key parks the account."""
        if failure.reason in (Reason.RATE_LIMITED, Reason.AUTH):
            self.state = after(self.state, LaneClass.UPDATE, failure, self.now)

    def may_ask(self) -> bool:
        """Whether the account may be asked about names: such calls are of the update class."""
        held_back = self.state.paused_at is not None or is_parked(self.state, LaneClass.UPDATE, self.now)
        return not held_back and self._may_occupy_a_worker()

    def _lease(self, row: Row, incident: Incident, of: LaneClass, lookup: Lookup) -> Claimed:
        token = f"{holder()}:{self.new_id()}"
        first_at = row["first_attempt_at"] or self.now
        leased = {
            "state": DeliveryState.SENDING.value,
            "lease_token": token,
            "lease_until": self.now + LEASE,
            "attempts": row["attempts"] + 1,
            "first_attempt_at": first_at,
            "ids": lookup_json(lookup),
        }
        self._update_delivery(row["id"], **leased)
        changes = self._changes()
        claimed = on_claimed(incident, Action(row["action"]))
        if claimed != incident:
            changes.put(claimed)
            changes.flush(self.connection)
        self.state = take(self.pace, self.state, of, self.now)
        owned: frozenset[str] = frozenset()
        if row["phase"] == Phase.LOOK_UP:
            earlier = _OWNED.rows(self.connection, series=incident.series, incident=incident.id)
            owned = frozenset(one["upstream_id"] for one in earlier)
        delivery = delivery_from({**row, **leased}, incident.upstream_id, owned, lookup.ids)
        if lookup.notes:
            delivery = replace(delivery, notes=(*delivery.notes, *lookup.notes))
        return Claimed(
            delivery=delivery,
            lane=self.lane,
            token=token,
            attempt=row["attempts"] + 1,
            of=of,
            key_rule=incident.key_rule,
        )

    def give_up(self, delivery_id: str) -> bool:
        """Bury a waiting delivery that became too old; False when meanwhile it is not."""
        row = self._delivery(delivery_id)
        incident = self._lock_incident(row)
        row = self._delivery(delivery_id)
        if row["state"] != DeliveryState.PENDING or row["give_up_at"] > self.now:
            return False
        self._bury(row, incident, Reason.TOO_OLD, "older than the account's give_up_after")
        return True

    # -- record

    def record(self, finished: Finished) -> Recorded:
        """Write one attempt and what follows from it, if the lease is still ours."""
        claimed = finished.claimed
        row = self._held(claimed)
        if row is None:
            return Recorded(state=None, reason=Reason.LEASE_ENDED)
        incident = self._lock_incident(row)
        self._note_attempt(finished)
        was_failing = is_failing(self.state)
        self.state = after(self.state, claimed.of, finished.result, self.now)
        if was_failing and not is_failing(self.state):
            probes.end_backoffs(self.connection, self.lane, self.now)
        step = next_step(
            finished.result,
            attempt=claimed.attempt,
            action=claimed.delivery.action,
            phase=claimed.delivery.phase,
            key_rule=claimed.key_rule,
            jitter=finished.jitter,
        )
        detail = storable(getattr(finished.result, "detail", ""))[:RESPONSE_MAX_CHARS] or None
        match step:
            case Done(reference=told, adopted=was_adopted):
                reference = None if told is None else _kept(told)
                state = DeliveryState.ADOPTED if was_adopted else DeliveryState.DELIVERED
                self._finish(row, state, None, detail)
                if claimed.delivery.action is Action.CHECK and reference is not None:
                    self._looked(incident, reference)
                else:
                    reopens = self._reopens(incident)
                    done = on_delivered(incident, claimed.delivery.action, reference, self.now, reopens=reopens)
                    self._follow(done, incident)
                    if claimed.delivery.action is Action.CREATE and reference is not None and reference.closed:
                        self._looked(done.incident, reference)
                    elif claimed.delivery.action is Action.CREATE and was_adopted and reference is not None:
                        self._joins_earlier(done.incident, row, reference)
                recorded = Recorded(state=state, reason=None)
            case RetryIn():
                recorded = self._retry(row, incident, step, detail)
            case NextKey(reason=reason):
                self._finish(row, DeliveryState.CANCELLED, reason, detail)
                self._next_key(row, incident)
                recorded = Recorded(state=DeliveryState.CANCELLED, reason=reason)
            case SendPlain(refusal=refusal) if self._was_a_guess(row, refusal.reason):
                recorded = self._looked_up_anew(row, incident, detail, Lookup(guess_refused=True, since=self.now))
            case SendPlain(refusal=refusal) if doubted := self._doubted(row, refusal):
                recorded = self._looked_up_anew(row, incident, detail, Lookup(doubted=doubted, since=self.now))
            case SendPlain(refusal=refusal):
                recorded = self._send_plain(row, incident, refusal)
            case GiveUp(reason=reason) if self._was_a_guess(row, reason):
                recorded = self._looked_up_anew(row, incident, detail, Lookup(guess_refused=True, since=self.now))
            case GiveUp(reason=reason):
                recorded = self._bury(row, incident, reason, detail)
            case _:
                assert_never(step)
        return recorded

    def _retry(self, row: Row, incident: Incident, step: RetryIn, detail: str | None) -> Recorded:
        sent = row["sent"] or step.sent
        if self.now + step.delay >= row["give_up_at"]:
            why = f"older than the account's give_up_after; last: {detail or step.reason.value}"
            self._update_delivery(row["id"], sent=sent)  # a replay has to know
            return self._bury(row, incident, Reason.TOO_OLD, why)
        if self._is_passed_by(row, incident):
            self._drop(row, incident, Reason.SUPERSEDED, detail)
            return Recorded(state=DeliveryState.CANCELLED, reason=Reason.SUPERSEDED)
        first = first_phase(Action(row["action"]), incident.key_rule)
        asks_first = first is Phase.LOOK_UP and step.reason is not Reason.NOTHING_FOUND
        phase = first if asks_first else step.phase
        is_forbidden = step.reason is Reason.FORBIDDEN
        self._update_delivery(
            row["id"],
            **self._waiting(row, phase),
            sent=sent,
            order_key=behind_the_others(row["order_key"]) if is_forbidden else row["order_key"],
            next_at=self.now + step.delay,
            reason=step.reason.value,
            detail=detail,
        )
        if not sent:
            self._follow(on_not_sent(incident, Action(row["action"])), incident)
        return Recorded(state=DeliveryState.PENDING, reason=step.reason)

    def _is_passed_by(self, row: Row, incident: Incident) -> bool:
        """Whether what failed need not be sent again: nobody has to hear of it, or a newer update waits."""
        action = Action(row["action"])
        return is_moot(incident, action) or (
            action is Action.UPDATE
            and bool(_NEWER_UPDATE.rows(self.connection, incident=row["incident_id"], no=row["no"]))
        )

    def _reopens(self, incident: Incident) -> bool:
        return self.routes.get(incident.account, _UNROUTED).reopens is not None

    def _was_a_guess(self, row: Row, reason: Reason) -> bool:
        """Whether a refused create named something as it is written, and its list may still come."""
        lookup = lookup_from(row["ids"])
        if not lookup.guessed or reason not in _REFUSED_FOR_A_NAME:
            return False
        kinds = {ref.kind for ref in names_from(row["names"])}
        return not any(fetches.trouble_with(self.connection, row["account"], kind).refused_since for kind in kinds)

    def _doubted(self, row: Row, refusal: PermanentFailure) -> tuple[str, ...]:
        """The lists that gave a refused create its ids, and may be out of date: what is made anew has another id.

        Nothing is asked twice for one refusal, nor of what may have worked: it keeps its body.
        """
        lookup = lookup_from(row["ids"])
        if row["sent"] or not lookup.ids or lookup.doubted or refusal.reason not in _REFUSED_FOR_A_NAME:
            return ()
        kinds = {ref.kind for ref in names_from(row["names"]) if ref.field in lookup.ids and _speaks_of(refusal, ref)}
        held = {kind: self.names.list_of(self.connection, row["account"], kind, newest=True) for kind in kinds}
        old = [kind for kind, found in held.items() if found is not None and self._is_old(found.fetched_at)]
        return tuple(sorted(old))

    def _is_old(self, fetched_at: datetime) -> bool:
        return not timedelta(0) <= self.now - fetched_at <= TRUSTED_FOR

    def _looked_up_anew(self, row: Row, incident: Incident, detail: str | None, lookup: Lookup) -> Recorded:
        """What the upstream surely refused made nothing there: it waits for the list, and goes with a name from it."""
        self._update_delivery(
            row["id"],
            **self._waiting(row, Phase.SEND),
            next_at=self.now,
            reason=Reason.WAITING_FOR_NAMES.value,
            detail=detail,
            ids=lookup_json(lookup),
        )
        if not row["sent"]:
            self._follow(on_not_sent(incident, Action(row["action"])), incident)
        return Recorded(state=DeliveryState.PENDING, reason=Reason.WAITING_FOR_NAMES)

    def _send_plain(self, row: Row, incident: Incident, refusal: PermanentFailure) -> Recorded:
        """A refused create goes out once more, as a plain one; where it is one, or cannot become one, it is dead."""
        body = body_in(row)
        form = self.routes.get(row["account"], _UNROUTED).plain
        plain = None if form is None else plain_create(body, refusal, form)
        detail = storable(with_place(refusal.detail, refusal.field, body.places))[:RESPONSE_MAX_CHARS] or None
        if plain is None:
            return self._bury(row, incident, refusal.reason, detail)
        self._update_delivery(
            row["id"],
            **self._waiting(row, Phase.SEND),
            next_at=self.now,
            reason=refusal.reason.value,
            detail=detail,
            key=plain_key(row["key"], incident.key_rule, sent=row["sent"]),
            fields=content_json(plain),
            names=names_json(plain.names),
            notes=dumps(plain.notes),
            ids="{}",  # looked up for the body that was refused
        )
        if not row["sent"]:
            self._follow(on_not_sent(incident, Action(row["action"])), incident)
        return Recorded(state=DeliveryState.PENDING, reason=refusal.reason)

    def _next_key(self, row: Row, incident: Incident) -> None:
        """The episode goes on under its next key, as a new delivery with the same body; it ends if its problem has."""
        if incident.firing == 0:
            self._follow(on_key_spent(incident), incident)
            return
        n = incident.episode_n + 1
        key = keys.upstream_key(
            incident.key_rule, incident.series, incident.key_text, keys.episode(incident.episode_id, incident.id, n)
        )
        fresh = replace(restarted(incident), key=key, episode_n=n, acknowledged=incident.acknowledged)
        fresh = replace(fresh, telling=incident.telling)
        changes = self._changes()
        changes.put(fresh)
        self._load_next_no(changes, incident.series)
        changes.add_delivery(fresh, Action.CREATE, body_in(row))
        for behind in _WAITING_BEHIND.rows(self.connection, incident=incident.id):  # it is told once that create is
            self._update_delivery(behind["id"], no=changes.take_no(incident.series))
        changes.flush(self.connection)

    def _follow(self, transition: Transition, old: Incident) -> None:
        changes = self._changes()
        if transition.add or transition.renews or Action.NOTE in transition.revive:
            self._load_next_no(changes, old.series)
        changes.apply(transition)
        if transition.renews and old.renewal is not None:
            self._renew(changes, transition.incident, old.renewal)
        changes.flush(self.connection)

    def _joins_earlier(self, incident: Incident, row: Row, there: Reference) -> None:
        """A create was answered with what was open already, and not made by it: that is told the rest."""
        earlier = adopted.earlier_episode(self.connection, incident)
        if earlier is None and not there.made_before:
            return
        changes = self._changes()
        self._load_next_no(changes, incident.series)
        rises = self.routes.get(incident.account, _UNROUTED).rises
        adopted.joins(self.connection, changes, incident, earlier, row, rises)
        changes.flush(self.connection)

    def _renew(self, changes: Changes, ended: Incident, body: CreateBody) -> None:
        """A new episode with the problems that fire still, or again, though this one is over at the upstream."""
        renewals.renew(self.connection, changes, ended, body, new_id=self.new_id, now=self.now)

    def _looked(self, incident: Incident, there: Reference) -> None:
        """A check was answered."""
        route = self.routes.get(incident.account, _UNROUTED)
        known, transition = look(self.connection, incident, there, self.now, route.trust)
        self._follow(transition, known)

    def _bury(self, row: Row, incident: Incident, reason: Reason, detail: str | None) -> Recorded:
        """A dead letter; a question that nobody answered is none, for the sweep asks again."""
        state = DeliveryState.CANCELLED if row["action"] == Action.CHECK else DeliveryState.DEAD
        self._finish(row, state, reason, detail)
        self._follow(on_dead(incident, Action(row["action"]), reason), incident)
        return Recorded(state=state, reason=reason)

    # -- rows

    def _finish(self, row: Row, state: DeliveryState, reason: Reason | None, detail: str | None) -> None:
        self._update_delivery(
            row["id"],
            state=state.value,
            reason=None if reason is None else reason.value,
            detail=storable_or_none(detail),
            done_at=self.now,
            lease_token=None,
            lease_until=None,
        )

    def _waiting(self, row: Row, phase: Phase) -> dict[str, Any]:
        return {
            "state": DeliveryState.PENDING.value,
            "phase": phase.value,
            "class": lane_class(Action(row["action"]), phase).value,
            "lease_token": None,
            "lease_until": None,
        }

    def _delivery(self, delivery_id: str) -> Row:
        return _DELIVERY.rows(self.connection, delivery=delivery_id)[0]

    def _held(self, claimed: Claimed) -> Row | None:
        """The claimed delivery; None when the lease has passed to somebody else."""
        row = self._delivery(claimed.delivery.id)
        return row if row["state"] == DeliveryState.SENDING and row["lease_token"] == claimed.token else None

    def _update_delivery(self, delivery_id: str, **values: Any) -> None:
        statement = _update_of(tuple(values))
        new = {"new_" + name: value for name, value in values.items()}
        statement.run(self.connection, [{"of_delivery": delivery_id, **new}])

    def _note_attempt(self, finished: Finished) -> None:
        delivered = isinstance(finished.result, Delivered)
        reason = None if delivered else getattr(finished.result, "reason", None)
        _INSERT_ATTEMPT.run(
            self.connection,
            [
                {
                    "delivery_id": finished.claimed.delivery.id,
                    "no": finished.claimed.attempt,
                    "at": self.now - timedelta(seconds=finished.duration_s),
                    "call": storable(finished.call),
                    "status": finished.status,
                    "reason": _reason_of(finished.result, reason),
                    "detail": storable(finished.result.detail)[:RESPONSE_MAX_CHARS] or None,
                    "duration_s": round(finished.duration_s, 6),
                    "request_id": storable_or_none(finished.request_id),
                    "response": storable(finished.response[:RESPONSE_MAX_CHARS]),
                }
            ],
        )

    def _lock_incident(self, row: Row) -> Incident:
        self._lock_series(row["series"])
        return self._incident(row["incident_id"])

    def _lock_series(self, series_id: str) -> bool:
        """Lock a series; False when it is somebody else's and waiting for it could go round in a circle.

        SQLite needs none: its one lock is held.
        """
        if self.connection.dialect.name == "sqlite" or series_id in self._locked:
            return True
        in_order = all(series_id > held for held in self._locked)
        statement = _LOCK_SERIES if in_order else _LOCK_FREE_SERIES
        if not statement.rows(self.connection, series=series_id):
            return False
        self._locked.add(series_id)
        return True

    def _incident(self, incident_id: str) -> Incident:
        return incident_from(_INCIDENT.rows(self.connection, incident=incident_id)[0])

    def _load_next_no(self, changes: Changes, series_id: str) -> None:
        changes.next_no[series_id] = _LOCK_SERIES.rows(self.connection, series=series_id)[0]["next_no"]

    def _changes(self) -> Changes:
        return Changes(now=self.now, routes=self.routes, new_id=self.new_id)

    def save(self) -> None:
        """Write the lane's row, when it changed; last, so that recording and claiming cost one update."""
        if self.state == self.before:
            return
        row = {"new_" + name: value for name, value in lane_row(self.state).items() if name != "name"}
        _UPDATE_LANE.run(self.connection, [{"of_lane": self.lane, **row}])
        self.before = self.state


def _kept(told: Reference) -> Reference:
    """What an upstream said of an incident, as it can be kept: whoever writes there may paste anything."""
    return replace(told, id=storable(told.id), url=storable_or_none(told.url), summary=storable_or_none(told.summary))


def _speaks_of(refusal: PermanentFailure, ref: NameRef) -> bool:
    """Whether this name may be what was refused; where the upstream does not say, any may."""
    return refusal.field is None or ref.field == refusal.field or ref.field.startswith(f"{refusal.field}.")


def _unattempted(row: Row) -> dict[str, Any]:
    """What a claim had counted, taken back."""
    before = row["attempts"] - 1
    return {"attempts": before, "first_attempt_at": row["first_attempt_at"] if before else None}


def _waiting_for(kinds: tuple[str, ...]) -> str:
    return f"waits for the upstream's names of this kind: {', '.join(kinds)}"


def _reason_of(result: AttemptResult, reason: Reason | None) -> str | None:
    if isinstance(result, Delivered):
        return None
    if reason is not None:
        return reason.value
    name = {"KeyIsOpen": Reason.KEY_OPEN, "NothingFound": Reason.NOTHING_FOUND, "KeySpent": Reason.KEY_SPENT}
    return name[type(result).__name__].value
