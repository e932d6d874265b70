"""`switchyard reconcile orders`: have a channel's orders and refunds compared with ours, and list what differs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from core.audit import Actor
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.errors import Retryable
from core.reconciliation import queries
from core.reconciliation.orders import runs as order_runs
from workers import console

LISTED_MAX = 200


@click.command("orders")
@click.argument("connection", required=False)
@click.option("--days", type=click.IntRange(1, order_runs.DAYS_MAX), default=order_runs.DAYS, show_default=True,
              help="Orders changed or placed since so many days ago, as far as the channel shows them.")  # fmt: skip
@click.option("--order", "refs", multiple=True,
              help="Read this order again (the channel's id), and book whatever differs. May be repeated.")  # fmt: skip
@click.option("--reason", help="Why; needed with a connection.")
@click.option("--shop", help="Name of the shop; needed where there are several.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def orders(
    connection: str | None, days: int, refs: tuple[str, ...], reason: str | None, shop: str | None, as_json: bool
) -> None:
    """Compare the orders and refunds of CONNECTION with ours; without one list what differs now.

    Reads only. What is missing here is read once more and booked; everything else is flagged for a person. It runs in
    the queue reconcile: its progress stands on the Reconciliation screen.
    """
    app = console.application()
    if connection is None:
        _list(app, console.shop_of(app, shop), as_json)
        return
    if not reason:
        raise click.UsageError("give a --reason: it is kept with the run")
    row = console.connection_of(app, shop, connection)
    with unit_of_work(app.engine) as conn:
        actor = Actor(console.person(), reason)
        run = order_runs.request(conn, row, "click", actor, utc_now(), days, list(refs) if refs else None)
    try:
        app.queue.enqueue("reconcile.orders", shop_id=row.shop_id, connection_id=row.id, sync_run_id=run.sync_run_id)
    except Retryable:
        click.echo("Redis does not answer: the sweep of runs takes it up within two minutes.", err=True)
    if as_json:
        click.echo(json.dumps({"sync_run_id": run.sync_run_id, "run_id": run.id}))
        return
    what = f"{len(refs)} orders" if refs else f"the orders of the last {days} days"
    click.echo(f"Run {run.sync_run_id}: {what} of {row.name}. “switchyard reconcile orders” lists what differs.")


def _list(app: Any, shop_id: int, as_json: bool) -> None:
    with read_only(app.engine) as conn:
        found = [
            dict(row)
            for kind in ("order", "refund")
            for row in queries.discrepancies(conn, shop_id, kind=kind, limit=LISTED_MAX)
        ]
    if as_json:
        click.echo(json.dumps(found, default=str, indent=2))
        return
    for line in _lines(found):
        click.echo(line)
    if not found:
        click.echo("No order and no refund differs.")


def _lines(found: Sequence[dict[str, Any]]) -> list[str]:
    return [
        f"{row['discrepancy_id']}  {row['connection']} {row['order_name'] or row['subject'].get('name') or ''}"
        f" ({row['subject_key']}): {row['cause'].replace('_', ' ')}, {row['detail']}; {row['action']}"
        f"{_because(row)}, since {console.moment(row['first_seen_at'])}"
        for row in found
    ]


def _because(row: dict[str, Any]) -> str:
    return f" ({row['asked_because']})" if row["asked_because"] else ""
