"""Commands around setting up: init, check, passwd."""

import gc
import shlex
import sys
from dataclasses import dataclass
from getpass import GetPassWarning
from importlib.resources import files
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import click

from bridge.adapters.files import replace_bytes
from bridge.config.folders import visible
from bridge.domain.errors import ConfigError, Problem
from bridge.entrypoints.cli import PROBLEMS_FOUND, config_option, json_option, say, tell, unused_config_option
from bridge.entrypoints.cli.tables import counted, problems_printed

GITIGNORE = "# the ledger, which holds what senders wrote, and the key of the sessions\nvar/\n"
SHIPPED = ("bridge.yaml", "bridge.schema.json", "Procfile", "rules", "templates")


def shipped_dir() -> Path:
    """Where the shipped configuration lies: inside the installed package, or at the top of a checkout."""
    installed = Path(str(files("bridge"))) / "shipped"
    return installed if installed.is_dir() else Path(str(files("bridge"))).parent


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@unused_config_option
def init(folder: Path) -> int:
    """Write the shipped configuration, rules and templates into FOLDER. Files that exist are left alone."""
    source = shipped_dir()
    shipped = {
        file.relative_to(source): file.read_bytes() for name in SHIPPED for file in sorted(_files_of(source / name))
    }
    written = 0
    for name, content in {**shipped, Path(".gitignore"): GITIGNORE.encode()}.items():
        target = folder / name
        if target.exists():
            say(f"{target} exists and is left alone")
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_bytes(target, content)  # half of one would be left alone, and taken for a whole one, by the next try
        tell(f"wrote {target}")
        written += 1
    if written:
        say(f"next: cd {shlex.quote(str(folder))} && incident-bridge up --demo")
    return 0


def _files_of(path: Path) -> list[Path]:
    if path.is_dir():
        return [file for file in visible(path) if file.is_file()]
    return [path]


@click.command()
@click.option("--offline", is_flag=True, help="Prove names by rules/names.lock.json alone; do not open the ledger.")
@click.option("--keys", is_flag=True, help="Prove that keys hold: one per problem, and another for another problem.")
@click.option("--joins", is_flag=True, help="With --keys: several problems may share an incident; only say it.")
@click.option(
    "--events",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Events that 'export' wrote, for --keys and for paths, instead of the ledger's.",
)
@json_option
@config_option
def check(offline: bool, keys: bool, joins: bool, folder: Path | None, as_json: bool, config: Path) -> int:
    """Check bridge.yaml, every rule, test and template, and the upstreams' names in them; needs no Redis, no upstream.

    Names are looked up in the ledger's lists, where there are some, else in names.lock.json beside the rules
    ('incident-bridge names pull' writes both). What rules read of payloads is held against the newest events and the
    shipped samples; tests are read, not run. Exit code 0: all holds together, warnings aside. 1: problems were found,
    each with its place and what to do.
    """
    gc.disable()  # modules, and a large rule book, are a great many small objects that all stay
    from bridge import wiring
    from bridge.entrypoints.cli import checking

    problems: tuple[Problem, ...]
    summary = keys_sentence = ""
    try:
        loaded = wiring.load(config)
    except ConfigError as error:
        problems = error.problems
    else:
        settings = loaded.settings
        found = names_checked(loaded, offline=offline)
        known = checking.Known(settings=settings, folder=folder, offline=offline)
        unread = checking.unread_files(settings.rules_dir, settings.config_dir)
        problems = (*loaded.warnings, *unread, *found.problems, *checking.test_problems(loaded))
        problems = (*problems, *checking.sourceless_rules(loaded.book, known.sources))
        problems = (*problems, *checking.path_problems(loaded.book, known))
        if keys:
            proof = checking.key_proof(loaded.book, wiring.destinations(settings), known)
            problems = (*problems, *checking.key_problems(proof, joins=joins))
            seen = f"{counted(proof.reports, 'report')} of {counted(proof.problems, 'problem')}"
            joined = ", and each key one problem" if not proof.counts else "; some share one"
            held = f"{seen}: each problem has one key{joined}"
            keys_sentence = held if proof.reports else "no report could be read: nothing is proven of any key"
        summary = (
            f"{counted(len(settings.sources), 'source')}, {counted(len(settings.accounts), 'account')}, "
            f"{counted(len(loaded.book.rules), 'rule')}: "
        )
    finally:
        gc.enable()
    problems = tuple(sorted(problems, key=lambda problem: problem.place))
    wrong = [problem for problem in problems if problem.grade == "error"]
    odd = len(problems) - len(wrong)
    if as_json:
        problems_printed(problems)
        return PROBLEMS_FOUND if wrong else 0
    for problem in problems:
        say(str(problem))
    if wrong:
        touched = len({problem.place.file for problem in wrong})
        beside = f", and {counted(odd, 'warning')}" if odd else ""
        say(f"{counted(len(wrong), 'problem')} in {counted(touched, 'file')}{beside}")
        return PROBLEMS_FOUND
    _lanes_said(loaded.settings)
    if found.unproven:
        say(found.sentence)
    if keys_sentence:
        tell(keys_sentence)
    tell(f"{summary}{counted(odd, 'warning') if odd else 'all fine'}")
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NamesChecked:
    """What the upstreams' lists say of the names in rules, and how many names no list could be asked about."""

    problems: tuple[Problem, ...]
    unproven: int = 0
    number: int = 0
    offline: bool = False

    @property
    def sentence(self) -> str:
        """How much is left open, and what to do."""
        lists = (
            "names.lock.json lacks their lists" if self.offline else "nobody has asked the accounts for their lists yet"
        )
        return (
            f"{self.unproven} of {counted(self.number, 'name')} in the rules could not be checked, for {lists}: "
            "run 'incident-bridge names pull'"
        )


