"""`incident-bridge init` and `up`, as a new user runs them: everything starts, comes back, and ends together."""

import fcntl
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import psutil
import pytest
import requests

from bench.load import free_port
from bridge.entrypoints.web.server import PROCESSES
from bridge.sandbox.pages import title_of
from tests.e2e.living import children_of, is_alive, processes
from tests.e2e.processes import CLI, NO_VALKEY, Bridge, alert, environment, eventually, locked, with_shadow

pytestmark = pytest.mark.e2e

WITHIN_S = 30.0
ORPHANS_GONE_S = 5.0
ALL = ("web", "worker.1", "worker.2", "clock", "sandbox")
_LASTING = re.compile(r"serve|worker|clock|sandbox")  # as their command lines have it
STARTS = """
import signal, time
from bridge.entrypoints.cli.up import _called_apart
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it runs in the background
try:
    with _called_apart(int) as answer:
        answer()
        print("ready", flush=True)
        while True:
            time.sleep(0.05)  # pause() would miss a signal that comes just before it
except KeyboardInterrupt:
    print("stopped")
"""
WITHOUT_THREADS = """
import threading
from bridge.entrypoints.cli import main
threading.stack_size(1 << 50)  # more than there is
main()
"""
HELPER_KILLED = """
import os
from bridge.domain.errors import BridgeError
from bridge.entrypoints.cli.up import _called_apart
try:
    with _called_apart(os.abort) as answer:
        answer()
except BridgeError as error:
    print(error)
"""


class Up:
    """A fresh folder with the shipped configuration on a port of its own, and `up` in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "my bridge"
        made = subprocess.run(
            [*CLI, "init", str(self.folder)], cwd=folder, env=environment(), capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stderr
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        config = self.folder / "bridge.yaml"
        config.write_text(config.read_text().replace("8080", str(self.port)))
        self._seen: set[int] = set()
        self._started: list[subprocess.Popen[bytes]] = []

    def start(
        self, *options: str, env: Mapping[str, str] | None = None, err: int | None = None
    ) -> "subprocess.Popen[bytes]":
        """`up` in the folder; what it says goes to the files `out` and `err`, or to that descriptor."""
        with (self.folder / "out").open("ab") as out, (self.folder / "err").open("ab") as err_file:
            process = subprocess.Popen(
                [*CLI, "up", "--workers", "2", *options],
                cwd=self.folder,
                env=environment(**(env or {})),
                stdout=out,
                stderr=err_file if err is None else err,
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def ready(self) -> None:
        self.eventually(lambda: _status(f"{self.url}/readyz") == 200)
        self.tree()

    def out(self) -> str:
        return (self.folder / "out").read_text()

    def err(self) -> str:
        return (self.folder / "err").read_text()

    def eventually(self, what: Callable[[], object], within_s: float = WITHIN_S) -> float:
        return eventually(what, within_s, self.err)

    def pid(self, name: str) -> int:
        """The latest process under that name."""
        return int(
            re.findall(rf"^incident-bridge: {re.escape(name)} started, pid (\d+)$", self.err(), re.MULTILINE)[-1]
        )

    def tree(self) -> set[int]:
        """Every living process that `up` or what it started ever started, as far as we looked."""
        listed = processes()
        family = self._seen | {one.pid for one in self._started}
        while more := {pid for pid, parent, _ in listed if parent in family} - family:
            family |= more
        self._seen = family
        return {pid for pid, _, _ in listed if pid in family}

    def close(self) -> None:
        left = self.tree()
        for pid in left:
            with suppress(ProcessLookupError):  # it ends by itself just now
                os.kill(pid, signal.SIGKILL)
        for process in self._started:
            process.wait()
        eventually(lambda: not self.tree(), ORPHANS_GONE_S)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    made = Up(tmp_path)
    yield made
    made.close()


def _started_again(up: int) -> set[int]:
    """The children of `up` that it starts again; its herald, which ends once it has spoken, is none of them.

    On macOS, where none has a name of its own, until then it is.
    """
    return {pid for pid, parent, command in processes() if parent == up and _LASTING.search(command)}


def _accepted(url: str) -> bool:
    """Whether an alert was accepted; a sender's next try may find the next web process."""
    try:
        return requests.post(f"{url}/webhooks/lab", json={"title": "Checkout is down"}, timeout=20).status_code == 202
    except requests.RequestException:
        return False


def _states(url: str) -> list[str]:
    """The states of all deliveries; none while the web process is just started again."""
    try:
        items = requests.get(f"{url}/api/v1/deliveries", timeout=5).json()["items"]
    except requests.RequestException:
        return []
    return [item["state"] for item in items]


