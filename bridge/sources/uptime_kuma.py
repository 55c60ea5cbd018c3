"""Uptime Kuma webhooks: the JSON body, the form whose field `data` holds it, and custom bodies.

In: one heartbeat of one monitor, or a message without one. Out: one Alert, or a Notice with its reason.

Facts: SOURCES.md sections 1 and 11, which cite louislam/uptime-kuma server/notification-providers/webhook.js; of the
same folder notification-provider.js (variables of a custom body; "⚠️ Test" stands for every message without a
heartbeat); read 2026-11. What is decided here:

- Fingerprint: the monitor's id, else its name and URL, else the name in front of the message. Ids are unique in one
  Uptime Kuma: give each its own source.
- Status: heartbeat.status 0 is firing, 1 resolved; words ("🔴 Down") and the message tell it where a custom body has no
  heartbeat. 2 (pending, a retry follows) and 3 (maintenance) are Notices. In doubt it fires.
- Episode: the time of a down that the heartbeat calls important, which is the first one. A repeated down and an up do
  not tell when the down began: null.
- Without a heartbeat there is only the message. "… Testing" is the Test button: a Notice. A certificate or domain that
  will expire is a problem of its own, known by its message without the days that are left; nothing resolves it.
- Severity: none. Title: "<monitor> is down", unless a custom body brings its own.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Notice, Reading, Status, Webhook
from bridge.domain.errors import DecodeError
from bridge.sources.absent import text_of
from bridge.sources.body import PARTS_MEDIA_TYPE, json_in, kind_of, object_in, parts_in
from bridge.sources.fields import Fields, fields_of
from bridge.sources.generic import reading_anyway
from bridge.sources.signatures import SharedSecret
from bridge.sources.texts import (
    LABELS_MAX,
    identity,
    instant_of,
    layered_labels,
    line,
    link_of,
    links_of,
    paragraphs,
)

_WORDS = {
    "0": "down", "down": "down", "1": "up", "up": "up", "2": "pending", "pending": "pending",
    "3": "maintenance", "maintenance": "maintenance", "test": "test",
}  # fmt: skip
_QUIET = {
    "pending": "the monitor is being tried again; it is neither up nor down",
    "maintenance": "the monitor is under maintenance",
    "test": "a test notification",
}
_HEADED = re.compile(r"\[(?P<name>[^\n]{1,300}?)\] \[[^\w\]]{0,8}(?P<word>Down|Up|Pending|Maintenance|Test)\]")
_EXPIRES = re.compile(r"\bexpired?\b|\bexpires\b|\bwill expire\b", re.IGNORECASE)
_DAYS_LEFT = re.compile(r"\s*\b(?:in|within)?\s*-?\d{1,5}\s+days?\b(?:\s+ago)?", re.IGNORECASE)
_NAMES = ("monitorname", "monitorjsonname", "name")
_URLS = ("monitorurl", "monitorjsonurl", "hostnameorurl", "url")
_MESSAGES = ("heartbeatmsg", "heartbeatjsonmsg", "msg", "message", "description", "text", "body")


@dataclass(frozen=True, slots=True, kw_only=True)
class UptimeKuma(SharedSecret):
    """An Uptime Kuma that posts here. It signs nothing: a header it adds, or the address, carries a secret."""

    type: ClassVar[str] = "uptime_kuma"

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one reading of a notification. Raises DecodeError."""
        payload = _payload(webhook)
        return (_reading(self.name, payload, fields_of(payload, wrappers=frozenset())),)


def _payload(webhook: Webhook) -> Mapping[str, Any]:
    """The object with heartbeat, monitor and msg, however it is wrapped. Raises DecodeError."""
    if webhook.media_type == PARTS_MEDIA_TYPE or webhook.body.startswith(b"--"):
        data_part = parts_in(webhook.body).get("data")
        if data_part is None:
            raise DecodeError("$", "the form has no field 'data'; choose application/json as the request body")
        value = json_in(data_part.encode())
        if not isinstance(value, dict):
            raise DecodeError("$.data", f"expected an object, found {kind_of(value)}")
        return value
    payload = object_in(webhook, form_anyway=True)
    data = _unpacked(payload.get("data"))
    if isinstance(data, dict) and ("heartbeat" in data or "msg" in data):
        return data
    return {name: _unpacked(value) if name in ("heartbeat", "monitor") else value for name, value in payload.items()}


def _unpacked(value: Any) -> Any:
    """An object that came as its text: a query or a form can carry nothing else."""
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return value
    try:
        return json_in(value.encode())
    except DecodeError:  # then it is only a text, and the rest of the body still pages
        return value


