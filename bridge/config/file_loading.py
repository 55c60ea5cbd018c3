"""What is known while bridge.yaml is read: its parts as they are written, its secrets, and what was found so far."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from bridge.config.models import NAME_PATTERN, FileModel, Model
from bridge.config.sentences import found, sentences
from bridge.config.variables import Expanded, Secrets, expand
from bridge.config.yaml_reader import Path as YamlPath
from bridge.config.yaml_reader import Tree
from bridge.domain.errors import Grade, Problem
from bridge.render import nearest

_M = TypeVar("_M", bound=Model)

Types = Mapping[str, Any]  # a table of sources or destinations: name -> class


@dataclass(slots=True, kw_only=True)
class FileLoading:
    """One bridge.yaml while it is read."""

    tree: Tree
    expanded: Expanded
    secrets: Secrets
    problems: list[Problem]

    def named(self, entries: Any, path: YamlPath, read: Any) -> dict[str, Any]:
        """Every entry of `sources:` or `accounts:`; each is read, so that one bad entry hides no other's problems."""
        made: dict[str, Any] = {}
        if not isinstance(entries, dict):
            return made
        for name, value in entries.items():
            at = (*path, name)
            if re.fullmatch(NAME_PATTERN, name) is None or len(name) > 64:
                hint = "small letters, digits, - and _; it stands in addresses and keys"
                self.key_error(at, f"'{name}' cannot be a name", hint)
            one = read(name, value, at)
            if one is not None:
                made[name] = one
        return made

    def known_type(self, wanted: str, table: Types, path: YamlPath, thing: str) -> bool:
        """Whether a type is in its table; said when it is not."""
        if wanted in table:
            return True
        hint = nearest(wanted, sorted(table), "types")
        self.error((*path, "type"), f"there is no {thing} type {self.shown((*path, 'type'), wanted)}", hint)
        return False

    def model(self, model: type[_M], value: Any, path: YamlPath, thing: str) -> _M | None:
        """A part of the file. What is wrong is said and left out, so that the rest is still checked."""
        written = self.expanded.written
        try:
            return model.model_validate(value)
        except ValidationError as error:
            wrong = error.errors(include_url=False)
            said = sentences(error, self.tree, path, thing, model, written)
        broken = {self.tree.place(one) for one in self.expanded.broken}
        self.problems += [one for one in said if one.place not in broken]
        rest = value
        for one in wrong:
            rest = _without(rest, one["loc"]) if one["type"] != "missing" else rest
        if model is FileModel and isinstance(rest, dict):
            rest = {"sources": {}, "accounts": {}, **rest}
        try:
            return model.model_validate(rest)
        except ValidationError:
            return None

    def shown(self, path: YamlPath, text: str) -> str:
        """A text of the file for a message: with its variables as they are written, never what they hold."""
        return found(self.expanded.written.get(path, text))

    def error(self, path: YamlPath, message: str, hint: str) -> None:
        """At the value."""
        self.problems.append(Problem(place=self.tree.place(path), message=message, hint=hint))

    def key_error(self, path: YamlPath, message: str, hint: str) -> None:
        """At the key."""
        self.problems.append(Problem(place=self.tree.key_place(path), message=message, hint=hint))

    def warn(self, path: YamlPath, message: str, hint: str) -> None:
        """At the value; nothing is stopped by it."""
        self.problems.append(Problem(place=self.tree.place(path), message=message, hint=hint, grade=Grade.WARNING))


def begun(tree: Tree, environ: Mapping[str, str], root: Path, dispensable: frozenset[str]) -> FileLoading:
    """The loading of a file whose secrets' files are named from `root`; its variables are filled in."""
    expanded = expand(tree, environ, dispensable)
    problems = [*tree.problems, *expanded.problems]
    return FileLoading(tree=tree, expanded=expanded, secrets=Secrets(tree, expanded, root), problems=problems)


def _without(value: Any, path: tuple[str | int, ...]) -> Any:
    """A mapping without what stands at a path; anything else as it is."""
    if not isinstance(value, dict) or not path or path[0] not in value:
        return value
    key, *deeper = path
    if deeper and isinstance(value[key], dict):
        return {**value, key: _without(value[key], tuple(deeper))}
    return {name: one for name, one in value.items() if name != key}
