"""bridge/sources/README.md against the code: each source's section, examples that load, samples that find a rule."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.config.loader import load_settings
from bridge.config.models import Settings
from bridge.destinations import DESTINATIONS
from bridge.domain.alert import Alert, Severity, Status, Webhook
from bridge.entrypoints.cli.sending import sample_bytes, sample_names
from bridge.rules.book import RuleBook
from bridge.sources import SOURCES
from bridge.sources.base import WatchesUpstream
from bridge.wiring import rule_book, sources
from tests.unit.test_documents import ROOT, block, fenced, rows_of

COOKBOOK = (ROOT / "bridge" / "sources" / "README.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", COOKBOOK, re.DOTALL | re.MULTILINE))
ACCOUNTS = (ROOT / "bridge.yaml").read_text(encoding="utf-8").partition("\naccounts:\n")[2]
ANSWERS = "Answers"
VARIABLE = re.compile(r"\$\{([A-Z_]+)\}")


def kind_of(section: str) -> str:
    """The type a section is about: that of its first `sources:`."""
    return re.findall(r"\btype: (\w+)", "".join(entries_of(section)))[0]


def entries_of(section: str) -> list[str]:
    """The examples of bridge.yaml."""
    return [text for text in fenced(SECTIONS[section], "yaml") if text.startswith("sources:")]


def rules_of(section: str) -> list[str]:
    """The examples of rule files."""
    return [text for text in fenced(SECTIONS[section], "yaml") if text.startswith("rules:")]


def vendors() -> list[str]:
    return [section for section in SECTIONS if section != ANSWERS]


def configured(folder: Path, section: str) -> tuple[Settings, RuleBook]:
    """A bridge with everything a section says; anything odd in it fails the test."""
    entries = "".join(text.removeprefix("sources:\n") for text in entries_of(section))
    (folder / "templates").symlink_to(ROOT / "templates")
    (folder / "rules").mkdir()
    (folder / "bridge.yaml").write_text(f"sources:\n{entries}accounts:\n{ACCOUNTS}", encoding="utf-8")
    nothing = "  - {id: any, match: {}, incident: {title: t, service: Catch-all}}\n"
    rules = "".join(text.removeprefix("rules:\n") for text in rules_of(section)) or nothing
    defaults = "defaults: {account: pagerduty-prod}\nunmatched: record\n"
    (folder / "rules" / "first.yaml").write_text(f"{defaults}rules:\n{rules}", encoding="utf-8")
    environ = {name: f"a-secret-of-{name}" for name in VARIABLE.findall(entries)}
    settings = load_settings(folder / "bridge.yaml", environ, sources=SOURCES, destinations=DESTINATIONS)
    assert settings.warnings == ()
    book, warnings = rule_book(settings)
    assert warnings == ()
    return settings, book


def alerts_in(settings: Settings, name: str, body: bytes, headers: Mapping[str, str] | None = None) -> list[Alert]:
    webhook = Webhook(
        source=name,
        headers=headers or {"content-type": "application/json"},
        body=body,
        received_at=datetime(2026, 1, 5, tzinfo=UTC),
    )
    return [one for one in sources(settings)[name].alerts_in(webhook) if isinstance(one, Alert)]


def test_every_source_has_one_section() -> None:
    assert sorted(kind_of(section) for section in vendors()) == sorted(SOURCES)


def test_the_table_of_answers_has_every_source() -> None:
    rows = rows_of(block(COOKBOOK, "answers"))
    assert [row[0] for row in rows] == [f"`{kind}`" for kind in sorted(SOURCES)]
    assert all(row[1] and row[2] and row[4] for row in rows)


def test_every_section_is_listed_at_the_top() -> None:
    listed = re.findall(r"^- \[(.*?)\]\(#([\w-]+)\) `(\w+)`$", COOKBOOK, re.MULTILINE)
    assert [title for title, _, _ in listed] == vendors()
    assert [kind for _, _, kind in listed] == [kind_of(section) for section in vendors()]
    for title, anchor, _ in listed:
        assert anchor == re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("section", vendors())
def test_what_a_section_says_loads_and_its_samples_find_their_rule(section: str, tmp_path: Path) -> None:
    settings, book = configured(tmp_path, section)
    kind = kind_of(section)
    name = next(name for name, one in settings.sources.items() if one.type == kind)
    if isinstance(sources(settings)[name], WatchesUpstream):  # no rule ever sees what it says
        assert rules_of(section) == []
        return
    first = book.rules[0].id
    took: dict[str, list[str]] = {}
    for sample in sample_names(kind):
        for alert in alerts_in(settings, name, sample_bytes(kind, sample)):
            took.setdefault(sample, []).extend(match.rule for match in book.match(alert) if match.matched)
    assert any(first in rules for rules in took.values()), f"no sample finds rule {first}: {took}"


@pytest.mark.parametrize("section", vendors())
def test_a_section_names_its_samples_what_a_rule_can_use_and_how_answers_are_taken(section: str) -> None:
    text = " ".join(SECTIONS[section].split())
    named = re.search(r"Samples?: (.*?)(?:\. |: `incident-bridge|$)", text)
    assert named is not None
    assert set(sample_names(kind_of(section))) <= set(re.findall(r"`(\w+)`", named[1]))
    assert re.search(r"\*{0,2}A rule can use\*{0,2}", text)
    assert re.search(r"Answers: \w", text)


def test_every_command_of_the_cookbook_sends_to_a_source_it_configures(tmp_path: Path) -> None:
    for number, section in enumerate(vendors()):
        folder = tmp_path / str(number)
        folder.mkdir()
        settings, _ = configured(folder, section)
        for name, sample in re.findall(r"incident-bridge send ([\w-]+) --sample (\w+)", SECTIONS[section]):
            assert name in settings.sources or name.endswith("-test"), (section, name)
            assert sample in sample_names(kind_of(section)), (section, sample)


@pytest.mark.parametrize("section", vendors())
def test_every_address_a_section_gives_is_that_of_a_source_it_configures(section: str, tmp_path: Path) -> None:
    settings, _ = configured(tmp_path, section)
    given = set(re.findall(r"https://(?:[^/\s]*@)?bridge\.example\.com/webhooks/([\w-]+)", SECTIONS[section]))
    assert given
    assert given <= set(settings.sources)


@pytest.mark.parametrize("section", vendors())
def test_what_is_pasted_into_a_sender_is_well_formed(section: str) -> None:
    for text in fenced(SECTIONS[section], "json"):
        assert isinstance(json.loads(text), dict)
    for text in fenced(SECTIONS[section], "yaml"):
        assert isinstance(yaml.safe_load(VARIABLE.sub("x", text)), dict)


def pasted(section: str, language: str, values: Mapping[str, Any], of_json: str) -> bytes:
    """The body of a section as its sender posts it; every variable in it must have a value."""
    (body,) = [text for text in fenced(SECTIONS[section], language) if text.startswith("{")]
    return re.sub(of_json, lambda found: str(values[found[1]]), body).encode()


KIBANA = {
    "rule.id": "r-1",
    "rule.name": "Errors per host",
    "rule.type": "logs.alert.document.count",
    "rule.tags": "team:shop,prod",
    "rule.url": "https://kibana.example.com/app/r-1",
    "rule.spaceId": "default",
    "alert.id": "shop-3",
    "alert.uuid": "u-1",
    "alert.actionGroup": "logs.threshold.fired",
    "alert.flapping": "false",
    "date": "2026-01-05T10:00:00.000Z",
    "context.reason": "412 entries",
}


def test_the_body_for_kibana_tells_everything(tmp_path: Path) -> None:
    settings, _ = configured(tmp_path, "Kibana")
    over = {**KIBANA, "alert.actionGroup": "recovered", "date": "2026-01-05T10:05:00.000Z", "context.reason": ""}
    first, last = (
        alerts_in(settings, "kibana", pasted("Kibana", "json", values, r"\{\{([\w.]+)\}\}"))[0]
        for values in (KIBANA, over)
    )
    assert (first.status, last.status) == (Status.FIRING, Status.RESOLVED)
    assert (first.fingerprint, first.episode) == (last.fingerprint, last.episode)
    assert (first.title, first.severity, first.description) == (
        "Errors per host (shop-3)",
        Severity.ERROR,
        "412 entries",
    )
    assert (first.labels["team"], first.labels["prod"], first.labels["space"]) == ("shop", "true", "default")


NEWRELIC = {
    "json issueId": '"i-1"',
    "json issuePageUrl": '"https://one.newrelic.com/i-1"',
    "json annotations.title.[0]": '"Checkout fails"',
    "json priority": '"CRITICAL"',
    "json entitiesData.names": '["shop-api", "shop-web"]',
    "json state": '"ACTIVATED"',
    "json triggerEvent": '"STATE_CHANGE"',
    "createdAt": "1767607200000",
    "updatedAt": "1767607200000",
    "json acknowledgedAt": "null",
    "json owner": '"N/A"',
    "json accumulations.source": '["newrelic"]',
    "json accumulations.policyName": '["Golden signals"]',
    "json accumulations.conditionName": '["Checkout errors"]',
    "json workflowName": '"To bridge"',
}


def test_the_payload_for_new_relic_tells_who_took_an_issue_and_when_it_is_over(tmp_path: Path) -> None:
    settings, _ = configured(tmp_path, "New Relic")
    taken = {**NEWRELIC, "json owner": '"A. Person"', "json acknowledgedAt": "1767607300000"}
    closed = {**taken, "json state": '"CLOSED"', "updatedAt": "1767607400000"}
    fires, takes, ends = (
        alerts_in(settings, "newrelic", pasted("New Relic", "text", values, r"\{\{ (.*?) \}\}"))[0]
        for values in (NEWRELIC, taken, closed)
    )
    assert (fires.status, takes.status, ends.status) == (Status.FIRING, Status.ACKNOWLEDGED, Status.RESOLVED)
    assert fires.fingerprint == takes.fingerprint == ends.fingerprint
    assert (fires.title, fires.severity) == ("Checkout fails", Severity.CRITICAL)
    assert (fires.labels["policy"], fires.labels["entity"]) == ("Golden signals", "shop-api,shop-web")
    assert [link.href for link in fires.links] == ["https://one.newrelic.com/i-1"]


def test_the_fields_of_the_generic_example_read_a_ticket(tmp_path: Path) -> None:
    settings, _ = configured(tmp_path, "Generic")
    ticket = {"subject": "Cannot pay", "state": 2, "rank": 4, "nr": 17, "text": "Since noon", "kind": "ticket"}
    page = "https://desk.example.com/17"
    body: dict[str, Any] = {"desk": "eu", "sent": "2026-01-05T12:00:00Z", "ticket_event": {**ticket, "page": page}}
    (fires,) = alerts_in(settings, "helpdesk", json.dumps(body).encode())
    assert (fires.title, fires.status, fires.severity) == ("Cannot pay", Status.FIRING, Severity.CRITICAL)
    assert fires.description == "Since noon (from nobody)"
    assert dict(fires.labels) == {"desk": "eu"}
    assert [link.href for link in fires.links] == [page]
    over = {**body, "ticket_event": {**body["ticket_event"], "state": 4}}
    (ends,) = alerts_in(settings, "helpdesk", json.dumps(over).encode())
    assert (ends.status, ends.fingerprint) == (Status.RESOLVED, fires.fingerprint)
    comment = {**body, "ticket_event": {**body["ticket_event"], "kind": "comment"}}
    assert alerts_in(settings, "helpdesk", json.dumps(comment).encode()) == []
