"""`switchyard notices`: who is told of what; add, test and remove a channel."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import click
from sqlalchemy.engine import RowMapping

from core.alerts.terms import KINDS
from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.db import fetch, fetch_one, read_only, unit_of_work
from core.errors import BadInput
from core.letters import SEVERITIES, Address
from core.messaging import notice_addresses, notice_channels, outbox
from core.messaging.notice_channels import RHYTHMS, Wishes
from core.messaging.notices import BESIDES_ALERTS
from workers import console

_SHOP = click.option("--shop", help="Name of the shop; needed where there are several.")
_LEAST = click.Choice(SEVERITIES)
_RHYTHM = click.Choice([name.replace("_", "-") for name in RHYTHMS])
_AN_HOUR = click.IntRange(1, notice_channels.AN_HOUR_MAX)
_BEYOND = "What is beyond that is gathered into one message."
_WISHES = (
    click.argument("name"),
    click.option("--kind", "kinds", multiple=True, help="Only of this kind, such as stuck_change; may be repeated."),
    click.option("--least", "least_severity", type=_LEAST, default="attention", help="Only what is at least so bad."),
    click.option("--rhythm", type=_RHYTHM, default="at-once", help="At once, or gathered into a digest."),
    click.option("--hour", "daily_hour", type=click.IntRange(0, 23), help="Of a daily digest, in the shop's zone."),
    click.option("--most-an-hour", type=_AN_HOUR, default=20, show_default=True, help=_BEYOND),
    _SHOP,
    click.option("--reason", required=True, help="Why; kept on record."),
)


def _wishing(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_WISHES):
        command = option(command)
    return command


@click.group(invoke_without_command=True)
@_SHOP
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def notices(context: click.Context, shop: str | None, as_json: bool) -> None:
    """Show who is told of what: each channel, what waits for it, and how it last answered."""
    if context.invoked_subcommand is not None:
        return
    app = console.application()
    with read_only(app.engine) as conn:
        rows = fetch(
            conn,
            "select * from notice_channel_list where shop_id = %(shop)s order by lower(name)",
            shop=console.shop_of(app, shop),
        )
    if as_json:
        click.echo(json.dumps([dict(row) for row in rows], default=str, indent=2))
        return
    for row in rows:
        click.echo(_line(row))
    if not rows:
        default = "at the installation's address" if app.settings.notice_url else "nowhere: nobody hears of anything"
        click.echo(f"No channel is set up. Notices go {default}.")


def _line(row: RowMapping) -> str:
    kinds = "everything" if row["kinds"] is None else ", ".join(row["kinds"])
    rhythm = {"at_once": "at once", "hourly": "hourly", "daily": f"daily at {row['daily_hour']}:00"}[row["rhythm"]]
    heard = f"last heard {console.moment(row['last_success_at'])}" if row["last_success_at"] else "never tried"
    parts = [
        f"{row['name']} ({row['medium']}, {row['shown']}): {kinds} from {row['least_severity']} on, {rhythm},"
        f" at most {row['most_an_hour']} an hour; {heard}",
        "paused" if row["is_quiet"] else "",
        f"{row['held']} held" if row["held"] else "",
        f"{row['dead']} undeliverable" if row["dead"] else "",
        f"last error {console.moment(row['last_error_at'])}: {row['last_error']}" if row["last_error"] else "",
    ]
    return "; ".join(part for part in parts if part)


@notices.group()
def add() -> None:
    """Set up another channel: slack, or mail."""


@add.command()
@_wishing
@click.option("--url", envvar="SWITCHYARD_SLACK_URL", prompt="Webhook address (not shown)", hide_input=True,
              help="Better typed, or in the environment, than in a command that others can read.")  # fmt: skip
def slack(url: str, **given: Any) -> None:
    """Tell a Slack channel, or what takes messages as Slack's incoming webhooks do."""
    _add(notice_addresses.slack(url), given)


@add.command()
@_wishing
@click.option("--host", required=True, help="The mail server: a name or an IP address.")
@click.option("--port", type=int, help="By default the usual one: 587, 465 with tls.")
@click.option("--security", type=click.Choice(list(notice_addresses.SECURITIES)), default="starttls", show_default=True,
              help="None only to a server on this machine.")  # fmt: skip
@click.option("--from", "sender", required=True, help="Whom it is from; the server has to let it through.")
@click.option("--to", "recipients", multiple=True, required=True, help="Whom it goes to; may be repeated.")
@click.option("--user", help="Where the server asks for one; then the password is asked for.")
@click.option("--password", envvar="SWITCHYARD_MAIL_PASSWORD", help="Better typed, or in the environment.")
def mail(
    host: str,
    port: int | None,
    security: str,
    sender: str,
    recipients: tuple[str, ...],
    user: str | None,
    password: str | None,
    **given: Any,
) -> None:
    """Tell people by mail."""
    if user and not password:
        password = click.prompt("Password (not shown)", hide_input=True)
    _add(
        notice_addresses.mail(
            host,
            notice_addresses.PORTS[security] if port is None else port,
            security,
            sender,
            recipients,
            user,
            password if user else None,
        ),
        given,
    )


