"""Kill -9 and upstream faults while webhooks come in: is anything lost, doubled or stuck, and how long does it take?

    python -m bench.chaos [--webhooks 10000] [--kills 200] [--rounds 10] [--seed 1] [--ledger postgresql] [--json]

`incident-bridge up` runs beside a stand-in of both upstreams that is never killed and is the judge. In every round
senders post alerts, and again until they are answered 2xx; most problems also recover. Meanwhile web, its children,
workers, clock and Redis are killed at random moments, Redis is emptied, and the stand-in loses answers, fails after the
effect, fails before it, and answers 429. Then it is quiet until the ledger owes nothing: the time from the last blow to
that moment is the round's recovery.

    lost      accepted, and neither an incident upstream nor cancelled because it recovered before it was sent
    doubled   more than one incident upstream for one problem
    stuck     a delivery that is not final at the end, an incident open upstream whose problem is over, or the reverse
"""

import argparse
import json
import os
import random
import re
import signal
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.load import (
    children_of,
    configured,
    empty_ledger,
    free_port,
    is_alive,
    running_bridge,
    running_sandbox,
    wait_for,
)

ACCOUNTS = ("pd-0", "pd-1", "io-0", "io-1")
SENDERS = 6
RECOVERS = 0.6  # share of the problems that end within their round
SETTLED_WITHIN_S = 120.0
FAST = "rate: 100000/s, burst: 10000, update_rate: 100000/s"
CONFIG = """
server: {{listen: 127.0.0.1:{port}, public_url: "http://127.0.0.1:{port}"}}
ledger: {ledger}
rules: rules/
sources: {{lab: {{type: generic, auth: none}}}}
accounts:
"""
OF_TYPE = {
    "pd": "type: pagerduty, token: sandbox, from: incident-bridge@example.com, defaults: {service: Catch-all}",
    "io": "type: incident_io, api_key: sandbox, defaults: {severity: Minor}",
}
INCIDENTS = {
    "pd": 'title: "{{ alert.title }}", service: Catch-all',
    "io": 'name: "{{ alert.title }}", severity: Minor',
}
RULE = '  - {{id: {name}, account: {name}, match: {{labels.account: "{name}"}}, incident: {{{incident}}}}}\n'
UPSTREAM_FAULTS: tuple[dict[str, Any], ...] = (
    {"effect": True, "drop": True},
    {"drop": True},
    {"effect": True, "status": 502, "body": "<html>bad gateway</html>"},
    {"status": 503, "body": ""},
    {"status": 429, "headers": {"Retry-After": "1"}, "body": ""},
    {"delay_s": 1.5},
)
_STARTED = re.compile(r"^incident-bridge: (web|worker\.\d+|clock) started, pid (\d+)$", re.MULTILINE)
_VALKEY = re.compile(r'"pid": (\d+), "event": "valkey_started"')


