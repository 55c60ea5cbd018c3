"""Grafana: its signature under headers of any name, its own kinds of alert, and the legacy channel."""

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
from bridge.sources.base import BearerAuth, NoAuth, SignatureAuth
from bridge.sources.grafana import Grafana

NOW = datetime(2026, 1, 5, 10, tzinfo=UTC)
SECRET = "an-hmac-secret"
BODY = b'{"alerts": [],  "x": 1.0, "y": "\xc3\xa9"}'


def digest(text: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def grafana(*secrets: str, **more: Any) -> Grafana:
    return Grafana(name="gr", auth=SignatureAuth(kind="signing_secret", secrets=secrets, **more))


def webhook_of(body: bytes = BODY, **headers: str) -> Webhook:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Webhook(source="gr", headers=told, body=body, received_at=NOW)


def timed(age: timedelta = timedelta(0), secret: str = SECRET) -> dict[str, str]:
    seconds = str(int((NOW - age).timestamp()))
    return {
        "x_grafana_alerting_signature": digest(f"{seconds}:".encode() + BODY, secret),
        "x_grafana_alerting_timestamp": seconds,
    }


def readings_of(body: Any) -> tuple[Any, ...]:
    webhook = Webhook(source="gr", headers={}, body=json.dumps(body).encode(), received_at=NOW)
    return Grafana(name="gr", auth=NoAuth()).alerts_in(webhook)


def member(**more: Any) -> dict[str, Any]:
    told = {"status": "firing", "labels": {"alertname": "Down"}, "annotations": {}, "fingerprint": "0011aabb"}
    return {**told, "startsAt": "2026-01-05T10:00:00Z", "endsAt": "0001-01-01T00:00:00Z", **more}


def alert_of(**more: Any) -> Alert:
    (reading,) = readings_of({"version": "1", "status": "firing", "receiver": "r", "alerts": [member(**more)]})
    assert isinstance(reading, Alert)
    return reading


def legacy(state: Any, **more: Any) -> Any:
    told = {"ruleId": 7, "ruleName": "CPU", "state": state, "title": "[Alerting] CPU", "evalMatches": [], "tags": {}}
    (reading,) = readings_of({**told, **more})
    return reading


def test_a_signature_over_the_raw_body_is_accepted_under_any_of_the_secrets() -> None:
    signed = webhook_of(x_grafana_alerting_signature=digest(BODY))
    grafana(SECRET).verify(signed)
    grafana("older", SECRET).verify(signed)


def test_a_signature_over_time_and_body_is_accepted_under_any_of_the_secrets() -> None:
    grafana(SECRET).verify(webhook_of(**timed()))
    grafana("older", SECRET).verify(webhook_of(**timed()))


def test_the_headers_may_have_any_name_and_stand_among_others_like_them() -> None:
    seconds = str(int(NOW.timestamp()))
    signature = digest(f"{seconds}:".encode() + BODY)
    grafana(SECRET).verify(webhook_of(x_trace="a" * 64, x_request_start="1700000000", x_sig=signature, x_at=seconds))


@pytest.mark.parametrize("age", [timedelta(minutes=6), timedelta(minutes=-6), timedelta(days=400)])
def test_a_signed_time_that_is_too_old_or_from_the_future_is_refused(age: timedelta) -> None:
    with pytest.raises(SignatureError, match="too old"):
        grafana(SECRET).verify(webhook_of(**timed(age)))
    grafana(SECRET, tolerance=timedelta(days=500)).verify(webhook_of(**timed(age)))


def test_a_signature_with_a_time_is_worth_nothing_without_it_or_with_another() -> None:
    held = timed(timedelta(minutes=6))
    del held["x_grafana_alerting_timestamp"]
    with pytest.raises(SignatureError, match="wrong"):
        grafana(SECRET).verify(webhook_of(**held))
    with pytest.raises(SignatureError, match="wrong"):
        grafana(SECRET).verify(webhook_of(**held, x_grafana_alerting_timestamp=str(int(NOW.timestamp()))))


@pytest.mark.parametrize(
    ("webhook", "check"),
    [
        (webhook_of(), "no header"),
        (webhook_of(x_grafana_alerting_signature="sha256=" + digest(BODY)), "no header"),
        (webhook_of(x_grafana_alerting_signature=digest(BODY, "another")), "wrong"),
        (webhook_of(b"{}", x_grafana_alerting_signature=digest(BODY)), "wrong"),
        (webhook_of(**timed(secret="another")), "wrong"),
        (webhook_of(x_grafana_alerting_signature=digest(BODY, "")), "wrong"),
    ],
    ids=["nothing", "another form", "other secret", "other body", "other secret, with a time", "the empty secret"],
)
def test_a_wrong_signature_is_refused_and_the_log_learns_why(webhook: Webhook, check: str) -> None:
    with pytest.raises(SignatureError, match=check):
        grafana(SECRET, "").verify(webhook)


def test_what_we_sign_ourselves_is_accepted() -> None:
    auth = SignatureAuth(kind="signing_secret", secrets=(SECRET, "older"))
    headers = {name.lower(): value for name, value in Grafana.proof(auth, BODY, NOW).headers.items()}
    Grafana(name="gr", auth=auth).verify(Webhook(source="gr", headers=headers, body=BODY, received_at=NOW))


def test_an_authorization_header_is_another_way() -> None:
    source = Grafana(name="gr", auth=BearerAuth(secrets=("old", "new")))
    source.verify(webhook_of(authorization="Bearer new"))
    with pytest.raises(SignatureError):
        source.verify(webhook_of(authorization="Bearer other"))


@given(
    first=st.text(max_size=12), second=st.text(max_size=12), region=st.from_regex(r"[a-z]{1,8}-[0-9]", fullmatch=True)
)
def test_an_alert_is_one_problem_from_firing_to_resolved_and_no_other_is(first: str, second: str, region: str) -> None:
    labels = {"alertname": "Errors", "region": region}
    fired = alert_of(labels=labels, annotations={"summary": first}, values={"A": 1})
    ended = alert_of(labels=labels, annotations={"summary": second}, values=None, status="resolved")
    assert (fired.fingerprint, fired.episode) == (ended.fingerprint, ended.episode)
    assert alert_of(labels={**labels, "region": region + "0"}).fingerprint != fired.fingerprint
    assert alert_of(labels=labels, startsAt="2026-01-05T11:00:00Z").episode != fired.episode


@pytest.mark.parametrize(
    ("name", "title"), [("DatasourceNoData", "No data: Errors"), ("DatasourceError", "Error: Errors")]
)
def test_a_failing_data_source_is_a_problem_of_its_own_and_named_after_its_rule(name: str, title: str) -> None:
    alert = alert_of(labels={"alertname": name, "rulename": "Errors"}, annotations={"summary": "Errors are high"})
    assert alert.title == title
    assert alert.fingerprint != alert_of(labels={"alertname": "Errors"}).fingerprint


def test_the_test_of_a_contact_point_is_a_notice() -> None:
    body = {"receiver": "", "alerts": [member(labels={"alertname": "TestAlert", "instance": "Grafana"})]}
    (notice,) = readings_of(body)
    assert isinstance(notice, Notice)
    assert "test" in notice.reason


@pytest.mark.parametrize("labels", [{"alertname": "TestAlert"}, {"instance": "Grafana"}, {}])
def test_what_only_looks_like_a_test_still_pages(labels: dict[str, str]) -> None:
    assert alert_of(labels=labels).status is Status.FIRING


def test_severity_may_stand_in_an_annotation() -> None:
    assert alert_of(annotations={"priority": "P1"}).severity is Severity.CRITICAL


def test_what_was_measured_ends_the_description() -> None:
    assert alert_of(annotations={"description": "too many"}, valueString="[ A=5 ]").description == "too many\n\n[ A=5 ]"


def test_why_a_rule_could_not_be_asked_stands_in_the_description() -> None:
    why = "[sse.dataQueryError] failed to execute query [A]: dial tcp: i/o timeout"
    labels = {"alertname": "DatasourceError", "rulename": "Queue is long"}
    alert = alert_of(labels=labels, annotations={"description": "Over 9000 wait", "Error": why})
    assert alert.description.startswith(f"Over 9000 wait\n\n{why}")


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("alerting", Status.FIRING),
        ("no_data", Status.FIRING),
        ("unknown", Status.FIRING),
        (None, Status.FIRING),
        ("ok", Status.RESOLVED),
        ("OK", Status.RESOLVED),
        ("paused", None),
        ("pending", None),
    ],
)
def test_a_legacy_rule_tells_its_state(state: Any, status: Status | None) -> None:
    assert getattr(legacy(state), "status", None) is status


