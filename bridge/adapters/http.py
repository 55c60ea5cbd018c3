"""Calls to upstreams: an HttpRequest goes out; a whole HttpResponse or a NoAnswer comes back, within one deadline.

requests' adapter is used without its Session: a Session reads the whole body of a redirect it does not follow, keeps
cookies and looks at the environment. Nothing is retried here, for only the ledger knows what a second call would mean.
"""

import io
import os
import socket
import ssl
import sys
import threading
import time
import zlib
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from http.client import SWITCHING_PROTOCOLS, HTTPException, HTTPResponse, IncompleteRead, LineTooLong
from ipaddress import IPv4Address, ip_address
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from bridge import __version__
from bridge.domain.delivery import HttpRequest, HttpResponse, NoAnswer, Reason

ANSWER_MAX_BYTES = 1 << 20
# 250 catalog entries of 33 KB, or the 2,000 notes an incident may have of 4 KB each. Smaller pages instead would cost
# more calls of the account's own rate limit, and not every list of the upstreams comes in pages.
LIST_MAX_BYTES = 8 << 20
DEADLINE_S = 10.0
CONNECT_SHARE = 0.5  # of the deadline: a call sent with no time left for its answer has an unknown outcome
# Load balancers and NAT forget idle connections without a word (AWS NLB after 350 s, many firewalls after 60 s);
# a page sent into one of those would be lost for a whole deadline.
IDLE_REUSE_S = 30.0
READ_CHUNK_BYTES = 1 << 16
INTERIM_MAX = 16  # 1xx answers before the real one
HEAD_MAX_LINES = 100  # of one of those; http.client's own measures of a head
HEAD_LINE_MAX_BYTES = 1 << 16
USER_AGENT = f"incident-bridge/{__version__}"
GZIP_OR_ZLIB = zlib.MAX_WBITS | 32  # zlib: +32 tells gzip from zlib by its header

_FAILURES = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError)


class _Call(threading.local):
    """What the sockets must know of the call this thread is in."""

    until = 0.0  # monotonic
    connect_until = 0.0
    sent = False  # something was given to the kernel to send
    trouble = ""  # why no connection came about; names no header and no path

    def start(self, deadline_s: float) -> None:
        now = time.monotonic()
        self.until = now + deadline_s
        self.connect_until = now + deadline_s * CONNECT_SHARE
        self.sent = False
        self.trouble = ""

    def left_s(self) -> float:
        """Seconds to the deadline. Raises TimeoutError when it has passed."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        return left

    def is_over(self) -> bool:
        return time.monotonic() >= self.until


class _Socket(socket.socket):
    """A socket whose every read and write may take what is left of the call, not a timeout of its own."""

    call: _Call

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self.call.left_s())
        return super().recv_into(*args, **kwargs)

    def send(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self.call.left_s())
        self.call.sent = True
        return super().send(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        self.settimeout(self.call.left_s())
        self.call.sent = True
        super().sendall(*args, **kwargs)


class _TlsSocket(_Socket, ssl.SSLSocket):
    """The same above TLS. OpenSSL's own reads inside one recv share its timeout, so dripped records end in time too."""


class _Reader(io.BufferedReader):
    """Remembers the last line it gave out."""

    line = b""

    def readline(self, size: int | None = -1, /) -> bytes:
        self.line = super().readline(-1 if size is None else size)
        return self.line


