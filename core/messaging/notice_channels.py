"""Writes: the channels that a shop's operators are told by. Each act is one operation, with name and reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb
from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.db import execute, fetch, fetch_one, scalar
from core.errors import BadInput, Permanent
from core.letters import SEVERITIES, Address, SlackAddress
from core.messaging import outbox
from core.messaging.notice_addresses import as_shown, as_text, from_text
from core.sealing import seal, unseal

Rhythm = Literal["at_once", "hourly", "daily"]
RHYTHMS: tuple[Rhythm, ...] = ("at_once", "hourly", "daily")
CHANNELS_MAX = 50
AN_HOUR_MAX = 1000
_NAME_MAX = 60
_KIND = re.compile(r"[a-z][a-z_]{0,59}")


class BadChannel(BadInput):
    """What was said about a notice channel cannot be."""


class NoSuchChannel(BadInput):
    """It was removed meanwhile, or never was."""

    def __init__(self) -> None:
        super().__init__("there is no such notice channel any more: look again")


class UnreadableAddress(Permanent):
    """A channel's address cannot be opened with the keys of this process."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the address of notice channel {name!r} cannot be opened: SWITCHYARD_SECRET_KEYS lacks the key it was "
            "sealed with"
        )


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a channel wants to be told, and how often. `kinds` None: everything; `daily_hour` is of the shop's zone."""

    name: str
    kinds: tuple[str, ...] | None = None
    least_severity: str = "attention"
    rhythm: str = "at_once"
    daily_hour: int | None = None
    most_an_hour: int = 20

    def judged(self) -> Wishes:
        """The same, tidied. Raises BadChannel."""
        name = " ".join(self.name.split())
        if not name or len(name) > _NAME_MAX or not name.isprintable():
            raise BadChannel(f"a notice channel needs a name of at most {_NAME_MAX} letters")
        if self.least_severity not in SEVERITIES:
            raise BadChannel(f"{self.least_severity!r} is no severity: one of {', '.join(SEVERITIES)}")
        if self.rhythm not in RHYTHMS:
            raise BadChannel(f"{self.rhythm!r} is no rhythm: one of {', '.join(RHYTHMS)}")
        if self.rhythm == "daily" and not (self.daily_hour is not None and 0 <= self.daily_hour <= 23):
            raise BadChannel("a daily digest needs its hour, from 0 to 23")
        if not 1 <= self.most_an_hour <= AN_HOUR_MAX:
            raise BadChannel(f"{self.most_an_hour} an hour cannot be: from 1 to {AN_HOUR_MAX}")
        kinds = None if self.kinds is None else tuple(sorted({kind.strip().lower() for kind in self.kinds}))
        if kinds == ():
            raise BadChannel(
                "a channel that wants no kind of notice is never told: name one, or none at all for every kind"
            )
        for kind in kinds or ():
            if not _KIND.fullmatch(kind):
                raise BadChannel(f"{kind!r} is no kind of notice: kinds are words such as stuck_change or daily_report")
        hour = self.daily_hour if self.rhythm == "daily" else None
        return replace(self, name=name, kinds=kinds, daily_hour=hour)

    def fields(self) -> dict[str, Any]:
        """As the table has them."""
        return {
            "name": self.name,
            "kinds": None if self.kinds is None else list(self.kinds),
            "least_severity": self.least_severity,
            "rhythm": self.rhythm,
            "daily_hour": self.daily_hour,
            "most_an_hour": self.most_an_hour,
        }


def add(
    conn: Connection,
    shop_id: int,
    wishes: Wishes,
    address: Address,
    keys: Sequence[str],
    actor: Actor,
    now: datetime,
) -> int:
    """Set up a channel; what is said from now on comes to it. Returns its id. Raises BadChannel, NoSecretKeys."""
    wished = wishes.judged()
    _lock_shop(conn, shop_id)
    _refuse_taken(conn, shop_id, wished.name, None)
    there = scalar(
        conn, "select count(*) from notice_channels where shop_id = %(shop)s and removed_at is null", shop=shop_id
    )
    if there >= CHANNELS_MAX:
        raise BadChannel(f"there are {there} notice channels already: remove one first")
    channel_id = scalar(
        conn,
        """
        insert into notice_channels (shop_id, name, medium, shown, sealed, kinds, least_severity, rhythm, daily_hour,
            most_an_hour, created_at, changed_at)
        values (%(shop)s, %(name)s, %(medium)s, %(shown)s, %(sealed)s, %(kinds)s, %(least_severity)s, %(rhythm)s,
            %(daily_hour)s, %(most_an_hour)s, %(now)s, %(now)s) returning id
        """,
        shop=shop_id,
        medium=_medium(address),
        shown=as_shown(address),
        sealed=seal(keys, as_text(address)),
        now=now,
        **wished.fields(),
    )
    _note(conn, shop_id, actor, "add_notice_channel", channel_id, now, address=as_shown(address), **wished.fields())
    return int(channel_id)


