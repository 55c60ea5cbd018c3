"""The clock: turns due lanes into jobs every 250 ms, looks after the rest every 10 s. Any number may run.

Without Redis for 10 s, or without a worker that takes jobs for 15 s, it drains the lanes itself: pages go out, slower.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from bridge.adapters import logs
from bridge.adapters.ledger import Ledger
from bridge.adapters.queue import Queue, QueueUnavailable
from bridge.domain.errors import LedgerUnavailable
from bridge.domain.incident import Incident
from bridge.entrypoints.alarming import Alarms
from bridge.entrypoints.confirming import Confirmations
from bridge.entrypoints.worker import Drainer, names_topic

TICK_S = 0.25
UPKEEP_S = 10.0
LANES_S = 60.0  # what a process with an older configuration put into a lane that nobody drains waits no longer
PRUNE_S = 600.0  # also after a start and after a jump of the time: by a wrong one all of the history is past its own
JUMP_S = 60.0
OUTSTANDING_MAX = 64
DRAIN_ITSELF_AFTER_S = 10.0
UNTAKEN_AFTER_S = 15.0  # for the same job at the head of the line; above the 12 s that a drain may take
BROKEN_REST_S = 1.0  # after a round that failed by our own fault


@dataclass(slots=True)
class Clock:
    """One clock process."""

    ledger: Ledger
    queue: Queue
    drainer: Drainer
    retention: tuple[timedelta, timedelta]  # bodies, history
    confirmations: Confirmations | None = None
    alarms: Alarms | None = None
    monotonic: Callable[[], float] = time.monotonic
    bodies_max_bytes: int | None = None  # of each source
    _lost_at: float | None = None
    _drains_itself: bool = False
    _ledger_was_away: bool = False
    _first: bytes | None = None  # job in the line, and since when it is the first
    _first_at: float = 0.0
    _upkeep_at: float = field(default=0.0)
    _prune_at: float = field(default=0.0)
    _apart_s: float | None = None  # the ledger's time and the steady one, in the last round
    _lanes_at: float = field(default=0.0)

    def run(self, stop: threading.Event) -> None:
        """Tick until told to stop; whatever fails is tried again, never fatal: without a clock nothing is found due."""
        while not stop.is_set():
            started = self.monotonic()
            try:
                self.tick(stop)
            except LedgerUnavailable as error:
                logs.get().error(logs.LEDGER_UNAVAILABLE, reason=str(error))
                self._ledger_was_away = True
                stop.wait(1.0)
            except Exception:  # noqa: BLE001 - the outermost frame of the process
                logs.get().error(logs.TASK_FAILED, task="tick", exc_info=True)
                stop.wait(BROKEN_REST_S)
            stop.wait(max(0.01, TICK_S - (self.monotonic() - started)))

    def tick(self, stop: threading.Event) -> None:
        """One round: jobs for due lanes, and now and then the upkeep."""
        if self._ledger_was_away:  # the jobs that lanes are armed for found none either: do not wait for them
            self.ledger.lanes_disarmed()
            self._ledger_was_away = False
        try:
            alone = self._is_untaken()
            if not alone:
                self._send_jobs()
            self._found()
        except QueueUnavailable as error:
            self._lost(error)
            alone = self._lost_at is not None and self.monotonic() - self._lost_at >= DRAIN_ITSELF_AFTER_S
        if alone:
            self._drain_itself(stop)
        else:
            self._drains_itself = False
        if self.monotonic() >= self._upkeep_at:
            self._upkeep_at = self.monotonic() + UPKEEP_S
            self._upkeep()

    def _send_jobs(self) -> None:
        if self.queue.is_fresh():  # an empty Redis: whatever lanes were armed for is gone
            self.ledger.lanes_disarmed()
        room = OUTSTANDING_MAX - self.queue.outstanding()
        if room <= 0:
            return
        for lane in self.ledger.due_lanes(room):
            try:
                self.queue.enqueue_drain(lane)
            except QueueUnavailable:
                self.ledger.lanes_disarmed(lane)
                raise

    def _is_untaken(self) -> bool:
        """Whether no worker takes jobs: all of them hang, or look for them at another Redis."""
        first = self.queue.first()
        if first != self._first:
            self._first, self._first_at = first, self.monotonic()
        untaken = first is not None and self.monotonic() - self._first_at >= UNTAKEN_AFTER_S
        if untaken and not self._drains_itself:
            logs.get().error(logs.JOBS_UNTAKEN, since_s=round(self.monotonic() - self._first_at, 1))
        return untaken

    def _drain_itself(self, stop: threading.Event) -> None:
        if not self._drains_itself:  # the jobs that lanes were armed for are out of reach: do not wait for their leases
            self.ledger.lanes_disarmed()
            self._drains_itself = True
        for lane in self.ledger.due_lanes(OUTSTANDING_MAX):
            if stop.is_set():
                return
            try:
                self.drainer.drain(lane)
            except LedgerUnavailable:
                raise
            except Exception:  # noqa: BLE001 - one lane's fault is no reason to leave the others undrained
                logs.get().error(logs.TASK_FAILED, task="drain", account=lane, exc_info=True)

    def _lost(self, error: QueueUnavailable) -> None:
        if self._lost_at is None:
            self._lost_at = self.monotonic()
            self._first = None  # nobody could take a job meanwhile
            logs.get().warning(logs.QUEUE_LOST, reason=str(error))

    def _found(self) -> None:
        if self._lost_at is not None:
            logs.get().info(logs.QUEUE_BACK, away_s=round(self.monotonic() - self._lost_at, 1))
            self._lost_at = None

    def _upkeep(self) -> None:
        if self.monotonic() >= self._lanes_at:
            self._lanes_at = self.monotonic() + LANES_S
            self.ledger.lanes_ensured()
        self.ledger.given_up(_log_given_up)
        self.ledger.waits_shortened()
        self.ledger.renewals_opened(_log_renewed)
        self.ledger.plan_b_opened(_log_plan_b)
        self.ledger.swept()
        self._ask_for_names()
        self._ask_for_confirmations()
        if self.alarms is not None:
            self.alarms.look()
        self.ledger.tallied()
        if self.bodies_max_bytes is not None:
            self.ledger.bodies_trimmed(self.bodies_max_bytes, self._owed())
        if self._has_jumped():
            self._prune_at = self.monotonic() + PRUNE_S
        if self.monotonic() >= self._prune_at:
            gone = self.ledger.pruned(*self.retention)
            self._prune_at = self.monotonic() + (UPKEEP_S if gone else PRUNE_S)  # there may be more

    def _has_jumped(self) -> bool:
        """Whether the ledger's time may be another one than it was: in the first round, and after a jump of it."""
        before, self._apart_s = self._apart_s, self.ledger.time().timestamp() - self.monotonic()
        return before is None or abs(self._apart_s - before) > JUMP_S

    def _owed(self) -> Mapping[str, str]:
        """What marks the events whose sender waits for a call of ours, by source."""
        sources = {} if self.confirmations is None else self.confirmations.sources
        return {name: one.confirmations for name, one in sources.items()}

    def _ask_for_names(self) -> None:
        """A job for every list that is due; without Redis one of them is fetched here, for pages wait meanwhile."""
        for account, kind in self.ledger.fetches_asked():
            try:
                self.queue.enqueue_upkeep(names_topic(account, kind))
            except QueueUnavailable:
                self.drainer.fetch_names(account, kind)
                return

    def _ask_for_confirmations(self) -> None:
        """A job for every call that a sender waits for; without Redis they wait, as nobody is paged by them."""
        for topic in () if self.confirmations is None else self.confirmations.topics():
            with suppress(QueueUnavailable):
                self.queue.enqueue_upkeep(topic)


def _log_renewed(ended: Incident) -> None:
    logs.get().info(logs.EPISODES_RENEWED, account=ended.account, incident=ended.id)


def _log_plan_b(fresh: Incident) -> None:
    logs.get().error(logs.PLAN_B_OPENED, account=fresh.account, incident=fresh.id, stands_for=fresh.stands_for)


def _log_given_up(account: str, delivery: str) -> None:
    logs.get().error(logs.LETTERS_TOO_OLD, account=account, delivery_id=delivery)
