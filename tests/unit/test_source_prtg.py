"""PRTG: what a status text means, and the notification template that is shipped."""

import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.domain.errors import DecodeError
from bridge.sources.base import NoAuth
from bridge.sources.fields import words
from bridge.sources.prtg import Prtg

FORM = "application/x-www-form-urlencoded"
TEMPLATE = (files("bridge.sources") / "templates" / "prtg_notification.txt").read_text(encoding="utf-8")
PLACEHOLDERS = words(  # https://www.paessler.com/support/kb/prtg7/placeholder_overview/ and PRTG's own %sensorid
    "sensorid status statesince priority linksensor linkdevice host sitename probe group device sensor location"
    " lastmessage"
)


def read(body: bytes, media_type: str = FORM) -> Any:
    webhook = Webhook(
        source="prtg", headers={"content-type": media_type}, body=body, received_at=datetime(2026, 1, 5, tzinfo=UTC)
    )
    (reading,) = Prtg(name="prtg", auth=NoAuth()).alerts_in(webhook)
    return reading


def reading_of(body: dict[str, Any]) -> Any:
    return read(json.dumps(body).encode(), "application/json")


def alert_of(**body: Any) -> Alert:
    reading = reading_of({"sensorid": "41", "sensor": "Ping", "device": "fw-1", **body})
    assert isinstance(reading, Alert)
    return reading


@given(st.integers(1, 10**9), st.sampled_from(["Down", "Warning", "Unusual", "Down (Partial)"]), st.text(max_size=20))
def test_a_state_and_its_end_are_one_problem(sensor: int, state: str, name: str) -> None:
    began = alert_of(sensorid=str(sensor), status=state, sensor=name, statesince="1/5/2026 11:00:00 AM")
    ended = alert_of(sensorid=sensor, status=f"{state} ended (now: Up)", statesince="1/5/2026 11:30:00 AM")
    assert (began.status, ended.status) == (Status.FIRING, Status.RESOLVED)
    assert began.fingerprint == ended.fingerprint
    assert began.severity is ended.severity


def test_the_age_behind_an_instant_belongs_to_no_episode_however_long_the_text_is() -> None:
    first, later = (alert_of(status="Down", statesince=f"9/10/2025 10:56:51 AM [{age} ago]") for age in ("5 m", "6 m"))
    assert first.episode == later.episode
    before = time.process_time()
    alert_of(status="Down", statesince="[" * 1_000_000)
    assert time.process_time() - before < 1.0


@given(st.lists(st.integers(1, 10**9), min_size=2, max_size=2, unique=True))
def test_two_sensors_are_two_problems(sensors: list[int]) -> None:
    first, second = (alert_of(sensorid=sensor, status="Down").fingerprint for sensor in sensors)
    assert first != second


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("Down", Status.FIRING),
        ("Down (Partial)", Status.FIRING),
        ("Down ESCALATION (at least 300 s)", Status.FIRING),
        ("Warning", Status.FIRING),
        ("Unusual", Status.FIRING),
        ("Unknown", Status.FIRING),
        ("Fehler", Status.FIRING),
        (None, Status.FIRING),
        ("%status", Status.FIRING),
        ("Down (Acknowledged)", Status.ACKNOWLEDGED),
        ("Down ended (now: Down (Acknowledged))", Status.ACKNOWLEDGED),
        ("Up", Status.RESOLVED),
        ("Down ended (now: Up)", Status.RESOLVED),
        ("Warning ended (now: Up)", Status.RESOLVED),
        ("down ENDED (NOW: UP)", Status.RESOLVED),
        ("Down ended", Status.RESOLVED),
        ("Down ended (now: Paused by user)", Status.RESOLVED),
        ("Down ended (now: Warning)", Status.FIRING),
        ("Down ended (now: Unknown)", Status.FIRING),
        ("Warning ended (now: Down)", Status.FIRING),
    ],
)
def test_a_status_text_tells_the_status_and_in_doubt_it_fires(status: str | None, expected: Status) -> None:
    assert alert_of(status=status).status is expected


@pytest.mark.parametrize(
    ("event", "expected"),
    [("create", Status.FIRING), ("acknowledge", Status.ACKNOWLEDGED), ("Resolve", Status.RESOLVED)],
)
def test_an_event_type_of_the_template_decides_in_any_language(event: str, expected: Status) -> None:
    assert alert_of(status="Fehler beendet (jetzt: OK)", event_type=event).status is expected


@pytest.mark.parametrize(
    ("status", "priority", "severity"),
    [
        ("Down", "*****", Severity.CRITICAL),
        ("Down", "5", Severity.CRITICAL),
        ("Down", "***", Severity.ERROR),
        ("Down", "", Severity.ERROR),
        ("Down", "******", Severity.ERROR),
        ("Down ended (now: Up)", "*****", Severity.CRITICAL),
        ("Down ended (now: Warning)", "*****", Severity.WARNING),
        ("Warning", "*****", Severity.WARNING),
        ("Unusual", "***", Severity.INFO),
        ("Fehler", "***", None),
    ],
)
def test_the_state_is_the_severity_and_five_stars_make_a_down_critical(
    status: str, priority: str, severity: Severity | None
) -> None:
    assert alert_of(status=status, priority=priority).severity is severity


def test_what_fires_names_its_episode_by_the_start_of_its_state() -> None:
    first, again, later = (
        alert_of(status="Down", statesince=since).episode
        for since in ("1/5/2026 11:00:00 AM", "1/5/2026 11:00:00 AM [5 m ago]", "1/6/2026 9:00:00 AM")
    )
    assert first is not None
    assert first == again != later
    for over in ("Down ended (now: Up)", "Down (Acknowledged)"):
        assert alert_of(status=over, statesince="1/5/2026 11:30:00 AM").episode is None
    assert alert_of(status="Down", statesince="%statesince").episode is None


