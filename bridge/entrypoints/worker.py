"""Workers: drain a lane (claim, send, record), and upkeep. RQ carries the lane's name; the ledger decides everything.

`drain` and `upkeep` are the only functions RQ may call; they find their objects in the one module-level place allowed,
set by `run` before the first job.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from bridge.adapters import logs
from bridge.adapters.http import Http
from bridge.adapters.ledger import Claim, Claimed, Finished, Ledger, NamesNeeded, Recorded
from bridge.adapters.queue import Queue, QueueUnavailable
from bridge.destinations.base import Destination
from bridge.domain.delivery import AttemptResult, HttpResponse, NamedThing, NoAnswer, Reason, TransientFailure
from bridge.domain.errors import LedgerUnavailable

DRAIN_FOR_S = 2.0  # nothing new is claimed after this: other lanes want the worker too
RECORD_AGAIN_AFTER_S = (0.2, 1.0, 3.0)  # with the send's 10 s well inside the lease of 30 s
NAME_PAGES_MAX = 200
RESPONSE_KEEPS_BYTES = 4096
REQUEST_IDS = ("x-request-id", "request-id", "x-pagerduty-request-id")
NAMES_TOPIC = "names"


@dataclass(slots=True)
class Drainer:
    """Works lanes for one process."""

    ledger: Ledger
    destinations: Mapping[str, Destination]
    http: Http
    stopping: Callable[[], bool] = lambda: False

    def drain(self, lane: str) -> bool:
        """Send what is due in a lane; True when it stopped for its time with something left."""
        if lane not in self.ledger.paces:
            return False
        until = time.monotonic() + DRAIN_FOR_S
        claim = self.ledger.claim(lane)
        while True:
            match claim:
                case None:
                    return False
                case NamesNeeded(account=account, kinds=kinds):
                    for kind in kinds:
                        self.fetch_names(account, kind)
                    if self._enough(until):
                        return True
                    claim = self.ledger.claim(lane)
                case Claimed():
                    claim, more = self._deliver(claim, until)
                    if more:
                        return True

    def _deliver(self, claimed: Claimed, until: float) -> tuple[Claim, bool]:
        finished = self._attempt(claimed)
        enough = self._enough(until)
        recorded, following = self._record(finished, claim_next=not enough)
        logs.get().info(
            logs.ATTEMPT_FINISHED,
            account=claimed.delivery.account,
            delivery_id=claimed.delivery.id,
            incident=claimed.delivery.incident,
            action=claimed.delivery.action.value,
            attempt=claimed.attempt,
            status=finished.status,
            state=None if recorded.state is None else recorded.state.value,
            reason=None if recorded.reason is None else recorded.reason.value,
            duration_s=round(finished.duration_s, 3),
        )
        return following, enough

    def _record(self, finished: Finished, *, claim_next: bool) -> tuple[Recorded, Claim]:
        """Record an answer. It is known only here, so a ledger that is away for a moment is asked again."""
        for wait_s in RECORD_AGAIN_AFTER_S:
            try:
                return self.ledger.record(finished, claim_next=claim_next)
            except LedgerUnavailable as error:
                logs.get().error(logs.LEDGER_UNAVAILABLE, reason=str(error))
                time.sleep(wait_s)
        return self.ledger.record(finished, claim_next=claim_next)

    def _enough(self, until: float) -> bool:
        return self.stopping() or time.monotonic() >= until

    def _attempt(self, claimed: Claimed) -> Finished:
        delivery = claimed.delivery
        destination = self.destinations[delivery.account]
        lists: dict[str, tuple[NamedThing, ...]] = {}
        for kind in destination.name_kinds_for(delivery):
            held = self.ledger.name_list(delivery.account, kind)
            if held is None and self.fetch_names(delivery.account, kind):
                held = self.ledger.name_list(delivery.account, kind)
            if held is None:
                detail = f"the upstream's list of {kind}s could not be fetched"
                return _finished(claimed, TransientFailure(reason=Reason.WAITING_FOR_NAMES, detail=detail))
            lists[kind] = held.things
        request = destination.request_for(delivery, lists)
        started = time.monotonic()
        answer = self.http.send(request)
        duration_s = time.monotonic() - started
        call = f"{request.method} {urlsplit(request.url).path}"
        result = destination.result_of(delivery, answer)
        return _finished(claimed, result, call=call, answer=answer, duration_s=duration_s)

    def fetch_names(self, account: str, kind: str) -> bool:
        """Fetch one whole list of an account into the ledger; False, logged, when the upstream did not give it."""
        destination = self.destinations[account]
        things: list[NamedThing] = []
        request = destination.names_request(kind)
        for _ in range(NAME_PAGES_MAX):
            answer = self.http.send(request)
            page = None if isinstance(answer, NoAnswer) else destination.names_in(kind, request, answer)
            if page is None:
                status = None if isinstance(answer, NoAnswer) else answer.status
                detail = answer.detail if isinstance(answer, NoAnswer) else "not a list"
                logs.get().warning(logs.NAMES_FAILED, account=account, kind=kind, status=status, reason=detail)
                return False
            things.extend(page.things)
            if page.next_request is None:
                self.ledger.names_stored(account, kind, things)
                logs.get().info(logs.NAMES_FETCHED, account=account, kind=kind, number=len(things))
                return True
            request = page.next_request
        logs.get().warning(logs.NAMES_FAILED, account=account, kind=kind, reason="more pages than can be right")
        return False


def _finished(
    claimed: Claimed,
    result: AttemptResult,
    *,
    call: str = "",
    answer: HttpResponse | NoAnswer | None = None,
    duration_s: float = 0.0,
) -> Finished:
    response = answer if isinstance(answer, HttpResponse) else None
    headers: Mapping[str, str] = {} if response is None else response.headers
    return Finished(
        claimed=claimed,
        call=call,
        status=None if response is None else response.status,
        request_id=next((headers[name][:200] for name in REQUEST_IDS if name in headers), None),
        response="" if response is None else response.body[:RESPONSE_KEEPS_BYTES].decode("utf-8", "replace"),
        duration_s=duration_s,
        result=result,
        jitter=random.random(),
    )


@dataclass(slots=True)
class _Process:
    """What the jobs of this process work with."""

    drainer: Drainer
    queue: Queue


_process: _Process | None = None
_stopping = threading.Event()


def install(drainer: Drainer, queue: Queue) -> None:
    """Give this process's jobs their objects; before the first job."""
    global _process
    _process = _Process(drainer=drainer, queue=queue)


def drain(lane: str) -> None:
    """The job: send what is due in one lane. What is left when its time is over is left to the next job."""
    if _process is None:
        raise RuntimeError("drain was called outside a worker process")
    with suppress(QueueUnavailable):  # the lane is drained all the same, and the clock finds what is left
        _process.queue.clear_poke(lane)
    if _process.drainer.drain(lane):
        with suppress(QueueUnavailable):
            _process.queue.poke(lane)


def upkeep(topic: str) -> None:
    """The job: something that calls an upstream and is no delivery. `topic` is `names:<account>:<kind>`."""
    if _process is None:
        raise RuntimeError("upkeep was called outside a worker process")
    what, _, rest = topic.partition(":")
    account, _, kind = rest.partition(":")
    destination = _process.drainer.destinations.get(account)
    if what == NAMES_TOPIC and destination is not None and kind in destination.name_kinds:
        _process.drainer.fetch_names(account, kind)
