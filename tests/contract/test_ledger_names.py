"""Names in the ledger, on both databases: how long a delivery waits for a list, what it goes with, what stays as it is.

Time is the ledger's own and is moved by these tests.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from bridge.adapters.ledger import Claimed, Fetch, Fetched, Ledger, NamesNeeded, Route
from bridge.adapters.ledger.fetches import PAGES_KEPT, REFRESH_AFTER, RETRY_FIRST, RETRY_MAX
from bridge.adapters.ledger.names import AGAIN_AFTER, PATIENCE, PROOF_MAX_AGE
from bridge.adapters.ledger.upgrade import upgrade
from bridge.domain.alert import Severity
from bridge.domain.decision import Change, KeyRule
from bridge.domain.delivery import (
    Action,
    NamedThing,
    NameRef,
    PermanentFailure,
    Reason,
    TransientFailure,
    UnknownOutcome,
)
from bridge.domain.lane import LEASE
from bridge.domain.names import CUT_OFF
from tests.ledgers import (
    MovedDatabase,
    claim,
    delivered,
    ends,
    finished,
    fires,
    heartbeat,
    pace,
    record,
    services,
    settle,
    states,
    told,
)

SECOND = timedelta(seconds=1)
UNKNOWN = UnknownOutcome(reason=Reason.TIMEOUT, detail="no answer within 10 s")
REFUSED = PermanentFailure(reason=Reason.BAD_REQUEST, detail="HTTP 400: Service not found")
NOT_SENT = TransientFailure(reason=Reason.NOT_CONNECTED, detail="connection refused")
FORBIDDEN = TransientFailure(reason=Reason.FORBIDDEN, detail="HTTP 403: Access Denied")
AWAY = TransientFailure(reason=Reason.SERVER_ERROR, detail="HTTP 503")
PRIORITY = NameRef(field="priority", kind="priority", text="P1")
URGENT = Change(fields={"urgency": "high"}, names=(), notes=())


class Names:
    """A ledger with one account, and time to move."""

    def __init__(self, url: str, **route: Any) -> None:
        self.database = MovedDatabase(url)
        upgrade(self.database)
        self.ledger = Ledger(
            self.database, {"pd": Route(lane="pd", pace=pace(), required=frozenset({"service"}), **route)}
        )
        self.ledger.lanes_ensured()

    def later(self, by: timedelta) -> None:
        self.database.ahead += by

    def begun(self, kind: str = "service") -> Fetch:
        fetch = self.ledger.fetch_begun("pd", kind)
        assert fetch is not None
        return fetch

    def fails(self, failure: TransientFailure | PermanentFailure, kind: str = "service") -> None:
        assert not self.ledger.fetch_recorded(Fetched(fetch=self.begun(kind), things=(), failure=failure))

    def knows(self, *names: str, kind: str = "service") -> None:
        """The upstream's whole list, each entry's id its name in lower case behind `id-`."""
        self.ledger.names_stored("pd", kind, [thing(name) for name in names])

    def claimed(self) -> Claimed:
        return claim(self.ledger)

    def waiting(self) -> str | None:
        """Nothing can be claimed; what the one delivery waits for, in words."""
        while isinstance(self.ledger.claim("pd"), NamesNeeded):
            pass
        assert self.ledger.claim("pd") is None
        (one,) = [each for each in self.ledger.deliveries(limit=9).items if each["state"] == "pending"]
        assert one["reason"] == "waiting_for_names"
        assert one["attempts"] == 0
        return str(one["detail"])


def thing(name: str) -> NamedThing:
    return NamedThing(id=f"id-{name.lower()}", name=name)


@pytest.fixture
def names(ledger_url: str) -> Iterator[Names]:
    made = Names(ledger_url)
    yield made
    made.ledger.close()


@pytest.fixture
def with_default(ledger_url: str) -> Iterator[Names]:
    """An account whose own default for the service is Catch-all."""
    made = Names(ledger_url, defaults={"service": "Catch-all"})
    yield made
    made.ledger.close()


def service(text: str = "Gone", fallback: str | None = None) -> NameRef:
    return NameRef(field="service", kind="service", text=text, fallback=fallback)


# -- waiting


def test_waiting_for_a_list_is_no_attempt_and_says_what_for(names: Names) -> None:
    settle(names.ledger, fires("a", names=(services(),)))
    assert names.waiting() == "waits for the upstream's names of this kind: service"
    names.later(PATIENCE - SECOND)
    assert names.ledger.claim("pd") is None


def test_any_number_of_deliveries_asks_for_a_list_once(names: Names) -> None:
    settle(names.ledger, *[fires(f"{number}", names=(services(),)) for number in range(20)])
    assert names.ledger.claim("pd") == NamesNeeded(account="pd", kinds=("service",))
    assert names.ledger.claim("pd") is None
    names.knows("S")
    assert {names.claimed().delivery.ids["service"]} == {"id-s"}


def test_who_waits_for_a_list_does_not_hold_up_who_does_not(names: Names) -> None:
    settle(names.ledger, fires("a", names=(services(),)))
    names.ledger.claim("pd")
    settle(names.ledger, fires("b", names=(services(),)), fires("c"))
    assert names.claimed().delivery.fields["title"] == "c is down"


def test_an_optional_name_without_a_list_is_left_out_after_two_minutes_and_said_so(names: Names) -> None:
    names.knows("S")
    settle(names.ledger, fires("a", names=(services(), PRIORITY)))
    names.waiting()
    names.fails(AWAY, "priority")
    names.later(PATIENCE)
    delivery = names.claimed().delivery
    assert delivery.ids == {"service": "id-s"}
    assert delivery.notes == ("priority: 'P1' could not be looked up, left out: HTTP 503",)


def test_a_list_refused_for_two_minutes_delays_no_further_page(names: Names) -> None:
    names.knows("S")
    names.fails(FORBIDDEN, "priority")
    names.later(PATIENCE)
    settle(names.ledger, fires("a", names=(services(), PRIORITY)))
    assert names.claimed().delivery.notes == (
        "priority: 'P1' could not be looked up, left out: HTTP 403: Access Denied",
    )


def test_an_upstream_that_is_away_again_makes_each_page_wait_for_its_list(names: Names) -> None:
    names.knows("S")
    names.fails(FORBIDDEN, "priority")
    names.later(PATIENCE)
    names.fails(AWAY, "priority")
    settle(names.ledger, fires("a", names=(services(), PRIORITY)))
    assert names.waiting() == "waits for the upstream's names of this kind: priority"


@pytest.mark.parametrize("trouble", [FORBIDDEN, AWAY], ids=["refused", "away"])
def test_a_required_name_without_a_list_takes_its_fallback_after_two_minutes(
    with_default: Names, trouble: TransientFailure
) -> None:
    settle(with_default.ledger, fires("a", names=(service(fallback="PELSE"),)))
    with_default.waiting()
    with_default.fails(trouble)
    with_default.later(PATIENCE)
    delivery = with_default.claimed().delivery
    assert delivery.ids == {"service": "PELSE"}
    assert "'Gone' could not be looked up, 'PELSE' is sent as written" in delivery.notes[0]


def test_without_an_else_the_accounts_default_serves(with_default: Names) -> None:
    settle(with_default.ledger, fires("a", names=(service(),)))
    with_default.waiting()
    with_default.later(PATIENCE)
    assert with_default.claimed().delivery.ids == {"service": "Catch-all"}


@pytest.mark.parametrize("known", [("Else", "Catch-all"), ("Catch-all",)])
def test_the_rules_else_goes_before_the_accounts_default(with_default: Names, known: tuple[str, ...]) -> None:
    with_default.knows(*known)
    settle(with_default.ledger, fires("a", names=(service(fallback="Else"),)))
    delivery = with_default.claimed().delivery
    assert delivery.ids == {"service": f"id-{known[0].lower()}"}
    assert f"'{known[0]}' serves instead" in delivery.notes[0]


# -- a guess


def test_a_refused_guess_waits_for_the_list_and_then_goes_with_the_name(with_default: Names) -> None:
    settle(with_default.ledger, fires("a", names=(service("Postgres"),)))
    with_default.waiting()
    with_default.fails(AWAY)
    with_default.later(PATIENCE)
    assert record(with_default.ledger, with_default.claimed(), REFUSED).reason is Reason.WAITING_FOR_NAMES
    with_default.later(AGAIN_AFTER)
    assert with_default.ledger.claim("pd") == NamesNeeded(account="pd", kinds=("service",))
    with_default.later(timedelta(hours=3))
    assert not isinstance(with_default.ledger.claim("pd"), Claimed)  # no second guess
    with_default.knows("Postgres")
    delivery = with_default.claimed().delivery
    assert (delivery.ids, delivery.notes) == ({"service": "id-postgres"}, ())


def test_a_refused_guess_is_a_dead_letter_when_the_upstream_gives_no_list(names: Names) -> None:
    settle(names.ledger, fires("a", names=(service("Postgres"),)))
    names.waiting()
    names.fails(FORBIDDEN)
    names.later(PATIENCE)
    record(names.ledger, names.claimed(), REFUSED)
    (letter,) = names.ledger.deliveries(state="dead", limit=9).items
    assert letter["detail"] == REFUSED.detail


def test_what_a_list_that_is_cut_off_lacks_is_sent_as_written(with_default: Names) -> None:
    names = with_default
    names.knows("Catch-all", *(f"S{number}" for number in range(CUT_OFF - 1)))
    settle(names.ledger, fires("a", names=(service("PXYZ999"),)))
    first = names.claimed()
    assert (first.delivery.ids, first.delivery.notes) == ({"service": "PXYZ999"}, ())
    record(names.ledger, first, REFUSED)
    second = names.claimed().delivery
    assert second.ids == {"service": "id-catch-all"}
    assert "'PXYZ999' does not exist upstream" in second.notes[0]


def test_a_list_that_ends_by_itself_proves_what_it_lacks(with_default: Names) -> None:
    with_default.knows("Catch-all", *(f"S{number}" for number in range(CUT_OFF - 2)))
    settle(with_default.ledger, fires("a", names=(service("PXYZ999"),)))
    assert with_default.claimed().delivery.ids == {"service": "id-catch-all"}


# -- an id that is out of date


def refused_once(names: Names) -> None:
    names.ledger.names_stored("pd", "service", [NamedThing(id="OLD", name="S")])
    names.later(timedelta(minutes=5))
    settle(names.ledger, fires("a", names=(services(),)))
    first = names.claimed()
    assert first.delivery.ids == {"service": "OLD"}
    assert record(names.ledger, first, REFUSED).reason is Reason.WAITING_FOR_NAMES


def test_what_is_refused_for_an_id_goes_with_that_of_a_newer_list(names: Names) -> None:
    """Whoever makes a service anew gives it the same name and another id; a list is refreshed once an hour only."""
    refused_once(names)
    assert names.ledger.claim("pd") == NamesNeeded(account="pd", kinds=("service",))
    assert names.ledger.claim("pd") is None
    fetch = names.begun()
    names.later(SECOND)
    new = (NamedThing(id="NEW", name="S"),)
    assert names.ledger.fetch_recorded(Fetched(fetch=fetch, things=new))
    assert names.claimed().delivery.ids == {"service": "NEW"}


def test_refused_again_with_the_newest_list_it_is_no_longer_the_lists_fault(names: Names) -> None:
    refused_once(names)
    names.later(SECOND)
    names.knows("S")
    again = names.claimed()
    assert again.delivery.ids == {"service": "id-s"}
    record(names.ledger, again, REFUSED)
    (letter,) = names.ledger.deliveries(state="dead", limit=9).items
    assert letter["detail"] == REFUSED.detail


def test_without_a_newer_list_it_goes_on_after_two_minutes(names: Names) -> None:
    refused_once(names)
    names.ledger.claim("pd")
    names.fails(AWAY)
    names.later(PATIENCE)
    assert names.claimed().delivery.ids == {"service": "OLD"}


def test_a_list_of_this_minute_is_not_fetched_again_for_a_refusal(names: Names) -> None:
    names.knows("S")
    settle(names.ledger, fires("a", names=(services(),)))
    record(names.ledger, names.claimed(), REFUSED)
    assert names.ledger.deliveries(state="dead", limit=9).items


def test_what_was_never_sent_takes_the_id_of_a_list_that_came_since(names: Names) -> None:
    names.ledger.names_stored("pd", "service", [NamedThing(id="OLD", name="S")])
    settle(names.ledger, fires("a", names=(services(),)))
    record(names.ledger, names.claimed(), NOT_SENT)
    names.later(timedelta(minutes=5))
    names.knows("S")
    assert names.claimed().delivery.ids == {"service": "id-s"}


# -- old lists


def test_an_old_list_serves_for_ever(names: Names) -> None:
    names.knows("S")
    names.later(timedelta(days=30))
    names.fails(AWAY)
    settle(names.ledger, fires("a", names=(services(),)))
    assert names.claimed().delivery.ids == {"service": "id-s"}


def test_an_old_list_proves_nothing_but_its_fallback_serves_after_two_minutes(names: Names) -> None:
    names.knows("Catch-all")
    names.later(PROOF_MAX_AGE + SECOND)
    settle(names.ledger, fires("a", names=(service("New", fallback="Catch-all"),)))
    names.waiting()
    names.later(PATIENCE)
    assert names.claimed().delivery.ids == {"service": "id-catch-all"}


def test_a_name_added_upstream_is_found_in_the_newest_list_of_another_process(names: Names) -> None:
    names.knows("Old")
    other = Ledger(names.database, names.ledger.routes)
    assert other.name_list("pd", "service") is not None  # it keeps what it has read for a while
    names.knows("Old", "New")
    settle(names.ledger, fires("a", names=(service("New"),)))
    assert claim(other).delivery.ids == {"service": "id-new"}


# -- what stands within something else

TEAM = NameRef(field="fields.Team", kind="field", text="Team")
SUPPORT = NameRef(field="fields.Team.0", kind="option", text="support", within="fields.Team")


def test_a_value_is_looked_up_in_the_list_of_what_it_stands_in_and_in_its_part_of_it(names: Names) -> None:
    team = NamedThing(id="F1", name="Team", extra={"values_kind": "entry", "values_of": "F1"})
    ledger = names.ledger
    settle(ledger, fires("a", key_rule=KeyRule.FOR_EVER, names=(TEAM, SUPPORT)))
    assert names.waiting() == "waits for the upstream's names of this kind: field"
    ledger.names_stored("pd", "field", [team])
    assert names.waiting() == "waits for the upstream's names of this kind: entry"
    ledger.names_stored(
        "pd", "entry", [NamedThing(id=f"E{of}", name="Support", extra={"of": of}) for of in ("F1", "F2")]
    )
    assert names.claimed().delivery.ids == {"fields.Team": "F1", "fields.Team.0": "EF1"}


def test_what_stands_within_something_unknown_or_free_is_not_looked_up_and_nothing_waits_for_it(names: Names) -> None:
    names.ledger.names_stored("pd", "field", [NamedThing(id="F2", name="Ticket")])
    ticket = NameRef(field="fields.Ticket", kind="field", text="Ticket")
    number = NameRef(field="fields.Ticket.0", kind="option", text="4711", within="fields.Ticket")
    settle(names.ledger, fires("a", key_rule=KeyRule.FOR_EVER, names=(ticket, number, TEAM, SUPPORT)))
    delivery = names.claimed().delivery
    assert delivery.ids == {"fields.Ticket": "F2"}
    assert delivery.notes == ("fields.Team: field 'Team' does not exist upstream; there: Ticket",)


# -- one body under one key


def severity_fails(names: Names) -> None:
    names.ledger.names_stored("pd", "severity", [thing("Minor")])
    ref = NameRef(field="severity", kind="severity", text="Gone")
    settle(names.ledger, fires("a", key_rule=KeyRule.FOR_EVER, names=(ref,), notes=("title: cut",)))


def test_what_may_have_been_sent_is_never_looked_up_again(names: Names) -> None:
    severity_fails(names)
    first = names.claimed()
    record(names.ledger, first, UNKNOWN)
    names.ledger.names_stored("pd", "severity", [thing("Gone")])
    for _ in range(3):
        names.later(timedelta(minutes=1))  # such a lane is probed
        again = names.claimed()
        assert (again.delivery.ids, again.delivery.notes) == ({}, first.delivery.notes)
        record(names.ledger, again, UNKNOWN)
    assert len(first.delivery.notes) == 2


def test_what_was_left_out_for_want_of_a_list_is_put_in_when_it_surely_was_not_sent(names: Names) -> None:
    names.knows("S")
    settle(names.ledger, fires("a", names=(services(), PRIORITY)))
    names.waiting()
    names.later(PATIENCE)
    record(names.ledger, names.claimed(), NOT_SENT)
    names.knows("P1", kind="priority")
    delivery = names.claimed().delivery
    assert delivery.ids == {"service": "id-s", "priority": "id-p1"}
    assert delivery.notes == ()


@pytest.mark.parametrize("sent", [True, False])
def test_a_replay_looks_names_up_anew_only_when_nothing_can_have_been_sent(names: Names, sent: bool) -> None:
    severity_fails(names)
    first = names.claimed()
    if sent:
        record(names.ledger, first, UNKNOWN)
        first = names.claimed()
    record(names.ledger, first, REFUSED)
    names.ledger.names_stored("pd", "severity", [thing("Gone")])
    names.ledger.replayed(first.delivery.id)
    again = names.claimed().delivery
    expected = (first.delivery.ids, first.delivery.notes) if sent else ({"severity": "id-gone"}, ("title: cut",))
    assert (again.ids, again.notes) == expected


def test_a_person_sees_the_ids_and_all_the_notes(names: Names) -> None:
    severity_fails(names)
    claimed = names.claimed()
    shown = names.ledger.delivery(claimed.delivery.id)
    assert shown is not None
    assert (shown["request"]["ids"], tuple(shown["request"]["notes"])) == ({}, claimed.delivery.notes)


# -- fetching


def test_a_list_is_visible_when_its_last_page_is_there_and_not_before(names: Names) -> None:
    first = names.begun()
    assert (first.cursor, first.kept) == (None, 0)
    assert not names.ledger.fetch_recorded(Fetched(fetch=first, things=(thing("A"), thing("B")), next_cursor="2"))
    assert names.ledger.name_list("pd", "service") is None
    second = names.begun()
    assert (second.cursor, second.kept) == ("2", 2)
    assert names.ledger.fetch_recorded(Fetched(fetch=second, things=(thing("B"), thing("C"))))
    held = names.ledger.name_list("pd", "service")
    assert held is not None
    assert [one.name for one in held.things] == ["A", "B", "C"]


def test_one_job_at_a_time_fetches_a_list_and_a_lost_one_is_replaced(names: Names) -> None:
    lost = names.begun()
    assert names.ledger.fetch_begun("pd", "service") is None
    assert names.begun("priority").kind == "priority"
    names.later(LEASE + SECOND)
    following = names.begun()
    assert not names.ledger.fetch_recorded(Fetched(fetch=lost, things=(thing("A"),)))
    assert names.ledger.name_list("pd", "service") is None
    assert names.ledger.fetch_recorded(Fetched(fetch=following, things=(thing("B"),)))


def test_no_job_is_sent_for_a_list_that_is_being_fetched(names: Names) -> None:
    names.begun()
    assert names.ledger.fetches_asked() == []
    names.later(LEASE + SECOND)
    assert names.ledger.fetches_asked() == [("pd", "service")], "whoever fetched it is dead"


def test_lists_that_fail_hold_half_of_the_workers_at_most_so_that_no_other_account_waits(names: Names) -> None:
    for number in range(4):
        names.ledger.heartbeat(heartbeat("worker", number))
    kinds = ("service", "priority", "escalation_policy", "user")
    first = [names.begun(kind) for kind in kinds]  # nobody knows yet that the upstream does not answer
    for fetch in first:
        assert not names.ledger.fetch_recorded(Fetched(fetch=fetch, things=(), failure=AWAY))
    names.later(RETRY_FIRST)
    again = [names.ledger.fetch_begun("pd", kind) for kind in kinds]
    assert [fetch is not None for fetch in again] == [True, True, False, False]
    assert again[0] is not None
    assert names.ledger.fetch_recorded(Fetched(fetch=again[0], things=(thing("A"),)))
    assert names.ledger.fetch_begun("pd", "user") is not None
    assert names.ledger.fetch_begun("pd", "escalation_policy") is None


def test_a_failing_list_is_tried_again_ten_to_sixty_seconds_apart(names: Names) -> None:
    waits = []
    for _ in range(6):
        names.fails(AWAY)
        waited = 0
        while names.ledger.fetches_asked() == []:
            names.later(SECOND)
            waited += 1
        waits.append(waited)
    assert (waits[0], waits[1]) == (RETRY_FIRST.seconds, 2 * RETRY_FIRST.seconds)
    most = RETRY_MAX.seconds
    assert all(most - 2 <= waited <= most for waited in waits[3:])  # a slow machine's own seconds pass meanwhile


def test_a_failing_page_is_asked_for_again_and_not_those_before_it(names: Names) -> None:
    failed = Fetched(fetch=names.begun(), things=(thing("A"),), next_cursor="1", failure=AWAY)
    assert not names.ledger.fetch_recorded(failed)
    names.later(RETRY_FIRST)
    assert (names.begun().cursor, names.ledger.name_list("pd", "service")) == ("1", None)


def test_pages_of_an_hour_ago_do_not_fit_new_ones(names: Names) -> None:
    names.ledger.fetch_recorded(Fetched(fetch=names.begun(), things=(thing("A"),), next_cursor="1"))
    names.later(PAGES_KEPT + SECOND)
    assert (names.begun().cursor, names.ledger.name_list("pd", "service")) == (None, None)


def test_a_whole_list_is_refreshed_after_an_hour_and_is_asked_for_once(names: Names) -> None:
    names.ledger.fetch_recorded(Fetched(fetch=names.begun(), things=(thing("A"),)))
    assert names.ledger.fetches_asked() == []
    names.later(REFRESH_AFTER)
    assert names.ledger.fetches_asked() == [("pd", "service")]
    assert names.ledger.fetches_asked() == []
    names.fails(AWAY)
    held = names.ledger.name_list("pd", "service")
    assert held is not None
    assert [one.name for one in held.things] == ["A"]


def test_a_clock_that_jumps_back_delays_no_list(names: Names) -> None:
    names.later(timedelta(days=2))
    names.fails(AWAY)
    names.later(-timedelta(days=2))
    assert names.ledger.fetches_asked() == [("pd", "service")]
    names.begun()


def test_too_many_calls_for_a_list_park_the_updates_and_no_creates(names: Names) -> None:
    names.fails(TransientFailure(reason=Reason.RATE_LIMITED, detail="HTTP 429", retry_after_s=30))
    names.later(RETRY_FIRST)
    assert names.ledger.fetch_begun("pd", "service") is None
    settle(names.ledger, fires("a"))
    assert names.claimed().delivery.action is Action.CREATE
    names.later(timedelta(seconds=30))
    names.begun()


def test_a_key_refused_for_a_list_parks_the_account(names: Names) -> None:
    names.fails(TransientFailure(reason=Reason.AUTH, detail="HTTP 401"))
    settle(names.ledger, fires("a"))
    assert names.ledger.claim("pd") is None
    lane = names.ledger.lanes({"pd": ("pagerduty", "12/min")})[0]
    assert "401" in lane["parked"]


def test_a_forbidden_list_parks_nothing(names: Names) -> None:
    names.fails(FORBIDDEN)
    settle(names.ledger, fires("a"))
    record(names.ledger, names.claimed(), REFUSED)
    assert names.ledger.lanes({"pd": ("pagerduty", "12/min")})[0]["parked"] is None


# -- a claim that comes to nothing


def test_a_claim_put_back_for_want_of_a_list_is_no_attempt(names: Names) -> None:
    settle(names.ledger, fires("a"))
    record(names.ledger, names.claimed(), UNKNOWN)
    record(names.ledger, names.claimed(), delivered("P1", adopted=True))
    settle(names.ledger, ends("a"))
    resolve = names.claimed()
    assert names.ledger.put_back(resolve, ("incident_status",)) == NamesNeeded(account="pd", kinds=("incident_status",))
    assert told(names.ledger)[-1] == ("resolve", "pending")
    assert names.waiting() == "waits for the upstream's names of this kind: incident_status"
    assert names.ledger.record(finished(resolve, NOT_SENT), claim_next=False)[0].state is None
    names.knows("Closed", kind="incident_status")
    assert names.claimed().attempt == 1


def test_what_was_put_back_is_first_tried_when_it_is_really_sent(names: Names) -> None:
    """By that instant an upstream's answer is told from one that another call had made before."""
    settle(names.ledger, fires("a"))
    names.ledger.put_back(names.claimed(), ("service",))
    names.later(timedelta(minutes=10))
    names.knows("Gone")
    really = names.ledger.time()
    first_at = names.claimed().delivery.first_attempt_at
    assert first_at is not None
    assert first_at >= really


