"""A load generator for loopback: raw sockets, keep-alive, one thread a connection, so that it costs little itself."""

import json
import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from threading import Thread
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run: requests a second, and how long each took in milliseconds."""

    per_s: float
    p50_ms: float
    p99_ms: float
    errors: int


def request_bytes(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """One POST as it goes over the wire."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def run(host: str, port: int, path: str, *, connections: int, seconds: float, distinct: bool) -> Measured:
    """Post over `connections` connections for some seconds, from a process of its own."""
    context = get_context("spawn")
    results: Any = context.Queue()
    process = context.Process(target=_process, args=(host, port, path, connections, seconds, distinct, results))
    process.start()
    durations, errors, elapsed = results.get()
    process.join()
    durations.sort()
    at = lambda share: 1000 * durations[min(len(durations) - 1, int(share * len(durations)))]  # noqa: E731
    return Measured(per_s=len(durations) / elapsed, p50_ms=at(0.5), p99_ms=at(0.99), errors=errors)


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


def _process(host: str, port: int, path: str, connections: int, seconds: float, distinct: bool, results: Any) -> None:
    durations: list[list[float]] = [[] for _ in range(connections)]
    errors = [0] * connections
    started = time.monotonic()
    until = started + seconds
    threads = [
        Thread(target=_connection, args=(host, port, path, until, n, connections, distinct, durations[n], errors))
        for n in range(connections)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - started
    results.put(([one for part in durations for one in part], sum(errors), elapsed))


def _connection(
    host: str,
    port: int,
    path: str,
    until: float,
    number: int,
    step: int,
    distinct: bool,
    durations: list[float],
    errors: list[int],
) -> None:
    sock = socket.create_connection((host, port), timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    count = 0
    salt = time.time_ns() % 1_000_000_000
    while time.monotonic() < until:
        wanted = request_bytes(path, alert_body(salt + number + count * step if distinct else number))
        started = time.monotonic()
        sock.sendall(wanted)
        status = read_answer(sock)
        durations.append(time.monotonic() - started)
        errors[number] += status not in (200, 202)
        count += 1
    sock.close()


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


def wait_for(ready: Callable[[], bool], within_s: float = 20.0) -> None:
    """Poll until ready. Raises TimeoutError."""
    until = time.monotonic() + within_s
    while not ready():
        if time.monotonic() > until:
            raise TimeoutError("not ready in time")
        time.sleep(0.05)


def listens(host: str, port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        socket.create_connection((host, port), timeout=0.2).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def median(values: list[float]) -> float:
    """The middle one."""
    return statistics.median(values)
