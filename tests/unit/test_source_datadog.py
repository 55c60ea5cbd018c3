"""Datadog: what identifies a problem and an episode, and what a notification says of it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.sources.base import NoAuth
from bridge.sources.datadog import Datadog
from tests.receiving import told_as_it_is

MONITOR = "https://app.datadoghq.eu/monitors/77?group=host%3Aa%2Cenv%3Aprod&from_ts=1"


def reading_of(**body: Any) -> Any:
    webhook = Webhook(
        source="dd", headers={}, body=json.dumps(body).encode(), received_at=datetime(2026, 1, 5, tzinfo=UTC)
    )
    (reading,) = Datadog(name="dd", auth=NoAuth()).alerts_in(webhook)
    return reading


def alert_of(**body: Any) -> Alert:
    reading = reading_of(**body)
    assert isinstance(reading, Alert)
    return reading


@pytest.mark.parametrize(
    ("body", "fingerprint"),
    [
        ({"aggreg_key": "k", "alert_id": "1", "alert_scope": "host:a"}, "aggreg:k"),
        ({"incidentPublicId": "7", "aggreg_key": "k"}, "incident:7"),
        ({"security": {"signal_id": "s1"}, "aggreg_key": "k"}, "signal:s1"),
        ({"alert_id": "1", "alert_scope": "b:2, a:1"}, "monitor:1:a:1,b:2"),
        ({"alert_id": "1", "title": "[Triggered on {b:2,a:1}] x"}, "monitor:1:a:1,b:2"),
        ({"alert_id": "1", "title": "[Triggered] x", "hostname": "web-1"}, "monitor:1:web-1"),
        ({"alert_id": "1", "title": "[Triggered] x"}, "monitor:1:"),
        ({"alert_id": "1", "alert_scope": "*", "alert_cycle_key": "c"}, "cycle:c"),
        ({"title": "[Triggered] x", "body": f"[[Monitor Status]({MONITOR})]"}, "monitor:77:env:prod,host:a"),
        ({"title": "[Triggered] x", "body": f"[[Monitor Status]({MONITOR.replace('&', '&amp;')})]"},
         "monitor:77:env:prod,host:a"),
        ({"title": "[P1] [Triggered on {host:a}] x", "hostname": "a"}, "title:x:a:host:a"),
        ({"title": "[Triggered] x", "aggreg_key": "null", "alert_id": "$ALERT_ID"}, "title:x::"),
        ({"title": "[Triggered] x", "dedup_key": "dd-$ALERT_CYCLE_KEY"}, "title:x::"),
    ],
)  # fmt: skip
def test_the_first_thing_that_identifies_the_problem_is_its_fingerprint(body: dict[str, Any], fingerprint: str) -> None:
    assert alert_of(**body).fingerprint == fingerprint


@pytest.mark.parametrize(
    "shared",
    [
        {"aggreg_key": "k"},
        {"alert_id": "5", "alert_scope": "host:a"},
        {"alert_id": "5"},
        {"body": f"[[Monitor Status]({MONITOR})]"},
        {"hostname": "a"},
        {},
    ],
)
def test_firing_and_recovered_are_one_problem(shared: dict[str, Any]) -> None:
    firing = alert_of(id="8300000000000000001", title="[P2] [Triggered on {host:a}] Disk full", date="1", **shared)
    recovered = alert_of(id="8300000000000000002", title="[P2] [Recovered on {host:a}] Disk full", date="2", **shared)
    assert (firing.status, recovered.status) == (Status.FIRING, Status.RESOLVED)
    assert firing.fingerprint == recovered.fingerprint


@pytest.mark.parametrize("shared", [{"alert_id": "5"}, {"alert_id": "5", "hostname": "gw"}, {}])
def test_two_groups_of_one_monitor_are_two_problems(shared: dict[str, Any]) -> None:
    titles = ("[Triggered on {host:a}] Disk full", "[Triggered on {host:b}] Disk full")
    first, second = (alert_of(title=title, **shared).fingerprint for title in titles)
    assert first != second


@pytest.mark.parametrize("what", ["Triggered", "Warn", "No Data", "Recovered"])
@pytest.mark.parametrize("title", ["event_title", "title", "alert_title", "EVENT_TITLE"])
def test_a_test_of_a_monitors_notifications_neither_fires_nor_ends_anything(title: str, what: str) -> None:
    told = {title: f"[TEST] [P1] [{what} on {{host:a}}] Disk full", "alert_transition": what, "alert_id": "5"}
    notice = reading_of(**told)
    assert isinstance(notice, Notice)
    assert notice.reason == "a test of the monitor's notifications"
    assert notice.title == "[TEST] [P1] Disk full (host:a)"


@pytest.mark.parametrize(
    "body",
    [
        {"title": "[P1] [Triggered on {host:a}] [TEST] Disk full"},
        {"event_title": "[Triggered] [TEST] Disk full", "alert_title": "[TEST] Disk full"},
        {"title": "Load [TEST]"},
        {"title": "Disk full", "body": "[TEST] by somebody"},
    ],
)
def test_a_monitor_that_is_called_a_test_pages(body: dict[str, Any]) -> None:
    assert alert_of(**body).status is Status.FIRING


def test_the_monitor_status_link_is_preferred_to_monitors_a_message_mentions() -> None:
    other = "https://app.datadoghq.eu/monitors/1?group=host%3Az"
    body = f"see {other}\n[[Monitor Status]({MONITOR})] · [[Edit Monitor](https://app.datadoghq.eu/monitors/77/edit)]"
    assert alert_of(title="x", body=body).fingerprint == "monitor:77:env:prod,host:a"


@pytest.mark.parametrize(
    ("transition", "status", "severity"),
    [
        ("Triggered", Status.FIRING, Severity.ERROR),
        ("Re-Triggered", Status.FIRING, Severity.ERROR),
        ("Renotify", Status.FIRING, Severity.ERROR),
        ("No Data", Status.FIRING, Severity.ERROR),
        ("Re-No Data", Status.FIRING, Severity.ERROR),
        ("Warn", Status.FIRING, Severity.WARNING),
        ("Re-Warn", Status.FIRING, Severity.WARNING),
        ("Recovered", Status.RESOLVED, Severity.ERROR),
        ("Recovered from No Data", Status.RESOLVED, Severity.ERROR),
        ("Warn Recovered", Status.RESOLVED, Severity.ERROR),
        ("something new", Status.FIRING, Severity.ERROR),
    ],
)
def test_a_transition_tells_status_and_severity(transition: str, status: Status, severity: Severity) -> None:
    alert = alert_of(title="x", alert_transition=transition, alert_priority="P2")
    assert (alert.status, alert.severity) == (status, severity)


@pytest.mark.parametrize(
    "body",
    [
        {"title": "[P1] [Recovered on {host:a}] x"},
        {"title": "[Recovered] x"},
        {"title": "Datadog: [Recovered on {host:a}] x"},
        {"title": "x", "alert_type": "success"},
        {"title": "x", "state": "Recovered"},
        {"title": "x", "what_happened": "Recovered"},
        {"title": "[Triggered] x", "alert_transition": "Recovered"},
        {"incident_public_id": "1", "incident_status": "resolved", "title": "x"},
        {"incident_public_id": "1", "status": "resolved", "title": "x"},
        {"incident": {"uuid": "u-1", "status": "completed", "title": "x"}},
    ],
)
def test_a_recovery_is_seen_wherever_it_is_told(body: dict[str, Any]) -> None:
    assert alert_of(**body).status is Status.RESOLVED


@pytest.mark.parametrize(
    "body",
    [
        {"title": "x"},
        {"title": "nothing has recovered yet"},
        {"title": "x", "alert_transition": "Triggered", "alert_type": "success"},
        {"title": "x", "alert_transition": "null", "alert_type": "null"},
    ],
)
def test_in_doubt_it_fires(body: dict[str, Any]) -> None:
    assert alert_of(**body).status is Status.FIRING


@pytest.mark.parametrize(
    ("body", "severity"),
    [
        ({"alert_priority": "P1"}, Severity.CRITICAL),
        ({"alert_priority": "P3", "alert_type": "error"}, Severity.WARNING),
        ({"alert_priority": "P4"}, Severity.INFO),
        ({"alert_priority": "P5"}, Severity.INFO),
        ({"severity": "P1", "priority": "normal"}, Severity.CRITICAL),
        ({"title": "[P1] [Triggered] x", "priority": "low"}, Severity.CRITICAL),
        ({"alert_priority": "null", "alert_type": "warning"}, Severity.WARNING),
        ({"alert_type": "error"}, Severity.ERROR),
        ({"alert_type": "info"}, Severity.INFO),
        ({"alert_type": "success"}, None),
        ({"priority": "normal"}, None),
        ({"incident_severity": "SEV-1"}, Severity.CRITICAL),
        ({"incident_severity": "SEV3"}, Severity.WARNING),
        ({"incident_severity": "UNKNOWN"}, None),
        ({"alert_priority": "P5", "alert_transition": "Warn"}, Severity.INFO),
        ({"alert_priority": "P1", "alert_transition": "Warn"}, Severity.WARNING),
        ({"title": "[Warn on {host:a}] x"}, Severity.WARNING),
    ],
)
def test_severity_is_the_priority_else_the_alert_type(body: dict[str, Any], severity: Severity | None) -> None:
    assert alert_of(**{"title": "x", **body}).severity is severity


@pytest.mark.parametrize(
    ("title", "readable"),
    [
        ("[P2] [Triggered on {host:srv1}] High CPU", "High CPU (host:srv1)"),
        ("[P2] [Triggered on {host:srv1}] High CPU on srv1", "High CPU on srv1"),
        ("[Triggered] [P2] High CPU", "High CPU"),
        ("[P2] [Recovered on {issue.id:1}] [] New issue", "New issue (issue.id:1)"),
        ("[Triggered] [Synthetics] Login", "[Synthetics] Login"),
        ("[SEV-2] Incident #4", "[SEV-2] Incident #4"),
        ("[Triggered]", "[Triggered]"),
        ("a\nb", "a b"),
    ],
)
def test_a_title_loses_its_brackets_and_keeps_its_group(title: str, readable: str) -> None:
    assert alert_of(title=title).title == readable


def test_the_cycle_key_is_the_episode_and_a_placeholder_is_none() -> None:
    assert alert_of(title="x", alert={"cycle_key": "c1"}).episode == "c1"
    for absent in ("null", "", "$ALERT_CYCLE_KEY", None):
        assert alert_of(title="x", alert_cycle_key=absent).episode is None


def test_the_time_of_the_report_is_the_latest_the_body_tells() -> None:
    alert = alert_of(title="x", date="1767225600000", last_updated="1767225660000")
    assert alert.reported_at == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert alert_of(title="x", date_posix="1767225600").reported_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert alert_of(title="x", date="$DATE").reported_at is None


def test_labels_are_tags_then_group_then_facts_and_a_tag_wins() -> None:
    alert = alert_of(
        title="[P1] [Triggered] x",
        tags="env:prod,monitor,sg:1,sg:2,url:http://a:8,scope:mine",
        alert_scope="host:a,env:eu",
    )
    assert dict(alert.labels) == {
        "env": "prod", "monitor": "true", "sg": "1,2", "url": "http://a:8", "scope": "mine", "host": "a",
        "transition": "Triggered", "priority": "P1",
    }  # fmt: skip


def test_the_description_is_plain_text_without_markers_and_entities() -> None:
    assert alert_of(title="x", body="%%%\na &lt; b &#x27;c&#x27;\n%%%").description == "a < b 'c'"
    assert alert_of(title="x", body="https://a/?b=1&timestamp=2;").description == "https://a/?b=1&timestamp=2;"
    assert alert_of(title="x", body="long", text_only_msg="short").description == "short"


def test_links_are_http_only_and_each_once() -> None:
    alert = alert_of(title="x", link="javascript:alert(1)", snapshot="https://p/x.png", incident_url="null")
    assert [(link.text, link.href) for link in alert.links] == [("Snapshot", "https://p/x.png")]
    assert len(alert_of(title="x", link=MONITOR, body=MONITOR).links) == 1


def test_an_object_without_known_keys_still_pages() -> None:
    first, second = alert_of(foo="bar"), alert_of(foo="baz")
    assert (first.title, first.status) == ("Alert from dd", Status.FIRING)
    assert first.fingerprint != second.fingerprint
    assert first.fingerprint == alert_of(foo="bar", date="1767225600000").fingerprint


@pytest.mark.parametrize("body", [{}, {"a": None}, {"a": {"b": []}}])
def test_an_object_that_says_nothing_is_a_notice(body: dict[str, Any]) -> None:
    reading = reading_of(**body)
    assert isinstance(reading, Notice)
    assert reading.reason == "the body says nothing"


TAGS = st.text(st.characters(categories=("L", "N")), min_size=1, max_size=12).filter(told_as_it_is)


@given(monitor=st.integers(1, 10**9), host=TAGS, other=TAGS)
def test_a_group_keeps_its_fingerprint_over_its_life_and_no_other_has_it(monitor: int, host: str, other: str) -> None:
    def fingerprint(transition: str, group: str, number: int = monitor) -> str:
        scope = {"alert_id": str(number), "alert_scope": f"host:{group}"}
        return alert_of(title="Disk full", alert_transition=transition, date="1767610800000", **scope).fingerprint

    life = {fingerprint(word, host) for word in ("Triggered", "Re-Triggered", "Warn", "No Data", "Recovered")}
    assert len(life) == 1
    assert fingerprint("Triggered", host, monitor + 1) not in life
    assert (fingerprint("Triggered", other) in life) == (other == host)


@pytest.mark.parametrize("name", ["AGGREG_KEY", "$AGGREG_KEY", "null", ""])
def test_a_variable_that_was_not_filled_in_joins_no_problems(name: str) -> None:
    one, other = (alert_of(title=title, aggreg_key=name, alert_cycle_key="ALERT_CYCLE_KEY") for title in ("a", "b"))
    assert one.fingerprint != other.fingerprint
    assert (one.episode, other.episode) == (None, None)


@pytest.mark.parametrize(
    ("state", "status", "severity"),
    [
        ("OK", Status.RESOLVED, Severity.ERROR),
        ("Alert", Status.FIRING, Severity.ERROR),
        ("No Data", Status.FIRING, Severity.ERROR),
        ("Warn", Status.FIRING, Severity.WARNING),
    ],
)
def test_an_event_of_eventbridge_tells_the_state_it_went_to(state: str, status: Status, severity: Severity) -> None:
    alert = alert_of(detail={"title": "[P2] x", "meta": {"states": {"source_state": "OK", "dest_state": state}}})
    assert (alert.status, alert.severity) == (status, severity)


def test_handles_are_left_out_and_the_graph_is_a_link() -> None:
    body = (
        "%%%\nDisk full @slack-ops @pagerduty @webhook-bridge\n\n@webhook-bridge\n\nSee @app.route and ops@slack-x.io"
        "\n[![Metric Graph](https://p.datadoghq.com/snapshot/x.png)](https://app.datadoghq.com/monitors/77)\n%%%"
    )
    alert = alert_of(title="x", body=body)
    assert alert.description.startswith("Disk full \n\nSee @app.route and ops@slack-x.io\n")
    assert ("Snapshot", "https://p.datadoghq.com/snapshot/x.png") in [(link.text, link.href) for link in alert.links]


def delivery_of(body: bytes) -> str | None:
    webhook = Webhook(source="dd", headers={}, body=body, received_at=datetime(2026, 1, 5, tzinfo=UTC))
    return Datadog(name="dd", auth=NoAuth()).delivery_id(webhook)


def test_a_retry_is_the_same_event_at_the_same_time() -> None:
    first = b'{"id": "8320000000000000001", "last_updated": "1767610800000", "title": "x"}'
    assert delivery_of(first) is not None
    assert delivery_of(first) == delivery_of(first)
    assert delivery_of(first) != delivery_of(first.replace(b"0001", b"0002"))
    assert delivery_of(b"id=8320000000000000001&date=1767610800000&eventTitle=x") is not None
    assert delivery_of(b'{"event_id":8320000000000000001,"datePosix":1767610800}') is not None


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "8320000000000000001", "title": "x"}',
        b'{"last_updated": "1767610800000", "title": "x"}',
        b'{"alert_id": "8320000000000000001", "date": "1767610800000"}',
        b'{"id": "ID", "date": "1767610800000"}',
        b"",
    ],
)
def test_a_body_that_may_look_like_the_next_one_names_no_delivery(body: bytes) -> None:
    assert delivery_of(body) is None
