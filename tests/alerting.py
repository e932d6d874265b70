"""Alerts in tests: a look at one condition, the newest episode, what was said of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.alerts import sweep
from core.alerts.engine import Desk
from core.db import fetch

ADDRESS = "http://127.0.0.1:8500"


def desk(conn: Connection, shop_id: int, now: datetime) -> Desk:
    return Desk(conn, shop_id, now, ADDRESS)


def look(conn: Connection, shop_id: int, kind: str, now: datetime) -> str:
    """What becomes of the alert of a kind by one look."""
    return sweep.look_for(desk(conn, shop_id, now), kind)


def episodes(conn: Connection, shop_id: int, kind: str = "") -> Sequence[RowMapping]:
    """A shop's alerts in turn, of one kind or all."""
    return fetch(
        conn,
        "select * from alerts where shop_id = %(shop)s and (%(kind)s = '' or kind = %(kind)s) order by id",
        shop=shop_id,
        kind=kind,
    )


def newest(conn: Connection, shop_id: int, kind: str = "") -> RowMapping:
    return episodes(conn, shop_id, kind)[-1]


def open_ones(conn: Connection, shop_id: int) -> dict[str, RowMapping]:
    """Alerts that are not closed, by fingerprint."""
    rows = fetch(conn, "select * from open_alerts where shop_id = %(shop)s", shop=shop_id)
    return {row["fingerprint"]: row for row in rows}


def notices(conn: Connection, shop_id: int) -> list[str]:
    """What was said, in turn."""
    rows = fetch(
        conn,
        "select payload ->> 'text' as text from outbox_messages where shop_id = %(shop)s order by id",
        shop=shop_id,
    )
    return [row["text"] for row in rows]


def history(conn: Connection, shop_id: int, alert_id: int) -> list[str]:
    """What became of an episode, in turn."""
    rows = fetch(
        conn,
        "select what from alert_event_list where shop_id = %(shop)s and alert_id = %(id)s order by event_id",
        shop=shop_id,
        id=alert_id,
    )
    return [row["what"] for row in rows]
