"""What follows an attempt: the schedule, and that an unknown outcome is never sent again blindly."""

from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.decision import KeyRule
from bridge.domain.delivery import (
    Action,
    AttemptResult,
    Delivered,
    KeyIsOpen,
    KeySpent,
    NothingFound,
    PermanentFailure,
    Phase,
    Reason,
    Reference,
    TransientFailure,
    UnknownOutcome,
)
from bridge.domain.lane import PARK_REFUSED
from bridge.domain.retry import (
    BACKOFF_MAX,
    Done,
    GiveUp,
    NextKey,
    NextStep,
    RetryIn,
    SendPlain,
    backoff,
    first_phase,
    next_step,
    phase_after_unknown,
)


def step(
    result: AttemptResult,
    *,
    attempt: int = 1,
    key_rule: KeyRule = KeyRule.WHILE_OPEN,
    action: Action = Action.CREATE,
    phase: Phase = Phase.SEND,
) -> NextStep:
    return next_step(result, action=action, attempt=attempt, phase=phase, key_rule=key_rule, jitter=1.0)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_backoff_is_never_longer_than_five_minutes(attempt: int, jitter: float) -> None:
    assert timedelta(0) <= backoff(attempt, jitter) <= BACKOFF_MAX


def test_backoff_doubles_from_a_second() -> None:
    assert [backoff(n, 1.0).total_seconds() for n in (1, 2, 3, 9, 10, 99)] == [1, 2, 4, 256, 300, 300]


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.CONNECTION_LOST, Reason.SERVER_ERROR])
def test_an_unknown_outcome_is_looked_up_where_there_is_a_look_up(reason: Reason) -> None:
    found = step(UnknownOutcome(reason=reason, detail=""))
    assert isinstance(found, RetryIn)
    assert (found.phase, found.sent) == (Phase.LOOK_UP, True)


def test_an_unknown_outcome_is_repeated_under_its_key_where_the_key_is_kept_for_ever() -> None:
    found = step(UnknownOutcome(reason=Reason.TIMEOUT, detail=""), key_rule=KeyRule.FOR_EVER)
    assert isinstance(found, RetryIn)
    assert found.phase is Phase.SEND


@pytest.mark.parametrize("reason", [Reason.RATE_LIMITED, Reason.AUTH])
def test_what_parks_the_lane_leaves_the_delivery_due_and_unsent(reason: Reason) -> None:
    found = step(TransientFailure(reason=reason, detail="", retry_after_s=900), attempt=50)
    assert found == RetryIn(delay=timedelta(0), phase=Phase.SEND, reason=reason, sent=False)


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 75), (2, 150), (3, 300), (40, 300)])
def test_what_is_forbidden_lets_others_try_first(attempt: int, seconds: int) -> None:
    found = step(TransientFailure(reason=Reason.FORBIDDEN, detail=""), attempt=attempt)
    wanted = timedelta(seconds=seconds)
    assert found == RetryIn(delay=wanted, phase=Phase.SEND, reason=Reason.FORBIDDEN, sent=False)
    assert wanted > PARK_REFUSED


def test_an_open_key_is_looked_up_at_once_and_later_with_patience() -> None:
    first, late = step(KeyIsOpen(detail="")), step(KeyIsOpen(detail=""), attempt=9)
    assert isinstance(first, RetryIn)
    assert isinstance(late, RetryIn)
    assert (first.phase, first.delay) == (Phase.LOOK_UP, timedelta(0))
    assert late.delay > timedelta(minutes=1)


def test_nothing_found_sends_again_at_once_and_from_the_third_attempt_on_with_patience() -> None:
    for attempt, seconds in ((1, 0), (2, 0), (3, 4), (4, 8)):  # the upstream's list can lag behind its creates
        wanted = timedelta(seconds=seconds)
        found = step(NothingFound(detail=""), attempt=attempt, phase=Phase.LOOK_UP)
        assert found == RetryIn(delay=wanted, phase=Phase.SEND, reason=Reason.NOTHING_FOUND, sent=True)
        known = step(KeyIsOpen(detail=""), attempt=attempt)
        assert known == RetryIn(delay=wanted, phase=Phase.LOOK_UP, reason=Reason.KEY_OPEN, sent=True)


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.CONNECTION_LOST, Reason.SERVER_ERROR])
def test_only_a_change_that_may_have_landed_is_held_for_sent(reason: Reason) -> None:
    failure = TransientFailure(reason=reason, detail="")
    for action, phase in product((Action.CREATE, Action.RESOLVE, Action.UPDATE), Phase):
        found = step(failure, action=action, phase=phase)
        assert isinstance(found, RetryIn)
        assert found.sent == (action is not Action.CREATE and phase is Phase.SEND)
        assert found.phase is phase
    refused = step(TransientFailure(reason=Reason.RATE_LIMITED, detail=""), action=Action.RESOLVE)
    assert isinstance(refused, RetryIn)
    assert not refused.sent


