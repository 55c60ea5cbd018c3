"""The rule book: all rules, compiled, and which of them match an alert.

In: an Alert. Out: the Matches in order, each with the condition that said no. An index over equality conditions keeps
the rules that cannot match out of the way, so that thousands of rules cost little more than a few.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from heapq import merge
from types import MappingProxyType
from typing import Any, Protocol, Self

from bridge.domain.alert import Alert
from bridge.domain.decision import Match, Mode, OnAcknowledge, OnResolve
from bridge.domain.errors import Place
from bridge.domain.keys import canonical
from bridge.rules.match import Condition, refusal
from bridge.rules.paths import MISSING, Path
from bridge.rules.values import typed_values

TRIED_MAX = 64  # rules named in a trace; a book of up to this many shows every rule it tried
BUCKET_FINE = 8  # rules behind one value: fewer are not worth reading another path for


class Leaf(Protocol):
    """One value of a rule, compiled: constant, template, expression or look-up."""

    def value(self, alert: Alert) -> Any:
        """What it gives for an alert: JSON types, or MISSING. Raises what its kind of leaf documents."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A value that is the same for every alert."""

    constant: Any  # JSON

    def value(self, alert: Alert) -> Any:  # noqa: ARG002 (the signature of a Leaf)
        """The value."""
        return self.constant


