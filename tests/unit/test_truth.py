"""What a look at the upstream changes, for every state an incident can be in."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.alert import Seen, Severity, Sighted
from bridge.domain.decision import KeyRule, Outcome, Policy
from bridge.domain.delivery import Action, Reference
from bridge.domain.incident import CreateBody, Incident, IncidentState
from bridge.domain.truth import Trust, is_over_quietly, is_quiet, looks_per_round, on_looked, on_sighted

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
TRUST = Trust()
BODY = CreateBody(fields={"title": "t"}, names=(), notes=())
UNTOLD = (IncidentState.PENDING, IncidentState.SENDING, IncidentState.DEAD, IncidentState.CANCELLED)
OVER = (IncidentState.RESOLVED, IncidentState.CANCELLED)
AGES = st.none() | st.integers(-600, 86_400).map(lambda seconds: NOW - timedelta(seconds=seconds))


@st.composite
def incidents(draw: st.DrawFn) -> Incident:
    """An incident as it can stand in the ledger."""
    state = draw(st.sampled_from(IncidentState))
    quiet = state is IncidentState.RESOLVED and draw(st.booleans())
    resolving = state is IncidentState.RESOLVING
    claimed = resolving and draw(st.booleans())
    idle = state in OVER and not quiet
    firing = 0 if idle or (resolving and not claimed) else draw(st.integers(1 if quiet else 0, 3))
    return Incident(
        id="i",
        account="pd",
        series="s",
        scope="",
        rule="r",
        key="k",
        key_rule=KeyRule.WHILE_OPEN,
        key_text=None,
        episode_id="e",
        episode_n=0,
        state=state,
        live=not idle,
        severity=Severity.ERROR,
        title="t",
        policy=Policy(),
        firing=firing,
        resolve_claimed=claimed,
        renewal=BODY if quiet or (resolving and firing) or draw(st.booleans()) else None,
        upstream_id="P1",
        opened_at=NOW - timedelta(days=1),
        confirmed_at=NOW - timedelta(hours=3),
        resolved_at=NOW - timedelta(hours=1) if state is IncidentState.RESOLVED else None,
        renews_at=NOW + timedelta(minutes=30) if quiet else None,
        stands_for=draw(st.none() | st.just("other")) if state is IncidentState.OPEN else None,
    )


def is_open() -> Incident:
    return Incident(
        id="i", account="pd", series="s", scope="", rule="r", key="k", key_rule=KeyRule.WHILE_OPEN, key_text=None,
        episode_id="e", episode_n=0, state=IncidentState.OPEN, severity=Severity.ERROR, title="t", policy=Policy(),
        firing=1, renewal=BODY, upstream_id="P1", opened_at=NOW - timedelta(minutes=20), confirmed_at=NOW,
    )  # fmt: skip


def test_nothing_was_closed_before_it_was_opened() -> None:
    for never in (datetime.min.replace(tzinfo=UTC), NOW - timedelta(days=100)):  # Go writes the first for "no time"
        there = Reference(id="P1", closed=True, changed_at=never)
        over = on_looked(is_open(), there, NOW, TRUST).incident
        assert over.resolved_at == over.opened_at
        assert is_quiet(over)


@given(incident=incidents(), closed=st.booleans(), changed_at=AGES)
def test_a_look_never_leaves_an_incident_in_between(
    incident: Incident, closed: bool, changed_at: datetime | None
) -> None:
    ready = incident if incident.renewal is not None else replace(incident, renewal=BODY)
    step = on_looked(ready, Reference(id="P1", closed=closed, changed_at=changed_at), NOW, TRUST)
    after = step.incident
    if incident.state in UNTOLD:
        assert after == ready
    if closed and incident.state is IncidentState.OPEN:
        assert after.state is IncidentState.RESOLVED
    if not closed and incident.live:
        assert after.live
        assert step.cancel == ()
    assert not (step.renews and (after.live or after.firing == 0 or after.renewal is None or after.stands_for))
    if is_quiet(after):
        assert after.firing > 0
        assert after.renewal is not None
        assert after.renews_at is not None
        assert NOW < after.renews_at <= NOW + TRUST.respect_human_close
        assert not is_over_quietly(after, NOW, TRUST)
        assert is_over_quietly(after, after.renews_at, TRUST)
    assert Action.RESOLVE not in step.add or (incident.state is IncidentState.RESOLVED and not incident.live)


@given(incident=incidents(), seen=st.sampled_from(Seen), occurred_at=AGES)
def test_an_event_is_said_to_change_something_only_when_it_does(
    incident: Incident, seen: Seen, occurred_at: datetime | None
) -> None:
    sighted = Sighted(
        source="s",
        source_type="t",
        reason="r",
        payload={},
        account="pd",
        upstream_id="P1",
        seen=seen,
        occurred_at=occurred_at,
    )
    step = on_sighted(incident, sighted, NOW, TRUST, BODY)
    assert step.reason
    assert not step.renews, "a new episode is left to the clock"
    assert (step.outcome is Outcome.SIGHTED) == (step.incident != incident or bool(step.add))
    assert Action.RESOLVE not in step.add, "nobody is contradicted for what an event says"


def test_a_round_takes_a_twentieth_of_the_updates_and_one_at_least() -> None:
    assert looks_per_round(timedelta(minutes=1) / 600) == 30
    assert looks_per_round(timedelta(minutes=1)) == 1
