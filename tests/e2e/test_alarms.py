"""Alarms reach somebody: a real address, a real stand-in, and a web process whose clock is silent."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bridge.adapters.http import Http
from bridge.adapters.ledger import Ledger
from bridge.destinations.incident_io import IncidentIo
from bridge.destinations.pagerduty import PagerDuty
from bridge.domain.alarms import Cause, CauseKind
from bridge.domain.delivery import NamedThing
from bridge.entrypoints.alarming import Alarms, ToAccount, ToAddress
from bridge.entrypoints.repeating import Repeating
from bridge.sandbox import SandboxServer
from tests.e2e.processes import eventually
from tests.ledgers import ACCOUNT, heartbeat, open_ledger, sqlite_url

WAITS = {ACCOUNT: timedelta(minutes=2)}
CAUSE = Cause(kind=CauseKind.CRITICAL_DEAD, about="pd", sentence="a page of 'pd' is dead", advice="replay it")


class Chat(ThreadingHTTPServer):
    """Somebody's chat tool."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.told: list[dict[str, Any]] = []
        self.status = 200
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Chat

    def do_POST(self) -> None:
        self.server.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def chat() -> Iterator[Chat]:
    with Chat() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger where nobody beats."""
    with closing(open_ledger(sqlite_url(tmp_path))) as opened:
        yield opened


def address(chat: Chat) -> ToAddress:
    return ToAddress(url=chat.url, http=Http(), public_url="https://bridge.example.com")


def test_each_cause_is_one_message_that_a_chat_can_show(ledger: Ledger, chat: Chat) -> None:
    alarms = Alarms(ledger, WAITS, address(chat), quiet_s=0, listen_s=0)
    for _ in range(3):
        alarms.look()
    assert [one["cause"] for one in chat.told] == ["no_worker", "no_clock"]
    first = chat.told[0]
    assert first["text"] == (
        "Incident Bridge: no worker is running: nothing is delivered. Start 'incident-bridge worker'."
    )
    assert (first["account"], first["bridge"]) == (None, "https://bridge.example.com")


def test_an_address_that_refuses_hears_it_again_in_a_minute(ledger: Ledger, chat: Chat) -> None:
    chat.status = 500
    assert address(chat)(CAUSE) == "the alarms' address answered 500"
    told: list[Cause] = []

    def refuse(cause: Cause) -> str:
        told.append(cause)
        return "no"

    alarms = Alarms(ledger, WAITS, refuse, quiet_s=0, listen_s=0)
    alarms.look()
    alarms.look()
    assert len(told) == 2, "once each, and not at once again"


def test_nobody_there_is_a_sentence_without_the_address_s_secret(chat: Chat) -> None:
    chat.shutdown()
    chat.server_close()
    failure = ToAddress(url=f"{chat.url}/s3cret", http=Http(), public_url="x")(CAUSE)
    assert failure
    assert "s3cret" not in failure


@pytest.mark.parametrize("vendor", ["pagerduty", "incident_io"])
def test_an_account_gets_one_incident_while_it_is_open(ledger: Ledger, vendor: str) -> None:
    with SandboxServer() as server:
        if vendor == "pagerduty":
            account: Any = PagerDuty(
                account=ACCOUNT,
                token="sandbox",
                from_="incident-bridge@example.com",
                base_url=server.pagerduty_url,
                defaults={"service": "Catch-all"},
            )
            request = account.names_request("service")
            assert ToAccount(destination=account, ledger=ledger, http=Http())(CAUSE) == (
                "service 'Catch-all' of 'pd' is not known yet"
            )
            assert ledger.fetches_asked() == [(ACCOUNT, "service")], "the next try finds the list"
            page = account.names_in("service", request, Http().send(request))
            things: list[NamedThing] = list(page.things)
            ledger.names_stored(ACCOUNT, "service", things)
        else:
            account = IncidentIo(account=ACCOUNT, token="sandbox", base_url=server.incident_io_url)
        tell = ToAccount(destination=account, ledger=ledger, http=Http())
        assert [tell(CAUSE), tell(CAUSE)] == [None, None]
        (record,) = server.store.records(vendor)
        assert "a page of 'pd' is dead" in json.dumps(record.incident)


def test_a_web_process_tells_it_when_no_clock_does(ledger: Ledger, chat: Chat) -> None:
    alarms = Alarms(ledger, WAITS, address(chat), quiet_s=0, listen_s=0)
    watch = Repeating("alarms", alarms.look_without_clock, 0.05)
    watch.start()
    try:
        eventually(lambda: len(chat.told) == 2)
    finally:
        watch.stop()


def test_a_process_that_has_just_started_waits_for_the_others(ledger: Ledger, chat: Chat) -> None:
    Alarms(ledger, WAITS, address(chat)).look()
    assert chat.told == []


def test_heartbeats_that_a_jump_of_the_clock_made_old_are_waited_for(ledger: Ledger, chat: Chat) -> None:
    elapsed = [0.0]
    alarms = Alarms(ledger, WAITS, address(chat), quiet_s=0, monotonic=lambda: elapsed[0])

    def told(*looks_s: float) -> list[str]:
        for elapsed[0] in looks_s:
            alarms.look()
        return [one["cause"] for one in chat.told]

    assert told(0, 10) == []
    for kind in ("worker", "clock"):
        ledger.heartbeat(heartbeat(kind))
    assert told(20) == [], "they live"
    for kind in ("worker", "clock"):
        ledger.heartbeat_ended(heartbeat(kind).process)
    assert told(30, 40) == [], "the silence of before is over"
    assert told(50) == ["no_worker", "no_clock"]


def test_a_web_process_waits_for_the_heartbeat_of_a_clock_as_well(ledger: Ledger, chat: Chat) -> None:
    elapsed_s = 0.0
    alarms = Alarms(ledger, WAITS, address(chat), quiet_s=0, monotonic=lambda: elapsed_s)
    alarms.look_without_clock()
    assert chat.told == []
    elapsed_s = 30.0
    alarms.look_without_clock()
    assert len(chat.told) == 2
