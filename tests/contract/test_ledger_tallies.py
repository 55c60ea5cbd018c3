"""Numbers counted once, bodies kept within a limit, history let go of in steps; on both databases."""

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from bridge.adapters.ids import earliest_at
from bridge.adapters.ledger import EventQuery, Ledger, Receipt, tallies
from bridge.adapters.ledger.front import clock
from bridge.adapters.ledger.tallies import PIECE_ROWS, SETTLES
from bridge.domain.access import Deed, How, Role, Who
from bridge.domain.alert import Notice
from bridge.domain.decision import Decided, Mode
from bridge.domain.delivery import PermanentFailure, Reason
from tests.ledgers import (
    ACCOUNT,
    MovedDatabase,
    claim,
    decision,
    delivered,
    ends,
    fires,
    ledger_of,
    record,
    route,
    settle,
    webhook,
)

LATER = SETTLES + timedelta(seconds=1)
DAY = timedelta(days=1)


@pytest.fixture
def moved(ledger_url: str) -> Iterator[Ledger]:
    """A ledger whose clock a test can put ahead."""
    opened = ledger_of(MovedDatabase(ledger_url), pd=route())
    yield opened
    opened.close()


def ahead(ledger: Ledger, by: timedelta) -> None:
    assert isinstance(ledger.database, MovedDatabase)
    ledger.database.ahead = by


_numbers = itertools.count()


def settle_bodies(ledger: Ledger, source: str, number: int, size: int) -> list[str]:
    """That many events of a source whose packed body has this size, received now by the ledger's clock."""
    batch: list[Receipt] = []
    now = ledger.time()
    body = zlib.compress(b"{}").ljust(size, b"\0")
    for _ in range(number):
        one = webhook(ledger)
        event_id = f"{earliest_at(now)[:10]}{next(_numbers):016d}"
        about = {"id": event_id, "received_at": now, "source": source, "body": body}
        batch.append(replace(one, event={**one.event, **about}))
    ledger.settle(batch)
    return [one.event["id"] for one in batch]


def kept(ledger: Ledger, source: str) -> int:
    with ledger.database.reading() as transaction:
        asked = text("SELECT coalesce(sum(length(body)), 0) FROM events WHERE source = :source")
        return int(transaction.connection.execute(asked, {"source": source}).scalar_one())


def test_everything_is_counted_by_its_labels(ledger: Ledger) -> None:
    settle(ledger, fires("a"), fires("b"))
    settle(ledger, fires("a"))
    record(ledger, claim(ledger), delivered("P1"))
    record(ledger, claim(ledger), PermanentFailure(reason=Reason.AUTH, detail="no"))
    totals = ledger.totals()
    assert totals[tallies.RECEIVED] == {("s", "accepted"): 2}
    assert totals[tallies.OUTCOMES] == {("s", "opened"): 2, ("s", "duplicate"): 1}
    assert totals[tallies.HITS] == {("r",): 3}
    assert totals[tallies.ATTEMPTS] == {(ACCOUNT, "create", "ok"): 1, (ACCOUNT, "create", "auth"): 1}
    assert totals[tallies.FINISHED][(ACCOUNT, "create", "delivered")] == 1
    assert sum(totals[tallies.WAITED].values()) == sum(totals[tallies.FINISHED].values())
    assert {rule: (hit.number, hit.lately) for rule, hit in ledger.hits(30 * DAY, DAY).items()} == {"r": (3, 3)}


def test_waits_of_less_than_a_second_add_up(moved: Ledger) -> None:
    settle(moved, fires("a"))
    settle(moved, fires("b"))
    ahead(moved, timedelta(milliseconds=400))
    record(moved, claim(moved), delivered("P1"))
    record(moved, claim(moved), delivered("P2"))
    ahead(moved, LATER)
    moved.tallied()
    assert moved.totals()[tallies.WAITED_US][(ACCOUNT,)] >= 800_000


def test_a_number_is_the_same_before_and_after_upkeep_and_after_pruning(moved: Ledger) -> None:
    settle(moved, fires("a"), ends("b"))
    record(moved, claim(moved), delivered("P1"))
    settle(moved, ends("a"))
    record(moved, claim(moved), delivered("P1"))
    before = moved.totals()
    moved.tallied()
    assert moved.totals() == before, "nothing is settled yet"
    ahead(moved, LATER)
    moved.tallied()
    assert moved.totals() == before
    with moved.database.reading() as transaction:
        assert tallies.counted_before(transaction) > moved.events(EventQuery(limit=1)).items[0]["id"]
    moved.tallied()
    assert moved.totals() == before, "counted twice"
    ahead(moved, 100 * DAY)
    assert moved.pruned(DAY, 2 * DAY) > 0
    assert moved.incidents(limit=5).items == ()
    after = moved.totals()
    assert after.pop(tallies.BODIES) == {("s",): 0}
    before.pop(tallies.BODIES)
    assert after == before


def test_hits_of_a_day_and_a_month_counted_and_not_yet_counted(ledger: Ledger) -> None:
    hour = ledger.time().replace(minute=0, second=0, microsecond=0)
    ago = {timedelta(hours=3): 1, timedelta(days=20): 40, timedelta(days=31): 5}
    with ledger.database.writing() as transaction:
        tallies.add(transaction, {(tallies.HITS, hour - by, ("r",)): number for by, number in ago.items()})
        tallies.add(transaction, {(tallies.HITS, hour - 2 * DAY, ("other",)): 7})
    settle(ledger, fires("a"))
    found = ledger.hits(30 * DAY, DAY)
    assert abs(found["r"].last - hour) <= tallies.HOUR  # what comes at an hour's very beginning may count for the last
    assert found == {
        "r": tallies.Sum(number=42, lately=2, last=found["r"].last),
        "other": tallies.Sum(number=7, lately=0, last=hour - 2 * DAY),
    }


