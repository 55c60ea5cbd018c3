"""incident.io's API: incidents created under an idempotency_key and closed by a change of status.

In: a Delivery; out: an HttpRequest; then, from the answer, an AttemptResult. Facts: incident.io's OpenAPI document and
its prose, https://github.com/incident-io/sdk-go openapi3.json ("spec" below), read 2026-08.

`api: v1` creates through the deprecated POST /v1/incidents; changing an incident exists in v2 only, for both.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
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
INCIDENT_IO = "incident.io"

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
    key_field: ClassVar[str] = "idempotency_key"
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
        """The statuses, to close one: closing means moving to a status of category closed."""
        return ("incident_status",) if delivery.action is Action.RESOLVE else ()

    def request_for(self, delivery: Delivery, lists: Mapping[str, tuple[Any, ...]]) -> HttpRequest:
        """The call for the delivery's action; the same delivery gives the same bytes every time.

        There is no look-up: no list knows the key (spec, GET /v2/incidents), so the way to find out is the same create
        once more. A resolve's `resolution` is not sent: incident.io takes no note with a change of status.
        """
        match delivery.action:
            case Action.CREATE if self.api == "v1":
                return self._post("v1/incidents", _incident_v1(delivery))
            case Action.CREATE:
                return self._post("v2/incidents", _incident_v2(delivery))
            case Action.RESOLVE:
                status = _closing(lists.get("incident_status", ()))
                edit = {"incident": {"incident_status_id": status}, "notify_incident_channel": True}
                return self._post(f"v2/incidents/{wire.upstream_id(delivery, INCIDENT_IO)}/actions/edit", edit)
            case _:
                raise wire.not_told(delivery, INCIDENT_IO)

    def result_of(self, delivery: Delivery, answer: HttpResponse | NoAnswer) -> AttemptResult:
        """What the answer means; never raises.

        What a repeated key is answered with is not documented for incidents; sister endpoints return the existing
        object (spec, POST /v2/escalations). Should it be refused instead, with 409 or a 422 about the key, nothing says
        which incident has it: the create is repeated until it is too old, and a person sees why. It never pages twice.
        """
        return wire.result_of(
            answer,
            creates=delivery.action is Action.CREATE,
            secret=self.token,
            words=_words,
            special=partial(_special, delivery),
            accepted=partial(_accepted, delivery),
        )

    def names_request(self, kind: str, cursor: str | None = None) -> HttpRequest:  # noqa: ARG002 - no pages
        """The whole of one of name_kinds: these lists are not paged (spec)."""
        return HttpRequest(method="GET", url=f"{self.base_url}/{_NAME_LISTS[kind]}", headers=self._headers())

    def names_in(self, kind: str, request: HttpRequest, response: HttpResponse) -> NamesPage | None:  # noqa: ARG002 - no pages
        """The entries of the list; None when the answer is not a list we can trust."""
        entries = wire.entries_in(response, _NAME_LISTS[kind])
        if entries is None:
            return None
        things = wire.named(entries, keep=_KEPT)
        return NamesPage(things=_by_category(things) if kind == "incident_status" else things)

    def words_in(self, content: Any) -> list[str]:
        """incident.io's own words."""
        return _words(content)

    def _post(self, path: str, content: Mapping[str, Any]) -> HttpRequest:
        return wire.json_request("POST", f"{self.base_url}/{path}", self._headers(), content)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


# ---- requests --------------------------------------------------------------------------------------------------------


def _incident_v2(delivery: Delivery) -> dict[str, Any]:
    mode = wire.text_in(delivery.fields, "mode")
    return _common(delivery) | wire.given(
        incident_status_id=delivery.ids.get("status"),
        mode=mode if mode in FIELDS["mode"].choices else None,
    )


def _incident_v1(delivery: Delivery) -> dict[str, Any]:
    status = wire.text_in(delivery.fields, "status").strip().casefold()
    return _common(delivery) | wire.given(
        status=status if status in V1_STATUSES else None,  # v1 knows its own words, not the organisation's
        mode=V1_MODES.get(wire.text_in(delivery.fields, "mode")),
    )


def _common(delivery: Delivery) -> dict[str, Any]:
    visibility = wire.text_in(delivery.fields, "visibility")
    required = {
        "idempotency_key": delivery.key,
        "visibility": visibility if visibility in FIELDS["visibility"].choices else "public",
    }
    return required | wire.given(
        name=wire.text_in(delivery.fields, "name"),
        summary=wire.with_notes(wire.text_in(delivery.fields, "summary"), delivery.notes),
        severity_id=delivery.ids.get("severity"),
        incident_type_id=delivery.ids.get("incident_type"),
    )


def _by_category(statuses: tuple[NamedThing, ...]) -> tuple[NamedThing, ...]:
    """The statuses, the first of each category also called by it: a rule may say `triage` or `live`."""
    firsts: dict[Any, NamedThing] = {}
    for status in sorted(statuses, key=_rank, reverse=True):
        category = status.extra.get("category")
        if isinstance(category, str):
            firsts[category] = status
    return tuple(
        replace(status, aliases=tuple(category for category, first in firsts.items() if first is status))
        for status in statuses
    )


def _closing(statuses: tuple[Any, ...]) -> str:
    """The id of the status that closes an incident: the one named so, else the first of the category.

    Empty when the organisation's list has none, which incident.io refuses in words a person can act on.
    """
    closed = [status for status in statuses if status.extra.get("category") == CLOSED]
    called_so = [status for status in closed if status.name.strip().casefold() == CLOSED]
    return min(called_so or closed, key=_rank).id if closed else ""


def _rank(status: Any) -> tuple[float, str]:
    rank = status.extra.get("rank")
    return (rank if isinstance(rank, int | float) and not math.isnan(rank) else 0, status.id)


# ---- answers ---------------------------------------------------------------------------------------------------------


def _special(delivery: Delivery, status: int, content: Any, detail: str) -> AttemptResult | None:
    """The refusals that mean something of their own; None for all others."""
    if delivery.action is not Action.CREATE:
        return None
    key_is_open = status == 409 or (status == 422 and _is_about_the_key(content))
    return KeyIsOpen(detail=detail) if key_is_open else None


def _accepted(delivery: Delivery, answer: HttpResponse, content: Any) -> AttemptResult:
    """A 2xx."""
    creates = delivery.action is Action.CREATE
    incident = wire.within(content, "incident")
    reference = wire.reference_in(incident, "permalink", closed=lambda one: _category(one) in OVER)
    if reference is None:
        return wire.without_incident(answer, creates=creates)
    return _created(delivery, incident, reference) if creates else _edited(incident, reference)


def _created(delivery: Delivery, incident: Mapping[str, Any], reference: Reference) -> AttemptResult:
    """A 2xx to a create: a repeated key is answered with the incident it made, however long ago that was."""
    since = wire.made_since(delivery)
    is_earlier = wire.created_at(incident, since) < since or reference.id in delivery.owned
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


def _category(incident: Mapping[str, Any]) -> str | None:
    """Where the incident stands: v2's status category, v1's status; None when the answer does not say."""
    said = wire.within(incident, "incident_status", "category") or incident.get("status")
    return said if isinstance(said, str) else None
