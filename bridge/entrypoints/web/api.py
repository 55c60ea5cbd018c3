"""The read API of DESIGN section 8, and the two actions on dead letters; all of it through the ledger's own queries."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, request
from flask_wtf.csrf import validate_csrf

from bridge.adapters.ledger import Ledger, Page
from bridge.adapters.ledger.letters import LetterError, NoSuchLetter
from bridge.domain.access import How
from bridge.entrypoints.reloading import Reloader, book_json
from bridge.entrypoints.web import access, asked, auditing, openapi, reloads, shadows, silences
from bridge.entrypoints.web.access import Gate
from bridge.entrypoints.web.incident_actions import add_incident_actions
from bridge.entrypoints.web.keeper import Keeper
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
        if request.method == "POST":
            asked.read_content()
        return None

    @routes.errorhandler(asked.Unclear)
    def _unclear(error: asked.Unclear) -> Response:
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
        return _list(api.ledger.events(asked.event_query(api.ledger.time_here())))

    @routes.get("/events/<event_id>")
    def event(event_id: str) -> Response:
        return _one(api.ledger.event(event_id), "event", event_id)

    @routes.get("/incidents")
    def incidents() -> Response:
        return _list(api.ledger.incidents(state=asked.text("state"), account=asked.text("account"), **asked.paging()))

    @routes.get("/incidents/<incident_id>")
    def incident(incident_id: str) -> Response:
        return _one(api.ledger.incident(incident_id), "incident", incident_id)

    @routes.get("/deliveries")
    def deliveries() -> Response:
        state, account, of = asked.text("state"), asked.text("account"), asked.text("incident")
        return _list(api.ledger.deliveries(state=state, account=account, incident=of, **asked.paging()))

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
        return _list(api.ledger.audit(actor=asked.text("actor"), action=asked.text("action"), **asked.paging()))


def _add_actions(routes: Blueprint, api: Api) -> None:
    @routes.post("/deliveries/<delivery_id>/replay")
    def replay(delivery_id: str) -> Response:
        lane = api.ledger.replayed(delivery_id)
        api.poke(frozenset({lane}))
        return _json({"delivery": delivery_id, "state": "pending"})

    @routes.post("/deliveries/<delivery_id>/discard")
    def discard(delivery_id: str) -> Response:
        reason = asked.content().get("reason")
        if not isinstance(reason, str) or not reason.strip():
            raise asked.Unclear('a discarded letter needs a reason: {"reason": "why nobody has to be told"}')
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
