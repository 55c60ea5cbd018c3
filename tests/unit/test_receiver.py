"""What senders are answered: refusals with status and sentence, a 401 without one, repeats with the first event."""

import base64
import gzip
import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import structlog

from bridge.adapters.ledger import Receipt
from bridge.domain.alert import Webhook
from bridge.domain.errors import Unverifiable
from bridge.entrypoints.web.redacting import without_secrets
from bridge.sources import SOURCES
from bridge.sources.base import QueryAuth, SignatureAuth, Signs
from tests.receiving import Desk
from tests.unit.test_source_aws_sns import TOPIC, message, pem_of, rsa, signed, webhook_of

ZENDESK_SECRET = "zendesk-secret-5b7720cc14"
STANDARD_SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four.").decode()
BASE64_SECRET = "q7+Zk/9x+Vb2Lw=="
JSON = {"Content-Type": "application/json"}
TICKET = json.dumps({"ticket_id": "7", "title": "Printer on fire", "status": "Open"}).encode()
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_URL = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-ffff.pem"


def certificate(url: str) -> bytes | None:
    """Amazon's, for the address of the tests' messages; its other host never answers."""
    if url == OTHER_URL:
        raise Unverifiable("the signing certificate could not be fetched: it took too long")
    return pem_of(KEY, begins=datetime.now(UTC) - timedelta(days=1))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    sources = {
        "lab": {"type": "generic", "auth": "none"},
        "zendesk": {"type": "zendesk", "auth": {"signing_secret": "${ZENDESK_SECRET}"}},
        "open-zendesk": {"type": "zendesk", "auth": "none"},
        "events": {"type": "cloudevents", "auth": {"bearer": "${TOOL_SECRET}"}},
        "sw": {"type": "standard_webhooks", "auth": {"standard_webhooks": "${STANDARD_SECRET}"}},
        "aws": {"type": "aws_sns", "auth": "sns_signature", "topics": TOPIC},
        "open-aws": {"type": "aws_sns", "auth": "none"},
        "splunk": {"type": "splunk", "auth": {"query": "token", "secret": "${BASE64_SECRET}"}},
        "gcp": {"type": "gcp_monitoring", "auth": {"basic": {"username": "google", "password": "${TOOL_SECRET}"}}},
    }
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ZENDESK_SECRET", ZENDESK_SECRET)
        environment.setenv("TOOL_SECRET", "tool-secret-6d1f0c9b7a")
        environment.setenv("STANDARD_SECRET", STANDARD_SECRET)
        environment.setenv("BASE64_SECRET", BASE64_SECRET)
        with Desk(tmp_path_factory.mktemp("desk"), sources, certificate=certificate) as opened:
            yield opened


def from_zendesk(body: bytes, at: datetime, secret: str = ZENDESK_SECRET, **more: str) -> dict[str, str]:
    stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hmac.new(secret.encode(), stamp.encode() + body, hashlib.sha256).digest()
    return {
        **JSON,
        "X-Zendesk-Webhook-Signature": base64.b64encode(digest).decode(),
        "X-Zendesk-Webhook-Signature-Timestamp": stamp,
        **more,
    }


def now_signed(**changes: Any) -> bytes:
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return json.dumps(signed(message(Timestamp=at, **changes), KEY)).encode()


# -- refusals


@pytest.mark.parametrize(
    ("headers", "check"),
    [
        (JSON, "signature or its timestamp missing"),
        (from_zendesk(TICKET, datetime.now(UTC), "another"), "signature wrong"),
        (from_zendesk(TICKET, datetime(2026, 1, 5, tzinfo=UTC)), "signature too old or from the future"),
    ],
    ids=["missing", "wrong", "stale"],
)
def test_a_401_says_nothing_and_the_log_says_which_check_failed(
    headers: dict[str, str], check: str, desk: Desk
) -> None:
    before = len(desk.counted)
    with structlog.testing.capture_logs() as lines:
        answer = desk.post("zendesk", TICKET, headers)
    assert (answer.status_code, answer.get_json()) == (401, {"error": "unauthorized"})
    (line,) = lines
    assert (line["event"], line["source"], line["check"]) == ("webhook_rejected", "zendesk", check)
    assert desk.counted[before:] == [("zendesk", "unauthorized")]


