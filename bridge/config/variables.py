"""`${VAR}`, `${VAR:-default}` and `{file: …}`: where values come from that do not stand in the file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge.config.yaml_reader import Path as YamlPath
from bridge.config.yaml_reader import Tree
from bridge.domain.errors import Problem

SANDBOX = "sandbox"
SECRET_MAX_BYTES = 64 * 1024
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_REFERENCE = re.compile(r"\$\{[^}]*\}?")  # whatever looks like a variable, well formed or not


@dataclass(frozen=True, slots=True, kw_only=True)
class Expanded:
    """A file's value with its variables filled in; `written` keeps the scalars that held one, as they were written."""

    value: Any
    problems: tuple[Problem, ...]
    written: Mapping[YamlPath, str] = field(repr=False)
    broken: frozenset[YamlPath]  # scalars whose variables could not be filled in


def expand(tree: Tree, environ: Mapping[str, str], dispensable: frozenset[str] = frozenset()) -> Expanded:
    """Fill in every variable; one that is not set and has no default is a Problem that names it.

    Under the top-level keys in `dispensable` it is none: their scalars stay empty.
    """
    problems: list[Problem] = []
    written: dict[YamlPath, str] = {}
    broken: set[YamlPath] = set()

    def wrong(path: YamlPath, message: str, hint: str) -> None:
        broken.add(path)
        problems.append(Problem(place=tree.place(path), message=message, hint=hint))

    def walk(value: Any, path: YamlPath) -> Any:
        match value:
            case Mapping():
                return {key: walk(item, (*path, key)) for key, item in value.items()}
            case list():
                return [walk(item, (*path, number)) for number, item in enumerate(value)]
            case str() if "${" in value:
                written[path] = value
                return _filled(value, path)
        return value

    def _filled(text: str, path: YamlPath) -> str:
        def one(match: re.Match[str]) -> str:
            reference = _VARIABLE.fullmatch(match[0])
            if reference is None or "${" in (reference[2] or ""):
                hint = "write ${NAME} or ${NAME:-default}; a name is letters, digits and _, a default holds no variable"
                wrong(path, f"'{match[0][:60]}' is not a variable", hint)
                return ""
            name, default = reference[1], reference[2]
            held = environ.get(name)
            if held or (held is not None and default is None):
                return held
            if default is None and path[0] in dispensable:
                broken.add(path)
            elif default is None:
                hint = "set it and start again; a secret itself never stands in YAML"
                wrong(path, f"environment variable {name} is not set", hint)
            return default or ""

        return _REFERENCE.sub(one, text)

    value = walk(tree.value, ())
    return Expanded(value=value, problems=tuple(problems), written=written, broken=frozenset(broken))


@dataclass(slots=True)
class Secrets:
    """Reads secrets of one file; what is wrong with them is gathered in `problems`."""

    tree: Tree
    expanded: Expanded
    root: Path
    problems: list[Problem] = field(default_factory=list)
    _faulty: set[YamlPath] = field(default_factory=set)

    def is_faulty(self, path: YamlPath) -> bool:
        """Whether a Problem was already said of the secret, or of one in the list, at this path."""
        return any(one[: len(path)] == path for one in (*self.expanded.broken, *self._faulty))

    def many(self, value: Any, path: YamlPath) -> tuple[str, ...]:
        """The secrets at a path: one, or a list of them (rotation). Empty ones are left out."""
        items = [(item, (*path, n)) for n, item in enumerate(value)] if isinstance(value, list) else [(value, path)]
        held = [self.one(item, at) for item, at in items]
        return tuple(secret for secret in held if secret)

    def one(self, value: Any, path: YamlPath) -> str:
        """One secret; empty when it is wrong or an empty default."""
        if path in self.expanded.broken:
            return ""
        match value:
            case {"file": str() as name} if len(value) == 1:
                return self._from_file(name, path)
            case str() if path in self.expanded.written:
                return self._from_variable(value, path)
            case "sandbox":
                return SANDBOX
            case None:
                return ""
        self._problem(
            path,
            "a secret stands in the file itself",
            "write ${VARIABLE} and set that variable, or {file: /run/secrets/name}",
        )
        return ""

    def _from_variable(self, value: str, path: YamlPath) -> str:
        text = self.expanded.written[path]
        rest = _VARIABLE.sub("", text)
        defaults = [match[2] for match in _VARIABLE.finditer(text) if match[2]]
        if rest.strip() or any(default != SANDBOX for default in defaults):
            self._problem(
                path,
                "part of a secret stands in the file itself",
                "write nothing but ${VARIABLE}; its default may be empty or 'sandbox'",
            )
        if any(not character >= " " for character in value):
            self._problem(path, "the secret holds a line break or control character", "set the variable without it")
        return value

    def _from_file(self, name: str, path: YamlPath) -> str:
        if (*path, "file") in self.expanded.broken:
            return ""
        file = self.root / name
        try:
            with file.open("rb") as opened:
                content = opened.read(SECRET_MAX_BYTES + 1)
        except (OSError, ValueError) as error:  # ValueError: a NUL in its name
            why = error.strerror if isinstance(error, OSError) else "that is no file's name"
            self._problem(path, f"the secret's file {file} cannot be read: {why}", "make it readable")
            return ""
        text = content.decode("utf-8", "replace").rstrip("\r\n")
        if not text.strip() or len(content) > SECRET_MAX_BYTES or any(not character >= " " for character in text):
            self._problem(path, f"the secret's file {file} does not hold one line of text", "write the secret alone")
            return ""
        return text

    def _problem(self, path: YamlPath, message: str, hint: str) -> None:
        self._faulty.add(path)
        self.problems.append(Problem(place=self.tree.place(path), message=message, hint=hint))
