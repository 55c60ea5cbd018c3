"""From one episode to the next: spent keys whose problem is over, and the members of a dead incident."""

import pytest

from bridge.adapters.ledger import Ledger
from bridge.domain.alert import Severity
from bridge.domain.decision import KeyRule, OnResolve, Policy
from bridge.domain.delivery import Action, KeySpent, PermanentFailure, Reason, Reference
from tests.ledgers import claim, delivered, ends, fires, record, settle, states, told, webhook

REFUSED = PermanentFailure(reason=Reason.BAD_REQUEST, detail="no")
SPENT = KeySpent(reference=Reference(id="old", closed=True), detail="closed in January")


def members(ledger: Ledger, number: int) -> dict[str, str]:
    """Fingerprint to status, of the incident of this number, oldest first."""
    incident = ledger.incident(ledger.incidents(limit=500).items[-1 - number]["id"])
    assert incident is not None
    return {one["fingerprint"]: one["status"] for one in incident["members"]}


# -- a spent key


@pytest.mark.parametrize("on_resolve", OnResolve)
def test_a_spent_key_whose_problem_is_over_opens_nothing(ledger: Ledger, on_resolve: OnResolve) -> None:
    settle(ledger, fires("a", key_rule=KeyRule.FOR_EVER, episode="e1", policy=Policy(on_resolve=on_resolve)))
    create = claim(ledger)
    settle(ledger, ends("a"))
    record(ledger, create, SPENT)
    assert states(ledger) == ["cancelled"]
    assert {state for _, state in told(ledger)} == {"cancelled"}
    assert ledger.claim("pd") is None


def test_firing_again_after_that_opens_under_a_key_that_is_not_spent(ledger: Ledger) -> None:
    again = fires("a", key_rule=KeyRule.FOR_EVER, episode="e1")
    settle(ledger, again)
    create = claim(ledger)
    settle(ledger, ends("a"))
    record(ledger, create, SPENT)
    assert settle(ledger, again) == ["opened"]
    fresh = claim(ledger)
    assert fresh.delivery.key != create.delivery.key
    record(ledger, fresh, delivered("new"))
    assert states(ledger) == ["cancelled", "open"]
    settle(ledger, ends("a"))
    assert claim(ledger).delivery.upstream_id == "new"


# -- a dead incident


def dead_with_two(ledger: Ledger) -> None:
    settle(ledger, fires("m1", parts=("x",)))
    settle(ledger, fires("m2", parts=("x",), severity=Severity.CRITICAL))
    record(ledger, claim(ledger), REFUSED)


def test_the_other_problems_of_a_dead_incident_keep_the_next_one_open(ledger: Ledger) -> None:
    dead_with_two(ledger)
    assert settle(ledger, fires("m1", parts=("x",))) == ["opened"]
    record(ledger, claim(ledger), delivered("P2"))
    assert settle(ledger, ends("m1")) == ["resolving"]
    assert ledger.claim("pd") is None
    assert settle(ledger, ends("m2")) == ["resolving"]
    resolve = claim(ledger)
    assert (resolve.delivery.action, resolve.delivery.upstream_id) == (Action.RESOLVE, "P2")
    assert members(ledger, 0) == {"m1": "resolved", "m2": "resolved"}


def test_a_problem_that_moved_along_is_no_new_member(ledger: Ledger) -> None:
    dead_with_two(ledger)
    settle(ledger, fires("m1", parts=("x",)))
    assert settle(ledger, fires("m2", parts=("x",), severity=Severity.CRITICAL)) == ["duplicate"]
    assert members(ledger, 0) == {"m1": "resolved", "m2": "resolved"}
    assert members(ledger, 1) == {"m1": "firing", "m2": "firing"}


def test_a_critical_that_moved_along_goes_first(ledger: Ledger) -> None:
    dead_with_two(ledger)
    settle(ledger, fires("other"))
    settle(ledger, fires("m1", parts=("x",)))
    assert claim(ledger).delivery.fields["title"] == "m2 is down", "the critical's words, before those of others"


def test_what_ended_while_its_incident_was_dead_stays_behind(ledger: Ledger) -> None:
    dead_with_two(ledger)
    settle(ledger, ends("m2"))
    settle(ledger, fires("m1", parts=("x",)))
    record(ledger, claim(ledger), delivered("P2"))
    settle(ledger, ends("m1"))
    assert claim(ledger).delivery.action is Action.RESOLVE


def test_a_new_problem_takes_the_old_ones_along_too(ledger: Ledger) -> None:
    dead_with_two(ledger)
    assert settle(ledger, fires("m3", parts=("x",))) == ["opened"]
    assert members(ledger, 1) == {"m1": "firing", "m2": "firing", "m3": "firing"}
    for name, outcome in (("m3", "resolving"), ("m2", "resolving"), ("m1", "cancelled")):
        assert settle(ledger, ends(name)) == [outcome]


def test_firing_and_ending_in_one_batch_moves_and_leaves(ledger: Ledger) -> None:
    dead_with_two(ledger)
    ledger.settle(
        [webhook(ledger, fires("m1", parts=("x",))), webhook(ledger, ends("m2")), webhook(ledger, ends("m1"))]
    )
    assert states(ledger) == ["dead", "cancelled"]
    assert told(ledger) == [("create", "dead"), ("create", "cancelled")]


def test_a_renewed_incident_keeps_the_severity_of_each_of_its_problems(ledger: Ledger) -> None:
    settle(ledger, fires("low", parts=("x",), severity=Severity.WARNING))
    settle(ledger, fires("high", parts=("x",), severity=Severity.CRITICAL))
    record(ledger, claim(ledger), delivered("P1"))
    settle(ledger, ends("low"), ends("high"))
    resolve = claim(ledger)
    settle(ledger, fires("low", parts=("x",), severity=Severity.WARNING))
    record(ledger, resolve, delivered())
    assert settle(ledger, fires("low", parts=("x",), severity=Severity.WARNING)) == ["duplicate"]
