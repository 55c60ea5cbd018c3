"""What a report does to the problems, incidents and members of its batch: one that fires, one that ends, and what
either means for the carrier of a folded incident.

What is known is asked of the World, and kept up to date there; only what is rare is read here.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from bridge.adapters.ledger.changes import route_of
from bridge.adapters.ledger.receipts import AlertReceipt, Receipt, decision_document
from bridge.adapters.ledger.renewals import with_renewal
from bridge.adapters.ledger.rows import body_of
from bridge.adapters.ledger.telling import linked, rise_of
from bridge.adapters.ledger.world import World, firing_in
from bridge.domain import keys
from bridge.domain.alert import Alert, Reading, Status
from bridge.domain.decision import Decision, Mode, Outcome
from bridge.domain.folding import carrier_fires
from bridge.domain.incident import CreateBody, Incident, IncidentState, Member, NewEpisode, Transition
from bridge.domain.reports import last_report, why_ignored
from bridge.domain.telling import Telling, flapping_is_due, flapping_text
from bridge.domain.text import storable
from bridge.domain.transitions import moved, on_acknowledged, on_firing, on_resolved
from bridge.domain.truth import Trust, is_asked_after, is_doubtful, is_quiet, on_reported

PART_SHOWN_CHARS = 200  # of a text in the record of what a key was made from


def why_late(world: World, item: AlertReceipt) -> str | None:
    """Why a report changes nothing; None when it counts."""
    reading = _as_stored(item.decided.reading)
    if not isinstance(reading, Alert) or item.problem is None:
        return None
    return why_ignored(reading, world.last.get(item.problem), world.changes.now)


def applied(world: World, item: AlertReceipt) -> None:
    """A report counted: it is from now on the problem's last one."""
    reading = _as_stored(item.decided.reading)
    if isinstance(reading, Alert) and item.problem is not None:
        world.last[item.problem] = last_report(reading, world.changes.now)
        world.applied[item.problem] = reading


def _as_stored(reading: Reading) -> Reading:
    """A report with its episode as the ledger keeps it, for that is what it is compared with."""
    if not isinstance(reading, Alert) or reading.episode is None or storable(reading.episode) == reading.episode:
        return reading
    return replace(reading, episode=storable(reading.episode))


def fires(world: World, one: Receipt, item: AlertReceipt, alert: Alert, decision: Decision) -> dict[str, Any]:
    """A firing report opens or joins the incident of one decision, or says why not."""
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
    route = route_of(world.changes.routes, decision.account)
    rise = rise_of(world.connection, incident, decision, route.rises)
    is_late = incident is not None and incident.state is IncidentState.RESOLVING and incident.resolve_claimed
    step = on_firing(
        incident,
        member,
        decision.severity,
        _words(world, incident, item.problem, decision, body) if incident is not None and is_late else body,
        world.changes.now,
        ended=ended,
        reopens=route.reopens is not None,
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
    return route_of(world.changes.routes, decision.account).trust


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
    now = world.changes.now
    rise = rise_of(world.connection, carrier, decision, route_of(world.changes.routes, decision.account).rises)
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


def ends(world: World, item: AlertReceipt, alert: Alert) -> list[dict[str, Any]]:
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


def _episode_id(reading: Reading, one: Receipt) -> str:
    """The sender's own episode id, else the id of the event: what `n` is counted by."""
    own = reading.episode if isinstance(reading, Alert) else None
    return str(one.event["id"]) if own is None else storable(own)
