"""Structured logs: one line per event, JSON off a terminal. Identifiers only, never bodies or secrets."""

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import structlog

EVENT_REJECTED = "webhook_rejected"
EVENT_ACCEPTED = "webhook_accepted"
LEDGER_UNAVAILABLE = "ledger_unavailable"
LEDGER_BACK = "ledger_back"
SENDER_UNVERIFIABLE = "sender_unverifiable"
SUBSCRIPTION_CONFIRMED = "subscription_confirmed"
SUBSCRIPTION_FAILED = "subscription_failed"
REQUEST_FAILED = "request_failed"
REQUEST_UNREADABLE = "request_unreadable"
ATTEMPT_BROKE = "attempt_broke"
ATTEMPT_FINISHED = "attempt_finished"
DELIVERY_FINISHED = "delivery_finished"
NAMES_FETCHED = "names_fetched"
NAMES_FAILED = "names_failed"
QUEUE_LOST = "queue_lost"
QUEUE_BACK = "queue_back"
JOBS_UNTAKEN = "jobs_untaken"
PROCESS_STARTED = "process_started"
PROCESS_STOPPED = "process_stopped"
LETTERS_TOO_OLD = "deliveries_given_up"
TASK_FAILED = "task_failed"
EPISODES_RENEWED = "episodes_renewed"
PLAN_B_OPENED = "plan_b_opened"
ACTION_DONE = "action_done"
ALARM = "alarm"
LIBRARY_SAID = "library_said"
ALARM_UNSAID = "alarm_unsaid"
RULES_TAKEN = "rules_taken"
RULES_NOT_TAKEN = "rules_not_taken"
RELOAD_FINISHED = "reload_finished"
RELOAD_REFUSED = "reload_refused"
RULES_UNWATCHED = "rules_unwatched"
SILENCE_UNREADABLE = "silence_unreadable"
SILENCE_OVER = "silence_over"
VALKEY_FAILED = "valkey_failed"

# What lasts is found again by every thread of every process at its next try: three lines a second, measured.
SELDOM = frozenset({LEDGER_UNAVAILABLE, VALKEY_FAILED, RULES_UNWATCHED})
SAID_AGAIN_S = 60.0
SELDOM_MAX = 256  # sentences that are remembered


def configure(process: str) -> None:
    """Set up logging for this process; every line carries its name."""
    terminal = sys.stderr.isatty()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s", force=True)
    if not terminal:
        logging.getLogger().handlers[0].setFormatter(_JsonLines(process))
    renderer: Any = structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            Seldom(),
            _named(process),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    threading.excepthook = _thread_failed


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    """A thread ended by an exception that nobody caught: a line like any other, and not Python's many."""
    if failed.exc_type is SystemExit:
        return
    thread = "" if failed.thread is None else failed.thread.name
    raised = (failed.exc_type, failed.exc_value, failed.exc_traceback)
    get().error(TASK_FAILED, task=thread, exc_info=raised)


class Seldom:
    """A processor that lets what lasts be said once a minute in the same words, with `unsaid`: how often it was not.

    It has no lock, for one that a thread holds while its process forks stays locked: at worst a line comes twice.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._said: dict[str, tuple[float, int]] = {}  # a sentence: when, and how often it was left out since

    def __call__(self, _logger: Any, _method: str, line: Any) -> Any:
        """The line, or structlog.DropEvent."""
        if line["event"] not in SELDOM:
            return line
        sentence, now = repr(sorted(line.items())), self._monotonic()
        at, unsaid = self._said.pop(sentence, (now - SAID_AGAIN_S, 0))
        if now - at < SAID_AGAIN_S:
            self._said[sentence] = (at, unsaid + 1)
            raise structlog.DropEvent
        if len(self._said) >= SELDOM_MAX:
            self._said.clear()
        self._said[sentence] = (now, 0)
        return {**line, "unsaid": unsaid} if unsaid else line


class _JsonLines(logging.Formatter):
    """What a library says, as a line of the same kind as ours."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "event": LIBRARY_SAID,
            "library": record.name,
            "text": record.getMessage(),
            "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "process": self._process,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


@contextmanager
def silenced() -> Iterator[None]:
    """No lines at all meanwhile: for commands that play what processes do."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def _named(process: str) -> Any:
    """A processor that puts the process's name on every line, whichever thread writes it."""

    def add(_logger: Any, _method: str, line: Any) -> Any:
        return {**line, "process": process}

    return add


def get() -> Any:
    """The logger; bind nothing secret to it."""
    return structlog.get_logger()
