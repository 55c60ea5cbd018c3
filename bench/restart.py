"""A restart: how soon it listens, how soon it sends what it owes, and what it takes of memory once it is idle.

    python -m bench.restart [--owed 200] [--rounds 3] [--idle 15]

Webhooks are accepted by `serve` alone, so that their pages are owed when it is killed with SIGKILL. Then `up` starts
beside a stand-in; its start counts from before the first instruction of Python. Memory is the proportional share (PSS)
of every process of `up`, Valkey among them, as /proc tells it (Linux only): of an `up` that has had nothing to do yet,
and of one that has sent what was owed.
"""

import argparse
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from bench.latency import ACCOUNT, CONFIG, RULE, Arrivals
from bench.load import (
    Sender,
    children_of,
    configured,
    ended,
    free_port,
    listens,
    running_bridge,
    running_sandbox,
    started,
    wait_for,
)

_PSS = re.compile(r"^Pss:\s+(\d+) kB", re.MULTILINE)


def main() -> int:
    """Print the medians of the rounds, and the worst of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--owed", type=int, default=200, help="pages that are owed at the start")
    parser.add_argument("--rounds", type=int, default=3, help="restarts")
    parser.add_argument("--idle", type=float, default=15.0, help="seconds without work before memory is read")
    options = parser.parse_args()
    measured = [_round(options.owed, options.idle) for _ in range(options.rounds)]
    idle = f"memory of all processes, idle for {options.idle:g} s"
    for what, unit, values in zip(
        (
            "listening after",
            "first owed page upstream after",
            f"{idle} since the start",
            f"{idle} after that",
        ),
        ("s", "s", "MB PSS", "MB PSS"),
        zip(*measured, strict=True),
        strict=True,
    ):
        print(f"{what}: {median(values):.2f} {unit}, the worst of {len(values)}: {max(values):.2f} {unit}", flush=True)
    return 0


def _round(owed: int, idle_s: float) -> tuple[float, float, float, float]:
    """Seconds until it listens and until the first page arrived; megabytes of a fresh start, and after all pages."""
    port = free_port()
    config = CONFIG.format(port=port) + ACCOUNT.format(number=0)
    rules = f"rules:\n{RULE.format(number=0)}unmatched: record\n"
    with tempfile.TemporaryDirectory(prefix="ib-bench") as name, running_sandbox() as sandbox_url:
        folder = Path(name)
        configured(folder, config, rules)
        with running_bridge(folder, port, commands=("serve",), ready="/healthz", sandbox_url=sandbox_url) as serving:
            sender = Sender(port)
            for index in range(owed):
                title = f"owed {index}"
                sender.post({"title": title, "fingerprint": title, "severity": "error", "labels": {"account": "0"}})
            for pid in _family(serving[0].pid):  # Valkey, too: as if the machine had lost its power
                os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not listens(port))
        arrivals = Arrivals(sandbox_url)
        began = time.monotonic()
        [up] = started(folder, ("up",), sandbox_url)
        try:
            listening = _seconds_until(lambda: listens(port), began)
            _seconds_until(lambda: len(arrivals.at()) > 0, began)
            first = min(arrivals.at().values()) - began
            arrivals.wait_for(owed, 60)
            worked_mb = _idle_mb(up.pid, idle_s)
        finally:
            ended([up])
        with running_bridge(folder, port, sandbox_url=sandbox_url) as again:
            return listening, first, _idle_mb(again[0].pid, idle_s), worked_mb


def _seconds_until(ready: Callable[[], bool], began: float) -> float:
    wait_for(ready, every_s=0.01)
    return time.monotonic() - began


def _idle_mb(pid: int, idle_s: float) -> float:
    """What a process and its family take once they have had nothing to do for so long."""
    time.sleep(idle_s)
    return sum(map(_pss_mb, _family(pid)))


def _family(pid: int) -> list[int]:
    """A process and everything it started, to the last grandchild."""
    return [pid, *(one for child in children_of(pid) for one in _family(child))]


def _pss_mb(pid: int) -> float:
    found = _PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_text())
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    sys.exit(main())
