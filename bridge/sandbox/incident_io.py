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
from typing import Any

from flask import Blueprint, Response, g, jsonify, request
from flask.typing import ResponseReturnValue

from bridge.sandbox import clock, pages, seed
from bridge.sandbox.incident_io_fields import (
    Refusal,
    check_fields,
    check_id,
    check_retrospective,
    entry,
    invalid,
    keep_fields,
)
from bridge.sandbox.limits import Bucket, Quota, Rate, take_all
from bridge.sandbox.store import INCIDENT_IO, Record, Store

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
V2_MODES = ("standard", "retrospective", "test", "tutorial")
V1_MODES = {"real": "standard", "test": "test"}
LISTED_MODES = ("standard", "retrospective")  # GET /v2/incidents without a mode filter
_TEXTS = (
    "name",
    "summary",
    "call_url",
    "slack_team_id",
    "slack_channel_name_override",
    "source_message_channel_id",
    "source_message_timestamp",
)
MOVES = {  # category -> the categories an edit may move to, its own aside (prose of actions/edit)
    "triage": ("learning", "closed"),
    "live": ("learning", "closed"),
    "learning": ("closed",),
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
        api.add_url_rule("/v3/catalog_entries", view_func=self.catalog, methods=["GET"])
        api.add_url_rule("/v1/identity", view_func=self.identity, methods=["GET"])
        api.add_url_rule("/v2/users", view_func=self.users, methods=["GET"])
        for path, things in _LISTS.items():
            api.add_url_rule(f"/{path}", path.replace("/", "_"), _lister(path, things), methods=["GET"])
        return api

    # ---- calls ---------------------------------------------------------------------------------------------------

    def create(self) -> ResponseReturnValue:
        """POST /v2/incidents and POST /v1/incidents."""
        asked = {name: value for name, value in _content().items() if name not in _UNKNOWN[_is_v1()]}
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
            invalid("is_required", "incident is required", "incident")
        if not isinstance(asked.get("notify_incident_channel"), bool):
            invalid("is_required", "notify_incident_channel is required", "notify_incident_channel")
        _check_common(change, creates=False)
        with self._store.lock:
            record = self._record(incident)
            _apply(record, change)
            self._store.put(record)
        return jsonify(incident=_public(record))

    def options(self) -> ResponseReturnValue:
        """GET /v1/custom_field_options."""
        wanted = request.args.get("custom_field_id")
        if not wanted:
            invalid("is_required", "custom_field_id is required", "custom_field_id")
        found = [option for option in seed.IO_OPTIONS if option["custom_field_id"] == wanted]
        return _page_of("custom_field_options", found)

    def catalog(self) -> ResponseReturnValue:
        """GET /v3/catalog_entries."""
        wanted = request.args.get("catalog_type_id")
        if not wanted:
            invalid("is_required", "catalog_type_id is required", "catalog_type_id")
        return _page_of("catalog_entries", [one for one in seed.IO_ENTRIES if one["catalog_type_id"] == wanted])

    def users(self) -> ResponseReturnValue:
        """GET /v2/users."""
        email = request.args.get("email")
        found = [user for user in seed.IO_USERS if email in (None, user["email"])]
        return _page_of("users", found)

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
    "v2/incident_timestamps": seed.IO_TIMESTAMPS,
}
_V1_STATUSES = {
    "triage": 0,
    "investigating": 1,
    "fixing": 2,
    "monitoring": 3,
    "closed": 6,
    "declined": 7,
}  # in IO_STATUSES
_UNKNOWN = {  # by whether it is v1: what that create does not know, and so does not look at
    True: (
        "incident_status_id",
        "incident_timestamp_values",
        "retrospective_incident_options",
        "slack_channel_name_override",
    ),
    False: ("status", "source_message_channel_id", "source_message_timestamp"),
}
_DATES = {"created_at": seed.IO_SEEDED_AT, "updated_at": seed.IO_SEEDED_AT}


def _lister(path: str, things: Iterable[dict[str, Any]]) -> Any:
    def view() -> ResponseReturnValue:
        return jsonify({path.rpartition("/")[2]: [thing | _DATES for thing in things]})

    return view


def _page_of(name: str, things: list[dict[str, Any]]) -> Response:
    """One page of a list; where it goes on, `after` is the last id of it."""
    size, after = _page_size(), request.args.get("after")
    ids = [thing["id"] for thing in things]
    rest = things if after is None else things[ids.index(after) + 1 :] if after in ids else []
    meta = {"page_size": size} | ({"after": rest[size - 1]["id"]} if len(rest) > size else {})
    return jsonify({name: rest[:size], "pagination_meta": meta})


def _filter(name: str, operator: str) -> list[str]:
    return request.args.getlist(f"{name}[{operator}]")


def _page_size() -> int:
    text = request.args.get("page_size", "25")
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 500):
        invalid("invalid_value", "page_size must be between 1 and 500", "page_size")
    return int(text)


# ---- requests ----------------------------------------------------------------------------------------------------


def _is_v1() -> bool:
    return request.path.startswith("/incident-io/v1/")


