"""Storms against an account that takes few calls: what reaches the upstream, how soon, and what it costs the others.

    python -m bench.storm [--part storm|pages|both] [--seed 1 ...] [--ledger sqlite|postgresql] [--json]

`storm`: 10,000 alerts on one account of 12 creates a minute, in time that runs `--scale` times faster (rate, max_wait
and the upstream's own limit alike), beside a quiet account. `pages`: 500 alerts in 5 s, 5 critical ones last, while the
upstream takes 10 calls in 10 s. All processes are those of `up`; the upstreams are stand-ins with these limits, and
what they were told is the judge, with the ledger for the alerts that a text only counts. Exit 1: a promise is not kept.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import Any

from bench.load import Sender, configured, empty_ledger, free_port, percentile, running_bridge, wait_for
from bridge.sandbox import Rates, SandboxServer
from bridge.sandbox.calls import Call
from bridge.sandbox.limits import Rate

KINDS = 12  # fold keys of a storm
CRITICAL_KINDS = 4  # of them, those that criticals have
CRITICAL_SHARE = 0.02
CONNECTIONS = 8
QUIET_EVERY_S = 0.5
RULES = """rules:
  - id: quiet
    match: {source: lab, labels.account: quiet}
    account: quiet
    incident: {name: "{{ alert.title }}", severity: Minor}
  - id: storm
    match: {source: lab}
    account: stormy
    fold_by: [labels.kind]
    incident: {title: "{{ alert.title }}", service: Checkout API, urgency: high}
unmatched: record
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storm:
    """One run's traffic and limits. `rate` is the lane's, `limit` the upstream's own."""

    alerts: tuple[dict[str, Any], ...]
    over_s: float
    rate: str
    burst: int
    max_wait: str
    promote_after: str
    limit: Rate
    within_s: float  # until every alert has to be represented
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One figure, and what it may be at most."""

    what: str
    value: float
    at_most: float

    @property
    def kept(self) -> bool:
        return self.value <= self.at_most


def main() -> int:
    """Run the parts asked for, once per seed, and print what they showed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("storm", "pages", "both"), default="both")
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="one run each")
    parser.add_argument("--ledger", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--alerts", type=int, default=10_000, help="of the storm")
    parser.add_argument("--over", type=float, default=20.0, help="seconds the storm's alerts are posted over")
    parser.add_argument(
        "--scale", type=float, default=10.0, help="how much faster than 12 a minute the storm's time runs"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per run")
    options = parser.parse_args()
    parts = ("storm", "pages") if options.part == "both" else (options.part,)
    kept = True
    for part in parts:
        for seed in options.seed:
            chance = random.Random(seed)
            storm = _storm(chance, options) if part == "storm" else _pages(chance)
            figures, promises = _run(storm, options.ledger)
            kept = kept and all(one.kept for one in promises)
            _print({"part": part, "seed": seed, "ledger": options.ledger, **figures}, promises, options.json)
    return 0 if kept else 1


def _storm(chance: random.Random, options: argparse.Namespace) -> Storm:
    alerts = []
    for number in range(options.alerts):
        critical = chance.random() < CRITICAL_SHARE
        severity = "critical" if critical else chance.choice(("error", "warning", "info"))
        alerts.append(_alert(number, severity, chance.randrange(CRITICAL_KINDS if critical else KINDS)))
    return Storm(
        alerts=tuple(alerts),
        over_s=options.over,
        rate=f"{12 * options.scale:.0f}/min",
        burst=4,
        max_wait=f"{120 / options.scale:.0f}s",
        promote_after=f"{60 / options.scale:.0f}s",
        limit=Rate(calls=12, window_s=60 / options.scale),
        within_s=options.over + 240,
        quiet=True,
    )


def _pages(chance: random.Random) -> Storm:
    first = [_alert(number, chance.choice(("error", "warning")), 0) for number in range(495)]
    last = [_alert(number, "critical", 0) for number in range(495, 500)]
    return Storm(
        alerts=(*first, *last),
        over_s=5.0,
        rate="10/10s",
        burst=4,
        max_wait="2m",
        promote_after="60s",
        limit=Rate(calls=10, window_s=10),
        within_s=60.0,
        quiet=False,
    )


def _alert(number: int, severity: str, kind: int) -> dict[str, Any]:
    name = f"alert-{number:05}"
    labels = {"account": "stormy", "kind": f"kind {kind}"}
    return {"title": f"{name} {severity}", "fingerprint": name, "severity": severity, "labels": labels}


# -- one run


def _run(storm: Storm, ledger: str) -> tuple[dict[str, Any], list[Promise]]:
    every_call = None if storm.quiet else storm.limit
    rates = Rates(pagerduty=every_call, pagerduty_create=storm.limit, incident_io=None, incident_io_create=None)
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="ib-bench", dir=os.environ.get("BENCH_DIR")))
        )
        address = stack.enter_context(empty_ledger(ledger))
        sandbox = stack.enter_context(SandboxServer(rates=rates))
        port = stack.enter_context(_bridge(folder, storm, address, sandbox.base_url))
        _warm(port, sandbox, storm)
        seq = max((call.seq for call in sandbox.calls.calls()), default=0)
        wall = time.time() - time.monotonic()
        quiet: dict[str, float] = {}
        stop: list[bool] = []
        whisper = Thread(target=_whisper, args=(port, quiet, stop), daemon=True)
        if storm.quiet:
            whisper.start()
        posted = _post_all(port, storm)
        calls: Callable[[], list[Call]] = lambda: sandbox.calls.calls(since=seq)  # noqa: E731
        incidents = _settled(port, storm, [one["fingerprint"] for one in storm.alerts])
        stop.append(True)
        if storm.quiet:
            whisper.join()
            time.sleep(2)
        return _figures(storm, posted, calls(), incidents, _folded_at(port, wall), quiet)


