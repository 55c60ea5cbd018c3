"""Zabbix webhook media types: ours (templates/zabbix_media_type.yaml), and bodies other scripts build of macros.

In: one message about one event. Out: one Alert, or a Notice with its reason.

Facts: SOURCES.md sections 1 and 12; https://www.zabbix.com/documentation/current/en/manual/appendix/macros/
supported_by_location (macros and their values; read 2026-11). Names are found in any spelling: `EVENT.ID`, `event_id`,
`eventid`. What is decided here:

- Fingerprint: the problem's event id, which its repeats, updates and recovery carry too; a trigger may hold several
  problems at once. It also is the episode. Without it the trigger's id, else the name with its host. Ids are unique
  in one Zabbix: give each its own source. A rule that says `dedup: [source, labels.trigger_id]` joins what one trigger
  raises again.
- A new webhook media type posts no more than To, Subject and Message. What Zabbix' own message templates say there of a
  problem is read: "Original problem ID: …", "Host: …", "Severity: …" (https://github.com/zabbix/zabbix, the
  message_templates in templates/media; read 2026-11), where no event, trigger or host stands in a field of its own.
  Their text of an update names no problem, so such a one is a Notice.
- Status: EVENT.VALUE 0 is resolved, 1 fires; without it the words of EVENT.STATUS, or of `state` (as of the media type
  for Rootly, https://github.com/zabbix/zabbix, templates/media/Rootly; read 2026-11), else of the subject. An update
  (EVENT.UPDATE.STATUS 1) that changes the severity fires again, whatever else it did; one is an acknowledgement when
  its action or EVENT.ACK.STATUS says so; a comment, a suppression or a closing by hand (a recovery follows) is a
  Notice; anything else fires again.
- Severity: 5 disaster critical, 4 high error, 3 average and 2 warning warning, 1 information info, 0 none. Rootly's
  media type says critical, high, medium, low and info instead.
- reported_at: when the problem began or recovered, in the unix times of newer versions (EVENT.TIMESTAMP,
  EVENT.RECOVERY.TIMESTAMP). An update takes the beginning too: EVENT.UPDATE.TIMESTAMP is the server's clock, and a
  recovery has the time of the item's value, which a proxy may have measured before that. EVENT.DATE and EVENT.TIME have
  no zone: unused.
- Autoregistration and what discovery finds to be up are Notices, as is a test of the media type without values.
- Labels: the tags (EVENT.TAGSJSON, else EVENT.TAGS, or the object that the media type of Event-Driven Ansible makes of
  them), then host, host_ip, host_groups, trigger_id, event_id, severity.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Link, Notice, Reading, Severity, Status, Webhook
from bridge.domain.errors import DecodeError
from bridge.sources.absent import key_of, text_of
from bridge.sources.body import json_in, object_in, says_anything
from bridge.sources.fields import Fields, fields_of, words
from bridge.sources.generic import reading_anyway
from bridge.sources.signatures import SharedSecret
from bridge.sources.texts import (
    LABELS_MAX,
    identity,
    instant_of,
    layered_labels,
    line,
    link_of,
    links_of,
    paragraphs,
    tag_pairs,
)

_WRAPPERS = frozenset({"data", "payload", "params", "zabbix"})
_NAMES = ("eventname", "triggername", "trigger", "alertsubject", "subject", "title", "name")
_HOSTS = ("hostname", "hosthost", "host")
_LINKS = ("link", "eventurl", "problemurl", "url", "triggerurl")
_MESSAGES = ("alertmessage", "message", "description", "triggerdescription", "text", "body")

_BY_NUMBER = {
    "5": Severity.CRITICAL,
    "4": Severity.ERROR,
    "3": Severity.WARNING,
    "2": Severity.WARNING,
    "1": Severity.INFO,
}
_BY_WORD = {
    **dict.fromkeys(words("disaster critical"), Severity.CRITICAL),
    "high": Severity.ERROR,
    **dict.fromkeys(words("average warning medium low"), Severity.WARNING),
    "information": Severity.INFO,
    "info": Severity.INFO,
}
_OVER = words("0 ok resolved recovery recovered closed")
_FIRES = words("1 problem")
_HEAD = re.compile(
    r"\[?(?P<word>problem|resolved|updated|ok|recovery)\]?(?: problem)?(?: in [^:]{1,60})?\s*(?::|(?<=\])|\s-\s)\s*",
    re.IGNORECASE,
)
_ID_LINE, _HOST_LINE, _SEVERITY_LINE = "original problem id", "host", "severity"
_LINE = re.compile(r"^(Original problem ID|Host|Severity):[ \t]*(\S[^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_IN_LINK = {
    "event": re.compile(r"[?&]eventid=(\d{1,20})"),
    "trigger": re.compile(r"[?&](?:triggerid|triggerids%5B%5D|triggerids\[\])=(\d{1,20})", re.IGNORECASE),
}
_ACTIONS_QUIET = words("commented suppressed unsuppressed closed")

_DISCOVERY, _AUTOREGISTRATION = "1", "2"  # {EVENT.SOURCE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Zabbix(SharedSecret):
    """A Zabbix server that posts here; our media type sends a bearer token."""

    type: ClassVar[str] = "zabbix"

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """The one reading of a message; an object that names no event is read as the generic source would."""
        payload = object_in(webhook, form_anyway=True)
        return (_reading(self.name, payload, fields_of(payload, wrappers=_WRAPPERS)),)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    """What a message says of its event."""

    name: str
    host: str | None
    event_id: str | None
    trigger_id: str | None
    status: Status
    severity: str | None = None  # as its message says it
    quiet: str | None = None  # why nothing follows

    @property
    def fingerprint(self) -> str:
        if self.event_id is not None:
            return identity("event", self.event_id)
        if self.trigger_id is not None:
            return identity("trigger", self.trigger_id)
        return identity("name", self.name, self.host or "")

    @property
    def title(self) -> str:
        """The problem's name, with its host unless the name tells it."""
        named = self.host is None or self.host.lower() in self.name.lower()
        return line(self.name if named else f"{self.name} ({self.host})")


