"""A machine that plays with incidents, an upstream that judges, and a ledger of nothing but the domain's functions.

The machine fires, ends and acknowledges problems in any order, claims deliveries, has them answered in every way there
is, lets workers die and time pass. What is promised is asserted after every step; at the end everything is delivered,
and what is open upstream must be what fires.
"""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.domain.alert import Severity
from bridge.domain.decision import KeyRule, OnAcknowledge, Policy
from bridge.domain.delivery import (
    Action,
    AttemptResult,
    Delivered,
    Delivery,
    KeyIsOpen,
    KeySpent,
    NothingFound,
    PermanentFailure,
    Phase,
    Reason,
    Reference,
    TransientFailure,
    UnknownOutcome,
)
from bridge.domain.incident import CreateBody, Incident, IncidentState, Member, NewEpisode, Transition
from bridge.domain.retry import Done, GiveUp, NextKey, RetryIn, SendPlain, first_phase, next_step, phase_after_unknown
from bridge.domain.telling import note_due_at, noted
from bridge.domain.transitions import (
    is_moot,
    moved,
    on_acknowledged,
    on_claimed,
    on_dead,
    on_delivered,
    on_firing,
    on_key_spent,
    on_moot,
    on_not_sent,
    on_resolved,
)
from tests.incidents import member as plain_member
from tests.incidents import plain_incident

SERIES = {"a": "x", "b": "x", "c": "y"}  # problem -> what is broken
SEVERITIES = (Severity.CRITICAL, Severity.ERROR)
FATES = (*("works",) * 5, *("lost, but it worked",) * 3, "busy", "lost", "refused", "its key is spent")
SUPERSEDED = "superseded by a new episode"
POLICY = Policy(on_acknowledge=OnAcknowledge.ACKNOWLEDGE, reopen_within=timedelta(minutes=10))


@dataclass(slots=True)
class Call:
    """A delivery under a lease."""

    delivery: Delivery
    series: str
    held: Any = None  # the ledger's own


class Ledger(Protocol):
    """What the machine plays with."""

    def fire(self, problem: str, severity: Severity) -> None: ...
    def end(self, problem: str) -> None: ...
    def acknowledge(self, problem: str) -> None: ...
    def claim(self) -> Call | None: ...
    def record(self, call: Call, result: AttemptResult) -> None: ...
    def crash(self, call: Call) -> None: ...
    def later(self, by: timedelta) -> None: ...
    def incidents(self) -> list[tuple[str, str, bool]]:
        """(series, state, live) of each; of those that were superseded no state."""
        ...

    def waiting(self) -> list[tuple[str, Action]]:
        """(incident, action) of the deliveries nobody has claimed yet."""
        ...

    def telling(self) -> list[tuple[str, Action, bool]]:
        """Of these the updates and notes; last, whether the text of a note is made, and it gathers no more."""
        ...


