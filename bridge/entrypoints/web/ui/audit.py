"""The page that says who did what."""

from urllib.parse import urlencode

from flask import Blueprint, render_template, request

from bridge.adapters.ledger import Ledger
from bridge.entrypoints.web import asked

SHOWN = 50
_FILTERS = ("actor", "action")


def add(routes: Blueprint, ledger: Ledger) -> None:
    """The page's route."""

    @routes.get("/audit")
    def audit() -> str:
        filters = {name: request.args.get(name, "")[:200] for name in _FILTERS}
        page = ledger.audit(limit=SHOWN, before=asked.before(), **filters)
        kept = {name: value for name, value in filters.items() if value}
        older = None if page.next is None else "?" + urlencode({**kept, "before": page.next})
        return render_template("audit.html", entries=page.items, older=older, filters=filters)
