"""UptimeRobot: one monitor in every format it can send, and what a certificate has to do with it."""

import json
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Status, Webhook
from bridge.entrypoints.web.redacting import without_secrets
from bridge.sources.base import HeaderAuth, NoAuth, QueryAuth
from bridge.sources.uptimerobot import UptimeRobot

FORM = "application/x-www-form-urlencoded"
RECEIVED_AT = datetime(2026, 1, 5, tzinfo=UTC)
SOURCE: Any = UptimeRobot(name="ur", auth=NoAuth())
DOWN = {
    "monitorID": "77",
    "monitorURL": "https://shop.example.com",
    "monitorFriendlyName": "Shop & more",
    "alertType": "1",
    "alertTypeFriendlyName": "Down",
    "alertDetails": "HTTP 503",
    "alertDateTime": "1767600000",
}


def reading_of(body: dict[str, Any]) -> Any:
    webhook = Webhook(source="ur", headers={}, body=json.dumps(body).encode(), received_at=RECEIVED_AT)
    (reading,) = SOURCE.alerts_in(webhook)
    return reading


def alert_of(**body: Any) -> Alert:
    reading = reading_of(body)
    assert isinstance(reading, Alert)
    return reading


def without_payload(alert: Alert) -> tuple[Any, ...]:
    return (alert.fingerprint, alert.status, alert.title, alert.description, alert.reported_at, dict(alert.labels))


@given(st.integers(1, 10**12), st.text(max_size=20), st.integers(10**9, 2 * 10**9))
def test_down_and_up_of_a_monitor_are_one_problem(monitor: int, name: str, at: int) -> None:
    down = alert_of(monitorID=str(monitor), monitorFriendlyName=name, alertType="1", alertDateTime=str(at))
    up = alert_of(monitor_id=monitor, monitor_friendly_name="renamed", alert_type=2, alert_date_time=at + 60)
    assert (down.status, up.status) == (Status.FIRING, Status.RESOLVED)
    assert down.fingerprint == up.fingerprint


@given(st.lists(st.tuples(st.integers(1, 10**12), st.sampled_from(["1", "3"])), min_size=2, max_size=2, unique=True))
def test_two_monitors_and_two_kinds_of_alert_are_two_problems(alerts: list[tuple[int, str]]) -> None:
    first, second = (alert_of(monitorID=monitor, alertType=kind).fingerprint for monitor, kind in alerts)
    assert first != second


def test_json_form_and_query_tell_the_same() -> None:
    as_json = alert_of(**DOWN)
    body = urlencode(DOWN).encode()
    form = Webhook(source="ur", headers={"content-type": FORM}, body=body, received_at=RECEIVED_AT)
    query = Webhook(source="ur", headers={}, body=b"", received_at=RECEIVED_AT, query=MappingProxyType(DOWN))
    for webhook in (form, query):
        (reading,) = SOURCE.alerts_in(without_secrets(SOURCE, webhook))
        assert isinstance(reading, Alert)
        assert without_payload(reading) == without_payload(as_json)


@pytest.mark.parametrize(
    "auth",
    [QueryAuth(parameter="from", secrets=("s3cret-of-ours",)), HeaderAuth(header="x", secrets=("s3cret-of-ours",))],
)
def test_no_secret_of_the_address_gets_into_the_body(auth: QueryAuth | HeaderAuth) -> None:
    query = {**DOWN, "from": "s3cret-of-ours", "api_key": "of-somebody-else"}
    webhook = Webhook(source="ur", headers={}, body=b"", received_at=RECEIVED_AT, query=query)
    source: Any = UptimeRobot(name="ur", auth=auth)
    safe = without_secrets(source, webhook)
    assert safe.body == urlencode(DOWN).encode()
    assert safe.headers == {"content-type": FORM}
    assert safe.query == {}


