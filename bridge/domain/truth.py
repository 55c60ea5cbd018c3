"""Our `open` is a belief: what a look at the upstream's incident changes (DESIGN section 5).

In: an incident as we believe it to be, and what the upstream shows of it. Out: a Transition. A look is a `check` that
was answered, or an event that the upstream sent; who looks, and when, is decided here as well.

    ours               there open                      there closed, or gone
    -----------------  ------------------------------  ---------------------------------------------------------
    open               confirmed                       resolved; its problems open a new episode, now or when the
                                                       window of respect_human_close ends
    resolving          confirmed, unless our own       resolved, unless our own resolve is on its way
                       resolve is on its way
    resolved, quiet    open again: somebody reopened   nothing
    resolved           told once more, when nobody     nothing
                       has changed it since; else it
                       is left to people
    all others         nothing                         nothing

"Quiet" is an incident that a person closed while its problems fire: resolved, but live until the window ends, so that
what fires meanwhile joins it instead of paging.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bridge.domain.alert import Seen, Sighted
from bridge.domain.decision import OnResolve, Outcome
from bridge.domain.delivery import Action, Reason, Reference
from bridge.domain.incident import CreateBody, Incident, IncidentState, Transition

TOLD_MAX = 2  # times that one incident is resolved
LOOK_EVERY = timedelta(hours=6)  # at an open incident that nobody reports on
LOOK_BACK_FOR = timedelta(hours=24)  # at an incident that was resolved: once,
LOOK_BACK_AFTER = timedelta(minutes=10)  # and not before this
ROUND = timedelta(seconds=60)  # the sweep's, per account
SHARE = 0.05  # of the account's update_rate that it takes at most
LEFT_TO_PEOPLE = Reason.REOPENED_UPSTREAM
CLOCKS_DIFFER_BY = timedelta(minutes=5)
_TOLD_TO_NOBODY = (  # what still waits for an incident that is over
    Action.RESOLVE, Action.ACKNOWLEDGE, Action.REOPEN, Action.UPDATE, Action.NOTE, Action.CHECK,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How far an account's incidents are believed: settings."""

    confirm_open: timedelta = timedelta(hours=1)
    respect_human_close: timedelta = timedelta(hours=1)


def is_quiet(incident: Incident) -> bool:
    """Whether a person closed it while its problems fire, and nobody is paged again yet."""
    return incident.live and incident.state is IncidentState.RESOLVED


def is_doubtful(incident: Incident, now: datetime, older_than: timedelta) -> bool:
    """Whether nobody has seen for that long that an open incident is open. One look at a time."""
    if incident.state is not IncidentState.OPEN or incident.upstream_id is None or incident.renewal is not None:
        return False
    seen_at = incident.confirmed_at
    return seen_at is None or not now - older_than < seen_at <= now + ROUND  # one that is yet to come is a clock's jump


def is_asked_after(incident: Incident) -> bool:
    """Whether an open incident is being looked at, and keeps what a new episode would open with until then."""
    return incident.state is IncidentState.OPEN and incident.renewal is not None


def looks_per_round(update_interval: timedelta) -> int:
    """How many looks the sweep adds to an account's lane in one round."""
    return max(1, int(SHARE * (ROUND / update_interval)))


def may_look(incident: Incident) -> bool:
    """Whether a `check` of it would tell us something. A resolve of ours that is under way answers for itself."""
    match incident.state:
        case IncidentState.OPEN | IncidentState.RESOLVED:
            return incident.upstream_id is not None
        case IncidentState.RESOLVING:
            return incident.upstream_id is not None and not incident.resolve_claimed
    return False


def on_reported(step: Transition, body: CreateBody, now: datetime, trust: Trust) -> Transition:
    """What a firing report that joins adds: a look at an incident that nobody has seen open lately.

    `body` is what a new episode would open with from then on; it is kept for the one that may follow.
    """
    if is_quiet(step.incident):
        at = f"{_time(step.incident.renews_at)} (respect_human_close)"
        why = f"somebody closed it upstream; if it still fires, a new one follows at {at}, or once it is sent again"
        incident = step.incident if step.outcome is Outcome.DUPLICATE else replace(step.incident, renewal=body)
        return replace(step, incident=incident, reason=why)
    if is_asked_after(step.incident) and step.outcome is not Outcome.DUPLICATE:
        return replace(step, incident=replace(step.incident, renewal=body))
    if not is_doubtful(step.incident, now, trust.confirm_open):
        return step
    why = "the upstream is asked whether it is still open"
    return replace(
        step,
        incident=replace(step.incident, renewal=body),
        add=(*step.add, Action.CHECK),
        reason=why if step.reason is None else f"{step.reason}; {why}",
    )


def on_looked(incident: Incident, there: Reference, now: datetime, trust: Trust, *, told: int = 0) -> Transition:
    """What a look changes. `told`: how often it was resolved before, where it is resolved here.

    An incident whose problems still fire needs its `renewal` for this: what a new episode opens with.
    """
    match incident.state:
        case IncidentState.OPEN if there.closed:
            return _closed(incident, there, now, trust)
        case IncidentState.OPEN:
            return Transition(incident=replace(incident, confirmed_at=now, renewal=None))
        case IncidentState.RESOLVING if there.closed and not incident.resolve_claimed:
            return _closed(incident, there, now, trust)
        case IncidentState.RESOLVING if not there.closed and not incident.resolve_claimed:
            return Transition(incident=replace(incident, confirmed_at=now, renewal=None))
        case IncidentState.RESOLVED if not there.closed and incident.live:
            back = replace(
                incident, state=IncidentState.OPEN, confirmed_at=now, renews_at=None, resolved_at=None, reason=None
            )
            return Transition(incident=replace(back, renewal=None), revive=(Action.NOTE,))
        case IncidentState.RESOLVED if not there.closed:
            return _open_after_all(incident, there, told)
    return Transition(incident=incident)


