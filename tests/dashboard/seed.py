"""A small factory of rows for the screens: plain SQL, ages relative to now, every argument with a good default."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core.db import execute, scalar

_numbers = itertools.count(1)


def now() -> datetime:
    return datetime.now(UTC)


def ago(**span: float) -> datetime:
    return now() - timedelta(**span)


class Many:
    """Rows that are written together at the end, since nobody needs their ids."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {}

    def add(self, sql: str, **values: Any) -> None:
        self.rows.setdefault(sql, []).append(values)

    def write(self, conn: Connection) -> None:
        for sql, rows in self.rows.items():
            conn.exec_driver_sql(sql, rows)


@contextmanager
def many(conn: Connection) -> Iterator[Many]:
    """In place of a connection, where hundreds of rows are made: each by itself is a way to the server and back."""
    rows = Many()
    yield rows
    rows.write(conn)


def insert(conn: Connection | Many, table: str, returning: str = "id", **values: Any) -> int:
    """One row; returns its id, or 0 where it is one of many."""
    names = ", ".join(values)
    marks = ", ".join(f"%({name})s" for name in values)
    sql = f"insert into {table} ({names}) values ({marks})"
    if isinstance(conn, Many):
        conn.add(sql, **values)
        return 0
    return scalar(conn, f"{sql} returning {returning}", **values)


def shop(conn: Connection, name: str = "Harbour Goods", zone: str = "Europe/London", currency: str = "GBP") -> int:
    return insert(conn, "shops", "shop_id", name=name, time_zone=zone, currency=currency, created_at=ago(days=400))


def connection(
    conn: Connection, shop_id: int, name: str = "Shopify UK", vendor: str = "shopify", grade: str = "A", **more: Any
) -> int:
    values = {
        "base_url": "http://127.0.0.1:9/",
        "account_ref": name.lower().replace(" ", "-"),
        "guarantee_class": grade,
        "orders_polled_to": ago(minutes=2),
        "catalogue_read_at": ago(hours=3),
        "created_at": ago(days=300),
        **more,
    }
    return insert(conn, "connections", shop_id=shop_id, name=name, vendor=vendor, **values)


def location(conn: Connection, shop_id: int, name: str = "Bristol") -> int:
    return insert(conn, "locations", shop_id=shop_id, name=name, created_at=ago(days=400))


def sku(conn: Connection, shop_id: int, code: str, title: str = "Thing", **more: Any) -> int:
    values = {"is_stocked": True, "created_at": ago(days=200), **more}
    return insert(conn, "skus", shop_id=shop_id, code=code, title=title, **values)


def level(conn: Connection, shop_id: int, sku_id: int, location_id: int, on_hand: int = 0, **more: int) -> None:
    insert(
        conn, "stock_levels", "sku_id", shop_id=shop_id, sku_id=sku_id, location_id=location_id, on_hand=on_hand, **more
    )


def movement(
    conn: Connection | Many, shop_id: int, sku_id: int, location_id: int, delta: int, at: datetime, **more: Any
) -> int:
    values = {"reason": "receipt" if delta > 0 else "adjustment", "recorded_by": "erp", **more}
    return insert(
        conn,
        "stock_movements",
        shop_id=shop_id,
        sku_id=sku_id,
        location_id=location_id,
        delta_units=delta,
        business_key=f"fact:{next(_numbers)}",
        occurred_at=at,
        recorded_at=at,
        **values,
    )


def listing(
    conn: Connection, shop_id: int, connection_id: int, sku_id: int | None, location_id: int | None, **more: Any
) -> int:
    number = next(_numbers)
    values = {
        "channel_ref": f"var-{number}",
        "title": "Thing",
        "is_tracked": True,
        "publishing": "on" if sku_id else "off",
        "desired_units": 9,
        "published_units": 9,
        "published_at": ago(minutes=4),
        "publishing_reason": "its stock number is taken over" if sku_id else "no SKU has this code",
        **more,
    }
    return insert(
        conn, "listings", shop_id=shop_id, connection_id=connection_id, sku_id=sku_id, location_id=location_id, **values
    )


def write(conn: Connection | Many, shop_id: int, connection_id: int, listing_id: int, to: int, **more: Any) -> int:
    at = more.pop("at", ago(minutes=4))
    values = {"planned_at": at, "deadline_at": at + timedelta(minutes=1), **more}
    return insert(
        conn,
        "listing_writes",
        shop_id=shop_id,
        connection_id=connection_id,
        listing_id=listing_id,
        to_units=to,
        idempotency_key=f"key-{next(_numbers)}",
        batch_position=0,
        **values,
    )


def feed(
    conn: Connection | Many, shop_id: int, connection_id: int, state: str, messages: int, *, minutes: float,
    took: float | None = None, **more: Any,
) -> int:  # fmt: skip
    """A bulk submission planned `minutes` ago, ended `took` minutes later."""
    at = ago(minutes=minutes)
    values = {
        "planned_at": at,
        "submitted_at": at,
        "document_ref": f"document-{next(_numbers)}",
        "looked_at": now(),
        "ended_at": None if took is None else at + timedelta(minutes=took),
        **more,
    }
    return insert(
        conn, "channel_feeds", shop_id=shop_id, connection_id=connection_id, state=state, messages=messages, **values
    )


