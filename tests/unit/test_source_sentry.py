"""Sentry: its signature, what each resource says, and that all that is said of one issue meets."""

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.domain.errors import SignatureError
from bridge.sources.base import NoAuth, QueryAuth, SignatureAuth
from bridge.sources.sentry import Sentry

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
SECRET = "a-client-secret"
BODY = b'{"action":"created","data":{"x":"\xc3\xa9 \\u00e9","y":1.50}}'
IDS = st.integers(1, 10**12).map(str)


def signed(body: bytes = BODY, secret: str = SECRET, **headers: str) -> Webhook:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return Webhook(source="se", headers={"sentry-hook-signature": digest, **headers}, body=body, received_at=NOW)


def sentry(*secrets: str) -> Sentry:
    return Sentry(name="se", auth=SignatureAuth(kind="client_secret", secrets=secrets))


def reading_of(body: Any, resource: str = "", **headers: str) -> Any:
    told = {"sentry-hook-resource": resource, **{name.replace("_", "-"): value for name, value in headers.items()}}
    webhook = Webhook(source="se", headers=told, body=json.dumps(body).encode(), received_at=NOW)
    (reading,) = Sentry(name="se", auth=NoAuth()).alerts_in(webhook)
    return reading


def issue(action: str, **more: Any) -> Alert:
    told = {
        "id": "42",
        "title": "ValueError: bad",
        "level": "error",
        "status": "unresolved",
        "project": {"slug": "api"},
    }
    told |= {"firstSeen": "2026-01-05T09:00:00Z", "lastSeen": "2026-01-05T09:59:00Z"}
    reading = reading_of({"action": action, "data": {"issue": {**told, **more}}}, "issue")
    assert isinstance(reading, Alert)
    return reading


def event(resource: str = "event_alert", **more: Any) -> Alert:
    told = {"issue_id": "42", "event_id": "e1", "title": "ValueError: bad", "level": "error", "tags": []}
    name = "event" if resource == "event_alert" else "error"
    reading = reading_of({"action": "triggered", "data": {name: {**told, **more}}}, resource)
    assert isinstance(reading, Alert)
    return reading


def metric(action: str, **more: Any) -> Alert:
    told = {"id": "9", "projects": ["api"], "alert_rule": {"id": "7", "name": "Errors"}, **more}
    body = {"action": action, "data": {"metric_alert": told, "description_title": f"{action.capitalize()}: Errors"}}
    reading = reading_of(body, "metric_alert")
    assert isinstance(reading, Alert)
    return reading


def test_a_signature_over_the_raw_body_is_accepted_under_any_of_the_secrets() -> None:
    sentry(SECRET).verify(signed())
    sentry("older", SECRET).verify(signed())


def test_the_time_is_not_signed_so_an_old_one_is_accepted() -> None:
    sentry(SECRET).verify(signed(**{"sentry-hook-timestamp": str(int((NOW - timedelta(days=2)).timestamp()))}))


@pytest.mark.parametrize(
    ("webhook", "check"),
    [
        (signed(secret="another"), "wrong"),
        (Webhook(source="se", headers=signed().headers, body=BODY + b" ", received_at=NOW), "wrong"),
        (Webhook(source="se", headers={}, body=BODY, received_at=NOW), "missing"),
        (Webhook(source="se", headers={"sentry-hook-signature": ""}, body=BODY, received_at=NOW), "wrong"),
    ],
    ids=["other secret", "other body", "none", "empty"],
)
def test_a_wrong_signature_is_refused_and_the_log_learns_why(webhook: Webhook, check: str) -> None:
    with pytest.raises(SignatureError, match=check):
        sentry(SECRET, "").verify(webhook)


def test_no_or_an_empty_secret_accepts_nothing() -> None:
    for source in (sentry(), sentry("")):
        with pytest.raises(SignatureError):
            source.verify(signed(secret=""))


def test_what_we_sign_ourselves_is_accepted() -> None:
    auth = SignatureAuth(kind="client_secret", secrets=(SECRET, "older"))
    headers = {name.lower(): value for name, value in Sentry.proof(auth, BODY, NOW).headers.items()}
    Sentry(name="se", auth=auth).verify(Webhook(source="se", headers=headers, body=BODY, received_at=NOW))


