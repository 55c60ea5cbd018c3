"""Conditions of a rule: each holds for an alert, or answers with the Check that said no.

In: a rule's `match` block when rules are loaded (one small class per operator, listed in CONDITIONS), an Alert when
they are used. Equality is typed; what a list holds is tried element by element, and one that holds is enough.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, Self

import re2

from bridge.domain.alert import Alert
from bridge.domain.decision import Check
from bridge.rules.paths import MISSING, Path

# Both keep many conditions on a huge body within the time of a request: what lies beyond does not match.
PATTERN_SEES_CHARS = 262_144  # of one text, and of the texts of one list together
LIST_SEES_ITEMS = 4_096  # elements of one list; a pattern takes about a microsecond for each
REMEMBERED_FROM = 256  # elements or characters of a value for which answers are kept while one webhook is decided
REMEMBERED_MAX = 10_000  # answers of one webhook
REGEX_MAX_MEMORY = 1 << 20  # bytes of RE2 for one pattern; thousands of rules share a process
INTEGER_BITS = 63  # and a sign
WRITTEN_MAX_BITS = 10_000  # of an integer that Python still writes in digits
SHOWN_MAX_CHARS = 200  # of a value in a trace
SHOWN_MAX_ITEMS = 10


class BadCondition(ValueError):
    """What a rule wants cannot be compared with anything; `hint` says what can be written."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)


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
        return cls(wanted=wanted, values=frozenset(_as_read(_scalars(wanted))))

    def holds(self, actual: Any) -> bool:
        """Whether the value, or an element of it, is one of those wanted."""
        if not _is_container(actual):
            return _typed(actual) in self.values
        return not self.values.isdisjoint(typed_values(actual))


@dataclass(frozen=True, slots=True, kw_only=True)
class In(Equals):
    """Any of a list."""

    @classmethod
    def read(cls, wanted: Any) -> Self:
        """Compile it. Raises BadCondition."""
        if not isinstance(wanted, list | tuple):
            raise BadCondition(f"'in' wants a list, found {_kind(wanted)}", "write in: [a, b]")
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
            raise BadCondition(f"'exists' wants true or false, found {_kind(wanted)}")
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
        values = _scalars(wanted)
        texts = tuple(value for value in values if isinstance(value, str))
        return cls(wanted=wanted, values=frozenset(_as_read(values)), texts=texts)

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
        return cls(wanted=wanted, patterns=tuple(compiled(text) for text in _texts(wanted, "regex")))

    def holds(self, actual: Any) -> bool:
        """Whether a pattern is found in the text, the number's text, or an element's."""
        return _found(self.patterns, actual)


@dataclass(frozen=True, slots=True, kw_only=True)
class Glob:
    """A text that is wholly as the pattern, `*`, `?` and `[a-z]` being wild; a list of patterns means any of."""

    wanted: Any
    patterns: tuple[Any, ...] = field(repr=False, compare=False)

    @classmethod
    def read(cls, wanted: Any) -> Self:
        """Compile it. Raises BadCondition."""
        return cls(wanted=wanted, patterns=tuple(compiled(_glob_regex(text)) for text in _texts(wanted, "glob")))

    def holds(self, actual: Any) -> bool:
        """Whether a pattern covers the text, the number's text, or an element's."""
        return _found(self.patterns, actual)


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
            raise BadCondition(f"'{cls.spelled}' wants a number, found {_kind(wanted)}")
        return cls(wanted=wanted, number=number)

    def holds(self, actual: Any) -> bool:
        """Whether the number, or an element's, lies on the side wanted."""
        numbers = (number_of(value) for value in _elements(actual))
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


def typed_values(actual: Any) -> Iterator[Any]:
    """The values of an alert as the rule book's index knows them: those an equality could ask for."""
    return (_typed(value) for value in _elements(actual) if not _is_container(value))


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


_NUMERIC = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_NUMERIC_MAX_CHARS = 400


