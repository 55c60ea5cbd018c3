"""Events of PagerDuty and incident.io: who may send them, what they say of an incident, and whose it is."""

import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.config.loader import load_settings
from bridge.destinations import DESTINATIONS
from bridge.domain.alert import Notice, Seen, Sighted, Webhook
from bridge.domain.errors import ConfigError, SignatureError
from bridge.sources import SOURCES
from bridge.sources.base import NoAuth, SignatureAuth
from bridge.sources.incident_io_events import IncidentIoEvents
from bridge.sources.pagerduty_events import PagerDutyEvents

GOLDEN = Path(__file__).parent.parent / "golden" / "sources"
NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
PAGERDUTY = PagerDutyEvents(
    name="pd", auth=SignatureAuth(kind="signing_secret", secrets=("old", "new")), account="pagerduty-prod"
)


def webhook(body: bytes, **headers: str) -> Webhook:
    return Webhook(source="s", headers=headers, body=body, received_at=NOW)


def signature(secret: str, body: bytes) -> str:
    return "v1=" + hmac.digest(secret.encode(), body, "sha256").hex()


@pytest.mark.parametrize("secrets", [("old",), ("gone", "new"), ("new", "gone"), ("gone", "older", "old")])
def test_one_right_signature_of_several_is_enough(secrets: tuple[str, ...]) -> None:
    given = ",".join(signature(secret, b"{}") for secret in secrets)
    PAGERDUTY.verify(webhook(b"{}", **{"x-pagerduty-signature": given}))


@pytest.mark.parametrize(
    "given",
    [
        signature("gone", b"{}"),
        signature("new", b"{ }"),
        signature("new", b"{}").removeprefix("v1="),
        signature("new", b"{}").replace("v1=", "v2="),
        "v1=",
        "v1=,v1=",
        ",".join(["v1=00"] * 30 + [signature("new", b"{}")]),
    ],
)
def test_no_other_signature_is_taken(given: str) -> None:
    with pytest.raises(SignatureError):
        PAGERDUTY.verify(webhook(b"{}", **{"x-pagerduty-signature": given}))


def event(kind: str, **data: Any) -> bytes:
    return json.dumps({"event": {"id": "E1", "event_type": kind, "data": {"id": "P1", **data}}}).encode()


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("incident.resolved", Seen.CLOSED),
        ("incident.reopened", Seen.OPEN),
        ("incident.acknowledged", Seen.OPEN),
        ("incident.unacknowledged", Seen.OPEN),
        ("incident.triggered", Seen.OPEN),
    ],
)
def test_an_event_of_pagerduty_says_how_its_incident_stands(kind: str, seen: Seen) -> None:
    (reading,) = PAGERDUTY.alerts_in(webhook(event(kind)))
    assert isinstance(reading, Sighted)
    assert (reading.account, reading.upstream_id, reading.seen) == ("pagerduty-prod", "P1", seen)


@pytest.mark.parametrize("kind", ["incident.annotated", "incident.priority_updated", "pagey.ping", ""])
def test_every_other_event_of_pagerduty_is_ignored_with_a_reason(kind: str) -> None:
    (reading,) = PAGERDUTY.alerts_in(webhook(event(kind)))
    assert isinstance(reading, Notice)
    assert not isinstance(reading, Sighted)
    assert reading.reason


def test_a_repeat_of_pagerduty_is_known_by_its_header() -> None:
    first, again = (PAGERDUTY.delivery_id(webhook(event("incident.resolved"), **{"x-webhook-id": "w1"})) for _ in "12")
    assert first == again is not None
    assert PAGERDUTY.delivery_id(webhook(event("incident.resolved"))) is None


@pytest.mark.parametrize(
    ("category", "seen"),
    [
        ("closed", Seen.CLOSED),
        ("declined", Seen.CLOSED),
        ("merged", Seen.CLOSED),
        ("learning", Seen.CHANGED),
        ("paused", Seen.OPEN),
    ],
)
def test_a_status_of_incident_io_is_open_or_over_or_has_to_be_looked_at(category: str, seen: Seen) -> None:
    body = json.loads((GOLDEN / "incident_io_events" / "closed.json").read_text())
    body[body["event_type"]]["new_status"]["category"] = category
    source = IncidentIoEvents(name="io", auth=NoAuth(), account="io")
    (reading,) = source.alerts_in(webhook(json.dumps(body).encode()))
    assert isinstance(reading, Sighted)
    assert (reading.upstream_id, reading.seen) == ("01NEWINCIDENT", seen)


def problems(folder: Path, source: dict[str, Any]) -> list[str]:
    accounts = {
        "pd": {"type": "pagerduty", "token": "sandbox", "from": "b@example.com"},
        "io": {"type": "incident_io", "api_key": "sandbox"},
    }
    file = folder / "bridge.yaml"
    file.write_text(json.dumps({"sources": {"events": source}, "accounts": accounts}, indent=1))
    try:
        load_settings(file, {"S": "x"}, sources=SOURCES, destinations=DESTINATIONS)
    except ConfigError as error:
        return [f"{one.message}; {one.hint}" for one in error.problems]
    return []


@pytest.mark.parametrize(
    ("account", "said"),
    [
        ({"account": "pd"}, []),
        ({}, ["the source has no 'account'; add 'account: ' (The account whose incidents the events are about.)"]),
        ({"account": "io"}, ["account 'io' is of type incident_io, not pagerduty; accounts: pd"]),
        ({"account": "pe"}, ["account 'pe' does not exist; accounts: io, pd"]),
        ({"account": 7}, ["'account' wants the name of an account, found the number 7; "]),
    ],
)
def test_the_account_of_the_events_is_checked(account: dict[str, Any], said: list[str], tmp_path: Path) -> None:
    source = {"type": "pagerduty_events", "auth": {"signing_secret": "${S}"}, **account}
    assert problems(tmp_path, source) == said
