"""incident.io's API: incidents created under an idempotency_key and closed by a change of status.

In: a Delivery; out: an HttpRequest; then, from the answer, an AttemptResult. Facts: incident.io's OpenAPI document and
its prose, https://github.com/incident-io/sdk-go openapi3.json ("spec" below), read 2026-08.

`api: v1` creates through the deprecated POST /v1/incidents; changing an incident exists in v2 only, for both.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

from bridge.destinations import incident_io_fields as written
from bridge.destinations import incident_io_names as names
from bridge.destinations import wire
from bridge.destinations.base import Destination, Field
from bridge.destinations.incident_io_fields import CHANGES, FIELDS, RETROSPECTIVE, V1_MODES, V1_STATUSES
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
    NamesPage,
    NoAnswer,
    NothingFound,
    PermanentFailure,
    Phase,
    Reason,
    Reference,
)
from bridge.domain.telling import SUMMARY_MAX_CHARS
from bridge.domain.text import storable

BASE_URL = "https://api.incident.io"  # spec, servers: one for everybody
OVER = frozenset({"closed", "declined", "canceled", "merged"})  # spec, IncidentStatusV2.category (v1: status)
WRITTEN_UP = "learning"  # shown as Post-incident: people resolved it, and no edit leads back (spec, prose)
INCIDENT_IO = "incident.io"

Lists = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentIo(Destination):
    """One incident.io organisation, by one of its API keys."""

    type: ClassVar[str] = "incident_io"
    key_rule: ClassVar[KeyRule] = KeyRule.FOR_EVER
    key_field: ClassVar[str] = "idempotency_key"
    fields: ClassVar[Mapping[str, Field]] = FIELDS
    title_field: ClassVar[str] = "name"
    body_field: ClassVar[str] = "summary"
    plain_fields: ClassVar[frozenset[str]] = frozenset({"name", "summary", "visibility", "mode", "slack_team_id"})
    rise_fields: ClassVar[frozenset[str]] = frozenset({"severity"})
    reopen_fields: ClassVar[frozenset[str] | None] = None  # no move leads out of a closed status (spec, prose)
    update_fields: ClassVar[Mapping[str, Field]] = CHANGES
    target_fields: ClassVar[frozenset[str]] = frozenset({"incident_type", "visibility", "mode", "slack_team_id"})
    scope_field: ClassVar[str | None] = None
    actions: ClassVar[frozenset[Action]] = frozenset(
        {Action.CREATE, Action.RESOLVE, Action.UPDATE, Action.NOTE, Action.CHECK}
    )
    name_kinds: ClassVar[tuple[str, ...]] = names.KINDS

    account: str
    token: str = field(repr=False)
    base_url: str = BASE_URL  # without a slash at the end
    api: str = "v2"  # or "v1"
    defaults: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def name_kinds_for(self, delivery: Delivery) -> tuple[str, ...]:
        """The statuses, to close one: closing means moving to a status of category closed. What custom fields hold, and
        which role is the reporter's, to write them.
        """
        match delivery.action:
            case Action.RESOLVE if delivery.phase is Phase.SEND:
                return ("incident_status",)
            case Action.CREATE:
                return ("custom_field",) if "custom_fields" in delivery.fields else ()
            case Action.UPDATE:
                needed = {"custom_fields": "custom_field", "roles": "incident_role"}
                return tuple(kind for name, kind in needed.items() if name in delivery.fields)
            case _:
                return ()

    def contradictions(self, written_as: Mapping[str, str | None]) -> tuple[tuple[str, str, str], ...]:
        """Fields and words that this account's version of the API does not have."""
        return tuple(written.contradictions(written_as, self.api))

    def says_nothing(self, delivery: Delivery, lists: Mapping[str, tuple[Any, ...]]) -> bool:
        """An update without a change, which would tell the channel all the same."""
        return delivery.action is Action.UPDATE and not _changes(delivery, lists)

    def request_for(self, delivery: Delivery, lists: Mapping[str, tuple[Any, ...]]) -> HttpRequest:
        """The call for the delivery's action; the same delivery gives the same bytes every time.

        There is no look-up of a create: no list knows the key (spec, GET /v2/incidents), so the way to find out is the
        same create once more. A resolve's `resolution` is not sent: incident.io takes no note with a change of status.
        One that was refused is looked up, for a person may have ended the incident in a way that no edit leads out of.
        A note is added to the summary, for there is no call that makes one (spec: GET /v2/incident_updates only); its
        look-up reads the summary.
        """
        match delivery.action:
            case Action.CREATE if self.api == "v1":
                return self._post("v1/incidents", _incident_v1(delivery, lists))
            case Action.CREATE:
                return self._post("v2/incidents", _incident_v2(delivery, lists))
            case Action.RESOLVE if delivery.phase is Phase.LOOK_UP:
                return self._look(delivery)
            case Action.RESOLVE:
                return self._edit(delivery, {"incident_status_id": names.closing(lists.get("incident_status", ()))})
            case Action.UPDATE:
                changes = _changes(delivery, lists)
                if not changes:
                    raise ValueError(f"delivery {delivery.id}: an update that changes nothing")
                return self._edit(delivery, changes)
            case Action.CHECK:
                return self._look(delivery)
            case Action.NOTE if delivery.phase is Phase.LOOK_UP:
                return self._look(delivery)
            case Action.NOTE:
                return self._edit(delivery, {"summary": _with_note(delivery)})
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
            field_of=_field_of,
        )

    def written(self, delivery: Delivery) -> str:
        """The summary as a delivered create or note left it."""
        if delivery.action is Action.NOTE:
            return _with_note(delivery)
        return wire.with_notes(wire.text_in(delivery.fields, "summary"), delivery.notes)

    def names_request(self, kind: str, cursor: str | None = None) -> HttpRequest:
        """One page of one of name_kinds; what the cursor says is incident_io_names' business."""
        url = names.address(self.base_url, kind, cursor)
        return HttpRequest(method="GET", url=url, headers=self._headers(), asks_for_list=True)

    def names_in(self, kind: str, request: HttpRequest, response: HttpResponse) -> NamesPage | None:
        """The entries of the page; None when the answer is not a list we can trust."""
        return names.page(kind, request, response)

    def words_in(self, content: Any) -> list[str]:
        """incident.io's own words."""
        return _words(content)

    def _post(self, path: str, content: Mapping[str, Any]) -> HttpRequest:
        return wire.json_request("POST", f"{self.base_url}/{path}", self._headers(), content)

    def _edit(self, delivery: Delivery, change: Mapping[str, Any]) -> HttpRequest:
        tells = wire.text_in(delivery.fields, "notify_incident_channel") != "false"
        edit = {"incident": change, "notify_incident_channel": tells}
        return self._post(f"v2/incidents/{wire.upstream_id(delivery, INCIDENT_IO)}/actions/edit", edit)

    def _look(self, delivery: Delivery) -> HttpRequest:
        url = f"{self.base_url}/v2/incidents/{wire.upstream_id(delivery, INCIDENT_IO)}"
        return HttpRequest(method="GET", url=url, headers=self._headers())

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


