"""What only happens when things meet: storms, plan B, people and hours, over a ledger whose clock a test moves."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bridge.adapters.ledger import Claimed, Ledger
from bridge.domain.alert import Seen, Severity
from bridge.domain.decision import KeyRule, Policy
from bridge.domain.delivery import (
    Action,
    AttemptResult,
    Delivered,
    KeyIsOpen,
    NothingFound,
    PermanentFailure,
    Phase,
    Reason,
    Reference,
    TransientFailure,
    UnknownOutcome,
)
from tests.contract.test_ledger_corners import FoldingPair, urgent
from tests.contract.test_ledger_folding import DOWN, FORM, REFUSED, Lane, written
from tests.contract.test_ledger_plan_b import AFTER, OTHER, Pair, accounts, critical
from tests.contract.test_ledger_sightings import says
from tests.contract.test_ledger_truth import Moved, there
from tests.ledgers import ACCOUNT, claim, delivered, ends, finished, fires, heartbeat, record, settle, told

AGAIN = Policy(reopen_within=timedelta(minutes=15))


def oldest_wait_s(ledger: Ledger) -> float:
    (lane,) = (one for one in ledger.lanes({ACCOUNT: ("6/min", "6/min")}) if one["account"] == ACCOUNT)
    return float(lane["oldest_wait_s"] or 0)


def resolved_a_moment_ago(ledger: Ledger) -> None:
    """A critical incident that is re-opened when its problem fires again."""
    ledger.routes[ACCOUNT] = replace(ledger.routes[ACCOUNT], reopens=frozenset({"urgency"}))
    settle(ledger, critical("a", policy=AGAIN))
    record(ledger, claim(ledger), delivered("P1"))
    settle(ledger, ends("a"))
    record(ledger, claim(ledger), delivered("P1"))


def began(ledger: Ledger) -> datetime:
    return datetime.fromisoformat(ledger.incidents(limit=1).items[0]["opened_at"])


# -- plan B


def test_what_a_carrier_spoke_for_has_not_waited_and_is_not_at_plan_b_at_once(folding_pair: FoldingPair) -> None:
    """A storm's carrier is closed upstream after hours, and its folded go by themselves: nobody was late with them."""
    ledger = folding_pair.ledger
    settle(ledger, *(critical(f"x{n}") for n in range(20)))
    record(ledger, claim(ledger), delivered("P1"))
    folding_pair.later(timedelta(hours=7))
    assert ledger.swept() == 1
    record(ledger, claim(ledger), there(ledger.time()))
    folding_pair.later(timedelta(minutes=61))
    assert ledger.renewals_opened() == 1
    assert ledger.plan_b_opened() == 0
    assert oldest_wait_s(ledger) < 10
    folding_pair.later(timedelta(minutes=5))
    assert ledger.plan_b_opened() > 0, "the account had its time, and did not take them"


def test_who_resolves_a_carrier_by_hand_resolves_the_plan_b_of_all_it_carries(folding_pair: FoldingPair) -> None:
    """Each of the first two was at plan B by itself, before the storm came and the first took the other along."""
    ledger = folding_pair.ledger
    settle(ledger, critical("first"), critical("second"))
    ledger.paused(ACCOUNT)
    assert ledger.plan_b_opened() == 2
    for number in range(2):
        record(ledger, claim(ledger, OTHER), delivered(f"B{number}"))
    ledger.resumed(ACCOUNT)
    settle(ledger, *(critical(f"x{n}") for n in range(12)))
    carrier = claim(ledger)
    record(ledger, carrier, delivered("P1"))
    assert ledger.incident_resolved(carrier.delivery.incident).lanes == {ACCOUNT, OTHER}
    while (ending := ledger.claim(OTHER)) is not None:
        assert isinstance(ending, Claimed)
        assert ending.delivery.action is Action.RESOLVE
        record(ledger, ending, delivered(ending.delivery.upstream_id))
    assert [state for account, state in accounts(ledger) if account == OTHER] == ["resolved", "resolved"]


