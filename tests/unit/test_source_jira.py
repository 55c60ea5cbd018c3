"""Jira: signatures, which update says what of an issue, and when an issue begins a new episode."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.domain.errors import SignatureError
from bridge.sources.base import NoAuth, SignatureAuth
from bridge.sources.jira import Jira

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
SECRET = "a-webhook-secret"
SITE = "https://team.example.net"


def webhook_of(body: Any, **headers: str) -> Webhook:
    return Webhook(source="jira", headers=headers, body=json.dumps(body).encode(), received_at=NOW)


def reading_of(body: Any) -> Any:
    (reading,) = Jira(name="jira", auth=NoAuth()).alerts_in(webhook_of(body))
    return reading


def alert_of(body: Any) -> Alert:
    reading = reading_of(body)
    assert isinstance(reading, Alert)
    return reading


def item(field: str, before: str | None, after: str | None) -> dict[str, Any]:
    return {"field": field, "fieldtype": "jira", "fromString": before, "toString": after}


def event(kind: str, *changes: dict[str, Any], issue_id: str = "10", category: str = "new", **extra: Any) -> Any:
    status = {"name": "Whatever", "statusCategory": {"key": category}}
    fields = {"summary": "It is slow", "status": status, "priority": {"name": "High"}, "labels": ["a", "team:db"]}
    issue = {"id": issue_id, "key": "OPS-1", "self": f"{SITE}/rest/api/2/issue/{issue_id}", "fields": fields}
    body = {"timestamp": 1767607200000, "webhookEvent": f"jira:issue_{kind}", "issue": issue, **extra}
    return {**body, "changelog": {"id": "77", "items": list(changes)}} if changes else body


def signed(body: bytes, *, secret: str = SECRET, method: str = "sha256") -> Webhook:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"x-hub-signature": f"{method}={digest}"}
    return Webhook(source="jira", headers=headers, body=body, received_at=NOW)


def jira(*secrets: str) -> Jira:
    return Jira(name="jira", auth=SignatureAuth(kind="signing_secret", secrets=secrets))


def test_a_signature_over_the_raw_body_is_accepted_under_any_of_the_secrets() -> None:
    jira(SECRET).verify(signed(b'{"a": "\xc3\xa9",  "b": 1.0}'))
    jira("older", SECRET).verify(signed(b"{}"))


def test_the_example_of_the_documentation_is_accepted() -> None:
    """https://developer.atlassian.com/cloud/jira/platform/webhooks/, "Secure admin webhooks"; its body is no JSON."""
    header = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
    webhook = Webhook(source="jira", headers={"x-hub-signature": header}, body=b"Hello World!", received_at=NOW)
    jira("It's a Secret to Everybody").verify(webhook)


@pytest.mark.parametrize(
    ("webhook", "check"),
    [
        (signed(b"{}", secret="another"), "wrong"),
        (Webhook(source="jira", headers=signed(b"{}").headers, body=b"{ }", received_at=NOW), "wrong"),
        (signed(b"{}", method="sha1"), "does not begin with sha256="),
        (Webhook(source="jira", headers={"x-hub-signature": "sha256="}, body=b"{}", received_at=NOW), "wrong"),
        (Webhook(source="jira", headers={"x-hub-signature": "sha256=é"}, body=b"{}", received_at=NOW), "wrong"),
        (Webhook(source="jira", headers={}, body=b"{}", received_at=NOW), "missing"),
    ],
    ids=["other secret", "other body", "other method", "no digest", "no hex", "unsigned"],
)
def test_a_wrong_signature_is_refused_and_the_log_learns_why(webhook: Webhook, check: str) -> None:
    with pytest.raises(SignatureError, match=check):
        jira(SECRET).verify(webhook)


@pytest.mark.parametrize("secrets", [(), ("",)])
def test_no_or_an_empty_secret_accepts_nothing(secrets: tuple[str, ...]) -> None:
    with pytest.raises(SignatureError):
        jira(*secrets).verify(signed(b"{}", secret=""))


@pytest.mark.parametrize(
    ("kind", "category", "status"),
    [
        ("created", "new", Status.FIRING),
        ("created", "done", Status.RESOLVED),
        ("updated", "new", Status.FIRING),
        ("updated", "indeterminate", Status.FIRING),
        ("updated", "Done", Status.RESOLVED),
        ("deleted", "new", Status.RESOLVED),
    ],
)
def test_the_status_category_ends_an_issue_whatever_its_status_is_called(
    kind: str, category: str, status: Status
) -> None:
    assert alert_of(event(kind, category=category)).status is status


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"status": {"name": "Resolved"}}, Status.RESOLVED),
        ({"status": "Closed"}, Status.RESOLVED),
        ({"status": {"name": "Wartet"}, "resolution": {"name": "Done"}}, Status.RESOLVED),
        ({"status": {"name": "Wartet"}, "resolution": None}, Status.FIRING),
        ({}, Status.FIRING),
    ],
)
def test_without_a_category_a_resolution_or_a_status_that_says_so_ends_it(
    fields: dict[str, Any], status: Status
) -> None:
    body = event("updated")
    body["issue"]["fields"] = fields
    assert alert_of(body).status is status


