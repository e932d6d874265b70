"""At how many available units a pool goes into escrow: drawn from its listings' rules and from what was measured."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import execute, fetch
from core.inventory.escrow import ALWAYS, PoolKey
from core.inventory.planner import MODES, Mode, Pace, switch_line

DOUBT_SECONDS = 95.0
"""How long a sale may be unseen elsewhere when a notice is lost, before it was measured: what makes stock scarce."""


def lock(conn: Connection, shop_id: int) -> None:
    """Be the only one who draws lines in the shop: what one read must not be written over what another drew since.

    Before any level; `draw_lines` does it for whoever holds none.
    """
    fetch(conn, "select pg_advisory_xact_lock(hashtextextended('lines:' || %(shop)s, 0))", shop=shop_id)


def draw_lines(conn: Connection, shop_id: int, sku_ids: Collection[int] | None = None) -> int:
    """Work out at how many available units each pool goes into escrow; returns how many lines changed.

    From the modes of its listings, the strictest of them, and for adaptive from what the rule says or was measured.
    `sku_ids` None: the whole shop. Levels are locked in their order.
    """
    lock(conn, shop_id)
    wanted: dict[PoolKey, int | None] = {}
    rows = fetch(conn, _MODES, shop=shop_id, skus=None if sku_ids is None else sorted(sku_ids))
    by_pool: dict[PoolKey, list[RowMapping]] = {}
    for row in rows:
        by_pool.setdefault((row["sku_id"], row["location_id"]), []).append(row)
    for pool, takers in by_pool.items():
        wanted[pool] = line_of(takers)
    ordered = sorted(pool for pool, takers in by_pool.items() if wanted[pool] != takers[0]["escrow_line_units"])
    if not ordered:
        return 0
    params = {
        "shop": shop_id,
        "skus": [sku for sku, _ in ordered],
        "places": [place for _, place in ordered],
        "lines": [wanted[pool] for pool in ordered],
    }
    return execute(
        conn,
        """
        with found as (
            select k.sku_id, k.location_id, n.line from stock_levels k
            join unnest(%(skus)b::int8[], %(places)b::int8[], %(lines)b::int4[]) as n (sku_id, location_id, line)
                on k.sku_id = n.sku_id and k.location_id = n.location_id
            where k.shop_id = %(shop)s order by k.sku_id, k.location_id for update of k
        )
        update stock_levels k set escrow_line_units = found.line from found
        where k.shop_id = %(shop)s and k.sku_id = found.sku_id and k.location_id = found.location_id
        """,
        **params,
    )


# Listings that share a pool of ours; a till, and what is not our stock, have their location to themselves.
_MODES = """
    select * from (
        select k.sku_id, k.location_id, k.escrow_line_units, l.mode, l.switch_units, l.sales_per_hour, t.units_each,
            c.guarantee_class, c.doubt_seconds, l.id as listing_id,
            bool_or(l.mode <> 'pooled') over (partition by k.sku_id, k.location_id) as is_shared
        from pool_takers t
        join stock_levels k on k.shop_id = t.shop_id and k.sku_id = t.sku_id and k.location_id = t.location_id
        join locations p on p.shop_id = k.shop_id and p.id = k.location_id and p.kind = 'own'
        join listings l on l.shop_id = t.shop_id and l.id = t.listing_id
        join connections c on c.shop_id = l.shop_id and c.id = l.connection_id
        where t.shop_id = %(shop)s and l.publishing = 'on'
            and (%(skus)b::int8[] is null or t.sku_id = any(%(skus)b::int8[]))
    ) taker where is_shared or escrow_line_units is not null
    order by sku_id, location_id, listing_id
"""


def line_of(takers: Sequence[RowMapping]) -> int | None:
    """The line of one pool from its listings (columns of `_MODES`); None where it is pooled."""
    mode: Mode = max((row["mode"] for row in takers), key=MODES.index)
    if mode == "pooled":
        return None
    if mode == "escrow":
        return ALWAYS
    said = [row["switch_units"] for row in takers if row["switch_units"] is not None]
    # Class B keeps a share of its own even of plenty: what it sells unseen is no other's.
    paces = [
        Pace((row["sales_per_hour"] or 0.0) * row["units_each"], row["doubt_seconds"] or DOUBT_SECONDS)
        for row in takers
        if row["guarantee_class"] == "A"
    ]
    return min(switch_line(max(said) if said else None, paces), ALWAYS - 1)
