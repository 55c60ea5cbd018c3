"""ULIDs: ids that sort by the time they were made, also within one millisecond of one process."""

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

ULID_CHARS = 26
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_RANDOM_BITS = 80
_RANDOM_BYTES = _RANDOM_BITS // 8
_DRAWN_AT_ONCE = 256  # ids' worth of random bytes: each draw lets go of the interpreter lock
_SET_BACK_MS = 60_000  # a clock that is this far behind the last id was set back, and is believed


def earliest_at(instant: datetime) -> str:
    """The least ULID of an instant's millisecond: every id made then or later is as great or greater."""
    value = max(0, int(instant.timestamp() * 1000)) << _RANDOM_BITS
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])


def made_at(ulid: str) -> datetime | None:
    """When an id was made; None for a text that is no ULID."""
    if len(ulid) != ULID_CHARS or any(character not in _ALPHABET for character in ulid) or ulid[0] > "7":
        return None
    milliseconds = 0
    for character in ulid[:10]:
        milliseconds = milliseconds << 5 | _ALPHABET.index(character)
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):  # the year 10889 is the last a ULID can say
        return None


class Ulids:
    """A maker of ULIDs (48 bits of milliseconds, 80 random bits); every next one is greater. Make it after forking.

    Unless the clock was set back by more than a minute: else this process's ids would say a time that is none, and go
    before everybody else's, until it ends.
    """

    def __init__(self, time_ns: Callable[[], int] = time.time_ns) -> None:
        self._time_ns = time_ns
        self._lock = threading.Lock()
        self._last = 0
        self._random = b""

    def __call__(self) -> str:
        with self._lock:
            now_ms, last_ms = self._time_ns() // 1_000_000, self._last >> _RANDOM_BITS
            value = (now_ms << _RANDOM_BITS) | self._drawn()
            if last_ms - _SET_BACK_MS < now_ms <= last_ms:
                value = self._last + 1 + (value & 0xFFFF)
            self._last = value
        return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])

    def _drawn(self) -> int:
        if not self._random:
            self._random = os.urandom(_RANDOM_BYTES * _DRAWN_AT_ONCE)
        drawn, self._random = self._random[:_RANDOM_BYTES], self._random[_RANDOM_BYTES:]
        return int.from_bytes(drawn, "big")
