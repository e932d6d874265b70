"""Imports of products on the command line: `switchyard imports read|show|apply|stop|undo|discard|rejected|list`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from core.audit import Actor
from core.bootstrap import Application
from core.catalog.imports.mapping import Mapping
from core.catalog.imports.reading import NeedsMapping, open_products
from core.clock import utc_now
from core.db import read_only, scalar, unit_of_work
from core.desk.queries import locations
from core.errors import BadInput
from core.importing import operations, queries
from core.importing.queries import Run, Settings
from workers import console, importing

_SHOP = click.option("--shop", help="Name of the shop; needed where there are several.")
_REASON = click.option("--reason", required=True, help="Why; kept on record.")
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_SHOWN = 20


@click.group()
def imports() -> None:
    """Bring files of products into the catalogue: read them without effect, apply, take back."""


@imports.command()
@click.argument("file", type=_FILE)
@click.option("--currency", help="Of the prices in the file; the shop's by default.")
@click.option("--mapping", "mapping_file", type=_FILE, help="Which column is what, as JSON; for forms of one's own.")
@click.option("--make-codes", is_flag=True, help="Variants without a SKU get one of handle and options.")
@click.option("--set-stock-at", "place", help="Location at which stock on hand is set to the file's numbers.")
@_SHOP
@_REASON
def read(
    file: Path,
    currency: str | None,
    mapping_file: Path | None,
    make_codes: bool,
    place: str | None,
    shop: str | None,
    reason: str,
) -> None:
    """Read a FILE of products and say what it would change; nothing is changed."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        told = currency or scalar(conn, "select currency from shops where shop_id = %(shop)s", shop=shop_id)
    mapping = _mapping(app, shop_id, file, told, mapping_file)
    settings = Settings(told, mapping, make_codes, None if place is None else _location(app, shop_id, place))
    actor = Actor(console.person(), reason)
    import_id = importing.begin_with(app, shop_id, file, file.name, settings, actor)
    _show(app, _at_work(app, shop_id, import_id))
    click.echo(f"Nothing is changed yet. Apply it with `switchyard imports apply {import_id}`.")


def _mapping(app: Application, shop_id: int, file: Path, currency: str, named: Path | None) -> Mapping | None:
    """The mapping that is named, or remembered for files of these heads; None for a form that is known and that nobody
    has mapped by hand."""
    if named is not None:
        return Mapping.from_json(named.read_text(encoding="utf-8"))
    opened = open_products(file, file.name, currency)
    with read_only(app.engine) as conn:
        found = queries.remembered_mapping(conn, shop_id, opened.heads)
    if found is None and opened.form is None:
        click.echo(f"Put this into a file, correct it, and name it with --mapping:\n{opened.suggested.to_json()}")
        raise NeedsMapping(file.name, opened.heads, opened.suggested)
    return found


def _location(app: Application, shop_id: int, name: str) -> int:
    with read_only(app.engine) as conn:
        known = {place: number for number, place in locations(conn, shop_id).items()}
    if name not in known:
        raise BadInput(f"there is no location {name}; there are {', '.join(sorted(known)) or 'none yet'}")
    return known[name]


