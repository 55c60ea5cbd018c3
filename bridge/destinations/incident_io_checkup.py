"""Whether an incident.io account can be told incidents: its key and the roles it carries (UPSTREAM B1)."""

from collections.abc import Callable
from datetime import datetime

from bridge.destinations import wire
from bridge.destinations.checkup import noticed, reached
from bridge.destinations.incident_io import IncidentIo
from bridge.domain.checkup import Finding, Health, odd, well, wrong
from bridge.domain.delivery import HttpRequest, HttpResponse, NoAnswer

NEEDED = ("incident_creator", "incident_editor", "viewer")  # going by the roles' names (UPSTREAM B1)
_MAY = "the roles to create incidents, to edit incidents and to view data"


def checkup(
    account: IncidentIo, ask: Callable[[HttpRequest], HttpResponse | NoAnswer], now: Callable[[], datetime]
) -> tuple[Finding, ...]:
    """Ask whose key it is and what it may. Nothing is written upstream."""
    part = f"account {account.account}"
    headers = account.names_request("severity").headers
    answer = ask(HttpRequest(method="GET", url=f"{account.base_url}/v1/identity", headers=headers))
    taken = reached(part, answer, key="api_key", may=_MAY, holds="identity")
    found = taken + noticed(part, answer, now())
    if not isinstance(answer, HttpResponse) or any(finding.health is not Health.OK for finding in taken):
        return found
    identity = wire.within(wire.json_in(answer.body), "identity")
    roles = wire.within(identity, "roles")
    if not isinstance(roles, list):
        return (*found, odd(part, "the key's roles are not told", f"see in incident.io that it has {_MAY}"))
    missing = [role for role in NEEDED if role not in roles]
    name = str(wire.within(identity, "name") or "")[:80]
    if missing:
        sentence = f"the key '{name}' lacks the roles {', '.join(missing)}"
        return (*found, wrong(part, sentence, "make a key that has them: roles cannot be added to one"))
    return (*found, well(part, f"the key '{name}' may create, edit and view"))
