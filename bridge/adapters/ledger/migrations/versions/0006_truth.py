"""Incidents that a person closed while they fire, incidents that stand for another account's, and who was looked at."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INDEXES = {
    "incidents_quiet": ("renews_at", "renews_at IS NOT NULL", False),
    "incidents_resolved": ("resolved_at", "state = 'resolved'", False),
    "incidents_upstream": ("upstream_id", "upstream_id IS NOT NULL", False),
    "incidents_stands_for": ("stands_for", "stands_for IS NOT NULL", True),
}


def upgrade() -> None:
    """Two columns, their indexes, and a table."""
    op.add_column("incidents", sa.Column("renews_at", sa.BigInteger()))
    op.add_column("incidents", sa.Column("stands_for", sa.Text()))
    for name, (column, where, unique) in INDEXES.items():
        partial = sa.text(where)
        op.create_index(name, "incidents", [column], unique=unique, sqlite_where=partial, postgresql_where=partial)
    op.create_table(
        "sweeps",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("swept_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account"),
        sqlite_with_rowid=False,
    )
