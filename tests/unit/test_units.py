"""The shipped systemd units and the container keep their promises to the processes they run."""

import json
import os
import socket
import subprocess
import sys
import threading
from configparser import ConfigParser
from pathlib import Path

import pytest

from bridge.adapters.supervisor import GRACE_S
from bridge.entrypoints.web.server import CONNECTIONS_MAX, FILES_OF_OUR_OWN

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


@pytest.fixture(params=UNITS, ids=lambda path: path.name)
def unit(request: pytest.FixtureRequest) -> ConfigParser:
    read = ConfigParser(interpolation=None, strict=False)
    read.optionxform = str  # type: ignore[assignment, method-assign]
    read.read_string(request.param.read_text())
    return read


def test_what_ends_is_started_again_however_often(unit: ConfigParser) -> None:
    assert unit["Service"]["Restart"] == "always"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"  # systemd's own: five starts in 10 s, and it gives up for good


def test_what_is_stopped_has_the_time_it_takes(unit: ConfigParser) -> None:
    assert int(unit["Service"]["TimeoutStopSec"]) > GRACE_S
    assert unit["Service"]["KillMode"] == "mixed"


def test_it_waits_for_the_network_and_for_a_clock_that_is_right(unit: ConfigParser) -> None:
    assert unit["Unit"]["After"].split() == ["network-online.target", "time-sync.target"]


def test_the_ledger_is_upgraded_with_the_rights_and_the_variables_of_its_units(unit: ConfigParser) -> None:
    service = unit["Service"]
    advice = (DEPLOY / "README.md").read_text().replace("\\\n", "")
    run = next(line for line in advice.splitlines() if " db upgrade --config " in line)
    assert f"systemd-run --pipe --wait --uid={service['User']} " in run
    assert f" -p EnvironmentFile={service['EnvironmentFile'].removeprefix('-')} " in run


def test_every_connection_has_its_descriptor(unit: ConfigParser) -> None:
    assert int(unit["Service"]["LimitNOFILE"]) >= CONNECTIONS_MAX + FILES_OF_OUR_OWN


@pytest.mark.parametrize(("answer", "is_well"), [("200 OK", True), ("503 Service Unavailable", False)])
def test_a_container_asks_itself_how_it_is_whatever_proxy_it_was_given(answer: str, is_well: bool) -> None:
    check = (DEPLOY / "Containerfile").read_text().partition("\nHEALTHCHECK ")[2].partition("\nENTRYPOINT")[0]
    program = json.loads(check.partition(" CMD ")[2].replace("\\\n", ""))
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answered() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(f"HTTP/1.0 {answer}\r\nContent-Length: 0\r\n\r\n".encode())

        threading.Thread(target=answered, daemon=True).start()
        code = program[-1].replace("127.0.0.1:8080", f"127.0.0.1:{server.getsockname()[1]}")
        nobody = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy"), "http://127.0.0.1:9")
        ran = subprocess.run(
            [sys.executable, *program[1:-1], code], env={**os.environ, **nobody, "no_proxy": ""}, capture_output=True
        )
    assert (ran.returncode == 0) == is_well
