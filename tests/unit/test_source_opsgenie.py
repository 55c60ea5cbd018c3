"""Opsgenie and Jira Service Management: which action says what of an alert, and what identifies it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.domain.errors import SignatureError
from bridge.sources.base import HeaderAuth, NoAuth
from bridge.sources.opsgenie import Opsgenie
from tests.receiving import told_as_it_is

NOW = datetime(2026, 1, 5, tzinfo=UTC)
NAMES = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="${}%*<"), min_size=1, max_size=40).filter(
    lambda text: told_as_it_is(text) and text.isprintable() and text == text.strip()
)


def reading_of(action: str | None = "Create", **alert: Any) -> Any:
    body = {"action": action, "alert": {"message": "Disk full", **alert}, "integrationName": "Bridge"}
    webhook = Webhook(source="og", headers={}, body=json.dumps(body).encode(), received_at=NOW)
    (reading,) = Opsgenie(name="og", auth=NoAuth()).alerts_in(webhook)
    return reading


def alert_of(action: str | None = "Create", **alert: Any) -> Alert:
    reading = reading_of(action, **alert)
    assert isinstance(reading, Alert)
    return reading


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("Create", Status.FIRING),
        ("created", Status.FIRING),
        ("UpdatePriority", Status.FIRING),
        ("Restart the server", Status.FIRING),
        (None, Status.FIRING),
        ("Acknowledge", Status.ACKNOWLEDGED),
        ("acknowledged", Status.ACKNOWLEDGED),
        ("Close", Status.RESOLVED),
        ("closed", Status.RESOLVED),
        ("Delete", Status.RESOLVED),
    ],
)
def test_an_action_tells_what_became_of_the_alert(action: str | None, status: Status) -> None:
    assert alert_of(action, alertId="1").status is status


@pytest.mark.parametrize("action", ["AddNote", "AddTags", "RemoveTags", "Escalate", "AssignOwnership", "Snooze"])
def test_an_action_that_leaves_the_alert_as_it_is_reports_no_problem(action: str) -> None:
    reading = reading_of(action, alias="disk", alertId="1")
    assert isinstance(reading, Notice)
    assert action in reading.reason
    assert (reading.title, reading.fingerprint) == ("Disk full", "alias:disk")


@pytest.mark.parametrize("action", ["UnAcknowledge", "unacknowledged"])
@pytest.mark.parametrize("priority", [None, "", "{{priority}}", "P9"])
def test_giving_an_alert_back_without_its_priority_fires_nothing_that_another_rule_could_take(
    action: str, priority: str | None
) -> None:
    reading = reading_of(action, alias="disk", alertId="1", priority=priority)
    assert isinstance(reading, Notice)
    assert reading.reason == f"{action} without a priority: the alert is open as it was, and nothing fires anew"
    assert (reading.title, reading.fingerprint) == ("Disk full", "alias:disk")


def test_giving_an_alert_back_with_its_priority_fires_as_it_did() -> None:
    alert = alert_of("UnAcknowledge", alertId="1", priority="P5")
    assert (alert.status, alert.severity) == (Status.FIRING, Severity.INFO)


@pytest.mark.parametrize(
    ("priority", "severity"),
    [
        ("P1", Severity.CRITICAL),
        ("P2", Severity.ERROR),
        (3, Severity.WARNING),
        ("p4", Severity.INFO),
        ("5", Severity.INFO),
        ("P9", None),
        ("", None),
        (None, None),
    ],
)
def test_severity_is_the_priority_as_text_or_number(priority: Any, severity: Severity | None) -> None:
    assert alert_of(alertId="1", priority=priority).severity is severity


def test_an_alias_that_comes_back_is_the_same_problem_in_a_new_episode() -> None:
    first = alert_of(alias="disk", alertId="one")
    closed = alert_of("Close", alias="disk", alertId="one")
    again = alert_of(alias="disk", alertId="two")
    assert first.fingerprint == closed.fingerprint == again.fingerprint == "alias:disk"
    assert first.episode == closed.episode == "one"
    assert again.episode == "two"


@pytest.mark.parametrize("alias", [None, "", "null", "{{alias}}", "disk-${host}"])
def test_an_alias_that_was_not_filled_enters_no_key(alias: str | None) -> None:
    assert alert_of(alias=alias, alertId="one").fingerprint == "alert:one"


@given(first=NAMES, second=NAMES, alert_id=NAMES)
def test_all_actions_on_one_alert_share_the_fingerprint_and_two_aliases_never_do(
    first: str, second: str, alert_id: str
) -> None:
    actions = ("Create", "Acknowledge", "UnAcknowledge", "Close")
    alerts = [
        alert_of(action, alias=first, alertId=alert_id, updatedAt=1767607200125000301 + no, tags=["x"] * no, priority=3)
        for no, action in enumerate(actions)
    ]
    assert len({(alert.fingerprint, alert.episode) for alert in alerts}) == 1
    assert (alert_of(alias=second).fingerprint == alerts[0].fingerprint) is (first == second)


def test_the_time_of_the_report_is_read_from_19_digits() -> None:
    at = datetime(2026, 1, 5, 10, 0, 0, 125000, tzinfo=UTC)
    assert alert_of("Close", alertId="1", updatedAt=1767607200125000301, createdAt=1767600000000).reported_at == at


def test_only_a_create_may_take_its_time_from_the_creation() -> None:
    at = datetime(2026, 1, 5, 8, tzinfo=UTC)
    assert alert_of("Create", alertId="1", createdAt=1767600000000).reported_at == at
    assert alert_of("Close", alertId="1", createdAt=1767600000000).reported_at is None


def test_labels_are_tags_then_properties_then_facts() -> None:
    alert = alert_of(alertId="1", tags=["vip", "entity:mine"], details={"host": "a", "n": 3, "x": None}, entity="db")
    assert dict(alert.labels) == {
        "vip": "true", "entity": "mine", "host": "a", "n": "3", "action": "Create", "integration": "Bridge",
        "tags": "vip,entity:mine",
    }  # fmt: skip


def test_a_header_of_its_own_proves_the_sender() -> None:
    source = Opsgenie(name="og", auth=HeaderAuth(header="x-bridge-token", secrets=("old", "new")))
    source.verify(Webhook(source="og", headers={"x-bridge-token": "new"}, body=b"{}", received_at=NOW))
    with pytest.raises(SignatureError, match="x-bridge-token wrong"):
        source.verify(Webhook(source="og", headers={"x-bridge-token": "x"}, body=b"{}", received_at=NOW))


def test_a_body_without_an_alert_is_read_as_a_generic_one() -> None:
    webhook = Webhook(source="og", headers={}, body=b'{"title": "by hand", "key": "k"}', received_at=NOW)
    (reading,) = Opsgenie(name="og", auth=NoAuth()).alerts_in(webhook)
    assert isinstance(reading, Alert)
    assert (reading.source_type, reading.title, reading.fingerprint) == ("opsgenie", "by hand", "key:k")
