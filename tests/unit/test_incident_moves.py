"""Every state against every report and every outcome: the moves there are, and the picture of them."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

from bridge.domain.alert import Severity
from bridge.domain.decision import OnAcknowledge, OnResolve, Outcome, Policy
from bridge.domain.delivery import Action, NameRef, Reason, Reference
from bridge.domain.folding import afterwards, carries_on
from bridge.domain.incident import CreateBody, Incident, IncidentState, Refused, Transition
from bridge.domain.moves import FOLDING_MOVES, MOVES, picture
from bridge.domain.telling import Telling
from bridge.domain.transitions import (
    is_moot,
    may_be_worse,
    moved,
    on_acknowledged,
    on_claimed,
    on_dead,
    on_delivered,
    on_discarded,
    on_firing,
    on_key_spent,
    on_moot,
    on_not_sent,
    on_replayed,
    on_resolved,
    superseded,
)
from tests.incidents import member, plain_incident

ROOT = Path(__file__).parent.parent.parent
NOW = datetime(2026, 1, 1, tzinfo=UTC)
BODY = CreateBody(fields={}, names=(), notes=())
WORSE = CreateBody(fields={"title": "worse"}, names=(), notes=())
OVER = (IncidentState.RESOLVED, IncidentState.CANCELLED)
OWED = {  # what may be claimed, delivered, or dead in a state; the deliveries of an open incident move nothing
    IncidentState.PENDING: (Action.CREATE, Action.REOPEN),
    IncidentState.SENDING: (Action.CREATE, Action.REOPEN),
    IncidentState.OPEN: (Action.ACKNOWLEDGE, Action.UPDATE, Action.NOTE, Action.CHECK),
    IncidentState.RESOLVING: (Action.RESOLVE,),
    IncidentState.DEAD: (Action.CREATE, Action.RESOLVE),
}


def incident(state: IncidentState, **changes: Any) -> Incident:
    """One that its upstream knows, and that is re-opened within a quarter of an hour."""
    plain = {
        "live": state not in OVER,
        "policy": Policy(reopen_within=timedelta(minutes=15)),
        "upstream_id": "P1",
        "opened_at": NOW,
    }
    return plain_incident(state, **{**plain, **changes})


def variants(state: IncidentState) -> Iterator[Incident]:
    """An incident of the state, in every way that makes a difference."""
    policies = [Policy(reopen_within=timedelta(minutes=15), on_resolve=word) for word in OnResolve]
    for policy, firing, claimed, resolve_claimed, renewal, reopening in product(
        policies, (0, 1), (False, True), (False, True), (None, BODY), (False, True)
    ):
        at = NOW if reopening or state in OVER else None
        if reopening and state not in (IncidentState.PENDING, IncidentState.SENDING):
            continue
        yield incident(
            state,
            policy=policy,
            firing=firing,
            claimed=claimed,
            resolve_claimed=resolve_claimed,
            renewal=renewal,
            resolved_at=at,
        )


def after_reports(one: Incident) -> Iterator[Incident | None]:
    live, ended = (one, None) if one.live else (None, one)
    for who, severity, reopens in product((None, member(firing=False)), Severity, (False, True)):
        step = on_firing(live, who, severity, BODY, NOW, ended=ended, reopens=reopens, rise=True)
        yield step.incident if isinstance(step, Transition) else step.supersedes
    if one.firing:
        for react in (on_resolved, on_acknowledged):
            found = react(one, member(firing=True))
            yield None if found is None else found.incident


def after_outcomes(one: Incident) -> Iterator[Incident | None]:
    for action in OWED.get(one.state, ()):
        if action in (Action.CREATE, Action.REOPEN) and (action is Action.REOPEN) != one.is_reopening:
            continue
        if one.state is IncidentState.DEAD:
            for sent in (False, True):
                step = on_replayed(one, action, sent=sent)
                yield None if isinstance(step, Refused) else step.incident
            yield on_discarded(one, action, NOW)
            continue
        if one.state is not IncidentState.SENDING:
            yield on_claimed(one, action)
        yield on_dead(one, action, Reason.TOO_OLD).incident
        if one.state is IncidentState.PENDING:
            continue
        yield on_not_sent(one, action).incident
        if action is Action.CREATE:
            yield on_key_spent(one).incident
        for closed, reopens in product((False, True), (False, True)):
            yield on_delivered(one, action, Reference(id="P1", closed=closed), NOW, reopens=reopens).incident


def test_what_is_folded_ends_as_the_table_says() -> None:
    carriers = [one for state in IncidentState for one in variants(state) if not carries_on(one)]
    folded = [replace(one, firing=n) for one in variants(IncidentState.FOLDED) for n in (0, 1)]
    seen = {afterwards(one, carrier, NOW).incident.state for one in folded for carrier in carriers}
    assert seen == {after for before, after, _ in FOLDING_MOVES if before is IncidentState.FOLDED}


def test_the_moves_are_those_of_the_functions() -> None:
    seen: set[tuple[IncidentState | None, IncidentState]] = {(None, IncidentState.PENDING)}
    for state in IncidentState:
        for one in variants(state):
            for found in (*after_reports(one), *after_outcomes(one)):
                if found is not None and found.state is not state:
                    seen.add((state, found.state))
    assert seen == {(before, after) for before, after, _ in MOVES}


def test_what_is_not_live_stays_so_unless_it_is_re_opened() -> None:
    for state in OVER:
        for one in variants(state):
            for found in after_reports(one):
                assert found is None or found.state is IncidentState.PENDING


def test_no_state_but_open_is_told_of_changes() -> None:
    for state, action in product(IncidentState, (Action.UPDATE, Action.NOTE, Action.ACKNOWLEDGE)):
        assert is_moot(incident(state), action) == (state is not IncidentState.OPEN)


def test_a_higher_severity_is_told_once_to_what_is_open_and_where_the_rule_has_something_to_change() -> None:
    states = (IncidentState.SENDING, IncidentState.OPEN, IncidentState.RESOLVING)
    for state, severity, rise in product(states, (Severity.ERROR, Severity.WARNING, Severity.INFO), (False, True)):
        held = incident(state, severity=Severity.WARNING, firing=1)
        step = on_firing(held, None, severity, WORSE, NOW, rise=rise)
        assert isinstance(step, Transition)
        is_told = severity is Severity.ERROR and rise
        assert (Action.UPDATE in step.add, Action.UPDATE in step.cancel) == (is_told, is_told)
        assert step.incident.severity is (Severity.ERROR if severity is Severity.ERROR else Severity.WARNING)
        assert step.incident.telling.has_updates == is_told


def test_what_waits_to_be_re_opened_is_re_opened_with_the_words_of_its_most_severe() -> None:
    waits = incident(IncidentState.PENDING, firing=1, resolved_at=NOW, renewal=BODY)
    for severity, is_worse in ((Severity.CRITICAL, True), (Severity.ERROR, False), (Severity.WARNING, False)):
        step = on_firing(waits, None, severity, WORSE, NOW)
        assert isinstance(step, Transition)
        assert step.add == step.cancel == ((Action.REOPEN,) if is_worse else ())
        assert step.incident.renewal == (WORSE if is_worse else BODY)
        assert (step.incident.firing, step.replace_create) == (2, False)


def test_a_waiting_create_says_what_its_most_severe_says_and_one_that_speaks_for_others_is_updated_after_it() -> None:
    for folded, severity, rise in product((0, 2), (Severity.CRITICAL, Severity.WARNING), (False, True)):
        waits = incident(IncidentState.PENDING, firing=1 + folded, folded=folded)
        step = on_firing(waits, None, severity, WORSE, NOW, rise=rise)
        assert isinstance(step, Transition)
        is_worse = severity is Severity.CRITICAL
        assert step.replace_create == (is_worse and not folded)
        assert step.promotes == (is_worse and bool(folded)), "criticals go first, whatever the text says"
        is_told = is_worse and bool(folded) and rise
        assert step.add == step.cancel == ((Action.UPDATE,) if is_told else ())
        assert step.incident.telling.has_updates == is_told
        assert step.incident.severity is (Severity.CRITICAL if is_worse else Severity.ERROR)


def test_what_fires_while_its_resolve_is_sent_is_as_severe_as_what_fires_since_and_says_what_follows() -> None:
    sent = incident(IncidentState.RESOLVING, severity=Severity.CRITICAL, resolve_claimed=True)
    first = on_firing(sent, member(firing=False), Severity.WARNING, BODY, NOW, reopens=True)
    assert isinstance(first, Transition)
    assert (first.incident.severity, first.incident.renewal) == (Severity.WARNING, BODY)
    assert first.reason == "fired again while its resolve was being sent; it is re-opened after the resolve"
    for severity, worst in ((Severity.INFO, Severity.WARNING), (Severity.ERROR, Severity.ERROR)):
        second = on_firing(first.incident, None, severity, BODY, NOW)
        assert isinstance(second, Transition)
        assert second.incident.severity is worst
        assert "it becomes a new episode" in (second.reason or "")
    carrier = on_firing(replace(sent, folded=1), None, Severity.ERROR, BODY, NOW, reopens=True)
    assert isinstance(carrier, Transition)
    assert "it becomes a new episode" in (carrier.reason or ""), "what was folded into it goes by itself"


def test_what_comes_back_soon_is_re_opened_as_if_nobody_had_been_told_that_it_was_over() -> None:
    over = incident(
        IncidentState.RESOLVED,
        resolved_at=NOW,
        severity=Severity.CRITICAL,
        acknowledged=True,
        resolve_claimed=True,
        telling=Telling(flaps=1, flapping_since=NOW),
    )
    soon = NOW + timedelta(minutes=10)
    step = on_firing(None, None, Severity.WARNING, WORSE, soon, ended=over, reopens=True)
    assert isinstance(step, Transition)
    again = step.incident
    assert (again.state, again.live, again.firing, again.severity) == (IncidentState.PENDING, True, 1, Severity.WARNING)
    assert (again.acknowledged, again.resolve_claimed, again.renewal) == (False, False, WORSE)
    assert (step.add, step.revive, step.reason) == (
        (Action.REOPEN,),
        (Action.NOTE,),
        "fired again; re-opens its incident",
    )
    assert (again.telling.flaps, again.telling.note_waits) == (2, False)
    third = on_firing(
        None, None, Severity.WARNING, BODY, soon, ended=replace(over, telling=again.telling), reopens=True
    )
    assert isinstance(third, Transition)
    assert (third.add, third.incident.telling.note_waits) == ((Action.REOPEN, Action.NOTE), True)


def test_what_comes_back_within_half_an_hour_of_its_end_flaps_and_what_comes_later_does_not() -> None:
    often = Telling(flaps=4, flapping_since=NOW, flaps_told=3)
    for minutes, reopens, flaps in ((10, False, 5), (15, True, 5), (30, True, 5), (31, True, 4)):
        over = incident(IncidentState.RESOLVED, resolved_at=NOW, telling=often)
        at = NOW + timedelta(minutes=minutes)
        step = on_firing(None, None, Severity.ERROR, BODY, at, ended=over, reopens=reopens)
        assert not isinstance(step, Transition)
        assert step.telling.flaps == flaps
        assert step.follows == (over if minutes == 10 else None), "what came back too late is no sequel"


def test_only_what_was_resolved_by_its_recovery_and_is_known_upstream_goes_on() -> None:
    over = incident(IncidentState.RESOLVED, resolved_at=NOW)
    for other in (
        replace(over, upstream_id=None),
        replace(over, resolved_at=None),
        replace(over, reason=Reason.CLOSED_UPSTREAM),
        replace(over, state=IncidentState.CANCELLED),
    ):
        step = on_firing(None, None, Severity.ERROR, BODY, NOW, ended=other, reopens=True)
        assert not isinstance(step, Transition)
        assert step.follows is None


def test_a_repetition_changes_nothing_and_another_severity_joins_without_being_counted_twice() -> None:
    for state in IncidentState:
        held = incident(state, live=True, firing=2, severity=Severity.CRITICAL)
        again = on_firing(held, member(firing=True), Severity.ERROR, BODY, NOW)
        changed = on_firing(held, member(firing=True), Severity.WARNING, BODY, NOW)
        assert isinstance(again, Transition) == (state is not IncidentState.DEAD), "a dead one has to be told anew"
        if isinstance(again, Transition):
            assert (again.incident, again.outcome) == (held, Outcome.DUPLICATE)
            assert again.reason == "already a member; nothing changed"
        assert isinstance(changed, Transition) == (state not in (IncidentState.DEAD, IncidentState.CANCELLED))
        if isinstance(changed, Transition):
            assert (changed.incident.firing, changed.outcome) == (2, Outcome.JOINED)
            assert changed.incident.severity is Severity.CRITICAL


def test_a_newcomer_counts_and_takes_back_a_resolve_that_waits() -> None:
    for state in IncidentState:
        if state in (IncidentState.DEAD, IncidentState.CANCELLED):
            continue
        held = incident(state, live=True, resolve_claimed=False, firing=0 if state is IncidentState.RESOLVING else 1)
        for who in (None, member(firing=False)):
            step = on_firing(held, who, Severity.CRITICAL, WORSE, NOW, rise=True)
            assert isinstance(step, Transition)
            assert (step.incident.firing, step.outcome) == (held.firing + 1, Outcome.JOINED)
            waits = state in (IncidentState.PENDING, IncidentState.FOLDED)
            assert step.replace_create == waits, "its text is not sent yet"
            resolving = state is IncidentState.RESOLVING
            assert (Action.RESOLVE in step.cancel) == resolving
            assert step.incident.state is (IncidentState.OPEN if resolving else state)


def test_what_may_stand_upstream_already_under_its_key_is_told_a_severity_that_may_be_higher() -> None:
    for severity in Severity:
        one = incident(IncidentState.OPEN, severity=severity)
        assert may_be_worse(one, None) == (severity is Severity.CRITICAL)
        for earlier in Severity:
            before = incident(IncidentState.RESOLVED, severity=earlier)
            assert may_be_worse(one, before) == (severity.rank <= earlier.rank)


def test_a_problem_that_is_over_leaves_and_the_last_one_ends_what_was_never_sent() -> None:
    for firing, says in ((3, "left; 2 other problems keep it open"), (2, "left; 1 other problem keeps it open")):
        step = on_resolved(incident(IncidentState.OPEN, firing=firing), member(firing=True))
        assert step is not None
        assert (step.incident.state, step.incident.firing, step.reason) == (IncidentState.OPEN, firing - 1, says)
        assert (step.add, step.cancel) == ((), ())
    step = on_resolved(incident(IncidentState.PENDING, firing=1), member(firing=True))
    assert step is not None
    assert (step.incident.state, step.incident.live) == (IncidentState.CANCELLED, False)
    assert (step.incident.reason, step.outcome) == (Reason.RECOVERED, Outcome.CANCELLED)
    assert set(step.cancel) == {Action.CREATE, Action.ACKNOWLEDGE, Action.UPDATE, Action.NOTE}


def test_what_was_over_already_or_never_fired_here_ends_nothing() -> None:
    held = incident(IncidentState.OPEN, firing=1)
    for react in (on_resolved, on_acknowledged):
        assert react(None, member(firing=True)) is None
        assert react(held, None) is None
        assert react(held, member(firing=False)) is None
        assert react(replace(held, live=False), member(firing=True)) is None


def test_a_resolve_follows_the_last_problem_and_what_waited_to_be_told_is_not_told_any_more() -> None:
    waits = Telling(note_waits=True, has_updates=True)
    for state, after in (
        (IncidentState.SENDING, IncidentState.SENDING),
        (IncidentState.OPEN, IncidentState.RESOLVING),
    ):
        held = incident(state, firing=1, telling=waits, resolve_claimed=state is IncidentState.OPEN)
        step = on_resolved(held, member(firing=True))
        assert step is not None
        assert (step.incident.state, step.incident.firing) == (after, 0)
        assert (step.add, set(step.cancel)) == ((Action.RESOLVE,), {Action.UPDATE, Action.NOTE})
        assert (step.incident.telling.note_waits, step.incident.telling.unsaid) == (False, True)
        assert not step.incident.resolve_claimed, "what fires now takes the resolve back"
        quiet = on_resolved(incident(state, firing=1), member(firing=True))
        assert quiet is not None
        assert quiet.cancel == ()


def test_where_the_rule_leaves_resolving_to_people_a_note_says_once_that_it_is_over() -> None:
    for state, word, waits in product(
        (IncidentState.SENDING, IncidentState.OPEN), (OnResolve.NOTE, OnResolve.IGNORE), (False, True)
    ):
        held = incident(state, firing=1, policy=Policy(on_resolve=word), telling=Telling(note_waits=waits))
        step = on_resolved(held, member(firing=True))
        assert step is not None
        assert (step.incident.state, step.outcome) == (state, Outcome.RESOLVING)
        says = word is OnResolve.NOTE
        assert step.add == ((Action.NOTE,) if says and not waits else ())
        assert step.incident.telling == Telling(note_waits=waits or says, over=says)
        assert "to people" in (step.reason or "")


def test_what_fires_again_is_not_said_to_be_over_and_tells_what_its_resolve_had_cancelled() -> None:
    said = Telling(note_waits=True, over=True)
    step = on_firing(incident(IncidentState.OPEN, telling=said), member(firing=False), Severity.ERROR, BODY, NOW)
    assert isinstance(step, Transition)
    assert not step.incident.telling.over
    for telling, add, revive in (
        (Telling(), (), (Action.NOTE,)),
        (Telling(unsaid=True), (Action.NOTE,), (Action.NOTE,)),
        (Telling(has_updates=True), (), (Action.UPDATE, Action.NOTE)),
    ):
        for state in (IncidentState.SENDING, IncidentState.RESOLVING):
            held = incident(state, telling=telling)
            step = on_firing(held, member(firing=False), Severity.ERROR, BODY, NOW)
            assert isinstance(step, Transition)
            assert (step.cancel, step.add, step.revive) == ((Action.RESOLVE,), add, revive)
        joins = on_firing(incident(IncidentState.OPEN, telling=telling), None, Severity.ERROR, BODY, NOW)
        assert isinstance(joins, Transition)
        assert (joins.cancel, joins.add, joins.revive) == ((), (Action.NOTE,), ())


def test_one_note_waits_at_most_and_a_problem_that_goes_on_and_off_makes_one_only_when_it_is_due() -> None:
    waits = on_firing(incident(IncidentState.OPEN, telling=Telling(note_waits=True)), None, Severity.ERROR, BODY, NOW)
    assert isinstance(waits, Transition)
    assert waits.add == ()
    for flaps, add in ((1, ()), (2, (Action.NOTE,))):
        held = incident(IncidentState.OPEN, firing=1, telling=Telling(flaps=flaps, flapping_since=NOW))
        step = on_firing(held, member(firing=False), Severity.ERROR, BODY, NOW)
        assert isinstance(step, Transition)
        assert (step.add, step.incident.telling.flaps) == (add, flaps + 1)
        assert step.incident.telling.note_waits == bool(add)
        worse = on_firing(held, member(firing=True), Severity.CRITICAL, BODY, NOW)
        assert isinstance(worse, Transition)
        assert (worse.incident.telling.flaps, worse.add) == (flaps, ()), "what never stopped does not flap"


def test_an_acknowledgement_is_passed_on_once_the_incident_is_open_and_only_as_its_rule_says() -> None:
    for word, add in (
        (OnAcknowledge.ACKNOWLEDGE, (Action.ACKNOWLEDGE,)),
        (OnAcknowledge.NOTE, (Action.NOTE,)),
        (OnAcknowledge.IGNORE, ()),
    ):
        policy = Policy(on_acknowledge=word)
        early = on_acknowledged(incident(IncidentState.SENDING, firing=1, policy=policy), member(firing=True))
        assert early is not None
        assert (early.add, early.incident.acknowledged, early.outcome) == ((), True, Outcome.ACKNOWLEDGED)
        opened = on_delivered(early.incident, Action.CREATE, Reference(id="P1"), NOW)
        assert (opened.incident.state, opened.add) == (IncidentState.OPEN, add)
        step = on_acknowledged(incident(IncidentState.OPEN, firing=1, policy=policy), member(firing=True))
        assert step is not None
        assert step.add == add
        is_told = word is not OnAcknowledge.IGNORE
        assert step.outcome is (Outcome.ACKNOWLEDGED if is_told else Outcome.IGNORED)
        assert step.incident.acknowledged == is_told
        again = on_acknowledged(replace(step.incident, acknowledged=True), member(firing=True))
        assert again is not None
        assert again.add == ()


def test_what_the_upstream_has_is_known_by_its_id_and_is_open_or_resolved_as_its_problems_are() -> None:
    there = Reference(id="P9", url="https://u/9", summary="s")
    for action in (Action.CREATE, Action.REOPEN):
        sent = incident(IncidentState.SENDING, firing=1, renewal=BODY, resolved_at=NOW, upstream_id=None)
        opened = on_delivered(sent, action, there, NOW).incident
        assert (opened.state, opened.upstream_id, opened.upstream_url) == (IncidentState.OPEN, "P9", "https://u/9")
        assert (opened.confirmed_at, opened.resolved_at, opened.renewal) == (NOW, None, None)
        assert opened.summary == "s"
        over = on_delivered(replace(sent, firing=0, resolve_claimed=True), action, None, NOW).incident
        assert (over.state, over.resolve_claimed, over.confirmed_at) == (IncidentState.RESOLVING, False, NOW)
        left = replace(sent, firing=0, policy=Policy(on_resolve=OnResolve.NOTE))
        assert on_delivered(left, action, there, NOW).incident.state is IncidentState.OPEN
    kept = on_delivered(incident(IncidentState.SENDING, upstream_url="u"), Action.REOPEN, Reference(id="P1"), NOW)
    assert kept.incident.upstream_url == "u"


def test_what_fired_again_under_its_resolve_is_re_opened_where_that_can_be_and_else_a_new_episode() -> None:
    sent = incident(IncidentState.RESOLVING, firing=1, renewal=BODY, resolve_claimed=True, acknowledged=True)
    again = on_delivered(sent, Action.RESOLVE, None, NOW, reopens=True)
    assert again.incident == replace(
        sent, state=IncidentState.PENDING, acknowledged=False, resolve_claimed=False, resolved_at=NOW
    )
    assert (again.add, again.revive, again.renews) == ((Action.REOPEN,), (Action.NOTE,), False)
    for other, reopens, renews in (
        (sent, False, True),
        (replace(sent, folded=1), True, True),
        (replace(sent, firing=0), True, False),
        (replace(sent, renewal=None), True, False),
    ):
        step = on_delivered(other, Action.RESOLVE, None, NOW, reopens=reopens)
        assert (step.incident.state, step.incident.live) == (IncidentState.RESOLVED, False)
        assert (step.incident.resolved_at, step.add, step.renews) == (NOW, (), renews)


def test_a_dead_create_takes_along_what_waited_behind_it_and_a_dead_reopen_becomes_a_new_episode() -> None:
    create = on_dead(incident(IncidentState.SENDING, firing=1), Action.CREATE, Reason.TOO_OLD)
    assert (create.incident.state, create.incident.reason) == (IncidentState.DEAD, Reason.TOO_OLD)
    assert create.incident.live
    assert set(create.cancel) == {Action.RESOLVE, Action.ACKNOWLEDGE, Action.UPDATE, Action.NOTE}
    waits = incident(IncidentState.SENDING, resolved_at=NOW, renewal=BODY, telling=Telling(note_waits=True))
    fires = on_dead(replace(waits, firing=1), Action.REOPEN, Reason.TOO_OLD)
    assert (fires.incident.state, fires.incident.live, fires.renews) == (IncidentState.RESOLVED, False, True)
    assert not fires.incident.telling.note_waits
    over = on_dead(replace(waits, resolve_claimed=True), Action.REOPEN, Reason.TOO_OLD)
    assert (over.incident.state, over.incident.resolve_claimed) == (IncidentState.RESOLVING, False)
    assert (over.incident.renewal, over.renews) == (None, False)
    left = on_dead(replace(waits, policy=Policy(on_resolve=OnResolve.IGNORE)), Action.REOPEN, Reason.TOO_OLD)
    assert (left.incident.state, left.incident.live) == (IncidentState.RESOLVED, False)
    assert Action.REOPEN in left.cancel


def test_a_resolve_that_died_opens_a_new_episode_only_for_what_fires_since() -> None:
    sent = incident(IncidentState.RESOLVING, resolve_claimed=True, renewal=BODY)
    for firing, renewal, renews in ((1, BODY, True), (0, BODY, False), (1, None, False)):
        step = on_dead(replace(sent, firing=firing, renewal=renewal), Action.RESOLVE, Reason.REFUSED)
        assert (step.incident.state, step.incident.reason) == (IncidentState.DEAD, Reason.REFUSED)
        assert (step.incident.live, step.renews) == (True, renews)


def test_a_letter_that_is_sent_again_goes_on_where_it_stood() -> None:
    dead = incident(IncidentState.DEAD, firing=1, reason=Reason.TOO_OLD)
    for claimed, state in ((True, IncidentState.SENDING), (False, IncidentState.PENDING)):
        step = on_replayed(replace(dead, claimed=claimed), Action.CREATE, sent=False)
        assert isinstance(step, Transition)
        assert (step.incident.state, step.incident.reason) == (state, None)
        assert (step.add, step.revive) == ((), (Action.UPDATE, Action.NOTE))
    over = replace(dead, firing=0)
    assert isinstance(on_replayed(over, Action.CREATE, sent=False), Refused)
    step = on_replayed(over, Action.CREATE, sent=True)
    assert isinstance(step, Transition)
    assert (step.add, step.revive) == ((Action.RESOLVE,), ()), "what it opens is closed again"
    step = on_replayed(dead, Action.RESOLVE, sent=True)
    assert isinstance(step, Transition)
    assert (step.incident.state, step.incident.reason) == (IncidentState.RESOLVING, None)
    assert isinstance(on_replayed(replace(dead, live=False), Action.RESOLVE, sent=True), Refused)


def test_a_letter_that_is_put_aside_is_over_and_one_of_what_is_open_changes_nothing() -> None:
    dead = incident(IncidentState.DEAD, firing=1, reason=Reason.TOO_OLD)
    for action, state in ((Action.CREATE, IncidentState.CANCELLED), (Action.RESOLVE, IncidentState.RESOLVED)):
        over = on_discarded(dead, action, NOW)
        assert (over.state, over.live, over.resolved_at, over.reason) == (state, False, NOW, Reason.DISCARDED)
    held = incident(IncidentState.OPEN, firing=1)
    assert on_discarded(held, Action.NOTE, NOW) == held


def test_what_surely_did_not_land_waits_again_and_is_cancelled_when_its_problem_is_over() -> None:
    sent = incident(IncidentState.SENDING, firing=1, claimed=True)
    assert on_not_sent(sent, Action.CREATE).incident.state is IncidentState.PENDING
    for step in (on_not_sent(replace(sent, firing=0), Action.CREATE), on_key_spent(replace(sent, firing=0))):
        assert (step.incident.state, step.incident.live) == (IncidentState.CANCELLED, False)
        assert step.incident.reason == Reason.RECOVERED
        assert {Action.CREATE, Action.RESOLVE, Action.NOTE} <= set(step.cancel)
    by_hand = on_key_spent(replace(sent, firing=0, reason=Reason.RESOLVED_BY_HAND))
    assert by_hand.incident.reason == Reason.RESOLVED_BY_HAND
    assert on_key_spent(sent) == Transition(incident=sent)


def test_a_resolve_that_surely_did_not_land_is_taken_back_for_what_fires_since() -> None:
    sent = incident(IncidentState.RESOLVING, firing=1, resolve_claimed=True, renewal=BODY)
    back = on_not_sent(sent, Action.RESOLVE)
    assert back.incident == replace(sent, state=IncidentState.OPEN, resolve_claimed=False, renewal=None)
    assert (back.cancel, back.revive) == ((Action.RESOLVE,), (Action.UPDATE, Action.NOTE))
    over = on_not_sent(replace(sent, firing=0), Action.RESOLVE)
    assert over == Transition(incident=replace(sent, firing=0, resolve_claimed=False))
    waits = incident(IncidentState.SENDING, resolved_at=NOW, firing=1)
    assert on_not_sent(waits, Action.REOPEN).incident.state is IncidentState.PENDING
    gone = on_not_sent(replace(waits, firing=0), Action.REOPEN)
    assert (gone.incident.state, gone.incident.live) == (IncidentState.RESOLVED, False)
    unsent = on_not_sent(replace(waits, resolved_at=None, claimed=True), Action.CREATE)
    assert not unsent.incident.claimed, "its key is not used up"


def test_a_note_that_nobody_needed_any_more_is_said_if_the_incident_goes_on_after_all() -> None:
    for since, telling in ((None, Telling(note_waits=True)), (NOW, Telling(noted_at=NOW))):
        over = incident(IncidentState.RESOLVING, telling=telling)
        assert on_moot(over, Action.NOTE, since).telling.unsaid
        assert not on_moot(over, Action.NOTE, since).telling.note_waits
        assert on_moot(over, Action.UPDATE, since) == over


def test_of_every_recovery_stands_in_the_record_what_it_did_and_why_it_did_no_more() -> None:
    for state, changes, outcome, says in (
        (IncidentState.OPEN, {"firing": 2}, Outcome.RESOLVING, "left; 1 other problem keeps it open"),
        (IncidentState.PENDING, {}, Outcome.CANCELLED, "over before it was sent"),
        (IncidentState.PENDING, {"resolved_at": NOW}, Outcome.CANCELLED, "over before it was re-opened"),
        (IncidentState.SENDING, {}, Outcome.RESOLVING, "the resolve follows the create"),
        (IncidentState.FOLDED, {}, Outcome.RESOLVING, "left the incident it is folded into"),
        (IncidentState.OPEN, {}, Outcome.RESOLVING, None),
        (IncidentState.RESOLVING, {}, Outcome.RESOLVING, "its resolve is being sent"),
        (IncidentState.DEAD, {}, Outcome.IGNORED, "its incident is a dead letter; nothing was open"),
        (IncidentState.RESOLVED, {}, Outcome.RESOLVING, "somebody closed it upstream before"),
    ):
        held = incident(state, live=True, renewal=BODY, renews_at=NOW, **{"firing": 1, **changes})
        step = on_resolved(held, member(firing=True))
        assert step is not None
        assert (step.outcome, step.reason) == (outcome, says)
        if state in (IncidentState.FOLDED, IncidentState.RESOLVING, IncidentState.RESOLVED):
            assert step.incident.renewal is None, "nothing is left that a next episode would open with"
        if state is IncidentState.RESOLVED:
            assert (step.incident.live, step.incident.renews_at) == (False, None)
    assert on_resolved(incident(IncidentState.CANCELLED, live=True, firing=1), member(firing=True)) is None


def test_who_took_a_problem_that_is_not_open_upstream_is_remembered_or_has_nothing_to_take() -> None:
    for state in IncidentState:
        step = on_acknowledged(incident(state, live=True, firing=1, policy=Policy()), member(firing=True))
        if state in (IncidentState.PENDING, IncidentState.SENDING):
            assert step is not None
            assert step.reason == "remembered until the incident is open"
        elif state is IncidentState.OPEN:
            assert step is not None
            assert step.reason == "the rule does not pass acknowledgements on"
        else:
            assert step is None


def test_what_is_claimed_may_be_there_from_then_on() -> None:
    waits = incident(IncidentState.PENDING, firing=1)
    assert on_claimed(waits, Action.CREATE) == replace(waits, state=IncidentState.SENDING, claimed=True)
    again = replace(waits, resolved_at=NOW)
    assert on_claimed(again, Action.REOPEN) == replace(again, state=IncidentState.SENDING)
    resolving = incident(IncidentState.RESOLVING)
    assert on_claimed(resolving, Action.RESOLVE) == replace(resolving, resolve_claimed=True)
    for action in (Action.ACKNOWLEDGE, Action.UPDATE, Action.NOTE, Action.CHECK):
        assert on_claimed(waits, action) == waits


def test_a_re_opening_is_sent_while_one_waits_and_what_opens_closes_or_looks_always() -> None:
    for state in IncidentState:
        for resolved_at in (None, NOW):
            one = incident(state, resolved_at=resolved_at)
            waits = resolved_at is not None and state in (IncidentState.PENDING, IncidentState.SENDING)
            assert is_moot(one, Action.REOPEN) != waits
            for action in (Action.CREATE, Action.RESOLVE, Action.CHECK):
                assert is_moot(one, action) is False


def test_what_the_upstream_answers_to_a_note_is_its_text_from_then_on() -> None:
    held = incident(IncidentState.OPEN, firing=1, summary="before")
    for action in (Action.UPDATE, Action.NOTE):
        told = on_delivered(held, action, Reference(id="P1", summary="after"), NOW)
        assert told == Transition(incident=replace(held, summary="after"))
        for reference in (None, Reference(id="P1")):
            assert on_delivered(held, action, reference, NOW) == Transition(incident=held)


def test_what_is_over_for_good_is_not_cancelled_a_second_time() -> None:
    over = incident(IncidentState.SENDING, live=False)
    assert on_key_spent(over) == Transition(incident=over)
    ended = incident(IncidentState.RESOLVED, firing=1, resolve_claimed=True)
    assert on_not_sent(ended, Action.RESOLVE).incident.state is IncidentState.RESOLVED
    unsent = on_not_sent(incident(IncidentState.SENDING, claimed=True), Action.CREATE)
    assert (unsent.incident.state, unsent.incident.claimed) == (IncidentState.CANCELLED, False)


def test_what_was_told_later_replaces_those_fields_and_the_names_in_them_and_nothing_else() -> None:
    service, priority, worse = (
        NameRef(field="service", kind="service", text="S"),
        NameRef(field="priority", kind="priority", text="P3"),
        NameRef(field="priority", kind="priority", text="P1"),
    )
    first = CreateBody(
        fields={"title": "t", "service": "S", "priority": "P3"}, names=(service, priority), notes=("n",), fold_key="k"
    )
    later = CreateBody(fields={"priority": "P1"}, names=(worse,), notes=())
    assert first.changed_by(later) == replace(
        first, fields={"title": "t", "service": "S", "priority": "P1"}, names=(service, worse)
    )


def test_who_moves_to_the_next_episode_leaves_the_last_one() -> None:
    later = NOW + timedelta(minutes=1)
    left, joins = moved(member(firing=True), "next", later)
    assert left == replace(member(firing=False), left_at=later)
    assert joins == replace(member(firing=True), incident="next", joined_at=later)


def test_what_joins_forgets_nothing_that_waits_to_be_told_and_tells_a_rise_once() -> None:
    waits = Telling(note_waits=True, has_updates=True)
    for who in (None, member(firing=False), member(firing=True)):
        step = on_firing(incident(IncidentState.OPEN, firing=1, telling=waits), who, Severity.WARNING, BODY, NOW)
        assert isinstance(step, Transition)
        assert (step.incident.telling.note_waits, step.incident.telling.has_updates) == (True, True)
    resolving = incident(IncidentState.RESOLVING, telling=Telling(has_updates=True))
    step = on_firing(resolving, member(firing=False), Severity.CRITICAL, BODY, NOW, rise=True)
    assert isinstance(step, Transition)
    assert (step.add, step.revive) == ((Action.UPDATE,), (Action.NOTE,)), "the new rise says more than the old one"
    due = incident(IncidentState.OPEN, firing=1, telling=Telling(flaps=3, flapping_since=NOW))
    worse = on_firing(due, member(firing=True), Severity.CRITICAL, BODY, NOW)
    assert isinstance(worse, Transition)
    assert worse.add == ()
    unsaid = incident(IncidentState.OPEN, firing=1, telling=Telling(unsaid=True))
    again = on_firing(unsaid, member(firing=False), Severity.ERROR, BODY, NOW)
    assert isinstance(again, Transition)
    assert again.add == (), "it is said only where a resolve had cancelled it"


def test_an_acknowledgement_becomes_a_part_of_the_note_that_waits() -> None:
    policy = Policy(on_acknowledge=OnAcknowledge.NOTE)
    for waits in (False, True):
        held = incident(IncidentState.OPEN, firing=1, policy=policy, telling=Telling(note_waits=waits))
        step = on_acknowledged(held, member(firing=True))
        assert step is not None
        assert step.add == (() if waits else (Action.NOTE,))
        assert step.incident.telling == Telling(note_waits=True, acknowledged=True)
    nobody = on_delivered(incident(IncidentState.SENDING, firing=1, policy=policy), Action.CREATE, None, NOW)
    assert nobody.add == ()


def test_a_reopen_that_comes_to_nothing_takes_along_what_waited_behind_it() -> None:
    behind = {Action.RESOLVE, Action.ACKNOWLEDGE, Action.UPDATE, Action.NOTE}
    waits = incident(IncidentState.SENDING, firing=1, resolved_at=NOW, renewal=BODY)
    assert set(on_dead(waits, Action.REOPEN, Reason.TOO_OLD).cancel) == behind
    over = on_not_sent(replace(waits, firing=0), Action.REOPEN)
    assert set(over.cancel) == {Action.REOPEN, *behind}
    assert over.incident.renewal is None
    ended = replace(waits, live=False, firing=0)
    assert on_not_sent(ended, Action.REOPEN).incident == replace(ended, state=IncidentState.PENDING)


def test_a_letter_about_what_is_open_is_sent_again_and_changes_nothing() -> None:
    held = incident(IncidentState.OPEN, firing=1)
    for action in (Action.ACKNOWLEDGE, Action.REOPEN, Action.UPDATE, Action.NOTE, Action.CHECK):
        assert on_replayed(held, action, sent=False) == Transition(incident=held)


def test_a_note_that_was_written_already_is_cancelled_with_the_others_when_all_is_over() -> None:
    told = incident(IncidentState.OPEN, firing=1, telling=Telling(noted_at=NOW))
    step = on_resolved(told, member(firing=True))
    assert step is not None
    assert step.cancel == (Action.NOTE,)


def test_an_episode_in_a_dead_ones_place_goes_on_counting_how_often_it_flaps_and_leaves_it_nobody() -> None:
    dead = incident(IncidentState.DEAD, firing=2, telling=Telling(flaps=2, flapping_since=NOW, note_waits=True))
    step = on_firing(dead, None, Severity.ERROR, BODY, NOW)
    assert not isinstance(step, Transition)
    assert step.telling == Telling(flaps=2, flapping_since=NOW)
    assert step.supersedes == superseded(dead)
    assert (superseded(dead).live, superseded(dead).firing) == (False, 0)
    assert superseded(dead).reason == "superseded by a new episode"


def test_the_picture_in_the_readme_is_drawn_from_the_moves(update_golden: bool) -> None:
    path = ROOT / "bridge" / "README.md"
    text = path.read_text(encoding="utf-8")
    opening, closing = "<!-- states -->\n", "<!-- /states -->"
    held = text.partition(opening)[2].partition(closing)[0]
    drawn = f"```mermaid\n{picture()}```\n"
    if update_golden:
        path.write_text(text.replace(opening + held + closing, opening + drawn + closing), encoding="utf-8")
        return
    assert held == drawn, "bridge/README.md: draw it again with pytest --update-golden and read the diff"
