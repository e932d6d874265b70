"""Tables: shops, connections, connection_secrets."""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from core.db import metadata

shops = Table(
    "shops",
    metadata,
    Column("shop_id", BigInteger, Identity(always=True), primary_key=True),
    Column("name", Text, nullable=False),
    Column("time_zone", Text, nullable=False, comment="IANA name; business days are counted in it"),
    Column("currency", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    UniqueConstraint("name"),
)

connections = Table(
    "connections",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("vendor", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("account_ref", Text, nullable=False, comment="the vendor's name for the account: shop domain, seller id"),
    Column("settings", JSONB, nullable=False, server_default=text("'{}'")),
    Column("guarantee_class", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="active"),
    Column("orders_polled_to", DateTime(timezone=True), comment="vendor's time from which the next poll reads"),
    Column("orders_polled_at", DateTime(timezone=True), comment="when the last complete poll began, by our clock"),
    Column("catalogue_read_at", DateTime(timezone=True)),
    Column(
        "reads_orders",
        Boolean,
        nullable=False,
        server_default=text("true"),
        comment="whether its orders are read at all: else what it sells cannot be known",
    ),
    Column(
        "watermark_at",
        DateTime(timezone=True),
        comment="the time up to which every order is known and handled; null before the first complete poll",
    ),
    Column(
        "watermark_next_at",
        DateTime(timezone=True),
        comment="where the watermark goes once every message up to watermark_next_inbox_id is handled",
    ),
    Column("watermark_next_inbox_id", BigInteger),
    Column("doubt_seconds", REAL, comment="measured: from a sale of its to the number that it causes elsewhere"),
    Column("last_error", Text),
    Column("last_error_at", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    UniqueConstraint("shop_id", "name"),
    CheckConstraint("guarantee_class in ('A', 'B', 'C', 'D')", name="guarantee_class"),
    CheckConstraint("state in ('active', 'paused')", name="state"),
)

connection_secrets = Table(
    "connection_secrets",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False, comment="Fernet token; the keys are in SWITCHYARD_SECRET_KEYS"),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id", "connection_id", "name"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
)
