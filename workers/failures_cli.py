"""`switchyard failures` and `parked`: what went wrong, what doing it again would take, and doing it again."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any

import click
from sqlalchemy import Connection

from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.errors import BadInput, Retryable
from core.logs import mask, masked
from core.messaging import inbox
from core.money import to_major
from core.recovery import operations, queries
from core.recovery.choosing import SOURCES, Chosen
from core.recovery.preview import Preview, preview
from core.recovery.taking_back import take_back
from workers import console

_SHOP = click.option("--shop", help="Name of the shop; needed where there are several.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_REASON = click.option("--reason", required=True, help="Why; kept on record.")


def _chosen(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--one", help="One failure, as SOURCE:ID: job:17, message:4 or outbox:2."),
        click.option("--group", "group_key", help="All of a cause, by its key."),
        click.option("--all", "is_all", is_flag=True, help="Everything that is open."),
    ):
        command = option(command)
    return command


def _choice(is_all: bool, group_key: str | None, one: str | None) -> Chosen:
    if [is_all, group_key is not None, one is not None].count(True) != 1:
        raise click.UsageError("say --all, --group KEY or --one SOURCE:ID")
    if one is None:
        return Chosen(group_key=group_key)
    source, _, number = one.partition(":")
    found = next((each for each in SOURCES if each == source), None)
    if found is None or not number.isdigit():
        raise BadInput(f"{one!r} names no failure: write job:17, message:4 or outbox:2")
    return Chosen(source=found, item_id=int(number))


@click.group(invoke_without_command=True)
@_SHOP
@_JSON
@click.pass_context
def failures(context: click.Context, shop: str | None, as_json: bool) -> None:
    """List what failed by cause: jobs, parked messages, notices that were given up. Subcommands deal with it."""
    if context.invoked_subcommand is not None:
        return
    app = console.application()
    with read_only(app.engine) as conn:
        rows = [dict(row) for row in queries.groups(conn, console.shop_of(app, shop))]
    if as_json:
        click.echo(json.dumps(rows, default=str, indent=2))
        return
    for row in rows:
        where = f" ({row['connection']})" if row["connection"] else ""
        click.echo(
            f"{row['group_key']}  {row['source']} {row['function']}{where}: {row['error_class']}: {row['message']}"
        )
        click.echo(f"    {_counts(row)}; since {console.moment(row['first_at'])}")
        click.echo(f"    {row['next_step']}")
    if not rows:
        click.echo("Nothing failed that nobody has dealt with.")


@failures.command()
@click.argument("group_key")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="At most so many.")
@_SHOP
@_JSON
def show(group_key: str, limit: int, shop: str | None, as_json: bool) -> None:
    """Show the newest failures of a cause."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        row = queries.group(conn, shop_id, group_key)
        rows = [dict(each) for each in queries.items(conn, shop_id, group_key, limit=limit)]
    if row is None:
        raise BadInput(f"nothing of {group_key!r} is open: list the failures again")
    if as_json:
        click.echo(json.dumps({"group": dict(row), "items": masked(rows)}, default=str, indent=2))
        return
    click.echo(f"{row['function']}: {row['error_class']}: {row['message']}\n{_counts(row)}\n{row['next_step']}\n")
    for item in rows:
        state = "" if item["state"] == "open" else f"  ({item['state']})"
        click.echo(
            f"{item['source']}:{item['item_id']}  {console.moment(item['at'])}  {mask(item['error'] or '')}{state}"
        )


@failures.command("preview")
@_chosen
@click.option("--per-minute", type=float, help="The pace; without it worked out from quota and speed.")
@_SHOP
@_JSON
def preview_(
    is_all: bool, group_key: str | None, one: str | None, per_minute: float | None, shop: str | None, as_json: bool
) -> None:
    """Say what doing them again would take; changes nothing."""
    app = console.application()
    chosen = _choice(is_all, group_key, one)
    with read_only(app.engine) as conn:
        found = _look(app, conn, console.shop_of(app, shop), chosen, per_minute)
    if as_json:
        click.echo(json.dumps(_as_json(found), indent=2))
        return
    for line in _said(found):
        click.echo(line)


