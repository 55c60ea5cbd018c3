"""The HTTP adapter against real sockets: one deadline for everything, bounded answers, and an honest `sent`."""

import gzip
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bridge import __version__
from bridge.adapters import http as adapter
from bridge.adapters.http import Http
from bridge.domain.delivery import HttpRequest, HttpResponse, NoAnswer, Reason
from tests.shortages import no_more_threads

DEADLINE_S = 0.6
PATIENT_S = 5.0  # where a test is not about time
SLACK_S = 0.7  # a busy machine may be this much late
SECRET = "s3cr3t-token"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Request-Id: R1\r\n\r\n{}"

Play = Callable[[socket.socket, "Upstream"], None]


class Upstream:
    """A server on a free port that gives every connection to `play`, in a thread of its own."""

    def __init__(self, play: Play, tls: ssl.SSLContext | None = None) -> None:
        self.play, self.tls = play, tls
        self.requests: list[bytes] = []
        self.connections = 0
        self.stopping = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/incidents?q={SECRET}"

    def close(self) -> None:
        self.stopping.set()
        with suppress(OSError):  # macOS: one that only listens is not connected
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def read_request(self, conn: socket.socket) -> bytes:
        """One request's head and body; empty at the connection's end."""
        got = b""
        while b"\r\n\r\n" not in got:
            piece = conn.recv(65536)
            if not piece:
                return b""
            got += piece
        head, _, body = got.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                while len(body) < int(line.partition(b":")[2]):
                    body += conn.recv(65536)
        self.requests.append(head + b"\r\n\r\n" + body)
        return self.requests[-1]

    def drip(self, conn: socket.socket, text: bytes) -> None:
        for byte in text:
            if self.stopping.wait(0.05):
                return
            conn.sendall(bytes([byte]))

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(conn,), daemon=True).start()

    def _serve(self, conn: socket.socket) -> None:
        try:
            if self.tls is not None:
                conn = self.tls.wrap_socket(conn, server_side=True)
            self.play(conn, self)
        except OSError:  # the client went away, which half of these tests want
            return
        finally:
            conn.close()


@pytest.fixture
def upstream() -> Iterator[Callable[..., Upstream]]:
    """A maker of Upstreams that are closed at the test's end."""
    with ExitStack() as stack:

        def make(play: Play, tls: ssl.SSLContext | None = None) -> Upstream:
            server = Upstream(play, tls)
            stack.callback(server.close)
            return server

        yield make


@pytest.fixture
def http() -> Iterator[Http]:
    client = Http(deadline_s=DEADLINE_S, answer_max_bytes=1 << 16)
    yield client
    client.close()


