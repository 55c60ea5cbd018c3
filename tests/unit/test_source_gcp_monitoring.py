"""Google Cloud Monitoring: what identifies an incident, and what its state and its texts say."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.domain.errors import DecodeError, SignatureError
from bridge.sources.base import BasicAuth, NoAuth, QueryAuth
from bridge.sources.gcp_monitoring import GcpMonitoring

NOW = datetime(2026, 1, 5, tzinfo=UTC)
IDS = st.from_regex(r"0\.[a-z0-9]{8,14}", fullmatch=True)


def webhook_of(body: Any, **headers: str) -> Webhook:
    return Webhook(source="gcp", headers=headers, body=json.dumps(body).encode(), received_at=NOW)


def reading_of(body: Any) -> Any:
    (reading,) = GcpMonitoring(name="gcp", auth=NoAuth()).alerts_in(webhook_of(body))
    return reading


def alert_of(**incident: Any) -> Alert:
    reading = reading_of({"version": "1.2", "incident": {"incident_id": "0.abc", "state": "open", **incident}})
    assert isinstance(reading, Alert)
    return reading


def pushed(body: Any, message_id: str = "1", **message: Any) -> Any:
    data = base64.b64encode(json.dumps(body).encode()).decode()
    inside = {"data": data, "messageId": message_id, **message}
    return {"message": inside, "subscription": "projects/p/subscriptions/s"}


@given(first=IDS, second=IDS)
def test_an_incident_is_one_problem_from_opening_to_closing_and_no_other_is(first: str, second: str) -> None:
    opened = alert_of(incident_id=first, state="open", summary="above", started_at=1767607200)
    closed = alert_of(incident_id=first, state="closed", summary="normal", started_at=1767607200, ended_at=1767607260)
    assert (opened.fingerprint, opened.episode) == (closed.fingerprint, closed.episode)
    other = alert_of(incident_id=second)
    assert (other.fingerprint == opened.fingerprint) is (other.episode == opened.episode) is (first == second)


@pytest.mark.parametrize(
    ("incident", "status"),
    [
        ({"state": "open"}, Status.FIRING),
        ({"state": "OPEN"}, Status.FIRING),
        ({"state": "closed"}, Status.RESOLVED),
        ({"state": "CLOSED"}, Status.RESOLVED),
        ({"state": "acknowledged"}, Status.ACKNOWLEDGED),
        ({"state": "something new", "ended_at": 1767607260}, Status.FIRING),
        ({"state": None, "ended_at": 1767607260}, Status.RESOLVED),
        ({"state": None, "ended_at": 0}, Status.FIRING),
        ({"state": None, "ended_at": None}, Status.FIRING),
    ],
)
def test_the_state_in_any_case_tells_the_status(incident: dict[str, Any], status: Status) -> None:
    assert alert_of(**incident).status is status


@pytest.mark.parametrize(
    ("severity", "expected"),
    [
        ("Critical", Severity.CRITICAL),
        ("Error", Severity.ERROR),
        ("WARNING", Severity.WARNING),
        ("No severity", None),
        (None, None),
    ],
)
def test_severity_is_the_policys(severity: Any, expected: Severity | None) -> None:
    assert alert_of(severity=severity).severity is expected


def test_a_closed_incident_was_reported_when_it_ended_and_an_open_one_when_it_started() -> None:
    started, ended = datetime(2026, 1, 5, 10, tzinfo=UTC), datetime(2026, 1, 5, 10, 1, tzinfo=UTC)
    opened = alert_of(started_at=1767607200, ended_at=0)
    closed = alert_of(state="closed", started_at=1767607200, ended_at=1767607260)
    assert (opened.reported_at, opened.starts_at, opened.ends_at) == (started, started, None)
    assert (closed.reported_at, closed.starts_at, closed.ends_at) == (ended, started, ended)


@pytest.mark.parametrize(
    ("incident", "title"),
    [
        ({"policy_name": "P", "condition_name": "C", "resource_display_name": "vm-1"}, "P: C (vm-1)"),
        ({"policy_name": "P", "condition_name": "P", "resource_name": "p vm-1"}, "P (p vm-1)"),
        ({"policy_name": "P", "resource_name": "x labels {a=b}"}, "P"),
        ({"policy_name": "P on vm-1", "resource_name": "vm-1"}, "P on vm-1"),
        ({"summary": "only this"}, "only this"),
        ({}, "Alert from gcp"),
    ],
)
def test_the_title_names_policy_condition_and_resource(incident: dict[str, Any], title: str) -> None:
    assert alert_of(**incident).title == title


@pytest.mark.parametrize(
    ("documentation", "text"),
    [({"content": "see runbook"}, "S\n\nsee runbook"), ("see runbook", "S\n\nsee runbook"), (None, "S"), ({}, "S")],
)
def test_the_description_is_the_summary_and_the_documentation(documentation: Any, text: str) -> None:
    assert alert_of(summary="S", documentation=documentation).description == text


def test_labels_of_the_policy_win_over_those_of_resource_and_metric() -> None:
    alert = alert_of(
        policy_user_labels={"team": "a"},
        resource={"type": "gce_instance", "labels": {"team": "b", "zone": "z"}},
        metric={"labels": {"zone": "y", "queue": "q"}},
        policy_name="P",
    )
    assert dict(alert.labels) == {
        "team": "a", "zone": "z", "queue": "q", "policy": "P", "resource_type": "gce_instance",
    }  # fmt: skip


def test_without_an_id_policy_condition_and_resource_identify_the_incident() -> None:
    told = {"incident_id": None, "policy_name": "P", "condition_name": "C"}
    first, closed = alert_of(**told, resource_name="r1"), alert_of(**told, resource_name="r1", state="closed")
    assert first.fingerprint == closed.fingerprint != alert_of(**told, resource_name="r2").fingerprint
    assert first.episode is None


@pytest.mark.parametrize("version", ["test", "TEST"])
def test_a_test_of_the_channel_opens_nothing(version: str) -> None:
    reading = reading_of({"version": version, "incident": {"incident_id": "12345", "state": "open"}})
    assert isinstance(reading, Notice)
    assert "test" in reading.reason


def test_a_push_of_pubsub_is_unwrapped_and_known_by_its_message() -> None:
    source = GcpMonitoring(name="gcp", auth=NoAuth())
    body = {"version": "1.2", "incident": {"incident_id": "0.abc", "state": "open"}}
    assert reading_of(pushed(body)).fingerprint == "incident:0.abc"
    first, other = webhook_of(pushed(body, "7")), webhook_of(pushed(body, "8"))
    assert source.delivery_id(first) == "pubsub:7" != source.delivery_id(other)
    assert source.delivery_id(webhook_of({**body, "messageId": "7"})) is None


@pytest.mark.parametrize("data", ["%%%", "e30", base64.b64encode(b"[1]").decode(), base64.b64encode(b"{").decode()])
def test_a_push_that_holds_no_notification_is_refused(data: str) -> None:
    with pytest.raises(DecodeError):
        reading_of({"message": {"data": data, "messageId": "1"}})


def budget_of(budget_id: str | None = "b-1", began: str = "2026-01-01T08:00:00Z", **told: Any) -> Alert:
    budget = {"budgetDisplayName": "shop", "budgetAmount": 200.0, "costAmount": 90.5, "currencyCode": "EUR"}
    attributes = {"billingAccountId": "0A-1", "budgetId": budget_id, "schemaVersion": "1.0"}
    body = {**budget, "costIntervalStart": began, **told}
    reading = reading_of(pushed(body, publishTime="2026-01-20T10:00:00Z", attributes=attributes))
    assert isinstance(reading, Alert)
    return reading


def test_a_budget_is_one_problem_while_it_tells_a_threshold_and_over_when_it_tells_none() -> None:
    half = budget_of(alertThresholdExceeded=0.5, costAmount=101.25)
    later = budget_of(alertThresholdExceeded=1.0, costAmount=203.75)
    ahead = budget_of(forecastThresholdExceeded=0.9)
    anew = budget_of(began="2026-02-01T08:00:00Z", costAmount=0.4)
    assert half.fingerprint == later.fingerprint == ahead.fingerprint == anew.fingerprint
    assert [one.status for one in (half, later, ahead, anew)] == [Status.FIRING] * 3 + [Status.RESOLVED]
    assert (half.episode, later.episode, anew.episode) == ("2026-01-01T08:00:00Z", "2026-01-01T08:00:00Z", None)
    assert (later.title, ahead.title) == ("Budget shop: 100 % exceeded", "Budget shop: 90 % forecast")
    assert (half.labels["threshold"], half.labels["budgetId"]) == ("50 %", "b-1")
    assert half.reported_at == datetime(2026, 1, 20, 10, tzinfo=UTC)


def test_two_budgets_of_one_name_are_two_problems_and_an_odd_threshold_pages() -> None:
    assert budget_of("b-1").fingerprint != budget_of("b-2").fingerprint
    assert budget_of(alertThresholdExceeded="1.0").status is Status.FIRING
    assert budget_of(alertThresholdExceeded=None).status is Status.RESOLVED


def test_a_finding_of_security_command_center_is_one_problem_until_it_is_inactive() -> None:
    def finding(number: int, state: str) -> Alert:
        told = {
            "name": f"organizations/1/sources/2/findings/{number}",
            "category": "OPEN_FIREWALL",
            "resourceName": "//compute.googleapis.com/fw-1",
            "state": state,
            "severity": "HIGH",
            "eventTime": "2026-01-05T10:00:00Z",
            "externalUri": "https://console.cloud.google.com/finding",
        }
        config = "organizations/1/notificationConfigs/n"
        reading = reading_of(pushed({"notificationConfigName": config, "finding": told, "resource": {"project": "p"}}))
        assert isinstance(reading, Alert)
        assert "finding" in reading.payload
        return reading

    active, over = finding(3, "ACTIVE"), finding(3, "INACTIVE")
    assert (active.status, over.status) == (Status.FIRING, Status.RESOLVED)
    assert active.fingerprint == over.fingerprint != finding(4, "ACTIVE").fingerprint
    assert (active.title, active.severity) == ("OPEN_FIREWALL (//compute.googleapis.com/fw-1)", Severity.ERROR)
    assert (active.labels["project"], active.links[0].href) == ("p", "https://console.cloud.google.com/finding")


def test_credentials_or_a_token_in_the_address_prove_the_sender() -> None:
    query = GcpMonitoring(name="gcp", auth=QueryAuth(parameter="auth_token", secrets=("old", "new")))
    query.verify(Webhook(source="gcp", headers={}, body=b"{}", received_at=NOW, query={"auth_token": "new"}))
    basic = GcpMonitoring(name="gcp", auth=BasicAuth(username="u", passwords=("p1", "p2")))
    basic.verify(webhook_of({}, authorization="Basic " + base64.b64encode(b"u:p2").decode()))
    with pytest.raises(SignatureError):
        basic.verify(webhook_of({}, authorization="Basic " + base64.b64encode(b"u:p3").decode()))
