"""What an incident of incident.io may say: the table of its fields, and how the larger ones are written in a request.

In: a Delivery with its ids, and lists of names. Out: parts of the JSON of a create or an edit, and sentences about what
had to be left out. Facts: incident.io's OpenAPI document, https://github.com/incident-io/sdk-go openapi3.json ("spec"),
and its prose; read 2026-08.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from bridge.destinations import wire
from bridge.destinations.base import Field, FieldKind
from bridge.domain.delivery import Delivery, NamedThing
from bridge.domain.names import VALUES_KIND

SELECTS = frozenset({"single_select", "multi_select"})  # spec, CustomFieldV2.field_type; the other three take any text
SEVERAL = "multi_select"  # spec, CustomFieldV2.field_type: the one that takes more than one value
FREE = frozenset(
    {"text", "link", "numeric"}
)  # spec, CustomFieldV2.field_type, and value_* of CustomFieldValuePayloadV2
OPTION = "custom_field_option"
ENTRY = "catalog_entry"
REPORTER = "reporter"  # spec, IncidentRoleV2.role_type: can be assigned when creating only (UPSTREAM: prose)
RETROSPECTIVE = "retrospective"  # spec, IncidentsCreatePayloadV2.mode
CHANNEL_NAME_MAX_CHARS = 80  # https://docs.slack.dev/reference/methods/conversations.create, name; read 2026-08
V1_STATUSES = ("triage", "investigating", "fixing", "monitoring", "closed", "declined")  # spec, v1 create
V1_MODES: Mapping[str, str] = MappingProxyType(
    {"standard": "real", RETROSPECTIVE: "real", "test": "test", "tutorial": "test"}
)  # spec, v1 create knows two modes
V1_ONLY = ("source_message_channel_id", "source_message_timestamp")  # spec, IncidentsCreatePayloadV1
V2_ONLY = ("timestamps", "retrospective_incident_options", "slack_channel_name_override")  # spec, ...CreatePayloadV2

_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")  # as the spec's own example, 123.456: a text that is a number
_INT64_MAX = 2**63 - 1
_SPEC = "incident.io openapi3.json, POST /v2/incidents; read 2026-08"
_SPEC_V1 = "incident.io openapi3.json, POST /v1/incidents; read 2026-08"
_SPEC_EDIT = "incident.io openapi3.json, POST /v2/incidents/{id}/actions/edit; read 2026-08"

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
            choices=("standard", RETROSPECTIVE, "test", "tutorial"),
        ),
        "custom_fields": Field(
            kind=FieldKind.VALUES,
            about="Custom fields by name or id, each with a value or a list of values: options and catalog entries by "
            "name or id, links, numbers, texts.",
            source=_SPEC,
            lookup="custom_field",
            value_lookup=OPTION,  # or a catalog's entries: the custom field says which
        ),
        "roles": Field(
            kind=FieldKind.PEOPLE,
            about="Incident roles by name or id, each with a person: a text, or `{email: ...}`, `{id: ...}`, "
            "`{slack_user_id: ...}`.",
            source=_SPEC,
            lookup="incident_role",
            value_lookup="user",
            keys=("id", "email", "slack_user_id"),  # spec, UserReferencePayloadV2
        ),
        "timestamps": Field(
            kind=FieldKind.INSTANTS,
            about="The incident's timestamps by name or id, each with an instant, such as `{expr: alert.starts_at}`; "
            "`api: v2` only.",
            source=_SPEC,
            lookup="incident_timestamp",
        ),
        "slack_team_id": Field(
            kind=FieldKind.TEXT,
            about="The Slack workspace to create it in; needed on an Enterprise Grid only.",
            source=_SPEC,
        ),
        "slack_channel_name_override": Field(
            kind=FieldKind.TEXT,
            about="What its Slack channel is called, instead of a name made from the incident's; `api: v2` only.",
            source=_SPEC,
            max_chars=CHANNEL_NAME_MAX_CHARS,
        ),
        "retrospective_incident_options": Field(
            kind=FieldKind.MAPPING,
            about="For `mode: retrospective`: `postmortem_document_url`, `slack_channel_id` of a channel that exists, "
            "`external_id` (ask incident.io first); `api: v2` only.",
            source=_SPEC,
            keys=("external_id", "postmortem_document_url", "slack_channel_id"),  # spec, RetrospectiveIncidentOptionsV2
        ),
        "source_message_channel_id": Field(
            kind=FieldKind.TEXT,
            about="The Slack channel of the message it was created from; `api: v1` only.",
            source=_SPEC_V1,
        ),
        "source_message_timestamp": Field(
            kind=FieldKind.TEXT,
            about="The timestamp of the message it was created from, as Slack writes it; `api: v1` only.",
            source=_SPEC_V1,
        ),
    }
)

ASKED_AS: Mapping[str, str] = MappingProxyType(  # what a request calls it, or a part of it -> the rule's field
    {
        "severity_id": "severity",
        "incident_type_id": "incident_type",
        "incident_status_id": "status",
        "custom_field_entries": "custom_fields",
        "custom_field_id": "custom_fields",
        "incident_role_assignments": "roles",
        "incident_role_id": "roles",
        "incident_timestamp_values": "timestamps",
        "incident_timestamp_id": "timestamps",
    }
)

_EDITABLE = ("name", "summary", "severity", "status", "custom_fields", "roles", "timestamps")  # spec, ...EditPayloadV2

CHANGES: Mapping[str, Field] = MappingProxyType(  # what an update may say; everything else stays as it was created
    {name: FIELDS[name] for name in (*_EDITABLE, "slack_channel_name_override")}
    | {
        "call_url": Field(
            kind=FieldKind.TEXT,
            about="The address of the call.",
            source=_SPEC_EDIT,
        ),
        "notify_incident_channel": Field(
            kind=FieldKind.ENUM,
            about="Whether the incident's channel is told of the change; true when left out.",
            source=_SPEC_EDIT,
            choices=("true", "false"),
        ),
    }
)


def contradictions(written: Mapping[str, str | None], api: str) -> Iterator[tuple[str, str, str]]:
    """What can never work about the fields a rule gives: (field, sentence, what to do)."""
    other, foreign = ("v2", V2_ONLY) if api == "v1" else ("v1", V1_ONLY)
    for name in foreign:
        if name in written:
            yield name, f"'{name}' is of the API's {other}, and the account says 'api: {api}'", "delete the line"
    mode = written.get("mode")
    if api == "v1":
        status = written.get("status")
        if status is not None and status.strip().casefold() not in V1_STATUSES:
            yield "status", f"'api: v1' knows no status '{status}'", f"statuses: {', '.join(V1_STATUSES)}"
        if mode in (RETROSPECTIVE, "tutorial"):
            yield "mode", f"'api: v1' knows no mode '{mode}'", "use standard or test, or 'api: v2'"
    elif "retrospective_incident_options" in written and ("mode" not in written or mode not in (RETROSPECTIVE, None)):
        sentence = "'retrospective_incident_options' are for retrospective incidents only"
        yield "retrospective_incident_options", sentence, "add 'mode: retrospective', or delete them"


def custom_field_entries(
    delivery: Delivery, fields: Iterable[NamedThing], notes: list[str]
) -> list[dict[str, Any]] | None:
    """The custom fields that could be looked up; an empty list of values unsets one, which a create need not."""
    known = {thing.id: thing for thing in fields}
    entries = []
    for name, values in _mapping(delivery, "custom_fields").items():
        place = f"custom_fields.{name}"
        about = known.get(delivery.ids.get(place, ""))
        if about is None or not isinstance(values, list):
            continue  # the look-up has said why
        written = list(_values(delivery, place, about, values, notes))
        if len(written) > 1 and about.extra.get("field_type") != SEVERAL:
            notes.append(f"{place}: it takes one value, the first of {len(written)} is used")
            del written[1:]
        if written or (not values and delivery.upstream_id is not None):
            entries.append({"custom_field_id": about.id, "values": written})
    return entries or None


def _values(
    delivery: Delivery, place: str, about: NamedThing, values: list[Any], notes: list[str]
) -> Iterator[dict[str, str]]:
    """Every value is a text, also a number (spec, CustomFieldValuePayloadV2)."""
    kind = about.extra.get("field_type")
    if VALUES_KIND in about.extra:
        key = "value_catalog_entry_id" if about.extra[VALUES_KIND] == ENTRY else "value_option_id"
        found = (delivery.ids.get(f"{place}.{number}") for number in range(len(values)))
        yield from ({key: identifier} for identifier in dict.fromkeys(found) if identifier)
        return
    if kind not in FREE:
        notes.append(f"{place}: left out, the bridge does not know custom fields of type {kind}")
        return
    for text in map(str, values):
        if kind == "numeric" and _NUMBER.fullmatch(text.strip()) is None:
            notes.append(f"{place}: left out, not a number")
        elif kind == "link" and wire.url_in(text.strip()) is None:
            notes.append(f"{place}: left out, not a link")
        else:
            yield {f"value_{kind}": text if kind == "text" else text.strip()}


def role_assignments(delivery: Delivery, roles: Iterable[NamedThing]) -> list[dict[str, Any]] | None:
    """Who has which role, of those that could be looked up. The reporter is given when creating only."""
    fixed = {role.id for role in roles if role.extra.get("role_type") == REPORTER and delivery.upstream_id is not None}
    assignments = []
    for name in _mapping(delivery, "roles"):
        role, person = delivery.ids.get(f"roles.{name}"), delivery.ids.get(f"roles.{name}.user")
        if role is not None and person is not None and role not in fixed:
            assignments.append({"incident_role_id": role, "assignee": {"id": person}})
    return assignments or None


def timestamp_values(delivery: Delivery) -> list[dict[str, str]] | None:
    """The timestamps that could be looked up."""
    values = [
        {"incident_timestamp_id": delivery.ids[f"timestamps.{name}"], "value": str(value)}
        for name, value in _mapping(delivery, "timestamps").items()
        if f"timestamps.{name}" in delivery.ids
    ]
    return values or None


def retrospective_options(delivery: Delivery, notes: list[str]) -> dict[str, Any] | None:
    """What goes with a retrospective incident; nothing of it with any other."""
    place = "retrospective_incident_options"
    given = _mapping(delivery, place)
    if given and delivery.fields.get("mode") != RETROSPECTIVE:
        notes.append(f"{place}: left out, the mode is not {RETROSPECTIVE}")
        return None
    options: dict[str, Any] = wire.given(
        postmortem_document_url=wire.text_in(given, "postmortem_document_url").strip(),
        slack_channel_id=wire.text_in(given, "slack_channel_id").strip(),
    )
    number = wire.text_in(given, "external_id").strip()
    if re.fullmatch(r"[0-9]{1,19}", number) and int(number) <= _INT64_MAX:
        options["external_id"] = int(number)  # the one value that is a number (spec, RetrospectiveIncidentOptionsV2)
    elif number:
        notes.append(f"{place}.external_id: left out, not a whole number")
    return options or None


def _mapping(delivery: Delivery, name: str) -> Mapping[str, Any]:
    held = delivery.fields.get(name)
    return held if isinstance(held, Mapping) else {}
