"""`switchyard klaviyo`: how telling the catalogue stands, a comparison at once, going live, and trying again."""

from __future__ import annotations

import json
from typing import Any

import click

from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import switches
from core.connections.queries import ConnectionRow
from core.db import read_only, unit_of_work
from core.errors import BadInput
from core.targets import operations as targets
from core.targets import queries
from workers import console
from workers.jobs.targets import lane_of, request_full

_CONNECTION = click.argument("connection", default="Klaviyo")
_SHOP = click.option("--shop", help="Name of the shop; needed where there are several.")
_REASON = click.option("--reason", required=True, help="Why; kept on record.")

STATES = {
    "in_step": "in step",
    "waits": "to be told",
    "in_flight": "in a job",
    "checking": "being read back",
    "failed": "failed, tried again by itself",
    "held": "waits for a person",
    "problem": "cannot be told as it is",
    "gone": "gone",
}
"""States of entries, as people read them."""


@click.group()
def klaviyo() -> None:
    """The catalogue at Klaviyo: how it stands, compare it at once, go live, try again what failed."""


@klaviyo.command()
@_CONNECTION
@_SHOP
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(connection: str, shop: str | None, as_json: bool) -> None:
    """How many of what CONNECTION was told are in step, and what is not and why."""
    app = console.application()
    row = _target(app, shop, connection)
    with read_only(app.engine) as conn:
        states = [dict(one) for one in queries.states(conn, row.shop_id, row.id)]
        causes = [dict(one) for one in queries.causes(conn, row.shop_id, row.id)]
        open_jobs = queries.open_jobs(conn, queries.target_of(row))
        held = switches.standing(conn, row.shop_id, row.id).held()
        last = queries.last_full(conn, row.shop_id, row.id)
    if as_json:
        found: dict[str, Any] = {"states": states, "causes": causes, "open_jobs": open_jobs, "held": held}
        click.echo(json.dumps(found | {"compared_at": None if last is None else last["ended_at"].isoformat()}))
        return
    for one in states:
        click.echo(f"{one['kind']:<10} {STATES[one['state']]:<40} {one['entries']:>9,}")
    for one in causes:
        click.echo(f"{one['entries']:,} × {one['problem_code']} ({one['held']:,} held), such as: {one['example']}")
    click.echo(f"{open_jobs} jobs are open.")
    click.echo("It was never compared." if last is None else f"Compared last {console.moment(last['ended_at'])}.")
    if held is not None:
        click.echo(f"Nothing is written: {held}.")


@klaviyo.command()
@_CONNECTION
@_SHOP
@_REASON
def sync(connection: str, shop: str | None, reason: str) -> None:
    """Read all that CONNECTION holds, compare it, and have told again what differs."""
    app = console.application()
    row = _target(app, shop, connection)
    run_id = request_full(app, row, "click", Actor(console.person(), reason))
    click.echo(f"Comparison {run_id} is asked for: `switchyard runs` shows how far it is.")


@klaviyo.command()
@_CONNECTION
@_SHOP
@_REASON
def live(connection: str, shop: str | None, reason: str) -> None:
    """Have CONNECTION told what differs, from now on."""
    app = console.application()
    row = _target(app, shop, connection)
    with unit_of_work(app.engine) as conn:
        is_new = switches.to_live(conn, row.shop_id, row.id, Actor(console.person(), reason), utc_now())
        held = switches.standing(conn, row.shop_id, row.id).held()
    app.doorbell.ring(lane_of(row, 1))
    click.echo(f"{row.name} is live." if is_new else f"{row.name} was live already.")
    if held is not None:
        click.echo(f"It is still not written to: {held}.")


@klaviyo.command()
@_CONNECTION
@_SHOP
@click.option("--cause", help="Only what failed with this code; by default all of it.")
@_REASON
def requeue(connection: str, shop: str | None, cause: str | None, reason: str) -> None:
    """Have tried again at once what CONNECTION did not take."""
    app = console.application()
    row = _target(app, shop, connection)
    with unit_of_work(app.engine) as conn:
        actor = Actor(console.person(), reason)
        count = targets.requeue(conn, row.shop_id, row.id, actor, utc_now(), code=cause)
        lanes = targets.lanes_to_ring(conn, row.shop_id)
    for lane in lanes:
        app.doorbell.ring(lane)
    click.echo(f"{count:,} are tried again.")


def _target(app: Application, shop: str | None, name: str) -> ConnectionRow:
    """Raises BadInput for a connection that sells."""
    row = console.connection_of(app, shop, name)
    if row.guarantee_class != queries.TARGET_CLASS:
        raise BadInput(f"{row.name} is a channel: it is not told the catalogue as a target is")
    return row
