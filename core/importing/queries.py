"""Reads: imports, what they would change, what is wrong with their rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.catalog.imports.mapping import Mapping as ColumnMapping
from core.catalog.imports.problems import FileRow, Outcome, Problem
from core.catalog.products.documents import ProductDocument, from_json
from core.db import fetch, fetch_one, scalar
from core.errors import BadInput
from core.tables.values import normalized
from core.targets.queries import targets_of

PAGE = 50
AT_WORK = ("reading", "applying", "undoing")


class NoImport(BadInput):
    """There is no such import."""

    def __init__(self, import_id: int) -> None:
        super().__init__(f"there is no import {import_id} in this shop")


@dataclass(frozen=True, slots=True)
class Settings:
    """How a file is read. `location_id`: stock numbers of the file are set there; None: they are left alone.

    `mapping` None: by the form that its heads tell. `make_codes`: variants without a SKU get one.
    """

    currency: str
    mapping: ColumnMapping | None = None
    make_codes: bool = False
    location_id: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "currency": self.currency,
            "mapping": None if self.mapping is None else self.mapping.to_json(),
            "make_codes": self.make_codes,
            "location_id": self.location_id,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Settings:
        """Of plain values."""
        mapping = told["mapping"]
        return cls(
            told["currency"],
            None if mapping is None else ColumnMapping.from_json(mapping),
            told["make_codes"],
            told["location_id"],
        )


@dataclass(frozen=True, slots=True)
class Effect:
    """What applying would do besides: SKUs and listings. `units_up`, `units_down`: stock on hand at the location.

    `listings` show stock of the SKUs whose number changes. `products_by_connection`: of how many products a connection
    is told, as far as they are ours to decide there; by its name, those that are told of none left out.
    """

    new_skus: int
    priced: int
    counted_skus: int
    units_up: int
    units_down: int
    listings: int
    products_by_connection: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """An import as it is now; counts as its columns name them.

    `effect`: what applying the rest would do besides, as it was when the file was read, or the import stopped.
    `generation`: how often it was begun to be read. `stock_kept`: of each document of stock that was not taken back,
    why. `category_ids`: by the path that the file names, the category that was meant when it was read, or was made.
    """

    shop_id: int
    id: int
    document_id: int
    file_name: str
    state: str
    settings: Settings
    form: str | None
    problem: str | None
    stop_asked_by: str | None
    created_by: str
    reason: str
    created_at: datetime
    worked_at: datetime
    counts: Mapping[str, int] = field(default_factory=dict)
    rows_total: int | None = None
    new_categories: Sequence[str] = ()
    new_metafields: Sequence[Mapping[str, str]] = ()
    effect: Effect | None = None
    read_at: datetime | None = None
    applied_by: str | None = None
    applied_at: datetime | None = None
    undone_by: str | None = None
    undone_at: datetime | None = None
    generation: int = 0
    applied_to: int | None = None
    undone_to: int | None = None
    stock_undone_to: int | None = None
    stock_kept: Sequence[str] = ()
    category_ids: Mapping[str, int] = field(default_factory=dict)


COUNTS = (
    "rows_read",
    "items",
    "created",
    "updated",
    "unchanged",
    "rejected",
    "warnings",
    "applied",
    "refused",
    "undone",
    "kept",
)
_PLAIN = (
    "shop_id",
    "id",
    "document_id",
    "file_name",
    "state",
    "form",
    "problem",
    "stop_asked_by",
    "created_by",
    "reason",
    "created_at",
    "worked_at",
    "rows_total",
    "new_categories",
    "new_metafields",
    "read_at",
    "applied_by",
    "applied_at",
    "undone_by",
    "undone_at",
    "generation",
    "applied_to",
    "undone_to",
    "stock_undone_to",
    "stock_kept",
    "category_ids",
)


def run(conn: Connection, shop_id: int, import_id: int, *, for_update: bool = False) -> Run:
    """One import. Raises NoImport."""
    row = fetch_one(
        conn,
        f"""
        select * from import_runs where shop_id = %(shop)s and id = %(id)s {"for update" if for_update else ""}
        """,
        shop=shop_id,
        id=import_id,
    )
    if row is None:
        raise NoImport(import_id)
    return _run_of(row)


def runs(conn: Connection, shop_id: int, before: int | None = None, limit: int = 20) -> list[Run]:
    """Imports of a shop, newest first, from below `before` on."""
    rows = fetch(
        conn,
        """
        select * from import_runs
        where shop_id = %(shop)s and (%(before)s::int8 is null or id < %(before)s::int8)
        order by id desc limit %(limit)s
        """,
        shop=shop_id,
        before=before,
        limit=limit,
    )
    return [_run_of(row) for row in rows]


def import_of(conn: Connection, shop_id: int, document_id: int) -> int | None:
    """The import of an uploaded file that is under way or waits for a decision; None where none is."""
    found: int | None = scalar(
        conn,
        """
        select max(id) from import_runs where shop_id = %(shop)s and document_id = %(document)s
            and state not in ('applied', 'discarded', 'failed', 'undone')
        """,
        shop=shop_id,
        document=document_id,
    )
    return found


def _run_of(row: RowMapping) -> Run:
    return Run(
        **{name: row[name] for name in _PLAIN},
        settings=Settings.from_json(row["settings"]),
        counts={name: row[name] for name in COUNTS},
        effect=None if row["effect"] is None else Effect(**row["effect"]),
    )


def waiting_metafields(conn: Connection, shop_id: int, import_id: int) -> dict[tuple[str, str], tuple[int, str, str]]:
    """Metafields, by owner and key, that other imports define once they are applied: (import, its file, type).

    Where several want one, the oldest of them.
    """
    rows = fetch(
        conn,
        """
        select r.id, r.file_name, d.owner, d.key, d.type from import_runs r
        cross join lateral jsonb_to_recordset(r.new_metafields) as d (owner text, key text, type text)
        where r.shop_id = %(shop)s and r.id <> %(import)s and r.state in ('reading', 'read', 'applying', 'stopped')
            and r.undone_by is null and r.new_metafields <> '[]'
        order by r.id desc
        """,
        shop=shop_id,
        **{"import": import_id},
    )
    return {(row["owner"], row["key"]): (row["id"], row["file_name"], row["type"]) for row in rows}


def at_work(conn: Connection, quiet_since: datetime) -> list[tuple[int, int]]:
    """(shop, import) of those that somebody should be working on and that gave no sign of life since then."""
    rows = fetch(
        conn,
        """
        select shop_id, id from import_runs
        where state in ('reading', 'applying', 'undoing') and worked_at < %(since)s order by 1, 2
        """,
        since=quiet_since,
    )
    return [(row["shop_id"], row["id"]) for row in rows]


# --- what was read -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """One product of a file, or rows that are none. `before` None: it is new, or was removed since.

    `cells` are those of its first row, of what is rejected.
    """

    position: int
    first_row: int
    action: str
    handle: str
    title: str
    product_id: int | None
    before: ProductDocument | None
    after: ProductDocument | None
    category_paths: Sequence[Sequence[str]] | None
    problems: Sequence[Mapping[str, Any]]
    units: Mapping[str, int]
    fate: str | None
    detail: str | None
    version: int | None
    undo_fate: str | None
    undo_detail: str | None = None
    cells: Sequence[str] = ()


SHOWN: Mapping[str, str] = {
    "all": "true",
    "create": "i.action = 'create'",
    "update": "i.action = 'update'",
    "unchanged": "i.action = 'unchanged'",
    "reject": "i.action = 'reject'",
    "warnings": "i.has_warnings",
    "refused": "i.fate <> 'done'",
    "kept": "i.undo_fate <> 'done'",
}
"""What a list of items may be narrowed to."""


def items(
    conn: Connection, shop_id: int, import_id: int, shown: str = "all", after: int = -1, limit: int = PAGE
) -> list[Item]:
    """Items in the file's order, from behind the position `after` on. `before` is what the item was compared with."""
    rows = fetch(
        conn,
        f"""
        select i.*, v.document as before from import_items i
        left join product_versions v on v.shop_id = i.shop_id and v.product_id = i.product_id
            and v.version = i.base_version
        where i.shop_id = %(shop)s and i.import_id = %(import)s and i.position > %(after)s and {SHOWN[shown]}
        order by i.position limit %(limit)s
        """,
        shop=shop_id,
        after=after,
        limit=limit,
        **{"import": import_id},
    )
    return [
        Item(
            row["position"],
            row["first_row"],
            row["action"],
            row["handle"],
            row["title"],
            row["product_id"],
            None if row["before"] is None else from_json(row["before"]),
            None if row["document"] is None else from_json(row["document"]),
            row["category_paths"],
            row["problems"],
            row["units"] or {},
            row["fate"],
            row["detail"],
            row["version"],
            row["undo_fate"],
            row["undo_detail"],
            row["rows"][0][1] if row["rows"] else (),
        )
        for row in rows
    ]


