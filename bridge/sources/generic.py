"""The generic source: any tool that can post JSON, in a shape of our own.

One alert is an object. Only `title` matters; every other key may be missing:

    {"title":       "Disk almost full on db-01",        what a person reads first
     "status":      "firing",                           firing (default), acknowledged or resolved
     "severity":    "critical",                         critical, error, warning or info
     "fingerprint": "disk-db-01",                       names the problem: the same when it fires and when it resolves
     "episode":     "2026-03-01T10:00:00Z",             your own id of this firing, new each time the problem comes back
     "reported_at": "2026-03-01T10:04:00Z",             when you said so: ISO 8601, or seconds or milliseconds of epoch
     "description": "97 % of 500 GB are used",
     "labels":      {"team": "db", "host": "db-01"},    for rules to match; also "tags": ["team:db", "vip"]
     "links":       [{"text": "Graph", "href": "https://…"}],
     "starts_at":   "2026-03-01T10:00:00Z",
     "ends_at":     null}

Several alerts in one request: {"alerts": [{…}, {…}]} or a list at the top. An element that is no object is recorded
with the reason and the others go through. A form (`curl -d title=… -d status=…`) with these keys is read as well.

Give a fingerprint. Without one the problem is known by title and labels (not the ones that change from report to
report, such as value or timestamp), so a resolve must repeat both; without a title, by the whole body. Nothing that
says anything is thrown away: an object without a title pages as "Alert from <source>".

Common other names are understood: `summary` or `name` for title; `state`, `event_type` or `event_action` for status,
with words like triggered, ok, recovered, closed; `level`, `priority` or `urgency` for severity, with words like fatal,
high, P1; `key`, `dedup_key`, `incident_key`, `alert_id` or `id` for fingerprint; `message` or `details` for
description; `link` or `url` for one link. Case, underscores and hyphens in names do not matter.

Send `Idempotency-Key` (or `webhook-id`) with each request, and a retry under the same key is taken once.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Link, Notice, Reading, Severity, Status, Webhook
from bridge.domain.errors import DecodeError
from bridge.sources.absent import key_of, text_of
from bridge.sources.base import Auth
from bridge.sources.body import kind_of, says_anything, value_in
from bridge.sources.fields import Fields, fields_of, spelled, words
from bridge.sources.signatures import verify_shared
from bridge.sources.texts import (
    LABELS_MAX,
    digest_of,
    identity,
    instant_of,
    labels_of,
    line,
    link_of,
    links_of,
    paragraphs,
    tag_pairs,
)

ALERTS_MAX = 5_000  # of one request; more in one transaction would hold up every other sender

_WRAPPERS = frozenset({"alert", "data", "payload", "event", "incident", "issue", "detail"})
_TITLES = ("title", "summary", "headline", "alerttitle", "alertname")
_WEAK_TITLES = ("subject", "name", "monitorname", "checkname")  # may be the name of a rule or a channel
_DESCRIPTIONS = ("description", "message", "details", "text", "body", "msg", "output")
_FINGERPRINTS = (
    "fingerprint", "key", "dedupkey", "deduplicationkey", "dedupekey", "incidentkey", "alertid", "alertuid",
    "uniqueid", "id",
)  # fmt: skip
_STATUSES = ("status", "state", "eventtype", "eventaction", "action", "alertstatus", "notificationtype", "type")
_SEVERITIES = ("severity", "level", "priority", "urgency", "alertseverity")
_SUBJECTS = (  # top-level keys that say what is broken: labels, and so part of the identity
    "host", "hostname", "service", "instance", "node", "device", "resource", "component", "cluster", "namespace", "pod",
    "container", "application", "app", "check", "monitor", "environment", "env", "region", "team",
)  # fmt: skip
_VOLATILE = words(  # what changes between two reports on one problem
    "status state severity level priority urgency value currentvalue timestamp time ts date duration count"
    " reportedat updatedat startsat startedat endsat endedat resolvedat firedat episode eventtype eventaction action"
    " message description details output"
)
_FIRING = words(
    "firing fire triggered trigger alerting alert active open opened create created new problem down critical error"
    " warning failed failing unhealthy reopened unacknowledged"
)
_ACKNOWLEDGED = words("acknowledged acknowledge ack acked")
_RESOLVED = words(
    "resolved resolve ok okay recovered recovery recover closed close cleared clear up normal inactive success"
    " succeeded solved solve fixed healthy passing passed completed"
)
_BY_STATUS = {
    **dict.fromkeys(_FIRING, Status.FIRING),
    **dict.fromkeys(_ACKNOWLEDGED, Status.ACKNOWLEDGED),
    **dict.fromkeys(_RESOLVED, Status.RESOLVED),
}
_CRITICAL = words("critical crit fatal emergency emerg disaster alert page urgent highest blocker p0 p1 sev0 sev1")
_ERROR = words("error err high major severe p2 sev2")
_WARNING = words("warning warn medium moderate average minor normal p3 sev3")
_INFO = words("info information informational notice low lowest trivial debug p4 p5 sev4 sev5")
_BY_SEVERITY = {
    **dict.fromkeys(_CRITICAL, Severity.CRITICAL),
    **dict.fromkeys(_ERROR, Severity.ERROR),
    **dict.fromkeys(_WARNING, Severity.WARNING),
    **dict.fromkeys(_INFO, Severity.INFO),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Generic:
    """A sender of the shape above, known by a shared secret."""

    type: ClassVar[str] = "generic"
    signature_keys: ClassVar[frozenset[str]] = frozenset()
    name: str
    auth: Auth

    def verify(self, webhook: Webhook) -> None:
        """Check the shared secret. Raises SignatureError."""
        verify_shared(self.auth, webhook)

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """Every alert of the request, in its order. Raises DecodeError."""
        value = value_in(webhook)
        if isinstance(value, list):
            return self._batch(value, "$")
        if not isinstance(value, dict):
            raise DecodeError("$", f"expected an object or a list of objects, found {kind_of(value)}")
        alerts = value.get("alerts")
        if not isinstance(alerts, list):
            return (self._reading(value, "the body"),)
        if any(isinstance(element, dict) for element in alerts) or not says_anything(value):
            return self._batch(alerts, "$.alerts")
        return (self._reading(value, "the body"),)  # a batch without one object in it: page for the whole

    def delivery_id(self, webhook: Webhook) -> str | None:
        """The sender's Idempotency-Key, else its webhook-id."""
        for header in ("idempotency-key", "webhook-id"):
            if (key := key_of(webhook.headers.get(header, "").strip('"'))) is not None:
                return identity(key)
        return None

    def _batch(self, elements: list[Any], path: str) -> tuple[Reading, ...]:
        if len(elements) > ALERTS_MAX:
            raise DecodeError(path, f"{len(elements)} alerts in one request; send at most {ALERTS_MAX} at a time")
        if not elements:
            return (self._notice("the list of alerts is empty", elements),)
        if not any(isinstance(element, dict) for element in elements):
            raise DecodeError(f"{path}[0]", f"expected an object, found {kind_of(elements[0])}")
        return tuple(self._reading(element, f"{path}[{place}]") for place, element in enumerate(elements))

    def _reading(self, element: Any, where: str) -> Reading:
        if not isinstance(element, dict):
            return self._notice(f"{where} is {kind_of(element)}, not an object", element)
        if not says_anything(element):
            return self._notice(f"{where} says nothing", element)
        return _alert(self.name, element)

    def _notice(self, reason: str, payload: Any) -> Notice:
        return Notice(source=self.name, source_type=self.type, reason=reason, payload=payload)


