"""A clock that jumps back a day freezes nothing: what was written ahead of it goes on as if it had been written now."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from bridge.adapters.ledger import Claimed, NamesNeeded
from bridge.adapters.ledger.names import PATIENCE
from bridge.domain.alert import Severity
from bridge.domain.decision import Policy
from bridge.domain.delivery import Action, NameRef, NothingFound, Reason, TransientFailure, UnknownOutcome
from bridge.domain.lane import LEASE, PARK_MAX, PARK_REFUSED, PROBE_MAX, Pace
from bridge.domain.retry import BACKOFF_MAX
from tests.ledgers import (
    MovedDatabase,
    claim,
    delivered,
    ends,
    finished,
    fires,
    ledger_of,
    pace,
    record,
    route,
    settle,
    told,
)

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
LIMITED = TransientFailure(reason=Reason.RATE_LIMITED, detail="429", retry_after_s=600)
UNKNOWN = UnknownOutcome(reason=Reason.TIMEOUT, detail="no answer within 10 s")


class Jumping:
    """A ledger whose clock is a day ahead, until it jumps back."""

    def __init__(self, url: str, of: Pace | None = None) -> None:
        self.database = MovedDatabase(url)
        self.ledger = ledger_of(self.database, pd=route(of=of))
        self.database.ahead = DAY

    def jumps_back(self, by: timedelta | None = None) -> None:
        self.database.ahead = timedelta(0) if by is None else self.database.ahead - by
        self.ledger.waits_shortened()

    def later(self, by: timedelta) -> None:
        self.database.ahead += by
        self.ledger.waits_shortened()

    def first_claim_within(self, most: timedelta, step: timedelta) -> Claimed:
        """What the clock and a worker of it come to, looking every `step`."""
        waited = timedelta(0)
        while waited <= most:
            for lane in self.ledger.due_lanes(64):
                claimed = self.ledger.claim(lane)
                if isinstance(claimed, Claimed):
                    return claimed
            waited += step
            self.later(step)
        raise AssertionError(f"nothing was claimed within {most}")


@pytest.fixture
def jumping(ledger_url: str) -> Iterator[Callable[..., Jumping]]:
    opened: list[Jumping] = []

    def made(**changes: object) -> Jumping:
        opened.append(Jumping(ledger_url, pace(**changes)))
        return opened[-1]

    yield made
    for one in opened:
        one.ledger.close()


def test_a_create_that_was_never_tried_is_due_at_once(jumping: Callable[..., Jumping]) -> None:
    on = jumping()
    settle(on.ledger, fires("a"))
    on.jumps_back()
    assert on.ledger.due_lanes(64) == ["pd"]
    assert claim(on.ledger).delivery.action is Action.CREATE


def test_creates_keep_their_order_among_themselves_and_do_not_go_behind_newer_ones(
    jumping: Callable[..., Jumping],
) -> None:
    on = jumping()
    settle(on.ledger, fires("first"))
    on.later(SECOND)
    settle(on.ledger, fires("second"), fires("critical", severity=Severity.CRITICAL))
    on.jumps_back()
    on.later(SECOND)
    settle(on.ledger, fires("third"))
    order = []
    for _ in range(4):
        claimed = claim(on.ledger)
        order.append(claimed.delivery.fields["title"].split()[0])
        record(on.ledger, claimed, delivered(order[-1]))
    assert order == ["critical", "first", "second", "third"]


def test_a_held_resolve_keeps_its_hold_however_often_the_clock_looks(jumping: Callable[..., Jumping]) -> None:
    on = jumping()
    settle(on.ledger, fires("a", policy=Policy(hold_resolve=timedelta(minutes=10))))
    record(on.ledger, claim(on.ledger), delivered())
    settle(on.ledger, ends("a"))
    on.jumps_back()
    on.ledger.claim("pd")  # puts the lane's own instants right
    for _ in range(9):
        on.later(timedelta(minutes=1))
        assert on.ledger.claim("pd") is None
    on.later(timedelta(minutes=1, seconds=1))
    assert claim(on.ledger).delivery.action is Action.RESOLVE


def test_an_attempt_is_not_said_to_have_begun_tomorrow(jumping: Callable[..., Jumping]) -> None:
    on = jumping()
    settle(on.ledger, fires("a"))
    record(on.ledger, claim(on.ledger), UNKNOWN)
    on.jumps_back()
    again = on.first_claim_within(BACKOFF_MAX, SECOND * 10)
    assert again.delivery.first_attempt_at is not None
    assert again.delivery.first_attempt_at <= on.ledger.time()
    assert again.delivery.created_at <= again.delivery.first_attempt_at


def test_a_retry_waits_no_longer_than_the_longest_backoff(jumping: Callable[..., Jumping]) -> None:
    on = jumping()
    settle(on.ledger, fires("a"))
    claimed = claim(on.ledger)
    on.ledger.record(finished(claimed, UNKNOWN, jitter=1.0), claim_next=False)
    on.jumps_back()
    assert on.first_claim_within(BACKOFF_MAX, SECOND * 10).attempt == 2


def test_a_spent_bucket_is_full_again_after_its_slots(jumping: Callable[..., Jumping]) -> None:
    on = jumping(interval=timedelta(seconds=5), burst=4)
    settle(on.ledger, *[fires(name) for name in "abcde"])
    for name in "abcd":
        record(on.ledger, claim(on.ledger), delivered(name))
    on.jumps_back()
    assert on.first_claim_within(timedelta(seconds=5 * 5), SECOND).delivery.fields["title"] == "e is down"


def test_a_rate_that_comes_back_brings_the_slots_back(jumping: Callable[..., Jumping]) -> None:
    on = jumping(interval=timedelta(seconds=5), burst=40)
    on.database.ahead = timedelta(0)
    settle(on.ledger, *[fires(str(number)) for number in range(40)])
    for _ in range(39):
        record(on.ledger, claim(on.ledger), TransientFailure(reason=Reason.RATE_LIMITED, detail="", retry_after_s=1))
        on.later(SECOND)
    assert on.first_claim_within(timedelta(minutes=15), SECOND * 5)  # not in the hour that its tokens say


def test_a_lane_parked_by_the_upstream_goes_on_after_the_longest_park(jumping: Callable[..., Jumping]) -> None:
    on = jumping()
    settle(on.ledger, fires("a"))
    record(on.ledger, claim(on.ledger), LIMITED)
    on.jumps_back()
    assert on.first_claim_within(PARK_MAX + SECOND * 20, SECOND * 20).attempt == 2


def test_a_wait_that_was_over_before_the_clock_jumped_back_does_not_begin_again(
    jumping: Callable[..., Jumping],
) -> None:
    on = jumping()
    settle(on.ledger, fires("a"))
    record(on.ledger, claim(on.ledger), LIMITED)
    on.later(timedelta(minutes=10, seconds=1))
    record(on.ledger, claim(on.ledger), delivered())
    on.later(timedelta(seconds=10))
    settle(on.ledger, fires("b"))
    on.jumps_back(timedelta(minutes=5))
    assert on.first_claim_within(SECOND * 2, SECOND).delivery.fields["title"] == "b is down"


def test_a_refused_key_is_tried_again_after_a_minute(jumping: Callable[..., Jumping]) -> None:
    on = jumping()
    settle(on.ledger, fires("a"))
    record(on.ledger, claim(on.ledger), TransientFailure(reason=Reason.AUTH, detail="401"))
    on.jumps_back()
    assert on.first_claim_within(PARK_REFUSED + SECOND * 10, SECOND * 5).attempt == 2


def test_a_failing_lane_is_probed(jumping: Callable[..., Jumping]) -> None:
    on = jumping()
    settle(on.ledger, fires("a"))
    for _ in range(3):
        record(on.ledger, claim(on.ledger), TransientFailure(reason=Reason.NOT_CONNECTED, detail="refused"))
    on.jumps_back()
    assert on.first_claim_within(PROBE_MAX + SECOND * 5, SECOND * 5).attempt == 4


def test_a_lane_whose_job_was_lost_is_sent_to_again_after_a_lease(jumping: Callable[..., Jumping]) -> None:
    on = jumping()
    settle(on.ledger, fires("a"))
    assert on.ledger.due_lanes(64) == ["pd"]
    on.jumps_back()
    assert on.ledger.due_lanes(64) == ["pd"]
    assert on.ledger.due_lanes(64) == []
    on.later(LEASE + SECOND)
    assert on.ledger.due_lanes(64) == ["pd"]


def test_a_dead_workers_lease_ends(jumping: Callable[..., Jumping]) -> None:
    on = jumping()
    settle(on.ledger, fires("a"))
    claim(on.ledger)
    on.jumps_back()
    assert on.first_claim_within(LEASE * 2, SECOND * 5).attempt == 2


def test_a_wait_for_names_ends(jumping: Callable[..., Jumping]) -> None:
    on = jumping()
    priority = NameRef(field="priority", kind="priority", text="P1")
    settle(on.ledger, fires("a", names=(priority,)))
    assert isinstance(on.ledger.claim("pd"), NamesNeeded)
    on.jumps_back()
    step = SECOND * 20
    # it waits once as it did before the jump and once by the new clock; each end may be seen a step late
    assert on.first_claim_within((PATIENCE + step) * 2, step).delivery.ids == {}


def test_an_idle_lane_is_put_right_once_and_not_sent_to_again(jumping: Callable[..., Jumping]) -> None:
    on = jumping(interval=timedelta(seconds=5), burst=4)
    settle(on.ledger, fires("a"))
    record(on.ledger, claim(on.ledger), delivered())
    assert on.ledger.due_lanes(64) == []
    on.jumps_back()
    assert on.ledger.due_lanes(64) == ["pd"]
    assert on.ledger.claim("pd") is None
    assert on.ledger.due_lanes(64) == []


def test_a_look_up_goes_on_too(jumping: Callable[..., Jumping]) -> None:
    on = jumping(interval=timedelta(seconds=2), burst=5)
    settle(on.ledger, fires("a"))
    record(on.ledger, claim(on.ledger), UNKNOWN)
    record(on.ledger, claim(on.ledger), NothingFound(detail="no incident has this key"))
    on.jumps_back()
    assert on.first_claim_within(timedelta(seconds=20), SECOND).delivery.action is Action.CREATE
    assert told(on.ledger) == [("create", "sending")]


def test_who_joins_after_the_jump_is_told_and_once(jumping: Callable[..., Jumping]) -> None:
    on = jumping()
    settle(on.ledger, fires("a", parts=("x",)))
    record(on.ledger, claim(on.ledger), delivered())
    on.jumps_back()
    told_of = []
    for name in "bc":
        settle(on.ledger, fires(name, parts=("x",)))
        while not told_of or not told_of[-1].endswith(f"{name} is down"):
            claimed = on.first_claim_within(timedelta(minutes=2), SECOND * 10)
            told_of += [claimed.delivery.fields["note"]] if claimed.delivery.action is Action.NOTE else []
            record(on.ledger, claimed, delivered())
    assert told_of == ["1 more problem joined: b is down", "1 more problem joined: c is down"]
