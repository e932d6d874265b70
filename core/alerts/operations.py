"""Writes: the limit that a person sets, and what is opened and closed by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from core import audit
from core.alerts.queries import exposure_limit, risk, stuck
from core.alerts.rules import (
    CREDENTIAL,
    EXPOSURE,
    LIMIT_MAX,
    QUIET,
    STUCK,
    BadLimit,
    Ending,
    Risk,
    Step,
    Stuck,
    next_step,
    notice,
    stuck_notice,
)
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
    state = State(EXPOSURE, limit, found.units, found.skus, _worst(found))
    return follow(conn, shop_id, state, lambda shop: notice(shop, limit or 0, found, address), now, is_heard)


def check_stuck(conn: Connection, shop_id: int, address: str, now: datetime, *, is_heard: bool = True) -> Step:
    """The same for changes that hang: any is one too many, and nobody has to ask for being told."""
    found = stuck(conn, shop_id)
    state = State(STUCK, 0, found.legs, found.skus, _hanging(found))
    return follow(conn, shop_id, state, lambda shop: stuck_notice(shop, found, address), now, is_heard)


def tell_of_ending(
    conn: Connection, shop_id: int, connection_id: int, words: Ending, now: datetime, *, is_heard: bool = True
) -> bool:
    """Open an alert on a credential that ends, once for each connection; returns whether it was new."""
    row = fetch_one(
        conn,
        """
        insert into alerts (shop_id, kind, fingerprint, limit_units, opened_units, units, worst_units, skus, worst_skus,
            opened_at, checked_at, is_told)
        values (%(shop)s, %(kind)s, %(fingerprint)s, 0, 1, 1, 1, 0, %(worst)s, %(now)s, %(now)s, %(heard)s)
        on conflict (shop_id, fingerprint) where closed_at is null do nothing returning id
        """,
        shop=shop_id,
        kind=CREDENTIAL,
        fingerprint=f"{CREDENTIAL}:{connection_id}",
        worst=Jsonb([{"code": words.connection, "units": 1, "where": words.connection, "why": words.why}]),
        now=now,
        heard=is_heard,
    )
    if row is not None and is_heard:
        outbox.add(conn, shop_id, "notice", f"alert:{row['id']}", {"text": words.text()}, now)
    return row is not None


def close_replaced(conn: Connection, now: datetime) -> int:
    """Close alerts on credentials that have been replaced since they opened; returns how many."""
    return execute(
        conn,
        """
        update alerts a set closed_at = %(now)s, closed_because = 'replaced', units = 0, checked_at = %(now)s
        where a.kind = %(kind)s and a.closed_at is null and exists (
            select from connection_secrets s where s.shop_id = a.shop_id and s.name = 'client_secret'
                and s.connection_id = split_part(a.fingerprint, ':', 2)::int8 and s.updated_at > a.opened_at)
        """,
        kind=CREDENTIAL,
        now=now,
    )


@dataclass(frozen=True, slots=True)
class State:
    """What an alert is about, as it stands now; `limit` None: switched off."""

    kind: str
    limit: int | None
    units: int
    skus: int
    worst: Jsonb


def follow(
    conn: Connection, shop_id: int, state: State, say: Callable[[str], str], now: datetime, is_heard: bool
) -> Step:
    """Open, keep or close the alert of a kind by how things stand; returns which."""
    is_open = scalar(conn, f"select true from alerts where {_OPEN}", shop=shop_id, fingerprint=state.kind) is True
    step = next_step(state.limit, state.units, is_open=is_open)
    if step == "open" and state.limit is not None:
        return "open" if _open(conn, shop_id, state, say, now, is_heard) else "keep"
    if step == "keep":
        execute(
            conn,
            f"""
            update alerts set units = %(units)s, worst_units = greatest(worst_units, %(units)s), skus = %(skus)s,
                worst_skus = %(worst)s, checked_at = %(now)s where {_OPEN}
            """,
            shop=shop_id,
            fingerprint=state.kind,
            units=state.units,
            skus=state.skus,
            worst=state.worst,
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
            fingerprint=state.kind,
            units=state.units,
            why="off" if state.limit is None else "below",
            now=now,
        )
    return step


_OPEN = "shop_id = %(shop)s and fingerprint = %(fingerprint)s and closed_at is null"


def _open(
    conn: Connection, shop_id: int, state: State, say: Callable[[str], str], now: datetime, is_heard: bool
) -> bool:
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
        kind=state.kind,
        limit=state.limit,
        units=state.units,
        skus=state.skus,
        worst=state.worst,
        now=now,
        quiet=now - QUIET,
        heard=is_heard,
    )
    if row is None:
        return False
    if row["is_told"]:
        shop = scalar(conn, "select name from shops where shop_id = %(shop)s", shop=shop_id)
        outbox.add(conn, shop_id, "notice", f"alert:{row['id']}", {"text": say(shop)}, now)
    return True


def _worst(found: Risk) -> Jsonb:
    return Jsonb([{"code": code, "units": units} for code, units in found.worst])


def _hanging(found: Stuck) -> Jsonb:
    return Jsonb(
        [{"code": each.code, "units": each.legs, "where": each.connection, "why": each.reason} for each in found.worst]
    )
