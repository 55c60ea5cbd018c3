"""Incidents fold into one: what waits knows what it may fold with, what is folded knows its carrier."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. What waits already was decided without a target, and never folds."""
    op.add_column("deliveries", sa.Column("fold_key", sa.Text(), nullable=True))
    op.add_column("deliveries", sa.Column("fold_target", sa.Text(), nullable=True))
    op.add_column("incidents", sa.Column("carrier", sa.Text(), nullable=True))
    op.add_column("incidents", sa.Column("folded", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("lanes", sa.Column("behind_since", sa.BigInteger(), nullable=True))
    waits = sa.text("state = 'pending' AND fold_target IS NOT NULL")
    op.create_index(
        "deliveries_folding",
        "deliveries",
        ["fold_target", "fold_key", "order_key"],
        sqlite_where=waits,
        postgresql_where=waits,
    )
    carried = sa.text("carrier IS NOT NULL")
    op.create_index("incidents_carrier", "incidents", ["carrier", "id"], sqlite_where=carried, postgresql_where=carried)
    carries = sa.text("folded > 0")
    op.create_index(
        "incidents_carriers", "incidents", ["account", "live"], sqlite_where=carries, postgresql_where=carries
    )
