"""A process that is killed between any two statements loses nothing and doubles nothing, on both databases."""

import json
import subprocess
import sys

import pytest

from tests.e2e.boundaries import STEPS
from tests.e2e.processes import CHECKOUT

pytestmark = pytest.mark.e2e


def test_killed_in_front_of_any_statement_everything_goes_on(ledger_url: str) -> None:
    words = [sys.executable, "-m", "tests.e2e.boundaries", ledger_url]
    ran = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stderr
    boundaries = json.loads(ran.stdout)
    assert set(boundaries) == set(STEPS)
    assert min(boundaries.values()) >= 5, boundaries  # else they were not counted
