"""Who may use the API: bearer tokens, the configured login, or, without `ui.auth`, this machine only."""

import hashlib
import hmac
import ipaddress
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from flask import Request

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via")
LOGIN_REMEMBERED_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request is refused: the status and a sentence."""

    status: int
    sentence: str


@dataclass(slots=True)
class Gate:
    """Decides who may read and act. `password_hash` is argon2; None: the API answers this machine only."""

    username: str
    password_hash: str | None = field(repr=False)
    tokens: Mapping[str, str] = field(repr=False)  # name -> secret
    public_url: str
    _verified: dict[str, float] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def refusal(self, request: Request) -> Refusal | None:
        """None when the request may go on."""
        authorization = request.headers.get("Authorization", "")
        scheme, _, credentials = authorization.partition(" ")
        if scheme.lower() == "bearer":
            if self._knows_token(credentials.strip()):
                return None
            return Refusal(status=401, sentence="this bearer token is not one of ui.tokens")
        if self.password_hash is not None:
            given = request.authorization
            known = given is not None and given.type == "basic" and self.knows_login(given.username, given.password)
            return None if known else Refusal(status=401, sentence="log in, or send a bearer token of ui.tokens")
        return self._loopback_only(request)

    def _knows_token(self, given: str) -> bool:
        hits = [hmac.compare_digest(given.encode(), secret.encode()) for secret in self.tokens.values() if secret]
        return any(hits)

    def knows_login(self, username: str | None, password: str | None) -> bool:
        """Whether this is the configured login; remembered for a while, for argon2 is slow on purpose."""
        if username is None or password is None or self.password_hash is None:
            return False
        seen = hashlib.sha256(f"{username}\0{password}\0{self.password_hash}".encode()).hexdigest()
        with self._lock:
            if time.monotonic() - self._verified.get(seen, -LOGIN_REMEMBERED_S) < LOGIN_REMEMBERED_S:
                return True
        from argon2 import PasswordHasher
        from argon2.exceptions import InvalidHashError, VerificationError

        try:
            PasswordHasher().verify(self.password_hash, password)
        except (VerificationError, InvalidHashError):
            return False
        if not hmac.compare_digest(username.encode(), self.username.encode()):
            return False
        with self._lock:
            self._verified = {key: at for key, at in self._verified.items() if time.monotonic() - at < 60}
            self._verified[seen] = time.monotonic()
        return True

    def _loopback_only(self, request: Request) -> Refusal | None:
        why = "ui.auth is not set, so this answers on this machine only: "
        if not _is_loopback(request.remote_addr or ""):
            return Refusal(status=403, sentence=why + "your address is not a loopback address")
        if not _is_loopback(urlsplit(f"//{request.host}").hostname or ""):
            return Refusal(status=403, sentence=why + "the Host header names another machine")
        if not _is_loopback(urlsplit(self.public_url).hostname or ""):
            return Refusal(status=403, sentence=why + "server.public_url names a public address")
        forwarded = next((name for name in _FORWARDED if name in request.headers), None)
        if forwarded is None and request.environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
            # nginx speaks it by default and adds none of these headers; no browser of today does
            sentence = f"{why}the request is HTTP/1.0, as a proxy's; set ui.auth, and a proxy may pass it on"
            return Refusal(status=403, sentence=sentence)
        if forwarded is not None:
            return Refusal(status=403, sentence=f"{why}the request came through a proxy ({forwarded})")
        return None


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
