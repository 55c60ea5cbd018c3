"""/metrics: what the ledger counts and holds, as Prometheus reads it.

Counters come from `adapters.ledger.tallies`: the same from every web process, over every restart, and no table is
counted through. Every label is a word of ours or a name from the configuration, so their number is bounded.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from bridge import __version__
from bridge.adapters import logs
from bridge.adapters.ledger import Ledger, tallies
from bridge.domain.errors import LedgerUnavailable
from bridge.entrypoints.repeating import Repeating

AGE_S = 1.0  # a scrape may be this old: several in one second cost one
FLUSH_EVERY_S = 10.0
SEEN_WITHIN = timedelta(minutes=10)
More = Callable[[], Iterable[Any]]  # metric families that somebody else knows, such as the state of reloading

# name, what is counted, its labels, and a sentence
_COUNTERS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("received", tallies.RECEIVED, ("source", "state"), "Webhooks on record, accepted or rejected"),
    ("refused", tallies.REFUSED, ("source", "what"), "Requests refused and not stored"),
    ("alerts", tallies.OUTCOMES, ("source", "outcome"), "Alerts by the outcome of their first decision"),
    ("rule_hits", tallies.HITS, ("rule",), "Alerts that a rule decided"),
    (
        "attempts",
        tallies.ATTEMPTS,
        ("account", "action", "reason"),
        "Calls to an upstream by how they ended; ok: worked",
    ),
    ("deliveries", tallies.FINISHED, ("account", "action", "state"), "Deliveries that ended, by how"),
)


@dataclass(slots=True)
class Tally:
    """What this process counted without storing it: refused requests, by source and what was wrong."""

    numbers: dict[tuple[str, ...], int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, source: str, what: str) -> None:
        with self._lock:
            self.numbers[source, what] = self.numbers.get((source, what), 0) + 1

    def flush(self, ledger: Ledger) -> None:
        """Give what was counted to the ledger; what it does not take is kept for the next time."""
        with self._lock:
            taken, self.numbers = self.numbers, {}
        try:
            ledger.tallied_more(tallies.REFUSED, taken)
        except LedgerUnavailable as error:
            logs.get().error(logs.LEDGER_UNAVAILABLE, reason=str(error))
            with self._lock:
                for labels, number in taken.items():
                    self.numbers[labels] = self.numbers.get(labels, 0) + number


class Flushing:
    """A thread that gives a process's tally to the ledger every ten seconds, and once more at its end."""

    def __init__(self, tally: Tally, ledger: Ledger) -> None:
        self._flush = partial(tally.flush, ledger)
        self._rounds = Repeating("tally", self._flush, FLUSH_EVERY_S)

    def start(self) -> None:
        """From now on."""
        self._rounds.start()

    def stop(self) -> None:
        """The process ends."""
        self._rounds.stop()
        self._flush()


class Collector:
    """Turns what the ledger counts and holds into metric families, at most once a second."""

    def __init__(self, ledger: Ledger, rates: Mapping[str, tuple[str, str]], more: More = tuple) -> None:
        self._ledger, self._rates, self._more = ledger, rates, more
        self._held: tuple[float, list[Any]] | None = None
        self._lock = threading.Lock()

    def collect(self) -> list[Any]:
        with self._lock:
            if self._held is None or time.monotonic() - self._held[0] > AGE_S:
                self._held = (time.monotonic(), [*self._counters(), *self._lanes(), *self._processes()])
            families = list(self._held[1])
        return [*families, *self._more()]

    def _counters(self) -> Iterable[Any]:
        totals = self._ledger.totals()
        for name, what, labels, about in _COUNTERS:
            family = CounterMetricFamily(f"incident_bridge_{name}", about, labels=labels)
            for values, number in sorted(totals.get(what, {}).items()):
                family.add_metric(values, number)
            yield family
        yield _waits(totals)
        bodies = _gauge("body_bytes", "Packed bodies on record (retention.bodies_max)", "source")
        for values, number in sorted(totals.get(tallies.BODIES, {}).items()):
            bodies.add_metric(values, number)
        yield bodies

    def _lanes(self) -> Iterable[Any]:
        waiting = _gauge("lane_waiting", "Unfinished deliveries", "account", "severity")
        oldest = _gauge("lane_oldest_wait_seconds", "Age of the oldest unfinished delivery", "account")
        parked = _gauge("lane_parked", "1 while an account is held back, by its upstream or a person", "account")
        paused = _gauge("lane_paused", "1 while a person holds an account back", "account")
        folding = _gauge("lane_folding", "1 while creates go out several as one", "account")
        tokens = _gauge("lane_tokens", "Creates that may go out at once now", "account")
        dead = _gauge("dead_letters", "Dead letters nobody has replayed or discarded", "account")
        ages = [0.0]
        for lane in self._ledger.lanes(self._rates):
            of = [lane["account"]]
            for severity, number in lane["waiting_by_severity"].items():
                waiting.add_metric([*of, severity], number)
            ages.append(lane["oldest_wait_s"] or 0.0)
            oldest.add_metric(of, ages[-1])
            parked.add_metric(of, 1 if lane["parked"] else 0)
            paused.add_metric(of, 1 if lane["paused"] else 0)
            folding.add_metric(of, 1 if lane["folding"] else 0)
            tokens.add_metric(of, lane["tokens"] or 0.0)
            dead.add_metric(of, lane["dead"])
        unfinished = GaugeMetricFamily(
            "incident_bridge_oldest_unfinished_seconds", "Age of the oldest delivery that waits anywhere", max(ages)
        )
        return (waiting, oldest, parked, paused, folding, tokens, dead, unfinished)

    def _processes(self) -> Iterable[Any]:
        age = _gauge("heartbeat_age_seconds", "Age of the youngest heartbeat of a kind of process", "kind")
        number = _gauge("processes", "Processes with a heartbeat in the last 30 s", "kind")
        kinds: dict[str, list[float]] = {"clock": [], "web": [], "worker": []}
        for one in self._ledger.alive(SEEN_WITHIN):
            kinds.setdefault(one["kind"], []).append(one["beat_age_s"])
        for kind, ages in sorted(kinds.items()):
            number.add_metric([kind], sum(1 for one in ages if one <= 30.0))
            age.add_metric([kind], min(ages, default=SEEN_WITHIN.total_seconds()))
        build = _gauge("build_info", "The version that answers", "version")
        build.add_metric([__version__], 1)
        return (age, number, build)


def _waits(totals: Mapping[str, Mapping[tuple[str, ...], int]]) -> Any:
    family = HistogramMetricFamily(
        "incident_bridge_lane_wait_seconds", "How long creates waited for their first attempt", labels=["account"]
    )
    waited, together_us = totals.get(tallies.WAITED, {}), totals.get(tallies.WAITED_US, {})
    for account in sorted({account for account, _ in waited}):
        buckets, below = [], 0
        for bound in (*map(str, tallies.WAITS_S), "inf"):
            below += waited.get((account, bound), 0)
            buckets.append(("+Inf" if bound == "inf" else bound, below))
        family.add_metric([account], buckets=buckets, sum_value=together_us.get((account,), 0) / 1_000_000)
    return family


def _gauge(name: str, about: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"incident_bridge_{name}", about, labels=labels)
