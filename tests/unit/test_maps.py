"""Named maps of a rule file, and the accounts that a folder of rules is held to."""

from pathlib import Path
from typing import Any

import pytest

from bridge.config.rulebook import load_rulebook
from bridge.domain.alert import Severity
from bridge.domain.errors import ConfigError
from bridge.pipeline import decide
from tests.unit.test_rulebook import ACCOUNTS, DESTINATIONS, SOURCES, alert, load, problems, written

FILE = """
maps:
  priorities: {{critical: P1, error: P2}}
  services: {{a: Checkout API, b: {{expr: alert.title}}}}
  severities: {{sev1: critical}}
defaults: {{account: pagerduty-prod, severity: {{from: labels.sev, map: severities, else: error}}}}
rules:
  - id: one
    match: {{}}
    incident:
      title: x
      service: {{from: labels.service, map: services, else: Catch-all}}
      priority: {{from: severity, map: {used}}}
unmatched: record
"""


def test_a_named_map_says_what_it_would_say_in_its_place(tmp_path: Path) -> None:
    book, _ = load(written(tmp_path, a=FILE.format(used="priorities")))
    (decided,) = decide(
        (alert("lab", severity=Severity.CRITICAL, labels={"service": "b", "sev": "sev1"}),), book, DESTINATIONS
    )
    (decision,) = decided.decisions
    assert (decision.fields["service"], decision.fields["priority"]) == ("Something is wrong", "P1")
    assert decision.severity is Severity.CRITICAL


def test_an_unknown_map_is_told_with_what_was_meant(tmp_path: Path) -> None:
    assert problems(written(tmp_path, a=FILE.format(used="prioritis"))) == [
        "rules/a.yaml:13:39: there is no map 'prioritis'\n"
        "    did you mean 'priorities'? maps of this file: priorities, services, severities"
    ]


def test_maps_belong_to_their_file(tmp_path: Path) -> None:
    other = FILE.format(used="priorities").replace("maps:", "defaults:", 1)
    text = "\n".join(line for line in other.split("\n") if "critical: P1" not in line and "sev1" not in line)
    text = text.replace("defaults:\n", "").replace("  services: {a: Checkout API, b: {expr: alert.title}}\n", "")
    found = problems(written(tmp_path, a=FILE.format(used="priorities"), b=text.replace("id: one", "id: two")))
    assert [line for line in found if "map" in line][:1] == [
        "rules/b.yaml:2:71: there is no map 'severities'\n    this file has no 'maps:'"
    ]


def test_what_is_wrong_in_a_map_is_told_where_it_is_written_and_once(tmp_path: Path) -> None:
    text = FILE.format(used="priorities").replace("error: P2", "error: '{{ alert.sevrity }}'")
    twice = text.replace("priority:", "priority: {from: severity, map: priorities}\n      escalation_policy:")
    (found,) = problems(written(tmp_path, a=twice))
    assert found.startswith("rules/a.yaml:3:37: alert has no field 'sevrity'")


@pytest.mark.parametrize("shape", ["[a, b]", "x", "{}"])
def test_a_map_is_a_mapping(tmp_path: Path, shape: str) -> None:
    text = FILE.format(used="priorities").replace("{critical: P1, error: P2}", shape)
    (found,) = problems(written(tmp_path, a=text))
    assert found.startswith("rules/a.yaml:3:15: map 'priorities' wants values and texts, found")


def test_a_map_names_no_other_map_nor_itself_and_is_not_read_on(tmp_path: Path) -> None:
    looped = FILE.format(used="priorities").replace("error: P2}", "error: {from: title, map: priorities}}")
    assert problems(written(tmp_path, a=looped)) == [
        "rules/a.yaml:3:56: map 'priorities' looks up in map 'priorities': a map names no other map\n"
        "    write out here what that map holds"
    ]


def test_a_chain_of_maps_that_name_the_next_is_refused_before_it_doubles(tmp_path: Path) -> None:
    links = [f"  m{n}: {{a: {{from: title, map: m{n + 1}}}, b: {{from: title, map: m{n + 1}}}}}" for n in range(12)]
    chain = "\n".join(["maps:", *links, "  m12: {a: P1}"])
    found = problems(written(tmp_path, a=FILE.format(used="m0").replace("maps:", chain, 1)))
    assert len(found) == 24
    assert found[0].startswith("rules/a.yaml:3:30: map 'm0' looks up in map 'm1': a map names no other map")


