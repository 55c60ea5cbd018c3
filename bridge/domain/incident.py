"""The incident state machine: pure functions that settle and the workers call inside their transactions.

In: the live incident of a series as it is, and a report or an outcome. Out: a Transition, the incident as it will be
with the deliveries to add and to cancel. Nothing here reads a clock or a row.

    state      firing            last member resolved          acknowledged      its delivery ends
    ---------  ----------------  ----------------------------  ----------------  -------------------------------------
    (none)     opens: pending    ignored                       ignored           -
    pending    joins             cancelled                     remembered        create claimed: sending
    sending    joins             resolve queued behind create  remembered        delivered: open | resolving; dead: dead
    open       joins             resolving                     acknowledge       -
    resolving  joins: open       -                             ignored           delivered: resolved; dead: dead
    quiet      joins             over                          ignored           window ends: a new episode
      claimed  joins, renews     renewal dropped               ignored           delivered: resolved, then a new episode
    dead       new episode       leaves                        ignored           replayed: pending | sending | resolving

"sending" is left for "pending" again when an attempt surely did not reach the upstream, and when its key is spent. In
both cases, and when no problem is left, for "cancelled". A new episode takes the members of the dead one along.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, assert_never

from bridge.domain.alert import Severity
from bridge.domain.decision import KeyRule, OnAcknowledge, OnResolve, Outcome, Policy
from bridge.domain.delivery import Action, Reason, Reference


class IncidentState(StrEnum):
    """Where an incident stands. CANCELLED is over, and RESOLVED but for a while (domain.truth); the others are live."""

    PENDING = "pending"
    SENDING = "sending"
    OPEN = "open"
    RESOLVING = "resolving"
    RESOLVED = "resolved"
    CANCELLED = "cancelled"
    FOLDED = "folded"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBody:
    """Everything a create needs but its key: what a decision rendered, stored until it is sent."""

    fields: Mapping[str, Any]
    names: tuple[Any, ...]  # NameRefs
    notes: tuple[str, ...]
    episode_id: str | None = None  # of a renewal: what its own episode is called
    places: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """file:line:column of the fields in their rule, and under the empty name the rule's own."""
    is_plain: bool = False  # the whole create was refused: domain.plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One episode of a series (DESIGN section 5)."""

    id: str
    account: str
    series: str
    scope: str
    rule: str
    key: str
    key_rule: KeyRule
    key_text: str | None
    episode_id: str  # the sender's episode id, else the id of the opening event
    episode_n: int  # earlier claimed incidents of the series with that id
    state: IncidentState
    live: bool = True
    severity: Severity
    title: str
    policy: Policy
    firing: int = 0  # members that fire; settle keeps it equal to the rows
    acknowledged: bool = False
    claimed: bool = False  # its create may have reached the upstream
    resolve_claimed: bool = False  # its resolve may have reached the upstream
    renewal: CreateBody | None = None  # what a new episode would send: a problem fired again under a claimed resolve
    upstream_id: str | None = None
    upstream_url: str | None = None
    opened_at: datetime
    confirmed_at: datetime | None = None
    resolved_at: datetime | None = None
    reason: str | None = None
    renews_at: datetime | None = None  # a person closed it upstream: when its problems open a new episode
    stands_for: str | None = None  # the incident of another account that this one is plan B of


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One problem inside one incident."""

    incident: str
    problem: str
    source: str
    fingerprint: str
    firing: bool
    severity: Severity
    title: str
    joined_at: datetime
    left_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """What one report or one outcome does to one incident."""

    incident: Incident
    outcome: Outcome | None = None  # of the alert; None where no alert caused it
    reason: str | None = None
    add: tuple[Action, ...] = ()
    cancel: tuple[Action, ...] = ()  # unclaimed deliveries of these actions
    replace_create: bool = False  # the unclaimed create takes the joining alert's body and order
    renews: bool = False  # the renewal opens a new episode now, with the members that fire


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEpisode:
    """The report opens a new incident; `supersedes` is the dead one it takes the place of."""

    supersedes: Incident | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What a person asked for is not done; `why` is for that person."""

    why: str


