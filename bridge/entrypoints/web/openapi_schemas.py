"""What the answers and bodies of the API look like: the schemas of the OpenAPI document, by their names.

Tests hold them to real answers. States, outcomes and severities are those of the domain.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from bridge.domain.access import How, Role
from bridge.domain.alert import Severity
from bridge.domain.decision import Mode, Outcome
from bridge.domain.delivery import Action, DeliveryState
from bridge.domain.errors import Grade
from bridge.domain.incident import IncidentState
from bridge.entrypoints.reloading import State

Schema = dict[str, Any]


def text(about: str, **more: Any) -> Schema:
    return {"type": "string", "description": about, **more}


def maybe(kind: str, about: str, **more: Any) -> Schema:
    return {"type": [kind, "null"], "description": about, **more}


def an_object(about: str, properties: Mapping[str, Schema], *, optional: Iterable[str] = ()) -> Schema:
    wanted = sorted(set(properties) - set(optional))
    return {"type": "object", "description": about, "required": wanted, "properties": dict(properties)}


def any_keys(about: str) -> Schema:
    """Any keys. Said in so many words, for some generators read an object of no known keys as one that has none."""
    return {"type": "object", "description": about, "additionalProperties": True}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def many(items: Schema, about: str) -> Schema:
    return {"type": "array", "items": items, "description": about}


_INSTANT: Schema = {"type": "string", "format": "date-time"}
_SOMETIME: Schema = {"type": ["string", "null"], "format": "date-time"}
_ID = text("A ULID: sorts by time.")
_COUNT: Schema = {"type": "integer", "minimum": 0}
_OF_PROBLEMS = ("episode", "reported_at", "severity", "description", "labels", "links", "starts_at", "ends_at")
_TEXTS: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
_LINES: Schema = {"type": "array", "items": {"type": "string"}}
_SEVERITY: Schema = {"enum": [one.value for one in Severity]}
_ALERT_STATE: Schema = {"enum": ["firing", "acknowledged", "resolved", None]}
EVENT_STATE: Schema = {"enum": ["accepted", "rejected"]}
DELIVERY_STATE: Schema = {"enum": [one.value for one in DeliveryState]}
INCIDENT_STATE: Schema = {"enum": [one.value for one in IncidentState]}
_EVENT = {
    "id": _ID,
    "source": text("The configured sender."),
    "received_at": _INSTANT,
    "state": EVENT_STATE,
    "reason": maybe("string", "Of a rejection; or how a call that the event asked for ended."),
    "alerts": _COUNT,
}
_DELIVERY = {
    "id": _ID,
    "incident": _ID,
    "account": text("The configured destination."),
    "action": {"enum": [one.value for one in Action]},
    "state": DELIVERY_STATE,
    "reason": maybe("string", "Why it waits or ended so."),
    "detail": maybe("string", "The upstream's own words, as a rule."),
    "attempts": _COUNT,
    "created_at": _INSTANT,
    "next_at": _SOMETIME,
    "eta_s": maybe("number", "Seconds until it may go."),
    "done_at": _SOMETIME,
}
_NOTES: Schema = {**_LINES, "description": "What fell back when it was rendered, and when its names were looked up."}
_INCIDENT = {
    "id": _ID,
    "account": text("The configured destination."),
    "series": text("What is broken, as a hash."),
    "key": text("The key at the upstream."),
    "state": INCIDENT_STATE,
    "severity": _SEVERITY,
    "title": text("As the rule rendered it."),
    "rule": text("The rule that opened it."),
    "reason": maybe("string", "Why it ended so."),
    "carrier": maybe("string", "The incident it is folded into."),
    "folded": _COUNT,
    "upstream": an_object(
        "Where it is upstream.", {"id": maybe("string", "Its id."), "url": maybe("string", "Its page.")}
    ),
    "opened_at": _INSTANT,
    "resolved_at": _SOMETIME,
    "quiet_until": _SOMETIME,
    "stands_for": maybe("string", "The incident it is plan B of."),
    "members": many(ref("Member"), "The problems in it."),
    "plan_b": {
        **an_object("The incident that stands for it elsewhere.", {"incident": _ID, "account": text("Where.")}),
        "type": ["object", "null"],
    },
}
SCHEMAS: Mapping[str, Schema] = {
    "Error": an_object(
        "What went wrong, as a sentence.",
        {
            "error": text("The sentence."),
            "problems": many({"type": "string"}, "Of a silence: each thing that is wrong."),
            "event": text("Of a webhook that was kept as rejected: its id."),
        },
        optional=("problems", "event"),
    ),
    "Event": an_object("One accepted or rejected webhook.", _EVENT),
    "EventWhole": an_object(
        "One webhook with what was decided about it.",
        {
            **_EVENT,
            "alerts": many(ref("Alert"), "The alerts in it."),
            "book": maybe("string", "Hash of the rule book that decided it."),
            "headers": {**_TEXTS, "description": "Without credentials."},
            "body": maybe("string", "As text; null once retention let go of it."),
            "body_bytes": _COUNT,
        },
    ),
    "Alert": an_object(
        "One alert of an event, with its decisions; of a mere message (status: null) less is known.",
        {
            "source": text("The configured sender."),
            "source_type": text("Its type."),
            "fingerprint": maybe("string", "Identity of the problem within the source."),
            "episode": maybe("string", "What tells one occurrence of the problem from the next."),
            "status": _ALERT_STATE,
            "severity": {"enum": [*_SEVERITY["enum"], None]},
            "title": text("One line."),
            "description": text("Everything else there is to say."),
            "labels": {**_TEXTS, "description": "Names and values."},
            "links": many(an_object("A page about it.", {"text": text("What."), "href": text("Where.")}), "Pages."),
            "reported_at": _SOMETIME,
            "starts_at": _SOMETIME,
            "ends_at": _SOMETIME,
            "payload": {"description": "The part of the body it was read from; null once that is gone."},
            "decisions": many(ref("Decision"), "One per matching rule."),
            "rule": maybe("string", "Of the first decision."),
            "outcome": {"enum": [one.value for one in Outcome]},
            "incident": maybe("string", "Of the first decision."),
            "trace": many(ref("Tried"), "The rules tried, in their order."),
        },
        optional=_OF_PROBLEMS,
    ),
    "Decision": an_object(
        "What one rule made of an alert.",
        {
            "rule": maybe("string", "The rule."),
            "account": maybe("string", "Where it goes."),
            "outcome": {"enum": [one.value for one in Outcome]},
            "reason": maybe("string", "Why, in words."),
            "incident": maybe("string", "Its incident."),
            "parts": many({}, "What the series is made of."),
            "series": maybe("string", "What is broken, as a hash."),
        },
        optional=("parts",),
    ),
    "Tried": an_object(
        "One rule that was tried on an alert.",
        {
            "rule": text("Its id."),
            "matched": {"type": "boolean"},
            "failed": {
                **an_object(
                    "The condition that said no, with what it wanted and what it found.",
                    {"condition": text("Which."), "wanted": {}, "actual": {}},
                ),
                "type": ["object", "null"],
            },
        },
    ),
    "Member": an_object(
        "One problem in an incident.",
        {
            "source": text("The configured sender."),
            "fingerprint": text("Identity of the problem within the source."),
            "status": {"enum": ["firing", "resolved"]},
            "severity": _SEVERITY,
            "title": text("One line."),
            "joined_at": _INSTANT,
            "left_at": _SOMETIME,
        },
    ),
    "Incident": an_object("One episode of a series.", _INCIDENT),
    "IncidentWhole": an_object(
        "One incident with everything that was told of it.",
        {
            **_INCIDENT,
            "previous": maybe("string", "The incident of the same problem before it."),
            "next": maybe("string", "The one after it."),
            "folded_incidents": many(ref("Folded"), "What it carries."),
            "deliveries": many(ref("Told"), "What was told, oldest first."),
        },
    ),
    "Folded": an_object(
        "An incident that another one carries.",
        {
            "id": _ID,
            "title": text("As the rule rendered it."),
            "severity": _SEVERITY,
            "state": _INCIDENT["state"],
            "rule": text("The rule that opened it."),
            "firing": _COUNT,
        },
    ),
    "Told": an_object("One thing that an upstream was told of an incident.", {**_DELIVERY, "notes": _NOTES}),
    "Delivery": an_object("One thing to tell an upstream.", {**_DELIVERY, "title": text("Of its incident.")}),
    "DeliveryWhole": an_object(
        "One delivery with what it sends and every attempt.",
        {
            **_DELIVERY,
            "request": an_object(
                "What it sends.",
                {
                    "key": text("Its key."),
                    "fields": any_keys("As the rule rendered them."),
                    "names": many({}, "Names to look up."),
                    "ids": any_keys("Names that were looked up, and their ids."),
                    "notes": _NOTES,
                },
            ),
            "attempts": many(ref("Attempt"), "Every call, oldest first."),
        },
    ),
    "Attempt": an_object(
        "One HTTP call.",
        {
            "at": _INSTANT,
            "call": text("Method and path."),
            "status": maybe("integer", "Of the answer; null: there was none."),
            "reason": maybe("string", "How it failed; null: it worked."),
            "detail": maybe("string", "The upstream's own words."),
            "request_id": maybe("string", "The upstream's name of the call."),
            "duration_s": {"type": "number"},
            "response": maybe("string", "The first 4 KiB of the answer."),
        },
    ),
    "Lane": an_object(
        "The line of deliveries of one account.",
        {
            "account": text("The configured destination."),
            "type": text("Its vendor."),
            "rate": text("As it is configured."),
            "lane": text("Accounts with one token share a lane."),
            "tokens": maybe("number", "Creates that may go out at once."),
            "burst": _COUNT,
            "waiting": _COUNT,
            "waiting_by_severity": {"type": "object", "additionalProperties": _COUNT},
            "oldest_wait_s": maybe("number", "Age of what waits longest."),
            "paused_until": _SOMETIME,
            "parked": maybe("string", "What holds it back, as a sentence."),
            "held_by": maybe("string", "The same as a word: paused, failing, auth, ..."),
            "paused": {"type": "boolean", "description": "By a person."},
            "folding": {"type": "boolean", "description": "Creates go out several as one."},
            "dead": _COUNT,
        },
    ),
    "Rule": an_object(
        "One rule in force.",
        {
            "id": text("Its id."),
            "account": text("Where it goes."),
            "mode": {"enum": [one.value for one in Mode]},
            "file": text("Where it stands."),
            "line": _COUNT,
        },
    ),
    "Book": an_object(
        "The rules in force, as a whole.",
        {
            "hash": maybe("string", "Of the rule book in force."),
            "taken_at": _SOMETIME,
            "taken_by": maybe("string", "Who took it."),
            "checked_at": _SOMETIME,
            "here": maybe("string", "Hash of the rule book this process decides with."),
            "refused": {
                **an_object(
                    "The last reload, when it was refused.",
                    {"at": _SOMETIME, "by": maybe("string", "Who asked."), "problems": many(ref("Problem"), "Why.")},
                ),
                "type": ["object", "null"],
            },
            "files_differ": maybe("boolean", "Whether the files on disk are others."),
            "configuration_changed": maybe("boolean", "Whether bridge.yaml is another one since the start."),
        },
    ),
    "Problem": an_object(
        "One sentence about a file, as `check --json` has it.",
        {
            "file": text("Which."),
            "line": _COUNT,
            "column": _COUNT,
            "grade": {"enum": [one.value for one in Grade]},
            "message": text("What is wrong."),
            "hint": text("What to do."),
        },
    ),
    "Entry": an_object(
        "One line of the audit.",
        {
            "id": _ID,
            "at": _INSTANT,
            "actor": text("A user, a token's name, or a system's user."),
            "role": {"enum": [*(one.value for one in Role), ""], "description": "Empty: a login that failed."},
            "how": {"enum": [one.value for one in How]},
            "action": text("What was done."),
            "object": text("To what: a word and an id."),
            "detail": any_keys("What was said with it, without secrets."),
            "address": text("From where."),
        },
    ),
    "Changed": an_object("A delivery as it is now.", {"delivery": _ID, "state": DELIVERY_STATE}),
    "LaneChanged": an_object(
        "A lane as it is now.",
        {"account": text("The account."), "lane": text("Its lane."), "paused": {"type": "boolean"}},
    ),
    "IncidentChanged": an_object(
        "An incident as it is now.",
        {"incident": _ID, "state": INCIDENT_STATE},
    ),
    "IncidentSaid": an_object(
        "Nothing but what a note says.", {"text": text("What everybody should know.")}, optional=("text",)
    ),
    "ShadowRule": an_object(
        "What one rule in shadow mode would have done.",
        {
            "rule": text("Its id."),
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
            "samples": many(an_object("One of the first.", {"event": _ID, "title": text("One line.")}), "Alerts."),
        },
    ),
    "Reload": an_object(
        "What to take.",
        {
            "dry_run": {"type": "boolean", "description": "Only say what would change."},
            "digest": text("Take only the files that an earlier answer with this digest was about."),
        },
        optional=("dry_run", "digest"),
    ),
    "Reloaded": an_object(
        "What became of it: 422 with the same keys when it is refused.",
        {
            "state": {"enum": [one.value for one in State]},
            "book": maybe("string", "Hash of the rule book in force."),
            "before": maybe("string", "Hash of the rule book that was in force."),
            "found": maybe("string", "Hash of what the files say."),
            "digest": maybe("string", "Of the files; a reload with it takes no others."),
            "problems": many(ref("Problem"), "What is wrong."),
            "warnings": many(ref("Problem"), "What may be meant otherwise."),
            "tests": an_object(
                "The rules' own tests.",
                {"run": _COUNT, "failed": many({}, "Which."), "never_matched": {**_LINES, "description": "Rules."}},
            ),
            "changes": {**any_keys("What it changes."), "type": ["object", "null"]},
            "notes": {**_LINES, "description": "What else is to be known."},
            "sentence": text("The same in words."),
        },
    ),
    "Silence": an_object(
        "Alerts that page nobody for a while.",
        {
            "id": _ID,
            "state": {"enum": ["pending", "active", "ended"]},
            "match": any_keys("Conditions, as in a rule's match."),
            "starts_at": _INSTANT,
            "ends_at": _INSTANT,
            "author": text("Who answers for it."),
            "reason": text("Why nobody has to be paged."),
            "criticals": {"type": "boolean", "description": "Whether it hides criticals, too."},
            "created_at": _INSTANT,
            "ended_at": _SOMETIME,
            "ended_by": maybe("string", "Who ended it before its time."),
            "hidden": _COUNT,
        },
    ),
    "SilenceDraft": an_object(
        "A silence as it is asked for; one of `for` and `ends_at`.",
        {
            "match": any_keys("Conditions, as in a rule's match."),
            "for": text("A length such as 2h, 30d at most."),
            "ends_at": _INSTANT,
            "starts_at": _INSTANT,
            "author": text("Who answers for it."),
            "reason": text("Why nobody has to be paged."),
            "criticals": {"type": "boolean", "description": "Hide criticals, too."},
        },
        optional=("for", "ends_at", "starts_at", "author", "criticals"),
    ),
    "SilencePreview": an_object(
        "What a silence would have hidden in the last 24 hours.",
        {
            "alerts": _COUNT,
            "opened": _COUNT,
            "criticals_spared": _COUNT,
            "items": many(ref("Hidden"), "The first of them."),
            "note": maybe("string", "What was not looked at."),
        },
    ),
    "Hidden": an_object(
        "An alert that a silence would have hidden.",
        {
            "event": _ID,
            "received_at": _INSTANT,
            "title": text("One line."),
            "source": text("The configured sender."),
            "severity": {"enum": [*_SEVERITY["enum"], None]},
            "outcome": {"enum": [one.value for one in Outcome]},
            "rule": maybe("string", "What decided it."),
        },
    ),
    "Matching": an_object(
        "Which alerts.",
        {
            "match": any_keys("Conditions, as in a rule's match."),
            "criticals": {"type": "boolean", "description": "Hide criticals, too."},
        },
        optional=("criticals",),
    ),
    "Reason": an_object("Why.", {"reason": text("Why nobody has to be told.", minLength=1)}),
    "Status": an_object(
        "Alive, ready, or what is missing.",
        {
            "status": {"enum": ["alive", "ready", "not ready"]},
            "missing": many({"type": "string"}, "What is missing."),
            "rules": any_keys("When ready: the rule book, since when, and how the last reload ended."),
        },
        optional=("missing", "rules"),
    ),
    "Accepted": an_object(
        "On disk.",
        {"event": _ID, "alerts": _COUNT, "duplicate": {"type": "boolean", "description": "A sender's repeat."}},
        optional=("duplicate",),
    ),
    "Nothing": any_keys("No keys are asked for."),
    "Webhook": {"description": "Whatever the sender sends; of most a JSON object."},
    "Document": any_keys("This document."),
}
