"""The incident.io stand-in: incidents (v2, and v1's create) and the lists they name, under /incident-io.

Written from https://github.com/incident-io/sdk-go openapi3.json and its prose, read 2026-08. Two things are not
documented for incidents and taken from sister endpoints: a repeated idempotency_key answers 200 with the incident it
made, and a key is never free again.
"""

import math
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from flask import Blueprint, Response, g, jsonify, request
from flask.typing import ResponseReturnValue

from bridge.sandbox import clock, pages, seed
from bridge.sandbox.limits import Bucket, Quota, Rate, take_all
from bridge.sandbox.store import INCIDENT_IO, Record, Store

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
V2_MODES = ("standard", "retrospective", "test", "tutorial")
V1_MODES = {"real": "standard", "test": "test"}
LISTED_MODES = ("standard", "retrospective")  # GET /v2/incidents without a mode filter
MOVES = {  # category -> the categories an edit may move to, its own aside (prose of actions/edit)
    "triage": ("learning", "closed"),
    "live": ("learning", "closed"),
    "learning": ("closed",),
}
VALUE_KEYS = ("value_text", "value_link", "value_numeric", "value_option_id", "value_catalog_entry_id")


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


class IncidentIoStandIn:
    """The stand-in's calls over one Store. `require_severity`: the organisation demands one of every incident."""

    def __init__(
        self, store: Store, *, rate: Rate | None, create_rate: Rate | None, require_severity: bool = False
    ) -> None:
        self._store = store
        self._bucket = Bucket(rate) if rate is not None else None
        self._create_bucket = Bucket(create_rate) if create_rate is not None else None
        self._require_severity = require_severity

    def blueprint(self) -> Blueprint:
        """The routes, under /incident-io."""
        api = Blueprint("incident_io", __name__, url_prefix="/incident-io")
        api.before_request(self._admit)
        api.after_request(_with_quota)
        api.register_error_handler(Refusal, _refused)
        for version in ("v1", "v2"):
            path = f"/{version}/incidents"
            api.add_url_rule(path, view_func=self.create, methods=["POST"], endpoint=f"create_{version}")
            api.add_url_rule(path, view_func=self.find, methods=["GET"], endpoint=f"find_{version}")
            api.add_url_rule(f"{path}/<incident>", view_func=self.show, methods=["GET"], endpoint=f"show_{version}")
        api.add_url_rule("/v2/incidents/<incident>/actions/edit", view_func=self.edit, methods=["POST"])
        api.add_url_rule("/incidents/<incident>", view_func=self.page, methods=["GET"])
        api.add_url_rule("/v1/custom_field_options", view_func=self.options, methods=["GET"])
        api.add_url_rule("/v1/identity", view_func=self.identity, methods=["GET"])
        api.add_url_rule("/v2/users", view_func=self.users, methods=["GET"])
        for path, things in _LISTS.items():
            api.add_url_rule(f"/{path}", path.replace("/", "_"), _lister(path, things), methods=["GET"])
        return api

    # ---- calls ---------------------------------------------------------------------------------------------------

    def create(self) -> ResponseReturnValue:
        """POST /v2/incidents and POST /v1/incidents."""
        asked = _content()
        _check_new(asked, is_v1=_is_v1(), require_severity=self._require_severity)
        with self._store.lock:
            existing = self._store.with_key(INCIDENT_IO, asked["idempotency_key"])
            record = existing[0] if existing else _opened(asked, self._store.next_number(INCIDENT_IO), is_v1=_is_v1())
            if not existing:
                self._store.put(record)
        return jsonify(incident=_public(record))

    def find(self) -> ResponseReturnValue:
        """GET /v2/incidents (and v1), newest first, with the filters the bridge can use."""
        records = list(reversed(self._store.records(INCIDENT_IO)))
        modes = _filter("mode", "one_of") or list(LISTED_MODES)
        categories, statuses = _filter("status_category", "one_of"), _filter("status", "one_of")
        created_from = request.args.get("created_at[gte]", "")
        after = request.args.get("after")
        if after is not None:
            ids = [record.id for record in records]
            records = records[ids.index(after) + 1 :] if after in ids else []
        found = [
            record
            for record in records
            if record.incident["mode"] in modes
            and (not categories or record.incident["incident_status"]["category"] in categories)
            and (not statuses or record.incident["incident_status"]["id"] in statuses)
            and record.incident["created_at"] >= created_from
        ]
        size = _page_size()
        last = found[size - 1].id if len(found) > size else None
        meta = {"page_size": size, "total_record_count": len(found)} | ({"after": last} if last else {})
        return jsonify(incidents=[_public(record) for record in found[:size]], pagination_meta=meta)

    def show(self, incident: str) -> ResponseReturnValue:
        """GET /v2/incidents/{id} (and v1)."""
        return jsonify(incident=_public(self._record(incident)))

    def page(self, incident: str) -> ResponseReturnValue:
        """The page `permalink` leads to."""
        record = self._record(incident)
        return pages.incident(record, _public(record))

    def edit(self, incident: str) -> ResponseReturnValue:
        """POST /v2/incidents/{id}/actions/edit."""
        asked = _content()
        change = asked.get("incident")
        if not isinstance(change, dict):
            _invalid("is_required", "incident is required", "incident")
        if not isinstance(asked.get("notify_incident_channel"), bool):
            _invalid("is_required", "notify_incident_channel is required", "notify_incident_channel")
        _check_common(change)
        with self._store.lock:
            record = self._record(incident)
            _apply(record, change)
            self._store.put(record)
        return jsonify(incident=_public(record))

    def options(self) -> ResponseReturnValue:
        """GET /v1/custom_field_options."""
        wanted = request.args.get("custom_field_id")
        if not wanted:
            _invalid("is_required", "custom_field_id is required", "custom_field_id")
        found = [option for option in seed.IO_OPTIONS if option["custom_field_id"] == wanted]
        return jsonify(custom_field_options=found, pagination_meta={"page_size": _page_size()})

    def users(self) -> ResponseReturnValue:
        """GET /v2/users."""
        email = request.args.get("email")
        found = [user for user in seed.IO_USERS if email in (None, user["email"])]
        return jsonify(users=found, pagination_meta={"page_size": _page_size()})

    def identity(self) -> ResponseReturnValue:
        """GET /v1/identity."""
        about = {"name": seed.IO_KEY["name"], "roles": seed.IO_KEY["roles"], "dashboard_url": request.host_url}
        return jsonify(identity=about)

    # ---- the door ------------------------------------------------------------------------------------------------

    def _admit(self) -> ResponseReturnValue | None:
        """The key, then the rate limit; a browser looking at an incident needs neither."""
        if re.fullmatch(r"/incident-io/incidents/[^/]+", request.path):
            return None
        authorization = request.headers.get("Authorization", "")
        if not re.fullmatch(r"Bearer \S+", authorization):
            code = "unauthenticated" if authorization else "missing_authorization_material"
            raise Refusal(401, "authentication_error", {"code": code, "message": "No valid API key was given"})
        creates = request.method == "POST" and request.path.endswith("/incidents")
        g.quota = take_all([self._bucket, self._create_bucket if creates else None])
        if g.quota is not None and not g.quota.allowed:
            raise _too_many(g.quota)
        return None

    def _record(self, incident: str) -> Record:
        record = self._store.find(INCIDENT_IO, incident)
        if record is None:
            raise Refusal(404, "not_found", {"code": "not_found", "message": "Incident not found"})
        return record


