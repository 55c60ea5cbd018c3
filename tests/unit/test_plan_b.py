"""When a page goes to plan B, and what is said there."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bridge.domain.alert import Severity
from bridge.domain.decision import KeyRule, Policy
from bridge.domain.delivery import Action, DeliveryState, NameRef, Reason
from bridge.domain.incident import CreateBody, IncidentState, Transition
from bridge.domain.lane import LaneState
from bridge.domain.plan_b import PlanB, body_for, gives_way, series_for, silenced_by_hand, stand_in, why_now
from tests.incidents import plain_incident

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
LANE = LaneState(name="pd", create_tat=NOW, update_tat=NOW)
PLAN = PlanB(
    account="io",
    after=5 * MINUTE,
    key_rule=KeyRule.FOR_EVER,
    title_field="name",
    body_field="summary",
    scope_field=None,
    reads_body="body",
    defaults={"severity": "Major"},
    lists={"severity": "severities", "incident_type": "types"},
)
FIRST = plain_incident(severity=Severity.CRITICAL, title="pg is down", policy=Policy(reopen_within=MINUTE), firing=2)


def why(*, waited: timedelta = SECOND, action: Action = Action.CREATE, **lane: Any) -> str | None:
    state = replace(LANE, **lane)
    return why_now(DeliveryState.PENDING, action, NOW - waited, state, PLAN, NOW)


def test_a_page_that_waits_for_its_turn_in_a_healthy_lane_goes_nowhere_else() -> None:
    assert why() is None
    assert why(waited=5 * MINUTE - SECOND) is None
    assert why(failures=2) is None


@pytest.mark.parametrize(("waited", "minutes"), [(5 * MINUTE, 5), (7.9 * MINUTE, 7)])
def test_what_was_not_taken_in_time_goes_to_plan_b(waited: timedelta, minutes: int) -> None:
    assert why(waited=waited) == f"has not taken it for {minutes} min"


def test_a_wait_shorter_than_a_minute_is_called_one() -> None:
    soon = replace(PLAN, after=10 * SECOND)
    assert why_now(DeliveryState.PENDING, Action.CREATE, NOW - 20 * SECOND, LANE, soon, NOW) == (
        "has not taken it for 1 min"
    )


def test_what_is_known_to_go_nowhere_goes_to_plan_b_at_once() -> None:
    dead = why_now(DeliveryState.DEAD, Action.CREATE, NOW, LANE, PLAN, NOW)
    assert dead == "could not deliver it"
    assert why(paused_at=NOW) == "is paused by an operator"
    assert why(failures=3) == "brought no usable answer 3 times in a row"
    for refused in (Reason.AUTH, Reason.FORBIDDEN):
        assert why(create_parked_until=NOW + SECOND, create_parked_why=refused) == "refuses the bridge's key"
        assert why(create_parked_until=NOW, create_parked_why=refused) is None, "it is tried again now"


def test_a_pause_the_upstream_asks_for_is_waited_out_where_it_ends_in_time() -> None:
    limited = Reason.RATE_LIMITED
    in_time, too_late = NOW + 5 * MINUTE - SECOND, NOW + 5 * MINUTE
    assert why(create_parked_until=in_time, create_parked_why=limited) is None
    assert why(create_parked_until=too_late, create_parked_why=limited) == (
        "takes no incidents until 2026-01-05T12:05:00+00:00"
    )


def test_a_re_opening_looks_at_the_pause_of_updates_and_a_create_at_that_of_creates() -> None:
    refused: dict[str, Any] = {"update_parked_until": NOW + MINUTE, "update_parked_why": Reason.AUTH}
    assert why(action=Action.REOPEN, **refused) == "refuses the bridge's key"
    assert why(**refused) is None
    creates: dict[str, Any] = {"create_parked_until": NOW + MINUTE, "create_parked_why": Reason.AUTH}
    assert why(action=Action.REOPEN, **creates) is None


def test_what_stands_for_an_incident_has_a_key_of_its_own_that_no_other_episode_had() -> None:
    made = [stand_in(FIRST, PLAN, new_id="b", now=NOW, members=2, n=n) for n in (0, 1)]
    assert made[0].key != made[1].key
    one = made[0]
    assert (one.account, one.state, one.live, one.stands_for) == ("io", IncidentState.PENDING, True, "i")
    assert (one.severity, one.title, one.firing) == (Severity.CRITICAL, "pg is down", 2)
    assert one.policy == Policy(), "it ends with what it stands for, whatever the rule says"
    other = stand_in(replace(FIRST, id="j"), PLAN, new_id="b", now=NOW, members=2, n=0)
    assert (other.series, other.key == one.key) == (one.series, False)
    assert series_for(replace(FIRST, series="t"), PLAN) != one.series


def test_keys_are_unique_where_the_account_says_that_they_have_to_be() -> None:
    assert PLAN.scope == ""
    assert replace(PLAN, scope_field="severity").scope == "Major"
    assert replace(PLAN, scope_field="service").scope == ""


def test_the_page_says_where_it_comes_from_how_bad_it_is_and_what_the_account_would_have_said() -> None:
    told = CreateBody(fields={"title": "t", "body": "disk is full"}, names=(), notes=("n",))
    made = body_for(FIRST, told, PLAN, "is paused by an operator")
    assert made.fields == {
        "severity": "Major",
        "name": "pg is down",
        "summary": (
            "Sent here because account 'pd' is paused by an operator. It may still arrive there; both are resolved "
            "when the problem is over. Incident i of the bridge.\n\nSeverity: critical\n\ndisk is full"
        ),
    }
    assert made.names == (NameRef(field="severity", kind="severities", text="Major"),)
    assert made.is_plain, "nothing plainer is left to be tried"
    for silent in ({}, {"body": {"type": "incident_body"}}):
        text = body_for(FIRST, replace(told, fields=silent), PLAN, "x").fields["summary"]
        assert text.endswith("Severity: critical")


def test_a_dead_letter_at_plan_b_is_in_nobodys_way() -> None:
    for state in IncidentState:
        assert gives_way(replace(FIRST, state=state)) == (state is IncidentState.DEAD)


def test_what_a_person_resolves_at_plan_b_while_it_fires_is_not_paged_there_again() -> None:
    step = Transition(incident=replace(FIRST, id="b", stands_for="i"))
    assert silenced_by_hand(step, FIRST).incident.reason == Reason.RESOLVED_BY_HAND
    assert silenced_by_hand(step, replace(FIRST, firing=0)) == step
