"""Datadog monitor webhooks: the default body, custom bodies of any keys, "Encode as form", EventBridge's envelope.

In: one notification about one group of one monitor (or an incident, or a security signal). Out: one Alert; a Notice
for a test.

Facts: SOURCES.md sections 1 and 2, which cite https://docs.datadoghq.com/integrations/webhooks/, and published bodies.
What is decided here:

- Fingerprint, the first that is there: incident id, security signal id, $AGGREG_KEY, a key the operator named
  (dedup_key, ...), monitor id with its group, $ALERT_CYCLE_KEY, else title, host and group. The group is $ALERT_SCOPE,
  else the group of the Monitor Status link, else the braces of the title, else the host.
- Status: the transition, else the incident's status, else the brackets of the title, else $ALERT_TYPE success. What
  begins with or holds "recover" is resolved; everything else, No Data included, is firing.
- Severity: P1 critical, P2 error, P3 warning, P4 and P5 info; without a priority $ALERT_TYPE (success: none). A Warn
  is never above warning. A recovery keeps the severity of its priority.
- Title: without the brackets `[P1] [Triggered on {…}]`. What they said is in severity, status and labels; the group
  is put behind the title unless the title names it.
- Labels: the tags (a bare tag is "true", a repeated one joins its values by commas); then, where no tag has the name,
  the tags of the group, and scope, hostname, monitor_id, event_type, transition, priority, metric.
- A retry is the same body, with the same event id ($ID, new for each notification) and the same time in it. A body
  without both has no delivery id, for then the next firing may look like the last.
- A test of a monitor's notifications ("Test Notifications", of any state) is a Notice. It looks like a report of the
  monitor and of a group of it, but `[TEST]` begins its title
  (https://docs.datadoghq.com/monitors/notify/#test-notifications; read 2026-11). Where the event's title is given, that
  one decides: the alert's may be a monitor's own name.
- The name of a variable itself (`"event_id": "ID"`, a `$` forgotten) says nothing, as one that was not filled in.
"""

import hashlib
import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import unquote_plus

from bridge.domain.alert import Alert, Link, Notice, Reading, Severity, Status, Webhook
from bridge.sources.base import Auth
from bridge.sources.body import object_in, says_anything
from bridge.sources.fields import Fields, fields_of, words
from bridge.sources.signatures import verify_shared
from bridge.sources.texts import (
    DESCRIPTION_MAX_BYTES,
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

_WRAPPERS = frozenset({"detail", "data", "payload", "metadata", "meta", "custom", "datadog", "variables"})

_BY_PRIORITY = {
    "1": Severity.CRITICAL,
    "2": Severity.ERROR,
    "3": Severity.WARNING,
    "4": Severity.INFO,
    "5": Severity.INFO,
}
_BY_WORD = {  # $ALERT_TYPE, and the words of $SECURITY_SIGNAL_SEVERITY
    "critical": Severity.CRITICAL,
    "error": Severity.ERROR,
    "high": Severity.ERROR,
    "warning": Severity.WARNING,
    "warn": Severity.WARNING,
    "medium": Severity.WARNING,
    "info": Severity.INFO,
    "low": Severity.INFO,
}
_WARNINGS = frozenset({"warn", "warning", "re-warn", "rewarn"})
_OVER = frozenset({"resolved", "completed", "closed", "ok", "success", "cleared"})

_TEST = "[TEST]"
_PRIORITY = re.compile(r"P?([1-5])", re.IGNORECASE)
_INCIDENT_SEVERITY = re.compile(r"SEV-?([1-5])", re.IGNORECASE)
_PRIORITY_BRACKET = re.compile(r"\[\s*P([1-5])\s*\]\s*", re.IGNORECASE)
_EMPTY_BRACKET = re.compile(r"\[\s*\]\s*")  # a group-by variable can be empty in a recovery
_TRANSITION_WORDS = r"(?:re-?)?(?:triggered|warn|no ?data|renotify)|(?:warn |no data )?recovered[a-z ]{0,40}?"
_TRANSITION_BRACKET = re.compile(rf"\[\s*({_TRANSITION_WORDS})(?:\s+on\s+\{{([^}}]*)\}})?\s*\]\s*", re.IGNORECASE)
_TRANSITION = re.compile(_TRANSITION_WORDS, re.IGNORECASE)
_ADDRESS = r"[^\s()\[\]<>\"'|]"
_MONITOR = rf"/monitors[/#](?:status[?/](?:id=)?)?(\d{{1,20}})(/edit)?([?&]{_ADDRESS}{{0,2000}})?"
_MONITOR_PATH = re.compile(_MONITOR)
_MONITOR_LINK = re.compile(rf"https?://{_ADDRESS}{{1,200}}?{_MONITOR}")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,10});")
_STATUS_LINK = "Monitor Status]("
_SEARCHED_CHARS = 64 * 1024  # the monitor's links stand at the end of a message
_SNAPSHOT = re.compile(rf"!\[[^\]\n]{{0,200}}\]\((https://{_ADDRESS}{{1,1000}})\)")
_HANDLE = re.compile(  # who is told of the message; $TEXT_ONLY_MSG comes without (SOURCES.md section 2)
    r"(?<!\S)@(?:webhook|slack|pagerduty|opsgenie|teams|hangouts|victorops|servicenow|workflow|case|oncall|team)"
    r"(?:-[\w.-]{1,100})?(?![\w.-])[ \t]?"
)
_GAP = re.compile(r"\n{3,}")
_EVENT_NUMBER = re.compile(rb"[0-9]{10,}")  # an id or a time: what stands before it says which
_EVENT_ID = re.compile(rb"""\b(?:event_?id|id)["']?\s{0,9}[:=]\s{0,9}"?\Z""", re.IGNORECASE)
_EVENT_TIME = re.compile(rb"""\b(?:last_?updated|date)(?:_?posix)?["']?\s{0,9}[:=]\s{0,9}"?\Z""", re.IGNORECASE)
_EVENT_KEY_BYTES = 48  # before the number: as much as the patterns above can take, and the byte before it

