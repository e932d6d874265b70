"""`switchyard connect`: the group, and `connect shopify`."""

from __future__ import annotations

import re

import click

from core.bootstrap import Application
from core.connections import checkup
from core.connections.queries import ConnectionRow
from core.errors import BadInput
from core.policies import operations as policies
from workers import console
from workers.connect_amazon_cli import amazon
from workers.connect_klaviyo_cli import klaviyo
from workers.connecting import MODES, Asked, Choice, connect_now, held_subscriptions, read_soon, said, say, subscribe

_DOMAIN = re.compile(r"[a-z0-9][a-z0-9-]*\.myshopify\.com")


@click.group()
def connect() -> None:
    """Connect a channel: looks at its real answer before anything is stored, and begins in shadow mode."""


connect.add_command(amazon)
connect.add_command(klaviyo)


@connect.command()
@click.option("--domain", envvar="SHOPIFY_SHOP_DOMAIN", prompt="Shop domain (like your-shop.myshopify.com)",
              help="The shop's own domain at Shopify.")  # fmt: skip
@click.option(
    "--client-id", envvar="SHOPIFY_CLIENT_ID", prompt="Client ID of your app", help="From the app's settings."
)
@click.option("--client-secret", envvar="SHOPIFY_CLIENT_SECRET", prompt="Client secret (not shown)", hide_input=True,
              help="Better typed, or in the environment, than in a command that others can read.")  # fmt: skip
@click.option("--name", default="Shopify", show_default=True, help="What to call the connection here.")
@click.option("--shop", help="The shop here that it belongs to; made when there is none. By default what Shopify says.")
@click.option("--mode", type=click.Choice(sorted(MODES)), default=policies.DEFAULT_MODE, show_default=True,
              help="How a shop that is new shares its stock over channels.")  # fmt: skip
@click.option("--base-url", envvar="SHOPIFY_BASE_URL", help="Another address than the domain's: a sandbox.")
@click.option("--clock-factor", type=click.FloatRange(min=0.01), help="Of a sandbox that hurries.")
@click.option("--reason", default="connect a shop", show_default=True, help="Why; kept on record.")
@click.option("--store-anyway", is_flag=True, help="Store it though something is not right.")
def shopify(
    domain: str,
    client_id: str,
    client_secret: str,
    name: str,
    shop: str | None,
    mode: str,
    base_url: str | None,
    clock_factor: float | None,
    reason: str,
    store_anyway: bool,
) -> None:
    """Connect a shop of Shopify's with the client credentials of your own app."""
    app = console.application()
    cleaned = _cleaned(domain)
    asked = Asked(
        vendor="shopify",
        account_ref=cleaned,
        base_url=(base_url or f"https://{cleaned}").rstrip("/"),
        name=said("--name", name),
        guarantee_class="A",
        secrets={"client_id": client_id.strip(), "client_secret": client_secret.strip()},
        settings={} if clock_factor is None else {"clock_factor": clock_factor},
        step_unanswered="check the domain and that this machine may call out, then try again",
        step_refused="check client ID and secret, and that the app is installed in this shop and belongs to its"
        " organisation",
        begins_with={"is_sku_source": True},
    )
    shop = None if shop is None else said("--shop", shop)
    choice = Choice(shop, MODES[mode], reason, console.person(), store_anyway)
    row = connect_now(app, asked, choice)
    _subscribe(app, row)
    read_soon(app, row, choice.actor)


def _cleaned(domain: str) -> str:
    """The domain as Shopify spells it, whatever was copied with it. Raises BadInput."""
    text = re.sub(r"^https?://", "", domain.strip().lower()).split("/")[0]
    if "." not in text:
        text = f"{text}.myshopify.com"
    if not _DOMAIN.fullmatch(text):
        raise BadInput(
            f"{text} is no domain of a shop at Shopify: it ends in .myshopify.com (admin, Settings, Domains)"
        )
    return text


def _subscribe(app: Application, row: ConnectionRow) -> None:
    """Have the shop call us, where it can reach us."""
    if held_subscriptions(app, row) is not None:
        return
    address = checkup.of_public_address(app.settings.api_url)
    if address.state != "ok" and row.base_url.startswith("https://"):
        say([address])
        return
    subscribe(app, row, app.settings.api_url)
