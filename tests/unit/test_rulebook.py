"""Rule files: what is read, that every problem is reported at its place, and that the shipped rules decide."""

import copy
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.config.rule_files import RuleFiles
from bridge.config.rulebook import compile_rulebook, load_rulebook
from bridge.destinations import IncidentIo, PagerDuty
from bridge.destinations.base import Destination
from bridge.domain.alert import Alert, Severity, Status
from bridge.domain.decision import Decision, Mode, OnAcknowledge, OnResolve
from bridge.domain.errors import ConfigError, Problem
from bridge.pipeline import decide
from bridge.rules.book import Lookup, RuleBook

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests" / "golden" / "rules"
SOURCES = ("datadog", "zendesk", "lab")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    name: str
    destination: Destination


DESTINATIONS: Mapping[str, Destination] = {
    "pagerduty-prod": PagerDuty(
        account="pagerduty-prod", token="t", from_="bot@example.com", defaults={"service": "Catch-all"}
    ),
    "incident-io": IncidentIo(account="incident-io", token="t", defaults={"severity": "Minor"}),
}
ACCOUNTS = {name: Account(name=name, destination=one) for name, one in DESTINATIONS.items()}

MINIMAL = """
rules:
  - id: a
    account: pagerduty-prod
    match: {}
    incident: {title: x, service: y}
"""


def load(root: Path) -> tuple[RuleBook, tuple[Problem, ...]]:
    return load_rulebook(root / "rules", root / "templates", ACCOUNTS, SOURCES, root)