def on_firing(
    incident: Incident | None, member: Member | None, severity: Severity, body: CreateBody
) -> Transition | NewEpisode:
    """A problem fires, under the live incident of its series (None: there is none).

    `member` is the problem's row in this incident, when it has one; `body` is what this report would open with.
    """
    if incident is None or not incident.live:
        return NewEpisode()
    if incident.state is IncidentState.DEAD:
        over = replace(incident, live=False, firing=0, reason="superseded by a new episode")
        return NewEpisode(supersedes=over)
    again = member is not None and member.firing
    if again and member is not None and member.severity is severity:
        return Transition(incident=incident, outcome=Outcome.DUPLICATE, reason="already a member; nothing changed")
    joined = replace(
        incident,
        firing=incident.firing + (0 if again else 1),
        severity=min(incident.severity, severity, key=lambda s: s.rank),
    )
    rises = severity.rank < incident.severity.rank
    match incident.state:
        case IncidentState.PENDING:
            return Transition(incident=joined, outcome=Outcome.JOINED, replace_create=rises)
        case IncidentState.SENDING:
            return Transition(incident=joined, outcome=Outcome.JOINED, cancel=_queued_resolve(incident))
        case IncidentState.OPEN | IncidentState.FOLDED:
            return Transition(incident=joined, outcome=Outcome.JOINED)
        case IncidentState.RESOLVING if incident.resolve_claimed:
            renewed = replace(joined, renewal=body)
            why = "fired again while its resolve was being sent; a new episode follows the resolve"
            return Transition(incident=renewed, outcome=Outcome.JOINED, reason=why)
        case IncidentState.RESOLVING:
            reopened = replace(joined, state=IncidentState.OPEN)
            return Transition(incident=reopened, outcome=Outcome.JOINED, cancel=(Action.RESOLVE,))
        case IncidentState.RESOLVED:  # live: a person closed it upstream, and is left in peace (domain.truth)
            return Transition(incident=joined, outcome=Outcome.JOINED)
        case IncidentState.CANCELLED:
            return NewEpisode()
    assert_never(incident.state)


def on_resolved(incident: Incident | None, member: Member | None) -> Transition | None:
    """A problem is over. None when it is a firing member of no live incident: nothing follows."""
    if incident is None or member is None or not incident.live or not member.firing:
        return None
    left = replace(incident, firing=incident.firing - 1)
    if left.firing > 0:
        return Transition(incident=left, outcome=Outcome.RESOLVING, reason=_others(left.firing))
    match incident.state:
        case IncidentState.PENDING:
            over = replace(left, state=IncidentState.CANCELLED, live=False, reason=Reason.RECOVERED)
            cancel = (Action.CREATE, Action.ACKNOWLEDGE, Action.UPDATE, Action.NOTE)
            why = "over before it was sent"
            return Transition(incident=over, outcome=Outcome.CANCELLED, cancel=cancel, reason=why)
        case IncidentState.SENDING:
            why = "the resolve follows the create"
            return Transition(incident=left, outcome=Outcome.RESOLVING, reason=why, add=_resolve(incident))
        case IncidentState.OPEN | IncidentState.FOLDED:
            if incident.policy.on_resolve is not OnResolve.RESOLVE:
                why = "the rule leaves resolving to people"
                return Transition(incident=left, outcome=Outcome.RESOLVING, reason=why)
            resolving = replace(left, state=IncidentState.RESOLVING, resolve_claimed=False)
            return Transition(incident=resolving, outcome=Outcome.RESOLVING, add=_resolve(incident))
        case IncidentState.RESOLVING:
            why = "its resolve is being sent"
            return Transition(incident=replace(left, renewal=None), outcome=Outcome.RESOLVING, reason=why)
        case IncidentState.DEAD:
            why = "its incident is a dead letter; nothing was open"
            return Transition(incident=left, outcome=Outcome.IGNORED, reason=why)
        case IncidentState.RESOLVED:  # live: closed upstream while it fired; nobody is paged again
            over = replace(left, live=False, renewal=None, renews_at=None)
            return Transition(incident=over, outcome=Outcome.RESOLVING, reason="somebody closed it upstream before")
        case IncidentState.CANCELLED:
            return None
    assert_never(incident.state)


