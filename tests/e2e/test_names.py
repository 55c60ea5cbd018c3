"""Names over real HTTP: lists that are long, slow or refused never cost a page its way, nor the lane its pace."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from bridge.adapters.http import DEADLINE_S, Http
from bridge.adapters.ledger import Ledger, Route
from bridge.adapters.ledger.fetches import NAMES_MAX_CHARS, REFRESH_AFTER, RETRY_FIRST
from bridge.adapters.ledger.upgrade import upgrade
from bridge.adapters.queue import JOB_TIMEOUT_S, Queue
from bridge.destinations.incident_io import IncidentIo
from bridge.destinations.pagerduty import PAGE_SIZE, PagerDuty
from bridge.domain.decision import KeyRule
from bridge.domain.delivery import NameRef
from bridge.entrypoints.clock import UPKEEP_S, Clock
from bridge.entrypoints.worker import FETCH_FOR_S, Drainer, ListState, names_topic
from tests.contract.test_ledger_names import MovedDatabase
from tests.e2e.upstream import Answer, Call, Upstream
from tests.ledgers import ends, fires, pace, services, settle, sqlite_url, states, told

pytestmark = pytest.mark.e2e

PAGES = 12
PRIORITY = NameRef(field="priority", kind="priority", text="P1")
MADE = {"incident": {"id": "PMADE1", "status": "triggered", "html_url": "https://upstream.example/PMADE1"}}


def as_json(content: Any, status: int = 200, **headers: str) -> Answer:
    return status, headers, json.dumps(content).encode()


def pagerduty(call: Call) -> Answer:
    """Twelve pages of services, no priorities to speak of, and every create welcome."""
    if call.method == "POST":
        return as_json(MADE, 201)
    offset = int(call.query["offset"][0])
    things = [{"id": f"P{offset + n}", "name": f"S{offset + n}"} for n in range(PAGE_SIZE)]
    return as_json({call.path[1:]: things, "more": offset < (PAGES - 1) * PAGE_SIZE})


def refusing(path: str, *answers: Answer) -> Callable[[Call], Answer]:
    """The same, but for one path: its answers in turn, the last for ever."""
    left = list(answers)

    def answer(call: Call) -> Answer:
        if call.path != path:
            return pagerduty(call)
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


class Office:
    """A ledger whose time can be moved, two accounts at one upstream, and a process that drains."""

    def __init__(self, folder: Path, answer: Callable[[Call], Answer] = pagerduty) -> None:
        self.upstream = Upstream(answer)
        self.database = MovedDatabase(sqlite_url(folder))
        upgrade(self.database)
        self.ledger = Ledger(
            self.database,
            {
                "pd": Route(lane="pd", pace=pace(), required=frozenset({"service"})),
                "io": Route(lane="io", pace=pace()),
            },
        )
        self.ledger.lanes_ensured()
        self.topics: list[str] = []
        url = self.upstream.url
        self.drainer = Drainer(
            self.ledger,
            {
                "pd": PagerDuty(account="pd", token="key-of-tests", from_="bot@example.com", base_url=url),
                "io": IncidentIo(account="io", token="key-of-tests", base_url=url),
            },
            Http(deadline_s=5.0),
            send_upkeep=self.topics.append,
        )

    def pages(self, name: str, *refs: NameRef) -> None:
        settle(self.ledger, fires(name, names=refs or (services(f"S{PAGES * PAGE_SIZE - 1}"),)))

    def later(self, by: timedelta) -> None:
        self.database.ahead += by

    def offsets(self, path: str = "/services") -> list[int]:
        return [int(call.query["offset"][0]) for call in self.upstream.sent("GET", path)]

    def created(self) -> list[dict[str, Any]]:
        return [json.loads(call.body)["incident"] for call in self.upstream.sent("POST", "/incidents")]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    with made.upstream:
        yield made
    made.ledger.close()


def test_the_time_of_a_job_is_enough_for_its_last_page() -> None:
    assert FETCH_FOR_S + DEADLINE_S < JOB_TIMEOUT_S


def test_draining_asks_for_a_list_and_never_fetches_it(office: Office) -> None:
    for number in range(30):
        office.pages(f"{number}")
    office.drainer.drain("pd")
    office.drainer.drain("pd")
    assert office.topics == [names_topic("pd", "service")]
    assert office.upstream.calls == []
    waiting = office.ledger.deliveries(limit=50).items
    assert {(one["state"], one["reason"], one["attempts"]) for one in waiting} == {("pending", "waiting_for_names", 0)}


def test_a_list_longer_than_a_job_comes_in_over_several_each_page_once(office: Office) -> None:
    office.pages("a")
    office.drainer.drain("pd")
    office.drainer.fetch_for_s = 0.0  # every job is over after one page
    made = [office.drainer.fetch_names("pd", "service") for _ in range(PAGES)]
    assert made == [ListState.GOES_ON] * (PAGES - 1) + [ListState.WHOLE]
    assert office.offsets() == [n * PAGE_SIZE for n in range(PAGES)]
    office.drainer.drain("pd")
    assert [one["service"]["id"] for one in office.created()] == [f"P{PAGES * PAGE_SIZE - 1}"]


def test_a_job_that_dies_loses_its_own_pages_only(office: Office) -> None:
    office.drainer.fetch_for_s = 0.0
    office.drainer.fetch_names("pd", "service")

    class Dies(Exception):
        """As a job's time limit does, in the middle of anything."""

    class DyingHttp(Http):
        def send(self, request: Any) -> Any:
            raise Dies

    with pytest.raises(Dies):
        Drainer(office.ledger, office.drainer.destinations, DyingHttp()).fetch_names("pd", "service")
    assert office.drainer.fetch_names("pd", "service") is ListState.WAITS
    office.later(timedelta(seconds=31))
    office.drainer.fetch_for_s = FETCH_FOR_S
    assert office.drainer.fetch_names("pd", "service") is ListState.WHOLE
    assert office.offsets() == [n * PAGE_SIZE for n in range(PAGES)]