def written(root: Path, templates: Mapping[str, str] | None = None, **files: str) -> Path:
    for folder, contents in (("rules", files), ("templates", templates or {})):
        for name, content in contents.items():
            path = root / folder / (f"{name}.yaml" if folder == "rules" else name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    return root


def problems(root: Path) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load(root)
    return [str(problem) for problem in refused.value.problems]


def alert(source: str, **changes: Any) -> Alert:
    given_fields = {
        "source": source,
        "source_type": source,
        "fingerprint": "fp-1",
        "status": Status.FIRING,
        "title": "Something is wrong",
        "payload": {},
        "labels": MappingProxyType({}),
    }
    return Alert(**(given_fields | changes))


def test_every_problem_of_every_file_is_reported_at_its_place(update_golden: bool) -> None:
    found = "\n".join(problems(GOLDEN / "broken")) + "\n"
    golden = GOLDEN / "broken.txt"
    if update_golden:
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")


def test_a_whole_rule_is_read(tmp_path: Path) -> None:
    text = r"""
defaults: {account: pagerduty-prod, hold_resolve: 30s}
rules:
  - id: db-critical
    match:
      source: datadog
      severity: [critical, error]
      labels.team: db
      title: {regex: '^pg[-_]'}
      payload.value: {gt: 30}
      not: {labels.env: [dev, staging]}
      any: [{payload.a: {exists: true}}, {labels.x: {glob: 'y*'}, status: firing}]
    when: "alert.labels.tier | int >= 2"
    severity: {from: labels.sev, map: {sev1: critical}, else: error}
    dedup: [source, payload.alert_id, "payload['alert.scope']"]
    fold_by: [labels.service]
    incident:
      title: "[{{ alert.severity | upper }}] {{ alert.title }}"
      service: Postgres Primary
      urgency: high
      priority: {from: severity, map: {critical: P1, error: P2}, else: P3}
      body: {template: details.j2}
      conference_bridge: {conference_number: {expr: payload.number}, conference_url: "https://example.com/a"}
    on_acknowledge: acknowledge
    on_resolve: {resolve: {resolution: "over, says {{ alert.source }}"}}
    mode: shadow
    continue: true
  - id: last
    account: incident-io
    hold_resolve: 5m
    incident: {name: "{{ alert.title }}", incident_key: "{{ payload.id }}"}
unmatched: last
"""  # fmt: skip
    book, warnings = load(written(tmp_path, {"details.j2": "{{ alert.description }}"}, a=text))
    assert warnings == ()
    first, last = book.rules
    assert [condition.name for condition in first.conditions or ()] == [
        *("source", "severity", "labels.team", "title.regex", "payload.value.gt", "not", "any", "when"),
    ]
    assert isinstance(first.severity, Lookup)
    assert [path.text for path in first.dedup or ()] == ["source", "payload.alert_id", "payload['alert.scope']"]
    assert (first.on_acknowledge, first.on_resolve, first.mode, first.continues) == (
        *(OnAcknowledge.ACKNOWLEDGE, OnResolve.RESOLVE, Mode.SHADOW, True),
    )
    assert (first.hold_resolve, last.hold_resolve) == (timedelta(seconds=30), timedelta(minutes=5))
    assert (first.account, last.account, book.unmatched) == ("pagerduty-prod", "incident-io", "last")
    assert last.conditions is None
    assert last.incident_key is not None
    assert str(first.place) == "rules/a.yaml:4:9"


@pytest.mark.parametrize(
    ("written_as", "says"),
    [("note", None), ('{note: "{{ alert.title }} is over"}', "Something is wrong is over")],
)
def test_an_end_may_be_said_and_not_done(tmp_path: Path, written_as: str, says: str | None) -> None:
    more = f"    on_resolve: {written_as}\n    on_acknowledge: note\n"
    text = MINIMAL.replace("    match: {}\n", "    match: {}\n" + more) + "unmatched: record\n"
    book, _ = load(written(tmp_path, a=text))
    (decided,) = decide((alert("datadog"),), book, DESTINATIONS)
    policy = decided.decisions[0].policy
    assert (policy.on_resolve, policy.resolution, policy.on_acknowledge) == (OnResolve.NOTE, says, OnAcknowledge.NOTE)


def trace(book: RuleBook, one: Alert) -> list[tuple[str, Any]]:
    return [(match.rule, match.failed and match.failed.condition) for match in book.match(one)]


def test_conditions_are_named_by_their_path_in_the_rule(tmp_path: Path) -> None:
    text = """
defaults: {account: pagerduty-prod}
rules:
  - {id: a, match: {payload.v: {gte: 1, gt: 5}}, incident: {title: x}}
  - {id: b, match: {not: {labels.env: prod}}, incident: {title: x}}
  - {id: c, match: {any: [{title: no}, {labels.env: prod, title: {regex: no}}]}, incident: {title: x}}
  - {id: d, match: {all: [{labels.env: prod}, {not: {any: [{labels.env: prod}]}}]}, incident: {title: x}}
  - {id: e, when: payload.x > 1, match: {}, incident: {title: x}}
unmatched: record
"""
    book, _ = load(written(tmp_path, a=text))
    one = alert("lab", labels={"env": "prod"}, payload={"v": "3"})
    assert trace(book, one) == [
        ("a", "payload.v.gt"),
        ("b", "not.labels.env"),
        ("c", "any[1].title.regex"),
        ("d", "all[1].not.any"),
        ("e", "when"),
    ]


def test_files_are_read_in_the_order_of_their_paths_and_tests_are_no_rules(tmp_path: Path) -> None:
    root = written(
        tmp_path,
        **{
            "b": MINIMAL.replace("id: a", "id: second"),
            "a": MINIMAL.replace("id: a", "id: first"),
            "deep/er/c": MINIMAL.replace("id: a", "id: third") + "unmatched: record\n",
            "a.test": "- name: not a rule\n",
        },
    )
    book, _ = load(root)
    assert [rule.id for rule in book.rules] == ["first", "second", "third"]


def test_the_hash_follows_the_content_and_nothing_else(tmp_path: Path) -> None:
    whole = MINIMAL + "unmatched: record\n"
    first, _ = load(written(tmp_path / "1", a=whole))
    same, _ = load(written(tmp_path / "2", b="# a comment\n" + whole))
    other_rule, _ = load(written(tmp_path / "3", a=whole.replace("title: x", "title: z")))
    other_template, _ = load(written(tmp_path / "4", {"t.j2": "x"}, a=whole))
    assert first.hash == same.hash
    assert len({first.hash, other_rule.hash, other_template.hash}) == 3


@pytest.mark.parametrize(
    "text",
    [
        '"k-{{ payload.id }}"',
        "{template: key.j2}",
        "{expr: \"'k-' ~ payload.id\"}",
        '{from: severity, map: {error: "k-{{ payload.id }}"}}',
        '{from: severity, map: {info: x}, else: "k-{{ payload.id }}"}',
    ],
)
def test_no_leaf_of_an_incident_key_takes_what_says_nothing(tmp_path: Path, text: str) -> None:
    rules = MINIMAL.replace("service: y", f"service: y, incident_key: {text}") + "unmatched: record\n"
    book, _ = load(written(tmp_path, {"key.j2": "k-{{ payload.id }}"}, a=rules))
    given_ids = ("7", "", "null", "$ID", None)
    readings = tuple(alert("lab", payload={"id": one}) for one in given_ids)
    made = [one.decisions[0].key_text for one in decide(readings, book, DESTINATIONS)]
    assert made == ["k-7", None, None, None, None]


def test_a_severity_rise_takes_what_the_upstream_can_change(tmp_path: Path) -> None:
    update = "{urgency: high, priority: P1, escalation_level: 2, title: '{{ alert.title }}'}"
    rises = f"    reopen_within: 15m\n    on_severity_rise: {{update: {update}}}\nunmatched: record\n"
    book, warnings = load(written(tmp_path, a=MINIMAL + rises))
    rule = book.rules[0]
    assert (warnings, rule.reopen_within) == ((), timedelta(minutes=15))
    assert rule.rise is not None
    assert list(rule.rise) == ["urgency", "priority", "escalation_level", "title"]


@pytest.mark.parametrize(
    ("written_as", "said"),
    [
        ("{update: {body: x}}", "rules/a.yaml:7:33: pagerduty incidents cannot be given another 'body'"),
        ("{update: {urgency: loud}}", "rules/a.yaml:7:42: 'urgency' cannot be 'loud'"),
        (
            "{update: {escalation_level: high}}",
            "rules/a.yaml:7:51: 'escalation_level' is a number from 1, found 'high'\n    write the level of the",
        ),
        ("{update: {escalation_level: 0}}", "rules/a.yaml:7:51: 'escalation_level' is a number from 1, found '0'"),
        ("{update: {escalation_level: 2.5}}", "rules/a.yaml:7:51: 'escalation_level' is a number from 1, found '2.5'"),
        ("{update: {escalation_level: true}}", "rules/a.yaml:7:51: 'escalation_level' is a number from 1, found 't"),
        ("{update: {}}", "rules/a.yaml:7:23: 'on_severity_rise' cannot be a mapping"),
        ("louder", "rules/a.yaml:7:23: 'on_severity_rise' cannot be 'louder'"),
    ],
)
def test_a_severity_rise_that_cannot_be_told_is_a_problem(tmp_path: Path, written_as: str, said: str) -> None:
    root = written(tmp_path, a=MINIMAL + f"    on_severity_rise: {written_as}\nunmatched: record\n")
    (problem,) = problems(root)
    assert problem.startswith(said)


def test_what_must_not_be_empty_is_called_empty(tmp_path: Path) -> None:
    """A mapping was wanted and a mapping found: nobody could know what that asks for."""
    rule = MINIMAL.replace("match: {}", "match: {any: [{}]}")
    (problem,) = problems(written(tmp_path, a=f"{rule}unmatched: record\n"))
    assert "wants a mapping of conditions, found an empty mapping" in problem


@pytest.mark.parametrize(
    ("written_as", "told"),
    [
        ("dedup: source", "'dedup' wants a list, found 'source'\n    write [source]"),
        ("dedup: {source: lab}", "'dedup' wants a list, found a mapping\n    begin each of its entries with '- '"),
        (
            "hold_resolve: 5",
            "'hold_resolve' wants a text, found the number 5\n    put it in quotes; a length of time has its",
        ),
    ],
)
def test_a_value_of_the_wrong_shape_is_told_how_to_write_it(tmp_path: Path, written_as: str, told: str) -> None:
    (problem,) = problems(written(tmp_path, a=MINIMAL + f"    {written_as}\nunmatched: record\n"))
    assert problem.split(": ", 1)[1].startswith(told)


@pytest.mark.parametrize(
    ("match", "told"),
    [
        ("{labels.env: {nin: [dev]}}", "unknown operator 'nin'\n    it is written 'ne'; operators: contains, "),
        ("{title: {startswith: x}}", "unknown operator 'startswith'\n    it is written 'glob'; operators: "),
        ("{title: {'~=': x}}", "unknown operator '~='\n    it is written 'regex'; operators: "),
        (
            "{labels: {team: db}}",
            "unknown operator 'team'\n    what stands inside is written labels.team: …; ",
        ),
        ("{or: [{source: lab}]}", "unknown condition 'or'\n    it is written 'any'"),
        (
            "{tags: db}",
            "unknown condition 'tags'\n    what the sender calls so is labels.tags or payload.tags; ",
        ),
        ("{sevrity: error}", "unknown condition 'sevrity'\n    did you mean 'severity'? conditions: "),
    ],
)
def test_a_word_of_another_tool_is_told_as_rules_have_it(tmp_path: Path, match: str, told: str) -> None:
    changed = re.sub(r"match: .*", lambda _: f"match: {match}", MINIMAL)
    (problem,) = problems(written(tmp_path, a=f"{changed}unmatched: record\n"))
    assert problem.split(": ", 1)[1].startswith(told)


def test_an_empty_note_is_called_a_note_and_tests_beside_the_rules_by_their_name(tmp_path: Path) -> None:
    (problem,) = problems(written(tmp_path, a=MINIMAL + "    on_resolve: {note: }\nunmatched: record\n"))
    assert problem.split(": ", 1)[1].startswith("'note' has no value")
    (problem,) = problems(written(tmp_path, a=MINIMAL + "unmatched: record\n", b="- name: x\n  steps: []\n"))
    assert problem.endswith("; tests are read from names that end in .test.yaml")


def test_a_rule_may_ignore_rises(tmp_path: Path) -> None:
    book, _ = load(written(tmp_path, a=MINIMAL + "    on_severity_rise: ignore\nunmatched: record\n"))
    assert book.rules[0].rise == {}


def test_a_problem_in_the_defaults_is_said_once(tmp_path: Path) -> None:
    two = MINIMAL + MINIMAL.replace("rules:", "").replace("id: a", "id: b").lstrip("\n")
    root = written(tmp_path, a="defaults: {mode: shadwo}" + two + "unmatched: record\n")
    assert problems(root) == [
        "rules/a.yaml:1:18: 'mode' cannot be 'shadwo'\n    did you mean 'shadow'? choices: live, shadow"
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("urgency: 5", "rules/a.yaml:6:47: 'urgency' cannot be '5'"),
        ("urgency: true", "rules/a.yaml:6:47: 'urgency' cannot be 'true'"),
        ("urgency: {from: severity, map: {critical: 5}}", "rules/a.yaml:6:80: 'urgency' cannot be '5'"),
        ("urgency: {from: severity, map: {info: high}, else: 1.5}", "rules/a.yaml:6:89: 'urgency' cannot be '1.5'"),
        (
            "urgency: {from: severity, map: {info: {from: title, map: {b: hihg}}}}",
            "rules/a.yaml:6:99: 'urgency' cannot be 'hihg'",
        ),
    ],
)
def test_what_can_only_ever_be_none_of_the_choices_is_a_problem_whatever_its_type(
    tmp_path: Path, line: str, said: str
) -> None:
    text = MINIMAL.replace("service: y", f"service: y, {line}")
    found = problems(written(tmp_path, a=f"unmatched: record{text}"))
    assert [one.split("\n")[0] for one in found] == [said]


