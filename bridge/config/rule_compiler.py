"""One rule on its way from YAML to a Rule.

In: the rule as written, with the defaults of its file. Out: the Rule, or what is wrong with it, each at its place.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from bridge.config.rule_loading import AccountView, Loading
from bridge.config.rule_models import RuleModel, RuleSettingsModel
from bridge.config.sentences import found
from bridge.config.units import duration
from bridge.config.yaml_reader import Path as YamlPath
from bridge.config.yaml_reader import Tree
from bridge.destinations.base import MAPPINGS, NAMED, FieldKind, instant_text
from bridge.destinations.base import Field as IncidentField
from bridge.domain.alert import Severity, Status
from bridge.domain.decision import Mode, OnAcknowledge, OnResolve
from bridge.domain.delivery import Action
from bridge.domain.errors import ConfigError, Grade, Place
from bridge.domain.keys import canonical
from bridge.render import Renderer, nearest
from bridge.rules.book import Block, Constant, Leaf, Lookup, NameUse, PathUse, Rule, table_keys
from bridge.rules.conditions import (
    CONDITIONS,
    AllOf,
    AnyOf,
    AtLeast,
    AtMost,
    BadCondition,
    Condition,
    Contains,
    Equals,
    Exists,
    GreaterThan,
    LessThan,
    Not,
    NotEquals,
    On,
    Operator,
    When,
)
from bridge.rules.paths import HEADS, BadPath
from bridge.rules.paths import Path as AlertPath
from bridge.rules.paths import parse as parse_path
from bridge.rules.references import references, references_in_template
from bridge.sources import SOURCES

INCIDENT_KEY = "incident_key"
GROUPS = ("not", "any", "all")
INSTANTS = frozenset({"reported_at", "starts_at", "ends_at"})  # fields of an alert that paths read as text
LEAF_KEYS = frozenset({"template", "expr", "from"})


@dataclass(slots=True, kw_only=True)
class Compiler:
    """One rule on its way from YAML to a Rule; whatever is wrong goes to the problems of the loading."""

    tree: Tree
    at: YamlPath
    rule: RuleModel
    has_incident: bool  # else a placeholder stands in the rule
    defaults: RuleSettingsModel
    loading: Loading

    def compiled(self) -> Rule | None:
        """The rule; None when it has a problem."""
        before = len(self.loading.problems)
        account = self._account()
        conditions = self._match()
        incident, key = self._incident(account)
        dedup = self._paths("dedup")
        if key is not None and self.rule.dedup is not None:
            place = self.tree.key_place((*self.at, "incident", INCIDENT_KEY))
            self.loading.error(
                place, f"rule '{self.rule.id}' has both 'dedup' and '{INCIDENT_KEY}'", "keep one of them"
            )
        on_resolve, resolution = self._on_resolve(account)
        rise = self._on_severity_rise(account)
        rule = Rule(
            id=self.rule.id,
            place=self.tree.place((*self.at, "id")),
            account=account.name if account is not None else "",
            conditions=conditions,
            incident=incident,
            severity=self._severity(),
            dedup=dedup,
            incident_key=key,
            fold_by=self._paths("fold_by"),
            on_resolve=on_resolve,
            resolution=resolution,
            on_acknowledge=self._on_acknowledge(account),
            rise=rise,
            hold_resolve=self._duration("hold_resolve"),
            reopen_within=self._duration("reopen_within"),
            mode=self._mode(),
            continues=self.rule.continue_,
            places=self._places(incident),
        )
        said = self.loading.problems[before:]
        return None if any(problem.grade is Grade.ERROR for problem in said) else rule

    def _setting(self, name: str) -> tuple[Any, YamlPath]:
        """A setting with its path: the rule's own, else the file's default; (None, ...) when neither has it."""
        own = getattr(self.rule, name)
        if own is not None or getattr(self.defaults, name) is None:
            return own, (*self.at, name)
        return getattr(self.defaults, name), ("defaults", name)

    def _account(self) -> AccountView | None:
        name, path = self._setting("account")
        known = self.loading.accounts
        if name is None and self.tree.value.get("defaults", {}).keys() <= RuleSettingsModel.model_fields.keys():
            hint = f"add 'account:' to it or to the file's defaults; accounts: {', '.join(sorted(known))}"
            self.loading.error(self.tree.place((*self.at, "id")), f"rule '{self.rule.id}' has no account", hint)
        elif name is not None and name not in known and name not in self.loading.unread:
            message = f"rule '{self.rule.id}' sends to account '{name}', which does not exist"
            hint = nearest(name, known, "accounts in bridge.yaml") if known else "bridge.yaml has no accounts"
            self.loading.error(self.tree.place(path), message, hint)
        elif name is not None and self.loading.allowed is not None and name not in self.loading.allowed[1]:
            folder, accounts = self.loading.allowed
            message = f"rule '{self.rule.id}' sends to account '{name}', which rules in {folder} may not use"
            hint = f"accounts for them, by 'rules_accounts' in bridge.yaml: {', '.join(sorted(accounts)) or 'none'}"
            self.loading.error(self.tree.place(path), message, hint)
        return known.get(name) if name is not None else None

    def _match(self) -> tuple[Condition, ...] | None:
        when = self._when()
        if self.rule.match is None:
            if not when:
                self.loading.without_match[self.rule.id] = self.tree.place((*self.at, "id"))
                return None
            return when
        return (*self._conditions(self.rule.match, (*self.at, "match"), ""), *when)

    def standing(self) -> tuple[Condition, ...]:
        """The conditions of a match that belongs to no rule and begins at the top of its tree."""
        return self._conditions(self.rule.match or {}, self.at, "")

    def _when(self) -> tuple[When, ...]:
        if self.rule.when is None:
            return ()
        place = self.tree.place((*self.at, "when"))
        bare = self.rule.when.strip()
        if bare.startswith("{{") and bare.endswith("}}"):
            hint = f"write when: {bare[2:-2].strip()}"
            self.loading.error(place, "'when' is an expression, which stands without braces", hint)
            return ()
        try:
            self._note_paths(references(self.rule.when, optional=False), place)
            expression = self.loading.renderer.compile_expression(self.rule.when, place)
        except ConfigError as error:
            self.loading.problems += error.problems
            return ()
        return (When(wanted=self.rule.when, asks=expression.asks),)

    def _conditions(self, block: Mapping[str, Any], at: YamlPath, prefix: str) -> tuple[Condition, ...]:
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

    def _group(self, wanted: Any, path: YamlPath, prefix: str) -> tuple[Condition, ...]:
        if isinstance(wanted, Mapping) and wanted:
            return self._conditions(wanted, path, prefix)
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
            hint = _path_hint(key, word, (*HEADS, *GROUPS), "conditions")
            self.loading.error(self.tree.key_place(path), message, hint)
            return
        if read.head == "payload" and wanted != {"exists": False}:
            self._note_path(read, self.tree.key_place(path))
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
                hint = nearest(str(spelled), CONDITIONS, "operators")
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
        known = self._choices(read.head)
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

    def _choices(self, head: str) -> Collection[str] | None:
        """All values that a field of an alert can have; None where nobody knows."""
        choices: Mapping[str, Collection[str]] = {
            "source": self.loading.source_names,
            "source_type": tuple(SOURCES),
            "severity": tuple(Severity),
            "status": tuple(Status),
        }
        return choices.get(head)

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

    def _incident(self, account: AccountView | None) -> tuple[Mapping[str, Block], Leaf | None]:
        block: dict[str, Block] = {}
        key: Leaf | None = None
        known = account.destination.fields if account is not None else None
        for name, value in self.rule.incident.items():
            path = (*self.at, "incident", name)
            if name == INCIDENT_KEY:
                key = self._leaf(name, value, path, self.loading.key_renderer)
            elif known is None:
                continue  # without its account nothing can be said of its fields
            elif name not in known:
                hint = nearest(str(name), [*known, INCIDENT_KEY], "fields")
                message = f"{account.destination.type} incidents have no field '{name}'" if account is not None else ""
                self.loading.error(self.tree.key_place(path), message, hint)
            else:
                compiled = self._field(name, known[name], value, path)
                self._note_names(account, known[name], value, path)
                block |= {name: compiled} if compiled is not None else {}
        if account is not None and self.has_incident:
            self._check_required(account)
            self._check_contradictions(account)
        return block, key

    def _places(self, incident: Mapping[str, Block]) -> Mapping[str, str]:
        fields = {name: str(self.tree.place((*self.at, "incident", name))) for name in incident}
        return MappingProxyType({"": str(self.tree.place((*self.at, "id"))), **fields})

    def _check_contradictions(self, account: AccountView) -> None:
        own = {name: value if _is_constant(value) else None for name, value in self.rule.incident.items()}
        for name, sentence, hint in account.destination.contradictions(own):
            self.loading.error(self.tree.place((*self.at, "incident", name)), sentence, hint)
        # what the account's defaults would add; a field of the rule beside a default is the destination's to choose
        alone = {name: text for name, text in account.destination.defaults.items() if name not in own}
        for _, sentence, hint in account.destination.contradictions(alone):
            place = self.tree.key_place((*self.at, "incident"))
            self.loading.error(place, f"the defaults of account '{account.name}': {sentence}", hint)

    def _check_required(self, account: AccountView) -> None:
        for name, about in account.destination.fields.items():
            if about.required and name not in self.rule.incident and name not in account.destination.defaults:
                place = self.tree.key_place((*self.at, "incident"))
                message = f"the incident of rule '{self.rule.id}' has no '{name}'"
                self.loading.error(place, message, f"add '{name}:' to it or to the defaults of '{account.name}'")

    def _field(self, name: str, about: IncidentField, value: Any, path: YamlPath) -> Block | None:
        if about.kind in MAPPINGS:
            if isinstance(value, Mapping) and value and not LEAF_KEYS & value.keys():
                return self._mapping(name, about, value, path)
            message = f"'{name}' wants a mapping, found {found(value)}"
            self.loading.error(self.tree.place(path), message if value != {} else f"'{name}' is empty", about.about)
            return None
        leaf = self._leaf(name, value, path)
        if leaf is not None and about.choices:
            self._check_choices(name, about.choices, value, path)
        return leaf

    def _mapping(self, name: str, about: IncidentField, value: Mapping[Any, Any], path: YamlPath) -> Block | None:
        """A field that is a mapping: its keys are the upstream's own, or names of one of its lists."""
        blocks: dict[str, Block] = {}
        for key, one in value.items():
            at = (*path, key)
            block: Block | None = None
            if about.kind in NAMED and not str(key).strip():
                self.loading.error(self.tree.key_place(at), f"a key of '{name}' is empty", about.about)
            elif about.kind is FieldKind.MAPPING and about.keys and key not in about.keys:
                hint = nearest(str(key), about.keys, "keys")
                self.loading.error(self.tree.key_place(at), f"'{name}' has no key '{key}'", hint)
            elif about.kind is FieldKind.MAPPING and not about.keys:
                block = self._data(str(key), one, at)
            elif about.kind is FieldKind.VALUES and isinstance(one, list):
                leaves = [self._leaf(str(key), item, (*at, number)) for number, item in enumerate(one)]
                block = tuple(leaf for leaf in leaves if leaf is not None)
            elif about.kind is FieldKind.PEOPLE:
                block = self._person(str(key), about, one, at)
            else:
                block = self._leaf(str(key), one, at)
            self._check_instant(str(key), about, one, at)
            blocks |= {str(key).strip(): block} if block is not None else {}
        return blocks

    def _person(self, name: str, about: IncidentField, value: Any, path: YamlPath) -> Block | None:
        """Somebody: a text, or {email: text} where the key says what kind of text it is."""
        if not isinstance(value, Mapping) or LEAF_KEYS & value.keys():
            return self._leaf(name, value, path)
        odd = [key for key in value if key not in about.keys]
        for key in odd:
            hint = nearest(str(key), about.keys, "keys")
            self.loading.error(self.tree.key_place((*path, key)), f"'{name}' has no key '{key}'", hint)
        if len(value) != 1 and not odd:
            hint = f"write exactly one of {', '.join(about.keys)}"
            self.loading.error(self.tree.place(path), f"'{name}' wants one person", hint)
        if len(value) != 1 or odd:
            return None
        [(key, one)] = value.items()
        return self._leaf(name, one, (*path, key))

    def _check_instant(self, name: str, about: IncidentField, value: Any, path: YamlPath) -> None:
        if about.kind is FieldKind.INSTANTS and _is_constant(value) and value.strip() and instant_text(value) is None:
            hint = "write it as 2026-08-01T10:00:00Z, or take it from the alert: {expr: alert.starts_at}"
            self.loading.error(self.tree.place(path), f"'{name}' is no instant: '{value}'", hint)

    def _data(self, name: str, value: Any, path: YamlPath) -> Block | None:
        if isinstance(value, Mapping) and not LEAF_KEYS & value.keys():
            inner = {str(key): self._data(str(key), one, (*path, key)) for key, one in value.items()}
            return {key: block for key, block in inner.items() if block is not None}
        if isinstance(value, list):
            blocks = [self._data(name, one, (*path, number)) for number, one in enumerate(value)]
            return tuple(block for block in blocks if block is not None)
        return self._leaf(name, value, path)

    def _check_choices(self, name: str, choices: Collection[str], value: Any, path: YamlPath) -> None:
        """Whether every value that can be known now is one the upstream takes."""
        for one, place in _constants_in(value, path):
            if one not in choices:
                hint = nearest(one, choices, "choices")
                self.loading.error(self.tree.place(place), f"'{name}' cannot be '{one}'", hint)

    def _note_names(self, account: AccountView | None, about: IncidentField, value: Any, path: YamlPath) -> None:
        """Remember the names that can be known now, for whoever has the upstream's list."""
        if account is None or about.lookup is None:
            return
        found: Iterable[_NameAt] = ((text, about.lookup, at, None) for text, at in _constants_in(value, path))
        if about.kind in NAMED:
            found = _names_in(about, value, path) if isinstance(value, Mapping) else ()
        self.loading.names += [
            NameUse(place=self.tree.place(place), account=account.name, kind=kind, text=text, within=within)
            for text, kind, place, within in found
        ]

    def _leaf(self, name: str, value: Any, path: YamlPath, renderer: Renderer | None = None) -> Leaf | None:
        """One compiled value: a text, a file of templates/, an expression or a map."""
        place = self.tree.place(path)
        renderer = renderer or self.loading.renderer
        match value:
            case str() if value.strip():
                if "payload" in value:
                    self._note_paths(references_in_template(value, optional=False), place)
                return self._checked(lambda: renderer.compile_text(value, place))
            case bool() | int() | float():
                return Constant(constant=value)
            case Mapping() if value.keys() == {"template"} and isinstance(value["template"], str):
                at = self.tree.place((*path, "template"))
                return self._checked(lambda: renderer.template(value["template"], at))
            case Mapping() if value.keys() == {"expr"} and isinstance(value["expr"], str):
                at = self.tree.place((*path, "expr"))
                self._note_paths(references(value["expr"], optional=False), at)
                return self._checked(lambda: renderer.compile_expression(value["expr"], at))
            case Mapping() if "from" in value:
                return self._lookup(name, value, path, renderer)
            case None | "":
                self.loading.error(place, f"'{name}' has no value", "give it one, or delete the line")
            case _:
                self.loading.error(place, f"'{name}' cannot be {found(value)}", _LEAF_HINT)
        return None

    def _checked(self, compiles: Callable[[], Leaf]) -> Leaf | None:
        try:
            return compiles()
        except ConfigError as error:
            self.loading.problems += error.problems
            return None

    def _lookup(self, name: str, value: Mapping[str, Any], path: YamlPath, renderer: Renderer) -> Leaf | None:
        read = self._path(value["from"], (*path, "from"))
        for odd in value.keys() - {"from", "map", "else"}:
            hint = nearest(str(odd), ("from", "map", "else"), "keys")
            self.loading.error(self.tree.key_place((*path, odd)), f"unknown key '{odd}'", hint)
        table = value.get("map")
        if isinstance(table, str):
            return None  # the name of a map that does not hold together, which has been said
        if not isinstance(table, Mapping) or not table:
            self.loading.error(self.tree.place(path), f"'{name}' reads a path but has no 'map'", _LEAF_HINT)
            return None
        self._check_keys(name, table, read, (*path, "map"))
        leaves: dict[str, Leaf | None] = {}
        for key, one in table.items():
            leaf = self._leaf(name, one, (*path, "map", key), renderer)
            for text in self._spellings(key, table, (*path, "map")):
                leaves[text] = leaf
        otherwise = self._leaf(name, value["else"], (*path, "else"), renderer) if "else" in value else None
        known = {key: leaf for key, leaf in leaves.items() if leaf is not None}
        return None if read is None else Lookup(path=read, table=known, otherwise=otherwise)

    def _spellings(self, key: str, table: Mapping[str, Any], path: YamlPath) -> tuple[str, ...]:
        """The texts of what a key of a map stands for: its own and, as 0x10 is 16, that of the value it reads as."""
        means = self._means(key, path)
        return (key,) if means in table else (key, means)

    def _means(self, key: str, path: YamlPath) -> str:
        return table_keys(self.tree.key_value((*path, key)))[-1]

    def _check_keys(self, name: str, table: Mapping[str, Any], read: AlertPath | None, path: YamlPath) -> None:
        """Keys that nothing can be, where all values are known; two that read as one value, where not all are texts."""
        choices = None if read is None else self._choices(read.head)
        if read is not None and choices is not None:
            for key in (key for key in table if key not in choices):
                message = f"'{key}' in the map of '{name}' is no {read.head}, so it is never used"
                hint = nearest(key, choices, f"{read.head} is one of")
                self.loading.warn(self.tree.key_place((*path, key)), message, hint)
        if read is None or read.head != "payload":
            return
        first = {key: key for key in table}
        for key in table:
            same = first.setdefault(self._means(key, path), key)
            if same != key:
                message = f"'{key}' is the same value as '{same}' in the map of '{name}'"
                hint = "delete one of them, or put quotes around what is a text"
                self.loading.error(self.tree.key_place((*path, key)), message, hint)

    def _path(self, text: Any, path: YamlPath) -> AlertPath | None:
        try:
            read = parse_path(text if isinstance(text, str) else "")
            if read.head == "payload":
                self._note_path(read, self.tree.place(path))
            return read
        except BadPath as error:
            message = str(error) if isinstance(text, str) else f"a path is a text, found {found(text)}"
            hint = _path_hint(text if isinstance(text, str) else "", error.word, HEADS, "fields")
            self.loading.error(self.tree.place(path), message, hint)
            return None

    def _note_path(self, read: AlertPath, place: Place) -> None:
        """Remember a path, for whoever has payloads to hold it against."""
        self.loading.paths.append(PathUse(place=place, rule=self.rule.id, path=read))

    def _note_paths(self, texts: Iterable[str], place: Place) -> None:
        for text in dict.fromkeys(texts):
            if text.startswith("payload"):
                try:
                    self._note_path(parse_path(text), place)
                except BadPath:
                    continue  # no path that a rule could write: nothing is known of it

    def _paths(self, name: str) -> tuple[AlertPath, ...] | None:
        texts, at = self._setting(name)
        if texts is None:
            return None
        if not texts:
            self.loading.error(self.tree.place(at), f"'{name}' is empty", "name at least one path, or delete the line")
        paths = [self._path(text, (*at, number)) for number, text in enumerate(texts)]
        return tuple(path for path in paths if path is not None)

    def _severity(self) -> Leaf | None:
        value, path = self._setting("severity")
        if value is None:
            return None
        self._check_choices("severity", tuple(Severity), value, path)
        return self._leaf("severity", value, path)

    def _mode(self) -> Mode:
        value, path = self._setting("mode")
        if value is None or value in tuple(Mode):
            return Mode(value or Mode.LIVE)
        self.loading.error(self.tree.place(path), f"'mode' cannot be '{value}'", nearest(value, tuple(Mode), "choices"))
        return Mode.LIVE

    def _on_acknowledge(self, account: AccountView | None) -> OnAcknowledge:
        value, path = self._setting("on_acknowledge")
        place = self.tree.place(path)
        match value:
            case None | OnAcknowledge.IGNORE:
                return OnAcknowledge.IGNORE
            case OnAcknowledge.ACKNOWLEDGE:
                if account is not None and Action.ACKNOWLEDGE not in account.destination.actions:
                    message = f"{account.destination.type} incidents cannot be acknowledged"
                    self.loading.error(place, message, "write 'on_acknowledge: ignore'")
                return OnAcknowledge.ACKNOWLEDGE
            case OnAcknowledge.NOTE:
                self._needs_notes(account, place, "on_acknowledge")
                return OnAcknowledge.NOTE
            case _:
                message = f"'on_acknowledge' cannot be {found(value)}"
                self.loading.error(place, message, "use acknowledge, note or ignore")
        return OnAcknowledge.IGNORE

    def _on_resolve(self, account: AccountView | None) -> tuple[OnResolve, Leaf | None]:
        value, path = self._setting("on_resolve")
        place = self.tree.place(path)
        match value:
            case None | OnResolve.RESOLVE:
                return OnResolve.RESOLVE, None
            case OnResolve.IGNORE:
                return OnResolve.IGNORE, None
            case {"resolve": {"resolution": resolution, **others}, **more} if not others and not more:
                return OnResolve.RESOLVE, self._leaf("resolution", resolution, (*path, "resolve", "resolution"))
            case OnResolve.NOTE:
                self._needs_notes(account, place, "on_resolve")
                return OnResolve.NOTE, None
            case {"note": text, **more} if not more:
                self._needs_notes(account, place, "on_resolve")
                return OnResolve.NOTE, self._leaf("resolution", text, (*path, "note"))
            case _:
                hint = 'use resolve, note, ignore or {resolve: {resolution: "..."}}'
                self.loading.error(place, f"'on_resolve' cannot be {found(value)}", hint)
        return OnResolve.RESOLVE, None

    def _needs_notes(self, account: AccountView | None, place: Place, key: str) -> None:
        """Whether the account's incidents can be told anything."""
        if account is not None and Action.NOTE not in account.destination.actions:
            message = f"'{key}: note' cannot be done: {account.destination.type} incidents take no notes"
            self.loading.error(place, message, f"write '{key}: ignore'")

    def _on_severity_rise(self, account: AccountView | None) -> Mapping[str, Block] | None:
        value, path = self._setting("on_severity_rise")
        match value:
            case None:
                return None
            case "ignore":
                return {}
            case {"update": {**fields}, **more} if fields and not more:
                return self._changes(account, fields, (*path, "update"))
        message = f"'on_severity_rise' cannot be {found(value)}"
        self.loading.error(self.tree.place(path), message, "write {update: {urgency: high}}, or ignore")
        return None

    def _changes(self, account: AccountView | None, fields: Mapping[Any, Any], at: YamlPath) -> Mapping[str, Block]:
        """The fields of an update; what an upstream cannot change later is none of them."""
        if account is None:
            return {}
        known = account.destination.update_fields
        block: dict[str, Block] = {}
        for name, value in fields.items():
            path = (*at, name)
            if name not in known:
                hint = nearest(str(name), known, "fields")
                message = f"{account.destination.type} incidents cannot be given another '{name}'"
                self.loading.error(self.tree.key_place(path), message, hint)
                continue
            compiled = self._field(name, known[name], value, path)
            self._note_names(account, known[name], value, path)
            block |= {name: compiled} if compiled is not None else {}
        own = {name: value if _is_constant(value) else None for name, value in fields.items()}
        for name, sentence, hint in account.destination.contradictions(own):
            self.loading.error(self.tree.place((*at, name)), sentence, hint)
        return block

    def _duration(self, name: str) -> timedelta:
        value, path = self._setting(name)
        if value is None:
            return timedelta(0)
        try:
            length = duration(value)
        except (ValueError, OverflowError) as error:
            wanted = error if isinstance(error, ValueError) else "a shorter duration"
            self.loading.error(self.tree.place(path), f"'{name}' wants {wanted}, found '{value}'")
            return timedelta(0)
        return length


