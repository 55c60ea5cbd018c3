"""Values that conditions compare: as a rule wants them, and as an alert has them.

A number equals a number, whole or not, and neither a truth value nor a text; a list stands for its elements.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from bridge.rules.paths import MISSING

# It keeps many conditions on a huge body within the time of a request: what lies beyond does not match.
LIST_SEES_ITEMS = 4_096  # elements of one list; a pattern takes about a microsecond for each
INTEGER_BITS = 63  # and a sign
WRITTEN_MAX_BITS = 10_000  # of an integer that Python still writes in digits
SHOWN_MAX_CHARS = 200  # of a value in a trace
SHOWN_MAX_ITEMS = 10
_NUMERIC = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_NUMERIC_MAX_CHARS = 400
_BACKSPACE = "\b"  # what "\b" in double quotes is to YAML; who writes it means the border of a word
_BACKSPACE_HINT = "in double quotes YAML reads \\b so: put the pattern in single quotes"


class BadCondition(ValueError):
    """What a rule wants cannot be compared with anything; `hint` says what can be written."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.hint = hint
        super().__init__(message)


def scalars(wanted: Any) -> tuple[Any, ...]:
    """The values wanted: one, or those of a list. Raises BadCondition."""
    values = tuple(wanted) if isinstance(wanted, list | tuple) else (wanted,)
    if not values:
        raise BadCondition("an empty list can never match")
    for value in values:
        if is_container(value):
            raise BadCondition(
                f"a value to compare with is a text, a number, true, false or null, not {kind_of(value)}"
            )
    return values


def texts_of(wanted: Any, spelled: str) -> tuple[str, ...]:
    """The texts wanted by an operator that compares nothing else. Raises BadCondition."""
    values = scalars(wanted)
    odd = next((value for value in values if not isinstance(value, str)), None)
    if odd is not None or None in values:
        raise BadCondition(f"'{spelled}' wants a text, found {kind_of(odd)}")
    if any(_BACKSPACE in text for text in values):
        raise BadCondition(f"'{spelled}' looks for the character U+0008, a backspace; no text has it", _BACKSPACE_HINT)
    return values


def as_read(wanted: Iterable[Any]) -> Iterator[Any]:
    """The values wanted, typed; an integer beyond 64 bits also as its digits, for so the reader of bodies gives it."""
    for value in wanted:
        yield typed(value)
        if isinstance(value, int) and INTEGER_BITS < value.bit_length() <= WRITTEN_MAX_BITS:
            yield str(value)


def kind_of(value: Any) -> str:
    """What a value is, as a message says it."""
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
            return "a mapping" if value else "an empty mapping"  # where a mapping is wanted, the latter may not be it
    return "a list" if value else "an empty list"


def elements(actual: Any) -> Sequence[Any]:
    """What is compared one by one: the elements of a list, so many of them, or the value itself; nothing of MISSING."""
    if actual is MISSING:
        return ()
    if not isinstance(actual, list | tuple):
        return (actual,)
    return actual if len(actual) <= LIST_SEES_ITEMS else actual[:LIST_SEES_ITEMS]


def typed_values(actual: Any) -> Iterator[Any]:
    """The values of an alert as the rule book's index knows them: those an equality could ask for."""
    return (typed(value) for value in elements(actual) if not is_container(value))


def typed(value: Any) -> Any:
    """A scalar such that 1 and 1.0 are equal, but neither is true nor "1"."""
    return ("bool", value) if isinstance(value, bool) else value


def is_container(value: Any) -> bool:
    """Whether a value holds others."""
    return not isinstance(value, str) and isinstance(value, dict | list | tuple | Mapping)


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
