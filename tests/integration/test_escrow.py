"""Escrow on real rows: what one channel gives up is confirmed before another gets it, and no unit is shown twice."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from core.catalog.operations import observe_levels
from core.connections.operations import advance_watermark, note_poll_complete
from core.db import execute, fetch, scalar
from core.inventory import checking, escrow, lines, publishing
from core.inventory.publishing import Lane
from core.policies import operations as policies
from core.policies.queries import Change
from core.policies.rules import Scope, Terms
from core.ports import LevelObservation, QuantityResult, QuantityWrite, WriteOutcome
from tests.factories import (
    ACTOR,
    NOW,
    PLACE,
    World,
    adjust_stock,
    book,
    first_sync,
    later,
    listing_of,
    make_channel_listing,
    make_connection,
    make_level,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_world,
    take_in,
    world_of,
)
from tests.stock_desk import broken, make_bundles, reserve

LATE = timedelta(minutes=2)


class Two:
    """A SKU of ten units on two channels, and what a sender of ours does for each."""

    def __init__(self, conn: Connection, other: str = "A", units: int = 10) -> None:
        self.conn = conn
        self.web = make_world(conn, {"MUG": units})
        connection = make_connection(conn, self.web.shop_id, is_sku_source=False, guarantee_class=other)
        take_in(conn, connection, [make_channel_listing("MUG", units)])
        first_sync(conn, connection)
        self.shop = world_of(conn, connection)

    @classmethod
    def of(cls, conn: Connection, world: World) -> Two:
        """One channel as both."""
        two = cls.__new__(cls)
        two.conn, two.web, two.shop = conn, world, world
        return two

    def share(self, mode: str = "escrow", switch_units: int | None = None) -> None:
        """Have the shop's rules say how pools are shared, and everything follow."""
        change = Change(Scope(), Terms(mode=mode, switch_units=switch_units))  # type: ignore[arg-type]
        version = policies.save(self.conn, self.web.shop_id, [change], ACTOR, NOW)
        ids = [row["id"] for row in fetch(self.conn, "select id from listings order by id")]
        policies.begin_replan(self.conn, self.web.shop_id, version, len(ids), NOW)
        policies.replan(self.conn, self.web.shop_id, version, ids, True, NOW)
        lines.draw_lines(self.conn, self.web.shop_id)
        self.replan()

    def replan(self) -> None:
        pools = escrow.pools_in_escrow(self.conn, self.web.shop_id, (0, 0), 100)
        escrow.replan(self.conn, self.web.shop_id, pools, NOW)

    def lane(self, world: World) -> Lane:
        return Lane(world.shop_id, world.connection.id, world.connection.guarantee_class, 1)

    def plan(self, world: World, at: datetime = NOW) -> list[QuantityWrite]:
        return [write for call in publishing.plan(self.conn, self.lane(world), 50, at) for write in call]

    def send(self, world: World, outcome: WriteOutcome = "confirmed", at: datetime = NOW) -> QuantityWrite:
        """Plan one write, send it, and have the channel answer."""
        (write,) = self.plan(world, at)
        publishing.mark_sent(self.conn, world.shop_id, [write.write_id], at)
        self.answer(world, write, outcome, at)
        return write

    def answer(self, world: World, write: QuantityWrite, outcome: WriteOutcome, at: datetime = NOW) -> None:
        result = QuantityResult(write.write_id, outcome, at=at)
        publishing.settle(self.conn, world.shop_id, [result], timedelta(seconds=10), at)
        escrow.follow_up(self.conn, world.shop_id, [write.write_id], at)

    def exposed(self) -> tuple[int, int]:
        return tuple(listing_of(self.conn, world)["exposed_units"] for world in (self.web, self.shop))  # type: ignore[return-value]

    def shows(self) -> tuple[int | None, int | None]:
        return tuple(listing_of(self.conn, world)["published_units"] for world in (self.web, self.shop))  # type: ignore[return-value]


def know(conn: Connection, world: World, until: datetime) -> None:
    """Everything up to then is booked, and the watermark says so."""
    note_poll_complete(conn, world.shop_id, world.connection.id, until + LATE, until)


def settled(two: Two) -> None:
    """Lower, confirm, raise: until nobody has anything to write."""
    for _ in range(12):
        worlds = []
        for world in (two.web, two.shop):
            for write in two.plan(world):
                publishing.mark_sent(two.conn, world.shop_id, [write.write_id], NOW)
                two.answer(world, write, "confirmed")
                worlds.append(world)
        if not worlds:
            return
    raise AssertionError("it does not come to rest")