def on_acknowledged(incident: Incident | None, member: Member | None) -> Transition | None:
    """Somebody took a problem at the sender. None when there is nothing to acknowledge."""
    if incident is None or member is None or not incident.live or not member.firing:
        return None
    seen = replace(incident, acknowledged=True)
    match incident.state:
        case IncidentState.PENDING | IncidentState.SENDING:
            why = "remembered until the incident is open"
            return Transition(incident=seen, outcome=Outcome.ACKNOWLEDGED, reason=why)
        case IncidentState.OPEN:
            if incident.policy.on_acknowledge is OnAcknowledge.IGNORE:
                why = "the rule does not pass acknowledgements on"
                return Transition(incident=incident, outcome=Outcome.IGNORED, reason=why)
            add = () if incident.acknowledged else (Action.ACKNOWLEDGE,)
            return Transition(incident=seen, outcome=Outcome.ACKNOWLEDGED, add=add)
        case (
            IncidentState.RESOLVING
            | IncidentState.FOLDED
            | IncidentState.DEAD
            | IncidentState.RESOLVED
            | IncidentState.CANCELLED
        ):
            return None
    assert_never(incident.state)


def on_claimed(incident: Incident, action: Action) -> Incident:
    """A worker is about to send one of its deliveries."""
    match action:
        case Action.CREATE:
            return replace(incident, state=IncidentState.SENDING, claimed=True)
        case Action.RESOLVE:
            return replace(incident, resolve_claimed=True)
        case Action.ACKNOWLEDGE | Action.REOPEN | Action.UPDATE | Action.NOTE | Action.CHECK:
            return incident
    assert_never(action)


def on_not_sent(incident: Incident, action: Action) -> Transition:
    """The claim came to nothing: no attempt of this delivery ever reached the upstream."""
    match action:
        case Action.CREATE if incident.live and incident.firing == 0:
            return _never_told(replace(incident, claimed=False))
        case Action.CREATE:
            return Transition(incident=replace(incident, state=IncidentState.PENDING, claimed=False))
        case Action.RESOLVE if incident.firing > 0 and incident.state is IncidentState.RESOLVING:
            again = replace(incident, state=IncidentState.OPEN, resolve_claimed=False, renewal=None)
            return Transition(incident=again, cancel=(Action.RESOLVE,))
        case Action.RESOLVE:
            return Transition(incident=replace(incident, resolve_claimed=False))
        case Action.ACKNOWLEDGE | Action.REOPEN | Action.UPDATE | Action.NOTE | Action.CHECK:
            return Transition(incident=incident)
    assert_never(action)


def on_key_spent(incident: Incident) -> Transition:
    """Its create was answered with an incident of an earlier episode: nothing of this one is at the upstream.

    The key stays used up: `claimed` remains, so that a later episode of the same id takes the next one.
    """
    if incident.live and incident.firing == 0:
        return _never_told(incident)
    return Transition(incident=incident)


def on_delivered(incident: Incident, action: Action, reference: Reference | None, now: datetime) -> Transition:
    """The upstream has it."""
    match action:
        case Action.CREATE if reference is not None and reference.closed:
            over = replace(
                _known(incident, reference, now),
                state=IncidentState.RESOLVED,
                live=False,
                resolved_at=now,
                reason=Reason.CLOSED_UPSTREAM,
            )
            return Transition(incident=over, cancel=(Action.RESOLVE, Action.ACKNOWLEDGE))
        case Action.CREATE:
            known = _known(incident, reference, now)
            if incident.firing == 0 and incident.policy.on_resolve is OnResolve.RESOLVE:
                return Transition(incident=replace(known, state=IncidentState.RESOLVING, resolve_claimed=False))
            wants = incident.acknowledged and incident.policy.on_acknowledge is OnAcknowledge.ACKNOWLEDGE
            add = (Action.ACKNOWLEDGE,) if wants else ()
            return Transition(incident=replace(known, state=IncidentState.OPEN), add=add)
        case Action.RESOLVE:
            over = replace(incident, state=IncidentState.RESOLVED, live=False, resolved_at=now)
            return Transition(incident=over, renews=incident.firing > 0 and incident.renewal is not None)
        case Action.ACKNOWLEDGE | Action.REOPEN | Action.UPDATE | Action.NOTE | Action.CHECK:
            return Transition(incident=incident)
    assert_never(action)


