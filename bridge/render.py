"""Jinja in its sandbox: templates checked when loaded, rendered per alert.

In: template texts when rules are loaded (every Problem at once, as ConfigError), an Alert when they are used.
Out: text, or native JSON values; or RenderError, after which the caller falls back.

Nothing a template can say runs long, and no clock is read: every render has a Meter, and each pass of a loop, each
filter and each operator that could grow a value pays in steps for what it is about to do. Payload text is data: it is
never parsed, no Python method or attribute is reachable, and filters and tests are the tables at the end of this file.
"""

import copy
import difflib
import functools
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import Enum
from types import MappingProxyType
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

import re2
from jinja2 import DictLoader, Environment, Template, TemplateError, TemplateSyntaxError, UndefinedError, nodes
from jinja2 import filters as stock_filters
from jinja2 import tests as stock_tests
from jinja2.environment import TemplateModule
from jinja2.filters import make_attrgetter
from jinja2.parser import Parser
from jinja2.runtime import BlockReference, ChainableUndefined, Context, LoopContext, Macro, StrictUndefined, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, pass_context, pass_environment
from jinja2.visitor import NodeTransformer

from bridge.domain.alert import Alert, Link, effective
from bridge.domain.errors import ConfigError, Place, Problem

STEPS_MAX = 50_000  # of one render; about 0.1 s of the slowest steps
WEBHOOK_STEPS_MAX = 3_000_000  # of all renders for one webhook; 5,000 ordinary alerts take 0.4 to 1.5 million
STEPS_OF_EACH = 100  # that a render has however much the others took: enough for a title, a service, a plain body
CHARS_PER_LOOK = 4_096  # of text that a pattern looks through in one step, where RE2's automaton has few states
PARTS_OF_FEW_STATES = 16  # of a compiled pattern: up to so many, its states fit into REGEX_MAX_MEMORY
PARTS_PER_LOOK = 3 * CHARS_PER_LOOK  # parts times bytes; of more parts RE2 may have to try each at every byte
PARTS_OF_A_BYTE = 24  # what a byte costs there however small the pattern is
CHARS_PER_STEP = 64  # of text that is only copied or searched
OUTPUT_MAX_CHARS = 65_536  # of one render; more is cut
SOURCE_MAX_CHARS = 65_536
DEPTH_MAX = 60  # of a template's own nesting, an operator counting as one: its compiler is recursive
SIMPLE_DEPTH_MAX = (
    12  # of a template that is compiled late; its compiler writes nested brackets, and Python has a limit
)
SIMPLE_WIDTH_MAX = 100  # nodes beside one another: a long row of `elif` is a deep one to Python
STEPS_PER_FOUND = 4  # each match of a regex takes some microseconds
NATIVE_DEPTH_MAX = 100  # levels of lists and mappings in a value that leaves a template
RANGE_MAX = 10_000
INTEGER_MAX_BITS = 2_048  # of a product: repeated squaring grows without end otherwise
WIDTH_MAX = 200  # of indentation
FORMAT_MAX_CHARS = 10_000
NUMBER_MAX_CHARS = 400
REGEX_MAX_MEMORY = 1 << 20  # bytes

SHORT_LIST = 16  # choices that are worth listing beside the likely one
ALERT_FIELDS: tuple[str, ...] = tuple(one.name for one in fields(Alert))


_ALERT_FIELDS = frozenset(ALERT_FIELDS)


class RenderError(Exception):
    """A template gave nothing for this alert; the message is a clause that holds no payload text."""


class WebhookSpentError(RenderError):
    """It would take steps that other renders for the same webhook have taken."""


def nearest(word: str, choices: Collection[str], label: str) -> str:
    """A hint for a word nobody knows: what was likely meant, then what there is."""
    close = difflib.get_close_matches(word, choices, n=1)
    if close and len(choices) > SHORT_LIST:
        return f"did you mean '{close[0]}'?"
    meant = f"did you mean '{close[0]}'? " if close else ""
    return f"{meant}{label}: {', '.join(sorted(choices))}"


class Meter:
    """Steps left of one render, or of several that belong together."""

    __slots__ = ("left",)

    def __init__(self, steps: int = STEPS_MAX) -> None:
        self.left = steps


_METER: ContextVar[Meter] = ContextVar("meter")


def _spend(steps: int) -> None:
    meter = _METER.get()
    meter.left -= steps if steps > 0 else 1
    if meter.left < 0:
        raise RenderError("it does too much for one alert")


def _weigh(value: Any) -> int:
    """Pay for a walk over the whole value, and answer what it cost."""
    if isinstance(value, str):
        steps = 1 + len(value) // CHARS_PER_STEP
        _spend(steps)
        return steps
    steps = 0
    limit = _METER.get().left
    stack = [value]
    while stack and steps <= limit:
        item = stack.pop()
        steps += 1
        if isinstance(item, str):
            steps += len(item) // CHARS_PER_STEP
        elif isinstance(item, Mapping):
            steps += len(item)
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
        elif isinstance(item, range):
            steps += len(item)
        elif isinstance(item, Alert):  # written whole where it is formatted
            stack.extend((item.payload, item.labels, item.description, item.links))
        elif isinstance(item, Namespace):
            stack.extend(vars(item).values())
    _spend(steps)
    return steps


class OneWebhook:
    """Within it all renders share WEBHOOK_STEPS_MAX steps; when they are taken, each still has STEPS_OF_EACH.

    The `when` of rules have an account of their own: no content keeps a rule from matching.
    """

    __slots__ = ("_token", "content", "questions")

    def __enter__(self) -> None:
        self.content, self.questions = Meter(WEBHOOK_STEPS_MAX), Meter(WEBHOOK_STEPS_MAX)
        self._token = _WEBHOOK.set(self)

    def __exit__(self, *_raised: object) -> None:
        _WEBHOOK.reset(self._token)


