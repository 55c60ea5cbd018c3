"""A sender nobody here wrote: Debian's prometheus-alertmanager posts its groups to a running bridge."""

import json
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from bench.load import free_port
from bridge.sandbox.pages import title_of
from tests.e2e.processes import Bridge, is_open

PROGRAM = shutil.which("prometheus-alertmanager")
TEAM = "shop"
MEMBERS = ("checkout", "search", "login")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        PROGRAM is None, reason="needs prometheus-alertmanager: apt-get install prometheus-alertmanager"
    ),
]


class Alertmanager:
    """A running Alertmanager that groups by team and posts to one address."""

    def __init__(self, folder: Path, url: str, token: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._folder = folder
        receiver = {
            "name": "bridge",
            "webhook_configs": [{"url": url, "http_config": {"authorization": {"credentials": token}}}],
        }
        route = {"receiver": "bridge", "group_by": ["team"], "group_wait": "1s", "group_interval": "1s"}
        folder.mkdir()
        self._config = folder / "alertmanager.yml"  # JSON is YAML
        self._config.write_text(json.dumps({"route": {**route, "repeat_interval": "1h"}, "receivers": [receiver]}))

    @contextmanager
    def running(self, bridge: Bridge) -> Iterator["Alertmanager"]:
        with bridge.log("alertmanager").open("wb") as log:
            process = subprocess.Popen(
                [
                    str(PROGRAM),
                    f"--config.file={self._config}",
                    f"--storage.path={self._folder}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                    "--cluster.listen-address=",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            bridge.eventually(self._is_ready)
            yield self
        finally:
            process.kill()
            process.wait()

    def _is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/-/ready", timeout=2).ok
        except requests.RequestException:
            return False

    def is_told(self, *members: str, over: bool = False) -> None:
        """What Prometheus says of its alerts: they fire, or are over now."""
        now = datetime.now(UTC).isoformat()
        alerts: list[dict[str, Any]] = [
            {
                "labels": {"alertname": "Down", "team": TEAM, "service": member, "severity": "critical"},
                "annotations": {"summary": f"{member} is down", "description": f"Nobody can use {member}."},
                "generatorURL": "http://prometheus.example.com/graph",
                **({"endsAt": now} if over else {"startsAt": now}),
            }
            for member in members
        ]
        answer = requests.post(f"{self.url}/api/v2/alerts", json=alerts, timeout=10)
        assert answer.ok, answer.text


def open_titles(bridge: Bridge) -> list[str]:
    return sorted(title_of(record) for record in bridge.upstream() if is_open(record))


def titles(*members: str) -> list[str]:
    return sorted(f"{member} is down" for member in members)


def test_each_member_of_a_group_opens_and_resolves_one_incident(tmp_path: Path) -> None:
    token = secrets.token_hex(16)
    source = {"am": {"type": "alertmanager", "auth": {"bearer": "${AM_TOKEN}"}}}
    with Bridge(tmp_path / "bridge", env={"AM_TOKEN": token}, sources=source) as bridge:
        made = Alertmanager(tmp_path / "alertmanager", f"{bridge.url}/webhooks/am", token)
        with made.running(bridge) as alertmanager:
            alertmanager.is_told(*MEMBERS)
            bridge.eventually(lambda: open_titles(bridge) == titles(*MEMBERS))
            (event,) = bridge.every("events")
            assert len(bridge.get(f"events/{event['id']}")["alerts"]) == len(MEMBERS)

            alertmanager.is_told("search", over=True)  # the group now holds firing and resolved alerts
            bridge.eventually(lambda: open_titles(bridge) == titles("checkout", "login"))

            alertmanager.is_told("search")  # a new episode of the same problem
            bridge.eventually(lambda: len(bridge.upstream("search is down")) == 2)
            assert open_titles(bridge) == titles(*MEMBERS)

            alertmanager.is_told(*MEMBERS, over=True)
            bridge.eventually(lambda: open_titles(bridge) == [])
            bridge.eventually(lambda: all(one["state"] == "resolved" for one in bridge.every("incidents")))
        assert len(bridge.upstream()) == len(MEMBERS) + 1
        reasons = [alert for event in bridge.every("events") for alert in bridge.get(f"events/{event['id']}")["alerts"]]
        assert {alert["outcome"] for alert in reasons} <= {"opened", "duplicate", "resolving", "ignored"}
