"""Standard Webhooks: any sender that signs as https://www.standardwebhooks.com says (Svix and its users, and others).

In: one request in the shape of the generic source, or `{type, timestamp, data}` around it. Out: its Readings.

Facts: SOURCES.md section 13, which cites the specification. What is decided here:

- The payload is read as the generic source reads it, `fields:` included; `data` is looked into. Without a title the
  `type` is one; without a status its last word tells (`backup.failed`, `incident.resolved`, `backup.failed.v1`). The
  words before it stand in the fingerprint, for an id may name a backup and an invoice.
- A signature counts when any of those in the header is right under any of the secrets. One of another version than v1
  says nothing. The key is what base64 stands for behind `whsec_`.
- Svix sends the same three under names of its own, svix-id, svix-timestamp and svix-signature, unless its customer pays
  for the plain ones (https://docs.svix.com/receiving/verifying-payloads/how-manual; read 2026-11). All three of one
  family make a proof, never some of either: else an id that nobody signed could make a new delivery of an old one.
- `webhook-id` is the delivery id: it is signed, and the same over the sender's retries.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import ClassVar

from bridge.domain.alert import Alert, Reading, Webhook
from bridge.domain.errors import SignatureError
from bridge.sources.absent import key_of
from bridge.sources.base import Auth, Expressions, Proof, Setting, SignatureAuth
from bridge.sources.generic import FIELDS, readings_in, stem_of
from bridge.sources.signatures import SIGNATURES_MAX, is_one_of, verify_shared
from bridge.sources.texts import digest_of, identity

SIGNATURE = "standard_webhooks"

_ID = "webhook-id"
_TIMESTAMP = "webhook-timestamp"
_SIGNATURE = "webhook-signature"
_FAMILIES = ((_ID, _TIMESTAMP, _SIGNATURE), ("svix-id", "svix-timestamp", "svix-signature"))
_SECONDS = re.compile(r"[0-9]{1,11}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardWebhooks:
    """A sender that posts here and signs as Standard Webhooks says, or has any shared secret."""

    type: ClassVar[str] = "standard_webhooks"
    signature_keys: ClassVar[frozenset[str]] = frozenset({SIGNATURE})
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType({"fields": FIELDS})
    name: str
    auth: Auth
    fields: Expressions | None = None

    def verify(self, webhook: Webhook) -> None:
        """Check the signature over id, time and raw body, or the shared secret. Raises SignatureError."""
        if isinstance(self.auth, SignatureAuth) and self.auth.kind == SIGNATURE:
            _verify(self.auth, webhook)
        else:
            verify_shared(self.auth, webhook)

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """Every alert of the request, in its order. Raises DecodeError."""
        readings = readings_in(self.name, self.type, webhook, self.fields, titled_by="type")
        if self.fields is not None and "fingerprint" in self.fields.names:
            return readings
        return tuple(_apart(reading) for reading in readings)

    def delivery_id(self, webhook: Webhook) -> str | None:
        """The webhook-id, or svix-id: of the family that is the proof."""
        named, _, _ = _family(webhook)
        key = key_of(webhook.headers.get(named))
        return None if key is None else identity(key)

    @staticmethod
    def proof(auth: SignatureAuth, body: bytes, now: datetime) -> Proof:
        """The three headers, under an id that the body and the second give."""
        seconds = str((now - _EPOCH) // timedelta(seconds=1))
        given = f"msg_{digest_of([seconds, body.decode('latin-1')])}"
        signature = next(iter(_signatures(auth.secrets, given, seconds, body)), "")
        return Proof(headers={_ID: given, _TIMESTAMP: seconds, _SIGNATURE: f"v1,{signature}"})


def _apart(reading: Reading) -> Reading:
    """With the type's stem in the fingerprint of what came as `{type, data}`."""
    stem = stem_of(reading.payload.get("type")) if isinstance(reading, Alert) else ""
    if not isinstance(reading, Alert) or not stem or not isinstance(reading.payload.get("data"), dict):
        return reading
    return replace(reading, fingerprint=identity("event", stem, reading.fingerprint))


def _family(webhook: Webhook) -> tuple[str, str, str]:
    """The names of the headers that are the proof: the first whole family, else the first with an id, else the first.

    Where a shared secret proves the sender, an id may come alone.
    """
    headers = webhook.headers
    whole = [names for names in _FAMILIES if all(headers.get(name, "").strip() for name in names)]
    begun = [names for names in _FAMILIES if headers.get(names[0], "").strip()]
    return next(iter((*whole, *begun, *_FAMILIES)))


def _verify(auth: SignatureAuth, webhook: Webhook) -> None:
    names = _family(webhook)
    given, seconds, held = (webhook.headers.get(name, "").strip() for name in names)
    if not (given and seconds and held):
        raise SignatureError("{}, {} or {} missing".format(*names))
    if not _SECONDS.fullmatch(seconds):
        raise SignatureError(f"{names[1]} is no time")
    right = list(_signatures(auth.secrets, given, seconds, webhook.body))
    if not right:
        raise SignatureError("no secret that can sign")
    found = False
    for one in held.split(" ")[:SIGNATURES_MAX]:
        version, _, signature = one.partition(",")
        found = (is_one_of(signature, right) and version == "v1") or found
    if not found:
        raise SignatureError(f"{names[2]} wrong")
    if abs(webhook.received_at - (_EPOCH + timedelta(seconds=int(seconds)))) > auth.tolerance:
        raise SignatureError(f"{names[1]} too old or from the future")


def _signatures(secrets: Iterable[str], given: str, seconds: str, body: bytes) -> Iterable[str]:
    """The signature under each secret that is one."""
    text = f"{given}.{seconds}.".encode("utf-8", "surrogatepass") + body
    for secret in secrets:
        if key := _key(secret):
            yield base64.b64encode(hmac.digest(key, text, "sha256")).decode("ascii")


def _key(secret: str) -> bytes:
    """The bytes behind `whsec_`; none for what is no base64. Padding may be left out, as the libraries allow."""
    encoded = secret.strip().removeprefix("whsec_")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""