def _reading(source: str, payload: Mapping[str, Any], fields: Fields) -> Reading:
    message = fields.text(*_MESSAGES) or ""
    headed = _HEADED.match(message[:512])
    word = _word(fields, headed)
    beats = fields.text("heartbeatstatus", "heartbeatjsonstatus") is not None or headed is not None
    if not beats and _EXPIRES.search(message[:1_024]):
        return _expiry(source, payload, fields, message)
    if word is None and not beats and message.endswith(" Testing"):
        word = "test"
    if word in _QUIET:
        name = fields.text(*_NAMES)
        fingerprint = None if name is None else _fingerprint(fields, name)
        return Notice(
            source=source,
            source_type=UptimeKuma.type,
            reason=_QUIET[word],
            payload=payload,
            title=line(name or message),
            fingerprint=fingerprint,
        )
    name = fields.text(*_NAMES) or (headed["name"] if headed else None)
    if name is None and fields.key("monitorid", "monitorjsonid") is None:
        return reading_anyway(source, UptimeKuma.type, payload)
    return _alert(source, payload, fields, name, Status.RESOLVED if word == "up" else Status.FIRING)


def _word(fields: Fields, headed: re.Match[str] | None) -> str | None:
    """down, up, pending, maintenance or test; None when nothing says it."""
    for text in fields.texts("heartbeatstatus", "heartbeatjsonstatus", "status", "state", "monitorstatus"):
        if (word := _WORDS.get("".join(letter for letter in text[:40].lower() if letter.isalnum()))) is not None:
            return word
    return None if headed is None else headed["word"].lower()


def _alert(source: str, payload: Mapping[str, Any], fields: Fields, name: str | None, status: Status) -> Alert:
    beat = fields.value("heartbeattime", "heartbeatjsontime")
    beat_at = instant_of(beat)
    begins = status is Status.FIRING and beat_at is not None and text_of(fields.value("important")) in ("true", "1")
    return Alert(
        source=source,
        source_type=UptimeKuma.type,
        fingerprint=_fingerprint(fields, name or ""),
        episode=identity("down", str(beat)) if begins else None,
        reported_at=beat_at,
        status=status,
        title=_title(source, fields, name, status),
        description=paragraphs(fields.text(*_MESSAGES) or ""),
        labels=_labels(fields, name),
        links=links_of(link_of(name or "Monitored address", _address(fields))),
        starts_at=beat_at if begins else None,
        ends_at=beat_at if status is Status.RESOLVED else None,
        payload=payload,
    )


def _fingerprint(fields: Fields, name: str) -> str:
    monitor = fields.key("monitorid", "monitorjsonid")
    return identity("monitor", monitor) if monitor else identity("name", line(name), _address(fields) or "")


def _address(fields: Fields) -> str | None:
    """What is monitored; a bare scheme is what Uptime Kuma's form begins with, for monitors without an address."""
    address = fields.key(*_URLS)
    return None if address in ("http://", "https://") else address


def _title(source: str, fields: Fields, name: str | None, status: Status) -> str:
    own = line(fields.text("title", "subject", "summary") or "")
    return own or line(f"{line(name or source)} is {'up' if status is Status.RESOLVED else 'down'}")


def _expiry(source: str, payload: Mapping[str, Any], fields: Fields, message: str) -> Alert:
    return Alert(
        source=source,
        source_type=UptimeKuma.type,
        fingerprint=identity("expiry", _DAYS_LEFT.sub("", line(message))),
        status=Status.FIRING,
        title=line(message),
        description=paragraphs(message),
        labels=layered_labels([("kind", "expiry")], _labels(fields, fields.text(*_NAMES)).items()),
        links=links_of(link_of("Monitored address", _address(fields))),
        payload=payload,
    )


def _labels(fields: Fields, name: str | None) -> Mapping[str, str]:
    return layered_labels(
        _tags(fields.value("monitortags", "monitorjsontags", "tags")),
        (
            ("monitor", name),
            ("monitor_id", fields.text("monitorid", "monitorjsonid")),
            ("monitor_type", fields.text("monitortype", "monitorjsontype")),
            ("path", fields.text("pathname")),
            ("url", _address(fields)),
            ("hostname", fields.text("hostname")),
            ("port", fields.text("port")),
        ),
    )


def _tags(tags: Any) -> Iterator[tuple[str, str]]:
    """Tags are {name, value} objects; one without a value is "true"."""
    for tag in tags[:LABELS_MAX] if isinstance(tags, list) else ():
        if isinstance(tag, dict) and (name := text_of(tag.get("name"))) is not None:
            yield name, text_of(tag.get("value")) or "true"
