"""Durations, sizes and rates as people write them."""

import re
from dataclasses import dataclass
from datetime import timedelta

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|min|h|d)")
_SIZE = re.compile(r"([0-9]+)\s*(B|KiB|MiB|GiB|KB|MB|GB)?")
_RATE = re.compile(r"([0-9]+)\s*(?:/|per)\s*([0-9]+)?\s*(s|sec|m|min|h|hour|d|day)")
_SECONDS = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}
DURATION_MAX = timedelta(days=3650)  # far from where adding it to an instant would overflow
SIZE_MAX = 1024**3
INTERVAL_MAX = timedelta(days=1)
_BYTES = {None: 1, "B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Calls an account allows: `interval` between two, and the owner's words for it."""

    interval: timedelta
    text: str

    def __str__(self) -> str:
        return self.text


def duration(text: str) -> timedelta:
    """`30s`, `2m`, `1h`, `7d`, `1.5h`, `0s`. Raises ValueError with the sentence that says so."""
    found = _DURATION.fullmatch(text.strip())
    if found is None or len(text) > 20:
        raise ValueError("a duration such as 30s, 2m, 1h or 7d")
    seconds = float(found[1]) * _SECONDS[found[2]]
    if seconds > DURATION_MAX.total_seconds():
        raise ValueError("a duration such as 30s, 2m, 1h or 7d, at most 3650d")
    return timedelta(seconds=seconds)


def size(text: str) -> int:
    """Bytes of `8MiB`, `64KiB`, `1000`. Raises ValueError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or len(text) > 20 or int(found[1]) == 0:
        raise ValueError("a size such as 8MiB or 64KiB")
    if int(found[1]) * _BYTES[found[2]] > SIZE_MAX:
        raise ValueError("a size such as 8MiB or 64KiB, at most 1GiB")
    return int(found[1]) * _BYTES[found[2]]


def rate(text: str) -> Rate:
    """`12/min`, `10/s`, `100/h`, `10/10s`, `10 per 10s`. Raises ValueError."""
    found = _RATE.fullmatch(text.strip())
    if found is None or len(text) > 20 or int(found[1]) == 0 or (found[2] is not None and int(found[2]) == 0):
        raise ValueError("a rate such as 12/min, 10/s, 100/h or 10/10s")
    window_us = int(found[2] or 1) * int(_SECONDS[found[3]]) * 1_000_000
    interval_us = -(-window_us // int(found[1]))  # rounded up: never above the rate
    if interval_us > INTERVAL_MAX // timedelta(microseconds=1):
        raise ValueError("a rate such as 12/min, 10/s, 100/h or 10/10s, at least 1/d")
    return Rate(interval=timedelta(microseconds=interval_us), text=text.strip())