def test_a_failing_page_is_asked_for_again_later_and_the_pages_before_it_are_kept(tmp_path: Path) -> None:
    answers = iter([200, 503, 200])

    def stumbling(call: Call) -> Answer:
        return pagerduty(call) if next(answers, 200) == 200 else as_json({}, 503)

    office = Office(tmp_path, stumbling)
    with office.upstream:
        assert office.drainer.fetch_names("pd", "service") is ListState.WAITS
        assert office.drainer.fetch_names("pd", "service") is ListState.WAITS
        office.later(RETRY_FIRST)
        assert office.drainer.fetch_names("pd", "service") is ListState.WHOLE
        assert office.offsets() == [0, PAGE_SIZE, *(n * PAGE_SIZE for n in range(1, PAGES))]
    office.ledger.close()


def test_after_the_answer_to_another_call_the_next_goes_on_a_connection_of_its_own(tmp_path: Path) -> None:
    def one_behind(call: Call) -> Answer:
        if call.method != "POST":
            return as_json({"incidents": [], "more": False})
        return as_json({"incident": {"id": "PANOTHER", "incident_key": "of another one"}}, 201)

    office = Office(tmp_path, one_behind)
    with office.upstream:
        settle(office.ledger, fires("a"))
        office.drainer.drain("pd")
        office.later(RETRY_FIRST)
        office.drainer.drain("pd")
        made, asked = office.upstream.calls[:2]
        assert (made.method, asked.method) == ("POST", "GET")
        assert made.connection != asked.connection
    office.ledger.close()


def test_a_list_of_endless_names_is_given_up_before_it_fills_the_memory(tmp_path: Path) -> None:
    def endless(call: Call) -> Answer:
        offset = int(call.query["offset"][0])
        return as_json(
            {"services": [{"id": f"P{offset + n}", "name": "n" * 1_000_000} for n in range(7)], "more": True}
        )

    office = Office(tmp_path, endless)
    with office.upstream:
        assert office.drainer.fetch_names("pd", "service") is ListState.WAITS
        pages = NAMES_MAX_CHARS // 7_000_000 + 1
        assert office.offsets() == [n * PAGE_SIZE for n in range(pages)]
        office.later(RETRY_FIRST)
        office.drainer.fetch_for_s = 0.0  # a page for each job: what those before it kept counts
        states_of = [office.drainer.fetch_names("pd", "service") for _ in range(pages)]
        assert states_of == [ListState.GOES_ON] * (pages - 1) + [ListState.WAITS]
    office.ledger.close()