@pytest.mark.parametrize("away", ["paused", "refused", "slow"])
def test_a_critical_that_fires_again_is_at_plan_b_when_its_account_does_not_reopen_it(pair: Pair, away: str) -> None:
    ledger = pair.ledger
    resolved_a_moment_ago(ledger)
    if away == "paused":
        ledger.paused(ACCOUNT)
    settle(ledger, critical("a", policy=AGAIN))
    if away == "refused":
        record(ledger, claim(ledger), TransientFailure(reason=Reason.FORBIDDEN, detail="403"))
    if away == "slow":
        assert ledger.plan_b_opened() == 0
        pair.later(AFTER)
    assert ledger.plan_b_opened() == 1
    assert ledger.plan_b_opened() == 0
    page = claim(ledger, OTHER)
    assert page.delivery.fields["title"] == "a is down"
    assert page.delivery.fields["body"].endswith("all the details")
    record(ledger, page, delivered("B1"))
    settle(ledger, ends("a"))
    assert accounts(ledger) == [(ACCOUNT, "resolved"), (OTHER, "resolving")]


# -- alarms


class Attended(Moved):
    """A ledger whose worker and clock beat, however far a test moves its clock."""

    def alarms(self) -> list[str]:
        for kind in ("worker", "clock"):
            self.ledger.heartbeat(heartbeat(kind))
        return [cause.key for cause in self.ledger.alarms_standing({ACCOUNT: timedelta(minutes=2)})]


@pytest.fixture
def attended(ledger_url: str) -> Iterator[Attended]:
    made = Attended(ledger_url)
    yield made
    made.ledger.close()


def fails(claimed: Claimed) -> AttemptResult:
    """An upstream that makes no incidents, and finds none when asked: it answers, so that it is not down."""
    if claimed.delivery.phase is Phase.LOOK_UP:
        return NothingFound(detail="")
    return UnknownOutcome(reason=Reason.SERVER_ERROR, detail="500")


def test_a_page_that_is_tried_again_and_again_is_an_alarm(attended: Attended) -> None:
    settle(attended.ledger, critical("a"))
    while attended.ledger.time() - began(attended.ledger) < timedelta(minutes=11):
        found = attended.ledger.claim(ACCOUNT)
        if isinstance(found, Claimed):
            attended.ledger.record(finished(found, fails(found), jitter=1.0), claim_next=False)
        attended.later(timedelta(seconds=20))
    assert attended.alarms() == [f"long_wait:{ACCOUNT}"]


def test_a_page_that_waits_to_be_reopened_is_an_alarm(attended: Attended) -> None:
    ledger = attended.ledger
    resolved_a_moment_ago(ledger)
    ledger.paused(ACCOUNT)
    settle(ledger, critical("a", policy=AGAIN))
    attended.later(timedelta(minutes=9))
    assert attended.alarms() == []
    attended.later(timedelta(minutes=2))
    assert attended.alarms() == [f"long_wait:{ACCOUNT}"]


def test_a_letter_that_is_sent_again_has_not_waited_since_it_was_written(attended: Attended) -> None:
    settle(attended.ledger, critical("a"))
    create = claim(attended.ledger)
    record(attended.ledger, create, PermanentFailure(reason=Reason.REFUSED, detail="no"))
    attended.later(timedelta(hours=1))
    attended.ledger.replayed(create.delivery.id)
    assert attended.alarms() == []
    record(attended.ledger, claim(attended.ledger), TransientFailure(reason=Reason.SERVER_ERROR, detail="503"))
    assert attended.alarms() == []


# -- notes that somebody wrote


HELD = Policy(hold_resolve=timedelta(minutes=10))


