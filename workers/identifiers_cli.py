"""Whose SKU is it, on the command line: `switchyard identifiers list|suggest|map|ignore|export|import`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from shlex import quote

import click
from rich import box
from rich.console import Console
from rich.table import Table
from sqlalchemy.engine import RowMapping

from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.db import fetch, read_only, unit_of_work
from core.errors import BadInput
from core.identity import files, operations, queries
from core.identity.files import DryRun
from core.identity.outcomes import Outcome
from core.identity.queries import QueueKey
from core.identity.rules import KINDS, Identifier, identifier
from core.messaging.doorbell import Lane
from core.orders import intake
from workers import console

_SHOP = click.option("--shop", "shop", help="Name of the shop; needed where there are several.")
_REASON = click.option("--reason", required=True, help="Why; kept on record.")
_CONNECTION = click.option("--connection", "name", help="Only of this connection, by name or number.")
_SHOWN = 50


@click.group()
def identifiers() -> None:
    """Say whose SKU a channel's identifier is; see what nobody knows, and what remapping would do."""


@identifiers.command("list")
@_CONNECTION
@click.option("--mapped", "is_mapped", is_flag=True, help="What is answered, instead of what waits for an answer.")
@click.option("--search", help="Of what is answered: how an identifier or a SKU's code begins.")
@click.option("--limit", type=click.IntRange(1, 1000), default=_SHOWN, show_default=True, help="Rows a page.")
@click.option("--after", help="Begin the page behind this; the page before says what to give.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; what to give for the next page is said on stderr.")
@_SHOP
def list_(
    name: str | None,
    is_mapped: bool,
    search: str | None,
    limit: int,
    after: str | None,
    as_json: bool,
    shop: str | None,
) -> None:
    """Show what nobody knows whose it is, with what hangs on it; or, with --mapped, what is answered."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    connection_id = None if name is None else console.connection_of(app, shop, name).id
    with read_only(app.engine) as conn:
        if is_mapped:
            found = queries.mapped(
                conn,
                shop_id,
                connection_id=connection_id,
                search=search,
                after_id=None if after is None else _number(after, after),
                limit=limit + 1,
            )
        else:
            found = queries.unmapped(conn, shop_id, connection_id=connection_id, after=_place(after), limit=limit + 1)
    rows = found[:limit]
    more = f"There are more: --after {quote(_mark(rows[-1], is_mapped))}" if len(found) > limit else None
    if as_json:
        click.echo(json.dumps([dict(row) for row in rows], default=str, indent=2))
        if more is not None:
            click.echo(more, err=True)
        return
    for row in rows:
        if is_mapped:
            what = f"is {row['code']}" if row["is_ours"] else "is set aside"
            click.echo(f"{row['connection']}: {row['kind']} {row['value']} {what}  ({row['source']},"
                       f" {row['mapped_by']}: {row['reason']})")  # fmt: skip
        else:
            hangs = f"{row['parked_lines']:,} order lines of {row['parked_units']:,} units wait"
            click.echo(f"{row['connection']}: {row['kind']} {row['value']}  “{row['title']}”  {row['state']};"
                       f" {row['listings']:,} listings, {hangs}: {row['reason']}")  # fmt: skip
    if more is not None:
        click.echo(more)
    if not rows and after is not None:
        click.echo("There are no more.")
    elif not rows:
        click.echo("Nothing is answered yet." if is_mapped else "Every identifier is known.")


def _mark(row: RowMapping, is_mapped: bool) -> str:
    """What stands for the end of a page."""
    if is_mapped:
        return str(row["identifier_id"])
    return f"{row['parked_units']}:{row['connection_id']}:{row['kind']}:{row['value']}"


def _place(after: str | None) -> QueueKey | None:
    if after is None:
        return None
    # A value may have colons of its own.
    units, connection, kind, value = [*after.split(":", 3), "", "", "", ""][:4]
    if kind not in KINDS or not value:
        raise _no_mark(after)
    return _number(units, after), _number(connection, after), kind, value


def _number(text: str, after: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise _no_mark(after)
    return int(text)


def _no_mark(after: str) -> BadInput:
    return BadInput(f"--after {after!r} is no end of such a page: give what the page before said, or leave it out")


@identifiers.command()
@click.argument("connection")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("value")
@_SHOP
def suggest(connection: str, kind: str, value: str, shop: str | None) -> None:
    """Show which SKUs an identifier may be, and why."""
    app = console.application()
    one = _identifier(app, shop, connection, kind, value)
    with read_only(app.engine) as conn:
        found = queries.suggest(conn, console.shop_of(app, shop), one)
    for each in found:
        click.echo(f"{each.percent:3} %  {each.code}  “{each.title}”: {'; '.join(each.reasons)}")
    if not found:
        click.echo("No SKU is like it.")


@identifiers.command("map")
@click.argument("connection")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("value")
@click.argument("sku")
@click.option("--remap", is_flag=True, help="It is another SKU's so far: show what that would do first.")
@click.option("--yes", is_flag=True, help="Remap without asking.")
@click.option("--dry-run", is_flag=True, help="Of remapping: only show.")
@_REASON
@_SHOP
def map_(
    connection: str,
    kind: str,
    value: str,
    sku: str,
    remap: bool,
    yes: bool,
    dry_run: bool,
    reason: str,
    shop: str | None,
) -> None:
    """Say that an identifier is SKU; what was parked for want of it is booked."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    one = _identifier(app, shop, connection, kind, value)
    actor = Actor(console.person(), reason)
    if not remap:
        if dry_run or yes:
            raise click.UsageError("--dry-run and --yes are for --remap: mapping what nobody has takes nothing away")
        with unit_of_work(app.engine) as conn:
            done = operations.map_identifier(conn, shop_id, one, sku, actor, utc_now())
        _after(app, shop_id, done)
        return
    seen = operations.preview_remap(app.engine, shop_id, one, sku, actor, utc_now())
    _show(seen)
    if dry_run:
        click.echo("Nothing was remapped: this was a dry run.")
        return
    if not yes:
        click.confirm("Remap it?", abort=True)
    with unit_of_work(app.engine) as conn:
        done = operations.remap_identifier(conn, shop_id, one, sku, seen.token(), actor, utc_now())
    _after(app, shop_id, done)


