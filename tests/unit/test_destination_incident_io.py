"""incident.io, where a golden file would not say it."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.destinations.incident_io import IncidentIo
from bridge.domain.delivery import Action, Delivery, HttpResponse, NamedThing, PermanentFailure, Phase

ACCOUNT = IncidentIo(account="io", token="t0ken-of-tests", base_url="https://io.example")
CREATE = Delivery(
    id="D1",
    incident="I1",
    account="io",
    action=Action.CREATE,
    key="ib1-key-1",
    fields={"name": "it broke"},
    created_at=datetime(2026, 3, 1, tzinfo=UTC),
)
CLOSE = replace(CREATE, action=Action.RESOLVE, upstream_id="01X")


def sent(delivery: Delivery, **lists: tuple[NamedThing, ...]) -> dict[str, Any]:
    body = ACCOUNT.request_for(delivery, lists).body
    assert body is not None
    return json.loads(body)


def test_a_look_up_is_the_same_create_once_more() -> None:
    assert ACCOUNT.request_for(replace(CREATE, phase=Phase.LOOK_UP), {}) == ACCOUNT.request_for(CREATE, {})


def test_statuses_are_needed_to_close_and_to_open_in_one() -> None:
    with_status = replace(CREATE, fields={"name": "n", "status": "triage"})
    assert ACCOUNT.name_kinds_for(CLOSE) == ("incident_status",)
    assert ACCOUNT.name_kinds_for(with_status) == ("incident_status",)
    assert ACCOUNT.name_kinds_for(CREATE) == ()
    assert replace(ACCOUNT, api="v1").name_kinds_for(with_status) == ()


def test_an_organisation_without_a_closed_status_is_asked_in_vain_and_says_so() -> None:
    assert sent(CLOSE)["incident"] == {"incident_status_id": ""}
    words = {"errors": [{"code": "invalid_value", "message": "does not exist", "source": {"field": "status"}}]}
    answer = HttpResponse(status=422, headers={}, body=json.dumps(words).encode())
    result = ACCOUNT.result_of(CLOSE, answer)
    assert isinstance(result, PermanentFailure)
    assert result.detail == "HTTP 422: status: does not exist"


def test_a_status_by_name_comes_before_one_by_category() -> None:
    statuses = (
        NamedThing(id="01A", name="Fixing", extra={"category": "live", "rank": 1}),
        NamedThing(id="01B", name="Live", extra={"category": "triage", "rank": 2}),
    )
    by_word = replace(CREATE, fields={"name": "n", "status": " LIVE "})
    assert sent(by_word, incident_status=statuses)["incident_status_id"] == "01B"


def test_nothing_is_closed_without_the_incidents_id() -> None:
    with pytest.raises(ValueError, match="needs the incident's id"):
        ACCOUNT.request_for(replace(CLOSE, upstream_id=None), {})


@pytest.mark.parametrize("action", sorted(set(Action) - ACCOUNT.actions))
def test_an_action_it_does_not_know_is_refused_by_name(action: Action) -> None:
    with pytest.raises(ValueError, match=action.value):
        ACCOUNT.request_for(replace(CLOSE, action=action), {})


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("severity", "v1/severities"),
        ("incident_type", "v1/incident_types"),
        ("incident_status", "v1/incident_statuses"),
    ],
)
def test_a_list_of_names_comes_in_one_page(kind: str, path: str) -> None:
    request = ACCOUNT.names_request(kind)
    assert (request.method, request.url) == ("GET", f"https://io.example/{path}")
    assert dict(request.headers) == {"Authorization": "Bearer t0ken-of-tests"}
    entries = {path.partition("/")[2]: [{"id": "01A", "name": "A", "category": "closed", "rank": 3, "else": 1}]}
    page = ACCOUNT.names_in(kind, request, HttpResponse(status=200, headers={}, body=json.dumps(entries).encode()))
    assert page is not None
    assert page.things == (NamedThing(id="01A", name="A", extra={"category": "closed", "rank": 3}),)
    assert page.next_request is None


@pytest.mark.parametrize("mode", ["standard", "retrospective"])
def test_the_deprecated_create_knows_two_modes_only(mode: str) -> None:
    body = replace(ACCOUNT, api="v1").request_for(replace(CREATE, fields={"name": "n", "mode": mode}), {}).body
    assert json.loads(body or b"")["mode"] == "real"
