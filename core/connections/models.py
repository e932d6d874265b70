"""Tables: shops, connections, connection_secrets, connection_tokens, write_stops, channel_subscriptions,
channel_acts, channel_mailboxes, channel_notices.
"""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    Interval,
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
    Column(
        "mark",
        Text,
        nullable=False,
        server_default=text("left(replace(gen_random_uuid()::text, '-', ''), 8)"),
        comment="part of every id that we give at others; never changes",
    ),
    UniqueConstraint("name"),
    CheckConstraint("mark ~ '^[0-9a-f]{8}$'", name="mark"),
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
    Column(
        "write_mode",
        Text,
        nullable=False,
        server_default="live",
        comment="live: what differs is written; shadow: it is only compared",
    ),
    Column("orders_polled_to", DateTime(timezone=True), comment="vendor's time from which the next poll reads"),
    Column("orders_polled_at", DateTime(timezone=True), comment="when the last complete poll began, by our clock"),
    Column(
        "orders_asked_at",
        DateTime(timezone=True),
        comment="when its changed orders were last asked for, and it answered",
    ),
    Column("orders_resume", Text, comment="the channel's own note of where the next asking goes on"),
    Column(
        "open_orders_resume",
        Text,
        comment="the same of the orders that were open at its connection, until all of them are read",
    ),
    Column("catalogue_read_at", DateTime(timezone=True)),
    Column(
        "open_orders_read_at",
        DateTime(timezone=True),
        comment="when the orders open at its connection were read, all of them",
    ),
    Column(
        "open_orders_from", DateTime(timezone=True), comment="older open orders were hidden from us; null: none were"
    ),
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
    Column(
        "clock_margin",
        Interval,
        Computed(
            "interval '1 second'"
            " + interval '4 seconds' / coalesce(nullif((settings ->> 'clock_factor')::float8, 0), 1)",
            persisted=True,
        ),
        nullable=False,
        comment="how far the clock of its orders and that of what it shows may be apart",
    ),
    Column("doubt_seconds", REAL, comment="measured: from a sale of its to the number that it causes elsewhere"),
    Column("last_error", Text),
    Column("last_error_at", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    UniqueConstraint("shop_id", "name"),
    CheckConstraint("guarantee_class in ('A', 'B', 'C', 'D', 'T')", name="guarantee_class"),
    CheckConstraint("state in ('active', 'paused')", name="state"),
    CheckConstraint("write_mode in ('live', 'shadow')", name="write_mode"),
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

connection_tokens = Table(
    "connection_tokens",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column(
        "sealed",
        LargeBinary,
        nullable=False,
        comment="Fernet token, as in connection_secrets: the access token, and a fingerprint of the credentials it was"
        " fetched with",
    ),
    Column("renew_at", DateTime(timezone=True), nullable=False, comment="from when on the next one is fetched"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id", "connection_id"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
)

write_stops = Table(
    "write_stops",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("connection_id", BigInteger, comment="whose writes it stops; null: those of every connection of the shop"),
    Column("stopped_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("stopped_at", DateTime(timezone=True), nullable=False),
    Column("ended_by", Text),
    Column("ended_reason", Text),
    Column("ended_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    CheckConstraint("btrim(stopped_by) <> '' and btrim(reason) <> ''", name="named_and_reasoned"),
    CheckConstraint(
        "(ended_at is null) = (ended_by is null) and (ended_at is null) = (ended_reason is null)"
        " and coalesce(btrim(ended_by) <> '' and btrim(ended_reason) <> '', true)",
        name="ended",
    ),
    Index(
        "uq_write_stops_open",
        "shop_id",
        text("coalesce(connection_id, 0)"),
        unique=True,
        postgresql_where=text("ended_at is null"),
    ),
    comment="while one is open nothing leaves that would change anything outside",
)

channel_subscriptions = Table(
    "channel_subscriptions",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("topic", Text, nullable=False),
    Column(
        "state",
        Text,
        nullable=False,
        comment="standing: calls us; missing: does not, and is not yet repaired; refused: the vendor will not have it",
    ),
    Column("ref", Text, comment="the vendor's id of it"),
    Column("checked_at", DateTime(timezone=True), nullable=False),
    Column("missed_at", DateTime(timezone=True), comment="when it was last found gone: the vendor dropped it"),
    Column("repaired_at", DateTime(timezone=True)),
    Column(
        "repairs", Integer, nullable=False, server_default="0", comment="how often it was made again after it had stood"
    ),
    Column("problem", Text),
    Column(
        "is_advised",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="it does not stand for want of a right that is advised and not needed",
    ),
    PrimaryKeyConstraint("shop_id", "connection_id", "topic"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    CheckConstraint("state in ('standing', 'missing', 'refused')", name="state"),
)

channel_acts = Table(
    "channel_acts",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column(
        "kind",
        Text,
        nullable=False,
        comment="draft_order: the shop's people wrote up an order; order_edit: they changed one after it was placed;"
        " stock_edit: they typed a number over one",
    ),
    Column(
        "ref",
        Text,
        nullable=False,
        comment="the channel's id of the order; of a number: the listing, and when it was first seen",
    ),
    Column("units", Integer, comment="of a number: by how many units it was changed; negative: lowered"),
    Column("acted_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id", "connection_id", "kind", "ref"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    CheckConstraint("kind in ('draft_order', 'order_edit', 'stock_edit')", name="kind"),
)

channel_mailboxes = Table(
    "channel_mailboxes",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("read_at", DateTime(timezone=True), comment="when it last answered us"),
    Column("came_at", DateTime(timezone=True), comment="when a message of it was last recorded"),
    Column("problem", Text, comment="why it cannot be read now, and what to do; null: it can"),
    Column("problem_at", DateTime(timezone=True), comment="since when"),
    PrimaryKeyConstraint("shop_id", "connection_id"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    CheckConstraint("(problem is null) = (problem_at is null)", name="problem"),
    comment="a queue that a channel puts its notifications into: how reading it went",
)

channel_notices = Table(
    "channel_notices",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("hour_at", DateTime(timezone=True), nullable=False),
    Column("topic", Text, nullable=False),
    Column("messages", BigInteger, nullable=False),
    PrimaryKeyConstraint("shop_id", "connection_id", "hour_at", "topic"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    CheckConstraint("messages > 0", name="messages"),
    comment="how many messages came out of a mailbox, by hour and topic; none twice",
)
