"""Events of the upstreams: what people did there is known here at once, whatever the order in which it is told."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta

import pytest

from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.pruning import forget_incidents, incidents_past
from bridge.domain.alert import Seen, Sighted
from bridge.domain.decision import Decided
from bridge.domain.delivery import Action
from tests.contract.test_ledger_truth import TRUST, Moved, opened
from tests.e2e.processes import eventually
from tests.ledgers import (
    ACCOUNT,
    claim,
    delivered,
    ends,
    fires,
    record,
    settle,
    states,
    waits_for_a_lock,
    webhook,
)

HOUR = timedelta(hours=1)


@pytest.fixture
def moved(ledger_url: str) -> Iterator[Moved]:
    made = Moved(ledger_url)
    opened(made.ledger, "a")
    made.later(HOUR)
    yield made
    made.ledger.close()


def says(seen: Seen, at: datetime | None = None, *, upstream_id: str = "P1", account: str = ACCOUNT) -> Decided:
    return Decided(
        reading=Sighted(
            source="events",
            source_type="pagerduty_events",
            reason="it says so",
            payload={},
            account=account,
            upstream_id=upstream_id,
            seen=seen,
            occurred_at=at,
        )
    )


def told(ledger: Ledger, decided: Decided) -> tuple[str, str]:
    """The outcome of an event and its reason."""
    results, _ = ledger.settle([webhook(ledger, decided)])
    event = ledger.event(results[0].event_id)
    assert event is not None
    (alert,) = event["alerts"]
    return alert["outcome"], alert["decisions"][0]["reason"]


def test_closed_by_a_person_while_it_fires_it_is_quiet_and_opens_again_after_the_window(moved: Moved) -> None:
    outcome, reason = told(moved.ledger, says(Seen.CLOSED, moved.now() - timedelta(minutes=1)))
    assert outcome == "sighted"
    assert "if it still fires, a new one follows" in reason
    assert states(moved.ledger) == ["resolved"]
    assert settle(moved.ledger, fires("a", parts=("x",))) == ["duplicate"]
    assert moved.later(TRUST.respect_human_close).renewals_opened() == 1
    create = claim(moved.ledger)
    assert (create.delivery.action, create.delivery.fields["title"]) == (Action.CREATE, "a is down")


def test_opened_again_by_a_person_it_is_open_here_as_well(moved: Moved) -> None:
    told(moved.ledger, says(Seen.CLOSED, moved.now()))
    outcome, reason = told(moved.ledger, says(Seen.OPEN, moved.later(timedelta(minutes=2)).time()))
    assert (outcome, reason) == ("sighted", "it says so: somebody opened it again")
    assert states(moved.ledger) == ["open"]
    assert moved.later(3 * HOUR).renewals_opened() == 0
    settle(moved.ledger, ends("a"))
    assert claim(moved.ledger).delivery.upstream_id == "P1"


def test_closed_long_ago_and_told_late_the_next_one_opens_with_the_next_round_of_the_clock(moved: Moved) -> None:
    moved.later(3 * HOUR)
    told(moved.ledger, says(Seen.CLOSED, moved.now() - 2 * HOUR))
    assert moved.ledger.renewals_opened() == 1


def test_closed_and_closed_again_in_one_batch_counts_once(moved: Moved) -> None:
    at = moved.now()
    batch = [webhook(moved.ledger, says(Seen.CLOSED, at)) for _ in range(2)]
    results, _ = moved.ledger.settle(batch)
    outcomes = []
    for one in results:
        event = moved.ledger.event(one.event_id)
        assert event is not None
        outcomes += [alert["outcome"] for alert in event["alerts"]]
    assert outcomes == ["sighted", "ignored"]


def test_closed_and_over_in_one_batch_nothing_follows(moved: Moved) -> None:
    moved.ledger.settle([webhook(moved.ledger, says(Seen.CLOSED, moved.now())), webhook(moved.ledger, ends("a"))])
    assert states(moved.ledger) == ["resolved"]
    assert moved.later(3 * HOUR).renewals_opened() == 0
    assert moved.ledger.claim(ACCOUNT) is None


def test_what_our_own_calls_did_changes_nothing(moved: Moved) -> None:
    settle(moved.ledger, ends("a"))
    resolve = claim(moved.ledger)
    assert told(moved.ledger, says(Seen.CLOSED, moved.now()))[0] == "ignored"
    record(moved.ledger, resolve, delivered())
    assert told(moved.ledger, says(Seen.CLOSED, moved.now()))[0] == "ignored"
    assert states(moved.ledger) == ["resolved"]
    assert moved.ledger.incidents(limit=1).items[0]["reason"] is None


def test_a_late_event_from_before_our_resolve_does_not_open_it_again(moved: Moved) -> None:
    before = moved.now()
    settle(moved.later(timedelta(minutes=1)), ends("a"))
    record(moved.ledger, claim(moved.ledger), delivered())
    assert told(moved.ledger, says(Seen.OPEN, before))[0] == "ignored"
    assert moved.ledger.claim(ACCOUNT) is None


def test_opened_again_by_a_person_after_our_resolve_it_is_left_to_people(moved: Moved) -> None:
    settle(moved.ledger, ends("a"))
    record(moved.ledger, claim(moved.ledger), delivered())
    outcome, reason = told(moved.ledger, says(Seen.OPEN, moved.later(timedelta(minutes=1)).time()))
    assert (outcome, "left to people" in reason) == ("sighted", True)
    assert moved.ledger.claim(ACCOUNT) is None


def test_an_event_older_than_what_is_known_changes_nothing_and_one_in_doubt_asks(moved: Moved) -> None:
    known_at = moved.now() - HOUR
    assert told(moved.ledger, says(Seen.CLOSED, known_at - HOUR))[0] == "ignored"
    assert states(moved.ledger) == ["open"]
    assert told(moved.ledger, says(Seen.CLOSED, known_at - timedelta(minutes=1)))[0] == "sighted"
    assert told(moved.ledger, says(Seen.CLOSED, known_at - timedelta(minutes=1)))[0] == "ignored"
    assert claim(moved.ledger).delivery.action is Action.CHECK


def test_an_event_that_names_an_incident_and_nothing_else_asks(moved: Moved) -> None:
    assert told(moved.ledger, says(Seen.CHANGED))[0] == "sighted"
    assert claim(moved.ledger).delivery.action is Action.CHECK


@pytest.mark.parametrize(("upstream_id", "account"), [("P2", ACCOUNT), ("P1", "another"), ("\x00", ACCOUNT)])
def test_an_incident_that_is_none_of_ours_is_ignored_with_a_reason(
    moved: Moved, upstream_id: str, account: str
) -> None:
    outcome, reason = told(moved.ledger, says(Seen.CLOSED, upstream_id=upstream_id, account=account))
    assert (outcome, "has no incident of ours" in reason) == ("ignored", True)
    assert states(moved.ledger) == ["open"]


def test_an_event_about_an_incident_that_is_pruned_in_that_moment_is_about_none_of_ours(moved: Moved) -> None:
    settle(moved.ledger, ends("a"))
    record(moved.ledger, claim(moved.ledger), delivered())
    moved.later(timedelta(days=98))
    with ThreadPoolExecutor() as pool, ExitStack() as pruning:
        transaction = pruning.enter_context(moved.ledger.database.writing())
        ids = incidents_past(transaction, timedelta(days=90))
        assert forget_incidents(transaction, timedelta(days=90), ids) == 1
        event = pool.submit(told, moved.ledger, says(Seen.CLOSED, moved.now()))
        if not moved.ledger.database.is_sqlite:
            eventually(lambda: waits_for_a_lock(moved.ledger), 5.0)
        pruning.close()
        outcome, reason = event.result(10.0)
    assert (outcome, "has no incident of ours" in reason) == ("ignored", True)
