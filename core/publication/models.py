"""Tables: product_readings, product_field_masters, product_links, product_pushes."""

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
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from core.db import metadata

product_readings = Table(
    "product_readings",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column(
        "read_to",
        DateTime(timezone=True),
        comment="the channel's time of the newest change that was read; the next reading begins there",
    ),
    Column("whole_read_at", DateTime(timezone=True), comment="when all of them were last read"),
    Column(
        "whole_began_at",
        DateTime(timezone=True),
        comment="when the reading of all of them began that is not done yet",
    ),
    Column(
        "whole_to",
        DateTime(timezone=True),
        comment="the channel's time of the last change that it took in: it goes on there",
    ),
    Column("whole_counts", JSONB, nullable=False, server_default=text("'{}'"), comment="what it has counted so far"),
    Column("created_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id", "connection_id"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
)

product_field_masters = Table(
    "product_field_masters",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column(
        "field", Text, nullable=False, comment="as core.publication.rules names them; metafields.KEY for one of them"
    ),
    Column("master", Text, nullable=False),
    Column("decided_by", Text, nullable=False),
    Column("decided_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id", "connection_id", "field"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    CheckConstraint("master in ('ours', 'channel', 'nobody')", name="master"),
    CheckConstraint("btrim(decided_by) <> ''", name="decided_by"),
)

product_links = Table(
    "product_links",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("product_id", BigInteger, comment="null: the channel's product could not be told to be one of ours"),
    Column("channel_ref", Text, comment="null: it is not there yet"),
    Column("seen", JSONB, comment="the product whole, as the channel last showed it"),
    Column("seen_hash", Text),
    Column("version_at", DateTime(timezone=True), comment="the channel's time of its last change that was read"),
    Column("seen_at", DateTime(timezone=True)),
    Column(
        "names",
        JSONB,
        nullable=False,
        server_default=text("'{}'"),
        comment="by the channel's reference of a picture: the address that it was fetched from",
    ),
    Column(
        "may_drop",
        ARRAY(Text),
        nullable=False,
        server_default=text("'{}'"),
        comment="references of variants that a person allowed to be deleted there",
    ),
    Column("judged_version", Integer, comment="the version of our product that state was judged by; null: judge again"),
    Column("desired_hash", Text, comment="of what the channel should show"),
    Column("confirmed_hash", Text, comment="of what it should have shown when it last did"),
    Column("refused_hash", Text, comment="what it objected to: not sent again as it stands"),
    Column("state", Text, nullable=False),
    Column("problem", Text),
    Column("correction_key", Text, comment="what was last set right there: fields, what they showed, what they should"),
    Column("corrections", Integer, nullable=False, server_default="0", comment="how often in a row it was the same"),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("next_at", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    UniqueConstraint("shop_id", "connection_id", "product_id"),
    UniqueConstraint("shop_id", "connection_id", "channel_ref"),
    CheckConstraint("state in ('in_step', 'differs', 'asks', 'gone')", name="state"),
    CheckConstraint("product_id is not null or channel_ref is not null", name="somewhere"),
    CheckConstraint("(seen is null) = (seen_hash is null) and (seen is null) = (version_at is null)", name="seen"),
    CheckConstraint("state not in ('asks', 'gone') or problem is not null", name="asks"),
    Index(
        "ix_product_links_due",
        "shop_id",
        "connection_id",
        "next_at",
        postgresql_where=text("state = 'differs'"),
    ),
    Index(
        "ix_product_links_asks",
        "shop_id",
        "connection_id",
        "id",
        postgresql_where=text("state in ('asks', 'gone')"),
    ),
)

product_pushes = Table(
    "product_pushes",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("link_id", BigInteger, nullable=False),
    Column("product_id", BigInteger, nullable=False),
    Column("product_version", Integer, nullable=False),
    Column("before", JSONB, comment="what the channel showed when it was planned; null: the product was not there"),
    Column("wanted", JSONB, nullable=False, comment="what it was to show"),
    Column("base_version_at", DateTime(timezone=True), comment="the channel's time of what was planned from"),
    Column("planned_at", DateTime(timezone=True), nullable=False),
    Column("sent_at", DateTime(timezone=True)),
    Column(
        "answered_at",
        DateTime(timezone=True),
        comment="when the channel said that it was done; then it is read back",
    ),
    Column("outcome", Text, comment="null while open: of what may have left nobody knows yet"),
    Column("outcome_at", DateTime(timezone=True)),
    Column("detail", Text),
    Column("problems", JSONB),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id", "link_id"], ["product_links.shop_id", "product_links.id"]),
    CheckConstraint(
        "outcome in ('confirmed', 'refused', 'partly', 'lost', 'unsent') and (outcome is null) = (outcome_at is null)",
        name="outcome",
    ),
    CheckConstraint("sent_at is not null or outcome is null or outcome = 'unsent'", name="sent"),
    Index("uq_product_pushes_open", "shop_id", "link_id", unique=True, postgresql_where=text("outcome is null")),
    Index("ix_product_pushes_shop_id_link_id_id", "shop_id", "link_id", "id"),
)
