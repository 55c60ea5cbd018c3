"""`explain`, `capture`, `diff`, `export`, `schema`: run as people run them, over the events of a running bridge."""

import json
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.entrypoints.cli.sending import sample_bytes
from bridge.sandbox.pages import title_of
from tests.e2e.processes import CLI, Bridge, alert, write_configuration
from tests.e2e.test_commands import FINE, PROBLEMS, USAGE, Ran, run

pytestmark = pytest.mark.e2e

SECRET = "hunter2-hunter2"


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with Bridge(tmp_path_factory.mktemp("rules")) as running:
        yield running


@pytest.fixture
def quiet(tmp_path: Path) -> Path:
    """The folder of a configured bridge that never ran: it has no ledger."""
    write_configuration(tmp_path)
    return tmp_path


def told(bridge: Bridge, *words: str, **env: str) -> Ran:
    """A command on a running bridge, with its own environment."""
    return run(bridge.folder, *words, BRIDGE_SANDBOX_URL=bridge.sandbox.base_url, **env)


def delivered(bridge: Bridge, **body: Any) -> str:
    """An alert that reached the upstream; its event."""
    answer = bridge.deliver(alert(**body))
    bridge.arrives(body["title"])
    return str(answer["event"])


# -- explain


def test_explain_says_why_a_file_pages_without_a_ledger(quiet: Path) -> None:
    (quiet / "a.json").write_text(json.dumps(alert("Disk full on db-1", account="io")))
    ran = run(quiet, "explain", "lab", "a.json")
    assert (ran.code, ran.err) == (FINE, "")
    assert re.search(r"^ +no  to-pd +rules/rules.yaml:\d+  0 of 1 hold$", ran.out, re.MULTILINE)
    assert re.search(r'NO  labels.account  is "io"  wanted "pd"$', ran.out, re.MULTILINE)
    assert re.search(r"^ +yes to-io", ran.out, re.MULTILINE)
    assert "=> rule to-io matches: an incident at io" in ran.out
    assert 'nearest miss: rule to-pd, 0 of 1 conditions hold; labels.account is "io", wanted "pd"' in ran.out
    assert not (quiet / "var").exists()


def test_explain_reads_standard_input_samples_and_headers_like_send(quiet: Path) -> None:
    (quiet / "a.json").write_bytes(sample_bytes("generic", "firing"))
    of_file = run(quiet, "explain", "lab", "a.json", "--json").json
    of_sample = run(quiet, "explain", "lab", "--sample", "firing", "--header", "X-Any: thing", "--json").json
    assert of_file == of_sample
    assert of_file["alerts"][0]["alert"]["status"] == "firing"


def test_explain_of_a_stored_event_shows_the_very_request_that_was_sent(bridge: Bridge) -> None:
    event = delivered(bridge, title="Very same request", account="pd")
    ran = told(bridge, "explain", "--event", event, "--json")
    assert ran.code == FINE, ran.err
    (one,) = ran.json["alerts"]
    (request,) = one["requests"]
    (record,) = bridge.upstream("Very same request")
    stored = bridge.get(f"events/{event}")["alerts"][0]
    assert request["key"]["text"] == bridge.get(f"incidents/{stored['incident']}")["key"]
    shown = request["request"]["body"]
    calls = bridge.sandbox.calls.calls(method="POST", api="pagerduty")
    (call,) = [one for one in calls if one.body["incident"]["title"] == title_of(record)]
    assert json.dumps(call.body, ensure_ascii=False, separators=(",", ":")) == shown
    assert int(call.headers["content-length"]) == len(shown.encode())
    assert title_of(record) == request["title"]
    assert request["request"]["headers"]["Authorization"].endswith("[redacted]")
    assert (request["lane"]["lane"], request["lane"]["eta_s"]) == ("pd", 0.0)
    assert ran.json["decided_by"] == ran.json["in_force"] == ran.json["book"]
    assert ran.err == ""


def test_explain_of_a_stored_event_says_what_became_of_it(bridge: Bridge) -> None:
    first = delivered(bridge, title="Opened once", account="pd", timestamp="2026-01-05T12:00:00Z")
    late = bridge.deliver(alert("Opened once", account="pd", timestamp="2026-01-05T09:00:00Z"))["event"]
    incident = bridge.get(f"events/{first}")["alerts"][0]["incident"]
    summary = "   => rule to-pd matches: an incident at pd\n"
    opened = told(bridge, "explain", "--event", first)
    assert f"{summary}   when it came in: opened under rule to-pd, incident {incident}\n" in opened.out
    ignored = told(bridge, "explain", "--event", late)
    assert f"{summary}   when it came in: ignored under rule to-pd: stale: reported at 2026-01-05T09:" in ignored.out
    ((decision,),) = told(bridge, "explain", "--event", late, "--json").json["became"]
    assert (decision["outcome"], decision["rule"]) == ("ignored", "to-pd")


