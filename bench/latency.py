"""Idle latency and throughput of the whole path: POST to the bridge until the call arrives at the stand-in.

    python -m bench.latency [--requests 200] [--alerts 2000] [--accounts 2]

First single alerts, a pause between them, so that every one meets an idle bridge; then a burst of distinct alerts on
unthrottled accounts (an account has one create in flight at a time, whatever its rate), until the last one has
arrived. All processes are those of `up`, beside a stand-in without limits.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.load import Sender, configured, free_port, percentile, running_bridge, running_sandbox

CONFIG = """
server: {{listen: 127.0.0.1:{port}, public_url: "http://127.0.0.1:{port}"}}
rules: rules/
sources:
  lab: {{type: generic, auth: none}}
accounts:
"""
ACCOUNT = """  pd-{number}: {{type: pagerduty, token: sandbox, from: incident-bridge@example.com,
       rate: 100000/s, burst: 10000, update_rate: 100000/s, defaults: {{service: Catch-all}}}}
"""
RULE = """  - id: lab-{number}
    match: {{source: lab, labels.account: "{number}"}}
    account: pd-{number}
    incident: {{title: "{{{{ alert.title }}}}", service: Catch-all, urgency: high}}
"""


class Arrivals:
    """When each title reached the stand-in, by the stand-in's own record; read on from where it was read last."""

    def __init__(self, sandbox_url: str) -> None:
        self._url = sandbox_url
        self._seq = 0
        self._at: dict[str, float] = {}

    def at(self) -> dict[str, float]:
        """Monotonic seconds by title; the clock is the machine's."""
        address = f"{self._url}/_sandbox/requests?method=POST&since={self._seq}"
        for call in json.load(urllib.request.urlopen(address, timeout=20))["items"]:
            self._seq = max(self._seq, call["seq"])
            if isinstance(call["body"], dict) and "incident" in call["body"]:
                self._at.setdefault(call["body"]["incident"]["title"], call["monotonic"])
        return self._at

    def wait_for(self, number: int, within_s: float) -> dict[str, float]:
        """Ask now and then, sparingly, until so many have arrived. Raises TimeoutError."""
        until = time.monotonic() + within_s
        while len(found := self.at()) < number:
            if time.monotonic() > until:
                raise TimeoutError(f"{len(found)} of {number} arrived")
            time.sleep(0.3)
        return found


def main() -> int:
    """Print percentiles of the idle path and the rate of the burst."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200, help="single alerts")
    parser.add_argument("--alerts", type=int, default=2000, help="alerts of the burst")
    parser.add_argument("--accounts", type=int, default=2, help="unthrottled accounts the burst is spread over")
    options = parser.parse_args()
    port, numbers = free_port(), range(options.accounts)
    config = CONFIG.format(port=port) + "".join(ACCOUNT.format(number=n) for n in numbers)
    rules = "rules:\n" + "".join(RULE.format(number=n) for n in numbers) + "unmatched: record\n"
    with tempfile.TemporaryDirectory(prefix="ib-bench") as folder, running_sandbox() as sandbox_url:
        configured(Path(folder), config, rules)
        with running_bridge(Path(folder), port, sandbox_url=sandbox_url):
            arrivals = Arrivals(sandbox_url)
            _idle(port, arrivals, options.requests)
            _burst(port, arrivals, options.alerts, options.accounts)
    return 0


def _alert(title: str, account: int) -> dict[str, Any]:
    return {"title": title, "fingerprint": title, "severity": "error", "labels": {"account": str(account)}}


def _idle(port: int, arrivals: Arrivals, number: int) -> None:
    sender = Sender(port)
    sent: dict[str, float] = {}
    for index in range(number + 5):
        title = f"idle {index}"
        sent[title] = sender.post(_alert(title, 0))
        time.sleep(0.05 + random.random() * 0.05)  # an idle bridge meets every one
    found = arrivals.wait_for(len(sent), 30)
    waits = sorted(1000 * (found[title] - at) for title, at in list(sent.items())[5:])
    p50, p99 = percentile(waits, 0.5), percentile(waits, 0.99)
    print(f"idle: POST to upstream arrival over {number} alerts: p50 {p50:.1f} ms, p99 {p99:.1f} ms", flush=True)


def _burst(port: int, arrivals: Arrivals, number: int, accounts: int) -> None:
    before = len(arrivals.at())
    started = time.monotonic()
    threads = [threading.Thread(target=_post_some, args=(port, n, number, accounts)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    accepted = time.monotonic() - started
    took = max(arrivals.wait_for(before + number, 60).values()) - started
    print(
        f"burst: {number} distinct alerts over {accounts} accounts, accepted in {accepted:.1f} s, "
        f"all upstream in {took:.1f} s: {number / took:.0f}/s end to end",
        flush=True,
    )


def _post_some(port: int, first: int, number: int, accounts: int) -> None:
    sender = Sender(port)
    for index in range(first, number, 8):
        sender.post(_alert(f"burst {index}", index // 8 % accounts))


if __name__ == "__main__":
    sys.exit(main())
