"""What a command imports: commands that look at files start without the libraries of the running bridge."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.processes import write_configuration
from tests.e2e.test_commands import environment

pytestmark = pytest.mark.e2e

RUNNING = frozenset({"alembic", "flask", "gunicorn", "psycopg", "redis", "requests", "rich", "rq", "sqlalchemy"})
LOOKED = """
import json, sys
from contextlib import redirect_stdout
from bridge.entrypoints.cli import run
with redirect_stdout(sys.stderr):
    code = run(sys.argv[1:])
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["check"],
        ["check", "--offline"],
        ["explain", "lab", "--sample", "firing"],
        ["schema", "rules"],
        ["init", "new"],
        *([command, "--help"] for command in ("audit", "diff", "events", "send", "serve", "test", "up", "worker")),
    ],
    ids=" ".join,
)
def test_a_command_without_a_ledger_imports_nothing_of_the_running_bridge(tmp_path: Path, words: list[str]) -> None:
    write_configuration(tmp_path)
    command = [sys.executable, "-c", LOOKED, *words]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    code, imported = json.loads(done.stdout)
    assert code == 0, done.stderr
    assert "bridge" in imported
    assert RUNNING.isdisjoint(imported)
