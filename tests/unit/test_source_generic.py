"""The generic source: the documented shape, its aliases, and batches in which one bad element spoils nothing."""

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.domain.errors import DecodeError
from bridge.domain.reports import last_report, why_ignored
from bridge.sources.base import NoAuth
from bridge.sources.generic import ALERTS_MAX, Generic
from tests.receiving import told_as_it_is

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def readings_of(value: Any, **headers: str) -> tuple[Any, ...]:
    webhook = Webhook(
        source="lab", headers=headers, body=json.dumps(value).encode(), received_at=datetime(2026, 1, 5, tzinfo=UTC)
    )
    return Generic(name="lab", auth=NoAuth()).alerts_in(webhook)


def alert_of(**body: Any) -> Alert:
    (reading,) = readings_of(body)
    assert isinstance(reading, Alert)
    return reading


def test_a_title_alone_is_a_firing_alert() -> None:
    alert = alert_of(title="The office is on fire")
    assert (alert.status, alert.severity, alert.episode) == (Status.FIRING, None, None)
    assert (alert.source, alert.source_type) == ("lab", "generic")


@pytest.mark.parametrize("key", ["fingerprint", "key", "dedup_key", "dedupKey", "incident_key", "alert_id", "id"])
def test_a_fingerprint_is_taken_under_its_common_names(key: str) -> None:
    assert alert_of(title="x", **{key: "disk-db-01"}).fingerprint == "key:disk-db-01"


def test_without_a_fingerprint_title_and_lasting_labels_identify() -> None:
    def fingerprint(**body: Any) -> str:
        return alert_of(**{"title": "Disk full", **body}).fingerprint

    same = fingerprint(labels={"host": "a", "value": "97.1", "at": "2026-01-05T10:00:00Z"}, status="firing")
    assert same == fingerprint(labels={"host": "a", "value": "98.3", "at": "2026-01-05T11:00:00Z"}, status="resolved")
    assert same != fingerprint(labels={"host": "b"})
    assert same != fingerprint(title="Disk gone", labels={"host": "a"})
    assert fingerprint(host="a") != fingerprint(host="b")
    assert fingerprint(labels={"port": "5432"}) != fingerprint(labels={"port": "5433"})


@pytest.mark.parametrize("key", ["message", "description", "details", "output", "text"])
@pytest.mark.parametrize("beside", [{}, {"level": "error", "timestamp": "2026-01-05T10:00:00Z"}, {"type": "error"}])
def test_what_has_nothing_but_words_is_known_by_them(key: str, beside: dict[str, str]) -> None:
    down = alert_of(**{key: "The database is down", **beside})
    assert down.fingerprint != alert_of(**{key: "The disk is full", **beside}).fingerprint
    over = alert_of(**{key: "The database is down", **beside, "status": "ok", "timestamp": "2026-01-05T11:00:00Z"})
    assert (over.fingerprint, over.status) == (down.fingerprint, Status.RESOLVED)


def test_what_says_where_it_is_is_known_by_that_whatever_its_words_measure() -> None:
    def fingerprint(host: str, output: str) -> str:
        return alert_of(host=host, service="disk", state="CRITICAL", output=output).fingerprint

    assert fingerprint("db-1", "97 % used") == fingerprint("db-1", "98 % used") != fingerprint("db-2", "97 % used")


def test_a_resource_of_json_api_is_read_by_its_attributes() -> None:
    def incident(status: str) -> Alert:
        told = {"name": "checkout", "cause": "Status 502", "status": status, "url": "https://shop.example.com"}
        return alert_of(data={"id": "25", "type": "incident", "attributes": told})

    fired, over = incident("Started"), incident("Resolved")
    assert (fired.status, over.status) == (Status.FIRING, Status.RESOLVED)
    assert fired.fingerprint == over.fingerprint == "key:25"
    assert fired.title == "checkout"
    assert [link.href for link in fired.links] == ["https://shop.example.com"]


@pytest.mark.parametrize(
    ("fires", "ends"),
    [
        ({"notification_type": "PROBLEM", "state": "CRITICAL"}, {"notification_type": "RECOVERY", "state": "OK"}),
        ({"alert_status": "active"}, {"alert_status": "clear"}),
        ({"alert_state": "alerting", "alertSeverity": "high"}, {"alert_state": "ok", "alertSeverity": "none"}),
        ({"type": "disk.alert_triggered"}, {"type": "disk.alert_resolved"}),
        ({"event": "check.down"}, {"event": "check.up"}),
        ({"status": "completed", "result": "failed"}, {"status": "completed", "result": "success"}),
        ({"updated_at": "2026-01-05T10:00:00Z"}, {"updated_at": "2026-01-05T11:00:00Z", "status": "resolved"}),
    ],
)
def test_the_end_of_what_has_no_title_is_of_the_same_problem(fires: dict[str, str], ends: dict[str, str]) -> None:
    fired, over = alert_of(host="db-1", service="disk", **fires), alert_of(host="db-1", service="disk", **ends)
    assert (fired.status, over.status) == (Status.FIRING, Status.RESOLVED)
    assert fired.fingerprint == over.fingerprint
    fired, over = (alert_of(data={"attributes": {"host": "db-1", "service": "disk", **told}}) for told in (fires, ends))
    assert (fired.status, over.status) == (Status.FIRING, Status.RESOLVED)
    assert fired.fingerprint == over.fingerprint


