"""A web process whose ledger is away as it starts: it answers 503, and tries again until it can work."""

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import Blueprint, Response, request
from gunicorn.arbiter import Arbiter

from bridge.adapters import logs
from bridge.domain.errors import LedgerUnavailable
from bridge.entrypoints.web.app import create_app
from bridge.entrypoints.web.receiver import answer
from bridge.entrypoints.web.shortage import is_shortage

TRY_EVERY_S = 1.0
STOP_WITHIN_S = 2.0
Application = Callable[[Any, Any], Iterable[bytes]]


class Waiting:
    """A WSGI application that stands in for the one which `make` makes, until it does.

    gunicorn ends every child when one cannot start. A child that was killed while PostgreSQL fails over would take its
    healthy neighbours along, and senders would find nobody who answers 503.
    """

    def __init__(self, make: Callable[[], Application], why: LedgerUnavailable) -> None:
        """`make` raises LedgerUnavailable as long as the ledger is away; any other error is what gunicorn ends for."""
        self._make, self._why = make, str(why)
        self._serve: Application = self._refusing()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="start", daemon=True)

    def start(self) -> None:
        """Begin to try."""
        self._thread.start()

    def stop(self) -> None:
        """The process ends: try no more."""
        self._stop.set()
        self._thread.join(STOP_WITHIN_S)

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return self._serve(environ, start_response)

    def _run(self) -> None:
        since = time.monotonic()
        while not self._stop.wait(TRY_EVERY_S):
            try:
                self._serve = self._make()
            except LedgerUnavailable as error:
                self._why = str(error)
                logs.get().error(logs.LEDGER_UNAVAILABLE, reason=self._why)
            except Exception as error:  # noqa: BLE001 - the outermost frame of the thread; the program and the ledger do not fit
                logs.get().error(logs.TASK_FAILED, task="start", exc_info=True)
                os._exit(os.EX_TEMPFAIL if is_shortage(error) else Arbiter.WORKER_BOOT_ERROR)
            else:
                logs.get().info(logs.LEDGER_BACK, away_s=round(time.monotonic() - since, 1))
                return

    def _refusing(self) -> Application:
        """Alive, not ready, and 503 for everything else."""
        routes = Blueprint("waiting", __name__)

        @routes.before_app_request
        def refused() -> Response:
            if request.path == "/healthz":
                return answer(200, status="alive")
            if request.path == "/readyz":
                return answer(503, status="not ready", missing=[self._why])
            raise LedgerUnavailable(self._why)

        return create_app((routes,))
