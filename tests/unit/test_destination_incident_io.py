"""incident.io, where a golden file would not say it."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.destinations.incident_io import IncidentIo
from bridge.destinations.incident_io_fields import CHANGES
from bridge.domain.delivery import (
    Action,
    Delivered,
    Delivery,
    HttpResponse,
    NamedThing,
    NothingFound,
    PermanentFailure,
    Phase,
)
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
    given = statuses(("01A", "A", {}, "first"), ("01B", "B", None, float("nan")), ("01C", "C", "closed", 10**400))
    assert [meant(word, given) for word in "abc"] == ["01A", "01B", "01C"]


def test_nothing_is_closed_without_the_incidents_id() -> None:
    with pytest.raises(ValueError, match="needs the incident's id"):
        ACCOUNT.request_for(replace(CLOSE, upstream_id=None), {})


@pytest.mark.parametrize("action", sorted(set(Action) - ACCOUNT.actions))
def test_an_action_it_does_not_know_is_refused_by_name(action: Action) -> None:
    with pytest.raises(ValueError, match=action.value):
        ACCOUNT.request_for(replace(CLOSE, action=action), {})


ENTRY = {"id": "01A", "name": "A", "category": "closed", "rank": 3, "is_default": True, "role_type": "lead", "else": 1}


@pytest.mark.parametrize(
    ("kind", "path", "kept"),
    [
        ("severity", "v1/severities", {"rank": 3}),
        ("incident_type", "v1/incident_types", {"is_default": True}),
        ("incident_status", "v1/incident_statuses", {"category": "closed", "rank": 3}),
        ("custom_field", "v2/custom_fields", {}),
        ("incident_role", "v2/incident_roles", {"role_type": "lead"}),
        ("incident_timestamp", "v2/incident_timestamps", {}),
    ],
)
def test_a_list_of_names_comes_in_one_page(kind: str, path: str, kept: dict[str, Any]) -> None:
    request = ACCOUNT.names_request(kind)
    assert (request.method, request.url) == ("GET", f"https://io.example/{path}")
    assert dict(request.headers) == {"Authorization": "Bearer t0ken-of-tests"}
    page = ACCOUNT.names_in(kind, request, answering(**{path.partition("/")[2]: [ENTRY]}))
    assert page is not None
    aliases = ("closed",) if kind == "incident_status" else ()
    assert page.things == (NamedThing(id="01A", name="A", extra=kept, aliases=aliases),)
    assert page.next_cursor is None


def answering(**content: Any) -> HttpResponse:
    return HttpResponse(status=200, headers={}, body=json.dumps(content).encode())


def read(kind: str, *answers: HttpResponse) -> tuple[list[str], list[NamedThing]]:
    """The addresses that are asked, without the host, and what they bring, until the list ends."""
    asked: list[str] = []
    things: list[NamedThing] = []
    cursor: str | None = None
    for answer in answers:
        request = ACCOUNT.names_request(kind, cursor)
        asked.append(request.url.removeprefix("https://io.example/").partition("#")[0])
        page = ACCOUNT.names_in(kind, request, answer)
        assert page is not None
        things += page.things
        cursor = page.next_cursor
        if cursor is None:
            break
    assert cursor is None
    assert len(asked) == len(answers)
    return asked, things


def test_people_are_known_by_address_and_slack_id_too_page_by_page() -> None:
    asked, things = read(
        "user",
        answering(users=[{"id": "01U", "name": "Ann", "email": "ann@example.com"}], pagination_meta={"after": "01U"}),
        answering(users=[{"id": "01V", "name": "Bo", "slack_user_id": "U0B0"}], pagination_meta={"page_size": 250}),
    )
    assert asked == ["v2/users?page_size=250", "v2/users?page_size=250&after=01U"]
    assert [(one.id, one.aliases) for one in things] == [("01U", ("ann@example.com",)), ("01V", ("U0B0",))]


FIELDS = [
    {"id": "01F1", "name": "Team", "field_type": "multi_select"},
    {"id": "01F2", "name": "Ticket", "field_type": "text"},
    {"id": "01F3", "name": "Service", "field_type": "single_select", "catalog_type_id": "01C"},
    {"id": "01F4", "name": "Region", "field_type": "single_select"},
    {"id": "01F5", "name": "Other service", "field_type": "multi_select", "catalog_type_id": "01C"},
]


def test_a_custom_field_says_where_its_values_come_from() -> None:
    _, things = read("custom_field", answering(custom_fields=FIELDS))
    says = {one.name: (one.extra.get("values_kind"), one.extra.get("values_of")) for one in things}
    assert says == {
        "Team": ("custom_field_option", "01F1"),
        "Ticket": (None, None),
        "Service": ("catalog_entry", "01C"),
        "Region": ("custom_field_option", "01F4"),
        "Other service": ("catalog_entry", "01C"),
    }


def test_options_are_read_field_by_field_and_page_by_page() -> None:
    asked, things = read(
        "custom_field_option",
        answering(custom_fields=FIELDS),
        answering(custom_field_options=[{"id": "01O", "value": "Support"}], pagination_meta={"after": "01O"}),
        answering(custom_field_options=[{"id": "01P", "value": "Platform"}], pagination_meta={}),
        answering(custom_field_options=[{"id": "01Q", "value": "Support"}]),
    )
    assert asked == [
        "v2/custom_fields",
        "v1/custom_field_options?page_size=250&custom_field_id=01F1",
        "v1/custom_field_options?page_size=250&custom_field_id=01F1&after=01O",
        "v1/custom_field_options?page_size=250&custom_field_id=01F4",
    ]
    found = [(one.id, one.name, one.extra["of"]) for one in things]
    assert found == [("01O", "Support", "01F1"), ("01P", "Platform", "01F1"), ("01Q", "Support", "01F4")]


def test_a_catalog_is_read_once_however_many_fields_it_stands_in_without_what_is_archived() -> None:
    entries = [
        {"id": "01E", "name": "Checkout", "external_id": "checkout", "aliases": ["co", "cart"]},
        {"id": "01G", "name": "Old", "archived_at": "2026-01-01T00:00:00Z"},
    ]
    asked, things = read("catalog_entry", answering(custom_fields=FIELDS), answering(catalog_entries=entries))
    assert asked == ["v2/custom_fields", "v3/catalog_entries?page_size=250&catalog_type_id=01C"]
    (checkout,) = things
    assert (checkout.id, checkout.aliases, checkout.extra) == ("01E", ("checkout", "co", "cart"), {"of": "01C"})


def test_an_organisation_without_selects_has_no_options_to_ask_for() -> None:
    assert read("custom_field_option", answering(custom_fields=FIELDS[1:2])) == (["v2/custom_fields"], [])


def test_a_catalog_without_end_is_read_no_further_than_a_list_may_be_long() -> None:
    request = ACCOUNT.names_request("catalog_entry", json.dumps([None, "01C", "01D", 40]))
    answer = answering(catalog_entries=[{"id": "01E", "name": "E"}], pagination_meta={"after": "01E"})
    page = ACCOUNT.names_in("catalog_entry", request, answer)
    assert page is not None
    assert page.next_cursor is not None  # the next catalog is read all the same
    last = ACCOUNT.names_request("catalog_entry", json.dumps([None, "01D", 40]))
    page = ACCOUNT.names_in("catalog_entry", last, answer)
    assert page is not None
    assert page.next_cursor is None


def test_a_page_that_repeats_itself_ends_the_list() -> None:
    page = answering(users=[{"id": "01U", "name": "Ann"}], pagination_meta={"after": "01U"})
    assert len(read("user", page, page)[1]) == 2


# ---- what a rule may say ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("api", "written", "about"),
    [
        ("v2", {"source_message_channel_id": None}, ["source_message_channel_id"]),
        ("v1", {"timestamps": None, "slack_channel_name_override": "x"}, ["timestamps", "slack_channel_name_override"]),
        ("v1", {"status": "Paused"}, ["status"]),
        ("v1", {"status": "Fixing", "mode": "test", "source_message_timestamp": "1.2"}, []),
        ("v1", {"status": None, "mode": "retrospective"}, ["mode"]),
        ("v2", {"retrospective_incident_options": None}, ["retrospective_incident_options"]),
        ("v2", {"retrospective_incident_options": None, "mode": "test"}, ["retrospective_incident_options"]),
        ("v2", {"retrospective_incident_options": None, "mode": None}, []),
        ("v2", {"retrospective_incident_options": None, "mode": "retrospective", "status": "Paused"}, []),
    ],
)
def test_what_an_accounts_version_of_the_api_does_not_know_is_said(
    api: str, written: dict[str, str | None], about: list[str]
) -> None:
    found = replace(ACCOUNT, api=api).contradictions(written)
    assert [name for name, _, _ in found] == about
    assert all(sentence and hint for _, sentence, hint in found)


def test_custom_fields_and_roles_need_the_lists_that_say_how_to_write_them() -> None:
    fields = {"custom_fields": {"Ticket": ["4711"]}, "roles": {"Incident Lead": "ann@example.com"}}
    assert ACCOUNT.name_kinds_for(replace(CREATE, fields=fields)) == ("custom_field",)
    update = replace(CLOSE, action=Action.UPDATE, fields=fields)
    assert ACCOUNT.name_kinds_for(update) == ("custom_field", "incident_role")
    assert ACCOUNT.name_kinds_for(replace(update, action=Action.NOTE)) == ()


def test_custom_fields_without_their_list_are_left_out_and_the_page_goes_out() -> None:
    fields = {"name": "it broke", "custom_fields": {"Ticket": ["4711"]}}
    assert sent(replace(CREATE, fields=fields, ids={"custom_fields.Ticket": "01F2"})).keys() == {
        "idempotency_key",
        "visibility",
        "name",
    }


def test_a_new_incident_has_nothing_to_unset() -> None:
    ticket = NamedThing(id="01F2", name="Ticket", extra={"field_type": "text"})
    delivery = replace(CREATE, fields={"custom_fields": {"Ticket": []}}, ids={"custom_fields.Ticket": "01F2"})
    assert "custom_field_entries" not in sent(delivery, custom_field=(ticket,))


def test_a_note_that_would_overwrite_the_summary_is_not_built() -> None:
    note = replace(CLOSE, action=Action.NOTE, fields={"note": "one more"})
    with pytest.raises(ValueError, match="added to the summary"):
        ACCOUNT.request_for(note, {})


@pytest.mark.parametrize("bad", ["\ud83d", "\x00"])
def test_a_summary_that_no_database_takes_is_known_as_it_is_kept(bad: str) -> None:
    incident = {"id": "01X", "summary": f"it {bad} broke", "incident_status": {"category": "live"}}
    answer = HttpResponse(status=200, headers={}, body=json.dumps({"incident": incident}).encode())
    made = ACCOUNT.result_of(CREATE, answer)
    assert isinstance(made, Delivered)
    assert made.reference is not None
    kept = made.reference.summary
    assert kept in ("it ? broke", "it \ufffd broke")
    looks = replace(CLOSE, action=Action.NOTE, phase=Phase.LOOK_UP, fields={"note": "one more", "summary": kept})
    assert isinstance(ACCOUNT.result_of(looks, answer), NothingFound), "nobody has rewritten it"


def looked_at(category: str, mode: str | None = "standard") -> bool:
    """Whether a look finds an incident over that stands there."""
    incident = {"id": "01X", "mode": mode, "incident_status": {"category": category}}
    result = ACCOUNT.result_of(replace(CLOSE, action=Action.CHECK), answering(incident=incident))
    assert isinstance(result, Delivered)
    assert result.reference is not None
    return result.reference.closed


def test_what_people_resolved_and_only_write_up_still_pages_nobody_and_counts_as_over() -> None:
    assert [looked_at(one) for one in ("triage", "live", "paused", "learning", "closed")] == [0, 0, 0, 1, 1]
    assert looked_at("learning", mode=None)


def test_a_retrospective_incident_is_not_over_because_it_begins_where_others_end() -> None:
    assert [looked_at(one, mode="retrospective") for one in ("learning", "closed")] == [False, True]


@pytest.mark.parametrize("tells", [False, "false"])
def test_a_change_may_be_kept_from_the_channel(tells: object) -> None:
    update = replace(CLOSE, action=Action.UPDATE, fields={"name": "n", "notify_incident_channel": tells})
    assert sent(update) == {"incident": {"name": "n"}, "notify_incident_channel": False}


def test_what_an_update_may_say_is_what_an_edit_takes_and_nothing_else() -> None:
    assert CHANGES.keys() - FIELDS_OF_A_CREATE == {"call_url", "notify_incident_channel"}
    fixed = {"incident_type", "visibility", "mode", "slack_team_id", "retrospective_incident_options"}
    assert FIELDS_OF_A_CREATE - CHANGES.keys() == fixed | {"source_message_channel_id", "source_message_timestamp"}


FIELDS_OF_A_CREATE = ACCOUNT.fields.keys()


@pytest.mark.parametrize("mode", ["standard", "retrospective"])
def test_the_deprecated_create_knows_two_modes_only(mode: str) -> None:
    body = replace(ACCOUNT, api="v1").request_for(replace(CREATE, fields={"name": "n", "mode": mode}), {}).body
    assert json.loads(body or b"")["mode"] == "real"


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ("severity_id", "severity"),
        ("custom_field_entries.0.values", "custom_fields"),
        ("incident_role_assignments[1]", "roles"),
        ("slack_team_id", "slack_team_id"),
        ("idempotency", None),
        (7, None),
    ],
)
def test_a_refusal_names_the_rules_own_field(said: object, field: str | None) -> None:
    words = {"errors": [{"code": "invalid_value", "message": "no", "source": {"field": said}}]}
    result = ACCOUNT.result_of(CREATE, HttpResponse(status=422, headers={}, body=json.dumps(words).encode()))
    assert isinstance(result, PermanentFailure)
    assert result.field == field


def test_an_exercise_that_is_refused_does_not_become_a_real_incident() -> None:
    assert {"mode", "visibility"} <= ACCOUNT.plain_fields
