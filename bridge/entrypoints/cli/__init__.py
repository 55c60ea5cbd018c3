"""The command line: one group, one file per family of commands, heavy imports inside them."""

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from bridge import __version__
from bridge.adapters import streams
from bridge.domain.errors import BridgeError, ConfigError
from bridge.entrypoints.cli.groups import Group, ReaderGone
from bridge.entrypoints.cli.tables import counted, harmless, problems_printed

PROGRAM = "incident-bridge"
PROBLEMS_FOUND = 1
STOPPED = 130  # by Ctrl-C, as shells count it
READER_GONE = 141  # `| head` has read enough: as a shell says of a program that SIGPIPE ended
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)

_COMMANDS = {
    "up": "bridge.entrypoints.cli.up:up",
    "herald": "bridge.entrypoints.cli.herald:herald",
    "serve": "bridge.entrypoints.cli.processes:serve",
    "worker": "bridge.entrypoints.cli.processes:worker",
    "clock": "bridge.entrypoints.cli.processes:clock",
    "sandbox": "bridge.entrypoints.cli.processes:sandbox",
    "init": "bridge.entrypoints.cli.setup:init",
    "check": "bridge.entrypoints.cli.setup:check",
    "passwd": "bridge.entrypoints.cli.setup:passwd",
    "db": "bridge.entrypoints.cli.ledgers:db",
    "send": "bridge.entrypoints.cli.sending:send",
    "events": "bridge.entrypoints.cli.reading:events",
    "incidents": "bridge.entrypoints.cli.reading:incidents",
    "lanes": "bridge.entrypoints.cli.reading:lanes",
    "dead": "bridge.entrypoints.cli.reading:dead",
    "audit": "bridge.entrypoints.cli.auditing:audit",
    "test": "bridge.entrypoints.cli.testing:test",
    "explain": "bridge.entrypoints.cli.explaining:explain",
    "capture": "bridge.entrypoints.cli.explaining:capture",
    "diff": "bridge.entrypoints.cli.comparing:diff",
    "export": "bridge.entrypoints.cli.comparing:export",
    "schema": "bridge.entrypoints.cli.schema:schema",
    "names": "bridge.entrypoints.cli.naming:names",
    "doctor": "bridge.entrypoints.cli.doctor:doctor",
    "reload": "bridge.entrypoints.cli.reloading:reload",
    "silences": "bridge.entrypoints.cli.silencing:silences",
    "shadow": "bridge.entrypoints.cli.shadowing:shadow",
}
_SHORT = {
    "up": "Run everything on this machine: web, workers, clock, Redis.",
    "serve": "Run the web process: webhooks, API.",
    "worker": "Run a worker: sends deliveries.",
    "clock": "Run the clock: finds due lanes, looks after the rest.",
    "sandbox": "Run local stand-ins of PagerDuty and incident.io.",
    "init": "Write the shipped configuration, rules and templates into a folder.",
    "check": "Check all configuration and rules; needs no network.",
    "doctor": "Look at everything a page depends on, and say what to do.",
    "names": "Ask the accounts for their names now; show those that are kept.",
    "test": "Run the rules' own tests: what would be paged, retried, resolved.",
    "reload": "Put changed rules in force, in every process on every host.",
    "explain": "Say why a body or a stored event pages or not, down to the request.",
    "diff": "Compare what two rule books make of stored events.",
    "capture": "Write a stored event as a redacted fixture with its test.",
    "export": "Write stored events as redacted files, for CI.",
    "schema": "Print or write the JSON Schemas of bridge.yaml, rules and tests.",
    "passwd": "Make the password hash for ui.auth.",
    "db": "Look after the ledger: its schema, and where it is kept.",
    "send": "Post a file or a shipped sample to a source of the running bridge.",
    "events": "List what came in and what became of it.",
    "incidents": "List incidents.",
    "lanes": "Show every account's lane: rate, tokens, what waits.",
    "dead": "List, show, replay or discard dead letters.",
    "shadow": "Show what rules in shadow mode would have done.",
    "silences": "List, try, add or end silences: alerts that page nobody for a while.",
    "audit": "Show who did what.",
}


