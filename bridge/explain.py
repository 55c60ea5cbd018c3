"""Why a rule book decides as it does: the alert as read, each rule with its conditions, the key, the request, the lane.

In: Readings, a RuleBook, Destinations, what is known of names and lanes. Out: a frozen Explanation, made by the very
functions of production; `as_json` gives it as plain values for a script or a page. Nothing is sent and nothing stored.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from bridge.destinations.base import Destination
from bridge.domain import keys
from bridge.domain.alert import Alert, Notice, Reading, Severity, Status, effective
from bridge.domain.decision import Check, Decided, Decision, Mode
from bridge.domain.delivery import Action, Delivery, HttpRequest, LaneClass, NamedThing
from bridge.domain.errors import Place
from bridge.domain.lane import Line, Pace, parked_sentence, sane, starts_at
from bridge.domain.names import ListPart, list_part, may_go_on, served
from bridge.domain.silences import hiding
from bridge.pipeline import decide
from bridge.rules.book import Rule, RuleBook
from bridge.rules.conditions import AllOf, AnyOf, Condition, Not, When
from bridge.rules.paths import rfc3339
from bridge.rules.silencing import Silencing

RULES_SHOWN_MAX = 64  # of one alert; of a larger book those that match and the nearest misses
SOURCE_PATHS = ("source", "source_type")  # a rule for another sender is no near miss, however much else holds

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


_INVERTED = re.compile(r"(?:^|\]\.)not(?:\.|$)")  # a condition's path that leads into `not`
UNRECEIVED = "0" * 26  # stands for the id of an event that has none yet
NO_LISTS: Lists = MappingProxyType({})
NO_LANES: Mapping[str, LaneView] = MappingProxyType({})
NO_SILENCES = Silencing()


def explain(
    readings: tuple[Reading, ...],
    book: RuleBook,
    destinations: Mapping[str, Destination],
    *,
    source: str,
    now: datetime,
    event: str | None = None,
    lists: Lists = NO_LISTS,
    lanes: Mapping[str, LaneView] = NO_LANES,
    silencing: Silencing = NO_SILENCES,
) -> Explanation:
    """Explain the readings of one webhook of `source`.

    `lists` gives the ids that names of the upstream stand for, `lanes` what waits, by account; what is missing in
    either is said in the answer. `now` is an aware instant, for the wait and for `silencing`.
    """
    known = _Known(book=book, destinations=destinations, event=event, now=now, lists=lists, lanes=lanes)
    alerts = tuple(known.explained(one) for one in silencing.marked(decide(readings, book, destinations)))
    return Explanation(source=source, event=event, book=book.hash, alerts=alerts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """Everything that is the same for all readings of one webhook."""

    book: RuleBook
    destinations: Mapping[str, Destination]
    event: str | None
    now: datetime
    lists: Lists
    lanes: Mapping[str, LaneView]

    def explained(self, decided: Decided) -> AlertExplanation:
        reading = decided.reading
        if isinstance(reading, Notice):
            summary = f"no alert, so no rule is asked: {reading.reason}"
            return AlertExplanation(reading=reading, summary=summary, rules=(), left_out=0, nearest=None, requests=())
        rules = tuple(self._rules(reading, decided))
        shown = _bounded(rules)
        return AlertExplanation(
            reading=reading,
            summary=_summary(reading, decided, rules, self.now),
            rules=shown,
            left_out=len(rules) - len(shown),
            nearest=_nearest(rules),
            requests=tuple(self._requests(reading, decided)),
        )

    def _rules(self, alert: Alert, decided: Decided) -> Iterator[RuleAnswer]:
        matched = frozenset(decided.matched)
        stopped_by: str | None = None
        for rule in self.book.rules:
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

    def _requests(self, alert: Alert, decided: Decided) -> Iterator[Request]:
        decisions = decided.decisions
        fires = alert.status is Status.FIRING
        if not fires:
            # Its key has to be that of the report that fired: shown, so that a person can compare them.
            (again,) = decide((replace(alert, status=Status.FIRING),), self.book, self.destinations)
            decisions = tuple(one for one in again.decisions if one.rule in decided.matched)
        for decision in decisions:
            yield self._request(alert, decision, fires=fires)

    def _request(self, alert: Alert, decision: Decision, *, fires: bool) -> Request:
        destination = self.destinations[decision.account]
        names, ids, notes = self._names(decision)
        key = self._key(alert, decision, destination)
        delivery = Delivery(
            id=self.event or UNRECEIVED,
            incident=self.event or UNRECEIVED,
            account=decision.account,
            action=Action.CREATE,
            key=key.text,
            fields=decision.fields,
            names=decision.names,
            ids=ids,
            notes=(*decision.notes, *notes),
            created_at=self.now,
        )
        kinds = destination.name_kinds_for(delivery)
        lists = {kind: self.lists.get((decision.account, kind), ()) for kind in kinds}
        unknown = {one.kind for one in names if (decision.account, one.kind) not in self.lists}
        unknown |= {kind for kind in kinds if (decision.account, kind) not in self.lists}
        silence = hiding(decision.silences, decision.severity, self.now)
        sent = fires and decision.mode is Mode.LIVE and silence is None
        return Request(
            rule=decision.rule,
            account=decision.account,
            account_type=destination.type,
            mode=decision.mode,
            severity=decision.severity,
            title=decision.title,
            key=key,
            fields=decision.fields,
            names=names,
            notes=(*decision.notes, *notes, *_unfetched(unknown)),
            fold_key=decision.fold_key,
            http=without_credentials(destination.request_for(delivery, lists)),
            wait=self._wait(decision) if sent else None,
            sent=sent,
            silence=None if silence is None else silence.sentence,
        )

    def _names(self, decision: Decision) -> tuple[tuple[Name, ...], dict[str, str], list[str]]:
        names: list[Name] = []
        notes: list[str] = []
        things: dict[str, NamedThing] = {}
        for ref in decision.names:
            part = list_part(ref, things)
            if part is None:
                continue  # any text may stand there, or what it stands in is not known
            found, note = self._served(decision.account, part)
            things |= {ref.field: found} if found is not None else {}
            names.append(
                Name(field=ref.field, kind=part.ref.kind, text=ref.text, id=None if found is None else found.id)
            )
            notes += [note] if note is not None else []
        return tuple(names), {name.field: name.id for name in names if name.id is not None}, notes

    def _served(self, account: str, part: ListPart) -> tuple[NamedThing | None, str | None]:
        things = self.lists.get((account, part.ref.kind))
        if things is None:
            return None, None
        found = served(part.ref, part.among(things), self.destinations[account].defaults.get(part.ref.field))
        if found.unlisted and may_go_on(things):  # sent as written
            return NamedThing(id=part.ref.text, name=part.ref.text), None
        return found.thing, found.note

    def _key(self, alert: Alert, decision: Decision, destination: Destination) -> Key:
        event = self.event or UNRECEIVED
        episode = keys.episode(alert.episode or event, event, 0)
        text = keys.upstream_key(decision.key_rule, decision.series, decision.key_text, episode)
        of_event = self.event is None and alert.episode is None and episode in text
        note = "its end is a hash of the event's id, which it gets when it is received" if of_event else ""
        return Key(
            series=decision.series,
            account=decision.account,
            scope=decision.scope,
            parts=_key_parts(alert, decision, self.book.by_id[decision.rule]),
            field=destination.key_field,
            text=text,
            note=note,
        )

    def _wait(self, decision: Decision) -> Wait | None:
        view = self.lanes.get(decision.account)
        if view is None:
            return None
        if view.line is None:
            sentence = "no ledger was asked what waits there"
            return Wait(lane=view.lane, rate=view.rate, ahead=None, eta_s=None, sentence=sentence)
        state = sane(view.pace, view.line.state, self.now)
        ahead = view.line.ahead[decision.severity]
        held = parked_sentence(state, self.now)
        if state.paused_at is not None:
            return Wait(lane=view.lane, rate=view.rate, ahead=ahead, eta_s=None, sentence=held or "")
        critical = decision.severity is Severity.CRITICAL
        start = starts_at(view.pace, state, LaneClass.CREATE, self.now, critical=critical, ahead=ahead)
        eta_s = round(max(0.0, (start - self.now).total_seconds()), 1)
        when = "at once" if eta_s == 0 else f"in about {eta_s:g} s"
        sentence = f"{when}, {ahead} before it" + (f"; {held}" if held else "")
        return Wait(lane=view.lane, rate=view.rate, ahead=ahead, eta_s=eta_s, sentence=sentence)


# -- conditions


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


def _nearest(rules: Sequence[RuleAnswer]) -> RuleAnswer | None:
    """The refused rule that came closest: of the right sender, with the largest share of its conditions holding."""
    refused = [one for one in rules if one.verdict is Verdict.REFUSED]
    return max(refused, key=_nearness, default=None)  # max keeps the first of equals


def _nearness(one: RuleAnswer) -> tuple[bool, float, int]:
    foreign = any(check.condition.split(".")[0] in SOURCE_PATHS for check in one.misses)
    return not foreign, one.held / max(1, one.of), one.held


def _bounded(rules: Sequence[RuleAnswer]) -> tuple[RuleAnswer, ...]:
    if len(rules) <= RULES_SHOWN_MAX:
        return tuple(rules)
    decisive = [one for one in rules if one.verdict in (Verdict.MATCHED, Verdict.FALLBACK)]
    refused = sorted((one for one in rules if one.verdict is Verdict.REFUSED), key=_nearness, reverse=True)
    kept = {one.rule for one in [*decisive, *refused][:RULES_SHOWN_MAX]}
    return tuple(one for one in rules if one.rule in kept)


def _summary(alert: Alert, decided: Decided, rules: Sequence[RuleAnswer], now: datetime) -> str:
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


# -- identity and request


def _key_parts(alert: Alert, decision: Decision, rule: Rule) -> tuple[KeyPart, ...]:
    if decision.key_text is not None:
        return (KeyPart(path="incident_key", value=decision.key_text),)
    if rule.dedup is None or rule.incident_key is not None:
        return tuple(
            KeyPart(path=path, value=part) for path, part in zip(("source", "fingerprint"), decision.parts, strict=True)
        )
    return tuple(
        KeyPart(
            path=path.text,
            value=part,
            stands_in=decision.marked and part == alert.fingerprint and path.read(alert) != alert.fingerprint,
        )
        for path, part in zip(rule.dedup, decision.parts, strict=True)
    )


def without_credentials(request: HttpRequest) -> HttpRequest:
    """The call as it may be shown: the credential of its Authorization header is left out, its body is untouched."""
    shown = {
        name: f"{value.split(' ')[0]} [redacted]" if name.lower() == "authorization" else value
        for name, value in request.headers.items()
    }
    return replace(request, headers=MappingProxyType(shown))


def _unfetched(kinds: set[str]) -> tuple[str, ...]:
    return tuple(
        f"the upstream's list of kind {kind} is not known here: its ids are missing in the request shown"
        for kind in sorted(kinds)
    )


# -- plain values


def as_json(explanation: Explanation) -> dict[str, Any]:
    """The Explanation as JSON values, every key always there."""
    return {
        "source": explanation.source,
        "event": explanation.event,
        "book": explanation.book,
        "alerts": [_alert_json(one) for one in explanation.alerts],
    }


def _alert_json(one: AlertExplanation) -> dict[str, Any]:
    return {
        "alert": reading_json(one.reading),
        "summary": one.summary,
        "rules": [_rule_json(rule) for rule in one.rules],
        "rules_left_out": one.left_out,
        "nearest": None if one.nearest is None else _nearest_json(one.nearest),
        "requests": [_request_json(request) for request in one.requests],
    }


def reading_json(reading: Reading) -> dict[str, Any]:
    """A reading as JSON, but for its payload; what an alert lacks is null, and a notice has its reason."""
    if isinstance(reading, Notice):
        return {
            "source": reading.source,
            "source_type": reading.source_type,
            "fingerprint": reading.fingerprint,
            "status": None,
            "title": reading.title,
            "reason": reading.reason,
        }
    return {
        "source": reading.source,
        "source_type": reading.source_type,
        "fingerprint": reading.fingerprint,
        "episode": reading.episode,
        "reported_at": _instant(reading.reported_at),
        "status": reading.status.value,
        "severity": None if reading.severity is None else reading.severity.value,
        "counts_as": effective(reading.severity).value,
        "title": reading.title,
        "description": reading.description,
        "labels": dict(reading.labels),
        "links": [{"text": link.text, "href": link.href} for link in reading.links],
        "starts_at": _instant(reading.starts_at),
        "ends_at": _instant(reading.ends_at),
    }


def _rule_json(one: RuleAnswer) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "file": one.place.file,
        "line": one.place.line,
        "account": one.account,
        "mode": one.mode.value,
        "verdict": one.verdict.value,
        "why": one.why,
        "held": one.held,
        "of": one.of,
        "conditions": [_answer_json(answer) for answer in one.answers],
    }


def _answer_json(answer: Answer) -> dict[str, Any]:
    return {
        "condition": answer.condition,
        "kind": answer.kind.value,
        "wanted": answer.wanted,
        "actual": answer.actual,
        "held": answer.held,
        "parts": [_answer_json(part) for part in answer.parts],
    }


def _nearest_json(one: RuleAnswer) -> dict[str, Any]:
    misses = [{"condition": c.condition, "wanted": c.wanted, "actual": c.actual} for c in one.misses]
    return {"rule": one.rule, "held": one.held, "of": one.of, "why": one.why, "misses": misses}


def _request_json(one: Request) -> dict[str, Any]:
    return {
        "rule": one.rule,
        "account": one.account,
        "account_type": one.account_type,
        "mode": one.mode.value,
        "sent": one.sent,
        "silence": one.silence,
        "severity": one.severity.value,
        "title": one.title,
        "key": {
            "series": one.key.series,
            "account": one.key.account,
            "scope": one.key.scope,
            "parts": [{"path": p.path, "value": p.value, "stands_in": p.stands_in} for p in one.key.parts],
            "field": one.key.field,
            "text": one.key.text,
            "note": one.key.note,
        },
        "fields": _plain(one.fields),
        "names": [{"field": n.field, "kind": n.kind, "text": n.text, "id": n.id} for n in one.names],
        "notes": list(one.notes),
        "fold_key": one.fold_key,
        "request": {
            "method": one.http.method,
            "url": one.http.url,
            "headers": dict(one.http.headers),
            "body": (one.http.body or b"").decode("utf-8"),
        },
        "lane": None
        if one.wait is None
        else {
            "lane": one.wait.lane,
            "rate": one.wait.rate,
            "ahead": one.wait.ahead,
            "eta_s": one.wait.eta_s,
            "sentence": one.wait.sentence,
        },
    }


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else rfc3339(instant)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _json(value: Any) -> str:
    return keys.canonical(value).decode("utf-8", "replace")
