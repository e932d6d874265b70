"""The condition of packages that left, and that their channel refuses to know of or was not told of in time."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.engine import RowMapping

from core.alerts.rules import WORST, Finding, Found, many
from core.alerts.scene import Scene
from core.alerts.terms import UNCONFIRMED
from core.orders import packages


def unconfirmed(scene: Scene) -> Found:
    """Packages that need a person."""
    found = packages.unconfirmed(scene.conn, scene.shop_id)
    return Found([words(found)] if found else [])


def words(found: Sequence[RowMapping]) -> Finding:
    """The condition in words: how many, where, why, and what to do. The channel's own words stay on the page."""
    each = " ".join(
        f"{row['connection']}: {packages.SAYS[row['state']]} ({row['packages']:,}, such as package"
        f" {row['example_package']} of order {row['example_order']}{_code(row)}). {packages.NEXT_STEP[row['state']]}"
        for row in found[:WORST]
    )
    count, orders = sum(row["packages"] for row in found), sum(row["orders"] for row in found)
    channels = {row["connection_id"] for row in found}
    first = found[0]
    only_late = {(first["connection_id"], "late")}
    return Finding(
        UNCONFIRMED,
        "danger",
        f"{many(count, 'package is', 'packages are')} not confirmed",
        each,
        "`switchyard confirm-shipment --list` has every one of them.",
        "orders",
        count,
        {"order": str(first["example_order_id"])},
        first["connection_id"] if len(channels) == 1 else None,
        units=count,
        # The column says over how many; of packages those are orders, as it always was.
        skus=orders,
        orders=orders,
        follows=first["connection_id"]
        if {(row["connection_id"], row["state"]) for row in found} == only_late
        else None,
        worst=_worst(found),
    )


def _code(row: RowMapping) -> str:
    return f": {row['code']}" if row["state"] == "refused" and row["code"] else ""


def _worst(found: Sequence[RowMapping]) -> list[dict[str, object]]:
    return [
        {
            "code": row["example_order"],
            "units": row["packages"],
            "where": row["connection"],
            "why": packages.SAYS[row["state"]],
        }
        for row in found[:WORST]
    ]
