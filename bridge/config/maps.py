"""Named maps of a rule file: `maps: {priorities: {critical: P1}}`, used as `{from: severity, map: priorities}`.

In: the tree of one file. Out: the same tree with each name replaced by what it stands for, which keeps its own place,
so that whatever is wrong in a map is told where it is written.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from bridge.config.sentences import found
from bridge.config.yaml_reader import Path, Tree
from bridge.domain.errors import Problem
from bridge.render import nearest


def put_in(tree: Tree) -> list[Problem]:
    """Replace the names in a file's rules and defaults; answers what is wrong with names and maps."""
    maps = tree.value.get("maps", {})
    if not isinstance(maps, Mapping):
        return []  # the file's own model says so
    problems = [
        Problem(
            place=tree.place(("maps", name)),
            message=f"map '{name}' wants values and texts, found {found(table)}",
            hint="write {critical: P1, error: P2}",
        )
        for name, table in maps.items()
        if not isinstance(table, Mapping) or not table
    ]
    for lookup, at in _lookups(tree.value):
        name = lookup["map"]
        if isinstance(maps.get(name), Mapping) and maps[name]:
            lookup["map"] = maps[name]
            tree.lend((*at, "map"), ("maps", name))
        elif name not in maps:
            hint = nearest(name, maps, "maps of this file") if maps else "this file has no 'maps:'"
            place = tree.place((*at, "map"))
            problems.append(Problem(place=place, message=f"there is no map '{name}'", hint=hint))
    return problems


def _lookups(value: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], Path]]:
    """Every `{from, map}` in rules and defaults whose map is a name, with its path."""
    stack: list[tuple[Any, Path]] = [(value[key], (key,)) for key in ("rules", "defaults") if key in value]
    while stack:
        one, at = stack.pop()  # in no order: problems are sorted by their places
        if isinstance(one, dict):
            if "from" in one and isinstance(one.get("map"), str):
                yield one, at
            stack += [(inner, (*at, key)) for key, inner in one.items() if isinstance(inner, dict | list)]
        elif isinstance(one, list):
            stack += [(inner, (*at, number)) for number, inner in enumerate(one) if isinstance(inner, dict | list)]