_VARIABLES = words(  # SOURCES.md section 2, "Variables"; those that are also an ordinary word of a body are left out
    "AGGREG_KEY ALERT_CYCLE_KEY ALERT_ID ALERT_METRIC ALERT_PRIORITY ALERT_QUERY ALERT_SCOPE ALERT_STATUS ALERT_TITLE"
    " ALERT_TRANSITION ALERT_TYPE DATE DATE_POSIX EMAIL EVENT_MSG EVENT_TITLE EVENT_TYPE HOSTNAME ID"
    " INCIDENT_ATTACHMENTS INCIDENT_COMMANDER INCIDENT_CUSTOMER_IMPACT INCIDENT_FIELDS INCIDENT_INTEGRATIONS"
    " INCIDENT_MSG INCIDENT_PUBLIC_ID INCIDENT_SEVERITY INCIDENT_STATUS INCIDENT_TITLE INCIDENT_URL INCIDENT_UUID"
    " LAST_UPDATED LAST_UPDATED_POSIX LINK LOGS_SAMPLE METRIC_NAMESPACE ORG_ID ORG_NAME PRIORITY SECURITY_RULE_ID"
    " SECURITY_RULE_NAME SECURITY_RULE_QUERY SECURITY_RULE_TYPE SECURITY_SIGNAL_ID SECURITY_SIGNAL_TITLE"
    " SECURITY_SIGNAL_MSG SECURITY_SIGNAL_SEVERITY SECURITY_SIGNAL_TAGS SECURITY_SIGNAL_ATTRIBUTES"
    " SECURITY_GROUP_BY_VALUES SECURITY_MATCHED_COUNT SNAPSHOT SYNTHETICS_TEST_NAME"
    " SYNTHETICS_FIRST_FAILING_STEP_NAME SYNTHETICS_SUMMARY TAGS TEXT_ONLY_MSG USER USERNAME"
)
_INCIDENTS = ("incidentpublicid", "incidentuuid")
_BODIES = ("body", "eventmsg", "message", "msg", "alertmessage", "alertmsg", "alertbody", "description", "text")
_EVENT_LINKS = ("link", "eventurl", "eventlink", "url", "alerturl", "alertlink", "monitorurl", "monitorlink")


