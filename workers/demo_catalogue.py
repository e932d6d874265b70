"""The demo's catalogue: read from the sandbox's shop, and told to its Klaviyo account."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.audit import Actor
from core.bootstrap import Application
from core.clock import utc_now
from core.connections import operations as connections
from core.connections.operations import NewConnection
from core.connections.queries import ConnectionRow
from core.db import scalar, unit_of_work
from core.runs import control
from core.targets.queries import TARGET_CLASS
from workers.hints import ring_once

NAME = "Klaviyo"


def set_up(app: Application, sandbox_url: str, world: Mapping[str, Any], shopify: ConnectionRow, actor: Actor) -> None:
    """Have the shop's products read, and Klaviyo told them from then on; safe to repeat, waits for nobody."""
    account = world["klaviyo"][0]
    now = utc_now()
    new = NewConnection(
        vendor="klaviyo",
        name=NAME,
        base_url=f"{sandbox_url}/klaviyo",
        account_ref=account["public_key"],
        guarantee_class=TARGET_CLASS,
        settings={
            "clock_factor": world["clock_factor"],
            "storefront_url": f"https://{shopify.account_ref}",
            "hide_out_of_stock": True,
        },
        secrets={"private_key": account["private_key"]},
    )
    with unit_of_work(app.engine) as conn:
        connections.connect(conn, shopify.shop_id, new, app.settings.secret_keys, actor, now)
        if scalar(conn, "select count(*) from products where shop_id = %(shop)s", shop=shopify.shop_id):
            return
        run_id = control.start(conn, shopify.shop_id, shopify.id, "read_products", actor, now)
    ring_once(app, "products.read", shop_id=shopify.shop_id, connection_id=shopify.id, sync_run_id=run_id)
