"""`switchyard confirm-shipment`: have a channel told of a package that left, or see which ones are not known there."""

from __future__ import annotations

from datetime import datetime

import click
from sqlalchemy.engine import RowMapping

from core.audit import Actor
from core.clock import utc_now
from core.db import read_only, unit_of_work
from core.orders import confirming, packages
from core.orders.confirming import CannotConfirm, Package
from workers import console
from workers.hints import ring_once


@click.command("confirm-shipment")
@click.argument("order", required=False)
@click.option("--carrier", help="The channel's code of the carrier; Other where it has none.")
@click.option("--carrier-name", help="The carrier's name; needed with Other.")
@click.option("--tracking", help="The tracking number.")
@click.option("--shipped-at", help="When it left, with its zone, like 2026-11-26T09:30:00+00:00; now if left out.")
@click.option("--line", "lines", multiple=True, metavar="LINE=UNITS", help="What is in it; all that is open without.")
@click.option("--package", help="Its number within the order; one that was told before is edited.")
@click.option("--method", help="The carrier's service.")
@click.option("--reason", help="Why; kept on record.")
@click.option("--list", "is_list", is_flag=True, help="Instead: show packages that channels do not know, newest first.")
@click.option("--all", "is_all", is_flag=True, help="With --list: also those that they know.")
@click.option("--before", type=int, help="With --list: begin the list before this number.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="With --list: rows a page.")
@click.option("--shop", help="Name of the shop; needed where there are several.")
def confirm_shipment(
    order: str | None,
    carrier: str | None,
    carrier_name: str | None,
    tracking: str | None,
    shipped_at: str | None,
    lines: tuple[str, ...],
    package: str | None,
    method: str | None,
    reason: str | None,
    is_list: bool,
    is_all: bool,
    before: int | None,
    limit: int,
    shop: str | None,
) -> None:
    """Have the channel of ORDER told that a package of it left. It is told within the minute, or when it may be."""
    if is_list:
        if order or carrier or tracking or package or lines:
            raise click.UsageError("--list shows packages, and confirms none: leave ORDER and what is in it out")
        _show(before, None if is_all else False, limit, shop)
        return
    if is_all or before is not None:
        raise click.UsageError("--all and --before are for --list")
    order, carrier, tracking, reason = (
        _given(name, value)
        for name, value in (("ORDER", order), ("--carrier", carrier), ("--tracking", tracking), ("--reason", reason))
    )
    app = console.application()
    shop_id = console.shop_of(app, shop)
    now = utc_now()
    sent = Package(
        order=order,
        carrier_code=carrier,
        carrier_name=carrier_name,
        ship_method=method,
        tracking_number=tracking,
        shipped_at=_moment(shipped_at) if shipped_at else now,
        units=_units(lines),
        package_ref=package,
    )
    with unit_of_work(app.engine) as conn:
        queued = confirming.queue(conn, shop_id, sent, Actor(console.person(), reason), now)
    if not queued.is_new:
        click.echo(f"Package {queued.package_ref} of {order} is asked for like this already.")
        return
    ring_once(app, "shipments.confirm", shop_id=shop_id, connection_id=queued.connection_id)
    click.echo(f"Package {queued.package_ref} of {order} will be confirmed.")


def _given(name: str, value: str | None) -> str:
    if value is None:
        raise click.UsageError(f"{name} is missing: a channel is told ORDER, --carrier, --tracking, with a --reason")
    return value


def _show(before: int | None, is_known: bool | None, limit: int, shop: str | None) -> None:
    app = console.application()
    with read_only(app.engine) as conn:
        rows = packages.page(conn, console.shop_of(app, shop), before_id=before, is_known=is_known, limit=limit + 1)
    for row in rows[:limit]:
        click.echo(
            f"{row['confirmation_id']}  {row['connection']}: order {row['order_name']}, package {row['package_ref']},"
            f" {row['units']:,} units by {row['carrier']} {row['tracking_number']},"
            f" left {row['shipped_at']:%Y-%m-%d %H:%M} UTC: {_how_far(row)}"
        )
    if len(rows) > limit:
        last = rows[limit - 1]["confirmation_id"]
        click.echo(f"There are more: --list{'' if is_known is False else ' --all'} --before {last}.")
    if not rows:
        click.echo("No package is on record." if is_known is None else "Every channel knows every package.")


def _how_far(row: RowMapping) -> str:
    """How far a package of the view `shipment_list` is, in words, with what the channel said last."""
    words = {"known": "the channel knows it", "to_tell": "will be told", "over": "nothing is to be done any more"}
    says = words.get(row["state"]) or packages.SAYS[row["state"]]
    said = f" ({row['last_code']}: {row['last_detail']})" if row["last_code"] and not row["is_known"] else ""
    step = packages.NEXT_STEP.get(row["state"], "")
    return f"{says}{said}. {step}".rstrip()


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise CannotConfirm(f"{text!r} is no date and time: write it like 2026-11-26T09:30:00+00:00") from None


def _units(lines: tuple[str, ...]) -> dict[str, int]:
    units: dict[str, int] = {}
    for line in lines:
        ref, _, count = line.rpartition("=")
        if not ref or not count.isdecimal():
            raise CannotConfirm(f"{line!r} is no line with its units: write it like 41234567890=2")
        units[ref] = units.get(ref, 0) + int(count)
    return units
