"""What a person does about parked messages: give them another turn, or give them up. Nothing is ever deleted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from core import audit
from core.audit import Actor
from core.db import execute, fetch_one
from core.errors import Anticipated, BadInput
from core.messaging.inbox import ANOTHER_TURN


class MessagesChanged(Anticipated):
    """The messages are no longer those of the preview; nothing was done."""

    def __init__(self, before: int, now: int) -> None:
        if now > before:
            text = f"{now - before} more came since you looked"
        elif now < before:
            text = f"{before - now} of the {before} messages had their turn or were given up since you looked"
        else:
            text = "they are other messages than those you looked at"
        super().__init__(f"Nothing was done: {text}. Look again.")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Messages of one connection: one of them, or all parked for a cause. One that was discarded is chosen singly."""

    connection_id: int
    message_id: int | None = None
    cause: str | None = None

    def __post_init__(self) -> None:
        if (self.message_id is None) == (self.cause is None):
            raise BadInput("messages are chosen by one id, or by their cause")

    @property
    def subject(self) -> str:
        """How the audit log names them."""
        if self.message_id is not None:
            return f"message:{self.message_id}"
        return f"connection:{self.connection_id}"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is there now; hand `token` back to act on exactly this."""

    messages: int
    topics: tuple[str, ...]
    since: datetime | None
    token: str


_MEANT = """
    shop_id = %(shop)s and connection_id = %(connection)s
    and (%(message)s::int8 is null or id = %(message)s) and (%(cause)s::text is null or cause = %(cause)s)
"""
_PARKED = f"state = 'parked' and {_MEANT}"
# What a mended copy has taken the place of has had its turn.
_PARKED_OR_DISCARDED = f"""
    (state = 'parked' or (state = 'discarded' and replaced_by is null and id = %(message)s)) and {_MEANT}
"""


def plan(conn: Connection, shop_id: int, chosen: Chosen) -> Plan:
    """Count what another turn or a discard would touch; changes nothing."""
    row = fetch_one(
        conn,
        f"""
        select count(*) as messages, array_agg(distinct topic order by topic) as topics, min(received_at) as since,
            count(*) || '-' || coalesce(left(md5(string_agg(id::text, ',' order by id)), 16), '') as token
        from inbox_messages where {_PARKED_OR_DISCARDED}
        """,
        **_values(shop_id, chosen),
    )
    assert row is not None
    return Plan(row["messages"], tuple(row["topics"] or ()), row["since"], row["token"])


def requeue(conn: Connection, shop_id: int, chosen: Chosen, token: str, actor: Actor, now: datetime) -> int:
    """Give the chosen messages another turn; ring the events lane after the commit. Returns how many.

    Raises MessagesChanged when they are not those of the plan: of two who ask at once, the second is told.
    """
    return _act(conn, shop_id, chosen, token, actor, now, "replay_parked", _PARKED_OR_DISCARDED, ANOTHER_TURN)


def discard(conn: Connection, shop_id: int, chosen: Chosen, token: str, actor: Actor, now: datetime) -> int:
    """Give the chosen messages up: they stay, with their cause, who gave them up and why. Returns how many.

    Raises MessagesChanged when they are not those of the plan.
    """
    sets = "state = 'discarded', settled_at = %(now)s, discarded_by = %(by)s, discarded_reason = %(reason)s"
    return _act(conn, shop_id, chosen, token, actor, now, "discard_parked", _PARKED, sets)


def _act(
    conn: Connection,
    shop_id: int,
    chosen: Chosen,
    token: str,
    actor: Actor,
    now: datetime,
    act: str,
    meant: str,
    sets: str,
) -> int:
    # Locked first, in order of id: the token is then compared with what nobody else can change.
    row = fetch_one(
        conn,
        f"""
        with locked as (select id from inbox_messages where {meant} order by id for update)
        select coalesce(array_agg(id), array[]::int8[]) as ids,
            count(*) || '-' || coalesce(left(md5(string_agg(id::text, ',' order by id)), 16), '') as token
        from locked
        """,
        **_values(shop_id, chosen),
    )
    assert row is not None
    if not row["ids"] or row["token"] != token:
        before = token.partition("-")[0]
        raise MessagesChanged(int(before) if before.isdigit() else 0, len(row["ids"]))
    touched = execute(
        conn,
        f"update inbox_messages set {sets} where shop_id = %(shop)s and id = any(%(ids)b::int8[])",
        shop=shop_id,
        ids=row["ids"],
        now=now,
        by=actor.name,
        reason=actor.reason,
    )
    audit.record(conn, shop_id, actor, act, chosen.subject, now, messages=touched, cause=chosen.cause,
                 connection_id=chosen.connection_id)  # fmt: skip
    return touched


def _values(shop_id: int, chosen: Chosen) -> dict[str, object]:
    return {
        "shop": shop_id,
        "connection": chosen.connection_id,
        "message": chosen.message_id,
        "cause": chosen.cause,
    }
