"""The OpenAPI document: every route is in it, real answers are what it says, and it keeps OpenAPI's own rules."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from bridge.adapters.ledger import EventQuery, Ledger
from bridge.domain.access import Deed, How, Role, Who
from bridge.domain.delivery import PermanentFailure, Reason
from bridge.domain.silences import Silence
from bridge.entrypoints.web import openapi
from tests.ledgers import claim, delivered, fires, open_ledger, record, settle, sqlite_url
from tests.web_apps import Browser, web_app

DOCUMENT = openapi.document()
METHODS = {"get", "post", "put", "patch", "delete", "options"}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(sqlite_url(tmp_path))
    settle(opened, fires("a"), fires("b"), fires("c"))
    record(opened, claim(opened), delivered("P1"))
    record(opened, claim(opened), PermanentFailure(reason=Reason.FORBIDDEN, detail="no"))
    opened.did(Deed(who=Who(name="a", role=Role.ADMIN, how=How.TOKEN), action="pause", what="account pd"))
    now = opened.time()
    over = now + timedelta(hours=1)
    quiet = Silence(id=opened.new_id(), match={"title": "x"}, starts_at=now, ends_at=over, author="a", reason="b")
    opened.silence_added(quiet)
    yield opened
    opened.close()


def operations() -> Iterator[tuple[str, str, Any]]:
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def test_every_route_is_described_and_nothing_else_is(ledger: Ledger) -> None:
    app = web_app(ledger)
    served = {
        (re.sub(r"<(?:\w+(?:\([^)]*\))?:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if not rule.endpoint.startswith("ui.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS" if rule.endpoint != "receiver.introduce" else ""}
    }
    assert {(path, method) for path, method, _ in operations()} == served


def answers(ledger: Ledger) -> Iterator[tuple[str, Any, Any]]:
    """Every path that is read, with its description and a real answer; also of things that are not there."""
    ids = {
        "event_id": ledger.events(EventQuery(limit=1)).items[0]["id"],
        "incident_id": ledger.incidents(limit=1).items[0]["id"],
        "delivery_id": ledger.deliveries(state="dead", limit=1).items[0]["id"],
        "silence_id": ledger.silences(limit=1).items[0]["id"],
    }
    browser = Browser(web_app(ledger))
    for path, method, operation in operations():
        if method == "get":
            yield path, operation, browser.get(re.sub(r"\{(\w+)\}", lambda found: ids[found[1]], path))
            if "{" in path:
                yield path, operation, browser.get(re.sub(r"\{\w+\}", "nothing", path))
            if any(one["name"] == "limit" for one in operation.get("parameters", ())):
                yield path, operation, browser.get(path + "?limit=0")
                yield path, operation, browser.get(path + "?limit=1")
    letter = ids["delivery_id"]
    for path, sent in (
        ("/api/v1/lanes/{account}/{action}", {}),
        ("/api/v1/deliveries/{delivery_id}/discard", {}),
        ("/api/v1/deliveries/{delivery_id}/replay", {}),
        ("/api/v1/deliveries/{delivery_id}/discard", {"reason": "a drill"}),
        ("/api/v1/reload", {"dry_run": True}),
        ("/api/v1/silences", {"match": {"title": "x"}}),
        ("/api/v1/incidents/{incident_id}/{action}", {}),
        ("/api/v1/incidents/{incident_id}/{action}", {}),
    ):
        action = "detach" if "incidents" in path else "pause"
        real = path.format(account="pd", action=action, delivery_id=letter, incident_id=ids["incident_id"])
        yield path, DOCUMENT["paths"][path]["post"], browser.api(real, **sent)


def test_real_answers_are_what_the_document_says(ledger: Ledger) -> None:
    seen = 0
    for path, operation, answer in answers(ledger):
        described = operation["responses"].get(str(answer.status_code))
        assert described is not None, (path, answer.status_code)
        (media,) = described["content"]
        assert answer.mimetype == media, path
        if media == "application/json":
            schema = {**described["content"][media]["schema"], "components": DOCUMENT["components"]}
            problems = [error.message for error in Draft202012Validator(schema).iter_errors(answer.get_json())]
            assert problems == [], path
        seen += 1
    assert seen > 20


def unnamed(schema: Any, value: Any, place: str) -> Iterator[str]:
    """Where an answer has a key that its schema does not name."""
    while "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if isinstance(value, dict) and "additionalProperties" not in schema:
        for name, inside in value.items():
            if name in schema.get("properties", {}):
                yield from unnamed(schema["properties"][name], inside, f"{place}.{name}")
            elif "type" in schema:  # a schema without one is of anything
                yield f"{place}.{name}"
    elif isinstance(value, list):
        for one in value:
            yield from unnamed(schema.get("items", {}), one, f"{place}[]")


def test_real_answers_have_no_key_that_the_document_does_not_name(ledger: Ledger) -> None:
    """A client that a generator made of it cannot ask for a key that it has never heard of."""
    found = {
        place
        for path, operation, answer in answers(ledger)
        if answer.mimetype == "application/json"
        for place in unnamed(
            operation["responses"][str(answer.status_code)]["content"]["application/json"]["schema"],
            answer.get_json(),
            path,
        )
    }
    assert found == set()


def schemas_in(value: Any) -> Iterator[Any]:
    """Every mapping of the document, at any depth."""
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from schemas_in(one)


def test_no_object_within_another_is_called_as_one_that_has_a_name() -> None:
    """datamodel-code-generator calls an object after its property, and makes one class of two of a name."""
    named = DOCUMENT["components"]["schemas"]
    found = {
        name
        for one in schemas_in(DOCUMENT)
        for name, inner in one.get("properties", {}).items()
        if isinstance(inner, dict) and "properties" in inner.get("items", inner)
    }
    assert "upstream" in found
    singular = {re.sub("s$", "", re.sub("ies$", "y", name)) for name in found}
    assert {name.title().replace("_", "") for name in found | singular} & named.keys() == set()


def test_an_object_of_unknown_keys_says_so() -> None:
    """Generators of typed clients read an object without any as one that must stay empty: no silence could be sent."""
    objects = [one for one in schemas_in(DOCUMENT) if "object" in one.get("type", ())]
    assert [one for one in objects if not one.get("properties") and "additionalProperties" not in one] == []


@pytest.mark.parametrize(
    ("path", "name"),
    [("events", "state"), ("events", "outcome"), ("incidents", "state"), ("deliveries", "state")],
)
def test_the_states_to_filter_by_are_named(ledger: Ledger, path: str, name: str) -> None:
    """Nothing is in a state that does not exist: who asks for `Dead` letters gets an empty list, whatever is dead."""
    operation = DOCUMENT["paths"][f"/api/v1/{path}"]["get"]
    described = next(one["schema"] for one in operation["parameters"] if one["name"] == name)
    browser = Browser(web_app(ledger))
    whole = browser.get(f"/api/v1/{path}").get_json()["items"]
    found = [browser.get(f"/api/v1/{path}?{name}={known}").get_json()["items"] for known in described["enum"]]
    assert sorted(one["id"] for items in found for one in items) == sorted(one["id"] for one in whole)


def test_an_action_of_a_path_is_one_of_those_there_are(ledger: Ledger) -> None:
    served = {rule.rule: rule for rule in web_app(ledger).url_map.iter_rules() if re.match("/api/.*<any", rule.rule)}
    assert len(served) == 2
    for rule in served:
        known = re.findall(r"\w+", re.search(r"<any\(([^)]*)\)", rule)[1])  # type: ignore[index]
        path = re.sub(r"<(?:any\([^)]*\):)?(\w+)>", r"{\1}", rule)
        parameters = DOCUMENT["paths"][path]["post"]["parameters"]
        assert next(one["schema"]["enum"] for one in parameters if one["name"] == "action") == known


def test_an_empty_age_is_the_usual_one_as_with_every_other_filter(ledger: Ledger) -> None:
    assert Browser(web_app(ledger)).get("/api/v1/rules/shadow?since=").status_code == 200


def test_lists_in_the_answers_are_not_empty(ledger: Ledger) -> None:
    for path, operation, answer in answers(ledger):
        listed = "items" in str(operation["responses"]["200"]) if "200" in operation["responses"] else False
        if listed and answer.status_code == 200 and not path.endswith(("/rules", "/shadow", ".json")):
            assert answer.get_json().get("items", [1]), path


def test_every_schema_is_one_and_every_reference_leads_somewhere() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    text = str(DOCUMENT)
    for name in re.findall(r"#/components/schemas/(\w+)", text):
        assert name in DOCUMENT["components"]["schemas"], name
    unused = [name for name in DOCUMENT["components"]["schemas"] if f"schemas/{name}'" not in text]
    assert unused == []


def test_the_document_keeps_the_rules_of_openapi() -> None:
    """OpenAPI 3.1.0: required keys, unique operation ids, each path parameter declared, each status described."""
    assert DOCUMENT["openapi"] == "3.1.0"
    assert {"title", "version"} <= DOCUMENT["info"].keys()
    ids = []
    for path, method, operation in operations():
        assert path.startswith("/")
        assert method in METHODS
        ids.append(operation["operationId"])
        assert re.fullmatch(r"[a-z_0-9]+", operation["operationId"])
        assert operation["summary"].endswith(".")
        parameters = operation.get("parameters", [])
        assert len({(one["name"], one["in"]) for one in parameters}) == len(parameters)
        in_path = {one["name"] for one in parameters if one["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", path))
        assert all(one["required"] for one in parameters if one["in"] == "path")
        assert all({"name", "in", "schema"} <= one.keys() for one in parameters)
        assert operation["responses"]
        for status, response in operation["responses"].items():
            assert re.fullmatch("[1-5][0-9]{2}", status)
            assert response["description"]
        assert ("requestBody" in operation) == (method in ("post", "put", "patch"))
        for need in operation.get("security", DOCUMENT["security"]):
            assert need.keys() <= DOCUMENT["components"]["securitySchemes"].keys()
    assert len(set(ids)) == len(ids)
    paths = [re.sub(r"\{\w+\}", "{}", path) for path in DOCUMENT["paths"]]
    assert len(set(paths)) == len(paths), "two templates that no client can tell apart"


def test_whoever_may_read_may_read_the_document(ledger: Ledger) -> None:
    answer = Browser(web_app(ledger)).get("/api/v1/openapi.json")
    assert answer.get_json() == DOCUMENT
