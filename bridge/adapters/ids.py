"""ULIDs: ids that sort by the time they were made, also within one millisecond of one process."""

import os
import threading
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_RANDOM_BITS = 80


class Ulids:
    """A maker of ULIDs (48 bits of milliseconds, 80 random bits); every next one is greater."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def __call__(self) -> str:
        value = (time.time_ns() // 1_000_000 << _RANDOM_BITS) | int.from_bytes(os.urandom(10), "big")
        with self._lock:
            if value <= self._last or value >> _RANDOM_BITS == self._last >> _RANDOM_BITS:
                value = self._last + 1 + (value & 0xFFFF)
            self._last = value
        return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])