class _Answer(HTTPResponse):
    """http.client takes a head that breaks off for a whole one: half a refusal would then count as a refusal.

    And of all interim answers it knows 100 alone: a proxy's 102 or 103 would count as the answer, and the real one,
    which is still to come, as the answer to the connection's next call.
    """

    def begin(self) -> None:
        reader = _Reader(self.fp.detach())
        self.fp = reader
        super().begin()
        if reader.line not in (b"\r\n", b"\n"):
            self.close()
            raise IncompleteRead(b"")
        if self.status == SWITCHING_PROTOCOLS:
            self.will_close = True  # we never ask for another protocol: what follows is no answer to any call

    def _read_status(self) -> tuple[str, int, str]:
        """The status line of the final answer (RFC 9110, 15.2: any number of others may come before it)."""
        for _ in range(INTERIM_MAX + 1):
            version, status, reason = super()._read_status()  # type: ignore[misc]  # not in typeshed
            if status == SWITCHING_PROTOCOLS or not 100 <= status < 200:
                return version, status, reason
            self._skip_head()
        raise HTTPException(f"more than {INTERIM_MAX} interim answers")

    def _skip_head(self) -> None:
        for _ in range(HEAD_MAX_LINES):
            line = self.fp.readline(HEAD_LINE_MAX_BYTES + 1)
            if len(line) > HEAD_LINE_MAX_BYTES:
                raise LineTooLong("header line")
            if line in (b"\r\n", b"\n", b""):  # where it breaks off there is no status line either
                return
        raise HTTPException(f"an interim answer of more than {HEAD_MAX_LINES} lines")


