"""`switchyard connect shopify`: ask, look at the real answer, store; one that is new begins in shadow mode."""

from __future__ import annotations

import re
from dataclasses import dataclass
from shlex import quote

import click
from sqlalchemy import Connection

from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import checkup, queries, switches
from core.connections import operations as connections
from core.connections.checkup import Finding, Probe
from core.connections.operations import NewConnection
from core.connections.queries import ConnectionRow
from core.db import fetch_one, read_only, unit_of_work
from core.errors import BadInput, Permanent, Retryable
from core.inventory.planner import Mode
from core.policies import operations as policies
from core.runs import operations as runs
from workers import console
from workers.jobs.subscriptions import check_subscriptions

_DOMAIN = re.compile(r"[a-z0-9][a-z0-9-]*\.myshopify\.com")
_MODES: dict[str, Mode] = {"pooled": "pooled", "adaptive": "adaptive", "escrow": "escrow"}


class NotRight(Permanent):
    """What was given does not work; nothing is stored."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not connected and nothing is stored: mend what is said above, and try again")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a person said about a shop of Shopify's. The secret never shows in a representation."""

    domain: str
    base_url: str
    name: str
    secrets: dict[str, str]
    settings: dict[str, object]

    def __repr__(self) -> str:
        return f"_Asked({self.domain!r})"


