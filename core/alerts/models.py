"""Tables: alert_rules, alerts."""

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
from sqlalchemy.dialects.postgresql import JSONB

from core.db import metadata

alert_rules = Table(
    "alert_rules",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("limit_units", Integer, comment="told when more units than that are at risk; null: switched off"),
    Column("set_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("set_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id", "kind"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    CheckConstraint("kind in ('exposure')", name="kind"),
    CheckConstraint("limit_units >= 0", name="limit_units"),
    CheckConstraint("btrim(set_by) <> '' and btrim(reason) <> ''", name="named_and_reasoned"),
    comment="when somebody is to be told; no row: never",
)

alerts = Table(
    "alerts",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("kind", Text, nullable=False),
    Column("fingerprint", Text, nullable=False, comment="what it is about; open once at most"),
    Column("limit_units", Integer, nullable=False, comment="above which it opened; of hanging changes, 0"),
    Column("opened_units", BigInteger, nullable=False),
    Column(
        "units",
        BigInteger,
        nullable=False,
        comment="at risk when it was last looked at; of hanging changes, legs that are stuck",
    ),
    Column("worst_units", BigInteger, nullable=False),
    Column("skus", BigInteger, nullable=False),
    Column("worst_skus", JSONB, nullable=False, comment="the worst few when it was last looked at"),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    Column("checked_at", DateTime(timezone=True), nullable=False),
    Column("closed_at", DateTime(timezone=True)),
    Column("closed_because", Text),
    Column(
        "is_told",
        Boolean,
        nullable=False,
        comment="whether a notice went out; not when it had closed only minutes before",
    ),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    CheckConstraint(
        "kind in ('exposure', 'stuck_change', 'slow_feed', 'unshown_feed', 'unconfirmed_shipment', 'credential')",
        name="kind",
    ),
    CheckConstraint("(closed_at is null) = (closed_because is null)", name="closed"),
    CheckConstraint("closed_because in ('below', 'off', 'replaced')", name="closed_because"),
    Index("uq_alerts_open", "shop_id", "fingerprint", unique=True, postgresql_where=text("closed_at is null")),
    Index(None, "shop_id", "id"),
)
