"""Claiming: the next due delivery of a lane under a lease, or what keeps it waiting; and a claim that is undone.

Everything here happens in the claim's transaction, with the lane's row locked and each candidate's series after it.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from sqlalchemy import bindparam, select

from bridge.adapters.holders import holder
from bridge.adapters.ledger import fetches
from bridge.adapters.ledger.changes import route_of
from bridge.adapters.ledger.compiled import Statement, listed, padded
from bridge.adapters.ledger.folds import Folds, crowded
from bridge.adapters.ledger.lanes import UNBLOCKED, Claimed, LaneWork, waiting_again
from bridge.adapters.ledger.names import AGAIN_AFTER, Lookup, Waits, lookup_from, lookup_json
from bridge.adapters.ledger.rows import Row, delivery_from, fields_json, is_worded, names_from
from bridge.adapters.ledger.schema import deliveries, incidents
from bridge.adapters.ledger.telling import note_of
from bridge.adapters.ledger.truth import is_another_one_now
from bridge.domain.delivery import Action, DeliveryState, LaneClass, Phase, Reason
from bridge.domain.incident import Incident
from bridge.domain.lane import LEASE, Slot, offered, slot, take
from bridge.domain.retry import phase_after_unknown
from bridge.domain.telling import noted
from bridge.domain.transitions import is_moot, on_claimed, on_not_sent
from bridge.domain.truth import may_look

STRIKES_MAX = 5
MOOT = "the incident is no longer open: nobody has to hear of it, and an acknowledgement would open it again"
GOES_ON = "it was to be resolved once more, and a later episode goes on in what is open there"
CANDIDATES_MAX = 50  # looked at in one claim before leaving the lane to the next job
EVERYTHING = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesNeeded:
    """A due delivery waits for these lists of its account: they are to be fetched now, by whoever claimed."""

    account: str
    kinds: tuple[str, ...]


Claim = Claimed | NamesNeeded | None

_IN_FLIGHT = Statement(
    select(deliveries)
    .where(deliveries.c.lane == bindparam("lane"), deliveries.c.state == "sending")
    .order_by(deliveries.c.series)
)
_OWNED = Statement(
    select(incidents.c.upstream_id).where(
        incidents.c.series == bindparam("series"),
        incidents.c.id != bindparam("incident"),
        incidents.c.upstream_id.is_not(None),
    )
)


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


def claim(work: LaneWork) -> Claim:
    """The next delivery that is due and has a slot, under a new lease; None when there is none."""
    if work.state.armed_until is not None:
        work.state = replace(work.state, armed_until=None)
    busy = _after_ended_leases(work)
    folds = Folds(work)
    found: Claim = None
    for of in offered(work.state):
        if of in busy:
            continue
        now_slot = slot(work.pace, work.state, of, work.now, in_flight=len(busy))
        if now_slot.critical and work.may_occupy_a_worker():
            found = _claim_class(work, folds, of, now_slot)
        if found is not None:
            break
    return found


def _after_ended_leases(work: LaneWork) -> set[LaneClass]:
    """Take back what dead workers held; the classes that are still in flight."""
    busy: set[LaneClass] = set()
    for row in _IN_FLIGHT.rows(work.connection, lane=work.lane):
        lease_until = min(row["lease_until"], work.now + LEASE)
        if lease_until > work.now:
            busy.add(LaneClass(row["class"]))
            if lease_until < row["lease_until"]:
                work.update_delivery(row["id"], lease_until=lease_until)
        elif work.lock_series(row["series"]):
            _lease_ended(work, row)
        else:
            busy.add(LaneClass(row["class"]))  # the next claim takes it back
    return busy


def _lease_ended(work: LaneWork, row: Row) -> None:
    incident = work.incident(row["incident_id"])
    strikes = row["strikes"] + 1
    if strikes >= STRIKES_MAX:
        work.bury(row, incident, Reason.POISON, f"{strikes} workers died while sending it")
        return
    phase = phase_after_unknown(Action(row["action"]), incident.key_rule)
    work.update_delivery(
        row["id"],
        **waiting_again(row, phase),
        strikes=strikes,
        sent=True,
        next_at=work.now,
        reason=Reason.LEASE_ENDED.value,
        detail="the worker that held it stopped answering; its call may have worked",
    )


def _claim_class(work: LaneWork, folds: Folds, of: LaneClass, now_slot: Slot) -> Claim:
    below = EVERYTHING if now_slot.anyone else 0
    accounts = padded([name for name, route in work.routes.items() if route.lane == work.lane])
    statement = _next_of(len(accounts))
    crowd = folds.crowd(work.state)
    asked = {"lane": work.lane, "of": of.value, "now": work.now, "below": below, "crowd": crowd}
    asked |= {f"account_{number}": account for number, account in enumerate(accounts)}
    for _ in range(CANDIDATES_MAX):
        found = statement.rows(work.connection, **asked)
        if not found or not work.lock_series(found[0]["series"]):
            return None  # the clock finds what is due and comes again
        if of is LaneClass.CREATE:
            work.state = folds.looked(work.state, found[0])
        taken = _take(work, folds, found[0]["id"], of)
        if taken is not None:
            return taken
        if folds.is_spent:
            return None  # ingest waits for this transaction: the rest folds in the next
    return None


def _take(work: LaneWork, folds: Folds, delivery_id: str, of: LaneClass) -> Claim:
    """Claim one candidate, whose series is locked; None when it turned out not to be one (the next is tried)."""
    row = work.delivery(delivery_id)
    if row["state"] != DeliveryState.PENDING:
        return None
    incident = work.incident(row["incident_id"])
    if row["give_up_at"] <= work.now:
        work.bury(row, incident, Reason.TOO_OLD, "older than the account's give_up_after")
        return None
    if is_moot(incident, Action(row["action"])):
        work.drop(row, incident, Reason.NOTHING_TO_TELL, MOOT)
        return None
    if row["action"] == Action.CHECK and not may_look(incident):
        work.finish(row, DeliveryState.CANCELLED, Reason.NOTHING_TO_TELL, "nobody believes it open any more")
        return None
    if row["action"] == Action.RESOLVE and is_another_one_now(work.connection, incident):
        work.finish(row, DeliveryState.CANCELLED, Reason.SUPERSEDED, GOES_ON)
        return None
    if row["action"] == Action.NOTE and not is_worded(row):
        row, incident = _word(work, row, incident)
        if row["state"] != DeliveryState.PENDING:
            return None
    elif row["action"] == Action.NOTE:
        row = folds.completed(row, incident)
    if row["action"] == Action.CREATE and work.state.behind_since is not None:
        if folds.joined(work.state, row, incident):
            return None
        row, incident = folds.gathered(work.state, row, incident)
    lookup = lookup_from(row["ids"])
    if row["names"] != "[]" and not lookup.is_final(sent=row["sent"]):
        refs = names_from(row["names"])
        route = route_of(work.routes, row["account"])
        found = work.names.resolve(
            work.connection, row["account"], refs, lookup, work.now, required=route.required, defaults=route.defaults
        )
        if isinstance(found, Waits):
            return _wait_for_names(work, row, found)
        if any(ref.field in route.required and ref.field not in found.ids for ref in refs):
            work.bury(row, incident, Reason.NAME_UNKNOWN, "; ".join(found.notes))
            return None
        lookup = found
    return _lease(work, row, incident, of, lookup)


def _word(work: LaneWork, row: Row, incident: Incident) -> tuple[Row, Incident]:
    """A note's text is made when it is first sent: everything that is to be told by now, or it is not sent."""
    note = note_of(work.connection, incident, work.now)
    if note.fields is None:
        work.drop(row, incident, Reason.NOTHING_TO_TELL, note.why)
        return work.delivery(row["id"]), incident
    told = replace(incident, telling=noted(incident.telling, note.tells_until or work.now))
    changes = work.changes()
    changes.put(told)
    changes.flush(work.connection)
    text = fields_json(note.fields)
    work.update_delivery(row["id"], fields=text)
    return {**row, "fields": text}, told


