"""Writes: pause a connection, stop what changes anything outside, go live and back into shadow.

Each switch is safe to repeat: what stands already changes nothing, and only what changed is on record.
A stop that is committed holds: whoever marks a write as sent passes the shop's gate, which the stop closes first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.connections.queries import UnknownConnection
from core.db import execute, fetch_one, scalar
from core.ports import Effect

Scope = Literal["connection", "shop"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a connection stands: what may leave for it. `stopped_by` and the like are of the oldest open stop."""

    is_active: bool
    is_live: bool
    is_stopped: bool
    stop_scope: Scope | None = None
    stopped_by: str | None = None
    stop_reason: str | None = None

    def held(self, effect: Effect = "shop") -> str | None:
        """Why a call of that effect may not leave, in a sentence; None when it may.

        Subscriptions are wanted in shadow mode too: there we listen and compare. A stop holds everything but reading.
        """
        if effect == "nothing":
            return None
        if self.is_stopped:
            whose = "every connection of the shop" if self.stop_scope == "shop" else "this connection"
            return f"{self.stopped_by} stopped the writes of {whose}: {self.stop_reason}"
        if not self.is_active:
            return "the connection is paused"
        if self.is_live or effect == "subscription":
            return None
        return "the connection is in shadow mode: it is compared and not written"


def standing(conn: Connection, shop_id: int, connection_id: int) -> Standing:
    """How a connection stands now. Raises UnknownConnection."""
    row = fetch_one(
        conn,
        """
        select c.state = 'active' as is_active, c.write_mode = 'live' as is_live, s.id is not null as is_stopped,
            case when s.id is not null then case when s.connection_id is null then 'shop' else 'connection' end end
                as stop_scope, s.stopped_by, s.reason as stop_reason
        from connections c
        left join lateral (
            select * from write_stops s where s.shop_id = c.shop_id and s.ended_at is null
                and coalesce(s.connection_id, c.id) = c.id
            order by s.stopped_at, s.id limit 1
        ) s on true
        where c.shop_id = %(shop)s and c.id = %(id)s
        """,
        shop=shop_id,
        id=connection_id,
    )
    if row is None:
        raise UnknownConnection(shop_id, connection_id)
    return Standing(**row)


def may_write(conn: Connection, shop_id: int, connection_id: int) -> bool:
    """Whether quantities may be written to a connection now; False for one that there is not."""
    return bool(scalar(conn, "select may_write(%(shop)s, %(id)s)", shop=shop_id, id=connection_id))


def pause(conn: Connection, shop_id: int, connection_id: int, actor: Actor, now: datetime) -> bool:
    """Neither poll a connection nor write to it; what it tells us by itself is still recorded and handled.

    Returns whether that is new. Raises UnknownConnection.
    """
    return _switch(conn, shop_id, connection_id, "state", "paused", "pause", actor, now)


def resume(conn: Connection, shop_id: int, connection_id: int, actor: Actor, now: datetime) -> bool:
    """End a pause: the next poll reads what was missed. Returns whether it was paused. Raises UnknownConnection."""
    return _switch(conn, shop_id, connection_id, "state", "active", "resume", actor, now)


def to_shadow(conn: Connection, shop_id: int, connection_id: int, actor: Actor, now: datetime) -> bool:
    """Read and compare a connection, and write nothing to it. Returns whether that is new. Raises UnknownConnection."""
    return _switch(conn, shop_id, connection_id, "write_mode", "shadow", "to_shadow", actor, now)


def to_live(conn: Connection, shop_id: int, connection_id: int, actor: Actor, now: datetime) -> bool:
    """Write to a connection what differs; for `core.inventory.comparison.go_live`, which looks first.

    Returns whether that is new. Raises UnknownConnection.
    """
    return _switch(conn, shop_id, connection_id, "write_mode", "live", "go_live", actor, now)