_LEAF_HINT = "write a text, {template: file}, {expr: expression} or {from: path, map: {value: text}, else: text}"
_PATHS_HINT = "paths: severity, labels.team, payload.a.0.b, payload['a.b']"


def _path_hint(text: str, word: str, known: Collection[str], what: str) -> str:
    """What to do about a path that cannot be read because of a word in it, or else as a whole."""
    if word != "alert":
        return nearest(word, known, what) if word else _PATHS_HINT
    meant = text.removeprefix("alert").removeprefix(".") or "title"
    return f"write {meant}: in rules an alert's fields stand without 'alert.'"


_NameAt = tuple[str, str, YamlPath, tuple[str, str] | None]  # text, list, where, and what it stands in


def _names_in(about: IncidentField, value: Mapping[Any, Any], path: YamlPath) -> Iterable[_NameAt]:
    """The names that stand in a mapping of them."""
    kind, inner = about.lookup or "", about.value_lookup
    for key, one in value.items():
        at, within = (*path, key), (kind, str(key)) if about.kind is FieldKind.VALUES else None
        yield str(key), kind, at, None
        parts = [(part, (*at, number)) for number, part in enumerate(one)] if isinstance(one, list) else [(one, at)]
        if about.kind is FieldKind.PEOPLE and isinstance(one, Mapping):
            parts += [(one[word], (*at, word)) for word in about.keys if word in one]
        for part, place in parts if inner is not None else ():
            yield from ((text, inner or "", where, within) for text, where in _constants_in(part, place))


def _constants_in(value: Any, path: YamlPath) -> list[tuple[str, YamlPath]]:
    """The texts a field may have that are the same for every alert, with their places; of a number, what it becomes."""
    match value:
        case Mapping():
            table = value.get("map")
            known = [(value["else"], (*path, "else"))] if "else" in value else []
            known += [(one, (*path, "map", key)) for key, one in table.items()] if isinstance(table, Mapping) else []
            return [constant for one, place in known for constant in _constants_in(one, place)]
        case bool() | int() | float():
            return [(canonical(value).decode(), path)]
    return [(value, path)] if _is_constant(value) else []


def _is_constant(value: Any) -> bool:
    return isinstance(value, str) and not _is_template(value)


def _is_template(text: str) -> bool:
    return any(mark in text for mark in ("{{", "{%", "{#"))
