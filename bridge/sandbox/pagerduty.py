"""The PagerDuty stand-in: REST API v2 as far as the bridge can meet it, under /pagerduty.

Written from https://github.com/PagerDuty/api-schema reference/REST/openapiv3.json and
https://github.com/PagerDuty/developer-docs docs/REST-API, read 2026-08. Where the documents are silent the strict
answer is given, so that a request which passes here is one PagerDuty has no documented reason to refuse.

Any token is let in but three, with which a refused key can be tried: `revoked` (401), `read-only` (403 to what changes
something) and `no-priorities` (402, a plan without them). The service `Retired` is disabled and takes no incidents.
"""

import math
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NoReturn

from flask import Blueprint, Response, g, jsonify, request
from flask.typing import ResponseReturnValue

from bridge.sandbox import clock, pages, seed
from bridge.sandbox.limits import Bucket, Quota, Rate, take_all
from bridge.sandbox.store import PAGERDUTY, Record, Store

VERSION = re.compile(r"application/vnd\.pagerduty\+json\s*;\s*version=2")
OPEN = ("triggered", "acknowledged")
STATUSES = (*OPEN, "resolved")
DEFAULT_WINDOW = timedelta(days=30)  # GET /incidents without date_range=all
INVALID = "Invalid Input Provided"
ARGUMENTS = "Arguments Caused Error"


class Refusal(Exception):
    """An answer that is no success; `code` is PagerDuty's own."""

    def __init__(self, status: int, code: int, message: str, *errors: str) -> None:
        super().__init__(message)
        self.status = status
        self.content = {"error": {"message": message, "code": code, **({"errors": list(errors)} if errors else {})}}


