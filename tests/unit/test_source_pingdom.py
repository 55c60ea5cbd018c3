"""Pingdom: which check, since when, how important."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.sources.base import NoAuth
from bridge.sources.pingdom import Pingdom

RECEIVED_AT = datetime(2026, 1, 5, tzinfo=UTC)


def reading_of(**body: Any) -> Any:
    webhook = Webhook(source="pd", headers={}, body=json.dumps(body).encode(), received_at=RECEIVED_AT)
    (reading,) = Pingdom(name="pd", auth=NoAuth()).alerts_in(webhook)
    return reading


def alert_of(**body: Any) -> Alert:
    reading = reading_of(**body)
    assert isinstance(reading, Alert)
    return reading


CHECKS = st.integers(1, 10**12)


@given(CHECKS, st.sampled_from([("DOWN", "UP"), ("FAILING", "SUCCESS")]), st.text(max_size=20))
def test_a_change_and_its_end_are_one_problem(check: int, states: tuple[str, str], name: str) -> None:
    kind = "TRANSACTION" if states[0] == "FAILING" else "HTTP"
    shared: dict[str, Any] = {"check_id": check, "check_type": kind}
    began = alert_of(current_state=states[0], check_name=name, state_changed_timestamp=1767600000, **shared)
    ended = alert_of(current_state=states[1], check_name="new name", state_changed_timestamp=1767600600, **shared)
    assert (began.status, ended.status) == (Status.FIRING, Status.RESOLVED)
    assert began.fingerprint == ended.fingerprint


@given(st.lists(st.tuples(CHECKS, st.sampled_from(["HTTP", "TRANSACTION"])), min_size=2, max_size=2, unique=True))
def test_two_checks_are_two_problems_and_uptime_and_transaction_checks_never_one(checks: list[tuple[int, str]]) -> None:
    first, second = (alert_of(check_id=check, check_type=kind, current_state="DOWN") for check, kind in checks)
    assert first.fingerprint != second.fingerprint


def test_uptime_checks_of_another_protocol_keep_their_identity() -> None:
    first, second = (alert_of(check_id=1, check_type=kind, current_state="DOWN") for kind in ("HTTP", "TCP"))
    assert first.fingerprint == second.fingerprint == "check:1"


def test_a_check_without_an_id_is_known_by_name_and_address() -> None:
    shared: dict[str, Any] = {"check_name": "Shop", "check_params": {"full_url": "https://shop.example.com/"}}
    down, up = (alert_of(current_state=state, **shared) for state in ("DOWN", "UP"))
    assert down.fingerprint == up.fingerprint == "name:Shop:https://shop.example.com/"


def test_the_start_of_a_down_is_its_episode_and_an_up_has_none() -> None:
    first, again, later = (
        alert_of(check_id=1, current_state="DOWN", state_changed_timestamp=at)
        for at in (1767600000, "1767600000", 1767607200)
    )
    assert first.episode is not None
    assert first.episode == again.episode != later.episode
    assert alert_of(check_id=1, current_state="UP", state_changed_timestamp=1767600000).episode is None


def test_the_change_is_the_time_of_the_report() -> None:
    at = datetime(2026, 1, 5, 8, tzinfo=UTC)
    assert alert_of(check_id=1, current_state="DOWN", state_changed_timestamp=1767600000).starts_at == at
    up = alert_of(check_id=1, current_state="UP", state_changed_utc_time="2026-01-05T08:00:00")
    assert (up.reported_at, up.starts_at, up.ends_at) == (at, None, at)


@pytest.mark.parametrize(
    ("importance", "severity"),
    [("HIGH", Severity.CRITICAL), ("LOW", Severity.WARNING), ("low", Severity.WARNING), ("", None), (3, None)],
)
def test_the_importance_is_the_severity(importance: Any, severity: Severity | None) -> None:
    for state in ("DOWN", "UP"):
        assert alert_of(check_id=1, current_state=state, importance_level=importance).severity is severity


@pytest.mark.parametrize("state", ["DOWN", "FAILING", "UNCONFIRMED_DOWN", "", None, 7, {"a": 1}])
def test_in_doubt_it_fires(state: Any) -> None:
    assert alert_of(check_id=1, check_name="Shop", current_state=state).status is Status.FIRING


def test_the_title_names_the_check_and_what_became_of_it() -> None:
    titles = [
        alert_of(check_id=1, check_name="Shop", current_state=state).title
        for state in ("DOWN", "UP", "FAILING", "SUCCESS", None)
    ]
    assert titles == ["Shop is down", "Shop is up", "Shop is failing", "Shop succeeds", "Shop changed its state"]
    assert alert_of(check_id=1, current_state="DOWN").title == "Check 1 is down"


def test_a_tag_wins_over_a_fact_of_the_same_name() -> None:
    alert = alert_of(check_id=1, check_name="Shop", tags=["team:web", "check:mine", "vip", 5, None])
    assert dict(alert.labels) == {"team": "web", "check": "mine", "vip": "true", "check_id": "1"}


def test_another_shape_pages_and_one_that_says_nothing_does_not() -> None:
    assert alert_of(title="Something is wrong").title == "Something is wrong"
    assert isinstance(reading_of(check_id=None, tags=[]), Notice)
