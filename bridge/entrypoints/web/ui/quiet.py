"""The Quiet page: silences that hold, those that are over, and a new one, tried over the last day before it is made."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request

from bridge.adapters.ledger import Ledger, Preview
from bridge.domain.access import How
from bridge.entrypoints.silencing import Draft, SilenceRefused, added, preview_sentence, previewed
from bridge.entrypoints.web import auditing
from bridge.entrypoints.web.access import current
from bridge.entrypoints.web.keeper import Keeper

LENGTHS = ("30m", "1h", "2h", "4h", "8h", "1d", "3d", "7d", "30d")
LABELS_MAX = 12  # of an alert, as matchers to begin with
OVER_SHOWN = 50
TEXT_MAX_CHARS = 10_000
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """What the page shows and changes."""

    ledger: Ledger
    keeper: Keeper | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What the form holds."""

    match: str = ""
    length: str = "2h"
    until: str = ""
    author: str = ""
    reason: str = ""
    criticals: bool = False


def add_pages(routes: Blueprint, on: Quiet) -> None:
    """The page and its two actions."""
    no_problems: tuple[str, ...] = ()

    @routes.get("/quiet")
    def quiet() -> str | tuple[str, int]:
        form, problems = _form(request.args), no_problems
        event_id = request.args.get("event", "")
        if event_id and not form.match:
            event = on.ledger.event(event_id)
            alerts = [] if event is None else [one for one in event["alerts"] if one["status"] is not None]
            if not alerts:
                return _page(on, form, (f"There is no alert in an event {event_id[:80]}",)), 404
            form = _with_match(form, match_of_alert(alerts[0]))
        preview = None
        if form.match:
            preview, problems = _tried(on, form)
        return _page(on, form, problems, preview), 400 if problems else 200

    @routes.post("/quiet")
    def silence() -> Any:
        form = _form(request.form)
        if on.keeper is None:
            return _page(on, form, ("This process has no rules to read a silence with",)), 503
        draft = Draft(
            match=form.match,
            until=form.until or form.length,
            author=form.author,
            reason=form.reason,
            criticals=form.criticals,
        )
        try:
            made = added(on.ledger, on.keeper.settings, draft)
        except SilenceRefused as error:
            return _page(on, form, error.sentences), 400
        on.keeper.look()
        flash(f"It is quiet: silence {made['id']} holds until {made['ends_at'][:16].replace('T', ' ')} UTC.")
        return redirect("/quiet", 303)

    @routes.post("/quiet/<silence_id>/end")
    def end(silence_id: str) -> Any:
        ended, was_ended_now = on.ledger.silence_ended(silence_id, current().name)
        if ended is None:
            return auditing.not_done("There is no such silence.", "/quiet")
        if not was_ended_now:
            return auditing.not_done("That silence was over already.", "/quiet")
        if on.keeper is not None:
            on.keeper.look()
        flash("The silence is over: what still fires pages within seconds.")
        return redirect("/quiet", 303)


def _page(on: Quiet, form: Form, problems: tuple[str, ...] = (), preview: Preview | None = None) -> str:
    items = on.ledger.silences().items
    standing = [{**one, "lines": lines_of(one["match"])} for one in items if one["state"] != "ended"]
    over = [{**one, "lines": lines_of(one["match"])} for one in items if one["state"] == "ended"]
    return render_template(
        "quiet.html",
        standing=standing,
        over=over[:OVER_SHOWN],
        form=form,
        lengths=LENGTHS,
        problems=problems,
        preview=preview,
        told=None if preview is None else preview_sentence(preview),
    )


def _form(given: Mapping[str, str]) -> Form:
    def text(name: str) -> str:
        return given.get(name, "").replace("\r\n", "\n")[:TEXT_MAX_CHARS].strip()

    who = current()
    known = "" if who.how is How.LOOPBACK else who.name
    return Form(
        match=text("match"),
        length=text("for") if text("for") in LENGTHS else "2h",
        until=text("until"),
        author=text("author") or known,
        reason=text("reason"),
        criticals=given.get("criticals") == "yes",
    )


def _with_match(form: Form, match: Mapping[str, Any]) -> Form:
    return Form(
        match="\n".join(lines_of(match)),
        length=form.length,
        until=form.until,
        author=form.author,
        reason=form.reason,
        criticals=form.criticals,
    )


def _tried(on: Quiet, form: Form) -> tuple[Preview | None, tuple[str, ...]]:
    if on.keeper is None:
        return None, ("This process has no rules to read a silence with",)
    try:
        return previewed(on.ledger, on.keeper.settings, form.match, criticals=form.criticals), ()
    except SilenceRefused as error:
        return None, error.sentences


def match_of_alert(alert: Mapping[str, Any]) -> dict[str, Any]:
    """Matchers that say this alert and those like it: its source with its labels, or its fingerprint without any."""
    labels = list(alert["labels"].items())[:LABELS_MAX]
    if not labels:
        return {"source": alert["source"], "fingerprint": alert["fingerprint"]}
    return {"source": alert["source"], **{f"labels.{name}": value for name, value in labels}}


def lines_of(match: Mapping[str, Any]) -> list[str]:
    """Conditions as YAML, a line each, that read as they are."""
    return [f"{_key(path)}: {json.dumps(wanted, ensure_ascii=False)}" for path, wanted in match.items()]


def _key(path: str) -> str:
    return path if _PLAIN_KEY.fullmatch(path) else json.dumps(path, ensure_ascii=False)
