"""The command line, run as people and scripts run it: what it prints where, and its exit code."""

import io
import json
import os
import re
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import chdir, closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from argon2 import PasswordHasher

from bench.load import free_port
from bridge import wiring
from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.engine import Database
from bridge.adapters.ledger.upgrade import HEAD
from bridge.entrypoints import cli
from tests.e2e.processes import CLI, SOURCES, Bridge, alert, environment, write_configuration

pytestmark = pytest.mark.e2e

FINE, PROBLEMS, USAGE = 0, 1, 2
REFUSED = {"status": 400, "body": '{"error": {"code": 2001, "message": "Invalid", "errors": ["Title is bad."]}}'}
CREATE = {"method": "POST", "path_prefix": "/pagerduty/incidents"}
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("up",),
    ("serve",),
    ("worker",),
    ("clock",),
    ("sandbox",),
    ("init",),
    ("check",),
    ("send",),
    ("events",),
    ("incidents",),
    ("lanes",),
    ("dead", "list"),
    ("dead", "show"),
    ("dead", "replay"),
    ("dead", "discard"),
    ("test",),
    ("explain",),
    ("diff",),
    ("capture",),
    ("export",),
    ("schema",),
    ("doctor",),
    ("names", "pull"),
    ("names", "list"),
    ("passwd",),
    ("db", "upgrade"),
)


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(folder: Path, *words: str, **env: str) -> Ran:
    """One command line in a folder, in this process: starting Python for each of them takes too long."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as shell, chdir(folder), redirect_stdout(out), redirect_stderr(err):
        wanted = environment(**env)
        for name in set(os.environ) - set(wanted):
            shell.delenv(name)
        for name, value in wanted.items():
            shell.setenv(name, value)
        code = cli.run(words)
    return Ran(code, out.getvalue(), err.getvalue())


def spawn(folder: Path, *words: str, stdin: str = "", **env: str) -> Ran:
    """The same in a process of its own, for what is one, reads its standard input or logs."""
    done = subprocess.run(
        [*CLI, *words],
        cwd=folder,
        env=environment(**env),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with Bridge(tmp_path_factory.mktemp("commands")) as running:
        yield running


@pytest.fixture
def quiet(tmp_path: Path) -> Path:
    """The folder of a configured bridge that does not run and whose ledger is empty."""
    write_configuration(tmp_path, port=free_port())
    assert run(tmp_path, "db", "upgrade").code == FINE
    return tmp_path


# -- who runs a command


def test_a_silence_is_by_whoever_runs_the_command_whatever_a_variable_says(quiet: Path) -> None:
    words = ("silences", "add", "labels.env=dev", "--for", "1h", "--reason", "a test", "--json")
    made = run(quiet, *words, LOGNAME="somebody-else", USER="somebody-else").json
    assert made["author"] == run(quiet, "audit", "--json").json["items"][0]["actor"]
    assert made["author"] != "somebody-else"


def test_a_silence_is_ended_once(quiet: Path) -> None:
    made = run(quiet, "silences", "add", "labels.env=a", "--for", "1h", "--reason", "a test", "--json").json["id"]
    first, again = (run(quiet, "silences", "expire", made) for _ in range(2))
    since = first.out.removeprefix(f"silence {made} is over since ")
    assert (again.code, again.out) == (FINE, f"silence {made} was over already, since {since}")
    deeds = [one["action"] for one in run(quiet, "audit", "--json").json["items"]]
    assert deeds == ["end", "silence"]


def test_a_list_of_silences_says_which_of_them_hide_criticals(quiet: Path) -> None:
    for env, more in (("a", ()), ("b", ("--criticals",))):
        words = ("silences", "add", f"labels.env={env}", "--for", "1h", "--reason", "a test", *more)
        assert run(quiet, *words).code == FINE
    heading, second, first = run(quiet, "silences", "list").out.splitlines()
    at = heading.index("CRITICALS")
    assert [row[at:].split("  ")[0] for row in (first, second)] == ["page", "hidden, too"]


def test_a_list_of_silences_says_that_more_of_them_hold(quiet: Path) -> None:
    for env in ("a", "b", "c"):
        assert run(quiet, "silences", "add", f"labels.env={env}", "--for", "1h", "--reason", "a test").code == FINE
    page = run(quiet, "silences", "list", "--limit", "2", "--json").json
    rest = run(quiet, "silences", "list", "--limit", "2", "--before", page["next"], "--json").json
    assert [one["match"]["labels.env"] for one in (*page["items"], *rest["items"])] == ["c", "b", "a"]
    assert rest["next"] is None
    assert run(quiet, "silences", "list", "--limit", "2").err == f"there is more: --before {page['next']}\n"
    for one in page["items"]:
        run(quiet, "silences", "expire", one["id"])
    said = run(quiet, "silences", "list", "--limit", "2")
    assert (rest["items"][0]["id"] in said.out, said.err) == (True, "")


# -- check


def test_check_says_that_all_is_fine_and_what_a_reader_may_have_missed(quiet: Path) -> None:
    ran = run(quiet, "check")
    assert (ran.code, ran.out) == (FINE, f"{len(SOURCES)} sources, 2 accounts, 3 rules: all fine\n")
    assert "account pd talks to the built-in sandbox: no page leaves this machine\n" in ran.err
    assert run(quiet, "check", "--json").json == {"problems": [], "errors": 0, "warnings": 0, "ok": True}


BROKEN = {
    "rules/b.yaml": "rules:\n  - {id: b, match: {severty: critical}, incident: {titel: x}}\n",
    "rules/a.yaml": "rules:\n  - {id: a, account: nobody, match: {}, incident: {title: '{{ x', service: S}}\n",
    "templates/t.j2": "{{ alert.sevrity }}\n",
    "rules/c.yaml": "rules:\n  - {id: c, account: pd, match: {}, incident: {title: x, body: {template: t.j2}}}\n",
}


def test_check_lists_every_problem_in_order_with_paths_relative_to_the_configuration(quiet: Path) -> None:
    for name, text in BROKEN.items():
        (quiet / name).write_text(text)
    ran = run(quiet.parent, "check", "--config", str(quiet / "bridge.yaml"))
    assert (ran.code, ran.out) == (PROBLEMS, "")
    places = re.findall(r"^(\S+?):(\d+):(\d+): ", ran.err, re.MULTILINE)
    assert {file for file, _, _ in places} == {"rules/a.yaml", "rules/b.yaml", "templates/t.j2"}
    assert places == sorted(places, key=lambda place: (place[0], int(place[1]), int(place[2])))
    assert "did you mean 'severity'?" in ran.err
    assert re.search(rf"^{len(places)} problems in 3 files$", ran.err, re.MULTILINE)
    as_json = run(quiet.parent, "check", "--json", "--config", str(quiet / "bridge.yaml"))
    assert (as_json.code, as_json.json["ok"]) == (PROBLEMS, False)
    listed = [(one["file"], str(one["line"]), str(one["column"])) for one in as_json.json["problems"]]
    assert listed == places
    assert set(as_json.json["problems"][0]) == {"file", "line", "column", "grade", "message", "hint"}


def test_a_problem_in_bridge_yaml_hides_none_of_the_rules(quiet: Path) -> None:
    config = quiet / "bridge.yaml"
    config.write_text(config.read_text().replace('"ledger":', '"legder":'))
    (quiet / "rules" / "more.yaml").write_text("rules: [{id: x, account: pd, match: {}, incident: {titel: x}}]\n")
    (quiet / "templates" / "broken.txt.j2").write_text("{{ alert.sevrity }}\n")
    ran = run(quiet, "check")
    assert ran.code == PROBLEMS
    assert re.search(r"^bridge\.yaml:\d+:\d+: .*legder", ran.err, re.MULTILINE)
    assert re.search(r"^rules/more\.yaml:1:\d+: .*titel", ran.err, re.MULTILINE)
    assert re.search(r"^templates/broken\.txt\.j2:1:1: .*sevrity", ran.err, re.MULTILINE)
    assert "does not exist" not in ran.err


def test_a_configuration_that_is_not_there_is_a_problem_with_a_way_out(tmp_path: Path) -> None:
    ran = run(tmp_path, "check")
    assert (ran.code, ran.out) == (PROBLEMS, "")
    assert "bridge.yaml" in ran.err
    assert "incident-bridge init" in ran.err
    assert run(tmp_path, "check", "--config", ".").code == PROBLEMS


@pytest.mark.parametrize("command", ["serve", "worker", "clock", "up"])
def test_nothing_starts_on_a_broken_configuration(quiet: Path, command: str) -> None:
    (quiet / "bridge.yaml").write_text("sources: {lab: {type: generik, auth: none}}\naccounts: {}\n")
    ran = spawn(quiet, *command.split(), BRIDGE_SANDBOX="1")
    assert (ran.code, ran.out) == (PROBLEMS, "")
    assert "did you mean 'generic'?" in ran.err
    assert ran.err.endswith("1 problem in 1 file; nothing was started\n")


# -- send


def test_send_posts_a_file_as_its_sender_would(bridge: Bridge) -> None:
    page = bridge.folder / "page.json"
    page.write_text(json.dumps(alert("sent from a file")))
    ran = run(bridge.folder, "send", "tool", str(page))
    assert ran.code == FINE
    found = re.fullmatch(rf"202: event (\w{{26}}), 1 alert, at {re.escape(bridge.url)}\n", ran.out)
    assert found
    assert bridge.get(f"events/{found[1]}")["source"] == "tool"
    again = run(bridge.folder, "send", "lab", "page.json", "--header", "Idempotency-Key: one", "--json")
    assert again.json["status"] == 202
    repeat = run(bridge.folder, "send", "lab", "page.json", "--header", "Idempotency-Key: one")
    assert (
        repeat.out
        == f"202: event {again.json['answer']['event']}, 1 alert (a repeat of one that is known), at {bridge.url}\n"
    )


def test_send_posts_a_file_with_the_headers_beside_it(bridge: Bridge) -> None:
    (bridge.folder / "kept.json").write_text(json.dumps(alert("sent as it was kept")))
    headers = {
        "Content-Type": "text/plain", "idempotency-key": "kept", "X-Tool": "stale", "content-length": "3",
        "Host": "elsewhere.example",
    }  # fmt: skip
    (bridge.folder / "kept.headers.json").write_text(json.dumps(headers))
    sent = run(bridge.folder, "send", "tool", "kept.json", "--json")
    assert (sent.code, sent.json["status"]) == (FINE, 202), "the configuration's own proof, not the one that was kept"
    stored = bridge.get(f"events/{sent.json['answer']['event']}")["headers"]
    assert stored["content-type"] == "text/plain"
    assert stored["host"] != "elsewhere.example"
    assert "a repeat of one that is known" in run(bridge.folder, "send", "tool", "kept.json").out
    other = run(bridge.folder, "send", "tool", "kept.json", "--header", "Idempotency-Key: another").out
    assert "repeat" not in other, "what is said on the command line counts more"


@pytest.mark.parametrize(
    ("source", "sample"), [("lab", "firing"), ("query", "batch"), ("datadog", "triggered"), ("zendesk", "created")]
)
def test_send_posts_a_shipped_sample_with_the_sources_own_proof(bridge: Bridge, source: str, sample: str) -> None:
    ran = run(bridge.folder, "send", source, "--sample", sample, "--json")
    assert (ran.code, ran.json["status"]) == (FINE, 202)
    assert bridge.get(f"events/{ran.json['answer']['event']}")["alerts"][0]["outcome"] in ("opened", "duplicate")


def test_send_says_what_the_bridge_refused_and_why(bridge: Bridge) -> None:
    (bridge.folder / "bad.json").write_text("no json")
    ran = run(bridge.folder, "send", "lab", "bad.json")
    assert (ran.code, ran.out) == (PROBLEMS, "")
    assert ran.err.startswith("400: lab: $: the body is no JSON")
    assert run(bridge.folder, "send", "tool", "bad.json", TOOL_SECRET="another").err == "401: unauthorized\n"


def test_send_says_that_nothing_answers(quiet: Path) -> None:
    ran = run(quiet, "send", "lab", "--sample", "firing")
    assert (ran.code, ran.out) == (PROBLEMS, "")
    assert "is the bridge running?" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("send nobody --sample firing", "there is no source 'nobody'; sources: datadog, lab, query, tool, zendesk"),
        ("send lab --sample nothing", "there is no sample 'nothing' of type generic; samples: batch, critical"),
        ("send lab", "name a file, or a sample"),
        ("send lab bridge.yaml --sample firing", "name a file, or a sample"),
        ("send lab not-there.json", "not-there.json"),
        ("send lab bridge.yaml --header nocolon", "--header takes NAME:VALUE"),
        ("send", "Missing argument"),
        ("nonsense", "No such command 'nonsense'"),
        ("chek", "No such command 'chek'. Did you mean 'check'?"),
        ("dead lists", "No such command 'lists'. Did you mean 'list'?"),
        ("check --nonsense", "No such option"),
        ("dead nonsense", "No such command 'nonsense'"),
        ("dead replay", "name the deliveries to replay, or say --all"),
        ("dead replay X --all", "name the deliveries to replay, or say --all"),
        ("dead discard X", "Missing option '--reason'"),
        ("dead show", "Missing argument"),
        ("events --limit 0", "not in the range"),
        ("events --before null", "'null' is no id; it is the `next` of the page before, and null after the last one"),
        ("incidents --before null", "'null' is no id"),
        ("dead list --before null", "'null' is no id"),
        ("audit --before zzz", "'zzz' is no id"),
        ("silences list --before null", "'null' is no id"),
        ("events --state odd", "'odd' is not one of"),
        ("events --outcome odd", "'odd' is not one of 'opened', 'joined'"),
        ("incidents --state odd", "'odd' is not one of 'pending', 'sending'"),
        ("lanes --pause nobody", "there is no account 'nobody'; accounts: pd, io"),
        ("sandbox --listen nowhere", "--listen takes host:port"),
        ("init", "Missing argument"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_a_sentence(quiet: Path, words: str, said: str) -> None:
    ran = run(quiet, *words.split())
    assert (ran.code, ran.out) == (USAGE, "")
    assert said in ran.err.replace("\n", " ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands(tmp_path: Path, shell: str) -> None:
    assert "incident-bridge" in spawn(tmp_path, _INCIDENT_BRIDGE_COMPLETE=f"{shell}_source").out
    words = {"COMP_WORDS": "incident-bridge silences ex", "COMP_CWORD": "ex" if shell == "fish" else "2"}
    assert "expire" in spawn(tmp_path, _INCIDENT_BRIDGE_COMPLETE=f"{shell}_complete", **words).out


@pytest.mark.parametrize("group", ["dead", "silences", "names", "db"])
def test_the_help_of_a_group_cuts_no_sentence(tmp_path: Path, group: str) -> None:
    said = run(tmp_path, group, "--help").out
    assert "Commands:" in said
    assert "..." not in said.partition("Commands:")[2]


def test_help_and_version_are_answers(tmp_path: Path) -> None:
    assert spawn(tmp_path, "--version").out.startswith("incident-bridge, version ")
    shown = run(tmp_path, "--help")
    assert shown.code == FINE
    assert {words[0] for words in COMMANDS} <= set(re.findall(r"^  ([a-z]+) ", shown.out, re.MULTILINE))
    assert "herald" not in shown.out


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_config_may_follow_any_command(tmp_path: Path, words: tuple[str, ...]) -> None:
    ran = run(tmp_path, *words, "--config", "bridge.yaml", "--help")
    assert ran.code == FINE
    assert ran.out.startswith("Usage: incident-bridge " + " ".join(words))


def test_a_variable_names_the_configuration_too_and_the_option_wins(quiet: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    named = str(quiet / "bridge.yaml")
    assert run(elsewhere, "check", BRIDGE_CONFIG=named).code == FINE
    assert run(elsewhere, "events", "--config", named, BRIDGE_CONFIG="not there").code == FINE
    assert run(elsewhere, "check").code == PROBLEMS
    assert not (elsewhere / "var").exists()


# -- lists


@pytest.mark.parametrize(
    ("words", "said"),
    [("events", "nothing was received yet"), ("incidents", "there are no incidents"), ("dead list", "no dead letters")],
)
def test_an_empty_list_is_a_sentence_for_people_and_empty_json_for_scripts(quiet: Path, words: str, said: str) -> None:
    ran = run(quiet, *words.split())
    assert (ran.code, ran.out) == (FINE, "")
    assert said in ran.err
    ran = run(quiet, *words.split(), "--json")
    assert (ran.code, ran.json, ran.err) == (FINE, {"items": [], "next": None}, "")


def test_an_empty_list_of_what_was_asked_for_does_not_say_that_there_is_nothing(quiet: Path) -> None:
    for words in ("events --outcome opened", "incidents --state open"):
        assert run(quiet, *words.split()).err == "nothing matches; without the options there may be more\n"


@pytest.mark.parametrize("command", ["lanes", "events", "dead list", "names list", "test"])
def test_what_receives_nothing_needs_no_sender_s_secret(tmp_path: Path, command: str) -> None:
    locked = {"lab": {"type": "datadog", "auth": {"header": "X-Token", "secret": "${NOT_SET_HERE}"}}}
    write_configuration(tmp_path, sources=locked, ui={"tokens": {"ci": "${NOR_HERE}"}})
    assert run(tmp_path, "db", "upgrade").code == FINE
    assert run(tmp_path, *command.split()).code == FINE
    assert "environment variable NOT_SET_HERE is not set" in run(tmp_path, "check").err


@pytest.mark.parametrize("command", ["lanes", "events", "incidents", "names list"])
def test_looking_makes_no_files_and_what_is_made_is_its_owner_s_alone(tmp_path: Path, command: str) -> None:
    write_configuration(tmp_path)
    assert run(tmp_path, *command.split()).code == PROBLEMS
    assert not (tmp_path / "var").exists()
    assert run(tmp_path, "db", "upgrade").code == FINE
    assert run(tmp_path, *command.split()).code == FINE
    made = [tmp_path / "var", *(tmp_path / "var").iterdir()]
    assert {path.stat().st_mode & 0o077 for path in made} == {0}


@pytest.mark.parametrize("command", ["lanes", "events", "incidents", "names list", "doctor", "check", "db upgrade"])
def test_whatever_a_command_opened_is_closed_when_it_ends(tmp_path: Path, command: str) -> None:
    write_configuration(tmp_path)
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "bridge.db").touch()  # a ledger of no version yet
    for told in (command, "db upgrade", command):
        run(tmp_path, *told.split())
        assert [one.path for one in psutil.Process().open_files() if one.path.startswith(str(tmp_path))] == []


def test_a_lane_is_paused_and_resumed(quiet: Path) -> None:
    paused = run(quiet, "lanes", "--pause", "pd")
    assert re.search(r"^pd .* paused by an operator; resume it to go on", paused.out, re.MULTILINE)
    resumed = run(quiet, "lanes", "--resume", "pd", "--json").json
    assert [one["paused"] for one in resumed["items"]] == [False, False]


def test_wrong_usage_pauses_nothing(quiet: Path) -> None:
    assert run(quiet, "lanes", "--pause", "pd", "--resume", "nobody").code == USAGE
    assert {one["parked"] for one in run(quiet, "lanes", "--json").json["items"]} == {None}
    assert run(quiet, "audit", "--json").json["items"] == []


def test_lanes_are_shown_before_anything_came_in(quiet: Path) -> None:
    ran = run(quiet, "lanes")
    assert ran.code == FINE
    assert re.search(r"^pd +pagerduty +1000/s +1000 of 1000 +nothing ", ran.out, re.MULTILINE)
    assert [(one["account"], one["waiting"]) for one in run(quiet, "lanes", "--json").json["items"]] == [
        ("io", 0),
        ("pd", 0),
    ]


def test_what_came_in_and_what_became_of_it_is_listed_and_shown(bridge: Bridge) -> None:
    title = f"listed \x1b[31m {'x' * 300}"
    bridge.deliver(alert("an older one"))
    event = bridge.deliver(alert(title, fingerprint="listed"))["event"]
    rejected = bridge.post(b"no json").json()["event"]
    bridge.eventually(lambda: bridge.outcome({"event": event})["incident"] in _open_incidents(bridge))
    incident = bridge.outcome({"event": event})["incident"]

    shown = run(bridge.folder, "events", "--limit", "2")
    assert shown.code == FINE
    assert re.search(rf"{event} +lab +listed .*opened +rest +{incident}$", shown.out, re.MULTILINE)
    assert re.search(rf"{rejected} +lab .*rejected", shown.out)
    assert "\x1b" not in shown.out
    assert f"there is more: --before {event}" in shown.err
    page = run(bridge.folder, "events", "--limit", "1", "--json").json
    assert ([one["id"] for one in page["items"]], page["next"]) == ([rejected], rejected)
    following = run(bridge.folder, "events", "--limit", "1", "--before", rejected, "--json").json
    assert [one["id"] for one in following["items"]] == [event]
    assert following["items"][0]["lines"][0]["incident"] == incident
    for words in (["--outcome", "opened"], ["--rule", "rest"], ["--source", "lab"], ["-q", "listed"]):
        ids = [one["id"] for one in run(bridge.folder, "events", *words, "--json").json["items"]]
        assert event in ids, words
        assert rejected not in ids or words[0] == "--source"
    assert run(bridge.folder, "events", event).json == bridge.get(f"events/{event}")

    assert re.search(rf"{incident} +pd +open +critical ", run(bridge.folder, "incidents").out)
    assert run(bridge.folder, "incidents", incident).json["deliveries"][0]["state"] == "delivered"
    assert incident in {one["id"] for one in run(bridge.folder, "incidents", "--state", "open", "--json").json["items"]}
    for words in (["events", "nothing"], ["incidents", "nothing"], ["dead", "show", "nothing"]):
        unknown = run(bridge.folder, *words, "--json")
        assert (unknown.code, unknown.out) == (PROBLEMS, "")
        assert "'nothing'" in unknown.err


def _open_incidents(bridge: Bridge) -> set[str]:
    return {one["id"] for one in bridge.every("incidents") if one["state"] == "open"}


# -- dead letters


def test_a_dead_letter_is_listed_shown_and_replayed(bridge: Bridge) -> None:
    letter = _dead_letter(bridge, "to be replayed")
    listed = run(bridge.folder, "dead", "list")
    row = rf"^{letter} .* pd +create +bad_request +to be replayed +.*Title is bad\."
    assert re.search(row, listed.out, re.MULTILINE)
    assert letter in {one["id"] for one in run(bridge.folder, "dead", "list", "--json").json["items"]}
    shown = run(bridge.folder, "dead", "show", letter).json
    assert shown["request"]["fields"]["title"] == "to be replayed"
    assert [(one["status"], one["reason"]) for one in shown["attempts"]] == [(400, "bad_request")] * 2
    assert re.search(r"\(rule at rules/\S+:\d+:\d+\)$|field 'title', rules/\S+:\d+:\d+\)$", shown["detail"])
    events = run(bridge.folder, "events", "-q", "to be replayed")
    assert " to be replayed  opened, dead  " in events.out

    ran = run(bridge.folder, "dead", "replay", letter)
    assert (ran.code, ran.out) == (FINE, f"{letter} waits in lane pd\n")
    bridge.arrives("to be replayed")
    bridge.eventually(lambda: bridge.get(f"deliveries/{letter}")["state"] == "delivered")
    again = run(bridge.folder, "dead", "replay", letter)
    assert (again.code, again.out) == (PROBLEMS, "")
    assert again.err == f"delivery {letter} is delivered, not dead; there is nothing to mend\n"


def test_every_dead_letter_is_replayed_at_once(bridge: Bridge) -> None:
    letters = {_dead_letter(bridge, f"one of two: {n}") for n in range(2)}
    ran = run(bridge.folder, "dead", "replay", "--all")
    assert ran.code == FINE
    assert {line.split()[0] for line in ran.out.splitlines()} == letters
    for n in range(2):
        bridge.arrives(f"one of two: {n}")
    bridge.eventually(lambda: not bridge.get("deliveries?state=dead")["items"])
    ran = run(bridge.folder, "dead", "replay", "--all")
    assert (ran.code, ran.out, ran.err) == (FINE, "", "there are no dead letters\n")


def test_a_dead_letter_is_discarded_with_a_reason_only(bridge: Bridge) -> None:
    letter = _dead_letter(bridge, "to be discarded")
    assert run(bridge.folder, "dead", "discard", letter, "--reason", " ").code == PROBLEMS
    ran = run(bridge.folder, "dead", "discard", letter, "--reason", "a test of ours")
    assert (ran.code, ran.out) == (FINE, f"{letter} is discarded\n")
    kept = bridge.get(f"deliveries/{letter}")
    assert (kept["state"], kept["reason"], kept["detail"]) == ("cancelled", "discarded", "a test of ours")
    assert run(bridge.folder, "dead", "discard", letter, "--reason", "again").code == PROBLEMS
    assert run(bridge.folder, "dead", "replay", letter).code == PROBLEMS


def _dead_letter(bridge: Bridge, title: str) -> str:
    """A create that PagerDuty refuses, whatever is tried: its id."""
    bridge.script(match=CREATE, times=5, do=REFUSED)
    incident = bridge.outcome(bridge.deliver(alert(title)))["incident"]
    bridge.eventually(lambda: bridge.get(f"incidents/{incident}")["state"] == "dead")
    bridge.sandbox.script.clear()
    (letter,) = (one["id"] for one in bridge.get(f"deliveries?incident={incident}&state=dead")["items"])
    return str(letter)


# -- the ledger's schema, and what must not start


def test_the_schema_is_made_once_and_left_alone_after_that(tmp_path: Path) -> None:
    write_configuration(tmp_path)
    first, second = (run(tmp_path, "db", "upgrade") for _ in range(2))
    assert (first.code, first.out) == (FINE, f"the ledger went from version none to {HEAD}\n")
    assert (second.code, second.out) == (FINE, f"the ledger is at version {HEAD} already\n")


def test_an_upgrade_names_the_processes_that_ran_under_it(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    assert run(tmp_path, "db", "upgrade").err == ""
    ledger = Ledger(Database(f"sqlite:///{tmp_path / 'var' / 'bridge.db'}"), {})
    ledger.heartbeat(replace(wiring.heartbeat("clock"), process="clock@host-b:7"))
    ledger.close()
    assert run(tmp_path, "db", "upgrade").err == "", "nothing was upgraded"
    with closing(sqlite3.connect(tmp_path / "var" / "bridge.db", isolation_level=None)) as before:
        before.execute("UPDATE alembic_version SET version_num = '0009'")  # 0010 makes an index anew,
        before.execute("DROP INDEX deliveries_owed")  # 0011 one that was not there
    ran = spawn(tmp_path, "db", "upgrade", "--config", str(config))
    assert (ran.code, ran.out) == (FINE, f"the ledger went from version 0009 to {HEAD}\n")
    assert ran.err.startswith("clock@host-b:7 ran a moment ago, with the version before: ")


@pytest.mark.parametrize("command", ["db upgrade", "serve", "up", "events"])
def test_a_newer_schema_is_refused_and_left_alone(quiet: Path, command: str) -> None:
    with closing(sqlite3.connect(quiet / "var" / "bridge.db", isolation_level=None)) as ledger:
        ledger.execute("UPDATE alembic_version SET version_num = '9999'")
    ran = spawn(quiet, *command.split(), BRIDGE_SANDBOX="1")
    assert (ran.code, ran.out) == (PROBLEMS, "")
    assert f"incident-bridge: the ledger's schema is version 9999, newer than this program ({HEAD}): " in ran.err
    with closing(sqlite3.connect(quiet / "var" / "bridge.db")) as ledger:
        assert ledger.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]


@pytest.mark.parametrize("command", ["serve", "lanes"])
def test_without_a_schema_it_says_how_to_make_one(tmp_path: Path, command: str) -> None:
    write_configuration(tmp_path)
    ran = spawn(tmp_path, command, BRIDGE_SANDBOX="1")
    assert (ran.code, ran.out) == (PROBLEMS, "")
    assert f"there is no ledger yet at {tmp_path}/var/bridge.db: " in ran.err
    assert "'incident-bridge db upgrade' makes it" in ran.err


@pytest.mark.parametrize("command", ["serve", "worker", "clock"])
def test_in_earnest_no_process_starts_with_an_account_of_the_sandbox(quiet: Path, command: str) -> None:
    ran = spawn(quiet, command)
    assert (ran.code, ran.out) == (PROBLEMS, "")
    sentence = "accounts io, pd talk to the built-in sandbox, so no page would leave this machine: "
    assert sentence + "set the account's token, or BRIDGE_SANDBOX=1 for a trial" in ran.err


@pytest.mark.parametrize("command", ["serve", "up"])
def test_a_public_address_refuses_accounts_of_the_sandbox_whatever_is_set(tmp_path: Path, command: str) -> None:
    write_configuration(tmp_path, port=free_port(), server={"public_url": "https://bridge.example.com"})
    ran = spawn(tmp_path, command, BRIDGE_SANDBOX="1")
    assert (ran.code, ran.out) == (PROBLEMS, "")
    assert "but server.public_url names a public address" in ran.err


@pytest.mark.parametrize("command", ["serve", "up"])
def test_a_port_that_somebody_has_is_named_with_what_to_do(tmp_path: Path, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = somebody.getsockname()[1]
        write_configuration(tmp_path, port=port)
        assert run(tmp_path, "db", "upgrade").code == FINE
        ran = spawn(tmp_path, command, BRIDGE_SANDBOX="1")
    assert (ran.code, ran.out) == (PROBLEMS, "")
    assert f"incident-bridge: cannot listen on 127.0.0.1:{port}" in ran.err
    assert "; stop what listens there, or change server.listen\n" in ran.err


@pytest.mark.parametrize("command", ["serve", "worker", "clock", "up"])
def test_an_address_of_redis_that_cannot_be_is_one_sentence(tmp_path: Path, command: str) -> None:
    write_configuration(tmp_path, port=free_port(), redis="rediss://127.0.0.1:1/0?ssl_ca_cert=ca.pem")
    assert run(tmp_path, "db", "upgrade").code == FINE
    ran = spawn(tmp_path, command, BRIDGE_SANDBOX="1")
    assert (ran.code, ran.out) == (PROBLEMS, "")
    assert ran.err.endswith("'redis:' has option 'ssl_ca_cert' that cannot be; mend it and start again\n")
    assert ran.err.count("\n") == 1


def test_a_place_that_keeps_no_key_of_the_forms_is_a_sentence(tmp_path: Path) -> None:
    write_configuration(tmp_path, port=free_port())
    assert run(tmp_path, "db", "upgrade").code == FINE
    key = tmp_path / "var" / "session.key"
    key.mkdir()
    ran = spawn(tmp_path, "serve", BRIDGE_SANDBOX="1")
    assert (ran.code, ran.out) == (PROBLEMS, "")
    assert "Traceback" not in ran.err
    assert f"incident-bridge: {key} cannot be read or written: Is a directory; " in ran.err


# -- passwd


def test_passwd_makes_the_hash_of_a_password_given_to_it(tmp_path: Path) -> None:
    ran = spawn(tmp_path, "passwd", "--stdin", stdin="correct horse ü\nignored\n")
    assert ran.code == FINE
    assert PasswordHasher().verify(ran.out.strip(), "correct horse ü")
    assert "BRIDGE_UI_PASSWORD_HASH" in ran.err
    windows = spawn(tmp_path, "passwd", "--stdin", stdin="correct horse\r\n")
    assert PasswordHasher().verify(windows.out.strip(), "correct horse")
    short = spawn(tmp_path, "passwd", "--stdin", stdin="short\n")
    assert (short.code, short.out) == (PROBLEMS, "")
    assert "at least 8 characters" in short.err


def test_passwd_without_a_terminal_says_how_to_go_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [*CLI, "passwd"], cwd=tmp_path, env=environment(), input="correct horse\n", capture_output=True, text=True,
        start_new_session=True, check=False,
    )  # fmt: skip
    assert done.returncode == USAGE
    assert "there is no terminal to ask at: give it on standard input, with --stdin" in done.stderr
    assert "getpass" not in done.stderr
