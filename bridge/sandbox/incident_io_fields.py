"""What the incident.io stand-in says of the larger fields of an incident: refused, or kept as incident.io shows them.

Custom fields, roles, timestamps, and the options of a retrospective incident. Written from incident.io's OpenAPI
document (https://github.com/incident-io/sdk-go openapi3.json and its prose), read 2026-08. What it leaves open is
inferred: one value per custom field unless it is a multi_select, values that suit the field's type, each name once.
"""

import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NoReturn

from bridge.sandbox import seed

VALUE_KEYS = ("value_text", "value_link", "value_numeric", "value_option_id", "value_catalog_entry_id")
ENTRIES, ROLES, TIMESTAMPS = "custom_field_entries", "incident_role_assignments", "incident_timestamp_values"
RETROSPECTIVE = "retrospective_incident_options"
REFERENCES = ("id", "email", "slack_user_id")  # of a user: UserReferencePayloadV2


class Refusal(Exception):
    """An answer that is no success: its status, incident.io's type for it, and its errors."""

    def __init__(self, status: int, kind: str, *errors: dict[str, Any]) -> None:
        super().__init__(kind)
        self.status = status
        self.content: dict[str, Any] = {
            "type": kind,
            "status": status,
            "request_id": secrets.token_hex(8),
            "errors": list(errors),
        }


def invalid(code: str, message: str, field: str | None) -> NoReturn:
    """Refuse the call as incident.io does what it cannot accept."""
    source = {"source": {"field": field}} if field is not None else {}
    raise Refusal(422, "validation_error", {"code": code, "message": message, **source})


def entry(things: Iterable[dict[str, Any]], identifier: Any) -> dict[str, Any] | None:
    """The thing with this id."""
    return next((thing for thing in things if thing["id"] == identifier), None)


def check_id(asked: Mapping[str, Any], name: str, things: Iterable[dict[str, Any]], *, required: bool = False) -> None:
    """Refuse an id that the organisation does not have."""
    value = asked.get(name)
    if (value is not None or required) and entry(things, value) is None:
        invalid("invalid_value", f"{name} does not exist in this organisation", name)


def check_fields(asked: Mapping[str, Any], *, creates: bool) -> None:
    """Refuse what is wrong with the larger fields of a create or an edit."""
    for one in _each_once(asked, ENTRIES, "custom_field_id", seed.IO_FIELDS):
        _check_values(one)
    for one in _each_once(asked, ROLES, "incident_role_id", seed.IO_ROLES):
        _check_assignee(one, creates=creates)
    for one in _each_once(asked, TIMESTAMPS, "incident_timestamp_id", seed.IO_TIMESTAMPS):
        if one.get("value") is not None and not _is_instant(one["value"]):
            invalid("invalid_value", "A timestamp's value must be a date-time", TIMESTAMPS)


def check_retrospective(asked: Mapping[str, Any]) -> None:
    """Refuse options of a retrospective incident that are none, or that another incident has."""
    options = asked.get(RETROSPECTIVE)
    if options is None:
        return
    if not isinstance(options, dict) or asked.get("mode") != "retrospective":
        invalid("invalid_value", "Only a retrospective incident has these options", RETROSPECTIVE)
    number = options.get("external_id")
    if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
        invalid("invalid_value", "external_id must be an integer", RETROSPECTIVE)
    for name in ("postmortem_document_url", "slack_channel_id"):
        if not isinstance(options.get(name, ""), str):
            invalid("invalid_value", f"{name} must be a string", RETROSPECTIVE)


def keep_fields(incident: dict[str, Any], asked: Mapping[str, Any]) -> None:
    """Set what a create or an edit gives of the larger fields; a custom field without values is unset."""
    for one in asked.get(ENTRIES) or ():
        field = entry(seed.IO_FIELDS, one["custom_field_id"])
        values = [_shown_value(value) for value in one["values"]]
        _put(incident, ENTRIES, "custom_field", field, {"values": values} if values else None)
    for one in asked.get(ROLES) or ():
        person = _person(one.get("assignee"))
        _put(incident, ROLES, "role", entry(seed.IO_ROLES, one["incident_role_id"]), person and {"assignee": person})
    for one in asked.get(TIMESTAMPS) or ():
        about = entry(seed.IO_TIMESTAMPS, one["incident_timestamp_id"])
        value = one.get("value")
        _put(incident, TIMESTAMPS, "incident_timestamp", about, value and {"value": {"value": value}})


