"""Taking an import back, a batch at a time: its documents of stock, then its products, from the end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.catalog.products import queries as catalogue
from core.catalog.products.documents import from_json
from core.catalog.products.fields import Definition
from core.catalog.products.queries import Stored
from core.catalog.products.rules import flaws_of, taken_back
from core.catalog.products.writing import Put, PutResult, lock, put_products
from core.db import execute, fetch
from core.desk.undo import undo as undo_document
from core.errors import Anticipated
from core.importing.holding import BATCH, actor_of, finish, is_broken, storable, why
from core.importing.queries import Run
from core.importing.renaming import give_back

log = logging.getLogger(__name__)

DOCUMENTS = 20
"""Documents of stock in one unit of work: each is of as many products as a batch."""
_BEHIND_ALL = 2**63 - 1


def undo_batch(conn: Connection, run: Run, now: datetime, limit: int = BATCH) -> int:
    """Take back the last that was applied; returns of how much that was. 0: all is, and the import says so.

    What was changed of a product since stays; where the same was changed again, all of it stays and is told. Documents
    that set stock are undone as the desk does it, each by itself: one whose goods are gone is kept and told.
    """
    lock(conn, run.shop_id)
    if run.stock_undone_to != 0:
        documents = _take_back_stock(conn, run, now)
        if documents:
            return documents
    rows = _last(conn, run, limit)
    if not rows:
        finish(conn, run, "undone", now, "undone_at")
        return 0
    now_are = catalogue.stored(conn, run.shop_id, [row["product_id"] for row in rows])
    definitions = catalogue.definitions(conn, run.shop_id)
    wanted = {row["position"]: _undoing(row, now_are.get(row["product_id"]), definitions) for row in rows}
    puts = {position: one for position, one in wanted.items() if isinstance(one, Put)}
    kept = {position: one for position, one in wanted.items() if isinstance(one, _Kept)}
    actor = actor_of(run, "undone_by")
    results = put_products(conn, run.shop_id, list(puts.values()), "undone", actor, now, import_id=run.id)
    kept |= {
        position: _kept_of(result) for position, result in zip(puts, results, strict=True) if result.fate != "done"
    }
    give_back(conn, run.shop_id, [dict(row) for row in rows if row["skus_before"] and row["position"] not in kept])
    _note_undone(conn, run, wanted, kept, now)
    return len(rows)


def _last(conn: Connection, run: Run, limit: int) -> list[RowMapping]:
    """Applied items before those that are taken back, the last one first; with what they were before and after."""
    rows = fetch(
        conn,
        """
        with last as materialized (
            select position, product_id, version, base_version, skus_before from import_items
            where shop_id = %(shop)s and import_id = %(import)s and fate in ('done', 'unbooked')
                and version is not null and undo_fate is null and position < %(before)s
            order by position desc limit %(limit)s
        )
        select i.position, i.product_id, i.version, i.skus_before, a.document as after, b.document as before
        from last i
        join product_versions a on a.shop_id = %(shop)s and a.product_id = i.product_id and a.version = i.version
        left join product_versions b on b.shop_id = %(shop)s and b.product_id = i.product_id
            and b.version = i.base_version
        order by i.position desc
        """,
        shop=run.shop_id,
        before=_BEHIND_ALL if run.undone_to is None else run.undone_to,
        limit=limit,
        **{"import": run.id},
    )
    return list(rows)


@dataclass(frozen=True, slots=True)
class _Kept:
    """That an item stays as it is: the same was changed again, or (`barred`) it cannot be as it was, and why."""

    undo_fate: str
    detail: str | None = None


_CHANGED = _Kept("changed")


def _undoing(row: RowMapping, current: Stored | None, definitions: Mapping[tuple[str, str], Definition]) -> Put | _Kept:
    if current is None:
        return _CHANGED
    if row["before"] is None:
        if current.version != row["version"]:
            return _CHANGED
        return Put(None, row["product_id"], current.version, undoes_version=row["version"])
    wanted = taken_back(from_json(row["before"]), from_json(row["after"]), current.document)
    if wanted is None or wanted == current.document:
        return _CHANGED
    flaws = flaws_of(wanted, definitions)
    if flaws:
        return _Kept("barred", f"{flaws[0].code or 'the product'} {flaws[0].sentence}")
    return Put(wanted, row["product_id"], current.version, undoes_version=row["version"])


def _kept_of(result: PutResult) -> _Kept:
    if result.fate == "stale":
        return _CHANGED
    kind = "handle" if result.fate == "handle_taken" else "SKU"
    return _Kept("barred", f"the {kind} {result.detail} is another product's by now")


def _note_undone(
    conn: Connection, run: Run, positions: Mapping[int, object], kept: Mapping[int, _Kept], now: datetime
) -> None:
    execute(
        conn,
        """
        update import_items i set undo_fate = r.undo_fate, undo_detail = r.detail
        from jsonb_to_recordset(%(fates)s::jsonb) as r (position int4, undo_fate text, detail text)
        where i.shop_id = %(shop)s and i.import_id = %(import)s and i.position = r.position
        """,
        shop=run.shop_id,
        fates=storable(
            [
                {"position": position, "undo_fate": told.undo_fate, "detail": told.detail}
                for position in positions
                for told in [kept.get(position, _Kept("done"))]
            ]
        ),
        **{"import": run.id},
    )
    execute(
        conn,
        """
        update import_runs set undone = undone + %(done)s, kept = kept + %(kept)s, undone_to = %(to)s,
            worked_at = %(now)s
        where shop_id = %(shop)s and id = %(import)s
        """,
        shop=run.shop_id,
        done=len(positions) - len(kept),
        kept=len(kept),
        to=min(positions),
        now=now,
        **{"import": run.id},
    )


def _take_back_stock(conn: Connection, run: Run, now: datetime) -> int:
    """Undo the last documents that set stock and were not looked at yet; returns how many there were."""
    rows = fetch(
        conn,
        """
        select id,
            exists (select from stock_documents u where u.shop_id = d.shop_id and u.undoes_id = d.id) as is_undone
        from stock_documents d
        where d.shop_id = %(shop)s and starts_with(d.business_key, %(prefix)s)
            and d.id < %(before)s
        order by id desc limit %(limit)s
        """,
        shop=run.shop_id,
        prefix=f"import:{run.id}:",
        before=_BEHIND_ALL if run.stock_undone_to is None else run.stock_undone_to,
        limit=DOCUMENTS,
    )
    kept = [said for row in rows if not row["is_undone"] and (said := _undo_document(conn, run, row["id"], now))]
    execute(
        conn,
        """
        update import_runs set stock_undone_to = %(to)s, stock_kept = stock_kept || %(kept)s::text[],
            worked_at = %(now)s
        where shop_id = %(shop)s and id = %(import)s
        """,
        shop=run.shop_id,
        to=rows[-1]["id"] if rows else 0,
        kept=kept,
        now=now,
        **{"import": run.id},
    )
    return len(rows)


def _undo_document(conn: Connection, run: Run, document_id: int, now: datetime) -> str:
    """Undo one document of stock; why it is kept, else ""."""
    try:
        with conn.begin_nested():
            undo_document(conn, run.shop_id, document_id, actor_of(run, "undone_by"), now)
    except Exception as error:
        if isinstance(error, Anticipated):
            return str(error)
        if not is_broken(error):
            raise
        log.exception("import %d: its document of stock %d cannot be undone", run.id, document_id)
        return f"document {document_id}: {why(error)}"
    return ""