@pytest.mark.parametrize(
    "body",
    [
        event("updated", item("description", "a", "b")),
        event("updated", item("assignee", None, "somebody"), item("Rank", "", "Ranked higher")),
        event("updated", issue_event_type_name="issue_commented"),
        event("updated", comment={"body": "hm"}),
        {**event("created"), "webhookEvent": "comment_created"},
        {"webhookEvent": "sprint_started", "sprint": {"id": 1}},
        {"webhookEvent": "jira:version_released", "version": {"id": 1}},
        {"webhookEvent": "jira:issue_updated"},
    ],
)
def test_what_tells_nothing_of_an_issues_state_is_a_notice(body: Any) -> None:
    assert isinstance(reading_of(body), Notice)


@pytest.mark.parametrize(
    "change",
    [
        item("status", "To Do", "In Progress"),
        item("priority", "Low", "Highest"),
        item("labels", "", "incident"),
        item("Severity of the customer", "2", "1"),
    ],
)
def test_an_update_that_a_rule_may_go_by_is_an_alert(change: dict[str, Any]) -> None:
    assert alert_of(event("updated", item("description", "a", "b"), change)).status is Status.FIRING


@pytest.mark.parametrize(
    ("changes", "extra"),
    [
        ((item("resolution", "Done", None),), {}),
        ((item("status", "Done", "To Do"),), {}),
        ((item("status", "Closed", "Open"), item("assignee", None, "x")), {}),
        ((item("status", "Erledigt", "Offen"),), {"issue_event_type_name": "issue_reopened"}),
    ],
)
def test_an_issue_that_came_back_begins_a_new_episode(changes: tuple[Any, ...], extra: dict[str, Any]) -> None:
    alert = alert_of(event("updated", *changes, **extra))
    assert (alert.status, alert.episode) == (Status.FIRING, "reopened:77")


@pytest.mark.parametrize(
    "body",
    [
        event("created"),
        event("updated", item("status", "To Do", "Done"), category="done"),
        event("updated", item("status", "Done", "Closed"), category="done"),
        event("updated", item("status", "Open", "In Progress")),
        event("deleted"),
    ],
)
def test_where_nothing_came_back_the_episode_is_unknown(body: Any) -> None:
    assert alert_of(body).episode is None


@given(first=st.integers(1, 10**9), second=st.integers(1, 10**9), host=st.sampled_from(["a.example", "b.example"]))
def test_an_issue_is_one_problem_through_all_its_events_and_no_other_issue_is(
    first: int, second: int, host: str
) -> None:
    created = alert_of(event("created", issue_id=str(first)))
    moved = event("updated", item("status", "x", "Done"), issue_id=str(first), category="done")
    moved["issue"]["key"] = "OTHER-5"  # an issue that moves to another project keeps its id
    closed = alert_of(moved)
    assert closed.status is Status.RESOLVED
    assert created.fingerprint == closed.fingerprint
    other = event("created", issue_id=str(second))
    assert (alert_of(other).fingerprint == created.fingerprint) is (first == second)
    other["issue"]["self"] = f"https://{host}/rest/api/2/issue/{second}"
    assert alert_of(other).fingerprint != created.fingerprint


@pytest.mark.parametrize(
    ("priority", "severity"),
    [
        ({"name": "Highest"}, Severity.CRITICAL),
        ({"name": "Blocker"}, Severity.CRITICAL),
        ({"name": "P1 - urgent"}, Severity.CRITICAL),
        ("Major", Severity.ERROR),
        ({"name": "High"}, Severity.ERROR),
        ({"name": "3 - Medium"}, Severity.WARNING),
        ({"name": "Lowest"}, Severity.INFO),
        ({"name": "Hoch"}, None),
        (None, None),
        (["High"], None),
    ],
)
def test_severity_is_what_the_words_of_the_priority_say(priority: Any, severity: Severity | None) -> None:
    body = event("created")
    body["issue"]["fields"]["priority"] = priority
    assert alert_of(body).severity is severity


