"""The values of a rule: a text, a file of templates/, an expression or a map, compiled to what an alert is put into."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.config.rule_loading import Loading
from bridge.config.rule_paths import Paths
from bridge.config.sentences import found
from bridge.config.yaml_reader import Path as YamlPath
from bridge.config.yaml_reader import Tree
from bridge.domain.errors import ConfigError
from bridge.domain.keys import canonical
from bridge.render import Renderer, nearest
from bridge.rules.book import Constant, Leaf, Lookup, table_keys
from bridge.rules.paths import Path as AlertPath
from bridge.rules.references import references, references_in_template

LEAF_KEYS = frozenset({"template", "expr", "from"})
_LEAF_HINT = "write a text, {template: file}, {expr: expression} or {from: path, map: {value: text}, else: text}"


@dataclass(slots=True, kw_only=True)
class Leaves:
    """Compiles the values of one rule; what is wrong with them goes to the problems of the loading."""

    tree: Tree
    loading: Loading
    paths: Paths

    def leaf(self, name: str, value: Any, path: YamlPath, renderer: Renderer | None = None) -> Leaf | None:
        """One compiled value: a text, a file of templates/, an expression or a map."""
        place = self.tree.place(path)
        renderer = renderer or self.loading.renderer
        match value:
            case str() if value.strip():
                if "payload" in value:
                    self.paths.note_all(references_in_template(value, optional=False), place)
                return self._checked(lambda: renderer.compile_text(value, place))
            case bool() | int() | float():
                return Constant(constant=value)
            case Mapping() if value.keys() == {"template"} and isinstance(value["template"], str):
                at = self.tree.place((*path, "template"))
                return self._checked(lambda: renderer.template(value["template"], at))
            case Mapping() if value.keys() == {"expr"} and isinstance(value["expr"], str):
                at = self.tree.place((*path, "expr"))
                self.paths.note_all(references(value["expr"], optional=False), at)
                return self._checked(lambda: renderer.compile_expression(value["expr"], at))
            case Mapping() if "from" in value:
                return self._lookup(name, value, path, renderer)
            case None | "":
                self.loading.error(place, f"'{name}' has no value", "give it one, or delete the line")
            case _:
                self.loading.error(place, f"'{name}' cannot be {found(value)}", _LEAF_HINT)
        return None

    def check_choices(self, name: str, choices: Collection[str], value: Any, path: YamlPath) -> None:
        """Whether every value that can be known now is one the upstream takes."""
        for one, place in constants_in(value, path):
            if one not in choices:
                hint = nearest(one, choices, "choices")
                self.loading.error(self.tree.place(place), f"'{name}' cannot be '{one}'", hint)

    def _checked(self, compiles: Callable[[], Leaf]) -> Leaf | None:
        try:
            return compiles()
        except ConfigError as error:
            self.loading.problems += error.problems
            return None

    def _lookup(self, name: str, value: Mapping[str, Any], path: YamlPath, renderer: Renderer) -> Leaf | None:
        read = self.paths.read(value["from"], (*path, "from"))
        for odd in value.keys() - {"from", "map", "else"}:
            hint = nearest(str(odd), ("from", "map", "else"), "keys")
            self.loading.error(self.tree.key_place((*path, odd)), f"unknown key '{odd}'", hint)
        table = value.get("map")
        if isinstance(table, str):
            return None  # the name of a map that does not hold together, which has been said
        if not isinstance(table, Mapping) or not table:
            self.loading.error(self.tree.place(path), f"'{name}' reads a path but has no 'map'", _LEAF_HINT)
            return None
        self._check_keys(name, table, read, (*path, "map"))
        leaves: dict[str, Leaf | None] = {}
        for key, one in table.items():
            leaf = self.leaf(name, one, (*path, "map", key), renderer)
            for text in self._spellings(key, table, (*path, "map")):
                leaves[text] = leaf
        otherwise = self.leaf(name, value["else"], (*path, "else"), renderer) if "else" in value else None
        known = {key: leaf for key, leaf in leaves.items() if leaf is not None}
        return None if read is None else Lookup(path=read, table=known, otherwise=otherwise)

    def _spellings(self, key: str, table: Mapping[str, Any], path: YamlPath) -> tuple[str, ...]:
        """The texts of what a key of a map stands for: its own and, as 0x10 is 16, that of the value it reads as."""
        means = self._means(key, path)
        return (key,) if means in table else (key, means)

    def _means(self, key: str, path: YamlPath) -> str:
        return table_keys(self.tree.key_value((*path, key)))[-1]

    def _check_keys(self, name: str, table: Mapping[str, Any], read: AlertPath | None, path: YamlPath) -> None:
        """Keys that nothing can be, where all values are known; two that read as one value, where not all are texts."""
        choices = None if read is None else self.paths.choices(read.head)
        if read is not None and choices is not None:
            for key in (key for key in table if key not in choices):
                message = f"'{key}' in the map of '{name}' is no {read.head}, so it is never used"
                hint = nearest(key, choices, f"{read.head} is one of")
                self.loading.warn(self.tree.key_place((*path, key)), message, hint)
        if read is None or read.head != "payload":
            return
        first = {key: key for key in table}
        for key in table:
            same = first.setdefault(self._means(key, path), key)
            if same != key:
                message = f"'{key}' is the same value as '{same}' in the map of '{name}'"
                hint = "delete one of them, or put quotes around what is a text"
                self.loading.error(self.tree.key_place((*path, key)), message, hint)


def constants_in(value: Any, path: YamlPath) -> list[tuple[str, YamlPath]]:
    """The texts a field may have that are the same for every alert, with their places."""
    if isinstance(value, Mapping):
        table = value.get("map")
        known = [(value["else"], (*path, "else"))] if "else" in value else []
        known += [(one, (*path, "map", key)) for key, one in table.items()] if isinstance(table, Mapping) else []
        return [constant for one, place in known for constant in constants_in(one, place)]
    text = constant_of(value)
    return [] if text is None else [(text, path)]


def constant_of(value: Any) -> str | None:
    """The text that a value is for every alert, of a number what it becomes; None where that depends on the alert."""
    match value:
        case bool() | int() | float():
            return canonical(value).decode()
        case str() if not _is_template(value):
            return value
    return None


def _is_template(text: str) -> bool:
    return any(mark in text for mark in ("{{", "{%", "{#"))