def test_two_channels_that_showed_the_pool_come_to_share_it(conn: Connection) -> None:
    two = Two(conn)
    assert two.exposed() == (10, 10)
    two.share()
    settled(two)
    assert sum(two.shows()) == 10  # type: ignore[arg-type]
    assert min(two.shows()) > 0  # type: ignore[type-var]
    assert two.exposed() == two.shows()
    assert broken(conn, two.web) == {}


def test_a_raise_waits_for_the_confirmation_of_what_another_gives_up(conn: Connection) -> None:
    two = Two(conn)
    two.share()
    lowering = two.plan(two.web)
    assert [(write.from_units, write.to_units < 10) for write in lowering] == [(10, True)]
    # Sent and not answered: nobody is raised, whatever becomes free in theory.
    publishing.mark_sent(conn, two.web.shop_id, [write.write_id for write in lowering], NOW)
    adjust_stock(conn, two.web, "MUG", 3)
    assert [write for write in two.plan(two.shop) if write.to_units > (write.from_units or 0)] == []
    assert two.exposed() == (10, 10)


def test_a_raise_that_is_not_covered_is_refused_by_the_database(conn: Connection) -> None:
    two = Two(conn)
    two.share()
    settled(two)
    with pytest.raises(IntegrityError, match="is in escrow: 10 available, 11 exposed"), conn.begin_nested():
        execute(
            conn,
            """
            with raised as (update listings set exposed_units = exposed_units + 1 where id = %(listing)s returning 1)
            insert into listing_writes (shop_id, connection_id, listing_id, from_units, to_units, exposure_delta_units,
                idempotency_key, batch_position, planned_at, deadline_at)
            values (%(shop)s, %(connection)s, %(listing)s, 5, 6, 1, 'k', 0, %(now)s, %(now)s)
            """,
            shop=two.web.shop_id,
            connection=two.web.connection.id,
            listing=two.web.listings["MUG"],
            now=NOW,
        )


def test_a_lost_reply_keeps_both_numbers_exposed_until_it_is_known(conn: Connection) -> None:
    two = Two(conn)
    two.share()
    settled(two)
    adjust_stock(conn, two.web, "MUG", 4)
    two.replan()
    before = sum(two.exposed())
    write = two.send(two.web, "unknown")
    assert write.to_units > (write.from_units or 0)
    assert sum(two.exposed()) == before + write.to_units - (write.from_units or 0)


def test_a_refused_raise_exposes_nothing(conn: Connection) -> None:
    two = Two(conn, units=1)
    two.share()
    settled(two)
    adjust_stock(conn, two.web, "MUG", 1)
    two.replan()
    before = two.exposed()
    for world in (two.web, two.shop):
        for write in two.plan(world):
            publishing.mark_sent(conn, world.shop_id, [write.write_id], NOW)
            two.answer(world, write, "refused")
    assert two.exposed() == before
    assert broken(conn, two.web) == {}


def test_what_was_never_sent_exposes_nothing_once_withdrawn(conn: Connection) -> None:
    two = Two(conn)
    adjust_stock(conn, two.web, "MUG", 5)
    two.plan(two.web)
    assert two.exposed() == (15, 10)
    publishing.withdraw_unsent(conn, two.web.shop_id, two.web.connection.id, later(5))
    assert two.exposed() == (10, 10)


def test_class_b_is_drained_known_and_only_then_raised(conn: Connection) -> None:
    two = Two(conn, other="B")
    two.share()
    drain = two.plan(two.shop)
    assert [(write.from_units, write.to_units) for write in drain] == [(None, 0)]
    publishing.mark_sent(conn, two.shop.shop_id, [drain[0].write_id], NOW)
    two.answer(two.shop, drain[0], "accepted")
    for write in two.plan(two.web):
        publishing.mark_sent(conn, two.web.shop_id, [write.write_id], NOW)
        two.answer(two.web, write, "confirmed")
    # Read back as 0: what it sold before may still be unbooked.
    seen = QuantityResult(drain[0].write_id, "confirmed", observed_units=0, at=later(1))
    publishing.settle(conn, two.shop.shop_id, [seen], timedelta(0), later(1))
    two.replan()
    assert listing_of(conn, two.shop)["exposed_units"] == 10
    assert two.plan(two.shop) == []
    # Every order up to then is booked: now nothing of it is out there.
    know(conn, two.shop, later(2))
    assert checking.end_doubts(conn, two.shop.shop_id, two.shop.connection.id, NOW) == [two.shop.skus["MUG"]]
    assert listing_of(conn, two.shop)["exposed_units"] == 0
    two.replan()
    for _ in range(4):
        for write in two.plan(two.web):
            publishing.mark_sent(conn, two.web.shop_id, [write.write_id], NOW)
            two.answer(two.web, write, "confirmed")
    raised = two.plan(two.shop)
    assert [(write.from_units, write.to_units > 0) for write in raised] == [(None, True)]
    assert sum(two.exposed()) <= 10


