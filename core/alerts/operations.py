"""Writes: the limit that a person sets, and what is opened and closed by it."""

from __future__ import annotations

from datetime import datetime

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core import audit
from core.alerts.queries import exposure_limit, risk
from core.alerts.rules import EXPOSURE, LIMIT_MAX, QUIET, BadLimit, Risk, Step, next_step, notice
from core.audit import Actor
from core.db import execute, fetch_one, scalar
from core.messaging import outbox


def set_exposure_limit(conn: Connection, shop_id: int, limit: int | None, actor: Actor, now: datetime) -> int | None:
    """Tell somebody when more units than `limit` are at risk; None switches it off. Returns the limit of before.

    Raises BadLimit.
    """
    if limit is not None and not 0 <= limit <= LIMIT_MAX:
        raise BadLimit(limit)
    before = exposure_limit(conn, shop_id)
    execute(
        conn,
        """
        insert into alert_rules (shop_id, kind, limit_units, set_by, reason, set_at)
        values (%(shop)s, %(kind)s, %(limit)s, %(by)s, %(reason)s, %(now)s)
        on conflict (shop_id, kind) do update set limit_units = excluded.limit_units, set_by = excluded.set_by,
            reason = excluded.reason, set_at = excluded.set_at
        """,
        shop=shop_id,
        kind=EXPOSURE,
        limit=limit,
        by=actor.name,
        reason=actor.reason,
        now=now,
    )
    audit.record(
        conn, shop_id, actor, "set_alert_limit", f"alert_rule:{EXPOSURE}", now, limit_units=limit, before_units=before
    )
    return before


def check_exposure(conn: Connection, shop_id: int, address: str, now: datetime, *, is_heard: bool = True) -> Step:
    """Open, keep or close the shop's alert on exposure by what is at risk now; returns which.

    Opening says it once, in the same unit of work: whoever comes second finds the alert open. `is_heard`: there is an
    address for notices; without one none is left for later, when it would be old.
    """
    limit, found = exposure_limit(conn, shop_id), risk(conn, shop_id)
    is_open = scalar(conn, f"select true from alerts where {_OPEN}", shop=shop_id, fingerprint=EXPOSURE) is True
    step = next_step(limit, found.units, is_open=is_open)
    if step == "open" and limit is not None:
        return "open" if _open(conn, shop_id, limit, found, address, now, is_heard) else "keep"
    if step == "keep":
        execute(
            conn,
            f"""
            update alerts set units = %(units)s, worst_units = greatest(worst_units, %(units)s), skus = %(skus)s,
                worst_skus = %(worst)s, checked_at = %(now)s where {_OPEN}
            """,
            shop=shop_id,
            fingerprint=EXPOSURE,
            units=found.units,
            skus=found.skus,
            worst=_worst(found),
            now=now,
        )
    if step == "close":
        execute(
            conn,
            f"""
            update alerts set closed_at = %(now)s, closed_because = %(why)s, units = %(units)s, checked_at = %(now)s
            where {_OPEN}
            """,
            shop=shop_id,
            fingerprint=EXPOSURE,
            units=found.units,
            why="off" if limit is None else "below",
            now=now,
        )
    return step


_OPEN = "shop_id = %(shop)s and fingerprint = %(fingerprint)s and closed_at is null"


def _open(conn: Connection, shop_id: int, limit: int, found: Risk, address: str, now: datetime, is_heard: bool) -> bool:
    row = fetch_one(
        conn,
        """
        insert into alerts (shop_id, kind, fingerprint, limit_units, opened_units, units, worst_units, skus, worst_skus,
            opened_at, checked_at, is_told)
        select %(shop)s, %(kind)s, %(kind)s, %(limit)s, %(units)s, %(units)s, %(units)s, %(skus)s, %(worst)s, %(now)s,
            %(now)s, %(heard)s and not exists (select from alerts a where a.shop_id = %(shop)s
                and a.fingerprint = %(kind)s and a.closed_because = 'below' and a.closed_at > %(quiet)s)
        on conflict (shop_id, fingerprint) where closed_at is null do nothing
        returning id, is_told
        """,
        shop=shop_id,
        kind=EXPOSURE,
        limit=limit,
        units=found.units,
        skus=found.skus,
        worst=_worst(found),
        now=now,
        quiet=now - QUIET,
        heard=is_heard,
    )
    if row is None:
        return False
    if row["is_told"]:
        shop = scalar(conn, "select name from shops where shop_id = %(shop)s", shop=shop_id)
        text = notice(shop, limit, found, address)
        outbox.add(conn, shop_id, "notice", f"alert:{row['id']}", {"text": text}, now)
    return True


def _worst(found: Risk) -> Jsonb:
    return Jsonb([{"code": code, "units": units} for code, units in found.worst])