Block = Leaf | Mapping[str, "Block"] | tuple["Block", ...]
"""A field of an incident block: a leaf, or data with leaves in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """`{from, map, else}`: the entry of `table` for what `path` reads, else `otherwise`."""

    path: Path
    table: Mapping[str, Leaf]  # by the value's text
    otherwise: Leaf | None

    def value(self, alert: Alert) -> Any:
        """The entry's value; of a list, the first entry of the table that the list holds. MISSING when there is none.

        Raises what its leaves raise.
        """
        leaf = self._entry(self.path.read(alert)) or self.otherwise
        return MISSING if leaf is None else leaf.value(alert)

    def _entry(self, actual: Any) -> Leaf | None:
        if isinstance(actual, list | tuple):
            held = {key for value in actual for key in table_keys(value)}
            return next((leaf for key, leaf in self.table.items() if key in held), None)
        return next((self.table[key] for key in table_keys(actual) if key in self.table), None)


def table_keys(value: Any) -> tuple[str, ...]:
    """A scalar as keys of a `map` in YAML; none for what can be no key.

    The last one is the same for all that conditions take for equal: 1 is 1.0.
    """
    match value:
        case str():
            return (value,)
        case bool():
            return ("true" if value else "false",)
        case float() if value.is_integer():
            return canonical(value).decode(), canonical(int(value)).decode()
        case int() | float():
            return (canonical(value).decode(),)
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NameUse:
    """A name of the upstream that stands in a rule as it is: what can be proven before anybody is paged."""

    place: Place
    account: str
    kind: str  # the upstream's list
    text: str
    within: tuple[str, str] | None = None  # list and name of what it stands in, which says where it is looked up


@dataclass(frozen=True, slots=True, kw_only=True)
class PathUse:
    """A path of a rule, and where it stands: what known payloads can be held against."""

    place: Place
    rule: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One entry of rules/*.yaml, compiled."""

    id: str
    place: Place  # of its id, for people
    account: str
    conditions: tuple[Condition, ...] | None  # None: no `match`, so it decides only where `unmatched` names it
    incident: Mapping[str, Block]
    severity: Leaf | None = None
    dedup: tuple[Path, ...] | None = None  # None: [source, fingerprint]
    incident_key: Leaf | None = None
    fold_by: tuple[Path, ...] | None = None  # None: the rule's id
    on_resolve: OnResolve = OnResolve.RESOLVE
    resolution: Leaf | None = None
    on_acknowledge: OnAcknowledge = OnAcknowledge.IGNORE
    rise: Mapping[str, Block] | None = None  # what a higher severity changes; None: the usual fields; empty: nothing
    hold_resolve: timedelta = timedelta(0)
    reopen_within: timedelta = timedelta(0)
    mode: Mode = Mode.LIVE
    continues: bool = False  # later rules are tried, too, when this one matches
    places: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """file:line:column of its incident's fields and, under the empty name, its own: for what an upstream refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """Positions of rules by one value each of them demands; `always` are those that demand none."""

    always: tuple[int, ...]
    by_path: tuple[tuple[Path, Mapping[Any, tuple[int, ...]]], ...]

    def candidates(self, alert: Alert) -> Iterator[int]:
        """Positions of the rules that could match, ascending, none twice."""
        found: list[Iterable[int]] = [self.always]
        for path, positions in self.by_path:
            values = set(typed_values(path.read(alert)))
            hits = [positions[value] for value in values if value in positions]
            if len(hits) > 1:
                found.append(sorted(set().union(*hits)))  # a rule that takes any of several values
            else:
                found.extend(hits)
        return merge(*found) if len(found) > 1 else iter(self.always)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleBook:
    """All rules in order, frozen; made with `of`."""

    rules: tuple[Rule, ...]
    unmatched: str | None  # the rule that decides when no live one matches; None: the alert is only recorded
    content: str = field(repr=False)  # the canonical JSON of the rules and templates it was compiled from
    hash: str  # of the content, 64 hex
    by_id: Mapping[str, Rule] = field(repr=False, compare=False)
    index: _Index = field(repr=False, compare=False)
    names: tuple[NameUse, ...] = field(default=(), repr=False, compare=False)
    paths: tuple[PathUse, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def of(
        cls,
        rules: Iterable[Rule],
        *,
        unmatched: str | None,
        content: str,
        names: Iterable[NameUse] = (),
        paths: Iterable[PathUse] = (),
    ) -> Self:
        """The book of these rules, whose ids differ; `names` are those of the upstreams that stand in them, `paths`
        what they read of an alert.
        """
        ordered = tuple(rules)
        return cls(
            rules=ordered,
            unmatched=unmatched,
            content=content,
            hash=hashlib.sha256(content.encode()).hexdigest(),
            by_id=MappingProxyType({rule.id: rule for rule in ordered}),
            index=_index(ordered),
            names=tuple(names),
            paths=tuple(paths),
        )

    def match(self, alert: Alert) -> tuple[Match, ...]:
        """The rules tried, in order, up to the first that matches and does not continue.

        When no live one matches and `unmatched` names a rule, that rule comes last, as matching: a rule in the shadow
        sends nothing, so what it lets through still needs one that pages. Books of up to TRIED_MAX rules name every
        rule tried; larger ones only those the index let through, TRIED_MAX of them and all that match.
        """
        tried: list[Match] = []
        matched: dict[str, Mode] = {}
        for position in self._order(alert):
            rule = self.rules[position]
            if rule.conditions is None:
                continue
            check = refusal(rule.conditions, alert)
            if check is None:
                matched[rule.id] = rule.mode
                tried.append(Match(rule=rule.id))
                if not rule.continues:
                    return tuple(tried)
            elif len(tried) < TRIED_MAX:
                tried.append(Match(rule=rule.id, failed=check))
        is_paged = Mode.LIVE in matched.values()
        if self.unmatched is not None and not is_paged and self.unmatched not in matched:
            tried.append(Match(rule=self.unmatched))
        return tuple(tried)

    def _order(self, alert: Alert) -> Iterable[int]:
        return range(len(self.rules)) if len(self.rules) <= TRIED_MAX else self.index.candidates(alert)


def _index(rules: tuple[Rule, ...]) -> _Index:
    demands = [_demands(rule) for rule in rules]
    crowd = Counter((path.text, value) for some in demands for path, values in some for value in values)
    use = Counter(path.text for some in demands for path, _ in some)
    always: list[int] = []
    chosen: dict[str, tuple[Path, dict[Any, list[int]]]] = {}
    for position, some in enumerate(demands):
        if not some:
            always.append(position)
            continue
        # The demand that leaves the fewest rules behind one value; among equals the path most rules speak of, so that
        # few paths are read per alert.
        path, values = min(some, key=lambda one: _selectivity(one, crowd, use))
        _, positions = chosen.setdefault(path.text, (path, {}))
        for value in values:
            positions.setdefault(value, []).append(position)
    frozen = tuple(
        (path, MappingProxyType({value: tuple(held) for value, held in positions.items()}))
        for path, positions in chosen.values()
    )
    return _Index(always=tuple(always), by_path=frozen)


def _demands(rule: Rule) -> list[tuple[Path, frozenset[Any]]]:
    return [demand for condition in rule.conditions or () for demand in condition.equalities()]


def _selectivity(
    demand: tuple[Path, frozenset[Any]], crowd: Mapping[tuple[str, Any], int], use: Mapping[str, int]
) -> tuple[int, int]:
    path, values = demand
    return max(crowd[path.text, value] for value in values) // BUCKET_FINE, -use[path.text]
