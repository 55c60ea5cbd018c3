"""The sandbox around its stand-ins: misbehaviour on demand, memory, its pages, its server."""

import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from werkzeug.serving import make_server

from bridge.sandbox import Rates, SandboxServer, create_app

HEADERS = {
    "Authorization": "Token token=not-to-be-shown",
    "Accept": "application/vnd.pagerduty+json;version=2",
    "From": "incident-bridge@example.com",
}
IO_HEADERS = {"Authorization": "Bearer not-to-be-shown"}
UNLIMITED = Rates(pagerduty=None, pagerduty_create=None, incident_io=None, incident_io_create=None)


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with SandboxServer(rates=UNLIMITED) as running:
        yield running


@pytest.fixture
def api(server: SandboxServer) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers.update(HEADERS)
        session.post(f"{server.base_url}/_sandbox/reset")
        yield session


def create(api: requests.Session, base: str, key: str = "k1", title: str = "it broke") -> requests.Response:
    service = {"id": "PSVPGPR", "type": "service_reference"}
    incident = {"type": "incident", "title": title, "service": service, "incident_key": key}
    return api.post(f"{base}/pagerduty/incidents", json={"incident": incident})


def queue(server: SandboxServer, **behaviour: Any) -> requests.Response:
    return requests.post(f"{server.base_url}/_sandbox/script", json=behaviour)


def titles(server: SandboxServer) -> list[str]:
    return [record.incident["title"] for record in server.store.records("pagerduty")]


# ---- misbehaviour ----------------------------------------------------------------------------------------------------


def test_an_answer_without_the_effect(api: requests.Session, server: SandboxServer) -> None:
    queue(server, do={"status": 429, "headers": {"ratelimit-reset": "20"}, "body": {"error": {"code": 2020}}})
    refused = create(api, server.base_url)
    assert (refused.status_code, refused.headers["ratelimit-reset"]) == (429, "20")
    assert refused.json() == {"error": {"code": 2020}}
    assert titles(server) == []
    assert create(api, server.base_url).status_code == 201


def test_the_effect_and_then_an_error(api: requests.Session, server: SandboxServer) -> None:
    queue(server, do={"effect": True, "status": 500, "body": "oops"})
    failed = create(api, server.base_url)
    assert (failed.status_code, failed.text) == (500, "oops")
    assert titles(server) == ["it broke"]


@pytest.mark.parametrize("effect", [True, False])
def test_a_dropped_connection_brings_no_answer(api: requests.Session, server: SandboxServer, effect: bool) -> None:
    queue(server, do={"effect": effect, "drop": True})
    with pytest.raises(requests.ConnectionError):
        create(api, server.base_url)
    assert titles(server) == (["it broke"] if effect else [])
    last = server.calls.calls()[-1]
    assert (last.dropped, last.status) == (True, None)


def test_a_late_answer_has_its_effect_at_once(api: requests.Session, server: SandboxServer) -> None:
    queue(server, do={"delay_s": 30})
    service = {"id": "PSVPGPR", "type": "service_reference"}
    body = {"incident": {"type": "incident", "title": "late", "service": service}}
    with pytest.raises(requests.ReadTimeout):
        api.post(f"{server.pagerduty_url}/incidents", json=body, timeout=0.2)
    assert titles(server) == ["late"]


def test_an_effect_can_be_put_off() -> None:
    with SandboxServer(rates=UNLIMITED) as server, requests.Session() as api:
        api.headers.update(HEADERS)
        queue(server, do={"delay_before_s": 0.3})
        started = time.monotonic()
        assert create(api, server.base_url).status_code == 201
        assert time.monotonic() - started >= 0.3


def test_stopping_wakes_a_scripted_delay() -> None:
    server = SandboxServer(rates=UNLIMITED)
    server.start()
    queue(server, do={"status": 500, "delay_s": 60})
    with ThreadPoolExecutor(1) as pool, requests.Session() as api:
        api.headers.update(HEADERS)
        call = pool.submit(create, api, server.base_url)
        deadline = time.monotonic() + 5
        while not server.calls.calls() and time.monotonic() < deadline:
            threading.Event().wait(0.005)
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 5
        assert isinstance(call.exception(5), requests.ConnectionError | None)


def test_a_behaviour_is_for_the_calls_it_names_and_as_many_as_it_says(
    api: requests.Session, server: SandboxServer
) -> None:
    match = {"api": "pagerduty", "method": "post", "path_prefix": "/incidents"}
    queue(server, match=match, times=2, do={"status": 503})
    assert api.get(f"{server.pagerduty_url}/services").status_code == 200
    assert requests.get(f"{server.incident_io_url}/v1/severities", headers=IO_HEADERS).status_code == 200
    assert [create(api, server.base_url).status_code for _ in range(3)] == [503, 503, 201]


def test_behaviours_come_in_the_order_they_were_queued_and_can_be_withdrawn(
    api: requests.Session, server: SandboxServer
) -> None:
    script = f"{server.base_url}/_sandbox/script"
    requests.post(script, json=[{"do": {"status": 500}}, {"do": {"status": 502}}, {"do": {"status": 503}}])
    assert [create(api, server.base_url).status_code for _ in range(2)] == [500, 502]
    assert len(requests.get(script).json()["items"]) == 1
    requests.delete(script)
    assert create(api, server.base_url).status_code == 201