# ---- requests --------------------------------------------------------------------------------------------------------


def _incident_v2(delivery: Delivery, lists: Lists) -> dict[str, Any]:
    mode = wire.text_in(delivery.fields, "mode")
    notes: list[str] = []
    more = wire.given(
        incident_status_id=delivery.ids.get("status"),
        mode=mode if mode in FIELDS["mode"].choices else None,
        retrospective_incident_options=written.retrospective_options(delivery, notes),
        incident_timestamp_values=written.timestamp_values(delivery),
        slack_channel_name_override=wire.text_in(delivery.fields, "slack_channel_name_override"),
    )
    return _common(delivery, lists, notes) | more


def _incident_v1(delivery: Delivery, lists: Lists) -> dict[str, Any]:
    status = wire.text_in(delivery.fields, "status").strip().casefold()
    return _common(delivery, lists, []) | wire.given(
        status=status if status in V1_STATUSES else None,  # v1 knows its own words, not the organisation's
        mode=V1_MODES.get(wire.text_in(delivery.fields, "mode")),
        **{name: wire.text_in(delivery.fields, name) for name in written.V1_ONLY},
    )


def _common(delivery: Delivery, lists: Lists, notes: list[str]) -> dict[str, Any]:
    """What both versions of the create take; `notes` gets what had to be left out, and goes into the summary."""
    visibility = wire.text_in(delivery.fields, "visibility")
    required = {
        "idempotency_key": delivery.key,
        "visibility": visibility if visibility in FIELDS["visibility"].choices else "public",
    }
    entries = written.custom_field_entries(delivery, lists.get("custom_field", ()), notes)
    summary = wire.with_notes(wire.text_in(delivery.fields, "summary"), (*delivery.notes, *notes))
    return required | wire.given(
        name=wire.text_in(delivery.fields, "name"),
        summary=summary,
        severity_id=delivery.ids.get("severity"),
        incident_type_id=delivery.ids.get("incident_type"),
        custom_field_entries=entries,
        incident_role_assignments=written.role_assignments(delivery, ()),
        slack_team_id=wire.text_in(delivery.fields, "slack_team_id"),
    )


