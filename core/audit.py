"""The append-only log of acts: who did what to what, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    PrimaryKeyConstraint,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

from core.db import metadata, scalar
from core.errors import BadInput

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("shop_id", BigInteger, nullable=False),
    Column("id", BigInteger, Identity(always=True), nullable=False),
    Column("acted_at", DateTime(timezone=True), nullable=False),
    Column("actor", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("subject", Text, nullable=False, comment="kind and id, such as sku:17"),
    Column("reason", Text, nullable=False),
    Column("details", JSONB, nullable=False),
    PrimaryKeyConstraint("shop_id", "id"),
    ForeignKeyConstraint(["shop_id"], ["shops.shop_id"]),
    CheckConstraint("btrim(actor) <> '' and btrim(reason) <> ''", name="named_and_reasoned"),
    Index(None, "shop_id", "acted_at"),
    Index(None, "shop_id", "subject"),
)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts and why. Raises BadInput when either is empty."""

    name: str
    reason: str

    def __post_init__(self) -> None:
        if not self.name.strip() or not self.reason.strip():
            raise BadInput("an act needs the name of who does it and a reason: neither may be empty")


def record(conn: Connection, shop_id: int, actor: Actor, act: str, subject: str, now: datetime, **details: Any) -> int:
    """Write one entry in the caller's unit of work; returns its id."""
    return scalar(
        conn,
        """
        insert into audit_entries (shop_id, acted_at, actor, act, subject, reason, details)
        values (%(shop)s, %(now)s, %(actor)s, %(act)s, %(subject)s, %(reason)s, %(details)s) returning id
        """,
        shop=shop_id,
        now=now,
        actor=actor.name,
        act=act,
        subject=subject,
        reason=actor.reason,
        details=Jsonb(details),
    )
