"""A rule's `match` block, compiled: each Condition holds for an alert, or answers with the Check that said no.

In: an Alert. Out: None or a Check. What is compared how, an operator each, is in `conditions.py`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from bridge.domain.alert import Alert
from bridge.domain.decision import Check
from bridge.rules.conditions import Equals, Exists, Operator
from bridge.rules.paths import Path
from bridge.rules.values import shown

REMEMBERED_FROM = 256  # elements or characters of a value for which answers are kept while one webhook is decided
REMEMBERED_MAX = 10_000  # answers of one webhook


class Condition(Protocol):
    """One entry of a `match` block, on a path or a group of others."""

    @property
    def name(self) -> str:
        """Its path in the rule, for traces."""
        ...

    @property
    def wanted(self) -> Any:
        """What it asks for, as the rule writes it."""
        ...

    def refused(self, alert: Alert) -> Check | None:
        """The Check that said no; None when the condition holds."""
        ...

    def seen(self, alert: Alert) -> Any:
        """What the condition looked at, as bounded JSON; None when it was missing."""
        ...

    def equalities(self) -> Iterator[tuple[Path, frozenset[Any]]]:
        """Paths that must hold one of these typed values for the condition to hold: what the rule book indexes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class On:
    """An operator on what a path reads."""

    name: str
    path: Path
    operator: Operator

    @property
    def wanted(self) -> Any:
        """As the rule writes it."""
        return self.operator.wanted

    def refused(self, alert: Alert) -> Check | None:
        """The Check that said no."""
        actual = self._actual(alert)
        is_long = type(actual) in _SIZED and len(actual) >= REMEMBERED_FROM
        if _once(self.operator, actual) if is_long else self.operator.holds(actual):
            return None
        return Check(condition=self.name, wanted=self.wanted, actual=shown(actual), held=False)

    def seen(self, alert: Alert) -> Any:
        """The value at the path."""
        return shown(self._actual(alert))

    def equalities(self) -> Iterator[tuple[Path, frozenset[Any]]]:
        """Its own, for an operator that wants equality."""
        if isinstance(self.operator, Equals):
            yield self.path, self.operator.values

    def _actual(self, alert: Alert) -> Any:
        # `exists` asks what the sender gave; every other operator sees what an absent severity counts as.
        return self.path.given(alert) if isinstance(self.operator, Exists) else self.path.read(alert)


@dataclass(frozen=True, slots=True, kw_only=True)
class Not:
    """Holds unless all of its conditions do."""

    name: str
    wanted: Any
    conditions: tuple[Condition, ...]

    def refused(self, alert: Alert) -> Check | None:
        """The one condition inside that held, else (several did) the group."""
        if any(condition.refused(alert) is not None for condition in self.conditions):
            return None
        if len(self.conditions) == 1:
            inner = self.conditions[0]
            return Check(condition=inner.name, wanted=inner.wanted, actual=inner.seen(alert), held=False)
        return Check(condition=self.name, wanted=self.wanted, actual=self.seen(alert), held=False)

    def seen(self, alert: Alert) -> Any:
        """What each condition inside looked at."""
        return {condition.name: condition.seen(alert) for condition in self.conditions}

    def equalities(self) -> Iterator[tuple[Path, frozenset[Any]]]:
        """None: it excludes values, it demands none."""
        yield from ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AllOf:
    """Holds when every condition of every alternative does."""

    name: str
    wanted: Any
    groups: tuple[tuple[Condition, ...], ...]

    def refused(self, alert: Alert) -> Check | None:
        """The first Check inside that said no."""
        return next((check for group in self.groups if (check := refusal(group, alert)) is not None), None)

    def seen(self, alert: Alert) -> Any:
        """What each condition inside looked at."""
        return {condition.name: condition.seen(alert) for group in self.groups for condition in group}

    def equalities(self) -> Iterator[tuple[Path, frozenset[Any]]]:
        """Those of all conditions inside."""
        for group in self.groups:
            for condition in group:
                yield from condition.equalities()


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOf:
    """Holds when the conditions of at least one alternative all do."""

    name: str
    wanted: Any
    groups: tuple[tuple[Condition, ...], ...]

    def refused(self, alert: Alert) -> Check | None:
        """The Check that refused the last alternative."""
        check: Check | None = None
        for group in self.groups:
            check = refusal(group, alert)
            if check is None:
                return None
        return check

    def seen(self, alert: Alert) -> Any:
        """What each condition inside looked at."""
        return {condition.name: condition.seen(alert) for group in self.groups for condition in group}

    def equalities(self) -> Iterator[tuple[Path, frozenset[Any]]]:
        """None: another alternative may do."""
        yield from ()


Question = Callable[[Alert], bool | str]
"""A compiled `when`: True, False, or a sentence that says why it cannot be answered for this alert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class When:
    """A boolean expression over the whole alert; one that cannot be answered does not hold."""

    wanted: str
    asks: Question = field(repr=False, compare=False)
    name: str = "when"

    def refused(self, alert: Alert) -> Check | None:
        """The expression itself, with False or the reason it has no answer."""
        answer = self.asks(alert)
        return None if answer is True else Check(condition=self.name, wanted=self.wanted, actual=answer, held=False)

    def seen(self, alert: Alert) -> Any:
        """The expression's answer."""
        return self.asks(alert)

    def equalities(self) -> Iterator[tuple[Path, frozenset[Any]]]:
        """None."""
        yield from ()


def refusal(conditions: Sequence[Condition], alert: Alert) -> Check | None:
    """The first of the conditions that says no; None when all hold."""
    for condition in conditions:
        check = condition.refused(alert)
        if check is not None:
            return check
    return None


_SIZED = (str, list, tuple)
_Answers = dict[tuple[int, int], tuple[bool, Operator, Any]]
_ANSWERS: ContextVar[_Answers | None] = ContextVar("answers", default=None)


class Remembering:
    """Within it, what an operator says of a long value is found out once: the alerts of a webhook share them."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = _ANSWERS.set({})

    def __exit__(self, *_raised: object) -> None:
        _ANSWERS.reset(self._token)


def _once(operator: Operator, actual: Any) -> bool:
    answers = _ANSWERS.get()
    if answers is None:
        return operator.holds(actual)
    key = id(operator), id(actual)
    if key in answers:
        return answers[key][0]
    held = operator.holds(actual)
    if len(answers) < REMEMBERED_MAX:
        answers[key] = held, operator, actual  # both stay alive, or others could come to have their ids
    return held
