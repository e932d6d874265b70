"""Tables: import_runs, import_items (one product of a file, or rows that are none), import_codes,
import_problem_groups, import_mappings, catalogue_exports."""

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
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from core.db import metadata


def _count(name: str, comment: str | None = None) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default="0", comment=comment)


import_runs = Table(
    "import_runs",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("document_id", BigInteger, nullable=False, comment="the uploaded file"),
    Column("file_name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column(
        "generation",
        Integer,
        nullable=False,
        server_default="0",
        comment="how often it was begun to be read: what belongs to an earlier reading is not noted",
    ),
    Column(
        "settings", JSONB, nullable=False, comment="how it is read: mapping, currency, codes, what becomes of stock"
    ),
    Column("form", Text),
    Column("problem", Text),
    Column("stop_asked_by", Text, comment="who wants it to stop at the next batch"),
    Column("rows_read", BigInteger, nullable=False, server_default="0"),
    Column("rows_total", BigInteger),
    _count("items"),
    _count("created"),
    _count("updated"),
    _count("unchanged"),
    _count("rejected"),
    _count("warnings"),
    _count("applied"),
    _count("refused", "items that were not applied because the catalogue changed since they were read"),
    _count("undone"),
    _count("kept", "items that were not undone: changed since, or no product could be as it was"),
    Column("applied_to", Integer, comment="the position up to which items are applied"),
    Column("undone_to", Integer, comment="the position down to which items are taken back"),
    Column(
        "stock_undone_to",
        BigInteger,
        comment="the document of stock down to which they are taken back; 0: all of them",
    ),
    Column(
        "stock_kept",
        ARRAY(Text),
        nullable=False,
        server_default=text("'{}'"),
        comment="of each document of stock that was not taken back, why",
    ),
    Column("new_categories", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("new_metafields", JSONB, nullable=False, server_default=text("'[]'")),
    Column(
        "category_ids",
        JSONB,
        nullable=False,
        server_default=text("'{}'"),
        comment="by the path that the file names, the category that it was when the file was read, or that was made "
        "for it",
    ),
    Column("effect", JSONB, comment="what applying the rest would do besides, as it was when it was read or stopped"),
    Column("created_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column(
        "worked_at", DateTime(timezone=True), nullable=False, comment="the last sign of life of whoever works on it"
    ),
    Column("read_at", DateTime(timezone=True)),
    Column("applied_by", Text),
    Column("applied_at", DateTime(timezone=True)),
    Column("undone_by", Text),
    Column("undone_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    CheckConstraint(
        "state in ('reading', 'read', 'applying', 'applied', 'stopped', 'undoing', 'undone', 'discarded', 'failed')",
        name="state",
    ),
    CheckConstraint("btrim(created_by) <> '' and btrim(reason) <> ''", name="said"),
    Index("ix_import_runs_created_at", "shop_id", text("created_at desc"), text("id desc")),
    Index(
        "ix_import_runs_at_work",
        "shop_id",
        "id",
        postgresql_where=text("state in ('reading', 'applying', 'undoing')"),
    ),
)

import_items = Table(
    "import_items",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("import_id", BigInteger, nullable=False),
    Column("position", Integer, nullable=False),
    Column("first_row", BigInteger, nullable=False),
    Column("action", Text, nullable=False),
    Column("handle", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("product_id", BigInteger),
    Column("base_version", Integer),
    Column("document", JSONB, comment="the product as it is to be; null where it is rejected"),
    Column("category_paths", JSONB, comment="the categories by name, made when it is applied; null: as they are"),
    Column("differences", Integer, nullable=False),
    Column("units", JSONB, comment="stock on hand by code, as the file says"),
    Column("problems", JSONB, nullable=False),
    Column("has_warnings", Boolean, nullable=False),
    Column("rows", JSONB, comment="of what is rejected: its rows as the file has them"),
    Column("fate", Text),
    Column("detail", Text),
    Column("version", Integer),
    Column("undo_fate", Text),
    Column("undo_detail", Text, comment="why it is barred from being as it was"),
    Column(
        "skus_before",
        JSONB,
        comment="by code, title and barcode of the SKUs that were no product's before it was applied: given back by an "
        "undo",
    ),
    PrimaryKeyConstraint("shop_id", "import_id", "position"),
    ForeignKeyConstraint(["shop_id", "import_id"], ["import_runs.shop_id", "import_runs.id"]),
    CheckConstraint("action in ('create', 'update', 'unchanged', 'reject')", name="action"),
    CheckConstraint("fate in ('done', 'stale', 'handle_taken', 'code_taken', 'failed', 'unbooked')", name="fate"),
    CheckConstraint("undo_fate in ('done', 'changed', 'barred')", name="undo_fate"),
    Index(
        "ix_import_items_to_apply",
        "shop_id",
        "import_id",
        "position",
        postgresql_where=text("fate is null and action in ('create', 'update')"),
    ),
    Index(
        "ix_import_items_to_count",
        "shop_id",
        "import_id",
        "position",
        postgresql_where=text("fate is null and action = 'unchanged' and units is not null"),
    ),
    Index(
        "ix_import_items_to_undo",
        "shop_id",
        "import_id",
        "position",
        postgresql_where=text("fate in ('done', 'unbooked') and version is not null and undo_fate is null"),
    ),
    Index("ix_import_items_action", "shop_id", "import_id", "action", "position"),
    Index(
        "ix_import_items_product",
        "shop_id",
        "import_id",
        "product_id",
        postgresql_where=text("product_id is not null"),
    ),
    Index("ix_import_items_warnings", "shop_id", "import_id", "position", postgresql_where=text("has_warnings")),
    Index("ix_import_items_refused", "shop_id", "import_id", "position", postgresql_where=text("fate <> 'done'")),
    Index(
        "ix_import_items_kept",
        "shop_id",
        "import_id",
        "position",
        postgresql_where=text("undo_fate <> 'done'"),
    ),
)

import_codes = Table(
    "import_codes",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("import_id", BigInteger, nullable=False),
    Column("code", Text, nullable=False),
    Column("row", BigInteger, nullable=False),
    PrimaryKeyConstraint("shop_id", "import_id", "code"),
    ForeignKeyConstraint(["shop_id", "import_id"], ["import_runs.shop_id", "import_runs.id"]),
    comment="SKUs that no product has and the file tells of, with the row that does",
)

import_problem_groups = Table(
    "import_problem_groups",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("import_id", BigInteger, nullable=False),
    Column("key", Text, nullable=False, comment="what those of one group have in common, as a hash"),
    Column("severity", Text, nullable=False),
    Column("column_name", Text, nullable=False),
    Column("sentence", Text, nullable=False, comment="that of the first row"),
    Column("fix", Text, nullable=False),
    Column("times", Integer, nullable=False),
    Column("first_row", BigInteger, nullable=False),
    PrimaryKeyConstraint("shop_id", "import_id", "key"),
    ForeignKeyConstraint(["shop_id", "import_id"], ["import_runs.shop_id", "import_runs.id"]),
)

import_mappings = Table(
    "import_mappings",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("heads_key", Text, nullable=False),
    Column("mapping", JSONB, nullable=False),
    Column("saved_by", Text, nullable=False),
    Column("saved_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    UniqueConstraint("shop_id", "heads_key"),
)

catalogue_exports = Table(
    "catalogue_exports",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("state", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("filters", JSONB, nullable=False, comment="which products, as on their page"),
    Column("products_total", Integer, nullable=False, comment="how many fitted when it was asked for"),
    _count("products_done"),
    _count("rows_done"),
    _count("attempts", "how often somebody began to write it"),
    Column("document_id", BigInteger, comment="the file, kept for some days"),
    Column("file_name", Text),
    Column("problem", Text),
    Column("created_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column(
        "worked_at", DateTime(timezone=True), nullable=False, comment="the last sign of life of whoever works on it"
    ),
    Column("ended_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    CheckConstraint("state in ('writing', 'written', 'stopped', 'failed')", name="state"),
    CheckConstraint("kind in ('csv', 'xlsx')", name="kind"),
    CheckConstraint("(state = 'written') = (document_id is not null)", name="written"),
    Index("ix_catalogue_exports_at_work", "shop_id", "id", postgresql_where=text("state = 'writing'")),
)
