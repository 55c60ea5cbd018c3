"""Rules that can never match, whatever comes in: an earlier rule takes all of it, or their conditions contradict.

In: the rules of a book. Out: what is dead and why. What is found is certain; not everything is found: what an
expression or two patterns have in common is nobody's to compute.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.domain.alert import Status
from bridge.domain.decision import Mode
from bridge.rules.book import Rule
from bridge.rules.conditions import (
    AtLeast,
    AtMost,
    Contains,
    Equals,
    Exists,
    Glob,
    GreaterThan,
    LessThan,
    NotEquals,
    Regex,
)
from bridge.rules.match import AllOf, AnyOf, Condition, Not, On, When
from bridge.rules.paths import parse
from bridge.rules.values import typed_values

WORK_MAX = 300_000  # pairs of conditions held against one another: about a second; the rest is not looked at
SIZE_MAX = 200  # conditions of a rule that is looked at
ALTERNATIVES_MAX = 64  # of one rule's `any` blocks, multiplied


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """A rule that can never match; `by` takes everything it would, None when its own conditions contradict."""

    rule: Rule
    by: Rule | None
    contradiction: tuple[str, str] = ("", "")  # the two conditions


def dead_rules(rules: Sequence[Rule]) -> Iterator[Dead]:
    """The dead ones, in order."""
    sizes = [_size(rule.conditions or ()) for rule in rules]
    earlier = _Earlier(rules, sizes)
    work = 0
    for position, rule in enumerate(rules):
        if rule.conditions is None or sizes[position] > SIZE_MAX:
            continue
        held = _flat(rule.conditions)
        clash = _contradiction(held)
        if clash is not None:
            yield Dead(rule=rule, by=None, contradiction=clash)
            continue
        for other in earlier.candidates(position, held):
            work += 1 + sizes[position] * sizes[other]
            if work > WORK_MAX:
                return
            if _all_implied(rules[other].conditions or (), held):
                yield Dead(rule=rule, by=rules[other])
                break


def lets_nothing_fire(rule: Rule) -> str | None:
    """The condition by which no firing alert can ever match a rule; None when nothing says so."""
    if rule.conditions is None or _size(rule.conditions) > SIZE_MAX:
        return None
    held = _flat(rule.conditions)
    if _contradiction(held) is not None:
        return None  # it matches nothing at all
    clash = _contradiction((*held, _FIRES))
    return None if clash is None else next(name for name in clash if name)


_FIRES = On(name="", path=parse("status"), operator=Equals.read(Status.FIRING.value))


class _Earlier:
    """Rules that end the search where they match, found by a value each of them demands."""

    def __init__(self, rules: Sequence[Rule], sizes: Sequence[int]) -> None:
        ending = [
            (position, rule)
            for position, rule in enumerate(rules)
            if rule.conditions is not None and not rule.continues and rule.mode is Mode.LIVE
            if sizes[position] <= SIZE_MAX
        ]
        demands = {
            position: [(path.text, values) for c in rule.conditions or () for path, values in c.equalities()]
            for position, rule in ending
        }
        crowd = Counter((text, value) for some in demands.values() for text, values in some for value in values)
        self._always: list[int] = []
        self._by_value: dict[tuple[str, Any], list[int]] = {}
        for position, some in demands.items():
            if not some:
                self._always.append(position)
                continue
            text, values = min(some, key=lambda one: max(crowd[one[0], value] for value in one[1]))
            for value in values:
                self._by_value.setdefault((text, value), []).append(position)

    def candidates(self, before: int, held: Sequence[Condition]) -> Iterator[int]:
        """Positions before this one whose demand the conditions meet: of one demand, any value tells."""
        for position in self._always:
            if position >= before:
                break
            yield position
        sure = (one.groups[0] if isinstance(one, AnyOf) and one.groups else (one,) for one in held)
        for condition in (condition for group in sure for condition in group):  # who takes all takes one alternative
            for path, values in condition.equalities():
                for position in self._by_value.get((path.text, next(iter(values))), ()):
                    if position >= before:
                        break
                    yield position


def _size(conditions: Sequence[Condition]) -> int:
    """How many conditions there are, groups and what is inside them counted alike."""
    count = 0
    stack = list(conditions)
    while stack:
        count += 1
        match stack.pop():
            case Not(conditions=inside):
                stack += inside
            case AnyOf(groups=groups) | AllOf(groups=groups):
                stack += (one for group in groups for one in group)
    return count


def _flat(conditions: Sequence[Condition]) -> tuple[Condition, ...]:
    """The same conditions, those of `all` blocks beside the others."""
    held: list[Condition] = []
    for condition in conditions:
        if isinstance(condition, AllOf):
            held += (one for group in condition.groups for one in _flat(group))
        else:
            held.append(condition)
    return tuple(held)


def _all_implied(wanted: Sequence[Condition], held: Sequence[Condition]) -> bool:
    return all(_implied(one, held) for one in wanted)


def _implied(wanted: Condition, held: Sequence[Condition]) -> bool:
    """Whether a condition holds wherever all of the others do."""
    match wanted:
        case AllOf(groups=groups):
            return all(_all_implied(group, held) for group in groups)
        case AnyOf(groups=groups):
            if any(_all_implied(group, held) for group in groups):
                return True
        case Not(conditions=inside):
            if _excluded(inside, held):
                return True
        case When():
            return any(isinstance(one, When) and one.wanted == wanted.wanted for one in held)
        case On():
            if any(isinstance(one, On) and _entails(one, wanted) for one in held):
                return True
    return _implied_by_each_alternative(wanted, held)


def _excluded(inside: Sequence[Condition], held: Sequence[Condition]) -> bool:
    """Whether what stands in a `not` can never hold together with the conditions."""
    for one in held:
        if isinstance(one, Not) and _all_implied(one.conditions, _flat(inside)):
            return True
    return any(isinstance(one, On) and isinstance(no, On) and _exclude(one, no) for one in held for no in inside)


def _implied_by_each_alternative(wanted: Condition, held: Sequence[Condition]) -> bool:
    """Whether each alternative of some `any` among the conditions implies it."""
    for at, one in enumerate(held):
        if isinstance(one, AnyOf) and len(one.groups) <= ALTERNATIVES_MAX:
            rest = (*held[:at], *held[at + 1 :])
            inside = [other for group in one.groups for other in _flat(group)]
            if not any(isinstance(other, AnyOf) for other in (*rest, *inside)):
                return all(_implied(wanted, (*_flat(group), *rest)) for group in one.groups)
    return False


def _entails(held: On, wanted: On) -> bool:
    """Whether one operator on a path holds wherever another on the same path does."""
    if held.path.text != wanted.path.text:
        return False
    if type(held.operator) is type(wanted.operator) and _asked(held) == _asked(wanted):
        return True
    match wanted.operator, held.operator:
        case Equals(values=more), Equals(values=fewer):
            return fewer <= more
        case NotEquals(equals=Equals(values=fewer)), NotEquals(equals=Equals(values=more)):
            return fewer <= more
        case ((Regex() | Glob()), Equals(values=values)):  # a number has several texts: 1 is equal to 1.0
            return all(isinstance(value, str) and wanted.operator.holds(value) for value in values)
        case ((GreaterThan() | AtLeast() | LessThan() | AtMost()), Equals(values=values)):
            return all(wanted.operator.holds(_plain(value)) for value in values)
        case ((NotEquals() | Contains()), Equals(values=values)) if _is_single(held):
            return all(wanted.operator.holds(_plain(value)) for value in values)
        case Exists(wanted=True), Equals(values=values) if held.path.head != "severity":
            return None not in values
        case Exists(wanted=True), Regex() | Glob() | Contains() | GreaterThan() | AtLeast() | LessThan() | AtMost():
            return held.path.head != "severity"
        case ((GreaterThan(number=low) | AtLeast(number=low)), (GreaterThan(number=high) | AtLeast(number=high))):
            return high > low or (high == low and isinstance(held.operator, GreaterThan))
        case ((LessThan(number=high) | AtMost(number=high)), (LessThan(number=low) | AtMost(number=low))):
            return low < high or (high == low and isinstance(held.operator, LessThan))
    return False


def _exclude(one: On, other: On) -> bool:
    """Whether two operators on the same path can never hold together."""
    if one.path.text != other.path.text or not _is_single(one):
        return False  # of a list, one element may please the one and another the other
    for left, right in ((one.operator, other.operator), (other.operator, one.operator)):
        match left:
            case Equals(values=values) if not any(right.holds(_plain(value)) for value in values):
                return not isinstance(right, Exists)
            case GreaterThan(number=low) | AtLeast(number=low) if isinstance(right, LessThan | AtMost):
                touches = isinstance(left, AtLeast) and isinstance(right, AtMost)
                return low > right.number or (low == right.number and not touches)
    return False


def _contradiction(held: Sequence[Condition]) -> tuple[str, str] | None:
    """Two of the conditions that exclude one another."""
    for at, one in enumerate(held):
        for other in held[at + 1 :]:
            if isinstance(one, On) and isinstance(other, On) and _exclude(one, other):
                return one.name, other.name
    for one in held:
        if isinstance(one, Not) and _all_implied(one.conditions, [other for other in held if other is not one]):
            return _named_like(one, held), one.name
    return None


def _named_like(no: Not, held: Sequence[Condition]) -> str:
    """The condition beside a `not` that it denies, for people."""
    paths = {inner.path.text for inner in no.conditions if isinstance(inner, On)}
    return next((one.name for one in held if isinstance(one, On) and one.path.text in paths), no.name)


def _is_single(condition: On) -> bool:
    """Whether its path reads one text, never a list."""
    return condition.path.head != "payload"


def _asked(condition: On) -> tuple[Any, ...]:
    """What its operator compares with, typed: in Python 1 is equal to true."""
    return tuple(typed_values(condition.wanted))


def _plain(value: Any) -> Any:
    """A typed value as it stands in an alert."""
    return value[1] if isinstance(value, tuple) else value