def test_what_stands_in_a_block_tells_problems_apart_as_what_stands_beside_it() -> None:
    bodies = ({"host": "db-1"}, {"host": "db-2"}, {"message": "The disk is full"}, {"message": "The database is down"})
    assert len({alert_of(event={**body, "state": "CRITICAL"}).fingerprint for body in bodies}) == 4


def test_a_type_that_is_no_status_tells_problems_of_one_host_apart() -> None:
    told = [alert_of(host="db-1", type=kind) for kind in ("disk usage", "cpu usage", "disk.failed", "cpu.failed")]
    assert len({alert.fingerprint for alert in told}) == 4


def test_an_unfilled_fingerprint_is_none_at_all() -> None:
    assert alert_of(title="x", fingerprint="{{ id }}").fingerprint == alert_of(title="x").fingerprint


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"status": "firing"}, Status.FIRING),
        ({"status": "Resolved"}, Status.RESOLVED),
        ({"status": "acknowledged"}, Status.ACKNOWLEDGED),
        ({"state": "OK"}, Status.RESOLVED),
        ({"status": "operational"}, Status.RESOLVED),
        ({"status": "major_outage"}, Status.FIRING),
        ({"incident": {"status": "postmortem"}}, Status.RESOLVED),
        ({"event_type": "trigger"}, Status.FIRING),
        ({"event_action": "resolve"}, Status.RESOLVED),
        ({"status": "3", "event_action": "acknowledge"}, Status.ACKNOWLEDGED),
        ({"status": "unheard of"}, Status.FIRING),
        ({"status": None}, Status.FIRING),
        ({"status": {"a": 1}}, Status.FIRING),
        ({"alert_type": "ALERT_RECOVERY"}, Status.RESOLVED),
        ({"type": "alert.resolved"}, Status.RESOLVED),
        ({"type": "alert.resolved.v1"}, Status.RESOLVED),
        ({"type": "Alert.Resolved.V12"}, Status.RESOLVED),
        ({"type": "alert.resolved/v1.2"}, Status.RESOLVED),
        ({"type": "resolved.v1"}, Status.RESOLVED),
        ({"event": "alert.resolved"}, Status.RESOLVED),
        ({"alert_action": "resolve"}, Status.RESOLVED),
        ({"alert_action": "trigger"}, Status.FIRING),
        ({"event": "check.up"}, Status.RESOLVED),
        ({"event": "alert_cleared", "data": {"alert": {"state": "CRITICAL"}}}, Status.FIRING),
        ({"event": "alert.fired"}, Status.FIRING),
        ({"event": {"status": "resolved"}}, Status.RESOLVED),
        ({"type": "alert.fired.v1"}, Status.FIRING),
        ({"type": "alert.not_resolved.v1"}, Status.FIRING),
        ({"status": "ok v2"}, Status.FIRING),
        ({"type": "alert.not_resolved"}, Status.FIRING),
        ({"status": "partially_operational"}, Status.FIRING),
        ({"type": "some text that ends with resolved"}, Status.FIRING),
        ({"type": "workflow-completed", "workflow": {"status": "failed"}}, Status.FIRING),
        ({"type": "workflow-completed", "workflow": {"status": "success"}}, Status.RESOLVED),
        ({"type": "job-completed", "workflow": {"name": "x"}, "job": {"status": "unauthorized"}}, Status.FIRING),
        ({"status": "completed", "conclusion": "timed_out"}, Status.FIRING),
        ({"status": "completed", "conclusion": "success"}, Status.RESOLVED),
        ({"status": "completed", "result": "42 rows"}, Status.RESOLVED),
        ({"status": "completed"}, Status.RESOLVED),
        ({"event_type": "build.complete", "resource": {"result": "succeeded"}}, Status.RESOLVED),
        ({"event_type": "build.complete", "resource": {"result": "partiallySucceeded"}}, Status.FIRING),
        ({"build": {"phase": "COMPLETED", "status": "SUCCESS"}}, Status.RESOLVED),
        ({"build": {"phase": "COMPLETED", "status": "UNSTABLE"}}, Status.FIRING),
        ({"details": {"result": "success"}}, Status.FIRING),
        ({"status": "firing", "result": "success"}, Status.FIRING),
        ({"status": "resolved", "result": "failed"}, Status.RESOLVED),
        ({"severity": "OK"}, Status.RESOLVED),
        ({"severity": "normal"}, Status.FIRING),
        ({"severity": "ok", "status": "down"}, Status.FIRING),
    ],
)
def test_the_status_is_read_in_many_words_and_fires_in_doubt(body: dict[str, Any], status: Status) -> None:
    assert alert_of(title="x", **body).status is status


