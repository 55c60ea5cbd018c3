"""What is wrong with a template, found when it is loaded: statements, names, filters and files it may not use."""

import difflib
import functools
import inspect
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from jinja2 import nodes

from bridge.domain.alert import Severity, Status
from bridge.render.filters import FILTERS, TESTS, compiled_regex
from bridge.render.meter import RenderError
from bridge.render.sandbox import INTEGER_MAX_BITS, TEXT_METHODS
from bridge.render.values import ALERT_FIELDS

ALIKE = 0.64  # as difflib counts, where neither word holds the other: it takes 'tags' for 'status' at 0.6
SHORT_LIST = 16  # choices that are worth listing beside the likely one


def nearest(word: str, choices: Collection[str], label: str) -> str:
    """A hint for a word nobody knows: what was likely meant, then what there is."""
    close = _alike(word.casefold(), {choice.casefold(): choice for choice in choices})
    if close and len(choices) > SHORT_LIST:
        return f"did you mean '{close[0]}'?"
    meant = f"did you mean '{close[0]}'? " if close else ""
    return f"{meant}{label}: {', '.join(sorted(choices))}"


def _alike(word: str, spelled: Mapping[str, str]) -> list[str]:
    """The choice most like a word, if it is like it at all: 'tags' is not meant as 'status'."""
    close = difflib.get_close_matches(word, spelled, n=1)
    return [spelled[one] for one in close if one in word or word in one or _likeness(word, one) >= ALIKE]


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, other, one).ratio()


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
_CHOICES: Mapping[str, Sequence[str]] = MappingProxyType({"severity": tuple(Severity), "status": tuple(Status)})
_NONE = (None, "")  # who compares with these asks whether there is one: there always is, which harms nobody
_ONE_VALUE = frozenset(ALERT_FIELDS) - {"labels", "links", "payload"}  # fields of an alert with nothing inside
_KNOWN_NAMES = frozenset({*SEEN_BY_RULES, "range", "namespace", "loop", "super"})
_REFUSED_NAMES = frozenset({"varargs", "kwargs", "caller"})
_EQUALITIES = frozenset({"eq", "equalto", "==", "ne", "!="})  # tests and operators, as are the next
_ORDERS = frozenset({"gt", "gteq", "ge", ">", ">=", "lt", "lteq", "le", "<", "<="})
_BY_NAME = frozenset({"map", "select", "reject", "selectattr", "rejectattr"})  # filters that name a filter or a test


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    line: int
    message: str
    hint: str = ""


def findings(
    tree: nodes.Template, templates: Collection[str], sees: Collection[str], *, inherits_names: bool
) -> Iterator[_Finding]:
    """Everything wrong with a parsed template, in no order."""
    every = [node for level in levels(tree) for node in level]
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
            if isinstance(node, nodes.Test) and len(node.args) == 1:
                yield from _of_pair(node.node, node.name, node.args[0])
        case nodes.Call(dyn_args=None, dyn_kwargs=None):
            return
        case nodes.Call():
            yield _Finding(line=node.lineno, message="templates have no '*' and '**' in calls")
        case nodes.Name():
            yield from _of_name(node)
        case nodes.Getattr(node=inner, attr=word) | nodes.Getitem(node=inner, arg=nodes.Const(value=str(word))):
            if isinstance(inner, nodes.Name):
                if inner.name == "alert" and word not in ALERT_FIELDS:
                    yield _no_field(node, word)
            elif word not in TEXT_METHODS:
                yield from _of_one_value(inner, word)
        case nodes.Compare(expr=left, ops=operands):
            for operand in operands:
                yield from _of_pair(left, operand.op, operand.expr)
                left = operand.expr
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


def _read(node: nodes.Node) -> tuple[str, ...]:
    """Which field of the alert a node reads, or which label: ("labels", "team"), dots or brackets; else nothing."""
    words: list[str] = []
    while len(words) <= 2:
        match node:
            case nodes.Name(name="alert"):
                return tuple(reversed(words))
            case nodes.Getattr(node=inner, attr=word) | nodes.Getitem(node=inner, arg=nodes.Const(value=str(word))):
                words.append(word)
                node = inner
            case _:
                break
    return ()


def _written(path: Sequence[str]) -> str:
    return "alert" + "".join(f".{word}" if word.isidentifier() else f"[{word!r}]" for word in path)


def _of_one_value(node: nodes.Node, word: str) -> Iterator[_Finding]:
    """What is asked of a field of the alert, or of a label, that holds one value."""
    path = _read(node)
    match path:
        case [name] if name in _ONE_VALUE:
            message = f"'alert.{name}' holds one value, and it has no '{word}'"
            hint = f"write alert.{name} | {word}" if word in FILTERS else ""
            yield _Finding(line=node.lineno, message=message, hint=hint)
        case ["labels", name]:
            message, hint = f"a label holds one text, and it has no '{word}'", f"alert.labels['{name}.{word}']"
            hint = f"write {_written(path)} | {word}, or {hint}" if word in FILTERS else f"write {hint}"
            yield _Finding(line=node.lineno, message=message, hint=hint)