@failures.command()
@_chosen
@click.option("--name", help="What it is called on record; otherwise the reason.")
@click.option("--per-minute", type=float, help="The pace; without it worked out from quota and speed.")
@_REASON
@_SHOP
def requeue(
    is_all: bool,
    group_key: str | None,
    one: str | None,
    name: str | None,
    per_minute: float | None,
    reason: str,
    shop: str | None,
) -> None:
    """Have their work done again, once, at a pace; see `failures recoveries`, stop it by `failures cancel`."""
    app = console.application()
    chosen, shop_id = _choice(is_all, group_key, one), console.shop_of(app, shop)
    actor, now = Actor(console.person(), reason), utc_now()
    with unit_of_work(app.engine) as conn:
        found = _look(app, conn, shop_id, chosen, per_minute)
        done = operations.requeue(
            conn, shop_id, chosen, found.token, actor, now, app.queue.check, name=name, per_minute=per_minute
        )
    for line in _said(found):
        click.echo(line)
    _take_back(app, done.job_refs)
    if done.recovery_id is None:
        click.echo(f"{done.closed:,} closed: later runs did the work.")
        return
    _ring(app)
    click.echo(f"Recovery {done.recovery_id} begins.")


@failures.command()
@click.argument("recovery", type=int)
@_REASON
@_SHOP
def cancel(recovery: int, reason: str, shop: str | None) -> None:
    """Begin no more of RECOVERY; what has not begun is open again."""
    app = console.application()
    with unit_of_work(app.engine) as conn:
        works = operations.cancel_recovery(
            conn, console.shop_of(app, shop), recovery, Actor(console.person(), reason), utc_now()
        )
    click.echo(f"Recovery {recovery} is cancelled: {works:,} not begun and open again.")


@failures.command()
@_chosen
@_REASON
@_SHOP
def discard(is_all: bool, group_key: str | None, one: str | None, reason: str, shop: str | None) -> None:
    """Give them up; they stay on record with who and why."""
    app = console.application()
    chosen, shop_id = _choice(is_all, group_key, one), console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        token = _look(app, conn, shop_id, chosen, None).token
        done = operations.discard(conn, shop_id, chosen, token, Actor(console.person(), reason), utc_now())
    _take_back(app, done.job_refs)
    click.echo(f"{done.items:,} discarded. Who and why is on record.")


@failures.command("take-back")
@click.option("--one", help="One failure, as SOURCE:ID: job:17, message:4 or outbox:2.")
@click.option("--group", "group_key", help="All of a cause that are discarded, by its key.")
@_REASON
@_SHOP
def take_back_(group_key: str | None, one: str | None, reason: str, shop: str | None) -> None:
    """Open again what was discarded, so that it can be requeued; who gave it up and why stays on record."""
    app = console.application()
    chosen, shop_id = _choice(False, group_key, one), console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        items = take_back(conn, shop_id, chosen, Actor(console.person(), reason), utc_now())
    click.echo(f"{items:,} open again.")


@failures.command()
@click.option("--limit", type=click.IntRange(1, 200), default=10, show_default=True, help="At most so many.")
@_SHOP
@_JSON
def recoveries(limit: int, shop: str | None, as_json: bool) -> None:
    """List recoveries, newest first: how far each is, and how what it began has ended."""
    app = console.application()
    with read_only(app.engine) as conn:
        rows = [dict(row) for row in queries.recoveries(conn, console.shop_of(app, shop), limit)]
    if as_json:
        click.echo(json.dumps(rows, default=str, indent=2))
        return
    for row in rows:
        counts = ", ".join(
            f"{row[name]:,} {word}"
            for name, word in (
                ("waiting", "waiting"),
                ("released", "under way"),
                ("done", "done"),
                ("failed", "failed again"),
                ("superseded", "no longer needed"),
                ("cancelled", "cancelled"),
            )
            if row[name]
        )
        click.echo(f"{row['recovery_id']}  {row['name']} ({row['requested_by']}): {row['state']}; {counts}")
    if not rows:
        click.echo("Nothing was ever requeued.")


