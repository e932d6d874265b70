"""Tables: daily_reports, daily_report_markets, daily_report_policies."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from core.db import metadata

daily_reports = Table(
    "daily_reports",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("day", Date, nullable=False, comment="the business day in the shop's zone of that time"),
    Column("edition", Integer, nullable=False, comment="1 as first built; each correction is the next"),
    Column("time_zone", Text, nullable=False),
    Column("begins_at", DateTime(timezone=True), nullable=False),
    Column("ends_at", DateTime(timezone=True), nullable=False),
    Column("content", JSONB, nullable=False, comment="every figure of it; core/reports/rules.py has the shape"),
    Column(
        "content_hash", Text, nullable=False, comment="SHA-256 of the content in its canonical form, in hexadecimal"
    ),
    Column(
        "changes",
        JSONB,
        nullable=False,
        server_default=text("'[]'"),
        comment="of a correction: each figure that changed, from what to what",
    ),
    Column(
        "causes",
        JSONB,
        nullable=False,
        server_default=text("'[]'"),
        comment="and why: what came, or changed, after the edition before",
    ),
    Column(
        "is_material",
        Boolean,
        nullable=False,
        comment="whether people are told of it: a first edition, or a change that matters",
    ),
    Column("built_at", DateTime(timezone=True), nullable=False),
    Column("built_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    UniqueConstraint("shop_id", "day", "edition"),
    CheckConstraint("edition >= 1", name="edition"),
    CheckConstraint("(edition = 1) = (changes = '[]')", name="correction"),
    CheckConstraint("begins_at <= ends_at and ends_at <= built_at", name="closed"),
    CheckConstraint("btrim(built_by) <> '' and btrim(reason) <> ''", name="named_and_reasoned"),
    comment="what a business day came to, as it was known when it was built; kept as it was",
)

daily_report_markets = Table(
    "daily_report_markets",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("report_id", BigInteger, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("connection_id", BigInteger, comment="null: given back without an order"),
    Column("country_code", Text, comment="where it went to; null where the channel does not tell"),
    Column("currency", Text, nullable=False),
    Column("orders", BigInteger, nullable=False),
    Column("units", BigInteger, nullable=False),
    Column("other_units", BigInteger, nullable=False, comment="of what has no stock by nature: carriage, vouchers"),
    Column("gross_minor", BigInteger, nullable=False),
    Column("discount_minor", BigInteger, nullable=False),
    Column("revenue_minor", BigInteger, nullable=False),
    Column("tax_minor", BigInteger, comment="of the orders of which it is told; null where of none"),
    Column("shipping_minor", BigInteger),
    Column("refunds", BigInteger, nullable=False),
    Column("refunded_units", BigInteger, nullable=False),
    Column("refunded_minor", BigInteger, nullable=False),
    Column("cancellations", BigInteger, nullable=False),
    Column("cancelled_units", BigInteger, nullable=False),
    Column("cancelled_minor", BigInteger, nullable=False),
    PrimaryKeyConstraint("shop_id", "report_id", "ordinal"),
    ForeignKeyConstraint(["shop_id", "report_id"], ["daily_reports.shop_id", "daily_reports.id"]),
    CheckConstraint("revenue_minor = gross_minor - discount_minor", name="revenue"),
)

daily_report_policies = Table(
    "daily_report_policies",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("look_back_days", Integer, nullable=False, comment="how many days back the nightly look goes"),
    Column(
        "material_share",
        Numeric(6, 4),
        nullable=False,
        comment="a correction is mailed when orders, revenue or refunds changed by at least this share",
    ),
    Column("set_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("set_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    CheckConstraint("look_back_days between 1 and 90", name="look_back_days"),
    CheckConstraint("material_share between 0 and 1", name="material_share"),
    CheckConstraint("btrim(set_by) <> '' and btrim(reason) <> ''", name="named_and_reasoned"),
    comment="how corrections are looked for and told; no row: as core/reports/rules.py has it",
)
