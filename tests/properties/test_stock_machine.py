"""Whatever is done to stock, in whatever order and with crashes in the middle: the numbers stay explained.

The machine sells SKUs and bundles through the intake, ships, takes shipments back, cancels, refunds, takes back over
the desk, reserves and ends promises, changes what bundles are made of, rules and stock, and delivers again what was
delivered before. Any step may be cut off at any statement, which undoes its unit of work, and is then done again.
Beside it runs a model in plain Python, which knows of each line where its goods are (`tests.goods`) and what it was
made of when it was sold; after each step every level, every promise and every listing is as the model says, and the
audit finds nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from core.db import execute, fetch
from core.inventory import promises
from core.inventory.bundles import BadBundle
from core.inventory.operations import BundleHasNoStock, refresh_desired
from core.inventory.promises import Holder, PromiseEnded
from core.inventory.rules import ListingRule, offer
from core.orders import operations as orders
from core.orders.operations import OrderlessReturn
from core.ports import ChannelFulfilment, ChannelOrder, Facts, Restock
from tests.factories import (
    ACTOR,
    NOW,
    World,
    adjust_stock,
    apply,
    later,
    make_facts,
    make_fulfilment,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    unique,
)
from tests.goods import Back, Goods, Parcel
from tests.stock_desk import broken, compose, make_bundles, make_promise, second_channel, take_back_line

STOCK = {"MUG": 8, "CUP": 3, "JUG": 5}
MADE_OF: dict[str, dict[str, int]] = {
    "KIT": {"MUG": 2, "CUP": 1},
    "BOX": {"KIT": 1, "MUG": 1},
    "SET": {"CUP": 1, "JUG": 2},
}
CODES = (*STOCK, *MADE_OF)
RESTOCKS: tuple[Restock, ...] = ("return", "cancel", "legacy_restock", "no_restock")
DISPOSITIONS = ("restock", "quarantine", "write_off")

codes = st.sampled_from(CODES)
units = st.integers(1, 3)
cuts = st.one_of(st.none(), st.integers(1, 14))
"""At which statement of its unit of work a step is cut off, if at all."""


class Cut(Exception):
    """The process dies here."""


@dataclass
class Line:
    """What the model knows of one order line."""

    code: str
    goods: Goods
    parts: Mapping[str, int]


@dataclass
class Order:
    """What the model knows of one order, and what was said of it."""

    world: World
    said: ChannelOrder
    lines: list[Line]
    parcels: int = 0
    refunds: int = 0


@dataclass
class Held:
    """What the model knows of one holder's promise."""

    units: dict[str, int]
    expires_at: Any
    state: str = "held"
    has_left: bool = False