def test_a_raise_has_landed_when_nothing_else_explains_what_shows(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 0}, guarantee_class="B")
    know(conn, world, NOW)
    adjust_stock(conn, world, "MUG", 5)
    lane = Lane(world.shop_id, world.connection.id, "B", 1)
    ((write,),) = publishing.plan(conn, lane, 9, NOW)
    publishing.mark_sent(conn, world.shop_id, [write.write_id], NOW)
    accepted = QuantityResult(write.write_id, "accepted", at=NOW)
    publishing.settle(conn, world.shop_id, [accepted], timedelta(0), NOW)
    shows = [LevelObservation("item:MUG", PLACE, 3, later(3))]
    assert checking.results_of_reading_back(checking.due_checks(conn, lane, 9, later(3)), shows) == []
    observe_levels(conn, world.shop_id, world.connection.id, shows, later(3))
    # Reading it again before the watermark has passed would put the answer off each time.
    assert [item.is_read for item in checking.due_checks(conn, lane, 9, later(4))] == [True]
    # Two were sold from it, and booked; up to then nobody knows that nothing was put back.
    book(conn, world, make_order(lines=[make_line(units=2)], placed_at=later(2)), now=later(3))
    assert checking.landed(conn, world.shop_id, world.connection.id) == []
    know(conn, world, later(4))
    results = checking.landed(conn, world.shop_id, world.connection.id)
    publishing.settle(conn, world.shop_id, results, timedelta(0), later(6))
    checking.end_doubts(conn, world.shop_id, world.connection.id, later(6))
    row = listing_of(conn, world)
    assert (row["published_units"], row["exposed_units"], row["unseen_units"]) == (3, 3, 0)


def test_a_number_that_a_restock_explains_proves_nothing(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 2}, guarantee_class="B")
    know(conn, world, NOW)
    book(conn, world, make_order(lines=[make_line(units=2)], placed_at=later(1)))
    adjust_stock(conn, world, "MUG", 2)
    lane = Lane(world.shop_id, world.connection.id, "B", 1)
    ((write,),) = publishing.plan(conn, lane, 9, later(2))
    publishing.mark_sent(conn, world.shop_id, [write.write_id], later(2))
    shows = [LevelObservation("item:MUG", PLACE, 2, later(4))]
    observe_levels(conn, world.shop_id, world.connection.id, shows, later(4))
    book(conn, world, make_refund(lines=[make_refund_line(units=2, restock="cancel")], at=later(3)), now=later(4))
    know(conn, world, later(5))
    assert checking.landed(conn, world.shop_id, world.connection.id) == []
    assert listing_of(conn, world)["exposed_units"] == 4


def test_the_watermark_stops_at_what_is_parked(conn: Connection) -> None:
    two = Two(conn)
    world = two.web
    know(conn, world, NOW)
    assert watermark(conn, world) == NOW
    execute(
        conn,
        """
        insert into inbox_messages (shop_id, connection_id, delivery_id, topic, body, road, state, cause, received_at,
            settled_at)
        values (%(shop)s, %(connection)s, 'd', 'orders/create', ''::bytea, 'webhook', 'parked', 'unreadable', %(now)s,
            %(now)s)
        """,
        shop=world.shop_id,
        connection=world.connection.id,
        now=NOW,
    )
    know(conn, world, later(9))
    assert watermark(conn, world) == NOW
    execute(conn, "update inbox_messages set state = 'handled', cause = null where delivery_id = 'd'")
    assert advance_watermark(conn, world.shop_id, world.connection.id)
    assert watermark(conn, world) == later(9)