@dataclass(frozen=True, slots=True, kw_only=True)
class Datadog:
    """A Datadog organisation that posts here. Datadog signs nothing: a bearer, header, basic or query secret does."""

    type: ClassVar[str] = "datadog"
    signature_keys: ClassVar[frozenset[str]] = frozenset()
    name: str
    auth: Auth

    def verify(self, webhook: Webhook) -> None:
        """Check the shared secret. Raises SignatureError."""
        verify_shared(self.auth, webhook)

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one alert of a notification; a Notice for a test and for what says nothing. Raises DecodeError."""
        payload = object_in(webhook, form_anyway=True)
        if not says_anything(payload):
            return (Notice(source=self.name, source_type=self.type, reason="the body says nothing", payload=payload),)
        fields = _filled(fields_of(payload, wrappers=_WRAPPERS))
        alert = _alert(self.name, self.type, payload, fields)
        return (_test(alert) if _is_test(fields) else alert,)

    def delivery_id(self, webhook: Webhook) -> str | None:
        """The body itself, when there is an event id and a time in it."""
        if not _names_its_event(webhook.body[:_SEARCHED_CHARS]):
            return None
        return identity("body", hashlib.sha256(webhook.body).hexdigest())


def _is_test(fields: Fields) -> bool:
    titles = fields.texts("eventtitle") or fields.texts("title", "alerttitle")
    return any(title.startswith(_TEST) for title in titles)


def _test(alert: Alert) -> Notice:
    return Notice(
        source=alert.source,
        source_type=alert.source_type,
        reason="a test of the monitor's notifications",
        payload=alert.payload,
        title=alert.title,
        fingerprint=alert.fingerprint,
    )


def _names_its_event(body: bytes) -> bool:
    """Whether an event id and a time are in it: from the long numbers back, for they are few and words are many."""
    has_id = has_time = False
    for number in _EVENT_NUMBER.finditer(body):
        start, end = number.span()
        if body[end : end + 1].isalnum() or body[end : end + 1] == b"_":
            continue
        before = body[max(0, start - _EVENT_KEY_BYTES) : start]
        has_id = has_id or (15 <= end - start <= 20 and _EVENT_ID.search(before) is not None)
        has_time = has_time or (end - start <= 13 and _EVENT_TIME.search(before) is not None)
        if has_id and has_time:
            return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Headline:
    """A title taken apart: what stands in its brackets, and the rest."""

    text: str
    priority: str | None = None  # "1" to "5"
    transition: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Monitor:
    """The monitor as a link in the message names it."""

    id: str
    group: str | None
    href: str


def _alert(source: str, source_type: str, payload: Mapping[str, Any], fields: Fields) -> Alert:
    headline = _headline(fields)
    monitor = _monitor(fields)
    group = _group(fields, headline, monitor)
    hostname = fields.key("hostname", "host", "alerthostname", "eventhostname")
    transition = _transition(fields, headline)
    priority = _priority(fields, headline)
    status = _status(fields, transition)
    reported_at = _reported_at(fields)
    return Alert(
        source=source,
        source_type=source_type,
        fingerprint=_fingerprint(payload, fields, headline, monitor, group, hostname),
        episode=_bounded(fields.key("alertcyclekey", "cyclekey", "alertalertcyclekey")),
        reported_at=reported_at,
        status=status,
        severity=_severity(fields, priority, transition),
        title=_title(source, headline, group),
        description=_description(fields),
        labels=_labels(fields, monitor, group, hostname, transition, priority),
        links=_links(fields, monitor),
        ends_at=reported_at if status is Status.RESOLVED else None,
        payload=payload,
    )


def _filled(fields: Fields) -> Fields:
    """Without the values that are a variable's own name."""
    by_name = fields.by_name
    if not any(type(value) is str and value in _VARIABLES for value in by_name.values()):
        return fields
    return Fields({name: value for name, value in by_name.items() if type(value) is not str or value not in _VARIABLES})


def _reported_at(fields: Fields) -> datetime | None:
    """The latest time the body tells: an event's date stays while its last update moves on."""
    texts = fields.texts("lastupdated", "date", "lastupdatedposix", "dateposix", "timestamp", "eventdate", "alertdate")
    instants = [instant for text in dict.fromkeys(texts) if (instant := instant_of(text)) is not None]
    return max(instants, default=None) or instant_of(fields.text("time", "eventtime"))


def _headline(fields: Fields) -> _Headline:
    text = fields.text(
        "alerttitle", "eventtitle", "title", "incidenttitle", "securitysignaltitle", "securityrulename",
        "syntheticstestname", "monitorname", "alertname", "summary", "subject", "name",
    )  # fmt: skip
    rest = line(text or "", 4_096)
    priority = transition = group = None
    while True:  # each turn takes one bracket away
        if priority is None and (found := _PRIORITY_BRACKET.match(rest)):
            priority = found[1]
        elif transition is None and (found := _TRANSITION_BRACKET.match(rest)):
            transition, group = found[1], found[2]
        elif not (found := _EMPTY_BRACKET.match(rest)):
            break
        rest = rest[found.end() :]
    if transition is None and (found := _TRANSITION_BRACKET.search(rest)):  # "[Datadog] [Triggered] …"
        transition, group = found[1], found[2]
        rest = rest[: found.start()] + rest[found.end() :]
    return _Headline(text=rest.strip() or line(text or ""), priority=priority, transition=transition, group=group)


