"""The incident state machine: pure functions that settle and the workers call inside their transactions.

In: the live incident of a series as it is, and a report or an outcome. Out: a Transition, the incident as it will be
with the deliveries to add and to cancel. Nothing here reads a clock or a row.

    state      firing                  last member resolved          acknowledged  its delivery ends
    ---------  ----------------------  ----------------------------  ------------  ----------------------------------
    (none)     opens: pending          ignored                       ignored       -
    pending    joins, in the create    cancelled                     remembered    create claimed: sending
    sending    joins, update and note  resolve queued behind create  remembered    delivered: open | resolving; or dead
    open       joins, update and note  resolving, those cancelled    acknowledge   -
    resolving  joins: open again       -                             ignored       delivered: resolved; refused: dead
      claimed  joins                   no re-opening                 ignored       delivered: pending with a reopen,
                                                                                   else resolved and a new episode
    pending,   joins, in the reopen    resolved, as it was           remembered    reopen claimed: sending
      sending  with a reopen: as with a create                                     delivered: open | resolving; refused:
                                                                                   resolved and a new episode
    resolved   reopen_within: pending  ignored                       ignored       -
               with a reopen, else a new episode that names it
    cancelled  new episode             ignored                       ignored       -
    quiet      joins                   over                          ignored       its window ends: a new episode
    folded     joins                   leaves; so the carrier does   ignored       with its carrier: domain.folding
    dead       new episode             leaves                        ignored       replayed: as it was before

"sending" is left for "pending" again when an attempt surely did not reach the upstream, and when its key is spent. In
both cases, and when no problem is left, for "cancelled". A new episode takes the members of the dead one along.
An update tells a higher severity, a note further members and flapping; of each one waits at most, behind everything
else, and none is sent once the incident is not open any more (is_moot). See domain.moves, too.
"""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from bridge.domain.alert import Severity
from bridge.domain.decision import KeyRule, OnAcknowledge, OnResolve, Outcome
from bridge.domain.delivery import Action, Reason, Reference
from bridge.domain.incident import CreateBody, Incident, IncidentState, Member, NewEpisode, Refused, Transition
from bridge.domain.telling import FLAP_WINDOW, Telling, flapped, flapping_is_due, silenced, taken_back


def on_firing(
    incident: Incident | None,
    member: Member | None,
    severity: Severity,
    body: CreateBody,
    now: datetime,
    *,
    ended: Incident | None = None,
    reopens: bool = False,
    rise: bool = False,
) -> Transition | NewEpisode:
    """A problem fires, under the live incident of its series; `ended` is the last one, where none is live.

    `member` is the problem's row in that incident, when it has one; `body` is what this report would open with.
    `reopens`: the upstream can re-open. `rise`: the report has something to change upstream if its severity is higher.
    """
    if incident is None or not incident.live:
        return _again(ended, severity, body, now, reopens=reopens)
    if incident.state is IncidentState.DEAD:
        return NewEpisode(supersedes=superseded(incident), telling=incident.telling.next_episode())
    again = member is not None and member.firing
    if again and member is not None and member.severity is severity:
        return Transition(incident=incident, outcome=Outcome.DUPLICATE, reason="already a member; nothing changed")
    rises = severity.rank < incident.severity.rank
    joined = replace(
        incident,
        firing=incident.firing + (0 if again else 1),
        severity=severity if rises else incident.severity,
        telling=_fires(incident.telling if again or member is None else flapped(incident.telling, now)),
    )
    match incident.state:
        case IncidentState.PENDING if incident.is_reopening:
            changed = replace(joined, renewal=body) if rises else joined
            again_with = (Action.REOPEN,) if rises else ()
            return Transition(incident=changed, outcome=Outcome.JOINED, cancel=again_with, add=again_with)
        case IncidentState.PENDING if incident.folded and rises:  # its text is written: an update follows the create
            update = (Action.UPDATE,) if rise else ()
            telling = replace(joined.telling, has_updates=joined.telling.has_updates or rise)
            carrier = replace(joined, telling=telling)
            return Transition(incident=carrier, outcome=Outcome.JOINED, add=update, cancel=update, promotes=True)
        case IncidentState.PENDING:
            return Transition(incident=joined, outcome=Outcome.JOINED, replace_create=rises)
        case IncidentState.SENDING:
            return _told(joined, member, cancel=_queued_resolve(incident), update=rises and rise)
        case IncidentState.OPEN:
            return _told(joined, member, update=rises and rise)
        case IncidentState.FOLDED:
            return Transition(incident=joined, outcome=Outcome.JOINED, replace_create=rises)
        case IncidentState.RESOLVING if incident.resolve_claimed:
            anew = severity if incident.firing == 0 else joined.severity  # what was over before is not in what follows
            renewed = replace(joined, renewal=body, severity=anew)
            what = "is re-opened after" if reopens and not incident.folded else "becomes a new episode after"
            why = f"fired again while its resolve was being sent; it {what} the resolve"
            return Transition(incident=renewed, outcome=Outcome.JOINED, reason=why)
        case IncidentState.RESOLVING:
            reopened = replace(joined, state=IncidentState.OPEN)
            return _told(reopened, member, cancel=(Action.RESOLVE,), update=rises and rise)
        case IncidentState.RESOLVED:  # live: a person closed it upstream, and is left in peace (domain.truth)
            return Transition(incident=joined, outcome=Outcome.JOINED)
        case IncidentState.CANCELLED:
            return NewEpisode()
    assert_never(incident.state)


