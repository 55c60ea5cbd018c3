"""Lanes whose upstream is in trouble: parked as long as it asked, probed one call at a time, never all the workers."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from bridge.adapters.ledger import Claimed, Fetch, Fetched
from bridge.domain.decision import Policy
from bridge.domain.delivery import Action, Reason, TransientFailure
from bridge.domain.lane import LEASE, PROBE_FIRST, PROBE_MAX
from tests.ledgers import (
    MovedDatabase,
    claim,
    delivered,
    ends,
    finished,
    fires,
    heartbeat,
    ledger_of,
    pace,
    record,
    route,
    settle,
    told,
)

SECOND = timedelta(seconds=1)
REFUSED_KEY = TransientFailure(reason=Reason.AUTH, detail="401")
LIMITED = TransientFailure(reason=Reason.RATE_LIMITED, detail="429", retry_after_s=900)
DOWN = TransientFailure(reason=Reason.NOT_CONNECTED, detail="connection refused")
FORBIDDEN = TransientFailure(reason=Reason.FORBIDDEN, detail="403")
NAMES = tuple("abcdef")


class Lanes:
    """A ledger with six accounts and their lanes, workers that beat, and time to move."""

    def __init__(self, url: str) -> None:
        self.database = MovedDatabase(url)
        slow = pace(update_interval=SECOND)
        self.ledger = ledger_of(self.database, **{name: route(name, slow) for name in NAMES})
        self.workers = 0

    def later(self, by: timedelta) -> None:
        self.database.ahead += by
        self.beat(self.workers)

    def beat(self, workers: int) -> None:
        self.workers = workers
        for kind, many in (("worker", workers), ("web", 9)):
            for number in range(many):
                self.ledger.heartbeat(heartbeat(kind, number))

    def fail(self, *lanes: str) -> None:
        """Each of these has something to send, and failed three times in a row."""
        for lane in lanes:
            settle(self.ledger, fires(f"{lane}1", account=lane), fires(f"{lane}2", account=lane))
            for _ in range(3):
                record(self.ledger, claim(self.ledger, lane), DOWN)

    def list_fails(self, account: str, *kinds: str) -> None:
        """These lists of names of an account were asked for, and did not come."""
        for kind in kinds:
            assert not self.ledger.fetch_recorded(Fetched(fetch=self.fetches(account, kind), things=(), failure=DOWN))

    def fetches(self, account: str, kind: str) -> Fetch:
        fetch = self.ledger.fetch_begun(account, kind)
        assert fetch is not None
        return fetch

    def held_by(self, lane: str) -> str | None:
        found: str | None = self.ledger.lanes({lane: ("pagerduty", "12/min")})[0]["held_by"]
        return found


@pytest.fixture
def lanes(ledger_url: str) -> Iterator[Lanes]:
    made = Lanes(ledger_url)
    yield made
    made.ledger.close()


# -- parking


def test_a_refused_key_does_not_shorten_the_wait_the_upstream_asked_for(lanes: Lanes) -> None:
    settle(lanes.ledger, fires("x", account="a"))
    record(lanes.ledger, claim(lanes.ledger, "a"), delivered())
    settle(lanes.ledger, ends("x"), fires("y", account="a"))
    create, update = claim(lanes.ledger, "a"), claim(lanes.ledger, "a")
    record(lanes.ledger, create, LIMITED)
    record(lanes.ledger, update, REFUSED_KEY)
    lanes.later(timedelta(seconds=61))
    resolve = claim(lanes.ledger, "a")
    assert resolve.delivery.action.value == "resolve"
    record(lanes.ledger, resolve, delivered())
    assert lanes.ledger.claim("a") is None
    assert "429" in lanes.ledger.lanes({"a": ("pagerduty", "12/min")})[0]["parked"]
    lanes.later(timedelta(seconds=840))
    assert claim(lanes.ledger, "a").delivery.action.value == "create"


# -- whose turn it is


def test_of_more_lanes_than_there_is_room_for_each_has_its_turn(lanes: Lanes) -> None:
    """The first ones by name are due again at once; nobody behind them waits for that to end."""
    names = "abcdef"
    served: list[str] = []
    for _ in range(3):
        settle(lanes.ledger, *(fires(f"{name}{len(served)}", account=name) for name in names))
        due = lanes.ledger.due_lanes(2)
        served += due
        for lane in due:
            while isinstance(found := lanes.ledger.claim(lane), Claimed):
                record(lanes.ledger, found, delivered(f"P-{found.delivery.id}"))
    assert sorted(served) == list(names)


# -- probes


def test_failing_lanes_are_sent_to_half_of_the_workers_and_healthy_ones_always(lanes: Lanes) -> None:
    lanes.beat(4)
    lanes.fail("a", "b", "c", "d")
    lanes.later(PROBE_FIRST)
    settle(lanes.ledger, fires("f", account="f"))
    assert lanes.ledger.due_lanes(64) == ["f", "a", "b"]
    assert lanes.ledger.due_lanes(64) == []
    assert isinstance(lanes.ledger.claim("a"), Claimed)
    settle(lanes.ledger, fires("e", account="e"))
    assert lanes.ledger.due_lanes(64) == ["e"]


def test_who_waits_longest_for_a_probe_goes_first(lanes: Lanes) -> None:
    lanes.beat(4)
    lanes.fail("c", "d")
    lanes.later(SECOND)
    lanes.fail("a", "b")
    lanes.later(PROBE_FIRST)
    assert lanes.ledger.due_lanes(64) == ["c", "d"]


def test_a_probe_that_ended_makes_room_for_the_next_lane(lanes: Lanes) -> None:
    lanes.beat(2)
    lanes.fail("a", "b")
    lanes.later(PROBE_FIRST)
    assert lanes.ledger.due_lanes(64) == ["a"]
    probe = claim(lanes.ledger, "a")
    assert lanes.ledger.due_lanes(64) == []
    record(lanes.ledger, probe, DOWN)
    assert lanes.ledger.due_lanes(64) == ["b"]


def test_a_webhooks_poke_takes_no_worker_beyond_the_half_either(lanes: Lanes) -> None:
    lanes.beat(4)
    lanes.fail("a", "b", "c")
    lanes.later(PROBE_FIRST)
    probes = [claim(lanes.ledger, lane) for lane in "ab"]
    assert lanes.ledger.claim("c") is None
    record(lanes.ledger, probes[0], delivered())
    assert isinstance(lanes.ledger.claim("c"), Claimed)


def test_fetching_lists_of_a_failing_upstream_counts_as_well(lanes: Lanes) -> None:
    lanes.beat(4)
    lanes.fail("a", "b", "c")
    lanes.later(PROBE_FIRST)
    assert lanes.ledger.fetch_begun("a", "service") is not None
    assert lanes.ledger.fetch_begun("a", "priority") is not None
    assert lanes.ledger.fetch_begun("b", "service") is None
    assert lanes.ledger.claim("c") is None
    assert lanes.ledger.fetch_begun("f", "service") is not None, "its upstream answers"


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_one_probe_at_least(lanes: Lanes, workers: int) -> None:
    lanes.beat(workers)
    lanes.fail("a", "b")
    lanes.later(PROBE_FIRST)
    assert lanes.ledger.due_lanes(64) == ["a"]


def test_a_dead_workers_probe_holds_no_place_for_ever(lanes: Lanes) -> None:
    lanes.beat(2)
    lanes.fail("a", "b")
    lanes.later(PROBE_FIRST)
    claim(lanes.ledger, "a")
    lanes.later(LEASE + SECOND)
    assert lanes.ledger.due_lanes(64) == ["a", "b"], "the lease is taken back, and the other lane is probed"
    assert isinstance(lanes.ledger.claim("b"), Claimed)
    assert lanes.ledger.claim("a") is None, "taken back; its probe waits for a place"
    assert ("create", "sending") in told(lanes.ledger)


def test_a_dead_worker_does_not_count_as_one(lanes: Lanes) -> None:
    lanes.beat(4)
    lanes.fail("a", "b")
    lanes.workers = 1
    lanes.later(PROBE_FIRST + timedelta(seconds=30))
    assert lanes.ledger.due_lanes(64) == ["a"]


def test_probes_of_one_lane_are_ten_to_sixty_seconds_apart(lanes: Lanes) -> None:
    lanes.beat(4)
    lanes.fail("a")
    began = lanes.ledger.time()
    for due_s in (10, 20, 40, 60, 60):
        while not lanes.ledger.due_lanes(64):
            lanes.later(SECOND)
        waited_s = (lanes.ledger.time() - began).total_seconds()
        assert due_s - 1 <= waited_s <= due_s + 4, "real time passes as well"
        record(lanes.ledger, claim(lanes.ledger, "a"), DOWN)
        began = lanes.ledger.time()
        assert lanes.ledger.claim("a") is None
    assert timedelta(seconds=60) == PROBE_MAX


def test_an_upstream_that_is_back_has_its_lane_at_once(lanes: Lanes) -> None:
    lanes.beat(4)
    lanes.fail("a")
    lanes.later(PROBE_FIRST)
    record(lanes.ledger, claim(lanes.ledger, "a"), delivered())
    assert lanes.ledger.due_lanes(64) == ["a"]


def test_what_healthy_upstreams_are_asked_takes_no_place_of_a_probe(lanes: Lanes) -> None:
    lanes.beat(2)
    lanes.fail("a")
    lanes.later(PROBE_FIRST)
    settle(lanes.ledger, fires("f", account="f"))
    assert claim(lanes.ledger, "f").delivery.action is Action.CREATE
    lanes.fetches("f", "service")
    assert isinstance(lanes.ledger.claim("a"), Claimed)


def test_a_probe_from_before_the_clock_jumped_back_holds_no_place(lanes: Lanes) -> None:
    lanes.beat(2)
    lanes.fail("a", "b")
    lanes.later(timedelta(hours=1))
    claim(lanes.ledger, "a")
    lanes.later(-timedelta(hours=1))
    lanes.later(PROBE_FIRST)
    assert isinstance(lanes.ledger.claim("b"), Claimed)


def test_what_is_held_back_on_purpose_is_not_sent_because_an_upstream_is_back(lanes: Lanes) -> None:
    lanes.beat(4)
    held = Policy(hold_resolve=timedelta(minutes=10))
    settle(lanes.ledger, fires("x", account="a", policy=held))
    record(lanes.ledger, claim(lanes.ledger, "a"), delivered())
    settle(lanes.ledger, ends("x"))
    lanes.fail("a")
    lanes.later(PROBE_FIRST)
    record(lanes.ledger, claim(lanes.ledger, "a"), delivered("P2"))
    while isinstance(found := lanes.ledger.claim("a"), Claimed):
        assert found.delivery.action is Action.CREATE, "the resolve waits its ten minutes"
        record(lanes.ledger, found, delivered(f"P-{found.delivery.id}"))
    lanes.later(timedelta(minutes=10))
    assert claim(lanes.ledger, "a").delivery.action is Action.RESOLVE


def test_an_upstream_that_is_back_says_nothing_of_the_others(lanes: Lanes) -> None:
    settle(lanes.ledger, fires("y", account="b"))
    waits = lanes.ledger.record(finished(claim(lanes.ledger, "b"), DOWN, jitter=1.0), claim_next=False)
    assert waits is not None
    lanes.fail("a")
    lanes.later(PROBE_FIRST)
    due = lanes.ledger.deliveries(account="b", limit=9).items[0]["next_at"]
    record(lanes.ledger, claim(lanes.ledger, "a"), delivered())
    assert lanes.ledger.deliveries(account="b", limit=9).items[0]["next_at"] == due


# -- a person, or a reload, says that it is mended


def test_who_mended_one_account_has_that_one_tried_and_no_other(lanes: Lanes) -> None:
    lanes.beat(6)
    settle(lanes.ledger, fires("x", account="c"), fires("y", account="d"))
    for lane in ("c", "d"):
        record(lanes.ledger, claim(lanes.ledger, lane), REFUSED_KEY)
    lanes.fail("a", "b")
    lanes.ledger.probed("a")
    lanes.ledger.probed("c")
    assert isinstance(lanes.ledger.claim("a"), Claimed)
    assert lanes.ledger.claim("b") is None
    assert (lanes.held_by("c"), lanes.held_by("d")) == (None, "auth")


def test_who_mended_an_account_has_its_lists_asked_for_at_once_and_no_others(lanes: Lanes) -> None:
    for account in ("a", "b"):
        lanes.list_fails(account, "service")
    lanes.ledger.probed("a")
    assert lanes.ledger.fetches_asked() == [("a", "service")]


def test_who_mended_an_account_has_no_list_fetched_that_came(lanes: Lanes) -> None:
    lanes.list_fails("a", "priority")
    assert lanes.ledger.fetch_recorded(Fetched(fetch=lanes.fetches("a", "service"), things=()))
    lanes.ledger.probed("a")
    assert lanes.ledger.fetches_asked() == [("a", "priority")]


def test_who_mended_an_account_need_not_wait_for_a_job_that_was_sent_to_it_already(lanes: Lanes) -> None:
    settle(lanes.ledger, fires("x", account="a"))
    assert lanes.ledger.due_lanes(64) == ["a"]
    lanes.ledger.probed("a")
    assert lanes.ledger.due_lanes(64) == ["a"]


def test_a_reload_tries_what_was_refused_and_nothing_that_failed(lanes: Lanes) -> None:
    settle(lanes.ledger, fires("x", account="a"), fires("y", account="b"), fires("z", account="c"))
    for lane, why in (("a", REFUSED_KEY), ("b", FORBIDDEN), ("c", DOWN)):
        lanes.ledger.record(finished(claim(lanes.ledger, lane), why, jitter=1.0), claim_next=False)
    assert [lanes.ledger.claim(lane) for lane in "abc"] == [None, None, None]
    assert lanes.ledger.parked_probed() == {"a", "b"}
    assert [isinstance(lanes.ledger.claim(lane), Claimed) for lane in "abc"] == [True, True, False]


# -- lists of names that do not come


def test_an_account_whose_lists_come_does_not_wait_for_those_that_fail(lanes: Lanes) -> None:
    lanes.beat(4)
    lanes.list_fails("a", "service", "priority")
    lanes.later(PROBE_FIRST)
    for kind in ("service", "priority"):
        lanes.fetches("a", kind)
    assert lanes.ledger.fetch_begun("b", "service") is not None


def test_a_worker_that_is_alone_waits_for_no_list_that_a_dead_one_fetched(lanes: Lanes) -> None:
    lanes.beat(1)
    lanes.list_fails("a", "service", "priority")
    lanes.later(PROBE_FIRST)
    lanes.fetches("a", "service")
    assert lanes.ledger.fetch_begun("a", "priority") is not None
