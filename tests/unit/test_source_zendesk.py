"""Zendesk: signatures, and which event or trigger says what of a ticket."""

import base64
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
from bridge.sources.base import NoAuth, SignatureAuth
from bridge.sources.zendesk import Zendesk

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
SECRET = "a-signing-secret"


def reading_of(body: dict[str, Any], **headers: str) -> Any:
    webhook = Webhook(source="zd", headers=headers, body=json.dumps(body).encode(), received_at=NOW)
    (reading,) = Zendesk(name="zd", auth=NoAuth()).alerts_in(webhook)
    return reading


def alert_of(body: dict[str, Any], **headers: str) -> Alert:
    reading = reading_of(body, **headers)
    assert isinstance(reading, Alert)
    return reading


def event(change: str, status: str = "OPEN", happened: Any = None, **detail: Any) -> dict[str, Any]:
    return {
        "account_id": 10000001,
        "type": f"zen:event-type:ticket.{change}",
        "subject": "zen:ticket:9",
        "time": "2026-01-05T11:59:00.123456789Z",
        "detail": {"id": "9", "status": status, "subject": "It is slow", **detail},
        "event": {} if happened is None else happened,
    }


def signed(body: bytes, *, secret: str = SECRET, at: datetime = NOW, signed_body: bytes | None = None) -> Webhook:
    timestamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    message = timestamp.encode() + (body if signed_body is None else signed_body)
    signature = base64.b64encode(hmac.new(secret.encode(), message, hashlib.sha256).digest()).decode()
    headers = {"x-zendesk-webhook-signature": signature, "x-zendesk-webhook-signature-timestamp": timestamp}
    return Webhook(source="zd", headers=headers, body=body, received_at=NOW)


def zendesk(*secrets: str) -> Zendesk:
    return Zendesk(name="zd", auth=SignatureAuth(kind="signing_secret", secrets=secrets))


def test_a_signature_over_timestamp_and_raw_body_is_accepted() -> None:
    zendesk(SECRET).verify(signed(b'{"a": "\xc3\xa9"}'))
    zendesk(SECRET).verify(signed(b""))
    zendesk("older", SECRET).verify(signed(b"{}"))


def test_the_signature_of_the_documented_algorithm_is_pinned() -> None:
    headers = {
        "x-zendesk-webhook-signature": "wtSbYw2SivxKrLC7GvHUYjZWnm1GHhR2KjfCRm5IbUY=",
        "x-zendesk-webhook-signature-timestamp": "2026-01-05T12:00:00Z",
    }
    zendesk(SECRET).verify(Webhook(source="zd", headers=headers, body=b'{"a":1}', received_at=NOW))


@pytest.mark.parametrize(
    "webhook",
    [
        signed(b"{}", secret="another"),
        signed(b"{}", signed_body=b"{ }"),
        signed(b"{}", at=NOW - timedelta(minutes=5, seconds=1)),
        signed(b"{}", at=NOW + timedelta(minutes=5, seconds=1)),
    ],
    ids=["other secret", "other body", "too old", "from the future"],
)
def test_a_wrong_old_or_early_signature_is_refused(webhook: Webhook) -> None:
    with pytest.raises(SignatureError):
        zendesk(SECRET).verify(webhook)


def test_the_timestamp_is_part_of_what_is_signed() -> None:
    webhook = signed(b"{}", at=NOW - timedelta(hours=1))
    moved = {**webhook.headers, "x-zendesk-webhook-signature-timestamp": "2026-01-05T12:00:00Z"}
    with pytest.raises(SignatureError, match="wrong"):
        zendesk(SECRET).verify(Webhook(source="zd", headers=moved, body=b"{}", received_at=NOW))


@pytest.mark.parametrize("secrets", [(), ("",)])
def test_no_or_an_empty_secret_accepts_nothing(secrets: tuple[str, ...]) -> None:
    with pytest.raises(SignatureError):
        zendesk(*secrets).verify(signed(b"{}", secret=""))


@pytest.mark.parametrize(
    ("change", "status", "expected"),
    [
        ("created", "NEW", Status.FIRING),
        ("created", "Open", Status.FIRING),
        ("created", "SOLVED", Status.RESOLVED),
        ("status_changed", "PENDING", Status.FIRING),
        ("status_changed", "HOLD", Status.FIRING),
        ("status_changed", "SOLVED", Status.RESOLVED),
        ("status_changed", "CLOSED", Status.RESOLVED),
        ("status_changed", "Wartend", Status.FIRING),
        ("priority_changed", "OPEN", Status.FIRING),
        ("priority_changed", "CLOSED", Status.RESOLVED),
        ("merged", "OPEN", Status.RESOLVED),
        ("marked_as_spam", "OPEN", Status.RESOLVED),
        ("soft_deleted", "DELETED", Status.RESOLVED),
        ("permanently_deleted", "DELETED", Status.RESOLVED),
        ("undeleted", "DELETED", Status.FIRING),
        ("undeleted", "SOLVED", Status.RESOLVED),
    ],
)
def test_an_event_tells_whether_its_ticket_is_open(change: str, status: str, expected: Status) -> None:
    alert = alert_of(event(change, status))
    assert (alert.status, alert.fingerprint) == (expected, "ticket:10000001:9")


