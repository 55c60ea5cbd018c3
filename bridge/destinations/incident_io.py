"""incident.io's API: incidents created under an idempotency_key and closed by a change of status.

In: a Delivery; out: an HttpRequest; then, from the answer, an AttemptResult. Facts: incident.io's OpenAPI document and
its prose, https://github.com/incident-io/sdk-go openapi3.json ("spec" below), read 2026-08.

`api: v1` creates through the deprecated POST /v1/incidents; changing an incident exists in v2 only, for both.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, ClassVar

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
    KeySpent,
    NamedThing,
    NamesPage,
    NoAnswer,
    PermanentFailure,
    Reason,
    Reference,
)

BASE_URL = "https://api.incident.io"  # spec, servers: one for everybody
OVER = frozenset({"closed", "declined", "canceled", "merged"})  # spec, IncidentStatusV2.category (v1: status)
CLOSED = "closed"
V1_STATUSES = frozenset({"triage", "investigating", "fixing", "monitoring", "closed", "declined"})  # spec, v1 create
V1_MODES: Mapping[str, str] = MappingProxyType(
    {"standard": "real", "retrospective": "real", "test": "test", "tutorial": "test"}
)  # spec, v1 create knows two modes
CLOCKS_DIFFER_BY = timedelta(minutes=5)  # an incident older than the first attempt by this is not that attempt's

_SPEC = "incident.io openapi3.json, POST /v2/incidents; read 2026-08"

FIELDS: Mapping[str, Field] = MappingProxyType(
    {
        "name": Field(
            kind=FieldKind.TEXT,
            about="One line that says what is wrong; it names the incident and its channel.",
            source=_SPEC,
            required=True,
        ),
        "summary": Field(
            kind=FieldKind.LONG_TEXT,
            about="What is known, as Markdown.",
            source=_SPEC,
        ),
        "severity": Field(
            kind=FieldKind.NAME,
            about="The severity; organisations can demand one.",
            source=_SPEC,
            lookup="severity",
        ),
        "incident_type": Field(
            kind=FieldKind.NAME,
            about="The incident type; left out, the organisation's default.",
            source=_SPEC,
            lookup="incident_type",
        ),
        "status": Field(
            kind=FieldKind.NAME,
            about="The status to open in, by its name or its category (triage, live, ...).",
            source=_SPEC,
            lookup="incident_status",
        ),
        "visibility": Field(
            kind=FieldKind.ENUM,
            about="Who may see it: public (what the bridge sends when left out) or private.",
            source=_SPEC,
            choices=("public", "private"),
        ),
        "mode": Field(
            kind=FieldKind.ENUM,
            about="A real incident (standard) or an exercise.",
            source=_SPEC,
            choices=("standard", "retrospective", "test", "tutorial"),
        ),
    }
)

_NAME_LISTS: Mapping[str, str] = MappingProxyType(  # kind -> path; the last part is also the list's key in the answer
    {
        "severity": "v1/severities",
        "incident_type": "v1/incident_types",
        "incident_status": "v1/incident_statuses",
    }
)
_KEPT = ("category", "rank", "is_default", "create_in_triage")  # attributes worth keeping beside a name


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentIo(Destination):
    """One incident.io organisation, by one of its API keys."""

    type: ClassVar[str] = "incident_io"
    key_rule: ClassVar[KeyRule] = KeyRule.FOR_EVER
    fields: ClassVar[Mapping[str, Field]] = FIELDS
    title_field: ClassVar[str] = "name"
    body_field: ClassVar[str] = "summary"
    scope_field: ClassVar[str | None] = None
    actions: ClassVar[frozenset[Action]] = frozenset({Action.CREATE, Action.RESOLVE})
    name_kinds: ClassVar[tuple[str, ...]] = tuple(_NAME_LISTS)

    account: str
    token: str = field(repr=False)
    base_url: str = BASE_URL  # without a slash at the end
    api: str = "v2"  # or "v1"
    defaults: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def name_kinds_for(self, delivery: Delivery) -> tuple[str, ...]:
        """The statuses: closing means moving to one of category closed; a create may name its status by category."""
        names_one = delivery.action is Action.CREATE and self.api == "v2" and "status" in delivery.fields
        needs_statuses = delivery.action is Action.RESOLVE or names_one
        return ("incident_status",) if needs_statuses else ()

    def request_for(self, delivery: Delivery, lists: Mapping[str, tuple[Any, ...]]) -> HttpRequest:
        """The call for the delivery's action; the same delivery gives the same bytes every time.

        There is no look-up: no list knows the key (spec, GET /v2/incidents), so the way to find out is the same create
        once more. A resolve's `resolution` is not sent: incident.io takes no note with a change of status.
        """
        statuses = lists.get("incident_status", ())
        match delivery.action:
            case Action.CREATE if self.api == "v1":
                return self._post("v1/incidents", _incident_v1(delivery))
            case Action.CREATE:
                return self._post("v2/incidents", _incident_v2(delivery, statuses))
            case Action.RESOLVE:
                if delivery.upstream_id is None:
                    raise ValueError(f"delivery {delivery.id}: resolve needs the incident's id at incident.io")
                edit = {"incident": {"incident_status_id": _closing(statuses)}, "notify_incident_channel": True}
                return self._post(f"v2/incidents/{wire.path_part(delivery.upstream_id)}/actions/edit", edit)
            case _:
                raise ValueError(f"incident.io is not told to {delivery.action} yet: delivery {delivery.id}")

    def result_of(self, delivery: Delivery, answer: HttpResponse | NoAnswer) -> AttemptResult:
        """What the answer means; never raises.

        What a repeated key is answered with is not documented for incidents; sister endpoints return the existing
        object (spec, POST /v2/escalations). Should it be refused instead, with 409 or a 422 about the key, nothing says
        which incident has it: the create is repeated until it is too old, and a person sees why. It never pages twice.
        """
        creates = delivery.action is Action.CREATE
        if isinstance(answer, NoAnswer):
            return wire.unanswered(answer, creates=creates, secret=self.token)
        content = wire.json_in(answer.body)
        detail = wire.said(answer, _words(content), self.token)
        if not 200 <= answer.status < 300:
            if creates and (answer.status == 409 or (answer.status == 422 and _is_about_the_key(content))):
                return KeyIsOpen(detail=detail)
            return wire.refused(answer, detail, creates=creates)
        incident = wire.within(content, "incident")
        reference = _reference_of(incident)
        if reference is None:
            detail = f"HTTP {answer.status} without an incident in it"
            return wire.unknown(Reason.UNREADABLE_ANSWER, detail, creates=creates)
        result = _created(delivery, incident, reference) if creates else _edited(incident, reference)
        return wire.noting_exhaustion(result, answer)

    def names_request(self, kind: str) -> HttpRequest:
        """The whole of one of name_kinds: these lists are not paged (spec)."""
        return HttpRequest(method="GET", url=f"{self.base_url}/{_NAME_LISTS[kind]}", headers=self._headers())

    def names_in(self, kind: str, request: HttpRequest, response: HttpResponse) -> NamesPage | None:  # noqa: ARG002 - no pages
        """The entries of the list; None when the answer is not a list we can trust."""
        entries = wire.within(wire.json_in(response.body), _NAME_LISTS[kind].rpartition("/")[2])
        if response.status != 200 or not isinstance(entries, list):
            return None
        return NamesPage(things=tuple(thing for entry in entries if (thing := _named(entry)) is not None))

    def _post(self, path: str, content: Mapping[str, Any]) -> HttpRequest:
        headers = {**self._headers(), "Content-Type": "application/json"}
        return HttpRequest(method="POST", url=f"{self.base_url}/{path}", headers=headers, body=wire.json_body(content))

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


# ---- requests --------------------------------------------------------------------------------------------------------


def _incident_v2(delivery: Delivery, statuses: tuple[Any, ...]) -> dict[str, Any]:
    status = delivery.ids.get("status") or _status_named(wire.text_in(delivery.fields, "status"), statuses)
    mode = wire.text_in(delivery.fields, "mode")
    given = {
        "incident_status_id": status,
        "mode": mode if mode in FIELDS["mode"].choices else None,
    }
    return _common(delivery) | {name: value for name, value in given.items() if value}


def _incident_v1(delivery: Delivery) -> dict[str, Any]:
    status = wire.text_in(delivery.fields, "status").strip().casefold()
    given = {
        "status": status if status in V1_STATUSES else None,  # v1 knows its own words, not the organisation's
        "mode": V1_MODES.get(wire.text_in(delivery.fields, "mode")),
    }
    return _common(delivery) | {name: value for name, value in given.items() if value}


def _common(delivery: Delivery) -> dict[str, Any]:
    visibility = wire.text_in(delivery.fields, "visibility")
    given = {
        "name": wire.text_in(delivery.fields, "name"),
        "summary": wire.with_notes(wire.text_in(delivery.fields, "summary"), delivery.notes),
        "severity_id": delivery.ids.get("severity"),
        "incident_type_id": delivery.ids.get("incident_type"),
    }
    required = {
        "idempotency_key": delivery.key,
        "visibility": visibility if visibility in FIELDS["visibility"].choices else "public",
    }
    return required | {name: value for name, value in given.items() if value}


def _status_named(text: str, statuses: tuple[Any, ...]) -> str | None:
    """The status with this name, else the first of this category; None when there is neither."""
    wanted = text.strip().casefold()
    named = [status for status in statuses if status.name.casefold() == wanted]
    of_category = [status for status in statuses if status.extra.get("category") == wanted]
    return min(named or of_category, key=_rank).id if wanted and (named or of_category) else None


def _closing(statuses: tuple[Any, ...]) -> str:
    """The id of the status that closes an incident: the one named so, else the first of the category.

    Empty when the organisation's list has none, which incident.io refuses in words a person can act on.
    """
    closed = [status for status in statuses if status.extra.get("category") == CLOSED]
    return _status_named(CLOSED, tuple(closed)) or ""


def _rank(status: Any) -> tuple[float, str]:
    rank = status.extra.get("rank")
    return (rank if isinstance(rank, int | float) else 0, status.id)


# ---- answers ---------------------------------------------------------------------------------------------------------


def _created(delivery: Delivery, incident: Mapping[str, Any], reference: Reference) -> AttemptResult:
    """A 2xx to a create: a repeated key is answered with the incident it made, however long ago that was."""
    since = (delivery.first_attempt_at or delivery.created_at) - CLOCKS_DIFFER_BY
    is_earlier = _created_at(incident, since) < since or reference.id in delivery.owned
    if is_earlier and reference.closed:
        return KeySpent(reference=reference, detail="the key's incident is over since before this delivery")
    return Delivered(reference=reference, adopted=is_earlier or reference.closed)


def _edited(incident: Mapping[str, Any], reference: Reference) -> AttemptResult:
    """A 2xx to a close; believed only when the incident's status says so too."""
    category = _category(incident)
    if category is not None and not reference.closed:
        detail = f"incident.io took the change but the incident is still {category}"
        return PermanentFailure(reason=Reason.BAD_REQUEST, detail=detail[: wire.DETAIL_MAX_CHARS])
    return Delivered(reference=reference)


