"""The web process over real sockets: what it accepts, what it refuses and how, and whom it lets read."""

import base64
import http.client
import json
import socket
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import requests
from argon2 import PasswordHasher

from bridge.sandbox.pages import title_of
from tests.e2e.processes import INCIDENT_IO, PAGERDUTY, SECRETS, Bridge, alert, at_once

pytestmark = pytest.mark.e2e

MAX_BODY = 2 << 20
QUICK_S = 2.0  # DESIGN section 11: no hostile body holds anything up longer
SLOW = 102
MARK = "mark"  # in the titles of hostile bodies: the part that nothing may change


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with Bridge(tmp_path_factory.mktemp("web"), server={"max_body": "2MiB"}) as running:
        yield running


# -- slow clients


def test_a_hundred_half_sent_requests_leave_good_ones_unharmed_and_are_cut_after_ten_seconds(bridge: Bridge) -> None:
    head = b"POST /webhooks/lab HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    beginnings = [head, head + b'Content-Length: 1000\r\n\r\n{"title": "', head + b"Transfer-Encoding: chunked\r\n\r\n"]
    over = threading.Event()
    accepted = []
    with ExitStack() as stack:
        started = time.monotonic()
        slow = [stack.enter_context(_connection(bridge)) for _ in range(SLOW)]
        for n, one in enumerate(slow):
            one.sendall(beginnings[n % len(beginnings)])
            one.setblocking(False)

        def watch() -> None:
            left = list(slow)
            while left:
                assert time.monotonic() - started < 16.0, f"{len(left)} slow clients are still connected"
                for one in slow[: len(beginnings)]:
                    _drip(one)
                left = [one for one in left if not _is_cut(one)]
                assert len(left) == len(slow) or time.monotonic() - started > 9.0, "a slow client was cut early"

        def work(number: int) -> None:
            try:
                if number == 0:
                    watch()
            finally:
                if number == 0:
                    over.set()
            while not over.is_set():
                response = bridge.post(alert(f"beside slow ones {number} {len(accepted)}"))
                accepted.append(response.elapsed.total_seconds())
                assert response.status_code == 202
                assert response.elapsed.total_seconds() < QUICK_S

        at_once(3, work)
    assert len(accepted) > 50
    assert bridge.post(alert("after slow ones")).status_code == 202


def test_clients_that_do_not_hang_up_after_their_answer_keep_nobody_waiting(bridge: Bridge) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            lingering = stack.enter_context(_connection(bridge))
            lingering.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert lingering.recv(4096).startswith(b"HTTP/1.1 200 ")
            assert requests.get(f"{bridge.url}/healthz", timeout=QUICK_S).status_code == 200


def _connection(bridge: Bridge) -> socket.socket:
    return socket.create_connection(("127.0.0.1", bridge.port), timeout=10.0)


def _drip(one: socket.socket) -> None:
    """One more byte, whatever has become of the connection."""
    try:
        one.send(b"x")
    except OSError:
        return


def _is_cut(one: socket.socket) -> bool:
    try:
        return one.recv(4096) == b""  # an answer may come first: that the body did not arrive in time
    except BlockingIOError:
        time.sleep(0.001)
        return False
    except ConnectionError:
        return True


# -- statuses


def test_an_accepted_webhook_names_its_event_and_counts_its_alerts(bridge: Bridge) -> None:
    response = bridge.post({"alerts": [alert(), alert()]})
    assert response.status_code == 202
    assert response.headers["Content-Type"] == "application/json"
    event = bridge.get(f"events/{response.json()['event']}")
    assert response.json() == {"event": event["id"], "alerts": 2}
    assert (event["source"], event["state"], event["reason"]) == ("lab", "accepted", None)
    assert [one["outcome"] for one in event["alerts"]] == ["opened", "opened"]
    assert set(event["alerts"][0]) >= {"fingerprint", "decisions", "rule", "outcome", "incident", "trace"}


