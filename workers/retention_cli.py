"""`switchyard retention`: how long what is past is kept."""

from __future__ import annotations

import json

import click

from core.audit import Actor
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.runs import retention as keeping
from workers import console


@click.group("retention", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def retention(context: click.Context, as_json: bool) -> None:
    """Say how long calls, runs, messages and the like are kept, and change it."""
    if context.invoked_subcommand is not None:
        return
    app = console.application()
    with read_only(app.engine) as conn:
        policies = keeping.policies(conn)
    if as_json:
        rows = [
            {"name": p.kept.name, "what": p.kept.what, "keep_days": p.days, "set_by": p.set_by, "reason": p.reason}
            for p in policies
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    for policy in policies:
        who = f"  ({policy.set_by}: {policy.reason})" if policy.set_by else ""
        click.echo(f"{policy.kept.name:17} {policy.days:>5,} days  {policy.kept.what}{who}")


@retention.command("set")
@click.argument("name", type=click.Choice(list(keeping.BY_NAME)))
@click.argument("days", type=int, required=False)
@click.option("--default", "is_default", is_flag=True, help="As long as Switchyard would by itself.")
@click.option("--reason", required=True, help="Why; kept on record.")
def set_days(name: str, days: int | None, is_default: bool, reason: str) -> None:
    """Keep NAME for DAYS; for all shops of this installation. The next turn, once a day, goes by it."""
    if (days is None) != is_default:
        raise click.UsageError("give DAYS, or --default")
    app = console.application()
    with unit_of_work(app.engine) as conn:
        keeping.set_policy(conn, name, days, Actor(console.person(), reason), utc_now())
    kept = keeping.BY_NAME[name]
    click.echo(f"{kept.what[0].upper()}{kept.what[1:]}: kept for {days or kept.days:,} days.")
