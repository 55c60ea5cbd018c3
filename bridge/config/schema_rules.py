"""The JSON Schema of rule files, from their models, the operators of conditions and the fields of destinations."""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bridge.config.rule_models import RULE_ID, RuleFileModel, RuleModel, RuleSettingsModel
from bridge.config.rulebook import RECORD
from bridge.config.schema_parts import DRAFT, DURATION, SCALAR, TEXTS, Schema, Types, field_means, object_of
from bridge.destinations.base import Field, FieldKind
from bridge.domain.alert import Severity, Status
from bridge.domain.decision import Mode, OnAcknowledge, OnResolve
from bridge.rules.conditions import CONDITIONS
from bridge.rules.paths import HEADS

NUMERIC = r"^\s*[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$"
TEMPLATE: Schema = {"type": "string", "pattern": r"\{[{%#]"}

_HEAD_MEANS: Mapping[str, str] = {
    "source": "Name of the configured source the alert came from.",
    "source_type": "Type of that source: the vendor, or generic.",
    "fingerprint": "Identity of the problem within the source: the same when it fires and when it resolves.",
    "episode": "The sender's own id of this firing.",
    "status": "firing, acknowledged or resolved.",
    "severity": "critical, error, warning or info; one that the sender did not give reads error.",
    "title": "One line that says what is wrong.",
    "description": "The sender's longer text.",
    "reported_at": "The sender's own time of this report, as 2026-08-01T10:00:00Z.",
    "starts_at": "When the problem began, as 2026-08-01T10:00:00Z.",
    "ends_at": "When it ended, as 2026-08-01T10:00:00Z.",
    "labels": "All labels; one of them is labels.<name>.",
    "payload": "The sender's own JSON; what is in it is payload.a.0.b or payload['a.b'].",
}
_SCALARS: Schema = {"type": "array", "minItems": 1, "items": SCALAR}
_NUMBER: Schema = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": NUMERIC}]}
_OPERANDS: Mapping[str, Schema] = {
    "in": _SCALARS,
    "exists": {"type": "boolean"},
    "regex": TEXTS,
    "glob": TEXTS,
    **dict.fromkeys(("gt", "gte", "lt", "lte"), _NUMBER),
}
_LEAF: Schema = {"$ref": "#/definitions/leaf"}


def rules_schema(destinations: Types) -> Schema:
    """Of one rule file."""
    settings = _with_meanings(object_of(RuleSettingsModel), destinations)
    entry = _with_meanings(object_of(RuleModel), destinations)
    whole = object_of(RuleFileModel)
    whole["properties"]["defaults"] |= settings
    whole["properties"]["maps"] |= {"additionalProperties": _table({"$ref": "#/definitions/leaf"})}
    unmatched: Schema = {"anyOf": [{"const": RECORD}, {"type": "string"}]}
    whole["properties"]["unmatched"] = _or_empty(unmatched, whole["properties"]["unmatched"])
    whole["properties"]["rules"] |= {"items": {"$ref": "#/definitions/rule"}}
    entry["properties"]["id"] |= {"pattern": f"^{RULE_ID.pattern}$", "not": {"const": RECORD}}
    entry["properties"]["match"] = _or_empty({"$ref": "#/definitions/conditions"}, entry["properties"]["match"])
    blocks = {"anyOf": [{"$ref": f"#/definitions/{name}"} for name in sorted(destinations)]}
    entry["properties"]["incident"] = _described(blocks, entry["properties"]["incident"])
    definitions = {
        "rule": entry,
        "conditions": _conditions(),
        "operators": _operators(),
        "leaf": _leaf(),
        "data": _data(),
        **{name: _incident(name, made) for name, made in sorted(destinations.items())},
        **{f"{name}_changes": _changes(name, made) for name, made in sorted(destinations.items())},
    }
    about = "Rules of Incident Bridge: which alert opens which incident."
    return {"$schema": DRAFT, "title": "rules", "description": about, **whole, "definitions": definitions}


def _described(schema: Schema, like: Schema) -> Schema:
    return {"allOf": [schema], "description": like["description"]}