def test_a_senders_repeat_gets_the_first_event_again(bridge: Bridge) -> None:
    page = alert()
    first, second = (bridge.post(page, headers={"Idempotency-Key": "the same"}) for _ in range(2))
    assert second.status_code == 202
    assert second.json() == {**first.json(), "duplicate": True}


def test_every_source_takes_its_own_secret_and_nothing_else(bridge: Bridge) -> None:
    page = alert()
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("tool", {}),
        ("tool", {"headers": {"X-Tool-Token": "wrong"}}),
        ("tool", {"headers": {"X-Tool-Token": b"\xff\xfe"}}),
        ("tool", {"headers": {"Authorization": f"Bearer {SECRETS['TOOL_SECRET']}"}}),
        ("tool", {"params": {"X-Tool-Token": SECRETS["TOOL_SECRET"]}}),
        ("query", {"params": b"token=%ff%00"}),
        ("query", {"headers": {"token": SECRETS["QUERY_SECRET"]}}),
        ("datadog", {"headers": {"X-Bridge-Token": SECRETS["TOOL_SECRET"]}}),
        ("zendesk", {"headers": {"X-Zendesk-Webhook-Signature": "AAAA"}}),
    ]
    before = len(bridge.every("events"))
    for source, options in wrong:
        response = bridge.post(page, source, **options)
        assert (response.status_code, response.json()) == (401, {"error": "unauthorized"}), (source, options)
    assert len(bridge.every("events")) == before  # counted, not stored
    assert bridge.post(page, "tool", headers={"X-Tool-Token": SECRETS["TOOL_SECRET"]}).status_code == 202
    assert bridge.post(page, "query", params={"token": SECRETS["QUERY_SECRET"]}).status_code == 202
    assert bridge.post(page, "datadog", headers={"X-Bridge-Token": SECRETS["DATADOG_SECRET"]}).status_code == 202


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/webhooks/nobody", 404),
        ("POST", "/webhooks/%ff%00", 404),
        ("POST", "/webhooks/", 404),
        ("GET", "/nothing", 404),
        ("GET", "/webhooks/lab", 405),
        ("PUT", "/webhooks/lab", 405),
        ("DELETE", "/api/v1/events", 405),
    ],
)
def test_what_is_not_there_is_said_in_json(bridge: Bridge, method: str, path: str, status: int) -> None:
    response = requests.request(method, bridge.url + path, data=b"{}", timeout=5)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"
    assert len(response.json()["error"]) > 10
    if status == 405:
        assert "Allow" in response.headers


def test_an_encoded_body_is_refused(bridge: Bridge) -> None:
    packed = zlib.compress(json.dumps(alert()).encode())
    response = bridge.post(packed, headers={"Content-Encoding": "deflate"})
    assert response.status_code == 415
    assert "Content-Encoding" in response.json()["error"]


@pytest.mark.parametrize("chunked", [False, True], ids=["by its length", "in chunks"])
@pytest.mark.parametrize("size", [MAX_BODY + 1, 8 * MAX_BODY])
def test_too_large_a_body_is_a_413_and_its_beginning_is_kept(bridge: Bridge, size: int, chunked: bool) -> None:
    body = b'{"title": "' + b"x" * size
    length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
    before = {one["id"] for one in bridge.every("events")}
    answer = _sent_whole(bridge, length, _chunks(body) if chunked else body)
    (new,) = {one["id"] for one in bridge.every("events")} - before
    event = bridge.get(f"events/{new}")
    assert (event["state"], event["alerts"], event["body_bytes"]) == ("rejected", [], 65536)
    assert event["body"] == body[:65536].decode()
    assert event["reason"] == f"lab: the body is larger than {MAX_BODY} bytes (server.max_body)"
    head, _, content = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert json.loads(content) == {"error": event["reason"], "event": new}


