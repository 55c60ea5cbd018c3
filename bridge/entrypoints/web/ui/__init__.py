"""The operations UI: what needs a person, every alert's story, and the few actions that mend things.

Server-rendered; JavaScript only adds comfort. Everything comes from the ledger through the read API's own queries.
Every change is a POST with a CSRF token. Alert text is hostile: it is escaped, and no script or style runs inline.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, flash, g, redirect, render_template, request
from flask_wtf.csrf import generate_csrf
from werkzeug.exceptions import HTTPException

from bridge.adapters.ledger import EventQuery, Ledger, Page
from bridge.adapters.ledger.letters import LetterError
from bridge.domain.access import How, Role
from bridge.domain.decision import Outcome
from bridge.domain.errors import LedgerUnavailable
from bridge.domain.incident import IncidentState
from bridge.entrypoints.reloading import Reloader
from bridge.entrypoints.web import asked, auditing
from bridge.entrypoints.web.access import Gate
from bridge.entrypoints.web.keeper import Keeper
from bridge.entrypoints.web.receiver import refused
from bridge.entrypoints.web.ui import audit, first, incident_pages, quiet, reloads, rule_page, sessions, words
from bridge.entrypoints.web.ui.events import add_event_actions, curl_of
from bridge.entrypoints.web.ui.incident_pages import add_incident_actions
from bridge.entrypoints.web.ui.letters import add_letters
from bridge.entrypoints.web.ui.playground import add_playground
from bridge.entrypoints.web.ui.workshop import Workshop

PAGES = (
    ("/", "Now"),
    ("/events", "Events"),
    ("/incidents", "Incidents"),
    ("/dead", "Dead letters"),
    ("/rules", "Rules"),
    ("/playground", "Playground"),
    ("/quiet", "Quiet"),
    ("/audit", "Audit"),
)
LATEST = 12
DELIVERIES_MAX = 50  # shown of one incident
LINES_SHOWN = 5  # alerts of one event in a list; a batch may hold any number
INCIDENTS_MAX = 20  # told of one event whole; a batch may concern any number
_FOR_PROGRAMS = ("/api/", "/webhooks/")
_TOLD = {
    404: "There is no such page here",
    405: "This address takes a form; there is no page to read at it",
    413: "That is more than a form may hold; nothing was changed",
    500: "This is a fault of Incident Bridge; its log says more",
}
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ui:
    """What the pages show and may change."""

    ledger: Ledger
    gate: Gate
    rates: Mapping[str, tuple[str, str]]
    rules: Callable[[], list[dict[str, Any]]]
    book: Callable[[], str]  # hash of the rule book in force
    poke: Callable[[frozenset[str]], None]
    missing: Callable[[], list[str]]  # sentences on what keeps the bridge from working
    keeper: Keeper | None = None  # the rules in force, in a running web process
    reloader: Reloader | None = None
    workshop: Workshop | None = None  # what the pages try things with
    sandboxed: frozenset[str] = frozenset()  # accounts that talk to the built-in stand-in


def blueprint(ui: Ui) -> Blueprint:
    """All pages."""
    routes = Blueprint("ui", __name__, template_folder="templates", static_folder="static", static_url_path="/static")
    sessions.guard(routes, ui.gate)
    auditing.recorded(routes, ui.ledger.did)
    _add_words(routes, ui)
    _add_pages(routes, ui)
    audit.add(routes, ui.ledger)
    _add_actions(routes, ui)
    add_event_actions(routes, ui.workshop)
    add_incident_actions(routes, ui.ledger, ui.poke)
    add_letters(routes, ui.ledger, ui.workshop, ui.poke)
    add_playground(routes, ui.ledger, ui.workshop)
    quiet.add_pages(routes, quiet.Quiet(ledger=ui.ledger, keeper=ui.keeper))
    in_force = reloads.Rules(ledger=ui.ledger, reloader=ui.reloader, keeper=ui.keeper, book=ui.book)
    reloads.add_pages(routes, in_force)
    return routes


def _add_words(routes: Blueprint, ui: Ui) -> None:
    routes.add_app_template_filter(words.chip, "chip")
    routes.add_app_template_filter(words.span, "span")
    routes.add_app_template_filter(words.body_text, "body_text")
    routes.add_app_template_filter(words.json_text, "json_text")
    routes.add_app_template_filter(words.link, "link")
    routes.add_app_template_filter(words.with_links, "with_links")
    routes.add_app_template_filter(words.plural, "plural")
    routes.add_app_template_filter(words.titled, "titled")
    routes.add_app_template_filter(words.story_of, "story")
    routes.add_app_template_filter(lambda instant: words.age(instant, _now(ui.ledger)), "age")

    @routes.app_context_processor
    def _everywhere() -> dict[str, Any]:
        first = "/" + request.path.split("/")[1]
        who = g.get("who")
        return {
            "csrf_token": generate_csrf,
            "as_of": lambda: _now(ui.ledger).isoformat(timespec="seconds"),
            "pages": PAGES,
            "here": first,
            "who": "" if who is None else sessions.name_of(who),
            "may_act": who is not None and who.role.may(Role.OPERATE),
            "may_rule": who is not None and who.role.may(Role.ADMIN),
            "can_leave": who is not None and who.how is How.SESSION,
            "banner": "No login is configured (ui.auth): only this machine is answered." if ui.gate.is_open else None,
            "book": ui.book(),
            "sandboxed": ui.sandboxed,
        }

    @routes.after_request
    def _headers(response: Response) -> Response:
        if response.status_code == 500:
            response = _for_people(response)
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        if request.endpoint != "ui.static":
            response.headers["Cache-Control"] = "no-store"
        return response

    @routes.errorhandler(asked.Unclear)
    def _unclear(error: asked.Unclear) -> tuple[str, int]:
        return render_template("problem.html", sentence=str(error)), 400

    @routes.errorhandler(LedgerUnavailable)
    def _unavailable(error: LedgerUnavailable) -> tuple[str, int]:
        return render_template("problem.html", sentence=f"The ledger does not answer: {error}"), 503

    def _refused(error: HTTPException) -> Response:
        return _headers(_for_people(refused(error)))

    for status in (404, 405, 413):  # of no page, or before there is one
        routes.app_errorhandler(status)(_refused)


def _now(ledger: Ledger) -> datetime:
    """The ledger's clock as this request read it first: a page is of one instant."""
    if "now" not in g:
        g.now = ledger.time()
    now: datetime = g.now
    return now


