"""`switchyard alerts`: what is open and who has it, and by what numbers each condition is judged."""

from __future__ import annotations

import json

import click

from core.alerts import operations, queries
from core.alerts.terms import EXPOSURE, KINDS, Policy, kind_of
from core.audit import Actor
from core.clock import utc_now
from core.db import read_only, unit_of_work
from workers import console

_NUMBER = click.IntRange(1, 2**63 - 1)
_SHOP = click.option("--shop", help="Name of the shop; needed where there are several.")
_REASON = click.option("--reason", required=True, help="Why; kept on record.")


@click.group(invoke_without_command=True)
@click.pass_context
def alerts(context: click.Context) -> None:
    """Show what is open, take an alert, and change when somebody is told. Without a command: list."""
    if context.invoked_subcommand is None:
        context.invoke(list_alerts)


@alerts.command("list")
@click.option("--all", "with_closed", is_flag=True, help="Also those that are over.")
@click.option("--before", type=_NUMBER, help="Begin the list before this number.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="At most so many.")
@_SHOP
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_alerts(
    with_closed: bool = False,
    before: int | None = None,
    limit: int = 20,
    shop: str | None = None,
    as_json: bool = False,
) -> None:
    """List alerts, the newest first: what is wrong, whom it concerns, what to do, and who has it."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        rows = queries.page(conn, shop_id, before_id=before, open_only=not with_closed, limit=limit)
    if as_json:
        click.echo(json.dumps([dict(row) for row in rows], default=str, indent=2))
        return
    for row in rows:
        state = "regressed" if row["regressed_from"] and row["state"] == "open" else row["state"]
        has = f", {row['acknowledged_by']} has it" if row["state"] == "acknowledged" else ""
        click.echo(
            f"{row['alert_id']}  {console.moment(row['opened_at'])}  {row['severity']}, {state}{has}: {row['headline']}"
        )
        if row["closed_at"] is None:
            unknown = f" Not known since {console.moment(row['unknown_since'])}." if row["unknown_since"] else ""
            click.echo(f"    {row['sentence']}{unknown} {row['next_step']}")
    if not rows:
        click.echo("There was no alert yet." if with_closed else "No alert is open.")


@alerts.command("acknowledge")
@click.argument("alert", type=_NUMBER)
@_REASON
@_SHOP
def acknowledge(alert: int, reason: str, shop: str | None) -> None:
    """Take ALERT: it is quiet from then on, unless it gets much worse."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        operations.acknowledge(conn, shop_id, alert, Actor(console.person(), reason), utc_now())
    click.echo(f"Alert {alert} is yours. It closes by itself when its condition is gone.")


@alerts.group("rules", invoke_without_command=True)
@click.pass_context
def rules(context: click.Context) -> None:
    """Show by what numbers each condition is judged, or change them. Without a command: list."""
    if context.invoked_subcommand is None:
        context.invoke(list_rules)


@rules.command("list")
@_SHOP
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_rules(shop: str | None = None, as_json: bool = False) -> None:
    """List every condition, whether it is looked for, and its numbers."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        found = queries.policies(conn, shop_id)
    if as_json:
        shown = {name: {"is_on": each.is_on, **each.numbers, **_limit(each)} for name, each in found.items()}
        click.echo(json.dumps(shown, indent=2))
        return
    for name, each in found.items():
        limit = f", above {each.limit_units:,} units" if each.limit_units is not None else ""
        click.echo(f"{name} ({'on' if each.is_on else 'off'}{limit}): {KINDS[name].words}")
        for term in KINDS[name].all_terms:
            changed = "" if each[term.name] == term.default else f"; by default {term.default:,}"
            click.echo(f"    {term.name} {each[term.name]:,}{changed}: {term.words}")


def _limit(each: Policy) -> dict[str, int | None]:
    return {"limit_units": each.limit_units} if each.kind == EXPOSURE else {}


@rules.command("set")
@click.argument("kind")
@click.argument("numbers", nargs=-1)
@click.option("--on/--off", "is_on", default=None, help="Look for the condition, or do not.")
@_REASON
@_SHOP
def set_rule(kind: str, numbers: tuple[str, ...], is_on: bool | None, reason: str, shop: str | None) -> None:
    """Change numbers of the rule for KIND (NAME=NUMBER, as `rules list` shows them), or switch it on or off.

    The limit of exposure is set by `switchyard alert-limit`.
    """
    app = console.application()
    shop_id = console.shop_of(app, shop)
    kind_of(kind)
    changes = dict(_number(word) for word in numbers)
    with unit_of_work(app.engine) as conn:
        before = operations.set_rule(
            conn, shop_id, kind, Actor(console.person(), reason), utc_now(), numbers=changes, is_on=is_on
        )
    for name, value in changes.items():
        click.echo(f"{kind}: {name} is {value:,} now; it was {before[name]:,}.")
    if is_on is not None:
        click.echo(f"{kind} is {'on' if is_on else 'off'} now; it was {'on' if before.is_on else 'off'}.")


def _number(word: str) -> tuple[str, int]:
    name, _, value = word.partition("=")
    try:
        return name, int(value.replace(",", "").replace("_", ""))
    except ValueError:
        raise click.UsageError(f"{word} is no change: write NAME=NUMBER, such as dangerous_minutes=30") from None
