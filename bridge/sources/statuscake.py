"""StatusCake webhooks: a form, or the same names in the address of the webhook or in JSON.

In: one change of one test. Out: one Alert.

Facts: SOURCES.md sections 1 and 11, and https://www.statuscake.com/kb/knowledge-base/how-to-use-the-web-hook-url/
(fields, Token, names in the address; read 2026-11). What is decided here:

- Fingerprint: TestID; older bodies have none: name and URL.
- Status: Up is resolved, everything else fires. No time, no episode, no severity: StatusCake sends none, so arrival
  order decides.
- `auth: {token}`: the field Token, or the parameter of that name in the address, is md5(username in lower case + API
  key), in hexadecimal; the setting holds that very text. The token is left out of the payload.
- StatusCake has no id of a delivery.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Reading, Status, Webhook
from bridge.domain.errors import DecodeError, SignatureError
from bridge.sources.base import Proof, SignatureAuth
from bridge.sources.body import object_in
from bridge.sources.fields import Fields, fields_of, spelled
from bridge.sources.generic import reading_anyway
from bridge.sources.signatures import SharedSecret, is_one_of, verify_shared
from bridge.sources.texts import identity, layered_labels, line, link_of, links_of, paragraphs, tag_pairs

_TAGS_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCake(SharedSecret):
    """A StatusCake account that posts here, known by its Token or by any shared secret."""

    type: ClassVar[str] = "statuscake"
    signature_keys: ClassVar[frozenset[str]] = frozenset({"token"})

    def verify(self, webhook: Webhook) -> None:
        """Check the Token, or the shared secret. Raises SignatureError."""
        if isinstance(self.auth, SignatureAuth) and self.auth.kind == "token":
            _verify_token(self.auth, webhook)
        else:
            verify_shared(self.auth, webhook)

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one alert of a change; an object that names no test is read as the generic source would."""
        payload = {key: value for key, value in object_in(webhook, form_anyway=True).items() if spelled(key) != "token"}
        fields = fields_of(payload, wrappers=frozenset())
        if fields.key("testid") is None and fields.text("name", "url") is None:
            return (reading_anyway(self.name, self.type, payload),)
        return (_alert(self.name, payload, fields),)

    @staticmethod
    def proof(auth: SignatureAuth, body: bytes, now: datetime) -> Proof:  # noqa: ARG004 - the protocol's parameters
        """The token, in the address, where it changes no body."""
        return Proof(query={"Token": auth.secrets[0]})


def _verify_token(auth: SignatureAuth, webhook: Webhook) -> None:
    try:
        named = {spelled(key): value for key, value in object_in(webhook, form_anyway=True).items()}
    except DecodeError:  # a body nobody can read proves nothing; the address may
        named = {}
    given = named.get("token") or next((value for key, value in webhook.query.items() if spelled(key) == "token"), None)
    if not isinstance(given, str):
        raise SignatureError("Token missing")
    if not is_one_of(given.strip(), auth.secrets):
        raise SignatureError("Token wrong")


def _alert(source: str, payload: Mapping[str, Any], fields: Fields) -> Alert:
    word = (fields.text("status") or "").lower()
    status = Status.RESOLVED if word == "up" else Status.FIRING
    test = fields.key("testid")
    name = line(fields.text("name", "url") or "") or f"Test {test or 'without a name'}"
    return Alert(
        source=source,
        source_type=StatusCake.type,
        fingerprint=identity("test", test) if test else identity("name", name, fields.key("url") or ""),
        status=status,
        title=line(f"{name} is {'up' if status is Status.RESOLVED else 'down'}"),
        description=paragraphs(_description(fields)),
        labels=_labels(fields, name),
        links=links_of(link_of(name, fields.text("url"))),
        payload=payload,
    )


def _description(fields: Fields) -> str:
    code = fields.text("statuscode", "code")
    if code is None:
        return ""
    return "no answer in time" if code == "0" else f"status code {code}"


def _labels(fields: Fields, name: str) -> Mapping[str, str]:
    tags = fields.text("tags") or ""
    return layered_labels(
        tag_pairs(tags.split(",", _TAGS_MAX)[:_TAGS_MAX]),
        (
            ("test", name),
            ("test_id", fields.text("testid")),
            ("url", fields.text("url")),
            ("ip", fields.text("ip")),
            ("method", fields.text("method")),
            ("status_code", fields.text("statuscode", "code")),
        ),
    )
