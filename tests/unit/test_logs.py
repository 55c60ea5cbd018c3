"""The log of a process: what lasts is not said at every try."""

import json
import subprocess
import sys

import pytest
import structlog

from bridge.adapters import logs
from bridge.adapters.logs import SAID_AGAIN_S, SELDOM_MAX, Seldom

AWAY = {"event": logs.LEDGER_UNAVAILABLE, "reason": "the ledger did not answer"}


class Said:
    """A processor under test, and its clock."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._seldom = Seldom(lambda: self.now)

    def __call__(self, line: dict[str, object]) -> object:
        try:
            return self._seldom(None, "error", line)
        except structlog.DropEvent:
            return None


@pytest.fixture
def said() -> Said:
    return Said()


def test_what_lasts_is_said_once_a_minute_with_how_often_it_was_not(said: Said) -> None:
    assert said(AWAY) == AWAY
    for _ in range(3):
        said.now += SAID_AGAIN_S / 4
        assert said(AWAY) is None
    said.now += SAID_AGAIN_S / 4
    assert said(AWAY) == {**AWAY, "unsaid": 3}
    said.now += SAID_AGAIN_S
    assert said(AWAY) == AWAY


def test_another_reason_or_another_delivery_is_said_at_once(said: Said) -> None:
    assert said(AWAY) == AWAY
    for other in ({**AWAY, "reason": "the disk is full"}, {**AWAY, "delivery_id": "D1"}, {**AWAY, "delivery_id": "D2"}):
        assert said(other) == other
        assert said(other) is None


def test_what_is_no_state_is_said_each_time(said: Said) -> None:
    failed = {"event": logs.TASK_FAILED, "task": "sweep"}
    assert [said(failed) for _ in range(3)] == [failed] * 3


def test_hostile_reasons_do_not_pile_up(said: Said) -> None:
    for number in range(3 * SELDOM_MAX):
        assert said({**AWAY, "reason": str(number)}) is not None
    assert len(said._seldom._said) <= SELDOM_MAX


def test_a_process_logs_so() -> None:
    program = (
        "from bridge.adapters import logs; logs.configure('clock')\n"
        "for _ in range(3): logs.get().error(logs.LEDGER_UNAVAILABLE, reason='away')\n"
        "for _ in range(2): logs.get().error(logs.VALKEY_FAILED, reason='no file')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(one["event"], one["process"]) for one in lines] == [
        (logs.LEDGER_UNAVAILABLE, "clock"),
        (logs.VALKEY_FAILED, "clock"),
    ]
