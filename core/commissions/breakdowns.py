"""What was sold over some business days and who has how much of it: by seller, creator, referrer, channel or category.

Everything is summed by currency, and never over two of them. Days are those on which it happened, in the shop's zone.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, get_args

from sqlalchemy import Connection

from core.db import fetch
from core.money import to_major
from core.spreadsheets import guarded

By = Literal["seller", "creator", "referrer", "channel", "category"]
BYS: tuple[By, ...] = get_args(By)
Base = Literal["item", "shipping"]

_COLUMNS: dict[By, str] = {
    "seller": "b.seller_id::text",
    "creator": "b.creator_id::text",
    "referrer": "b.referrer_id::text",
    "channel": "b.connection_id::text",
    "category": "b.category",
}
_PARTS = ("gross", "net", "tax", "seller", "platform", "creator", "referrer", "channel", "authority", "unassigned")
_SUMS = ", ".join(f"sum(b.{part}_minor)::int8 as {part}_minor" for part in _PARTS)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is looked at: business days, both included, and only what is of these; None: all."""

    first: date
    last: date
    base: Base | None = None
    seller: str | None = None
    """Empty: what the platform sells itself; alike of the others: of what has none."""
    channel: str | None = None
    category: str | None = None


_WHERE = """
    b.shop_id = %(shop)s and b.day between %(first)s and %(last)s
    and (%(base)s::text is null or b.base = %(base)s)
    and (%(seller)s::text is null or coalesce(b.seller_id::text, '') = %(seller)s)
    and (%(channel)s::text is null or coalesce(b.connection_id::text, '') = %(channel)s)
    and (%(category)s::text is null or coalesce(b.category, '') = %(category)s)
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One of what it is broken down by. `key` None: of none (the platform itself, no creator, no category)."""

    key: str | None
    name: str | None
    currency: str
    gross_minor: int
    carriage_minor: int
    """How much of the gross is carriage, with its taxes."""
    net_minor: int
    tax_minor: int
    seller_minor: int
    platform_minor: int
    creator_minor: int
    referrer_minor: int
    channel_minor: int
    authority_minor: int
    unassigned_minor: int


def breakdown(conn: Connection, shop_id: int, by: By, chosen: Chosen) -> list[Row]:
    """Who has how much, the most first; by creator and referrer only what has one."""
    has_one = "" if by in ("seller", "channel", "category") else f"and {_COLUMNS[by]} is not null"
    rows = fetch(
        conn,
        f"""
        with summed as (
            select {_COLUMNS[by]} as key, b.currency, {_SUMS},
                coalesce(sum(b.gross_minor) filter (where b.base = 'shipping'), 0)::int8 as carriage_minor
            from commission_breakdown b where {_WHERE} {has_one} group by 1, 2
        )
        select s.*, case %(by)s when 'category' then s.key
            when 'channel' then (select c.name from connections c
                where c.shop_id = %(shop)s and c.id::text = s.key)
            else (select p.name from parties p where p.shop_id = %(shop)s and p.id::text = s.key) end as name
        from summed s order by s.currency, s.gross_minor desc, s.key
        """,
        by=by,
        **_params(shop_id, chosen),
    )
    return [Row(**row) for row in rows]


def trend(conn: Connection, shop_id: int, chosen: Chosen, is_weekly: bool) -> list[dict[str, Any]]:
    """The same sums for each day, or each week from its Monday on, by currency; days without any are left out."""
    bucket = "date_trunc('week', b.day)::date" if is_weekly else "b.day"
    rows = fetch(
        conn,
        f"""
        select {bucket} as day, b.currency, {_SUMS} from commission_breakdown b where {_WHERE}
        group by 1, 2 order by 1, 2
        """,
        **_params(shop_id, chosen),
    )
    return [dict(row) for row in rows]


def _params(shop_id: int, chosen: Chosen) -> dict[str, Any]:
    return {
        "shop": shop_id,
        "first": chosen.first,
        "last": chosen.last,
        "base": chosen.base,
        "seller": chosen.seller,
        "channel": chosen.channel,
        "category": chosen.category,
    }


NOBODY: dict[By, str] = {
    "seller": "The platform itself",
    "creator": "No creator",
    "referrer": "No referrer",
    "channel": "Without an order",
    "category": "Without a category",
}


def name_of(row: Row, by: By) -> str:
    """What a row is called."""
    return row.name or row.key or NOBODY[by]


def totals(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """Sums by currency of every amount."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        mine = found.setdefault(row.currency, dict.fromkeys((*_PARTS, "carriage"), 0))
        for part in mine:
            mine[part] += getattr(row, f"{part}_minor")
    return found


def as_csv(rows: Sequence[Row], by: By, chosen: Chosen) -> bytes:
    """RFC 4180, UTF-8, CRLF; amounts in major units with a decimal point."""
    text = io.StringIO(newline="")
    out = csv.writer(text, lineterminator="\r\n")
    out.writerow(("first_day", "last_day", by, "currency", *_PARTS, "carriage"))
    for row in rows:
        amounts = (f"{to_major(getattr(row, f'{part}_minor'), row.currency):f}" for part in (*_PARTS, "carriage"))
        out.writerow((chosen.first, chosen.last, guarded(name_of(row, by)), row.currency, *amounts))
    return text.getvalue().encode()
