"""The ledger keeps its promises on SQLite and on PostgreSQL alike: settle, claim, record, serialised per series."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import delete, update

from bridge.adapters.ledger import Ledger, NamesNeeded, Recorded
from bridge.adapters.ledger.letters import LetterError
from bridge.adapters.ledger.schema import deliveries, lanes
from bridge.domain.alert import Severity, Status
from bridge.domain.decision import KeyRule, OnAcknowledge, Policy
from bridge.domain.delivery import (
    Action,
    DeliveryState,
    KeyIsOpen,
    KeySpent,
    LaneClass,
    NamedThing,
    NothingFound,
    PermanentFailure,
    Phase,
    Reason,
    Reference,
    TransientFailure,
    UnknownOutcome,
)
from tests.ledgers import (
    claim,
    decision,
    delivered,
    ends,
    finished,
    fires,
    open_ledger,
    pace,
    record,
    services,
    settle,
    states,
    told,
    webhook,
)

UNKNOWN = UnknownOutcome(reason=Reason.TIMEOUT, detail="no answer within 10 s")
NOT_CONNECTED = TransientFailure(reason=Reason.NOT_CONNECTED, detail="connection refused")


def test_first_firing_opens_and_a_repeat_changes_nothing(ledger: Ledger) -> None:
    assert settle(ledger, fires("a")) == ["opened"]
    assert settle(ledger, fires("a")) == ["duplicate"]
    assert told(ledger) == [("create", "pending")]


def test_one_batch_opens_one_incident_for_two_reports_of_a_series(ledger: Ledger) -> None:
    assert settle(ledger, fires("a", parts=("x",)), fires("b", parts=("x",))) == ["opened", "joined"]
    assert told(ledger) == [("create", "pending")]


def test_a_repeated_delivery_id_is_answered_with_the_first_event(ledger: Ledger) -> None:
    first, _ = ledger.settle([webhook(ledger, fires("a"), delivery_id="d1")])
    again, lanes = ledger.settle([webhook(ledger, fires("b"), delivery_id="d1")])
    assert again[0].event_id == first[0].event_id
    assert again[0].duplicate
    assert lanes == frozenset()
    assert told(ledger) == [("create", "pending")]


def test_a_repeat_inside_one_batch_is_found_too(ledger: Ledger) -> None:
    same = [webhook(ledger, fires("a"), delivery_id="d1"), webhook(ledger, fires("a"), delivery_id="d1")]
    results, _ = ledger.settle(same)
    assert [one.duplicate for one in results] == [False, True]
    assert results[0].event_id == results[1].event_id


def test_what_changed_nothing_says_why_in_the_words_of_its_report(ledger: Ledger) -> None:
    reasons = []
    for decided in (ends("a"), ends("a", Status.ACKNOWLEDGED), replace(ends("a"), matched=())):
        results, _ = ledger.settle([webhook(ledger, decided)])
        event = ledger.event(results[0].event_id)
        assert event is not None
        reasons.append(event["alerts"][0]["decisions"][0]["reason"])
    assert reasons == [
        "resolved, but nothing is open for this problem",
        "acknowledged, but nothing is open for this problem",
        "no rule matches",
    ]


def test_over_before_it_was_sent_sends_nothing(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    assert settle(ledger, ends("a")) == ["cancelled"]
    assert ledger.claim("pd") is None
    assert states(ledger) == ["cancelled"]


def test_last_member_gone_resolves_and_only_then(ledger: Ledger) -> None:
    settle(ledger, fires("a", parts=("x",)), fires("b", parts=("x",)))
    record(ledger, claim(ledger), delivered())
    assert settle(ledger, ends("a")) == ["resolving"]
    assert ledger.claim("pd") is None
    assert settle(ledger, ends("b")) == ["resolving"]
    resolve = claim(ledger)
    assert (resolve.delivery.action, resolve.delivery.upstream_id) == (Action.RESOLVE, "P1")
    record(ledger, resolve, delivered())
    assert states(ledger) == ["resolved"]


def test_a_resolve_waits_for_its_create(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    create = claim(ledger)
    assert settle(ledger, ends("a")) == ["resolving"]
    assert ledger.claim("pd") is None
    record(ledger, create, delivered())
    assert claim(ledger).delivery.action is Action.RESOLVE


def test_a_resolve_is_cancelled_when_its_create_is_dead(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    create = claim(ledger)
    settle(ledger, ends("a"))
    record(ledger, create, PermanentFailure(reason=Reason.BAD_REQUEST, detail="Title cannot be empty."))
    assert told(ledger) == [("create", "dead"), ("resolve", "cancelled")]
    assert states(ledger) == ["dead"]


def test_firing_again_before_the_resolve_is_claimed_keeps_the_incident(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), delivered())
    settle(ledger, ends("a"))
    assert settle(ledger, fires("a")) == ["joined"]
    assert ledger.claim("pd") is None
    assert states(ledger) == ["open"]


def test_firing_again_under_a_claimed_resolve_opens_a_new_episode_after_it(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), delivered())
    settle(ledger, ends("a"))
    resolve = claim(ledger)
    assert settle(ledger, fires("a")) == ["joined"]
    record(ledger, resolve, delivered())
    assert states(ledger) == ["resolved", "pending"]
    create = claim(ledger)
    assert create.delivery.action is Action.CREATE
    record(ledger, create, delivered("P2"))
    assert settle(ledger, ends("a")) == ["resolving"]
    assert claim(ledger).delivery.upstream_id == "P2"


def test_a_new_episode_waits_until_the_last_one_is_finished(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), delivered())
    settle(ledger, ends("a"))
    resolve = claim(ledger)
    record(ledger, resolve, TransientFailure(reason=Reason.SERVER_ERROR, detail="503"))
    settle(ledger, fires("a"))
    following = ledger.claim("pd")
    assert following is None or following.delivery.action is Action.RESOLVE  # type: ignore[union-attr]


def test_a_firing_after_a_dead_letter_opens_a_new_episode_and_the_dead_one_is_superseded(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), PermanentFailure(reason=Reason.BAD_REQUEST, detail="no"))
    assert settle(ledger, fires("a")) == ["opened"]
    dead = next(one for one in ledger.deliveries(limit=9).items if one["state"] == "dead")
    with pytest.raises(LetterError, match="newer incident"):
        ledger.replayed(dead["id"])


def test_a_dead_letter_is_replayed_under_its_stored_key(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    first = claim(ledger)
    record(ledger, first, PermanentFailure(reason=Reason.BAD_REQUEST, detail="no"))
    assert ledger.replayed(first.delivery.id) == "pd"
    again = claim(ledger)
    assert (again.delivery.id, again.delivery.key) == (first.delivery.id, first.delivery.key)
    assert again.delivery.phase is Phase.SEND
    record(ledger, again, delivered())
    assert states(ledger) == ["open"]


def test_a_discarded_letter_keeps_the_reason_and_the_series_is_free(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    first = claim(ledger)
    record(ledger, first, PermanentFailure(reason=Reason.BAD_REQUEST, detail="no"))
    ledger.discarded(first.delivery.id, "handled by phone")
    letter = ledger.delivery(first.delivery.id)
    assert letter is not None
    assert (letter["state"], letter["reason"], letter["detail"]) == ("cancelled", "discarded", "handled by phone")
    assert settle(ledger, fires("a")) == ["opened"]


def test_an_unknown_outcome_is_looked_up_before_it_is_sent_again(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    first = claim(ledger)
    assert record(ledger, first, UNKNOWN).reason is Reason.TIMEOUT
    look = claim(ledger)
    assert (look.delivery.phase, look.of, look.attempt) == (Phase.LOOK_UP, LaneClass.UPDATE, 2)
    record(ledger, look, NothingFound(detail="no incident has this key"))
    again = claim(ledger)
    assert (again.delivery.phase, again.delivery.key) == (Phase.SEND, first.delivery.key)
    record(ledger, again, KeyIsOpen(detail="matching dedup key already exists"))
    record(ledger, claim(ledger), delivered("P9", adopted=True))
    assert told(ledger) == [("create", "adopted")]


def test_incident_io_repeats_the_same_body_instead_of_looking_it_up(ledger: Ledger) -> None:
    settle(ledger, fires("a", key_rule=KeyRule.FOR_EVER))
    record(ledger, claim(ledger), UNKNOWN)
    again = claim(ledger)
    assert (again.delivery.phase, again.of) == (Phase.SEND, LaneClass.CREATE)


def test_a_spent_key_goes_on_under_the_next_key_as_a_new_delivery(ledger: Ledger) -> None:
    settle(ledger, fires("a", key_rule=KeyRule.FOR_EVER, episode="e1"))
    first = claim(ledger)
    record(ledger, first, KeySpent(reference=Reference(id="old", closed=True), detail="closed in January"))
    again = claim(ledger)
    assert again.delivery.id != first.delivery.id
    assert again.delivery.key != first.delivery.key
    assert again.delivery.fields == first.delivery.fields
    settle(ledger, ends("a"))
    record(ledger, again, delivered("new"))
    assert claim(ledger).delivery.action is Action.RESOLVE
    assert [pair for pair in told(ledger) if pair[0] == "create"] == [("create", "cancelled"), ("create", "delivered")]


def test_the_sixteen_digits_of_an_episode_change_only_when_an_earlier_one_was_sent(ledger: Ledger) -> None:
    keys = []
    for sent in (False, True, True):
        settle(ledger, fires("a", key_rule=KeyRule.FOR_EVER, episode="same id for ever"))
        keys.append(ledger.incidents(limit=1).items[0]["key"])
        if sent:
            record(ledger, claim(ledger), delivered())
            settle(ledger, ends("a"))
            record(ledger, claim(ledger), delivered())
        else:
            settle(ledger, ends("a"))
    assert keys[0] == keys[1]
    assert keys[1] != keys[2]


def test_an_attempt_that_never_reached_the_upstream_can_still_be_cancelled(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), NOT_CONNECTED)
    assert states(ledger) == ["pending"]
    assert settle(ledger, ends("a")) == ["cancelled"]
    assert ledger.claim("pd") is None


def test_an_attempt_that_may_have_worked_cannot_be_cancelled(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), UNKNOWN)
    assert settle(ledger, ends("a")) == ["resolving"]
    record(ledger, claim(ledger), delivered(adopted=True))
    assert claim(ledger).delivery.action is Action.RESOLVE


def test_recovery_during_a_create_that_never_arrived_ends_as_cancelled(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    create = claim(ledger)
    settle(ledger, ends("a"))
    record(ledger, create, NOT_CONNECTED)
    assert states(ledger) == ["cancelled"]
    assert told(ledger) == [("create", "cancelled"), ("resolve", "cancelled")]


def test_only_the_lease_token_may_record(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    held = claim(ledger)
    stranger = type(held)(
        delivery=held.delivery, lane=held.lane, token="other", attempt=1, of=held.of, key_rule=held.key_rule
    )
    assert record(ledger, stranger, delivered()) == Recorded(state=None, reason=Reason.LEASE_ENDED)
    assert record(ledger, held, delivered()).state is DeliveryState.DELIVERED


def test_one_create_and_one_update_in_flight_at_most(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), delivered())
    settle(ledger, ends("a"))
    settle(ledger, fires("b"), fires("c"))
    assert {claim(ledger).of, claim(ledger).of} == {LaneClass.CREATE, LaneClass.UPDATE}
    assert ledger.claim("pd") is None


def test_critical_goes_first_then_the_rest_by_age_and_severity(ledger: Ledger) -> None:
    for name, severity in (("i", "info"), ("w", "warning"), ("e", "error"), ("c", "critical"), ("d", "critical")):
        settle(ledger, fires(name, severity=Severity(severity)))
    order = []
    for _ in range(5):
        claimed = claim(ledger)
        order.append(claimed.delivery.fields["title"].split()[0])
        record(ledger, claimed, delivered(order[-1]))
    assert order == ["c", "d", "e", "w", "i"]


def test_a_joining_critical_moves_an_unsent_create_to_the_front_with_its_own_body(ledger: Ledger) -> None:
    settle(ledger, fires("first"))
    settle(ledger, fires("w", severity=Severity.WARNING, parts=("x",)))
    settle(ledger, fires("c", severity=Severity.CRITICAL, parts=("x",)))
    assert claim(ledger).delivery.fields["title"] == "c is down"


def test_the_last_token_is_kept_for_a_critical(ledger_url: str) -> None:
    slow = pace(interval=timedelta(minutes=1), burst=2, reserve=1)
    ledger = open_ledger(ledger_url, pd=slow)
    settle(ledger, fires("a"), fires("b"))
    record(ledger, claim(ledger), delivered("A"))
    assert ledger.claim("pd") is None
    settle(ledger, fires("c", severity=Severity.CRITICAL))
    assert claim(ledger).delivery.fields["title"] == "c is down"
    ledger.close()


def test_a_429_parks_the_create_class_and_not_the_updates(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), delivered())
    settle(ledger, ends("a"))
    settle(ledger, fires("b"))
    created = claim(ledger)
    record(ledger, created, TransientFailure(reason=Reason.RATE_LIMITED, detail="429", retry_after_s=20))
    assert claim(ledger).of is LaneClass.UPDATE
    assert ledger.claim("pd") is None
    lane = ledger.lanes({"pd": ("pagerduty", "12/min")})[0]
    assert "429" in lane["parked"]
    assert lane["paused_until"] is not None


def test_of_a_failing_lane_the_first_probe_looks_whether_what_it_sent_is_there(ledger: Ledger) -> None:
    unread = UnknownOutcome(reason=Reason.UNREADABLE_ANSWER, detail="HTTP 201 without an incident in it")
    for name in "abcdef":
        settle(ledger, fires(name))
    for _ in range(3):
        created = claim(ledger)
        assert created.of is LaneClass.CREATE
        record(ledger, created, unread)
    assert ledger.claim("pd") is None
    with ledger.database.writing() as transaction:  # its time has come, and that of what waits to be looked up
        transaction.connection.execute(update(lanes).values(probe_at=transaction.now))
        transaction.connection.execute(update(deliveries).values(next_at=transaction.now))
    looks = claim(ledger)
    assert (looks.of, looks.delivery.phase) == (LaneClass.UPDATE, Phase.LOOK_UP)
    record(ledger, looks, delivered(adopted=True))
    assert claim(ledger).of is LaneClass.CREATE, "the lane is mended, and goes on with what was never sent"


def test_three_failures_in_a_row_leave_one_probe_at_a_time(ledger: Ledger) -> None:
    for name in "abcd":
        settle(ledger, fires(name))
    assert ledger.last_said("pd") is None
    for _ in range(3):
        record(ledger, claim(ledger), NOT_CONNECTED)
    assert ledger.claim("pd") is None
    assert ledger.last_said("pd") == NOT_CONNECTED.detail
    with ledger.database.writing() as transaction:
        waits = update(deliveries).where(deliveries.c.reason == Reason.NOT_CONNECTED.value)
        transaction.connection.execute(waits.values(reason=Reason.NOTHING_FOUND.value))
    assert ledger.last_said("pd") is None, "what a look-up answered is no answer that fails"
    assert "no usable answer" in ledger.lanes({"pd": ("pagerduty", "12/min")})[0]["parked"]


def test_a_name_waits_for_its_list_and_goes_at_once_when_it_comes(ledger: Ledger) -> None:
    settle(ledger, fires("a", names=(services("postgres PRIMARY"),)))
    needed = ledger.claim("pd")
    assert needed == NamesNeeded(account="pd", kinds=("service",))
    assert ledger.claim("pd") is None
    ledger.names_stored("pd", "service", [NamedThing(id="PSVC", name="Postgres Primary")])
    assert claim(ledger).delivery.ids == {"service": "PSVC"}


def test_a_name_the_whole_list_lacks_takes_its_fallback_and_says_so(ledger: Ledger) -> None:
    ledger.names_stored("pd", "service", [NamedThing(id="PCA", name="Catch-all")])
    ref = type(services())(field="service", kind="service", text="Gone", fallback="Catch-all")
    settle(ledger, fires("a", names=(ref,)))
    sent = claim(ledger).delivery
    assert sent.ids == {"service": "PCA"}
    assert "'Gone' does not exist upstream" in sent.notes[0]


def test_a_required_name_without_fallback_is_a_dead_letter_that_lists_the_candidates(ledger: Ledger) -> None:
    ledger.names_stored("pd", "service", [NamedThing(id="PCA", name="Catch-all")])
    settle(ledger, fires("a", names=(services("Gone"),)))
    assert ledger.claim("pd") is None
    letter = ledger.deliveries(state="dead", limit=1).items[0]
    assert letter["reason"] == "name_unknown"
    assert "Catch-all" in letter["detail"]


def test_an_acknowledgement_is_remembered_until_the_incident_is_open(ledger: Ledger) -> None:
    policy = Policy(on_acknowledge=OnAcknowledge.ACKNOWLEDGE)
    settle(ledger, fires("a", policy=policy))
    assert settle(ledger, ends("a", Status.ACKNOWLEDGED)) == ["acknowledged"]
    record(ledger, claim(ledger), delivered())
    assert claim(ledger).delivery.action is Action.ACKNOWLEDGE


def test_an_incident_that_a_person_closed_before_we_heard_of_it_is_left_in_peace_for_a_while(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), UNKNOWN)
    look = claim(ledger)
    closed = type(delivered())(reference=Reference(id="P1", closed=True), adopted=True)
    record(ledger, look, closed)
    assert states(ledger) == ["resolved"]
    assert settle(ledger, fires("a")) == ["duplicate"]
    assert settle(ledger, ends("a")) == ["resolving"]
    assert settle(ledger, fires("a")) == ["opened"]


def test_too_old_is_a_dead_letter(ledger_url: str) -> None:
    ledger = open_ledger(ledger_url, pd=pace(give_up_after=timedelta(0)))
    settle(ledger, fires("a"))
    assert ledger.given_up() == 1
    assert ledger.deliveries(state="dead", limit=1).items[0]["reason"] == "too_old"
    ledger.close()


def test_a_letter_that_is_pruned_while_others_are_given_up_keeps_none_of_them(ledger_url: str) -> None:
    ledger = open_ledger(ledger_url, pd=pace(give_up_after=timedelta(0)))
    settle(ledger, fires("a"), fires("b"), fires("c"))
    given_up: list[str] = []

    def prune_the_next(_account: str, delivery: str) -> None:
        given_up.append(delivery)
        waiting = ledger.deliveries(state="pending", limit=5).items
        if len(given_up) == 1:
            with ledger.database.writing() as transaction:
                gone = deliveries.c.id == min(one["id"] for one in waiting)
                transaction.connection.execute(delete(deliveries).where(gone))

    assert ledger.given_up(prune_the_next) == 2
    assert [one["state"] for one in ledger.deliveries(limit=5).items] == ["dead", "dead"]
    ledger.close()


def test_shadow_and_unmatched_send_nothing(ledger: Ledger) -> None:
    from bridge.domain.decision import Decided, Mode
    from tests.ledgers import alert

    assert settle(ledger, fires("a", mode=Mode.SHADOW)) == ["shadow"]
    assert settle(ledger, Decided(reading=alert("b"))) == ["unmatched"]
    assert told(ledger) == []


def test_two_matching_rules_open_two_incidents_and_one_recovery_ends_both(ledger: Ledger) -> None:
    from bridge.domain.decision import Decided
    from tests.ledgers import alert

    both = Decided(reading=alert("a"), decisions=(decision("a"), decision("a", rule="r2", parts=("other",))))
    assert settle(ledger, both) == ["opened"]
    for upstream in ("P1", "P2"):
        record(ledger, claim(ledger), delivered(upstream))
    settle(ledger, ends("a"))
    resolved = set()
    for _ in range(2):
        one = claim(ledger)
        resolved.add(one.delivery.upstream_id)
        record(ledger, one, delivered())
    assert resolved == {"P1", "P2"}


def test_text_no_database_takes_is_stored_all_the_same(ledger: Ledger) -> None:
    assert settle(ledger, fires("nul \x00 and half a pair \ud83d")) == ["opened"]


def test_recording_and_claiming_share_a_transaction(ledger: Ledger) -> None:
    settle(ledger, fires("a"), fires("b"))
    recorded, following = ledger.record(finished(claim(ledger), delivered()), claim_next=True)
    assert recorded.state is DeliveryState.DELIVERED
    assert getattr(following, "attempt", None) == 1


def test_due_lanes_are_armed_once_and_heal(ledger: Ledger) -> None:
    assert ledger.due_lanes(64) == []
    settle(ledger, fires("a"))
    assert ledger.due_lanes(64) == ["pd"]
    assert ledger.due_lanes(64) == []
    ledger.lanes_disarmed()
    assert ledger.due_lanes(64) == ["pd"]


def test_a_replaced_create_looks_its_own_names_up(ledger: Ledger) -> None:
    ledger.names_stored("pd", "service", [NamedThing(id="OLD", name="Old"), NamedThing(id="NEW", name="New")])
    settle(ledger, fires("w", severity=Severity.WARNING, parts=("x",), names=(services("Old"),)))
    record(ledger, claim(ledger), NOT_CONNECTED)
    settle(ledger, fires("c", severity=Severity.CRITICAL, parts=("x",), names=(services("New"),)))
    assert claim(ledger).delivery.ids == {"service": "NEW"}
