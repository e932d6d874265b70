"""`switchyard connect klaviyo`."""

from __future__ import annotations

from shlex import quote
from typing import Any

import click

from core.bootstrap import Application
from core.connections import checkup
from core.errors import BadInput, Permanent, Retryable
from core.logs import mask
from core.policies import operations as policies
from core.targets.queries import TARGET_CLASS
from workers import console
from workers.connecting import MODES, Asked, Choice, NotRight, connect_now, said, say
from workers.jobs.targets import request_full

_STEP_UNANSWERED = "look whether this machine may call out to a.klaviyo.com, then try again"
_STEP_REFUSED = (
    "in Klaviyo, Settings, API keys: make a private key with accounts:read, catalogs:read and catalogs:write"
)


@click.command()
@click.option("--key", envvar="KLAVIYO_PRIVATE_KEY", prompt="Private API key (not shown)", hide_input=True,
              help="Better typed, or in the environment, than in a command that others can read.")  # fmt: skip
@click.option("--storefront", help="Address of the shop that products' pages are at, for those without their own.")
@click.option("--hide-out-of-stock/--show-out-of-stock", default=None,
              help="Whether recommendations leave out what is out of stock; they do not until it is said.")  # fmt: skip
@click.option("--name", default="Klaviyo", show_default=True, help="What to call the connection here.")
@click.option("--shop", help="The shop here whose catalogue it is told; made when there is none.")
@click.option("--base-url", envvar="KLAVIYO_BASE_URL", default="https://a.klaviyo.com", show_default=True,
              help="Another address than Klaviyo's: a sandbox.")  # fmt: skip
@click.option("--clock-factor", type=click.FloatRange(min=0.01), help="Of a sandbox that hurries.")
@click.option("--reason", default="connect Klaviyo", show_default=True, help="Why; kept on record.")
@click.option("--store-anyway", is_flag=True, help="Store it though something is not right.")
def klaviyo(
    key: str,
    storefront: str | None,
    hide_out_of_stock: bool | None,
    name: str,
    shop: str | None,
    base_url: str,
    clock_factor: float | None,
    reason: str,
    store_anyway: bool,
) -> None:
    """Connect an account of Klaviyo's, to be told the catalogue, with a private key."""
    app = console.application()
    # What is not said stays as it was: a key is entered again by the same command.
    settings: dict[str, Any] = {}
    if hide_out_of_stock is not None:
        settings["hide_out_of_stock"] = hide_out_of_stock
    if storefront is not None:
        settings["storefront_url"] = _address(storefront)
    if clock_factor is not None:
        settings["clock_factor"] = clock_factor
    secrets, address = {"private_key": key.strip()}, base_url.rstrip("/")
    asked = Asked(
        vendor="klaviyo",
        account_ref=_account(app, address, settings, secrets),
        base_url=address,
        name=said("--name", name),
        guarantee_class=TARGET_CLASS,
        secrets=secrets,
        settings=settings,
        step_unanswered=_STEP_UNANSWERED,
        step_refused=_STEP_REFUSED,
    )
    mode = MODES[policies.DEFAULT_MODE]
    choice = Choice(None if shop is None else said("--shop", shop), mode, reason, console.person(), store_anyway)
    row = connect_now(app, asked, choice)
    request_full(app, row, "click", choice.actor)
    click.echo("What it holds is read and compared now; nothing is written.")
    click.echo(
        f"Next: `switchyard klaviyo status {quote(row.name)}` shows what it would be told, and"
        f" `switchyard klaviyo live {quote(row.name)} --reason ...` has it told."
    )


def _account(app: Application, base_url: str, settings: dict[str, Any], secrets: dict[str, str]) -> str:
    """The account that the key opens: nobody has to look its id up. Raises NotRight."""
    try:
        return app.probe("klaviyo", base_url, "", "", settings, secrets).account.ref
    except (Permanent, Retryable) as error:
        step = _STEP_UNANSWERED if isinstance(error, Retryable) else _STEP_REFUSED
        words = mask(str(error).replace(secrets["private_key"], "***"))
        say([checkup.problem("answer", words, step)])
        raise NotRight("Klaviyo") from None


def _address(typed: str) -> str:
    """Raises BadInput for what is no address."""
    text = typed.strip().rstrip("/")
    if not text.startswith(("https://", "http://")) or "." not in text:
        raise BadInput(f"--storefront {typed} is no address of a shop: give it whole, such as https://shop.example")
    return text
