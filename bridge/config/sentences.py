"""From what pydantic found to a sentence of ours at its place in the file."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError

from bridge.config.yaml_reader import Path, Tree
from bridge.domain.errors import Problem
from bridge.render import nearest
from bridge.rules.values import kind_of

_WANTED: Mapping[str, str] = {
    "string_type": "a text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "int_type": "a whole number",
}


NOTHING_WRITTEN: Mapping[Path, str] = MappingProxyType({})


def sentences(
    error: ValidationError,
    tree: Tree,
    at: Path,
    thing: str,
    model: type[BaseModel],
    written: Mapping[Path, str] = NOTHING_WRITTEN,
) -> Iterable[Problem]:
    """Each finding of pydantic as a Problem; `at` is the path of `thing`, whose shape `model` is.

    `written` has the scalars with variables as the file has them: what a variable holds is never shown.
    """
    for one in error.errors(include_url=False):
        path = (*at, *one["loc"])
        word = str(one["loc"][-1]) if one["loc"] else thing
        match one["type"]:
            case "extra_forbidden":
                hint = nearest(word, _keys(model, one["loc"][:-1]), "keys")
                yield Problem(place=tree.key_place(path), message=f"unknown key '{word}'", hint=hint)
            case "missing":
                yield Problem(
                    place=tree.place(path[:-1]), message=f"the {thing} has no '{word}'", hint=f"add '{word}:'"
                )
            case kind:
                value = written.get(path, one["input"])
                message = f"'{word}' wants {_wanted(kind, one)}, found {found(value)}"
                yield Problem(place=tree.place(path), message=message, hint=_shape_hint(kind, value))


def found(value: Any) -> str:
    """A value as a person wrote it, shortened; never a mapping's content."""
    return f"'{value[:80]}'" if isinstance(value, str) else kind_of(value)


def _shape_hint(kind: str, value: Any) -> str:
    """How to write it, where the value is right and its shape is not."""
    match kind, value:
        case "list_type", Mapping():
            return "begin each of its entries with '- '"
        case "list_type", str() if value.isprintable() and "{{" not in value:
            return f"write [{value[:80]}]"
        case "string_type", bool():
            return ""
        case "string_type", int() | float():
            return "put it in quotes; a length of time has its unit, as 30s"
    return ""


def _wanted(kind: str, one: Any) -> str:
    context = one.get("ctx", {})
    match kind:
        case "value_error":
            return str(context["error"])
        case "literal_error":
            return str(context["expected"])
        case "greater_than_equal":
            return f"at least {context['ge']}"
        case "less_than_equal":
            return f"at most {context['le']}"
    return _WANTED.get(kind, "another value")


def _keys(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """The keys allowed where `path` leads inside a model."""
    for step in path:
        field = next((f for n, f in model.model_fields.items() if step in (n, f.alias)), None)
        inner = None if field is None else field.annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]
