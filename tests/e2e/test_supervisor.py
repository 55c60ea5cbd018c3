"""The processes of `up` with real processes and real signals: what ends comes back, and nothing is left behind."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from bridge.adapters.supervisor import Command, commands_in
from bridge.domain.errors import ConfigError
from tests.e2e.living import command, group, is_alive

pytestmark = pytest.mark.e2e

WITHIN_S = 20.0
# No prctl, and no setproctitle to be imported: that would end what is forked.
ON_MACOS = "import sys; sys.platform = 'darwin'; sys.modules['setproctitle'] = None\n"
# `up` in small: its own commands are the functions below.
UP = """
import os, signal, sys, threading, time
from pathlib import Path
from bridge.adapters.supervisor import Supervisor, commands_in, stop_on_signals

folder, grace_s = Path(sys.argv[1]), float(sys.argv[2])

def note(text):
    with (folder / "notes").open("a") as notes:
        notes.write(f"{text} {os.getpid()} {time.monotonic()}\\n")

def polite():
    stop = threading.Event()
    stop_on_signals(stop)
    note("ready")
    stop.wait()
    note("finished")
    return 0

def reloading():
    signal.signal(signal.SIGHUP, lambda *_: note("reloaded"))
    note("ready")
    while True:
        time.sleep(0.05)  # pause() would miss a signal that comes just before it

def talk():
    with open("/dev/tty", "w") as terminal:
        terminal.write("talks")
    note("talked")
    return polite()

def stubborn():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note("ready")
    while True:
        signal.pause()

def crash():
    note("ready")
    return 3

def leave():
    note("ready")
    sys.exit("a sentence")

def fail():
    note("ready")
    raise ValueError("a bug")

def once():
    note("done")
    return 0

def tells():
    note(f"wakes-{signal.set_wakeup_fd(-1)}")
    signal.pause()

def sleep():
    note("ready")
    signal.pause()
    return 0

def prepare(argv):
    return globals()[argv[0]]

supervisor = Supervisor(
    commands_in((folder / "Procfile").read_text()), prepare=prepare, counts={"many": 3}, grace_s=grace_s,
    reloads=("reloading",),
)
for name in sys.argv[3:]:
    supervisor.add(name, [name], restart=name != "once")
sys.exit(supervisor.run())
"""


def eventually(what: Callable[[], bool], within_s: float = WITHIN_S) -> None:
    until = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < until, "did not come true in time"
        time.sleep(0.01)


class Up:
    """A running supervisor, what it said and what its children noted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes]

    def start(
        self,
        procfile: str,
        *,
        grace_s: float = 20.0,
        add: tuple[str, ...] = (),
        terminal: int | None = None,
        before: str = "",
    ) -> None:
        """`terminal` is the descriptor of one that it is to have, `before` what its interpreter runs first."""

        def begin() -> None:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests with nohup has it ignored
            if terminal is not None:
                fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

        (self.folder / "Procfile").write_text(procfile)
        with (self.folder / "said").open("ab") as said:
            command = [sys.executable, "-c", before + UP, str(self.folder), str(grace_s), *add]
            self.process = subprocess.Popen(command, stderr=said, start_new_session=True, preexec_fn=begin)

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def pids(self, name: str) -> list[int]:
        """The processes started under that name, in order."""
        found = re.findall(rf"^incident-bridge: {re.escape(name)} started, pid (\d+)$", self.said(), re.MULTILINE)
        return [int(pid) for pid in found]

    def notes(self, text: str) -> list[tuple[int, float]]:
        """Who noted it, and when."""
        path = self.folder / "notes"
        rows = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(int(pid), float(at)) for what, pid, at in rows if what == text]

    def started(self) -> list[int]:
        return [int(pid) for pid in re.findall(r"started, pid (\d+)$", self.said(), re.MULTILINE)]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    made = Up(tmp_path)
    yield made
    made.close()
    eventually(lambda: not any(map(is_alive, made.started())))


def test_a_procfile_is_read_line_by_line() -> None:
    text = """# ours
web: incident-bridge serve --config 'my bridge.yaml'

 worker-2:incident-bridge worker\x20
x: sleep 5 | cat
"""
    web, worker, other = commands_in(text)
    assert web == Command(name="web", line="incident-bridge serve --config 'my bridge.yaml'")
    assert (web.argv, worker.name, worker.argv) == (["serve", "--config", "my bridge.yaml"], "worker-2", ["worker"])
    assert other.argv is None


@pytest.mark.parametrize(
    "line",
    ["incident-bridge serve --port $PORT", "incident-bridge worker > log", "A=1 incident-bridge worker", "bridge"],
)
def test_what_only_a_shell_understands_is_left_to_the_shell(line: str) -> None:
    assert Command(name="a", line=line).argv is None


