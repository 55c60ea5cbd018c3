"""Stored webhooks, read again, and what waits in a lane: alike on both databases."""

from datetime import timedelta

from bridge.adapters.ids import earliest_at, made_at
from bridge.adapters.ledger import Ledger, Stretch
from bridge.adapters.ledger.history import PAGE_EVENTS
from bridge.domain.alert import Severity
from tests import ledgers


def filled(ledger: Ledger, number: int) -> list[str]:
    """That many events, oldest first."""
    batch = [ledgers.webhook(ledger, ledgers.fires(f"p{one}")) for one in range(number)]
    results, _ = ledger.settle(batch)
    return [one.event_id for one in results]


def ids(ledger: Ledger, stretch: Stretch) -> list[str]:
    return [one.id for one in ledger.history(stretch)]


def test_an_event_is_read_again_as_it_came(ledger: Ledger) -> None:
    (event,) = filled(ledger, 1)
    stored = ledger.stored(event)
    assert stored is not None
    assert (stored.id, stored.source, stored.state, stored.book) == (event, "s", "accepted", "h")
    assert (stored.body, dict(stored.headers)) == (b'{"title": "x"}', {"content-type": "application/json"})
    assert ledger.stored("01J") is None


def test_all_of_history_comes_oldest_first_however_many_pages_it_takes(ledger: Ledger) -> None:
    events = filled(ledger, PAGE_EVENTS * 2 + 3)
    assert ids(ledger, Stretch()) == events
    assert ledger.history_size(Stretch()) == len(events)


def test_a_stretch_is_the_newest_or_those_of_an_age_or_of_a_source(ledger: Ledger) -> None:
    events = filled(ledger, 5)
    assert ids(ledger, Stretch(last=2)) == events[3:]
    assert ids(ledger, Stretch(last=50)) == events
    assert ids(ledger, Stretch(since=ledger.time() + timedelta(minutes=1))) == []
    assert ids(ledger, Stretch(since=ledger.time() - timedelta(minutes=1), last=3)) == events[2:]
    assert ids(ledger, Stretch(source="s", last=1)) == events[4:]
    assert ids(ledger, Stretch(source="nobody")) == []
    assert ledger.history_size(Stretch(last=2)) == 2


def test_an_event_whose_body_is_gone_is_left_out_but_can_be_asked_for(ledger: Ledger) -> None:
    (event,) = filled(ledger, 1)
    ledger.pruned(timedelta(seconds=-60), timedelta(days=90))
    assert ids(ledger, Stretch()) == []
    stored = ledger.stored(event)
    assert stored is not None
    assert stored.body is None


def test_what_a_create_would_find_in_its_lane_depends_on_its_severity(ledger: Ledger) -> None:
    for number, severity in enumerate([Severity.CRITICAL, Severity.ERROR, Severity.WARNING]):
        ledgers.settle(ledger, ledgers.fires(f"p{number}", severity=severity))
    line = ledger.line(ledgers.ACCOUNT)
    assert line is not None
    assert line.state.name == ledgers.ACCOUNT
    # a warning stands a minute behind an error that comes now, an info two
    assert line.ahead == {Severity.CRITICAL: 1, Severity.ERROR: 2, Severity.WARNING: 3, Severity.INFO: 3}
    assert ledger.line("nobody") is None


def test_an_id_says_when_it_was_made(ledger: Ledger) -> None:
    event = ledger.new_id()
    at = made_at(event)
    assert at is not None
    assert abs(at - ledger.time()) < timedelta(minutes=1)
    assert earliest_at(at) <= event < earliest_at(at + timedelta(milliseconds=1))
    assert made_at(earliest_at(at)) == at
    assert [made_at(text) for text in ("", "fixture", "U" * 26, "8" + "0" * 25)] == [None] * 4
