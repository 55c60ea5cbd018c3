"""Honeycomb: what a trigger's status says, tests, templates of any spelling, and secrets that stay out of sight."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Alert, Notice, Severity, Status, Webhook
from bridge.domain.errors import SignatureError
from bridge.sources.base import HeaderAuth, NoAuth
from bridge.sources.honeycomb import Honeycomb
from tests.receiving import told_as_it_is

NOW = datetime(2026, 1, 5, tzinfo=UTC)
IDS = st.from_regex(r"[A-Za-z0-9]{4,12}", fullmatch=True).filter(told_as_it_is)


def reading_of(body: Any) -> Any:
    webhook = Webhook(source="hc", headers={}, body=json.dumps(body).encode(), received_at=NOW)
    (reading,) = Honeycomb(name="hc", auth=NoAuth()).alerts_in(webhook)
    return reading


def trigger(status: Any = "TRIGGERED", **more: Any) -> Any:
    return reading_of({"version": "v0.1.0", "id": "abc", "name": "Slow", "status": status, **more})


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("TRIGGERED", Status.FIRING),
        ("tRiGgErEd", Status.FIRING),
        ("OK", Status.RESOLVED),
        ("ok", Status.RESOLVED),
        ("resolved", Status.RESOLVED),
        ("NOT_OK", Status.FIRING),
        ("?", Status.FIRING),
    ],
)
def test_a_trigger_tells_its_status_in_any_case_of_letters(word: str, status: Status) -> None:
    assert trigger(word).status is status


@given(first=IDS, second=IDS, value=st.integers())
def test_a_trigger_is_one_problem_whatever_groups_it_found(first: str, second: str, value: int) -> None:
    groups = [{"Group": {"region": "eu"}, "Result": value}]
    fired = trigger(id=first, result_groups_triggered=groups, summary="Triggered: Slow")
    over = trigger("OK", id=first, result_groups_triggered=[], summary="Resolved: Slow", name="Renamed")
    assert fired.fingerprint == over.fingerprint
    assert (trigger(id=second).fingerprint == fired.fingerprint) is (first == second)


def test_a_template_may_tell_the_instance_which_is_the_episode() -> None:
    first, second = (trigger(alert={"instance_id": instance}) for instance in ("i-1", "i-2"))
    assert first.fingerprint == second.fingerprint
    assert (first.episode, second.episode, trigger().episode) == ("i-1", "i-2", None)


@pytest.mark.parametrize(
    "body",
    [
        {"trigger": {"id": "abc", "name": "Slow"}, "alert": {"status": "OK"}},
        {"trigger_id": "abc", "trigger_name": "Slow", "Status": "OK"},
        {"payload": {"id": "abc", "name": "Slow", "status": "OK"}},
    ],
)
def test_a_template_may_spell_the_names_as_it_likes(body: dict[str, Any]) -> None:
    alert = reading_of(body)
    assert (alert.fingerprint, alert.title, alert.status) == ("trigger:abc", "Slow", Status.RESOLVED)


@pytest.mark.parametrize("told", [{"is_test": True}, {"is_test": "true"}, {"summary": "TRIGGER TEST: Triggered: Slow"}])
def test_a_test_of_a_trigger_is_a_notice(told: dict[str, Any]) -> None:
    reading = trigger(**told)
    assert isinstance(reading, Notice)
    assert "test" in reading.reason


@pytest.mark.parametrize("told", [{"is_test": False}, {"is_test": None}, {"name": "Test of payments"}])
def test_what_is_no_test_pages(told: dict[str, Any]) -> None:
    assert isinstance(trigger(**told), Alert)


def test_groups_become_labels_their_values_joined() -> None:
    groups: list[Any] = [{"Group": {"region": "eu", "app": "web"}}, {"Group": {"region": "us", "app": "web"}}, None, 7]
    labels = trigger(result_groups_triggered=groups).labels
    assert (labels["region"], labels["app"]) == ("eu,us", "web")


@pytest.mark.parametrize("groups", [None, {}, "x", [[]], [{"Group": None}], [{"Group": ["a"]}]])
def test_groups_of_any_form_do_no_harm(groups: Any) -> None:
    assert trigger(result_groups_triggered=groups).title == "Slow"


def test_severity_is_what_a_template_says() -> None:
    assert trigger().severity is None
    assert trigger(severity="critical").severity is Severity.CRITICAL


def test_the_secret_of_an_old_body_reaches_nobody() -> None:
    alert = trigger(shared_secret="only-between-us")
    assert "only-between-us" not in repr(alert)
    assert "shared_secret" not in alert.payload


def test_a_body_of_another_shape_still_pages() -> None:
    assert reading_of({"text": "budget is gone"}).title == "budget is gone"


def test_the_token_in_the_header_proves_the_sender() -> None:
    source = Honeycomb(name="hc", auth=HeaderAuth(header="x-honeycomb-webhook-token", secrets=("old", "new")))
    source.verify(Webhook(source="hc", headers={"x-honeycomb-webhook-token": "new"}, body=b"{}", received_at=NOW))
    with pytest.raises(SignatureError, match="wrong"):
        source.verify(Webhook(source="hc", headers={"x-honeycomb-webhook-token": "x"}, body=b"{}", received_at=NOW))
    with pytest.raises(SignatureError, match="missing"):
        source.verify(Webhook(source="hc", headers={}, body=b'{"shared_secret": "new"}', received_at=NOW))


def test_retries_share_their_id_and_other_bodies_do_not() -> None:
    def delivery(body: bytes, **headers: str) -> str | None:
        webhook = Webhook(source="hc", headers=headers, body=body, received_at=NOW)
        return Honeycomb(name="hc", auth=NoAuth()).delivery_id(webhook)

    header = {"x-honeycomb-webhook-delivery-id": "d-1"}
    assert delivery(b"{}", **header) == delivery(b"{}", **header) != delivery(b"{ }", **header)
    assert delivery(b"{}") is None
