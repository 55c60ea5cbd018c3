"""Signing certificates: fetched once, in time, and never at the cost of everybody else."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import perf_counter
from typing import Any

import pytest

from bridge.adapters.certificates import KEPT_FOR_S, KEPT_MAX, MISSING_FOR_S, UNREACHED_FOR_S, Certificates
from bridge.domain.errors import Unverifiable

PEM = b"-----BEGIN CERTIFICATE-----\n..."


class Host:
    """A host of certificates on a free port: answers as it is told, and remembers who asked."""

    def __init__(self) -> None:
        self.status, self.asked, self.gate = 200, [], threading.Event()
        self.gate.set()
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.append(self.path)
                host.gate.wait(10.0)
                self.send_response(host.status)
                self.send_header("Content-Length", str(len(PEM)))
                self.send_header("Location", "/elsewhere.pem")
                self.end_headers()
                self.wfile.write(PEM)

            def log_message(self, *_args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()


class Hand:
    """A clock that goes when it is told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def certificates(hand: Hand) -> Iterator[Certificates]:
    made = Certificates(deadline_s=0.5, monotonic=hand)
    yield made
    made.close()


def test_a_certificate_is_fetched_once_a_day(host: Host, hand: Hand, certificates: Certificates) -> None:
    assert [certificates.fetch(f"{host.url}/a.pem") for _ in range(3)] == [PEM] * 3
    assert host.asked == ["/a.pem"]
    hand.now += KEPT_FOR_S + 1
    assert certificates.fetch(f"{host.url}/a.pem") == PEM
    assert host.asked == ["/a.pem"] * 2


@pytest.mark.parametrize("status", [403, 404, 302])
def test_what_is_not_there_is_asked_for_once_a_minute(
    status: int, host: Host, hand: Hand, certificates: Certificates
) -> None:
    host.status = status
    assert [certificates.fetch(f"{host.url}/a.pem") for _ in range(3)] == [None] * 3
    assert host.asked == ["/a.pem"]
    hand.now += MISSING_FOR_S + 1
    host.status = 200
    assert certificates.fetch(f"{host.url}/a.pem") == PEM


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_host_in_trouble_is_asked_again_soon_but_not_at_once(
    status: int, host: Host, hand: Hand, certificates: Certificates
) -> None:
    host.status = status
    for _ in range(3):
        with pytest.raises(Unverifiable):
            certificates.fetch(f"{host.url}/a.pem")
    assert host.asked == ["/a.pem"]
    host.status = 200
    hand.now += UNREACHED_FOR_S + 1
    assert certificates.fetch(f"{host.url}/a.pem") == PEM


def test_a_host_that_does_not_answer_holds_nobody_up(host: Host, certificates: Certificates) -> None:
    host.gate.clear()
    started = perf_counter()
    failed: list[str] = []

    def ask() -> None:
        try:
            certificates.fetch(f"{host.url}/a.pem")
        except Unverifiable as error:
            failed.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(10.0)
    assert len(failed) == 20
    assert perf_counter() - started < 5.0
    assert host.asked == ["/a.pem"]


def test_many_who_ask_at_once_share_one_call(host: Host, certificates: Certificates) -> None:
    found: list[bytes | None] = []
    threads = [threading.Thread(target=lambda: found.append(certificates.fetch(f"{host.url}/a.pem"))) for _ in range(9)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(10.0)
    assert found == [PEM] * 9
    assert host.asked == ["/a.pem"]


def test_address_after_address_does_not_grow_what_is_kept(host: Host, certificates: Certificates) -> None:
    for number in range(3 * KEPT_MAX):
        certificates.fetch(f"{host.url}/{number}.pem")
    assert len(certificates._kept) <= KEPT_MAX
    assert len(certificates._fetching) <= KEPT_MAX + 1