@pytest.mark.parametrize(
    ("body", "severity"),
    [
        ({"severity": "critical"}, Severity.CRITICAL),
        ({"level": "FATAL"}, Severity.CRITICAL),
        ({"priority": "P1"}, Severity.CRITICAL),
        ({"urgency": "high"}, Severity.ERROR),
        ({"severity": "warn"}, Severity.WARNING),
        ({"severity": "information"}, Severity.INFO),
        ({"priority": "1 - Critical"}, Severity.CRITICAL),
        ({"priority": "P2 - High"}, Severity.ERROR),
        ({"priority": "1 - Critical", "urgency": "low"}, Severity.CRITICAL),
        ({"severity": "3 - Moderate"}, Severity.WARNING),
        ({"severity": "Sev1 (customers)"}, Severity.CRITICAL),
        ({"severity": "warning_no_page"}, Severity.WARNING),
        ({"severity": "non-critical"}, None),
        ({"severity": "Alert: Warning"}, Severity.WARNING),
        ({"severity": "alert"}, Severity.CRITICAL),
        ({"severity": "5 - Planning", "level": "low"}, Severity.INFO),
        ({"severity": "the disk of the critical database is full again since yesterday"}, None),
        ({"severity": "pink"}, None),
        ({"severity": 3}, None),
    ],
)
def test_the_severity_is_read_in_many_words(body: dict[str, Any], severity: Severity | None) -> None:
    assert alert_of(title="x", **body).severity is severity


def test_a_status_that_says_how_bad_it_is_is_a_severity_too() -> None:
    """As Netdata's notification script says it of one alarm: WARNING, CRITICAL, CLEAR."""

    def told(status: str, **body: Any) -> tuple[Status, Severity | None]:
        alert = alert_of(title="disk_space_usage", host="web-01", status=status, **body)
        return alert.status, alert.severity

    assert told("WARNING") == (Status.FIRING, Severity.WARNING)
    assert told("CRITICAL") == told("firing", type="critical") == (Status.FIRING, Severity.CRITICAL)
    assert told("CRITICAL", severity="minor") == (Status.FIRING, Severity.WARNING)
    assert told("CRITICAL", priority=3) == (Status.FIRING, Severity.CRITICAL)
    assert told("error") == (Status.FIRING, Severity.ERROR)
    assert told("CLEAR") == (Status.RESOLVED, None)
    assert told("firing") == told("down") == told("degraded") == (Status.FIRING, None)


@pytest.mark.parametrize(
    "labels",
    [{"team": "db"}, [{"name": "team", "value": "db"}], ["team:db"], "team:db", [{"key": "team", "value": "db"}]],
)
def test_labels_are_read_in_many_shapes(labels: Any) -> None:
    assert dict(alert_of(title="x", labels=labels).labels) == {"team": "db"}
    assert dict(alert_of(title="x", tags=labels).labels) == {"team": "db"}


def test_times_and_links_are_read() -> None:
    alert = alert_of(
        title="x", status="resolved", startsAt="2026-01-05T10:00:00+01:00", ends_at=1767610800,
        timestamp="1767610800000",
        links=[{"text": "Graph", "href": "https://a/b"}, "https://c/d", {"href": "javascript:x"}, 7], url="https://e/f",
    )  # fmt: skip
    assert alert.starts_at == datetime(2026, 1, 5, 9, tzinfo=UTC)
    assert alert.ends_at == alert.reported_at == datetime(2026, 1, 5, 11, tzinfo=UTC)
    assert [link.href for link in alert.links] == ["https://a/b", "https://c/d", "https://e/f"]


@pytest.mark.parametrize(
    ("fires", "ends"),
    [({"time": 250_000}, {"time": 180_000}), ({"timestamp": "2026-01-04T10:00:00Z"}, {"timestamp": "20261122"})],
)
def test_a_duration_or_a_bare_date_makes_no_recovery_stale(fires: dict[str, Any], ends: dict[str, Any]) -> None:
    began, over = alert_of(title="x", status="down", **fires), alert_of(title="x", status="up", **ends)
    assert over.reported_at is None
    assert why_ignored(over, last_report(began, NOW), NOW) is None


def test_a_label_that_may_be_a_time_of_long_ago_is_no_part_of_the_identity() -> None:
    first, second = (alert_of(title="x", labels={"bytes_free": text}) for text in ("734003200", "734003201"))
    assert first.fingerprint == second.fingerprint


def test_a_title_with_nothing_to_see_pages_with_the_first_line_of_the_message() -> None:
    alert = alert_of(title="\u200b\u200b", key="k", message="Disk full\nand more")
    assert (alert.title, alert.fingerprint) == ("Disk full", "key:k")