def test_a_refused_close_is_final_where_a_key_finds_it_or_where_it_was_no_close() -> None:
    refusal = PermanentFailure(reason=Reason.REFUSED, detail="")
    assert step(refusal, action=Action.RESOLVE) == GiveUp(reason=Reason.REFUSED)
    assert step(refusal, action=Action.UPDATE, key_rule=KeyRule.FOR_EVER) == GiveUp(reason=Reason.REFUSED)
    other = PermanentFailure(reason=Reason.PAYMENT_REQUIRED, detail="")
    given_up = step(other, action=Action.RESOLVE, key_rule=KeyRule.FOR_EVER)
    assert given_up == GiveUp(reason=Reason.PAYMENT_REQUIRED)


def test_the_ends() -> None:
    reference = Reference(id="P1")
    assert step(Delivered(reference=reference)) == Done(reference=reference, adopted=False)
    assert step(PermanentFailure(reason=Reason.REFUSED, detail="")) == GiveUp(reason=Reason.REFUSED)
    assert step(KeySpent(reference=reference, detail="")) == NextKey()


@pytest.mark.parametrize("reason", [Reason.BAD_REQUEST, Reason.PAYMENT_REQUIRED, Reason.NOT_FOUND])
def test_only_a_create_that_was_refused_for_what_it_holds_is_sent_plain(reason: Reason) -> None:
    refusal = PermanentFailure(reason=reason, detail="no")
    assert step(refusal) == SendPlain(refusal=refusal)
    assert step(refusal, action=Action.RESOLVE) == GiveUp(reason=reason)


@pytest.mark.parametrize("reason", [Reason.BAD_REQUEST, Reason.PAYMENT_REQUIRED, Reason.NOT_FOUND, Reason.REFUSED])
def test_a_refused_question_does_not_end_a_create_that_may_never_have_landed(reason: Reason) -> None:
    found = step(PermanentFailure(reason=reason, detail="no"), attempt=2, phase=Phase.LOOK_UP)
    assert found == RetryIn(delay=timedelta(seconds=2), phase=Phase.SEND, reason=reason, sent=True)


@pytest.mark.parametrize("reason", [Reason.BAD_REQUEST, Reason.REFUSED])
def test_a_refused_close_is_looked_up_once_where_people_end_incidents_in_other_ways(reason: Reason) -> None:
    refusal = PermanentFailure(reason=reason, detail="")
    asks = RetryIn(delay=timedelta(0), phase=Phase.LOOK_UP, reason=reason, sent=False)
    assert step(refusal, action=Action.RESOLVE, key_rule=KeyRule.FOR_EVER) == asks
    refused_again = step(refusal, action=Action.RESOLVE, key_rule=KeyRule.FOR_EVER, phase=Phase.LOOK_UP)
    assert refused_again == GiveUp(reason=reason)


def test_a_question_that_cannot_be_built_ends_its_create() -> None:
    failure = PermanentFailure(reason=Reason.NOT_BUILT, detail="our own fault")
    assert step(failure, phase=Phase.LOOK_UP) == GiveUp(reason=Reason.NOT_BUILT)


@pytest.mark.parametrize("reason", [Reason.AUTH, Reason.FORBIDDEN])
def test_a_question_the_key_may_not_ask_is_asked_again_and_not_sent_blindly(reason: Reason) -> None:
    found = step(TransientFailure(reason=reason, detail=""), phase=Phase.LOOK_UP)
    assert isinstance(found, RetryIn)
    assert found.phase is Phase.LOOK_UP


@pytest.mark.parametrize("key_rule", KeyRule)
def test_what_may_be_there_twice_is_looked_for_where_it_can_be(key_rule: KeyRule) -> None:
    looked_for = {action for action in Action if phase_after_unknown(action, key_rule) is Phase.LOOK_UP}
    notes_and_creates = {Action.CREATE, Action.NOTE, Action.ACKNOWLEDGE}
    assert looked_for == (notes_and_creates if key_rule is KeyRule.WHILE_OPEN else {Action.NOTE})


@pytest.mark.parametrize(
    ("key_rule", "action"), [(KeyRule.WHILE_OPEN, Action.ACKNOWLEDGE), (KeyRule.FOR_EVER, Action.NOTE)]
)
def test_what_would_undo_what_a_person_did_asks_first(key_rule: KeyRule, action: Action) -> None:
    assert {one for one in Action if first_phase(one, key_rule) is Phase.LOOK_UP} == {action}