NUMBERS = """
rules:
  - id: one
    account: pagerduty-prod
    match: {{}}
    incident: {{title: x, service: {{from: {path}, map: {table}, else: other}}}}
unmatched: record
"""


@pytest.mark.parametrize(
    ("table", "value", "service"),
    [
        ("{1: one}", 1, "one"),
        ("{1: one}", 1.0, "one"),
        ("{1: one}", "1", "one"),
        ("{1: one}", True, "other"),
        ("{1.0: one}", 1, "one"),
        ("{'1.0': one}", 1.0, "one"),
        ("{1000: one}", 1e3, "one"),
        ("{1e3: one}", 1000, "one"),
        ("{True: yes}", True, "yes"),
        ("{'True': yes}", True, "other"),
        ("{0x10: k}", 16, "k"),
        ("{0x10: k}", "0x10", "k"),
        ("{'0x10': k}", 16, "other"),
        ("{1.50: h}", 1.5, "h"),
        ("{1.50: h}", "1.50", "h"),
        ("{1.5: a, '1.50': b}", "1.50", "b"),
        ("{0x10: k}", [16], "k"),
    ],
)
def test_a_key_of_a_map_means_what_a_condition_would(tmp_path: Path, table: str, value: Any, service: str) -> None:
    book, _ = load(written(tmp_path, a=NUMBERS.format(path="payload.x", table=table)))
    (decided,) = decide((alert("lab", payload={"x": value}),), book, DESTINATIONS)
    assert decided.decisions[0].fields["service"] == service


@pytest.mark.parametrize(
    ("table", "column", "said"),
    [
        ("{1: a, 1.0: b}", 65, "'1.0' is the same value as '1'"),
        ("{true: a, True: b}", 68, "'True' is the same value as 'true'"),
        ("{0x10: a, 0o20: b}", 68, "'0o20' is the same value as '0x10'"),
        ("{'1.1': a, 1.10: b}", 69, "'1.10' is the same value as '1.1'"),
    ],
)
def test_keys_of_a_map_that_mean_the_same_are_told(tmp_path: Path, table: str, column: int, said: str) -> None:
    assert problems(written(tmp_path, a=NUMBERS.format(path="payload.x", table=table))) == [
        f"rules/a.yaml:6:{column}: {said} in the map of 'service'\n"
        "    delete one of them, or put quotes around what is a text"
    ]


def test_labels_are_texts_so_their_keys_are_told_apart_as_they_are_written(tmp_path: Path) -> None:
    book, _ = load(written(tmp_path, a=NUMBERS.format(path="labels.version", table="{1.1: a, 1.10: b}")))
    (decided,) = decide((alert("lab", labels={"version": "1.10"}),), book, DESTINATIONS)
    assert decided.decisions[0].fields["service"] == "b"


# -- accounts by folder

RULE = "rules: [{{id: {id}, account: {account}, match: {{}}, incident: {{{title}: x}}}}]\n"


def load_with(root: Path, allowed: dict[str, list[str]]) -> list[str]:
    try:
        load_rulebook(root / "rules", root / "templates", ACCOUNTS, SOURCES, root, allowed=allowed)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


def team_files(root: Path) -> Path:
    top = RULE.format(id="top", account="incident-io", title="name").replace("{}", "{source: lab}")
    written(root, a=f"{top}unmatched: record\n")
    for folder, account, title in (("team-db", "incident-io", "name"), ("team-db/own", "pagerduty-prod", "title")):
        path = root / "rules" / folder / "rules.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RULE.format(id=folder, account=account, title=title))
    return root


def test_rules_of_a_folder_may_use_only_the_accounts_given_to_it(tmp_path: Path) -> None:
    root = team_files(tmp_path)
    assert load_with(root, {}) == []
    assert load_with(root, {"team-db/": ["pagerduty-prod"]}) == [
        "rules/team-db/rules.yaml:1:32: rule 'team-db' sends to account 'incident-io', which rules in team-db/ may not "
        "use\n    accounts for them, by 'rules_accounts' in bridge.yaml: pagerduty-prod"
    ]


def test_the_innermost_folder_counts(tmp_path: Path) -> None:
    root = team_files(tmp_path)
    assert load_with(root, {"team-db/": ["incident-io"], "team-db/own/": ["pagerduty-prod"]}) == []
    (refused,) = load_with(root, {"team-db/": ["incident-io"]})
    assert refused.startswith("rules/team-db/own/rules.yaml:1:36: rule 'team-db/own' sends to account 'pagerduty-prod'")
