"""What a condition asks of a value: one small class per operator, listed in CONDITIONS.

In: what a rule wants, when rules are loaded; a value of an alert, when they are used. Equality is typed; what a list
holds is tried element by element, and one that holds is enough. Which value, and how answers combine: `match.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, Self

from bridge.rules.paths import MISSING
from bridge.rules.patterns import PATTERN_SEES_CHARS, compiled, found_in, regex_of
from bridge.rules.values import (
    BadCondition,
    as_read,
    elements,
    is_container,
    kind_of,
    number_of,
    scalars,
    texts_of,
    typed,
    typed_values,
)


class Operator(Protocol):
    """One comparison with what a rule wants. `holds` takes any JSON value or MISSING and never raises."""

    @property
    def wanted(self) -> Any:
        """What it compares with, as the rule writes it."""
        ...

    @classmethod
    def read(cls, wanted: Any) -> Self:
        """Compile it. Raises BadCondition."""
        ...

    def holds(self, actual: Any) -> bool:
        """Whether the value at the condition's path is as wanted."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Equals:
    """The same value of the same type; a list means any of."""

    wanted: Any
    values: frozenset[Any]  # typed

    @classmethod
    def read(cls, wanted: Any) -> Self:
        """Compile it. Raises BadCondition."""
        return cls(wanted=wanted, values=frozenset(as_read(scalars(wanted))))

    def holds(self, actual: Any) -> bool:
        """Whether the value, or an element of it, is one of those wanted."""
        if not is_container(actual):
            return typed(actual) in self.values
        return not self.values.isdisjoint(typed_values(actual))


@dataclass(frozen=True, slots=True, kw_only=True)
class In(Equals):
    """Any of a list."""

    @classmethod
    def read(cls, wanted: Any) -> Self:
        """Compile it. Raises BadCondition."""
        if not isinstance(wanted, list | tuple):
            raise BadCondition(f"'in' wants a list, found {kind_of(wanted)}", "write in: [a, b]")
        return super(In, cls).read(wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotEquals:
    """None of the values wanted; holds for a missing path."""

    wanted: Any
    equals: Equals

    @classmethod
    def read(cls, wanted: Any) -> Self:
        """Compile it. Raises BadCondition."""
        return cls(wanted=wanted, equals=Equals.read(wanted))

    def holds(self, actual: Any) -> bool:
        """Whether neither the value nor an element of it is one of those wanted."""
        return not self.equals.holds(actual)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exists:
    """Whether the path leads to a value; JSON null is none."""

    wanted: Any

    @classmethod
    def read(cls, wanted: Any) -> Self:
        """Compile it. Raises BadCondition."""
        if not isinstance(wanted, bool):
            raise BadCondition(f"'exists' wants true or false, found {kind_of(wanted)}")
        return cls(wanted=wanted)

    def holds(self, actual: Any) -> bool:
        """Whether there is a value exactly when one is wanted."""
        return (actual is not MISSING and actual is not None) is self.wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Contains:
    """A text holds the text, a list the element, a mapping the key; a list of them means any of."""

    wanted: Any
    values: frozenset[Any]  # typed
    texts: tuple[str, ...]

    @classmethod
    def read(cls, wanted: Any) -> Self:
        """Compile it. Raises BadCondition."""
        values = scalars(wanted)
        texts = tuple(value for value in values if isinstance(value, str))
        return cls(wanted=wanted, values=frozenset(as_read(values)), texts=texts)

    def holds(self, actual: Any) -> bool:
        """Whether one of the values wanted is inside."""
        if isinstance(actual, str):
            seen = actual[:PATTERN_SEES_CHARS]
            return any(text in seen for text in self.texts)
        if isinstance(actual, Mapping):
            return any(text in actual for text in self.texts)
        if isinstance(actual, list | tuple):
            return not self.values.isdisjoint(typed_values(actual))
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Regex:
    """A text in which the pattern is found, in linear time (RE2); a list of patterns means any of."""

    wanted: Any
    patterns: tuple[Any, ...] = field(repr=False, compare=False)  # compiled; RE2 objects have no types

    @classmethod
    def read(cls, wanted: Any) -> Self:
        """Compile it. Raises BadCondition."""
        return cls(wanted=wanted, patterns=tuple(compiled(text) for text in texts_of(wanted, "regex")))

    def holds(self, actual: Any) -> bool:
        """Whether a pattern is found in the text, the number's text, or an element's."""
        return found_in(self.patterns, actual)


@dataclass(frozen=True, slots=True, kw_only=True)
class Glob:
    """A text that is wholly as the pattern, `*`, `?` and `[a-z]` being wild; a list of patterns means any of."""

    wanted: Any
    patterns: tuple[Any, ...] = field(repr=False, compare=False)

    @classmethod
    def read(cls, wanted: Any) -> Self:
        """Compile it. Raises BadCondition."""
        return cls(wanted=wanted, patterns=tuple(compiled(regex_of(text)) for text in texts_of(wanted, "glob")))

    def holds(self, actual: Any) -> bool:
        """Whether a pattern covers the text, the number's text, or an element's."""
        return found_in(self.patterns, actual)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ordered(ABC):
    """A number compared with the one wanted; a wholly numeric string reads as a number."""

    spelled: ClassVar[str]
    wanted: Any
    number: float

    @classmethod
    def read(cls, wanted: Any) -> Self:
        """Compile it. Raises BadCondition."""
        number = number_of(wanted)
        if number is None:
            raise BadCondition(f"'{cls.spelled}' wants a number, found {kind_of(wanted)}")
        return cls(wanted=wanted, number=number)

    def holds(self, actual: Any) -> bool:
        """Whether the number, or an element's, lies on the side wanted."""
        numbers = (number_of(value) for value in elements(actual))
        return any(self.compares(number) for number in numbers if number is not None)

    @abstractmethod
    def compares(self, number: float) -> bool:
        """Whether one number lies on the side wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GreaterThan(_Ordered):
    """More than."""

    spelled: ClassVar[str] = "gt"

    def compares(self, number: float) -> bool:
        """Whether it is more."""
        return number > self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class AtLeast(_Ordered):
    """As much or more."""

    spelled: ClassVar[str] = "gte"

    def compares(self, number: float) -> bool:
        """Whether it is as much or more."""
        return number >= self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class LessThan(_Ordered):
    """Less than."""

    spelled: ClassVar[str] = "lt"

    def compares(self, number: float) -> bool:
        """Whether it is less."""
        return number < self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class AtMost(_Ordered):
    """As much or less."""

    spelled: ClassVar[str] = "lte"

    def compares(self, number: float) -> bool:
        """Whether it is as much or less."""
        return number <= self.number


CONDITIONS: Mapping[str, type[Operator]] = MappingProxyType(
    {
        "eq": Equals,
        "ne": NotEquals,
        "in": In,
        "exists": Exists,
        "contains": Contains,
        "regex": Regex,
        "glob": Glob,
        "gt": GreaterThan,
        "gte": AtLeast,
        "lt": LessThan,
        "lte": AtMost,
    }
)
