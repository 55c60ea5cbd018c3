"""Workers: drain a lane (claim, send, record), and upkeep. RQ carries the lane's name; the ledger decides everything.

`drain` and `upkeep` are the only functions RQ may call; they find their objects in the one module-level place allowed,
set by `run` before the first job. Names are fetched in upkeep only, never while a delivery is under its lease.
"""

import random
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from bridge.adapters import cpu, logs
from bridge.adapters.http import Http
from bridge.adapters.ledger import Claim, Claimed, Fetched, Finished, Ledger, NamesNeeded, Recorded
from bridge.adapters.ledger.fetches import NAMES_MAX_CHARS, chars_of
from bridge.adapters.queue import Queue, QueueUnavailable
from bridge.destinations.base import Destination
from bridge.domain.delivery import (
    Action,
    AttemptResult,
    Delivery,
    DeliveryState,
    HttpRequest,
    HttpResponse,
    NamedThing,
    NoAnswer,
    PermanentFailure,
    Phase,
    Reason,
    TransientFailure,
    UnknownOutcome,
)
from bridge.domain.errors import LedgerUnavailable
from bridge.entrypoints.confirming import CONFIRM_TOPIC

DRAIN_FOR_S = 2.0  # nothing new is claimed after this: other lanes want the worker too
RECORD_AGAIN_AFTER_S = (0.2, 1.0, 3.0)  # with the send's 10 s well inside the lease of 30 s
FETCH_FOR_S = 8.0  # no further page after this: with the last one's deadline of 10 s it ends within the job's 20 s
LEDGER_REST_S = 1.0  # of a worker whose jobs find a ledger that takes nothing
NAMES_MAX = 20_000  # of one list
NOT_BUILT_MAX = 5  # attempts that fail by our own fault before the delivery is a dead letter
RESPONSE_KEEPS_BYTES = 4096
REQUEST_IDS = ("x-request-id", "request-id", "x-pagerduty-request-id")
NAMES_TOPIC = "names"
NOTHING_LEFT = "nothing is left of what it was to change"


