"""Which creates of a late lane go out together, and what is said for all of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Severity
from bridge.domain.delivery import Action, Reason
from bridge.domain.folding import (
    FOLD_MAX,
    LISTED_MAX,
    Afterwards,
    FoldForm,
    Listed,
    Waiting,
    afterwards,
    behind_sentence,
    carried,
    carrier_fires,
    carries_on,
    carrying,
    folded_into,
    frozen_body,
    is_still_behind,
    joined_note,
    list_of,
    listed,
    may_join,
    most_severe,
    note_due_at,
    takes_more_since,
    without_folded,
)
from bridge.domain.incident import CreateBody, Incident, IncidentState, Transition
from bridge.domain.lane import LaneState, Pace, order_key
from tests.incidents import plain_incident

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


def carrier(state: IncidentState = IncidentState.OPEN, **changes: Any) -> Incident:
    return plain_incident(state, **{"id": "c", "firing": 3, "folded": 2, "opened_at": NOW, **changes})


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


# -- what joins later


def test_a_note_at_the_carrier_is_enough_for_what_is_no_worse_while_something_of_it_fires() -> None:
    takes = (IncidentState.PENDING, IncidentState.SENDING, IncidentState.OPEN)
    for state in IncidentState:
        assert may_join(carrier(state), Severity.ERROR) == (state in takes)
    assert may_join(carrier(firing=1), Severity.WARNING)
    assert not may_join(carrier(), Severity.CRITICAL), "a note pages nobody"
    assert not may_join(carrier(firing=0), Severity.ERROR), "its resolve may wait behind its create already"
    assert not may_join(carrier(live=False), Severity.ERROR)


def test_a_carrier_is_as_severe_as_its_worst_and_open_for_as_long_as_anything_in_it_fires() -> None:
    more = [waiting(1, Severity.CRITICAL), replace(waiting(2, Severity.INFO), firing=4)]
    assert carrying(carrier(), more) == replace(carrier(), folded=4, firing=8, severity=Severity.CRITICAL)
    assert carrying(carrier(), more[1:]).severity is Severity.ERROR
    assert carrying(carrier(severity=Severity.WARNING), more[1:]).severity is Severity.WARNING


def test_of_equals_the_first_in_the_line_speaks_and_is_named_first() -> None:
    early, late = waiting(1, Severity.WARNING), waiting(2, Severity.WARNING)
    twin = replace(early, delivery="d0002")
    assert most_severe([late, twin, early]) == early
    assert [line.title for line in listed([late, early])] == ["problem 1", "problem 2"]
    mild, bad = replace(waiting(3, Severity.INFO), order_key=0), replace(waiting(4, Severity.ERROR), firing=0)
    assert most_severe([mild, early, bad]) == bad, "wherever it stands in the line"
    assert [(line.title, line.alerts) for line in listed([mild, early, bad])] == [
        ("problem 4", 1),
        ("problem 1", 1),
        ("problem 3", 1),
    ]
    assert folded_into(waiting(3), [late, twin, early], by_target=False) == (early, twin, late)


def test_a_note_on_those_that_joined_gathers_for_five_seconds_and_with_a_critical_for_one() -> None:
    mild, bad = (
        Listed(severity=Severity.ERROR, title="a", alerts=1),
        Listed(severity=Severity.CRITICAL, title="b", alerts=1),
    )
    second = timedelta(seconds=1)
    assert note_due_at(None, [mild], NOW) == NOW + 5 * second
    assert note_due_at(None, [mild, bad], NOW) == NOW + second
    assert note_due_at(NOW + 2 * second, [mild], NOW) == NOW + 2 * second, "what waits is put off by nobody"
    assert note_due_at(NOW + 4 * second, [bad], NOW) == NOW + second


def test_a_note_that_grew_too_long_names_the_worst_and_still_counts_everybody() -> None:
    many = [Listed(severity=Severity.WARNING, title=f"w{n}", alerts=2) for n in range(LISTED_MAX + 5)]
    first = joined_note(None, many)
    assert (len(first["joined"]), first["counted"]) == (LISTED_MAX, 10)
    second = joined_note(first, [Listed(severity=Severity.CRITICAL, title="worst", alerts=1)])
    assert second["note"].startswith(f"{2 * (LISTED_MAX + 5) + 1} more alerts of this kind:\n- critical: worst\n")
    assert second["note"].endswith("\nand 12 more")
    assert (len(second["joined"]), second["counted"]) == (LISTED_MAX, 12)


def test_people_read_that_a_lane_is_far_behind_only_while_it_folds_and_something_waits() -> None:
    assert behind_sentence(folding=True, waiting=1)
    assert behind_sentence(folding=True, waiting=0) is behind_sentence(folding=False, waiting=9) is None


def test_a_text_that_fits_is_not_cut() -> None:
    two = [Listed(severity=Severity.ERROR, title=title, alerts=1) for title in "ab"]
    for title, shown in (("x" * 50, "x" * 50), ("x" * 51, "x" * 49 + "…")):  # of 60, with the words before it
        best = CreateBody(fields={"title": title}, names=(), notes=())
        assert frozen_body(best, best, two, FORM).fields["title"] == f"2 alerts: {shown}"


def test_what_fires_in_a_folded_incident_makes_its_carrier_worse_but_is_no_note_there() -> None:
    folded = carrier(IncidentState.FOLDED, id="f", carrier="c", folded=0, firing=1)
    for severity, is_worse in ((Severity.CRITICAL, True), (Severity.ERROR, False)):
        by_itself, step = carrier_fires(folded, carrier(), None, severity, EMPTY, NOW, rise=True)
        assert by_itself == folded
        assert isinstance(step, Transition)
        assert step.add == ((Action.UPDATE,) if is_worse else ())
        assert step.incident.firing == 4
        assert step.incident.severity is severity
        assert step.incident.telling.has_updates == is_worse
        assert (step.incident.telling.note_waits, step.replace_create) == (False, False)


def test_what_fires_in_a_folded_incident_while_the_carriers_resolve_is_sent_goes_by_itself_afterwards() -> None:
    folded = carrier(IncidentState.FOLDED, id="f", carrier="c", folded=0, firing=1)
    sent = carrier(IncidentState.RESOLVING, resolve_claimed=True, firing=0)
    by_itself, step = carrier_fires(folded, sent, None, Severity.WARNING, EMPTY, NOW)
    assert by_itself == replace(folded, renewal=EMPTY, severity=Severity.WARNING)
    assert step is not None
    assert step.incident.renewal is None, "the carrier opens nothing for it"
    worse = replace(by_itself, firing=2, severity=Severity.ERROR)
    milder = CreateBody(fields={}, names=(), notes=())
    assert carrier_fires(worse, sent, None, Severity.WARNING, milder, NOW)[0] == worse
    for state in (IncidentState.OPEN, IncidentState.RESOLVING):
        assert carrier_fires(folded, carrier(state), None, Severity.WARNING, EMPTY, NOW)[0] == folded


def test_a_carrier_that_came_to_its_end_is_not_joined_any_more() -> None:
    folded = carrier(IncidentState.FOLDED, id="f", carrier="c", folded=0, firing=1)
    for ended in (carrier(live=False), carrier(IncidentState.DEAD)):
        assert carrier_fires(folded, ended, None, Severity.ERROR, EMPTY, NOW) == (folded, None)


# -- what follows


def alone(**changes: Any) -> Incident:
    plain = {"id": "f", "carrier": "c", "folded": 0, "firing": 1, "reason": "why"}
    return carrier(**{"state": IncidentState.FOLDED, **plain, **changes})


def test_what_is_folded_lives_as_long_as_its_carrier_does() -> None:
    for state in IncidentState:
        assert carries_on(carrier(state)) == (state is not IncidentState.DEAD)
        assert not carries_on(carrier(state, live=False))
    assert not carries_on(None)


def test_what_was_folded_into_a_page_that_never_went_out_goes_out_by_itself_if_it_still_fires() -> None:
    never = carrier(IncidentState.DEAD, confirmed_at=None)
    for renewal in (None, EMPTY):
        after = afterwards(alone(renewal=renewal), never, NOW)
        waits = alone(state=IncidentState.PENDING, carrier=None, reason=None)
        assert after == Afterwards(incident=waits, sends=True, body=renewal)
    over = afterwards(alone(firing=0, renewal=EMPTY), never, NOW)
    assert not over.sends
    assert (over.incident.state, over.incident.live) == (IncidentState.CANCELLED, False)
    assert (over.incident.renewal, over.incident.reason) == (None, Reason.RECOVERED)


def test_what_was_folded_into_a_page_that_went_out_is_over_with_it() -> None:
    for ended, state, reason in (
        (carrier(IncidentState.RESOLVED, live=False), IncidentState.RESOLVED, None),
        (carrier(IncidentState.CANCELLED, live=False, reason="recovered"), IncidentState.CANCELLED, "recovered"),
        (carrier(IncidentState.DEAD, confirmed_at=NOW, reason="too_old"), IncidentState.RESOLVED, None),
        (carrier(IncidentState.RESOLVED, live=False, reason="detached"), IncidentState.RESOLVED, "detached"),
    ):
        after = afterwards(alone(), ended, NOW)
        assert after == Afterwards(incident=alone(state=state, live=False, resolved_at=NOW, reason=reason))


def test_what_fired_again_under_the_carriers_resolve_or_on_after_a_persons_close_pages_by_itself() -> None:
    resolved = carrier(IncidentState.RESOLVED, live=False)
    closed = replace(resolved, reason=Reason.CLOSED_UPSTREAM)
    for folded, ended in ((alone(renewal=EMPTY), resolved), (alone(), closed)):
        after = afterwards(folded, ended, NOW)
        assert (after.sends, after.body, after.incident.state) == (True, folded.renewal, IncidentState.PENDING)
        assert after.incident.live
        still = afterwards(replace(folded, firing=0), ended, NOW)
        assert (still.sends, still.incident.live, still.incident.renewal) == (False, False, None)
    at_plan_b = afterwards(alone(stands_for="other"), closed, NOW)
    assert not at_plan_b.sends, "who closes a plan B has heard of it"


def test_a_carrier_that_came_to_its_end_has_its_own_problems_left() -> None:
    assert without_folded(carrier(firing=4), [alone(), alone(firing=2)]) == carrier(firing=1, folded=0)
    assert without_folded(carrier(firing=1), [alone(firing=2)]).firing == 0
    assert without_folded(carrier(firing=2), []) == carrier(firing=2, folded=0)


def test_a_frozen_create_keeps_what_the_worst_would_have_sent_and_what_its_own_was() -> None:
    own = replace(EMPTY, fold_key="own", fold_target="target")
    worst = CreateBody(
        fields={"title": "db is down", "body": "All of it.", "urgency": "high"},
        names=(),
        notes=("n",),
        fold_key="other",
    )
    told = [
        Listed(severity=Severity.CRITICAL, title="a", alerts=2),
        Listed(severity=Severity.INFO, title="b", alerts=1),
    ]
    made = frozen_body(own, worst, told, FORM)
    assert made.fields == {
        "title": "3 alerts: db is down",
        "body": "3 alerts at once, most severe first:\n- critical: a (2 alerts)\n- info: b\n\nAll of it.",
        "urgency": "high",
    }
    assert (made.own, made.fold_key, made.fold_target, made.notes) == (own, "own", "target", ("n",))
    bare = frozen_body(own, replace(worst, fields={"title": "t"}), told, FORM)
    assert bare.fields["body"].endswith("- info: b")


def test_a_list_ends_where_it_would_be_too_long_and_counts_on() -> None:
    long = [Listed(severity=Severity.ERROR, title="x" * 300, alerts=3) for _ in range(70)]
    shown = list_of(long, counted=5).split("\n")
    assert all(line == f"- error: {'x' * 199}… (3 alerts)" for line in shown[:-1])
    assert sum(len(line) + 1 for line in shown[:-1]) <= 12_000 < (len(shown[0]) + 1) * len(shown)
    assert shown[-1] == f"and {5 + 3 * (70 - len(shown) + 1)} more"
    many = [Listed(severity=Severity.ERROR, title="x", alerts=1) for _ in range(LISTED_MAX + 1)]
    assert list_of(many).endswith("- error: x\nand 1 more")
    assert list_of(many[1:]).count("\n") == LISTED_MAX - 1


def test_a_lane_without_max_wait_never_folds() -> None:
    never, behind = replace(PACE, max_wait=None), replace(FULL, create_tat=NOW + 60 * MINUTE, behind_since=NOW)
    assert carried(never, behind, NOW) is None
    assert not is_still_behind(never, behind, NOW)
    assert takes_more_since(never, behind, NOW) is None
    assert takes_more_since(PACE, FULL, NOW) is None