def test_explain_says_when_other_rules_decided_the_event(bridge: Bridge, tmp_path: Path) -> None:
    event = delivered(bridge, title="Decided before", account="pd")
    other = changed_rules(bridge.folder, tmp_path, "Checkout API", "Other service")
    ran = told(bridge, "explain", "--event", event, "--config", str(other))
    assert ran.code == FINE
    assert "the event was decided by another rule book" in ran.err


def test_explain_says_that_the_files_are_not_what_webhooks_are_decided_by(bridge: Bridge, tmp_path: Path) -> None:
    other = changed_rules(bridge.folder, tmp_path, "Checkout API", "Not reloaded yet")
    (tmp_path / "a.json").write_text(json.dumps(alert("Disk full on db-1", account="pd")))
    words = ("explain", "lab", str(tmp_path / "a.json"))
    in_force = told(bridge, *words, "--json").json["book"]
    answer = told(bridge, *words, "--config", str(other), "--json").json
    assert answer["in_force"] == in_force != answer["book"]
    assert told(bridge, *words, "--config", str(other)).err == (
        f"these files are not in force: webhooks are decided by rule book {in_force[:12]}; "
        "'incident-bridge reload' takes them, with --dry-run it says what would change\n"
    )
    assert told(bridge, *words).err == ""


def changed_rules(folder: Path, target: Path, before: str, after: str) -> Path:
    """A bridge.yaml on the same ledger whose rules say something else."""
    shutil.copytree(folder / "rules", target / "rules")
    shutil.copytree(folder / "templates", target / "templates")
    rules = target / "rules" / "rules.yaml"
    assert before in rules.read_text()
    rules.write_text(rules.read_text().replace(before, after))
    content = json.loads((folder / "bridge.yaml").read_text())
    content["ledger"] = f"sqlite:///{folder / 'var' / 'bridge.db'}"
    (target / "bridge.yaml").write_text(json.dumps(content))
    return target / "bridge.yaml"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("explain",), USAGE, "name a source and a file (or --sample), or --event ID"),
        (("explain", "lab"), USAGE, "name a source and a file"),
        (("explain", "nobody", "bridge.yaml"), USAGE, "there is no source 'nobody'; sources: datadog, lab"),
        (("explain", "lab", "bridge.yaml", "--event", "x"), USAGE, "--event takes the place of"),
        (("explain", "--event", "x", "--header", "a: b"), USAGE, "and has its own headers"),
        (("explain", "lab", "torn.json"), PROBLEMS, "lab: $: the body is no JSON"),
    ],
)
def test_explain_says_what_it_cannot_explain(quiet: Path, words: tuple[str, ...], code: int, said: str) -> None:
    (quiet / "torn.json").write_text('{"title": ')
    ran = run(quiet, *words)
    assert ran.code == code
    assert said in ran.err
    assert ran.out == ""


def test_explain_of_an_unknown_event_says_where_to_look(bridge: Bridge) -> None:
    ran = told(bridge, "explain", "--event", "01J")
    assert (ran.code, ran.out) == (PROBLEMS, "")
    assert ran.err == "incident-bridge: there is no event '01J'; see 'incident-bridge events'\n"


def test_what_an_alert_holds_does_not_move_the_cursor(quiet: Path) -> None:
    (quiet / "a.json").write_text(json.dumps(alert("red \x1b[31m text\x9b", account="pd")))
    ran = run(quiet, "explain", "lab", "a.json")
    assert ran.code == FINE
    assert "\x1b" not in ran.out
    assert "\x9b" not in ran.out


# -- diff and export


def test_diff_over_stored_events_counts_and_names_what_changes(bridge: Bridge, tmp_path: Path) -> None:
    for number in range(3):
        bridge.deliver(alert(f"Diff {number}", account="io"))
    other = changed_rules(bridge.folder, tmp_path, '"severity": "Minor"', '"severity": "Major"')
    ran = told(bridge, "diff", "rules", str(other.parent / "rules"), "--last", "3", "--json")
    assert ran.code == FINE, ran.err
    told_json = ran.json
    assert (told_json["events"], told_json["incidents"]) == (3, {"old": 3, "new": 3})
    assert {kind: number for kind, number in told_json["counts"].items() if number} == {"reprioritised": 3}
    example = told_json["examples"]["reprioritised"][0]
    assert (example["alert"], example["details"]) == ("Diff 0", ["field severity 'Minor' becomes 'Major'"])
    shown = told(bridge, "diff", "rules", str(other.parent / "rules"), "--last", "3", "--limit", "1")
    assert "3 events, 3 alerts: 3 incidents under the old rules, 3 under the new" in shown.out
    assert "3 reprioritised: get another severity, urgency or priority" in shown.out
    assert shown.out.count("becomes 'Major'") == 1
    assert "3 of 3 events" in shown.err


