"""The backup that deploy/README.md names: whole, and over soon, however much is written meanwhile."""

import os
import re
import shutil
import subprocess
import threading
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.adapters.ledger import Ledger, receipt
from tests.ledgers import fires, open_ledger, settle, sqlite_url, states

PAGE = Path(__file__).parents[2] / "deploy" / "README.md"
MB = 1 << 20
ENDS_WITHIN_S = 20.0


def _command() -> list[str]:
    found = re.search(r"^sqlite3 (\S+) (['\"])(.+)\2$", PAGE.read_text(), re.MULTILINE)
    assert found is not None
    return ["sqlite3", found[1], found[3]]


def _grows(ledger: Ledger, megabytes: int) -> None:
    for _ in range(megabytes):
        body = os.urandom(MB)
        event = {"event_id": ledger.new_id(), "source": "s", "received_at": datetime.now(UTC), "headers": {}}
        ledger.settle([receipt(**event, body=body, packed_body=zlib.compress(body, 0), decided=())])


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the program sqlite3 is not installed")
def test_a_backup_ends_while_webhooks_come_in(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    ledger = open_ledger(sqlite_url(tmp_path / "var"))
    settle(ledger, fires("before"))
    _grows(ledger, 100)
    done = threading.Event()

    def write() -> None:
        number = 0
        while not done.wait(0.01):
            number += 1
            settle(ledger, fires(f"meanwhile {number}"))

    writing = threading.Thread(target=write)
    writing.start()
    program, file, command = _command()
    copy = tmp_path / "copy.db"
    try:
        subprocess.run(
            [program, file, command.replace("/backup/bridge.db", str(copy))],
            cwd=tmp_path,
            check=True,
            timeout=ENDS_WITHIN_S,
        )
    finally:
        done.set()
        writing.join()
        ledger.close()
    (tmp_path / "restored").mkdir()
    restored = open_ledger(sqlite_url(copy.replace(tmp_path / "restored" / "bridge.db").parent))
    assert states(restored)[0] == "pending"
    settle(restored, fires("after"))
    restored.close()
