"""Incidents: what is open first, one incident's whole life, and what a person can do to it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request

from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.hands import IncidentError
from bridge.domain.alert import Severity
from bridge.entrypoints.web import auditing
from bridge.entrypoints.web.incident_actions import done_by_hand
from bridge.entrypoints.web.ui.words import plural, span

MEMBERS_SHOWN = 200
SENTENCES = {
    "resolve": "Resolved by you: what is upstream is told so, what waits is never sent.",
    "detach": "Detached.",
    "resend": "Sent again: this is the incident that goes out.",
    "note": "Your note waits in the lane.",
}


def add_incident_actions(routes: Blueprint, ledger: Ledger, poke: Callable[[frozenset[str]], None]) -> None:
    """The forms of one incident."""

    @routes.post("/incidents/<incident_id>/<any(resolve, detach, resend, note):action>")
    def incident_action(incident_id: str, action: str) -> Any:
        try:
            done = done_by_hand(ledger, incident_id, action, request.form.get("text", ""))
        except IncidentError as error:
            return auditing.not_done(f"Nothing changed: {error}.", f"/incidents/{incident_id}")
        poke(done.lanes)
        flash(SENTENCES[action])
        return redirect(f"/incidents/{done.incident}", 303)


def rendered(ledger: Ledger, incident: Mapping[str, Any], deliveries: list[dict[str, Any]]) -> str:
    """The page of one incident."""
    story = ledger.incident_story(incident["id"])
    return render_template(
        "incident.html",
        incident=incident,
        members=members_shown(incident["members"]),
        deliveries=deliveries,
        reports=story["reports"],
        timeline=_timeline(story["reports"], incident, deliveries),
        flaps=story["telling"],
        place=place_sentence(story["place"]),
        can=_possible(incident, forsaken=incident["account"] not in ledger.routes),
    )


def members_shown(members: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The members that a page shows: those that fire come first, of these the most severe, then the oldest."""
    return sorted(members, key=lambda one: (one["status"] != "firing", Severity(one["severity"]).rank))[:MEMBERS_SHOWN]


def place_sentence(place: Mapping[str, Any] | None) -> str | None:
    """Where the next thing to tell stands: `3rd in the lane, about 40 s`."""
    if place is None:
        return None
    if place["number"] == 0:
        return f"its {place['action']} is being told just now"
    when = "nobody can tell when" if place["eta_s"] is None else f"about {span(place['eta_s'])}"
    return f"its {place['action']} is {ordinal(place['number'])} in the lane, {when}"


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 11th."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"


def _timeline(
    reports: list[dict[str, Any]], incident: Mapping[str, Any], deliveries: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """What happened, oldest first: reports that came in, and deliveries that ended."""
    happened = [
        {
            "at": one["at"],
            "what": f"{one['title']} is {one['status'] or 'reported'}",
            "word": one["outcome"],
            "href": f"/events/{one['event']}",
        }
        for one in reports
    ]
    for one in deliveries:
        if one["done_at"]:
            tried = f" after {plural(one['attempts_made'], 'attempt')}" if one["attempts_made"] > 1 else ""
            happened.append(
                {"at": one["done_at"], "what": f"{one['action']}{tried}", "word": one["state"], "href": None}
            )
    if incident["resolved_at"]:
        why = (incident["reason"] or "over").replace("_", " ")
        happened.append({"at": incident["resolved_at"], "what": f"resolved: {why}", "word": "resolved", "href": None})
    return sorted(happened, key=lambda one: str(one["at"]))


def _possible(incident: Mapping[str, Any], *, forsaken: bool) -> Mapping[str, bool]:
    """Which of the forms make sense; the ledger has the last word.

    `forsaken`: its account is not configured, so that nothing which has to be told there would ever end.
    """
    state, quiet = incident["state"], incident["quiet_until"] is not None
    return {
        "resolve": state == "pending" or quiet or (not forsaken and state in ("sending", "open")),
        "detach": state in ("open", "folded", "resolving") or quiet or (forsaken and state == "sending"),
        "resend": not forsaken and (state in ("open", "dead") or quiet),
        "note": not forsaken and state == "open",
    }
