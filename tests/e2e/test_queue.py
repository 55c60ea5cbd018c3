"""The queue and its workers on a real server, with real kills: work is carried quickly, and nothing else is run."""

import errno
import json
import os
import pickle
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from bridge.adapters.queue import DRAIN, UPKEEP, Queue, QueueMisnamed, QueueUnavailable, reason_of
from bridge.adapters.valkey import ValkeyKeeper
from tests.e2e.living import cpu_s

pytestmark = pytest.mark.e2e

WITHIN_S = 20.0
# A worker as in production, but for the drainer: this one writes down what it was told, in order.
WORK = """
import os, sys, threading, time
from pathlib import Path
from bridge.adapters import logs
from bridge.adapters.queue import Queue, run_worker
from bridge.domain.errors import LedgerUnavailable
from bridge.entrypoints import worker

url, folder = sys.argv[1], Path(sys.argv[2])
stop = threading.Event()

def note(text):
    with (folder / "notes").open("a") as notes:
        notes.write(f"{text} {os.getpid()}\\n")

class Upstream:
    name_kinds = ("service",)

class Ledger:
    def time(self):
        if (folder / "cut off").exists():
            with (folder / "asked").open("a") as asked:
                asked.write("x")
            raise LedgerUnavailable("it is cut off")

class Drainer:
    destinations = {"pd": Upstream()}
    ledger = Ledger()

    def drain(self, lane):
        note(f"began:{lane}")
        self.ledger.time()
        if (folder / "full").exists():
            raise LedgerUnavailable("the disk is full")
        if lane.startswith("slow"):
            while not (folder / "go on").exists():
                time.sleep(0.005)
        if lane.startswith("broken"):
            raise ValueError("a bug")
        note(f"ended:{lane}")
        return False

    def take_back(self):
        pass

    def fetch_names(self, account, kind):
        note(f"names:{account}:{kind}")

logs.configure("worker")
run_worker(
    lambda: url,
    on_start=lambda: worker.install(Drainer(), Queue(url)),
    stop=stop,
    job_timeout_s=int(sys.argv[3]),
    is_able=worker.is_able,
)
"""


def eventually(what: Callable[[], bool], within_s: float = WITHIN_S) -> None:
    until = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < until, "did not come true in time"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyKeeper]:
    keeper = ValkeyKeeper(tmp_path_factory.mktemp("queue") / "var")
    keeper.start()
    assert keeper.wait_ready(WITHIN_S)
    yield keeper
    keeper.stop()


@pytest.fixture
def client(server: ValkeyKeeper) -> "Iterator[redis.Redis]":
    """A plain client on an empty server."""
    assert server.wait_ready(WITHIN_S)
    with redis.Redis.from_url(server.url) as plain:
        plain.flushall()
        yield plain


@pytest.fixture
def queue(server: ValkeyKeeper, client: "redis.Redis") -> Iterator[Queue]:
    made = Queue(server.url)
    yield made
    made.close()


class Crew:
    """Workers of one test, and the notes they took."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self, job_timeout_s: int = 20) -> "subprocess.Popen[bytes]":
        """A worker that is ready for jobs, provided the server is."""
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-c", WORK, self.url, str(self.folder), str(job_timeout_s)]
            self.workers.append(subprocess.Popen(command, stderr=log))
        return self.workers[-1]

    def notes(self, worker: "subprocess.Popen[bytes] | None" = None) -> list[str]:
        """What was noted, by one worker or by all."""
        path = self.folder / "notes"
        rows = [line.rsplit(" ", 1) for line in path.read_text().splitlines()] if path.exists() else []
        return [text for text, pid in rows if worker is None or int(pid) == worker.pid]

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of that event."""
        lines = (self.folder / "log").read_text().splitlines()
        return [row for row in map(json.loads, lines) if row["event"] == name]

    def go_on(self) -> None:
        (self.folder / "go on").touch()

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()


