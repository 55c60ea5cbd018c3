"""Which creates of a late lane go out together, and what is said for all of them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Severity
from bridge.domain.folding import (
    FOLD_MAX,
    LISTED_MAX,
    FoldForm,
    Listed,
    Waiting,
    carried,
    folded_into,
    frozen_body,
    is_still_behind,
    joined_note,
    listed,
    most_severe,
    takes_more_since,
)
from bridge.domain.incident import CreateBody
from bridge.domain.lane import LaneState, Pace, order_key

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PACE = Pace(
    interval=timedelta(seconds=5),
    burst=4,
    reserve=1,
    update_interval=timedelta(seconds=1),
    promote_after=MINUTE,
    give_up_after=timedelta(hours=24),
    max_wait=2 * MINUTE,
)
FULL = LaneState(name="pd", create_tat=NOW, update_tat=NOW)
FORM = FoldForm(title_field="title", body_field="body", title_max_chars=60, body_max_chars=2_000)
EMPTY = CreateBody(fields={"title": "db is down", "body": "All of it."}, names=(), notes=())


def waiting(number: int, severity: Severity = Severity.ERROR, key: str = "k", target: str = "t") -> Waiting:
    return Waiting(
        delivery=f"d{number:04}",
        incident=f"i{number}",
        series=f"s{number}",
        severity=severity,
        order_key=order_key(severity, 1_000_000 * number, MINUTE),
        fold_key=key,
        fold_target=target,
        title=f"problem {number}",
        firing=1,
    )


lines = st.lists(
    st.builds(
        lambda severity, key, target: (severity, key, target),
        st.sampled_from(tuple(Severity)),
        st.sampled_from("kl"),
        st.sampled_from(("t", "u", "")),
    ),
    max_size=40,
).map(lambda drawn: [waiting(number, *one) for number, one in enumerate(drawn)])


# -- who


@given(lines, st.booleans())
def test_a_line_goes_out_with_every_create_in_exactly_one_incident(line: list[Waiting], by_target: bool) -> None:
    left = sorted(line, key=lambda one: one.order_key)
    sent: list[str] = []
    while left:
        carrier, *others = left
        group = folded_into(carrier, others, by_target=by_target)
        sent += [carrier.delivery, *(one.delivery for one in group)]
        left = [one for one in others if one not in group]
    assert sorted(sent) == sorted(one.delivery for one in line)


@given(lines, st.booleans())
def test_nobody_folds_into_what_reaches_other_people(line: list[Waiting], by_target: bool) -> None:
    for carrier in line:
        for one in folded_into(carrier, line, by_target=by_target):
            assert one.fold_target == carrier.fold_target != ""
            assert one.fold_key == carrier.fold_key or (by_target and one.severity is Severity.CRITICAL)
            assert one != carrier


def test_no_more_fold_at_once_than_one_transaction_bears() -> None:
    line = [waiting(number) for number in range(FOLD_MAX + 10)]
    assert len(folded_into(line[0], reversed(line), by_target=False)) == FOLD_MAX
    assert folded_into(line[0], reversed(line), by_target=False)[0] == line[1]


def test_only_criticals_fold_across_keys() -> None:
    line = [
        waiting(1, Severity.CRITICAL),
        waiting(2, Severity.CRITICAL, key="l"),
        waiting(3, Severity.ERROR, key="l"),
        waiting(4, Severity.INFO),
    ]
    assert folded_into(line[0], line, by_target=True) == (line[1], line[3])
    assert folded_into(line[3], line, by_target=True) == (line[0],)


# -- when


def test_what_max_wait_carries_is_the_rate_and_the_tokens_left() -> None:
    assert carried(PACE, FULL, NOW) == 28
    empty = LaneState(name="pd", create_tat=NOW + 4 * PACE.interval, update_tat=NOW)
    assert carried(PACE, empty, NOW) == 24
    halved = LaneState(name="pd", create_tat=NOW + 40 * PACE.interval, update_tat=NOW, slowed_to=0.5, slowed_at=NOW)
    assert carried(PACE, halved, NOW) == 12


def test_a_lane_has_caught_up_when_its_bucket_was_full_for_a_while() -> None:
    behind = LaneState(name="pd", create_tat=NOW + PACE.interval, update_tat=NOW, behind_since=NOW)
    assert is_still_behind(PACE, behind, NOW + timedelta(seconds=19))
    assert not is_still_behind(PACE, behind, NOW + timedelta(seconds=20))
    assert not is_still_behind(PACE, FULL, NOW)


def test_a_carrier_takes_no_more_along_after_a_while_so_that_a_long_storm_pages_again() -> None:
    behind = LaneState(name="pd", create_tat=NOW, update_tat=NOW, behind_since=NOW)
    assert takes_more_since(PACE, behind, NOW + MINUTE) == NOW
    assert takes_more_since(PACE, behind, NOW + 25 * MINUTE) == NOW + 15 * MINUTE
    assert takes_more_since(PACE, FULL, NOW) is None


# -- what is said


@given(st.lists(st.sampled_from(tuple(Severity)), min_size=2, max_size=300))
def test_a_frozen_body_fits_counts_everybody_and_names_the_worst_first(severities: list[Severity]) -> None:
    line = [waiting(number, severity) for number, severity in enumerate(severities)]
    best = most_severe(line)
    body = frozen_body(EMPTY, EMPTY, listed(line), FORM)
    assert body.fields["title"] == f"{len(line)} alerts: db is down"
    text = body.fields["body"]
    assert len(text) <= FORM.body_max_chars
    assert text.splitlines()[1] == f"- {best.severity.value}: {best.title}"
    assert body.own == EMPTY


@given(st.lists(st.integers(min_value=1, max_value=9), min_size=1, max_size=250))
def test_lists_are_bounded_and_the_rest_is_counted(numbers: list[int]) -> None:
    every = [Listed(severity=Severity.ERROR, title="x" * 10, alerts=number) for number in numbers]
    text = joined_note(None, every)["note"]
    shown = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(shown) == min(len(every), LISTED_MAX)
    assert text.startswith(f"{sum(numbers)} more alert")
    rest = sum(numbers[LISTED_MAX:])
    assert text.endswith(f"and {rest} more") == (rest > 0)


@given(st.lists(st.lists(st.sampled_from(tuple(Severity)), min_size=1, max_size=80), min_size=1, max_size=5))
def test_a_note_that_grows_says_as_much_as_one_that_is_written_at_once(parts: list[list[Severity]]) -> None:
    made = [[Listed(severity=one, title=f"{n}", alerts=1) for one in part] for n, part in enumerate(parts)]
    grown = None
    for part in made:
        grown = joined_note(grown, part)
    at_once = joined_note(None, [line for part in made for line in part])
    assert grown is not None
    assert grown["note"].splitlines()[0] == at_once["note"].splitlines()[0]
    assert grown["counted"] == at_once["counted"]


@pytest.mark.parametrize("limit", [10, 100, 1000])
def test_hostile_titles_leave_room_for_the_list(limit: int) -> None:
    form = FoldForm(title_field="title", body_field="body", title_max_chars=limit, body_max_chars=limit)
    loud = CreateBody(fields={"title": "x" * 5000, "body": "y" * 99_999}, names=(), notes=())
    body = frozen_body(loud, loud, [Listed(severity=Severity.ERROR, title="z" * 5000, alerts=3)], form)
    assert len(body.fields["title"]) <= limit
    assert len(body.fields["body"]) <= limit
    assert body.fields["title"].startswith("3 alerts:")
