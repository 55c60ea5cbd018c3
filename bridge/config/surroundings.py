"""What the bridge itself runs on, as bridge.yaml says: where it listens, its ledger, its Redis, whom it alarms."""

import re
from collections.abc import Collection
from pathlib import Path

from bridge.config.addresses import is_another_port, is_web_address, url_of
from bridge.config.file_loading import FileLoading
from bridge.config.models import FileModel, ServerSettings
from bridge.config.yaml_reader import Path as YamlPath
from bridge.render import nearest


def read_server(loading: FileLoading, file: FileModel) -> ServerSettings:
    """Where it listens, and the address by which others reach it."""
    host, _, port = file.server.listen.rpartition(":")
    if not host or re.fullmatch("[0-9]{1,5}", port) is None or int(port) > 65535:
        shown = loading.shown(("server", "listen"), file.server.listen)
        loading.error(("server", "listen"), f"{shown} is not host:port", "write it as 127.0.0.1:8080")
        port = "0"
    if not is_web_address(url_of(file.server.public_url)):
        shown = loading.shown(("server", "public_url"), file.server.public_url)
        loading.error(("server", "public_url"), f"{shown} is not an address", "write it as https://bridge.example.com")
    elif is_another_port(file.server.public_url, int(port)):
        advice = f"write http://127.0.0.1:{port}, or the address of the proxy before it"
        shown = loading.shown(("server", "public_url"), file.server.public_url)
        loading.warn(("server", "public_url"), f"{shown} is this machine, but nothing listens at its port", advice)
    return ServerSettings(
        host=host.strip("[]"),
        port=int(port),
        public_url=file.server.public_url.rstrip("/"),
        max_body_bytes=file.server.max_body,
        trusted_proxies=file.server.trusted_proxies,
    )


class BadAddress(ValueError):
    """What is wrong with a ledger's address, and what to write."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what)
        self.what, self.advice = what, advice


def read_ledger(loading: FileLoading, text: str, root: Path) -> str:
    """The ledger's address as SQLAlchemy reads it; a SQLite file is named from `root`."""
    at: YamlPath = ("ledger",)
    if at in loading.expanded.broken:
        return text
    try:
        url = ledger_url(text, root)
    except BadAddress as error:
        loading.error(at, error.what, error.advice)
        return text
    if not url.startswith("sqlite"):
        _warn_of_password(loading, at)
    return url


SEVERAL_HOSTS = "name several servers as postgresql+psycopg://user@/name?host=one:5432&host=two:5432&target_session_attrs=read-write"


def ledger_url(text: str, root: Path) -> str:
    """What `ledger:` takes, as SQLAlchemy reads it; a SQLite file is named from `root`. Raises BadAddress."""
    kinds = "sqlite:///var/bridge.db or postgresql+psycopg://user@host/name"
    kind, separator, rest = text.partition("://")
    if kind == "sqlite":
        name = rest.removeprefix("/")
        if rest == name or not name or name.endswith(("/", ":memory:")) or "?" in name:
            hint = "write three slashes and a path: sqlite:///var/bridge.db"
            raise BadAddress("the SQLite ledger's address names no file", hint)
        return f"sqlite:///{root / name}"
    if kind in ("postgres", "postgresql", "postgresql+psycopg"):
        if not rest or url_of(text) is None:
            hint = SEVERAL_HOSTS if "," in rest.partition("/")[0].rpartition("@")[2] else f"write it as {kinds}"
            raise BadAddress("the PostgreSQL ledger's address cannot be read", hint)
        return f"postgresql+psycopg://{rest}"
    what = "the ledger's address cannot be read" if not separator else "the ledger cannot be kept in this database"
    raise BadAddress(what, f"write it as {kinds}")


def read_redis(loading: FileLoading, text: str) -> str:
    """The address of Redis, or that there is one of our own."""
    at: YamlPath = ("redis",)
    if text == "embedded" or at in loading.expanded.broken:
        return text
    url = url_of(text)
    if url is None or url.scheme not in ("redis", "rediss", "unix") or not (url.hostname or url.scheme == "unix"):
        loading.error(at, "the address of Redis cannot be read", "write embedded, or redis://host:6379/0")
    _warn_of_password(loading, at)
    return text


def check_alarms(loading: FileLoading, file: FileModel, known: Collection[str]) -> None:
    """Alarms go to one place, which is there."""
    url, account = file.alarms.url, file.alarms.account
    if account is not None and account not in known:
        shown = loading.shown(("alarms", "account"), account)
        loading.error(("alarms", "account"), f"account {shown} does not exist", nearest(account, known, "accounts"))
    if url and not is_web_address(url_of(url)):
        message = "the alarms' address cannot be read"
        loading.error(("alarms", "url"), message, "write it as https://chat.example.com/hook")
    if url and account is not None:
        loading.error(("alarms", "account"), "'url' and 'account' exclude each other", "delete one of them")


def _warn_of_password(loading: FileLoading, path: YamlPath) -> None:
    """Say it when the file itself, not a variable, holds an address's password."""
    url = url_of(loading.expanded.written.get(path) or loading.tree.value.get(path[0]) or "")
    if url is not None and url.password and "${" not in url.password:
        loading.warn(path, "the address holds a password", "write ${VARIABLE} in its place and set that variable")