def sent_within(moved: Moved | Lane, by: timedelta, *, answer: AttemptResult | None = None) -> list[Claimed]:
    """What goes out of the lane in that time; all of it works, unless it is answered otherwise."""
    sent = []
    for _ in range(by // timedelta(seconds=10)):
        moved.later(timedelta(seconds=10))
        while isinstance(found := moved.ledger.claim(ACCOUNT), Claimed):
            sent.append(found)
            record(moved.ledger, found, answer or delivered(found.delivery.upstream_id or "P1"))
    return sent


def actions(sent: list[Claimed]) -> list[tuple[str, str]]:
    return [(one.delivery.action.value, str(one.delivery.fields.get("note", ""))) for one in sent]


def noted(ledger: Ledger, **changes: Any) -> str:
    """An open incident in which a person has just said something."""
    settle(ledger, fires("a", **changes))
    record(ledger, claim(ledger), Delivered(reference=Reference(id="P1", summary="It is down.")))
    incident = str(ledger.incidents(limit=1).items[0]["id"])
    ledger.incident_noted(incident, "I restart it")
    return incident


def test_a_persons_note_is_said_when_the_incident_goes_on_after_all(moved: Moved) -> None:
    noted(moved.ledger, policy=HELD)
    settle(moved.ledger, ends("a"))
    assert actions(sent_within(moved, timedelta(minutes=2))) == []
    settle(moved.ledger, fires("a", policy=HELD))
    assert actions(sent_within(moved, timedelta(minutes=2))) == [("note", "I restart it")]
    settle(moved.ledger, ends("a"))
    settle(moved.ledger, fires("a", policy=HELD))
    assert actions(sent_within(moved, timedelta(minutes=30))) == [], "once"


@pytest.mark.parametrize("late", [False, True], ids=["after its resolve", "under its resolve"])
def test_a_persons_note_is_said_when_the_incident_is_reopened(moved: Moved, late: bool) -> None:
    ledger = moved.ledger
    ledger.routes[ACCOUNT] = replace(ledger.routes[ACCOUNT], reopens=frozenset({"urgency"}))
    noted(ledger, policy=AGAIN)
    settle(ledger, ends("a"))
    moved.later(timedelta(minutes=1))
    resolve = claim(ledger)
    if late:
        settle(ledger, fires("a", policy=AGAIN))
    record(ledger, resolve, delivered())
    if not late:
        settle(ledger, fires("a", policy=AGAIN))
    assert actions(sent_within(moved, timedelta(minutes=2))) == [("reopen", ""), ("note", "I restart it")]


def test_a_persons_note_that_may_have_arrived_is_looked_for_before_it_is_said_again(moved: Moved) -> None:
    noted(moved.ledger, policy=HELD)
    moved.later(timedelta(minutes=1))
    note = claim(moved.ledger)
    settle(moved.ledger, ends("a"))
    record(moved.ledger, note, UnknownOutcome(reason=Reason.TIMEOUT, detail="no answer"))
    settle(moved.ledger, fires("a", policy=HELD))
    again = claim(moved.ledger).delivery
    assert (again.id, again.phase) == (note.delivery.id, Phase.LOOK_UP)


def test_a_persons_note_is_added_to_the_summary_as_it_is_by_then(moved: Moved) -> None:
    ledger = moved.ledger
    ledger.routes[ACCOUNT] = replace(ledger.routes[ACCOUNT], fold=replace(FORM, body_field="summary", written=written))
    noted(ledger, policy=HELD, key_rule=KeyRule.FOR_EVER)
    settle(ledger, ends("a"))
    assert sent_within(moved, timedelta(minutes=2)) == []
    settle(ledger, fires("a", policy=HELD, key_rule=KeyRule.FOR_EVER))
    (said,) = sent_within(moved, timedelta(minutes=2))
    assert said.delivery.fields == {"note": "I restart it", "summary": "It is down."}


def test_a_persons_note_is_said_when_somebody_opens_again_what_was_closed_upstream(moved: Moved) -> None:
    noted(moved.ledger)
    for closed in (True, False):
        seen = Seen.CLOSED if closed else Seen.OPEN
        moved.later(timedelta(seconds=1))
        settle(moved.ledger, says(seen, moved.now()))
    assert actions(sent_within(moved, timedelta(minutes=2))) == [("note", "I restart it")]


def test_what_joined_a_carrier_is_said_when_that_goes_on_after_all(lane: Lane) -> None:
    lane.storm(20, policy=HELD)
    lane.sends()
    lane.storm(2, "late", policy=HELD)
    lane.later()
    assert lane.ledger.claim(ACCOUNT) is None, "they are to be told in a note"
    settle(lane.ledger, *(ends(f"x{n}") for n in range(20)), ends("late0"), ends("late1"))
    assert actions(sent_within(lane, timedelta(minutes=2))) == []
    settle(lane.ledger, fires("late0", policy=HELD))
    (note,) = actions(sent_within(lane, timedelta(minutes=2)))
    assert note == ("note", "2 more alerts of this kind:\n- error: late0 is down\n- error: late1 is down")


def test_a_list_of_what_folded_is_not_said_when_its_carrier_comes_back_alone(lane: Lane) -> None:
    lane.storm(20)
    carrier = lane.sends(DOWN)
    lane.storm(2, "late")
    lane.later()
    lane.sends(REFUSED)
    lane.ledger.replayed(carrier.delivery.id)
    sent = sent_within(lane, timedelta(minutes=10))
    assert not [one for one in sent if one.delivery.action is Action.NOTE]


# -- what people have open still


def opened_again_by_a_person(
    moved: Moved | Lane, name: str, severity: Severity, *, rose_to: Severity | None = None
) -> None:
    """Resolved by the bridge, opened again by a person, and left to people: what fires next is another episode.

    What it `rose_to` was over before it was told.
    """
    ledger = moved.ledger
    ledger.routes[ACCOUNT] = replace(ledger.routes[ACCOUNT], rises=frozenset({"urgency"}))
    settle(ledger, urgent(name, severity))
    record(ledger, claim(ledger), delivered("P1"))
    if rose_to is not None:
        settle(ledger, urgent(name, rose_to))
    settle(ledger, ends(name))
    record(ledger, claim(ledger), delivered("P1"))
    moved.later(timedelta(minutes=20))
    settle(ledger, says(Seen.OPEN, ledger.time(), upstream_id="P1"))
    assert ledger.incidents(limit=1).items[0]["reason"] == "reopened_upstream"


def adopts(moved: Moved | Lane) -> None:
    """The next create is refused, for its key is open, and the look-up finds the incident that people have open."""
    record(moved.ledger, claim(moved.ledger), KeyIsOpen(detail="matching dedup key already exists"))
    record(moved.ledger, claim(moved.ledger), delivered("P1", adopted=True))


def test_a_critical_that_meets_what_people_have_open_is_told_there(moved: Moved) -> None:
    opened_again_by_a_person(moved, "a", Severity.WARNING)
    settle(moved.ledger, urgent("a", Severity.CRITICAL))
    adopts(moved)
    sent = sent_within(moved, timedelta(minutes=1))
    assert actions(sent) == [("update", ""), ("note", "1 more alert of this kind:\n- critical: a is down")]
    assert sent[0].delivery.fields == {"urgency": "high"}


def test_a_rise_that_was_never_delivered_is_told_where_people_have_the_incident_open(moved: Moved) -> None:
    """The earlier episode is critical here and was over before its update went out: it stands there as a warning."""
    opened_again_by_a_person(moved, "a", Severity.WARNING, rose_to=Severity.CRITICAL)
    settle(moved.ledger, urgent("a", Severity.CRITICAL))
    adopts(moved)
    sent = sent_within(moved, timedelta(minutes=1))
    assert actions(sent) == [("update", ""), ("note", "1 more alert of this kind:\n- critical: a is down")]
    assert sent[0].delivery.fields == {"urgency": "high"}


@pytest.mark.parametrize("was", [Severity.CRITICAL, Severity.WARNING], ids=["stood as a critical", "as a warning"])
def test_what_rose_while_its_create_met_what_people_have_open_is_told_there_last(moved: Moved, was: Severity) -> None:
    """What the create said was told behind the rise, and took it back: a critical stood there as a warning."""
    opened_again_by_a_person(moved, "a", was)
    ledger = moved.ledger
    ledger.routes[ACCOUNT] = replace(ledger.routes[ACCOUNT], rises=frozenset({"urgency", "priority"}))
    says_low = {"title": "a is down", "service": "S", "urgency": "low", "priority": "P2"}
    settle(ledger, fires("a", severity=Severity.WARNING, parts=("x",), fields=says_low))
    record(ledger, claim(ledger), KeyIsOpen(detail="matching dedup key already exists"))
    look = claim(ledger)
    settle(ledger, fires("a", severity=Severity.CRITICAL, parts=("x",), fields={**says_low, "urgency": "high"}))
    record(ledger, look, delivered("P1", adopted=True))
    sent = [one for one in sent_within(moved, timedelta(minutes=1)) if one.delivery.action is Action.UPDATE]
    assert [one.delivery.fields for one in sent] == [{"urgency": "high", "priority": "P2"}]


def test_a_rise_says_again_what_the_create_said_and_nobody_has_heard_yet(moved: Moved) -> None:
    """The rise takes the place of the update that waits, and left out what is as in a create that was never made."""
    opened_again_by_a_person(moved, "a", Severity.WARNING)
    ledger = moved.ledger
    ledger.routes[ACCOUNT] = replace(ledger.routes[ACCOUNT], rises=frozenset({"urgency", "priority"}))
    says_high = {"title": "a is down", "service": "S", "urgency": "high", "priority": "P2"}
    settle(ledger, fires("a", severity=Severity.ERROR, parts=("x",), fields=says_high))
    adopts(moved)
    settle(ledger, fires("a", severity=Severity.CRITICAL, parts=("x",), fields={**says_high, "priority": "P1"}))
    sent = [one for one in sent_within(moved, timedelta(minutes=1)) if one.delivery.action is Action.UPDATE]
    assert [one.delivery.fields for one in sent] == [{"urgency": "high", "priority": "P1"}]


def test_what_is_no_more_severe_is_named_where_people_have_it_open_and_changes_nothing(moved: Moved) -> None:
    opened_again_by_a_person(moved, "a", Severity.CRITICAL)
    settle(moved.ledger, urgent("a", Severity.WARNING), urgent("b", Severity.WARNING))
    adopts(moved)
    (note,) = actions(sent_within(moved, timedelta(minutes=1)))
    assert note == ("note", "2 more alerts of this kind:\n- warning: a is down (2 alerts)")


def test_a_storm_that_meets_what_people_have_open_is_listed_there(lane: Lane) -> None:
    opened_again_by_a_person(lane, "a", Severity.WARNING)
    settle(lane.ledger, urgent("a", Severity.CRITICAL))
    lane.storm(20)
    adopts(lane)
    (note,) = [said for action, said in actions(sent_within(lane, timedelta(minutes=1))) if action == "note"]
    assert note.startswith("21 more alerts of this kind:\n- critical: a is down\n- error: x")


def test_a_create_that_finds_its_own_incident_says_nothing_twice(moved: Moved) -> None:
    settle(moved.ledger, fires("a"))
    record(moved.ledger, claim(moved.ledger), UnknownOutcome(reason=Reason.TIMEOUT, detail="no answer"))
    record(moved.ledger, claim(moved.ledger), delivered("P1", adopted=True))
    assert sent_within(moved, timedelta(minutes=1)) == []


def test_what_was_over_before_its_create_met_an_open_incident_is_resolved_and_not_listed(moved: Moved) -> None:
    settle(moved.ledger, fires("a"))
    create = claim(moved.ledger)
    settle(moved.ledger, ends("a"))
    record(moved.ledger, create, Delivered(reference=Reference(id="P1", made_before=True), adopted=True))
    assert actions(sent_within(moved, timedelta(minutes=2))) == [("resolve", "")]
    assert told(moved.ledger) == [("create", "adopted"), ("resolve", "delivered")]


def test_a_critical_that_meets_an_incident_nobody_here_knows_is_told_there(moved: Moved) -> None:
    """The answer to the first create never came, and it became too old; its incident is open all the same."""
    ledger = moved.ledger
    ledger.routes[ACCOUNT] = replace(ledger.routes[ACCOUNT], rises=frozenset({"urgency"}))
    settle(ledger, urgent("a", Severity.WARNING))
    record(ledger, claim(ledger), UnknownOutcome(reason=Reason.TIMEOUT, detail="no answer"))
    moved.later(timedelta(hours=25))
    assert ledger.given_up() == 1
    settle(ledger, urgent("a", Severity.CRITICAL))
    record(ledger, claim(ledger), KeyIsOpen(detail="matching dedup key already exists"))
    found = Reference(id="P1", made_before=True)
    record(ledger, claim(ledger), Delivered(reference=found, adopted=True))
    sent = sent_within(moved, timedelta(minutes=1))
    assert actions(sent) == [("update", ""), ("note", "1 more alert of this kind:\n- critical: a is down")]
    assert sent[0].delivery.fields == {"urgency": "high"}


# -- dead letters


@pytest.mark.parametrize("again", ["b", "a"], ids=["by another problem", "and is less severe now"])
def test_what_takes_the_place_of_a_dead_critical_pages_as_one_while_it_fires(moved: Moved, again: str) -> None:
    ledger = moved.ledger
    settle(ledger, urgent("a", Severity.CRITICAL))
    record(ledger, claim(ledger), REFUSED)
    settle(ledger, urgent(again, Severity.WARNING))
    create = claim(ledger).delivery
    fires_still = again == "b"
    assert (create.fields["title"], create.fields["urgency"]) == ("a is down", "high" if fires_still else "low")
