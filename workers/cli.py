"""The operator's command line: `switchyard COMMAND`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from sqlalchemy.exc import DataError, InterfaceError, OperationalError

from core import invariants, logs
from core.audit import Actor
from core.clock import utc_now
from core.config import SECRET_KEYS_FILE, port_base
from core.connections.operations import new_key
from core.db import fetch, fetch_one, read_only, unit_of_work
from core.errors import BadInput, SwitchyardError
from core.inventory import publishing
from core.ledger import anchor_files
from core.messaging.doorbell import Lane
from core.processes import write_private
from workers import desk_cli, going_live_cli, reconcile_orders_cli, world
from workers import replay as replaying
from workers import up as supervision
from workers.alerts_cli import alerts
from workers.changes_cli import list_changes
from workers.commissions_cli import commissions
from workers.connect_cli import connect
from workers.console import application, console, home, person
from workers.doctor import doctor
from workers.failures_cli import failures, parked
from workers.feeds import settle_feed
from workers.identifiers_cli import identifiers
from workers.imports_cli import imports
from workers.keys_cli import keys
from workers.klaviyo_cli import klaviyo
from workers.money_cli import money
from workers.notices_cli import notices
from workers.oversold_cli import alert_limit, oversold
from workers.products_cli import products
from workers.reconcile_cli import reconcile
from workers.reports_cli import report
from workers.retention_cli import retention
from workers.rules_cli import rules
from workers.runs_cli import runs
from workers.schedules_cli import schedules
from workers.shipments_cli import confirm_shipment
from workers.taxonomy_cli import taxonomy
from workers.why import why
from workers.world import Progress


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name=None, version="0.1.0", prog_name="switchyard")
@click.pass_context
def cli(context: click.Context) -> None:
    """Keeps stock, catalogue, shipments and seller money in step across a company's channels."""
    # What it calls is on record as its doing, as a job's calls are.
    context.with_resource(logs.bound(function=f"command:{context.invoked_subcommand}"))