def test_a_webhook_for_a_source_there_is_none_of_is_in_the_log_by_its_name_and_counted_without(desk: Desk) -> None:
    before = len(desk.counted)
    with structlog.testing.capture_logs() as lines:
        answer = desk.post("zendesk-emea", TICKET, JSON)
        desk.post("%1b[31m" + "x" * 100, TICKET, JSON)
    assert (answer.status_code, answer.get_json()) == (404, {"error": "there is no source 'zendesk-emea' here"})
    first, second = lines
    assert (first["event"], first["source"], first["reason"], first["log_level"]) == (
        "webhook_rejected",
        "zendesk-emea",
        "unknown_source",
        "warning",
    )
    assert second["source"].isprintable()
    assert len(second["source"]) < 90
    assert desk.counted[before:] == [("", "unknown_source")] * 2


def test_a_sender_that_waits_to_be_asked_for_its_password_is_asked(desk: Desk) -> None:
    body = b'{"incident": {"incident_id": "0.abc", "state": "open"}, "version": "1.2"}'
    refused = desk.post("gcp", body, JSON)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")
    credentials = base64.b64encode(b"google:tool-secret-6d1f0c9b7a").decode()
    assert desk.post("gcp", body, {**JSON, "Authorization": f"Basic {credentials}"}).status_code == 202


def test_nobody_is_asked_for_a_password_where_there_is_none(desk: Desk) -> None:
    assert "WWW-Authenticate" not in desk.post("zendesk", TICKET, JSON).headers
    assert "WWW-Authenticate" not in desk.post("events", b"{}", JSON).headers


@pytest.mark.parametrize("written", [BASE64_SECRET, quote(BASE64_SECRET), quote(BASE64_SECRET, safe="")])
def test_a_secret_in_an_address_proves_its_sender_whether_its_plus_is_escaped_or_not(written: str, desk: Desk) -> None:
    answer = desk.client.post(f"/webhooks/splunk?token={written}", data=b'{"search_name": "x"}', headers=JSON)
    assert answer.status_code == 202
    assert desk.client.post("/webhooks/splunk?token=q7+Zk", data=b"{}", headers=JSON).status_code == 401