def _status(address: str) -> int:
    try:
        return requests.get(address, timeout=5).status_code
    except requests.RequestException:
        return 0


def test_a_new_user_sees_three_alerts_become_incidents_and_ctrl_c_ends_everything_in_order(up: Up) -> None:
    process = up.start("--demo")
    up.eventually(lambda: len(up.out().splitlines()) == 3)
    up.ready()
    for line in up.out().splitlines():
        found = re.fullmatch(r"  (.+) -> rule lab -> pagerduty-prod -> opened: (http://127\.0\.0\.1:\d+/\S+)", line)
        assert found, line
        page = requests.get(found[2], headers={"Accept": "text/html"}, timeout=5)  # as a browser asks
        assert page.status_code == 200
        assert found[1] in page.text
    assert f"Incident Bridge runs at {up.url}" in up.err()
    assert "Traceback" not in up.err()

    os.kill(process.pid, signal.SIGINT)
    assert process.wait(WITHIN_S) == 0
    assert up.err().endswith("incident-bridge: stopped\n")
    assert "did not end and is killed" not in up.err()
    eventually(lambda: up.tree() == set(), 1.0, up.err)
    with closing(sqlite3.connect(up.folder / "var" / "bridge.db")) as ledger:
        assert ledger.execute("SELECT count(*) FROM heartbeats").fetchone() == (0,)
        assert ledger.execute("SELECT DISTINCT state FROM deliveries").fetchall() == [("delivered",)]


def test_killed_it_takes_everything_along(up: Up) -> None:
    process = up.start()
    up.ready()
    assert len(up.tree()) >= len(ALL) + 4  # itself, two web children, Valkey
    assert any("valkey-server" in command for pid, _, command in processes() if pid in up.tree())
    process.kill()
    process.wait()
    eventually(lambda: up.tree() == set(), ORPHANS_GONE_S, lambda: str(up.tree()))
    up.start()  # and nothing it left behind is in the way
    up.ready()


def test_killed_while_it_starts_it_leaves_nobody_who_keeps_the_next_one_out(up: Up) -> None:
    process = up.start()
    up.eventually(lambda: children_of(process.pid))  # the one that looks at the ledger
    process.kill()
    process.wait()
    lock = up.folder / "var" / "up.lock"

    def is_free() -> bool:
        with lock.open() as file, suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    up.eventually(is_free, ORPHANS_GONE_S)


def test_it_waits_for_what_one_that_was_killed_leaves_behind(up: Up) -> None:
    lock = up.folder / "var" / "up.lock"
    lock.parent.mkdir(mode=0o700)
    with locked(lock):  # as what a killed one had forked holds it, until it ends
        process = up.start()
        up.eventually(lambda: str(lock) in _open_files(process.pid))
        time.sleep(0.2)  # it has tried by now
        assert process.poll() is None, up.err()
    up.ready()


def _open_files(pid: int) -> list[str]:
    return [one.path for one in psutil.Process(pid).open_files()]


def test_ctrl_c_while_it_starts_is_no_traceback() -> None:
    command = [sys.executable, "-c", STARTS]
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=WITHIN_S) == ("stopped\n", "")


def test_a_start_that_gets_no_thread_goes_on_with_what_needs_none(up: Up) -> None:
    """It waited for a process that it had forked before it asked for the thread, which waited for work, for ever."""
    command = [sys.executable, "-c", WITHOUT_THREADS, "up", "--config", str(up.folder / "bridge.yaml")]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = iter(process.stderr.readline, "")
        assert any("worker.1 started" in line for line in said)
        process.terminate()
        assert any("stopped" in line for line in said)
    assert process.returncode == 0


def test_a_start_whose_helper_is_killed_says_so() -> None:
    process = subprocess.run(
        [sys.executable, "-c", HELPER_KILLED], env=environment(), capture_output=True, text=True, timeout=WITHIN_S
    )
    assert process.stdout == "the process that looks after the ledger was killed; start again\n", process.stderr


def test_it_outlives_whoever_reads_its_log(up: Up) -> None:
    read, write = os.pipe()
    process = up.start(err=write)
    os.close(write)
    up.eventually(lambda: _status(f"{up.url}/readyz") == 200)
    os.close(read)
    up.eventually(lambda: len(_started_again(process.pid)) == len(ALL))
    killed = _started_again(process.pid)
    for pid in killed:  # each is a line of the supervisor's
        os.kill(pid, signal.SIGKILL)
    assert len(killed) == len(ALL)
    up.eventually(lambda: len(_started_again(process.pid) - killed) == len(killed))
    up.eventually(lambda: _accepted(up.url))
    up.eventually(lambda: _states(up.url) == ["delivered"])
    assert process.poll() is None


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(up: Up) -> None:
    nowhere = "http://127.0.0.1:9"
    up.start(env={"HTTP_PROXY": nowhere, "http_proxy": nowhere, "NO_PROXY": "", "no_proxy": ""})
    up.eventually(lambda: f"Incident Bridge runs at {up.url}" in up.err(), 25.0)


