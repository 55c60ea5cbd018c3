"""/healthz, /readyz, /metrics: alive, able to work, and numbers counted from the ledger."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from flask import Blueprint, Response, request
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from bridge.adapters.ledger import Ledger
from bridge.domain.errors import LedgerUnavailable
from bridge.entrypoints.web.access import Gate
from bridge.entrypoints.web.receiver import answer
from bridge.entrypoints.web.reloads import reload_families, rules_told

ALIVE_WITHIN = timedelta(seconds=30)  # three heartbeats
METRICS_AGE_S = 5.0
WRITABLE_WITHIN_S = 3.0
NEEDED = ("web", "worker", "clock")


@dataclass(slots=True)
class Tally:
    """What this process counted without storing it: refused requests, by source and what was wrong."""

    numbers: Counter[tuple[str, str]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, source: str, what: str) -> None:
        with self._lock:
            self.numbers[(source, what)] += 1


def blueprint(ledger: Ledger, gate: Gate, tally: Tally, rates: Mapping[str, tuple[str, str]]) -> Blueprint:
    """The three routes."""
    routes = Blueprint("health", __name__)
    collector = _Collector(ledger, tally, rates)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    writable = Writable(ledger)

    @routes.get("/healthz")
    def healthz() -> Response:
        return answer(200, status="alive")

    @routes.get("/readyz")
    def readyz() -> Response:
        """200 once the ledger takes writes and web, worker and clock beat; a refused reload is said, no more."""
        missing = not_ready(ledger, writable)
        if missing:
            return answer(503, status="not ready", missing=missing)
        return answer(200, status="ready", rules=rules_told(ledger.rules_state()))

    @routes.get("/metrics")
    def metrics() -> Response:
        refusal = gate.refusal(request)
        if refusal is not None:
            return answer(refusal.status, error=refusal.sentence)
        return Response(generate_latest(registry), mimetype="text/plain; version=0.0.4")

    return routes


class Writable:
    """Whether the ledger takes writes, answered in time even when its lock is held for ever.

    One thread asks for all: probes that come every few seconds must not pile up behind the lock.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ask = ledger.is_writable
        self._asking = threading.Lock()
        self._answered = threading.Condition()
        self._answer: tuple[int, bool] = (0, False)  # its number, and itself

    def __call__(self) -> bool:
        with self._answered:
            last = self._answer[0]
            if self._asking.acquire(blocking=False):
                threading.Thread(target=self._run, name="ledger-writable", daemon=True).start()
            return self._answered.wait_for(lambda: self._answer[0] > last, WRITABLE_WITHIN_S) and self._answer[1]

    def _run(self) -> None:
        try:
            takes = self._ask()
        finally:
            self._asking.release()
        with self._answered:
            self._answer = (self._answer[0] + 1, takes)
            self._answered.notify_all()


def not_ready(ledger: Ledger, writable: Callable[[], bool]) -> list[str]:
    """Sentences on what is missing; empty when the bridge can work."""
    try:
        kinds = {one["kind"] for one in ledger.alive(ALIVE_WITHIN)}
    except LedgerUnavailable as error:
        return [str(error)]
    missing = [f"no heartbeat of a {kind} process in the last 30 s" for kind in NEEDED if kind not in kinds]
    if not writable():
        missing.append("the ledger does not take writes")
    return missing


class _Collector:
    """Turns the ledger's counts into metric families, at most every METRICS_AGE_S."""

    def __init__(self, ledger: Ledger, tally: Tally, rates: Mapping[str, tuple[str, str]]) -> None:
        self._ledger, self._tally, self._rates = ledger, tally, rates
        self._held: tuple[float, list[Any]] | None = None
        self._lock = threading.Lock()

    def collect(self) -> list[Any]:
        with self._lock:
            if self._held is None or time.monotonic() - self._held[0] > METRICS_AGE_S:
                self._held = (time.monotonic(), self._from_ledger())
            families = list(self._held[1])
        refused = CounterMetricFamily(
            "incident_bridge_refused", "Requests refused by this process, not stored", labels=["source", "what"]
        )
        for (source, what), number in sorted(self._tally.numbers.items()):
            refused.add_metric([source, what], number)
        return [*families, refused]

    def _from_ledger(self) -> list[Any]:
        counted = self._ledger.counters()
        events = CounterMetricFamily("incident_bridge_events", "Webhooks on record", labels=["source", "state"])
        for labels, number in sorted(counted["events"].items()):
            events.add_metric(list(labels), number)
        told = GaugeMetricFamily(
            "incident_bridge_deliveries", "Deliveries on record", labels=["account", "action", "state"]
        )
        for labels, number in sorted(counted["deliveries"].items()):
            told.add_metric(list(labels), number)
        waiting = GaugeMetricFamily("incident_bridge_lane_waiting", "Unfinished deliveries", labels=["account"])
        oldest = GaugeMetricFamily(
            "incident_bridge_lane_oldest_wait_seconds", "Age of the oldest unfinished delivery", labels=["account"]
        )
        parked = GaugeMetricFamily("incident_bridge_lane_parked", "1 while the lane is held back", labels=["account"])
        for lane in self._ledger.lanes(self._rates):
            waiting.add_metric([lane["account"]], lane["waiting"])
            oldest.add_metric([lane["account"]], lane["oldest_wait_s"] or 0.0)
            parked.add_metric([lane["account"]], 1 if lane["parked"] else 0)
        beats = GaugeMetricFamily(
            "incident_bridge_heartbeat_age_seconds", "Age of each process's heartbeat", labels=["kind", "process"]
        )
        for one in self._ledger.alive(timedelta(minutes=10)):
            beats.add_metric([one["kind"], one["process"]], one["beat_age_s"])
        return [events, told, waiting, oldest, parked, beats, *reload_families(self._ledger.rules_state())]