def test_a_channel_whose_orders_are_not_read_has_no_watermark(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 3})
    note_poll_complete(conn, world.shop_id, world.connection.id, NOW)
    assert watermark(conn, world) is None


def watermark(conn: Connection, world: World) -> datetime | None:
    return scalar(conn, "select watermark_at from connections where id = %(id)s", id=world.connection.id)


def test_sales_refunds_and_edits_move_what_is_exposed(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 10})
    book(conn, world, make_order(lines=[make_line(units=3)]))
    assert exposed(conn, world) == 7
    refund = make_refund(lines=[make_refund_line(units=2, restock="cancel")])
    book(conn, world, refund)
    assert exposed(conn, world) == 9
    book(conn, world, make_refund(lines=[make_refund_line(units=1, restock="no_restock")], ref="r2"))
    assert exposed(conn, world) == 9
    # Sold before the number was taken over: it was never part of it.
    before = listing_of(conn, world)["baseline_at"] - timedelta(hours=1)
    book(conn, world, make_order("1002", [make_line(units=2)], placed_at=before, created_at=before, version_at=before))
    assert exposed(conn, world) == 9
    # An order edit takes a unit off the line: the channel has it back.
    book(conn, world, make_order("1003", [make_line(units=4)], version_at=later(5)))
    assert exposed(conn, world) == 5
    book(conn, world, make_order("1003", [make_line(units=3)], version_at=later(6)))
    assert exposed(conn, world) == 6
    assert broken(conn, world) == {}


def exposed(conn: Connection, world: World) -> int:
    return listing_of(conn, world)["exposed_units"]


def test_a_number_that_nobody_wrote_is_exposed_besides_what_was(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 3})
    book(conn, world, make_level("MUG", 5, later(1)))
    assert (exposed(conn, world), listing_of(conn, world)["edited_units"]) == (8, 5)
    know(conn, world, later(5))
    checking.end_doubts(conn, world.shop_id, world.connection.id, later(6))
    assert (exposed(conn, world), listing_of(conn, world)["edited_units"]) == (5, 0)


def test_a_number_from_before_a_sale_of_the_same_second_is_no_edit(conn: Connection) -> None:
    """Vendors stamp sales in whole seconds: what arrives after the sale may be older, and then says nothing new."""
    world = make_world(conn, {"MUG": 10})
    sold_at, within = later(5), later(5) + timedelta(milliseconds=300)
    sale = make_order(lines=[make_line(units=4)], created_at=sold_at, version_at=sold_at)
    book(conn, world, sale, now=sold_at + timedelta(seconds=1))
    for units in (10, 9):
        book(conn, world, make_level("MUG", units, within), now=sold_at + timedelta(seconds=3))
        shown = listing_of(conn, world)
        assert (shown["exposed_units"], shown["edited_units"]) == (6, 0)
        assert (shown["published_units"], shown["unseen_units"]) == (6, 0)
    # More than the sale explains was typed in, whichever came first.
    book(conn, world, make_level("MUG", 11, within), now=sold_at + timedelta(seconds=4))
    assert (exposed(conn, world), listing_of(conn, world)["edited_units"]) == (17, 11)


def test_a_number_from_a_second_after_a_sale_is_an_edit(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 10})
    sale = make_order(lines=[make_line(units=4)], created_at=later(5), version_at=later(5))
    book(conn, world, sale, now=later(5) + timedelta(seconds=1))
    next_second = later(5) + timedelta(seconds=1)
    book(conn, world, make_level("MUG", 8, next_second), now=later(5) + timedelta(seconds=2))
    assert (exposed(conn, world), listing_of(conn, world)["edited_units"]) == (14, 8)


def test_a_number_below_zero_is_brought_to_zero_though_nothing_is_free(conn: Connection) -> None:
    """Nobody can buy below zero: nothing more can be sold by it. A raise refused here would hold up the whole lane."""
    two = Two(conn, units=0)
    two.share()
    settled(two)
    book(conn, two.web, make_order(lines=[make_line(units=2)], placed_at=later(1)), now=later(1))
    adjust_stock(conn, two.web, "MUG", 2)
    (write,) = two.plan(two.web, later(2))
    assert (write.from_units, write.to_units) == (-2, 0)
    assert two.exposed() == (0, 0)
    assert broken(conn, two.web) == {}


