"""What an open incident still has to be told: few notes, and in them everything."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bridge.domain.telling import (
    NOTHING_TOLD,
    Telling,
    flapped,
    flapping_is_due,
    note_due_at,
    note_text,
    noted,
    silenced,
    taken_back,
)

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def test_what_goes_on_and_off_all_the_time_is_told_the_third_time_and_then_at_twice_as_many() -> None:
    telling, told_at = NOTHING_TOLD, []
    for times in range(1, 50):
        telling = flapped(telling, NOW + times * SECOND)
        if flapping_is_due(telling):
            told_at.append(times)
            telling = noted(telling, NOW + times * SECOND)
    assert told_at == [3, 6, 12, 24, 48]


def test_flaps_are_counted_within_half_an_hour_of_the_first_and_then_from_one_again() -> None:
    told = Telling(flaps=6, flapping_since=NOW, flaps_told=6)
    assert flapped(told, NOW + 30 * MINUTE) == replace(told, flaps=7)
    late = NOW + 30 * MINUTE + SECOND
    assert flapped(told, late) == Telling(flaps=1, flapping_since=late, flaps_told=0)
    assert flapped(told, NOW).flaps == 7
    back = NOW - SECOND  # the clock jumped
    assert flapped(told, back) == Telling(flaps=1, flapping_since=back, flaps_told=0)


def test_the_next_episode_goes_on_flapping_and_has_been_told_nothing() -> None:
    told = Telling(
        note_waits=True,
        noted_at=NOW,
        unsaid=True,
        has_updates=True,
        flaps=4,
        flapping_since=NOW,
        flaps_told=3,
        over=True,
        acknowledged=True,
    )
    assert told.next_episode() == Telling(flaps=4, flapping_since=NOW, flaps_told=3)
    assert Telling() == NOTHING_TOLD == NOTHING_TOLD.next_episode()


@pytest.mark.parametrize(
    ("noted_ago", "due_in"),
    [
        (None, 10 * SECOND),  # a storm's problems join within seconds
        (0 * SECOND, 60 * SECOND),
        (20 * SECOND, 40 * SECOND),
        (55 * SECOND, 10 * SECOND),
        (-SECOND, 10 * SECOND),  # the clock jumped back
    ],
)
def test_notes_are_a_minute_apart_and_gather_for_ten_seconds(noted_ago: timedelta | None, due_in: timedelta) -> None:
    last = None if noted_ago is None else NOW - noted_ago
    assert note_due_at(Telling(noted_at=last), NOW) == NOW + due_in


def test_once_a_note_is_written_everything_up_to_then_is_told() -> None:
    before = Telling(note_waits=True, unsaid=True, over=True, acknowledged=True, flaps=3, flapping_since=NOW)
    after = noted(before, NOW)
    assert after == Telling(noted_at=NOW, flaps=3, flapping_since=NOW, flaps_told=3)
    assert note_text(after, [], 0, NOW) is None


def test_what_a_cancelled_note_was_to_say_is_remembered() -> None:
    assert silenced(Telling(note_waits=True)) == Telling(unsaid=True)
    assert silenced(Telling(unsaid=True)) == Telling(unsaid=True), "the next cancelled resolve does not forget it"
    assert silenced(NOTHING_TOLD) == NOTHING_TOLD


def test_a_note_that_was_written_but_never_sent_is_still_to_be_said() -> None:
    queued = NOW - MINUTE
    for written in (queued, NOW):
        again = taken_back(Telling(noted_at=written), queued)
        assert again.unsaid
        assert again.noted_at is not None
        assert again.noted_at < queued, "who joined in the very moment in which it was queued is named"
    for other in (Telling(), Telling(noted_at=queued - SECOND)):  # not its text: a person's, or a list of what folded
        assert taken_back(other, queued) == other


def test_a_note_names_ten_and_counts_the_others() -> None:
    titles = [f"p{n}" for n in range(12)]
    assert note_text(NOTHING_TOLD, titles[:1], 1, NOW) == "1 more problem joined: p0"
    assert note_text(NOTHING_TOLD, titles[:10], 10, NOW) == f"10 more problems joined: {', '.join(titles[:10])}"
    assert note_text(NOTHING_TOLD, titles, 500, NOW) == (
        f"500 more problems joined: {', '.join(titles[:10])} and 490 more"
    )


def test_a_long_title_is_cut_in_a_note_and_one_that_fits_is_not() -> None:
    assert note_text(NOTHING_TOLD, ["x" * 100], 1, NOW) == f"1 more problem joined: {'x' * 100}"
    assert note_text(NOTHING_TOLD, ["x" * 101], 1, NOW) == f"1 more problem joined: {'x' * 99}…"
    assert note_text(NOTHING_TOLD, ["over\ntwo  lines"], 1, NOW) == "1 more problem joined: over two lines"


def test_a_note_says_how_often_it_flapped_and_in_what_time_but_not_twice() -> None:
    flapping = Telling(flaps=7, flapping_since=NOW - 29 * MINUTE, flaps_told=3)
    assert note_text(flapping, [], 0, NOW) == "flapped 7 times in 29 min"
    assert note_text(replace(flapping, flapping_since=NOW - SECOND), [], 0, NOW) == "flapped 7 times in 1 min"
    assert note_text(replace(flapping, flaps_told=7), [], 0, NOW) is None
    assert note_text(replace(flapping, flaps=2, flaps_told=0), [], 0, NOW) is None


def test_one_note_says_all_there_is_and_the_rules_own_words_for_the_end() -> None:
    telling = Telling(flaps=3, flapping_since=NOW - MINUTE, over=True, acknowledged=True)
    text = note_text(telling, ["a"], 1, NOW, when_over="fixed itself")
    assert text == (
        "1 more problem joined: a\nflapped 3 times in 1 min\nsomebody acknowledged it at the sender\nfixed itself"
    )
    plain = note_text(Telling(over=True), [], 0, NOW)
    assert plain == "every problem of this incident is over; it is left open, as its rule says"
