"""/healthz, /readyz, /metrics: alive, able to work, and numbers from the ledger."""

import threading
import time
from collections.abc import Callable, Mapping

from flask import Blueprint, Response, request
from prometheus_client import CollectorRegistry, generate_latest

from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.receipts import Receipt
from bridge.adapters.ledger.settle import Settled
from bridge.domain.alarms import BEATS_WITHIN
from bridge.domain.errors import LedgerUnavailable
from bridge.entrypoints.web.access import Gate
from bridge.entrypoints.web.metrics import Collector, More, Tally
from bridge.entrypoints.web.receiver import answer
from bridge.entrypoints.web.reloads import rules_told

WRITABLE_WITHIN_S = 3.0
TRY_RESTS = 50  # times as long as a try took, and at most so long:
TRY_RESTS_MAX_S = 0.5
REFUSED_WITHIN_S = 30.0  # as of heartbeats
NEEDED = ("web", "worker", "clock")
__all__ = ["Storing", "Tally", "Writable", "blueprint", "not_ready"]


def blueprint(
    ledger: Ledger,
    missing: Callable[[], list[str]],
    gate: Gate,
    tally: Tally,
    rates: Mapping[str, tuple[str, str]],
    more: More = tuple,
) -> Blueprint:
    """The three routes. `missing` says what is, as not_ready does; `tally` is this process's own, which it gives to the
    ledger now and then.
    """
    routes = Blueprint("health", __name__)
    collector = Collector(ledger, rates, more)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)

    @routes.get("/healthz")
    def healthz() -> Response:
        return answer(200, status="alive")

    @routes.get("/readyz")
    def readyz() -> Response:
        """200 once the ledger takes writes and web, worker and clock beat; a refused reload is said, no more."""
        found = missing()
        if found:
            return answer(503, status="not ready", missing=found)
        return answer(200, status="ready", rules=rules_told(ledger.rules_state()))

    @routes.get("/metrics")
    def metrics() -> Response:
        refusal = gate.admit(request)
        if refusal is not None:
            return answer(refusal.status, error=refusal.sentence)
        tally.flush(ledger)  # what only this process knows yet
        return Response(generate_latest(registry), mimetype="text/plain; version=0.0.4")

    return routes


class Writable:
    """Whether the ledger takes writes, answered in time even when its lock is held for ever.

    One thread asks for all: probes that come every few seconds must not pile up behind the lock. A try is a commit that
    webhooks wait for, and whoever asks need not log in: its answer holds for a while, so that a process's tries take a
    fiftieth of the time of a ledger that commits within 10 ms, however many ask.
    """

    def __init__(self, ledger: Ledger, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ask, self._monotonic = ledger.is_writable, monotonic
        self._asking = threading.Lock()
        self._answered = threading.Condition()
        self._answer: tuple[int, bool] = (0, False)  # its number, and itself
        self._holds_until = monotonic()

    def __call__(self) -> bool:
        """Raises LedgerUnavailable where there is no thread to ask with."""
        with self._answered:
            last, takes = self._answer
            if self._monotonic() < self._holds_until:
                return takes
            if self._asking.acquire(blocking=False):
                self._begin()
            return self._answered.wait_for(lambda: self._answer[0] > last, WRITABLE_WITHIN_S) and self._answer[1]

    def _begin(self) -> None:
        try:
            threading.Thread(target=self._run, name="ledger-writable", daemon=True).start()
        except RuntimeError as error:
            self._asking.release()
            raise LedgerUnavailable(f"whether the ledger takes writes cannot be tried: {error}") from error

    def _run(self) -> None:
        began = self._monotonic()
        try:
            takes = self._ask()
        finally:
            self._asking.release()
        ended = self._monotonic()
        with self._answered:
            self._answer = (self._answer[0] + 1, takes)
            self._holds_until = ended + min(TRY_RESTS * (ended - began), TRY_RESTS_MAX_S)
            self._answered.notify_all()


class Storing:
    """Stores the webhooks of this process, and knows how the last one fared.

    A ledger that takes small writes may take no webhooks all the same: PostgreSQL on a disk that is full has room left
    in some pages and in none for others, and a table that an administrator locks is one of many.
    """

    def __init__(
        self, settle: Callable[[Callable[[], Receipt]], Settled], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._settle, self._monotonic = settle, monotonic
        self._refused: tuple[float, str] | None = None

    def __call__(self, prepare: Callable[[], Receipt]) -> Settled:
        """As `settle`."""
        try:
            settled = self._settle(prepare)
        except LedgerUnavailable as error:
            self._refused = (self._monotonic(), str(error))
            raise
        self._refused = None
        return settled

    def trouble(self) -> str | None:
        """Why the last webhook was not stored, when that was within the last 30 s."""
        refused = self._refused
        if refused is None or self._monotonic() - refused[0] >= REFUSED_WITHIN_S:
            return None
        return f"the last webhook could not be stored: {refused[1]}"


def not_ready(
    ledger: Ledger, writable: Callable[[], bool], trouble: Callable[[], str | None] = lambda: None
) -> list[str]:
    """Sentences on what is missing; empty when the bridge can work."""
    try:
        kinds = {one["kind"] for one in ledger.alive(BEATS_WITHIN)}
    except LedgerUnavailable as error:
        return [str(error)]
    missing = [f"no heartbeat of a {kind} process in the last 30 s" for kind in NEEDED if kind not in kinds]
    try:
        takes = writable()
    except LedgerUnavailable as error:
        return [*missing, str(error)]
    if not takes:
        missing.append("the ledger does not take writes")
    elif (refused := trouble()) is not None:
        missing.append(refused)
    return missing
