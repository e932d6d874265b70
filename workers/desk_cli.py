"""The Desk on the command line: `switchyard desk ACT --file FILE [--dry-run]`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.db import fetch, read_only, unit_of_work
from core.desk import files, queries
from core.desk.booking import Change, Outcome
from core.desk.files import DryRun
from core.desk.rows import Act, Wanted
from core.errors import BadInput
from core.messaging.doorbell import Lane
from workers.console import many, shop_of

_SHOWN = 50


def make_group(application: Callable[[], Application], person: Callable[[], str]) -> click.Group:
    """The commands `desk receive|adjust|count|transfer|return`, over whatever instance `application` finds."""

    @click.group()
    def desk() -> None:
        """Book a file of the warehouse: what came, what is counted, what goes elsewhere or came back."""

    acts: tuple[tuple[Act, str], ...] = (
        ("receive", "Book goods in."),
        ("adjust", "Change what is on hand by signed units."),
        ("count", "Enter counts on a new sheet; they wait for approval on the Desk."),
        ("transfer", "Draft a transfer; it is sent on the Desk."),
        ("return", "Take goods back, of orders or of none."),
    )
    for act, what in acts:
        desk.add_command(_command(act, what, application, person))
    return desk


def _command(act: Act, what: str, application: Callable[[], Application], person: Callable[[], str]) -> click.Command:
    @click.command(name=act, help=f"{what} Without --dry-run it is booked, all of it or nothing, and once.")
    @click.option("--file", "path", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
    @click.option("--dry-run", is_flag=True, help="Say what it would do and every error; book nothing.")
    @click.option("--shop", help="The shop's name, where there are several.")
    @click.option("--location", help="For rows that name none.")
    @click.option("--to", "target", help="Where a transfer goes, for rows that name none.")
    @click.option("--disposition", type=click.Choice(["restock", "quarantine", "write_off"]),
                  help="What becomes of returns, for rows that do not say.")  # fmt: skip
    @click.option("--against", type=int, help="The purchase order or transfer that came.")
    @click.option("--reason", default="", help="Why; kept on record. Needed unless --dry-run.")
    def command(
        path: Path,
        dry_run: bool,
        shop: str | None,
        location: str | None,
        target: str | None,
        disposition: str | None,
        against: int | None,
        reason: str,
    ) -> None:
        app = application()
        shop_id = shop_of(app, shop)
        with read_only(app.engine) as conn:
            places = queries.locations(conn, shop_id)
        wanted = Wanted(act, _place(places, location), _place(places, target), disposition, against)
        data = path.read_bytes()
        actor = Actor(person(), reason if not dry_run else reason or "a dry run")
        plan = files.dry_run(app.engine, shop_id, wanted, path.name, data, actor, utc_now())
        _print(plan, places)
        if plan.problems:
            raise BadInput(f"{path.name}: nothing was booked")
        if dry_run:
            click.echo("Nothing was booked: this was a dry run.")
            return
        with unit_of_work(app.engine) as conn:
            done = files.apply(conn, shop_id, wanted, path.name, data, actor, utc_now())
            connections = [
                row["id"] for row in fetch(conn, "select id from connections where shop_id = %(s)s", s=shop_id)
            ]
        for connection_id in connections:
            app.doorbell.ring(Lane("stock", shop_id, connection_id))
        for outcome in done:
            click.echo(_said(outcome))

    return command


def _place(places: dict[int, str], name: str | None) -> int | None:
    if name is None:
        return next(iter(places)) if len(places) == 1 else None
    for place, known in places.items():
        if known == name:
            return place
    raise BadInput(f"there is no location {name}: there is {', '.join(places.values())}")


def _print(plan: DryRun, places: dict[int, str]) -> None:
    """The same that the Desk's screen shows: errors by row and column, or what changes, before and after."""
    for problem in plan.problems:
        click.echo(str(problem))
    if plan.problems:
        return
    click.echo(f"{many(plan.rows, 'row')}, {_amount(plan.units, plan.skus)}.")
    for note in plan.notes:
        click.echo(note)
    changes = [change for outcome in plan.outcomes for change in outcome.changes]
    if changes:
        _print_changes(changes, places)


def _print_changes(changes: list[Change], places: dict[int, str]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("SKU", "location", "on hand", "quarantine", "incoming", "available"):
        table.add_column(name, justify="left" if name in ("SKU", "location") else "right", no_wrap=True)
    for change in changes[:_SHOWN]:
        cells = [change.code, places.get(change.location_id, "")]
        for key in ("on_hand", "unavailable", "incoming", "available"):
            before, after = getattr(change.before, key), getattr(change.after, key)
            cells.append(f"{after:,}" if before == after else f"{before:,} → {after:,}")
        table.add_row(*cells)
    Console(width=110).print(table)
    if len(changes) > _SHOWN:
        click.echo(f"and {len(changes) - _SHOWN:,} more, changed alike")


def _said(outcome: Outcome) -> str:
    waits = {"count": ", which waits for approval", "transfer": ", which waits to be sent"}.get(outcome.kind, "")
    return f"Document {outcome.document_id}: {_amount(outcome.units, outcome.skus)}{waits}."


def _amount(units: int, skus: int) -> str:
    return f"{many(units, 'unit')} of {many(skus, 'SKU')}"
