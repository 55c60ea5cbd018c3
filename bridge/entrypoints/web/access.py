"""Who asks, and what they may do: sessions, passwords, bearer tokens, a trusted proxy; without any, this machine only.

Every blueprint asks `admit` before each request. What is needed follows from the method: reading asks for view, every
change for operate; a view function says more with `needs`, or with `harmless` that its POST changes nothing.
"""

import hashlib
import hmac
import ipaddress
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from flask import Request, current_app, g, session

from bridge.config.addresses import is_loopback
from bridge.config.models import ProxySettings, TokenSettings, UiSettings, UserSettings
from bridge.domain.access import Deed, How, Role, Who

_OF_PROXIES = frozenset({"forwarded", "x-real-ip", "via"})  # and every X-Forwarded-…
TAIL = "X-Rows-Only"  # of the live tail, which asks by itself: it keeps no session alive
LOGIN_REMEMBERED_S = 300.0
CLOCKS_DIFFER_BY_S = 300.0  # of web hosts; what began later than that is from before a clock was set back
SEEN_AGAIN_S = 60.0  # a session's cookie says at most this often that it is used
HASHES_AT_ONCE = 2  # argon2 takes 64 MiB a time
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOOPBACK = Who(name="this machine", role=Role.ADMIN, how=How.LOOPBACK)
_View = TypeVar("_View", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request is refused: the status and a sentence."""

    status: int
    sentence: str


class Guards(Protocol):
    """Counts guesses of passwords for all web processes, knows who logged out, and keeps the audit: the ledger."""

    def guess(self, keys: Sequence[str]) -> bool:
        """Spend one guess of each; False when one of them has none left."""
        ...

    def guess_was_right(self, *, whole: str, one: str) -> None:
        """Free all guesses of one key, and the one just spent of the other."""
        ...

    def session_ended(self, session_id: str, within: timedelta) -> None:
        """Somebody logged out; within that time every copy of the cookie has ended anyway."""
        ...

    def has_session_ended(self, session_id: str) -> bool:
        """Whether somebody logged out of it."""
        ...

    def did(self, deed: Deed) -> None:
        """A line of the audit."""
        ...


def needs(role: Role) -> Callable[[_View], _View]:
    """Marks a view function that asks for more, or for less, than its method does."""

    def mark(view: _View) -> _View:
        view.__dict__["_needs"] = role
        return view

    return mark


def harmless(view: _View) -> _View:
    """Marks a POST that changes nothing (a preview, a dry run): viewers may send it, and the audit does not list it."""
    view.__dict__["_harmless"] = True
    return needs(Role.VIEW)(view)


def is_harmless(request: Request) -> bool:
    """Whether this request changes nothing."""
    return request.method in SAFE_METHODS or bool(_mark(request, "_harmless", False))


def needed(request: Request) -> Role:
    """What this request asks for."""
    role: Role = _mark(request, "_needs", Role.VIEW if request.method in SAFE_METHODS else Role.OPERATE)
    return role


def _mark(request: Request, name: str, otherwise: Any) -> Any:
    view = current_app.view_functions.get(request.endpoint or "")
    return otherwise if view is None else getattr(view, name, otherwise)


def current() -> Who:
    """Who asks; after `Gate.admit`."""
    who: Who = g.who
    return who


@dataclass(slots=True)
class Gate:
    """Decides who asks and what they may do. Without users and proxy it answers this machine only."""

    username: str
    password_hash: str | None = field(repr=False)
    tokens: Mapping[str, TokenSettings] = field(repr=False)
    public_url: str
    users: Mapping[str, UserSettings] = field(default_factory=lambda: MappingProxyType({}))
    proxy: ProxySettings | None = None
    idle: timedelta = timedelta(hours=2)
    absolute: timedelta = timedelta(hours=12)
    guards: Guards | None = None  # None: guesses are not counted, and a copied cookie outlives the logout
    _verified: dict[bytes, float] = field(default_factory=dict, repr=False)
    _salt: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _hashing: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(HASHES_AT_ONCE), repr=False)

    def __post_init__(self) -> None:
        if self.password_hash is not None and self.username not in self.users:
            admin = UserSettings(password_hash=self.password_hash, role=Role.ADMIN)
            self.users = MappingProxyType({self.username: admin, **self.users})

    @property
    def has_logins(self) -> bool:
        """Whether somebody can log in with a password."""
        return bool(self.users)

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked who they are, and only this machine is answered."""
        return not self.users and self.proxy is None

    def admit(self, request: Request) -> Refusal | None:
        """None when the request may go on; who asks is then `current()`."""
        who = self.who(request)
        if isinstance(who, Refusal):
            return who
        g.who = who
        wanted = needed(request)
        if not who.role.may(wanted):
            sentence = f"{who.name} may {who.role.value}; this needs the role {wanted.value}"
            return Refusal(status=403, sentence=sentence)
        return None

    def who(self, request: Request) -> Who | Refusal:
        """Who asks, by the first of: bearer token, name and password, session, proxy, being on this machine."""
        address = request.remote_addr or ""
        scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            found = self._token(credentials.strip())
            refused = Refusal(status=401, sentence="this bearer token is not one of ui.tokens")
            return refused if found is None else replace(found, address=address)
        if self.is_open:
            return self._loopback_only(request) or replace(LOOPBACK, address=address)
        basic = request.authorization
        if self.users and basic is not None and basic.type == "basic":
            return self._basic(basic.username or "", basic.password or "", address)
        is_tail = TAIL in request.headers
        return self.in_session(address, active=not is_tail) or self._behind_proxy(request, address)

    def _token(self, given: str) -> Who | None:
        hits = [
            Who(name=name, role=token.role, how=How.TOKEN)
            for name, token in self.tokens.items()
            if token.secret and hmac.compare_digest(given.encode(), token.secret.encode())
        ]
        return hits[0] if hits else None

    # -- passwords

    def log_in(
        self, username: str, password: str, address: str, how: How = How.SESSION, device: str | None = None
    ) -> Who | Refusal:
        """Whether name and password belong together. Guesses are counted by address and by name, known or not.

        Those of a `device` that this user was in with before are counted by themselves.
        """
        keys = {"one": f"address {_network(address)}", "whole": f"user {_digest(username)}"}
        if device is not None:
            keys = dict.fromkeys(keys, f"device {_digest(device)}")
        if self.guards is not None and not self.guards.guess(tuple(keys.values())):
            return Refusal(status=429, sentence="Too many wrong passwords; wait a minute or two.")
        if not self._is_right(username, password):
            self._note_failure(username, address, how)
            return Refusal(status=401, sentence="That name and password do not belong together.")
        if self.guards is not None:
            self.guards.guess_was_right(**keys)
        return Who(name=username, role=self.users[username].role, how=how, address=address)

    def _note_failure(self, username: str, address: str, how: How) -> None:
        """A failed login is in the audit, but no more of all of them than guesses grow back."""
        if self.guards is not None and self.guards.guess(("failures in the audit",)):
            known = username if username in self.users else "somebody"  # a password typed as a name is never stored
            who = Who(name=known, role=Role.VIEW, how=how, address=address)
            self.guards.did(Deed(who=who, action="login failed", is_claimed=True))

    def _is_right(self, username: str, password: str) -> bool:
        """Takes as long for a name that does not exist: its password is held against another's hash."""
        from argon2 import PasswordHasher
        from argon2.exceptions import InvalidHashError, VerificationError

        user = self.users.get(username)
        held = next(iter(self.users.values())) if user is None else user
        with self._hashing:
            try:
                PasswordHasher().verify(held.password_hash, password)
            except (VerificationError, InvalidHashError):
                return False
        return user is not None

    def _basic(self, username: str, password: str, address: str) -> Who | Refusal:
        """A name and password sent with every request; remembered for a while, for argon2 is slow on purpose."""
        user = self.users.get(username)
        held = "" if user is None else user.password_hash
        said = f"{username}\0{password}\0{held}".encode()
        seen = hmac.new(self._salt, said, hashlib.sha256).digest()
        with self._lock:
            if (
                user is not None
                and time.monotonic() - self._verified.get(seen, -LOGIN_REMEMBERED_S) < LOGIN_REMEMBERED_S
            ):
                return Who(name=username, role=user.role, how=How.PASSWORD, address=address)
        who = self.log_in(username, password, address, How.PASSWORD)
        if isinstance(who, Who):
            now = time.monotonic()
            with self._lock:
                self._verified = {key: at for key, at in self._verified.items() if now - at < LOGIN_REMEMBERED_S}
                self._verified[seen] = now
        return who

    # -- sessions

    def begin_session(self, who: Who) -> None:
        """The browser that asks is logged in."""
        session.clear()
        now = time.time()
        session.update(user=who.name, mark=self.mark_of(who.name), since=now, seen=now, id=secrets.token_urlsafe(16))

    def end_session(self) -> None:
        """The browser that asks is logged out, and so is whoever has a copy of its cookie."""
        if self.guards is not None and "id" in session:
            self.guards.session_ended(_digest(session["id"]), self.absolute)
        session.clear()

    def in_session(self, address: str, *, active: bool = True) -> Who | None:
        """Who is logged in here; None too when that was too long ago, is over, or the password is another one now."""
        name = str(session.get("user", ""))
        user = self.users.get(name)
        if user is None or "id" not in session or session.get("mark") != self.mark_of(name):
            return None
        now = time.time()
        since, seen = float(session.get("since", 0.0)), float(session.get("seen", 0.0))
        if now - since >= self.absolute.total_seconds() or now - seen >= self.idle.total_seconds():
            return None
        if max(since, seen) > now + CLOCKS_DIFFER_BY_S:
            return None
        if self.guards is not None and self.guards.has_session_ended(_digest(session["id"])):
            return None
        if active and now - seen > SEEN_AGAIN_S:
            session["seen"] = now
        return Who(name=name, role=user.role, how=How.SESSION, address=address)

    def mark_of(self, name: str) -> str:
        """Of a user's password: another one has another mark; empty for a name that does not exist."""
        return _digest(self.users[name].password_hash) if name in self.users else ""

    # -- a proxy

    def _behind_proxy(self, request: Request, address: str) -> Who | Refusal:
        unknown = Refusal(status=401, sentence="log in, or send a bearer token of ui.tokens")
        if self.proxy is None:
            return unknown
        name = request.headers.get(self.proxy.header, "").strip()
        if not name:
            return replace(unknown, sentence=f"the proxy names nobody in {self.proxy.header} (ui.proxy)")
        sentence = _not_behind(self.proxy, request)
        if sentence is not None:
            return Refusal(status=403, sentence=sentence)
        if "," in name or not name.isprintable():
            return Refusal(status=403, sentence=f"{self.proxy.header} does not name one user (ui.proxy)")
        role = self.proxy.role
        if self.proxy.roles_header is not None:
            said = {word.strip().lower() for word in request.headers.get(self.proxy.roles_header, "").split(",")}
            role = next((one for one in reversed(Role) if one.value in said), None)
        if role is None:
            sentence = f"{name[:80]} has no role: {self.proxy.roles_header} names none of {', '.join(Role)}"
            return Refusal(status=403, sentence=sentence)
        return Who(name=name, role=role, how=How.PROXY, address=address)

    # -- this machine only

    def _loopback_only(self, request: Request) -> Refusal | None:
        why = "ui.auth is not set, so this answers on this machine only: "
        if not is_loopback(request.remote_addr or ""):
            return Refusal(status=403, sentence=why + "your address is not a loopback address")
        if not is_loopback(urlsplit(f"//{request.host}").hostname or ""):
            return Refusal(status=403, sentence=why + "the Host header names another machine")
        if not is_loopback(urlsplit(self.public_url).hostname or ""):
            return Refusal(status=403, sentence=why + "server.public_url names a public address")
        forwarded = next((name for name, _ in request.headers if _is_of_proxy(name)), None)
        if forwarded is None and request.environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
            # nginx speaks it by default and adds none of these headers; of browsers only w3m and lynx do
            sentence = (
                f"{why}the request is HTTP/1.0, as a proxy's or a text browser's; set ui.auth, and both may. "
                "lynx speaks 1.1 with HTTP_PROTOCOL:1.1 in lynx.cfg"
            )
            return Refusal(status=403, sentence=sentence)
        if forwarded is not None:
            return Refusal(status=403, sentence=f"{why}the request came through a proxy ({forwarded})")
        return None


def gate_of(ui: UiSettings, public_url: str, guards: Guards | None) -> Gate:
    """The gate that a configuration asks for."""
    return Gate(
        username=ui.username,
        password_hash=ui.password_hash,
        tokens=ui.tokens,
        public_url=public_url,
        users=ui.users,
        proxy=ui.proxy,
        idle=ui.session_idle,
        absolute=ui.session_absolute,
        guards=guards,
    )


def _not_behind(proxy: ProxySettings, request: Request) -> str | None:
    """Why a request that names a user did not come through the proxies; None when it did."""
    replaced = request.environ.get("werkzeug.proxy_fix.orig", {})
    peer = str(replaced.get("REMOTE_ADDR") or request.remote_addr or "")
    try:
        known = any(ipaddress.ip_address(peer) in network for network in proxy.peers)
    except ValueError:
        known = False
    if not known:
        return f"{proxy.header} is believed from a proxy only, and {peer or 'this peer'} is not in ui.proxy.peers"
    hops = [one for one in request.headers.get("X-Forwarded-For", "").split(",") if one.strip()]
    if len(hops) < proxy.hops:
        return (
            f"{proxy.header} is believed behind {proxy.hops} proxies (ui.proxy.hops), X-Forwarded-For names {len(hops)}"
        )
    return None


def _network(address: str) -> str:
    """What guesses are counted by: the address; of IPv6 its /64, which is what one subscriber has."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:24]


def _is_of_proxy(header: str) -> bool:
    name = header.lower()
    return name in _OF_PROXIES or name.startswith("x-forwarded-")