def on_dead(incident: Incident, action: Action, reason: Reason) -> Transition:
    """The upstream will not take it, or it became too old: a dead letter."""
    match action:
        case Action.CREATE:
            dead = replace(incident, state=IncidentState.DEAD, reason=reason)
            return Transition(incident=dead, cancel=(Action.RESOLVE, Action.ACKNOWLEDGE))
        case Action.RESOLVE:
            dead = replace(incident, state=IncidentState.DEAD, reason=reason)
            return Transition(incident=dead, renews=incident.firing > 0 and incident.renewal is not None)
        case Action.ACKNOWLEDGE | Action.REOPEN | Action.UPDATE | Action.NOTE | Action.CHECK:
            return Transition(incident=incident)
    assert_never(action)


def on_replayed(incident: Incident, action: Action, *, sent: bool) -> Transition | Refused:
    """A person sends a dead letter again, under its stored key; `sent`: an attempt of it may have worked."""
    if not incident.live:
        return Refused(why="a newer incident of the same series took its place")
    match action:
        case Action.CREATE if incident.firing == 0 and not sent:
            return Refused(why="its problem is over and the upstream never had it, so nobody would close what it opens")
        case Action.CREATE:
            state = IncidentState.SENDING if incident.claimed else IncidentState.PENDING
            add = _resolve(incident) if incident.firing == 0 else ()
            return Transition(incident=replace(incident, state=state, reason=None), add=add)
        case Action.RESOLVE:
            return Transition(incident=replace(incident, state=IncidentState.RESOLVING, reason=None))
        case Action.ACKNOWLEDGE | Action.REOPEN | Action.UPDATE | Action.NOTE | Action.CHECK:
            return Transition(incident=incident)
    assert_never(action)


def on_discarded(incident: Incident, action: Action, now: datetime) -> Incident:
    """A person put a dead letter aside: nobody has to be told any more."""
    if incident.state is not IncidentState.DEAD:
        return incident
    over = IncidentState.CANCELLED if action is Action.CREATE else IncidentState.RESOLVED
    return replace(incident, state=over, live=False, resolved_at=now, reason=Reason.DISCARDED)


def moved(member: Member, incident: str, now: datetime) -> tuple[Member, Member]:
    """A firing member on its way to the next incident of its series: as it leaves the last one, and as it joins."""
    left = replace(member, firing=False, left_at=now)
    return left, replace(member, incident=incident, joined_at=now)


def _never_told(incident: Incident) -> Transition:
    over = replace(incident, state=IncidentState.CANCELLED, live=False, reason=Reason.RECOVERED)
    return Transition(incident=over, cancel=(Action.CREATE, Action.RESOLVE, Action.ACKNOWLEDGE))


def _known(incident: Incident, reference: Reference | None, now: datetime) -> Incident:
    if reference is None:
        return replace(incident, confirmed_at=now)
    return replace(incident, upstream_id=reference.id, upstream_url=reference.url, confirmed_at=now)


def _queued_resolve(incident: Incident) -> tuple[Action, ...]:
    return (Action.RESOLVE,) if incident.firing == 0 else ()


def _resolve(incident: Incident) -> tuple[Action, ...]:
    return (Action.RESOLVE,) if incident.policy.on_resolve is OnResolve.RESOLVE else ()


def _others(firing: int) -> str:
    return f"left; {firing} other {'problem keeps' if firing == 1 else 'problems keep'} it open"
