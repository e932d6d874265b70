"""Tables: ledger_accounts, ledger_transactions, ledger_entries (facts), ledger_seals (the chain over them),
ledger_account_days (sums of entries, for speed)."""

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
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from core.db import metadata

ledger_accounts = Table(
    "ledger_accounts",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("kind", Text, nullable=False, comment="what it stands for; core/ledger/rules.py lists the kinds"),
    Column("party_id", BigInteger, comment="whose it is; null where it is not a party's"),
    Column("connection_id", BigInteger, comment="of which channel; null where it is not a channel's"),
    Column("currency", Text, nullable=False),
    Column("opened_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    ForeignKeyConstraint(["shop_id", "party_id"], ["parties.shop_id", "parties.id"]),
    ForeignKeyConstraint(["shop_id", "connection_id"], ["connections.shop_id", "connections.id"]),
    CheckConstraint(
        "kind in ('payable', 'refund_reserve', 'platform', 'shipping', 'tax', 'channel_receivable', 'channel_fees',"
        " 'payout_clearing', 'adjustments', 'unassigned')",
        name="kind",
    ),
    CheckConstraint("(kind in ('payable', 'refund_reserve')) = (party_id is not null)", name="party"),
    Index(
        "uq_ledger_accounts_name",
        "shop_id",
        "kind",
        "party_id",
        "connection_id",
        "currency",
        unique=True,
        postgresql_nulls_not_distinct=True,
    ),
    Index("ix_ledger_accounts_party", "shop_id", "party_id", postgresql_where=text("party_id is not null")),
    comment="one currency each; a balance is the sum of its entries, debits positive",
)

ledger_transactions = Table(
    "ledger_transactions",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("key", Text, nullable=False, comment="of the fact it stands for: the same fact is posted once"),
    Column("kind", Text, nullable=False, comment="sale, refund, release ...; core/ledger/rules.py lists the kinds"),
    Column("order_id", BigInteger, comment="the order it is of, where it is of one"),
    Column("event_at", DateTime(timezone=True), nullable=False, comment="when it happened"),
    Column("recorded_at", DateTime(timezone=True), nullable=False, comment="when we wrote it: `as of` goes by this"),
    Column("note", Text, nullable=False, comment="in words, for whoever reads a statement; names no person who bought"),
    Column("recorded_by", Text, nullable=False),
    PrimaryKeyConstraint("shop_id", "id"),
    UniqueConstraint("shop_id", "key"),
    Index(None, "shop_id", "order_id", postgresql_where=text("order_id is not null")),
    Index(None, "shop_id", "recorded_at", "id"),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("transaction_id", BigInteger, nullable=False),
    Column("account_id", BigInteger, nullable=False),
    Column("amount_minor", BigInteger, nullable=False, comment="debit positive, credit negative"),
    Column("currency", Text, nullable=False, comment="its account's"),
    PrimaryKeyConstraint("shop_id", "transaction_id", "account_id"),
    CheckConstraint("amount_minor <> 0", name="amount"),
    Index("ix_ledger_entries_account", "shop_id", "account_id", "transaction_id", postgresql_include=["amount_minor"]),
    comment="one for each account that a transaction touches; what they refer to is checked by the statement's trigger",
)

ledger_seals = Table(
    "ledger_seals",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False, comment="its place in the chain, from 1"),
    Column("first_id", BigInteger, nullable=False, comment="the lowest id of the transactions that it seals"),
    Column("last_id", BigInteger, nullable=False),
    Column("transactions", Integer, nullable=False),
    Column(
        "members",
        LargeBinary,
        nullable=False,
        comment="id (8 bytes, big endian) and SHA-256 (32) of each transaction, in order of id",
    ),
    Column("previous_head", LargeBinary, nullable=False, comment="the head before; 32 zero bytes for the first"),
    Column("head", LargeBinary, nullable=False, comment="SHA-256 of the head before and of the members"),
    Column("sealed_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id", "number"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    CheckConstraint("number >= 1", name="number"),
    CheckConstraint(
        "transactions >= 1 and first_id <= last_id and octet_length(members) = transactions * 40", name="members"
    ),
    CheckConstraint("octet_length(previous_head) = 32 and octet_length(head) = 32", name="heads"),
    CheckConstraint("head = sha256(previous_head || members)", name="chained"),
    Index(None, "shop_id", "last_id"),
)

ledger_anchors = Table(
    "ledger_anchors",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("day", Date, nullable=False, comment="the business day in the shop's zone"),
    Column("seal_number", BigInteger, nullable=False, comment="the last seal that it covers"),
    Column("head", LargeBinary, nullable=False),
    Column("place", Text, nullable=False, comment="where it was put outside of the database"),
    Column("anchored_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id", "seal_number"], ["ledger_seals.shop_id", "ledger_seals.number"]),
    UniqueConstraint("shop_id", "day", "place"),
    CheckConstraint("octet_length(head) = 32", name="head"),
)

ledger_account_days = Table(
    "ledger_account_days",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("account_id", BigInteger, nullable=False),
    Column("day", Date, nullable=False, comment="of recording, in the shop's zone of that time"),
    Column("debit_minor", BigInteger, nullable=False),
    Column("credit_minor", BigInteger, nullable=False, comment="positive"),
    Column("entries", BigInteger, nullable=False),
    PrimaryKeyConstraint("shop_id", "id"),
    Index(None, "shop_id", "account_id", "day"),
    ForeignKeyConstraint(["shop_id", "account_id"], ["ledger_accounts.shop_id", "ledger_accounts.id"]),
    comment="what each statement added to an account on a day; rows alike are folded into one",
)
