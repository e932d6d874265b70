"""Tables: order_readings, staged_orders."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from core.db import metadata

order_readings = Table(
    "order_readings",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("run_id", BigInteger, nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("since_at", DateTime(timezone=True), nullable=False, comment="orders changed or placed since then are read"),
    Column("began_at", DateTime(timezone=True), nullable=False, comment="what we learned of later is not judged"),
    Column("step", Text, nullable=False, server_default="reading"),
    Column("resume", Text, comment="with it the channel goes on behind the page that was staged last"),
    Column("read_to", DateTime(timezone=True), comment="the newest version staged, of channels that tell oldest first"),
    Column("asked_at", DateTime(timezone=True), comment="when the channel last gave a page"),
    Column("at_ref", Text, nullable=False, server_default="", comment="how far the present step is through the stage"),
    Column("healed_at", DateTime(timezone=True), comment="since when it waits for what it recorded to be booked"),
    Column("refs", ARRAY(Text), comment="the only orders that it is over; null: those of its window"),
    PrimaryKeyConstraint("shop_id", "run_id"),
    ForeignKeyConstraint(["shop_id", "run_id"], ["reconciliation_runs.shop_id", "reconciliation_runs.id"]),
    CheckConstraint("step in ('reading', 'comparing', 'asking', 'judging', 'healing', 'closing')", name="step"),
    CheckConstraint("since_at <= began_at", name="window"),
    comment="where a run that compares a channel's orders with ours is; gone when the run has ended",
)

staged_orders = Table(
    "staged_orders",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("run_id", BigInteger, nullable=False),
    Column("channel_ref", Text, nullable=False),
    Column("is_there", Boolean, comment="whether the channel has it; null: it is still to be asked"),
    Column("name", Text),
    Column("version_at", DateTime(timezone=True)),
    Column("placed_at", DateTime(timezone=True)),
    Column("is_cancelled", Boolean),
    Column("lines", Integer, comment="of which something is left"),
    Column("units", BigInteger, comment="null: this version does not tell what edits left of its lines"),
    Column("total_minor", BigInteger),
    Column("currency", Text),
    Column("refunds", Integer),
    Column("refunded_minor", BigInteger),
    Column("verdict", Text, comment="null: nothing differs, as far as it was looked at"),
    Column("order_cause", Text, comment="how the order differs; null: it does not"),
    Column("refund_cause", Text, comment="how its refunds differ; null: they do not"),
    Column("message_id", BigInteger, comment="a message of the inbox that speaks of it and is not handled"),
    Column("message_state", Text),
    PrimaryKeyConstraint("shop_id", "run_id", "channel_ref"),
    ForeignKeyConstraint(["shop_id", "run_id"], ["order_readings.shop_id", "order_readings.run_id"]),
    CheckConstraint("verdict in ('differs', 'in_flight', 'real', 'equal')", name="verdict"),
    CheckConstraint("(message_id is null) = (message_state is null)", name="message"),
    CheckConstraint(
        "is_there is not true or num_nulls(version_at, is_cancelled, lines, total_minor, currency,"
        " refunds, refunded_minor) = 0",
        name="told",
    ),
    Index(
        "ix_staged_orders_asked",
        "shop_id",
        "run_id",
        "channel_ref",
        postgresql_where=text("is_there is null"),
    ),
    Index(
        "ix_staged_orders_judged",
        "shop_id",
        "run_id",
        "channel_ref",
        postgresql_where=text("verdict is not null"),
    ),
    comment="the orders that a channel showed to a run under way, in the few figures that are compared",
)