@click.command()
@click.option("--connection", "connection_id", type=int, help="Only of this connection.")
@click.option("--cause", help="Only of this cause.")
@click.option("--again", is_flag=True, help="Have them handled again; needs --reason.")
@click.option("--reason", default="", help="Why they will go through now; kept on record.")
def parked(connection_id: int | None, cause: str | None, again: bool, reason: str) -> None:
    """Show what channels told us that a person must look at, or have it handled again: a recovery for each cause."""
    app = console.application()
    if again:
        _requeue_parked(app, connection_id, cause, Actor(console.person(), reason))
        return
    with read_only(app.engine) as conn:
        rows = inbox.parked_causes(conn, connection_id, cause)
    for row in rows:
        click.echo(
            f"connection {row['connection_id']}  {row['cause']}  {row['topic']}: {row['messages']}"
            f" since {row['since']:%Y-%m-%d %H:%M} UTC, such as message {row['example']}:"
            f" {mask(row['detail'] or '')}"
        )
    if not rows:
        click.echo("Nothing is parked.")


def _requeue_parked(app: Application, connection_id: int | None, cause: str | None, actor: Actor) -> None:
    with read_only(app.engine) as conn:
        found = queries.groups_of_messages(conn, connection_id, cause)
    for row in found:
        chosen, now = Chosen(group_key=row["group_key"]), utc_now()
        try:
            with unit_of_work(app.engine) as conn:
                token = _look(app, conn, row["shop_id"], chosen, None).token
                done = operations.requeue(conn, row["shop_id"], chosen, token, actor, now, app.queue.check)
        except operations.NothingToDo:
            continue
        click.echo(
            f"Recovery {done.recovery_id} begins: {row['items']:,} of connection {row['connection_id']},"
            f" {row['cause']}."
        )
    if not found:
        click.echo("Nothing is parked.")
        return
    _ring(app)


def _ring(app: Application) -> None:
    try:
        app.queue.enqueue("runs.recover")
    except Retryable:
        click.echo("Redis does not answer: it begins when Redis is back.")


def _take_back(app: Application, job_refs: Collection[str]) -> None:
    """Let the broker's registry of failed jobs keep them no longer."""
    try:
        app.broker.take_back(job_refs)
    except Retryable:
        click.echo("Redis does not answer: its registry of failed jobs is tidied up by the sweep.")


def _look(app: Application, conn: Connection, shop_id: int, chosen: Chosen, per_minute: float | None) -> Preview:
    return preview(conn, shop_id, chosen, app.queue.check, utc_now(), per_minute)


def _counts(row: Any) -> str:
    parts = [f"{row['items']:,} failed, {row['works']:,} to do", f"{row['skus']:,} SKUs", f"{row['orders']:,} orders"]
    if row["superseded"]:
        parts.insert(1, f"{row['superseded']:,} no longer needed")
    parts += [f"{to_major(minor, currency):,} {currency}" for currency, minor in sorted(row["money"].items())]
    return ", ".join(parts)


def _said(found: Preview) -> list[str]:
    lines = [
        f"{found.items:,} failed: {found.needed:,} still needed, {found.superseded:,} no longer,"
        f" {found.under_way:,} being done again already.",
        f"{found.works:,} to do, {found.per_minute:g} a minute: about"
        f" {max(1, round(found.seconds_to_drain / 60)):,} min.",
    ]
    if found.repeated:
        lines.append(f"{found.repeated:,} say what a later one has told: handled again, that changes nothing.")
    if found.to_close:
        lines.append(f"{found.to_close:,} are closed and not done again: later runs did the work.")
    if found.money_calls:
        lines.append(f"{found.money_calls:,} of them may move money.")
    for use in found.quota:
        units = "an unknown part" if use.units is None else f"about {use.units:,.0f} {use.unit}"
        has = "" if use.has is None else f" of {use.has:,.0f} that it has now"
        if use.operation is not None:
            has = f" of {use.operation}, which allows {use.has:,.0f} a minute"
        lines.append(f"{use.connection}: {units}{has}.")
    return [*lines, *found.obstacles, *([found.warning] if found.warning else [])]


def _as_json(found: Preview) -> dict[str, Any]:
    names = ("token", "items", "works", "needed", "superseded", "under_way", "to_begin", "repeated", "to_close",
             "money_calls", "per_minute",
             "seconds_to_drain", "obstacles", "warning", "is_possible")  # fmt: skip
    quota = [
        {
            "connection": use.connection,
            "unit": use.unit,
            "units": use.units,
            "has": use.has,
            "share": use.share,
            "operation": use.operation,
        }
        for use in found.quota
    ]
    return {name: getattr(found, name) for name in names} | {"quota": quota}
