"""What an import knew when it was read, what its SKUs were before it; the catalogue as a file."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0051_import_exports.sql"))
