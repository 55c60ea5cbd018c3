"""A worker's own faults, echoes of its credential, and acknowledgements that come late: none does any harm."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import requests
from structlog.testing import capture_logs

from bridge.adapters import logs
from bridge.adapters.http import Http
from bridge.adapters.ledger import Claim, EventQuery, Ledger, Route
from bridge.adapters.ledger.lanes import Recorded
from bridge.adapters.ledger.recording import Finished
from bridge.adapters.ledger.upgrade import upgrade
from bridge.adapters.queue import Queue
from bridge.destinations.base import Destination
from bridge.destinations.incident_io import IncidentIo
from bridge.destinations.pagerduty import PagerDuty
from bridge.domain.alert import Status
from bridge.domain.decision import KeyRule, OnAcknowledge, Policy
from bridge.domain.delivery import AttemptResult, Delivery, HttpRequest, HttpResponse, NamedThing, NameRef, NoAnswer
from bridge.domain.errors import LedgerUnavailable
from bridge.entrypoints.clock import DRAIN_ITSELF_AFTER_S, LANES_S, UPKEEP_S, Clock
from bridge.entrypoints.worker import NOT_BUILT_MAX, Drainer
from bridge.sandbox import SandboxServer
from tests.contract.test_ledger_names import MovedDatabase
from tests.e2e.test_deliver import UNLIMITED, Bench
from tests.e2e.test_names import MADE, as_json
from tests.e2e.upstream import Answer, Call, Upstream
from tests.ledgers import ends, fires, ledger_of, pace, services, settle, sqlite_url, states, told, webhook

pytestmark = pytest.mark.e2e
SECRET = "u+S3cretOfTests9x"
MINUTE = timedelta(minutes=1)


def welcome(call: Call) -> Answer:
    return as_json(MADE, 201) if call.method == "POST" else as_json({"services": [{"id": "P1", "name": "S"}]})


class Works:
    """A ledger with two accounts on one lane, and their upstream."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.upstream = Upstream(welcome)
        database = MovedDatabase(sqlite_url(folder))
        upgrade(database)
        self.database = database
        self.ledger = Ledger(database, {"aa": Route(lane="aa", pace=pace()), "pd": Route(lane="aa", pace=pace())})
        self.ledger.lanes_ensured()
        self.pd = PagerDuty(account="pd", token=SECRET, from_="bot@example.com", base_url=self.upstream.url)

    def drainer(self, **accounts: Destination) -> Drainer:
        return Drainer(self.ledger, accounts, Http(deadline_s=5.0))

    def pages(self, name: str, account: str = "pd", **changes: Any) -> None:
        settle(self.ledger, fires(name, account=account, **changes))

    def drains(self, drainer: Drainer, times: int = 1) -> None:
        """Some minutes pass, and the lane is drained in each."""
        for _ in range(times):
            self.database.ahead += MINUTE
            drainer.drain("aa")

    def delivery(self) -> dict[str, Any]:
        (one,) = self.ledger.deliveries(limit=9).items
        found = self.ledger.delivery(one["id"])
        assert found is not None
        return found

    def on_disk(self) -> bytes:
        """Every byte of the ledger's files."""
        return b"".join(path.read_bytes() for path in self.folder.iterdir() if path.is_file())


@pytest.fixture
def works(tmp_path: Path) -> Iterator[Works]:
    made = Works(tmp_path)
    with made.upstream:
        yield made
    made.ledger.close()


# -- our own faults


def test_an_account_this_process_does_not_know_is_a_visible_failure_and_holds_up_nobody(works: Works) -> None:
    works.pages("a", "aa")
    works.pages("b")
    works.drainer(pd=works.pd).drain("aa")
    by_account = {one["account"]: one for one in works.ledger.deliveries(limit=9).items}
    assert (by_account["pd"]["state"], by_account["aa"]["state"]) == ("delivered", "pending")
    assert by_account["aa"]["reason"] == "not_built"
    assert "account 'aa' is not in the configuration of this process" in by_account["aa"]["detail"]
    assert settle(works.ledger, ends("a")) == ["cancelled"]  # it surely was not sent
    assert works.ledger.lanes({"aa": ("pagerduty", "1/s")})[0]["parked"] is None