def edit(
    conn: Connection,
    shop_id: int,
    channel_id: int,
    wishes: Wishes,
    address: Address | None,
    keys: Sequence[str],
    actor: Actor,
    now: datetime,
) -> None:
    """Change what a channel wants, and where it is; no address: it stays as it is. What is held goes by the new rhythm.

    Raises BadChannel, NoSuchChannel, NoSecretKeys.
    """
    wished = wishes.judged()
    _lock_shop(conn, shop_id)
    before = _locked(conn, shop_id, channel_id)
    _refuse_taken(conn, shop_id, wished.name, channel_id)
    if address is not None and _medium(address) != before["medium"]:
        raise BadChannel(f"{before['name']} is told by {before['medium']}: add another channel for the other way")
    execute(
        conn,
        """
        update notice_channels set name = %(name)s, kinds = %(kinds)s, least_severity = %(least_severity)s,
            rhythm = %(rhythm)s, daily_hour = %(daily_hour)s, most_an_hour = %(most_an_hour)s, changed_at = %(now)s,
            shown = coalesce(%(shown)s, shown), sealed = coalesce(%(sealed)s, sealed),
            failures = case when %(shown)s::text is null then failures else 0 end,
            retry_at = case when %(shown)s::text is null then retry_at end
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=shop_id,
        id=channel_id,
        shown=None if address is None else as_shown(address),
        sealed=None if address is None else seal(keys, as_text(address)),
        now=now,
        **wished.fields(),
    )
    execute(conn, _DUE_AFRESH, shop=shop_id, channel=channel_id, now=now)
    changed = {name: value for name, value in wished.fields().items() if before[name] != value}
    if address is not None:
        changed["address"] = as_shown(address)
    _note(conn, shop_id, actor, "edit_notice_channel", channel_id, now, **changed)


_DUE_AFRESH = """
update outbox_messages m set next_attempt_at = notice_due(c.rhythm, c.daily_hour, s.time_zone, %(now)s)
from notice_channels c join shops s on s.shop_id = c.shop_id
where c.shop_id = %(shop)s and c.id = %(channel)s and m.shop_id = c.shop_id and m.channel_id = c.id
    and m.state = 'held' and not m.payload ? 'attachments'
"""


def set_quiet(conn: Connection, shop_id: int, channel_id: int, is_quiet: bool, actor: Actor, now: datetime) -> int:
    """Tell a channel nothing from now on, or go on; what came meanwhile is gathered then. Returns how many are held.

    Raises NoSuchChannel.
    """
    _locked(conn, shop_id, channel_id)
    execute(
        conn,
        """
        update notice_channels set is_quiet = %(quiet)s, changed_at = %(now)s, retry_at = null
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=shop_id,
        id=channel_id,
        quiet=is_quiet,
        now=now,
    )
    act = "pause_notice_channel" if is_quiet else "resume_notice_channel"
    _note(conn, shop_id, actor, act, channel_id, now)
    held: int = scalar(
        conn,
        "select count(*) from outbox_messages where shop_id = %(shop)s and channel_id = %(id)s and state = 'held'",
        shop=shop_id,
        id=channel_id,
    )
    return held