def test_one_bad_element_never_spoils_the_others() -> None:
    for value in ({"alerts": [{"title": "a"}, 7, {}, {"title": "b"}]}, [{"title": "a"}, 7, {}, {"title": "b"}]):
        first, second, third, fourth = readings_of(value)
        assert (first.title, fourth.title) == ("a", "b")
        assert isinstance(second, Notice)
        assert second.reason.endswith("[1] is a number, not an object")
        assert isinstance(third, Notice)
        assert third.reason.endswith("[2] says nothing")


def test_an_object_with_any_word_pages_even_when_its_batch_is_unreadable() -> None:
    (alert,) = readings_of({"alerts": ["disk full", "cpu high"]})
    assert isinstance(alert, Alert)
    assert alert.title == "Alert from lab"
    assert alert_of(sensor="t-17").description == "sensor: t-17"


def test_without_a_title_the_body_identifies_but_not_its_status_or_time() -> None:
    firing = alert_of(sensor="t-17", status="alarm", timestamp="1767610800")
    resolved = alert_of(sensor="t-17", status="ok", timestamp="1767610900")
    assert firing.fingerprint == resolved.fingerprint != alert_of(sensor="t-18").fingerprint
    assert resolved.status is Status.RESOLVED


@pytest.mark.parametrize("value", [{}, [], {"alerts": []}, {"title": None}])
def test_a_body_that_says_nothing_is_a_notice(value: Any) -> None:
    (reading,) = readings_of(value)
    assert isinstance(reading, Notice)


@pytest.mark.parametrize("value", [["a", 1], [None], "text", 7])
def test_a_body_without_any_object_is_refused(value: Any) -> None:
    with pytest.raises(DecodeError, match="expected an object"):
        readings_of(value)


def test_a_batch_beyond_the_limit_is_refused_with_the_limit() -> None:
    with pytest.raises(DecodeError, match="send at most 5000"):
        readings_of([{"title": "x"}] * (ALERTS_MAX + 1))


def test_a_form_of_curl_is_read() -> None:
    webhook = Webhook(
        source="lab",
        headers={"content-type": "application/x-www-form-urlencoded"},
        body=b"title=Disk+full&status=resolved",
        received_at=datetime(2026, 1, 5, tzinfo=UTC),
    )
    (alert,) = Generic(name="lab", auth=NoAuth()).alerts_in(webhook)
    assert isinstance(alert, Alert)
    assert (alert.title, alert.status) == ("Disk full", Status.RESOLVED)


def form_of(body: bytes, media_type: str = "application/x-www-form-urlencoded") -> Alert:
    webhook = Webhook(source="lab", headers={"content-type": media_type}, body=body, received_at=NOW)
    (reading,) = Generic(name="lab", auth=NoAuth()).alerts_in(webhook)
    assert isinstance(reading, Alert)
    return reading


def test_a_form_in_parts_is_read() -> None:
    parts = "".join(
        f'--xyz\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in (("title", "Disk full on db-1"), ("status", "resolved"), ("fingerprint", "disk-db-1"))
    )
    alert = form_of(f"{parts}--xyz--\r\n".encode(), "multipart/form-data; boundary=xyz")
    assert (alert.title, alert.status, alert.fingerprint) == ("Disk full on db-1", Status.RESOLVED, "key:disk-db-1")


def test_a_form_for_slacks_first_webhooks_is_the_object_in_it() -> None:
    """As Netdata's notification script posts it, and many a script after its example."""
    card = {"color": "warning", "title": "disk space usage = 86%", "text": "disk / space utilization"}
    message = {"channel": "#alarms", "text": "web-01 needs attention, *disk space usage = 86%*", "attachments": [card]}
    alert = form_of(urlencode({"payload": " " + json.dumps(message)}).encode())
    assert alert.title == "web-01 needs attention, *disk space usage = 86%*"
    assert alert.fingerprint == alert_of(**message).fingerprint
    text = {"payload": "{ is no object"}
    assert form_of(urlencode(text).encode()).payload == text
    named = form_of(urlencode({"payload": '{"title": "x"}', "title": "y"}).encode())
    assert named.title == "y"


@pytest.mark.parametrize(
    ("headers", "delivery"),
    [
        ({"idempotency-key": "k1"}, "k1"),
        ({"idempotency-key": '"k1"', "webhook-id": "w"}, "k1"),
        ({"webhook-id": "msg_1"}, "msg_1"),
        ({"x-request-id": "r"}, None),
        ({"idempotency-key": ""}, None),
    ],
)
def test_the_delivery_id_is_the_senders_idempotency_key(headers: dict[str, str], delivery: str | None) -> None:
    webhook = Webhook(source="lab", headers=headers, body=b"{}", received_at=datetime(2026, 1, 5, tzinfo=UTC))
    assert Generic(name="lab", auth=NoAuth()).delivery_id(webhook) == delivery