_WEBHOOK: ContextVar[OneWebhook | None] = ContextVar("webhook", default=None)


def _paid_by(shared: Meter, leaf: "Text | Expression", alert: Alert) -> Any:
    """One render with a Meter of its own, whose steps are taken from what is left for the webhook."""
    steps = STEPS_MAX if shared.left >= STEPS_MAX else max(STEPS_OF_EACH, shared.left)
    meter = Meter(steps)
    try:
        return leaf.given(_seen(alert), meter)
    except RenderError as error:
        if meter.left < 0 and steps < STEPS_MAX:
            raise WebhookSpentError("the alerts of this webhook ask too much of the templates") from error
        raise
    finally:
        shared.left -= steps - meter.left


class _Absent(ChainableUndefined, StrictUndefined):
    """What a path that leads nowhere gives: any use but `default` and `is defined` fails, at any depth."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        return f"there is no '{str(self._undefined_name)[:80]}' in this alert"


class _Unsaid(_Absent):
    """What a key's template reads where the sender said nothing: missing wherever it would be written.

    Asked whether it is true, or what it equals, it answers as the value itself would: `{% if payload.cluster %}` is
    how a template leaves out what is empty.
    """

    __slots__ = ("said",)
    said: str | None

    @property
    def _undefined_message(self) -> str:
        return f"'{str(self._undefined_name)[:80]}' says nothing in this alert"

    def __bool__(self) -> bool:  # type: ignore[override]  # above, none of them answers
        return False

    def __eq__(self, other: object) -> bool:  # type: ignore[override]
        return self.said == other

    def __ne__(self, other: object) -> bool:  # type: ignore[override]
        return self.said != other

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(self.said)


def _rfc3339(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def alert_field(alert: Alert, name: str) -> Any:
    """A field of the alert as templates see it; a severity the sender did not give is what it counts as."""
    if name == "severity":
        return effective(alert.severity).value
    return alert.status.value if name == "status" else getattr(alert, name)


def _native(value: Any, depth: int = 0) -> Any:
    """A value of a template as JSON types, paid for. Raises UndefinedError, RenderError."""
    _spend(len(value) // CHARS_PER_STEP if isinstance(value, str) else 1)
    if depth > NATIVE_DEPTH_MAX:
        raise RenderError("it gives data that is nested too deep")
    match value:
        case Enum():
            return value.value
        case float() if not math.isfinite(value):
            raise RenderError("it gives a number that JSON does not have")
        case str() | bool() | int() | float() | None:
            return value
        case Mapping():
            return {str(key): _native(item, depth + 1) for key, item in value.items()}
        case Undefined():
            str(value)  # raises, with its own message
        case list() | tuple() | range() | Iterator() if not isinstance(value, LoopContext):
            return [_native(item, depth + 1) for item in value]
        case datetime():
            return _rfc3339(value)
        case Link():
            return {"text": value.text, "href": value.href}
        case Alert():
            return {name: _native(alert_field(value, name)) for name in ALERT_FIELDS}
    raise RenderError("it gives something that is no data")


def _json(value: Any, indent: int | None = None) -> str:
    separators = (",", ": ") if indent is not None else (", ", ": ")
    return json.dumps(_native(value), ensure_ascii=False, indent=indent, separators=separators)


def _text(value: Any) -> str:
    """A value as it is written into text: nothing for null, JSON for lists and mappings."""
    match value:
        case str():
            return str(value)
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float() | TemplateModule():
            return str(value)
        case Undefined():
            return str(value)  # raises, with its own message
        case datetime():
            return _rfc3339(value)
    return _json(value)


@pass_context
def _written(_context: Context, value: Any) -> str:
    # The context is not needed; taking it keeps Jinja from evaluating constants while it compiles.
    text = value if type(value) is str else _text(value)
    _spend(len(text) // CHARS_PER_STEP)
    return text


class _Method(_Absent):
    """A method that templates may call on a text or a mapping: a function of ours, bound to its value.

    For anything but a call it is absent: the alert has no value of this name.
    """

    __slots__ = ("function", "owner")

    def __init__(self, name: str, function: Callable[..., Any], owner: Any) -> None:
        super().__init__(hint=f"there is no '{name}' in this alert; the method is called {name}()")
        self.function = function
        self.owner = owner

    def __call__(self, *args: Any) -> Any:
        _weigh(args)
        _spend(len(self.owner) // CHARS_PER_STEP if isinstance(self.owner, str) else len(self.owner))
        return self.function(self.owner, *args)


def _still_absent(absent: Undefined) -> Undefined:
    """What a path that goes on from there gives: of a method's name no method, for it leads nowhere."""
    return _Absent(hint=absent._undefined_hint) if isinstance(absent, _Method) else absent


def _split(text: str, separator: str | None = None, most: int = -1) -> list[str]:
    _spend(len(text))  # may give as many pieces as there are characters
    return text.split(separator, most)


_TEXT_METHODS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "upper": str.upper,
        "lower": str.lower,
        "title": str.title,
        "capitalize": str.capitalize,
        "strip": str.strip,
        "lstrip": str.lstrip,
        "rstrip": str.rstrip,
        "startswith": str.startswith,
        "endswith": str.endswith,
        "removeprefix": str.removeprefix,
        "removesuffix": str.removesuffix,
        "find": str.find,
        "count": str.count,
        "isdigit": str.isdigit,
        "partition": str.partition,
        "rpartition": str.rpartition,
        "split": _split,
    }
)
_MAPPING_METHODS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "items": lambda mapping: list(mapping.items()),
        "keys": lambda mapping: list(mapping),
        "values": lambda mapping: list(mapping.values()),
        "get": lambda mapping, key, default=None: mapping.get(key, default),
    }
)
_LOOP_FIELDS = frozenset(
    {"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem", "depth"}
)