def superseded(dead: Incident) -> Incident:
    """A dead incident whose place a new episode takes."""
    return replace(dead, live=False, firing=0, reason="superseded by a new episode")


def _again(
    ended: Incident | None, severity: Severity, body: CreateBody, now: datetime, *, reopens: bool
) -> Transition | NewEpisode:
    """A problem fires and none of its series is live: the last episode goes on, or a new one begins."""
    if ended is None:
        return NewEpisode()
    over_for = None if ended.resolved_at is None else now - ended.resolved_at
    flaps = over_for is not None and over_for <= FLAP_WINDOW
    telling = flapped(ended.telling, now) if flaps else ended.telling
    if not is_recent(ended, now):
        return NewEpisode(telling=telling.next_episode())
    if not reopens:
        return NewEpisode(follows=ended, telling=telling.next_episode())
    notes = flapping_is_due(telling)
    opened = replace(
        ended,
        state=IncidentState.PENDING,
        live=True,
        severity=severity,
        firing=1,
        acknowledged=False,
        resolve_claimed=False,
        renewal=body,
        telling=replace(telling, note_waits=notes),
    )
    add = (Action.REOPEN, Action.NOTE) if notes else (Action.REOPEN,)
    why, revive = "fired again; re-opens its incident", _goes_on(update=False)
    return Transition(incident=opened, outcome=Outcome.JOINED, reason=why, add=add, revive=revive)


def may_be_worse(incident: Incident, earlier: Incident | None) -> bool:
    """Whether an incident may be more severe than what stands upstream under its key, of an `earlier` episode.

    So it is of the same severity, too: the earlier one may have been over before its own rise was told. Of what nobody
    here knows a critical makes a critical one, in case it is none.
    """
    if earlier is None:
        return incident.severity is Severity.CRITICAL
    return incident.severity.rank <= earlier.severity.rank


def is_recent(ended: Incident, now: datetime) -> bool:
    """Whether its resolve was delivered so lately that a problem that comes back belongs to it."""
    resolved = ended.state is IncidentState.RESOLVED and ended.reason is None and ended.upstream_id is not None
    at = ended.resolved_at
    return resolved and at is not None and now - at < ended.policy.reopen_within


def _told(joined: Incident, member: Member | None, *, update: bool, cancel: tuple[Action, ...] = ()) -> Transition:
    """A problem joined what the upstream has, or is about to have: a higher severity makes an update, a newcomer and a
    problem that goes on and off a note. Of each one waits at most.

    `cancel` is the resolve that is not due any more; what was cancelled because of it is told after all.
    """
    telling = joined.telling
    flaps = member is not None and not member.firing and flapping_is_due(telling)
    notes = not telling.note_waits and (member is None or flaps or (bool(cancel) and telling.unsaid))
    add = (*((Action.UPDATE,) if update else ()), *((Action.NOTE,) if notes else ()))
    after = replace(telling, note_waits=telling.note_waits or notes, has_updates=telling.has_updates or update)
    return Transition(
        incident=replace(joined, telling=after),
        outcome=Outcome.JOINED,
        add=add,
        cancel=(*cancel, *((Action.UPDATE,) if update else ())),
        revive=_goes_on(update=telling.has_updates and not update) if cancel else (),
    )


