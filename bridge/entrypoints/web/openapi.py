"""The OpenAPI document of the API: made from one table, which tests hold to the routes and to real answers.

A new route gets a line in OPERATIONS (a module of its own may add its lines: `OPERATIONS` of `document`'s callers are
joined), and, when its answer has a shape that is new, a schema in openapi_schemas.SCHEMAS.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bridge import __version__
from bridge.domain.decision import Outcome
from bridge.entrypoints.web.incident_actions import ACTIONS as INCIDENT_ACTIONS
from bridge.entrypoints.web.openapi_schemas import (
    DELIVERY_STATE,
    EVENT_STATE,
    INCIDENT_STATE,
    SCHEMAS,
    Schema,
    an_object,
    many,
    maybe,
    ref,
    text,
)

LIMIT_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path. `answer` names a schema, `listed`: of the items of a list; None: text."""

    method: str
    path: str  # as OpenAPI writes it: /api/v1/events/{event_id}
    about: str
    answer: str | None = None
    listed: bool = False
    filters: tuple[str, ...] = ()  # keys of PARAMETERS
    beside: str | None = None  # of a list that says one thing more: a key of BESIDE
    body: str | None = None  # names a schema
    media: str = "application/json"
    statuses: tuple[int, ...] = ()  # beyond those that every operation of its kind has: _statuses


PARAMETERS: Mapping[str, Schema] = {  # the first word of a key is the name; what follows tells apart two of one name
    "limit": {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": 50},
    "before": text("`next` of the page before.", pattern="^([0-7][0-9A-HJKMNP-TV-Z]{25})?$"),
    "source": text("Only of this source."),
    "state event": {"description": "Only in this state.", **EVENT_STATE},
    "state incident": {"description": "Only in this state.", **INCIDENT_STATE},
    "state delivery": {"description": "Only in this state.", **DELIVERY_STATE},
    "rule": text("Only with an alert that this rule decided."),
    "outcome": {"description": "Only with an alert of this outcome.", "enum": [one.value for one in Outcome]},
    "q": text("An id, a fingerprint, a key, or words of a title."),
    "until": text("As since: nothing newer."),
    "label": text("Only with an alert that has this label: name, or name=value."),
    "since": text("A time such as 2026-01-31T08:00:00Z, or an age such as 24h."),
    "since age": text("An age such as 24h or 7d, 90d at most.", default="7d"),
    "account": text("Only of this account."),
    "incident": text("Only of this incident."),
    "actor": text("Only what this user, token or system user did."),
    "action": text("Only this action."),
}
PAGING = ("limit", "before")
BESIDE: Mapping[str, Schema] = {"book": ref("Book")}
IN_PATHS: Mapping[str, Schema] = {  # what a part of a path may be, where that is not just any id
    "/api/v1/incidents/{incident_id}/{action}": {"enum": [*INCIDENT_ACTIONS]},
    "/api/v1/lanes/{account}/{action}": {"enum": ["pause", "resume"]},
}
OPERATIONS: tuple[Operation, ...] = (
    Operation(
        method="get", path="/api/v1/events", about="Webhooks, newest first.", answer="Event", listed=True,
        filters=("source", "state event", "rule", "outcome", "account", "label", "q", "since", "until", *PAGING),
    ),
    Operation(method="get", path="/api/v1/events/{event_id}", about="One webhook whole.", answer="EventWhole"),
    Operation(
        method="get", path="/api/v1/incidents", about="Incidents, newest first.", answer="Incident", listed=True,
        filters=("state incident", "account", *PAGING),
    ),
    Operation(method="get", path="/api/v1/incidents/{incident_id}", about="One incident.", answer="IncidentWhole"),
    Operation(
        method="get", path="/api/v1/deliveries", about="Deliveries, newest first.", answer="Delivery", listed=True,
        filters=("state delivery", "account", "incident", *PAGING),
    ),
    Operation(method="get", path="/api/v1/deliveries/{delivery_id}", about="One delivery.", answer="DeliveryWhole"),
    Operation(method="get", path="/api/v1/lanes", about="Every account's lane.", answer="Lane", listed=True),
    Operation(
        method="get", path="/api/v1/rules", about="The rules in force.", answer="Rule", listed=True, beside="book",
    ),
    Operation(
        method="get", path="/api/v1/rules/shadow", about="What rules in shadow mode would have done.",
        answer="ShadowRule", listed=True, filters=("since age",),
    ),
    Operation(
        method="post", path="/api/v1/reload", about="Check, test and take the rules as they are on disk.",
        answer="Reloaded", body="Reload", statuses=(409, 422),
    ),
    Operation(
        method="get", path="/api/v1/silences", about="Silences; those that hold or will come first.",
        answer="Silence", listed=True, filters=PAGING,
    ),
    Operation(method="get", path="/api/v1/silences/{silence_id}", about="One silence.", answer="Silence"),
    Operation(
        method="post", path="/api/v1/silences", about="Add a silence; 201.", answer="Silence", body="SilenceDraft",
        statuses=(201,),
    ),
    Operation(
        method="post", path="/api/v1/silences/preview", about="Try a silence over the last 24 hours.",
        answer="SilencePreview", body="Matching",
    ),
    Operation(method="delete", path="/api/v1/silences/{silence_id}", about="End a silence now.", answer="Silence"),
    Operation(
        method="post", path="/api/v1/incidents/{incident_id}/{action}", about="resolve, detach, resend or note.",
        answer="IncidentChanged", body="IncidentSaid", statuses=(409,),
    ),
    Operation(
        method="get", path="/api/v1/audit", about="Who did what, newest first.", answer="Entry", listed=True,
        filters=("actor", "action", *PAGING),
    ),
    Operation(method="get", path="/api/v1/openapi.json", about="This document.", answer="Document"),
    Operation(
        method="post", path="/api/v1/deliveries/{delivery_id}/replay", about="Send a dead letter again.",
        answer="Changed", body="Nothing", statuses=(409,),
    ),
    Operation(
        method="post", path="/api/v1/deliveries/{delivery_id}/discard", about="Put a dead letter aside.",
        answer="Changed", body="Reason", statuses=(409,),
    ),
    Operation(
        method="post", path="/api/v1/lanes/{account}/{action}", about="pause or resume an account's lane.",
        answer="LaneChanged", body="Nothing",
    ),
    Operation(method="get", path="/healthz", about="Whether the web process lives.", answer="Status"),
    Operation(method="get", path="/readyz", about="Whether everything is there.", answer="Status", statuses=(503,)),
    Operation(method="get", path="/metrics", about="Numbers for Prometheus.", media="text/plain"),
    Operation(
        method="post", path="/webhooks/{name}", about="A sender's webhook, in its own format; 202: on disk.",
        answer="Accepted", body="Webhook", statuses=(202, 408, 413, 415, 503),
    ),
    Operation(method="options", path="/webhooks/{name}", about="What a sender asks first.", media="text/plain"),
)  # fmt: skip
_OPEN = ("/healthz", "/readyz", "/webhooks/")


def document(operations: Iterable[Operation] = OPERATIONS, schemas: Mapping[str, Schema] = SCHEMAS) -> Schema:
    """The document, OpenAPI 3.1."""
    paths: dict[str, Schema] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method] = _operation(one)
    about = "Incident Bridge: what came in, what became of it, and the actions that mend things."
    return {
        "openapi": "3.1.0",
        "info": {"title": "Incident Bridge", "version": __version__, "description": about},
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"password": []}, {"session": [], "csrf": []}],
        "paths": paths,
        "components": {
            "schemas": dict(schemas),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "ui.tokens"},
                "password": {"type": "http", "scheme": "basic", "description": "ui.auth, ui.users"},
                "session": {"type": "apiKey", "in": "cookie", "name": "session", "description": "The pages' login."},
                "csrf": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-CSRFToken",
                    "description": "csrf-token of a page.",
                },
            },
        },
    }


