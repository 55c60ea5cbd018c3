"""`python -m bridge.sandbox`: the stand-ins as a process of their own."""

import argparse
import sys
import threading
from pathlib import Path

from bridge.adapters.supervisor import stop_on_signals
from bridge.sandbox.limits import Rate, Rates
from bridge.sandbox.server import SandboxServer


def main(arguments: list[str] | None = None) -> int:
    """Listen until SIGTERM or SIGINT; the address goes to stdout once it listens."""
    options = _parser().parse_args(arguments)
    host, _, port = options.listen.rpartition(":")
    if not host or not port.isdigit():
        print(f"--listen {options.listen}: expected host:port", file=sys.stderr)  # noqa: T201 - a command
        return 2
    rates = Rates(
        pagerduty_create=_rate(options.pagerduty_creates), incident_io_create=_rate(options.incident_io_creates)
    )
    if options.unlimited:
        rates = Rates(pagerduty=None, pagerduty_create=None, incident_io=None, incident_io_create=None)
    try:
        server = SandboxServer(
            host, int(port), journal=options.journal, rates=rates, require_severity=options.require_severity
        )
    except OSError as odd:
        print(f"--listen {options.listen}: {odd.strerror}", file=sys.stderr)  # noqa: T201 - a command
        return 1
    stop = threading.Event()
    stop_on_signals(stop)
    print(f"sandbox listens on {server.start()}", flush=True)  # noqa: T201 - a command
    stop.wait()
    server.stop()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bridge.sandbox", description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:8081", metavar="HOST:PORT", help="port 0 takes a free one")
    parser.add_argument("--journal", type=Path, metavar="FILE", help="keep incidents over a restart")
    parser.add_argument("--pagerduty-creates", type=int, default=60, metavar="PER_MINUTE", help="0: no limit")
    parser.add_argument("--incident-io-creates", type=int, default=60, metavar="PER_MINUTE", help="0: no limit")
    parser.add_argument("--unlimited", action="store_true", help="no limit of any kind, for benches")
    parser.add_argument("--require-severity", action="store_true", help="incident.io demands a severity")
    return parser


def _rate(per_minute: int) -> Rate | None:
    return Rate(calls=per_minute) if per_minute > 0 else None


if __name__ == "__main__":
    sys.exit(main())
