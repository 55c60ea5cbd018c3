"""Alertmanager: what identifies a member of a group, what its times say, and how a group survives its bad elements."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.sources.alertmanager import Alertmanager
from bridge.sources.base import NoAuth
from bridge.sources.generic import ALERTS_MAX
from tests.receiving import told_as_it_is

NOW = datetime(2026, 1, 5, tzinfo=UTC)
NAMES = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
LABELS = st.dictionaries(
    NAMES, st.from_regex(r"[\w:/=,-]{1,12}", fullmatch=True).filter(told_as_it_is), min_size=1, max_size=5
)
START = "2026-01-05T10:00:00.123456789Z"


def readings_of(body: Any) -> tuple[Any, ...]:
    webhook = Webhook(source="am", headers={}, body=json.dumps(body).encode(), received_at=NOW)
    return Alertmanager(name="am", auth=NoAuth()).alerts_in(webhook)


def group(*alerts: Any, **more: Any) -> dict[str, Any]:
    return {"version": "4", "status": "firing", "receiver": "bridge", "alerts": list(alerts), **more}


def member(**more: Any) -> dict[str, Any]:
    told = {"status": "firing", "labels": {"alertname": "Down", "job": "web"}, "annotations": {}, "startsAt": START}
    return {**told, "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "0011aabb", **more}


def alert_of(**more: Any) -> Alert:
    (reading,) = readings_of(group(member(**more)))
    assert isinstance(reading, Alert)
    return reading


@given(labels=LABELS, others=LABELS, start=st.integers(10**9, 2 * 10**9))
def test_a_member_is_one_problem_while_its_labels_are_the_same(
    labels: dict[str, str], others: dict[str, str], start: int
) -> None:
    starts = datetime.fromtimestamp(start, UTC).isoformat()
    fired = alert_of(labels=labels, startsAt=starts)
    ended = alert_of(labels=labels, startsAt=starts, status="resolved", endsAt="2050-01-01T00:00:00Z")
    assert (fired.fingerprint, fired.episode) == (ended.fingerprint, ended.episode)
    assert (alert_of(labels=others).fingerprint == fired.fingerprint) is (labels == others)


def test_a_fingerprint_that_was_copied_by_hand_does_not_join_two_hosts() -> None:
    first, second = (alert_of(labels={"alertname": "Disk", "instance": host}) for host in ("db-01", "db-02"))
    assert first.fingerprint != second.fingerprint


def test_two_fingerprints_with_the_same_labels_are_two_problems() -> None:
    assert alert_of(fingerprint="aa").fingerprint != alert_of(fingerprint="bb").fingerprint


@pytest.mark.parametrize("fingerprint", [None, "", "{{ .Fingerprint }}", "<no value>"])
def test_without_a_fingerprint_the_labels_identify(fingerprint: Any) -> None:
    assert alert_of(fingerprint=fingerprint).fingerprint.startswith("labels:Down:")


def test_a_label_without_a_value_does_not_stand_in_the_key() -> None:
    told = {"alertname": "Down", "job": "web"}
    assert alert_of(labels=told).fingerprint == alert_of(labels={**told, "pod": "", "zone": "<no value>"}).fingerprint


def test_the_episode_is_when_it_started_whatever_the_offset() -> None:
    assert alert_of(startsAt="2026-01-05T12:00:00+02:00").episode == alert_of(startsAt="2026-01-05T10:00:00Z").episode
    assert alert_of(startsAt="2026-01-05T10:00:01Z").episode != alert_of(startsAt="2026-01-05T10:00:00Z").episode


@pytest.mark.parametrize("starts", ["0001-01-01T00:00:00Z", None, "soon", 0])
def test_a_start_that_says_nothing_is_no_episode(starts: Any) -> None:
    alert = alert_of(startsAt=starts)
    assert (alert.episode, alert.starts_at) == (None, None)


@pytest.mark.parametrize(
    ("status", "starts", "ends", "tells"),
    [
        ("resolved", "2026-01-05T10:10:00Z", "2026-01-05T12:10:00+02:00", False),
        ("resolved", "2026-01-05T10:00:00Z", "2026-01-05T10:10:00Z", True),
        ("resolved", "2026-01-05T10:10:00Z", None, True),
        ("firing", "2026-01-05T10:10:00Z", "2026-01-05T10:10:00Z", True),
    ],
)
def test_a_recovery_that_begins_when_it_ends_does_not_say_when_it_began(
    status: str, starts: str, ends: str | None, tells: bool
) -> None:
    alert = alert_of(status=status, startsAt=starts, endsAt=ends)
    assert (alert.episode is not None, alert.starts_at is not None) == (tells, tells)


def test_no_report_has_a_time_so_that_a_firing_after_an_outage_of_the_sender_is_never_stale() -> None:
    fired, ended = alert_of(), alert_of(status="resolved", endsAt="2026-01-05T10:05:00Z")
    assert fired.reported_at is ended.reported_at is None
    assert (fired.ends_at, ended.ends_at) == (None, datetime(2026, 1, 5, 10, 5, tzinfo=UTC))


@pytest.mark.parametrize(
    ("own", "of_group", "status"),
    [
        ("firing", "firing", Status.FIRING),
        ("resolved", "firing", Status.RESOLVED),
        ("firing", "resolved", Status.FIRING),
        (None, "resolved", Status.RESOLVED),
        (None, "firing", Status.FIRING),
        (None, None, Status.FIRING),
        ("Resolved", "firing", Status.RESOLVED),
        ("resolvd", "resolved", Status.FIRING),
    ],
)
def test_each_alert_has_a_status_of_its_own(own: Any, of_group: Any, status: Status) -> None:
    (reading,) = readings_of(group(member(status=own), status=of_group))
    assert reading.status is status


@pytest.mark.parametrize(
    ("labels", "annotations", "severity"),
    [
        ({"severity": "critical"}, {}, Severity.CRITICAL),
        ({"severity": "page"}, {}, Severity.CRITICAL),
        ({"severity": "emergency"}, {}, Severity.CRITICAL),
        ({"severity": "severe"}, {}, Severity.ERROR),
        ({"severity": "warning"}, {}, Severity.WARNING),
        ({"severity": "info"}, {}, Severity.INFO),
        ({"severity": "none"}, {}, Severity.INFO),
        ({"severity": "purple", "priority": "P2"}, {}, Severity.ERROR),
        ({}, {"severity": "warning"}, Severity.WARNING),
        ({"severity": "info"}, {"severity": "critical"}, Severity.INFO),
        ({}, {}, None),
        ({"severity": "purple"}, {}, None),
    ],
)
def test_severity_is_what_the_labels_say_then_the_annotations(
    labels: dict[str, str], annotations: dict[str, str], severity: Severity | None
) -> None:
    assert alert_of(labels={"alertname": "A", **labels}, annotations=annotations).severity is severity


@pytest.mark.parametrize(
    ("labels", "annotations", "title"),
    [
        ({"alertname": "Down"}, {"summary": "It is down"}, "It is down"),
        ({"alertname": "Down", "instance": "web-1:9100"}, {"summary": "It is down"}, "It is down (web-1:9100)"),
        ({"alertname": "Down", "instance": "web-1:9100"}, {"title": "WEB-1 is down"}, "WEB-1 is down"),
        ({"alertname": "Down", "instance": "k:80", "pod": "web-7f"}, {"summary": "Pod web-7f died"}, "Pod web-7f died"),
        ({"alertname": "Down"}, {"description": "long"}, "Down"),
        ({"job": "web"}, {"message": "only words"}, "only words"),
        ({"job": "web"}, {}, "Alert from am"),
    ],
)
def test_the_title_is_the_summary_and_names_what_is_down(
    labels: dict[str, str], annotations: dict[str, str], title: str
) -> None:
    assert alert_of(labels=labels, annotations=annotations).title == title


def test_common_labels_serve_only_an_alert_without_its_own() -> None:
    own, bare = readings_of(group(member(), member(labels=None, annotations={}), commonLabels={"team": "db"}))
    assert "team" not in own.labels
    assert bare.labels == {"team": "db", "receiver": "bridge"}


def test_links_lead_to_prometheus_alertmanager_and_the_annotations_addresses() -> None:
    told = {"runbook_url": "https://runbooks.example.com/x", "note": "no address", "bad": "javascript:alert(1)"}
    body = group(member(annotations=told, generatorURL="http://prom/graph"), externalURL="http://am")
    (alert,) = readings_of(body)
    assert [(link.text, link.href) for link in alert.links] == [
        ("Prometheus", "http://prom/graph"),
        ("Alertmanager", "http://am"),
        ("runbook url", "https://runbooks.example.com/x"),
    ]


@given(bad=st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text(), max_size=2) | st.just({}))
def test_a_bad_element_never_spoils_the_others(bad: Any) -> None:
    first, odd, last = readings_of(group(member(), bad, member(fingerprint="ff")))
    assert isinstance(odd, Notice)
    assert "$.alerts[1]" in odd.reason
    assert (first.fingerprint, last.fingerprint) == (alert_of().fingerprint, alert_of(fingerprint="ff").fingerprint)


def test_alerts_that_were_cut_off_are_said_to_be_missing() -> None:
    alert, notice = readings_of(group(member(), truncatedAlerts=7))
    assert isinstance(alert, Alert)
    assert notice.reason == "7 more alerts were cut off by max_alerts of the sender"


def test_a_number_of_any_length_costs_no_page() -> None:
    assert len(readings_of(group(member(), truncatedAlerts="1" * 5000))) == 2


@pytest.mark.parametrize("truncated", [0, None, "0", "000", -1, "many"])
def test_nothing_is_said_to_be_missing_where_nothing_is(truncated: Any) -> None:
    assert len(readings_of(group(member(), truncatedAlerts=truncated))) == 1


def test_a_group_without_alerts_is_a_notice() -> None:
    (notice,) = readings_of(group())
    assert isinstance(notice, Notice)


def test_a_group_of_which_all_was_cut_off_still_pages() -> None:
    (alert,) = readings_of(group(truncatedAlerts=3, title="3 alerts"))
    assert isinstance(alert, Alert)


def test_a_body_of_an_own_template_still_pages() -> None:
    (alert,) = readings_of({"title": "Disk full", "status": "resolved", "dedup_key": "disk-1"})
    assert (alert.title, alert.status, alert.fingerprint) == ("Disk full", Status.RESOLVED, "key:disk-1")


def test_a_group_of_too_many_thousands_pages_for_as_many_as_one_request_may_hold() -> None:
    told = readings_of(group(*[member()] * (ALERTS_MAX + 2)))
    assert all(isinstance(alert, Alert) for alert in told[:ALERTS_MAX])
    (notice,) = told[ALERTS_MAX:]
    assert isinstance(notice, Notice)
    assert notice.reason.startswith("2 more alerts were not read")
