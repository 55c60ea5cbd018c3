"""The JSON Schemas for editors: what is shipped is right by them, mistakes are underlined, every key is explained."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from bridge.config.models import AccountModel, FileModel, SourceModel
from bridge.config.rule_models import RuleSettingsModel
from bridge.config.schema import file_name
from bridge.config.yaml_reader import read_tree
from bridge.destinations import DESTINATIONS
from bridge.domain.errors import ConfigError
from bridge.entrypoints.cli.schema import as_file, every_schema
from bridge.entrypoints.cli.setup import SHIPPED
from bridge.rules.conditions import CONDITIONS
from bridge.rules.paths import HEADS
from bridge.sources import SOURCES
from tests.e2e.processes import write_configuration
from tests.unit.test_rulebook import load, written

ROOT = Path(__file__).parent.parent.parent
SCHEMAS = every_schema()
SHIPPED_AT = {"bridge": ROOT, "rules": ROOT / "rules", "tests": ROOT / "rules"}
MODELINE = re.compile(r"^# yaml-language-server: \$schema=(\S+)\n")
YAML = [ROOT / "bridge.yaml", *sorted((ROOT / "rules").rglob("*.yaml")), *sorted((ROOT / "rules").rglob("*.yml"))]
DOCUMENTED = [
    (f"{path.relative_to(ROOT)}-{number}", example)
    for path in [ROOT / "README.md", *(ROOT / name / "README.md" for name in ("rules", "templates", "deploy"))]
    for number, example in enumerate(
        re.findall(r"^```yaml\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE), start=1
    )
]


def value_of(text: str) -> Any:
    tree = read_tree(text, "example.yaml")
    assert tree.problems == ()
    return tree.value


def wrongs(name: str, value: Any) -> list[str]:
    return [error.message for error in Draft7Validator(SCHEMAS[name]).iter_errors(value)]


def kind_of(path: Path) -> str:
    return "tests" if ".test." in path.name else "bridge" if path.name == "bridge.yaml" else "rules"


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_one(name: str) -> None:
    Draft7Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_shipped_file_is_what_the_program_makes(name: str, update_golden: bool) -> None:
    shipped = SHIPPED_AT[name] / file_name(name)
    if update_golden:
        shipped.write_text(as_file(SCHEMAS[name]), encoding="utf-8")
    assert shipped.read_text(encoding="utf-8") == as_file(SCHEMAS[name]), "rewrite it with pytest --update-golden"


def test_init_brings_the_schemas_along() -> None:
    shipped = {file for name in SHIPPED for file in [ROOT / name, *(ROOT / name).rglob("*")]}
    assert {SHIPPED_AT[name] / file_name(name) for name in SCHEMAS} <= shipped


@pytest.mark.parametrize("path", YAML, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_shipped_example_names_its_schema_and_is_right_by_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = MODELINE.match(text)
    assert named is not None, "its first line names no schema"
    assert (path.parent / named[1]).resolve() == (SHIPPED_AT[kind_of(path)] / file_name(kind_of(path))).resolve()
    assert wrongs(kind_of(path), value_of(text)) == []


@pytest.mark.parametrize(("place", "example"), DOCUMENTED, ids=[place for place, _ in DOCUMENTED])
def test_a_documented_example_is_right_by_its_schema(place: str, example: str) -> None:
    value = value_of(example)
    if isinstance(value, list):
        assert wrongs("tests", value) == []
    elif "rules" in value and not isinstance(value["rules"], str):
        assert wrongs("rules", value) == []
    else:
        assert wrongs("bridge", {"sources": {}, "accounts": {}} | value) == []


BRIDGE = """
sources: {lab: {type: generic, auth: none}, dd: {type: datadog, auth: {header: X-Token, secret: "${SECRET}"}}}
accounts: {pd: {type: pagerduty, token: sandbox, from: bot@example.com, rate: 12/min, defaults: {service: Catch-all}}}
"""
RULES = """
defaults: {account: pd}
rules:
  - id: db
    match: {source: lab, severity: [critical], labels.team: db, payload.value: {gt: 3}, not: {status: resolved}}
    dedup: [source, payload.id]
    hold_resolve: 5m
    mode: live
    incident: {title: "{{ alert.title }}", service: S, urgency: {from: severity, map: {critical: high}, else: low}}
