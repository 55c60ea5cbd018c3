"""What incidents were told, what their summary is upstream, and the last incident of each series."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; of each series the live incident is the last one, else the newest."""
    op.add_column("incidents", sa.Column("telling", sa.Text(), nullable=True))
    op.add_column("incidents", sa.Column("summary", sa.Text(), nullable=True))
    op.add_column("series", sa.Column("last_incident", sa.Text(), nullable=True))
    op.execute(
        "UPDATE series SET last_incident = (SELECT incidents.id FROM incidents WHERE incidents.series = series.id "
        "ORDER BY incidents.live DESC, incidents.id DESC LIMIT 1)"
    )
