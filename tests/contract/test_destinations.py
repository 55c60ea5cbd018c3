"""What every destination promises, whoever the vendor is; and its golden files.

golden/destinations/<type>/*.json: a delivery with the request it becomes and, under `answers`, what each answer means.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bridge.destinations import DESTINATIONS
from bridge.destinations.base import MAPPINGS, NAMED, Destination, FieldKind
from bridge.destinations.incident_io import IncidentIo
from bridge.destinations.pagerduty import PagerDuty
from bridge.domain.delivery import (
    Action,
    Delivered,
    Delivery,
    HttpRequest,
    HttpResponse,
    KeyIsOpen,
    KeySpent,
    NamedThing,
    NamesPage,
    NoAnswer,
    NothingFound,
    PermanentFailure,
    Phase,
    Reason,
    TransientFailure,
    UnknownOutcome,
)

TOKEN = "u+S3cretOfTests9x"
ACCOUNTS: Mapping[str, Destination] = {
    "pagerduty": PagerDuty(account="pd", token=TOKEN, from_="incident-bridge@example.com"),
    "incident_io": IncidentIo(account="io", token=TOKEN),
}
GOLDEN = Path(__file__).parents[1] / "golden" / "destinations"
RESULTS = (Delivered, TransientFailure, UnknownOutcome, KeyIsOpen, NothingFound, KeySpent, PermanentFailure)
HOSTILE_BODIES = (
    b"",
    b"null",
    b"[]",
    b'"incident"',
    b"{",
    b"\xff\xfe\x00",
    b'{"incident": null}',
    b'{"incident": []}',
    b'{"incident": {"id": 7}}',
    b'{"incident": {"id": ""}}',
    b'{"incident": {"id": ".."}}',
    b'{"incident": {"id": "X1", "created_at": 5, "status": {}, "incident_status": [], "html_url": "javascript:x"}}',
    b'{"incident": {"id": "X1", "created_at": "0001-01-01T00:00:00+23:59", "incident_status": {"category": {}}}}',
    b'{"incidents": [1, null, {"id": "X1", "incident_key": [], "service": "none", "status": ["triggered"]}]}',
    b'{"incidents": {"0": {}}}',
    b'{"error": "no"}',
    b'{"error": {"message": 5, "errors": {"a": 1}, "code": [1001]}}',
    b'{"errors": [{"source": "idempotency_key"}, 5, null], "rate_limit": 5, "retry_after": NaN}',
    b'{"retry_after": "' + b"9" * 400 + b'", "rate_limit": {"retry_after": {}}}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"1" * 100_000,
    b"<html><body>" + b"\x07 gateway \x1b[31m" * 50_000,
    f"Token token={TOKEN} is not known; {TOKEN}".encode(),
    json.dumps({"error": {"message": TOKEN}, "errors": [{"message": TOKEN}]}).encode(),
)
HOSTILE_HEADERS: tuple[Mapping[str, str], ...] = (
    {},
    {"date": "yesterday", "retry-after": "soon", "ratelimit-reset": "", "x-ratelimit-reset": "1e999"},
    {"date": "Sat, 99 Foo 2026 99:99:99 GMT", "retry-after": "-5", "x-ratelimit-reset": "NaN"},
)


def as_instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def delivery_of(content: Mapping[str, Any]) -> Delivery:
    """A delivery as a golden file writes it: what it leaves out is the same for all."""
    given = dict(content)
    return Delivery(
        id=given.pop("id", "01JDELIVERY000000000000001"),
        incident=given.pop("incident", "01JINCIDENT000000000000001"),
        account="golden",
        action=Action(given.pop("action")),
        phase=Phase(given.pop("phase", "send")),
        fields=given.pop("fields", {}),
        notes=tuple(given.pop("notes", ())),
        owned=frozenset(given.pop("owned", ())),
        created_at=datetime.fromisoformat(given.pop("created_at", "2026-03-01T12:00:00+00:00")),
        first_attempt_at=as_instant(given.pop("first_attempt_at", None)),
        **given,
    )


def lists_of(content: Mapping[str, Any]) -> dict[str, tuple[NamedThing, ...]]:
    return {kind: tuple(NamedThing(**thing) for thing in things) for kind, things in content.items()}


def written(request: HttpRequest) -> dict[str, Any]:
    """A request as a golden file writes it, its credential masked and its body to the byte."""
    return {
        "method": request.method,
        "url": request.url,
        "headers": {name: value.replace(TOKEN, "***") for name, value in request.headers.items()},
        "body": None if request.body is None else request.body.decode(),
    }


def answer_of(content: Mapping[str, Any]) -> HttpResponse | NoAnswer:
    if "status" not in content:
        return NoAnswer(reason=Reason(content["reason"]), sent=content["sent"], detail=content["detail"])
    body = content.get("body", "")
    text = body if isinstance(body, str) else json.dumps(body)
    return HttpResponse(status=content["status"], headers=content.get("headers", {}), body=text.encode())


def golden_files() -> list[Path]:
    return sorted(GOLDEN.glob("*/*.json"))


def cases() -> Iterator[tuple[Destination, Delivery, dict[str, tuple[NamedThing, ...]]]]:
    """Every golden delivery with its account."""
    for path in golden_files():
        content = json.loads(path.read_text(encoding="utf-8"))
        yield account_of(path, content), delivery_of(content["delivery"]), lists_of(content.get("lists", {}))


def account_of(path: Path, content: Mapping[str, Any]) -> Destination:
    return replace(ACCOUNTS[path.parent.name], **content.get("account", {}))  # type: ignore[type-var]


@pytest.fixture(params=sorted(DESTINATIONS))
def destination(request: pytest.FixtureRequest) -> Destination:
    return ACCOUNTS[request.param]


def test_every_listed_destination_is_tested_here() -> None:
    assert {name: type(account) for name, account in ACCOUNTS.items()} == dict(DESTINATIONS)
    assert all(account.type == name for name, account in ACCOUNTS.items())
    assert {path.parent.name for path in golden_files()} == set(DESTINATIONS)


@pytest.mark.parametrize("path", golden_files(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_golden_delivery_gives_its_golden_request_and_its_answers_their_meaning(
    path: Path, request: pytest.FixtureRequest
) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    account, delivery = account_of(path, content), delivery_of(content["delivery"])
    content["request"] = written(account.request_for(delivery, lists_of(content.get("lists", {}))))
    for answer in content.get("answers", ()):
        result = account.result_of(delivery, answer_of(answer["answer"]))
        answer["result"] = {"is": type(result).__name__} | asdict(result)
    now = json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n"
    if request.config.getoption("--update-golden", default=False):
        path.write_text(now, encoding="utf-8")
    assert now == path.read_text(encoding="utf-8")


def test_every_action_a_destination_knows_has_a_golden_file(destination: Destination) -> None:
    told = {delivery.action for account, delivery, _ in cases() if account.type == destination.type}
    assert told == destination.actions


def test_the_same_delivery_twice_is_the_same_request_to_the_byte() -> None:
    for account, delivery, lists in cases():
        assert account.request_for(delivery, lists) == account.request_for(delivery, dict(reversed(lists.items())))


def test_the_same_key_goes_out_with_every_attempt() -> None:
    for account, delivery, lists in cases():
        if delivery.action is not Action.CREATE:
            continue
        repeated = replace(delivery, first_attempt_at=datetime.fromisoformat("2026-03-09T00:00:00+00:00"))
        sent = account.request_for(repeated, lists)
        assert delivery.key in (sent.body or b"").decode() + sent.url


def test_a_request_holds_nothing_of_which_attempt_it_is() -> None:
    for account, delivery, lists in cases():
        later = replace(delivery, first_attempt_at=datetime.fromisoformat("2026-04-01T00:00:00+00:00"))
        assert account.request_for(later, lists) == account.request_for(delivery, lists)


def test_only_an_update_without_a_change_says_nothing(destination: Destination) -> None:
    for account, delivery, lists in cases():
        assert not account.says_nothing(delivery, lists)
    empty = delivery_of({"action": "update", "key": "k", "upstream_id": "X1", "fields": {"priority": "P9"}})
    for fields in ({"severity": "no such", "notify_incident_channel": "true"}, {"priority": "no such"}, {}):
        nothing = replace(empty, fields=fields)
        assert destination.says_nothing(nothing, {})
        with pytest.raises(ValueError, match="an update that changes nothing"):
            destination.request_for(nothing, {})


def test_no_secret_shows_in_a_repr(destination: Destination) -> None:
    assert TOKEN not in repr(destination)
    for account, delivery, lists in cases():
        assert TOKEN not in repr(account.request_for(delivery, lists))


def test_every_field_is_documented_and_consistent(destination: Destination) -> None:
    assert destination.title_field in destination.fields
    assert destination.fields[destination.title_field].required
    assert destination.fields[destination.body_field].kind is FieldKind.LONG_TEXT
    assert destination.scope_field is None or destination.fields[destination.scope_field].required
    for name, entry in destination.fields.items():
        assert entry.about.endswith("."), name
        assert "read 20" in entry.source, name
        assert (entry.kind is FieldKind.NAME or entry.kind in NAMED) == (entry.lookup is not None), name
        assert (entry.kind in (FieldKind.VALUES, FieldKind.PEOPLE)) == (entry.value_lookup is not None), name
        assert entry.value_lookup is None or entry.value_lookup in destination.name_kinds, name
        assert entry.kind in MAPPINGS or not entry.keys, name
        assert (entry.kind is FieldKind.ENUM) == bool(entry.choices), name
        assert entry.lookup is None or entry.lookup in destination.name_kinds, name


@pytest.mark.parametrize("body", HOSTILE_BODIES, ids=range(len(HOSTILE_BODIES)))
def test_every_status_with_any_body_has_a_result(body: bytes) -> None:
    for account, delivery in one_of_each():
        statuses = range(100, 600) if len(body) < 1000 else (200, 201, 302, 400, 401, 409, 422, 429, 500)
        for status in statuses:
            for headers in HOSTILE_HEADERS:
                result = account.result_of(delivery, HttpResponse(status=status, headers=headers, body=body))
                assert isinstance(result, RESULTS)
                assert_sound(result, status)


def one_of_each() -> list[tuple[Destination, Delivery]]:
    """One delivery per destination, action and phase."""
    found = {}
    for account, delivery, _ in cases():
        found[account.type, delivery.action, delivery.phase] = (account, delivery)
    return list(found.values())


def assert_sound(result: Any, status: int) -> None:
    """A result that a worker can act on and a person may see."""
    detail = result.detail
    assert TOKEN not in detail
    assert len(detail) <= 500
    assert detail.isprintable()
    if isinstance(result, TransientFailure) and result.retry_after_s is not None:
        assert result.reason is Reason.RATE_LIMITED
        assert 0 <= result.retry_after_s < float("inf")
    if isinstance(result, Delivered) and result.exhausted_s is not None:
        assert 0 <= result.exhausted_s < float("inf")
    if isinstance(result, Delivered) and not 200 <= status < 300:
        assert result.adopted
    if isinstance(result, Delivered | KeySpent) and result.reference is not None:
        assert result.reference.url is None or result.reference.url.startswith("http")


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (301, PermanentFailure, Reason.REFUSED),
        (400, PermanentFailure, Reason.BAD_REQUEST),
        (401, TransientFailure, Reason.AUTH),
        (402, PermanentFailure, Reason.PAYMENT_REQUIRED),
        (403, TransientFailure, Reason.FORBIDDEN),
        (404, PermanentFailure, Reason.NOT_FOUND),
        (405, PermanentFailure, Reason.REFUSED),
        (413, PermanentFailure, Reason.REFUSED),
        (422, PermanentFailure, Reason.BAD_REQUEST),
        (429, TransientFailure, Reason.RATE_LIMITED),
    ],
)
def test_a_refusal_means_the_same_for_every_action(status: int, kind: type, reason: Reason) -> None:
    for account, delivery in one_of_each():
        result = account.result_of(delivery, HttpResponse(status=status, headers={}, body=b"refused by the upstream"))
        assert isinstance(result, kind)
        assert result.reason is reason
        assert "refused by the upstream" in result.detail


def may_double(account: Destination, delivery: Delivery) -> bool:
    """Whether the upstream would have this twice if it were simply repeated; incident.io's notes are edits."""
    noted = delivery.action is Action.NOTE and account.type == "pagerduty"
    return (delivery.action is Action.CREATE or noted) and delivery.phase is Phase.SEND


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_only_a_create_or_a_note_leaves_a_server_error_to_be_found_out(status: int) -> None:
    for account, delivery in one_of_each():
        result = account.result_of(delivery, HttpResponse(status=status, headers={}, body=b""))
        creates = may_double(account, delivery)
        assert isinstance(result, UnknownOutcome if creates else TransientFailure)
        assert result.reason is Reason.SERVER_ERROR


