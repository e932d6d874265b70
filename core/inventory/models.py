"""Tables: locations, stock_levels, stock_movements, reservations, listing_writes, exposure_changes."""

from __future__ import annotations

from sqlalchemy import (
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
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from core.db import metadata

locations = Table(
    "locations",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("name", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column(
        "kind",
        Text,
        nullable=False,
        server_default="own",
        comment="own: a pool of ours; till: sold from without asking; external: not our stock",
    ),
    Column("connection_id", BigInteger, comment="the only channel of a till or an external location"),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    UniqueConstraint("shop_id", "name"),
    CheckConstraint("kind in ('own', 'till', 'external')", name="kind"),
    CheckConstraint("(kind = 'own') = (connection_id is null)", name="pool_has_one_channel"),
)

stock_levels = Table(
    "stock_levels",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("sku_id", BigInteger, nullable=False),
    Column("location_id", BigInteger, nullable=False),
    Column("on_hand", BigInteger, nullable=False, server_default="0", comment="the sum of movements"),
    Column("reserved", BigInteger, nullable=False, server_default="0", comment="the sum of held reservations"),
    Column("unavailable", BigInteger, nullable=False, server_default="0"),
    Column("incoming", BigInteger, nullable=False, server_default="0"),
    Column(
        "promised",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="what is reserved for holders other than order lines: promised by us, never beyond what is available",
    ),
    Column(
        "is_placeholder",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="made to be locked or expected at: its number is not ours yet",
    ),
    Column("available", BigInteger, Computed("on_hand - reserved - unavailable", persisted=True)),
    Column(
        "is_escrow",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="units are split over channels, none is shown twice",
    ),
    Column("escrow_since", DateTime(timezone=True), comment="since when it is, or is not, in escrow"),
    Column(
        "escrow_line_units",
        Integer,
        comment="at so many available it goes into escrow; null: never, the largest integer: always",
    ),
    PrimaryKeyConstraint("shop_id", "sku_id", "location_id"),
    ForeignKeyConstraint(["shop_id", "sku_id"], ["skus.shop_id", "skus.id"]),
    ForeignKeyConstraint(["shop_id", "location_id"], ["locations.shop_id", "locations.id"]),
    Index("ix_stock_levels_escrow", "shop_id", "sku_id", "location_id", postgresql_where=text("is_escrow")),
    CheckConstraint("reserved >= 0", name="reserved"),
    CheckConstraint("unavailable >= 0", name="unavailable"),
    CheckConstraint("incoming >= 0", name="incoming"),
    CheckConstraint("promised between 0 and reserved", name="promised"),
    Index(None, "shop_id", "location_id"),
    # A marketplace sale or a count may drive `available` negative: a shortage to show, not an error.
    # Few rows, which change with a person's decision: what is in quarantine.
    Index("ix_stock_levels_apart", "shop_id", "sku_id", "location_id", postgresql_where=text("unavailable > 0")),
    postgresql_with={"fillfactor": "50"},
)

stock_movements = Table(
    "stock_movements",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("sku_id", BigInteger, nullable=False),
    Column("location_id", BigInteger, nullable=False),
    Column("delta_units", BigInteger, nullable=False),
    Column(
        "unavailable_delta_units",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="how many more are kept apart, out of what is on hand",
    ),
    Column("reason", Text, nullable=False),
    Column("business_key", Text, nullable=False, comment="the fact it stands for: booked once, whatever arrives again"),
    Column("order_line_id", BigInteger),
    Column("note", Text),
    Column("recorded_by", Text, nullable=False),
    Column("occurred_at", DateTime(timezone=True), nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(
        ["shop_id", "sku_id", "location_id"],
        ["stock_levels.shop_id", "stock_levels.sku_id", "stock_levels.location_id"],
    ),
    UniqueConstraint("shop_id", "business_key"),
    CheckConstraint(
        "reason in ('receipt', 'shipment', 'customer_return', 'adjustment', 'count', 'relocation', 'write_off',"
        " 'quarantine')",
        name="reason",
    ),
    CheckConstraint("delta_units <> 0 or unavailable_delta_units <> 0", name="moves_something"),
    Index(None, "shop_id", "sku_id", "id"),
    Index(
        "ix_stock_movements_order_line", "shop_id", "order_line_id", postgresql_where=text("order_line_id is not null")
    ),
)

reservations = Table(
    "reservations",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("sku_id", BigInteger, nullable=False),
    Column("location_id", BigInteger, nullable=False),
    Column("holder_kind", Text, nullable=False, server_default="order_line"),
    Column(
        "order_line_id",
        BigInteger,
        comment="whose promise it is; null for a promise that ends by a deadline or by hand",
    ),
    Column("holder_ref", Text, comment="who holds it, in the holder's own words: a checkout, a purchase order's line"),
    Column("units", BigInteger, nullable=False, comment="what was promised"),
    Column(
        "units_each",
        BigInteger,
        nullable=False,
        server_default="1",
        comment="how many one unit of the line takes: what the bundle was made of when it was sold",
    ),
    Column("held_units", BigInteger, nullable=False, comment="still to be shipped"),
    Column("consumed_units", BigInteger, nullable=False, server_default="0", comment="shipped"),
    Column("returned_units", BigInteger, nullable=False, server_default="0", comment="came back and were restocked"),
    Column("quarantined_units", BigInteger, nullable=False, server_default="0", comment="came back and were put apart"),
    Column(
        "taken_back_units",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="came back over the desk, whatever became of them",
    ),
    Column(
        "recalled_units",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="of those, of parcels that by now never left, as the channel says",
    ),
    Column(
        "written_off_units", BigInteger, nullable=False, server_default="0", comment="refunded unshipped, not restocked"
    ),
    Column(
        "opening_units",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="sold before the baseline, so not in it",
    ),
    Column(
        "state",
        Text,
        Computed(
            "case when held_units > 0 then 'held' when is_expired then 'expired'"
            " when consumed_units > 0 then 'consumed' else 'released' end",
            persisted=True,
        ),
    ),
    Column(
        "revision", Integer, nullable=False, server_default="0", comment="grows with each change; names its movements"
    ),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), comment="released by itself after that"),
    Column("ended_at", DateTime(timezone=True)),
    Column("is_expired", Boolean, nullable=False, server_default=text("false")),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(
        ["shop_id", "sku_id", "location_id"],
        ["stock_levels.shop_id", "stock_levels.sku_id", "stock_levels.location_id"],
    ),
    UniqueConstraint("shop_id", "order_line_id", "sku_id"),
    UniqueConstraint("shop_id", "holder_kind", "holder_ref", "sku_id", "location_id", name="uq_reservations_holder"),
    CheckConstraint("holder_kind in ('order_line', 'checkout', 'channel_order', 'vendor_order')", name="holder_kind"),
    CheckConstraint(
        "(holder_kind = 'order_line') = (order_line_id is not null)"
        " and (order_line_id is null) = (holder_ref is not null)",
        name="one_holder",
    ),
    CheckConstraint("order_line_id is null or expires_at is null", name="facts_have_no_deadline"),
    CheckConstraint("order_line_id is not null or (held_units > 0) = (ended_at is null)", name="ended"),
    CheckConstraint("order_line_id is not null or held_units in (0, units)", name="ends_whole"),
    CheckConstraint("not is_expired or (held_units = 0 and consumed_units = 0)", name="expired_is_ended"),
    CheckConstraint("units >= 0 and held_units >= 0 and consumed_units >= 0", name="units"),
    CheckConstraint("units_each > 0", name="units_each"),
    CheckConstraint("returned_units >= 0 and written_off_units >= 0 and opening_units >= 0", name="back"),
    CheckConstraint("held_units <= units", name="held_within_promise"),
    # Whatever arrives again, and by whichever road: no more comes back of a line than went out of it.
    CheckConstraint("returned_units <= greatest(units, consumed_units)", name="restocked_once"),
    CheckConstraint(
        "recalled_units >= 0 and taken_back_units - recalled_units between 0 and consumed_units",
        name="taken_back_once",
    ),
    CheckConstraint("quarantined_units between 0 and taken_back_units", name="quarantined"),
    Index(None, "shop_id", "sku_id", "location_id", postgresql_where=text("held_units > 0")),
    Index(None, "shop_id", "sku_id", "id"),
    Index(
        "ix_reservations_expires_at",
        "expires_at",
        postgresql_where=text("held_units > 0 and expires_at is not null"),
    ),
    postgresql_with={"fillfactor": "70"},
)

listing_writes = Table(
    "listing_writes",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("listing_id", BigInteger, nullable=False),
    Column("from_units", Integer, comment="what the channel must still show; null for an absolute set"),
    Column("to_units", Integer, nullable=False),
    Column(
        "exposure_delta_units",
        Integer,
        comment="what it added to exposure when it was recorded; null before exposure was kept",
    ),
    Column("idempotency_key", Text, nullable=False, comment="shared by the writes that leave in one call"),
    Column("batch_position", Integer, nullable=False, comment="place within that call"),
    Column("planned_at", DateTime(timezone=True), nullable=False),
    Column(
        "deadline_at", DateTime(timezone=True), nullable=False, comment="a sender that is later than this must not send"
    ),
    Column("sync_run_id", BigInteger),
    # From here on set once, by the sender.
    Column("sent_at", DateTime(timezone=True)),
    Column("accepted_at", DateTime(timezone=True), comment="queued by a channel that applies later"),
    Column("submission_ref", Text),
    Column("outcome", Text, comment="null while open"),
    Column("outcome_at", DateTime(timezone=True)),
    Column("outcome_code", Text),
    Column("outcome_detail", Text),
    Column("observed_units", Integer, comment="what the channel showed when it answered"),
    # May change while the write is open: what is being done about its doubt.
    Column("doubt", Text, comment="why the outcome is not known"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_check_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id", "listing_id"], ["listings.shop_id", "listings.id"]),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    UniqueConstraint("shop_id", "connection_id", "idempotency_key", "batch_position"),
    CheckConstraint("to_units >= 0", name="to_units"),
    CheckConstraint("outcome in ('confirmed', 'refused', 'stale', 'withdrawn')", name="outcome"),
    CheckConstraint("(outcome is null) = (outcome_at is null)", name="outcome_at"),
    CheckConstraint("outcome <> 'withdrawn' or sent_at is null", name="withdrawn_was_not_sent"),
    CheckConstraint("outcome is null or outcome = 'withdrawn' or sent_at is not null", name="answered_was_sent"),
    Index("uq_listing_writes_open", "shop_id", "listing_id", unique=True, postgresql_where=text("outcome is null")),
    Index(
        "ix_listing_writes_confirmed",
        "shop_id",
        "connection_id",
        "outcome_at",
        postgresql_where=text("outcome = 'confirmed'"),
    ),
    Index("ix_listing_writes_open", "shop_id", "connection_id", "id", postgresql_where=text("outcome is null")),
    Index(None, "shop_id", "listing_id", "id"),
)

exposure_changes = Table(
    "exposure_changes",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("listing_id", BigInteger, nullable=False),
    Column("cause", Text, nullable=False),
    Column(
        "asked_units",
        Integer,
        nullable=False,
        comment="what the cause came to; a sale of more than was exposed takes only that",
    ),
    Column("delta_units", Integer, nullable=False),
    Column("exposed_units", Integer, nullable=False, comment="what was exposed after it"),
    Column("write_id", BigInteger),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id", "listing_id"], ["listings.shop_id", "listings.id"]),
    CheckConstraint(
        "cause in ('base', 'sale', 'restock', 'write', 'confirmed', 'refused', 'edit', 'collapsed')", name="cause"
    ),
    CheckConstraint("exposed_units >= 0", name="exposed_units"),
    CheckConstraint("(write_id is not null) = (cause in ('write', 'confirmed', 'refused'))", name="of_a_write"),
    Index("ix_exposure_changes_listing", "shop_id", "listing_id", "id"),
    Index("ix_exposure_changes_changed_at", "changed_at", postgresql_using="brin"),
    comment="why the exposure of a listing is what it is; added, never edited, old ones are forgotten",
)