def shows(folder: Path, name: x509.GeneralName) -> tuple[Path, ssl.SSLContext]:
    """A certificate of `name` that trusts nobody but itself, as a PEM file, and a server context that shows it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "upstream")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "certificate.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return path, context


LOOPBACK = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
ELSEWHERE = x509.DNSName("other.example")


def request(url: str, body: bytes | None = b'{"a":1}', method: str = "POST") -> HttpRequest:
    return HttpRequest(method=method, url=url, headers={"Authorization": f"Token token={SECRET}"}, body=body)


def timed(http: Http, call: HttpRequest) -> tuple[HttpResponse | NoAnswer, float]:
    started = time.monotonic()
    return http.send(call), time.monotonic() - started


def answering(text: bytes) -> Play:
    def play(conn: socket.socket, server: Upstream) -> None:
        while server.read_request(conn):
            conn.sendall(text)

    return play


def ending_with(text: bytes) -> Play:
    def play(conn: socket.socket, server: Upstream) -> None:
        server.read_request(conn)
        conn.sendall(text)

    return play


def no_answer(answer: HttpResponse | NoAnswer) -> NoAnswer:
    assert isinstance(answer, NoAnswer), answer
    assert SECRET not in answer.detail
    return answer


def response(answer: HttpResponse | NoAnswer) -> HttpResponse:
    assert isinstance(answer, HttpResponse), answer
    return answer


def test_an_answer_comes_back_whole_with_header_names_in_lower_case(
    http: Http, upstream: Callable[..., Upstream]
) -> None:
    server = upstream(answering(OK))
    answer = response(http.send(request(server.url)))
    assert (answer.status, answer.body, answer.headers["x-request-id"]) == (200, b"{}", "R1")
    head = server.requests[0].lower()
    assert f"user-agent: incident-bridge/{__version__}\r\n".encode() in head
    assert b"accept-encoding: identity\r\n" in head
    assert server.requests[0].endswith(b'{"a":1}')


def test_an_answer_without_a_date_is_dated_when_it_comes(http: Http, upstream: Callable[..., Upstream]) -> None:
    stamped = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: Thu, 28 May 2026 20:26:40 GMT\r\n\r\n"
    came = parsedate_to_datetime(response(http.send(request(upstream(answering(OK)).url))).headers["date"])
    assert abs((datetime.now(UTC) - came).total_seconds()) < 10
    said = response(http.send(request(upstream(answering(stamped)).url))).headers["date"]
    assert said == "Thu, 28 May 2026 20:26:40 GMT"


def test_connections_are_kept_and_used_again(http: Http, upstream: Callable[..., Upstream]) -> None:
    server = upstream(answering(OK))
    for _ in range(3):
        response(http.send(request(server.url)))
    assert (server.connections, len(server.requests)) == (1, 3)


def test_a_connection_that_rested_long_is_replaced(upstream: Callable[..., Upstream]) -> None:
    server = upstream(answering(OK))
    http = Http(deadline_s=DEADLINE_S, idle_reuse_s=0.0)
    for _ in range(3):
        response(http.send(request(server.url)))
    assert server.connections == 3


def test_a_connection_the_server_closed_while_idle_is_replaced(http: Http, upstream: Callable[..., Upstream]) -> None:
    closed = threading.Event()

    def play(conn: socket.socket, server: Upstream) -> None:
        server.read_request(conn)
        conn.sendall(OK)
        conn.shutdown(socket.SHUT_RDWR)
        closed.set()

    server = upstream(play)
    for number in (1, 2):
        assert response(http.send(request(server.url))).status == 200
        assert closed.wait(5)
        closed.clear()
        assert server.connections == number


@pytest.mark.parametrize(
    "prefix", [b"", b"HTTP/1.1 201 Created\r\nX: ", b"HTTP/1.1 201 Created\r\nContent-Length: 900\r\n\r\n"]
)
def test_a_dripping_server_ends_at_the_deadline(http: Http, upstream: Callable[..., Upstream], prefix: bytes) -> None:
    def play(conn: socket.socket, server: Upstream) -> None:
        server.read_request(conn)
        conn.sendall(prefix)
        server.drip(conn, b"x" * 900)

    answer, took_s = timed(http, request(upstream(play).url))
    missing = no_answer(answer)
    assert (missing.reason, missing.sent) == (Reason.TIMEOUT, True)
    assert DEADLINE_S - 0.05 <= took_s < DEADLINE_S + SLACK_S


def test_dripped_chunks_end_at_the_deadline(http: Http, upstream: Callable[..., Upstream]) -> None:
    def play(conn: socket.socket, server: Upstream) -> None:
        server.read_request(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        server.drip(conn, b"1\r\nx\r\n" * 200)

    answer, took_s = timed(http, request(upstream(play).url))
    assert no_answer(answer).reason is Reason.TIMEOUT
    assert took_s < DEADLINE_S + SLACK_S


def test_a_chunk_line_without_an_end_is_cut_short(http: Http, upstream: Callable[..., Upstream]) -> None:
    def play(conn: socket.socket, server: Upstream) -> None:
        server.read_request(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * (1 << 20))

    assert no_answer(http.send(request(upstream(play).url))).reason is Reason.CONNECTION_LOST


def test_a_server_that_never_answers_is_a_timeout_after_sending(http: Http, upstream: Callable[..., Upstream]) -> None:
    def play(conn: socket.socket, server: Upstream) -> None:
        server.read_request(conn)
        server.stopping.wait(10)

    answer, took_s = timed(http, request(upstream(play).url))
    missing = no_answer(answer)
    assert (missing.reason, missing.sent) == (Reason.TIMEOUT, True)
    assert "no whole answer within 0.6 s" in missing.detail
    assert took_s < DEADLINE_S + SLACK_S


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"HTTP/1.1 400 Bad",
        b"HTTP/1.1 400 Bad Request\r\nContent-Le",
        b"HTTP/1.1 201 Created\r\nContent-Length: 900\r\n\r\n{half",
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nhalf",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    ],
)
def test_an_answer_that_breaks_off_leaves_the_outcome_unknown(upstream: Callable[..., Upstream], text: bytes) -> None:
    http = Http(deadline_s=PATIENT_S, answer_max_bytes=1 << 16)
    missing = no_answer(http.send(request(upstream(ending_with(text)).url)))
    http.close()
    assert (missing.reason, missing.sent) == (Reason.CONNECTION_LOST, True)


INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"


@pytest.mark.parametrize("status", [100, 102, 103, 199])
def test_an_interim_answer_is_not_taken_for_the_answer_that_follows_it(
    upstream: Callable[..., Upstream], status: int
) -> None:
    def play(conn: socket.socket, server: Upstream) -> None:
        while server.read_request(conn):
            conn.sendall(f"HTTP/1.1 {status} Wait\r\nLink: </x>\r\n\r\n".encode() * 2)
            server.stopping.wait(0.05)  # so that nothing of the real answer has come with the interim ones
            conn.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\n%d" % len(server.requests))

    server = upstream(play)
    with closing(Http(deadline_s=PATIENT_S)) as http:
        answers = [response(http.send(request(server.url))) for _ in range(3)]
    assert [(answer.status, answer.body) for answer in answers] == [(201, b"1"), (201, b"2"), (201, b"3")]
    assert server.connections == 1
    assert "link" not in answers[0].headers


@pytest.mark.parametrize(
    "interim",
    [
        INTERIM * 17,
        b"HTTP/1.1 103 Early Hints\r\n" + b"Link: </x>\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>",
    ],
)
def test_interim_answers_without_measure_are_no_answer(upstream: Callable[..., Upstream], interim: bytes) -> None:
    server = upstream(ending_with(interim + OK))
    with closing(Http(deadline_s=PATIENT_S)) as http:
        missing = no_answer(http.send(request(server.url)))
    assert (missing.reason, missing.sent) == (Reason.CONNECTION_LOST, True)


def test_a_connection_that_became_another_protocol_is_not_used_again(
    http: Http, upstream: Callable[..., Upstream]
) -> None:
    server = upstream(answering(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"))
    assert [response(http.send(request(server.url))).status for _ in range(2)] == [101, 101]
    assert server.connections == 2


def test_a_reset_on_a_kept_connection_is_never_sent_again(http: Http, upstream: Callable[..., Upstream]) -> None:
    def play(conn: socket.socket, server: Upstream) -> None:
        server.read_request(conn)
        conn.sendall(OK)
        server.read_request(conn)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    server = upstream(play)
    response(http.send(request(server.url)))
    missing = no_answer(http.send(request(server.url)))
    assert (missing.reason, missing.sent) == (Reason.CONNECTION_LOST, True)
    assert (server.connections, len(server.requests)) == (1, 2)


def test_a_refused_connection_was_surely_not_sent(http: Http) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    missing = no_answer(http.send(request(f"http://127.0.0.1:{port}/x")))
    assert (missing.reason, missing.sent) == (Reason.NOT_CONNECTED, False)
    assert missing.detail == f"127.0.0.1:{port}: could not connect: Connection refused"


def test_without_a_thread_to_look_a_name_up_with_a_call_was_surely_not_sent(
    http: Http, upstream: Callable[..., Upstream]
) -> None:
    server = upstream(ending_with(OK))
    with no_more_threads():
        missing = no_answer(http.send(request(server.url.replace("127.0.0.1", "localhost"))))
    assert (missing.reason, missing.sent) == (Reason.NOT_CONNECTED, False)
    assert "the name cannot be looked up: can't start new thread" in missing.detail


def test_a_connection_that_is_never_accepted_ends_in_time_and_was_not_sent(http: Http) -> None:
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # fills the line of waiting connections: the next one gets no answer at all
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        answer, took_s = timed(http, request(f"http://127.0.0.1:{full.getsockname()[1]}/x"))
    missing = no_answer(answer)
    assert (missing.reason, missing.sent) == (Reason.NOT_CONNECTED, False)
    assert took_s < DEADLINE_S + SLACK_S


def test_a_name_nobody_knows_was_not_sent_and_ends_in_time(http: Http) -> None:
    answer, took_s = timed(http, request("http://no-such-host.invalid/x"))
    missing = no_answer(answer)
    assert (missing.reason, missing.sent) == (Reason.NOT_CONNECTED, False)
    assert missing.detail.startswith("no-such-host.invalid: could not connect: ")
    assert took_s < DEADLINE_S + SLACK_S


@pytest.mark.parametrize("url", ["nonsense", "ftp://example.com/", "http://[::1/", "http://a..b/", "http:///x"])
def test_an_address_that_is_none_is_not_sent(http: Http, url: str) -> None:
    missing = no_answer(http.send(request(url)))
    assert (missing.reason, missing.sent) == (Reason.NOT_CONNECTED, False)


@pytest.mark.parametrize("value", [f"{SECRET}\n", f"{SECRET}\r\nX-Other: 1", f"{SECRET}\N{SNOWMAN}"])
def test_a_credential_that_cannot_be_a_header_is_neither_sent_nor_told(
    http: Http, upstream: Callable[..., Upstream], value: str
) -> None:
    server = upstream(answering(OK))
    call = HttpRequest(method="GET", url=server.url, headers={"Authorization": value})
    missing = no_answer(http.send(call))
    assert (missing.reason, missing.sent) == (Reason.NOT_CONNECTED, False)
    assert server.requests == []


def test_an_answer_larger_than_the_limit_is_cut_and_its_connection_closed(
    http: Http, upstream: Callable[..., Upstream]
) -> None:
    server = upstream(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70000))
    assert len(response(http.send(request(server.url))).body) == 1 << 16
    assert len(response(http.send(request(server.url))).body) == 1 << 16
    assert server.connections == 2


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_to_a_question_for_a_list_may_be_larger(upstream: Callable[..., Upstream], packed: bool) -> None:
    body, encoding = (gzip.compress(b"x" * 100), b"gzip") if packed else (b"x" * 100, b"identity")
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body))
    server = upstream(answering(head + body))
    with closing(Http(deadline_s=PATIENT_S, answer_max_bytes=60, list_max_bytes=80)) as http:
        one = response(http.send(request(server.url, None, "GET")))
        listed = response(http.send(replace(request(server.url, None, "GET"), asks_for_list=True)))
    assert (len(one.body), len(listed.body)) == (60, 80)


def test_a_compressed_answer_is_unpacked_up_to_the_limit(http: Http, upstream: Callable[..., Upstream]) -> None:
    for text in (b'{"id":"P1"}', b"0" * (32 << 20)):
        packed = gzip.compress(text)
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
        server = upstream(answering(head + packed))
        assert response(http.send(request(server.url))).body == text[: 1 << 16]


def test_an_answer_that_only_claims_to_be_compressed_is_kept_as_it_is(
    http: Http, upstream: Callable[..., Upstream]
) -> None:
    server = upstream(answering(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"))
    assert response(http.send(request(server.url))).body == b"{}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_answers_and_not_followed(http: Http, upstream: Callable[..., Upstream], status: int) -> None:
    elsewhere = upstream(answering(OK))
    head = f"HTTP/1.1 {status} Moved\r\nLocation: {elsewhere.url}\r\nContent-Length: 0\r\n\r\n"
    answer = response(http.send(request(upstream(answering(head.encode())).url)))
    assert (answer.status, answer.headers["location"]) == (status, elsewhere.url)
    assert elsewhere.connections == 0


def test_cookies_are_not_kept(http: Http, upstream: Callable[..., Upstream]) -> None:
    server = upstream(answering(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"))
    response(http.send(request(server.url)))
    response(http.send(request(server.url)))
    assert b"cookie" not in server.requests[1].lower()


@pytest.mark.parametrize("headers", [b"X-Big: " + b"x" * 200_000, b"\r\n".join(b"X-%d: 1" % n for n in range(1000))])
def test_headers_without_measure_are_no_answer(http: Http, upstream: Callable[..., Upstream], headers: bytes) -> None:
    server = upstream(ending_with(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n\r\n"))
    missing = no_answer(http.send(request(server.url)))
    assert (missing.reason, missing.sent) == (Reason.CONNECTION_LOST, True)


def test_proxies_and_netrc_of_the_environment_are_ignored(
    http: Http, upstream: Callable[..., Upstream], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    proxy = upstream(answering(OK))
    server = upstream(answering(OK))
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password something\n")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("NETRC", str(netrc))
    response(http.send(HttpRequest(method="GET", url=server.url, headers={})))
    assert (proxy.connections, server.connections) == (0, 1)
    assert b"authorization" not in server.requests[0].lower()


def test_a_certificate_nobody_signed_is_not_sent_to(upstream: Callable[..., Upstream], tmp_path: Path) -> None:
    _, context = shows(tmp_path, LOOPBACK)
    server = upstream(answering(OK), tls=context)
    missing = no_answer(Http(deadline_s=PATIENT_S).send(request(server.url)))
    assert (missing.reason, missing.sent) == (Reason.NOT_CONNECTED, False)
    assert "the TLS handshake failed: the certificate is not valid: self-signed" in missing.detail
    assert server.requests == []


def test_a_certificate_of_another_host_is_not_sent_to(upstream: Callable[..., Upstream], tmp_path: Path) -> None:
    path, context = shows(tmp_path, ELSEWHERE)
    server = upstream(answering(OK), tls=context)
    http = Http(deadline_s=PATIENT_S, authorities=str(path))
    missing = no_answer(http.send(request(server.url)))
    assert (missing.reason, missing.sent) == (Reason.NOT_CONNECTED, False)
    assert "IP address mismatch" in missing.detail


def test_a_server_that_does_not_speak_tls_was_not_sent_to(upstream: Callable[..., Upstream]) -> None:
    def play(conn: socket.socket, server: Upstream) -> None:
        conn.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        server.stopping.wait(2)

    server = upstream(play)
    missing = no_answer(Http(deadline_s=PATIENT_S).send(request(server.url.replace("http:", "https:"))))
    assert (missing.reason, missing.sent) == (Reason.NOT_CONNECTED, False)
    assert "the TLS handshake failed" in missing.detail


def test_a_tls_handshake_that_hangs_was_not_sent_and_ends_in_time(
    http: Http, upstream: Callable[..., Upstream]
) -> None:
    server = upstream(lambda conn, server: server.drip(conn, b"\x16\x03\x03\x40\x00" + b"\0" * 200))
    answer, took_s = timed(http, request(server.url.replace("http:", "https:")))
    missing = no_answer(answer)
    assert (missing.reason, missing.sent) == (Reason.NOT_CONNECTED, False)
    assert took_s < DEADLINE_S + SLACK_S


def test_the_deadline_holds_above_tls(tmp_path: Path, upstream: Callable[..., Upstream]) -> None:
    path, context = shows(tmp_path, LOOPBACK)

    def play(conn: socket.socket, server: Upstream) -> None:
        server.read_request(conn)
        conn.sendall(OK)
        server.read_request(conn)
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n")
        server.drip(conn, b"x" * 900)

    server = upstream(play, tls=context)
    http = Http(deadline_s=3 * DEADLINE_S, authorities=str(path))
    assert response(http.send(request(server.url))).body == b"{}"
    answer, took_s = timed(http, request(server.url))
    assert (no_answer(answer).reason, server.connections) == (Reason.TIMEOUT, 1)
    assert took_s < 3 * DEADLINE_S + SLACK_S


# -- names on macOS, where a forked process must not ask for both kinds of addresses at once

V4 = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 443))
V6 = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::7", 443, 0, 0))
Known = dict[socket.AddressFamily, tuple[object, ...]]


@pytest.fixture
def macos(monkeypatch: pytest.MonkeyPatch) -> Known:
    """What macOS's resolver knows, by the kind that it is asked for."""
    known: Known = {}

    def getaddrinfo(_host: str, _port: int, family: int = 0, _kind: int = 0, **_more: int) -> list[tuple[object, ...]]:
        assert family in (socket.AF_INET, socket.AF_INET6), "this ends a forked process"
        if family not in known:
            raise socket.gaierror(socket.EAI_NONAME, "nodename nor servname provided, or not known")
        return [known[family]]  # type: ignore[index]

    monkeypatch.setattr(adapter.sys, "platform", "darwin")
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