@identifiers.command()
@click.argument("connection")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("value")
@click.option("--undo", is_flag=True, help="Take it back: it is looked for again, or waits for an answer.")
@_REASON
@_SHOP
def ignore(connection: str, kind: str, value: str, undo: bool, reason: str, shop: str | None) -> None:
    """Say that an identifier is not ours: it waits for no answer, and its order lines take no stock."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    one = _identifier(app, shop, connection, kind, value)
    actor = Actor(console.person(), reason)
    if not undo:
        with unit_of_work(app.engine) as conn:
            done = operations.ignore_identifier(conn, shop_id, one, actor, utc_now())
        click.echo(f"Set aside: {done.lines_set_aside:,} order lines wait no more.")
        return
    with unit_of_work(app.engine) as conn:
        lines = operations.reopen_identifier(conn, shop_id, one, actor, utc_now())
    row = console.connection_of(app, shop, connection)
    # Each in a unit of work of its own: orders are locked before listings.
    with unit_of_work(app.engine) as conn:
        operations.rematch(conn, shop_id, one.connection_id, utc_now())
    with unit_of_work(app.engine) as conn:
        intake.book_lines_mapped_late(conn, intake.channel_of(conn, row, utc_now()), utc_now())
    _ring(app, shop_id, {one.connection_id})
    click.echo(f"Taken up again, with {lines:,} order lines.")


@identifiers.command("export")
@click.option(
    "--file", "path", default="-", type=click.Path(dir_okay=False, path_type=Path), help="Where to; - prints."
)
@_CONNECTION
@_SHOP
def export_(path: Path, name: str | None, shop: str | None) -> None:
    """Write the mapping table as CSV."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    connection_id = None if name is None else console.connection_of(app, shop, name).id
    with read_only(app.engine) as conn:
        if str(path) == "-":
            files.export(conn, shop_id, connection_id, sys.stdout)
            return
        with path.open("w", newline="", encoding="utf-8") as out:
            written = files.export(conn, shop_id, connection_id, out)
    click.echo(f"{written:,} mappings are in {path}.")


