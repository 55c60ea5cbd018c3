"""The standard streams of a process that pages people: what it says must never keep it from working.

A log may lose its reader (`up 2>&1 | tee log` with tee gone, a closed terminal), its reader may stand still (Ctrl-S,
a stopped `less`), or its disk may be full. What cannot be said then is lost; the webhook beside it is not.
"""

import io
import os
import select
import sys
from typing import Any

PATIENCE_S = 1.0  # for a reader that is slow; one that stood still so long gets no more until it reads again
STANDARD = 3  # descriptors: stdin, stdout, stderr
_AT_ONCE_BYTES = select.PIPE_BUF  # a pipe that is ready takes so much without making us wait


def open_missing() -> None:
    """Lead standard descriptors that are closed to nowhere; call it before anything else is opened.

    The next file to be opened would get the number, and whatever a library writes to stderr would end up in the ledger.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < STANDARD:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def outlast_readers() -> None:
    """From now on stdout and stderr lose what they cannot write, and raise nothing."""
    sys.stdout, sys.stderr = _lossy(sys.stdout), _lossy(sys.stderr)


class _Lossy(io.FileIO):
    """A descriptor to write to that always takes everything, or seems to."""

    _stands_still = False

    def write(self, data: Any) -> int:
        """Write what can be; answers that all of it was."""
        whole = memoryview(data).cast("B")
        try:
            for start in range(0, len(whole), _AT_ONCE_BYTES):
                if not self._is_ready():
                    break
                super().write(whole[start : start + _AT_ONCE_BYTES])
        except OSError:  # nobody reads it any more, or there is no room: and nowhere else to say so
            return len(whole)
        return len(whole)

    def _is_ready(self) -> bool:
        patience_s = 0.0 if self._stands_still else PATIENCE_S
        ready = bool(select.select([], [self], [], patience_s)[1])
        self._stands_still = not ready
        return ready


def _lossy(stream: Any) -> Any:
    try:
        descriptor = stream.fileno()
    except OSError:  # no stream of the operating system's: it loses nothing
        return stream
    if isinstance(getattr(getattr(stream, "buffer", None), "raw", None), _Lossy):
        return stream
    raw = _Lossy(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=stream.encoding, errors="backslashreplace", line_buffering=True
    )
