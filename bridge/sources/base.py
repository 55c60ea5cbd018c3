"""What every source has: settings, a check of who sent a request, and the readings in it.

In: a Webhook. Out: Readings, or SignatureError, or DecodeError. A vendor file knows its vendor and nothing else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol, runtime_checkable

from bridge.domain.alert import EMPTY, Reading, Webhook
from bridge.domain.delivery import HttpRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class NoAuth:
    """`auth: none`: anybody who reaches the address may post."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BearerAuth:
    """`auth: {bearer}`: the Authorization header carries one of these tokens."""

    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderAuth:
    """`auth: {header, secret}`: the named header (lower case) carries one of these secrets."""

    header: str
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicAuth:
    """`auth: {basic: {username, password}}`: HTTP basic, in the URL or as a header."""

    username: str
    passwords: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryAuth:
    """`auth: {query, secret}`: the named query parameter carries one of these secrets."""

    parameter: str
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureAuth:
    """The vendor's own signature. `kind` is its key in YAML, one of the source's signature_keys or signature_words."""

    kind: str
    secrets: tuple[str, ...] = field(repr=False)
    tolerance: timedelta = timedelta(minutes=5)  # where the vendor signs a time


Auth = NoAuth | BearerAuth | HeaderAuth | BasicAuth | QueryAuth | SignatureAuth


@dataclass(frozen=True, slots=True, kw_only=True)
class TextsSetting:
    """A setting of one text or a list of them; the source is made with a tuple of texts."""

    about: str
    wrong: Callable[[str], tuple[str, str] | None]  # what is wrong with a text, what to do; None when nothing is
    needed_by: frozenset[str] = frozenset()  # kinds of signature that prove nothing without it


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldsSetting:
    """A setting that maps names to Jinja expressions; the source is made with Expressions."""

    about: str
    names: frozenset[str]
    nested: frozenset[str]  # names under which a mapping of expressions may stand as well
    listed: frozenset[str]  # names under which a list of them may
    sees: frozenset[str]  # what the expressions may name
    needed_by: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSetting:
    """A setting that names one of `accounts:`, of one type; the source is made with its name. It is required."""

    about: str
    type: str


Setting = TextsSetting | FieldsSetting | AccountSetting


class Expressions(Protocol):
    """The operator's own expressions over a body, compiled."""

    @property
    def names(self) -> frozenset[str]:
        """The names that have one."""
        ...

    def asked(self) -> Callable[[str, Mapping[str, Any]], Any]:
        """Begin with one request: a function from (name, what its expression sees) to its value as JSON types.

        The value is None where the expression fails, and for all once one request asked for too much work.
        """
        ...


class Source(Protocol):
    """One configured sender. Implementations are frozen dataclasses made as `Type(name=..., auth=...)`.

    A type may have more: `settings`, a class variable that names its other settings (each is one more argument), and
    the functions of Signs, Introduces, Confirms and AsksCertificates.
    """

    type: ClassVar[str]
    signature_keys: ClassVar[frozenset[str]]  # the YAML keys of vendor signatures it understands
    name: str
    auth: Auth

    def verify(self, webhook: Webhook) -> None:
        """Check who sent it, over the raw bytes, in constant time. Raises SignatureError."""
        ...

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """Every reading in the body, in its order. Raises DecodeError when the body cannot be what it claims to be."""
        ...

    def delivery_id(self, webhook: Webhook) -> str | None:
        """The sender's id of this delivery, equal for its own retries only; None when it has none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a vendor adds to a request to prove that it is his."""

    headers: Mapping[str, str] = field(default_factory=lambda: EMPTY, repr=False)
    query: Mapping[str, str] = field(default_factory=lambda: EMPTY, repr=False)


@runtime_checkable
class Signs(Protocol):
    """A type whose vendor has a signature: it can sign as he does, for `incident-bridge send` and for tests."""

    @staticmethod
    def proof(auth: SignatureAuth, body: bytes, now: datetime) -> Proof:
        """The signature of a body sent now, under the first secret."""
        ...


@runtime_checkable
class Introduces(Protocol):
    """A type whose vendor asks by OPTIONS whether he may post."""

    def introduction(self, webhook: Webhook) -> Mapping[str, str]:
        """The headers of the answer; the webhook has no body and proved nothing."""
        ...


@runtime_checkable
class Confirms(Protocol):
    """A type whose vendor wants a call back before he posts alerts."""

    confirmations: ClassVar[str]  # the fingerprint of every Notice that wants a call

    def confirmation(self, webhook: Webhook) -> HttpRequest | None:
        """The call that a verified webhook asks for; None when it asks for none, or for one that nobody may make."""
        ...


@runtime_checkable
class WatchesUpstream(Protocol):
    """A type whose sender is an upstream: its readings are Sighted or Notices, and no rule ever sees one."""

    watches: ClassVar[str]  # the type of the account


Certificate = Callable[[str], bytes | None]
"""From an address to the PEM that is there; None when nothing is. Raises Unverifiable."""


@runtime_checkable
class AsksCertificates(Protocol):
    """A type whose signatures can only be checked with a certificate of the vendor's."""

    def asking(self, certificate: Certificate) -> Source:
        """The same source, which gets its certificates from there."""
        ...