@pytest.fixture
def crew(server: ValkeyKeeper, client: "redis.Redis", tmp_path: Path) -> Iterator[Crew]:
    made = Crew(server.url, tmp_path)
    yield made
    made.close()


def craft(client: "redis.Redis", job_id: bytes, data: bytes, **fields: str) -> None:
    """A job as a stranger with access to Redis would put it there."""
    client.hset(b"rq:job:" + job_id, mapping={"data": data, "origin": "ib-drain", "status": "queued"} | fields)
    client.rpush("rq:queue:ib-drain", job_id)


def test_a_lane_poked_twice_gets_one_job_until_its_poke_is_cleared(queue: Queue) -> None:
    for _ in range(5):
        queue.poke("a")
    queue.poke("b")
    assert queue.outstanding() == 2
    queue.clear_poke("a")
    queue.poke("a")
    assert queue.outstanding() == 3


def test_a_poke_that_nobody_cleared_holds_for_a_second_only(queue: Queue, client: "redis.Redis") -> None:
    queue.poke("a")
    assert 0 < client.pttl("ib:poke:a") <= 1000


def test_jobs_are_json_and_expire(queue: Queue, client: "redis.Redis") -> None:
    queue.enqueue_drain("a")
    queue.enqueue_upkeep("names:pd:service")
    found = []
    for job_id in client.lrange("rq:queue:ib-drain", 0, -1):
        key = b"rq:job:" + job_id
        found.append(json.loads(zlib.decompress(client.hget(key, "data"))))
        assert 0 < client.ttl(key) <= 300
        assert (client.hget(key, "timeout"), client.hget(key, "result_ttl")) == (b"20", b"30")
    assert found == [[DRAIN, None, ["a"], {}], [UPKEEP, None, ["names:pd:service"], {}]]


def test_an_emptied_redis_is_fresh_once(queue: Queue, client: "redis.Redis") -> None:
    assert [queue.is_fresh(), queue.is_fresh()] == [True, False]
    client.flushall()
    assert [queue.is_fresh(), queue.is_fresh()] == [True, False]


def test_workers_run_every_job_once_and_leave_nothing_behind(queue: Queue, client: "redis.Redis", crew: Crew) -> None:
    crew.start()
    crew.start()
    eventually(lambda: client.scard("rq:workers") == 2)
    lanes = [f"lane-{number}" for number in range(100)]
    for lane in lanes:
        queue.poke(lane)
    queue.enqueue_upkeep("names:pd:service")
    eventually(lambda: queue.outstanding() == 0 and len(crew.notes()) == 201)
    assert sorted(crew.notes()) == sorted(
        [f"{when}:{x}" for when in ("began", "ended") for x in lanes] + ["names:pd:service"]
    )
    left = {key.decode() for key in client.keys("*")}
    assert {key for key in left if not key.startswith("rq:worker")} == {"rq:queues"}


@pytest.mark.parametrize(
    "call",
    [
        ["os.system", None, ["touch MARK"], {}],
        ["subprocess.getoutput", None, ["touch MARK"], {}],
        ["builtins.eval", None, ["open('MARK', 'w')"], {}],
        ["bridge.entrypoints.worker.install", None, ["a"], {}],
        ["bridge.entrypoints.worker.drain.__call__", None, ["a"], {}],
        [DRAIN, None, ["a"], {"lane": "a"}],
        [DRAIN, None, ["a", "b"], {}],
        [DRAIN, None, [], {}],
        [DRAIN, None, [["a"]], {}],
        [DRAIN, None, "a", {}],
        [DRAIN, "instance", ["a"], {}],
        [[DRAIN], None, ["a"], {}],
        [DRAIN],
        {"a": 1, "b": 2, "c": 3, "d": 4},
        None,
    ],
)
def test_a_job_that_asks_for_anything_else_is_refused(
    queue: Queue, client: "redis.Redis", crew: Crew, call: Any
) -> None:
    mark = crew.folder / "mark"
    craft(client, b"evil", zlib.compress(json.dumps(call).replace("MARK", str(mark)).encode()))
    queue.enqueue_drain("good")
    worker = crew.start()
    eventually(lambda: "ended:good" in crew.notes(worker))
    assert crew.notes() == ["began:good", "ended:good"]
    assert not mark.exists()
    assert [row["job"] for row in crew.events("job_failed")] == ["evil"]
    assert 0 < client.ttl("rq:job:evil") <= 600
    eventually(lambda: queue.outstanding() == 0)


