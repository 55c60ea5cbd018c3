"""What a person may do to an incident in which state, and what that leaves behind."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bridge.domain.decision import KeyRule, OnResolve, Policy
from bridge.domain.delivery import Action, Reason
from bridge.domain.hands import (
    NOTE_MAX_CHARS,
    Again,
    AsLetter,
    detached,
    noted_by_hand,
    resent,
    resolved_by_hand,
)
from bridge.domain.incident import CreateBody, Incident, IncidentState, Refused, Transition
from bridge.domain.telling import SUMMARY_MAX_CHARS, Telling
from tests.incidents import member, plain_incident

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
HELD = Policy(on_resolve=OnResolve.NOTE, hold_resolve=timedelta(minutes=5))
AT_ONCE = Policy(on_resolve=OnResolve.RESOLVE, hold_resolve=timedelta(0))
BODY = CreateBody(fields={}, names=(), notes=())
OPEN = plain_incident(policy=HELD, firing=2, upstream_id="P1")
MEMBER = member()
TOLD = {Action.ACKNOWLEDGE, Action.UPDATE, Action.NOTE}


def in_state(state: IncidentState, **changes: object) -> Incident:
    return replace(OPEN, state=state, **changes)  # type: ignore[arg-type]


def why(answer: object) -> str:
    assert isinstance(answer, Refused), answer
    return answer.why


def test_of_what_is_over_nothing_is_left_to_do() -> None:
    for state in IncidentState:
        over = in_state(state, live=False)
        for answer in (resolved_by_hand(over, MEMBER), detached(over, NOW), resent(over)):
            assert "over" in why(answer)
    cancelled = in_state(IncidentState.CANCELLED)
    assert why(resolved_by_hand(cancelled, MEMBER)) == why(detached(cancelled, NOW)) == why(resent(cancelled))


def test_what_a_person_resolves_is_resolved_now_whatever_its_rule_says_and_however_many_fire() -> None:
    step = resolved_by_hand(OPEN, replace(MEMBER, firing=False))
    assert isinstance(step, Transition)
    assert (step.incident.state, step.incident.firing) == (IncidentState.RESOLVING, 0)
    assert step.incident.policy == AT_ONCE
    assert (step.add, step.outcome) == ((Action.RESOLVE,), None)


def test_what_its_rule_left_open_for_people_is_resolved_by_them() -> None:
    for who in (MEMBER, None):
        step = resolved_by_hand(replace(OPEN, firing=0, resolve_claimed=True), who)
        assert isinstance(step, Transition)
        assert (step.incident.state, step.incident.resolve_claimed) == (IncidentState.RESOLVING, False)
        assert (step.incident.policy, step.add) == (AT_ONCE, (Action.RESOLVE,))
    for state in (IncidentState.PENDING, IncidentState.SENDING):
        assert "try again" in why(resolved_by_hand(in_state(state, firing=0), None))


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (IncidentState.RESOLVING, "its resolve is on its way"),
        (IncidentState.FOLDED, "another incident speaks for it"),
        (IncidentState.DEAD, "dead letter"),
    ],
)
def test_what_cannot_be_resolved_by_hand_says_what_to_do_instead(state: IncidentState, says: str) -> None:
    assert says in why(resolved_by_hand(in_state(state), MEMBER))


def test_what_was_never_sent_is_cancelled_by_hand_and_what_a_person_closed_there_is_over_here_too() -> None:
    for state, ends in (
        (IncidentState.PENDING, IncidentState.CANCELLED),
        (IncidentState.RESOLVED, IncidentState.RESOLVED),
    ):
        step = resolved_by_hand(in_state(state), MEMBER)
        assert isinstance(step, Transition)
        assert (step.incident.state, step.incident.live, step.incident.firing) == (ends, False, 0)


def test_what_is_let_go_stays_upstream_and_nothing_that_waited_is_told_to_it() -> None:
    held = replace(
        OPEN, renewal=BODY, renews_at=NOW, telling=Telling(note_waits=True, noted_at=NOW), resolve_claimed=False
    )
    for state in (IncidentState.OPEN, IncidentState.RESOLVING, IncidentState.RESOLVED, IncidentState.FOLDED):
        step = detached(replace(held, state=state), NOW)
        assert isinstance(step, Transition)
        one = step.incident
        assert (one.state, one.live, one.firing) == (IncidentState.RESOLVED, False, 0)
        assert (one.renewal, one.renews_at, one.resolved_at, one.reason) == (None, None, NOW, Reason.DETACHED)
        assert one.telling == Telling(noted_at=NOW)
        assert step.add == ()
        assert {Action.RESOLVE, *TOLD} <= set(step.cancel)


@pytest.mark.parametrize(
    ("state", "says"),
    [
        (IncidentState.PENDING, "nothing of it is upstream yet"),
        (IncidentState.SENDING, "try again in a few seconds"),
        (IncidentState.DEAD, "dead letter"),
    ],
)
def test_what_cannot_be_let_go_says_what_to_do_instead(state: IncidentState, says: str) -> None:
    assert says in why(detached(in_state(state), NOW))


def test_what_is_just_being_resolved_is_not_let_go() -> None:
    assert "try again" in why(detached(in_state(IncidentState.RESOLVING, resolve_claimed=True), NOW))


def test_everybody_is_paged_anew_by_a_resolve_now_and_a_new_episode_behind_it() -> None:
    waits = Telling(note_waits=True, has_updates=True)
    held = replace(OPEN, renewal=BODY, resolve_claimed=True, telling=waits)
    again = resent(held)
    assert isinstance(again, Again)
    over = again.ends.incident
    assert (over.state, over.live, over.reason) == (IncidentState.RESOLVING, False, Reason.RESENT)
    assert (over.renewal, over.resolve_claimed, over.telling) == (None, False, Telling(has_updates=True))
    assert over.policy == replace(HELD, hold_resolve=timedelta(0)), "a person means now"
    assert again.ends.add == (Action.RESOLVE,)
    assert Action.RESOLVE not in again.ends.cancel
    assert set(again.ends.cancel) >= TOLD


def test_what_a_person_closed_upstream_is_opened_anew_by_hand_without_waiting_for_its_window() -> None:
    again = resent(in_state(IncidentState.RESOLVED, renews_at=NOW, renewal=BODY))
    assert again == Again(ends=Transition(incident=in_state(IncidentState.RESOLVED, live=False, renewal=BODY)))


def test_a_dead_letter_is_sent_again_as_what_it_is() -> None:
    assert resent(in_state(IncidentState.DEAD)) == AsLetter()


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (in_state(IncidentState.PENDING), "goes by itself"),
        (in_state(IncidentState.SENDING), "try again in a few seconds"),
        (in_state(IncidentState.RESOLVING), "its resolve is on its way"),
        (in_state(IncidentState.FOLDED), "another incident speaks for it"),
        (replace(OPEN, folded=1), "it speaks for other incidents"),
        (replace(OPEN, stands_for="other"), "plan B of another incident"),
        (replace(OPEN, firing=0), "its problems are over"),
        (in_state(IncidentState.RESOLVED, firing=0), "its problems are over"),
    ],
)
def test_what_cannot_be_sent_again_says_why(one: Incident, says: str) -> None:
    assert says in why(resent(one))


def test_a_note_goes_to_an_open_incident_alone() -> None:
    for state in IncidentState:
        answer = noted_by_hand(in_state(state), "seen", waits=False)
        assert answer == {"note": "seen"} if state is IncidentState.OPEN else str(state) in why(answer)
    for waits in (False, True):
        assert noted_by_hand(OPEN, "x" * NOTE_MAX_CHARS, waits=waits) == {"note": "x" * NOTE_MAX_CHARS}
    assert f"{NOTE_MAX_CHARS + 1:,}" in why(noted_by_hand(OPEN, "x" * (NOTE_MAX_CHARS + 1), waits=False))


def test_a_note_that_becomes_a_part_of_the_summary_overwrites_nothing_and_has_to_fit() -> None:
    one = replace(OPEN, key_rule=KeyRule.FOR_EVER, summary="so far")
    assert noted_by_hand(one, "seen", waits=False) == {"note": "seen", "summary": "so far"}
    assert "is not known" in why(noted_by_hand(replace(one, summary=None), "seen", waits=False))
    assert "another note waits" in why(noted_by_hand(one, "seen", waits=True))
    full = replace(one, summary="x" * (SUMMARY_MAX_CHARS - 4))
    assert isinstance(noted_by_hand(full, "seen", waits=False), dict)
    assert "has no room" in why(noted_by_hand(full, "seen!", waits=False))
    assert noted_by_hand(replace(one, summary=""), "seen", waits=False) == {"note": "seen", "summary": ""}
