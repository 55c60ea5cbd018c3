"""What the Rules page says of the rules in force, and its reload: what changes is shown first, then it may be taken."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request

from bridge.adapters.ledger import Ledger
from bridge.domain.access import Role
from bridge.entrypoints.reloading import Reloaded, Reloader, ReloadRefused, State, book_json
from bridge.entrypoints.shadowing import PAGE_LOOKS_AT_MAX, really_text, shadow_json, shadow_rules
from bridge.entrypoints.web import auditing
from bridge.entrypoints.web.access import current, harmless, needs
from bridge.entrypoints.web.keeper import Keeper
from bridge.entrypoints.web.ui.needs import Need

WITHIN = timedelta(days=7)  # the report on shadow rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is shown of the rules in force, and reloads them."""

    ledger: Ledger
    reloader: Reloader | None
    keeper: Keeper | None
    book: Callable[[], str]  # hash of the one this process decides with


def add_pages(routes: Blueprint, of: Rules) -> None:
    """The two actions, and what the Rules page includes."""

    @routes.context_processor
    def _told() -> dict[str, Any]:
        return {
            "rules_in_force": lambda: book_json(of.ledger, of.reloader, of.book()),
            "shadow_report": lambda: _shadowed(of),
        }

    @routes.post("/rules/check")
    @harmless
    def check_rules() -> Any:
        return _reloaded(of, dry_run=True, digest=None)

    @routes.post("/rules/reload")
    @needs(Role.ADMIN)
    def reload_rules() -> Any:
        return _reloaded(of, dry_run=False, digest=request.form.get("digest") or None)


def _reloaded(of: Rules, *, dry_run: bool, digest: str | None) -> Any:
    if of.reloader is None:
        return auditing.not_done("This process has no rules to reload.", "/rules")
    try:
        done = of.reloader.reload(f"the Rules page ({current().name})", dry_run=dry_run, digest=digest)
    except ReloadRefused as error:
        return auditing.not_done(f"Nothing was reloaded: {error}.", "/rules")
    if done.state in (State.TAKEN, State.UNCHANGED) and not dry_run:
        sentence = done.sentence[0].upper() + done.sentence[1:]
        flash(f"{sentence}.")
        return redirect("/rules", 303)
    return render_template("reload.html", done=done, title=_title(done)), 422 if done.problems else 200


def need_of_rules(ledger: Ledger) -> tuple[Need, ...]:
    """What needs a person because of the rules: a refused reload."""
    state = ledger.rules_state()
    if not state.refused:
        return ()
    first = state.refused[0]
    more = f"{first['file']}:{first['line']}: {first['message']}; the last good rules decide on"
    mend = "Mend the file; under 'incident-bridge up' it is taken by itself, else reload it."
    links = (("/rules", "See what is wrong"),)
    return (Need(what="Changed rules are not in force", more=more, mend=mend, links=links),)


def _shadowed(of: Rules) -> dict[str, Any] | None:
    """What shadow rules would have done in a week; None when no rule in force is one: then nothing is looked at."""
    rules = () if of.keeper is None else shadow_rules(of.keeper.current().book)
    if not rules:
        return None
    found, note = of.ledger.shadowed(WITHIN, rules=rules, most=PAGE_LOOKS_AT_MAX)
    return {"rules": [{**shadow_json(one), "told": really_text(one.really)} for one in found], "note": note}


def _title(done: Reloaded) -> str:
    match done.state:
        case State.REFUSED:
            return "The files cannot be taken as they are"
        case State.UNCHANGED:
            return "The files are what is in force"
    return "What a reload would change"
