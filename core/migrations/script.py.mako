"""${message}"""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("${up_revision}.sql"))
