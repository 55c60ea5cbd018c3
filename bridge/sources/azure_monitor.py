"""Azure Monitor action groups: the common alert schema, and the older ones of metric, log and activity log alerts.

In: one notification of one alert. Out: one Alert; a Notice for what reports an action (autoscale).

Facts: SOURCES.md sections 1 and 10, which cite
https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-common-schema; samples of each alert type in
MicrosoftDocs/azure-monitor-docs articles/azure-monitor/alerts/ (alerts-payload-samples.md,
activity-log-alerts-webhook.md; read 2026-11). What is decided here:

- Common schema: the fingerprint and the episode are `alertId`, one alert instance; Fired is firing, Resolved resolved.
  Its time is firedDateTime, or resolvedDateTime once resolved: a fired one may carry both. Stateless alerts (log,
  activity log) never resolve, and each firing is an alert of its own; a rule may join them by originAlertId.
- Service Health is told in updates of one tracking id, each "Fired" under an alert id of its own: fingerprint and
  status come from the tracking id and from stage and status, in both schemas. Its root cause report (RCA) and
  cancelled maintenance end it. Resource Health likewise, by the resource: it is over when it is Resolved or the
  resource is Available, which an update that comes later repeats.
- Older metric alerts: rule, resource and dimensions; Activated is firing, Resolved and Deactivated are resolved. They
  tell no episode. Older log alerts: rule, workspace and dimensions; always firing, with `schemaId` and `data` around
  them or, of Log Analytics and the test of an action group, without
  (articles/azure-monitor/alerts/alerts-non-common-schema-definitions.md; read 2026-11). Older activity log alerts:
  correlation id, operation and resource, so that "Started" and "Succeeded" of one operation are one problem.
- Severity: Sev0 critical, Sev1 error, Sev2 warning, Sev3 and Sev4 info; without one the level or its word. Azure sends
  Sev4 for every activity log alert of the common schema: the label `level` tells more.
- A budget of the common schema has no rule and no target: its title is the budget's name and the kind of its threshold.
- Resource ids are compared in lower case, as Azure does. The test of an action group pages: it looks like a real one.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Link, Notice, Reading, Severity, Status, Webhook
from bridge.sources.absent import key_of, text_of
from bridge.sources.body import block_at, object_in
from bridge.sources.fields import words
from bridge.sources.generic import reading_anyway
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
    texts_in,
)

_CRITERIA_MAX = 20  # of one condition that are looked at
_RESOLVED = words("resolved deactivated")
_HEALTH_OVER = words("resolved complete completed canceled cancelled rejected rca")
_BY_SEV = {
    "0": Severity.CRITICAL,
    "1": Severity.ERROR,
    "2": Severity.WARNING,
    "3": Severity.INFO,
    "4": Severity.INFO,
}
_BY_LEVEL = {  # words, and the numbers that Service Health of the common schema has instead
    **dict.fromkeys(words("critical 1"), Severity.CRITICAL),
    **dict.fromkeys(words("error 2"), Severity.ERROR),
    **dict.fromkeys(words("warning 3"), Severity.WARNING),
    **dict.fromkeys(words("informational information verbose 4 5"), Severity.INFO),
}
_RESOURCE = re.compile(
    r"/subscriptions/([^/]{1,100})(?:/resourcegroups/([^/]{1,100}))?(?:/providers/([^/]{1,100}/[^/]{1,100})/.{0,1000})?",
    re.IGNORECASE,
)

_Labels = list[tuple[str, str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureMonitor(SharedSecret):
    """An Azure action group that posts here. Azure signs nothing: a secret in the address (`query`) proves it."""

    type: ClassVar[str] = "azure_monitor"

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one reading of a notification, whichever schema it has. Raises DecodeError."""
        payload = object_in(webhook)
        return (_reading(self.name, payload),)


def _reading(source: str, payload: Mapping[str, Any]) -> Reading:
    told = payload if block_at(payload, "context") or _is_log(payload) else block_at(payload, "data")
    if block_at(payload, "data", "essentials"):
        return _common(source, payload)
    if block_at(told, "context", "activityLog"):
        return _activity_log(source, payload, told)
    if _is_log(told):
        return _log(source, payload, told)
    if not block_at(told, "context"):
        return _other(source, payload, told)
    if text_of(told.get("operation")):
        reason = "autoscale tells what it did"
        title = line(text_of(block_at(told, "context").get("name")) or "")
        return Notice(source=source, source_type=AzureMonitor.type, reason=reason, payload=payload, title=title)
    return _metric(source, payload, told)


