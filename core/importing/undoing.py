"""Taking an import back, a batch at a time, from its end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.catalog.products import queries as catalogue
from core.catalog.products.documents import from_json
from core.catalog.products.queries import Stored
from core.catalog.products.rules import taken_back
from core.catalog.products.writing import Put, lock, put_products
from core.db import execute, fetch
from core.desk.undo import undo as undo_document
from core.importing.holding import BATCH, actor_of, finish
from core.importing.queries import Run


def undo_batch(conn: Connection, run: Run, now: datetime, limit: int = BATCH) -> int:
    """Take back the last products that are applied; returns how many there were. 0: all are, and the import says so.

    What was changed of a product since stays; where the same was changed again, all of it stays and is told.
    """
    lock(conn, run.shop_id)
    if run.counts["undone"] + run.counts["kept"] == 0:
        _take_back_stock(conn, run, now)
    rows = fetch(
        conn,
        """
        select i.position, i.product_id, i.version, i.document, b.document as before
        from import_items i
        left join product_versions b on b.shop_id = i.shop_id and b.product_id = i.product_id
            and b.version = i.base_version
        where i.shop_id = %(shop)s and i.import_id = %(import)s and i.fate in ('done', 'unbooked')
            and i.version is not null and i.undo_fate is null
        order by i.position desc limit %(limit)s
        """,
        shop=run.shop_id,
        limit=limit,
        **{"import": run.id},
    )
    if not rows:
        finish(conn, run, "undone", now, "undone_at")
        return 0
    now_are = catalogue.stored(conn, run.shop_id, [row["product_id"] for row in rows])
    puts = {row["position"]: _undoing(conn, run, row, now_are.get(row["product_id"])) for row in rows}
    ordered = [(position, put) for position, put in puts.items() if put is not None]
    actor = actor_of(run, "undone_by")
    results = put_products(conn, run.shop_id, [put for _, put in ordered], "undone", actor, now, import_id=run.id)
    done = {position for (position, _), result in zip(ordered, results, strict=True) if result.fate == "done"}
    _note_undone(conn, run, done, puts.keys() - done, now)
    return len(rows)


def _undoing(conn: Connection, run: Run, row: RowMapping, current: Stored | None) -> Put | None:
    if current is None:
        return None
    version = catalogue.version(conn, run.shop_id, row["product_id"], row["version"])
    assert version is not None, "versions are never deleted"
    if row["before"] is None:
        wanted = None if current.version == row["version"] else current.document
    else:
        assert version.document is not None
        wanted = taken_back(from_json(row["before"]), version.document, current.document)
        if wanted is None:
            return None
    if wanted is not None and wanted == current.document:
        return None
    return Put(wanted, row["product_id"], current.version, undoes_version=row["version"])


def _note_undone(conn: Connection, run: Run, done: Iterable[int], kept: Iterable[int], now: datetime) -> None:
    taken, left = sorted(done), sorted(kept)
    execute(
        conn,
        """
        update import_items set undo_fate = case when position = any(%(done)b::int4[]) then 'done' else 'changed' end
        where shop_id = %(shop)s and import_id = %(import)s and position = any(%(all)b::int4[])
        """,
        shop=run.shop_id,
        done=taken,
        all=taken + left,
        **{"import": run.id},
    )
    execute(
        conn,
        """
        update import_runs set undone = undone + %(done)s, kept = kept + %(kept)s, worked_at = %(now)s
        where shop_id = %(shop)s and id = %(import)s
        """,
        shop=run.shop_id,
        done=len(taken),
        kept=len(left),
        now=now,
        **{"import": run.id},
    )


def _take_back_stock(conn: Connection, run: Run, now: datetime) -> None:
    """Documents that set stock are undone as the desk does it: once each, and refused where the goods are gone."""
    for row in fetch(
        conn,
        """
        select id from stock_documents d
        where d.shop_id = %(shop)s and starts_with(d.business_key, %(prefix)s)
            and not exists (select from stock_documents u where u.shop_id = d.shop_id and u.undoes_id = d.id)
        order by id desc
        """,
        shop=run.shop_id,
        prefix=f"import:{run.id}:",
    ):
        undo_document(conn, run.shop_id, row["id"], actor_of(run, "undone_by"), now)