class PagerDutyStandIn:
    """The stand-in's calls over one Store."""

    def __init__(self, store: Store, *, rate: Rate | None, create_rate: Rate | None) -> None:
        self._store = store
        self._bucket = Bucket(rate) if rate is not None else None
        self._create_bucket = Bucket(create_rate) if create_rate is not None else None

    def blueprint(self) -> Blueprint:
        """The routes, under /pagerduty."""
        api = Blueprint("pagerduty", __name__, url_prefix="/pagerduty")
        api.before_request(self._admit)
        api.after_request(_with_quota)
        api.register_error_handler(Refusal, _refused)
        api.add_url_rule("/incidents", view_func=self.create, methods=["POST"])
        api.add_url_rule("/incidents", view_func=self.find, methods=["GET"], endpoint="find")
        api.add_url_rule("/incidents/types", view_func=self.types, methods=["GET"])
        api.add_url_rule("/incidents/<incident>", view_func=self.show, methods=["GET"])
        api.add_url_rule("/incidents/<incident>", view_func=self.change, methods=["PUT"])
        api.add_url_rule("/incidents/<incident>/notes", view_func=self.notes, methods=["GET"])
        api.add_url_rule("/incidents/<incident>/notes", view_func=self.add_note, methods=["POST"])
        api.add_url_rule("/abilities", view_func=self.abilities, methods=["GET"])
        for name, things in _LISTS.items():
            api.add_url_rule(f"/{name}", name, _lister(name, things), methods=["GET"])
            if name in _SINGULAR:
                api.add_url_rule(f"/{name}/<thing>", f"{name}_one", _shower(name, things), methods=["GET"])
        return api

    # ---- calls ---------------------------------------------------------------------------------------------------

    def create(self) -> ResponseReturnValue:
        """POST /incidents."""
        sender = _sender()
        asked = _object_in_body("incident", "Title cannot be empty.")
        _check_new(asked)
        key = asked.get("incident_key") or secrets.token_hex(16)
        with self._store.lock:
            if any(_blocks(record, asked["service"]["id"]) for record in self._store.with_key(PAGERDUTY, key)):
                words = "Open incident with matching dedup key already exists on this service"
                raise Refusal(400, 2002, ARGUMENTS, words)
            record = _opened(asked, key, sender, self._store.next_number(PAGERDUTY))
            self._store.put(record)
        return jsonify(incident=_public(record)), 201

    def find(self) -> ResponseReturnValue:
        """GET /incidents."""
        args = request.args
        records = self._store.records(PAGERDUTY)
        if "incident_key" in args:
            # An empty key finds every open incident: https://github.com/airbnb/streamalert/pull/567
            key = args["incident_key"]
            records = self._store.with_key(PAGERDUTY, key) if key else [r for r in records if _is_open(r)]
        services, statuses = args.getlist("service_ids[]"), args.getlist("statuses[]")
        if bad := set(statuses) - set(STATUSES):
            raise Refusal(400, 2001, INVALID, f"Invalid status: {sorted(bad)}")
        if args.get("date_range") != "all":
            since = _stamp(clock.now() - DEFAULT_WINDOW)
            records = [record for record in records if record.incident["created_at"] >= since]
        records = [
            record
            for record in records
            if (not services or record.incident["service"]["id"] in services)
            and (not statuses or record.incident["status"] in statuses)
        ]
        return jsonify(_page("incidents", [_public(record) for record in _sorted(records, args.get("sort_by"))]))

    def types(self) -> ResponseReturnValue:
        """GET /incidents/types."""
        return jsonify(incident_types=list(seed.PD_INCIDENT_TYPES))

    def show(self, incident: str) -> ResponseReturnValue:
        """GET /incidents/{id}: the document, or a page for a browser."""
        record = self._record(incident)
        if pages.is_wanted(request):
            return pages.incident(record, _public(record))
        return jsonify(incident=_public(record))

    def change(self, incident: str) -> ResponseReturnValue:
        """PUT /incidents/{id}."""
        sender = _sender()
        asked = _object_in_body("incident", "Incident cannot be empty.")
        _check_change(asked)
        with self._store.lock:
            record = self._record(incident)
            _apply(record, asked, sender)
            self._store.put(record)
        return jsonify(incident=_public(record))

    def notes(self, incident: str) -> ResponseReturnValue:
        """GET /incidents/{id}/notes."""
        return jsonify(notes=list(reversed(self._record(incident).notes)))

    def add_note(self, incident: str) -> ResponseReturnValue:
        """POST /incidents/{id}/notes; no dedup key, every call adds one."""
        sender = _sender()
        content = _object_in_body("note", "Note cannot be empty.").get("content")
        if not isinstance(content, str) or not content.strip():
            raise Refusal(400, 2001, INVALID, "Content cannot be empty.")
        note = {"id": _new_id(), "user": _reference("user", sender), "content": content, "created_at": _now()}
        with self._store.lock:
            record = self._record(incident)
            record.notes.append(note)
            self._store.put(record)
        return jsonify(note=note), 200

    def abilities(self) -> ResponseReturnValue:
        """GET /abilities."""
        return jsonify(abilities=list(seed.PD_ABILITIES))

    # ---- the door ------------------------------------------------------------------------------------------------

    def _admit(self) -> ResponseReturnValue | None:
        """Headers, then the rate limit; a browser looking at an incident needs neither."""
        if pages.is_wanted(request):
            return None
        scheme = request.headers.get("Authorization", "")
        if not re.fullmatch(r"Token token=\S+|Bearer \S+", scheme):
            return Response("HTTP Token: Access denied.\n", 401, content_type="text/plain; charset=utf-8")
        _admit_token(scheme.removeprefix("Bearer ").removeprefix("Token token="))
        if not VERSION.search(request.headers.get("Accept", "")):
            wanted = "application/vnd.pagerduty+json;version=2"
            raise Refusal(400, 2001, INVALID, f"sandbox: the Accept header must name a version: {wanted}")
        creates = request.method == "POST" and request.path == "/pagerduty/incidents"
        g.quota = take_all([self._bucket, self._create_bucket if creates else None])
        if g.quota is not None and not g.quota.allowed:
            raise Refusal(429, 2020, "Rate Limit Exceeded")
        return None

    def _record(self, incident: str) -> Record:
        record = self._store.find(PAGERDUTY, incident)
        if record is None:
            raise Refusal(404, 2100, "Not Found")
        return record


