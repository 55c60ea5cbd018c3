"""The rules page: each rule with how often it decided, when last, what went wrong with it, and its file's lines."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from flask import render_template, request

from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.reads import rfc3339
from bridge.adapters.ledger.tallies import Sum
from bridge.config.rule_files import RuleFiles
from bridge.entrypoints.web.ui.words import plural

MONTH = timedelta(days=30)
DAY = timedelta(hours=24)
LINES_MAX = 3_000  # of one file that are shown


def rows_of(
    rules: Iterable[Mapping[str, Any]],
    hits: Mapping[str, Sum],
    broken: Iterable[Mapping[str, Any]],
    dead: Iterable[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """The rules as they are tried, each with `day`, `month`, `last` (the hour of its newest alert) and `errors`.

    `broken` are templates that failed within a day, `dead` causes of dead letters; both name their rule and a number.
    """
    errors: dict[str, list[str]] = {}
    for one in broken:
        errors.setdefault(one["rule"], []).append(f"a template failed {plural(one['number'], 'time')} within a day")
    for one in dead:
        errors.setdefault(one["rule"], []).append(f"{one['number']:,} dead: {str(one['reason']).replace('_', ' ')}")
    found = []
    for rule in rules:
        hit = hits.get(rule["id"])
        found.append(
            {
                **rule,
                "day": hit.lately if hit else 0,
                "month": hit.number if hit else 0,
                "last": rfc3339(hit.last) if hit else None,
                "errors": errors.get(rule["id"], []),
            }
        )
    return found


def lines_of(files: str, name: str) -> Sequence[str] | None:
    """The lines of one rule file of a stored book; None when it has no such file."""
    for shown, text in RuleFiles.from_json(files).rules:
        if shown == name:
            return text.splitlines()[:LINES_MAX]
    return None


def rendered(ledger: Ledger, rules: Sequence[Mapping[str, Any]], book: str) -> str | tuple[str, int]:
    """The page, with the lines of `?file=` as they are in force."""
    broken = ledger.troubles(book)["templates"]
    rows = rows_of(rules, ledger.hits(MONTH, DAY), broken, ledger.dead_causes())
    name, lines = request.args.get("file", ""), None
    if name:
        stored = ledger.book(book)
        lines = None if stored is None else lines_of(stored.files, name)
        if lines is None:
            sentence = f"There is no file {name[:80]} among the rules in force"
            return render_template("problem.html", sentence=sentence), 404
    return render_template("rules.html", rules=rows, file=name, lines=lines)
