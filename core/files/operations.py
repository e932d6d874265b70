"""Writes: announce a document and give out its link, note that it is stored, forget it.

A row is announced before a byte comes, so that a link is good for one upload: who stores it first makes it `stored`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy import Connection

from core import documents
from core.db import execute, scalar
from core.documents import DocumentStore, Link, NoDocument, Stat
from core.errors import Anticipated, BadInput
from core.files import queries
from core.files.queries import Document

LINK_LIVES = timedelta(minutes=15)
"""How long an upload may wait to begin."""
DOWNLOAD_LIVES = timedelta(hours=1)
"""A link to a document stands on a page that may be open for a while before somebody follows it."""
KEEP_DAYS = 30
KEEP_DAYS_MAX = 3_650
BYTES_MAX = 5_000_000_000
"""No document is larger, whoever asks: what one request may bring to S3, where documents may lie one day."""


class UploadOver(Anticipated):
    """The link was good for one upload, which has been; or nobody waits for it any more."""

    def __init__(self, state: str | None) -> None:
        super().__init__(
            "a file was uploaded with this link before, and it is good for one: ask for a new one"
            if state == "stored"
            else "nobody waits for this file any more: ask for a new link"
        )
        self.state = state


@dataclass(frozen=True, slots=True)
class Announced:
    """A document that is awaited, and the link by which it is uploaded."""

    document_id: int
    key: str
    link: Link


def announce(
    conn: Connection,
    store: DocumentStore,
    shop_id: int,
    kind: str,
    file_name: str,
    content_type: str | None,
    bytes_max: int,
    created_by: str,
    now: datetime,
    *,
    keep_days: int = KEEP_DAYS,
) -> Announced:
    """Await a document of at most `bytes_max` bytes, and give out the link for it, which lives for `LINK_LIVES`.

    `kind` is a word of ours; name and type are what a browser says, and are made presentable. What we make ourselves
    goes the same way: announced, put into the store under the key, `stored`, each committed before the next. Raises
    BadInput, core.sealing.NoSecretKeys, core.sealing.BadSecretKey.
    """
    if not 0 < bytes_max <= BYTES_MAX:
        raise BadInput(f"a document may have 1 to {BYTES_MAX:,} bytes, not {bytes_max:,}")
    if not 1 <= keep_days <= KEEP_DAYS_MAX:
        raise BadInput(f"a document is kept for 1 to {KEEP_DAYS_MAX:,} days, not {keep_days:,}")
    key, type_ = documents.new_key(shop_id, kind, uuid4()), documents.media_type(content_type)
    expires_at = now + LINK_LIVES
    document_id = scalar(
        conn,
        """
        insert into documents (shop_id, kind, key, file_name, content_type, bytes_max, keep_days, created_by,
            created_at, expires_at)
        values (%(shop)s, %(kind)s, %(key)s, %(name)s, %(type)s, %(bytes_max)s, %(keep_days)s, %(by)s, %(now)s,
            %(expires)s)
        returning id
        """,
        shop=shop_id,
        kind=kind,
        key=key,
        name=documents.shown_name(file_name),
        type=type_,
        bytes_max=bytes_max,
        keep_days=keep_days,
        by=created_by,
        now=now,
        expires=expires_at,
    )
    return Announced(int(document_id), key, store.upload_link(key, type_, bytes_max, expires_at))


def stored(conn: Connection, key: str, stat: Stat, now: datetime) -> Document:
    """Note that the bytes of an awaited document are there: once, and kept from now on. Raises UploadOver.

    To be called before they are put in place, in one unit of work with it: the row's lock keeps another upload off.
    """
    shop_id = int(documents.checked_key(key).partition("/")[0])
    count = execute(
        conn,
        """
        update documents set state = 'stored', bytes = %(bytes)s, sha256 = %(sha256)s, stored_at = %(now)s,
            expires_at = %(now)s + keep_days * interval '1 day'
        where shop_id = %(shop)s and key = %(key)s and state = 'awaiting'
        """,
        shop=shop_id,
        key=key,
        bytes=stat.bytes,
        sha256=stat.sha256,
        now=now,
    )
    found = queries.by_key(conn, key)
    if not count or found is None:
        raise UploadOver(None if found is None else found.state)
    return found


def download_link(conn: Connection, store: DocumentStore, shop_id: int, document_id: int, now: datetime) -> Link:
    """A link by which a browser saves a stored document, for `DOWNLOAD_LIVES`, never longer than it is kept.

    Raises core.documents.NoDocument, core.sealing.NoSecretKeys, core.sealing.BadSecretKey.
    """
    found = readable(conn, shop_id, document_id, now)
    expires_at = min(now + DOWNLOAD_LIVES, found.expires_at)
    return store.download_link(found.key, found.file_name, found.content_type, expires_at)


def readable(conn: Connection, shop_id: int, document_id: int, now: datetime) -> Document:
    """A document that is stored and kept, for `store.open(document.key)`. Raises core.documents.NoDocument."""
    found = queries.document(conn, shop_id, document_id)
    if found is None or found.state != "stored" or found.expires_at <= now:
        raise NoDocument
    return found


def forget(conn: Connection, store: DocumentStore, shop_id: int, document_id: int) -> bool:
    """Delete a document's bytes, or no longer await them; that it was there stays on record. Says whether it was.

    The bytes go at once. Should the caller's unit of work not be committed, they are missing, and this may be repeated.
    """
    key = scalar(
        conn,
        """
        update documents set state = 'deleted'
        where shop_id = %(shop)s and id = %(id)s and state <> 'deleted' returning key
        """,
        shop=shop_id,
        id=document_id,
    )
    if key is not None:
        store.delete(key)
    return key is not None


def forget_over(conn: Connection, store: DocumentStore, now: datetime, at_most: int) -> int:
    """Delete those whose time is over, of all shops, `at_most` of them; returns how many.

    Bytes go before the rows say so: should this end between the two, the next turn does it again. What was announced
    and never came leaves no row.
    """
    found = queries.over(conn, now, at_most)
    for document in found:
        store.delete(document.key)
    for state, sql in (
        ("stored", "update documents d set state = 'deleted'"),
        ("awaiting", "delete from documents d"),
    ):
        those = [document for document in found if document.state == state]
        rows = "unnest(%(shops)b::int8[], %(ids)b::int8[]) n (shop_id, id)"
        execute(
            conn,
            f"{sql} {'from' if state == 'stored' else 'using'} {rows} where d.shop_id = n.shop_id and d.id = n.id",
            shops=[document.shop_id for document in those],
            ids=[document.id for document in those],
        )
    return len(found)
