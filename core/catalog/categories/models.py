"""Table: categories."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

from core.db import metadata

categories = Table(
    "categories",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("parent_id", BigInteger),
    Column("name", Text, nullable=False),
    Column("path", Text, nullable=False, comment="the names from the top, with > between them"),
    Column("depth", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    ForeignKeyConstraint(["shop_id", "parent_id"], ["categories.shop_id", "categories.id"]),
    UniqueConstraint("shop_id", "parent_id", "name", postgresql_nulls_not_distinct=True),
    CheckConstraint("btrim(name) = name and name <> ''", name="name"),
    CheckConstraint("parent_id <> id", name="not_its_own_parent"),
    Index(None, "shop_id", "parent_id"),
    Index(None, "shop_id", "path"),
)
