"""Silences on a running bridge: through the API and the command line, in every web process, within two seconds."""

import json
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.processes import ANSWER_WITHIN_S, CLI, Bridge, alert

pytestmark = pytest.mark.e2e

TAKEN_WITHIN_S = 2.0


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with Bridge(tmp_path_factory.mktemp("silences"), start=("web",)) as running:
        yield running


def add(bridge: Bridge, **content: Any) -> requests.Response:
    plain = {"for": "1h", "author": "operations", "reason": "a planned test"}
    return requests.post(f"{bridge.url}/api/v1/silences", json={**plain, **content}, timeout=ANSWER_WITHIN_S)


def end(bridge: Bridge, silence_id: str) -> requests.Response:
    return requests.delete(f"{bridge.url}/api/v1/silences/{silence_id}", timeout=ANSWER_WITHIN_S)


def outcomes(bridge: Bridge, severity: str = "error", **labels: str) -> set[str]:
    """What becomes of a dozen alerts with these labels."""
    answers = [bridge.deliver(alert(severity=severity, labels=labels)) for _ in range(12)]
    return {bridge.outcome(answer)["outcome"] for answer in answers}


def all_of_them(bridge: Bridge, outcome: str) -> None:
    """Every process decides so from then on. A dozen answers may all be one process's: the time it may take is up."""
    time.sleep(2 * TAKEN_WITHIN_S)
    assert outcomes(bridge, env="one") == {outcome}


def command(bridge: Bridge, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*CLI, "silences", *words, "--config", str(bridge.config)],
        env=bridge.env(), cwd=bridge.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_silence_holds_in_every_process_within_two_seconds_and_ends_as_soon(bridge: Bridge) -> None:
    made = add(bridge, match={"labels.env": "one"})
    assert made.status_code == 201
    all_of_them(bridge, "silenced")
    assert outcomes(bridge, env="two") == {"opened"}
    assert outcomes(bridge, env="one", severity="critical") == {"opened"}
    silenced = bridge.outcome(bridge.deliver(alert("hidden", severity="error", labels={"env": "one"})))
    assert silenced["decisions"][0]["silence"] == made.json()["id"]
    assert "a planned test" in silenced["decisions"][0]["reason"]
    assert bridge.get(f"silences/{made.json()['id']}")["hidden"] >= 12
    assert end(bridge, made.json()["id"]).json()["state"] == "ended"
    all_of_them(bridge, "opened")
    assert bridge.get("silences")["items"][-1]["id"] == made.json()["id"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "conditions are wanted"),
        ({"match": {"label.env": "x"}}, "unknown condition 'label'"),
        ({"match": {"title": "x"}, "for": ""}, "'ends_at' is missing"),
        ({"match": {"title": "x"}, "for": "31d"}, "at most"),
        ({"match": {"title": "x"}, "for": "soon"}, "'ends_at' cannot be 'soon'"),
        ({"match": {"title": "x"}, "reason": ""}, "'reason' is missing"),
        ({"match": {"title": "x"}, "author": 7}, "'author' is a text"),
        ({"match": {"title": "x"}, "criticals": "no"}, "'criticals' is true or false"),
        ({"match": {"title": "x"}, "comment": "x"}, "unknown key 'comment'"),
    ],
)
def test_what_cannot_be_a_silence_is_refused_with_the_reason(bridge: Bridge, content: Any, said: str) -> None:
    refused = add(bridge, **content)
    assert refused.status_code == 400
    assert said in " ".join(refused.json()["problems"])


def test_a_silence_that_does_not_exist_cannot_be_ended(bridge: Bridge) -> None:
    assert end(bridge, "nothing").status_code == 404
    assert requests.get(f"{bridge.url}/api/v1/silences/nothing", timeout=ANSWER_WITHIN_S).status_code == 404
    assert requests.get(f"{bridge.url}/api/v1/silences?limit=x", timeout=ANSWER_WITHIN_S).status_code == 400


def test_a_preview_says_what_would_have_been_hidden_the_payload_included(bridge: Bridge) -> None:
    for number in (1, 9):
        bridge.deliver(alert(severity="error", labels={"env": "preview"}, value=number))
    for match, number in (({"labels.env": "preview"}, 2), ({"labels.env": "preview", "payload.value": {"gt": 5}}, 1)):
        found = requests.post(
            f"{bridge.url}/api/v1/silences/preview", json={"match": match}, timeout=ANSWER_WITHIN_S
        ).json()
        assert (found["alerts"], found["opened"], len(found["items"])) == (number, number, number)


@pytest.mark.parametrize(
    "content",
    [{"macth": {"title": "x"}}, {"match": {"title": "x"}, "criticals": "yes"}, {"match": {"title": "x"}, "for": 7}],
)
def test_a_preview_with_a_typing_error_is_of_nothing(bridge: Bridge, content: dict[str, Any]) -> None:
    tried = requests.post(f"{bridge.url}/api/v1/silences/preview", json=content, timeout=ANSWER_WITHIN_S)
    assert tried.status_code == 400, "it would be read as everything, or as another silence than is added afterwards"


