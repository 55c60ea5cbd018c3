"""What a silence hid, on both databases: found once the silence is over, and only what nothing was said of since."""

from datetime import timedelta

import pytest

from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.unsilencing import Over
from bridge.domain.alert import Status
from bridge.domain.silences import Silence
from tests.contract.test_ledger_silences import silence
from tests.ledgers import ends, fires, settle, webhook

MINUTE = timedelta(minutes=1)


def held(ledger: Ledger) -> Silence:
    """A silence on record, after the first look at this ledger."""
    first = ledger.silences_over()
    assert first.is_first
    ledger.silences_reached(first.until)
    one = silence(ledger)
    ledger.silence_added(one)
    return one


def over(ledger: Ledger, one: Silence) -> Over:
    """It is ended by hand, and found."""
    ledger.silence_ended(one.id, "ops")
    (found,) = ledger.silences_over().over
    assert found == Over(id=one.id, starts_at=one.starts_at)
    return found


def hidden_by(ledger: Ledger, one: Silence, *fingerprints: str) -> str:
    """One webhook of alerts that it hides; its event."""
    decided = [fires(fingerprint, silences=(one,)) for fingerprint in fingerprints]
    results, _ = ledger.settle([webhook(ledger, *decided)])
    return results[0].event_id


def test_what_ended_before_the_first_look_is_history(ledger: Ledger) -> None:
    one = silence(ledger)
    ledger.silence_added(one)
    ledger.silence_ended(one.id, "ops")
    assert ledger.silences_over().over == ()


def test_a_silence_that_ends_by_itself_is_found_and_one_that_holds_is_not(ledger: Ledger) -> None:
    standing = held(ledger)
    now = ledger.time()
    short = silence(ledger, ends_at=now)
    ledger.silence_added(short)
    assert [one.id for one in ledger.silences_over().over] == [short.id]
    assert over_ids(ledger, standing) == {short.id, standing.id}
    ledger.silences_reached(now + 3 * MINUTE)
    assert ledger.silences_over().over == ()


def over_ids(ledger: Ledger, one: Silence) -> set[str]:
    ledger.silence_ended(one.id, "ops")
    return {found.id for found in ledger.silences_over().over}


def test_only_the_last_word_on_a_problem_that_still_fires_is_heard(ledger: Ledger) -> None:
    one = held(ledger)
    first = hidden_by(ledger, one, "again", "over", "still")
    again = hidden_by(ledger, one, "again")
    settle(ledger, ends("over"))
    settle(ledger, fires("pages all the same"))
    assert ledger.silence_hid(over(ledger, one)) == {first: (2,), again: (0,)}


def test_what_another_silence_hid_is_not_heard_with_this_one(ledger: Ledger) -> None:
    one = held(ledger)
    other = silence(ledger, reason="another")
    ledger.silence_added(other)
    hidden_by(ledger, other, "a")
    mine = hidden_by(ledger, one, "b")
    assert ledger.silence_hid(over(ledger, one)) == {mine: (0,)}


@pytest.mark.parametrize("status", [Status.RESOLVED, Status.ACKNOWLEDGED])
def test_what_is_said_while_it_is_heard_goes_before_it(ledger: Ledger, status: Status) -> None:
    one = held(ledger)
    event = hidden_by(ledger, one, "a", "b")
    assert ledger.silence_hid(over(ledger, one)) == {event: (0, 1)}
    settle(ledger, ends("a", status))
    assert ledger.last_words(event, (0, 1)) == (1,)
    assert ledger.last_words(event, (0,)) == ()


def test_of_two_processes_that_hear_the_same_one_settles_it(ledger: Ledger) -> None:
    one = held(ledger)
    event = hidden_by(ledger, one, "a")
    over(ledger, one)
    twice = [webhook(ledger, fires("a"), delivery_id=f"silence {one.id} {event}") for _ in range(2)]
    results = [ledger.settle([each])[0][0] for each in twice]
    assert [result.duplicate for result in results] == [False, True]
    assert ledger.silence_hid(Over(id=one.id, starts_at=one.starts_at)) == {}
