"""What a look at the upstream changes, for every state an incident can be in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Seen, Sighted
from bridge.domain.decision import OnResolve, Outcome, Policy
from bridge.domain.delivery import Action, Reason, Reference
from bridge.domain.incident import CreateBody, Incident, IncidentState, Transition
from bridge.domain.truth import (
    Trust,
    is_doubtful,
    is_over_quietly,
    is_quiet,
    looks_per_round,
    may_look,
    on_looked,
    on_reported,
    on_sighted,
)
from tests.incidents import plain_incident

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
TRUST = Trust()
BODY = CreateBody(fields={"title": "t"}, names=(), notes=())
NEWER = CreateBody(fields={"title": "worse"}, names=(), notes=())
UNTOLD = (IncidentState.PENDING, IncidentState.SENDING, IncidentState.DEAD, IncidentState.CANCELLED)
OVER = (IncidentState.RESOLVED, IncidentState.CANCELLED)
AGES = st.none() | st.integers(-600, 86_400).map(lambda seconds: NOW - timedelta(seconds=seconds))


@st.composite
def incidents(draw: st.DrawFn) -> Incident:
    """An incident as it can stand in the ledger."""
    state = draw(st.sampled_from(IncidentState))
    quiet = state is IncidentState.RESOLVED and draw(st.booleans())
    resolving = state is IncidentState.RESOLVING
    claimed = resolving and draw(st.booleans())
    idle = state in OVER and not quiet
    firing = 0 if idle or (resolving and not claimed) else draw(st.integers(1 if quiet else 0, 3))
    return plain_incident(
        state,
        live=not idle,
        firing=firing,
        resolve_claimed=claimed,
        renewal=BODY if quiet or (resolving and firing) or draw(st.booleans()) else None,
        upstream_id="P1",
        opened_at=NOW - timedelta(days=1),
        confirmed_at=NOW - timedelta(hours=3),
        resolved_at=NOW - timedelta(hours=1) if state is IncidentState.RESOLVED else None,
        renews_at=NOW + timedelta(minutes=30) if quiet else None,
        stands_for=draw(st.none() | st.just("other")) if state is IncidentState.OPEN else None,
    )


def is_open() -> Incident:
    return plain_incident(
        firing=1, renewal=BODY, upstream_id="P1", opened_at=NOW - timedelta(minutes=20), confirmed_at=NOW
    )


def is_closed_by_a_person() -> Incident:
    return replace(is_open(), state=IncidentState.RESOLVED, resolved_at=NOW, renews_at=NOW + timedelta(minutes=30))


def test_what_fires_where_a_person_closed_is_told_when_the_next_page_is_due_and_gives_it_its_words() -> None:
    joined = Transition(incident=is_closed_by_a_person(), outcome=Outcome.JOINED)
    step = on_reported(joined, NEWER, NOW, TRUST)
    assert step.incident == replace(joined.incident, renewal=NEWER)
    assert step.add == ()
    assert step.reason is not None
    assert step.reason.endswith(
        "a new one follows at 2026-01-05T12:30:00+00:00 (respect_human_close), or once it is sent again"
    )


def test_a_repetition_changes_nothing_of_what_the_next_page_says() -> None:
    for held in (is_closed_by_a_person(), is_open()):
        repeated = Transition(incident=held, outcome=Outcome.DUPLICATE)
        assert on_reported(repeated, NEWER, NOW, TRUST).incident == held


def test_what_joins_while_the_upstream_is_asked_gives_the_next_page_its_words_and_asks_no_second_time() -> None:
    told = Transition(incident=is_open(), outcome=Outcome.JOINED, add=(Action.NOTE,))
    step = on_reported(told, NEWER, NOW + timedelta(days=1), TRUST)
    assert step == replace(told, incident=replace(told.incident, renewal=NEWER))


def test_what_joins_an_incident_nobody_saw_for_long_is_told_to_it_and_asks_whether_it_is_open() -> None:
    unseen = replace(is_open(), renewal=None, confirmed_at=NOW - TRUST.confirm_open)
    told = Transition(incident=unseen, outcome=Outcome.JOINED, add=(Action.NOTE,))
    step = on_reported(told, NEWER, NOW, TRUST)
    assert step.add == (Action.NOTE, Action.CHECK)
    assert step.incident == replace(unseen, renewal=NEWER)
    assert step.reason == "the upstream is asked whether it is still open"
    again = on_reported(replace(told, reason="already a member; nothing changed"), NEWER, NOW, TRUST)
    assert again.reason == "already a member; nothing changed; the upstream is asked whether it is still open"


@pytest.mark.parametrize(
    ("seen_ago", "is_believed"),
    [
        (timedelta(minutes=59, seconds=59), True),
        (timedelta(hours=1), False),
        (-timedelta(minutes=1), True),  # two hosts' clocks
        (-timedelta(minutes=1, seconds=1), False),  # a clock that jumped back
        (None, False),
    ],
)
def test_an_open_incident_is_believed_for_confirm_open_and_a_jump_of_the_clock_does_not_stretch_that(
    seen_ago: timedelta | None, is_believed: bool
) -> None:
    seen_at = None if seen_ago is None else NOW - seen_ago
    one = replace(is_open(), renewal=None, confirmed_at=seen_at)
    assert is_doubtful(one, NOW, TRUST.confirm_open) is not is_believed


def test_nobody_doubts_what_is_not_open_what_has_no_id_upstream_and_what_is_asked_after_already() -> None:
    unseen = replace(is_open(), renewal=None, confirmed_at=None)
    others = [replace(unseen, state=state) for state in IncidentState if state is not IncidentState.OPEN]
    for one in (*others, replace(unseen, upstream_id=None), replace(unseen, renewal=BODY)):
        assert not is_doubtful(one, NOW, TRUST.confirm_open)


def test_only_what_the_upstream_has_and_we_are_not_closing_ourselves_is_looked_at() -> None:
    for state in IncidentState:
        one = replace(is_open(), state=state)
        assert not may_look(replace(one, upstream_id=None))
        assert may_look(one) == (state in (IncidentState.OPEN, IncidentState.RESOLVED, IncidentState.RESOLVING))
    resolving = replace(is_open(), state=IncidentState.RESOLVING, resolve_claimed=True)
    assert not may_look(resolving), "its answer says as much"


def sighted(seen: Seen, at: datetime | None) -> Sighted:
    return Sighted(
        source="s",
        source_type="t",
        reason="r",
        payload={},
        account="pd",
        upstream_id="P1",
        seen=seen,
        occurred_at=at,
    )


def test_what_is_seen_open_is_believed_from_then_on_and_keeps_nothing_for_a_next_page() -> None:
    for state in (IncidentState.OPEN, IncidentState.RESOLVING):
        held = replace(is_open(), state=state, confirmed_at=NOW - timedelta(hours=3))
        after = on_looked(held, Reference(id="P1", closed=False), NOW, TRUST).incident
        assert after == replace(held, confirmed_at=NOW, renewal=None)


def test_while_our_own_resolve_is_on_its_way_a_look_says_nothing() -> None:
    held = replace(is_open(), state=IncidentState.RESOLVING, resolve_claimed=True)
    for closed in (False, True):
        assert on_looked(held, Reference(id="P1", closed=closed), NOW, TRUST) == Transition(incident=held)


def test_what_a_person_closed_and_opened_again_is_open_as_if_nothing_had_been() -> None:
    closed = replace(is_closed_by_a_person(), reason=Reason.CLOSED_UPSTREAM, confirmed_at=NOW - timedelta(hours=1))
    step = on_looked(closed, Reference(id="P1", closed=False), NOW, TRUST)
    assert step.incident == replace(is_open(), renewal=None)
    assert step.revive == (Action.NOTE,), "what a person wrote and the close had cancelled"


def test_what_is_over_here_and_closed_there_stays_so() -> None:
    quiet = is_closed_by_a_person()
    for held in (quiet, replace(quiet, live=False, firing=0, renewal=None, renews_at=None)):
        assert on_looked(held, Reference(id="P1", closed=True), NOW, TRUST) == Transition(incident=held)


def test_a_person_who_closes_it_is_left_in_peace_for_respect_human_close_and_told_nothing_that_waited() -> None:
    for ago, is_left in ((timedelta(minutes=59), True), (timedelta(hours=1), False)):
        held = replace(is_open(), opened_at=NOW - timedelta(days=1))
        step = on_looked(held, Reference(id="P1", closed=True, changed_at=NOW - ago), NOW, TRUST)
        assert step.incident.reason == Reason.CLOSED_UPSTREAM
        assert (step.incident.live, step.renews) == (is_left, not is_left)
        assert {Action.RESOLVE, Action.ACKNOWLEDGE, Action.UPDATE, Action.NOTE} <= set(step.cancel)


def test_who_closes_a_plan_b_has_heard_of_it_and_is_paged_there_no_more() -> None:
    held = replace(is_open(), opened_at=NOW - timedelta(days=1), stands_for="other")
    for ago in (timedelta(0), timedelta(hours=2)):
        step = on_looked(held, Reference(id="P1", closed=True, changed_at=NOW - ago), NOW, TRUST)
        assert (step.incident.live, step.renews) == (False, False)


def test_an_event_that_is_clearly_older_than_what_is_known_says_nothing() -> None:
    minutes = timedelta(minutes=1)
    for held in (replace(is_open(), renewal=None), replace(is_closed_by_a_person(), confirmed_at=None)):
        for seen in Seen:
            step = on_sighted(held, sighted(seen, NOW - 6 * minutes), NOW, TRUST, BODY)
            assert (step.incident, step.add, step.outcome) == (held, (), Outcome.IGNORED)
            assert step.reason == "older than what is known since 2026-01-05T12:00:00+00:00"


def test_where_two_clocks_leave_open_what_came_first_the_upstream_is_asked_once() -> None:
    held = replace(is_open(), renewal=None)
    step = on_sighted(held, sighted(Seen.CLOSED, NOW - timedelta(minutes=5)), NOW, TRUST, BODY)
    assert (step.outcome, step.add) == (Outcome.SIGHTED, (Action.CHECK,))
    assert step.incident == replace(held, renewal=BODY)
    again = on_sighted(step.incident, sighted(Seen.CLOSED, NOW - timedelta(minutes=5)), NOW, TRUST, NEWER)
    assert (again.outcome, again.add, again.incident) == (Outcome.IGNORED, (), step.incident)


def test_of_the_two_clocks_nobody_is_asked_when_both_say_that_it_is_open() -> None:
    later = NOW + timedelta(minutes=10)
    step = on_sighted(is_open(), sighted(Seen.OPEN, NOW - timedelta(minutes=1)), later, TRUST, BODY)
    assert (step.add, step.incident.confirmed_at) == ((), later)


def test_a_change_of_what_is_open_is_looked_at_and_of_what_is_not_is_left_alone() -> None:
    assert on_sighted(replace(is_open(), renewal=None), sighted(Seen.CHANGED, NOW), NOW, TRUST, BODY).add
    for state in IncidentState:
        held = replace(is_open(), state=state, renewal=None, resolved_at=NOW if state in OVER else None)
        if state is not IncidentState.OPEN:
            step = on_sighted(held, sighted(Seen.CHANGED, NOW), NOW, TRUST, BODY)
            assert (step.incident, step.add, step.outcome) == (held, (), Outcome.IGNORED)


def test_an_event_of_just_before_the_end_opens_nothing_again() -> None:
    for held in (is_closed_by_a_person(), replace(is_closed_by_a_person(), live=False, firing=0, renews_at=None)):
        step = on_sighted(held, sighted(Seen.OPEN, NOW - timedelta(minutes=1)), NOW, TRUST, BODY)
        assert (step.incident, step.outcome) == (held, Outcome.IGNORED)


def test_what_was_reported_last_is_the_next_pages_even_when_an_event_tells_of_the_close() -> None:
    step = on_sighted(replace(is_open(), renewal=NEWER), sighted(Seen.CLOSED, NOW), NOW, TRUST, BODY)
    assert step.incident.renewal == NEWER


def test_a_close_longer_ago_than_respected_leaves_the_next_page_to_the_clock_at_once() -> None:
    held = replace(is_open(), opened_at=NOW - timedelta(days=1), confirmed_at=NOW - timedelta(hours=3))
    step = on_sighted(held, sighted(Seen.CLOSED, NOW - timedelta(hours=2)), NOW, TRUST, BODY)
    assert is_quiet(step.incident)
    assert is_over_quietly(step.incident, NOW, TRUST)
    assert not step.renews


def test_an_event_that_changes_nothing_leaves_no_trace() -> None:
    held = replace(is_open(), state=IncidentState.RESOLVING, resolve_claimed=True, renewal=None)
    step = on_sighted(held, sighted(Seen.CLOSED, NOW), NOW, TRUST, BODY)
    assert (step.incident, step.outcome) == (held, Outcome.IGNORED)


def test_only_what_a_person_closed_while_it_fires_has_a_quiet_time_that_ends() -> None:
    over = replace(is_closed_by_a_person(), renews_at=NOW)
    assert is_over_quietly(over, NOW, TRUST)
    for other in (replace(over, live=False), replace(over, state=IncidentState.OPEN), replace(over, renews_at=None)):
        assert not is_over_quietly(other, NOW, TRUST)


def is_resolved_by_us(**changes: Any) -> Incident:
    policy = Policy(on_resolve=OnResolve.RESOLVE)
    over = replace(is_open(), state=IncidentState.RESOLVED, live=False, firing=0, renewal=None, policy=policy)
    return replace(over, **{"resolved_at": NOW, **changes})


def test_a_resolve_that_changed_nothing_there_is_told_once_more() -> None:
    untouched = Reference(id="P1", closed=False, changed_at=NOW - timedelta(minutes=5, seconds=1))
    again = on_looked(is_resolved_by_us(), untouched, NOW, TRUST, told=1)
    assert again == Transition(incident=is_resolved_by_us(), add=(Action.RESOLVE,))


@pytest.mark.parametrize(
    ("changed_ago", "told", "on_resolve"),
    [
        (timedelta(minutes=5), 1, OnResolve.RESOLVE),  # by a person, as far as two clocks can tell
        (-timedelta(minutes=1), 1, OnResolve.RESOLVE),
        (None, 1, OnResolve.RESOLVE),
        (timedelta(hours=1), 2, OnResolve.RESOLVE),
        (timedelta(hours=1), 1, OnResolve.NOTE),
    ],
)
def test_a_person_who_opened_it_again_is_not_argued_with(
    changed_ago: timedelta | None, told: int, on_resolve: OnResolve
) -> None:
    over = is_resolved_by_us(policy=Policy(on_resolve=on_resolve))
    changed_at = None if changed_ago is None else NOW - changed_ago
    step = on_looked(over, Reference(id="P1", closed=False, changed_at=changed_at), NOW, TRUST, told=told)
    assert step == Transition(incident=replace(over, reason=Reason.REOPENED_UPSTREAM))


def test_what_ended_in_another_way_than_by_our_resolve_is_left_as_it_is() -> None:
    for over in (is_resolved_by_us(reason=Reason.CLOSED_UPSTREAM), is_resolved_by_us(resolved_at=None)):
        there = Reference(id="P1", closed=False, changed_at=NOW - timedelta(days=1))
        assert on_looked(over, there, NOW, TRUST) == Transition(incident=over)


def test_people_read_what_an_event_changed() -> None:
    for held, seen, says in (
        (is_open(), Seen.OPEN, "seen open"),
        (is_closed_by_a_person(), Seen.OPEN, "somebody opened it again"),
        (
            is_resolved_by_us(),
            Seen.OPEN,
            "somebody opened it again after it was resolved; it is left to people",
        ),
        (
            is_open(),
            Seen.CLOSED,
            "closed there; if it still fires, a new one follows at 2026-01-05T13:00:01+00:00",
        ),
        (replace(is_open(), firing=0), Seen.CLOSED, "closed there; it is over here as well"),
    ):
        later = NOW + timedelta(seconds=1, microseconds=5)
        step = on_sighted(held, sighted(seen, None), later, TRUST, BODY)
        assert (step.outcome, step.reason) == (Outcome.SIGHTED, says)


def test_what_is_over_takes_everything_along_that_waited_and_opens_nothing_later() -> None:
    step = on_looked(replace(is_open(), firing=0), Reference(id="P1", closed=True), NOW, TRUST)
    assert (step.incident.live, step.incident.renewal, step.renews) == (False, None, False)
    assert {Action.RESOLVE, Action.ACKNOWLEDGE, Action.REOPEN, Action.UPDATE, Action.NOTE, Action.CHECK} == set(
        step.cancel
    )
    unknown = on_looked(replace(is_open(), renewal=None), Reference(id="P1", closed=True), NOW, TRUST)
    assert (unknown.incident.live, unknown.renews) == (False, False), "nobody knows what it would open with"


def test_nothing_was_closed_before_it_was_opened() -> None:
    for never in (datetime.min.replace(tzinfo=UTC), NOW - timedelta(days=100)):  # Go writes the first for "no time"
        there = Reference(id="P1", closed=True, changed_at=never)
        over = on_looked(is_open(), there, NOW, TRUST).incident
        assert over.resolved_at == over.opened_at
        assert is_quiet(over)


@given(incident=incidents(), closed=st.booleans(), changed_at=AGES)
def test_a_look_never_leaves_an_incident_in_between(
    incident: Incident, closed: bool, changed_at: datetime | None
) -> None:
    ready = incident if incident.renewal is not None else replace(incident, renewal=BODY)
    step = on_looked(ready, Reference(id="P1", closed=closed, changed_at=changed_at), NOW, TRUST)
    after = step.incident
    if incident.state in UNTOLD:
        assert after == ready
    if closed and incident.state is IncidentState.OPEN:
        assert after.state is IncidentState.RESOLVED
    if not closed and incident.live:
        assert after.live
        assert step.cancel == ()
    assert not (step.renews and (after.live or after.firing == 0 or after.renewal is None or after.stands_for))
    if is_quiet(after):
        assert after.firing > 0
        assert after.renewal is not None
        assert after.renews_at is not None
        assert NOW < after.renews_at <= NOW + TRUST.respect_human_close
        assert not is_over_quietly(after, NOW, TRUST)
        assert is_over_quietly(after, after.renews_at, TRUST)
    assert Action.RESOLVE not in step.add or (incident.state is IncidentState.RESOLVED and not incident.live)


@given(incident=incidents(), seen=st.sampled_from(Seen), occurred_at=AGES)
def test_an_event_is_said_to_change_something_only_when_it_does(
    incident: Incident, seen: Seen, occurred_at: datetime | None
) -> None:
    step = on_sighted(incident, sighted(seen, occurred_at), NOW, TRUST, BODY)
    assert step.reason
    assert not step.renews, "a new episode is left to the clock"
    assert (step.outcome is Outcome.SIGHTED) == (step.incident != incident or bool(step.add))
    assert Action.RESOLVE not in step.add, "nobody is contradicted for what an event says"


def test_a_round_takes_a_twentieth_of_the_updates_and_one_at_least() -> None:
    assert looks_per_round(timedelta(minutes=1) / 600) == 30
    assert looks_per_round(timedelta(minutes=1)) == 1
