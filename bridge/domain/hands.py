"""What a person does to an incident by hand: end it, let go of it, send it again, or say something in it.

In: an incident as it is. Out: a Transition, or Refused with a clause for that person. Resolving by hand follows the
same arrows as the last member's recovery; nothing here reads a clock or a row.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from bridge.domain.decision import KeyRule, OnResolve
from bridge.domain.delivery import Action, Reason
from bridge.domain.incident import Incident, IncidentState, Member, Refused, Transition
from bridge.domain.telling import SUMMARY_MAX_CHARS
from bridge.domain.transitions import on_resolved

NOTE_MAX_CHARS = 4000  # of a person's note; both upstreams take more
_TOLD_BY_US = (Action.RESOLVE, Action.ACKNOWLEDGE, Action.REOPEN, Action.UPDATE, Action.NOTE, Action.CHECK)
_OVER = "it is over; what fires again opens a new one"
_IN_FLIGHT = "it is just being told to the upstream; try again in a few seconds"
_LETTER = "it is a dead letter: replay or discard that"


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """An incident is sent again: it ends as this Transition says, and its problems open a new episode behind it."""

    ends: Transition


@dataclass(frozen=True, slots=True, kw_only=True)
class AsLetter:
    """An incident is sent again by replaying its dead letter."""


def resolved_by_hand(incident: Incident, member: Member | None) -> Transition | Refused:
    """All of its problems are over, a person says; `member` is any of them."""
    if not incident.live:
        return Refused(why=_OVER)
    match incident.state:
        case IncidentState.RESOLVING:
            return Refused(why="its resolve is on its way")
        case IncidentState.FOLDED:
            return Refused(why="another incident speaks for it; resolve that one, or detach this one first")
        case IncidentState.DEAD:
            return Refused(why=_LETTER)
        case IncidentState.PENDING | IncidentState.SENDING | IncidentState.OPEN | IncidentState.RESOLVED:
            if incident.firing == 0 or member is None:  # the rule left it to people, and here they are
                return _ended_without_members(incident)
            # whatever the rule says of recoveries: a person said it, and means now
            now_policy = replace(incident.policy, on_resolve=OnResolve.RESOLVE, hold_resolve=timedelta(0))
            last = replace(incident, firing=1, policy=now_policy)
            step = on_resolved(last, replace(member, firing=True))
            if step is None:
                return Refused(why=_OVER)
            return replace(step, outcome=None, incident=replace(step.incident, policy=now_policy))
        case IncidentState.CANCELLED:
            return Refused(why=_OVER)
    assert_never(incident.state)


def _ended_without_members(incident: Incident) -> Transition | Refused:
    if incident.state is not IncidentState.OPEN:
        return Refused(why=_IN_FLIGHT)
    policy = replace(incident.policy, on_resolve=OnResolve.RESOLVE, hold_resolve=timedelta(0))
    resolving = replace(incident, state=IncidentState.RESOLVING, resolve_claimed=False, policy=policy)
    return Transition(incident=resolving, add=(Action.RESOLVE,))


def detached(incident: Incident, now: datetime, *, forsaken: bool = False) -> Transition | Refused:
    """The bridge lets go: the upstream's incident stays as it is, for people; what fires again opens a new one.

    `forsaken`: its account is not configured, so that nobody goes on with what was tried there.
    """
    if not incident.live and not (forsaken and incident.state is IncidentState.RESOLVING):
        return Refused(why=_OVER)
    match incident.state:
        case IncidentState.PENDING:
            return Refused(why="nothing of it is upstream yet; resolve it, and it is never sent")
        case IncidentState.SENDING if not forsaken:
            return Refused(why=_IN_FLIGHT)
        case IncidentState.RESOLVING if incident.resolve_claimed and not forsaken:
            return Refused(why=_IN_FLIGHT)
        case IncidentState.DEAD:
            return Refused(why=_LETTER)
        case (
            IncidentState.OPEN
            | IncidentState.SENDING
            | IncidentState.RESOLVING
            | IncidentState.RESOLVED
            | IncidentState.FOLDED
        ):
            over = replace(
                incident,
                state=IncidentState.RESOLVED,
                live=False,
                firing=0,
                renewal=None,
                renews_at=None,
                resolved_at=now,
                reason=Reason.DETACHED,
                telling=replace(incident.telling, note_waits=False),
            )
            return Transition(incident=over, cancel=_TOLD_BY_US)
        case IncidentState.CANCELLED:
            return Refused(why=_OVER)
    assert_never(incident.state)


def resent(incident: Incident) -> Again | AsLetter | Refused:
    """Everybody is paged anew: a dead letter goes again, an open incident is resolved there and opened afresh."""
    if not incident.live:
        return Refused(why=_OVER)
    if incident.folded:
        return Refused(why="it speaks for other incidents, too; resolve it, and what still fires opens a new one")
    if incident.stands_for is not None:
        return Refused(why="it is plan B of another incident; send that one again")
    match incident.state:
        case IncidentState.DEAD:
            return AsLetter()
        case IncidentState.PENDING:
            return Refused(why="it waits in its lane and goes by itself")
        case IncidentState.SENDING:
            return Refused(why=_IN_FLIGHT)
        case IncidentState.RESOLVING:
            return Refused(why="its resolve is on its way")
        case IncidentState.FOLDED:
            return Refused(why="another incident speaks for it; detach it, and it goes out by itself")
        case IncidentState.OPEN | IncidentState.RESOLVED if incident.firing == 0:
            return Refused(why="its problems are over; what fires again opens a new one")
        case IncidentState.OPEN:
            over = replace(incident, state=IncidentState.RESOLVING, live=False, reason=Reason.RESENT, renewal=None)
            over = replace(over, resolve_claimed=False, telling=replace(over.telling, note_waits=False))
            over = replace(over, policy=replace(over.policy, hold_resolve=timedelta(0)))  # a person means now
            cancel = tuple(action for action in _TOLD_BY_US if action is not Action.RESOLVE)
            return Again(ends=Transition(incident=over, add=(Action.RESOLVE,), cancel=cancel))
        case IncidentState.RESOLVED:  # a person closed it upstream while it fires
            return Again(ends=Transition(incident=replace(incident, live=False, renews_at=None)))
        case IncidentState.CANCELLED:
            return Refused(why=_OVER)
    assert_never(incident.state)


def noted_by_hand(incident: Incident, text: str, *, waits: bool) -> dict[str, str] | Refused:
    """The fields of a note of a person's. `waits`: another note of this incident was not sent yet."""
    if incident.state is not IncidentState.OPEN:
        return Refused(why=f"a note goes to an open incident, and it is {incident.state}")
    if len(text) > NOTE_MAX_CHARS:
        return Refused(why=f"a note has at most {NOTE_MAX_CHARS:,} characters, and this one has {len(text):,}")
    if incident.key_rule is KeyRule.WHILE_OPEN:
        return {"note": text}
    # incident.io has no notes: the text is added to the summary, which has to be known
    if incident.summary is None:
        return Refused(why="what the incident's summary says is not known, and a note would overwrite it")
    if waits:
        return Refused(why="another note waits to be added to its summary; try again when that was told")
    if len(incident.summary) + len(text) > SUMMARY_MAX_CHARS:
        return Refused(why="the incident's summary has no room for it")
    return {"note": text, "summary": incident.summary}
