"""Keeping a process to one CPU, where Linux lets it: in virtual machines every move to another one is dear.

Our processes run one thread at a time anyway. On two virtual cores it brought a quarter more webhooks a second
(bench/accept), and two busy lanes half as many deliveries again.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STAT = Path("/proc/thread-self/stat")
_LAST_CPU = 36  # man 5 proc_pid_stat, field 39 `processor`, counted from the field after the command's name


def keep_to_one(place: int) -> None:
    """From now on this process, and what it starts, runs on the CPU of its place among its like."""
    if sys.platform == "linux":
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cpus[place % len(cpus)]})


@contextmanager
def staying() -> Iterator[None]:
    """This thread stays on the CPU the kernel has just woken it on, which is the one that had nothing to do."""
    if sys.platform == "linux":
        allowed = os.sched_getaffinity(0)
        here = _cpu()
        if here in allowed:
            os.sched_setaffinity(0, {here})
        try:
            yield
        finally:
            os.sched_setaffinity(0, allowed)
    else:
        yield


def _cpu() -> int:
    """Where this thread runs; -1 when the machine does not say."""
    try:
        return int(_STAT.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[_LAST_CPU])
    except (OSError, ValueError, IndexError):
        return -1
