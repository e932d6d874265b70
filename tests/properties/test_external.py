"""Whatever is read, sold, moved or planned: what a channel keeps itself is never planned to be written, nor promised.

A seller of class B with places of both kinds, beside a shop of class A that lists the same SKUs; pooled and in escrow.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from core import invariants
from core.adapters.amazon.places import FBA_PLACE, OWN_PLACE
from core.catalog import operations as catalog
from core.db import execute, fetch
from core.inventory import external, publishing
from core.inventory import operations as inventory
from core.inventory.operations import Adjustment
from core.inventory.publishing import Lane
from core.ports import LevelObservation
from tests.factories import (
    ACTOR,
    NOW,
    World,
    apply,
    make_channel_listing,
    make_connection,
    make_facts,
    make_line,
    make_order,
    take_in,
)
from tests.integration.test_external import listing, make_seller_world

CODES = ("MUG", "BAG")
UNITS = st.integers(0, 6)
ACTS = st.one_of(
    st.tuples(st.just("kept"), st.sampled_from(CODES), UNITS),
    st.tuples(st.just("shown"), st.sampled_from(CODES), UNITS),
    st.tuples(st.just("sold"), st.sampled_from(CODES), st.integers(1, 3)),
    st.tuples(st.just("came in"), st.sampled_from(CODES), st.integers(1, 5)),
    st.tuples(st.just("went over"), st.sampled_from(CODES), UNITS),
    st.tuples(st.just("both"), st.sampled_from(CODES), UNITS),
    st.tuples(st.just("escrow"), st.sampled_from(CODES), st.booleans()),
)


@settings(max_examples=25)
@given(acts=st.lists(ACTS, max_size=8))
def test_nothing_is_ever_planned_for_an_external_place(module_engine: Engine, acts: list[tuple[str, str, int]]) -> None:
    with module_engine.connect() as conn, conn.begin() as transaction:
        world = make_seller_world(conn, listing("MUG", 5, 4), listing("BAG", None, 3))
        shop = make_connection(conn, world.shop_id, is_sku_source=False)
        take_in(conn, shop, [make_channel_listing(code, 5) for code in CODES])
        kept = {"MUG": 4, "BAG": 3}
        lanes = [Lane(world.shop_id, world.connection.id, "B", 1), Lane(world.shop_id, shop.id, "A", 250)]
        now = NOW
        for number, (act, code, units) in enumerate(acts):
            now += timedelta(minutes=3)
            _do(conn, world, act, code, units, now, number)
            if act in ("kept", "went over", "both"):
                kept[code] = units
            for lane in lanes:
                catalog.begin_publishing(conn, lane.shop_id, lane.connection_id)
            inventory.refresh_all_desired(conn, world.shop_id)
            for lane in lanes:
                planned = [write for call in publishing.plan(conn, lane, 50, now) for write in call]
                assert FBA_PLACE not in {write.location_ref for write in planned}
                publishing.withdraw_unsent(conn, lane.shop_id, lane.connection_id, now + timedelta(minutes=2))
            _holds(conn, world, kept)
        assert not _broken(conn, world, now) & {
            "external_is_neither_promised_nor_written",
            "external_level_is_what_was_read",
            "level_is_sum_of_movements",
        }
        transaction.rollback()


def _do(conn: Connection, world: World, act: str, code: str, units: int, now: datetime, number: int) -> None:
    shop_id, seller = world.shop_id, world.connection
    if act in ("kept", "shown"):
        place = FBA_PLACE if act == "kept" else OWN_PLACE
        catalog.observe_levels(conn, shop_id, seller.id, [LevelObservation(code, place, units, now)], now)
    elif act == "sold":
        line = make_line(code, units=units, variant_ref=code, code=code)
        apply(conn, world, make_facts(make_order(f"order-{number}", [line], placed_at=now, created_at=now)), now=now)
    elif act == "came in":
        item = Adjustment(f"in:{number}", code, units, "receipt", now)
        inventory.adjust(conn, shop_id, world.location_id, [item], ACTOR, now)
    elif act == "went over":
        take_in(conn, seller, [listing(code, None, units, now, gone_places=(OWN_PLACE,))])
    elif act == "both":
        take_in(conn, seller, [listing(code, units, units, now)])
    else:
        # A rule is for all listings of a connection, whatever place they are at.
        mode = "escrow" if units else "pooled"
        execute(conn, "update listings set mode = %(mode)s where shop_id = %(shop)s", mode=mode, shop=shop_id)
    external.align(conn, shop_id, seller.id, now)


def _holds(conn: Connection, world: World, kept: dict[str, int]) -> None:
    found = fetch(
        conn,
        """
        select s.code, k.on_hand, k.reserved from stock_levels k
        join locations p on p.shop_id = k.shop_id and p.id = k.location_id and p.kind = 'external'
        join skus s on s.shop_id = k.shop_id and s.id = k.sku_id where k.shop_id = %(shop)s
        """,
        shop=world.shop_id,
    )
    assert {row["code"]: (row["on_hand"], row["reserved"]) for row in found} == {
        code: (units, 0) for code, units in kept.items()
    }


def _broken(conn: Connection, world: World, now: datetime) -> set[str]:
    found = invariants.check(conn, now + timedelta(hours=1), shop_id=world.shop_id)
    return {each.name for each in found if each.rows}
