"""`switchyard products`: read a channel's products, keep them in step, decide who is master of which field, write
products to a file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from core.audit import Actor
from core.catalog.categories.queries import paths as category_paths
from core.catalog.products import queries as catalogue
from core.catalog.products.documents import STATUSES
from core.catalog.products.queries import Filters
from core.clock import utc_now
from core.connections import queries as connections
from core.connections.queries import ConnectionRow
from core.db import read_only, unit_of_work
from core.errors import BadInput
from core.importing import exporting
from core.importing.exporting import KINDS
from core.publication import operations, queries
from core.publication.rules import FIELDS
from core.runs import control
from workers import console

_SHOP = click.option("--shop", help="Name of the shop; needed where there are several.")
_REASON = click.option("--reason", required=True, help="Why; kept on record.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_CONNECTION = click.argument("connection")
_PRODUCT = click.argument("product", type=int)


@click.group()
def products() -> None:
    """Products at channels: read them, write them, and who is master of which field."""


@products.command()
@_CONNECTION
@_REASON
@_SHOP
def read(connection: str, reason: str, shop: str | None) -> None:
    """Read every product of CONNECTION; from then on they are kept in step, each field by its master."""
    app = console.application()
    row = console.connection_of(app, shop, connection)
    with unit_of_work(app.engine) as conn:
        actor = Actor(console.person(), reason)
        run_id = control.start(conn, row.shop_id, row.id, "read_products", actor, utc_now())
    said = console.ring(app, "products.read", shop_id=row.shop_id, connection_id=row.id, sync_run_id=run_id)
    click.echo(f"Reading the products of {row.name} is asked for (run {run_id}). {said}")


@products.command()
@_CONNECTION
@_SHOP
def push(connection: str, shop: str | None) -> None:
    """Have the products of CONNECTION brought in step now, and not at the next turn by the clock."""
    app = console.application()
    row = console.connection_of(app, shop, connection)
    with read_only(app.engine) as conn:
        reading = queries.reading(conn, row)
    if reading is None or reading.whole_read_at is None:
        raise BadInput(
            f"the products of {row.name} were never read, so that nobody knows which are ours: "
            f"`switchyard products read {row.id}` first"
        )
    click.echo(console.ring(app, "products.push", shop_id=row.shop_id, connection_id=row.id))


@products.command()
@_SHOP
@_JSON
def status(shop: str | None, as_json: bool) -> None:
    """Show how the products of each connection stand, and which of them wait for a person, with why."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        found: list[dict[str, Any]] = []
        for row in connections.connections_of(conn, shop_id):
            reading = queries.reading(conn, row)
            if reading is None:
                continue
            asking = [dict(one) for one in queries.asking(conn, row)]
            said = {"connection": row.name, "whole_read_at": reading.whole_read_at, **queries.standing(conn, row)}
            found.append({**said, "asking": asking})
    if as_json:
        click.echo(json.dumps(found, default=str, indent=2))
        return
    if not found:
        click.echo("No connection's products were read yet: `switchyard products read CONNECTION` reads them.")
    for one in found:
        read_at = "never read" if one["whole_read_at"] is None else f"read {console.moment(one['whole_read_at'])}"
        click.echo(
            f"{one['connection']}: {one['in_step']:,} in step, {one['differs']:,} to write, {one['asks']:,} ask,"
            f" {one['gone']:,} gone; {read_at}"
        )
        for product in one["asking"]:
            name = f"product {product['product_id']}" if product["product_id"] else f"theirs {product['channel_ref']}"
            click.echo(f"  {name} {product['title']}: {product['problem']}")


@products.command()
@_CONNECTION
@click.argument("field", required=False)
@click.argument("master", required=False, metavar="[ours|channel|nobody]")
@click.option("--all", "all_fields", help="Decide every field at once, in the place of FIELD and MASTER.")
@click.option("--reason", help="Why; kept on record. Needed where something is decided.")
@_SHOP
@_JSON
def master(
    connection: str,
    field: str | None,
    master: str | None,
    all_fields: str | None,
    reason: str | None,
    shop: str | None,
    as_json: bool,
) -> None:
    """Show who is master of each field of products at CONNECTION, or decide it for FIELD (or metafields.KEY).

    ours: what stands here is written there. channel: what it shows is read here. nobody: both sides keep theirs.
    """
    app = console.application()
    row = console.connection_of(app, shop, connection)
    if field is None and all_fields is None:
        _show_masters(row, as_json)
        return
    if all_fields is None and master is None:
        raise BadInput("give FIELD and who is its master: ours, channel or nobody")
    if all_fields is not None and field is not None:
        raise BadInput("give either FIELD and its master, or --all")
    if not reason:
        raise BadInput("give a --reason: who is master of a field is kept on record with why")
    chosen = {str(field): str(master)} if field is not None else _all_of(str(all_fields))
    with unit_of_work(app.engine) as conn:
        changed = operations.set_masters(conn, row, chosen, Actor(console.person(), reason), utc_now())
    said = ", ".join(f"{name}: {one}" for name, one in changed.items())
    click.echo(f"Decided for {row.name}: {said}." if changed else "That stands already.")


