"""How many calls the stand-ins take: token buckets, one for everything and a tighter one for creates."""

import math
import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """`calls` at once, and as many again over `window_s` seconds."""

    calls: int
    window_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The limits in force; None is no limit.

    The general ones are documented (PagerDuty developer-docs REST-API/04-Rate-Limits.md: 960 a minute; incident.io
    openapi3.json prose: 1200 a minute; read 2026-08). Neither publishes its limit for creates: 60 a minute is ours.
    """

    pagerduty: Rate | None = Rate(calls=960)
    pagerduty_create: Rate | None = Rate(calls=60)
    incident_io: Rate | None = Rate(calls=1200)
    incident_io_create: Rate | None = Rate(calls=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What a bucket says of one call."""

    allowed: bool
    rate: Rate
    remaining: int
    next_s: float  # until one more call is allowed; 0 when one is
    full_s: float  # until the bucket is full again


class Bucket:
    """A token bucket; safe for any number of threads."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._lock = threading.Lock()
        self._tokens = float(rate.calls)
        self._at = time.monotonic()

    def take(self) -> Quota:
        """One call asks to pass."""
        per_s = self.rate.calls / self.rate.window_s
        with self._lock:
            now = time.monotonic()
            self._tokens = min(float(self.rate.calls), self._tokens + (now - self._at) * per_s)
            self._at = now
            allowed = self._tokens >= 1
            self._tokens -= allowed
            left = self._tokens
        return Quota(
            allowed=allowed,
            rate=self.rate,
            remaining=math.floor(left),
            next_s=max(0.0, (1 - left) / per_s),
            full_s=(self.rate.calls - left) / per_s,
        )


def take_all(buckets: list[Bucket | None]) -> Quota | None:
    """One call passes every bucket that is there; what the tightest says of it. None: nothing limits it."""
    quotas = [bucket.take() for bucket in buckets if bucket is not None]
    return min(quotas, key=lambda quota: (quota.allowed, quota.remaining)) if quotas else None