def remove(conn: Connection, shop_id: int, channel_id: int, actor: Actor, now: datetime) -> None:
    """Tell a channel nothing ever again, and forget its address.

    What was said stays on record; what was still to be said is settled as unheard by the next relay. Raises
    NoSuchChannel.
    """
    before = _locked(conn, shop_id, channel_id)
    execute(
        conn,
        """
        update notice_channels set removed_at = %(now)s, changed_at = %(now)s, sealed = null
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=shop_id,
        id=channel_id,
        now=now,
    )
    _note(conn, shop_id, actor, "remove_notice_channel", channel_id, now, name=before["name"], address=before["shown"])


def test(conn: Connection, shop_id: int, channel_id: int, actor: Actor, now: datetime) -> int:
    """Have a message sent to a channel by the road that notices take, also while it is paused; returns its id.

    What the other side answers stays with it; it is tried once. Raises NoSuchChannel.
    """
    row = _locked(conn, shop_id, channel_id)
    waiting = scalar(
        conn,
        """
        select id from outbox_messages
        where shop_id = %(shop)s and channel_id = %(id)s and kind = %(kind)s and state = 'waiting' order by id limit 1
        """,
        shop=shop_id,
        id=channel_id,
        kind=outbox.TEST,
    )
    if waiting is not None:
        return int(waiting)
    message_id = scalar(
        conn,
        """
        insert into outbox_messages (shop_id, kind, dedupe_key, payload, channel_id, next_attempt_at, created_at)
        values (%(shop)s, %(kind)s, %(key)s, %(payload)s, %(id)s, %(now)s, %(now)s) returning id
        """,
        shop=shop_id,
        kind=outbox.TEST,
        key=f"{now.isoformat()}#{channel_id}",
        payload=Jsonb(_trial(row["name"], actor)),
        id=channel_id,
        now=now,
    )
    _note(conn, shop_id, actor, "test_notice_channel", channel_id, now, message=message_id)
    return int(message_id)


def _trial(name: str, actor: Actor) -> dict[str, Any]:
    return {
        "about": "test",
        "severity": "info",
        "subject": f"A test of {name}",
        "text": f"{actor.name} tries whether notices arrive here. If you read this, they do; nothing is wrong.",
        "by": actor.name,
    }


def opened(keys: Sequence[str], target: outbox.Target) -> Address:
    """The address of a channel. Raises UnreadableAddress, NoSecretKeys, BadSecretKey."""
    text = None if target.sealed is None else unseal(keys, target.sealed)
    if text is None:
        raise UnreadableAddress(target.name)
    return from_text(target.medium, text)


def address_of(conn: Connection, shop_id: int, channel_id: int, keys: Sequence[str]) -> Address:
    """The address of a channel, for whoever changes a part of it. Raises NoSuchChannel, UnreadableAddress."""
    row = _found(
        fetch_one(
            conn,
            f"select id, name, medium, sealed from notice_channels where {_STANDING}",
            shop=shop_id,
            id=channel_id,
        )
    )
    return opened(keys, outbox.Target(row["id"], row["name"], row["medium"], row["sealed"]))


def shops_without(conn: Connection) -> list[str]:
    """Names of shops that have set up no channel."""
    rows = fetch(
        conn,
        """
        select s.name from shops s where not exists (
            select from notice_channels c where c.shop_id = s.shop_id and c.removed_at is null) order by s.name
        """,
    )
    return [row["name"] for row in rows]


_STANDING = "shop_id = %(shop)s and id = %(id)s and removed_at is null"


def _medium(address: Address) -> str:
    return "slack" if isinstance(address, SlackAddress) else "mail"


def _lock_shop(conn: Connection, shop_id: int) -> None:
    """Two who add or rename at once follow one another: names are compared without regard to case."""
    execute(conn, "select 1 from shops where shop_id = %(shop)s for no key update", shop=shop_id)


def _locked(conn: Connection, shop_id: int, channel_id: int) -> RowMapping:
    return _found(
        fetch_one(
            conn,
            f"""
            select name, medium, shown, kinds, least_severity, rhythm, daily_hour, most_an_hour, is_quiet
            from notice_channels where {_STANDING} for no key update
            """,
            shop=shop_id,
            id=channel_id,
        )
    )


def _found(row: RowMapping | None) -> RowMapping:
    if row is None:
        raise NoSuchChannel
    return row


def _refuse_taken(conn: Connection, shop_id: int, name: str, but: int | None) -> None:
    if scalar(
        conn,
        """
        select true from notice_channels where shop_id = %(shop)s and lower(name) = lower(%(name)s)
            and removed_at is null and id is distinct from %(but)s
        """,
        shop=shop_id,
        name=name,
        but=but,
    ):
        raise BadChannel(f"there is a notice channel {name} already")


def _note(
    conn: Connection, shop_id: int, actor: Actor, act: str, channel_id: int, now: datetime, **details: Any
) -> None:
    audit.record(conn, shop_id, actor, act, f"notice_channel:{channel_id}", now, **details)
