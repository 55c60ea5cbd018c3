"""CloudEvents 1.0 over HTTP: structured, batch and binary mode.

In: one event, a batch of them, or the data alone with its attributes in `ce-*` headers. Out: one Reading per event.

Facts: SOURCES.md section 13, which cites cloudevents/spec (http-webhook.md, json-format.md). What is decided here:

- The data is read as the generic source reads an object; text is the description. Titles, best first: the data's own,
  the event's subject, its type. Without a status in the data the last word of the type tells
  (`com.example.alert.resolved`, and with a version `com.example.alert.resolved.v1`), else the event fires.
- The fingerprint is the event's source, its type up to that word, and what the generic source makes of the data;
  data that names no problem (no id, no title) is known by the event's subject, else by its content.
- The data of an Alertmanager's alert begins its episode at `startsAt`.
- source and id name the delivery; a batch is named by all of its events.
- payload is the event as an object with its data decoded, whichever mode it came in.
- A content type of CloudEvents' own means that the event is in the body, whatever headers repeat of it. In binary mode
  the headers hold it: quoted perhaps, then percent-encoded
  (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md, 3., 3.1.3.2, 3.2.3;
  read 2026-11).
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from urllib.parse import unquote

from bridge.domain.alert import Alert, Notice, Reading, Webhook
from bridge.domain.errors import DecodeError
from bridge.domain.text import storable
from bridge.sources.absent import key_of, text_of
from bridge.sources.body import block_at, json_in, kind_of, says_anything, value_in
from bridge.sources.fields import words
from bridge.sources.generic import reading_anyway, stem_of
from bridge.sources.signatures import SharedSecret
from bridge.sources.texts import digest_of, identity, instant_of, layered_labels, scalar_pairs

EVENTS_MAX = 5_000  # of one batch; as the generic source's

_PREFIX = "ce-"
_STRUCTURED = "application/cloudevents"  # with +json, -batch+json and the like behind it
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_ORIGIN = "webhook-request-origin"
_RATE = "webhook-request-rate"
_HOST = re.compile(r"[A-Za-z0-9.:_/-]{1,255}")
_OWN = words("id source specversion type subject time datacontenttype dataschema data data_base64")


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvents(SharedSecret):
    """A producer of CloudEvents that posts here, known by a bearer token or any other shared secret."""

    type: ClassVar[str] = "cloudevents"

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The reading of each event, in its order. Raises DecodeError."""
        given = _given(webhook)
        if not isinstance(given, list):
            return (self._reading(given, "the event"),)
        if len(given) > EVENTS_MAX:
            raise DecodeError("$", f"{len(given)} events in one batch; send at most {EVENTS_MAX} at a time")
        if not given:
            return (self._notice("the batch is empty", given),)
        return tuple(self._reading(event, f"$[{place}]") for place, event in enumerate(given))

    def delivery_id(self, webhook: Webhook) -> str | None:
        """Source and id of the event, or of all events of a batch; None when one of them has none."""
        try:
            given = _given(webhook)
        except DecodeError:
            return None
        events = given if isinstance(given, list) else [given]
        named = [_name_of(event) for event in events]
        if not named or None in named:
            return None
        return identity("event", *(named[0] or ())) if len(named) == 1 else identity("batch", digest_of(named))

    def introduction(self, webhook: Webhook) -> Mapping[str, str]:
        """Yes to whoever asks: what he posts later has to prove itself all the same."""
        origin = webhook.headers.get(_ORIGIN, "").strip()
        if not _HOST.fullmatch(origin):
            return {}
        return {"WebHook-Allowed-Origin": origin, **({"WebHook-Allowed-Rate": "*"} if _RATE in webhook.headers else {})}

    def _reading(self, event: Any, where: str) -> Reading:
        if not isinstance(event, dict):
            return self._notice(f"{where} is {kind_of(event)}, not an event", event)
        if "specversion" not in event and "data" not in event:
            return reading_anyway(self.name, self.type, event)
        data = _data_of(event)
        content = data if isinstance(data, dict) else {"text": text_of(data)}
        kind, subject = text_of(event.get("type")), text_of(event.get("subject"))
        said = content if says_anything(content) else {"subject": subject or kind}
        reading = reading_anyway(self.name, self.type, said, titles=(subject, kind), kind=kind or "")
        payload = {**{name: value for name, value in event.items() if name != "data_base64"}, "data": data}
        if isinstance(reading, Notice):
            return replace(reading, payload=payload)
        return self._alert(event, content, reading, payload)

    def _alert(self, event: Mapping[str, Any], content: Mapping[str, Any], read: Alert, payload: Any) -> Alert:
        began = _began(content)
        at = instant_of(event.get("time"))
        subject = key_of(event.get("subject"))
        problem = identity("subject", subject) if subject and read.fingerprint.startswith("body:") else read.fingerprint
        extensions = {name: value for name, value in event.items() if name not in _OWN}
        own = {"event_type": event.get("type"), "event_source": event.get("source"), "event_subject": subject}
        return replace(
            read,
            fingerprint=identity("event", key_of(event.get("source")) or "", stem_of(event.get("type")), problem),
            episode=read.episode or (began and identity(began)),
            reported_at=read.reported_at or at,
            labels=layered_labels(read.labels.items(), scalar_pairs(own), scalar_pairs(extensions)),
            payload=payload,
        )

    def _notice(self, reason: str, payload: Any) -> Notice:
        return Notice(source=self.name, source_type=self.type, reason=reason, payload=payload)


