"""Commands that meet files, pipes and disks as they are: a sentence and an exit code, and never a traceback."""

import os
import re
import resource
import shlex
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from bench.load import free_port
from tests.e2e.living import children_of, is_alive
from tests.e2e.processes import CLI, Bridge, environment, write_configuration
from tests.e2e.test_commands import FINE, PROBLEMS, USAGE, run, spawn

pytestmark = pytest.mark.e2e


RULES_README = Path(__file__).parents[2] / "rules" / "README.md"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_configuration(tmp_path, port=free_port())
    (tmp_path / "a-file").write_text("nothing\n")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("init a-file/my-bridge", "a-file/my-bridge"),
        ("schema bridge --out a-file/schemas", "a-file/schemas"),
        ("test --junit nowhere/results.xml", "nowhere/results.xml"),
        ("test --junit rules", "rules"),
        ("sandbox --listen 127.0.0.1:0 --journal a-file/journal", "a-file"),
    ],
)
def test_what_cannot_be_written_is_named(folder: Path, words: str, named: str) -> None:
    ran = spawn(folder, *words.split())
    assert ran.code == PROBLEMS
    assert f"{named} cannot be read or written: " in ran.err
    assert "give this user the right to it" in ran.err


def test_init_says_what_stands_in_its_way(folder: Path) -> None:
    (folder / "half").mkdir()
    (folder / "half" / "rules").write_text("not a folder\n")
    ran = run(folder, "init", "half")
    assert ran.code == PROBLEMS
    assert "incident-bridge: half/rules cannot be read or written: File exists" in ran.err


def test_init_on_a_full_disk_leaves_no_half_a_file_that_the_next_try_would_take_for_a_whole_one(tmp_path: Path) -> None:
    """No file may be longer than the shipped bridge.yaml, which comes first: the next one has no room."""
    half, whole = tmp_path / "half", tmp_path / "whole"
    done = subprocess.run(
        [*CLI, "init", str(half)], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )  # fmt: skip
    assert done.returncode == PROBLEMS
    assert f"incident-bridge: {half}/bridge.schema.json cannot be read or written: File too large; " in done.stderr
    assert run(tmp_path, "init", str(half)).code == FINE
    assert run(tmp_path, "init", str(whole)).code == FINE
    assert _contents(half) == _contents(whole)


def test_results_for_a_full_disk_are_a_sentence(folder: Path) -> None:
    done = subprocess.run(
        [*CLI, "test", "--junit", "results.xml"], cwd=folder, env=environment(), capture_output=True, text=True,
        check=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)),
    )  # fmt: skip
    assert done.returncode == PROBLEMS
    assert "incident-bridge: results.xml cannot be read or written: File too large; " in done.stderr
    assert "Traceback" not in done.stderr


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_init_makes_can_be_committed_without_the_ledger_and_the_key(tmp_path: Path) -> None:
    assert run(tmp_path, "init", ".").code == FINE
    assert run(tmp_path, "db", "upgrade").code == FINE

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    git("init", "--quiet", ".")
    taken = git("add", "--dry-run", ".")
    assert "'bridge.yaml'" in taken
    assert "var/" not in taken
    assert ".gitignore exists and is left alone" in run(tmp_path, "init", ".").err


def test_a_port_that_there_is_not_is_wrong_usage(folder: Path) -> None:
    ran = run(folder, "sandbox", "--listen", "127.0.0.1:65536")
    assert (ran.code, "--listen takes host:port, not '127.0.0.1:65536'" in ran.err) == (USAGE, True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_under_the_output_is_a_sentence(folder: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*CLI, "schema"], cwd=folder, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == PROBLEMS
    assert done.stderr.startswith("incident-bridge: the output cannot be written: No space left on device")


def test_a_reader_that_has_read_enough_is_no_problem_that_was_found(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*CLI, "explain", "lab", "--sample", "critical"],
        cwd=folder, env=environment(), stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


def test_a_title_that_the_locale_cannot_write_is_written_all_the_same(folder: Path) -> None:
    (folder / "body.json").write_text('{"title": "disk 漢"}')
    ran = spawn(folder, "explain", "lab", "body.json", PYTHONIOENCODING="latin-1")
    assert ran.code == FINE
    assert "1. disk \\u6f22\n" in ran.out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfea\0", "bridge.yaml:1:1: the file is not UTF-8\n    write it as UTF-8 text\n"),
        (None, "bridge.yaml:1:1: cannot be read: Is a directory\n    name the bridge.yaml in it, with --config"),
    ],
)
def test_only_where_there_is_no_configuration_is_another_one_advised(
    folder: Path, content: bytes | None, said: str
) -> None:
    config = folder / "bridge.yaml"
    config.unlink()
    if content is None:
        config.mkdir()
    else:
        config.write_bytes(content)
    ran = run(folder, "check")
    assert ran.code == PROBLEMS
    assert ran.err.startswith(said)
    assert "init" not in ran.err


def test_a_variable_that_is_set_to_nothing_names_no_configuration(folder: Path) -> None:
    assert spawn(folder, "check", BRIDGE_CONFIG="").code == FINE


