"""Reload: files are checked, the rules' own tests are run, and the book is in force on every host; or nothing changes.

Checking and testing are the commands `check` and `test`, each in a process of its own that is bounded in time: whatever
the rules hold, the process that reloads goes on answering. What changes is rules and templates, never bridge.yaml.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from bridge import wiring
from bridge.adapters import logs
from bridge.adapters.ledger import Ledger, StoredBook
from bridge.config.rule_files import RuleFiles
from bridge.domain.access import Deed, How, Role, Who
from bridge.domain.errors import BridgeError, ConfigError
from bridge.rules.changes import BookChanges, changes_between

WITHIN_S = 60.0  # check, and the rules' tests
AGAIN_MAX = 3  # when files change while they are looked at
SAID_MAX = 20  # problems in one line of the log
_PLACE = re.compile(r"(?P<file>\S[^:]*):(?P<line>[0-9]+):(?P<column>[0-9]+): (?P<message>.*)")


class ReloadRefused(BridgeError):
    """A reload that cannot be made now: another is under way, or the files are not those that were looked at."""


class State(StrEnum):
    """What became of a reload."""

    TAKEN = "taken"
    UNCHANGED = "unchanged"
    WOULD_TAKE = "would_take"  # a dry run that found nothing wrong
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tests:
    """What came of the rules' own tests; `never_matched` are rules that no test hits."""

    run: int = 0
    failed: tuple[Mapping[str, Any], ...] = ()
    never_matched: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """In words."""
        if not self.run:
            return "there are no tests"
        passing = "1 test passes" if self.run == 1 else f"{self.run} tests pass"
        return f"{len(self.failed)} of {self.run} tests fail" if self.failed else passing


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """What became of one reload. Problems and warnings are as `check --json` has them.

    What is wrong with files that are in force as they are keeps nothing out: it is a warning of grade "error".
    """

    state: State
    book: str | None  # in force after it
    before: str | None  # in force before it
    found: str | None  # the book of the files; None when they hold none
    digest: str  # of the files that were looked at
    problems: tuple[Mapping[str, Any], ...] = ()
    warnings: tuple[Mapping[str, Any], ...] = ()
    tests: Tests = field(default_factory=Tests)
    changes: BookChanges | None = None
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For the API."""
        return {
            "state": self.state.value,
            "book": self.book,
            "before": self.before,
            "found": self.found,
            "digest": self.digest,
            "problems": list(self.problems),
            "warnings": list(self.warnings),
            "tests": {
                "run": self.tests.run,
                "failed": list(self.tests.failed),
                "never_matched": list(self.tests.never_matched),
            },
            "changes": None if self.changes is None else self.changes.as_json(),
            "sentence": self.sentence,
            "notes": list(self.notes),
        }

    @property
    def sentence(self) -> str:
        """In words."""
        what = "" if self.changes is None else self.changes.sentence
        match self.state:
            case State.REFUSED:
                number = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
                return f"not taken: {number}; the rules in force stay"
            case State.UNCHANGED:
                wrong = sum(one["grade"] == "error" for one in self.warnings)
                known = "1 problem is known" if wrong == 1 else f"{wrong} problems are known"
                though = f", though {known}" if wrong else ""
                return f"the files are what is in force already{though}; {self.tests.sentence}"
            case State.WOULD_TAKE:
                return f"would be taken: {what}; {self.tests.sentence}"
            case State.TAKEN:
                return f"in force: {what}; {self.tests.sentence}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What the commands say of the files."""

    said: list[dict[str, Any]]  # by `check`
    tests: Tests = field(default_factory=Tests)
    wrong: list[dict[str, Any]] = field(default_factory=list)  # by what came of `test`
    has_checked: bool = True  # whether `check` came to an end


