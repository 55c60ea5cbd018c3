"""Who did what, guesses of passwords, numbers counted once, and indexes for the pages."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INDEXES = {
    "deliveries_done": ("deliveries", ["done_at"], "done_at IS NOT NULL"),
    "deliveries_dead_of": ("deliveries", ["account", "action"], "state = 'dead'"),
    "attempts_at": ("attempts", ["at"], None),
    "incidents_state": ("incidents", ["state", "id"], None),
    "incidents_key": ("incidents", ["key"], None),
}


def upgrade() -> None:
    """Four tables, five indexes, one made anew. What is on record already is counted by upkeep, a piece at a time."""
    op.create_table(
        "audit",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("how", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "guesses",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("spent_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tallies",
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("what", "hour", "labels"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "marks",
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("reached", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("what"),
        sqlite_with_rowid=False,
    )
    op.drop_index("members_problem", "members")  # SQLite never took it: queries say `firing = 1`
    op.create_index(
        "members_problem",
        "members",
        ["problem_id"],
        sqlite_where=sa.text("firing = 1"),
        postgresql_where=sa.text("firing"),
    )
    for name, (table, columns, where) in INDEXES.items():
        partial = None if where is None else sa.text(where)
        op.create_index(name, table, columns, sqlite_where=partial, postgresql_where=partial)