def names_checked(loaded: Any, *, offline: bool) -> NamesChecked:
    """The names in a configuration's rules against the ledger's lists, or (`offline`) the lock file's alone."""
    from bridge.config.names_lock import name_problems, unproven
    from bridge.entrypoints.cli.traffic import names_known

    try:
        known, uses = names_known(loaded.settings, asks_ledger=not offline), loaded.book.names
        open_ = len(unproven(uses, known))
        found = name_problems(uses, known)
        return NamesChecked(problems=found, unproven=open_, number=len(uses), offline=offline)
    except ConfigError as error:
        return NamesChecked(problems=error.problems)


def _lanes_said(settings: Any) -> None:
    """Which accounts share a lane, and which talk to the stand-in: facts a reader of the file may have missed."""
    from bridge.config.accounts import lanes_of

    shared: dict[str, list[str]] = {}
    for owner, lane in lanes_of(settings.accounts).items():
        shared.setdefault(lane, []).append(owner)
    for accounts in shared.values():
        if len(accounts) > 1:
            say(f"accounts {', '.join(sorted(accounts))} have the same token and share one lane, at the slowest rate")
    for name, account in settings.accounts.items():
        if account.sandbox:
            say(f"account {name} talks to the built-in sandbox: no page leaves this machine")


@click.command()
@click.option("--stdin", "from_stdin", is_flag=True, help="Read the password from standard input, for scripts.")
@unused_config_option
def passwd(from_stdin: bool) -> int:
    """Make the argon2 hash of a password, for BRIDGE_UI_PASSWORD_HASH."""
    from argon2 import PasswordHasher

    password = sys.stdin.readline().rstrip("\r\n") if from_stdin else _asked_twice()
    if len(password) < 8:
        say("a password has at least 8 characters; nothing was made")
        return PROBLEMS_FOUND
    tell(PasswordHasher().hash(password))
    say("set it as BRIDGE_UI_PASSWORD_HASH (quote it: it holds $ signs) and start again")
    return 0


def _asked_twice() -> str:
    """A password typed at a terminal that does not show it. Raises UsageError where there is none."""
    with catch_warnings():
        simplefilter("error", GetPassWarning)
        try:
            return str(click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
        except GetPassWarning as error:
            raise click.UsageError("there is no terminal to ask at: give it on standard input, with --stdin") from error