def on_resolved(incident: Incident | None, member: Member | None) -> Transition | None:
    """A problem is over. None when it is a firing member of no live incident: nothing follows."""
    if incident is None or member is None or not incident.live or not member.firing:
        return None
    left = replace(incident, firing=incident.firing - 1)
    if left.firing > 0:
        return Transition(incident=left, outcome=Outcome.RESOLVING, reason=_others(left.firing))
    match incident.state:
        case IncidentState.PENDING if incident.is_reopening:
            why = "over before it was re-opened"
            return replace(_never_reopened(left), outcome=Outcome.CANCELLED, reason=why)
        case IncidentState.PENDING:
            over = replace(left, state=IncidentState.CANCELLED, live=False, reason=Reason.RECOVERED)
            cancel = (Action.CREATE, *_MOOT_WHEN_OVER)
            why = "over before it was sent"
            return Transition(incident=over, outcome=Outcome.CANCELLED, cancel=cancel, reason=why)
        case IncidentState.SENDING:
            why = "the resolve follows the create"
            add = _resolve(incident)
            if not add:
                return _left_open(left)
            late = _waiting(incident)
            return Transition(incident=_silent(left), outcome=Outcome.RESOLVING, reason=why, add=add, cancel=late)
        case IncidentState.FOLDED:
            why = "left the incident it is folded into"
            return Transition(incident=replace(left, renewal=None), outcome=Outcome.RESOLVING, reason=why)
        case IncidentState.OPEN:
            if incident.policy.on_resolve is not OnResolve.RESOLVE:
                return _left_open(left)
            resolving = replace(_silent(left), state=IncidentState.RESOLVING, resolve_claimed=False)
            return Transition(
                incident=resolving, outcome=Outcome.RESOLVING, add=_resolve(incident), cancel=_waiting(incident)
            )
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
            taken, add = (incident, ()) if incident.acknowledged else _acknowledges(seen)
            return Transition(incident=taken, outcome=Outcome.ACKNOWLEDGED, add=add)
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
        case Action.REOPEN:
            return replace(incident, state=IncidentState.SENDING)
        case Action.RESOLVE:
            return replace(incident, resolve_claimed=True)
        case Action.ACKNOWLEDGE | Action.UPDATE | Action.NOTE | Action.CHECK:
            return incident
    assert_never(action)


def is_moot(incident: Incident, action: Action) -> bool:
    """Whether nobody has to hear of it any more: it is about an incident that is open, and this one is no longer."""
    match action:
        case Action.ACKNOWLEDGE | Action.UPDATE | Action.NOTE:
            return incident.state is not IncidentState.OPEN
        case Action.REOPEN:
            return not incident.is_reopening
        case Action.CREATE | Action.RESOLVE | Action.CHECK:
            return False
    assert_never(action)


def on_moot(incident: Incident, action: Action, worded_since: datetime | None = None) -> Incident:
    """What waited was not sent, for it was moot. `worded_since`: when a note was queued whose text was made since."""
    if action is not Action.NOTE:
        return incident
    if worded_since is None:
        return _silent(incident)
    return replace(incident, telling=taken_back(incident.telling, worded_since))


def on_not_sent(incident: Incident, action: Action) -> Transition:
    """The claim came to nothing: no attempt of this delivery ever reached the upstream."""
    match action:
        case Action.CREATE if incident.live and incident.firing == 0:
            return _never_told(replace(incident, claimed=False))
        case Action.CREATE:
            return Transition(incident=replace(incident, state=IncidentState.PENDING, claimed=False))
        case Action.REOPEN if incident.live and incident.firing == 0:
            return _never_reopened(incident)
        case Action.REOPEN:
            return Transition(incident=replace(incident, state=IncidentState.PENDING))
        case Action.RESOLVE if incident.firing > 0 and incident.state is IncidentState.RESOLVING:
            again = replace(incident, state=IncidentState.OPEN, resolve_claimed=False, renewal=None)
            return Transition(incident=again, cancel=(Action.RESOLVE,), revive=_goes_on(update=True))
        case Action.RESOLVE:
            return Transition(incident=replace(incident, resolve_claimed=False))
        case Action.ACKNOWLEDGE | Action.UPDATE | Action.NOTE | Action.CHECK:
            return Transition(incident=incident)
    assert_never(action)


