"""The file lock against real threads and processes."""

import resource
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from bridge.adapters.files import SECRET_BYTES, FileLock, replace_text, secret_kept_in
from tests.shortages import no_more_threads

HOLD = """
import sys
from pathlib import Path
from bridge.adapters.files import FileLock
with FileLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
FORK = """
import os, signal, sys, threading
from pathlib import Path
from bridge.adapters.files import FileLock
lock = FileLock(Path(sys.argv[1]))
with lock:  # opened here: the child inherits the descriptor
    pass
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    with lock:
        os.write(write, b"child ")
        signal.pause()
print(os.read(read, 6).decode(), flush=True)
had = threading.Event()
def take():
    with lock:
        had.set()
threading.Thread(target=take).start()
print("has it" if had.wait(0.2) else "waits", flush=True)
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
print("parent" if had.wait(10) else "nobody", flush=True)
"""
COUNT = """
import sys
from pathlib import Path
from bridge.adapters.files import FileLock
lock, counter = FileLock(Path(sys.argv[1])), Path(sys.argv[2])
for _ in range(int(sys.argv[3])):
    with lock:
        counter.write_text(str(int(counter.read_text()) + 1))
"""


def holding(path: Path) -> "subprocess.Popen[str]":
    """A process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def taken(lock: FileLock) -> threading.Event:
    """Set once a thread of ours has had the lock."""
    had = threading.Event()

    def take() -> None:
        with lock:
            had.set()

    threading.Thread(target=take, daemon=True).start()
    return had


def test_threads_and_processes_take_turns(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    command = [sys.executable, "-c", COUNT, str(tmp_path / "lock"), str(counter), "200"]
    others = [subprocess.Popen(command) for _ in range(2)]
    lock = FileLock(tmp_path / "lock")

    def count() -> None:
        for _ in range(100):
            with lock:
                counter.write_text(str(int(counter.read_text()) + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait() for process in others] == [0, 0]
    assert counter.read_text() == "800"


def test_it_waits_for_another_process_and_gets_it_when_that_one_is_killed(tmp_path: Path) -> None:
    with holding(tmp_path / "lock") as other:
        had = taken(FileLock(tmp_path / "lock"))
        assert not had.wait(0.1)
        other.send_signal(signal.SIGKILL)
        assert had.wait(10)


def test_without_a_thread_that_waits_for_it_it_is_waited_for_all_the_same_and_given_back(tmp_path: Path) -> None:
    """A wish that is left behind for the next thread to come would take it, and nobody would give it back."""
    lock = FileLock(tmp_path / "lock")
    with holding(lock.path) as other:
        threading.Timer(0.1, other.kill).start()
        with no_more_threads(), lock.held(lambda _ours: None):
            pass
    assert taken(lock).wait(10)
    had = threading.Event()

    def take() -> None:
        with lock.held(lambda _ours: None):
            had.set()

    with holding(lock.path) as other:
        threading.Thread(target=take, daemon=True).start()
        assert not had.wait(0.1)
        other.communicate()
        assert had.wait(10)
    assert taken(lock).wait(10)


def test_an_error_meanwhile_gives_it_back(tmp_path: Path) -> None:
    """Every process on the machine would wait for it, for as long as this one lives."""
    lock = FileLock(tmp_path / "lock")

    def fails(_ours: Future[Any]) -> None:
        raise MemoryError

    with holding(lock.path) as other:
        threading.Timer(0.1, other.kill).start()
        with pytest.raises(MemoryError), lock.held(fails):
            pass
    assert taken(lock).wait(10)


def test_an_error_inside_gives_it_back(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    with pytest.raises(ZeroDivisionError), lock:
        _ = 1 / 0
    assert taken(lock).wait(10)
    with holding(tmp_path / "lock") as other:
        other.communicate()


def test_a_forked_child_does_not_share_its_parents_lock(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FORK, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        said, _ = process.communicate("go on\n", timeout=20)
    assert said.split() == ["child", "waits", "parent"]


def test_without_company_it_costs_microseconds(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")

    def one_s() -> float:
        started = time.perf_counter()
        for _ in range(200):
            with lock:
                pass
        return (time.perf_counter() - started) / 200

    assert min(one_s() for _ in range(20)) < 50e-6  # 3 on an idle machine


@pytest.mark.parametrize("left", ["", "0123456789"])
def test_a_secret_that_was_cut_short_is_drawn_anew_and_then_kept(tmp_path: Path, left: str) -> None:
    path = tmp_path / "session.key"
    path.write_text(left)
    secret = secret_kept_in(path)
    assert len(bytes.fromhex(secret)) == SECRET_BYTES
    assert secret_kept_in(path) == path.read_text() == secret


def test_a_secret_is_drawn_once_whoever_asks_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "var" / "session.key"
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(secret_kept_in, [path] * 8))) == 1
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_secret_that_is_there_is_read_without_its_lock_or_the_right_to_write_it(tmp_path: Path) -> None:
    """On a disk that became read-only no web process could start again, not even to answer 503."""
    path = tmp_path / "session.key"
    secret, found = secret_kept_in(path), SimpleQueue[str]()
    with holding(path):
        path.chmod(0o400)  # which root does not mind
        threading.Thread(target=lambda: found.put(secret_kept_in(path)), daemon=True).start()
        assert found.get(timeout=10) == secret


def test_a_file_is_replaced_whole_with_its_mode_and_through_its_link(tmp_path: Path) -> None:
    kept, link = tmp_path / "kept.yaml", tmp_path / "link.yaml"
    kept.write_text("old")
    kept.chmod(0o640)
    link.symlink_to(kept)
    replace_text(link, "new")
    assert (kept.read_text(), kept.stat().st_mode & 0o777, link.is_symlink()) == ("new", 0o640, True)
    assert sorted(tmp_path.iterdir()) == [kept, link]


def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    kept = tmp_path / "kept.yaml"
    kept.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        replace_text(kept, "half of it, then \ud800")
    assert kept.read_text() == "old"
    assert list(tmp_path.iterdir()) == [kept]


def test_a_secret_that_there_is_no_room_for_is_said_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(OSError, match="File too large") as found:
            secret_kept_in(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert found.value.filename == str(path)
