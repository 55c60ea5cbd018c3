"""How the web processes share connections out, and what they make of those that end."""

import errno
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.workers.gthread import PollableMethodQueue, ThreadWorker

from bridge.entrypoints.web.server import AHEAD_MAX, LEAVE_TIMES, PatientSocket, PatientWorker, Shares, heartbeats_in
from tests.shortages import no_more_threads


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


class Counting(PatientWorker):
    """Handles a connection by remembering it, and finishes it by remembering what came of it."""

    def handle(self, conn: Any) -> Any:
        if conn == "broken":
            raise ZeroDivisionError
        return f"{conn} handled"

    def finish_request(self, conn: Any, fs: Any) -> None:
        self.finished.append((conn, fs.exception() or fs.result()))


def counting(threads: int) -> Counting:
    made = Counting.__new__(Counting)
    made.cfg, made.finished = SimpleNamespace(threads=threads), []
    made.tpool, made.method_queue = made.get_thread_pool(), PollableMethodQueue()
    made.method_queue.init()
    return made


def test_where_no_further_thread_is_to_be_had_those_there_are_answer_everybody() -> None:
    worker = counting(threads=8)
    with no_more_threads():
        for number in range(20):
            worker.enqueue_req(number)
        for _ in range(20):
            assert select.select([worker.method_queue], [], [], 10)[0]
            worker.method_queue.run_callbacks(None, 1)
    assert sorted(worker.finished) == [(number, f"{number} handled") for number in range(20)]
    worker.tpool.shutdown()
    with pytest.raises(RuntimeError, match="shutdown"):
        worker.enqueue_req(20)
    worker.method_queue.close()


def test_a_process_that_gets_no_thread_at_all_does_not_start() -> None:
    with no_more_threads(), pytest.raises(RuntimeError, match="can't start new thread"):
        counting(threads=8)


def test_a_request_that_breaks_is_finished_too() -> None:
    worker = counting(threads=1)
    worker.enqueue_req("broken")
    assert select.select([worker.method_queue], [], [], 10)[0]
    worker.method_queue.run_callbacks(None)
    (conn, error), *_ = worker.finished
    assert (conn, type(error)) == ("broken", ZeroDivisionError)
    worker.tpool.shutdown()
    worker.method_queue.close()


def test_heartbeats_are_files_in_memory_where_any_can_be_made(tmp_path: Path) -> None:
    assert heartbeats_in(str(tmp_path)) == str(tmp_path)
    assert heartbeats_in(str(tmp_path / "missing")) is None
    assert heartbeats_in("/proc") is None  # there, on Linux, and nobody can make a file in it


class MacSocket:
    """A connection as macOS has it once it is over: no option can be set, and a write has an error of its own."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def setsockopt(self, *_given: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    def sendall(self, _data: bytes) -> None:
        raise OSError(errno.EPROTOTYPE, "Protocol wrong type for socket")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


@pytest.fixture
def ended() -> Iterator[MacSocket]:
    """A client that sent something and hung up."""
    client, ours = socket.socketpair()
    client.sendall(b"what it said")
    client.close()
    yield MacSocket(ours)
    ours.close()


def test_of_a_connection_that_is_over_what_was_sent_is_read_and_then_it_ends(ended: MacSocket) -> None:
    sock = PatientSocket(ended)
    sock.start()
    assert sock.recv(1024) == b"what it said"
    assert sock.recv(1024) == b""


def test_an_answer_that_nobody_takes_is_a_client_that_hung_up(ended: MacSocket) -> None:
    sock = PatientSocket(ended)
    sock.sendall(b"an answer")
    with pytest.raises(ConnectionResetError) as caught:
        sock.flush()
    assert caught.value.errno == errno.ECONNRESET  # which gunicorn takes for an everyday matter


def test_who_hung_up_before_being_accepted_is_let_go(ended: MacSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    monkeypatch.setattr(ThreadWorker, "handle", lambda _worker, conn: taken.append(conn))
    gone = SimpleNamespace(sock=ended, client=None)
    assert PatientWorker.__new__(PatientWorker).handle(gone) is False
    assert (taken, gone.sock.fileno()) == ([], -1)
