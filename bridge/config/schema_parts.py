"""What the JSON Schemas are made of: the shapes of texts, and a pydantic model as a schema.

They are draft-07, which every YAML language server reads.
"""

import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bridge.config import models
from bridge.destinations.base import Field, FieldKind

Schema = dict[str, Any]
Types = Mapping[str, Any]  # a table of sources or destinations: name -> class

DRAFT = "http://json-schema.org/draft-07/schema#"  # "Supports JSON Schema 7 and below": yaml-language-server; 2026-11
DURATION = r"^\s*[0-9]+(\.[0-9]+)?\s*(ms|s|m|min|h|d)\s*$"
SIZE = r"^\s*[0-9]+\s*(B|KiB|MiB|GiB|KB|MB|GB)?\s*$"
RATE = r"^\s*[0-9]+\s*(/|per)\s*([0-9]+)?\s*(s|sec|m|min|h|hour|d|day)\s*$"
VARIABLE: Schema = {"type": "string", "pattern": r"\$\{"}
SCALAR: Schema = {"type": ["string", "number", "boolean", "null"]}
TEXTS: Schema = {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": {"type": "string"}}]}


def object_of(model: type[BaseModel]) -> Schema:
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
        return object_of(annotation)
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


def text_like(pattern: str, *, number: bool = False) -> Schema:
    """A text of this shape, or a whole number where that is one, too; or a variable."""
    texts: list[Schema] = [{"type": "string", "pattern": pattern}, VARIABLE]
    return {"anyOf": [{"type": "integer"}, *texts] if number else texts}


def _mark(annotated: Any) -> Any:
    return annotated.__metadata__[0]


_MARKED: tuple[tuple[Any, Schema], ...] = (
    (_mark(models.Duration), text_like(DURATION)),
    (_mark(models.Size), text_like(SIZE, number=True)),
    (_mark(models.Pace), text_like(RATE)),
    (_mark(models.Whole), text_like(r"^\s*[0-9]{1,9}\s*$", number=True)),
)


def field_means(about: Field) -> str:
    """What an editor shows on hover."""
    parts = [
        about.about,
        f"One of: {', '.join(about.choices)}." if about.choices else "",
        "A name or an id; names are looked up in the account." if about.kind is FieldKind.NAME else "",
        f"At most {about.max_chars} characters; more is cut." if about.max_chars is not None else "",
        "Must be there, or in the account's `defaults`." if about.required else "",
    ]
    return " ".join(part for part in parts if part)