def test_whatever_is_killed_comes_back_and_nothing_is_forgotten(up: Up) -> None:
    up.start()
    up.ready()
    before = {name: up.pid(name) for name in ALL}
    for name in ALL:
        os.kill(before[name], signal.SIGKILL)
    up.eventually(lambda: all(up.pid(name) != before[name] for name in ALL))
    up.eventually(lambda: _posted(up) == 202)
    up.ready()
    up.eventually(lambda: _incident_states(up) == ["open"])


def _posted(up: Up) -> int:
    try:
        return requests.post(f"{up.url}/webhooks/lab", json=alert("after the kills"), timeout=5).status_code
    except requests.RequestException:
        return 0


def _incident_states(up: Up) -> list[str]:
    """None while nothing listens: the orphans of a killed web process may have answered what came before."""
    try:
        items = requests.get(f"{up.url}/api/v1/incidents", timeout=5).json()["items"]
    except requests.RequestException:
        return []
    return [str(one["state"]) for one in items]


def test_a_second_one_in_the_folder_is_refused_and_the_first_goes_on(up: Up) -> None:
    up.start()
    up.ready()
    first = {up.pid(name) for name in ALL}
    assert up.start().wait(WITHIN_S) == 1
    assert f"incident-bridge: another 'incident-bridge up' runs in {up.folder}; stop that one first\n" in up.err()
    assert up.tree() >= first
    assert _status(f"{up.url}/readyz") == 200


def test_a_port_in_use_is_refused_with_a_sentence(up: Up) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", up.port))
        other.listen()
        assert up.start().wait(WITHIN_S) == 1
    sentence = f"incident-bridge: cannot listen on 127.0.0.1:{up.port}: Address already in use; "
    assert sentence + "stop what listens there, or change server.listen\n" in up.err()
    assert "started" not in up.err()


def test_a_folder_that_cannot_be_used_is_refused_with_a_sentence(up: Up) -> None:
    (up.folder / "var").touch()
    assert up.start().wait(WITHIN_S) == 1
    assert re.search(r"^incident-bridge: .*/var cannot be read or written: File exists; name", up.err(), re.MULTILINE)
    assert "Traceback" not in up.err()


def test_without_a_program_for_redis_nothing_starts(up: Up, tmp_path: Path) -> None:
    assert up.start(env={"PYTHONPATH": with_shadow(tmp_path), "PATH": str(tmp_path)}).wait(WITHIN_S) == 1
    assert up.err().splitlines()[-1] == f"incident-bridge: {NO_VALKEY}"
    assert "started" not in up.err()


def test_a_procfile_without_a_command_starts_nothing(up: Up) -> None:
    (up.folder / "Procfile").write_text("# web: incident-bridge serve\n")
    assert up.start().wait(WITHIN_S) == 1
    assert "Procfile names no command; write one, or delete it" in up.err()


def test_a_broken_configuration_starts_nothing(up: Up) -> None:
    (up.folder / "rules" / "mine.yaml").write_text("rules: [{id: x, match: {severty: critical}, incident: {}}]\n")
    assert up.start().wait(WITHIN_S) == 1
    assert "rules/mine.yaml:1:" in up.err()
    assert "nothing was started" in up.err()
    assert not (up.folder / "var").exists()


def test_init_leaves_alone_what_exists(up: Up) -> None:
    config = (up.folder / "bridge.yaml").read_text()
    (up.folder / "Procfile").unlink()
    again = subprocess.run([*CLI, "init", "."], cwd=up.folder, env=environment(), capture_output=True, check=False)
    assert again.returncode == 0
    assert again.stdout.decode().splitlines() == ["wrote Procfile"]
    assert b"bridge.yaml exists and is left alone\n" in again.stderr
    assert (up.folder / "bridge.yaml").read_text() == config


# -- the web process's end


PATIENT_SERVE = """
from bridge.entrypoints.cli import main
from bridge.entrypoints.web import server
server.READ_WITHIN_S = 60.0  # longer than this test takes on any machine
main()
"""


