"""The rule book in force as one row, the texts books are compiled from, and silences."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column, an index, and three tables; the row in force is made by the first process that starts with a book."""
    op.add_column("rule_books", sa.Column("files", sa.Text()))
    only = sa.text("outcome = 'silenced'")
    op.create_index("alerts_silenced", "alerts", ["event_id"], sqlite_where=only, postgresql_where=only)
    op.create_table(
        "in_force",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("book", sa.Text()),
        sa.Column("book_no", sa.Integer(), nullable=False),
        sa.Column("taken_at", sa.BigInteger()),
        sa.Column("taken_by", sa.Text()),
        sa.Column("checked_at", sa.BigInteger()),
        sa.Column("refused_at", sa.BigInteger()),
        sa.Column("refused_by", sa.Text()),
        sa.Column("refused", sa.Text()),
        sa.Column("silences_no", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "book_places",
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("place"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "silences",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("match", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("criticals", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("ended_by", sa.Text()),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