def on_sighted(
    incident: Incident, sighted: Sighted, now: datetime, trust: Trust, body: CreateBody | None = None
) -> Transition:
    """What an event of the upstream changes; its outcome is IGNORED when we know it already, say by our own call.

    `body` is what a new episode would open with, should this one be over while it fires.

    Events come late and in any order: one that is older than what we know says nothing, and where the two clocks leave
    it open which came first, the upstream is asked. A new episode is left to the clock.
    """
    at, known_at = sighted.occurred_at, incident.resolved_at if _is_over(incident) else incident.confirmed_at
    if at is not None and known_at is not None and at < known_at - CLOCKS_DIFFER_BY:
        return _ignored(incident, f"older than what is known since {_time(known_at)}")
    unsure = sighted.seen is Seen.CHANGED or (at is not None and known_at is not None and at < known_at)
    if unsure and incident.state is IncidentState.OPEN and sighted.seen is not Seen.OPEN:
        return _asked(incident, body)
    if sighted.seen is Seen.CHANGED or (unsure and _is_over(incident)):
        return _ignored(incident, "as it is known here")
    there = Reference(id=sighted.upstream_id, closed=sighted.seen is Seen.CLOSED, changed_at=at)
    ready = incident if incident.renewal is not None else replace(incident, renewal=body)
    step = on_looked(ready, there, now, trust, told=TOLD_MAX)
    if step.renews:
        step = replace(step, incident=replace(step.incident, live=True, renews_at=now), renews=False)
    if step.incident in (ready, incident):
        return _ignored(incident, "as it is known here")
    return replace(step, outcome=Outcome.SIGHTED, reason=_said(step.incident, was=incident))


def is_over_quietly(incident: Incident, now: datetime, trust: Trust) -> bool:
    """Whether the window of a quiet incident has ended; one further ahead than the setting is a clock's mistake."""
    if not is_quiet(incident) or incident.renews_at is None:
        return False
    return not now < incident.renews_at <= now + trust.respect_human_close


def _closed(incident: Incident, there: Reference, now: datetime, trust: Trust) -> Transition:
    """It is closed there. Whoever closed it is left in peace for a while, but not for ever.

    An upstream that does not say when it was closed, or that it is gone, counts as closed now. An instant before it
    was opened is none: what ended that long ago is pruned with what is known of it. An incident that stands for one of
    another account has had its reader.
    """
    closed_at = min(max(there.changed_at or now, incident.opened_at), now)
    over = replace(incident, state=IncidentState.RESOLVED, resolved_at=closed_at, reason=Reason.CLOSED_UPSTREAM)
    until = closed_at + trust.respect_human_close
    if incident.firing == 0 or incident.stands_for is not None or incident.renewal is None:
        return Transition(incident=replace(over, live=False, renewal=None), cancel=_TOLD_TO_NOBODY)
    if until <= now:
        return Transition(incident=replace(over, live=False), cancel=_TOLD_TO_NOBODY, renews=True)
    return Transition(incident=replace(over, renews_at=until), cancel=_TOLD_TO_NOBODY)


def _open_after_all(incident: Incident, there: Reference, told: int) -> Transition:
    """Resolved here, open there: our resolve changed nothing, or a person opened it again and is not argued with."""
    if incident.reason is not None or incident.resolved_at is None:
        return Transition(incident=incident)
    untouched = there.changed_at is not None and there.changed_at < incident.resolved_at - CLOCKS_DIFFER_BY
    if untouched and told < TOLD_MAX and incident.policy.on_resolve is OnResolve.RESOLVE:
        return Transition(incident=incident, add=(Action.RESOLVE,))
    return Transition(incident=replace(incident, reason=LEFT_TO_PEOPLE))


def _is_over(incident: Incident) -> bool:
    return incident.state is IncidentState.RESOLVED


def _ignored(incident: Incident, why: str) -> Transition:
    return Transition(incident=incident, outcome=Outcome.IGNORED, reason=why)


def _asked(incident: Incident, body: CreateBody | None) -> Transition:
    if incident.renewal is not None:
        return _ignored(incident, "the upstream is asked already whether it is open")
    why = "the upstream is asked whether it is open"
    asked = replace(incident, renewal=body)
    return Transition(incident=asked, outcome=Outcome.SIGHTED, reason=why, add=(Action.CHECK,))


def _said(incident: Incident, *, was: Incident) -> str:
    """What an event changed, for people."""
    if incident.reason == LEFT_TO_PEOPLE:
        return "somebody opened it again after it was resolved; it is left to people"
    if incident.state is IncidentState.OPEN:
        return "somebody opened it again" if was.state is not IncidentState.OPEN else "seen open"
    if incident.renews_at is not None:
        return f"closed there; if it still fires, a new one follows at {_time(incident.renews_at)}"
    return "closed there; it is over here as well"


def _time(instant: datetime | None) -> str:
    return "the end of its quiet time" if instant is None else instant.isoformat(timespec="seconds")
