"""`test --update`: today's result written into the expectations of a `*.test.yaml`, character by character.

Only the values that differ are replaced, where they stand: comments, order and layout of the file stay. What is no
plain value (a pattern, a list of choices, what must be absent) is left to its author, and what to write is said.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bridge.adapters.files import replace_text
from bridge.config.rule_tests import Case
from bridge.config.yaml_reader import Path as YamlPath
from bridge.config.yaml_reader import Tree, read_tree
from bridge.domain.errors import Place
from bridge.entrypoints.rehearsal import Miss
from bridge.samples import yaml_scalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """An expectation that its author must write; `today` is what it would have to hold, as YAML."""

    place: Place
    path: str
    today: str


@dataclass(slots=True, kw_only=True)
class Updated:
    """What became of the files."""

    written: dict[str, int]  # values replaced, by file
    left: list[Left]


def update(root: Path, missed: Iterable[tuple[Case, Miss]]) -> Updated:
    """Write today's values into the files of these misses. Files are named relative to `root`."""
    done = Updated(written={}, left=[])
    by_file: dict[str, list[Miss]] = {}
    for case, miss in missed:
        by_file.setdefault(case.place.file, []).append(miss)
    for name, misses in by_file.items():
        path = root / name
        text = path.read_bytes().decode()  # as it is: reading text makes one kind of all ends of lines
        edits = dict(_edits(text, name, misses, done.left))
        for (start, end), value in sorted(edits.items(), reverse=True):
            text = text[:start] + value + text[end:]
        if edits:
            replace_text(path, text)
            done.written[name] = len(edits)
    return done


def _edits(text: str, name: str, misses: Iterable[Miss], left: list[Left]) -> Iterator[tuple[tuple[int, int], str]]:
    """Which characters to replace, and by what."""
    tree = read_tree(text, name)
    steps = dict(_steps(tree))
    spans = {(token.start_mark.line + 1, token.start_mark.column + 1): token for token in _scalars(text)}
    for miss in misses:
        at = steps.get(miss.place)
        for path, today in miss.today:
            place = miss.place if at is None else tree.place((*at, "expect", *path))
            token = spans.get((place.line, place.column))
            if at is None or token is None or not _is_value(tree, (*at, "expect", *path)) or _is_data(today):
                shown = json.dumps(today, ensure_ascii=False) if _is_data(today) else yaml_scalar(today)
                left.append(Left(place=place, path=".".join(map(str, path)), today=shown))
            else:
                yield (token.start_mark.index, token.end_mark.index), yaml_scalar(today)


def _steps(tree: Tree) -> Iterator[tuple[Place, YamlPath]]:
    """The paths of all steps by their places."""
    for number, case in enumerate(tree.value if isinstance(tree.value, list) else ()):
        steps = case.get("steps", ()) if isinstance(case, Mapping) else ()
        for at, _ in enumerate(steps):
            path = (number, "steps", at)
            yield tree.place(path), path


def _scalars(text: str) -> Iterator[Any]:
    """The scalars of a text in one line each, with where they begin and end."""
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.ScalarToken) and token.start_mark.line == token.end_mark.line:
            yield token


def _is_value(tree: Tree, path: YamlPath) -> bool:
    """Whether a scalar is written there: a place of what is missing is that of its parent."""
    value: Any = tree.value
    for step in path:
        try:
            value = value[step]
        except (LookupError, TypeError):
            return False
    return not _is_data(value)


def _is_data(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)
