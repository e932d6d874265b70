"""One order of locks for everybody, seen from outside: who waits for the first has not yet taken the second."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from sqlalchemy import Connection, Engine

from core.audit import Actor
from core.catalog.matching import own_identities
from core.connections import switches
from core.db import execute, fetch, scalar, unit_of_work
from core.identity import assigning
from core.identity.outcomes import Answer
from core.identity.rules import identifier
from core.inventory import places, publishing
from core.inventory.locks import COMPOSITIONS
from core.orders import effects, intake
from core.policies import categories
from tests.factories import (
    PLACE,
    World,
    adjust_stock,
    apply,
    later,
    make_channel_listing,
    make_facts,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_world,
)
from tests.integration.test_promises import wait_until_blocked
from tests.stock_desk import broken

ANN = Actor("ann", "a test")
LISTINGS = "select id from listings where shop_id = %(shop)s for no key update nowait"


@contextmanager
def beside(engine: Engine, act: Callable[[Connection], object]) -> Iterator[None]:
    """Run an act in a thread of its own, from when it waits for somebody; whatever it raises is raised here."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            with unit_of_work(engine) as conn:
                act(conn)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_until_blocked(engine)
        yield
    finally:
        thread.join(30)
    if failed:
        raise failed[0]


@pytest.fixture
def world(engine: Engine) -> World:
    with unit_of_work(engine) as conn:
        return make_world(conn, {"MUG": 10})


def batch_with_a_listing_and_an_order(world: World) -> Callable[[Connection], object]:
    said = make_facts(make_channel_listing("MUG", 10, later(1)), make_order("1", [make_line()]))
    return lambda conn: intake.apply(conn, world.connection, {1: said}, later(5))


def assert_listings_are_free(engine: Engine, world: World) -> None:
    with unit_of_work(engine) as conn:
        assert fetch(conn, LISTINGS, shop=world.shop_id)


def test_a_batch_that_brings_listings_waits_for_levels_before_it_locks_them(engine: Engine, world: World) -> None:
    with beside_levels(engine, world), beside(engine, batch_with_a_listing_and_an_order(world)):
        assert_listings_are_free(engine, world)
        release_levels()
    with unit_of_work(engine) as conn:
        assert scalar(conn, "select reserved from stock_levels") == 1


def test_a_batch_that_brings_listings_waits_for_a_composition_before_it_locks_them(
    engine: Engine, world: World
) -> None:
    with engine.connect() as holder:
        holder.exec_driver_sql(f"select pg_advisory_lock({COMPOSITIONS})", {"shop": world.shop_id})
        with beside(engine, batch_with_a_listing_and_an_order(world)):
            assert_listings_are_free(engine, world)
            holder.exec_driver_sql(f"select pg_advisory_unlock({COMPOSITIONS})", {"shop": world.shop_id})
            holder.commit()


def test_an_order_is_booked_while_its_place_is_served_from_elsewhere(engine: Engine, world: World) -> None:
    """Serving holds the connection's row weakly: the order's foreign key only needs it to stay."""
    with unit_of_work(engine) as conn:
        leeds = places.add_location(conn, world.shop_id, "Leeds", ANN, later())
    with unit_of_work(engine) as serving:
        places.serve(serving, world.shop_id, world.connection.id, PLACE, leeds, ANN, later())
        with unit_of_work(engine) as conn:
            execute(conn, "set local lock_timeout = '2s'")
            fetch(conn, "select 1 from connections where id = %(id)s for key share", id=world.connection.id)


def test_a_stop_waits_for_who_is_planning_and_nothing_is_planned_after_it(engine: Engine, world: World) -> None:
    lane = publishing.Lane(world.shop_id, world.connection.id, "A", 1)
    with unit_of_work(engine) as conn:
        adjust_stock(conn, world, "MUG", -3)
    with ExitStack() as stack, unit_of_work(engine) as conn:
        assert len(publishing.plan(conn, lane, 10, later(1))) == 1
        stack.enter_context(
            beside(engine, lambda stopper: switches.stop_writes(stopper, world.shop_id, None, ANN, later(1)))
        )
    with unit_of_work(engine) as conn:
        assert not switches.may_write(conn, world.shop_id, world.connection.id)
        adjust_stock(conn, world, "MUG", -1)
        assert publishing.plan(conn, lane, 10, later(2)) == []


