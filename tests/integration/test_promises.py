"""Promises to holders other than order lines: made where there is enough, ended once, in one of four ways."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from core.catalog.operations import lock_listings
from core.db import execute, fetch_one, scalar, unit_of_work
from core.errors import BadInput
from core.inventory import operations as inventory
from core.inventory import promises
from core.inventory.promises import Answer, Holder, Missing, Promise, PromiseEnded
from tests.factories import (
    NOW,
    Level,
    World,
    adjust_stock,
    book,
    count,
    later,
    level_of,
    listing_of,
    make_line,
    make_order,
    make_sku,
    make_world,
    moved,
)
from tests.stock_desk import broken, compose, make_bundles, make_promise, promise_rows, reserve, shown

BASKET = Holder("checkout", "basket")


@pytest.fixture
def world(conn: Connection) -> World:
    return make_world(conn, {"MUG": 5, "CUP": 2})


# --- reserving ---------------------------------------------------------------------------------------------------


def test_a_promise_holds_stock_and_every_listing_shows_less(conn: Connection, world: World) -> None:
    answer = reserve(conn, world, "basket", {"MUG": 3})
    assert answer == Answer(BASKET, {world.skus["MUG"]: 3})
    assert answer.is_whole
    assert level_of(conn, world) == Level(5, 3, 2)
    assert listing_of(conn, world)["desired_units"] == 2
    (row,) = promise_rows(conn, world)
    assert (row["state"], row["units"], row["held_units"], row["ended_at"]) == ("held", 3, 3, None)
    assert moved(conn, world) == {"receipt": 5}
    assert broken(conn, world) == {}


def test_all_lines_or_none(conn: Connection, world: World) -> None:
    answer = reserve(conn, world, "basket", {"MUG": 1, "CUP": 3})
    assert answer == Answer(BASKET, {}, (Missing(world.skus["CUP"], 3, 2),))
    assert not answer.is_whole
    assert promise_rows(conn, world) == []
    assert level_of(conn, world) == Level(5, 0, 5)


def test_a_holder_may_take_the_lines_that_can_be_had(conn: Connection, world: World) -> None:
    answer = reserve(conn, world, "basket", {"MUG": 1, "CUP": 3}, takes_part=True)
    assert answer == Answer(BASKET, {world.skus["MUG"]: 1}, (Missing(world.skus["CUP"], 3, 2),))
    assert [row["code"] for row in promise_rows(conn, world)] == ["MUG"]


def test_two_lines_of_one_sku_are_one_promise_and_met_together(conn: Connection, world: World) -> None:
    mug = world.skus["MUG"]
    lines = ((mug, 3), (mug, 2))
    (answer,) = promises.reserve(conn, world.shop_id, [Promise(BASKET, world.location_id, lines)], NOW)
    assert answer.held == {mug: 5}
    assert [row["units"] for row in promise_rows(conn, world)] == [5]
    other = Promise(Holder("checkout", "late"), world.location_id, ((mug, 1), (mug, 1)))
    (answer,) = promises.reserve(conn, world.shop_id, [other], NOW)
    assert answer.missing == (Missing(mug, 2, 0),)


def test_first_come_first_served_and_who_gets_nothing_takes_nothing(conn: Connection, world: World) -> None:
    asked = [
        make_promise(world, "one", {"MUG": 3}),
        make_promise(world, "two", {"MUG": 3}),
        make_promise(world, "three", {"MUG": 2}),
        make_promise(world, "four"),
    ]
    answers = promises.reserve(conn, world.shop_id, asked, NOW)
    assert [answer.is_whole for answer in answers] == [True, False, True, False]
    assert level_of(conn, world) == Level(5, 5, 0)
    assert broken(conn, world) == {}


def test_what_is_kept_apart_cannot_be_promised(conn: Connection, world: World) -> None:
    inventory.lock_levels(conn, world.shop_id, [(world.skus["MUG"], world.location_id)])
    apart = inventory.Movement(
        world.skus["MUG"], world.location_id, 0, "quarantine", "apart", NOW, unavailable_delta_units=4
    )
    inventory.move(conn, world.shop_id, [apart], "Ada", NOW)
    assert not reserve(conn, world, "two", {"MUG": 2}).is_whole
    assert reserve(conn, world, "one").is_whole
    inventory.refresh_desired(conn, world.shop_id, [world.skus["MUG"]])
    assert listing_of(conn, world)["desired_units"] == 0
    assert broken(conn, world) == {}


def test_a_place_that_has_none_and_a_sku_nobody_knows_have_nothing(conn: Connection, world: World) -> None:
    shed = inventory.open_location(conn, world.shop_id, "Shed", NOW)
    assert reserve(conn, world, "basket", location_id=shed).missing == (Missing(world.skus["MUG"], 1, 0),)
    strange = Promise(BASKET, world.location_id, ((10**12, 1),))
    assert promises.reserve(conn, world.shop_id, [strange], NOW)[0].missing == (Missing(10**12, 1, 0),)
    assert count(conn, "stock_levels", world.shop_id) == 2


def test_what_has_no_stock_by_nature_keeps_nobody_from_the_rest(conn: Connection, world: World) -> None:
    voucher = make_sku(conn, world.shop_id, "VOUCHER", is_stocked=False)
    asked = Promise(BASKET, world.location_id, ((world.skus["MUG"], 2), (voucher, 1)))
    (answer,) = promises.reserve(conn, world.shop_id, [asked], NOW)
    assert (answer.held, answer.is_whole) == ({world.skus["MUG"]: 2}, True)
    (again,) = promises.reserve(conn, world.shop_id, [asked], NOW)
    assert (again.repeated, again.is_whole) == (True, True)
    assert broken(conn, world) == {}


def test_a_shortage_promises_nothing_and_says_none_is_there(conn: Connection, world: World) -> None:
    book(conn, world, make_order(lines=[make_line(units=8)]))
    assert reserve(conn, world, "basket").missing == (Missing(world.skus["MUG"], 1, 0),)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((), "checkout basket asks for nothing: give at least one SKU"),
        (((7, 0),), "checkout basket asks for 0 of SKU 7: give 1 or more"),
        (((7, 2), (8, -1)), "checkout basket asks for -1 of SKU 8: give 1 or more"),
    ],
)
def test_what_nobody_can_promise_is_refused(
    conn: Connection, world: World, lines: tuple[tuple[int, int], ...], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        promises.reserve(conn, world.shop_id, [Promise(BASKET, world.location_id, lines)], NOW)


def test_a_holder_named_twice_in_one_call_is_refused(conn: Connection, world: World) -> None:
    with pytest.raises(BadInput, match="basket is named twice"):
        promises.reserve(conn, world.shop_id, [make_promise(world, "basket"), make_promise(world, "basket")], NOW)


def test_holders_of_two_kinds_may_use_the_same_word(conn: Connection, world: World) -> None:
    assert reserve(conn, world, "7").is_whole
    assert reserve(conn, world, "7", kind="vendor_order").is_whole
    assert level_of(conn, world) == Level(5, 2, 3)


# --- asking again ------------------------------------------------------------------------------------------------


def test_asking_again_is_answered_with_what_was_given(conn: Connection, world: World) -> None:
    reserve(conn, world, "basket", {"MUG": 2})
    again = reserve(conn, world, "basket", {"MUG": 2})
    assert again == Answer(BASKET, {world.skus["MUG"]: 2}, repeated=True)
    assert again.is_whole
    assert level_of(conn, world) == Level(5, 2, 3)


def test_asking_again_does_not_make_whole_what_was_given_in_part(conn: Connection, world: World) -> None:
    reserve(conn, world, "basket", {"MUG": 1, "CUP": 3}, takes_part=True)
    adjust_stock(conn, world, "CUP", 9)
    again = reserve(conn, world, "basket", {"MUG": 1, "CUP": 3}, takes_part=True)
    assert again.held == {world.skus["MUG"]: 1}
    assert again.missing == (Missing(world.skus["CUP"], 3, 0),)
    assert not again.is_whole


@pytest.mark.parametrize("end", ["release", "expire", "ship", "hand_over"])
def test_asking_again_after_the_end_is_told_that_nothing_is_held(conn: Connection, world: World, end: str) -> None:
    """Or a checkout that comes back an hour later would be sold what somebody else has bought meanwhile."""
    reserve(conn, world, "basket", expires_at=later(5))
    ENDS[end](conn, world)
    again = reserve(conn, world, "basket", expires_at=later(5))
    assert (again.repeated, again.has_ended, again.is_whole) == (True, True, False)
    assert level_of(conn, world).reserved == 0


def test_a_holder_that_got_nothing_may_ask_again(conn: Connection, world: World) -> None:
    assert not reserve(conn, world, "basket", {"CUP": 3}).is_whole
    adjust_stock(conn, world, "CUP", 1)
    assert reserve(conn, world, "basket", {"CUP": 3}).is_whole


def test_a_call_may_mix_holders_that_are_known_with_new_ones(conn: Connection, world: World) -> None:
    reserve(conn, world, "one", {"MUG": 4})
    answers = promises.reserve(
        conn, world.shop_id, [make_promise(world, "two"), make_promise(world, "one", {"MUG": 4})], NOW
    )
    assert [(answer.holder.ref, answer.repeated, answer.is_whole) for answer in answers] == [
        ("two", False, True),
        ("one", True, True),
    ]


# --- ends --------------------------------------------------------------------------------------------------------


def release(conn: Connection, world: World) -> int:
    return promises.release(conn, world.shop_id, [BASKET], NOW)


def hand_over(conn: Connection, world: World) -> int:
    return promises.hand_over(conn, world.shop_id, [BASKET], NOW)


def ship(conn: Connection, world: World) -> int:
    return promises.ship(conn, world.shop_id, [BASKET], "Ada", NOW)


def expire(conn: Connection, world: World) -> int:
    return promises.expire(conn, world.shop_id, later(5))


ENDS: dict[str, Callable[[Connection, World], int]] = {
    "release": release,
    "hand_over": hand_over,
    "ship": ship,
    "expire": expire,
}


@pytest.mark.parametrize(
    ("end", "state", "level"),
    [
        ("release", "released", Level(5, 0, 5)),
        ("hand_over", "consumed", Level(5, 0, 5)),
        ("ship", "consumed", Level(3, 0, 3)),
        ("expire", "expired", Level(5, 0, 5)),
    ],
)
@pytest.mark.parametrize("after", ENDS)
def test_a_promise_ends_once_whatever_is_said_after(
    conn: Connection, world: World, end: str, state: str, level: Level, after: str
) -> None:
    reserve(conn, world, "basket", {"MUG": 2}, expires_at=later(5))
    assert ENDS[end](conn, world) == 1
    if after == "ship" and end != "ship":
        with pytest.raises(PromiseEnded, match="nothing is held for checkout basket any more"):
            ship(conn, world)
    else:
        assert ENDS[after](conn, world) == 0
    (row,) = promise_rows(conn, world)
    assert (row["state"], row["held_units"]) == (state, 0)
    assert row["ended_at"] is not None
    assert level_of(conn, world) == level
    assert listing_of(conn, world)["desired_units"] == level.available
    assert broken(conn, world, later(5)) == {}


def test_one_promise_that_is_over_keeps_the_others_from_leaving(conn: Connection, world: World) -> None:
    reserve(conn, world, "basket")
    reserve(conn, world, "other")
    release(conn, world)
    both = [BASKET, Holder("checkout", "other")]
    with pytest.raises(PromiseEnded) as error, conn.begin_nested():
        promises.ship(conn, world.shop_id, both, "Ada", NOW)
    assert error.value.holders == (BASKET,)
    assert level_of(conn, world) == Level(5, 1, 4)


def test_nothing_leaves_for_who_was_never_promised_anything(conn: Connection, world: World) -> None:
    assert ship(conn, world) == 0
    assert level_of(conn, world) == Level(5, 0, 5)


def test_only_what_left_is_a_movement(conn: Connection, world: World) -> None:
    reserve(conn, world, "basket", {"MUG": 2})
    promises.ship(conn, world.shop_id, [BASKET], "Ada", NOW)
    assert moved(conn, world) == {"receipt": 5, "shipment": -2}
    (row,) = promise_rows(conn, world)
    movement = fetch_one(
        conn, "select * from stock_movements where business_key = %(k)s", k=f"promise:{row['id']}:shipment"
    )
    assert movement is not None
    assert (movement["recorded_by"], movement["note"]) == ("Ada", "checkout basket")


def test_an_order_takes_over_what_was_held_for_it_in_the_same_unit_of_work(conn: Connection, world: World) -> None:
    adjust_stock(conn, world, "MUG", -4)
    reserve(conn, world, "basket", kind="channel_order")
    book(conn, world, make_order())
    promises.hand_over(conn, world.shop_id, [Holder("channel_order", "basket")], NOW)
    assert level_of(conn, world) == Level(1, 1, 0)
    assert listing_of(conn, world)["short_units"] == 0
    assert [row["state"] for row in promise_rows(conn, world)] == ["consumed"]
    assert broken(conn, world) == {}


def test_nobody_ends_the_promise_of_another(conn: Connection, world: World) -> None:
    reserve(conn, world, "basket", kind="vendor_order")
    other = make_world(conn, {"MUG": 5})
    assert release(conn, world) == 0
    assert promises.release(conn, other.shop_id, [Holder("vendor_order", "basket")], NOW) == 0
    assert promises.expire(conn, other.shop_id, later(60)) == 0
    assert level_of(conn, world).reserved == 1


# --- deadlines ---------------------------------------------------------------------------------------------------


def test_a_promise_lasts_until_its_deadline_and_not_longer(conn: Connection, world: World) -> None:
    reserve(conn, world, "basket", expires_at=later(5))
    assert promises.expire(conn, world.shop_id, later(5) - timedelta(microseconds=1)) == 0
    assert promises.expire(conn, world.shop_id, later(5)) == 1


@pytest.mark.parametrize("minutes", [0, -1])
def test_a_deadline_that_has_passed_is_refused(conn: Connection, world: World, minutes: int) -> None:
    with pytest.raises(BadInput, match=r"checkout basket asks until .* which has passed"):
        reserve(conn, world, "basket", expires_at=later(minutes))
    assert promise_rows(conn, world) == []


def test_a_promise_without_deadline_stays(conn: Connection, world: World) -> None:
    reserve(conn, world, "basket")
    assert promises.expire(conn, world.shop_id, later(10**6)) == 0


def test_the_oldest_expire_first_so_many_at_a_time(conn: Connection, world: World) -> None:
    for number in (3, 1, 2):
        reserve(conn, world, f"basket {number}", expires_at=later(number))
    assert promises.expire(conn, world.shop_id, later(9), limit=2) == 2
    assert {row["holder_ref"]: row["state"] for row in promise_rows(conn, world)} == {
        "basket 1": "expired",
        "basket 2": "expired",
        "basket 3": "held",
    }
    assert promises.expire(conn, world.shop_id, later(9), limit=2) == 1


@pytest.mark.parametrize("end", ["release", "ship", "hand_over"])
def test_an_expiry_that_waits_for_another_end_does_nothing_more(engine: Engine, end: str) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 5})
        reserve(conn, world, "basket", {"MUG": 2}, expires_at=later(5))
    ended: list[int] = []
    with unit_of_work(engine) as conn:
        assert ENDS[end](conn, world) == 1
        waiting = start(engine, lambda other: ended.append(promises.expire(other, world.shop_id, later(9))))
        wait_until_blocked(engine)
    waiting.join(30)
    assert ended == [0]
    with engine.connect() as conn:
        assert level_of(conn, world) == (Level(3, 0, 3) if end == "ship" else Level(5, 0, 5))
        assert broken(conn, world, later(9)) == {}


def test_an_expiry_looks_at_the_deadline_again(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 5})
        reserve(conn, world, "basket", expires_at=later(5))
    ended: list[int] = []
    with unit_of_work(engine) as conn:
        inventory.lock_levels(conn, world.shop_id, [(world.skus["MUG"], world.location_id)])
        waiting = start(engine, lambda other: ended.append(promises.expire(other, world.shop_id, later(9))))
        wait_until_blocked(engine)
        execute(conn, "update reservations set expires_at = %(at)s", at=later(60))
    waiting.join(30)
    assert ended == [0]


def start(engine: Engine, act: Callable[[Connection], Any]) -> threading.Thread:
    """Do something on a connection of its own, committed at the end."""

    def run() -> None:
        with unit_of_work(engine) as conn:
            act(conn)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def wait_until_blocked(engine: Engine) -> None:
    """Until somebody waits for a lock."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        for _ in range(3000):
            if scalar(
                conn,
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
            ):
                return
            scalar(conn, "select pg_sleep(0.01)")
    raise AssertionError("nobody waits")