class _Connection(HTTPConnection):
    """A connection that is made within the call's time and is not used again after a long rest."""

    response_class = _Answer

    def __init__(self, *args: Any, call: _Call, idle_reuse_s: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._call = call
        self._idle_reuse_s = idle_reuse_s
        self._used_at = 0.0

    def _new_conn(self) -> socket.socket:
        """urllib3 asks for the TCP connection here; its own would give each address of a name the whole timeout."""
        try:
            return _connected(self._dns_host, self.port or self.default_port, self._call, self.socket_options or [])
        except OSError as error:
            self._call.trouble = f"could not connect: {_plain(error)}"
            raise

    def connect(self) -> None:
        try:
            super().connect()
        except (OSError, HTTPError) as error:
            self._call.trouble = self._call.trouble or f"the TLS handshake failed: {_plain(error)}"
            raise
        if isinstance(self.sock, _Socket):
            self.sock.call = self._call  # the TLS socket is made by ssl, which knows no call

    def getresponse(self) -> Any:
        answer = super().getresponse()
        self._used_at = time.monotonic()
        return answer

    @property
    def is_connected(self) -> bool:
        """urllib3 asks before it uses a pooled connection again."""
        return time.monotonic() - self._used_at < self._idle_reuse_s and super().is_connected


class _TlsConnection(_Connection, HTTPSConnection):
    """The same above TLS."""


class _Adapter(HTTPAdapter):
    """requests' adapter on pools of our connections."""

    def __init__(self, call: _Call, authorities: str | None, pool: int, idle_reuse_s: float) -> None:
        super().__init__(pool_connections=pool, pool_maxsize=pool, max_retries=0)
        self._connection: dict[str, Any] = {"call": call, "idle_reuse_s": idle_reuse_s}
        self._authorities = authorities
        self._context: ssl.SSLContext | None = None
        self.poolmanager.pool_classes_by_scheme = {"http": self._plain_pool, "https": self._tls_pool}

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to add: our context holds the authorities and always verifies. requests' way reads them again from
        disk for every connection (15 ms)."""

    def _plain_pool(self, host: str, port: int, **settings: Any) -> HTTPConnectionPool:
        pool = HTTPConnectionPool(host, port, **settings)
        pool.ConnectionCls = partial(_Connection, **self._connection)  # type: ignore[assignment]
        return pool

    def _tls_pool(self, host: str, port: int, **settings: Any) -> HTTPSConnectionPool:
        if self._context is None:
            self._context = _tls_context(self._authorities)
        pool = HTTPSConnectionPool(host, port, **settings | {"ssl_context": self._context})
        pool.ConnectionCls = partial(_TlsConnection, **self._connection)  # type: ignore[assignment]
        return pool


class Http:
    """The upstreams' HTTP client of one process: kept-alive connections, no redirects, no proxies, TLS verified.

    Threads may share it. Make it after forking.
    """

    def __init__(
        self,
        *,
        deadline_s: float = DEADLINE_S,
        answer_max_bytes: int = ANSWER_MAX_BYTES,
        list_max_bytes: int = LIST_MAX_BYTES,
        pool: int = 8,
        idle_reuse_s: float = IDLE_REUSE_S,
        authorities: str | None = None,
    ) -> None:
        """`deadline_s` holds for a whole call, from the name look-up to the answer's last byte.

        An answer is cut at `answer_max_bytes`, one to a question for a list at `list_max_bytes`.
        `pool` is the number of connections kept per host; one that rested longer than `idle_reuse_s` is replaced.
        `authorities` names a PEM file to trust beside the system's authorities and certifi's.
        """
        self._deadline_s = deadline_s
        self._answer_max_bytes = answer_max_bytes
        self._list_max_bytes = list_max_bytes
        self._call = _Call()
        self._adapter = _Adapter(self._call, authorities, pool, idle_reuse_s)

    def send(self, request: HttpRequest) -> HttpResponse | NoAnswer:
        """Make one call, once. Never raises for what the upstream or the network does."""
        self._call.start(self._deadline_s)
        limit = self._list_max_bytes if request.asks_for_list else self._answer_max_bytes
        try:
            prepared = requests.Request(
                request.method,
                request.url,
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **request.headers},
                data=request.body,
            ).prepare()
            response = self._adapter.send(prepared, stream=True, timeout=self._deadline_s)
            try:
                body = _body(response.raw, limit)
            finally:
                response.raw.close()  # does nothing to a connection that went back to the pool
        except _FAILURES as error:
            return self._no_answer(request, error)
        headers = {name.lower(): value for name, value in response.headers.items()}
        headers.setdefault("date", formatdate(usegmt=True))  # RFC 9110, 6.6.1: who receives it dates it then
        body = _unpacked(body, headers.get("content-encoding", ""), limit)
        return HttpResponse(status=response.status_code, headers=headers, body=body)

    def close(self) -> None:
        """Close the kept connections."""
        self._adapter.close()

    def _no_answer(self, request: HttpRequest, error: Exception) -> NoAnswer:
        call = self._call
        where = _host_of(request.url)
        if not call.sent:
            detail = call.trouble or ("took too long" if call.is_over() else "the request cannot be sent as it is")
            return NoAnswer(reason=Reason.NOT_CONNECTED, sent=False, detail=f"{where}: {detail}")
        if call.is_over():
            detail = f"{where}: no whole answer within {self._deadline_s:g} s"
            return NoAnswer(reason=Reason.TIMEOUT, sent=True, detail=detail)
        detail = f"{where}: the connection broke before the answer was whole ({_plain(error)})"
        return NoAnswer(reason=Reason.CONNECTION_LOST, sent=True, detail=detail)


def _body(raw: Any, limit: int) -> bytes:
    """The body as sent, cut at the limit. `read` and not `stream`: the latter reads chunk lines of any length."""
    pieces: list[bytes] = []
    left = limit
    while left > 0 and (piece := raw.read(min(left, READ_CHUNK_BYTES), decode_content=False)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _connected(host: str, port: int, call: _Call, options: Any) -> _Socket:
    """A connection to the first address of a name that answers; every address gets its share of the time."""
    addresses = _literal(host, port) or _addresses(host, port, call.connect_until - time.monotonic())
    failure: OSError = OSError("the name has no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        share_s = (call.connect_until - time.monotonic()) / (len(addresses) - number)
        if share_s <= 0:
            raise TimeoutError("took too long")
        sock = _Socket(family, kind, protocol)
        sock.call = call
        try:
            for option in options:
                sock.setsockopt(*option)
            sock.settimeout(share_s)
            sock.connect(address)
            sock.settimeout(max(0.001, call.connect_until - time.monotonic()))  # for the TLS handshake, which is next
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def _literal(host: str, port: int) -> list[Any]:
    """The address that stands in the place of a name, as getaddrinfo gives it; nothing where that has to be asked."""
    try:
        address = ip_address(host)
    except ValueError:
        return []
    if isinstance(address, IPv4Address):
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))]
    if address.scope_id is not None:  # the name of a network card
        return []
    return [(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0))]


def _addresses(host: str, port: int, within_s: float) -> list[Any]:
    """Look up a name. In a thread of its own, because a resolver that hangs cannot be told to stop."""
    answer: SimpleQueue[list[Any] | OSError] = SimpleQueue()

    def ask() -> None:
        try:
            if sys.platform == "darwin":
                answer.put(_one_kind_after_the_other(host, port))
            else:
                answer.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            answer.put(error)
        except UnicodeError:
            answer.put(OSError("the name is not a host name"))

    try:
        threading.Thread(target=ask, name="name-lookup", daemon=True).start()
    except RuntimeError as error:
        raise OSError(f"the name cannot be looked up: {error}") from error
    try:
        found = answer.get(timeout=max(0.0, within_s))
    except Empty:
        raise TimeoutError("the name look-up took too long") from None
    if isinstance(found, OSError):
        raise found
    return found


def _one_kind_after_the_other(host: str, port: int) -> list[Any]:
    """The addresses of IPv4, then those of IPv6. Raises OSError.

    On macOS 26 a process that was forked, as ours are, dies (SIGSEGV) when it asks for both kinds at once and the name
    has none of IPv6. One at a time is safe (Apple's FB21364061, issue 1041 of glpi-project/glpi-agent; read 2026-11).
    """
    found: list[Any] = []
    failure: OSError | None = None
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            found += socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
        except socket.gaierror as error:
            failure = failure or error
    if not found and failure is not None:
        raise failure
    return found


def _tls_context(authorities: str | None) -> ssl.SSLContext:
    """A context that always verifies certificate and host name: certifi's authorities, the system's and a given one."""
    context = ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)
    context.load_default_certs()
    if authorities is not None:
        context.load_verify_locations(cafile=authorities)
    context.sslsocket_class = _TlsSocket
    return context


def _unpacked(body: bytes, encoding: str, limit: int) -> bytes:
    """The body as text should be read, though we asked for no compression; never more than `limit` bytes."""
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return body
    try:
        return zlib.decompressobj(GZIP_OR_ZLIB).decompress(body, limit)
    except zlib.error:
        return body


def _host_of(url: str) -> str:
    """Where a URL points, without credentials, path and query."""
    try:
        parts = urlsplit(url)
        return parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"  # type: ignore[return-value]
    except ValueError:
        return "the upstream"


_KINDS: tuple[tuple[type[BaseException], Callable[[Any], str]], ...] = (
    (ssl.SSLCertVerificationError, lambda error: f"the certificate is not valid: {error.verify_message}"),
    (ssl.SSLError, lambda error: error.reason or "not TLS"),
    (TimeoutError, lambda error: str(error) or "took too long"),
    (socket.gaierror, lambda error: f"the name is not known ({error.strerror})"),
    (IncompleteRead, lambda _: "it ended early"),
    (ConnectionError, lambda error: os.strerror(error.errno) if error.errno else "closed by the other side"),
    (HTTPException, lambda error: f"not an HTTP answer: {type(error).__name__}"),
    (OSError, lambda error: os.strerror(error.errno) if isinstance(error.errno, int) else str(error)),
)


def _plain(error: BaseException | None) -> str:
    """What went wrong at the bottom of an exception, in words that carry nothing of the request."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        reason = getattr(error, "reason", None)
        inner = [error.__cause__, error.__context__, reason, *error.args]
        error = next((one for one in inner if isinstance(one, BaseException) and one not in seen), None)
    for one in reversed(seen):
        for kind, words in _KINDS:
            if isinstance(one, kind) and not isinstance(one, requests.RequestException):
                return words(one)
    return type(seen[0]).__name__ if seen else "no reason"