def _put(incident: dict[str, Any], name: str, key: str, about: Any, held: dict[str, Any] | None) -> None:
    others = [one for one in incident[name] if one[key]["id"] != about["id"]]
    incident[name] = [*others, {key: about, **held}] if held else others


def _each_once(asked: Mapping[str, Any], name: str, key: str, things: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries of one of the lists, each about another thing of the organisation."""
    value = asked.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        invalid("invalid_value", f"{name} must be a list of objects", name)
    for one in value:
        check_id(one, key, things, required=True)
    if len({one[key] for one in value}) < len(value):
        invalid("invalid_value", f"{name} has the same {key} twice", name)
    return value


def _check_values(one: Mapping[str, Any]) -> None:
    field = entry(seed.IO_FIELDS, one["custom_field_id"]) or {}
    values = one.get("values")
    if not isinstance(values, list):
        invalid("is_required", "values is required", ENTRIES)
    if len(values) > 1 and field["field_type"] != "multi_select":
        invalid("invalid_value", f"{field['name']} takes one value", ENTRIES)
    for value in values:
        given = {name: value[name] for name in VALUE_KEYS if name in value} if isinstance(value, dict) else {}
        if not given or not all(isinstance(text, str) for text in given.values()):
            invalid("invalid_value", "Every custom field value is a string", ENTRIES)
        if given.keys() != {_key_of(field)}:
            invalid("invalid_value", f"{field['name']} takes {_key_of(field)}", ENTRIES)
        if not _suits(field, given[_key_of(field)]):
            invalid("invalid_value", f"{field['name']} cannot be set to that value", ENTRIES)


def _key_of(field: Mapping[str, Any]) -> str:
    if field["field_type"] in ("single_select", "multi_select"):
        return "value_catalog_entry_id" if "catalog_type_id" in field else "value_option_id"
    return f"value_{field['field_type']}"


def _suits(field: Mapping[str, Any], text: str) -> bool:
    match _key_of(field):
        case "value_option_id":
            option = entry(seed.IO_OPTIONS, text)
            return option is not None and option["custom_field_id"] == field["id"]
        case "value_catalog_entry_id":
            found = _catalog_entry(text)
            return found is not None and found["catalog_type_id"] == field["catalog_type_id"]
        case "value_numeric":
            return re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?", text) is not None
        case "value_link":
            return text.startswith(("http://", "https://"))
        case _:
            return True


def _catalog_entry(text: str) -> dict[str, Any] | None:
    """By its id, its external id or an alias (CustomFieldValuePayloadV2)."""
    return next((one for one in seed.IO_ENTRIES if text in (one["id"], one["external_id"], *one["aliases"])), None)


def _check_assignee(one: Mapping[str, Any], *, creates: bool) -> None:
    role = entry(seed.IO_ROLES, one["incident_role_id"]) or {}
    if role["role_type"] == "reporter" and not creates:
        invalid("invalid_value", "The reporter can only be assigned when creating an incident", ROLES)
    if one.get("assignee") is not None and _person(one["assignee"]) is None:
        invalid("invalid_value", "The assignee is not a user of this organisation", ROLES)


def _person(reference: Any) -> dict[str, Any] | None:
    """The one user that every given way of naming one leads to."""
    given = {name: reference[name] for name in REFERENCES if name in reference} if isinstance(reference, dict) else {}
    if not given:
        return None
    return next((user for user in seed.IO_USERS if given.items() <= user.items()), None)


def _shown_value(value: Mapping[str, Any]) -> dict[str, Any]:
    """A custom field's value as an incident shows it (CustomFieldValueV2)."""
    if "value_option_id" in value:
        return {"value_option": entry(seed.IO_OPTIONS, value["value_option_id"])}
    if "value_catalog_entry_id" in value:
        return {"value_catalog_entry": _catalog_entry(value["value_catalog_entry_id"])}
    return {name: value[name] for name in VALUE_KEYS if name in value}


def _is_instant(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