def test_the_same_promise_by_two_at_once_is_made_once(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 5})
    answers: list[Answer] = []
    with unit_of_work(engine) as conn:
        answers.append(reserve(conn, world, "basket", {"MUG": 2}))
        waiting = start(engine, lambda other: answers.append(reserve(other, world, "basket", {"MUG": 2})))
        wait_until_blocked(engine)
    waiting.join(30)
    assert [(answer.repeated, answer.is_whole) for answer in answers] == [(False, True), (True, True)]
    with engine.connect() as conn:
        assert level_of(conn, world) == Level(5, 2, 3)


def test_one_holder_that_asks_for_two_things_at_once_is_given_one(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 5, "CUP": 5})
    answers: list[Answer] = []
    with unit_of_work(engine) as conn:
        answers.append(reserve(conn, world, "basket", {"MUG": 1}))
        waiting = start(engine, lambda other: answers.append(reserve(other, world, "basket", {"CUP": 1})))
        wait_until_blocked(engine)
    waiting.join(30)
    assert [(answer.repeated, answer.is_whole) for answer in answers] == [(False, True), (True, False)]
    with engine.connect() as conn:
        assert [row["code"] for row in promise_rows(conn, world)] == ["MUG"]


@pytest.mark.parametrize("end", ENDS)
def test_a_bundle_made_while_a_promise_on_its_part_ends_shows_no_old_number(engine: Engine, end: str) -> None:
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 10, "KIT": 0})
        reserve(conn, world, "basket", {"MUG": 4}, expires_at=later(5))
    with unit_of_work(engine) as conn:
        assert ENDS[end](conn, world) == 1
        composing = start(engine, lambda other: compose(other, world, "KIT", {"MUG": 1}))
        wait_until_blocked(engine)
    composing.join(30)
    with engine.connect() as conn:
        assert shown(conn, world.connection)["KIT"] == (6 if end == "ship" else 10, 0)
        assert broken(conn, world, later(9)) == {}


