"""PRTG notifications ("Execute HTTP Action"): a form of placeholders, or JSON written by hand.

In: one change of one sensor. Out: one Alert; a Notice for a sensor that is paused and for a test without values.

Facts: SOURCES.md sections 1 and 12; https://www.paessler.com/support/kb/prtg7/placeholder_overview/ ("%statesince:
since when the current status is active"; read 2026-11). What is decided here:

- Fingerprint: the sensor's id, else device and sensor by name. Ids are unique in one PRTG core server: give each its
  own source.
- Status: "Down (Acknowledged)" is acknowledged; "Up", and "… ended" with "(now: Up)", "(now: Paused …)" or nothing
  behind it, are resolved; everything else fires, "Down ended (now: Warning)" too, for the sensor is not well yet.
  Status texts are localised: put `event_type=resolve` (create, acknowledge) into the template and that decides instead.
- Episode: %statesince of what fires. A recovery and an acknowledgement tell the start of their own state there: null.
- No reported_at: %datetime has no zone that could be read.
- Severity: Down is error, and critical with five stars; Warning is warning, Unusual is info. A recovery keeps that of
  the state that ended.
- A message that was not escaped may hold `&`: `HTTP 500 for https://shop/?order=1&event_type=ok` must not end the
  problem. In a form that is not escaped and names sensor and status before `lastmessage`, as the shipped template does,
  all that follows is the message. Other templates have fields behind it; they are read.
- PRTG signs nothing, sets no header and has no id of a delivery: the secret stands in the address.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from urllib.parse import quote_plus

from bridge.domain.alert import Alert, Notice, Reading, Severity, Status, Webhook
from bridge.sources.body import object_in, says_anything
from bridge.sources.fields import Fields, fields_of, spelled, words
from bridge.sources.generic import reading_anyway
from bridge.sources.signatures import SharedSecret
from bridge.sources.texts import identity, layered_labels, line, link_of, links_of, paragraphs

_WRAPPERS = frozenset({"data", "payload", "prtg"})
_IDS = ("sensorid", "id", "objid")
_SENSORS = ("sensor", "name", "sensorname")
_DEVICES = ("device", "server", "devicename")
_STATUSES = ("status", "state", "laststatus")
_MESSAGES = ("lastmessage", "message", "down")

_BY_EVENT = {
    **dict.fromkeys(words("create trigger problem firing"), Status.FIRING),
    **dict.fromkeys(words("acknowledge acknowledged ack"), Status.ACKNOWLEDGED),
    **dict.fromkeys(words("resolve resolved recovery ok"), Status.RESOLVED),
}
_ENDED = re.compile(r"(?P<before>.{0,100}?)\s*\bended\b(?:\s*\(now:\s*(?P<now>.{0,100}?)\s*\))?\s*\Z", re.IGNORECASE)
_HIGHEST_STARS = 5
_MESSAGE_BEGINS = b"&lastmessage="
_IN_ORDER = re.compile(  # of the shipped template, with event_type in front of it or not
    rb"\s*(?=\w+=)(?=(?:[^&]*&)*(?:sensorid|id|objid)=[^&])(?=(?:[^&]*&)*(?:status|state)=[^&])", re.IGNORECASE
)
_UNESCAPED = re.compile(rb"[\s\"<>/?#:]")  # what escaping replaces; an address or a time in the body has some of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Prtg(SharedSecret):
    """A PRTG core server that posts here. A secret in the address is its proof."""

    type: ClassVar[str] = "prtg"

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one reading of a notification; an object that names no sensor is read as the generic source would."""
        whole = replace(webhook, body=_with_message_escaped(webhook.body))
        payload = object_in(whole, form_anyway=True)
        fields = fields_of(payload, wrappers=_WRAPPERS)
        if says_anything(payload) and not fields.by_name:
            return (self._notice("a test: no placeholder is filled", payload),)
        if fields.key(*_IDS) is None and fields.text(*_SENSORS, *_DEVICES) is None:
            return (reading_anyway(self.name, self.type, payload),)
        state = _state(fields)
        if state.is_paused:
            return (self._notice("the sensor is paused", payload, line(_subject(fields)), _fingerprint(fields)),)
        return (_alert(self.name, payload, fields, state),)

    def _notice(self, reason: str, payload: Any, title: str = "", fingerprint: str | None = None) -> Notice:
        return Notice(
            source=self.name,
            source_type=self.type,
            reason=reason,
            payload=payload,
            title=title,
            fingerprint=fingerprint,
        )