def _all_of(master: str) -> dict[str, str]:
    """Every field but the address of its page, which is the channel's or nobody's to say."""
    return {name: "channel" if name == "url" and master == "ours" else master for name in FIELDS}


def _show_masters(row: ConnectionRow, as_json: bool) -> None:
    app = console.application()
    with read_only(app.engine) as conn:
        found = queries.masters_said(conn, row)
    if as_json:
        click.echo(json.dumps(found, default=str, indent=2))
        return
    for one in found:
        decided = "not decided yet" if one["decided_by"] is None else f"decided by {one['decided_by']}"
        click.echo(f"{one['field']:20} {one['master']:8} {FIELDS.get(one['field'], 'a metafield')} ({decided})")


@products.command()
@_CONNECTION
@_PRODUCT
@_REASON
@_SHOP
def release(connection: str, product: int, reason: str, shop: str | None) -> None:
    """Have PRODUCT tried again, which waits for a person; one that was deleted there is made anew."""
    app = console.application()
    row = console.connection_of(app, shop, connection)
    with unit_of_work(app.engine) as conn:
        operations.release(conn, row, product, Actor(console.person(), reason), utc_now())
    said = console.ring(app, "products.push", shop_id=row.shop_id, connection_id=row.id)
    click.echo(f"Product {product} is tried again. {said}")


@products.command("allow-drops")
@_CONNECTION
@_PRODUCT
@_REASON
@_SHOP
def allow_drops(connection: str, product: int, reason: str, shop: str | None) -> None:
    """Allow that the variants of PRODUCT which CONNECTION has beside ours are deleted there."""
    app = console.application()
    row = console.connection_of(app, shop, connection)
    with unit_of_work(app.engine) as conn:
        said = operations.allow_drops(conn, row, product, Actor(console.person(), reason), utc_now())
    console.ring(app, "products.push", shop_id=row.shop_id, connection_id=row.id)
    click.echo(f"May be deleted at {row.name}: {', '.join(said)}.")


@products.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--words", default="", help="Only products that these words are found in.")
@click.option("--status", type=click.Choice(STATUSES), help="Only those of this status.")
@click.option("--vendor", help="Only those of this vendor.")
@click.option("--type", "product_type", help="Only those of this type.")
@click.option("--category", help='Only those in this category or below it, as "Home > Mugs".')
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@_SHOP
def export(
    file: Path,
    words: str,
    status: str | None,
    vendor: str | None,
    product_type: str | None,
    category: str | None,
    force: bool,
    shop: str | None,
) -> None:
    """Write products to FILE (.csv or .xlsx), in the form of Shopify's export; importing it again changes nothing."""
    kind = file.suffix.lower().removeprefix(".")
    if kind not in KINDS:
        raise BadInput(f"{file.name} is neither .csv nor .xlsx: end its name in one of the two")
    if file.exists() and not force:
        raise BadInput(f"{file} is there already: choose another name, or write over it with --force")
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        known = {path: number for number, path in category_paths(conn, shop_id).items()}
        if category is not None and category not in known:
            raise BadInput(f"there is no category {category}: write its names from the top, with > between them")
        filters = Filters(words, status, vendor, product_type, None if category is None else known[category])
        total = catalogue.count_fitting(conn, shop_id, filters)
    if not total:
        raise BadInput("no product fits: nothing was written")
    columns = (TextColumn("writing"), BarColumn(), TextColumn("{task.completed:,.0f} products"), TimeElapsedColumn())
    half = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with Progress(*columns, console=console.console, transient=True) as bar:
            task = bar.add_task("writing", total=total)

            def tell(done: int, _rows: int) -> None:
                bar.update(task, completed=done)

            done, rows = exporting.write_file(app.engine, shop_id, filters, kind, half, tell)
        half.replace(file)
    finally:
        half.unlink(missing_ok=True)
    click.echo(f"{console.many(done, 'product')} in {console.many(rows, 'row')} written to {file}.")