def test_an_account_that_is_known_again_gets_what_waited_however_long(works: Works) -> None:
    works.pages("a")
    works.drains(works.drainer(), 60)
    works.drains(works.drainer(pd=works.pd), 6)
    assert told(works.ledger) == [("create", "delivered")]
    assert len(works.upstream.calls) == 1


def test_a_call_that_cannot_be_built_is_tried_five_times_and_then_a_dead_letter_that_says_why(works: Works) -> None:
    works.pages("a")
    with works.database.writing() as transaction:
        transaction.connection.exec_driver_sql("UPDATE deliveries SET action = 'resolve', class = 'update'")
    works.drains(works.drainer(pd=works.pd), 12)
    found = works.delivery()
    assert (found["state"], found["reason"]) == ("dead", "not_built")
    assert "needs the incident's id at PagerDuty" in found["detail"]
    assert [one["reason"] for one in found["attempts"]] == ["not_built"] * NOT_BUILT_MAX
    assert works.upstream.calls == []
    assert works.ledger.lanes({"aa": ("pagerduty", "1/s")})[0]["parked"] is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Illiterate(PagerDuty):
    """A vendor file that breaks on an answer, and quotes its own credential over it."""

    def result_of(self, delivery: Delivery, answer: HttpResponse | NoAnswer) -> AttemptResult:
        raise KeyError(f"odd answer to {self.token}")


def test_an_answer_we_fail_to_read_may_be_one_to_a_call_that_worked(
    works: Works,
) -> None:
    works.pages("a")
    broken = Illiterate(account="pd", token=SECRET, from_="bot@example.com", base_url=works.upstream.url)
    with capture_logs() as logged:
        works.drainer(pd=broken).drain("aa")
    found = works.delivery()
    assert (found["state"], found["reason"]) == ("pending", "unreadable_answer")
    assert "the answer could not be read: KeyError: 'odd answer to ***'" in found["detail"]
    assert states(works.ledger) == ["sending"]
    assert settle(works.ledger, ends("a")) == ["resolving"]
    (line,) = [line for line in logged if line["event"] == logs.ATTEMPT_BROKE]
    assert line["traceback"].startswith("Traceback")
    assert SECRET not in str(logged)


def test_the_clock_outlives_a_lane_that_breaks_and_drains_the_others(tmp_path: Path) -> None:
    database = MovedDatabase(sqlite_url(tmp_path))
    upgrade(database)

    class Torn(Ledger):
        """A ledger with one lane that cannot be claimed from."""

        def claim(self, lane: str) -> Claim:
            if lane == "aa":
                raise KeyError(lane)
            return super().claim(lane)

    ledger = Torn(database, {name: Route(lane=name, pace=pace()) for name in ("aa", "pd")})
    ledger.lanes_ensured()
    settle(ledger, fires("a", account="aa"), fires("b", account="pd"))
    elapsed = [0.0]
    with Upstream(welcome) as upstream:
        account = PagerDuty(account="pd", token=SECRET, from_="bot@example.com", base_url=upstream.url)
        drainer = Drainer(ledger, {"pd": account}, Http(deadline_s=5.0))
        queue = Queue("redis://127.0.0.1:1")
        clock = Clock(ledger, queue, drainer, (timedelta(1), timedelta(1)), monotonic=lambda: elapsed[0])
        for _ in range(2):
            clock.tick(Event())
            elapsed[0] += DRAIN_ITSELF_AFTER_S
    assert len(upstream.calls) == 1
    ledger.close()


def test_what_an_older_configuration_put_into_a_lane_that_nobody_drains_goes_out(tmp_path: Path) -> None:
    database = MovedDatabase(sqlite_url(tmp_path))
    upgrade(database)
    older = Ledger(database, {"pd": Route(lane="pd", pace=pace())})
    older.lanes_ensured()
    newer = Ledger(database, {name: Route(lane="aa", pace=pace()) for name in ("aa", "pd")})  # one token, one lane
    newer.lanes_ensured()
    elapsed = [0.0]
    with Upstream(welcome) as upstream:
        account = PagerDuty(account="pd", token=SECRET, from_="bot@example.com", base_url=upstream.url)
        drainer = Drainer(newer, {"pd": account}, Http(deadline_s=5.0))
        clock = Clock(
            newer, Queue("redis://127.0.0.1:1"), drainer, (timedelta(1), timedelta(1)), monotonic=lambda: elapsed[0]
        )
        clock.tick(Event())
        settle(older, fires("a"))  # by a web process that was stopped after this, for good
        for _ in range(2):
            elapsed[0] += LANES_S
            clock.tick(Event())
    assert [call.method for call in upstream.calls] == ["POST"]
    newer.close()


