"""Whose SKU an identifier is: matched, answered by people, set aside, remapped; what was parked for it is booked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection

from core.db import execute, fetch, fetch_one, scalar
from core.errors import BadInput
from core.identity import assigning, operations, queries
from core.identity.assigning import AlreadyMapped, NotToBeSetAside, WriteStillOpen
from core.identity.operations import MappingChanged, NothingToRemap, NotSetAside
from core.identity.outcomes import Answer, Outcome
from core.identity.rules import Identifier, identifier
from core.orders import intake
from core.ports import ChannelListing
from tests.factories import (
    ACTOR,
    BASELINE,
    NOW,
    World,
    book,
    first_sync,
    later,
    level_of,
    make_channel_listing,
    make_connection,
    make_fulfilment,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    make_sku,
    make_world,
    take_in,
    world_of,
)
from tests.stock_desk import broken, compose

EAN = "5012345678900"
OTHER_EAN = "4006381333931"


def amazon(conn: Connection, world: World, *listings: ChannelListing, is_synced: bool = True) -> World:
    """A second channel of the shop that makes no SKUs, with these listings, synced and whole."""
    connection = make_connection(conn, world.shop_id, is_sku_source=False)
    intake.take_in(conn, connection, listings, NOW)
    intake.match_listings(conn, connection, NOW)
    if is_synced:
        first_sync(conn, connection)
    return world_of(conn, connection)


def give_barcode(conn: Connection, world: World, code: str, barcode: str) -> None:
    execute(conn, "update skus set barcode = %(b)s where id = %(id)s", b=barcode, id=world.skus[code])


def listed(conn: Connection, world: World, ref: str) -> Any:
    return fetch_one(
        conn,
        """
        select l.*, s.code from listings l left join skus s on s.shop_id = l.shop_id and s.id = l.sku_id
        where l.shop_id = %(shop)s and l.connection_id = %(connection)s and l.channel_ref = %(ref)s order by l.id
        """,
        shop=world.shop_id,
        connection=world.connection.id,
        ref=ref,
    )


def one(world: World, kind: str, value: str) -> Identifier:
    return identifier(world.connection.id, kind, value)


def remap(conn: Connection, world: World, kind: str, value: str, code: str) -> Outcome:
    """Look, then act, as a person would; looked at within the unit of work of the test."""
    nested = conn.begin_nested()
    seen = operations._remap(conn, world.shop_id, one(world, kind, value), code, ACTOR, NOW)
    nested.rollback()
    return operations.remap_identifier(conn, world.shop_id, one(world, kind, value), code, seen.token(), ACTOR, NOW)


def parked(conn: Connection, world: World) -> int:
    return scalar(
        conn, "select count(*) from order_lines where shop_id = %(s)s and mapping = 'unmapped'", s=world.shop_id
    )


# --- automatic matching ----------------------------------------------------------------------------------------------


def test_a_valid_barcode_matches_what_no_code_does(conn: Connection, world: World) -> None:
    give_barcode(conn, world, "MUG", EAN)
    there = amazon(conn, world, make_channel_listing("AMZ-1", 3, barcode=f"0{EAN}"))
    found = listed(conn, there, "variant:AMZ-1")
    assert (found["code"], found["publishing"]) == ("MUG", "on")
    (row,) = queries.mapped(conn, world.shop_id, connection_id=there.connection.id)
    assert (row["kind"], row["value"], row["code"], row["source"]) == ("variant", "variant:AMZ-1", "MUG", "automatic")
    assert row["reason"] == f"same barcode 0{EAN}"


@pytest.mark.parametrize(
    "barcode", ["5012345678901", "0000000000000", "2012345678903", "0212345678909", "0412345678903", "20123451", "mug"]
)
def test_what_is_no_barcode_or_a_shops_own_number_matches_nothing(conn: Connection, world: World, barcode: str) -> None:
    give_barcode(conn, world, "MUG", barcode)
    there = amazon(conn, world, make_channel_listing("AMZ-1", 3, barcode=barcode))
    assert listed(conn, there, "variant:AMZ-1")["code"] is None


def test_a_code_and_a_barcode_that_disagree_are_ambiguous(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 10, "CUP": 10})
    give_barcode(conn, world, "CUP", EAN)
    there = amazon(conn, world, make_channel_listing("MUG", 3, barcode=EAN))
    found = listed(conn, there, "variant:MUG")
    assert found["code"] is None
    assert found["publishing_reason"] == f"ambiguous: its code is MUG's, its barcode 0{EAN} is CUP's"
    (row,) = queries.unmapped(conn, world.shop_id)
    assert (row["state"], row["value"]) == ("ambiguous", "variant:MUG")
    codes = [each.code for each in queries.suggest(conn, world.shop_id, one(there, "variant", "variant:MUG"), limit=1)]
    assert sorted(codes) == ["CUP", "MUG"]


def test_a_barcode_on_two_listings_or_two_skus_is_ambiguous(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 10, "CUP": 10, "JUG": 10})
    give_barcode(conn, world, "MUG", EAN)
    give_barcode(conn, world, "CUP", OTHER_EAN)
    give_barcode(conn, world, "JUG", OTHER_EAN)
    there = amazon(
        conn,
        world,
        make_channel_listing("A", 1, barcode=EAN),
        make_channel_listing("B", 1, barcode=EAN),
        make_channel_listing("C", 1, barcode=OTHER_EAN),
    )
    assert [listed(conn, there, f"variant:{ref}")["code"] for ref in "ABC"] == [None, None, None]
    assert {row["state"] for row in queries.unmapped(conn, world.shop_id)} == {"ambiguous"}


def test_pages_read_one_by_one_match_by_barcode_only_when_all_are_read(conn: Connection, world: World) -> None:
    give_barcode(conn, world, "MUG", EAN)
    connection = make_connection(conn, world.shop_id, is_sku_source=False)
    intake.take_in(conn, connection, [make_channel_listing("A", 1, barcode=EAN)], NOW)
    intake.take_in(conn, connection, [make_channel_listing("B", 1, barcode=EAN)], NOW)
    assert intake.match_listings(conn, connection, NOW) == 0


def test_a_code_that_differs_by_case_or_spaces_is_only_suggested(conn: Connection, world: World) -> None:
    there = amazon(conn, world, make_channel_listing("m ug", 3))
    assert listed(conn, there, "variant:m ug")["code"] is None
    found = queries.suggest(conn, world.shop_id, one(there, "variant", "variant:m ug"))
    assert (found[0].code, found[0].reasons[0]) == ("MUG", "same code but for case or spaces")


def test_trap_an_asin_alone_never_matches_and_several_skus_stand_on_it(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 10, "CUP": 10})
    there = amazon(
        conn,
        world,
        make_channel_listing("MUG", 3, product_ref="B0SHARED01"),
        make_channel_listing("CUP", 3, product_ref="B0SHARED01"),
        make_channel_listing("THIRD", 3, product_ref="B0SHARED01"),
    )
    assert [listed(conn, there, f"variant:{ref}")["code"] for ref in ("MUG", "CUP", "THIRD")] == ["MUG", "CUP", None]
    found = queries.suggest(conn, world.shop_id, one(there, "variant", "variant:THIRD"))
    assert {each.code for each in found} == {"MUG", "CUP"}
    assert all("sellers share it" in each.reasons[0] for each in found)


def test_trap_the_seller_sku_counts_case_and_spaces(conn: Connection, world: World) -> None:
    there = amazon(conn, world, make_channel_listing("X", 1, ref="ab C", code="ab C"))
    operations.map_identifier(conn, world.shop_id, one(there, "variant", "ab C"), "MUG", ACTOR, NOW)
    book(conn, there, make_order("1", [make_line(variant_ref="AB C", code="AB C")]))
    assert parked(conn, world) == 1
    book(conn, there, make_order("2", [make_line(variant_ref="ab C", code="ab C")]))
    assert parked(conn, world) == 1


def test_trap_the_fnsku_may_equal_the_asin_and_decides_nothing_by_itself(conn: Connection, world: World) -> None:
    give_barcode(conn, world, "MUG", EAN)
    there = amazon(
        conn, world, make_channel_listing("FBA", 3, product_ref="B0MUG00001", label_ref="B0MUG00001"), is_synced=False
    )
    found = listed(conn, there, "variant:FBA")
    assert (found["code"], found["label_ref"]) == (None, "B0MUG00001")


def test_trap_self_shipped_and_fba_of_one_article_share_a_barcode_and_are_left_to_a_person(
    conn: Connection, world: World
) -> None:
    give_barcode(conn, world, "MUG", EAN)
    there = amazon(
        conn,
        world,
        make_channel_listing("MFN", 3, barcode=EAN, product_ref="B0MUG00001"),
        make_channel_listing("AFN", 3, barcode=EAN, product_ref="B0MUG00001", label_ref="X0001"),
    )
    assert [listed(conn, there, f"variant:{ref}")["code"] for ref in ("MFN", "AFN")] == [None, None]


def test_identifiers_follow_the_channel(conn: Connection, world: World) -> None:
    there = amazon(conn, world, make_channel_listing("MUG", 3, barcode=EAN, label_ref="X1"))
    take_in(conn, there.connection, [make_channel_listing("MUG", 3, later(1), barcode=OTHER_EAN, label_ref="X2")])
    found = listed(conn, there, "variant:MUG")
    assert (found["barcode"], found["gtin"], found["label_ref"]) == (OTHER_EAN, f"0{OTHER_EAN}", "X2")


# --- what a person answers -------------------------------------------------------------------------------------------


def test_mapping_books_what_was_parked_and_keeps_who_said_so(conn: Connection, world: World) -> None:
    there = amazon(conn, world, make_channel_listing("AMZ-1", 3))
    book(conn, there, make_order("1", [make_line(code="AMZ-1", units=2)]))
    assert parked(conn, world) == 1
    done = operations.map_identifier(conn, world.shop_id, one(there, "variant", "variant:AMZ-1"), "MUG", ACTOR, NOW)
    assert (done.lines_booked, parked(conn, world), level_of(conn, world).reserved) == (1, 0, 2)
    assert done.awaits_sync
    (row,) = queries.history(conn, world.shop_id, one(there, "variant", "variant:AMZ-1"))
    assert (row["source"], row["mapped_by"], row["reason"]) == ("person", ACTOR.name, ACTOR.reason)
    assert queries.unmapped(conn, world.shop_id) == []
    assert broken(conn, world) == {}


def test_a_repeated_answer_does_nothing(conn: Connection, world: World) -> None:
    there = amazon(conn, world, make_channel_listing("AMZ-1", 3))
    for _ in range(2):
        done = operations.map_identifier(conn, world.shop_id, one(there, "variant", "variant:AMZ-1"), "MUG", ACTOR, NOW)
    assert (len(done.unchanged), done.listings) == (1, [])
    assert len(queries.history(conn, world.shop_id, one(there, "variant", "variant:AMZ-1"))) == 1


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("seller_sku", "AMZ-1"),
        ("asin", "B0AMZ00001"),
        ("fnsku", "X0001"),
        ("barcode", EAN),
        ("variant", "variant:AMZ-1"),
    ],
)
def test_every_kind_of_identifier_maps_the_listings_that_have_it(
    conn: Connection, world: World, kind: str, value: str
) -> None:
    there = amazon(
        conn, world, make_channel_listing("AMZ-1", 3, product_ref="B0AMZ00001", label_ref="X0001", barcode=EAN)
    )
    operations.map_identifier(conn, world.shop_id, one(there, kind, value), "MUG", ACTOR, NOW)
    assert listed(conn, there, "variant:AMZ-1")["code"] == "MUG"
    assert broken(conn, world) == {}


def test_a_persons_answer_goes_before_what_would_be_matched(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 10, "CUP": 10})
    there = amazon(conn, world)
    operations.map_identifier(conn, world.shop_id, one(there, "seller_sku", "MUG"), "CUP", ACTOR, NOW)
    intake.take_in(conn, there.connection, [make_channel_listing("MUG", 3)], NOW)
    assert listed(conn, there, "variant:MUG")["code"] == "CUP"


def test_the_narrowest_identifier_counts(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 10, "CUP": 10})
    there = amazon(conn, world)
    operations.map_identifier(conn, world.shop_id, one(there, "asin", "B01"), "CUP", ACTOR, NOW)
    operations.map_identifier(conn, world.shop_id, one(there, "seller_sku", "A"), "MUG", ACTOR, NOW)
    intake.take_in(
        conn,
        there.connection,
        [make_channel_listing("A", 3, product_ref="B01"), make_channel_listing("B", 3, product_ref="B01")],
        NOW,
    )
    assert [listed(conn, there, f"variant:{ref}")["code"] for ref in "AB"] == ["MUG", "CUP"]


def test_order_lines_of_a_listing_nobody_knows_are_resolved_by_the_mapping_table(
    conn: Connection, world: World
) -> None:
    there = amazon(conn, world)
    book(conn, there, make_order("1", [make_line(variant_ref="GONE", code="GONE-CODE")]))
    (row,) = queries.unmapped(conn, world.shop_id)
    assert (row["kind"], row["value"], row["parked_lines"], row["listings"]) == ("variant", "GONE", 1, 0)
    operations.map_identifier(conn, world.shop_id, one(there, "variant", "GONE"), "MUG", ACTOR, NOW)
    book(conn, there, make_order("2", [make_line(variant_ref="GONE", code="GONE-CODE")]))
    assert (parked(conn, world), level_of(conn, world).reserved) == (0, 2)
    assert broken(conn, world) == {}


def test_mapping_what_is_another_skus_is_refused(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 10, "CUP": 10})
    with pytest.raises(AlreadyMapped, match=r"variant:MUG on .* is MUG's"):
        operations.map_identifier(conn, world.shop_id, one(world, "variant", "variant:MUG"), "CUP", ACTOR, NOW)


def test_an_unknown_code_and_a_bad_barcode_are_refused_with_what_helps(conn: Connection, world: World) -> None:
    with pytest.raises(BadInput, match="Did you mean MUG"):
        operations.map_identifier(conn, world.shop_id, one(world, "variant", "x"), "mug", ACTOR, NOW)
    with pytest.raises(BadInput, match="would have to be 0"):
        one(world, "barcode", "5012345678901")


def test_what_is_not_ours_leaves_the_queue_and_comes_back(conn: Connection, world: World) -> None:
    there = amazon(conn, world, make_channel_listing("GIFT", 3))
    book(conn, there, make_order("1", [make_line(code="GIFT")]))
    gift = one(there, "variant", "variant:GIFT")
    done = operations.ignore_identifier(conn, world.shop_id, gift, ACTOR, NOW)
    assert (done.lines_set_aside, parked(conn, world), queries.unmapped(conn, world.shop_id)) == (1, 0, [])
    book(conn, there, make_order("2", [make_line(code="GIFT")]))
    assert parked(conn, world) == 0
    # What the channel tells of it again does not bring it back.
    intake.take_in(conn, there.connection, [make_channel_listing("GIFT", 3, later(1))], NOW, is_whole=True)
    assert queries.unmapped(conn, world.shop_id) == []
    assert operations.reopen_identifier(conn, world.shop_id, gift, ACTOR, NOW) == 2
    assert parked(conn, world) == 2
    operations.map_identifier(conn, world.shop_id, gift, "MUG", ACTOR, NOW)
    assert (parked(conn, world), level_of(conn, world).reserved) == (0, 2)
    with pytest.raises(NotSetAside):
        operations.reopen_identifier(conn, world.shop_id, gift, ACTOR, NOW)
    assert broken(conn, world) == {}


def test_what_sells_our_stock_cannot_be_set_aside(conn: Connection, world: World) -> None:
    with pytest.raises(NotToBeSetAside):
        operations.ignore_identifier(conn, world.shop_id, one(world, "variant", "variant:MUG"), ACTOR, NOW)


def test_the_queue_is_paged_with_what_hangs_most_first(conn: Connection, world: World) -> None:
    there = amazon(conn, world, *(make_channel_listing(f"A{number}", 1) for number in range(5)))
    book(conn, there, make_order("1", [make_line("1", "A3", 4), make_line("2", "A1", 2)]))
    seen, after = [], None
    while page := queries.unmapped(conn, world.shop_id, after=after, limit=2):
        seen += [row["code"] for row in page]
        last = page[-1]
        after = (last["parked_units"], last["connection_id"], last["kind"], last["value"])
    assert seen == ["A3", "A1", "A0", "A2", "A4"]


def test_titles_that_are_alike_are_suggested_and_say_how_much(conn: Connection, world: World) -> None:
    execute(conn, "update skus set title = 'Blue enamel mug 350 ml' where id = %(id)s", id=world.skus["MUG"])
    there = amazon(conn, world, make_channel_listing("X1", 1, title="Enamel mug, blue, 350 ml"))
    (found,) = queries.suggest(conn, world.shop_id, one(there, "variant", "variant:X1"))
    assert (found.code, found.reasons) == ("MUG", ("title 100 % alike",))


# --- remapping -------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(conn: Connection) -> World:
    return make_world(conn, {"MUG": 10, "CUP": 20})


def test_remapping_moves_the_listing_with_its_exposure_and_the_open_lines(conn: Connection, pair: World) -> None:
    book(conn, pair, make_order("1", [make_line(units=3)]))
    done = remap(conn, pair, "variant", "variant:MUG", "CUP")
    assert [(line.units, line.from_code, line.to_code) for line in done.moving] == [(3, "MUG", "CUP")]
    assert (level_of(conn, pair, "MUG").reserved, level_of(conn, pair, "CUP").reserved) == (0, 3)
    pools = {pool.code: pool for pool in done.pools}
    assert (pools["MUG"].available_before, pools["MUG"].available_after) == (7, 10)
    assert (pools["CUP"].exposed_before, pools["CUP"].exposed_after) == (20, 27)
    assert (pools["CUP"].available_after, pools["CUP"].worst_before, pools["CUP"].worst_after) == (17, 0, 10)
    (seen,) = done.moved_listings
    assert (seen.from_code, seen.to_code, seen.desired_before, seen.desired_after) == ("MUG", "CUP", 7, 17)
    assert broken(conn, pair) == {}


def test_lines_that_have_begun_to_be_shipped_or_cancelled_stay_and_are_named(conn: Connection, pair: World) -> None:
    book(conn, pair, make_order("1", [make_line(units=3)]), make_fulfilment("1", [("1", 1)]))
    book(
        conn,
        pair,
        make_order("2", [make_line(units=2)]),
        make_refund("2", [make_refund_line("1", 1, "cancel")], ref="r2"),
    )
    book(conn, pair, make_order("3", [make_line(units=1)]))
    done = remap(conn, pair, "variant", "variant:MUG", "CUP")
    assert [line.order_name for line in done.moving] == ["#3"]
    assert {line.order_name: line.why for line in done.staying} == {
        "#1": "1 of 3 have been shipped",
        "#2": "part of it was cancelled or refunded",
    }
    assert (level_of(conn, pair, "MUG").reserved, level_of(conn, pair, "CUP").reserved) == (3, 1)
    # Those that stay go on as what they were.
    book(conn, pair, make_fulfilment("1", [("1", 2)], ref="f2"))
    assert level_of(conn, pair, "MUG").on_hand == 7
    assert broken(conn, pair) == {}


def test_remapping_back_undoes_it(conn: Connection, pair: World) -> None:
    book(conn, pair, make_order("1", [make_line(units=3)]))
    before = level_of(conn, pair, "MUG"), level_of(conn, pair, "CUP")
    for code in ("CUP", "MUG", "CUP", "MUG"):
        remap(conn, pair, "variant", "variant:MUG", code)
        assert broken(conn, pair) == {}
    assert (level_of(conn, pair, "MUG"), level_of(conn, pair, "CUP")) == before
    book(conn, pair, make_fulfilment("1", [("1", 3)]))
    assert level_of(conn, pair, "MUG").on_hand == 7
    assert len(queries.history(conn, pair.shop_id, one(pair, "variant", "variant:MUG"))) == 5
    assert broken(conn, pair) == {}


def test_a_line_that_was_shipped_and_taken_back_by_the_channel_keeps_its_revisions(
    conn: Connection, pair: World
) -> None:
    book(conn, pair, make_order("1", [make_line(units=3)]), make_fulfilment("1", [("1", 3)], at=later(2)))
    book(conn, pair, make_fulfilment("1", [("1", 3)], at=later(3), is_shipped=False, status="cancelled"))
    remap(conn, pair, "variant", "variant:MUG", "CUP")
    book(conn, pair, make_fulfilment("1", [("1", 3)], ref="f2", at=later(4)))
    assert (level_of(conn, pair, "MUG").on_hand, level_of(conn, pair, "CUP").on_hand) == (10, 17)
    assert broken(conn, pair) == {}


def test_what_was_sold_before_the_take_over_moves_with_what_came_in_for_it(conn: Connection, pair: World) -> None:
    book(conn, pair, make_order("1", [make_line(units=3)], placed_at=later(-60, since=BASELINE)))
    assert level_of(conn, pair, "MUG").on_hand == 13
    for code in ("CUP", "MUG"):
        remap(conn, pair, "variant", "variant:MUG", code)
        assert broken(conn, pair) == {}
    assert (level_of(conn, pair, "MUG").on_hand, level_of(conn, pair, "CUP").on_hand) == (13, 20)


def test_bundles_are_remapped_as_their_parts(conn: Connection) -> None:
    world = make_world(conn, {"MUG": 10, "CUP": 20, "KIT": 0})
    compose(conn, world, "KIT", {"MUG": 2, "CUP": 1})
    book(conn, world, make_order("1", [make_line(code="MUG", units=2)]))
    remap(conn, world, "variant", "variant:MUG", "KIT")
    assert (level_of(conn, world, "MUG").reserved, level_of(conn, world, "CUP").reserved) == (4, 2)
    assert broken(conn, world) == {}
    remap(conn, world, "variant", "variant:MUG", "CUP")
    assert (level_of(conn, world, "MUG").reserved, level_of(conn, world, "CUP").reserved) == (0, 2)
    assert broken(conn, world) == {}


def test_remapping_to_a_sku_without_a_number_of_ours_stops_its_writes(conn: Connection, pair: World) -> None:
    make_sku(conn, pair.shop_id, "NEW")
    done = remap(conn, pair, "variant", "variant:MUG", "NEW")
    (seen,) = done.listings
    assert (seen.publishing_before, seen.publishing_after, seen.desired_after) == (True, False, None)
    remap(conn, pair, "variant", "variant:MUG", "MUG")
    assert listed(conn, pair, "variant:MUG")["publishing"] == "on"
    assert broken(conn, pair) == {}


def test_it_is_refused_when_the_facts_have_changed_since(conn: Connection, pair: World) -> None:
    mug = one(pair, "variant", "variant:MUG")
    nested = conn.begin_nested()
    token = operations._remap(conn, pair.shop_id, mug, "CUP", ACTOR, NOW).token()
    nested.rollback()
    book(conn, pair, make_order("1"))
    nested = conn.begin_nested()
    with pytest.raises(MappingChanged):
        operations.remap_identifier(conn, pair.shop_id, mug, "CUP", token, ACTOR, NOW)
    nested.rollback()
    assert listed(conn, pair, "variant:MUG")["code"] == "MUG"


def test_it_is_refused_while_a_write_is_open_and_says_which(conn: Connection, pair: World) -> None:
    write_id = scalar(
        conn,
        """
        insert into listing_writes (shop_id, connection_id, listing_id, from_units, to_units, idempotency_key,
            batch_position, planned_at, deadline_at, exposure_delta_units)
        values (%(shop)s, %(connection)s, %(listing)s, 10, 9, 'k', 0, %(now)s, %(until)s, 0) returning id
        """,
        shop=pair.shop_id,
        connection=pair.connection.id,
        listing=pair.listings["MUG"],
        now=NOW,
        until=later(1),
    )
    with pytest.raises(WriteStillOpen, match=f"write {write_id} of 9 .* 12:01:00 UTC") as refused:
        remap(conn, pair, "variant", "variant:MUG", "CUP")
    assert refused.value.writes[0].over_at == later(1)


def test_remapping_to_the_same_sku_says_so(conn: Connection, pair: World) -> None:
    remap(conn, pair, "variant", "variant:MUG", "CUP")
    with pytest.raises(NothingToRemap):
        operations.remap_identifier(conn, pair.shop_id, one(pair, "variant", "variant:MUG"), "CUP", "", ACTOR, NOW)


def test_a_new_place_of_a_remapped_listing_is_of_the_same_sku(conn: Connection, pair: World) -> None:
    remap(conn, pair, "variant", "variant:MUG", "CUP")
    told = make_channel_listing("MUG", 3, later(5))
    elsewhere = replace(told.levels[0], location_ref="place:2")
    intake.take_in(conn, pair.connection, [replace(told, levels=(*told.levels, elsewhere))], later(5))
    rows = fetch(conn, "select distinct sku_id from listings where channel_ref = 'variant:MUG'")
    assert [row["sku_id"] for row in rows] == [pair.skus["CUP"]]


def test_answers_of_several_connections_take_effect_together(conn: Connection, pair: World) -> None:
    there = amazon(conn, pair, make_channel_listing("A", 1))
    book(conn, there, make_order("1", [make_line(code="A")]))
    answers = [
        Answer(one(there, "variant", "variant:A"), pair.skus["MUG"], "the file says so"),
        Answer(one(pair, "variant", "variant:MUG"), pair.skus["CUP"]),
    ]
    done = assigning.assign(conn, pair.shop_id, answers, "file", ACTOR, NOW, may_move=True)
    assert (done.lines_booked, len(done.moved_listings)) == (1, 1)
    assert broken(conn, pair) == {}


def test_waiting_messages_of_the_listing_are_released(conn: Connection, world: World) -> None:
    there = amazon(conn, world, make_channel_listing("AMZ-1", 3))
    execute(
        conn,
        """
        insert into inbox_messages (shop_id, connection_id, delivery_id, topic, road, body, received_at, state,
            waiting_for, waits_until)
        values (%(shop)s, %(connection)s, 'd', 't', 'poll', ''::bytea, %(now)s, 'waiting', 'item:item:AMZ-1', %(now)s)
        """,
        shop=world.shop_id,
        connection=there.connection.id,
        now=NOW,
    )
    done = operations.map_identifier(conn, world.shop_id, one(there, "variant", "variant:AMZ-1"), "MUG", ACTOR, NOW)
    assert done.released_messages == 1