class Evil:
    """Pickled, it runs a command when it is read."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_a_pickled_job_is_never_unpickled(queue: Queue, client: "redis.Redis", crew: Crew) -> None:
    mark = crew.folder / "mark"
    payload = pickle.dumps((DRAIN, None, (Evil(f"touch {shlex.quote(str(mark))}"),), {}))
    craft(client, b"packed", zlib.compress(payload))
    craft(client, b"plain", payload, meta=payload.decode("latin-1"), result=payload.decode("latin-1"))
    queue.enqueue_drain("good")
    crew.start()
    eventually(lambda: "ended:good" in crew.notes())
    assert not mark.exists()
    assert {row["job"] for row in crew.events("job_failed")} == {"packed", "plain"}


def test_callbacks_webhooks_retries_and_repeats_of_a_job_are_ignored(
    queue: Queue, client: "redis.Redis", crew: Crew
) -> None:
    mark = crew.folder / "mark"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        more = {
            "success_callback_name": "bridge.entrypoints.worker.upkeep",
            "failure_callback_name": f"os.system:{mark}",
            "webhooks": json.dumps([{"url": address, "job_status": status} for status in ("failed", "finished")]),
            "retries_left": "5",
            "repeats_left": "5",
            "repeat_intervals": "[0]",
            "group_id": "a group",
            "dependency_ids": '["other"]',
            "timeout": "-1",
            "failure_ttl": "-1",
            "origin": "elsewhere",
        }
        for name in ("good", "broken"):
            craft(client, name.encode(), json.dumps([DRAIN, None, [name], {}]).encode(), **more)
        # One that a dead worker left as started: RQ's own clean-up would call its failure callback.
        client.hset("rq:job:left", mapping={"data": b"[]", "origin": "ib-drain", **more})
        client.zadd("rq:wip:ib-drain", {"left:1": time.time() - 1})
        crew.start()
        eventually(lambda: crew.notes() == ["began:good", "ended:good", "began:broken"])
        eventually(lambda: queue.outstanding() == 0 and client.zcard("rq:wip:ib-drain") == 0)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert not mark.exists()
    assert client.zcard("rq:failed:ib-drain") == 1
    assert 0 < client.ttl("rq:job:broken") <= 600


def test_what_is_no_job_at_all_does_not_end_the_worker(queue: Queue, client: "redis.Redis", crew: Crew) -> None:
    client.rpush("rq:job:list", "x")
    client.hset("rq:job:empty", "origin", "ib-drain")
    client.hset(b"rq:job:\xff\xfe", "data", "x")
    client.rpush("rq:queue:ib-drain", "list", "empty", "gone", b"\xff\xfe", "", "a b")
    craft(client, b"state", b"[]", status="nonsense")
    craft(client, b"number", b"[]", result_ttl="many")
    craft(client, b"deep", b"[" * 100_000)
    queue.enqueue_drain("good")
    worker = crew.start()
    eventually(lambda: "ended:good" in crew.notes(worker))
    assert worker.poll() is None
    eventually(lambda: queue.outstanding() == 0)
    assert client.llen("rq:queue:ib-drain:intermediate") == 0


def test_a_failing_job_is_logged_and_kept_for_a_while_only(queue: Queue, client: "redis.Redis", crew: Crew) -> None:
    crew.start()
    queue.enqueue_drain("broken")
    queue.enqueue_drain("good")
    eventually(lambda: "ended:good" in crew.notes())
    failed = crew.events("job_failed")
    assert [(row["reason"], "a bug" in row["exception"]) for row in failed] == [("ValueError", True)]
    assert client.zcard("rq:failed:ib-drain") == 1
    assert all(client.ttl(key) > 0 for key in client.keys("rq:job:*") + client.keys("rq:results:*"))


def test_a_job_over_its_time_is_ended_and_the_worker_goes_on(queue: Queue, crew: Crew) -> None:
    worker = crew.start(job_timeout_s=1)
    queue.enqueue_drain("slow")
    queue.enqueue_drain("good")
    eventually(lambda: "ended:good" in crew.notes(worker))
    assert [row["reason"] for row in crew.events("job_failed")] == ["JobTimeoutException"]


def test_a_worker_that_is_cut_off_from_the_ledger_leaves_its_job_and_all_others_to_those_that_are_not(
    queue: Queue, crew: Crew, tmp_path: Path
) -> None:
    cut_off = tmp_path / "cut off"
    cut_off.touch()
    crew.start()
    queue.enqueue_drain("a")
    eventually(lambda: crew.notes() == ["began:a"])
    queue.enqueue_drain("b")
    eventually(lambda: (tmp_path / "asked").exists() and (tmp_path / "asked").stat().st_size >= 3)  # no job is taken
    assert [row["reason"] for row in crew.events("ledger_unavailable")] == ["it is cut off"]
    assert crew.notes() == ["began:a"]
    assert queue.outstanding() == 2
    cut_off.unlink()
    eventually(lambda: sorted(crew.notes()[1:]) == ["began:a", "began:b", "ended:a", "ended:b"])


def test_a_ledger_that_answers_and_takes_nothing_is_tried_once_a_second_and_fills_no_log_and_no_redis(
    queue: Queue, client: "redis.Redis", crew: Crew, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    full.touch()
    crew.start()
    queue.enqueue_drain("a")
    eventually(lambda: len(crew.notes()) >= 4)
    began = len(crew.notes())
    time.sleep(3.0)
    assert len(crew.notes()) - began <= 5
    assert [row["reason"] for row in crew.events("ledger_unavailable")] == ["the disk is full"]
    assert crew.events("job_failed") == []
    assert client.zcard("rq:failed:ib-drain") == 0
    assert len(client.keys("rq:job:*") + client.keys("rq:results:*")) <= 1
    full.unlink()
    eventually(lambda: "ended:a" in crew.notes())


def test_a_worker_killed_in_mid_job_leaves_nothing_that_blocks_or_runs_again(
    queue: Queue, client: "redis.Redis", crew: Crew
) -> None:
    first = crew.start()
    queue.enqueue_drain("slow")
    eventually(lambda: crew.notes() == ["began:slow"])
    first.kill()
    first.wait()
    second = crew.start()
    crew.go_on()
    queue.enqueue_drain("good")
    eventually(lambda: "ended:good" in crew.notes(second))
    assert crew.notes() == ["began:slow", "began:good", "ended:good"]
    eventually(lambda: queue.outstanding() == 1)  # what the dead one had; it counts for 30 s
    assert client.llen("rq:queue:ib-drain:intermediate") == 0
    (abandoned,) = client.keys("rq:job:*")
    assert 0 < client.ttl(abandoned) <= 300
    ((_, until),) = client.zrange("rq:wip:ib-drain", 0, -1, withscores=True)
    assert until <= time.time() + 30


def test_flushall_in_mid_work_costs_nothing_but_what_waited(queue: Queue, client: "redis.Redis", crew: Crew) -> None:
    worker = crew.start()
    queue.enqueue_drain("slow")
    eventually(lambda: crew.notes() == ["began:slow"])
    client.flushall()
    crew.go_on()
    eventually(lambda: "ended:slow" in crew.notes())
    queue.poke("good")
    eventually(lambda: "ended:good" in crew.notes(worker))
    eventually(lambda: client.scard("rq:workers") == 1)
    (key,) = client.smembers("rq:workers")
    assert client.hget(key, "pid") == str(worker.pid).encode()
    assert 0 < client.ttl(key) <= 60


def test_a_restarted_server_finds_its_worker_again(
    server: ValkeyKeeper, queue: Queue, client: "redis.Redis", crew: Crew
) -> None:
    worker = crew.start()
    queue.poke("before")
    eventually(lambda: "ended:before" in crew.notes())
    before = client.info("server")["process_id"]
    os.kill(before, signal.SIGKILL)
    eventually(queue.ping)
    assert client.info("server")["process_id"] != before
    queue.poke("after")
    eventually(lambda: "ended:after" in crew.notes(worker))
    assert len(crew.events("queue_lost")) == len(crew.events("queue_back")) == 1


def test_a_worker_waits_for_a_redis_that_is_away_without_a_fuss(tmp_path: Path) -> None:
    keeper = ValkeyKeeper(tmp_path / "var")
    crew = Crew(keeper.url, tmp_path)
    try:
        worker = crew.start()
        eventually(lambda: bool((tmp_path / "log").read_text()))
        before = cpu_s(worker.pid)
        started = time.monotonic()
        eventually(lambda: time.monotonic() - started > 2.0)
        assert cpu_s(worker.pid) - before < 0.5
        keeper.start()
        assert keeper.wait_ready(WITHIN_S)
        Queue(keeper.url).poke("a")
        eventually(lambda: "ended:a" in crew.notes(worker))
        assert len(crew.events("queue_lost")) == len(crew.events("queue_back")) == 1
        keeper.stop()
        eventually(lambda: len(crew.events("queue_lost")) == 2)
        worker.terminate()
        assert worker.wait(WITHIN_S) == 0
    finally:
        crew.close()
        keeper.stop()


def test_a_redis_that_gives_no_jobs_is_not_counted_as_back_because_it_answers(
    queue: Queue, client: "redis.Redis", crew: Crew
) -> None:
    """A user who may do everything but take a job, as an access list has it: the worker tries at its own pace."""
    worker = crew.start()
    client.execute_command("ACL", "SETUSER", "default", "-blmove")
    try:
        eventually(lambda: len(crew.events("queue_lost")) == 1)
        before = cpu_s(worker.pid)
        time.sleep(3.0)
        assert cpu_s(worker.pid) - before < 0.5
        queue.poke("a")
    finally:
        client.execute_command("ACL", "SETUSER", "default", "+blmove")
    assert (len(crew.events("queue_lost")), crew.events("queue_back")) == (1, [])
    eventually(lambda: "ended:a" in crew.notes(worker))
    assert len(crew.events("queue_lost")) == len(crew.events("queue_back")) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_told_to_stop_finishes_its_job_and_takes_no_other(
    queue: Queue, client: "redis.Redis", crew: Crew, number: signal.Signals
) -> None:
    worker = crew.start()
    queue.enqueue_drain("slow")
    eventually(lambda: crew.notes() == ["began:slow"])
    queue.enqueue_drain("next")
    worker.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(0.3)
    crew.go_on()
    assert worker.wait(WITHIN_S) == 0
    assert crew.notes() == ["began:slow", "ended:slow"]
    assert queue.outstanding() == 1
    assert client.scard("rq:workers") == 0


def test_without_redis_everything_says_so_at_once(tmp_path: Path) -> None:
    queue = Queue(f"unix://{tmp_path}/nobody.sock?password=hidden")
    assert not queue.ping()
    calls: list[Callable[[], object]] = [
        lambda: queue.poke("a"),
        lambda: queue.clear_poke("a"),
        lambda: queue.enqueue_drain("a"),
        lambda: queue.enqueue_upkeep("a"),
        queue.outstanding,
        queue.is_fresh,
    ]
    started = time.monotonic()
    for call in calls:
        with pytest.raises(QueueUnavailable) as caught:
            call()
        assert "hidden" not in str(caught.value)
    assert time.monotonic() - started < 0.5


def raised(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (raised(redis.ConnectionError("at host:6379"), OSError(errno.ECONNREFUSED, "")), "Connection refused"),
        (raised(redis.ConnectionError(), ssl.SSLError(1, "[SSL] no")), "TLS: SSLError"),
        (
            raised(redis.ConnectionError(), socket.gaierror(-2, "Name or service not known")),
            "Name or service not known",
        ),
        (raised(redis.TimeoutError("Timeout"), TimeoutError("timed out")), "no answer in time"),
        (
            raised(redis.ConnectionError(), FileNotFoundError(errno.ENOENT, "No such file or directory")),
            "a file that its address names is not there",
        ),
        (redis.AuthenticationError("Authentication required."), "Authentication required."),
        (redis.ConnectionError("at host:6379"), "ConnectionError"),
    ],
)
def test_why_redis_does_not_answer_is_said_in_the_words_of_who_refused(error: Exception, reason: str) -> None:
    assert reason_of(error) == reason


@pytest.mark.parametrize(("option", "value"), [("max_connection", "10"), ("db", "one")])
def test_an_address_that_no_connection_can_be_made_from_is_said_at_the_start(option: str, value: str) -> None:
    with pytest.raises(QueueMisnamed, match=f"option '{option}'"):
        Queue(f"redis://:a-password@127.0.0.1:1/0?{option}={value}")
    for good in ("unix:///x.sock", "rediss://u:p@h:1/3?ssl_cert_reqs=none", "redis://h:1/0?health_check_interval=3"):
        Queue(good)


def test_a_redis_that_hangs_costs_one_timeout_and_not_one_per_poke(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "hung.sock"))
        listener.listen()
        queue = Queue(f"unix://{tmp_path}/hung.sock")
        started = time.monotonic()
        for _ in range(50):
            with pytest.raises(QueueUnavailable):
                queue.poke("a")
        assert time.monotonic() - started < 2.0


def test_the_server_of_before_a_failover_is_left_once_it_refuses_writes(tmp_path: Path) -> None:
    before, after = ValkeyKeeper(tmp_path / "before"), ValkeyKeeper(tmp_path / "after")
    address = tmp_path / "redis.sock"
    for keeper in (before, after):
        keeper.start()
        assert keeper.wait_ready(WITHIN_S)
    address.symlink_to(before.url.removeprefix("unix://"))
    queue = Queue(f"unix://{address}")
    queue.enqueue_drain("a")
    redis.Redis.from_url(before.url).replicaof("127.0.0.1", 1)
    address.unlink()
    address.symlink_to(after.url.removeprefix("unix://"))
    with pytest.raises(QueueUnavailable, match="read only"):
        queue.enqueue_drain("a")
    queue.enqueue_drain("a")
    assert queue.outstanding() == 1
    queue.close()
    before.stop()
    after.stop()


def test_a_queue_shared_by_threads_pokes_each_lane_once(queue: Queue) -> None:
    def poke() -> None:
        for number in range(20):
            queue.poke(f"lane-{number}")

    threads = [threading.Thread(target=poke) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert queue.outstanding() == 20


def test_a_job_reaches_an_idle_worker_within_milliseconds(queue: Queue, crew: Crew, tmp_path: Path) -> None:
    crew.start()
    waits = []
    for number in range(30):
        started = time.monotonic()
        queue.enqueue_drain(f"n{number}")
        while len(crew.notes()) <= 2 * number:
            assert time.monotonic() - started < WITHIN_S
            time.sleep(0.001)  # else asking takes the processor that the worker needs
        waits.append(time.monotonic() - started)
    assert sorted(waits)[15] < 0.05, waits  # 1 to 3 ms on an idle machine
