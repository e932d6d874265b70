"""`switchyard reconcile`: compare a channel's stock with what we know, and decide what differs."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, get_args

import click
from rich import box
from rich.console import Console
from rich.table import Table

from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.connections.queries import ConnectionRow
from core.db import read_only, unit_of_work
from core.errors import BadInput
from core.messaging.doorbell import Lane
from core.reconciliation import operations, queries
from core.reconciliation.operations import Chosen, Preview
from core.reconciliation.queries import Position
from core.reconciliation.rules import CAUSE_WORDS, CAUSES, CORRECTABLE, Action, Policy, known_causes
from workers import console
from workers.hints import ring_once

_SHOP = click.option("--shop", help="Name of the shop; needed where there are several.")
_REASON = click.option("--reason", required=True, help="Why; kept on record.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_CAUSE = click.Choice(CAUSES, case_sensitive=False)


@click.group()
def reconcile() -> None:
    """Compare what a channel shows with what we know, and decide what differs."""


@reconcile.command()
@click.argument("connection")
@click.option("--sku", help="Only this SKU, by its code.")
@_REASON
@_SHOP
def start(connection: str, sku: str | None, reason: str, shop: str | None) -> None:
    """Have the stock of CONNECTION compared now; nothing is written because of it."""
    app = console.application()
    row = console.connection_of(app, shop, connection)
    with unit_of_work(app.engine) as conn:
        asked = operations.request(conn, row.shop_id, row.id, "stock", _actor(reason), utc_now(), sku)
    ring_once(app, "reconcile.stock", shop_id=row.shop_id, connection_id=row.id, sync_run_id=asked.sync_run_id)
    what = f"SKU {sku} at {row.name}" if sku else row.name
    begun = "is being compared" if asked.is_new else "is being compared already"
    click.echo(f"{what} {begun} (run {asked.sync_run_id}).")


@reconcile.command("list")
@click.argument("connection", required=False)
@click.option("--cause", type=_CAUSE, help="Only of this cause.")
@click.option("--action", type=click.Choice(get_args(Action)), help="Only where this is done about it.")
@click.option("--sku", help="Only of this SKU, by its code.")
@click.option("--resolved", is_flag=True, help="Instead: those that are over.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Rows a page.")
@click.option("--after", metavar="SEEN,ID", help="Go on behind this one, as the page before said.")
@_SHOP
@_JSON
def list_(
    connection: str | None,
    cause: str | None,
    action: str | None,
    sku: str | None,
    resolved: bool,
    limit: int,
    after: str | None,
    shop: str | None,
    as_json: bool,
) -> None:
    """List what channels and we say differently, seen last first."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    row = None if connection is None else console.connection_of(app, shop, connection)
    with read_only(app.engine) as conn:
        rows = queries.discrepancies(
            conn,
            shop_id,
            connection_id=None if row is None else row.id,
            cause=cause,
            action=action,
            code=sku,
            state="resolved" if resolved else "living",
            limit=limit,
            after=None if after is None else _position(after),
        )
    if as_json:
        click.echo(json.dumps([dict(each) for each in rows], default=str, indent=2))
        return
    _draw(rows)
    if len(rows) == limit:
        last = rows[-1]
        click.echo(f"More: --after {last['last_seen_at'].isoformat()},{last['discrepancy_id']}")
    if not rows:
        click.echo("Nothing differs." if not resolved else "Nothing was resolved yet.")


