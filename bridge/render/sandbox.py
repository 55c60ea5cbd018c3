"""Jinja in its sandbox: what a template may reach and call, and what it pays for it.

Payload text is data: it is never parsed, and no Python method or attribute is reachable.
"""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from jinja2 import DictLoader, TemplateSyntaxError, nodes
from jinja2.environment import TemplateModule
from jinja2.parser import Parser
from jinja2.runtime import BlockReference, Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, pass_context
from jinja2.visitor import NodeTransformer

from bridge.domain.alert import Alert, Link
from bridge.render.filters import FILTERS, TESTS, each_at_each, each_paid, formatted, metered, split_text
from bridge.render.meter import CHARS_PER_STEP, RenderError, spend, weigh
from bridge.render.values import KNOWN_FIELDS, Absent, alert_field, as_text

RANGE_MAX = 10_000
INTEGER_MAX_BITS = 2_048  # of a product: repeated squaring grows without end otherwise


class _Unsaid(Absent):
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


@pass_context
def _written(_context: Context, value: Any) -> str:
    # The context is not needed; taking it keeps Jinja from evaluating constants while it compiles.
    text = value if type(value) is str else as_text(value)
    spend(len(text) // CHARS_PER_STEP)
    return text


class _Method(Absent):
    """A method that templates may call on a text or a mapping: a function of ours, bound to its value.

    For anything but a call it is absent: the alert has no value of this name.
    """

    __slots__ = ("function", "owner")

    def __init__(self, name: str, function: Callable[..., Any], owner: Any) -> None:
        super().__init__(hint=f"there is no '{name}' in this alert; the method is called {name}()")
        self.function = function
        self.owner = owner

    def __call__(self, *args: Any) -> Any:
        weigh(args)
        spend(len(self.owner) // CHARS_PER_STEP if isinstance(self.owner, str) else len(self.owner))
        return self.function(self.owner, *args)


def _still_absent(absent: Undefined) -> Undefined:
    """What a path that goes on from there gives: of a method's name no method, for it leads nowhere."""
    return Absent(hint=absent._undefined_hint) if isinstance(absent, _Method) else absent


TEXT_METHODS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "upper": str.upper,
        "lower": str.lower,
        "title": str.title,
        "capitalize": str.capitalize,
        "strip": each_at_each(str.strip),
        "lstrip": each_at_each(str.lstrip),
        "rstrip": each_at_each(str.rstrip),
        "startswith": str.startswith,
        "endswith": str.endswith,
        "removeprefix": str.removeprefix,
        "removesuffix": str.removesuffix,
        "find": str.find,
        "count": str.count,
        "isdigit": str.isdigit,
        "partition": str.partition,
        "rpartition": each_at_each(str.rpartition),
        "split": split_text,
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


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of one rule book's templates."""

    intercepted_binops = frozenset({"+", "*", "%"})

    def __init__(self, templates: Mapping[str, str]) -> None:
        super().__init__(
            loader=DictLoader(templates),
            undefined=Absent,
            finalize=_written,
            autoescape=False,
            optimized=False,  # the optimizer evaluates what it can while compiling, outside any Meter
            auto_reload=False,
            cache_size=-1,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.globals = {"range": _range, "namespace": Namespace}
        self.filters = {**{name: metered(name, function) for name, function in FILTERS.items()}, **_STEPS}
        self.tests = {name: metered(name, function) for name, function in TESTS.items()}

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.attribute`: data first, then the few methods there are."""
        match obj:
            case Alert() if attribute in KNOWN_FIELDS:
                return alert_field(obj, attribute)
            case dict() | MappingProxyType() | Mapping():  # asking for the plain types first is quicker
                if attribute in obj:
                    return obj[attribute]
                if attribute in _MAPPING_METHODS:
                    return _Method(attribute, _MAPPING_METHODS[attribute], obj)
            case str() if attribute in TEXT_METHODS:
                return _Method(attribute, TEXT_METHODS[attribute], obj)
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
        spend(1)  # an `attribute` may have any number of parts
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
                weigh([*args, *kwargs.values()])  # it copies them
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
                spend(len(one) * max(0, times) // (CHARS_PER_STEP if isinstance(one, str) else 1))
            case "%", str(), _:
                return formatted(left, right)
            case "+", (str() | list() | tuple()), (str() | list() | tuple()):
                spend((len(left) + len(right)) // (CHARS_PER_STEP if isinstance(left, str) else 1))
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


class KeySandbox(Sandbox):
    """The environment of templates whose text is a key: what says nothing is missing in it, and cannot be written.

    DESIGN section 2: no absent value may enter a key, for it would join unrelated alerts. An empty text that the
    template itself makes may: `{{ '-replica' if payload.replica else '' }}`.
    """

    def __init__(self, templates: Mapping[str, str], unsaid: Callable[[Any], bool]) -> None:
        super().__init__(templates)
        self._unsaid = unsaid
        self.tests = {
            name: metered(name, test if name in ("defined", "undefined") else _of_said(test))
            for name, test in TESTS.items()
        }

        @pass_context
        def written(context: Context, value: Any) -> str:
            if not isinstance(value, Undefined) and value != "":
                weigh(value)
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
        spend(len(value or "") // CHARS_PER_STEP)
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


def _concat(values: list[Any]) -> str:
    texts = [as_text(value) for value in values]
    spend(sum(map(len, texts)) // CHARS_PER_STEP)
    return "".join(texts)


def _key(value: Any) -> Any:
    if isinstance(value, str | int):
        return value
    raise RenderError("a key of a mapping is a text or a number")


def _copied(value: Any) -> Any:
    if isinstance(value, str | list | tuple):
        spend(len(value) // CHARS_PER_STEP)
    return value


def _weighed_value(value: Any) -> Any:
    weigh(value)
    return value


_STEPS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "_each": each_paid,
        "_concat": _concat,
        "_key": _key,
        "_copied": _copied,
        "_weighed": _weighed_value,
        "_pay": lambda _nothing, cost: spend(cost),
    }
)  # what _Metering writes into templates; no template can name them
