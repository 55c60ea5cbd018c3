"""A small WSGI server for the sandbox: HTTP/1.1 with keep-alive, a thread per connection, ready in milliseconds.

werkzeug's own closes the connection after every answer, which would cost the bridge a handshake per call and the
latency bench its meaning. Not for the open network.
"""

import io
import socket
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingTCPServer
from types import TracebackType
from typing import Any, ClassVar, Self
from urllib.parse import unquote_to_bytes

from bridge.sandbox.app import BODY_MAX_BYTES, Sandbox
from bridge.sandbox.limits import Rates

STOP_S = 2.0  # how long stop() waits for calls under way
POLL_S = 0.1  # how often the accept loop looks whether it should stop


class SandboxServer:
    """The sandbox on a port, in threads of this process.

    Use as a context manager, or start() and stop(). `port` 0 takes a free one; the others are Sandbox's settings.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        journal: Path | None = None,
        rates: Rates | None = None,
        require_severity: bool = False,
    ) -> None:
        self.sandbox = Sandbox(journal=journal, rates=rates, require_severity=require_severity)
        self.store, self.calls, self.script = self.sandbox.store, self.sandbox.calls, self.sandbox.script
        self._server = _Server((host, port), _Connection)
        self._server.app = self.sandbox.app
        self._thread: threading.Thread | None = None

    @property
    def base_url(self) -> str:
        """Where it listens, without a slash at the end."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def pagerduty_url(self) -> str:
        """The base_url of a PagerDuty account that talks to it."""
        return f"{self.base_url}/pagerduty"

    @property
    def incident_io_url(self) -> str:
        """The base_url of an incident.io account that talks to it."""
        return f"{self.base_url}/incident-io"

    def start(self) -> str:
        """Listen; answers base_url."""
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_S,), name="sandbox", daemon=True)
        self._thread.start()
        return self.base_url

    def stop(self) -> None:
        """Stop listening, hang up, and wait for the threads."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self.sandbox.close()
        self._server.hang_up()
        self._server.server_close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    app: Any

    def __init__(self, *args: Any) -> None:
        self._open: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        super().__init__(*args)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open[request] = threading.current_thread()
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._open.pop(request, None)

    def hang_up(self) -> None:
        with self._lock:
            still_open = list(self._open.items())
        for connection, _ in still_open:
            _shut(connection)
        for _, thread in still_open:
            thread.join(STOP_S)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Connection(BaseHTTPRequestHandler):
    """One connection: every request on it becomes one WSGI call, answered with one write."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 75  # seconds a kept connection may be silent
    server: _Server
    bodyless: ClassVar[tuple[int, ...]] = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)

    def handle_request(self) -> None:
        """Answer the request whose head has been read."""
        length = self.headers.get("Content-Length", "0")
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower() or not (
            length.isascii() and length.isdigit()
        ):
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
            return
        if len(length) > 12 or int(length) > BODY_MAX_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return
        self._call(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = handle_request  # noqa: N815 - their names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the parent's name
        """Say nothing: /_sandbox/requests is the log."""

    def _call(self, body: bytes) -> None:
        started: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> Any:
            started[:] = [status, headers]
            return lambda _written: None

        chunks = self.server.app(self._environ(body), start_response)
        try:
            content = b"".join(chunks)
        finally:
            if hasattr(chunks, "close"):
                chunks.close()
        status, headers = started
        self._answer(status, headers, content)

    def _answer(self, status: str, headers: list[tuple[str, str]], content: bytes) -> None:
        named = [(name, value) for name, value in headers if name.lower() not in ("content-length", "connection")]
        named += [("Date", self.date_time_string()), ("Content-Length", str(len(content)))]
        if self.close_connection:
            named.append(("Connection", "close"))
        head = "".join(f"{name}: {value}\r\n" for name, value in named)
        sent = b"" if self.command == "HEAD" or int(status[:3]) in self.bodyless else content
        try:
            self.connection.sendall(f"HTTP/1.1 {status}\r\n{head}\r\n".encode("latin-1") + sent)
        except OSError:  # the caller has gone, or was dropped on purpose
            self.close_connection = True

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True  # what is left of the body is not read
        self._answer(f"{status.value} {status.phrase}", [("Content-Type", "text/plain")], status.phrase.encode())

    def _environ(self, body: bytes) -> dict[str, Any]:
        path, _, query = self.path.partition("?")
        host, port = self.server.server_address[:2]
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": str(host),
            "SERVER_PORT": str(port),
            "SERVER_PROTOCOL": self.request_version,
            "REMOTE_ADDR": self.client_address[0],
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "bridge.sandbox.socket": self.connection,
        }
        if (kind := self.headers.get("Content-Type")) is not None:
            environ["CONTENT_TYPE"] = kind
        for name, value in self.headers.items():
            key = "HTTP_" + name.upper().replace("-", "_")
            if key not in ("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
                environ[key] = f"{environ[key]},{value}" if key in environ else value
        return environ


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # gone already
        return