def test_the_link_opens_the_issue_below_the_sites_own_path() -> None:
    body = event("created")
    assert [link.href for link in alert_of(body).links] == [f"{SITE}/browse/OPS-1"]
    body["issue"]["self"] = "http://jira.example.org:8080/jira/rest/api/2/issue/10"
    assert [link.href for link in alert_of(body).links] == ["http://jira.example.org:8080/jira/browse/OPS-1"]
    body["issue"]["key"] = "../../admin"
    assert alert_of(body).links == ()


def test_a_label_is_a_label_of_the_alert() -> None:
    labels = alert_of(event("created")).labels
    assert (labels["a"], labels["team"], labels["labels"], labels["issue_key"]) == ("true", "db", "a,team:db", "OPS-1")


def test_retries_of_one_delivery_share_its_id_and_other_bodies_do_not() -> None:
    source = Jira(name="jira", auth=NoAuth())
    first = webhook_of({"a": 1}, **{"x-atlassian-webhook-identifier": "id-1"})
    retry = webhook_of({"a": 1}, **{"x-atlassian-webhook-identifier": "id-1", "x-atlassian-webhook-retry": "1"})
    other = webhook_of({"a": 2}, **{"x-atlassian-webhook-identifier": "id-1"})
    assert source.delivery_id(first) == source.delivery_id(retry) != source.delivery_id(other)
    assert source.delivery_id(webhook_of({"a": 1})) is None


def test_the_issue_that_an_automation_rule_posts_is_read_as_it_is() -> None:
    alert = alert_of(event("created")["issue"])
    assert (alert.status, alert.fingerprint) == (Status.FIRING, "issue:team.example.net:10")


@pytest.mark.parametrize(
    "body",
    [
        {"issueKey": "OPS-7", "summary": "It is slow", "priority": "High"},
        {"key": "OPS-7", "title": "It is slow", "priority": "High"},
        {"issue": {"key": "OPS-7", "summary": "It is slow", "priority": "High"}},
        {"data": {"issue_key": "OPS-7", "summary": "It is slow", "priority": {"name": "High"}}, "severity": "High"},
    ],
)
@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"status": "In Progress"}, Status.FIRING),
        ({}, Status.FIRING),
        ({"status": "Done"}, Status.RESOLVED),
        ({"status": "Erledigt", "statusCategory": "done"}, Status.RESOLVED),
        ({"status": "Resolved", "statusCategory": "In Progress"}, Status.FIRING),
    ],
)
def test_custom_data_of_an_automation_rule_is_the_issue_whose_key_it_has(
    body: dict[str, Any], told: dict[str, str], status: Status
) -> None:
    alert = alert_of({**body, **told})
    assert (alert.status, alert.severity, alert.title) == (status, Severity.ERROR, "It is slow")
    assert (alert.fingerprint, alert.labels["issue_key"], alert.labels["project"]) == ("key:OPS-7", "OPS-7", "OPS")


def test_custom_data_without_an_issues_key_is_read_as_a_generic_body() -> None:
    assert alert_of({"summary": "It is slow", "key": "not one"}).fingerprint == "key:not one"
    assert alert_of({"accountId": "5b10", "username": "somebody"}).status is Status.FIRING


def moved(before: str, after: str, shown: str, **fields: Any) -> Any:
    """What a workflow's post function posts of a transition, with the status that its issue is shown in."""
    transition = {"transitionId": 3, "transitionName": "x", "from_status": before, "to_status": after}
    issue = {"id": "10", "key": "OPS-1", "fields": {"summary": "It is slow", "status": {"name": shown}, **fields}}
    return {"transition": transition, "comment": "", "issue": issue, "timestamp": 1767607200000}


@pytest.mark.parametrize(
    ("body", "status", "episode"),
    [
        (moved("Open", "In Progress", "Open"), Status.FIRING, None),
        (moved("Open", "In Progress", "In Progress"), Status.FIRING, None),
        (moved("In Progress", "Resolved", "In Progress"), Status.RESOLVED, None),
        (moved("In Progress", "Resolved", "Resolved", resolution={"name": "Fixed"}), Status.RESOLVED, None),
        (
            moved("Resolved", "Reopened", "Resolved", resolution={"name": "Fixed"}),
            Status.FIRING,
            "reopened:1767607200000",
        ),
        (moved("Open", "Live", "Live", resolution={"name": "Done"}), Status.RESOLVED, None),
        (moved("Open", "Live", "Open"), Status.FIRING, None),
    ],
)
def test_a_transition_counts_by_where_it_leads_though_the_issue_is_shown_as_before(
    body: Any, status: Status, episode: str | None
) -> None:
    alert = alert_of(body)
    assert (alert.status, alert.episode) == (status, episode)
    assert alert.labels["status"] == body["transition"]["to_status"]
