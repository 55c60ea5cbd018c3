"""Logs of running processes: one JSON object per line, and whom it concerns is in it."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.processes import ANSWER_WITHIN_S, CLI, SECRETS, Bridge, alert, environment

pytestmark = pytest.mark.e2e
CONCERNS = {  # event of a line -> what it has beside time, level and process
    "attempt_finished": {"account", "delivery_id", "incident", "action", "attempt", "state", "reason", "duration_s"},
    "delivery_finished": {"account", "delivery_id", "incident", "action", "attempt", "state", "reason"},
    "webhook_rejected": {"source", "reason"},
    "action_done": {"action", "actor", "how"},
}


BREAKS = """
import threading
from bridge.adapters import logs
logs.configure("web")
for why in (ValueError("a bug"), SystemExit()):
    def broken():
        raise why
    thread = threading.Thread(target=broken, name="poker")
    thread.start()
    thread.join()
"""


def lines_of(bridge: Bridge) -> list[dict[str, Any]]:
    """Every line of every process, read as what it should be."""
    return [json.loads(line) for log in bridge.folder.glob("*.log") for line in log.read_text().splitlines()]


def test_every_line_says_whom_it_concerns_and_every_change_is_in_log_and_audit(tmp_path: Path) -> None:
    with Bridge(tmp_path) as bridge:
        bridge.deliver(alert("goes out"))
        bridge.arrives("goes out")
        for _ in range(2):  # the create, and its plain form
            bridge.script(match={"method": "POST", "path_prefix": "/pagerduty/incidents"}, do={"status": 402})
        bridge.deliver(alert("is refused"))
        bridge.eventually(lambda: [one for one in bridge.every("deliveries") if one["state"] == "dead"])
        rejected = bridge.post(b"no json").json()["event"]
        with socket.create_connection(("127.0.0.1", bridge.port), timeout=ANSWER_WITHIN_S) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\nAuthorization Bearer wrong-secret-123456\r\n\r\n")
            assert stranger.recv(100).startswith(b"HTTP/1.1 400")
        bridge.post(alert(), "tool", headers={"X-Tool-Token": "wrong-secret-123456"})
        paused = requests.post(f"{bridge.url}/api/v1/lanes/io/pause", json={}, timeout=ANSWER_WITHIN_S)
        assert paused.status_code == 200
        told = bridge.start("resume", (*CLI, "lanes", "--resume", "io"))
        assert told.wait(60) == 0
        bridge.running.pop("resume")
        (bridge.folder / "resume.log").unlink()  # it answers people, not machines
        lines = lines_of(bridge)
        audit = bridge.get("audit")["items"]
        (dead,) = [one["id"] for one in bridge.every("deliveries") if one["state"] == "dead"]
        refused = 'incident_bridge_refused_total{source="tool",what="unauthorized"} 1.0'  # counted every 10 s
        metrics = lambda: requests.get(f"{bridge.url}/metrics", timeout=ANSWER_WITHIN_S).text  # noqa: E731
        bridge.eventually(lambda: refused in metrics(), 30.0)
        assert "incident_bridge_deliveries_total" in metrics()
    for line in lines:
        assert {"event", "level", "timestamp", "process"} <= line.keys()
        assert CONCERNS.get(line["event"], set()) <= line.keys(), line
    said = [one["text"] for one in lines if one.get("library") == "gunicorn.error"]
    assert said == ["Invalid request from ip=127.0.0.1: Invalid HTTP Header"], "such a line, too, and no secret"
    assert {"attempt_finished", "delivery_finished", "webhook_rejected", "action_done"} <= {
        one["event"] for one in lines
    }
    assert [one["level"] for one in lines if one["event"] == "delivery_finished" and one["delivery_id"] == dead] == [
        "error"
    ]
    assert rejected in {one.get("event_id") for one in lines if one["event"] == "webhook_rejected"}
    assert [(one["action"], one["object"], one["how"]) for one in audit] == [
        ("resume", "account io", "command line"),
        ("pause", "account io", "loopback"),
    ]
    assert not any(secret in json.dumps(lines) for secret in (*SECRETS.values(), "wrong-secret-123456"))


def test_a_thread_that_breaks_is_one_line_as_well() -> None:
    command = [sys.executable, "-c", BREAKS]
    said = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=30, check=True).stderr
    (line,) = [json.loads(one) for one in said.splitlines()]
    assert (line["event"], line["task"], line["process"], line["level"]) == ("task_failed", "poker", "web", "error")
    assert line["exception"].endswith("ValueError: a bug")