@pytest.mark.parametrize("severity", ["5", "true", "{from: labels.sev, map: {sev1: 1}}"])
def test_a_severity_that_is_no_text_is_none(tmp_path: Path, severity: str) -> None:
    (said,) = problems(written(tmp_path, a=f"unmatched: record{MINIMAL}    severity: {severity}\n"))
    assert "'severity' cannot be '" in said
    assert "choices: critical, error, info, warning" in said


def rule_with(**fields: str) -> str:
    lines = [f"      {name}: {value!r}" for name, value in {"title": "x", "service": "y", **fields}.items()]
    head = "rules:\n  - id: a\n    account: pagerduty-prod\n    match: {}\n    incident:\n"
    return head + "\n".join(lines) + "\nunmatched: record\n"


def test_nobody_would_be_paged_by_an_incident_assigned_to_the_accounts_own_user(tmp_path: Path) -> None:
    (said,) = problems(written(tmp_path, a=rule_with(assignee="Bot@example.com")))
    assert said.startswith("rules/a.yaml:8:17: 'Bot@example.com' is the account's own 'from'")


def test_an_assignee_and_a_policy_exclude_each_other(tmp_path: Path) -> None:
    (said,) = problems(written(tmp_path, a=rule_with(assignee="oncall@example.com", escalation_policy="Default")))
    assert "not both" in said