def _content() -> dict[str, Any]:
    content = request.get_json(silent=True) if request.is_json else None
    if not isinstance(content, dict):
        invalid("invalid_value", "The body must be a JSON object, with Content-Type application/json", None)
    return content


def _check_new(asked: Mapping[str, Any], *, is_v1: bool, require_severity: bool) -> None:
    key = asked.get("idempotency_key")
    if not isinstance(key, str) or not key:
        invalid("is_required", "An idempotency key is required", "idempotency_key")
    if asked.get("visibility") is None:
        invalid("is_required", "A visibility is required", "visibility")
    _one_of(asked, "visibility", ("public", "private"))
    _one_of(asked, "mode", tuple(V1_MODES) if is_v1 else V2_MODES)
    if is_v1:
        _one_of(asked, "status", tuple(_V1_STATUSES))
    if require_severity and not asked.get("severity_id"):
        invalid("is_required", "A severity is required to open an incident", "severity_id")
    check_id(asked, "incident_type_id", seed.IO_TYPES)
    _check_common(asked, creates=True)
    check_retrospective(asked)


def _check_common(asked: Mapping[str, Any], *, creates: bool) -> None:
    for name in _TEXTS:
        if not isinstance(asked.get(name, ""), str):
            invalid("invalid_value", f"{name} must be a string", name)
    check_id(asked, "severity_id", seed.IO_SEVERITIES)
    check_id(asked, "incident_status_id", seed.IO_STATUSES)
    check_fields(asked, creates=creates)


def _one_of(asked: Mapping[str, Any], name: str, choices: tuple[str, ...]) -> None:
    if asked.get(name) is not None and asked[name] not in choices:
        invalid("invalid_value", f"{name} must be one of {', '.join(choices)}", name)


# ---- incidents ---------------------------------------------------------------------------------------------------


def _opened(asked: Mapping[str, Any], number: int, *, is_v1: bool) -> Record:
    now, identifier = _now(), _ulid()
    kind = entry(seed.IO_TYPES, asked.get("incident_type_id")) or seed.IO_TYPES[0]
    asked_status = seed.IO_STATUSES[_V1_STATUSES[asked["status"]]] if is_v1 and asked.get("status") else None
    status = entry(seed.IO_STATUSES, asked.get("incident_status_id")) or asked_status or seed.IO_STATUSES[1]
    if kind["create_in_triage"] == "always":
        status = seed.IO_STATUSES[0]
    severity = entry(seed.IO_SEVERITIES, asked.get("severity_id"))
    mode = asked.get("mode") or "standard"
    retrospective = asked.get("retrospective_incident_options") or {}
    incident = {
        "id": identifier,
        "reference": f"INC-{retrospective.get('external_id', number)}",
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
        "custom_field_entries": [],
        "incident_role_assignments": [],
        "incident_timestamp_values": [],
        "slack_channel_id": retrospective.get("slack_channel_id", ""),
        "slack_channel_name": asked.get("slack_channel_name_override") or f"inc-{number}",
        "slack_team_id": asked.get("slack_team_id") or "",
    }
    if retrospective.get("postmortem_document_url"):
        incident["postmortem_document_url"] = retrospective["postmortem_document_url"]
    keep_fields(incident, asked)
    return Record(
        api=INCIDENT_IO,
        id=identifier,
        number=number,
        key=asked["idempotency_key"],
        incident=incident,
        history=[f"{now} {status['name']}"],
    )


def _apply(record: Record, change: Mapping[str, Any]) -> None:
    now, incident = _now(), record.incident
    status = entry(seed.IO_STATUSES, change.get("incident_status_id"))
    if status is not None:
        current = incident["incident_status"]["category"]
        if status["category"] != current and status["category"] not in MOVES.get(current, ()):
            invalid(
                "invalid_value", f"An incident cannot move from {current} to {status['category']}", "incident_status_id"
            )
        incident["incident_status"] = status | _DATES
        record.history.append(f"{now} {status['name']}")
    severity = entry(seed.IO_SEVERITIES, change.get("severity_id"))
    if severity is not None:
        incident["severity"] = severity | _DATES
        record.history.append(f"{now} severity {severity['name']}")
    for name in ("name", "summary", "call_url"):
        if change.get(name) is not None:
            incident[name] = change[name]
    if change.get("slack_channel_name_override"):
        incident["slack_channel_name"] = change["slack_channel_name_override"]
    keep_fields(incident, change)
    incident["updated_at"] = now


BY_HAND = {"close": "closed", "decline": "declined", "reopen": "live"}  # to a status of which category


def by_hand(record: Record, does: str) -> None:
    """What somebody on call does on screen, one of BY_HAND: the API allows neither to decline nor to open again."""
    now = _now()
    status = next(one for one in seed.IO_STATUSES if one["category"] == BY_HAND[does])
    record.incident["incident_status"] = status | _DATES
    record.incident["updated_at"] = now
    record.history.append(f"{now} {status['name']} by a person")


def _ulid() -> str:
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join(CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))


def _now() -> str:
    return clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
