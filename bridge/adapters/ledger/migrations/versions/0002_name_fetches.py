"""Lists of names are fetched piece by piece, by jobs that may end at any time."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; every list there is gets its row, so that it is refreshed."""
    op.create_table(
        "name_fetches",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("asked_until", sa.BigInteger(), nullable=True),
        sa.Column("lease_token", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("refused_since", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("began_at", sa.BigInteger(), nullable=True),
        sa.Column("next_cursor", sa.Text(), nullable=True),
        sa.Column("things", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "kind"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO name_fetches (account, kind, due_at, failures, things) "
        "SELECT account, kind, fetched_at, 0, '[]' FROM name_lists"
    )
