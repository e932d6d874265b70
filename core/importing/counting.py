"""Setting stock on hand to the numbers of a file: what can be set is, and what cannot is told of its product alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.audit import Actor
from core.db import fetch
from core.desk import operations as desk
from core.desk import queries as places
from core.desk.booking import Item
from core.desk.rules import LINES_MAX, UNITS_MAX
from core.errors import Anticipated
from core.importing.queries import Run

_TOLD = 5
"""Sentences of one product; the numbers of its other SKUs are told by how many they are."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What is to be said of the stock of one product. `is_set`: all that could be is, and the rest has none."""

    is_set: bool
    said: str


def set_stock(
    conn: Connection, run: Run, rows: Sequence[RowMapping], actor: Actor, now: datetime
) -> dict[int, Counted]:
    """Bring what is on hand to the numbers of some items (`position`, `units` by code), by documents of the desk.

    By position, what is to be said of it: of SKUs that have no stock of their own, or whose number cannot be.
    """
    location_id = run.settings.location_id
    owners = {code: row["position"] for row in rows for code in row["units"] or {}}
    if location_id is None or not owners:
        return {}
    units = {code: number for row in rows for code, number in (row["units"] or {}).items()}
    levels = _levels(conn, run.shop_id, location_id, sorted(units))
    passed = {
        code: _passed_by(level, units[code])
        for code, level in levels.items()
        if level["is_bundle"] or not level["is_stocked"]
    }
    refused = {
        code: said
        for code, level in levels.items()
        if code not in passed and (said := _beyond(code, units[code], level["on_hand"]))
    }
    items = [
        Item(code, units[code] - level["on_hand"])
        for code, level in levels.items()
        if code not in passed and code not in refused and units[code] != level["on_hand"]
    ]
    if location_id in places.locations(conn, run.shop_id):
        key = f"import:{run.id}:{rows[0]['position']}"
        for start in range(0, len(items), LINES_MAX):
            refused |= _booked(conn, run, location_id, items[start : start + LINES_MAX], key, start, actor, now)
    else:
        refused |= {item.code: "the location is not ours to book at any more" for item in items}
    return _by_product(owners, passed, refused)


def _levels(conn: Connection, shop_id: int, location_id: int, codes: Sequence[str]) -> dict[str, RowMapping]:
    rows = fetch(
        conn,
        """
        select s.code, s.is_stocked, s.is_bundle, coalesce(k.on_hand, 0) as on_hand from skus s
        left join stock_levels k on k.shop_id = s.shop_id and k.sku_id = s.id and k.location_id = %(location)s
        where s.shop_id = %(shop)s and s.code = any(%(codes)b::text[])
        order by s.code
        """,
        shop=shop_id,
        location=location_id,
        codes=codes,
    )
    return {row["code"]: row for row in rows}


def _passed_by(level: RowMapping, number: int) -> str:
    """That a SKU has no stock of its own; "" where the file says as much: 0 of it."""
    if not number:
        return ""
    why = "is a bundle, whose stock is that of its parts" if level["is_bundle"] else "is not stocked"
    return f"{level['code']} {why}: {number:,} was not set"


def _beyond(code: str, number: int, on_hand: int) -> str:
    """Why a number cannot be set; "" where it can. The desk takes nothing below nothing, nor beyond all measure."""
    if number < 0 and number < on_hand:
        return f"{code}: {number:,} is no number of units on hand"
    if abs(number - on_hand) > UNITS_MAX:
        return (
            f"{code}: from {on_hand:,} to {number:,} is more than is booked at once ({UNITS_MAX:,}): is it a barcode?"
        )
    return ""


def _booked(
    conn: Connection,
    run: Run,
    location_id: int,
    items: Sequence[Item],
    key: str,
    start: int,
    actor: Actor,
    now: datetime,
) -> dict[str, str]:
    """Book items as one document; where the desk refuses it for one of them, the others. Returns why, by code."""
    if not items:
        return {}
    try:
        with conn.begin_nested():
            part = f"{key}:{start}"
            desk.adjust(conn, run.shop_id, location_id, items, part, actor, now, reference=run.file_name[:100])
    except Anticipated as error:
        if len(items) == 1:
            return {items[0].code: str(error)}
        middle = len(items) // 2
        first = _booked(conn, run, location_id, items[:middle], key, start, actor, now)
        return first | _booked(conn, run, location_id, items[middle:], key, start + middle, actor, now)
    return {}


def _by_product(owners: Mapping[str, int], passed: Mapping[str, str], refused: Mapping[str, str]) -> dict[int, Counted]:
    told: dict[int, list[str]] = {}
    for code, said in (*refused.items(), *passed.items()):
        if said:
            told.setdefault(owners[code], []).append(said)
    unset = {owners[code] for code in refused}
    return {position: Counted(position not in unset, _joined(said)) for position, said in told.items()}


def _joined(said: Iterable[str]) -> str:
    return "; ".join(_shortened(list(said)))


def _shortened(said: Sequence[str]) -> Iterator[str]:
    yield from said[:_TOLD]
    if len(said) > _TOLD:
        yield f"and {len(said) - _TOLD:,} more of its SKUs"