def test_whom_the_alert_names_is_not_judged_when_rules_are_loaded(tmp_path: Path) -> None:
    book, said = load(written(tmp_path, a=rule_with(assignee="{{ alert.labels.owner }}")))
    assert (len(book.rules), said) == (1, ())


def test_an_account_that_could_not_be_read_makes_no_second_problem(tmp_path: Path) -> None:
    root = written(tmp_path, a=rule_with(titel="x").replace("pagerduty-prod", "half-written"))
    book, said = load_rulebook(root / "rules", root / "templates", ACCOUNTS, SOURCES, root, {"half-written"})
    assert [rule.id for rule in book.rules] == ["a"]
    assert said == ()


def test_a_folder_without_rules_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (first, second) = problems(tmp_path)
    assert "there are no rules" in first + second
    assert "no file says what becomes of an alert that no rule matches" in first + second


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    root = written(tmp_path, a=MINIMAL + "unmatched: record\n")
    (root / "rules" / "b.yaml").write_bytes(b"\xff\xfe")
    assert problems(root) == ["rules/b.yaml:1:1: the file is not UTF-8\n    write it as UTF-8 text"]


def test_words_of_yaml_1_1_stay_text(tmp_path: Path) -> None:
    text = MINIMAL.replace("match: {}", "match: {labels.a: no, labels.b: 012, labels.c: 12:30, payload.d: true}")
    book, _ = load(written(tmp_path, a=text + "unmatched: record\n"))
    one = alert("lab", labels={"a": "no", "b": "012", "c": "12:30"}, payload={"d": True})
    assert [match.rule for match in book.match(one) if match.matched] == ["a"]


