"""What rules in shadow mode would have done: incidents they would have opened, joined and resolved, beside what was.

In: the records of alerts, oldest first. Out: one ShadowRule per rule. It knows no lane, no folding and no window in
which an incident is re-opened: a problem that comes back opens another one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bridge.domain.alert import Status
from bridge.domain.decision import Outcome

TITLES_SHOWN = 5
NOTHING = "nothing"  # no other rule decided


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """One decision on record."""

    rule: str | None
    account: str | None
    outcome: str
    series: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One alert on record."""

    event: str
    source: str
    fingerprint: str | None
    title: str
    status: str | None
    decisions: tuple[Decided, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRule:
    """What one rule would have done."""

    rule: str
    accounts: tuple[str, ...] = ()
    alerts: int = 0  # firing, that it decided
    opened: int = 0
    joined: int = 0
    repeated: int = 0  # reported again, which changes nothing
    resolved: int = 0
    open: int = 0  # of those opened, not resolved by now
    really: Mapping[str, int] = field(default_factory=dict)  # outcome under other rules -> these alerts
    samples: tuple[tuple[str, str], ...] = ()  # event and title of the first incidents it would have opened


@dataclass(slots=True)
class _Tally:
    accounts: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    really: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[str, str]] = field(default_factory=list)
    firing: dict[str, set[tuple[str, str | None]]] = field(default_factory=dict)  # series -> problems


def shadow_report(lines: Iterable[Line], rules: Iterable[str] = ()) -> tuple[ShadowRule, ...]:
    """One entry per rule that decided in shadow mode, and per one of `rules` that did not, by their names."""
    tallies: dict[str, _Tally] = {rule: _Tally() for rule in rules}
    for line in lines:
        problem = (line.source, line.fingerprint)
        if line.status == Status.RESOLVED:
            for tally in tallies.values():
                _ends(tally, problem)
            continue
        for decision in line.decisions:
            if decision.outcome == Outcome.SHADOW and decision.rule is not None and decision.series is not None:
                tally = tallies.setdefault(decision.rule, _Tally())
                _fires(tally, line, decision, decision.series, problem)
    return tuple(_told(rule, tally) for rule, tally in sorted(tallies.items()))


def _fires(tally: _Tally, line: Line, decision: Decided, series: str, problem: tuple[str, str | None]) -> None:
    tally.counts["alerts"] += 1
    tally.accounts |= {decision.account} if decision.account is not None else set()
    others = [one.outcome for one in line.decisions if one.outcome != Outcome.SHADOW]
    tally.really.update(others or [NOTHING])
    members = tally.firing.setdefault(series, set())
    if not members:
        tally.counts["opened"] += 1
        if len(tally.samples) < TITLES_SHOWN:
            tally.samples.append((line.event, line.title))
    else:
        tally.counts["repeated" if problem in members else "joined"] += 1
    members.add(problem)


def _ends(tally: _Tally, problem: tuple[str, str | None]) -> None:
    for series, members in list(tally.firing.items()):
        members.discard(problem)
        if not members:
            tally.counts["resolved"] += 1
            del tally.firing[series]


def _told(rule: str, tally: _Tally) -> ShadowRule:
    return ShadowRule(
        rule=rule,
        accounts=tuple(sorted(tally.accounts)),
        alerts=tally.counts["alerts"],
        opened=tally.counts["opened"],
        joined=tally.counts["joined"],
        repeated=tally.counts["repeated"],
        resolved=tally.counts["resolved"],
        open=len(tally.firing),
        really=dict(sorted(tally.really.items())),
        samples=tuple(tally.samples),
    )
