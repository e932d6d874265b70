"""Writes: put a day's head of the chain on record outside of the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from sqlalchemy import Connection

from core.clock import business_day
from core.db import execute, fetch_one, scalar
from core.ledger import anchor_files, recorded
from core.ledger.anchor_files import AnchorDiffers, Header
from core.ledger.rules import GENESIS
from core.ledger.sealing import hold_chain


@dataclass(frozen=True, slots=True)
class Anchor:
    """A row of `ledger_anchors`: on that day the chain stood at this seal, with this head (32 bytes)."""

    day: date
    number: int
    head: bytes
    place: str


def latest(conn: Connection, shop_id: int) -> Anchor | None:
    """The last anchor of a shop."""
    row = fetch_one(
        conn,
        """
        select day, seal_number as number, head, place from ledger_anchors
        where shop_id = %(shop)s order by seal_number desc, id desc limit 1
        """,
        shop=shop_id,
    )
    return None if row is None else Anchor(**row)


def anchor(conn: Connection, shop_id: int, root: Path, now: datetime) -> Anchor | None:
    """Write the shop's anchor of its business day, with every seal since the one before, and note it.

    None where nothing was ever sealed, or the day has its anchor. The file comes first: one whose unit of work was
    undone is written again, with what came since. Raises AnchorDiffers where the day's file holds something else.
    """
    hold_chain(conn, shop_id)
    shop = fetch_one(conn, "select name, time_zone from shops where shop_id = %(shop)s", shop=shop_id)
    tip = recorded.tip(conn, shop_id)
    before = latest(conn, shop_id)
    if shop is None or not tip.number:
        return None
    day = business_day(now, shop["time_zone"])
    # A zone that was changed may come to a day again.
    if before is not None and before.day >= day:
        return None
    before = _adopt(conn, shop_id, root, before, day)
    after, previous_head = (before.number, before.head) if before is not None else (0, GENESIS)
    header = Header(shop_id, shop["name"], day, now, after, previous_head, tip.number, tip.head)
    place = anchor_files.write(root, header, recorded.seals(conn, shop_id, after))
    made = Anchor(day, tip.number, tip.head, str(place))
    _note(conn, shop_id, made, now)
    return made


def _adopt(conn: Connection, shop_id: int, root: Path, before: Anchor | None, day: date) -> Anchor | None:
    """Put files of days before on record whose unit of work was undone; returns the last anchor then."""
    for written in anchor_files.days(root, shop_id):
        if written >= day or (before is not None and written <= before.day):
            continue
        header = anchor_files.header(root, shop_id, written)
        head = scalar(
            conn,
            "select head from ledger_seals where shop_id = %(shop)s and number = %(number)s",
            shop=shop_id,
            number=header.number,
        )
        path = anchor_files.path_of(root, shop_id, written)
        if head != header.head:
            raise AnchorDiffers(path)
        before = Anchor(written, header.number, header.head, str(path))
        _note(conn, shop_id, before, header.anchored_at)
    return before


def _note(conn: Connection, shop_id: int, made: Anchor, now: datetime) -> None:
    execute(
        conn,
        """
        insert into ledger_anchors (shop_id, day, seal_number, head, place, anchored_at)
        values (%(shop)s, %(day)s, %(number)s, %(head)s, %(place)s, %(now)s)
        """,
        shop=shop_id,
        day=made.day,
        number=made.number,
        head=made.head,
        place=made.place,
        now=now,
    )
