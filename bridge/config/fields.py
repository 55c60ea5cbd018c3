"""Settings that a source type declares for itself: texts, and expressions over the sender's body.

In: what stands under the key, and the source type's Setting. Out: a tuple of texts, or Expressions; or None, with every
Problem said at its place.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, assert_never

from pydantic import BaseModel

from bridge.config.auth import Says
from bridge.config.sentences import found
from bridge.config.yaml_reader import Path as YamlPath
from bridge.config.yaml_reader import Tree
from bridge.domain.errors import ConfigError
from bridge.render import Expression, Meter, Renderer, RenderError, Text, nearest
from bridge.sources.base import AccountSetting, FieldsSetting, Setting, TextsSetting

STEPS_MAX = 500_000  # of all expressions on one request; about 1 s of the slowest steps
_MARKS = ("{{", "{%", "{#")  # of a text with expressions in it

Compiled = Expression | Text | Mapping[str, Expression | Text] | tuple[Expression | Text, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledFields:
    """Expressions by the name of what they give."""

    by_name: Mapping[str, Compiled]

    @property
    def names(self) -> frozenset[str]:
        """The names that have one."""
        return frozenset(self.by_name)

    def asked(self) -> Callable[[str, Mapping[str, Any]], Any]:
        """Begin with one request: a function from (name, what its expression sees) to its value."""
        return partial(self._value, Meter(STEPS_MAX))

    def _value(self, meter: Meter, name: str, sees: Mapping[str, Any]) -> Any:
        compiled = self.by_name.get(name)
        if isinstance(compiled, Mapping):
            return {key: _of(one, sees, meter) for key, one in compiled.items()}
        if isinstance(compiled, tuple):
            return [_of(one, sees, meter) for one in compiled]
        return None if compiled is None else _of(compiled, sees, meter)


def _of(compiled: Expression | Text, sees: Mapping[str, Any], meter: Meter) -> Any:
    try:
        return compiled.given(sees, meter)
    except RenderError:  # what it asks for is not in this body: absent, and the page goes out
        return None


def read_settings(
    declared: Mapping[str, Setting], entry: BaseModel, path: YamlPath, tree: Tree, says: Says
) -> dict[str, Any]:
    """The declared settings that an entry of `sources:` gives; one that cannot be read is None, with a Problem said."""
    return {
        key: _read(setting, getattr(entry, key), (*path, key), tree, says)
        for key, setting in declared.items()
        if key in entry.model_fields_set
    }


def _read(setting: Setting, value: Any, path: YamlPath, tree: Tree, says: Says) -> Any:
    match setting:
        case TextsSetting():
            return _texts(setting, value, path, says)
        case FieldsSetting():
            return _Fields(setting, tree, says).read(value, path)
        case AccountSetting():
            if isinstance(value, str) and value.strip():
                return value.strip()
            says.error(path, f"'{path[-1]}' wants the name of an account, found {found(value)}", "")
            return None
        case _:
            assert_never(setting)


def _texts(setting: TextsSetting, value: Any, path: YamlPath, says: Says) -> tuple[str, ...] | None:
    items = [(item, (*path, n)) for n, item in enumerate(value)] if isinstance(value, list) else [(value, path)]
    texts: list[str] = []
    for item, at in items:
        if not isinstance(item, str) or not item.strip():
            says.error(at, f"'{path[-1]}' wants a text or a list of texts, found {found(item)}", "")
        elif (wrong := setting.wrong(item.strip())) is not None:
            says.error(at, *wrong)
        else:
            texts.append(item.strip())
    if isinstance(value, list) and not value:
        says.error(path, f"'{path[-1]}' is an empty list", "leave it out, or name at least one")
    return tuple(texts) if texts and len(texts) == len(items) else None


class _Fields:
    """One mapping of expressions."""

    def __init__(self, setting: FieldsSetting, tree: Tree, says: Says) -> None:
        self.setting, self.tree, self.says = setting, tree, says
        self.renderer = Renderer({}, sees=sorted(setting.sees))

    def read(self, value: Any, path: YamlPath) -> CompiledFields | None:
        """All of them; None when one is wrong."""
        if not isinstance(value, dict) or not value:
            seen = "an empty one" if value == {} else found(value)
            hint = "write {title: payload.name, fingerprint: payload.id}"
            self.says.error(path, f"'{path[-1]}' wants a mapping of expressions, found {seen}", hint)
            return None
        by_name: dict[str, Compiled] = {}
        for name, one in value.items():
            at = (*path, name)
            if name not in self.setting.names:
                self.says.key_error(at, f"there is no field '{name}'", nearest(name, self.setting.names, "fields"))
            elif isinstance(one, dict) and name in self.setting.nested:
                inner = {key: self._compiled(child, (*at, key)) for key, child in one.items()}
                by_name[name] = {key: compiled for key, compiled in inner.items() if compiled is not None}
            elif isinstance(one, list) and one and name in self.setting.listed:
                parts = [self._compiled(part, (*at, number)) for number, part in enumerate(one)]
                by_name[name] = tuple(compiled for compiled in parts if compiled is not None)
            elif (compiled := self._compiled(one, at)) is not None:
                by_name[name] = compiled
        return CompiledFields(by_name=by_name)

    def _compiled(self, value: Any, path: YamlPath) -> Expression | Text | None:
        if not isinstance(value, str) or not value.strip():
            hint = "write it as payload.name, or as a text with {{ payload.name }} in it"
            self.says.error(path, f"'{path[-1]}' wants an expression, found {found(value)}", hint)
            return None
        place = self.tree.place(path)
        try:
            if any(mark in value for mark in _MARKS):
                return self.renderer.compile_text(value, place)
            return self.renderer.compile_expression(value.strip(), place)
        except ConfigError as error:
            for problem in error.problems:
                self.says.error(path, problem.message, problem.hint)
            return None
