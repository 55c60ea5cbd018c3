"""The filters and tests of templates, each paying for what it is about to do. The tables are at the end."""

import functools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode

import re2
from jinja2 import Environment
from jinja2 import filters as stock_filters
from jinja2 import tests as stock_tests
from jinja2.filters import make_attrgetter
from jinja2.runtime import Undefined
from jinja2.utils import pass_environment

from bridge.render.meter import CHARS_PER_STEP, RenderError, spend, weigh
from bridge.render.values import as_json, as_text

CHARS_PER_LOOK = 4_096  # of text that is looked through in one step; by a pattern, where its automaton has few states
PARTS_OF_FEW_STATES = 16  # of a compiled pattern: up to so many, its states fit into REGEX_MAX_MEMORY
PARTS_PER_LOOK = 3 * CHARS_PER_LOOK  # parts times bytes; of more parts RE2 may have to try each at every byte
PARTS_OF_A_BYTE = 24  # what a byte costs there however small the pattern is
STEPS_PER_FOUND = 4  # each match of a regex takes some microseconds
WIDTH_MAX = 200  # of indentation
FORMAT_MAX_CHARS = 10_000
NUMBER_MAX_CHARS = 400
REGEX_MAX_MEMORY = 1 << 20  # bytes


def split_text(text: str, separator: str | None = None, most: int = -1) -> list[str]:
    """The pieces of a text, paid for."""
    spend(len(text))  # may give as many pieces as there are characters
    return text.split(separator, most)


def each_paid(values: Any, cost: int) -> Iterator[Any]:
    """The values of a loop, each paid for when it is its turn; none for null."""
    for value in () if values is None else values:
        spend(cost)
        yield value


