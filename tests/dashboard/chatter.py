"""Outgoing calls to look at: a talkative day with a bad half hour in it, and a million of them to measure with."""

from __future__ import annotations

from sqlalchemy import Connection

from core.db import execute
from tests.dashboard import seed

SHOPIFY = ("Variants", "Items", "Orders", "SetQuantities", "OrderLines", "Locations")
AMAZON = ("searchListingsItems", "getListingsItem", "patchListingsItem", "amazon.token")


def a_day(conn: Connection, shop: int, shopify: int, amazon: int) -> None:
    """Both channels over a day: more by daylight, a few failures of each kind, Amazon refusing of late."""
    for connection, names, per_hour, base in ((shopify, SHOPIFY, 240, 120), (amazon, AMAZON, 90, 420)):
        execute(conn, _DAY, shop=shop, c=connection, names=list(names), calls=per_hour * 24, base=base)
    execute(
        conn,
        "update api_calls set quota_left = ((id * 37) %% 1900 + 100) || ' of 2000', api_version = '2026-07'"
        " where connection_id = %(c)s and outcome = 'ok'",
        c=shopify,
    )
    execute(
        conn,
        "update api_calls set quota_left = '5/s', api_version = '2021-08-01', method = 'GET'"
        " where connection_id = %(c)s and outcome = 'ok'",
        c=amazon,
    )
    run = seed.run(conn, shop, amazon, "failed", error="it was refused", ended_at=seed.now(), started_at=seed.now())
    for second in range(0, 1_300, 60):
        seed.call(
            conn,
            shop,
            amazon,
            seed.ago(minutes=22, seconds=-second),
            "refused",
            operation="patchListingsItem",
            method="PATCH",
            status=403,
            elapsed_ms=95,
            quota_left="5/s",
            error="Unauthorized Access to requested resource is denied [*bold*] <b>no</b> ada@example.com",
            sync_run_id=run,
        )
    seed.call(
        conn,
        shop,
        shopify,
        seed.ago(minutes=3),
        operation="Orders",
        quota_left="1990 of 2000",
        api_version="2026-07",
        deprecation="The field `order.oldTotal` is removed in 2027-01; use `totalPriceSet`",
    )


# A daily rhythm, slow tails, and every two-hundredth call or so something else than good.
_DAY = """
    insert into api_calls (shop_id, connection_id, operation, method, status, outcome, elapsed_ms, attempt, error,
        called_at)
    select %(shop)s, %(c)s, (%(names)s::text[])[1 + (n * 7919) %% array_length(%(names)s::text[], 1)], 'POST',
        case k.kind when 'ok' then 200 when 'throttled' then 429 when 'refused' then 400 when 'error' then 503 end,
        k.kind,
        case when k.kind in ('unknown') then 20000 else
            (%(base)s * (0.7 + ((n * 104729) %% 1000) / 1400.0)
             + case when (n * 31337) %% 100 > 93 then %(base)s * 4 else 0 end)::int end,
        case when k.kind = 'ok' and n %% 50 = 0 then 2 else 1 end,
        case k.kind when 'throttled' then 'THROTTLED Throttled' when 'refused' then 'INVALID the location is unknown'
            when 'error' then 'HTTP_503' when 'unknown' then 'ReadTimeout' end,
        t.at
    from generate_series(1, %(calls)s) n
    cross join lateral (
        select now() - interval '20 seconds' - (86400.0 * (n - 1) / %(calls)s
            + 800 * sin(n / 40.0)) * interval '1 second' as at
    ) t
    cross join lateral (
        select case when n %% 211 = 0 then 'throttled' when n %% 397 = 0 then 'error' when n %% 613 = 0 then 'unknown'
            when n %% 733 = 0 then 'refused' else 'ok' end as kind
    ) k
    where t.at < now()
"""


def a_million(conn: Connection, hours: int, one_bad_in: int, calls: int = 1_000_000, channels: int = 2) -> int:
    """So many calls spread evenly over so many hours and channels, one in so many not good; returns the shop."""
    shop = seed.shop(conn, "Big shop")
    numbers = [seed.connection(conn, shop, f"Channel {n}") for n in range(channels)]
    execute(conn, _MILLION, shop=shop, channels=numbers, calls=calls, hours=hours, n=one_bad_in)
    return shop


_MILLION = """
    insert into api_calls (shop_id, connection_id, operation, method, status, outcome, elapsed_ms, attempt, quota_left,
        api_version, error, called_at)
    select %(shop)s, (%(channels)s::bigint[])[1 + n %% array_length(%(channels)s::bigint[], 1)],
        'operation ' || (n / 2) %% 12, 'POST', case when k.kind = 'ok' then 200 else 500 end, k.kind,
        50 + n %% 397, 1, '1990 of 2000', '2026-07', case when k.kind <> 'ok' then 'HTTP_500' end,
        now() - (%(calls)s - n) * (%(hours)s * 3600.0 / %(calls)s) * interval '1 second'
    from generate_series(1, %(calls)s) n
    cross join lateral (
        select case when n %% %(n)s <> 0 then 'ok'
            else (array['throttled', 'refused', 'error', 'unknown'])[1 + (n / %(n)s) %% 4] end as kind
    ) k
"""