# -- the shipped rules


def shipped(one: Alert) -> list[Decision]:
    book, warnings = load(ROOT)
    assert warnings == ()
    (result,) = decide((one,), book, DESTINATIONS)
    return list(result.decisions)


@pytest.mark.parametrize(
    ("one", "rule", "fields"),
    [
        (
            alert("datadog", severity=Severity.CRITICAL, labels={"service": "postgres-main"}),
            "database",
            {"service": "Postgres Primary", "urgency": "high", "priority": "P1"},
        ),
        (
            alert("datadog", severity=Severity.ERROR, title="Replication lag on PG cluster"),
            "database",
            {"service": "Postgres Primary", "priority": "P2"},
        ),
        (alert("datadog", labels={"service": "payment"}), "checkout", {"service": "Checkout API", "priority": "P2"}),
        (
            alert("datadog", severity=Severity.WARNING),
            "datadog",
            {"service": "Catch-all", "urgency": "low", "priority": "P4", "escalation_policy": "Default"},
        ),
        (alert("zendesk", severity=Severity.CRITICAL), "support", {"severity": "Major"}),
        (alert("zendesk"), "support", {"severity": "Minor", "name": "Customer report: Something is wrong"}),
        (alert("lab", labels={"service": "checkout"}), "lab", {"service": "Checkout API"}),
        (alert("lab"), "lab", {"title": "[ERROR] Something is wrong"}),
        (alert("lab", labels={"service": "else"}), "lab", {"service": "Catch-all"}),
    ],
)  # fmt: skip
def test_the_shipped_rules_decide(one: Alert, rule: str, fields: Mapping[str, str]) -> None:
    (made,) = shipped(one)
    assert made.rule == rule
    assert made.notes == ()
    assert {name: made.fields[name] for name in fields} == fields


@pytest.mark.parametrize("env", ["dev", "staging"])
def test_the_shipped_rules_leave_what_is_not_production_on_record(env: str) -> None:
    assert shipped(alert("datadog", severity=Severity.CRITICAL, labels={"env": env, "team": "db"})) == []


def test_the_shipped_templates_write_description_links_and_labels() -> None:
    (made,) = shipped(alert("datadog", description="97 % used", labels={"host": "web-1", "env": "prod"}))
    assert made.fields["body"] == "97 % used\n\nenv: prod\nhost: web-1\n\nerror, reported by datadog"


def test_the_rule_of_the_rules_readme_is_read(tmp_path: Path) -> None:
    readme = (ROOT / "rules" / "README.md").read_text(encoding="utf-8")
    example = readme.split("```yaml\n", 1)[1].split("```", 1)[0]
    book, warnings = load(written(tmp_path, a=example))
    assert [rule.id for rule in book.rules] == ["db-critical"]
    assert warnings == ()


# -- mappings of names


def of_incident_io(tmp_path: Path, *lines: str) -> Path:
    body = "".join(f"      {line}\n" for line in lines)
    head = "rules:\n  - id: a\n    account: incident-io\n    match: {}\n    incident:\n      name: x\n"
    return written(tmp_path, a=f"{head}{body}unmatched: record\n")


