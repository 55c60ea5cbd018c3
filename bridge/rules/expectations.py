"""What a rule test expects, held against what there is: only what is named is looked at.

In: JSON values, wanted and actual. Out: sentences about the differences, each with its path. A mapping of one of these
words is a matcher: {contains: text}, {regex: pattern}, {absent: true}, {one_of: [values]}.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import re2

MATCHERS = ("contains", "regex", "absent", "one_of")
SHOWN_MAX_CHARS = 200
_MISSING = object()
_ABSENT = {"absent": True}


def is_matcher(wanted: Any) -> bool:
    """Whether a mapping says how a value is to be, rather than what is in it."""
    return isinstance(wanted, Mapping) and len(wanted) == 1 and next(iter(wanted)) in MATCHERS


def differences(wanted: Any, actual: Any, path: str) -> Iterator[str]:
    """Why `actual` is not what is wanted at `path`; nothing when it is."""
    if is_matcher(wanted):
        yield from _matcher(next(iter(wanted)), next(iter(wanted.values())), actual, path)
    elif actual is _MISSING:
        yield f"{path} is missing, wanted {shown(wanted)}"
    elif isinstance(wanted, Mapping):
        yield from _mapping(wanted, actual, path)
    elif isinstance(wanted, list):
        yield from _sequence(wanted, actual, path)
    elif not _is_same(wanted, actual):
        yield f"{path} is {shown(actual)}, wanted {shown(wanted)}"


def changed(wanted: Any, actual: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The places of `wanted` that do not hold, with what is there today: what an update would write."""
    match wanted:
        case {"contains": _} if len(wanted) == 1 and isinstance(actual, str):
            if any(differences(wanted, actual, "")):
                yield (*path, "contains"), actual
        case _ if is_matcher(wanted):
            if any(differences(wanted, actual, "")):
                yield path, _ABSENT if actual is _MISSING else actual
        case Mapping() if isinstance(actual, Mapping):
            for name, value in wanted.items():
                yield from changed(value, actual.get(name, _MISSING), (*path, name))
        case list() if isinstance(actual, list | tuple) and len(actual) == len(wanted):
            for number, (one, there) in enumerate(zip(wanted, actual, strict=True)):
                yield from changed(one, there, (*path, number))
        case _:
            if any(differences(wanted, actual, "")):
                yield path, _ABSENT if actual is _MISSING else actual


def shown(value: Any) -> str:
    """A value in a sentence."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_MAX_CHARS else f"{text[: SHOWN_MAX_CHARS - 1]}…"


def _matcher(word: str, wanted: Any, actual: Any, path: str) -> Iterator[str]:
    match word:
        case "absent":
            if (actual is _MISSING) != bool(wanted):
                yield f"{path} is missing" if actual is _MISSING else f"{path} is {shown(actual)}, wanted nothing there"
        case _ if actual is _MISSING:
            yield f"{path} is missing, wanted {word} {shown(wanted)}"
        case "contains":
            if str(wanted) not in _text(actual):
                yield f"{path} is {shown(actual)}, which does not contain {shown(wanted)}"
        case "regex":
            if re2.search(str(wanted), _text(actual)) is None:
                yield f"{path} is {shown(actual)}, in which {shown(wanted)} finds nothing"
        case "one_of":
            if all(any(differences(one, actual, path)) for one in wanted):
                yield f"{path} is {shown(actual)}, wanted one of {shown(wanted)}"


def _mapping(wanted: Mapping[str, Any], actual: Any, path: str) -> Iterator[str]:
    if not isinstance(actual, Mapping):
        yield f"{path} is {shown(actual)}, wanted {shown(wanted)}"
        return
    for name, value in wanted.items():
        yield from differences(value, actual.get(name, _MISSING), f"{path}.{name}")


def _sequence(wanted: Sequence[Any], actual: Any, path: str) -> Iterator[str]:
    if not isinstance(actual, list | tuple) or len(actual) != len(wanted):
        yield f"{path} is {shown(actual)}, wanted {shown(wanted)}"
        return
    for number, (one, there) in enumerate(zip(wanted, actual, strict=True)):
        yield from differences(one, there, f"{path}.{number}")


def _is_same(wanted: Any, actual: Any) -> bool:
    """Typed: true is not 1; but 1 is 1.0."""
    return bool(wanted == actual) and isinstance(wanted, bool) == isinstance(actual, bool)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
