"""Which rules decide and which do not: each with its conditions asked one by one, and the nearest miss.

In: an Alert, what was decided about it, the rules of a book. Out: RuleAnswers. Nothing here knows an upstream.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from bridge.domain import keys
from bridge.domain.alert import Alert, Status
from bridge.domain.decision import Check, Decided, Mode
from bridge.domain.silences import hiding
from bridge.explain.values import Answer, Kind, RuleAnswer, Verdict
from bridge.rules.book import Rule
from bridge.rules.match import AllOf, AnyOf, Condition, Not, When

RULES_SHOWN_MAX = 64  # of one alert; of a larger book those that match and the nearest misses
SOURCE_PATHS = ("source", "source_type")  # a rule for another sender is no near miss, however much else holds
_INVERTED = re.compile(r"(?:^|\]\.)not(?:\.|$)")  # a condition's path that leads into `not`


def answered(rules: Iterable[Rule], alert: Alert, decided: Decided) -> Iterator[RuleAnswer]:
    """Each rule against one alert, in the order of the book."""
    matched = frozenset(decided.matched)
    stopped_by: str | None = None
    for rule in rules:
        answers = tuple(_answer(one, alert) for one in rule.conditions or ())
        checks = (one.refused(alert) for one in rule.conditions or ())
        misses = tuple(check for check in checks if check is not None)
        verdict = _verdict(rule, matched, misses, stopped_by)
        yield RuleAnswer(
            rule=rule.id,
            place=rule.place,
            account=rule.account,
            mode=rule.mode,
            verdict=verdict,
            answers=answers,
            misses=misses,
            why=_why(rule, verdict, misses, stopped_by),
        )
        if verdict is Verdict.MATCHED and not rule.continues:
            stopped_by = rule.id


def _answer(condition: Condition, alert: Alert) -> Answer:
    held = condition.refused(alert) is None
    match condition:
        case Not(conditions=(inner,)) if not isinstance(inner, Not | AnyOf | AllOf):
            # `not: {labels.env: dev}` is one question; its condition is called not.labels.env
            return Answer(condition=inner.name, kind=Kind.NOT, wanted=inner.wanted, actual=inner.seen(alert), held=held)
        case Not(conditions=inside):
            parts = tuple(_answer(one, alert) for one in inside)
            return Answer(
                condition=condition.name, kind=Kind.NOT, wanted=condition.wanted, actual=None, held=held, parts=parts
            )
        case AnyOf(groups=groups) | AllOf(groups=groups):
            kind = Kind.ANY if isinstance(condition, AnyOf) else Kind.ALL
            parts = tuple(_answer(one, alert) for group in groups for one in group)
            return Answer(
                condition=condition.name, kind=kind, wanted=condition.wanted, actual=None, held=held, parts=parts
            )
    kind = Kind.WHEN if isinstance(condition, When) else Kind.ON
    return Answer(condition=condition.name, kind=kind, wanted=condition.wanted, actual=condition.seen(alert), held=held)


def _verdict(rule: Rule, matched: frozenset[str], misses: Sequence[Check], stopped_by: str | None) -> Verdict:
    if rule.id in matched:
        return Verdict.FALLBACK if rule.conditions is None or misses else Verdict.MATCHED
    if rule.conditions is None or stopped_by is not None:
        return Verdict.NOT_TRIED
    return Verdict.REFUSED


def _why(rule: Rule, verdict: Verdict, misses: Sequence[Check], stopped_by: str | None) -> str:
    match verdict:
        case Verdict.MATCHED:
            return (
                "all of its conditions hold" if rule.conditions else "it has no conditions, so it matches every alert"
            )
        case Verdict.FALLBACK:
            return "no live rule matches, and 'unmatched' names it"
        case Verdict.REFUSED:
            return "; ".join(sentence(check) for check in misses)
        case Verdict.NOT_TRIED if rule.conditions is None:
            return "it has no 'match'; it decides only when no live rule matches"
    too = "" if misses else "; it would match, too"
    return f"not tried, for rule {stopped_by} matches and does not continue{too}"


def sentence(check: Check) -> str:
    """Why a condition said no, as a clause: its path in the rule, what it found and what it wanted."""
    is_what = "is missing" if check.actual is None else f"is {_json(check.actual)}"
    wanted = "anything but " if _INVERTED.search(check.condition) else ""
    return f"{check.condition} {is_what}, wanted {wanted}{_json(check.wanted)}"


def closest(rules: Sequence[RuleAnswer]) -> RuleAnswer | None:
    """The refused rule that came closest: of the right sender, with the largest share of its conditions holding."""
    refused = [one for one in rules if one.verdict is Verdict.REFUSED]
    return max(refused, key=_nearness, default=None)  # max keeps the first of equals


def _nearness(one: RuleAnswer) -> tuple[bool, float, int]:
    foreign = any(check.condition.split(".")[0] in SOURCE_PATHS for check in one.misses)
    return not foreign, one.held / max(1, one.of), one.held


def bounded(rules: Sequence[RuleAnswer]) -> tuple[RuleAnswer, ...]:
    """All of a small book; of a large one those that decide and those that came closest, in the order of the book."""
    if len(rules) <= RULES_SHOWN_MAX:
        return tuple(rules)
    decisive = [one for one in rules if one.verdict in (Verdict.MATCHED, Verdict.FALLBACK)]
    refused = sorted((one for one in rules if one.verdict is Verdict.REFUSED), key=_nearness, reverse=True)
    kept = {one.rule for one in [*decisive, *refused][:RULES_SHOWN_MAX]}
    return tuple(one for one in rules if one.rule in kept)


def summary_of(alert: Alert, decided: Decided, rules: Sequence[RuleAnswer], now: datetime) -> str:
    """What becomes of an alert, in one sentence."""
    if alert.status is not Status.FIRING:
        names = ", ".join(decided.matched)
        by = f"; as a firing report it would match {names}" if names else "; no rule matches it"
        return f"{alert.status}: follows the incidents it is a member of and opens nothing{by}"
    if not decided.matched:
        return "unmatched: no rule matches; it is recorded and nobody is paged"
    parts = []
    for decision in decided.decisions:
        verdict = next(one.verdict for one in rules if one.rule == decision.rule)
        how = "as the fallback" if verdict is Verdict.FALLBACK else "matches"
        where = f"an incident at {decision.account}"
        silence = hiding(decision.silences, decision.severity, now)
        quiet = "" if silence is None else f" (recorded, not sent: {silence.sentence})"
        quiet = " (shadow: recorded, never sent)" if decision.mode is Mode.SHADOW else quiet
        parts.append(f"rule {decision.rule} {how}: {where}{quiet}")
    return "; ".join(parts)


def _json(value: Any) -> str:
    return keys.canonical(value).decode("utf-8", "replace")
