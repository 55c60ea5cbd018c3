"""Many lanes on two workers: how long does each quiet account wait for its one page, beside one that storms?

    python -m bench.lanes [--lanes 1000] [--storm 500] [--json]

One web process, two workers and a clock; the upstreams are stand-ins without limits. First every account has had a
page (so its list of names is known); then each gets one more, in random order, among the alerts of a storm on an
account that takes one create a second. Printed is the time from each quiet account's POST to its create upstream. Exit
1 when a page is missing or the 95th of a hundred waited longer than 2 s (DESIGN section 11).
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.load import Sender, configured, free_port, percentile, running_bridge, wait_for
from bridge.sandbox import Rates, SandboxServer

UNLIMITED = Rates(pagerduty=None, pagerduty_create=None, incident_io=None, incident_io_create=None)
PROCESSES = ("serve", "worker", "worker", "clock")
P95_AT_MOST_S = 2.0
PER_SECOND = 100  # webhooks posted


def main() -> int:
    """Print how long quiet accounts waited; exit code 1 when that is too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lanes", type=int, default=1000, help="quiet accounts, each with a lane of its own")
    parser.add_argument("--storm", type=int, default=500, help="alerts on the account that storms")
    parser.add_argument("--seed", type=int, default=1, help="of the order they are posted in")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    accounts = {f"a{number:04}": "600/min" for number in range(options.lanes)} | {"stormy": "60/min"}
    with (
        tempfile.TemporaryDirectory(prefix="ib-bench", dir=os.environ.get("BENCH_DIR")) as folder,
        SandboxServer(rates=UNLIMITED) as sandbox,
        _bridge(Path(folder), accounts, sandbox.base_url) as port,
    ):
        quiet = [name for name in accounts if name != "stormy"]
        started = time.monotonic()
        sender = Sender(port)
        for name in quiet:
            _post(sender, name, f"first {name}", "error")
        sender.close()
        wait_for(lambda: len(sandbox.store.records("incident_io")) >= len(quiet), 60 + len(quiet))
        cold_s = time.monotonic() - started
        posted = _storm(port, quiet, options.storm, random.Random(options.seed))
        wait_for(lambda: len(sandbox.store.records("incident_io")) >= 2 * len(quiet), 60 + len(quiet))
        arrived = {
            call.body["name"]: call.monotonic
            for call in sandbox.calls.calls(api="incident_io")
            if isinstance(call.body, dict) and "name" in call.body
        }
    waits = sorted(arrived[name] - at for name, at in posted.items())
    figures = {
        "lanes": len(quiet),
        "first_page_of_every_account_s": round(cold_s, 1),
        "p50_s": round(percentile(waits, 0.5), 3),
        "p95_s": round(percentile(waits, 0.95), 3),
        "worst_s": round(waits[-1], 3),
    }
    if options.as_json:
        print(json.dumps(figures))
    else:
        print(
            f"{figures['lanes']} lanes on two workers: the first page of every account in "
            f"{figures['first_page_of_every_account_s']} s, names looked up; then, beside a storm, "
            f"p50 {figures['p50_s']} s, p95 {figures['p95_s']} s, worst {figures['worst_s']} s"
        )
    return 0 if figures["p95_s"] <= P95_AT_MOST_S else 1


def _storm(port: int, quiet: list[str], storming: int, chance: random.Random) -> dict[str, float]:
    """Post one alert for every quiet account among those of the storm; when each was posted, by its title."""
    order = [*quiet, *["stormy"] * storming]
    chance.shuffle(order)
    posted: dict[str, float] = {}
    sender = Sender(port)
    started = time.monotonic()
    for number, name in enumerate(order):
        time.sleep(max(0.0, started + number / PER_SECOND - time.monotonic()))
        title = f"second {name}" if name != "stormy" else f"storm {number}"
        at = _post(sender, name, title, "critical" if name == "stormy" else "warning")
        if name != "stormy":
            posted[title] = at
    return posted


def _post(sender: Sender, account: str, title: str, severity: str) -> float:
    return sender.post({"title": title, "fingerprint": title, "severity": severity, "labels": {"account": account}})


@contextmanager
def _bridge(folder: Path, accounts: Mapping[str, str], sandbox_url: str) -> Iterator[int]:
    """The processes, ready; their port."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    key: dict[str, Any] = {"type": "incident_io", "api_key": "sandbox", "defaults": {"severity": "Minor"}}
    pagerduty = {"type": "pagerduty", "token": "sandbox", "from": "incident-bridge@example.com"}
    stormy = {**pagerduty, "defaults": {"service": "Catch-all"}}
    config = {
        "server": {"listen": address, "public_url": f"http://{address}"},
        "sources": {"lab": {"type": "generic", "auth": "none"}},
        "accounts": {name: {**(stormy if name == "stormy" else key), "rate": rate} for name, rate in accounts.items()},
    }
    rules = [
        {"id": name, "account": name, "match": {"labels.account": name}, "incident": _incident(name)}
        for name in accounts
    ]
    configured(folder, json.dumps(config), json.dumps({"rules": rules, "unmatched": "record"}))
    with running_bridge(folder, port, commands=PROCESSES, sandbox_url=sandbox_url):
        yield port


def _incident(name: str) -> dict[str, str]:
    title = "{{ alert.title }}"
    return {"title": title, "service": "Checkout API"} if name == "stormy" else {"name": title, "severity": "Minor"}


if __name__ == "__main__":
    sys.exit(main())