# ---- answers -----------------------------------------------------------------------------------------------------


def _refused(refusal: Refusal) -> ResponseReturnValue:
    return jsonify(refusal.content), refusal.status


def _with_quota(response: Response) -> Response:
    """The three headers of developer-docs 04-Rate-Limits.md; reset is in seconds."""
    quota: Quota | None = g.get("quota")
    if quota is not None:
        wait_s = quota.full_s if quota.remaining else quota.next_s
        response.headers["ratelimit-limit"] = str(quota.rate.calls)
        response.headers["ratelimit-remaining"] = str(quota.remaining)
        response.headers["ratelimit-reset"] = str(max(1, math.ceil(wait_s)))
    return response


def _public(record: Record) -> dict[str, Any]:
    """The incident with the links of the host it was asked at; its body only when include[]=body asks for it."""
    url = f"{request.host_url}pagerduty/incidents/{record.id}"
    shown = record.incident | {"self": url, "html_url": url}
    if "body" in request.args.getlist("include[]"):
        shown["body"] = {"type": "incident_body", "details": record.body}
    return shown


def _page(name: str, things: list[Any]) -> dict[str, Any]:
    limit, offset = _whole("limit", 25), _whole("offset", 0)
    if not 1 <= limit <= 100:
        raise Refusal(400, 2001, INVALID, "Limit must be between 1 and 100")
    if offset + limit > 10_000:
        raise Refusal(400, 2002, ARGUMENTS, "Offset plus limit must not be more than 10000")
    more = len(things) > offset + limit
    return {name: things[offset : offset + limit], "limit": limit, "offset": offset, "more": more, "total": None}


def _whole(name: str, default: int) -> int:
    text = request.args.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 9):
        raise Refusal(400, 2001, INVALID, f"{name.capitalize()} must be a number")
    return int(text)


def _sorted(records: list[Record], sort_by: str | None) -> list[Record]:
    name, _, direction = (sort_by or "incident_number").partition(",")[0].partition(":")
    if name not in ("incident_number", "created_at", "resolved_at", "urgency") or direction not in ("", "asc", "desc"):
        raise Refusal(400, 2001, INVALID, f"Invalid sort_by: {sort_by}")
    return sorted(
        records,
        key=lambda record: (str(record.incident[name] or "") if name != "incident_number" else "", record.number),
        reverse=direction == "desc",
    )


_LISTS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "services": seed.PD_SERVICES,
    "priorities": seed.PD_PRIORITIES,
    "escalation_policies": seed.PD_POLICIES,
    "users": seed.PD_USERS,
}
_SINGULAR = {  # priorities cannot be asked for one by one
    "services": "service",
    "escalation_policies": "escalation_policy",
    "users": "user",
}


def _lister(name: str, things: Iterable[dict[str, Any]]) -> Any:
    def view() -> ResponseReturnValue:
        exact, part = request.args.get("name"), request.args.get("query", "").casefold()
        found = [
            thing | {"summary": thing["name"]}
            for thing in things
            if (name != "services" or exact in (None, thing["name"]))
            and part in f"{thing['name']} {thing.get('email', '')}".casefold()
        ]
        return jsonify(_page(name, found))

    return view


def _shower(name: str, things: Iterable[dict[str, Any]]) -> Any:
    def view(thing: str) -> ResponseReturnValue:
        found = next((one for one in things if one["id"] == thing), None)
        if found is None:
            raise Refusal(404, 2100, "Not Found")
        return jsonify({_SINGULAR[name]: found | {"summary": found["name"]}})

    return view


# ---- requests ----------------------------------------------------------------------------------------------------


