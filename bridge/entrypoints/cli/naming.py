"""`names`: the upstreams' lists of names, asked for now, kept in the ledger and in a lock file for CI."""

import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from bridge.adapters.files import replace_text
from bridge.adapters.http import Http
from bridge.adapters.ledger import Ledger
from bridge.adapters.ledger.fetches import NAMES_MAX_CHARS, chars_of
from bridge.config.names_lock import FILE, lock_text, read_lock
from bridge.destinations.base import Destination
from bridge.domain.delivery import HttpResponse, NamedThing
from bridge.entrypoints.cli import PROBLEMS_FOUND, config_option, json_option, say, tell
from bridge.entrypoints.cli.auditing import did
from bridge.entrypoints.cli.groups import Group
from bridge.entrypoints.cli.tables import age, printed, shown

NAMES_MAX = 20_000  # of one list, as the workers take it


@click.group(cls=Group)
def names() -> None:
    """The names of services, severities and the like that the upstreams know."""


@names.command()
@click.argument("accounts", nargs=-1, metavar="[ACCOUNT]...")
@config_option
def pull(accounts: tuple[str, ...], config: Path) -> int:
    """Ask the accounts (default: all) for their lists now.

    They go into the ledger, where the workers find them, and into names.lock.json beside the rules: commit it, and
    'incident-bridge check --offline' proves every name of a rule in CI. Exit code 1: a list did not come, and what was
    known of it stays.
    """
    from bridge import wiring

    settings = wiring.load_settings(config, receives=False)
    made = wiring.destinations(settings)
    unknown = [name for name in accounts if name not in made]
    if unknown:
        raise _no_account(unknown, made)
    before = read_lock(settings.rules_dir)
    lists = {} if before is None else dict(before.lists)
    failed = 0
    with closing(wiring.open_ledger(settings)) as ledger, closing(Http()) as http:
        for account in sorted(accounts or made):
            for kind in made[account].name_kinds:
                things = _pulled(made[account], kind, http)
                if isinstance(things, str):
                    say(f"{account}: {kind}: {things}")
                    failed += 1
                    continue
                ledger.names_stored(account, kind, things)
                did(ledger, "pull", f"account {account}", kind=kind, number=len(things))
                lists[account, kind] = tuple(things)
                tell(f"{account}: {kind}: {len(things)}")
    path = settings.rules_dir / FILE
    replace_text(path, lock_text(lists, before))
    tell(f"wrote {path}")
    return PROBLEMS_FOUND if failed else 0


@names.command("list")
@click.argument("account", required=False)
@click.argument("kind", required=False)
@json_option
@config_option
def list_(account: str | None, kind: str | None, as_json: bool, config: Path) -> int:
    """Show the lists the ledger keeps; with ACCOUNT and KIND the entries of one."""
    from bridge import wiring

    settings = wiring.load_settings(config, receives=False)
    every = wiring.destinations(settings)
    if account is not None and account not in every:
        raise _no_account([account], every)
    if account is not None and kind is not None and kind not in every[account].name_kinds:
        raise click.UsageError(f"'{account}' has no list '{kind}'; lists: {', '.join(every[account].name_kinds)}")
    with closing(wiring.open_ledger(settings)) as ledger:
        if account is not None and kind is not None:
            return _entries(ledger, account, kind, as_json=as_json)
        made = {name: one for name, one in every.items() if account in (None, name)}
        rows = _lists(ledger, made)
    if as_json:
        printed([{name: value for name, value in row.items() if name != "age"} for row in rows])
        return 0
    columns = {"ACCOUNT": "account", "KIND": "kind", "ENTRIES": "entries", "AGE": "age"}
    shown(columns, rows, "there are no accounts")
    return 0


def _lists(ledger: Ledger, accounts: Mapping[str, Destination]) -> list[dict[str, Any]]:
    """Each list of these accounts: how long it is, and how old; None of one that never came."""
    now = ledger.time()
    rows: list[dict[str, Any]] = []
    for name, destination in sorted(accounts.items()):
        for one in destination.name_kinds:
            held = ledger.name_list(name, one)
            asked = None if held is None else (now - held.fetched_at).total_seconds()
            number = None if held is None else len(held.things)
            rows.append({"account": name, "kind": one, "entries": number, "age_s": asked, "age": age(asked)})
    return rows


def _no_account(unknown: Iterable[str], accounts: Iterable[str]) -> click.UsageError:
    names = ", ".join(f"'{name}'" for name in unknown)
    return click.UsageError(f"there is no account {names}; accounts: {', '.join(sorted(accounts))}")


def _entries(ledger: Ledger, account: str, kind: str, *, as_json: bool) -> int:
    held = ledger.name_list(account, kind)
    if held is None:
        say(f"the ledger has no list '{kind}' of '{account}'; 'incident-bridge names pull {account}' asks for it")
        return PROBLEMS_FOUND
    rows = [
        {"id": thing.id, "name": thing.name, "aliases": ", ".join(thing.aliases)}
        for thing in sorted(held.things, key=lambda one: one.name.casefold())
    ]
    if as_json:
        printed(rows)
    else:
        shown({"ID": "id", "NAME": "name", "ALSO": "aliases"}, rows, "an empty list")
    return 0


def _pulled(destination: Destination, kind: str, http: Http) -> list[NamedThing] | str:
    """A whole list, or why it did not come. A 429 is waited for once, as long as it says, up to a minute."""
    things: list[NamedThing] = []
    chars = 0
    cursor: str | None = None
    waited = False
    while len(things) < NAMES_MAX and chars <= NAMES_MAX_CHARS:
        request = destination.names_request(kind, cursor)
        answer = destination.masked(http.send(request))
        page = destination.names_in(kind, request, answer) if isinstance(answer, HttpResponse) else None
        if page is None:
            failure = destination.names_failure(answer)
            if isinstance(answer, HttpResponse) and answer.status == 429 and not waited:
                waited = True
                time.sleep(min(60.0, float(getattr(failure, "retry_after_s", None) or 5.0)))
                continue
            return failure.detail
        things += page.things
        chars += chars_of(page.things)
        cursor = page.next_cursor
        if cursor is None:
            return things
    return f"more than {NAMES_MAX} entries or {NAMES_MAX_CHARS >> 20} MiB; name what lies beyond by its id"
