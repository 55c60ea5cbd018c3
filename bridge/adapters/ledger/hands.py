"""What people do to incidents, each in one transaction under the lock of the incident's series, as settle takes it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select, update

from bridge.adapters.ledger import letters, plan_b, renewals
from bridge.adapters.ledger.changes import Changes, Route
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.folded import carried_by
from bridge.adapters.ledger.rows import incident_from, is_by_hand, member_from
from bridge.adapters.ledger.schema import UNFINISHED, alerts, deliveries, incidents, members, series
from bridge.domain.decision import Outcome
from bridge.domain.delivery import Action, DeliveryState, Reason
from bridge.domain.hands import Again, AsLetter, detached, noted_by_hand, resent, resolved_by_hand
from bridge.domain.incident import CreateBody, Incident, IncidentState, Member, Refused
from bridge.domain.plan_b import silenced_by_hand
from bridge.domain.text import storable
from bridge.domain.transitions import on_resolved


class IncidentError(Exception):
    """What a person asked for is not done; the message says why and what to do."""


class NoSuchIncident(IncidentError):
    """There is no incident of that id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of the incident: its state now, and the lanes that got something to do."""

    incident: str
    state: str
    lanes: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """An incident whose series is locked, and everything it keeps open."""

    incident: Incident
    firing: tuple[Member, ...]
    folded: tuple[Incident, ...]  # live incidents it carries
    inside: tuple[Member, ...]  # the firing members of those


def resolve(transaction: Transaction, routes: Mapping[str, Route], new_id: Callable[[], str], incident_id: str) -> Done:
    """Its problems are over, a person says: what is upstream is resolved, what waits is never sent.

    What stands at plan B for it, or for one that it carries, ends with it in one transaction: nobody would come back.
    """
    standing = plan_b.standing_for(transaction, incident_id)
    changes = Changes(now=transaction.now, routes=routes, new_id=new_id)
    held = _held(transaction.connection, changes, incident_id, and_also=standing)
    if not set(standing).issuperset(plan_b.standing_for(transaction, incident_id)):
        raise IncidentError("another incident began to stand for it at plan B just now; look again")
    step = resolved_by_hand(held.incident, held.firing[0] if held.firing else _any_of(held))
    if isinstance(step, Refused):
        raise IncidentError(f"the incident is not resolved: {step.why}")
    if held.incident.stands_for is not None:
        stands_for = select(incidents).where(incidents.c.id == held.incident.stands_for)
        row = transaction.connection.execute(stands_for).mappings().one_or_none()
        step = step if row is None else silenced_by_hand(step, incident_from(row))
    _leave(changes, held)
    changes.apply(step)
    done = _written(transaction.connection, changes, incident_id, step.incident.state)
    for stands_in in standing:
        with suppress(IncidentError):  # its resolve is on its way already
            other = resolve(transaction, routes, new_id, stands_in)
            done = replace(done, lanes=done.lanes | other.lanes)
    return done


def detach(transaction: Transaction, routes: Mapping[str, Route], new_id: Callable[[], str], incident_id: str) -> Done:
    """The bridge lets go of it. A folded one leaves the incident that speaks for it and goes out by itself.

    Of an account that is not configured, what was tried and is not final ends as well: no worker goes on with it.
    """
    connection = transaction.connection
    changes = Changes(now=transaction.now, routes=routes, new_id=new_id)
    held = _held(connection, changes, incident_id)
    if held.incident.live and held.incident.state is IncidentState.FOLDED:
        return _unfold(connection, changes, held)
    forsaken = held.incident.account not in routes
    step = detached(held.incident, transaction.now, forsaken=forsaken)
    if isinstance(step, Refused):
        raise IncidentError(f"the incident is not detached: {step.why}")
    _leave(changes, held)
    changes.apply(step)
    done = _written(connection, changes, incident_id, step.incident.state)
    if forsaken:
        _give_up(transaction, incident_id)
    return done


def resend(transaction: Transaction, routes: Mapping[str, Route], new_id: Callable[[], str], incident_id: str) -> Done:
    """Whoever it pages is paged anew, through the lane; answers the incident that is sent."""
    connection, now = transaction.connection, transaction.now
    changes = Changes(now=now, routes=routes, new_id=new_id)
    held = _held(connection, changes, incident_id)
    step = resent(held.incident)
    match step:
        case Refused(why=why):
            raise IncidentError(f"the incident is not sent again: {why}")
        case AsLetter():
            try:
                lane = letters.replay(transaction, routes, new_id, _letter_of(connection, incident_id))
            except letters.LetterError as error:
                raise IncidentError(f"the incident is not sent again: {error}") from error
            state = connection.execute(select(incidents.c.state).where(incidents.c.id == incident_id)).scalar_one()
            return Done(incident=incident_id, state=state, lanes=frozenset({lane}))
        case Again(ends=ends):
            known = renewals.with_renewal(connection, held.incident)
            if known.renewal is None:
                raise IncidentError("the incident is not sent again: what it was opened with is not kept any more")
            if _is_being_noted(connection, incident_id):  # nobody knows yet whether the new one has to say it
                raise IncidentError(
                    "the incident is not sent again: a note is being told in it; try again in a few seconds"
                )
            fresh = new_id()
            changes.apply(ends)
            # a person's "now" is meant for what ends, not for what follows
            over = replace(ends.incident, policy=held.incident.policy)
            renewals.renew(connection, changes, over, known.renewal, new_id=lambda: fresh, now=now)
            return _written(connection, changes, fresh, IncidentState.PENDING)


def note(
    transaction: Transaction, routes: Mapping[str, Route], new_id: Callable[[], str], incident_id: str, text: str
) -> Done:
    """A person's words wait to be said in the upstream's incident."""
    if not text.strip():
        raise IncidentError("a note needs a text")
    connection = transaction.connection
    changes = Changes(now=transaction.now, routes=routes, new_id=new_id)
    held = _held(connection, changes, incident_id)
    waiting = select(deliveries.c.id).where(
        deliveries.c.incident_id == incident_id,
        deliveries.c.action == Action.NOTE.value,
        deliveries.c.state.in_(UNFINISHED),
    )
    waits = connection.execute(waiting.limit(1)).first() is not None
    fields = noted_by_hand(held.incident, storable(text.strip()), waits=waits)
    if isinstance(fields, Refused):
        raise IncidentError(f"the note is not sent: {fields.why}")
    changes.add_delivery(held.incident, Action.NOTE, CreateBody(fields=fields, names=(), notes=(), by_hand=True))
    return _written(connection, changes, incident_id, held.incident.state)


def _held(connection: Connection, changes: Changes, incident_id: str, *, and_also: Sequence[str] = ()) -> _Held:
    """The incident with its members, its series locked; of a folded one its carrier's as well, in sorted order.

    So are the series of other incidents, `and_also`, that the caller goes on to.
    """
    found = select(incidents).where(incidents.c.id == incident_id)
    row = connection.execute(found).mappings().one_or_none()
    if row is None:
        raise NoSuchIncident(f"there is no incident {incident_id[:80]}; see 'incident-bridge incidents'")
    of_others = select(incidents.c.series).where(incidents.c.id.in_([row["carrier"], *and_also]))
    wanted = [row["series"], *connection.execute(of_others).scalars()]
    lock = select(series.c.id, series.c.next_no).where(series.c.id.in_(wanted)).order_by(series.c.id)
    changes.next_no.update({one.id: one.next_no for one in connection.execute(lock.with_for_update())})
    incident = incident_from(connection.execute(found).mappings().one())
    if incident.carrier != row["carrier"]:  # between the look and the lock, which so holds the wrong carrier
        raise IncidentError("another incident began or ceased to speak for it just now; look again")
    folded = tuple(carried_by(connection, incident_id))
    own = _firing(connection, [incident_id])
    inside = _firing(connection, [one.id for one in folded])
    return _Held(incident=incident, firing=own, folded=folded, inside=inside)


def _firing(connection: Connection, ids: list[str]) -> tuple[Member, ...]:
    found = select(members).where(members.c.incident_id.in_(ids), members.c.firing)
    return tuple(member_from(row) for row in connection.execute(found).mappings()) if ids else ()


def _any_of(held: _Held) -> Member | None:
    return held.inside[0] if held.inside else None


def _leave(changes: Changes, held: _Held) -> None:
    """Every problem that kept it open is over, those of incidents folded into it as well."""
    for member in (*held.firing, *held.inside):
        changes.put_member(replace(member, firing=False, left_at=changes.now), is_new=False)
    for one in held.folded:
        changes.put(replace(one, firing=0, renewal=None))


def _unfold(connection: Connection, changes: Changes, held: _Held) -> Done:
    """A folded incident pages by itself, with what it would have opened with alone; its carrier goes on without it."""
    folded = held.incident
    if folded.firing == 0:
        raise IncidentError("the incident is not detached: its problems are over, and it ends with its carrier")
    row = connection.execute(select(incidents).where(incidents.c.id == folded.carrier)).mappings().one()
    carrier = incident_from(row)
    body = renewals.with_renewal(connection, folded).renewal
    if body is None:
        raise IncidentError("the incident is not detached: what it would open with is not kept any more")
    alone = replace(folded, state=IncidentState.PENDING, carrier=None, renewal=None, reason=None)
    # at once: what follows a carrier that ends by this is found by its rows
    of_it = update(incidents).where(incidents.c.id == folded.id)
    connection.execute(of_it.values(carrier=None, state=alone.state.value))
    connection.execute(
        update(alerts)
        .where(alerts.c.incident_id == folded.id, alerts.c.outcome == Outcome.FOLDED.value)
        .values(outcome=Outcome.OPENED.value)
    )
    left = replace(carrier, folded=carrier.folded - 1, firing=carrier.firing - folded.firing + 1)
    step = on_resolved(left, held.firing[0])
    if step is not None:
        changes.apply(step)
    changes.put(alone)
    # never to be folded again: a person wants to see it by itself
    changes.add_delivery(alone, Action.CREATE, replace(body, fold_key="", fold_target=""))
    return _written(connection, changes, folded.id, alone.state)


def _give_up(transaction: Transaction, incident_id: str) -> None:
    """Nothing of an incident waits any more. Raises IncidentError while a worker of before still holds a part of it."""
    held = select(deliveries.c.id).where(
        deliveries.c.incident_id == incident_id,
        deliveries.c.state == DeliveryState.SENDING.value,
        deliveries.c.lease_until > transaction.now,
    )
    if transaction.connection.execute(held.limit(1)).first() is not None:
        raise IncidentError("the incident is not detached: a worker still tells it; try again in half a minute")
    transaction.connection.execute(
        update(deliveries)
        .where(deliveries.c.incident_id == incident_id, deliveries.c.state.in_(UNFINISHED))
        .values(
            state=DeliveryState.CANCELLED.value,
            reason=Reason.DETACHED.value,
            done_at=transaction.now,
            lease_token=None,
            lease_until=None,
        )
    )


def _is_being_noted(connection: Connection, incident_id: str) -> bool:
    found = select(deliveries.c.fields).where(
        deliveries.c.incident_id == incident_id,
        deliveries.c.action == Action.NOTE.value,
        deliveries.c.state == DeliveryState.SENDING.value,
    )
    return any(is_by_hand(row) for row in connection.execute(found).mappings().all())


def _letter_of(connection: Connection, incident_id: str) -> str:
    found = (
        select(deliveries.c.id)
        .where(deliveries.c.incident_id == incident_id, deliveries.c.state == DeliveryState.DEAD.value)
        .order_by(deliveries.c.no.desc())
        .limit(1)
    )
    letter = connection.execute(found).scalar()
    if letter is None:
        raise IncidentError("the incident is not sent again: its dead letter is not kept any more")
    return str(letter)


def _written(connection: Connection, changes: Changes, incident: str, state: str) -> Done:
    changes.flush(connection)
    return Done(incident=incident, state=IncidentState(state).value, lanes=frozenset(changes.lanes))
