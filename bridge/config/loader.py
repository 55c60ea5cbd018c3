"""bridge.yaml to Settings: every problem at once, in file order; nothing starts while there is one."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import ValidationError

from bridge.config.auth import read_auth
from bridge.config.fields import read_settings
from bridge.config.models import (
    NAME_PATTERN,
    AccountModel,
    AccountSettings,
    FileModel,
    Model,
    RetentionSettings,
    ServerSettings,
    Settings,
    SourceSettings,
    source_model,
)
from bridge.config.sentences import found, sentences
from bridge.config.ui import read_ui
from bridge.config.variables import SANDBOX, Secrets, expand
from bridge.config.yaml_reader import Path as YamlPath
from bridge.config.yaml_reader import Tree, read_tree
from bridge.destinations.base import MAPPINGS
from bridge.domain.errors import ConfigError, Grade, Place, Problem
from bridge.render import nearest
from bridge.sources.base import AccountSetting, NoAuth, Setting

_M = TypeVar("_M", bound=Model)

Types = Mapping[str, Any]  # a table of sources or destinations: name -> class


SENDERS = frozenset({"sources", "ui"})  # the keys whose secrets only the web process needs
_SENDABLE = re.compile("[!-~]+")  # in an HTTP header, and free of blanks as keys and e-mail addresses are


def load_settings(
    path: Path,
    environ: Mapping[str, str],
    *,
    sources: Types,
    destinations: Types,
    dispensable: frozenset[str] = frozenset(),
) -> Settings:
    """Read a configuration. `sources` and `destinations` are the tables of what this program knows.

    Variables that are not set matter nothing under the top-level keys in `dispensable`: their secrets are empty.
    Raises ConfigError with every Problem of the file; a Settings may carry warnings.
    """
    shown = path.name
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([_unreadable(path, error)]) from error
    tree = read_tree(text, shown)
    if not isinstance(tree.value, dict):
        empty = Problem(
            place=Place(file=shown), message="the file is not a mapping", hint="it has at least: sources, accounts"
        )
        raise ConfigError(tree.problems or [empty])
    return _Loading(path.absolute(), tree, environ, sources, destinations, dispensable).settings()


def _unreadable(path: Path, error: OSError | UnicodeDecodeError) -> Problem:
    """Why a configuration cannot be read. That it is elsewhere is advice only where there is no such file."""
    place = Place(file=str(path))
    if isinstance(error, UnicodeDecodeError):
        return Problem(place=place, message="the file is not UTF-8", hint="write it as UTF-8 text")
    hint = "name it with --config or BRIDGE_CONFIG"
    if isinstance(error, FileNotFoundError):
        hint += ", or make one with 'incident-bridge init .'"
    elif isinstance(error, IsADirectoryError):
        hint = "name the bridge.yaml in it, with --config or BRIDGE_CONFIG"
    elif isinstance(error, PermissionError):
        hint = "run this as the user of the bridge, or let this user read it"
    return Problem(place=place, message=f"cannot be read: {error.strerror or 'unreadable'}", hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    """What could be read of a file that has problems: enough to check the rules as well."""

    config_dir: Path
    rules_dir: Path
    templates_dir: Path
    accounts: Mapping[str, AccountSettings]  # as far as they hold together
    account_names: frozenset[str]  # all that are there
    source_names: frozenset[str]


class BrokenSettings(ConfigError):
    """A bridge.yaml with problems; `readable` is what it says nevertheless."""

    def __init__(self, problems: Iterable[Problem], readable: Readable) -> None:
        super().__init__(problems)
        self.readable = readable


@dataclass(slots=True)
class _Loading:
    """One file being read."""

    path: Path
    tree: Tree
    environ: Mapping[str, str]
    source_types: Types
    account_types: Types
    dispensable: frozenset[str]
    problems: list[Problem] = field(default_factory=list)
    secrets: Secrets = field(init=False)

    def settings(self) -> Settings:
        expanded = expand(self.tree, self.environ, self.dispensable)
        self.problems += [*self.tree.problems, *expanded.problems]
        self.secrets = Secrets(self.tree, expanded, self.path.parent)
        file = self._model(FileModel, expanded.value, (), "file")
        values = expanded.value
        sources = self._named(values.get("sources"), ("sources",), self._source)
        accounts = self._named(values.get("accounts"), ("accounts",), self._account)
        known = set(values["accounts"]) if isinstance(values.get("accounts"), dict) else set()
        self._check_plan_b(accounts, known)
        self._check_watched(sources, accounts, known)
        made = None if file is None else self._rest(file, sources, accounts, known)
        self.problems += self.secrets.problems
        wrong = [one for one in self.problems if one.grade is Grade.ERROR]
        if wrong or made is None:
            raise BrokenSettings(self.problems, self._readable(values, accounts))
        return made

    def _readable(self, values: Mapping[str, Any], accounts: Mapping[str, AccountSettings]) -> Readable:
        root = self.path.parent

        def folder(key: str) -> Path:
            given = values.get(key)
            return root / (given if isinstance(given, str) else str(FileModel.model_fields[key].default))

        def names(key: str) -> frozenset[str]:
            given = values.get(key)
            return frozenset(given) if isinstance(given, dict) else frozenset()

        return Readable(
            config_dir=root,
            rules_dir=folder("rules"),
            templates_dir=folder("templates"),
            accounts=accounts,
            account_names=names("accounts"),
            source_names=names("sources"),
        )

    # -- parts

    def _rest(
        self,
        file: FileModel,
        sources: Mapping[str, SourceSettings],
        accounts: Mapping[str, AccountSettings],
        known: set[str],
    ) -> Settings:
        root = self.path.parent
        self._check_alarms(file, known)
        self._check_trial(file, accounts)
        folders = self._rules_accounts(file, root / file.rules, known)
        return Settings(
            config_path=self.path,
            config_dir=root,
            var_dir=root / "var",
            server=self._server(file),
            ledger=self._ledger(file.ledger),
            redis=self._redis(file.redis),
            rules_dir=root / file.rules,
            templates_dir=root / file.templates,
            rules_accounts=MappingProxyType(folders),
            retention=RetentionSettings(
                bodies=file.retention.bodies,
                history=file.retention.history,
                bodies_max_bytes=file.retention.bodies_max,
            ),
            alarms=file.alarms,
            ui=read_ui(file, self.secrets, self),
            sources=MappingProxyType(dict(sources)),
            accounts=MappingProxyType(dict(accounts)),
            warnings=tuple(sorted((p for p in self.problems if p.grade is Grade.WARNING), key=lambda p: p.place)),
        )

    def _check_trial(self, file: FileModel, accounts: Mapping[str, AccountSettings]) -> None:
        """`check` says what a start refuses (sandbox_refusal)."""
        url = _url(file.server.public_url)
        if not _is_web_address(url) or url is None or is_loopback(url.hostname or ""):
            return
        for name, account in accounts.items():
            if account.sandbox:
                message = f"account '{name}' talks to the built-in sandbox: at a public address nothing starts with it"
                self.warn(("accounts", name), message, "set the account's token, or a loopback server.public_url")

    def _server(self, file: FileModel) -> ServerSettings:
        host, _, port = file.server.listen.rpartition(":")
        if not host or re.fullmatch("[0-9]{1,5}", port) is None or int(port) > 65535:
            shown = self._shown(("server", "listen"), file.server.listen)
            self.error(("server", "listen"), f"{shown} is not host:port", "write it as 127.0.0.1:8080")
            port = "0"
        if not _is_web_address(_url(file.server.public_url)):
            shown = self._shown(("server", "public_url"), file.server.public_url)
            self.error(("server", "public_url"), f"{shown} is not an address", "write it as https://bridge.example.com")
        elif _is_another_port(file.server.public_url, int(port)):
            advice = f"write http://127.0.0.1:{port}, or the address of the proxy before it"
            shown = self._shown(("server", "public_url"), file.server.public_url)
            self.warn(("server", "public_url"), f"{shown} is this machine, but nothing listens at its port", advice)
        return ServerSettings(
            host=host.strip("[]"),
            port=int(port),
            public_url=file.server.public_url.rstrip("/"),
            max_body_bytes=file.server.max_body,
            trusted_proxies=file.server.trusted_proxies,
        )

    def _ledger(self, text: str) -> str:
        at: YamlPath = ("ledger",)
        kinds = "sqlite:///var/bridge.db or postgresql+psycopg://user@host/name"
        kind, separator, rest = text.partition("://")
        if at in self.secrets.expanded.broken:
            return text
        if kind == "sqlite":
            name = rest.removeprefix("/")
            if rest == name or not name or name.endswith(("/", ":memory:")) or "?" in name:
                hint = "write three slashes and a path: sqlite:///var/bridge.db"
                self.error(at, "the SQLite ledger's address names no file", hint)
            return f"sqlite:///{self.path.parent / name}"
        if kind in ("postgres", "postgresql", "postgresql+psycopg"):
            if not rest or _url(text) is None:
                self.error(at, "the PostgreSQL ledger's address cannot be read", f"write it as {kinds}")
            self._warn_of_password(at)
            return f"postgresql+psycopg://{rest}"
        what = "the ledger's address cannot be read" if not separator else "the ledger cannot be kept in this database"
        self.error(at, what, f"write it as {kinds}")
        return text

    def _redis(self, text: str) -> str:
        at: YamlPath = ("redis",)
        if text == "embedded" or at in self.secrets.expanded.broken:
            return text
        url = _url(text)
        if url is None or url.scheme not in ("redis", "rediss", "unix") or not (url.hostname or url.scheme == "unix"):
            self.error(at, "the address of Redis cannot be read", "write embedded, or redis://host:6379/0")
        self._warn_of_password(at)
        return text

    def _warn_of_password(self, path: YamlPath) -> None:
        """Say it when the file itself, not a variable, holds an address's password."""
        url = _url(self.secrets.expanded.written.get(path) or self.tree.value.get(path[0]) or "")
        if url is not None and url.password and "${" not in url.password:
            self.warn(path, "the address holds a password", "write ${VARIABLE} in its place and set that variable")

    def _check_alarms(self, file: FileModel, known: set[str]) -> None:
        url, account = file.alarms.url, file.alarms.account
        if account is not None and account not in known:
            shown = self._shown(("alarms", "account"), account)
            self.error(("alarms", "account"), f"account {shown} does not exist", nearest(account, known, "accounts"))
        if url and not _is_web_address(_url(url)):
            message = "the alarms' address cannot be read"
            self.error(("alarms", "url"), message, "write it as https://chat.example.com/hook")
        if url and account is not None:
            self.error(("alarms", "account"), "'url' and 'account' exclude each other", "delete one of them")

    def _rules_accounts(self, file: FileModel, rules_dir: Path, known: set[str]) -> dict[str, tuple[str, ...]]:
        """The accounts that folders of rules are held to; a folder that is not there restricts nobody."""
        folders = {}
        for folder, accounts in file.rules_accounts.items():
            at: YamlPath = ("rules_accounts", folder)
            name = folder.strip("/")
            if not name or ".." in name.split("/") or not (rules_dir / name).is_dir():
                hint = f"name a folder in {file.rules}, such as team-db/"
                self.error(at, f"there is no folder '{folder}' of rules", hint)
            for number, account in enumerate(accounts):
                if account not in known:
                    hint = nearest(account, known, "accounts")
                    self.error((*at, number), f"account '{account}' does not exist", hint)
            folders[f"{name}/"] = tuple(accounts)
        return folders

    def _source(self, name: str, value: Any, path: YamlPath) -> SourceSettings | None:
        kind = value.get("type") if isinstance(value, dict) else None
        made = self.source_types.get(kind) if isinstance(kind, str) else None
        declared: Mapping[str, Setting] = getattr(made, "settings", {})
        one = self._model(source_model(declared), value, path, "source")
        if one is None or not self._known_type(one.type, self.source_types, path, "source") or made is None:
            return None
        words: frozenset[str] = getattr(made, "signature_words", frozenset())
        auth = read_auth(one.auth, (*path, "auth"), made.signature_keys, self.secrets, self, words)
        settings = read_settings(declared, one, path, self.tree, self)
        for key, setting in declared.items():
            if key not in one.model_fields_set and getattr(auth, "kind", None) in getattr(setting, "needed_by", ()):
                self.error(path, f"the source has no '{key}'", f"add '{key}:' ({setting.about})")
        return SourceSettings(name=name, type=one.type, auth=NoAuth() if auth is None else auth, settings=settings)

    def _account(self, name: str, value: Any, path: YamlPath) -> AccountSettings | None:
        one = self._model(AccountModel, value, path, "account")
        if one is None or not self._known_type(one.type, self.account_types, path, "account"):
            return None
        pagerduty = one.type == "pagerduty"
        self._wrong_vendor(one, path, pagerduty)
        key = "token" if pagerduty else "api_key"
        secret = one.token if pagerduty else one.api_key
        token = self.secrets.one(secret, (*path, key))
        if not token and not self.secrets.is_faulty((*path, key)):
            self.error((*path, key), f"account '{name}' has no {key}", f"add '{key}: ${{VARIABLE}}', or 'sandbox'")
        if token and _SENDABLE.fullmatch(token) is None and not self.secrets.is_faulty((*path, key)):
            self.error(
                (*path, key), f"the {key} holds what no HTTP header can carry", "set its variable to the key alone"
            )
        if (
            pagerduty
            and not one.from_
            and not value.get("from")
            and (*path, "from") not in self.secrets.expanded.broken
        ):
            hint = "add 'from: ' with the login e-mail of a bot user that nobody assigns incidents to"
            self.error(path, f"account '{name}' has no 'from'", hint)
        # the account's every call would fail; but for blanks at the end, which HTTP leaves out
        if pagerduty and one.from_ and _SENDABLE.fullmatch(one.from_.rstrip(" ")) is None:
            message = "the 'from' is no e-mail address that an HTTP header can carry"
            self.error((*path, "from"), message, "write the bot user's login e-mail alone, without a line break")
        self._base_url(one, path)
        if token == SANDBOX and one.base_url is not None:
            message = f"'base_url' has no effect with {key} '{SANDBOX}', which means the built-in stand-in"
            self.warn((*path, "base_url"), message, f"give any other {key}, or leave base_url out")
        self._defaults(one, path)
        if (
            one.reserve is not None
            and one.reserve >= one.burst
            and ("burst" in one.model_fields_set or "burst" not in value)
        ):
            message = f"a reserve of {one.reserve} leaves nothing of a burst of {one.burst}"
            self.error((*path, "reserve"), message, "make it smaller")
        if "plan_b_after" in one.model_fields_set and one.plan_b is None and not value.get("plan_b"):
            self.warn((*path, "plan_b_after"), "'plan_b_after' has no effect without 'plan_b'", "name an account, too")
        if not one.give_up_after:
            message = "'give_up_after' of nothing would give up every page at once"
            self.error((*path, "give_up_after"), message, "leave it out for 24h")
        return AccountSettings(
            name=name,
            type=one.type,
            token=token,
            sandbox=token == SANDBOX,
            from_=one.from_,
            region=one.region or "us",
            oauth=one.token_type == "oauth",  # noqa: S105 - a kind of token, not one
            base_url=None if one.base_url is None else one.base_url.rstrip("/"),
            api=one.api or "v2",
            rate=one.rate,
            burst=one.burst,
            update_rate=one.update_rate,
            reserve=one.reserve,
            max_wait=one.max_wait,
            promote_after=one.promote_after,
            give_up_after=one.give_up_after,
            confirm_open=one.confirm_open,
            respect_human_close=one.respect_human_close,
            plan_b=one.plan_b,
            plan_b_after=one.plan_b_after,
            defaults=MappingProxyType(one.defaults),
        )

    # -- checks

    def _wrong_vendor(self, one: AccountModel, path: YamlPath, pagerduty: bool) -> None:
        foreign = ("api_key", "api") if pagerduty else ("token", "from_", "region", "token_type")
        for key in foreign:
            if getattr(one, key) is not None:
                word = key.rstrip("_")
                hint = "delete it; the key is called 'token' here" if key == "api_key" else "delete it"
                hint = "delete it; the key is called 'api_key' here" if key == "token" else hint
                self.key_error((*path, word), f"an account of type {one.type} has no '{word}'", hint)

    def _base_url(self, one: AccountModel, path: YamlPath) -> None:
        if one.base_url is None:
            return
        url = _url(one.base_url)
        if url is not None and (url.username or url.password):
            self.error((*path, "base_url"), "the address holds a user or a password", "leave them out")
            return
        is_safe = url is not None and (url.scheme == "https" or is_loopback(url.hostname or ""))
        if not _is_web_address(url) or not is_safe:
            hint = "write it with https; http is for loopback addresses only"
            shown = self._shown((*path, "base_url"), one.base_url)
            self.error((*path, "base_url"), f"{shown} is not an https address", hint)
        if one.region is not None:
            self.error((*path, "base_url"), "'region' and 'base_url' exclude each other", "delete one of them")

    def _defaults(self, one: AccountModel, path: YamlPath) -> None:
        fields = self.account_types[one.type].fields
        for key, text in one.defaults.items():
            at = (*path, "defaults", key)
            if key not in fields:
                self.key_error(at, f"{one.type} has no field '{key}'", nearest(key, sorted(fields), "fields"))
            elif fields[key].kind in MAPPINGS:
                plain = [name for name, about in fields.items() if about.kind not in MAPPINGS]
                self.key_error(at, f"'{key}' cannot have a default", f"fields: {', '.join(sorted(plain))}")
            elif fields[key].choices and text not in fields[key].choices and at not in self.secrets.expanded.broken:
                self.error(
                    at, f"'{key}' cannot be {self._shown(at, text)}", nearest(text, fields[key].choices, "choices")
                )

    def _check_watched(
        self, sources: Mapping[str, SourceSettings], accounts: Mapping[str, AccountSettings], known: set[str]
    ) -> None:
        """The accounts that sources name: each has to be there, and of the vendor whose events the source reads."""
        for name, source in sources.items():
            for key, setting in getattr(self.source_types[source.type], "settings", {}).items():
                if not isinstance(setting, AccountSetting):
                    continue
                at, account = ("sources", name, key), str(source.settings.get(key) or "")
                if key not in source.settings:
                    hint = f"add '{key}: ' ({setting.about})"
                    self.error(("sources", name), f"the source has no '{key}'", hint)
                elif account and account not in known:
                    hint = nearest(account, sorted(known), "accounts")
                    self.error(at, f"account {self._shown(at, account)} does not exist", hint)
                elif account in accounts and accounts[account].type != setting.type:
                    sentence = f"account '{account}' is of type {accounts[account].type}, not {setting.type}"
                    fitting = sorted(n for n, one in accounts.items() if one.type == setting.type)
                    self.error(at, sentence, f"accounts: {', '.join(fitting) or 'none fits'}")

    def _check_plan_b(self, accounts: Mapping[str, AccountSettings], known: set[str]) -> None:
        for name, account in accounts.items():
            if account.plan_b is None:
                continue
            at = ("accounts", name, "plan_b")
            if account.plan_b == name:
                self.error(at, f"account '{name}' cannot be its own plan B", "name another account")
            elif account.plan_b not in known:
                hint = nearest(account.plan_b, sorted(known), "accounts")
                self.error(at, f"account {self._shown(at, account.plan_b)} does not exist", hint)
            elif (ring := _ring_of(name, accounts)) is not None:
                if name == min(ring):
                    path = " -> ".join((*ring[ring.index(name) :], *ring[: ring.index(name)], name))
                    self.error(at, f"plan B goes round in a circle: {path}", "leave 'plan_b' out of one of them")
            elif account.plan_b in accounts:
                self._check_can_step_in(at, name, accounts[account.plan_b], accounts)

    def _check_can_step_in(
        self, at: YamlPath, name: str, other: AccountSettings, accounts: Mapping[str, AccountSettings]
    ) -> None:
        """A create at plan B has a title, a text, and what the account has by default; it waits in another lane."""
        lanes = lanes_of(accounts)
        if name in lanes and lanes[name] == lanes[other.name]:
            sentence = f"account '{other.name}' has the same key as '{name}', so it stands still when that one does"
            self.error(at, sentence, "name an account with a key of its own")
        made = self.account_types[other.type]
        fields = {name for name, about in made.fields.items() if about.required} - {made.title_field, made.body_field}
        for needed in sorted(fields - other.defaults.keys()):
            sentence = (
                f"account '{other.name}' cannot be plan B: a create there needs a {needed}, and it has no default"
            )
            self.error(at, sentence, f"add 'defaults: {{{needed}: ...}}' to account '{other.name}'")

    def _named(self, entries: Any, path: YamlPath, read: Any) -> dict[str, Any]:
        """Every entry of `sources:` or `accounts:`; each is read, so that one bad entry hides no other's problems."""
        made: dict[str, Any] = {}
        if not isinstance(entries, dict):
            return made
        for name, value in entries.items():
            at = (*path, name)
            if re.fullmatch(NAME_PATTERN, name) is None or len(name) > 64:
                hint = "small letters, digits, - and _; it stands in addresses and keys"
                self.key_error(at, f"'{name}' cannot be a name", hint)
            one = read(name, value, at)
            if one is not None:
                made[name] = one
        return made

    def _known_type(self, wanted: str, table: Types, path: YamlPath, thing: str) -> bool:
        if wanted in table:
            return True
        hint = nearest(wanted, sorted(table), "types")
        self.error((*path, "type"), f"there is no {thing} type {self._shown((*path, 'type'), wanted)}", hint)
        return False

    def _model(self, model: type[_M], value: Any, path: YamlPath, thing: str) -> _M | None:
        """A part of the file. What is wrong is said and left out, so that the rest is still checked."""
        written = self.secrets.expanded.written
        try:
            return model.model_validate(value)
        except ValidationError as error:
            wrong = error.errors(include_url=False)
            said = sentences(error, self.tree, path, thing, model, written)
        broken = {self.tree.place(one) for one in self.secrets.expanded.broken}
        self.problems += [one for one in said if one.place not in broken]
        rest = value
        for one in wrong:
            rest = _without(rest, one["loc"]) if one["type"] != "missing" else rest
        if model is FileModel and isinstance(rest, dict):
            rest = {"sources": {}, "accounts": {}, **rest}
        try:
            return model.model_validate(rest)
        except ValidationError:
            return None

    def _shown(self, path: YamlPath, text: str) -> str:
        """A text of the file for a message: with its variables as they are written, never what they hold."""
        return found(self.secrets.expanded.written.get(path, text))

    def key_error(self, path: YamlPath, message: str, hint: str) -> None:
        self.problems.append(Problem(place=self.tree.key_place(path), message=message, hint=hint))

    def error(self, path: YamlPath, message: str, hint: str) -> None:
        self.problems.append(Problem(place=self.tree.place(path), message=message, hint=hint))

    def warn(self, path: YamlPath, message: str, hint: str) -> None:
        self.problems.append(Problem(place=self.tree.place(path), message=message, hint=hint, grade=Grade.WARNING))


