"""Standard streams that outlast whoever reads them, in real processes with real pipes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.processes import environment

LINES = 3_000  # with LINE far more than a pipe holds
LINE = "x" * 99
SAYS = f"""
import sys
from bridge.adapters import streams
streams.outlast_readers()
for stream in (sys.stdout, sys.stderr):
    for number in range({LINES}):
        print("{LINE}", file=stream, flush=True)
print("said it all", file=open(sys.argv[1], "w"))
"""
OPENS = """
import os, sys
from bridge.adapters import streams
streams.open_missing()
print("to stdout", flush=True)
print("to stderr", file=sys.stderr, flush=True)
sys.stdin.read()
own = open(sys.argv[1], "w")
print(own.fileno(), os.get_inheritable(2), file=own, flush=True)
"""
FULL = Path("/dev/full")


def _said(script: str, note: Path, **streams: int) -> int:
    command = [sys.executable, "-c", script, str(note)]
    return subprocess.run(command, env=environment(), timeout=30, check=False, **streams).returncode


def test_a_reader_that_is_gone_is_no_error(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    assert _said(SAYS, tmp_path / "note", stdout=write, stderr=write) == 0
    os.close(write)
    assert (tmp_path / "note").read_text() == "said it all\n"


def test_a_reader_that_stands_still_costs_a_moment_and_not_one_per_line(tmp_path: Path) -> None:
    read, write = os.pipe()
    started = time.monotonic()
    assert _said(SAYS, tmp_path / "note", stdout=write, stderr=write) == 0
    assert time.monotonic() - started < 20
    os.close(write)
    with os.fdopen(read) as pipe:
        assert set(pipe.read().splitlines()) == {LINE}


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_no_error(tmp_path: Path) -> None:
    with FULL.open("w") as full:
        assert _said(SAYS, tmp_path / "note", stdout=full.fileno(), stderr=full.fileno()) == 0
    assert (tmp_path / "note").read_text() == "said it all\n"


def test_a_reader_that_reads_gets_every_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SAYS, str(tmp_path / "note")]
    ended = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout == ended.stderr == f"{LINE}\n" * LINES


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&-", "2>&-", "<&-"])
def test_no_file_of_ours_gets_the_number_of_a_stream_that_was_closed(tmp_path: Path, closed: str) -> None:
    note = tmp_path / "note"
    command = ["/bin/sh", "-c", f'exec "$0" -c "$1" "$2" {closed}', sys.executable, OPENS, str(note)]
    ended = subprocess.run(
        command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False
    )
    assert ended.returncode == 0, ended.stderr
    number, inheritable = note.read_text().split()
    assert int(number) > 2
    assert inheritable == "True"
