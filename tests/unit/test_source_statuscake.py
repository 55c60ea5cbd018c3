"""StatusCake: its Token, and which test a form speaks of."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Status, Webhook
from bridge.domain.errors import SignatureError
from bridge.entrypoints.web.redacting import without_secrets
from bridge.sources.base import NoAuth, SignatureAuth
from bridge.sources.statuscake import StatusCake

FORM = "application/x-www-form-urlencoded"
TOKEN = hashlib.md5(b"usernameapikey", usedforsecurity=False).hexdigest()


def webhook_of(form: dict[str, str], media_type: str = FORM, **query: str) -> Webhook:
    return Webhook(
        source="sc",
        headers={"content-type": media_type},
        body=urlencode(form).encode(),
        received_at=datetime(2026, 1, 5, tzinfo=UTC),
        query=query,
    )


def reading_of(media_type: str = FORM, /, **form: str) -> Any:
    (reading,) = StatusCake(name="sc", auth=NoAuth()).alerts_in(webhook_of(form, media_type))
    return reading


def alert_of(**form: str) -> Alert:
    reading = reading_of(**form)
    assert isinstance(reading, Alert)
    return reading


def known_by(*tokens: str) -> StatusCake:
    return StatusCake(name="sc", auth=SignatureAuth(kind="token", secrets=tokens))


def test_the_token_in_the_form_or_in_the_address_is_accepted() -> None:
    known_by(TOKEN).verify(webhook_of({"Status": "Down", "Token": TOKEN}))
    known_by(TOKEN).verify(webhook_of({"Status": "Down", "Token": TOKEN}, "application/json"))
    known_by("an-older-one", TOKEN).verify(webhook_of({"Status": "Down"}, token=TOKEN))
    known_by(TOKEN).verify(webhook_of({}, Token=TOKEN))
    body = json.dumps({"Token": TOKEN}).encode()
    known_by(TOKEN).verify(Webhook(source="sc", headers={}, body=body, received_at=datetime(2026, 1, 5, tzinfo=UTC)))


@pytest.mark.parametrize(
    "webhook",
    [
        webhook_of({"Status": "Down", "Token": "0" * 32}),
        webhook_of({"Status": "Down"}, Token="0" * 32),
        webhook_of({"Status": "Down", "Token": "wrong"}, Token=TOKEN),
    ],
)
def test_a_wrong_token_is_refused_by_name(webhook: Webhook) -> None:
    with pytest.raises(SignatureError, match="Token wrong"):
        known_by(TOKEN).verify(webhook)


@pytest.mark.parametrize(
    "body", [b"Status=Down", b"Status=Down&Token=", b"", b"{", b"[1]", b'{"Token": ["a"]}', b'{"Token": null}']
)
def test_a_body_without_a_token_proves_nothing(body: bytes) -> None:
    received_at = datetime(2026, 1, 5, tzinfo=UTC)
    with pytest.raises(SignatureError, match="Token missing"):
        known_by(TOKEN).verify(Webhook(source="sc", headers={"content-type": FORM}, body=body, received_at=received_at))


@pytest.mark.parametrize("tokens", [(), ("",)])
def test_without_a_token_of_ours_nothing_is_accepted(tokens: tuple[str, ...]) -> None:
    with pytest.raises(SignatureError):
        known_by(*tokens).verify(webhook_of({"Token": ""}))


def test_the_token_is_no_part_of_the_alert() -> None:
    alert = alert_of(TestID="1", Status="Down", Token=TOKEN)
    assert TOKEN not in repr(alert)
    assert alert.payload == {"TestID": "1", "Status": "Down"}


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=20)


@given(st.integers(1, 10**9), TEXTS)
def test_down_and_up_of_a_test_are_one_problem(test: int, name: str) -> None:
    down = alert_of(TestID=str(test), Name=name, Status="Down", StatusCode="503")
    up = alert_of(TestID=str(test), Name=name, Status="Up", StatusCode="200")
    assert (down.status, up.status) == (Status.FIRING, Status.RESOLVED)
    assert down.fingerprint == up.fingerprint


@given(st.lists(st.integers(1, 10**9), min_size=2, max_size=2, unique=True))
def test_two_tests_of_one_address_are_two_problems(tests: list[int]) -> None:
    first, second = (alert_of(TestID=str(test), URL="https://a.example.com", Status="Down") for test in tests)
    assert first.fingerprint != second.fingerprint


def test_an_older_form_is_known_by_name_and_address() -> None:
    down, up, other = (
        alert_of(Name="Shop", URL=url, Status=status).fingerprint
        for url, status in (("https://a", "Down"), ("https://a", "Up"), ("https://b", "Down"))
    )
    assert down == up != other


@pytest.mark.parametrize(
    ("status", "expected"),
    [("Up", "resolved"), ("up", "resolved"), ("Down", "firing"), ("", "firing"), ("?", "firing")],
)
def test_only_up_resolves(status: str, expected: str) -> None:
    assert alert_of(TestID="1", Status=status).status == expected


def test_a_code_of_zero_is_a_timeout() -> None:
    assert alert_of(TestID="1", Status="Down", StatusCode="0").description == "no answer in time"
    assert alert_of(TestID="1", Status="Down", StatusCode="503").description == "status code 503"


def test_tags_and_facts_are_labels() -> None:
    alert = alert_of(TestID="1", Name="Shop", Tags="team:web, vip,", Status="Down", IP="192.0.2.1")
    assert dict(alert.labels) == {"team": "web", "vip": "true", "test": "Shop", "test_id": "1", "ip": "192.0.2.1"}


def test_a_form_under_another_content_type_is_read() -> None:
    assert reading_of("application/json", TestID="1", Status="Up").status is Status.RESOLVED


def test_a_form_that_names_no_test_still_pages_unless_it_says_nothing() -> None:
    assert isinstance(reading_of(Status="Down"), Alert)
    assert isinstance(reading_of(Status="", Tags=""), Notice)


def test_an_address_filled_by_statuscake_is_read_without_its_token() -> None:
    said = {"Token": TOKEN, "Name": "Shop", "URL": "https://shop.example.com/?a=1", "Code": "503", "Status": "Down"}
    webhook = webhook_of({}, **said)
    source: Any = known_by(TOKEN)
    source.verify(webhook)
    safe = without_secrets(source, webhook)
    (reading,) = source.alerts_in(safe)
    assert isinstance(reading, Alert)
    assert (reading.fingerprint, reading.status) == ("name:Shop:https://shop.example.com/?a=1", Status.FIRING)
    assert reading.description == "status code 503"
    assert TOKEN not in repr(safe)
