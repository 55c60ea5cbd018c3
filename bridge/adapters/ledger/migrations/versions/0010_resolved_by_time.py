"""The index of what was resolved when, so that SQLite takes it."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The state is a part of it: for the time alone SQLite preferred the index by state, however many that are."""
    resolved = sa.text("state = 'resolved'")
    op.drop_index("incidents_resolved", "incidents")
    op.create_index(
        "incidents_resolved",
        "incidents",
        ["state", "resolved_at"],
        sqlite_where=resolved,
        postgresql_where=resolved,
    )
