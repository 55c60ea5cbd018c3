"""Google Cloud Monitoring's webhook channel, schema 1.0 to 1.2, and the same through a Pub/Sub push subscription.

In: one state of one incident. Out: one Alert; a Notice for a test of the channel.

Facts: SOURCES.md sections 1 and 10, which cite https://cloud.google.com/monitoring/support/notification-options#webhooks,
and published bodies. What is decided here:

- Fingerprint and episode: `incident_id`, the same when the incident opens and closes, never used again. A rule may join
  incidents of one policy: `dedup: [source, payload.incident.policy_name, payload.incident.resource_name]`. Without an
  id: project, policy, condition and resource.
- Status: closed is resolved, acknowledged is acknowledged, everything else firing, in any case. Without a state an
  incident with `ended_at` is over (null and 0 mean that it has not ended).
- Time of the report: `ended_at` of a closed incident, `started_at` of an open one, which its reminders repeat.
- Severity: Critical, Error, Warning; "No severity" and none at all are null.
- Title: policy, condition and resource; the summary, which tells values and changes, opens the description.
- Labels: those of the policy, the resource, the metric and the metadata, in this order, then facts of the incident.
- `version: test` is the channel's test. Pub/Sub gives each message an id that its retries keep.
- A Cloud Billing budget tells its state several times a day, exceeded or not; only while a threshold is exceeded is it
  named (alertThresholdExceeded, forecastThresholdExceeded), and its ids are attributes of the message
  (https://cloud.google.com/billing/docs/how-to/notify, read 2026-11; and published bodies).
  The problem is the budget, the episode its period: a rule may page for each threshold with
  `dedup: [source, payload.budgetDisplayName, labels.threshold]`. Without a threshold it is over.
- A finding of Security Command Center (`{notificationConfigName, finding, resource}`) is known by its name and ends
  when it is INACTIVE (https://cloud.google.com/security-command-center/docs/how-to-api-filter-notifications; own
  knowledge, not read again).
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Link, Notice, Reading, Severity, Status, Webhook
from bridge.domain.errors import DecodeError
from bridge.sources.absent import key_of, text_of
from bridge.sources.body import block_at, json_in, kind_of, object_in
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
    scalar_pairs,
)

_BY_SEVERITY = {"critical": Severity.CRITICAL, "error": Severity.ERROR, "warning": Severity.WARNING}
_LINKS_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class GcpMonitoring(SharedSecret):
    """A notification channel that posts here. Google signs nothing: basic credentials or `?auth_token=` prove it."""

    type: ClassVar[str] = "gcp_monitoring"

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one reading of a notification. Raises DecodeError."""
        body = object_in(webhook)
        payload = _unwrapped(body)
        incident = block_at(payload, "incident")
        if not incident:
            return (_other(self.name, payload, block_at(body, "message")),)
        if (text_of(payload.get("version")) or "").lower() == "test":
            reason = "a test of the notification channel"
            return (Notice(source=self.name, source_type=self.type, reason=reason, payload=payload),)
        return (_alert(self.name, payload, incident),)

    def delivery_id(self, webhook: Webhook) -> str | None:
        """The message id of Pub/Sub; the channel's own webhook carries none."""
        if b'"messageId"' not in webhook.body:  # most bodies: not worth reading twice
            return None
        message = block_at(object_in(webhook), "message")
        key = key_of(message.get("messageId")) if isinstance(message.get("data"), str) else None
        return None if key is None else identity("pubsub", key)