@dataclass(slots=True)
class Told:
    """What the senders know: problems that were accepted as firing, and those whose end was."""

    firing: dict[str, str] = field(default_factory=dict)  # title -> account
    over: set[str] = field(default_factory=set)
    repeats: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the stand-in and the ledger show at the end."""

    lost: list[str]
    doubled: list[str]
    stuck: list[str]
    dead: list[str]  # dead letters, which nothing here should make


def main() -> int:
    """Print what was lost, doubled or stuck, and the worst recovery; exit code 1 when a figure is not held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--webhooks", type=int, default=10_000, help="firing and ends together, about")
    parser.add_argument("--kills", type=int, default=200, help="kill -9 in all, over the rounds")
    parser.add_argument("--rounds", type=int, default=10, help="storms with a quiet time after each")
    parser.add_argument("--seed", type=int, default=1, help="of every random choice but the operating system's")
    parser.add_argument("--ledger", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args()
    accounts = "".join(f"  {name}: {{{OF_TYPE[name[:2]]}, {FAST}}}\n" for name in ACCOUNTS)
    rules = "".join(RULE.format(name=name, incident=INCIDENTS[name[:2]]) for name in ACCOUNTS)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ibc", dir="/tmp")))
        ledger = stack.enter_context(empty_ledger(options.ledger))
        port, sandbox_url = free_port(), stack.enter_context(running_sandbox())
        configured(folder, CONFIG.format(port=port, ledger=ledger) + accounts, f"rules:\n{rules}unmatched: record\n")
        stack.enter_context(running_bridge(folder, port, sandbox_url=sandbox_url))
        victim = Victim(folder, port, sandbox_url)
        stack.callback(victim.close)
        result = _run(victim, options)
    if options.as_json:
        print(json.dumps(result))
    else:
        print(
            f"{result['ledger']}, seed {result['seed']}: "
            f"{result['webhooks']} webhooks ({result['repeats']} posted again), "
            f"{result['kills']} kills ({', '.join(f'{n} {what}' for what, n in sorted(result['killed'].items()))}), "
            f"{result['faults']} upstream faults: lost {len(result['lost'])}, doubled {len(result['doubled'])}, "
            f"stuck {len(result['stuck'])}, dead letters {len(result['dead'])}, "
            f"worst recovery {result['worst_recovery_s']:.1f} s, took {result['took_s']:.0f} s"
        )
        for name in ("lost", "doubled", "stuck", "dead"):
            for one in result[name][:10]:
                print(f"  {name}: {one}")
    held = not any(result[name] for name in ("lost", "doubled", "stuck", "dead")) and result["worst_recovery_s"] <= 35
    return 0 if held else 1


def _run(victim: "Victim", options: argparse.Namespace) -> dict[str, Any]:
    chance = random.Random(options.seed)
    told, killed, faults = Told(), Counter[str](), 0
    recoveries = []
    started = time.monotonic()
    problems = round(options.webhooks / (1 + RECOVERS))
    for number in range(options.rounds):
        some = range(problems * number // options.rounds, problems * (number + 1) // options.rounds)
        kills = options.kills * (number + 1) // options.rounds - options.kills * number // options.rounds
        done = threading.Event()
        blows = threading.Thread(target=lambda: _blows(victim, chance, kills, killed, done))  # noqa: B023 - joined below
        blows.start()
        faults += _upstream_faults(victim, chance, len(some) // 25)
        _storm(victim, random.Random(chance.random()), some, told)
        done.set()
        blows.join()
        victim.misbehave(None)
        last_blow = time.monotonic()
        wait_for(lambda: victim.owes() == 0, SETTLED_WITHIN_S)
        recoveries.append(time.monotonic() - last_blow)
        if not options.as_json:
            print(
                f"round {number + 1:2}: {len(told.firing)} problems, {sum(killed.values())} kills, "
                f"recovered in {recoveries[-1]:.1f} s",
                file=sys.stderr,
                flush=True,
            )
    verdict = _judge(victim, told)
    return {
        "ledger": options.ledger,
        "seed": options.seed,
        "webhooks": len(told.firing) + len(told.over),
        "repeats": told.repeats,
        "kills": sum(killed.values()),
        "killed": dict(killed),
        "faults": faults,
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "stuck": verdict.stuck,
        "dead": verdict.dead,
        "worst_recovery_s": max(recoveries),
        "took_s": time.monotonic() - started,
    }


# ---- what happens ----------------------------------------------------------------------------------------------------


def _storm(victim: "Victim", chance: random.Random, numbers: range, told: Told) -> None:
    """Every problem of a round fires; a share of them ends a little later."""
    work: list[tuple[str, str, bool]] = []
    for number in numbers:
        title, account = f"chaos {number}", chance.choice(ACCOUNTS)
        work.append((title, account, True))
        if chance.random() < RECOVERS:
            work.insert(max(0, len(work) - chance.randrange(40)), (title, account, False))
    order: dict[str, int] = {}
    for index, (title, _, fires) in enumerate(work):  # an end never comes before its beginning
        if fires:
            order[title] = index
    work.sort(key=lambda one: order[one[0]] + (0 if one[2] else 60))
    lock, queue = threading.Lock(), iter(work)
    waiting: dict[str, threading.Event] = {title: threading.Event() for title in order}

    def send() -> None:
        while True:
            with lock:
                item = next(queue, None)
            if item is None:
                return
            title, account, fires = item
            if not fires:
                waiting[title].wait()
            told.repeats += victim.post(title, account, fires=fires)
            if fires:
                told.firing[title] = account
                waiting[title].set()
            else:
                told.over.add(title)

    threads = [threading.Thread(target=send) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _blows(victim: "Victim", chance: random.Random, number: int, killed: Counter[str], done: threading.Event) -> None:
    """So many kills, a moment apart; when the storm is over first, the rest come at once."""
    for _ in range(number):
        what = chance.choice(("web", "web child", "worker", "worker", "clock", "redis", "flush"))
        while not victim.strike(what):
            time.sleep(0.05)
        if what == "flush":  # kills nobody: a kill goes with it
            what = "worker"
            while not victim.strike(what):
                time.sleep(0.05)
        killed[what] += 1
        done.wait(0.05 + chance.random() * 0.4)


def _upstream_faults(victim: "Victim", chance: random.Random, number: int) -> int:
    """Queue faults for calls to come: each meets one call of one upstream."""
    script = []
    for _ in range(number):
        match = {"api": chance.choice(("pagerduty", "incident_io"))}
        if chance.random() < 0.7:
            match["method"] = "POST"
        script.append({"match": match, "times": 1, "do": chance.choice(UPSTREAM_FAULTS)})
    victim.misbehave(script)
    return number


def _judge(victim: "Victim", told: Told) -> Verdict:
    upstream = victim.upstream()
    number = Counter(upstream_title for upstream_title, _ in upstream)
    is_open = dict(upstream)
    ours = victim.incidents()
    cancelled = {title for title, state in ours if state == "cancelled"}
    lost = [title for title in told.firing if not number[title] and not (title in told.over and title in cancelled)]
    wrong = [title for title, open_ in is_open.items() if open_ == (title in told.over)]
    owed = [f"{victim.owes()} deliveries are not final"] if victim.owes() else []
    return Verdict(
        lost=lost,
        doubled=[title for title, n in number.items() if n > 1],
        stuck=wrong + owed,
        dead=victim.dead(),
    )


# ---- the bridge and its upstream -------------------------------------------------------------------------------------


class Victim:
    """`incident-bridge up` on a stand-in, with what it takes to hurt it and to ask it."""

    def __init__(self, folder: Path, port: int, sandbox_url: str) -> None:
        self._folder, self._port, self.sandbox_url = folder, port, sandbox_url
        self._log = folder / "log"
        os.environ.update({"BRIDGE_SANDBOX_URL": sandbox_url, "BRIDGE_SANDBOX": "1"})  # for our own look at it
        from bridge import wiring

        self._ledger: Any = wiring.open_ledger(wiring.load_settings(folder / "bridge.yaml"))

    def close(self) -> None:
        """Look no more."""
        self._ledger.close()

    def log(self) -> str:
        """What it said so far."""
        return self._log.read_text(errors="replace")

    def post(self, title: str, account: str, *, fires: bool) -> int:
        """Post one report until it is answered 2xx; how many times it had to be posted again."""
        content = {
            "title": title,
            "fingerprint": title,
            "status": "firing" if fires else "resolved",
            "severity": "error",
            "labels": {"account": account},
        }
        url = f"http://127.0.0.1:{self._port}/webhooks/lab"
        request = urllib.request.Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
        again = 0
        while True:
            try:
                with urllib.request.urlopen(request, timeout=15) as answer:
                    if answer.status == 202:
                        return again
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
            again += 1

    def strike(self, what: str) -> bool:
        """Kill one process of that kind now; false when none is there to be killed."""
        if what == "flush":
            return self._flushed()
        pids = self._pids(what)
        if not pids:
            return False
        try:
            os.kill(random.choice(pids), signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def _pids(self, what: str) -> list[int]:
        log = self.log()
        if what == "redis":
            return [pid for pid in map(int, _VALKEY.findall(log)[-1:]) if is_alive(pid)]
        latest = {name: int(pid) for name, pid in _STARTED.findall(log)}
        kind = "web" if what == "web child" else what
        of_kind = [pid for name, pid in latest.items() if name.partition(".")[0] == kind and is_alive(pid)]
        return [child for pid in of_kind for child in children_of(pid)] if what == "web child" else of_kind

    def _flushed(self) -> bool:
        import redis

        from bridge.adapters.valkey import ValkeyKeeper

        try:
            redis.Redis.from_url(ValkeyKeeper(self._folder / "var").url).flushall()
        except redis.RedisError:
            return False
        return True

    def misbehave(self, script: list[dict[str, Any]] | None) -> None:
        """What the upstreams do to the next calls; None: nothing any more."""
        url = f"{self.sandbox_url}/_sandbox/script"
        data = None if script is None else json.dumps(script).encode()
        method = "DELETE" if script is None else "POST"
        headers = {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=20).close()

    def upstream(self) -> list[tuple[str, bool]]:
        """Title of every incident upstream, and whether it is open."""
        with urllib.request.urlopen(f"{self.sandbox_url}/_sandbox/incidents", timeout=60) as answer:
            items = json.load(answer)["items"]
        return [(one["title"], one["state"] not in ("resolved", "closed")) for one in items]

    def incidents(self) -> list[tuple[str, str]]:
        """Title and state of every incident of the ledger."""
        found: list[tuple[str, str]] = []
        before = None
        while True:
            page = self._asked(lambda: self._ledger.incidents(limit=500, before=before))  # noqa: B023 - called at once
            found += [(one["title"], one["state"]) for one in page.items]
            before = page.next
            if before is None:
                return found

    def dead(self) -> list[str]:
        """Why each dead letter is one (of the newest 500)."""
        page = self._asked(lambda: self._ledger.deliveries(state="dead", limit=500, before=None))
        return [f"{one['account']} {one['action']} {one['reason']}: {one['detail']}" for one in page.items]

    def owes(self) -> int:
        """Deliveries that are not final; of more than 500 in a state, 500."""
        return self.counted("pending") + self.counted("sending")

    def counted(self, state: str) -> int:
        """Deliveries in this state, 500 at most."""
        page = self._asked(lambda: self._ledger.deliveries(state=state, limit=500, before=None))
        return len(page.items)

    def _asked(self, ask: Callable[[], Any]) -> Any:
        for _ in range(50):
            try:
                return ask()
            except Exception as error:  # noqa: BLE001 - busy, or between two processes: asked again, then raised
                last = error
                time.sleep(0.1)
        raise last


if __name__ == "__main__":
    sys.exit(main())
