"""PagerDuty's REST API v2: incidents created under an incident_key, then changed and noted by their id.

In: a Delivery; out: an HttpRequest; then, from the answer, an AttemptResult. Facts: https://github.com/PagerDuty/api-schema
(reference/REST/openapiv3.json, "spec" below) and https://github.com/PagerDuty/developer-docs (docs/REST-API, "docs"),
both read 2026-08.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, assert_never
from urllib.parse import parse_qs, urlencode, urlsplit

from bridge.destinations import wire
from bridge.destinations.base import Destination, Field, FieldKind
from bridge.domain.decision import KeyRule
from bridge.domain.delivery import (
    Action,
    AttemptResult,
    Delivered,
    Delivery,
    HttpRequest,
    HttpResponse,
    KeyIsOpen,
    NamesPage,
    NoAnswer,
    NothingFound,
    PermanentFailure,
    Phase,
    Reason,
    Reference,
    TransientFailure,
)

BASE_URLS: Mapping[str, str] = MappingProxyType(
    {"us": "https://api.pagerduty.com", "eu": "https://api.eu.pagerduty.com"}
)  # https://github.com/PagerDuty/python-pagerduty sphinx/source/user_guide.rst; read 2026-08
PAGERDUTY = "PagerDuty"
ACCEPT = "application/vnd.pagerduty+json;version=2"  # docs 03; without it the token's own version applies

TITLE_MAX_CHARS = 1024  # none documented for REST; the Events API's (docs/events-API-v2/02), and users see it; 2026-08
URGENCIES = ("high", "low")  # spec, POST /incidents
OPEN_STATUSES = frozenset({"triggered", "acknowledged"})  # spec, POST /incidents: what a key is compared with
KEY_OPEN_WORDS = "matching dedup key already exists"  # https://github.com/mapbox/dispatch/issues/119; read 2026-08
ALREADY_RESOLVED = 1001  # docs 14-Errors, "Incident Already Resolved"
ALREADY_ACKNOWLEDGED = 1002  # docs 14-Errors, "Incident Already Acknowledged"

REQUESTER_UNKNOWN = 1008  # docs 14-Errors, "Requester User Not Found"
FROM_WORDS = '"from" header'  # https://github.com/PagerDuty/go-pagerduty/issues/89; read 2026-08
FROM_ADVICE = "the account's 'from' has to be the login e-mail of a user there"

PAGE_SIZE = 100  # docs 09-Pagination: the most a page holds
FOUND_MAX = 20  # incidents in an answer to a look-up: one of them at most is open, and ours is among the newest
LAST_OFFSET = 10_000 - PAGE_SIZE  # docs 09-Pagination: offset + limit above 10000 is a 400
_LEVEL = re.compile("[1-9][0-9]{0,3}")
LONG_AGO = datetime.min.replace(tzinfo=UTC)
LIST_SETTLES_IN = timedelta(seconds=10)  # the list lags behind writes (https://github.com/airbnb/streamalert outputs)

_FIELD_WORDS = (  # what a refusal says when it is about a field; the longer words first
    ("escalation policy", "escalation_policy"),
    ("incident type", "incident_type"),
    ("conference", "conference_bridge"),
    ("assign", "assignee"),
    ("priorit", "priority"),
    ("urgency", "urgency"),
    ("title", "title"),
    ("body", "body"),
    *((f"service {verb}", "service") for verb in ("not found", "is", "cannot", "must")),  # others merely mention it
)
_ASSIGNING = frozenset({Action.CREATE, Action.UPDATE, Action.REOPEN})  # these may name an assignee
_DOUBLING = frozenset({Action.CREATE, Action.NOTE})  # repeated blindly, these would be there twice

_SPEC = "PagerDuty api-schema, openapiv3.json, POST /incidents; read 2026-08"
_DOCS_15 = "PagerDuty developer-docs, REST-API/15-Incident-Creation-API.md; read 2026-08"

FIELDS: Mapping[str, Field] = MappingProxyType(
    {
        "title": Field(
            kind=FieldKind.TEXT,
            about="One line that says what is wrong; the first thing the person on call hears.",
            source="PagerDuty developer-docs, events-API-v2/02-Trigger-Events.md (REST documents none); read 2026-08",
            required=True,
            max_chars=TITLE_MAX_CHARS,
        ),
        "service": Field(
            kind=FieldKind.NAME,
            about="The service the incident belongs to; a key is unique among its open incidents.",
            source=_SPEC,
            required=True,
            lookup="service",
        ),
        "urgency": Field(
            kind=FieldKind.ENUM,
            about="How the service's policy notifies; left out, the service decides.",
            source=_SPEC,
            choices=URGENCIES,
        ),
        "priority": Field(
            kind=FieldKind.NAME,
            about="The priority, if the account's plan has them.",
            source=_SPEC,
            lookup="priority",
        ),
        "escalation_policy": Field(
            kind=FieldKind.NAME,
            about="Who is notified, instead of the service's own policy; not together with `assignee`.",
            source=_SPEC,
            lookup="escalation_policy",
        ),
        "assignee": Field(
            kind=FieldKind.NAME,
            about="The one user to notify, by e-mail address, name or id; never the account's `from`.",
            source=_DOCS_15,
            lookup="user",
        ),
        "body": Field(
            kind=FieldKind.LONG_TEXT,
            about="The details, as plain text; PagerDuty cannot change them later.",
            source=_DOCS_15,
        ),
        "incident_type": Field(
            kind=FieldKind.NAME,
            about="The incident type, by its name or by what it is called on screen.",
            source=_SPEC,
            lookup="incident_type",
        ),
        "conference_bridge": Field(
            kind=FieldKind.MAPPING,
            about="`conference_number` and `conference_url` of a call that is already open.",
            source=_SPEC,
            keys=("conference_number", "conference_url"),
        ),
    }
)


UPDATE_FIELDS: Mapping[str, Field] = MappingProxyType(  # spec, PUT /incidents/{id}; never the service nor the body
    {
        **{name: about for name, about in FIELDS.items() if name not in ("service", "body")},
        "escalation_level": Field(
            kind=FieldKind.TEXT,
            about="The level of the escalation policy to go to, from 1.",
            source="PagerDuty api-schema, openapiv3.json, PUT /incidents/{id}; read 2026-08",
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _NameList:
    """One list of names: its path, and the attributes of its entries worth keeping beside the name."""

    path: str
    key: str | None = None  # of the list in the answer; None: the path
    keep: tuple[str, ...] = ()
    alias: str | None = None  # the attribute that people use instead of the name
    by_name: bool = False  # the upstream is told the name, not the id
    paged: bool = True


_NAME_LISTS: Mapping[str, _NameList] = MappingProxyType(
    {
        "service": _NameList(path="services", keep=("status",)),
        "priority": _NameList(path="priorities"),
        "escalation_policy": _NameList(path="escalation_policies"),
        "user": _NameList(path="users", keep=("email",), alias="email"),
        "incident_type": _NameList(  # spec, GET /incidents/types: one page; and in a create {"name": ...}
            path="incidents/types", key="incident_types", alias="display_name", by_name=True, paged=False
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PagerDuty(Destination):
    """One PagerDuty account. `from_` is the login e-mail of a bot user that nobody assigns incidents to."""

    type: ClassVar[str] = "pagerduty"
    key_rule: ClassVar[KeyRule] = KeyRule.WHILE_OPEN
    key_field: ClassVar[str] = "incident_key"
    fields: ClassVar[Mapping[str, Field]] = FIELDS
    title_field: ClassVar[str] = "title"
    body_field: ClassVar[str] = "body"
    plain_fields: ClassVar[frozenset[str]] = frozenset({"title", "service", "body"})
    rise_fields: ClassVar[frozenset[str]] = frozenset({"urgency", "priority", "escalation_policy"})
    reopen_fields: ClassVar[frozenset[str] | None] = rise_fields | {"assignee"}
    update_fields: ClassVar[Mapping[str, Field]] = UPDATE_FIELDS
    target_fields: ClassVar[frozenset[str]] = frozenset({"service", "escalation_policy", "assignee", "incident_type"})
    scope_field: ClassVar[str | None] = "service"
    actions: ClassVar[frozenset[Action]] = frozenset(Action)
    name_kinds: ClassVar[tuple[str, ...]] = tuple(_NAME_LISTS)

    account: str
    token: str = field(repr=False)
    from_: str
    oauth: bool = False  # the token is an OAuth access token, not a REST API key
    base_url: str = BASE_URLS["us"]  # without a slash at the end
    defaults: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def name_kinds_for(self, delivery: Delivery) -> tuple[str, ...]:
        """The users, when one is assigned: an incident assigned to our own `from` notifies nobody."""
        return ("user",) if delivery.action in _ASSIGNING and "assignee" in delivery.fields else ()

    def contradictions(self, written: Mapping[str, str | None]) -> tuple[tuple[str, str, str], ...]:
        """An assignee beside a policy (spec, POST /incidents); the account's own user, who pages nobody (docs 15);
        a level of a policy that is none, which would be left out of the update.
        """
        level, found = written.get("escalation_level"), []
        if level is not None and _level(level) is None:
            sentence = f"'escalation_level' is a number from 1, found '{level}'"
            found.append(("escalation_level", sentence, "write the level of the escalation policy to go to, as 2"))
        if "assignee" not in written:
            return tuple(found)
        if "escalation_policy" in written:
            sentence = "PagerDuty takes an assignee or an escalation policy, not both"
            found.append(("assignee", sentence, "keep one of them; a policy reaches the next person, too"))
        whom = written["assignee"]
        if whom is not None and whom.strip().casefold() == self.from_.casefold():
            sentence = f"'{whom}' is the account's own 'from': PagerDuty would acknowledge at once and page nobody"
            found.append(("assignee", sentence, "assign somebody else, or name an escalation policy"))
        return tuple(found)

    def says_nothing(self, delivery: Delivery, lists: Mapping[str, tuple[Any, ...]]) -> bool:
        """An update without a change; a re-opening changes the status."""
        return delivery.action is Action.UPDATE and not self._changes(delivery, lists)

    def request_for(self, delivery: Delivery, lists: Mapping[str, tuple[Any, ...]]) -> HttpRequest:
        """The call for the delivery's action and phase; the same delivery gives the same bytes every time."""
        match delivery.action:
            case Action.CREATE if delivery.phase is Phase.LOOK_UP:
                return self._get("incidents", _look_up_query(delivery), asks_for_list=True)
            case Action.ACKNOWLEDGE if delivery.phase is Phase.LOOK_UP:
                return self._get(f"incidents/{wire.upstream_id(delivery, PAGERDUTY)}")
            case Action.NOTE if delivery.phase is Phase.LOOK_UP:
                path = f"incidents/{wire.upstream_id(delivery, PAGERDUTY)}/notes"
                return self._get(path, asks_for_list=True)
            case Action.CREATE:
                incident = self._incident(delivery, lists.get("user", ()))
                return self._send("POST", "incidents", {"incident": incident})
            case Action.ACKNOWLEDGE:
                return self._change(delivery, {"status": "acknowledged"})
            case Action.RESOLVE:
                resolution = wire.text_in(delivery.fields, "resolution")
                return self._change(delivery, {"status": "resolved"} | wire.given(resolution=resolution))
            case Action.REOPEN:  # CHANGELOG of the REST API, 2025-09-18: who is notified is assigned anew
                return self._change(delivery, {"status": "triggered"} | self._changes(delivery, lists))
            case Action.UPDATE:
                changes = self._changes(delivery, lists)
                if not changes:
                    raise ValueError(f"delivery {delivery.id}: an update that changes nothing")
                return self._change(delivery, changes)
            case Action.NOTE:
                path = f"incidents/{wire.upstream_id(delivery, PAGERDUTY)}/notes"
                return self._send("POST", path, {"note": {"content": _note(delivery)}})
            case Action.CHECK:
                return self._get(f"incidents/{wire.upstream_id(delivery, PAGERDUTY)}")
        assert_never(delivery.action)

    def result_of(self, delivery: Delivery, answer: HttpResponse | NoAnswer) -> AttemptResult:
        """What the answer means; never raises."""
        return wire.result_of(
            answer,
            creates=delivery.action in _DOUBLING and delivery.phase is Phase.SEND,
            secret=self.token,
            words=_words,
            special=partial(_special, delivery),
            accepted=partial(_accepted, delivery),
            field_of=_field_of,
        )

    def names_request(self, kind: str, cursor: str | None = None) -> HttpRequest:
        """One page of one of name_kinds; the cursor is its offset."""
        about = _NAME_LISTS[kind]
        query = (("limit", str(PAGE_SIZE)), ("offset", cursor or "0")) if about.paged else ()
        return self._get(about.path, query, asks_for_list=True)

    def names_in(self, kind: str, request: HttpRequest, response: HttpResponse) -> NamesPage | None:
        """The entries of one page; None when the answer is not a list we can trust.

        A plan without priorities answers 402 (spec, GET /priorities): an empty list. PagerDuty gives out the first
        10,000 entries of a list and no more; what lies beyond must be named by its id.
        """
        if kind == "priority" and response.status == 402:
            return NamesPage(things=())
        about = _NAME_LISTS[kind]
        entries = wire.entries_in(response, about.key or about.path)
        if entries is None:
            return None
        offset = _offset_of(request)
        says_more = wire.within(wire.json_in(response.body), "more") is True
        more = about.paged and says_more and bool(entries) and offset < LAST_OFFSET
        things = wire.named(entries, keep=about.keep, alias=about.alias)
        if about.by_name:
            things = tuple(replace(thing, id=thing.name, aliases=(*thing.aliases, thing.id)) for thing in things)
        return NamesPage(things=things, next_cursor=str(offset + PAGE_SIZE) if more else None)

    def words_in(self, content: Any) -> list[str]:
        """PagerDuty's own words."""
        return _words(content)

    def _get(self, path: str, query: tuple[tuple[str, str], ...] = (), *, asks_for_list: bool = False) -> HttpRequest:
        asked = f"?{urlencode(query)}" if query else ""
        url = f"{self.base_url}/{path}{asked}"
        return HttpRequest(method="GET", url=url, headers=self._headers(), asks_for_list=asks_for_list)

    def _send(self, method: str, path: str, content: Mapping[str, Any]) -> HttpRequest:
        return wire.json_request(method, f"{self.base_url}/{path}", self._headers(), content, From=self.from_)

    def _headers(self) -> dict[str, str]:
        scheme = f"Bearer {self.token}" if self.oauth else f"Token token={self.token}"  # docs 02-Authentication
        return {"Authorization": scheme, "Accept": ACCEPT}

    def _change(self, delivery: Delivery, change: Mapping[str, Any]) -> HttpRequest:
        path = f"incidents/{wire.upstream_id(delivery, PAGERDUTY)}"
        return self._send("PUT", path, {"incident": {"type": "incident_reference", **change}})

    def _changes(self, delivery: Delivery, lists: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
        """What a PUT sets beside the status. Not the body, which PagerDuty keeps as it is, and not the service, under
        which the incident's key is unique.
        """
        whom, _ = self._whom(delivery, lists.get("user", ()))
        title = wire.text_in(delivery.fields, "title")[:TITLE_MAX_CHARS]
        level = _level(delivery.fields.get("escalation_level"))
        return wire.given(title=title, escalation_level=level, **_same_in_both(delivery)) | whom

    def _incident(self, delivery: Delivery, users: tuple[Any, ...]) -> dict[str, Any]:
        fields, ids = delivery.fields, delivery.ids
        whom, notes = self._whom(delivery, users)
        body = wire.with_notes(wire.text_in(fields, "body"), (*delivery.notes, *notes))
        return {
            "type": "incident",
            "title": wire.text_in(fields, "title")[:TITLE_MAX_CHARS],
            # A service nobody could look up is sent as written: PagerDuty's own refusal says more than we could.
            "service": _reference("service", ids.get("service") or wire.text_in(fields, "service")),
            **wire.given(
                incident_key=delivery.key,
                body={"type": "incident_body", "details": body} if body else None,
                **_same_in_both(delivery),
            ),
            **whom,
        }

    def _whom(self, delivery: Delivery, users: tuple[Any, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Who is notified, and what had to be left out.

        A policy and an assignee exclude each other (spec); the policy stays, for it reaches the next person when the
        first does not answer. An incident assigned to its own From user is created acknowledged and notifies nobody
        (docs 15).
        """
        policy = _reference("escalation_policy", delivery.ids.get("escalation_policy"))
        assignee = delivery.ids.get("assignee")
        if assignee is None:
            return wire.given(escalation_policy=policy), ()
        if policy is not None:
            return {"escalation_policy": policy}, ("assignee left out, an escalation policy is given",)
        emails = [str(user.extra.get("email", "")) for user in users if user.id == assignee]
        words = (wire.text_in(delivery.fields, "assignee"), *emails)
        if self.from_.casefold() in (word.strip().casefold() for word in words):
            return {}, ("assignee left out, it is the bridge's own user and nobody would be notified",)
        return {"assignments": [{"assignee": _reference("user", assignee)}]}, ()


def _same_in_both(delivery: Delivery) -> dict[str, Any]:
    """The fields that a create and a PUT write alike; None for what the delivery does not give."""
    urgency = wire.text_in(delivery.fields, "urgency")
    kind = delivery.ids.get("incident_type")
    return {
        "urgency": urgency if urgency in URGENCIES else None,
        "priority": _reference("priority", delivery.ids.get("priority")),
        "incident_type": {"name": kind} if kind else None,
        "conference_bridge": _conference_bridge(delivery.fields.get("conference_bridge")),
    }


def _level(value: Any) -> int | None:
    """A level of an escalation policy, which counts from 1; None when it is none."""
    text = "" if isinstance(value, bool) else str(value).strip()
    return int(text) if _LEVEL.fullmatch(text) else None


def _note(delivery: Delivery) -> str:
    """The text of a note, which ends in the mark that a repeat finds it by: notes have no key."""
    return f"{wire.with_notes(wire.text_in(delivery.fields, 'note'), delivery.notes)}\n\n{_mark(delivery)}".lstrip()


def _mark(delivery: Delivery) -> str:
    return f"[ib {delivery.id}]"


def _look_up_query(delivery: Delivery) -> tuple[tuple[str, str], ...]:
    """The newest incidents our key had on the service, newest first.

    Raises:
        ValueError: without a key, for PagerDuty then lists every open incident
            (https://github.com/airbnb/streamalert/pull/567; read 2026-08).
    """
    if not delivery.key:
        raise ValueError(f"delivery {delivery.id}: a look-up needs a key")
    return (
        ("incident_key", delivery.key),
        ("service_ids[]", _service_id(delivery)),
        ("date_range", "all"),  # else the last month only (spec, GET /incidents)
        ("sort_by", "created_at:desc"),
        ("limit", str(FOUND_MAX)),
    )


def _service_id(delivery: Delivery) -> str:
    return delivery.ids.get("service") or wire.text_in(delivery.fields, "service")


def _found(delivery: Delivery, content: Any, answered_at: datetime | None) -> AttemptResult:
    """Which of the incidents under our key is this delivery's.

    An open one of ours first, then one that this delivery made and a person closed since. One that an earlier episode
    owns counts only while it is open and the list is surely not showing its past: PagerDuty then refuses every other
    create under the key.
    """
    if not isinstance(wire.within(content, "incidents"), list):
        detail = "no list of incidents in the answer"
        return TransientFailure(reason=Reason.UNREADABLE_ANSWER, detail=detail)
    ours = [incident for incident in wire.objects(content["incidents"]) if _is_ours(delivery, incident)]
    began_at = delivery.first_attempt_at or delivery.created_at
    free = [incident for incident in ours if incident["id"] not in delivery.owned]
    made = [incident for incident in free if wire.created_at(incident, LONG_AGO) >= wire.made_since(delivery)]
    settled = answered_at is None or answered_at >= began_at + LIST_SETTLES_IN
    candidates = (
        [incident for incident in free if _is_open(incident)],
        made,
        [incident for incident in ours if _is_open(incident)] if settled else [],
    )
    chosen = next((found for found in candidates if found), None)
    if chosen is None:
        return NothingFound(detail=f"none of {len(ours)} incidents under this key is this delivery's")
    newest = max(chosen, key=lambda incident: wire.created_at(incident, LONG_AGO))
    reference = _reference_of(newest)
    if reference is not None:
        reference = replace(reference, made_before=wire.is_made_before(delivery, newest))
    return Delivered(reference=reference, adopted=True, detail="found under its key")


def _is_ours(delivery: Delivery, incident: Mapping[str, Any]) -> bool:
    service = wire.within(incident.get("service"), "id")
    return (
        incident.get("incident_key") == delivery.key
        and wire.identifier_in(incident.get("id")) is not None
        and service in (None, _service_id(delivery))
    )


def _accepted(delivery: Delivery, answer: HttpResponse, content: Any) -> AttemptResult:
    """A 2xx. A create under the key of an open incident that the Events API made is answered with that incident
    (https://github.com/airbnb/streamalert outputs/pagerduty.py; read 2026-08).
    """
    looks, creates = delivery.phase is Phase.LOOK_UP, delivery.action is Action.CREATE
    if looks and creates:
        return _found(delivery, content, wire.instant_in(answer.headers.get("date")))
    if delivery.action is Action.NOTE:
        return _noted_before(delivery, content) if looks else _noted(answer, content)
    incident = wire.within(content, "incident")
    reference = _reference_of(incident)
    if reference is None:
        return wire.without_incident(answer, creates=creates)
    if wire.shows_another(delivery, reference) or (creates and not _may_be_ours(delivery, incident)):
        return wire.with_another(answer, creates=creates)
    if delivery.action is Action.CHECK:
        return Delivered(reference=replace(reference, changed_at=_changed_at(incident)))
    if looks:
        return _may_acknowledge(incident, reference)
    return Delivered(reference=reference, adopted=creates and wire.is_made_before(delivery, incident))


def _may_be_ours(delivery: Delivery, incident: Mapping[str, Any]) -> bool:
    """Whether a create's answer can be the one to it; an incident with alerts has no key (spec, GET /incidents)."""
    key = incident.get("incident_key")
    return not isinstance(key, str) or key.strip() in ("", delivery.key.strip())


def _noted(answer: HttpResponse, content: Any) -> AttemptResult:
    if wire.identifier_in(wire.within(content, "note", "id")) is None:
        detail = f"HTTP {answer.status} without a note in it"
        return wire.unknown(Reason.UNREADABLE_ANSWER, detail, creates=True)
    return Delivered(reference=None)


def _noted_before(delivery: Delivery, content: Any) -> AttemptResult:
    """Whether one of the incident's notes is this delivery's: the list is not paged (spec, GET notes)."""
    if not isinstance(wire.within(content, "notes"), list):
        return TransientFailure(reason=Reason.UNREADABLE_ANSWER, detail="no list of notes in the answer")
    written = [text for note in wire.objects(content["notes"]) for text in wire.texts(note.get("content"))]
    if any(text.rstrip().endswith(_mark(delivery)) for text in written):
        return Delivered(reference=None, adopted=True, detail="found among the incident's notes")
    return NothingFound(detail=f"none of {len(written)} notes is this delivery's")


def _may_acknowledge(incident: Mapping[str, Any], reference: Reference) -> AttemptResult:
    """Only an incident that is triggered is acknowledged: told to a resolved one it would reopen it (CHANGELOG of the
    REST API, 2025-09-18; read 2026-08).
    """
    status = incident.get("status")
    if status == "triggered":
        return NothingFound(detail="the incident is open and nobody has acknowledged it yet")
    return Delivered(reference=reference, adopted=True, detail="not sent: somebody acknowledged or resolved it before")


def _special(delivery: Delivery, status: int, content: Any, detail: str) -> AttemptResult | None:
    """The refusals that mean something of their own; None for all others."""
    if status == 404 and delivery.action is Action.CHECK:
        return wire.gone(delivery, detail) if isinstance(wire.within(content, "error", "code"), int) else None
    if status != 400:
        return None
    error = wire.within(content, "error")
    code = wire.within(error, "code")
    match delivery.action:
        case Action.CREATE if delivery.phase is Phase.SEND and KEY_OPEN_WORDS in " ".join(_words(content)).casefold():
            return KeyIsOpen(detail=detail)
        case Action.RESOLVE | Action.ACKNOWLEDGE if code == ALREADY_RESOLVED:
            return _told_before(delivery, detail, closed=True)
        case Action.ACKNOWLEDGE if code == ALREADY_ACKNOWLEDGED:
            return _told_before(delivery, detail, closed=False)
        case _ if code == REQUESTER_UNKNOWN or FROM_WORDS in " ".join(_words(content)).casefold():
            advised = f"{FROM_ADVICE}: {detail}"[: wire.DETAIL_MAX_CHARS]
            # nothing that a rule gives would change it: no plain create, so that a replay sends what the rule wanted
            return PermanentFailure(reason=Reason.REFUSED, detail=advised)
    return None


def _field_of(content: Any) -> str | None:
    """The field that a refusal's words are about, as far as one can tell: PagerDuty says it in prose only (docs 14)."""
    said = " ".join(_words(content)).casefold()
    return next((name for words, name in _FIELD_WORDS if words in said), None)


def _told_before(delivery: Delivery, detail: str, *, closed: bool) -> AttemptResult:
    if delivery.upstream_id is None:
        return PermanentFailure(reason=Reason.BAD_REQUEST, detail=detail)
    return Delivered(reference=Reference(id=delivery.upstream_id, closed=closed), adopted=True, detail=detail)


def _words(content: Any) -> list[str]:
    """PagerDuty's own words: {"error": {"message", "code", "errors": [...]}}; `errors` may be missing (docs 14)."""
    error = wire.within(content, "error")
    code = wire.within(error, "code")
    return [
        *wire.texts(wire.within(error, "message")),
        *wire.texts(wire.within(error, "errors")),
        *wire.texts(error),
        *([f"code {code}"] if isinstance(code, int) else []),
    ]


def _reference_of(incident: Any) -> Reference | None:
    return wire.reference_in(incident, "html_url", closed=lambda one: one.get("status") == "resolved")


def _changed_at(incident: Mapping[str, Any]) -> datetime | None:
    """When its status changed last (spec, Incident: resolved_at is null while it is open)."""
    return wire.instant_in(incident.get("resolved_at")) or wire.instant_in(incident.get("last_status_change_at"))


def _is_open(incident: Mapping[str, Any]) -> bool:
    return isinstance(incident.get("status"), str) and incident["status"] in OPEN_STATUSES


def _offset_of(request: HttpRequest) -> int:
    return int(parse_qs(urlsplit(request.url).query).get("offset", ["0"])[0])


def _reference(kind: str, identifier: str | None) -> dict[str, str] | None:
    return None if identifier is None else {"id": identifier, "type": f"{kind}_reference"}


def _conference_bridge(value: Any) -> dict[str, str] | None:
    if not isinstance(value, Mapping):
        return None
    given = {key: wire.text_in(value, key) for key in ("conference_number", "conference_url")}
    return {key: text for key, text in given.items() if text} or None