unmatched: record
"""
TESTS = """
- name: pages once
  steps:
    - {at: 0s, send: fixtures/a.json, to: lab}
    - {at: 0s, upstream: {account: pd, status: 429, headers: {ratelimit-reset: "20"}}}
    - {at: 30s, expect: {account: pd, created: 1, request: {incident: {title: {contains: pg}, priority: P1}}}}
    - {expect: {matched: null, because: {rule: db, condition: not.labels.env}}}
"""
GOOD = {"bridge": BRIDGE, "rules": RULES, "tests": TESTS}


@pytest.mark.parametrize("name", GOOD)
def test_what_the_mistakes_below_are_made_of_is_right(name: str) -> None:
    assert wrongs(name, value_of(GOOD[name])) == []


def test_the_configuration_that_every_process_is_tested_with_is_right(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    assert wrongs("bridge", value_of(config.read_text(encoding="utf-8"))) == []
    assert wrongs("rules", value_of((tmp_path / "rules" / "rules.yaml").read_text(encoding="utf-8"))) == []


MISTAKES = [
    ("bridge", "type: generic", "type: generik"),
    ("bridge", "auth: none", "auth: nobody"),
    ("bridge", ", auth: none", ""),
    ("bridge", '"${SECRET}"', "plain-text-secret"),
    ("bridge", "header: X-Token, ", ""),
    ("bridge", "token: sandbox", "api_key: sandbox"),
    ("bridge", "from: bot@example.com, ", ""),
    ("bridge", "12/min", "12 a minute"),
    ("bridge", "service: Catch-all", "servise: Catch-all"),
    ("bridge", "accounts:", "acounts:"),
    ("bridge", "lab:", "Lab Source:"),
    ("rules", "id: db", "name: db"),
    ("rules", "- id: db", "- id: record"),
    ("rules", "source: lab", "sorce: lab"),
    ("rules", "severity: [critical]", "severity: [kritical]"),
    ("rules", "gt: 3", "gt: three"),
    ("rules", "gt: 3", "greater: 3"),
    ("rules", "not: {status: resolved}", "not: [a]"),
    ("rules", "[source, payload.id]", "[sauce]"),
    ("rules", "[source, payload.id]", "source"),
    ("rules", "hold_resolve: 5m", "hold_resolve: five minutes"),
    ("rules", "mode: live", "mode: dry"),
    ("rules", "title:", "titel:"),
    ("rules", "critical: high", "critical: loud"),
    ("rules", "map: {critical: high}, ", ""),
    ("rules", "rules:", "rule:"),
    ("tests", "name: pages once", "nam: pages once"),
    ("tests", "send: fixtures/a.json, ", ""),
    ("tests", "at: 30s", "at: soon"),
    ("tests", "status: 429", "status: 42"),
    ("tests", "created: 1", "created: one"),
    ("tests", "because:", "becaus:"),
]


@pytest.mark.parametrize(
    ("name", "right", "wrong"), MISTAKES, ids=[wrong or f"no {right}" for _, right, wrong in MISTAKES]
)
def test_a_mistake_is_underlined(name: str, right: str, wrong: str) -> None:
    assert right in GOOD[name]
    assert wrongs(name, value_of(GOOD[name].replace(right, wrong, 1))) != []


def test_a_test_that_expects_nothing_is_underlined() -> None:
    sent = {"send": "a.json", "to": "lab"}
    assert wrongs("tests", [{"name": "x", "steps": [sent]}]) != []
    assert wrongs("tests", [{"name": "x", "steps": [sent, {"expect": {"created": 1}}]}]) == []


def keys_in(schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every key a schema describes, but those that only say when a part of it applies."""
    if isinstance(schema, Mapping):
        for name, inner in schema.items():
            if name in ("properties", "patternProperties") and isinstance(inner, Mapping) and "if" not in path[-1:]:
                yield from (((*path, key), one) for key, one in inner.items() if one is not False)
            yield from keys_in(inner, (*path, name))
    elif isinstance(schema, list):
        for number, inner in enumerate(schema):
            yield from keys_in(inner, (*path, str(number)))


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_key_is_explained(name: str) -> None:
    found = dict(keys_in(SCHEMAS[name]))
    assert len(found) > 10
    assert [path for path, schema in found.items() if not schema.get("description")] == []


