"""The post-mortem of an oversell: what took a pool below nothing, and which setting would have prevented it.

What `core.inventory.verdicts` judges is read here: the order, the writes, edits and exposure before it, and how the
pool was shared. Everything is bounded: the newest few of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from core.db import fetch, fetch_one
from core.errors import BadInput
from core.inventory.exposing import OVERTAKEN
from core.inventory.planner import Mode
from core.inventory.verdicts import Case, Seat, Verdict, judge, went_below

WRITES = 5
CHANGES = 12
CALLS = 4
BOOKED_TOGETHER = 200


class NoShortage(BadInput):
    """A shortage asked for by a number that is not there."""

    def __init__(self, shortage_id: int) -> None:
        super().__init__(f"there is no shortage {shortage_id}: `switchyard oversold` lists them")


# --- from the database ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PostMortem:
    """One shortage told: its row, the order, what channels had just before, and what led to it, newest first."""

    shortage: RowMapping
    order: RowMapping | None
    case: Case
    verdict: Verdict
    changes: Sequence[RowMapping]
    writes: Sequence[RowMapping]
    calls: Sequence[RowMapping]


def list_(conn: Connection, shop_id: int, *, before_id: int | None = None, limit: int = 20) -> Sequence[RowMapping]:
    """Shortages of a shop, newest first, older than `before_id`."""
    return fetch(
        conn,
        """
        select * from shortage_list where shop_id = %(shop)s and (%(before)s::int8 is null or shortage_id < %(before)s)
        order by shortage_id desc limit %(limit)s
        """,
        shop=shop_id,
        before=before_id,
        limit=limit,
    )


def read(conn: Connection, shop_id: int, shortage_id: int) -> PostMortem:
    """One shortage with what led to it. Raises NoShortage."""
    row = fetch_one(
        conn,
        "select * from shortage_list where shop_id = %(shop)s and shortage_id = %(id)s",
        shop=shop_id,
        id=shortage_id,
    )
    if row is None:
        raise NoShortage(shortage_id)
    order = _order(conn, row)
    booked_at = row["booked_at"] or row["began_at"]
    seats = _seats(conn, row, booked_at, order["listing_id"] if order else None)
    listing_ids = [seat["listing_id"] for seat in seats]
    changes = fetch(conn, _CHANGES, shop=shop_id, listings=listing_ids, at=booked_at, limit=CHANGES)
    writes = fetch(conn, _WRITES, shop=shop_id, listings=listing_ids, at=booked_at, limit=WRITES)
    case = _case(row, order, seats, changes)
    return PostMortem(row, order, case, judge(case), changes, writes, _calls(conn, shop_id, writes))


def _order(conn: Connection, row: RowMapping) -> RowMapping | None:
    """Of what was booked at once, the order that went below, with the listing that sold it."""
    if row["reservation_id"] is None:
        return None
    booked = fetch(
        conn,
        f"""
        select r.id, r.units, r.units_each, o.id as order_id, o.name as order_name, o.placed_at, o.cancelled_at,
            l.units as line_units, l.listing_id, c.id as connection_id, c.name as connection,
            not c.reads_orders or c.watermark_at is null as is_unwatched
        from reservations r
        join order_lines l on l.shop_id = r.shop_id and l.id = r.order_line_id
        join orders o on o.shop_id = l.shop_id and o.id = l.order_id
        join connections c on c.shop_id = o.shop_id and c.id = o.connection_id
        where r.shop_id = %(shop)s and r.sku_id = %(sku)s and r.location_id = %(location)s
            and r.id <= %(newest)s and r.created_at = (select n.created_at from reservations n
                where n.shop_id = %(shop)s and n.id = %(newest)s)
        order by r.id desc limit {BOOKED_TOGETHER}
        """,
        shop=row["shop_id"],
        sku=row["sku_id"],
        location=row["location_id"],
        newest=row["reservation_id"],
    )
    return booked[went_below(row["after_units"], [each["units"] for each in booked])] if booked else None


def _seats(conn: Connection, row: RowMapping, at: datetime, seller_id: int | None) -> Sequence[RowMapping]:
    """The pool's listings with what each had exposed just before `at`, by its ledger; null where that is forgotten."""
    return fetch(
        conn,
        """
        select t.listing_id, t.connection, t.guarantee_class, t.units_each, t.mode, t.is_unwatched,
            t.listing_id = %(seller)s as is_seller,
            coalesce(earlier.exposed_units, later.exposed_units - later.delta_units) * t.units_each as exposed_units
        from pool_seats t
        left join lateral (
            select x.exposed_units from exposure_change_log x
            where x.shop_id = t.shop_id and x.listing_id = t.listing_id and x.changed_at < %(at)s
            order by x.change_id desc limit 1
        ) earlier on true
        left join lateral (
            select x.exposed_units, x.delta_units from exposure_change_log x
            where x.shop_id = t.shop_id and x.listing_id = t.listing_id and x.changed_at >= %(at)s
            order by x.change_id limit 1
        ) later on earlier.exposed_units is null
        where t.shop_id = %(shop)s and t.sku_id = %(sku)s and t.location_id = %(location)s
        order by t.connection, t.listing_id
        """,
        shop=row["shop_id"],
        sku=row["sku_id"],
        location=row["location_id"],
        at=at,
        seller=seller_id,
    )


