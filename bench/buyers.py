"""Buyers of the measurements: `python -m bench.buyers ROLE`, what to buy as JSON in one line of standard input.

They connect, say "ready", wait for the second line, buy, and say when they began and ended on the machine's own clock.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from sqlalchemy import Connection, Engine

from core.clock import utc_now
from core.db import make_engine
from core.inventory import promises
from core.inventory.promises import Holder, Promise

WARM_UP = 8
"""The driver prepares a statement when it has seen it five times."""

T = TypeVar("T")
Purchases = Sequence[tuple[str, int]]
"""(the buyer's key, the SKU), one unit each."""


def main() -> None:
    """Play the role named on the command line."""
    role, url = sys.argv[1], os.environ["DATABASE_URL"]
    wanted = json.loads(sys.stdin.readline())
    roles: dict[str, Callable[..., None]] = {"promise": promise, "promise_in_sets": promise_in_sets, "by_hand": by_hand}
    roles[role](url, wanted)


def promise(url: str, wanted: dict[str, Any]) -> None:
    """One purchase a unit of work, on as many connections as asked for, each with a thread of its own."""
    count = wanted["connections"]
    engine = make_engine(url, pool_size=count)
    purchases: Purchases = wanted["purchases"]

    def buy(conn: Connection, share: Purchases) -> None:
        for ref, sku_id in share:
            with conn.begin():
                answers = promises.reserve(conn, wanted["shop"], [_asked(wanted, ref, sku_id)], utc_now())
            assert answers[0].is_whole

    with _connected(engine, count, wanted) as conns, ThreadPoolExecutor(count) as pool, _timed():
        for done in [pool.submit(buy, conn, purchases[number::count]) for number, conn in enumerate(conns)]:
            done.result()


def promise_in_sets(url: str, wanted: dict[str, Any]) -> None:
    """What a drain does with them: a thousand in a unit of work, on one connection."""
    engine = make_engine(url)
    with _connected(engine, 1, wanted) as (conn,), _timed():
        for part in in_parts(wanted["purchases"], wanted["at_once"]):
            with conn.begin():
                asked = [_asked(wanted, ref, sku_id) for ref, sku_id in part]
                answers = promises.reserve(conn, wanted["shop"], asked, utc_now())
            assert all(answer.is_whole for answer in answers)


def by_hand(url: str, wanted: dict[str, Any]) -> None:
    """What is written everywhere: lock the row, look, insert, update, commit; the bare driver, nothing else to do."""
    at = {"shop": wanted["shop"], "place": wanted["location"]}
    with psycopg.connect(url.replace("+psycopg", "", 1)) as conn:
        conn.commit()
        with _timed():
            for ref, sku_id in wanted["purchases"]:
                key = {**at, "sku": sku_id, "ref": ref}
                row = conn.execute(_LOCK, key).fetchone()
                assert row is not None
                assert row[0] > 0
                conn.execute(_INSERT, key)
                conn.execute(_UPDATE, key)
                conn.commit()


_LEVEL = "shop_id = %(shop)s and sku_id = %(sku)s and location_id = %(place)s"
_LOCK = f"select available from stock_levels where {_LEVEL} for update"
_INSERT = """
    insert into reservations (shop_id, sku_id, location_id, holder_kind, holder_ref, units, held_units, created_at)
    values (%(shop)s, %(sku)s, %(place)s, 'checkout', %(ref)s, 1, 1, now())
"""
_UPDATE = f"update stock_levels set reserved = reserved + 1, promised = promised + 1 where {_LEVEL}"


def in_parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, so many at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _asked(wanted: dict[str, Any], ref: str, sku_id: int) -> Promise:
    return Promise(Holder("checkout", ref), wanted["location"], ((sku_id, 1),))


@contextmanager
def _connected(engine: Engine, count: int, wanted: dict[str, Any]) -> Iterator[list[Connection]]:
    conns = [engine.connect() for _ in range(count)]
    for conn in conns:
        _warm(conn, wanted)
    yield conns
    for conn in conns:
        conn.close()
    engine.dispose()


def _warm(conn: Connection, wanted: dict[str, Any]) -> None:
    """A few purchases that are taken back: a connection that is in use has its statements prepared."""
    for _ in range(WARM_UP):
        transaction = conn.begin()
        ref, sku_id = wanted["purchases"][0]
        promises.reserve(conn, wanted["shop"], [_asked(wanted, ref, sku_id)], utc_now())
        transaction.rollback()


@contextmanager
def _timed() -> Iterator[None]:
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    yield
    print(json.dumps([began, time.perf_counter()]), flush=True)


if __name__ == "__main__":
    main()