@pytest.mark.parametrize("odd", [b"caf\xe9", b"cut \xe2\x82", b"\xed\xa0\x80", b"\xff"])
def test_one_byte_that_is_no_utf8_costs_one_character_and_not_the_answer(odd: bytes) -> None:
    for account, delivery in one_of_each():
        if delivery.phase is Phase.LOOK_UP:
            continue
        identifier = (delivery.upstream_id or "X1").encode()
        body = b'{"note": {"id": "N1"}, "incident": {"id": "%s", "title": "%s"}}' % (identifier, odd)
        assert isinstance(account.result_of(delivery, HttpResponse(status=200, headers={}, body=body)), Delivered)


def test_an_incident_that_the_call_was_not_about_is_the_answer_to_another_call() -> None:
    told = 0
    for account, delivery in one_of_each():
        if delivery.action is Action.CREATE or (delivery.action is Action.NOTE and account.type == "pagerduty"):
            continue  # which names no incident, and whose answer shows none
        for stands in ("triggered", "resolved", "live", "closed"):
            incident = {"id": "SOMEBODY-ELSES", "status": stands, "incident_status": {"category": stands}}
            body = json.dumps({"incident": incident | {"summary": "of another one"}}).encode()
            result = account.result_of(delivery, HttpResponse(status=200, headers={}, body=body))
            assert isinstance(result, TransientFailure)
            assert result.reason is Reason.UNREADABLE_ANSWER
            told += 1
    assert told >= 4 * len(ACCOUNTS)


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.CONNECTION_LOST])
def test_no_answer_is_unknown_only_when_a_create_or_a_note_was_sent(reason: Reason) -> None:
    for account, delivery in one_of_each():
        creates = may_double(account, delivery)
        sent = account.result_of(delivery, NoAnswer(reason=reason, sent=True, detail=f"lost {TOKEN}"))
        assert isinstance(sent, UnknownOutcome if creates else TransientFailure)
        assert sent.reason is reason
        assert TOKEN not in sent.detail
        unsent = account.result_of(delivery, NoAnswer(reason=Reason.NOT_CONNECTED, sent=False, detail="refused"))
        assert unsent == TransientFailure(reason=Reason.NOT_CONNECTED, detail="refused")