def _with_meanings(whole: Schema, destinations: Types) -> Schema:
    """Keys that the model takes as anything, for the compiler looks at them itself, with what it takes."""
    resolution: Schema = {"allOf": [{"$ref": "#/definitions/leaf"}], "description": "A text for the upstream."}
    note = {"allOf": [{"$ref": "#/definitions/leaf"}], "description": "The note's text."}
    changes: Schema = {"anyOf": [{"$ref": f"#/definitions/{name}_changes"} for name in sorted(destinations)]}
    means: Mapping[str, Schema] = {
        "severity": _leaf([severity.value for severity in Severity]),
        "dedup": _paths(),
        "fold_by": _paths(),
        "on_acknowledge": {"enum": [one.value for one in OnAcknowledge]},
        "on_resolve": {
            "anyOf": [
                {"enum": [one.value for one in OnResolve]},
                _only("resolve", _only("resolution", resolution), "Resolve it, and say why."),
                _only("note", note, "Say so in the incident, and leave it open."),
            ]
        },
        "on_severity_rise": {"anyOf": [_only("update", changes, "Fields and their new values."), {"const": "ignore"}]},
        "hold_resolve": {"type": "string", "pattern": DURATION},
        "reopen_within": {"type": "string", "pattern": DURATION},
        "mode": {"enum": [one.value for one in Mode]},
    }
    for key, schema in means.items():
        if key in whole["properties"]:
            whole["properties"][key] = _or_empty(schema, whole["properties"][key])
    return whole


def _or_empty(schema: Schema, like: Schema) -> Schema:
    """A key that may be left empty, which is as if it were not there."""
    return {"anyOf": [schema, {"type": "null"}], "description": like["description"]}


def _only(key: str, schema: Schema, about: str = "") -> Schema:
    inner = {**schema, "description": about or schema.get("description", "")}
    return {"type": "object", "additionalProperties": False, "required": [key], "properties": {key: inner}}


def _paths() -> Schema:
    single = "|".join(head for head in HEADS if head not in ("labels", "payload"))
    path = {
        "type": "string",
        "pattern": rf"^(?:{single}|labels(?:\..+|\[.+\])?|payload(?:[.\[].*)?)$",
        "description": "A path: fingerprint, labels.team, payload.a.0.b, payload['a.b'].",
    }
    return {"type": "array", "minItems": 1, "items": path}


def _conditions() -> Schema:
    """A `match` block, and what stands inside not, any and all."""
    inner: Schema = {"$ref": "#/definitions/conditions"}
    several: Schema = {"type": "array", "minItems": 1, "items": inner}
    groups: Mapping[str, Schema] = {
        "not": {"allOf": [inner], "description": "Holds unless all of these do."},
        "any": {**several, "description": "Holds when the conditions of at least one of these all do."},
        "all": {**several, "description": "Holds when the conditions of every one of these do."},
    }
    choices: Mapping[str, list[str]] = {"severity": list(Severity), "status": list(Status)}
    heads = {head: _condition(_HEAD_MEANS[head], choices.get(head)) for head in HEADS}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {**heads, **groups},
        "patternProperties": {
            r"^labels[.\[]": _condition("One label of the alert, as text."),
            r"^payload[.\[]": _condition("A value of the sender's own JSON."),
        },
    }


def _condition(about: str, choices: list[str] | None = None) -> Schema:
    one: Schema = SCALAR if choices is None else {"enum": [str(choice) for choice in choices]}
    several: Schema = {"type": "array", "minItems": 1, "items": one}
    operators: Schema = {"$ref": "#/definitions/operators"}
    # The first is what an editor speaks of when none fits: of a value that is none of the choices, else of an operator.
    any_of = [operators, one, several] if choices is None else [one, several, operators]
    return {"anyOf": any_of, "description": f"{about} A list means any of."}


def _operators() -> Schema:
    either: Schema = {"anyOf": [SCALAR, _SCALARS]}
    operators = {
        name: {**_OPERANDS.get(name, either), "description": inspect.getdoc(kind) or ""}
        for name, kind in CONDITIONS.items()
    }
    about = "Operators; several must all hold."
    return {
        "type": "object",
        "description": about,
        "minProperties": 1,
        "additionalProperties": False,
        "properties": operators,
    }


