"""`switchyard changes`: what other channels have to follow, and where it hangs."""

from __future__ import annotations

import json

import click

from core.db import read_only
from core.messaging import chasing, legs
from workers import console


@click.command("changes")
@click.option("--stuck", is_flag=True, help="Only those that are stuck.")
@click.option("--order", help="Of one order, by its name or the channel's number, ended ones included.")
@click.option("--before", type=int, help="Begin the list before this change.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="At most so many.")
@click.option("--shop", help="Name of the shop; needed where there are several.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_changes(
    stuck: bool, order: str | None, before: int | None, limit: int, shop: str | None, as_json: bool
) -> None:
    """List what a channel has yet to follow, the newest first: what changed, where it hangs, and what to do."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        rows = chasing.list_legs(conn, shop_id, only_stuck=stuck, order=order, before_id=before, limit=limit)
    if as_json:
        click.echo(json.dumps([dict(row) for row in rows], default=str, indent=2))
        return
    for row in rows:
        cause = f"order {row['order_name']}" if row["order_id"] else f"{row['document_kind']} {row['document_id']}"
        why = f": {legs.words(row['reason'])}" if row["reason"] else ""
        click.echo(
            f"{row['change_id']}  {console.moment(row['recorded_at'])}  {cause}, {row['code']} {row['delta_units']:+,},"
            f" on {row['connection']}: {row['state']}{why}"
        )
        if row["state"] in ("stuck", "refused") and row["reason"]:
            click.echo(f"      {legs.next_step(row['reason'])}")
    if not rows:
        click.echo("Nothing is stuck." if stuck else "No change is on its way.")
