"""Splunk: what stays the same from run to run of a search, and how a search may say that all is well again."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.domain.errors import SignatureError
from bridge.sources.base import NoAuth, QueryAuth
from bridge.sources.splunk import Splunk
from tests.receiving import told_as_it_is

NOW = datetime(2026, 1, 5, tzinfo=UTC)
WORDS = st.from_regex(r"[A-Za-z][A-Za-z0-9 :._-]{0,20}[a-z]", fullmatch=True).filter(told_as_it_is)
NUMBERS = st.integers(0, 10**9).map(str)


def reading_of(body: Any) -> Any:
    webhook = Webhook(source="sp", headers={}, body=json.dumps(body).encode(), received_at=NOW)
    (reading,) = Splunk(name="sp", auth=NoAuth()).alerts_in(webhook)
    return reading


def run(row: Any, at: str = "1767607200", **more: Any) -> Alert:
    told = {"sid": f"scheduler__a__b__RMD5ab_at_{at}_7", "search_name": "Many 5xx", "app": "search", "owner": "a"}
    reading = reading_of({**told, "result": row, **more})
    assert isinstance(reading, Alert)
    return reading


@given(host=WORDS, other=WORDS, first=NUMBERS, second=NUMBERS)
def test_a_search_on_a_host_is_one_problem_over_its_runs(host: str, other: str, first: str, second: str) -> None:
    now = run({"host": host, "count": first, "_time": first, "_raw": "x"})
    later = run({"host": host, "count": second, "_time": second, "message": "y"}, at="1767607500")
    assert now.fingerprint == later.fingerprint
    assert (run({"host": other, "count": first}).fingerprint == now.fingerprint) is (host.strip() == other.strip())


@given(first=WORDS, second=WORDS)
def test_two_searches_are_two_problems(first: str, second: str) -> None:
    same = first.strip() == second.strip()
    assert (run({}, search_name=first).fingerprint == run({}, search_name=second).fingerprint) is same
    assert run({}, search_name=first, app="other").fingerprint != run({}, search_name=first).fingerprint


@pytest.mark.parametrize("name", [None, "", "null"])
def test_a_scheduled_search_without_a_name_is_known_by_its_sid_without_the_time(name: Any) -> None:
    first, second = run({}, search_name=name), run({}, search_name=name, at="1767607500")
    assert first.fingerprint == second.fingerprint != run({}, search_name=name, sid="rt_x_at_1767607500_7").fingerprint


def test_an_ad_hoc_search_is_known_by_what_does_not_vary_in_its_row() -> None:
    def found(row: dict[str, Any], sid: str) -> str:
        return run(row, search_name=None, sid=sid).fingerprint

    first = found({"sourcetype": "syslog", "count": "8", "_time": "1"}, "1767607200.77")
    assert first == found({"sourcetype": "syslog", "count": "9", "_time": "2"}, "1767607300.78")
    assert first != found({"sourcetype": "mongod", "count": "8"}, "1767607200.77")


@pytest.mark.parametrize(
    ("row", "status"),
    [
        ({}, Status.FIRING),
        ({"status": "closed", "state": "OK"}, Status.FIRING),
        ({"alert_status": "resolved"}, Status.RESOLVED),
        ({"alert_status": "OK"}, Status.RESOLVED),
        ({"alert_status": "acknowledged"}, Status.ACKNOWLEDGED),
        ({"alert_status": "firing"}, Status.FIRING),
        ({"alert_status": "whatever"}, Status.FIRING),
        ({"alert_status": ["resolved", "ok"]}, Status.FIRING),
    ],
)
def test_only_the_field_alert_status_of_a_row_recovers(row: dict[str, Any], status: Status) -> None:
    assert run(row).status is status


def test_a_fingerprint_in_the_row_joins_two_searches() -> None:
    row = {"fingerprint": "orders-backlog"}
    fired = run(row, search_name="Backlog is long")
    over = run({**row, "alert_status": "resolved"}, search_name="Backlog is short")
    assert fired.fingerprint == over.fingerprint == "key:orders-backlog"


@pytest.mark.parametrize("left", ["", "${key}", "<no value>", None])
def test_a_fingerprint_that_was_not_filled_in_never_stands_in_the_key(left: Any) -> None:
    assert run({"fingerprint": left}).fingerprint == run({}).fingerprint


@pytest.mark.parametrize(
    ("row", "severity"),
    [
        ({"severity": "critical"}, Severity.CRITICAL),
        ({"urgency": "high"}, Severity.ERROR),
        ({"urgency": "informational"}, Severity.INFO),
        ({"severity": "7"}, None),
        ({}, None),
    ],
)
def test_severity_is_a_field_of_the_row(row: dict[str, Any], severity: Severity | None) -> None:
    assert run(row).severity is severity


def test_the_time_of_a_report_is_when_the_search_was_scheduled() -> None:
    assert run({}).reported_at == datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert run({}, sid="1767607200.77").reported_at is None


@pytest.mark.parametrize(
    ("row", "title"),
    [
        ({}, "Many 5xx"),
        ({"host": "web-01"}, "Many 5xx (web-01)"),
        ({"service": "shop", "count": "3"}, "Many 5xx (shop)"),
        ({"host": "5xx"}, "Many 5xx"),
    ],
)
def test_the_title_is_the_search_with_its_host(row: dict[str, Any], title: str) -> None:
    assert run(row).title == title


def test_fields_become_labels_but_for_the_internal_ones() -> None:
    alert = run({"host": ["a", "b"], "count": "3", "_raw": "line", "empty": ""})
    assert dict(alert.labels) == {"host": "a,b", "count": "3", "search": "Many 5xx", "app": "search", "owner": "a"}


@pytest.mark.parametrize("row", [None, [], "text", 7, {"a": {"b": 1}}])
def test_a_row_of_any_form_still_pages(row: Any) -> None:
    assert run(row).title == "Many 5xx"


def test_a_body_that_says_nothing_is_a_notice_and_one_of_another_shape_pages() -> None:
    assert isinstance(reading_of({"sid": None, "result": {}}), Notice)
    assert reading_of({"text": "disk full"}).title == "disk full"


def of_detector(incident: str = "GaBbCc", **more: Any) -> Alert:
    body = {
        "detector": "Memory of the workers",
        "detectorId": "GaAaAa",
        "detectorUrl": "https://app.us1.signalfx.com/#/detector/v2/GaAaAa?selected=GaBbCc",
        "incidentId": incident,
        "rule": "Running out of memory",
        "severity": "Major",
        "messageTitle": "Major Alert: Running out of memory (Memory of the workers)",
        "status": "anomalous",
        "statusExtended": "anomalous",
        "timestamp": "2026-01-05T09:00:00Z",
        "dimensions": {"host": "worker-3"},
    }
    reading = reading_of({**body, **more})
    assert isinstance(reading, Alert)
    return reading


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ({"statusExtended": "anomalous"}, Status.FIRING),
        ({"statusExtended": "ok", "status": "ok"}, Status.RESOLVED),
        ({"statusExtended": "manually resolved"}, Status.RESOLVED),
        ({"statusExtended": "auto resolved"}, Status.RESOLVED),
        ({"statusExtended": "stopped"}, Status.RESOLVED),
        ({"statusExtended": None, "status": "ok"}, Status.RESOLVED),
        ({"statusExtended": "soon"}, Status.FIRING),
    ],
)
def test_an_alert_of_observability_is_over_when_it_says_so(told: dict[str, Any], status: Status) -> None:
    assert of_detector(**told).status is status
    assert of_detector(**told).fingerprint == of_detector().fingerprint != of_detector("GaDdEe").fingerprint


def test_an_alert_of_observability_is_titled_linked_and_labelled() -> None:
    alert = of_detector()
    assert alert.title == "Major Alert: Running out of memory (Memory of the workers)"
    assert of_detector(messageTitle=None).title == "Memory of the workers: Running out of memory"
    assert alert.severity is Severity.ERROR
    assert (alert.labels["host"], alert.labels["rule"]) == ("worker-3", "Running out of memory")
    assert alert.links[0].href.endswith("selected=GaBbCc")


def of_on_call(phase: str, kind: str, *, entity: str = "queue-depth", incident: str = "9", nested: bool = False) -> Any:
    blocks = {
        "INCIDENT": {"INCIDENT_ID": incident, "ENTITY_DISPLAY_NAME": "The queue is long", "CURRENT_PHASE": phase},
        "ALERT": {"message_type": kind, "entity_id": entity, "entity_state": "CRITICAL", "state_message": "9000 wait"},
        "STATE": {"ENTITY_ID": entity, "CURRENT_ALERT_PHASE": phase, "RESOLVED_BY": None},
    }
    if nested:
        return reading_of({name.lower(): block for name, block in blocks.items()})
    return reading_of({f"{name}.{key}": value for name, block in blocks.items() for key, value in block.items()})


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("phase", "kind", "status"),
    [
        ("UNACKED", "CRITICAL", Status.FIRING),
        ("ACKED", "ACKNOWLEDGEMENT", Status.ACKNOWLEDGED),
        ("RESOLVED", "RECOVERY", Status.RESOLVED),
        ("", "RECOVERY", Status.RESOLVED),
        ("", "ACKNOWLEDGEMENT", Status.ACKNOWLEDGED),
        ("", "WARNING", Status.FIRING),
    ],
)
def test_an_incident_of_on_call_is_one_problem_through_its_phases(
    phase: str, kind: str, status: Status, nested: bool
) -> None:
    alert, opened = of_on_call(phase, kind, nested=nested), of_on_call("UNACKED", "CRITICAL", nested=nested)
    assert (alert.status, alert.title) == (status, "The queue is long")
    assert (alert.fingerprint, alert.episode) == (opened.fingerprint, opened.episode)


def test_an_entity_of_on_call_that_comes_back_is_a_new_episode_and_another_one_another_problem() -> None:
    first, again = of_on_call("UNACKED", "CRITICAL"), of_on_call("UNACKED", "CRITICAL", incident="10")
    assert (first.severity, first.description) == (Severity.CRITICAL, "9000 wait")
    assert again.fingerprint == first.fingerprint
    assert again.episode != first.episode
    assert of_on_call("UNACKED", "CRITICAL", entity="disk").fingerprint != first.fingerprint


def test_a_secret_in_the_address_proves_the_sender() -> None:
    source = Splunk(name="sp", auth=QueryAuth(parameter="token", secrets=("old", "new")))
    source.verify(Webhook(source="sp", headers={}, body=b"{}", received_at=NOW, query={"token": "new"}))
    with pytest.raises(SignatureError, match="wrong"):
        source.verify(Webhook(source="sp", headers={}, body=b"{}", received_at=NOW, query={"token": "other"}))
