"""Money on the command line: `switchyard money balances|statement|adjust|approve|refuse|chargeback|decide`."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, cast

import click
from sqlalchemy import Connection

from core.audit import Actor
from core.clock import utc_now
from core.commissions import adjusting, disputing, editing, statement_files, statements
from core.commissions.sentences import say_money
from core.db import fetch, read_only, unit_of_work
from core.errors import BadInput
from core.money import to_minor
from workers import console

_SHOP = click.option("--shop", "shop", help="Name of the shop; needed where there are several.")
_DAY = click.DateTime(["%Y-%m-%d"])
_FOLDER = click.Path(file_okay=False, exists=True, path_type=Path)
_REASON = click.option("--reason", required=True, help="Why; kept on record.")


@click.group()
def money() -> None:
    """What parties have earned: balances, statements, adjustments and chargebacks."""


@money.command()
@_SHOP
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def balances(shop: str | None, as_json: bool) -> None:
    """What each party may be paid, and what is held until its buyers can no longer return."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        rows = [dict(row) for row in fetch(conn, _BALANCES, shop=shop_id)]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        payable, held = (say_money(row[name], row["currency"]) for name in ("payable_minor", "held_minor"))
        forward = ", carried forward" if row["payable_minor"] < 0 else ""
        click.echo(f"{row['code']} ({row['name']}): payable {payable}{forward}, held {held}")
    if not rows:
        click.echo("Nothing is earned yet.")


_BALANCES = """
    select p.code, p.name, b.currency, b.payable_minor, b.held_minor
    from party_balances b join parties p on p.shop_id = b.shop_id and p.id = b.party_id
    where b.shop_id = %(shop)s order by 1, 3
"""


@money.command()
@click.argument("party")
@click.option(
    "--from", "first", required=True, type=click.DateTime(["%Y-%m-%d"]), help="First day, in the shop's zone."
)
@click.option(
    "--until", "last", required=True, type=click.DateTime(["%Y-%m-%d"]), help="Last day, which counts in full."
)
@click.option("--format", "form", type=click.Choice(["csv", "xlsx", "html"]), default="csv", show_default=True)
@click.option(
    "--into", type=click.Path(file_okay=False, exists=True, path_type=Path), default=Path("."), help="A folder."
)
@_SHOP
def statement(party: str, first: datetime, last: datetime, form: str, into: Path, shop: str | None) -> None:
    """Write the statement of the PARTY of that code for some days into a file."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        number = editing.party_of(conn, shop_id, party)
        built = statements.build(conn, shop_id, number, _day(first), _day(last), utc_now())
        made = statement_files.make(built, cast(Any, form))
    path = into / made.name
    path.write_bytes(made.content)
    click.echo(f"Written to {path}.")


def _day(told: datetime) -> date:
    return told.date()


@money.command()
@click.argument("party")
@click.argument("amount")
@click.option("--currency", required=True, help="Its three letters, such as GBP.")
@_SHOP
@_REASON
def adjust(party: str, amount: str, currency: str, shop: str | None, reason: str) -> None:
    """Give the PARTY of that code an AMOUNT, such as 12.50; a negative one takes it (write it after --)."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        number = editing.party_of(conn, shop_id, party)
        minor = _minor(amount, currency)
        asked = adjusting.ask(conn, shop_id, number, currency, minor, Actor(console.person(), reason), utc_now())
    what = "is posted" if asked.is_posted else "waits for a second person: `switchyard money approve`"
    click.echo(f"Adjustment {asked.id} of {say_money(minor, currency)} {what}.")


def _minor(amount: str, currency: str) -> int:
    try:
        return to_minor(Decimal(amount), currency)
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise BadInput(f"{amount!r} is no amount: write it like 12.50") from error


@money.command()
@click.argument("adjustment", type=int)
@_SHOP
@_REASON
def approve(adjustment: int, shop: str | None, reason: str) -> None:
    """Post the ADJUSTMENT of that number, which somebody else asked for."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        adjusting.approve(conn, shop_id, adjustment, Actor(console.person(), reason), utc_now())
    click.echo(f"Adjustment {adjustment} is posted.")


@money.command()
@click.argument("adjustment", type=int)
@_SHOP
@_REASON
def refuse(adjustment: int, shop: str | None, reason: str) -> None:
    """Decide against the ADJUSTMENT of that number."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        adjusting.refuse(conn, shop_id, adjustment, Actor(console.person(), reason), utc_now())
    click.echo(f"Adjustment {adjustment} is refused; nothing was posted.")


@money.command()
@click.argument("order")
@click.argument("amount")
@click.option("--ref", required=True, help="The dispute's number at the channel or the bank.")
@_SHOP
@_REASON
def chargeback(order: str, amount: str, ref: str, shop: str | None, reason: str) -> None:
    """Note that a bank took an AMOUNT of an ORDER back, in its currency: whoever earned of it gives it back."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    now = utc_now()
    with unit_of_work(app.engine) as conn:
        order_id, currency = _order(conn, shop_id, order)
        minor = _minor(amount, currency)
        actor = Actor(console.person(), reason)
        number = disputing.record_chargeback(conn, shop_id, order_id, ref, minor, now, actor, now)
    click.echo(f"Chargeback {number} of {say_money(minor, currency)} is booked; once it is decided: `money decide`.")


def _order(conn: Connection, shop_id: int, name: str) -> tuple[int, str]:
    rows = fetch(conn, "select id, currency from orders where shop_id = %(s)s and name = %(n)s", s=shop_id, n=name)
    if len(rows) != 1:
        raise BadInput(f"there {'is no order' if not rows else 'are several orders'} called {name} in this shop")
    return rows[0]["id"], rows[0]["currency"]


@money.command()
@click.argument("chargeback_id", metavar="CHARGEBACK", type=int)
@click.argument("decision", type=click.Choice(["won", "lost"]))
@_SHOP
@_REASON
def decide(chargeback_id: int, decision: str, shop: str | None, reason: str) -> None:
    """Note how the bank decided a CHARGEBACK: what was won comes back to whoever gave it."""
    app = console.application()
    shop_id = console.shop_of(app, shop)
    with unit_of_work(app.engine) as conn:
        actor = Actor(console.person(), reason)
        disputing.decide_chargeback(conn, shop_id, chargeback_id, decision == "won", actor, utc_now())
    click.echo(f"Chargeback {chargeback_id} is {decision}.")
