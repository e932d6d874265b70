"""Changes that must reach another channel: written with what causes them, and how each leg of them ends.

This file is also what its racing processes run (see tests.racing).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from core import invariants
from core.adapters.shopify.errors import ERRORS
from core.db import execute, fetch, scalar, unit_of_work
from core.inventory import operations as inventory
from core.messaging import changes, chasing
from core.messaging import legs as words
from core.messaging.change_checks import CHANGE_CHECKS
from core.runs import retention
from tests import racing
from tests.alerting import look
from tests.changing import Pair, answer, change, chase, legs, make_pair, plan, settle, states
from tests.desks import Desk
from tests.factories import (
    NOW,
    World,
    body_of,
    book,
    drain,
    later,
    make_fulfilment,
    make_level,
    make_line,
    make_order,
    make_refund,
    make_refund_line,
    record_bodies,
)
from tests.stock_desk import compose

LATE = later(6)
"""After the deadline of a channel that answers at once, and before that of one that does not."""


@pytest.fixture
def pair(conn: Connection) -> Pair:
    return make_pair(conn)


def sell(conn: Connection, pair: Pair, ref: str = "1001", units: int = 1, **more: Any) -> None:
    book(conn, pair.seller, make_order(ref, [make_line(units=units)], **more))


def cancel(conn: Connection, pair: Pair, ref: str = "1001", minute: float = 2) -> None:
    sell(conn, pair, ref, cancelled_at=later(minute), version_at=later(minute))


def broken(conn: Connection, pair: Pair) -> set[str]:
    found = invariants.check(conn, later(60), shop_id=pair.shop_id)
    return {item.name for item in found if item.rows} & {name for name, _, _ in CHANGE_CHECKS}


def test_a_sale_has_to_reach_every_other_channel_and_not_the_one_it_happened_on(conn: Connection, pair: Pair) -> None:
    sell(conn, pair, units=2)
    (leg,) = legs(conn, pair)
    assert (leg["connection"], leg["code"], leg["delta_units"], leg["state"]) == ("Follower", "MUG", -2, "open")
    assert (leg["kind"], leg["order_name"], leg["deadline_at"]) == ("order_booked", "#1001", NOW + changes.DEADLINE)
    assert change(conn, pair)["done_at"] is None


def test_a_confirmed_number_planned_after_the_change_ends_its_leg(conn: Connection, pair: Pair) -> None:
    sell(conn, pair)
    assert chase(conn, pair).legs == 0
    (write,) = answer(conn, pair, "confirmed", later(1))
    assert chase(conn, pair, later(2)).confirmed == 1
    (leg,) = legs(conn, pair)
    assert (leg["state"], leg["write_id"], leg["shown_units"], leg["ended_at"]) == (
        "confirmed", write.write_id, 9, later(1),
    )  # fmt: skip
    assert change(conn, pair)["done_at"] == later(2)
    assert broken(conn, pair) == set()


def test_a_number_that_was_planned_before_the_change_does_not_end_its_leg(conn: Connection, pair: Pair) -> None:
    sell(conn, pair)
    writes = plan(conn, pair.follower)
    sell(conn, pair, "1002")
    settle(conn, pair.follower, writes, "confirmed", NOW)
    chase(conn, pair)
    assert [state for _, state, _ in states(conn, pair)] == ["confirmed", "open"]
    answer(conn, pair, "confirmed")
    chase(conn, pair)
    assert [state for _, state, _ in states(conn, pair)] == ["confirmed", "confirmed"]


def test_a_newer_number_reaches_for_all_that_are_older_though_another_sale_is_already_ahead(
    conn: Connection, pair: Pair
) -> None:
    sell(conn, pair)
    sell(conn, pair, "1002")
    answer(conn, pair, "confirmed")
    sell(conn, pair, "1003")
    chase(conn, pair)
    assert [state for _, state, _ in states(conn, pair)] == ["confirmed", "confirmed", "open"]


def test_what_needs_no_other_number_anywhere_is_no_change(conn: Connection, pair: Pair) -> None:
    execute(conn, "update listings set cap_units = 3 where id = %(id)s", id=pair.follower.listings["MUG"])
    inventory.refresh_desired(conn, pair.shop_id, [pair.seller.skus["MUG"]])
    answer(conn, pair, "confirmed")
    sell(conn, pair)
    book(conn, pair.seller, make_fulfilment())
    assert change(conn, pair) is None


def test_a_shipment_changes_nothing_that_others_show(conn: Connection, pair: Pair) -> None:
    sell(conn, pair)
    book(conn, pair.seller, make_fulfilment())
    assert [kind for kind, _, _ in states(conn, pair)] == ["order_booked"]


def test_an_order_cancelled_before_it_reached_anybody_ends_as_taken_back(conn: Connection, pair: Pair) -> None:
    sell(conn, pair)
    cancel(conn, pair)
    newer = change(conn, pair, 2)
    assert states(conn, pair)[0] == ("order_booked", "compensated", "undone")
    assert legs(conn, pair)[0]["compensated_by"] == newer["id"]
    assert newer["kind"] == "order_cancelled"
    assert (change(conn, pair)["done_at"], broken(conn, pair)) == (NOW, set())


def test_an_order_cancelled_after_it_was_reached_has_to_reach_again(conn: Connection, pair: Pair) -> None:
    sell(conn, pair)
    answer(conn, pair, "confirmed")
    chase(conn, pair)
    cancel(conn, pair)
    follower = [row for row in legs(conn, pair) if row["connection"] == "Follower"]
    assert [(row["kind"], row["state"], row["delta_units"]) for row in follower] == [
        ("order_booked", "confirmed", -1),
        ("order_cancelled", "open", 1),
    ]


def test_a_partial_refund_takes_back_no_older_leg(conn: Connection, pair: Pair) -> None:
    sell(conn, pair, units=3)
    book(conn, pair.seller, make_refund(lines=[make_refund_line(units=1, restock="cancel")]))
    assert states(conn, pair) == [("order_booked", "open", None), ("order_refunded", "open", None)]


def test_a_channel_that_came_to_show_it_by_itself_is_seen_and_one_that_never_had_to_is_left(
    conn: Connection, pair: Pair
) -> None:
    sell(conn, pair)
    book(conn, pair.follower, make_level(units=9, at=later(1)))
    execute(conn, "update listings set unseen_units = 0, unseen_since = null where shop_id = %(s)s", s=pair.shop_id)
    assert chase(conn, pair, later(2)).confirmed == 1
    assert (legs(conn, pair)[0]["write_id"], legs(conn, pair)[0]["seen_at"]) == (None, later(1))
    book(conn, pair.seller, make_order("1002"), now=later(2))
    Desk(conn, pair.seller, 0).receive({"MUG": 1})
    assert chase(conn, pair, later(3)).compensated == 1
    assert states(conn, pair)[1][1:] == ("compensated", "not_needed")
    assert broken(conn, pair) == set()


def test_what_the_channel_refuses_ends_as_refused_with_its_words(conn: Connection, pair: Pair) -> None:
    sell(conn, pair)
    answer(conn, pair, "refused", code="NOT_STOCKED_AT_LOCATION", detail="the item is not stocked there")
    assert chase(conn, pair).refused == 1
    (leg,) = legs(conn, pair)
    assert (leg["state"], leg["detail"]) == ("refused", "NOT_STOCKED_AT_LOCATION: the item is not stocked there")
    assert change(conn, pair)["done_at"] is not None


@pytest.mark.parametrize("code", ["90220", "INVALID"])
def test_a_complaint_about_a_listing_ends_its_leg_too(conn: Connection, pair: Pair, code: str) -> None:
    sell(conn, pair)
    answer(conn, pair, "refused", code=code, detail="a required attribute is missing")
    assert chase(conn, pair).refused == 1


@pytest.mark.parametrize(
    "code",
    [
        "UNAUTHORISED",
        "HTTP_402",
        "HTTP_423",
        "SHOP_INACTIVE",
        "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED",
        "IDEMPOTENCY_KEY_PARAMETER_MISMATCH",
        "WRITES_STOPPED",
        "NEIGHBOUR_REFUSED",
        "InvalidInput",
    ],
)
def test_a_refusal_that_may_pass_leaves_its_leg_open_and_a_later_number_reaches(
    conn: Connection, pair: Pair, code: str
) -> None:
    sell(conn, pair)
    answer(conn, pair, "refused", code=code, detail="not now")
    assert chase(conn, pair).legs == 0
    assert chase(conn, pair, LATE).stuck == 1
    (leg,) = legs(conn, pair)
    assert leg["state"] == "stuck"
    assert leg["reason"] != "refused"
    answer(conn, pair, "confirmed", now=later(60))
    assert chase(conn, pair, later(60)).confirmed == 1


def test_every_final_objection_of_a_vendor_is_known() -> None:
    ours = {"DUPLICATE_PAIR", "NO_INVENTORY_REF", "NOT_STOCKED_AT_LOCATION", "QUANTITY_OUT_OF_RANGE"}
    refused = {code for code, meaning in ERRORS.objections.items() if meaning.act == "refuse"}
    assert set(chasing.FINAL) == refused | ours


@pytest.mark.parametrize(
    ("hinder", "reason"),
    [
        ("update connections set state = 'paused' where id = %(connection)s", "paused"),
        ("update connections set write_mode = 'shadow' where id = %(connection)s", "shadow"),
        (
            "insert into write_stops (shop_id, connection_id, stopped_by, reason, stopped_at)"
            " values (%(shop)s, null, 'Ada', 'a fire', now())",
            "stopped",
        ),
        ("update listings set unseen_units = 1, unseen_since = now() where id = %(listing)s", "unexplained"),
        ("update stock_levels set is_escrow = true where sku_id = %(sku)s", "escrow"),
        ("select %(shop)s", "not_planned"),
    ],
)
def test_a_leg_open_after_its_deadline_says_why_and_what_next(
    conn: Connection, pair: Pair, hinder: str, reason: str
) -> None:
    sell(conn, pair)
    row = pair.follower
    execute(
        conn,
        hinder,
        connection=row.connection.id,
        shop=row.shop_id,
        listing=row.listings["MUG"],
        sku=row.skus["MUG"],
    )
    assert chase(conn, pair, later(4)).legs == 0
    assert chase(conn, pair, LATE).stuck == 1
    assert states(conn, pair) == [("order_booked", "stuck", reason)]
    assert words.words(reason) != reason
    assert words.next_step(reason)
    assert chase(conn, pair, later(7)).legs == 0


@pytest.mark.parametrize(
    ("outcome", "more", "reason"),
    [
        ("unknown", {"detail": "no answer came"}, "in_doubt"),
        ("accepted", {}, "not_answered"),
        ("unsent", {"code": "THROTTLED", "detail": "slow down"}, "throttled"),
        ("unsent", {"code": "UNREACHABLE", "detail": "no route"}, "not_sent"),
    ],
)
def test_a_write_that_does_not_come_through_is_the_reason(
    conn: Connection, pair: Pair, outcome: Any, more: dict[str, str], reason: str
) -> None:
    sell(conn, pair)
    answer(conn, pair, outcome, **more)
    chase(conn, pair, LATE)
    assert states(conn, pair) == [("order_booked", "stuck", reason)]


def test_a_stuck_leg_that_is_reached_later_is_confirmed_late_and_the_alert_closes(conn: Connection, pair: Pair) -> None:
    sell(conn, pair)
    assert look(conn, pair.shop_id, "stuck_change", later(5)) == "nothing"
    chase(conn, pair, LATE)
    assert look(conn, pair.shop_id, "stuck_change", LATE) == "open"
    assert look(conn, pair.shop_id, "stuck_change", later(7)) == "keep"
    (told,) = fetch(conn, "select payload from outbox_messages where shop_id = %(shop)s", shop=pair.shop_id)
    for part in ("1 change has not reached", "Follower: no write has been planned", "MUG", "Jobs page"):
        assert part in told["payload"]["text"]
    answer(conn, pair, "confirmed", later(8))
    assert chase(conn, pair, later(9)).confirmed == 1
    (leg,) = legs(conn, pair)
    assert (leg["state"], leg["stuck_at"], leg["ended_at"], leg["reason"]) == ("confirmed", LATE, later(8), None)
    assert look(conn, pair.shop_id, "stuck_change", later(10)) == "close"


def test_a_channel_that_applies_later_has_longer_and_hurried_clocks_have_less(conn: Connection) -> None:
    pair = make_pair(conn, "B")
    execute(
        conn,
        "update connections set settings = settings || '{\"clock_factor\": 10}' where id = %(id)s",
        id=pair.follower.connection.id,
    )
    sell(conn, pair)
    assert legs(conn, pair)[0]["deadline_at"] == NOW + changes.LATE_DEADLINE / 10


def test_a_listing_taken_off_the_channel_has_nothing_to_follow(conn: Connection, pair: Pair) -> None:
    sell(conn, pair)
    execute(conn, "update listings set publishing = 'off' where id = %(id)s", id=pair.follower.listings["MUG"])
    chase(conn, pair)
    assert states(conn, pair) == [("order_booked", "compensated", "not_listed")]


def test_a_part_that_is_sold_has_to_reach_the_bundles_with_it_on_its_own_channel_too(conn: Connection) -> None:
    pair = make_pair(conn, stock={"MUG": 10, "SET": 0})
    compose(conn, pair.seller, "SET", {"MUG": 2})
    for world in (pair.seller, pair.follower):
        settle(conn, world, plan(conn, world), "confirmed", NOW)
    sell(conn, pair, units=2)
    reached = {row["connection_id"] for row in legs(conn, pair)}
    assert reached == {pair.seller.connection.id, pair.follower.connection.id}
    assert {row["code"] for row in legs(conn, pair)} == {"MUG"}
    answer(conn, pair, "confirmed")
    settle(conn, pair.seller, plan(conn, pair.seller), "confirmed", NOW)
    assert chase(conn, pair).confirmed == 2


def test_a_document_has_to_reach_all_channels_and_its_undoing_takes_it_back(conn: Connection, pair: Pair) -> None:
    desk = Desk(conn, pair.seller, 0)
    done = desk.receive({"MUG": 5})
    assert [(row["document_id"], row["delta_units"]) for row in legs(conn, pair)] == [(done.document_id, 5)] * 2
    desk.undo(done.document_id)
    assert {state for _, state, _ in states(conn, pair)} == {"compensated"}
    assert broken(conn, pair) == set()
    desk.order_goods({"MUG": 5})
    assert change(conn, pair, 3) is None


def test_a_channel_in_shadow_mode_is_not_waited_for(conn: Connection, pair: Pair) -> None:
    execute(conn, "update connections set write_mode = 'shadow' where id = %(id)s", id=pair.follower.connection.id)
    sell(conn, pair)
    assert change(conn, pair) is None


def test_another_shop_is_left_alone(conn: Connection, pair: Pair) -> None:
    other = make_pair(conn)
    sell(conn, pair)
    assert chase(conn, other, LATE).legs == 0
    assert chasing.shops_with_open_legs(conn)[-1:] != [other.shop_id]


@pytest.mark.parametrize(
    "edit",
    [
        "update change_legs set delta_units = 7",
        "update change_legs set deadline_at = now()",
        "update change_legs set state = 'open', ended_at = null, write_id = null where state = 'confirmed'",
        "update changes set kind = 'order_refunded'",
        "update changes set done_at = null where done_at is not null",
        "truncate changes",
        "truncate change_legs",
    ],
)
def test_what_a_change_was_and_how_it_ended_cannot_be_edited(conn: Connection, pair: Pair, edit: str) -> None:
    sell(conn, pair)
    answer(conn, pair, "confirmed")
    chase(conn, pair)
    with pytest.raises(DBAPIError, match=r"is a fact|ends once|only its state|permission denied"), conn.begin_nested():
        execute(conn, edit)


def prune(conn: Connection) -> int:
    policy = retention.Policy(retention.BY_NAME["changes"], 90)
    return retention.forget(conn, policy, NOW + timedelta(days=91))


def test_old_ones_are_forgotten_but_for_those_that_are_not_done(conn: Connection, pair: Pair) -> None:
    sell(conn, pair)
    answer(conn, pair, "confirmed")
    chase(conn, pair)
    sell(conn, pair, "1002")
    assert prune(conn) == 1
    assert len(legs(conn, pair)) == 1


def test_a_change_that_is_done_while_old_ones_are_forgotten_keeps_its_legs(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        pair = make_pair(conn)
        sell(conn, pair)
        answer(conn, pair, "confirmed")

    reached: list[int] = []

    def reach(_conn: object, _cursor: object, statement: str, *_more: object) -> None:
        if not reached and "delete from change_legs" in statement:
            reached.append(0)
            with unit_of_work(engine) as beside:
                reached.append(chase(beside, pair).confirmed)

    event.listen(engine, "after_cursor_execute", reach)
    try:
        with unit_of_work(engine) as conn:
            prune(conn)
    finally:
        event.remove(engine, "after_cursor_execute", reach)
    assert reached == [0, 1]
    with unit_of_work(engine) as conn:
        assert scalar(conn, "select count(*) from changes where shop_id = %(s)s", s=pair.shop_id) == 1
        assert len(legs(conn, pair)) == 1
        assert prune(conn) == 1
        assert scalar(conn, "select count(*) from change_legs where shop_id = %(s)s", s=pair.shop_id) == 0


# --- races ------------------------------------------------------------------------------------------------------------


def _chase(engine: Engine, world: World) -> int:
    """Chase until nothing is left to say."""
    ended = 0
    for _ in range(50):
        with unit_of_work(engine) as conn:
            found = chasing.chase(conn, world.shop_id, LATE)
        ended += found.legs
    return ended


def _cancel(engine: Engine, world: World) -> int:
    """Cancel every order, one message after the other."""
    return sum(drain(engine, world, limit=1) for _ in range(40))


def test_two_chasers_and_cancellations_at_once_end_each_leg_once(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        pair = make_pair(conn, stock={"MUG": 500})
        for number in range(40):
            sell(conn, pair, f"{number}")
        answer(conn, pair, "confirmed")
        for number in range(40, 80):
            sell(conn, pair, f"{number}")
    bodies = [body_of(make_order(f"{number}", cancelled_at=later(4), version_at=later(4))) for number in range(20, 60)]
    record_bodies(engine, pair.seller, *bodies)
    racing.race(engine, __file__, [("chase", pair.seller), ("chase", pair.seller), ("cancel", pair.seller)])
    with unit_of_work(engine) as conn:
        answer(conn, pair, "confirmed", LATE)
        settle(conn, pair.seller, plan(conn, pair.seller, LATE), "confirmed", LATE)
        chasing.chase(conn, pair.shop_id, LATE)
        assert {row["state"] for row in legs(conn, pair)} == {"confirmed", "compensated"}
        assert scalar(conn, "select count(*) from changes where done_at is null") == 0
        assert broken(conn, pair) == set()


if __name__ == "__main__":
    racing.play({"chase": _chase, "cancel": _cancel})