def test_a_body_keeps_its_place_whatever_the_address_says() -> None:
    webhook = Webhook(source="ur", headers={}, body=b"{}", received_at=RECEIVED_AT, query=MappingProxyType(DOWN))
    assert without_secrets(SOURCE, webhook).body == b"{}"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"alertType": "1"}, Status.FIRING),
        ({"alertType": 2}, Status.RESOLVED),
        ({"alertType": "3"}, Status.FIRING),
        ({"alertTypeFriendlyName": "Up"}, Status.RESOLVED),
        ({"alertTypeFriendlyName": "Down"}, Status.FIRING),
        ({"alertType": "1", "alertTypeFriendlyName": "Up"}, Status.FIRING),
        ({"alertType": "*alertType*", "alertTypeFriendlyName": "Up"}, Status.RESOLVED),
        ({"alertType": "44", "alertTypeFriendlyName": "Slow response"}, Status.FIRING),
        ({}, Status.FIRING),
    ],
)
def test_the_type_of_the_alert_is_its_status_and_in_doubt_it_fires(body: dict[str, Any], status: Status) -> None:
    alert = alert_of(monitorID="77", **body)
    assert (alert.status, alert.severity) == (status, None)


def test_what_expires_says_when_and_is_resolved_by_nothing_else() -> None:
    expires = {"alertType": "3", "sslExpiryDaysLeft": "14", "sslExpiryDate": "2026-01-19 10:00:00"}
    alert = alert_of(monitorID="77", monitorFriendlyName="Shop", **expires)
    assert alert.title == "Shop: the certificate expires in 14 days"
    assert (alert.labels["event"], alert.labels["expires_in_days"]) == ("expiry", "14")
    assert alert.fingerprint != alert_of(monitorID="77", alertType="2").fingerprint
    assert alert.fingerprint == alert_of(monitorID="77", alertType="3", sslExpiryDaysLeft="7").fingerprint


@pytest.mark.parametrize("word", ["Paused", "Started"])
def test_a_monitor_that_somebody_paused_or_started_is_a_notice(word: str) -> None:
    reading = reading_of({"monitorID": "77", "alertTypeFriendlyName": word})
    assert isinstance(reading, Notice)
    assert word.lower() in reading.reason


def test_without_an_id_a_monitor_is_known_by_address_and_name() -> None:
    first, second, other = (
        alert_of(monitor_url=url, monitor_friendly_name="Files", alert_type=kind).fingerprint
        for url, kind in (("ftp.example.com", "1"), ("ftp.example.com", "2"), ("ftp2.example.com", "1"))
    )
    assert first == second != other


def test_a_template_that_was_written_for_another_tool_names_the_monitor_beside_the_name_of_the_type() -> None:
    told = {"alertName": "Shop", "id": "77", "alertDetails": "HTTP 503"}
    down, up = (alert_of(**told, alertTypeName=word) for word in ("Down", "Up"))
    assert (down.status, down.title, down.fingerprint) == (Status.FIRING, "Shop is down", alert_of(**DOWN).fingerprint)
    assert (up.status, up.title, up.fingerprint) == (Status.RESOLVED, "Shop is up", down.fingerprint)
    assert alert_of(alertName="Shop", id="77", status="firing").fingerprint == "key:77"


def test_a_variable_left_unfilled_is_in_no_key_and_still_pages() -> None:
    first, second = (
        alert_of(monitorID="*monitorID*", monitorURL="*monitorURL*", alertType="1", note=note) for note in ("a", "b")
    )
    assert first.fingerprint != second.fingerprint
    assert "*" not in first.fingerprint + first.title


def test_the_time_of_the_alert_is_the_time_of_the_report() -> None:
    assert alert_of(monitorID="77", alertDateTime="1767600000").reported_at == datetime(2026, 1, 5, 8, tzinfo=UTC)
    assert alert_of(monitorID="77", alertDateTime="*alertDateTime*").reported_at is None


def test_an_event_that_is_neither_down_nor_up_never_swallows_a_down() -> None:
    slow, down = alert_of(**{**DOWN, "alertType": "9", "alertTypeFriendlyName": "Slow response"}), alert_of(**DOWN)
    assert slow.status is Status.FIRING
    assert slow.fingerprint != down.fingerprint
