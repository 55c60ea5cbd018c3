"""The OpenAPI document of the API: made from one table, which tests hold to the routes and to real answers.

A new route gets a line in OPERATIONS (a module of its own may add its lines: `OPERATIONS` of `document`'s callers are
joined), and, when its answer has a shape that is new, a schema in SCHEMAS.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge import __version__
from bridge.domain.access import How, Role
from bridge.domain.alert import Severity
from bridge.domain.decision import Mode, Outcome
from bridge.domain.delivery import Action, DeliveryState
from bridge.domain.errors import Grade
from bridge.domain.incident import IncidentState
from bridge.entrypoints.reloading import State
from bridge.entrypoints.web.incident_actions import ACTIONS as INCIDENT_ACTIONS

Schema = dict[str, Any]
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


def _text(about: str, **more: Any) -> Schema:
    return {"type": "string", "description": about, **more}


def _maybe(kind: str, about: str, **more: Any) -> Schema:
    return {"type": [kind, "null"], "description": about, **more}


def _object(about: str, properties: Mapping[str, Schema], *, optional: Iterable[str] = ()) -> Schema:
    wanted = sorted(set(properties) - set(optional))
    return {"type": "object", "description": about, "required": wanted, "properties": dict(properties)}


def _open(about: str) -> Schema:
    """Any keys. Said in so many words, for some generators read an object of no known keys as one that has none."""
    return {"type": "object", "description": about, "additionalProperties": True}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _many(items: Schema, about: str) -> Schema:
    return {"type": "array", "items": items, "description": about}


_INSTANT: Schema = {"type": "string", "format": "date-time"}
_SOMETIME: Schema = {"type": ["string", "null"], "format": "date-time"}
_ID = _text("A ULID: sorts by time.")
_COUNT: Schema = {"type": "integer", "minimum": 0}
_OF_PROBLEMS = ("episode", "reported_at", "severity", "description", "labels", "links", "starts_at", "ends_at")
_TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_LINES: Schema = {"type": "array", "items": {"type": "string"}}
_SEVERITY: Schema = {"enum": [one.value for one in Severity]}
_ALERT_STATE: Schema = {"enum": ["firing", "acknowledged", "resolved", None]}
_EVENT = {
    "id": _ID,
    "source": _text("The configured sender."),
    "received_at": _INSTANT,
    "state": {"enum": ["accepted", "rejected"]},
    "reason": _maybe("string", "Of a rejection; or how a call that the event asked for ended."),
    "alerts": _COUNT,
}
_DELIVERY = {
    "id": _ID,
    "incident": _ID,
    "account": _text("The configured destination."),
    "action": {"enum": [one.value for one in Action]},
    "state": {"enum": [one.value for one in DeliveryState]},
    "reason": _maybe("string", "Why it waits or ended so."),
    "detail": _maybe("string", "The upstream's own words, as a rule."),
    "attempts": _COUNT,
    "created_at": _INSTANT,
    "next_at": _SOMETIME,
    "eta_s": _maybe("number", "Seconds until it may go."),
    "done_at": _SOMETIME,
}
_NOTES: Schema = {**_LINES, "description": "What fell back when it was rendered, and when its names were looked up."}
_INCIDENT = {
    "id": _ID,
    "account": _text("The configured destination."),
    "series": _text("What is broken, as a hash."),
    "key": _text("The key at the upstream."),
    "state": {"enum": [one.value for one in IncidentState]},
    "severity": _SEVERITY,
    "title": _text("As the rule rendered it."),
    "rule": _text("The rule that opened it."),
    "reason": _maybe("string", "Why it ended so."),
    "carrier": _maybe("string", "The incident it is folded into."),
    "folded": _COUNT,
    "upstream": _object(
        "Where it is upstream.", {"id": _maybe("string", "Its id."), "url": _maybe("string", "Its page.")}
    ),
    "opened_at": _INSTANT,
    "resolved_at": _SOMETIME,
    "quiet_until": _SOMETIME,
    "stands_for": _maybe("string", "The incident it is plan B of."),
    "members": _many(_ref("Member"), "The problems in it."),
    "plan_b": {
        **_object("The incident that stands for it elsewhere.", {"incident": _ID, "account": _text("Where.")}),
        "type": ["object", "null"],
    },
}
SCHEMAS: Mapping[str, Schema] = {
    "Error": _object(
        "What went wrong, as a sentence.",
        {
            "error": _text("The sentence."),
            "problems": _many({"type": "string"}, "Of a silence: each thing that is wrong."),
            "event": _text("Of a webhook that was kept as rejected: its id."),
        },
        optional=("problems", "event"),
    ),
    "Event": _object("One accepted or rejected webhook.", _EVENT),
    "EventWhole": _object(
        "One webhook with what was decided about it.",
        {
            **_EVENT,
            "alerts": _many(_ref("Alert"), "The alerts in it."),
            "book": _maybe("string", "Hash of the rule book that decided it."),
            "headers": {**_TEXTS, "description": "Without credentials."},
            "body": _maybe("string", "As text; null once retention let go of it."),
            "body_bytes": _COUNT,
        },
    ),
    "Alert": _object(
        "One alert of an event, with its decisions; of a mere message (status: null) less is known.",
        {
            "source": _text("The configured sender."),
            "source_type": _text("Its type."),
            "fingerprint": _maybe("string", "Identity of the problem within the source."),
            "episode": _maybe("string", "What tells one occurrence of the problem from the next."),
            "status": _ALERT_STATE,
            "severity": {"enum": [*_SEVERITY["enum"], None]},
            "title": _text("One line."),
            "description": _text("Everything else there is to say."),
            "labels": {**_TEXTS, "description": "Names and values."},
            "links": _many(_object("A page about it.", {"text": _text("What."), "href": _text("Where.")}), "Pages."),
            "reported_at": _SOMETIME,
            "starts_at": _SOMETIME,
            "ends_at": _SOMETIME,
            "payload": {"description": "The part of the body it was read from; null once that is gone."},
            "decisions": _many(_ref("Decision"), "One per matching rule."),
            "rule": _maybe("string", "Of the first decision."),
            "outcome": {"enum": [one.value for one in Outcome]},
            "incident": _maybe("string", "Of the first decision."),
            "trace": _many(_ref("Tried"), "The rules tried, in their order."),
        },
        optional=_OF_PROBLEMS,
    ),
    "Decision": _object(
        "What one rule made of an alert.",
        {
            "rule": _maybe("string", "The rule."),
            "account": _maybe("string", "Where it goes."),
            "outcome": {"enum": [one.value for one in Outcome]},
            "reason": _maybe("string", "Why, in words."),
            "incident": _maybe("string", "Its incident."),
            "parts": _many({}, "What the series is made of."),
            "series": _maybe("string", "What is broken, as a hash."),
        },
        optional=("parts",),
    ),
    "Tried": _object(
        "One rule that was tried on an alert.",
        {
            "rule": _text("Its id."),
            "matched": {"type": "boolean"},
            "failed": {
                **_object(
                    "The condition that said no, with what it wanted and what it found.",
                    {"condition": _text("Which."), "wanted": {}, "actual": {}},
                ),
                "type": ["object", "null"],
            },
        },
    ),
    "Member": _object(
        "One problem in an incident.",
        {
            "source": _text("The configured sender."),
            "fingerprint": _text("Identity of the problem within the source."),
            "status": {"enum": ["firing", "resolved"]},
            "severity": _SEVERITY,
            "title": _text("One line."),
            "joined_at": _INSTANT,
            "left_at": _SOMETIME,
        },
    ),
    "Incident": _object("One episode of a series.", _INCIDENT),
    "IncidentWhole": _object(
        "One incident with everything that was told of it.",
        {
            **_INCIDENT,
            "previous": _maybe("string", "The incident of the same problem before it."),
            "next": _maybe("string", "The one after it."),
            "folded_incidents": _many(_ref("Folded"), "What it carries."),
            "deliveries": _many(_ref("Told"), "What was told, oldest first."),
        },
    ),
    "Folded": _object(
        "An incident that another one carries.",
        {
            "id": _ID,
            "title": _text("As the rule rendered it."),
            "severity": _SEVERITY,
            "state": _INCIDENT["state"],
            "rule": _text("The rule that opened it."),
            "firing": _COUNT,
        },
    ),
    "Told": _object("One thing that an upstream was told of an incident.", {**_DELIVERY, "notes": _NOTES}),
    "Delivery": _object("One thing to tell an upstream.", {**_DELIVERY, "title": _text("Of its incident.")}),
    "DeliveryWhole": _object(
        "One delivery with what it sends and every attempt.",
        {
            **_DELIVERY,
            "request": _object(
                "What it sends.",
                {
                    "key": _text("Its key."),
                    "fields": _open("As the rule rendered them."),
                    "names": _many({}, "Names to look up."),
                    "ids": _open("Names that were looked up, and their ids."),
                    "notes": _NOTES,
                },
            ),
            "attempts": _many(_ref("Attempt"), "Every call, oldest first."),
        },
    ),
    "Attempt": _object(
        "One HTTP call.",
        {
            "at": _INSTANT,
            "call": _text("Method and path."),
            "status": _maybe("integer", "Of the answer; null: there was none."),
            "reason": _maybe("string", "How it failed; null: it worked."),
            "detail": _maybe("string", "The upstream's own words."),
            "request_id": _maybe("string", "The upstream's name of the call."),
            "duration_s": {"type": "number"},
            "response": _maybe("string", "The first 4 KiB of the answer."),
        },
    ),
    "Lane": _object(
        "The line of deliveries of one account.",
        {
            "account": _text("The configured destination."),
            "type": _text("Its vendor."),
            "rate": _text("As it is configured."),
            "lane": _text("Accounts with one token share a lane."),
            "tokens": _maybe("number", "Creates that may go out at once."),
            "burst": _COUNT,
            "waiting": _COUNT,
            "waiting_by_severity": {"type": "object", "additionalProperties": _COUNT},
            "oldest_wait_s": _maybe("number", "Age of what waits longest."),
            "paused_until": _SOMETIME,
            "parked": _maybe("string", "What holds it back, as a sentence."),
            "held_by": _maybe("string", "The same as a word: paused, failing, auth, ..."),
            "paused": {"type": "boolean", "description": "By a person."},
            "folding": {"type": "boolean", "description": "Creates go out several as one."},
            "dead": _COUNT,
        },
    ),
    "Rule": _object(
        "One rule in force.",
        {
            "id": _text("Its id."),
            "account": _text("Where it goes."),
            "mode": {"enum": [one.value for one in Mode]},
            "file": _text("Where it stands."),
            "line": _COUNT,
        },
    ),
    "Book": _object(
        "The rules in force, as a whole.",
        {
            "hash": _maybe("string", "Of the rule book in force."),
            "taken_at": _SOMETIME,
            "taken_by": _maybe("string", "Who took it."),
            "checked_at": _SOMETIME,
            "here": _maybe("string", "Hash of the rule book this process decides with."),
            "refused": {
                **_object(
                    "The last reload, when it was refused.",
                    {"at": _SOMETIME, "by": _maybe("string", "Who asked."), "problems": _many(_ref("Problem"), "Why.")},
                ),
                "type": ["object", "null"],
            },
            "files_differ": _maybe("boolean", "Whether the files on disk are others."),
            "configuration_changed": _maybe("boolean", "Whether bridge.yaml is another one since the start."),
        },
    ),
    "Problem": _object(
        "One sentence about a file, as `check --json` has it.",
        {
            "file": _text("Which."),
            "line": _COUNT,
            "column": _COUNT,
            "grade": {"enum": [one.value for one in Grade]},
            "message": _text("What is wrong."),
            "hint": _text("What to do."),
        },
    ),
    "Entry": _object(
        "One line of the audit.",
        {
            "id": _ID,
            "at": _INSTANT,
            "actor": _text("A user, a token's name, or a system's user."),
            "role": {"enum": [*(one.value for one in Role), ""], "description": "Empty: a login that failed."},
            "how": {"enum": [one.value for one in How]},
            "action": _text("What was done."),
            "object": _text("To what: a word and an id."),
            "detail": _open("What was said with it, without secrets."),
            "address": _text("From where."),
        },
    ),
    "Changed": _object(
        "A delivery as it is now.", {"delivery": _ID, "state": {"enum": [one.value for one in DeliveryState]}}
    ),
    "LaneChanged": _object(
        "A lane as it is now.",
        {"account": _text("The account."), "lane": _text("Its lane."), "paused": {"type": "boolean"}},
    ),
    "IncidentChanged": _object(
        "An incident as it is now.",
        {"incident": _ID, "state": {"enum": [one.value for one in IncidentState]}},
    ),
    "IncidentSaid": _object(
        "Nothing but what a note says.", {"text": _text("What everybody should know.")}, optional=("text",)
    ),
    "ShadowRule": _object(
        "What one rule in shadow mode would have done.",
        {
            "rule": _text("Its id."),
            "accounts": {**_LINES, "description": "Where it would have gone."},
            "alerts": _COUNT,
            "opened": _COUNT,
            "joined": _COUNT,
            "repeated": _COUNT,
            "resolved": _COUNT,
            "open": _COUNT,
            "really": {
                "type": "object",
                "description": "What became of its alerts under other rules.",
                "additionalProperties": _COUNT,
            },
            "samples": _many(_object("One of the first.", {"event": _ID, "title": _text("One line.")}), "Alerts."),
        },
    ),
    "Reload": _object(
        "What to take.",
        {
            "dry_run": {"type": "boolean", "description": "Only say what would change."},
            "digest": _text("Take only the files that an earlier answer with this digest was about."),
        },
        optional=("dry_run", "digest"),
    ),
    "Reloaded": _object(
        "What became of it: 422 with the same keys when it is refused.",
        {
            "state": {"enum": [one.value for one in State]},
            "book": _maybe("string", "Hash of the rule book in force."),
            "before": _maybe("string", "Hash of the rule book that was in force."),
            "found": _maybe("string", "Hash of what the files say."),
            "digest": _maybe("string", "Of the files; a reload with it takes no others."),
            "problems": _many(_ref("Problem"), "What is wrong."),
            "warnings": _many(_ref("Problem"), "What may be meant otherwise."),
            "tests": _object(
                "The rules' own tests.",
                {"run": _COUNT, "failed": _many({}, "Which."), "never_matched": {**_LINES, "description": "Rules."}},
            ),
            "changes": {**_open("What it changes."), "type": ["object", "null"]},
            "notes": {**_LINES, "description": "What else is to be known."},
            "sentence": _text("The same in words."),
        },
    ),
    "Silence": _object(
        "Alerts that page nobody for a while.",
        {
            "id": _ID,
            "state": {"enum": ["pending", "active", "ended"]},
            "match": _open("Conditions, as in a rule's match."),
            "starts_at": _INSTANT,
            "ends_at": _INSTANT,
            "author": _text("Who answers for it."),
            "reason": _text("Why nobody has to be paged."),
            "criticals": {"type": "boolean", "description": "Whether it hides criticals, too."},
            "created_at": _INSTANT,
            "ended_at": _SOMETIME,
            "ended_by": _maybe("string", "Who ended it before its time."),
            "hidden": _COUNT,
        },
    ),
    "SilenceDraft": _object(
        "A silence as it is asked for; one of `for` and `ends_at`.",
        {
            "match": _open("Conditions, as in a rule's match."),
            "for": _text("A length such as 2h, 30d at most."),
            "ends_at": _INSTANT,
            "starts_at": _INSTANT,
            "author": _text("Who answers for it."),
            "reason": _text("Why nobody has to be paged."),
            "criticals": {"type": "boolean", "description": "Hide criticals, too."},
        },
        optional=("for", "ends_at", "starts_at", "author", "criticals"),
    ),
    "SilencePreview": _object(
        "What a silence would have hidden in the last 24 hours.",
        {
            "alerts": _COUNT,
            "opened": _COUNT,
            "criticals_spared": _COUNT,
            "items": _many(_ref("Hidden"), "The first of them."),
            "note": _maybe("string", "What was not looked at."),
        },
    ),
    "Hidden": _object(
        "An alert that a silence would have hidden.",
        {
            "event": _ID,
            "received_at": _INSTANT,
            "title": _text("One line."),
            "source": _text("The configured sender."),
            "severity": {"enum": [*_SEVERITY["enum"], None]},
            "outcome": {"enum": [one.value for one in Outcome]},
            "rule": _maybe("string", "What decided it."),
        },
    ),
    "Matching": _object(
        "Which alerts.",
        {
            "match": _open("Conditions, as in a rule's match."),
            "criticals": {"type": "boolean", "description": "Hide criticals, too."},
        },
        optional=("criticals",),
    ),
    "Reason": _object("Why.", {"reason": _text("Why nobody has to be told.", minLength=1)}),
    "Status": _object(
        "Alive, ready, or what is missing.",
        {
            "status": {"enum": ["alive", "ready", "not ready"]},
            "missing": _many({"type": "string"}, "What is missing."),
            "rules": _open("When ready: the rule book, since when, and how the last reload ended."),
        },
        optional=("missing", "rules"),
    ),
    "Accepted": _object(
        "On disk.",
        {"event": _ID, "alerts": _COUNT, "duplicate": {"type": "boolean", "description": "A sender's repeat."}},
        optional=("duplicate",),
    ),
    "Nothing": _open("No keys are asked for."),
    "Webhook": {"description": "Whatever the sender sends; of most a JSON object."},
    "Document": _open("This document."),
}
PARAMETERS: Mapping[str, Schema] = {  # the first word of a key is the name; what follows tells apart two of one name
    "limit": {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": 50},
    "before": _text("`next` of the page before.", pattern="^([0-7][0-9A-HJKMNP-TV-Z]{25})?$"),
    "source": _text("Only of this source."),
    "state event": {"description": "Only in this state.", **_EVENT["state"]},
    "state incident": {"description": "Only in this state.", **_INCIDENT["state"]},
    "state delivery": {"description": "Only in this state.", **_DELIVERY["state"]},
    "rule": _text("Only with an alert that this rule decided."),
    "outcome": {"description": "Only with an alert of this outcome.", "enum": [one.value for one in Outcome]},
    "q": _text("An id, a fingerprint, a key, or words of a title."),
    "until": _text("As since: nothing newer."),
    "label": _text("Only with an alert that has this label: name, or name=value."),
    "since": _text("A time such as 2026-01-31T08:00:00Z, or an age such as 24h."),
    "since age": _text("An age such as 24h or 7d, 90d at most.", default="7d"),
    "account": _text("Only of this account."),
    "incident": _text("Only of this incident."),
    "actor": _text("Only what this user, token or system user did."),
    "action": _text("Only this action."),
}
PAGING = ("limit", "before")
BESIDE: Mapping[str, Schema] = {"book": _ref("Book")}
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
        content = {"application/json": {"schema": _ref(one.body)}}
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
            "content": {"application/json": {"schema": _ref("Error")}},
        }
    if one.answer is None:
        return {"description": one.about, "content": {one.media: {"schema": {"type": "string"}}}}
    schema = _ref(one.answer)
    if one.listed:
        schema = _object(
            "A page of a list.",
            {
                "items": _many(schema, "The items."),
                "next": _maybe("string", "`before` of the next page; null: there is none."),
                "note": _maybe("string", "What the list does not cover."),
            },
            optional=("note",),
        )
        if one.beside is not None:
            schema["properties"][one.beside] = BESIDE[one.beside]
            schema["required"].append(one.beside)
    return {"description": one.about, "content": {one.media: {"schema": schema}}}