def _of_pair(left: nodes.Expr, how: str, right: nodes.Expr) -> Iterator[_Finding]:
    """Two values that an operator, or a test, holds against one another."""
    if how in _EQUALITIES:
        yield from _of_comparison(left, right)
        yield from _of_comparison(right, left)
    elif how in ("in", "notin") and isinstance(right, nodes.List | nodes.Tuple):
        yield from _of_comparison(left, right)
    elif how in _ORDERS:
        yield from _of_order(left, right)
        yield from _of_order(right, left)


def _of_comparison(field: nodes.Expr, wanted: nodes.Expr) -> Iterator[_Finding]:
    """Words that a field of the alert never is, of those it is compared with."""
    match _read(field):
        case [("severity" | "status") as name]:
            known = _CHOICES[name]
            for one in wanted.items if isinstance(wanted, nodes.List | nodes.Tuple) else [wanted]:
                if isinstance(one, nodes.Const) and one.value not in (*known, *_NONE):
                    message = f"alert.{name} is never {one.value!r}"
                    yield _Finding(
                        line=field.lineno, message=message, hint=nearest(str(one.value), known, "it is one of")
                    )


def _of_order(field: nodes.Expr, other: nodes.Expr) -> Iterator[_Finding]:
    """What of the alert has no order: as letters go, 'critical' is less than 'error'."""
    path = _read(field)
    match path, other:
        case [("severity" | "status") as name], _:
            message = f"alert.{name} is a word, and words have no order but their letters'"
            hint = f"name those that are meant: alert.{name} in ['{_CHOICES[name][0]}', …]"
            yield _Finding(line=field.lineno, message=message, hint=hint)
        case (([_] | ["labels", _]), (nodes.Const(value=int() | float()) | nodes.Neg())):
            if len(path) > 1 or path[0] in _ONE_VALUE:
                message = "a text is neither more nor less than a number"
                yield _Finding(line=field.lineno, message=message, hint=f"write {_written(path)} | int")


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
    elif node.dyn_args is None and node.dyn_kwargs is None:
        yield from _of_arguments(node, kind, node.name, len(node.args))
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        yield _Finding(line=node.lineno, message="templates have no '*' and '**' in calls")
    if kind == "filter" and node.name in _BY_NAME:
        yield from _of_named(node)
    if kind == "filter" and node.name in ("regex_search", "regex_replace"):
        yield from _of_regex(node)


def _of_arguments(node: nodes.Filter | nodes.Test, kind: str, name: str, number: int) -> Iterator[_Finding]:
    """Whether a filter or test takes so many arguments, and the node's own by name, beside its value."""
    function = (FILTERS if kind == "filter" else TESTS)[name]
    given = 1 + number + hasattr(function, "jinja_pass_arg")  # Jinja passes its context or environment first
    try:
        _signature(function).bind(*[None] * given, **{str(one.key): None for one in node.kwargs})
    except TypeError as error:
        yield _Finding(line=node.lineno, message=f"the template {kind} '{name}' cannot be used so: {error}")


@functools.cache
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


_GROUP = re.compile(r"[\x01-\x07]|\\\d|\\g<")  # '\1' is U+0001 to Jinja, '\\1' is \1


def _of_regex(node: nodes.Filter | nodes.Test) -> Iterator[_Finding]:
    pattern = node.args[0] if node.args else None
    if not isinstance(pattern, nodes.Const) or not isinstance(pattern.value, str):
        yield _Finding(line=node.lineno, message=f"'{node.name}' takes a pattern in quotes")
        return
    if "\b" in pattern.value:
        message = f"'{node.name}' looks for the character U+0008, a backspace; no text has it"
        hint = "a text of a template reads \\b so: write \\\\b, and in double quotes of YAML \\\\\\\\b"
        yield _Finding(line=node.lineno, message=message, hint=hint)
        return
    new = node.args[1] if node.name == "regex_replace" and len(node.args) > 1 else None
    if isinstance(new, nodes.Const) and isinstance(new.value, str) and _GROUP.search(new.value) is not None:
        message = "'regex_replace' writes its text as it stands, without the groups of the pattern"
        yield _Finding(line=node.lineno, message=message, hint="regex_search(pattern, 1) gives the first group")
    try:
        compiled_regex(pattern.value)
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
    elif isinstance(word, nodes.Const):
        yield from _of_arguments(node, kind, word.value, len(node.args) - at - 1)
    elif word is not None:
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


def levels(tree: nodes.Template) -> Iterator[list[nodes.Node]]:
    """The nodes of a template, level by level: no depth is a recursion."""
    level: list[nodes.Node] = [tree]
    while level:
        yield level
        level = [child for node in level for child in node.iter_child_nodes()]


def used_by(tree: nodes.Template) -> Iterator[str]:
    """The files that a template names anywhere."""
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        if isinstance(node.template, nodes.Const):  # type: ignore[attr-defined]  # fields exist at run time only
            yield node.template.value  # type: ignore[attr-defined]


_ONLY_SOMETIMES = (nodes.If, nodes.For, nodes.Macro, nodes.Block)  # what stands in them need not be reached


def always_uses(tree: nodes.Node) -> Iterator[tuple[str, int]]:
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


def circles(uses: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[tuple[str, ...], int]]:
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
