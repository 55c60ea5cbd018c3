"""Tries of the playground: a process of its own for each, few at a time, and a sentence for whatever ends one."""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bridge.config.rule_files import RuleFiles
from bridge.entrypoints.trial import ENDED_BY, WITHIN_S

TEXT_MAX_BYTES = 64 * 1024  # of a payload, and of a rule text
AT_ONCE = 2
STARTS_WITHIN_S = 30.0  # imports included, on a busy machine
ANSWER_MAX_BYTES = 4 << 20


class TrialRefused(Exception):
    """A try that is not made, or that ended without an answer; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is tried: a body of a source against a rule text, or, where that is empty, the rules in force."""

    source: str
    body: str
    rules: str
    headers: Mapping[str, str] = field(default_factory=dict)
    test: bool = False  # whether the files of a rule test are wanted


class Trials:
    """Makes tries, AT_ONCE of them at a time."""

    def __init__(self, config: Path, in_force: Callable[[], RuleFiles | None] = lambda: None) -> None:
        """`in_force` are the rules that decide now; None: those on disk."""
        self._config, self._in_force = config, in_force
        self._free = threading.BoundedSemaphore(AT_ONCE)

    def made(self, trial: Trial) -> dict[str, Any]:
        """What bridge.entrypoints.trial answers. Raises TrialRefused."""
        for what, text in (("payload", trial.body), ("rule text", trial.rules)):
            size = len(text.encode("utf-8", "replace"))
            if size > TEXT_MAX_BYTES:
                raise TrialRefused(f"the {what} has {size:,} bytes; the playground takes up to {TEXT_MAX_BYTES:,}")
        if not self._free.acquire(timeout=WITHIN_S):
            raise TrialRefused("others are trying something just now; try again in a few seconds")
        try:
            with tempfile.TemporaryDirectory(prefix="ib-trial-") as folder:
                return self._run(trial, folder)
        finally:
            self._free.release()

    def _run(self, trial: Trial, folder: str) -> dict[str, Any]:
        in_force = None if trial.rules.strip() else self._in_force()
        asked = {
            "config": str(self._config.absolute()),
            "source": trial.source,
            "headers": dict(trial.headers),
            "body": trial.body,
            "rules": trial.rules,
            "in_force": None if in_force is None else in_force.as_json(),
            "folder": folder,
            "test": trial.test,
        }
        try:
            ended = subprocess.run(
                [sys.executable, "-m", "bridge.entrypoints.trial"],
                input=json.dumps(asked).encode(),
                capture_output=True,
                timeout=STARTS_WITHIN_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TrialRefused(f"no answer within {STARTS_WITHIN_S:g} s; the machine is busy, try again") from error
        if -ended.returncode in ENDED_BY:
            raise TrialRefused(
                f"stopped after {WITHIN_S:g} s: this rule text or payload takes too long to work through"
            )
        if ended.returncode != 0 or len(ended.stdout) > ANSWER_MAX_BYTES:
            raise TrialRefused("the try came to no answer: the rule text or payload needs more than a try may have")
        answer: dict[str, Any] = json.loads(ended.stdout)
        return answer
