"""Opsgenie's outgoing webhook, and the same one of Jira Service Management.

In: one action on one alert. Out: one Alert for what opens, takes, re-opens or ends it, else a Notice.

Facts: SOURCES.md sections 1 and 9, published bodies, and
https://support.atlassian.com/jira-service-management-cloud/docs/alert-action-data-for-jira-edge-connector (read in part
2026-11; the names of the actions beyond create, acknowledge and close are own knowledge). What is decided here:

- Fingerprint: the alias, which is the sender's own deduplication key (one open alert per alias), else the alert id.
  Episode: the alert id, new each time an alias comes back.
- Status: Create, UpdatePriority and every action unknown are firing; Acknowledge is acknowledged; Close and Delete are
  resolved. Both spellings are read, `Create` and Jira Service Management's `created`. Actions that leave the alert as
  it is (notes, tags, teams, owners, escalations, snoozing) are Notices.
- UnAcknowledge fires when it has a priority. Without one, as in the vendor's sample (the page above), it is a Notice:
  the alert is open as it was, and without its severity another rule would take it and open a second incident.
- Severity: P1 or 1 critical, 2 error, 3 warning, 4 and 5 info. The sender leaves the priority out of most actions.
- Time of the report: `updatedAt`, nanoseconds; a Create without one takes `createdAt`.
- Labels: the tags, the extra properties (`details`, when the option is on), then what the alert says of itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Notice, Reading, Severity, Status, Webhook
from bridge.sources.absent import key_of, text_of
from bridge.sources.body import block_at, object_in
from bridge.sources.fields import spelled, words
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
    tag_pairs,
    texts_in,
)

_ACKNOWLEDGING = words("acknowledge acknowledged ack")
_ENDING = words("close closed delete deleted")
_OPENING = words("create created")
_GIVING_BACK = words("unacknowledge unacknowledged unack")
_ASIDE = words(  # actions that tell nothing of whether the alert is open
    "addnote noteadded addtags removetags tagsadded tagsremoved adddetails removedetails addteam addrecipient"
    " addresponder assign assignownership takeownership ownershiptaken assigned escalate escalatenext escalated snooze"
    " snoozeended snoozed updatemessage updatedescription updatedetails messageupdated descriptionupdated"
    " executecustomaction attachfile addattachment"
)
_BY_PRIORITY = {
    "1": Severity.CRITICAL,
    "2": Severity.ERROR,
    "3": Severity.WARNING,
    **dict.fromkeys(words("4 5"), Severity.INFO),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opsgenie(SharedSecret):
    """An Opsgenie or Jira Service Management that posts here. It signs nothing: a header of its own proves it."""

    type: ClassVar[str] = "opsgenie"

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one reading of an action. Raises DecodeError."""
        payload = object_in(webhook)
        alert = block_at(payload, "alert")
        if not alert:
            return (reading_anyway(self.name, self.type, payload),)
        action = text_of(payload.get("action")) or ""
        if spelled(action) in _ASIDE:
            reason = f"{line(action, 100)} does not change whether the alert is open"
            return (_notice(self.name, payload, alert, reason),)
        if spelled(action) in _GIVING_BACK and _severity(alert) is None:
            reason = f"{line(action, 100)} without a priority: the alert is open as it was, and nothing fires anew"
            return (_notice(self.name, payload, alert, reason),)
        return (_alert(self.name, payload, alert, action),)


def _notice(source: str, payload: Mapping[str, Any], alert: Mapping[str, Any], reason: str) -> Notice:
    return Notice(
        source=source,
        source_type=Opsgenie.type,
        reason=reason,
        payload=payload,
        title=_title(source, alert),
        fingerprint=_fingerprint(alert),
    )


def _alert(source: str, payload: Mapping[str, Any], alert: Mapping[str, Any], action: str) -> Alert:
    status = _status(spelled(action), alert)
    created_at = instant_of(alert.get("createdAt"))
    updated_at = instant_of(alert.get("updatedAt"))
    reported_at = updated_at or (created_at if spelled(action) in _OPENING else None)
    alert_id = key_of(alert.get("alertId")) or key_of(alert.get("id"))
    return Alert(
        source=source,
        source_type=Opsgenie.type,
        fingerprint=_fingerprint(alert),
        episode=None if alert_id is None else identity(alert_id),
        reported_at=reported_at,
        status=status,
        severity=_severity(alert),
        title=_title(source, alert),
        description=paragraphs(text_of(alert.get("description")) or text_of(alert.get("note")) or ""),
        labels=layered_labels(
            tag_pairs(texts_in(alert.get("tags"))),
            scalar_pairs(block_at(alert, "details")),
            _own_labels(payload, alert, action),
        ),
        links=links_of(*(link_of("Opsgenie alert", text_of(alert.get(name))) for name in ("url", "alertUrl", "link"))),
        starts_at=created_at,
        ends_at=reported_at if status is Status.RESOLVED else None,
        payload=payload,
    )


def _status(action: str, alert: Mapping[str, Any]) -> Status:
    if action in _ACKNOWLEDGING:
        return Status.ACKNOWLEDGED
    if action in _ENDING or (not action and text_of(alert.get("status")) == "closed"):
        return Status.RESOLVED
    return Status.FIRING


def _severity(alert: Mapping[str, Any]) -> Severity | None:
    priority = (text_of(alert.get("priority")) or "").upper().removeprefix("P")
    return _BY_PRIORITY.get(priority)


def _fingerprint(alert: Mapping[str, Any]) -> str:
    for kind, name in (("alias", "alias"), ("alert", "alertId"), ("alert", "id"), ("tiny", "tinyId")):
        if (key := key_of(alert.get(name))) is not None:
            return identity(kind, key)
    entity = text_of(alert.get("entity")) or ""
    return identity("message", text_of(alert.get("message")) or "", entity)


def _title(source: str, alert: Mapping[str, Any]) -> str:
    return line(text_of(alert.get("message")) or text_of(alert.get("alias")) or "") or f"Alert from {source}"


def _own_labels(payload: Mapping[str, Any], alert: Mapping[str, Any], action: str) -> Iterator[tuple[str, str | None]]:
    yield "action", action
    yield "priority", text_of(alert.get("priority"))
    yield "entity", text_of(alert.get("entity"))
    yield "source", text_of(alert.get("source"))
    yield "teams", ",".join(texts_in(alert.get("teams")))
    yield "alias", text_of(alert.get("alias"))
    yield "tiny_id", text_of(alert.get("tinyId"))
    yield "integration", text_of(payload.get("integrationName"))
    yield "tags", ",".join(texts_in(alert.get("tags")))
