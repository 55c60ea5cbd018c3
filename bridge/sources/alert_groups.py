"""The body that Alertmanager made and others took over: a group of alerts, each with labels, annotations and times.

In: the object of one notification. Out: one Reading per alert, in their order. What a sender does his own way is its
Dialect.

What is decided here, for all of them:

- Fingerprint: the sender's together with the labels, for some copy one fingerprint by hand to several alerts; without
  one, the labels alone.
- Episode: `startsAt`, which the repeats and the recovery of one firing keep. As an instant, for offsets differ. A
  recovery that begins when it ends says neither, for Grafana 12 writes `endsAt` over it
  (https://github.com/grafana/grafana/issues/106065, 117113; read 2026-11). One that began later than was known may come
  from another member of an HA pair: what overlaps is one outage (domain/reports.py), as it is to Alertmanager itself
  (https://github.com/prometheus/alertmanager/blob/main/provider/mem/mem.go, Put; read 2026-11).
- Time of the report: none. `startsAt` is when a problem began, not when this was said, and a sender that was cut off
  reports the very same firing again after its recovery: by that time it would be stale, and nobody would be paged.
- Status: the alert's own; a missing one is the group's, a word unknown is firing. A group fires if any of it does.
- Severity: label `severity`, else `priority` or `level`, else the annotations of these names; `none` is info.
- Title: the annotation `summary` or `title`, else the alert's name; behind it the instance, host or the like when the
  text names none of them. Description: the annotation `description` or `message`.
- Labels: the alert's own (those common to the group where it has none), then `receiver`.
- Alerts that the sender left out (`truncatedAlerts`) are a Notice that says how many. So are those beyond what one
  request may hold: the sender takes a refusal for final, and nobody would be paged for any of the group.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.domain.alert import Alert, Link, Notice, Reading, Severity, Status, Webhook
from bridge.sources.absent import is_absent, key_of, text_of
from bridge.sources.body import block_at, kind_of, says_anything, value_in
from bridge.sources.generic import ALERTS_MAX, NOT_READ, readings_in, severity_in
from bridge.sources.texts import (
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

_SEVERITIES = ("severity", "priority", "level")
_SUBJECTS = ("instance", "host", "hostname", "node", "server", "pod", "container", "device", "service")
_SUMMARIES = ("summary", "title")
_DESCRIPTIONS = ("description", "message")
_CHANGING = frozenset({"status", "startsAt", "endsAt", "values", "valueString"})
_LINKS_MAX = 20


def _nothing(_labels: Mapping[str, str]) -> str | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What one sender does his own way; the functions are given the labels of an alert."""

    why_ignored: Callable[[Mapping[str, str]], str | None] = _nothing  # why an alert reports no problem
    title: Callable[[Mapping[str, str]], str | None] = _nothing  # where the annotations say something else
    annotated: tuple[str, ...] = ()  # annotations whose text follows the description
    described: tuple[str, ...] = ()  # keys of an alert whose text ends it
    linked: tuple[tuple[str, str], ...] = ()  # keys of an alert, or of the group, that hold an address; their text


def group_readings(source: str, source_type: str, webhook: Webhook, dialect: Dialect) -> tuple[Reading, ...]:
    """Every alert of a notification; a body of another shape is read as the generic source would.

    Raises DecodeError.
    """
    value = value_in(webhook)
    alerts = value.get("alerts") if isinstance(value, dict) else None
    if isinstance(value, dict) and alerts == [] and not value.get("truncatedAlerts"):
        return (Notice(source=source, source_type=source_type, reason="the group holds no alerts", payload=value),)
    if not isinstance(alerts, list) or not any(isinstance(one, dict) and _has_shape(one) for one in alerts):
        return readings_in(source, source_type, webhook, None)
    group = _Group(source=source, source_type=source_type, dialect=dialect, payload=value)
    read = (group.reading(one, f"$.alerts[{place}]") for place, one in enumerate(alerts[:ALERTS_MAX]))
    return (*read, *group.not_read(len(alerts) - ALERTS_MAX), *group.cut_off())


