"""`switchyard report`: the day closed, built, shown, corrected, and as a file."""

from __future__ import annotations

import dataclasses
import json
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import click

from core.audit import Actor
from core.bootstrap import Application
from core.clock import business_day, utc_now
from core.db import read_only, unit_of_work
from core.errors import BadInput
from core.reports import files, queries, telling, words
from core.reports import operations as reports
from core.reports.queries import ReportRow
from core.reports.rules import Policy
from core.reports.tables import sections
from workers import console

_SHOP = click.option("--shop", help="Name of the shop; needed where there are several.")
_DAY = click.argument("day", default="yesterday")
_REASON = click.option("--reason", required=True, help="Why; kept on record.")
_EDITION = click.option("--edition", type=click.IntRange(1), help="Which one; the newest when not given.")


@click.group()
def report() -> None:
    """The daily report: one for each business day, kept as it was built, and its corrections.

    DAY is a date like 2026-11-25, or "yesterday" (in the shop's zone).
    """


@report.command()
@_DAY
@click.option("--correct", is_flag=True, help="Look for what came since it was built, and make a correction of it.")
@_REASON
@_SHOP
def build(day: str, correct: bool, reason: str, shop: str | None) -> None:
    """Build the report of a closed DAY that has none; with --correct look at one that stands."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    wanted = _day(app, shop_id, day)
    actor = Actor(console.person(), reason)
    with unit_of_work(app.engine) as conn:
        if correct:
            made = reports.correct_by_hand(conn, shop_id, wanted, actor, utc_now())
        else:
            made = reports.build_by_hand(conn, shop_id, wanted, actor, utc_now())
    if made is None:
        click.echo(f"The report of {wanted} stands: everything is known as it was.")
        return
    click.echo(f"Edition {made.edition} of {wanted}: {words.summary(made)}")
    for change in made.changes:
        click.echo(words.changed(change))
    for cause in made.causes:
        click.echo(words.cause(cause))


@report.command()
@_DAY
@_EDITION
@_SHOP
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(day: str, edition: int | None, shop: str | None, as_json: bool) -> None:
    """Show the report of DAY."""
    _, found = _report(day, edition, shop)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(found), default=str, indent=2))
        return
    click.echo(f"{words.long_day(found.day)}. {words.edition_said(found)}".strip())
    click.echo(f"{words.summary(found)}\n")
    click.echo(files.as_text(sections(found)))


@report.command()
@_DAY
@_EDITION
@click.option("--format", "format_", type=click.Choice(files.FORMATS), default="html", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="Where to; a file or a folder. The folder one is in.")
@_SHOP
def export(day: str, edition: int | None, format_: files.Format, output: Path | None, shop: str | None) -> None:
    """Write the report of DAY as a file."""
    name, found = _report(day, edition, shop)
    made = files.make(found, name, format_)
    target = output or Path()
    if target.is_dir():
        target = target / made.name
    try:
        target.write_bytes(made.content)
    except OSError as error:
        raise BadInput(f"{target} cannot be written: {error.strerror}") from error
    click.echo(f"{target}: {len(made.content):,} bytes")


@report.command("list")
@click.option("--before", type=click.DateTime(["%Y-%m-%d"]), help="Begin before this day.")
@click.option("--limit", type=click.IntRange(1, 366), default=30, show_default=True, help="At most so many.")
@_SHOP
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(before: object, limit: int, shop: str | None, as_json: bool) -> None:
    """List the days that are reported, newest first."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        begins = None if before is None else date.fromisoformat(str(before)[:10])
        rows = queries.list_(conn, shop_id, before=begins, limit=limit)
    if as_json:
        click.echo(json.dumps([dict(row) for row in rows], default=str, indent=2))
        return
    for row in rows:
        sold = " and ".join(words.money(each["revenue_minor"], each["currency"]) for each in row["money"])
        edition = f"  edition {row['edition']}" if row["edition"] > 1 else ""
        click.echo(f"{row['day']}  {row['orders']:>7,} orders  {row['units']:>9,} units  {sold or '–'}{edition}")
    if not rows:
        click.echo("No day is reported yet: `switchyard report build --reason …` makes yesterday's.")


@report.command()
@_DAY
@_EDITION
@_REASON
@_SHOP
def send(day: str, edition: int | None, reason: str, shop: str | None) -> None:
    """Send the report of DAY to whoever is told of daily reports, again or for the first time."""
    app = console.application()
    _, found = _report(day, edition, shop)
    with unit_of_work(app.engine) as conn:
        telling.send(conn, found, app.settings.dashboard_url, Actor(console.person(), reason), utc_now())
    click.echo(f"Edition {found.edition} of {found.day} is on its way.")


@report.command()
@click.option("--look-back", type=int, help="How many days back the nightly look for corrections goes.")
@click.option("--percent", type=str, help="A correction is told when a figure changed by so many percent or more.")
@click.option("--reason", default="", help="Why; kept on record. Needed to change it.")
@_SHOP
def policy(look_back: int | None, percent: str | None, reason: str, shop: str | None) -> None:
    """Show or change how corrections are looked for and told."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        standing = queries.policy(conn, shop_id)
    if look_back is not None or percent is not None:
        wanted = Policy(
            standing.look_back_days if look_back is None else look_back,
            standing.material_share if percent is None else _share(percent),
        )
        with unit_of_work(app.engine) as conn:
            reports.set_policy(conn, shop_id, wanted, Actor(console.person(), reason), utc_now())
        standing = wanted
    click.echo(
        f"Every night the last {standing.look_back_days} days are looked at again; a correction is told when orders,"
        f" revenue, refunds or cancellations changed by {standing.material_share * 100:f} % or more."
    )


def _share(percent: str) -> Decimal:
    try:
        share = Decimal(percent) / 100
    except ArithmeticError as error:
        raise BadInput(f"--percent {percent} is no number: write 1, or 0.5") from error
    if not share.is_finite():
        raise BadInput(f"--percent {percent} is no number: write 1, or 0.5")
    return share


def _report(day: str, edition: int | None, shop: str | None) -> tuple[str, ReportRow]:
    app = console.application()
    shop_id = console.shop_of(app, shop)
    wanted = _day(app, shop_id, day)
    with read_only(app.engine) as conn:
        return queries.shop(conn, shop_id).name, queries.report(conn, shop_id, wanted, edition)


def _day(app: Application, shop_id: int, text: str) -> date:
    if text == "yesterday":
        with read_only(app.engine) as conn:
            zone = queries.shop(conn, shop_id).time_zone
        return business_day(utc_now(), zone) - timedelta(days=1)
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"{text!r} is no day: write it like 2026-11-25, or yesterday") from error