# ---- answers -----------------------------------------------------------------------------------------------------


def _too_many(quota: Quota) -> Refusal:
    refusal = Refusal(429, "too_many_requests", {"code": "too_many_requests", "message": "Too many requests"})
    until = datetime.now(UTC) + timedelta(seconds=_wait_s(quota))
    refusal.content["rate_limit"] = {
        "name": "api_key",
        "limit": quota.rate.calls,
        "remaining": 0,
        "retry_after": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return refusal


def _refused(refusal: Refusal) -> ResponseReturnValue:
    return jsonify(refusal.content), refusal.status


def _wait_s(quota: Quota) -> int:
    return max(1, math.ceil(quota.next_s))


def _with_quota(response: Response) -> Response:
    """The headers of the rate limit prose; Reset is unix time, Retry-After comes with a 429 only."""
    quota: Quota | None = g.get("quota")
    if quota is not None:
        window = f"{quota.rate.calls};window={quota.rate.window_s:g}"
        response.headers["X-RateLimit-Limit"] = f"{quota.rate.calls}, {window}"
        response.headers["X-RateLimit-Remaining"] = str(quota.remaining)
        response.headers["X-RateLimit-Used"] = str(quota.rate.calls - quota.remaining)
        response.headers["X-RateLimit-Reset"] = str(math.ceil(time.time() + quota.full_s))
        if response.status_code == 429:
            response.headers["Retry-After"] = str(_wait_s(quota))
    return response


def _public(record: Record) -> dict[str, Any]:
    """The incident as the version asked at shows it, with the link of this host."""
    shown = record.incident | {"permalink": request.host_url.rstrip("/") + pages.path_of(record)}
    if not _is_v1():
        return shown
    status = shown.pop("incident_status")
    name = status["name"].lower()
    shown["status"] = name if name in _V1_STATUSES else status["category"]
    shown["mode"] = "test" if shown["mode"] in ("test", "tutorial") else "real"
    return shown


_LISTS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "v1/severities": seed.IO_SEVERITIES,
    "v1/incident_types": seed.IO_TYPES,
    "v1/incident_statuses": seed.IO_STATUSES,
    "v2/custom_fields": seed.IO_FIELDS,
    "v2/incident_roles": seed.IO_ROLES,
}
_V1_STATUSES = {
    "triage": 0,
    "investigating": 1,
    "fixing": 2,
    "monitoring": 3,
    "closed": 6,
    "declined": 7,
}  # in IO_STATUSES
_DATES = {"created_at": seed.IO_SEEDED_AT, "updated_at": seed.IO_SEEDED_AT}


