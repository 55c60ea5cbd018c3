"""Who holds a lease: this process, in words that tell another one on this machine whether the holder still lives.

A process that was killed cannot give its lease back. Whoever sees from its pid that it is gone need not wait for the
lease to end.
"""

import os
import platform
import secrets
from functools import lru_cache
from pathlib import Path


def holder() -> str:
    """This process: `<place>:<pid>:<life>`. Whoever has its place and pid after it, as the first process of a container
    started again may, has another life: what this one left is not that one's to undo.
    """
    return _holder_of(os.getpid())


def is_gone(token: str) -> bool:
    """Whether the process that a lease's token begins with has surely ended: it ran here, and its pid is free.

    False when in doubt: of a process elsewhere, of a pid that another process has by now.
    """
    place, _, rest = token.partition(":")
    pid, separator, _ = rest.partition(":")
    if not separator or place != _place() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        return False
    return False


@lru_cache(maxsize=1)
def _holder_of(pid: int) -> str:
    return f"{_place()}:{pid}:{secrets.token_hex(4)}"


@lru_cache(maxsize=1)
def _place() -> str:
    """Where pids mean the same: one boot of one machine, in one container. On macOS the machine's name has to do."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        inside = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return platform.node().replace(":", "-") or "localhost"
    return f"{boot}.{inside}".replace(":", "-")