def _case(
    row: RowMapping, order: RowMapping | None, seats: Sequence[RowMapping], changes: Sequence[RowMapping]
) -> Case:
    modes = {seat["mode"] for seat in seats}
    mode: Mode = "escrow" if "escrow" in modes else "adaptive" if "adaptive" in modes else "pooled"
    seller_id = order["listing_id"] if order else None
    return Case(
        before_units=row["before_units"],
        after_units=row["after_units"],
        sold_units=order["units"] if order else None,
        seller=order["connection"] if order else row["connection"],
        movement=row["movement_reason"],
        seats=[
            Seat(
                seat["listing_id"],
                seat["connection"],
                seat["guarantee_class"],
                seat["units_each"],
                seat["exposed_units"],
                bool(seat["is_seller"]),
            )
            for seat in seats
        ],
        edited_units=_unexplained(changes, seller_id),
        is_watched=order is None or not order["is_unwatched"],
        mode=mode,
        was_escrow=row["is_escrow"],
        line_units=row["escrow_line_units"],
    )


def _unexplained(changes: Sequence[RowMapping], seller_id: int | None) -> int:
    """Units of edits on the seller since its exposure last collapsed to what it shows; `changes` are newest first."""
    units = 0
    for change in changes:
        if change["listing_id"] != seller_id:
            continue
        if change["cause"] == "collapsed":
            break
        if change["cause"] == "edit":
            units += change["delta_units"]
    return units


_CHANGES = """
    select x.listing_id, l.connection_id, c.name as connection, x.cause, x.asked_units, x.delta_units,
        x.exposed_units, x.write_id, x.changed_at
    from unnest(%(listings)b::int8[]) as n (id)
    cross join lateral (
        select y.* from exposure_change_log y
        where y.shop_id = %(shop)s and y.listing_id = n.id and y.changed_at <= %(at)s
        order by y.change_id desc limit %(limit)s
    ) x
    join listings l on l.shop_id = %(shop)s and l.id = x.listing_id
    join connections c on c.shop_id = l.shop_id and c.id = l.connection_id
    order by x.change_id desc limit %(limit)s
"""

_WRITES = """
    select w.listing_id, l.connection_id, c.name as connection, w.write_id, w.from_units, w.to_units, w.planned_at,
        w.sent_at, w.accepted_at, w.outcome, w.outcome_at, w.outcome_code, w.outcome_detail, w.observed_units, w.doubt
    from unnest(%(listings)b::int8[]) as n (id)
    cross join lateral (
        select y.* from listing_write_log y
        where y.shop_id = %(shop)s and y.listing_id = n.id and y.planned_at <= %(at)s
        order by y.write_id desc limit %(limit)s
    ) w
    join listings l on l.shop_id = %(shop)s and l.id = w.listing_id
    join connections c on c.shop_id = l.shop_id and c.id = l.connection_id
    order by w.write_id desc limit %(limit)s
"""


def _calls(conn: Connection, shop_id: int, writes: Sequence[RowMapping]) -> Sequence[RowMapping]:
    """The calls made to a channel while its newest write was on its way."""
    sent = next((row for row in writes if row["sent_at"] is not None), None)
    if sent is None:
        return []
    return fetch(
        conn,
        """
        select a.connection_id, c.name as connection, a.operation, a.status, a.outcome, a.elapsed_ms, a.error,
            a.called_at
        from api_calls a join connections c on c.shop_id = a.shop_id and c.id = a.connection_id
        where a.shop_id = %(shop)s and a.connection_id = %(connection)s
            and a.called_at between %(begins)s::timestamptz - interval '2 seconds'
                and coalesce(%(ends)s::timestamptz, %(begins)s::timestamptz + interval '2 minutes')
        order by a.called_at desc limit %(limit)s
        """,
        shop=shop_id,
        connection=sent["connection_id"],
        begins=sent["sent_at"],
        ends=sent["outcome_at"],
        limit=CALLS,
    )


# --- as an ordered list of facts --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the timeline: when, who said it (a channel, us, or a person), what, and where its rows are."""

    at: datetime
    who: str
    what: str
    kind: str
    write_id: int | None = None


_CHANGE_WORDS = {
    "base": "exposure begins at {exposed}",
    "sale": "{asked} sold and booked; it could still sell {exposed}",
    "restock": "{asked} put back by the channel; it could sell {exposed}",
    "write": "a write adds {delta} before it is sent; it could sell {exposed}",
    "confirmed": "a lowering is confirmed; it could sell {exposed}",
    "refused": "a write was refused; it could sell {exposed}",
    "edit": "shows {asked} that nobody here wrote; it could sell {exposed}",
    "collapsed": "its orders are known up to its number; it could sell {exposed}",
}


