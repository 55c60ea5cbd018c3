"""The JSON Schema of bridge.yaml, from its models and the tables of sources and destinations."""

from bridge.config import models
from bridge.config.models import AccountModel, FileModel, SourceModel
from bridge.config.schema_parts import (
    DRAFT,
    DURATION,
    TEXTS,
    VARIABLE,
    Schema,
    Types,
    field_means,
    object_of,
    text_like,
)
from bridge.destinations.base import MAPPINGS, Field
from bridge.sources.base import AccountSetting, FieldsSetting, Setting


def bridge_schema(sources: Types, destinations: Types) -> Schema:
    """Of bridge.yaml."""
    whole = object_of(FileModel)
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
    base = object_of(SourceModel)
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
        return dict(TEXTS)
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
    """`auth:` of one type: its vendor's signature, or one of everybody's kinds.

    In this order, for an editor speaks of the first when none fits: with `none` there, it told whoever had mistyped
    `signing_secret` to write `none`.
    """
    kinds: list[Schema] = []
    for key in signature_keys:
        shape = _shape(**{key: (_SECRETS, "The secret the vendor signs with.")})
        about = {"description": "How old a signed time may be; default 5m."}
        shape["properties"]["tolerance"] = text_like(DURATION) | about
        kinds.append(shape)
    kinds += [{"const": word, "description": "The vendor's own signature."} for word in words]
    kinds.append({"$ref": "#/definitions/auth"})
    return {"anyOf": kinds, "description": "How the sender proves who it is."}


_SECRETS: Schema = {"$ref": "#/definitions/secrets"}


def _auth_of_everybody() -> Schema:
    text: Schema = {"type": "string", "minLength": 1}
    basic = _shape(username=(text, "HTTP basic: the name."), password=(_SECRETS, "HTTP basic: the password."))
    return {
        "anyOf": [
            _shape(bearer=(_SECRETS, "The token of the Authorization header.")),
            _shape(header=(text, "Name of the header that carries the secret."), secret=(_SECRETS, "What it carries.")),
            _shape(
                query=(text, "Name of the query parameter that carries the secret."), secret=(_SECRETS, "Its value.")
            ),
            _shape(basic=(basic, "HTTP basic, in the address or as a header.")),
            VARIABLE,
            {"const": "none", "description": "Anybody who reaches the address may post."},
        ]
    }


def _shape(**keys: tuple[Schema, str]) -> Schema:
    """An object with exactly these keys."""
    properties = {key: {"allOf": [schema], "description": about} for key, (schema, about) in keys.items()}
    return {"type": "object", "additionalProperties": False, "required": sorted(keys), "properties": properties}


_OF_PAGERDUTY_ALONE = ("token", "from", "region", "token_type")
_OF_INCIDENT_IO_ALONE = ("api_key", "api")


def _account(destinations: Types) -> Schema:
    base = object_of(AccountModel)
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
    return choices | {"description": field_means(about)}
