"""Reload on running web processes: each event has one book, all take the new one, a broken one changes nothing.

Two web processes serve each bridge, as `serve` starts them.
"""

import html
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.living import children_of, is_alive
from tests.e2e.processes import ANSWER_WITHIN_S, CLI, Bridge, alert
from tests.e2e.test_up import Up
from tests.e2e.test_up import up as up  # the fixture

pytestmark = pytest.mark.e2e

RELOADED_WITHIN_S = 120.0  # check and test are processes: on a busy machine they take their time
TAKEN_WITHIN_S = 2.0


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    with Bridge(tmp_path, start=("web",)) as running:
        yield running


def rules_of(bridge: Bridge) -> Path:
    return bridge.folder / "rules" / "rules.yaml"


def retitled(bridge: Bridge, title: str) -> None:
    """The rules give every incident this title."""
    book = json.loads(rules_of(bridge).read_text())
    for rule in book["rules"]:
        rule["incident"]["name" if "name" in rule["incident"] else "title"] = title
    rules_of(bridge).write_text(json.dumps(book, indent=1))


def broken(bridge: Bridge) -> None:
    text = rules_of(bridge).read_text()
    rules_of(bridge).write_text(text.replace('"labels.account"', '"lables.account"'))


def reload(bridge: Bridge, **content: Any) -> requests.Response:
    return requests.post(f"{bridge.url}/api/v1/reload", json=content, timeout=RELOADED_WITHIN_S)


def in_force(bridge: Bridge) -> dict[str, Any]:
    found: dict[str, Any] = bridge.get("rules")["book"]
    return found


def book_of(bridge: Bridge, answer: dict[str, Any]) -> str:
    found: str = bridge.get(f"events/{answer['event']}")["book"]
    return found


class Posting:
    """Webhooks posted one after the other from a few threads, until told to stop; the answers in order of arrival."""

    def __init__(self, bridge: Bridge) -> None:
        self.answers: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self._bridge, self._stop = bridge, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]

    def _run(self) -> None:
        while not self._stop.is_set():
            answer = self._bridge.post(alert())
            if answer.status_code == 202:
                self.answers.append(answer.json())
            else:
                self.failures.append(answer.text)

    def __enter__(self) -> "Posting":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def all_processes_have(bridge: Bridge, book: str) -> bool:
    """Both web processes decide by it, as far as a dozen requests over new connections meet both."""
    return {in_force(bridge)["here"] for _ in range(12)} == {book}


def test_a_reload_under_fire_decides_each_event_by_one_of_the_two_books_and_soon_all_by_the_new(bridge: Bridge) -> None:
    old = in_force(bridge)["hash"]
    with Posting(bridge) as posting:
        bridge.eventually(lambda: len(posting.answers) > 20)
        retitled(bridge, "the new rules: {{ alert.title }}")
        done = reload(bridge).json()
        taken_with = bridge.eventually(lambda: all_processes_have(bridge, done["book"]), 10.0)
        mark = len(posting.answers)
        bridge.eventually(lambda: len(posting.answers) > mark + 20)
    assert posting.failures == []
    assert taken_with < TAKEN_WITHIN_S
    assert done["state"] == "taken"
    assert (done["before"], sorted(done["changes"]["changed"])) == (old, ["rest", "to-io", "to-pd"])
    books = [book_of(bridge, answer) for answer in posting.answers]
    assert set(books) == {old, done["book"]}
    assert set(books[mark:]) == {done["book"]}
    for answer, book in zip(posting.answers[-3:], books[-3:], strict=True):
        titles = [one["title"] for one in bridge.every("incidents")]
        assert any(title.startswith("the new rules: ") for title in titles), (answer, book)


