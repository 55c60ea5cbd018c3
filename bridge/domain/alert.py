"""What comes in: a Webhook as bytes, and the Readings a source makes of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

EMPTY: Mapping[str, str] = MappingProxyType({})


class Status(StrEnum):
    """What a sender says of a problem."""

    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Severity(StrEnum):
    """The four severities, most severe first."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for critical up to 3 for info: smaller is more severe."""
        return _RANKS[self]


_RANKS = {severity: rank for rank, severity in enumerate(Severity)}

SEVERITY_WHEN_ABSENT = Severity.ERROR  # DESIGN: "null when the sender gives none, then it counts as error"


def effective(severity: Severity | None) -> Severity:
    """The severity an alert counts as."""
    return SEVERITY_WHEN_ABSENT if severity is None else severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One HTTP request of a sender, exactly as it came."""

    source: str  # name of the configured source
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    received_at: datetime
    query: Mapping[str, str] = field(default_factory=lambda: EMPTY)

    @property
    def media_type(self) -> str:
        """The content type in lower case without its parameters; empty when the sender gave none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Something a person can open; href is http or https."""

    text: str
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One normalised problem report (DESIGN section 2).

    "Absent" is always None, whatever disguise the sender gave it.
    """

    source: str
    source_type: str
    fingerprint: str  # identity of the problem within the source; the same when it fires and when it resolves
    status: Status
    title: str
    payload: Any  # the sender's own element, decoded, read-only
    episode: str | None = None  # the sender's own id of this firing
    reported_at: datetime | None = None  # the sender's own time of this report
    severity: Severity | None = None
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    links: tuple[Link, ...] = ()
    starts_at: datetime | None = None
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A message of a sender that reports no problem (a test, a comment, a ping): accepted, recorded, ignored."""

    source: str
    source_type: str
    reason: str  # a short sentence: why nothing follows from it
    payload: Any
    title: str = ""
    fingerprint: str | None = None


class Seen(StrEnum):
    """What an upstream's event says of an incident there."""

    OPEN = "open"
    CLOSED = "closed"
    CHANGED = "changed"  # it does not say how: somebody has to look


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighted(Notice):
    """A message of an upstream about an incident there: no problem to match, but the truth of one of ours."""

    account: str  # the account whose upstream it is
    upstream_id: str
    seen: Seen
    occurred_at: datetime | None = None


Reading = Alert | Notice
