"""New Relic's webhooks: the body of a workflow's template, as it comes or changed, and the legacy notification channel.

In: one state of one issue, or of one legacy incident. Out: one Alert; a Notice for the channel's test.

Facts: SOURCES.md sections 1 and 7, which cite
https://docs.newrelic.com/docs/alerts-applied-intelligence/notifications/notification-integrations/, published bodies,
and https://docs.newrelic.com/docs/alerts/get-notified/custom-variables-incident-workflows/ (names of the variables;
read 2026-11). Names are found in any spelling: `issueId`, `issue_id`, `issue: {id}`. What is decided here:

- Fingerprint: the issue's id, new each time, so it is the episode too. A rule may join the issues of one condition and
  entity: `dedup: [source, labels.condition, labels.entity]`. Legacy: account and incident id. Without an id: the key
  that a body made for another tool has (`deduplication_key`, as incident.io's, https://docs.incident.io/api-reference/
  alert-events-v2/createhttp; read 2026-11), else policy, condition and entities, else the title.
- Status: CLOSED is resolved. An issue somebody took keeps ACTIVATED: `acknowledgedAt`, or an owner that is not `N/A`,
  makes it acknowledged, unless the trigger says that an incident was added or the priority changed: then it fires.
- Severity: CRITICAL critical, HIGH error, MEDIUM and WARNING warning, LOW and INFO info.
- Time of the report: `updatedAt`; a body without it takes the time of what it tells. Legacy: `timestamp`.
- Title: the issue's; legacy: the condition with its targets, for the details tell values.
- New Relic signs nothing and gives no id of a delivery. Legacy incident 0 is the channel's test.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Notice, Reading, Status, Webhook
from bridge.sources.absent import text_of
from bridge.sources.body import block_at, object_in
from bridge.sources.fields import Fields, fields_of, spelled, words
from bridge.sources.generic import reading_anyway, severity_in
from bridge.sources.signatures import SharedSecret
from bridge.sources.texts import (
    LABELS_MAX,
    digest_of,
    identity,
    instant_of,
    layered_labels,
    line,
    link_of,
    links_of,
    paragraphs,
    scalar_pairs,
)

_WRAPPERS = words("data payload newrelic notification")
_ISSUE_IDS = ("issueid", "id")
_KEYS = ("deduplicationkey", "dedupkey", "incidentkey")
_TITLES = ("issuetitle", "title", "annotationstitle")
_STATES = ("state", "issuestate", "status", "currentstate")
_PRIORITIES = ("priority", "issuepriority", "severity")
_OVER = words("closed resolved")
_TAKEN = words("acknowledged acknowledge")
_WORSE = ("added", "created", "activated", "priority")  # in a trigger that tells more than a change of hands
_NOBODY = words("n/a na none unassigned")
_POLICIES = ("alertpolicynames", "alertpolicyname", "policynames", "policyname", "policy")
_CONDITIONS = ("alertconditionnames", "alertconditionname", "conditionnames", "conditionname", "condition")
_ENTITIES = ("impactedentities", "impactedentity", "entitynames", "entitiesdatanames", "entityname", "entity")
_LINKS = {
    "New Relic issue": ("issueurl", "issuepageurl", "incidenturl", "violationcallbackurl"),
    "Runbook": ("runbookurl", "runbook"),
    "Acknowledge": ("incidentacknowledgeurl", "issueackurl"),
    "Chart": ("violationcharturl", "charturl"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRelic(SharedSecret):
    """A New Relic account that posts here. It signs nothing: a header, bearer or basic credentials prove it."""

    type: ClassVar[str] = "newrelic"

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one reading of a notification. Raises DecodeError."""
        payload = object_in(webhook, form_anyway=True)
        fields = fields_of(payload, wrappers=_WRAPPERS)
        if fields.text("currentstate") is not None and fields.text("issueid") is None:
            return (_of_channel(self.name, payload, fields),)
        if fields.text(*_STATES) is None or (fields.key(*_ISSUE_IDS) is None and fields.text(*_TITLES) is None):
            return (reading_anyway(self.name, self.type, payload),)
        return (_of_issue(self.name, payload, fields),)


def _of_issue(source: str, payload: Mapping[str, Any], fields: Fields) -> Alert:
    issue = fields.key(*_ISSUE_IDS)
    status = _status(fields)
    moment = {Status.RESOLVED: "closedat", Status.ACKNOWLEDGED: "acknowledgedat", Status.FIRING: "createdat"}[status]
    reported_at = instant_of(fields.value("updatedat", "issueupdatedat")) or instant_of(fields.value(moment))
    policy, condition, entity = (_joined(fields, names) for names in (_POLICIES, _CONDITIONS, _ENTITIES))
    title = line(fields.text(*_TITLES) or condition or "")
    parts = (policy, condition, entity) if policy or condition else (title, entity)
    key = fields.key(*_KEYS)
    without_issue = _by_condition(*parts) if key is None else identity("key", key)
    return Alert(
        source=source,
        source_type=NewRelic.type,
        fingerprint=without_issue if issue is None else identity("issue", issue),
        episode=None if issue is None else identity(issue),
        reported_at=reported_at,
        status=status,
        severity=severity_in(fields.texts(*_PRIORITIES)),
        title=title or f"Alert from {source}",
        description=paragraphs(_joined(fields, ("annotationsdescription", "description", "details", "message"), "\n")),
        labels=_labels(payload, fields, policy, condition, entity),
        links=links_of(*(link_of(text, href) for text, names in _LINKS.items() for href in _texts(fields, names))),
        starts_at=instant_of(fields.value("activatedat", "createdat", "issuecreatedat")),
        ends_at=(instant_of(fields.value("closedat")) or reported_at) if status is Status.RESOLVED else None,
        payload=payload,
    )


