"""What needs a person, and how often it is said."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bridge.domain.alarms import EVERY, AccountView, CauseKind, causes, is_due
from bridge.domain.delivery import Reason
from bridge.domain.lane import FAILING_AFTER, LaneState

NOW = datetime(2026, 1, 5, 3, 0, tzinfo=UTC)
ALIVE = {"worker": NOW, "clock": NOW}
MINUTE = timedelta(minutes=1)


def view(**changes: Any) -> AccountView:
    """A quiet account."""
    of_lane = LaneState.__dataclass_fields__.keys() - {"name"}
    state = {name: changes.pop(name) for name in tuple(changes) if name in of_lane}
    lane = LaneState(**{"name": "pd", "create_tat": NOW, "update_tat": NOW, **state})
    return AccountView(**{"name": "pd", "max_wait": 2 * MINUTE, "lane": lane, "waits_since": None, **changes})


@pytest.mark.parametrize(
    ("changes", "kind", "says"),
    [
        (
            {"create_parked_until": NOW + MINUTE, "create_parked_why": Reason.AUTH},
            CauseKind.LANE_PARKED,
            "the upstream refuses the key of 'pd' (401)",
        ),
        (
            {"update_parked_until": NOW + MINUTE, "update_parked_why": Reason.FORBIDDEN},
            CauseKind.LANE_PARKED,
            "the key of 'pd' may not do this (403)",
        ),
        ({"failures": FAILING_AFTER}, CauseKind.UPSTREAM_DOWN, "3 calls in a row of 'pd' brought no usable answer"),
        (
            {"critical_dead": 2},
            CauseKind.CRITICAL_DEAD,
            "2 critical pages for 'pd' could not be delivered and will not be tried again",
        ),
        (
            {"critical_dead": 1},
            CauseKind.CRITICAL_DEAD,
            "a critical page for 'pd' could not be delivered and will not be tried again",
        ),
        ({"waits_since": NOW - 11 * MINUTE}, CauseKind.LONG_WAIT, "incidents for 'pd' have waited 11 min"),
        (
            {"waits_since": NOW - 50 * (MINUTE / 60), "max_wait": 5 * (MINUTE / 60)},
            CauseKind.LONG_WAIT,
            "incidents for 'pd' have waited less than a minute, but far longer than max_wait",
        ),
    ],
)
def test_an_account_that_needs_a_person_is_said_so_with_the_way_out(
    changes: dict[str, Any], kind: CauseKind, says: str
) -> None:
    (cause,) = causes([view(**changes)], ALIVE, NOW)
    assert (cause.kind, cause.about, cause.sentence) == (kind, "pd", says)
    assert cause.advice


def test_what_waits_for_an_account_that_nobody_configured_is_said_to_be_that() -> None:
    (cause,) = causes([view(waits_since=NOW - 11 * MINUTE, lane=None, is_configured=False)], ALIVE, NOW)
    assert (cause.kind, cause.about) == (CauseKind.LONG_WAIT, "pd")
    assert cause.sentence == (
        "incidents for 'pd' have waited 11 min, and no account of that name is configured: nobody sends them"
    )
    assert "bridge.yaml" in cause.advice


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"create_parked_until": NOW + MINUTE, "create_parked_why": Reason.RATE_LIMITED},
        {"create_parked_until": NOW - MINUTE, "create_parked_why": Reason.AUTH},
        {"create_parked_until": NOW, "create_parked_why": Reason.AUTH},
        {"failures": FAILING_AFTER - 1},
        {"paused_at": NOW},
        {"waits_since": NOW - 10 * MINUTE},
        {"lane": None},
    ],
)
def test_what_mends_itself_or_was_wanted_is_no_alarm(changes: dict[str, Any]) -> None:
    assert causes([view(**changes)], ALIVE, NOW) == ()


@pytest.mark.parametrize("last", [None, NOW - timedelta(seconds=61), NOW + timedelta(days=1)])
@pytest.mark.parametrize(("process", "kind"), [("worker", CauseKind.NO_WORKER), ("clock", CauseKind.NO_CLOCK)])
def test_a_kind_of_process_that_is_silent_is_missed(process: str, kind: CauseKind, last: datetime | None) -> None:
    beats = {name: at for name, at in (ALIVE | {process: last}).items() if at is not None}
    (cause,) = causes([view()], beats, NOW)
    assert (cause.kind, cause.about, cause.advice) == (kind, "", f"start 'incident-bridge {process}'")


@pytest.mark.parametrize("last", [NOW - timedelta(seconds=60), NOW + timedelta(seconds=60)])
def test_one_that_beat_within_a_minute_is_there_whichever_clock_is_ahead(last: datetime) -> None:
    assert causes([view()], {"worker": last, "clock": last}, NOW) == ()


def test_a_refused_reload_says_the_first_problem_and_how_many_more() -> None:
    for problems, says in (((), None), (("a:1: x",), "a:1: x"), (("a:1: x", "b:2: y", "c:3: z"), "a:1: x, and 2 more")):
        found = causes([view()], ALIVE, NOW, refused=problems)
        assert len(found) == (says is not None)
        for cause in found:
            assert (cause.kind, cause.about) == (CauseKind.RELOAD_REFUSED, "")
            assert cause.sentence == f"changed rules are not in force, the last good ones are: {says}"


def test_two_accounts_are_two_causes() -> None:
    found = causes([view(critical_dead=1), view(name="io", critical_dead=1)], ALIVE, NOW)
    assert [cause.key for cause in found] == ["critical_dead:pd", "critical_dead:io"]


@pytest.mark.parametrize(
    ("told_at", "due"),
    [(None, True), (NOW, False), (NOW - EVERY, True), (NOW - EVERY + MINUTE, False), (NOW + MINUTE, True)],
)
def test_a_cause_is_said_once_in_a_quarter_of_an_hour(told_at: datetime | None, due: bool) -> None:
    assert is_due(told_at, NOW) is due


def test_whoever_hears_of_trouble_hears_where_critical_incidents_go_meanwhile() -> None:
    (cause,) = causes([view(failures=FAILING_AFTER, plan_b="io")], ALIVE, NOW)
    assert cause.sentence.endswith("; critical incidents go to 'io' as well")
    assert cause.key == causes([view(failures=FAILING_AFTER)], ALIVE, NOW)[0].key
