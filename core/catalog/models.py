"""Tables: skus, bundles (what they are made of), listings (a SKU at one place of one channel)."""

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
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from core.db import metadata

skus = Table(
    "skus",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("code", Text, nullable=False, comment="compared exactly: codes that differ by case are different SKUs"),
    Column("title", Text, nullable=False),
    Column("barcode", Text),
    Column(
        "is_stocked", Boolean, nullable=False, comment="false for services, vouchers and other things without stock"
    ),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("category", Text, comment="what rules for a category go by: the catalogue's own word for it"),
    Column(
        "is_bundle",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="made of other SKUs: has no stock of its own",
    ),
    Column(
        "is_category_kept",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="a person chose the category: the catalogue does not change it any more",
    ),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    UniqueConstraint("shop_id", "code"),
    CheckConstraint("is_stocked or not is_bundle", name="bundle_is_stocked"),
    Index(None, "shop_id", "category", postgresql_where=text("category is not null")),
    Index(None, "shop_id", "barcode", postgresql_where=text("barcode is not null")),
)

bundle_components = Table(
    "bundle_components",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("bundle_sku_id", BigInteger, nullable=False),
    Column("component_sku_id", BigInteger, nullable=False),
    Column("units", BigInteger, nullable=False, comment="of the component in one unit of the bundle"),
    PrimaryKeyConstraint("shop_id", "bundle_sku_id", "component_sku_id"),
    ForeignKeyConstraint(["shop_id", "bundle_sku_id"], ["skus.shop_id", "skus.id"]),
    ForeignKeyConstraint(["shop_id", "component_sku_id"], ["skus.shop_id", "skus.id"]),
    CheckConstraint("units > 0", name="units"),
    CheckConstraint("bundle_sku_id <> component_sku_id", name="not_of_itself"),
    Index(None, "shop_id", "component_sku_id"),
)

bundle_parts = Table(
    "bundle_parts",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("bundle_sku_id", BigInteger, nullable=False),
    Column(
        "part_sku_id",
        BigInteger,
        nullable=False,
        comment="a SKU with stock of its own, reached through components once or twice",
    ),
    Column("units", BigInteger, nullable=False),
    PrimaryKeyConstraint("shop_id", "bundle_sku_id", "part_sku_id"),
    ForeignKeyConstraint(["shop_id", "bundle_sku_id"], ["skus.shop_id", "skus.id"]),
    ForeignKeyConstraint(["shop_id", "part_sku_id"], ["skus.shop_id", "skus.id"]),
    CheckConstraint("units > 0", name="units"),
    Index(None, "shop_id", "part_sku_id"),
)