def _with_message_escaped(body: bytes) -> bytes:
    """A form that was not escaped and ends with its message, with that message escaped; any other body as it is."""
    before, _, message = body.strip().partition(_MESSAGE_BEGINS)
    if b"&" not in message or not _UNESCAPED.search(body.strip()) or not _IN_ORDER.match(before):
        return body
    return before + _MESSAGE_BEGINS + quote_plus(message).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """A status text taken apart."""

    text: str  # as sent
    status: Status
    of: str  # the state whose severity counts, in lower case
    is_paused: bool = False


def _state(fields: Fields) -> _State:
    text = line(fields.text(*_STATUSES) or "", 200)
    ended = _ENDED.match(text)
    before = (ended["before"] if ended else text).lower()
    now = (ended["now"] or "up").lower() if ended else before
    if (told := _BY_EVENT.get(spelled(fields.text("eventtype", "eventaction") or ""))) is not None:
        return _State(text=text, status=told, of=before)
    if now.startswith("down (ack"):
        return _State(text=text, status=Status.ACKNOWLEDGED, of=now)
    if now.startswith("up") or (ended and now.startswith("paused")):
        return _State(text=text, status=Status.RESOLVED, of=before)
    return _State(text=text, status=Status.FIRING, of=now, is_paused=now.startswith("paused"))


def _without_age(since: str) -> str:
    """ "9/10/2025 10:56:51 AM [5 m 12 s ago]" differs every time."""
    instant, bracket, _ = since.partition("[")
    return instant.rstrip() if bracket and since.rstrip().endswith("]") else since


def _alert(source: str, payload: Mapping[str, Any], fields: Fields, state: _State) -> Alert:
    since = _without_age(fields.key("statesince", "since") or "")
    subject = _subject(fields)
    return Alert(
        source=source,
        source_type=Prtg.type,
        fingerprint=_fingerprint(fields),
        episode=identity("since", since) if since and state.status is Status.FIRING else None,
        status=state.status,
        severity=_severity(fields, state.of),
        title=line(f"{subject}: {state.text}" if state.text else subject) or f"Alert from {source}",
        description=paragraphs(fields.text(*_MESSAGES) or ""),
        labels=_labels(fields, state),
        links=links_of(
            link_of("PRTG sensor", fields.text("linksensor")),
            link_of("PRTG device", fields.text("linkdevice")),
            link_of("PRTG", fields.text("link", "url")),
        ),
        payload=payload,
    )


def _subject(fields: Fields) -> str:
    """What is broken: the sensor on its device."""
    sensor, device = fields.text(*_SENSORS), fields.text(*_DEVICES)
    if sensor is None or device is None:
        return sensor or device or f"Sensor {fields.text(*_IDS)}"
    return f"{sensor} on {device}"


def _fingerprint(fields: Fields) -> str:
    sensor = fields.key(*_IDS)
    if sensor is not None:
        return identity("sensor", sensor)
    return identity("name", fields.key(*_DEVICES) or "", fields.key(*_SENSORS) or "")


def _severity(fields: Fields, state: str) -> Severity | None:
    if state.startswith("down"):
        return Severity.CRITICAL if _stars(fields) == _HIGHEST_STARS else Severity.ERROR
    if state.startswith("warning"):
        return Severity.WARNING
    return Severity.INFO if state.startswith("unusual") else None


def _stars(fields: Fields) -> int | None:
    """The priority of the sensor: `*****` or a digit."""
    text = fields.text("priority", "prio") or ""
    if text and not text.strip("*"):
        return len(text)
    return int(text) if len(text) == 1 and text.isascii() and text.isdigit() else None


def _labels(fields: Fields, state: _State) -> Mapping[str, str]:
    stars = _stars(fields)
    return layered_labels(
        (
            ("sensor", fields.text(*_SENSORS)),
            ("sensor_id", fields.text(*_IDS)),
            ("device", fields.text(*_DEVICES)),
            ("group", fields.text("group")),
            ("probe", fields.text("probe")),
            ("host", fields.text("host")),
            ("location", fields.text("location")),
            ("site", fields.text("sitename")),
            ("priority", None if stars is None else str(stars)),
            ("status", state.text),
        )
    )