@pytest.mark.parametrize("words", ["test --rules old.yaml", "test old.yaml"])
def test_rules_and_tests_in_another_encoding_are_a_problem_at_their_place(folder: Path, words: str) -> None:
    (folder / "old.yaml").write_bytes("rules: []  # ö".encode("utf-16"))
    ran = run(folder, *words.split())
    assert ran.code == PROBLEMS
    assert ran.err.startswith("old.yaml:1:1: the file is not UTF-8\n    write it as UTF-8 text\n")


def test_a_folder_whose_name_is_not_utf_8_is_a_problem_before_anything_starts(folder: Path) -> None:
    folder = folder.rename(folder.with_name(os.fsdecode(b"na\xefve")))
    for command in ("check", "up"):
        ran = spawn(folder, command)
        assert ran.code == PROBLEMS
        assert "bridge.yaml:1:1: its path is not UTF-8\n    rename the folder" in ran.err


def test_a_folder_that_is_gone_is_said(folder: Path) -> None:
    (folder / "gone").mkdir()
    check = ["sh", "-c", 'cd gone && rmdir ../gone && exec "$@"', "sh", *CLI, "check"]
    ran = subprocess.run(check, cwd=folder, env=environment(), capture_output=True, text=True)
    assert ran.returncode == PROBLEMS
    assert ran.stderr == "incident-bridge: the folder that this was started in is gone; change to one that exists\n"


def test_up_starts_its_web_process_again_where_its_own_folder_is_gone_by_then(tmp_path: Path) -> None:
    with Bridge(tmp_path, start=()) as bridge:
        (tmp_path / "release").mkdir()
        up = bridge.start("up", ["sh", "-c", 'cd release && exec "$@"', "sh", *CLI, "up", "--workers", "1"])
        bridge.answers("/readyz")
        (tmp_path / "release").rmdir()
        first = children_of(up.pid)
        first += [pid for child in first for pid in children_of(child)]
        for pid in first:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        bridge.eventually(lambda: not any(is_alive(pid) for pid in first))
        bridge.answers()


def test_a_procfile_in_another_encoding_is_a_problem_at_its_place(folder: Path) -> None:
    (folder / "Procfile").write_bytes("web: incident-bridge serve".encode("utf-16"))
    ran = spawn(folder, "up")
    assert ran.code == PROBLEMS
    assert "Procfile:1:1: the file is not UTF-8\n" in ran.err


def test_diff_of_one_file_of_rules_names_what_it_takes(folder: Path) -> None:
    for words in (("rules", "rules/rules.yaml"), ("rules/rules.yaml", "rules")):
        ran = run(folder, "diff", *words)
        assert (ran.code, ran.out) == (PROBLEMS, "")
        assert "rules/rules.yaml is one file of rules: name the folder it lies in, or a bridge.yaml" in ran.err


def test_a_source_without_a_secret_says_which_variable_it_wants(tmp_path: Path) -> None:
    assert run(tmp_path, "init", ".").code == FINE
    ran = run(tmp_path, "send", "datadog", "--sample", "triggered")
    assert ran.code == USAGE
    assert (
        "source 'datadog' has no secret yet and refuses everybody: set DATADOG_WEBHOOK_SECRET, in this shell and where "
        "the bridge runs, and start that again"
    ) in ran.err


def test_the_steps_for_a_ci_run_in_a_folder_that_init_made(tmp_path: Path) -> None:
    text = RULES_README.read_text(encoding="utf-8")
    assert "pip install incident-bridge" not in text  # no registry has it, and anybody may take the name there
    workflow = text.partition("In GitHub Actions")[2].partition("## Tests")[0]
    steps = re.findall(r"^ *- run: incident-bridge (.*)$", workflow, re.MULTILINE)
    assert len(steps) == 2
    assert run(tmp_path, "init", ".").code == FINE
    for step in steps:
        ran = run(tmp_path, *shlex.split(step, comments=True), PAGERDUTY_TOKEN="sandbox", INCIDENT_IO_API_KEY="sandbox")
        assert ran.code == FINE, ran.err


def test_what_a_file_of_rules_or_tests_holds_does_not_move_the_cursor(folder: Path) -> None:
    (folder / "rules" / "more.yaml").write_text('rules:\n  - {id: x, "\\e]0;owned\\a": 1}\n')
    ran = run(folder, "check")
    assert "unknown key '\\x1b]0;owned\\x07'" in ran.err
    assert "\x1b" not in ran.err
    ran = run(folder, "doctor")
    assert ("\\x1b]0;owned\\x07" in ran.out, "\x1b" in ran.out) == (True, False)
    (folder / "rules" / "more.yaml").unlink()
    (folder / "body.json").write_text('{"title": "x"}')
    steps = "steps: [{send: body.json, to: lab}, {at: 1m, expect: {created: 1}}]"
    (folder / "a.test.yaml").write_text(f'- {{name: "\\e[31mred", {steps}}}\n')
    condition = """{"labels['\\e]0;owned\\a']": x}"""
    rule = f"{{id: y, account: pd, match: {condition}, incident: {{title: x, service: y}}}}"
    (folder / "rules" / "more.yaml").write_text(f"rules:\n  - {rule}\n")
    ran = run(folder, "test", "a.test.yaml")
    assert ran.out.startswith("ok    \\x1b[31mred\n")
    assert ("y by labels['\\x1b]0;owned\\x07']" in ran.out, "\x1b" in ran.out) == (True, False)
