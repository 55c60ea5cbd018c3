"""The rule book in force, on both databases: one row for all processes, starts and reloads, refusals."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from bridge.adapters.ledger import InForce, Ledger, Origin, StoredBook
from bridge.domain.alarms import CauseKind
from bridge.domain.delivery import Reason, TransientFailure
from tests.contract.test_ledger_alarms import WAITS, alive
from tests.contract.test_ledger_truth import Moved
from tests.ledgers import ACCOUNT, claim, fires, record, settle

PROBLEM = {"file": "rules/a.yaml", "line": 3, "column": 7, "grade": "error", "message": "unknown", "hint": "mend it"}


def book(name: str, files: str | None = None) -> StoredBook:
    return StoredBook(hash=name, content=json.dumps({"rules": [], "is": name}), files=files or f"texts of {name}")


def origin(place: str = "host", digest: str = "d1", by: str = "somebody") -> Origin:
    return Origin(place=place, digest=digest, by=by)


def test_nothing_is_in_force_before_a_process_has_started(ledger: Ledger) -> None:
    assert ledger.in_force() == InForce()
    assert ledger.rules_state().book is None
    assert ledger.book("x") is None


def test_the_first_start_puts_its_book_in_force_and_everybody_can_read_it(ledger: Ledger) -> None:
    assert ledger.book_started(book("a"), origin())
    assert ledger.in_force() == InForce(book="a", book_no=1)
    assert ledger.book("a") == book("a")
    state = ledger.rules_state()
    assert (state.taken_by, state.taken_at, state.refused) == ("somebody", state.checked_at, ())


def test_a_start_with_files_that_were_looked_at_before_undoes_no_reload(ledger: Ledger) -> None:
    ledger.book_started(book("old"), origin(place="one", digest="old"))
    ledger.book_started(book("old"), origin(place="two", digest="old"))
    ledger.book_taken(book("new"), origin(place="two", digest="new"))
    assert not ledger.book_started(book("old"), origin(place="one", digest="old"))
    assert ledger.in_force().book == "new"


def test_a_start_with_other_files_than_last_time_takes_them_a_return_to_older_rules_too(ledger: Ledger) -> None:
    for digest in ("v1", "v2", "v1"):
        assert ledger.book_started(book(digest), origin(digest=digest))
        assert ledger.in_force().book == digest


def test_a_start_does_not_take_what_a_reload_refused(ledger: Ledger) -> None:
    ledger.book_started(book("good"), origin(digest="good"))
    ledger.reload_refused([PROBLEM], "somebody", origin(digest="bad"))
    assert not ledger.book_started(book("bad"), origin(digest="bad"))
    assert ledger.in_force().book == "good"
    assert ledger.files_seen("host") == "bad"


def test_a_start_knows_that_these_very_files_were_refused_here(ledger: Ledger) -> None:
    refused = origin(digest="bad")
    assert not ledger.was_book_refused(refused)
    ledger.book_started(book("good"), origin(digest="good"))
    assert not ledger.was_book_refused(origin(digest="good"))
    ledger.reload_refused([PROBLEM], "somebody", refused)
    assert ledger.was_book_refused(refused)
    assert not ledger.was_book_refused(origin(digest="good"))
    assert not ledger.was_book_refused(origin(place="another", digest="bad"))
    ledger.reload_refused([PROBLEM], "another", origin(place="another", digest="worse"))
    assert not ledger.was_book_refused(refused), "what counts is the last one"
    ledger.book_taken(book("good"), origin(digest="good"))
    assert not ledger.was_book_refused(refused)


def test_a_reload_with_the_same_book_changes_nothing_and_other_words_for_it_are_read_again(ledger: Ledger) -> None:
    ledger.book_taken(book("a"), origin())
    assert not ledger.book_taken(book("a"), origin())
    assert ledger.in_force().book_no == 1
    assert ledger.book_taken(book("a", "the same, with a comment"), origin())
    assert ledger.in_force() == InForce(book="a", book_no=2)
    assert ledger.book("a") == book("a", "the same, with a comment")


def test_a_refused_reload_is_an_alarm_until_one_succeeds(ledger: Ledger) -> None:
    alive(ledger)
    ledger.book_taken(book("a"), origin())
    ledger.reload_refused([PROBLEM, PROBLEM], "somebody", origin(digest="d2"))
    state = ledger.rules_state()
    assert (state.book, state.refused, state.refused_by) == ("a", (PROBLEM, PROBLEM), "somebody")
    (cause,) = ledger.alarms_standing(WAITS)
    assert cause.kind is CauseKind.RELOAD_REFUSED
    assert "rules/a.yaml:3: unknown, and 1 more" in cause.sentence
    assert ledger.alarms_due(WAITS) == [cause]
    assert ledger.alarms_due(WAITS) == []
    ledger.book_taken(book("a"), origin())
    assert ledger.alarms_standing(WAITS) == ()
    assert ledger.rules_state().refused == ()


def test_a_process_that_cannot_take_the_book_says_so_without_touching_what_was_looked_at(ledger: Ledger) -> None:
    ledger.book_taken(book("a"), origin(digest="d1"))
    ledger.reload_refused([PROBLEM], "another host")
    assert ledger.files_seen("host") == "d1"
    assert ledger.rules_state().refused_by == "another host"


def test_reloads_at_once_leave_one_of_the_books_whole_in_force(ledger: Ledger) -> None:
    names = [f"book-{number}" for number in range(8)]
    with ThreadPoolExecutor(max_workers=8) as threads:
        assert all(threads.map(lambda name: ledger.book_taken(book(name), origin(place=name)), names))
    found = ledger.in_force()
    assert found.book_no == len(names)
    assert found.book is not None
    assert ledger.book(found.book) == book(found.book)


@pytest.mark.parametrize("reason", [Reason.AUTH, Reason.FORBIDDEN])
def test_a_lane_whose_key_was_refused_is_tried_again_at_once(ledger: Ledger, reason: Reason) -> None:
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), TransientFailure(reason=reason, detail="no"))
    with ledger.database.writing() as transaction:
        transaction.connection.exec_driver_sql("UPDATE deliveries SET next_at = 0")
    assert ledger.claim(ACCOUNT) is None
    assert ledger.parked_probed() == {ACCOUNT}
    assert claim(ledger).attempt == 2
    assert ledger.parked_probed() == frozenset()


def test_a_lane_that_waits_for_its_rate_waits_on(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), TransientFailure(reason=Reason.RATE_LIMITED, detail="429", retry_after_s=60.0))
    assert ledger.parked_probed() == frozenset()
    assert ledger.claim(ACCOUNT) is None


def test_a_book_is_kept_as_long_as_events_that_it_decided_and_the_one_in_force_however_old(moved: Moved) -> None:
    first, second, third = (book(name) for name in ("one", "two", "three"))
    moved.ledger.book_taken(first, origin(digest="d1"))
    moved.later(timedelta(days=60)).book_taken(second, origin(digest="d2"))
    moved.later(timedelta(days=80)).pruned(timedelta(days=7), timedelta(days=90))
    assert moved.ledger.book(first.hash) == first, "in force until 80 days ago"
    moved.later(timedelta(days=20)).pruned(timedelta(days=7), timedelta(days=90))
    assert moved.ledger.book(first.hash) is None
    assert moved.ledger.book(second.hash) == second, "in force"
    moved.ledger.book_taken(third, origin(digest="d3"))
    moved.ledger.book_taken(first, origin(digest="d4"))
    moved.later(timedelta(days=80)).book_taken(third, origin(digest="d5"))
    moved.later(timedelta(days=20)).pruned(timedelta(days=7), timedelta(days=90))
    assert moved.ledger.book(second.hash) is None
    assert moved.ledger.book(first.hash) == first, "put in force once more"
    assert moved.ledger.book(third.hash) == third