def confirmed(
    conn: Connection | Many, shop_id: int, connection_id: int, listing_id: int, start: int, to: int, at: datetime
) -> int:
    return write(
        conn,
        shop_id,
        connection_id,
        listing_id,
        to,
        at=at,
        from_units=start,
        sent_at=at + timedelta(seconds=1),
        outcome="confirmed",
        outcome_at=at + timedelta(seconds=3),
        attempts=1,
    )


def message(
    conn: Connection | Many, shop_id: int, connection_id: int, at: datetime, state: str = "handled", **more: Any
) -> int:
    settled = None if state in ("received", "waiting") else at + timedelta(seconds=2)
    values = {"topic": "orders/create", "road": "webhook", "body": b"{}", "settled_at": settled, **more}
    if values["settled_at"] is not None:
        # As the statement that settles does.
        tally = {"kind": "inbox", "connection_id": connection_id, "name": "", "outcome": state, "events": 1}
        insert(conn, "tallies", "0", **tally, at=values["settled_at"])
    return insert(
        conn,
        "inbox_messages",
        shop_id=shop_id,
        connection_id=connection_id,
        delivery_id=f"d-{next(_numbers)}",
        received_at=at,
        state=state,
        **values,
    )


def order(
    conn: Connection | Many, shop_id: int, connection_id: int, at: datetime, name: str = "#1042", **more: Any
) -> int:
    values = {"total_minor": 4310, "currency": "GBP", **more}
    return insert(
        conn,
        "orders",
        shop_id=shop_id,
        connection_id=connection_id,
        channel_ref=f"o-{next(_numbers)}",
        name=name,
        placed_at=at,
        channel_created_at=at,
        version_at=at,
        recorded_at=at,
        **values,
    )


def line(conn: Connection | Many, shop_id: int, order_id: int, sku_id: int | None, units: int = 1, **more: Any) -> int:
    mapping = {"mapping": "stocked"} if sku_id else {"mapping": "unmapped", "mapping_reason": "no SKU has this code"}
    values = {
        "title": "Thing",
        "unit_price": "12.95",
        "discount_minor": 0,
        "total_minor": 1295 * units,
        **mapping,
        **more,
    }
    return insert(
        conn,
        "order_lines",
        shop_id=shop_id,
        order_id=order_id,
        channel_ref=f"l-{next(_numbers)}",
        ordinal=1,
        units=units,
        sku_id=sku_id,
        **values,
    )


def promise(
    conn: Connection,
    shop_id: int,
    sku_id: int,
    location_id: int,
    line_id: int,
    units: int,
    at: datetime,
    shipped: int = 0,
) -> int:
    return insert(
        conn,
        "reservations",
        shop_id=shop_id,
        sku_id=sku_id,
        location_id=location_id,
        order_line_id=line_id,
        units=units,
        held_units=units - shipped,
        consumed_units=shipped,
        created_at=at,
    )


def call(
    conn: Connection | Many, shop_id: int, connection_id: int, at: datetime, outcome: str = "ok", **more: Any
) -> int:
    values = {"operation": "levels", "method": "POST", "status": 200, "elapsed_ms": 140, "attempt": 1, **more}
    return insert(
        conn, "api_calls", shop_id=shop_id, connection_id=connection_id, outcome=outcome, called_at=at, **values
    )


def run(conn: Connection | Many, shop_id: int, connection_id: int, state: str = "running", **more: Any) -> int:
    values = {
        "kind": "sync_connection",
        "trigger": "click",
        "requested_by": "ada",
        "reason": "Stock was counted",
        "requested_at": ago(seconds=70),
        "attempts": 1,
        "done": 0,
        **more,
    }
    values["counts"] = Jsonb(values.get("counts", {}))
    return insert(conn, "sync_runs", shop_id=shop_id, connection_id=connection_id, state=state, **values)


def job(conn: Connection | Many, function: str, at: datetime, outcome: str = "failed", **more: Any) -> int:
    values = {
        "arguments": Jsonb(more.pop("arguments", {})),
        "job_ref": f"j-{next(_numbers)}",
        "queue": "stock",
        "attempt": 1,
        **more,
    }
    return insert(
        conn,
        "job_runs",
        function=function,
        started_at=at,
        ended_at=at + timedelta(seconds=4),
        outcome=outcome,
        **values,
    )


def schedule(
    conn: Connection | Many, name: str, at: datetime, outcome: str, result: Any = None, period: str | None = None
) -> None:
    insert(
        conn,
        "schedule_runs",
        "name",
        name=name,
        period=period or f"{at:%Y-%m-%d}:shop:1",
        started_at=at,
        ended_at=at + timedelta(seconds=9),
        outcome=outcome,
        result=Jsonb(result or {}),
    )


def set_state(conn: Connection, table: str, row_id: int, **values: Any) -> None:
    sets = ", ".join(f"{name} = %({name})s" for name in values)
    execute(conn, f"update {table} set {sets} where id = %(row)s", row=row_id, **values)
