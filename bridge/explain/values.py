"""What an explanation is made of: frozen values, from one condition's answer up to the webhook as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bridge.domain.alert import Reading, Severity
from bridge.domain.decision import Check, Mode
from bridge.domain.delivery import HttpRequest, NamedThing
from bridge.domain.errors import Place
from bridge.domain.lane import Line, Pace

Lists = Mapping[tuple[str, str], tuple[NamedThing, ...]]
"""Upstream lists by account and kind, complete."""


class Verdict(StrEnum):
    """What a rule has to do with an alert."""

    MATCHED = "matched"
    FALLBACK = "fallback"  # no live rule matched, and `unmatched` names it
    REFUSED = "refused"
    NOT_TRIED = "not_tried"  # an earlier rule matched and does not continue, or it has no `match`


class Kind(StrEnum):
    """The shape of a condition."""

    ON = "on"  # an operator on a path
    NOT = "not"
    ANY = "any"
    ALL = "all"
    WHEN = "when"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One condition of a rule, asked of one alert. `parts` are the conditions inside a group."""

    condition: str  # its path in the rule
    kind: Kind
    wanted: Any  # as JSON
    actual: Any  # as bounded JSON; None when there is none
    held: bool
    parts: tuple["Answer", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleAnswer:
    """One rule against one alert. Of `of` conditions `held` hold; `misses` are those that do not."""

    rule: str
    place: Place
    account: str
    mode: Mode
    verdict: Verdict
    answers: tuple[Answer, ...]
    misses: tuple[Check, ...]
    why: str  # a clause

    @property
    def of(self) -> int:
        """How many conditions it has."""
        return len(self.answers)

    @property
    def held(self) -> int:
        """How many of them hold."""
        return sum(answer.held for answer in self.answers)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPart:
    """One part of what a series is hashed from."""

    path: str
    value: Any
    stands_in: bool = False  # the fingerprint, because the path leads to nothing usable


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """The identity of the incident: its series, and the key the upstream would know it by."""

    series: str
    account: str
    scope: str
    parts: tuple[KeyPart, ...]
    field: str  # what the upstream calls it
    text: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A word of the request that the upstream knows by an id; None: its list is not known here, or lacks it."""

    field: str
    kind: str
    text: str
    id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneView:
    """An account's lane as it is known here; `line` is None without a ledger."""

    lane: str
    rate: str  # in the owner's words
    pace: Pace
    line: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """When the create would go. `eta_s`: seconds from now; None while nobody can tell."""

    lane: str
    rate: str
    ahead: int | None
    eta_s: float | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one matching rule would open an incident with. `http` is the call with its credentials left out."""

    rule: str
    account: str
    account_type: str
    mode: Mode
    severity: Severity
    title: str
    key: Key
    fields: Mapping[str, Any]
    names: tuple[Name, ...]
    notes: tuple[str, ...]
    fold_key: str
    http: HttpRequest = field(repr=False)
    wait: Wait | None
    sent: bool  # False: a shadow rule's, silenced, or the report does not fire; it is what would be sent otherwise
    silence: str | None = None  # the silence that hides it now, as a sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertExplanation:
    """One reading with everything that is decided about it."""

    reading: Reading
    summary: str  # one sentence
    rules: tuple[RuleAnswer, ...]
    left_out: int  # rules of a large book that are not listed
    nearest: RuleAnswer | None  # the refused rule that came closest
    requests: tuple[Request, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One webhook, explained under one rule book."""

    source: str
    event: str | None  # its id in the ledger; None for what was never received
    book: str  # hash of the rule book
    alerts: tuple[AlertExplanation, ...]