def timeline(found: PostMortem) -> list[Fact]:
    """What happened, newest first."""
    row, order = found.shortage, found.order
    facts: list[Fact] = []
    booked_at = row["booked_at"] or row["began_at"]
    what = f"available goes from {row['before_units']:,} to {_signed(row['after_units'])}"
    if row["ended_at"] is not None:
        lowest = (
            f", after {_signed(row['worst_units'])} at the worst" if row["worst_units"] < row["after_units"] else ""
        )
        facts.append(Fact(row["ended_at"], "us", f"available is not below 0 any more{lowest}", "ended"))
    facts.append(Fact(booked_at, "us", what, "short"))
    if order is not None:
        sold = f"order {order['order_name']}: {order['units']:,} sold"
        if order["units_each"] > 1:
            sold += f" ({order['line_units']:,} bundles with {order['units_each']:,} in each)"
        facts.append(Fact(order["placed_at"], order["connection"], sold, "order"))
        if order["cancelled_at"] is not None:
            facts.append(Fact(order["cancelled_at"], order["connection"], f"order {order['order_name']} is cancelled",
                              "ended"))  # fmt: skip
    elif row["movement_reason"] is not None:
        facts.append(Fact(booked_at, row["moved_by"], f"a {_movement(row['movement_reason'])} is booked", "movement"))
    facts += [_change(change) for change in found.changes if change["cause"] != "write"]
    for write in found.writes:
        facts += _write(write)
    facts += [_call(call) for call in found.calls]
    order_of_kinds = {"ended": 0, "short": 1, "order": 2, "movement": 2}
    return sorted(facts, key=lambda fact: (-fact.at.timestamp(), order_of_kinds.get(fact.kind, 3)))


def _change(change: RowMapping) -> Fact:
    words = _CHANGE_WORDS[change["cause"]].format(
        asked=f"{abs(change['asked_units']):,}",
        delta=f"{change['delta_units']:,}",
        exposed=f"{change['exposed_units']:,}",
    )
    return Fact(change["changed_at"], change["connection"], words, change["cause"], change["write_id"])


def _write(write: RowMapping) -> list[Fact]:
    start = "whatever it showed" if write["from_units"] is None else f"{write['from_units']:,}"
    number, channel = write["write_id"], write["connection"]
    facts = [Fact(write["planned_at"], "us", f"write to {channel}: {start} → {write['to_units']:,}", "write", number)]
    if write["outcome_at"] is not None:
        said = ": ".join(part for part in (write["outcome_code"], write["outcome_detail"]) if part)
        shown = f", it shows {write['observed_units']:,}" if write["observed_units"] is not None else ""
        became = _OUTCOMES["overtaken" if write["outcome_code"] == OVERTAKEN else write["outcome"]]
        answer = f"{became}{f' ({said})' if said else ''}{shown}"
        facts.append(Fact(write["outcome_at"], channel, answer, write["outcome"], number))
    elif write["doubt"]:
        at = write["sent_at"] or write["planned_at"]
        facts.append(Fact(at, channel, f"no sure answer: {write['doubt']}", "doubt", number))
    return facts


_OUTCOMES = {
    "confirmed": "took the write",
    "refused": "refused the write",
    "stale": "showed another number than the write expected",
    "overtaken": "did not tell whether the write landed, and the next one took its place",
    "withdrawn": "the write was withdrawn before it left",
}


def _call(call: RowMapping) -> Fact:
    answer = f"status {call['status']}" if call["status"] is not None else "no answer"
    why = f": {call['error']}" if call["error"] else ""
    took = f"{call['elapsed_ms']:,} ms"
    what = f"call {call['operation']}: {call['outcome']}, {answer}, {took}{why}"
    return Fact(call["called_at"], call["connection"], what, "call")


def _movement(reason: str) -> str:
    return reason.replace("_", " ")


def _signed(number: int) -> str:
    return f"{number:,}".replace("-", "\N{MINUS SIGN}")


def as_json(found: PostMortem) -> dict[str, Any]:
    """One shortage as plain values."""
    return {
        "shortage": dict(found.shortage),
        "order": None if found.order is None else dict(found.order),
        "verdict": {
            "cause": found.verdict.cause,
            "because": found.verdict.because,
            "prevented_by": found.verdict.prevented_by,
            "line_units": found.verdict.line_units,
        },
        "exposed_before": [
            {"connection": seat.connection, "units": seat.exposed_units, "sold_it": seat.is_seller}
            for seat in found.case.seats
        ],
        "timeline": [
            {"at": fact.at, "who": fact.who, "what": fact.what, "write_id": fact.write_id} for fact in timeline(found)
        ],
    }
