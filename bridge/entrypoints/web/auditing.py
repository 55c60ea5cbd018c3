"""Every successful change under a blueprint is in the audit by itself, so that none can be forgotten.

`recorded(routes, did)` is all a blueprint needs. What is written follows from the view function's name, the address and
the form; a view function says it better with `did(...)`, any number of times, or says `nothing_done()`. What it says it
did stays true however the request ends.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, flash, g, redirect, request

from bridge.adapters import logs
from bridge.domain.access import Deed
from bridge.domain.errors import LedgerUnavailable
from bridge.entrypoints.web import access, asked

VALUE_MAX_CHARS = 300
NOT_DONE = "not done"  # the category of a sentence that says why nothing happened
_SECRET_WORDS = ("token", "secret", "password", "credential", "auth", "session", "cookie", "key")
_LOGGED_AS = {"delivery": "delivery_id", "incident": "incident", "account": "account", "event": "event_id"}


def recorded(routes: Blueprint, write: Callable[[Deed], None]) -> None:
    """Record what requests said they did, and each change answered below 400 that said nothing, with `write`."""

    @routes.after_request
    def _record(response: Response) -> Response:
        if "who" in g and not access.is_harmless(request):
            by_itself = [_by_itself()] if response.status_code < 400 else []
            for action, what, detail in g.get("deeds", by_itself):
                _written(write, Deed(who=access.current(), action=action, what=what, detail=detail))
        return response


def did(action: str, what: str = "", **detail: object) -> None:
    """This request did this; instead of what its address and form say. `what` is a word and an id: `incident 01…`."""
    g.setdefault("deeds", []).append((action, what, detail))


def nothing_done() -> None:
    """This request changed nothing but what it says with `did`, however it is answered."""
    g.setdefault("deeds", [])


def not_done(sentence: str, back: str) -> Any:
    """A form that changed nothing: the page at `back` says why."""
    nothing_done()
    flash(sentence, NOT_DONE)
    return redirect(back, 303)


def _written(write: Callable[[Deed], None], deed: Deed) -> None:
    word, _, name = deed.what.partition(" ")
    about = {_LOGGED_AS[word]: name} if word in _LOGGED_AS else {"object": deed.what or None}
    logs.get().info(logs.ACTION_DONE, action=deed.action, actor=deed.who.name, how=deed.who.how.value, **about)
    try:
        write(deed)
    except LedgerUnavailable as error:  # it is done, and the line above says who did it
        logs.get().error(logs.LEDGER_UNAVAILABLE, reason=f"not in the audit: {error}")


def _by_itself() -> tuple[str, str, Mapping[str, object]]:
    named = dict(request.view_args or {})
    action = str(named.pop("action", (request.endpoint or "").rpartition(".")[2]))
    words = [f"{name.removesuffix('_id')} {value}" for name, value in named.items()]
    return action.replace("_", " "), " ".join(words), said()


def said() -> dict[str, object]:
    """The fields of this request's form or JSON object, shortened, and none that may hold a secret."""
    fields: Mapping[str, Any] = {**request.form.to_dict(), **asked.content()}
    return {
        str(name)[:80]: value if isinstance(value, bool | int | float) else str(value)[:VALUE_MAX_CHARS]
        for name, value in fields.items()
        if not any(word in str(name).lower() for word in _SECRET_WORDS)
    }