def on_key_spent(incident: Incident) -> Transition:
    """Its create was answered with an incident of an earlier episode: nothing of this one is at the upstream.

    The key stays used up: `claimed` remains, so that a later episode of the same id takes the next one.
    """
    if incident.live and incident.firing == 0:
        return _never_told(incident)
    return Transition(incident=incident)


def on_delivered(
    incident: Incident, action: Action, reference: Reference | None, now: datetime, *, reopens: bool = False
) -> Transition:
    """The upstream has it. `reopens`: it can re-open what it resolved.

    A create that made one which is closed by now: domain.truth.on_looked follows.
    """
    match action:
        case Action.CREATE | Action.REOPEN:
            known = replace(_known(incident, reference, now), renewal=None, resolved_at=None)
            if incident.firing == 0 and incident.policy.on_resolve is OnResolve.RESOLVE:
                return Transition(incident=replace(known, state=IncidentState.RESOLVING, resolve_claimed=False))
            there = replace(known, state=IncidentState.OPEN)
            taken, add = _acknowledges(there) if incident.acknowledged else (there, ())
            return Transition(incident=taken, add=add)
        # what a carrier speaks for may be more severe than what it would say to be re-opened: each goes by itself
        case Action.RESOLVE if incident.firing > 0 and incident.renewal and reopens and not incident.folded:
            again = replace(
                incident,
                state=IncidentState.PENDING,
                acknowledged=False,
                resolve_claimed=False,
                resolved_at=now,
            )
            return Transition(incident=again, add=(Action.REOPEN,), revive=_goes_on(update=False))
        case Action.RESOLVE:
            over = replace(incident, state=IncidentState.RESOLVED, live=False, resolved_at=now)
            return Transition(incident=over, renews=incident.firing > 0 and incident.renewal is not None)
        case Action.UPDATE | Action.NOTE if reference is not None and reference.summary is not None:
            return Transition(incident=replace(incident, summary=reference.summary))
        case Action.ACKNOWLEDGE | Action.UPDATE | Action.NOTE | Action.CHECK:
            return Transition(incident=incident)
    assert_never(action)


def on_dead(incident: Incident, action: Action, reason: Reason) -> Transition:
    """The upstream will not take it, or it became too old: a dead letter."""
    match action:
        case Action.CREATE:
            dead = replace(_silent(incident), state=IncidentState.DEAD, reason=reason)
            return Transition(incident=dead, cancel=(Action.RESOLVE, *_MOOT_WHEN_OVER))
        case Action.REOPEN if incident.firing > 0:
            over = replace(_silent(incident), state=IncidentState.RESOLVED, live=False)
            return Transition(incident=over, cancel=(Action.RESOLVE, *_MOOT_WHEN_OVER), renews=True)
        case Action.REOPEN if incident.policy.on_resolve is OnResolve.RESOLVE:  # it may have worked: resolve it
            resolving = replace(incident, state=IncidentState.RESOLVING, resolve_claimed=False, renewal=None)
            return Transition(incident=resolving)
        case Action.REOPEN:
            return _never_reopened(incident)
        case Action.RESOLVE:
            dead = replace(incident, state=IncidentState.DEAD, reason=reason)
            return Transition(incident=dead, renews=incident.firing > 0 and incident.renewal is not None)
        case Action.ACKNOWLEDGE | Action.UPDATE | Action.NOTE | Action.CHECK:
            return Transition(incident=incident)
    assert_never(action)