def _unwrapped(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The notification in a Pub/Sub push, or the body as it is. Raises DecodeError."""
    data = block_at(body, "message").get("data")
    if "incident" in body or not isinstance(data, str):
        return body
    try:
        inside = json_in(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError) as error:
        raise DecodeError("$.message.data", "the message of Pub/Sub is no base64") from error
    if not isinstance(inside, dict):
        raise DecodeError("$.message.data", f"expected an object, found {kind_of(inside)}")
    return inside


def _other(source: str, payload: Mapping[str, Any], message: Mapping[str, Any]) -> Reading:
    """What Google Cloud publishes besides incidents, and any other object as it is."""
    if text_of(payload.get("budgetDisplayName")) and "costAmount" in payload:
        return _budget(source, payload, message)
    finding = block_at(payload, "finding")
    if (name := key_of(finding.get("name"))) and text_of(finding.get("category")):
        return _finding(source, payload, finding, name)
    return reading_anyway(source, GcpMonitoring.type, payload)


def _budget(source: str, payload: Mapping[str, Any], message: Mapping[str, Any]) -> Alert:
    name = text_of(payload.get("budgetDisplayName")) or ""
    attributes = block_at(message, "attributes")
    ids = [key for one in ("billingAccountId", "budgetId") if (key := key_of(attributes.get(one))) is not None]
    spent, forecast = (_threshold(payload.get(f"{basis}ThresholdExceeded")) for basis in ("alert", "forecast"))
    is_over = spent is None and forecast is None
    cost, amount, currency = (text_of(payload.get(one)) or "" for one in ("costAmount", "budgetAmount", "currencyCode"))
    began = key_of(payload.get("costIntervalStart"))
    reported_at = instant_of(message.get("publishTime"))
    told = f"{spent} exceeded" if spent else f"{forecast} forecast" if forecast else "within its thresholds"
    return Alert(
        source=source,
        source_type=GcpMonitoring.type,
        fingerprint=identity("budget", *(ids or [name])),
        episode=None if is_over or began is None else identity(began),
        reported_at=reported_at,
        status=Status.RESOLVED if is_over else Status.FIRING,
        title=line(f"Budget {name}: {told}"),
        description=paragraphs(f"{cost} of {amount} {currency} since {began or 'the period began'}"),
        labels=layered_labels(
            [
                ("budget", name),
                ("threshold", spent or forecast),
                ("basis", "spend" if spent else forecast and "forecast"),
            ],
            scalar_pairs(attributes),
        ),
        ends_at=reported_at if is_over else None,
        payload=payload,
    )


def _threshold(value: Any) -> str | None:
    """A threshold, 0.9 of the budget, as people say it; None where none is exceeded."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1_000:
        return f"{value * 100:g} %"
    return text_of(value)


def _finding(source: str, payload: Mapping[str, Any], finding: Mapping[str, Any], name: str) -> Reading:
    resource = text_of(finding.get("resourceName")) or text_of(block_at(payload, "resource").get("name"))
    category = text_of(finding.get("category"))
    told = {
        "fingerprint": name,
        "title": f"{category} ({resource})" if resource else category,
        "status": finding.get("state"),
        "severity": finding.get("severity"),
        "description": finding.get("description"),
        "reported_at": finding.get("eventTime"),
        "starts_at": finding.get("createTime"),
        "link": finding.get("externalUri"),
        "labels": {
            "category": category,
            "class": finding.get("findingClass"),
            "resource": resource,
            "project": block_at(payload, "resource").get("project"),
        },
    }
    return replace(reading_anyway(source, GcpMonitoring.type, told), payload=payload)


def _alert(source: str, payload: Mapping[str, Any], incident: Mapping[str, Any]) -> Alert:
    started_at, ended_at = instant_of(incident.get("started_at")), instant_of(incident.get("ended_at"))
    status = _status(incident, has_ended=ended_at is not None)
    is_over = status is Status.RESOLVED
    incident_id = key_of(incident.get("incident_id"))
    return Alert(
        source=source,
        source_type=GcpMonitoring.type,
        fingerprint=_fingerprint(incident, incident_id),
        episode=None if incident_id is None else identity(incident_id),
        reported_at=ended_at if is_over else started_at,
        status=status,
        severity=_BY_SEVERITY.get((text_of(incident.get("severity")) or "").lower()),
        title=_title(source, incident),
        description=_description(incident),
        labels=_labels(incident),
        links=_links(incident),
        starts_at=started_at,
        ends_at=ended_at if is_over else None,
        payload=payload,
    )


def _status(incident: Mapping[str, Any], *, has_ended: bool) -> Status:
    state = (text_of(incident.get("state")) or "").lower()
    if state == "closed" or (not state and has_ended):
        return Status.RESOLVED
    return Status.ACKNOWLEDGED if state == "acknowledged" else Status.FIRING


def _fingerprint(incident: Mapping[str, Any], incident_id: str | None) -> str:
    if incident_id is not None:
        return identity("incident", incident_id)
    named = ("scoping_project_id", "policy_name", "condition_name", "resource_name", "resource_id")
    return identity("condition", *(key_of(incident.get(name)) or "" for name in named))


def _title(source: str, incident: Mapping[str, Any]) -> str:
    policy, condition = text_of(incident.get("policy_name")), text_of(incident.get("condition_name"))
    parts = [text for text in dict.fromkeys((policy, condition)) if text is not None]
    if not parts:
        return line(text_of(incident.get("summary")) or "") or f"Alert from {source}"
    title = ": ".join(parts)
    resource = text_of(incident.get("resource_display_name")) or text_of(incident.get("resource_name"))
    if resource is None or "{" in resource or resource in title:  # with its labels in braces it is no name
        return line(title)
    return line(f"{title} ({resource})")


def _description(incident: Mapping[str, Any]) -> str:
    documentation = incident.get("documentation")
    text = text_of(documentation) or text_of(block_at(incident, "documentation").get("content"))
    return paragraphs("\n\n".join(part for part in (text_of(incident.get("summary")), text) if part is not None))


def _labels(incident: Mapping[str, Any]) -> Mapping[str, str]:
    return layered_labels(
        scalar_pairs(block_at(incident, "policy_user_labels")),
        scalar_pairs(block_at(incident, "resource", "labels")),
        scalar_pairs(block_at(incident, "metric", "labels")),
        scalar_pairs(block_at(incident, "metadata", "user_labels")),
        [
            ("policy", text_of(incident.get("policy_name"))),
            ("condition", text_of(incident.get("condition_name"))),
            ("project", text_of(incident.get("scoping_project_id"))),
            ("severity", text_of(incident.get("severity"))),
            ("resource", text_of(incident.get("resource_display_name")) or text_of(incident.get("resource_name"))),
            ("resource_id", text_of(incident.get("resource_id"))),
            ("resource_type", text_of(block_at(incident, "resource").get("type"))),
            ("metric", text_of(block_at(incident, "metric").get("type"))),
        ],
    )


def _links(incident: Mapping[str, Any]) -> tuple[Link, ...]:
    given = block_at(incident, "documentation").get("links")
    links = [one for one in given[:_LINKS_MAX] if isinstance(one, dict)] if isinstance(given, list) else []
    return links_of(
        link_of("Google Cloud incident", text_of(incident.get("url"))),
        *(link_of(text_of(one.get("display_name")) or "Documentation", text_of(one.get("url"))) for one in links),
    )