@given(first=st.integers(1, 10**9), second=st.integers(1, 10**9))
def test_a_legacy_rule_is_one_problem_whatever_it_says(first: int, second: int) -> None:
    fired, ended = legacy("alerting", ruleId=first), legacy("ok", ruleId=first, message="other", title="[OK] CPU")
    assert fired.fingerprint == ended.fingerprint
    assert (legacy("alerting", ruleId=second).fingerprint == fired.fingerprint) is (first == second)


@pytest.mark.parametrize("rule_id", [None, 0, "", "0"])
def test_a_legacy_rule_without_an_id_is_known_by_its_name(rule_id: Any) -> None:
    assert legacy("alerting", ruleId=rule_id).fingerprint == "name:CPU"


def test_the_test_of_a_legacy_channel_is_a_notice() -> None:
    assert isinstance(legacy("alerting", ruleId=0, ruleName="Test notification"), Notice)


def test_the_test_of_a_legacy_channel_may_have_any_id() -> None:
    told = {"ruleId": 3276076600971271700, "ruleName": "Test notification"}
    tested = legacy("alerting", **told, message="Someone is testing the alert notification within Grafana.")
    assert isinstance(tested, Notice)
    assert isinstance(legacy("alerting", **told, message="The notifications of our tests fail"), Alert)