def main() -> None:
    """Entry point: errors raised on purpose become one sentence and exit status 2."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except SwitchyardError as error:
        _say(str(error))
    except (OperationalError, InterfaceError) as error:
        _say(f"the database does not answer ({type(error.orig).__name__}): `switchyard status` says what runs")
    except DataError as error:
        _say(f"the database cannot take a number or a text that was given ({type(error.orig).__name__})")


def _say(words: str) -> NoReturn:
    """End with one sentence. Foreign words are in it: they are no markup."""
    console.print(f"[bold]switchyard:[/] {escape(logs.mask(words))}", highlight=False, markup=True)
    sys.exit(2)


cli.add_command(why)
cli.add_command(rules)
cli.add_command(commissions)
cli.add_command(oversold)
cli.add_command(alerts)
cli.add_command(alert_limit)
cli.add_command(keys)
cli.add_command(imports)
cli.add_command(money)
cli.add_command(list_changes)
cli.add_command(connect)
cli.add_command(klaviyo)
cli.add_command(doctor)
cli.add_command(identifiers)
cli.add_command(failures)
cli.add_command(parked)
cli.add_command(confirm_shipment)
reconcile.add_command(reconcile_orders_cli.orders)
cli.add_command(products)
cli.add_command(reconcile)
cli.add_command(retention)
cli.add_command(runs)
cli.add_command(schedules)
cli.add_command(notices)
cli.add_command(report)
cli.add_command(taxonomy)
for command in going_live_cli.COMMANDS:
    cli.add_command(command)


@cli.command()
@click.option("--demo/--no-demo", default=True, help="Start the sandbox and connect its demo shop.")
def up(demo: bool) -> None:
    """Run everything on this machine until Ctrl-C; starts its own Postgres and Redis where none are named."""
    place = home()
    place.mkdir(parents=True, exist_ok=True)
    key_file = place / SECRET_KEYS_FILE
    if "SWITCHYARD_SECRET_KEYS" not in os.environ and not key_file.exists():
        write_private(key_file, new_key())

    def connect_demo(addresses: Mapping[str, str]) -> None:
        if demo:
            # In a thread of the supervision's, which knows of no command.
            with logs.bound(function="command:up"), _progress("connecting the demo shop") as progress:
                world.connect_demo(application(), progress)

    sys.exit(supervision.up(place, port_base(os.environ), demo=demo, on_ready=connect_demo))


@cli.command()
def down() -> None:
    """Stop what `up` runs here, from wherever; data stays."""
    sys.exit(supervision.down(home()))


@cli.command()
def seed() -> None:
    """Connect the sandbox's demo shop to the running instance; safe to repeat."""
    app = application()
    with _progress("connecting the demo shop") as progress:
        pair = world.connect_demo(app, progress)
    click.echo(f"Shop {world.DEMO_NAME} is connected to Shopify and Amazon (shop {pair.shop_id}).")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(as_json: bool) -> None:
    """Show each connection: what waits, what is in step, what is wrong."""
    app = application()
    with read_only(app.engine) as conn:
        rows = [dict(row) for row in fetch(conn, _STATUS_SQL)]
    if as_json:
        addresses = {"dashboard": app.settings.dashboard_url, "api": app.settings.api_url}
        click.echo(json.dumps({"addresses": addresses, "connections": rows}, default=str, indent=2))
        return
    table = Table(
        title=f"Dashboard {app.settings.dashboard_url}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for name in _STATUS_COLUMNS:
        is_text = name in ("shop", "connection")
        table.add_column(_STATUS_COLUMNS[name], justify="left" if is_text else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(f"{row[name]:,}" if isinstance(row[name], int) else row[name] for name in _STATUS_COLUMNS))
    Console().print(table)
    for row in rows:
        if not row["may_write"]:
            click.echo(f"{row['shop']} {row['connection']} is not written to: {_held(row)}")
        if row["last_error"]:
            click.echo(f"{row['shop']} {row['connection']}: {row['last_error']}")
        if row["unconfirmed"]:
            many = "1 package is" if row["unconfirmed"] == 1 else f"{row['unconfirmed']:,} packages are"
            click.echo(f"{row['shop']} {row['connection']}: {many} not confirmed: `switchyard confirm-shipment --list`")


def _held(row: Mapping[str, Any]) -> str:
    if row["is_stopped"]:
        return f"{row['stopped_by']} stopped it ({row['stop_reason']})"
    return "it is paused" if row["state"] == "paused" else "it is in shadow mode, and only compared"


_STATUS_COLUMNS = {
    "shop": "shop",
    "connection": "channel",
    "listings": "listings",
    "in_step": "in step",
    "to_push": "to push",
    "open_writes": "open",
    "unread": "unread",
    "parked": "parked",
}
_STATUS_SQL = """
select s.name as shop, c.name as connection, c.guarantee_class as class, c.state, c.last_error,
    h.write_mode, h.is_stopped, h.stopped_by, h.stop_reason, h.may_write,
    l.listings, l.in_step, l.listings_on - l.in_step as to_push,
    (select count(*) from listing_writes w where w.shop_id = c.shop_id and w.connection_id = c.id and w.outcome is null)
        as open_writes,
    (select count(*) from inbox_messages m where m.shop_id = c.shop_id and m.connection_id = c.id
        and m.state = 'received') as unread,
    (select count(*) from inbox_messages m where m.shop_id = c.shop_id and m.connection_id = c.id
        and m.state = 'parked') as parked,
    (select coalesce(sum(u.packages), 0)::int8 from unconfirmed_shipments u
        where u.shop_id = c.shop_id and u.connection_id = c.id) as unconfirmed
from connections c join shops s using (shop_id)
join connection_switches h on h.shop_id = c.shop_id and h.connection_id = c.id
cross join lateral (
    select count(*) as listings, count(*) filter (where publishing = 'on') as listings_on,
        count(*) filter (where publishing = 'on' and unseen_units = 0
            and not listing_differs(desired_units - short_units, published_units))
            as in_step
    from listings l where l.shop_id = c.shop_id and l.connection_id = c.id
) l
order by s.name, c.id
"""


@cli.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--totals",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Totals file with the opening stock; by default the one beside FILE, else worked out from FILE.",
)
@click.option("--clock-factor", type=click.FloatRange(min=0.01), default=60.0, show_default=True,
              help="How many times faster than real the vendors' quotas and delays run.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def replay(file: Path, totals: Path | None, clock_factor: float, as_json: bool) -> None:
    """Let the sandbox's shoppers place the orders of FILE (Online Retail form) on Shopify; Amazon follows."""
    app = application()
    actor = Actor(person(), f"replay of {file.name}")
    with _progress("replaying") as progress:
        summary = replaying.replay(app, file, totals or _totals_beside(file), clock_factor, actor, progress)
    if as_json:
        click.echo(json.dumps(replaying.as_json(summary), indent=2))
        return
    table = Table(show_header=False)
    for name, value in replaying.as_json(summary).items():
        table.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    Console().print(table)


def _totals_beside(file: Path) -> Path | None:
    stem = file.name.removesuffix(".gz").removesuffix(".csv")
    for name in (f"{stem}_sku_totals.csv.gz", f"{stem}_sku_totals.csv"):
        if (file.parent / name).is_file():
            return file.parent / name
    return None


@cli.command()
@click.argument("write_id", type=int, required=False)
@click.option("--shown", type=int, help="The quantity that the channel shows now, as you see it there.")
@click.option("--feed", "feed_id", type=int, help="All that is in doubt of this feed, by what the channel shows now.")
@click.option("--reason", required=True, help="How you know; kept on record.")
def settle(write_id: int | None, shown: int | None, feed_id: int | None, reason: str) -> None:
    """End the doubt of write WRITE_ID with what a person sees on the channel, or of all that are left of a feed."""
    app = application()
    if feed_id is not None and write_id is None and shown is None:
        ended, left = settle_feed(app, feed_id, Actor(person(), reason))
        click.echo(
            f"{ended} writes of feed {feed_id} are settled by what the channel shows; {left} it does not tell of."
        )
        return
    if write_id is None or shown is None or feed_id is not None:
        raise BadInput("give either WRITE_ID and --shown UNITS, or --feed FEED alone")
    with unit_of_work(app.engine) as conn:
        row = fetch_one(conn, "select shop_id, connection_id from listing_writes where id = %(id)s", id=write_id)
        if row is None:
            raise BadInput(f"there is no write {write_id}: the SKU's page lists its writes with their numbers")
        publishing.settle_by_hand(conn, row["shop_id"], write_id, shown, Actor(person(), reason), utc_now())
    app.doorbell.ring(Lane("stock", row["shop_id"], row["connection_id"]))
    click.echo(f"Write {write_id} is settled; its listing is planned from {shown} units.")


@cli.command()
@click.option("--settled", is_flag=True, help="Allow nothing to be on its way any more (nobody buys just now).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def audit(settled: bool, as_json: bool) -> None:
    """Recompute every invariant from the facts; exit status 1 and the rows when one is broken."""
    app = application()
    # Before the look at the database begins: it knows nothing of what is anchored later.
    seen = anchor_files.heads(app.settings.anchor_dir)
    with read_only(app.engine) as conn:
        findings = invariants.check(conn, utc_now(), settled=settled)
        of_ledgers, notes = invariants.check_ledgers(conn, utc_now(), app.settings.anchor_dir, seen)
    findings += of_ledgers
    broken = [finding for finding in findings if finding.rows]
    if as_json:
        said = {"clean": not broken, "notes": notes, "checks": [_finding(item) for item in findings]}
        click.echo(json.dumps(said, default=str, indent=2))
    else:
        for note in notes:
            click.echo(f"note    {note}")
        for finding in findings:
            mark = "broken" if finding.rows else "holds "
            click.echo(f"{mark}  {finding.holds}")
            for row in finding.rows[:20]:
                click.echo("        " + ", ".join(f"{name}={value}" for name, value in row.items()))
            if len(finding.rows) > 20:
                more = f"{len(finding.rows) - 20} more" + (" or more" if finding.is_cut else "")
                click.echo(f"        and {more}: see --json")
        click.echo("Clean." if not broken else f"{len(broken)} of {len(findings)} invariants are broken.")
    sys.exit(1 if broken else 0)


def _finding(item: invariants.Finding) -> dict[str, Any]:
    return {"name": item.name, "holds": item.holds, "rows": list(item.rows), "is_cut": item.is_cut}


cli.add_command(desk_cli.make_group(application, person))


@contextmanager
def _progress(title: str) -> Iterator[Progress]:
    """A bar on a terminal; one line a step otherwise."""
    if not console.is_terminal:
        yield _lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=console) as bar:
        task = bar.add_task(title, total=None)

        def show(step: str, done: int, total: int | None) -> None:
            bar.update(task, description=step, completed=done, total=total)

        yield show


def _lines() -> Progress:
    seen: set[str] = set()

    def show(step: str, _done: int, _total: int | None) -> None:
        if step not in seen:
            seen.add(step)
            click.echo(f"{step} ...", err=True)

    return show


if __name__ == "__main__":
    main()
