"""The processes of the Procfile: serve, worker, clock, and the sandbox."""

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from bridge.adapters import streams
from bridge.entrypoints.cli import config_option, say, unused_config_option

PORT_MAX = 65535
EMBEDDED_READY_S = 2.0  # what a server that starts with us may take before its absence is worth a line


def _started(kind: str, config: Path) -> Any:
    """Everything a process of this kind checks before it works; the children of `up` inherit what it has checked."""
    from bridge import wiring
    from bridge.adapters import logs

    streams.outlast_readers()
    logs.configure(kind)
    loaded = click.get_current_context().obj or wiring.load(config)
    wiring.refuse_sandbox_in_earnest(loaded.settings)
    return loaded


@click.command()
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True, help="Web processes.")
@click.option("--threads", type=click.IntRange(8, 1024), default=128, show_default=True, help="Threads of each.")
@config_option
def serve(processes: int, threads: int, config: Path) -> int:
    """Run the web process: webhooks, read API, health. SIGTERM finishes what is under way, SIGHUP reloads the rules."""
    from bridge import wiring
    from bridge.entrypoints.reloading import is_worth_another_try, published
    from bridge.entrypoints.web.keeper import Bell
    from bridge.entrypoints.web.running import WebProcess
    from bridge.entrypoints.web.server import Server

    loaded = _started("web", config)
    os.chdir(loaded.settings.config_dir)  # gunicorn and Flask ask where they are, whenever a child starts
    ledger = wiring.ledger_of(loaded)  # a wrong schema is said once, before anything is forked
    if click.get_current_context().obj is None:  # `up` has seen to it
        published(loaded, ledger, "start of serve")
    bell = Bell()
    if is_worth_another_try(loaded, ledger):
        bell.ring("a start with files that were refused")
    ledger.close()
    wiring.session_key(loaded.settings)  # so is a var/ in which it cannot be kept,
    wiring.refuse_without_redis(loaded.settings)  # and a Redis that cannot be
    web = WebProcess(loaded, bell)
    Server(
        loaded.settings.server.bind,
        web.start,
        processes=processes,
        threads=threads,
        on_stop=web.stop,
        on_hangup=bell.ring,
    ).run()
    return 0


@click.command()
@config_option
def worker(config: Path) -> int:
    """Run a worker: it drains lanes. Run as many as you like, on any number of hosts."""
    from bridge import wiring
    from bridge.adapters.http import Http
    from bridge.adapters.queue import Queue, run_worker
    from bridge.entrypoints import worker as jobs
    from bridge.entrypoints.beating import Pulse
    from bridge.entrypoints.confirming import Confirmations

    loaded = _started("worker", config)
    ledger = wiring.ledger_of(loaded)
    keeper, url = wiring.redis_of(loaded.settings, wait_s=EMBEDDED_READY_S)
    stop = threading.Event()
    http = Http()
    drainer = jobs.Drainer(ledger, wiring.destinations(loaded.settings), http, stopping=stop.is_set)
    queue = Queue(url)
    jobs.install(drainer, queue, Confirmations(ledger, wiring.confirming(loaded.settings), http).confirm)
    pulse = Pulse(ledger, wiring.heartbeat("worker"))
    try:
        run_worker(lambda: url, on_start=pulse.start, stop=stop, is_able=jobs.is_able)
    finally:
        pulse.stop()
        if keeper is not None:
            keeper.stop()
    return 0


@click.command()
@config_option
def clock(config: Path) -> int:
    """Run the clock: it finds due lanes and looks after the rest. One is enough, more do no harm."""
    from bridge import wiring
    from bridge.adapters.http import Http
    from bridge.adapters.queue import Queue
    from bridge.domain.errors import LedgerUnavailable
    from bridge.entrypoints.alarming import alarms_of
    from bridge.entrypoints.beating import Pulse
    from bridge.entrypoints.clock import Clock
    from bridge.entrypoints.confirming import Confirmations
    from bridge.entrypoints.worker import Drainer

    loaded = _started("clock", config)
    ledger = wiring.ledger_of(loaded)
    keeper, url = wiring.redis_of(loaded.settings, wait_s=EMBEDDED_READY_S)
    stop = _on_signal()
    http = Http()
    drainer = Drainer(ledger, wiring.destinations(loaded.settings), http, stopping=stop.is_set)
    confirmations = Confirmations(ledger, wiring.confirming(loaded.settings), http)
    retention = loaded.settings.retention
    pulse = Pulse(ledger, wiring.heartbeat("clock"))
    pulse.start()
    try:
        with suppress(LedgerUnavailable):
            ledger.parked_probed()  # a start is how a new key comes in: no lane waits out what the old one was told
        kept = (retention.bodies, retention.history)
        alarms = alarms_of(loaded.settings, ledger, http)
        most = retention.bodies_max_bytes
        Clock(ledger, Queue(url), drainer, kept, confirmations, alarms, bodies_max_bytes=most).run(stop)
    finally:
        pulse.stop()
        if keeper is not None:
            keeper.stop()
    return 0


@click.command()
@click.option("--listen", default="127.0.0.1:8081", show_default=True, help="Host and port; port 0 takes a free one.")
@click.option("--journal", type=click.Path(path_type=Path), help="Keep what it was told over a restart.")
@unused_config_option
def sandbox(listen: str, journal: Path | None) -> int:
    """Run local stand-ins of PagerDuty and incident.io: they refuse what the real ones refuse.

    PagerDuty answers under /pagerduty, incident.io under /incident-io; / shows what they were told.
    """
    from bridge.sandbox.server import SandboxServer

    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port[:6]) > PORT_MAX:
        raise click.UsageError(f"--listen takes host:port, not '{listen}'")
    streams.outlast_readers()
    stop = _on_signal()
    try:
        server = SandboxServer(host, int(port), journal=journal)
        say(f"sandbox listens on {server.start()}")
    except OSError as error:
        if error.filename is not None:
            raise  # the journal, not the address
        say(f"the sandbox cannot listen on {listen}: {error.strerror}; name another port with --listen")
        return 1
    stop.wait()
    server.stop()
    return 0


def _on_signal() -> threading.Event:
    from bridge.adapters.supervisor import stop_on_signals

    stop = threading.Event()
    stop_on_signals(stop)
    return stop