def _monitor(fields: Fields) -> _Monitor | None:
    for text in fields.texts(*_BODIES, *_EVENT_LINKS):
        if "/monitors" in text and (monitor := _monitor_in(text[-_SEARCHED_CHARS:])) is not None:
            return monitor
    return None


def _monitor_in(text: str) -> _Monitor | None:
    """The monitor of the "Monitor Status" link, else of the last link to one: a message may link others before."""
    status = text.rfind(_STATUS_LINK)
    if status >= 0 and (found := _MONITOR_LINK.match(text, status + len(_STATUS_LINK))):
        return _monitor_of(found)
    best: re.Match[str] | None = None
    for path in _MONITOR_PATH.finditer(text):
        start = text.rfind("http", max(0, path.start() - 208), path.start())
        found = _MONITOR_LINK.match(text, start) if start >= 0 else None
        if found is not None and (best is None or not found[2]):  # an edit link only for want of another
            best = found
    return None if best is None else _monitor_of(best)


def _monitor_of(found: re.Match[str]) -> _Monitor:
    query = _unescaped(found[3] or "")[1:].split("&")
    group = next((unquote_plus(part[6:]) for part in query if part.startswith("group=")), None)
    return _Monitor(id=found[1], group=group, href=_unescaped(found[0]))


def _unescaped(text: str) -> str:
    """Without HTML entities. Only whole ones: `&timestamp=` of an address is no `&times`."""
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text) if "&" in text and ";" in text else text


def _group(fields: Fields, headline: _Headline, monitor: _Monitor | None) -> str:
    """The group of the monitor, its tags sorted; empty for a monitor without groups."""
    candidates = (
        fields.key("alertscope", "scopes", "scope", "alertscopes", "resultgroupkey", "groupkey"),
        monitor.group if monitor else None,
        headline.group,
    )
    for candidate in candidates:
        tags = sorted({tag.strip() for tag in (candidate or "").split(",", LABELS_MAX)} - {"", "*"})
        if tags:
            return ",".join(tags)
    return ""


def _transition(fields: Fields, headline: _Headline) -> str | None:
    named = fields.text("alerttransition", "transition", "transname", "transitiontransname", "alertalerttransition")
    if named is not None:
        return named
    if headline.transition is not None:
        return headline.transition
    if (state := fields.text("statesdeststate", "deststate")) is not None:  # EventBridge: Alert, Warn, No Data, OK
        return state
    for value in fields.by_name.values():  # an operator's own name for it
        if isinstance(value, str) and len(value) <= 40 and _TRANSITION.fullmatch(value.strip()):
            return value.strip()
    return None


def _status(fields: Fields, transition: str | None) -> Status:
    if transition is not None:
        word = transition.lower()
        return Status.RESOLVED if "recover" in word or word in _OVER else Status.FIRING
    named = fields.key(*_INCIDENTS) is not None  # then a plain `status` can be nothing but the incident's
    incident = fields.text("incidentstatus", *(("status", "state") if named else ()))
    if incident is not None:
        return Status.RESOLVED if incident.lower() in _OVER else Status.FIRING
    kind = fields.text("alerttype", "alertalerttype")
    return Status.RESOLVED if kind is not None and kind.lower() in {"success", "recovery"} else Status.FIRING


def _severity(fields: Fields, priority: str | None, transition: str | None) -> Severity | None:
    severity = _by_word(fields) if priority is None else _BY_PRIORITY[priority]
    if transition is not None and transition.lower() in _WARNINGS:
        return severity if severity is Severity.INFO else Severity.WARNING
    return severity


def _priority(fields: Fields, headline: _Headline) -> str | None:
    """1 to 5. $PRIORITY (normal or low) is the priority of an event and no severity."""
    for text in fields.texts(
        "alertpriority", "monitorpriority", "severity", "alertseverity", "priority", "prioritylevel"
    ):
        if found := _PRIORITY.fullmatch(text):
            return found[1]
    return headline.priority


def _by_word(fields: Fields) -> Severity | None:
    for text in fields.texts("incidentseverity", "severity", "alertseverity", "securitysignalseverity", "alerttype"):
        if found := _INCIDENT_SEVERITY.fullmatch(text):
            return _BY_PRIORITY[found[1]]
        if (severity := _BY_WORD.get(text.lower())) is not None:
            return severity
    return None