@dataclass(slots=True)
class There:
    """One incident at the upstream."""

    id: str
    key: str
    series: str
    made_by: str
    open: bool = True
    acknowledged: bool = False
    notes: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Upstream:
    """Answers as PagerDuty does, or as incident.io does, and objects to what must never be asked."""

    key_rule: KeyRule
    incidents: dict[str, There] = field(default_factory=dict)
    number: Iterator[int] = field(default_factory=count)

    def answer(self, call: Call, fate: str) -> AttemptResult:
        """What comes back, when the call ends so."""
        delivery = call.delivery
        creates = delivery.action in (Action.CREATE, Action.NOTE) and delivery.phase is Phase.SEND
        self._objects(delivery)
        if fate == "busy":
            return TransientFailure(reason=Reason.RATE_LIMITED, detail="", retry_after_s=0.0)
        if fate == "lost":
            return _lost(creates=creates)
        known = [one for one in self.incidents.values() if one.key == delivery.key]
        if fate == "refused" and not (delivery.action is Action.CREATE and known):
            return PermanentFailure(reason=Reason.REFUSED, detail="no")
        opens = delivery.action is Action.CREATE and self.key_rule is KeyRule.FOR_EVER and not known
        if fate == "its key is spent" and opens:
            return KeySpent(reference=Reference(id="old", closed=True), detail="")
        result = self._works(call, known)
        return _lost(creates=creates) if fate == "lost, but it worked" else result

    def _objects(self, delivery: Delivery) -> None:
        if delivery.action is Action.CREATE:
            return
        assert delivery.upstream_id in self.incidents, f"{delivery.action} before the create"
        there = self.incidents[delivery.upstream_id]
        if delivery.action in (Action.UPDATE, Action.NOTE) and delivery.phase is Phase.SEND:
            assert there.open, f"{delivery.action} after the resolve"

    def _works(self, call: Call, known: list[There]) -> AttemptResult:
        delivery = call.delivery
        if delivery.action is Action.CREATE:
            return self._created(call, known)
        there = self.incidents[delivery.upstream_id or ""]
        done = Delivered(reference=Reference(id=there.id, summary="what is known"))
        match delivery.action:
            case Action.NOTE if delivery.phase is Phase.LOOK_UP:
                return done if delivery.id in there.notes or not there.open else NothingFound(detail="")
            case Action.NOTE:
                assert delivery.id not in there.notes, "a note twice"
                there.notes.add(delivery.id)
            case Action.ACKNOWLEDGE if delivery.phase is Phase.LOOK_UP:
                return NothingFound(detail="") if there.open and not there.acknowledged else done
            case Action.ACKNOWLEDGE:
                there.acknowledged = there.open = True
            case Action.RESOLVE:
                there.open = False
            case Action.REOPEN:
                assert self.key_rule is KeyRule.WHILE_OPEN, "incident.io re-opens nothing"
                there.open, there.acknowledged = True, False
        return done

    def _created(self, call: Call, known: list[There]) -> AttemptResult:
        delivery = call.delivery
        opened = [one for one in known if one.open]
        mine = [one for one in known if one.made_by == delivery.id]
        if delivery.phase is Phase.LOOK_UP:
            found = opened or mine
            if not found:
                return NothingFound(detail="")
            return Delivered(reference=_reference(found[-1]), adopted=True)
        if self.key_rule is KeyRule.WHILE_OPEN and opened:
            return KeyIsOpen(detail="")
        if self.key_rule is KeyRule.FOR_EVER and known:
            if not known[0].open and not mine:
                return KeySpent(reference=_reference(known[0]), detail="")
            return Delivered(reference=_reference(known[0]), adopted=not mine)
        there = There(id=f"U{next(self.number)}", key=delivery.key, series=call.series, made_by=delivery.id)
        self.incidents[there.id] = there
        return Delivered(reference=_reference(there))


def _reference(there: There) -> Reference:
    return Reference(id=there.id, closed=not there.open, summary="what is known")


def _lost(*, creates: bool) -> AttemptResult:
    if creates:
        return UnknownOutcome(reason=Reason.TIMEOUT, detail="")
    return TransientFailure(reason=Reason.TIMEOUT, detail="")


