"""The backup that deploy/README.md names: whole, and over soon, however much is written meanwhile."""

import os
import re
import subprocess
import sys
import threading
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bridge.adapters.ledger import Ledger, receipt
from tests.ledgers import fires, open_ledger, settle, sqlite_url, states

PAGE = Path(__file__).parents[2] / "deploy" / "README.md"
MB = 1 << 20
ENDS_WITHIN_S = 20.0


SQLITE = "import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).execute(sys.argv[2])"


def _asked_for() -> tuple[str, str]:
    """The file and the statement that the page gives to the program sqlite3.

    Another process than ours has them run by the same library, for the program is not on every machine.
    """
    found = re.search(r"^sqlite3 (\S+) (['\"])(.+)\2$", PAGE.read_text(), re.MULTILINE)
    assert found is not None
    return found[1], found[3]


def _grows(ledger: Ledger, megabytes: int) -> None:
    for _ in range(megabytes):
        body = os.urandom(MB)
        event = {"event_id": ledger.new_id(), "source": "s", "received_at": datetime.now(UTC), "headers": {}}
        ledger.settle([receipt(**event, body=body, packed_body=zlib.compress(body, 0), decided=())])


def test_the_room_that_pruning_made_is_given_back_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    ledger = open_ledger(sqlite_url(tmp_path / "var"))
    settle(ledger, fires("before"))
    _grows(ledger, 20)
    while ledger.pruned(-timedelta(days=1), timedelta(days=90)):
        pass
    ledger.close()
    found = re.search(r"^sqlite3 (\S+) (VACUUM)$", PAGE.read_text(), re.MULTILINE)
    assert found is not None
    file = tmp_path / found[1]
    assert file.stat().st_size > 20 * MB
    subprocess.run([sys.executable, "-c", SQLITE, *found.groups()], cwd=tmp_path, check=True, timeout=ENDS_WITHIN_S)
    assert file.stat().st_size < 2 * MB
    again = open_ledger(sqlite_url(tmp_path / "var"))
    settle(again, fires("after"))
    assert states(again) == ["pending", "pending"]
    again.close()


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
    file, statement = _asked_for()
    copy = tmp_path / "copy.db"
    try:
        subprocess.run(
            [sys.executable, "-c", SQLITE, file, statement.replace("/backup/bridge.db", str(copy))],
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
