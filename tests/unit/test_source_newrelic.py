"""New Relic: what an issue's state, owner and trigger say together, templates of any spelling, and the old channel."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.domain.errors import SignatureError
from bridge.sources.base import HeaderAuth, NoAuth
from bridge.sources.newrelic import NewRelic

NOW = datetime(2026, 1, 5, tzinfo=UTC)
AT = 1767607200000
IDS = st.from_regex(r"[0-9a-f]{8}-[0-9a-f]{4}", fullmatch=True)


def reading_of(body: Any) -> Any:
    webhook = Webhook(source="nr", headers={}, body=json.dumps(body).encode(), received_at=NOW)
    (reading,) = NewRelic(name="nr", auth=NoAuth()).alerts_in(webhook)
    return reading


def issue(state: str = "ACTIVATED", **more: Any) -> Alert:
    told = {"id": "i-1", "title": "CPU is high", "priority": "HIGH", "state": state, "createdAt": AT, "updatedAt": AT}
    reading = reading_of({**told, **more})
    assert isinstance(reading, Alert)
    return reading


def channel(state: str = "open", **more: Any) -> Any:
    told = {"account_id": 1, "incident_id": 88, "condition_name": "CPU", "current_state": state, "severity": "WARNING"}
    return reading_of({**told, "timestamp": AT, "targets": [{"name": "web-01", "labels": {"env": "prod"}}], **more})


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"state": "CREATED"}, Status.FIRING),
        ({"state": "ACTIVATED"}, Status.FIRING),
        ({"state": "ACTIVATED", "owner": "N/A"}, Status.FIRING),
        ({"state": "ACTIVATED", "owner": "n/a", "acknowledgedAt": None}, Status.FIRING),
        ({"state": "ACTIVATED", "acknowledgedAt": "null"}, Status.FIRING),
        ({"state": "ACTIVATED", "acknowledgedAt": 0}, Status.FIRING),
        ({"state": "ACTIVATED", "acknowledgedAt": AT}, Status.ACKNOWLEDGED),
        ({"state": "ACTIVATED", "owner": "A. Person"}, Status.ACKNOWLEDGED),
        ({"state": "ACKNOWLEDGED"}, Status.ACKNOWLEDGED),
        ({"state": "ACTIVATED", "owner": "A. Person", "trigger": "STATE_CHANGE"}, Status.ACKNOWLEDGED),
        ({"state": "ACTIVATED", "owner": "A. Person", "trigger": "INCIDENT_ADDED"}, Status.FIRING),
        ({"state": "ACTIVATED", "acknowledgedAt": AT, "trigger": "PRIORITY_CHANGED"}, Status.FIRING),
        ({"state": "CLOSED", "owner": "A. Person", "acknowledgedAt": AT}, Status.RESOLVED),
        ({"state": "closed", "trigger": "INCIDENT_ADDED"}, Status.RESOLVED),
        ({"state": "SOMETHING"}, Status.FIRING),
    ],
)
def test_state_owner_and_trigger_say_together_what_is_the_matter(told: dict[str, Any], status: Status) -> None:
    assert issue(**told).status is status


@given(first=IDS, second=IDS)
def test_an_issue_is_one_problem_and_one_episode_until_it_is_closed(first: str, second: str) -> None:
    told = [issue(state, id=first, title=state, updatedAt=AT + n) for n, state in enumerate(("CREATED", "CLOSED"))]
    assert len({(one.fingerprint, one.episode) for one in told}) == 1
    assert (issue(id=second).fingerprint == told[0].fingerprint) is (first == second)


@pytest.mark.parametrize(
    "body",
    [
        {"issueId": "i-1", "issueTitle": "T", "state": "CLOSED"},
        {"issue_id": "i-1", "issue_title": "T", "STATE": "closed"},
        {"issue": {"id": "i-1", "title": "T", "state": "CLOSED"}},
        {"data": {"issueId": "i-1", "title": "T", "state": "CLOSED"}},
    ],
)
def test_a_template_may_spell_the_names_as_it_likes(body: dict[str, Any]) -> None:
    alert = reading_of(body)
    assert (alert.fingerprint, alert.title, alert.status) == ("issue:i-1", "T", Status.RESOLVED)


def test_lists_and_scalars_are_read_alike() -> None:
    lists = issue(alertPolicyNames=["P"], alertConditionNames=["A", "B"], impactedEntities=["web-01"])
    scalars = issue(policyName="P", conditionName="A,B", entitiesData={"names": "web-01"})
    for name in ("policy", "condition", "entity"):
        assert lists.labels[name] == scalars.labels[name]
    assert lists.labels["condition"] == "A,B"


def test_without_an_id_policy_condition_and_entity_identify_the_issue() -> None:
    told = {"id": None, "policyName": "P", "conditionName": "C", "impactedEntities": ["e1"]}
    fired, over = issue(**told, title="at 5"), issue("CLOSED", **told, title="at 1")
    assert fired.fingerprint == over.fingerprint != issue(**{**told, "impactedEntities": ["e2"]}).fingerprint
    assert fired.episode is None
    apart = [
        issue(**{**told, "policyName": policy, "conditionName": name}) for policy, name in (("P:C", "x"), ("P", "C:x"))
    ]
    assert apart[0].fingerprint != apart[1].fingerprint


@pytest.mark.parametrize("name", ["deduplication_key", "dedup_key", "incidentKey"])
def test_without_an_id_a_key_made_for_another_tool_identifies_the_issue(name: str) -> None:
    opened, other = (issue("firing", id=None, **{name: key}) for key in ("i-1", "i-2"))
    ended = issue("resolved", id=None, title="CPU was high", **{name: "i-1"})
    assert (ended.status, ended.fingerprint) == (Status.RESOLVED, opened.fingerprint)
    assert other.fingerprint != opened.fingerprint
    assert issue(**{name: "i-2"}).fingerprint == issue().fingerprint


@pytest.mark.parametrize("left", [None, "", "null", "{{issueId}}", "{{ issueId }}"])
def test_an_id_that_was_not_filled_in_never_stands_in_the_key(left: Any) -> None:
    first, second = (issue(id=left, conditionName=name) for name in ("C1", "C2"))
    assert first.fingerprint != second.fingerprint


@pytest.mark.parametrize(
    ("priority", "severity"),
    [
        ("CRITICAL", Severity.CRITICAL),
        ("HIGH", Severity.ERROR),
        ("MEDIUM", Severity.WARNING),
        ("LOW", Severity.INFO),
        ("", None),
    ],
)
def test_severity_is_the_priority(priority: str, severity: Severity | None) -> None:
    assert issue(priority=priority).severity is severity


def test_the_time_of_a_report_is_the_last_update() -> None:
    closed = issue("CLOSED", updatedAt=None, closedAt=str(AT))
    assert closed.reported_at == closed.ends_at == datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert issue(updatedAt=AT + 60_000).reported_at == datetime(2026, 1, 5, 10, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "status"),
    [("open", Status.FIRING), ("acknowledged", Status.ACKNOWLEDGED), ("closed", Status.RESOLVED), ("?", Status.FIRING)],
)
def test_the_channel_tells_its_state(state: str, status: Status) -> None:
    assert channel(state).status is status


@given(first=st.integers(1, 10**9), second=st.integers(1, 10**9))
def test_an_incident_of_the_channel_is_one_problem_of_its_account(first: int, second: int) -> None:
    fired, over = channel(incident_id=first), channel("closed", incident_id=first, details="fine", severity="INFO")
    assert (fired.fingerprint, fired.episode) == (over.fingerprint, over.episode)
    assert (channel(incident_id=second).fingerprint == fired.fingerprint) is (first == second)
    assert channel(incident_id=first, account_id=2).fingerprint != fired.fingerprint


def test_the_channels_test_is_a_notice() -> None:
    reading = channel(incident_id=0)
    assert isinstance(reading, Notice)
    assert "test" in reading.reason


def test_the_channel_is_titled_by_condition_and_target() -> None:
    alert = channel(details="CPU > 93 %")
    assert (alert.title, alert.description, alert.labels["env"]) == ("CPU (web-01)", "CPU > 93 %", "prod")


def test_the_channel_may_be_a_form() -> None:
    body = urlencode(
        {"current_state": "closed", "incident_id": "88", "condition_name": "CPU", "account_id": "1"}
    ).encode()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    webhook = Webhook(source="nr", headers=headers, body=body, received_at=NOW)
    (reading,) = NewRelic(name="nr", auth=NoAuth()).alerts_in(webhook)
    assert isinstance(reading, Alert)
    assert (reading.fingerprint, reading.status) == ("incident:1:88", Status.RESOLVED)


def test_a_body_of_another_shape_still_pages() -> None:
    assert reading_of({"text": "database is on fire"}).title == "database is on fire"


def test_a_header_of_the_destination_proves_the_sender() -> None:
    source = NewRelic(name="nr", auth=HeaderAuth(header="x-bridge-token", secrets=("old", "new")))
    source.verify(Webhook(source="nr", headers={"x-bridge-token": "new"}, body=b"{}", received_at=NOW))
    with pytest.raises(SignatureError, match="wrong"):
        source.verify(Webhook(source="nr", headers={"x-bridge-token": "other"}, body=b"{}", received_at=NOW))