def _has_shape(element: Mapping[str, Any]) -> bool:
    return any(isinstance(element.get(name), dict) for name in ("labels", "annotations"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """One notification."""

    source: str
    source_type: str
    dialect: Dialect
    payload: Mapping[str, Any]

    def reading(self, element: Any, where: str) -> Reading:
        if not isinstance(element, dict):
            return self._notice(f"{where} is {kind_of(element)}, not an object", element)
        if not says_anything(element):
            return self._notice(f"{where} says nothing", element)
        own = block_at(element, "labels") or block_at(self.payload, "commonLabels")
        labels = layered_labels(scalar_pairs(own), [("receiver", text_of(self.payload.get("receiver")))])
        why = self.dialect.why_ignored(labels)
        if why is not None:
            return self._notice(why, element)
        return self._alert(element, own, labels)

    def not_read(self, number: int) -> Iterator[Notice]:
        """What is too much for one request: the other alerts page, for a refused group is never sent again."""
        if number > 0:
            yield self._notice(f"{number} {NOT_READ}", {"alerts": number})

    def cut_off(self) -> Iterator[Notice]:
        """What `max_alerts` of the sender left out of the body."""
        missing = text_of(self.payload.get("truncatedAlerts"))
        if missing is not None and missing.isdecimal() and missing.strip("0"):
            reason = f"{line(missing, 20)} more alerts were cut off by max_alerts of the sender"
            yield self._notice(reason, {"truncatedAlerts": self.payload["truncatedAlerts"]})

    def _notice(self, reason: str, payload: Any) -> Notice:
        return Notice(source=self.source, source_type=self.source_type, reason=reason, payload=payload)

    def _alert(self, element: Mapping[str, Any], own: Mapping[str, Any], labels: Mapping[str, str]) -> Alert:
        annotations = block_at(element, "annotations")
        status = self._status(element)
        ends_at = instant_of(element.get("endsAt")) if status is Status.RESOLVED else None
        starts_at = instant_of(element.get("startsAt"))
        if starts_at == ends_at:
            starts_at = None  # it says when it ended, not when it began
        title = self.dialect.title(labels) or _title(labels, annotations) or f"Alert from {self.source}"
        return Alert(
            source=self.source,
            source_type=self.source_type,
            fingerprint=_fingerprint(element, own, title),
            episode=None if starts_at is None else starts_at.isoformat(),
            status=status,
            severity=_severity(labels, annotations),
            title=line(title),
            description=self._description(element, annotations),
            labels=labels,
            links=links_of(*self._links(element, annotations)),
            starts_at=starts_at,
            ends_at=ends_at,
            payload=element,
        )

    def _status(self, element: Mapping[str, Any]) -> Status:
        word = text_of(element.get("status")) or text_of(self.payload.get("status")) or ""
        return Status.RESOLVED if word.lower() in ("resolved", "ok", "normal", "inactive") else Status.FIRING

    def _description(self, element: Mapping[str, Any], annotations: Mapping[str, Any]) -> str:
        more = (text_of(annotations.get(name)) for name in self.dialect.annotated)
        texts = [_first(annotations, _DESCRIPTIONS), *more, *map(text_of, map(element.get, self.dialect.described))]
        return paragraphs("\n\n".join(text for text in texts if text is not None))

    def _links(self, element: Mapping[str, Any], annotations: Mapping[str, Any]) -> Iterator[Link | None]:
        for key, text in self.dialect.linked:
            yield link_of(text, text_of(element.get(key)) or text_of(self.payload.get(key)))
        for name, href in scalar_pairs(annotations)[:_LINKS_MAX]:
            yield link_of(name.replace("_", " "), href)


def _severity(labels: Mapping[str, str], annotations: Mapping[str, Any]) -> Severity | None:
    told = [labels.get(name) for name in _SEVERITIES] + [text_of(annotations.get(name)) for name in _SEVERITIES]
    given = [text for text in told if text is not None]
    return severity_in(given) or (Severity.INFO if given and given[0].lower() == "none" else None)


def _title(labels: Mapping[str, str], annotations: Mapping[str, Any]) -> str | None:
    title = line(_first(annotations, _SUMMARIES) or labels.get("alertname") or _first(annotations, _DESCRIPTIONS) or "")
    subjects = [labels[name] for name in _SUBJECTS if name in labels]
    named = any(subject.partition(":")[0].lower() in title.lower() for subject in subjects)
    return f"{title} ({subjects[0]})" if title and subjects and not named else title or None


def _first(values: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((text for name in names if (text := text_of(values.get(name))) is not None), None)


def _fingerprint(element: Mapping[str, Any], own: Mapping[str, Any], title: str) -> str:
    told = {name: value for name, value in own.items() if not is_absent(value)}
    given = key_of(element.get("fingerprint"))
    name = line(key_of(own.get("alertname")) or "", 80)
    if given is not None:
        return identity("alert", line(given, 80), digest_of(told))
    if told:
        return identity("labels", name, digest_of(told))
    lasting = {key: value for key, value in element.items() if key not in _CHANGING}
    return identity("title", line(title, 120), digest_of(lasting))