def _sender() -> dict[str, Any]:
    """The user of the From header, which every write needs."""
    email = request.headers.get("From", "").strip()
    if not email:
        words = 'You must specify a user\'s email address in the "From" header to perform this action'
        raise Refusal(400, 2016, INVALID, words)
    user = next((user for user in seed.PD_USERS if user["email"].casefold() == email.casefold()), None)
    if user is None:
        raise Refusal(400, 1008, "Requester User Not Found")
    return user


def _object_in_body(name: str, when_missing: str) -> dict[str, Any]:
    content = request.get_json(silent=True) if request.is_json else None
    if not isinstance(content, dict):
        raise Refusal(400, 2001, INVALID, "params must be a Hash")
    found = content.get(name)
    if not isinstance(found, dict):
        raise Refusal(400, 2001, INVALID, when_missing)
    return found


def _admit_token(token: str) -> None:
    """What docs 14-Errors says to a key that is not known, may only read, or whose plan lacks an ability."""
    if token == seed.PD_REVOKED:
        raise Refusal(401, 2006, "Authentication Failed")
    if token == seed.PD_READ_ONLY and request.method != "GET":
        raise Refusal(403, 2010, "Access Denied")
    content = request.get_json(silent=True) if request.is_json else None
    asked = content.get("incident") if isinstance(content, dict) else None
    wants = isinstance(asked, dict) and asked.get("priority") is not None
    if token == seed.PD_NO_PRIORITIES and (wants or request.path == "/pagerduty/priorities"):
        raise Refusal(402, 2014, "Required abilities are unavailable", "priorities")


def _check_new(asked: Mapping[str, Any]) -> None:
    """What a create must hold; unknown fields are ignored (developer-docs 05-Endpoints.md)."""
    if not isinstance(asked.get("title"), str) or not asked["title"].strip():
        _invalid("Title cannot be empty.")
    if asked.get("type") != "incident":
        _invalid("Type must be 'incident'.")
    if asked.get("service") is None:
        _invalid("Service cannot be empty.")
    _known(asked["service"], "service", seed.PD_SERVICES, 2002, ARGUMENTS, "Service not found")
    if (_entry(seed.PD_SERVICES, asked["service"]["id"]) or {}).get("status") == "disabled":
        # that it takes none is documented (PD-spec, Service.status), what it says is not: a 400 is our guess
        raise Refusal(400, 2002, ARGUMENTS, "Service is disabled")
    body = asked.get("body")
    if body is not None and (not isinstance(body, dict) or body.get("type") != "incident_body"):
        _invalid("Body type must be 'incident_body'.")
    if body is not None and not isinstance(body.get("details", ""), str):
        _invalid("Body details must be a string.")
    if not isinstance(asked.get("incident_key", ""), str):
        _invalid("Incident key must be a string.")
    if asked.get("priority") is not None:
        _known(asked["priority"], "priority", seed.PD_PRIORITIES, 1020, "Invalid Priority")
    _check_common(asked)


def _check_change(asked: Mapping[str, Any]) -> None:
    if asked.get("type") not in ("incident", "incident_reference"):
        _invalid("Type must be 'incident' or 'incident_reference'.")
    if asked.get("status") is not None and asked["status"] not in STATUSES:
        _invalid("Status must be one of triggered, acknowledged, resolved.")
    if not isinstance(asked.get("resolution", ""), str):
        _invalid("Resolution must be a string.")
    title = asked.get("title")
    if title is not None and (not isinstance(title, str) or not title.strip()):
        _invalid("Title cannot be empty.")
    level = asked.get("escalation_level")
    if level is not None and (not isinstance(level, int) or isinstance(level, bool) or level < 1):
        _invalid("Escalation level must be a positive number.")
    if level is not None and level > seed.PD_LEVELS:
        _invalid("Escalation level is not in the escalation policy.")
    if asked.get("service") is not None:
        _known(asked["service"], "service", seed.PD_SERVICES, 2002, ARGUMENTS, "Service not found")
    priority = asked.get("priority")
    if isinstance(priority, str):
        if priority not in {known["name"] for known in seed.PD_PRIORITIES}:
            raise Refusal(400, 1020, "Invalid Priority")
    elif priority is not None:
        _known(priority, "priority", seed.PD_PRIORITIES, 1020, "Invalid Priority")
    _check_common(asked)


