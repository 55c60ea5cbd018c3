"""Idle latency and throughput of the whole path: POST to the bridge until the call arrives at the stand-in.

    python -m bench.latency [--requests 200] [--alerts 2000] [--accounts 2]

First single alerts, a pause between them, so that every one meets an idle bridge; then a burst of distinct alerts on
unthrottled accounts (an account has one create in flight at a time, whatever its rate), until the last one has
arrived. All processes are those of `up`, beside a stand-in without limits.
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from bench.load import free_port, listens, read_answer, wait_for

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
PROCFILE = "web: incident-bridge serve\nworker: incident-bridge worker\nclock: incident-bridge clock\n"


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
    with tempfile.TemporaryDirectory(prefix="ib-bench") as folder:
        sandbox_url = f"http://127.0.0.1:{free_port()}"
        listen = ["--listen", sandbox_url.removeprefix("http://"), "--unlimited"]
        sandbox = subprocess.Popen([sys.executable, "-m", "bridge.sandbox", *listen], stdout=subprocess.DEVNULL)
        process, port = _start(Path(folder), sandbox_url, options.accounts)
        try:
            arrivals = Arrivals(sandbox_url)
            _idle(port, arrivals, options.requests)
            _burst(port, arrivals, options.alerts, options.accounts)
        finally:
            for one in (process, sandbox):
                one.send_signal(signal.SIGTERM)
                one.wait(timeout=40)
    return 0


def _start(folder: Path, sandbox_url: str, accounts: int) -> tuple["subprocess.Popen[bytes]", int]:
    root = Path(__file__).parent.parent
    port = free_port()
    numbers = range(accounts)
    config = CONFIG.format(port=port) + "".join(ACCOUNT.format(number=n) for n in numbers)
    rules = "rules:\n" + "".join(RULE.format(number=n) for n in numbers) + "unmatched: record\n"
    (folder / "bridge.yaml").write_text(config)
    (folder / "rules").mkdir()
    (folder / "rules" / "lab.yaml").write_text(rules)
    (folder / "Procfile").write_text(PROCFILE)
    environment = {
        **os.environ,
        "BRIDGE_CONFIG": str(folder / "bridge.yaml"),
        "BRIDGE_SANDBOX_URL": sandbox_url,
        "PYTHONPATH": str(root),
    }
    command = [sys.executable, "-m", "bridge.entrypoints.cli", "up"]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
    try:
        wait_for(lambda: listens("127.0.0.1", port) and _ready(port), 30)
    except TimeoutError:
        process.kill()  # its children end with it
        raise
    return process, port


def _ready(port: int) -> bool:
    try:
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).status == 200)
    except OSError:
        return False


class _Sender:
    """One keep-alive connection that posts alerts."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, title: str, account: int) -> float:
        """Post one alert for an account; the monotonic time before the first byte left."""
        labels = {"account": str(account)}
        body = json.dumps({"title": title, "fingerprint": title, "severity": "error", "labels": labels}).encode()
        head = (
            f"POST /webhooks/lab HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        started = time.monotonic()
        self._sock.sendall(head.encode() + b"\r\n\r\n" + body)
        status = read_answer(self._sock)
        if status != 202:
            raise RuntimeError(f"the bridge answered {status}")
        return started


def _idle(port: int, arrivals: Arrivals, number: int) -> None:
    sender = _Sender(port)
    sent: dict[str, float] = {}
    for index in range(number + 5):
        title = f"idle {index}"
        sent[title] = sender.post(title, 0)
        time.sleep(0.05 + random.random() * 0.05)  # an idle bridge meets every one
    found = arrivals.wait_for(len(sent), 30)
    waits = sorted(1000 * (found[title] - at) for title, at in list(sent.items())[5:])
    p50, p99 = waits[len(waits) // 2], waits[int(0.99 * len(waits))]
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
    sender = _Sender(port)
    for index in range(first, number, 8):
        sender.post(f"burst {index}", index // 8 % accounts)


if __name__ == "__main__":
    sys.exit(main())
