"""A warehouse for tests of the desk: a shop with two locations, orders that were shipped, and short words for acts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from core import invariants
from core.audit import Actor
from core.db import fetch, fetch_one, scalar
from core.desk import counting, documents, operations, undo
from core.desk.booking import Item, Outcome
from core.desk.counting import Seen
from core.inventory import bundles
from core.inventory import operations as inventory
from core.orders import intake
from tests.factories import (
    ACTOR,
    NOW,
    World,
    later,
    make_facts,
    make_fulfilment,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_sku,
    make_world,
    unique,
    world_of,
)

CLERK = Actor("Bea", "the morning's delivery")

OWN_CHECKS = (
    "level_is_sum_of_movements",
    "reserved_is_sum_of_reservations",
    "incoming_is_sum_of_open_documents",
    "document_is_booked_once",
    "act_is_named_and_reasoned",
)
"""The checks of the audit that documents of the desk are subject to."""


@dataclass(frozen=True, slots=True)
class Desk:
    """A world with a second location, `Yard`; acts by SKU code, each with a form of its own unless `key` names one."""

    conn: Connection
    world: World
    yard_id: int

    @property
    def shop_id(self) -> int:
        return self.world.shop_id

    @property
    def main_id(self) -> int:
        return self.world.location_id

    def items(self, units: Mapping[str, int], disposition: str | None = None) -> list[Item]:
        return [Item(code, number, disposition) for code, number in units.items()]

    def receive(self, units: Mapping[str, int], at: int | None = None, key: str | None = None, **more: Any) -> Outcome:
        return operations.receive(
            self.conn, self.shop_id, at or self.main_id, self.items(units), key or unique("form"), CLERK, NOW, **more
        )

    def adjust(self, key: str | None = None, **units: int) -> Outcome:
        return operations.adjust(
            self.conn, self.shop_id, self.main_id, self.items(units), key or unique("form"), CLERK, NOW
        )

    def take_back(
        self, units: Mapping[str, int], disposition: str = "restock", line: int | None = None, key: str | None = None
    ) -> Outcome:
        items = [Item(code, number, disposition, line) for code, number in units.items()]
        return operations.take_back(self.conn, self.shop_id, self.main_id, items, key or unique("form"), CLERK, NOW)

    def release(self, units: Mapping[str, int], disposition: str = "restock") -> Outcome:
        return operations.release_quarantine(
            self.conn, self.shop_id, self.main_id, self.items(units, disposition), unique("form"), CLERK, NOW
        )

    def order_goods(self, units: Mapping[str, int], key: str | None = None, **more: Any) -> Outcome:
        return documents.order_goods(
            self.conn, self.shop_id, self.main_id, self.items(units), key or unique("form"), CLERK, NOW, **more
        )

    def draft(self, units: Mapping[str, int], key: str | None = None) -> Outcome:
        return documents.draft_transfer(
            self.conn, self.shop_id, self.main_id, self.yard_id, self.items(units), key or unique("form"), CLERK, NOW
        )

    def send(self, document_id: int) -> Outcome:
        return documents.send_transfer(self.conn, self.shop_id, document_id, CLERK, NOW)

    def sent(self, units: Mapping[str, int]) -> int:
        return self.send(self.draft(units).document_id).document_id

    def close(self, document_id: int) -> Outcome:
        return documents.close_outstanding(self.conn, self.shop_id, document_id, Actor("Bea", "it is lost"), NOW)

    def cancel(self, document_id: int) -> Outcome:
        return documents.cancel_transfer(self.conn, self.shop_id, document_id, CLERK, NOW)

    def undo(self, document_id: int) -> Outcome:
        return undo.undo(self.conn, self.shop_id, document_id, Actor("Ada", "it was wrong"), NOW)

    def open_count(self, **more: Any) -> int:
        key = more.pop("key", None) or unique("form")
        return counting.open_count(self.conn, self.shop_id, self.main_id, key, CLERK, NOW, **more).document_id

    def count(self, document_id: int, key: str | None = None, **units: int) -> int:
        return counting.enter_counts(self.conn, self.shop_id, document_id, units, key or unique("entry"), CLERK, NOW)

    def variances(self, document_id: int) -> dict[str, int]:
        rows = fetch(
            self.conn,
            """
            select code, variance_units from desk_lines
            where shop_id = %(shop)s and document_id = %(id)s and count_state = 'counted' order by ordinal
            """,
            shop=self.shop_id,
            id=document_id,
        )
        return {row["code"]: row["variance_units"] for row in rows}

    def seen(self, document_id: int, *codes: str) -> list[Seen]:
        rows = fetch(
            self.conn,
            """
            select ordinal, code, variance_units from desk_lines
            where shop_id = %(shop)s and document_id = %(id)s and count_state = 'counted' order by ordinal
            """,
            shop=self.shop_id,
            id=document_id,
        )
        return [Seen(row["ordinal"], row["variance_units"]) for row in rows if not codes or row["code"] in codes]

    def approve(self, document_id: int, *codes: str) -> Outcome:
        seen = self.seen(document_id, *codes)
        return counting.approve(self.conn, self.shop_id, document_id, seen, Actor("Cleo", "as counted"), NOW)

    def refuse(self, document_id: int, *codes: str) -> int:
        seen = self.seen(document_id, *codes)
        return counting.refuse(self.conn, self.shop_id, document_id, seen, Actor("Cleo", "cannot be"), NOW)

    def state(self, document_id: int) -> str:
        return scalar(self.conn, "select state from stock_documents where id = %(id)s", id=document_id)

    def level(self, code: str = "MUG", at: int | None = None) -> tuple[int, int, int, int]:
        """(on hand, unavailable, incoming, available)."""
        row = fetch_one(
            self.conn,
            """
            select on_hand, unavailable, incoming, available from stock_levels
            where shop_id = %(shop)s and sku_id = %(sku)s and location_id = %(place)s
            """,
            shop=self.shop_id,
            sku=self.world.skus[code],
            place=at or self.main_id,
        )
        return (0, 0, 0, 0) if row is None else tuple(row.values())

    def levels(self) -> dict[tuple[int, int], tuple[int, ...]]:
        """Every level of the shop that is not all zero: (on hand, reserved, unavailable, incoming)."""
        rows = fetch(
            self.conn,
            """
            select sku_id, location_id, on_hand, reserved, unavailable, incoming from stock_levels
            where shop_id = %(shop)s
            """,
            shop=self.shop_id,
        )
        found = {(row["sku_id"], row["location_id"]): tuple(list(row.values())[2:]) for row in rows}
        return {pair: level for pair, level in found.items() if any(level)}

    def sell(self, ref: str, code: str = "MUG", units: int = 1, shipped: int = 0) -> int:
        """An order of the channel, of which some has left; returns its line."""
        facts = [make_order(ref, lines=[make_line(code=code, units=units)])]
        self.tell(*facts)
        if shipped:
            self.tell(make_fulfilment(ref, lines=[("1", shipped)], ref=f"f-{ref}"))
        return self.line(ref)

    def refund(self, ref: str, units: int = 1, restock: Any = "return") -> None:
        """The channel gives money for units back and says what became of them."""
        self.tell(make_refund(ref, lines=[make_refund_line(units=units, restock=restock)], ref=unique("r")))

    def tell(self, *items: object) -> None:
        intake.apply(self.conn, self.world.connection, {1: make_facts(*items)}, later(5))

    def line(self, ref: str) -> int:
        return scalar(
            self.conn,
            """
            select l.id from order_lines l join orders o on o.shop_id = l.shop_id and o.id = l.order_id
            where o.shop_id = %(shop)s and o.channel_ref = %(ref)s
            """,
            shop=self.shop_id,
            ref=ref,
        )

    def broken(self) -> list[str]:
        """The audit's checks of the desk that do not hold."""
        findings = invariants.check(self.conn, NOW, shop_id=self.shop_id)
        return [item.name for item in findings if item.rows and item.name in OWN_CHECKS]


def make_desk(
    conn: Connection, stock: Mapping[str, int] | None = None, bundle: Mapping[str, int] | None = None
) -> Desk:
    """A desk; `SET` is a bundle of the given units by code, where there is one."""
    world = make_world(conn, {"MUG": 10, "CUP": 5} if stock is None else stock)
    if bundle:
        make_sku(conn, world.shop_id, "SET")
        bundles.set_components(conn, world.shop_id, "SET", bundle, ACTOR, NOW)
    yard = inventory.open_location(conn, world.shop_id, "Yard", NOW)
    return Desk(conn, world_of(conn, world.connection), yard)
