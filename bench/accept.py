"""Durable accept: POST /webhooks/<source> with rules, against an empty Flask view under the same gunicorn.

    python -m bench.accept [--seconds 5] [--rounds 3]

Both servers run at once, and take turns, so that a noisy machine is as noisy for both. Nothing is delivered while this
runs (no worker, no clock): it measures what stands between a sender and its 202.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.load import free_port, listens, median, run, wait_for

CONFIG = """
server: {{listen: 127.0.0.1:{port}, public_url: "http://127.0.0.1:{port}"}}
ledger: sqlite:///var/bridge.db
rules: {root}/rules
templates: {root}/templates
sources:
  datadog: {{type: datadog, auth: none}}
  zendesk: {{type: zendesk, auth: none}}
  lab: {{type: generic, auth: none}}
accounts:
  pagerduty-prod: {{type: pagerduty, token: sandbox, from: bridge@example.com, defaults: {{service: Catch-all}}}}
  incident-io: {{type: incident_io, api_key: sandbox, defaults: {{severity: Minor}}}}
"""
EMPTY = """
import sys
from flask import Flask
from bridge.entrypoints.web.server import Server
app = Flask("empty")
app.post("/webhooks/<source>")(lambda source: ("", 202))
Server("127.0.0.1:" + sys.argv[1], lambda: app).run()
"""


def main() -> int:
    """Print both rates, their ratio and our percentiles, at 16 and 64 connections."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each; the median counts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ib-bench", dir=os.environ.get("BENCH_DIR")) as folder:
        ours, empty = _start(Path(folder))
        try:
            for connections in (16, 64):
                _compare(ours[1], empty[1], connections, options.seconds, options.rounds)
        finally:
            for process, _ in (ours, empty):
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=30)
    return 0


def _start(folder: Path) -> tuple[tuple["subprocess.Popen[bytes]", int], tuple["subprocess.Popen[bytes]", int]]:
    root = Path(__file__).parent.parent
    port, other = free_port(), free_port()
    config = folder / "bridge.yaml"
    config.write_text(CONFIG.format(port=port, root=root))
    environment = {**os.environ, "BRIDGE_CONFIG": str(config), "BRIDGE_SANDBOX": "1", "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "bridge.entrypoints.cli"]
    log = (folder / "log").open("wb")
    subprocess.run([*command, "db", "upgrade"], env=environment, check=True, stdout=log)
    ours = subprocess.Popen([*command, "serve"], env=environment, stderr=log)
    empty = subprocess.Popen([sys.executable, "-c", EMPTY, str(other)], env=environment, stderr=log, cwd=root)
    wait_for(lambda: listens("127.0.0.1", port) and listens("127.0.0.1", other))
    return (ours, port), (empty, other)


def _compare(port: int, empty_port: int, connections: int, seconds: float, rounds: int) -> None:
    for warm in (port, empty_port):
        run("127.0.0.1", warm, "/webhooks/datadog", connections=connections, seconds=1.0, distinct=True)
    ours, empty = [], []
    for _ in range(rounds):
        for held, target in ((empty, empty_port), (ours, port)):
            path = "/webhooks/datadog"
            held.append(run("127.0.0.1", target, path, connections=connections, seconds=seconds, distinct=True))
    ratios = [mine.per_s / base.per_s for mine, base in zip(ours, empty, strict=True)]
    print(
        f"{connections:3} connections: {median([m.per_s for m in ours]):6.0f}/s durable, "
        f"{median([m.per_s for m in empty]):6.0f}/s empty view, ratio {median(ratios):.2f} "
        f"(rounds {', '.join(f'{ratio:.2f}' for ratio in ratios)}), "
        f"p50 {median([m.p50_ms for m in ours]):.1f} ms, p99 {median([m.p99_ms for m in ours]):.1f} ms, "
        f"errors {sum(m.errors for m in ours)}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
