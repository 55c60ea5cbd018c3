"""Uptime Kuma: which message is a problem, which monitor it is about, and the wrappings of one body."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Status, Webhook
from bridge.domain.errors import DecodeError
from bridge.sources.base import NoAuth
from bridge.sources.uptime_kuma import UptimeKuma

TIMES = st.integers(0, 10**9).map(lambda s: f"{datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=s):%F %T}.000")


def read(body: bytes, media_type: str = "application/json") -> Any:
    webhook = Webhook(
        source="uk", headers={"content-type": media_type}, body=body, received_at=datetime(2026, 1, 5, tzinfo=UTC)
    )
    (reading,) = UptimeKuma(name="uk", auth=NoAuth()).alerts_in(webhook)
    return reading


def reading_of(body: Any) -> Any:
    return read(json.dumps(body).encode())


def alert_of(body: Any) -> Alert:
    reading = reading_of(body)
    assert isinstance(reading, Alert)
    return reading


def beat(status: Any = 0, monitor: int = 7, name: str = "shop", **heartbeat: Any) -> dict[str, Any]:
    heartbeat = {"status": status, "time": "2026-01-05 10:00:00.000", "msg": "timeout", "important": True, **heartbeat}
    return {"heartbeat": heartbeat, "monitor": {"id": monitor, "name": name, "url": "https://shop.example.com"}}


@given(st.integers(1, 10**9), st.text(max_size=30), TIMES, TIMES)
def test_down_and_up_of_a_monitor_are_one_problem_whatever_its_name_and_time(
    monitor: int, name: str, first: str, then: str
) -> None:
    down, up = alert_of(beat(0, monitor, name, time=first)), alert_of(beat(1, monitor, "renamed", time=then))
    assert (down.status, up.status) == (Status.FIRING, Status.RESOLVED)
    assert down.fingerprint == up.fingerprint


@given(st.lists(st.integers(1, 10**9), min_size=2, max_size=2, unique=True))
def test_two_monitors_are_two_problems(monitors: list[int]) -> None:
    first, second = (alert_of(beat(0, monitor)).fingerprint for monitor in monitors)
    assert first != second


def test_the_first_down_names_the_episode_and_a_repeated_one_does_not() -> None:
    first = alert_of(beat(0))
    later = alert_of(beat(0, time="2026-01-05 11:00:00.000"))
    assert first.episode is not None
    assert first.episode != later.episode
    assert alert_of(beat(0, important=False)).episode is None
    assert alert_of(beat(1)).episode is None


def test_the_time_of_the_heartbeat_is_utc() -> None:
    assert alert_of(beat(0)).reported_at == datetime(2026, 1, 5, 10, tzinfo=UTC)
    assert alert_of(beat(0, time="yesterday")).reported_at is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (beat(0), Status.FIRING),
        (beat("0"), Status.FIRING),
        (beat(1), Status.RESOLVED),
        (beat("1"), Status.RESOLVED),
        (beat(None), Status.FIRING),
        (beat(17), Status.FIRING),
        ({"name": "shop", "status": "🔴 Down"}, Status.FIRING),
        ({"name": "shop", "status": "✅ Up"}, Status.RESOLVED),
        ({"msg": "[shop] [✅ Up] 200 - OK"}, Status.RESOLVED),
        ({"msg": "[shop [eu]] [🔴 Down] timeout"}, Status.FIRING),
        ({"name": "shop", "msg": "[✅ Up] somewhere in the text"}, Status.FIRING),
        ({"name": "shop"}, Status.FIRING),
    ],
)
def test_the_status_is_the_heartbeats_else_the_words(body: dict[str, Any], status: Status) -> None:
    assert alert_of(body).status is status


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (beat(2), "being tried again"),
        (beat(3), "maintenance"),
        ({"heartbeat": None, "monitor": None, "msg": "My pager Testing"}, "a test"),
        ({"name": "Monitor Name not available", "status": "⚠️ Test"}, "a test"),
        ({}, "says nothing"),
        ({"heartbeat": None, "monitor": None, "msg": ""}, "says nothing"),
    ],
)
def test_what_is_no_problem_is_a_notice(body: dict[str, Any], reason: str) -> None:
    reading = reading_of(body)
    assert isinstance(reading, Notice)
    assert reason in reading.reason


@pytest.mark.parametrize("monitor", [None, {"id": 7, "name": "shop"}])
def test_something_that_expires_is_a_problem_of_its_own_however_many_days_are_left(monitor: Any) -> None:
    say = "[shop-2][https://shop.example.com] server certificate shop.example.com will expire in {} days"
    first, later = (alert_of({"heartbeat": None, "monitor": monitor, "msg": say.format(days)}) for days in (14, 7))
    other = alert_of({"heartbeat": None, "monitor": monitor, "msg": say.format(7).replace("shop-2", "shop-3")})
    assert first.status is Status.FIRING
    assert first.title.endswith("will expire in 14 days")
    assert first.fingerprint == later.fingerprint != other.fingerprint
    assert first.fingerprint != alert_of(beat(0)).fingerprint


def test_a_custom_body_that_says_test_for_want_of_a_heartbeat_still_tells_what_expires() -> None:
    body = {"name": "shop", "status": "⚠️ Test", "text": "Domain name example.com will expire in 30 days"}
    assert alert_of(body).title == "Domain name example.com will expire in 30 days"


def test_a_message_of_another_kind_pages() -> None:
    alert = alert_of({"heartbeat": None, "monitor": None, "msg": "The database is locked"})
    assert alert.status is Status.FIRING
    assert "The database is locked" in (alert.title, alert.description)


def test_the_body_is_found_in_every_wrapping() -> None:
    body = {**beat(1), "msg": "[shop] [✅ Up] 200 - OK"}
    plain = reading_of(body)
    multipart = (
        '--xyz\r\nContent-Disposition: form-data; name="other"\r\n\r\n1\r\n'
        f'--xyz\r\nContent-Disposition: form-data; name="data"\r\n\r\n{json.dumps(body)}\r\n--xyz--\r\n'
    ).encode()
    assert read(multipart, "multipart/form-data; boundary=xyz") == plain
    assert read(multipart, "text/plain") == plain
    assert reading_of({"data": json.dumps(body)}) == plain
    packed = {name: value if isinstance(value, str) else json.dumps(value) for name, value in body.items()}
    assert reading_of(packed) == plain


@pytest.mark.parametrize("broken", [{"heartbeat": "{broken"}, {"data": "{broken"}, {"data": '{"other": 1}'}])
def test_what_cannot_be_unpacked_leaves_the_rest_to_page(broken: dict[str, Any]) -> None:
    alert = alert_of({**broken, "monitor": {"id": 7, "name": "shop"}, "msg": "[shop] [🔴 Down] x"})
    assert (alert.fingerprint, alert.status) == ("monitor:7", Status.FIRING)


@pytest.mark.parametrize(
    "body",
    [
        b"--xyz\r\n\r\n--xyz--",
        b'--xyz\r\nContent-Disposition: form-data; name="data"\r\n\r\n[1]\r\n--xyz--',
        b'--xyz\r\nContent-Disposition: form-data; name="data"\r\n\r\n{"heartbeat"',
        b"--",
    ],
)
def test_a_form_without_its_object_is_refused(body: bytes) -> None:
    with pytest.raises(DecodeError):
        read(body, "multipart/form-data; boundary=xyz")


def test_tags_are_labels_and_one_without_a_value_is_true() -> None:
    body = beat(0)
    body["monitor"]["tags"] = [{"name": "env", "value": "prod"}, {"name": "vip", "value": ""}, "odd", {"value": "x"}]
    labels = alert_of(body).labels
    assert (labels["env"], labels["vip"], labels["monitor"], labels["monitor_id"]) == ("prod", "true", "shop", "7")


def test_an_address_that_is_only_a_scheme_is_none() -> None:
    body = beat(0)
    body["monitor"]["url"] = "https://"
    assert "url" not in alert_of(body).labels
