"""Every page and list of the API over a ledger with a million events in SQLite: how long, and how many bytes.

    python -m bench.pages [--events 1000000] [--rounds 20] [--ledger FILE]

Builds the ledger (once, if --ledger names a file to keep it in), counts it as upkeep would, times a round of pruning,
runs the web process and asks for each page as a browser does, gzip and all. Exit code 1 when a page takes longer than
150 ms (p95) or 60 KB.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import requests

from bench.big_ledger import ACCOUNTS, RULES, SOURCES, build, sample
from bench.load import configured, free_port, running_bridge
from bridge.adapters.ledger import Ledger, pruning, tallies
from bridge.adapters.ledger.changes import Route
from bridge.adapters.ledger.engine import Database, Transaction
from bridge.domain.lane import Pace
from bridge.entrypoints.clock import OUTSTANDING_MAX

P95_MS = 150.0
KILOBYTES = 60.0
CONFIG = """
server: {{listen: 127.0.0.1:{port}, public_url: "http://127.0.0.1:{port}"}}
ledger: sqlite:///{ledger}
rules: rules/
templates: templates/
sources:
{sources}
accounts:
  pagerduty-prod: {{type: pagerduty, token: sandbox, from: bridge@example.com, defaults: {{service: Catch-all}}}}
  incident-io: {{type: incident_io, api_key: sandbox, defaults: {{severity: Minor}}}}
"""
RULE = "  - {{id: {id}, match: {{labels.team: {id}}}, account: pagerduty-prod, incident: {{title: t, service: S}}}}\n"
PATHS = (
    *(
        "/",
        "/events",
        "/events?source=zendesk",
        "/events?outcome=unmatched",
        "/events?rule=rule-07",
        "/events?since=1h",
    ),
    *(
        "/events?state=rejected",
        "/events?q={key}",
        "/events?q={fingerprint}",
        "/events?q=replica+lag",
        "/events?q=nowhere",
    ),
    *("/events?before={middle}", "/events?outcome=silenced", "/events/{event}", "/incidents", "/incidents?state=open"),
    *(
        "/incidents?state=dead",
        "/incidents?state=resolved",
        "/incidents?state=folded",
        "/incidents?account=incident-io",
    ),
    *("/incidents/{incident}", "/dead", "/rules", "/audit", "/audit?actor=person-3", "/audit?action=nothing"),
    *("/playground", "/quiet", "/api/v1/events", "/api/v1/events?limit=500", "/api/v1/events/{event}"),
    *("/api/v1/incidents", "/api/v1/incidents?state=pending", "/api/v1/incidents/{incident}", "/api/v1/deliveries"),
    *("/api/v1/deliveries?state=dead", "/api/v1/deliveries?state=pending", "/api/v1/deliveries?account=incident-io"),
    *("/api/v1/deliveries?incident={incident}", "/api/v1/deliveries/{delivery}", "/api/v1/lanes", "/api/v1/rules"),
    *("/api/v1/silences", "/api/v1/audit", "/metrics"),
)


def main() -> int:
    """Print a line per page; 1 when one is over the limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="in the ledger")
    parser.add_argument("--rounds", type=int, default=20, help="requests for each page")
    parser.add_argument("--ledger", type=Path, help="a file to build it in, or to use as it is")
    parser.add_argument("--only", default="", help="paths that contain this")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ib-pages", dir=os.environ.get("BENCH_DIR")) as folder:
        file = (options.ledger or Path(folder) / "big.db").absolute()
        if not file.exists():
            started = time.monotonic()
            build(file, options.events)
            size, took = file.stat().st_size >> 20, time.monotonic() - started
            print(f"built {options.events:,} events in {took:.0f} s, {size} MiB")
        _upkeep(file)
        over = _pages(Path(folder), file, options.rounds, options.only)
    return 1 if over else 0