def test_a_claim_of_which_nothing_is_left_to_tell_is_cancelled_and_no_attempt(names: Names) -> None:
    settle(names.ledger, fires("a"))
    record(names.ledger, names.claimed(), UNKNOWN)
    record(names.ledger, names.claimed(), delivered("P1", adopted=True))
    settle(names.ledger, fires("a", severity=Severity.CRITICAL, rise=URGENT))
    update = names.claimed()
    names.ledger.let_go(update, "nothing is left")
    found = names.ledger.deliveries(limit=1).items[0]
    assert (found["state"], found["reason"], found["detail"]) == ("cancelled", "nothing_to_tell", "nothing is left")
    assert found["attempts"] == 0
    assert names.ledger.record(finished(update, NOT_SENT), claim_next=False)[0].state is None
    assert (states(names.ledger), names.ledger.claim("pd")) == (["open"], None)


def test_a_list_that_comes_between_the_claim_and_its_being_put_back_is_not_waited_for(names: Names) -> None:
    settle(names.ledger, fires("a"))
    record(names.ledger, names.claimed(), delivered("P1", adopted=True))
    settle(names.ledger, ends("a"))
    resolve = names.claimed()
    names.knows("Closed", kind="incident_status")
    assert names.ledger.put_back(resolve, ("incident_status",)) is None
    again = names.claimed()  # at once: nobody is going to wake it
    assert (again.delivery.id, again.attempt) == (resolve.delivery.id, 1)


def test_a_problem_that_fires_again_takes_back_a_resolve_that_was_put_back(names: Names) -> None:
    settle(names.ledger, fires("a"))
    record(names.ledger, names.claimed(), delivered("P1", adopted=True))
    settle(names.ledger, ends("a"))
    names.ledger.put_back(names.claimed(), ("incident_status",))
    settle(names.ledger, fires("a"))
    assert told(names.ledger) == [("create", "adopted"), ("resolve", "cancelled")]
