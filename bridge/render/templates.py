"""Templates compiled and rendered: checked when they are loaded, rendered per alert within a Meter."""

import copy
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, TemplateSyntaxError, UndefinedError, nodes

from bridge.domain.alert import Alert
from bridge.domain.errors import ConfigError, Place, Problem
from bridge.render.findings import SEEN_BY_RULES, always_uses, circles, findings, levels, nearest, used_by
from bridge.render.meter import METER, STEPS_MAX, STEPS_OF_EACH, WEBHOOK, Meter, RenderError, WebhookSpentError
from bridge.render.sandbox import KeySandbox, Sandbox
from bridge.render.values import ALERT_FIELDS, as_native

OUTPUT_MAX_CHARS = 65_536  # of one render; more is cut
SOURCE_MAX_CHARS = 65_536
DEPTH_MAX = 60  # of a template's own nesting, an operator counting as one: its compiler is recursive
ROW_MAX = 1_000  # of `elif`; Python 3.11 compiles some 2,500, and hosts with one rule book may have several Pythons
# of a template that is compiled late; its compiler writes nested brackets, and Python has a limit
SIMPLE_DEPTH_MAX = 12
SIMPLE_WIDTH_MAX = 100  # nodes beside one another: a long row of `elif` is a deep one to Python


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
        webhook = WEBHOOK.get()
        if webhook is None:
            return self.given(_seen(alert), Meter())
        written: str = _paid_by(webhook.content, self, alert)
        return written

    def given(self, names: Mapping[str, Any], meter: Meter) -> str:
        """As `value`, with other names than a rule's."""
        if self.template is None:
            return self.constant or ""
        token = METER.set(meter)
        try:
            return _bounded(self.template.root_render_func(self.template.new_context(dict(names))))
        except _RENDERING_FAILS as error:
            _fail(error)
        finally:
            METER.reset(token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A compiled expression."""

    source: str
    template: Template = field(repr=False, compare=False)

    def value(self, alert: Alert) -> Any:
        """Its value for an alert, as JSON types. Raises RenderError."""
        webhook = WEBHOOK.get()
        return self.given(_seen(alert), Meter()) if webhook is None else _paid_by(webhook.content, self, alert)

    def given(self, names: Mapping[str, Any], meter: Meter) -> Any:
        """As `value`, with other names than a rule's."""
        token = METER.set(meter)
        try:
            context = self.template.new_context(dict(names))
            for _ in self.template.root_render_func(context):
                pass
            return as_native(context.vars["result"])
        except _RENDERING_FAILS as error:
            _fail(error)
        finally:
            METER.reset(token)

    def asks(self, alert: Alert) -> bool | str:
        """Its value as yes or no; a sentence when it has none for this alert."""
        webhook = WEBHOOK.get()
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
        self._folder = folder
        self._sees = sees
        self._sandbox = Sandbox(templates)
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
        used = {name for tree in trees.values() for name in used_by(tree)}
        for name, tree in trees.items():
            place = Place(file=f"{folder}/{name}")
            found += self._problems(tree, place, of_file=True, inherits_names=name in used)
            try:
                self._sandbox.get_template(name)
            except _COMPILING_FAILS as error:
                found += [_refused(error, place, of_file=True)] if not found else []
        for circle, line in circles({name: dict(always_uses(tree)) for name, tree in trees.items()}):
            place = Place(file=f"{folder}/{circle[0]}", line=line)
            message = f"template '{circle[0]}' uses itself: {' -> '.join(circle)}"
            found.append(Problem(place=place, message=message, hint="take one of these out; no alert could be written"))
        self.problems = tuple(found)

    def for_keys(self, unsaid: Callable[[Any], bool]) -> "Renderer":
        """One that compiles the same templates for keys: in them a value that is `unsaid` counts as missing."""
        made = copy.copy(self)
        made._sandbox = KeySandbox(self._templates, unsaid)
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
            bare = source.strip()
            if bare.startswith("{{") and bare.endswith("}}"):  # a mapping with a mapping as its key, which cannot be
                message = "template: an expression stands without braces"
                raise ConfigError([Problem(place=place, message=message, hint=f"write {bare[2:-2].strip()}")])
            template = self._compiled(self._parsed(source, place, parse=self._sandbox.parse_expression), place)
            known = self._expressions[source] = Expression(source=source, template=template)
        return known

    def template(self, name: str, place: Place) -> Text:
        """The file of this name. Raises ConfigError when there is none; what is wrong inside is in `problems`."""
        if name not in self._templates:
            none = f"there is no template in {self._folder}/: 'templates:' in bridge.yaml names their folder"
            hint = nearest(name, self._templates, "templates") if self._templates else none
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
        found = {
            (one.line, one.message): one
            for one in findings(tree, self._templates, self._sees, inherits_names=inherits_names)
        }
        return [
            Problem(place=_at(place, one.line, of_file=of_file), message=one.message, hint=one.hint)
            for one in found.values()
        ]


_COMPILING_FAILS = (TemplateSyntaxError, SyntaxError, ValueError, RecursionError, MemoryError)


def _is_deep(tree: nodes.Template) -> bool:
    return any(depth == DEPTH_MAX or any(map(_is_long_row, level)) for depth, level in enumerate(levels(tree)))


def _is_long_row(node: nodes.Node) -> bool:
    return isinstance(node, nodes.If) and len(node.elif_) > ROW_MAX  # a row is a deep nest to Python's compiler


def _is_simple(tree: nodes.Template) -> bool:
    """Whether what was found sound in a template is all there is to find: its compiler cannot refuse it any more."""
    return all(
        depth < SIMPLE_DEPTH_MAX
        and len(level) < SIMPLE_WIDTH_MAX
        and all(type(node) in _SIMPLE_NODES for node in level)
        for depth, level in enumerate(levels(tree))
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
_PLAIN_FIELD = (
    rf"(?:alert\.(?:{'|'.join(ALERT_FIELDS)}|labels\.[A-Za-z]\w*)(?![\w.])|(?:alert\.)?payload(?:\.[A-Za-z]\w*){{0,8}})"
)
_PLAIN = re.compile(  # what is sound at sight: fields of the alert, and filters that want little
    rf"(?:[^{{]++|\{{(?![{{%#])|\{{\{{ *{_PLAIN_FIELD}(?: *\| *(?:{_PLAIN_FILTERS})){{0,4}} *\}}\}})*", re.ASCII
)


class _Later:
    """A template known to be sound, compiled when it is first rendered: of a large book most never are."""

    def __init__(self, sandbox: Sandbox, source: str) -> None:
        self._made = sandbox, source

    def __getattr__(self, name: str) -> Any:
        """Asked once for each of what a render needs; from then on both are attributes."""
        sandbox, source = self._made
        made = _template(sandbox, sandbox.parse(source))
        self.root_render_func, self.new_context = made.root_render_func, made.new_context
        return getattr(made, name)


def _template(sandbox: Sandbox, tree: nodes.Template) -> Template:
    return Template.from_code(sandbox, sandbox.compile(tree), sandbox.make_globals(None))


def _refused(error: Exception, place: Place, *, of_file: bool = False) -> Problem:
    if isinstance(error, TemplateSyntaxError):
        where = _at(place, error.lineno, of_file=of_file)
        return Problem(place=where, message=f"template: {error.message}", hint=_syntax_hint(error.message))
    return Problem(place=place, message="template: it is nested too deep or holds too long a number")


_OF_OTHER_LANGUAGES: Mapping[str, str] = MappingProxyType(  # what Jinja says of it, and how Jinja has it
    {
        r"unexpected char '&'": "'and' is written as the word",
        r"expected token 'name', got '\|'": "'or' is written as the word; after | stands the name of a filter",
        r"unexpected char '!'": "'not' is written as the word",
        r"unexpected char '\?'": "a choice is written: a if condition else b",
        r"unexpected char '\$'": "there are no variables but alert, payload and what {% set %} makes",
        r"token '[^']*', got '='|ends before its text": "equality is ==; between two conditions stands 'and' or 'or'",
        r"expected token 'name', got 'string'": "equality is ==; after 'is' stands the name of a test",
        r"unexpected '\.'": "fields stand behind alert or payload, as alert.labels.alertname",
        r"unknown tag 'els(?:eif|if)'|statement block', got 'if'": "a further condition is {% elif … %}",
        r"unknown tag '(?:foreach|each|range)'": "a loop is {% for one in payload.list %} … {% endfor %}",
        r"unknown tag '(?:end|fi|done)'": "blocks end in {% endif %} and {% endfor %}",
    }
)


def _syntax_hint(said: str | None) -> str:
    found = (hint for pattern, hint in _OF_OTHER_LANGUAGES.items() if re.search(pattern, said or "") is not None)
    return next(found, "see templates/README.md")


def _at(place: Place, line: int, *, of_file: bool) -> Place:
    # A text inside YAML has the place of its scalar: how its lines lie in the file depends on how it is quoted.
    return Place(file=place.file, line=line) if of_file else place