class ListState(StrEnum):
    """What one job made of a list of names."""

    WHOLE = "whole"
    GOES_ON = "goes_on"  # its time was over before the last page
    WAITS = "waits"  # it failed, another job is at it, or it is too early


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Lists without which a claimed delivery cannot be sent."""

    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Needless:
    """A claimed delivery of which nothing is left to tell."""

    why: str


@dataclass(slots=True)
class Drainer:
    """Works lanes for one process."""

    ledger: Ledger
    destinations: Mapping[str, Destination]
    http: Http
    stopping: Callable[[], bool] = lambda: False
    send_upkeep: Callable[[str], None] | None = None  # gives a topic to whichever worker is free; None: there are none
    fetch_for_s: float = FETCH_FOR_S
    _unsure: set[str] = field(default_factory=set)  # lanes where something may be leased to us that we never heard of
    _held: set[str] = field(default_factory=set)  # tokens of the leases that we did hear of, and recorded nothing for

    def take_back(self) -> None:
        """A claim whose answer was lost is undone where it was committed: else its lane waits for the lease to end."""
        for lane in sorted(self._unsure):
            self.ledger.take_back(lane, self._held)
            self._unsure.discard(lane)

    def _claim(self, lane: str) -> Claim:
        self._unsure.add(lane)
        claim = self.ledger.claim(lane)
        self._unsure.discard(lane)
        return claim

    def drain(self, lane: str) -> bool:
        """Send what is due in a lane; True when it stopped for its time with something left."""
        if lane not in self.ledger.paces:
            return False
        self.take_back()
        until = time.monotonic() + DRAIN_FOR_S
        claim = self._claim(lane)
        while True:
            match claim:
                case None:
                    return False
                case NamesNeeded():
                    self._see_to(claim)
                    if self._enough(until):
                        return True
                    claim = self._claim(lane)
                case Claimed():
                    claim, more = self._deliver(claim, until)
                    if more:
                        return True

    def _deliver(self, claimed: Claimed, until: float) -> tuple[Claim, bool]:
        self._held.add(claimed.token)
        claim, more = self._delivered(claimed, until)
        self._held.discard(claimed.token)
        return claim, more

    def _delivered(self, claimed: Claimed, until: float) -> tuple[Claim, bool]:
        finished = self._attempt(claimed)
        enough = self._enough(until)
        if isinstance(finished, Missing):
            needed = self.ledger.put_back(claimed, finished.kinds)
            if needed is not None:
                self._see_to(needed)
            return (None if enough else self._claim(claimed.lane)), enough
        if isinstance(finished, Needless):
            self.ledger.let_go(claimed, finished.why)
            return (None if enough else self._claim(claimed.lane)), enough
        recorded, following = self._record(finished, claim_next=not enough)
        _logged(finished, recorded)
        return following, enough

    def _record(self, finished: Finished, *, claim_next: bool) -> tuple[Recorded, Claim]:
        """Record an answer. It is known only here, so a ledger that is away for a moment is asked again."""
        lane = finished.claimed.lane
        for wait_s in (*RECORD_AGAIN_AFTER_S, None):
            try:
                if lane not in self._unsure:
                    return self._recorded(finished, claim_next=claim_next)
                recorded, _ = self.ledger.record(finished, claim_next=False)
            except LedgerUnavailable as error:
                if wait_s is None:
                    raise
                delivery = finished.claimed.delivery
                about = {"account": delivery.account, "delivery_id": delivery.id}
                logs.get().error(logs.LEDGER_UNAVAILABLE, reason=str(error), **about)
                time.sleep(wait_s)
            else:
                self.take_back()
                return recorded, self._claim(lane) if claim_next else None
        raise AssertionError("unreachable")

    def _recorded(self, finished: Finished, *, claim_next: bool) -> tuple[Recorded, Claim]:
        lane = finished.claimed.lane
        self._unsure.add(lane)
        recorded = self.ledger.record(finished, claim_next=claim_next)
        self._unsure.discard(lane)
        return recorded

    def _enough(self, until: float) -> bool:
        return self.stopping() or time.monotonic() >= until

    def _attempt(self, claimed: Claimed) -> Finished | Missing | Needless:
        """Make the call. Whatever goes wrong before it goes out is a failure on record like any other."""
        delivery = claimed.delivery
        destination = self.destinations.get(delivery.account)
        if destination is None:
            detail = f"account '{delivery.account}' is not in the configuration of this process"
            return _finished(claimed, TransientFailure(reason=Reason.NOT_BUILT, detail=detail))
        try:
            lists, missing = self._lists(destination, delivery)
            if missing:
                return Missing(kinds=missing)
            if destination.says_nothing(delivery, lists):
                return Needless(why="; ".join((NOTHING_LEFT, *delivery.notes)))
            request = destination.request_for(delivery, lists)
            call = f"{request.method} {urlsplit(request.url).path}"
        except Exception as error:  # noqa: BLE001 - else the lane stands still until the lease ends, five times over
            return _not_built(claimed, _told(error, claimed, destination), error)
        started = time.monotonic()
        answer = self._send(destination, request)
        duration_s = time.monotonic() - started
        result = _result(destination, claimed, answer)
        if getattr(result, "reason", None) is Reason.UNREADABLE_ANSWER:
            self.http.close()  # maybe the answer to another call: then so would be the next one on its connection
        return _finished(claimed, result, call=call, answer=answer, duration_s=duration_s)

    def _lists(
        self, destination: Destination, delivery: Delivery
    ) -> tuple[dict[str, tuple[NamedThing, ...]], tuple[str, ...]]:
        """The lists a delivery reads, and those it has to wait for. When in doubt, page: a create waits for none."""
        held = {kind: self.ledger.name_list(delivery.account, kind) for kind in destination.name_kinds_for(delivery)}
        missing = () if delivery.action is Action.CREATE else tuple(kind for kind in held if held[kind] is None)
        return {kind: found.things for kind, found in held.items() if found is not None}, missing

    def _send(self, destination: Destination, request: HttpRequest) -> HttpResponse | NoAnswer:
        """One call; from here on nobody sees the credential in what came back."""
        return destination.masked(self.http.send(request))

    def _see_to(self, needed: NamesNeeded) -> None:
        """Have these lists fetched: by a job of its own, or here when no worker can be told. No lease is held."""
        for kind in needed.kinds:
            if self.send_upkeep is None:
                self.fetch_names(needed.account, kind)
            else:
                self.send_upkeep(names_topic(needed.account, kind))

    def fetch_names(self, account: str, kind: str) -> ListState:
        """Fetch further pages of a list into the ledger, for as long as a job may; where it stands then."""
        destination = self.destinations.get(account)
        if destination is None or kind not in destination.name_kinds:
            return ListState.WAITS
        fetch = self.ledger.fetch_begun(account, kind)
        if fetch is None:
            return ListState.WAITS
        until = time.monotonic() + self.fetch_for_s
        things: list[NamedThing] = []
        chars = fetch.kept_chars
        cursor = fetch.cursor
        failure: TransientFailure | PermanentFailure | None = None
        while True:
            request = destination.names_request(kind, cursor)
            answer = self._send(destination, request)
            page = None if isinstance(answer, NoAnswer) else destination.names_in(kind, request, answer)
            if page is None:
                failure = destination.names_failure(answer)
                break
            things.extend(page.things)
            chars += chars_of(page.things)
            cursor = page.next_cursor
            if fetch.kept + len(things) > NAMES_MAX or chars > NAMES_MAX_CHARS:
                detail = f"more than {NAMES_MAX} entries or {NAMES_MAX_CHARS >> 20} MiB, which cannot be right"
                failure = PermanentFailure(reason=Reason.UNREADABLE_ANSWER, detail=detail)
                break
            if cursor is None or self._enough(until):
                break
        whole = self.ledger.fetch_recorded(
            Fetched(fetch=fetch, things=tuple(things), next_cursor=cursor, failure=failure)
        )
        if failure is not None:
            reason = failure.reason.value
            logs.get().warning(logs.NAMES_FAILED, account=account, kind=kind, reason=reason, detail=failure.detail)
            return ListState.WAITS
        if whole:
            logs.get().info(logs.NAMES_FETCHED, account=account, kind=kind, number=fetch.kept + len(things))
        return ListState.WHOLE if whole else ListState.GOES_ON


def _logged(finished: Finished, recorded: Recorded) -> None:
    """A line for the attempt, and one for its delivery when that ended; a dead letter needs a person."""
    delivery = finished.claimed.delivery
    about = {
        "account": delivery.account,
        "delivery_id": delivery.id,
        "incident": delivery.incident,
        "action": delivery.action.value,
        "attempt": finished.claimed.attempt,
        "state": None if recorded.state is None else recorded.state.value,
        "reason": None if recorded.reason is None else recorded.reason.value,
    }
    duration_s = round(finished.duration_s, 3)
    logs.get().info(logs.ATTEMPT_FINISHED, **about, status=finished.status, duration_s=duration_s)
    if recorded.state is DeliveryState.DEAD:
        logs.get().error(logs.DELIVERY_FINISHED, **about)
    elif recorded.state is not None and recorded.state is not DeliveryState.PENDING:
        logs.get().info(logs.DELIVERY_FINISHED, **about)


def names_topic(account: str, kind: str) -> str:
    """The topic of the upkeep job that fetches a list."""
    return f"{NAMES_TOPIC}:{account}:{kind}"


def _result(destination: Destination, claimed: Claimed, answer: HttpResponse | NoAnswer) -> AttemptResult:
    """What the answer means. One that we fail to read may stand for a call that worked."""
    try:
        return destination.result_of(claimed.delivery, answer)
    except Exception as error:  # noqa: BLE001 - the call was made: that must not be lost with the answer
        detail = f"the answer could not be read: {_told(error, claimed, destination)}"
        may_double = claimed.delivery.action in (Action.CREATE, Action.NOTE)
        if may_double and claimed.delivery.phase is Phase.SEND:
            return UnknownOutcome(reason=Reason.UNREADABLE_ANSWER, detail=detail)
        return TransientFailure(reason=Reason.UNREADABLE_ANSWER, detail=detail)


def _told(error: Exception, claimed: Claimed, destination: Destination) -> str:
    """Our own fault in one line; its traceback goes to the log. Neither shows the credential."""
    lines = "".join(traceback.format_exception(error))
    logs.get().error(
        logs.ATTEMPT_BROKE,
        account=claimed.delivery.account,
        delivery_id=claimed.delivery.id,
        action=claimed.delivery.action.value,
        traceback=destination.masked_text(lines),
    )
    return destination.masked_text(f"{type(error).__name__}: {error}")


def _not_built(claimed: Claimed, why: str, error: Exception) -> Finished:
    """Nothing was sent: tried again for a while, for the fault may be this process's alone, then a dead letter.

    A ledger that is away is no fault of the delivery.
    """
    detail = f"the call could not be made: {why}"
    if claimed.attempt < NOT_BUILT_MAX or isinstance(error, LedgerUnavailable):
        return _finished(claimed, TransientFailure(reason=Reason.NOT_BUILT, detail=detail))
    return _finished(claimed, PermanentFailure(reason=Reason.NOT_BUILT, detail=detail))


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
    confirm: Callable[[str], None] | None = None  # makes the call that an event asked for
    is_cut_off: bool = False  # the last job found no ledger
    failures: int = 0  # jobs in a row that found none
    rests_until: float = 0.0  # monotonic: no job is taken before


_process: _Process | None = None
_stopping = threading.Event()


def install(drainer: Drainer, queue: Queue, confirm: Callable[[str], None] | None = None) -> None:
    """Give this process's jobs their objects; before the first job."""
    global _process

    def send_upkeep(topic: str) -> None:
        with suppress(QueueUnavailable):  # the clock asks for it again
            queue.enqueue_upkeep(topic)

    drainer.send_upkeep = send_upkeep
    _process = _Process(drainer=drainer, queue=queue, confirm=confirm)


