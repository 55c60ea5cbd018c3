"""Two rule books over the same traffic: which incidents appear, disappear, move, or are told otherwise.

In: webhooks one after the other, oldest first, as Readings. Out: the Differences of each, and counts. The code of
production decides. Which reports share an incident is followed per book, with a few bytes per problem that fires: any
number of webhooks can be compared.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

from bridge.destinations.base import Destination
from bridge.domain.alert import Alert, Notice, Reading, Status
from bridge.domain.decision import Decision, Mode, OnResolve
from bridge.domain.delivery import NamedThing, NameRef
from bridge.domain.keys import canonical, problem_id
from bridge.domain.names import may_go_on, served
from bridge.pipeline import decide
from bridge.rules.book import RuleBook

PRIORITY_FIELDS = ("priority", "urgency", "severity")  # of an incident block: how loud it is
ID_BYTES = 16  # of a hash kept for a series or a problem: enough that no two of them ever meet
REMEMBERED = 4_096  # names that were looked up
SHOWN_MAX_CHARS = 80  # of a text in a detail


class Change(StrEnum):
    """What becomes different for one incident."""

    ADDED = "added"
    GONE = "gone"
    MOVED = "moved"  # to another account
    RETITLED = "retitled"
    REKEYED = "rekeyed"  # another series: an incident that is open now is not found again
    REPRIORITISED = "reprioritised"
    CHANGED = "changed"  # another field of the request
    HANDLED = "handled"  # the same request; what becomes of the incident afterwards, or what it folds with


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one rule book makes of one alert."""

    rule: str
    account: str
    title: str
    series: str
    opens: bool  # False: it joins an incident that an earlier alert opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One incident that differs, at the alert that opens it. A side that opens and joins nothing is None."""

    changes: tuple[Change, ...]
    event: str
    received_at: datetime
    source: str
    fingerprint: str
    alert: str  # its title
    old: Side | None
    new: Side | None
    details: tuple[str, ...]  # a clause for each change, in their order, and what holds for all of them after those

    def said_of(self, change: Change) -> tuple[str, ...]:
        """The clauses about one of its changes."""
        return (self.details[self.changes.index(change)], *self.details[len(self.changes) :])


Names = Mapping[tuple[str, str], Sequence[NamedThing]]  # (account, kind) -> what is known to be there
Instead = Callable[[str, NameRef, str | None], str | None]


def names_served(names: Names) -> Instead:
    """What an account puts in the place of a name it is known not to have, given its default; None: the name itself."""

    @lru_cache(maxsize=REMEMBERED)
    def instead(account: str, ref: NameRef, default: str | None) -> str | None:
        things = names.get((account, ref.kind), ())
        if not things or may_go_on(things):
            return None
        found = served(ref, things, default)
        return None if found.note is None or found.thing is None else found.thing.name

    return instead


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """A rule book with the destinations of its accounts, and what those put in the place of names they lack."""

    rules: RuleBook
    destinations: Mapping[str, Destination]
    instead: Instead = field(default=names_served({}))

    def decided(self, readings: tuple[Reading, ...]) -> tuple[tuple[Decision, ...], ...]:
        """Per reading the decisions that page, with the names that will stand there: a shadow rule's pages nobody."""
        decided = decide(readings, self.rules, self.destinations)
        return tuple(tuple(self._served(one) for one in each.decisions if one.mode is Mode.LIVE) for each in decided)

    def _served(self, decision: Decision) -> Decision:
        defaults = self.destinations[decision.account].defaults
        others: dict[str, Any] = {}
        for ref in decision.names:
            if decision.fields.get(ref.field) == ref.text:
                other = self.instead(decision.account, ref, defaults.get(ref.field))
                others |= {} if other is None else {ref.field: other}
        return replace(decision, fields={**decision.fields, **others}) if others else decision