class IncidentMachine(RuleBasedStateMachine):
    """Any order of everything. Subclasses say which ledger, and which upstream."""

    key_rule = KeyRule.WHILE_OPEN

    def __init__(self) -> None:
        super().__init__()
        self.ledger = self.made()
        self.upstream = Upstream(self.key_rule)
        self.firing: dict[str, Severity] = {}
        self.calls: list[Call] = []
        self.unsure: set[str] = set()  # series with an incident that would not be resolved: a person has to look

    @abstractmethod
    def made(self) -> Ledger:
        """An empty ledger."""

    @rule(problem=st.sampled_from(sorted(SERIES)), severity=st.sampled_from(SEVERITIES))
    def fires(self, problem: str, severity: Severity) -> None:
        self.ledger.fire(problem, severity)
        self.firing[problem] = severity

    @rule(problem=st.sampled_from(sorted(SERIES)))
    def ends(self, problem: str) -> None:
        self.ledger.end(problem)
        self.firing.pop(problem, None)

    @rule(problem=st.sampled_from(sorted(SERIES)))
    def is_acknowledged(self, problem: str) -> None:
        self.ledger.acknowledge(problem)

    @rule()
    def claims(self) -> None:
        call = self.ledger.claim()
        if call is not None:
            assert call.series not in {other.series for other in self.calls}, "two deliveries of a series in flight"
            self.calls.append(call)

    @rule(fate=st.sampled_from(FATES))
    def sends(self, fate: str) -> None:
        call = self.ledger.claim()
        if call is not None:
            self._answered(call, fate)

    @rule(problem=st.sampled_from(sorted(SERIES)), fate=st.sampled_from(FATES))
    def ends_and_comes_back(self, problem: str, fate: str) -> None:
        self.ends(problem)
        self.sends(fate)
        self.fires(problem, Severity.ERROR)

    @precondition(lambda self: self.calls)
    @rule(fate=st.sampled_from(FATES), which=st.integers(0, 1))
    def is_answered(self, fate: str, which: int) -> None:
        self._answered(self.calls.pop(which % len(self.calls)), fate)

    @precondition(lambda self: self.calls)
    @rule(sent=st.booleans())
    def a_worker_dies(self, sent: bool) -> None:
        call = self.calls.pop()
        if sent:
            self.upstream.answer(call, "works")
        for other in [*self.calls, call]:  # every lease ends meanwhile
            self.ledger.crash(other)
        self.calls.clear()

    @rule(seconds=st.sampled_from((11, 61, 601)))
    def time_passes(self, seconds: int) -> None:
        for call in self.calls:
            self._answered(call, "works")
        self.calls.clear()
        self.ledger.later(timedelta(seconds=seconds))

    @rule()
    def everything_is_delivered(self) -> None:
        self._drained()

    @invariant()
    def one_incident_of_a_series_is_live(self) -> None:
        live = [series for series, _, is_live in self.ledger.incidents() if is_live]
        assert len(live) == len(set(live))

    @invariant()
    def one_update_and_one_note_wait(self) -> None:
        waiting = self.ledger.telling()  # beside a note that gathers, one lists what its create found open
        assert len(waiting) == len(set(waiting)), waiting

    @invariant()
    def one_incident_of_a_series_is_open_upstream(self) -> None:
        opened = [one.series for one in self.upstream.incidents.values() if one.open]
        sure = [series for series in opened if series not in self.unsure]
        assert len(sure) == len(set(sure)), sure

    def teardown(self) -> None:
        self._drained()

    def _answered(self, call: Call, fate: str) -> None:
        result = self.upstream.answer(call, fate)
        if isinstance(result, PermanentFailure) and call.delivery.action is Action.RESOLVE:
            self.unsure.add(call.series)
        self.ledger.record(call, result)

    def _drained(self) -> None:
        for call in self.calls:
            self._answered(call, "works")
        self.calls.clear()
        for _ in range(100):
            self.ledger.later(timedelta(seconds=61))
            call_or_none = self.ledger.claim()
            if call_or_none is None:
                break
            self._answered(call_or_none, "works")
        else:
            raise AssertionError("it goes on for ever")
        assert self.ledger.waiting() == []
        dead = {series for series, state, _ in self.ledger.incidents() if state == "dead"}
        for series in set(SERIES.values()) - self.unsure - dead:
            opened = [one for one in self.upstream.incidents.values() if one.open and one.series == series]
            fires = any(SERIES[problem] == series for problem in self.firing)
            assert len(opened) == (1 if fires else 0), f"{series} fires: {fires}; open upstream: {opened}"


# -- the ledger of the domain alone


@dataclass(slots=True)
class Row:
    """A delivery of the domain's own ledger."""

    id: str
    incident: str
    series: str
    action: Action
    key: str
    state: str
    phase: Phase
    due_at: datetime
    sent: bool = False
    attempts: int = 0
    worded: bool = False
    reason: str | None = None