def _add(address: Address, given: dict[str, Any]) -> None:
    app = console.application()
    wishes = Wishes(
        given["name"],
        tuple(_known(kind) for kind in given["kinds"]) or None,
        given["least_severity"],
        given["rhythm"].replace("-", "_"),
        given["daily_hour"],
        given["most_an_hour"],
    )
    actor = Actor(console.person(), given["reason"])
    shop_id = console.shop_of(app, given["shop"])
    with unit_of_work(app.engine) as conn:
        notice_channels.add(conn, shop_id, wishes, address, app.settings.secret_keys, actor, utc_now())
    click.echo(f"{wishes.name} is told from now on. Try it: switchyard notices test {wishes.name!r}")


def _known(kind: str) -> str:
    """The kind, if anything of it is ever said: else its channel would never be told. Raises BadInput."""
    there = sorted({*KINDS, *BESIDES_ALERTS})
    if kind.strip().lower() not in there:
        raise BadInput(f"nothing of the kind {kind} is ever said; kinds are: {', '.join(there)}")
    return kind


@notices.command()
@click.argument("name")
@_SHOP
@click.option("--reason", default="does it arrive", show_default=True, help="Why; kept on record.")
def test(name: str, shop: str | None, reason: str) -> None:
    """Send a message to a channel now, and show what it answers; exit status 1 when it does not take it."""
    app = console.application()
    shop_id, channel_id = _channel(app, shop, name)
    with unit_of_work(app.engine) as conn:
        message_id = notice_channels.test(conn, shop_id, channel_id, Actor(console.person(), reason), utc_now())
    # By the road that the relay takes, and here: a worker that is quicker has sent it then.
    outbox.relay_one(app.engine, app.sender(), utc_now(), only=message_id)
    with read_only(app.engine) as conn:
        row = fetch_one(
            conn,
            "select state, answer, last_error from notice_log where shop_id = %(shop)s and message_id = %(id)s",
            shop=shop_id,
            id=message_id,
        )
    assert row is not None, "it was queued a moment ago"
    if row["state"] == "sent":
        click.echo(f"{name} took it: {row['answer']}" + (f"; but {row['last_error']}" if row["last_error"] else ""))
        return
    click.echo(f"{name} did not take it: {row['last_error'] or 'a worker is at it: look again'}")
    sys.exit(1)


@notices.command()
@click.argument("name")
@_SHOP
@click.option("--reason", required=True, help="Why; kept on record.")
def pause(name: str, shop: str | None, reason: str) -> None:
    """Tell a channel nothing until it is resumed; what comes meanwhile is kept."""
    _set_quiet(name, shop, True, reason)
    click.echo(f"{name} is told nothing until it is resumed. What comes meanwhile is kept.")


@notices.command()
@click.argument("name")
@_SHOP
@click.option("--reason", required=True, help="Why; kept on record.")
def resume(name: str, shop: str | None, reason: str) -> None:
    """Tell a paused channel again; what came meanwhile goes in one message."""
    held = _set_quiet(name, shop, False, reason)
    kept = f" {held:,} {'notice was' if held == 1 else 'notices were'} kept and go in one message." if held else ""
    click.echo(f"{name} is told again.{kept}")


def _set_quiet(name: str, shop: str | None, is_quiet: bool, reason: str) -> int:
    app = console.application()
    shop_id, channel_id = _channel(app, shop, name)
    with unit_of_work(app.engine) as conn:
        return notice_channels.set_quiet(
            conn, shop_id, channel_id, is_quiet, Actor(console.person(), reason), utc_now()
        )


@notices.command()
@click.argument("name")
@_SHOP
@click.option("--reason", required=True, help="Why; kept on record.")
def remove(name: str, shop: str | None, reason: str) -> None:
    """Tell a channel nothing ever again, and forget its address."""
    app = console.application()
    shop_id, channel_id = _channel(app, shop, name)
    with unit_of_work(app.engine) as conn:
        notice_channels.remove(conn, shop_id, channel_id, Actor(console.person(), reason), utc_now())
    click.echo(f"{name} is told nothing any more, and its address is forgotten. What was said stays on record.")


def _channel(app: Application, shop: str | None, name: str) -> tuple[int, int]:
    """(shop id, channel id). Raises BadInput."""
    shop_id = console.shop_of(app, shop)
    with read_only(app.engine) as conn:
        rows = fetch(
            conn,
            "select channel_id, name from notice_channel_list where shop_id = %(shop)s order by name",
            shop=shop_id,
        )
    found = [row["channel_id"] for row in rows if row["name"].lower() == name.lower()]
    if not found:
        known = ", ".join(row["name"] for row in rows) or "none yet: `switchyard notices add`"
        raise BadInput(f"there is no notice channel {name}; channels: {known}")
    return shop_id, found[0]
