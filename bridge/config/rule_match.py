"""`match` and `when` of a rule, and a `match` that stands by itself, as a silence's does.

In: conditions as written. Out: Conditions as `rules/match.py` has them, or what is wrong, each at its place.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.config.rule_loading import Loading
from bridge.config.rule_paths import Paths, path_hint
from bridge.config.sentences import found
from bridge.config.yaml_reader import DEPTH_MAX, Tree, read_tree
from bridge.config.yaml_reader import Path as YamlPath
from bridge.domain.errors import ConfigError, Grade, Place
from bridge.render import Renderer, nearest
from bridge.rules.conditions import (
    CONDITIONS,
    AtLeast,
    AtMost,
    Contains,
    Equals,
    Exists,
    GreaterThan,
    LessThan,
    NotEquals,
    Operator,
)
from bridge.rules.match import AllOf, AnyOf, Condition, Not, On, When
from bridge.rules.paths import HEADS, BadPath
from bridge.rules.paths import Path as AlertPath
from bridge.rules.paths import parse as parse_path
from bridge.rules.references import references
from bridge.rules.values import BadCondition

GROUPS = ("not", "any", "all")
INSTANTS = frozenset({"reported_at", "starts_at", "ends_at"})  # fields of an alert that paths read as text
_GROUPS_ELSEWHERE: Mapping[str, str] = {"or": "any", "and": "all", "none": "not"}
ELSEWHERE: Mapping[str, str] = {  # what other tools call an operator of ours; some of them look like its opposite
    **dict.fromkeys(("not", "nin", "not_in", "notin", "neq", "not_eq", "!=", "<>", "!"), "ne"),
    **dict.fromkeys(("equals", "is", "==", "="), "eq"),
    **dict.fromkeys(("startswith", "starts_with", "endswith", "ends_with", "like", "prefix", "suffix"), "glob"),
    **dict.fromkeys(("matches", "match", "re", "regexp", "=~", "~=", "~"), "regex"),
    **dict.fromkeys(("includes", "has"), "contains"),
    ">": "gt",
    ">=": "gte",
    "<": "lt",
    "<=": "lte",
    "ge": "gte",
    "le": "lte",
}


def read_match(match: Any, source_names: Collection[str]) -> tuple[Mapping[str, Any], tuple[Condition, ...]]:
    """A `match` block that stands by itself, YAML text or what it reads as: its data and its conditions.

    Raises ConfigError with every Problem in it when one of them is an error; the file of their places is `match`.
    """
    try:
        tree = read_tree(match if isinstance(match, str) else json.dumps(match, ensure_ascii=False), "match")
    except RecursionError:  # JSON has no bound of its own
        tree = read_tree("[" * DEPTH_MAX * 2, "match")
    renderer = Renderer({})
    loading = Loading(
        accounts={}, source_names=source_names, renderer=renderer, key_renderer=renderer, problems=[*tree.problems]
    )
    if not tree.problems and (not isinstance(tree.value, Mapping) or not tree.value):
        hint = "write conditions as in a rule's 'match', as labels.env: dev, one per line; all must hold"
        loading.error(Place(file="match"), f"conditions are wanted, found {found(tree.value)}", hint)
    conditions: tuple[Condition, ...] = ()
    if not loading.problems:
        paths = Paths(tree=tree, rule_id="match", loading=loading)
        written = {str(key): one for key, one in tree.value.items()}
        conditions = Conditions(tree=tree, loading=loading, paths=paths).of(written, ())
    if any(problem.grade is Grade.ERROR for problem in loading.problems):
        raise ConfigError(loading.problems)
    return dict(tree.value), conditions


@dataclass(slots=True, kw_only=True)
class Conditions:
    """Compiles the conditions of one rule; what is wrong with them goes to the problems of the loading."""

    tree: Tree
    loading: Loading
    paths: Paths

    def of(self, block: Mapping[str, Any], at: YamlPath, prefix: str = "") -> tuple[Condition, ...]:
        """Those of a mapping, all of which must hold; `prefix` is what their names begin with."""
        conditions: list[Condition] = []
        for key, wanted in block.items():
            path, name = (*at, key), f"{prefix}{key}"
            match key:
                case "not":
                    inner = self._group(wanted, path, f"{name}.")
                    conditions.append(Not(name=name, wanted=wanted, conditions=inner))
                case "any" | "all":
                    conditions.append(self._alternatives(key, name, wanted, path))
                case _:
                    conditions += self._on(str(key), name, wanted, path)
        return tuple(conditions)

    def when(self, written: str | None, at: YamlPath) -> tuple[When, ...]:
        """The one of an expression; none when there is no expression, or none that holds together."""
        if written is None:
            return ()
        place = self.tree.place(at)
        bare = written.strip()
        if bare.startswith("{{") and bare.endswith("}}"):
            hint = f"write when: {bare[2:-2].strip()}"
            self.loading.error(place, "'when' is an expression, which stands without braces", hint)
            return ()
        try:
            self.paths.note_all(references(written, optional=False), place)
            expression = self.loading.renderer.compile_expression(written, place)
        except ConfigError as error:
            self.loading.problems += error.problems
            return ()
        return (When(wanted=written, asks=expression.asks),)

    def _group(self, wanted: Any, path: YamlPath, prefix: str) -> tuple[Condition, ...]:
        if isinstance(wanted, Mapping) and wanted:
            return self.of(wanted, path, prefix)
        message = f"'{prefix.rstrip('.')}' wants a mapping of conditions, found {found(wanted)}"
        self.loading.error(self.tree.place(path), message, "write it as {labels.env: dev}")
        return ()

    def _alternatives(self, key: str, name: str, wanted: Any, path: YamlPath) -> Condition:
        groups: list[tuple[Condition, ...]] = []
        if isinstance(wanted, list) and wanted:
            groups = [self._group(one, (*path, i), f"{name}[{i}].") for i, one in enumerate(wanted)]
        else:
            message = f"'{name}' wants a list of mappings, found {found(wanted)}"
            self.loading.error(self.tree.place(path), message, f"write it as {key}: [{{...}}, {{...}}]")
        kind = AnyOf if key == "any" else AllOf
        return kind(name=name, wanted=wanted, groups=tuple(groups))

    def _on(self, key: str, name: str, wanted: Any, path: YamlPath) -> Iterable[Condition]:
        try:
            read = parse_path(key)
        except BadPath as error:
            word = error.word
            message = f"unknown condition '{word}'" if word else str(error)
            group = _GROUPS_ELSEWHERE.get(word.casefold())
            hint = f"it is written '{group}'" if group else path_hint(key, word, (*HEADS, *GROUPS), "conditions")
            self.loading.error(self.tree.key_place(path), message, hint)
            return
        if read.head == "payload" and wanted != {"exists": False}:
            self.paths.note(read, self.tree.key_place(path))
        if not isinstance(wanted, Mapping):
            yield from self._operator(Equals, name, read, wanted, path)
            return
        if not wanted:
            self.loading.error(
                self.tree.place(path), f"'{name}' has no operator", f"operators: {', '.join(CONDITIONS)}"
            )
        for spelled, operand in wanted.items():
            kind = CONDITIONS.get(spelled)
            if kind is None:
                hint = _operator_hint(key, str(spelled))
                self.loading.error(self.tree.key_place((*path, spelled)), f"unknown operator '{spelled}'", hint)
            else:
                yield from self._operator(kind, f"{name}.{spelled}", read, operand, (*path, spelled))

    def _operator(self, kind: Any, name: str, read: AlertPath, wanted: Any, path: YamlPath) -> Iterable[Condition]:
        try:
            operator = kind.read(wanted)
        except BadCondition as error:
            self.loading.error(self.tree.place(path), str(error), error.hint)
            return
        if read.head != "payload" and not isinstance(operator, Exists):
            self._check_holds(operator, name, read, wanted, path)
        yield On(name=name, path=read, operator=operator)

    def _check_holds(self, operator: Operator, name: str, read: AlertPath, wanted: Any, path: YamlPath) -> None:
        """What no alert can ever be: where all values are known, and where all are texts."""
        known = self.paths.choices(read.head)
        place = self.tree.place(path)
        if known is not None and not isinstance(operator, Equals | NotEquals):
            if not any(operator.holds(one) for one in known):
                self.loading.warn(place, f"'{name}' never holds: {read.head} is one of {', '.join(sorted(known))}")
        elif read.text == "labels" and not isinstance(operator, Contains):
            message = f"'{name}' reads all labels together, and they are no text to compare with"
            self.loading.warn(place, message, "write labels.<name>, or {contains: name}")
        elif read.head in INSTANTS and isinstance(operator, GreaterThan | AtLeast | LessThan | AtMost):
            message = f"'{name}' never holds: {read.head} reads as text such as 2026-08-01T10:00:00Z"
            self.loading.warn(place, message, "write {glob: '2026-08-01T*'}")
        elif isinstance(operator, Equals | NotEquals | Contains):
            for number, value in enumerate(wanted if isinstance(wanted, list) else [wanted]):
                at = self.tree.place((*path, number) if isinstance(wanted, list) else path)
                asks_for_any = value is None and isinstance(operator, NotEquals)
                self._check_value(value, name, read, None if asks_for_any else known, at)

    def _check_value(self, value: Any, name: str, read: AlertPath, known: Collection[str] | None, place: Place) -> None:
        """One of the values that an equality or its opposite asks for."""
        if known is not None and value not in known:
            message = f"{read.head} {found(value)} does not exist"
            self.loading.error(place, message, nearest(str(value), known, f"{read.head} is one of"))
        elif known is None and value is None:
            message = f"'{name}' compares with null, and all that is read there is text: never equal"
            self.loading.warn(place, message, "what is missing is {exists: false}, what is not is {exists: true}")
        elif known is None and isinstance(value, int | float):
            message = f"'{name}' compares with {found(value)}, and all that is read there is text: never equal"
            self.loading.warn(place, message, "put it in quotes, written as the alert has it")


def _operator_hint(key: str, spelled: str) -> str:
    """What was likely meant: an operator by another name, or a key inside of the labels or the payload."""
    operators = f"operators: {', '.join(sorted(CONDITIONS))}"
    meant = ELSEWHERE.get(spelled.casefold())
    if meant is not None:
        return f"it is written '{meant}'; {operators}"
    hint = nearest(spelled, CONDITIONS, "operators")
    if hint == operators and key.startswith(("labels", "payload")):
        return f"what stands inside is written {key}.{spelled}: …; {operators}"
    return hint
