"""Alembic's entry: one connection, one transaction, one migration at a time."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

# Any constant: two processes that start together must not both migrate.
_LOCK = 7_205_759_403_792_793

config = context.config
engine = create_engine(config.attributes["url"], poolclass=NullPool)
with engine.connect() as connection:
    connection.execute(text("select pg_advisory_lock(:key)"), {"key": _LOCK})
    connection.commit()
    try:
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
        role = config.attributes.get("app_role")
        if role and connection.execute(text("select 1 from pg_roles where rolname = :role"), {"role": role}).scalar():
            from core.migrations import sql_of

            connection.execute(text(sql_of("grants.sql").replace("{role}", role)))
            connection.commit()
    finally:
        connection.rollback()
        connection.execute(text("select pg_advisory_unlock(:key)"), {"key": _LOCK})
        connection.commit()
