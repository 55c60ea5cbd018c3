"""The PagerDuty stand-in refuses what PagerDuty refuses, and remembers the rest."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from bridge.sandbox import Rate, Rates, SandboxServer

HEADERS = {
    "Authorization": "Token token=anything",
    "Accept": "application/vnd.pagerduty+json;version=2",
    "Content-Type": "application/json",
    "From": "incident-bridge@example.com",
}
SERVICE = {"id": "PSVPGPR", "type": "service_reference"}
POLICY = {"id": "PPOLDEF", "type": "escalation_policy_reference"}
ONCALL = [{"assignee": {"id": "PONCALL", "type": "user_reference"}}]


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(rates=Rates(pagerduty=None, pagerduty_create=None)) as running:
        yield running


@pytest.fixture
def api(server: SandboxServer) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers.update(HEADERS)
        session.post(f"{server.base_url}/_sandbox/reset")
        yield session


def incident(**fields: Any) -> dict[str, Any]:
    given = {"type": "incident", "title": "it broke", "service": SERVICE, "incident_key": "k1"} | fields
    return {"incident": {name: value for name, value in given.items() if value is not None}}


def create(api: requests.Session, server: SandboxServer, **fields: Any) -> requests.Response:
    return api.post(f"{server.pagerduty_url}/incidents", json=incident(**fields))


def put(api: requests.Session, server: SandboxServer, identifier: str, **change: Any) -> requests.Response:
    body = {"incident": {"type": "incident_reference"} | change}
    return api.put(f"{server.pagerduty_url}/incidents/{identifier}", json=body)


def error(response: requests.Response) -> dict[str, Any]:
    return response.json()["error"]


def test_a_create_answers_201_with_the_incident(api: requests.Session, server: SandboxServer) -> None:
    body = {"type": "incident_body", "details": "much more"}
    response = create(api, server, urgency="low", body=body, priority={"id": "PPRIO1X", "type": "priority_reference"})
    made = response.json()["incident"]
    assert response.status_code == 201
    assert made["status"] == "triggered"
    assert (made["incident_key"], made["title"], made["urgency"]) == ("k1", "it broke", "low")
    assert made["priority"]["summary"] == "P1"
    assert made["html_url"] == f"{server.pagerduty_url}/incidents/{made['id']}"
    shown = api.get(f"{server.pagerduty_url}/incidents/{made['incident_number']}?include[]=body").json()["incident"]
    assert shown == made | {"body": body}


def test_an_open_key_is_refused_with_the_real_words_until_it_is_resolved(
    api: requests.Session, server: SandboxServer
) -> None:
    first = create(api, server).json()["incident"]["id"]
    again = create(api, server, title="other words")
    assert again.status_code == 400
    assert error(again) == {
        "message": "Arguments Caused Error",
        "code": 2002,
        "errors": ["Open incident with matching dedup key already exists on this service"],
    }
    assert put(api, server, first, status="acknowledged").status_code == 200
    assert create(api, server).status_code == 400
    assert create(api, server, service={"id": "PSVCHKO", "type": "service_reference"}).status_code == 201
    assert put(api, server, first, status="resolved").status_code == 200
    assert create(api, server).status_code == 201


def test_without_a_key_every_create_opens_another(api: requests.Session, server: SandboxServer) -> None:
    keys = {create(api, server, incident_key=None).json()["incident"]["incident_key"] for _ in range(3)}
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"title": None}, 2001, "Title cannot be empty."),
        ({"title": " "}, 2001, "Title cannot be empty."),
        ({"type": None}, 2001, "Type must be 'incident'."),
        ({"service": None}, 2001, "Service cannot be empty."),
        ({"service": {"id": "PNONE", "type": "service_reference"}}, 2002, "Service not found"),
        ({"service": {"id": "PSVPGPR"}}, 2001, "Service must be a reference"),
        ({"service": "Postgres Primary"}, 2001, "Service must be a reference"),
        ({"urgency": "extreme"}, 2001, "Urgency must be one of high, low."),
        ({"body": {"details": "x"}}, 2001, "Body type must be 'incident_body'."),
        ({"body": {"type": "incident_body", "details": {"a": 1}}}, 2001, "Body details must be a string."),
        ({"body": "text"}, 2001, "Body type must be 'incident_body'."),
        ({"incident_key": 5}, 2001, "Incident key must be a string."),
        ({"priority": "P1"}, 2001, "Priority must be a reference"),
        (
            {"escalation_policy": {"id": "P0", "type": "escalation_policy_reference"}},
            2002,
            "Escalation policy not found",
        ),
        ({"escalation_policy": POLICY, "assignments": ONCALL}, 2001, "together with an escalation policy"),
        ({"assignments": ONCALL * 2}, 2001, "Only one assignee"),
        ({"assignments": [{"assignee": {"id": "PNONE", "type": "user_reference"}}]}, 2002, "Assignee not found"),
        ({"incident_type": {"name": "unheard_of"}}, 2002, "Incident type not found"),
        ({"conference_bridge": {"conference_url": 5}}, 2001, "Conference bridge must hold strings."),
    ],
)
def test_a_create_that_pagerduty_would_refuse_is_refused(
    api: requests.Session, server: SandboxServer, fields: dict[str, Any], code: int, words: str
) -> None:
    response = create(api, server, **fields)
    assert response.status_code == 400
    assert error(response)["code"] == code
    assert words in error(response)["errors"][0]
    assert server.store.records("pagerduty") == []


def test_an_unknown_priority_has_its_own_code(api: requests.Session, server: SandboxServer) -> None:
    response = create(api, server, priority={"id": "P0", "type": "priority_reference"})
    assert (response.status_code, error(response)) == (400, {"code": 1020, "message": "Invalid Priority"})


def test_a_field_pagerduty_does_not_know_is_ignored(api: requests.Session, server: SandboxServer) -> None:
    assert create(api, server, urgencey="high").status_code == 201


@pytest.mark.parametrize(
    ("headers", "status", "words"),
    [
        ({"Authorization": None}, 401, "Access denied"),
        ({"Authorization": "Token anything"}, 401, "Access denied"),
        ({"Accept": "application/json"}, 400, "Accept header"),
        ({"Content-Type": "text/plain"}, 400, "params must be a Hash"),
        ({"From": None}, 400, 'address in the \\"From\\" header'),
        ({"From": "nobody@example.com"}, 400, "Requester User Not Found"),
    ],
)
def test_headers_are_demanded(
    api: requests.Session, server: SandboxServer, headers: dict[str, str | None], status: int, words: str
) -> None:
    response = api.post(f"{server.pagerduty_url}/incidents", json=incident(), headers=headers)
    assert response.status_code == status
    assert words in response.text


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"title": "x"}', b'{"incident": []}'])
def test_a_body_that_holds_no_incident_is_refused(api: requests.Session, server: SandboxServer, body: bytes) -> None:
    response = api.post(f"{server.pagerduty_url}/incidents", data=body)
    assert response.status_code == 400
    assert error(response)["code"] == 2001


def test_the_sender_as_assignee_means_acknowledged_and_nobody_notified(
    api: requests.Session, server: SandboxServer
) -> None:
    assigned = [{"assignee": {"id": "PBRIDGE", "type": "user_reference"}}]
    assert create(api, server, assignments=assigned).json()["incident"]["status"] == "acknowledged"
    assert create(api, server, incident_key="k2", assignments=ONCALL).json()["incident"]["status"] == "triggered"


def test_a_resolve_keeps_its_resolution_and_is_said_once(api: requests.Session, server: SandboxServer) -> None:
    made = create(api, server).json()["incident"]["id"]
    done = put(api, server, made, status="resolved", resolution="recovered").json()["incident"]
    assert (done["status"], done["assignments"]) == ("resolved", [])
    assert done["resolved_at"] is not None
    record = server.store.find("pagerduty", made)
    assert record is not None
    assert record.history[-1].endswith("resolution: recovered")
    again = put(api, server, made, status="resolved")
    assert (again.status_code, error(again)["code"]) == (400, 1001)


def test_acknowledging_a_resolved_incident_reopens_it(api: requests.Session, server: SandboxServer) -> None:
    made = create(api, server).json()["incident"]["id"]
    put(api, server, made, status="resolved")
    assert put(api, server, made, status="acknowledged").json()["incident"]["status"] == "acknowledged"
    again = put(api, server, made, status="acknowledged")
    assert (again.status_code, error(again)["code"]) == (400, 1002)


@pytest.mark.parametrize(
    "change",
    [
        {"type": None, "status": "resolved"},
        {"status": "closed"},
        {"urgency": "huge"},
        {"title": ""},
        {"resolution": 5},
        {"priority": "P9"},
        {"escalation_level": "2"},
        {"escalation_level": 4},
        {"assignments": ONCALL, "escalation_policy": POLICY},
    ],
)
def test_a_change_that_pagerduty_would_refuse_changes_nothing(
    api: requests.Session, server: SandboxServer, change: dict[str, Any]
) -> None:
    made = create(api, server).json()["incident"]
    assert put(api, server, made["id"], **change).status_code == 400
    assert api.get(f"{server.pagerduty_url}/incidents/{made['id']}").json()["incident"] == made


def test_a_change_takes_what_the_document_lists(api: requests.Session, server: SandboxServer) -> None:
    made = create(api, server).json()["incident"]["id"]
    changed = put(api, server, made, title="worse", urgency="high", priority="P2", escalation_level=2).json()[
        "incident"
    ]
    assert (changed["title"], changed["urgency"], changed["priority"]["id"]) == ("worse", "high", "PPRIO2X")
    assert put(api, server, "QNONE", status="resolved").status_code == 404


def test_incidents_are_found_by_key_service_and_status(api: requests.Session, server: SandboxServer) -> None:
    first = create(api, server).json()["incident"]["id"]
    put(api, server, first, status="resolved")
    second = create(api, server).json()["incident"]["id"]
    create(api, server, incident_key="k2")

    def found(**query: Any) -> list[str]:
        response = api.get(f"{server.pagerduty_url}/incidents", params={"date_range": "all"} | query)
        return [entry["id"] for entry in response.json()["incidents"]]

    assert found(incident_key="k1") == [first, second]
    assert found(incident_key="k1", **{"statuses[]": ["triggered", "acknowledged"]}) == [second]
    assert found(incident_key="k1", **{"service_ids[]": "PSVCHKO"}) == []
    assert found(incident_key="k1", sort_by="created_at:desc") == [second, first]
    assert len(found(incident_key="")) == 2  # every open one: why an empty key is never looked up
    assert len(found(limit=1)) == 1
    assert api.get(f"{server.pagerduty_url}/incidents", params={"limit": 101}).status_code == 400
    assert api.get(f"{server.pagerduty_url}/incidents", params={"limit": 100, "offset": 9901}).status_code == 400
    assert api.get(f"{server.pagerduty_url}/incidents", params={"statuses[]": "closed"}).status_code == 400


def test_notes_are_added_every_time_and_listed_newest_first(api: requests.Session, server: SandboxServer) -> None:
    made = create(api, server).json()["incident"]["id"]
    url = f"{server.pagerduty_url}/incidents/{made}/notes"
    for text in ("one", "two", "two"):
        assert api.post(url, json={"note": {"content": text}}).ok
    assert [note["content"] for note in api.get(url).json()["notes"]] == ["two", "two", "one"]
    assert api.post(url, json={"note": {"content": ""}}).status_code == 400
    assert api.post(url, json={"content": "bare"}).status_code == 400


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("services", ["Postgres Primary", "Checkout API", "Catch-all", "Retired"]),
        ("services?name=Checkout API", ["Checkout API"]),
        ("services?query=catch", ["Catch-all"]),
        ("services?limit=1&offset=1", ["Checkout API"]),
        ("priorities", ["P1", "P2", "P3", "P4", "P5"]),
        ("escalation_policies", ["Default", "Payments"]),
        ("users?query=oncall@", ["On-call"]),
    ],
)
def test_the_seeded_names_are_listed(api: requests.Session, server: SandboxServer, path: str, names: list[str]) -> None:
    content = api.get(f"{server.pagerduty_url}/{path}").json()
    assert [entry["name"] for entry in content[path.partition("?")[0]]] == names
    assert content["more"] is ("limit=1" in path)


def test_what_else_a_client_may_ask_is_answered(api: requests.Session, server: SandboxServer) -> None:
    assert "urgencies" in api.get(f"{server.pagerduty_url}/abilities").json()["abilities"]
    assert api.get(f"{server.pagerduty_url}/incidents/types").json()["incident_types"][0]["name"] == "incident_default"
    assert api.get(f"{server.pagerduty_url}/users/PONCALL").json()["user"]["email"] == "oncall@example.com"
    assert api.get(f"{server.pagerduty_url}/services/PNONE").status_code == 404
    assert api.get(f"{server.pagerduty_url}/teapots").status_code == 404
    assert api.delete(f"{server.pagerduty_url}/incidents").status_code == 405


def test_too_many_creates_are_refused_with_the_real_headers_and_other_calls_are_not() -> None:
    with SandboxServer(rates=Rates(pagerduty_create=Rate(calls=2, window_s=600))) as server, requests.Session() as api:
        api.headers.update(HEADERS)
        first = create(api, server)
        assert (first.status_code, first.headers["ratelimit-limit"]) == (201, "2")
        assert first.headers["ratelimit-remaining"] == "1"
        assert create(api, server, incident_key="k2").headers["ratelimit-remaining"] == "0"
        refused = create(api, server, incident_key="k3")
        assert refused.status_code == 429
        assert refused.json() == {"error": {"message": "Rate Limit Exceeded", "code": 2020}}
        assert 295 <= int(refused.headers["ratelimit-reset"]) <= 300
        assert put(api, server, first.json()["incident"]["id"], status="resolved").status_code == 200
        assert len(server.store.records("pagerduty")) == 2


@pytest.mark.parametrize("scheme", ["Token token=", "Bearer "])
def test_keys_that_are_refused_something_can_be_tried(
    api: requests.Session, server: SandboxServer, scheme: str
) -> None:
    priority = {"id": "PPRIO1X", "type": "priority_reference"}

    def with_key(key: str) -> requests.Session:
        api.headers["Authorization"] = scheme + key
        return api

    assert error(with_key("revoked").get(f"{server.pagerduty_url}/services"))["code"] == 2006
    assert with_key("read-only").get(f"{server.pagerduty_url}/services").status_code == 200
    assert create(with_key("read-only"), server).status_code == 403
    assert with_key("no-priorities").get(f"{server.pagerduty_url}/priorities").status_code == 402
    refused = create(with_key("no-priorities"), server, priority=priority)
    assert (refused.status_code, error(refused)["code"]) == (402, 2014)
    assert create(with_key("no-priorities"), server).status_code == 201


def test_a_disabled_service_takes_no_incidents(api: requests.Session, server: SandboxServer) -> None:
    refused = create(api, server, service={"id": "PSVRETD", "type": "service_reference"})
    assert (refused.status_code, error(refused)["errors"]) == (400, ["Service is disabled"])
