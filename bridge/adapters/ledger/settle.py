"""Settling: what decided webhooks do to problems, series, incidents, members and deliveries, in one transaction.

Everything decided here is read inside the transaction. Locks are taken in one order (problems sorted, then series
sorted), so that two processes never wait in a circle; a lane row is never touched.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from bridge.adapters.ledger import sightings
from bridge.adapters.ledger.changes import TRUST, Changes, Route
from bridge.adapters.ledger.compiled import InsertStatement, SizedStatement, listed, padded
from bridge.adapters.ledger.engine import Transaction
from bridge.adapters.ledger.receipts import AlertReceipt, Receipt, decision_document
from bridge.adapters.ledger.renewals import with_renewal
from bridge.adapters.ledger.rows import body_of, dumps
from bridge.adapters.ledger.schema import alerts, events
from bridge.adapters.ledger.telling import linked, rise_of
from bridge.adapters.ledger.world import World, firing_in, load, put_problems
from bridge.domain import keys
from bridge.domain.alert import Alert, Notice, Sighted, Status
from bridge.domain.decision import Decided, Decision, Mode, Outcome
from bridge.domain.folding import carrier_fires
from bridge.domain.incident import CreateBody, Incident, IncidentState, Member, NewEpisode, Transition
from bridge.domain.reports import last_report, why_ignored
from bridge.domain.telling import Telling, flapping_is_due, flapping_text
from bridge.domain.text import storable
from bridge.domain.transitions import moved, on_acknowledged, on_firing, on_resolved
from bridge.domain.truth import Trust, is_asked_after, is_doubtful, is_quiet, on_reported

PART_SHOWN_CHARS = 200  # of a text in the record of what a key was made from


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What became of one webhook."""

    event_id: str
    alerts: int
    duplicate: bool = False


_KNOWN_DELIVERIES = SizedStatement(
    lambda keys: select(events.c.delivery_key, events.c.id, events.c.alerts).where(
        events.c.delivery_key.in_(listed("keys", keys))
    )
)
_INSERT_EVENTS = InsertStatement(events)
_INSERT_ALERTS = InsertStatement(alerts)


def settle(
    transaction: Transaction, batch: Sequence[Receipt], routes: Mapping[str, Route], new_id: Callable[[], str]
) -> tuple[list[Settled], frozenset[str]]:
    """Write a batch of webhooks and everything that follows from them; answers per webhook, and lanes with work.

    A webhook whose delivery id is known, from before or from earlier in the batch, changes nothing.
    """
    connection, now = transaction.connection, transaction.now
    results, fresh = _without_repeats(connection, batch)
    world = load(connection, Changes(now=now, routes=routes, new_id=new_id), fresh)
    rows = [_settle_alert(connection, world, one, item) for one in fresh for item in one.alerts]
    put_problems(connection, world)
    _INSERT_EVENTS.run(connection, (one.event for one in fresh))
    _INSERT_ALERTS.run(connection, rows)
    world.changes.flush(connection)
    return results, frozenset(world.changes.lanes)


def _without_repeats(connection: Connection, batch: Sequence[Receipt]) -> tuple[list[Settled], list[Receipt]]:
    wanted = [one.event["delivery_key"] for one in batch if one.event["delivery_key"] is not None]
    known: dict[str, Settled] = {}
    if wanted:
        for row in _KNOWN_DELIVERIES.rows(connection, keys=padded(wanted)):
            known[row["delivery_key"]] = Settled(event_id=row["id"], alerts=row["alerts"], duplicate=True)
    results: list[Settled] = []
    fresh: list[Receipt] = []
    for one in batch:
        key = one.event["delivery_key"]
        if key in known:
            results.append(known[key])
            continue
        settled = Settled(event_id=one.event["id"], alerts=len(one.alerts))
        results.append(settled)
        fresh.append(one)
        if key is not None:
            known[key] = Settled(event_id=settled.event_id, alerts=settled.alerts, duplicate=True)
    return results, fresh


