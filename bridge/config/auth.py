"""`auth:` of a source: how its sender proves who it is."""

import re
from collections.abc import Collection
from typing import Any, Protocol

from bridge.config import units
from bridge.config.sentences import found
from bridge.config.variables import SANDBOX, Secrets
from bridge.config.yaml_reader import Path as YamlPath
from bridge.render import nearest
from bridge.sources.base import Auth, BasicAuth, BearerAuth, HeaderAuth, NoAuth, QueryAuth, SignatureAuth

SPACE_IS_LOST = "set it without: a header loses such a space on its way, and what arrives is not the secret"
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2: token

_KINDS = "none, {bearer}, {header, secret}, {basic: {username, password}}, {query, secret}"


class Says(Protocol):
    """Who gathers the problems of a file: path, message, hint."""

    def error(self, path: YamlPath, message: str, hint: str) -> None:
        """At the value."""
        ...

    def key_error(self, path: YamlPath, message: str, hint: str) -> None:
        """At the key."""
        ...

    def warn(self, path: YamlPath, message: str, hint: str) -> None:
        """At the value; nothing is stopped by it."""
        ...


def read_auth(
    value: Any,
    path: YamlPath,
    signature_keys: Collection[str],
    secrets: Secrets,
    says: Says,
    signature_words: Collection[str] = (),
) -> Auth | None:
    """One `auth`; None, with a Problem said, when it cannot be read.

    An empty secret is allowed as the default of a variable: the source then refuses everybody until it is set.
    `signature_words` are the vendor's signatures that need no secret of ours: they stand alone, as `none` does.
    """
    kinds = ", ".join([_KINDS, *(f"{{{key}}}" for key in sorted(signature_keys)), *sorted(signature_words)])
    match value:
        case None:
            says.error(path, "the source has no 'auth'", f"say how its sender proves who it is: {kinds}")
            return None
        case "none":
            return NoAuth()
        case str() if value in signature_words:
            return SignatureAuth(kind=value, secrets=())
        case dict() if len(value) == 1 and next(iter(value)) in signature_words:
            (word,) = value
            says.error(path, f"'{word}' stands alone: there is no secret of ours in it", f"write auth: {word}")
            return None
        case dict():
            return _Reader(value, path, signature_keys, secrets, says, kinds).read()
    if path not in secrets.expanded.broken:
        seen = found(secrets.expanded.written.get(path, value))
        says.error(path, f"'auth' wants one of its kinds, found {seen}", f"kinds: {kinds}")
    return None


class _Reader:
    """One mapping under `auth:`."""

    def __init__(
        self,
        value: dict[str, Any],
        path: YamlPath,
        signature_keys: Collection[str],
        secrets: Secrets,
        says: Says,
        kinds: str,
    ) -> None:
        self.value, self.path, self.signature_keys, self.secrets = value, path, signature_keys, secrets
        self.says, self.kinds = says, kinds

    def read(self) -> Auth | None:
        keys = set(self.value)
        signature = sorted(keys & set(self.signature_keys))
        if keys == {"bearer"}:
            return BearerAuth(secrets=self._secrets("bearer"))
        if keys == {"header", "secret"} and self._is_text("header"):
            self._check_header()
            return HeaderAuth(header=self.value["header"].strip().lower(), secrets=self._secrets("secret"))
        if keys == {"query", "secret"} and self._is_text("query"):
            return QueryAuth(parameter=self.value["query"], secrets=self._secrets("secret"))
        if keys == {"basic"}:
            return self._basic()
        if len(signature) == 1 and keys <= {signature[0], "tolerance"}:
            return self._signature(signature[0])
        self._unknown(keys)
        return None

    def _basic(self) -> Auth | None:
        pair = self.value["basic"]
        if isinstance(pair, dict) and set(pair) == {"username", "password"} and isinstance(pair["username"], str):
            return BasicAuth(username=pair["username"], passwords=self._secrets("basic", "password"))
        self.says.error((*self.path, "basic"), "'basic' wants a username and a password", "write {username, password}")
        return None

    def _signature(self, key: str) -> Auth | None:
        secrets = self._secrets(key)
        if "tolerance" not in self.value:
            return SignatureAuth(kind=key, secrets=secrets)
        try:
            tolerance = units.duration(str(self.value["tolerance"]))
        except ValueError as error:
            self.says.error((*self.path, "tolerance"), f"'tolerance' wants {error}", "leave it out for 5m")
            return None
        return SignatureAuth(kind=key, secrets=secrets, tolerance=tolerance)

    def _secrets(self, *keys: str) -> tuple[str, ...]:
        value: Any = self.value
        for key in keys:
            value = value[key]
        path = (*self.path, *keys)
        held = self.secrets.many(value, path)
        if SANDBOX in held:
            hint = "write ${VARIABLE} and set that variable"
            self.says.warn(path, f"the secret is the word '{SANDBOX}', which anybody can guess", hint)
        kinds = self.value.keys()  # what basic and query say is escaped on its way, blanks and all
        if not kinds & {"basic", "query"} and any(secret != secret.strip() for secret in held):
            hint = "set it without, unless what the sender signs with has that space, too"
            if kinds & {"bearer", "header"}:
                hint = SPACE_IS_LOST
            self.says.warn(path, f"source '{path[1]}' has a secret that begins or ends with a space", hint)
        if not held and not self.secrets.is_faulty(path):
            if value is None:
                self.says.error(path, "the secret is missing", "write ${VARIABLE}, or {file: /run/secrets/name}")
            else:
                written = self.secrets.expanded.written.get(path, "")
                variable = re.search(r"\$\{(\w+)", written)
                hint = f"set {variable[1]}" if variable else "set its variable"
                self.says.warn(path, f"source '{path[1]}' has no secret yet and refuses everybody", hint)
        return held

    def _check_header(self) -> None:
        if _HEADER_NAME.fullmatch(self.value["header"].strip()) is None:
            path = (*self.path, "header")
            seen = found(self.secrets.expanded.written.get(path, self.value["header"]))
            self.says.error(path, f"'header' wants a header's name, found {seen}", "write it as X-Bridge-Token")

    def _is_text(self, key: str) -> bool:
        return isinstance(self.value[key], str) and bool(self.value[key].strip())

    def _unknown(self, keys: set[str]) -> None:
        known = {"bearer", "header", "secret", "basic", "query", "tolerance", *self.signature_keys}
        odd = sorted(keys - known)
        for key in odd:
            self.says.key_error((*self.path, key), f"unknown key '{key}'", nearest(key, sorted(known), "keys"))
        for key in sorted(keys & {"bearer", "secret", *self.signature_keys}):
            self.secrets.many(self.value[key], (*self.path, key))
        if not odd:
            self.says.error(
                self.path,
                f"'auth' with {', '.join(sorted(keys)) or 'nothing'} is none of its kinds",
                f"kinds: {self.kinds}",
            )
