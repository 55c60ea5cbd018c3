"""`check` on files with mistakes: errors and warnings told apart, keys proven, folders held to their accounts."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.load import free_port
from tests.e2e.processes import write_configuration
from tests.e2e.test_commands import FINE, PROBLEMS, run

GOOD = "rules:\n  - {id: a, account: pd, match: {source: dd}, incident: {title: x, service: S}}\nunmatched: record\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a configuration without a ledger, with a Datadog source."""
    write_configuration(tmp_path, port=free_port())
    for file in (tmp_path / "rules").glob("*.yaml"):
        file.unlink()
    (tmp_path / "rules" / "a.yaml").write_text(GOOD)
    configure(tmp_path, sources={"dd": {"type": "datadog", "auth": "none"}})
    return tmp_path


def configure(folder: Path, **changes: Any) -> None:
    path = folder / "bridge.yaml"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rules(folder: Path, text: str) -> None:
    (folder / "rules" / "a.yaml").write_text(text)


def test_warnings_are_told_apart_from_errors_and_stop_nothing(folder: Path) -> None:
    rules(folder, GOOD.replace("match: {source: dd}", "match: {source: dd}, dedup: [payload.date, payload.alert_idd]"))
    ran = run(folder, "check")
    assert ran.code == FINE
    assert ran.out.endswith("1 rule: 2 warnings\n")
    assert "rules/a.yaml:2:55: warning: 'dedup' is made of 'payload.date'" in ran.err
    assert (
        "rules/a.yaml:2:69: warning: no known payload of source dd has 'alert_idd' in 'payload.alert_idd'\n" in ran.err
    )
    assert "    did you mean 'alert_id'?" in ran.err
    report = json.loads(run(folder, "check", "--json").out)
    assert (report["ok"], report["errors"], report["warnings"]) == (True, 0, 2)
    assert {problem["grade"] for problem in report["problems"]} == {"warning"}


def test_a_file_of_rules_that_is_not_read_for_its_name_is_warned_of(folder: Path) -> None:
    (folder / "rules" / "DB.YAML").write_text("rules: []\n")
    ran = run(folder, "check")
    assert ran.code == FINE
    assert (
        "rules/DB.YAML:1:1: warning: the file is not read: its name ends in '.YAML'\n"
        "    rules are read from *.yaml and *.yml, in small letters: rename it\n"
    ) in ran.err


def test_of_a_rule_whose_labels_no_known_alert_has_nothing_is_said(folder: Path) -> None:
    dedup = "dedup: [payload.alert_idd]"
    rules(folder, GOOD.replace("match: {source: dd}", f"match: {{source: dd, labels.example: nobody's}}, {dedup}"))
    assert "no known payload" not in run(folder, "check").err
    rules(folder, GOOD.replace("match: {source: dd}", f"match: {{source: dd, labels.env: prod}}, {dedup}"))
    assert "no known payload" in run(folder, "check").err, "the shipped samples have it"


@pytest.mark.parametrize("asked", ["source_type: pingdom", "source: dd, source_type: [zendesk, jira]"])
def test_a_rule_for_a_type_that_no_source_has_is_warned_of(folder: Path, asked: str) -> None:
    rules(folder, GOOD.replace("source: dd", asked))
    ran = run(folder, "check")
    assert ran.code == FINE
    assert (
        "rules/a.yaml:2:10: warning: rule 'a' can never match: no source is of the type that it asks for\n"
        "    sources in bridge.yaml: dd (datadog)\n"
    ) in ran.err
    rules(folder, GOOD.replace("source: dd", "source_type: datadog"))
    assert "can never match" not in run(folder, "check").err


def test_an_error_beside_warnings_counts_alone(folder: Path) -> None:
    rules(folder, GOOD.replace("{source: dd}", "{severty: x}, dedup: [payload.date]"))
    ran = run(folder, "check")
    assert (ran.code, ran.out) == (PROBLEMS, "")
    assert ran.err.splitlines()[-1].startswith("1 problem in 1 file")


def test_keys_that_hold_say_over_how_much(folder: Path) -> None:
    ran = run(folder, "check", "--keys")
    assert ran.code == FINE
    assert ": each problem has one key, and each key one problem\n" in ran.out


def test_keys_that_do_not_hold_are_proven_with_the_two_events(folder: Path) -> None:
    rules(folder, GOOD.replace("{source: dd}", "{source: dd}, dedup: [source, payload.alert_transition]"))
    ran = run(folder, "check", "--keys", "--offline")
    assert ran.code == PROBLEMS
    assert "rules/a.yaml:2:10: rule 'a' gives one problem of dd two keys\n" in ran.err
    assert "    sample datadog/retriggered: firing 'Replication lag is high" in ran.err
    assert "    sample datadog/triggered: firing 'Replication lag is high" in ran.err
    assert "    'payload.alert_transition' differs: take it out of the key" in ran.err


def test_problems_that_share_a_key_are_an_error_unless_they_may(folder: Path) -> None:
    events = folder / "exported" / "dd"
    events.mkdir(parents=True)
    for number in range(2):
        body = {"title": f"t{number}", "alert_id": number, "alert_transition": "Triggered", "aggreg_key": f"k{number}"}
        (events / f"{number}.json").write_text(json.dumps(body))
    rules(folder, GOOD.replace("{source: dd}", "{source: dd}, dedup: [source]"))
    words = ("check", "--keys", "--events", str(events.parent))
    ran = run(folder, *words)
    assert ran.code == PROBLEMS
    assert "rule 'a' gives two problems of dd one key" in ran.err
    ran = run(folder, *words, "--joins")
    assert ran.code == FINE
    assert "warning: rule 'a' gives two problems of dd one key" in ran.err
    assert "2 reports of 2 problems: each problem has one key; some share one\n" in ran.out


def test_a_folder_of_rules_is_held_to_its_accounts(folder: Path) -> None:
    (folder / "rules" / "team").mkdir()
    (folder / "rules" / "team" / "r.yaml").write_text(GOOD.replace("id: a", "id: b").replace("unmatched: record\n", ""))
    configure(folder, rules_accounts={"team/": ["io"]})
    ran = run(folder, "check")
    assert ran.code == PROBLEMS
    assert "rules/team/r.yaml:2:22: rule 'b' sends to account 'pd', which rules in team/ may not use\n" in ran.err
    configure(folder, rules_accounts={"teem/": ["nobody"]})
    ran = run(folder, "check")
    assert "there is no folder 'teem/' of rules\n" in ran.err
    assert "account 'nobody' does not exist\n" in ran.err
