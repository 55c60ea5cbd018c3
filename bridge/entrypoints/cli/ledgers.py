"""`db`: looking after the ledger: its schema, and where it is kept."""

from pathlib import Path

import click

from bridge.entrypoints.cli import config_option, say, tell
from bridge.entrypoints.cli.groups import Group
from bridge.entrypoints.cli.tables import counted
from bridge.entrypoints.cli.traffic import Progress


@click.group(cls=Group)
def db() -> None:
    """Look after the ledger: its schema, and where it is kept."""


@db.command("upgrade")
@config_option
def db_upgrade(config: Path) -> int:
    """Apply the missing migrations. Safe to repeat; a newer schema is refused and left alone."""
    from bridge import wiring
    from bridge.adapters.ledger import Ledger
    from bridge.adapters.ledger.upgrade import upgrade
    from bridge.domain.alarms import BEATS_WITHIN

    database = wiring.open_database(wiring.load_settings(config, receives=False))
    try:
        before, after = upgrade(database)
        left = [] if before in (None, after) else [one["process"] for one in Ledger(database, {}).alive(BEATS_WITHIN)]
    finally:
        database.close()
    unchanged = f"the ledger is at version {after} already"
    tell(unchanged if before == after else f"the ledger went from version {before or 'none'} to {after}")
    if left:
        say(
            f"{', '.join(left)} ran a moment ago, with the version before: whatever of it still runs does not start "
            "again once it ends, for the ledger is newer; restart it with this version now"
        )
    return 0


@db.command("move")
@click.argument("source", metavar="FROM")
@config_option
def db_move(source: str, config: Path) -> int:
    """Carry the whole ledger FROM into the empty one that bridge.yaml names: to PostgreSQL, or back to a file.

    FROM is a file (var/bridge.db) or an address as 'ledger:' takes it; its password may stand in PGPASSWORD or
    ~/.pgpass. Stop every process, set 'ledger:' to the new one, run this, start. Open incidents, what waits, silences
    and history go along, and the lanes of the old ledger are paused: it stays whole, and sends nothing twice. Half a
    move changes nothing; run it again.
    """
    from bridge import wiring
    from bridge.adapters.ledger import Ledger
    from bridge.adapters.ledger.engine import Database
    from bridge.adapters.ledger.moving import called, move
    from bridge.config.surroundings import BadAddress, ledger_url
    from bridge.domain.alarms import BEATS_WITHIN
    from bridge.entrypoints.cli.auditing import did

    settings = wiring.load_settings(config, receives=False)
    try:
        is_address = "://" in source
        url = ledger_url(source, settings.config_dir) if is_address else f"sqlite:///{Path(source).absolute()}"
    except BadAddress as error:
        raise click.UsageError(f"FROM: {error.what}; {error.advice}") from error
    old, new = Database(url), wiring.open_database(settings)
    shown = Progress("rows")
    try:
        done = move(old, new, BEATS_WITHIN, shown.reached)
        shown.end()
        did(Ledger(old, {}), "move", f"ledger to {called(new)}")
        did(Ledger(new, {}), "move", f"ledger from {called(old)}", rows=done.rows)
    finally:
        old.close()
        new.close()
    held = f"{counted(done.events, 'event')}, {counted(done.open, 'open incident')}"
    tell(f"moved to {called(new)}: {held}, {done.waiting:,} waiting to be sent")
    say(f"{called(old)} stays as it was, with its lanes paused: nothing is to run on it any more. Now start")
    return 0