class Reloader:
    """Reloads for one process; `took` is called once a book was made current, with the lanes to look at again."""

    def __init__(
        self,
        loaded: wiring.Loaded,
        ledger: Ledger,
        took: Callable[[frozenset[str]], None] = lambda _lanes: None,
        *,
        within_s: float = WITHIN_S,
    ) -> None:
        self._settings, self._ledger, self._took = loaded.settings, ledger, took
        self._config = loaded.config_digest
        self._within_s = within_s
        self._one = threading.Lock()

    @property
    def place(self) -> str:
        """What this host and configuration are called in the ledger."""
        return wiring.origin(self._settings, "", "").place

    def reload(self, by: str, *, dry_run: bool = False, digest: str | None = None, waits: bool = False) -> Reloaded:
        """Take the files as they are now, if nothing is wrong with them; `by` is who asks.

        A dry run only says what would become of it. With a `digest`, only files of that digest are taken. Raises
        ReloadRefused.
        """
        if not self._one.acquire(blocking=waits):
            raise ReloadRefused("a reload is under way; look at it and try again")
        try:
            done = self._reloaded(by, dry_run=dry_run, digest=digest)
        except BridgeError:
            raise
        except Exception as error:  # noqa: BLE001 - else nobody but the log would know that the files are not in force
            logs.get().error(logs.TASK_FAILED, task="reload", exc_info=True)
            done = self._failed(error, by, dry_run=dry_run)
        finally:
            self._one.release()
        self._log(by, done, dry_run=dry_run)
        return done

    def audited(self, why: str, done: Reloaded) -> None:
        """A reload that nobody asked for by name (files changed, a signal came) is in the audit like any other."""
        if done.state is not State.UNCHANGED:
            who = Who(name=why, role=Role.ADMIN, how=How.HOST, address=self.place)
            detail = {"state": done.state.value, "book": done.book}
            self._ledger.did(Deed(who=who, action="reload", what="rules", detail=detail))

    @property
    def files_differ(self) -> bool:
        """Whether the files on this host are others than those in force; their texts alone are compared."""
        current = self._current()
        try:
            return current is None or RuleFiles.from_json(current.files) != wiring.rule_files(self._settings)
        except ConfigError:
            return True  # one of them cannot be read

    @property
    def has_new_configuration(self) -> bool:
        """Whether bridge.yaml is another one than this process works with."""
        return wiring.config_digest(self._settings) != self._config

    def _reloaded(self, by: str, *, dry_run: bool, digest: str | None) -> Reloaded:
        for _ in range(AGAIN_MAX):
            looked = wiring.rules_digest(self._settings)
            if digest is not None and looked != digest:
                raise ReloadRefused("the files changed since they were looked at; look again")
            done, loaded = self._looked_at(looked)
            if wiring.rules_digest(self._settings) == looked:
                break
        else:
            raise ReloadRefused("the files change all the time; try again when they are written")
        origin = wiring.origin(self._settings, looked, by)
        if dry_run:
            return done
        if loaded is None:
            self._ledger.reload_refused(done.problems, by, origin)
            return done
        is_new = self._ledger.book_taken(wiring.stored_book(loaded), origin)
        self._took(self._ledger.parked_probed())
        state = State.TAKEN if is_new else State.UNCHANGED
        return _with_state(done, state, book=loaded.book.hash)

    def _failed(self, error: Exception, by: str, *, dry_run: bool) -> Reloaded:
        """What becomes of a reload that ends by a fault of ours: it is refused, and people are told so."""
        problems = (our_fault(self._settings.rules_dir.name, error),)
        looked = ""
        with suppress(Exception):  # it may be what failed
            looked = wiring.rules_digest(self._settings)
        current = self._ledger.in_force().book
        if not dry_run:
            self._ledger.reload_refused(problems, by, wiring.origin(self._settings, looked, by) if looked else None)
        return Reloaded(state=State.REFUSED, book=current, before=current, found=None, digest=looked, problems=problems)

    def _looked_at(self, digest: str) -> tuple[Reloaded, wiring.Loaded | None]:
        """What would become of the files as they are; None beside it when something is wrong with them."""
        current = self._current()
        before = None if current is None else current.hash
        found = self._commands()
        said = found.said
        loaded: wiring.Loaded | None = None
        try:
            # what `check` could not come to an end with would hold up the process that answers webhooks
            loaded = wiring.load_rules(self._settings) if found.has_checked else None
        except ConfigError as error:
            # what only this process finds wrong: it works with another bridge.yaml than the one on disk
            said = [*said, *(one for one in (problem.as_json() for problem in error.problems) if one not in said)]
        problems = [one for one in said if one["grade"] == "error"]
        problems += found.wrong if not problems else []
        notes = []
        if self.has_new_configuration:
            notes = ["bridge.yaml changed, too; a reload leaves it alone: restart to take it"]
        is_same = current is not None and loaded is not None and wiring.stored_book(loaded) == current
        if is_same:  # nothing is kept out: a name may be gone upstream, or a test may have changed
            said, problems = [*said, *(one for one in problems if one not in said)], []
        state = State.REFUSED if problems else State.UNCHANGED if is_same else State.WOULD_TAKE
        done = Reloaded(
            state=state,
            book=before,
            before=before,
            found=None if loaded is None else loaded.book.hash,
            digest=digest,
            problems=tuple(problems),
            warnings=tuple(one for one in said if one not in problems),
            tests=found.tests,
            changes=None if loaded is None else _changes(current, loaded),
            notes=tuple(notes),
        )
        return done, None if problems else loaded

    def _current(self) -> StoredBook | None:
        book = self._ledger.in_force().book
        return None if book is None else self._ledger.book(book)

    def _commands(self) -> _Found:
        """What `check` and `test` find."""
        config = self._settings.config_path
        with _Command("check", config) as checking, _Command("test", config) as testing:
            checked = checking.answer(self._within_s)
            if isinstance(checked, str):
                return _Found(said=[_told(config.name, f"'check' {checked}")], has_checked=False)
            said = list(checked["problems"])
            if not checked["ok"]:
                return _Found(said=said)
            tested = testing.answer(self._within_s)
        if not isinstance(tested, str) and "tests" not in tested:  # the files changed between the two
            return _Found(said=said, wrong=list(tested["problems"]))
        if isinstance(tested, str):
            return _Found(said=said, wrong=_said_by_tests(tested, self._settings.rules_dir.name))
        failed = [one for one in tested["tests"] if not one["ok"]]
        tests = Tests(
            run=len(tested["tests"]), failed=tuple(failed), never_matched=tuple(tested.get("never_matched", ()))
        )
        wrong = [_of_test(one) for one in failed]
        if not wrong and not tested["ok"]:
            wrong = _said_by_tests(testing.said, self._settings.rules_dir.name)
        return _Found(said=said, tests=tests, wrong=wrong)

    def _log(self, by: str, done: Reloaded, *, dry_run: bool) -> None:
        if dry_run:
            return
        if done.state is State.REFUSED:
            lines = [f"{one['file']}:{one['line']}:{one['column']}: {one['message']}" for one in done.problems]
            logs.get().error(logs.RELOAD_REFUSED, by=by, problems=lines[:SAID_MAX], number=len(lines))
            return
        logs.get().info(logs.RELOAD_FINISHED, by=by, state=done.state.value, book=done.book, text=done.sentence)


