"""Failures in numbers for a measurement: parked messages and failed jobs of 50 causes each."""

from __future__ import annotations

from sqlalchemy import Engine

from bench.shop import Shop
from core.db import execute, unit_of_work

CAUSES = 50
_AT_ONCE = 10_000


def fail(engine: Engine, shop: Shop, count: int) -> None:
    """`count` messages that are parked and as many jobs that failed, over the last three days."""
    for first in range(0, count, _AT_ONCE):
        scope = {
            "shop": shop.shop_id,
            "connection": shop.shopify.id,
            "first": first,
            "last": min(first + _AT_ONCE, count) - 1,
            "count": count,
            "causes": CAUSES,
        }
        for statement in (_PARKED, _JOBS):
            with unit_of_work(engine) as conn:
                execute(conn, statement, **scope)


# Each cause is a reason in other words: numbers in it are not what makes it another one.
_PARKED = """
    insert into inbox_messages (shop_id, connection_id, delivery_id, topic, road, body, triggered_at, received_at,
        state, attempts, settled_at, cause, detail)
    select %(shop)s, %(connection)s, 'parked-' || n, 'orders/updated', 'webhook',
        convert_to('{"id":' || 5000000000 + n || ',"line_items":[{"id":' || n || ',"sku":"85123A","quantity":1}]}',
            'UTF8'),
        at, at, 'parked', 1, at + interval '2 seconds',
        case when n %% 3 = 0 then 'unreadable' else 'unexpected' end,
        'line ' || n || ': the field '
            || repeat(chr(97 + (n %% %(causes)s)::int %% 26), 3 + (n %% %(causes)s)::int / 26)
            || ' is missing'
    from (
        select n, now() - n * interval '3 days' / %(count)s as at
        from generate_series(%(first)s::bigint, %(last)s::bigint) n
    ) made
"""

_JOBS = """
    insert into job_runs (job_ref, function, arguments, queue, worker, attempt, started_at, ended_at, outcome, error,
        fingerprint)
    select 'failed-' || n, case when n %% 2 = 0 then 'stock.push' else 'poll.orders' end,
        jsonb_build_object('shop_id', %(shop)s::bigint, 'connection_id', %(connection)s::bigint, 'part', n),
        'stock', 'w',
        1, at, at + interval '3 seconds', 'failed',
        'Refused: the field ' || repeat(chr(97 + (n %% %(causes)s)::int %% 26), 3 + (n %% %(causes)s)::int / 26)
            || ' of ' || n || ' was refused',
        'cause-' || n %% %(causes)s
    from (
        select n, now() - n * interval '3 days' / %(count)s as at
        from generate_series(%(first)s::bigint, %(last)s::bigint) n
    ) made
"""
