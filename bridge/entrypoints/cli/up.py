"""`up`: everything on one machine, under one supervisor; `--demo` shows what becomes of three alerts."""

import fcntl
import importlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import Pipe, get_context
from pathlib import Path
from typing import Any

import click

from bridge.adapters import streams
from bridge.config.texts import text_in
from bridge.entrypoints.cli import config_option, prepared, say

WORKERS = 4
SANDBOX_PORT = 8081
ORPHANS_END_WITHIN_S = 4.0  # gunicorn's workers look once a second whether their parent lives
LOOKED_EVERY_S = 0.05


@click.command()
@click.option("--demo", is_flag=True, help="Post three sample alerts and print what becomes of each.")
@click.option("--workers", type=click.IntRange(1, 64), default=WORKERS, show_default=True, help="Worker processes.")
@config_option
def up(demo: bool, workers: int, config: Path) -> int:
    """Run everything on this machine: the Procfile's processes, Redis, and the sandbox where an account uses it.

    Whatever ends is started again. Rules and templates that change are checked, tested and put in force, at
    once on SIGHUP. Ctrl-C, or closing the terminal, stops everything in order; nothing that was accepted is lost.
    """
    from bridge import wiring
    from bridge.adapters.supervisor import Supervisor, commands_in

    streams.outlast_readers()
    os.environ["BRIDGE_CONFIG"] = str(config.absolute())
    os.environ["BRIDGE_SANDBOX"] = "1"
    os.environ[wiring.WATCH_VARIABLE] = "1"
    loaded = wiring.load(config)
    settings = loaded.settings
    for warning in loaded.warnings:
        say(str(warning))
    wiring.refuse_sandbox_in_earnest(settings)
    settings.var_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _only_one(settings.var_dir)
    wiring.refuse_without_redis(settings)
    _port_is_free(settings.server.host, settings.server.port)
    _ledger_is_current(loaded, meanwhile=_preload)
    procfile = _procfile(settings)
    commands = commands_in(text_in(procfile, str(procfile)), str(procfile))
    if not commands:
        raise wiring.StartRefused(f"{procfile} names no command; write one, or delete it: then the shipped one holds")
    theirs = wiring.with_ledger(loaded)
    supervisor = Supervisor(
        commands, counts={"worker": workers}, reloads=("serve",), prepare=partial(prepared, inherited=theirs)
    )
    trial = any(account.sandbox for account in settings.accounts.values())
    if trial and wiring.SANDBOX_URL_VARIABLE not in os.environ:  # else somebody runs one of their own
        port = _sandbox_port()
        if port != SANDBOX_PORT:
            say(f"port {SANDBOX_PORT} is taken; the sandbox is at {port} this time, links of earlier runs lead nowhere")
        os.environ[wiring.SANDBOX_URL_VARIABLE] = f"http://127.0.0.1:{port}"
        journal = str(settings.var_dir / "sandbox.jsonl")
        supervisor.add("sandbox", ["sandbox", "--listen", f"127.0.0.1:{port}", "--journal", journal])
    supervisor.add("herald", ["herald", *(["--demo"] if demo else [])], restart=False)
    try:
        return int(supervisor.run())
    finally:
        os.close(lock)


def _preload() -> None:
    """Import once what the children need: they are forked, and share the memory."""
    for module in (
        "bridge.entrypoints.cli.processes",
        "bridge.entrypoints.cli.herald",
        "bridge.entrypoints.web.running",
        "bridge.entrypoints.web.server",
        "bridge.entrypoints.clock",
        "bridge.adapters.valkey",
        "gunicorn.arbiter",
        "gunicorn.workers.gthread",
        "psycopg" if os.environ.get("DATABASE_URL", "").startswith("postgres") else "sqlite3",
    ):
        importlib.import_module(module)


def _only_one(var_dir: Path) -> int:
    """Hold var/up.lock for as long as this runs: two `up` in one folder would restart each other's work.

    What one that was killed had forked holds it too until it ends, which is waited for.
    """
    from bridge.wiring import StartRefused

    descriptor = os.open(var_dir / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + ORPHANS_END_WITHIN_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= until:
                os.close(descriptor)
                raise StartRefused(
                    f"another 'incident-bridge up' runs in {var_dir.parent}; stop that one first"
                ) from error
            time.sleep(LOOKED_EVERY_S)
        else:
            return descriptor


def _port_is_free(host: str, port: int) -> None:
    from bridge.wiring import StartRefused

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StartRefused(
                f"cannot listen on {host}:{port}: {error.strerror}; stop what listens there, or change server.listen"
            ) from error


def _sandbox_port() -> int:
    """The sandbox's own port when it is free, else any."""
    for port in (SANDBOX_PORT, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return SANDBOX_PORT


def _ledger_is_current(loaded: Any, meanwhile: Callable[[], None]) -> None:
    """Apply missing migrations and put the rules in force, in a process of its own: what that needs in memory is not
    for every child to share.
    """
    from bridge import wiring

    settings = loaded.settings
    origin = wiring.origin(settings, loaded.digest, "start of up")
    with _called_apart(_upgraded, settings.ledger, wiring.stored_book(loaded), origin) as answer:
        meanwhile()
        before, after = answer()
    if before is not None and before != after:
        say(f"the ledger went from version {before} to {after}")


@contextmanager
def _called_apart(do: Callable[..., Any], *given: Any) -> Iterator[Callable[[], Any]]:
    """Call that in a forked process that ends with this one: left behind by a kill, it would hold var/up.lock for ever.

    What comes out waits for the answer, and raises what was raised there. (A pool needs threads: where it gets none,
    what it has forked by then waits for work for ever, and this process for its end.)
    """
    from bridge.adapters.supervisor import die_with

    answers, answering = Pipe(duplex=False)
    lifeline, ours = os.pipe()

    def call(parent: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is its parent's, which waits for what is under way
        os.close(ours)
        die_with(parent, lifeline)
        try:
            answering.send((do(*given), None))
        except Exception as error:  # noqa: BLE001 - raised again in the parent, whose outermost frame says it
            answering.send((None, error))

    apart = get_context("fork").Process(target=call, args=(os.getpid(),))
    try:
        apart.start()
        answering.close()
        yield partial(_answer_of, answers)
    finally:
        if apart.pid is not None:
            apart.join()
        answers.close()
        os.close(lifeline)
        os.close(ours)


def _answer_of(answers: Any) -> Any:
    from bridge.wiring import StartRefused

    try:
        answer, error = answers.recv()
    except EOFError as ended:
        raise StartRefused("the process that looks after the ledger was killed; start again") from ended
    if error is not None:
        raise error
    return answer


def _upgraded(url: str, book: Any, origin: Any) -> tuple[str | None, str]:
    from bridge.adapters.ledger import Ledger
    from bridge.adapters.ledger.engine import Database
    from bridge.adapters.ledger.upgrade import upgrade

    database = Database(url)
    try:
        versions = upgrade(database)
        Ledger(database, {}).book_started(book, origin)
        return versions
    finally:
        database.close()


def _procfile(settings: Any) -> Path:
    """The Procfile beside the configuration, else the shipped one."""
    from bridge.entrypoints.cli.setup import shipped_dir

    own: Path = settings.config_dir / "Procfile"
    return own if own.exists() else shipped_dir() / "Procfile"