def test_a_field_means_the_same_whatever_is_written_in_it() -> None:
    """On hover yaml-language-server (1.25) shows what the fitting alternative says, and nothing of the field itself."""
    rules = SCHEMAS["rules"]["definitions"]
    fields = [schema for name in DESTINATIONS for schema in rules[name]["properties"].values()]
    choices = [one for schema in fields for one in schema.get("anyOf", ())]
    assert [one for one in [*rules["leaf"]["anyOf"], *choices] if "description" in one] == []


def nearest(schema: Any, name: str) -> Any:
    """The alternative that an editor speaks of when none fits: the first."""
    while "anyOf" in schema or "$ref" in schema:
        of = SCHEMAS[name]["definitions"]
        schema = schema["anyOf"][0] if "anyOf" in schema else of[schema["$ref"].rpartition("/")[2]]
    return schema


def test_whoever_mistypes_how_a_sender_proves_itself_is_not_told_to_write_none() -> None:
    for entry in SCHEMAS["bridge"]["definitions"]["source"]["allOf"]:
        kind = entry["if"]["properties"]["type"]["const"]
        wanted = sorted(SOURCES[kind].signature_keys)
        found = nearest(entry["then"]["properties"]["auth"], "bridge")
        assert found.get("required") == (wanted[:1] or ["bearer"]) or found["const"] in SOURCES[kind].signature_words


def test_whoever_mistypes_an_operator_hears_of_operators_and_of_choices_who_mistypes_one() -> None:
    for head, condition in SCHEMAS["rules"]["definitions"]["conditions"]["properties"].items():
        if head in HEADS:
            assert ("enum" if head in ("severity", "status") else "properties") in nearest(condition, "rules"), head


def test_an_editor_offers_record_for_what_no_rule_matches() -> None:
    (first, *others) = SCHEMAS["rules"]["properties"]["unmatched"]["anyOf"][0]["anyOf"]
    assert (first, others) == ({"const": "record"}, [{"type": "string"}])


@pytest.mark.parametrize(
    ("account", "changes", "is_right"),
    [
        ("pagerduty", "{urgency: high, priority: P1, escalation_level: 2}", True),
        ("pagerduty", "{urgency: {from: severity, map: {critical: high}, else: low}}", True),
        ("pagerduty", "{urgencyy: high}", False),
        ("pagerduty", "{urgency: hihg}", False),
        ("pagerduty", "{service: Checkout API}", False),
        ("pagerduty", "{}", False),
        ("incident_io", "{severity: Major, notify_incident_channel: false}", True),
        ("incident_io", "{notify_incident_channel: 'false', call_url: 'https://meet.example.com'}", True),
        ("incident_io", "{notify_incident_channel: no}", False),
        ("incident_io", "{visibility: private}", False),
    ],
)
def test_what_a_rise_of_severity_may_change_is_right_by_the_schema_and_nothing_else_is(
    tmp_path: Path, account: str, changes: str, is_right: bool
) -> None:
    named, incident = {
        "pagerduty": ("pagerduty-prod", "{title: x, service: y}"),
        "incident_io": ("incident-io", "{name: x, severity: z}"),
    }[account]
    rule = f"{{id: a, account: {named}, match: {{}}, incident: {incident}, on_severity_rise: {{update: {changes}}}}}"
    text = f"rules: [{rule}]\nunmatched: record\n"
    assert (wrongs("rules", value_of(text)) == []) is is_right
    if is_right:
        load(written(tmp_path, a=text))
    else:
        with pytest.raises(ConfigError):
            load(written(tmp_path, a=text))


def test_the_schemas_know_every_setting_condition_operator_and_field() -> None:
    bridge, rules = SCHEMAS["bridge"], SCHEMAS["rules"]
    assert set(bridge["properties"]) == {field.alias or name for name, field in FileModel.model_fields.items()}
    for model, where in ((AccountModel, "account"), (SourceModel, "source")):
        wanted = {field.alias or name for name, field in model.model_fields.items()}
        assert wanted <= set(bridge["definitions"][where]["properties"])
    assert set(bridge["definitions"]["source"]["properties"]["type"]["anyOf"][0]["enum"]) == set(SOURCES)
    assert set(rules["definitions"]["conditions"]["properties"]) == {*HEADS, "not", "any", "all"}
    assert set(rules["definitions"]["operators"]["properties"]) == set(CONDITIONS)
    for name, made in DESTINATIONS.items():
        assert set(rules["definitions"][name]["properties"]) == {*made.fields, "incident_key"}
        for field, about in made.fields.items():
            assert about.about in rules["definitions"][name]["properties"][field]["description"]


