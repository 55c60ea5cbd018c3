"""A lease whose holder was killed on this machine ends with the call it was taken for, not half a minute later."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from bridge.adapters.holders import holder, is_gone
from bridge.adapters.ledger import Ledger
from bridge.domain.delivery import Phase
from bridge.domain.lane import GONE_AFTER
from tests.ledgers import MovedDatabase, claim, delivered, fires, ledger_of, record, route, settle, states

SECOND = timedelta(seconds=1)
ELSEWHERE = "import sys; from tests.ledgers import *; ledger = ledger_of(MovedDatabase(sys.argv[1]), pd=route()); "
CLAIMS = ELSEWHERE + "claim(ledger)"
FETCHES = ELSEWHERE + "assert ledger.fetch_begun('pd', 'service')"


class Widow:
    """A ledger with a delivery that another process claimed; that one has ended since."""

    def __init__(self, url: str) -> None:
        self.database = MovedDatabase(url)
        self.ledger: Ledger = ledger_of(self.database, pd=route())
        settle(self.ledger, fires("a"))

    def elsewhere(self, work: str) -> None:
        root = Path(__file__).parent.parent.parent
        subprocess.run([sys.executable, "-c", work, self.database.url], cwd=root, check=True)


@pytest.fixture
def widow(ledger_url: str) -> Iterator[Widow]:
    made = Widow(ledger_url)
    yield made
    made.ledger.close()


def test_the_lease_of_a_dead_process_ends_when_its_call_must_have(widow: Widow) -> None:
    widow.elsewhere(CLAIMS)
    assert states(widow.ledger) == ["sending"]
    widow.database.ahead += GONE_AFTER - SECOND * 3
    assert widow.ledger.due_lanes(64) == []
    widow.database.ahead += SECOND * 3
    assert widow.ledger.due_lanes(64) == ["pd"]
    again = claim(widow.ledger)
    assert (again.attempt, again.delivery.phase) == (2, Phase.LOOK_UP), "its call may have worked: that is asked first"


def test_a_list_that_a_dead_process_was_fetching_is_gone_on_with_as_soon(widow: Widow) -> None:
    """Pages of that account wait for it."""
    widow.elsewhere(FETCHES)
    widow.database.ahead += GONE_AFTER - SECOND * 3
    assert widow.ledger.fetches_asked() == []
    widow.database.ahead += SECOND * 3
    assert widow.ledger.fetches_asked() == [("pd", "service")]
    assert widow.ledger.fetch_begun("pd", "service")


def test_a_list_that_a_living_process_fetches_is_left_to_it(widow: Widow) -> None:
    assert widow.ledger.fetch_begun("pd", "service")
    widow.database.ahead += GONE_AFTER + SECOND
    assert widow.ledger.fetches_asked() == []
    assert not widow.ledger.fetch_begun("pd", "service")


def test_the_lease_of_a_living_process_is_left_to_it(widow: Widow) -> None:
    held = claim(widow.ledger)
    widow.database.ahead += GONE_AFTER + SECOND
    assert widow.ledger.due_lanes(64) == []
    record(widow.ledger, held, delivered())
    assert states(widow.ledger) == ["open"]


def test_what_was_leased_without_being_heard_of_is_taken_back_by_the_process_that_leased_it_alone(
    widow: Widow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another that has its place and pid by now does not know what was sent."""
    held = claim(widow.ledger)
    monkeypatch.setattr("bridge.adapters.ledger.claiming.holder", lambda: f"{holder().rpartition(':')[0]}:another")
    widow.ledger.take_back("pd", set())
    assert states(widow.ledger) == ["sending"]
    monkeypatch.undo()
    widow.ledger.take_back("pd", {held.token})
    assert states(widow.ledger) == ["sending"]
    widow.ledger.take_back("pd", set())
    assert states(widow.ledger) == ["pending"]


def test_a_process_has_a_life_of_its_own_beside_its_pid() -> None:
    tell = "from bridge.adapters.holders import holder; print(holder())"
    root = Path(__file__).parent.parent.parent
    ran = [subprocess.run([sys.executable, "-c", tell], cwd=root, capture_output=True, text=True, check=True).stdout
           for _ in range(2)]  # fmt: skip
    assert len({one.strip().rpartition(":")[2] for one in (*ran, holder())}) == 3


def test_only_a_pid_of_this_place_that_nobody_has_is_gone() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    place = holder().partition(":")[0]
    assert is_gone(f"{place}:{ended.pid}:01X")
    assert not is_gone(f"{holder()}:01X")
    assert not is_gone(f"elsewhere:{ended.pid}:01X")
    for odd in ("", "01X", f"{place}:", f"{place}:x:01X", f"{place}:{10**30}:01X", f"{place}:{ended.pid}"):
        assert not is_gone(odd)
    assert holder().split(":")[1] == str(os.getpid())