def test_every_problem_of_a_procfile_is_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        commands_in("web: a\nnonsense\nweb: b\nx: sh -c 'open\n: y\n", "my/Procfile")
    assert [str(problem).splitlines()[0] for problem in caught.value.problems] == [
        "my/Procfile:2:1: not a command: 'nonsense'",
        "my/Procfile:3:1: 'web' is given twice",
        """my/Procfile:4:1: a quote is opened and not closed: "sh -c 'open\"""",
        "my/Procfile:5:1: not a command: ': y'",
    ]


def test_commands_run_under_their_own_names_and_out_of_reach_of_the_terminal(up: Up) -> None:
    up.start("web: incident-bridge polite --config a\nmany: incident-bridge polite\n")
    eventually(lambda: len(up.notes("ready")) == 4)
    (web,) = up.pids("web")
    assert sys.platform == "darwin" or command(web) == "incident-bridge polite --config a"
    assert [len(up.pids(f"many.{number}")) for number in (1, 2, 3)] == [1, 1, 1]
    assert all(os.getpgid(pid) == pid for pid in up.started())


def test_a_killed_process_is_started_again(up: Up) -> None:
    up.start("web: incident-bridge polite\nother: incident-bridge polite\n")
    eventually(lambda: len(up.notes("ready")) == 2)
    (first,) = up.pids("web")
    os.kill(first, signal.SIGKILL)
    eventually(lambda: len(up.notes("ready")) == 3)
    assert f"incident-bridge: web was ended by SIGKILL, pid {first}; again in 0.2 s\n" in up.said()
    assert len(up.pids("web")) == 2
    assert len(up.pids("other")) == 1


def test_what_keeps_ending_is_started_more_and_more_slowly(up: Up) -> None:
    up.start("web: incident-bridge crash\n")
    eventually(lambda: len(up.notes("ready")) == 4)
    times = [at for _, at in up.notes("ready")]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert all(wait >= least for wait, least in zip(waits, (0.2, 0.4, 0.8), strict=True)), waits
    assert re.findall(r"web ended with exit code 3, pid \d+; again in ([\d.]+) s", up.said())[:3] == [
        "0.2",
        "0.4",
        "0.8",
    ]


@pytest.mark.parametrize(
    ("command", "end"), [("leave", "exit code 1"), ("fail", "exit code 1"), ("missing", "exit code 1")]
)
def test_a_command_that_raises_ends_its_own_process_only(up: Up, command: str, end: str) -> None:
    up.start(f"web: incident-bridge {command}\nother: incident-bridge polite\n")
    eventually(lambda: len(up.pids("web")) == 2)
    assert f"web ended with {end}" in up.said()
    assert up.process.poll() is None


NO_HANDLER_HAS_ITS_TURN = """
from bridge.adapters.supervisor import Supervisor
Supervisor._note = lambda *_: None
"""


def test_a_signal_wakes_the_supervisor_before_its_handler_has_a_turn(up: Up) -> None:
    """One that comes just before it waits is handled once the wait is over; nothing else would end that."""
    up.start("web: incident-bridge leave\n", before=NO_HANDLER_HAS_ITS_TURN)
    eventually(lambda: len(up.pids("web")) == 2)


def test_no_signal_of_a_child_writes_to_what_woke_the_supervisor(up: Up) -> None:
    up.start("web: incident-bridge tells\n")
    eventually(lambda: bool(up.notes("wakes--1")))


def test_when_the_supervisor_is_killed_its_processes_die_with_it(up: Up) -> None:
    shell = "shell: exec sleep 1000\n" if sys.platform == "linux" else ""  # prctl alone survives a shell's exec
    up.start(f"web: incident-bridge stubborn\nmany: incident-bridge sleep\n{shell}")
    eventually(lambda: len(up.notes("ready")) == 4 and len(up.pids("shell")) == bool(shell))
    up.process.kill()
    up.process.wait()
    eventually(lambda: not any(map(is_alive, up.started())), 2.0)


