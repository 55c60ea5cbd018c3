"""Two rule books over the same traffic: each kind of difference is found where an incident opens, and nowhere else."""

import json
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from bridge.compare import Book, Change, Comparison, Difference, difference_json, names_served
from bridge.config.rulebook import load_rulebook
from bridge.destinations import IncidentIo, PagerDuty
from bridge.destinations.base import Destination
from bridge.domain.alert import Alert, Notice, Severity, Status
from bridge.domain.delivery import NamedThing
from bridge.wiring import AccountView

AT = datetime(2026, 8, 1, 10, 0, tzinfo=UTC)
DESTINATIONS: Mapping[str, Destination] = {
    "pd": PagerDuty(account="pd", token="t", from_="bot@example.com", defaults={"service": "Catch-all"}),
    "pd2": PagerDuty(account="pd2", token="t", from_="bot@example.com", defaults={"service": "Catch-all"}),
    "io": IncidentIo(account="io", token="t", defaults={"severity": "Minor"}),
}
OLD = """
defaults: {account: pd}
rules:
  - id: db
    match: {labels.team: db}
    incident: {title: 'DB: {{ alert.title }}', service: Postgres, urgency: high}
  - id: web
    match: {labels.team: web}
    incident: {title: '{{ alert.title }}', service: Web}
unmatched: record
"""


def book(folder: Path, text: str) -> Book:
    rules = folder / "rules"
    rules.mkdir(exist_ok=True)
    (rules / "rules.yaml").write_text(text, encoding="utf-8")
    views = {name: AccountView(name=name, destination=made) for name, made in DESTINATIONS.items()}
    loaded, _ = load_rulebook(rules, folder / "templates", views, {"lab"}, folder)
    return Book(rules=loaded, destinations=DESTINATIONS)


def comparison(folder: Path, *changes: tuple[str, str], old: str = OLD) -> Comparison:
    """The old rules, and the same with some of their text replaced."""
    new = old
    for before, after in changes:
        assert before in new
        new = new.replace(before, after)
    return Comparison(old=book(folder, old), new=book(folder, new))


def alert(name: str = "a", team: str = "db", status: Status = Status.FIRING, **changes: Any) -> Alert:
    given: dict[str, Any] = {
        "source": "lab",
        "source_type": "generic",
        "fingerprint": name,
        "status": status,
        "severity": Severity.CRITICAL,
        "title": f"{name} is down",
        "payload": {},
        "labels": MappingProxyType({"team": team, "host": "h1"}),
    }
    return Alert(**(given | changes))


def take(running: Comparison, *alerts: Alert) -> list[Difference]:
    return [one for number, each in enumerate(alerts) for one in running.take(f"e{number}", AT, (each,))]


def test_equal_books_never_differ(tmp_path: Path) -> None:
    running = comparison(tmp_path)
    traffic = [alert("a"), alert("b", "web"), alert("a", status=Status.RESOLVED), alert("a"), alert("c", "nobody")]
    assert take(running, *traffic) == []
    assert (running.events, running.alerts, running.opened) == (5, 5, (3, 3))
    assert not running.counts


def test_an_incident_that_no_rule_pages_for_any_more_is_gone(tmp_path: Path) -> None:
    running = comparison(tmp_path, ("labels.team: web", "labels.team: www"))
    (one,) = take(running, alert("a", "web"))
    assert (one.changes, one.new) == ((Change.GONE,), None)
    assert one.old is not None
    assert (one.old.rule, one.old.account, one.event, one.alert) == ("web", "pd", "e0", "a is down")
    assert one.details == ("no rule pages for it now",)


def test_an_incident_that_nobody_was_paged_for_before_is_added(tmp_path: Path) -> None:
    running = comparison(tmp_path, ("labels.team: web", "labels.team: [web, www]"))
    (one,) = take(running, alert("a", "www"))
    assert (one.changes, one.old, one.details) == ((Change.ADDED,), None, ("no rule paged for it",))


def test_a_rule_in_shadow_mode_pages_nobody(tmp_path: Path) -> None:
    running = comparison(tmp_path, ("  - id: web\n", "  - id: web\n    mode: shadow\n"))
    (one,) = take(running, alert("a", "web"))
    assert one.changes == (Change.GONE,)


def test_another_account_is_a_move_and_not_another_key(tmp_path: Path) -> None:
    running = comparison(tmp_path, ("  - id: web\n", "  - id: web\n    account: pd2\n"))
    (one,) = take(running, alert("a", "web"))
    assert one.changes == (Change.MOVED,)
    assert one.details == ("from account pd to pd2",)