def _alert(source: str, payload: Mapping[str, Any]) -> Alert:
    fields = fields_of(payload, wrappers=_WRAPPERS)
    title = fields.text(*_TITLES, *_WEAK_TITLES)
    labels = _labels(payload, fields)
    status = _first(_BY_STATUS, fields.texts(*_STATUSES)) or Status.FIRING
    return Alert(
        source=source,
        source_type=Generic.type,
        fingerprint=_fingerprint(payload, fields, title, labels),
        episode=_bounded(fields.key("episode", "episodeid")),
        reported_at=_instant(fields, "reportedat", "updatedat", "timestamp", "time", "ts", "date"),
        status=status,
        severity=_first(_BY_SEVERITY, fields.texts(*_SEVERITIES)),
        title=line(title or "") or f"Alert from {source}",
        description=paragraphs(fields.text(*_DESCRIPTIONS) or ("" if title else _listing(payload))),
        labels=labels,
        links=_links(fields),
        starts_at=_instant(fields, "startsat", "startedat", "firedat", "triggeredat"),
        ends_at=_instant(fields, "endsat", "endedat", "resolvedat") if status is Status.RESOLVED else None,
        payload=payload,
    )


def _listing(payload: Mapping[str, Any]) -> str:
    """The body's own scalars, for a page that has no words of its own."""
    pairs = ((key, text_of(value)) for key, value in islice(payload.items(), LABELS_MAX))
    return "\n".join(f"{line(key, 100)}: {line(text)}" for key, text in pairs if text is not None)