def test_many_rows_are_counted_in_pieces_and_none_twice(moved: Ledger) -> None:
    number = PIECE_ROWS + 700
    for _ in range(0, number, 100):
        settle_bodies(moved, "s", 100, 10)
    ahead(moved, LATER)
    for _ in range(3):
        moved.tallied()
    assert moved.totals()[tallies.RECEIVED] == {("s", "accepted"): number}
    settle_bodies(moved, "s", 1, 10)
    assert moved.totals()[tallies.RECEIVED] == {("s", "accepted"): number + 1}


def test_of_two_clocks_that_count_the_same_piece_one_counts(moved: Ledger) -> None:
    settle(moved, fires("a"))
    ahead(moved, LATER)
    with moved.database.reading() as transaction:
        pieces = [tallies.next_piece(transaction, "events") for _ in range(2)]
    for piece, first in zip(pieces, (True, False), strict=True):
        assert piece is not None
        with moved.database.writing() as transaction:
            assert tallies.add_piece(transaction, piece) is first
    assert moved.totals()[tallies.RECEIVED] == {("s", "accepted"): 1}


def test_what_no_row_tells_of_is_added_by_whoever_counted_it(ledger: Ledger) -> None:
    for _ in range(2):
        ledger.tallied_more(tallies.REFUSED, {("lab", "unauthorized"): 3})
    assert ledger.totals()[tallies.REFUSED] == {("lab", "unauthorized"): 6}


def test_a_source_that_takes_nothing_for_want_of_the_secret_is_named_until_one_is_authentic(moved: Ledger) -> None:
    refused = {("s", tallies.UNAUTHORIZED): 3, ("", "unknown_source"): 2, ("t", "rejected"): 1}
    moved.tallied_more(tallies.REFUSED, refused)
    settle_bodies(moved, "t", 1, 100)
    assert moved.turned_away() == {"s": 3}
    settle(moved, fires("a"))
    assert moved.turned_away() == {}, "the sender has the right one: others knock beside it"
    ahead(moved, timedelta(hours=2))
    assert moved.turned_away() == {}, "nobody knocks any more"
    moved.tallied_more(tallies.REFUSED, {("s", tallies.UNAUTHORIZED): 2})
    assert moved.turned_away() == {}, "a stranger, or two"
    moved.tallied_more(tallies.REFUSED, {("s", tallies.UNAUTHORIZED): 1})
    assert moved.turned_away() == {"s": 3}


def test_a_storming_source_keeps_no_more_bodies_than_its_limit_and_costs_no_other_its_own(moved: Ledger) -> None:
    limit = 200_000
    quiet = settle_bodies(moved, "quiet", 20, 1_000)
    for _ in range(3):
        storm = settle_bodies(moved, "storm", 400, 1_000)
        assert isinstance(moved.database, MovedDatabase)
        ahead(moved, moved.database.ahead + LATER)
        moved.tallied()
        moved.bodies_trimmed(limit)
        assert limit - 1_000 <= kept(moved, "storm") <= limit
        assert moved.totals()[tallies.BODIES][("storm",)] == kept(moved, "storm")
    assert kept(moved, "quiet") == 20_000
    newest, oldest = (moved.stored(storm[place]) for place in (-1, 0))
    assert newest is not None
    assert oldest is not None
    assert (newest.body is not None, oldest.body is not None) == (True, False), "the oldest go first"
    assert all(moved.stored(event) is not None for event in quiet)
    assert moved.totals()[tallies.RECEIVED][("storm", "accepted")] == 1_200, "the events themselves stay"


def test_a_body_that_a_call_is_owed_for_stays_however_crowded_its_source_is(moved: Ledger) -> None:
    notice = Notice(source="s", source_type="aws_sns", fingerprint="mark", title="confirm", reason="a call", payload={})
    one = webhook(moved, Decided(reading=notice))
    moved.settle([one])
    settle_bodies(moved, "s", 50, 1_000)
    ahead(moved, LATER)
    moved.tallied()
    moved.bodies_trimmed(1_000, {"s": "mark"})
    held = moved.stored(one.event["id"])
    assert held is not None
    assert held.body is not None
    assert kept(moved, "s") <= 2_000


def test_pruning_looks_at_no_body_twice_and_at_no_young_row(moved: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "PRUNE_FOR_S", 60.0)  # else a busy machine prunes the rest in the next round
    settle_bodies(moved, "s", 1_200, 50)
    ahead(moved, 2 * DAY)
    settle_bodies(moved, "s", 3, 50)
    assert moved.pruned(DAY, 90 * DAY) == 1_200
    assert kept(moved, "s") == 150
    assert moved.pruned(DAY, 90 * DAY) == 0


def test_the_audit_is_kept_as_long_as_history(moved: Ledger) -> None:
    deed = Deed(who=Who(name="a", role=Role.ADMIN, how=How.TOKEN), action="pause", what="account pd")
    moved.did(deed)
    ahead(moved, 89 * DAY)
    moved.pruned(DAY, 90 * DAY)
    assert [one["action"] for one in moved.audit(limit=5).items] == ["pause"]
    ahead(moved, 91 * DAY)
    moved.pruned(DAY, 90 * DAY)
    assert moved.audit(limit=5).items == ()


def test_a_shadowed_rule_is_a_hit_as_well(ledger: Ledger) -> None:
    settle(ledger, replace(fires("a"), decisions=(decision("a", mode=Mode.SHADOW),)))
    assert ledger.totals()[tallies.OUTCOMES] == {("s", "shadow"): 1}
    assert ledger.totals()[tallies.HITS] == {("r",): 1}