def _status(fields: Fields) -> Status:
    state = spelled(fields.text(*_STATES) or "")
    if state in _OVER:
        return Status.RESOLVED
    if state in _TAKEN:
        return Status.ACKNOWLEDGED
    trigger = spelled(fields.text("trigger", "triggerevent") or "")
    if any(word in trigger for word in _WORSE):
        return Status.FIRING
    owner = fields.text("owner", "acknowledgedby", "issueacknowledgedby")
    taken = instant_of(fields.value("acknowledgedat", "issueacknowledgedat")) is not None
    return Status.ACKNOWLEDGED if taken or (owner or "n/a").lower() not in _NOBODY else Status.FIRING


def _of_channel(source: str, payload: Mapping[str, Any], fields: Fields) -> Reading:
    """The legacy channel: one state of one incident."""
    account, incident = fields.key("accountid"), fields.key("incidentid")
    policy, condition = _joined(fields, _POLICIES), _joined(fields, _CONDITIONS)
    targets = ", ".join(name for target in _targets(fields) if (name := text_of(target.get("name"))) is not None)
    named = line(f"{condition or policy} ({targets})" if targets else condition or policy)
    title = named or line(fields.text("details") or "") or f"Alert from {source}"
    if incident == "0":
        reason = "a test of the notification channel"
        return Notice(source=source, source_type=NewRelic.type, reason=reason, payload=payload, title=title)
    by_condition = _by_condition(policy, condition, targets)
    state = spelled(fields.text("currentstate") or "")
    status = Status.RESOLVED if state in _OVER else Status.ACKNOWLEDGED if state in _TAKEN else Status.FIRING
    reported_at = instant_of(fields.value("timestamp"))
    return Alert(
        source=source,
        source_type=NewRelic.type,
        fingerprint=by_condition if incident is None else identity("incident", account or "", incident),
        episode=None if incident is None else identity(incident),
        reported_at=reported_at,
        status=status,
        severity=severity_in(fields.texts("severity", "priority")),
        title=title,
        description=paragraphs(fields.text("details") or ""),
        labels=layered_labels(
            [pair for target in _targets(fields) for pair in scalar_pairs(block_at(target, "labels"))],
            _labels(payload, fields, policy, condition, targets).items(),
        ),
        links=links_of(*(link_of(text, href) for text, names in _LINKS.items() for href in _texts(fields, names))),
        ends_at=reported_at if status is Status.RESOLVED else None,
        payload=payload,
    )


def _by_condition(*parts: str) -> str:
    """What stands for an id where a body has none."""
    return identity("condition", digest_of(parts))


def _targets(fields: Fields) -> Iterator[Mapping[str, Any]]:
    targets = fields.value("targets")
    yield from (one for one in (targets[:LABELS_MAX] if isinstance(targets, list) else ()) if isinstance(one, dict))


def _labels(payload: Mapping[str, Any], fields: Fields, policy: str, condition: str, entity: str) -> Mapping[str, str]:
    owner = fields.text("owner")
    return layered_labels(
        *(scalar_pairs(block_at(payload, name)) for name in ("labels", "tags")),
        [
            ("policy", policy),
            ("condition", condition),
            ("entity", entity),
            ("state", fields.text(*_STATES)),
            ("priority", fields.text(*_PRIORITIES)),
            ("trigger", fields.text("trigger", "triggerevent")),
            ("workflow", fields.text("workflowname")),
            ("account", fields.text("accountname")),
            ("account_id", fields.text("accountid")),
            ("sources", _joined(fields, ("sources", "source"))),
            ("owner", None if owner is None or owner.lower() in _NOBODY else owner),
        ],
    )


def _joined(fields: Fields, names: tuple[str, ...], between: str = ",") -> str:
    """What the first of these names holds, a scalar or a list of them, as one text; empty when there is none."""
    return between.join(next((texts for name in names if (texts := _texts(fields, (name,)))), []))


def _texts(fields: Fields, names: tuple[str, ...]) -> list[str]:
    """Every text under these names."""
    values = [fields.value(name) for name in names]
    flat = [one for value in values for one in (value[:LABELS_MAX] if isinstance(value, list) else [value])]
    return [text for one in flat if (text := text_of(one)) is not None]