def test_our_own_number_read_before_its_answer_is_no_edit(conn: Connection) -> None:
    two = Two(conn)
    adjust_stock(conn, two.web, "MUG", 5)
    (write,) = two.plan(two.web)
    publishing.mark_sent(conn, two.web.shop_id, [write.write_id], NOW)
    book(conn, two.web, make_level("MUG", 15, later(1)), now=later(1))
    assert exposed(conn, two.web) == 15
    two.answer(two.web, write, "confirmed", NOW)
    assert exposed(conn, two.web) == 15
    assert listing_of(conn, two.web)["published_units"] == 15


def test_in_escrow_a_checkout_gets_only_what_no_channel_could_sell(conn: Connection) -> None:
    two = Two(conn)
    two.share()
    settled(two)
    assert not reserve(conn, two.web, "basket", {"MUG": 1}).is_whole
    adjust_stock(conn, two.web, "MUG", 2)
    assert reserve(conn, two.web, "basket", {"MUG": 2}).is_whole
    two.replan()
    assert two.plan(two.web) == two.plan(two.shop) == []


def test_adaptive_splits_only_what_is_scarce_and_pools_again_well_above(conn: Connection) -> None:
    two = Two(conn)
    two.share("adaptive", switch_units=4)
    assert two.plan(two.web) == two.plan(two.shop) == []
    adjust_stock(conn, two.web, "MUG", -6)
    two.replan()
    settled(two)
    assert sum(two.shows()) == 4  # type: ignore[arg-type]
    adjust_stock(conn, two.web, "MUG", 1)
    two.replan()
    settled(two)
    assert sum(two.shows()) == 5  # type: ignore[arg-type]
    adjust_stock(conn, two.web, "MUG", 5)
    two.replan()
    settled(two)
    # All of it again, but for what the other may sell before this one is told.
    assert two.shows() == (8, 8)
    assert broken(conn, two.web) == {}


def test_a_bundle_and_its_part_never_show_the_same_unit_twice(conn: Connection) -> None:
    world = make_bundles(conn, {"MUG": 6}, {"PAIR": {"MUG": 2}})
    two = Two.of(conn, world)
    two.share()
    settled(two)
    exposed_pool = "select sum(exposed_pool_units) from pool_takers where sku_id = %(sku)s"
    assert scalar(conn, exposed_pool, sku=world.skus["MUG"]) == 6
    assert listing_of(conn, world, "PAIR")["exposed_units"] in (1, 2)


def test_a_number_typed_over_a_zero_is_no_exposure_for_ever(conn: Connection) -> None:
    two = Two(conn, units=1)
    two.share()
    settled(two)
    dark = two.shop if two.shows() == (1, 0) else two.web
    book(conn, dark, make_level("MUG", 3, later(1)))
    for minute in range(2, 9):
        for world in (two.web, two.shop):
            know(conn, world, later(minute))
            checking.end_doubts(conn, world.shop_id, world.connection.id, later(minute))
        escrow.replan(conn, two.web.shop_id, pools_of(two), later(minute))
        for world in (two.web, two.shop):
            for write in two.plan(world, later(minute)):
                publishing.mark_sent(conn, world.shop_id, [write.write_id], later(minute))
                two.answer(world, write, "confirmed", later(minute))
    assert sum(two.exposed()) == 1
    assert listing_of(conn, dark)["edited_units"] == 0


def test_a_place_served_from_where_no_line_is_drawn_yet_is_split_all_the_same(conn: Connection) -> None:
    two = Two(conn)
    two.share()
    settled(two)
    execute(conn, "update stock_levels set escrow_line_units = null, is_escrow = false")
    adjust_stock(conn, two.web, "MUG", 4)
    raised = [write for world in (two.web, two.shop) for write in two.plan(world)]
    assert sum(write.to_units - (write.from_units or 0) for write in raised) == 4
    assert sum(two.exposed()) == 14


def test_a_paused_channel_makes_no_other_go_dark(conn: Connection) -> None:
    two = Two(conn, units=1000)
    two.share("adaptive", switch_units=5)
    for world in (two.web, two.shop):
        know(conn, world, NOW)
    execute(conn, "update connections set state = 'paused' where id = %(id)s", id=two.shop.connection.id)
    book(conn, two.web, make_order(lines=[make_line(units=1)], placed_at=later(1)), now=later(20))
    assert [write.to_units for write in two.plan(two.web, later(20)) if write.to_units < 900] == []


def pools_of(two: Two) -> list[tuple[int, int]]:
    return [(two.web.skus["MUG"], two.web.location_id)]