@pytest.mark.parametrize("change", ["comment_added", "tags_changed", "agent_assignment_changed", "brand_new_event"])
def test_an_event_that_changes_no_state_is_a_notice_about_its_ticket(change: str) -> None:
    reading = reading_of(event(change))
    assert isinstance(reading, Notice)
    assert (reading.fingerprint, reading.title) == ("ticket:10000001:9", "It is slow")
    assert change in reading.reason


def test_an_event_of_a_user_is_a_notice() -> None:
    body = {"type": "zen:event-type:user.created", "subject": "zen:user:9", "detail": {"id": "9", "name": "A"}}
    reading = reading_of(body)
    assert isinstance(reading, Notice)
    assert reading.fingerprint is None


def test_a_ticket_that_came_back_is_a_new_episode_and_nothing_else_names_one() -> None:
    back = alert_of(event("status_changed", "OPEN", {"current": "OPEN", "previous": "SOLVED"}))
    assert back.episode == "reopened:2026-01-05T11:59:00.123456789Z"
    for other in (
        event("created", "NEW"),
        event("status_changed", "PENDING", {"current": "PENDING", "previous": "OPEN"}),
        event("status_changed", "SOLVED", {"current": "SOLVED", "previous": "OPEN"}),
        event("status_changed", "CLOSED", {"current": "CLOSED", "previous": "SOLVED"}),
        event("priority_changed", "OPEN", {"current": "HIGH", "previous": "LOW"}),
    ):
        assert alert_of(other).episode is None


def test_an_event_is_read_without_detail_or_event() -> None:
    body = {"type": "zen:event-type:ticket.created", "subject": "zen:ticket:9"}
    alert = alert_of({**body, "detail": None, "event": 7})
    assert (alert.title, alert.fingerprint, alert.status) == ("Zendesk ticket 9", "ticket:9", Status.FIRING)


@pytest.mark.parametrize(
    ("priority", "severity"),
    [("URGENT", Severity.CRITICAL), ("High", Severity.ERROR), ("normal", Severity.WARNING), ("LOW", Severity.INFO),
     (None, None), ("-", None), ("Dringend", Severity.CRITICAL)],
)  # fmt: skip
def test_the_priority_is_the_severity(priority: str | None, severity: Severity | None) -> None:
    assert alert_of(event("created", priority=priority)).severity is severity
    assert alert_of({"id": "9", "priority": priority, "title": "x"}).severity is severity


@pytest.mark.parametrize(
    "body",
    [
        {"ticket_id": "9"},
        {"id": 9},
        {"ticketId": "9"},
        {"Id": "9"},
        {"ticket": {"id": "9"}},
        {"ticket_id": "#9"},
        {"ticket_url": "example.zendesk.com/agent/tickets/9"},
        {"id": "{{ticket.id}}", "link": "https://example.zendesk.com/agent/tickets/9"},
        {"text": "New ticket <https://example.zendesk.com/agent/tickets/9|#9>"},
        {"title": "Ticket #9 is urgent"},
    ],
)
def test_a_trigger_names_its_ticket_in_many_ways(body: dict[str, Any]) -> None:
    assert alert_of(body).fingerprint == "ticket:9"
    assert alert_of(body, **{"x-zendesk-account-id": "10000001"}).fingerprint == "ticket:10000001:9"


@pytest.mark.parametrize(
    ("subject", "title"),
    [
        ("#9 It is slow", "It is slow"),
        ("#9: It is slow", "It is slow"),
        ("Ticket #9: It is slow", "It is slow"),
        ("#9", "#9"),
        ("Order #4711 failed", "Order #4711 failed"),
        ("It is slow since PR #12", "It is slow since PR #12"),
    ],
)
def test_only_the_tickets_own_number_in_front_is_left_out_of_the_title(subject: str, title: str) -> None:
    assert alert_of({"ticket_id": "9", "title": subject, "status": "Open"}).title == title
    assert alert_of(event("created", subject=subject)).title == title


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"status": "Open"}, Status.FIRING),
        ({"status": "Solved"}, Status.RESOLVED),
        ({"ticket_status": "closed"}, Status.RESOLVED),
        ({"status": "Gelöst"}, Status.RESOLVED),
        ({"status": "Angehalten"}, Status.FIRING),
        ({"status": "Gelöst", "event_type": "resolve"}, Status.RESOLVED),
        ({"status": "Offen", "event_type": "acknowledge"}, Status.ACKNOWLEDGED),
        ({"status": "Solved", "event_type": "update"}, Status.RESOLVED),
        ({"event": "ticket.solved"}, Status.RESOLVED),
        ({"action": "created"}, Status.FIRING),
        ({}, Status.FIRING),
    ],
)
def test_a_trigger_says_its_status_by_event_type_else_by_status(body: dict[str, Any], status: Status) -> None:
    assert alert_of({"ticket_id": "9", **body}).status is status