def test_the_plugin_that_signs_nothing_is_known_by_its_address() -> None:
    source = Sentry(name="se", auth=QueryAuth(parameter="token", secrets=("old", "new")))
    source.verify(Webhook(source="se", headers={}, body=BODY, received_at=NOW, query={"token": "new"}))
    with pytest.raises(SignatureError):
        source.verify(signed())


@pytest.mark.parametrize(
    ("action", "status_of_issue", "status"),
    [
        ("created", "unresolved", Status.FIRING),
        ("unresolved", "unresolved", Status.FIRING),
        ("resolved", "resolved", Status.RESOLVED),
        ("archived", "ignored", Status.RESOLVED),
        ("ignored", "ignored", Status.RESOLVED),
        ("assigned", "unresolved", Status.ACKNOWLEDGED),
        ("renamed", "unresolved", Status.FIRING),
        ("renamed", "resolved", Status.RESOLVED),
        ("", "", Status.FIRING),
    ],
)
def test_an_action_tells_the_state_of_its_issue(action: str, status_of_issue: str, status: Status) -> None:
    assert issue(action, status=status_of_issue).status is status


@given(first=IDS, second=IDS)
def test_all_that_is_said_of_one_issue_meets_and_nothing_else(first: str, second: str) -> None:
    legacy = reading_of({"id": first, "project": "api", "message": "", "event": {"title": "x"}})
    created, over = issue("created", id=first), issue("resolved", id=first, title="renamed")
    told = [created, over, event(issue_id=first), event("error", issue_id=int(first)), legacy]
    assert {reading.fingerprint for reading in told} == {f"issue:{first}"}
    assert (issue("created", id=second).fingerprint == created.fingerprint) is (first == second)


def test_an_event_without_the_issues_id_has_it_in_its_address() -> None:
    assert event(issue_id=None, issue_url="https://sentry.io/api/0/issues/42/").fingerprint == "issue:42"
    assert event(issue_id=None).fingerprint == "title:ValueError: bad"


@pytest.mark.parametrize("resource", ["event_alert", "error"])
def test_an_event_fires_and_never_recovers(resource: str) -> None:
    assert event(resource).status is Status.FIRING


def test_only_an_issue_that_came_back_tells_an_episode() -> None:
    first, second = (
        issue("unresolved", lastSeen=at).episode for at in ("2026-01-06T00:00:00Z", "2026-01-07T00:00:00Z")
    )
    assert first != second
    assert {issue(action).episode for action in ("created", "resolved", "assigned")} == {None}


@pytest.mark.parametrize(
    ("action", "status", "severity"),
    [
        ("critical", Status.FIRING, Severity.CRITICAL),
        ("warning", Status.FIRING, Severity.WARNING),
        ("resolved", Status.RESOLVED, None),
        ("triggered", Status.FIRING, None),
    ],
)
def test_a_metric_alert_tells_state_and_severity_by_its_action(
    action: str, status: Status, severity: Severity | None
) -> None:
    alert = metric(action)
    assert (alert.status, alert.severity, alert.title) == (status, severity, "Errors")


@given(rule=IDS, other=IDS, incident=IDS, later=IDS)
def test_a_metric_alert_is_its_rule_and_its_incident_the_episode(
    rule: str, other: str, incident: str, later: str
) -> None:
    fired, over = (metric(action, id=incident, alert_rule={"id": rule}) for action in ("critical", "resolved"))
    again = metric("warning", id=later, alert_rule={"id": rule})
    assert fired.fingerprint == over.fingerprint == again.fingerprint
    assert fired.episode == over.episode
    assert (again.episode == fired.episode) is (later == incident)
    assert (metric("critical", alert_rule={"id": other}).fingerprint == fired.fingerprint) is (other == rule)


