"""Alembic's entry: runs the versions over a connection that adapters.ledger.upgrade hands in."""

from alembic import context
from sqlalchemy import Connection

from bridge.adapters.ledger.schema import metadata


def run() -> None:
    """Apply the versions on the given connection, inside its transaction."""
    connection: Connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    context.run_migrations()


run()