def _leaf(choices: list[str] | None = None) -> Schema:
    """One value: a text (a Jinja template), a number, a file, an expression, or a look-up."""
    # Without a description: an editor would show that of the alternative that fits, and not what the field means.
    text: Schema = {"type": "string", "minLength": 1, "pattern": r"\S"}
    written: list[Schema] = [text, {"type": ["number", "boolean"]}]
    if choices is not None:
        as_yaml = [True, False] if {*choices} == {"true", "false"} else []  # what stands there without quotes
        written = [{"enum": [*choices, *as_yaml]}, TEMPLATE]
    template = {"type": "string", "description": "A file of the templates folder, ending in .j2."}
    expression = {"type": "string", "description": "One Jinja expression, without braces; gives a native value."}
    rendered = [_only("template", template), _only("expr", expression)]
    another = {"type": "object", "required": ["from", "map"]}  # what is in it has no name that could be pointed to
    inner: Schema = {"anyOf": [*written, *rendered, another]} if choices is not None else {"$ref": "#/definitions/leaf"}
    path = {"type": "string", "description": "The path whose value is looked up, such as severity or labels.team."}
    named = {"type": "string", "description": "The name of one of the file's `maps`."}
    table = {"anyOf": [_table(inner), named], "description": "What is used, by the value there; or a map's name."}
    otherwise = {"allOf": [inner], "description": "What is used for every other value."}
    look_up = {
        "type": "object",
        "additionalProperties": False,
        "required": ["from", "map"],
        "properties": {"from": path, "map": table, "else": otherwise},
    }
    return {"anyOf": [*written, *rendered, look_up]}


def _table(inner: Schema) -> Schema:
    about = "What is used, by the value at the path."
    return {"type": "object", "minProperties": 1, "additionalProperties": inner, "description": about}


def _data() -> Schema:
    """A value with values inside."""
    inner: Schema = {"$ref": "#/definitions/data"}
    leaf: Schema = {"$ref": "#/definitions/leaf"}
    return {
        "anyOf": [leaf, {"type": "array", "items": inner}, {"type": "object", "additionalProperties": inner}],
    }


def _incident(name: str, made: Any) -> Schema:
    """The incident block of a rule whose account is of this type."""
    fields = {key: _field(about) for key, about in made.fields.items()}
    key = "The upstream's key as a text of your own, instead of `dedup`."
    fields["incident_key"] = {"allOf": [{"$ref": "#/definitions/leaf"}], "description": key}
    about = f"The fields of an incident of an account of type {name}."
    return {
        "type": "object",
        "title": f"incident of {name}",
        "description": about,
        "additionalProperties": False,
        "properties": fields,
    }


def _changes(name: str, made: Any) -> Schema:
    """What can be changed in an incident that was sent, of an account of this type."""
    return {
        "type": "object",
        "title": f"changes of {name}",
        "description": f"What can be changed in an incident of an account of type {name}.",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {key: _field(replace(about, required=False)) for key, about in made.update_fields.items()},
    }


def _field(about: Field) -> Schema:
    means = field_means(about)
    match about.kind:
        case FieldKind.ENUM:
            return _leaf(list(about.choices)) | {"description": means}
        case FieldKind.TEXT | FieldKind.LONG_TEXT | FieldKind.NAME:
            return {"allOf": [_LEAF], "description": means}
        case FieldKind.VALUES:
            return _mapping({"anyOf": [_LEAF, {"type": "array", "items": _LEAF}]}) | {"description": means}
        case FieldKind.PEOPLE:
            somebody = [_only(key, {"allOf": [_LEAF]}, f"The person's {key}.") for key in about.keys]
            return _mapping({"anyOf": [_LEAF, *somebody]}) | {"description": means}
        case FieldKind.INSTANTS:
            return _mapping(_LEAF) | {"description": means}
    if about.keys:
        keys = {key: {"allOf": [_LEAF], "description": f"The {key.replace('_', ' ')}."} for key in about.keys}
        closed = {"type": "object", "minProperties": 1, "additionalProperties": False, "properties": keys}
        return closed | {"description": means}
    return {"type": ["object", "array"], "allOf": [{"$ref": "#/definitions/data"}], "description": means}


def _mapping(value: Schema) -> Schema:
    return {"type": "object", "minProperties": 1, "additionalProperties": value}
