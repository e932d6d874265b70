"""Receive, adjust, take back and let out of quarantine: what each does, what it refuses, and that it is done once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

from core.audit import Actor
from core.db import execute, fetch, fetch_one, scalar, unit_of_work
from core.desk import operations
from core.desk.booking import Item, NotApart, Outcome, TooManyBack, rehearse
from core.desk.queries import NotOurs
from core.errors import BadInput
from tests.desks import CLERK, Desk, make_desk
from tests.factories import NOW, listing_of, make_channel_listing, make_sku, moved, set_row, take_in, world_of


def refused(act: Callable[[], object]) -> str:
    """What an act is refused with."""
    with pytest.raises(BadInput) as error:
        act()
    return str(error.value)


def test_a_receipt_adds_what_came_and_the_listings_want_it_at_once(desk: Desk) -> None:
    done = desk.receive({"MUG": 12, "CUP": 1})
    assert (done.is_new, done.units, done.skus) == (True, 13, 2)
    assert desk.level("MUG") == (22, 0, 0, 22)
    assert listing_of(desk.conn, desk.world, "MUG")["desired_units"] == 22
    assert {(c.code, c.before.on_hand, c.after.on_hand) for c in done.changes} == {("MUG", 10, 22), ("CUP", 5, 6)}
    entry = fetch_one(desk.conn, "select * from audit_entries where subject = %(s)s", s=f"document:{done.document_id}")
    assert entry is not None
    assert (entry["actor"], entry["act"], entry["reason"]) == ("Bea", "book_receipt", "the morning's delivery")


def test_a_form_sent_twice_is_booked_once_and_says_so(desk: Desk) -> None:
    first = desk.receive({"MUG": 12}, key="form:1")
    again = desk.receive({"MUG": 12}, key="form:1")
    assert (again.is_new, again.document_id, again.units, again.by) == (False, first.document_id, 12, "Bea")
    assert desk.level("MUG") == (22, 0, 0, 22)


def test_a_form_of_one_act_does_not_pass_for_another(desk: Desk) -> None:
    desk.receive({"MUG": 12}, key="form:1")
    assert "used for another act" in refused(lambda: desk.adjust(key="form:1", MUG=-1))


def test_a_sku_scanned_in_several_lines_is_one_line(desk: Desk) -> None:
    done = operations.receive(
        desk.conn, desk.shop_id, desk.main_id, [Item("MUG", 1), Item("MUG", 1), Item("MUG", 2)], "f", CLERK, NOW
    )
    assert (len(done.lines), done.units) == (1, 4)


def test_a_bundle_is_received_as_its_parts(desk: Desk) -> None:
    done = desk.receive({"SET": 3, "MUG": 1})
    assert desk.level("MUG") == (17, 0, 0, 17)
    assert desk.level("CUP") == (8, 0, 0, 8)
    rows = fetch(
        desk.conn,
        "select code, bundle_code, units from desk_lines where document_id = %(id)s order by ordinal",
        id=done.document_id,
    )
    assert {tuple(row.values()) for row in rows} == {("MUG", "SET", 6), ("CUP", "SET", 3), ("MUG", None, 1)}


def test_a_barcode_names_its_sku_unless_several_carry_it(desk: Desk) -> None:
    set_row(desk.conn, "skus", desk.world.skus["MUG"], barcode="5012345678900")
    desk.receive({"5012345678900": 2})
    assert desk.level("MUG")[0] == 12
    set_row(desk.conn, "skus", desk.world.skus["CUP"], barcode="5012345678900")
    assert "on several SKUs (CUP, MUG)" in refused(lambda: desk.receive({"5012345678900": 2}))


def test_a_code_goes_before_the_same_words_as_a_barcode(desk: Desk) -> None:
    set_row(desk.conn, "skus", desk.world.skus["CUP"], barcode="MUG")
    desk.receive({"MUG": 1})
    assert (desk.level("MUG")[0], desk.level("CUP")[0]) == (11, 5)


def test_what_is_not_ours_or_has_no_stock_is_said_word_by_word(desk: Desk) -> None:
    make_sku(desk.conn, desk.shop_id, "POST", is_stocked=False)
    with pytest.raises(NotOurs) as error:
        desk.receive({"mug": 1, "POST": 1, "MUG": 1})
    assert error.value.why.keys() == {"mug", "POST"}
    assert "codes are compared exactly" in error.value.why["mug"]
    assert "no stock by nature" in error.value.why["POST"]


@pytest.mark.parametrize("units", [0, -1, 1_000_001, 5_012_345_678_900])
def test_units_that_cannot_be_are_refused(desk: Desk, units: int) -> None:
    refused(lambda: desk.receive({"MUG": units}))


def test_nothing_scanned_is_nothing_to_book(desk: Desk) -> None:
    assert "scan or name at least one SKU" in refused(lambda: desk.receive({}))


def test_an_adjustment_moves_by_signed_units_for_its_reason(desk: Desk) -> None:
    done = desk.adjust(MUG=-3, CUP=2)
    assert (desk.level("MUG")[0], desk.level("CUP")[0]) == (7, 7)
    assert moved(desk.conn, desk.world, "MUG")["adjustment"] == -3
    assert scalar(desk.conn, "select reason from stock_documents where id = %(i)s", i=done.document_id) == CLERK.reason


def test_no_more_is_adjusted_away_than_is_on_hand(desk: Desk) -> None:
    assert "10 on hand, so 11 cannot be taken off" in refused(lambda: desk.adjust(MUG=-11))


def test_what_is_sold_may_be_adjusted_away_and_is_said_to_be_short(desk: Desk) -> None:
    desk.sell("1", units=8)
    done = desk.adjust(MUG=-5)
    assert done.notes == ["MUG: 3 more promised than there will be."]
    assert desk.level("MUG") == (5, 0, 0, -3)


def test_adjustments_that_add_up_to_nothing_are_not_booked(desk: Desk) -> None:
    items = [Item("MUG", 2), Item("MUG", -2)]
    refused(lambda: operations.adjust(desk.conn, desk.shop_id, desk.main_id, items, "f", CLERK, NOW))


@pytest.mark.parametrize("act", ["adjust", "release", "count"])
def test_a_bundle_is_neither_adjusted_nor_counted_nor_kept_apart(desk: Desk, act: str) -> None:
    acts = {
        "adjust": lambda: desk.adjust(SET=1),
        "release": lambda: desk.release({"SET": 1}),
        "count": lambda: desk.open_count(codes=["SET"]),
    }
    assert "no stock of its own" in refused(acts[act])


def test_a_location_that_a_channel_keeps_is_not_booked_at(desk: Desk) -> None:
    execute(
        desk.conn,
        "update locations set kind = 'external', connection_id = %(connection)s where id = %(yard)s",
        connection=desk.world.connection.id,
        yard=desk.yard_id,
    )
    assert "not ours to book at" in refused(lambda: desk.receive({"MUG": 1}, at=desk.yard_id))
    assert "not ours to book at" in refused(lambda: desk.draft({"MUG": 1}))


# --- purchase orders ---------------------------------------------------------------------------------------------


def test_a_purchase_order_is_incoming_until_it_has_come(desk: Desk) -> None:
    order = desk.order_goods({"MUG": 12, "CUP": 4}, expected_on=date(2024, 3, 9), reference="PO-7").document_id
    assert desk.level("MUG") == (10, 0, 12, 10)
    part = desk.receive({"MUG": 5}, against_id=order)
    assert part.notes == ["MUG: 7 still outstanding.", "CUP: 4 still outstanding."]
    assert desk.level("MUG") == (15, 0, 7, 15)
    assert desk.state(order) == "open"
    rest = desk.receive({"MUG": 7, "CUP": 4}, against_id=order)
    assert rest.notes == []
    assert (desk.level("MUG"), desk.level("CUP")) == ((22, 0, 0, 22), (9, 0, 0, 9))
    assert desk.state(order) == "done"


def test_what_was_not_ordered_is_booked_and_said(desk: Desk) -> None:
    order = desk.order_goods({"MUG": 3}).document_id
    done = desk.receive({"MUG": 5, "CUP": 1}, against_id=order)
    assert done.notes == ["MUG: 2 more came than was outstanding.", "CUP: 1 came and is not on the purchase order."]
    assert (desk.level("MUG"), desk.level("CUP")) == ((15, 0, 0, 15), (6, 0, 0, 6))


def test_a_closed_purchase_order_expects_nothing_and_takes_nothing(desk: Desk) -> None:
    order = desk.order_goods({"MUG": 12}).document_id
    desk.receive({"MUG": 5}, against_id=order)
    done = desk.close(order)
    assert (done.units, desk.level("MUG"), desk.state(order)) == (7, (15, 0, 0, 15), "done")
    assert not desk.close(order).is_new
    assert "is closed: book what came without it" in refused(lambda: desk.receive({"MUG": 7}, against_id=order))


def test_a_receipt_of_a_purchase_order_sent_twice_is_booked_once_even_if_it_closed_it(desk: Desk) -> None:
    order = desk.order_goods({"MUG": 2}).document_id
    desk.receive({"MUG": 2}, against_id=order, key="form:1")
    assert not desk.receive({"MUG": 2}, against_id=order, key="form:1").is_new
    assert desk.level("MUG") == (12, 0, 0, 12)


def test_bundles_and_their_parts_on_a_purchase_order_are_expected_together(desk: Desk) -> None:
    order = desk.order_goods({"SET": 2, "MUG": 1}).document_id
    assert (desk.level("MUG")[2], desk.level("CUP")[2]) == (5, 2)
    desk.receive({"SET": 2, "MUG": 1}, against_id=order)
    assert desk.state(order) == "done"


def test_a_purchase_order_is_received_where_it_goes(desk: Desk) -> None:
    order = desk.order_goods({"MUG": 2}).document_id
    said = refused(lambda: desk.receive({"MUG": 2}, at=desk.yard_id, against_id=order))
    assert f"purchase order {order} goes to Main" in said


def test_a_number_of_no_document_is_said_to_be_none(desk: Desk) -> None:
    assert "no purchase order or transfer 999999" in refused(lambda: desk.receive({"MUG": 2}, against_id=999_999))


# --- returns -----------------------------------------------------------------------------------------------------


def test_a_return_of_an_order_line_is_restocked_and_bounded_by_what_left(desk: Desk) -> None:
    line = desk.sell("1", units=3, shipped=2)
    assert desk.level("MUG") == (8, 0, 0, 7)
    desk.take_back({"MUG": 1}, line=line)
    assert desk.level("MUG") == (9, 0, 0, 8)
    with pytest.raises(TooManyBack, match="2 left, 1 came back over the desk already, so 1 can"):
        desk.take_back({"MUG": 2}, line=line)


def test_what_never_left_cannot_come_back(desk: Desk) -> None:
    line = desk.sell("1", units=3)
    with pytest.raises(TooManyBack, match="0 left"):
        desk.take_back({"MUG": 1}, line=line)


@pytest.mark.parametrize("first", ["desk", "channel"])
@pytest.mark.parametrize(
    ("disposition", "level"),
    [("restock", (10, 0, 0, 10)), ("quarantine", (10, 1, 0, 9)), ("write_off", (9, 0, 0, 9))],
)
def test_a_unit_that_desk_and_channel_both_tell_of_is_restocked_once_as_the_desk_decided(
    desk: Desk, first: str, disposition: str, level: tuple[int, int, int, int]
) -> None:
    line = desk.sell("1", units=1, shipped=1)
    if first == "channel":
        desk.refund("1")
    desk.take_back({"MUG": 1}, disposition, line=line)
    if first == "desk":
        desk.refund("1")
    assert desk.level("MUG") == level


def test_a_return_of_a_bundle_brings_the_parts_it_was_sold_with(desk: Desk) -> None:
    take_in(desk.conn, desk.world.connection, [make_channel_listing("SET", None)])
    world = world_of(desk.conn, desk.world.connection)
    desk = Desk(desk.conn, world, desk.yard_id)
    line = desk.sell("1", "SET", units=2, shipped=2)
    assert (desk.level("MUG")[0], desk.level("CUP")[0]) == (6, 3)
    desk.take_back({"SET": 1}, "quarantine", line=line)
    assert (desk.level("MUG"), desk.level("CUP")) == ((8, 2, 0, 6), (4, 1, 0, 3))


def test_a_return_without_order_goes_where_it_is_said_to(desk: Desk) -> None:
    desk.take_back({"MUG": 1})
    desk.take_back({"MUG": 2}, "quarantine")
    desk.take_back({"MUG": 4}, "write_off")
    assert desk.level("MUG") == (13, 2, 0, 11)


def test_a_return_without_disposition_is_refused(desk: Desk) -> None:
    items = [Item("MUG", 1)]
    said = refused(lambda: operations.take_back(desk.conn, desk.shop_id, desk.main_id, items, "f", CLERK, NOW))
    assert "restock, quarantine or write_off" in said


def test_a_line_is_taken_back_where_it_left_from(desk: Desk) -> None:
    line = desk.sell("1", units=1, shipped=1)
    items = [Item("MUG", 1, "restock", line)]
    said = refused(lambda: operations.take_back(desk.conn, desk.shop_id, desk.yard_id, items, "f", CLERK, NOW))
    assert "MUG of order #1 left from Main" in said


def test_one_line_too_many_refuses_the_whole_document(desk: Desk) -> None:
    line = desk.sell("1", units=1, shipped=1)
    items = [Item("CUP", 1, "restock"), Item("MUG", 2, "restock", line)]
    with desk.conn.begin_nested() as savepoint:
        with pytest.raises(TooManyBack):
            operations.take_back(desk.conn, desk.shop_id, desk.main_id, items, "f", CLERK, NOW)
        savepoint.rollback()
    assert desk.level("CUP")[0] == 5
    assert scalar(desk.conn, "select count(*) from stock_documents where shop_id = %(s)s", s=desk.shop_id) == 0


def test_quarantine_is_released_for_sale_or_for_good_and_never_more_than_is_in_it(desk: Desk) -> None:
    desk.take_back({"MUG": 3}, "quarantine")
    assert desk.level("MUG") == (13, 3, 0, 10)
    desk.release({"MUG": 1})
    assert desk.level("MUG") == (13, 2, 0, 11)
    desk.release({"MUG": 1}, "write_off")
    assert desk.level("MUG") == (12, 1, 0, 11)
    with pytest.raises(NotApart, match="1 kept apart, 2 asked"):
        desk.release({"MUG": 2})
    assert "restocked or written off" in refused(lambda: desk.release({"MUG": 1}, "quarantine"))


# --- guards and previews -----------------------------------------------------------------------------------------


def test_a_preview_is_the_act_itself_and_leaves_nothing(engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        desk = make_desk(conn)
    shop, place = desk.shop_id, desk.main_id

    def act(conn: Connection) -> Outcome:
        return operations.receive(conn, shop, place, [Item("MUG", 4)], "form:1", CLERK, NOW)

    previewed = rehearse(engine, act)
    assert [(c.code, c.before.on_hand, c.after.on_hand) for c in previewed.changes] == [("MUG", 10, 14)]
    with engine.connect() as conn:
        assert scalar(conn, "select count(*) from stock_documents") == 0
    with unit_of_work(engine) as conn:
        done = act(conn)
    assert done.is_new
    assert done.changes == previewed.changes


WRITTEN = (
    "kind = 'adjustment'",
    "location_id = %(other)s",
    "against_id = id",
    "business_key = 'other'",
    "reference = 'other'",
    "reason = 'other'",
    "expected_on = '2026-01-01'",
    "created_by = 'other'",
    "created_at = now()",
    "written_in = written_in + 1",
    "state = 'open', kind = 'purchase_order', done_at = null, done_by = null",
)


@pytest.mark.parametrize("change", WRITTEN)
def test_what_a_document_is_never_changes(desk: Desk, change: str) -> None:
    done = desk.receive({"MUG": 12})
    with pytest.raises(DBAPIError, match="is written down: undo it instead"), desk.conn.begin_nested():
        execute(
            desk.conn,
            f"update stock_documents set {change} where id = %(id)s",
            id=done.document_id,
            other=desk.yard_id,
        )


@pytest.mark.parametrize("end", ["receipt", "purchase_order", "cancelled"])
def test_what_is_done_takes_no_more_lines(engine: Engine, end: str) -> None:
    with unit_of_work(engine) as conn:
        desk = make_desk(conn)
        document = {
            "receipt": lambda: desk.receive({"MUG": 12}),
            "purchase_order": lambda: desk.order_goods({"MUG": 12}),
            "cancelled": lambda: desk.draft({"MUG": 1}),
        }[end]().document_id
    with unit_of_work(engine) as conn:
        desk = Desk(conn, desk.world, desk.yard_id)
        if end == "purchase_order":
            desk.close(document)
        elif end == "cancelled":
            desk.cancel(document)
    line = """
        insert into stock_document_lines (shop_id, document_id, ordinal, sku_id, units)
        values (%(shop)s, %(id)s, 99, %(sku)s, 5)
    """
    with pytest.raises(DBAPIError, match="is closed: it takes no more lines"), unit_of_work(engine) as conn:
        execute(conn, line, shop=desk.shop_id, id=document, sku=desk.world.skus["CUP"])


def test_what_was_written_down_is_neither_changed_nor_deleted(desk: Desk) -> None:
    done = desk.receive({"MUG": 12})
    for statement in (
        "update stock_document_lines set units = 13 where document_id = %(id)s",
        "update stock_document_lines set sku_id = sku_id + 1 where document_id = %(id)s",
        "update stock_document_lines set note = 'other' where document_id = %(id)s",
        "delete from stock_document_lines where document_id = %(id)s",
        "delete from stock_documents where id = %(id)s",
    ):
        with pytest.raises(DBAPIError) as error, desk.conn.begin_nested():
            execute(desk.conn, statement, id=done.document_id)
        assert any(words in str(error.value) for words in ("is written down", "permission denied"))


def test_an_act_without_reason_is_none() -> None:
    with pytest.raises(BadInput):
        Actor("Bea", " ")


def test_a_form_is_booked_once_by_the_database_too(desk: Desk) -> None:
    done = desk.receive({"MUG": 1}, key="form:1")
    with pytest.raises(IntegrityError, match="uq_stock_documents_shop_id_business_key"), desk.conn.begin_nested():
        execute(
            desk.conn,
            """
            insert into stock_documents (shop_id, kind, state, location_id, business_key, reason, created_by,
                created_at, done_by, done_at)
            select shop_id, kind, state, location_id, business_key, reason, created_by, created_at, done_by, done_at
            from stock_documents where id = %(id)s
            """,
            id=done.document_id,
        )
