"""What every source has: settings, a check of who sent a request, and the readings in it.

In: a Webhook. Out: Readings, or SignatureError, or DecodeError. A vendor file knows its vendor and nothing else.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar, Protocol

from bridge.domain.alert import Reading, Webhook


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
    """The vendor's own signature. `kind` is its key in YAML, one of the source's signature_keys."""

    kind: str
    secrets: tuple[str, ...] = field(repr=False)
    tolerance: timedelta = timedelta(minutes=5)  # where the vendor signs a time


Auth = NoAuth | BearerAuth | HeaderAuth | BasicAuth | QueryAuth | SignatureAuth


class Source(Protocol):
    """One configured sender. Implementations are frozen dataclasses made as `Type(name=..., auth=...)`."""

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
