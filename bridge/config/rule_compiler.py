"""One rule on its way from YAML to a Rule: its settings here, the rest by those who read conditions and values.

In: the rule as written, with the defaults of its file. Out: the Rule, or what is wrong with it, each at its place.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from bridge.config.rule_incident import INCIDENT_KEY, IncidentFields
from bridge.config.rule_leaves import Leaves
from bridge.config.rule_loading import AccountView, Loading
from bridge.config.rule_match import Conditions
from bridge.config.rule_models import RuleModel, RuleSettingsModel
from bridge.config.rule_paths import Paths
from bridge.config.sentences import found
from bridge.config.units import duration
from bridge.config.yaml_reader import Path as YamlPath
from bridge.config.yaml_reader import Tree
from bridge.domain.alert import Severity
from bridge.domain.decision import Mode, OnAcknowledge, OnResolve
from bridge.domain.delivery import Action
from bridge.domain.errors import Grade, Place
from bridge.render import nearest
from bridge.rules.book import Block, Leaf, Rule
from bridge.rules.match import Condition
from bridge.rules.paths import Path as AlertPath


def compile_rule(
    rule: RuleModel, tree: Tree, at: YamlPath, defaults: RuleSettingsModel, loading: Loading, *, has_incident: bool
) -> Rule | None:
    """The rule that stands at a path of a file; None when it has a problem, which the loading then knows.

    `has_incident` is false when a placeholder stands for the incident of the rule.
    """
    paths = Paths(tree=tree, rule_id=rule.id, loading=loading)
    leaves = Leaves(tree=tree, loading=loading, paths=paths)
    compiler = _Compiler(
        tree=tree,
        at=at,
        rule=rule,
        has_incident=has_incident,
        defaults=defaults,
        loading=loading,
        paths=paths,
        conditions=Conditions(tree=tree, loading=loading, paths=paths),
        leaves=leaves,
        fields=IncidentFields(tree=tree, rule_id=rule.id, loading=loading, leaves=leaves),
    )
    return compiler.compiled()


@dataclass(slots=True, kw_only=True)
class _Compiler:
    """A rule and its readers; whatever is wrong goes to the problems of the loading."""

    tree: Tree
    at: YamlPath
    rule: RuleModel
    has_incident: bool
    defaults: RuleSettingsModel
    loading: Loading
    paths: Paths
    conditions: Conditions
    leaves: Leaves
    fields: IncidentFields

    def compiled(self) -> Rule | None:
        """The rule; None when it has a problem."""
        before = len(self.loading.problems)
        account = self._account()
        conditions = self._match()
        incident, key = self.fields.opened(
            account, self.rule.incident, (*self.at, "incident"), has_incident=self.has_incident
        )
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
        when = self.conditions.when(self.rule.when, (*self.at, "when"))
        if self.rule.match is None:
            if not when:
                self.loading.without_match[self.rule.id] = self.tree.place((*self.at, "id"))
                return None
            return when
        return (*self.conditions.of(self.rule.match, (*self.at, "match")), *when)

    def _places(self, incident: Mapping[str, Block]) -> Mapping[str, str]:
        fields = {name: str(self.tree.place((*self.at, "incident", name))) for name in incident}
        return MappingProxyType({"": str(self.tree.place((*self.at, "id"))), **fields})

    def _paths(self, name: str) -> tuple[AlertPath, ...] | None:
        texts, at = self._setting(name)
        if texts is None:
            return None
        if not texts:
            self.loading.error(self.tree.place(at), f"'{name}' is empty", "name at least one path, or delete the line")
        paths = [self.paths.read(text, (*at, number)) for number, text in enumerate(texts)]
        return tuple(path for path in paths if path is not None)

    def _severity(self) -> Leaf | None:
        value, path = self._setting("severity")
        if value is None:
            return None
        self.leaves.check_choices("severity", tuple(Severity), value, path)
        return self.leaves.leaf("severity", value, path)

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
                return OnResolve.RESOLVE, self.leaves.leaf("resolution", resolution, (*path, "resolve", "resolution"))
            case OnResolve.NOTE:
                self._needs_notes(account, place, "on_resolve")
                return OnResolve.NOTE, None
            case {"note": text, **more} if not more:
                self._needs_notes(account, place, "on_resolve")
                return OnResolve.NOTE, self.leaves.leaf("note", text, (*path, "note"))
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
                return self.fields.changes(account, fields, (*path, "update"))
        message = f"'on_severity_rise' cannot be {found(value)}"
        self.loading.error(self.tree.place(path), message, "write {update: {urgency: high}}, or ignore")
        return None

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
