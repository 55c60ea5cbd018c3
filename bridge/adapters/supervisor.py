"""The processes of `incident-bridge up`: starts the Procfile's commands, restarts any that ends, takes them along.

Our own commands are forked from the running interpreter and not started anew: a restart takes milliseconds, and what
is imported before stays in memory once for all of them. The supervisor itself must have no threads.
"""

import ctypes
import errno
import gc
import os
import re
import select
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from types import FrameType

from bridge.adapters.memory import holes_filled
from bridge.domain.errors import ConfigError, Place, Problem

# On macOS it calls Apple's libraries, which end a forked process that calls them after its parent did (py-setproctitle,
# issues 113 and 165; read 2026-11). Not even its import is safe, and RQ imports what is installed: there it is not.
if sys.platform != "darwin":
    from setproctitle import setproctitle

PROGRAM = "incident-bridge"
SHELL = "/bin/sh"
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 5.0
STEADY_AFTER_S = 10.0
GRACE_S = 25.0  # above a worker's job timeout and the web's own grace of 20 s
ONE_SIGNAL_S = 0.5  # Ctrl-C reaches us twice where a program that started us passes it on: that is one wish, not two
PR_SET_PDEATHSIG = 1  # prctl(2)

_LINE = re.compile(r"([A-Za-z0-9_-]+):\s*(\S.*)")
_NEEDS_SHELL = re.compile(r"[|&;<>()$`*?\[\]{}~#\n\\]")  # what only a shell understands


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One line of a Procfile: what to run, and what to call it."""

    name: str
    line: str

    @property
    def argv(self) -> list[str] | None:
        """The arguments behind `incident-bridge`, when the line is one of our own commands; None: a shell's."""
        if _NEEDS_SHELL.search(self.line):
            return None
        words = shlex.split(self.line)
        return words[1:] if words[0] == PROGRAM else None


def commands_in(procfile: str, file: str = "Procfile") -> tuple[Command, ...]:
    """The commands of a Procfile, in its order. Raises ConfigError with every line that is none."""
    commands: dict[str, Command] = {}
    problems: list[Problem] = []
    for number, text in enumerate(procfile.splitlines(), start=1):
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(text.strip())
        message, hint = "", ""
        if found is None:
            message, hint = f"not a command: {text.strip()!r}", "write 'name: command', one per line"
        elif found[1] in commands:
            message, hint = f"{found[1]!r} is given twice", "give one of them another name"
        elif not _is_whole(found[2]):
            message, hint = f"a quote is opened and not closed: {found[2]!r}", "close it"
        if found is None or message:
            problems.append(Problem(place=Place(file=file, line=number), message=message, hint=hint))
        else:
            commands[found[1]] = Command(name=found[1], line=found[2])
    if problems:
        raise ConfigError(problems)
    return tuple(commands.values())


def _is_whole(line: str) -> bool:
    try:
        return bool(shlex.split(line))
    except ValueError:
        return False


def stop_on_signals(stop: threading.Event) -> None:
    """Let SIGTERM and SIGINT set the event; call it in the main thread.

    Event.set inside a signal handler can wait for ever for a lock that the interrupted code holds; a SimpleQueue's put
    is made for handlers, and a thread of its own does the rest.
    """
    signals: SimpleQueue[int] = SimpleQueue()

    def watch() -> None:
        signals.get()
        stop.set()

    def note(number: int, _frame: FrameType | None) -> None:
        signals.put(number)

    threading.Thread(target=watch, name="stop-watcher", daemon=True).start()
    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGINT, note)


@dataclass(slots=True)
class _Child:
    """One place to be filled with a process, again and again."""

    name: str
    argv: list[str] | None  # of our own command
    line: str  # for the shell
    restart: bool
    pid: int | None = None
    started_at: float = 0.0
    start_at: float = 0.0  # monotonic; when it is due
    backoff_s: float = field(default=BACKOFF_FIRST_S)
    over: bool = False


def _say(text: str) -> None:
    print(f"{PROGRAM}: {text}", file=sys.stderr, flush=True)  # noqa: T201 - the terminal of `up`