def _wait_for_names(work: LaneWork, row: Row, waits: Waits) -> NamesNeeded | None:
    """Not an attempt. None when the lists are asked for already: the next candidate may go."""
    doubted = waits.lookup.doubted
    asked = fetches.want(work.connection, work.now, row["account"], waits.kinds, doubted=doubted)
    work.update_delivery(
        row["id"],
        next_at=waits.until,
        reason=Reason.WAITING_FOR_NAMES.value,
        detail=_waiting_for(waits.kinds),
        ids=lookup_json(waits.lookup),
    )
    return NamesNeeded(account=row["account"], kinds=asked) if asked else None


def _lease(work: LaneWork, row: Row, incident: Incident, of: LaneClass, lookup: Lookup) -> Claimed:
    token = f"{holder()}:{work.new_id()}"
    first_at = row["first_attempt_at"] or work.now
    leased = {
        "state": DeliveryState.SENDING.value,
        "lease_token": token,
        "lease_until": work.now + LEASE,
        "attempts": row["attempts"] + 1,
        "first_attempt_at": first_at,
        "ids": lookup_json(lookup),
    }
    work.update_delivery(row["id"], **leased)
    changes = work.changes()
    claimed = on_claimed(incident, Action(row["action"]))
    if claimed != incident:
        changes.put(claimed)
        changes.flush(work.connection)
    work.state = take(work.pace, work.state, of, work.now)
    owned: frozenset[str] = frozenset()
    if row["phase"] == Phase.LOOK_UP:
        earlier = _OWNED.rows(work.connection, series=incident.series, incident=incident.id)
        owned = frozenset(one["upstream_id"] for one in earlier)
    delivery = delivery_from({**row, **leased}, incident.upstream_id, owned, lookup.ids)
    if lookup.notes:
        delivery = replace(delivery, notes=(*delivery.notes, *lookup.notes))
    return Claimed(
        delivery=delivery, lane=work.lane, token=token, attempt=row["attempts"] + 1, of=of, key_rule=incident.key_rule
    )