def _for_people(response: Response) -> Response:
    """A person reads a page with the way back; a program gets its JSON, and so does what is for programs."""
    if request.path.startswith(_FOR_PROGRAMS) or "text/html" not in request.accept_mimetypes.values():
        return response
    response.set_data(render_template("problem.html", sentence=_TOLD[response.status_code]))
    response.mimetype = "text/html"
    return response


def _add_pages(routes: Blueprint, ui: Ui) -> None:
    ledger = ui.ledger

    @routes.get("/")
    def now() -> str:
        return render_template("now.html", **first.page_of(ui, _listed(ledger, EventQuery(limit=LATEST))))

    @routes.get("/events")
    def events() -> str | tuple[str, int]:
        problem, page = None, Page(items=(), next=None)
        try:
            page = _listed(ledger, asked.event_query(ledger.time_here()))
        except asked.Unclear as error:
            problem = str(error)
        if request.headers.get("X-Rows-Only"):
            return render_template("rows.html", events=page)
        content = render_template(
            "events.html",
            events=_older(page),
            filters=request.args,
            outcomes=tuple(Outcome),
            sources=() if ui.workshop is None else sorted(ui.workshop.sources),
            accounts=sorted(ui.rates),
            rules=[one["id"] for one in ui.rules()],
            problem=problem,
        )
        return content, 200 if problem is None else 400

    @routes.get("/events/<event_id>")
    def event(event_id: str) -> str | tuple[str, int]:
        found = ledger.event(event_id)
        if found is None:
            return _nothing("event", event_id)
        ids = {d["incident"] for alert in found["alerts"] for d in alert["decisions"] if d["incident"]}
        told = {one: _deliveries(ledger, one) for one in sorted(ids)[:INCIDENTS_MAX]}
        titles = filter(None, (words.titled(alert["title"], "") for alert in found["alerts"]))
        opened = {one: ledger.incident(one) for one in sorted(ids)[:INCIDENTS_MAX]}
        places = {one["id"]: f"{one['file']}:{one['line']}" for one in ui.rules()}
        return render_template(
            "event.html",
            event=found,
            told=told,
            heading=next(titles, f"Event from {found['source']}"),
            places=places,
            incidents={name: one for name, one in opened.items() if one is not None},
            curl=curl_of(found, ui.gate.public_url),
        )

    @routes.get("/incidents")
    def incidents() -> str:
        state, account = request.args.get("state", "live") or None, request.args.get("account") or None
        before = asked.before()
        live = state == "live"
        page = ledger.incidents(
            state=None if live else state, live=live or None, account=account, limit=50, before=before
        )
        over = ledger.incidents(live=False, account=account, limit=10) if live and not before else None
        return render_template(
            "incidents.html",
            incidents=_older(page),
            over=over,
            filters={"state": state or "", "account": account},
            states=tuple(IncidentState),
            accounts=sorted({*ui.rates, *filter(None, [account])}),  # one that is not configured any more as well
        )

    @routes.get("/incidents/<incident_id>")
    def incident(incident_id: str) -> str | tuple[str, int]:
        found = ledger.incident(incident_id)
        if found is None:
            return _nothing("incident", incident_id)
        return incident_pages.rendered(ledger, found, _deliveries(ledger, incident_id))

    @routes.get("/rules")
    def rules() -> str | tuple[str, int]:
        return rule_page.rendered(ledger, ui.rules(), ui.book())


