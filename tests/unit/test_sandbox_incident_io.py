"""The incident.io stand-in refuses what incident.io refuses, and remembers the rest."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from bridge.sandbox import Rate, Rates, SandboxServer, seed

HEADERS = {"Authorization": "Bearer anything", "Content-Type": "application/json"}
SEVERITY = {entry["name"]: entry["id"] for entry in seed.IO_SEVERITIES}
STATUS = {entry["name"]: entry["id"] for entry in seed.IO_STATUSES}
TYPE = {entry["name"]: entry["id"] for entry in seed.IO_TYPES}
OPTION = {entry["value"]: entry["id"] for entry in seed.IO_OPTIONS}


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(rates=Rates(incident_io=None, incident_io_create=None)) as running:
        yield running


@pytest.fixture
def api(server: SandboxServer) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers.update(HEADERS)
        session.post(f"{server.base_url}/_sandbox/reset")
        yield session


def create(api: requests.Session, server: SandboxServer, version: str = "v2", **fields: Any) -> requests.Response:
    given = {"idempotency_key": "k1", "visibility": "public", "name": "it broke"} | fields
    body = {name: value for name, value in given.items() if value is not None}
    return api.post(f"{server.incident_io_url}/{version}/incidents", json=body)


def edit(api: requests.Session, server: SandboxServer, identifier: str, **change: Any) -> requests.Response:
    body = {"incident": change, "notify_incident_channel": False}
    return api.post(f"{server.incident_io_url}/v2/incidents/{identifier}/actions/edit", json=body)


def test_a_create_answers_200_with_the_incident(api: requests.Session, server: SandboxServer) -> None:
    response = create(
        api, server, summary="so far", severity_id=SEVERITY["Major"], incident_type_id=TYPE["Customer Impact"]
    )
    made = response.json()["incident"]
    assert response.status_code == 200
    assert (made["name"], made["summary"], made["severity"]["name"]) == ("it broke", "so far", "Major")
    assert (made["incident_status"]["category"], made["mode"], made["visibility"]) == ("live", "standard", "public")
    assert made["permalink"] == f"{server.incident_io_url}/incidents/1"
    assert "it broke" in requests.get(made["permalink"]).text
    for name in (made["id"], "1"):
        assert api.get(f"{server.incident_io_url}/v2/incidents/{name}").json()["incident"] == made


def test_a_repeated_key_answers_the_first_incident_also_after_it_is_closed(
    api: requests.Session, server: SandboxServer
) -> None:
    first = create(api, server).json()["incident"]
    again = create(api, server, name="other words")
    assert (again.status_code, again.json()["incident"]) == (200, first)
    assert edit(api, server, first["id"], incident_status_id=STATUS["Closed"]).status_code == 200
    spent = create(api, server).json()["incident"]
    assert (spent["id"], spent["incident_status"]["category"]) == (first["id"], "closed")
    assert create(api, server, idempotency_key="k2").json()["incident"]["id"] != first["id"]


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"idempotency_key": None}, "is_required", "idempotency_key"),
        ({"idempotency_key": ""}, "is_required", "idempotency_key"),
        ({"visibility": None}, "is_required", "visibility"),
        ({"visibility": "secret"}, "invalid_value", "visibility"),
        ({"mode": "real"}, "invalid_value", "mode"),
        ({"name": 5}, "invalid_value", "name"),
        ({"severity_id": "Major"}, "invalid_value", "severity_id"),
        ({"incident_type_id": "x"}, "invalid_value", "incident_type_id"),
        ({"incident_status_id": ""}, "invalid_value", "incident_status_id"),
        ({"custom_field_entries": [{"custom_field_id": "x", "values": []}]}, "invalid_value", "custom_field_id"),
        ({"custom_field_entries": [{"custom_field_id": seed.IO_TEAM_FIELD}]}, "is_required", "custom_field_entries"),
        (
            {"custom_field_entries": [{"custom_field_id": seed.IO_TEAM_FIELD, "values": [{"value_numeric": 5}]}]},
            "invalid_value",
            "custom_field_entries",
        ),
        (
            {"incident_role_assignments": [{"incident_role_id": "x", "assignee": {"email": "oncall@example.com"}}]},
            "invalid_value",
            "incident_role_id",
        ),
        (
            {
                "incident_role_assignments": [
                    {"incident_role_id": seed.IO_ROLES[0]["id"], "assignee": {"email": "nobody@example.com"}}
                ]
            },
            "invalid_value",
            "incident_role_assignments",
        ),
    ],
)
def test_a_create_that_incident_io_would_refuse_is_refused(
    api: requests.Session, server: SandboxServer, fields: dict[str, Any], code: str, field: str
) -> None:
    response = create(api, server, **fields)
    content = response.json()
    assert (response.status_code, content["type"], content["status"]) == (422, "validation_error", 422)
    assert content["request_id"]
    assert [(entry["code"], entry["source"]["field"]) for entry in content["errors"]] == [(code, field)]
    assert server.store.records("incident_io") == []


FIELD = {entry["name"]: entry["id"] for entry in seed.IO_FIELDS}
ROLE = {entry["name"]: entry["id"] for entry in seed.IO_ROLES}
TIME = {entry["name"]: entry["id"] for entry in seed.IO_TIMESTAMPS}
PERSON = {"email": "oncall@example.com"}


def of(field: str, *values: dict[str, Any]) -> dict[str, Any]:
    return {"custom_field_entries": [{"custom_field_id": FIELD[field], "values": list(values)}]}


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        (of("Ticket", {"value_text": "1"}, {"value_text": "2"}), "custom_field_entries"),
        (of("Ticket", {"value_link": "https://example.com"}), "custom_field_entries"),
        (of("Ticket", {}), "custom_field_entries"),
        (of("Runbook", {"value_link": "on the wiki"}), "custom_field_entries"),
        (of("Customers affected", {"value_numeric": "many"}), "custom_field_entries"),
        (of("Affected Team", {"value_option_id": OPTION["EU"]}), "custom_field_entries"),
        (of("Affected Team", {"value_text": "Support"}), "custom_field_entries"),
        (of("Services", {"value_catalog_entry_id": "no-such-entry"}), "custom_field_entries"),
        ({"custom_field_entries": [{"custom_field_id": FIELD["Ticket"], "values": []}] * 2}, "custom_field_entries"),
        ({"custom_field_entries": {}}, "custom_field_entries"),
        (
            {"incident_role_assignments": [{"incident_role_id": ROLE["Incident Lead"], "assignee": {}}]},
            "incident_role_assignments",
        ),
        (
            {
                "incident_role_assignments": [
                    {"incident_role_id": ROLE["Incident Lead"], "assignee": {**PERSON, "slack_user_id": "U0SANDB0X2"}}
                ]
            },
            "incident_role_assignments",
        ),
        ({"incident_timestamp_values": [{"incident_timestamp_id": "x"}]}, "incident_timestamp_id"),
        (
            {"incident_timestamp_values": [{"incident_timestamp_id": TIME["Reported at"], "value": "yesterday"}]},
            "incident_timestamp_values",
        ),
        ({"retrospective_incident_options": {"external_id": 7}}, "retrospective_incident_options"),
        (
            {"mode": "retrospective", "retrospective_incident_options": {"external_id": "7"}},
            "retrospective_incident_options",
        ),
        ({"slack_team_id": 5}, "slack_team_id"),
        ({"slack_channel_name_override": ["inc"]}, "slack_channel_name_override"),
    ],
)
def test_a_larger_field_that_incident_io_would_refuse_is_refused(
    api: requests.Session, server: SandboxServer, fields: dict[str, Any], place: str
) -> None:
    response = create(api, server, **fields)
    (error,) = response.json()["errors"]
    assert (response.status_code, error["code"], error["source"]["field"]) == (422, "invalid_value", place)
    assert server.store.records("incident_io") == []


def test_an_edit_sets_and_unsets_what_it_names_and_the_reporter_stays(
    api: requests.Session, server: SandboxServer
) -> None:
    lead, reporter = ({"incident_role_id": ROLE[name], "assignee": PERSON} for name in ("Incident Lead", "Reporter"))
    started = {"incident_timestamp_id": TIME["Impact started at"], "value": "2026-03-01T11:40:00Z"}
    made = create(
        api,
        server,
        **of("Ticket", {"value_text": "4711"}),
        incident_role_assignments=[lead, reporter],
        incident_timestamp_values=[started],
    ).json()["incident"]["id"]
    edit(api, server, made, **of("Runbook", {"value_link": "https://example.com/r"}))
    both = edit(api, server, made, name="worse").json()["incident"]
    assert [one["custom_field"]["name"] for one in both["custom_field_entries"]] == ["Ticket", "Runbook"]
    nobody = [{"incident_role_id": ROLE["Incident Lead"]}]
    left = edit(api, server, made, **of("Ticket"), incident_role_assignments=nobody).json()["incident"]
    assert [one["custom_field"]["name"] for one in left["custom_field_entries"]] == ["Runbook"]
    assert [one["role"]["name"] for one in left["incident_role_assignments"]] == ["Reporter"]
    assert left["incident_timestamp_values"][0]["value"] == {"value": "2026-03-01T11:40:00Z"}
    refused = edit(api, server, made, incident_role_assignments=[reporter])
    assert refused.json()["errors"][0]["source"]["field"] == "incident_role_assignments"


def test_a_retrospective_incident_has_its_options(api: requests.Session, server: SandboxServer) -> None:
    options = {"external_id": 123, "postmortem_document_url": "https://example.com/pm", "slack_channel_id": "C0123"}
    made = create(api, server, mode="retrospective", retrospective_incident_options=options).json()["incident"]
    assert (made["reference"], made["slack_channel_id"]) == ("INC-123", "C0123")
    assert made["postmortem_document_url"] == "https://example.com/pm"


def test_lists_that_are_long_come_in_pages(api: requests.Session, server: SandboxServer) -> None:
    url = f"{server.incident_io_url}/v3/catalog_entries"
    assert api.get(url).status_code == 422
    query = {"catalog_type_id": seed.IO_CATALOG, "page_size": 2}
    first = api.get(url, params=query).json()
    after = first["pagination_meta"]["after"]
    last = api.get(url, params={**query, "after": after}).json()
    names = [one["name"] for one in (*first["catalog_entries"], *last["catalog_entries"])]
    assert names == ["Checkout API", "Postgres Primary", "Search"]
    assert "after" not in last["pagination_meta"]


def test_custom_fields_and_roles_are_kept(api: requests.Session, server: SandboxServer) -> None:
    entry = {"custom_field_id": seed.IO_TEAM_FIELD, "values": [{"value_option_id": OPTION["Support"]}]}
    role = {"incident_role_id": seed.IO_ROLES[0]["id"], "assignee": {"email": "oncall@example.com"}}
    made = create(api, server, custom_field_entries=[entry], incident_role_assignments=[role]).json()["incident"]
    ((shown,), (assigned,)) = made["custom_field_entries"], made["incident_role_assignments"]
    assert (shown["custom_field"]["name"], shown["values"][0]["value_option"]["value"]) == ("Affected Team", "Support")
    assert (assigned["role"]["name"], assigned["assignee"]["name"]) == ("Incident Lead", "On-call")


def test_an_organisation_may_demand_a_severity() -> None:
    with SandboxServer(require_severity=True) as server, requests.Session() as api:
        api.headers.update(HEADERS)
        refused = create(api, server)
        assert refused.status_code == 422
        assert refused.json()["errors"][0] == {
            "code": "is_required",
            "message": "A severity is required to open an incident",
            "source": {"field": "severity_id"},
        }
        assert create(api, server, severity_id=SEVERITY["Minor"]).status_code == 200


@pytest.mark.parametrize(
    ("authorization", "code"),
    [(None, "missing_authorization_material"), ("Token token=x", "unauthenticated"), ("Bearer ", "unauthenticated")],
)
def test_a_key_is_demanded(api: requests.Session, server: SandboxServer, authorization: str | None, code: str) -> None:
    response = api.get(f"{server.incident_io_url}/v1/identity", headers={"Authorization": authorization})
    assert (response.status_code, response.json()["type"]) == (401, "authentication_error")
    assert response.json()["errors"][0]["code"] == code


@pytest.mark.parametrize("body", [b"", b"[]", b"{"])
def test_a_body_that_is_no_object_is_refused(api: requests.Session, server: SandboxServer, body: bytes) -> None:
    assert api.post(f"{server.incident_io_url}/v2/incidents", data=body).status_code == 422


@pytest.mark.parametrize(
    ("start", "end", "status"),
    [
        ("Investigating", "Monitoring", 200),
        ("Investigating", "Closed", 200),
        ("Triage", "Documenting", 200),
        ("Documenting", "Closed", 200),
        ("Closed", "Closed", 200),
        ("Closed", "Investigating", 422),
        ("Declined", "Closed", 422),
        ("Documenting", "Fixing", 422),
    ],
)
def test_a_status_moves_only_where_incident_io_lets_it(
    api: requests.Session, server: SandboxServer, start: str, end: str, status: int
) -> None:
    made = create(api, server, incident_status_id=STATUS[start]).json()["incident"]
    response = edit(api, server, made["id"], incident_status_id=STATUS[end])
    assert response.status_code == status
    now = api.get(f"{server.incident_io_url}/v2/incidents/{made['id']}").json()["incident"]
    assert now["incident_status"]["name"] == (end if status == 200 else start)


def test_an_edit_changes_what_is_given_and_needs_both_of_its_keys(api: requests.Session, server: SandboxServer) -> None:
    made = create(api, server).json()["incident"]["id"]
    changed = edit(api, server, made, name="worse", severity_id=SEVERITY["Critical"]).json()["incident"]
    assert (changed["name"], changed["severity"]["rank"], changed["summary"]) == ("worse", 3, "")
    url = f"{server.incident_io_url}/v2/incidents/{made}/actions/edit"
    assert api.post(url, json={"incident": {}}).status_code == 422
    assert api.post(url, json={"notify_incident_channel": True}).status_code == 422
    assert edit(api, server, "01NONE").status_code == 404


def test_a_type_may_force_triage_and_privacy(api: requests.Session, server: SandboxServer) -> None:
    triaged = create(api, server, incident_type_id=TYPE["Needs Triage"]).json()["incident"]
    assert triaged["incident_status"]["category"] == "triage"
    private = create(api, server, idempotency_key="k2", incident_type_id=TYPE["Security"]).json()["incident"]
    assert private["visibility"] == "private"


def test_test_incidents_are_listed_only_when_asked_for(api: requests.Session, server: SandboxServer) -> None:
    real = create(api, server).json()["incident"]["id"]
    test = create(api, server, idempotency_key="k2", mode="test").json()["incident"]["id"]

    def found(**query: Any) -> list[str]:
        content = api.get(f"{server.incident_io_url}/v2/incidents", params=query).json()
        return [entry["id"] for entry in content["incidents"]]

    assert found() == [real]
    assert found(**{"mode[one_of]": ["standard", "test"]}) == [test, real]
    assert found(**{"mode[one_of]": ["standard", "test"], "page_size": 1}) == [test]
    assert found(**{"mode[one_of]": ["standard", "test"], "after": test}) == [real]
    assert found(**{"status_category[one_of]": "closed"}) == []
    assert found(**{"created_at[gte]": "2200-01-01"}) == []


def test_the_deprecated_create_speaks_of_status_and_mode_in_its_own_words(
    api: requests.Session, server: SandboxServer
) -> None:
    made = create(api, server, "v1", status="monitoring", mode="real").json()["incident"]
    assert (made["status"], made["mode"]) == ("monitoring", "real")
    newer = api.get(f"{server.incident_io_url}/v2/incidents/{made['id']}").json()["incident"]
    assert (newer["incident_status"]["name"], newer["mode"]) == ("Monitoring", "standard")
    assert create(api, server, "v1", idempotency_key="k2", mode="standard").status_code == 422
    assert create(api, server, "v1", idempotency_key="k2", status="paused").status_code == 422


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("v1/severities", ["Minor", "Major", "Critical"]),
        ("v1/incident_types", ["Default", "Customer Impact", "Needs Triage", "Security"]),
        ("v2/custom_fields", ["Affected Team", "Ticket", "Regions", "Services", "Runbook", "Customers affected"]),
        ("v2/incident_roles", ["Incident Lead", "Reporter", "Communications"]),
        ("v2/incident_timestamps", ["Reported at", "Impact started at", "Resolved at"]),
        ("v2/users", ["On-call", "Support Lead"]),
    ],
)
def test_the_seeded_names_are_listed(api: requests.Session, server: SandboxServer, path: str, names: list[str]) -> None:
    content = api.get(f"{server.incident_io_url}/{path}").json()
    assert [entry["name"] for entry in content[path.partition("/")[2]]] == names


def test_there_is_a_status_of_every_category(api: requests.Session, server: SandboxServer) -> None:
    statuses = api.get(f"{server.incident_io_url}/v1/incident_statuses").json()["incident_statuses"]
    wanted = {"triage", "live", "learning", "paused", "closed", "declined", "canceled", "merged"}
    assert {entry["category"] for entry in statuses} == wanted


def test_options_belong_to_a_field(api: requests.Session, server: SandboxServer) -> None:
    url = f"{server.incident_io_url}/v1/custom_field_options"
    options = api.get(url, params={"custom_field_id": seed.IO_TEAM_FIELD}).json()["custom_field_options"]
    assert [option["value"] for option in options] == ["Payments", "Platform", "Support"]
    assert api.get(url).status_code == 422


def test_too_many_creates_are_refused_with_the_real_headers_and_body() -> None:
    rates = Rates(incident_io_create=Rate(calls=1, window_s=30))
    with SandboxServer(rates=rates) as server, requests.Session() as api:
        api.headers.update(HEADERS)
        first = create(api, server)
        assert first.headers["X-RateLimit-Limit"] == "1, 1;window=30"
        assert first.headers["X-RateLimit-Remaining"] == "0"
        assert "Retry-After" not in first.headers
        refused = create(api, server, idempotency_key="k2")
        assert refused.status_code == 429
        assert 28 <= int(refused.headers["Retry-After"]) <= 30
        content = refused.json()
        assert (content["type"], content["rate_limit"]["limit"]) == ("too_many_requests", 1)
        assert content["rate_limit"]["retry_after"].endswith("Z")
        assert api.get(f"{server.incident_io_url}/v1/severities").status_code == 200
