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
with the reason and the others go through. A form (`curl -d title=… -d status=…`) with these keys is read as well, in
parts (`curl -F`) without its files, and so is one whose only field is `payload`: the object as text.

Give a fingerprint. Without one the problem is known by title and labels (not the ones that change from report to
report, such as value or timestamp), so a resolve must repeat both; an alert as Alertmanager's API takes it, with an
`alertname` among its labels and its words in `annotations`, by its labels alone; without a title, by what else is in
the body and lasts (host, service, a name), and where nothing is, by its message. Nothing that says anything is thrown
away: an object without a title is titled with the first line of its message, and one without that pages as "Alert from
<source>".

Common other names are understood: `summary` or `name` for title; `state`, `event_type` or `event_action` for status,
with words like triggered, ok, recovered, closed, alone or at the end (`alert.resolved`, `alert.resolved.v1`); `level`,
`priority` or `urgency` for severity, with words like fatal, high, P1, `1 - Critical`, and without one a status of
critical, error or warning; `key`, `dedup_key`, `incident_key`, `alert_id` or `id` for fingerprint; `message` or
`details` for description; `link` or `url` for one link. Case, underscores and hyphens in names do not matter, and a
block such as `issue` or `data` is looked into.
Where a status says only that something completed, its `result` or `conclusion`, or the status of its `build`, `job`
or `workflow`, tells how. A body made for a chat (attachments or blocks of Slack, embeds of Discord, cards of Teams) is
titled with the first line of it.

Where these names do not fit a sender, `fields:` of the source says where things stand, as Jinja expressions over
`payload` (one alert), `body` (the whole request) and `headers`. `each` is the list whose elements are alerts; `ignore`
says of what reports no problem why it is ignored. A field that an expression cannot find is absent; what has no
expression is read as above.

Send `Idempotency-Key` (or `webhook-id`) with each request, and a retry under the same key is taken once.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from types import MappingProxyType
from typing import Any, ClassVar

from bridge.domain.alert import Alert, Link, Notice, Reading, Severity, Status, Webhook
from bridge.domain.errors import DecodeError
from bridge.sources.absent import is_absent, key_of, says_nothing, text_of
from bridge.sources.base import Auth, Expressions, FieldsSetting, Setting
from bridge.sources.body import json_in, kind_of, says_anything, value_in
from bridge.sources.cards import hrefs_on_cards, lines_on_cards
from bridge.sources.dialects import dialect_of, quiet_word, translated
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
    may_be_instant,
    paragraphs,
    tag_pairs,
)

ALERTS_MAX = 5_000  # of one request; more in one transaction would hold up every other sender
NOT_READ = f"more alerts were not read: of one request {ALERTS_MAX:,} are; send smaller groups"
"""Why there is a Notice behind the alerts of a sender who never sends again what was answered 4xx."""

FIELDS = FieldsSetting(
    about="generic: where things stand in the body, as Jinja expressions",
    names=words(
        "title status severity fingerprint episode reported_at description labels links starts_at ends_at each ignore"
    ),
    nested=frozenset({"labels", "links"}),
    listed=frozenset({"fingerprint", "episode"}),
    sees=frozenset({"payload", "body", "headers"}),
)

