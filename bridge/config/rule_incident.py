"""The incident a rule opens, and what it changes in an open one: fields as the account's destination names them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.config.rule_leaves import LEAF_KEYS, Leaves, constant_of, constants_in
from bridge.config.rule_loading import AccountView, Loading
from bridge.config.sentences import found
from bridge.config.yaml_reader import Path as YamlPath
from bridge.config.yaml_reader import Tree
from bridge.destinations.base import MAPPINGS, NAMED, FieldKind, instant_text
from bridge.destinations.base import Field as IncidentField
from bridge.render import nearest
from bridge.rules.book import Block, Leaf, NameUse

INCIDENT_KEY = "incident_key"
_NameAt = tuple[str, str, YamlPath, tuple[str, str] | None]  # text, list, where, and what it stands in


@dataclass(slots=True, kw_only=True)
class IncidentFields:
    """Compiles the incident of one rule; what is wrong with it goes to the problems of the loading."""

    tree: Tree
    rule_id: str
    loading: Loading
    leaves: Leaves

    def opened(
        self, account: AccountView | None, written: Mapping[str, Any], at: YamlPath, *, has_incident: bool
    ) -> tuple[Mapping[str, Block], Leaf | None]:
        """The fields of the incident a rule opens, and its key if it has one of its own.

        `has_incident` is false when the rule has no incident, which has been said: nothing more is missing then.
        """
        block: dict[str, Block] = {}
        key: Leaf | None = None
        known = account.destination.fields if account is not None else None
        for name, value in written.items():
            path = (*at, name)
            if name == INCIDENT_KEY:
                key = self.leaves.leaf(name, value, path, self.loading.key_renderer)
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
        if account is not None and has_incident:
            self._check_required(account, written, at)
            self._check_contradictions(account, written, at)
            self._check_defaults(account, written, at)
        return block, key

    def changes(self, account: AccountView | None, fields: Mapping[Any, Any], at: YamlPath) -> Mapping[str, Block]:
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
        self._check_contradictions(account, fields, at)
        return block

    def _check_contradictions(self, account: AccountView, fields: Mapping[Any, Any], at: YamlPath) -> None:
        known = {name: constant_of(value) for name, value in fields.items()}
        for name, sentence, hint in account.destination.contradictions(known):
            self.loading.error(self.tree.place((*at, name)), sentence, hint)

    def _check_defaults(self, account: AccountView, written: Mapping[str, Any], at: YamlPath) -> None:
        """What the account's defaults would add; a field beside a default is the destination's to choose."""
        alone = {name: text for name, text in account.destination.defaults.items() if name not in written}
        for _, sentence, hint in account.destination.contradictions(alone):
            self.loading.error(self.tree.key_place(at), f"the defaults of account '{account.name}': {sentence}", hint)

    def _check_required(self, account: AccountView, written: Mapping[str, Any], at: YamlPath) -> None:
        for name, about in account.destination.fields.items():
            if about.required and name not in written and name not in account.destination.defaults:
                message = f"the incident of rule '{self.rule_id}' has no '{name}'"
                self.loading.error(
                    self.tree.key_place(at), message, f"add '{name}:' to it or to the defaults of '{account.name}'"
                )

    def _field(self, name: str, about: IncidentField, value: Any, path: YamlPath) -> Block | None:
        if about.kind in MAPPINGS:
            if isinstance(value, Mapping) and value and not LEAF_KEYS & value.keys():
                return self._mapping(name, about, value, path)
            message = f"'{name}' wants a mapping, found {found(value)}"
            self.loading.error(self.tree.place(path), message if value != {} else f"'{name}' is empty", about.about)
            return None
        leaf = self.leaves.leaf(name, value, path)
        if leaf is not None and about.choices:
            self.leaves.check_choices(name, about.choices, value, path)
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
                leaves = [self.leaves.leaf(str(key), item, (*at, number)) for number, item in enumerate(one)]
                block = tuple(leaf for leaf in leaves if leaf is not None)
            elif about.kind is FieldKind.PEOPLE:
                block = self._person(str(key), about, one, at)
            else:
                block = self.leaves.leaf(str(key), one, at)
            self._check_instant(str(key), about, one, at)
            blocks |= {str(key).strip(): block} if block is not None else {}
        return blocks

    def _person(self, name: str, about: IncidentField, value: Any, path: YamlPath) -> Block | None:
        """Somebody: a text, or {email: text} where the key says what kind of text it is."""
        if not isinstance(value, Mapping) or LEAF_KEYS & value.keys():
            return self.leaves.leaf(name, value, path)
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
        return self.leaves.leaf(name, one, (*path, key))

    def _check_instant(self, name: str, about: IncidentField, value: Any, path: YamlPath) -> None:
        if about.kind is not FieldKind.INSTANTS:
            return
        text = constant_of(value)
        if text and text.strip() and instant_text(text) is None:
            hint = "write it as 2026-08-01T10:00:00Z, or take it from the alert: {expr: alert.starts_at}"
            self.loading.error(self.tree.place(path), f"'{name}' is no instant: '{text}'", hint)

    def _data(self, name: str, value: Any, path: YamlPath) -> Block | None:
        if isinstance(value, Mapping) and not LEAF_KEYS & value.keys():
            inner = {str(key): self._data(str(key), one, (*path, key)) for key, one in value.items()}
            return {key: block for key, block in inner.items() if block is not None}
        if isinstance(value, list):
            blocks = [self._data(name, one, (*path, number)) for number, one in enumerate(value)]
            return tuple(block for block in blocks if block is not None)
        return self.leaves.leaf(name, value, path)

    def _note_names(self, account: AccountView | None, about: IncidentField, value: Any, path: YamlPath) -> None:
        """Remember the names that can be known now, for whoever has the upstream's list."""
        if account is None or about.lookup is None:
            return
        found: Iterable[_NameAt] = ((text, about.lookup, at, None) for text, at in constants_in(value, path))
        if about.kind in NAMED:
            found = _names_in(about, value, path) if isinstance(value, Mapping) else ()
        self.loading.names += [
            NameUse(place=self.tree.place(place), account=account.name, kind=kind, text=text, within=within)
            for text, kind, place, within in found
        ]


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
            yield from ((text, inner or "", where, within) for text, where in constants_in(part, place))
