"""Applying what was read, a batch at a time: products, their categories and metafields, and stock where asked."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.audit import Actor
from core.catalog.products import operations as products
from core.catalog.products import queries as catalogue
from core.catalog.products.documents import ProductDocument, from_json
from core.catalog.products.fields import Definition
from core.catalog.products.writing import Put, lock, put_products
from core.db import execute, fetch
from core.errors import Anticipated
from core.importing.counting import set_stock
from core.importing.holding import BATCH, actor_of, finish, is_broken, storable, why
from core.importing.metafields import check_types
from core.importing.placing import placed
from core.importing.queries import Run
from core.importing.renaming import skus_without_product

log = logging.getLogger(__name__)


def apply_batch(conn: Connection, run: Run, now: datetime, limit: int = BATCH) -> int:
    """Apply the next products; returns how many there were. 0: all are, and the import says so.

    What was changed since it was read is not applied, and is told by itself; so is what cannot be written at all.
    """
    lock(conn, run.shop_id)
    rows = _next(conn, run, limit)
    if not rows:
        finish(conn, run, "applied", now, "applied_at")
        return 0
    actor = actor_of(run, "applied_by")
    _define(conn, run, actor, now)
    _apply_apart(conn, run, rows, actor, now)
    execute(
        conn,
        """
        update import_runs set applied_to = %(position)s, worked_at = %(now)s
        where shop_id = %(shop)s and id = %(import)s
        """,
        shop=run.shop_id,
        position=rows[-1]["position"],
        now=now,
        **{"import": run.id},
    )
    return len(rows)


def _next(conn: Connection, run: Run, limit: int) -> Sequence[RowMapping]:
    """Items behind those that are applied: what changes, and what stays as it is where stock is set.

    Each of the two has an index of its own. Behind a position: what is applied stands in them still for a while.
    """
    columns = "position, product_id, base_version, document, category_paths, units, action"
    mine = "shop_id = %(shop)s and import_id = %(import)s and fate is null and position > %(after)s"
    return fetch(
        conn,
        f"""
        select * from (
            (select {columns} from import_items where {mine} and action in ('create', 'update')
                order by position limit %(limit)s)
            union all
            (select {columns} from import_items where {mine} and action = 'unchanged' and units is not null
                and %(counts)s order by position limit %(limit)s)
        ) next order by position limit %(limit)s
        """,
        shop=run.shop_id,
        after=-1 if run.applied_to is None else run.applied_to,
        limit=limit,
        counts=run.settings.location_id is not None,
        **{"import": run.id},
    )


def _apply_apart(conn: Connection, run: Run, rows: Sequence[RowMapping], actor: Actor, now: datetime) -> None:
    """Apply items together; where that fails by one of them, all the others, and note that one with the reason."""
    try:
        with conn.begin_nested():
            _apply(conn, run, rows, actor, now)
    except Exception as error:
        if not (isinstance(error, Anticipated) or is_broken(error)):
            raise
        if len(rows) > 1:
            middle = len(rows) // 2
            _apply_apart(conn, run, rows[:middle], actor, now)
            _apply_apart(conn, run, rows[middle:], actor, now)
            return
        position = rows[0]["position"]
        if not isinstance(error, Anticipated):
            log.exception("import %d: its product at position %d cannot be applied", run.id, position)
        _note_fates(conn, run, [_fate(rows[0], "failed", why(error))], now)


def _apply(conn: Connection, run: Run, rows: Sequence[RowMapping], actor: Actor, now: datetime) -> None:
    changing = [row for row in rows if row["action"] != "unchanged"]
    puts = _puts(conn, run, changing, now)
    skus_before = skus_without_product(conn, run.shop_id, puts)
    results = put_products(conn, run.shop_id, puts, "imported", actor, now, import_id=run.id)
    fates = [
        _fate(row, result.fate, result.detail or None)
        | {"version": result.version if result.fate == "done" else None, "product_id": result.product_id}
        | {"skus_before": _those_of(put.document, skus_before) if result.fate == "done" else None}
        for row, put, result in zip(changing, puts, results, strict=True)
    ]
    fates += [_fate(row, "done") for row in rows if row["action"] == "unchanged"]
    done = {fate["position"] for fate in fates if fate["fate"] == "done"}
    counted = set_stock(conn, run, [row for row in rows if row["position"] in done], actor, now)
    for fate in fates:
        told = counted.get(fate["position"])
        if told is not None:
            fate |= {"fate": "done" if told.is_set else "unbooked", "detail": told.said}
    _note_fates(conn, run, fates, now)


def _fate(row: RowMapping, fate: str, detail: str | None = None) -> dict[str, Any]:
    return {
        "position": row["position"],
        "fate": fate,
        "detail": detail,
        "version": None,
        "product_id": row["product_id"],
        "skus_before": None,
    }


def _those_of(document: ProductDocument | None, skus: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is known of a document's SKUs; None where nothing is."""
    variants = () if document is None else document.variants
    return {variant.code: skus[variant.code] for variant in variants if variant.code in skus} or None


def _define(conn: Connection, run: Run, actor: Actor, now: datetime) -> None:
    """Metafields of the file that there are not yet."""
    known = catalogue.definitions(conn, run.shop_id)
    for told in run.new_metafields:
        definition = Definition(**told)  # type: ignore[arg-type]
        if (definition.owner, definition.key) not in known:
            products.define_metafield(conn, run.shop_id, definition, actor, now)


def _puts(conn: Connection, run: Run, rows: Sequence[RowMapping], now: datetime) -> list[Put]:
    paths = {tuple(path) for row in rows for path in row["category_paths"] or ()}
    ids = placed(conn, run, paths, now)
    others = _of_another_type(conn, run)
    puts = []
    for row in rows:
        told = dict(row["document"])
        if row["category_paths"] is not None:
            told["categories"] = list(dict.fromkeys(ids[tuple(path)] for path in row["category_paths"]))
        document = from_json(told)
        if others:
            check_types("product", document.metafields, others, run.settings.currency)
            for variant in document.variants:
                check_types("variant", variant.metafields, others, variant.currency)
        puts.append(Put(document, row["product_id"], row["base_version"]))
    return puts


def _of_another_type(conn: Connection, run: Run) -> dict[tuple[str, str], Definition]:
    """Metafields that the file would bring, and that were defined meanwhile, as something else."""
    if not run.new_metafields:
        return {}
    known = catalogue.definitions(conn, run.shop_id)
    wanted = {(told["owner"], told["key"]): told["type"] for told in run.new_metafields}
    return {key: known[key] for key, type_ in wanted.items() if key in known and known[key].type != type_}


def _note_fates(conn: Connection, run: Run, fates: Sequence[Mapping[str, Any]], now: datetime) -> None:
    execute(
        conn,
        """
        update import_items i set fate = r.fate, detail = r.detail, version = r.version, product_id = r.product_id,
            skus_before = r.skus_before
        from jsonb_to_recordset(%(fates)s::jsonb) as r (position int4, fate text, detail text, version int4,
            product_id int8, skus_before jsonb)
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