def test_goods_that_leave_while_their_listing_changes_wait_for_nobody_in_a_circle(engine: Engine) -> None:
    """A category is written to a SKU and then to its listings; a movement points at the SKU."""
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 10})
        reserve(conn, world, "basket", {"MUG": 2})
    with unit_of_work(engine) as conn:
        execute(conn, "select 1 from skus where id = %(id)s for update", id=world.skus["MUG"])
        shipping = start(engine, lambda other: ship(other, world))
        wait_until_blocked(engine)
        lock_listings(conn, world.shop_id, sku_ids=[world.skus["MUG"]])
    shipping.join(30)
    with engine.connect() as conn:
        assert level_of(conn, world) == Level(8, 0, 8)
        assert listing_of(conn, world)["desired_units"] == 8


def test_a_rule_that_changes_while_stock_does_leaves_no_old_number(engine: Engine) -> None:
    """The cap is lifted, and shows all ten, while one of them is taken: whoever is last sees the other."""
    with unit_of_work(engine) as conn:
        world = make_world(conn, {"MUG": 10})
        execute(conn, "update listings set cap_units = 5, desired_units = 5 where shop_id = %(s)s", s=world.shop_id)
    with unit_of_work(engine) as conn:
        execute(conn, "update listings set cap_units = null, desired_units = 10 where shop_id = %(s)s", s=world.shop_id)
        taking = start(engine, lambda other: reserve(other, world, "basket"))
        wait_until_blocked(engine)
    taking.join(30)
    with engine.connect() as conn:
        assert listing_of(conn, world)["desired_units"] == 9
        assert broken(conn, world) == {}