def test_a_move_to_another_vendor_is_one(tmp_path: Path) -> None:
    text = "    incident: {title: '{{ alert.title }}', service: Web}"
    changed = "    account: io\n    incident: {name: '{{ alert.title }}'}"
    (one,) = take(comparison(tmp_path, (text, changed)), alert("a", "web"))
    assert one.changes == (Change.MOVED,)


@pytest.mark.parametrize(("name", "said"), [("Nonesuch", "field severity 'Minor' becomes 'Major'"), ("Major", None)])
def test_another_default_differs_where_the_account_lacks_the_name(tmp_path: Path, name: str, said: str | None) -> None:
    text = f"""
rules:
  - {{id: io, account: io, match: {{}}, incident: {{name: x, severity: {name}}}}}
unmatched: record
"""
    there = tuple(NamedThing(id=one, name=one) for one in ("Minor", "Major"))
    before = replace(book(tmp_path, text), instead=names_served({("io", "severity"): there}))
    louder = IncidentIo(account="io", token="t", defaults={"severity": "Major"})
    after = replace(before, destinations={**DESTINATIONS, "io": louder})
    found = take(Comparison(old=before, new=after), alert())
    assert [one.details for one in found] == ([(said,)] if said else [])


def test_another_title_is_told_with_both(tmp_path: Path) -> None:
    (one,) = take(comparison(tmp_path, ("DB: ", "Database: ")), alert())
    assert one.changes == (Change.RETITLED,)
    assert one.details == ("title 'DB: a is down' becomes 'Database: a is down'",)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("match: {labels.team: db}", "match: {labels.team: db}\n    dedup: [source, labels.host]"),
        ("service: Postgres", "service: Postgres, incident_key: 'own'"),
    ],
)
def test_another_identity_is_another_key(tmp_path: Path, before: str, after: str) -> None:
    (one,) = take(comparison(tmp_path, (before, after)), alert())
    assert one.changes == (Change.REKEYED,)


def test_another_service_is_another_key_for_it_is_its_scope(tmp_path: Path) -> None:
    (one,) = take(comparison(tmp_path, ("service: Postgres", "service: Databases")), alert())
    assert one.changes == (Change.REKEYED, Change.CHANGED)
    assert one.details[0] == 'key from ["Postgres","lab","a"] becomes ["Databases","lab","a"]'


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("urgency: high", "urgency: low", "field urgency 'high' becomes 'low'"),
        ("urgency: high", "urgency: high, priority: P1", "field priority nothing becomes 'P1'"),
        ("  - id: db\n", "  - id: db\n    severity: info\n", "severity critical becomes info"),
    ],
)
def test_another_loudness_is_told(tmp_path: Path, before: str, after: str, said: str) -> None:
    (one,) = take(comparison(tmp_path, (before, after)), alert())
    assert (one.changes, one.details) == ((Change.REPRIORITISED,), (said,))


def test_any_other_field_is_told_by_its_name(tmp_path: Path) -> None:
    (one,) = take(comparison(tmp_path, ("urgency: high", "urgency: high, body: 'Look.'")), alert())
    assert (one.changes, one.details) == ((Change.CHANGED,), ("other fields: body",))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("on_acknowledge: acknowledge", "on_acknowledge ignore becomes acknowledge"),
        ("on_resolve: ignore", "on_resolve resolve becomes ignore"),
        (
            "on_resolve: {resolve: {resolution: 'Over: {{ alert.title }}'}}",
            "resolution nothing becomes 'Over: a is down'",
        ),
        ("on_resolve: {note: Over}", "on_resolve resolve becomes note; resolution nothing becomes 'Over'"),
        ("hold_resolve: 90s", "hold_resolve 0 s becomes 90 s"),
        ("reopen_within: 1h", "reopen_within 0 s becomes 3600 s"),
        ("fold_by: [labels.host]", 'fold_by its own rule becomes ["h1"]'),
        ("on_severity_rise: ignore", "on_severity_rise as without it becomes ignore"),
        (
            "on_severity_rise: {update: {urgency: high}}",
            'on_severity_rise as without it becomes {"urgency":"high"}',
        ),
    ],
)
def test_what_is_only_handled_differently_afterwards_is_told_with_both(tmp_path: Path, setting: str, said: str) -> None:
    running = comparison(tmp_path, ("  - id: db\n", f"  - id: db\n    {setting}\n"))
    (one,) = take(running, alert())
    assert (one.changes, one.details) == ((Change.HANDLED,), (said,))
    assert running.counts == {Change.HANDLED: 1}