def published(loaded: wiring.Loaded, ledger: Ledger, by: str) -> bool:
    """A start with these files: they are in force by that when they changed since they were last looked at here."""
    return ledger.book_started(wiring.stored_book(loaded), wiring.origin(loaded.settings, loaded.digest, by))


def is_worth_another_try(loaded: wiring.Loaded, ledger: Ledger) -> bool:
    """Whether a reload refused these files when all was not as it is now: a variable was missing, bridge.yaml differed.

    They were read without a fault now. A start does not take them by itself, for their tests may have failed.
    """
    return ledger.was_book_refused(wiring.origin(loaded.settings, loaded.digest, ""))


class _Command:
    """One of our own commands at work in a process of its own; a context manager that leaves none behind."""

    def __init__(self, name: str, config: Path) -> None:
        self._name = name
        self.said = ""
        own = str(Path(wiring.__file__).parent.parent)
        path = os.pathsep.join(filter(None, (own, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "bridge.entrypoints.cli", name, "--json", "--config", str(config)],
            cwd=config.parent,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self._step_aside()

    def __enter__(self) -> "_Command":
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def answer(self, within_s: float) -> Any:
        """The JSON it printed; else, as a text, why there is none."""
        try:
            out, self.said = self._process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            return f"took longer than {within_s:g} s and was ended"
        try:
            return json.loads(out)
        except ValueError:
            if self._process.returncode < 0:
                return f"was ended by {signal.Signals(-self._process.returncode).name}"
            return self.said.strip() or "said nothing"

    def _step_aside(self) -> None:
        """It inherits our one CPU, where we answer webhooks: give it the others as well."""
        if sys.platform == "linux":
            with suppress(OSError):
                os.sched_setaffinity(self._process.pid, range(os.cpu_count() or 1))


def _changes(current: StoredBook | None, loaded: wiring.Loaded) -> BookChanges:
    old = {} if current is None else RuleFiles.from_json(current.files).texts
    content = None if current is None else current.content
    return changes_between(content, loaded.book.content, old, loaded.files.texts)


def _with_state(done: Reloaded, state: State, book: str) -> Reloaded:
    return replace(done, state=state, book=book)


def our_fault(file: str, error: Exception) -> dict[str, Any]:
    """An exception that nothing foresaw, as a problem; what it says stays in the log."""
    message = f"the rules cannot be taken: a fault of Incident Bridge ({type(error).__name__}), not of your files"
    hint = "the rules in force stay; the log of the web process says more, at 'task_failed': please report it"
    return _told(file, message, hint)


def _told(file: str, message: str, hint: str = "") -> dict[str, Any]:
    return {"file": file, "line": 1, "column": 1, "grade": "error", "message": message, "hint": hint}


def _of_test(result: Mapping[str, Any]) -> dict[str, Any]:
    """A failed test as a problem, at the step that is not as expected."""
    first: Mapping[str, Any] = next(iter(result.get("misses", ())), {})
    after = f"after {first['at_s']:g} s " if "at_s" in first else ""
    message = f"test '{result['name']}' fails: {after}{first.get('sentence', 'it is not as expected')}"
    hint = "mend the rule, or the test if that is what you wanted; 'incident-bridge test' says it all"
    told = _told(first.get("file", result["file"]), message, hint)
    return {**told, "line": first.get("line", result.get("line", 1))}


def _said_by_tests(text: str, folder: str) -> list[dict[str, Any]]:
    """What `test` said instead of results: problems with their places, where it names them."""
    found = [match for line in text.splitlines() if (match := _PLACE.fullmatch(line)) is not None]
    if not found:
        return [_told(folder, f"'test' {' '.join(text.split())[:500]}")]
    return [
        {**_told(one["file"], one["message"]), "line": int(one["line"]), "column": int(one["column"])} for one in found
    ]


def instant_text(instant: datetime | None) -> str | None:
    """An instant as the API writes it."""
    return None if instant is None else instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def book_json(ledger: Ledger, reloader: Reloader | None, here: str | None) -> dict[str, Any]:
    """What people are told of the rules in force; `here` is the hash of the book this process decides with."""
    state = ledger.rules_state()
    refused = None
    if state.refused:
        refused = {"at": instant_text(state.refused_at), "by": state.refused_by, "problems": list(state.refused)}
    return {
        "hash": state.book,
        "taken_at": instant_text(state.taken_at),
        "taken_by": state.taken_by,
        "checked_at": instant_text(state.checked_at),
        "here": here,
        "refused": refused,
        "files_differ": None if reloader is None else reloader.files_differ,
        "configuration_changed": None if reloader is None else reloader.has_new_configuration,
    }
