"""Standard Webhooks: signatures as the reference library makes them, and types that say whether something fires."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Library

from bridge.domain.alert import Alert, Status, Webhook
from bridge.domain.errors import SignatureError
from bridge.sources.base import NoAuth, SignatureAuth, Signs
from bridge.sources.standard_webhooks import StandardWebhooks
from tests.receiving import told_as_it_is

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
OLD = "whsec_" + base64.b64encode(b"an older secret of 24 b.").decode()
NEW = "whsec_" + base64.b64encode(b"a newer secret of 24 by.").decode()
BODY = '{"type": "backup.failed", "data": {"id": "bk_1", "name": "東京"}}'.encode()


def source(*secrets: str, tolerance: timedelta = timedelta(minutes=5)) -> StandardWebhooks:
    auth = SignatureAuth(kind="standard_webhooks", secrets=secrets or (OLD, NEW), tolerance=tolerance)
    return StandardWebhooks(name="sw", auth=auth)


def webhook_of(body: bytes = BODY, **headers: str) -> Webhook:
    named = {f"webhook-{name}": value for name, value in headers.items()}
    return Webhook(source="sw", headers={"content-type": "application/json", **named}, body=body, received_at=NOW)


def signed(secret: str = NEW, at: datetime = NOW, body: bytes = BODY, given: str = "msg_1") -> Webhook:
    """Signed by the reference library."""
    signature = Library(secret).sign(msg_id=given, timestamp=at, data=body.decode())
    return webhook_of(body, id=given, timestamp=str(int(at.timestamp())), signature=signature)


def alert_of(**body: Any) -> Alert:
    (reading,) = StandardWebhooks(name="sw", auth=NoAuth()).alerts_in(webhook_of(json.dumps(body).encode()))
    assert isinstance(reading, Alert)
    return reading


@pytest.mark.parametrize("secret", [OLD, NEW])
def test_every_secret_signs(secret: str) -> None:
    source().verify(signed(secret))


@given(body=st.text(max_size=200), given_id=st.from_regex(r"msg_[A-Za-z0-9]{1,20}", fullmatch=True))
def test_whatever_the_library_signs_is_accepted(body: str, given_id: str) -> None:
    content = body.encode("utf-8", "replace")
    source().verify(signed(body=content, given=given_id))


def test_what_we_sign_the_library_accepts() -> None:
    now = datetime.now(UTC)
    made = source()
    assert isinstance(made, Signs)
    proof = made.proof(SignatureAuth(kind="standard_webhooks", secrets=(NEW,)), BODY, now)
    Library(NEW).verify(BODY, dict(proof.headers))


def test_a_secret_without_prefix_or_padding_signs_too() -> None:
    bare = NEW.removeprefix("whsec_").rstrip("=")
    source(bare).verify(signed(NEW))


def test_one_right_signature_among_many_is_enough() -> None:
    held = signed().headers["webhook-signature"]
    stamp = str(int(NOW.timestamp()))
    source().verify(webhook_of(id="msg_1", timestamp=stamp, signature=f"v1,AAAA v1a,BBBB nonsense {held}"))
    with pytest.raises(SignatureError, match="webhook-signature wrong"):
        source().verify(webhook_of(id="msg_1", timestamp=stamp, signature=held.replace("v1,", "v2,")))


@pytest.mark.parametrize("change", ["id", "timestamp", "body", "signature"])
def test_whatever_is_changed_is_refused(change: str) -> None:
    parts = {name: signed().headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature")}
    body = BODY + b" " if change == "body" else BODY
    if change != "body":
        parts[change] = {"id": "msg_2", "timestamp": str(int(NOW.timestamp()) + 1), "signature": "v1,AAAA"}[change]
    with pytest.raises(SignatureError, match="webhook-signature wrong"):
        source().verify(webhook_of(body, **parts))


@pytest.mark.parametrize("missing", ["id", "timestamp", "signature"])
def test_without_one_of_the_headers_nothing_is_accepted(missing: str) -> None:
    parts = {name: signed().headers[f"webhook-{name}"] for name in ("id", "timestamp", "signature") if name != missing}
    with pytest.raises(SignatureError, match="missing"):
        source().verify(webhook_of(**parts))


@pytest.mark.parametrize("seconds", [301, -301])
def test_a_stale_time_is_refused_in_both_directions(seconds: int) -> None:
    with pytest.raises(SignatureError, match="too old or from the future"):
        source().verify(signed(at=NOW - timedelta(seconds=seconds)))
    source(tolerance=timedelta(minutes=6)).verify(signed(at=NOW - timedelta(seconds=seconds)))


@pytest.mark.parametrize("seconds", ["yesterday", "-1", "1e9", "99999999999999999999", "1.5"])
def test_a_time_that_is_none_is_refused(seconds: str) -> None:
    with pytest.raises(SignatureError, match="no time"):
        source().verify(webhook_of(id="msg_1", timestamp=seconds, signature="v1,AAAA"))


@pytest.mark.parametrize("secret", ["whsec_", "", "whsec_!!!"])
def test_a_secret_that_is_none_never_matches(secret: str) -> None:
    with pytest.raises(SignatureError, match="no secret"):
        source(secret).verify(signed())


def test_the_id_names_the_delivery() -> None:
    made = source()
    assert made.delivery_id(signed()) == made.delivery_id(signed(at=NOW + timedelta(minutes=1))) == "msg_1"
    assert made.delivery_id(webhook_of()) is None


def by_svix(webhook: Webhook, **more: str) -> Webhook:
    """The same request under the names that Svix gives its headers, with others beside them."""
    own = {name.replace("webhook-", "svix-"): value for name, value in webhook.headers.items()}
    return replace(webhook, headers={**own, **{name.replace("_", "-"): value for name, value in more.items()}})


def test_svix_signs_under_names_of_its_own() -> None:
    made = source()
    made.verify(by_svix(signed()))
    assert made.delivery_id(by_svix(signed())) == made.delivery_id(signed()) == "msg_1"
    with pytest.raises(SignatureError, match="svix-signature wrong"):
        made.verify(by_svix(signed(body=b"{}"), svix_id="msg_2"))
    with pytest.raises(SignatureError, match="svix-timestamp too old"):
        made.verify(by_svix(signed(at=NOW - timedelta(minutes=6))))


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_the_two_families_of_names_never_make_one_proof(name: str) -> None:
    headers = dict(signed().headers)
    headers[name.replace("webhook-", "svix-")] = headers.pop(name)
    with pytest.raises(SignatureError, match="missing"):
        source().verify(replace(signed(), headers=headers))


def test_an_id_that_nobody_signed_makes_no_new_delivery() -> None:
    made, repeated = source(), by_svix(signed(), webhook_id="msg_2")
    made.verify(repeated)
    assert made.delivery_id(repeated) == "msg_1"
    whole = replace(signed(), headers={**signed().headers, "svix-id": "msg_2"})
    assert made.delivery_id(whole) == "msg_1"
    with pytest.raises(SignatureError, match="webhook-signature wrong"):
        made.verify(by_svix(signed(), webhook_id="msg_2", webhook_timestamp="1", webhook_signature="v1,AAAA"))


def test_an_id_alone_names_the_delivery_where_a_shared_secret_proves_the_sender() -> None:
    made = StandardWebhooks(name="sw", auth=NoAuth())
    for name in ("webhook-id", "svix-id"):
        assert made.delivery_id(replace(webhook_of(), headers={name: "msg_1"})) == "msg_1"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("backup.failed", Status.FIRING),
        ("backup.recovered", Status.RESOLVED),
        ("backup.failed.v1", Status.FIRING),
        ("backup.recovered.v1", Status.RESOLVED),
        ("incident.acknowledged", Status.ACKNOWLEDGED),
        ("incident.not_resolved", Status.FIRING),
        ("contact.created", Status.FIRING),
        ("anything", Status.FIRING),
    ],
)
def test_the_last_word_of_the_type_tells_the_status(kind: str, status: Status) -> None:
    assert alert_of(type=kind, data={"id": "x"}).status is status


@given(key=st.text(st.characters(categories=("L", "N")), min_size=1, max_size=30).filter(told_as_it_is))
def test_failure_and_recovery_share_a_fingerprint_but_no_other_kind_of_thing_does(key: str) -> None:
    failed = alert_of(type="backup.failed", data={"id": key})
    assert failed.fingerprint == alert_of(type="backup.recovered", data={"id": key}).fingerprint
    assert failed.fingerprint == alert_of(type="backup.recovered.v1", data={"id": key}).fingerprint
    assert failed.fingerprint != alert_of(type="invoice.overdue", data={"id": key}).fingerprint
    assert failed.fingerprint != alert_of(type="backup.failed", data={"id": key + "x"}).fingerprint


def test_the_generic_shape_is_read_as_it_is() -> None:
    alert = alert_of(title="Disk full", fingerprint="disk-1", severity="critical")
    assert (alert.title, alert.fingerprint, alert.source_type) == ("Disk full", "key:disk-1", "standard_webhooks")