@reconcile.command()
@click.argument("discrepancy", type=int)
@_SHOP
def show(discrepancy: int, shop: str | None) -> None:
    """Tell what became of one DISCREPANCY, from when it was first seen."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        events = queries.history(conn, shop_id, discrepancy)
    if not events:
        raise BadInput(f"there is no discrepancy {discrepancy}: `switchyard reconcile list` shows those that there are")
    for event in events:
        numbers = f"{_number(event['ours'])} here, {_number(event['theirs'])} there"
        words = f": {event['words']}" if event["words"] else ""
        click.echo(
            f"{console.moment(event['at'])}  {event['what']} by {event['who']}, {event['cause']}, {numbers}{words}"
        )


_MEANT = (
    click.argument("connection"),
    click.option("--id", "discrepancy", type=int, help="Only this one."),
    click.option("--cause", type=_CAUSE, help="All of this cause."),
    click.option("--held", is_flag=True, help="All that a brake holds."),
    click.option("--token", help="What the preview said: without it only the preview is shown."),
    click.option("--reason", help="Why; kept on record. Needed with --token."),
)


def _meant(command: Any) -> Any:
    for decorate in reversed(_MEANT):
        command = decorate(command)
    return command


@reconcile.command()
@_meant
@_SHOP
def correct(
    connection: str,
    discrepancy: int | None,
    cause: str | None,
    held: bool,
    token: str | None,
    reason: str | None,
    shop: str | None,
) -> None:
    """Have what we want written at CONNECTION where it differs. Without --token only say what that comes to."""
    app = console.application()
    row = console.connection_of(app, shop, connection)
    chosen = _chosen(row, discrepancy, cause, held)
    seen = _preview(app, row, chosen)
    if token is None:
        _offer("correct", seen)
        return
    with unit_of_work(app.engine) as conn:
        done = operations.correct(conn, row.shop_id, chosen, token, _actor(reason), utc_now())
    app.doorbell.ring(Lane("stock", row.shop_id, row.id))
    click.echo(f"{done:,} are corrected by the next pushes.")


@reconcile.command()
@_meant
@_SHOP
def accept(
    connection: str,
    discrepancy: int | None,
    cause: str | None,
    held: bool,
    token: str | None,
    reason: str | None,
    shop: str | None,
) -> None:
    """Leave what differs at CONNECTION as it is until it changes. Without --token only say what that concerns."""
    app = console.application()
    row = console.connection_of(app, shop, connection)
    chosen = _chosen(row, discrepancy, cause, held)
    seen = _preview(app, row, chosen)
    if token is None:
        click.echo(f"{seen.discrepancies:,} would be left as they are.")
        if seen.discrepancies:
            click.echo(f"To do so: the same command with --token {seen.token} --reason WHY")
        return
    with unit_of_work(app.engine) as conn:
        done = operations.accept(conn, row.shop_id, chosen, token, _actor(reason), utc_now())
    click.echo(f"{done:,} are left as they are until they change.")


@reconcile.command()
@click.argument("discrepancy", type=int)
@click.argument("cause", type=_CAUSE)
@_REASON
@_SHOP
def reclassify(discrepancy: int, cause: Any, reason: str, shop: str | None) -> None:
    """Say what really caused DISCREPANCY; the policy of its connection then decides anew."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        decided = operations.reclassify(conn, shop_id, discrepancy, cause, _actor(reason), utc_now())
    done = "it is corrected by the policy" if decided.healed else "a person or the policy decides"
    click.echo(f"Discrepancy {discrepancy}: {CAUSE_WORDS[cause]}; {done}.")


