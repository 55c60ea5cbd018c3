"""Kibana's webhook connector: bodies that an operator wrote in Mustache, for each alert or as a summary of them.

In: one alert of one rule, or {alerts: {new, ongoing, recovered}}. Out: one Reading per alert.

Facts: SOURCES.md sections 1 and 12, published bodies, and
https://www.elastic.co/guide/en/kibana/current/rule-action-variables.html (variables of both kinds; read 2026-11). Names
are found in any spelling: `rule_id`, `rule.id`, `ruleId`. What is decided here:

- Fingerprint: rule and alert id (`alert.id`, the instance), with the space where the body names it. Without the
  instance the uuid, else the rule alone.
- Episode: `alert.uuid`, which an alert keeps until it has recovered.
- Status: the action group `recovered` resolves; without a group a status or event type that ends so. All else fires. An
  alert that a summary lists under `recovered` has.
- Severity: what the body calls so, else the last word of the action group (`metrics.threshold.warning`).
- Time of the report: `date`, when the rule scheduled the action. An alert of a summary takes the summary's.
- Title: the rule with the alert id. Labels: the tags, "true" unless they are `name:value`, then rule, alert, space.
- A summary that only counts is one report on the rule: with new or ongoing alerts it fires, without any it resolves,
  and one that counts nothing at all is a Notice. Where it does not say how many are new and ongoing, it fires.
- In a summary the lists may be JSON (`{{{alerts.new.data}}}`) or JSON in a text (`{{alerts.new.data}}`).
- Kibana signs nothing and has no id of a delivery.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Notice, Reading, Severity, Status, Webhook
from bridge.domain.errors import DecodeError
from bridge.sources.absent import text_of
from bridge.sources.body import block_at, json_in, kind_of, object_in
from bridge.sources.fields import Fields, fields_of, spelled, words
from bridge.sources.generic import ALERTS_MAX, NOT_READ, reading_anyway, severity_in
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
    tag_pairs,
    texts_in,
)

_WRAPPERS = words("data payload kibana")
_RULES = ("ruleid", "ruleuuid", "kibanaalertruleuuid")
_RULE_NAMES = ("rulename", "alertname", "kibanaalertrulename", "rulenamename")
_INSTANCES = ("alertid", "instanceid", "kibanaalertinstanceid")
_UUIDS = ("alertuuid", "kibanaalertuuid", "uuid")
_GROUPS = ("alertactiongroup", "actiongroup", "actiongroupname", "alertactiongroupname", "kibanaalertactiongroup")
_STATUSES = ("status", "alertstatus", "kibanaalertstatus", "state", "eventtype", "eventaction", "action")
_OVER = words("recovered resolved ok closed")
_REASONS = ("reason", "contextreason", "contextmessage", "message", "kibanaalertreason", "description")
_SPACES = ("spaceid", "rulespaceid", "space", "kibanaspaceids")
_TIMES = ("date", "timestamp", "contextdate", "kibanaalertend")
_TAGS = ("ruletags", "tags", "kibanaalertruletags")
_LINKS = {
    "Kibana rule": ("ruleurl",),
    "Kibana alert": ("alertdetailsurl", "contextalertdetailsurl", "viewinappurl", "link", "url"),
}
_SUMMARY = ("new", "ongoing", "recovered")
_COUNT = re.compile(r"[0-9]{1,9}")
_SEPARATORS = re.compile(r"[\s._:-]+")
_NO_INSTANCE = ("*", "query matched")  # what rules without groups call their only alert


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticKibana(SharedSecret):
    """A Kibana that posts here. It signs nothing: basic credentials or a header of the connector prove it."""

    type: ClassVar[str] = "elastic_kibana"

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one reading of an alert, or every one of a summary. Raises DecodeError."""
        payload = object_in(webhook)
        listed = {name: _listed(block_at(payload, "alerts").get(name)) for name in _SUMMARY}
        if any(listed.values()):
            return tuple(_of_summary(self.name, payload, listed))
        new, ongoing, recovered = (_counted(block_at(payload, "alerts").get(name)) for name in _SUMMARY)
        is_over = new == ongoing == 0
        if is_over and not recovered:
            reason = "the summary counts no alerts"
            return (Notice(source=self.name, source_type=self.type, reason=reason, payload=payload),)
        reading = self._whole(payload)
        if is_over and isinstance(reading, Alert):
            return (replace(reading, status=Status.RESOLVED, ends_at=reading.reported_at),)
        return (reading,)

    def _whole(self, payload: Mapping[str, Any]) -> Reading:
        """A body as one report."""
        fields = fields_of(payload, wrappers=_WRAPPERS)
        if fields.key(*_RULES, *_UUIDS) is None and fields.text(*_RULE_NAMES) is None:
            return reading_anyway(self.name, self.type, payload)
        return _alert(self.name, payload, fields)


def _counted(section: Any) -> int | None:
    """How many alerts one section of a summary counts, `{{alerts.new.count}}`; None where it does not say."""
    count = text_of(section.get("count")) if isinstance(section, dict) else None
    return int(count) if count is not None and _COUNT.fullmatch(count) else None


def _listed(section: Any) -> list[Any]:
    """The alerts of one section of a summary: {count, data}, or the list itself; a text that holds the JSON too."""
    data = section.get("data") if isinstance(section, dict) else section
    if isinstance(data, str) and data.lstrip().startswith("["):
        try:
            data = json_in(data.encode())
        except DecodeError:  # then it is a text, and the rest of the body still pages
            return []
    return data if isinstance(data, list) else []


