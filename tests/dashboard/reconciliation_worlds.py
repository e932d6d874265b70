"""Shops for the Reconciliation screen: nothing compared, everything equal, and much that differs at two channels."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core.db import execute, fetch, scalar
from tests.factories import (
    World,
    book,
    make_channel_listing,
    make_connection,
    make_order,
    make_shop,
    make_world,
    set_row,
    take_in,
    world_of,
)

TITLES = {
    "MUG-BLUE": "Stoneware mug, blue",
    "MUG-RED": "Stoneware mug, red",
    "CUP": "Espresso cup, white",
    "JUG": "Water jug <1 l> & lid",
    "TEA-50": "Breakfast tea, 50 bags",
    "LAMP": "Reading lamp, brass",
}


def quiet(conn: Connection) -> int:
    """A shop whose channel has been connected, and nothing has been compared."""
    shop_id = make_shop(conn)
    make_connection(conn, shop_id, name="Shopify UK")
    return shop_id


def equal(conn: Connection) -> World:
    """A shop of which everything that was read was equal."""
    world = stocked(conn)
    for kind, compared in (("stock", 1204), ("orders", 87)):
        ran(conn, world, kind, compared=compared)
    return world


def stocked(conn: Connection) -> World:
    world = make_world(conn, dict.fromkeys(TITLES, 20))
    set_row(conn, "connections", world.connection.id, name="Shopify UK", catalogue_read_at=world.connection.created_at)
    for code, title in TITLES.items():
        set_row(conn, "skus", world.skus[code], title=title)
        set_row(conn, "listings", world.listings[code], title=title)
    return world


def ran(conn: Connection, world: World, kind: str, *, state: str = "done", hours: float = 1, **more: Any) -> int:
    """A comparison of the world's connection; returns its sync run."""
    is_open = state not in ("done", "failed")
    sync_run_id = scalar(
        conn,
        """
        insert into sync_runs (shop_id, connection_id, kind, trigger, requested_by, reason, state, step, done, total,
            counts, requested_at, started_at, heartbeat_at, ended_at, error)
        values (%(shop)s, %(connection)s, %(kind)s, 'click', 'ada', 'A sale looks wrong', %(state)s, 'reading orders',
            600, 1204, %(counts)s, now() - %(h)s * interval '1 hour', now() - %(h)s * interval '1 hour', now(),
            case when %(open)s then null else now() - %(h)s * interval '1 hour' end, %(error)s) returning id
        """,
        shop=world.shop_id,
        connection=world.connection.id,
        kind=f"reconcile_{kind}",
        state="running" if is_open else state,
        counts=Jsonb({"orders": 87, "differ": 2, "resolved": 1} if kind == "orders" else {"listings": 1204}),
        h=hours,
        open=is_open,
        error=more.get("error"),
    )
    execute(
        conn,
        """
        insert into reconciliation_runs (shop_id, connection_id, kind, sync_run_id, state, observed, compared, found,
            requested_by, reason, requested_at, started_at, read_at, ended_at, error)
        values (%(shop)s, %(connection)s, %(kind)s, %(run)s, %(state)s, %(compared)s, %(compared)s, %(found)s, 'ada',
            'A sale looks wrong', now() - %(h)s * interval '1 hour', now(),
            case when %(state)s = 'done' then now() - %(h)s * interval '1 hour' end,
            case when %(open)s then null else now() - %(h)s * interval '1 hour' end, %(error)s)
        """,
        shop=world.shop_id,
        connection=world.connection.id,
        kind=kind,
        run=sync_run_id,
        state=state,
        compared=more.get("compared", 1204),
        found=more.get("found", 0),
        h=hours,
        open=is_open,
        error=more.get("error"),
    )
    return int(sync_run_id)


def differs(conn: Connection, world: World, key: str, cause: str, ours: int | None, theirs: int | None, *,
            hours: float = 3, gone: float | None = None, **more: Any) -> int:  # fmt: skip
    """One discrepancy of `key` (a code of the world, or an order's id), seen first so many hours ago."""
    is_stock = key in world.skus
    values = {
        "kind": "stock" if is_stock else "order",
        "subject": Jsonb({} if is_stock else {"ref": key, "name": f"#{key}"}),
        "listing_id": world.listings.get(key),
        "sku_id": world.skus.get(key),
        "unit": "units",
        "currency": None,
        "action": "asked",
        "asked_because": "flagged",
        "times_seen": 2,
        "corrections": 0,
        "state": "open",
        "order_id": None,
        "reason": None,
        **more,
    }
    columns = ", ".join(values)
    discrepancy_id = scalar(
        conn,
        f"""
        insert into discrepancies (shop_id, connection_id, subject_key, cause, ours, theirs, first_seen_at,
            last_seen_at, resolved_at, resolved_by, resolved_because, {columns})
        values (%(shop)s, %(connection)s, %(key)s, %(cause)s, %(ours)s, %(theirs)s,
            now() - %(hours)s * interval '1 hour', now() - least(1, %(hours)s) * interval '1 hour',
            now() - %(gone)s::float8 * interval '1 hour',
            case when %(gone)s::float8 is not null then 'reconciliation' end,
            case when %(gone)s::float8 is not null then 'healed' end,
            {", ".join(f"%({name})s" for name in values)}) returning id
        """,
        shop=world.shop_id,
        connection=world.connection.id,
        key=key,
        cause=cause,
        ours=ours,
        theirs=theirs,
        hours=hours,
        gone=gone,
        **values,
    )
    execute(
        conn,
        """
        insert into discrepancy_events (shop_id, discrepancy_id, at, what, cause, ours, theirs, who, words)
        values (%(shop)s, %(id)s, now() - %(hours)s * interval '1 hour', 'seen', %(cause)s, %(ours)s, %(theirs)s,
            'reconciliation', 'seen by a run')
        """,
        shop=world.shop_id,
        id=discrepancy_id,
        hours=hours,
        cause=cause,
        ours=ours,
        theirs=theirs,
    )
    return int(discrepancy_id)