@dataclass(slots=True)
class _Open:
    """Incidents that live under one book: how many problems keep each series firing, and where each problem fires."""

    firing: dict[bytes, int] = field(default_factory=dict)
    series_of: dict[bytes, tuple[tuple[bytes, bool], ...]] = field(default_factory=dict)  # with: ends when it ends
    opened: int = 0

    def fires(self, problem: bytes, decision: Decision) -> bool:
        """A problem fires under a decision; whether that opens an incident."""
        series = bytes.fromhex(decision.series)[:ID_BYTES]
        fires_in = self.series_of.get(problem, ())
        if any(one == series for one, _ in fires_in):
            return False
        ends = decision.policy.on_resolve is OnResolve.RESOLVE
        self.series_of[problem] = (*fires_in, (series, ends))
        is_new = series not in self.firing
        self.firing[series] = self.firing.get(series, 0) + 1
        self.opened += is_new
        return is_new

    def ends(self, problem: bytes) -> None:
        """A problem is over: what no other keeps firing is resolved, unless its rule leaves that to people."""
        for series, ends in self.series_of.pop(problem, ()):
            self.firing[series] -= 1
            if self.firing[series] == 0 and ends:
                del self.firing[series]


@dataclass(slots=True)
class Comparison:
    """Follows both books through the traffic. `take` wants the webhooks in the order in which they came."""

    old: Book
    new: Book
    events: int = 0
    alerts: int = 0
    counts: Counter[Change] = field(default_factory=Counter)
    _old: _Open = field(default_factory=_Open)
    _new: _Open = field(default_factory=_Open)

    @property
    def opened(self) -> tuple[int, int]:
        """How many incidents each book has opened so far."""
        return self._old.opened, self._new.opened

    def take(self, event: str, received_at: datetime, readings: tuple[Reading, ...]) -> tuple[Difference, ...]:
        """One webhook; what differs because of it."""
        self.events += 1
        before, after = self.old.decided(readings), self.new.decided(readings)
        found: list[Difference] = []
        for reading, old, new in zip(readings, before, after, strict=True):
            if isinstance(reading, Notice):
                continue
            self.alerts += 1
            problem = bytes.fromhex(problem_id(reading.source, reading.fingerprint))[:ID_BYTES]
            if reading.status is Status.RESOLVED:
                self._old.ends(problem)
                self._new.ends(problem)
            for left, right in _pairs(old, new):
                difference = self._compared(event, received_at, reading, problem, left, right)
                if difference is not None:
                    self.counts.update(difference.changes)
                    found.append(difference)
        return tuple(found)

    def _compared(
        self,
        event: str,
        received_at: datetime,
        alert: Alert,
        problem: bytes,
        left: Decision | None,
        right: Decision | None,
    ) -> Difference | None:
        old = None if left is None else _side(left, self._old.fires(problem, left))
        new = None if right is None else _side(right, self._new.fires(problem, right))
        changes, details = _changes(old, new, left, right, self.new.destinations)
        if not changes:
            return None
        return Difference(
            changes=changes,
            event=event,
            received_at=received_at,
            source=alert.source,
            fingerprint=alert.fingerprint,
            alert=alert.title,
            old=old,
            new=new,
            details=details,
        )


def _side(decision: Decision, opens: bool) -> Side:
    return Side(rule=decision.rule, account=decision.account, title=decision.title, series=decision.series, opens=opens)


def _pairs(old: Sequence[Decision], new: Sequence[Decision]) -> list[tuple[Decision | None, Decision | None]]:
    """Which decision of one book stands for which of the other: of the same rule, else account, else in their order."""
    left, right = list(old), list(new)
    pairs: list[tuple[Decision | None, Decision | None]] = []
    same_rule, same_account = (lambda a, b: a.rule == b.rule), (lambda a, b: a.account == b.account)
    for alike in (same_rule, same_account, lambda _a, _b: True):
        for one in tuple(left):
            other = next((candidate for candidate in right if alike(one, candidate)), None)
            if other is not None:
                left.remove(one)
                right.remove(other)
                pairs.append((one, other))
    return [*pairs, *((one, None) for one in left), *((None, one) for one in right)]


def _changes(
    old: Side | None,
    new: Side | None,
    left: Decision | None,
    right: Decision | None,
    destinations: Mapping[str, Destination],
) -> tuple[tuple[Change, ...], tuple[str, ...]]:
    opens_before, opens_after = old is not None and old.opens, new is not None and new.opens
    match opens_before, opens_after:
        case False, False:
            return (), ()  # told of where it was opened, or nobody is paged
        case True, False:
            why = "no rule pages for it now" if new is None else f"it joins another incident under rule {new.rule}"
            return (Change.GONE,), (why,)
        case False, True:
            why = "no rule paged for it" if old is None else f"it joined another incident under rule {old.rule}"
            return (Change.ADDED,), (why,)
    if left is None or right is None:
        raise AssertionError("what opens an incident has a decision")
    found = dict(_told_otherwise(left, right, destinations[right.account]))
    if found and left.rule != right.rule:
        return tuple(found), (*found.values(), f"by rule {right.rule} instead of {left.rule}")
    return tuple(found), tuple(found.values())


