"""The sandbox as one WSGI application: both stand-ins, the control endpoints, and misbehaviour on demand."""

import socket
import threading
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from bridge.sandbox.calls import Call, CallLog, Deed, Script
from bridge.sandbox.control import Control
from bridge.sandbox.incident_io import IncidentIoStandIn
from bridge.sandbox.limits import Rates
from bridge.sandbox.pagerduty import PagerDutyStandIn
from bridge.sandbox.store import INCIDENT_IO, PAGERDUTY, Store

BODY_MAX_BYTES = 4 << 20
SOCKET_KEYS = ("bridge.sandbox.socket", "werkzeug.socket", "gunicorn.socket")  # where a server keeps its connection
_PREFIXES = {"/pagerduty": PAGERDUTY, "/incident-io": INCIDENT_IO}


class Sandbox:
    """Both stand-ins and what they remember. `app` is the WSGI application; tests look at the rest directly.

    `journal`: a file that keeps the incidents over a restart. `require_severity`: incident.io's organisation demands a
    severity of every incident.
    """

    def __init__(
        self, *, journal: Path | None = None, rates: Rates | None = None, require_severity: bool = False
    ) -> None:
        rates = rates or Rates()
        self.store = Store(journal)
        self.calls = CallLog()
        self.script = Script()
        self._stopping = threading.Event()
        pagerduty = PagerDutyStandIn(self.store, rate=rates.pagerduty, create_rate=rates.pagerduty_create)
        incident_io = IncidentIoStandIn(
            self.store,
            rate=rates.incident_io,
            create_rate=rates.incident_io_create,
            require_severity=require_severity,
        )
        self.app = Flask("bridge.sandbox", static_folder=None)
        self.app.config["MAX_CONTENT_LENGTH"] = BODY_MAX_BYTES
        self.app.before_request(self._arrived)
        for blueprint in (pagerduty, incident_io, Control(self.store, self.calls, self.script)):
            self.app.register_blueprint(blueprint.blueprint())
        self.app.after_request(self._answering)
        self.app.register_error_handler(HTTPException, _plain)

    def close(self) -> None:
        """Wake every scripted delay and let go of the journal."""
        self._stopping.set()
        self.store.close()

    def _arrived(self) -> Response | None:
        api = next((api for prefix, api in _PREFIXES.items() if request.path.startswith(f"{prefix}/")), None)
        if api is None:
            return None
        body = request.get_json(silent=True) if request.is_json else None
        if body is None:
            body = request.get_data(as_text=True)
        query = request.query_string.decode("latin-1")
        g.call = self.calls.begin(api, request.method, request.path, query, dict(request.headers), body)
        path_in_api = request.path[request.path.index("/", 1) :]
        g.deed = self.script.take(api, request.method, request.path, path_in_api)
        deed: Deed | None = g.deed
        if deed is None:
            return None
        self._pause(deed.delay_before_s)
        return None if deed.effect else _scripted(deed)

    def _answering(self, response: Response) -> Response:
        call: Call | None = g.get("call")
        if call is None:
            return response
        deed: Deed | None = g.deed
        if deed is not None:
            self._pause(deed.delay_s)
            if deed.effect and deed.status is not None:
                response = _scripted(deed)
            if deed.drop:
                call.dropped = True
                _hang_up()
                return response
        call.status = response.status_code
        return response

    def _pause(self, seconds: float) -> None:
        if seconds > 0:
            self._stopping.wait(seconds)


def create_app(**settings: Any) -> Flask:
    """The application alone, for a WSGI server of one's own; the settings are Sandbox's."""
    return Sandbox(**settings).app


def _scripted(deed: Deed) -> Response:
    if isinstance(deed.body, str):
        response = Response(deed.body, content_type="text/plain; charset=utf-8")
    elif deed.body is None:
        response = Response(b"")
    else:
        response = jsonify(deed.body)
    response.status_code = deed.status or 500
    for name, text in deed.headers.items():
        response.headers[name] = text
    return response


def _hang_up() -> None:
    """Close the caller's connection under the server; what it then writes goes nowhere."""
    connection = next((request.environ[key] for key in SOCKET_KEYS if key in request.environ), None)
    if connection is None:
        raise RuntimeError("this server does not say which socket a request came by, so none can be dropped")
    connection.shutdown(socket.SHUT_RDWR)


def _plain(error: HTTPException) -> tuple[Response, int]:
    """Paths and methods the stand-ins do not know, in words of no vendor."""
    return jsonify(error=f"sandbox: {error.description}"), error.code or 500
