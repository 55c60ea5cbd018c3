"""What `check` warns of in one rule: keys made of what changes, names without a fallback, paths that no payload has."""

from dataclasses import replace
from pathlib import Path

import pytest

from bridge.config.rule_lint import volatility
from bridge.config.rulebook import load_rulebook
from bridge.domain.errors import Grade
from bridge.rules.payload_paths import SeenPayloads, unseen_paths
from bridge.rules.references import references, references_in_template
from tests.unit.test_rulebook import ACCOUNTS, DESTINATIONS, SOURCES, Account, load, written

RULE = """
rules:
  - id: one
    account: {account}
    match: {match}
    dedup: {dedup}
    incident: {incident}
unmatched: record
"""
PLAIN = "{title: x, service: Catch-all}"


def warned(root: Path, *, account: str = "pagerduty-prod", dedup: str = "[source]", incident: str = PLAIN) -> list[str]:
    """Of a rule for accounts without defaults."""
    bare = {
        name: Account(name=name, destination=replace(one, defaults={}))  # type: ignore[type-var]
        for name, one in DESTINATIONS.items()
    }
    text = RULE.format(account=account, match="{source: lab}", dedup=dedup, incident=incident)
    written(root, a=text)
    _, problems = load_rulebook(root / "rules", root / "templates", bare, SOURCES, root)
    assert all(problem.grade is Grade.WARNING for problem in problems)
    return [f"{problem.place}: {problem.message}" for problem in problems]


@pytest.mark.parametrize(
    "path",
    [
        *("status", "severity", "title", "description", "reported_at", "starts_at", "ends_at", "payload"),
        *("payload.alert_transition", "payload.date", "payload.last_updated", "payload.value", "payload.event_id"),
        *("payload.eventId", "payload['current value']", "labels.message", "payload.a.0.timestamp", "payload.state"),
    ],
)
def test_a_part_that_changes_while_a_problem_lasts_is_warned_of_where_it_stands(tmp_path: Path, path: str) -> None:
    quoted = f'"{path}"' if "'" in path else f"'{path}'"
    (sentence,) = warned(tmp_path, dedup=f"[source, {quoted}]")
    assert sentence.startswith(f"rules/a.yaml:6:21: 'dedup' is made of '{path}', which does not stay the same")


@pytest.mark.parametrize(
    "path",
    [
        *(
            "source",
            "fingerprint",
            "episode",
            "labels.service",
            "labels.team",
            "payload.alert_id",
            "payload.monitor.id",
        ),
        *("payload.rule_name", "payload.status_id", "payload.host", "payload.issue.key", "payload.incident_id"),
    ],
)
def test_a_part_that_names_the_problem_is_not(path: str) -> None:
    assert volatility(path) is None


def test_a_key_of_ones_own_is_looked_through_as_well(tmp_path: Path) -> None:
    incident = '{title: x, service: y, incident_key: "{{ alert.labels.host }}/{{ payload.value }}"}'
    text = RULE.format(account="pagerduty-prod", match="{source: lab}", dedup="x", incident=incident)
    _, problems = load(written(tmp_path, a="\n".join(line for line in text.split("\n") if "dedup" not in line)))
    assert [problem.message.split(",")[0] for problem in problems] == ["'incident_key' is made of 'payload.value'"]


@pytest.mark.parametrize(
    ("account", "incident", "place"),
    [
        ("pagerduty-prod", '{title: x, service: "{{ alert.labels.service }}"}', "rules/a.yaml:7:35"),
        ("pagerduty-prod", "{title: x, service: {from: labels.service, map: {a: A}}}", "rules/a.yaml:7:35"),
        ("pagerduty-prod", "{title: x, service: {expr: payload.service}}", "rules/a.yaml:7:35"),
        ("incident-io", "{name: x, severity: {from: severity, map: {critical: Major}}}", "rules/a.yaml:7:35"),
    ],
)
def test_a_required_name_from_data_without_a_fallback_is_warned_of(
    tmp_path: Path, account: str, incident: str, place: str
) -> None:
    (sentence,) = warned(tmp_path, account=account, incident=incident)
    assert sentence.startswith(place)
    assert "has no fallback" in sentence


