"""Which rules and conditions the tests of a rule book have tried, and which answer of them nobody has seen.

In: the alerts of the tests. Out: per condition whether it was ever true, and ever false. A test that never makes a
condition say no does not know whether anybody needs it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bridge.domain.alert import Alert
from bridge.rules.book import RuleBook
from bridge.rules.match import AllOf, AnyOf, Condition, Not


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One condition of a rule, by its path there, and the answers that were seen."""

    rule: str
    condition: str
    was_true: bool
    was_false: bool


@dataclass(slots=True)
class Coverage:
    """Takes the alerts one by one."""

    book: RuleBook
    _seen: dict[tuple[str, str], set[bool]] = field(default_factory=dict)
    _leaves: list[tuple[str, tuple[tuple[str, Condition, bool], ...]]] = field(init=False)

    def __post_init__(self) -> None:
        self._leaves = [(rule.id, tuple(_leaves(rule.conditions or ()))) for rule in self.book.rules]

    def take(self, alert: Alert) -> None:
        """Ask every condition of every rule."""
        for rule, leaves in self._leaves:
            for name, condition, means in leaves:
                self._seen.setdefault((rule, name), set()).add((condition.refused(alert) is None) is means)

    def conditions(self) -> Iterator[Tried]:
        """Every condition of the book, in order."""
        for rule, leaves in self._leaves:
            for name in dict.fromkeys(name for name, _, _ in leaves):
                seen = self._seen.get((rule, name), set())
                yield Tried(rule=rule, condition=name, was_true=True in seen, was_false=False in seen)


def _leaves(conditions: Sequence[Condition]) -> Iterator[tuple[str, Condition, bool]]:
    """The conditions that ask something by themselves: their name, and whether holding is what the rule wants."""
    for condition in conditions:
        match condition:
            case Not(conditions=(inner,)) if not isinstance(inner, Not | AnyOf | AllOf):
                yield inner.name, inner, False
            case Not(conditions=inside):
                yield from _leaves(inside)
            case AnyOf(groups=groups) | AllOf(groups=groups):
                for group in groups:
                    yield from _leaves(group)
            case _:
                yield condition.name, condition, True
