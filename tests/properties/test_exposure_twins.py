"""What the statements in Postgres do to exposure is what the pure functions say, for all numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from core.catalog.operations import observe_levels
from core.clock import CLOCK_MARGIN
from core.db import execute, fetch, scalar
from core.inventory import checking, escrow, exposure, overtaking, planner, publishing
from core.inventory.exposure import Overtaken
from core.inventory.operations import Followed, refresh_desired
from core.ports import QuantityResult, WriteOutcome
from tests.factories import (
    NOW,
    World,
    book,
    later,
    listing_of,
    make_level,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_world,
    set_row,
)
from tests.stock_desk import make_bundles, second_channel

UNITS = st.integers(0, 12)


@contextmanager
def world_in(engine: Engine) -> Iterator[tuple[Connection, World]]:
    with engine.connect() as conn, conn.begin() as transaction:
        yield conn, make_world(conn)
        transaction.rollback()


def expose(conn: Connection, world: World, exposed: int, edited: int = 0, **more: Any) -> int:
    listing_id = world.listings["MUG"]
    set_row(conn, "listings", listing_id, exposed_units=exposed, edited_units=min(edited, exposed), **more)
    execute(conn, "delete from exposure_changes where listing_id = %(id)s", id=listing_id)
    return listing_id


def assert_ledger_tells(conn: Connection, world: World, before: int) -> None:
    """Its changes lead from what was exposed to what is, step by step."""
    rows = fetch(
        conn,
        "select delta_units, exposed_units from exposure_changes where listing_id = %(id)s order by id",
        id=world.listings["MUG"],
    )
    for row in rows:
        before += row["delta_units"]
        assert row["exposed_units"] == before
    assert listing_of(conn, world)["exposed_units"] == before


def record_write(conn: Connection, world: World, before: int | None, to: int) -> int:
    return scalar(
        conn,
        """
        insert into listing_writes (shop_id, connection_id, listing_id, from_units, to_units, exposure_delta_units,
            idempotency_key, batch_position, planned_at, deadline_at, sent_at, attempts)
        values (%(shop)s, %(connection)s, %(listing)s, %(before)s, %(to)s, %(exposed)s, gen_random_uuid(), 0, %(now)s,
            %(later)s, %(now)s, 1) returning id
        """,
        shop=world.shop_id,
        connection=world.connection.id,
        listing=world.listings["MUG"],
        before=before,
        to=to,
        exposed=exposure.recorded(before, to),
        now=NOW,
        later=later(1),
    )


@settings(max_examples=50)
@given(available=st.integers(-20, 40), line=st.none() | st.integers(0, 25), was=st.booleans())
def test_scarce_is_scarce(module_engine: Engine, available: int, line: int | None, was: bool) -> None:
    with module_engine.connect() as conn:
        found = scalar(conn, "select is_scarce(%(a)s, %(l)s, %(w)s)", a=available, l=line, w=was)
    assert found == (line is not None and planner.is_scarce(available, line, was_scarce=was))


@settings(max_examples=25)
@given(exposed=UNITS, edited=UNITS, sold=UNITS, restocked=UNITS)
def test_sales_and_restocks(module_engine: Engine, exposed: int, edited: int, sold: int, restocked: int) -> None:
    with world_in(module_engine) as (conn, world):
        listing_id = expose(conn, world, exposed, edited)
        followed = Followed(listing_id, 10, 0, None, sold_units=sold, restocked_units=restocked)
        refresh_desired(conn, world.shop_id, [world.skus["MUG"]], [followed], now=NOW)
        expected = exposure.restocked(exposure.sold(exposed, sold), restocked)
        assert listing_of(conn, world)["exposed_units"] == expected
        assert_ledger_tells(conn, world, exposed)


OUTCOMES: list[WriteOutcome] = ["confirmed", "refused", "stale", "unsent", "accepted", "unknown"]


@settings(max_examples=50)
@given(exposed=UNITS, known=UNITS, before=st.none() | UNITS, to=UNITS, outcome=st.sampled_from(OUTCOMES), seen=UNITS)
def test_what_answers_do(
    module_engine: Engine, exposed: int, known: int, before: int | None, to: int, outcome: WriteOutcome, seen: int
) -> None:
    assume(before is not None or outcome != "stale")
    with world_in(module_engine) as (conn, world):
        expose(conn, world, exposed, published_units=known)
        write_id = record_write(conn, world, before, to)
        observed = seen if outcome == "stale" else None
        result = QuantityResult(write_id, outcome, observed_units=observed, at=later(1))
        publishing.settle(conn, world.shop_id, [result], timedelta(0), later(1))
        expected = exposed
        if outcome == "confirmed":
            expected = exposure.confirmed(exposed, before, to)
        elif outcome in ("refused", "stale", "unsent"):
            expected = exposure.refused(exposed, exposure.recorded(before, to))
        if outcome == "stale" and exposure.is_edit(seen, known, None, None):
            expected = exposure.edited(expected, seen)
        assert listing_of(conn, world)["exposed_units"] == expected
        assert_ledger_tells(conn, world, exposed)


WRITES = st.none() | st.tuples(st.none() | UNITS, UNITS)


@settings(max_examples=50)
@given(exposed=UNITS, known=st.none() | st.integers(-3, 12), write=WRITES, seen=st.integers(-3, 20))
def test_numbers_that_are_seen(
    module_engine: Engine, exposed: int, known: int | None, write: tuple[int | None, int] | None, seen: int
) -> None:
    with world_in(module_engine) as (conn, world):
        expose(conn, world, exposed, published_units=known)
        before, to = write or (None, None)
        if to is not None:
            record_write(conn, world, before, to)
        observe_levels(conn, world.shop_id, world.connection.id, [make_level("MUG", seen, later(1))], later(1))
        expected = exposed
        if known is None:
            expected = max(0, seen)
        elif exposure.is_edit(seen, known, before, to):
            expected = exposure.edited(exposed, seen)
        row = listing_of(conn, world)
        assert (row["exposed_units"], row["published_units"]) == (expected, seen)
        assert row["edited_units"] == (expected - exposed if known is not None else 0)
        assert_ledger_tells(conn, world, exposed)


SECONDS = st.integers(-9, 12)


@settings(max_examples=30)
@given(
    exposed=UNITS,
    read=UNITS,
    sales=st.lists(st.tuples(SECONDS, st.integers(1, 4), st.none() | SECONDS), max_size=4),
    until=st.none() | st.integers(-2, 12),
    has_open=st.booleans(),
)
def test_the_end_of_a_doubt(
    module_engine: Engine,
    exposed: int,
    read: int,
    sales: list[tuple[int, int, int | None]],
    until: int | None,
    has_open: bool,
) -> None:
    """`sales`, what was put back of them, and the watermark in seconds after the reading."""
    with world_in(module_engine) as (conn, world):
        at = later(10)
        set_row(conn, "listings", world.listings["MUG"], published_units=read, published_at=at)
        for number, (seconds, units, back) in enumerate(sales):
            order = make_order(str(number), [make_line("1", "MUG", units)], placed_at=at + timedelta(seconds=seconds))
            book(conn, world, order)
            if back is not None:
                back_at = at + timedelta(seconds=max(seconds, back))
                book(conn, world, make_refund(order.ref, [make_refund_line("1", units, "cancel")], at=back_at))
        expose(conn, world, exposed)
        if has_open:
            record_write(conn, world, read, read + 1)
        watermark = None if until is None else at + timedelta(seconds=until)
        set_row(conn, "connections", world.connection.id, watermark_at=watermark)
        ended = checking.end_doubts(conn, world.shop_id, world.connection.id, later(20))
        row = listing_of(conn, world)
        dated = [(-units, seconds) for seconds, units, _ in sales]
        dated += [(units, max(seconds, back)) for seconds, units, back in sales if back is not None]
        assert row["blurred_units"] == sum(
            abs(delta) for delta, seconds in dated if exposure.is_blurred(delta, at + timedelta(seconds=seconds), at)
        )
        published = row["published_units"]
        expected = exposed
        is_in_doubt = exposed != max(0, published)
        if is_in_doubt and exposure.may_collapse(at, watermark, has_open_write=has_open):
            sold_later = sum(units for seconds, units, _ in sales if timedelta(seconds=seconds) > CLOCK_MARGIN)
            restocked = sum(
                units
                for seconds, units, back in sales
                if back is not None and timedelta(seconds=max(seconds, back)) >= -CLOCK_MARGIN
            )
            expected = exposure.collapsed(read, sold_later, restocked)
        assert listing_of(conn, world)["exposed_units"] == expected
        assert bool(ended) == (expected != exposed)
        assert_ledger_tells(conn, world, exposed)


@settings(max_examples=15)
@given(each=st.integers(1, 4), units=st.lists(UNITS, min_size=4, max_size=4))
def test_what_is_exposed_of_a_pool(module_engine: Engine, each: int, units: list[int]) -> None:
    with module_engine.connect() as conn, conn.begin() as transaction:
        first = make_bundles(conn, {"MUG": 9}, {"KIT": {"MUG": each}})
        second = second_channel(conn, first, ["MUG", "KIT"])
        places = [(world, code) for world in (first, second) for code in ("MUG", "KIT")]
        for (world, code), exposed in zip(places, units, strict=True):
            set_row(conn, "listings", world.listings[code], exposed_units=exposed)
        pool = (first.skus["MUG"], first.location_id)
        expected = sum(n * (each if code == "KIT" else 1) for (_, code), n in zip(places, units, strict=True))
        assert escrow.exposed_units(conn, first.shop_id, [pool]) == {pool: expected}
        transaction.rollback()


@pytest.mark.parametrize(("before", "to"), [(5, 8), (8, 5), (None, 6)])
@pytest.mark.parametrize("shown", [4, 6])
@pytest.mark.parametrize("code", ["BY_HAND", "KEY_EXPIRED"])
def test_what_a_channel_shows_later_says_not_whether_a_write_landed(
    module_engine: Engine, before: int | None, to: int, shown: int, code: str
) -> None:
    """It may have landed and have sold since: what it exposed stays until the watermark has passed the reading."""
    with world_in(module_engine) as (conn, world):
        expose(conn, world, 8, published_units=before or 0, published_at=NOW)
        write_id = record_write(conn, world, before, to)
        outcome: WriteOutcome = "confirmed" if shown == to and code == "BY_HAND" else "stale"
        result = QuantityResult(write_id, outcome, code, observed_units=shown, at=later(1))
        publishing.settle(conn, world.shop_id, [result], timedelta(0), later(1))
        row = listing_of(conn, world)
        edit = shown if exposure.is_edit(shown, before or 0, before, to) else 0
        assert (row["exposed_units"], row["published_units"]) == (8 + edit, shown)
        set_row(conn, "connections", world.connection.id, watermark_at=later(2))
        checking.end_doubts(conn, world.shop_id, world.connection.id, later(2))
        assert listing_of(conn, world)["exposed_units"] == shown


@settings(max_examples=50)
@given(to=UNITS, known=UNITS, shown=UNITS, sold=st.integers(0, 5), restocked=st.integers(0, 5), is_over=st.booleans())
def test_what_an_overtaken_write_explains(
    module_engine: Engine, to: int, known: int, shown: int, sold: int, restocked: int, is_over: bool
) -> None:
    """And what it makes of a number that is read: no edit, up to its own. `is_over`: a later one has landed since."""
    with world_in(module_engine) as (conn, world):
        listing_id = expose(conn, world, 40, published_units=known)
        connection = {"reads_orders": True, "watermark_at": later(9)}
        set_row(conn, "connections", world.connection.id, **connection)
        set_row(conn, "listings", listing_id, published_at=later(1))
        execute(
            conn,
            """
            insert into exposure_changes (shop_id, listing_id, cause, asked_units, delta_units, exposed_units,
                changed_at)
            select %(shop)s, %(listing)s, cause, units, units, 40, at
            from (values ('base', 1, %(before)s), ('sale', -%(sold)s, %(since)s), ('restock', %(back)s, %(since)s))
                as x (cause, units, at)
            """,
            shop=world.shop_id,
            listing=listing_id,
            sold=sold,
            back=restocked,
            before=later(-5),
            since=later(3),
        )
        first = record_write(conn, world, None, to)
        assert not scalar(conn, "select may_be_overtaken(%(s)s, %(w)s)", s=world.shop_id, w=first), "not accepted"
        set_row(conn, "listing_writes", first, accepted_at=NOW)
        assert scalar(conn, "select may_be_overtaken(%(s)s, %(w)s)", s=world.shop_id, w=first)
        assert overtaking.overtake(conn, world.shop_id, [listing_id], later(2)) == 1
        if is_over:
            second = record_write(conn, world, None, 3)
            set_row(conn, "listing_writes", second, outcome="confirmed", outcome_at=later(3))
        late = [] if is_over else [Overtaken(to, known, sold, restocked)]
        set_row(conn, "listings", listing_id, published_units=shown)
        found = scalar(conn, "select overtaken_explain(%(s)s, %(l)s)", s=world.shop_id, l=listing_id)
        assert found == any(write.explains(shown) for write in late)
        execute(conn, "delete from exposure_changes where listing_id = %(id)s", id=listing_id)
        observe_levels(conn, world.shop_id, world.connection.id, [make_level("MUG", 8, later(11))], later(11))
        is_edit = exposure.is_edit(8, shown, None, None, late)
        assert listing_of(conn, world)["edited_units"] == (8 if is_edit else 0)