def _add_actions(routes: Blueprint, ui: Ui) -> None:
    @routes.post("/lanes/<account>/pause")
    def pause(account: str) -> Any:
        return _done(f"{account} is paused: nothing is sent until it is resumed", ui.ledger.paused(account))

    @routes.post("/lanes/<account>/resume")
    def resume(account: str) -> Any:
        lane = ui.ledger.resumed(account)
        if lane is not None:
            ui.poke(frozenset({lane}))
        return _done(f"{account} goes on", lane)

    @routes.post("/lanes/<account>/probe")
    def probe(account: str) -> Any:
        lane = ui.ledger.probed(account)
        if lane is not None:
            ui.poke(frozenset({lane}))
        return _done(f"{account} is asked again just now", lane)

    @routes.post("/dead/<delivery_id>/replay")
    def replay(delivery_id: str) -> Any:
        try:
            ui.poke(frozenset({ui.ledger.replayed(delivery_id)}))
        except LetterError as error:
            return auditing.not_done(f"Not replayed: {error}", "/dead")
        flash("1 letter back in line.")
        return redirect("/dead", 303)

    @routes.post("/dead/<delivery_id>/discard")
    def discard(delivery_id: str) -> Any:
        reason = request.form.get("reason", "").strip()
        try:
            if not reason:
                raise LetterError("a discarded letter needs a reason")
            ui.ledger.discarded(delivery_id, reason)
        except LetterError as error:
            return auditing.not_done(f"Not discarded: {error}", "/dead")
        flash("Discarded.")
        return redirect("/dead", 303)


def _done(sentence: str, lane: str | None) -> Any:
    if lane is None:
        return auditing.not_done("There is no such account.", "/")
    flash(sentence)
    return redirect("/", 303)


def _listed(ledger: Ledger, query: EventQuery) -> Page:
    """A page of events, each with the lines of its most telling alerts."""
    page = ledger.events(query)
    lines = ledger.event_lines([item["id"] for item in page.items], LINES_SHOWN, query)
    return replace(page, items=tuple({**item, "lines": lines.get(item["id"], [])} for item in page.items))


def _older(page: Page) -> Page:
    """The page with its `next` as a link that keeps the filters."""
    if page.next is None:
        return page
    kept = {name: value for name, value in request.args.items() if name != "before" and value}
    return replace(page, next="?" + urlencode({**kept, "before": page.next}))


def _deliveries(ledger: Ledger, incident: str) -> list[dict[str, Any]]:
    page = ledger.deliveries(state=None, account=None, incident=incident, limit=DELIVERIES_MAX, before=None)
    whole = (ledger.delivery(item["id"]) for item in reversed(page.items))
    return [{**one, "attempts_made": len(one["attempts"])} for one in whole if one is not None]


def _nothing(kind: str, wanted: str) -> tuple[str, int]:
    return render_template("problem.html", sentence=f"There is no {kind} {wanted[:80]}"), 404