class PureLedger:
    """Incidents, members and deliveries in memory; every decision is the domain's."""

    def __init__(self, key_rule: KeyRule) -> None:
        self.key_rule, self.reopens = key_rule, key_rule is KeyRule.WHILE_OPEN
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.number = count()
        self.last: dict[str, Incident] = {}
        self.all: dict[str, Incident] = {}
        self.members: dict[tuple[str, str], Member] = {}
        self.rows: list[Row] = []

    def fire(self, problem: str, severity: Severity) -> None:
        series = SERIES[problem]
        last = self.last.get(series)
        live, ended = (last, None) if last is not None and last.live else (None, last)
        member = None if last is None else self.members.get((last.id, problem))
        body = CreateBody(fields={}, names=(), notes=())
        step = on_firing(live, member, severity, body, self.now, ended=ended, reopens=self.reopens, rise=True)
        if isinstance(step, NewEpisode):
            incident = self._open(series, severity, step)
            member = None
        else:
            incident = step.incident
            self._apply(step)
            if step.reason == "already a member; nothing changed":
                return
        self.members[(incident.id, problem)] = self._member(incident, problem, severity, member)

    def end(self, problem: str) -> None:
        incident = self.last.get(SERIES[problem])
        member = None if incident is None else self.members.get((incident.id, problem))
        step = on_resolved(incident, member)
        if step is not None and member is not None:
            self._apply(step)
            self.members[(member.incident, problem)] = replace(member, firing=False)

    def acknowledge(self, problem: str) -> None:
        incident = self.last.get(SERIES[problem])
        member = None if incident is None else self.members.get((incident.id, problem))
        step = on_acknowledged(incident, member)
        if step is not None:
            self._apply(step)

    def claim(self) -> Call | None:
        for row in self.rows:
            if row.state != "pending" or row.due_at > self.now or self._is_behind(row):
                continue
            incident = self.all[row.incident]
            if is_moot(incident, row.action):
                row.state, row.reason = "cancelled", "nothing_to_tell"
                self._put(incident if row.worded else on_moot(incident, row.action))
                continue
            if row.action is Action.NOTE and not row.worded:
                incident = replace(incident, telling=noted(incident.telling, self.now))
                row.worded = True
            self._put(on_claimed(incident, row.action))
            row.state, row.attempts = "sending", row.attempts + 1
            delivery = Delivery(
                id=row.id,
                incident=row.incident,
                account="pd",
                action=row.action,
                key=row.key,
                fields={},
                phase=row.phase,
                upstream_id=incident.upstream_id,
                created_at=self.now,
            )
            return Call(delivery=delivery, series=row.series, held=row)
        return None

    def record(self, call: Call, result: AttemptResult) -> None:
        row: Row = call.held
        incident = self.all[row.incident]
        step = next_step(
            result, action=row.action, attempt=row.attempts, phase=row.phase, key_rule=self.key_rule, jitter=0.0
        )
        match step:
            case Done(reference=reference):
                row.state = "delivered"
                self._apply(on_delivered(incident, row.action, reference, self.now, reopens=self.reopens))
            case RetryIn():
                self._again(row, incident, step)
            case NextKey():
                row.state = "cancelled"
                self._next_key(row, incident)
            case SendPlain() | GiveUp():
                row.state = "dead"
                self._apply(on_dead(incident, row.action, Reason.REFUSED))

    def crash(self, call: Call) -> None:
        row: Row = call.held
        row.state, row.sent = "pending", True
        row.phase = phase_after_unknown(row.action, self.key_rule)

    def later(self, by: timedelta) -> None:
        self.now += by

    def incidents(self) -> list[tuple[str, str, bool]]:
        found = self.all.values()
        return [(one.series, "" if one.reason == SUPERSEDED else one.state.value, one.live) for one in found]

    def waiting(self) -> list[tuple[str, Action]]:
        return [(row.incident, row.action) for row in self._waiting()]

    def telling(self) -> list[tuple[str, Action, bool]]:
        tells = (Action.UPDATE, Action.NOTE)
        return [(row.incident, row.action, row.worded) for row in self._waiting() if row.action in tells]

    def _waiting(self) -> list[Row]:
        return [row for row in self.rows if row.state == "pending" and not row.attempts]

    def _is_behind(self, row: Row) -> bool:
        before = self.rows[: self.rows.index(row)]
        return any(one.series == row.series and one.state in ("pending", "sending") for one in before)

    def _again(self, row: Row, incident: Incident, step: RetryIn) -> None:
        newer = row.action is Action.UPDATE and any(
            one.incident == row.incident and one.action is Action.UPDATE and one.state == "pending" for one in self.rows
        )
        if is_moot(incident, row.action) or newer:
            row.state = "cancelled"
            return
        row.state, row.sent = "pending", row.sent or step.sent
        first = first_phase(row.action, self.key_rule)
        row.phase = first if first is Phase.LOOK_UP and step.reason is not Reason.NOTHING_FOUND else step.phase
        if not row.sent:
            self._apply(on_not_sent(incident, row.action))

    def _next_key(self, row: Row, incident: Incident) -> None:
        if incident.firing == 0:
            self._apply(on_key_spent(incident))
            return
        fresh = replace(incident, state=IncidentState.PENDING, claimed=False, key=f"k{next(self.number)}")
        self._put(fresh)
        behind = [one for one in self.rows if one.incident == row.incident and one.state == "pending"]
        self._add(fresh, Action.CREATE)
        for one in behind:
            self.rows.remove(one)
            self.rows.append(one)

    def _apply(self, step: Transition) -> None:
        incident = step.incident
        self._put(incident)
        for action in step.cancel:
            self._cancel(incident, action)
        for action in step.revive:
            of = [row for row in self.rows if row.incident == incident.id and row.action is action]
            if of and of[-1].state == "cancelled" and action is not Action.NOTE:  # nobody here writes one
                of[-1].state = "pending"
        add = step.add
        if incident.telling.note_waits and add and Action.NOTE not in add:
            self._cancel(incident, Action.NOTE)
            add = (*add, Action.NOTE)
        for action in add:
            self._add(incident, action)
        if step.renews:
            self._renew(incident)

    def _renew(self, ended: Incident) -> None:
        self._put(replace(ended, live=False, firing=0, renewal=None))
        moving = [one for one in self.members.values() if one.incident == ended.id and one.firing]
        step = NewEpisode(telling=ended.telling.next_episode())
        fresh = replace(self._open(ended.series, ended.severity, step), firing=ended.firing)
        self._put(fresh)
        for one in moving:
            left, joins = moved(one, fresh.id, self.now)
            self.members[(ended.id, one.problem)], self.members[(fresh.id, one.problem)] = left, joins

    def _open(self, series: str, severity: Severity, step: NewEpisode) -> Incident:
        ident = f"I{next(self.number)}"
        incident = plain_incident(
            IncidentState.PENDING,
            id=ident,
            series=series,
            key=f"k{series}" if self.key_rule is KeyRule.WHILE_OPEN else f"k{ident}",
            key_rule=self.key_rule,
            severity=severity,
            policy=POLICY,
            firing=1,
            opened_at=self.now,
            telling=step.telling,
        )
        if step.supersedes is not None:
            self._put(step.supersedes)
            moving = [one for one in self.members.values() if one.incident == step.supersedes.id and one.firing]
            for one in moving:
                left, joins = moved(one, ident, self.now)
                self.members[(step.supersedes.id, one.problem)] = left
                self.members[(ident, one.problem)] = joins
        self._put(incident)
        self._add(incident, Action.CREATE)
        return incident

    def _member(self, incident: Incident, problem: str, severity: Severity, member: Member | None) -> Member:
        """The problem as a member that fires; `firing` of an incident stays equal to its members."""
        self.members[(incident.id, problem)] = plain_member(
            incident=incident.id,
            problem=problem,
            fingerprint=problem,
            severity=severity,
            title=problem,
            joined_at=self.now if member is None else member.joined_at,
        )
        firing = sum(one.firing for one in self.members.values() if one.incident == incident.id)
        self._put(replace(self.all[incident.id], firing=firing))
        return self.members[(incident.id, problem)]

    def _add(self, incident: Incident, action: Action) -> None:
        held = note_due_at(incident.telling, self.now) if action is Action.NOTE else self.now
        self.rows.append(
            Row(
                id=f"D{next(self.number)}",
                incident=incident.id,
                series=incident.series,
                action=action,
                key=incident.key,
                state="pending",
                phase=first_phase(action, self.key_rule),
                due_at=held,
            )
        )

    def _cancel(self, incident: Incident, action: Action) -> None:
        even_sent = action in (Action.ACKNOWLEDGE, Action.UPDATE, Action.NOTE)
        for row in self.rows:
            ours = row.incident == incident.id and row.action is action and row.state == "pending"
            if ours and (even_sent or not row.sent):
                row.state = "cancelled"

    def _put(self, incident: Incident) -> None:
        self.all[incident.id] = incident
        known = self.last.get(incident.series)
        if known is None or known.id == incident.id or incident.live:
            self.last[incident.series] = incident