@pytest.mark.parametrize(
    ("source", "body", "sentence"),
    [
        ("open-zendesk", b"<ticket><id>7</id></ticket>", "looks like XML or HTML; choose JSON"),
        ("open-zendesk", b"", "the body is empty"),
        ("lab", b'{"title": "x', "the body is no JSON"),
        ("open-aws", b"not raw", "the body is no JSON"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_sentence_and_kept(
    source: str, body: bytes, sentence: str, desk: Desk
) -> None:
    answer = desk.post(source, body, JSON)
    assert answer.status_code == 400
    assert sentence in answer.get_json()["error"]
    event = desk.event(answer)
    assert (event["state"], event["body"]) == ("rejected", body.decode())


@pytest.mark.parametrize("media_type", ["text/plain; charset=UTF-8", "application/xml", "", "application/octet-stream"])
def test_a_wrong_content_type_is_no_reason_to_lose_a_page(media_type: str, desk: Desk) -> None:
    answer = desk.post("lab", b'{"title": "typed wrongly"}', {"Content-Type": media_type})
    assert answer.status_code == 202
    assert answer.get_json()["alerts"] == 1


def test_a_packed_body_is_refused(desk: Desk) -> None:
    answer = desk.post("lab", gzip.compress(b'{"title": "x"}'), {**JSON, "Content-Encoding": "gzip"})
    assert answer.status_code == 415
    assert "Content-Encoding" in answer.get_json()["error"]


def test_a_certificate_that_cannot_be_had_now_asks_the_sender_to_come_again(desk: Desk) -> None:
    with structlog.testing.capture_logs() as lines:
        answer = desk.post("aws", now_signed(SigningCertURL=OTHER_URL), {"Content-Type": "text/plain"})
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) < 60
    assert lines[0]["event"] == "sender_unverifiable"
    assert desk.post("aws", now_signed(), {"Content-Type": "text/plain"}).status_code == 202
    assert desk.post("aws", now_signed(TopicArn=TOPIC + "x"), {"Content-Type": "text/plain"}).status_code == 401


# -- asking first


def test_a_handshake_of_cloudevents_is_answered(desk: Desk) -> None:
    asked = {"WebHook-Request-Origin": "emitter.example.com", "WebHook-Request-Rate": "120"}
    answer = desk.client.options("/webhooks/events", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["WebHook-Allowed-Origin"] == "emitter.example.com"
    assert answer.headers["WebHook-Allowed-Rate"] == "*"
    assert answer.headers["Allow"] == "OPTIONS, POST"


def test_others_hear_what_may_be_sent(desk: Desk) -> None:
    answer = desk.client.options("/webhooks/lab", headers={"WebHook-Request-Origin": "emitter.example.com"})
    assert (answer.status_code, answer.headers["Allow"]) == (200, "OPTIONS, POST")
    assert "WebHook-Allowed-Origin" not in answer.headers
    assert desk.client.options("/webhooks/nobody").status_code == 404


# -- repeats

REPEATS: list[tuple[str, bytes, dict[str, str]]] = [
    ("lab", b'{"title": "again"}', {"Idempotency-Key": "k-1"}),
    ("open-zendesk", TICKET, {"X-Zendesk-Webhook-Invocation-Id": "01H"}),
    ("open-aws", json.dumps(message()).encode(), {"x-amz-sns-message-id": "m-1"}),
    (
        "events",
        b'{"specversion": "1.0", "source": "/a", "id": "1", "type": "x.y", "data": {"title": "a"}}',
        {"Authorization": "Bearer tool-secret-6d1f0c9b7a"},
    ),
]


@pytest.mark.parametrize(("source", "body", "headers"), REPEATS, ids=[row[0] for row in REPEATS])
def test_a_repeat_of_one_delivery_is_answered_with_the_first_event(
    source: str, body: bytes, headers: dict[str, str], desk: Desk
) -> None:
    first, again = (desk.post(source, body, {**JSON, **headers}) for _ in range(2))
    assert first.status_code == again.status_code == 202
    assert again.get_json() == {**first.get_json(), "duplicate": True}
    assert "duplicate" not in first.get_json()


def test_without_a_delivery_id_the_same_body_is_another_event(desk: Desk) -> None:
    first, again = (desk.post("lab", b'{"title": "twice"}', JSON).get_json() for _ in range(2))
    assert first["event"] != again["event"]


@pytest.mark.parametrize(("body", "status"), [(TICKET, 202), (b"<ticket/>", 400)])
def test_an_event_has_the_ledgers_time_and_its_signature_is_held_against_this_hosts(
    body: bytes, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZENDESK_SECRET", ZENDESK_SECRET)
    ahead = timedelta(hours=1)
    with Desk(tmp_path, {"z": {"type": "zendesk", "auth": {"signing_secret": "${ZENDESK_SECRET}"}}}) as desk:
        desk.ledger_ahead = ahead
        answer = desk.post("z", body, from_zendesk(body, datetime.now(UTC)))
        received_at = datetime.fromisoformat(desk.event(answer)["received_at"])
    assert answer.status_code == status
    assert abs(received_at - ahead - datetime.now(UTC)) < timedelta(minutes=1)


def test_one_id_at_two_sources_is_two_deliveries(tmp_path: Path) -> None:
    sources = {name: {"type": "generic", "auth": "none"} for name in ("one", "two")}
    with Desk(tmp_path, sources) as desk:
        answers = [desk.post(name, b'{"title": "x"}', {**JSON, "Idempotency-Key": "k"}).get_json() for name in sources]
    assert answers[0]["event"] != answers[1]["event"]
    assert not any("duplicate" in one for one in answers)


@pytest.mark.parametrize(("age", "known"), [(timedelta(days=6, hours=23), True), (timedelta(days=91), False)])
def test_repeats_are_known_for_seven_days_however_short_history_is_kept(
    age: timedelta, known: bool, tmp_path: Path
) -> None:
    def older(receipt: Receipt) -> Receipt:
        return replace(receipt, event={**receipt.event, "received_at": receipt.event["received_at"] - age})

    history = timedelta(days=1) if known else timedelta(days=90)
    with Desk(tmp_path, {"lab": {"type": "generic", "auth": "none"}}, noted=older) as desk:
        first = desk.post("lab", b'{"title": "x"}', {**JSON, "Idempotency-Key": "k"}).get_json()
        desk.ledger.pruned(timedelta(hours=1), history)
        again = desk.post("lab", b'{"title": "x"}', {**JSON, "Idempotency-Key": "k"}).get_json()
    assert (again.get("duplicate", False), again["event"] == first["event"]) == (known, known)


# -- what vendors sign, `incident-bridge send` signs too

SIGNING = sorted((kind, key) for kind, made in SOURCES.items() for key in made.signature_keys)


@pytest.mark.parametrize(("kind", "key"), SIGNING)
def test_every_vendor_signature_can_be_made_as_the_vendor_makes_it(kind: str, key: str) -> None:
    auth = SignatureAuth(kind=key, secrets=(STANDARD_SECRET, "another-secret-7c1d"))
    made = SOURCES[kind]
    assert issubclass(made, Signs), f"{kind} has no proof()"
    webhook = webhook_of(b'{"title": "x"}')
    now = datetime.now(UTC)
    proof = made.proof(auth, webhook.body, now)
    headers = {**webhook.headers, **{name.lower(): value for name, value in proof.headers.items()}}
    made(name="s", auth=auth).verify(replace(webhook, headers=headers, query=proof.query, received_at=now))
    assert STANDARD_SECRET not in repr(proof)


def test_a_header_that_repeats_the_secret_of_the_address_is_not_stored() -> None:
    auth = QueryAuth(parameter="token", secrets=("q+secret/zzz=",))
    headers = {
        "x-original-url": "/webhooks/q?token=q%2Bsecret/zzz%3D",
        "x-plain": "q+secret/zzz=",
        "x-copy": "Basic YTpi",
        "x-kept": "50% of it",
    }
    webhook = Webhook(source="q", headers=headers, body=b"{}", received_at=datetime.now(UTC))
    source: Any = SOURCES["generic"](name="q", auth=auth)
    assert without_secrets(source, webhook).headers == {"x-kept": "50% of it"}


SPELLED = 'pa+ss/wo"rd\\ 4ü'


@pytest.mark.parametrize(
    "spelled",
    [
        SPELLED,
        json.dumps(SPELLED)[1:-1],
        json.dumps(SPELLED, ensure_ascii=False)[1:-1],
        json.dumps(SPELLED)[1:-1].replace("/", "\\/"),
        json.dumps(SPELLED)[1:-1].replace("+", "\\u002B").replace('\\"', "\\u0022"),
        quote(SPELLED),
        quote(SPELLED, safe=""),
        quote_plus(SPELLED),
        quote(SPELLED).replace("%2B", "%2b").replace("%C3%BC", "%c3%bc"),
        quote_plus(json.dumps(SPELLED)[1:-1].replace("/", "\\/")),
    ],
)
def test_a_secret_is_not_stored_however_a_body_spells_it(spelled: str) -> None:
    source: Any = SOURCES["generic"](name="q", auth=QueryAuth(parameter="token", secrets=(SPELLED,)))
    content = f"before {spelled} between {spelled}, after".encode()
    webhook = Webhook(source="q", headers={}, body=content, received_at=datetime.now(UTC))
    assert without_secrets(source, webhook).body == b"before [redacted] between [redacted], after"


def test_a_body_in_which_a_secret_was_spelled_as_json_can_still_be_read() -> None:
    said = {"token": SPELLED, "url": f"https://here/?t={SPELLED}&n=1", "ends": f"{SPELLED}\\"}
    source: Any = SOURCES["generic"](name="q", auth=QueryAuth(parameter="token", secrets=(SPELLED,)))
    webhook = Webhook(source="q", headers={}, body=json.dumps(said).encode(), received_at=datetime.now(UTC))
    assert json.loads(without_secrets(source, webhook).body) == {
        "token": "[redacted]",
        "url": "https://here/?t=[redacted]&n=1",
        "ends": "[redacted]\\",
    }


@pytest.mark.parametrize("secret", ["312800", "-12.5e10"])
@pytest.mark.parametrize(
    ("body", "stored"),
    [
        ('{"id": 9S, "date": 17953S000, "at": "17953S000"}', '{"id": 9S, "date": 17953S000, "at": "17953S000"}'),
        ('{"token":S,"pins":[S, S]}', '{"token":0,"pins":[0, 0]}'),
        ('{"token": "S", "url": "/x?t=S&n=1"}', '{"token": "0", "url": "/x?t=0&n=1"}'),
        ('{"text": "\\u0022S\\u0022 xS."}', '{"text": "\\u00220\\u0022 x0."}'),
        ("body=%7B%22token%22%3A%22S%22%7D&t=S", "body=%7B%22token%22%3A%220%22%7D&t=0"),
    ],
)
def test_a_secret_of_digits_is_not_stored_and_takes_no_number_apart(secret: str, body: str, stored: str) -> None:
    source: Any = SOURCES["generic"](name="q", auth=QueryAuth(parameter="token", secrets=(secret,)))
    content = body.replace("S", secret).encode()
    webhook = Webhook(source="q", headers={}, body=content, received_at=datetime.now(UTC))
    assert without_secrets(source, webhook).body.decode() == stored.replace("S", secret)


def test_a_number_that_holds_the_digits_of_a_secret_stays_in_headers_and_query() -> None:
    source: Any = SOURCES["generic"](name="q", auth=QueryAuth(parameter="token", secrets=("312800",)))
    webhook = Webhook(
        source="q",
        headers={"x-id": "13128005", "x-copy": "312800", "x-from": "?t=312800", "x-quoted": "%22312800%22"},
        body=b"",
        received_at=datetime.now(UTC),
        query={"token": "312800", "monitor": "13128005", "note": "(312800)"},
    )
    safe = without_secrets(source, webhook)
    assert safe.body == b"monitor=13128005"
    assert dict(safe.headers) == {"x-id": "13128005", "content-type": "application/x-www-form-urlencoded"}


def test_an_alert_whose_times_hold_the_digits_of_the_secret_is_taken(tmp_path: Path) -> None:
    sources = {"dd": {"type": "datadog", "auth": {"query": "token", "secret": "${PIN}"}}}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PIN", "312800")
        with Desk(tmp_path, sources) as desk:
            body = b'{"title": "[Triggered] x", "id": 7000000000000000001, "date": 1795312800000, "said": 312800}'
            answer = desk.client.post("/webhooks/dd?token=312800", data=body, headers=JSON)
            assert answer.status_code == 202
            event = desk.event(answer)
    assert "1795312800000" in event["body"]
    assert '"said": 0' in event["body"]