def _without(value: Any, path: tuple[str | int, ...]) -> Any:
    """A mapping without what stands at a path; anything else as it is."""
    if not isinstance(value, dict) or not path or path[0] not in value:
        return value
    key, *deeper = path
    if deeper and isinstance(value[key], dict):
        return {**value, key: _without(value[key], tuple(deeper))}
    return {name: one for name, one in value.items() if name != key}


def _url(text: str) -> SplitResult | None:
    """The parts of an address; None when it cannot be one."""
    try:
        url = urlsplit(text)
        return url if url.port is None or url.port > 0 else None
    except ValueError:  # brackets of IPv6 or a port that are none
        return None


def _is_another_port(public_url: str, port: int) -> bool:
    """Whether links would lead to this machine and to a port that is not ours: of a `listen` that was moved alone."""
    url = _url(public_url)
    return port != 0 and url is not None and is_loopback(url.hostname or "") and url.port not in (None, port)


def _is_web_address(url: SplitResult | None) -> bool:
    """Whether it is an http(s) address of a host, with nothing but a path behind it."""
    if url is None or url.scheme not in ("http", "https") or not url.hostname:
        return False
    return not (url.username or url.password or url.fragment)


def is_loopback(host: str) -> bool:
    """Whether a host name is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def lanes_of(accounts: Mapping[str, AccountSettings]) -> dict[str, str]:
    """Account name to lane name: accounts of one type with the same token share the lane of the alphabetically first.

    Sandbox accounts have a lane each: their token says nothing.
    """
    first: dict[tuple[str, str], str] = {}
    lanes: dict[str, str] = {}
    for name in sorted(accounts):
        account = accounts[name]
        lanes[name] = name if account.sandbox else first.setdefault((account.type, account.token), name)
    return lanes


def sandbox_refusal(settings: Settings, environ: Mapping[str, str]) -> str | None:
    """Why these settings must not start because an account talks to the stand-in; None when they may."""
    trial = [name for name, account in settings.accounts.items() if account.sandbox]
    if not trial:
        return None
    names = ", ".join(sorted(trial))
    who = f"account{'s' * (len(trial) > 1)} {names} {'talk' if len(trial) > 1 else 'talks'} to the built-in sandbox"
    if not is_loopback(urlsplit(settings.server.public_url).hostname or ""):
        return f"{who}, but server.public_url names a public address: set the account's token, or a loopback public_url"
    if environ.get("BRIDGE_SANDBOX") != "1":
        return f"{who}, so no page would leave this machine: set the account's token, or BRIDGE_SANDBOX=1 for a trial"
    return None


def _ring_of(name: str, accounts: Mapping[str, AccountSettings]) -> list[str] | None:
    """The accounts that are plan B of one another, from this one round to itself; None when it is in no such ring."""
    seen = [name]
    while (following := accounts[seen[-1]].plan_b) is not None and following in accounts:
        if following == name:
            return seen
        if following in seen:
            return None
        seen.append(following)
    return None
