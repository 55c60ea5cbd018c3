"""PagerDuty, where a golden file would not say it: paging, errors of ours, and what a create may not become."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.destinations.pagerduty import BASE_URLS, LAST_OFFSET, PagerDuty
from bridge.domain.delivery import (
    Action,
    Delivered,
    Delivery,
    HttpRequest,
    HttpResponse,
    NamesPage,
    NothingFound,
    PermanentFailure,
    Phase,
    Reason,
    Reference,
    TransientFailure,
    UnknownOutcome,
)
from bridge.domain.names import Found, find

ACCOUNT = PagerDuty(account="pd", token="t0ken-of-tests", from_="bot@example.com", base_url="https://pd.example")
CREATE = Delivery(
    id="D1",
    incident="I1",
    account="pd",
    action=Action.CREATE,
    key="ib1-key",
    fields={"title": "it broke", "service": "Postgres Primary"},
    ids={"service": "PSVC001"},
    created_at=datetime(2026, 3, 1, tzinfo=UTC),
)


def sent(delivery: Delivery) -> dict[str, Any]:
    body = ACCOUNT.request_for(delivery, {}).body
    assert body is not None
    return json.loads(body)["incident"]


def listed(content: object, status: int = 200) -> HttpResponse:
    return HttpResponse(status=status, headers={}, body=json.dumps(content).encode())


def page(kind: str, request: HttpRequest, response: HttpResponse) -> NamesPage:
    found = ACCOUNT.names_in(kind, request, response)
    assert found is not None
    return found


def test_each_region_has_its_own_address() -> None:
    assert BASE_URLS == {"us": "https://api.pagerduty.com", "eu": "https://api.eu.pagerduty.com"}


def test_a_rest_api_key_and_an_oauth_token_each_go_out_as_pagerduty_wants_them() -> None:
    by_oauth = replace(ACCOUNT, oauth=True)
    assert ACCOUNT.request_for(CREATE, {}).headers["Authorization"] == "Token token=t0ken-of-tests"
    assert by_oauth.request_for(CREATE, {}).headers["Authorization"] == "Bearer t0ken-of-tests"
    assert by_oauth.names_request("service").headers["Authorization"] == "Bearer t0ken-of-tests"


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("Service not found", "service"),
        ("Service cannot be empty.", "service"),
        ("service_support_hours", None),
        ("Invalid Priority", "priority"),
        ("Escalation policy not found", "escalation_policy"),
        ("Assignee not found", "assignee"),
        ("Urgency cannot be set on this service", "urgency"),
        ("Incident type not found", "incident_type"),
        ("Conference bridge must hold strings.", "conference_bridge"),
        ("Title cannot be empty.", "title"),
        ("Body details must be a string.", "body"),
        ("params must be a Hash", None),
    ],
)
def test_a_refusal_is_about_the_field_its_words_name(words: str, field: str | None) -> None:
    refusal = listed({"error": {"message": "Invalid Input Provided", "code": 2001, "errors": [words]}}, status=400)
    result = ACCOUNT.result_of(CREATE, refusal)
    assert isinstance(result, PermanentFailure)
    assert (result.reason, result.field) == (Reason.BAD_REQUEST, field)


def test_a_list_of_names_is_asked_for_page_by_page() -> None:
    first = ACCOUNT.names_request("service")
    assert (first.method, first.url) == ("GET", "https://pd.example/services?limit=100&offset=0")
    assert "From" not in first.headers
    one = page("service", first, listed({"services": [{"id": "S1", "name": "a", "status": "active"}], "more": True}))
    assert one.things[0].extra == {"status": "active"}
    following = ACCOUNT.names_request("service", one.next_cursor)
    assert following.url == "https://pd.example/services?limit=100&offset=100"
    last = page("service", following, listed({"services": [{"id": "S2", "name": "b"}], "more": False}))
    assert last.next_cursor is None
    assert last.things[0].extra == {}


def test_a_page_that_promises_more_but_holds_nothing_ends_the_list() -> None:
    assert page("user", ACCOUNT.names_request("user"), listed({"users": [], "more": True})).next_cursor is None


def test_nothing_is_asked_for_beyond_the_last_page_pagerduty_gives_out() -> None:
    request = ACCOUNT.names_request("user", str(LAST_OFFSET))
    assert page("user", request, listed({"users": [{"id": "U", "name": "u"}], "more": True})).next_cursor is None


def test_a_plan_without_priorities_has_an_empty_list_of_them() -> None:
    refusal = listed({"error": {"message": "Required abilities are unavailable", "code": 2014}}, status=402)
    assert page("priority", ACCOUNT.names_request("priority"), refusal).things == ()
    assert ACCOUNT.names_in("service", ACCOUNT.names_request("service"), refusal) is None


def test_users_are_known_with_their_address() -> None:
    response = listed({"users": [{"id": "U1", "name": "On-call", "email": "oncall@example.com"}]})
    (user,) = page("user", ACCOUNT.names_request("user"), response).things
    assert user.extra == {"email": "oncall@example.com"}
    assert find("OnCall@Example.com", "user", (user,)) == Found(thing=user)


def test_a_look_up_asks_for_the_newest_few_so_that_no_incident_is_too_long_to_be_found() -> None:
    request = ACCOUNT.request_for(replace(CREATE, phase=Phase.LOOK_UP), {})
    assert "sort_by=created_at%3Adesc&limit=20" in request.url


def test_questions_for_lists_are_told_from_others() -> None:
    of_incident = replace(CREATE, upstream_id="PINC1")
    notes = replace(of_incident, action=Action.NOTE, phase=Phase.LOOK_UP)
    asked = [replace(CREATE, phase=Phase.LOOK_UP), notes, replace(of_incident, action=Action.CHECK), CREATE]
    assert [ACCOUNT.request_for(one, {}).asks_for_list for one in asked] == [True, True, False, False]


def test_an_empty_key_is_never_looked_up() -> None:
    with pytest.raises(ValueError, match="a look-up needs a key"):
        ACCOUNT.request_for(replace(CREATE, key="", phase=Phase.LOOK_UP), {})


@pytest.mark.parametrize("action", [Action.RESOLVE, Action.ACKNOWLEDGE])
def test_nothing_is_changed_without_the_incidents_id(action: Action) -> None:
    with pytest.raises(ValueError, match="needs the incident's id"):
        ACCOUNT.request_for(replace(CREATE, action=action), {})


def test_users_are_needed_only_for_an_assignee() -> None:
    assert ACCOUNT.name_kinds_for(CREATE) == ()
    assert ACCOUNT.name_kinds_for(replace(CREATE, fields={**CREATE.fields, "assignee": "x"})) == ("user",)
    assert ACCOUNT.name_kinds_for(replace(CREATE, action=Action.RESOLVE)) == ()


def test_a_title_is_cut_to_what_pagerduty_shows() -> None:
    assert len(sent(replace(CREATE, fields={**CREATE.fields, "title": "x" * 3000}))["title"]) == 1024


def test_text_that_utf8_cannot_carry_still_goes_out() -> None:
    assert sent(replace(CREATE, fields={**CREATE.fields, "title": "half \ud83d pair"}))["title"] == "half ? pair"


def test_a_value_that_is_no_text_goes_out_as_json() -> None:
    fields = {**CREATE.fields, "title": 12, "body": {"a": [1, None]}}
    assert sent(replace(CREATE, fields=fields))["title"] == "12"
    assert sent(replace(CREATE, fields=fields))["body"]["details"] == '{"a": [1, null]}'


def test_a_service_nobody_could_look_up_is_sent_as_written() -> None:
    assert sent(replace(CREATE, ids={}))["service"]["id"] == "Postgres Primary"


def test_an_urgency_pagerduty_does_not_know_is_left_out() -> None:
    assert "urgency" not in sent(replace(CREATE, fields={**CREATE.fields, "urgency": "extreme"}))


@pytest.mark.parametrize("bridge", ["https://meet.example.com", {}, {"url": "x"}, None, ["x"]])
def test_a_conference_bridge_without_its_parts_is_left_out(bridge: object) -> None:
    assert "conference_bridge" not in sent(replace(CREATE, fields={**CREATE.fields, "conference_bridge": bridge}))


def test_an_incident_under_another_key_is_the_answer_to_another_create() -> None:
    answer = listed({"incident": {"id": "PINC1", "incident_key": "ib1-another"}}, status=201)
    result = ACCOUNT.result_of(CREATE, answer)
    assert isinstance(result, UnknownOutcome)
    assert result.reason is Reason.UNREADABLE_ANSWER


@pytest.mark.parametrize("key", ["ib1-key", None, ""])
def test_an_incident_under_our_key_or_none_is_the_answer_to_our_create(key: str | None) -> None:
    answer = listed({"incident": {"id": "PINC1", "incident_key": key}}, status=201)
    result = ACCOUNT.result_of(CREATE, answer)
    assert isinstance(result, Delivered)
    assert result.reference == Reference(id="PINC1")


ACKNOWLEDGE = replace(CREATE, action=Action.ACKNOWLEDGE, upstream_id="PINC/1", phase=Phase.LOOK_UP)


def test_an_acknowledgement_first_asks_how_the_incident_stands() -> None:
    request = ACCOUNT.request_for(ACKNOWLEDGE, {})
    assert (request.method, request.url, request.body) == ("GET", "https://pd.example/incidents/PINC%2F1", None)
    told = ACCOUNT.request_for(replace(ACKNOWLEDGE, phase=Phase.SEND), {})
    assert json.loads(told.body or b"")["incident"]["status"] == "acknowledged"


@pytest.mark.parametrize("status", ["resolved", "acknowledged", "merged", None, 5])
def test_only_a_triggered_incident_is_acknowledged(status: object) -> None:
    answer = listed({"incident": {"id": "PINC/1", "status": status}})
    assert isinstance(ACCOUNT.result_of(ACKNOWLEDGE, answer), Delivered)
    triggered = listed({"incident": {"id": "PINC/1", "status": "triggered"}})
    assert isinstance(ACCOUNT.result_of(ACKNOWLEDGE, triggered), NothingFound)


def test_a_question_about_an_incident_that_shows_none_is_asked_again() -> None:
    assert isinstance(ACCOUNT.result_of(ACKNOWLEDGE, listed({})), TransientFailure)
