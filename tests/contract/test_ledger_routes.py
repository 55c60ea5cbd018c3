"""Accounts come, go and change their lane between two starts: no delivery is left in a lane that nobody works."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from bridge.adapters.ledger import Ledger, Route
from bridge.adapters.ledger.letters import LetterError
from bridge.domain.delivery import Action, PermanentFailure, Reason, TransientFailure, UnknownOutcome
from tests.ledgers import MovedDatabase, claim, delivered, ends, fires, ledger_of, pace, record, route, settle, told

DAY = timedelta(days=1)
REFUSED = PermanentFailure(reason=Reason.BAD_REQUEST, detail="no")
Starts = Callable[..., Ledger]


@pytest.fixture
def starts(ledger_url: str) -> Iterator[Starts]:
    """Processes with these accounts, one after the other, on one database."""
    opened: list[Ledger] = []

    def started(ahead: timedelta = timedelta(0), **routes: Route) -> Ledger:
        database = MovedDatabase(ledger_url)
        database.ahead = ahead
        opened.append(ledger_of(database, **routes))
        return opened[-1]

    yield started
    for one in opened:
        one.close()


def accounts_of(ledger: Ledger, state: str) -> list[str]:
    return [one["account"] for one in ledger.deliveries(state=state, limit=500).items]


def test_what_waits_follows_its_account_into_the_renamed_lane(starts: Starts) -> None:
    settle(starts(pd=route("pd")), fires("a"))
    renamed = starts(aa=route("aa"), pd=route("aa"))
    assert renamed.due_lanes(64) == ["aa"]
    record(renamed, claim(renamed, "aa"), delivered())
    settle(renamed, ends("a"))
    assert claim(renamed, "aa").delivery.action is Action.RESOLVE


def test_what_is_in_flight_is_recorded_by_the_old_process_or_taken_back_by_the_new_one(starts: Starts) -> None:
    old = starts(pd=route("pd"))
    settle(old, fires("a"), fires("b"))
    held = claim(old)
    renamed = starts(aa=route("aa"), pd=route("aa"))
    assert renamed.claim("aa") is None, "one create in flight"
    record(old, held, delivered("P1"))
    assert claim(renamed, "aa").delivery.fields["title"] == "b is down"
    later = starts(ahead=timedelta(minutes=1), aa=route("aa"), pd=route("aa"))
    assert later.due_lanes(64) == ["aa"]
    assert claim(later, "aa").attempt == 2


def test_a_lane_under_a_new_name_has_no_fresh_tokens(starts: Starts) -> None:
    slow = pace(interval=timedelta(minutes=1), burst=1)
    old = starts(pd=route("pd", slow))
    settle(old, fires("a"), fires("b"))
    record(old, claim(old), delivered())
    assert starts(aa=route("aa", slow), pd=route("aa", slow)).claim("aa") is None
    later = starts(ahead=timedelta(minutes=1), aa=route("aa", slow), pd=route("aa", slow))
    assert claim(later, "aa").delivery.fields["title"] == "b is down"


def test_a_paused_lane_stays_paused_under_its_new_name(starts: Starts) -> None:
    old = starts(pd=route("pd"))
    settle(old, fires("a"))
    old.paused("pd")
    renamed = starts(aa=route("aa"), pd=route("aa"))
    assert renamed.claim("aa") is None
    assert renamed.resumed("pd") == "aa"
    assert claim(renamed, "aa").delivery.fields["title"] == "a is down"


def test_a_delivery_that_an_old_process_adds_later_is_moved_as_well(starts: Starts) -> None:
    old, renamed = starts(pd=route("pd")), starts(aa=route("aa"), pd=route("aa"))
    settle(old, fires("late"))
    assert renamed.claim("aa") is None
    renamed.lanes_ensured()
    assert claim(renamed, "aa").delivery.fields["title"] == "late is down"


def test_a_removed_accounts_deliveries_wait_visibly_and_its_lane_goes_on(starts: Starts) -> None:
    both = starts(aa=route("aa"), pd=route("aa"))
    settle(both, fires("a"))
    settle(both, fires("b", account="aa"))
    left = starts(aa=route("aa"))
    assert left.due_lanes(64) == ["aa"]
    assert claim(left, "aa").delivery.account == "aa"
    assert left.claim("aa") is None
    (waiting,) = left.deliveries(state="pending", limit=9).items
    assert (waiting["account"], waiting["attempts"], waiting["eta_s"]) == ("pd", 0, None)


def test_a_lane_with_nothing_but_a_removed_accounts_deliveries_is_not_due(starts: Starts) -> None:
    settle(starts(aa=route("aa"), pd=route("aa")), fires("a"))
    left = starts(aa=route("aa"))
    assert left.due_lanes(64) == []
    assert left.claim("aa") is None
    back = starts(aa=route("aa"), pd=route("aa"))
    assert back.due_lanes(64) == ["aa"]
    assert claim(back, "aa").delivery.account == "pd"


def test_a_removed_accounts_lost_call_waits_too(starts: Starts) -> None:
    both = starts(aa=route("aa"), pd=route("aa"))
    settle(both, fires("a"))
    claim(both, "aa")
    left = starts(ahead=timedelta(minutes=1), aa=route("aa"))
    assert left.due_lanes(64) == ["aa"]
    assert left.claim("aa") is None
    assert left.due_lanes(64) == []
    assert told(left) == [("create", "pending")]


def test_letters_of_removed_accounts_do_not_keep_others_from_being_given_up(starts: Starts) -> None:
    both = starts(gone=route("gone"), pd=route("pd"), shared=route("pd"))
    settle(both, *[fires(f"g{number}", account="gone") for number in range(201)])
    settle(both, *[fires(f"s{number}", account="shared") for number in range(3)], fires("x"))
    left = starts(ahead=3 * DAY, pd=route("pd"))
    assert [left.given_up(), left.given_up()] == [1, 0]
    assert accounts_of(left, "dead") == ["pd"]
    assert accounts_of(left, "pending").count("gone") == 201
    assert accounts_of(left, "pending").count("shared") == 3


def test_a_letter_is_replayed_into_the_lane_its_account_has_now(starts: Starts) -> None:
    old = starts(pd=route("pd"))
    settle(old, fires("a"))
    letter = claim(old)
    record(old, letter, REFUSED)
    renamed = starts(aa=route("aa"), pd=route("aa"))
    assert renamed.replayed(letter.delivery.id) == "aa"
    assert claim(renamed, "aa").delivery.id == letter.delivery.id


def test_a_letter_of_a_removed_account_is_not_replayed_into_nowhere(starts: Starts) -> None:
    old = starts(pd=route("pd"))
    settle(old, fires("a"))
    letter = claim(old)
    record(old, letter, REFUSED)
    with pytest.raises(LetterError, match="account 'pd' is not configured"):
        starts(aa=route("aa")).replayed(letter.delivery.id)
    assert told(old) == [("create", "dead")]


def test_a_letter_that_is_retried_meanwhile_is_not_counted_as_given_up(starts: Starts) -> None:
    ledger = starts(pd=route("pd", pace(give_up_after=timedelta(minutes=1))))
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), UnknownOutcome(reason=Reason.TIMEOUT, detail=""))
    record(ledger, claim(ledger), TransientFailure(reason=Reason.SERVER_ERROR, detail="503"))
    assert ledger.given_up() == 0
    assert starts(ahead=timedelta(minutes=2), pd=route("pd")).given_up() == 1
