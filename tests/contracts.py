"""What the upstreams' documents allow: the project's own small schemas, and the vendors' whole OpenAPI documents."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from jsonschema import Draft4Validator, Draft202012Validator

from bridge.destinations import DESTINATIONS
from bridge.domain.delivery import Delivery, HttpRequest

SCHEMAS = Path(__file__).parent / "contract" / "schemas"
DOCUMENTS = {"pagerduty": "pagerduty.openapi.json", "incident_io": "incidentio.openapi.json"}


def call_of(request: HttpRequest, known: Mapping[str, Any], base_url: str = "") -> str:
    """Which of the known calls (`PUT /incidents/{id}`) a request is."""
    path = request.url.removeprefix(base_url).partition("?")[0] if base_url else urlsplit(request.url).path
    asked = f"{request.method} {path}"
    found = [call for call in known if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", call), asked)]
    assert len(found) == 1, f"{asked} is not one of {sorted(known)}"
    return found[0]


@cache
def own(of: str) -> Mapping[str, Draft202012Validator]:
    """The project's own schema of every call to a destination."""
    content = json.loads((SCHEMAS / f"{of}.json").read_text(encoding="utf-8"))
    return {
        call: Draft202012Validator({"$defs": content.get("$defs", {}), **schema})
        for call, schema in content["calls"].items()
    }


@cache
def official(document: Path) -> Mapping[str, Draft4Validator]:
    """The schema of every call with a body in an OpenAPI 3.0 document, whose schemas are draft 4 but for extensions."""
    content = json.loads(document.read_text(encoding="utf-8"))
    return {
        f"{method.upper()} {path}": Draft4Validator(
            {**operation["requestBody"]["content"]["application/json"]["schema"], "components": content["components"]}
        )
        for path, operations in content["paths"].items()
        for method, operation in operations.items()
        if isinstance(operation, dict) and "application/json" in operation.get("requestBody", {}).get("content", {})
    }


def problems(schemas: Mapping[str, Any], request: HttpRequest, base_url: str = "") -> list[str]:
    """What a schema says against a request that carries something."""
    assert request.body is not None
    errors = schemas[call_of(request, schemas, base_url)].iter_errors(json.loads(request.body))
    return [f"{request.method} {request.url} {error.json_path}: {error.message}" for error in errors]


@contextmanager
def every_request_checked(documents: Path | None) -> Iterator[None]:
    """Meanwhile a request that any destination of this process builds must be one that is allowed."""
    with pytest.MonkeyPatch.context() as patch:
        for of, kind in DESTINATIONS.items():
            held = [own(of)] + ([official(documents / DOCUMENTS[of])] if documents is not None else [])
            patch.setattr(kind, "request_for", _checked(kind.request_for, held))
        yield


def _checked(build: Any, held: list[Mapping[str, Any]]) -> Any:
    def request_for(self: Any, delivery: Delivery, lists: Mapping[str, tuple[Any, ...]]) -> HttpRequest:
        request: HttpRequest = build(self, delivery, lists)
        if request.body is not None:
            assert [told for schemas in held for told in problems(schemas, request, self.base_url)] == []
        return request

    return request_for
