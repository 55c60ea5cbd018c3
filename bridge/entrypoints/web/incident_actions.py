"""POST /api/v1/incidents/<id>/resolve, /detach, /resend and /note: what people do to an incident by hand."""

from collections.abc import Callable

from flask import Blueprint, Response

from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.hands import Done, IncidentError, NoSuchIncident
from bridge.entrypoints.web import asked
from bridge.entrypoints.web.receiver import answer

ACTIONS = ("resolve", "detach", "resend", "note")


def done_by_hand(ledger: Ledger, incident_id: str, action: str, text: str = "") -> Done:
    """Do one of ACTIONS to an incident; `text` is a note's. Raises IncidentError."""
    match action:
        case "resolve":
            return ledger.incident_resolved(incident_id)
        case "detach":
            return ledger.incident_detached(incident_id)
        case "resend":
            return ledger.incident_resent(incident_id)
        case "note":
            return ledger.incident_noted(incident_id, text)
    raise ValueError(f"there is no action {action!r}")


def add_incident_actions(routes: Blueprint, ledger: Ledger, poke: Callable[[frozenset[str]], None]) -> None:
    """The routes, on the API's blueprint, which guards them."""

    @routes.errorhandler(IncidentError)
    def _not_done(error: IncidentError) -> Response:
        return answer(404 if isinstance(error, NoSuchIncident) else 409, error=str(error))

    @routes.post("/incidents/<incident_id>/<any(resolve, detach, resend, note):action>")
    def incident_action(incident_id: str, action: str) -> Response:
        text = asked.content().get("text")
        if action == "note" and not (isinstance(text, str) and text.strip()):
            return answer(400, error='a note needs a text: {"text": "what everybody should know"}')
        done = done_by_hand(ledger, incident_id, action, str(text or ""))
        poke(done.lanes)
        return answer(200, incident=done.incident, state=done.state)
