"""`switchyard confirm-shipment`: have a channel told of a package that left."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from core.audit import Actor
from core.clock import utc_now
from core.db import unit_of_work
from core.orders import confirming
from core.orders.confirming import CannotConfirm, Package
from workers import console
from workers.hints import ring_once


@click.command("confirm-shipment")
@click.argument("order")
@click.option("--carrier", required=True, help="The channel's code of the carrier; Other where it has none.")
@click.option("--carrier-name", help="The carrier's name; needed with Other.")
@click.option("--tracking", required=True, help="The tracking number.")
@click.option("--shipped-at", help="When it left, like 2026-11-26T09:30:00+00:00; now where it is left out.")
@click.option("--line", "lines", multiple=True, metavar="LINE=UNITS", help="What is in it; all that is open without.")
@click.option("--package", help="Its number within the order; one that was told before is edited.")
@click.option("--method", help="The carrier's service.")
@click.option("--reason", required=True, help="Why; kept on record.")
@click.option("--shop", help="Name of the shop; needed where there are several.")
def confirm_shipment(
    order: str,
    carrier: str,
    carrier_name: str | None,
    tracking: str,
    shipped_at: str | None,
    lines: tuple[str, ...],
    package: str | None,
    method: str | None,
    reason: str,
    shop: str | None,
) -> None:
    """Have the channel of ORDER told that a package of it left. It is told within the minute, or when it may be."""
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


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CannotConfirm(f"{text!r} is no date and time: write it like 2026-11-26T09:30:00+00:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _units(lines: tuple[str, ...]) -> dict[str, int]:
    units: dict[str, int] = {}
    for line in lines:
        ref, _, count = line.rpartition("=")
        if not ref or not count.isdecimal():
            raise CannotConfirm(f"{line!r} is no line with its units: write it like 41234567890=2")
        units[ref] = units.get(ref, 0) + int(count)
    return units