def number_of(value: Any) -> float | None:
    """A number, or a wholly numeric text, as a number (int where it is whole); None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if not isinstance(value, str) or len(value) > _NUMERIC_MAX_CHARS:
        return None
    text = value.strip()
    if _NUMERIC.fullmatch(text) is None:
        return None
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def shown(value: Any, depth: int = 3) -> Any:
    """A value of an alert as bounded JSON, for a trace; None for what is missing."""
    if value is MISSING:
        return None
    if isinstance(value, str):
        return value if len(value) <= SHOWN_MAX_CHARS else value[: SHOWN_MAX_CHARS - 1] + "…"
    if isinstance(value, Mapping):
        if depth == 0 or len(value) > SHOWN_MAX_ITEMS:
            return f"(a mapping of {len(value)})"
        return {str(key)[:SHOWN_MAX_CHARS]: shown(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if depth == 0:
            return f"(a list of {len(value)})"
        some = [shown(item, depth - 1) for item in value[:SHOWN_MAX_ITEMS]]
        return some if len(value) <= SHOWN_MAX_ITEMS else [*some, f"(and {len(value) - SHOWN_MAX_ITEMS} more)"]
    if isinstance(value, int) and value.bit_length() > 1024:
        return "(an integer of over 300 digits)"
    return value


def _elements(actual: Any) -> Sequence[Any]:
    if actual is MISSING:
        return ()
    if not isinstance(actual, list | tuple):
        return (actual,)
    return actual if len(actual) <= LIST_SEES_ITEMS else actual[:LIST_SEES_ITEMS]


def _is_container(value: Any) -> bool:
    return not isinstance(value, str) and isinstance(value, dict | list | tuple | Mapping)


def _typed(value: Any) -> Any:
    """A scalar such that 1 and 1.0 are equal, but neither is true nor "1"."""
    return ("bool", value) if isinstance(value, bool) else value


def _as_read(wanted: Iterable[Any]) -> Iterator[Any]:
    """The values wanted, typed; an integer beyond 64 bits also as its digits, for so the reader of bodies gives it."""
    for value in wanted:
        yield _typed(value)
        if isinstance(value, int) and INTEGER_BITS < value.bit_length() <= WRITTEN_MAX_BITS:
            yield str(value)


def _scalars(wanted: Any) -> tuple[Any, ...]:
    values = tuple(wanted) if isinstance(wanted, list | tuple) else (wanted,)
    if not values:
        raise BadCondition("an empty list can never match")
    for value in values:
        if _is_container(value):
            raise BadCondition(f"a value to compare with is a text, a number, true, false or null, not {_kind(value)}")
    return values


def _texts(wanted: Any, spelled: str) -> tuple[str, ...]:
    values = _scalars(wanted)
    odd = next((value for value in values if not isinstance(value, str)), None)
    if odd is not None or None in values:
        raise BadCondition(f"'{spelled}' wants a text, found {_kind(odd)}")
    return values


def compiled(text: str) -> Any:
    """A pattern of RE2. Raises BadCondition."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = REGEX_MAX_MEMORY
    try:
        return re2.compile(text, options)
    except (re2.error, UnicodeEncodeError) as error:
        raise BadCondition(f"regex '{text}' cannot be used: {_said(error)}", _REGEX_HINT) from error


_REGEX_HINT = "patterns are RE2: no look-around and no back-references"


def _said(error: Exception) -> str:
    said = error.args[0] if error.args else "it is not understood"
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def _found(patterns: tuple[Any, ...], actual: Any) -> bool:
    left = PATTERN_SEES_CHARS
    for value in _elements(actual):
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            continue
        text = value[:PATTERN_SEES_CHARS] if isinstance(value, str) else _number_text(value)
        left -= len(text)
        if left < 0:
            return False  # a text that is cut short could be as the pattern though the whole one is not
        seen = text.encode("utf-8", "replace")  # lone surrogates have no UTF-8
        if any(pattern.search(seen) is not None for pattern in patterns):
            return True
    return False


def _number_text(value: float) -> str:
    return hex(value) if isinstance(value, int) and value.bit_length() > 1024 else str(value)


_GLOB_PART = re.compile(r"\*|\?|\[(?:!|\^)?[^\]\\]+\]")


def _glob_regex(glob: str) -> str:
    parts = []
    at = 0
    for found in _GLOB_PART.finditer(glob):
        parts.append(re.escape(glob[at : found.start()]))
        part = found.group()
        if part == "*":
            parts.append(".*")
        elif part == "?":
            parts.append(".")
        else:
            parts.append("[^" + part[2:] if part[1] in "!^" else part)
        at = found.end()
    parts.append(re.escape(glob[at:]))
    return rf"(?s)\A{''.join(parts)}\z"


def _kind(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text '{value}'"
        case Mapping():
            return "a mapping"
    return "a list"
