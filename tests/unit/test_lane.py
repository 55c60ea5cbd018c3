"""Lanes: the pace is never exceeded, criticals keep their token, parking is believed but bounded."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Severity
from bridge.domain.delivery import (
    Delivered,
    KeyIsOpen,
    KeySpent,
    LaneClass,
    NothingFound,
    PermanentFailure,
    Reason,
    Reference,
    TransientFailure,
    UnknownOutcome,
)
from bridge.domain.lane import (
    ARMED,
    CRITICAL_FIRST,
    PARK_MAX,
    LaneState,
    Pace,
    Slot,
    after,
    behind_the_others,
    failing_share,
    held_by,
    in_its_place,
    interval,
    is_ahead,
    is_failing,
    offered,
    order_key,
    parked_sentence,
    reserve_of,
    sane,
    slot,
    slot_at,
    speed,
    starts_at,
    take,
    tokens,
)

NOW = datetime(2026, 8, 1, 3, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PACE = Pace(
    interval=timedelta(seconds=5),
    burst=4,
    reserve=1,
    update_interval=timedelta(milliseconds=100),
    promote_after=timedelta(seconds=60),
    give_up_after=timedelta(hours=24),
)
FRESH = LaneState(name="pd", create_tat=NOW, update_tat=NOW)
CREATE, UPDATE = LaneClass.CREATE, LaneClass.UPDATE


def limited(seconds: float | None) -> TransientFailure:
    return TransientFailure(reason=Reason.RATE_LIMITED, detail="429", retry_after_s=seconds)


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=200))
def test_no_window_holds_more_creates_than_its_share_and_the_burst(waits_ms: list[int]) -> None:
    state, now, starts = FRESH, NOW, []
    for wait_ms in waits_ms:
        now += timedelta(milliseconds=wait_ms)
        if slot(PACE, state, CREATE, now, in_flight=0).critical:
            state = take(PACE, state, CREATE, now)
            starts.append(now)
    for first in starts:
        window = [at for at in starts if first <= at < first + timedelta(seconds=60)]
        assert len(window) <= 12 + PACE.burst


def test_the_last_token_is_for_a_critical_only() -> None:
    state = FRESH
    for _ in range(3):
        assert slot(PACE, state, CREATE, NOW, in_flight=0).anyone
        state = take(PACE, state, CREATE, NOW)
    reserved = slot(PACE, state, CREATE, NOW, in_flight=0)
    assert (reserved.anyone, reserved.critical) == (False, True)
    state = take(PACE, state, CREATE, NOW)
    assert not slot(PACE, state, CREATE, NOW, in_flight=0).critical


def test_a_slot_comes_exactly_when_it_was_announced() -> None:
    state = FRESH
    for _ in range(4):
        state = take(PACE, state, CREATE, NOW)
    for critical in (True, False):
        at = slot_at(PACE, state, CREATE, NOW, critical=critical)
        before = slot(PACE, state, CREATE, at - timedelta(milliseconds=1), in_flight=0)
        then = slot(PACE, state, CREATE, at, in_flight=0)
        assert not (before.critical if critical else before.anyone)
        assert then.critical if critical else then.anyone


@pytest.mark.parametrize(
    ("burst", "wanted", "kept"), [(1, None, 0), (2, None, 1), (4, None, 1), (40, None, 10), (4, 9, 3)]
)
def test_the_reserve_is_a_quarter_at_least_one_and_never_everything(burst: int, wanted: int | None, kept: int) -> None:
    assert reserve_of(burst, wanted) == kept


def test_order_is_critical_first_then_age_with_a_minute_for_each_step_down() -> None:
    at = 1_800_000_000_000_000
    minute = PACE.promote_after
    key = {name: order_key(Severity(name), at, minute) for name in ("critical", "error", "warning", "info")}
    assert sorted(key, key=lambda name: key[name]) == ["critical", "error", "warning", "info"]
    assert order_key(Severity.CRITICAL, at + 10**12, minute) < key["error"]
    assert key["warning"] == order_key(Severity.ERROR, at + 60_000_000, minute)


@pytest.mark.parametrize(
    ("says", "parked_s"), [(20.0, 20), (0.0, 1), (86_400.0, 900), (None, 60)], ids=["20 s", "0 s", "a day", "nothing"]
)
def test_a_429_on_create_parks_as_long_as_it_says_within_bounds(says: float | None, parked_s: int) -> None:
    state = after(FRESH, CREATE, limited(says), NOW)
    assert not slot(PACE, state, CREATE, NOW + timedelta(seconds=parked_s) - SECOND / 2, in_flight=0).critical
    assert slot(PACE, state, CREATE, NOW + timedelta(seconds=parked_s), in_flight=0).critical
    assert slot(PACE, state, UPDATE, NOW, in_flight=0).anyone


def test_a_429_halves_the_rate_which_comes_back_over_ten_minutes() -> None:
    state = after(FRESH, CREATE, limited(1), NOW)
    assert speed(state, NOW) == 0.5
    assert interval(PACE, state, CREATE, NOW) == timedelta(seconds=10)
    assert speed(state, NOW + timedelta(minutes=5)) == 0.75
    assert [speed(state, NOW + timedelta(minutes=m)) for m in (10, 11, 90)] == [1.0] * 3, "and never above"
    assert speed(state, NOW - timedelta(minutes=1)) == 0.5, "whatever the clock does"
    assert interval(PACE, state, UPDATE, NOW) == PACE.update_interval


def test_a_refused_key_parks_the_whole_lane_and_says_what_to_do() -> None:
    state = after(FRESH, UPDATE, TransientFailure(reason=Reason.AUTH, detail="401"), NOW)
    assert not slot(PACE, state, CREATE, NOW, in_flight=0).critical
    assert "check token and region" in (parked_sentence(state, NOW) or "")
    assert slot(PACE, state, CREATE, NOW + timedelta(seconds=60), in_flight=0).critical


def test_a_forbidden_action_parks_its_class_alone() -> None:
    state = after(FRESH, CREATE, TransientFailure(reason=Reason.FORBIDDEN, detail="403"), NOW)
    assert not slot(PACE, state, CREATE, NOW, in_flight=0).critical
    assert slot(PACE, state, UPDATE, NOW, in_flight=0).anyone


def test_a_success_that_says_nothing_is_left_parks_its_class() -> None:
    state = after(FRESH, CREATE, Delivered(reference=None, exhausted_s=30.0), NOW)
    assert not slot(PACE, state, CREATE, NOW + timedelta(seconds=29), in_flight=0).critical
    assert slot(PACE, state, CREATE, NOW + timedelta(seconds=30), in_flight=0).critical


def test_after_three_failures_one_probe_at_a_time_until_an_answer_mends_it() -> None:
    down = UnknownOutcome(reason=Reason.SERVER_ERROR, detail="503")
    state = FRESH
    for _ in range(3):
        assert not is_failing(state)
        state = after(state, CREATE, down, NOW)
    assert not slot(PACE, state, CREATE, NOW, in_flight=0).critical
    later = NOW + timedelta(seconds=10)
    assert slot(PACE, state, CREATE, later, in_flight=0).critical
    assert not slot(PACE, state, UPDATE, later, in_flight=1).anyone
    probing = take(PACE, state, CREATE, later)
    assert not slot(PACE, probing, UPDATE, later, in_flight=0).anyone
    mended = after(probing, CREATE, PermanentFailure(reason=Reason.BAD_REQUEST, detail="400"), later)
    assert slot(PACE, mended, UPDATE, later, in_flight=0).anyone


def test_probes_are_ten_to_sixty_seconds_apart() -> None:
    state, gaps = FRESH, []
    for _ in range(8):
        state = after(state, CREATE, UnknownOutcome(reason=Reason.TIMEOUT, detail=""), NOW)
        if state.probe_at is not None:
            gaps.append((state.probe_at - NOW).total_seconds())
    assert gaps == [10, 20, 40, 60, 60, 60]


def test_updates_have_a_bucket_of_ten_of_their_own_and_no_token_kept_back() -> None:
    state = FRESH
    for _ in range(10):
        assert slot(PACE, state, UPDATE, NOW, in_flight=0) == Slot(anyone=True, critical=True)
        state = take(PACE, state, UPDATE, NOW)
    assert slot(PACE, state, UPDATE, NOW, in_flight=0) == Slot(anyone=False, critical=False)
    assert state.create_tat == FRESH.create_tat, "no create waits for them"
    at = slot_at(PACE, state, UPDATE, NOW, critical=False)
    assert at == NOW + PACE.update_interval
    assert slot(PACE, state, UPDATE, at, in_flight=0).anyone
    assert tokens(PACE, state, UPDATE, NOW + timedelta(days=1)) == 10, "what is not used is not saved"


def test_an_hour_of_quiet_saves_up_no_more_than_the_burst() -> None:
    later = NOW + timedelta(hours=1)
    state = FRESH
    for _ in range(PACE.burst):
        assert slot(PACE, state, CREATE, later, in_flight=0).critical
        state = take(PACE, state, CREATE, later)
    assert not slot(PACE, state, CREATE, later, in_flight=0).critical


def test_the_next_slot_is_announced_behind_what_the_upstream_asked_for_and_behind_the_next_probe() -> None:
    parked = after(FRESH, UPDATE, limited(20), NOW)
    assert slot_at(PACE, parked, UPDATE, NOW, critical=False) == NOW + 20 * SECOND
    failing = replace(FRESH, failures=3, probe_at=NOW + 40 * SECOND)
    assert slot_at(PACE, failing, CREATE, NOW, critical=True) == NOW + 40 * SECOND
    assert slot_at(PACE, replace(failing, failures=2), CREATE, NOW, critical=True) == NOW


@pytest.mark.parametrize(
    ("of", "ahead", "seconds"),
    [
        (CREATE, 0, 0), (CREATE, 3, 0), (CREATE, 4, 5), (CREATE, 6, 15),  # a burst of four, then one in five seconds
        (UPDATE, 0, 0), (UPDATE, 9, 0), (UPDATE, 10, 0.1), (UPDATE, 20, 1.1),
    ],
)  # fmt: skip
def test_who_waits_behind_others_is_told_when_its_turn_comes(of: LaneClass, ahead: int, seconds: float) -> None:
    at = starts_at(PACE, FRESH, of, NOW, critical=True, ahead=ahead)
    assert at == NOW + timedelta(seconds=seconds)
    parked = after(FRESH, of, Delivered(reference=None, exhausted_s=30.0), NOW)
    gap = PACE.interval if of is CREATE else PACE.update_interval
    assert starts_at(PACE, parked, of, NOW, critical=True, ahead=ahead) == NOW + 30 * SECOND + gap * ahead


def test_in_an_empty_bucket_nobody_ahead_is_counted_twice() -> None:
    state = FRESH
    for _ in range(PACE.burst):
        state = take(PACE, state, CREATE, NOW)
    for ahead in (0, 1, 5):
        at = starts_at(PACE, state, CREATE, NOW, critical=True, ahead=ahead)
        assert at == NOW + PACE.interval * (1 + ahead)


def test_a_probe_of_an_update_puts_the_next_one_off_as_well() -> None:
    failing = replace(FRESH, failures=3, probe_at=NOW)
    for of in LaneClass:
        assert take(PACE, failing, of, NOW).probe_at == NOW + 10 * SECOND
    assert take(PACE, FRESH, UPDATE, NOW).probe_at is None


def test_a_healthy_lane_has_calls_of_both_classes_under_way_and_a_failing_one_a_single_call() -> None:
    for failures, may in ((2, True), (3, False)):
        state = replace(FRESH, failures=failures)
        assert slot(PACE, state, CREATE, NOW, in_flight=1).critical is may
        assert slot(PACE, state, CREATE, NOW, in_flight=0).critical, "nothing was asked since it began to fail"


def test_any_usable_answer_ends_the_failing() -> None:
    failing = replace(FRESH, failures=4, probe_at=NOW)
    reference = Reference(id="P1")
    for answer in (
        Delivered(reference=reference),
        KeySpent(reference=reference, detail=""),
        KeyIsOpen(detail=""),
        NothingFound(detail=""),
        PermanentFailure(reason=Reason.REFUSED, detail=""),
    ):
        assert after(failing, CREATE, answer, NOW) == FRESH
    for refusal in (limited(1), TransientFailure(reason=Reason.AUTH, detail="")):
        mended = after(failing, CREATE, refusal, NOW)
        assert (mended.failures, mended.probe_at) == (0, None)
    for reason in (Reason.TIMEOUT, Reason.CONNECTION_LOST, Reason.SERVER_ERROR, Reason.UNREADABLE_ANSWER):
        for none in (UnknownOutcome(reason=reason, detail=""), TransientFailure(reason=reason, detail="")):
            worse = after(replace(failing, failures=2, probe_at=None), UPDATE, none, NOW)
            assert (worse.failures, worse.probe_at) == (3, NOW + 10 * SECOND)


def test_failures_that_are_not_in_a_row_make_no_lane_a_failing_one() -> None:
    down = UnknownOutcome(reason=Reason.SERVER_ERROR, detail="503")
    state = FRESH
    for answer in (down, down, Delivered(reference=None), down, down):
        state = after(state, CREATE, answer, NOW)
    assert not is_failing(state)
    assert is_failing(after(state, CREATE, down, NOW))


def test_the_longer_of_two_waits_holds_and_so_does_its_reason() -> None:
    state = after(FRESH, CREATE, limited(900), NOW)
    refused = after(state, CREATE, TransientFailure(reason=Reason.AUTH, detail=""), NOW)
    assert (refused.create_parked_until, refused.create_parked_why) == (NOW + 900 * SECOND, Reason.RATE_LIMITED)
    assert (refused.update_parked_until, refused.update_parked_why) == (NOW + 60 * SECOND, Reason.AUTH)
    longer = after(after(FRESH, CREATE, limited(20), NOW), CREATE, limited(30), NOW)
    assert longer.create_parked_until == NOW + 30 * SECOND


def test_what_holds_a_lane_is_known_by_a_word() -> None:
    assert held_by(FRESH, NOW) is None
    paused = replace(FRESH, paused_at=NOW, failures=3)
    assert held_by(paused, NOW) == "paused"
    assert held_by(replace(FRESH, failures=3), NOW) == "failing"
    for of in LaneClass:
        state = after(FRESH, of, TransientFailure(reason=Reason.FORBIDDEN, detail=""), NOW)
        assert held_by(state, NOW + 59 * SECOND) == "forbidden"
        assert held_by(state, NOW + 60 * SECOND) is None
        assert "check its permissions" in (parked_sentence(state, NOW) or "")
        spent = after(FRESH, of, Delivered(reference=None, exhausted_s=30.0), NOW)
        assert held_by(spent, NOW) == "exhausted"
        assert "nothing is left" in (parked_sentence(spent, NOW) or "")


def test_failing_upstreams_hold_half_of_the_workers_and_one_at_least() -> None:
    assert [failing_share(workers) for workers in (0, 1, 2, 3, 4, 9)] == [1, 1, 1, 1, 2, 4]


def test_what_was_never_asked_of_the_upstream_says_nothing_about_it() -> None:
    down = replace(FRESH, failures=2)
    for result in (
        TransientFailure(reason=Reason.NOT_BUILT, detail=""),
        PermanentFailure(reason=Reason.NOT_BUILT, detail=""),
    ):
        assert after(down, CREATE, result, NOW) == down


def test_a_429_on_an_update_slows_no_creates_and_parks_updates_for_five_seconds_when_it_names_no_time() -> None:
    state = after(FRESH, UPDATE, limited(None), NOW)
    assert state.update_parked_until == NOW + 5 * SECOND
    assert speed(state, NOW) == 1.0
    assert slot(PACE, state, CREATE, NOW, in_flight=0).anyone


def test_however_many_429s_come_a_sixteenth_of_the_rate_is_left() -> None:
    state = FRESH
    for _ in range(8):
        state = after(state, CREATE, limited(1), NOW)
    assert interval(PACE, state, CREATE, NOW) == PACE.interval * 16


def test_what_waits_says_for_how_long_and_of_a_pause_that_is_over_nothing() -> None:
    state = after(FRESH, UPDATE, limited(20), NOW)
    assert (parked_sentence(state, NOW) or "").startswith("updates wait 20 s: the upstream answered 429")
    assert (parked_sentence(state, NOW + timedelta(seconds=19.9)) or "").startswith("updates wait 1 s:")
    assert parked_sentence(state, NOW + 20 * SECOND) is None
    failing = replace(FRESH, failures=3)
    assert (parked_sentence(failing, NOW) or "").startswith("3 calls in a row brought no usable answer")


def test_a_paused_lane_starts_nothing() -> None:
    state = LaneState(name="pd", create_tat=NOW, update_tat=NOW, paused_at=NOW)
    assert not slot(PACE, state, UPDATE, NOW, in_flight=0).anyone
    assert "paused" in (parked_sentence(state, NOW) or "")


def test_an_hour_on_the_clock_freezes_nothing() -> None:
    ahead = NOW + timedelta(hours=1)
    state = LaneState(
        name="pd",
        create_tat=ahead,
        update_tat=ahead,
        create_parked_until=ahead,
        create_parked_why=Reason.RATE_LIMITED,
        probe_at=ahead,
        failures=9,
        armed_until=ahead,
    )
    back = sane(PACE, state, NOW)
    assert back.create_parked_until == NOW + PARK_MAX
    assert back.armed_until == NOW + ARMED
    assert slot(PACE, back, UPDATE, NOW + timedelta(seconds=60), in_flight=0).anyone
    assert tokens(PACE, back, UPDATE, NOW + timedelta(seconds=3)) > 1


def test_only_what_no_answer_can_have_asked_for_is_taken_for_a_jump_of_the_clock() -> None:
    state = FRESH
    for _ in range(PACE.burst):
        state = take(PACE, state, CREATE, NOW)
    for _ in range(10):
        state = take(PACE, state, UPDATE, NOW)
    asked = after(after(state, CREATE, limited(900), NOW), UPDATE, limited(900), NOW)
    assert not is_ahead(PACE, asked, NOW)
    assert sane(PACE, asked, NOW) == asked
    back = NOW - timedelta(minutes=5)
    assert is_ahead(PACE, asked, back)
    for name in ("create_tat", "update_tat", "create_parked_until", "update_parked_until", "slowed_at", "behind_since"):
        jumped = replace(FRESH, **{name: NOW + timedelta(hours=1)})  # type: ignore[arg-type]
        assert is_ahead(PACE, jumped, NOW)
        assert not is_ahead(PACE, sane(PACE, jumped, NOW), NOW)


def test_what_was_refused_is_behind_everything_and_the_critical_is_first_there() -> None:
    now_us = 1_790_000_000_000_000
    keys = [order_key(one, now_us, PACE.promote_after) for one in Severity]
    a_look = now_us + CRITICAL_FIRST  # of the sweep, that goes when nothing else waits
    refused = [behind_the_others(key) for key in keys]
    assert min(refused) > max(*keys, a_look)
    assert sorted(refused) == [behind_the_others(key) for key in sorted(keys)]
    assert [behind_the_others(key) for key in refused] == refused
    assert [in_its_place(key) for key in (*refused, *keys)] == keys * 2


@pytest.mark.parametrize(
    ("failures", "first"),
    [(0, LaneClass.CREATE), (1, LaneClass.CREATE), (2, LaneClass.CREATE), (3, LaneClass.UPDATE), (4, LaneClass.CREATE)],
)
def test_every_other_probe_of_a_failing_lane_is_for_what_waits_behind_its_creates(
    failures: int, first: LaneClass
) -> None:
    classes = offered(replace(FRESH, failures=failures))
    assert (classes[0], set(classes)) == (first, set(LaneClass))
