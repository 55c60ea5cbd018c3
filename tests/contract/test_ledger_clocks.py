"""Hosts whose clocks differ, and one that is set back: the ledger's clock counts, whichever host somebody asks."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection, text

from bridge.adapters.ids import Ulids, made_at
from bridge.adapters.ledger import EventQuery, Ledger, tallies
from bridge.adapters.ledger.tallies import SETTLES
from tests.ledgers import ACCOUNT, MovedDatabase, claim, delivered, fires, ledger_of, record, route, webhook

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


def host(url: str, off: timedelta) -> Ledger:
    """A ledger as a host sees it whose clock is that far off."""
    off_ns = int(off.total_seconds() * 1e9)
    return ledger_of(MovedDatabase(url, host_ns=lambda: time.time_ns() + off_ns), pd=route())


@pytest.mark.parametrize("off", [-10 * MINUTE, 10 * MINUTE], ids=["behind", "ahead"])
def test_events_have_their_place_and_are_counted_though_the_clock_of_a_host_is_wrong(
    postgres_url: str, off: timedelta
) -> None:
    hosts = (host(postgres_url, timedelta(0)), host(postgres_url, off))
    hosts[0].tallied()
    began = hosts[0].time()
    for number in range(6):
        on = hosts[number % 2]
        on.settle([webhook(on, fires(str(number)))])
    listed = [*hosts[0].events(EventQuery()).items, *hosts[0].incidents(limit=10).items]
    assert len(listed) == 12
    assert all(began - SECOND <= at(item["id"]) <= hosts[0].time() + SECOND for item in listed)
    assert isinstance(hosts[0].database, MovedDatabase)
    hosts[0].database.ahead = SETTLES + SECOND
    hosts[0].tallied()
    hosts[0].database.ahead = timedelta(days=2)  # beyond what a reader adds to the numbers
    totals = hosts[0].totals()
    assert totals[tallies.RECEIVED] == {("s", "accepted"): 6}
    assert totals[tallies.HITS] == {("r",): 6}
    for one in hosts:
        one.close()


@pytest.mark.parametrize("off", [-10 * MINUTE, 10 * MINUTE], ids=["behind", "ahead"])
def test_the_time_here_is_the_servers_and_follows_it(postgres_url: str, off: timedelta) -> None:
    off_ns = [int(off.total_seconds() * 1e9)]
    ledger = ledger_of(MovedDatabase(postgres_url, host_ns=lambda: time.time_ns() + off_ns[0]), pd=route())
    assert abs(ledger.time_here() - datetime.now(UTC)) < SECOND * 2
    off_ns[0] = 0  # somebody sets the clock
    ledger.time()
    assert abs(ledger.time_here() - datetime.now(UTC)) < SECOND * 2
    ledger.close()


def test_the_time_here_is_the_hosts_where_there_is_no_server(tmp_path: object) -> None:
    ledger = ledger_of(MovedDatabase(f"sqlite:///{tmp_path}/bridge.db"), pd=route())
    assert abs(ledger.time_here() - datetime.now(UTC)) < SECOND
    ledger.close()


def at(ulid: str) -> datetime:
    made = made_at(ulid)
    assert made is not None
    return made


def test_a_small_step_back_keeps_the_ids_in_their_order() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    clock = [now]
    new_id = Ulids(lambda: int(clock[0].timestamp() * 1e9))
    ids = []
    for back in range(0, 50, 5):
        clock[0] = now - back * SECOND
        ids.append(new_id())
    assert sorted(ids) == ids


def test_ids_follow_a_clock_that_was_set_back_and_none_comes_twice() -> None:
    now = datetime(2099, 1, 1, tzinfo=UTC)
    clock = [now]
    new_id = Ulids(lambda: int(clock[0].timestamp() * 1e9))
    ids = [new_id() for _ in range(1000)]
    clock[0] = now - timedelta(days=365)
    right = [new_id() for _ in range(1000)]
    assert {at(one) for one in right} == {clock[0]}
    assert sorted(right) == right
    clock[0] = now
    ids += right + [new_id() for _ in range(1000)]
    assert len(set(ids)) == 3000


class Moved:
    """A ledger all of whose time is a clock that a test sets."""

    def __init__(self, url: str) -> None:
        self.ahead = timedelta(0)
        self.ledger = ledger_of(_Everywhere(url, self), pd=route())

    def comes_in(self, *titles: str) -> None:
        """One event each, whose create is sent."""
        for title in titles:
            self.ledger.settle([webhook(self.ledger, fires(title))])
            record(self.ledger, claim(self.ledger), delivered(title))

    def upkeep(self) -> None:
        assert self.ledger.claim(ACCOUNT) is None  # puts the lane's own instants right
        self.ledger.tallied()

    def numbers(self) -> tuple[int, int, int]:
        """Events, hits and deliveries, as a reader is told."""
        totals = self.ledger.totals()
        finished = totals.get(tallies.FINISHED, {})
        return (
            totals[tallies.RECEIVED][("s", "accepted")],
            totals[tallies.HITS][("r",)],
            finished.get((ACCOUNT, "create", "delivered"), 0),
        )

    def bodies(self) -> tuple[int, int]:
        """Bytes of bodies that are kept: as counted, and as they are."""
        with self.ledger.database.reading() as transaction:
            asked = text("SELECT coalesce(sum(length(body)), 0) FROM events")
            kept = int(transaction.connection.execute(asked).scalar_one())
        return self.ledger.totals()[tallies.BODIES][("s",)], kept


class _Everywhere(MovedDatabase):
    def __init__(self, url: str, of: Moved) -> None:
        super().__init__(url)
        self._of = of

    def now(self, connection: Connection) -> datetime:
        self.ahead = self._of.ahead
        return super().now(connection)

    def time_ns(self) -> int:
        return time.time_ns() + int(self._of.ahead.total_seconds()) * 1_000_000_000


@pytest.mark.parametrize("by", [timedelta(minutes=5), timedelta(hours=8), timedelta(days=26_000)], ids=str)
def test_everything_is_counted_once_though_the_clock_was_ahead_and_is_set_back(ledger_url: str, by: timedelta) -> None:
    on = Moved(ledger_url)
    on.comes_in("before")
    on.ahead = by
    on.comes_in("a", "b", "c")
    on.ahead += SETTLES + SECOND
    on.upkeep()
    assert on.numbers() == (4, 4, 4)
    on.ahead = MINUTE
    on.upkeep()
    assert on.numbers() == (4, 4, 4)
    on.comes_in("after", "that")
    assert on.numbers() == (6, 6, 6)
    on.ahead += MINUTE
    on.upkeep()
    assert on.numbers() == (6, 6, 6)
    counted, kept = on.bodies()
    assert counted == kept
    if by < timedelta(days=1):
        on.ahead = by + timedelta(hours=1)
        on.upkeep()
        assert on.numbers() == (6, 6, 6)
        on.ahead += timedelta(days=2)  # beyond what a reader adds to the numbers
        assert on.numbers() == (6, 6, 6)
        counted, kept = on.bodies()
        assert counted == kept
    on.ledger.close()