def _given(webhook: Webhook) -> Any:
    """The event of a request as an object, or its events as a list. Raises DecodeError."""
    attributes = {
        name.removeprefix(_PREFIX): _unescaped(value)
        for name, value in webhook.headers.items()
        if name.startswith(_PREFIX)
    }
    if webhook.media_type.startswith(_STRUCTURED) or "id" not in attributes or "source" not in attributes:
        value = value_in(webhook)
        if not isinstance(value, dict | list):
            raise DecodeError("$", f"expected an event or a list of events, found {kind_of(value)}")
        return value
    if not webhook.body:
        return attributes
    return {**attributes, "data": _data_in(webhook)}


def _data_in(webhook: Webhook) -> Any:
    """The data of an event whose attributes are headers; what is no JSON is a text, for they alone say that it fires.

    The SDK for JavaScript calls every data `application/json` that is not told otherwise, bytes and all
    (https://github.com/cloudevents/sdk-javascript, 10.0, run 2026-11).
    """
    text = storable(webhook.body.decode("utf-8", "replace"))
    if webhook.media_type not in ("", "application/json") and not webhook.media_type.endswith("+json"):
        return text
    try:
        return value_in(webhook)
    except DecodeError:
        return text


def _unescaped(value: str) -> str:
    """An attribute as it was before it became a header."""
    quoted = _QUOTED.fullmatch(value.strip())
    return storable(unquote(value if quoted is None else _ESCAPED.sub(r"\1", quoted[1]), errors="replace"))


def _name_of(event: Any) -> tuple[str, str] | None:
    if not isinstance(event, dict) or "specversion" not in event:
        return None
    origin, number = key_of(event.get("source")), key_of(event.get("id"))
    return None if origin is None or number is None else (origin, number)


def _data_of(event: Mapping[str, Any]) -> Any:
    """The data of an event, decoded as far as it goes."""
    encoded = event.get("data_base64")
    if not isinstance(encoded, str) or event.get("data") is not None:
        return _decoded(event.get("data"))
    try:
        return _decoded(base64.b64decode(encoded, validate=True).decode("utf-8", "replace"))
    except (binascii.Error, ValueError):
        return encoded


def _decoded(data: Any) -> Any:
    if not isinstance(data, str) or not data.lstrip().startswith("{"):
        return data
    try:
        return json_in(data.encode())
    except DecodeError:
        return data


def _began(content: Mapping[str, Any]) -> str | None:
    """When the alert of an Alertmanager began: it has labels with an alertname."""
    return key_of(content.get("startsAt")) if text_of(block_at(content, "labels").get("alertname")) else None
