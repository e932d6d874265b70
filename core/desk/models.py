"""Tables: stock_documents, stock_document_lines, count_entries, desk_drafts."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
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
from sqlalchemy.dialects.postgresql import JSONB

from core.db import metadata

stock_documents = Table(
    "stock_documents",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("location_id", BigInteger, nullable=False),
    Column("to_location_id", BigInteger, comment="where a transfer goes"),
    Column("against_id", BigInteger, comment="the purchase order or transfer of which goods came"),
    Column("undoes_id", BigInteger, comment="the document that this one takes back"),
    Column(
        "business_key",
        Text,
        nullable=False,
        comment="the form or file it came from: booked once, however often it is sent",
    ),
    Column("reference", Text, comment="the other side's number: delivery note, supplier, file"),
    Column("reason", Text, nullable=False),
    Column("expected_on", Date, comment="when a purchase order should come"),
    Column("created_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("sent_by", Text),
    Column("sent_at", DateTime(timezone=True)),
    Column("done_by", Text),
    Column("done_at", DateTime(timezone=True)),
    Column("closing_reason", Text, comment="why what was outstanding is no longer expected"),
    Column(
        "written_in",
        BigInteger,
        nullable=False,
        server_default=text("(pg_current_xact_id()::text::bigint)"),
        comment="the transaction that wrote it: no other adds lines to what is done",
    ),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id", "location_id"], ["locations.shop_id", "locations.id"]),
    ForeignKeyConstraint(["shop_id", "to_location_id"], ["locations.shop_id", "locations.id"]),
    ForeignKeyConstraint(["shop_id", "against_id"], ["stock_documents.shop_id", "stock_documents.id"]),
    ForeignKeyConstraint(["shop_id", "undoes_id"], ["stock_documents.shop_id", "stock_documents.id"]),
    UniqueConstraint("shop_id", "business_key"),
    UniqueConstraint("shop_id", "undoes_id"),
    CheckConstraint(
        "kind in ('receipt', 'adjustment', 'count', 'transfer', 'return', 'purchase_order', 'release')", name="kind"
    ),
    CheckConstraint("state in ('draft', 'open', 'sent', 'done', 'cancelled')", name="state"),
    CheckConstraint(
        "case kind when 'transfer' then state <> 'open' when 'count' then state in ('open', 'done', 'cancelled')"
        " when 'purchase_order' then state in ('open', 'done') else state = 'done' end",
        name="state_of_kind",
    ),
    CheckConstraint(
        "(kind = 'transfer') = (to_location_id is not null) and to_location_id is distinct from location_id",
        name="transfer_goes_elsewhere",
    ),
    CheckConstraint("(sent_at is null) = (sent_by is null) and (state <> 'sent' or sent_at is not null)", name="sent"),
    CheckConstraint(
        "(done_at is null) = (state in ('draft', 'open', 'sent')) and (done_at is null) = (done_by is null)",
        name="done",
    ),
    CheckConstraint("against_id is null or kind = 'receipt'", name="only_receipts_are_against"),
    CheckConstraint("btrim(reason) <> '' and btrim(created_by) <> ''", name="reasoned"),
    Index("ix_stock_documents_open", "shop_id", "kind", "id", postgresql_where=text("done_at is null")),
    Index(None, "shop_id", "kind", "id"),
    Index("ix_stock_documents_against_id", "shop_id", "against_id", postgresql_where=text("against_id is not null")),
)

stock_document_lines = Table(
    "stock_document_lines",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("document_id", BigInteger, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column(
        "sku_id", BigInteger, nullable=False, comment="what has the stock; for a line of an order, what was ordered"
    ),
    Column("bundle_sku_id", BigInteger, comment="the bundle it is part of here, where a bundle was named"),
    Column(
        "units",
        BigInteger,
        comment="what it moves or expects; a count's variance, once approved; negative undoes",
    ),
    Column("order_line_id", BigInteger),
    Column("disposition", Text),
    Column("note", Text),
    Column(
        "received_units",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="of a purchase order or transfer: came so far",
    ),
    Column(
        "dropped_units",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="of a purchase order or transfer: lost, or no longer expected",
    ),
    Column("count_state", Text),
    Column("counted_units", BigInteger),
    Column("on_hand_units", BigInteger, comment="what was on record at the moment the count was entered"),
    Column(
        "last_movement_id",
        BigInteger,
        comment="of its SKU, on record at the moment the count was entered; 0 for none",
    ),
    Column("counted_by", Text),
    Column("counted_at", DateTime(timezone=True)),
    Column("decided_by", Text),
    Column("decided_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("shop_id", "document_id", "ordinal"),
    ForeignKeyConstraint(["shop_id", "document_id"], ["stock_documents.shop_id", "stock_documents.id"]),
    ForeignKeyConstraint(["shop_id", "sku_id"], ["skus.shop_id", "skus.id"]),
    ForeignKeyConstraint(["shop_id", "bundle_sku_id"], ["skus.shop_id", "skus.id"]),
    ForeignKeyConstraint(["shop_id", "order_line_id"], ["order_lines.shop_id", "order_lines.id"]),
    CheckConstraint("disposition in ('restock', 'quarantine', 'write_off')", name="disposition"),
    CheckConstraint("count_state in ('to_count', 'counted', 'refused', 'approved')", name="count_state"),
    CheckConstraint("units <> 0 or count_state is not null", name="units"),
    CheckConstraint(
        "coalesce(count_state in ('counted', 'approved'), false) = (counted_units is not null)"
        " and (counted_units is null) = (on_hand_units is null) and (counted_units is null) = (counted_at is null)"
        " and (counted_units is null) = (counted_by is null) and counted_units >= 0",
        name="counted",
    ),
    CheckConstraint("count_state is null or (count_state = 'approved') = (units is not null)", name="approved"),
    CheckConstraint("count_state is null or units = counted_units - on_hand_units", name="variance"),
    CheckConstraint("count_state is not null or units is not null", name="known"),
    CheckConstraint("received_units >= 0 and dropped_units >= 0", name="arrivals"),
    Index(
        "uq_stock_document_lines_counted_once",
        "shop_id",
        "document_id",
        "sku_id",
        unique=True,
        postgresql_where=text("count_state is not null"),
    ),
    Index(None, "shop_id", "sku_id", "document_id"),
    Index(
        "ix_stock_document_lines_order_line_id",
        "shop_id",
        "order_line_id",
        postgresql_where=text("order_line_id is not null"),
    ),
)

# Every form by which a SKU was counted, so that each is entered once, also when a newer count came between.
count_entries = Table(
    "count_entries",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("document_id", BigInteger, nullable=False),
    Column("sku_id", BigInteger, nullable=False),
    Column("entry_key", Text, nullable=False),
    PrimaryKeyConstraint("shop_id", "document_id", "sku_id", "entry_key"),
    ForeignKeyConstraint(["shop_id", "document_id"], ["stock_documents.shop_id", "stock_documents.id"]),
    ForeignKeyConstraint(["shop_id", "sku_id"], ["skus.shop_id", "skus.id"]),
)

desk_drafts = Table(
    "desk_drafts",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("person", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column(
        "business_key",
        Text,
        nullable=False,
        comment="under which it will be booked, once, from however many pages",
    ),
    Column("lines", JSONB, nullable=False),
    Column("updated_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id", "person", "act"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
)
