"""Any history of answers, remappings, sales, shipments, cancellations and counts: the audit finds nothing.

Besides, of every line that is mapped the promise is of the SKU that the line is, and comes to its units.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from core.db import fetch
from core.errors import Anticipated
from core.identity import operations
from core.identity.rules import identifier
from core.orders import intake
from tests.factories import (
    ACTOR,
    World,
    adjust_stock,
    book,
    first_sync,
    later,
    make_channel_listing,
    make_connection,
    make_fulfilment,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_world,
    world_of,
)
from tests.stock_desk import broken, compose

SKUS = ("MUG", "CUP", "KIT")
REFS = ("A", "B", "C")
"""Listings of the second channel that nobody knows at first; A and B share a product page."""

ACTS = st.one_of(
    st.tuples(st.just("map"), st.sampled_from(("variant", "seller_sku", "asin")), st.sampled_from(REFS),
              st.sampled_from(SKUS)),
    st.tuples(st.just("remap"), st.sampled_from(("variant", "seller_sku")), st.sampled_from(REFS),
              st.sampled_from(SKUS)),
    st.tuples(st.just("ignore"), st.just("variant"), st.sampled_from(REFS), st.none()),
    st.tuples(st.just("reopen"), st.just("variant"), st.sampled_from(REFS), st.none()),
    st.tuples(st.just("sell"), st.integers(1, 4), st.sampled_from(REFS), st.sampled_from((None, *REFS))),
    st.tuples(st.just("ship"), st.integers(0, 9), st.integers(1, 4), st.none()),
    st.tuples(st.just("unship"), st.integers(0, 9), st.none(), st.none()),
    st.tuples(st.just("cancel"), st.integers(0, 9), st.none(), st.none()),
    st.tuples(st.just("refund"), st.integers(0, 9), st.sampled_from(("return", "cancel")), st.none()),
    st.tuples(st.just("adjust"), st.integers(-3, 5), st.sampled_from(("MUG", "CUP")), st.none()),
    st.tuples(st.just("tell"), st.none(), st.sampled_from(REFS), st.none()),
)  # fmt: skip


@dataclass
class History:
    """One shop, and the orders that were placed in it."""

    conn: Connection
    world: World
    there: World
    orders: list[tuple[str, int, str | None, str]] = field(default_factory=list)
    at: int = 10

    def do(self, act: str, *words: Any) -> None:
        self.at += 1
        nested = self.conn.begin_nested()
        try:
            getattr(self, act)(*words)
            nested.commit()
        except Anticipated:
            # What is refused changes nothing.
            nested.rollback()

    def named(self, kind: str, ref: str) -> Any:
        value = {"variant": f"variant:{ref}", "seller_sku": ref, "asin": "B0PAGE" if ref in "AB" else "B0OTHER"}[kind]
        return identifier(self.there.connection.id, kind, value)

    def map(self, kind: str, ref: str, code: str) -> None:
        operations.map_identifier(self.conn, self.world.shop_id, self.named(kind, ref), code, ACTOR, later(self.at))

    def remap(self, kind: str, ref: str, code: str) -> None:
        one, shop_id, now = self.named(kind, ref), self.world.shop_id, later(self.at)
        nested = self.conn.begin_nested()
        try:
            token = operations._remap(self.conn, shop_id, one, code, ACTOR, now).token()
        finally:
            nested.rollback()
        operations.remap_identifier(self.conn, shop_id, one, code, token, ACTOR, now)

    def ignore(self, kind: str, ref: str, _: None) -> None:
        operations.ignore_identifier(self.conn, self.world.shop_id, self.named(kind, ref), ACTOR, later(self.at))

    def reopen(self, kind: str, ref: str, _: None) -> None:
        operations.reopen_identifier(self.conn, self.world.shop_id, self.named(kind, ref), ACTOR, later(self.at))

    def sell(self, units: int, ref: str, other: str | None) -> None:
        order_ref = str(len(self.orders))
        lines = [make_line("1", ref, units)] + ([make_line("2", other, 1)] if other else [])
        self.orders.append((order_ref, units, other, ref))
        book(self.conn, self.there, make_order(order_ref, lines, placed_at=later(self.at)))

    def _order(self, number: int) -> tuple[str, int, str | None, str] | None:
        return self.orders[number % len(self.orders)] if self.orders else None

    def ship(self, number: int, units: int, _: None) -> None:
        if order := self._order(number):
            shipped = (("1", min(units, order[1])),)
            book(self.conn, self.there, make_fulfilment(order[0], shipped, ref="f", at=later(self.at)))

    def unship(self, number: int, *_: None) -> None:
        if order := self._order(number):
            book(
                self.conn,
                self.there,
                make_fulfilment(order[0], (("1", 1),), ref="f", at=later(self.at), is_shipped=False),
            )

    def cancel(self, number: int, *_: None) -> None:
        if order := self._order(number):
            ref, units, other, sold = order
            lines = [make_line("1", sold, units)] + ([make_line("2", other, 1)] if other else [])
            told = make_order(ref, lines, version_at=later(self.at), cancelled_at=later(self.at))
            book(self.conn, self.there, told)

    def refund(self, number: int, restock: Any, _: None) -> None:
        if order := self._order(number):
            line = make_refund_line("1", 1, restock)
            book(self.conn, self.there, make_refund(order[0], [line], ref="r", at=later(self.at)))

    def adjust(self, units: int, code: str, _: None) -> None:
        if units:
            adjust_stock(self.conn, self.world, code, units)

    def tell(self, _: None, ref: str, __: None) -> None:
        intake.take_in(self.conn, self.there.connection, [listing(ref, self.at)], later(self.at), is_whole=True)


def listing(ref: str, minutes: int) -> Any:
    return make_channel_listing(ref, 5, later(minutes), product_ref="B0PAGE" if ref in "AB" else "B0OTHER")


def begin(conn: Connection) -> History:
    world = make_world(conn, {"MUG": 10, "CUP": 10, "KIT": 0})
    compose(conn, world, "KIT", {"MUG": 2, "CUP": 1})
    connection = make_connection(conn, world.shop_id, is_sku_source=False)
    intake.take_in(conn, connection, [listing(ref, 0) for ref in REFS], later(0))
    first_sync(conn, connection)
    return History(conn, world, world_of(conn, connection))


@given(st.lists(ACTS, min_size=8, max_size=24))
@settings(max_examples=20)
def test_whatever_is_mapped_and_sold_every_promise_is_its_lines(module_engine: Engine, acts: list[Any]) -> None:
    with module_engine.connect() as conn, conn.begin() as transaction:
        history = begin(conn)
        for act in acts:
            history.do(*act)
        assert broken(conn, history.world, later(history.at)) == {}
        assert misplaced(conn, history.world.shop_id) == []
        transaction.rollback()


def misplaced(conn: Connection, shop_id: int) -> list[Any]:
    """Lines whose promises are not what the SKU they are takes, as many as the line has."""
    rows = fetch(
        conn,
        """
        select l.id, l.units, l.sku_id, w.sku_id as part, w.units as each, r.units as promised
        from order_lines l
        cross join lateral (
            select b.part_sku_id as sku_id, b.units from bundle_parts b
            where b.shop_id = l.shop_id and b.bundle_sku_id = l.sku_id
            union all
            select l.sku_id, 1 where not exists (select from bundle_parts b
                where b.shop_id = l.shop_id and b.bundle_sku_id = l.sku_id)
        ) w
        full join (select * from reservations where shop_id = %(shop)s and order_line_id is not null) r
            on r.order_line_id = l.id and r.sku_id = w.sku_id
        where coalesce(l.shop_id, r.shop_id) = %(shop)s and coalesce(l.mapping, 'stocked') = 'stocked'
            and l.units * w.units is distinct from r.units
        """,
        shop=shop_id,
    )
    return list(rows)
