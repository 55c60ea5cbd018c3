"""The rules page's rows: how often a rule decided, when last, and what went wrong with it."""

from datetime import UTC, datetime

from bridge.adapters.ledger.tallies import Sum
from bridge.config.rule_files import RuleFiles
from bridge.entrypoints.web.ui.rule_page import lines_of, rows_of

NOW = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
RULES = [{"id": name, "account": "pd", "mode": "live", "file": "rules/a.yaml", "line": 3} for name in ("db", "web")]


def test_hits_of_a_day_and_a_month_and_the_last_one_and_a_rule_that_never_matched() -> None:
    db, web = rows_of(RULES, {"db": Sum(number=43, lately=3, last=NOW.replace(minute=0))}, [], [])
    assert (db["day"], db["month"], db["last"]) == (3, 43, "2026-01-31T12:00:00.000Z")
    assert (web["day"], web["month"], web["last"]) == (0, 0, None)
    assert (db["id"], db["line"]) == ("db", 3)


def test_what_went_wrong_stands_with_its_rule() -> None:
    broken = [{"rule": "db", "number": 1200}]
    dead = [{"rule": "web", "number": 2, "reason": "not_found"}]
    db, web = rows_of(RULES, {}, broken, dead)
    assert (db["errors"], web["errors"]) == (["a template failed 1,200 times within a day"], ["2 dead: not found"])


def test_the_lines_are_those_of_the_book_in_force_and_of_no_other_file() -> None:
    files = RuleFiles(
        rules=(("rules/a.yaml", "rules:\n  - id: db\n"),), templates={}, rules_folder="rules", templates_folder="t"
    ).as_json()
    assert lines_of(files, "rules/a.yaml") == ["rules:", "  - id: db"]
    assert lines_of(files, "../bridge.yaml") is None
