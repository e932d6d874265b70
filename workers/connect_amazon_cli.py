"""`switchyard connect amazon`: a seller's account in one marketplace."""

from __future__ import annotations

import click

from core import bootstrap
from core.bootstrap import Application
from core.connections.queries import ConnectionRow
from core.errors import BadInput
from core.policies import operations as policies
from workers import console
from workers.connecting import (
    MODES,
    Asked,
    Choice,
    connect_now,
    held_subscriptions,
    look_at_queue,
    read_soon,
    said,
    subscribe,
)

_REGIONS = tuple(bootstrap.amazon_regions())


@click.command()
@click.option("--marketplace", envvar="AMAZON_MARKETPLACE", prompt="Marketplace (its id, or a country such as GB)",
              help="Where it sells. One connection stands for one marketplace.")  # fmt: skip
@click.option("--seller-id", envvar="AMAZON_SELLER_ID", prompt="Seller ID (Seller Central, Account Info)",
              help="The seller's own id, also called merchant token.")  # fmt: skip
@click.option("--client-id", envvar="AMAZON_CLIENT_ID", prompt="LWA client ID of your app",
              help="From the app's LWA credentials.")  # fmt: skip
@click.option("--client-secret", envvar="AMAZON_CLIENT_SECRET", prompt="LWA client secret (not shown)", hide_input=True,
              help="Better typed, or in the environment, than in a command that others can read.")  # fmt: skip
@click.option("--refresh-token", envvar="AMAZON_REFRESH_TOKEN", prompt="Refresh token (not shown)", hide_input=True,
              help="What authorising the app in Seller Central gave.")  # fmt: skip
@click.option("--queue-url", envvar="AMAZON_QUEUE_URL", help="The SQS queue that Amazon tells us by; may come later.")
@click.option("--queue-region", help="The AWS region of the queue, where its address does not say it.")
@click.option("--aws-access-key-id", envvar="AMAZON_AWS_ACCESS_KEY_ID", help="A key that may read the queue.")
@click.option("--aws-secret-access-key", envvar="AMAZON_AWS_SECRET_ACCESS_KEY", help="Its secret; not typed.")
@click.option("--name", help="What to call the connection here. By default Amazon and the country.")
@click.option("--shop", help="The shop here that it belongs to; made when there is none. By default what Amazon says.")
@click.option("--mode", type=click.Choice(sorted(MODES)), default=policies.DEFAULT_MODE, show_default=True,
              help="How a shop that is new shares its stock over channels.")  # fmt: skip
@click.option("--region", type=click.Choice(_REGIONS), help="Of a marketplace that is new to us.")
@click.option("--own-skus", is_flag=True,
              help="No other marketplace of the seller's in the region lists the SKUs of this one.")  # fmt: skip
@click.option("--base-url", envvar="AMAZON_BASE_URL", help="Another address than the region's: a sandbox.")
@click.option("--lwa-url", help="Another address than that of Login with Amazon: a sandbox.")
@click.option("--sqs-endpoint", help="Another address than that of AWS: a sandbox.")
@click.option("--clock-factor", type=click.FloatRange(min=0.01), help="Of a sandbox that hurries.")
@click.option("--reason", default="connect a seller", show_default=True, help="Why; kept on record.")
@click.option("--store-anyway", is_flag=True, help="Store it though something is not right.")
def amazon(
    marketplace: str,
    seller_id: str,
    client_id: str,
    client_secret: str,
    refresh_token: str,
    queue_url: str | None,
    queue_region: str | None,
    aws_access_key_id: str | None,
    aws_secret_access_key: str | None,
    name: str | None,
    shop: str | None,
    mode: str,
    region: str | None,
    own_skus: bool,
    base_url: str | None,
    lwa_url: str | None,
    sqs_endpoint: str | None,
    clock_factor: float | None,
    reason: str,
    store_anyway: bool,
) -> None:
    """Connect a seller's account at Amazon, in one marketplace, with the credentials of your own app."""
    app = console.application()
    place = bootstrap.amazon_marketplace(marketplace, region)
    given = {
        "client_id": client_id,
        "client_secret": client_secret,
        "refresh_token": refresh_token,
        "aws_access_key_id": aws_access_key_id,
        "aws_secret_access_key": aws_secret_access_key,
    }
    chosen = {
        "marketplace_id": place.ref,
        "region": place.region,
        "queue_url": queue_url,
        "queue_region": queue_region,
        "lwa_url": lwa_url,
        "sqs_endpoint": sqs_endpoint,
        "clock_factor": clock_factor,
        "own_skus": True if own_skus else None,
    }
    asked = Asked(
        vendor="amazon",
        account_ref=_seller(seller_id),
        base_url=place.address(base_url),
        name=said("--name", name if name is not None else f"Amazon {place.country}".strip()),
        guarantee_class="B",
        secrets={key: value.strip() for key, value in given.items() if value and value.strip()},
        settings={key: value for key, value in chosen.items() if value is not None},
        step_unanswered="check that this machine may call out, and try again; of a quota that is used up, in a minute",
        step_refused="check that client ID, secret and refresh token are of one app, that the seller authorised it in"
        " the region of this marketplace, and that it has its roles (docs/amazon.md)",
        # Numbers of a shop that has a source of SKUs already are not taken over from here.
        begins_with={"is_sku_source_if_alone": True},
    )
    shop = None if shop is None else said("--shop", shop)
    choice = Choice(shop, MODES[mode], reason, console.person(), store_anyway)
    row = connect_now(app, asked, choice, look_at_queue(app, asked, choice, place.aws_region))
    _subscribe(app, row)
    read_soon(app, row, choice.actor)


def _seller(said_id: str) -> str:
    """The seller's id as Amazon spells it. Raises BadInput."""
    cleaned = said_id.strip().upper()
    if not cleaned.isascii() or not cleaned.isalnum():
        raise BadInput(
            f"{said_id.strip() or 'nothing'} is no seller ID: it is letters and digits, like A2XXXXXXXXXXXX"
            " (Seller Central: Settings, Account Info, Your Merchant Token)"
        )
    return cleaned


def _subscribe(app: Application, row: ConnectionRow) -> None:
    """Have Amazon put what happens into our queue, where there is one."""
    if row.settings.get("queue_url") and held_subscriptions(app, row) is None:
        subscribe(app, row, "our queue")
