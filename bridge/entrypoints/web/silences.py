"""/api/v1/silences: list, add, try, end."""

from typing import Any

from flask import Blueprint, Response

from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.silences import LIST_MAX
from bridge.entrypoints.silencing import Draft, SilenceRefused, added, preview_json, previewed
from bridge.entrypoints.web import asked, auditing
from bridge.entrypoints.web.access import current, harmless
from bridge.entrypoints.web.keeper import Keeper
from bridge.entrypoints.web.receiver import answer


def add_routes(routes: Blueprint, ledger: Ledger, keeper: Keeper | None) -> None:
    """Into the API, behind its login."""

    @routes.errorhandler(SilenceRefused)
    def _refused(error: SilenceRefused) -> Response:
        return answer(400, error=str(error), problems=list(error.sentences))

    @routes.get("/silences")
    def silences() -> Response:
        page = ledger.silences(**asked.paging(LIST_MAX))
        return _fresh(answer(200, items=list(page.items), next=page.next))

    @routes.get("/silences/<silence_id>")
    def silence(silence_id: str) -> Response:
        return _one(ledger.silence(silence_id), silence_id)

    @routes.post("/silences")
    def add() -> Response:
        if keeper is None:
            return answer(503, error="this process has no rules to read a silence with")
        made = added(ledger, keeper.settings, draft_of(asked.content()))
        keeper.look()
        return _fresh(answer(201, **made))

    @routes.post("/silences/preview")
    @harmless
    def preview() -> Response:
        if keeper is None:
            return answer(503, error="this process has no rules to read a silence with")
        draft = draft_of(asked.content())  # the body that would add it, or as much of it as there is yet
        found = previewed(ledger, keeper.settings, draft.match, criticals=draft.criticals)
        return _fresh(answer(200, **preview_json(found)))

    @routes.delete("/silences/<silence_id>")
    def end(silence_id: str) -> Response:
        ended, was_ended_now = ledger.silence_ended(silence_id, current().name)
        if not was_ended_now:
            auditing.nothing_done()
        if keeper is not None:
            keeper.look()
        return _one(ended, silence_id)


def draft_of(content: dict[str, Any]) -> Draft:
    """A silence as JSON gives it: `match`, `reason`, `author`, `ends_at` or `for`; `starts_at`, `criticals`."""
    unknown = sorted(content.keys() - {"match", "reason", "author", "ends_at", "for", "starts_at", "criticals"})
    if unknown:
        known = "match, reason, author, ends_at or for, starts_at, criticals"
        raise SilenceRefused([f"unknown key '{str(unknown[0])[:40]}'; a silence has: {known}"])
    if not isinstance(content.get("criticals", False), bool):
        raise SilenceRefused(["'criticals' is true or false"])
    return Draft(
        match=content.get("match"),
        until=_text(content, "ends_at") or _text(content, "for"),
        author=_text(content, "author"),
        reason=_text(content, "reason"),
        criticals=content.get("criticals", False),
        starts=_text(content, "starts_at"),
    )


def _text(content: dict[str, Any], name: str) -> str:
    value = content.get(name)
    if value is not None and not isinstance(value, str):
        raise SilenceRefused([f"'{name}' is a text"])
    return value or ""


def _one(found: dict[str, Any] | None, wanted: str) -> Response:
    return answer(404, error=f"there is no silence '{wanted[:80]}'") if found is None else _fresh(answer(200, **found))


def _fresh(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
