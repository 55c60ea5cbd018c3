"""`audit`: who did what; and how commands that change something write themselves down there."""

import os
import platform
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bridge.domain.access import Deed, How, Role, Who
from bridge.entrypoints.cli import config_option, json_option
from bridge.entrypoints.cli.reading import before_option, following, limit_option, opened
from bridge.entrypoints.cli.tables import printed, shown

if TYPE_CHECKING:
    from bridge.adapters.ledger import Ledger


def did(ledger: "Ledger", action: str, what: str, **detail: object) -> None:
    """Write down that the user of this terminal did something; `what` is a word and an id: `delivery 01…`."""
    who = Who(name=user_name(), role=Role.ADMIN, how=How.COMMAND, address=platform.node())
    ledger.did(Deed(who=who, action=action, what=what, detail=detail))


def user_name() -> str:
    """The system's name for who runs this, and behind sudo who asked for it; no variable alone is believed."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user needs no name
        name = f"uid {os.getuid()}"
    asked_by = os.environ.get("SUDO_USER")
    return f"{name} (sudo by {asked_by})" if asked_by and os.getuid() == 0 else name


@click.command()
@click.option("--actor", help="Only what this user, token or system user did.")
@click.option("--action", help="Only this action, such as pause, replay or 'login failed'.")
@limit_option
@before_option
@json_option
@config_option
def audit(actor: str | None, action: str | None, limit: int, before: str | None, as_json: bool, config: Path) -> int:
    """Show who did what: logins, pauses, replays, discards and every other change, newest first."""
    with opened(config) as (ledger, _):
        page = ledger.audit(actor=actor, action=action, limit=limit, before=before)
    if as_json:
        printed({"items": list(page.items), "next": page.next})
        return 0
    rows = [
        {**one, "title": ", ".join(f"{name}: {value}" for name, value in one["detail"].items())} for one in page.items
    ]
    columns = {"AT": "at", "WHO": "actor", "HOW": "how", "FROM": "address", "DID": "action", "TO": "object"}
    empty = (
        "nothing matches; without the options there may be more" if actor or action else "nobody has changed anything"
    )
    shown({**columns, "SAID": "title"}, rows, empty)
    following(page.next)
    return 0
