"""Products at channels: what the channel told of, what cannot be made out, what waits for a person and since when."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0050_products_waiting.sql"))
