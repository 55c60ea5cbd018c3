"""GitHub: signatures, which event says what, and what identifies an issue, a workflow and a security alert."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.domain.errors import DecodeError, SignatureError
from bridge.sources.base import NoAuth, SignatureAuth
from bridge.sources.github import GitHub

NOW = datetime(2026, 1, 5, tzinfo=UTC)
SECRET = "a-webhook-secret"
REPOSITORY = {"id": 7, "full_name": "acme/shop", "owner": {"login": "acme"}}
NUMBERS = st.integers(1, 10**12)


def reading_of(body: Any, **headers: str) -> Any:
    webhook = Webhook(source="gh", headers=headers, body=json.dumps(body).encode(), received_at=NOW)
    (reading,) = GitHub(name="gh", auth=NoAuth()).alerts_in(webhook)
    return reading


def alert_of(body: Any, **headers: str) -> Alert:
    reading = reading_of(body, **headers)
    assert isinstance(reading, Alert)
    return reading


def issue(action: str, *, state: str = "open", **more: Any) -> dict[str, Any]:
    told = {"id": 42, "number": 1, "title": "It is down", "state": state, "updated_at": "2026-01-05T10:00:00Z"}
    return {"action": action, "issue": {**told, **more}, "repository": REPOSITORY, "sender": {"login": "a"}}


def run(conclusion: str | None, **more: Any) -> dict[str, Any]:
    told = {"id": 1, "workflow_id": 5, "name": "CI", "head_branch": "main", "head_repository": {"id": 7}}
    told |= {"status": "completed", "conclusion": conclusion, "updated_at": "2026-01-05T10:00:00Z"}
    return {"action": "completed", "workflow_run": {**told, **more}, "repository": REPOSITORY}


def signed(body: bytes, *, secret: str = SECRET, method: str = "sha256") -> Webhook:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return Webhook(source="gh", headers={"x-hub-signature-256": f"{method}={digest}"}, body=body, received_at=NOW)


def github(*secrets: str) -> GitHub:
    return GitHub(name="gh", auth=SignatureAuth(kind="signing_secret", secrets=secrets))


def test_a_signature_over_the_raw_body_is_accepted_under_any_of_the_secrets() -> None:
    github(SECRET).verify(signed(b'{"a": "\xc3\xa9",  "b": 1.0}'))
    github("older", SECRET).verify(signed(b"payload=%7B%7D"))


def test_the_example_of_the_documentation_is_accepted() -> None:
    """https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries, "Testing"."""
    header = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    webhook = Webhook(source="gh", headers={"x-hub-signature-256": header}, body=b"Hello, World!", received_at=NOW)
    github("It's a Secret to Everybody").verify(webhook)


@pytest.mark.parametrize(
    ("webhook", "check"),
    [
        (signed(b"{}", secret="another"), "wrong"),
        (Webhook(source="gh", headers=signed(b"{}").headers, body=b"{ }", received_at=NOW), "wrong"),
        (signed(b"{}", method="sha1"), "does not begin with sha256="),
        (Webhook(source="gh", headers={"x-hub-signature-256": "sha256="}, body=b"{}", received_at=NOW), "wrong"),
        (Webhook(source="gh", headers={"x-hub-signature": "sha1=00"}, body=b"{}", received_at=NOW), "missing"),
    ],
    ids=["other secret", "other body", "other method", "no digest", "only the old header"],
)
def test_a_wrong_signature_is_refused_and_the_log_learns_why(webhook: Webhook, check: str) -> None:
    with pytest.raises(SignatureError, match=check):
        github(SECRET).verify(webhook)


@pytest.mark.parametrize("secrets", [(), ("",)])
def test_no_or_an_empty_secret_accepts_nothing(secrets: tuple[str, ...]) -> None:
    with pytest.raises(SignatureError):
        github(*secrets).verify(signed(b"{}", secret=""))


@pytest.mark.parametrize(
    ("action", "state", "status"),
    [
        ("opened", "open", Status.FIRING),
        ("reopened", "open", Status.FIRING),
        ("labeled", "open", Status.FIRING),
        ("labeled", "closed", Status.RESOLVED),
        ("closed", "closed", Status.RESOLVED),
        ("deleted", "open", Status.RESOLVED),
        ("transferred", "open", Status.RESOLVED),
        ("", "open", Status.FIRING),
    ],
)
def test_an_event_tells_whether_its_issue_is_open(action: str, state: str, status: Status) -> None:
    assert alert_of(issue(action, state=state)).status is status


@pytest.mark.parametrize("action", ["assigned", "edited", "pinned", "unlabeled", "milestoned"])
def test_other_changes_of_an_issue_are_notices(action: str) -> None:
    reading = reading_of(issue(action))
    assert isinstance(reading, Notice)
    assert reading.fingerprint == alert_of(issue("opened")).fingerprint


@pytest.mark.parametrize("event", ["ping", "push", "issue_comment", "pull_request", "star", "check_run"])
def test_events_that_report_no_problem_are_notices(event: str) -> None:
    reading = reading_of({**issue("created"), "zen": "Design for failure."}, **{"x-github-event": event})
    assert isinstance(reading, Notice)
    assert event in reading.reason


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"zen": "Design for failure.", "hook_id": 1, "hook": {}, "repository": REPOSITORY}, "ping"),
        ({"ref": "refs/heads/main", "commits": [], "repository": REPOSITORY}, "push"),
        ({**issue("created"), "comment": {"id": 1}}, "issue_comment"),
        ({"action": "created", "repository": REPOSITORY, "sender": {"login": "a"}}, "this event"),
    ],
)
def test_without_the_header_the_body_tells_the_event(body: Any, told: str) -> None:
    reading = reading_of(body)
    assert isinstance(reading, Notice)
    assert reading.reason == f"{told} reports no problem"


@given(first=NUMBERS, second=NUMBERS)
def test_an_issue_is_one_problem_until_it_is_closed_and_no_other_is(first: int, second: int) -> None:
    opened, closed = alert_of(issue("opened", id=first)), alert_of(issue("closed", id=first, title="renamed"))
    assert opened.fingerprint == closed.fingerprint
    assert (alert_of(issue("opened", id=second)).fingerprint == opened.fingerprint) is (first == second)
    elsewhere = {**issue("opened", id=first), "repository": {"id": 8}}
    assert alert_of(elsewhere).fingerprint != opened.fingerprint


def test_only_a_reopening_tells_an_episode() -> None:
    assert alert_of(issue("reopened")).episode == "reopened:2026-01-05T10:00:00Z"
    assert alert_of(issue("reopened", updated_at="2026-02-01T00:00:00Z")).episode == "reopened:2026-02-01T00:00:00Z"
    assert {alert_of(issue(action)).episode for action in ("opened", "labeled", "closed")} == {None}


def test_labels_of_an_issue_are_labels_of_the_alert() -> None:
    alert = alert_of(issue("opened", labels=[{"name": "incident"}, {"name": "severity:high"}, {"name": None}, 7]))
    assert (alert.labels["incident"], alert.labels["severity"]) == ("true", "high")
    assert alert.labels["labels"] == "incident,severity:high,7"
    assert alert.severity is None


@pytest.mark.parametrize(
    ("conclusion", "status"),
    [
        ("failure", Status.FIRING),
        ("timed_out", Status.FIRING),
        ("startup_failure", Status.FIRING),
        ("success", Status.RESOLVED),
        ("cancelled", None),
        ("skipped", None),
        ("action_required", None),
        (None, None),
    ],
)
def test_a_run_tells_whether_its_workflow_works(conclusion: str | None, status: Status | None) -> None:
    reading = reading_of(run(conclusion))
    assert getattr(reading, "status", None) is status


@given(first=NUMBERS, second=NUMBERS, branch=st.from_regex(r"[a-z][a-z/-]{0,20}", fullmatch=True))
def test_a_workflow_on_a_branch_is_one_problem_over_its_runs_and_no_other_is(
    first: int, second: int, branch: str
) -> None:
    failed = alert_of(run("failure", id=first, workflow_id=first, head_branch=branch))
    later = alert_of(run("success", id=second, workflow_id=first, head_branch=branch))
    assert failed.fingerprint == later.fingerprint
    other = alert_of(run("failure", workflow_id=second, head_branch=branch))
    assert (other.fingerprint == failed.fingerprint) is (first == second)
    assert alert_of(run("failure", workflow_id=first, head_branch=branch + "0")).fingerprint != failed.fingerprint


def test_the_main_branch_of_a_fork_is_not_the_repositorys_own() -> None:
    fork = {"id": 8, "full_name": "someone/shop"}
    own, forked = alert_of(run("failure")), alert_of(run("failure", head_repository=fork))
    assert own.fingerprint != forked.fingerprint
    assert forked.title == "CI on someone/shop:main (acme/shop)"


@pytest.mark.parametrize(
    ("event", "alert", "severity"),
    [
        ("dependabot_alert", {"security_advisory": {"severity": "high", "summary": "S"}}, Severity.ERROR),
        ("code_scanning_alert", {"rule": {"severity": "warning", "description": "S"}}, Severity.WARNING),
        (
            "code_scanning_alert",
            {"rule": {"severity": "note", "security_severity_level": "critical", "description": "S"}},
            Severity.CRITICAL,
        ),
        ("secret_scanning_alert", {"secret_type": "token"}, None),
    ],
)
def test_a_security_alert_is_one_problem_until_it_is_fixed(
    event: str, alert: dict[str, Any], severity: Severity | None
) -> None:
    def told(action: str, state: str) -> Alert:
        at = {"number": 3, "state": state, "updated_at": "2026-01-05T10:00:00Z"}
        return alert_of({"action": action, "alert": {**at, **alert}, "repository": REPOSITORY, "sender": {}})

    opened, fixed, again = told("created", "open"), told("fixed", "fixed"), told("reopened", "open")
    assert (opened.status, fixed.status, again.status) == (Status.FIRING, Status.RESOLVED, Status.FIRING)
    assert opened.fingerprint == fixed.fingerprint == again.fingerprint == f"{event.removesuffix('_alert')}:7:3"
    assert (opened.episode, again.episode) == (None, "reopened:2026-01-05T10:00:00Z")
    assert opened.severity is severity


def test_a_hook_whose_content_type_is_a_form_is_read_too() -> None:
    body = urlencode({"payload": json.dumps(issue("opened"))}).encode()
    headers = {"content-type": "application/x-www-form-urlencoded", "x-github-event": "issues"}
    (reading,) = GitHub(name="gh", auth=NoAuth()).alerts_in(
        Webhook(source="gh", headers=headers, body=body, received_at=NOW)
    )
    assert isinstance(reading, Alert)
    assert reading.title == "It is down"


@pytest.mark.parametrize("payload", ["[1]", "{", "nothing"])
def test_a_form_that_holds_no_event_is_refused(payload: str) -> None:
    with pytest.raises(DecodeError):
        reading_of({"payload": payload})


def test_redeliveries_share_their_id_and_other_bodies_do_not() -> None:
    def delivery(body: bytes, **headers: str) -> str | None:
        webhook = Webhook(source="gh", headers=headers, body=body, received_at=NOW)
        return GitHub(name="gh", auth=NoAuth()).delivery_id(webhook)

    header = {"x-github-delivery": "72d3162e"}
    assert delivery(b"{}", **header) == delivery(b"{}", **header) != delivery(b"{ }", **header)
    assert delivery(b"{}") is None