class StockMachine(RuleBasedStateMachine):
    engine: ClassVar[Engine]
    sold = Bundle("sold")
    holders = Bundle("holders")
    told = Bundle("told")
    returned = Bundle("returned")
    parcels = Bundle("parcels")

    @initialize()
    def open_shop(self) -> None:
        self.conn = self.engine.connect()
        self.transaction = self.conn.begin()
        first = make_bundles(self.conn, STOCK, MADE_OF)
        self.worlds = (first, second_channel(self.conn, first, ["MUG", "KIT", "BOX"], guarantee_class="B"))
        self.made_of = {code: dict(components) for code, components in MADE_OF.items()}
        self.orders: list[Order] = []
        self.promises: dict[str, Held] = {}
        self.moved = Counter(STOCK)
        """Units by code that movements of no line and no promise brought."""
        self.rules: dict[tuple[int, str], ListingRule] = {}
        self.now = NOW

    def teardown(self) -> None:
        if hasattr(self, "conn"):
            self.transaction.rollback()
            self.conn.close()

    # --- how a step is done --------------------------------------------------------------------------------------

    def do(self, cut: int | None, step: Callable[[Connection], Any]) -> Any:
        """Do a step in a unit of work of its own; one that is cut off leaves no trace and is done again."""
        if cut is not None:
            with dies_at(self.engine, cut):
                try:
                    with self.conn.begin_nested():
                        return step(self.conn)
                except Cut:
                    pass
        with self.conn.begin_nested():
            return step(self.conn)

    def tell(self, world: World, facts: Sequence[Facts], cut: int | None) -> None:
        verdicts = self.do(cut, lambda conn: apply(conn, world, *facts, now=self.now))
        assert {verdict.state for verdict in verdicts} == {"handled"}

    # --- channels ------------------------------------------------------------------------------------------------

    @rule(
        target=sold,
        channel=st.integers(0, 1),
        baskets=st.lists(st.lists(st.tuples(codes, units), min_size=1, max_size=3), min_size=1, max_size=2),
        cut=cuts,
    )
    def sell(self, channel: int, baskets: list[list[tuple[str, int]]], cut: int | None) -> Any:
        world = self.worlds[channel]
        new = []
        for basket in baskets:
            lines = [make_line(str(n), code, count) for n, (code, count) in enumerate(basket)]
            said = make_order(unique("order"), lines)
            new.append(Order(world, said, [Line(code, Goods(count), self.parts_of(code)) for code, count in basket]))
        self.tell(world, [make_facts(order.said) for order in new], cut)
        self.orders += new
        return multiple(*new)

    @rule(order=sold, number=st.integers(0, 2), count=units, cut=cuts)
    def buy_more(self, order: Order, number: int, count: int, cut: int | None) -> None:
        line = order.lines[number % len(order.lines)]
        line.goods.ordered += count
        self.say_again(order, cut)

    @rule(order=sold, cut=cuts)
    def cancel(self, order: Order, cut: int | None) -> None:
        for line in order.lines:
            line.goods.is_cancelled = True
        self.say_again(order, cut, cancelled_at=later(5))

    def say_again(self, order: Order, cut: int | None, **changed: Any) -> None:
        lines = [make_line(str(n), line.code, line.goods.ordered) for n, line in enumerate(order.lines)]
        order.said = replace(
            order.said, lines=tuple(lines), version_at=order.said.version_at + timedelta(minutes=1), **changed
        )
        self.tell(order.world, [make_facts(order.said)], cut)

    @rule(target=parcels, order=sold, number=st.integers(0, 2), count=units, is_too_many=st.booleans(), cut=cuts)
    def ship(self, order: Order, number: int, count: int, is_too_many: bool, cut: int | None) -> Any:
        number %= len(order.lines)
        goods = order.lines[number].goods
        if not is_too_many:
            count = min(count, goods.ordered - goods.shipped)
        if count <= 0:
            return multiple()
        order.parcels += 1
        said = make_fulfilment(order.said.ref, [(str(number), count)], f"f{order.parcels}")
        parcel = goods.send(count)
        self.tell(order.world, [make_facts(said)], cut)
        return order.world, said, parcel

    @rule(target=told, sent=parcels, is_shipped=st.sampled_from([False, False, True]), cut=cuts)
    def cancel_fulfilment(
        self, sent: tuple[World, ChannelFulfilment, Parcel], is_shipped: bool, cut: int | None
    ) -> Any:
        """The channel says that it never left; or, after that, that it did."""
        world, said, parcel = sent
        parcel.is_shipped, parcel.versions = is_shipped, parcel.versions + 1
        at = said.version_at + timedelta(seconds=parcel.versions)
        newer = replace(said, is_shipped=is_shipped, status="success" if is_shipped else "cancelled", version_at=at)
        self.tell(world, [make_facts(newer)], cut)
        # What was said before is old by now, and changes nothing when it arrives again.
        self.tell(world, [make_facts(said)], None)
        return world, make_facts(said)

    @rule(target=told, order=sold, number=st.integers(0, 2), count=units, restock=st.sampled_from(RESTOCKS), cut=cuts)
    def refund(self, order: Order, number: int, count: int, restock: Restock, cut: int | None) -> Any:
        number %= len(order.lines)
        order.lines[number].goods.claims += [restock] * count
        order.refunds += 1
        refund = make_refund(order.said.ref, [make_refund_line(str(number), count, restock)], f"r{order.refunds}")
        self.tell(order.world, [make_facts(refund)], cut)
        return order.world, make_facts(refund)

    @rule(sent=parcels, cut=cuts)
    def deliver_parcel_again(self, sent: tuple[World, ChannelFulfilment, Parcel], cut: int | None) -> None:
        self.tell(sent[0], [make_facts(sent[1])], cut)

    @rule(again=told, cut=cuts)
    def deliver_again(self, again: tuple[World, Facts], cut: int | None) -> None:
        self.tell(again[0], [again[1]], cut)

    # --- the desk ------------------------------------------------------------------------------------------------

    @rule(
        target=returned,
        order=sold,
        number=st.integers(0, 2),
        count=units,
        disposition=st.sampled_from(DISPOSITIONS),
        cut=cuts,
    )
    def take_back(self, order: Order, number: int, count: int, disposition: str, cut: int | None) -> Any:
        number %= len(order.lines)
        goods = order.lines[number].goods

        def step(conn: Connection) -> str:
            return take_back_line(conn, order.world, order.said.ref, str(number), count, disposition, self.now)

        if count > goods.returnable:
            with pytest.raises(DBAPIError, match=f"{count} more cannot"):
                self.do(cut, step)
            return multiple()
        return order, number, self.do(cut, step), goods.take_back(count, disposition)

    @rule(done=consumes(returned), cut=cuts)
    def undo_take_back(self, done: tuple[Order, int, str, list[Back]], cut: int | None) -> None:
        order, number, key, backs = done
        ref, what = order.said.ref, backs[0].disposition

        def step(conn: Connection) -> None:
            take_back_line(conn, order.world, ref, str(number), -len(backs), what, self.now, undoes=key)

        self.do(cut, step)
        order.lines[number].goods.undo(backs)

    @rule(
        target=returned,
        order=sold,
        number=st.integers(0, 2),
        disposition=st.sampled_from(DISPOSITIONS),
        is_sent_again=st.booleans(),
        cut=cuts,
    )
    def is_not_delivered(
        self, order: Order, number: int, disposition: str, is_sent_again: bool, cut: int | None
    ) -> Any:
        """A parcel comes back to the desk, the channel says that it never left, and perhaps another is sent."""
        number %= len(order.lines)
        back = None
        if order.lines[number].goods.ordered > order.lines[number].goods.shipped:
            sent = self.ship(order, number, 1, False, cut)
            back = self.take_back(order, number, 1, disposition, cut)
            self.cancel_fulfilment(sent, False, cut)
            if is_sent_again:
                self.ship(order, number, 1, False, cut)
        return back or multiple()

    @rule(code=codes, delta=st.integers(-3, 5), cut=cuts)
    def adjust(self, code: str, delta: int, cut: int | None) -> None:
        if code in self.made_of and delta > 0:
            with pytest.raises(BundleHasNoStock):
                self.do(cut, lambda conn: adjust_stock(conn, self.worlds[0], code, delta))
        elif code not in self.made_of:
            key = unique("adjustment")
            self.do(cut, lambda conn: adjust_stock(conn, self.worlds[0], code, delta, key=key))
            self.do(None, lambda conn: adjust_stock(conn, self.worlds[0], code, delta, key=key))
            self.moved[code] += delta

    @rule(code=codes, count=units, cut=cuts)
    def take_back_without_order(self, code: str, count: int, cut: int | None) -> None:
        world = self.worlds[0]
        back = OrderlessReturn(unique("back"), code, count, make_line().unit_price, "GBP", None, NOW)
        self.do(cut, lambda conn: orders.take_back(conn, world.shop_id, world.location_id, [back], ACTOR, self.now))
        for part, each in self.parts_of(code).items():
            self.moved[part] += each * count

    @rule(
        bundle=st.sampled_from([*MADE_OF]), components=st.dictionaries(codes, units, min_size=1, max_size=3), cut=cuts
    )
    def change_composition(self, bundle: str, components: dict[str, int], cut: int | None) -> None:
        try:
            self.do(cut, lambda conn: compose(conn, self.worlds[0], bundle, components, self.now))
        except BadBundle:
            assert self.is_no_bundle(bundle, components)
        else:
            assert not self.is_no_bundle(bundle, components)
            self.made_of[bundle] = components

    def is_no_bundle(self, bundle: str, components: Mapping[str, int]) -> bool:
        """Whether it would contain itself, or be nested more than once."""
        inner = [code for code in components if code in self.made_of]
        is_inside = any(bundle in made_of for made_of in self.made_of.values())
        too_deep = any(code in self.made_of for name in inner for code in self.made_of[name])
        return bundle in components or too_deep or bool(inner and is_inside)

    @rule(
        channel=st.integers(0, 1),
        code=codes,
        safety=st.integers(0, 3),
        share=st.sampled_from([100, 50, 20]),
        cap=st.one_of(st.none(), st.integers(2, 4)),
        floor=st.integers(0, 2),
        is_offered=st.sampled_from([True, True, False]),
    )
    def change_rule(
        self, channel: int, code: str, safety: int, share: int, cap: int | None, floor: int, is_offered: bool
    ) -> None:
        world = self.worlds[channel]
        if code not in world.listings:
            return
        chosen = ListingRule(safety, share, 0, floor, cap, 0, is_offered)  # type: ignore[arg-type]
        execute(
            self.conn,
            """
            update listings set safety_stock_units = %(safety)s, share_percent = %(share)s, cap_units = %(cap)s,
                floor_units = %(floor)s, is_offered = %(offered)s where id = %(id)s
            """,
            safety=safety,
            share=share,
            cap=cap,
            floor=floor,
            offered=is_offered,
            id=world.listings[code],
        )
        refresh_desired(self.conn, world.shop_id, [world.skus[code]])
        self.rules[channel, code] = chosen

    # --- promises ------------------------------------------------------------------------------------------------

    @rule(
        target=holders,
        lines=st.dictionaries(codes, units, min_size=1, max_size=3),
        minutes=st.one_of(st.none(), st.integers(1, 9)),
        takes_part=st.booleans(),
        cut=cuts,
    )
    def reserve(self, lines: dict[str, int], minutes: int | None, takes_part: bool, cut: int | None) -> Any:
        world = self.worlds[0]
        ref = unique("basket")
        ends = None if minutes is None else self.now + timedelta(minutes=minutes)
        promise = make_promise(world, ref, lines, takes_part=takes_part, expires_at=ends)
        given: Counter[str] = Counter()
        wishes = [self.taken(code, count) for code, count in lines.items()]
        left = {code: self.available(code) for code in STOCK}
        for together in [[wish] for wish in wishes] if takes_part else [wishes]:
            asked: Counter[str] = sum(together, Counter())
            if all(count <= left[code] for code, count in asked.items()):
                given += asked
                left = {code: left[code] - asked[code] for code in left}
        (answer,) = self.do(cut, lambda conn: promises.reserve(conn, world.shop_id, [promise], self.now))
        assert answer.held == {world.skus[code]: count for code, count in given.items()}
        assert answer.is_whole == (given == sum(wishes, Counter()))
        if not given:
            return multiple()
        (again,) = self.do(None, lambda conn: promises.reserve(conn, world.shop_id, [promise], self.now))
        assert (again.repeated, again.held, again.is_whole) == (True, answer.held, answer.is_whole)
        self.promises[ref] = Held(dict(given), ends)
        return ref

    @rule(ref=holders, end=st.sampled_from(["release", "hand_over", "ship"]), cut=cuts)
    def end_promise(self, ref: str, end: str, cut: int | None) -> None:
        held, holder = self.promises[ref], Holder("checkout", ref)
        more = ("Ada",) if end == "ship" else ()
        act = getattr(promises, end)

        def step(conn: Connection) -> int:
            return act(conn, self.worlds[0].shop_id, [holder], *more, self.now)

        if end == "ship" and held.state != "held" and not held.has_left:
            with pytest.raises(PromiseEnded):
                self.do(cut, step)
            return
        ended = self.do(cut, step)
        assert ended == (len(held.units) if held.state == "held" else 0)
        if held.state == "held":
            held.state = "released" if end == "release" else "consumed"
            if end == "ship":
                held.has_left = True
                for code, count in held.units.items():
                    self.moved[code] -= count

    @rule(ref=consumes(holders), channel=st.integers(0, 1), cut=cuts)
    @precondition(lambda self: any(held.state == "held" for held in self.promises.values()))
    def order_takes_over(self, ref: str, channel: int, cut: int | None) -> None:
        """The checkout is paid: its order is booked and takes over the goods in one unit of work."""
        held, world = self.promises[ref], self.worlds[channel]
        said = make_order(unique("order"), [make_line(str(n), c, u) for n, (c, u) in enumerate(held.units.items())])

        def step(conn: Connection) -> None:
            apply(conn, world, make_facts(said), now=self.now)
            promises.hand_over(conn, world.shop_id, [Holder("checkout", ref)], self.now)

        self.do(cut, step)
        self.orders.append(Order(world, said, [Line(c, Goods(u), {c: 1}) for c, u in held.units.items()]))
        if held.state == "held":
            held.state = "consumed"

    @rule(minutes=st.integers(1, 6), limit=st.integers(1, 4), cut=cuts)
    def time_passes(self, minutes: int, limit: int, cut: int | None) -> None:
        self.now += timedelta(minutes=minutes)
        shop_id = self.worlds[0].shop_id
        while self.do(cut, lambda conn: promises.expire(conn, shop_id, self.now, limit)):
            pass
        for held in self.promises.values():
            if held.state == "held" and held.expires_at is not None and held.expires_at <= self.now:
                held.state = "expired"

    # --- the model -----------------------------------------------------------------------------------------------

    def parts_of(self, code: str) -> dict[str, int]:
        """What one unit of a code takes, now."""
        found: Counter[str] = Counter()
        for component, each in self.made_of.get(code, {code: 1}).items():
            for part, inner in self.made_of.get(component, {component: 1}).items():
                found[part] += each * inner
        return dict(found)

    def taken(self, code: str, count: int) -> Counter[str]:
        return Counter({part: each * count for part, each in self.parts_of(code).items()})

    def lines_of(self, code: str) -> Iterator[tuple[Line, int]]:
        for order in self.orders:
            for line in order.lines:
                if code in line.parts:
                    yield line, line.parts[code]

    def promised(self, code: str) -> int:
        return sum(held.units.get(code, 0) for held in self.promises.values() if held.state == "held")

    def reserved(self, code: str) -> int:
        return self.promised(code) + sum(each * line.goods.standing().held for line, each in self.lines_of(code))

    def unavailable(self, code: str) -> int:
        return sum(each * line.goods.standing().apart for line, each in self.lines_of(code))

    def available(self, code: str) -> int:
        lines = sum(each * line.goods.standing().available for line, each in self.lines_of(code))
        return self.moved[code] + lines - self.promised(code)

    # --- what always holds ---------------------------------------------------------------------------------------

    @invariant()
    def levels_are_as_the_model_says(self) -> None:
        rows = fetch(
            self.conn,
            """
            select s.code, k.* from stock_levels k join skus s on s.shop_id = k.shop_id and s.id = k.sku_id
            where k.shop_id = %(shop)s
            """,
            shop=self.worlds[0].shop_id,
        )
        found = {
            row["code"]: (row["available"], row["reserved"], row["promised"], row["unavailable"])
            for row in rows
            if any((row["on_hand"], row["reserved"], row["promised"], row["unavailable"]))
        }
        expected = {
            code: (self.available(code), self.reserved(code), self.promised(code), self.unavailable(code))
            for code in STOCK
        }
        assert found == {code: level for code, level in expected.items() if code in found or any(level)}

    @invariant()
    def listings_offer_no_more_than_the_scarcest_part_allows(self) -> None:
        for channel, world in enumerate(self.worlds):
            rows = fetch(
                self.conn,
                "select channel_code, desired_units, short_units from listings where connection_id = %(id)s",
                id=world.connection.id,
            )
            assert {row["channel_code"] for row in rows} == world.listings.keys()
            for row in rows:
                parts = self.parts_of(row["channel_code"])
                pool = min(self.available(part) // each for part, each in parts.items())
                shown = offer(pool, self.rules.get((channel, row["channel_code"]), ListingRule()))
                assert (row["desired_units"], row["short_units"]) == (shown, max(0, -pool)), row["channel_code"]
                assert row["desired_units"] <= max(0, pool)

    @invariant()
    def no_line_is_restocked_twice(self) -> None:
        rows = fetch(
            self.conn,
            """
            select m.order_line_id, m.sku_id, sum(m.delta_units) filter (where m.reason = 'customer_return') as back,
                max(greatest(r.units, r.consumed_units)) as most
            from stock_movements m join reservations r on r.shop_id = m.shop_id
                and r.order_line_id = m.order_line_id and r.sku_id = m.sku_id
            where m.shop_id = %(shop)s group by 1, 2
            having sum(m.delta_units) filter (where m.reason = 'customer_return') > max(greatest(r.units,
                r.consumed_units))
            """,
            shop=self.worlds[0].shop_id,
        )
        assert rows == []

    @invariant()
    def the_audit_finds_nothing(self) -> None:
        found = broken(self.conn, self.worlds[0], self.now)
        # Rules are put onto the listings here as resolving leaves them there; nobody saved any.
        found.pop("listing_rule_is_resolved", None)
        assert found == {}


@contextmanager
def dies_at(engine: Engine, statement: int) -> Iterator[None]:
    """Cut off at the statement of that number (from 1), before it reaches the database."""
    seen = 0

    def count(_conn: Any, _cursor: Any, sql: str, *_more: Any) -> None:
        nonlocal seen
        # The way back is the server's own: it needs nobody to say so. Nor is the end of a savepoint a statement of the
        # step: one that is cut off there was cut off after its last statement, and has to be taken back as a whole.
        if not sql.startswith(("ROLLBACK", "RELEASE")):
            seen += 1
            if seen == statement:
                raise Cut

    event.listen(engine, "before_cursor_execute", count)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", count)


def test_whatever_is_done_to_stock_stays_explained(module_engine: Engine) -> None:
    class Machine(StockMachine):
        engine = module_engine

    run_state_machine_as_test(Machine, settings=settings(max_examples=16, stateful_step_count=25))