@pytest.mark.parametrize("tags", [{}, None, "", [], "team:web"])
def test_legacy_tags_of_any_form_do_no_harm(tags: Any) -> None:
    alert = legacy("alerting", tags=tags, evalMatches=[{"value": 5, "metric": "m", "tags": tags}, 7])
    assert dict(alert.labels) == {"state": "alerting", "rule": "CPU"}
    assert alert.description == "m: 5"


def oncall(event: str, state: str, *, group: str = "IABC", **more: Any) -> Any:
    body = {
        "event": {"type": event, "time": "2026-01-05T09:04:00.5+00:00"},
        "alert_group": {
            "id": group,
            "state": state,
            "title": "The queue is long",
            "alerts_count": len(event),
            "created_at": "2026-01-05T09:00:00Z",
            "resolved_at": "2026-01-05T09:04:00Z" if state == "resolved" else None,
            "permalinks": {"slack": None, "web": "https://team.grafana.example/alert-groups/IABC"},
            "labels": {"team": "queues"},
        },
        "alert_payload": {"status": "firing", "commonLabels": {"alertname": "QueueLong", "severity": "critical"}},
        "integration": {"name": "Main"},
        "notified_users": [{"username": event}],
    }
    (reading,) = readings_of({**body, **more})
    return reading


@pytest.mark.parametrize(
    ("event", "state", "status"),
    [
        ("alert group created", "firing", Status.FIRING),
        ("escalation", "firing", Status.FIRING),
        ("acknowledge", "acknowledged", Status.ACKNOWLEDGED),
        ("acknowledge", "", Status.ACKNOWLEDGED),
        ("unacknowledge", "firing", Status.FIRING),
        ("resolve", "resolved", Status.RESOLVED),
        ("resolve", "", Status.RESOLVED),
        ("unresolve", "firing", Status.FIRING),
        ("unsilence", "firing", Status.FIRING),
        ("status change", "resolved", Status.RESOLVED),
    ],
)
def test_an_alert_group_of_oncall_is_one_problem_through_its_states(event: str, state: str, status: Status) -> None:
    reading, opened = oncall(event, state), oncall("alert group created", "firing")
    assert (reading.status, reading.title, reading.severity) == (status, "The queue is long", Severity.CRITICAL)
    assert (reading.fingerprint, reading.episode) == (opened.fingerprint, opened.episode)
    assert oncall(event, state, group="IDEF").fingerprint != opened.fingerprint


def test_an_alert_group_of_oncall_tells_its_times_labels_and_page() -> None:
    alert = oncall("resolve", "resolved")
    assert alert.reported_at == datetime(2026, 1, 5, 9, 4, 0, 500_000, tzinfo=UTC)
    assert (alert.starts_at, alert.ends_at) == (NOW.replace(hour=9), NOW.replace(hour=9, minute=4))
    assert (alert.labels["alertname"], alert.labels["team"]) == ("QueueLong", "queues")
    assert [link.href for link in alert.links] == ["https://team.grafana.example/alert-groups/IABC"]


@pytest.mark.parametrize(
    ("event", "state"), [("silence", "silenced"), ("silence", "firing"), ("status change", "silenced")]
)
def test_a_silence_of_oncall_is_a_notice(event: str, state: str) -> None:
    reading = oncall(event, state)
    assert isinstance(reading, Notice)
    assert reading.fingerprint == oncall("escalation", "firing").fingerprint
