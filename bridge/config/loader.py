"""bridge.yaml to Settings: every problem at once, in file order; nothing starts while there is one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from bridge.config.accounts import Accounts
from bridge.config.addresses import is_loopback, is_web_address, url_of
from bridge.config.file_loading import FileLoading, Types, begun
from bridge.config.models import AccountSettings, FileModel, RetentionSettings, Settings, SourceSettings
from bridge.config.senders import Senders
from bridge.config.surroundings import check_alarms, read_ledger, read_redis, read_server
from bridge.config.texts import is_text
from bridge.config.ui import read_ui
from bridge.config.yaml_reader import Path as YamlPath
from bridge.config.yaml_reader import read_tree
from bridge.domain.errors import ConfigError, Grade, Place, Problem
from bridge.render import nearest

SENDERS = frozenset({"sources", "ui"})  # the keys whose secrets only the web process needs


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
    if not is_text(str(path.absolute())):
        hint = "rename the folder, or the file, that is not"
        raise ConfigError([Problem(place=Place(file=str(path)), message="its path is not UTF-8", hint=hint)])
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
    loading = begun(tree, environ, path.absolute().parent, dispensable)
    return _settings(path.absolute(), loading, sources, destinations)


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


def _settings(path: Path, loading: FileLoading, source_types: Types, account_types: Types) -> Settings:
    values = loading.expanded.value
    file = loading.model(FileModel, values, (), "file")
    of_senders = Senders(loading=loading, types=source_types)
    of_accounts = Accounts(loading=loading, types=account_types)
    sources = loading.named(values.get("sources"), ("sources",), of_senders.read)
    accounts = loading.named(values.get("accounts"), ("accounts",), of_accounts.read)
    known = set(values["accounts"]) if isinstance(values.get("accounts"), dict) else set()
    of_accounts.check_plan_b(accounts, known)
    of_senders.check_watched(sources, accounts, known)
    made = None if file is None else _rest(path, loading, file, sources, accounts, known)
    loading.problems += loading.secrets.problems
    wrong = [one for one in loading.problems if one.grade is Grade.ERROR]
    if wrong or made is None:
        raise BrokenSettings(loading.problems, _readable(path.parent, values, accounts))
    return made


def _rest(
    path: Path,
    loading: FileLoading,
    file: FileModel,
    sources: Mapping[str, SourceSettings],
    accounts: Mapping[str, AccountSettings],
    known: set[str],
) -> Settings:
    root = path.parent
    check_alarms(loading, file, known)
    _check_trial(loading, file, accounts)
    folders = _rules_accounts(loading, file, root / file.rules, known)
    return Settings(
        config_path=path,
        config_dir=root,
        var_dir=root / "var",
        server=read_server(loading, file),
        ledger=read_ledger(loading, file.ledger, root),
        redis=read_redis(loading, file.redis),
        rules_dir=root / file.rules,
        templates_dir=root / file.templates,
        rules_accounts=MappingProxyType(folders),
        retention=RetentionSettings(
            bodies=file.retention.bodies,
            history=file.retention.history,
            bodies_max_bytes=file.retention.bodies_max,
        ),
        alarms=file.alarms,
        ui=read_ui(file, loading.secrets, loading),
        sources=MappingProxyType(dict(sources)),
        accounts=MappingProxyType(dict(accounts)),
        warnings=tuple(sorted((p for p in loading.problems if p.grade is Grade.WARNING), key=lambda p: p.place)),
    )


def _readable(root: Path, values: Mapping[str, Any], accounts: Mapping[str, AccountSettings]) -> Readable:
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


def _check_trial(loading: FileLoading, file: FileModel, accounts: Mapping[str, AccountSettings]) -> None:
    """`check` says what a start refuses (sandbox_refusal)."""
    url = url_of(file.server.public_url)
    if not is_web_address(url) or url is None or is_loopback(url.hostname or ""):
        return
    for name, account in accounts.items():
        if account.sandbox:
            message = f"account '{name}' talks to the built-in sandbox: at a public address nothing starts with it"
            loading.warn(("accounts", name), message, "set the account's token, or a loopback server.public_url")


def _rules_accounts(
    loading: FileLoading, file: FileModel, rules_dir: Path, known: set[str]
) -> dict[str, tuple[str, ...]]:
    """The accounts that folders of rules are held to; a folder that is not there restricts nobody."""
    folders = {}
    for folder, accounts in file.rules_accounts.items():
        at: YamlPath = ("rules_accounts", folder)
        name = folder.strip("/")
        if not name or ".." in name.split("/") or not (rules_dir / name).is_dir():
            hint = f"name a folder in {file.rules}, such as team-db/"
            loading.error(at, f"there is no folder '{folder}' of rules", hint)
        for number, account in enumerate(accounts):
            if account not in known:
                hint = nearest(account, known, "accounts")
                loading.error((*at, number), f"account '{account}' does not exist", hint)
        folders[f"{name}/"] = tuple(accounts)
    return folders


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