def _check_common(asked: Mapping[str, Any]) -> None:
    if asked.get("urgency") not in (None, "high", "low"):
        _invalid("Urgency must be one of high, low.")
    policy, assignments = asked.get("escalation_policy"), asked.get("assignments")
    if policy is not None and assignments:
        _invalid("Assignments cannot be specified together with an escalation policy.")
    if policy is not None:
        _known(policy, "escalation_policy", seed.PD_POLICIES, 2002, ARGUMENTS, "Escalation policy not found")
    if assignments is not None:
        if not isinstance(assignments, list) or len(assignments) > 1:
            _invalid("Only one assignee is supported.")
        for assignment in assignments:
            assignee = assignment.get("assignee") if isinstance(assignment, dict) else None
            _known(assignee, "user", seed.PD_USERS, 2002, ARGUMENTS, "Assignee not found")
    kind = asked.get("incident_type")
    names = {known["name"] for known in seed.PD_INCIDENT_TYPES}
    if kind is not None and (not isinstance(kind, dict) or kind.get("name") not in names):
        raise Refusal(400, 2002, ARGUMENTS, "Incident type not found")
    bridge = asked.get("conference_bridge")
    if bridge is not None and (
        not isinstance(bridge, dict) or not all(isinstance(text, str | None) for text in bridge.values())
    ):
        _invalid("Conference bridge must hold strings.")


def _known(value: Any, kind: str, things: Iterable[dict[str, Any]], code: int, *words: str) -> None:
    if not isinstance(value, dict) or value.get("type") not in (kind, f"{kind}_reference"):
        _invalid(f"{kind.replace('_', ' ').capitalize()} must be a reference with id and type '{kind}_reference'.")
    if value.get("id") not in [thing["id"] for thing in things]:
        raise Refusal(400, code, *words)


def _invalid(sentence: str) -> NoReturn:
    raise Refusal(400, 2001, INVALID, sentence)


# ---- incidents ---------------------------------------------------------------------------------------------------


def _is_open(record: Record) -> bool:
    return record.incident["status"] in OPEN


def _blocks(record: Record, service: str) -> bool:
    return _is_open(record) and record.incident["service"]["id"] == service


def _opened(asked: Mapping[str, Any], key: str, sender: dict[str, Any], number: int) -> Record:
    now, identifier = _now(), _new_id()
    policy = _entry(seed.PD_POLICIES, (asked.get("escalation_policy") or {}).get("id")) or seed.PD_POLICIES[0]
    assigned = [assignment["assignee"]["id"] for assignment in asked.get("assignments") or ()]
    priority = _entry(seed.PD_PRIORITIES, (asked.get("priority") or {}).get("id"))
    people = assigned or [seed.PD_USERS[1]["id"]]
    record = Record(
        api=PAGERDUTY,
        id=identifier,
        number=number,
        key=key,
        body=(asked.get("body") or {}).get("details", ""),
        incident={
            "id": identifier,
            "type": "incident",
            "incident_number": number,
            "title": asked["title"],
            "summary": f"[#{number}] {asked['title']}",
            "created_at": now,
            "updated_at": now,
            "status": "triggered",
            "incident_key": key,
            "urgency": asked.get("urgency") or "high",
            "service": _reference("service", _entry(seed.PD_SERVICES, asked["service"]["id"]) or {}),
            "priority": None if priority is None else _reference("priority", priority),
            "escalation_policy": _reference("escalation_policy", policy),
            "incident_type": {"name": (asked.get("incident_type") or {}).get("name", "incident_default")},
            "conference_bridge": asked.get("conference_bridge"),
            "assigned_via": "direct_assignment" if assigned else "escalation_policy",
            "assignments": [_assignment(user, now) for user in people],
            "acknowledgements": [],
            "teams": [],
            "resolved_at": None,
            "last_status_change_at": now,
            "last_status_change_by": _reference("user", sender),
        },
        history=[f"{now} triggered"],
    )
    if sender["id"] in assigned:  # created acknowledged, and nobody is notified (15-Incident-Creation-API.md)
        _move(record, "acknowledged", sender, now)
    return record