def _operation(one: Operation) -> Schema:
    words = [part.strip("{}") for part in one.path.replace("/api/v1", "").split("/") if part]
    made: Schema = {
        "summary": one.about,
        "operationId": "_".join([one.method, *words]).replace(".", "_").replace("-", "_"),
        "responses": {str(status): _response(one, status) for status in sorted(_statuses(one))},
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _of_path(one.path, name)}
        for name in (part[1:-1] for part in one.path.split("/") if part.startswith("{"))
    ]
    parameters += [
        {
            "name": name.split()[0],
            "in": "query",
            "description": PARAMETERS[name].get("description", name),
            "schema": PARAMETERS[name],
        }
        for name in one.filters
    ]
    if parameters:
        made["parameters"] = parameters
    if one.body is not None:
        content = {"application/json": {"schema": ref(one.body)}}
        made["requestBody"] = {"required": True, "content": content}
    if one.path.startswith(_OPEN):
        made["security"] = [{}]
    return made


def _of_path(path: str, name: str) -> Schema:
    return {"type": "string", **IN_PATHS.get(path if name == "action" else "", {})}


def _statuses(one: Operation) -> set[int]:
    is_made = any(status < 300 for status in one.statuses)  # 201 or 202, and no 200
    statuses = {*one.statuses} if is_made else {200, *one.statuses}
    if one.path not in ("/healthz", "/readyz") and one.method != "options":
        statuses |= {401} if one.path.startswith("/webhooks/") else {401, 403}
    if "{" in one.path:
        statuses.add(404)
    if one.filters or one.body is not None:
        statuses.add(400)
    if 403 in statuses:
        statuses |= {429, 503}  # too many wrong passwords; the ledger does not answer
    if one.body is not None:
        statuses |= {413, 415}
    return statuses


def _response(one: Operation, status: int) -> Schema:
    if status >= 400 and one.path != "/readyz" and not (status == 422 and one.answer is not None):
        return {
            "description": "A sentence on what went wrong.",
            "content": {"application/json": {"schema": ref("Error")}},
        }
    if one.answer is None:
        return {"description": one.about, "content": {one.media: {"schema": {"type": "string"}}}}
    schema = ref(one.answer)
    if one.listed:
        schema = an_object(
            "A page of a list.",
            {
                "items": many(schema, "The items."),
                "next": maybe("string", "`before` of the next page; null: there is none."),
                "note": maybe("string", "What the list does not cover."),
            },
            optional=("note",),
        )
        if one.beside is not None:
            schema["properties"][one.beside] = BESIDE[one.beside]
            schema["required"].append(one.beside)
    return {"description": one.about, "content": {one.media: {"schema": schema}}}
