"""Every state against every report and every outcome: the moves there are, and the picture of them."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

from bridge.domain.alert import Severity
from bridge.domain.decision import KeyRule, OnResolve, Policy
from bridge.domain.delivery import Action, Reason, Reference
from bridge.domain.folding import afterwards, carries_on
from bridge.domain.incident import CreateBody, Incident, IncidentState, Member, Refused, Transition
from bridge.domain.moves import FOLDING_MOVES, MOVES, picture
from bridge.domain.transitions import (
    is_moot,
    on_acknowledged,
    on_claimed,
    on_dead,
    on_delivered,
    on_discarded,
    on_firing,
    on_key_spent,
    on_not_sent,
    on_replayed,
    on_resolved,
)

ROOT = Path(__file__).parent.parent.parent
NOW = datetime(2026, 1, 1, tzinfo=UTC)
BODY = CreateBody(fields={}, names=(), notes=())
OVER = (IncidentState.RESOLVED, IncidentState.CANCELLED)
OWED = {  # what may be claimed, delivered, or dead in a state; the deliveries of an open incident move nothing
    IncidentState.PENDING: (Action.CREATE, Action.REOPEN),
    IncidentState.SENDING: (Action.CREATE, Action.REOPEN),
    IncidentState.OPEN: (Action.ACKNOWLEDGE, Action.UPDATE, Action.NOTE, Action.CHECK),
    IncidentState.RESOLVING: (Action.RESOLVE,),
    IncidentState.DEAD: (Action.CREATE, Action.RESOLVE),
}


def incident(state: IncidentState, **changes: object) -> Incident:
    plain = Incident(
        id="i",
        account="pd",
        series="x",
        scope="",
        rule="r",
        key="k",
        key_rule=KeyRule.WHILE_OPEN,
        key_text=None,
        episode_id="e",
        episode_n=0,
        state=state,
        live=state not in OVER,
        severity=Severity.ERROR,
        title="t",
        policy=Policy(reopen_within=timedelta(minutes=15)),
        upstream_id="P1",
        opened_at=NOW,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


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


def member(*, firing: bool) -> Member:
    return Member(
        incident="i",
        problem="p",
        source="s",
        fingerprint="f",
        firing=firing,
        severity=Severity.ERROR,
        title="t",
        joined_at=NOW,
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
