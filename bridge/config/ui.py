"""`ui:` of bridge.yaml: who may use pages and API, and what each of them may do."""

import ipaddress
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from bridge.config.auth import SPACE_IS_LOST, Says
from bridge.config.models import (
    FileModel,
    ProxySettings,
    TokenSettings,
    UiModel,
    UiSettings,
    UserSettings,
)
from bridge.config.sentences import found
from bridge.config.variables import Secrets
from bridge.config.yaml_reader import Path as YamlPath
from bridge.domain.access import Role
from bridge.render import nearest

_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")  # an underscore would be the same name as a dash to every Python server
_ROLES = tuple(role.value for role in Role)


def read_ui(file: FileModel, secrets: Secrets, says: Says) -> UiSettings:
    """The settings under `ui:`; what is wrong with them is said."""
    model = file.ui
    users: dict[str, UserSettings] = {}
    password_hash = _hash(model.auth.password_hash, ("ui", "auth", "password_hash"), secrets, says)
    if password_hash:
        users[model.auth.username] = UserSettings(password_hash=password_hash, role=Role.ADMIN)
    for name, user in model.users.items():
        at: YamlPath = ("ui", "users", name)
        held = _hash(user.password_hash, (*at, "password_hash"), secrets, says)
        if name in users:
            says.key_error(at, f"user '{name}' is in 'ui.auth' already", "delete one of them")
        elif held:
            users[name] = UserSettings(password_hash=held, role=Role(user.role))
        elif user.password_hash is None:
            says.error(at, f"user '{name}' has no 'password_hash'", "make one with 'incident-bridge passwd'")
    return UiSettings(
        username=model.auth.username,
        password_hash=password_hash or None,
        users=MappingProxyType(users),
        tokens=MappingProxyType(_tokens(model, secrets, says)),
        proxy=_proxy(model, file.server.trusted_proxies, says),
        session_idle=model.session.idle,
        session_absolute=model.session.absolute,
    )


def _hash(value: Any, path: YamlPath, secrets: Secrets, says: Says) -> str:
    held = secrets.one(value, path)
    if held and not held.startswith("$argon2"):
        hint = "make it with 'incident-bridge passwd' and quote it in the shell"
        says.error(path, "this is not an argon2 hash", hint)
    return held


def _tokens(model: UiModel, secrets: Secrets, says: Says) -> dict[str, TokenSettings]:
    made: dict[str, TokenSettings] = {}
    for name, value in model.tokens.items():
        at: YamlPath = ("ui", "tokens", name)
        role = Role.ADMIN.value
        if isinstance(value, Mapping) and set(value) != {"file"}:
            for key in sorted(set(value) - {"secret", "role"}):
                says.key_error((*at, key), f"unknown key '{key}'", nearest(str(key), ["role", "secret"], "keys"))
            role = value.get("role", Role.VIEW.value)
            if role not in _ROLES:
                says.error((*at, "role"), f"'role' wants one of its words, found {found(role)}", _hint(role))
                continue
            if "secret" not in value:
                says.error(at, f"token '{name}' has no 'secret'", "add 'secret: ${VARIABLE}'")
            value, at = value.get("secret"), (*at, "secret")
        secret = secrets.one(value, at)
        if secret != secret.strip():
            says.warn(at, f"token '{name}' begins or ends with a space", SPACE_IS_LOST)
        if secret:
            made[name] = TokenSettings(secret=secret, role=Role(role))
    return made


def _hint(role: object) -> str:
    return nearest(role, _ROLES, "roles") if isinstance(role, str) else f"roles: {', '.join(_ROLES)}"


def _proxy(model: UiModel, trusted: int, says: Says) -> ProxySettings | None:
    one, at = model.proxy, ("ui", "proxy")
    if not one.header:
        for key in sorted(one.model_fields_set - {"header"}):
            says.warn((*at, key), f"'{key}' has no effect without 'header'", "name the header with the user, too")
            break
        return None
    for key, name in (("header", one.header), ("roles_header", one.roles_header)):
        if name is not None and _HEADER_NAME.fullmatch(name) is None:
            says.error((*at, key), f"'{key}' is no header's name", "write it as X-Forwarded-User")
    if one.role is not None and one.roles_header is not None:
        says.error((*at, "role"), "'role' and 'roles_header' exclude each other", "delete one of them")
    if one.role is None and one.roles_header is None:
        hint = f"add 'role: view' for everybody ({', '.join(_ROLES)}), or 'roles_header' with the header that says it"
        says.error((*at, "header"), "the proxy's users have no role", hint)
    hops = trusted if one.hops is None else one.hops
    if hops < 1 or hops > trusted:
        sentence = f"'ui.proxy' believes {hops} proxies, 'server.trusted_proxies' {trusted}"
        hint = "set server.trusted_proxies to the number of proxies in front, and 'hops' to no more than that"
        says.error((*at, "hops" if one.hops is not None else "header"), sentence, hint)
    peers = []
    for number, text in enumerate(one.peers):
        try:
            peers.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            hint = "write it as 10.0.0.0/8 or 10.0.0.5"
            says.error((*at, "peers", number), f"{found(text)} is no network's address", hint)
    return ProxySettings(
        header=one.header,
        role=None if one.role is None else Role(one.role),
        roles_header=one.roles_header,
        hops=hops,
        peers=tuple(peers),
    )
