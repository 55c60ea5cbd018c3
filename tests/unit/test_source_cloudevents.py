"""CloudEvents: three modes that mean the same, the handshake, and what names a delivery."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Status, Webhook
from bridge.domain.errors import DecodeError
from bridge.sources.base import Introduces, NoAuth
from bridge.sources.cloudevents import EVENTS_MAX, CloudEvents
from tests.receiving import told_as_it_is

DATA = {"title": "Pump 3 is too hot", "severity": "critical", "state": "firing"}
SOURCE = CloudEvents(name="ce", auth=NoAuth())


def event(**changes: Any) -> dict[str, Any]:
    plain = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/plants/7",
        "type": "com.example.pump.changed",
        "time": "2026-01-05T10:00:00Z",
        "data": DATA,
    }
    return {name: value for name, value in {**plain, **changes}.items() if value != "absent"}


def webhook_of(body: Any, media_type: str = "application/cloudevents+json", **headers: str) -> Webhook:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Webhook(
        source="ce",
        headers={"content-type": media_type, **named},
        body=content,
        received_at=datetime(2026, 1, 5, tzinfo=UTC),
    )


def binary(data: Any, media_type: str = "application/json", **changes: Any) -> Webhook:
    attributes = {f"ce-{name}": value for name, value in event(**changes).items() if name != "data"}
    return webhook_of(data, media_type, **attributes)


def alert_of(body: Any, **headers: str) -> Alert:
    (reading,) = SOURCE.alerts_in(webhook_of(body, **headers))
    assert isinstance(reading, Alert)
    return reading


def test_all_modes_say_the_same() -> None:
    batch = webhook_of([event()], "application/cloudevents-batch+json")
    for webhook in (webhook_of(event()), batch, binary(DATA), webhook_of(event(), "application/json")):
        (alert,) = SOURCE.alerts_in(webhook)
        assert isinstance(alert, Alert)
        assert alert.title == "Pump 3 is too hot"
        assert alert.labels == {"event_type": "com.example.pump.changed", "event_source": "/plants/7"}
        assert alert.payload["data"] == DATA
        assert alert.payload["type"] == "com.example.pump.changed"
    names = {SOURCE.delivery_id(webhook) for webhook in (webhook_of(event()), batch, binary(DATA))}
    assert names == {"event:/plants/7:e-1"}


@pytest.mark.parametrize(
    ("kind", "data", "status"),
    [
        ("com.example.alert.firing", {"title": "x"}, Status.FIRING),
        ("com.example.alert.resolved", {"title": "x"}, Status.RESOLVED),
        ("com.example.alert.resolved.v1", {"title": "x"}, Status.RESOLVED),
        ("com.example.alert.fired.v1", {"title": "x"}, Status.FIRING),
        ("com.example.alert.resolved", {"title": "x", "state": "firing"}, Status.FIRING),
        ("com.example.alert.firing", {"title": "x", "status": "ok"}, Status.RESOLVED),
        ("com.example.alert", {"title": "x"}, Status.FIRING),
        ("com.example.alert.acknowledged", None, Status.ACKNOWLEDGED),
    ],
)
def test_the_data_tells_the_status_else_the_type(kind: str | None, data: Any, status: Status) -> None:
    assert alert_of(event(type=kind, data=data)).status is status


@given(title=st.text(st.characters(categories=("L", "N")), min_size=1, max_size=30).filter(told_as_it_is))
def test_firing_and_resolved_share_a_fingerprint_that_no_other_origin_or_kind_has(title: str) -> None:
    def fingerprint(kind: str, origin: str = "/a", said: str = title) -> str:
        return alert_of(event(type=kind, source=origin, data={"title": said})).fingerprint

    assert fingerprint("x.pump.firing") == fingerprint("x.pump.resolved")
    assert fingerprint("x.pump.firing.v1") == fingerprint("x.pump.resolved.v1") == fingerprint("x.pump.resolved.v2")
    assert fingerprint("x.pump.firing") != fingerprint("x.pump.firing", origin="/b")
    assert fingerprint("x.pump.firing") != fingerprint("x.valve.firing")
    assert fingerprint("x.pump.firing") != fingerprint("x.pump.firing", said=title + "x")


def test_without_data_the_subject_identifies() -> None:
    opened, closed = (alert_of(event(data="absent", subject="gate-9", type=f"x.gate.{end}")) for end in ("up", "down"))
    assert opened.fingerprint == closed.fingerprint
    assert opened.fingerprint != alert_of(event(data="absent", subject="gate-8", type="x.gate.up")).fingerprint
    assert opened.title == "gate-9"


@pytest.mark.parametrize("data", [None, "just text", 7, True, ["a", "list"], {}, [], "", "{broken"])
def test_data_of_any_kind_pages(data: Any) -> None:
    alert = alert_of(event(data=data))
    assert alert.title
    assert alert.description == (data if isinstance(data, str) and data else alert.description)


def test_base64_is_data_too() -> None:
    encoded = base64.b64encode(json.dumps(DATA).encode()).decode()
    assert alert_of(event(data="absent", data_base64=encoded)).title == "Pump 3 is too hot"
    assert alert_of(event(data="absent", data_base64="!")).title == "com.example.pump.changed"
    assert SOURCE.alerts_in(binary(b"overheated", "text/plain"))[0].title == "com.example.pump.changed"


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"overheated", "overheated"), (b'{"title": "cut sho', '{"title": "cut sho'), (b"\x00\xff", "\ufffd\ufffd")],
)
def test_data_that_is_not_the_json_it_claims_to_be_is_a_text(data: bytes, said: str) -> None:
    """The SDK for JavaScript calls bytes `application/json`, too; that it fires stands in the headers."""
    (alert,) = SOURCE.alerts_in(binary(data, "application/json; charset=utf-8", type="com.example.pump.alarm.firing"))
    assert isinstance(alert, Alert)
    assert (alert.title, alert.status) == ("com.example.pump.alarm.firing", Status.FIRING)
    assert alert.description == said
    with pytest.raises(DecodeError):
        SOURCE.alerts_in(webhook_of(data))


def test_a_structured_event_is_the_same_with_the_headers_of_binary_mode_beside_it() -> None:
    copied = {f"ce_{name}": value for name, value in event().items() if name != "data"}
    for media_type, body in (
        ("application/cloudevents+json; charset=utf-8", event()),
        ("application/cloudevents-batch+json", [event()]),
    ):
        webhook = webhook_of(body, media_type, **copied)
        assert SOURCE.alerts_in(webhook) == SOURCE.alerts_in(webhook_of(event()))
        assert SOURCE.delivery_id(webhook) == SOURCE.delivery_id(webhook_of(event()))


@pytest.mark.parametrize(
    ("sent", "subject"),
    [
        ("Pumpe%204%20%C3%BCberhitzt", "Pumpe 4 überhitzt"),
        ('"pump \\"4\\" 100%25"', 'pump "4" 100%'),
        ("100% full", "100% full"),
        ("%ff", "\ufffd"),
        ("a%00b", "a\ufffdb"),
    ],
)
def test_an_attribute_of_a_header_is_read_as_it_was_before_it_was_escaped(sent: str, subject: str) -> None:
    (in_header,) = SOURCE.alerts_in(binary({"value": 3}, subject=sent))
    (in_body,) = SOURCE.alerts_in(webhook_of(event(data={"value": 3}, subject=subject)))
    assert in_header == in_body
    assert in_header.title == subject


def test_null_attributes_are_absent() -> None:
    alert = alert_of(event(subject=None, time=None, source=None, dataschema=None, extension=None))
    assert (alert.reported_at, dict(alert.labels)) == (None, {"event_type": "com.example.pump.changed"})


def test_an_alert_of_alertmanager_begins_an_episode() -> None:
    inside = {"labels": {"alertname": "DiskFull"}, "startsAt": "2026-01-05T09:58:00Z", "fingerprint": "aa11"}
    assert alert_of(event(data=inside)).episode == "2026-01-05T09:58:00Z"
    assert alert_of(event(data={"title": "x", "startsAt": "2026-01-05T09:58:00Z"})).episode is None


def test_one_bad_event_never_spoils_its_batch() -> None:
    first, second, third = SOURCE.alerts_in(webhook_of([event(), 7, event(id="e-2", data={"title": "b"})]))
    assert (first.title, third.title) == ("Pump 3 is too hot", "b")
    assert isinstance(second, Notice)


def test_an_empty_batch_is_fine() -> None:
    (notice,) = SOURCE.alerts_in(webhook_of([], "application/cloudevents-batch+json"))
    assert isinstance(notice, Notice)
    assert SOURCE.delivery_id(webhook_of([])) is None


def test_a_batch_without_end_is_refused() -> None:
    with pytest.raises(DecodeError, match=f"send at most {EVENTS_MAX}"):
        SOURCE.alerts_in(webhook_of([{}] * (EVENTS_MAX + 1)))


def test_source_and_id_name_the_delivery() -> None:
    one = SOURCE.delivery_id(webhook_of(event()))
    assert one == SOURCE.delivery_id(webhook_of(event(data={"title": "sent again with other bytes"})))
    assert one != SOURCE.delivery_id(webhook_of(event(id="e-2")))
    assert one != SOURCE.delivery_id(webhook_of(event(source="/plants/8")))
    both = SOURCE.delivery_id(webhook_of([event(), event(id="e-2")]))
    assert both not in (None, one)
    for body in (event(id="absent"), event(source=None), [event(), {}], b"{"):
        assert SOURCE.delivery_id(webhook_of(body)) is None


def test_a_handshake_is_answered_with_the_origin() -> None:
    assert isinstance(SOURCE, Introduces)
    asked = webhook_of(b"", webhook_request_origin="eventemitter.example.com", webhook_request_rate="120")
    assert SOURCE.introduction(asked) == {
        "WebHook-Allowed-Origin": "eventemitter.example.com",
        "WebHook-Allowed-Rate": "*",
    }
    assert SOURCE.introduction(webhook_of(b"", webhook_request_origin="a b\r\nX: y")) == {}
    assert SOURCE.introduction(webhook_of(b"")) == {}
