"""Applying what was read, a batch at a time: products, their categories and metafields, and stock where asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.audit import Actor
from core.catalog.categories.operations import ensure_paths
from core.catalog.products import operations as products
from core.catalog.products import queries as catalogue
from core.catalog.products.documents import from_json
from core.catalog.products.fields import Definition
from core.catalog.products.writing import Put, lock, put_products
from core.db import execute, fetch
from core.desk import operations as desk
from core.desk.booking import Item
from core.desk.rules import LINES_MAX
from core.errors import Anticipated
from core.importing.holding import BATCH, actor_of, finish, storable
from core.importing.queries import Run


def apply_batch(conn: Connection, run: Run, now: datetime, limit: int = BATCH) -> int:
    """Apply the next products; returns how many there were. 0: all are, and the import says so.

    What was changed since it was read is not applied, and is told by itself.
    """
    lock(conn, run.shop_id)
    rows = fetch(
        conn,
        """
        select position, product_id, base_version, document, category_paths, units, action from import_items
        where shop_id = %(shop)s and import_id = %(import)s and fate is null
            and (action in ('create', 'update') or (action = 'unchanged' and units is not null and %(counts)s))
        order by position limit %(limit)s
        """,
        shop=run.shop_id,
        limit=limit,
        counts=run.settings.location_id is not None,
        **{"import": run.id},
    )
    if not rows:
        finish(conn, run, "applied", now, "applied_at")
        return 0
    actor = actor_of(run, "applied_by")
    _define(conn, run, actor, now)
    changing = [row for row in rows if row["action"] != "unchanged"]
    puts = _puts(conn, run, changing, now)
    results = put_products(conn, run.shop_id, puts, "imported", actor, now, import_id=run.id)
    fates: list[dict[str, Any]] = [
        {
            "position": row["position"],
            "fate": result.fate,
            "detail": result.detail or None,
            "version": result.version if result.fate == "done" else None,
            "product_id": result.product_id,
        }
        for row, result in zip(changing, results, strict=True)
    ]
    fates += [
        {"position": row["position"], "fate": "done", "detail": None, "version": None, "product_id": row["product_id"]}
        for row in rows
        if row["action"] == "unchanged"
    ]
    unbooked = _set_stock(conn, run, rows, fates, actor, now)
    for fate in fates:
        if unbooked and fate["fate"] == "done" and fate["position"] in unbooked.positions:
            fate |= {"fate": "unbooked", "detail": unbooked.why}
    _note_fates(conn, run, fates, now)
    return len(rows)


def _define(conn: Connection, run: Run, actor: Actor, now: datetime) -> None:
    """Metafields of the file that there are not yet."""
    known = catalogue.definitions(conn, run.shop_id)
    for told in run.new_metafields:
        definition = Definition(**told)  # type: ignore[arg-type]
        if (definition.owner, definition.key) not in known:
            products.define_metafield(conn, run.shop_id, definition, actor, now)


def _puts(conn: Connection, run: Run, rows: Sequence[RowMapping], now: datetime) -> list[Put]:
    paths = {tuple(path) for row in rows for path in row["category_paths"] or ()}
    ids = ensure_paths(conn, run.shop_id, paths, now)
    puts = []
    for row in rows:
        told = dict(row["document"])
        if row["category_paths"] is not None:
            told["categories"] = [ids[tuple(path)] for path in row["category_paths"]]
        puts.append(Put(from_json(told), row["product_id"], row["base_version"]))
    return puts


@dataclass(frozen=True, slots=True)
class _Unbooked:
    """Items whose stock was not set, and why; the products are applied all the same."""

    positions: frozenset[int]
    why: str


def _set_stock(
    conn: Connection,
    run: Run,
    rows: Sequence[RowMapping],
    fates: Sequence[dict[str, Any]],
    actor: Actor,
    now: datetime,
) -> _Unbooked | None:
    """Bring what is on hand to the file's numbers, by documents of the desk; or say why it was refused."""
    location_id = run.settings.location_id
    done = {fate["position"] for fate in fates if fate["fate"] == "done"}
    units = {code: number for row in rows if row["position"] in done for code, number in (row["units"] or {}).items()}
    if location_id is None or not units:
        return None
    items = [
        Item(row["code"], units[row["code"]] - row["on_hand"])
        for row in fetch(
            conn,
            """
            select s.code, coalesce(k.on_hand, 0) as on_hand from skus s
            left join stock_levels k on k.shop_id = s.shop_id and k.sku_id = s.id and k.location_id = %(location)s
            where s.shop_id = %(shop)s and s.code = any(%(codes)b::text[]) and s.is_stocked and not s.is_bundle
            order by s.code
            """,
            shop=run.shop_id,
            location=location_id,
            codes=sorted(units),
        )
        if units[row["code"]] != row["on_hand"]
    ]
    key = f"import:{run.id}:{rows[0]['position']}"
    try:
        with conn.begin_nested():
            for start in range(0, len(items), LINES_MAX):
                some, part = items[start : start + LINES_MAX], f"{key}:{start}"
                desk.adjust(conn, run.shop_id, location_id, some, part, actor, now, reference=run.file_name[:100])
    except Anticipated as error:
        return _Unbooked(frozenset(row["position"] for row in rows if row["units"]), str(error))
    return None


def _note_fates(conn: Connection, run: Run, fates: Sequence[Mapping[str, Any]], now: datetime) -> None:
    execute(
        conn,
        """
        update import_items i set fate = r.fate, detail = r.detail, version = r.version, product_id = r.product_id
        from jsonb_to_recordset(%(fates)s::jsonb) as r (position int4, fate text, detail text, version int4,
            product_id int8)
        where i.shop_id = %(shop)s and i.import_id = %(import)s and i.position = r.position
        """,
        shop=run.shop_id,
        fates=storable(list(fates)),
        **{"import": run.id},
    )
    done = sum(fate["fate"] in ("done", "unbooked") for fate in fates)
    execute(
        conn,
        """
        update import_runs set applied = applied + %(done)s, refused = refused + %(refused)s, worked_at = %(now)s
        where shop_id = %(shop)s and id = %(import)s
        """,
        shop=run.shop_id,
        done=done,
        refused=len(fates) - done,
        now=now,
        **{"import": run.id},
    )
