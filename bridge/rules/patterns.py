"""Patterns of rules: compiled for RE2, which finds them in linear time, and looked for in bounded texts."""

import re
from typing import Any

import re2

from bridge.rules.values import BadCondition, elements

# As LIST_SEES_ITEMS: it keeps many conditions on a huge body within the time of a request.
PATTERN_SEES_CHARS = 262_144  # of one text, and of the texts of one list together; what lies beyond does not match
REGEX_MAX_MEMORY = 1 << 20  # bytes of RE2 for one pattern; thousands of rules share a process
_REGEX_HINT = "patterns are RE2: no look-around and no back-references"
_GLOB_PART = re.compile(r"\*|\?|\[(?:!|\^)?[^\]\\]+\]")


def compiled(text: str) -> Any:
    """A pattern of RE2. Raises BadCondition."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = REGEX_MAX_MEMORY
    try:
        return re2.compile(text, options)
    except (re2.error, UnicodeEncodeError) as error:
        raise BadCondition(f"regex '{text}' cannot be used: {_said(error)}", _REGEX_HINT) from error


def _said(error: Exception) -> str:
    said = error.args[0] if error.args else "it is not understood"
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def regex_of(glob: str) -> str:
    """The pattern that covers what a glob covers: the whole text, lines and all."""
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


def found_in(patterns: tuple[Any, ...], actual: Any) -> bool:
    """Whether one of the patterns is found in the text, the number's text, or an element's."""
    left = PATTERN_SEES_CHARS
    for value in elements(actual):
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