def _told_otherwise(left: Decision, right: Decision, destination: Destination) -> Iterable[tuple[Change, str]]:
    """What differs between two incidents that stand for each other."""
    if left.account != right.account:
        yield Change.MOVED, f"from account {left.account} to {right.account}"
    if left.title != right.title:
        yield Change.RETITLED, f"title {_quoted(left.title)} becomes {_quoted(right.title)}"
    if left.account == right.account and (left.series, left.key_text) != (right.series, right.key_text):
        yield Change.REKEYED, f"key from {_identity(left)} becomes {_identity(right)}"
    louder = list(_priorities(left, right))
    if louder:
        yield Change.REPRIORITISED, "; ".join(louder)
    if left.account == right.account:
        apart = {destination.title_field, *PRIORITY_FIELDS}
        names = [name for name in {**left.fields, **right.fields} if name not in apart]
        others = sorted(name for name in names if left.fields.get(name) != right.fields.get(name))
        if others:
            yield Change.CHANGED, f"other fields: {', '.join(others)}"
    handled = [f"{name} {before} becomes {after}" for name, before, after in _handling(left, right) if before != after]
    if handled:
        yield Change.HANDLED, "; ".join(handled)


def _handling(left: Decision, right: Decision) -> Iterable[tuple[str, str, str]]:
    """The settings of a rule that its request does not show, with what each side has of them.

    What an incident must share to fold (`fold_target`) is made of fields, which are told of as such.
    """
    old, new = left.policy, right.policy
    yield "on_acknowledge", old.on_acknowledge.value, new.on_acknowledge.value
    yield "on_resolve", old.on_resolve.value, new.on_resolve.value
    yield "resolution", _quoted(old.resolution), _quoted(new.resolution)
    yield "hold_resolve", _length(old.hold_resolve), _length(new.hold_resolve)
    yield "reopen_within", _length(old.reopen_within), _length(new.reopen_within)
    yield "fold_by", _folds_by(left), _folds_by(right)
    if left.account == right.account:
        yield "on_severity_rise", _rise(left), _rise(right)


def _length(time: timedelta) -> str:
    return f"{time.total_seconds():g} s"


def _folds_by(decision: Decision) -> str:
    """Without `fold_by` it is the rule's id, which may be another while the rule is the same."""
    return "its own rule" if decision.fold_key == decision.rule else _short(decision.fold_key)


def _rise(decision: Decision) -> str:
    if decision.rise is None:
        return "as without it"
    return _short(canonical(decision.rise.fields).decode("utf-8", "replace")) if decision.rise.fields else "ignore"


def _priorities(left: Decision, right: Decision) -> Iterable[str]:
    if left.severity is not right.severity:
        yield f"severity {left.severity} becomes {right.severity}"
    for name in PRIORITY_FIELDS if left.account == right.account else ():
        before, after = left.fields.get(name), right.fields.get(name)
        if before != after:
            yield f"field {name} {_quoted(before)} becomes {_quoted(after)}"


def _identity(decision: Decision) -> str:
    if decision.key_text is not None:
        return _quoted(decision.key_text)
    parts = canonical([decision.scope, *decision.parts] if decision.scope else decision.parts)
    return _short(parts.decode("utf-8", "replace"))


def _quoted(value: Any) -> str:
    return "nothing" if value is None else f"'{_short(str(value))}'"


def _short(text: str) -> str:
    if len(text) <= SHOWN_MAX_CHARS:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{text[: SHOWN_MAX_CHARS - 10]}…({digest})"  # else two long texts might look the same


# -- plain values


def difference_json(one: Difference) -> dict[str, Any]:
    """A Difference as JSON values."""
    return {
        "changes": [change.value for change in one.changes],
        "event": one.event,
        "received_at": one.received_at.isoformat().replace("+00:00", "Z"),
        "source": one.source,
        "fingerprint": one.fingerprint,
        "alert": one.alert,
        "old": _side_json(one.old),
        "new": _side_json(one.new),
        "details": list(one.details),
    }


def _side_json(side: Side | None) -> dict[str, Any] | None:
    if side is None:
        return None
    return {
        "rule": side.rule,
        "account": side.account,
        "title": side.title,
        "series": side.series,
        "opens": side.opens,
    }
