"""`incident-bridge test`: cases that hold, cases that do not, files that cannot be read, and how long it takes."""

import json
import re
import shutil
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import structlog

from bridge.adapters import logs
from bridge.config.rule_tests import Send, read_cases
from tests.e2e.processes import write_configuration
from tests.e2e.test_commands import FINE, PROBLEMS, Ran, run

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent.parent
FIRES = {"title": "disk full", "fingerprint": "f1", "severity": "critical"}
ENDS = {**FIRES, "status": "resolved"}
PD: dict[str, Any] = {"account": "pd"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A configured bridge that never ran, with two bodies for its source `lab`."""
    write_configuration(tmp_path)
    (tmp_path / "rules" / "fixtures").mkdir()
    for name, body in (("fires", FIRES), ("ends", ENDS), ("other", {**FIRES, "labels": {"account": "io"}})):
        (tmp_path / "rules" / "fixtures" / f"{name}.json").write_text(json.dumps(body))
    return tmp_path


def send(name: str = "fires", **more: Any) -> dict[str, Any]:
    return {"send": f"fixtures/{name}.json", "to": "lab", **more}


def expect(at: str = "1m", **wanted: Any) -> dict[str, Any]:
    return {"at": at, "expect": wanted}


def played(folder: Path, *steps: dict[str, Any], words: tuple[str, ...] = ()) -> Ran:
    """One test of these steps (JSON is YAML)."""
    (folder / "rules" / "a.test.yaml").write_text(json.dumps([{"name": "it holds", "steps": steps}], indent=1))
    return run(folder, "test", *words)


CASES: dict[str, tuple[dict[str, Any], ...]] = {
    "a page and its end": (
        send(),
        expect("30s", created=1, open=1, matched="rest", request={"incident": {"title": "disk full"}}, **PD),
        send("ends", at="60s"),
        expect("5m", created=1, resolved=1, open=0),
    ),
    "sent twice, opened once": (send(), send(at="10s"), expect(created=1)),
    "over before it was sent": (
        {"upstream": {**PD, "status": 429, "headers": {"ratelimit-reset": "60"}}},
        send(),
        send("ends", at="10s"),
        expect("5m", created=0, open=0),
    ),
    "a 429 is waited for": (
        {"upstream": {**PD, "status": 429, "headers": {"ratelimit-reset": "60"}}},
        send(),
        expect("50s", created=0),
        expect("70s", created=1),
    ),
    "a lost answer": ({"upstream": {**PD, "lost": True}}, send(), expect("2m", created=1, open=1)),
    "a lost answer at incident.io": (
        {"upstream": {"account": "io", "lost": True}},
        send("other"),
        expect("2m", account="io", created=1, open=1),
    ),
    "an answer that nobody can read": (
        {"upstream": {**PD, "status": 201, "body": "welcome"}},
        send(),
        expect("2m", created=1, open=1),
    ),
    "a dead worker": ({"upstream": {**PD, "crash": True}}, send(), expect("2m", created=1, open=1)),
    "a dead worker at incident.io, hours into the test": (
        {"at": "3h", "upstream": {"account": "io", "crash": True}},
        send("other", at="3h"),
        expect("4h", account="io", created=1, open=1),
    ),
    "an upstream that is away for an hour": (
        *({"at": f"{n}ms", "upstream": {**PD, "status": 503}} for n in range(12)),
        send(at="1s"),
        expect("1h", created=1),
    ),
    "refused for good, and nothing is open": (
        *({"upstream": {**PD, "status": 400, "body": {"error": {"message": "no", "code": 2001}}}} for _ in range(2)),
        send(),
        expect("10m", created=0),
    ),
    "an open key is found by looking": (
        {"upstream": {**PD, "lost": True}},
        {"at": "1ms", "upstream": {**PD, "status": 500}},
        {
            "at": "2ms",
            "upstream": {
                **PD,
                "status": 400,
                "body": {
                    "error": {
                        "message": "Arguments Caused Error",
                        "code": 2002,
                        "errors": ["Open incident with matching dedup key already exists on this service"],
                    }
                },
            },
        },
        send(at="3ms"),
        expect("10m", created=1, open=1),
    ),
    "a name that is not found goes out plain": (
        {
            "upstream": {
                **PD,
                "status": 400,
                "body": {"error": {"message": "Invalid Input", "code": 2001, "errors": ["Service not found"]}},
            }
        },
        send(),
        expect("5m", created=1, open=1),
    ),
    "which rule, and which condition said no": (
        send(),
        expect(matched="rest", because={"rule": "to-io", "condition": "labels.account"}),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_case_that_holds_passes(folder: Path, name: str) -> None:
    ran = played(folder, *CASES[name])
    assert (ran.code, ran.err) == (FINE, ""), ran.out
    assert ran.out.startswith("ok    it holds\n1 test passes\nrules hit: 1 of 3; never matched: ")


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"created": 2}, "created is 1, wanted 2; incidents there: disk full (triggered)"),
        ({"open": 0}, "open is 1, wanted 0; incidents there: disk full (triggered)"),
        ({"account": "io", "created": 1}, "created is 0, wanted 1; incidents there: none"),
        ({"matched": None}, 'matched is "rest", wanted null; '),
        ({"matched": "to-io"}, 'matched is "rest", wanted "to-io"; '),
        ({"because": {"rule": "rest"}}, 'because is not {"rule": "rest"}: to-pd by labels.account, '),
        ({"request": {"incident": {"title": {"contains": "cpu"}}}}, "request.incident.title is "),
        ({"account": "io", "request": {}}, "request: nothing would be opened, wanted {}"),
    ],
)
def test_what_does_not_hold_is_said_with_line_and_time(folder: Path, wanted: dict[str, Any], sentence: str) -> None:
    ran = played(folder, send(), expect("90s", **wanted))
    assert ran.code == PROBLEMS
    first, told, *_ = ran.out.splitlines()
    assert first == "FAIL  it holds"
    assert told.startswith("      rules/a.test.yaml:")
    assert f": after 90 s {sentence}" in told
    assert "0 of 1 tests pass" in ran.out


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (
            (send(), expect(request={"incident": {"titel": {"absent": True}}})),
            "no incident has a field 'titel'\n    did you mean 'title'?",
        ),
        ((send(), expect(request={"titel": {"absent": True}})), "unknown key 'titel'\n    keys: incident"),
        ((send(), expect(request={"incident": {"body": {"absent": "no"}}})), "'absent' is true or false, found 'no'"),
        ((send(), expect(account="pd")), "the expectation is of account 'pd' and expects nothing"),
        ((send(), expect(because={})), "'because' is empty"),
        ((send(), expect(created=True)), "'created' is a number of incidents, found true"),
        ((expect(matched=None), send(), expect(created=1)), "no webhook is sent before it"),
        (({"upstream": {**PD, "lost": "no"}}, send(), expect(created=1)), "'lost' is true or false, found 'no'"),
        (({"upstream": {**PD, "body": "x"}}, send(), expect(created=1)), "the upstream answers as ever"),
    ],
)
def test_a_step_that_would_hold_whatever_the_rules_do_is_refused(
    folder: Path, steps: tuple[dict[str, Any], ...], sentence: str
) -> None:
    ran = played(folder, *steps)
    assert ran.code == PROBLEMS
    assert sentence in ran.err


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        (({"send": "fixtures/nosuch.json", "to": "lab"},), "'fixtures/nosuch.json' cannot be read"),
        (({"send": "fixtures/fires.json", "to": "lap"},), "there is no source 'lap'\n    did you mean 'lab'?"),
        ((expect(acount="pd"),), "unknown key 'acount'\n    did you mean 'account'?"),
        ((expect(account="pdd", created=1),), "there is no account 'pdd'"),
        ((send(at="1m"), expect("30s", created=1)), "it comes before the step above it (60 s)"),
        ((send(at="soon"),), "a duration such as 30s, 2m, 1h or 7d"),
        (({"at": "1s"},), "a step sends, expects, or says how the upstream answers"),
        ((expect(request={"incident": {"title": {"regex": "("}}}),), "regex '(' cannot be used: missing )"),
        (({"upstream": {**PD, "status": 1000}},), "a status is 200 to 599"),
        (({"upstream": {**PD, "headers": ["a"]}},), "headers are a mapping"),
        ((expect(because="rest"),), "'because' is a mapping, found 'rest'"),
        ((expect(because=None),), "'because' is a mapping, found nothing"),
        ((expect(account=["pd"], created=1),), "there is no account '['pd']'"),
        ((expect(request={"incident": {"title": {"one_of": 5}}}),), "'one_of' is a list, found the number 5"),
        ((), "the test expects nothing: it passes whatever the rules do\n    add a step such as {at: 1m"),
        ((send(), send(at="1m")), "the test expects nothing"),
        ((expect(created=0), send()), "the test expects something only before it sends anything: it passes whatever"),
        ((expect(created=0),), "the test expects something only before it sends anything: it passes whatever"),
        (({"send": "fixtures/fires.json"}, expect(created=1)), "nothing says to which source 'fixtures/fires.json' is"),
        ((send(), expect(matched=["rest"])), "the id of a rule is a text, found a list"),
    ],
)
def test_a_file_with_a_mistake_says_where(folder: Path, steps: tuple[dict[str, Any], ...], sentence: str) -> None:
    ran = played(folder, *steps)
    assert ran.code == PROBLEMS
    assert sentence in ran.err
    assert ran.err.startswith("rules/a.test.yaml:")


@pytest.mark.parametrize("told", [{"status": 429}, {"lost": True}, {"crash": True}])
def test_an_answer_that_no_call_was_given_is_a_failure_of_its_step(folder: Path, told: dict[str, Any]) -> None:
    ran = played(folder, send(), {"at": "1s", "upstream": {**PD, **told}}, expect("2m", created=1))
    assert ran.code == PROBLEMS, "the case would say that the create survived it"
    assert "after 1 s no call of account 'pd' met it: put it beside the 'send' that leads to one" in ran.out


def test_a_body_is_of_the_type_that_its_file_says_as_it_is_for_send_and_explain(folder: Path) -> None:
    (folder / "rules" / "fixtures" / "posted.form").write_text("title=disk+full&severity=critical")
    posted = {"send": "fixtures/posted.form", "to": "lab"}
    assert played(folder, posted, expect(created=1, request={"incident": {"title": "disk full"}})).code == FINE
    (folder / "rules" / "fixtures" / "posted.headers.json").write_text('["content-type"]')
    ran = played(folder, posted, expect(created=1))
    assert (ran.code, "posted.headers.json is not an object of header names" in ran.err) == (PROBLEMS, True)


def test_each_answer_is_for_one_call_that_of_a_dying_worker_too(folder: Path) -> None:
    crash = {"upstream": {**PD, "crash": True}}
    ran = played(folder, crash, send(), {"at": "5m", **crash}, expect("6m", created=1))
    assert ran.out.count("no call of account 'pd' met it") == 1
    assert "after 300 s no call" in ran.out
    refused = {"upstream": {**PD, "status": 500}}
    assert played(folder, crash, refused, send(), expect("1s", created=1), expect("6m", created=1)).code == FINE


def test_what_is_sent_meets_the_answer_of_its_moment_whichever_stands_first(folder: Path) -> None:
    limited = {"at": "1s", "upstream": {**PD, "status": 429, "headers": {"ratelimit-reset": "20"}}}
    for steps in ((send(at="1s"), limited), (limited, send(at="1s"))):
        assert played(folder, *steps, expect("2s", created=0), expect("2m", created=1)).code == FINE


def changed_rules(folder: Path, **settings: Any) -> None:
    """Every rule to PagerDuty says this as well."""
    path = folder / "rules" / "rules.yaml"
    content = json.loads(path.read_text())
    for rule in content["rules"]:
        if rule["account"] == "pd":
            rule |= settings
    path.write_text(json.dumps(content))


def test_a_rise_is_told_to_the_incident_that_is_open(folder: Path) -> None:
    changed_rules(folder, on_severity_rise={"update": {"urgency": "high"}})
    worse = {**FIRES, "severity": "warning"}
    (folder / "rules" / "fixtures" / "milder.json").write_text(json.dumps(worse))
    (folder / "rules" / "fixtures" / "second.json").write_text(json.dumps({**FIRES, "fingerprint": "f2"}))
    no = {"upstream": {**PD, "status": 400, "body": {"error": {"message": "no", "code": 2001}}}}
    ran = played(
        folder,
        send("milder"),
        {**no, "at": "1m"},
        {**no, "at": "1m"},
        send("fires", at="1m"),  # its update takes the first refusal
        send("second", at="2m"),  # so that this create meets one only, and arrives plain
        expect("3m", created=2, open=2, **PD),
    )
    assert (ran.code, ran.err) == (FINE, ""), ran.out


def test_what_comes_back_in_time_is_re_opened(folder: Path) -> None:
    changed_rules(folder, reopen_within="15m")
    ran = played(
        folder,
        send(),
        send("ends", at="1m"),
        expect("2m", created=1, open=0, resolved=1, **PD),
        send(at="10m"),
        expect("11m", created=1, open=1, resolved=0, **PD),
        send("ends", at="12m"),
        send(at="30m"),
        expect("31m", created=2, open=1, resolved=1, **PD),
    )
    assert (ran.code, ran.err) == (FINE, ""), ran.out


def test_a_body_the_source_cannot_read_is_a_failure_of_its_step(folder: Path) -> None:
    (folder / "rules" / "fixtures" / "fires.json").write_text("{")
    ran = played(folder, send(), expect(created=0))
    assert ran.code == PROBLEMS
    assert "the source 'lab' cannot read it: " in ran.out


def test_for_a_script_and_for_a_ci(folder: Path) -> None:
    ran = played(folder, send(), expect(created=2), words=("--json", "--junit", "out.xml"))
    (one,) = ran.json["tests"]
    assert (one["ok"], ran.json["ok"], one["misses"][0]["at_s"]) == (False, False, 60.0)
    assert ran.json["never_matched"] == ["to-pd", "to-io"]
    suite = ElementTree.fromstring((folder / "out.xml").read_text())
    assert (suite.get("tests"), suite.get("failures")) == ("1", "1")
    assert "created is 1, wanted 2" in str(suite.find("testcase/failure").get("message"))  # type: ignore[union-attr]


def test_the_headers_of_a_fixture_are_those_of_its_whole_name(folder: Path) -> None:
    """As explain, diff and export have it; `github.headers.json` would be those of another fixture."""
    fixtures = folder / "rules" / "fixtures"
    (fixtures / "github.failed.json").write_text("{}")
    (fixtures / "github.failed.headers.json").write_text('{"X-GitHub-Event": "workflow_run"}')
    (fixtures / "github.headers.json").write_text('{"X-GitHub-Event": "issues"}')
    file = folder / "rules" / "a.test.yaml"
    file.write_text(json.dumps([{"name": "x", "steps": [send("github.failed"), expect(created=0)]}]))
    (case,) = read_cases(file, "a.test.yaml", {"lab": None}, {"pd": None})
    (sent, _) = case.steps
    assert isinstance(sent.what, Send)
    assert sent.what.headers["x-github-event"] == "workflow_run"


def test_a_ci_hears_of_a_file_that_cannot_be_read(folder: Path) -> None:
    (folder / "rules" / "b.test.yaml").write_text("- nam: x\n")
    assert played(folder, send(), expect(created=1), words=("--junit", "out.xml")).code == PROBLEMS
    suite = ElementTree.fromstring((folder / "out.xml").read_text())
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "0", "1")
    (error,) = suite.findall("testcase/error")
    assert error.get("message") == "a test has a name and a list of steps"
    assert str(error.text).startswith("rules/b.test.yaml:1:3: ")


def test_what_xml_cannot_say_does_not_break_the_results_of_a_ci(folder: Path) -> None:
    name = "bell \x07, color \x1b[31m, tab \t, nothing \ufffe, ü"
    case = [{"name": name, "steps": [send(), expect(created=2)]}]
    (folder / "rules" / "a.test.yaml").write_text(json.dumps(case))
    run(folder, "test", "--junit", "out.xml")
    suite = ElementTree.fromstring((folder / "out.xml").read_bytes())
    (one,) = suite.findall("testcase")
    assert one.get("name") == "bell \ufffd, color \ufffd[31m, tab \t, nothing \ufffd, ü"


ODD = """# what we promise
- name: it holds   # keep me
  steps:
    - {send: fixtures/fires.json, to: lab}
    - at: 1m
      expect:
        created: 2        # two of them?
        matched: to-pd
        because: {rule: nobody, condition: labels.account}
        request: {incident: {title: "other", service: {contains: 'nothing'}, urgency: {one_of: [a, b]}}}
"""


def test_update_writes_todays_result_and_leaves_the_rest_as_it_is(folder: Path) -> None:
    file = folder / "rules" / "a.test.yaml"
    file.write_text(ODD)
    ran = run(folder, "test", "--update")
    assert ran.code == PROBLEMS
    assert "rules/a.test.yaml:10:87: 'request.incident.urgency' is yours to change: today it is " in ran.err
    text = file.read_text()
    wanted = ODD.replace("created: 2 ", "created: 1 ").replace("matched: to-pd", "matched: rest")
    wanted = wanted.replace("rule: nobody", "rule: to-pd").replace('"other"', '"disk full"')
    assert text.split("\n")[:-2] == wanted.split("\n")[:-2]
    assert "contains: 'nothing'" not in text
    file.write_text(text.replace(", urgency: {one_of: [a, b]}", ""))
    again = run(folder, "test", "--update")
    assert (again.code, again.err) == (FINE, "")
    assert "1 test passes" in again.out


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"because": {"rule": "rest"}}, 'because is not {"rule": "rest"}: no rule said no'),
        (
            {"account": "io", "request": {"incident": {"title": "x"}}},
            'request: nothing would be opened, wanted {"incident": {"title": "x"}}',
        ),
    ],
)
def test_update_names_what_no_value_can_mend_beside_what_it_writes(
    folder: Path, wanted: dict[str, Any], sentence: str
) -> None:
    only = json.loads((folder / "rules" / "rules.yaml").read_text())
    only["rules"] = [one for one in only["rules"] if one["id"] == "rest"]
    (folder / "rules" / "rules.yaml").write_text(json.dumps(only))
    ran = played(folder, send(), expect(matched=None, **wanted), words=("--update",))
    assert ran.code == PROBLEMS
    assert "wrote rules/a.test.yaml: 1 value" in ran.err
    assert f"yours to change: {sentence}\n" in ran.err


def test_update_keeps_the_ends_of_lines(folder: Path) -> None:
    file = folder / "rules" / "a.test.yaml"
    text = (
        "- name: it holds\r\n  steps:\r\n    - {send: fixtures/fires.json, to: lab}\r\n    - expect: {matched: null}\n"
    )
    file.write_bytes(text.encode())
    assert run(folder, "test", "--update").code == FINE
    assert file.read_bytes().decode() == text.replace("null", "rest")


def test_update_of_what_holds_writes_nothing(folder: Path) -> None:
    played(folder, send(), expect(created=1))
    file = folder / "rules" / "a.test.yaml"
    before = file.stat().st_mtime_ns
    assert run(folder, "test", "--update").code == FINE
    assert file.stat().st_mtime_ns == before


def test_coverage_names_rules_and_conditions_that_no_test_has_seen(folder: Path) -> None:
    ran = played(folder, send(), send("other", at="1s"), expect(account="io", created=1))
    assert "rules hit: 2 of 3; never matched: to-pd\n" in ran.out
    assert "conditions seen both true and false: 1 of 2\n  never true: to-pd by labels.account\n" in ran.out
    report = run(folder, "test", "--json").json
    assert report["conditions"] == [
        {"rule": "to-pd", "condition": "labels.account", "true": False, "false": True},
        {"rule": "to-io", "condition": "labels.account", "true": True, "false": True},
    ]


def test_one_file_some_names_and_none(folder: Path) -> None:
    assert "there are no tests" in run(folder, "test").err
    played(folder, send(), expect(created=1))
    assert "1 test passes" in run(folder, "test", "rules/a.test.yaml", "-k", "holds").out
    ran = run(folder, "test", "-k", "nosuch")
    assert (ran.code, ran.out) == (PROBLEMS, "")
    assert ran.err == "no test has 'nosuch' in its name (there is 1)\n"
    for_a_script = run(folder, "test", "-k", "nosuch", "--json")
    assert (for_a_script.code, for_a_script.json["tests"], for_a_script.json["ok"]) == (PROBLEMS, [], False)


def test_a_folder_that_was_named_and_holds_no_test_is_no_success(folder: Path) -> None:
    ran = run(folder, "test", "rules/fixtures")
    assert (ran.code, ran.out) == (PROBLEMS, "")
    assert ran.err == "there is no test in rules/fixtures: tests stand in files called *.test.yaml\n"
    assert run(folder, "test", "rules/fixtures", "--json").json["ok"] is False


def test_the_process_goes_on_logging_afterwards(folder: Path) -> None:
    played(folder, send(), expect(created=1))
    with structlog.testing.capture_logs() as lines:
        logs.get().info("heard")
    assert [line["event"] for line in lines] == ["heard"]


def test_what_the_shipped_rules_promise_holds(tmp_path: Path) -> None:
    for name in ("bridge.yaml", "rules", "templates"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, tmp_path / name)
    (example,) = re.findall(r"```yaml\n(- name:.*?)```", (ROOT / "rules" / "README.md").read_text(), re.DOTALL)
    (tmp_path / "rules" / "readme.test.yaml").write_text(example)
    ran = run(tmp_path, "test")
    assert ran.code == FINE, ran.out
    assert "3 tests pass" in ran.out


def test_a_hundred_tests_take_less_than_five_seconds(folder: Path) -> None:
    case = {"name": "n", "steps": CASES["a page and its end"]}
    (folder / "rules" / "many.test.yaml").write_text(json.dumps([case] * 100))
    began = time.process_time()
    ran = run(folder, "test", "--json")
    assert ran.json["ok"]
    assert time.process_time() - began < 5.0


def test_a_rule_that_is_not_there_is_a_problem_at_its_place(folder: Path) -> None:
    steps = [send(), expect(matched="rets", because={"rule": "nonono"})]
    ran = played(folder, *steps, words=("--json",))
    assert ran.code == PROBLEMS
    assert (ran.json["ok"], ran.json["tests"]) == (False, [])
    told = [(one["file"], one["line"], one["message"], one["hint"]) for one in ran.json["problems"]]
    assert [one[2] for one in told] == ["there is no rule 'rets'", "there is no rule 'nonono'"]
    assert told[0][0] == "rules/a.test.yaml"
    assert "rest" in told[0][3]
    lines = (folder / "rules" / "a.test.yaml").read_text().splitlines()
    assert ["rets" in lines[told[0][1] - 1], "nonono" in lines[told[1][1] - 1]] == [True, True]


def test_check_reads_the_tests_as_well(folder: Path) -> None:
    """A reload is refused for what is wrong with them, so whoever checks first hears of it first."""
    played(folder, send(), expect(matched="rets", created=9))
    checked = run(folder, "check")
    assert checked.code == PROBLEMS
    assert "rules/a.test.yaml:" in checked.err
    assert "there is no rule 'rets'\n    " in checked.err
    assert [one["message"] for one in run(folder, "check", "--json").json["problems"] if one["grade"] == "error"] == [
        "there is no rule 'rets'"
    ]
    played(folder, send(), expect(matched="rest", created=9))
    assert run(folder, "check").code == FINE  # whether they hold is for 'test' to say


@pytest.mark.parametrize(
    "command", [("test",), ("explain", "lab", "rules/fixtures/fires.json"), ("diff", "rules", ".")]
)
def test_a_script_is_given_the_problems_of_a_broken_rule_file(folder: Path, command: tuple[str, ...]) -> None:
    (folder / "rules" / "broken.yaml").write_text(
        "rules:\n  - id: x\n    acount: pd\n    match: {}\n    incident: {}\n"
    )
    ran = run(folder, *command, "--json")
    assert ran.code == PROBLEMS
    assert ran.json["ok"] is False
    assert {one["file"].rpartition("/")[2] for one in ran.json["problems"]} == {"broken.yaml"}
    assert "unknown key 'acount'" in ran.err
