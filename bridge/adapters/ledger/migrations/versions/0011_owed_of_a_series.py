"""The index of what is still owed of each series."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A claim asks whether anything goes before a delivery: of a series that flaps, all but a few are long over."""
    owed = sa.text("state IN ('pending', 'sending')")
    op.create_index("deliveries_owed", "deliveries", ["series", "no"], sqlite_where=owed, postgresql_where=owed)
