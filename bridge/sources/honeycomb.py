"""Honeycomb's webhooks: triggers and burn alerts of SLOs, in the default body or in a template's.

In: one state of one trigger, its groups inside. Out: one Alert, or a Notice for a test.

Facts: SOURCES.md sections 1 and 12; https://docs.honeycomb.io/notify/webhooks (header, delivery id; read 2026-11), and
published bodies. Names are found in any spelling. What is decided here:

- Fingerprint: the trigger's id: its status is one for all its groups. Without it the instance, else the name.
- Episode: the instance (`.Alert.InstanceID`) where a template sends it; the default body tells none, and no time.
- Status: OK is resolved, in any case of letters; every other word fires.
- Severity: none, unless a template sends one. Labels: the groups that triggered, several values joined by commas.
- `is_test`, and a summary that begins with TRIGGER TEST, are Notices.
- `auth: {header: X-Honeycomb-Webhook-Token, secret}`. The `shared_secret` of old bodies is left out of the payload.
- Delivery: X-Honeycomb-Webhook-Delivery-ID.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Notice, Reading, Status, Webhook
from bridge.sources.body import block_at, object_in
from bridge.sources.fields import Fields, fields_of, spelled, words
from bridge.sources.generic import reading_anyway, severity_in
from bridge.sources.signatures import SharedSecret
from bridge.sources.texts import (
    LABELS_MAX,
    delivery_under,
    identity,
    layered_labels,
    line,
    link_of,
    links_of,
    paragraphs,
    scalar_pairs,
)

_DELIVERY = "x-honeycomb-webhook-delivery-id"

_WRAPPERS = words("trigger data payload honeycomb")
_TRIGGERS = ("triggerid", "id", "burnalertid", "alertid")
_INSTANCES = ("alertinstanceid", "instanceid", "deduplicationkey", "dedupkey")
_NAMES = ("triggername", "name", "title", "alertname")
_STATUSES = ("status", "alertstatus", "state")
_OVER = words("ok resolved recovered closed")
_TEXTS = (("description", "alertdescription", "summary", "alertsummary"), ("triggerdescription",))
_LINKS = {
    "Honeycomb trigger": ("triggerurl", "url", "resourceurl"),
    "Honeycomb result": ("resulturl",),
    "Honeycomb SLO": ("slourl",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Honeycomb(SharedSecret):
    """A Honeycomb team that posts here, known by the secret in its header."""

    type: ClassVar[str] = "honeycomb"

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one reading of a notification. Raises DecodeError."""
        payload = {key: value for key, value in object_in(webhook).items() if spelled(key) != "sharedsecret"}
        fields = fields_of(payload, wrappers=_WRAPPERS)
        if fields.text(*_STATUSES) is None or fields.text(*_TRIGGERS, *_INSTANCES, *_NAMES) is None:
            return (reading_anyway(self.name, self.type, payload),)
        return (_reading(self.name, payload, fields),)

    def delivery_id(self, webhook: Webhook) -> str | None:
        """X-Honeycomb-Webhook-Delivery-ID."""
        return delivery_under(webhook, _DELIVERY)


def _reading(source: str, payload: Mapping[str, Any], fields: Fields) -> Reading:
    trigger, instance = fields.key(*_TRIGGERS), fields.key(*_INSTANCES)
    title = line(fields.text(*_NAMES) or fields.text("summary", "alertsummary") or "") or f"Alert from {source}"
    fingerprint = (
        identity("trigger", trigger) if trigger else identity("instance" if instance else "name", instance or title)
    )
    summary = fields.text("summary", "alertsummary") or ""
    if fields.text("istest", "alertistest") == "true" or summary.upper().startswith("TRIGGER TEST"):
        return Notice(
            source=source,
            source_type=Honeycomb.type,
            reason="a test of the trigger",
            payload=payload,
            title=title,
            fingerprint=fingerprint,
        )
    texts = (fields.text(*names) for names in _TEXTS)
    return Alert(
        source=source,
        source_type=Honeycomb.type,
        fingerprint=fingerprint,
        episode=None if instance is None else identity(instance),
        status=Status.RESOLVED if spelled(fields.text(*_STATUSES) or "") in _OVER else Status.FIRING,
        severity=severity_in(fields.texts("severity", "alertseverity", "priority")),
        title=title,
        description=paragraphs("\n\n".join(dict.fromkeys(text for text in texts if text is not None))),
        labels=layered_labels(
            list(_groups(fields)),
            scalar_pairs(block_at(payload, "labels")),
            [
                ("trigger", fields.text(*_NAMES)),
                ("alert_type", fields.text("alerttype")),
                ("environment", fields.text("environment", "environmentname")),
                ("dataset", fields.text("dataset", "datasetname", "datasetslug")),
                ("operator", fields.text("operator")),
                ("threshold", fields.text("threshold")),
            ],
        ),
        links=links_of(*(link_of(text, href) for text, names in _LINKS.items() for href in fields.texts(*names))),
        payload=payload,
    )


def _groups(fields: Fields) -> Iterator[tuple[str, str | None]]:
    """The groups that triggered, as pairs."""
    groups = fields.value("resultgroupstriggered", "groupstriggered")
    for group in groups[:LABELS_MAX] if isinstance(groups, list) else ():
        if isinstance(group, dict):
            yield from scalar_pairs(block_at(group, "Group"))
