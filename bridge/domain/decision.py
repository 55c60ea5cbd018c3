"""What the rule book said of one alert: the Matches it tried and the Decisions that follow.

Knows nothing of the ledger.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from bridge.domain.alert import Reading, Severity
from bridge.domain.delivery import NameRef
from bridge.domain.silences import Silence


class Outcome(StrEnum):
    """What became of one alert under one rule. Exactly one each; only OPENED may later become FOLDED."""

    OPENED = "opened"
    JOINED = "joined"
    DUPLICATE = "duplicate"
    FOLDED = "folded"
    RESOLVING = "resolving"
    CANCELLED = "cancelled"
    ACKNOWLEDGED = "acknowledged"
    IGNORED = "ignored"
    UNMATCHED = "unmatched"
    SILENCED = "silenced"
    SHADOW = "shadow"
    SIGHTED = "sighted"


class KeyRule(StrEnum):
    """How an upstream treats a key it has seen (UPSTREAM.md A4, B3)."""

    WHILE_OPEN = "while_open"  # PagerDuty: unique among open incidents, free again after
    FOR_EVER = "for_ever"  # incident.io: spent by the first create


class OnResolve(StrEnum):
    RESOLVE = "resolve"
    NOTE = "note"
    IGNORE = "ignore"


class OnAcknowledge(StrEnum):
    IGNORE = "ignore"
    ACKNOWLEDGE = "acknowledge"
    NOTE = "note"


class Mode(StrEnum):
    LIVE = "live"
    SHADOW = "shadow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One condition of a rule against one alert."""

    condition: str  # its path in the rule, e.g. "not.labels.env"
    wanted: Any  # as JSON
    actual: Any  # as JSON; None when the path is missing
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One rule tried against one alert: `failed` is the first condition that said no, None when all held."""

    rule: str
    failed: Check | None = None

    @property
    def matched(self) -> bool:
        return self.failed is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a rule says of the later life of the incident it opens; stored with the incident."""

    on_resolve: OnResolve = OnResolve.RESOLVE
    resolution: str | None = None  # rendered when the incident was decided
    on_acknowledge: OnAcknowledge = OnAcknowledge.IGNORE
    hold_resolve: timedelta = timedelta(0)
    reopen_within: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What an update of an incident says; without fields nothing."""

    fields: Mapping[str, Any]
    names: tuple[NameRef, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One matching rule's word on one firing alert: which series, and the complete request to open it with."""

    rule: str
    account: str
    mode: Mode
    severity: Severity  # after the rule's override; for order, folding, display
    title: str  # of the incident, for lists
    series: str  # 64 hex
    scope: str = ""  # the upstream's own: PagerDuty the rendered service
    parts: tuple[Any, ...]  # what the series was hashed from, for explain
    marked: bool  # True when an empty part was replaced by the fingerprint
    key_text: str | None  # the rule's own `incident_key`, rendered
    key_rule: KeyRule
    fields: Mapping[str, Any]  # the request's fields as data, JSON types only
    names: tuple[NameRef, ...]
    notes: tuple[str, ...]  # what fell back and why
    fold_key: str
    fold_target: str = ""  # what an incident of its kind must share to fold with it; empty: it never folds
    policy: Policy
    rise: Change | None = None  # what this report changes in an open incident of lower severity; None: the usual fields
    places: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # see CreateBody
    silences: tuple[Silence, ...] = ()  # those that match its alert; whether one hides it, settle sees


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """One reading with everything decided about it outside any transaction."""

    reading: Reading
    decisions: tuple[Decision, ...] = ()
    tried: tuple[Match, ...] = ()  # bounded; rules the index ruled out need not be listed
    matched: tuple[str, ...] = ()  # ids of the rules that matched, also for resolved and acknowledged reports
