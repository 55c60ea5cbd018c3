"""How the web processes share connections out."""

import time
from typing import Any

import pytest
from gunicorn.workers.gthread import ThreadWorker

from bridge.entrypoints.web.server import AHEAD_MAX, LEAVE_TIMES, PatientWorker, Shares


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long whoever accepts left a connection to others."""
    found: list[float] = []
    monkeypatch.setattr(time, "sleep", found.append)

    def accept(worker: Any, _listener: object) -> None:
        worker.nr_conns += 1

    monkeypatch.setattr(ThreadWorker, "accept", accept)
    return found


def worker_of(shares: Shares, place: int, connections: int) -> PatientWorker:
    made = PatientWorker.__new__(PatientWorker)
    made.shares, made.place, made.nr_conns = shares, place, connections
    shares.report(place, connections)
    return made


def test_who_has_no_more_than_others_accepts_at_once(naps: list[float]) -> None:
    shares = Shares(2)
    worker_of(shares, 1, 5)
    worker_of(shares, 0, 5 + AHEAD_MAX).accept(None)
    assert naps == []
    assert shares.is_ahead(5 + AHEAD_MAX + 1)


def test_who_is_ahead_leaves_it_to_others_for_a_moment_and_then_takes_it_after_all(naps: list[float]) -> None:
    shares = Shares(2)
    ahead = worker_of(shares, 0, AHEAD_MAX + 1)
    ahead.accept(None)
    assert len(naps) == LEAVE_TIMES
    assert ahead.nr_conns == AHEAD_MAX + 2


def test_who_was_ahead_waits_no_longer_than_the_others_need(naps: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    shares = Shares(2)
    ahead = worker_of(shares, 0, AHEAD_MAX + 1)

    def sleep(_seconds: float) -> None:
        naps.append(_seconds)
        shares.report(1, 1)

    monkeypatch.setattr(time, "sleep", sleep)
    ahead.accept(None)
    assert len(naps) == 1


def test_a_process_beyond_the_usual_number_counts_for_nobody() -> None:
    shares = Shares(2)
    shares.report(0, 9)
    shares.report(1, 9)
    shares.report(2, 0)
    assert not shares.is_ahead(9)