def problem_groups(conn: Connection, shop_id: int, import_id: int, limit: int = 100) -> Sequence[RowMapping]:
    """What is wrong with the file's rows, by column and sentence without its particulars: how often, and where first.

    Columns: severity, column, sentence (that of the first row), fix, times, first_row; errors first, then the most
    frequent. Counted while the file is read.
    """
    return fetch(
        conn,
        """
        select severity, column_name as "column", sentence, fix, times, first_row from import_problem_groups
        where shop_id = %(shop)s and import_id = %(import)s
        order by severity, times desc, first_row limit %(limit)s
        """,
        shop=shop_id,
        limit=limit,
        **{"import": import_id},
    )


def effect(conn: Connection, shop_id: int, import_id: int) -> Effect:
    """Recomputed from what was read and from stock as it is now; only of what is still to be applied.

    Of a large file that takes a second: pages show `Run.effect`.
    """
    row = fetch_one(
        conn,
        """
        with open as materialized (
            select i.*, r.settings ->> 'location_id' as location from import_items i
            join import_runs r on r.shop_id = i.shop_id and r.id = i.import_id
            where i.shop_id = %(shop)s and i.import_id = %(import)s and i.fate is null
                and i.action in ('create', 'update', 'unchanged')
        ), codes as materialized (
            select v.code, v.price_minor, o.action from open o
            cross join lateral jsonb_to_recordset(o.document -> 'variants') as v (code text, price_minor int8)
            where o.action <> 'unchanged'
        ), told as materialized (
            select s.id, u.value::int8 - coalesce(k.on_hand, 0) as delta
            from open o cross join lateral jsonb_each_text(coalesce(o.units, '{}')) u
            left join skus s on s.shop_id = %(shop)s and s.code = u.key
            left join stock_levels k on k.shop_id = %(shop)s and k.sku_id = s.id and k.location_id = o.location::int8
            where o.location is not null and coalesce(s.is_stocked and not s.is_bundle, true)
        )
        select (select count(*) from codes c left join skus s on s.shop_id = %(shop)s and s.code = c.code
                where s.id is null) as new_skus,
            (select count(*) from codes c join skus s on s.shop_id = %(shop)s and s.code = c.code
                join variants v on v.shop_id = s.shop_id and v.sku_id = s.id
                where v.price_minor is distinct from c.price_minor) as priced,
            (select count(*) from told where delta <> 0) as counted_skus,
            (select coalesce(sum(delta), 0) from told where delta > 0) as units_up,
            (select coalesce(-sum(delta), 0) from told where delta < 0) as units_down,
            (select count(*) from told t join listings l on l.shop_id = %(shop)s and l.sku_id = t.id
                where t.delta <> 0 and l.publishing = 'on') as listings
        """,
        shop=shop_id,
        **{"import": import_id},
    )
    assert row is not None, "sums always come"
    told = _products_by_connection(conn, shop_id, import_id)
    return Effect(**{name: int(value) for name, value in row.items()}, products_by_connection=told)