# --- bundles -----------------------------------------------------------------------------------------------------


def test_a_bundle_is_promised_as_its_parts_all_or_none(conn: Connection) -> None:
    world = make_bundles(conn, {"MUG": 5, "CUP": 2}, {"KIT": {"MUG": 2, "CUP": 1}})
    answer = reserve(conn, world, "basket", {"KIT": 2})
    assert answer.held == {world.skus["MUG"]: 4, world.skus["CUP"]: 2}
    assert {row["code"]: row["units"] for row in promise_rows(conn, world)} == {"MUG": 4, "CUP": 2}
    late = reserve(conn, world, "late", {"KIT": 1})
    assert set(late.missing) == {Missing(world.skus["MUG"], 2, 1), Missing(world.skus["CUP"], 1, 0)}
    assert listing_of(conn, world, "KIT")["desired_units"] == 0
    assert promises.release(conn, world.shop_id, [BASKET], NOW) == 2
    assert listing_of(conn, world, "KIT")["desired_units"] == 2
    assert broken(conn, world) == {}


def test_a_bundle_and_its_component_in_one_promise_share_what_there_is(conn: Connection) -> None:
    world = make_bundles(conn, {"MUG": 5, "CUP": 9}, {"KIT": {"MUG": 2, "CUP": 1}})
    assert not reserve(conn, world, "much", {"KIT": 2, "MUG": 2}).is_whole
    assert reserve(conn, world, "basket", {"KIT": 2, "MUG": 1}).held == {world.skus["MUG"]: 5, world.skus["CUP"]: 2}
    assert promises.ship(conn, world.shop_id, [BASKET], "Ada", NOW) == 2
    assert level_of(conn, world) == Level(0, 0, 0)
    assert broken(conn, world) == {}


