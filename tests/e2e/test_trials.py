"""Tries of the playground: the answers of explain and check, in a process that ends whatever it is given."""

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bridge import wiring
from bridge.entrypoints.trial import answered
from bridge.entrypoints.web.ui.playground import README
from bridge.entrypoints.web.ui.playground import _test as saved_test
from bridge.entrypoints.web.ui.trials import TEXT_MAX_BYTES, Trial, TrialRefused, Trials
from tests.e2e.processes import SECRETS, write_configuration
from tests.e2e.test_commands import PROBLEMS, run

pytestmark = pytest.mark.e2e

RULE = """\
rules:
  - id: try-me
    match: {severity: critical}
    account: pd
    incident: {title: "%s", service: Checkout API}
"""
# macOS as a process finds it that starts with this on its path
MACOS = """\
import resource

def setrlimit(which, limits):
    raise ValueError("current limit exceeds maximum limit")

resource.setrlimit = setrlimit
"""
Try = Callable[..., dict[str, Any]]
ALERT = json.dumps({"title": "it is down", "severity": "critical"})


@pytest.fixture
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)  # the environment of a web process, which its tries inherit
    return write_configuration(tmp_path / "configuration")


@pytest.fixture
def tried(configuration: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """A try in this process, without the kernel's bounds."""
    settings = wiring.load_settings(configuration, receives=False)

    def made(rules: str, body: str = ALERT, *, test: bool = False) -> dict[str, Any]:
        folder = tmp_path / "try"
        folder.mkdir(exist_ok=True)
        asked = {"source": "lab", "headers": {}, "body": body, "rules": rules, "folder": str(folder), "test": test}
        asked |= {"in_force": None}
        return json.loads(json.dumps(answered(settings, asked)))  # type: ignore[no-any-return]

    return made


@pytest.fixture
def trials(configuration: Path) -> Trials:
    return Trials(configuration)


def test_where_the_kernel_bounds_no_memory_a_try_is_made_all_the_same(
    trials: Trials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(MACOS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    answer = trials.made(Trial(source="lab", body=ALERT, rules=RULE % "down"))
    assert answer["explanation"]["alerts"][0]["summary"] == "rule try-me matches: an incident at pd"


def test_a_rule_is_tried_on_a_payload_as_explain_would(trials: Trials) -> None:
    (alert,) = trials.made(Trial(source="lab", body=ALERT, rules=RULE % "{{ alert.title }}!"))["explanation"]["alerts"]
    assert alert["summary"] == "rule try-me matches: an incident at pd"
    assert alert["requests"][0]["fields"]["title"] == "it is down!"
    assert "Authorization" in alert["requests"][0]["request"]["headers"]
    assert "[redacted]" in alert["requests"][0]["request"]["headers"]["Authorization"]


def test_without_a_rule_text_the_rules_in_force_are_tried(tried: Try) -> None:
    (alert,) = tried("")["explanation"]["alerts"]
    assert alert["requests"][0]["rule"] == "rest"


def test_what_a_reload_would_refuse_is_not_tried_for_the_rules_in_force(configuration: Path) -> None:
    files = wiring.rule_files(wiring.load_settings(configuration, receives=False))
    for path in (configuration.parent / "rules").glob("*.yaml"):
        path.write_text("rules: [oh no\n")
    answer = Trials(configuration, lambda: files).made(Trial(source="lab", body=ALERT, rules=""))
    assert [one["requests"][0]["rule"] for one in answer["explanation"]["alerts"]] == ["rest"]


def test_every_problem_stands_at_its_line(tried: Try) -> None:
    text = "rules:\n  - id: a\n    match: {severty: critical}\n    incident: {titel: x}\n"
    problems = tried(text)["problems"]
    assert {(one["file"], one["line"]) for one in problems} >= {("playground.yaml", 3)}
    assert any("did you mean" in one["hint"] for one in problems)


def test_what_is_no_payload_is_said_so(tried: Try) -> None:
    assert "lab" in tried(RULE % "x", "{")["unreadable"]


def test_a_test_can_be_made_of_it(tried: Try) -> None:
    files = tried(RULE % "x", test=True)["files"]
    assert sorted(files) == ["fixtures/playground.headers.json", "fixtures/playground.json", "playground.test.yaml"]


def test_what_is_downloaded_runs_as_its_readme_says_and_puts_nothing_in_force(configuration: Path, tried: Try) -> None:
    folder = configuration.parent
    text = RULE % "only in the playground"
    saved = saved_test(tried(text, test=True)["files"], text)
    with zipfile.ZipFile(io.BytesIO(saved.get_data())) as archive:
        archive.extractall(folder)
        names = archive.namelist()
    assert [name for name in names if name.endswith(".yaml")] == ["playground-test/playground.test.yaml"]
    command = next(line.split() for line in README.splitlines() if line.startswith("    incident-bridge"))[1:]
    done = run(folder, *command)
    assert done.code == 0, done
    assert "1 test" in done.out
    assert run(folder, "test", "playground-test").code == PROBLEMS, "the rules in force know no such rule"


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}",
        "{{ ''.__class__.__mro__ }}",
        "{{ 'x' * 100000000 }}",
        "{% include '/etc/passwd' %}",
    ],
)
def test_a_hostile_template_costs_its_field_and_nothing_else(tried: Try, template: str) -> None:
    answer = tried(RULE % template.replace('"', "'"))
    assert answer["problems"] or answer["explanation"]["alerts"][0]["requests"][0]["fields"]["title"] == "it is down"


@pytest.mark.parametrize(
    "text", ["a: &a [*a]", "[" * 5000, "{" * 5000, "rules: " + "[[" * 500, "? " * 3000, "\x00", "%YAML 9"]
)
def test_a_hostile_rule_text_is_a_problem_or_a_sentence(tried: Try, text: str) -> None:
    assert tried(text)["problems"]


def test_a_try_that_takes_too_long_is_ended(trials: Trials) -> None:
    rules = "rules:\n" + "".join(
        f"  - {{id: r{n}, account: pd, match: {{title: {{regex: 'a.*b.*{n}'}}}}, incident: {{title: x, service: y}}}}\n"
        for n in range(700)
    )
    alerts = [{"title": "a" * 20, "fingerprint": str(n)} for n in range(1000)]
    with pytest.raises(TrialRefused, match="stopped after 2 s"):
        trials.made(
            Trial(
                source="lab", body=json.dumps({"alerts": alerts}), rules=rules[: TEXT_MAX_BYTES - 1].rpartition("\n")[0]
            )
        )


def test_a_longer_text_is_not_tried_at_all(trials: Trials) -> None:
    for given in (
        Trial(source="lab", body="é" * TEXT_MAX_BYTES, rules=""),
        Trial(source="lab", body="", rules="x" * 65537),
    ):
        with pytest.raises(TrialRefused, match="takes up to 65,536"):
            trials.made(given)