@pytest.mark.parametrize(
    ("line", "place", "message"),
    [
        ("custom_fields: Support", "7:22", "'custom_fields' wants a mapping, found 'Support'"),
        ("custom_fields: {}", "7:22", "'custom_fields' is empty"),
        ("custom_fields: {Team: {a: b}}", "7:29", "'Team' cannot be"),
        ("custom_fields: {Team: [[]]}", "7:30", "'Team' cannot be"),
        ("custom_fields: {Team: null}", "7:29", "'Team' has no value"),
        ("roles: {Lead: {mail: a@example.com}}", "7:22", "'Lead' has no key 'mail'"),
        ("roles: {Lead: {email: a@example.com, id: 01U}}", "7:21", "'Lead' wants one person"),
        ("roles: {Lead: {}}", "7:21", "'Lead' wants one person"),
        ("roles: {Lead: [a@example.com]}", "7:21", "'Lead' cannot be"),
        ("timestamps: {Started: yesterday}", "7:29", "'Started' is no instant: 'yesterday'"),
        ("timestamps: {Started: 5}", "7:29", "'Started' is no instant: '5'"),
        (
            "retrospective_incident_options: {postmortem: https://x.example}",
            "7:40",
            "'retrospective_incident_options' has no key 'postmortem'",
        ),
        ("source_message_channel_id: C1", "7:34", "'source_message_channel_id' is of the API's v1"),
        ("mode: real", "7:13", "'mode' cannot be 'real'"),
        ("visibility: secret", "7:19", "'visibility' cannot be 'secret'"),
    ],
)
def test_a_mapping_that_cannot_work_is_refused_where_it_stands(
    tmp_path: Path, line: str, place: str, message: str
) -> None:
    found = problems(of_incident_io(tmp_path, line))
    assert any(one.startswith(f"rules/a.yaml:{place}: {message}") for one in found), found


def test_what_a_mapping_may_hold_is_read(tmp_path: Path) -> None:
    lines = (
        "mode: retrospective",
        "custom_fields: {Team: [Support, {expr: payload.team}], Ticket: 4711, Region: []}",
        "roles: {Lead: {slack_user_id: U0123}, Scribe: {from: labels.team, map: {db: a@example.com}}}",
        "timestamps: {Started: {expr: alert.starts_at}, Ended: 2026-03-01T12:00:00Z}",
        "retrospective_incident_options: {external_id: 7}",
    )
    book, warnings = load(of_incident_io(tmp_path, *lines))
    assert warnings == ()
    (made,) = decide((alert("lab", payload={"team": "Payments"}, labels={"team": "db"}),), book, DESTINATIONS)
    (decision,) = made.decisions
    assert decision.fields["custom_fields"] == {"Team": ["Support", "Payments"], "Ticket": ["4711"], "Region": []}
    assert decision.fields["roles"] == {"Lead": "U0123", "Scribe": "a@example.com"}
    assert decision.fields["timestamps"] == {"Ended": "2026-03-01T12:00:00Z"}
    assert decision.fields["retrospective_incident_options"] == {"external_id": "7"}


def test_what_is_each_rules_own_is_told_so_when_it_stands_in_the_defaults(tmp_path: Path) -> None:
    defaults = "defaults: {account: pagerduty-prod, id: x, incident: {title: y}, continue: true, foo: 1}\n"
    found = problems(written(tmp_path, a=f"unmatched: record\n{defaults}{MINIMAL}"))
    assert found[:3] == [
        f"rules/a.yaml:2:{column}: unknown key '{key}'\n    '{key}' is each rule's own: write it there, delete it here"
        for key, column in (("id", 37), ("incident", 44), ("continue", 66))
    ]
    assert found[3].startswith("rules/a.yaml:2:82: unknown key 'foo'\n    keys: account, dedup")


def test_a_template_without_quotes_is_one_problem(tmp_path: Path) -> None:
    found = problems(written(tmp_path, a=f"unmatched: record{MINIMAL.replace('title: x', 'title: {{ alert.title }}')}"))
    assert found == [
        "rules/a.yaml:6:23: {{ without quotes is no text in YAML, but a mapping\n"
        '    put the whole text in quotes, as in title: "{{ alert.title }}"'
    ]


def test_a_path_that_begins_with_alert_is_told_without_it(tmp_path: Path) -> None:
    text = MINIMAL.replace("match: {}", "match: {alert.title: x, alert.labels.a: y}\n    dedup: [alert.severity]")
    found = problems(written(tmp_path, a=f"unmatched: record{text}"))
    hint = "in rules an alert's fields stand without 'alert.'"
    assert found == [
        f"rules/a.yaml:5:13: unknown condition 'alert'\n    write title: {hint}",
        f"rules/a.yaml:5:29: unknown condition 'alert'\n    write labels.a: {hint}",
        f"rules/a.yaml:6:13: an alert has no field 'alert'\n    write severity: {hint}",
    ]


