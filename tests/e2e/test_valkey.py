"""The embedded Valkey with real processes and real kills: one server at a time, and always one soon again."""

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from bridge.adapters.valkey import ValkeyKeeper, ValkeyUnavailable, _socket_path, server_program
from tests.e2e.living import processes

pytestmark = pytest.mark.e2e

WITHIN_S = 10.0
KEEP = """
import sys, threading
from pathlib import Path
from bridge.adapters import logs
from bridge.adapters.valkey import ValkeyKeeper
logs.configure("test")
keeper = ValkeyKeeper(Path(sys.argv[1]))
keeper.start()
print("ready" if keeper.wait_ready(10) else "not ready", flush=True)
sys.stdin.read()
if sys.argv[2:] == ["stop"]:
    keeper.stop()
"""


def eventually(what: Callable[[], bool], within_s: float = WITHIN_S) -> float:
    """Wait until it holds; answers how long that took."""
    started = time.monotonic()
    while not what():
        assert time.monotonic() - started < within_s, "did not come true in time"
        time.sleep(0.01)
    return time.monotonic() - started


def server_pid(var: Path) -> int | None:
    """The process behind the socket, asked itself; None when nobody answers."""
    with redis.Redis(unix_socket_path=str(_socket_path(var)), socket_timeout=1.0, protocol=2) as client:
        try:
            return int(client.info("server")["process_id"])
        except redis.RedisError:
            return None


def servers(var: Path) -> list[int]:
    """Every living server on this folder."""
    return [pid for pid, _, command in processes() if f"unixsocket:{_socket_path(var)}" in command]


@pytest.fixture
def var(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "var"
    yield folder
    left = servers(folder)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == [], "a server outlived everybody who kept it"


@pytest.fixture
def keeping(var: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """A starter of processes that keep a server on `var`; they are ended and waited for at the test's end."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", KEEP, str(var), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
    eventually(lambda: not servers(var))


def holder_of(var: Path, keepers: "list[subprocess.Popen[str]]") -> "subprocess.Popen[str]":
    pid = server_pid(var)
    parents = [parent for child, parent, _ in processes() if child == pid]
    return next(keeper for keeper in keepers if keeper.pid in parents)


def test_a_private_server_answers_at_the_keepers_url(var: Path) -> None:
    keeper = ValkeyKeeper(var)
    keeper.start()
    assert keeper.wait_ready(WITHIN_S)
    with redis.Redis.from_url(keeper.url) as client:
        assert client.set("a", "b")
        assert client.config_get("save", "appendonly", "maxmemory-policy", "port") == {
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "port": "0",
        }
    assert stat.S_IMODE(_socket_path(var).stat().st_mode) == 0o700
    assert stat.S_IMODE(var.stat().st_mode) == 0o700
    keeper.stop()
    assert servers(var) == []
    assert not keeper.wait_ready(0.0)


def test_many_keepers_make_one_server(var: Path, keeping: Callable[..., "subprocess.Popen[str]"]) -> None:
    for _ in range(4):
        keeping()
    assert servers(var) == [server_pid(var)]


def test_when_the_holder_is_killed_another_keeper_has_a_new_server_within_a_second(
    var: Path, keeping: Callable[..., "subprocess.Popen[str]"]
) -> None:
    keepers = [keeping() for _ in range(3)]
    for _ in range(2):
        before = server_pid(var)
        holder = holder_of(var, keepers)
        holder.kill()
        holder.wait()
        keepers.remove(holder)
        took_s = eventually(lambda before=before: server_pid(var) not in (None, before))
        assert servers(var) == [server_pid(var)]
        assert took_s < 1.5, took_s


def test_a_killed_server_is_started_again(var: Path, keeping: Callable[..., "subprocess.Popen[str]"]) -> None:
    keeping()
    before = server_pid(var)
    assert before is not None
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: server_pid(var) not in (None, before)) < 2.0
    assert servers(var) == [server_pid(var)]


def test_a_server_whose_socket_was_removed_is_followed_by_one_that_can_be_reached(
    var: Path, keeping: Callable[..., "subprocess.Popen[str]"]
) -> None:
    for _ in range(2):
        keeping()
    before = servers(var)
    _socket_path(var).unlink()
    eventually(lambda: server_pid(var) is not None)
    assert servers(var) == [server_pid(var)]
    assert servers(var) != before


def test_a_server_that_outlives_its_holder_is_used_and_never_doubled(
    var: Path, keeping: Callable[..., "subprocess.Popen[str]"]
) -> None:
    # As on macOS, where nothing kills an orphan: the server itself holds the lock it inherited.
    var.mkdir()
    lock = os.open(var / "valkey.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    settings = ["--port", "0", "--unixsocket", str(_socket_path(var)), "--save", ""]
    orphan = subprocess.Popen(
        [str(server_program()), *settings], pass_fds=(lock,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(lock)
    eventually(lambda: server_pid(var) == orphan.pid)
    keepers = [keeping() for _ in range(2)]
    assert servers(var) == [orphan.pid]
    orphan.kill()
    orphan.wait()
    eventually(lambda: server_pid(var) is not None)
    assert servers(var) == [server_pid(var)]
    assert holder_of(var, keepers).poll() is None


def test_stopping_the_holder_hands_over(var: Path, keeping: Callable[..., "subprocess.Popen[str]"]) -> None:
    first = keeping("stop")
    before = server_pid(var)
    keeping()
    assert first.stdin is not None
    first.stdin.close()
    assert first.wait(WITHIN_S) == 0
    eventually(lambda: server_pid(var) not in (None, before))
    assert servers(var) == [server_pid(var)]


def test_an_ordinary_end_of_the_process_takes_the_server_along(
    var: Path, keeping: Callable[..., "subprocess.Popen[str]"]
) -> None:
    only = keeping()
    assert only.stdin is not None
    only.stdin.close()
    assert only.wait(WITHIN_S) == 0
    eventually(lambda: not servers(var), 1.0)


def test_a_long_path_gets_a_short_private_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90) / "var"
    keeper = ValkeyKeeper(deep)
    folder = Path(keeper.url.removeprefix("unix://")).parent
    try:
        keeper.start()
        assert keeper.wait_ready(WITHIN_S)
        assert len(os.fsencode(folder / "valkey.sock")) <= 95
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert ValkeyKeeper(deep).url == keeper.url
        keeper.stop()
        folder.chmod(0o777)
        with pytest.raises(ValkeyUnavailable, match="not a private folder"):
            ValkeyKeeper(deep)
    finally:
        keeper.stop()
        shutil.rmtree(folder)


def test_a_short_private_folder_that_somebody_tidied_away_is_made_again(tmp_path: Path) -> None:
    keeper = ValkeyKeeper(tmp_path / ("d" * 90) / "var")
    folder = Path(keeper.url.removeprefix("unix://")).parent
    try:
        keeper.start()
        assert keeper.wait_ready(WITHIN_S)
        shutil.rmtree(folder)
        assert not keeper.wait_ready(0.0)
        assert keeper.wait_ready(WITHIN_S)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    finally:
        keeper.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_path_with_odd_characters_works(tmp_path: Path) -> None:
    keeper = ValkeyKeeper(tmp_path / "va r%20#?é")
    keeper.start()
    assert keeper.wait_ready(WITHIN_S)
    with redis.Redis.from_url(keeper.url) as client:
        assert client.ping()
    keeper.stop()