def test_a_clock_that_is_wrong_for_some_minutes_costs_no_history(tmp_path: Path) -> None:
    """At a start, and while it runs; a week after it came the event goes."""
    database = MovedDatabase(sqlite_url(tmp_path))
    ledger = ledger_of(database, pd=Route(lane="pd", pace=pace()))
    ledger.settle([webhook(ledger)])
    day, year = timedelta(days=1), timedelta(days=365)
    elapsed = [0.0]

    def started() -> Clock:
        unreached = Queue("redis://127.0.0.1:1")
        return Clock(ledger, unreached, Drainer(ledger, {}, Http()), (day, day), monotonic=lambda: elapsed[0])

    def lasts(clock: Clock, minutes: float) -> bool:
        """Whether the event is there still when so much time has passed."""
        for _ in range(int(minutes * 6)):
            elapsed[0] += UPKEEP_S
            database.ahead += timedelta(seconds=UPKEEP_S)
            clock.tick(Event())
        return bool(ledger.events(EventQuery()).items)

    database.ahead = year
    clock = started()
    clock.tick(Event())
    assert lasts(clock, 5)
    database.ahead -= year
    assert lasts(clock, 30)
    database.ahead += year
    assert lasts(clock, 9)
    database.ahead -= year
    assert lasts(clock, 30)
    database.ahead += 8 * day
    assert not lasts(clock, 11)
    ledger.close()


def test_the_clock_outlives_a_round_that_breaks() -> None:
    stop, rounds = Event(), iter(range(3))

    class Broken(Ledger):
        """A ledger that cannot be asked to do what the clock asks first, without Redis."""

        def __init__(self) -> None:
            """Without a database."""

        def lanes_disarmed(self, lane: str | None = None) -> None:
            if next(rounds) == 2:
                stop.set()
            raise ZeroDivisionError

    elapsed = iter(range(0, 10_000, 11))
    drainer = Drainer(Broken(), {}, Http())
    queue = Queue("redis://127.0.0.1:1")
    retention = (timedelta(1), timedelta(1))
    with capture_logs() as logged:
        Clock(drainer.ledger, queue, drainer, retention, monotonic=lambda: float(next(elapsed))).run(stop)
    assert [line["exc_info"] for line in logged if line["event"] == logs.TASK_FAILED] == [True] * 3


class _Jobs(Queue):
    """A queue that takes every job, and whose workers find no ledger."""

    def __init__(self, seen: Callable[[str], None]) -> None:
        super().__init__("redis://127.0.0.1:1")
        self.enqueue_drain = seen  # type: ignore[method-assign]

    def is_fresh(self) -> bool:
        return False

    def outstanding(self) -> int:
        return 0

    def first(self) -> None:
        return None


def test_a_lane_whose_job_found_no_ledger_has_another_as_soon_as_there_is_one(tmp_path: Path) -> None:
    database = MovedDatabase(sqlite_url(tmp_path))
    upgrade(database)
    stop, rounds = Event(), iter(range(3))
    sent: list[str] = []

    class Away(Ledger):
        """A ledger that is away for a round once the first job is on its way, and asked once more."""

        def due_lanes(self, most: int) -> list[str]:
            if next(rounds) == 1:
                raise LedgerUnavailable("a restart")
            if sent:
                stop.set()
            return super().due_lanes(most)

    ledger = Away(database, {"pd": Route(lane="pd", pace=pace())})
    ledger.lanes_ensured()
    settle(ledger, fires("a"))
    Clock(ledger, _Jobs(sent.append), Drainer(ledger, {}, Http()), (timedelta(1), timedelta(1))).run(stop)
    assert sent == ["pd", "pd"], "in the next round, not when the first job counts as lost"
    ledger.close()


# -- a connection to the ledger that breaks between a commit and its answer


class Unheard(Ledger):
    """A ledger whose next calls fail before or after their commit, as `breaks` says of each (None: not at all)."""

    breaks: tuple[str | None, ...] = ()

    def claim(self, lane: str) -> Claim:
        found: Claim = self._answered(partial(super().claim, lane))
        return found

    def record(self, finished: Finished, *, claim_next: bool) -> tuple[Recorded, Claim]:
        found: tuple[Recorded, Claim] = self._answered(partial(super().record, finished, claim_next=claim_next))
        return found

    def _answered(self, work: Callable[[], Any]) -> Any:
        breaks, self.breaks = (*self.breaks, None)[0], self.breaks[1:]
        found = None if breaks == "before" else work()
        if breaks is not None:
            raise LedgerUnavailable(f"the connection broke {breaks} the commit")
        return found