def _settle_alert(connection: Connection, world: World, one: Receipt, item: AlertReceipt) -> dict[str, Any]:
    """Apply one reading; answer its row with the decisions filled in."""
    reading = item.decided.reading
    late = _late(world, item)
    if isinstance(reading, Sighted):
        decisions = [_sees(connection, world, reading)]
    elif isinstance(reading, Notice):
        decisions = [decision_document(Outcome.IGNORED, reason=reading.reason)]
    elif late is not None:
        decisions = [decision_document(Outcome.IGNORED, rule=next(iter(item.decided.matched), None), reason=late)]
    elif reading.status is Status.FIRING:
        decisions = [_fires(world, one, item, reading, decision) for decision in item.decided.decisions]
    else:
        decisions = _ends(world, item, reading)
    if not decisions:
        decisions = [_without_rule(item.decided)]
    first = decisions[0]
    return {
        **item.row,
        "outcome": first["outcome"],
        "rule": first["rule"],
        "incident_id": first["incident"],
        "decisions": dumps(decisions),
    }


def _sees(connection: Connection, world: World, sighted: Sighted) -> dict[str, Any]:
    """An event of an upstream about an incident there."""
    step = sightings.apply(connection, world.changes, world.sighted, sighted)
    if step is None:
        why = f"{sighted.reason}; account '{sighted.account}' has no incident of ours with this id"
        return decision_document(Outcome.IGNORED, account=sighted.account, reason=why)
    incident = step.incident
    if incident.live:
        world.live[incident.series] = incident
    elif incident.series in world.live and world.live[incident.series].id == incident.id:
        del world.live[incident.series]
    about = {"rule": incident.rule, "account": incident.account, "series": incident.series, "incident": incident.id}
    return decision_document(step.outcome, **about, reason=f"{sighted.reason}: {step.reason}")


def _late(world: World, item: AlertReceipt) -> str | None:
    """Why a report changes nothing; None, and it is from now on the problem's last one, when it counts."""
    reading, problem = item.decided.reading, item.problem
    if isinstance(reading, Notice) or problem is None:
        return None
    if reading.episode is not None and storable(reading.episode) != reading.episode:
        reading = replace(reading, episode=storable(reading.episode))  # what is stored is compared with
    late = why_ignored(reading, world.last.get(problem), world.changes.now)
    if late is None:
        world.last[problem] = last_report(reading, world.changes.now)
        world.applied[problem] = reading
    return late


def _without_rule(decided: Decided) -> dict[str, Any]:
    if not decided.matched:
        return decision_document(Outcome.UNMATCHED, reason="no rule matches")
    status = decided.reading.status if isinstance(decided.reading, Alert) else ""
    return decision_document(
        Outcome.IGNORED, rule=decided.matched[0], reason=f"{status}, but nothing is open for this problem"
    )


def _fires(world: World, one: Receipt, item: AlertReceipt, alert: Alert, decision: Decision) -> dict[str, Any]:
    about: dict[str, Any] = {"rule": decision.rule, "account": decision.account, "series": decision.series}
    about["parts"] = [part if not isinstance(part, str) else part[:PART_SHOWN_CHARS] for part in decision.parts]
    if decision.mode is Mode.SHADOW:
        return decision_document(Outcome.SHADOW, **about, reason="the rule is in shadow mode: nothing is sent")
    silence = world.hiding(decision)
    if silence is not None:
        return {**decision_document(Outcome.SILENCED, **about, reason=silence.sentence), "silence": silence.id}
    body = body_of(decision, _episode_id(alert, one))
    incident, ended = world.standing(decision.series), world.ended.get(decision.series)
    last = incident or ended
    member = None if last is None or item.problem is None else world.members.get((last.id, item.problem))
    route = world.changes.routes.get(decision.account)
    rise = rise_of(world.connection, incident, decision, () if route is None else route.rises)
    is_late = incident is not None and incident.state is IncidentState.RESOLVING and incident.resolve_claimed
    step = on_firing(
        incident,
        member,
        decision.severity,
        _words(world, incident, item.problem, decision, body) if incident is not None and is_late else body,
        world.changes.now,
        ended=ended,
        reopens=route is not None and route.reopens is not None,
        rise=bool(rise.fields),
    )
    if isinstance(step, Transition):
        if last is not None and last.firing == 0:  # a person may have said other than the rule how it was to end
            step = replace(step, incident=replace(step.incident, policy=decision.policy))
        step = _reported(world, step, item.problem, decision, body)
        changed = step.incident
        if changed.carrier is not None:
            changed = _carrier_follows(world, step, member, decision, body)
        world.changes.apply(replace(step, incident=changed), body, decision.severity, rise)
        outcome, reason = step.outcome, step.reason
    else:
        changed = _begin(world, one, alert, decision, body, step, item.problem)
        member, outcome, reason = None, Outcome.OPENED, None
    world.live[decision.series] = changed
    world.ended.pop(decision.series, None)
    if outcome is not Outcome.DUPLICATE and item.problem is not None:
        _join(world, changed, member, item.problem, alert, decision)
    return decision_document(outcome, **about, incident=changed.id, reason=reason)