def _lister(path: str, things: Iterable[dict[str, Any]]) -> Any:
    def view() -> ResponseReturnValue:
        return jsonify({path.rpartition("/")[2]: [thing | _DATES for thing in things]})

    return view


def _filter(name: str, operator: str) -> list[str]:
    return request.args.getlist(f"{name}[{operator}]")


def _page_size() -> int:
    text = request.args.get("page_size", "25")
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 500):
        _invalid("invalid_value", "page_size must be between 1 and 500", "page_size")
    return int(text)


# ---- requests ----------------------------------------------------------------------------------------------------


def _is_v1() -> bool:
    return request.path.startswith("/incident-io/v1/")


def _content() -> dict[str, Any]:
    content = request.get_json(silent=True) if request.is_json else None
    if not isinstance(content, dict):
        _invalid("invalid_value", "The body must be a JSON object, with Content-Type application/json", None)
    return content


def _check_new(asked: Mapping[str, Any], *, is_v1: bool, require_severity: bool) -> None:
    key = asked.get("idempotency_key")
    if not isinstance(key, str) or not key:
        _invalid("is_required", "An idempotency key is required", "idempotency_key")
    if asked.get("visibility") is None:
        _invalid("is_required", "A visibility is required", "visibility")
    _one_of(asked, "visibility", ("public", "private"))
    _one_of(asked, "mode", tuple(V1_MODES) if is_v1 else V2_MODES)
    if is_v1:
        _one_of(asked, "status", tuple(_V1_STATUSES))
    if require_severity and not asked.get("severity_id"):
        _invalid("is_required", "A severity is required to open an incident", "severity_id")
    _check_id(asked, "incident_type_id", seed.IO_TYPES)
    _check_common(asked)


def _check_common(asked: Mapping[str, Any]) -> None:
    for name in ("name", "summary", "call_url"):
        if not isinstance(asked.get(name, ""), str):
            _invalid("invalid_value", f"{name} must be a string", name)
    _check_id(asked, "severity_id", seed.IO_SEVERITIES)
    _check_id(asked, "incident_status_id", seed.IO_STATUSES)
    for entry in _list_of_objects(asked, "custom_field_entries"):
        _check_id(entry, "custom_field_id", seed.IO_FIELDS, required=True)
        _check_values(entry)
    for entry in _list_of_objects(asked, "incident_role_assignments"):
        _check_id(entry, "incident_role_id", seed.IO_ROLES, required=True)
        assignee = entry.get("assignee")
        known = {value for user in seed.IO_USERS for value in (user["id"], user["email"])}
        if assignee is not None and not (isinstance(assignee, dict) and known & {str(v) for v in assignee.values()}):
            _invalid("invalid_value", "The assignee is not a user of this organisation", "incident_role_assignments")