# The attributes are a resource's of JSON:API, as the incidents of Better Stack are
# (https://betterstack.com/docs/uptime/api/incidents-api-response-params; read 2026-11).
_WRAPPERS = frozenset({"alert", "data", "payload", "event", "incident", "issue", "detail", "attributes"})
_TITLES = (
    "title", "annotationstitle", "summary", "headline", "alerttitle", "alertname", "problemtitle",
    "incidenttitle", "eventtitle", "ticketsubject",
)  # fmt: skip
_TITLED = frozenset(_TITLES)
_WEAK_TITLES = (  # may be the name of a rule or a channel
    "subject", "name", "monitorname", "checkname", "eventdefinitiontitle", "displayname", "alertmessage", "monitor",
    "check",
)  # fmt: skip
_DESCRIPTIONS = (
    "description", "message", "details", "text", "body", "msg", "output", "alertdescription", "annotationsdescription",
    "ticketdescription", "incidentreason",
)  # fmt: skip
_FINGERPRINTS = (
    "fingerprint", "key", "dedupkey", "deduplicationkey", "dedupekey", "incidentkey", "alertid", "alertuid",
    "uniqueid", "problemid", "incidentid", "ticketid",
)  # fmt: skip
_CHECKS = ("checkid", "monitorid")  # a check may have a problem per host: only where no title tells them apart
_STATUSES = (
    "status", "state", "eventtype", "eventaction", "action", "alertstatus", "alertstate", "notificationtype",
    "alerttype", "actiontype", "type", "event",
    "alertaction",  # trigger or resolve, of Coralogix (https://coralogix.com/tutorials/alert-webhooks/; read 2026-11)
)  # fmt: skip
# How something ended that says of itself only that it did: CircleCI's `workflow-completed` has `workflow.status` failed
# (https://circleci.com/docs/webhooks-reference; read 2026-11), the Jenkins notification plugin `build.status` beside
# `build.phase` COMPLETED (https://plugins.jenkins.io/notification, own knowledge).
_RUNS = (
    "buildstatus", "buildresult", "jobstatus", "workflowstatus", "pipelinestatus", "runstatus", "executionstatus",
    "deploymentstatus",
)  # fmt: skip
_OUTCOMES = ("conclusion", "result", "outcome", *_RUNS)
_ENDS = [[word] for word in words("completed complete finished ended done")]
_ONE_WORD = re.compile(r"[A-Za-z_-]{1,30}")  # an outcome; `result` may hold anything
_SEVERITIES = ("severity", "level", "priority", "urgency", "alertseverity", "labelsseverity")
_LINKS = ("link", "url", "clienturl", "href", "problemurl", "ticketurl", "alertdetailsurl", "monitordashboardlink")
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
    " warning failed failing failure unhealthy reopened unacknowledged degraded"
)
_ACKNOWLEDGED = words("acknowledged acknowledge ack acked")
_RESOLVED = words(
    "resolved resolve ok okay recovered recovery recover closed close cleared clear up normal inactive success"
    " succeeded solved solve fixed healthy passing passed completed"
    " operational postmortem"  # of status pages: what is written when an incident is over, long after it
)
_OVER = words("ok okay up clear cleared recovered resolved")  # in the place of a severity
# In the place of a status: Netdata's WARNING and CRITICAL (https://github.com/netdata/netdata, health/notifications,
# its custom sender; run 2026-11), as of Consul, Sensu and whoever else has checks.
_HOW_BAD = words("critical error warning")
_SECRET = re.compile("secret|token|passw|apikey|credential|signature")
_SEVERITY_MAX_CHARS = 40  # a longer text is about something
_OF_ANY_SEVERITY = frozenset({"alert", "page"})  # beside other words they say what it is, not how bad
_NEGATIONS = frozenset({"not", "no", "non", "un", "never", "partially", "partly"})  # half well is not well
_WORDS = re.compile(r"[^\W_]+")
# Event types may end in the version of their shape: `com.example.object.deleted.v2` is an example of CloudEvents 1.0
# (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#type, read 2026-11).
_VERSION = re.compile(r"(?<=[^\W_])[._:/-]v[0-9]{1,4}(?:\.[0-9]{1,4}){0,2}\Z", re.IGNORECASE)
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
    settings: ClassVar[Mapping[str, Setting]] = MappingProxyType({"fields": FIELDS})
    name: str
    auth: Auth
    fields: Expressions | None = None

    def verify(self, webhook: Webhook) -> None:
        """Check the shared secret. Raises SignatureError."""
        verify_shared(self.auth, webhook)

    def alerts_in(self, webhook: Webhook) -> tuple[Reading, ...]:
        """Every alert of the request, in its order. Raises DecodeError."""
        return readings_in(self.name, self.type, webhook, self.fields)

    def delivery_id(self, webhook: Webhook) -> str | None:
        """The sender's Idempotency-Key, else its webhook-id."""
        for header in ("idempotency-key", "webhook-id"):
            if (key := key_of(webhook.headers.get(header, "").strip('"'))) is not None:
                return identity(key)
        return None