def _at_work(app: Application, shop_id: int, import_id: int) -> Run:
    """Do its step here, with a bar; where a worker is at it already, say how far that is."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=console.console, transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def tell(run: Run) -> None:
            done, total = _far(run)
            bar.update(task, description=run.state, completed=done, total=total)

        return importing.carry_on(app, shop_id, import_id, tell)


def _far(run: Run) -> tuple[int, int | None]:
    counts = run.counts
    if run.state == "reading":
        return counts["rows_read"], run.rows_total or None
    if run.state == "undoing":
        return counts["undone"] + counts["kept"], counts["applied"]
    return counts["applied"] + counts["refused"], counts["created"] + counts["updated"]


def _show(app: Application, run: Run) -> None:
    counts = run.counts
    click.echo(f"Import {run.id}, {run.file_name}: {operations.STATES[run.state]}.")
    if run.problem:
        click.echo(f"  {run.problem}")
    click.echo(
        f"  {counts['rows_read']:,} rows, {counts['items']:,} products: {counts['created']:,} new,"
        f" {counts['updated']:,} changed, {counts['unchanged']:,} as they are, {counts['rejected']:,} rejected."
    )
    if run.applied_by:
        refused = f"{counts['refused']:,} not: `switchyard imports rejected` says why" if counts["refused"] else "0 not"
        click.echo(f"  {counts['applied']:,} applied, {refused}.")
    if run.undone_by:
        click.echo(f"  {counts['undone']:,} taken back, {counts['kept']:,} kept: changed again since.")
    if run.stock_kept:
        more = f" And {len(run.stock_kept) - 1:,} more." if len(run.stock_kept) > 1 else ""
        click.echo(f"  Stock that was set and is kept: {run.stock_kept[0]}{more}")
    with read_only(app.engine) as conn:
        groups = queries.problem_groups(conn, run.shop_id, run.id, _SHOWN)
        told = queries.effect(conn, run.shop_id, run.id)
    for group in groups:
        where = f"{group['column']}: " if group["column"] else ""
        times = f"{group['times']:,} times, first in row" if group["times"] > 1 else "row"
        said = f"{where}{group['sentence']} ({times} {group['first_row']:,}); {group['fix']}"
        click.echo(f"  {group['severity']}: {said}")
    if told.new_skus or told.priced or told.counted_skus:
        click.echo(
            f"  To come: {told.new_skus:,} new SKUs, {told.priced:,} prices; stock of {told.counted_skus:,} SKUs"
            f" (+{told.units_up:,}, -{told.units_down:,} units), which {told.listings:,} listings show."
        )


@imports.command(name="list")
@_SHOP
def list_imports(shop: str | None) -> None:
    """The latest imports."""
    app = console.application()
    with read_only(app.engine) as conn:
        found = queries.runs(conn, console.shop_of(app, shop))
    for run in found:
        click.echo(
            f"{run.id}  {console.moment(run.created_at)}  {run.file_name}  {operations.STATES[run.state]}"
            f"  by {run.created_by}: {run.reason}"
        )
    if not found:
        click.echo("Nothing was imported yet.")


@imports.command()
@click.argument("import_id", type=int)
@_SHOP
def show(import_id: int, shop: str | None) -> None:
    """What an import would change or has changed, and what is wrong with its rows."""
    app = console.application()
    with read_only(app.engine) as conn:
        run = queries.run(conn, console.shop_of(app, shop), import_id)
    _show(app, run)


@imports.command()
@click.argument("import_id", type=int)
@_SHOP
@_REASON
def apply(import_id: int, shop: str | None, reason: str) -> None:
    """Apply what was read, or go on with an import that was stopped."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        operations.apply(conn, shop_id, import_id, Actor(console.person(), reason), utc_now())
    _show(app, _at_work(app, shop_id, import_id))


@imports.command()
@click.argument("import_id", type=int)
@_SHOP
@_REASON
def undo(import_id: int, shop: str | None, reason: str) -> None:
    """Take back what was applied; what was changed again since stays."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        operations.undo(conn, shop_id, import_id, Actor(console.person(), reason), utc_now())
    _show(app, _at_work(app, shop_id, import_id))


@imports.command()
@click.argument("import_id", type=int)
@_SHOP
@_REASON
def stop(import_id: int, shop: str | None, reason: str) -> None:
    """Stop an import at its next batch; it can be gone on with, or taken back."""
    app = console.application()
    with unit_of_work(app.engine) as conn:
        operations.stop(conn, console.shop_of(app, shop), import_id, Actor(console.person(), reason), utc_now())
    click.echo("It stops at the next batch.")


@imports.command()
@click.argument("import_id", type=int)
@_SHOP
@_REASON
def discard(import_id: int, shop: str | None, reason: str) -> None:
    """Decide that nothing comes of an import that was read."""
    app = console.application()
    with unit_of_work(app.engine) as conn:
        operations.discard(conn, console.shop_of(app, shop), import_id, Actor(console.person(), reason), utc_now())
    click.echo("Discarded. Nothing was changed.")


@imports.command()
@click.argument("import_id", type=int)
@click.option("--into", type=_FOLDER, default=Path("."), help="A folder.")
@_SHOP
def rejected(import_id: int, into: Path, shop: str | None) -> None:
    """Write the rows that were rejected, or read and not applied, into a file of the same form, with a reason column:
    correct it and read it again."""
    app = console.application()
    path, rows = importing.write_rejected(app, console.shop_of(app, shop), import_id, into)
    click.echo(f"{rows:,} rows written to {path}.")