def _first(meanings: Mapping[str, Any], texts: tuple[str, ...]) -> Any:
    """The meaning of the first text that has one."""
    for text in texts:
        if (meaning := meanings.get(spelled(text))) is not None:
            return meaning
    return None


def _fingerprint(payload: Mapping[str, Any], fields: Fields, title: str | None, labels: Mapping[str, str]) -> str:
    if (key := fields.key(*_FINGERPRINTS)) is not None:
        return identity("key", key)
    if title is None or fields.text(*_TITLES) is None:
        return identity("body", digest_of(_lasting(payload)))
    lasting = {name: value for name, value in labels.items() if spelled(name) not in _VOLATILE and not _varies(value)}
    return identity("title", line(title, 120), digest_of([title, lasting]))


def _lasting(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    if len(payload) > LABELS_MAX:  # nobody's alert: not worth a look at every name
        return payload
    return {key: value for key, value in payload.items() if spelled(key) not in _VOLATILE}


def _varies(value: str) -> bool:
    """Whether a label's value looks measured or timed: a decimal, a percentage, a date."""
    number = value.removesuffix("%")
    if number != value or "." in number or "e" in number.lower():
        return number.replace(".", "", 1).lstrip("-").isdigit()
    return instant_of(value) is not None and not (value.isdigit() and len(value) < 9)


def _labels(payload: Mapping[str, Any], fields: Fields) -> Mapping[str, str]:
    named = (value for key, value in islice(payload.items(), LABELS_MAX) if spelled(key) in ("labels", "tags"))
    pairs = [pair for value in named for pair in _pairs(value)]
    given = {name for name, _ in pairs}
    pairs += [(name, text) for name in _SUBJECTS if name not in given and (text := fields.text(name)) is not None]
    return labels_of(pairs)


def _pairs(value: Any) -> Iterator[tuple[str, str]]:
    """Labels as pairs, from an object, a list of `k:v` or {name, value}, or a comma-separated text."""
    if isinstance(value, dict):
        for name, child in islice(value.items(), LABELS_MAX):
            if (text := _label_text(child)) is not None:
                yield name, text
    elif isinstance(value, str):
        yield from tag_pairs(value.split(",", LABELS_MAX)[:LABELS_MAX])
    elif isinstance(value, list):
        for child in value[:LABELS_MAX]:
            if isinstance(child, str):
                yield from tag_pairs((child,))
            elif isinstance(child, dict):
                name = text_of(child.get("name")) or text_of(child.get("key"))
                text = _label_text(child.get("value"))
                if name is not None:
                    yield name, text or "true"


def _label_text(value: Any) -> str | None:
    if isinstance(value, list):
        return ",".join(text for child in value[:LABELS_MAX] if (text := text_of(child)) is not None) or None
    return text_of(value)


def _links(fields: Fields) -> tuple[Link, ...]:
    given = fields.value("links")
    links = [_link(element) for element in (given[:20] if isinstance(given, list) else [given])]
    return links_of(*links, *(link_of("Details", href) for href in fields.texts("link", "url", "clienturl", "href")))


def _link(element: Any) -> Link | None:
    if isinstance(element, str):
        return link_of(element, element)
    if not isinstance(element, dict):
        return None
    href = text_of(element.get("href")) or text_of(element.get("url"))
    return link_of(text_of(element.get("text")) or text_of(element.get("title")) or href or "", href)


def _instant(fields: Fields, *names: str) -> Any:
    return next((instant for name in names if (instant := instant_of(fields.value(name))) is not None), None)


def _bounded(key: str | None) -> str | None:
    return None if key is None else identity(key)