@pytest.mark.parametrize(
    "behaviour",
    [
        [],
        {"do": {"status": 99}},
        {"do": {"explode": True}},
        {"match": {"verb": "GET"}},
        {"do": [], "times": 1},
        {"times": "many"},
        {"when": "now"},
        "drop",
    ],
)
def test_a_behaviour_that_is_not_understood_is_refused(server: SandboxServer, behaviour: Any) -> None:
    refused = requests.post(f"{server.base_url}/_sandbox/script", json=[behaviour])
    assert refused.status_code == 400
    assert refused.json()["error"]
    assert requests.get(f"{server.base_url}/_sandbox/script").json()["items"] == []


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_every_call_is_remembered_without_its_credentials(api: requests.Session, server: SandboxServer) -> None:
    create(api, server.base_url)
    requests.get(f"{server.incident_io_url}/v1/severities?x=1", headers=IO_HEADERS)
    answer = requests.get(f"{server.base_url}/_sandbox/requests")
    assert "not-to-be-shown" not in answer.text
    first, second = answer.json()["items"]
    assert (first["api"], first["method"], first["path"]) == ("pagerduty", "POST", "/pagerduty/incidents")
    assert (first["status"], first["body"]["incident"]["incident_key"]) == (201, "k1")
    assert first["headers"]["authorization"] == "Token token=***"
    assert (second["api"], second["query"], second["headers"]["authorization"]) == ("incident_io", "x=1", "Bearer ***")
    assert first["monotonic"] < second["monotonic"] <= time.monotonic()
    later = requests.get(f"{server.base_url}/_sandbox/requests", params={"since": first["seq"]}).json()["items"]
    assert [call["seq"] for call in later] == [second["seq"]]
    ours = requests.get(f"{server.base_url}/_sandbox/requests", params={"api": "pagerduty", "method": "POST"})
    assert len(ours.json()["items"]) == 1


def test_incidents_can_be_listed_with_their_state(api: requests.Session, server: SandboxServer) -> None:
    create(api, server.base_url)
    body = {"idempotency_key": "k2", "visibility": "public", "name": "n"}
    requests.post(f"{server.incident_io_url}/v2/incidents", json=body, headers=IO_HEADERS)
    items = requests.get(f"{server.base_url}/_sandbox/incidents").json()["items"]
    assert [(item["api"], item["key"], item["state"], item["title"]) for item in items] == [
        ("pagerduty", "k1", "triggered", "it broke"),
        ("incident_io", "k2", "live", "n"),
    ]
    found = requests.get(f"{server.base_url}/_sandbox/incidents?key=k2").json()["items"]
    assert [item["number"] for item in found] == [1]


def test_a_restarted_sandbox_keeps_its_incidents(tmp_path: Path) -> None:
    journal = tmp_path / "new" / "sandbox.jsonl"
    with SandboxServer(journal=journal) as server, requests.Session() as api:
        api.headers.update(HEADERS)
        made = create(api, server.base_url).json()["incident"]["id"]
        change = {"incident": {"type": "incident_reference", "status": "acknowledged"}}
        assert api.put(f"{server.pagerduty_url}/incidents/{made}", json=change).ok
        body = {"idempotency_key": "k2", "visibility": "public", "name": "n"}
        url = f"{server.incident_io_url}/v2/incidents"
        spent = requests.post(url, json=body, headers=IO_HEADERS).json()["incident"]["id"]
    with journal.open("a", encoding="utf-8") as torn:
        torn.write('{"api": "pagerduty", "id": "Q')
    with SandboxServer(journal=journal) as server, requests.Session() as api:
        api.headers.update(HEADERS)
        kept = api.get(f"{server.pagerduty_url}/incidents/{made}").json()["incident"]
        assert (kept["status"], kept["incident_key"]) == ("acknowledged", "k1")
        assert create(api, server.base_url).status_code == 400
        assert create(api, server.base_url, "k3").json()["incident"]["incident_number"] == 2
        url = f"{server.incident_io_url}/v2/incidents"
        assert requests.post(url, json=body, headers=IO_HEADERS).json()["incident"]["id"] == spent
    with SandboxServer(journal=journal) as server:
        assert len(server.store.records("pagerduty")) == 2
        requests.post(f"{server.base_url}/_sandbox/reset")
    with SandboxServer(journal=journal) as server:
        assert server.store.records("pagerduty") == []


def test_the_same_key_at_the_same_moment_opens_one_incident(server: SandboxServer, api: requests.Session) -> None:
    def attempt(_: int) -> int:
        with requests.Session() as own:
            own.headers.update(HEADERS)
            return create(own, server.base_url).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(attempt, range(16)))
    assert statuses == [201] + [400] * 15


# ---- pages -----------------------------------------------------------------------------------------------------------