def test_a_category_is_chosen_while_something_of_it_moves(engine: Engine, world: World) -> None:
    with unit_of_work(engine) as conn:
        fetch(conn, "select 1 from skus where id = %(id)s for key share", id=world.skus["MUG"])
        with unit_of_work(engine) as other:
            execute(other, "set local lock_timeout = '2s'")
            categories.set_category(other, world.shop_id, "MUG", "Cups", ANN, later())


def test_a_listing_that_is_new_gets_the_location_that_serves_its_place_by_then(engine: Engine, world: World) -> None:
    """A sync knows the connection as it was when it began; somebody served its place from elsewhere since."""
    with unit_of_work(engine) as conn:
        leeds = places.add_location(conn, world.shop_id, "Leeds", ANN, later())
        places.serve(conn, world.shop_id, world.connection.id, PLACE, leeds, ANN, later())
    with unit_of_work(engine) as conn:
        intake.take_in(conn, world.connection, [make_channel_listing("NEW", 3, later(1))], later(1))
        placed = scalar(conn, "select location_id from listings where channel_code = 'NEW'")
    assert placed == leeds


_released = threading.Event()


def release_levels() -> None:
    _released.set()


@contextmanager
def beside_levels(engine: Engine, world: World) -> Iterator[None]:
    """Somebody books the SKU: holds its level until `release_levels`."""
    _released.clear()
    held = threading.Event()

    def hold() -> None:
        with unit_of_work(engine) as conn:
            fetch(conn, "select 1 from stock_levels where shop_id = %(shop)s for update", shop=world.shop_id)
            held.set()
            _released.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    try:
        yield
    finally:
        _released.set()
        thread.join(30)


def test_parked_lines_are_booked_when_nobody_maps(engine: Engine, world: World) -> None:
    """Whoever remaps has read which lines are open: none is booked by what the identifier stood for before."""
    with engine.connect() as mapping, mapping.begin() as remapping:
        own_identities(mapping, world.shop_id, world.connection.id)
        with beside(engine, lambda conn: intake.book_lines_mapped_late(conn, world.channel, later(5))):
            remapping.commit()


def test_what_happens_to_a_line_until_its_order_is_locked_keeps_it_from_moving(engine: Engine) -> None:
    """The desk books what came back without asking who maps."""
    with unit_of_work(engine) as conn:
        pair = make_world(conn, {"MUG": 10, "CUP": 10})
        apply(conn, pair, make_facts(make_order("1", [make_line(units=3)])))
    answer = Answer(identifier(pair.connection.id, "variant", "variant:MUG"), pair.skus["CUP"])
    done = []

    def remap(conn: Connection) -> None:
        done.append(assigning.assign(conn, pair.shop_id, [answer], "person", ANN, later(5), may_move=True))

    with engine.connect() as desk, desk.begin() as taking_back:
        fetch(desk, "select 1 from orders where shop_id = %(shop)s for update", shop=pair.shop_id)
        with beside(engine, remap):
            order_ids = scalar(desk, "select array_agg(id) from orders where shop_id = %(shop)s", shop=pair.shop_id)
            refund = make_refund("1", [make_refund_line("1", 1, "no_restock")])
            lines = effects.line_ids(desk, pair.shop_id, order_ids)
            effects.book_refunds(desk, pair.shop_id, [(order_ids[0], refund)], lines)
            effects.settle_stock(desk, pair.channel, order_ids, later(4))
            taking_back.commit()
    assert [(line.units, line.why) for line in done[0].staying] == [(3, "part of it was cancelled or refunded")]
    assert done[0].moving == []
    with unit_of_work(engine) as conn:
        assert broken(conn, pair) == {}
