"""Forked processes go on with the ledger their parent has opened and closed; each with connections of its own."""

import subprocess
import sys

from tests.ledgers import open_ledger, states

WRITERS, EACH = 3, 20
FORKS = """
import os, sys
from bridge.adapters.ledger import Ledger
from tests.ledgers import fires, open_ledger, settle

url, writers, each = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
above = open_ledger(url)
settle(above, fires("of the parent"))
above.close()
children = []
for writer in range(writers):
    pid = os.fork()
    if pid == 0:
        mine = Ledger(above.database.in_child(), above.routes)
        for number in range(each):
            settle(mine, fires(f"{writer}-{number}"))
        mine.close()
        os._exit(0)
    children.append(pid)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children))
"""


def test_children_write_at_once_through_what_their_parent_knew(ledger_url: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FORKS, ledger_url, str(WRITERS), str(EACH)], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    ledger = open_ledger(ledger_url)
    try:
        assert len(states(ledger)) == 1 + WRITERS * EACH
        with ledger.database.reading() as transaction:
            ids = transaction.connection.exec_driver_sql("SELECT count(DISTINCT id) FROM events").scalar()
        assert ids == 1 + WRITERS * EACH
    finally:
        ledger.close()