@pytest.mark.parametrize(
    ("body", "fingerprint"),
    [
        ({"event_definition_id": "d1", "event": {"id": "new-each-time"}}, "definition:d1"),
        ({"check_name": "API", "check_id": "c1"}, "key:c1"),
        ({"problem_id": "p1", "id": "x"}, "key:p1"),
        ({"monitor": {"id": "m1", "display_name": "Site"}}, "key:m1"),
    ],
)
def test_other_senders_name_their_problems_in_their_own_words(body: dict[str, Any], fingerprint: str) -> None:
    assert alert_of(**body).fingerprint == fingerprint


def test_a_body_as_victorops_takes_it_is_read_by_its_own_words() -> None:
    def told(kind: str, entity: str = "disk/db-1") -> Alert:
        return alert_of(
            message_type=kind,
            entity_id=entity,
            entity_display_name="Disk of db-1 is almost full",
            state_message=f"{kind}: /var",
            state_start_time=1767607200,
        )

    critical, over = told("CRITICAL"), told("RECOVERY")
    assert critical.fingerprint == over.fingerprint == told("ACKNOWLEDGEMENT").fingerprint == "key:disk/db-1"
    assert told("CRITICAL", "disk/db-2").fingerprint != critical.fingerprint
    statuses = [told(kind).status for kind in ("CRITICAL", "WARNING", "INFO", "ACKNOWLEDGEMENT", "RECOVERY")]
    assert statuses == [Status.FIRING] * 3 + [Status.ACKNOWLEDGED, Status.RESOLVED]
    severities = [told(kind).severity for kind in ("CRITICAL", "WARNING", "INFO")]
    assert severities == [Severity.CRITICAL, Severity.WARNING, Severity.INFO]
    assert (critical.title, critical.description) == ("Disk of db-1 is almost full", "CRITICAL: /var")
    assert critical.starts_at == datetime(2026, 1, 5, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "beside",
    [{"priority": "P1"}, {"entity": "db-1"}, {"responders": [{"type": "team"}]}, {"visibleTo": [{"type": "team"}]}],
)
def test_a_body_as_opsgenie_takes_it_is_titled_by_its_message_and_known_by_its_alias(beside: dict[str, Any]) -> None:
    def told(alias: str, details: str = "x") -> Alert:
        about = {"description": "It is 97 % full\nsince noon", "details": {"now": details}, "tags": ["vip"]}
        return alert_of(message="Disk of db-1 is almost full", alias=alias, **about, **beside)

    alert = told("disk-db-1")
    assert (alert.title, alert.description) == ("Disk of db-1 is almost full", "It is 97 % full\nsince noon")
    assert alert.fingerprint == told("disk-db-1", details="y").fingerprint == "key:disk-db-1"
    assert alert.fingerprint != told("disk-db-2").fingerprint


def test_an_alert_that_has_an_id_of_its_own_is_known_by_it_rather_than_by_its_alias() -> None:
    told = {"alertId": "a-1", "alias": "disk-db-1", "message": "Disk full", "priority": "P1", "entity": "db-1"}
    assert alert_of(alert=told, action="Create").fingerprint == "key:a-1"


def test_an_alias_that_is_a_name_of_a_host_joins_no_problems() -> None:
    one, other = (alert_of(alias="db-1", host="10.0.0.1", message=text).title for text in ("CPU", "Disk"))
    assert one != other
    assert alert_of(alias="db-1", message="CPU").fingerprint != "key:db-1"


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("anomalous", Status.FIRING),
        ("too high", Status.FIRING),
        ("ok", Status.RESOLVED),
        ("manually resolved", Status.RESOLVED),
        ("auto resolved", Status.RESOLVED),
        ("stopped", Status.RESOLVED),
    ],
)
def test_an_incident_of_splunk_observability_ends_in_any_of_its_ways(word: str, status: Status) -> None:
    alert = alert_of(
        incidentId="E-1",
        detectorId="D-1",
        detectorUrl="https://app.example.com/#/detector/D-1",
        messageTitle="Critical Alert: CPU is high",
        description="The value of cpu.utilization is above 80.",
        severity="Critical",
        status=word,
    )
    assert (alert.status, alert.fingerprint, alert.severity) == (status, "key:E-1", Severity.CRITICAL)
    assert (alert.title, alert.links[0].href) == (
        "Critical Alert: CPU is high",
        "https://app.example.com/#/detector/D-1",
    )


def test_what_is_stopped_elsewhere_pages() -> None:
    assert alert_of(title="nginx", status="stopped").status is Status.FIRING


def test_an_alert_of_cloudflare_is_one_problem_from_its_start_to_its_end() -> None:
    def told(event: str, correlation: str = "c-1", at: int = 1767607200) -> Alert:
        return alert_of(
            name="DDoS",
            text="An attack on 192.0.2.1",
            alert_type="advanced_ddos_attack_l4_alert",
            alert_correlation_id=correlation,
            alert_event=event,
            policy_id="p-1",
            ts=at,
            data={"attack_id": event, "dashboard_link": "https://dash.example.com/1"},
        )

    began, over = told("ALERT_STATE_EVENT_START"), told("ALERT_STATE_EVENT_END", at=1767608200)
    assert (began.status, over.status) == (Status.FIRING, Status.RESOLVED)
    assert began.fingerprint == over.fingerprint == "key:c-1" != told("ALERT_STATE_EVENT_START", "c-2").fingerprint
    assert (began.title, began.links[0].href) == ("DDoS", "https://dash.example.com/1")