@pytest.fixture
def unheard(works: Works) -> Unheard:
    works.pages("a")
    works.pages("b")
    return Unheard(works.database, works.ledger.routes)


def attempts(ledger: Ledger) -> list[tuple[str, int]]:
    return [(one["state"], one["attempts"]) for one in ledger.deliveries(limit=9).items]


def test_a_claim_whose_answer_was_lost_is_made_anew_at_once_and_is_no_attempt(works: Works, unheard: Unheard) -> None:
    drainer = Drainer(unheard, {"pd": works.pd}, Http())
    unheard.breaks = ("after",)
    with pytest.raises(LedgerUnavailable):
        drainer.drain("aa")
    assert sorted(told(unheard)) == [("create", "pending"), ("create", "sending")]
    drainer.drain("aa")
    assert attempts(unheard) == [("delivered", 1)] * 2
    assert len(works.upstream.calls) == 2


def test_a_claim_that_was_lost_with_the_answer_to_a_record_is_made_anew_at_once(works: Works, unheard: Unheard) -> None:
    unheard.breaks = (None, "after")
    Drainer(unheard, {"pd": works.pd}, Http()).drain("aa")
    assert attempts(unheard) == [("delivered", 1)] * 2
    assert len(works.upstream.calls) == 2


def test_what_was_sent_and_could_not_be_recorded_keeps_its_lease(
    works: Works, unheard: Unheard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.entrypoints.worker.RECORD_AGAIN_AFTER_S", ())
    drainer = Drainer(unheard, {"pd": works.pd}, Http())
    unheard.breaks = (None, "before")
    with pytest.raises(LedgerUnavailable):
        drainer.drain("aa")
    drainer.drain("aa")
    assert sorted(told(unheard)) == [("create", "pending"), ("create", "sending")]
    assert len(works.upstream.calls) == 1


# -- one body under one key


def test_a_repeat_under_one_key_is_the_same_to_the_byte_whatever_becomes_of_the_list(tmp_path: Path) -> None:
    works = Works(tmp_path)
    works.upstream.answer = lambda _call: as_json({}, 500)
    account = IncidentIo(account="pd", token=SECRET, base_url=works.upstream.url)
    ref = NameRef(field="severity", kind="severity", text="Gone")
    with works.upstream:
        works.ledger.names_stored("pd", "severity", [NamedThing(id="01M", name="Minor")])
        works.pages("a", key_rule=KeyRule.FOR_EVER, names=(ref,), fields={"name": "a", "summary": "s"})
        for names in ("Minor", "Major", "Gone"):
            works.drains(works.drainer(pd=account), 2)
            works.ledger.names_stored("pd", "severity", [NamedThing(id="01X", name=names)])
        works.upstream.answer = lambda _call: as_json(MADE, 201)
        works.drains(works.drainer(pd=account), 6)
    bodies = [call.body for call in works.upstream.calls]
    assert len(bodies) >= 4
    assert len(set(bodies)) == 1
    assert json.loads(bodies[0])["summary"].count("does not exist upstream") == 1
    assert told(works.ledger) == [("create", "delivered")]
    works.ledger.close()


# -- echoes


@pytest.mark.parametrize("status", [200, 400, 403, 429, 500])
def test_no_echo_of_the_credential_reaches_the_ledger_or_the_log(works: Works, status: int) -> None:
    def echo(call: Call) -> Answer:
        said = call.headers["authorization"]
        as_html = f"<pre>{said}</pre>".encode()
        if call.method == "GET":
            return status, {"X-Request-Id": said}, as_html
        words = {"error": {"message": f"refused: {said}", "errors": [said], "code": 2001}, "incident": {"id": said}}
        return as_json(words, status, **{"X-Request-Id": said, "Retry-After": "1"})

    works.upstream.answer = echo
    drainer = works.drainer(pd=works.pd)
    with capture_logs() as logged:
        works.pages("a", names=(services(), NameRef(field="priority", kind="priority", text="P1")))
        works.drains(drainer, 12)
        works.pages("b")
        works.drains(drainer, 2)
    assert works.upstream.sent("POST", "/incidents")
    assert works.upstream.sent("GET", "/services")
    works.ledger.close()
    stored = works.on_disk()
    assert b"Token token=***" in stored
    assert SECRET.encode() not in stored
    assert SECRET not in str(logged)


# -- acknowledgements


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with SandboxServer(rates=UNLIMITED) as sandbox:
        made = Bench(tmp_path, sandbox)
        yield made
        made.ledger.close()


ACKNOWLEDGES = Policy(on_acknowledge=OnAcknowledge.ACKNOWLEDGE)


def acknowledged(name: str) -> Any:
    return ends(name, Status.ACKNOWLEDGED)


def person(bench: Bench, status: str) -> None:
    """Somebody changes the one incident at the upstream."""
    (incident,) = bench.upstream()
    response = requests.put(
        f"{bench.sandbox.pagerduty_url}/incidents/{incident['id']}",
        json={"incident": {"type": "incident_reference", "status": status}},
        headers={
            "Authorization": "Token token=somebody-else",
            "Accept": "application/vnd.pagerduty+json;version=2",
            "From": "oncall@example.com",
        },
        timeout=5,
    )
    assert response.ok, response.text


def state(bench: Bench) -> str:
    (incident,) = bench.upstream()
    return str(incident["state"])


def test_an_open_incident_is_acknowledged(bench: Bench) -> None:
    bench.pages("a", policy=ACKNOWLEDGES)
    bench.drain()
    assert settle(bench.ledger, acknowledged("a")) == ["acknowledged"]
    bench.drain()
    assert state(bench) == "acknowledged"
    assert told(bench.ledger)[-1] == ("acknowledge", "delivered")


def test_an_incident_that_a_person_resolved_is_not_reopened_by_an_acknowledgement(bench: Bench) -> None:
    bench.pages("a", policy=ACKNOWLEDGES)
    bench.drain()
    person(bench, "resolved")
    settle(bench.ledger, acknowledged("a"))
    bench.drain()
    assert state(bench) == "resolved"
    assert told(bench.ledger)[-1] == ("acknowledge", "adopted")


def test_an_acknowledgement_that_failed_asks_again_before_it_is_repeated(bench: Bench) -> None:
    bench.pages("a", policy=ACKNOWLEDGES)
    bench.drain()
    bench.script(match={"method": "PUT"}, times=1, do={"status": 503})
    settle(bench.ledger, acknowledged("a"))
    bench.drainer.drain("pd")
    person(bench, "resolved")
    bench.drain()
    assert state(bench) == "resolved"


def test_an_acknowledgement_goes_before_the_resolve_and_never_after(bench: Bench) -> None:
    bench.pages("a", policy=ACKNOWLEDGES)
    bench.drain()
    bench.script(match={"path_prefix": "/pagerduty/incidents/"}, times=2, do={"status": 503})
    settle(bench.ledger, acknowledged("a"))
    bench.drainer.drain("pd")
    settle(bench.ledger, ends("a"))
    bench.drain()
    assert state(bench) == "resolved"
    assert [one for one in told(bench.ledger) if one[0] == "resolve"] == [("resolve", "delivered")]


def test_a_dead_acknowledgement_sent_again_while_the_resolve_is_under_way_is_not_sent(bench: Bench) -> None:
    bench.pages("a", policy=ACKNOWLEDGES)
    bench.drain()
    bench.script(match={"method": "PUT"}, times=1, do={"status": 400, "body": {"error": {"message": "no"}}})
    settle(bench.ledger, acknowledged("a"))
    bench.drainer.drain("pd")
    (letter,) = bench.ledger.deliveries(state="dead", limit=9).items
    settle(bench.ledger, ends("a"))

    class Replaying(Http):
        """While the resolve is on its way, a person sends the acknowledgement again."""

        def send(self, request: HttpRequest) -> HttpResponse | NoAnswer:
            if b"resolved" in (request.body or b""):
                bench.ledger.replayed(letter["id"])
            return super().send(request)

    Drainer(bench.ledger, bench.drainer.destinations, Replaying(deadline_s=5.0)).drain("pd")
    assert state(bench) == "resolved"
    assert told(bench.ledger) == [("create", "delivered"), ("acknowledge", "cancelled"), ("resolve", "delivered")]