def _common(source: str, payload: Mapping[str, Any]) -> Alert:
    essentials, context = block_at(payload, "data", "essentials"), block_at(payload, "data", "alertContext")
    targets = texts_in(essentials.get("alertTargetIDs"))
    health = _health(context, targets[0] if targets else None)
    is_resolved = _word(essentials.get("monitorCondition")) in _RESOLVED
    status = _status(is_resolved if health is None else health.is_over)
    fired_at, resolved_at = instant_of(essentials.get("firedDateTime")), instant_of(essentials.get("resolvedDateTime"))
    alert_id = key_of(essentials.get("alertId"))
    reported_at = resolved_at if is_resolved else fired_at
    return Alert(
        source=source,
        source_type=AzureMonitor.type,
        fingerprint=_common_fingerprint(essentials, targets, alert_id) if health is None else health.fingerprint,
        episode=None if health is not None or alert_id is None else identity(alert_id.lower()),
        reported_at=reported_at,
        status=status,
        severity=_by_sev(essentials.get("severity")) or _by_level(context.get("level")),
        title=_common_title(source, essentials, context, health),
        description=_description(
            text_of(essentials.get("description"))
            or text_of(block_at(context, "annotations").get("summary"))
            or text_of(block_at(context, "properties").get("communication")),
            context,
        ),
        labels=layered_labels(
            scalar_pairs(block_at(payload, "data", "customProperties")),
            scalar_pairs(block_at(context, "labels")),
            _dimensions(context),
            _common_labels(essentials, context, targets),
        ),
        links=_links(essentials, context, targets[0] if targets else None),
        starts_at=fired_at if health is None else instant_of(block_at(context, "properties").get("impactStartTime")),
        ends_at=reported_at if status is Status.RESOLVED else None,
        payload=payload,
    )


def _common_fingerprint(essentials: Mapping[str, Any], targets: list[str], alert_id: str | None) -> str:
    if alert_id is not None:
        return identity("alert", alert_id.lower())
    if (origin := key_of(essentials.get("originAlertId"))) is not None:
        return identity("origin", origin.lower())
    return identity("rule", (text_of(essentials.get("alertRule")) or "").lower(), *(id_.lower() for id_ in targets))


def _common_title(
    source: str, essentials: Mapping[str, Any], context: Mapping[str, Any], health: "_Health | None"
) -> str:
    rule = (text_of(essentials.get("alertRule")) or "").rpartition("/")[2]  # some types give its resource id
    if health is not None and health.title:
        return health.title
    if not rule and (budget := text_of(block_at(context, "AlertData").get("BudgetName"))) is not None:
        kind = text_of(block_at(context, "AlertData").get("ThresholdType"))
        return line(f"Budget {budget} ({kind})" if kind else f"Budget {budget}")
    if not rule:
        rule = text_of(block_at(context, "annotations").get("summary")) or f"Alert from {source}"
    return _titled(rule, texts_in(essentials.get("configurationItems")))