@pytest.mark.parametrize(
    ("account", "incident"),
    [
        ("pagerduty-prod", "{title: x, service: {from: labels.service, map: {a: A}, else: B}}"),
        ("pagerduty-prod", "{title: x, service: Fixed}"),
        ("pagerduty-prod", "{title: x, service: y, priority: {from: severity, map: {critical: P1}}}"),
        ("incident-io", "{name: x, severity: {from: severity, map: {critical: Major}, else: Minor}}"),
    ],
)
def test_a_name_with_a_fallback_and_an_optional_one_are_not(tmp_path: Path, account: str, incident: str) -> None:
    assert warned(tmp_path, account=account, incident=incident) == []


def test_the_accounts_default_is_a_fallback(tmp_path: Path) -> None:
    incident = '{title: x, service: "{{ alert.labels.service }}"}'
    text = RULE.format(account="pagerduty-prod", match="{source: lab}", dedup="[source]", incident=incident)
    assert ACCOUNTS["pagerduty-prod"].destination.defaults
    assert load(written(tmp_path, a=text))[1] == ()


# -- paths


def test_references_are_paths_as_rules_write_them() -> None:
    text = "payload.a['b c'].items() and alert.title and alert.payload.x.0.y and alert.labels.team and 'payload.q'"
    assert list(references(text)) == ["payload.a['b c']", "title", "payload.x.0.y", "labels.team"]
    assert list(references_in_template("payload.a {{ payload.b }} {% if payload.c %}{% endif %}")) == [
        "payload.b",
        "payload.c",
    ]
    optional = "payload.a | default('') or payload.b is defined or payload.c"
    assert list(references(optional, optional=False)) == ["payload.c"]


def unseen(root: Path, match: str, incident: str, payloads: list[object]) -> list[tuple[str, str, str | None]]:
    text = RULE.format(account="pagerduty-prod", match=match, dedup="[source, payload.id]", incident=incident)
    book, _ = load(written(root, a=text))
    seen = SeenPayloads()
    for payload in payloads:
        seen.add(payload)
    types = {"datadog": "datadog", "zendesk": "zendesk", "lab": "generic"}
    return [(one.use.path.text, one.step, one.meant) for one in unseen_paths(book, {"datadog": seen}, types)]


SEEN = {"id": 1, "detail": {"priority": "URGENT", "note": None}, "tags": {"a": "b"}, "list": [{"x": 1}]}


@pytest.mark.parametrize(
    ("path", "step", "meant"),
    [
        ("payload.prioritty", "prioritty", None),
        ("payload.detail.prioritty", "prioritty", "priority"),
        ("payload.detial.priority", "detial", "detail"),
        ("payload.list.0.y", "y", None),
        ("payload.id.x", "x", None),
    ],
)
def test_a_path_that_no_payload_has_is_found_with_what_was_meant(
    tmp_path: Path, path: str, step: str, meant: str | None
) -> None:
    match = f"{{source: datadog, {path}: a}}"
    assert unseen(tmp_path, match, PLAIN, [{"id": 1}, SEEN]) == [(path, step, meant)]
    incident = f'{{title: "{{{{ {path} }}}}", service: y}}'
    assert unseen(tmp_path, "{source: datadog}", incident, [SEEN]) == [(path, step, meant)]


@pytest.mark.parametrize(
    "match",
    [
        "{source: datadog, payload.detail.priority: a}",
        "{source: datadog, payload.detail.note.more: a}",  # null may hold anything
        "{source: datadog, payload.tags.team: a}",  # the keys are the users' own
        "{source: datadog, payload.list.7.x: a}",
        "{source: datadog, payload.nothing: {exists: false}}",
        "{source: lab, payload.nothing: a}",  # nobody has seen its payloads
        "{payload.nothing: a}",  # it may come from any source
    ],
)
def test_a_path_that_may_be_there_is_left_in_peace(tmp_path: Path, match: str) -> None:
    assert unseen(tmp_path, match, PLAIN, [SEEN]) == []


def test_a_path_that_may_be_missing_is_left_in_peace(tmp_path: Path) -> None:
    incident = "{title: \"{{ payload.nope | default('x') }}\", service: y}"
    assert unseen(tmp_path, "{source: datadog}", incident, [SEEN]) == []


def test_payloads_without_end_are_remembered_in_part_and_nothing_is_said_of_them(tmp_path: Path) -> None:
    many = {str(number): number for number in range(50_000)}
    assert unseen(tmp_path, "{source: datadog, payload.nope: a}", PLAIN, [many, SEEN]) == []