def put_back(work: LaneWork, claimed: Claimed, kinds: tuple[str, ...]) -> NamesNeeded | None:
    """The claim is undone, for want of these lists: nothing was sent, and it is no attempt."""
    row = work.held(claimed)
    if row is None:
        return None
    incident = work.lock_incident(row)
    # a list that came since the claim has woken everybody who waited for it, and will not do so again
    missing = tuple(kind for kind in kinds if work.names.list_of(work.connection, row["account"], kind) is None)
    asked = fetches.want(work.connection, work.now, row["account"], missing)
    work.update_delivery(
        row["id"],
        **waiting_again(row, Phase(row["phase"])),
        **_unattempted(row),
        next_at=work.now + AGAIN_AFTER if missing else work.now,
        reason=Reason.WAITING_FOR_NAMES.value,
        detail=_waiting_for(kinds),
    )
    if not row["sent"]:
        work.follow(on_not_sent(incident, Action(row["action"])), incident)
    return NamesNeeded(account=row["account"], kinds=asked) if asked else None


def take_back(work: LaneWork, sent: Collection[str]) -> None:
    """Claims of this process that it never heard of are undone, for nobody else sends what they lease.

    `sent` are the tokens of those that it did hear of.
    """
    for row in _IN_FLIGHT.rows(work.connection, lane=work.lane):
        if row["lease_token"] in sent or not row["lease_token"].startswith(f"{holder()}:"):
            continue
        incident = work.lock_incident(row)
        work.update_delivery(
            row["id"], **waiting_again(row, Phase(row["phase"])), **_unattempted(row), next_at=work.now
        )
        if not row["sent"]:
            work.follow(on_not_sent(incident, Action(row["action"])), incident)


def let_go(work: LaneWork, claimed: Claimed, why: str) -> None:
    """The claim is undone, for nothing is left to tell: nothing was sent, and it is no attempt."""
    row = work.held(claimed)
    if row is None:
        return
    incident = work.lock_incident(row)
    work.update_delivery(row["id"], **_unattempted(row))
    work.drop(row, incident, Reason.NOTHING_TO_TELL, why)


def _unattempted(row: Row) -> dict[str, Any]:
    """What a claim had counted, taken back."""
    before = row["attempts"] - 1
    return {"attempts": before, "first_attempt_at": row["first_attempt_at"] if before else None}


def _waiting_for(kinds: tuple[str, ...]) -> str:
    return f"waits for the upstream's names of this kind: {', '.join(kinds)}"