def _of_summary(source: str, payload: Mapping[str, Any], listed: Mapping[str, list[Any]]) -> Iterator[Reading]:
    left = ALERTS_MAX
    around = fields_of({key: value for key, value in payload.items() if key != "alerts"}, wrappers=_WRAPPERS)
    for name, elements in listed.items():
        for place, element in enumerate(elements[:left]):
            if isinstance(element, dict) and element:
                fields = fields_of(element, wrappers=_WRAPPERS)
                own = Fields({**around.by_name, **fields.by_name})
                status = Status.RESOLVED if name == "recovered" else Status.FIRING
                yield _alert(source, element, own, status, instant_of(around.value(*_TIMES)))
            else:
                reason = f"$.alerts.{name}[{place}] is {kind_of(element)}, not an alert"
                yield Notice(source=source, source_type=ElasticKibana.type, reason=reason, payload=element)
        left = max(0, left - len(elements))
    if (number := sum(map(len, listed.values())) - ALERTS_MAX) > 0:
        reason, payload = f"{number} {NOT_READ}", {"alerts": number}
        yield Notice(source=source, source_type=ElasticKibana.type, reason=reason, payload=payload)


def _alert(
    source: str,
    payload: Mapping[str, Any],
    fields: Fields,
    listed_as: Status | None = None,
    listed_at: datetime | None = None,
) -> Alert:
    reported_at = listed_at or next(iter(_instants(fields)), None)
    status = listed_as or _status(fields)
    name = fields.text(*_RULE_NAMES)
    rule, instance = _who(fields)
    title = line(fields.text("title", "subject") or name or fields.text(*_REASONS) or "") or f"Alert from {source}"
    shown = instance is not None and instance not in (*_NO_INSTANCE, rule) and instance.lower() not in title.lower()
    uuid = fields.key(*_UUIDS)
    return Alert(
        source=source,
        source_type=ElasticKibana.type,
        fingerprint=_fingerprint(fields, rule, instance, uuid, name or title),
        episode=None if uuid is None else identity(uuid),
        reported_at=reported_at,
        status=status,
        severity=_severity(fields),
        title=line(f"{title} ({instance})") if shown else title,
        description=paragraphs(fields.text(*_REASONS) or ""),
        labels=_labels(fields, rule, instance, name),
        links=links_of(*(link_of(text, href) for text, names in _LINKS.items() for href in fields.texts(*names))),
        starts_at=instant_of(fields.value("kibanaalertstart", "alertstart")),
        ends_at=reported_at if status is Status.RESOLVED else None,
        payload=payload,
    )


def _who(fields: Fields) -> tuple[str | None, str | None]:
    """The ids of rule and alert. Kibana's older variables call the rule alertId and the alert alertInstanceId."""
    older = fields.key("alertinstanceid")
    if older is not None:
        return fields.key(*_RULES, "alertid"), older
    return fields.key(*_RULES), fields.key(*_INSTANCES)


def _fingerprint(fields: Fields, rule: str | None, instance: str | None, uuid: str | None, name: str) -> str:
    told = digest_of([fields.key(*_SPACES), rule or name])
    if instance is not None:
        return identity("alert", told, instance)
    return identity("rule", told) if uuid is None else identity("uuid", uuid)


def _instants(fields: Fields) -> Iterator[datetime]:
    for name in _TIMES:
        if (instant := instant_of(fields.value(name))) is not None:
            yield instant


def _status(fields: Fields) -> Status:
    told = fields.texts(*_GROUPS) or fields.texts(*_STATUSES)
    return Status.RESOLVED if any(_last_word(text) in _OVER for text in told) else Status.FIRING


def _last_word(text: str) -> str:
    """`metrics.threshold.warning`, `alert_recovered`: what an identifier ends with."""
    return spelled(_SEPARATORS.split(text[-200:])[-1])


def _severity(fields: Fields) -> Severity | None:
    told = fields.texts("severity", "contextseverity", "priority", "kibanaalertseverity")
    return severity_in((*told, *map(_last_word, fields.texts(*_GROUPS))))


def _labels(fields: Fields, rule: str | None, instance: str | None, name: str | None) -> Mapping[str, str]:
    return layered_labels(
        tag_pairs(_tags(fields)),
        [
            ("rule", name),
            ("rule_id", rule),
            ("rule_type", fields.text("ruletype")),
            ("alert_id", instance),
            ("action_group", fields.text(*_GROUPS)),
            ("flapping", fields.text("alertflapping", "flapping", "kibanaalertflapping")),
            ("space", fields.text(*_SPACES)),
            ("group", fields.text("contextgroup", "group")),
            ("value", fields.text("contextvalue", "value")),
            ("threshold", fields.text("contextthreshold", "threshold")),
            ("tags", ",".join(_tags(fields))),
        ],
    )


def _tags(fields: Fields) -> list[str]:
    """The tags of the rule: a list, or one text with commas, which is what `{{rule.tags}}` becomes."""
    tags = fields.value(*_TAGS)
    if isinstance(tags, str):
        tags = list(islice((tag.strip() for tag in tags.split(",", LABELS_MAX)), LABELS_MAX))
    return [tag for tag in texts_in(tags) if tag]
