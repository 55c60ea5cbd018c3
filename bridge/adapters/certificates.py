"""Signing certificates of vendors, fetched while a webhook waits for its answer, and kept.

The one call that a request may wait for (DESIGN section 3): two seconds at most, once per address and day, and a few at
a time. Which addresses may be asked at all is the source's to say.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bridge.adapters.http import Http
from bridge.domain.delivery import HttpRequest, HttpResponse
from bridge.domain.errors import Unverifiable

DEADLINE_S = 2.0
ANSWER_MAX_BYTES = 64 * 1024
KEPT_FOR_S = 24 * 3600.0
MISSING_FOR_S = 60.0  # how long an address without a certificate, or a host that did not answer, is not asked again
UNREACHED_FOR_S = 5.0
KEPT_MAX = 64  # addresses; each region has one, and a new one now and then
AT_ONCE_MAX = 4


class Certificates:
    """Fetches and keeps the PEMs of one process; threads may share it. Make it after forking."""

    def __init__(self, *, deadline_s: float = DEADLINE_S, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`deadline_s` holds for one call, and for the wait for another thread's."""
        self._deadline_s = deadline_s
        self._http = Http(deadline_s=deadline_s, answer_max_bytes=ANSWER_MAX_BYTES, pool=AT_ONCE_MAX)
        self._monotonic = monotonic
        self._kept: dict[str, tuple[float, bytes | None]] = {}  # address -> until when, what is there
        self._unreached: dict[str, float] = {}
        self._fetching: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(AT_ONCE_MAX)

    def fetch(self, url: str) -> bytes | None:
        """The PEM at an address; None when nothing is there. Raises Unverifiable."""
        if (kept := self._of(url)) is not None:
            return kept[1]
        with self._alone(url):  # who waited here finds what the first one fetched
            if (kept := self._of(url)) is not None:
                return kept[1]
            if self._unreached.get(url, 0.0) > self._monotonic():
                raise Unverifiable("the host of the signing certificate did not answer lately")
            return self._fetched(url)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _of(self, url: str) -> tuple[float, bytes | None] | None:
        kept = self._kept.get(url)
        return kept if kept is not None and kept[0] > self._monotonic() else None

    @contextmanager
    def _alone(self, url: str) -> Iterator[None]:
        with self._lock:
            if len(self._fetching) >= KEPT_MAX:
                self._fetching = {known: lock for known, lock in self._fetching.items() if lock.locked()}
            mine = self._fetching.setdefault(url, threading.Lock())
        if not mine.acquire(timeout=self._deadline_s):
            raise Unverifiable("the signing certificate is being fetched")
        try:
            if not self._slots.acquire(timeout=self._deadline_s):
                raise Unverifiable("too many signing certificates are being fetched")
            try:
                yield
            finally:
                self._slots.release()
        finally:
            mine.release()

    def _fetched(self, url: str) -> bytes | None:
        answer = self._http.send(HttpRequest(method="GET", url=url, headers={}))
        now = self._monotonic()
        if not isinstance(answer, HttpResponse) or answer.status >= 500 or answer.status == 429:
            self._keep_within_bounds()
            self._unreached[url] = now + UNREACHED_FOR_S
            detail = f"HTTP {answer.status}" if isinstance(answer, HttpResponse) else answer.detail
            raise Unverifiable(f"the signing certificate could not be fetched: {detail}")
        there = answer.status == 200
        self._keep_within_bounds()
        self._kept[url] = (now + (KEPT_FOR_S if there else MISSING_FOR_S), answer.body if there else None)
        return self._kept[url][1]

    def _keep_within_bounds(self) -> None:
        """Forget what is over; and everything, should somebody name address after address."""
        now = self._monotonic()
        with self._lock:
            self._kept = {url: held for url, held in self._kept.items() if held[0] > now}
            self._unreached = {url: until for url, until in self._unreached.items() if until > now}
            if len(self._kept) >= KEPT_MAX:
                self._kept = {url: held for url, held in self._kept.items() if held[1] is not None}
            if len(self._kept) >= KEPT_MAX or len(self._unreached) >= KEPT_MAX:
                self._kept, self._unreached = {}, {}