def test_the_command_adds_tries_lists_and_ends_silences(bridge: Bridge) -> None:
    bridge.deliver(alert("by command", severity="error", labels={"env": "cli"}))
    tried = command(bridge, "preview", "labels.env=cli")
    assert "it would have hidden 1 alert, which opened 1 incident" in tried.stdout
    added = command(bridge, "add", "labels.env=cli", "--for", "2h", "--reason", "why not", "--json")
    assert added.returncode == 0, added.stderr
    made = json.loads(added.stdout)
    assert made["match"] == {"labels.env": "cli"}
    bridge.eventually(lambda: outcomes(bridge, env="cli") == {"silenced"})
    said = subprocess.run(
        [*CLI, "explain", "lab", "-", "--config", str(bridge.config)],
        env=bridge.env(), cwd=bridge.folder, capture_output=True, text=True, check=False,
        input=json.dumps(alert(severity="error", labels={"env": "cli"})),
    )  # fmt: skip
    assert f"(recorded, not sent: silence {made['id']} of " in said.stdout, said.stderr
    listed = command(bridge, "list")
    assert made["id"] in listed.stdout
    assert "labels.env: cli" in listed.stdout
    assert command(bridge, "expire", made["id"]).returncode == 0
    assert made["id"] not in command(bridge, "list").stdout
    assert made["id"] in command(bridge, "list", "--all").stdout
    audit = bridge.get("audit")["items"][:2]
    assert [(one["action"], one["object"], one["how"]) for one in audit] == [
        ("end", f"silence {made['id']}", "command line"),
        ("silence", f"silence {made['id']}", "command line"),
    ]
    assert audit[1]["detail"]["reason"] == "why not"
    for words, code in (
        (("add", "labels.env=cli", "--reason", "x"), 2),
        (("add", "--for", "2h", "--reason", "x"), 2),
        (("add", "nobody=x", "--for", "2h", "--reason", "x"), 1),
        (("expire", "nothing"), 1),
    ):
        assert command(bridge, *words).returncode == code, words


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Bridge]:
    """With workers and a clock."""
    with Bridge(tmp_path) as running:
        yield running


def hidden(bridge: Bridge, *titles: str) -> dict[str, Any]:
    """One webhook of alerts that a silence of `env: quiet` hides; the answer."""
    body = [alert(title, severity="error", labels={"env": "quiet"}) for title in titles]
    answer = bridge.deliver(body if len(body) > 1 else body[0])
    assert {one["outcome"] for one in bridge.get(f"events/{answer['event']}")["alerts"]} == {"silenced"}
    return answer


def titles(bridge: Bridge) -> list[str]:
    return [one.incident["title"] for one in bridge.upstream()]


@pytest.mark.parametrize("ends", ["by itself", "by hand", "while every web process is killed"])
def test_what_fires_on_pages_once_when_its_silence_is_over_though_nobody_repeats_it(whole: Bridge, ends: str) -> None:
    """Most senders report a problem once. Two web processes look."""
    length = "6s" if ends == "by itself" else "1h"
    made = add(whole, match={"labels.env": "quiet"}, **{"for": length}).json()
    whole.eventually(lambda: whole.get("silences")["items"][0]["state"] == "active")
    time.sleep(TAKEN_WITHIN_S)
    hidden(whole, "fires on", "over before the end")
    hidden(whole, "comes again")
    hidden(whole, "comes again")
    whole.deliver(alert("over before the end", status="resolved", labels={"env": "quiet"}))
    assert whole.upstream() == []
    if ends == "by hand":
        assert end(whole, made["id"]).status_code == 200
    if ends == "while every web process is killed":
        whole.kill("web")
        ended = command(whole, "expire", made["id"])
        assert ended.returncode == 0, ended.stderr
        whole.start("web")
        whole.answers()
    for title in ("fires on", "comes again"):
        whole.arrives(title, 30.0)
    time.sleep(6.0)  # a look more of each process
    assert sorted(titles(whole)) == ["comes again", "fires on"]
    told = [one for one in whole.every("events") if one["alerts"]]
    assert len(told) == 6, "three that were hidden, one that ended, two that were heard"
    whole.deliver(alert("fires on", status="resolved"))
    whole.eventually(lambda: whole.upstream("fires on")[0].incident["status"] == "resolved")


def test_what_cannot_be_read_any_more_is_said_and_keeps_nothing_else_back(whole: Bridge) -> None:
    made = add(whole, match={"labels.env": "quiet"}).json()
    time.sleep(2 * TAKEN_WITHIN_S)
    gone = hidden(whole, "without a body")
    hidden(whole, "with one")
    with sqlite3.connect(whole.ledger) as ledger:
        ledger.execute("UPDATE events SET body = NULL WHERE id = ?", (gone["event"],))
    assert end(whole, made["id"]).status_code == 200
    whole.arrives("with one", 30.0)
    assert titles(whole) == ["with one"]
    said = [json.loads(line) for line in whole.said("web").splitlines() if '"silence_over"' in line]
    unread = [one for one in said if one["hidden_event"] == gone["event"]]
    assert unread
    assert "its body is no longer kept" in unread[0]["reason"]
    assert not [one for one in said if one["hidden_event"] != gone["event"] and "reason" in one]
