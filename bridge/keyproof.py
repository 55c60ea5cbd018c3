"""Whether a rule book's keys hold: every report of one problem's episode gives one key, and other problems others.

In: Readings in the order they came, a RuleBook, Destinations. Out: Violations, each with the two reports that prove it.
The keys are those of production: `decide` makes them, under the rule that the first firing report matched.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from bridge.destinations.base import Destination
from bridge.domain.alert import Alert, Reading, Status
from bridge.domain.decision import Decision
from bridge.pipeline import decide
from bridge.rules.book import Rule, RuleBook

VIOLATIONS_MAX = 20  # of one rule and kind that are kept; the others are counted


class Kind(StrEnum):
    """What is wrong with a key."""

    SPLIT = "split"  # one problem has two
    JOINED = "joined"  # two problems have one


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report as the proof remembers it."""

    event: str
    source: str
    fingerprint: str
    status: Status
    title: str
    parts: tuple[Any, ...]  # what its key is made of
    scope: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """Two reports that prove that a rule's key does not hold; `differs` are the parts that do, by their paths."""

    kind: Kind
    rule: Rule
    first: Report
    second: Report
    differs: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class _Episode:
    """One problem from its first firing report to its recovery."""

    rules: dict[str, tuple[str, Report]] = field(default_factory=dict)  # series and first report, by rule
    told: set[str] = field(default_factory=set)  # rules whose split is known


@dataclass(slots=True, kw_only=True)
class KeyProof:
    """Takes reports one by one, oldest first."""

    book: RuleBook
    destinations: Mapping[str, Destination]
    violations: list[Violation] = field(default_factory=list)
    counts: dict[tuple[str, Kind], int] = field(default_factory=dict)
    reports: int = 0
    _problems: dict[tuple[str, str], tuple[str | None, _Episode]] = field(default_factory=dict)
    _owners: dict[tuple[str, str], Report] = field(default_factory=dict)  # by rule and series: the first problem's
    _joined: set[tuple[str, str, str, str]] = field(default_factory=set)
    _alone: dict[str, RuleBook] = field(default_factory=dict)  # each rule as a book that always matches
    _seen: set[tuple[str, str]] = field(default_factory=set)

    @property
    def problems(self) -> int:
        """How many problems there were."""
        return len(self._seen)

    def take(self, event: str, readings: tuple[Reading, ...]) -> None:
        """One event's readings."""
        for reading in readings:
            if isinstance(reading, Alert):
                self.reports += 1
                self._take(event, reading)

    def _take(self, event: str, alert: Alert) -> None:
        problem = (alert.source, alert.fingerprint)
        self._seen.add(problem)
        known, episode = self._problems.get(problem, (None, None))
        if episode is None or (alert.episode is not None and known is not None and alert.episode != known):
            known, episode = alert.episode, _Episode()
        known = known or alert.episode
        if alert.status is Status.FIRING:
            for decision in decide((alert,), self.book, self.destinations)[0].decisions:
                if decision.rule not in episode.rules:
                    self._begin(event, alert, decision, episode)
        for rule in episode.rules:
            self._compare(event, alert, rule, episode)
        if alert.status is Status.RESOLVED:
            self._problems.pop(problem, None)
        else:
            self._problems[problem] = (known, episode)

    def _begin(self, event: str, alert: Alert, decision: Decision, episode: _Episode) -> None:
        """The first key of an episode under a rule; another problem may have it already."""
        report = _report(event, alert, decision)
        episode.rules[decision.rule] = (decision.series, report)
        owner = self._owners.setdefault((decision.rule, decision.series), report)
        same = (owner.source, owner.fingerprint) == (report.source, report.fingerprint)
        mark = (decision.rule, decision.series, report.source, report.fingerprint)
        if not same and mark not in self._joined:
            self._joined.add(mark)
            self._found(Kind.JOINED, decision.rule, owner, report)

    def _compare(self, event: str, alert: Alert, rule: str, episode: _Episode) -> None:
        """Whether a report of the episode has the key of its first, whatever rule it would match by itself."""
        series, first = episode.rules[rule]
        if first.event == event or rule in episode.told:
            return
        firing = replace(alert, status=Status.FIRING)
        for decision in decide((firing,), self._book_of(rule), self.destinations)[0].decisions:
            if decision.series != series:
                episode.told.add(rule)
                self._found(Kind.SPLIT, rule, first, _report(event, alert, decision))

    def _book_of(self, rule: str) -> RuleBook:
        book = self._alone.get(rule)
        if book is None:
            only = replace(self.book.by_id[rule], conditions=())
            book = self._alone[rule] = RuleBook.of([only], unmatched=None, content=self.book.content)
        return book

    def _found(self, kind: Kind, rule_id: str, first: Report, second: Report) -> None:
        count = self.counts[rule_id, kind] = self.counts.get((rule_id, kind), 0) + 1
        if count > VIOLATIONS_MAX:
            return
        rule = self.book.by_id[rule_id]
        differs = tuple(_differing(rule, first, second)) if kind is Kind.SPLIT else ()
        self.violations.append(Violation(kind=kind, rule=rule, first=first, second=second, differs=differs))


def _report(event: str, alert: Alert, decision: Decision) -> Report:
    return Report(
        event=event,
        source=alert.source,
        fingerprint=alert.fingerprint,
        status=alert.status,
        title=alert.title,
        parts=decision.parts,
        scope=decision.scope,
    )


def _differing(rule: Rule, first: Report, second: Report) -> Iterator[str]:
    """Which parts of the key differ, in the words of the rule."""
    if first.scope != second.scope:
        yield "service"
    if rule.incident_key is not None:
        names: tuple[str, ...] = ("incident_key",)
    else:
        names = tuple(path.text for path in rule.dedup) if rule.dedup is not None else ("source", "fingerprint")
    for name, one, other in zip(names, first.parts, second.parts, strict=False):
        if one != other:
            yield name