def _reading(source: str, payload: Mapping[str, Any], fields: Fields) -> Reading:
    if says_anything(payload) and not fields.by_name:
        reason = "a test: no macro is filled"
        return Notice(source=source, source_type=Zabbix.type, reason=reason, payload=payload)
    event = _event(fields)
    if not event.name and event.event_id is None and event.trigger_id is None:
        return reading_anyway(source, Zabbix.type, payload)
    if event.quiet is not None:
        return Notice(
            source=source,
            source_type=Zabbix.type,
            reason=event.quiet,
            payload=payload,
            title=event.title,
            fingerprint=event.fingerprint,
        )
    return _alert(source, payload, fields, event)


def _event(fields: Fields) -> _Event:
    event_id = fields.key("eventid", "problemid", "eventproblemid") or _id_in_link(fields, "event")
    trigger_id = fields.key("triggerid") or _id_in_link(fields, "trigger")
    names = (*_NAMES, "alertname") if event_id or trigger_id else _NAMES  # by itself it may be anybody's
    whole = line(fields.text(*names) or "")
    head = _HEAD.match(whole)
    status, quiet = _status(fields, head["word"].lower() if head else None)
    host = fields.text(*_HOSTS)
    told = {} if event_id or trigger_id or host else _told(fields)
    event_id = event_id or told.get(_ID_LINE)
    if head and head["word"].lower() == "updated" and not (event_id or trigger_id or host):
        quiet = quiet or "an update that does not say of which problem"
    name = whole[head.end() :] if head and head.end() < len(whole) else whole
    ids = (("event", event_id), ("trigger", trigger_id))
    return _Event(
        name=name or next((f"Zabbix {kind} {key}" for kind, key in ids if key), ""),
        host=host or told.get(_HOST_LINE),
        event_id=event_id,
        trigger_id=trigger_id,
        status=status,
        severity=told.get(_SEVERITY_LINE),
        quiet=quiet,
    )


def _told(fields: Fields) -> dict[str, str]:
    """What the lines of a message of Zabbix' own templates say; nothing where no line has the problem's id."""
    message = (fields.text(*_MESSAGES) or "")[:8_192]
    told = {found[1].lower(): found[2].strip() for found in _LINE.finditer(message)}
    return {name: text for name, text in told.items() if key_of(text)} if told.get(_ID_LINE, "").isdecimal() else {}


def _id_in_link(fields: Fields, kind: str) -> str | None:
    for href in fields.texts(*_LINKS):
        if found := _IN_LINK[kind].search(href[:2_048]):
            return found[1]
    return None


def _status(fields: Fields, headed: str | None) -> tuple[Status, str | None]:
    """The status, and why nothing follows from it (None: it does)."""
    value = fields.text("eventvalue")
    quiet = _quiet_origin(fields.text("eventsource"), value)
    if quiet is not None:
        return Status.FIRING, quiet
    for text in (value, *fields.texts("eventstatus", "status", "triggerstatus", "triggervalue", "state"), headed):
        if text is None or text.lower() not in _OVER | _FIRES:
            continue
        if text.lower() in _OVER:
            return Status.RESOLVED, None
        break
    updates = fields.text("eventupdatestatus", "updatestatus", "eventupdate") == "1" or headed == "updated"
    return _of_update(fields) if updates else (Status.FIRING, None)