@identifiers.command("import")
@click.option("--file", "path", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what it would do and every error; load nothing.")
@click.option("--reason", default="", help="Why; kept on record. Needed unless --dry-run.")
@_SHOP
def import_(path: Path, dry_run: bool, reason: str, shop: str | None) -> None:
    """Load a CSV of mappings, all of it or nothing, and once."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    data = path.read_bytes()
    actor = Actor(console.person(), reason if not dry_run else reason or "a dry run")
    plan = files.dry_run(app.engine, shop_id, path.name, data, actor, utc_now())
    _show_plan(plan)
    if plan.problems:
        raise BadInput(f"{path.name}: nothing was loaded")
    if dry_run:
        click.echo("Nothing was loaded: this was a dry run.")
        return
    with unit_of_work(app.engine) as conn:
        done = files.load(conn, shop_id, path.name, data, actor, utc_now(), token=plan.outcome.token())
    _after(app, shop_id, done.outcome)


def _identifier(app: Application, shop: str | None, connection: str, kind: str, value: str) -> Identifier:
    return identifier(console.connection_of(app, shop, connection).id, kind, value)


def _show_plan(plan: DryRun) -> None:
    for problem in plan.problems:
        click.echo(str(problem))
    if plan.problems:
        return
    click.echo(f"{plan.rows:,} rows: {plan.count('new'):,} new, {plan.count('remaps'):,} to another SKU,"
               f" {plan.count('confirms'):,} confirmed, {plan.count('repeats'):,} left as found,"
               f" {plan.count('sets_aside'):,} set aside,"
               f" {plan.count('unchanged'):,} unchanged.")  # fmt: skip
    for note in plan.notes:
        click.echo(note)
    for each in [each for each in plan.changes if each.change == "remaps"][:_SHOWN]:
        click.echo(f"row {each.row}: {each.connection} {each.kind} {each.value}: {each.from_code} → {each.to_code}")
    _show(plan.outcome)


def _show(seen: Outcome) -> None:
    """What an act would come to, as the screen shows it."""
    for listing in seen.listings[:_SHOWN]:
        shows = "unknown" if listing.published_units is None else f"{listing.published_units:,}"
        then = "is not written" if listing.desired_after is None else f"should show {listing.desired_after:,}"
        click.echo(f"listing {listing.channel_ref} on {listing.connection}: {listing.from_code or 'nobody’s'} →"
                   f" {listing.to_code or 'not ours'}; shows {shows}, then {then}")  # fmt: skip
    for line in [*seen.moving, *seen.staying][:_SHOWN]:
        what = f"stays {line.from_code}: {line.why}" if line.why else f"{line.from_code} → {line.to_code}"
        click.echo(f"order {line.order_name}: {line.units:,} units, {what}")
    click.echo(f"{seen.lines_booked:,} parked order lines are booked.")
    if not seen.pools:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("SKU", "location", "available", "exposed", "oversold at worst"):
        table.add_column(name, justify="left" if name in ("SKU", "location") else "right", no_wrap=True)
    for pool in seen.pools[:_SHOWN]:
        pairs = (
            (pool.available_before, pool.available_after),
            (pool.exposed_before, pool.exposed_after),
            (pool.worst_before, pool.worst_after),
        )
        table.add_row(pool.code, pool.location, *(f"{a:,}" if a == b else f"{a:,} → {b:,}" for a, b in pairs))
    Console(width=110).print(table)


def _after(app: Application, shop_id: int, done: Outcome) -> None:
    _ring(app, shop_id, done.connection_ids)
    if not done.answered:
        click.echo("That is answered already: nothing changed.")
        return
    click.echo(f"{len(done.listings):,} listings are mapped, {done.lines_booked:,} parked order lines booked,"
               f" {len(done.moving):,} moved, {len(done.staying):,} stay as they are.")  # fmt: skip
    if done.awaits_sync:
        click.echo("What it shows is not known yet: sync the connection, which reads it and then writes to it.")


def _ring(app: Application, shop_id: int, connection_ids: set[int]) -> None:
    """Pushes may differ on every channel; what waited in the inbox has another turn."""
    with read_only(app.engine) as conn:
        everybody = [row["id"] for row in fetch(conn, "select id from connections where shop_id = %(s)s", s=shop_id)]
    for connection_id in everybody:
        app.doorbell.ring(Lane("stock", shop_id, connection_id))
    for connection_id in sorted(connection_ids):
        app.doorbell.ring(Lane("events", shop_id, connection_id))