def _upkeep(file: Path) -> None:
    """Count and prune as the clock does, each step timed."""
    pace = Pace(
        interval=timedelta(seconds=5), burst=4, reserve=1, update_interval=timedelta(seconds=1),
        promote_after=timedelta(seconds=60), give_up_after=timedelta(days=1),
    )  # fmt: skip
    ledger = Ledger(Database(f"sqlite:///{file}"), {name: Route(lane=name, pace=pace) for name in ACCOUNTS})
    started, rounds, longest = time.monotonic(), 0, 0.0
    until = int((time.time() - 300) * 1_000_000)
    while rounds == 0 or min(int(ledger.marks().get(table, "0")) for table in tallies.tables()) < until:
        begun = time.monotonic()
        ledger.tallied()
        rounds, longest = rounds + 1, max(longest, time.monotonic() - begun)
    print(f"counted in {rounds} rounds, {time.monotonic() - started:.1f} s; the longest took {longest * 1000:.0f} ms")
    steps: tuple[tuple[str, Callable[[Transaction], object]], ...] = (
        ("bodies past their time", lambda t: pruning.bodies_past(t, timedelta(days=7))),
        ("events past their time", lambda t: pruning.events_past(t, timedelta(days=29))),
        ("incidents past their time", _let_go_of_incidents),
        ("a crowded source", lambda t: pruning.bodies_beyond(t, "datadog", 1000, frozenset())),
    )
    for name, step in steps:
        times = []
        for _ in range(10):
            with ledger.database.writing() as transaction:
                begun = time.monotonic()
                step(transaction)
            times.append((time.monotonic() - begun) * 1000)
        print(f"pruning, {name}: {statistics.median(times):.0f} ms a step, at most {max(times):.0f} ms")
    looks: tuple[tuple[str, Callable[[], object]], ...] = (
        ("lanes ensured", ledger.lanes_ensured),
        ("due lanes", lambda: ledger.due_lanes(OUTSTANDING_MAX)),
        ("given up", ledger.given_up),
        ("waits shortened", ledger.waits_shortened),
        ("renewals", ledger.renewals_opened),
        ("swept", ledger.swept),
        ("names asked", ledger.fetches_asked),
        ("alarms", lambda: ledger.alarms_standing(dict.fromkeys(ACCOUNTS, timedelta(minutes=2)))),
        ("tallied", ledger.tallied),
    )
    for name, look in looks:
        times = []
        for _ in range(5):
            begun = time.monotonic()
            look()
            times.append((time.monotonic() - begun) * 1000)
        print(f"upkeep, {name}: {statistics.median(times):.1f} ms")
    ledger.close()


def _let_go_of_incidents(transaction: Transaction) -> int:
    kept_for = timedelta(days=29)
    old = pruning.incidents_past(transaction, kept_for)[: pruning.STEP_INCIDENTS]
    return pruning.forget_incidents(transaction, kept_for, old)


@contextmanager
def _serving(folder: Path, file: Path) -> Iterator[str]:
    port = free_port()
    sources = "\n".join(f"  {name}: {{type: generic, auth: none}}" for name in SOURCES)
    rules = "".join(RULE.format(id=name) for name in RULES)
    configured(folder, CONFIG.format(port=port, ledger=file, sources=sources), f"rules:\n{rules}unmatched: record\n")
    with running_bridge(folder, port, commands=("serve",), ready="/healthz"):
        yield f"http://127.0.0.1:{port}"


def _pages(folder: Path, file: Path, rounds: int, only: str) -> list[str]:
    things = {name: quote(value, safe="") for name, value in sample(file)}
    over = []
    with _serving(folder, file) as url, requests.Session() as browser:
        browser.headers["Accept-Encoding"] = "gzip"
        print(f"{'path':<46}{'p50 ms':>9}{'p95 ms':>9}{'KB':>8}")
        for path in (one.format(**things) for one in PATHS if only in one):
            times, size = [], 0
            for _ in range(rounds + 1):
                begun = time.perf_counter()
                with browser.get(url + path, stream=True, timeout=120) as answer:
                    size = len(answer.raw.read(decode_content=False))
                times.append((time.perf_counter() - begun) * 1000)
                if times[-1] > 5000:
                    break
            if answer.status_code == 404 and not any(thing in path for thing in things.values()):
                continue  # a page that this version does not have
            times = times[1:] or times  # the first one is a page's compilation
            p50, p95 = statistics.median(times), sorted(times)[max(0, int(len(times) * 0.95) - 1)]
            wrong = answer.status_code >= 400 or p95 > P95_MS or size > KILOBYTES * 1000
            over += [path] if wrong else []
            mark = f"  <- HTTP {answer.status_code}" if answer.status_code >= 400 else "  <-" if wrong else ""
            print(f"{path[:45]:<46}{p50:>9.1f}{p95:>9.1f}{size / 1000:>8.1f}{mark}")
    print(f"{len(over)} over {P95_MS:.0f} ms or {KILOBYTES:.0f} KB" if over else "all within the limits")
    return over


if __name__ == "__main__":
    sys.exit(main())
