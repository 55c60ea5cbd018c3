"""The living processes of this machine, asked of the system itself: a slim image of Debian has no `ps`."""

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

import psutil


class Living(NamedTuple):
    """One process that lives; one that nobody has waited for yet does not."""

    pid: int
    parent: int
    command: str


def processes() -> list[Living]:
    """Every living process."""
    found = (one.info for one in psutil.process_iter(["pid", "ppid", "status", "cmdline"]))
    return [
        Living(pid=one["pid"], parent=one["ppid"], command=_written(one["cmdline"]))
        for one in found
        if one["status"] != psutil.STATUS_ZOMBIE
    ]


def children_of(pid: int) -> list[int]:
    """What a process has started and still runs."""
    return [one.pid for one in processes() if one.parent == pid]


def group(leader: int) -> list[int]:
    """The living processes of a group."""
    found = []
    for one in processes():
        with suppress(ProcessLookupError):  # it ended meanwhile
            found += [one.pid] if os.getpgid(one.pid) == leader else []
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def command(pid: int) -> str:
    """A living process's command as it calls itself; empty when there is none."""
    try:
        return _written(psutil.Process(pid).cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


def cpu_s(pid: int) -> float:
    """The processor time that a process has used, in seconds."""
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


def _written(words: Iterable[str] | None) -> str:
    """A command in a line; who named itself anew leaves blanks behind where its words were."""
    return " ".join(words or ()).strip()
