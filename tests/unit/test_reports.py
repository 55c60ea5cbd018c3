"""Late, repeated and reordered reports."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Status
from bridge.domain.reports import AHEAD_MAX, LastReport, last_report, why_ignored
from tests.ledgers import alert

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
times = st.none() | st.timedeltas(min_value=timedelta(days=-2), max_value=timedelta(hours=1)).map(lambda by: NOW + by)
reports = st.builds(
    lambda status, episode, at, ends_at: alert("f", status, episode=episode, reported_at=at, ends_at=ends_at),
    st.sampled_from(Status),
    st.none() | st.sampled_from(["a", "b"]) | times.map(lambda at: at and at.isoformat()),
    times,
    times,
)


def test_an_older_report_is_stale_and_says_after_which() -> None:
    last = LastReport(status=Status.RESOLVED, episode=None, reported_at=NOW)
    why = why_ignored(alert("f", reported_at=NOW - timedelta(seconds=1)), last, NOW)
    assert why == (
        "stale: reported at 2026-01-05T11:59:59+00:00, and a newer report, resolved at 2026-01-05T12:00:00+00:00, "
        "came before it"
    )


def test_a_stale_report_that_was_old_when_it_came_in_says_how_old_and_what_may_be_wrong() -> None:
    last = LastReport(status=Status.RESOLVED, episode=None, reported_at=NOW)
    behind = str(why_ignored(alert("f", reported_at=NOW - timedelta(hours=2)), last, NOW))
    assert behind.endswith("; it was 120 min old when it came in: held up on its way, or its sender's clock is behind")
    newer = LastReport(status=Status.RESOLVED, episode=None, reported_at=NOW - timedelta(hours=2))
    assert "min old" not in str(why_ignored(alert("f", reported_at=NOW - timedelta(minutes=9)), last, NOW))
    assert why_ignored(alert("f", reported_at=NOW - timedelta(hours=1)), newer, NOW) is None


@pytest.mark.parametrize("at", [None, NOW, NOW + timedelta(seconds=1)])
def test_a_report_without_a_time_of_the_same_time_or_newer_counts(at: datetime | None) -> None:
    last = LastReport(status=Status.FIRING, episode=None, reported_at=NOW)
    assert why_ignored(alert("f", Status.RESOLVED, reported_at=at), last, NOW) is None


@pytest.mark.parametrize(
    ("ends", "goes_on", "counts"),
    [("1", "1", True), ("1", "2", False), (None, "2", True), ("1", None, True)],
)
def test_the_end_of_another_episode_ends_nothing(ends: str | None, goes_on: str | None, counts: bool) -> None:
    last = LastReport(status=Status.FIRING, episode=goes_on, reported_at=None)
    why = why_ignored(alert("f", Status.RESOLVED, episode=ends), last, NOW)
    assert why == (None if counts else "other_episode: it ends episode 1, and 2 is the one that goes on")
    assert why_ignored(alert("f", episode=ends), last, NOW) is None, "a new episode may begin"


def test_the_end_of_an_episode_that_nobody_reported_counts_and_makes_its_late_begin_stale() -> None:
    first = last_report(alert("f", Status.RESOLVED, episode="1", reported_at=NOW - timedelta(hours=1)), NOW)
    end = alert("f", Status.RESOLVED, episode="2", reported_at=NOW)
    assert why_ignored(end, first, NOW) is None
    begin = alert("f", episode="2", reported_at=NOW - timedelta(minutes=1))
    assert str(why_ignored(begin, last_report(end, NOW), NOW)).startswith("stale: ")


BEGAN = NOW - timedelta(hours=1)


@pytest.mark.parametrize("ends", [None, (BEGAN - timedelta(minutes=30)).isoformat(), NOW.isoformat()])
@pytest.mark.parametrize(
    ("lasted", "counts"), [(timedelta(seconds=-1), False), (timedelta(0), True), (AHEAD_MAX, True)]
)
def test_an_episode_that_says_when_it_began_is_ended_by_what_ended_later(
    ends: str | None, lasted: timedelta, counts: bool
) -> None:
    last = LastReport(status=Status.FIRING, episode=BEGAN.isoformat(), reported_at=None)
    why = why_ignored(alert("f", Status.RESOLVED, episode=ends, ends_at=BEGAN + lasted), last, NOW)
    too_early = "it ended at 2026-01-05T10:59:59+00:00, before 2026-01-05T11:00:00+00:00, when this one began"
    assert why == (None if counts else f"other_episode: {too_early}")


def test_the_end_of_the_very_episode_that_goes_on_counts_whatever_the_clocks() -> None:
    last = LastReport(status=Status.FIRING, episode=BEGAN.isoformat(), reported_at=None)
    ended = alert("f", Status.RESOLVED, episode=BEGAN.isoformat(), ends_at=BEGAN - timedelta(seconds=5))
    assert why_ignored(ended, last, NOW) is None


@pytest.mark.parametrize("episode", ["2026-01-05T11:00:00", "20260105", "0a1b", (NOW + 2 * AHEAD_MAX).isoformat()])
def test_an_episode_that_does_not_say_when_it_began_is_known_by_its_id_alone(episode: str) -> None:
    last = LastReport(status=Status.FIRING, episode=episode, reported_at=None)
    for ends_at in (NOW - timedelta(days=1), NOW):
        assert why_ignored(alert("f", Status.RESOLVED, episode=None, ends_at=ends_at), last, NOW) is None
        assert why_ignored(alert("f", Status.RESOLVED, episode="1", ends_at=ends_at), last, NOW) is not None


def test_an_end_without_a_time_is_known_by_its_episode_alone() -> None:
    last = LastReport(status=Status.FIRING, episode=BEGAN.isoformat(), reported_at=None)
    assert why_ignored(alert("f", Status.RESOLVED, episode=NOW.isoformat()), last, NOW) is not None
    assert why_ignored(alert("f", Status.RESOLVED), last, NOW) is None


def test_a_clock_far_ahead_does_not_silence_its_sender() -> None:
    ahead = alert("f", reported_at=NOW + AHEAD_MAX + timedelta(seconds=1))
    last = last_report(ahead, NOW)
    assert last.reported_at is None
    assert why_ignored(alert("f", Status.RESOLVED, reported_at=NOW), last, NOW) is None


@given(st.lists(reports, max_size=8))
def test_what_counts_never_goes_back_in_time(told: list) -> None:  # type: ignore[type-arg]
    last: LastReport | None = None
    for report in told:
        if why_ignored(report, last, NOW) is not None:
            continue
        following = last_report(report, NOW)
        if last is not None and last.reported_at is not None and following.reported_at is not None:
            assert following.reported_at >= last.reported_at
        last = following


@given(reports)
def test_a_repeat_is_never_late(report) -> None:  # type: ignore[no-untyped-def]
    assert why_ignored(report, last_report(report, NOW), NOW) is None