def _begin(
    world: World,
    one: Receipt,
    alert: Alert,
    decision: Decision,
    body: CreateBody,
    step: NewEpisode,
    problem: str | None,
) -> Incident:
    """Open the next incident of a series; what came before it is named in its body."""
    if step.supersedes is not None:
        world.changes.put(step.supersedes)
        body = _words(world, step.supersedes, problem, decision, body, loaded=True)  # before its problems move on
    fresh = _open(world, one, alert, decision, step.telling)
    if step.supersedes is not None:
        fresh = _take_over(world, step.supersedes, fresh, problem)
    if step.follows is not None:
        body = linked(body, step.follows)
    if flapping_is_due(step.telling):
        body = replace(body, notes=(*body.notes, f"it {flapping_text(step.telling, world.changes.now)}"))
        fresh = replace(fresh, telling=replace(step.telling, flaps_told=step.telling.flaps))
    world.changes.open(fresh, body)
    return fresh


def _reported(world: World, step: Transition, problem: str | None, decision: Decision, body: CreateBody) -> Transition:
    """A report that joins, with the look at the upstream that it may ask for."""
    trust = _trust(world, decision)
    if not _asks(step, world.changes.now, trust):
        return step
    return on_reported(step, _words(world, step.incident, problem, decision, body), world.changes.now, trust)


def _asks(step: Transition, now: datetime, trust: Trust) -> bool:
    """Whether domain.truth has a say in a report; asked first, for what it is told costs a query."""
    incident = step.incident
    if is_quiet(incident) or is_doubtful(incident, now, trust.confirm_open):
        return True
    return is_asked_after(incident) and step.outcome is not Outcome.DUPLICATE


def _trust(world: World, decision: Decision) -> Trust:
    route = world.changes.routes.get(decision.account)
    return TRUST if route is None else route.trust


def _words(
    world: World,
    incident: Incident,
    problem: str | None,
    decision: Decision,
    body: CreateBody,
    *,
    loaded: bool = False,
) -> CreateBody:
    """What a new episode would open with: the report's words, unless a problem that fires still is more severe.

    Of a dead incident all that fires is `loaded` already.
    """
    read = () if loaded else firing_in(world.connection, [incident.id])
    known = {member.problem: member for member in read}
    known |= {member.problem: member for member in world.members.values() if member.incident == incident.id}
    others = [member for member in known.values() if member.firing and member.problem != problem]
    if any(member.severity.rank < decision.severity.rank for member in others):
        return with_renewal(world.connection, incident).renewal or body
    return body


def _carrier_follows(
    world: World, step: Transition, member: Member | None, decision: Decision, body: CreateBody
) -> Incident:
    """What a report of a problem in a folded incident does to its carrier; the folded one, as it is after that."""
    folded = step.incident
    carrier = world.carrier_of(folded)
    if carrier is None:
        return folded
    now, route = world.changes.now, world.changes.routes.get(decision.account)
    rise = rise_of(world.connection, carrier, decision, () if route is None else route.rises)
    then: Transition | None = Transition(incident=carrier, outcome=Outcome.DUPLICATE)
    if step.outcome is not Outcome.DUPLICATE:
        folded, then = carrier_fires(folded, carrier, member, decision.severity, body, now, rise=bool(rise.fields))
    if then is None:
        return folded
    if _asks(then, now, _trust(world, decision)):
        own = with_renewal(world.connection, carrier).renewal or body
        then = on_reported(then, own, now, _trust(world, decision))
    if then.add or then.incident != carrier:
        world.changes.apply(then, severity=decision.severity, rise=rise)
        world.live[carrier.series] = then.incident
    return folded


def _open(world: World, one: Receipt, alert: Alert, decision: Decision, telling: Telling) -> Incident:
    episode_id = _episode_id(alert, one)
    n = world.next_n.get((decision.series, episode_id), 0)
    episode = keys.episode(episode_id, one.event["id"], n)
    return Incident(
        id=world.changes.new_id(),
        account=decision.account,
        series=decision.series,
        scope=storable(decision.scope),
        rule=decision.rule,
        key=keys.upstream_key(decision.key_rule, decision.series, decision.key_text, episode),
        key_rule=decision.key_rule,
        key_text=None if decision.key_text is None else storable(decision.key_text),
        episode_id=episode_id,
        episode_n=n,
        state=IncidentState.PENDING,
        severity=decision.severity,
        title=decision.title,
        policy=decision.policy,
        firing=1,
        opened_at=world.changes.now,
        telling=telling,
    )


