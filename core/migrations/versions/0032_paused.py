"""Why an alert is over may be that its channel is paused; what a person gave up saying is forgotten with its time."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0032_paused.sql"))
