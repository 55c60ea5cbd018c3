"""The JSON Schema of rule tests, `*.test.yaml`; what they say is in DESIGN section 7."""

from bridge.config.schema_parts import DRAFT, DURATION, SCALAR, Schema


def tests_schema() -> Schema:
    """Of one `*.test.yaml` (DESIGN section 7)."""
    step = {
        "type": "object",
        "additionalProperties": False,
        "anyOf": [{"required": [what]} for what in ("send", "upstream", "expect")],
        "properties": {
            "at": _described_text(DURATION, "When, on the test's own clock; default: with the step before."),
            "send": {"type": "string", "minLength": 1, "description": "A body's file, relative to the test's."},
            "to": {"type": "string", "description": "The source it is posted to."},
            "headers": _texts_by_name("Headers of the webhook, beside its content type."),
            "upstream": _upstream(),
            "expect": _expectation(),
        },
        "dependencies": {"to": ["send"], "send": ["to"], "headers": ["send"]},
    }
    test = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "steps"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "description": "What it promises, as a sentence."},
            "steps": {
                "type": "array",
                "minItems": 1,
                "contains": {"required": ["expect"]},
                "items": step,
                "description": "What happens, in this order; one step at least has an `expect`.",
            },
        },
    }
    about = "Tests of rules, run by `incident-bridge test` on a clock of their own."
    definitions = {"matcher": _matcher()}
    return {
        "$schema": DRAFT,
        "title": "rule tests",
        "description": about,
        "type": "array",
        "items": test,
        "definitions": definitions,
    }


def _described_text(pattern: str, about: str) -> Schema:
    return {"type": "string", "pattern": pattern, "description": about}


def _texts_by_name(about: str) -> Schema:
    return {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}, "description": about}


def _upstream() -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["account"],
        "description": "How the upstream answers the next call.",
        "properties": {
            "account": {"type": "string", "description": "The account whose upstream it is."},
            "status": {"type": "integer", "minimum": 200, "maximum": 599, "description": "Status of its answer."},
            "headers": _texts_by_name("Headers of its answer."),
            "body": {"description": "Body of its answer: a text, or JSON."},
            "lost": {"type": "boolean", "description": "true: it does what it is told, and its answer is lost."},
            "crash": {
                "type": "boolean",
                "description": "true: the worker dies before it writes the answer down.",
            },
        },
    }


def _expectation() -> Schema:
    count = {"type": "integer", "minimum": 0}
    matcher: Schema = {"allOf": [{"$ref": "#/definitions/matcher"}]}
    because = {
        "type": "object",
        "additionalProperties": False,
        "description": "Why a rule did not match.",
        "properties": {
            "rule": {"type": "string", "description": "The rule."},
            "condition": {
                "type": "string",
                "description": "Path of its condition that said no, such as not.labels.env.",
            },
        },
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "description": "What must be true now; only what is named is looked at.",
        "properties": {
            "account": {"type": "string", "description": "Count only incidents of this account."},
            "matched": {"type": ["string", "null"], "description": "The rule that decided; null: none did."},
            "because": because,
            "created": {**count, "description": "Incidents created at the upstream so far."},
            "resolved": {**count, "description": "Incidents resolved at the upstream so far."},
            "open": {**count, "description": "Incidents open at the upstream now."},
            "request": {**matcher, "description": "What the create says, as {incident: {title: ..., ...}}."},
        },
    }


def _matcher() -> Schema:
    """A value that must be there: itself, or an operator on it; of a mapping only the keys that are named."""
    inner: Schema = {"$ref": "#/definitions/matcher"}
    operators = {
        "contains": {"type": ["string", "number", "boolean"], "description": "A part of the text."},
        "regex": {"type": "string", "description": "A pattern (RE2) that is found in the text."},
        "absent": {"type": "boolean", "description": "true: it must not be there."},
        "one_of": {"type": "array", "minItems": 1, "items": inner, "description": "Any of these."},
    }
    return {
        "anyOf": [
            SCALAR,
            {"type": "array", "items": inner},
            {"type": "object", "properties": operators, "additionalProperties": inner},
        ]
    }