def _check_values(entry: Mapping[str, Any]) -> None:
    values = entry.get("values")
    place = "custom_field_entries"
    if not isinstance(values, list):
        _invalid("is_required", "values is required", place)
    for value in values:
        given = {name: value.get(name) for name in VALUE_KEYS} if isinstance(value, dict) else {}
        texts = [text for text in given.values() if text is not None]
        if not texts or not all(isinstance(text, str) for text in texts):
            _invalid("invalid_value", "Every custom field value is a string", place)
        option = given.get("value_option_id")
        if option is not None and option not in [known["id"] for known in seed.IO_OPTIONS]:
            _invalid("invalid_value", "No such custom field option", place)


def _list_of_objects(asked: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = asked.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        _invalid("invalid_value", f"{name} must be a list of objects", name)
    return value


def _check_id(asked: Mapping[str, Any], name: str, things: Iterable[dict[str, Any]], *, required: bool = False) -> None:
    value = asked.get(name)
    if value is None and not required:
        return
    if value not in [thing["id"] for thing in things]:
        _invalid("invalid_value", f"{name} does not exist in this organisation", name)


def _one_of(asked: Mapping[str, Any], name: str, choices: tuple[str, ...]) -> None:
    if asked.get(name) is not None and asked[name] not in choices:
        _invalid("invalid_value", f"{name} must be one of {', '.join(choices)}", name)


def _invalid(code: str, message: str, field: str | None) -> NoReturn:
    source = {"source": {"field": field}} if field is not None else {}
    raise Refusal(422, "validation_error", {"code": code, "message": message, **source})


# ---- incidents ---------------------------------------------------------------------------------------------------


def _opened(asked: Mapping[str, Any], number: int, *, is_v1: bool) -> Record:
    now, identifier = _now(), _ulid()
    kind = _entry(seed.IO_TYPES, asked.get("incident_type_id")) or seed.IO_TYPES[0]
    asked_status = seed.IO_STATUSES[_V1_STATUSES[asked["status"]]] if is_v1 and asked.get("status") else None
    status = _entry(seed.IO_STATUSES, asked.get("incident_status_id")) or asked_status or seed.IO_STATUSES[1]
    if kind["create_in_triage"] == "always":
        status = seed.IO_STATUSES[0]
    severity = _entry(seed.IO_SEVERITIES, asked.get("severity_id"))
    mode = asked.get("mode") or "standard"
    return Record(
        api=INCIDENT_IO,
        id=identifier,
        number=number,
        key=asked["idempotency_key"],
        incident={
            "id": identifier,
            "reference": f"INC-{number}",
            "name": asked.get("name") or f"Incident {number}",
            "summary": asked.get("summary") or "",
            "created_at": now,
            "updated_at": now,
            "creator": {"api_key": {"id": seed.IO_KEY["id"], "name": seed.IO_KEY["name"]}},
            "visibility": "private" if kind["private_incidents_only"] else asked["visibility"],
            "mode": V1_MODES[mode] if is_v1 and mode in V1_MODES else mode,
            "incident_status": status | _DATES,
            "incident_type": kind | _DATES,
            "severity": None if severity is None else severity | _DATES,
            "custom_field_entries": asked.get("custom_field_entries") or [],
            "incident_role_assignments": asked.get("incident_role_assignments") or [],
            "incident_timestamp_values": [],
            "slack_channel_id": "",
            "slack_team_id": "",
        },
        history=[f"{now} {status['name']}"],
    )


def _apply(record: Record, change: Mapping[str, Any]) -> None:
    now, incident = _now(), record.incident
    status = _entry(seed.IO_STATUSES, change.get("incident_status_id"))
    if status is not None:
        current = incident["incident_status"]["category"]
        if status["category"] != current and status["category"] not in MOVES.get(current, ()):
            _invalid(
                "invalid_value", f"An incident cannot move from {current} to {status['category']}", "incident_status_id"
            )
        incident["incident_status"] = status | _DATES
        record.history.append(f"{now} {status['name']}")
    severity = _entry(seed.IO_SEVERITIES, change.get("severity_id"))
    if severity is not None:
        incident["severity"] = severity | _DATES
        record.history.append(f"{now} severity {severity['name']}")
    for name in ("name", "summary", "call_url", "custom_field_entries", "incident_role_assignments"):
        if change.get(name) is not None:
            incident[name] = change[name]
    incident["updated_at"] = now


def _entry(things: Iterable[dict[str, Any]], identifier: Any) -> dict[str, Any] | None:
    return next((thing for thing in things if thing["id"] == identifier), None)


def _ulid() -> str:
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join(CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))


def _now() -> str:
    return clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