def readings_in(
    source: str, source_type: str, webhook: Webhook, fields: Expressions | None, *, titled_by: str | None = None
) -> tuple[Reading, ...]:
    """Every alert of a request in the shape above, or where `fields` says that it stands. Raises DecodeError.

    `titled_by` is the key whose text serves where nothing else is a title.
    """
    value = _unpacked(value_in(webhook))
    asked = _NOTHING if fields is None else _asked(fields, value, webhook)
    titles = (text_of(value.get(titled_by)),) if titled_by is not None and isinstance(value, dict) else ()
    reader = _Reader(source=source, source_type=source_type, asked=asked, titles=titles)
    each = asked.value("each", value)
    if isinstance(each, list) and (not each or any(isinstance(element, dict) for element in each)):
        return reader.batch(each, "each")
    if isinstance(value, list):
        return reader.batch(value, "$")
    if not isinstance(value, dict):
        raise DecodeError("$", f"expected an object or a list of objects, found {kind_of(value)}")
    alerts = value.get("alerts")
    if not isinstance(alerts, list):
        return (reader.reading(value, "the body"),)
    if any(isinstance(element, dict) for element in alerts) or not says_anything(value):
        return reader.batch(alerts, "$.alerts")
    return (reader.reading(value, "the body"),)  # a batch without one object in it: page for the whole


def _unpacked(value: Any) -> Any:
    """A body whose one field is `payload`, an object as text: how Slack's first webhooks take theirs, in a form.

    Who posts to such ones still does, Netdata among them (its alarm-notify.sh, run 2026-11).
    """
    if not isinstance(value, dict) or value.keys() != {"payload"}:
        return value
    text = value["payload"]
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return value
    try:
        return json_in(text.encode())
    except DecodeError:  # a text like any other
        return value


def reading_anyway(
    source: str, source_type: str, payload: Mapping[str, Any], *, titles: tuple[str | None, ...] = (), kind: str = ""
) -> Reading:
    """What another vendor's source makes of an object that has not that vendor's shape: page rather than lose.

    `titles` are for an object without words of its own, best first; `kind` is the sender's word for what happened,
    whose end says whether it fires when nothing in the object does.
    """
    return _Reader(source=source, source_type=source_type, titles=titles, kind=kind).reading(payload, "the body")


def severity_in(texts: Iterable[str | None]) -> Severity | None:
    """What the first of these texts says that names a severity: whole, else by a word of it (`1 - Critical`)."""
    given = (text for text in texts if text is not None)
    return next(filter(None, (_BY_SEVERITY.get(spelled(text)) or _severity_by_word(text) for text in given)), None)


def stem_of(kind: Any) -> str:
    """A sender's word for what happened without its end: `backup` of `backup.failed`. Empty for a single word.

    A version behind the end goes with it: `backup` of `backup.failed.v1`.
    """
    return ".".join(_WORDS.findall(_unversioned((key_of(kind) or "")[:200]))[:-1])


