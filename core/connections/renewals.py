"""Writes: the client secret of an application of ours that its vendor has replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.fernet import InvalidToken, MultiFernet
from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.connections.operations import seal_secrets
from core.db import fetch, scalar
from core.sealing import fernets


@dataclass(frozen=True, slots=True)
class Holder:
    """A connection that works with an application's credentials."""

    shop_id: int
    connection_id: int
    name: str


def holders(conn: Connection, keys: Sequence[str], vendor: str, application: str) -> list[Holder]:
    """Every connection, of any shop, whose `client_id` is the application's. Raises NoSecretKeys, BadSecretKey."""
    box = MultiFernet(fernets(keys))
    rows = fetch(
        conn,
        """
        select c.shop_id, c.id, c.name, s.sealed from connections c
        join connection_secrets s on s.shop_id = c.shop_id and s.connection_id = c.id and s.name = 'client_id'
        where c.vendor = %(vendor)s order by c.shop_id, c.id
        """,
        vendor=vendor,
    )
    return [
        Holder(row["shop_id"], row["id"], row["name"])
        for row in rows
        if _opened(box, bytes(row["sealed"])) == application
    ]


def take_new_secret(
    conn: Connection,
    keys: Sequence[str],
    found: Sequence[Holder],
    secret: str,
    told_at: datetime | None,
    actor: Actor,
    now: datetime,
) -> list[Holder]:
    """Seal the application's new client secret wherever it is used; returns where that was.

    One that was entered after the vendor told of this one stays. Messages come late and again: an old one must not put
    an old secret back.
    """
    taken = []
    for holder in found:
        newer = told_at is not None and scalar(
            conn,
            """
            select true from connection_secrets where shop_id = %(shop)s and connection_id = %(id)s
                and name = 'client_secret' and updated_at > %(told_at)s for update
            """,
            shop=holder.shop_id,
            id=holder.connection_id,
            told_at=told_at,
        )
        if newer:
            continue
        seal_secrets(conn, keys, holder.shop_id, holder.connection_id, {"client_secret": secret}, now)
        subject = f"connection:{holder.connection_id}"
        audit.record(conn, holder.shop_id, actor, "renew_client_secret", subject, now, connection=holder.name)
        taken.append(holder)
    return taken


def _opened(box: MultiFernet, sealed: bytes) -> str | None:
    """None for what no key of this process opens."""
    try:
        return box.decrypt(sealed).decode()
    except InvalidToken:
        return None