def _title(source: str, headline: _Headline, group: str) -> str:
    if not headline.text:
        return line(f"Alert from {source} ({group})" if group else f"Alert from {source}")
    text = headline.text.lower()
    named = all(tag.partition(":")[2].lower() in text for tag in group.split(","))
    return line(headline.text if not group or named else f"{headline.text} ({group})")


def _fingerprint(
    payload: Mapping[str, Any],
    fields: Fields,
    headline: _Headline,
    monitor: _Monitor | None,
    group: str,
    hostname: str | None,
) -> str:
    for kind, names in (
        ("incident", _INCIDENTS),
        ("signal", ("securitysignalid",)),
        ("aggreg", ("aggregkey", "aggregationkey", "alertaggregkey", "eventaggregkey")),
        ("key", ("dedupkey", "deduplicationkey", "incidentkey", "fingerprint", "alertkey")),
    ):
        if (key := fields.key(*names)) is not None:
            return identity(kind, key)
    monitor_id = fields.key("alertid", "monitorid") or (monitor.id if monitor else None)
    cycle = fields.key("alertcyclekey", "cyclekey")
    if monitor_id is not None and (group or cycle is None):
        return identity("monitor", monitor_id, group or hostname or "")
    if cycle is not None:  # a monitor that may have groups, none named: never one problem for all of them
        return identity("cycle", cycle)
    if headline.text:
        return identity("title", headline.text, hostname or "", group)
    return identity("body", digest_of({key: value for key, value in payload.items() if key not in _VOLATILE}))


_VOLATILE = frozenset({"id", "date", "last_updated", "alert_transition", "alert_type", "link", "event_id", "timestamp"})


def _description(fields: Fields) -> str:
    text = fields.text("textonlymsg", "textonlymessage", "textmsg", "alerttextonlymsg", "textonly")
    if text is None:
        text = fields.text(*_BODIES, "incidentmsg", "incidentmessage", "securitysignalmsg", "alertstatus") or ""
    if "%%%" in text:
        text = text.replace("%%%", "")
    text = text[: 2 * DESCRIPTION_MAX_BYTES]
    text = _unescaped(text)
    return paragraphs(_GAP.sub("\n\n", _HANDLE.sub("", text)) if "@" in text else text)


def _labels(
    fields: Fields,
    monitor: _Monitor | None,
    group: str,
    hostname: str | None,
    transition: str | None,
    priority: str | None,
) -> Mapping[str, str]:
    pairs = list(tag_pairs(_tags(fields)))
    given = {name for name, _ in pairs}
    extras = {
        "scope": group,
        "hostname": hostname,
        "monitor_id": fields.key("alertid", "monitorid") or (monitor.id if monitor else None),
        "event_type": fields.text("eventtype"),
        "transition": transition,
        "priority": priority and f"P{priority}",
        "metric": fields.text("alertmetric", "metric"),
        "incident_status": fields.text("incidentstatus"),
        "incident_severity": fields.text("incidentseverity"),
    }
    pairs += [pair for pair in tag_pairs(group.split(",") if group else ()) if pair[0] not in given]
    pairs += [(name, value) for name, value in extras.items() if value and name not in given]
    return labels_of(pairs)


def _tags(fields: Fields) -> Iterator[str]:
    tags = fields.value("tags", "eventtags", "alerttags", "securitysignaltags")
    if isinstance(tags, str):
        yield from tags.split(",", LABELS_MAX)[:LABELS_MAX]
    elif isinstance(tags, list):
        yield from (tag for tag in tags[:LABELS_MAX] if isinstance(tag, str))


def _links(fields: Fields, monitor: _Monitor | None) -> tuple[Link, ...]:
    return links_of(
        link_of("Datadog event", fields.text(*_EVENT_LINKS)),
        link_of("Datadog monitor", monitor.href if monitor else None),
        link_of("Datadog incident", fields.text("incidenturl")),
        link_of("Snapshot", fields.text("snapshot", "alertsnapshot", "eventsnapshot") or _snapshot_in(fields)),
    )


def _snapshot_in(fields: Fields) -> str | None:
    """The first image of the message: the graph of the monitor."""
    for text in fields.texts(*_BODIES):
        if "![" in text and (found := _SNAPSHOT.search(text[:_SEARCHED_CHARS])):
            return _unescaped(found[1])
    return None


def _bounded(key: str | None) -> str | None:
    return None if key is None else identity(key)
