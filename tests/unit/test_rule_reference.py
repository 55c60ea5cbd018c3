"""rules/README.md is a reference: every operator, path, filter, test, setting and field has an example, and all run."""

import json
import re
import shutil
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.config.rule_models import RuleFileModel, RuleModel
from bridge.config.yaml_reader import read_tree
from bridge.destinations import DESTINATIONS
from bridge.domain.alert import Alert, Webhook
from bridge.domain.errors import Place
from bridge.render import FILTERS, TESTS, Renderer
from bridge.rules.conditions import CONDITIONS
from bridge.rules.match import refusal
from bridge.rules.paths import HEADS
from bridge.sources import SOURCES
from bridge.sources.base import NoAuth
from tests.e2e.test_commands import FINE, PROBLEMS, run
from tests.unit.test_rulebook import load, written

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "rules" / "README.md").read_text(encoding="utf-8")
EVERY_FIELD = (ROOT / "rules" / "every-field.yaml").read_text(encoding="utf-8")


def part(name: str) -> str:
    """The lines of a fenced example."""
    found = re.search(rf"<!-- example-{name} -->\n```\w+\n(.*?)\n```\n<!-- /example-{name} -->", README, re.DOTALL)
    assert found is not None, f"rules/README.md has no example {name}"
    return found[1]


CONDITIONS_SHOWN = [re.split(r"\s+# ", line, maxsplit=1) for line in part("conditions").splitlines()]
TEMPLATES_SHOWN = [re.split(r"\s*=> ", line, maxsplit=1) for line in part("templates").splitlines()]


def the_alert() -> Alert:
    source = SOURCES["generic"](name="lab", auth=NoAuth())
    body = part("alert").encode()
    (one,) = source.alerts_in(
        Webhook(
            source="lab",
            headers={"content-type": "application/json"},
            body=body,
            received_at=datetime(2026, 8, 1, 10, 6, tzinfo=UTC),
        )
    )
    assert isinstance(one, Alert)
    assert one.payload == json.loads(body)
    return one


@pytest.mark.parametrize(("condition", "said"), CONDITIONS_SHOWN, ids=[one[0] for one in CONDITIONS_SHOWN])
def test_a_condition_of_the_reference_holds_as_it_says(tmp_path: Path, condition: str, said: str) -> None:
    text = (
        "rules:\n  - id: a\n    account: pagerduty-prod\n    match:\n"
        f"      {condition}\n    incident: {{title: x, service: y}}\nunmatched: record\n"
    )
    book, _ = load(written(tmp_path, a=text))
    held = refusal(book.rules[0].conditions or (), the_alert()) is None
    assert said.split(":")[0] == ("yes" if held else "no")


@pytest.mark.parametrize(("template", "text"), TEMPLATES_SHOWN, ids=[one[0] for one in TEMPLATES_SHOWN])
def test_a_template_of_the_reference_writes_what_it_says(template: str, text: str) -> None:
    assert Renderer({}).compile_text(template, Place(file="x")).value(the_alert()).rstrip() == text


def test_every_operator_and_path_has_an_example() -> None:
    blocks = [read_tree(condition, "x").value for condition, _ in CONDITIONS_SHOWN]
    keys = {key for block in blocks for key in block}
    operators = {word for block in blocks for value in block.values() if isinstance(value, dict) for word in value}
    assert set(CONDITIONS) <= operators
    assert {"not", "any", "all"} <= keys
    assert set(HEADS) <= {re.split(r"[.\[]", key)[0] for key in keys}


def test_every_filter_and_every_test_has_an_example() -> None:
    shown = "\n".join(template for template, _ in TEMPLATES_SHOWN)
    filters = set(re.findall(r"\|\s*([a-z_]+)", shown))
    assert set(FILTERS) <= filters, sorted(set(FILTERS) - filters)
    tests = set(re.findall(r"\bis (\w+)", shown)) | set(re.findall(r"(?:select|reject)\('([^']+)'", shown))
    assert set(TESTS) <= tests, sorted(set(TESTS) - tests)


def test_every_setting_of_a_rule_and_of_a_file_is_in_the_reference() -> None:
    for model in (RuleModel, RuleFileModel):
        for name, about in model.model_fields.items():
            assert f"`{about.alias or name}" in README, about.alias or name


@pytest.mark.parametrize("kind", sorted(DESTINATIONS))
def test_every_field_of_an_incident_stands_in_the_example_of_all(kind: str) -> None:
    for name in DESTINATIONS[kind].fields:
        assert re.search(rf"\b{name}\b", EVERY_FIELD), f"rules/every-field.yaml has no {name}"


def test_the_first_rule_of_the_readme_passes_its_test_beside_the_shipped_ones(tmp_path: Path) -> None:
    for name in ("bridge.yaml", "rules", "templates"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, tmp_path / name)
    section = README.partition("## Your first rule\n")[2].partition("\n## ")[0]
    texts = [textwrap.dedent(text) for text in re.findall(r"^   ```\n(.*?)^   ```$", section, re.DOTALL | re.MULTILINE)]
    names = ("fixtures/backup.json", "fixtures/backup_over.json", "10-mine.yaml", "mine.test.yaml")
    for name, text in zip(names, texts, strict=True):
        assert f"`rules/{name}`" in section
        (tmp_path / "rules" / name).write_text(text)
    assert run(tmp_path, "check", "--offline").code == FINE
    assert "=> rule mine matches: " in run(tmp_path, "explain", "lab", "rules/fixtures/backup.json").out
    ran = run(tmp_path, "test")
    assert (ran.code, "3 tests pass" in ran.out) == (FINE, True), ran.out
    file = tmp_path / "rules" / "mine.test.yaml"
    file.write_text(file.read_text().replace("urgency: high", "urgency: low"))
    ran = run(tmp_path, "test")
    assert ran.code == PROBLEMS
    assert 'rules/mine.test.yaml:5: after 60 s request.incident.urgency is "high", wanted "low"\n' in ran.out
    for name in ("examples.yaml", "examples.test.yaml"):
        (tmp_path / "rules" / name).unlink()
    file.write_text(texts[3])
    (tmp_path / "rules" / "10-mine.yaml").write_text(texts[2] + "unmatched: record\n")
    assert (run(tmp_path, "check", "--offline").code, run(tmp_path, "test").code) == (FINE, FINE)
