"""The read API of DESIGN section 8, and the two actions on dead letters; all of it through the ledger's own queries."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, Response, request
from flask_wtf.csrf import validate_csrf

from bridge.adapters.ledger import EventQuery, Ledger, Page
from bridge.adapters.ledger.letters import LetterError, NoSuchLetter
from bridge.domain.access import How
from bridge.entrypoints.reloading import Reloader, book_json
from bridge.entrypoints.web import access, auditing, openapi, reloads, shadows, silences
from bridge.entrypoints.web.access import Gate
from bridge.entrypoints.web.incident_actions import add_incident_actions
from bridge.entrypoints.web.keeper import Keeper
from bridge.entrypoints.web.queries import BadQuery, paging, text_of
from bridge.entrypoints.web.receiver import answer

Read = Callable[..., Response]


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """What the API reads from."""

    ledger: Ledger
    gate: Gate
    rates: Mapping[str, tuple[str, str]]  # account -> (type, rate in the owner's words)
    rules: Callable[[], list[dict[str, Any]]]
    poke: Callable[[frozenset[str]], None]
    keeper: Keeper | None = None  # the rules in force, in a running web process
    reloader: Reloader | None = None


def blueprint(api: Api) -> Blueprint:
    """The routes under /api/v1."""
    routes = Blueprint("api", __name__, url_prefix="/api/v1")

    @routes.before_request
    def _guard() -> Response | None:
        refusal = api.gate.admit(request)
        if refusal is not None:
            response = answer(refusal.status, error=refusal.sentence)
            if refusal.status == 401:
                response.headers["WWW-Authenticate"] = 'Bearer realm="incident-bridge"'
            return response
        if request.method not in access.SAFE_METHODS and access.current().how in (How.SESSION, How.PROXY):
            try:  # a browser sends its cookie by itself
                validate_csrf(request.headers.get("X-CSRFToken"))
            except ValueError as error:  # wtforms' ValidationError is one
                return answer(400, error=f"{error} Send the page's csrf-token as X-CSRFToken")
        if request.method == "POST" and request.mimetype != "application/json":
            return answer(415, error="send a JSON body with Content-Type: application/json")
        if any("\x00" in text for text in (request.view_args or {}).values()):  # PostgreSQL refuses to be asked
            return answer(404, error="there is nothing of this id")
        return None

    @routes.errorhandler(BadQuery)
    def _bad_query(error: BadQuery) -> Response:
        return answer(400, error=str(error))

    @routes.errorhandler(LetterError)
    def _bad_letter(error: LetterError) -> Response:
        return answer(404 if isinstance(error, NoSuchLetter) else 409, error=str(error))

    auditing.recorded(routes, api.ledger.did)
    _add_reads(routes, api)
    _add_audit(routes, api)
    _add_actions(routes, api)
    _add_lane_actions(routes, api)
    reloads.add_routes(routes, api.reloader)
    shadows.add_routes(routes, api.ledger, api.keeper)
    silences.add_routes(routes, api.ledger, api.keeper)
    add_incident_actions(routes, api.ledger, api.poke)
    return routes


def _add_reads(routes: Blueprint, api: Api) -> None:
    @routes.get("/events")
    def events() -> Response:
        return _list(api.ledger.events(event_query()))

    @routes.get("/events/<event_id>")
    def event(event_id: str) -> Response:
        return _one(api.ledger.event(event_id), "event", event_id)

    @routes.get("/incidents")
    def incidents() -> Response:
        return _list(api.ledger.incidents(state=text_of("state"), account=text_of("account"), **paging()))

    @routes.get("/incidents/<incident_id>")
    def incident(incident_id: str) -> Response:
        return _one(api.ledger.incident(incident_id), "incident", incident_id)

    @routes.get("/deliveries")
    def deliveries() -> Response:
        state, account, of = text_of("state"), text_of("account"), text_of("incident")
        return _list(api.ledger.deliveries(state=state, account=account, incident=of, **paging()))

    @routes.get("/deliveries/<delivery_id>")
    def delivery(delivery_id: str) -> Response:
        return _one(api.ledger.delivery(delivery_id), "delivery", delivery_id)

    @routes.get("/lanes")
    def lanes() -> Response:
        return _json({"items": api.ledger.lanes(api.rates), "next": None})

    @routes.get("/rules")
    def rules() -> Response:
        here = None if api.keeper is None else api.keeper.current().hash
        return _json({"items": api.rules(), "next": None, "book": book_json(api.ledger, api.reloader, here)})


def _add_audit(routes: Blueprint, api: Api) -> None:
    described = openapi.document()

    @routes.get("/openapi.json")
    def description() -> Response:
        return _json(described)

    @routes.get("/audit")
    def audit() -> Response:
        return _list(api.ledger.audit(actor=text_of("actor"), action=text_of("action"), **paging()))


def _add_actions(routes: Blueprint, api: Api) -> None:
    @routes.post("/deliveries/<delivery_id>/replay")
    def replay(delivery_id: str) -> Response:
        lane = api.ledger.replayed(delivery_id)
        api.poke(frozenset({lane}))
        return _json({"delivery": delivery_id, "state": "pending"})

    @routes.post("/deliveries/<delivery_id>/discard")
    def discard(delivery_id: str) -> Response:
        content = request.get_json(silent=True)
        reason = content.get("reason") if isinstance(content, dict) else None
        if not isinstance(reason, str) or not reason.strip():
            raise BadQuery('a discarded letter needs a reason: {"reason": "why nobody has to be told"}')
        api.ledger.discarded(delivery_id, reason)
        return _json({"delivery": delivery_id, "state": "cancelled"})


def _add_lane_actions(routes: Blueprint, api: Api) -> None:
    @routes.post("/lanes/<account>/<any(pause, resume):action>")
    def lane(account: str, action: str) -> Response:
        lane = api.ledger.paused(account) if action == "pause" else api.ledger.resumed(account)
        if lane is None:
            return answer(404, error=f"there is no account '{account[:80]}'")
        if action == "resume":
            api.poke(frozenset({lane}))
        return _json({"account": account, "lane": lane, "paused": action == "pause"})


def event_query() -> EventQuery:
    """The filters of the request's query. Raises BadQuery."""
    return EventQuery(
        source=text_of("source"),
        state=text_of("state"),
        rule=text_of("rule"),
        outcome=text_of("outcome"),
        q=text_of("q"),
        since=_since(text_of("since")),
        until=_since(text_of("until"), "until"),
        account=text_of("account"),
        label=text_of("label"),
        **paging(),
    )


def _since(text: str | None, name: str = "since") -> datetime | None:
    """RFC 3339, or an age such as 15m, 24h, 7d."""
    if text is None:
        return None
    units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
    try:
        if text[-1] in units and text[:-1].isascii() and text[:-1].isdigit() and len(text) < 8:
            return datetime.now(UTC) - timedelta(**{units[text[-1]]: int(text[:-1])})
        instant = datetime.fromisoformat(text.replace(" ", "+"))
    except (ValueError, OverflowError):  # the latter: an age that leads to before the year 1
        example = "a time such as 2026-01-31T08:00:00Z or an age such as 24h"
        raise BadQuery(f"{name} is {example}, not '{text[:40]}'") from None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


def _list(page: Page) -> Response:
    content: dict[str, Any] = {"items": list(page.items), "next": page.next}
    if page.note is not None:
        content["note"] = page.note
    return _json(content)


def _one(found: Mapping[str, Any] | None, kind: str, wanted: str) -> Response:
    return answer(404, error=f"there is no {kind} '{wanted[:80]}'") if found is None else _json(found)


def _json(content: Any) -> Response:
    response = Response(json.dumps(content, ensure_ascii=True), mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
