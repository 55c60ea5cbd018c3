"""Keeping to one CPU."""

import os
import sys
import threading
from collections.abc import Iterator

import pytest

from bridge.adapters import cpu

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process choose its CPUs")


@pytest.fixture
def allowed() -> Iterator[set[int]]:
    before = os.sched_getaffinity(0)
    yield before
    os.sched_setaffinity(0, before)


def test_places_go_round_the_cpus_there_are(allowed: set[int]) -> None:
    cpus = sorted(allowed)
    for place in range(2 * len(cpus)):
        os.sched_setaffinity(0, allowed)
        cpu.keep_to_one(place)
        assert os.sched_getaffinity(0) == {cpus[place % len(cpus)]}


def test_a_thread_stays_where_it_is_and_may_go_again_afterwards(allowed: set[int]) -> None:
    with cpu.staying():
        (here,) = os.sched_getaffinity(0)
        assert here in allowed
    assert os.sched_getaffinity(0) == allowed
    with pytest.raises(ZeroDivisionError), cpu.staying():
        raise ZeroDivisionError
    assert os.sched_getaffinity(0) == allowed


def test_other_threads_are_left_alone(allowed: set[int]) -> None:
    seen: list[set[int]] = []
    go, done = threading.Event(), threading.Event()

    def look() -> None:
        go.wait(10)
        seen.append(os.sched_getaffinity(0))
        done.set()

    other = threading.Thread(target=look)
    other.start()
    with cpu.staying():
        go.set()
        assert done.wait(10)
    other.join()
    assert seen == [allowed]