def test_an_expression_in_braces_is_told_without_them(tmp_path: Path) -> None:
    text = MINIMAL.replace("match: {}", "when: \"{{ alert.title == 'x' }}\"")
    found = problems(written(tmp_path, a=f"unmatched: record{text}"))
    assert "rules/a.yaml:5:11: 'when' is an expression, which stands without braces\n" in found[-1]
    assert found[-1].endswith("write when: alert.title == 'x'")


def test_a_source_type_that_does_not_exist_is_told_with_what_was_meant(tmp_path: Path) -> None:
    text = MINIMAL.replace("match: {}", "match: {source_type: [datadog, datadg]}")
    (said,) = problems(written(tmp_path, a=f"unmatched: record{text}"))
    assert said == "rules/a.yaml:5:36: source_type 'datadg' does not exist\n    did you mean 'datadog'?"


@pytest.mark.parametrize(
    ("match", "said"),
    [
        ("{labels.tier: 2}", "5:26: 'labels.tier' compares with the number 2"),
        ("{labels.tier: ['1', 2.5]}", "5:32: 'labels.tier' compares with the number 2.5"),
        ("{title: {contains: 500}}", "5:31: 'title.contains' compares with the number 500"),
        ("{not: {labels.on: {ne: true}}}", "5:35: 'not.labels.on.ne' compares with true"),
    ],
)
def test_a_number_is_never_equal_to_a_text_and_that_is_said(tmp_path: Path, match: str, said: str) -> None:
    _, warnings = load(written(tmp_path, a=f"unmatched: record{MINIMAL.replace('{}', match)}"))
    assert [str(one) for one in warnings] == [
        f"rules/a.yaml:{said.replace(': ', ': warning: ', 1)}, and all that is read there is text: never equal\n"
        "    put it in quotes, written as the alert has it"
    ]


@pytest.mark.parametrize(
    ("match", "said"),
    [
        ("{severity: {ne: critcal}}", "5:28: severity 'critcal' does not exist\n    did you mean 'critical'?"),
        ("{status: {ne: [resolved, closed]}}", "5:37: status 'closed' does not exist\n    status is one of: ackn"),
        ("{any: [{source: {ne: datadgo}}]}", "5:33: source 'datadgo' does not exist\n    did you mean 'datadog'?"),
    ],
)
def test_what_is_excluded_must_exist_or_nothing_is_excluded(tmp_path: Path, match: str, said: str) -> None:
    (problem,) = problems(written(tmp_path, a=f"unmatched: record{MINIMAL.replace('{}', match)}"))
    assert problem.startswith(f"rules/a.yaml:{said}")


@pytest.mark.parametrize(
    ("match", "said"),
    [
        ("{source: {glob: 'datadgo*'}}", "5:28: warning: 'source.glob' never holds: source is one of"),
        ("{source: {regex: ['^Data', '^Zen']}}", "5:29: warning: 'source.regex' never holds: source is one of"),
        ("{not: {severity: {contains: High}}}", "5:40: warning: 'not.severity.contains' never holds: severity is one"),
        ("{severity: {gte: 3}}", "5:29: warning: 'severity.gte' never holds: severity is one of"),
        ("{starts_at: {gt: 1700000000}}", "5:29: warning: 'starts_at.gt' never holds: starts_at reads as text"),
        ("{labels.env: null}", "5:25: warning: 'labels.env' compares with null, and all that is"),
        ("{episode: {ne: [null]}}", "5:28: warning: 'episode.ne' compares with null, and all that is"),
        ("{severity: {ne: null}}", "5:28: warning: 'severity.ne' compares with null, and all that is"),
        ("{labels: db}", "5:21: warning: 'labels' reads all labels together"),
        ("{labels: {glob: 'db-*'}}", "5:28: warning: 'labels.glob' reads all labels together"),
    ],
)
def test_what_can_never_hold_is_said(tmp_path: Path, match: str, said: str) -> None:
    _, warnings = load(written(tmp_path, a=f"unmatched: record{MINIMAL.replace('{}', match)}"))
    assert [str(one)[: len(said) + 13] for one in warnings] == [f"rules/a.yaml:{said}"]