class _Commands(Group):
    """The commands, each imported when it is asked for: `worker` needs no Flask, `check` no Redis."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_SHORT)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        where = _COMMANDS.get(name)
        if where is None:
            return None
        import importlib

        module, _, attribute = where.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def about(self, _ctx: click.Context, name: str) -> str:
        return _SHORT[name]  # without importing it


def _config_default() -> str:
    return os.environ.get("BRIDGE_CONFIG") or "bridge.yaml"  # an env file may set it to nothing


def config_option(command: Any) -> Any:
    """`--config` after any command; `BRIDGE_CONFIG` names the file too."""
    return click.option(
        "--config",
        "config",
        type=click.Path(path_type=Path),
        default=_config_default,
        show_default="BRIDGE_CONFIG, else ./bridge.yaml",
        help="The configuration file.",
    )(command)


def unused_config_option(command: Any) -> Any:
    """`--config` after a command that needs no configuration: taken, so that a script may give it to all."""
    return click.option("--config", type=click.Path(), expose_value=False, hidden=True)(command)


def json_option(command: Any) -> Any:
    """`--json` where a script may read."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for a script.")(command)


def say(text: str = "") -> None:
    """Progress and problems, for people: stderr."""
    click.echo(harmless(text), err=True)


def tell(text: str = "") -> None:
    """A line of the answer, for people: stdout."""
    click.echo(harmless(text))


def problems_said(error: ConfigError) -> None:
    """Every problem, and the count that closes the list."""
    for problem in error.problems:
        say(str(problem))
    wrong = [problem for problem in error.problems if problem.grade == "error"]
    files = len({problem.place.file for problem in wrong})
    say(f"{counted(len(wrong), 'problem')} in {counted(files, 'file')}; nothing was started")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """Incident Bridge: webhooks in, one PagerDuty or incident.io incident per problem out, at human speed.

    Start with 'incident-bridge init my-bridge', then 'incident-bridge up --demo' in that folder.
    """


def run(argv: Sequence[str], inherited: Any = None) -> int:
    """Run one command line; answers the exit code: 0 fine, 1 problems found, 2 wrong usage.

    `inherited` is a configuration that `up` has checked; its children work with it, whatever became of the files.
    """
    return _ended(argv, lambda: cli.main(args=list(argv), prog_name=PROGRAM, standalone_mode=False, obj=inherited))


def prepared(argv: Sequence[str], inherited: Any = None) -> Callable[[], int]:
    """As `run`, in two steps: a parent reads the command line, and a child that it forks calls what this answers.

    Reading one touches 2.5 MB, which are then not each child's own. What is wrong with the line the child says.
    """
    above = click.Context(cli, info_name=PROGRAM, obj=inherited)
    command = cli.get_command(above, argv[0]) if argv else None
    if command is None:
        return partial(run, argv, inherited)
    try:
        context = command.make_context(argv[0], list(argv[1:]), parent=above)
    except (click.ClickException, click.exceptions.Exit):
        return partial(run, argv, inherited)

    def invoked() -> Any:
        with context:
            return command.invoke(context)

    return partial(_ended, argv, invoked)


def _ended(argv: Sequence[str], command: Callable[[], Any]) -> int:
    """Run a command to its end, say what went wrong, and answer the exit code."""
    try:
        code = command()
    except click.exceptions.Exit as error:
        return error.exit_code
    except ReaderGone:
        return READER_GONE
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        say("stopped")
        return STOPPED
    except ConfigError as error:
        if "--json" in argv:
            problems_printed(error.problems)
        problems_said(error)
        return PROBLEMS_FOUND
    except BridgeError as error:
        say(f"incident-bridge: {error}")
        return PROBLEMS_FOUND
    except OSError as error:
        if error.filename is None and not _is_anywhere():
            say("incident-bridge: the folder that this was started in is gone; change to one that exists")
            return PROBLEMS_FOUND
        if error.filename is None and error.errno not in _NO_SPACE:
            raise  # not a file of the operator's
        say(f"incident-bridge: {_unusable(error)}")
        return PROBLEMS_FOUND
    return code if isinstance(code, int) else 0


def _is_anywhere() -> bool:
    """Whether the folder that this process is in still exists."""
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _unusable(error: OSError) -> str:
    """A file or folder that cannot be read or written, or (without a name) standard output, and what to do."""
    why = error.strerror or "it cannot be used"
    if error.errno in _NO_SPACE:
        return f"{error.filename or 'the output'} cannot be written: {why}; make room and run it again"
    return f"{error.filename} cannot be read or written: {why}; name another place, or give this user the right to it"


def main() -> None:
    """The `incident-bridge` command."""
    streams.open_missing()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a title holds letters that not every locale has
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))
