"""Processes that die at a named point, once: the parts of production, with one argument replaced by a dying wrapper.

    python -m tests.e2e.faulty web DOOM host:port --config bridge.yaml
    python -m tests.e2e.faulty worker DOOM --config bridge.yaml

DOOM is a folder of files, each named after a point and some word more. Who comes to that point with an alert whose
title holds the file's name, and manages to delete the file, dies there by kill -9: one file is one death.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

from bridge import wiring
from bridge.adapters import logs
from bridge.adapters.http import Http
from bridge.adapters.ledger import Receipt, Settled
from bridge.adapters.ledger.writer import Writer
from bridge.adapters.queue import Queue, run_worker
from bridge.domain.delivery import HttpRequest, HttpResponse, NoAnswer
from bridge.entrypoints import worker
from bridge.entrypoints.beating import Pulse
from bridge.entrypoints.web import receiver
from bridge.entrypoints.web.app import create_app
from bridge.entrypoints.web.keeper import Keeper
from bridge.entrypoints.web.poker import Poker
from bridge.entrypoints.web.server import Server

AFTER_COMMIT = "after commit before reply"
AFTER_CLAIM = "after claim before send"
AFTER_SEND = "after send before record"


class Doom:
    """The deaths that are still to be died."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def strikes(self, point: str, text: str) -> None:
        """Die here and now, if this is one of the alerts meant and nobody died of it before."""
        for fate in self._folder.glob(f"{point}*"):
            if fate.name not in text:
                continue
            try:
                fate.unlink()
            except FileNotFoundError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)


class DyingHttp(Http):
    """The upstreams' client, in whose hands a worker dies."""

    def __init__(self, doom: Doom) -> None:
        super().__init__()
        self._doom = doom

    def send(self, request: HttpRequest) -> HttpResponse | NoAnswer:
        text = (request.body or b"").decode()
        self._doom.strikes(AFTER_CLAIM, text)
        answer = super().send(request)
        self._doom.strikes(AFTER_SEND, text)
        return answer


def run_dying_worker(loaded: wiring.Loaded, doom: Doom) -> None:
    """`incident-bridge worker`, with another `http`."""
    logs.configure("worker")
    ledger = wiring.open_ledger(loaded.settings)
    _, url = wiring.redis_of(loaded.settings)
    stop = Event()
    drainer = worker.Drainer(ledger, wiring.destinations(loaded.settings), DyingHttp(doom), stopping=stop.is_set)
    worker.install(drainer, Queue(url))
    run_worker(lambda: url, on_start=Pulse(ledger, wiring.heartbeat("worker")).start, stop=stop)


def run_dying_web(loaded: wiring.Loaded, doom: Doom, bind: str) -> None:
    """`incident-bridge serve` with one child and the receiver alone, with another `settle`."""

    def make_app() -> Any:
        logs.configure("web")
        settings = loaded.settings
        ledger = wiring.open_ledger(settings)
        _, url = wiring.redis_of(settings)
        writer = Writer(ledger.settle, Poker(Queue(url).poke))

        def settle(prepare: Callable[[], Receipt]) -> Settled:
            made: list[Receipt] = []

            def prepared() -> Receipt:
                made.append(prepare())
                return made[-1]

            settled = writer.settle(prepared)
            doom.strikes(AFTER_COMMIT, " ".join(one.row["title"] for one in made[-1].alerts))
            return settled

        incoming = receiver.Receiver(
            sources=wiring.sources(settings, wiring.certificates()),
            ruling=Keeper(loaded, ledger).current,
            settle=settle,
            new_id=ledger.new_id,
            now=ledger.time_here,
            body_max_bytes=settings.server.max_body_bytes,
            count=lambda _source, _what: None,
        )
        return create_app((receiver.blueprint(incoming),))

    Server(bind, make_app, processes=1).run()


def main(arguments: list[str]) -> None:
    kind, folder, *bind = arguments[: arguments.index("--config")]
    loaded = wiring.load(Path(arguments[-1]))
    if kind == "web":
        run_dying_web(loaded, Doom(Path(folder)), *bind)
    else:
        run_dying_worker(loaded, Doom(Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1:])