@pytest.mark.parametrize(
    ("headers", "body", "wait_s"),
    [
        ({"ratelimit-reset": "20"}, "", 20.0),
        ({"retry-after": "7"}, "", 7.0),
        ({"retry-after": "0.5"}, "", 0.5),
        ({"ratelimit-reset": "3", "retry-after": "9"}, "", 3.0),
        ({"retry-after": "9", "x-ratelimit-reset": "1780000060", "date": "Thu, 28 May 2026 20:26:40 GMT"}, "", 9.0),
        ({"x-ratelimit-reset": "1780000060", "date": "Thu, 28 May 2026 20:26:40 GMT"}, "", 60.0),
        (
            {"x-ratelimit-reset": "1780000060", "x-ratelimit-remaining": "0", "date": "Thu, 28 May 2026 20:26:40 GMT"},
            "",
            60.0,
        ),
        (
            {
                "x-ratelimit-reset": "1780000060",
                "x-ratelimit-remaining": "soon",
                "date": "Thu, 28 May 2026 20:26:40 GMT",
            },
            "",
            60.0,
        ),
        (
            {
                "x-ratelimit-reset": "1780000001",
                "x-ratelimit-remaining": "1190",
                "date": "Thu, 28 May 2026 20:26:40 GMT",
            },
            "",
            None,
        ),
        (
            {
                "x-ratelimit-reset": "1780000001",
                "x-ratelimit-remaining": "1190",
                "retry-after": "9",
                "date": "Thu, 28 May 2026 20:26:40 GMT",
            },
            "",
            9.0,
        ),
        ({"retry-after": "Thu, 28 May 2026 20:26:55 GMT", "date": "Thu, 28 May 2026 20:26:40 GMT"}, "", 15.0),
        ({"date": "Thu, 28 May 2026 20:26:40 GMT"}, {"rate_limit": {"retry_after": "2026-05-28T20:27:10Z"}}, 30.0),
        ({"date": "Thu, 28 May 2026 20:26:40 GMT"}, {"retry_after": "Thu, 28 May 2026 20:26:45 UTC"}, 5.0),
        ({"date": "Thu, 28 May 2026 20:26:40 GMT"}, {"retry_after": "2026-05-28T20:00:00Z"}, 0.0),
        ({}, {"retry_after": 12}, 12.0),
        ({}, {"rate_limit": {"retry_after": "2026-05-28T20:27:10Z"}}, None),
        ({"x-ratelimit-reset": "1780000060"}, "", None),
        ({"retry-after": "soon"}, "", None),
        ({}, "", None),
    ],
)
def test_the_upstreams_time_to_wait_is_honoured(headers: Mapping[str, str], body: Any, wait_s: float | None) -> None:
    for account, delivery in one_of_each():
        result = account.result_of(delivery, answer_of({"status": 429, "headers": headers, "body": body}))  # type: ignore[arg-type]
        assert isinstance(result, TransientFailure)
        assert result.retry_after_s == wait_s


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"ratelimit-remaining": "0", "ratelimit-reset": "8"}, 8.0),
        ({"ratelimit-remaining": "1", "ratelimit-reset": "8"}, None),
        ({"ratelimit-remaining": "0"}, None),
        ({"x-ratelimit-remaining": "0", "retry-after": "3"}, 3.0),
        (
            {
                "x-ratelimit-remaining": "0",
                "x-ratelimit-used": "30",
                "x-ratelimit-reset": "1780000060",
                "date": "Thu, 28 May 2026 20:26:40 GMT",
            },
            2.0,
        ),
        ({"x-ratelimit-remaining": "soon", "ratelimit-reset": "8"}, None),
        ({}, None),
    ],
)
def test_a_success_that_used_the_last_of_the_allowance_says_so(
    headers: Mapping[str, str], wait_s: float | None
) -> None:
    for account, delivery in one_of_each():
        if delivery.phase is Phase.LOOK_UP:
            continue
        body = {"incident": {"id": delivery.upstream_id or "X1"}, "note": {"id": "N1"}}
        answer = answer_of({"status": 200, "headers": headers, "body": body})
        result = account.result_of(delivery, answer)
        assert isinstance(result, Delivered)
        assert result.exhausted_s == wait_s


