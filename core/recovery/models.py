"""Tables: failure_kinds, failures, failure_tallies, failure_orders, failure_skus, failure_discards, recoveries,
recovery_works."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from core.db import metadata

_SOURCES = "source in ('job', 'message', 'outbox')"

failure_kinds = Table(
    "failure_kinds",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column(
        "key", Text, nullable=False, comment="the same for all of one source, function, error, words and connection"
    ),
    Column("source", Text, nullable=False),
    Column("function", Text, nullable=False, comment="registered name, topic, or kind of notice"),
    Column("error_class", Text, nullable=False),
    Column("message", Text, nullable=False, comment="what the error says, without what differs from one to the next"),
    Column("connection_id", BigInteger),
    Column(
        "skus",
        BigInteger,
        nullable=False,
        server_default="0",
        comment="distinct SKUs that what failed is about, or that wait behind it",
    ),
    Column("orders", BigInteger, nullable=False, server_default="0", comment="distinct orders likewise"),
    Column(
        "money",
        JSONB,
        nullable=False,
        server_default=text("'{}'"),
        comment="what those orders come to: currency to minor units",
    ),
    Column(
        "weighed_items", BigInteger, nullable=False, server_default="0", comment="how many open failures were added up"
    ),
    Column("weighed_last", DateTime(timezone=True)),
    Column("weighed_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("shop_id", "id"),
    UniqueConstraint("shop_id", "key"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    CheckConstraint(_SOURCES, name="source"),
    comment="causes of failures, and what hangs on each as it was last added up",
)

failures = Table(
    "failures",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("item_id", BigInteger, nullable=False, comment="the run, the message, the notice"),
    Column("kind_id", BigInteger, nullable=False),
    Column("work_key", Uuid, nullable=False, comment="the same for failures that one repetition makes good"),
    Column("job_ref", Text),
    Column("subject", Text, comment="of a job: a later success of it makes the failure moot"),
    Column(
        "at",
        DateTime(timezone=True),
        nullable=False,
        comment="when the job began, the message was parked, the notice given up",
    ),
    Column("attempts", Integer, nullable=False),
    Column("state", Text, nullable=False, server_default="open"),
    Column("state_at", DateTime(timezone=True), nullable=False),
    Column(
        "recovery_id",
        BigInteger,
        comment="the recovery that has it done again, or in which it failed again",
    ),
    Column("work_ordinal", BigInteger, comment="which piece of work of that recovery"),
    Column(
        "is_weighed",
        Boolean,
        nullable=False,
        server_default="false",
        comment="whether it is known which orders and SKUs it is about",
    ),
    Column(
        "is_moot",
        Boolean,
        nullable=False,
        server_default="false",
        comment="whether a later run did its work, or a later message told what it says",
    ),
    Column(
        "is_parked",
        Boolean,
        nullable=False,
        server_default="false",
        comment="of a message: whether it is parked still, also while a recovery has not begun it",
    ),
    PrimaryKeyConstraint("shop_id", "source", "item_id"),
    ForeignKeyConstraint(["shop_id", "kind_id"], ["failure_kinds.shop_id", "failure_kinds.id"]),
    CheckConstraint(_SOURCES, name="source"),
    CheckConstraint("state in ('open', 'requeued', 'discarded', 'superseded')", name="state"),
    Index("ix_failures_kind", "shop_id", "kind_id", "state", "at", "item_id"),
    Index("ix_failures_settled", "state_at", postgresql_where=text("state <> 'open'")),
    Index("ix_failures_state", "shop_id", "state", "at", "item_id"),
    Index("ix_failures_kind_at", "shop_id", "kind_id", "at", "item_id"),
    Index(
        "ix_failures_needed",
        "shop_id",
        "kind_id",
        "at",
        "item_id",
        postgresql_where=text("state = 'open' and not is_moot"),
    ),
    Index(
        "ix_failures_works",
        "shop_id",
        "kind_id",
        "work_key",
        postgresql_where=text("state = 'open' and source = 'job'"),
    ),
    Index("ix_failures_job_ref", "job_ref", postgresql_where=text("state = 'open' and job_ref is not null")),
    Index(
        "ix_failures_subject",
        "subject",
        "at",
        postgresql_where=text("state = 'open' and source = 'job' and not is_moot and subject is not null"),
    ),
    Index(
        "ix_failures_unweighed",
        "shop_id",
        "source",
        "item_id",
        postgresql_where=text("state = 'open' and not is_weighed"),
    ),
    Index(
        "ix_failures_recovery",
        "shop_id",
        "recovery_id",
        "work_ordinal",
        postgresql_where=text("recovery_id is not null"),
    ),
    comment="failed jobs, parked messages, dead notices: kept by triggers on what they are about",
)

failure_tallies = Table(
    "failure_tallies",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("shop_id", BigInteger, nullable=False),
    Column("kind_id", BigInteger, nullable=False),
    Column(
        "hour_at",
        DateTime(timezone=True),
        comment="the hour of the failures, or of their settling; null: longer ago",
    ),
    *(
        Column(name, Integer, nullable=False, server_default="0", comment=said)
        for name, said in (
            ("failed", "how many failed in the hour, whatever became of them; known for a day"),
            ("settled", "how many were requeued or made good in the hour; known for a day"),
            ("open", "how many of them are open"),
            ("moot", "and how many of those are moot"),
            ("parked", "how many of them are messages that are parked"),
        )
    ),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id", "kind_id"], ["failure_kinds.shop_id", "failure_kinds.id"]),
    Index(None, "shop_id", "kind_id"),
    comment="what changed in how much has failed of each cause; summed up by and by: add them all",
)

failure_orders = Table(
    "failure_orders",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("item_id", BigInteger, nullable=False),
    Column("connection_id", BigInteger, nullable=False),
    Column("order_ref", Text, nullable=False, comment="the channel's id of the order"),
    Column("version_at", DateTime(timezone=True)),
    Column("currency", Text),
    Column("total_minor", BigInteger, comment="what the order comes to by the message; null where it does not say"),
    PrimaryKeyConstraint("shop_id", "source", "item_id", "order_ref"),
    ForeignKeyConstraint(
        ["shop_id", "source", "item_id"],
        ["failures.shop_id", "failures.source", "failures.item_id"],
        ondelete="CASCADE",
    ),
    Index("ix_failure_orders_ref", "shop_id", "connection_id", "order_ref"),
    comment="orders that a failure is about, whether or not they are known here",
)

failure_skus = Table(
    "failure_skus",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("item_id", BigInteger, nullable=False),
    Column("sku_id", BigInteger, nullable=False),
    PrimaryKeyConstraint("shop_id", "source", "item_id", "sku_id"),
    ForeignKeyConstraint(
        ["shop_id", "source", "item_id"],
        ["failures.shop_id", "failures.source", "failures.item_id"],
        ondelete="CASCADE",
    ),
    ForeignKeyConstraint(["shop_id", "sku_id"], ["skus.shop_id", "skus.id"]),
    Index(None, "shop_id", "sku_id"),
    comment="SKUs that a failure is about",
)

failure_discards = Table(
    "failure_discards",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("source", Text, nullable=False),
    Column("item_id", BigInteger, nullable=False),
    *(
        Column(f"{act}_{name}", kind, nullable=False)
        for act in ("discarded", "taken_back")
        for name, kind in (("at", DateTime(timezone=True)), ("by", Text), ("reason", Text))
    ),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(
        ["shop_id", "source", "item_id"],
        ["failures.shop_id", "failures.source", "failures.item_id"],
        ondelete="CASCADE",
    ),
    Index(None, "shop_id", "source", "item_id"),
    comment="discards that were taken back: the failure is open again",
)

recoveries = Table(
    "recoveries",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="running"),
    Column("per_minute", Double, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("requested_at", DateTime(timezone=True), nullable=False),
    Column("items", BigInteger, nullable=False, comment="how many failures it makes good"),
    Column("works", BigInteger, nullable=False, comment="by how many pieces of work"),
    Column("paced_at", DateTime(timezone=True), nullable=False, comment="up to when its pace was given out"),
    Column("ended_at", DateTime(timezone=True), comment="when nothing of it was under way any more"),
    Column("cancelled_at", DateTime(timezone=True)),
    Column("cancelled_by", Text),
    Column("cancelled_reason", Text),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    CheckConstraint("state in ('running', 'done', 'cancelled')", name="state"),
    CheckConstraint("per_minute > 0", name="per_minute"),
    CheckConstraint("(state = 'done') <= (ended_at is not null)", name="ended"),
    CheckConstraint(
        "(state = 'cancelled') = (cancelled_at is not null) and (state = 'cancelled') = (cancelled_by is not null)"
        " and (state = 'cancelled') = (cancelled_reason is not null)",
        name="cancelled_is_signed",
    ),
    Index("ix_recoveries_running", "shop_id", "id", postgresql_where=text("ended_at is null")),
)

recovery_works = Table(
    "recovery_works",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("recovery_id", BigInteger, nullable=False),
    Column("ordinal", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("work_key", Uuid, nullable=False),
    Column("item_id", BigInteger, nullable=False, comment="the newest failure that it makes good"),
    Column("items", BigInteger, nullable=False, comment="how many failures it makes good"),
    Column("function", Text, nullable=False),
    Column("arguments", JSONB),
    Column("connection_id", BigInteger),
    Column(
        "weight",
        Double,
        nullable=False,
        server_default="1",
        comment="how many average pieces of work of its recovery it takes the time of",
    ),
    Column(
        "state",
        Text,
        nullable=False,
        server_default="waiting",
        comment="waiting: not begun; superseded: by the time of its turn it was done or given up",
    ),
    Column("released_at", DateTime(timezone=True)),
    Column("ended_at", DateTime(timezone=True)),
    Column("failed_item_id", BigInteger, comment="the failure that came of it"),
    PrimaryKeyConstraint("shop_id", "recovery_id", "ordinal"),
    ForeignKeyConstraint(["shop_id", "recovery_id"], ["recoveries.shop_id", "recoveries.id"], ondelete="CASCADE"),
    CheckConstraint(_SOURCES, name="source"),
    CheckConstraint("state in ('waiting', 'released', 'done', 'failed', 'superseded', 'cancelled')", name="state"),
    CheckConstraint("(state in ('waiting', 'released')) = (ended_at is null)", name="ended"),
    CheckConstraint("state <> 'released' or released_at is not null", name="released"),
    CheckConstraint("(state = 'failed') = (failed_item_id is not null)", name="failed"),
    CheckConstraint("weight > 0", name="weight"),
    Index(
        "uq_recovery_works_under_way",
        "shop_id",
        "source",
        "work_key",
        unique=True,
        postgresql_where=text("state in ('waiting', 'released')"),
    ),
    Index("ix_recovery_works_state", "shop_id", "recovery_id", "state", "ordinal"),
)