def _chunks(body: bytes) -> bytes:
    parts = (body[at : at + 60_000] for at in range(0, len(body), 60_000))
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def _sent_whole(bridge: Bridge, length: bytes, body: bytes) -> bytes:
    """Post a body as a simple client does, which reads no answer before it has sent everything it can."""
    answer = b""
    with _connection(bridge) as connection:
        head = b"POST /webhooks/lab HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + length
        connection.sendall(head + b"\r\n\r\n" + body)
        while piece := connection.recv(65536):
            answer += piece
    return answer


@pytest.mark.parametrize(
    ("path", "head", "body", "status", "stays"),
    [
        ("lab", "Content-Length: 3000000", b"x" * 3_000_000, 413, False),
        ("lab", "Transfer-Encoding: chunked", b"300000\r\n" + b"x" * 0x300000 + b"\r\n0\r\n\r\n", 413, False),
        ("lab", "Transfer-Encoding: chunked", b"none\r\n", 400, False),
        ("none", "Content-Length: 3000000", b"x" * 3_000_000, 404, False),
        ("none", "Transfer-Encoding: chunked", b"1\r\nx\r\n0\r\n\r\n", 404, False),
        ("lab", "Content-Encoding: br\r\nContent-Length: 3000000", b"x" * 3_000_000, 415, False),
        ("none", "Content-Length: 3000", b"x" * 3_000, 404, True),
        ("lab", "Content-Length: 3000", b"x" * 3_000, 400, True),
        ("lab", "Transfer-Encoding: chunked", b"1\r\nx\r\n0\r\n\r\n", 400, True),
    ],
)
def test_an_answer_says_truly_whether_the_next_webhook_may_come_the_same_way(
    bridge: Bridge, path: str, head: str, body: bytes, status: int, stays: bool
) -> None:
    good = json.dumps(alert()).encode()
    with closing(_connection(bridge)) as connection:
        connection.sendall(f"POST /webhooks/{path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode() + body)
        first = _answer(connection)
        assert (first.status, first.getheader("Connection")) == (status, "keep-alive" if stays else "close")
        if stays:
            connection.sendall(
                b"POST /webhooks/lab HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(good), good)
            )
            assert _answer(connection).status == 202
        else:
            assert connection.recv(1) == b""


def _answer(connection: socket.socket) -> http.client.HTTPResponse:
    """The next answer, read to its end."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"no json",
        b'{"title": "cut',
        b"null",
        b"17",
        b'"text"',
        b"[1, 2]",
        b"<alert/>",
        b"[" * (1 << 20),
        b'{"a":' * 200_000,
        b'{"title": "deep", "a": ' + b"[" * 65 + b"]" * 65 + b"}",
        b"\xff\xfe\xff",
        b"\x00" * 1000,
    ],
    ids=lambda body: repr(body[:12]),
)
def test_an_unreadable_body_is_a_400_with_a_reason_and_kept(bridge: Bridge, body: bytes) -> None:
    response = bridge.post(body)
    assert response.status_code == 400
    assert response.elapsed.total_seconds() < QUICK_S
    assert response.json()["error"].startswith("lab: $")
    event = bridge.get(f"events/{response.json()['event']}")
    assert (event["state"], event["reason"], event["alerts"]) == ("rejected", response.json()["error"], [])
    assert event["body"] == body[:65536].decode("utf-8", "replace")
    assert event["id"] in {one["id"] for one in bridge.get("events?state=rejected")["items"]}


# -- hostile bodies that are alerts all the same


def _titled(title: bytes, more: bytes = b"") -> bytes:
    return b'{"title": "' + title + b'"' + more + b"}"


HOSTILE = {
    "a lone surrogate": _titled(b"mark \\ud800 x", b', "fingerprint": "\\udfff", "labels": {"\\udc00": "\\ud800"}'),
    "no number": _titled(b"mark", b', "value": NaN, "a": Infinity, "b": -Infinity, "severity": NaN'),
    "a huge integer": _titled(b"mark", b', "value": ' + b"9" * 5000),
    "a huge exponent": _titled(b"mark", b', "value": 1e999999, "reported_at": 1e400, "starts_at": -1e308'),
    "63 levels": _titled(b"mark", b', "a": ' + b"[" * 62 + b"]" * 62),
    "raw control characters": _titled(b"mark \x01\x02\n\t\x7f x"),
    "NUL": _titled(b"mark \\u0000 x", b', "fingerprint": "a\\u0000b", "labels": {"\\u0000": "\\u0000"}'),
    "no UTF-8": _titled(b"mark \xff\xfe caf\xe9"),
    "a key twice": b'{"title": "first", "title": "mark"}',
    "a byte order mark": b"\xef\xbb\xbf" + _titled(b"mark"),
    "UTF-16": _titled(b"mark").decode().encode("utf-16"),
    "a long title": _titled(b"mark " + b"x" * 1_000_000),
    "100,000 labels": _titled(b"mark", b', "labels": {%s}' % b",".join(b'"l%d": "v"' % n for n in range(100_000))),
    "100,000 keys": _titled(b"mark", b"".join(b', "k%d": 1' % n for n in range(100_000))),
    "a template": _titled(b"mark {{ 7 * 7 }} {% raw %}", b', "description": "{{ x.__class__ }}"'),
    "wrong kinds": _titled(b"mark", b', "status": [1], "severity": {}, "labels": 7, "links": "x", "fingerprint": {}'),
    "a title in a title": b'{"title": {"title": "mark"}, "name": {"name": []}}',
    "odd times": _titled(b"mark", b', "reported_at": 99999999999999999999, "starts_at": "0000-00-00", "ends_at": -1'),
    "direction marks": _titled("mark \u202e\u2028\u2029\u200b x".encode()),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_body_that_is_an_alert_still_pages(bridge: Bridge, what: str) -> None:
    title = f"{MARK}-{list(HOSTILE).index(what)}-"
    body = HOSTILE[what].replace(b"mark", title.encode())
    if what == "UTF-16":
        body = HOSTILE[what].decode("utf-16").replace("mark", title).encode("utf-16")
    response = bridge.post(body)
    assert response.status_code == 202, response.text
    assert response.elapsed.total_seconds() < QUICK_S
    bridge.eventually(lambda: [one for one in bridge.upstream() if title in title_of(one)])
    event = bridge.get(f"events/{response.json()['event']}")
    assert title in event["alerts"][0]["title"]
    if what == "a template":
        assert "{{ 7 * 7 }}" in next(title_of(one) for one in bridge.upstream() if title in title_of(one))


def test_hostile_headers_and_queries_are_no_failure(bridge: Bridge) -> None:
    for headers in ({"Idempotency-Key": b"\xff\xfe\x80"}, {"Content-Type": b"\xff/\xff"}, {"X-Odd": "x" * 4000}):
        response = bridge.post(alert(), headers=headers)
        assert response.status_code == 202, headers
        assert bridge.get(f"events/{response.json()['event']}")["state"] == "accepted"
    response = requests.post(f"{bridge.url}/webhooks/lab?%ff=%00&a&b==&token", json=alert(), timeout=5)
    assert response.status_code == 202
    for garbage in (b"\x16\x03\x01\x02", b"GET\r\n\r\n", b"POST /webhooks/lab HTTP/9.9\r\n\r\n", b"\r\n" * 100):
        with _connection(bridge) as connection:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            assert b" 5" not in connection.recv(4096)[:12]


@pytest.mark.parametrize("path", ["/webhooks/lab", "/login", "/api/v1/reload"])
@pytest.mark.parametrize(
    "chunks", [b"password=hunter2\r\nx\r\n0\r\n\r\n", b"-5\r\nhello\r\n", b"5\r\nhelloXX0\r\n\r\n"]
)
def test_chunks_that_are_none_are_refused_and_quoted_nowhere(bridge: Bridge, path: str, chunks: bytes) -> None:
    lines = (f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", "Transfer-Encoding: chunked")
    head = "\r\n".join((*lines, "", ""))
    with _connection(bridge) as connection:
        connection.sendall(head.encode() + chunks)
        status = int(connection.recv(4096).split()[1])
    assert status in (400, 401, 403, 404), status
    assert "hunter2" not in bridge.told()


@pytest.mark.parametrize(
    "headers",
    [
        {"SCRIPT_NAME": "/webhooks"},
        {"SCRIPT_NAME": "/elsewhere"},
        {"PATH_INFO": "/healthz"},
        {"X-Forwarded-Proto": "https", "X-Forwarded-Ssl": "off"},
    ],
    ids=str,
)
def test_no_header_of_a_sender_leads_its_request_elsewhere_or_nowhere(bridge: Bridge, headers: dict[str, str]) -> None:
    """A proxy that passes /webhooks/ passes the sender's headers as well, and comes from this machine."""
    assert requests.get(f"{bridge.url}/webhooks/healthz", headers=headers, timeout=5).status_code == 405
    assert bridge.post(alert(f"led by {headers}"), headers=headers).status_code == 202


def test_pages_and_api_take_no_body_of_any_size(bridge: Bridge) -> None:
    for path in ("/api/v1/silences/preview", "/api/v1/reload"):
        answer = requests.post(
            bridge.url + path, data=b" " * 3_000_000, headers={"Content-Type": "application/json"}, timeout=9
        )
        assert answer.status_code == 413, path


# -- who may read


def test_without_a_login_the_api_answers_this_machine_only(bridge: Bridge) -> None:
    page = f"{bridge.url}/api/v1/events"
    assert requests.get(page, timeout=5).status_code == 200
    assert requests.get(page, headers={"Host": f"localhost:{bridge.port}"}, timeout=5).status_code == 200
    for headers in (
        {"Host": "bridge.example.com"},
        {"Host": "127.0.0.1.example.com"},
        {"Host": "10.0.0.1"},
        {"Host": "[::ffff:10.0.0.1]"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-Host": "localhost"},
        {"X-Forwarded-Proto": "https"},
        {"X-Forwarded-Server": "proxy"},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"},
    ):
        for path in ("/api/v1/events", "/metrics", "/api/v1/nothing"):
            response = requests.get(bridge.url + path, headers=headers, timeout=5)
            assert response.status_code in (403, 404), (headers, path)
            if path != "/api/v1/nothing":
                assert response.json()["error"].startswith("ui.auth is not set, so this answers on this machine only")
        assert requests.get(f"{bridge.url}/healthz", headers=headers, timeout=5).status_code == 200
        assert requests.get(f"{bridge.url}/readyz", headers=headers, timeout=5).status_code == 200
        assert bridge.post(alert(), headers=headers).status_code == 202
    for given in ("Bearer x", "Bearer", "bearer \xff"):
        response = requests.get(page, headers={"Authorization": given.encode("latin-1")}, timeout=5)
        assert response.status_code == 401, given


def test_an_action_without_a_login_takes_json_only(bridge: Bridge) -> None:
    page = f"{bridge.url}/api/v1/deliveries/01ARZ3NDEKTSV4RRFFQ69G5FAV/replay"
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        response = requests.post(page, data="{}", headers={"Content-Type": media_type}, timeout=5)
        assert response.status_code == 415, media_type
    assert requests.post(page, json={}, timeout=5).status_code == 404


def test_a_public_address_without_a_login_closes_the_api(tmp_path: Path) -> None:
    accounts = {
        "pd": {**PAGERDUTY, "token": "${TOOL_SECRET}", "base_url": "http://127.0.0.1:9/pagerduty"},
        "io": {**INCIDENT_IO, "api_key": "${TOOL_SECRET}", "base_url": "http://127.0.0.1:9/incident-io"},
    }
    server = {"public_url": "https://bridge.example.com"}
    with Bridge(tmp_path, start=["web"], accounts=accounts, server=server) as bridge:
        response = requests.get(f"{bridge.url}/api/v1/lanes", timeout=5)
        assert response.status_code == 403
        assert "public_url" in response.json()["error"]
        assert bridge.post(alert()).status_code == 202


def test_with_a_login_the_api_takes_password_or_token_and_nothing_else(tmp_path: Path) -> None:
    password, token = "correct horse: battery", "api-token-1c77e0d2"
    ui = {"auth": {"username": "ops", "password_hash": "${UI_HASH}"}, "tokens": {"ci": "${UI_TOKEN}", "off": "${NO:-}"}}
    env = {"UI_HASH": PasswordHasher(time_cost=1, memory_cost=1024).hash(password), "UI_TOKEN": token}
    with Bridge(tmp_path, start=["web"], ui=ui, env=env) as bridge:
        page = f"{bridge.url}/api/v1/lanes"

        def status(authorization: str | None, **more: str) -> int:
            headers = {**more, **({} if authorization is None else {"Authorization": authorization})}
            return requests.get(page, headers=headers, timeout=10).status_code

        def basic(username: str, word: str) -> str:
            return "Basic " + base64.b64encode(f"{username}:{word}".encode()).decode()

        for refused in (
            None,
            "",
            "Basic",
            "Basic !!!",
            "Basic " + base64.b64encode(b"\xff\xfe").decode(),
            basic("ops", "wrong"),
            basic("ops", ""),
            basic("admin", password),
            basic("", ""),
            f"Basic {password}",
            "Bearer",
            "Bearer ",
            "Bearer wrong",
            f"Bearer {password}",
            f"Digest {token}",
        ):
            assert status(refused) == 401, refused
        for accepted in (basic("ops", password), f"Bearer {token}", f"bearer  {token}"):
            assert status(accepted) == 200, accepted
            assert status(accepted, Host="bridge.example.com", **{"X-Forwarded-For": "203.0.113.7"}) == 200, accepted
        assert status(basic("ops", "wrong")) == 401  # remembering one login opens no other
        assert "WWW-Authenticate" in requests.get(page, timeout=5).headers
        assert requests.get(f"{bridge.url}/metrics", timeout=5).status_code == 401
        assert requests.get(f"{bridge.url}/healthz", timeout=5).status_code == 200
        replay = f"{bridge.url}/api/v1/deliveries/none/replay"
        assert requests.post(replay, json={}, timeout=5).status_code == 401
        assert (
            requests.post(replay, json={}, headers={"Authorization": f"Bearer {token}"}, timeout=5).status_code == 404
        )


# -- the read API


def test_a_list_is_read_page_by_page_newest_first(bridge: Bridge) -> None:
    posted = [bridge.post(alert()).json()["event"] for _ in range(7)]
    for kind in ("events", "incidents", "deliveries"):
        whole = bridge.every(kind)
        paged: list[dict[str, Any]] = []
        before = ""
        while before is not None and len(paged) < 20:
            page = bridge.get(f"{kind}?limit=3" + (f"&before={before}" if before else ""))
            assert set(page) >= {"items", "next"}
            assert len(page["items"]) <= 3
            paged += page["items"]
            before = page["next"]
        ids = [one["id"] for one in paged]
        assert ids == [one["id"] for one in whole][: len(ids)]
        assert ids == sorted(set(ids), reverse=True)
    assert [one["id"] for one in bridge.get("events?limit=7")["items"]] == posted[::-1]


@pytest.mark.parametrize("kind", ["events", "incidents", "deliveries", "audit", "silences"])
def test_a_page_before_what_is_no_id_is_a_400_and_not_the_first_page_again(bridge: Bridge, kind: str) -> None:
    response = requests.get(f"{bridge.url}/api/v1/{kind}?before=null", timeout=5)
    assert response.status_code == 400
    assert response.json()["error"] == "before is the id that the page before has as 'next', not 'null'"
    assert bridge.get(f"{kind}?before=")["items"] == bridge.get(kind)["items"]


def test_lists_have_what_the_design_promises(bridge: Bridge) -> None:
    title = alert()["title"]
    answer = bridge.deliver(alert(title))
    bridge.arrives(title)
    promised = {
        "events": {"id", "source", "received_at", "state", "reason"},
        "incidents": {
            *("id", "account", "series", "key", "state", "severity", "title", "rule", "upstream", "members"),
            *("opened_at", "resolved_at"),
        },
        "deliveries": {
            *("id", "incident", "account", "action", "state", "reason", "attempts", "created_at", "next_at", "eta_s"),
            "done_at",
        },
        "lanes": {
            *("account", "type", "rate", "tokens", "waiting", "oldest_wait_s", "paused_until", "parked"),
        },
        "rules": {"id"},
    }
    for kind, keys in promised.items():
        assert set(bridge.get(kind)["items"][0]) >= keys, kind
    incident = bridge.get(f"incidents/{bridge.outcome(answer)['incident']}")
    assert incident["members"] == [incident["members"][0] | {"source": "lab", "status": "firing"}]
    bridge.eventually(lambda: bridge.get(f"incidents/{incident['id']}")["state"] == "open")
    delivery = bridge.get(f"deliveries/{incident['deliveries'][0]['id']}")
    assert set(delivery) >= promised["deliveries"] | {"request"}
    assert set(delivery["attempts"][0]) >= {"at", "status", "reason", "duration_s", "response"}


def test_events_are_found_by_what_people_know_of_them(bridge: Bridge) -> None:
    event = bridge.deliver(alert("100% of _disk_ \\ used [x]", fingerprint="its own"))["event"]
    (incident,) = [one for one in bridge.every("incidents") if one["title"].startswith("100% of")]
    fingerprint = incident["members"][0]["fingerprint"]
    bridge.deliver(alert("100 of Xdisk used"))
    for wanted in (event, fingerprint, incident["key"], "100% of _d", "100% OF _disk_ \\ us"):
        found = requests.get(f"{bridge.url}/api/v1/events", params={"q": wanted}, timeout=5).json()["items"]
        assert [one["id"] for one in found] == [event], wanted
    for query in ({"source": "lab"}, {"outcome": "opened"}, {"state": "accepted"}, {"rule": "rest"}, {"since": "1h"}):
        found = requests.get(f"{bridge.url}/api/v1/events", params={**query, "limit": "500"}, timeout=5).json()["items"]
        assert event in {one["id"] for one in found}, query
    for query in ({"source": "none"}, {"outcome": "folded"}, {"state": "odd"}, {"rule": "none"}, {"since": "0s"}):
        found = requests.get(f"{bridge.url}/api/v1/events", params=query, timeout=5).json()["items"]
        assert found == [], query


@pytest.mark.parametrize("kind", ["events", "incidents", "deliveries"])
@pytest.mark.parametrize(
    "name", ["01ARZ3NDEKTSV4RRFFQ69G5FAV", "x" * 3000, "%00", "%ff%fe", "'%20OR%201=1--", "..", "%F0"]
)
def test_an_unknown_id_is_a_404_with_a_sentence(bridge: Bridge, kind: str, name: str) -> None:
    response = requests.get(f"{bridge.url}/api/v1/{kind}/{name}", timeout=5)
    assert response.status_code == 404
    assert response.json()["error"]


@pytest.mark.parametrize("limit", ["0", "501", "-1", "1.5", "abc", "", "²", "9" * 30])
def test_a_limit_that_is_none_is_a_400_with_a_sentence(bridge: Bridge, limit: str) -> None:
    response = requests.get(f"{bridge.url}/api/v1/events", params={"limit": limit}, timeout=5)
    assert response.status_code == 400
    assert response.json()["error"].startswith("limit is a whole number from 1 to 500")


@pytest.mark.parametrize("since", ["yesterday", "999999d", "99999999d", "0000-01-01", "0001-01-01T00:00+23:59", "²d"])
def test_a_time_that_is_none_or_long_ago_is_no_failure(bridge: Bridge, since: str) -> None:
    response = requests.get(f"{bridge.url}/api/v1/events", params={"since": since}, timeout=5)
    assert response.status_code in (200, 400)
    assert ("error" in response.json()) == (response.status_code == 400)


@pytest.mark.parametrize("value", ["%00", "%ff", "%ed%a0%80", "'", "%25%5f%5c", "%F0%9F%92%A9", "a" * 3000])
def test_odd_filters_find_nothing_and_are_no_failure(bridge: Bridge, value: str) -> None:
    for kind, names in {
        "events": ("q", "source", "rule", "outcome", "state"),
        "incidents": ("state", "account"),
        "deliveries": ("state", "account", "incident"),
    }.items():
        for name in names:
            response = requests.get(f"{bridge.url}/api/v1/{kind}?{name}={value}", timeout=5)
            assert response.status_code == 200, (kind, name)
        assert requests.get(f"{bridge.url}/api/v1/{kind}?before={value}", timeout=5).status_code in (200, 400), kind


# -- secrets


def test_no_secret_is_stored_logged_or_sent_on(bridge: Bridge) -> None:
    secrets = [*SECRETS.values(), "wrong-secret-e41f09", "cookie-secret-77ab21", "bearer-secret-9d3c00"]
    tool, query = SECRETS["TOOL_SECRET"], SECRETS["QUERY_SECRET"]
    pages = {
        "tool": {"headers": {"X-Tool-Token": tool, "Cookie": secrets[-2], "X-Trace": f"id={tool}"}},
        "query": {"params": {"token": query}, "headers": {"Authorization": f"Bearer {secrets[-1]}"}},
    }
    titles = []
    for source, options in pages.items():
        own = SECRETS[f"{source.upper()}_SECRET"]
        page = alert(f"secretive {source}", description=f"sent with {own}", labels={"token": own, own: "x"})
        titles.append(page["title"])
        accepted = bridge.post({**page, "source_secret": own, "deep": [{"token": own}]}, source, **options)
        assert accepted.status_code == 202
        assert bridge.post(f"not json {own}".encode(), source, **options).status_code == 400
        assert bridge.post(b"x" * MAX_BODY + own.encode(), source, **options).status_code == 413
    assert bridge.post(alert(), "tool", headers={"X-Tool-Token": "wrong-secret-e41f09"}).status_code == 401
    assert bridge.post(alert(), "query", params={"token": "wrong-secret-e41f09"}).status_code == 401
    for title in titles:
        bridge.arrives(title)
    told = [json.dumps(call.as_json()) for call in bridge.sandbox.calls.calls()]
    places = {"the ledger": _everything_in(bridge.ledger), "a request to an upstream": "".join(told)}
    places |= {str(file): file.read_bytes().decode("latin-1") for file in bridge.folder.rglob("*") if file.is_file()}
    assert "secretive tool" in places["the ledger"]
    assert "[redacted]" in places["the ledger"]
    found = {where: [one for one in secrets if one in text] for where, text in places.items()}
    assert {where: hits for where, hits in found.items() if hits} == {}


def _everything_in(ledger: Path) -> str:
    """Every cell of every table, unpacked where it is packed."""
    cells: list[str] = []
    with closing(sqlite3.connect(ledger)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                cells += [_unpacked(cell) if isinstance(cell, bytes) else str(cell) for cell in row]
    return "\n".join(cells)


def _unpacked(cell: bytes) -> str:
    try:
        return zlib.decompress(cell).decode("latin-1")
    except zlib.error:
        return cell.decode("latin-1")