def test_another_name_of_a_rule_is_no_other_fold(tmp_path: Path) -> None:
    assert take(comparison(tmp_path, ("  - id: db\n", "  - id: postgres\n")), alert()) == []


def test_a_coarser_key_joins_what_were_two_incidents(tmp_path: Path) -> None:
    coarse = ("match: {labels.team: db}", "match: {labels.team: db}\n    dedup: [source, labels.host]")
    running = comparison(tmp_path, coarse)
    first, second = take(running, alert("a"), alert("b"))
    assert first.changes == (Change.REKEYED,)
    assert (second.changes, second.details) == ((Change.GONE,), ("it joins another incident under rule db",))
    assert running.opened == (2, 1)


def test_a_finer_key_splits_what_was_one_incident(tmp_path: Path) -> None:
    old = OLD.replace("match: {labels.team: db}", "match: {labels.team: db}\n    dedup: [source, labels.host]")
    running = comparison(tmp_path, ("dedup: [source, labels.host]", "dedup: [source, fingerprint]"), old=old)
    _, second = take(running, alert("a"), alert("b"))
    assert (second.changes, second.details) == ((Change.ADDED,), ("it joined another incident under rule db",))


def test_a_difference_is_told_once_per_episode(tmp_path: Path) -> None:
    running = comparison(tmp_path, ("DB: ", "Database: "))
    over = alert(status=Status.RESOLVED)
    assert len(take(running, alert(), alert(), alert(title="a is still down"))) == 1
    assert len(take(running, over, alert())) == 1
    assert running.counts == {Change.RETITLED: 2}


def test_a_rule_that_leaves_resolving_to_people_keeps_its_incident(tmp_path: Path) -> None:
    running = comparison(tmp_path, ("  - id: db\n", "  - id: db\n    on_resolve: ignore\n"))
    over = alert(status=Status.RESOLVED)
    first, second = take(running, alert(), over, alert())
    assert (first.changes, second.changes) == ((Change.HANDLED,), (Change.GONE,))
    assert running.opened == (2, 1)


def test_of_several_rules_that_match_each_is_compared_with_its_own(tmp_path: Path) -> None:
    both = OLD.replace("  - id: web\n    match: {labels.team: web}", "  - id: web\n    match: {labels.team: [web, db]}")
    both = both.replace("  - id: db\n", "  - id: db\n    continue: true\n")
    running = comparison(tmp_path, ("DB: ", "Database: "), old=both)
    (one,) = take(running, alert())
    assert one.old is not None
    assert (one.old.rule, one.changes) == ("db", (Change.RETITLED,))


def test_a_renamed_rule_alone_is_no_difference(tmp_path: Path) -> None:
    assert take(comparison(tmp_path, ("id: db", "id: databases")), alert()) == []


def test_notices_count_as_no_alerts(tmp_path: Path) -> None:
    running = comparison(tmp_path)
    assert running.take("e", AT, (Notice(source="lab", source_type="generic", reason="a test", payload={}),)) == ()
    assert (running.events, running.alerts) == (1, 0)


def test_a_difference_is_plain_json(tmp_path: Path) -> None:
    (one,) = take(comparison(tmp_path, ("DB: ", "Database: ")), alert())
    told = difference_json(one)
    assert json.loads(json.dumps(told)) == told
    assert told["received_at"] == "2026-08-01T10:00:00Z"
    assert (told["old"]["title"], told["new"]["title"]) == ("DB: a is down", "Database: a is down")


def test_traffic_of_any_length_is_not_held(tmp_path: Path) -> None:
    running = comparison(tmp_path, ("DB: ", "Database: "))

    def pass_by(first: int, number: int) -> None:
        for index in range(first, first + number):
            body = {"filler": "x" * 10_000}
            for status in (Status.FIRING, Status.RESOLVED):
                running.take(
                    f"e{index}", AT + timedelta(seconds=index), (alert(f"p{index}", status=status, payload=body),)
                )

    pass_by(0, 100)
    tracemalloc.start()
    pass_by(100, 300)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert running.counts == {Change.RETITLED: 400}
    assert peak < 500_000  # 600 webhooks of 10 kB each went by