def test_diff_of_the_same_rules_says_so_and_can_tell_a_script(bridge: Bridge, tmp_path: Path) -> None:
    bridge.deliver(alert("Exit code", account="pd"))
    ran = told(bridge, "diff", "rules", "bridge.yaml", "--since", "1h", "--fail")
    assert (ran.code, ran.out.splitlines()[-1]) == (FINE, "no difference")
    other = changed_rules(bridge.folder, tmp_path, "Checkout API", "Other service")
    assert told(bridge, "diff", ".", str(other), "--since", "1h", "--fail").code == PROBLEMS


def test_each_table_of_a_diff_says_the_change_it_is_about(quiet: Path, tmp_path: Path) -> None:
    export = quiet / "exported" / "lab"
    export.mkdir(parents=True)
    (export / "an-event.json").write_text(json.dumps(alert("Replica of orders-db in eu-1 is half an hour behind")))
    for name, service, urgency in (("old", "Catch-all", "low"), ("new", "Checkout API", "high")):
        (quiet / name).mkdir()
        (quiet / name / "a.yaml").write_text(
            f"rules:\n  - {{id: of-{name}, account: pd, match: {{}}, incident: {{title: 'In the {name} words: "
            f"{{{{ alert.title }}}}', service: {service}, urgency: {urgency}}}}}\nunmatched: record\n"
        )
    ran = run(quiet, "diff", "old", "new", "--events", "exported")
    assert ran.code == FINE, ran.err
    of = {part.split()[1].rstrip(":"): part for part in ran.out.split("\n\n")[1:]}
    assert "title 'In the old words" in of["retitled"]
    assert 'key from ["Catch-all","lab"' in of["rekeyed"]
    assert "  field urgency 'low' becomes 'high'; by rule of-new instead of of-old" in of["reprioritised"]
    assert "  other fields: service; by rule" in of["changed"]
    assert "words" not in of["rekeyed"] + of["reprioritised"] + of["changed"]


@pytest.mark.parametrize("command", ["diff rules rules --fail", "check --offline --keys"])
def test_a_folder_that_is_no_export_proves_nothing(quiet: Path, command: str) -> None:
    export = quiet / "exported" / "lab"
    export.mkdir(parents=True)
    (export / "an-event.json").write_text('{"title": "Disk full"}')
    assert run(quiet, *command.split(), "--events", "exported").code == 0
    ran = run(quiet, *command.split(), "--events", "exported/lab")
    assert (ran.code, ran.out) == (1, "")
    assert "exported/lab holds no event: name the folder that 'export' wrote" in ran.err


def test_events_of_sources_that_are_gone_do_not_say_that_nothing_differs(quiet: Path) -> None:
    export = quiet / "exported" / "renamed"
    export.mkdir(parents=True)
    (export / "an-event.json").write_text('{"title": "Disk full"}')
    ran = run(quiet, "diff", "rules", "rules", "--events", "exported", "--fail")
    assert ran.code == 1
    assert ran.out.endswith("nothing was compared\n")
    proof = run(quiet, "check", "--offline", "--keys", "--events", "exported")
    assert "no report could be read: nothing is proven of any key" in proof.out


def test_an_export_is_redacted_and_compares_like_the_ledger(bridge: Bridge, tmp_path: Path) -> None:
    body = alert("Export me", account="pd", description=f"mail jane@corp.example.net, password={SECRET}")
    event = bridge.deliver(body)["event"]
    folder = tmp_path / "samples"
    ran = told(bridge, "export", str(folder), "--source", "lab", "--last", "1", "--redact", "Export m.")
    assert (ran.code, ran.out) == (FINE, f"wrote 1 event into {folder}\n"), ran.err
    assert sorted(path.name for path in (folder / "lab").iterdir()) == [f"{event}.headers.json", f"{event}.json"]
    text = (folder / "lab" / f"{event}.json").read_text()
    assert "person-1@example.com" in text
    for hidden in (SECRET, "jane@corp", "Export me"):
        assert hidden not in text
    headers = json.loads((folder / "lab" / f"{event}.headers.json").read_text())
    assert headers["content-type"] == "application/json"
    other = changed_rules(bridge.folder, tmp_path, "Checkout API", "Other service")
    compared = told(bridge, "diff", "rules", str(other), "--events", str(folder), "--json").json
    assert (compared["events"], compared["unread"], compared["counts"]["rekeyed"]) == (1, 0, 1)
    (example,) = compared["examples"]["rekeyed"]
    assert (example["event"], example["received_at"][:4]) == (event, bridge.get(f"events/{event}")["received_at"][:4])
    assert told(bridge, "explain", "lab", str(folder / "lab" / f"{event}.json")).code == FINE


