"""Tables: inbox_messages, outbox_messages."""

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
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from core.db import metadata

inbox_messages = Table(
    "inbox_messages",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("delivery_id", Text, nullable=False, comment="the vendor's id of this delivery, or resource and version"),
    Column("topic", Text, nullable=False),
    Column("road", Text, nullable=False, comment="webhook or poll"),
    Column("event_ref", Text, comment="the vendor's id of the action behind the delivery; shared by topics"),
    Column("body", LargeBinary, nullable=False, comment="verbatim"),
    Column("triggered_at", DateTime(timezone=True), comment="when the vendor says it happened"),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("state", Text, nullable=False, server_default="received"),
    Column("waiting_for", Text, comment="what releases it, such as order:123"),
    Column("waits_until", DateTime(timezone=True), comment="parked when nothing released it by then"),
    Column("cause", Text, comment="why it is parked or ignored: a short stable word"),
    Column("detail", Text, comment="the cause in a sentence, without personal data"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("settled_at", DateTime(timezone=True), comment="when it was handled, ignored, parked or discarded"),
    Column("discarded_by", Text, comment="who gave it up"),
    Column("discarded_reason", Text, comment="and why"),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    UniqueConstraint("shop_id", "connection_id", "delivery_id"),
    CheckConstraint("state in ('received', 'handled', 'waiting', 'ignored', 'parked', 'discarded')", name="state"),
    CheckConstraint(
        "(state = 'discarded') = (discarded_by is not null) and (state = 'discarded') = (discarded_reason is not null)"
        " and (state <> 'discarded' or cause is not null)",
        name="discarded_is_signed",
    ),
    CheckConstraint("state <> 'parked' or cause is not null", name="parked_has_cause"),
    CheckConstraint("state <> 'waiting' or (waiting_for is not null and waits_until is not null)", name="waiting_ends"),
    CheckConstraint("road in ('webhook', 'poll')", name="road"),
    Index(None, "shop_id", "connection_id", "id", postgresql_where=text("state = 'received'")),
    Index(
        "ix_inbox_messages_waiting",
        "shop_id",
        "connection_id",
        "waiting_for",
        postgresql_where=text("state = 'waiting'"),
    ),
    Index("ix_inbox_messages_parked", "shop_id", "connection_id", "id", postgresql_where=text("state = 'parked'")),
    Index(
        "ix_inbox_messages_discarded", "shop_id", "connection_id", "id", postgresql_where=text("state = 'discarded'")
    ),
    Index("ix_inbox_messages_received_at", "shop_id", "connection_id", "received_at"),
)

outbox_messages = Table(
    "outbox_messages",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("kind", Text, nullable=False),
    Column("dedupe_key", Text, nullable=False, comment="the same words are said once"),
    Column("payload", JSONB, nullable=False),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("settled_at", DateTime(timezone=True)),
    Column("last_error", Text),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    UniqueConstraint("shop_id", "kind", "dedupe_key"),
    CheckConstraint("state in ('waiting', 'sent', 'dead')", name="state"),
    Index(None, "next_attempt_at", "id", postgresql_where=text("state = 'waiting'")),
    Index("ix_outbox_messages_dead", "shop_id", "id", postgresql_where=text("state = 'dead'")),
)
