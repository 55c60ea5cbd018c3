"""Named maps of a rule file: `maps: {priorities: {critical: P1}}`, used as `{from: severity, map: priorities}`.

In: the tree of one file. Out: the same tree with each name replaced by what it stands for, which keeps its own place,
so that whatever is wrong in a map is told where it is written. A map names no other map: one that led back to itself
would have no end, and a chain of them would be written out again for each entry that names the next.
"""

from collections.abc import Iterable, Iterator, Mapping
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
    linked: set[str] = set()
    for lookup, at in _lookups((one, ("maps", name, key)) for name, key, one in _entries(maps)):
        linked.add(str(at[1]))
        message = f"map '{at[1]}' looks up in map '{lookup['map']}': a map names no other map"
        hint = "write out here what that map holds"
        problems.append(Problem(place=tree.place((*at, "map")), message=message, hint=hint))
    for lookup, at in _lookups((tree.value[key], (key,)) for key in ("rules", "defaults") if key in tree.value):
        name = lookup["map"]
        if name in linked:
            continue  # its name stays a name: what the map holds has no end, or many
        if isinstance(maps.get(name), Mapping) and maps[name]:
            lookup["map"] = maps[name]
            tree.lend((*at, "map"), ("maps", name))
        elif name not in maps:
            hint = nearest(name, maps, "maps of this file") if maps else "this file has no 'maps:'"
            place = tree.place((*at, "map"))
            problems.append(Problem(place=place, message=f"there is no map '{name}'", hint=hint))
    return problems


def _entries(maps: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """What the maps hold: map, key, value."""
    for name, table in maps.items():
        if isinstance(table, Mapping):
            yield from ((name, key, one) for key, one in table.items())


def _lookups(begin: Iterable[tuple[Any, Path]]) -> Iterator[tuple[dict[str, Any], Path]]:
    """Every `{from, map}` whose map is a name in these values, with its path."""
    stack = list(begin)
    while stack:
        one, at = stack.pop()  # in no order: problems are sorted by their places
        if isinstance(one, dict):
            stack += [(inner, (*at, key)) for key, inner in one.items() if isinstance(inner, dict | list)]
            if "from" in one and isinstance(one.get("map"), str):
                yield one, at
        elif isinstance(one, list):
            stack += [(inner, (*at, number)) for number, inner in enumerate(one) if isinstance(inner, dict | list)]