def _common_labels(essentials: Mapping[str, Any], context: Mapping[str, Any], targets: list[str]) -> _Labels:
    return [
        ("rule", text_of(essentials.get("alertRule"))),
        ("severity", text_of(essentials.get("severity"))),
        ("signal_type", text_of(essentials.get("signalType"))),
        ("monitoring_service", text_of(essentials.get("monitoringService"))),
        ("resource", ",".join(texts_in(essentials.get("configurationItems")))),
        ("budget", text_of(block_at(context, "AlertData").get("BudgetName"))),
        ("threshold_type", text_of(block_at(context, "AlertData").get("ThresholdType"))),
        ("threshold", text_of(block_at(context, "AlertData").get("NotificationThresholdAmount"))),
        *_log_labels(context),
        *_resource_labels(targets[0] if targets else None),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Health:
    """What an update of Service Health or Resource Health is about, and whether it is over."""

    fingerprint: str
    is_over: bool
    title: str


def _health(log: Mapping[str, Any], resource: str | None) -> _Health | None:
    """The health update in an activity log entry; None when it is another entry, or tells not of what."""
    operation = _word(log.get("operationName"))
    about = block_at(log, "properties")
    title = line(text_of(about.get("title")) or text_of(about.get("defaultLanguageTitle")) or "")
    status = _word(log.get("status"))
    if operation.startswith("microsoft.servicehealth/") and (tracking := key_of(about.get("trackingId"))) is not None:
        is_over = status in _HEALTH_OVER or _word(about.get("stage")) in _HEALTH_OVER
        return _Health(fingerprint=identity("service-health", tracking.lower()), is_over=is_over, title=title)
    resource = key_of(log.get("resourceId")) or key_of(resource)
    if operation.startswith("microsoft.resourcehealth/") and resource is not None:
        is_over = (
            "resolved" in (status, *operation.split("/")) or _word(about.get("currentHealthStatus")) == "available"
        )
        return _Health(fingerprint=identity("resource-health", resource.lower()), is_over=is_over, title=title)
    return None


def _activity_log(source: str, payload: Mapping[str, Any], told: Mapping[str, Any]) -> Alert:
    log = block_at(told, "context", "activityLog")
    about = block_at(log, "properties")
    health = _health(log, None)
    status = _status(health is not None and health.is_over)
    reported_at = instant_of(log.get("submissionTimestamp")) or instant_of(log.get("eventTimestamp"))
    operation = text_of(log.get("operationName"))
    resource = text_of(log.get("resourceId"))
    own = [(key_of(log.get(name)) or "").lower() for name in ("correlationId", "operationName", "resourceId")]
    if not any(own):
        own = [digest_of(log)]
    description = text_of(about.get("communication")) or text_of(log.get("description")) or text_of(about.get("title"))
    title = line(text_of(about.get("title")) or text_of(about.get("recommendationName")) or "", 200)
    if not title and _word(log.get("eventSource")) != "administrative":
        title = line(text_of(log.get("description")) or "", 200)
    return Alert(
        source=source,
        source_type=AzureMonitor.type,
        fingerprint=identity("activity", *own) if health is None else health.fingerprint,
        reported_at=reported_at,
        status=status,
        severity=_by_level(log.get("level")),
        title=title or _titled(operation or f"Alert from {source}", [(resource or "").rpartition("/")[2]]),
        description=_description(description, log),
        labels=layered_labels(scalar_pairs(block_at(told, "properties")), _log_labels(log), _resource_labels(resource)),
        links=_links(told, log, resource),
        starts_at=instant_of(about.get("impactStartTime")),
        ends_at=reported_at if status is Status.RESOLVED else None,
        payload=payload,
    )


def _is_log(told: Mapping[str, Any]) -> bool:
    return text_of(told.get("AlertRuleName")) is not None or text_of(told.get("SearchQuery")) is not None


def _log(source: str, payload: Mapping[str, Any], told: Mapping[str, Any]) -> Alert:
    rule = text_of(told.get("AlertRuleName"))
    workspace = key_of(told.get("WorkspaceId")) or key_of(told.get("ApplicationId")) or ""
    subscription = key_of(told.get("SubscriptionId")) or ""
    dimensions = _dimensions(told)
    query = rule or digest_of(text_of(told.get("SearchQuery")))
    return Alert(
        source=source,
        source_type=AzureMonitor.type,
        fingerprint=identity("log", subscription, workspace, query, *_spoken(dimensions)),
        reported_at=instant_of(told.get("SearchIntervalEndtimeUtc")),
        status=Status.FIRING,
        severity=_by_sev(told.get("Severity")) or _by_level(told.get("Severity")) or _by_level(told.get("severity")),
        title=_titled(rule or f"Alert from {source}", texts_in(told.get("AffectedConfigurationItems"))),
        description=_description(text_of(told.get("Description")), told),
        labels=layered_labels(
            dimensions,
            [
                ("rule", rule),
                ("severity", text_of(told.get("Severity"))),
                ("subscription", subscription),
                ("resource", ",".join(texts_in(told.get("AffectedConfigurationItems")))),
            ],
        ),
        links=_links({}, told, None),
        payload=payload,
    )


def _metric(source: str, payload: Mapping[str, Any], told: Mapping[str, Any]) -> Alert:
    context = block_at(told, "context")
    rule, resource = key_of(context.get("id")), text_of(context.get("resourceId"))
    name = text_of(context.get("name")) or (rule or "").rpartition("/")[2]
    status = _status(_word(told.get("status")) in _RESOLVED)
    reported_at = instant_of(context.get("timestamp"))
    dimensions = _dimensions(context)
    own = (rule or name or digest_of(context), key_of(resource) or "", *_spoken(dimensions))
    return Alert(
        source=source,
        source_type=AzureMonitor.type,
        fingerprint=identity("metric", *(part.lower() for part in own)),
        reported_at=reported_at,
        status=status,
        severity=_by_sev(context.get("severity")),
        title=_titled(name or f"Alert from {source}", [text_of(context.get("resourceName")) or ""]),
        description=_description(text_of(context.get("description")), context),
        labels=layered_labels(
            scalar_pairs(block_at(told, "properties")),
            dimensions,
            [
                ("rule", name),
                ("severity", text_of(context.get("severity"))),
                ("resource", text_of(context.get("resourceName"))),
                ("resource_type", text_of(context.get("resourceType"))),
                ("region", text_of(context.get("resourceRegion"))),
            ],
            _resource_labels(resource),
        ),
        links=_links({}, context, resource),
        ends_at=reported_at if status is Status.RESOLVED else None,
        payload=payload,
    )


def _other(source: str, payload: Mapping[str, Any], told: Mapping[str, Any]) -> Reading:
    """A schema of its own (budgets have one): by its name and the name in it."""
    schema, pairs = text_of(payload.get("schemaId")), scalar_pairs(told)
    if schema is None or not any(value for _, value in pairs):
        return reading_anyway(source, AzureMonitor.type, payload)
    name = key_of(told.get("BudgetName")) or key_of(told.get("name"))
    return Alert(
        source=source,
        source_type=AzureMonitor.type,
        fingerprint=identity("other", schema, key_of(told.get("SubscriptionId")) or "", name or digest_of(told)),
        status=Status.FIRING,
        title=_titled(schema, [name or ""]),
        description=paragraphs("\n".join(f"{line(key, 100)}: {line(value)}" for key, value in pairs if value)),
        labels=layered_labels([("schema", schema), ("name", name)]),
        payload=payload,
    )


def _status(is_over: bool) -> Status:
    return Status.RESOLVED if is_over else Status.FIRING


def _word(value: Any) -> str:
    return (text_of(value) or "").lower()


def _by_sev(value: Any) -> Severity | None:
    return _BY_SEV.get(_word(value).removeprefix("sev"))


def _by_level(value: Any) -> Severity | None:
    return _BY_LEVEL.get(_word(value))


def _titled(text: str, items: list[str]) -> str:
    """A name with the resources behind it that it does not name itself."""
    unnamed = [item for item in items[:5] if item and item.lower() not in text.lower()]
    return line(f"{text} ({', '.join(unnamed)})" if unnamed else text)


def _criteria(context: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The parts of a condition: `allOf` of newer alerts, the one flat condition of classic ones."""
    condition = block_at(context, "condition")
    parts = condition.get("allOf")
    if not isinstance(parts, list):
        return [condition] if condition else []
    return [part for part in parts[:_CRITERIA_MAX] if isinstance(part, dict)]


def _dimensions(context: Mapping[str, Any]) -> _Labels:
    """The dimensions that tell one time series of a rule from another, each pair once, in order of their names."""
    found: set[tuple[str, str]] = set()
    for part in (context, *_criteria(context)):
        given = part.get("dimensions") or part.get("Dimensions")
        for one in islice(given if isinstance(given, list) else [], LABELS_MAX):
            if isinstance(one, dict) and (name := key_of(one.get("name"))) and (value := key_of(one.get("value"))):
                found.add((name, value))
    return sorted(found)


def _spoken(dimensions: _Labels) -> list[str]:
    return [f"{name}={value}" for name, value in dimensions]


def _description(words_of_rule: str | None, context: Mapping[str, Any]) -> str:
    lines = [words_of_rule] if words_of_rule else []
    for part in _criteria(context):
        metric = text_of(part.get("metricName")) or text_of(part.get("searchQuery"))
        bound = " ".join(text for name in ("operator", "threshold") if (text := text_of(part.get(name))) is not None)
        value = text_of(part.get("metricValue"))
        if metric is not None:
            lines.append(f"{metric} {bound}".rstrip() + ("" if value is None else f"; measured {value}"))
    told = (text_of(context.get(name)) for name in ("expression", "SearchQuery", "operationName"))
    return paragraphs("\n".join([*lines, *(text for text in told if text is not None)]))


def _log_labels(log: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """What an activity log entry says of itself."""
    about = block_at(log, "properties")
    yield "level", text_of(log.get("level"))
    yield "operation", text_of(log.get("operationName"))
    yield "operation_status", text_of(log.get("status"))
    yield "event_source", text_of(log.get("eventSource"))
    for label, name in (
        ("incident_type", "incidentType"),
        ("stage", "stage"),
        ("service", "service"),
        ("region", "region"),
        ("tracking_id", "trackingId"),
        ("health_status", "currentHealthStatus"),
        ("cause", "cause"),
    ):
        yield label, text_of(about.get(name))


def _resource_labels(resource: str | None) -> _Labels:
    found = _RESOURCE.match(resource or "")
    if found is None:
        return []
    subscription, group, kind = found.groups()
    return [
        ("resource_id", resource),
        ("subscription", subscription),
        ("resource_group", group),
        ("resource_type", kind),
    ]


def _links(told: Mapping[str, Any], context: Mapping[str, Any], resource: str | None) -> tuple[Link, ...]:
    results = [text_of(part.get("linkToSearchResultsUI")) for part in _criteria(context)]
    portal = f"https://portal.azure.com/#resource{resource}" if resource and _RESOURCE.match(resource) else None
    return links_of(
        link_of("Azure alert", text_of(told.get("investigationLink"))),
        link_of("Search results", text_of(context.get("LinkToFilteredSearchResultsUI"))),
        link_of("Search results", text_of(context.get("LinkToSearchResults"))),
        *(link_of("Search results", href) for href in results),
        link_of("Azure resource", text_of(context.get("portalLink")) or portal),
    )