@pytest.mark.parametrize(
    "known", [{socket.AF_INET: V4}, {socket.AF_INET6: V6}, {socket.AF_INET: V4, socket.AF_INET6: V6}]
)
def test_on_macos_a_name_is_asked_for_one_kind_of_address_at_a_time(macos: Known, known: Known) -> None:
    macos.update(known)
    assert adapter._addresses("api.example.com", 443, DEADLINE_S) == list(known.values())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "2001:db8::7"])
def test_an_address_is_taken_as_it_stands_and_nobody_asked(host: str) -> None:
    known = [one for one in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM) if one[1] == socket.SOCK_STREAM]
    assert adapter._literal(host, 443) == known


@pytest.mark.parametrize("host", ["localhost", "127.1", "api.example.com", "fe80::1%lo", ""])
def test_what_is_no_address_is_looked_up(host: str) -> None:
    assert adapter._literal(host, 443) == []


def test_on_macos_too_a_name_that_nobody_knows_is_said_to_be_so(macos: Known) -> None:
    answer = Http(deadline_s=DEADLINE_S).send(HttpRequest(method="GET", url="http://nobody.example.com/", headers={}))
    assert isinstance(answer, NoAnswer)
    assert answer.detail.startswith("nobody.example.com: could not connect: the name is not known (nodename nor")
