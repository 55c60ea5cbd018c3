"""incident.io, where a golden file would not say it."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.destinations.incident_io import IncidentIo
from bridge.domain.delivery import Action, Delivery, HttpResponse, NamedThing, PermanentFailure, Phase
from bridge.domain.names import Found, find

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


def test_statuses_are_needed_to_close_only() -> None:
    assert ACCOUNT.name_kinds_for(CLOSE) == ("incident_status",)
    assert ACCOUNT.name_kinds_for(replace(CREATE, fields={"name": "n", "status": "triage"})) == ()


def test_an_organisation_without_a_closed_status_is_asked_in_vain_and_says_so() -> None:
    assert sent(CLOSE)["incident"] == {"incident_status_id": ""}
    words = {"errors": [{"code": "invalid_value", "message": "does not exist", "source": {"field": "status"}}]}
    answer = HttpResponse(status=422, headers={}, body=json.dumps(words).encode())
    result = ACCOUNT.result_of(CLOSE, answer)
    assert isinstance(result, PermanentFailure)
    assert result.detail == "HTTP 422: status: does not exist"


def statuses(*entries: tuple[str, str, object, object]) -> tuple[NamedThing, ...]:
    """The list as incident.io would give it: id, name, category, rank."""
    content = [dict(zip(("id", "name", "category", "rank"), entry, strict=True)) for entry in entries]
    answer = HttpResponse(status=200, headers={}, body=json.dumps({"incident_statuses": content}).encode())
    page = ACCOUNT.names_in("incident_status", ACCOUNT.names_request("incident_status"), answer)
    assert page is not None
    return page.things


def meant(text: str, things: tuple[NamedThing, ...]) -> str:
    found = find(text, "incident_status", things)
    assert isinstance(found, Found), found
    return found.thing.id


def test_a_category_means_the_first_status_of_it() -> None:
    given = statuses(("01C", "Fixing", "live", 3), ("01B", "Investigating", "live", 2), ("01A", "Triage", "triage", 1))
    assert [meant(word, given) for word in ("live", "LIVE", "fixing", "triage")] == ["01B", "01B", "01C", "01A"]


def test_a_status_by_name_comes_before_one_by_category() -> None:
    given = statuses(("01A", "Fixing", "live", 1), ("01B", "Live", "triage", 2))
    assert [meant(word, given) for word in (" LIVE ", "live", "triage")] == ["01B", "01B", "01B"]


def test_a_status_without_a_sensible_category_or_rank_is_known_by_its_name() -> None:
    given = statuses(("01A", "A", {}, "first"), ("01B", "B", None, float("nan")))
    assert [meant(word, given) for word in "ab"] == ["01A", "01B"]


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
    aliases = ("closed",) if kind == "incident_status" else ()
    assert page.things == (NamedThing(id="01A", name="A", extra={"category": "closed", "rank": 3}, aliases=aliases),)
    assert page.next_cursor is None


@pytest.mark.parametrize("mode", ["standard", "retrospective"])
def test_the_deprecated_create_knows_two_modes_only(mode: str) -> None:
    body = replace(ACCOUNT, api="v1").request_for(replace(CREATE, fields={"name": "n", "mode": mode}), {}).body
    assert json.loads(body or b"")["mode"] == "real"