def test_a_part_of_a_bundle_that_is_missing_leaves_the_other_lines_to_who_takes_part(conn: Connection) -> None:
    world = make_bundles(conn, {"MUG": 5, "CUP": 0}, {"KIT": {"MUG": 2, "CUP": 1}})
    answer = reserve(conn, world, "basket", {"KIT": 1, "MUG": 4}, takes_part=True)
    assert answer.held == {world.skus["MUG"]: 4}
    assert not answer.is_whole


# --- what the database refuses -----------------------------------------------------------------------------------

PROMISE = """
    insert into reservations (shop_id, sku_id, location_id, holder_kind, holder_ref, units, held_units, created_at)
    values (%(shop)s, %(sku)s, %(place)s, 'checkout', %(ref)s, 1, 1, now())
"""


@pytest.mark.parametrize(
    ("sql", "constraint"),
    [
        ("update stock_levels set reserved = 6, promised = 6 where sku_id = %(sku)s", "promises_are_covered"),
        ("update stock_levels set promised = reserved + 1 where sku_id = %(sku)s", "ck_stock_levels_promised"),
        ("update stock_levels set promised = -1 where sku_id = %(sku)s", "ck_stock_levels_promised"),
        (PROMISE.replace("%(ref)s", "'held'"), "uq_reservations_holder"),
        (PROMISE.replace("'checkout'", "'nobody'"), "ck_reservations_holder_kind"),
        (PROMISE.replace("'checkout'", "'order_line'"), "ck_reservations_one_holder"),
        (PROMISE.replace("%(ref)s", "null"), "ck_reservations_one_holder"),
        (PROMISE.replace("1, 1, now()", "1, 0, now()"), "ck_reservations_ended"),
        (PROMISE.replace("1, 1, now()", "3, 2, now()"), "ck_reservations_ends_whole"),
        (PROMISE.replace("1, 1, now()", "1, 2, now()"), "ck_reservations_ends_whole"),
        ("update reservations set is_expired = true where holder_ref = 'held'", "ck_reservations_expired_is_ended"),
        ("update reservations set ended_at = now() where holder_ref = 'held'", "ck_reservations_ended"),
        ("update reservations set held_units = 0 where holder_ref = 'held'", "ck_reservations_ended"),
        ("update reservations set units_each = 0 where holder_ref = 'held'", "ck_reservations_units_each"),
        (
            "update reservations set expires_at = now() where order_line_id is not null",
            "ck_reservations_facts_have_no_deadline",
        ),
        (
            "update reservations set returned_units = 3 where order_line_id is not null",
            "ck_reservations_restocked_once",
        ),
        (
            "update reservations set taken_back_units = 3 where order_line_id is not null",
            "ck_reservations_taken_back_once",
        ),
        (
            "update reservations set quarantined_units = 1 where order_line_id is not null",
            "ck_reservations_quarantined",
        ),
    ],
)
def test_the_database_itself_refuses(conn: Connection, world: World, sql: str, constraint: str) -> None:
    reserve(conn, world, "held", {"MUG": 1})
    book(conn, world, make_order(lines=[make_line(units=2)]))
    with pytest.raises(DBAPIError) as refused:
        execute(conn, sql, shop=world.shop_id, sku=world.skus["MUG"], place=world.location_id, ref="new")
    assert refused.value.orig is not None
    assert refused.value.orig.diag.constraint_name == constraint  # type: ignore[attr-defined]