def money(theirs: int | None, ours: int | None = None) -> dict[str, Any]:
    side = {"lines": 1, "units": 3, "currency": "GBP", "refunds": 0, "refunded_minor": 0, "is_cancelled": False}
    subject = {
        "theirs": None if theirs is None else {**side, "total_minor": theirs},
        "ours": None if ours is None else {**side, "total_minor": ours},
    }
    return {"unit": "minor", "currency": "GBP", "subject": subject}


def order_differs(
    conn: Connection, world: World, ref: str, cause: str, ours: int | None, theirs: int | None, **more: Any
) -> int:
    shown = money(theirs, ours)
    subject = {"ref": ref, "name": f"#{ref}", **{k: v for k, v in shown.pop("subject").items() if v}}
    values: dict[str, Any] = {"asked_because": "by_hand", **shown, **more, "subject": Jsonb(subject)}
    return differs(conn, world, ref, cause, ours, theirs, **values)


def busy(conn: Connection, many: int = 0) -> World:
    """A shop with discrepancies of every sort at its Shopify and its Amazon, a brake, a stopped loop, and a run."""
    world = stocked(conn)
    ran(conn, world, "stock", compared=1204, found=9, hours=2)
    ran(conn, world, "orders", compared=87, found=4, hours=9)
    book(conn, world, make_order("5003"))
    known = fetch(conn, "select id from orders where shop_id = %(s)s and channel_ref = '5003'", s=world.shop_id)[0][
        "id"
    ]
    differs(conn, world, "MUG-BLUE", "channel_edit", 20, 26, hours=30)
    differs(conn, world, "MUG-RED", "channel_edit", 20, 14, hours=5)
    differs(conn, world, "CUP", "lost_write", 18, 20, asked_because="loop", corrections=3, times_seen=7, hours=72)
    differs(conn, world, "JUG", "mapping", 20, None, asked_because="by_hand", hours=26)
    differs(conn, world, "TEA-50", "sale_unseen", 20, 17, action="waits", asked_because=None, hours=0.2, times_seen=1)
    differs(conn, world, "LAMP", "real_loss", 20, 19, action="ignored", asked_because=None, state="accepted",
            reason="broken at the channel’s desk", hours=120)  # fmt: skip
    order_differs(conn, world, "5001", "missing_here", None, 2_350, action="healed", asked_because=None, hours=1)
    order_differs(conn, world, "5002", "parked", None, 1_200, hours=28)
    order_differs(conn, world, "5003", "missing_there", 250, None, hours=50, order_id=known)
    order_differs(conn, world, "5004", "refund_missing_there", 250, 0, hours=7, kind="refund")
    for number in range(12):
        differs(conn, world, "LAMP", "lost_write", 20, 20 + number % 5 + 1, hours=160 - number * 11,
                gone=150 - number * 11, action="healed", asked_because=None, state="resolved")  # fmt: skip
    amazon = make_connection(
        conn, world.shop_id, name="Amazon UK", vendor="amazon", is_sku_source=False, guarantee_class="B",
        locations={"place:1": world.location_id},
    )  # fmt: skip
    take_in(conn, amazon, [make_channel_listing(code, 4 + n) for n, code in enumerate(("MUG-BLUE", "MUG-RED"))])
    there = world_of(conn, amazon)
    for code, listing_id in there.listings.items():
        set_row(conn, "listings", listing_id, title=TITLES[code], desired_units=0)
    for number, code in enumerate(("MUG-BLUE", "MUG-RED")):
        differs(conn, there, code, "channel_edit", 4 + number, 0, asked_because="brake", hours=2 + number)
    execute(
        conn,
        """
        insert into reconciliation_policies (shop_id, connection_id, corrects, set_by, reason, set_at)
        values (%(shop)s, %(connection)s, '{channel_edit}', 'ada', 'nobody edits there', now())
        """,
        shop=world.shop_id,
        connection=amazon.id,
    )
    ran(conn, there, "stock", state="failed", hours=4, error="searchListingsItems: no answer within 20 s")
    for number in range(many):
        order_differs(conn, world, f"6{number:03}", "units", 1, 2, unit="units", currency=None, hours=10 + number)
    return world
