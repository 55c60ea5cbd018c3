"""Recording: what the result of an attempt does to its delivery, its incident and the lane.

The lane's row is locked; the incident's series is locked before anything is decided.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from sqlalchemy import bindparam, insert, select

from bridge.adapters.ledger import adopted, fetches, probes
from bridge.adapters.ledger.changes import restarted, route_of
from bridge.adapters.ledger.compiled import Statement
from bridge.adapters.ledger.lanes import Claimed, LaneWork, Recorded, waiting_again
from bridge.adapters.ledger.names import TRUSTED_FOR, Lookup, lookup_from, lookup_json
from bridge.adapters.ledger.rows import Row, body_in, content_json, dumps, names_from, names_json
from bridge.adapters.ledger.schema import attempts, deliveries
from bridge.adapters.ledger.truth import look
from bridge.domain import keys
from bridge.domain.delivery import (
    Action,
    AttemptResult,
    Delivered,
    DeliveryState,
    NameRef,
    PermanentFailure,
    Phase,
    Reason,
    Reference,
)
from bridge.domain.incident import Incident
from bridge.domain.lane import after, behind_the_others, is_failing
from bridge.domain.plain import plain_create, plain_key, with_place
from bridge.domain.retry import Done, GiveUp, NextKey, RetryIn, SendPlain, first_phase, next_step
from bridge.domain.text import storable, storable_or_none
from bridge.domain.transitions import is_moot, on_delivered, on_key_spent, on_not_sent

RESPONSE_MAX_CHARS = 4096
_REFUSED_FOR_A_NAME = (Reason.BAD_REQUEST, Reason.NOT_FOUND)  # among others


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


def record(work: LaneWork, finished: Finished) -> Recorded:
    """Write one attempt and what follows from it, if the lease is still ours."""
    claimed = finished.claimed
    row = work.held(claimed)
    if row is None:
        return Recorded(state=None, reason=Reason.LEASE_ENDED)
    incident = work.lock_incident(row)
    _note_attempt(work, finished)
    was_failing = is_failing(work.state)
    work.state = after(work.state, claimed.of, finished.result, work.now)
    if was_failing and not is_failing(work.state):
        probes.end_backoffs(work.connection, work.lane, work.now)
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
            work.finish(row, state, None, detail)
            if claimed.delivery.action is Action.CHECK and reference is not None:
                _looked(work, incident, reference)
            else:
                reopens = route_of(work.routes, incident.account).reopens is not None
                done = on_delivered(incident, claimed.delivery.action, reference, work.now, reopens=reopens)
                work.follow(done, incident)
                if claimed.delivery.action is Action.CREATE and reference is not None and reference.closed:
                    _looked(work, done.incident, reference)
                elif claimed.delivery.action is Action.CREATE and was_adopted and reference is not None:
                    _joins_earlier(work, done.incident, row, reference)
            recorded = Recorded(state=state, reason=None)
        case RetryIn():
            recorded = _retry(work, row, incident, step, detail)
        case NextKey(reason=reason):
            work.finish(row, DeliveryState.CANCELLED, reason, detail)
            _next_key(work, row, incident)
            recorded = Recorded(state=DeliveryState.CANCELLED, reason=reason)
        case SendPlain(refusal=refusal) if _was_a_guess(work, row, refusal.reason):
            recorded = _looked_up_anew(work, row, incident, detail, Lookup(guess_refused=True, since=work.now))
        case SendPlain(refusal=refusal) if doubted := _doubted(work, row, refusal):
            recorded = _looked_up_anew(work, row, incident, detail, Lookup(doubted=doubted, since=work.now))
        case SendPlain(refusal=refusal):
            recorded = _send_plain(work, row, incident, refusal)
        case GiveUp(reason=reason) if _was_a_guess(work, row, reason):
            recorded = _looked_up_anew(work, row, incident, detail, Lookup(guess_refused=True, since=work.now))
        case GiveUp(reason=reason):
            recorded = work.bury(row, incident, reason, detail)
        case _:
            assert_never(step)
    return recorded


def _note_attempt(work: LaneWork, finished: Finished) -> None:
    delivered = isinstance(finished.result, Delivered)
    reason = None if delivered else getattr(finished.result, "reason", None)
    _INSERT_ATTEMPT.run(
        work.connection,
        [
            {
                "delivery_id": finished.claimed.delivery.id,
                "no": finished.claimed.attempt,
                "at": work.now - timedelta(seconds=finished.duration_s),
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


def _looked(work: LaneWork, incident: Incident, there: Reference) -> None:
    """A check was answered."""
    route = route_of(work.routes, incident.account)
    known, transition = look(work.connection, incident, there, work.now, route.trust)
    work.follow(transition, known)


def _joins_earlier(work: LaneWork, incident: Incident, row: Row, there: Reference) -> None:
    """A create was answered with what was open already, and not made by it: that is told the rest."""
    earlier = adopted.earlier_episode(work.connection, incident)
    if earlier is None and not there.made_before:
        return
    changes = work.changes()
    work.load_next_no(changes, incident.series)
    rises = route_of(work.routes, incident.account).rises
    adopted.joins(work.connection, changes, incident, earlier, row, rises)
    changes.flush(work.connection)


def _retry(work: LaneWork, row: Row, incident: Incident, step: RetryIn, detail: str | None) -> Recorded:
    sent = row["sent"] or step.sent
    if work.now + step.delay >= row["give_up_at"]:
        why = f"older than the account's give_up_after; last: {detail or step.reason.value}"
        work.update_delivery(row["id"], sent=sent)  # a replay has to know
        return work.bury(row, incident, Reason.TOO_OLD, why)
    if _is_passed_by(work, row, incident):
        work.drop(row, incident, Reason.SUPERSEDED, detail)
        return Recorded(state=DeliveryState.CANCELLED, reason=Reason.SUPERSEDED)
    first = first_phase(Action(row["action"]), incident.key_rule)
    asks_first = first is Phase.LOOK_UP and step.reason is not Reason.NOTHING_FOUND
    phase = first if asks_first else step.phase
    is_forbidden = step.reason is Reason.FORBIDDEN
    work.update_delivery(
        row["id"],
        **waiting_again(row, phase),
        sent=sent,
        order_key=behind_the_others(row["order_key"]) if is_forbidden else row["order_key"],
        next_at=work.now + step.delay,
        reason=step.reason.value,
        detail=detail,
    )
    if not sent:
        work.follow(on_not_sent(incident, Action(row["action"])), incident)
    return Recorded(state=DeliveryState.PENDING, reason=step.reason)


def _is_passed_by(work: LaneWork, row: Row, incident: Incident) -> bool:
    """Whether what failed need not be sent again: nobody has to hear of it, or a newer update waits."""
    action = Action(row["action"])
    return is_moot(incident, action) or (
        action is Action.UPDATE and bool(_NEWER_UPDATE.rows(work.connection, incident=row["incident_id"], no=row["no"]))
    )


def _was_a_guess(work: LaneWork, row: Row, reason: Reason) -> bool:
    """Whether a refused create named something as it is written, and its list may still come."""
    lookup = lookup_from(row["ids"])
    if not lookup.guessed or reason not in _REFUSED_FOR_A_NAME:
        return False
    kinds = {ref.kind for ref in names_from(row["names"])}
    return not any(fetches.trouble_with(work.connection, row["account"], kind).refused_since for kind in kinds)


def _doubted(work: LaneWork, row: Row, refusal: PermanentFailure) -> tuple[str, ...]:
    """The lists that gave a refused create its ids, and may be out of date: what is made anew has another id.

    Nothing is asked twice for one refusal, nor of what may have worked: it keeps its body.
    """
    lookup = lookup_from(row["ids"])
    if row["sent"] or not lookup.ids or lookup.doubted or refusal.reason not in _REFUSED_FOR_A_NAME:
        return ()
    kinds = {ref.kind for ref in names_from(row["names"]) if ref.field in lookup.ids and _speaks_of(refusal, ref)}
    held = {kind: work.names.list_of(work.connection, row["account"], kind, newest=True) for kind in kinds}
    old = [kind for kind, found in held.items() if found is not None and _is_old(found.fetched_at, work.now)]
    return tuple(sorted(old))


def _is_old(fetched_at: datetime, now: datetime) -> bool:
    return not timedelta(0) <= now - fetched_at <= TRUSTED_FOR


def _looked_up_anew(work: LaneWork, row: Row, incident: Incident, detail: str | None, lookup: Lookup) -> Recorded:
    """What the upstream surely refused made nothing there: it waits for the list, and goes with a name from it."""
    work.update_delivery(
        row["id"],
        **waiting_again(row, Phase.SEND),
        next_at=work.now,
        reason=Reason.WAITING_FOR_NAMES.value,
        detail=detail,
        ids=lookup_json(lookup),
    )
    if not row["sent"]:
        work.follow(on_not_sent(incident, Action(row["action"])), incident)
    return Recorded(state=DeliveryState.PENDING, reason=Reason.WAITING_FOR_NAMES)


def _send_plain(work: LaneWork, row: Row, incident: Incident, refusal: PermanentFailure) -> Recorded:
    """A refused create goes out once more, as a plain one; where it is one, or cannot become one, it is dead."""
    body = body_in(row)
    form = route_of(work.routes, row["account"]).plain
    plain = None if form is None else plain_create(body, refusal, form)
    detail = storable(with_place(refusal.detail, refusal.field, body.places))[:RESPONSE_MAX_CHARS] or None
    if plain is None:
        return work.bury(row, incident, refusal.reason, detail)
    work.update_delivery(
        row["id"],
        **waiting_again(row, Phase.SEND),
        next_at=work.now,
        reason=refusal.reason.value,
        detail=detail,
        key=plain_key(row["key"], incident.key_rule, sent=row["sent"]),
        fields=content_json(plain),
        names=names_json(plain.names),
        notes=dumps(plain.notes),
        ids="{}",  # looked up for the body that was refused
    )
    if not row["sent"]:
        work.follow(on_not_sent(incident, Action(row["action"])), incident)
    return Recorded(state=DeliveryState.PENDING, reason=refusal.reason)


def _next_key(work: LaneWork, row: Row, incident: Incident) -> None:
    """The episode goes on under its next key, as a new delivery with the same body; it ends if its problem has."""
    if incident.firing == 0:
        work.follow(on_key_spent(incident), incident)
        return
    n = incident.episode_n + 1
    key = keys.upstream_key(
        incident.key_rule, incident.series, incident.key_text, keys.episode(incident.episode_id, incident.id, n)
    )
    fresh = replace(restarted(incident), key=key, episode_n=n, acknowledged=incident.acknowledged)
    fresh = replace(fresh, telling=incident.telling)
    changes = work.changes()
    changes.put(fresh)
    work.load_next_no(changes, incident.series)
    changes.add_delivery(fresh, Action.CREATE, body_in(row))
    for behind in _WAITING_BEHIND.rows(work.connection, incident=incident.id):  # it is told once that create is
        work.update_delivery(behind["id"], no=changes.take_no(incident.series))
    changes.flush(work.connection)


def _kept(told: Reference) -> Reference:
    """What an upstream said of an incident, as it can be kept: whoever writes there may paste anything."""
    return replace(told, id=storable(told.id), url=storable_or_none(told.url), summary=storable_or_none(told.summary))


def _speaks_of(refusal: PermanentFailure, ref: NameRef) -> bool:
    """Whether this name may be what was refused; where the upstream does not say, any may."""
    return refusal.field is None or ref.field == refusal.field or ref.field.startswith(f"{refusal.field}.")


def _reason_of(result: AttemptResult, reason: Reason | None) -> str | None:
    if isinstance(result, Delivered):
        return None
    if reason is not None:
        return reason.value
    name = {"KeyIsOpen": Reason.KEY_OPEN, "NothingFound": Reason.NOTHING_FOUND, "KeySpent": Reason.KEY_SPENT}
    return name[type(result).__name__].value
