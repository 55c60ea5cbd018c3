"""Every request of the golden deliveries is one its upstream's documents allow; conftest.py holds all others to them.

Held to the project's own small schemas (schemas/<type>.json, closed: what the upstreams would silently ignore is an
error here) and, where `--contracts=DIR` has them, to the vendors' whole OpenAPI documents.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from bridge.destinations import DESTINATIONS
from bridge.domain.delivery import HttpRequest
from tests.contract.test_destinations import ACCOUNTS, cases
from tests.contracts import DOCUMENTS, SCHEMAS, call_of, official, own, problems

ROOT = Path(__file__).parents[2]
OWN = sorted(path.stem for path in SCHEMAS.glob("*.json") if path.stem in DESTINATIONS)


def requests_of(of: str) -> Iterator[HttpRequest]:
    """Every golden request to this destination that carries something."""
    for account, delivery, lists in cases():
        request = account.request_for(delivery, lists)
        if account.type == of and request.body is not None:
            yield request


@pytest.mark.parametrize("of", OWN)
def test_every_request_holds_to_our_own_schema_and_every_call_of_it_is_made(of: str) -> None:
    made = set()
    for request in requests_of(of):
        assert problems(own(of), request) == []
        made.add(call_of(request, own(of)))
    assert made == own(of).keys()


@pytest.mark.parametrize("of", OWN)
def test_every_field_of_our_own_schema_is_sent_by_some_golden_delivery(of: str) -> None:
    sent = {shown(call_of(r, own(of)), path) for r in requests_of(of) for path in paths_in(json.loads(r.body or b""))}
    for call, validator in own(of).items():
        known = {shown(call, path) for path in paths_of(validator.schema, validator.schema["$defs"])}
        assert known - sent == set()


def shown(call: str, path: tuple[str, ...]) -> tuple[str, ...]:
    """A field, of its call; what is deeper counts in whichever call it stands, for several share its schema."""
    return (call, *path) if len(path) <= 2 else path[-2:]


def paths_in(value: Any) -> Iterator[tuple[str, ...]]:
    """The path of every key in a document, elements of lists without their number."""
    if isinstance(value, list):
        for item in value:
            yield from paths_in(item)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield (name,)
            yield from ((name, *rest) for rest in paths_in(inner))


def paths_of(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The path of every key that a schema knows."""
    while "$ref" in schema:
        schema = defs[schema["$ref"].rpartition("/")[2]]
    if "items" in schema:
        yield from paths_of(schema["items"], defs)
    for name, inner in schema.get("properties", {}).items():
        yield (name,)
        yield from ((name, *rest) for rest in paths_of(inner, defs))


WRAPPERS = ("incident", "note")  # keys of a body that hold its fields


@pytest.mark.parametrize("of", OWN)
def test_the_readme_names_every_field_of_every_call_with_a_test(of: str) -> None:
    readme = (ROOT / "bridge" / "README.md").read_text(encoding="utf-8")
    table = readme.partition(f"<!-- calls {of} -->")[2].partition(f"<!-- /calls {of} -->")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.strip().splitlines()[2:]]
    told, call = [], ""
    for named, name, key, test in rows:
        call = named.strip("`") or call
        told.append((call, name.strip("`")))
        text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob(test.strip("`")))
        rule_key = re.findall(r"[a-z_]+", re.findall(r"`([^`]+)`", key)[0] if "`" in key else key)[-1]
        assert name.strip("`").rstrip("s") in text or rule_key in text or test == "`test_contracts.py`", (call, name)
        assert key
    sent = {(call, field) for call, validator in own(of).items() for field in fields_of(validator)}
    assert sorted(told) == sorted(sent)


def fields_of(validator: Draft202012Validator) -> set[str]:
    """The fields of one call: the keys of its body, and for those that only hold the others, what they hold."""
    paths = list(paths_of(validator.schema, validator.schema["$defs"]))
    inside = {path[1] for path in paths if len(path) == 2 and path[0] in WRAPPERS}
    return inside | {path[0] for path in paths if len(path) == 1 and path[0] not in WRAPPERS}


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("POST /incidents", {"incident": {"type": "incident", "title": "t", "incident_key": "k"}}),
        ("PUT /incidents/{id}", {"incident": {"type": "incident_reference", "tilte": "misspelt"}}),
        ("PUT /incidents/{id}", {"incident": {"type": "incident_reference"}}),
        ("PUT /incidents/{id}", {"incident": {"type": "incident_reference", "urgency": "high", "resolution": "r"}}),
        ("PUT /incidents/{id}", {"incident": {"type": "incident_reference", "escalation_level": 0}}),
        ("POST /incidents/{id}/notes", {"note": {"content": ""}}),
    ],
)
def test_pagerdutys_schema_refuses_what_pagerduty_would_refuse_or_ignore(call: str, body: Any) -> None:
    assert not own("pagerduty")[call].is_valid(body)


@pytest.mark.parametrize("of", sorted(DESTINATIONS))
def test_every_request_is_one_the_vendors_own_document_allows(of: str, request: pytest.FixtureRequest) -> None:
    folder = request.config.getoption("--contracts")
    if folder is None:
        pytest.skip("no OpenAPI documents: give them with --contracts=DIR")
    schemas = official(Path(folder) / DOCUMENTS[of])
    found = [problem for made in requests_of(of) for problem in problems(schemas, made)]
    assert found == []
    assert ACCOUNTS[of].type == of


NEW = {"idempotency_key": "k", "visibility": "public"}


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("POST /v2/incidents", {"idempotency_key": "k"}),
        ("POST /v2/incidents", {**NEW, "mode": "real"}),
        ("POST /v2/incidents", {**NEW, "source_message_channel_id": "C1"}),
        ("POST /v2/incidents", {**NEW, "retrospective_incident_options": {"external_id": 1}}),
        ("POST /v2/incidents", {**NEW, "custom_field_entries": [{"custom_field_id": "F", "values": [{}]}]}),
        (
            "POST /v2/incidents",
            {**NEW, "custom_field_entries": [{"custom_field_id": "F", "values": [{"value_numeric": 5}]}]},
        ),
        ("POST /v1/incidents", {**NEW, "mode": "standard"}),
        ("POST /v1/incidents", {**NEW, "status": "paused"}),
        ("POST /v1/incidents", {**NEW, "incident_status_id": "S"}),
        ("POST /v2/incidents/{id}/actions/edit", {"incident": {"name": "n"}}),
        (
            "POST /v2/incidents/{id}/actions/edit",
            {"incident": {"visibility": "public"}, "notify_incident_channel": True},
        ),
    ],
)
def test_incident_ios_schema_refuses_what_incident_io_would_refuse_or_ignore(call: str, body: Any) -> None:
    assert not own("incident_io")[call].is_valid(body)