def _range(*bounds: int) -> range:
    wanted = range(*bounds)
    if len(wanted) > RANGE_MAX:
        raise RenderError(f"range goes up to {RANGE_MAX} numbers")
    return wanted


class _Sandbox(ImmutableSandboxedEnvironment):
    """The environment of one rule book's templates."""

    intercepted_binops = frozenset({"+", "*", "%"})

    def __init__(self, templates: Mapping[str, str]) -> None:
        super().__init__(
            loader=DictLoader(templates),
            undefined=_Absent,
            finalize=_written,
            autoescape=False,
            optimized=False,  # the optimizer evaluates what it can while compiling, outside any Meter
            auto_reload=False,
            cache_size=-1,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.globals = {"range": _range, "namespace": Namespace}
        self.filters = {**{name: _metered(name, function) for name, function in FILTERS.items()}, **_STEPS}
        self.tests = {name: _metered(name, function) for name, function in TESTS.items()}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.attribute`: data first, then the few methods there are."""
        match obj:
            case Alert() if attribute in _ALERT_FIELDS:
                return alert_field(obj, attribute)
            case dict() | MappingProxyType() | Mapping():  # asking for the plain types first is quicker
                if attribute in obj:
                    return obj[attribute]
                if attribute in _MAPPING_METHODS:
                    return _Method(attribute, _MAPPING_METHODS[attribute], obj)
            case str() if attribute in _TEXT_METHODS:
                return _Method(attribute, _TEXT_METHODS[attribute], obj)
            case Undefined():
                return _still_absent(obj)
            case Link() if attribute in ("text", "href"):
                return getattr(obj, attribute)
            case LoopContext() if attribute in _LOOP_FIELDS:
                return getattr(obj, attribute)
            case LoopContext() if attribute == "cycle":
                return _Method(attribute, lambda _owner, *values: obj.cycle(*values), ())
            case Namespace() | TemplateModule() if not attribute.startswith("_"):
                return getattr(obj, attribute, self.undefined(obj=obj, name=attribute))
        return self.undefined(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`, and `obj.0`: a key of a mapping, an index of a list or text."""
        _spend(1)  # an `attribute` may have any number of parts
        match obj, argument:
            case Mapping(), str():
                return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
            case Mapping(), int():
                key = str(argument) if argument.bit_length() < 64 else ""
                return obj[key] if key in obj else self.undefined(obj=obj, name=key)
            case ((list() | tuple() | str()), int()):
                inside = -len(obj) <= argument < len(obj)
                return obj[argument] if inside else self.undefined(hint="a list or text has too few items")
            case _, str():
                return self.getattr(obj, argument)
        return _still_absent(obj) if isinstance(obj, Undefined) else self.undefined(obj=obj, name="item")

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805 (Jinja's names)
        """Only what this module and the template itself define can be called."""
        if isinstance(__obj, Undefined) and not isinstance(__obj, _Method):
            str(__obj)  # raises, with its own message
        if isinstance(__obj, Macro | BlockReference | _Method) or __obj is _range or __obj is Namespace:
            if __obj is Namespace:
                _weigh([*args, *kwargs.values()])  # it copies them
            return __context.call(__obj, *args, **kwargs)
        raise RenderError("it calls something that is no function")

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """The operators that can grow a value, paid for first."""
        match operator, left, right:
            case "*", int(), int():
                if left.bit_length() + right.bit_length() > INTEGER_MAX_BITS:
                    raise RenderError("a number grows too large")
            case ("*", (str() | list() | tuple()), int()) | ("*", int(), (str() | list() | tuple())):
                one, times = (right, left) if isinstance(left, int) else (left, right)
                _spend(len(one) * max(0, times) // (CHARS_PER_STEP if isinstance(one, str) else 1))
            case "%", str(), _:
                return _format(left, right)
            case "+", (str() | list() | tuple()), (str() | list() | tuple()):
                _spend((len(left) + len(right)) // (CHARS_PER_STEP if isinstance(left, str) else 1))
        return super().call_binop(context, operator, left, right)

    def parse_expression(self, source: str) -> nodes.Template:
        """A template that keeps an expression's value as `result`. Raises TemplateSyntaxError."""
        parser = Parser(self, source, state="variable")
        value = parser.parse_expression()
        if not parser.stream.eos:
            raise TemplateSyntaxError("the expression ends before its text does", parser.stream.current.lineno)
        return nodes.Template([nodes.Assign(nodes.Name("result", "store"), value, lineno=1)], lineno=1)

    def _generate(
        self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False
    ) -> str:
        metered: nodes.Template = _Metering().visit(source)
        metered.set_environment(self)
        return super()._generate(metered, name, filename, defer_init)


class _KeySandbox(_Sandbox):
    """The environment of templates whose text is a key: what says nothing is missing in it, and cannot be written.

    DESIGN section 2: no absent value may enter a key, for it would join unrelated alerts. An empty text that the
    template itself makes may: `{{ '-replica' if payload.replica else '' }}`.
    """

    def __init__(self, templates: Mapping[str, str], unsaid: Callable[[Any], bool]) -> None:
        super().__init__(templates)
        self._unsaid = unsaid
        self.tests = {
            name: _metered(name, test if name in ("defined", "undefined") else _of_said(test))
            for name, test in TESTS.items()
        }

        @pass_context
        def written(context: Context, value: Any) -> str:
            if not isinstance(value, Undefined) and value != "":
                _weigh(value)
                if unsaid(value):
                    raise RenderError("it writes a value that says nothing")
            return _written(context, value)

        self.finalize = written

    def getattr(self, obj: Any, attribute: str) -> Any:
        """As templates read everywhere; what says nothing is missing."""
        found = super().getattr(obj, attribute)
        if isinstance(found, _Method) and found.function is _MAPPING_METHODS["get"]:
            return _Method(attribute, self._get, obj)
        return self._read(found, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """As templates read everywhere; what says nothing is missing."""
        return self._read(super().getitem(obj, argument), argument)

    def _get(self, mapping: Mapping[str, Any], key: Any, default: Any = None) -> Any:
        return self._read(mapping[key], key) if key in mapping else default

    def _read(self, value: Any, name: Any) -> Any:
        """Of scalars only: looking through a list at each read could take for ever, so that waits for the writing."""
        if value is not None and not isinstance(value, str):
            return value
        _spend(len(value or "") // CHARS_PER_STEP)
        if not self._unsaid(value):
            return value
        unsaid = _Unsaid(name=str(name))
        unsaid.said = value
        return unsaid


def _of_said(test: Callable[..., Any]) -> Callable[..., Any]:
    """A test that sees what the sender wrote where that says nothing."""

    @functools.wraps(test)
    def seeing(*args: Any, **kwargs: Any) -> Any:
        return test(*(value.said if isinstance(value, _Unsaid) else value for value in args), **kwargs)

    return seeing


def _cost(node: nodes.Node) -> int:
    return sum(
        1 + (len(one.data) // CHARS_PER_STEP if isinstance(one, nodes.TemplateData) else 0)
        for one in node.find_all(nodes.Node)
    )


class _Metering(NodeTransformer):
    """Makes a template pay: for each pass of a loop, each macro, block and file as many steps as it has nodes.

    Whatever else reads a whole value without being a filter (`~`, comparisons, slices) becomes one.
    """

    def visit_Template(self, node: nodes.Template) -> nodes.Node:  # noqa: N802 (Jinja's names)
        return self._pays(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:  # noqa: N802
        return self._pays(node)

    def visit_Block(self, node: nodes.Block) -> nodes.Node:  # noqa: N802
        return self._pays(node)

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        cost = _cost(node)
        self.generic_visit(node)
        node.iter = _through("_each", node.iter, nodes.Const(cost))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _through("_concat", nodes.List(node.nodes, lineno=node.lineno))

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _weighed(node.expr)
        for operand in node.ops:
            operand.expr = _weighed(operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _through("_copied", node.node)
        return node

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.key = _through("_key", node.key)
        return node

    def _pays(self, node: Any) -> nodes.Node:
        cost = _cost(node)
        self.generic_visit(node)
        pays = _through("_pay", nodes.Const(None), nodes.Const(cost))
        node.body.insert(0, nodes.ExprStmt(pays, lineno=node.lineno))
        return node  # type: ignore[no-any-return]  # Jinja's nodes have their fields at run time only


def _through(name: str, node: nodes.Node, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)


def _weighed(node: nodes.Expr) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _through("_weighed", node)


def _each(values: Any, cost: int) -> Iterator[Any]:
    for value in () if values is None else values:
        _spend(cost)
        yield value


def _concat(values: list[Any]) -> str:
    texts = [_text(value) for value in values]
    _spend(sum(map(len, texts)) // CHARS_PER_STEP)
    return "".join(texts)


def _key(value: Any) -> Any:
    if isinstance(value, str | int):
        return value
    raise RenderError("a key of a mapping is a text or a number")


def _copied(value: Any) -> Any:
    if isinstance(value, str | list | tuple):
        _spend(len(value) // CHARS_PER_STEP)
    return value


def _weighed_value(value: Any) -> Any:
    _weigh(value)
    return value


_STEPS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "_each": _each,
        "_concat": _concat,
        "_key": _key,
        "_copied": _copied,
        "_weighed": _weighed_value,
        "_pay": lambda _nothing, cost: _spend(cost),
    }
)  # what _Metering writes into templates; no template can name them


_FORMAT_WIDE = re.compile(r"%(?:\([^)]*\))?[^%a-zA-Z]*?(?:\*|\d{4,})")


def _format(text: str, values: Any) -> str:
    _spend(len(text) // CHARS_PER_STEP * STEPS_PER_FOUND)
    if len(text) > FORMAT_MAX_CHARS or _FORMAT_WIDE.search(text):
        raise RenderError("a format is too wide")
    _spend(text.count("%") * _weigh(values))
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
    _spend(len(held))
    return held


@pass_environment
def _join(environment: Environment, values: Any, separator: str = "", attribute: str | int | None = None) -> str:
    picked = values if attribute is None else map(make_attrgetter(environment, attribute), values)
    texts = [_text(value) for value in picked]
    glue = _text(separator)
    _spend((sum(map(len, texts)) + len(glue) * len(texts)) // CHARS_PER_STEP)
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
    text = _text(value)
    times = text.count(old) if count < 0 else min(count, text.count(old))
    _spend((len(text) + times * len(new)) // CHARS_PER_STEP)
    return text.replace(old, new, count)


def _truncate(value: Any, length: int = 255, killwords: bool = False, end: str = "...") -> str:
    text = _text(value)
    if len(text) <= length:
        return text
    kept = text[: max(0, length - len(end))]
    whole = kept if killwords else kept.rsplit(" ", 1)[0]
    return whole + end


def _indent(value: Any, width: int = 4, first: bool = False, blank: bool = False) -> str:
    if not 0 <= width <= WIDTH_MAX:
        raise RenderError(f"indent goes up to {WIDTH_MAX}")
    lines = _text(value).split("\n")
    _spend(len(lines) * (1 + width // CHARS_PER_STEP))
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
    return _json(value, indent)


def _urlencoded(value: Any) -> str:
    if isinstance(value, Mapping):
        return urlencode({_text(key): _text(item) for key, item in value.items()})
    return quote(_text(value), safe="/", errors="replace")


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        _spend(len(value))
        return list(value.items())
    raise RenderError("items takes a mapping")


@functools.lru_cache(maxsize=256)
def _regex(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = REGEX_MAX_MEMORY
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        raise RenderError("it cannot be used; patterns are RE2, without look-around and back-references") from error


def _utf8(value: Any) -> str:
    return _text(value).encode("utf-8", "replace").decode()


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
    compiled, text = _regex(pattern), _utf8(value)
    _spend(int(len(text) * _steps_per_char(compiled, text)))
    found = compiled.search(text)
    return None if found is None else found.group(group)


def _regex_replace(value: Any, pattern: str, new: str = "") -> str:
    compiled, text = _regex(pattern), _utf8(value)
    steps_per_char = _steps_per_char(compiled, text)
    steps_per_found = STEPS_PER_FOUND + len(new) // CHARS_PER_STEP
    pieces = []
    at = 0
    _spend(int(len(text) * steps_per_char))
    for found in compiled.finditer(text):
        pieces.append(text[at : found.start()] + new)
        at = found.end()
        # the next one may look to the end of the text before it is found, or is not
        _spend(steps_per_found + int((len(text) - at) * steps_per_char))
    return "".join([*pieces, text[at:]])


def _striptags(value: Any) -> str:
    """The text between tags and comments. What never closes is text, and is looked for once."""
    text = _utf8(value)
    pieces = []
    at = 0
    comments_close = True
    while (start := text.find("<", at)) >= 0:
        _spend(STEPS_PER_FOUND)
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


def _on_text(function: Callable[..., str]) -> Callable[..., str]:
    return lambda value, *args: function(_text(value), *args)


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
        "format": lambda value, *args, **kwargs: _format(_text(value), kwargs or args),
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
        "split": lambda value, *args: _split(_text(value), *args),
        "string": _text,
        "striptags": _striptags,
        "sum": _sum,
        "title": _on_text(str.title),
        "tojson": _tojson,
        "trim": _on_text(str.strip),
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


def _metered(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter or test, paying for its arguments before it runs and for what it yields as it is used."""
    taken = 1 if hasattr(function, "jinja_pass_arg") else 0  # Jinja passes its context or environment first
    walks = name not in _SHALLOW

    @functools.wraps(function)
    def paying(*args: Any, **kwargs: Any) -> Any:
        _spend(1)
        if walks:
            for value in args[taken:]:
                _weigh(value)
        result = function(*args, **kwargs)
        return _each(result, 1) if isinstance(result, Iterator) else result

    return paying


_ALLOWED_NODES = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign, nodes.AssignBlock),
    *(nodes.Macro, nodes.FilterBlock, nodes.With, nodes.Block, nodes.Include, nodes.Import, nodes.FromImport),
    *(nodes.Extends, nodes.Name, nodes.NSRef, nodes.Const, nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair),
    *(nodes.Keyword, nodes.CondExpr, nodes.Filter, nodes.Test, nodes.Call, nodes.Getitem, nodes.Getattr, nodes.Slice),
    *(nodes.Concat, nodes.Compare, nodes.Operand, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Add, nodes.Sub),
    *(nodes.Mod, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos, nodes.Scope),
)
_REFUSED_NODES: Mapping[type[nodes.Node], str] = MappingProxyType(
    {nodes.Pow: "**", nodes.CallBlock: "call", nodes.ScopedEvalContextModifier: "autoescape"}
)
SEEN_BY_RULES = ("alert", "payload")
_KNOWN_NAMES = frozenset({*SEEN_BY_RULES, "range", "namespace", "loop", "super"})
_REFUSED_NAMES = frozenset({"varargs", "kwargs", "caller"})
_BY_NAME = frozenset({"map", "select", "reject", "selectattr", "rejectattr"})  # filters that name a filter or a test


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    line: int
    message: str
    hint: str = ""


def _findings(
    tree: nodes.Template, templates: Collection[str], sees: Collection[str], *, inherits_names: bool
) -> Iterator[_Finding]:
    """Everything wrong with a parsed template, in no order."""
    every = [node for level in _levels(tree) for node in level]
    for node in every:
        yield from _of_node(node, templates)
    if inherits_names or any(isinstance(node, nodes.Import | nodes.FromImport) for node in every):
        return
    names = [node for node in every if isinstance(node, nodes.Name)]
    made = {name.name for name in names if name.ctx != "load"}
    made |= {node.name for node in every if isinstance(node, nodes.Macro)}
    known = made | (_KNOWN_NAMES - {*SEEN_BY_RULES}) | {*sees} | _REFUSED_NAMES  # the last have their own sentence
    for name in names:
        if name.ctx == "load" and name.name not in known and not name.name.startswith("_"):
            meant = f"did you mean 'alert.{name.name}'? " if "alert" in sees and name.name in ALERT_FIELDS else ""
            yield _Finding(
                line=name.lineno,
                message=f"templates know no '{name.name}'",
                hint=f"{meant}they see: {', '.join(sees)}; put a text in quotes",
            )


def _of_node(node: nodes.Node, templates: Collection[str]) -> Iterator[_Finding]:
    match node:
        case nodes.Const(value=float(number)) if not math.isfinite(number):
            yield _Finding(line=node.lineno, message="a number is too large", hint="the largest is about 1e308")
        case nodes.Const(value=int(number)) if number.bit_length() > INTEGER_MAX_BITS:
            yield _Finding(line=node.lineno, message="a number is too large", hint="the largest has 616 digits")
        case nodes.For(recursive=True):
            yield _Finding(line=node.lineno, message="templates have no recursive loops")
        case nodes.Filter() | nodes.Test():
            yield from _of_filter(node)
        case nodes.Call(dyn_args=None, dyn_kwargs=None):
            return
        case nodes.Call():
            yield _Finding(line=node.lineno, message="templates have no '*' and '**' in calls")
        case nodes.Name():
            yield from _of_name(node)
        case nodes.Getattr(node=nodes.Name(name="alert"), attr=str(word)) if word not in ALERT_FIELDS:
            yield _no_field(node, word)
        case nodes.Getitem(node=nodes.Name(name="alert"), arg=nodes.Const(value=str(word))):
            if word not in ALERT_FIELDS:
                yield _no_field(node, word)
        case nodes.Include() | nodes.Import() | nodes.FromImport() | nodes.Extends():
            yield from _of_file(node, templates)
        case _ if type(node) in _REFUSED_NODES:
            yield _Finding(line=node.lineno, message=f"templates have no '{_REFUSED_NODES[type(node)]}'")
        case _ if not isinstance(node, _ALLOWED_NODES):
            yield _Finding(line=node.lineno, message="templates have no such statement")


def _no_field(node: nodes.Node, word: str) -> _Finding:
    return _Finding(
        line=node.lineno, message=f"alert has no field '{word}'", hint=nearest(word, ALERT_FIELDS, "fields")
    )


def _of_name(node: nodes.Name) -> Iterator[_Finding]:
    if node.name.startswith("_") or node.name in _REFUSED_NAMES:
        yield _Finding(line=node.lineno, message=f"templates have no '{node.name}'")
    elif node.ctx != "load" and node.name in _KNOWN_NAMES:
        yield _Finding(
            line=node.lineno, message=f"'{node.name}' cannot be given another value", hint="choose another name"
        )


def _of_filter(node: nodes.Filter | nodes.Test) -> Iterator[_Finding]:
    known, kind = (FILTERS, "filter") if isinstance(node, nodes.Filter) else (TESTS, "test")
    if node.name not in known:
        yield _Finding(
            line=node.lineno,
            message=f"there is no template {kind} '{node.name}'",
            hint=nearest(node.name, known, f"{kind}s"),
        )
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        yield _Finding(line=node.lineno, message="templates have no '*' and '**' in calls")
    if kind == "filter" and node.name in _BY_NAME:
        yield from _of_named(node)
    if kind == "filter" and node.name in ("regex_search", "regex_replace"):
        yield from _of_regex(node)


def _of_regex(node: nodes.Filter | nodes.Test) -> Iterator[_Finding]:
    pattern = node.args[0] if node.args else None
    if not isinstance(pattern, nodes.Const) or not isinstance(pattern.value, str):
        yield _Finding(line=node.lineno, message=f"'{node.name}' takes a pattern in quotes")
        return
    try:
        _regex(pattern.value)
    except RenderError as error:
        yield _Finding(line=node.lineno, message=f"regex '{pattern.value}': {error}")


def _of_named(node: nodes.Filter | nodes.Test) -> Iterator[_Finding]:
    at = 1 if node.name.endswith("attr") else 0
    inner, kind = (FILTERS, "filter") if node.name == "map" else (TESTS, "test")
    word = node.args[at] if len(node.args) > at else None
    if isinstance(word, nodes.Const) and word.value not in inner:
        yield _Finding(
            line=node.lineno,
            message=f"there is no template {kind} '{word.value}'",
            hint=nearest(str(word.value), inner, f"{kind}s"),
        )
    elif word is not None and not isinstance(word, nodes.Const):
        yield _Finding(line=node.lineno, message=f"'{node.name}' takes the name of a {kind} in quotes")


def _of_file(node: Any, templates: Collection[str]) -> Iterator[_Finding]:
    name = node.template.value if isinstance(node.template, nodes.Const) else None
    if not isinstance(name, str):
        yield _Finding(line=node.lineno, message="the file of a template is one name in quotes")
    elif name not in templates:
        yield _Finding(
            line=node.lineno,
            message=f"template '{name}' does not exist",
            hint=nearest(name, templates, "templates") if templates else "",
        )


_RENDERING_FAILS = (
    TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    NameError,
    RecursionError,
)


def _fail(error: Exception) -> NoReturn:
    """RenderError in our words: what Python says of a value can hold payload text, what it says of types cannot."""
    match error:
        case UndefinedError() | TypeError():
            said = str(error).split("\n", 1)[0][:160]
        case ZeroDivisionError():
            said = "it divides by zero"
        case RecursionError():
            said = "it goes too deep"
        case _:
            said = "a value cannot be used as it is used there"
    raise RenderError(said) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A compiled template; `constant` when it has nothing to fill in."""

    source: str
    constant: str | None = None
    template: "Template | _Later | None" = field(default=None, repr=False, compare=False)

    def value(self, alert: Alert) -> str:
        """The text for an alert, at most OUTPUT_MAX_CHARS with an ellipsis. Raises RenderError."""
        if self.template is None:
            return self.constant or ""
        webhook = _WEBHOOK.get()
        if webhook is None:
            return self.given(_seen(alert), Meter())
        written: str = _paid_by(webhook.content, self, alert)
        return written

    def given(self, names: Mapping[str, Any], meter: Meter) -> str:
        """As `value`, with other names than a rule's."""
        if self.template is None:
            return self.constant or ""
        token = _METER.set(meter)
        try:
            return _bounded(self.template.root_render_func(self.template.new_context(dict(names))))
        except _RENDERING_FAILS as error:
            _fail(error)
        finally:
            _METER.reset(token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A compiled expression."""

    source: str
    template: Template = field(repr=False, compare=False)

    def value(self, alert: Alert) -> Any:
        """Its value for an alert, as JSON types. Raises RenderError."""
        webhook = _WEBHOOK.get()
        return self.given(_seen(alert), Meter()) if webhook is None else _paid_by(webhook.content, self, alert)

    def given(self, names: Mapping[str, Any], meter: Meter) -> Any:
        """As `value`, with other names than a rule's."""
        token = _METER.set(meter)
        try:
            context = self.template.new_context(dict(names))
            for _ in self.template.root_render_func(context):
                pass
            return _native(context.vars["result"])
        except _RENDERING_FAILS as error:
            _fail(error)
        finally:
            _METER.reset(token)

    def asks(self, alert: Alert) -> bool | str:
        """Its value as yes or no; a sentence when it has none for this alert."""
        webhook = _WEBHOOK.get()
        try:
            return bool(self.value(alert) if webhook is None else _paid_by(webhook.questions, self, alert))
        except RenderError as error:
            return f"cannot be answered: {error}"


def _seen(alert: Alert) -> dict[str, Any]:
    return {"alert": alert, "payload": alert.payload}


def _bounded(chunks: Iterator[str]) -> str:
    held = []
    chars = 0
    for chunk in chunks:
        held.append(chunk)
        chars += len(chunk)
        if chars > OUTPUT_MAX_CHARS:
            return "".join(held)[: OUTPUT_MAX_CHARS - 1] + "…"
    return "".join(held)


class Renderer:
    """Compiles the templates of one rule book; the same text is compiled once.

    `templates` maps names to the text of the files under `folder`; `problems` holds everything wrong with them.
    `sees` are the names that what it compiles may use.
    """

    def __init__(
        self, templates: Mapping[str, str], folder: str = "templates", sees: Collection[str] = SEEN_BY_RULES
    ) -> None:
        self._templates = templates
        self._sees = sees
        self._sandbox = _Sandbox(templates)
        self._texts: dict[str, Text] = {}
        self._expressions: dict[str, Expression] = {}
        trees: dict[str, nodes.Template] = {}
        found: list[Problem] = []
        for name, source in templates.items():
            place = Place(file=f"{folder}/{name}")
            try:
                trees[name] = self._parsed(source, place, of_file=True)
            except ConfigError as error:
                found += error.problems
        used = {name for tree in trees.values() for name in _used_by(tree)}
        for name, tree in trees.items():
            place = Place(file=f"{folder}/{name}")
            found += self._problems(tree, place, of_file=True, inherits_names=name in used)
            try:
                self._sandbox.get_template(name)
            except _COMPILING_FAILS as error:
                found += [_refused(error, place, of_file=True)] if not found else []
        for circle, line in _circles({name: dict(_always_uses(tree)) for name, tree in trees.items()}):
            place = Place(file=f"{folder}/{circle[0]}", line=line)
            message = f"template '{circle[0]}' uses itself: {' -> '.join(circle)}"
            found.append(Problem(place=place, message=message, hint="take one of these out; no alert could be written"))
        self.problems = tuple(found)

    def for_keys(self, unsaid: Callable[[Any], bool]) -> "Renderer":
        """One that compiles the same templates for keys: in them a value that is `unsaid` counts as missing."""
        made = copy.copy(self)
        made._sandbox = _KeySandbox(self._templates, unsaid)
        made._texts, made._expressions = {}, {}
        return made

    def compile_text(self, source: str, place: Place) -> Text:
        """One template. Raises ConfigError with every Problem in it."""
        known = self._texts.get(source)
        if known is None:
            known = self._texts[source] = self._text(source, place)
        return known

    def compile_expression(self, source: str, place: Place) -> Expression:
        """One expression, without braces. Raises ConfigError with every Problem in it."""
        known = self._expressions.get(source)
        if known is None:
            template = self._compiled(self._parsed(source, place, parse=self._sandbox.parse_expression), place)
            known = self._expressions[source] = Expression(source=source, template=template)
        return known

    def template(self, name: str, place: Place) -> Text:
        """The file of this name. Raises ConfigError when there is none; what is wrong inside is in `problems`."""
        if name not in self._templates:
            hint = nearest(name, self._templates, "templates") if self._templates else "there are no templates"
            raise ConfigError([Problem(place=place, message=f"template '{name}' does not exist", hint=hint)])
        if self.problems:
            return Text(source=name, constant="")  # nothing starts with a Problem in any file
        return Text(source=name, template=self._sandbox.get_template(name))

    def _text(self, source: str, place: Place) -> Text:
        if not any(mark in source for mark in ("{{", "{%", "{#")):
            return Text(source=source, constant=source)
        if len(source) <= SOURCE_MAX_CHARS and self._sees is SEEN_BY_RULES and _PLAIN.fullmatch(source) is not None:
            return Text(source=source, template=_Later(self._sandbox, source))
        tree = self._parsed(source, place)
        if _is_simple(tree) and not self._problems(tree, place):
            return Text(source=source, template=_Later(self._sandbox, source))
        return Text(source=source, template=self._compiled(tree, place))

    def _compiled(self, tree: nodes.Template, place: Place) -> Template:
        problems = self._problems(tree, place)
        if problems:
            raise ConfigError(problems)
        try:
            return _template(self._sandbox, tree)
        except _COMPILING_FAILS as error:
            raise ConfigError([_refused(error, place)]) from error

    def _parsed(
        self,
        source: str,
        place: Place,
        *,
        of_file: bool = False,
        parse: Callable[[str], nodes.Template] | None = None,
    ) -> nodes.Template:
        if len(source) > SOURCE_MAX_CHARS:
            message = f"a template may have {SOURCE_MAX_CHARS} characters, this one has {len(source)}"
            raise ConfigError([Problem(place=place, message=message, hint="split it")])
        try:
            tree = (parse or self._sandbox.parse)(source)
            if _is_deep(tree):
                raise RecursionError
        except _COMPILING_FAILS as error:
            raise ConfigError([_refused(error, place, of_file=of_file)]) from error
        return tree

    def _problems(
        self, tree: nodes.Template, place: Place, *, of_file: bool = False, inherits_names: bool = False
    ) -> list[Problem]:
        findings = {
            (one.line, one.message): one
            for one in _findings(tree, self._templates, self._sees, inherits_names=inherits_names)
        }
        return [
            Problem(place=_at(place, one.line, of_file=of_file), message=one.message, hint=one.hint)
            for one in findings.values()
        ]


_COMPILING_FAILS = (TemplateSyntaxError, SyntaxError, ValueError, RecursionError, MemoryError)


def _levels(tree: nodes.Template) -> Iterator[list[nodes.Node]]:
    """The nodes of a template, level by level: no depth is a recursion."""
    level: list[nodes.Node] = [tree]
    while level:
        yield level
        level = [child for node in level for child in node.iter_child_nodes()]


def _is_deep(tree: nodes.Template) -> bool:
    return any(depth == DEPTH_MAX for depth, _ in enumerate(_levels(tree)))


def _is_simple(tree: nodes.Template) -> bool:
    """Whether what was found sound in a template is all there is to find: its compiler cannot refuse it any more."""
    return all(
        depth < SIMPLE_DEPTH_MAX
        and len(level) < SIMPLE_WIDTH_MAX
        and all(type(node) in _SIMPLE_NODES for node in level)
        for depth, level in enumerate(_levels(tree))
    )


_SIMPLE_NODES = frozenset(
    {
        *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Const),
        *(nodes.Filter, nodes.Keyword, nodes.Test, nodes.CondExpr, nodes.If, nodes.Not, nodes.And, nodes.Or),
        *(nodes.Compare, nodes.Operand),
    }
)
_PLAIN_FILTERS = (
    r"upper|lower|title|trim|capitalize|string|length|tojson|urlencode|striptags"
    r"|(?:default|d)\('[^'\\{}\n]*'(?:, *true)?\)|truncate\(\d{1,6}\)"
)
_PLAIN_FIELD = rf"(?:alert\.(?:{'|'.join(ALERT_FIELDS)})|payload)(?:\.[A-Za-z]\w*){{0,8}}"
_PLAIN = re.compile(  # what is sound at sight: fields of the alert, and filters that want little
    rf"(?:[^{{]++|\{{(?![{{%#])|\{{\{{ *{_PLAIN_FIELD}(?: *\| *(?:{_PLAIN_FILTERS})){{0,4}} *\}}\}})*", re.ASCII
)


class _Later:
    """A template known to be sound, compiled when it is first rendered: of a large book most never are."""

    def __init__(self, sandbox: _Sandbox, source: str) -> None:
        self._made = sandbox, source

    def __getattr__(self, name: str) -> Any:
        """Asked once for each of what a render needs; from then on both are attributes."""
        sandbox, source = self._made
        made = _template(sandbox, sandbox.parse(source))
        self.root_render_func, self.new_context = made.root_render_func, made.new_context
        return getattr(made, name)


def _template(sandbox: _Sandbox, tree: nodes.Template) -> Template:
    return Template.from_code(sandbox, sandbox.compile(tree), sandbox.make_globals(None))


def _refused(error: Exception, place: Place, *, of_file: bool = False) -> Problem:
    if isinstance(error, TemplateSyntaxError):
        where = _at(place, error.lineno, of_file=of_file)
        return Problem(place=where, message=f"template: {error.message}", hint="see templates/README.md")
    return Problem(place=place, message="template: it is nested too deep or holds too long a number")


def _at(place: Place, line: int, *, of_file: bool) -> Place:
    # A text inside YAML has the place of its scalar: how its lines lie in the file depends on how it is quoted.
    return Place(file=place.file, line=line) if of_file else place


def _used_by(tree: nodes.Template) -> Iterator[str]:
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        if isinstance(node.template, nodes.Const):  # type: ignore[attr-defined]  # fields exist at run time only
            yield node.template.value  # type: ignore[attr-defined]


_ONLY_SOMETIMES = (nodes.If, nodes.For, nodes.Macro, nodes.Block)  # what stands in them need not be reached


def _always_uses(tree: nodes.Node) -> Iterator[tuple[str, int]]:
    """The files that a template needs for every alert, each with the line that names it."""
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, nodes.Include | nodes.Import | nodes.FromImport | nodes.Extends):
            named: Any = node.template
            if isinstance(named, nodes.Const) and isinstance(named.value, str):
                yield named.value, node.lineno
        elif not isinstance(node, _ONLY_SOMETIMES):
            stack.extend(node.iter_child_nodes())


def _circles(uses: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Files that lead back to themselves, the shortest way from each, and the line it begins at; each circle once."""
    said: set[frozenset[str]] = set()
    for start in uses:
        ways: list[tuple[str, ...]] = [(start, name) for name in uses[start]]
        seen: set[str] = set()
        for way in ways:  # grows while it is read: all of one length before those of the next
            if way[-1] == start:
                if frozenset(way) not in said:
                    said.add(frozenset(way))
                    yield way, uses[start][way[1]]
                break
            if way[-1] not in seen:
                seen.add(way[-1])
                ways.extend((*way, name) for name in uses.get(way[-1], ()))