def _quiet_origin(origin: str | None, value: str | None) -> str | None:
    if origin == _AUTOREGISTRATION:
        return "the autoregistration of an agent is no problem"
    return "discovery found something; that is no problem" if origin == _DISCOVERY and value in ("0", "2") else None


def _of_update(fields: Fields) -> tuple[Status, str | None]:
    action = (fields.text("eventupdateaction", "updateaction") or "").lower()
    said = words(action.replace(",", " "))
    if "severity" in said:  # EVENT.UPDATE.ACTION lists all of one update's actions; a rise must not hide behind another
        return Status.FIRING, None
    acknowledged = (fields.text("eventackstatus", "ackstatus", "eventack", "acknowledged") or "").lower()
    if "acknowledged" in said or (not said and acknowledged in ("yes", "true", "1")):
        return Status.ACKNOWLEDGED, None
    if said & _ACTIONS_QUIET:
        return Status.FIRING, f"an update that changes no state: {line(action, 100)}"
    return Status.FIRING, None


def _alert(source: str, payload: Mapping[str, Any], fields: Fields, event: _Event) -> Alert:
    starts_at = instant_of(fields.value("eventtimestamp"))
    recovered_at = instant_of(fields.value("eventrecoverytimestamp"))
    return Alert(
        source=source,
        source_type=Zabbix.type,
        fingerprint=event.fingerprint,
        episode=None if event.event_id is None else identity(event.event_id),
        # Never the time of an update: a recovery measured before it would be stale, and the incident open for ever.
        reported_at=recovered_at if event.status is Status.RESOLVED else starts_at,
        status=event.status,
        severity=_severity(fields, event),
        title=event.title,
        description=paragraphs(fields.text(*_MESSAGES) or ""),
        labels=_labels(payload, fields, event),
        links=_links(fields, event),
        starts_at=starts_at,
        ends_at=recovered_at if event.status is Status.RESOLVED else None,
        payload=payload,
    )


def _severity(fields: Fields, event: _Event) -> Severity | None:
    given = fields.texts(
        "eventupdatenseverity", "eventnseverity", "nseverity", "triggernseverity", "eventseverity", "severity",
        "triggerseverity",
    )  # fmt: skip
    for text in (*given, event.severity or ""):
        if (severity := _BY_NUMBER.get(text) or _BY_WORD.get(text.lower())) is not None:
            return severity
    return None


def _labels(payload: Mapping[str, Any], fields: Fields, event: _Event) -> Mapping[str, str]:
    return layered_labels(
        _tags(fields.value("eventtagsjson", "tagsjson", "eventtags", "tags") or payload.get("event_tags")),
        (
            ("host", event.host),
            ("host_ip", fields.text("hostip", "hostconn")),
            ("host_groups", _joined(fields.value("triggerhostgroupname", "hostgroups", "hostgroup"))),
            ("trigger_id", event.trigger_id),
            ("event_id", event.event_id),
            ("severity", fields.text("eventseverity", "severity", "triggerseverity") or event.severity),
        ),
    )


def _tags(tags: Any) -> Iterator[tuple[str, str]]:
    """Tags from EVENT.TAGSJSON (a list of {tag, value}, often as text), EVENT.TAGS (`a:1, b`) or {tag: [values]}."""
    if isinstance(tags, str) and tags.lstrip().startswith("["):
        try:
            tags = json_in(tags.encode())
        except DecodeError:  # cut short on its way: the problem pages without its tags
            return
    if isinstance(tags, str):
        yield from tag_pairs(tag for tag in tags.split(",", LABELS_MAX)[:LABELS_MAX] if tag.strip())
    if isinstance(tags, dict):
        yield from ((name, _joined(values) or "true") for name, values in islice(tags.items(), LABELS_MAX))
    for tag in tags[:LABELS_MAX] if isinstance(tags, list) else ():
        if isinstance(tag, str):
            yield from tag_pairs((tag,))
        elif isinstance(tag, dict) and (name := text_of(tag.get("tag"))) is not None:
            yield name, text_of(tag.get("value")) or "true"


def _joined(value: Any) -> str | None:
    """A text, or several of them as one."""
    texts = (text_of(one) for one in (value[:LABELS_MAX] if isinstance(value, list) else [value]))
    return ",".join(text for text in texts if text is not None) or None


def _links(fields: Fields, event: _Event) -> tuple[Link, ...]:
    base = (fields.text("zabbixurl") or "").rstrip("/")
    page = None
    if base and event.event_id and event.trigger_id and (event.event_id + event.trigger_id).isalnum():
        page = f"{base}/tr_events.php?triggerid={event.trigger_id}&eventid={event.event_id}"
    return links_of(
        link_of("Zabbix problem", page or base or None), *(link_of("Zabbix", href) for href in fields.texts(*_LINKS))
    )
