"""JSON Schemas of bridge.yaml, of rule files and of their tests: what an editor completes, explains and underlines.

Made from the pydantic models, the operators and the tables of sources and destinations; a key without a description is
a mistake that a test finds. They are draft-07, which every YAML language server reads, and refuse nothing that works;
`incident-bridge check` knows more: names, files, regexes, templates.
"""

import inspect
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bridge.config import models
from bridge.config.models import AccountModel, FileModel, SourceModel
from bridge.config.rule_models import RULE_ID, RuleFileModel, RuleModel, RuleSettingsModel
from bridge.destinations.base import MAPPINGS, Field, FieldKind
from bridge.domain.alert import Severity, Status
from bridge.domain.decision import Mode, OnAcknowledge, OnResolve
from bridge.rules.conditions import CONDITIONS
from bridge.rules.paths import HEADS
from bridge.sources.base import AccountSetting, FieldsSetting, Setting

Schema = dict[str, Any]
Types = Mapping[str, Any]  # a table of sources or destinations: name -> class

DRAFT = "http://json-schema.org/draft-07/schema#"  # "Supports JSON Schema 7 and below": yaml-language-server; 2026-11
DURATION = r"^\s*[0-9]+(\.[0-9]+)?\s*(ms|s|m|min|h|d)\s*$"
SIZE = r"^\s*[0-9]+\s*(B|KiB|MiB|GiB|KB|MB|GB)?\s*$"
RATE = r"^\s*[0-9]+\s*(/|per)\s*([0-9]+)?\s*(s|sec|m|min|h|hour|d|day)\s*$"
NUMERIC = r"^\s*[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$"
VARIABLE: Schema = {"type": "string", "pattern": r"\$\{"}
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
_SCALAR: Schema = {"type": ["string", "number", "boolean", "null"]}
_SCALARS: Schema = {"type": "array", "minItems": 1, "items": _SCALAR}
_TEXTS: Schema = {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": {"type": "string"}}]}
_NUMBER: Schema = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": NUMERIC}]}
_OPERANDS: Mapping[str, Schema] = {
    "in": _SCALARS,
    "exists": {"type": "boolean"},
    "regex": _TEXTS,
    "glob": _TEXTS,
    **dict.fromkeys(("gt", "gte", "lt", "lte"), _NUMBER),
}


def schemas(sources: Types, destinations: Types) -> dict[str, Schema]:
    """All of them by name, which is also the name of their file: <name>.schema.json."""
    return {
        "bridge": bridge_schema(sources, destinations),
        "rules": rules_schema(destinations),
        "tests": tests_schema(),
    }


def file_name(name: str) -> str:
    """What the file of a schema is called."""
    return f"{name}.schema.json"


# -- bridge.yaml


def bridge_schema(sources: Types, destinations: Types) -> Schema:
    """Of bridge.yaml."""
    whole = _object(FileModel)
    whole["properties"]["sources"] |= _named({"$ref": "#/definitions/source"})
    whole["properties"]["accounts"] |= _named({"$ref": "#/definitions/account"})
    secret = _one_secret()
    definitions = {
        "secret": secret,
        "secrets": {"anyOf": [secret, {"type": "array", "items": secret, "description": "Several, for rotation."}]},
        "auth": _auth_of_everybody(),
        "source": _source(sources),
        "account": _account(destinations),
    }
    about = "Incident Bridge: senders, accounts, and how the bridge itself runs."
    return {"$schema": DRAFT, "title": "bridge.yaml", "description": about, **whole, "definitions": definitions}


def _object(model: type[BaseModel]) -> Schema:
    """The schema of a model: its keys by their names in the file, nothing else allowed."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {key: _key(field) for key, field in fields.items()},
        **_required(key for key, field in fields.items() if field.is_required()),
    }


def _required(keys: Any) -> Schema:
    wanted = sorted(keys)
    return {"required": wanted} if wanted else {}


def _key(field: FieldInfo) -> Schema:
    return _of_type(field.annotation, tuple(field.metadata)) | {"description": field.description or ""}


def _of_type(annotation: Any, metadata: tuple[Any, ...] = ()) -> Schema:
    """What may be written for a value of this type. Whatever is no text may also come out of a variable."""
    text = next((schema for mark, schema in _MARKED if mark in metadata), None)
    if text is not None:
        return text
    if get_origin(annotation) in (Union, types.UnionType):
        inner = [one for one in get_args(annotation) if one is not type(None)]
        return {"anyOf": [*(_of_type(one, metadata) for one in inner), {"type": "null"}]}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _object(annotation)
    if get_origin(annotation) is Literal:
        return {"anyOf": [{"enum": list(get_args(annotation))}, VARIABLE]}
    if get_origin(annotation) in (dict, Mapping):
        values = get_args(annotation)[1]
        return {"type": "object"} if values is Any else {"type": "object", "additionalProperties": _of_type(values)}
    if get_origin(annotation) is list:
        return {"type": "array", "items": _of_type(get_args(annotation)[0])}
    return dict(_PLAIN.get(annotation, {}))


_PLAIN: Mapping[Any, Schema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"anyOf": [{"type": "integer"}, VARIABLE]},
}


def _text_like(pattern: str, *, number: bool = False) -> Schema:
    texts: list[Schema] = [{"type": "string", "pattern": pattern}, VARIABLE]
    return {"anyOf": [{"type": "integer"}, *texts] if number else texts}


def _mark(annotated: Any) -> Any:
    return annotated.__metadata__[0]


_MARKED: tuple[tuple[Any, Schema], ...] = (
    (_mark(models.Duration), _text_like(DURATION)),
    (_mark(models.Size), _text_like(SIZE, number=True)),
    (_mark(models.Pace), _text_like(RATE)),
    (_mark(models.Whole), _text_like(r"^\s*[0-9]{1,9}\s*$", number=True)),
)


def _one_secret() -> Schema:
    file = {"type": "string", "description": "Path of a file that holds the secret alone."}
    return {
        "description": "A secret: ${VARIABLE}, or {file: /run/secrets/name}; it never stands in the file itself.",
        "anyOf": [
            VARIABLE,
            {"const": "sandbox"},
            {"type": "object", "additionalProperties": False, "required": ["file"], "properties": {"file": file}},
            {"type": "null"},
        ],
    }


def _named(entry: Schema) -> Schema:
    return {
        "type": "object",
        "propertyNames": {"pattern": f"^{models.NAME_PATTERN}$", "maxLength": 64},
        "additionalProperties": entry,
    }


def _source(sources: Types) -> Schema:
    base = _object(SourceModel)
    declared: dict[str, list[tuple[str, Setting]]] = {}
    for name, made in sources.items():
        for key, setting in getattr(made, "settings", {}).items():
            declared.setdefault(key, []).append((name, setting))
    for key, settings in declared.items():
        about = "; ".join(dict.fromkeys(setting.about for _, setting in settings))
        base["properties"][key] = _setting(settings[0][1]) | {"description": about}
    base["properties"]["type"] = _type_of(sources, base)
    base["required"] = ["auth", "type"]
    per_type = []
    for name, made in sorted(sources.items()):
        own = getattr(made, "settings", {})
        foreign = {key: False for key in declared if key not in own}
        words: frozenset[str] = getattr(made, "signature_words", frozenset())
        auth = _auth(sorted(made.signature_keys), sorted(words))
        per_type.append(_when_type(name, {"properties": {"auth": auth, **foreign}}))
    return {**base, "allOf": per_type}


def _type_of(known: Types, base: Schema) -> Schema:
    """`type:` of a source or an account; of one that a variable names, nothing is said of its other keys."""
    return {
        "anyOf": [{"enum": sorted(known)}, VARIABLE],
        "description": base["properties"]["type"]["description"],
    }


def _setting(setting: Setting) -> Schema:
    if isinstance(setting, AccountSetting):
        return {"type": "string", "minLength": 1}
    if not isinstance(setting, FieldsSetting):
        return dict(_TEXTS)
    expression = {"type": "string", "minLength": 1}
    nested = {"type": "object", "additionalProperties": expression}
    several = {"type": "array", "minItems": 1, "items": expression}
    fields: Schema = {}
    for name in sorted(setting.names):
        kinds: list[Schema] = [expression]
        kinds += [nested] if name in setting.nested else []
        kinds += [several] if name in setting.listed else []
        about = f"Expression for the alert's {name}; it sees {', '.join(sorted(setting.sees))}."
        fields[name] = {"anyOf": kinds, "description": about}
    return {"type": "object", "minProperties": 1, "additionalProperties": False, "properties": fields}


def _when_type(name: str, then: Schema) -> Schema:
    return {"if": {"properties": {"type": {"const": name}}, "required": ["type"]}, "then": then}


def _auth(signature_keys: list[str], words: list[str]) -> Schema:
    """`auth:` of one type: one of everybody's kinds, or its vendor's signature."""
    kinds: list[Schema] = [{"$ref": "#/definitions/auth"}]
    kinds += [{"const": word, "description": "The vendor's own signature."} for word in words]
    for key in signature_keys:
        shape = _shape(**{key: (_SECRETS, "The secret the vendor signs with.")})
        about = {"description": "How old a signed time may be; default 5m."}
        shape["properties"]["tolerance"] = _text_like(DURATION) | about
        kinds.append(shape)
    return {"anyOf": kinds, "description": "How the sender proves who it is."}


_SECRETS: Schema = {"$ref": "#/definitions/secrets"}


def _auth_of_everybody() -> Schema:
    text: Schema = {"type": "string", "minLength": 1}
    basic = _shape(username=(text, "HTTP basic: the name."), password=(_SECRETS, "HTTP basic: the password."))
    return {
        "anyOf": [
            {"const": "none", "description": "Anybody who reaches the address may post."},
            VARIABLE,
            _shape(bearer=(_SECRETS, "The token of the Authorization header.")),
            _shape(header=(text, "Name of the header that carries the secret."), secret=(_SECRETS, "What it carries.")),
            _shape(
                query=(text, "Name of the query parameter that carries the secret."), secret=(_SECRETS, "Its value.")
            ),
            _shape(basic=(basic, "HTTP basic, in the address or as a header.")),
        ]
    }


def _shape(**keys: tuple[Schema, str]) -> Schema:
    """An object with exactly these keys."""
    properties = {key: {"allOf": [schema], "description": about} for key, (schema, about) in keys.items()}
    return {"type": "object", "additionalProperties": False, "required": sorted(keys), "properties": properties}


_OF_PAGERDUTY_ALONE = ("token", "from", "region", "token_type")
_OF_INCIDENT_IO_ALONE = ("api_key", "api")


def _account(destinations: Types) -> Schema:
    base = _object(AccountModel)
    base["properties"]["type"] = _type_of(destinations, base)
    for key in ("token", "api_key"):
        about = base["properties"][key]["description"]
        base["properties"][key] = {"allOf": [{"$ref": "#/definitions/secret"}], "description": about}
    foreign = {"pagerduty": _OF_INCIDENT_IO_ALONE, "incident_io": _OF_PAGERDUTY_ALONE}
    wanted = {"pagerduty": ["from", "token"], "incident_io": ["api_key"]}
    per_type = []
    for name, made in sorted(destinations.items()):
        fields = {key: about for key, about in made.fields.items() if about.kind not in MAPPINGS}
        defaults = {
            "type": "object",
            "additionalProperties": False,
            "properties": {key: _default(about) for key, about in fields.items()},
            "description": base["properties"]["defaults"]["description"],
        }
        properties: Schema = {"defaults": defaults, **dict.fromkeys(foreign.get(name, ()), False)}
        per_type.append(_when_type(name, {"properties": properties, "required": wanted.get(name, [])}))
    return {**base, "allOf": per_type}


def _default(about: Field) -> Schema:
    choices: Schema = {"anyOf": [{"enum": list(about.choices)}, VARIABLE]} if about.choices else {"type": "string"}
    return choices | {"description": _field_means(about)}


# -- rules


def rules_schema(destinations: Types) -> Schema:
    """Of one rule file."""
    settings = _with_meanings(_object(RuleSettingsModel))
    entry = _with_meanings(_object(RuleModel))
    whole = _object(RuleFileModel)
    whole["properties"]["defaults"] |= settings
    whole["properties"]["maps"] |= {"additionalProperties": _table({"$ref": "#/definitions/leaf"})}
    whole["properties"]["rules"] |= {"items": {"$ref": "#/definitions/rule"}}
    entry["properties"]["id"] |= {"pattern": f"^{RULE_ID.pattern}$", "not": {"const": "record"}}
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
    }
    about = "Rules of Incident Bridge: which alert opens which incident."
    return {"$schema": DRAFT, "title": "rules", "description": about, **whole, "definitions": definitions}


def _described(schema: Schema, like: Schema) -> Schema:
    return {"allOf": [schema], "description": like["description"]}


def _with_meanings(whole: Schema) -> Schema:
    """Keys that the model takes as anything, for the compiler looks at them itself, with what it takes."""
    resolution: Schema = {"allOf": [{"$ref": "#/definitions/leaf"}], "description": "A text for the upstream."}
    note = {"allOf": [{"$ref": "#/definitions/leaf"}], "description": "The note's text."}
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
        "on_severity_rise": {
            "anyOf": [{"const": "ignore"}, _only("update", {"type": "object"}, "Fields and their new values.")]
        },
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
    one: Schema = _SCALAR if choices is None else {"enum": [str(choice) for choice in choices]}
    any_of = [one, {"type": "array", "minItems": 1, "items": one}, {"$ref": "#/definitions/operators"}]
    return {"anyOf": any_of, "description": f"{about} A list means any of."}


def _operators() -> Schema:
    either: Schema = {"anyOf": [_SCALAR, _SCALARS]}
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
    text: Schema = {"type": "string", "minLength": 1, "pattern": r"\S", "description": "A Jinja template."}
    written: list[Schema] = [text, {"type": ["number", "boolean"]}]
    if choices is not None:
        written = [{"enum": choices}, TEMPLATE]
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


def _field(about: Field) -> Schema:
    means = _field_means(about)
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


_LEAF: Schema = {"$ref": "#/definitions/leaf"}


def _mapping(value: Schema) -> Schema:
    return {"type": "object", "minProperties": 1, "additionalProperties": value}


def _field_means(about: Field) -> str:
    """What an editor shows on hover."""
    parts = [
        about.about,
        f"One of: {', '.join(about.choices)}." if about.choices else "",
        "A name or an id; names are looked up in the account." if about.kind is FieldKind.NAME else "",
        f"At most {about.max_chars} characters; more is cut." if about.max_chars is not None else "",
        "Must be there, or in the account's `defaults`." if about.required else "",
    ]
    return " ".join(part for part in parts if part)


# -- tests


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
            _SCALAR,
            {"type": "array", "items": inner},
            {"type": "object", "properties": operators, "additionalProperties": inner},
        ]
    }
