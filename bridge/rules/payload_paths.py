"""Paths into payloads that no known payload has: most are a slip of the keyboard, which no type can catch.

In: payloads of each source, and the paths that the rules of a book read. Out: those that lead nowhere in any payload of
any source their rule can match. Where a sender's users choose the keys (labels, tags, annotations), nothing is said.
"""

import difflib
import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.domain.alert import Alert
from bridge.rules.book import PathUse, Rule, RuleBook
from bridge.rules.match import Condition, refusal

NODES_MAX = 20_000  # keys of one source's payloads that are remembered; past that nothing is said of it
DEPTH_MAX = 32
_OPEN = re.compile(  # what holds keys that are the users' own
    r"(?i)label|tags|annotation|details|attribute|metadata|fields|propert|dimension|variable|values|extra|custom"
)


@dataclass(slots=True)
class _Node:
    """What payloads hold at one place."""

    keys: dict[str, "_Node"] = field(default_factory=dict)
    items: "_Node | None" = None  # of a list
    is_open: bool = False  # null, empty, or too much of it: anything might be there


class SeenPayloads:
    """The payloads of one source, laid over one another."""

    def __init__(self) -> None:
        self._root: _Node | None = None
        self._left = NODES_MAX

    def add(self, payload: Any) -> None:
        """One more payload."""
        self._root = self._root or _Node()
        self._add(self._root, payload, 0)

    @property
    def is_empty(self) -> bool:
        """Whether none was seen."""
        return self._root is None

    def lacks(self, steps: tuple[str, ...]) -> tuple[str, frozenset[str]] | None:
        """The step that leads nowhere, and the keys there are beside it; None when there is, or may be, a value."""
        node = self._root
        for step in steps:
            if node is None or node.is_open or self._left <= 0:
                return None
            inner = node.keys.get(step)
            if inner is None and node.items is not None and step.isdigit():
                inner = node.items
            if inner is None:
                return step, frozenset(node.keys)
            if _OPEN.search(step):
                return None
            node = inner
        return None

    def _add(self, node: _Node, value: Any, depth: int) -> None:
        match value:
            case None | "":
                node.is_open = True
            case Mapping() | list() | tuple() if not value or depth > DEPTH_MAX:
                node.is_open = True
            case Mapping():
                for key, item in value.items():
                    if key not in node.keys:
                        self._left -= 1
                    if self._left > 0:
                        self._add(node.keys.setdefault(str(key), _Node()), item, depth + 1)
            case list() | tuple():
                node.items = node.items or _Node()
                for item in value[:100]:
                    self._add(node.items, item, depth + 1)


class Unmet:
    """The rules whose labels no known alert has: what the payloads of theirs will hold is not known."""

    def __init__(self, book: RuleBook) -> None:
        uses = {use.rule for use in book.paths}
        wanted = {rule.id: tuple(_on_labels(rule)) for rule in book.rules if rule.id in uses}
        self._waiting = {rule: conditions for rule, conditions in wanted.items() if conditions}

    def take(self, alert: Alert) -> None:
        """One more known alert."""
        for rule, conditions in tuple(self._waiting.items()):
            if refusal(conditions, alert) is None:
                del self._waiting[rule]

    def __contains__(self, rule: object) -> bool:
        return rule in self._waiting


def _on_labels(rule: Rule) -> Iterator[Condition]:
    for condition in rule.conditions or ():
        if any(path.head == "labels" for path, _ in condition.equalities()):
            yield condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """A path of a rule that no payload of its sources has."""

    use: PathUse
    step: str
    sources: tuple[str, ...]
    meant: str | None  # a key that is there and looks alike


def unseen_paths(
    book: RuleBook, seen: Mapping[str, SeenPayloads], types: Mapping[str, str], unmet: Container[str] = ()
) -> Iterator[Unseen]:
    """The paths that lead nowhere. `seen` and `types` go by source; one of which nothing was seen may have all.

    Of `unmet` rules nothing is said.
    """
    for use in book.paths:
        if use.path.head != "payload" or not use.path.steps or use.rule in unmet:
            continue
        sources = tuple(sources_of(book.by_id[use.rule], types)) if use.rule in book.by_id else ()
        if not sources or any(name not in seen or seen[name].is_empty for name in sources):
            continue
        lacking = [seen[name].lacks(use.path.steps) for name in sources]
        if any(one is None for one in lacking):
            continue
        found = [one for one in lacking if one is not None]
        beside = {key for _, keys in found for key in keys}
        close = difflib.get_close_matches(found[0][0], sorted(beside), n=1)
        yield Unseen(use=use, step=found[0][0], sources=sources, meant=close[0] if close else None)


def sources_of(rule: Rule, types: Mapping[str, str]) -> Iterator[str]:
    """The configured sources whose alerts a rule can match, as far as its equalities say."""
    names: frozenset[Any] | None = None
    kinds: frozenset[Any] | None = None
    for condition in rule.conditions or ():
        for path, values in condition.equalities():
            if path.text == "source":
                names = values if names is None else names & values
            elif path.text == "source_type":
                kinds = values if kinds is None else kinds & values
    for name, kind in types.items():
        if (names is None or name in names) and (kinds is None or kind in kinds):
            yield name
