"""Any sequence of sale, edit, refund, chargeback, shipment, hold, release and adjustment: every transaction balanced,
every share summed, no unit of money unexplained, whatever comes twice or late."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from core.audit import Actor
from core.commissions import adjusting, catching_up, disputing, holding, releasing
from core.commissions.rules import Rule
from core.db import fetch, scalar
from core.errors import Anticipated
from core.ports import ChannelOrder, ChannelRefund
from tests.earning import balances, make_company, unexplained
from tests.factories import (
    ACTOR,
    NOW,
    World,
    book,
    make_channel_listing,
    make_fulfilment,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_world,
)

OTHER = Actor("Noor", "looked at it")
ACTS = ("sale", "sale", "edit", "refund", "refund", "ship", "cancel", "again", "chargeback", "decide", "hold", "lift")
ACTS += ("adjust", "approve", "release", "map", "fold")
PRICES = ("0.01", "2.50", "19.99", "7.333")


@dataclass
class Play:
    """A company at work; acts change what its channel says, and what its people do."""

    conn: Connection
    world: World
    parties: list[int]
    data: st.DataObject
    orders: dict[str, ChannelOrder] = field(default_factory=dict)
    refunds: list[ChannelRefund] = field(default_factory=list)
    adjusted: int = 0
    now: datetime = NOW

    def draw(self, strategy: st.SearchStrategy[Any]) -> Any:
        return self.data.draw(strategy)

    def act(self, name: str) -> None:
        self.now += timedelta(hours=self.draw(st.integers(1, 200)))
        # A person may ask for what is not to be had: nothing is done then.
        with contextlib.suppress(Anticipated):
            getattr(self, name)()

    def some_order(self) -> ChannelOrder | None:
        return self.orders[self.draw(st.sampled_from(sorted(self.orders)))] if self.orders else None

    def tell(self, *items: object) -> None:
        book(self.conn, self.world, *items, now=self.now)

    def sale(self) -> None:
        ref = str(1000 + len(self.orders))
        codes = self.draw(st.lists(st.sampled_from(["MUG", "CUP", "OWN", "LATE"]), min_size=1, max_size=3))
        lines = [
            make_line(str(n), code, self.draw(st.integers(0, 4)), self.draw(st.sampled_from(PRICES)))
            for n, code in enumerate(codes, start=1)
        ]
        tax, shipping = self.draw(st.sampled_from([None, 0, 317])), self.draw(st.sampled_from([None, 0, 499]))
        is_included = self.draw(st.sampled_from([None, True, False]))
        total = sum(line.total_minor for line in lines) + (shipping or 0) + (0 if is_included else tax or 0)
        order = make_order(
            ref,
            lines,
            placed_at=self.now,
            total_minor=total + self.draw(st.sampled_from([0, 0, 0, 150])),
            tax_minor=tax,
            shipping_minor=shipping,
            taxes_included=is_included,
            codes=tuple(self.draw(st.sets(st.sampled_from(["MAYA10", "FRIEND", "other"])))),
        )
        self.orders[ref] = order
        self.tell(order)

    def edit(self) -> None:
        order = self.some_order()
        if order is not None:
            lines = tuple(
                make_line(line.ref, line.code, self.draw(st.integers(0, line.units)), str(line.unit_price))
                for line in order.lines
            )
            order = self.orders[order.ref] = replace(order, lines=lines, version_at=self.now, is_edited=True)
            self.tell(order)

    def refund(self) -> None:
        order = self.some_order()
        if order is not None:
            lines = [
                make_refund_line(line.ref, line.units, "no_restock", self.draw(st.integers(0, line.total_minor)))
                for line in order.lines
                if line.units and self.draw(st.booleans())
            ]
            amount = self.draw(st.integers(0, order.total_minor + 100))
            refund = make_refund(order.ref, lines, f"r{len(self.refunds)}", self.now, amount_minor=amount)
            self.refunds.append(refund)
            self.tell(refund)

    def again(self) -> None:
        """The channel says something once more."""
        for item in [*self.refunds[-2:], self.some_order()]:
            if item is not None:
                self.tell(item)

    def ship(self) -> None:
        order = self.some_order()
        if order is not None:
            lines = [(line.ref, line.units) for line in order.lines if line.units]
            self.tell(make_fulfilment(order.ref, lines, f"f{order.ref}", at=self.now))

    def cancel(self) -> None:
        order = self.some_order()
        if order is not None:
            order = self.orders[order.ref] = replace(order, cancelled_at=self.now, version_at=self.now)
            self.tell(order)

    def map(self) -> None:
        """What nobody knew is listed at last: its lines are booked late."""
        self.tell(make_channel_listing("LATE", 5))

    def order_id(self) -> int | None:
        order = self.some_order()
        sql = "select id from orders where shop_id = %(s)s and channel_ref = %(r)s"
        return None if order is None else scalar(self.conn, sql, s=self.world.shop_id, r=order.ref)

    def chargeback(self) -> None:
        order_id = self.order_id()
        if order_id is not None:
            ref, amount = self.draw(st.sampled_from(["dp_1", "dp_2"])), self.draw(st.integers(1, 6_000))
            disputing.record_chargeback(self.conn, self.world.shop_id, order_id, ref, amount, self.now, ACTOR, self.now)

    def decide(self) -> None:
        numbers = self.ids("chargebacks")
        if numbers:
            number, is_won = self.draw(st.sampled_from(numbers)), self.draw(st.booleans())
            disputing.decide_chargeback(self.conn, self.world.shop_id, number, is_won, ACTOR, self.now)

    def ids(self, table: str) -> list[int]:
        rows = fetch(self.conn, f"select id from {table} where shop_id = %(s)s order by 1", s=self.world.shop_id)
        return [row["id"] for row in rows]

    def hold(self) -> None:
        order_id = self.order_id()
        if order_id is not None:
            holding.place(self.conn, self.world.shop_id, ACTOR, self.now, order_id=order_id)
        else:
            holding.place(self.conn, self.world.shop_id, ACTOR, self.now, party_id=self.parties[0])

    def lift(self) -> None:
        for number in self.ids("payout_holds"):
            with contextlib.suppress(holding.NotHeld):
                holding.lift(self.conn, self.world.shop_id, number, ACTOR, self.now)

    def adjust(self) -> None:
        amount = self.draw(st.integers(-20_000, 20_000).filter(bool))
        party = self.draw(st.sampled_from(self.parties))
        asked = adjusting.ask(self.conn, self.world.shop_id, party, "GBP", amount, ACTOR, self.now)
        assert asked.is_posted == (abs(amount) <= 10_000)
        self.adjusted += amount if asked.is_posted else 0

    def approve(self) -> None:
        rows = fetch(
            self.conn,
            "select id, amount_minor from adjustments where shop_id = %(s)s and state = 'waiting'",
            s=self.world.shop_id,
        )
        for row in rows:
            try:
                adjusting.approve(self.conn, self.world.shop_id, row["id"], ACTOR, self.now)
                raise AssertionError("who asked approved")
            except adjusting.SamePerson:
                adjusting.approve(self.conn, self.world.shop_id, row["id"], OTHER, self.now)
                self.adjusted += row["amount_minor"]

    def release(self) -> None:
        releasing.release_due(self.conn, self.world.shop_id, self.now)

    def fold(self) -> None:
        catching_up.fold_days(self.conn, self.world.shop_id)
        assert catching_up.settle_unbooked(self.conn, self.world.shop_id, self.now) == 0


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_sequence_leaves_no_unit_of_money_unexplained(engine: Engine, data: st.DataObject) -> None:
    with engine.connect() as conn:
        world = make_world(conn, {"MUG": 40, "CUP": 30, "OWN": 20})
        company = make_company(
            conn,
            world,
            Rule(0, "channel_fee", "item", "percentage", rate_ppm=24_000, on_refund="kept", tax_basis="gross"),
            Rule(0, "creator_commission", "item", "tiered", currency="GBP", tiers=((0, 90_000), (1_000, 50_000))),
        )
        play = Play(conn, world, list(company.parties.values()), data)
        for act in data.draw(st.lists(st.sampled_from(ACTS), min_size=3, max_size=14)):
            play.act(act)
            assert unexplained(conn, world.shop_id) == []
        found = balances(conn, world.shop_id)
        assert sum(found.values()) == 0
        assert -found.get(("adjustments", None, "GBP"), 0) == play.adjusted
        # Told all over again, nothing more is booked.
        facts = scalar(conn, "select count(*) from commission_accruals where shop_id = %(s)s", s=world.shop_id)
        play.tell(*play.orders.values(), *play.refunds)
        assert facts == scalar(conn, "select count(*) from commission_accruals where shop_id = %(s)s", s=world.shop_id)
        conn.rollback()