def test_a_question_for_names_asks_for_a_list(destination: Destination) -> None:
    assert all(destination.names_request(kind).asks_for_list for kind in destination.name_kinds)


def test_a_name_that_cannot_be_kept_is_known_as_it_is_kept(destination: Destination) -> None:
    kind = "user"
    request = destination.names_request(kind)
    entry = {"id": "U1", "name": "half \ud83d", "email": "a\x00@example.com"}
    body = json.dumps({"users": [entry]}).encode()
    page = destination.names_in(kind, request, HttpResponse(status=200, headers={}, body=body))
    assert page is not None
    (thing,) = page.things
    assert (thing.name, thing.aliases) == ("half ?", ("a\ufffd@example.com",))


@pytest.mark.parametrize("body", HOSTILE_BODIES, ids=range(len(HOSTILE_BODIES)))
def test_a_list_of_names_is_read_or_refused_never_half_believed(destination: Destination, body: bytes) -> None:
    for kind in destination.name_kinds:
        request = destination.names_request(kind)
        for status in (200, 204, 302, 401, 404, 429, 500):
            response = HttpResponse(status=status, headers={}, body=body)
            assert destination.names_in(kind, request, response) is None


IN_PARTS = {  # kinds that are read part by part, with the cursor of a part
    "custom_field_option": '[null,"01FIELD",1]',
    "catalog_entry": '[null,"01CATALOG",1]',
}