def test_the_orphans_of_a_killed_web_process_do_not_keep_the_next_one_from_starting(tmp_path: Path) -> None:
    with Bridge(tmp_path, start=()) as bridge, ExitStack() as stack:
        bridge.start("web", [sys.executable, "-c", PATIENT_SERVE, "serve"])
        bridge.answers()
        for _ in range(4):  # who are in the middle of sending, so that neither orphan can end
            sender = stack.enter_context(socket.create_connection(("127.0.0.1", bridge.port), timeout=5.0))
            sender.sendall(b"POST /webhooks/lab HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        bridge.eventually(lambda: _status(f"{bridge.url}/healthz") == 200)
        children = children_of(bridge.running["web"].pid)
        bridge.kill("web")
        bridge.start("web")
        bridge.eventually(lambda: children_of(bridge.running["web"].pid))
        assert any(map(is_alive, children))
        assert bridge.post(alert("to the next one")).status_code == 202


SLOW_TO_BEGIN = """
import sys, time
from bridge.entrypoints.web import server
server._keep_to_one_cpu = lambda _arbiter, _worker: time.sleep(0.7)
server.Server("127.0.0.1:0", lambda: lambda environ, start: []).run()
"""


def test_a_child_that_is_told_to_stop_before_it_can_hear_it_stops_all_the_same() -> None:
    web = subprocess.Popen([sys.executable, "-c", SLOW_TO_BEGIN])
    try:
        eventually(lambda: len(children_of(web.pid)) == 2, 10.0)
        web.terminate()
        assert web.wait(10.0) == 0
    finally:
        web.kill()
        web.wait()


def _both_children(bridge: Bridge) -> set[int]:
    """The web processes that answer, once both are there."""
    bridge.eventually(lambda: len(children_of(bridge.running["web"].pid)) == PROCESSES)
    return set(children_of(bridge.running["web"].pid))


FEW_FILES = 400  # fewer than there are connections below, shared by two processes
CROWD = 1000


def test_more_connections_than_descriptors_end_no_process(tmp_path: Path) -> None:
    with Bridge(tmp_path, start=()) as bridge, ExitStack() as crowd:
        bridge.start("web", ["/bin/sh", "-c", f'ulimit -n {FEW_FILES}; exec "$0" "$@"', *CLI, "serve"])
        bridge.answers()
        children = _both_children(bridge)
        for _ in range(CROWD):
            crowd.enter_context(socket.create_connection(("127.0.0.1", bridge.port), timeout=20))
        crowd.close()
        bridge.deliver(alert("after the crowd"))
        assert set(children_of(bridge.running["web"].pid)) == children


def test_a_terminal_that_stops_background_jobs_costs_no_web_process(tmp_path: Path) -> None:
    with Bridge(tmp_path, start=("web",)) as bridge:
        children = _both_children(bridge)
        bridge.running["web"].send_signal(signal.SIGTTOU)
        bridge.running["web"].send_signal(signal.SIGHUP)  # heard after it
        bridge.eventually(lambda: "reload_finished" in bridge.said("web"))
        assert set(children_of(bridge.running["web"].pid)) == children


def test_told_to_stop_the_web_process_answers_what_it_began_to_receive(tmp_path: Path) -> None:
    with Bridge(tmp_path) as bridge, socket.create_connection(("127.0.0.1", bridge.port), timeout=15.0) as sender:
        body = b'{"title": "sent while it stops"}'
        head = b"POST /webhooks/lab HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
        sender.sendall(head + body[:10])
        bridge.eventually(lambda: _status(f"{bridge.url}/healthz") == 200)
        web = bridge.running["web"]
        web.terminate()
        bridge.eventually(lambda: _status(f"{bridge.url}/healthz") == 0)  # it takes nothing new
        sender.sendall(body[10:])
        assert sender.recv(65536).startswith(b"HTTP/1.1 202 ")
        assert web.wait(WITHIN_S) == 0
        bridge.arrives("sent while it stops")


def test_told_to_stop_a_worker_finishes_its_delivery_and_claims_no_other(tmp_path: Path) -> None:
    with Bridge(tmp_path) as bridge:
        bridge.script(match={"method": "POST", "path_prefix": "/pagerduty/incidents"}, do={"delay_s": 1.5})
        bridge.deliver(alert("slow"))
        bridge.eventually(lambda: bridge.sandbox.calls.calls(api="pagerduty", method="POST"))
        for n in range(3):
            bridge.deliver(alert(f"behind {n}"))
        assert bridge.stop("worker") == 0
        assert _deliveries(bridge) == {"slow": "delivered", **{f"behind {n}": "pending" for n in range(3)}}
        bridge.start("worker")
        bridge.eventually(lambda: set(_deliveries(bridge).values()) == {"delivered"})
        assert sorted(map(title_of, bridge.upstream())) == ["behind 0", "behind 1", "behind 2", "slow"]


def _deliveries(bridge: Bridge) -> dict[str, str]:
    """The state of each incident's create."""
    states = {one["incident"]: one["state"] for one in bridge.every("deliveries")}
    return {one["title"]: states[one["id"]] for one in bridge.every("incidents")}
