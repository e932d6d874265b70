"""`switchyard why`: the terms of each published number, on a terminal."""

from __future__ import annotations

import dataclasses
import json

import click
from rich import box
from rich.console import Console
from rich.table import Table

from core.db import read_only
from core.explain import Explanation, explain
from core.inventory import modes
from workers import console


@click.command()
@click.argument("sku")
@click.option("--channel", help="Only the channels whose name contains this.")
@click.option("--shop", help="The shop's name, where there are several.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def why(sku: str, channel: str | None, shop: str | None, as_json: bool) -> None:
    """Explain term by term what each channel should show of SKU, and what it shows."""
    app = console.application()
    with read_only(app.engine) as conn:
        shop_id = console.shop_of(app, shop)
        found = explain(conn, shop_id, sku, channel)
        pools = modes.pools_of(conn, shop_id, sku)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(item) for item in found], default=str, indent=2))
        return
    if not found:
        click.echo(f"No channel lists {sku}.")
    out = Console()
    for item in found:
        out.print(_table(item))
        out.print(f"{item.afterwards}\n", highlight=False)
    for pool in pools:
        click.echo(f"{pool.code} · {pool.location}: {modes.explain_mode(pool, console.moment)}")


def _table(item: Explanation) -> Table:
    """One listing's sum, as one would write it on paper."""
    title = item.connection + (f" · {item.location}" if item.location else "")
    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_header=False, show_footer=True)
    table.add_column(justify="right", footer="" if item.should_show is None else str(item.should_show))
    table.add_column(footer="should show")
    for number, term in enumerate(item.terms):
        shown = f"{term.units:,}" if number == 0 else f"{term.units:+,}"
        table.add_row(shown.replace("-", "\N{MINUS SIGN}"), term.text)
    return table
