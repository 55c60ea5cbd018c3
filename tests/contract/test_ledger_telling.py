"""What an open incident is told: higher severities, problems that join, flapping; and re-opening it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bridge.adapters.ledger import Claimed, Ledger
from bridge.domain.alert import Severity, Status
from bridge.domain.decision import Change, Decided, KeyRule, OnAcknowledge, OnResolve, Policy
from bridge.domain.delivery import (
    Action,
    Delivered,
    KeySpent,
    NamedThing,
    NameRef,
    PermanentFailure,
    Reason,
    Reference,
    TransientFailure,
)
from tests.ledgers import (
    MovedDatabase,
    claim,
    delivered,
    ends,
    finished,
    fires,
    ledger_of,
    record,
    route,
    services,
    settle,
    states,
    told,
    webhook,
)

REFUSED = PermanentFailure(reason=Reason.BAD_REQUEST, detail="no")
BUSY = TransientFailure(reason=Reason.RATE_LIMITED, detail="later", retry_after_s=0.0)
TIMED_OUT = TransientFailure(reason=Reason.TIMEOUT, detail="no answer")
RISES = frozenset({"urgency", "priority"})
FIFTEEN = Policy(reopen_within=timedelta(minutes=15))


class Moved(Ledger):
    """A ledger whose clock a test moves on."""

    def later(self, **by: float) -> None:
        database = self.database
        assert isinstance(database, MovedDatabase)
        database.ahead += timedelta(**by)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Moved]:
    """`pd` is told of rises and can re-open; `io` can do neither but by its summary."""
    routes = {"pd": route(rises=RISES, reopens=RISES), "io": route("io", rises=frozenset({"severity"}))}
    opened = ledger_of(MovedDatabase(ledger_url), **routes)
    moved = Moved(opened.database, routes)
    yield moved
    moved.close()


def of_one(name: str, severity: Severity = Severity.ERROR, **more: Any) -> Decided:
    """A problem of the one series that these tests are about; its urgency follows its severity."""
    fields = {"title": f"{name} is down", "service": "S", "urgency": "high" if severity is Severity.CRITICAL else "low"}
    return fires(name, parts=("x",), severity=severity, fields=more.pop("fields", fields), **more)


def at_io(name: str, severity: Severity = Severity.ERROR, **more: Any) -> Decided:
    fields = {"name": f"{name} is down", "summary": "what is known", "severity": severity.value}
    return fires(name, parts=("x",), severity=severity, fields=fields, account="io", key_rule=KeyRule.FOR_EVER, **more)


def opened(ledger: Ledger, **more: Any) -> None:
    settle(ledger, of_one("a", **more))
    record(ledger, claim(ledger), delivered("P1"))


def claimed_actions(ledger: Ledger, lane: str = "pd") -> list[Action]:
    """Claim and deliver all that is due."""
    actions = []
    while isinstance(found := ledger.claim(lane), Claimed):
        actions.append(found.delivery.action)
        record(ledger, found, delivered("P1"))
    return actions


def waiting(ledger: Ledger) -> list[str]:
    return [action for action, state in told(ledger) if state == "pending"]


# -- a higher severity


def test_a_joining_report_of_higher_severity_changes_what_differs(ledger: Moved) -> None:
    opened(ledger)
    assert settle(ledger, of_one("b", Severity.CRITICAL)) == ["joined"]
    update = claim(ledger).delivery
    assert (update.action, update.upstream_id, update.fields) == (Action.UPDATE, "P1", {"urgency": "high"})


def test_a_problem_that_gets_worse_itself_changes_it_too(ledger: Moved) -> None:
    opened(ledger)
    settle(ledger, of_one("a", Severity.CRITICAL))
    assert waiting(ledger) == ["update"]


def test_the_same_or_a_lower_severity_changes_nothing(ledger: Moved) -> None:
    opened(ledger)
    settle(ledger, of_one("a", Severity.WARNING))
    settle(ledger, of_one("b"))
    assert waiting(ledger) == ["note"]


def test_a_rise_that_leaves_every_field_as_it_is_sends_nothing(ledger: Moved) -> None:
    opened(ledger, fields={"title": "x", "service": "S", "urgency": "high"})
    settle(ledger, of_one("a", Severity.CRITICAL))
    assert waiting(ledger) == []


def test_what_the_rule_says_of_a_rise_is_sent_as_it_is(ledger: Moved) -> None:
    opened(ledger)
    names = (NameRef(field="priority", kind="priority", text="P1"),)
    rise = Change(fields={"urgency": "low", "escalation_level": "2", "priority": "P1"}, names=names, notes=())
    settle(ledger, of_one("a", Severity.CRITICAL, rise=rise))
    ledger.names_stored("pd", "priority", [])
    assert claim(ledger).delivery.fields == rise.fields


def test_a_rise_goes_with_the_names_it_says_and_waits_for_no_others(ledger: Moved) -> None:
    opened(ledger)
    fields = {"title": "b is down", "service": "S", "urgency": "low", "priority": "P1"}
    names = (NameRef(field="priority", kind="priority", text="P1"), services())
    ledger.names_stored("pd", "priority", [NamedThing(id="id-p1", name="P1")])
    settle(ledger, of_one("b", Severity.CRITICAL, fields=fields, names=names))
    assert claim(ledger).delivery.ids == {"priority": "id-p1"}, "nobody has fetched the services"


def test_a_rule_that_ignores_rises_sends_nothing(ledger: Moved) -> None:
    opened(ledger)
    settle(ledger, of_one("a", Severity.CRITICAL, rise=Change(fields={}, names=(), notes=())))
    assert waiting(ledger) == []


def test_two_rises_make_one_update_the_newer(ledger: Moved) -> None:
    settle(ledger, of_one("a", Severity.WARNING))
    record(ledger, claim(ledger), delivered("P1"))
    middle = Change(fields={"urgency": "low", "priority": "P2"}, names=(), notes=())
    settle(ledger, of_one("a", Severity.ERROR, rise=middle))
    settle(ledger, of_one("a", Severity.CRITICAL))
    assert told(ledger)[1:] == [("update", "cancelled"), ("update", "pending")]
    assert claim(ledger).delivery.fields == {"urgency": "high"}


def test_two_rises_in_one_batch_make_one_update(ledger: Moved) -> None:
    settle(ledger, of_one("a", Severity.INFO))
    record(ledger, claim(ledger), delivered("P1"))
    middle = Change(fields={"priority": "P2"}, names=(), notes=())
    ledger.settle(
        [
            webhook(ledger, of_one("a", Severity.WARNING, rise=middle)),
            webhook(ledger, of_one("a", Severity.CRITICAL)),
        ]
    )
    assert waiting(ledger) == ["update"]


def test_an_update_in_flight_is_followed_by_the_newer_and_not_repeated(ledger: Moved) -> None:
    settle(ledger, of_one("a", Severity.WARNING))
    record(ledger, claim(ledger), delivered("P1"))
    middle = Change(fields={"priority": "P2"}, names=(), notes=())
    settle(ledger, of_one("a", Severity.ERROR, rise=middle))
    first = claim(ledger)
    settle(ledger, of_one("a", Severity.CRITICAL))
    assert record(ledger, first, BUSY).reason is Reason.SUPERSEDED
    ledger.later(seconds=2)  # the lane is parked for one
    assert claim(ledger).delivery.fields == {"urgency": "high"}


def test_an_update_never_overtakes_its_create(ledger: Moved) -> None:
    settle(ledger, of_one("a"))
    create = claim(ledger)
    settle(ledger, of_one("a", Severity.CRITICAL))
    assert ledger.claim("pd") is None
    record(ledger, create, delivered("P1"))
    assert claim(ledger).delivery.action is Action.UPDATE


def test_an_incident_that_resolves_first_is_not_updated(ledger: Moved) -> None:
    opened(ledger)
    settle(ledger, of_one("b", Severity.CRITICAL))
    settle(ledger, ends("a"), ends("b"))
    assert told(ledger)[1:] == [("update", "cancelled"), ("note", "cancelled"), ("resolve", "pending")]


def test_an_update_that_failed_while_the_problem_ended_is_not_sent_again(ledger: Moved) -> None:
    opened(ledger)
    settle(ledger, of_one("a", Severity.CRITICAL))
    update = claim(ledger)
    settle(ledger, ends("a"))
    record(ledger, update, TIMED_OUT)
    assert claimed_actions(ledger) == [Action.RESOLVE]


def test_a_problem_that_comes_back_before_the_resolve_went_out_has_its_update_after_all(ledger: Moved) -> None:
    opened(ledger)
    settle(ledger, of_one("a", Severity.CRITICAL))
    settle(ledger, ends("a"))
    settle(ledger, of_one("a", Severity.CRITICAL))
    assert waiting(ledger) == ["update"]
    assert claim(ledger).delivery.fields == {"urgency": "high"}


def test_a_rise_while_it_waits_is_in_the_create_and_needs_no_update(ledger: Moved) -> None:
    settle(ledger, of_one("a"))
    settle(ledger, of_one("b", Severity.CRITICAL))
    create = claim(ledger)
    assert create.delivery.fields["urgency"] == "high"
    record(ledger, create, delivered("P1"))
    assert ledger.claim("pd") is None


# -- problems that join


def test_a_storm_of_joins_is_one_note_with_a_bounded_text(ledger: Moved) -> None:
    opened(ledger)
    for number in range(40):
        settle(ledger, of_one(f"n{number:02}"))
    assert waiting(ledger) == ["note"]
    ledger.later(seconds=11)
    note = claim(ledger).delivery
    names = ", ".join(f"n{number:02} is down" for number in range(10))
    assert note.fields == {"note": f"40 more problems joined: {names} and 30 more"}


def test_the_most_severe_are_named_first(ledger: Moved) -> None:
    opened(ledger, fields={"title": "x", "service": "S", "urgency": "high"})
    settle(ledger, of_one("low", Severity.INFO), of_one("high", Severity.CRITICAL))
    ledger.later(seconds=11)
    assert claim(ledger).delivery.fields["note"] == "2 more problems joined: high is down, low is down"


def test_the_next_note_waits_a_minute_and_tells_what_is_new(ledger: Moved) -> None:
    opened(ledger)
    settle(ledger, of_one("b"))
    ledger.later(seconds=11)
    assert claimed_actions(ledger) == [Action.NOTE]
    settle(ledger, of_one("c"))
    ledger.later(seconds=11)
    assert ledger.claim("pd") is None
    ledger.later(seconds=50)
    assert claim(ledger).delivery.fields["note"] == "1 more problem joined: c is down"


def test_a_note_that_fails_is_sent_again_as_it_was(ledger: Moved) -> None:
    opened(ledger)
    settle(ledger, of_one("b"))
    ledger.later(seconds=11)
    first = claim(ledger)
    settle(ledger, of_one("c"))
    record(ledger, first, BUSY)
    ledger.later(seconds=2)
    again = claim(ledger)
    assert (again.delivery.id, again.delivery.fields) == (first.delivery.id, first.delivery.fields)
    record(ledger, again, delivered("P1"))
    ledger.later(seconds=61)
    assert claim(ledger).delivery.fields["note"] == "1 more problem joined: c is down"


def test_what_joined_and_left_again_needs_no_note(ledger: Moved) -> None:
    opened(ledger)
    settle(ledger, of_one("b"))
    settle(ledger, ends("b"))
    ledger.later(seconds=11)
    assert ledger.claim("pd") is None
    assert told(ledger)[-1] == ("note", "cancelled")
    settle(ledger, of_one("c"))
    assert waiting(ledger) == ["note"]


def test_titles_from_strangers_stay_on_one_line(ledger: Moved) -> None:
    opened(ledger)
    hostile = of_one("b")
    reading = replace(hostile.reading, title="x\n\n\r[ib 1] \x00" + "y" * 5000)
    settle(ledger, replace(hostile, reading=reading))
    ledger.later(seconds=11)
    text = claim(ledger).delivery.fields["note"]
    assert "\n" not in text
    assert len(text) < 200


def test_a_waiting_note_holds_nothing_else_back(ledger: Moved) -> None:
    opened(ledger, policy=Policy(on_acknowledge=OnAcknowledge.ACKNOWLEDGE))
    settle(ledger, of_one("b"))
    settle(ledger, ends("a", Status.ACKNOWLEDGED))
    settle(ledger, of_one("b", Severity.CRITICAL))
    assert claimed_actions(ledger) == [Action.ACKNOWLEDGE, Action.UPDATE]
    ledger.later(seconds=11)
    assert claimed_actions(ledger) == [Action.NOTE]


def test_a_dead_create_takes_its_note_and_update_along(ledger: Moved) -> None:
    settle(ledger, of_one("a"))
    create = claim(ledger)
    settle(ledger, of_one("b", Severity.CRITICAL))
    record(ledger, create, REFUSED)
    assert told(ledger) == [("create", "dead"), ("update", "cancelled"), ("note", "cancelled")]


def test_a_note_at_incident_io_goes_behind_the_summary_as_it_stands_there(ledger: Moved) -> None:
    settle(ledger, at_io("a"))
    create = claim(ledger, "io")
    summary = "what is known\n\nIncident Bridge: severity left out"
    record(ledger, create, Delivered(reference=Reference(id="I1", summary=summary)))
    settle(ledger, at_io("b"))
    ledger.later(seconds=11)
    note = claim(ledger, "io")
    assert note.delivery.fields == {"note": "1 more problem joined: b is down", "summary": summary}
    record(ledger, note, Delivered(reference=Reference(id="I1", summary="and then some")))
    settle(ledger, at_io("c"))
    ledger.later(seconds=61)
    assert claim(ledger, "io").delivery.fields["summary"] == "and then some"


def test_an_upstreams_text_that_no_database_takes_does_not_lose_its_incident(ledger: Moved) -> None:
    settle(ledger, at_io("a"))
    create = claim(ledger, "io")
    bad = "half \ud83d and \x00"
    answer = Delivered(reference=Reference(id="I1", summary=bad, url=f"https://io.example/{bad}"), detail=bad)
    ledger.record(replace(finished(create, answer), request_id=bad, response=bad), claim_next=False)
    assert states(ledger) == ["open"]
    (sent,) = ledger.deliveries(limit=9).items
    whole = ledger.delivery(sent["id"])
    assert whole is not None
    assert [one["request_id"] for one in whole["attempts"]] == ["half ? and \ufffd"]
    settle(ledger, at_io("b"))
    ledger.later(seconds=11)
    assert claim(ledger, "io").delivery.fields["summary"] == "half ? and \ufffd"


def test_without_knowing_the_summary_it_is_not_overwritten(ledger: Moved) -> None:
    settle(ledger, at_io("a"))
    record(ledger, claim(ledger, "io"), Delivered(reference=Reference(id="I1")))
    settle(ledger, at_io("b"))
    ledger.later(seconds=11)
    assert ledger.claim("io") is None
    (note,) = [one for one in ledger.deliveries(limit=9).items if one["action"] == "note"]
    assert note["state"] == "cancelled"


def test_after_a_spent_key_update_and_note_follow_the_next_create(ledger: Moved) -> None:
    settle(ledger, at_io("a", episode="e"))
    create = claim(ledger, "io")
    settle(ledger, at_io("b", Severity.CRITICAL, episode="e"))
    record(ledger, create, KeySpent(reference=Reference(id="old", closed=True), detail="closed"))
    ledger.later(seconds=11)
    seen = []
    while isinstance(found := ledger.claim("io"), Claimed):
        seen.append((found.delivery.action, found.delivery.upstream_id))
        record(ledger, found, Delivered(reference=Reference(id="I1", summary="s")))
    assert seen == [(Action.CREATE, None), (Action.UPDATE, "I1"), (Action.NOTE, "I1")]


def test_who_joins_by_an_older_time_than_the_last_note_is_told_and_once(ledger: Moved) -> None:
    """Its transaction began first and came second, or a clock was set back meanwhile."""
    opened(ledger)
    settle(ledger, of_one("b"))
    ledger.later(seconds=11)
    assert claimed_actions(ledger) == [Action.NOTE]
    ledger.later(seconds=-5)
    settle(ledger, of_one("c"))
    ledger.later(seconds=66)
    settle(ledger, of_one("d"))
    note = claim(ledger)
    assert note.delivery.fields["note"] == "2 more problems joined: c is down, d is down"
    record(ledger, note, delivered("P1"))


# -- re-opening


def resolved(ledger: Ledger, **more: Any) -> None:
    opened(ledger, **more)
    settle(ledger, ends("a"))
    record(ledger, claim(ledger), delivered("P1"))


def test_firing_within_the_time_re_opens_the_same_incident(ledger: Moved) -> None:
    resolved(ledger, policy=FIFTEEN)
    ledger.later(minutes=14)
    assert settle(ledger, of_one("a", Severity.CRITICAL, policy=FIFTEEN)) == ["joined"]
    reopen = claim(ledger)
    assert (reopen.delivery.action, reopen.delivery.upstream_id) == (Action.REOPEN, "P1")
    assert reopen.delivery.fields == {"urgency": "high"}
    record(ledger, reopen, delivered("P1"))
    assert states(ledger) == ["open"]
    settle(ledger, ends("a"))
    assert claimed_actions(ledger) == [Action.RESOLVE]
    assert states(ledger) == ["resolved"]


def test_after_that_time_it_is_a_new_incident(ledger: Moved) -> None:
    resolved(ledger, policy=FIFTEEN)
    ledger.later(minutes=16)
    assert settle(ledger, of_one("a", policy=FIFTEEN)) == ["opened"]
    assert states(ledger) == ["resolved", "pending"]


def test_over_before_it_was_re_opened_stays_resolved(ledger: Moved) -> None:
    resolved(ledger, policy=FIFTEEN)
    settle(ledger, of_one("a", policy=FIFTEEN))
    assert settle(ledger, ends("a")) == ["cancelled"]
    assert (states(ledger), ledger.claim("pd")) == (["resolved"], None)
    assert settle(ledger, of_one("a", policy=FIFTEEN)) == ["joined"]
    assert claim(ledger).delivery.action is Action.REOPEN


def test_over_while_it_is_re_opened_is_resolved_behind_it(ledger: Moved) -> None:
    resolved(ledger, policy=FIFTEEN)
    settle(ledger, of_one("a", policy=FIFTEEN))
    reopen = claim(ledger)
    settle(ledger, ends("a"))
    record(ledger, reopen, delivered("P1"))
    assert claimed_actions(ledger) == [Action.RESOLVE]


def test_a_higher_severity_before_it_is_re_opened_goes_along(ledger: Moved) -> None:
    resolved(ledger, policy=FIFTEEN)
    settle(ledger, of_one("a", policy=FIFTEEN))
    settle(ledger, of_one("b", Severity.CRITICAL, policy=FIFTEEN))
    assert waiting(ledger) == ["reopen"]
    assert claim(ledger).delivery.fields == {"urgency": "high"}


def test_what_the_upstream_will_not_re_open_becomes_a_new_incident(ledger: Moved) -> None:
    resolved(ledger, policy=FIFTEEN)
    settle(ledger, of_one("a", policy=FIFTEEN), of_one("b", policy=FIFTEEN))
    record(ledger, claim(ledger), REFUSED)
    assert states(ledger) == ["resolved", "pending"]
    create = claim(ledger)
    assert create.delivery.action is Action.CREATE
    assert create.delivery.notes == ("the same problem had an incident a short while ago: https://upstream.example/P1",)
    record(ledger, create, delivered("P2"))
    settle(ledger, ends("a"))
    assert waiting(ledger) == []
    settle(ledger, ends("b"))
    assert waiting(ledger) == ["resolve"]


def test_a_re_opening_nobody_knows_the_end_of_is_resolved_all_the_same(ledger: Moved) -> None:
    resolved(ledger, policy=FIFTEEN)
    settle(ledger, of_one("a", policy=FIFTEEN))
    record(ledger, claim(ledger), TIMED_OUT)
    settle(ledger, ends("a"))
    assert claimed_actions(ledger) == [Action.REOPEN, Action.RESOLVE]


def test_where_it_cannot_be_re_opened_the_new_one_names_the_old(ledger: Moved) -> None:
    settle(ledger, at_io("a", policy=FIFTEEN))
    record(ledger, claim(ledger, "io"), delivered("I1"))
    settle(ledger, ends("a"))
    record(ledger, claim(ledger, "io"), delivered("I1"))
    settle(ledger, at_io("a", policy=FIFTEEN))
    create = claim(ledger, "io").delivery
    assert create.notes == ("the same problem had an incident a short while ago: https://upstream.example/I1",)


def test_fired_again_while_its_resolve_was_sent_is_re_opened_on_the_answer(ledger: Moved) -> None:
    opened(ledger)
    settle(ledger, ends("a"))
    resolve = claim(ledger)
    settle(ledger, of_one("a", Severity.CRITICAL))
    record(ledger, resolve, delivered("P1"))
    assert claimed_actions(ledger) == [Action.REOPEN]
    assert states(ledger) == ["open"]


def test_a_resolve_whose_answer_was_lost_may_have_worked(ledger: Moved) -> None:
    opened(ledger)
    settle(ledger, ends("a"))
    record(ledger, claim(ledger), TIMED_OUT)
    settle(ledger, of_one("a"))
    assert claimed_actions(ledger) == [Action.RESOLVE, Action.REOPEN]


def test_an_acknowledgement_before_it_is_re_opened_is_passed_on_after(ledger: Moved) -> None:
    policy = Policy(reopen_within=timedelta(minutes=15), on_acknowledge=OnAcknowledge.ACKNOWLEDGE)
    resolved(ledger, policy=policy)
    settle(ledger, of_one("a", policy=policy))
    settle(ledger, ends("a", Status.ACKNOWLEDGED))
    assert claimed_actions(ledger) == [Action.REOPEN, Action.ACKNOWLEDGE]


@pytest.mark.parametrize("on_resolve", OnResolve)
def test_only_what_was_resolved_is_re_opened(ledger: Moved, on_resolve: OnResolve) -> None:
    policy = Policy(reopen_within=timedelta(minutes=15), on_resolve=on_resolve)
    opened(ledger, policy=policy)
    settle(ledger, ends("a"))
    done = claimed_actions(ledger)
    settle(ledger, of_one("a", policy=policy))
    assert claimed_actions(ledger) == ([Action.REOPEN] if done else [])


# -- said, not done


SAYS = Policy(on_resolve=OnResolve.NOTE, on_acknowledge=OnAcknowledge.NOTE)


def notes_told(ledger: Moved, lane: str = "pd") -> list[str]:
    """The texts of the notes that are due now, delivered."""
    ledger.later(seconds=61)
    said = []
    while isinstance(found := ledger.claim(lane), Claimed):
        assert found.delivery.action is Action.NOTE
        said.append(found.delivery.fields["note"])
        record(ledger, found, delivered("P1"))
    return said


def test_its_last_problem_over_is_said_and_the_incident_left_open(ledger: Moved) -> None:
    opened(ledger, policy=SAYS)
    settle(ledger, of_one("b", policy=SAYS))
    notes_told(ledger)
    assert settle(ledger, ends("a")) == ["resolving"]
    assert waiting(ledger) == []
    settle(ledger, ends("b"))
    assert notes_told(ledger) == ["every problem of this incident is over; it is left open, as its rule says"]
    assert states(ledger) == ["open"]


def test_a_rule_may_say_it_in_its_own_words(ledger: Moved) -> None:
    opened(ledger, policy=replace(SAYS, resolution="recovered, close it when the customer agrees"))
    settle(ledger, ends("a"))
    assert notes_told(ledger) == ["recovered, close it when the customer agrees"]


def test_over_and_firing_again_before_it_was_said_says_nothing(ledger: Moved) -> None:
    opened(ledger, policy=SAYS)
    settle(ledger, ends("a"))
    settle(ledger, of_one("a", policy=SAYS))
    assert notes_told(ledger) == []
    settle(ledger, ends("a"))
    assert len(notes_told(ledger)) == 1


def test_over_while_the_create_is_on_its_way_is_said_after_it(ledger: Moved) -> None:
    settle(ledger, of_one("a", policy=SAYS))
    create = claim(ledger)
    settle(ledger, ends("a"))
    record(ledger, create, delivered("P1"))
    assert notes_told(ledger) == ["every problem of this incident is over; it is left open, as its rule says"]


def test_the_first_acknowledgement_is_said_once(ledger: Moved) -> None:
    opened(ledger, policy=SAYS)
    settle(ledger, of_one("b", policy=SAYS))
    notes_told(ledger)
    for name in ("a", "b"):
        assert settle(ledger, ends(name, Status.ACKNOWLEDGED)) == ["acknowledged"]
    assert notes_told(ledger) == ["somebody acknowledged it at the sender"]


def test_an_acknowledgement_before_the_incident_is_open_is_said_when_it_is(ledger: Moved) -> None:
    settle(ledger, of_one("a", policy=SAYS))
    settle(ledger, ends("a", Status.ACKNOWLEDGED))
    record(ledger, claim(ledger), delivered("P1"))
    assert notes_told(ledger) == ["somebody acknowledged it at the sender"]


def test_what_joined_and_what_is_over_is_one_note(ledger: Moved) -> None:
    opened(ledger, policy=SAYS)
    settle(ledger, of_one("b", policy=SAYS), of_one("c", policy=SAYS))
    settle(ledger, ends("a", Status.ACKNOWLEDGED))
    (said,) = notes_told(ledger)
    assert said.splitlines() == [
        "2 more problems joined: b is down, c is down",
        "somebody acknowledged it at the sender",
    ]


def test_a_note_that_a_resolve_took_away_is_told_when_the_incident_goes_on(ledger: Moved) -> None:
    opened(ledger)
    settle(ledger, of_one("b"))
    settle(ledger, ends("a"))
    settle(ledger, ends("b"))
    assert waiting(ledger) == ["resolve"]
    settle(ledger, of_one("b"))
    assert notes_told(ledger) == ["1 more problem joined: b is down"]
    settle(ledger, of_one("b"))
    assert waiting(ledger) == []


def test_a_worded_note_that_a_resolve_took_away_is_told_when_the_incident_goes_on(ledger: Moved) -> None:
    opened(ledger)
    settle(ledger, of_one("b"))
    ledger.later(seconds=11)
    on_its_way = claim(ledger)
    settle(ledger, ends("a"))
    settle(ledger, ends("b"))
    record(ledger, on_its_way, BUSY)
    settle(ledger, of_one("b"), of_one("c"))
    assert notes_told(ledger) == ["2 more problems joined: b is down, c is down"]


def test_a_note_that_was_told_is_not_told_again_when_a_resolve_is_taken_back(ledger: Moved) -> None:
    opened(ledger)
    settle(ledger, of_one("b"))
    assert notes_told(ledger) == ["1 more problem joined: b is down"]
    settle(ledger, ends("a"))
    settle(ledger, ends("b"))
    settle(ledger, of_one("b"))
    assert waiting(ledger) == []


# -- flapping


def test_the_third_time_it_comes_back_makes_one_note(ledger: Moved) -> None:
    opened(ledger)
    settle(ledger, of_one("steady"))
    ledger.later(seconds=11)
    assert claimed_actions(ledger) == [Action.NOTE]
    for _ in range(7):
        settle(ledger, ends("a"))
        ledger.later(minutes=2)
        settle(ledger, of_one("a"))
    assert waiting(ledger) == ["note"]
    assert claim(ledger).delivery.fields == {"note": "flapped 7 times in 12 min"}


def test_twice_is_no_flapping(ledger: Moved) -> None:
    opened(ledger)
    for _ in range(2):
        settle(ledger, ends("a"))
        settle(ledger, of_one("a"))
    assert waiting(ledger) == []


def test_flapping_through_re_openings_is_said_in_the_incident(ledger: Moved) -> None:
    resolved(ledger, policy=FIFTEEN)
    for _ in range(3):
        settle(ledger, of_one("a", policy=FIFTEEN))
        assert claimed_actions(ledger) == [Action.REOPEN]
        ledger.later(minutes=1)
        if waiting(ledger):
            assert claim(ledger).delivery.fields == {"note": "flapped 3 times in 3 min"}
            return
        settle(ledger, ends("a"))
        assert claimed_actions(ledger) == [Action.RESOLVE]
    pytest.fail("nothing was said")


def test_flapping_from_episode_to_episode_is_said_in_the_next_one(ledger: Moved) -> None:
    resolved(ledger)
    for _ in range(2):
        settle(ledger, of_one("a"))
        assert claimed_actions(ledger) == [Action.CREATE]
        settle(ledger, ends("a"))
        assert claimed_actions(ledger) == [Action.RESOLVE]
        ledger.later(minutes=5)
    settle(ledger, of_one("a"))
    assert claim(ledger).delivery.notes == ("it flapped 3 times in 10 min",)


def test_a_held_resolve_is_cancelled_by_firing_again(ledger: Moved) -> None:
    opened(ledger, policy=Policy(hold_resolve=timedelta(minutes=5)))
    settle(ledger, ends("a"))
    ledger.later(minutes=4)
    assert ledger.claim("pd") is None
    settle(ledger, of_one("a"))
    ledger.later(minutes=4)
    assert (ledger.claim("pd"), states(ledger)) == (None, ["open"])