listings = Table(
    "listings",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("channel_ref", Text, nullable=False, comment="variant id, seller SKU: what order lines name"),
    Column(
        "channel_location_ref", Text, nullable=False, server_default="", comment="the channel's location, if it has any"
    ),
    Column("inventory_ref", Text, comment="what quantities are written to, where the channel tells it apart"),
    Column("product_ref", Text),
    Column("channel_code", Text, comment="the SKU code as the channel spells it"),
    Column("title", Text, nullable=False),
    Column("sku_id", BigInteger, comment="null while unmapped"),
    Column("location_id", BigInteger, comment="ours, whose stock the listing shows"),
    Column("is_tracked", Boolean, nullable=False, comment="whether the channel counts its stock"),
    Column("status", Text, nullable=False, server_default="active"),
    Column("version_at", DateTime(timezone=True), comment="the channel's time of these facts"),
    Column("publishing", Text, nullable=False, server_default="off", comment="whether we write its quantity"),
    Column("publishing_reason", Text, nullable=False),
    Column("desired_units", Integer, comment="what it should show"),
    Column(
        "short_units",
        Integer,
        nullable=False,
        server_default="0",
        comment="how many more are promised than there are; desired is then 0",
    ),
    Column("published_units", Integer, comment="what we last knew it to show"),
    Column("published_at", DateTime(timezone=True), comment="the channel's time of that knowledge"),
    Column(
        "unseen_units",
        Integer,
        nullable=False,
        server_default="0",
        comment="what the channel changed by itself and no booked order or refund explains yet; negative: sold",
    ),
    Column("unseen_since", DateTime(timezone=True), comment="since when, by our clock"),
    Column("followed_at", DateTime(timezone=True), comment="the latest sale or restock taken into published_units"),
    Column("baseline_at", DateTime(timezone=True), comment="the channel's time at which its number was taken over"),
    Column(
        "opening_at",
        DateTime(timezone=True),
        comment="the channel's time at which its number became our stock; null where it did not",
    ),
    Column(
        "exposed_units",
        Integer,
        nullable=False,
        server_default="0",
        comment="the most it may still sell that is not booked, in its own units",
    ),
    Column("next_push_at", DateTime(timezone=True), comment="not before then: set after a refusal"),
    Column("push_failures", Integer, nullable=False, server_default="0"),
    Column("push_problem", Text, comment="why the last write did not take"),
    Column(
        "is_to_push",
        Boolean,
        Computed(
            "publishing = 'on' and (listing_differs(desired_units - short_units, published_units)"
            " or unseen_units <> 0)",
            persisted=True,
        ),
        comment="whether a planner has to look at it: what it shows differs, or something unseen is unexplained",
    ),
    # What channel rules come to for it: worked out when a rule changes, read with every change of stock.
    Column(
        "safety_stock_units", Integer, nullable=False, server_default="0", comment="rule: of the pool, never offered"
    ),
    Column(
        "share_percent",
        Numeric(5, 2),
        nullable=False,
        server_default="100",
        comment="rule: of what is left of the pool",
    ),
    Column("buffer_units", Integer, nullable=False, server_default="0", comment="rule: held back from the share"),
    Column(
        "floor_units",
        Integer,
        nullable=False,
        server_default="0",
        comment="rule: at least so many, while the pool has them",
    ),
    Column("cap_units", Integer, comment="rule: at most so many; null for no cap"),
    Column(
        "priority",
        Integer,
        nullable=False,
        server_default="0",
        comment="rule: the higher, the sooner it is raised and the later it is lowered",
    ),
    Column(
        "is_offered",
        Boolean,
        nullable=False,
        server_default=text("true"),
        comment="rule: whether the channel may sell it at all",
    ),
    Column(
        "mode",
        Text,
        nullable=False,
        server_default="pooled",
        comment="rule: how its pool is shared; a pool goes by the strictest of its listings",
    ),
    Column("switch_units", Integer, comment="rule: at so many available adaptive goes over to escrow; null: measured"),
    Column("sales_per_hour", REAL, comment="measured, with a prior for what has not sold yet"),
    Column(
        "edited_units",
        Integer,
        nullable=False,
        server_default="0",
        comment="of what is exposed: numbers that nobody here wrote, until the watermark passes them",
    ),
    Column(
        "blurred_units",
        Integer,
        nullable=False,
        server_default="0",
        comment="by how much what it shows may be taken too low: sold or put back so near to the reading that clocks do"
        " not tell",
    ),
    Column(
        "is_in_doubt",
        Boolean,
        Computed("exposed_units is distinct from greatest(0, published_units) or edited_units <> 0", persisted=True),
        comment="whether more or less is exposed than it shows, or somebody typed a number that the watermark has not"
        " passed",
    ),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    ForeignKeyConstraint(["shop_id", "sku_id"], ["skus.shop_id", "skus.id"]),
    ForeignKeyConstraint(["shop_id", "location_id"], ["locations.shop_id", "locations.id"]),
    UniqueConstraint("shop_id", "connection_id", "channel_ref", "channel_location_ref"),
    CheckConstraint("publishing in ('on', 'off')", name="publishing"),
    CheckConstraint(
        "safety_stock_units >= 0 and share_percent between 0 and 100 and buffer_units >= 0 and floor_units >= 0"
        " and cap_units >= 0 and (cap_units is null or floor_units <= cap_units)",
        name="rule",
    ),
    CheckConstraint("mode in ('pooled', 'adaptive', 'escrow')", name="mode"),
    CheckConstraint("switch_units >= 0", name="switch_units"),
    CheckConstraint("exposed_units >= edited_units and edited_units >= 0", name="exposed_units"),
    CheckConstraint(
        "publishing = 'off' or (sku_id is not null and location_id is not null)", name="published_is_mapped"
    ),
    Index(None, "shop_id", "sku_id"),
    Index(None, "shop_id", "location_id"),
    Index("ix_listings_inventory_ref", "shop_id", "connection_id", "inventory_ref", "channel_location_ref"),
    Index("ix_listings_push_problem", "shop_id", "connection_id", postgresql_where=text("push_problem is not null")),
    Index("ix_listings_publishing_off", "shop_id", "connection_id", postgresql_where=text("publishing = 'off'")),
    Index("ix_listings_channel_code", "shop_id", "connection_id", "channel_code"),
    Index(
        "ix_listings_is_to_push",
        "shop_id",
        "connection_id",
        "id",
        postgresql_where=text("is_to_push"),
    ),
    Index("ix_listings_is_in_doubt", "shop_id", "connection_id", "id", postgresql_where=text("is_in_doubt")),
    # Room beside each row for its next version: quantities change all day and touch no index.
    postgresql_with={"fillfactor": "70"},
)