class Supervisor:
    """Runs the commands until it is told to stop: by SIGTERM, SIGINT, `terminate`, or the end of its terminal.

    SIGHUP with the terminal still there, or without one from the start, is a wish to reload.
    """

    def __init__(
        self,
        commands: Iterable[Command],
        *,
        prepare: Callable[[list[str]], Callable[[], int]],
        counts: Mapping[str, int] | None = None,
        reloads: Container[str] = (),
        grace_s: float = GRACE_S,
        say: Callable[[str], None] = _say,
    ) -> None:
        """`counts` says how many processes a name gets (1). `prepare` reads one of our own command lines, without the
        program's name, in this process; what it answers is called in a forked child, and answers the exit code.
        `reloads` are those of our own commands that SIGHUP is passed on to."""
        self._prepare = prepare
        self._grace_s = grace_s
        self._say = say
        self._children: list[_Child] = []
        self._reloads = reloads
        self._has_terminal = _has_terminal()
        self._hung_up = False
        self._signals = 0
        self._signal_at = float("-inf")
        self._wake_read, self._wake_write = -1, -1
        self._lifeline_read, self._lifeline_write = -1, -1
        for command in commands:
            number = 1 if counts is None else counts.get(command.name, 1)
            for index in range(1, number + 1):
                name = command.name if number == 1 else f"{command.name}.{index}"
                self._children.append(_Child(name=name, argv=command.argv, line=command.line, restart=True))

    def add(self, name: str, argv: Sequence[str], *, restart: bool = True) -> None:
        """One more of our own commands; before `run`. Without `restart` it runs once, to its end."""
        self._children.append(_Child(name=name, argv=list(argv), line="", restart=restart))

    def terminate(self) -> None:
        """Stop everything, as SIGTERM does."""
        self._note(signal.SIGTERM, None)
        if self._wake_write >= 0:
            with suppress(BlockingIOError):  # a full pipe wakes as well
                os.write(self._wake_write, b"!")

    def run(self) -> int:
        """Run everything until told to stop, or until nothing is left to run; in the main thread.

        Answers 0, or 1 when something had to be killed. It takes note of every child process of this one, also of
        those that others started.
        """
        self._wake_read, self._wake_write = _pipe()
        self._lifeline_read, self._lifeline_write = _pipe()
        # Written to when a signal comes, not when its handler has its turn: one that comes between the last line of
        # Python before a wait and the wait itself would else be heard of once something else ends that wait.
        woken_before = signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        before = {number: signal.signal(number, self._note) for number in self._heard()}
        gc.collect()
        holes_filled()
        gc.freeze()  # what lives now is the children's too; the collector would touch, hence copy, every page of it
        try:
            while not self._signals:
                self._reap()
                if self._hung_up:
                    self._after_hangup()
                self._start_due()
                if not self._running() and not self._waiting():
                    break
                self._sleep(min((child.start_at for child in self._waiting()), default=None))
            return self._stop()
        finally:
            gc.unfreeze()
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(woken_before)
            for descriptor in (self._wake_read, self._wake_write, self._lifeline_read, self._lifeline_write):
                os.close(descriptor)

    @staticmethod
    def _heard() -> list[signal.Signals]:
        """The signals we take note of. Started by `nohup`, SIGHUP is ignored and stays so."""
        ignores_hangup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        return [signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, *([] if ignores_hangup else [signal.SIGHUP])]

    def _after_hangup(self) -> None:
        """SIGHUP came: from a terminal that is gone, or from somebody who wants a reload."""
        self._hung_up = False
        if self._has_terminal and not _has_terminal():
            self.terminate()
            return
        for child in self._running():
            if child.argv and child.argv[0] in self._reloads:
                self._say(f"{child.name} is told to reload")
                with suppress(ProcessLookupError):
                    os.kill(child.pid or 0, signal.SIGHUP)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self._hung_up = True
        elif number != signal.SIGCHLD and time.monotonic() - self._signal_at > ONE_SIGNAL_S:
            self._signals += 1
            self._signal_at = time.monotonic()

    def _sleep(self, until: float | None) -> None:
        """Wait for a signal, or for that time."""
        timeout = None if until is None else max(0.0, until - time.monotonic())
        if select.select([self._wake_read], [], [], timeout)[0]:
            os.read(self._wake_read, 4096)

    def _waiting(self) -> list[_Child]:
        return [child for child in self._children if child.pid is None and not child.over]

    def _running(self) -> list[_Child]:
        return [child for child in self._children if child.pid is not None]

    def _start_due(self) -> None:
        for child in self._waiting():
            if child.start_at > time.monotonic():
                continue
            try:
                child.pid = self._fork(child)
            except OSError as error:
                self._say(f"{child.name} could not be started: {error.strerror}")
                self._postpone(child)
            else:
                child.started_at = time.monotonic()
                if child.restart:  # what runs once and ends well speaks for itself
                    self._say(f"{child.name} started, pid {child.pid}")

    def _reap(self) -> None:
        """Take note of every child that ended, and say when it is started again."""
        children = {child.pid: child for child in self._running()}
        for pid, status in _ended():
            child = children.get(pid)
            if child is None:  # as process 1 of a container we inherit orphans
                continue
            child.pid = None
            child.over = not child.restart
            again = ""
            if child.restart and not self._signals:
                again = f"; again in {self._postpone(child):g} s"
            if child.argv is None:
                _kill_group(pid, signal.SIGKILL)  # what the shell left behind
            if child.restart or status != 0:
                self._say(f"{child.name} {_words(status)}, pid {pid}{again}")

    def _postpone(self, child: _Child) -> float:
        """Set when a child starts again; seconds from now."""
        if time.monotonic() - child.started_at >= STEADY_AFTER_S:
            child.backoff_s = BACKOFF_FIRST_S
        wait_s = child.backoff_s
        child.start_at = time.monotonic() + wait_s
        child.backoff_s = min(BACKOFF_MAX_S, child.backoff_s * 2)
        return wait_s

    def _stop(self) -> int:
        """Ask all to end, and wait; kill what is left after the grace, or at a second signal."""
        asked = self._signals
        if self._running():
            self._say("stopping; once more to stop at once")
        self._tell_all(signal.SIGTERM)
        until = time.monotonic() + self._grace_s
        while self._running() and self._signals == asked and time.monotonic() < until:
            self._sleep(until)
            self._reap()
        self._reap()
        left = self._running()
        for child in left:
            self._say(f"{child.name} did not end and is killed, pid {child.pid}")
        self._tell_all(signal.SIGKILL)
        for child in left:
            with suppress(ChildProcessError):
                os.waitpid(child.pid or 0, 0)
            child.pid = None
        self._say("stopped")
        return 1 if left else 0

    def _tell_all(self, number: signal.Signals) -> None:
        for child in self._running():
            if child.argv is None:
                _kill_group(child.pid, number)  # the shell and what it started
            else:
                with suppress(ProcessLookupError):
                    os.kill(child.pid or 0, number)

    def _fork(self, child: _Child) -> int:
        """Start a child. Signals wait meanwhile: the child must not take one with our handlers still in place."""
        handled = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP}
        command = None if child.argv is None else self._prepared(child.argv)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, handled)
        parent = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            pid = os.fork()
            if pid == 0:
                self._become(child, command, parent, before)
            with suppress(OSError):  # the child does so too; whoever is first
                os.setpgid(pid, pid)
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _prepared(self, argv: list[str]) -> Callable[[], int]:
        """What a child is to call; whatever goes wrong before its fork is its own end, not ours."""
        try:
            return self._prepare(argv)
        except Exception as error:  # noqa: BLE001 - raised again in the child, whose outermost frame prints it
            raised = error

            def fails() -> int:
                raise raised

            return fails

    def _become(self, child: _Child, command: Callable[[], int] | None, parent: int, mask: Iterable[int]) -> None:
        """In the child: never returns. It leaves by os._exit, for the frames below are the supervisor's."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)  # closed below, and its number given to a file that no signal is to write to
            os.setpgid(0, 0)  # Ctrl-C of the terminal is the supervisor's business
            for number in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # who reloads hears it again once it can
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # in the background it may log to the terminal all the same
            if command is None:
                for number in (signal.SIGPIPE, signal.SIGHUP):  # ignored here, and a shell would inherit that
                    signal.signal(number, signal.SIG_DFL)
            os.close(self._lifeline_write)
            die_with(parent, self._lifeline_read)
            nothing = os.open(os.devnull, os.O_RDONLY)
            os.dup2(nothing, 0)
            os.close(nothing)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            if command is None:
                os.execv(SHELL, [SHELL, "-c", child.line])  # noqa: S606 - the operator's own Procfile
            os.close(self._wake_read)
            os.close(self._wake_write)
            _call_it(" ".join([PROGRAM, *(child.argv or ())]))
            code = command()
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
        except KeyboardInterrupt:
            code = 130
        except BaseException:  # noqa: BLE001 - the outermost frame of the child
            traceback.print_exc()
        finally:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


def _call_it(title: str) -> None:
    """Give this process its own name for `ps`; on macOS it keeps its parent's."""
    if sys.platform != "darwin":
        setproctitle(title)


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def die_with(parent: int, lifeline: int) -> None:
    """End this process, which `parent` has just forked, when that one ends, however that happens.

    `lifeline` is the reading end of a pipe whose other end only the parent holds: without prctl, as on macOS, a thread
    watches it. (That does not survive a shell's exec.)
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
        os.close(lifeline)
    else:
        threading.Thread(target=_watch_lifeline, args=(lifeline,), daemon=True).start()
    if os.getppid() != parent:  # it died before that took hold
        os._exit(1)


def _watch_lifeline(descriptor: int) -> None:
    """Nobody writes there: a read ends when the supervisor, who alone holds the other end, is gone."""
    while True:
        with suppress(InterruptedError):
            os.read(descriptor, 1)
            os.kill(os.getpid(), signal.SIGKILL)


def _pipe() -> tuple[int, int]:
    """Both ends are closed on exec; the writing end never blocks."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    return read, write


def _ended() -> Iterator[tuple[int, int]]:
    """Every child process that ended and was not asked for yet: its id, and its status as waitpid gives it."""
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            yield pid, status


def _words(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"was ended by {signal.Signals(os.WTERMSIG(status)).name}"
    code = os.WEXITSTATUS(status)
    return "ended" if code == 0 else f"ended with exit code {code}"


def _kill_group(pid: int | None, number: signal.Signals) -> None:
    if pid is None:
        return
    try:
        os.killpg(pid, number)
    except OSError as error:
        if error.errno not in (errno.ESRCH, errno.EPERM):  # macOS answers EPERM for a group of zombies
            raise
