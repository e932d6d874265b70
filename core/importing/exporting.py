"""The catalogue as a file: asked for, written a batch at a time beside its progress, and kept for a signed link.

Nothing in it is run by a spreadsheet (core.spreadsheets), and importing it again changes nothing. A worker that dies
begins again, three times in all: what it had written lay on its own disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.catalog.exports import Layout, TooNarrow
from core.catalog.products import queries as products
from core.catalog.products.documents import ProductDocument
from core.catalog.products.queries import Filters, Stored
from core.db import execute, fetch, fetch_one, read_only, scalar, unit_of_work
from core.documents import DocumentStore
from core.errors import BadInput
from core.files import operations as files
from core.importing import scratch
from core.spreadsheets import guarded
from core.tables import delimited, workbooks
from core.tables.delimited import Dress

Kind = Literal["csv", "xlsx"]
KINDS: tuple[Kind, ...] = ("csv", "xlsx")
DOCUMENT_KIND = "catalogue_export"
KEEP_DAYS = 2
"""It is made again whenever somebody asks."""
BATCH = 500
"""Products read at a time."""
ATTEMPTS_MAX = 3
"""What broke off so often would break off for ever."""
_LAYOUTS_MAX = 5
"""So often the columns are chosen anew because the catalogue has outgrown them meanwhile."""
_SHEET_ROWS_MAX = 1_048_576
_SHEET_CELL_MAX = 32_767
_TYPES: Mapping[Kind, str] = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class NoExport(BadInput):
    """There is no such export."""

    def __init__(self, export_id: int) -> None:
        super().__init__(f"there is no export {export_id} in this shop")


class Overtaken(Exception):
    """Somebody stopped the export, or it is over."""


@dataclass(frozen=True, slots=True)
class Export:
    """An export as it is now. `document_id` and `file_name` are there once it is written.

    `attempts`: how often somebody began to write it.
    """

    shop_id: int
    id: int
    state: str
    kind: Kind
    filters: Filters
    products_total: int
    products_done: int
    rows_done: int
    attempts: int
    document_id: int | None
    file_name: str | None
    problem: str | None
    created_by: str
    created_at: datetime
    worked_at: datetime


# --- asked for, looked at, stopped -----------------------------------------------------------------------------------


def begin(conn: Connection, shop_id: int, filters: Filters, kind: Kind, actor: Actor, now: datetime) -> int:
    """Have the products that fit written to a file; returns the export's id. Ring `exports.write` after the commit.

    Raises BadInput where none fits.
    """
    total = products.count_fitting(conn, shop_id, filters)
    if not total:
        raise BadInput("no product fits: there is nothing to export. Show others, or all of them")
    export_id = scalar(
        conn,
        """
        insert into catalogue_exports (shop_id, state, kind, filters, products_total, created_by, created_at, worked_at)
        values (%(shop)s, 'writing', %(kind)s, %(filters)s, %(total)s, %(by)s, %(now)s, %(now)s)
        returning id
        """,
        shop=shop_id,
        kind=kind,
        filters=Jsonb(asdict(filters)),
        total=total,
        by=actor.name,
        now=now,
    )
    audit.record(conn, shop_id, actor, "export_catalogue", f"export:{export_id}", now, products=total)
    return int(export_id)


def export(conn: Connection, shop_id: int, export_id: int) -> Export:
    """One export. Raises NoExport."""
    row = fetch_one(
        conn,
        f"select {_COLUMNS} from catalogue_exports where shop_id = %(shop)s and id = %(id)s",
        shop=shop_id,
        id=export_id,
    )
    if row is None:
        raise NoExport(export_id)
    return _export_of(row)


def latest(conn: Connection, shop_id: int, by: str, since: datetime) -> Export | None:
    """The last export that somebody asked for since then; None where there was none."""
    row = fetch_one(
        conn,
        f"""
        select {_COLUMNS} from catalogue_exports
        where shop_id = %(shop)s and created_by = %(by)s and created_at >= %(since)s order by id desc limit 1
        """,
        shop=shop_id,
        by=by,
        since=since,
    )
    return None if row is None else _export_of(row)


_COLUMNS = (
    "shop_id, id, state, kind, filters, products_total, products_done, rows_done, attempts, document_id, file_name,"
    " problem, created_by, created_at, worked_at"
)


def _export_of(row: RowMapping) -> Export:
    return Export(**{**row, "filters": Filters(**row["filters"])})


def at_work(conn: Connection, quiet_since: datetime) -> list[tuple[int, int]]:
    """(shop, export) of those that somebody should be working on and that gave no sign of life since then."""
    rows = fetch(
        conn,
        """
        select shop_id, id from catalogue_exports
        where state = 'writing' and worked_at < %(since)s order by 1, 2
        """,
        since=quiet_since,
    )
    return [(row["shop_id"], row["id"]) for row in rows]


def stop(conn: Connection, shop_id: int, export_id: int, actor: Actor, now: datetime) -> bool:
    """Have it end at its next batch; says whether it was still being written."""
    stopped = _end(conn, shop_id, export_id, "stopped", now)
    if stopped:
        audit.record(conn, shop_id, actor, "stop_export", f"export:{export_id}", now)
    return stopped


def fail(conn: Connection, shop_id: int, export_id: int, why: str, now: datetime) -> bool:
    """Give it up, with the reason."""
    return _end(conn, shop_id, export_id, "failed", now, problem=why)


def _end(
    conn: Connection,
    shop_id: int,
    export_id: int,
    state: str,
    now: datetime,
    *,
    problem: str | None = None,
    document_id: int | None = None,
    file_name: str | None = None,
) -> bool:
    count = execute(
        conn,
        """
        update catalogue_exports set state = %(state)s, problem = %(problem)s, document_id = %(document)s,
            file_name = %(name)s, worked_at = %(now)s, ended_at = %(now)s
        where shop_id = %(shop)s and id = %(id)s and state = 'writing'
        """,
        shop=shop_id,
        id=export_id,
        state=state,
        problem=problem,
        document=document_id,
        name=file_name,
        now=now,
    )
    return count > 0


# --- written ---------------------------------------------------------------------------------------------------------


class Out:
    """A file that products are written to, one after the other."""

    def __init__(self, writer: delimited.Writer | workbooks.Writer, kind: Kind, layout: Layout) -> None:
        self.rows = 0
        self._writer = writer
        self._kind = kind
        self._layout = layout
        self._write(layout.heads(), "")

    def add(self, product: ProductDocument, paths: Mapping[int, str]) -> None:
        """Write a product; `paths` are categories by id. Raises BadInput where a spreadsheet cannot hold it, TooNarrow
        where the file has no column for some of it."""
        for row in self._layout.rows(product, paths):
            self._write(row, product.handle)
            self.rows += 1

    def _write(self, cells: list[str], handle: str) -> None:
        if self._kind == "xlsx":
            if self.rows + 2 > _SHEET_ROWS_MAX:
                raise BadInput(f"a sheet has at most {_SHEET_ROWS_MAX:,} rows: export as CSV, or fewer products")
            if any(len(cell) >= _SHEET_CELL_MAX for cell in cells):
                raise BadInput(
                    f"{handle} has a text of more than {_SHEET_CELL_MAX:,} characters, which a cell of a spreadsheet"
                    " cannot hold: export as CSV"
                )
        self._writer.add([guarded(cell) for cell in cells])


@contextmanager
def written(path: Path, kind: Kind, layout: Layout) -> Iterator[Out]:
    """A file of products while it is written. What that takes besides lies in its folder, and is gone afterwards."""
    with path.open("wb") as target:
        if kind == "xlsx":
            writer: delimited.Writer | workbooks.Writer = workbooks.Writer(target, path.parent)
        else:
            writer = delimited.Writer(target, Dress("utf-8", ",", names_separator=False, is_gzip=False))
        try:
            yield Out(writer, kind, layout)
            writer.close()
        finally:
            writer.drop()


def layout(conn: Connection, shop_id: int) -> Layout:
    """The columns that the products of a shop need."""
    row = fetch_one(
        conn,
        """
        select (select coalesce(max(n), 1) from (
                select count(*) as n from product_categories where shop_id = %(shop)s group by product_id) k) as most,
            exists (select from variants where shop_id = %(shop)s
                and metafields #>> '{inventory.cost,currency}' <> currency) as costs_apart
        """,
        shop=shop_id,
    )
    assert row is not None, "sums always come"
    return Layout(row["most"], list(products.definitions(conn, shop_id).values()), costs_apart=row["costs_apart"])


def write_file(
    engine: Engine, shop_id: int, filters: Filters, kind: Kind, path: Path, tell: Callable[[int, int], None]
) -> tuple[int, int]:
    """Write the products that fit to a file; returns how many products and rows. `tell` is called with the two after
    each batch.

    Products are read a batch at a time, in the order of their ids: what changes meanwhile is in it as it was when its
    batch was read. Where that has more than the file has columns for, it is begun again with more of them. Raises
    BadInput, also where the catalogue outgrows it again and again.
    """
    for _ in range(_LAYOUTS_MAX):
        with read_only(engine) as conn:
            wanted = layout(conn, shop_id)
        with suppress(TooNarrow), written(path, kind, wanted) as out:
            return _write_all(engine, shop_id, filters, out, tell), out.rows
    raise BadInput(
        "categories, metafields or costs in another currency were added again and again while the file was written:"
        " export again when the imports or edits that do so are over"
    )


def _write_all(engine: Engine, shop_id: int, filters: Filters, out: Out, tell: Callable[[int, int], None]) -> int:
    done, after = 0, 0
    while True:
        with read_only(engine) as conn:
            ids = products.ids_fitting(conn, shop_id, filters, after, BATCH)
            found = products.stored(conn, shop_id, ids)
            paths = _paths_of(conn, shop_id, found.values())
        if not ids:
            return done
        for product_id in ids:
            if product_id in found:
                out.add(found[product_id].document, paths)
                done += 1
        after = ids[-1]
        tell(done, out.rows)


def _paths_of(conn: Connection, shop_id: int, found: Iterable[Stored]) -> dict[int, str]:
    """By id, the categories of some products."""
    rows = fetch(
        conn,
        "select id, path from categories where shop_id = %(shop)s and id = any(%(ids)b::int8[])",
        shop=shop_id,
        ids=sorted({number for one in found for number in one.document.categories}),
    )
    return {row["id"]: row["path"] for row in rows}


def write(engine: Engine, store: DocumentStore, shop_id: int, export_id: int, clock: Callable[[], datetime]) -> Export:
    """Write an export and keep its file for some days; returns it as it is then. One that is over stays as it is, and
    one that was begun too often is given up.

    Raises BadInput, StoreFull, and what may succeed later: it is begun again then.
    """
    with unit_of_work(engine) as conn:
        wanted = _begun(conn, shop_id, export_id, clock())

    def tell(done: int, rows: int) -> None:
        if not _told(engine, wanted, done, rows, clock()):
            raise Overtaken

    if wanted.state == "writing":
        try:
            with scratch.folder("export") as folder:
                path = folder / f"products-{clock():%Y-%m-%d}-{export_id}.{wanted.kind}"
                write_file(engine, shop_id, wanted.filters, wanted.kind, path, tell)
                _keep(engine, store, wanted, path, clock)
        except Overtaken:
            pass
    with read_only(engine) as conn:
        return export(conn, shop_id, export_id)


def _begun(conn: Connection, shop_id: int, export_id: int, now: datetime) -> Export:
    """An export as it is, begun once more if it is still to be written.

    One that was begun often enough is given up instead: each time its worker was killed, or it would say why.
    """
    attempts = scalar(
        conn,
        """
        update catalogue_exports set attempts = attempts + 1, products_done = 0, rows_done = 0, worked_at = %(now)s
        where shop_id = %(shop)s and id = %(id)s and state = 'writing' returning attempts
        """,
        shop=shop_id,
        id=export_id,
        now=now,
    )
    if attempts is not None and attempts > ATTEMPTS_MAX:
        why = (
            f"writing it was begun {ATTEMPTS_MAX} times and broke off each time without a word, as when a worker is"
            " killed for want of memory: export fewer products, or have whoever looks after Switchyard see why"
        )
        fail(conn, shop_id, export_id, why, now)
    return export(conn, shop_id, export_id)


def _told(engine: Engine, wanted: Export, done: int, rows: int, now: datetime) -> bool:
    """Note how far it is; says whether it is still wanted."""
    with unit_of_work(engine) as conn:
        count = execute(
            conn,
            """
            update catalogue_exports set products_done = %(done)s, rows_done = %(rows)s, worked_at = %(now)s
            where shop_id = %(shop)s and id = %(id)s and state = 'writing'
            """,
            shop=wanted.shop_id,
            id=wanted.id,
            done=done,
            rows=rows,
            now=now,
        )
    return count > 0


def _keep(engine: Engine, store: DocumentStore, wanted: Export, path: Path, clock: Callable[[], datetime]) -> None:
    size = path.stat().st_size
    with unit_of_work(engine) as conn:
        announced: Any = files.announce(
            *(conn, store, wanted.shop_id, DOCUMENT_KIND, path.name, _TYPES[wanted.kind], size, wanted.created_by),
            clock(),
            keep_days=KEEP_DAYS,
        )
    with path.open("rb") as source:
        stat = store.put(announced.key, iter(lambda: source.read(1 << 20), b""), size)
    with unit_of_work(engine) as conn:
        files.stored(conn, announced.key, stat, clock())
        _end(
            *(conn, wanted.shop_id, wanted.id, "written", clock()),
            document_id=announced.document_id,
            file_name=path.name,
        )