def test_the_page_lists_incidents_and_leads_to_each(api: requests.Session, server: SandboxServer) -> None:
    made = create(api, server.base_url, title="<script>alert(1)</script> & more").json()["incident"]
    index = requests.get(server.base_url, headers={"Accept": "text/html"})
    assert "<script" not in index.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in index.text
    assert f'href="/pagerduty/incidents/{made["id"]}"' in index.text
    assert "default-src 'none'" in index.headers["Content-Security-Policy"]
    page = requests.get(made["html_url"], headers={"Accept": "text/html,application/xhtml+xml"})
    assert page.status_code == 200
    assert "<script" not in page.text
    assert "triggered" in page.text


def test_a_page_that_does_not_exist_is_404(server: SandboxServer) -> None:
    assert requests.get(f"{server.pagerduty_url}/incidents/QNONE", headers={"Accept": "text/html"}).status_code == 404
    assert requests.get(f"{server.incident_io_url}/incidents/99").status_code == 404
    assert requests.get(f"{server.base_url}/nowhere").status_code == 404


# ---- the server ------------------------------------------------------------------------------------------------------


def test_a_connection_is_kept_for_the_next_call(server: SandboxServer) -> None:
    host, _, port = server.base_url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    connection.connect()
    kept = connection.sock
    for path in ("/pagerduty/services", "/nowhere", "/pagerduty/priorities"):
        connection.request("GET", path, headers=HEADERS)
        connection.getresponse().read()
        assert connection.sock is kept
    connection.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /pagerduty/incidents HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        (b"POST /pagerduty/incidents HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"POST /pagerduty/incidents HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"411"),
        (b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n", b"501"),
    ],
)
def test_odd_requests_are_refused_and_the_server_goes_on(
    server: SandboxServer, request_bytes: bytes, status: bytes
) -> None:
    host, _, port = server.base_url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as raw:
        raw.sendall(request_bytes)
        assert raw.recv(4096).split()[1] == status
    assert requests.get(server.base_url).status_code == 200


def test_a_caller_that_leaves_in_the_middle_harms_nobody(server: SandboxServer) -> None:
    host, _, port = server.base_url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as raw:
        raw.sendall(b"POST /pagerduty/incidents HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
    assert requests.get(server.base_url).status_code == 200


def test_a_drop_also_works_under_werkzeugs_own_server() -> None:
    under = make_server("127.0.0.1", 0, create_app(rates=UNLIMITED), threaded=True)
    thread = threading.Thread(target=under.serve_forever, daemon=True)
    thread.start()
    base = f"http://127.0.0.1:{under.server_port}"
    try:
        requests.post(f"{base}/_sandbox/script", json={"do": {"effect": True, "drop": True}})
        with requests.Session() as api:
            api.headers.update(HEADERS)
            with pytest.raises(requests.ConnectionError):
                create(api, base)
        assert len(requests.get(f"{base}/_sandbox/incidents").json()["items"]) == 1
    finally:
        under.shutdown()
        under.server_close()
        thread.join(5)


def test_the_request_log_keeps_a_body_that_is_no_json_as_text(api: requests.Session, server: SandboxServer) -> None:
    api.post(f"{server.pagerduty_url}/incidents", data=b"{broken", headers={"Content-Type": "application/json"})
    assert server.calls.calls()[-1].body == "{broken"
    assert json.loads(requests.get(f"{server.base_url}/_sandbox/requests").text)["items"][-1]["body"] == "{broken"


def test_the_command_says_where_it_listens_and_ends_when_told() -> None:
    command = [sys.executable, "-m", "bridge.sandbox", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        address = said.removeprefix("sandbox listens on ").strip()
        assert requests.get(address).status_code == 200
        process.terminate()
        assert process.wait(10) == 0


def test_a_port_that_is_taken_is_a_sentence(server: SandboxServer) -> None:
    command = [sys.executable, "-m", "bridge.sandbox", "--listen", server.base_url.removeprefix("http://")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "Address already in use" in ended.stderr
    assert "Traceback" not in ended.stderr


# ---- a person in front of it -----------------------------------------------------------------------------------------


def test_a_person_closes_and_reopens_an_incident(api: requests.Session, server: SandboxServer) -> None:
    made = create(api, server.base_url).json()["incident"]
    url = f"{server.base_url}/_sandbox/incidents/pagerduty/{made['id']}"
    shown = f"{server.base_url}/pagerduty/incidents/{made['id']}"
    for does, status in (("close", "resolved"), ("reopen", "triggered")):
        assert requests.post(url, json={"do": does}).ok
        assert api.get(shown).json()["incident"]["status"] == status


@pytest.mark.parametrize(
    ("path", "does", "status"),
    [
        ("pagerduty/Q1", {"do": "close"}, 404),
        ("mars/Q1", {"do": "close"}, 400),
        ("pagerduty/Q1", {"do": "eat"}, 400),
        ("pagerduty/Q1", {"do": "decline"}, 400),
        ("incident_io/01Q", {"do": ["decline"]}, 400),
    ],
)
def test_a_person_can_do_nothing_else(server: SandboxServer, path: str, does: dict[str, str], status: int) -> None:
    assert requests.post(f"{server.base_url}/_sandbox/incidents/{path}", json=does).status_code == status