def on_replayed(incident: Incident, action: Action, *, sent: bool) -> Transition | Refused:
    """A person sends a dead letter again, under its stored key; `sent`: an attempt of it may have worked."""
    if not incident.live and action is Action.RESOLVE and incident.key_rule is KeyRule.FOR_EVER:
        return Transition(incident=incident)  # the newer one is another one there as well: nobody else ends this
    if not incident.live:
        return Refused(why="a newer incident of the same series took its place")
    match action:
        case Action.CREATE if incident.firing == 0 and not sent:
            return Refused(why="its problem is over and the upstream never had it, so nobody would close what it opens")
        case Action.CREATE:
            state = IncidentState.SENDING if incident.claimed else IncidentState.PENDING
            over = incident.firing == 0
            revive = () if over else _goes_on(update=True)
            changed = replace(incident, state=state, reason=None)
            return Transition(incident=changed, add=_resolve(incident) if over else (), revive=revive)
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


_MOOT_WHEN_OVER = (Action.ACKNOWLEDGE, Action.UPDATE, Action.NOTE)


def _waiting(incident: Incident) -> tuple[Action, ...]:
    """What may wait to be told to an open incident."""
    telling = incident.telling
    has_notes = telling.note_waits or telling.noted_at is not None
    return (*((Action.UPDATE,) if telling.has_updates else ()), *((Action.NOTE,) if has_notes else ()))


def _never_told(incident: Incident) -> Transition:
    reason = incident.reason or Reason.RECOVERED  # a person may have ended it meanwhile
    over = replace(_silent(incident), state=IncidentState.CANCELLED, live=False, reason=reason)
    return Transition(incident=over, cancel=(Action.CREATE, Action.RESOLVE, *_MOOT_WHEN_OVER))


def _never_reopened(incident: Incident) -> Transition:
    over = replace(_silent(incident), state=IncidentState.RESOLVED, live=False, renewal=None)
    return Transition(incident=over, cancel=(Action.REOPEN, Action.RESOLVE, *_MOOT_WHEN_OVER))


def _silent(incident: Incident) -> Incident:
    """Its waiting note is cancelled, or was."""
    return replace(incident, telling=silenced(incident.telling))


def _known(incident: Incident, reference: Reference | None, now: datetime) -> Incident:
    if reference is None:
        return replace(incident, confirmed_at=now)
    return replace(
        incident,
        upstream_id=reference.id,
        upstream_url=reference.url or incident.upstream_url,
        confirmed_at=now,
        summary=reference.summary,
    )


def _queued_resolve(incident: Incident) -> tuple[Action, ...]:
    return (Action.RESOLVE,) if incident.firing == 0 else ()


def _resolve(incident: Incident) -> tuple[Action, ...]:
    return (Action.RESOLVE,) if incident.policy.on_resolve is OnResolve.RESOLVE else ()


def _goes_on(*, update: bool) -> tuple[Action, ...]:
    """What an end had cancelled and is told after all; a note that a Telling words says so itself."""
    return (*((Action.UPDATE,) if update else ()), Action.NOTE)


def _fires(telling: Telling) -> Telling:
    """Not over after all: that is not said any more."""
    return replace(telling, over=False) if telling.over else telling


def _left_open(left: Incident) -> Transition:
    """Its last problem is over, and its rule resolves nothing: people do, who may want to hear of it."""
    if left.policy.on_resolve is not OnResolve.NOTE:
        return Transition(incident=left, outcome=Outcome.RESOLVING, reason="the rule leaves resolving to people")
    add = () if left.telling.note_waits else (Action.NOTE,)
    said = replace(left, telling=replace(left.telling, over=True, note_waits=True))
    why = "the rule leaves resolving to people; a note says that it is over"
    return Transition(incident=said, outcome=Outcome.RESOLVING, reason=why, add=add)


def _acknowledges(incident: Incident) -> tuple[Incident, tuple[Action, ...]]:
    """An open incident that somebody took at the sender, and what its rule makes of that."""
    match incident.policy.on_acknowledge:
        case OnAcknowledge.IGNORE:
            return incident, ()
        case OnAcknowledge.ACKNOWLEDGE:
            return incident, (Action.ACKNOWLEDGE,)
        case OnAcknowledge.NOTE:
            add = () if incident.telling.note_waits else (Action.NOTE,)
            return replace(incident, telling=replace(incident.telling, acknowledged=True, note_waits=True)), add
    assert_never(incident.policy.on_acknowledge)


def _others(firing: int) -> str:
    return f"left; {firing} other {'problem keeps' if firing == 1 else 'problems keep'} it open"
