"""An incident, one episode of a series, and what is said of it: its values. What moves it is domain.transitions."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from bridge.domain.alert import Severity
from bridge.domain.decision import KeyRule, Outcome, Policy
from bridge.domain.delivery import Action
from bridge.domain.telling import NOTHING_TOLD, Telling


class IncidentState(StrEnum):
    """Where an incident stands. CANCELLED is over, and RESOLVED but for a while (domain.truth); the others are live."""

    PENDING = "pending"
    SENDING = "sending"
    OPEN = "open"
    RESOLVING = "resolving"
    RESOLVED = "resolved"
    CANCELLED = "cancelled"
    FOLDED = "folded"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateBody:
    """Everything a create needs but its key: what a decision rendered, stored until it is sent."""

    fields: Mapping[str, Any]
    names: tuple[Any, ...]  # NameRefs
    notes: tuple[str, ...]
    episode_id: str | None = None  # of a renewal: what its own episode is called
    places: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """file:line:column of the fields in their rule, and under the empty name the rule's own."""
    is_plain: bool = False  # the whole create was refused: domain.plain
    by_hand: bool = False  # a note that a person wrote
    fold_key: str = ""  # what may fold with it, and under which target: domain.folding
    fold_target: str = ""
    own: "CreateBody | None" = None  # of a carrier: what it would have sent alone

    def changed_by(self, later: "CreateBody") -> "CreateBody":
        """The same with what was told of the incident later: those fields, and the names in them."""
        kept = tuple(ref for ref in self.names if ref.field not in later.fields)
        return replace(self, fields={**self.fields, **later.fields}, names=(*kept, *later.names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One episode of a series (DESIGN section 5)."""

    id: str
    account: str
    series: str
    scope: str
    rule: str
    key: str
    key_rule: KeyRule
    key_text: str | None
    episode_id: str  # the sender's episode id, else the id of the opening event
    episode_n: int  # earlier claimed incidents of the series with that id
    state: IncidentState
    live: bool = True
    severity: Severity
    title: str
    policy: Policy
    firing: int = 0  # members that fire; settle keeps it equal to the rows
    acknowledged: bool = False
    claimed: bool = False  # its create may have reached the upstream
    resolve_claimed: bool = False  # its resolve may have reached the upstream
    renewal: CreateBody | None = None  # what a new episode would send: a problem fired again under a claimed resolve
    upstream_id: str | None = None
    upstream_url: str | None = None
    opened_at: datetime
    confirmed_at: datetime | None = None
    resolved_at: datetime | None = None  # of one that waits to be re-opened as well
    reason: str | None = None
    telling: Telling = NOTHING_TOLD
    summary: str | None = None  # what the upstream said of it when we last wrote it, where notes become a part of it

    @property
    def is_reopening(self) -> bool:
        """Whether what it waits for is its `reopen`: it was resolved at the upstream."""
        return self.resolved_at is not None and self.state in (IncidentState.PENDING, IncidentState.SENDING)

    carrier: str | None = None  # the incident it is folded into
    folded: int = 0  # incidents folded into this one; `firing` counts their members too
    renews_at: datetime | None = None  # a person closed it upstream: when its problems open a new episode
    stands_for: str | None = None  # the incident of another account that this one is plan B of


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One problem inside one incident."""

    incident: str
    problem: str
    source: str
    fingerprint: str
    firing: bool
    severity: Severity
    title: str
    joined_at: datetime
    left_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """What one report or one outcome does to one incident."""

    incident: Incident
    outcome: Outcome | None = None  # of the alert; None where no alert caused it
    reason: str | None = None
    add: tuple[Action, ...] = ()
    cancel: tuple[Action, ...] = ()  # unclaimed deliveries of these actions, before any is added
    revive: tuple[Action, ...] = ()
    """The last one of these actions, if it was cancelled, is told after all; of notes each one that somebody wrote."""
    replace_create: bool = False  # the unclaimed create takes the joining alert's body and order
    promotes: bool = False  # the unclaimed create takes the incident's severity for its order, and keeps its body
    renews: bool = False  # the renewal opens a new episode now, with the members that fire


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEpisode:
    """The report opens a new incident; `supersedes` is the dead one it takes the place of.

    `follows` is one that was resolved a short while ago and cannot be re-opened: the new one names it.
    """

    supersedes: Incident | None = None
    follows: Incident | None = None
    telling: Telling = NOTHING_TOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What a person asked for is not done; `why` is for that person."""

    why: str
