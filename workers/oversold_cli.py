"""`switchyard oversold` and `switchyard alert-limit`: what was oversold and why, and when somebody is told of risk."""

from __future__ import annotations

import json

import click
from rich.console import Console
from rich.markup import escape

from core.alerts import operations as alerts
from core.alerts import queries
from core.audit import Actor
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.inventory import shortages
from core.inventory.shortages import PostMortem
from workers import console

_SHOP = click.option("--shop", help="Name of the shop; needed where there are several.")


@click.command()
@click.argument("shortage", type=int, required=False)
@click.option("--before", type=int, help="Begin the list before this number.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="At most so many.")
@_SHOP
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def oversold(shortage: int | None, before: int | None, limit: int, shop: str | None, as_json: bool) -> None:
    """List when more was sold than there was, or tell how SHORTAGE came about and what would have prevented it."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        if shortage is not None:
            _tell(shortages.read(conn, shop_id, shortage), as_json)
            return
        rows = shortages.list_(conn, shop_id, before_id=before, limit=limit)
    if as_json:
        click.echo(json.dumps([dict(row) for row in rows], default=str, indent=2))
        return
    for row in rows:
        who = f"order {row['order_name']} of {row['connection']}" if row["order_name"] else row["movement_reason"]
        state = f"over since {console.moment(row['ended_at'])}" if row["ended_at"] else "still short"
        click.echo(
            f"{row['shortage_id']}  {console.moment(row['booked_at'] or row['began_at'])}  {row['code']} at"
            f" {row['location']}: {row['before_units']:,} to {row['worst_units']:,}, {who or 'not on record'}, {state}"
        )
    if not rows:
        click.echo("Nothing was oversold since this is on record.")


def _tell(found: PostMortem, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(shortages.as_json(found), default=str, indent=2))
        return
    row = found.shortage
    click.echo(f"{row['code']} {row['title']} at {row['location']}: {-row['worst_units']:,} more sold than there were.")
    click.echo(found.verdict.because)
    click.echo(f"What would have prevented it: {found.verdict.prevented_by}\n")
    for seat in found.case.seats:
        units = "an unknown number" if seat.exposed_units is None else f"{seat.exposed_units:,}"
        click.echo(f"{seat.connection} could sell {units} just before{', and sold it' if seat.is_seller else ''}.")
    out = Console()
    for fact in shortages.timeline(found):
        who = "Switchyard" if fact.who == "us" else fact.who
        number = f" (write {fact.write_id})" if fact.write_id else ""
        out.print(
            f"{fact.at:%Y-%m-%d %H:%M:%S} UTC  [bold]{escape(who)}[/]  {escape(fact.what)}{number}", highlight=False
        )


@click.command("alert-limit")
@click.argument("units", type=int, required=False)
@click.option("--off", is_flag=True, help="Tell nobody any more.")
@click.option("--reason", default="", help="Why; kept on record. Needed to change it.")
@_SHOP
def alert_limit(units: int | None, off: bool, reason: str, shop: str | None) -> None:
    """Tell somebody when more than UNITS could be oversold in the shop; without UNITS show the limit and the risk."""
    if off and units is not None:
        raise click.UsageError("give a number of units, or --off, not both")
    app = console.application()
    shop_id = console.shop_of(app, shop)
    if units is None and not off:
        with read_only(app.engine) as conn:
            limit, risk = queries.exposure_limit(conn, shop_id), queries.risk(conn, shop_id)
        told = (
            "Nobody is told: no limit is set." if limit is None else f"A notice goes out above {limit:,} units at risk."
        )
        click.echo(f"{told} At risk now: {risk.units:,} units over {risk.skus:,} SKUs.")
        return
    with unit_of_work(app.engine) as conn:
        before = alerts.set_exposure_limit(conn, shop_id, units, Actor(console.person(), reason), utc_now())
    was = "off" if before is None else f"{before:,}"
    click.echo(f"The limit is {'off' if units is None else f'{units:,} units'} now; it was {was}.")