def _switch(
    conn: Connection, shop_id: int, connection_id: int, column: str, value: str, act: str, actor: Actor, now: datetime
) -> bool:
    _close_gate(conn, shop_id)
    before = scalar(
        conn,
        f"select {column} from connections where shop_id = %(shop)s and id = %(id)s for no key update",
        shop=shop_id,
        id=connection_id,
    )
    if before is None:
        raise UnknownConnection(shop_id, connection_id)
    if before == value:
        return False
    execute(
        conn,
        f"update connections set {column} = %(value)s where shop_id = %(shop)s and id = %(id)s",
        shop=shop_id,
        id=connection_id,
        value=value,
    )
    audit.record(conn, shop_id, actor, act, f"connection:{connection_id}", now)
    return True


def stop_writes(conn: Connection, shop_id: int, connection_id: int | None, actor: Actor, now: datetime) -> bool:
    """Let nothing leave that changes anything outside: of one connection, or (None) of every one of the shop.

    Holds from the moment it is committed, for every process. Returns whether that is new: where such a stop stands
    already it stays as it is, with the name and reason it has. Raises UnknownConnection.
    """
    _close_gate(conn, shop_id)
    _know(conn, shop_id, connection_id)
    made = scalar(
        conn,
        """
        insert into write_stops (shop_id, connection_id, stopped_by, reason, stopped_at)
        select %(shop)s, %(id)s, %(by)s, %(reason)s, %(now)s
        where not exists (select from write_stops s where s.shop_id = %(shop)s and s.ended_at is null
            and s.connection_id is not distinct from %(id)s)
        returning id
        """,
        shop=shop_id,
        id=connection_id,
        by=actor.name,
        reason=actor.reason,
        now=now,
    )
    if made is None:
        return False
    audit.record(conn, shop_id, actor, "stop_writes", _subject(shop_id, connection_id), now, stop_id=made)
    return True


def resume_writes(conn: Connection, shop_id: int, connection_id: int | None, actor: Actor, now: datetime) -> bool:
    """End the stop of one connection, or (None) that of the whole shop; the other one, if there is one, holds.

    Returns whether there was one. Raises UnknownConnection.
    """
    _close_gate(conn, shop_id)
    _know(conn, shop_id, connection_id)
    ended = scalar(
        conn,
        """
        update write_stops set ended_by = %(by)s, ended_reason = %(reason)s, ended_at = greatest(stopped_at, %(now)s)
        where shop_id = %(shop)s and connection_id is not distinct from %(id)s and ended_at is null returning id
        """,
        shop=shop_id,
        id=connection_id,
        by=actor.name,
        reason=actor.reason,
        now=now,
    )
    if ended is None:
        return False
    audit.record(conn, shop_id, actor, "resume_writes", _subject(shop_id, connection_id), now, stop_id=ended)
    return True


def pass_gate(conn: Connection, shop_id: int) -> None:
    """Be on the way out until this unit of work ends: no switch of the shop is committed meanwhile.

    For whoever plans writes or marks them as sent: before any row, and before the statement that asks `may_write`.
    """
    execute(conn, f"select pg_advisory_xact_lock_shared({_GATE})", shop=shop_id)


_GATE = "hashtextextended('writes:' || %(shop)s, 0)"


def _close_gate(conn: Connection, shop_id: int) -> None:
    """Before any row: wait for whoever is on the way out, and let nobody pass until the switch is committed."""
    execute(conn, f"select pg_advisory_xact_lock({_GATE})", shop=shop_id)


def _know(conn: Connection, shop_id: int, connection_id: int | None) -> None:
    found = scalar(
        conn,
        "select true from connections where shop_id = %(shop)s and id = coalesce(%(id)s::int8, id) limit 1",
        shop=shop_id,
        id=connection_id,
    )
    if connection_id is not None and not found:
        raise UnknownConnection(shop_id, connection_id)


def _subject(shop_id: int, connection_id: int | None) -> str:
    return f"shop:{shop_id}" if connection_id is None else f"connection:{connection_id}"