def _products_by_connection(conn: Connection, shop_id: int, import_id: int) -> dict[str, int]:
    """Targets are told of every product; a channel of those that it has."""
    rows = fetch(
        conn,
        """
        with open as materialized (
            select product_id from import_items
            where shop_id = %(shop)s and import_id = %(import)s and fate is null and action in ('create', 'update')
        ), told as (
            select l.connection_id, count(*) as products from open o
            join product_links l on l.shop_id = %(shop)s and l.product_id = o.product_id group by 1
            union all
            select t.id, (select count(*) from open) from unnest(%(targets)b::int8[]) t (id)
        )
        select c.name, t.products from told t
        join connections c on c.shop_id = %(shop)s and c.id = t.connection_id and c.state = 'active'
        where t.products > 0 order by c.name
        """,
        shop=shop_id,
        targets=targets_of(conn, shop_id),
        **{"import": import_id},
    )
    return {row["name"]: row["products"] for row in rows}


def rejected(
    conn: Connection, shop_id: int, import_id: int, after: int = -1, limit: int = 500
) -> list[tuple[int, Outcome]]:
    """(position, outcome) of what was rejected, as it was read, in the file's order."""
    rows = fetch(
        conn,
        """
        select position, rows, problems from import_items
        where shop_id = %(shop)s and import_id = %(import)s and action = 'reject' and position > %(after)s
            and rows <> '[]'
        order by position limit %(limit)s
        """,
        shop=shop_id,
        after=after,
        limit=limit,
        **{"import": import_id},
    )
    return [
        (
            row["position"],
            Outcome(
                None,
                tuple(Problem(**told) for told in row["problems"]),
                tuple(FileRow(number, tuple(cells)) for number, cells in row["rows"]),
            ),
        )
        for row in rows
    ]


def refused(conn: Connection, shop_id: int, import_id: int) -> dict[int, tuple[str, str]]:
    """(fate, detail) of what was read and not applied, by its first row in the file, in the file's order."""
    rows = fetch(
        conn,
        """
        select first_row, fate, coalesce(detail, '') as detail from import_items
        where shop_id = %(shop)s and import_id = %(import)s and fate <> 'done' and fate <> 'unbooked'
        order by position
        """,
        shop=shop_id,
        **{"import": import_id},
    )
    return {row["first_row"]: (row["fate"], row["detail"]) for row in rows}


# --- mappings ------------------------------------------------------------------------------------------------------


def heads_key(heads: Sequence[str]) -> str:
    """What files of the same columns have in common, in whatever order: a hash, however many columns there are."""
    words = sorted({normalized(head) for head in heads if head.strip()})
    return sha256(json.dumps(words).encode()).hexdigest()


def remembered_mapping(conn: Connection, shop_id: int, heads: Sequence[str]) -> ColumnMapping | None:
    """How a file of these heads was mapped last; None where none was."""
    told = scalar(
        conn,
        "select mapping::text from import_mappings where shop_id = %(shop)s and heads_key = %(key)s",
        shop=shop_id,
        key=heads_key(heads),
    )
    return None if told is None else ColumnMapping.from_json(told)
