"""Channel rules on the command line: `switchyard rules list|preview|set|undo|category`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection

from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.db import fetch, read_only, unit_of_work
from core.errors import BadInput, Retryable
from core.policies import categories, operations, queries
from core.policies.queries import Change
from core.policies.rules import TERMS, Terms, describe, describe_scope, read_rows, read_typed
from workers import console

_SHOP = click.option("--shop", "shop", help="Name of the shop; needed where there are several.")
_REASON = click.option("--reason", required=True, help="Why; kept on record.")
_RULE = (
    click.option("--connection", help="Only this channel connection, by name."),
    click.option("--category", help="Only SKUs of this category, as the catalogue spells it."),
    click.option("--sku", help="Only this SKU, by code."),
    click.option("--safety-stock", "safety_stock_units", help="Units of the pool never offered."),
    click.option("--share", "share_percent", help="Percent of the rest that may be offered: 20 or 12.5."),
    click.option("--buffer", "buffer_units", help="Units held back from the share."),
    click.option("--floor", "floor_units", help="At least so many, while the pool has them."),
    click.option("--cap", "cap_units", help="At most so many."),
    click.option("--priority", help="0 to 100; higher is raised first and lowered last."),
    click.option("--offered", "is_offered", help="yes or no."),
    click.option("--mode", help="How stock is shared: pooled, adaptive or escrow."),
    click.option("--switch-at", "switch_units", help="Adaptive goes into escrow at so many available; else measured."),
    click.option("--remove", is_flag=True, help="End the rule instead."),
    click.option(
        "--file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Many rules at once: a CSV with the columns connection, category, sku and the terms.",
    ),
)


def _rule_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_RULE):
        command = option(command)
    return command


@click.group()
def rules() -> None:
    """Decide which channel may sell how much of what. The most specific rule wins, term by term."""


@rules.command("list")
@_SHOP
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(shop: str | None, as_json: bool) -> None:
    """Show the rules, most specific last, and the last versions."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        living = [dict(row) for row in fetch(conn, _LIVING, shop=shop_id)]
        versions = [dict(row) for row in fetch(conn, _VERSIONS, shop=shop_id)]
    if as_json:
        click.echo(json.dumps({"rules": living, "versions": versions}, default=str, indent=2))
        return
    for row in living:
        where = describe_scope(row["connection"], row["category"], row["code"])
        said = describe(Terms(**{name: row[name] for name in TERMS}))
        click.echo(f"{where}: {said}  (version {row['version_id']}, {row['saved_by']}: {row['reason']})")
    if not living:
        click.echo("There are no rules: every channel is offered the whole pool.")
    for row in versions:
        state = "done" if row["finished_at"] else f"{row['listings_done']:,} of {row['listings_total'] or 0:,}"
        undone = f", undone by {row['undone_by_id']}" if row["undone_by_id"] else ""
        click.echo(f"version {row['version_id']}  {row['saved_at']:%Y-%m-%d %H:%M} UTC  {state}{undone}"
                   f"  {row['saved_by']}: {row['reason']}")  # fmt: skip


@rules.command()
@_rule_options
@_SHOP
def preview(shop: str | None, **given: Any) -> None:
    """Show what each channel would show under a rule; nothing is saved. Terms left out are inherited."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        changes = _changes(conn, shop_id, given)
        operations.check(conn, shop_id, changes)
        _draw(
            queries.preview(conn, shop_id, changes),
            queries.preview_modes(conn, shop_id, changes),
            queries.preview_rows(conn, shop_id, changes, limit=20),
        )


@rules.command("set")
@_rule_options
@_SHOP
@_REASON
def set_(shop: str | None, reason: str, **given: Any) -> None:
    """Save a rule in place of the one its scope has. Terms left out are inherited."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        changes = _changes(conn, shop_id, given)
        version_id = operations.save(conn, shop_id, changes, Actor(console.person(), reason), utc_now())
    _saved(app, shop_id, version_id)


@rules.command()
@click.argument("version", type=int)
@_SHOP
@_REASON
def undo(version: int, shop: str | None, reason: str) -> None:
    """Take VERSION back: end the rules it began, restore those it ended."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        version_id = operations.undo(conn, shop_id, version, Actor(console.person(), reason), utc_now())
    _saved(app, shop_id, version_id)


@rules.command()
@click.argument("code")
@click.argument("name", required=False)
@click.option("--catalogue", is_flag=True, help="Leave it to the catalogue again.")
@_SHOP
@_REASON
def category(code: str, name: str | None, catalogue: bool, shop: str | None, reason: str) -> None:
    """Choose the category of the SKU CODE; without NAME it has none."""
    if catalogue and name is not None:
        raise click.UsageError("give a category, or --catalogue, not both")
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        chosen = None if catalogue else name or ""
        changed = categories.set_category(conn, shop_id, code, chosen, Actor(console.person(), reason), utc_now())
    click.echo(f"{code} is of {name or 'the catalogue’s category' if catalogue or name else 'no category'};"
               f" {changed:,} listings changed.")  # fmt: skip


def _changes(conn: Connection, shop_id: int, given: dict[str, Any]) -> list[Change]:
    """The rule of the options, or those of the file. Raises BadRule."""
    file, is_removed = given.pop("file"), given.pop("remove")
    if file is not None:
        if is_removed or any(value is not None for value in given.values()):
            raise click.UsageError("--file says it all: leave the other options out")
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise BadInput(f"{file.name} is not UTF-8: save it as “CSV UTF-8”") from None
        return [operations.change_of(conn, shop_id, typed, where) for where, typed in read_rows(text)]
    change = operations.change_of(conn, shop_id, read_typed(given))
    if bool(change.terms.said) == is_removed:
        raise click.UsageError("give what the rule says, such as --share 20, or --remove to end it, and not both")
    return [change]


def _saved(app: Application, shop_id: int, version_id: int) -> None:
    when = "Its listings follow within seconds."
    try:
        app.queue.enqueue("policies.replan", shop_id=shop_id)
    except Retryable:
        when = "Redis does not answer: its listings follow when Redis is back."
    click.echo(f"Saved as version {version_id}. {when}")


def _draw(found: queries.Preview, modes: queries.ModePreview, rows: list[queries.PreviewRow]) -> None:
    out = Console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("channel", "listings", "up", "down", "to zero", "the same", "units now", "units then"):
        table.add_column(name, justify="left" if name == "channel" else "right")
    for each in found.channels:
        counts = (each.listings, each.up, each.down, each.to_zero, each.same, each.desired_units, each.would_units)
        table.add_row(each.connection, *(f"{count:,}" for count in counts))
    out.print(table)
    if not found.channels:
        click.echo("It is for no listing yet.")
    if modes.escrow_now or modes.escrow_then:
        click.echo(
            f"In escrow: {modes.escrow_now:,} of {modes.pools:,} SKUs and places now, {modes.escrow_then:,} then."
        )
    for row in rows:
        shown = "unknown" if row.published_units is None else f"{row.published_units:,}"
        click.echo(f"{row.code} on {row.connection}: shows {shown}, should show {row.desired_units or 0:,},"
                   f" would show {row.would_units:,}")  # fmt: skip


_LIVING = "select * from channel_policy_list where shop_id = %(shop)s order by breadth, connection, category, code"
_VERSIONS = "select * from policy_version_list where shop_id = %(shop)s order by version_id desc limit 10"