def test_a_component_of_a_status_page_is_one_problem_until_it_is_operational() -> None:
    def told(update: str, status: str, component: str = "c-1") -> Alert:
        return alert_of(
            meta={"unsubscribe": "https://status.example.com/unsubscribe"},
            page={"id": "p-1", "status_description": "Partial System Outage"},
            component_update={
                "id": update,
                "component_id": component,
                "new_status": status,
                "old_status": "operational",
            },
            component={"id": component, "name": "Checkout", "status": status},
        )

    down, up = told("u-1", "major_outage"), told("u-2", "operational")
    assert (down.status, up.status, down.title) == (Status.FIRING, Status.RESOLVED, "Checkout")
    assert down.fingerprint == up.fingerprint != told("u-3", "major_outage", "c-2").fingerprint


def test_an_issue_of_wiz_is_titled_by_its_control() -> None:
    alert = alert_of(
        trigger={"source": "ISSUES", "type": "Created", "ruleId": "r-1", "ruleName": "to the bridge"},
        issue={"id": "i-1", "status": "OPEN", "severity": "CRITICAL"},
        control={"id": "c-1", "name": "A public machine with a known vulnerability"},
    )
    assert (alert.title, alert.fingerprint) == ("A public machine with a known vulnerability", "key:i-1")


ADAPTIVE = {
    "contentType": "application/vnd.microsoft.card.adaptive",
    "content": {
        "type": "AdaptiveCard",
        "body": [
            {"type": "TextBlock", "text": "Disk of db-1 is full"},
            {"type": "Container", "items": [{"type": "FactSet", "facts": [{"title": "Used", "value": "97 %"}]}]},
        ],
    },
}


@pytest.mark.parametrize(
    "body",
    [
        {"attachments": [{"fallback": "Disk!", "title": "Disk of db-1 is full", "text": "Used: 97 %"}]},
        {"attachments": [{"fallback": "Disk of db-1 is full", "title": "Disk of db-1 is full", "text": "Used: 97 %"}]},
        {"attachments": [{"fallback": "Disk of db-1 is full\nUsed: 97 %"}]},
        {"attachments": [{"title": "Disk of db-1 is full", "fields": [{"title": "Used", "value": "97 %"}]}]},
        {"attachments": [{"blocks": [{"type": "section", "text": {"text": "Disk of db-1 is full\nUsed: 97 %"}}]}]},
        {"text": "Disk of db-1 is full", "attachments": [{"color": "danger", "text": "Used: 97 %"}]},
        {
            "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": "Disk of db-1 is full"}},
                {"type": "context", "elements": [{"type": "mrkdwn", "text": "Used: 97 %"}]},
            ]
        },
        {"content": "Disk of db-1 is full", "embeds": [{"description": "Used: 97 %"}]},
        {"embeds": [{"title": "Disk of db-1 is full", "fields": [{"name": "Used", "value": "97 %"}]}]},
        {"type": "message", "attachments": [ADAPTIVE]},
    ],
)
def test_a_body_made_for_a_chat_is_read_as_a_person_reads_it(body: dict[str, Any]) -> None:
    alert = alert_of(**body)
    assert (alert.title, alert.description) == ("Disk of db-1 is full", "Disk of db-1 is full\nUsed: 97 %")
    assert alert.fingerprint != alert_of(**json.loads(json.dumps(body).replace("db-1", "db-2"))).fingerprint


def test_a_card_leads_where_its_heading_does_and_a_file_is_no_card() -> None:
    card = {"title": "Disk full", "title_link": "https://grafana.example.com/d/1"}
    assert [link.href for link in alert_of(attachments=[card]).links] == ["https://grafana.example.com/d/1"]
    file = {"name": "a.log", "content": "aGVsbG8=", "url": "https://files.example.com/a.log"}
    alert = alert_of(title="Disk full", description="Used: 97 %", attachments=[file])
    assert (alert.description, alert.links) == ("Used: 97 %", ())
    facts = alert_of(title="Disk full", sections=[{"facts": [{"name": "Host", "value": "db-1"}]}])
    assert (facts.title, facts.description) == ("Disk full", "Host: db-1")


def circleci(status: str, run: str, name: str = "deploy") -> dict[str, Any]:
    return {
        "id": f"event-{run}",
        "type": "workflow-completed",
        "happened_at": "2026-01-05T10:00:00Z",
        "project": {"id": "p-1", "name": "shop", "slug": "github/acme/shop"},
        "workflow": {"id": run, "name": name, "status": status, "url": f"https://app.example.com/{run}"},
        "pipeline": {"id": run, "number": 7, "vcs": {"branch": "main"}},
    }