def test_a_list_of_names_skips_what_has_no_id_or_name(destination: Destination) -> None:
    for kind in destination.name_kinds:
        request = destination.names_request(kind, IN_PARTS.get(kind))
        path = request.url.partition("?")[0]
        key = "incident_types" if path.endswith("/incidents/types") else path.rpartition("/")[2]
        entries = [{"id": "A1", "name": "one"}, {"id": None, "name": "x"}, {"id": "A2"}, 5, {"id": "A3", "name": "two"}]
        response = HttpResponse(status=200, headers={}, body=json.dumps({key: entries}).encode())
        page = destination.names_in(kind, request, response)
        assert isinstance(page, NamesPage)
        ids = ["one", "two"] if path.endswith("/incidents/types") else ["A1", "A3"]  # which a create knows by name
        assert [(thing.id, thing.name) for thing in page.things] == [(ids[0], "one"), (ids[1], "two")]
        assert page.next_cursor is None


KEPT_OF_NAMES = (
    "aliases", "archived_at", "catalog_type_id", "category", "create_in_triage", "display_name", "email", "external_id",
    "field_type", "is_default", "rank", "role_type", "slack_user_id", "status", "summary",
)  # fmt: skip


@pytest.mark.parametrize("odd", [[], {"a": []}, 5, 1e400, True, "x"], ids=repr)
def test_an_entry_of_a_list_of_names_may_say_anything_of_itself(destination: Destination, odd: object) -> None:
    for kind in destination.name_kinds:
        request = destination.names_request(kind, IN_PARTS.get(kind))
        path = request.url.partition("?")[0]
        key = "incident_types" if path.endswith("/incidents/types") else path.rpartition("/")[2]
        entry = {"id": "A1", "name": "one", **dict.fromkeys(KEPT_OF_NAMES, odd)}
        response = HttpResponse(status=200, headers={}, body=json.dumps({key: [entry]}).encode())
        assert isinstance(destination.names_in(kind, request, response), NamesPage)
