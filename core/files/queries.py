"""Reads: a shop's documents, and those whose time is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch, fetch_one

State = Literal["awaiting", "stored", "deleted"]

UPLOAD_MAX = timedelta(hours=1)
"""How long the bytes of one upload may take; it may begin as long as its link lives."""


@dataclass(frozen=True, slots=True)
class Document:
    """What is known of one. `bytes`, `sha256` and `stored_at` are there once it was stored.

    `expires_at`: while it is awaited, until when its upload may begin; once stored, until when it is kept.
    """

    shop_id: int
    id: int
    kind: str
    key: str
    file_name: str
    content_type: str
    bytes_max: int
    keep_days: int
    state: State
    bytes: int | None
    sha256: str | None
    created_by: str
    created_at: datetime
    stored_at: datetime | None
    expires_at: datetime


_COLUMNS = ", ".join(Document.__dataclass_fields__)


def document(conn: Connection, shop_id: int, document_id: int) -> Document | None:
    """A document of the shop, whatever its state; None where there is none."""
    row = fetch_one(
        conn,
        f"select {_COLUMNS} from documents where shop_id = %(shop)s and id = %(id)s",
        shop=shop_id,
        id=document_id,
    )
    return None if row is None else document_of(row)


def by_key(conn: Connection, key: str) -> Document | None:
    """The document under a key, whose first part is its shop; None where there is none."""
    row = fetch_one(
        conn,
        f"select {_COLUMNS} from documents where shop_id = %(shop)s and key = %(key)s",
        shop=int(key.partition("/")[0]),
        key=key,
    )
    return None if row is None else document_of(row)


def over(conn: Connection, now: datetime, at_most: int) -> Sequence[Document]:
    """Documents of all shops whose time is over, the longest first, locked; those that others have locked left out.

    One that is awaited is left as long as an upload that began in time may still be coming in.
    """
    rows = fetch(
        conn,
        f"""
        select {_COLUMNS} from documents
        where expires_at < %(now)s and (state = 'stored' or state = 'awaiting' and expires_at < %(began)s)
        order by expires_at limit %(at_most)s for update skip locked
        """,
        now=now,
        began=now - 2 * UPLOAD_MAX,
        at_most=at_most,
    )
    return [document_of(row) for row in rows]


def document_of(row: RowMapping) -> Document:
    """A row of `documents` as a value."""
    return Document(**row)