def _take_over(world: World, dead: Incident, fresh: Incident, problem: str | None) -> Incident:
    """Move the members that fire on from a dead incident to the one in its place; `problem` joins that by itself."""
    firing = [member for member in world.members.values() if member.incident == dead.id and member.firing]
    for member in firing:
        left, joins = moved(member, fresh.id, world.changes.now)
        world.members[(dead.id, member.problem)] = left
        world.changes.put_member(left, is_new=False)
        if member.problem != problem:
            world.members[(fresh.id, member.problem)] = joins
            world.changes.put_member(joins, is_new=True)
            severity = min(fresh.severity, member.severity, key=lambda one: one.rank)
            fresh = replace(fresh, firing=fresh.firing + 1, severity=severity)
    return fresh


def _join(
    world: World, incident: Incident, member: Member | None, problem: str, alert: Alert, decision: Decision
) -> None:
    joined = Member(
        incident=incident.id,
        problem=problem,
        source=alert.source,
        fingerprint=storable(alert.fingerprint),
        firing=True,
        severity=decision.severity,
        title=storable(alert.title),
        joined_at=_joins_at(incident, world.changes.now) if member is None else member.joined_at,
    )
    world.members[(incident.id, problem)] = joined
    world.changes.put_member(joined, is_new=member is None)
    fires_in = world.of_problem.setdefault(problem, [])
    if incident.series not in fires_in:
        fires_in.append(incident.series)


def _joins_at(incident: Incident, now: datetime) -> datetime:
    """Behind what its notes have told. This transaction's time may be older: it began before the one that told them and
    waited for it (PostgreSQL), or a clock was set back.
    """
    told_until = incident.telling.noted_at or incident.opened_at
    return now if now >= told_until else told_until + timedelta(microseconds=1)


def _ends(world: World, item: AlertReceipt, alert: Alert) -> list[dict[str, Any]]:
    """A resolved or acknowledged report follows the members, whatever the rules say today."""
    decisions: list[dict[str, Any]] = []
    problem = item.problem or ""
    for series_id in tuple(world.of_problem.get(problem, ())):
        incident = world.standing(series_id)
        member = None if incident is None else world.members.get((incident.id, problem))
        ends = alert.status is Status.RESOLVED
        step = on_resolved(incident, member) if ends else on_acknowledged(incident, member)
        if step is None or incident is None or member is None:
            continue
        world.changes.apply(step)
        world.live[series_id] = step.incident
        if ends and incident.carrier is not None:
            _carrier_loses(world, incident, member)
        if not step.incident.live:
            world.ended[series_id] = world.live.pop(series_id)
        if ends:
            _leave(world, series_id, member)
        about = {"rule": incident.rule, "account": incident.account, "series": series_id, "incident": incident.id}
        decisions.append(decision_document(step.outcome, **about, reason=step.reason))
    return decisions


def _carrier_loses(world: World, folded: Incident, member: Member) -> None:
    """A problem of a folded incident is over: its carrier has one less to stay open for."""
    carrier = world.carrier_of(folded)
    step = None if carrier is None else on_resolved(carrier, member)
    if carrier is None or step is None:
        return
    world.changes.apply(step)
    world.live[carrier.series] = step.incident
    if not step.incident.live:
        del world.live[carrier.series]


def _leave(world: World, series_id: str, member: Member) -> None:
    left = Member(
        incident=member.incident,
        problem=member.problem,
        source=member.source,
        fingerprint=member.fingerprint,
        firing=False,
        severity=member.severity,
        title=member.title,
        joined_at=member.joined_at,
        left_at=world.changes.now,
    )
    world.members[(member.incident, member.problem)] = left
    world.changes.put_member(left, is_new=False)
    world.of_problem[member.problem].remove(series_id)


def _episode_id(reading: Alert | Notice, one: Receipt) -> str:
    """The sender's own episode id, else the id of the event: what `n` is counted by."""
    own = reading.episode if isinstance(reading, Alert) else None
    return str(one.event["id"]) if own is None else storable(own)