@click.group()
def connect() -> None:
    """Connect a channel: looks at its real answer before anything is stored, and begins in shadow mode."""


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
@click.option("--mode", type=click.Choice(sorted(_MODES)), default=policies.DEFAULT_MODE, show_default=True,
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
    asked = _Asked(
        domain=cleaned,
        base_url=(base_url or f"https://{cleaned}").rstrip("/"),
        name=_said("--name", name),
        secrets={"client_id": client_id.strip(), "client_secret": client_secret.strip()},
        settings={} if clock_factor is None else {"clock_factor": clock_factor},
    )
    shop = None if shop is None else _said("--shop", shop)
    probe = _look(app, asked, _known(app, asked, shop), store_anyway=store_anyway)
    currency = _currency(app, shop, probe)
    findings = [] if probe is None else checkup.of_probe(probe, asked.domain, currency or "", utc_now())
    say(findings)
    if any(finding.state == "problem" for finding in findings) and not store_anyway:
        raise NotRight(asked.domain)
    row = _store(app, asked, shop, probe, _MODES[mode], Actor(console.person(), reason))
    with read_only(app.engine) as conn:
        stands = switches.standing(conn, row.shop_id, row.id)
        shops = {each["shop_id"]: each["name"] for each in queries.shops(conn)}
    click.echo(
        f"{row.name} is connected as number {row.id}: {stands.held() or 'it is live, and what differs is written'}."
    )
    _subscribe(app, row)
    _begin_sync(app, row, Actor(console.person(), reason))
    click.echo("A sync is queued: it reads the catalogue, the levels and the open orders.")
    if not stands.is_live:
        named = quote(row.name) + (f" --shop {quote(shops[row.shop_id])}" if len(shops) > 1 else "")
        click.echo(
            f"Next: `switchyard status` until it is read, `switchyard compare {named}`, and when that is right"
            f" `switchyard go-live {named} --reason ...`."
        )


def say(findings: list[Finding]) -> None:
    """Findings as lines: what was looked at, how it is, what to do."""
    for finding in findings:
        mark = {"ok": "  ok    ", "warning": "  note  ", "problem": "  WRONG "}[finding.state]
        click.echo(f"{mark}{finding.about}: {finding.says}")
        if finding.next_step:
            click.echo(f"          {finding.next_step}")


def _said(option: str, name: str) -> str:
    """A name as it is stored: without what cannot be seen around it. Raises BadInput for one of nothing."""
    cleaned = " ".join(name.split())
    if not cleaned:
        raise BadInput(f"{option} is empty: give a name, or leave it out")
    return cleaned


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


def _known(app: Application, asked: _Asked, shop: str | None) -> ConnectionRow | None:
    """The connection whose credentials are entered again."""
    with read_only(app.engine) as conn:
        rows = [
            row
            for each in queries.shops(conn)
            if shop is None or each["name"] == shop
            for row in queries.connections_of(conn, each["shop_id"])
            if (row.vendor, row.name, row.account_ref) == ("shopify", asked.name, asked.domain)
        ]
    return rows[0] if len(rows) == 1 else None


def _look(app: Application, asked: _Asked, known: ConnectionRow | None, *, store_anyway: bool) -> Probe | None:
    """The shop's real answer; None where there is none and it shall be stored anyway."""
    try:
        settings = asked.settings if known is None else {**known.settings, **asked.settings}
        return app.probe("shopify", asked.base_url, asked.domain, "", settings, asked.secrets, known)
    except (Permanent, Retryable) as error:
        say([checkup.problem("answer", _without(asked, str(error)), _step_for(error))])
        if store_anyway:
            return None
        raise NotRight(asked.domain) from None


def _without(asked: _Asked, text: str) -> str:
    """An error's words, should a vendor ever repeat what it was given."""
    for secret in asked.secrets.values():
        text = text.replace(secret, "***") if secret else text
    return text


def _step_for(error: Exception) -> str:
    if isinstance(error, Retryable):
        return "check the domain and that this machine may call out, then try again"
    return "check client ID and secret, and that the app is installed in this shop and belongs to its organisation"


def _currency(app: Application, shop: str | None, probe: Probe | None) -> str | None:
    """The currency of the shop here, or, where it is new, what Shopify says."""
    with read_only(app.engine) as conn:
        known = fetch_one(conn, "select currency from shops where name = %(name)s", name=_shop_name(shop, probe))
    if known is not None:
        return str(known["currency"])
    return None if probe is None else probe.account.currency


def _shop_name(shop: str | None, probe: Probe | None) -> str:
    name = shop or (probe.account.name if probe is not None else None)
    if name is None:
        raise BadInput("the shop did not answer, so it has to be named: give --shop")
    return name


def _store(
    app: Application, asked: _Asked, shop: str | None, probe: Probe | None, mode: Mode, actor: Actor
) -> ConnectionRow:
    now = utc_now()
    name = _shop_name(shop, probe)
    zone = (probe.account.time_zone if probe is not None else None) or "UTC"
    currency = _currency(app, shop, probe) or "USD"
    with unit_of_work(app.engine) as conn:
        shop_id = connections.open_shop(conn, name, zone, currency, actor, now)
        policies.begin_with(conn, shop_id, mode, actor, now)
        _refuse_another_account(conn, shop_id, asked)
        is_known = any(row.name == asked.name for row in queries.connections_of(conn, shop_id))
        new = NewConnection(
            vendor="shopify",
            name=asked.name,
            base_url=asked.base_url,
            account_ref=asked.domain,
            guarantee_class="A",
            settings=asked.settings if is_known else {"is_sku_source": True, **asked.settings},
            secrets=asked.secrets,
            write_mode="shadow",
        )
        connection_id = connections.connect(conn, shop_id, new, app.settings.secret_keys, actor, now)
        return queries.connection(conn, shop_id, connection_id)


def _refuse_another_account(conn: Connection, shop_id: int, asked: _Asked) -> None:
    """A name stands for one account: its numbers and orders would be taken for the other's."""
    for row in queries.connections_of(conn, shop_id):
        if row.name == asked.name and row.account_ref != asked.domain:
            raise BadInput(
                f"{asked.name} is connected to {row.account_ref} already: call this one otherwise with --name"
            )


def _subscribe(app: Application, row: ConnectionRow) -> None:
    """Have the shop call us; where it cannot, polls bring its orders."""
    with read_only(app.engine) as conn:
        why = switches.standing(conn, row.shop_id, row.id).held("subscription")
    address = checkup.of_public_address(app.settings.api_url)
    if why is not None:
        click.echo(f"It is not asked to call us: {why}.")
        return
    if address.state != "ok" and row.base_url.startswith("https://"):
        say([address])
        return
    try:
        with app.channel(row) as channel:
            found = check_subscriptions(app, row, channel)
    except (Permanent, Retryable) as error:
        say(
            [
                checkup.warning(
                    "subscriptions", str(error), "they are tried again hourly; polls bring its orders meanwhile"
                )
            ]
        )
        return
    if found["refused"] or found["missing"]:
        says = f"{found['standing']} topics call us, {found['refused'] + found['missing']} do not"
        say([checkup.warning("subscriptions", says, "`switchyard doctor` says which, and why")])
        return
    click.echo(f"It calls {app.settings.api_url} when something happens ({found['standing']} topics).")
    if found["advised"]:
        says = f"{found['advised']} more would need a scope that is advised"
        say([checkup.warning("subscriptions", says, "`switchyard doctor` says which; it works without")])


def _begin_sync(app: Application, row: ConnectionRow, actor: Actor) -> None:
    with unit_of_work(app.engine) as conn:
        run_id = runs.request_sync(conn, row.shop_id, row.id, "sync_connection", "click", actor, utc_now())
    app.queue.enqueue("connection.sync", shop_id=row.shop_id, connection_id=row.id, sync_run_id=run_id)