def azure_devops(result: str, run: str, name: str = "deploy") -> dict[str, Any]:
    told = {"id": 4, "buildNumber": run, "status": "completed", "result": result, "definition": {"id": 1, "name": name}}
    told |= {"sourceBranch": "refs/heads/main"}
    about = {"eventType": "build.complete", "publisherId": "tfs", "message": {"text": f"Build {run} {result}"}}
    return {"id": f"event-{run}", **about, "resource": told}


def rundeck(status: str, run: str, name: str = "deploy") -> dict[str, Any]:
    told = {"id": run, "status": status, "project": "shop", "job": {"id": f"j-{name}", "name": name}}
    return {"trigger": "any", "status": status, "executionId": run, "execution": told}


def jenkins(status: str, run: str, name: str = "deploy") -> dict[str, Any]:
    return {"name": name, "url": f"job/{name}/", "build": {"phase": "COMPLETED", "number": run, "status": status}}


@pytest.mark.parametrize(
    ("told", "fails", "works"),
    [
        (circleci, "failed", "success"),
        (azure_devops, "failed", "succeeded"),
        (rundeck, "failed", "succeeded"),
        (jenkins, "FAILURE", "SUCCESS"),
    ],
)
def test_a_job_of_ci_is_one_problem_from_a_run_that_fails_to_one_that_works(told: Any, fails: str, works: str) -> None:
    failed, again, over = (alert_of(**told(word, run)) for word, run in ((fails, "1"), (fails, "2"), (works, "3")))
    assert [one.status for one in (failed, again, over)] == [Status.FIRING, Status.FIRING, Status.RESOLVED]
    assert failed.fingerprint == again.fingerprint == over.fingerprint
    assert failed.fingerprint != alert_of(**told(fails, "1", "test")).fingerprint
    assert failed.title != "Alert from lab"


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (circleci("failed", "1") | {"job": {"name": "unit"}}, "github/acme/shop"),
        (circleci("failed", "1") | {"job": {"name": "unit"}}, "main"),
        (circleci("failed", "1") | {"job": {"name": "unit"}}, "unit"),
        (azure_devops("failed", "1") | {"resourceContainers": {"project": {"id": "p-7"}}}, "p-7"),
        (azure_devops("failed", "1"), "refs/heads/main"),
        (rundeck("failed", "1"), "shop"),
        (rundeck("failed", "1") | {"job": {"group": "nightly"}}, "nightly"),
    ],
)
def test_a_job_of_the_same_name_elsewhere_is_another_problem(body: dict[str, Any], part: str) -> None:
    elsewhere = json.loads(json.dumps(body).replace(f'"{part}"', '"another"'))
    assert alert_of(**elsewhere).fingerprint != alert_of(**body).fingerprint


@pytest.mark.parametrize(
    "body",
    [
        {"name": "deploy", "build": {"phase": "STARTED", "number": 7}},
        {"name": "deploy", "build": {"phase": "QUEUED", "number": 7}},
        rundeck("running", "1"),
    ],
)
def test_a_run_of_ci_that_has_not_ended_pages_nobody(body: dict[str, Any]) -> None:
    (reading,) = readings_of(body)
    assert isinstance(reading, Notice)
    assert "says neither" in reading.reason


def test_a_service_of_nagios_icinga_or_checkmk_is_one_problem_whatever_happens_to_it() -> None:
    def told(kind: str, state: str, service: str = "disk", **more: Any) -> Any:
        body = {"notification_type": kind, "host_name": "db-1", "service_name": service, "service_state": state}
        (reading,) = readings_of({**body, "service_output": f"{state}: /var", "long_date_time": kind, **more})
        return reading

    problem, worse = told("PROBLEM", "WARNING"), told("PROBLEM", "CRITICAL")
    acked, over = told("ACKNOWLEDGEMENT", "CRITICAL"), told("RECOVERY", "OK")
    assert problem.fingerprint == worse.fingerprint == acked.fingerprint == over.fingerprint
    assert problem.fingerprint != told("PROBLEM", "WARNING", "load").fingerprint
    statuses = [one.status for one in (problem, worse, acked, over)]
    assert statuses == [Status.FIRING, Status.FIRING, Status.ACKNOWLEDGED, Status.RESOLVED]
    assert (problem.severity, worse.severity, worse.description) == (
        Severity.WARNING,
        Severity.CRITICAL,
        "CRITICAL: /var",
    )
    assert problem.title == "db-1 / disk"
    assert isinstance(told("DOWNTIMESTART", "CRITICAL"), Notice)
    assert told("FLAPPINGSTART", "CRITICAL").status is Status.FIRING
    assert told("CUSTOM", "CRITICAL").status is Status.FIRING
    assert told("PROBLEM", "CRITICAL", alert_id="a-1").fingerprint == "key:a-1"


