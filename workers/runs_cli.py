"""`switchyard runs`: what ran and what runs; begin a sync, stop one, have one done again."""

from __future__ import annotations

import json
from typing import Any

import click
from sqlalchemy.engine import RowMapping

from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.db import fetch, read_only, unit_of_work
from core.errors import BadInput
from core.reconciliation import cancelling
from core.runs import control, queries
from workers import console

_SHOP = click.option("--shop", help="Name of the shop; needed where there are several.")
_REASON = click.option("--reason", required=True, help="Why; kept on record.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(invoke_without_command=True)
@click.pass_context
def runs(context: click.Context) -> None:
    """Show what ran and what runs; begin a sync, stop one, have one done again. Without a command: list."""
    if context.invoked_subcommand is None:
        context.invoke(list_runs)


@runs.command("list")
@click.option("--connection", help="Only of this connection: its name or number.")
@click.option("--open", "open_only", is_flag=True, help="Only what waits or runs.")
@click.option("--failed", "failed_only", is_flag=True, help="Only what failed.")
@click.option("--before", type=int, help="Begin the list before this number.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="At most so many.")
@_SHOP
@_JSON
def list_runs(
    connection: str | None = None,
    open_only: bool = False,
    failed_only: bool = False,
    before: int | None = None,
    limit: int = 20,
    shop: str | None = None,
    as_json: bool = False,
) -> None:
    """List sync runs, the newest first: what they did, how far they are, who asked for them."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    connection_id = console.connection_of(app, shop, connection).id if connection is not None else None
    states = [*(["queued", "running"] if open_only else []), *(["failed"] if failed_only else [])]
    with read_only(app.engine) as conn:
        rows = fetch(
            conn,
            """
            select * from sync_run_list
            where shop_id = %(shop)s and (%(connection)s::int8 is null or connection_id = %(connection)s)
                and (%(states)s::text[] is null or state = any(%(states)s))
                and (%(before)s::int8 is null or sync_run_id < %(before)s)
            order by sync_run_id desc limit %(limit)s
            """,
            shop=shop_id,
            connection=connection_id,
            states=states or None,
            before=before,
            limit=limit,
        )
    if as_json:
        click.echo(json.dumps([dict(row) for row in rows], default=str, indent=2))
        return
    for row in rows:
        click.echo(_line(row))
    if not rows:
        click.echo("No run is like that.")
    elif len(rows) == limit:
        click.echo(f"Older ones: --before {rows[-1]['sync_run_id']}")


def _line(row: RowMapping) -> str:
    at = row["started_at"] or row["requested_at"]
    parts = [
        f"{row['sync_run_id']}  {console.moment(at)}  {row['connection']}: {row['kind']}, {_state(row)}",
        f"by {row['requested_by']}: {row['reason']}" if row["trigger"] == "click" else f"by {row['trigger']}",
        _figures(row),
        str(row["error"]) if row["error"] else "",
    ]
    return "; ".join(part for part in parts if part)


def _state(row: RowMapping) -> str:
    if row["is_open"] and row["cancel_asked_at"] is not None:
        return f"stopping ({row['cancel_asked_by']}: {row['cancel_reason']})"
    return str(row["state"])


def _figures(row: RowMapping) -> str:
    if row["is_open"]:
        step = f"{row['step']} " if row["step"] else ""
        total = f" of {row['total']:,}" if row["total"] else ""
        left = f", about {row['seconds_left']:,.0f} s left" if row["seconds_left"] is not None else ""
        return f"{step}{row['done']:,}{total}{left}"
    return ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in _counts(row).items() if count)


def _counts(row: RowMapping) -> dict[str, int]:
    counts: dict[str, Any] = row["counts"] or {}
    return {name: count for name, count in counts.items() if isinstance(count, int)}


@runs.command()
@click.argument("run", type=int)
@_SHOP
def show(run: int, shop: str | None) -> None:
    """Show RUN and the jobs that did it, as JSON."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        found = fetch(
            conn, "select * from sync_run_list where shop_id = %(shop)s and sync_run_id = %(run)s",
            shop=shop_id, run=run,
        )  # fmt: skip
        jobs = fetch(
            conn,
            """
            select * from sync_run_jobs where shop_id = %(shop)s and sync_run_id = %(run)s
            order by job_run_id desc limit 50
            """,
            shop=shop_id,
            run=run,
        )
    if not found and not jobs:
        raise BadInput(f"there is no sync run {run}: `switchyard runs` lists them")
    shown = {"run": dict(found[0]) if found else None, "jobs": [dict(job) for job in jobs]}
    click.echo(json.dumps(shown, default=str, indent=2))


@runs.command()
@click.argument("connection")
@_REASON
@_SHOP
def sync(connection: str, reason: str, shop: str | None) -> None:
    """Read the whole catalogue, the levels and the orders of CONNECTION now."""
    app = console.application()
    row = console.connection_of(app, shop, connection)
    with unit_of_work(app.engine) as conn:
        run = control.start(conn, row.shop_id, row.id, "sync_connection", Actor(console.person(), reason), utc_now())
    when = _ring(app, row.shop_id, run)
    click.echo(f"Sync run {run} of {row.name} is asked for. {when}")


@runs.command()
@click.argument("run", type=int)
@_REASON
@_SHOP
def cancel(run: int, reason: str, shop: str | None) -> None:
    """Stop RUN at its next step; what it has read stays."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        is_over = cancelling.cancel_any(conn, shop_id, run, Actor(console.person(), reason), utc_now())
    click.echo(f"Sync run {run} is stopped." if is_over else f"Sync run {run} stops at its next step.")


@runs.command()
@click.argument("run", type=int)
@_REASON
@_SHOP
def retry(run: int, reason: str, shop: str | None) -> None:
    """Do RUN, which failed or was stopped, again."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        again = cancelling.retry_any(conn, shop_id, run, Actor(console.person(), reason), utc_now())["id"]
    click.echo(f"Sync run {again} does it again. {_ring(app, shop_id, again)}")


def _ring(app: Application, shop_id: int, run_id: int) -> str:
    with read_only(app.engine) as conn:
        row = queries.sync_run(conn, shop_id, run_id)
    assert row is not None, "it was asked for a moment ago"
    job = queries.RUN_JOBS[row["kind"]]
    arguments = {"shop_id": shop_id, "connection_id": row["connection_id"], "sync_run_id": run_id}
    return console.ring(app, job, **arguments)