def test_a_level_cannot_begin_with_more_promised_than_it_has(conn: Connection, world: World) -> None:
    shed = inventory.open_location(conn, world.shop_id, "Shed", NOW)
    with pytest.raises(DBAPIError, match="1 more cannot be promised"):
        execute(
            conn,
            """
            insert into stock_levels (shop_id, sku_id, location_id, reserved, promised)
            values (%(shop)s, %(sku)s, %(place)s, 1, 1)
            """,
            shop=world.shop_id,
            sku=world.skus["MUG"],
            place=shed,
        )


def test_a_sale_may_find_less_than_was_promised_and_is_a_shortage(conn: Connection, world: World) -> None:
    """What a channel sold is a fact; the promise stays, and can still be given back."""
    reserve(conn, world, "basket", {"MUG": 5})
    book(conn, world, make_order(lines=[make_line(units=2)]))
    assert level_of(conn, world) == Level(5, 7, -2)
    assert (listing_of(conn, world)["desired_units"], listing_of(conn, world)["short_units"]) == (0, 2)
    assert promises.release(conn, world.shop_id, [BASKET], NOW) == 1
    assert level_of(conn, world) == Level(5, 2, 3)
    assert broken(conn, world) == {}


def test_the_plans_of_a_small_reservation_are_not_forced_on_what_follows(conn: Connection, world: World) -> None:
    reserve(conn, world, "basket")
    assert scalar(conn, "show plan_cache_mode") == "auto"