def test_a_host_of_nagios_is_one_problem_until_it_is_up() -> None:
    down, up = (
        alert_of(NOTIFICATIONTYPE=kind, HOSTNAME="db-1", HOSTSTATE=state, HOSTOUTPUT=f"PING {state}")
        for kind, state in (("PROBLEM", "DOWN"), ("RECOVERY", "UP"))
    )
    assert (down.status, up.status, down.title) == (Status.FIRING, Status.RESOLVED, "db-1")
    assert down.fingerprint == up.fingerprint


@pytest.mark.parametrize(("service", "well", "ill"), [("disk", "OK", "CRITICAL"), (None, "UP", "DOWN")])
def test_what_flaps_fires_from_its_start_to_its_stop(service: str | None, well: str, ill: str) -> None:
    """As Icinga 2 tells it through its mail scripts' variables, every one of them in a form, filled or not."""

    def told(kind: str, state: str) -> Status:
        of_service = {"SERVICENAME": service or "", "SERVICESTATE": state if service else ""}
        of_host = {"HOSTSTATE": "UP" if service else state, "HOSTOUTPUT": "" if service else f"PING {state}"}
        return alert_of(NOTIFICATIONTYPE=kind, HOSTNAME="db-1", **of_service, **of_host).status

    assert told("FLAPPINGSTART", well) == told("FLAPPINGSTART", ill) == Status.FIRING
    assert told("FLAPPINGEND", ill) == told("FLAPPINGSTOP", ill) == Status.FIRING
    assert told("FLAPPINGEND", well) == told("FLAPPINGSTOP", well) == told("FLAPPINGDISABLED", well) == Status.RESOLVED
    assert told("CUSTOM", well) == Status.RESOLVED
    assert told("CUSTOM", ill) == Status.FIRING


def test_what_is_made_for_the_api_of_an_alertmanager_is_known_by_its_labels() -> None:
    """As collectd's write_http posts a notification: the severity is the status, and the summary has the value."""

    def told(severity: str, summary: str, df: str = "root", **more: Any) -> Alert:
        labels = {"alertname": "collectd_df_percent_bytes", "instance": "web-01", "df": df, "type": "free"}
        service = {"severity": severity, "service": "collectd"}
        begun = "2026-01-05T10:00:00.000000000Z"
        element = {"labels": labels | service, "annotations": {"summary": summary}, "startsAt": begun, **more}
        (reading,) = readings_of([element])
        assert isinstance(reading, Alert)
        return reading

    warning, failure = told("WARNING", "free is 9, below 10"), told("FAILURE", "free is 3, below 5")
    over = told("OKAY", "All data sources are within range again. Current value is 50")
    assert warning.fingerprint == failure.fingerprint == over.fingerprint
    assert [one.status for one in (warning, failure, over)] == [Status.FIRING, Status.FIRING, Status.RESOLVED]
    assert (warning.title, warning.severity) == ("free is 9, below 10", Severity.WARNING)
    assert told("WARNING", "free is 9, below 10", df="var").fingerprint != warning.fingerprint
    one, other = (told("WARNING", "x", title=title).fingerprint for title in ("Disk", "Quota"))
    assert one != other
    assert told("WARNING", "x", fingerprint="f-1").fingerprint == "key:f-1"


def test_an_entity_alone_is_no_key_for_many_problems_may_be_of_it() -> None:
    cpu, disk = (alert_of(entity_id="web-1", title=title).fingerprint for title in ("CPU high", "Disk full"))
    assert cpu != disk


def test_two_hosts_of_one_check_are_two_problems() -> None:
    one, other = (alert_of(title="CPU high", check_id="c1", host=host).fingerprint for host in ("a", "b"))
    assert one != other


@given(
    title=st.text(st.characters(categories=("L", "N")), min_size=1, max_size=20).filter(told_as_it_is),
    host=st.sampled_from("abc"),
)
def test_firing_and_resolved_share_a_fingerprint_that_another_title_or_host_has_not(title: str, host: str) -> None:
    def fingerprint(status: str, said: str = title, where: str = host) -> str:
        return alert_of(title=said, status=status, host=where, value=status).fingerprint

    assert fingerprint("firing") == fingerprint("resolved")
    assert fingerprint("firing") != fingerprint("firing", said=title + "x")
    assert fingerprint("firing") != fingerprint("firing", where="d")


def test_a_page_without_words_lists_the_body_but_none_of_its_secrets() -> None:
    alert = alert_of(sensor="t-17", api_key="k", Token="t", data={"reading": 7, "password": "p"})
    assert alert.description == "sensor: t-17\nreading: 7"


def test_the_first_line_of_a_message_is_a_title_when_there_is_no_other() -> None:
    alert = alert_of(message="Disk full on db-1\nIt is 97 % full")
    assert (alert.title, alert.description) == ("Disk full on db-1", "Disk full on db-1\nIt is 97 % full")


def test_labels_of_opentelemetry_are_read() -> None:
    labels = [{"key": "service.name", "value": {"stringValue": "shop"}}, {"key": "n", "value": {"intValue": "7"}}]
    assert dict(alert_of(title="x", labels=labels).labels) == {"service.name": "shop", "n": "7"}
