"""Tables: taxonomies, taxonomy_entries, category_mappings."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
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
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from core.db import metadata

taxonomies = Table(
    "taxonomies",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("kind", Text, nullable=False),
    Column("connection_id", BigInteger, comment="whose categories they are, where each account has its own"),
    Column("name", Text, nullable=False, comment="the file or the connection that it came from"),
    Column("version", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("entries", Integer, nullable=False),
    Column("loaded_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("loaded_at", DateTime(timezone=True), nullable=False),
    Column("replaced_at", DateTime(timezone=True), comment="null: the one that counts"),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    CheckConstraint("kind in ('google', 'shopify', 'klaviyo')", name="kind"),
    CheckConstraint("(kind = 'klaviyo') = (connection_id is not null)", name="whose"),
    CheckConstraint("btrim(loaded_by) <> '' and btrim(reason) <> ''", name="said"),
    Index(
        "uq_taxonomies_living",
        "shop_id",
        "kind",
        "connection_id",
        unique=True,
        postgresql_where=text("replaced_at is null"),
        postgresql_nulls_not_distinct=True,
    ),
)

taxonomy_entries = Table(
    "taxonomy_entries",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("taxonomy_id", BigInteger, nullable=False),
    Column("ref", Text, nullable=False, comment="the id that the taxonomy itself gives it"),
    Column("path", Text, nullable=False, comment="the names from the top, with > between them"),
    Column("name", Text, nullable=False),
    Column("parent_ref", Text),
    Column("is_leaf", Boolean, nullable=False),
    Column("words", ARRAY(Text), nullable=False, comment="of its path, as names are compared"),
    PrimaryKeyConstraint("shop_id", "taxonomy_id", "ref"),
    ForeignKeyConstraint(["shop_id", "taxonomy_id"], ["taxonomies.shop_id", "taxonomies.id"]),
)

category_mappings = Table(
    "category_mappings",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("category_id", BigInteger, nullable=False),
    Column("category_path", Text, nullable=False, comment="the category as it was called then"),
    Column("kind", Text, nullable=False),
    Column("connection_id", BigInteger),
    Column(
        "answer",
        Text,
        nullable=False,
        comment="entry: that entry of the taxonomy; left_out: none; own: one of its own, whatever those above it are",
    ),
    Column("entry_ref", Text),
    Column("entry_path", Text, comment="the entry as it was called then"),
    Column("source", Text, nullable=False),
    Column("score", Integer, comment="of the suggestion that was accepted, in percent"),
    Column("batch_id", BigInteger, comment="the audit entry of the act that accepted many"),
    Column("replaces_id", BigInteger, comment="the answer that this one took the place of"),
    Column("mapped_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("mapped_at", DateTime(timezone=True), nullable=False),
    Column("ended_by", Text),
    Column("end_reason", Text),
    Column("ended_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    CheckConstraint("kind in ('google', 'shopify', 'klaviyo')", name="kind"),
    CheckConstraint("(kind = 'klaviyo') = (connection_id is not null)", name="whose"),
    CheckConstraint(
        "answer in ('entry', 'left_out', 'own') and (answer = 'entry') = (entry_ref is not null)"
        " and (entry_ref is null) = (entry_path is null) and (answer <> 'own' or kind = 'klaviyo')",
        name="answer",
    ),
    CheckConstraint("source in ('person', 'suggestion')", name="source"),
    CheckConstraint("btrim(mapped_by) <> '' and btrim(reason) <> ''", name="said"),
    CheckConstraint(
        "(ended_at is null) = (ended_by is null) and (ended_at is null) = (end_reason is null)", name="ended"
    ),
    Index(
        "uq_category_mappings_living",
        "shop_id",
        "kind",
        "connection_id",
        "category_id",
        unique=True,
        postgresql_where=text("ended_at is null"),
        postgresql_nulls_not_distinct=True,
    ),
    Index("ix_category_mappings_history", "shop_id", "kind", "connection_id", "id"),
    Index("ix_category_mappings_batch_id", "shop_id", "batch_id", postgresql_where=text("batch_id is not null")),
    Index("ix_category_mappings_category_id", "shop_id", "category_id"),
    comment="which entry of a taxonomy a category is; ended ones are its history",
)