def each_at_each(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of texts that may hold each character of its argument against each of the text, paid for."""

    @functools.wraps(method)
    def paying(text: str, *args: Any) -> Any:
        spend(sum(len(text) * len(one) for one in args if isinstance(one, str)) // CHARS_PER_LOOK)
        return method(text, *args)

    return paying


_FORMAT_WIDE = re.compile(  # Python counts the brackets inside a key, no pattern can: such a key hides its width
    r"%(?:\([^()]*\))?[^%a-zA-Z]*?(?:\*|\d{4,}) | %\([^()]*\(", re.VERBOSE
)


def formatted(text: str, values: Any) -> str:
    """`text % values`, paid for. Raises RenderError for a format that could grow without end."""
    spend(len(text) // CHARS_PER_STEP * STEPS_PER_FOUND)
    if len(text) > FORMAT_MAX_CHARS or _FORMAT_WIDE.search(text):
        raise RenderError("a format is too wide")
    spend(text.count("%") * weigh(values))
    written: str = text % values
    return written


def _default(value: Any, default: Any = "", falsy: bool = False) -> Any:
    if value is None or isinstance(value, Undefined) or (falsy and not value):
        return default
    return value


def _count(value: Any) -> int:
    return sum(1 for _ in value) if isinstance(value, Iterator) else len(value)


def _first(values: Iterable[Any]) -> Any:
    return next(iter(values), None)


def _last(values: Any) -> Any:
    held = list(values) if isinstance(values, Iterator) else values
    return held[-1] if held else None


def _list(values: Any) -> list[Any]:
    held = list(values)
    spend(len(held))
    return held


@pass_environment
def _join(environment: Environment, values: Any, separator: str = "", attribute: str | int | None = None) -> str:
    picked = values if attribute is None else map(make_attrgetter(environment, attribute), values)
    texts = [as_text(value) for value in picked]
    glue = as_text(separator)
    spend((sum(map(len, texts)) + len(glue) * len(texts)) // CHARS_PER_STEP)
    return glue.join(texts)


@pass_environment
def _sum(environment: Environment, values: Any, attribute: str | int | None = None, start: float = 0) -> float:
    picked = values if attribute is None else map(make_attrgetter(environment, attribute), values)
    numbers = list(picked)
    if not all(isinstance(number, int | float) for number in [start, *numbers]):
        raise RenderError("sum adds numbers only")
    total: float = start + sum(numbers)
    return total


def _replace(value: Any, old: str, new: str, count: int = -1) -> str:
    text = as_text(value)
    times = text.count(old) if count < 0 else min(count, text.count(old))
    spend((len(text) + times * len(new)) // CHARS_PER_STEP)
    return text.replace(old, new, count)


def _truncate(value: Any, length: int = 255, killwords: bool = False, end: str = "...") -> str:
    text = as_text(value)
    if len(text) <= length:
        return text
    kept = text[: max(0, length - len(end))]
    whole = kept if killwords else kept.rsplit(" ", 1)[0]
    return whole + end


def _indent(value: Any, width: int = 4, first: bool = False, blank: bool = False) -> str:
    if not 0 <= width <= WIDTH_MAX:
        raise RenderError(f"indent goes up to {WIDTH_MAX}")
    lines = as_text(value).split("\n")
    spend(len(lines) * (1 + width // CHARS_PER_STEP))
    pad = " " * width
    return "\n".join(
        pad + line if (first or number) and (blank or line.strip()) else line for number, line in enumerate(lines)
    )


def _int(value: Any, default: int = 0, base: int = 10) -> int:
    if isinstance(value, str):
        text = value.strip()[:NUMBER_MAX_CHARS]
        try:
            return int(text, base)
        except ValueError:
            number = _float(text, math.nan)
    else:
        number = _float(value, math.nan) if not isinstance(value, int) else value
    return int(number) if math.isfinite(number) else default


def _float(value: Any, default: float = 0.0) -> float:
    if isinstance(value, Undefined):
        str(value)  # raises, with its own message
    if isinstance(value, str) and len(value) > NUMBER_MAX_CHARS:
        return default
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return default


def _round(value: float, precision: int = 0, method: str = "common") -> float:
    rounds: Mapping[str, Callable[[float], float]] = {"common": round, "ceil": math.ceil, "floor": math.floor}
    if method not in rounds or not 0 <= precision <= 15:
        raise RenderError("round takes 0 to 15 digits, and common, ceil or floor")
    scale = 10**precision
    return float(round(value, precision)) if method == "common" else rounds[method](value * scale) / scale


def _absolute(value: float) -> float:
    return abs(value)


def _tojson(value: Any, indent: int | None = None) -> str:
    if indent is not None and not 0 <= indent <= 8:
        raise RenderError("tojson indents by up to 8")
    return as_json(value, indent)


def _urlencoded(value: Any) -> str:
    if isinstance(value, Mapping):
        return urlencode({as_text(key): as_text(item) for key, item in value.items()})
    return quote(as_text(value), safe="/", errors="replace")


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        spend(len(value))
        return list(value.items())
    raise RenderError("items takes a mapping")


@functools.lru_cache(maxsize=256)
def compiled_regex(pattern: str) -> Any:
    """A pattern of RE2. Raises RenderError."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = REGEX_MAX_MEMORY
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        raise RenderError("it cannot be used; patterns are RE2, without look-around and back-references") from error


def _utf8(value: Any) -> str:
    return as_text(value).encode("utf-8", "replace").decode()


def _steps_per_char(compiled: Any, text: str) -> float:
    """What a pattern pays for a character of the text that it looks through.

    RE2 takes a byte in about a nanosecond while its automaton fits into its memory. One that does not, as counted
    repetitions make them, is given up for trying each part of the pattern at every byte: thousands of times slower,
    and nothing tells beforehand which it will be.
    """
    parts: int = compiled.programsize
    bytes_per_char = 1 if text.isascii() else len(text.encode()) / len(text)
    if parts <= PARTS_OF_FEW_STATES:
        return bytes_per_char / CHARS_PER_LOOK
    return bytes_per_char * (parts + PARTS_OF_A_BYTE) / PARTS_PER_LOOK


def _regex_search(value: Any, pattern: str, group: int | str = 0) -> Any:
    compiled, text = compiled_regex(pattern), _utf8(value)
    spend(int(len(text) * _steps_per_char(compiled, text)))
    found = compiled.search(text)
    return None if found is None else found.group(group)


def _regex_replace(value: Any, pattern: str, new: str = "") -> str:
    compiled, text = compiled_regex(pattern), _utf8(value)
    steps_per_char = _steps_per_char(compiled, text)
    steps_per_found = STEPS_PER_FOUND + len(new) // CHARS_PER_STEP
    pieces = []
    at = 0
    spend(int(len(text) * steps_per_char))
    for found in compiled.finditer(text):
        pieces.append(text[at : found.start()] + new)
        at = found.end()
        # the next one may look to the end of the text before it is found, or is not
        spend(steps_per_found + int((len(text) - at) * steps_per_char))
    return "".join([*pieces, text[at:]])


def _striptags(value: Any) -> str:
    """The text between tags and comments. What never closes is text, and is looked for once."""
    text = _utf8(value)
    pieces = []
    at = 0
    comments_close = True
    while (start := text.find("<", at)) >= 0:
        spend(STEPS_PER_FOUND)
        end = text.find("-->", start + 4) if comments_close and text.startswith("<!--", start) else -1
        if end >= 0:
            end += 3
        else:
            comments_close = comments_close and not text.startswith("<!--", start)
            end = text.find(">", start) + 1
            if end == 0:
                break
        pieces.append(text[at:start])
        at = end
    return " ".join(" ".join([*pieces, text[at:]]).split())


def _on_text(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)  # with its arguments: how many it takes is checked when a template is loaded
    def on_text(value: Any, *args: Any, **kwargs: Any) -> Any:
        return function(as_text(value), *args, **kwargs)

    return on_text


FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "abs": _absolute,
        "capitalize": _on_text(str.capitalize),
        "count": _count,
        "d": _default,
        "default": _default,
        "dictsort": stock_filters.do_dictsort,
        "first": _first,
        "float": _float,
        "format": lambda value, *args, **kwargs: formatted(as_text(value), kwargs or args),
        "indent": _indent,
        "int": _int,
        "items": _items,
        "join": _join,
        "last": _last,
        "length": _count,
        "list": _list,
        "lower": _on_text(str.lower),
        "map": stock_filters.sync_do_map,
        "max": stock_filters.do_max,
        "min": stock_filters.do_min,
        "regex_replace": _regex_replace,
        "regex_search": _regex_search,
        "reject": stock_filters.sync_do_reject,
        "rejectattr": stock_filters.sync_do_rejectattr,
        "replace": _replace,
        "round": _round,
        "select": stock_filters.sync_do_select,
        "selectattr": stock_filters.sync_do_selectattr,
        "sort": stock_filters.do_sort,
        "split": _on_text(split_text),
        "string": as_text,
        "striptags": _striptags,
        "sum": _sum,
        "title": _on_text(str.title),
        "tojson": _tojson,
        "trim": _on_text(each_at_each(str.strip)),
        "truncate": _truncate,
        "unique": stock_filters.do_unique,
        "upper": _on_text(str.upper),
        "urlencode": _urlencoded,
    }
)
_STOCK_TESTS: Mapping[str, Any] = stock_tests.TESTS
TESTS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        name: _STOCK_TESTS[name]
        for name in (
            *("boolean", "defined", "divisibleby", "eq", "equalto", "even", "false", "float", "ge", "gt", "in"),
            *("integer", "iterable", "le", "lower", "lt", "mapping", "ne", "none", "number", "odd", "sequence"),
            *("string", "true", "undefined", "upper", "==", "!=", ">", ">=", "<", "<="),
        )
    }
)
_SHALLOW = frozenset(  # filters and tests that look at a value without walking through it, or pay as they go
    {
        *("count", "d", "default", "first", "items", "last", "length", "list"),
        *("map", "reject", "rejectattr", "select", "selectattr"),
        *("boolean", "defined", "float", "integer", "iterable", "mapping", "none", "number", "sequence", "string"),
        *("true", "false", "undefined"),
    }
)


def metered(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter or test, paying for its arguments before it runs and for what it yields as it is used."""
    taken = 1 if hasattr(function, "jinja_pass_arg") else 0  # Jinja passes its context or environment first
    walks = name not in _SHALLOW

    @functools.wraps(function)
    def paying(*args: Any, **kwargs: Any) -> Any:
        spend(1)
        if walks:
            for value in args[taken:]:
                weigh(value)
        result = function(*args, **kwargs)
        return each_paid(result, 1) if isinstance(result, Iterator) else result

    return paying