def test_a_link_gets_its_scheme_and_is_never_invented() -> None:
    linked = alert_of({"ticket_id": "9", "ticket_url": "example.zendesk.com/agent/tickets/9"})
    assert [link.href for link in linked.links] == ["https://example.zendesk.com/agent/tickets/9"]
    assert alert_of(event("created")).links == ()


def test_tags_are_labels_from_a_list_and_from_a_text() -> None:
    for tags in (["vip", "status"], "vip status"):
        labels = alert_of({"ticket_id": "9", "status": "Open", "tags": tags}).labels
        assert (labels["tags"], labels["vip"], labels["status"]) == ("vip,status", "true", "Open")


def test_a_trigger_without_a_ticket_still_pages() -> None:
    alert = alert_of({"foo": "bar", "id": "{{ticket.id}}"})
    assert alert.fingerprint.startswith("body:")
    assert alert.title == "Alert from zd"
    assert alert_of({"title": "It is slow"}).fingerprint == "title:It is slow"


@pytest.mark.parametrize("key", ["dedup_key", "deduplication_key", "incident_key"])
def test_a_body_made_for_pagerduty_is_known_by_its_key_and_says_how_bad_it_is(key: str) -> None:
    payload = {"summary": "It is slow", "severity": "critical"}
    body = {"event_action": "trigger", "payload": payload}
    opened, other = (alert_of({key: given, **body}) for given in ("zd-9", "zd-8"))
    ended = alert_of({key: "zd-9", "event_action": "resolve", "payload": {**payload, "severity": "info"}})
    assert (opened.status, opened.severity) == (Status.FIRING, Severity.CRITICAL)
    assert (ended.status, ended.fingerprint) == (Status.RESOLVED, opened.fingerprint)
    assert other.fingerprint != opened.fingerprint


def test_a_ticket_counts_before_a_key() -> None:
    body = {"ticket_id": "9", "title": "It is slow"}
    assert alert_of({**body, "dedup_key": "zd-9"}).fingerprint == alert_of(body).fingerprint


def test_a_key_that_was_not_filled_is_none() -> None:
    titled = {"title": "It is slow", "status": "Open"}
    assert alert_of({**titled, "dedup_key": "zd-{{ticket.id}}"}).fingerprint == alert_of(titled).fingerprint


def test_a_body_with_no_placeholder_filled_is_a_test() -> None:
    reading = reading_of({"ticket_id": "{{ticket.id}}", "title": "{{ticket.title}}", "status": "{{ticket.status}}"})
    assert isinstance(reading, Notice)
    assert reading.reason == "a test: no placeholder is filled"


def test_a_delivery_is_one_invocation_with_one_body() -> None:
    def delivery(body: bytes, invocation: str | None) -> str | None:
        headers = {} if invocation is None else {"x-zendesk-webhook-invocation-id": invocation}
        webhook = Webhook(source="zd", headers=headers, body=body, received_at=NOW)
        return Zendesk(name="zd", auth=NoAuth()).delivery_id(webhook)

    assert delivery(b"{}", None) is None
    assert delivery(b"{}", "01A") == delivery(b"{}", "01A")
    assert len({delivery(b"{}", "01A"), delivery(b"[]", "01A"), delivery(b"{}", "01B")}) == 3


@given(number=st.integers(1, 10**12), other=st.integers(1, 10**12), account=st.integers(1, 10**9))
def test_a_ticket_keeps_its_fingerprint_over_its_life_and_no_other_has_it(
    number: int, other: int, account: int
) -> None:
    def fingerprint(change: str, status: str, of: int = number, where: int = account) -> str:
        body = {**event(change, status, id=str(of)), "account_id": where, "subject": f"zen:ticket:{of}"}
        return alert_of(body).fingerprint

    life = {
        fingerprint(change, status)
        for change, status in (
            ("created", "NEW"), ("priority_changed", "OPEN"), ("status_changed", "SOLVED"), ("soft_deleted", "DELETED"),
        )
    }  # fmt: skip
    trigger = alert_of({"ticket_id": str(number), "status": "Solved"}, **{"x-zendesk-account-id": str(account)})
    assert life == {trigger.fingerprint}
    assert fingerprint("created", "NEW", where=account + 1) not in life
    assert (fingerprint("created", "NEW", of=other) in life) == (other == number)


def test_a_priority_nobody_chose_is_absent_and_the_dashes_of_a_description_are_left_out() -> None:
    dashes = "-" * 46
    alert = alert_of(
        {"id": "9", "priority": "-", "description": f"{dashes}\r\n\r\nA customer, Jan 5\r\n\r\nHelp - now"}
    )
    assert alert.severity is None
    assert "priority" not in alert.labels
    assert alert.description == "A customer, Jan 5\n\nHelp - now"
