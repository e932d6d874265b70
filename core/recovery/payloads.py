"""What failed, word for word: looked at with people covered, in full on record, and mended where that is safe."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core import audit
from core.audit import Actor
from core.db import execute, fetch_one, scalar
from core.errors import Anticipated, BadInput
from core.ports import Facts, Mentions
from core.recovery.choosing import Source
from core.recovery.masking import as_text, masked, shown

BODY_BYTES_MAX = 1024 * 1024
EDIT_MARK = "#edit-"

Parse = Callable[[str, str, str, str, bytes, datetime | None], Facts | None]
Reader = Callable[[str, str, bytes, str], Mentions]
"""(vendor, topic, body, currency) to what the body is about; never raises."""

_MONEY = ("price", "amount", "total", "subtotal", "discount", "tax", "proceeds", "currency", "refund", "fee", "paid",
          "financial", "payment", "transaction", "gateway", "tip", "duties", "balance")  # fmt: skip


class UnknownFailure(BadInput):
    """Nothing failed under that id."""

    def __init__(self, source: str, item_id: int) -> None:
        super().__init__(f"there is no failed {source} {item_id}: list the failures again")


class NotEditable(Anticipated):
    """The message may not be mended by hand, or not like this."""

    def __init__(self, message_id: int, why: str) -> None:
        super().__init__(f"Message {message_id} was not changed: {why}.")


@dataclass(frozen=True, slots=True)
class Payload:
    """What failed. `is_masked`: what names people is covered. `why_not`: why it may not be edited, if so."""

    text: str
    media_type: str
    is_masked: bool
    is_editable: bool
    why_not: str | None


@dataclass(frozen=True, slots=True)
class Edited:
    """A mended copy: its id, and whose lane to ring for."""

    message_id: int
    connection_id: int
    delivery_id: str


def payload(conn: Connection, shop_id: int, source: Source, item_id: int) -> Payload:
    """What failed, with what names people covered. Raises UnknownFailure."""
    return _payload(conn, shop_id, source, item_id, is_masked=True)


def show(conn: Connection, shop_id: int, source: Source, item_id: int, actor: Actor, now: datetime) -> Payload:
    """What failed in full, which is on record with who looked and why. Raises UnknownFailure."""
    found = _payload(conn, shop_id, source, item_id, is_masked=False)
    audit.record(conn, shop_id, actor, "show_payload", f"failure:{source}:{item_id}", now)
    return found


def edit_and_requeue(
    conn: Connection,
    shop_id: int,
    message_id: int,
    text: str,
    actor: Actor,
    now: datetime,
    parse: Parse,
    mentions: Reader,
) -> Edited:
    """Put a mended copy of a parked message in its place; ring the events lane of its connection after the commit.

    The copy is a message of its own, whose delivery id is derived from the original's; the original is kept verbatim,
    with what took its place. Money and the order that it is about cannot be changed. Raises NotEditable,
    UnknownFailure, and BadInput where the channel's adapter cannot read the copy.
    """
    row = _message(conn, shop_id, message_id, lock=True)
    body = text.encode()
    why_not = _why_not(row) or _why_not_like_this(row, body, mentions)
    if why_not is not None:
        raise NotEditable(message_id, why_not)
    if parse(row["vendor"], row["currency"], row["marketplace"], row["topic"], body, row["triggered_at"]) is None:
        raise NotEditable(message_id, f"nothing is done with {row['topic']}")
    copy = _add_copy(conn, row, body, actor, now)
    execute(
        conn,
        """
        update inbox_messages set state = 'discarded', replaced_by = %(copy)s, settled_at = %(now)s,
            discarded_by = %(by)s, discarded_reason = %(reason)s
        where shop_id = %(shop)s and id = %(id)s
        """,
        shop=shop_id,
        id=message_id,
        copy=copy.message_id,
        now=now,
        by=actor.name,
        reason=actor.reason,
    )
    # What the original held up, the copy holds up until it has been handled.
    execute(
        conn,
        """
        update connections set watermark_next_inbox_id = greatest(watermark_next_inbox_id, %(copy)s)
        where shop_id = %(shop)s and id = %(id)s and watermark_next_at is not null
        """,
        shop=shop_id,
        id=copy.connection_id,
        copy=copy.message_id,
    )
    changed = sorted(set(_differences(_json(row["body"]), _json(body))))
    audit.record(conn, shop_id, actor, "edit_message", f"message:{message_id}", now, copy=copy.message_id,
                 connection_id=copy.connection_id, changed=changed[:50])  # fmt: skip
    return copy


# Steps ---------------------------------------------------------------------------------------------------------------


def _payload(conn: Connection, shop_id: int, source: Source, item_id: int, *, is_masked: bool) -> Payload:
    if source == "message":
        row = _message(conn, shop_id, item_id)
        why_not = _why_not(row)
        data = _json(row["body"])
        if data is None:
            text = bytes(row["body"]).decode(errors="replace")
            return Payload(shown(text) if is_masked else text, "text/plain", is_masked, False, why_not)
        return Payload(
            as_text(masked(data) if is_masked else data), "application/json", is_masked, not why_not, why_not
        )
    sql = (
        """
        select jsonb_build_object('function', r.function, 'arguments', r.arguments) as payload from job_runs r
        join failures f on f.source = 'job' and f.item_id = r.id where f.shop_id = %(shop)s and r.id = %(id)s
        """
        if source == "job"
        else "select payload from outbox_messages where shop_id = %(shop)s and id = %(id)s"
    )
    data = scalar(conn, sql, shop=shop_id, id=item_id)
    if data is None:
        raise UnknownFailure(source, item_id)
    why_not = (
        "arguments of jobs are ids: requeue or discard it" if source == "job" else "what was to be said is on record"
    )
    return Payload(as_text(masked(data) if is_masked else data), "application/json", is_masked, False, why_not)


def _message(conn: Connection, shop_id: int, message_id: int, *, lock: bool = False) -> RowMapping:
    row = fetch_one(
        conn,
        f"""
        select m.*, c.vendor, s.currency, coalesce(c.settings ->> 'marketplace_id', '') as marketplace,
            why_not_editable(m.road, m.topic) as why_not
        from inbox_messages m
        join connections c on c.shop_id = m.shop_id and c.id = m.connection_id
        join shops s on s.shop_id = m.shop_id
        where m.shop_id = %(shop)s and m.id = %(id)s {"for update of m" if lock else ""}
        """,
        shop=shop_id,
        id=message_id,
    )
    if row is None:
        raise UnknownFailure("message", message_id)
    return row


def _why_not(row: RowMapping) -> str | None:
    """Why a message may not be mended at all; None where it may."""
    if row["state"] != "parked":
        return f"it is {row['state']}, not parked"
    if row["why_not"] is not None:
        return str(row["why_not"])
    if _json(row["body"]) is None:
        return "it is no JSON, so that nobody can say what of it may be changed; have it sent again"
    return None


def _why_not_like_this(row: RowMapping, body: bytes, mentions: Reader) -> str | None:
    """Why this text may not take its place; None where it may, as far as can be said without reading it."""
    if len(body) > BODY_BYTES_MAX:
        return f"the text has {len(body):,} bytes, and {BODY_BYTES_MAX:,} are the most"
    before, after = _json(row["body"]), _json(body)
    if after is None:
        return "the text is no JSON"
    if before == after:
        return "the text says the same as before; requeue it as it is"
    money = sorted(path for path in _differences(before, after) if _is_money(path))
    if money:
        return f"{money[0]} is about money, and only the channel can change that"
    was, is_now = (
        {
            order.ref: order.version_at
            for order in mentions(row["vendor"], row["topic"], bytes(each), row["currency"]).orders
        }
        for each in (row["body"], body)
    )
    if was.keys() != is_now.keys():
        return "it would be about another order"
    for ref, version_at in was.items():
        new = is_now[ref]
        # A version of the future would have everything that the channel tells from now on taken for old news.
        if version_at is not None and new != version_at:
            return "it would be another version of the order, and only the channel can say which is the newest"
        if new is not None and new > row["received_at"]:
            return "it would be a version of the order from after the message came"
    return None


def _is_money(path: str) -> bool:
    steps = path.lower().replace("[", ".").split(".")
    return any(word in step for step in steps for word in _MONEY)


def _differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Paths at which two JSON values differ; never what stands there."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before.keys() | after.keys():
            yield from _differences(before.get(name), after.get(name), f"{path}.{name}".removeprefix("."))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _differences(old, new, f"{path}[{place}]")
    elif before != after or type(before) is not type(after):
        yield from _leaves(before, path)
        yield from _leaves(after, path)


def _leaves(value: Any, path: str) -> Iterator[str]:
    """Every path below something that came or went; its own where nothing is below it."""
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}".removeprefix("."))
    elif isinstance(value, list) and value:
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{place}]")
    else:
        yield path or "the body"


def _add_copy(conn: Connection, row: RowMapping, body: bytes, actor: Actor, now: datetime) -> Edited:
    root = str(row["delivery_id"]).split(EDIT_MARK)[0]
    number = 1 + scalar(
        conn,
        """
        select count(*) from inbox_messages where shop_id = %(shop)s and connection_id = %(connection)s
            and replaces_id is not null and delivery_id like %(like)s
        """,
        shop=row["shop_id"],
        connection=row["connection_id"],
        like=root.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + EDIT_MARK + "%",
    )
    delivery_id = f"{root}{EDIT_MARK}{number}"
    copy: int = scalar(
        conn,
        """
        insert into inbox_messages (shop_id, connection_id, delivery_id, topic, road, event_ref, body, triggered_at,
            received_at, replaces_id, edited_by, edited_reason)
        values (%(shop)s, %(connection)s, %(delivery)s, %(topic)s, %(road)s, %(event)s, %(body)s, %(triggered)s,
            %(now)s, %(id)s, %(by)s, %(reason)s)
        returning id
        """,
        shop=row["shop_id"],
        connection=row["connection_id"],
        delivery=delivery_id,
        topic=row["topic"],
        road=row["road"],
        event=row["event_ref"],
        body=body,
        triggered=row["triggered_at"],
        now=now,
        id=row["id"],
        by=actor.name,
        reason=actor.reason,
    )
    return Edited(copy, row["connection_id"], delivery_id)


def _json(body: Any) -> Any:
    """The body as JSON; None where it is none, or only a bare null."""
    try:
        return json.loads(bytes(body))
    except (ValueError, RecursionError):
        return None
