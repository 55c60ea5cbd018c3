"""GitLab: the secret token, which event says what, and what identifies a pipeline, an issue and an alert."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.domain.errors import SignatureError
from bridge.sources.base import HeaderAuth, NoAuth
from bridge.sources.gitlab import GitLab

NOW = datetime(2026, 1, 5, tzinfo=UTC)
PROJECT = {"id": 3, "path_with_namespace": "acme/shop", "web_url": "https://gitlab.example.com/acme/shop"}
NUMBERS = st.integers(1, 10**9)


def webhook_of(body: Any, **headers: str) -> Webhook:
    return Webhook(source="gl", headers=headers, body=json.dumps(body).encode(), received_at=NOW)


def reading_of(body: Any, **headers: str) -> Any:
    (reading,) = GitLab(name="gl", auth=NoAuth()).alerts_in(webhook_of(body, **headers))
    return reading


def alert_of(body: Any, **headers: str) -> Alert:
    reading = reading_of(body, **headers)
    assert isinstance(reading, Alert)
    return reading


def pipeline(status: str | None = "failed", *, extra: Any = None, **more: Any) -> Any:
    told = {"id": 1, "ref": "main", "tag": False, "source": "push", "finished_at": "2026-01-05 10:00:00 UTC"}
    body = {"object_kind": "pipeline", "object_attributes": {**told, "status": status, **more}, "project": PROJECT}
    return {**body, **(extra or {})}


def issue(action: str | None = "open", *, changes: Any = None, kind: str = "issue", **more: Any) -> Any:
    told = {"id": 9, "iid": 2, "title": "It is down", "state": "opened", "updated_at": "2026-01-05 10:00:00 UTC"}
    attributes = {**told, "action": action, **more}
    return {"object_kind": kind, "object_attributes": attributes, "project": PROJECT, "changes": changes or {}}


def test_the_secret_token_proves_the_sender_under_any_of_the_secrets() -> None:
    source = GitLab(name="gl", auth=HeaderAuth(header="X-Gitlab-Token", secrets=("old", "new")))
    source.verify(webhook_of({}, **{"x-gitlab-token": "old"}))
    source.verify(webhook_of({}, **{"x-gitlab-token": "new"}))
    for headers, check in (({"x-gitlab-token": "ne"}, "wrong"), ({"x-gitlab-token": ""}, "wrong"), ({}, "missing")):
        with pytest.raises(SignatureError, match=check):
            source.verify(webhook_of({}, **headers))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("failed", Status.FIRING),
        ("success", Status.RESOLVED),
        ("running", None),
        ("canceled", None),
        ("manual", None),
        (None, None),
    ],
)
def test_a_pipeline_tells_whether_its_ref_works(status: str | None, expected: Status | None) -> None:
    assert getattr(reading_of(pipeline(status)), "status", None) is expected


@given(first=NUMBERS, second=NUMBERS, ref=st.from_regex(r"[a-z][a-z/-]{0,20}", fullmatch=True))
def test_the_pipelines_on_a_ref_are_one_problem_and_those_of_another_ref_or_project_are_not(
    first: int, second: int, ref: str
) -> None:
    failed, passed = alert_of(pipeline("failed", id=first, ref=ref)), alert_of(pipeline("success", id=second, ref=ref))
    assert failed.fingerprint == passed.fingerprint
    assert alert_of(pipeline(id=first, ref=ref + "0")).fingerprint != failed.fingerprint
    elsewhere = alert_of(pipeline(ref=ref, extra={"project": {"id": second}}))
    assert (elsewhere.fingerprint == failed.fingerprint) is (second == PROJECT["id"])


def test_pipelines_that_say_nothing_of_one_another_are_problems_of_their_own() -> None:
    merge_request = {"merge_request": {"iid": 12}}
    bodies = [
        pipeline(),
        pipeline(tag=True),
        pipeline(source="schedule"),
        pipeline(source="merge_request_event", extra=merge_request),
        pipeline(source="merge_request_event", extra={"merge_request": {"iid": 13}}),
        pipeline(source="parent_pipeline", id=1),
        pipeline(source="parent_pipeline", id=2),
        pipeline(source="pipeline", extra={"source_pipeline": {"project": {"id": 5}}}),
        pipeline(source="pipeline", extra={"source_pipeline": {"project": {"id": 6}}}),
    ]
    assert len({alert_of(body).fingerprint for body in bodies}) == len(bodies)
    assert alert_of(pipeline(source="web", extra=merge_request)).fingerprint == alert_of(bodies[0]).fingerprint


def test_a_time_that_ends_in_utc_is_read() -> None:
    alert = alert_of(pipeline("success", created_at="2026-01-05 09:50:00 UTC"))
    assert alert.reported_at == alert.ends_at == datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert alert.starts_at == datetime(2026, 1, 5, 9, 50, tzinfo=UTC)


def test_a_failed_pipeline_names_the_jobs_that_count() -> None:
    builds = [
        {"stage": "test", "name": "unit", "status": "failed", "failure_reason": "script_failure"},
        {"stage": "test", "name": "lint", "status": "failed", "allow_failure": True},
        {"stage": "build", "name": "image", "status": "success"},
        "odd",
    ]
    alert = alert_of(pipeline(extra={"builds": builds, "commit": {"title": "Faster"}}))
    assert alert.description == "Faster\nfailed: test, unit, script_failure"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (issue("open"), Status.FIRING),
        (issue("reopen"), Status.FIRING),
        (issue("reopen", escalation_status="resolved"), Status.FIRING),
        (issue("update"), Status.FIRING),
        (issue(None), Status.FIRING),
        (issue("update", escalation_status="triggered"), Status.FIRING),
        (issue("open", escalation_status="acknowledged"), Status.FIRING),
        (issue("update", escalation_status="acknowledged"), Status.ACKNOWLEDGED),
        (issue("update", escalation_status="resolved"), Status.RESOLVED),
        (issue("update", escalation_status="ignored"), Status.RESOLVED),
        (issue("close", state="closed"), Status.RESOLVED),
        (issue("close", state="closed", escalation_status="acknowledged"), Status.RESOLVED),
        (issue("update", state="closed"), Status.RESOLVED),
        (issue("open", kind="work_item"), Status.FIRING),
        (issue("close", kind="incident"), Status.RESOLVED),
    ],
)
def test_an_issue_or_incident_tells_its_state(body: Any, status: Status) -> None:
    assert alert_of(body).status is status


def test_an_update_counts_when_it_changes_what_rules_go_by() -> None:
    assert isinstance(reading_of(issue("update", changes={"title": {}, "updated_at": {}})), Notice)
    assert isinstance(reading_of(issue("update", changes={"labels": {}, "updated_at": {}})), Alert)
    assert isinstance(reading_of(issue("update", changes={"severity": {}})), Alert)


@given(first=NUMBERS, second=NUMBERS)
def test_an_issue_is_one_problem_until_it_is_closed_and_no_other_is(first: int, second: int) -> None:
    opened, closed = alert_of(issue("open", id=first)), alert_of(issue("close", id=first, title="renamed"))
    assert opened.fingerprint == closed.fingerprint
    assert (alert_of(issue("open", id=second)).fingerprint == opened.fingerprint) is (first == second)
    elsewhere = {**issue("open", id=first), "project": {"id": 4}}
    assert alert_of(elsewhere).fingerprint != opened.fingerprint


def test_only_a_reopening_tells_an_episode() -> None:
    assert alert_of(issue("reopen")).episode == "reopened:2026-01-05 10:00:00 UTC"
    assert {alert_of(issue(action)).episode for action in ("open", "update", "close")} == {None}


@pytest.mark.parametrize(
    ("severity", "expected"),
    [
        ("critical", Severity.CRITICAL),
        ("high", Severity.ERROR),
        ("MEDIUM", Severity.WARNING),
        ("low", Severity.INFO),
        ("info", Severity.INFO),
        ("unknown", None),
        (None, None),
    ],
)
def test_severity_is_the_incidents(severity: Any, expected: Severity | None) -> None:
    assert alert_of(issue(severity=severity)).severity is expected


def test_a_scoped_label_is_a_pair() -> None:
    body = {**issue(), "labels": [{"title": "team::db"}, {"title": "outage"}, {"title": "a:b"}, 7]}
    labels = alert_of(body).labels
    assert (labels["team"], labels["outage"], labels["a"]) == ("db", "true", "b")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("triggered", Status.FIRING),
        ("acknowledged", Status.ACKNOWLEDGED),
        ("resolved", Status.RESOLVED),
        ("ignored", Status.RESOLVED),
        ("something new", Status.FIRING),
    ],
)
def test_an_alert_is_known_by_its_address(status: str, expected: Status) -> None:
    told = {"title": "Disk", "url": "https://gitlab.example.com/a/-/alert_management/1/details", "status": status}
    alert = alert_of({"object_kind": "alert", "object_attributes": told})
    assert alert.status is expected
    assert alert.fingerprint == f"alert:{told['url']}"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"object_kind": "push", "ref": "refs/heads/main"}, {}),
        ({"object_kind": "note", "object_attributes": {"note": "hm"}, "issue": {"id": 9}}, {}),
        ({"object_kind": "build", "build_status": "failed"}, {}),
        ({"event_name": "user_create"}, {}),
        ({"ref": "x"}, {"x-gitlab-event": "Tag Push Hook"}),
    ],
)
def test_events_that_report_no_problem_are_notices(body: Any, headers: dict[str, str]) -> None:
    reading = reading_of(body, **headers)
    assert isinstance(reading, Notice)
    assert reading.reason.endswith("reports no problem")


def test_without_an_object_kind_the_header_tells_the_event() -> None:
    body = issue("close")
    del body["object_kind"]
    assert alert_of(body, **{"x-gitlab-event": "Confidential Issue Hook"}).status is Status.RESOLVED


def test_the_body_of_a_custom_template_is_read_as_a_generic_one() -> None:
    alert = alert_of({"title": "Deploy failed", "status": "failed", "key": "k"})
    assert (alert.source_type, alert.status, alert.fingerprint) == ("gitlab", Status.FIRING, "key:k")


def test_a_resent_request_shares_its_delivery_id_and_other_bodies_do_not() -> None:
    source = GitLab(name="gl", auth=NoAuth())
    key, event = {"idempotency-key": "k1", "x-gitlab-event-uuid": "e1"}, {"x-gitlab-event-uuid": "e1"}
    assert source.delivery_id(webhook_of({}, **key)) == source.delivery_id(webhook_of({}, **key))
    assert (source.delivery_id(webhook_of({}, **key)) or "").startswith("k1:")
    assert source.delivery_id(webhook_of({"a": 1}, **event)) != source.delivery_id(webhook_of({"a": 2}, **event))
    assert source.delivery_id(webhook_of({})) is None
