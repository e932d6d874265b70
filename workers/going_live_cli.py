"""Going live on the command line: stop-writes, resume-writes, pause, resume, shadow, compare, go-live."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import IO, Any, get_args

import click
from rich import box
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection

from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import switches
from core.connections.queries import ConnectionRow, connections_of
from core.db import read_only, unit_of_work
from core.inventory import comparison
from core.inventory.comparison import ZEROED_MAX, Comparison, Difference, Verdict
from core.messaging.doorbell import Lane, ring_resumed
from core.spreadsheets import guarded
from core.targets.operations import LANE
from core.targets.queries import TARGET_CLASS
from workers import console

_SHOP = click.option("--shop", help="Name of the shop; needed where there are several.")
_REASON = click.option("--reason", required=True, help="Why; kept on record.")
_CONNECTION = click.argument("connection")

Switch = Callable[[Connection, int, int, Actor, datetime], bool]


@click.command("stop-writes")
@click.option("--connection", help="Only of this connection, by name or number; else of every one of the shop.")
@_SHOP
@_REASON
def stop_writes(connection: str | None, shop: str | None, reason: str) -> None:
    """Let nothing leave that changes anything outside, at once and until `resume-writes`. Reading goes on."""
    app = console.application()
    shop_id, connection_id, name = _scope(app, shop, connection)
    with unit_of_work(app.engine) as conn:
        is_new = switches.stop_writes(conn, shop_id, connection_id, _actor(reason), utc_now())
    click.echo(f"Nothing is written to {name} any more." if is_new else f"The writes of {name} were stopped already.")


@click.command("resume-writes")
@click.option("--connection", help="Only the stop of this connection; else the one of the whole shop.")
@_SHOP
@_REASON
def resume_writes(connection: str | None, shop: str | None, reason: str) -> None:
    """End a stop: what differs is written again. Another stop that also holds a connection goes on holding it."""
    app = console.application()
    shop_id, connection_id, name = _scope(app, shop, connection)
    with unit_of_work(app.engine) as conn:
        was_stopped = switches.resume_writes(conn, shop_id, connection_id, _actor(reason), utc_now())
        rows = _rows(conn, shop_id, connection_id)
        held = {row.name: switches.standing(conn, shop_id, row.id).held() for row in rows}
    _ring(app, [row for row in rows if held[row.name] is None])
    click.echo(f"The stop of {name} is ended." if was_stopped else f"There was no stop of {name}.")
    for row_name, why in held.items():
        if why is not None:
            click.echo(f"{row_name} is still not written to: {why}.")


@click.command()
@_CONNECTION
@_SHOP
@_REASON
def pause(connection: str, shop: str | None, reason: str) -> None:
    """Neither poll CONNECTION nor write to it; what it tells us by itself is still recorded and handled."""
    row, is_new = _switch(switches.pause, connection, shop, reason)
    click.echo(f"{row.name} is paused." if is_new else f"{row.name} was paused already.")


@click.command()
@_CONNECTION
@_SHOP
@_REASON
def resume(connection: str, shop: str | None, reason: str) -> None:
    """End the pause of CONNECTION; a poll reads what was missed, a target is told what differs."""
    row, was_paused = _switch(switches.resume, connection, shop, reason)
    app = console.application()
    is_target = row.guarantee_class == TARGET_CLASS
    if is_target:
        _ring(app, [row])
    else:
        ring_resumed(app.queue, app.doorbell, row.shop_id, row.id)
    again = "told the catalogue" if is_target else "polled"
    click.echo(f"{row.name} is {again} again." if was_paused else f"{row.name} was not paused.")


@click.command()
@_CONNECTION
@_SHOP
@_REASON
def shadow(connection: str, shop: str | None, reason: str) -> None:
    """Read and compare CONNECTION, and write nothing to it until `go-live`."""
    row, is_new = _switch(switches.to_shadow, connection, shop, reason)
    click.echo(f"{row.name} is in shadow mode." if is_new else f"{row.name} was in shadow mode already.")


@click.command()
@_CONNECTION
@_SHOP
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
              help="Write every listing that is not equal to this file; - for the terminal.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Differences to show.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(connection: str, shop: str | None, csv_file: Path | None, limit: int, as_json: bool) -> None:
    """Show what writing to CONNECTION would change: sums, and what differs most."""
    app = console.application()
    row = console.connection_of(app, shop, connection)
    with read_only(app.engine) as conn:
        found = comparison.compare(conn, row.shop_id, row.id)
        largest = comparison.differences(conn, row.shop_id, row.id, limit=limit) if limit else []
        if csv_file is not None:
            written = _write_csv(conn, row, csv_file)
    if as_json:
        click.echo(json.dumps(_as_json(found, largest), default=str, indent=2))
        return
    if csv_file is not None:
        click.echo(f"{written:,} listings that are not equal are in {csv_file}.", err=True)
        return
    say(found)
    if largest:
        Console().print(_table(largest))


@click.command("go-live")
@_CONNECTION
@_SHOP
@_REASON
@click.option("--zero", "zeroed_max", type=click.IntRange(min=0), default=ZEROED_MAX, show_default=True,
              help="How many listings may be taken to 0.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
def go_live(connection: str, shop: str | None, reason: str, zeroed_max: int, yes: bool) -> None:
    """Begin to write to CONNECTION what differs, after a look at what that is."""
    app = console.application()
    row = console.connection_of(app, shop, connection)
    with read_only(app.engine) as conn:
        found = comparison.compare(conn, row.shop_id, row.id)
    if found.write_mode == "live":
        click.echo(f"{row.name} is live already.")
        return
    say(found)
    if found.is_complete and not yes:
        click.confirm(f"Write that to {row.name} now?", abort=True)
    with unit_of_work(app.engine) as conn:
        comparison.go_live(conn, row.shop_id, row.id, _actor(reason), utc_now(), zeroed_max=zeroed_max)
        why = switches.standing(conn, row.shop_id, row.id).held()
    _ring(app, [row])
    click.echo(f"{row.name} is live." if why is None else f"{row.name} is live, and still held: {why}.")


COMMANDS = (stop_writes, resume_writes, pause, resume, shadow, compare, go_live)


# --- what they share -------------------------------------------------------------------------------------------------


def say(found: Comparison) -> None:
    """The comparison in sentences: what would happen, what stays as it is, what is not known."""
    click.echo(found.sentence())
    for verdict, words in _LEFT_ALONE.items():
        if (tally := found.of(verdict)).listings:
            click.echo(f"{tally.listings:,} {words}.")
        for reason, listings in [(each[1], each[2]) for each in found.reasons if each[0] == verdict]:
            click.echo(f"  {listings:,}: {reason}")
    if found.duplicates:
        click.echo(f"{found.duplicates:,} listings share a SKU and a location with another: each shows all of it.")
    if found.open_orders:
        click.echo(f"{found.open_orders:,} orders from before the connection are booked, with the units they hold.")
    if found.open_orders_from is not None:
        click.echo(
            f"Orders from before {found.open_orders_from:%Y-%m-%d} were hidden from us: where one is still open, its"
            " units are on the shelf and in no number here. The scope read_all_orders shows them."
        )
    if found.unmapped_lines:
        click.echo(f"{found.unmapped_lines:,} order lines are of something we do not know: they hold no stock.")
    if found.parked:
        click.echo(f"{found.parked:,} messages are parked: `switchyard parked` says why.")
    for what in found.missing:
        click.echo(f"Not known yet: {what}.")


_LEFT_ALONE: dict[Verdict, str] = {
    "refused": "were refused when they were last written",
    "unread": "show nothing that was read yet",
    "waiting": "are not written yet",
    "untracked": "are not counted by the channel, so they are not written",
    "unmapped": "are not mapped to a SKU, so they are not written",
}


def _write_csv(conn: Connection, row: ConnectionRow, file: Path) -> int:
    if str(file) == "-":
        return _write_rows(conn, row, sys.stdout)
    with file.open("w", newline="", encoding="utf-8") as out:
        return _write_rows(conn, row, out)


def _write_rows(conn: Connection, row: ConnectionRow, out: IO[str]) -> int:
    names = [field.name for field in dataclasses.fields(Difference)]
    writer = csv.DictWriter(out, names)
    writer.writeheader()
    verdicts = [verdict for verdict in get_args(Verdict) if verdict != "equal"]
    written = 0
    for item in comparison.all_differences(conn, row.shop_id, row.id, verdicts):
        written += 1
        writer.writerow({name: _cell(value) for name, value in dataclasses.asdict(item).items()})
    return written


def _cell(value: Any) -> Any:
    """A spreadsheet would run what begins like a formula; a title or a code is what somebody typed at a channel."""
    return guarded(value) if isinstance(value, str) else value


def _as_json(found: Comparison, largest: list[Difference]) -> dict[str, Any]:
    return {
        **dataclasses.asdict(found),
        "is_complete": found.is_complete,
        "sentence": found.sentence(),
        "differences": [dataclasses.asdict(item) for item in largest],
    }


def _table(rows: list[Difference]) -> Table:
    table = Table(title="What differs most", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("SKU", "location", "shows", "should show", "difference"):
        table.add_column(name, justify="left" if name in ("SKU", "location") else "right")
    for row in rows:
        numbers = (row.shows_units, row.should_show_units)
        difference = f"{row.difference_units or 0:+,}".replace("-", "\N{MINUS SIGN}")
        shown = ("" if number is None else f"{number:,}" for number in numbers)
        table.add_row(row.code or row.channel_ref, row.location or "", *shown, difference)
    return table


def _actor(reason: str) -> Actor:
    return Actor(console.person(), reason)


def _scope(app: Application, shop: str | None, connection: str | None) -> tuple[int, int | None, str]:
    """(shop, connection, what a person calls it)."""
    if connection is None:
        return console.shop_of(app, shop), None, "the whole shop"
    row = console.connection_of(app, shop, connection)
    return row.shop_id, row.id, row.name


def _rows(conn: Connection, shop_id: int, connection_id: int | None) -> list[ConnectionRow]:
    rows = connections_of(conn, shop_id)
    return [row for row in rows if connection_id is None or row.id == connection_id]


def _switch(switch: Switch, connection: str, shop: str | None, reason: str) -> tuple[ConnectionRow, bool]:
    app = console.application()
    row = console.connection_of(app, shop, connection)
    with unit_of_work(app.engine) as conn:
        return row, switch(conn, row.shop_id, row.id, _actor(reason), utc_now())


def _ring(app: Application, rows: list[ConnectionRow]) -> None:
    for row in rows:
        for kind in [LANE] if row.guarantee_class == TARGET_CLASS else ["stock", "stock-check"]:
            app.doorbell.ring(Lane(kind, row.shop_id, row.id))