def _changes(delivery: Delivery, lists: Lists) -> dict[str, Any]:
    """What an update says; only what it gives is changed (spec, prose)."""
    return wire.given(
        name=wire.text_in(delivery.fields, "name"),
        summary=wire.text_in(delivery.fields, "summary"),
        severity_id=delivery.ids.get("severity"),
        incident_status_id=delivery.ids.get("status"),
        custom_field_entries=written.custom_field_entries(delivery, lists.get("custom_field", ()), []),
        incident_role_assignments=written.role_assignments(delivery, lists.get("incident_role", ())),
        incident_timestamp_values=written.timestamp_values(delivery),
        slack_channel_name_override=wire.text_in(delivery.fields, "slack_channel_name_override"),
        call_url=wire.text_in(delivery.fields, "call_url"),
    )


def _mark(delivery: Delivery) -> str:
    return f"[ib {delivery.id}]"


def _with_note(delivery: Delivery) -> str:
    """The summary as the delivery knows it, and the note behind it, marked so that it is found before a repeat.

    Raises:
        ValueError: it does not know the summary, and would overwrite it.
    """
    if "summary" not in delivery.fields:
        raise ValueError(f"delivery {delivery.id}: a note is added to the summary, which it does not have")
    note = wire.with_notes(wire.text_in(delivery.fields, "note"), delivery.notes)
    summary = wire.text_in(delivery.fields, "summary")
    return "\n\n".join(part for part in (summary, note, _mark(delivery)) if part)


# ---- answers ---------------------------------------------------------------------------------------------------------


def _special(delivery: Delivery, status: int, content: Any, detail: str) -> AttemptResult | None:
    """The refusals that mean something of their own; None for all others."""
    if status == 404 and delivery.action is Action.CHECK:
        return wire.gone(delivery, detail) if wire.objects(wire.within(content, "errors")) else None
    if delivery.action is not Action.CREATE:
        return None
    key_is_open = status == 409 or (status == 422 and _is_about_the_key(content))
    return KeyIsOpen(detail=detail) if key_is_open else None


def _accepted(delivery: Delivery, answer: HttpResponse, content: Any) -> AttemptResult:
    """A 2xx."""
    incident = wire.within(content, "incident")
    reference = wire.reference_in(incident, "permalink", closed=_is_over)
    if reference is None:
        return wire.without_incident(answer, creates=delivery.action is Action.CREATE)
    if wire.shows_another(delivery, reference):
        return wire.with_another(answer, creates=False)
    summary = _summary_in(incident)
    reference = replace(reference, summary=summary if len(summary) <= SUMMARY_MAX_CHARS else None)  # else not kept
    match delivery.action:
        case Action.CREATE:
            return _created(delivery, incident, reference)
        case Action.RESOLVE if delivery.phase is Phase.LOOK_UP:
            return _over_already(incident, reference)
        case Action.RESOLVE:
            return _closed(incident, reference)
        case Action.CHECK:
            changed_at = _closed_at(incident) if reference.closed else None
            return Delivered(reference=replace(reference, changed_at=changed_at))
        case Action.NOTE if delivery.phase is Phase.LOOK_UP:
            return _may_note(delivery, incident, reference)
        case _:
            return Delivered(reference=reference)


