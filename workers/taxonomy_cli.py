"""What others call our categories, on the command line: `switchyard taxonomy load|status|suggest`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from sqlalchemy import Connection

from core.audit import Actor
from core.bootstrap import Application
from core.catalog.taxonomies import loading, queries
from core.catalog.taxonomies.files import FileKind
from core.catalog.taxonomies.loading import Loaded
from core.catalog.taxonomies.queries import State
from core.catalog.taxonomies.rules import KINDS, VENDORS, Index, Kind, Target
from core.clock import utc_now
from core.connections.queries import connections_of
from core.db import read_only, unit_of_work
from core.errors import BadInput
from workers import console

_SHOP = click.option("--shop", "shop", help="Name of the shop; needed where there are several.")
_KIND = click.argument("kind", type=click.Choice(KINDS))
_ACCOUNT = click.option("--connection", "name", help="Of Klaviyo: which account, by name or number.")


@click.group()
def taxonomy() -> None:
    """Load Google's and Shopify's categories; see which of ours are mapped to them, and what each may be."""


@taxonomy.command()
@click.argument("kind", type=click.Choice(["google", "shopify"]))
@click.option("--file", "path", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="The publisher's file with ids, .txt or .txt.gz.")  # fmt: skip
@click.option("--connection", "name", help="Of Shopify: read it from this shop instead, by name or number.")
@click.option("--reason", required=True, help="Why; kept on record.")
@_SHOP
def load(kind: FileKind, path: Path | None, name: str | None, reason: str, shop: str | None) -> None:
    """Load a taxonomy; it takes the place of the one before, and no answer is lost."""
    app = console.application()
    actor = Actor(console.person(), reason)
    if (path is None) == (name is None):
        raise click.UsageError("give --file, or of Shopify --connection")
    if path is not None:
        with path.open("rb") as data, unit_of_work(app.engine) as conn:
            shop_id = console.shop_of(app, shop)
            done = loading.load_file(conn, shop_id, kind, path.name, data, actor, utc_now())
    elif kind == "google" or name is None:
        raise click.UsageError("Google's taxonomy is a file: give --file")
    else:
        done = _read(app, shop, name, actor)
    click.echo(f"{done.entries:,} entries of version {done.version} are loaded.")
    if done.broken:
        click.echo(
            f"{done.broken:,} answers name an entry that is gone: `switchyard taxonomy status` counts them as broken."
        )


def _read(app: Application, shop: str | None, name: str, actor: Actor) -> Loaded:
    """Shopify's taxonomy as one shop's API tells it: read whole before anything is written."""
    connection = console.connection_of(app, shop, name)
    if connection.vendor != "shopify":
        raise BadInput(f"{connection.name} tells no taxonomy: only a shop of Shopify’s does")
    with app.taxonomy(connection) as source:
        assert source is not None, "Shopify tells one"
        told = [each for page in source.categories() for each in page]
    with unit_of_work(app.engine) as conn:
        return loading.load_told(conn, connection.shop_id, Target("shopify"), connection.name, told, actor, utc_now())


@taxonomy.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_SHOP
def status(as_json: bool, shop: str | None) -> None:
    """Show each taxonomy: its version, how many of our categories are mapped to it, and what needs somebody."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    rows: list[dict[str, Any]] = []
    with read_only(app.engine) as conn:
        names = {row.id: row.name for row in connections_of(conn, shop_id)}
        for target in queries.targets(conn, shop_id):
            living = queries.living(conn, shop_id, target)
            found = queries.figures(conn, shop_id, target)
            rows.append(
                {
                    "taxonomy": target.kind,
                    "connection": None if target.connection_id is None else names[target.connection_id],
                    "version": None if living is None else living["version"],
                    "entries": None if living is None else living["entries"],
                    **{str(state): many for state, many in found.by_state.items()},
                    "products_concerned": found.products_concerned,
                }
            )
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        name = VENDORS[row["taxonomy"]] + (f" ({row['connection']})" if row["connection"] else "")
        version = f"version {row['version']}, {row['entries']:,} entries" if row["version"] else "not loaded"
        states = ", ".join(f"{row[state]:,} {state.replace('_', ' ')}" for state in queries.STATES if row[state])
        click.echo(f"{name}: {version}; {states or 'no categories of ours'};"
                   f" {row['products_concerned']:,} products need somebody")  # fmt: skip


@taxonomy.command()
@_KIND
@_ACCOUNT
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Categories shown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_SHOP
def suggest(kind: Kind, name: str | None, limit: int, as_json: bool, shop: str | None) -> None:
    """Show what each unmapped category may be, those with most products first."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    if kind == "klaviyo" and name is None:
        raise click.UsageError("Klaviyo's categories are those of one account: give --connection")
    target = Target(kind, None if name is None else console.connection_of(app, shop, name).id)
    with read_only(app.engine) as conn:
        rows = _suggested(conn, shop_id, target, limit)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{row['category']}  ({row['products']:,} products)")
        for each in row["suggestions"]:
            click.echo(f"  {each['score']:3} %  {each['path']} [{each['ref']}]: {'; '.join(each['why'])}")
        if not row["suggestions"]:
            click.echo("  no entry is like it")
    if not rows:
        click.echo("Every category is mapped, or left out.")


def _suggested(conn: Connection, shop_id: int, target: Target, limit: int) -> list[dict[str, Any]]:
    if queries.living(conn, shop_id, target) is None:
        raise BadInput(f"{VENDORS[target.kind]}’s taxonomy is not loaded yet: `switchyard taxonomy load` does that")
    state: State = "own" if target.kind == "klaviyo" else "unmapped"
    shown, _ = queries.page(conn, shop_id, target, state, limit=limit)
    index = Index(queries.entries(conn, shop_id, target))
    return [
        {
            "category_id": each.category_id,
            "category": each.category,
            "products": each.products,
            "suggestions": [
                {"ref": one.ref, "path": one.path, "score": one.score, "why": list(one.why)}
                for one in index.suggest(each.category)
            ],
        }
        for each in shown
    ]