@pytest.mark.parametrize(
    "match",
    [
        *("{source: {glob: 'data*'}}", "{severity: {contains: crit}}", "{status: {regex: ing$}}", "{payload.n: null}"),
        *("{labels: {contains: team}}", "{labels: {exists: true}}", "{labels.n: {gte: 2}}", "{severity: {ne: info}}"),
        *("{payload.n: 2}", "{labels.n: {gt: 2}}", "{labels.n: '2'}"),
    ],
)
def test_what_may_hold_is_not_warned_of(tmp_path: Path, match: str) -> None:
    _, warnings = load(written(tmp_path, a=f"unmatched: record{MINIMAL.replace('{}', match)}"))
    assert warnings == ()


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (
            "{from: severity, map: {critcal: P1, error: P2}, else: P3}",
            "'critcal' in the map of 'priority' is no severity",
        ),
        ("{from: source, map: {Datadog: P1}}", "'Datadog' in the map of 'priority' is no source"),
        ("{from: labels.sev, map: {critcal: P1}}", None),
        ("{from: severity, map: {critical: P1}}", None),
    ],
)
def test_a_key_of_a_map_that_nothing_can_be_is_said(tmp_path: Path, field: str, said: str | None) -> None:
    _, warnings = load(written(tmp_path, a=f"unmatched: record{MINIMAL.replace('y}', f'y, priority: {field}' + '}')}"))
    assert [one.message.split(",")[0] for one in warnings] == ([] if said is None else [said])
    assert all(one.place.line == 6 for one in warnings)


WHOLE: Mapping[str, Any] = {
    "defaults": {"account": "pagerduty-prod", "hold_resolve": "30s"},
    "maps": {"priorities": {"critical": "P1"}},
    "unmatched": "record",
    "rules": [
        {
            "id": "a",
            "match": {"source": "datadog", "title": {"regex": "x"}, "not": {"labels.env": ["dev"]}, "any": [{}]},
            "when": "alert.title == 'x'",
            "dedup": ["labels.team"],
            "severity": {"from": "severity", "map": "priorities", "else": "critical"},
            "on_resolve": {"resolve": {"resolution": "{{ alert.title }}"}},
            "on_severity_rise": {"update": {"urgency": "high"}},
            "incident": {"title": "x", "service": "y", "details": {"a": [1, {"expr": "alert.title"}]}},
        },
        {
            "id": "b",
            "account": "incident-io",
            "match": {},
            "incident": {"name": "x", "custom_fields": {"A": ["b"]}, "roles": {"Lead": {"email": "x@example.com"}}},
        },
    ],
}
KEYS = (
    *("id", "match", "when", "continue", "incident", "account", "severity", "dedup", "mode", "on_resolve", "resolve"),
    *("defaults", "maps", "rules", "unmatched", "not", "any", "all", "regex", "in", "from", "map", "else", "template"),
    *("expr", "update", "note", "incident_key", "title", "payload..a", "", "\ud800"),
)
VALUES = (None, True, 3, 10**30, "", "x", "{{", "\ud800", [], [[1]], [{"a": 1}], {}, {"from": 1}, {"map": {"a": []}})


def paths_in(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, one in inner for path in paths_in(one, (*at, key)))]


PATHS = paths_in(WHOLE)


@given(
    st.lists(
        st.tuples(st.sampled_from(PATHS), st.none() | st.sampled_from(KEYS), st.sampled_from(VALUES)),
        min_size=1,
        max_size=3,
    )
)
@example([(("defaults",), "id", "x")])
@example([(("defaults",), "incident", {})])
@example([(("defaults",), "\ud800", "x")])
def test_whatever_stands_in_a_rule_file_is_read_or_is_a_problem_at_its_place(
    changes: list[tuple[tuple[str | int, ...], str | None, Any]],
) -> None:
    whole: Any = {"file": copy.deepcopy(WHOLE)}
    for path, key, held in changes:
        at, last, value = whole, "file", copy.deepcopy(held)  # a later change may be made inside it
        with suppress(LookupError, TypeError):  # an earlier change took the place away
            for step in path:
                at, last = at[last], step  # type: ignore[assignment]
            if key is None:
                at[last] = value
            elif isinstance(at[last], dict):
                at[last][key] = value
    files = RuleFiles(
        rules=(("rules/a.yaml", json.dumps(whole["file"])),), templates={}, rules_folder="rules", templates_folder="t"
    )
    with suppress(ConfigError):
        compile_rulebook(files, ACCOUNTS, SOURCES)