def test_a_redaction_that_changes_what_rules_decide_is_said(bridge: Bridge, tmp_path: Path) -> None:
    event = bridge.deliver(alert("Matched by a label", account="io"))["event"]
    ran = told(bridge, "export", str(tmp_path), "--last", "1", "--redact", "^io$")
    assert ran.code == FINE
    assert f"event {event}: redacted, it matches other rules than it did" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("diff rules nowhere", "does not exist"),
        ("diff rules templates", "templates holds no rule file"),
        ("diff rules rules --since yesterday", "--since takes an age such as 7d or an instant, not 'yesterday'"),
        ("export out --redact (", "the pattern '(' cannot be used"),
        ("export out --source nobody", "there is no source 'nobody'"),
        ("schema rulez", "'rulez' is not one of"),
    ],
)
def test_wrong_usage_is_a_sentence(quiet: Path, words: str, said: str) -> None:
    ran = run(quiet, *words.split())
    assert ran.code in (PROBLEMS, USAGE)
    assert said in ran.err


def test_diff_reports_what_is_wrong_with_the_new_rules_and_compares_nothing(quiet: Path) -> None:
    (quiet / "new").mkdir()
    (quiet / "new" / "a.yaml").write_text(
        "rules:\n  - {id: a, account: pd, match: {severty: x}, incident: {title: x}}\n"
    )
    ran = run(quiet, "diff", "rules", "new")
    assert (ran.code, ran.out) == (PROBLEMS, "")
    assert "did you mean 'severity'?" in ran.err


# -- capture


def test_capture_writes_a_redacted_fixture_and_a_test_of_what_is_decided(bridge: Bridge, tmp_path: Path) -> None:
    body = alert("Capture me", account="pd", description=f"token={SECRET}")
    event = bridge.deliver(body)["event"]
    ran = told(bridge, "capture", event, "--to", str(tmp_path))
    assert ran.code == FINE, ran.err
    stem = f"lab-capture-me-{event[-6:].lower()}"
    wanted = [f"fixtures/{stem}.json", f"fixtures/{stem}.headers.json", f"{stem}.test.yaml"]
    assert ran.out == "".join(f"wrote {tmp_path / name}\n" for name in wanted)
    assert SECRET not in (tmp_path / "fixtures" / f"{stem}.json").read_text()
    text = (tmp_path / f"{stem}.test.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=tests.schema.json\n")
    assert f"event {event}" in text
    assert "matched: to-pd" in text
    assert "- {send: fixtures/" in text
    again = told(bridge, "capture", event, "--to", str(tmp_path))
    assert again.code == PROBLEMS
    assert "nothing was written (--force writes over it)" in again.err
    assert told(bridge, "capture", event, "--to", str(tmp_path), "--force", "--name", stem[:-7]).code == FINE


def test_capture_on_a_full_disk_leaves_the_fixture_that_is_there_whole(bridge: Bridge, tmp_path: Path) -> None:
    """No file may be longer than half of the fixture."""
    event = bridge.deliver(alert("Capture me whole", account="pd", description="so much " * 1_000))["event"]
    words = ("capture", event, "--to", str(tmp_path), "--name", "whole", "--force")
    assert told(bridge, *words).code == FINE
    fixture = tmp_path / "fixtures" / "whole.json"
    before = fixture.read_bytes()
    limit = len(before) // 2
    for tried, refused in ((words, fixture), (("export", str(tmp_path / "x")), tmp_path / "x" / "lab")):
        done = subprocess.run(
            [*CLI, *tried, "--config", str(bridge.config)], cwd=bridge.folder, env=bridge.env(), capture_output=True,
            text=True, check=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )  # fmt: skip
        assert done.returncode == PROBLEMS
        assert f"incident-bridge: {refused}" in done.stderr
        assert " cannot be read or written: File too large" in done.stderr
        assert "Traceback" not in done.stderr
    assert fixture.read_bytes() == before
    assert sorted(one.name for one in fixture.parent.iterdir()) == ["whole.headers.json", "whole.json"]


# -- schema


def test_schema_prints_one_and_writes_files(quiet: Path) -> None:
    one = run(quiet, "schema", "rules").json
    every = run(quiet, "schema").json
    assert every["rules"] == one
    assert set(every) == {"bridge", "rules", "tests"}
    ran = run(quiet, "schema", "--out", "schemas")
    assert ran.out == "".join(f"wrote schemas/{name}.schema.json\n" for name in ("bridge", "rules", "tests"))
    assert json.loads((quiet / "schemas" / "rules.schema.json").read_text()) == one
