"""`switchyard schedules`: what runs by the clock; have one run now, pause it, resume it."""

from __future__ import annotations

import json
from typing import Any

import click
from sqlalchemy.engine import RowMapping

from core.audit import Actor
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.runs import queries, scheduling
from core.runs.schedules import SCHEDULES, Schedule
from workers import console

_SHOP = click.option("--shop", help="Name of the shop; needed where there are several.")
_REASON = click.option("--reason", required=True, help="Why; kept on record.")
_NAME = click.argument("name", type=click.Choice([schedule.name for schedule in SCHEDULES]), metavar="NAME")


@click.group(invoke_without_command=True)
@_SHOP
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def schedules(context: click.Context, shop: str | None, as_json: bool) -> None:
    """Show what runs by the clock and its last turn; have one run now, pause it, resume it."""
    if context.invoked_subcommand is not None:
        return
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        last = queries.last_turns(conn, shop_id, [one.name for one in SCHEDULES])
        paused = queries.paused_schedules(conn)
        asked = {row["name"] for row in scheduling.waiting_requests(conn)}
    rows = [
        _row(schedule, last.get(schedule.name), schedule.name in paused, schedule.name in asked)
        for schedule in SCHEDULES
    ]
    if as_json:
        click.echo(json.dumps(rows, default=str, indent=2))
        return
    for row in rows:
        click.echo(_line(row))


def _row(schedule: Schedule, last: RowMapping | None, is_paused: bool, is_asked_for: bool) -> dict[str, Any]:
    turn = {name: last[name] if last is not None else None for name in ("started_at", "ended_at", "outcome")}
    return {
        "name": schedule.name,
        "rhythm": _rhythm(schedule),
        "does": schedule.description,
        "is_paused": is_paused,
        "is_asked_for": is_asked_for,
        **turn,
    }


def _line(row: dict[str, Any]) -> str:
    turn = "never ran"
    if row["started_at"] is not None:
        turn = f"{console.moment(row['started_at'])} {row['outcome'] or 'at work'}"
    marks = [word for word, name in (("paused", "is_paused"), ("asked for", "is_asked_for")) if row[name]]
    said = f"  ({', '.join(marks)})" if marks else ""
    return f"{row['name']:22} {row['rhythm']:16} {turn:32} {row['does']}{said}"


def _rhythm(schedule: Schedule) -> str:
    if schedule.daily_after is not None:
        return f"daily at {schedule.daily_after:%H:%M}"
    return f"every {schedule.every_seconds:,} s"


@schedules.command()
@_NAME
@_REASON
@_SHOP
def run(name: str, reason: str, shop: str | None) -> None:
    """Have NAME run now, beside its turns by the clock; it waits while a turn is at work."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        scheduling.request_run(conn, shop_id, name, Actor(console.person(), reason), utc_now())
    click.echo(f"A turn of {name} is asked for. {console.ring(app, 'schedules.ring')}")


@schedules.command()
@_NAME
@_REASON
@_SHOP
def pause(name: str, reason: str, shop: str | None) -> None:
    """Have NAME run no more, for all shops of this installation, until it is resumed."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        scheduling.pause(conn, shop_id, name, Actor(console.person(), reason), utc_now())
    click.echo(f"{name} is paused: nothing of it begins from now on.")


@schedules.command()
@_NAME
@_REASON
@_SHOP
def resume(name: str, reason: str, shop: str | None) -> None:
    """Have NAME run again, by its rhythm."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        scheduling.resume(conn, shop_id, name, Actor(console.person(), reason), utc_now())
    click.echo(f"{name} runs again, by its rhythm.")
