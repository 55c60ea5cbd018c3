"""Bringing the schema up to date, and refusing to run on one that is not.

A schema newer than the code is never touched: an older program would write rows the newer one does not expect.
"""

from pathlib import Path

from sqlalchemy import text

from bridge.adapters.ledger.engine import Database, Transaction
from bridge.domain.errors import BridgeError

HEAD = "0011"  # the version this code works with; the newest file in migrations/versions
_ADVISORY_LOCK = 0x1B_1B_1B
_ENCODING = "UTF8"
_IS_THERE = {  # SQLAlchemy's inspector would say so as well, and cost every process most of a megabyte
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'",
    "postgresql": "SELECT to_regclass('alembic_version')",
}


class SchemaError(BridgeError):
    """The ledger's schema is not the one this program works with; the message says what to do."""


def version(transaction: Transaction) -> str | None:
    """The schema's version; None for an empty database."""
    connection = transaction.connection
    if connection.exec_driver_sql(_IS_THERE[connection.dialect.name]).scalar() is None:
        return None
    found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return found


def require_current(database: Database) -> None:
    """Raises SchemaError when the schema is missing, older or newer than this program; makes nothing."""
    if database.file is not None and not database.file.exists():
        made_by = "'incident-bridge up' or 'incident-bridge db upgrade' makes it"
        raise SchemaError(f"there is no ledger yet at {database.file}: {made_by}")
    with database.reading() as transaction:
        found = version(transaction)
    if found == HEAD:
        return
    if found is None or found in _known():
        raise SchemaError(
            f"the ledger's schema is {'missing' if found is None else 'version ' + found}, this program needs version "
            f"{HEAD}: run 'incident-bridge db upgrade'"
        )
    raise SchemaError(_newer(found))


def upgrade(database: Database) -> tuple[str | None, str]:
    """Apply every missing migration in one transaction; answers the version before and after.

    Any number of processes may ask at once: one does it, the others find it done. Raises SchemaError when it is newer.
    """
    database.make_file()
    with database.writing() as transaction:
        database.unhurried(transaction)  # an index over a year of incidents, or the wait for a host that builds it
        if not database.is_sqlite:
            transaction.connection.execute(text("SELECT pg_advisory_xact_lock(:k)"), {"k": _ADVISORY_LOCK})
        before = version(transaction)
        if before is not None and before not in _known():
            raise SchemaError(_newer(before))
        if before == HEAD:
            return before, HEAD
        if before is None and (odd := odd_encoding(transaction)):
            raise SchemaError(f"{odd}; nothing was made there")
        from alembic import command  # a quarter of a second, which a start that has nothing to do is spared
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.attributes["connection"] = transaction.connection
        command.upgrade(config, "head")
    return before, HEAD


def odd_encoding(transaction: Transaction) -> str | None:
    """What is wrong with how the database keeps text, and what to do; None for UTF-8, as SQLite's always is."""
    connection = transaction.connection
    found = (
        _ENCODING
        if connection.dialect.name == "sqlite"
        else connection.exec_driver_sql("SHOW server_encoding").scalar()
    )
    if found == _ENCODING:
        return None
    return (
        f"the ledger's database keeps text as {found}, and would refuse an alert for one letter that it lacks: "
        "make one with 'createdb --encoding UTF8 --template template0'"
    )


def _known() -> frozenset[str]:
    versions = Path(__file__).parent / "migrations" / "versions"
    return frozenset(file.name.partition("_")[0] for file in versions.glob("*.py"))


def _newer(found: str) -> str:
    return (
        f"the ledger's schema is version {found}, newer than this program ({HEAD}): start the newer incident-bridge "
        "that made it, or restore a backup from before its upgrade; nothing was changed"
    )
