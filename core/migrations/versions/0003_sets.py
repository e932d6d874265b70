"""What is worked out in sets: the stock of order lines, and tables that have outgrown their statistics."""

from __future__ import annotations

from alembic import op

from core.migrations import sql_of

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(sql_of("0003_sets.sql"))
    op.execute(_connection_health())


def _connection_health() -> str:
    """The view as the second revision made it, but that it finds listings to push by the new index."""
    views = sql_of("0002_views.sql")
    begins = views.index("create view connection_health")
    view = views[begins : views.index(";", begins)]
    before = "t.publishing = 'on' and listing_differs(t.desired_units - t.short_units, t.published_units)"
    assert view.count(before) == 1
    after = before.replace("t.publishing = 'on'", "t.is_to_push")
    return view.replace("create view", "create or replace view").replace(before, after)
