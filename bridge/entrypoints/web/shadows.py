"""GET /api/v1/rules/shadow: what rules in shadow mode would have done."""

from datetime import timedelta

from flask import Blueprint, Response

from bridge.adapters.ledger import Ledger
from bridge.config import units
from bridge.entrypoints.shadowing import LOOKED_AT_MAX, SINCE, shadow_json, shadow_rules
from bridge.entrypoints.web import asked
from bridge.entrypoints.web.keeper import Keeper
from bridge.entrypoints.web.receiver import answer

LONGEST = timedelta(days=90)


def add_routes(routes: Blueprint, ledger: Ledger, keeper: Keeper | None) -> None:
    """Into the API, behind its login."""

    @routes.get("/rules/shadow")
    def shadow() -> Response:
        since = asked.text("since") or SINCE
        try:
            within = units.duration(since)
        except (ValueError, OverflowError):
            return answer(400, error=f"since is a length such as 24h or 7d, not '{since[:40]}'")
        rules = () if keeper is None else shadow_rules(keeper.current().book)
        found, note = ledger.shadowed(min(within, LONGEST), rules=rules, most=LOOKED_AT_MAX)
        response = answer(200, items=[shadow_json(one) for one in found], note=note, next=None)
        response.headers["Cache-Control"] = "no-store"
        return response
