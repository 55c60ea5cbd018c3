"""Silences, compiled: which of them match an alert.

In: what the rule book decided of some readings. Out: the same, each decision with the silences that match its alert;
whether one of them hides it is settled with the ledger's clock (domain.silences).
"""

from dataclasses import dataclass, replace

from bridge.domain.alert import Alert
from bridge.domain.decision import Decided
from bridge.domain.silences import Silence
from bridge.rules.match import Condition, refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Matcher:
    """One silence with its conditions."""

    silence: Silence
    conditions: tuple[Condition, ...]

    def matches(self, alert: Alert) -> bool:
        """Whether every condition holds."""
        return refusal(self.conditions, alert) is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Silencing:
    """All silences that are not over."""

    matchers: tuple[Matcher, ...] = ()

    def marked(self, decided: tuple[Decided, ...]) -> tuple[Decided, ...]:
        """The same decisions, each with the silences that match its alert."""
        return tuple(map(self._marked, decided)) if self.matchers else decided

    def _marked(self, one: Decided) -> Decided:
        reading = one.reading
        if not one.decisions or not isinstance(reading, Alert):
            return one
        found = tuple(matcher.silence for matcher in self.matchers if matcher.matches(reading))
        if not found:
            return one
        return replace(one, decisions=tuple(replace(decision, silences=found) for decision in one.decisions))
