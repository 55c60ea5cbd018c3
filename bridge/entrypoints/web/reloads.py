"""POST /api/v1/reload; and what /readyz and /metrics say of the rules in force."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Response
from prometheus_client.core import GaugeMetricFamily

from bridge.adapters.ledger import RulesState
from bridge.domain.access import Role
from bridge.entrypoints.reloading import Reloader, ReloadRefused, State, instant_text
from bridge.entrypoints.web import asked, auditing
from bridge.entrypoints.web.access import current, needs
from bridge.entrypoints.web.receiver import answer


def add_routes(routes: Blueprint, reloader: Reloader | None) -> None:
    """Into the API, behind its login."""

    @routes.post("/reload")
    @needs(Role.ADMIN)
    def reload() -> Response:
        """200: taken, unchanged, or a dry run that found nothing wrong. 422: refused, with every problem."""
        is_dry, digest = _wanted(asked.content())
        if is_dry:
            auditing.nothing_done()
        if reloader is None:
            return answer(503, error="this process has no rules to reload")
        try:
            done = reloader.reload(f"the API ({current().name})", dry_run=is_dry, digest=digest)
        except ReloadRefused as error:
            return answer(409, error=str(error))
        response = answer(422 if done.state is State.REFUSED else 200, **done.as_json())
        response.headers["Cache-Control"] = "no-store"
        return response


def _wanted(content: Mapping[str, Any]) -> tuple[bool, str | None]:
    """Whether a reload is only tried, and of which files. Raises Unclear: no typing error puts rules in force."""
    unknown = sorted(content.keys() - {"dry_run", "digest"})
    if unknown:
        raise asked.Unclear(f"unknown key '{unknown[0][:40]}'; a reload has: dry_run, digest")
    is_dry, digest = content.get("dry_run", False), content.get("digest")
    if not isinstance(is_dry, bool):
        raise asked.Unclear("'dry_run' is true or false")
    if digest is not None and not isinstance(digest, str):
        raise asked.Unclear("'digest' is a text")
    return is_dry, digest


def rules_told(state: RulesState) -> dict[str, Any]:
    """What /readyz says of the rules: the bridge works with the last good ones, so a refused reload is no 503."""
    told: dict[str, Any] = {"book": state.book, "taken_at": instant_text(state.taken_at), "reload": "ok"}
    if state.refused:
        first = state.refused[0]
        told["reload"] = f"refused: {first['file']}:{first['line']}: {first['message']}"
        told["refused_at"] = instant_text(state.refused_at)
        told["problems"] = len(state.refused)
    return told


def reload_families(state: RulesState) -> list[GaugeMetricFamily]:
    """What /metrics says of them."""
    successful = GaugeMetricFamily(
        "incident_bridge_rules_last_reload_successful", "0 while the last reload of the rules was refused"
    )
    successful.add_metric([], 0 if state.refused else 1)
    at = GaugeMetricFamily(
        "incident_bridge_rules_last_reload_success_timestamp_seconds", "When the rules were last found in order"
    )
    if state.checked_at is not None:
        at.add_metric([], state.checked_at.timestamp())
    return [successful, at]
