"""A storm with every process real: the right page first, few calls, every alert in one incident; nobody else waits."""

import time
from pathlib import Path
from typing import Any

from bridge.sandbox import Rates
from bridge.sandbox.limits import Rate
from bridge.sandbox.store import Record
from tests.e2e.processes import INCIDENT_IO, PAGERDUTY, Bridge, alert, at_once

SLOW = {**PAGERDUTY, "rate": "60/min", "burst": 4, "max_wait": "10s"}
LIMIT = Rates(  # what the lane is set to
    pagerduty=None, pagerduty_create=Rate(calls=10, window_s=10), incident_io=None, incident_io_create=None
)
ALERTS, CRITICAL = 90, 3  # fewer than the hundred that one text names
LANES = 200


def told(record: Record) -> str:
    return " ".join([str(record.incident.get("title")), record.body, *(str(note) for note in record.notes)])


def warm(bridge: Bridge, *accounts: str) -> None:
    """The lists of names are there."""
    for account in accounts:
        bridge.deliver(alert(f"warm {account}", account=account))
        bridge.arrives(f"warm {account}")


def test_a_storm_folds_into_few_incidents_with_the_criticals_first(tmp_path: Path) -> None:
    with Bridge(tmp_path, rates=LIMIT, accounts={"pd": SLOW, "io": INCIDENT_IO}) as bridge:
        warm(bridge, "pd", "io")
        names = [f"problem-{number:03}-" for number in range(ALERTS)]
        started = time.monotonic()
        for number, name in enumerate(names):
            severity = "critical" if number >= ALERTS - CRITICAL else "error"
            bridge.deliver(alert(name, account="pd", severity=severity))
        last = time.monotonic()
        bridge.deliver(alert("quiet", account="io"))
        assert bridge.arrives("quiet") < 5.0, "another lane does not wait"

        def texts() -> list[str]:
            return [told(record) for record in bridge.sandbox.store.records("pagerduty")]

        bridge.eventually(lambda: all(any(name in one for one in texts()) for name in names[-CRITICAL:]), 10.0)
        bridge.eventually(lambda: all(sum(name in one for one in texts()) == 1 for name in names), 30.0)
        calls = [call for call in bridge.sandbox.calls.calls(api="pagerduty") if call.method != "GET"]
        assert [call for call in calls if call.status == 429] == []
        assert len(calls) <= 30
        assert min(call.monotonic for call in calls if call.monotonic > started) - started < 2.0
        assert last - started < 30.0

        for name in names:
            bridge.deliver({**alert(name, account="pd"), "status": "resolved"})
        pagerduty = bridge.sandbox.store.records
        resolved: Any = lambda: [one.incident["status"] for one in pagerduty("pagerduty")].count("resolved")  # noqa: E731
        bridge.eventually(lambda: resolved() == len(pagerduty("pagerduty")) - 1, 30.0)  # all but the first one


def test_two_hundred_lanes_on_two_workers_get_their_one_page_each_beside_a_storm(tmp_path: Path) -> None:
    quiet = {f"a{number:03}": {**INCIDENT_IO, "rate": "12/min"} for number in range(LANES)}
    accounts = {"pd": SLOW, **quiet}
    with Bridge(tmp_path, accounts=accounts, start=("web", "worker.1", "worker.2", "clock")) as bridge:
        bridge.answers("/readyz")

        def posts(thread: int) -> None:
            for number in range(thread, LANES, 4):
                bridge.deliver(alert(f"page {number:03}", account=f"a{number:03}"))
                bridge.deliver(alert(f"storm {number:03}", account="pd", severity="error"))

        at_once(4, posts)
        wanted = {f"page {number:03}" for number in range(LANES)}

        def arrived() -> list[str]:
            return [str(one.incident["name"]) for one in bridge.sandbox.store.records("incident_io")]

        bridge.eventually(lambda: wanted <= set(arrived()), 60.0)
        assert len(arrived()) == LANES
