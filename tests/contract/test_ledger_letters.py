"""A dead letter is sent again by a person; what that opens, somebody closes again."""

from datetime import timedelta

import pytest

from bridge.adapters.ledger import Claimed, Ledger
from bridge.adapters.ledger.letters import LetterError
from bridge.domain.decision import KeyRule, OnResolve, Policy
from bridge.domain.delivery import Action, DeliveryState, NothingFound, PermanentFailure, Phase, Reason, UnknownOutcome
from tests.ledgers import (
    MovedDatabase,
    claim,
    delivered,
    ends,
    fires,
    ledger_of,
    pace,
    record,
    route,
    settle,
    states,
    told,
)

REFUSED = PermanentFailure(reason=Reason.BAD_REQUEST, detail="no")
UNKNOWN = UnknownOutcome(reason=Reason.TIMEOUT, detail="no answer within 10 s")


def dead_create(ledger: Ledger, *, after_unknown: bool = False, policy: Policy | None = None) -> Claimed:
    """The create of `a`, refused; before that, perhaps, its outcome was unknown."""
    settle(ledger, fires("a", policy=policy or Policy()))
    claimed = claim(ledger)
    if after_unknown:
        record(ledger, claimed, UNKNOWN)
        record(ledger, claim(ledger), NothingFound(detail="no incident has this key"))
        claimed = claim(ledger)
    record(ledger, claimed, REFUSED)
    return claimed


def test_what_was_never_sent_is_not_replayed_once_its_problem_is_over(ledger: Ledger) -> None:
    letter = dead_create(ledger)
    assert settle(ledger, ends("a")) == ["ignored"]
    with pytest.raises(LetterError, match=r"its problem is over .* discard it"):
        ledger.replayed(letter.delivery.id)
    assert (told(ledger), states(ledger)) == ([("create", "dead")], ["dead"])
    assert ledger.claim("pd") is None
    ledger.discarded(letter.delivery.id, "over")
    assert states(ledger) == ["cancelled"]


def test_what_may_have_been_sent_is_found_out_and_resolved(ledger: Ledger) -> None:
    letter = dead_create(ledger, after_unknown=True)
    settle(ledger, ends("a"))
    ledger.replayed(letter.delivery.id)
    look = claim(ledger)
    assert (look.delivery.phase, look.delivery.key) == (Phase.LOOK_UP, letter.delivery.key)
    assert ledger.claim("pd") is None, "a resolve never overtakes its create"
    record(ledger, look, delivered("P7", adopted=True))
    resolve = claim(ledger)
    assert (resolve.delivery.action, resolve.delivery.upstream_id) == (Action.RESOLVE, "P7")
    record(ledger, resolve, delivered())
    assert states(ledger) == ["resolved"]


def test_a_recovery_before_the_letter_died_is_not_forgotten(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), UNKNOWN)
    settle(ledger, ends("a"))
    record(ledger, claim(ledger), NothingFound(detail="no incident has this key"))
    letter = claim(ledger)
    record(ledger, letter, REFUSED)
    ledger.replayed(letter.delivery.id)
    assert told(ledger) == [("create", "pending"), ("resolve", "cancelled"), ("resolve", "pending")]


@pytest.mark.parametrize("dies_again", [False, True])
def test_what_was_not_resolved_can_be_after_a_new_episode_took_its_place(ledger: Ledger, dies_again: bool) -> None:
    """Where each episode is an incident of its own, nobody else would ever close the last one."""
    settle(ledger, fires("a", key_rule=KeyRule.FOR_EVER))
    record(ledger, claim(ledger), delivered("I1"))
    settle(ledger, ends("a"))
    letter = claim(ledger)
    record(ledger, letter, REFUSED)
    record(ledger, claim(ledger), REFUSED)  # nor does a look say that somebody closed it
    assert settle(ledger, fires("a", key_rule=KeyRule.FOR_EVER)) == ["opened"]
    record(ledger, claim(ledger), delivered("I2"))
    assert states(ledger) == ["dead", "open"]
    ledger.replayed(letter.delivery.id)
    resolve = claim(ledger)
    assert (resolve.delivery.action, resolve.delivery.upstream_id) == (Action.RESOLVE, "I1")
    if dies_again:
        record(ledger, resolve, REFUSED)
        record(ledger, claim(ledger), REFUSED)
        assert states(ledger) == ["dead", "open"]
        ledger.replayed(letter.delivery.id)
        resolve = claim(ledger)
    record(ledger, resolve, delivered())
    assert states(ledger) == ["resolved", "open"]
    settle(ledger, ends("a"))
    assert claim(ledger).delivery.upstream_id == "I2"


def test_what_was_not_resolved_is_a_later_episodes_where_that_goes_on_in_it(ledger: Ledger) -> None:
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), delivered("P1"))
    settle(ledger, ends("a"))
    letter = claim(ledger)
    record(ledger, letter, REFUSED)
    settle(ledger, fires("a"))
    with pytest.raises(LetterError, match="took its place"):
        ledger.replayed(letter.delivery.id)


def test_firing_again_while_it_is_replayed_keeps_the_incident_open(ledger: Ledger) -> None:
    letter = dead_create(ledger, after_unknown=True)
    settle(ledger, ends("a"))
    ledger.replayed(letter.delivery.id)
    assert settle(ledger, fires("a")) == ["joined"]
    record(ledger, claim(ledger), delivered(adopted=True))
    assert ledger.claim("pd") is None
    assert states(ledger) == ["open"]


def test_a_rule_that_leaves_resolving_to_people_leaves_it_to_them_after_a_replay(ledger: Ledger) -> None:
    letter = dead_create(ledger, after_unknown=True, policy=Policy(on_resolve=OnResolve.IGNORE))
    settle(ledger, ends("a"))
    ledger.replayed(letter.delivery.id)
    record(ledger, claim(ledger), delivered(adopted=True))
    assert (told(ledger), states(ledger)) == ([("create", "adopted")], ["open"])


def test_an_unknown_outcome_is_remembered_by_a_letter_that_became_too_old_with_it(ledger_url: str) -> None:
    database = MovedDatabase(ledger_url)
    ledger = ledger_of(database, pd=route(of=pace(give_up_after=timedelta(minutes=1))))
    settle(ledger, fires("a"))
    letter = claim(ledger)
    database.ahead = timedelta(minutes=1)
    assert record(ledger, letter, UNKNOWN).reason is Reason.TOO_OLD
    ledger.replayed(letter.delivery.id)
    assert claim(ledger).delivery.phase is Phase.LOOK_UP
    ledger.close()


def test_a_create_whose_look_ups_are_refused_ends_when_it_is_too_old(ledger_url: str) -> None:
    database = MovedDatabase(ledger_url)
    ledger = ledger_of(database, pd=route(of=pace(give_up_after=timedelta(minutes=1))))
    settle(ledger, fires("a"))
    for _ in range(2):
        record(ledger, claim(ledger), UNKNOWN)
        assert record(ledger, claim(ledger), REFUSED).reason is Reason.BAD_REQUEST
    record(ledger, claim(ledger), UNKNOWN)
    last = claim(ledger)
    database.ahead = timedelta(minutes=1)
    recorded = record(ledger, last, REFUSED)
    assert (recorded.state, recorded.reason) == (DeliveryState.DEAD, Reason.TOO_OLD)
    ledger.close()