def test_one_rule_over_two_projects_is_two_problems() -> None:
    assert metric("critical", projects=["api"]).fingerprint != metric("critical", projects=["web"]).fingerprint


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        ("fatal", Severity.CRITICAL),
        ("error", Severity.ERROR),
        ("warning", Severity.WARNING),
        ("info", Severity.INFO),
        ("debug", Severity.INFO),
        (None, None),
    ],
)
def test_severity_is_the_level(level: str | None, severity: Severity | None) -> None:
    assert issue("created", level=level).severity is event(level=level).severity is severity


@pytest.mark.parametrize("resource", ["installation", "comment", "seer.root_cause_started", "preprod_artifact"])
def test_resources_that_are_no_problem_are_notices(resource: str) -> None:
    reading = reading_of({"action": "created", "data": {"comment": "hm", "issue_id": 42}}, resource)
    assert isinstance(reading, Notice)
    assert resource in reading.reason


@pytest.mark.parametrize("data", [{"installation": {"uuid": "u"}}, {"comment": "hm", "comment_id": 1}])
def test_without_the_header_the_body_tells_that_it_is_no_problem(data: dict[str, Any]) -> None:
    assert isinstance(reading_of({"action": "created", "data": data}), Notice)


def of_activity(kind: str, status: str) -> Any:
    told = {"id": "42", "title": "ValueError: bad", "status": status}
    return reading_of(
        {"action": "triggered", "data": {"issue": told, "activity": {"type": kind, "details": {}}}}, "activity_alert"
    )


@pytest.mark.parametrize("kind", ["seer_root_cause_completed", "seer_pr_created"])
def test_what_seer_did_about_an_issue_is_no_problem(kind: str) -> None:
    reading = of_activity(kind, "unresolved")
    assert isinstance(reading, Notice)
    assert kind in reading.reason


@pytest.mark.parametrize(
    ("status_of_issue", "status"),
    [("unresolved", Status.FIRING), ("resolved", Status.RESOLVED), ("ignored", Status.RESOLVED)],
)
def test_of_another_activity_the_state_of_its_issue_counts(status_of_issue: str, status: Status) -> None:
    assert of_activity("set_by_somebody", status_of_issue).status is status


def test_a_resource_nobody_knows_still_pages() -> None:
    reading = reading_of({"action": "triggered", "data": {"monitor": {"name": "nightly"}}}, "monitor")
    assert isinstance(reading, Alert)
    assert reading.status is Status.FIRING


def test_the_header_tells_when_it_was_reported() -> None:
    body = {"action": "resolved", "data": {"issue": {"id": "42"}}}
    alert = reading_of(body, "issue", sentry_hook_timestamp="1767607200")
    assert alert.reported_at == alert.ends_at == datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert reading_of(body, "issue").reported_at is None


def test_tags_become_labels_in_either_form() -> None:
    tags = [["server", "a-1"], {"key": "zone", "value": "z"}, ["empty", ""], ["alone"], 7, None]
    alert = event(tags=tags, environment="prod", url="https://sentry.io/api/0/projects/acme/api/events/e1/")
    assert {name: alert.labels[name] for name in ("server", "zone", "environment", "project")} == {
        "server": "a-1", "zone": "z", "environment": "prod", "project": "api",
    }  # fmt: skip
    assert not {"empty", "alone"} & alert.labels.keys()


@pytest.mark.parametrize(
    ("told", "title"),
    [
        ({"message": "said"}, "said"),
        ({"message": "", "event": {"title": "T"}}, "T"),
        ({"event": {"metadata": {"type": "KeyError", "value": "'x'"}}}, "KeyError: 'x'"),
        ({"culprit": "lib/x", "event": {"event_id": "1"}}, "lib/x"),
        ({"event": {"event_id": "1"}}, "Alert from se"),
    ],
)
def test_a_legacy_body_without_a_message_is_titled_by_its_exception(told: dict[str, Any], title: str) -> None:
    assert reading_of({"id": "42", "event": {"event_id": "1"}, **told}).title == title


def test_retries_share_their_id_and_other_bodies_do_not() -> None:
    source = Sentry(name="se", auth=NoAuth())
    first, same, other = (signed(body, **{"request-id": "r1"}) for body in (BODY, BODY, b"{}"))
    assert source.delivery_id(first) == source.delivery_id(same) != source.delivery_id(other)
    assert source.delivery_id(signed()) is None