@reconcile.command()
@click.argument("connection")
@click.option("--correct", "corrects", multiple=True, help=f"Correct this cause by itself: {', '.join(CORRECTABLE)}.")
@click.option("--flag-all", is_flag=True, help="Correct nothing by itself.")
@click.option("--corrections-max", type=int, help="So many equal corrections of a listing, then ask.")
@click.option("--zeroed-max", type=int, help="So many live listings may go to 0, then ask.")
@click.option("--zeroed-percent", type=int, help="And so many of a hundred.")
@click.option("--every-hours", type=int, help="How often it is compared by itself; 0: never.")
@click.option("--reason", help="Why; kept on record. Needed to change it.")
@_SHOP
def policy(
    connection: str,
    corrects: tuple[str, ...],
    flag_all: bool,
    corrections_max: int | None,
    zeroed_max: int | None,
    zeroed_percent: int | None,
    every_hours: int | None,
    reason: str | None,
    shop: str | None,
) -> None:
    """Show, or change, what is corrected by itself at CONNECTION and where a person is asked."""
    if corrects and flag_all:
        raise click.UsageError("give causes to correct, or --flag-all, not both")
    app = console.application()
    row = console.connection_of(app, shop, connection)
    with read_only(app.engine) as conn:
        before = queries.policy(conn, row.shop_id, row.id)
    new = Policy(
        frozenset() if flag_all else known_causes(corrects) or before.corrects,
        before.corrections_max if corrections_max is None else corrections_max,
        before.zeroed_max if zeroed_max is None else zeroed_max,
        before.zeroed_percent if zeroed_percent is None else zeroed_percent,
        before.every_hours if every_hours is None else every_hours or None,
    )
    if new == before:
        click.echo(_said(row, before))
        return
    with unit_of_work(app.engine) as conn:
        _, decided = operations.set_policy(conn, row.shop_id, row.id, new, _actor(reason), utc_now())
    app.doorbell.ring(Lane("stock", row.shop_id, row.id))
    click.echo(_said(row, new))
    if decided.healed or decided.held:
        click.echo(f"Of what is open {decided.healed:,} are corrected now, {decided.held:,} are held by the brake.")


def _said(row: ConnectionRow, rules: Policy) -> str:
    corrected = ", ".join(sorted(rules.corrects)) or "nothing"
    often = "never by itself" if rules.every_hours is None else f"every {rules.every_hours:,} hours"
    return (
        f"{row.name}: compared {often}; corrects {corrected} by itself, the same at most {rules.corrections_max} times;"
        f" asks before more than {rules.zeroed_max:,} live listings, or {rules.zeroed_percent} %, go to 0."
    )


def _chosen(row: ConnectionRow, discrepancy: int | None, cause: Any, held: bool) -> Chosen:
    if discrepancy is None and cause is None and not held:
        raise click.UsageError("say which: --id, --cause or --held")
    return Chosen(row.id, discrepancy, cause, "brake" if held else None)


def _preview(app: Application, row: ConnectionRow, chosen: Chosen) -> Preview:
    with read_only(app.engine) as conn:
        return operations.preview(conn, row.shop_id, chosen)


def _offer(act: str, seen: Preview) -> None:
    click.echo(seen.sentence())
    if seen.discrepancies:
        yes = f"yes, zero these {seen.zeroed:,}" if seen.zeroed else f"{act} them"
        click.echo(f"To {yes}: the same command with --token {seen.token} --reason WHY")


def _actor(reason: str | None) -> Actor:
    return Actor(console.person(), reason or "")


def _position(said: str) -> Position:
    at, _, number = said.rpartition(",")
    try:
        return Position(datetime.fromisoformat(at), int(number))
    except ValueError:
        raise BadInput(
            f"--after {said}: give what the page before said, such as 2026-11-26T12:00:00+00:00,17"
        ) from None


def _draw(rows: Any) -> None:
    if not rows:
        return
    table = Table(box=box.SIMPLE)
    for head in ("id", "connection", "SKU", "ours", "theirs", "cause", "done", "since", "what"):
        table.add_column(head, justify="right" if head in ("id", "ours", "theirs") else "left")
    for row in rows:
        done = row["resolved_because"] or row["asked_because"] or row["action"]
        table.add_row(
            str(row["discrepancy_id"]),
            row["connection"],
            row["code"] or row["subject_key"],
            _number(row["ours"]),
            _number(row["theirs"]),
            row["cause"],
            done,
            console.moment(row["first_seen_at"]),
            row["detail"] or "",
        )
    Console(width=180).print(table, highlight=False)


def _number(units: int | None) -> str:
    return "–" if units is None else f"{units:,}"