def test_a_type_takes_no_settings_of_another() -> None:
    settings = {name: getattr(made, "settings", {}) for name, made in SOURCES.items()}
    for name, own in settings.items():
        foreign = {key for other in settings.values() for key in other} - set(own)
        for key in foreign:
            assert wrongs("bridge", {"sources": {"s": {"type": name, "auth": "none", key: "x"}}, "accounts": {}}) != []


def test_a_variable_may_stand_for_every_number_and_choice() -> None:
    account = {"type": "pagerduty", "token": "${T}", "from": "${F}", "region": "${R}", "burst": "${B}", "rate": "${X}"}
    value = {"sources": {}, "accounts": {"pd": account}, "server": {"max_body": "${M}", "trusted_proxies": "${P:-0}"}}
    assert wrongs("bridge", value) == []


@pytest.mark.parametrize("entry", ['{type: "${T}", auth: none, fields: {title: a}}', '{type: generic, auth: "${A}"}'])
def test_a_variable_may_stand_for_the_type_and_the_auth_of_a_source(entry: str) -> None:
    assert wrongs("bridge", {"sources": {"lab": value_of(entry)}, "accounts": {}}) == []


def test_a_variable_may_stand_for_the_type_of_an_account() -> None:
    assert wrongs("bridge", {"sources": {}, "accounts": {"a": {"type": "${T}", "api_key": "${K}"}}}) == []


def test_a_field_of_a_source_that_takes_several_expressions_takes_a_list_and_no_other_does() -> None:
    def of(**fields: Any) -> list[str]:
        source = {"type": "generic", "auth": "none", "fields": fields}
        return wrongs("bridge", {"sources": {"lab": source}, "accounts": {}})

    assert of(fingerprint=["payload.desk", "payload.ticket_event.nr"], episode=["payload.a"]) == []
    assert of(fingerprint=[]) != []
    assert of(title=["payload.a", "payload.b"]) != []


@pytest.mark.parametrize("key", [*sorted({*RuleSettingsModel.model_fields} - {"account"}), "when"])
def test_a_key_of_a_rule_that_may_be_left_empty_is_not_underlined(tmp_path: Path, key: str) -> None:
    rule = f"  - {{id: a, account: pagerduty-prod, match: {{}}, incident: {{title: x, service: y}}, {key}: }}"
    text = f"unmatched: record\nrules:\n{rule}\n"
    load(written(tmp_path, a=text))
    assert wrongs("rules", value_of(text)) == []


def test_a_rule_with_a_when_may_leave_its_match_empty(tmp_path: Path) -> None:
    text = """
unmatched: record
rules:
  - {id: a, account: pagerduty-prod, match: , when: alert.title == 'x', incident: {title: x, service: y}}
"""
    load(written(tmp_path, a=text))
    assert wrongs("rules", value_of(text)) == []


@pytest.mark.parametrize("field", ["severity: {look_up}", "incident: {{title: x, service: y, urgency: {look_up}}}"])
def test_a_look_up_within_a_look_up_is_not_underlined(tmp_path: Path, field: str) -> None:
    values = {"severity": "info", "incident": "high"}[field.partition(":")[0]]
    inner = f"{{from: labels.b, map: {{x: {values}}}, else: {values}}}"
    more = field.format(look_up=f"{{from: labels.a, map: {{a: {inner}}}, else: {inner}}}")
    incident = "" if more.startswith("incident") else "incident: {title: x, service: y}, "
    text = f"unmatched: record\nrules:\n  - {{id: a, account: pagerduty-prod, match: {{}}, {incident}{more}}}\n"
    load(written(tmp_path, a=text))
    assert wrongs("rules", value_of(text)) == []


def test_a_number_in_a_header_is_not_underlined() -> None:
    assert wrongs("tests", value_of(TESTS.replace('"20"', "20"))) == []


def test_a_schema_is_plain_json() -> None:
    for made in SCHEMAS.values():
        assert json.loads(as_file(made)) == made
