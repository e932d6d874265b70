"""Table: documents, files that people hand in and fetch; their bytes lie in the store of documents."""

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
    text,
)

from core.db import metadata

documents = Table(
    "documents",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("kind", Text, nullable=False, comment="what it is for: catalogue_import, ..."),
    Column("key", Text, nullable=False, comment="where the store has it; ours, and never what a person typed"),
    Column(
        "file_name",
        Text,
        nullable=False,
        comment="what it is called where it came from; shown, and never a path",
    ),
    Column("content_type", Text, nullable=False),
    Column("bytes_max", BigInteger, nullable=False),
    Column("keep_days", Integer, nullable=False, comment="how long it is kept from when it was stored"),
    Column(
        "state",
        Text,
        nullable=False,
        server_default="awaiting",
        comment="awaiting: a link to upload it was given out; stored: its bytes are there; deleted: they are gone,"
        " this stays on record",
    ),
    Column("bytes", BigInteger),
    Column("sha256", Text),
    Column("created_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("stored_at", DateTime(timezone=True)),
    Column(
        "expires_at",
        DateTime(timezone=True),
        nullable=False,
        comment="awaiting: until when it may be uploaded; stored: until when it is kept",
    ),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    UniqueConstraint("shop_id", "key"),
    CheckConstraint("kind ~ '^[a-z][a-z_]{0,39}$'", name="kind"),
    CheckConstraint("key ~ ('^' || shop_id || '/' || kind || '/[0-9a-f]{32}$')", name="key"),
    CheckConstraint("btrim(file_name) <> '' and btrim(created_by) <> ''", name="named"),
    CheckConstraint("bytes_max > 0", name="bytes_max"),
    CheckConstraint("keep_days between 1 and 3650", name="keep_days"),
    CheckConstraint("state in ('awaiting', 'stored', 'deleted')", name="state"),
    CheckConstraint("bytes between 0 and bytes_max", name="bytes"),
    CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
    CheckConstraint(
        "(bytes is null) = (stored_at is null) and (sha256 is null) = (stored_at is null)"
        " and (state <> 'awaiting' or stored_at is null) and (state <> 'stored' or stored_at is not null)",
        name="stored",
    ),
    Index("ix_documents_expiring", "expires_at", postgresql_where=text("state <> 'deleted'")),
    Index(None, "shop_id", "kind", "id"),
    comment="files that people hand in and fetch; their bytes lie in the store of documents",
)