def _apply(record: Record, asked: Mapping[str, Any], sender: dict[str, Any]) -> None:
    """One PUT: the status first, for a refused move changes nothing else."""
    now, incident = _now(), record.incident
    status = asked.get("status")
    if status == "resolved" and incident["status"] == "resolved":
        raise Refusal(400, 1001, "Incident Already Resolved")
    if status == "acknowledged" and incident["status"] == "acknowledged":
        raise Refusal(400, 1002, "Incident Already Acknowledged")
    if status is not None and status != incident["status"]:
        _move(record, status, sender, now)
        if resolution := asked.get("resolution"):
            record.history.append(f"{now} resolution: {resolution}")
    if asked.get("title") is not None:
        incident["title"], incident["summary"] = asked["title"], f"[#{record.number}] {asked['title']}"
    for name in ("urgency", "incident_type", "conference_bridge", "escalation_level"):
        if asked.get(name) is not None:
            incident[name] = asked[name]
    priority = asked.get("priority")
    if priority is not None:
        meant = priority if isinstance(priority, str) else priority["id"]
        known = next(entry for entry in seed.PD_PRIORITIES if meant in (entry["name"], entry["id"]))
        incident["priority"] = _reference("priority", known)
    for kind, things in (("escalation_policy", seed.PD_POLICIES), ("service", seed.PD_SERVICES)):
        if asked.get(kind) is not None:
            incident[kind] = _reference(kind, _entry(things, asked[kind]["id"]) or {})
    if asked.get("assignments"):
        incident["assignments"] = [_assignment(one["assignee"]["id"], now) for one in asked["assignments"]]
        incident["assigned_via"] = "direct_assignment"
    incident["updated_at"] = now


def _move(record: Record, status: str, sender: dict[str, Any], now: str) -> None:
    """Set a status. Acknowledging makes the sender the assignee and reopens what is resolved (changelog 2025-09)."""
    reopened = record.incident["status"] == "resolved"
    acknowledged = status == "acknowledged"
    record.incident |= {
        "status": status,
        "last_status_change_at": now,
        "last_status_change_by": _reference("user", sender),
        "resolved_at": now if status == "resolved" else None,
        "acknowledgements": [{"at": now, "acknowledger": _reference("user", sender)}] if acknowledged else [],
    }
    if status == "resolved":
        record.incident["assignments"] = []
    elif acknowledged:
        record.incident["assignments"] = [_assignment(sender["id"], now)]
    elif reopened:
        record.incident["assignments"] = [_assignment(seed.PD_USERS[1]["id"], now)]
    record.history.append(f"{now} {'reopened, ' if reopened else ''}{status} by {sender['email']}")


BY_HAND = {"close": "resolved", "reopen": "triggered"}  # to which status


def by_hand(record: Record, does: str) -> None:
    """What somebody on call does on screen, one of BY_HAND."""
    _move(record, BY_HAND[does], seed.PD_USERS[1], _now())


def _entry(things: Iterable[dict[str, Any]], identifier: Any) -> dict[str, Any] | None:
    return next((thing for thing in things if thing["id"] == identifier), None)


def _reference(kind: str, thing: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": thing["id"], "type": f"{kind}_reference", "summary": thing["name"]}


def _assignment(user_id: str, now: str) -> dict[str, Any]:
    return {"at": now, "assignee": _reference("user", _entry(seed.PD_USERS, user_id) or {})}


def _new_id() -> str:
    return "Q" + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") for _ in range(13))


def _now() -> str:
    return _stamp(clock.now())


def _stamp(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