def _unversioned(kind: str) -> str:
    return _VERSION.sub("", kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reader:
    """Reads the elements of one request."""

    source: str
    source_type: str
    asked: "_Asked" = field(default_factory=lambda: _NOTHING)
    titles: tuple[str | None, ...] = ()
    kind: str = ""

    def batch(self, elements: list[Any], path: str) -> tuple[Reading, ...]:
        if len(elements) > ALERTS_MAX:
            raise DecodeError(path, f"{len(elements)} alerts in one request; send at most {ALERTS_MAX} at a time")
        if not elements:
            return (self._notice("the list of alerts is empty", elements),)
        if not any(isinstance(element, dict) for element in elements):
            raise DecodeError(f"{path}[0]", f"expected an object, found {kind_of(elements[0])}")
        return tuple(self.reading(element, f"{path}[{place}]") for place, element in enumerate(elements))

    def reading(self, element: Any, where: str) -> Reading:
        if not isinstance(element, dict):
            return self._notice(f"{where} is {kind_of(element)}, not an object", element)
        if not says_anything(element):
            return self._notice(f"{where} says nothing", element)
        why = self.asked.value("ignore", element)
        if why is True or (isinstance(why, str) and why.strip()):
            return self._notice("the source's fields say so" if why is True else line(why), element)
        fields = fields_of(element, wrappers=_WRAPPERS)
        dialect = dialect_of(fields)
        if dialect is None:
            return self._alert(element, fields)
        if "status" not in self.asked.names and (word := quiet_word(fields, dialect)) is not None:
            return self._notice(f"{line(word, 40)} says neither that anything is wrong nor that it is over", element)
        return self._alert(element, translated(fields, dialect))

    def _notice(self, reason: str, payload: Any) -> Notice:
        return Notice(source=self.source, source_type=self.source_type, reason=reason, payload=payload)

    def _alert(self, payload: Mapping[str, Any], fields: Fields) -> Alert:
        asked = self.asked
        named = asked.names
        title = asked.text("title", payload) or fields.text(*_TITLES)
        labels = _given_labels(asked.value("labels", payload)) if "labels" in named else _labels(payload, fields)
        severities = asked.texts("severity", payload) if "severity" in named else fields.texts(*_SEVERITIES)
        if "status" in named:
            given = asked.texts("status", payload)
            status = _status(given)
        else:
            given = (*fields.texts(*_STATUSES), *((self.kind,) if self.kind else ()))
            status = _ending(given, fields.texts(*(_OUTCOMES if given else _RUNS))) or _status(given, severities)
        how_bad = () if "severity" in named else (text for text in given if spelled(text) in _HOW_BAD)
        described = asked.text("description", payload) if "description" in named else fields.text(*_DESCRIPTIONS)
        card = "\n".join(lines_on_cards(payload))
        shown = self._title(title or fields.text(*_WEAK_TITLES), described or card)
        fingerprint = _given_key("key", asked.value("fingerprint", payload))
        episode = asked.value("episode", payload) if "episode" in named else fields.key("episode", "episodeid")
        return Alert(
            source=self.source,
            source_type=self.source_type,
            fingerprint=fingerprint or _fingerprint(payload, fields, title, labels),
            episode=_given_key("", episode),
            reported_at=_instant("reported_at", asked, payload, fields),
            status=status,
            severity=severity_in((*severities, *how_bad)),
            title=shown or f"Alert from {self.source}",
            description=paragraphs(
                "\n".join(part for part in (described, card) if part) or ("" if title else _listing(payload))
            ),
            labels=labels,
            links=_given_links(asked.value("links", payload)) if "links" in named else _links(payload, fields),
            starts_at=_instant("starts_at", asked, payload, fields),
            ends_at=_instant("ends_at", asked, payload, fields) if status is Status.RESOLVED else None,
            payload=payload,
        )

    def _title(self, named: str | None, described: str | None) -> str:
        first_line = (described or "").strip().partition("\n")[0]
        return next((title for text in (named, *self.titles, first_line) if (title := line(text or ""))), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The operator's expressions, ready for the elements of one request."""

    names: frozenset[str] = frozenset()
    ask: Callable[[str, Mapping[str, Any]], Any] = lambda _name, _sees: None
    sees: Mapping[str, Any] = field(default_factory=dict)

    def value(self, name: str, payload: Any) -> Any:
        """What the expression of this name says of an element; None when there is none, or nothing is said."""
        value = self.ask(name, {**self.sees, "payload": payload}) if name in self.names else None
        return None if is_absent(value) else value

    def text(self, name: str, payload: Any) -> str | None:
        """The same for a scalar, as text."""
        return text_of(self.value(name, payload))

    def texts(self, name: str, payload: Any) -> tuple[str, ...]:
        """The same, as all the texts there are."""
        text = self.text(name, payload)
        return () if text is None else (text,)


_NOTHING: _Asked = _Asked()


def _asked(fields: Expressions, body: Any, webhook: Webhook) -> _Asked:
    return _Asked(names=fields.names, ask=fields.asked(), sees={"body": body, "headers": webhook.headers})


_INSTANTS = {
    "reported_at": ("reportedat", "updatedat", "recordedat", "timestamp", "time", "ts", "date"),
    "starts_at": ("startsat", "startedat", "firedat", "triggeredat", "start", "starttime"),
    "ends_at": ("endsat", "endedat", "resolvedat", "end", "endtime"),
}


_TIMES = frozenset(name for names in _INSTANTS.values() for name in names)
_PASSING = _TIMES.union(_STATUSES, _OUTCOMES)
_TELLING = frozenset((*_STATUSES, *_OUTCOMES))
_GONE = object()  # of a value of which nothing lasts


def _instant(name: str, asked: _Asked, payload: Mapping[str, Any], fields: Fields) -> datetime | None:
    if name in asked.names:
        return instant_of(asked.value(name, payload))
    return next((at for one in _INSTANTS[name] if (at := instant_of(fields.value(one))) is not None), None)


def _given_key(kind: str, value: Any) -> str | None:
    """A key from a scalar, or from a list of them, whose parts stay apart wherever they are cut."""
    parts = [key_of(part) for part in value[:LABELS_MAX]] if isinstance(value, list) else [key_of(value)]
    known = [part for part in parts if part is not None]
    if not known:
        return None
    several = (line("/".join(known), 120), digest_of(parts)) if len(parts) > 1 else tuple(known)
    return identity(kind, *several) if kind else identity(*several)


def _given_labels(value: Any) -> Mapping[str, str]:
    return labels_of(_pairs(value))


def _given_links(value: Any) -> tuple[Link, ...]:
    if isinstance(value, dict) and not {"href", "url"} & value.keys():
        return links_of(*(link_of(text, text_of(href)) for text, href in islice(value.items(), 20)))
    return links_of(*(_link(element) for element in (value[:20] if isinstance(value, list) else [value])))


def _status(given: tuple[str, ...], severities: tuple[str, ...] = ()) -> Status:
    meaning = _meaning(given)
    if meaning is None and any(spelled(text) in _OVER for text in severities):
        return Status.RESOLVED
    return meaning or Status.FIRING


def _ending(given: tuple[str, ...], outcomes: tuple[str, ...]) -> Status | None:
    """How it ended, where the words for the status say nothing but that it did; None where nothing tells."""
    told = tuple(text for text in outcomes if _ONE_WORD.fullmatch(text))
    if not told or not all(_WORDS.findall(_unversioned(text[:200]).lower())[-1:] in _ENDS for text in given):
        return None
    return _meaning(told) or (Status.FIRING if given else None)


def _meaning(given: tuple[str, ...]) -> Status | None:
    """What the first of these words says that is one for a status."""
    texts = tuple(_unversioned(text[:200]) for text in given)
    return _first(_BY_STATUS, texts) or next(filter(None, map(_by_last_word, texts)), None)


def _by_last_word(text: str) -> Status | None:
    """`alert.resolved`, `ALERT_RECOVERY`: the last word of an identifier decides."""
    found = _WORDS.findall(text.lower())
    if len(found) < 2 or " " in text.strip() or found[-2] in _NEGATIONS:
        return None
    return _BY_STATUS.get(found[-1])


def _severity_by_word(text: str) -> Severity | None:
    """`P2 - High`, `warning_no_page`: the first word of a few that is one for a severity, and is not denied."""
    found = _WORDS.findall(text.lower()) if len(text) <= _SEVERITY_MAX_CHARS else []
    claimed = (word for before, word in zip(["", *found], found, strict=False) if before not in _NEGATIONS)
    telling = (word for word in claimed if word not in _OF_ANY_SEVERITY)
    return next((_BY_SEVERITY[word] for word in telling if word in _BY_SEVERITY), None)


def _listing(payload: Mapping[str, Any]) -> str:
    """The body's own scalars but for its secrets, for a page that has no words of its own; blocks are looked into."""
    pairs: list[tuple[str, Any]] = []
    for key, value in islice(payload.items(), LABELS_MAX):
        inside = isinstance(value, dict) and spelled(key) in _WRAPPERS
        pairs += islice(value.items(), LABELS_MAX) if inside else [(key, value)]
    texts = ((key, text_of(value)) for key, value in pairs[:LABELS_MAX] if not _SECRET.search(spelled(key)))
    return "\n".join(f"{line(key, 100)}: {line(text)}" for key, text in texts if text is not None)


def _first(meanings: Mapping[str, Any], texts: tuple[str, ...]) -> Any:
    """The meaning of the first text that has one."""
    for text in texts:
        if (meaning := meanings.get(spelled(text))) is not None:
            return meaning
    return None


def _fingerprint(payload: Mapping[str, Any], fields: Fields, title: str | None, labels: Mapping[str, str]) -> str:
    """`title` is None unless it names the problem."""
    if (key := fields.key(*_FINGERPRINTS)) is not None:
        return identity("key", key)
    if (definition := fields.key("eventdefinitionid")) is not None:  # beside an id that is new with every event
        return identity("definition", definition)
    if (key := fields.key("id") or (None if title else fields.key(*_CHECKS))) is not None:
        return identity("key", key)
    if title is None:
        return identity("body", digest_of(_lasting(payload)))
    alert = _named_by_its_labels(payload)
    lasting = {name: value for name, value in labels.items() if spelled(name) not in _VOLATILE and not _varies(value)}
    if alert is not None:
        return identity("labels", alert, digest_of(lasting))
    return identity("title", line(title, 120), digest_of([title, lasting]))


def _named_by_its_labels(payload: Mapping[str, Any]) -> str | None:
    """The alertname of what is made for an Alertmanager's API: its labels say which problem, its words only how it is.

    collectd's write_http posts its notifications so, the value in the words (5.12, run 2026-11).
    """
    labels, words_of_it = payload.get("labels"), payload.get("annotations")
    if not isinstance(labels, dict) or not isinstance(words_of_it, dict) or _TITLED & {*map(spelled, payload)}:
        return None
    return key_of(labels.get("alertname"))


def _lasting(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """What stays the same from report to report; the words where nothing else says what the report is about."""
    if sum(1 for _ in islice(_leaves(payload), LABELS_MAX + 1)) > LABELS_MAX:  # nobody's alert: not worth a look
        return payload
    lasting = _with(payload, _kept)
    if any(name not in _PASSING and not says_nothing(value) for name, value in _leaves(lasting)):
        return lasting
    return _with(payload, lambda name, value: value if name in _DESCRIPTIONS and value else _GONE) or lasting


def _with(payload: Mapping[str, Any], kept: Callable[[str, Any], Any]) -> dict[str, Any]:
    """What is kept of a body, and of the blocks in it that add no meaning, each in its place."""
    found: dict[str, Any] = {}
    for key, value in payload.items():
        name = spelled(key)
        if isinstance(value, dict) and name in _WRAPPERS:
            inside = _with(value, kept)
            if inside or not value:
                found[key] = inside
        elif (one := kept(name, value)) is not _GONE:
            found[key] = one
    return found


def _leaves(payload: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a body holds, and the blocks in it that add no meaning: what each is called, and its value."""
    for key, value in payload.items():
        name = spelled(key)
        if isinstance(value, dict) and name in _WRAPPERS:
            yield from _leaves(value)
        else:
            yield name, value


def _kept(name: str, value: Any) -> Any:
    """What of a value lasts: of a word for what happened its stem, for the recovery ends otherwise."""
    if name in _VOLATILE or name in _SEVERITIES or (name in _TIMES and may_be_instant(value)):
        return _GONE
    if name in _TELLING and (text := text_of(value)) is not None and _meaning((text,)) is not None:
        return stem_of(text) or _GONE
    return value


def _varies(value: str) -> bool:
    """Whether a label's value looks measured or timed: a decimal, a percentage, a date."""
    number = value.removesuffix("%")
    if number != value or "." in number or "e" in number.lower():
        return number.replace(".", "", 1).lstrip("-").isdigit()
    return may_be_instant(value) and not (value.isdigit() and len(value) < 9)


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


_OTLP_VALUES = ("stringValue", "intValue", "doubleValue", "boolValue")


def _label_text(value: Any) -> str | None:
    if isinstance(value, dict):  # OpenTelemetry's
        return next((text for name in _OTLP_VALUES if (text := text_of(value.get(name))) is not None), None)
    if isinstance(value, list):
        return ",".join(text for child in value[:LABELS_MAX] if (text := text_of(child)) is not None) or None
    return text_of(value)


def _links(payload: Mapping[str, Any], fields: Fields) -> tuple[Link, ...]:
    given = _given_links(fields.value("links"))
    return links_of(*given, *(link_of("Details", href) for href in (*fields.texts(*_LINKS), *hrefs_on_cards(payload))))


def _link(element: Any) -> Link | None:
    if isinstance(element, str):
        return link_of(element, element)
    if not isinstance(element, dict):
        return None
    href = text_of(element.get("href")) or text_of(element.get("url"))
    return link_of(text_of(element.get("text")) or text_of(element.get("title")) or href or "", href)
