"""One try of a payload against a rule text, in a process of its own: whatever it holds, two seconds' work end it.

In, on stdin: JSON {config, source, headers, body, rules, in_force, folder, test}. Out, on stdout: JSON with what is
wrong with the rule text, at its lines, and the explanation; with `test` also the files of a rule test. The code is
that of `check` and `explain`; nothing is sent, and no ledger is opened.
"""

import json
import resource
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bridge import wiring
from bridge.config.models import Settings
from bridge.config.rule_files import RuleFiles
from bridge.domain.alert import Webhook
from bridge.domain.errors import ConfigError, Problem
from bridge.entrypoints.alone import book_alone
from bridge.entrypoints.captured import read_again, test_files
from bridge.explain.plain import as_json
from bridge.rules.book import RuleBook
from bridge.samples import Redactor

WITHIN_S = 2.0  # of a processor's time,
ON_A_BUSY_MACHINE_S = 10.0  # and of a clock's
ENDED_BY = (signal.SIGPROF, signal.SIGALRM)
MEMORY_MAX_BYTES = 1 << 30
FILE = "playground.yaml"


def main() -> int:
    """Answer one try; whoever started this reads the answer, or that the process was ended."""
    asked: dict[str, Any] = json.load(sys.stdin)
    settings = wiring.load_settings(Path(asked["config"]), receives=False)
    # from here on hostile input is at work: the kernel ends this process, whatever it is busy with
    for one in ENDED_BY:
        signal.signal(one, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, WITHIN_S)
    signal.setitimer(signal.ITIMER_REAL, ON_A_BUSY_MACHINE_S)
    _bound_memory()
    json.dump(answered(settings, asked), sys.stdout)
    return 0


def _bound_memory() -> None:
    """From here on more memory than a try may have is not to be had.

    Save on macOS: it refuses a limit below what every process spans from its start on, hundreds of gibibytes, as if it
    were above the hard one (issue 78783 of python/cpython; read 2026-11).
    """
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MEMORY_MAX_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_MAX_BYTES, hard)
    with suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))


def answered(settings: Settings, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one try, within no bounds but those of rules and templates themselves."""
    try:
        book, warnings = _book(settings, asked["rules"], asked["in_force"], Path(asked["folder"]))
    except ConfigError as error:
        return {"problems": [one.as_json() for one in error.problems]}
    answer: dict[str, Any] = {"problems": [one.as_json() for one in warnings]}
    webhook = Webhook(
        source=asked["source"],
        headers=MappingProxyType({"content-type": "application/json", **asked["headers"]}),
        body=asked["body"].encode("utf-8", "replace"),
        received_at=datetime.now(UTC),
    )
    sources = wiring.sources(settings)
    readings = read_again(sources, webhook)
    if isinstance(readings, str):
        return {**answer, "unreadable": readings}
    answer["explanation"] = as_json(wiring.explained(settings, book, readings, source=webhook.source))
    if asked["test"]:
        files = test_files(
            settings,
            book,
            sources[webhook.source],
            webhook,
            stem="playground",
            about="Made in the playground, redacted.",
            redactor=Redactor(),
        )
        answer["files"] = {str(path): content.decode("utf-8", "replace") for path, content in files.items()}
    return answer


def _book(settings: Settings, text: str, in_force: str | None, folder: Path) -> tuple[RuleBook, tuple[Problem, ...]]:
    """The rule text as the whole rule book; without one, the rules in force. Raises ConfigError.

    Those are not what the files hold now, which a reload may have refused; `in_force` is None where nobody knows them.
    """
    if text.strip():
        return book_alone(settings, text, folder, FILE)
    if in_force is None:
        return wiring.rule_book(settings)
    return wiring.book_of(settings, RuleFiles.from_json(in_force))


if __name__ == "__main__":
    sys.exit(main())