def test_a_broken_reload_names_every_problem_and_the_old_rules_stay(bridge: Bridge) -> None:
    old = in_force(bridge)["hash"]
    broken(bridge)
    answer = reload(bridge)
    assert answer.status_code == 422
    problems = answer.json()["problems"]
    checked = subprocess.run(
        [*CLI, "check", "--json", "--config", str(bridge.config)],
        env=bridge.env(), cwd=bridge.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert problems == json.loads(checked.stdout)["problems"]
    assert len(problems) == 2
    assert "lables" in problems[0]["message"]
    assert book_of(bridge, bridge.deliver(alert())) == old
    told = in_force(bridge)
    assert (told["hash"], told["files_differ"], len(told["refused"]["problems"])) == (old, True, 2)
    metrics = requests.get(f"{bridge.url}/metrics", timeout=ANSWER_WITHIN_S).text
    assert "incident_bridge_rules_last_reload_successful 0.0" in metrics
    assert "reload_refused" in bridge.said("web")
    retitled(bridge, "x")
    rules_of(bridge).write_text(rules_of(bridge).read_text().replace('"lables.account"', '"labels.account"'))
    assert reload(bridge).json()["state"] == "taken"
    assert in_force(bridge)["refused"] is None


def test_rules_whose_own_tests_fail_are_not_taken(bridge: Bridge) -> None:
    old = in_force(bridge)["hash"]
    (bridge.folder / "rules" / "pages.test.yaml").write_text(
        "- name: nobody is paged\n  steps:\n    - {send: one.json, to: lab}\n    - {expect: {matched: null}}\n"
    )
    (bridge.folder / "rules" / "one.json").write_text(json.dumps(alert("one")))
    retitled(bridge, "new")
    done = reload(bridge)
    assert done.status_code == 422
    (problem,) = done.json()["problems"]
    assert (problem["file"], problem["line"]) == ("rules/pages.test.yaml", 4)
    assert "test 'nobody is paged' fails" in problem["message"]
    assert done.json()["tests"]["run"] == 1
    assert in_force(bridge)["hash"] == old


def test_what_is_wrong_beside_the_rules_in_force_is_said_and_refuses_nothing(bridge: Bridge) -> None:
    before = in_force(bridge)
    (bridge.folder / "rules" / "pages.test.yaml").write_text(
        "- name: nobody is paged\n  steps:\n    - {send: one.json, to: lab}\n    - {expect: {matched: null}}\n"
    )
    (bridge.folder / "rules" / "one.json").write_text(json.dumps(alert("one")))
    done = reload(bridge)
    assert (done.status_code, done.json()["state"], done.json()["problems"]) == (200, "unchanged", [])
    (said,) = (one for one in done.json()["warnings"] if one["grade"] == "error")
    assert "test 'nobody is paged' fails" in said["message"]
    assert "in force already, though 1 problem is known; 1 of 1 tests fail" in done.json()["sentence"]
    after = in_force(bridge)
    assert (after["hash"], after["refused"]) == (before["hash"], None)


def test_a_dry_run_says_what_would_change_and_changes_nothing(bridge: Bridge) -> None:
    old = in_force(bridge)["hash"]
    retitled(bridge, "new")
    done = reload(bridge, dry_run=True)
    assert done.status_code == 200
    assert done.json()["state"] == "would_take"
    assert any(line.startswith("+") and "new" in line for line in done.json()["changes"]["diff"])
    assert in_force(bridge)["hash"] == old
    retitled(bridge, "newer than what was looked at")
    stale = reload(bridge, digest=done.json()["digest"])
    assert (stale.status_code, in_force(bridge)["hash"]) == (409, old)


def test_a_changed_bridge_yaml_is_left_alone_and_said(bridge: Bridge) -> None:
    bridge.config.write_text(bridge.config.read_text() + "\n")
    assert in_force(bridge)["configuration_changed"]
    assert "restart to take it" in reload(bridge).json()["notes"][0]


def test_rules_for_an_account_that_only_the_new_bridge_yaml_has_are_not_taken(bridge: Bridge) -> None:
    before = in_force(bridge)["here"]
    content = json.loads(bridge.config.read_text())
    content["accounts"]["more"] = {**content["accounts"]["pd"]}
    bridge.config.write_text(json.dumps(content))
    rules_of(bridge).write_text(rules_of(bridge).read_text().replace('"account": "pd"', '"account": "more"'))
    done = reload(bridge)
    assert done.status_code == 422
    assert "account 'more', which does not exist" in done.json()["problems"][0]["message"]
    assert "restart" in done.json()["notes"][0]
    assert bridge.stop("web") == 0
    bridge.start("web")
    bridge.answers()
    bridge.eventually(lambda: in_force(bridge)["here"] != before, RELOADED_WITHIN_S)
    assert in_force(bridge)["refused"] is None


def test_sighup_reloads_and_ends_no_web_process(bridge: Bridge) -> None:
    old, before = in_force(bridge)["hash"], children_of(bridge.running["web"].pid)
    retitled(bridge, "new")
    bridge.running["web"].send_signal(signal.SIGHUP)
    bridge.eventually(lambda: in_force(bridge)["hash"] != old, RELOADED_WITHIN_S)
    new = in_force(bridge)
    assert new["taken_by"].startswith("SIGHUP")
    bridge.eventually(lambda: all_processes_have(bridge, new["hash"]), 10.0)
    assert all(is_alive(pid) for pid in before)
    audited = requests.get(f"{bridge.url}/api/v1/audit?action=reload", timeout=5).json()["items"]
    assert [(one["actor"], one["how"], one["detail"]) for one in audited] == [
        ("SIGHUP", "host", {"state": "taken", "book": new["hash"]})
    ]


def test_a_web_process_that_is_killed_comes_back_with_the_rules_in_force_not_those_of_its_start(bridge: Bridge) -> None:
    retitled(bridge, "new")
    new = reload(bridge).json()["book"]
    before = set(children_of(bridge.running["web"].pid))
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    bridge.eventually(lambda: len(set(children_of(bridge.running["web"].pid)) - before) == 2)
    bridge.answers()
    assert book_of(bridge, bridge.deliver(alert())) == new
    assert all_processes_have(bridge, new)


def test_killed_in_the_middle_of_a_reload_one_of_the_two_books_is_in_force_and_the_next_reload_works(
    bridge: Bridge,
) -> None:
    old = in_force(bridge)["hash"]
    retitled(bridge, "new")
    waiting = threading.Thread(target=_ignoring_its_end, args=(bridge,))
    waiting.start()
    web = bridge.running["web"].pid
    bridge.eventually(lambda: any(children_of(child) for child in children_of(web)))  # check and test run
    for child in children_of(web):
        os.kill(child, signal.SIGKILL)
    waiting.join()
    bridge.answers()
    assert book_of(bridge, bridge.deliver(alert())) == old
    done = reload(bridge).json()
    assert done["state"] == "taken"
    bridge.eventually(lambda: all_processes_have(bridge, done["book"]), 10.0)


def _ignoring_its_end(bridge: Bridge) -> None:
    try:
        reload(bridge)
    except requests.RequestException:
        return


def test_a_start_with_old_files_does_not_undo_a_reload_and_one_with_changed_files_takes_them(bridge: Bridge) -> None:
    old = in_force(bridge)["hash"]
    text = rules_of(bridge).read_text()
    retitled(bridge, "new")
    new = reload(bridge).json()["book"]
    assert bridge.stop("web") == 0
    bridge.start("web")
    bridge.answers()
    assert in_force(bridge)["here"] == new
    assert bridge.stop("web") == 0
    rules_of(bridge).write_text(text)
    bridge.start("web")
    bridge.answers()
    assert in_force(bridge)["here"] == old


def test_the_command_reloads_and_says_what_changed(bridge: Bridge) -> None:
    retitled(bridge, "new")
    for options, said in ((("--dry-run",), "would be taken: 3 changed"), ((), "in force: 3 changed")):
        done = command(bridge, "reload", *options)
        assert (done.returncode, said in done.stdout) == (0, True), done
    broken(bridge)
    done = command(bridge, "reload")
    assert done.returncode == 1
    assert "rules/rules.yaml:" in done.stderr
    assert "2 problems; the rules in force stay" in done.stderr
    assert bridge.stop("web") == 0
    done = command(bridge, "reload")
    assert done.returncode == 1
    assert "no web process answers" in done.stderr


def test_the_command_shows_the_token_of_an_admin(tmp_path: Path) -> None:
    tokens = {"board": {"secret": "${BOARD_TOKEN}"}, "ci": {"secret": "${CI_TOKEN}", "role": "admin"}}
    with Bridge(
        tmp_path, start=("web",), env={"BOARD_TOKEN": "of-a-viewer", "CI_TOKEN": "of-an-admin"}, ui={"tokens": tokens}
    ) as running:
        done = command(running, "reload", "--dry-run")
        assert (done.returncode, "what is in force already" in done.stdout) == (0, True), done


def command(bridge: Bridge, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*CLI, *words, "--config", str(bridge.config)],
        env=bridge.env(), cwd=bridge.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_under_up_changed_files_are_taken_by_themselves_and_broken_ones_are_not(up: Up) -> None:
    up.start()
    up.ready()
    rules = up.folder / "rules" / "examples.yaml"

    def told() -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{up.url}/readyz", timeout=5).json()["rules"]
        return found

    old, text = told()["book"], rules.read_text()
    rules.write_text(text.replace("id: checkout", "id: paying"))
    up.eventually(lambda: told()["book"] != old, RELOADED_WITHIN_S)
    new = told()["book"]
    rules.write_text(text.replace("severity: [critical, error]", "severty: [critical, error]"))
    up.eventually(lambda: told()["reload"].startswith("refused: rules/examples.yaml"), RELOADED_WITHIN_S)
    assert told()["book"] == new
    rules.write_text(text)
    up.eventually(lambda: told()["book"] == old and told()["reload"] == "ok", RELOADED_WITHIN_S)


def test_the_playground_shows_and_tries_what_decides_and_not_what_was_refused(bridge: Bridge) -> None:
    name = "rules/rules.yaml"
    rules = rules_of(bridge).read_text()
    broken(bridge)
    assert reload(bridge).status_code == 422
    shown = requests.get(f"{bridge.url}/playground", params={"file": name}, timeout=ANSWER_WITHIN_S).text
    assert "lables.account" not in shown
    assert rules in html.unescape(shown)
