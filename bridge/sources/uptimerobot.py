"""UptimeRobot webhooks: default variables in the address or in a form, and custom JSON of any keys.

In: one event of one monitor. Out: one Alert.

Facts: SOURCES.md sections 1 and 11, and https://help.uptimerobot.com/en/articles/14498593-webhook-integration (formats;
read 2026-11). What is decided here:

- Fingerprint: the monitor's id, else its URL and name. Something that expires is another problem of the same monitor,
  and so is whatever else is told of it but down and up: what nothing may ever resolve must not swallow the next down.
- Status: alertType 1 is firing, 2 resolved, 3 (a certificate expires) firing with nothing that resolves it; else the
  words of alertTypeFriendlyName; in doubt it fires. Paused and started monitors are Notices.
- A template written for another tool may call the monitor `alertName` and `id` beside `alertTypeName`
  (https://github.com/Zenduty/docs, zenduty-docs/docs/UptimeRobot.md; read 2026-11): then these are its name and id.
- No episode: no variable stays the same from down to up and changes after. No severity.
- reported_at: alertDateTime.
- UptimeRobot signs nothing and has no id of a delivery. A request whose variables stand in the address has no body; the
  receiver reads such a query as a form.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Notice, Reading, Status, Webhook
from bridge.sources.body import object_in
from bridge.sources.fields import Fields, fields_of, spelled
from bridge.sources.generic import reading_anyway
from bridge.sources.signatures import SharedSecret
from bridge.sources.texts import (
    identity,
    instant_of,
    layered_labels,
    line,
    link_of,
    links_of,
    paragraphs,
    tag_pairs,
)

_WRAPPERS = frozenset({"data", "payload", "alert", "uptimerobot"})
_IDS = ("monitorid", "alertmonitorid")
_NAMES = ("monitorfriendlyname", "friendlyname", "monitorname", "alertmonitorfriendlyname")
_URLS = ("monitorurl", "url", "alertmonitorurl")
_DETAILS = ("alertdetails", "details", "alertmonitordetails")
_TYPES = ("alerttype", "alertalerttype", "type")
_WORDS = ("alerttypefriendlyname", "alerttypename", "alertalerttypefriendlyname", "status", "alertstatus")
_DAYS = ("sslexpirydaysleft", "sslexpiresin")
_WITH_TYPE_NAME = {"id": "monitorid", "alertname": "monitorfriendlyname"}  # by themselves they may be anybody's
_TAGS_MAX = 200

_OF_MONITOR = frozenset({"down", "up", "paused", "started"})
_BY_TYPE = {"1": "down", "2": "up", "3": "expiry"}
_BY_WORD = {
    "down": "down", "up": "up", "sslexpiry": "expiry", "sslexpires": "expiry", "ssl": "expiry",
    "paused": "paused", "started": "started",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class UptimeRobot(SharedSecret):
    """An UptimeRobot account that posts here, known by a shared secret in a header or in the address."""

    type: ClassVar[str] = "uptimerobot"

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one reading of an event; an object that names no monitor is read as the generic source would."""
        payload = object_in(webhook, form_anyway=True)
        fields = _named(fields_of(payload, wrappers=_WRAPPERS))
        if fields.key(*_IDS) is None and fields.text(*_NAMES, *_URLS) is None:
            return (reading_anyway(self.name, self.type, payload),)
        return (_reading(self.name, payload, fields),)


def _named(fields: Fields) -> Fields:
    """The fields with id and name of the monitor under UptimeRobot's own names as well."""
    if "alerttypename" not in fields.by_name:
        return fields
    found = {own: fields.by_name[name] for name, own in _WITH_TYPE_NAME.items() if name in fields.by_name}
    return Fields({**found, **fields.by_name})


def _reading(source: str, payload: Mapping[str, Any], fields: Fields) -> Reading:
    event = _event(fields)
    name = line(fields.text(*_NAMES, *_URLS) or "") or f"Monitor {fields.key(*_IDS) or 'without a name'}"
    fingerprint = _fingerprint(fields, event, name)
    if event in ("paused", "started"):
        return Notice(
            source=source,
            source_type=UptimeRobot.type,
            reason=f"somebody {event} the monitor",
            payload=payload,
            title=name,
            fingerprint=fingerprint,
        )
    status = Status.RESOLVED if event == "up" else Status.FIRING
    reported_at = instant_of(fields.value("alertdatetime", "datetime"))
    return Alert(
        source=source,
        source_type=UptimeRobot.type,
        fingerprint=fingerprint,
        reported_at=reported_at,
        status=status,
        title=_title(fields, event, name),
        description=paragraphs(fields.text(*_DETAILS) or ""),
        labels=_labels(fields, event, name),
        links=links_of(
            link_of(name, fields.text(*_URLS)),
            link_of("UptimeRobot", fields.text("dashboardurl", "monitordashboardurl")),
        ),
        ends_at=reported_at if status is Status.RESOLVED else None,
        payload=payload,
    )


def _event(fields: Fields) -> str:
    """down, up, expiry, paused, started; else UptimeRobot's word for it, and down where it says nothing."""
    kind = fields.text(*_TYPES)
    if kind in _BY_TYPE:
        return _BY_TYPE[kind]
    words = [spelled(text) for text in (*fields.texts(*_WORDS), kind or "")]
    for word in words:
        if (event := _BY_WORD.get(word)) is not None:
            return event
    return next((word for word in words if word), "down")


def _fingerprint(fields: Fields, event: str, name: str) -> str:
    kind = "monitor" if event in _OF_MONITOR else event
    monitor = fields.key(*_IDS)
    return identity(kind, monitor) if monitor else identity(kind, fields.key(*_URLS) or "", name)


def _title(fields: Fields, event: str, name: str) -> str:
    if event == "expiry":
        days = fields.text(*_DAYS)
        return line(f"{name}: the certificate expires {f'in {line(days, 20)} days' if days else 'soon'}")
    if event in ("down", "up"):
        return line(f"{name} is {event}")
    return line(f"{name}: {fields.text(*_WORDS) or event}")


def _labels(fields: Fields, event: str, name: str) -> Mapping[str, str]:
    tags = fields.text("tags", "monitortags") or ""
    return layered_labels(
        tag_pairs(tags.split(",", _TAGS_MAX)[:_TAGS_MAX]),
        (
            ("monitor", name),
            ("monitor_id", fields.text(*_IDS)),
            ("event", event),
            ("url", fields.text(*_URLS)),
            ("monitor_type", fields.text("monitortype")),
            ("group", fields.text("group", "monitorgroup")),
            ("expires", fields.text("sslexpirydate")),
            ("expires_in_days", fields.text(*_DAYS)),
        ),
    )