@contextmanager
def _bridge(folder: Path, storm: Storm, ledger: str, sandbox_url: str) -> Iterator[int]:
    port = free_port()
    address = f"127.0.0.1:{port}"
    config = {
        "server": {"listen": address, "public_url": f"http://{address}"},
        "ledger": ledger,
        "sources": {"lab": {"type": "generic", "auth": "none"}},
        "accounts": {
            "stormy": {
                "type": "pagerduty",
                "token": "sandbox",
                "from": "incident-bridge@example.com",
                "rate": storm.rate,
                "burst": storm.burst,
                "max_wait": storm.max_wait,
                "promote_after": storm.promote_after,
                "defaults": {"service": "Catch-all"},
            },
            "quiet": {
                "type": "incident_io",
                "api_key": "sandbox",
                "rate": "600/min",
                "defaults": {"severity": "Minor"},
            },
        },
    }
    configured(folder, json.dumps(config), RULES)
    with running_bridge(folder, port, sandbox_url=sandbox_url):
        yield port


def _warm(port: int, sandbox: SandboxServer, storm: Storm) -> None:
    """One alert to each account, so that the lists of names are known; then until the buckets are full again."""
    sender = Sender(port)
    for number, account in enumerate(("stormy", "quiet")):
        alert = _alert(90_000 + number, "info", 0)
        sender.post({**alert, "labels": {"account": account}})
    wait_for(lambda: all(sandbox.store.records(api) for api in ("pagerduty", "incident_io")), 30)
    time.sleep(max(2.0, 2 * storm.limit.window_s / storm.limit.calls))


# -- senders


def _post_all(port: int, storm: Storm) -> dict[str, float]:
    """Post every alert, evenly over the time, from a process of its own; when each was posted."""
    context = get_context("spawn")
    results: Any = context.Queue()
    process = context.Process(target=_posting, args=(port, storm.alerts, storm.over_s, results))
    process.start()
    found: dict[str, float] = results.get()
    process.join()
    return found