def drain(lane: str) -> None:
    """The job: send what is due in one lane. What is left when its time is over is left to the next job."""
    if _process is None:
        raise RuntimeError("drain was called outside a worker process")
    with suppress(QueueUnavailable):  # the lane is drained all the same, and the clock finds what is left
        _process.queue.clear_poke(lane)
    try:
        with cpu.staying():
            more = _process.drainer.drain(lane)
    except LedgerUnavailable as error:
        _cut_off(_process, lane, error)
        return
    _process.failures = 0
    if more:
        with suppress(QueueUnavailable):
            _process.queue.poke(lane)


def _cut_off(process: _Process, lane: str, error: LedgerUnavailable) -> None:
    """A job found no ledger: it is over, and no failure that Redis should keep, for another one does the same."""
    logs.get().error(logs.LEDGER_UNAVAILABLE, reason=str(error))
    process.is_cut_off = True
    process.failures += 1
    if process.failures > 1:  # it answers, and takes nothing: a disk is full, say
        process.rests_until = time.monotonic() + LEDGER_REST_S
    with suppress(QueueUnavailable):  # somebody else may reach it, and the lane is armed for this job
        process.queue.enqueue_drain(lane)


def is_able() -> bool:
    """Whether this process reaches the ledger, as far as it knows.

    One that does not, on a host that is cut off from it, is always free: it would take most jobs, and do none.
    """
    if _process is None or not _process.is_cut_off:
        return True
    if time.monotonic() < _process.rests_until:
        return False
    try:
        _process.drainer.ledger.time()
        _process.drainer.take_back()
    except LedgerUnavailable as error:
        logs.get().error(logs.LEDGER_UNAVAILABLE, reason=str(error))
        return False
    _process.is_cut_off = False
    return True


def upkeep(topic: str) -> None:
    """The job: a call that is no delivery. `topic` is `names:<account>:<kind>` or `confirm:<event>`."""
    if _process is None:
        raise RuntimeError("upkeep was called outside a worker process")
    what, _, rest = topic.partition(":")
    if what == CONFIRM_TOPIC and _process.confirm is not None:
        _process.confirm(rest)
    account, _, kind = rest.partition(":")
    if what != NAMES_TOPIC:
        return
    state = _process.drainer.fetch_names(account, kind)
    with suppress(QueueUnavailable):
        if state is ListState.WHOLE:  # somebody may wait for it
            _process.queue.poke(_process.drainer.ledger.routes[account].lane)
        elif state is ListState.GOES_ON:
            _process.queue.enqueue_upkeep(topic)
