"""The shipped systemd units keep their promises to the processes they run."""

from configparser import ConfigParser
from pathlib import Path

import pytest

from bridge.adapters.supervisor import GRACE_S
from bridge.entrypoints.web.server import CONNECTIONS_MAX, FILES_OF_OUR_OWN

UNITS = sorted((Path(__file__).parents[2] / "deploy" / "systemd").glob("*.service"))


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


def test_every_connection_has_its_descriptor(unit: ConfigParser) -> None:
    assert int(unit["Service"]["LimitNOFILE"]) >= CONNECTIONS_MAX + FILES_OF_OUR_OWN