def _is_about_the_key(content: Any) -> bool:
    places = (wire.within(error, "source", "field") for error in wire.objects(wire.within(content, "errors")))
    return any(isinstance(place, str) and "idempotency_key" in place for place in places)


def _words(content: Any) -> list[str]:
    """incident.io's own words.

    They come as {"type", "status", "request_id", "errors": [{"code", "message", "source": {"field"}}]} (spec, prose).
    """
    found = []
    for error in wire.objects(wire.within(content, "errors")):
        parts = (wire.within(error, "source", "field"), wire.within(error, "message") or wire.within(error, "code"))
        found.append(": ".join(part for part in parts if isinstance(part, str)))
    request_id = wire.within(content, "request_id")
    kind = wire.texts(wire.within(content, "type"))
    return [*(found or kind), *([f"request id {request_id}"] if isinstance(request_id, str) else [])]


def _reference_of(incident: Any) -> Reference | None:
    identifier = wire.identifier_in(wire.within(incident, "id"))
    if identifier is None:
        return None
    return Reference(id=identifier, url=wire.url_in(incident.get("permalink")), closed=_category(incident) in OVER)


def _category(incident: Mapping[str, Any]) -> str | None:
    """Where the incident stands: v2's status category, v1's status; None when the answer does not say."""
    said = wire.within(incident, "incident_status", "category") or incident.get("status")
    return said if isinstance(said, str) else None


def _created_at(incident: Mapping[str, Any], unsaid: datetime) -> datetime:
    return wire.instant_in(incident.get("created_at")) or unsaid


def _named(entry: Any) -> NamedThing | None:
    identifier, name = wire.identifier_in(wire.within(entry, "id")), wire.within(entry, "name")
    if identifier is None or not isinstance(name, str):
        return None
    return NamedThing(id=identifier, name=name, extra={key: entry[key] for key in _KEPT if key in entry})
