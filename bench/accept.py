"""Durable accept: POST /webhooks/<source> with rules, against an empty Flask view under the same gunicorn.

    python -m bench.accept [--seconds 5] [--rounds 3]

Both servers run at once, and take turns, so that a noisy machine is as noisy for both. Nothing is delivered while this
runs (no worker, no clock): it measures what stands between a sender and its 202.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bench.load import ROOT, Measured, ended, free_port, listens, run, running_bridge, wait_for

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
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ib-bench", dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        (folder / "bridge.yaml").write_text(CONFIG.format(port=port, root=ROOT))
        with running_bridge(folder, port, commands=("serve",), ready="/healthz"), _empty_view(folder) as empty_port:
            for connections in (16, 64):
                _compare(port, empty_port, connections, options.seconds, options.rounds)
    return 0


@contextmanager
def _empty_view(folder: Path) -> Iterator[int]:
    """The same server around a view that does nothing; its port."""
    port = free_port()
    with (folder / "empty.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", EMPTY, str(port)], stderr=log, cwd=ROOT)
    try:
        wait_for(lambda: listens(port))
        yield port
    finally:
        ended([process])


def _compare(port: int, empty_port: int, connections: int, seconds: float, rounds: int) -> None:
    for warm in (port, empty_port):
        run(warm, "/webhooks/datadog", connections=connections, seconds=1.0, distinct=True)
    ours: list[Measured] = []
    empty: list[Measured] = []
    for _ in range(rounds):
        for held, target in ((empty, empty_port), (ours, port)):
            path = "/webhooks/datadog"
            held.append(run(target, path, connections=connections, seconds=seconds, distinct=True))
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
