"""Subscriptions confirm themselves: one call, to Amazon alone, asked for until it is answered."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bridge import wiring
from bridge.adapters.http import Http
from bridge.domain.delivery import HttpRequest, HttpResponse, NoAnswer
from bridge.entrypoints.confirming import AGAIN_AFTER_S, CONFIRM_TOPIC, Confirmations
from tests.receiving import Desk
from tests.unit.test_source_aws_sns import message

JSON = {"Content-Type": "text/plain; charset=UTF-8"}
ASKED = message("SubscriptionConfirmation")["SubscribeURL"]


class Amazon:
    """A server in the place of SNS: answers as it is told, and remembers who called."""

    def __init__(self) -> None:
        self.status = 200
        self.called: list[str] = []
        amazon = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                amazon.called.append(self.path)
                self.send_response(amazon.status)
                self.send_header("Content-Length", "0")
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class Redirected(Http):
    """The real client, on a network where SNS has the address of a server of ours."""

    def __init__(self, port: int) -> None:
        super().__init__(deadline_s=2.0)
        self.port = port
        self.meant: list[str] = []

    def send(self, request: HttpRequest) -> HttpResponse | NoAnswer:
        self.meant.append(request.url)
        path = request.url.partition("amazonaws.com")[2]
        return super().send(replace(request, url=f"http://127.0.0.1:{self.port}{path}"))


class Hand:
    """A clock that goes when it is told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A receiver, and what its workers and its clock confirm with."""

    def __init__(self, folder: Path, amazon: Amazon) -> None:
        sources = {"aws": {"type": "aws_sns", "auth": "none"}, "lab": {"type": "generic", "auth": "none"}}
        self.desk = Desk(folder, sources)
        self.http = Redirected(amazon.server.server_port)
        self.clock = Hand()
        confirming = wiring.confirming(self.desk.settings)
        self.confirmations = Confirmations(self.desk.ledger, confirming, self.http, self.clock)

    def post(self, **changes: Any) -> str:
        body = json.dumps(message("SubscriptionConfirmation", **changes)).encode()
        event: str = self.desk.post("aws", body, JSON).get_json()["event"]
        return event

    def work(self) -> list[str]:
        """What one round of the clock and a worker do; the events that were worked."""
        topics = self.confirmations.topics()
        events = [topic.removeprefix(f"{CONFIRM_TOPIC}:") for topic in topics]
        for event in events:
            self.confirmations.confirm(event)
        return events

    def event(self, event: str) -> dict[str, Any]:
        held = self.desk.ledger.event(event)
        assert held is not None
        return held


@pytest.fixture
def amazon() -> Iterator[Amazon]:
    made = Amazon()
    yield made
    made.close()


@pytest.fixture
def bench(tmp_path: Path, amazon: Amazon) -> Iterator[Bench]:
    made = Bench(tmp_path, amazon)
    with made.desk:
        yield made
    made.http.close()


def test_a_subscription_is_confirmed_once_and_its_event_says_so(bench: Bench, amazon: Amazon) -> None:
    event = bench.post()
    alert = bench.event(event)["alerts"][0]
    assert (alert["outcome"], alert["incident"]) == ("ignored", None)
    assert "confirms itself" in alert["decisions"][0]["reason"]
    assert bench.work() == [event]
    assert bench.http.meant == [ASKED]
    assert bench.event(event)["reason"] == "the subscription was confirmed"
    bench.clock.now += 3600
    bench.confirmations.confirm(event)  # a job that came twice
    assert bench.work() == []
    assert len(amazon.called) == 1


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_call_that_may_work_later_is_made_again_later(status: int, bench: Bench, amazon: Amazon) -> None:
    amazon.status = status
    event = bench.post()
    assert bench.work() == [event]
    assert bench.work() == []
    bench.clock.now += AGAIN_AFTER_S + 1
    assert bench.work() == [event]
    bench.clock.now += AGAIN_AFTER_S + 1
    assert bench.work() == []  # the pause doubles
    bench.clock.now += AGAIN_AFTER_S
    amazon.status = 200
    assert bench.work() == [event]
    assert bench.event(event)["reason"] == "the subscription was confirmed"


@pytest.mark.parametrize("status", [302, 400, 404])
def test_a_refusal_is_final_and_no_redirect_is_followed(status: int, bench: Bench, amazon: Amazon) -> None:
    amazon.status = status
    event = bench.post()
    assert bench.work() == [event]
    assert len(amazon.called) == 1
    assert bench.event(event)["reason"] == f"the subscription could not be confirmed: HTTP {status}"
    bench.clock.now += 3600
    assert bench.work() == []


def test_nobody_but_amazon_is_called(bench: Bench, amazon: Amazon) -> None:
    bench.post(SubscribeURL="https://example.net/?Action=ConfirmSubscription&Token=t")
    bench.post(Type="UnsubscribeConfirmation")
    assert bench.work() == []
    event = bench.desk.post("lab", json.dumps(message("SubscriptionConfirmation")).encode(), JSON).get_json()["event"]
    bench.confirmations.confirm(event)
    bench.confirmations.confirm("01NOSUCHEVENT")
    assert (bench.http.meant, amazon.called) == ([], [])


def test_another_process_finds_what_is_owed_in_the_ledger(bench: Bench, amazon: Amazon) -> None:
    event = bench.post()
    other = Confirmations(bench.desk.ledger, wiring.confirming(bench.desk.settings), bench.http, bench.clock)
    assert other.topics() == [f"{CONFIRM_TOPIC}:{event}"]
    bench.work()
    bench.clock.now += 3600
    assert other.topics() == []