def _posting(port: int, alerts: Sequence[dict[str, Any]], over_s: float, results: Any) -> None:
    found: dict[str, float] = {}
    started = time.monotonic()

    def some(first: int) -> None:
        sender = Sender(port)
        for number in range(first, len(alerts), CONNECTIONS):
            due = started + over_s * number / len(alerts)
            time.sleep(max(0.0, due - time.monotonic()))
            found[alerts[number]["fingerprint"]] = sender.post(alerts[number])

    threads = [Thread(target=some, args=(first,)) for first in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(found)


def _whisper(port: int, posted: dict[str, float], stop: list[bool]) -> None:
    """The quiet account's alerts, one now and then."""
    sender = Sender(port)
    while not stop:
        alert = _alert(50_000 + len(posted), "error", 0)
        posted[alert["fingerprint"]] = sender.post({**alert, "labels": {"account": "quiet"}})
        time.sleep(QUIET_EVERY_S)


# -- what became of it


def _every(port: int, kind: str) -> Iterator[dict[str, Any]]:
    before = ""
    while True:
        address = f"http://127.0.0.1:{port}/api/v1/{kind}limit=500{before}"
        page = json.load(urllib.request.urlopen(address, timeout=60))
        yield from page["items"]
        if page["next"] is None:
            return
        before = f"&before={page['next']}"


def _settled(port: int, storm: Storm, names: Sequence[str]) -> dict[str, list[str]]:
    """Wait until nothing of the storm waits; then the upstream incidents that stand for each alert, by the ledger."""
    until = time.monotonic() + storm.within_s

    def waits() -> bool:
        lanes = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/lanes", timeout=60))
        return any(lane["waiting"] for lane in lanes["items"] if lane["account"] == "stormy")

    while waits() and time.monotonic() < until:
        time.sleep(1.0)
    every = {one["id"]: one for one in _every(port, "incidents?account=stormy&")}
    found: dict[str, list[str]] = {name: [] for name in names}
    for one in every.values():
        stands = every.get(one["carrier"], one) if one["carrier"] else one
        for member in one["members"]:
            name = member["title"].split()[0]
            if member["status"] == "firing" and stands["upstream"]["id"] and name in found:
                found[name].append(stands["upstream"]["id"])
    return found


def _folded_at(port: int, wall: float) -> dict[str, float]:
    """When each incident's create was put aside for another's, by its members' names; monotonic seconds."""
    from datetime import datetime

    of_incident = {
        one["incident"]: datetime.fromisoformat(one["done_at"]).timestamp() - wall
        for one in _every(port, "deliveries?account=stormy&state=cancelled&")
        if one["reason"] == "folded"
    }
    return {
        member["title"].split()[0]: of_incident[one["id"]]
        for one in _every(port, "incidents?account=stormy&")
        for member in one["members"]
        if one["id"] in of_incident
    }


def _figures(
    storm: Storm,
    posted: Mapping[str, float],
    calls: Sequence[Call],
    stands: Mapping[str, list[str]],
    folded_at: Mapping[str, float],
    quiet: Mapping[str, float],
) -> tuple[dict[str, Any], list[Promise]]:
    stormy = [call for call in calls if call.api == "pagerduty" and call.method != "GET"]
    creates = [call for call in stormy if call.path.endswith("/incidents") and call.method == "POST"]
    made = [call for call in creates if call.status == 201]
    limited = sum(call.status == 429 for call in calls)
    told = [call for call in stormy if call.status is not None and call.status < 300]
    shown = _shown(told, posted)
    at = _represented_at(posted, stands, told, shown, folded_at)
    critical = [one["fingerprint"] for one in storm.alerts if one["severity"] == "critical"]
    started = min(posted.values())
    waits = sorted(at[name] - posted[name] for name in critical if name in at)
    lasted = max(call.monotonic for call in made) - started if made else 0.0
    allowed = storm.limit.calls + lasted * storm.limit.calls / storm.limit.window_s
    figures = {
        "alerts": len(posted),
        "calls": len(stormy),
        "creates": len(made),
        "notes": sum(call.path.endswith("/notes") for call in told),
        "answered_429": limited,
        "named_in_a_text": sum(bool(found) for found in shown.values()),
        "not_represented": sum(name not in at for name in posted),
        "represented_twice": sum(len(found) > 1 or len(stands[name]) > 1 for name, found in shown.items()),
        "first_page_s": round(min((call.monotonic for call in made), default=float("inf")) - started, 3),
        "first_critical_s": round(min(waits, default=float("inf")), 3),
        "slowest_critical_s": round(max(waits, default=float("inf")), 3),
        "all_represented_s": round(max(at.values(), default=float("inf")) - max(posted.values()), 3),
        "storm_lasted_s": round(max(posted.values()) - started, 1),
        "limit_use": round(len(made) / allowed, 2) if allowed else 0.0,
    }
    promises = [
        Promise(what="alerts that nothing stands for", value=figures["not_represented"], at_most=0),
        Promise(what="alerts in two incidents", value=figures["represented_twice"], at_most=0),
        Promise(
            what="share of calls answered 429", value=limited / max(1, len(calls)), at_most=0.01 if storm.quiet else 0
        ),
    ]
    if storm.quiet:
        figures["quiet_p95_s"] = round(_p95(quiet, calls), 3)
        slot_s = storm.limit.window_s / storm.limit.calls
        within = float(storm.max_wait.rstrip("s")) + slot_s
        promises += [
            Promise(what="slowest critical, s", value=figures["slowest_critical_s"], at_most=within),
            Promise(what="quiet account p95, s", value=figures["quiet_p95_s"], at_most=2.0),
        ]
    else:
        promises += [
            Promise(what="calls", value=len(stormy), at_most=30),
            Promise(what="first page, s", value=figures["first_page_s"], at_most=0.5),
            Promise(what="first critical, s", value=figures["first_critical_s"], at_most=1.0),
            Promise(what="all critical, s", value=figures["slowest_critical_s"], at_most=10.0),
            Promise(what="all represented, s after the last", value=figures["all_represented_s"], at_most=30.0),
        ]
    return figures, promises


def _shown(told: Sequence[Call], posted: Mapping[str, float]) -> dict[str, set[str]]:
    """The calls' subjects (a create itself, or the incident of a note) whose text names each alert."""
    found: dict[str, set[str]] = {name: set() for name in posted}
    for call in told:
        text = json.dumps(call.body)
        subject = f"create {call.seq}" if call.path.endswith("/incidents") else call.path
        for part in text.split("alert-")[1:]:
            name = f"alert-{part[:5]}"
            if name in found:
                found[name].add(subject)
    return found


def _represented_at(
    posted: Mapping[str, float],
    stands: Mapping[str, list[str]],
    told: Sequence[Call],
    shown: Mapping[str, set[str]],
    folded_at: Mapping[str, float],
) -> dict[str, float]:
    """When the first call stood for each alert: the one that names it, else the one its incident was folded for."""
    named = {subject: call.monotonic for call in reversed(told) for subject in _subjects(call)}
    times = sorted(call.monotonic for call in told)
    found: dict[str, float] = {}
    for name in posted:
        if not stands[name]:
            continue
        texts = [named[one, name] for one in shown[name] if (one, name) in named]
        after = [one for one in times if one >= folded_at.get(name, float("inf")) - 0.05]
        if texts or after:
            found[name] = min(texts) if texts else after[0]
    return found


def _subjects(call: Call) -> Iterator[tuple[str, str]]:
    subject = f"create {call.seq}" if call.path.endswith("/incidents") else call.path
    for part in json.dumps(call.body).split("alert-")[1:]:
        yield subject, f"alert-{part[:5]}"


def _p95(posted: Mapping[str, float], calls: Sequence[Call]) -> float:
    """How long the quiet account's alerts took to their create, at the 95th of a hundred."""
    arrived: dict[str, float] = {}
    for call in calls:
        if call.api == "incident_io" and isinstance(call.body, dict) and "name" in call.body:
            arrived.setdefault(call.body["name"].split()[0], call.monotonic)
    waits = sorted(arrived.get(name, float("inf")) - at for name, at in posted.items())
    return percentile(waits, 0.95) if waits else 0.0


def _print(figures: Mapping[str, Any], promises: Sequence[Promise], as_json: bool) -> None:
    if as_json:
        kept = {one.what: {"value": one.value, "at_most": one.at_most, "kept": one.kept} for one in promises}
        print(json.dumps({**figures, "promises": kept}), flush=True)
        return
    print(
        f"{figures['part']}, {figures['ledger']}, seed {figures['seed']}: "
        f"{figures['alerts']} alerts in {figures['storm_lasted_s']} s"
    )
    for name, value in figures.items():
        if name not in ("part", "ledger", "seed", "alerts", "storm_lasted_s"):
            print(f"  {name.replace('_', ' '):<24} {value}")
    for one in promises:
        print(f"  {'kept  ' if one.kept else 'MISSED'} {one.what}: {one.value:g} (at most {one.at_most:g})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