def test_a_local_time_is_no_time_of_a_report() -> None:
    assert alert_of(status="Down", datetime="2026-01-05 11:00:00").reported_at is None


def test_text_that_was_not_escaped_changes_nothing_that_came_before_it() -> None:
    alert = read(b'sensorid=41&status=Down&sensor=Web&lastmessage=saw "a&status=Up&sensorid=7&b" in the page')
    assert (alert.fingerprint, alert.status) == ("sensor:41", Status.FIRING)


MESSAGE = "HTTP 500 for https://shop/hook?order=1&event_type=ok&link=https://x/ + 5 %41"


@pytest.mark.parametrize("front", ["", "event_type=create&"])
@pytest.mark.parametrize("media_type", [FORM, "text/plain"])
def test_what_follows_a_message_that_was_not_escaped_is_part_of_it(front: str, media_type: str) -> None:
    body = filled(str, sensorid="41", status="Down", sensor="Web", linksensor="https://prtg/", lastmessage=MESSAGE)
    alert = read(f"{front}{body}\r\n".encode(), media_type)
    assert (alert.fingerprint, alert.status, alert.description) == ("sensor:41", Status.FIRING, MESSAGE)
    assert [link.href for link in alert.links] == ["https://prtg/"]


@pytest.mark.parametrize("escape", [str, quote_plus])
def test_a_template_of_another_order_is_read_whole(escape: Callable[[str], str]) -> None:
    told = {"lastmessage": "timed out (#11010)", "status": "Down ended (now: Up)", "sensor": "Web", "sensorid": "41"}
    alert = read("&".join(f"{name}={escape(text)}" for name, text in told.items()).encode())
    assert (alert.fingerprint, alert.status, alert.labels["sensor"]) == ("sensor:41", Status.RESOLVED, "Web")


def test_fields_behind_an_escaped_message_are_fields() -> None:
    alert = read(b"sensorid=41&status=Fehler&lastmessage=a%26b+%2F&sensor=Web&event_type=resolve")
    assert (alert.status, alert.labels["sensor"], alert.description) == (Status.RESOLVED, "Web", "a&b /")


@pytest.mark.parametrize(
    "text", ["x?sensorid=1&status=Down&lastmessage=a & b", "a&lastmessage=b&sensorid=1&status=2 /"]
)
def test_json_is_read_as_it_is_whatever_its_texts_hold(text: str) -> None:
    assert alert_of(status="Down", lastmessage=text).description == text


def test_looking_for_the_message_of_a_huge_body_takes_no_time() -> None:
    before = time.process_time()
    for body in ("&" * 2_000_000, "status=" * 300_000, "a=&lastmessage=&" * 100_000):
        with suppress(DecodeError):
            read(f"sensor=x&{body}&lastmessage=/&b".encode())
    assert time.process_time() - before < 5.0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"sensorid": "41", "status": "Paused (paused by parent)"}, "paused"),
        ({"sensorid": "%sensorid", "status": "%status", "device": "%device"}, "no placeholder"),
        ({"sensorid": "", "device": None}, "says nothing"),
    ],
)
def test_what_is_no_problem_is_a_notice(body: dict[str, Any], reason: str) -> None:
    reading = reading_of(body)
    assert isinstance(reading, Notice)
    assert reason in reading.reason


def test_a_sensor_without_an_id_is_known_by_device_and_name() -> None:
    ids = {"sensorid": None}
    first, second, other = (
        alert_of(**ids, status=status, device=device).fingerprint
        for status, device in (("Down", "fw-1"), ("Down ended (now: Up)", "fw-1"), ("Down", "fw-2"))
    )
    assert first == second != other


def test_another_shape_pages() -> None:
    assert reading_of({"title": "Core server restarts"}).title == "Core server restarts"


def filled(escape: Callable[[str], str], **values: str) -> str:
    """The shipped template once PRTG has filled it."""
    (payload,) = [line for line in TEMPLATE.splitlines() if line.startswith("sensorid=")]
    return re.sub("%([a-z]+)", lambda found: escape(values.get(found[1], "")), payload)


def posted(**values: str) -> Any:
    """What the source reads of it."""
    return read(filled(quote_plus, **values).encode())


def test_the_shipped_template_uses_placeholders_of_prtg_with_free_text_last() -> None:
    (payload,) = [line for line in TEMPLATE.splitlines() if line.startswith("sensorid=")]
    pairs = [pair.split("=") for pair in payload.split("&")]
    assert all(value == f"%{name}" for name, value in pairs)
    names = [name for name, _ in pairs]
    assert set(names) == PLACEHOLDERS
    assert names[:2] == ["sensorid", "status"]
    assert names[-1] == "lastmessage"
    assert "/webhooks/prtg?token=" in TEMPLATE


def test_the_shipped_template_opens_and_resolves() -> None:
    about = {"sensorid": "41", "sensor": "Ping", "device": "fw & co", "priority": "*****", "host": "192.0.2.1"}
    down = posted(**about, status="Down", statesince="1/5/2026 11:00:00 AM", lastmessage="Request timed out = 100 %")
    up = posted(**about, status="Down ended (now: Up)", statesince="1/5/2026 11:10:00 AM", lastmessage="OK")
    assert (down.title, down.severity) == ("Ping on fw & co: Down", Severity.CRITICAL)
    assert (down.description, down.labels["host"]) == ("Request timed out = 100 %", "192.0.2.1")
    assert (down.status, up.status) == (Status.FIRING, Status.RESOLVED)
    assert down.fingerprint == up.fingerprint