def test_a_forbidden_optional_list_holds_no_page_for_longer_than_two_minutes(tmp_path: Path) -> None:
    forbidden = as_json({"error": {"message": "Access Denied", "code": 2010}}, 403)
    office = Office(tmp_path, refusing("/priorities", forbidden))
    with office.upstream:
        office.drainer.send_upkeep = None
        office.pages("a", services("S1"), PRIORITY)
        office.drainer.drain("pd")
        for _ in range(12):
            assert office.created() == []
            office.later(timedelta(seconds=10))
            office.drainer.drain("pd")
        (incident,) = office.created()
        assert "priority" not in incident
        assert "Access Denied" in incident["body"]["details"]
        office.pages("b", services("S1"), PRIORITY)
        office.drainer.drain("pd")
        assert len(office.created()) == 2
        assert states(office.ledger) == ["open", "open"]
        assert len(office.upstream.sent("GET", "/priorities")) == 1  # who waits does not ask: the clock does
    office.ledger.close()


def test_the_clock_asks_for_a_failing_list_and_refreshes_a_whole_one(tmp_path: Path) -> None:
    office = Office(tmp_path, refusing("/priorities", as_json({}, 500)))
    elapsed = [0.0]
    queue = Queue("redis://127.0.0.1:1")  # nobody there: the clock sees to the lists itself
    clock = Clock(office.ledger, queue, office.drainer, (timedelta(1), timedelta(1)), monotonic=lambda: elapsed[0])
    office.drainer.send_upkeep = None

    def ticks(seconds: float) -> None:
        for _ in range(int(seconds / UPKEEP_S)):
            elapsed[0] += UPKEEP_S
            office.later(timedelta(seconds=UPKEEP_S))
            clock.tick(Event())

    with office.upstream:
        office.pages("a", services("S1"), PRIORITY)
        ticks(600)
        tried = len(office.upstream.sent("GET", "/priorities"))
        assert 8 <= tried <= 15  # at most once a minute after the first few
        assert len(office.offsets()) == PAGES
        ticks(REFRESH_AFTER.total_seconds())
        assert len(office.offsets()) == 2 * PAGES
    office.ledger.close()


def test_a_429_to_a_list_parks_the_updates_until_the_upstreams_time(tmp_path: Path) -> None:
    too_many = as_json({"error": {"message": "Rate Limit Exceeded"}}, 429, **{"ratelimit-reset": "40"})
    office = Office(tmp_path, refusing("/services", too_many, as_json({"services": [{"id": "P1", "name": "S"}]})))
    with office.upstream:
        assert office.drainer.fetch_names("pd", "service") is ListState.WAITS
        office.later(timedelta(seconds=35))
        assert office.drainer.fetch_names("pd", "service") is ListState.WAITS
        assert len(office.upstream.calls) == 1
        assert "429" in office.ledger.lanes({"pd": ("pagerduty", "1/s"), "io": ("incident_io", "1/s")})[1]["parked"]
        office.later(timedelta(seconds=6))
        assert office.drainer.fetch_names("pd", "service") is ListState.WHOLE
    office.ledger.close()


def test_closing_an_incident_waits_for_the_list_of_statuses_without_an_attempt(tmp_path: Path) -> None:
    category = ["live"]

    def incident_io(call: Call) -> Answer:
        if call.method == "GET":
            return as_json({"incident_statuses": [{"id": "01CLOSED", "name": "Closed", "category": "closed"}]})
        category[0] = "closed" if "edit" in call.path else "live"
        status = {"name": category[0], "category": category[0]}
        return as_json({"incident": {"id": "01X", "incident_status": status}})

    office = Office(tmp_path, incident_io)
    with office.upstream:
        settle(office.ledger, fires("a", account="io", key_rule=KeyRule.FOR_EVER, fields={"name": "a"}))
        office.drainer.drain("io")
        settle(office.ledger, ends("a"))
        office.drainer.drain("io")
        assert office.topics == [names_topic("io", "incident_status")]
        assert told(office.ledger) == [("create", "delivered"), ("resolve", "pending")]
        assert office.ledger.deliveries(limit=1).items[0]["attempts"] == 0
        office.drainer.fetch_names("io", "incident_status")
        office.drainer.drain("io")
        assert states(office.ledger) == ["resolved"]
        assert [call.method for call in office.upstream.calls] == ["POST", "GET", "POST"]
    office.ledger.close()


def test_an_unknown_account_or_list_is_asked_of_nobody(office: Office) -> None:
    assert office.drainer.fetch_names("gone", "service") is ListState.WAITS
    assert office.drainer.fetch_names("pd", "nonsense") is ListState.WAITS
    assert office.upstream.calls == []
