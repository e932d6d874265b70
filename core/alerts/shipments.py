"""The alert on packages that left, and that their channel refuses to know of or was not told of in time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from psycopg.types.json import Jsonb
from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.alerts.operations import State, follow
from core.alerts.rules import WORST, Step
from core.db import fetch
from core.orders import packages

UNCONFIRMED = "unconfirmed_shipment"


def shops_to_check(conn: Connection) -> list[int]:
    """Shops with a package that its channel does not know, or with an alert on one that is still open."""
    rows = fetch(
        conn, "select distinct shop_id from alerts where kind = %(kind)s and closed_at is null", kind=UNCONFIRMED
    )
    return sorted({*packages.shops_with_unknown(conn), *(row["shop_id"] for row in rows)})


def check(conn: Connection, shop_id: int, address: str, now: datetime, *, is_heard: bool = True) -> Step:
    """Open, keep or close a shop's alert; nobody has to ask for being told."""
    found = packages.unconfirmed(conn, shop_id)
    count, orders = sum(row["packages"] for row in found), sum(row["orders"] for row in found)
    state = State(UNCONFIRMED, 0, count, orders, _worst(found))
    return follow(conn, shop_id, state, lambda shop: notice(shop, found, address), now, is_heard)


def notice(shop: str, found: Sequence[RowMapping], address: str) -> str:
    """What is said when it opens: how many, where, why, and what to do. The channel's own words stay on the page."""
    each = " ".join(
        f"{row['connection']}: {packages.SAYS[row['state']]} ({row['packages']:,}, such as package"
        f" {row['example_package']} of order {row['example_order']}{_code(row)}). {packages.NEXT_STEP[row['state']]}"
        for row in found[:WORST]
    )
    count = sum(row["packages"] for row in found)
    many = "1 package is" if count == 1 else f"{count:,} packages are"
    return f"{shop}: {many} not confirmed. {each} {address}"


def _code(row: RowMapping) -> str:
    return f": {row['code']}" if row["state"] == "refused" and row["code"] else ""


def _worst(found: Sequence[RowMapping]) -> Jsonb:
    return Jsonb(
        [
            {
                "code": row["example_order"],
                "units": row["packages"],
                "where": row["connection"],
                "why": packages.SAYS[row["state"]],
            }
            for row in found[:WORST]
        ]
    )
