"""A bridge that outgrows its file: its ledger goes to PostgreSQL, and no sender and no person upstream notices."""

import json
import os
import signal
import subprocess
from pathlib import Path

from tests.e2e.processes import CLI, Bridge, alert, environment, eventually, is_open
from tests.e2e.test_commands import Ran, run, spawn
from tests.ledgers import fires, open_ledger, settle, sqlite_url, states

ALERTS = 4_000


def _points_to(config: Path, ledger: str) -> None:
    config.write_text(json.dumps(json.loads(config.read_text()) | {"ledger": ledger}))


def test_what_was_open_and_what_waited_goes_on_after_a_move(tmp_path: Path, postgres_url: str) -> None:
    with Bridge(tmp_path) as bridge:
        bridge.deliver(alert("open"))
        bridge.arrives("open")
        bridge.stop("worker")
        bridge.deliver(alert("waits"))
        refused = run(tmp_path, "db", "move", "var/bridge.db")
        assert (refused.code, refused.out) == (1, "")
        assert "var/bridge.db is the ledger that 'ledger:' names: set 'ledger:' to the new one first" in refused.err
        _points_to(bridge.config, postgres_url)
        refused = run(tmp_path, "db", "move", "var/bridge.db")
        assert "clock@" in refused.err
        assert "stop every process first" in refused.err
        for name in ("clock", "web"):
            bridge.stop(name)
        moved = run(tmp_path, "db", "move", "var/bridge.db")
        assert moved.code == 0, moved.err
        assert moved.out.startswith("moved to postgresql+psycopg://")
        assert moved.out.endswith(": 2 events, 2 open incidents, 1 waiting to be sent\n")
        assert "var/bridge.db stays as it was, with its lanes paused" in moved.err
        for name in ("web", "worker", "clock"):
            bridge.start(name)
        bridge.answers("/readyz")
        bridge.arrives("waits")
        assert bridge.outcome(bridge.deliver(alert("open")))["outcome"] == "duplicate"
        assert bridge.outcome(bridge.deliver(alert("open", status="resolved")))["outcome"] == "resolving"
        bridge.eventually(lambda: not any(map(is_open, bridge.upstream("open"))))
        assert len(bridge.upstream()) == 2
        assert "move" in run(tmp_path, "audit").out
        _points_to(bridge.config, "sqlite:///var/bridge.db")
        assert "paused" in run(tmp_path, "lanes").out


def test_a_move_that_is_killed_is_begun_again(tmp_path: Path, postgres_url: str) -> None:
    (tmp_path / "var").mkdir()
    old = open_ledger(sqlite_url(tmp_path / "var"))
    settle(old, *(fires(f"f{number}") for number in range(ALERTS)))
    old.close()
    config = tmp_path / "bridge.yaml"
    (tmp_path / "rules").mkdir()
    (tmp_path / "templates").mkdir()
    config.write_text(json.dumps({"ledger": postgres_url, "sources": {}, "accounts": {}}))
    command = [*CLI, "db", "move", "var/bridge.db", "--config", str(config)]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True) as moving:
        assert moving.stderr is not None
        assert " of 24,0" in (said := moving.stderr.readline()), said + moving.stderr.read()
        os.kill(moving.pid, signal.SIGKILL)
    new = open_ledger(postgres_url)
    assert states(new) == []
    new.close()
    tries: list[Ran] = []

    def moved() -> bool:  # the server may take a moment to notice that nobody is there any more
        tries.append(spawn(tmp_path, "db", "move", "var/bridge.db", "--config", str(config)))
        return tries[-1].code == 0

    eventually(moved, 60.0, lambda: tries[-1].err)
    assert f": 1 event, {ALERTS:,} open incidents, {ALERTS:,} waiting to be sent\n" in tries[-1].out