def _summary_in(incident: Any) -> str:
    """The summary as it stands there now, as it is kept: else what was kept would never be what stands there."""
    return storable(wire.text_in(incident, "summary"))


def _created(delivery: Delivery, incident: Mapping[str, Any], reference: Reference) -> AttemptResult:
    """A 2xx to a create: a repeated key is answered with the incident it made, however long ago that was."""
    is_earlier = wire.is_made_before(delivery, incident) or reference.id in delivery.owned
    if is_earlier and reference.closed:
        return KeySpent(reference=reference, detail="the key's incident is over since before this delivery")
    return Delivered(reference=reference, adopted=is_earlier or reference.closed)


def _closed(incident: Mapping[str, Any], reference: Reference) -> AttemptResult:
    """A 2xx to a close; believed only when the incident's status says so too."""
    category = _category(incident)
    if category is not None and not reference.closed:
        detail = f"incident.io took the change but the incident is still {category}"
        return PermanentFailure(reason=Reason.BAD_REQUEST, detail=detail[: wire.DETAIL_MAX_CHARS])
    return Delivered(reference=reference)


def _over_already(incident: Mapping[str, Any], reference: Reference) -> AttemptResult:
    """What a look-up says of an incident whose close was refused: ended by a person, there is nothing left to close.

    Declined, canceled and merged ones allow no move (spec, prose of actions/edit).
    """
    if reference.closed:
        return Delivered(reference=reference, adopted=True, detail=f"not closed: it is {_category(incident)} already")
    stands = _category(incident) or "open"
    detail = f"incident.io refused to close the incident (the attempt before says why), and it is still {stands}"
    return PermanentFailure(reason=Reason.BAD_REQUEST, detail=detail[: wire.DETAIL_MAX_CHARS])


def _may_note(delivery: Delivery, incident: Mapping[str, Any], reference: Reference) -> AttemptResult:
    """Whether the note may be added: it is not there yet, and nobody else has written the summary meanwhile.

    Reading and writing a summary are two calls; a person's words go before ours.
    """
    summary = _summary_in(incident)
    if _mark(delivery) in summary:
        return Delivered(reference=reference, adopted=True, detail="found in the summary")
    if reference.closed:
        return Delivered(reference=reference, adopted=True, detail="not sent: the incident is over")
    if summary.strip() != wire.text_in(delivery.fields, "summary").strip():
        detail = "not sent: somebody has rewritten the summary, and a note would overwrite that"
        return Delivered(reference=reference, adopted=True, detail=detail)
    return NothingFound(detail="the note is not in the summary yet")


def _field_of(content: Any) -> str | None:
    """The rule's field that a refusal is about: the upstream names the request's, maybe with a place inside it."""
    for error in wire.objects(wire.within(content, "errors")):
        place = wire.within(error, "source", "field")
        if isinstance(place, str):
            name = re.split(r"[.\[]", place)[0]
            return written.ASKED_AS.get(name, name if name in FIELDS else None)
    return None


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


def _closed_at(incident: Mapping[str, Any]) -> datetime | None:
    """When it was closed, at the latest: what stands in the organisation's own timestamps has no fixed name (spec,
    IncidentV2: updated_at is when it was changed last).
    """
    return wire.instant_in(incident.get("updated_at"))


def _is_over(incident: Mapping[str, Any]) -> bool:
    """Whether nobody is paged by it any more. A retrospective incident may begin where others are written up."""
    category = _category(incident)
    return category in OVER or (category == WRITTEN_UP and incident.get("mode") != RETROSPECTIVE)


def _category(incident: Mapping[str, Any]) -> str | None:
    """Where the incident stands: v2's status category, v1's status; None when the answer does not say."""
    said = wire.within(incident, "incident_status", "category") or incident.get("status")
    return said if isinstance(said, str) else None