def test_on_macos_nothing_is_given_a_name_and_what_is_killed_takes_its_own_commands_along(up: Up) -> None:
    up.start("web: incident-bridge stubborn\nmany: incident-bridge sleep\n", before=ON_MACOS)
    eventually(lambda: len(up.notes("ready")) == 4)
    assert len(up.started()) == 4
    up.process.kill()
    up.process.wait()
    eventually(lambda: not any(map(is_alive, up.started())), 2.0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_lets_everything_finish(up: Up, number: signal.Signals) -> None:
    up.start("web: incident-bridge polite\nmany: incident-bridge polite\n")
    eventually(lambda: len(up.notes("ready")) == 4)
    up.process.send_signal(number)
    assert up.process.wait(WITHIN_S) == 0
    assert len(up.notes("finished")) == 4
    assert up.said().endswith("incident-bridge: stopped\n")
    assert len(up.started()) == 4


def test_a_hangup_is_a_wish_to_reload_and_ends_nothing(up: Up) -> None:
    up.start("web: incident-bridge reloading\nworker: incident-bridge polite\nshell: sleep 60\n")
    eventually(lambda: len(up.notes("ready")) == 2)
    started = up.started()
    up.process.send_signal(signal.SIGHUP)
    eventually(lambda: len(up.notes("reloaded")) == 1)
    up.process.send_signal(signal.SIGHUP)
    eventually(lambda: len(up.notes("reloaded")) == 2)
    for pid in up.pids("worker"):
        os.kill(pid, signal.SIGHUP)
    up.process.terminate()
    assert up.process.wait(WITHIN_S) == 0
    assert len(up.notes("finished")) == 1
    assert up.started() == started


def test_when_its_terminal_is_closed_it_lets_everything_finish(up: Up) -> None:
    ours, its = os.openpty()
    up.start("web: incident-bridge reloading\nworker: incident-bridge polite\n", terminal=its)
    os.close(its)
    eventually(lambda: len(up.notes("ready")) == 2)
    os.close(ours)
    up.process.wait(WITHIN_S)
    assert len(up.notes("finished")) == 1
    assert up.notes("reloaded") == []


def test_a_terminal_that_stops_whoever_writes_in_the_background_stops_none(up: Up) -> None:
    ours, its = os.openpty()
    modes = termios.tcgetattr(its)
    modes[3] |= termios.TOSTOP  # `stty tostop`
    termios.tcsetattr(its, termios.TCSANOW, modes)
    up.start("talker: incident-bridge talk\nshell: echo talks > /dev/tty; exec sleep 60\n", terminal=its)
    eventually(lambda: len(up.notes("talked")) == 1)
    eventually(lambda: [command(pid) for pid in up.pids("shell")] == ["sleep 60"])
    up.process.terminate()
    up.process.wait(WITHIN_S)
    os.close(ours)
    os.close(its)


def test_what_does_not_finish_within_the_grace_is_killed(up: Up) -> None:
    up.start("web: incident-bridge stubborn\nother: incident-bridge polite\n", grace_s=0.5)
    eventually(lambda: len(up.notes("ready")) == 2)
    up.process.terminate()
    assert up.process.wait(WITHIN_S) == 1
    (web,) = up.pids("web")
    assert f"incident-bridge: web did not end and is killed, pid {web}\n" in up.said()
    assert len(up.notes("finished")) == 1
    assert not is_alive(web)


def test_a_second_signal_stops_at_once(up: Up) -> None:
    up.start("web: incident-bridge stubborn\n", grace_s=1000.0)
    eventually(lambda: len(up.notes("ready")) == 1)
    up.process.send_signal(signal.SIGINT)
    up.process.send_signal(signal.SIGINT)  # the same Ctrl-C, passed on by whoever started us
    eventually(lambda: "stopping" in up.said())
    with pytest.raises(subprocess.TimeoutExpired):
        up.process.wait(0.7)
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(WITHIN_S) == 1


def test_a_shell_line_is_stopped_with_everything_it_started(up: Up) -> None:
    up.start(f"pipe: echo $$ > {up.folder}/pid; sleep 1000 | cat\n")
    eventually(lambda: bool(up.pids("pipe")) and len(group(up.pids("pipe")[0])) >= 3)
    (shell,) = up.pids("pipe")
    up.process.terminate()
    assert up.process.wait(WITHIN_S) == 0
    eventually(lambda: group(shell) == [])


def test_added_commands_run_beside_the_procfile_and_one_without_restart_only_once(up: Up) -> None:
    up.start("web: incident-bridge polite\n", add=("sleep", "once"))
    eventually(lambda: len(up.notes("done")) == 1 and len(up.notes("ready")) == 2)
    (sleeping,) = up.pids("sleep")
    os.kill(sleeping, signal.SIGKILL)
    eventually(lambda: len(up.pids("sleep")) == 2)
    assert len(up.notes("done")) == 1
    assert "once" not in up.said(), "it speaks for itself, and ended well"


def test_when_all_is_done_it_ends(up: Up) -> None:
    up.start("", add=("once",))
    assert up.process.wait(WITHIN_S) == 0
    assert len(up.notes("done")) == 1
