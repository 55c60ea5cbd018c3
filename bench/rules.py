"""Large rule books: what one alert costs among 10,000 rules and among 10, and how long `check` takes.

    python -m bench.rules [--small 10] [--large 10000] [--checked 1000] [--rounds 7] [--json]

The rules are those of a generated file: each wants a source, a severity, a team's label, a pattern in the title and an
environment that is not a trial's, and fills in a template of its own. `decide` is production's, rendering included; the
median of the rounds counts, large and small in turn. `check` is the command, from its start to its end. Exit 1: a
promise is not kept.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import MappingProxyType

from bridge import wiring
from bridge.destinations.base import Destination
from bridge.domain.alert import Alert, Severity, Status
from bridge.pipeline import decide
from bridge.rules.book import RuleBook

ROOT = Path(__file__).parent.parent
RATIO_MAX = 2.0
CHECK_MAX_S = 2.0
CALLS = 200  # of decide, timed together
RULE = """  - id: rule-{number}
    match:
      source: datadog
      severity: [critical, error]
      labels.team: team-{number}
      title: {{regex: '^pg-{number}[-_]'}}
      not: {{labels.env: [dev, staging]}}
    dedup: [source, labels.team, payload.alert_id]
    incident:
      title: "[{{{{ alert.severity | upper }}}}] {{{{ alert.labels.host | d('of {number}') }}}}: {{{{ alert.title }}}}"
      service: Postgres Primary
      urgency: high
      priority: {{from: severity, map: {{critical: P1, error: P2}}, else: P3}}
      body: {{template: incident-details.txt.j2}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure and what it must hold."""

    name: str
    value: float
    unit: str
    limit: float

    @property
    def holds(self) -> bool:
        """Whether it is within its limit."""
        return self.value <= self.limit


def configuration(folder: Path, rules: int) -> Path:
    """A bridge.yaml with so many rules; answers where it lies."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "bridge.yaml", folder)
    shutil.copytree(ROOT / "templates", folder / "templates")
    (folder / "rules").mkdir()
    written = "".join(RULE.format(number=number) for number in range(rules))
    text = f"defaults: {{account: pagerduty-prod}}\nrules:\n{written}unmatched: record\n"
    for number, part in enumerate(_parts(text)):
        (folder / "rules" / f"{number:03}.yaml").write_text(part)
    return folder / "bridge.yaml"


def _parts(text: str, rules_max: int = 2_000) -> list[str]:
    """One file's text as several files, each within what a file may hold."""
    head, rest = text.split("rules:\n", 1)
    entries, tail = rest.rsplit("unmatched:", 1)
    rules = [f"  - id: {one}" for one in entries.split("  - id: ")[1:]]
    parts = [rules[at : at + rules_max] for at in range(0, len(rules), rules_max)]
    files = [f"{head}rules:\n{''.join(part)}" for part in parts]
    return [*files[:-1], f"{files[-1]}unmatched:{tail}"]


def alert(number: int) -> Alert:
    """What rule `number` of a generated book matches, and no other."""
    return Alert(
        source="datadog",
        source_type="datadog",
        fingerprint=f"fp-{number}",
        status=Status.FIRING,
        severity=Severity.CRITICAL,
        title=f"pg-{number}_replica lags",
        description="Replication lag is over 30 s.",
        payload=MappingProxyType({"alert_id": str(number)}),
        labels=MappingProxyType({"team": f"team-{number}", "env": "prod"}),
    )


def decide_s(book: RuleBook, destinations: Mapping[str, Destination], one: Alert) -> float:
    """Seconds that one alert takes, of CALLS in a row."""
    began = time.perf_counter()
    for _ in range(CALLS):
        decide((one,), book, destinations)
    return (time.perf_counter() - began) / CALLS


def compared(small: Path, large: Path, numbers: tuple[int, int], rounds: int) -> list[Figure]:
    """What an alert costs in both books: one that the last rule matches, and one that none does."""
    books = [wiring.load(config) for config in (small, large)]
    destinations = wiring.destinations(books[0].settings)
    figures = []
    for name, wanted in (("the last rule matches", numbers), ("no rule matches", (10**9, 10**9))):
        took: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for held, loaded, number in zip(took, books, wanted, strict=True):
                held.append(decide_s(loaded.book, destinations, alert(number)))
        of_small, of_large = (1e6 * median(held) for held in took)
        what = f"decide, {name}: {numbers[1] + 1:,} rules {of_large:.0f} us, {numbers[0] + 1} rules {of_small:.0f} us"
        figures.append(Figure(name=what, value=of_large / of_small, unit="x", limit=RATIO_MAX))
    return figures


def checked(config: Path, rules: int, rounds: int) -> Figure:
    """How long `check` takes: the best of some runs, for a busy machine only ever adds to it."""
    command = [sys.executable, "-m", "bridge.entrypoints.cli", "check", "--offline", "--config", str(config)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    took = []
    for _ in range(rounds):
        began, worked = time.perf_counter(), _of_children_s()
        subprocess.run(command, env=environment, check=True, capture_output=True)
        took.append((time.perf_counter() - began, _of_children_s() - worked))
    wall_s, processor_s = min(took)
    name = f"check of {rules:,} rules (of it {processor_s:.2f} s on a processor)"
    return Figure(name=name, value=wall_s, unit="s", limit=CHECK_MAX_S)


def _of_children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and answer whether all is held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=10, help="rules of the small book")
    parser.add_argument("--large", type=int, default=10_000, help="rules of the large book")
    parser.add_argument("--checked", type=int, default=1_000, help="rules that `check` reads")
    parser.add_argument("--rounds", type=int, default=7, help="measurements of each")
    parser.add_argument("--json", action="store_true", help="print JSON for a script")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="ib-bench", dir=os.environ.get("BENCH_DIR")) as folder:
        small, large, many = (
            configuration(Path(folder) / str(at), rules)
            for at, rules in enumerate((options.small, options.large, options.checked))
        )
        figures = [
            *compared(small, large, (options.small - 1, options.large - 1), options.rounds),
            checked(many, options.checked, options.rounds),
        ]
    if options.json:
        print(json.dumps([{"name": f.name, "value": f.value, "unit": f.unit, "limit": f.limit} for f in figures]))
    else:
        width = max(len(figure.name) for figure in figures)
        for figure in figures:
            mark = "" if figure.holds else "  NOT HELD"
            print(f"{figure.name:{width}}  {figure.value:5.2f} {figure.unit}, at most {figure.limit:g}{mark}")
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
