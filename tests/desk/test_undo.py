"""Undo: a document with the opposite movements, once, unless what it brought is sold; everything is as without it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy.exc import IntegrityError

from core.db import execute, scalar
from core.desk.booking import NotApart, SoldMeanwhile
from core.errors import BadInput
from tests.desks import Desk
from tests.factories import listing_of, reservation_of


def return_of_order(desk: Desk) -> int:
    return desk.take_back({"MUG": 2}, "quarantine", line=desk.line("1")).document_id


def count_of_mugs(desk: Desk) -> int:
    sheet = desk.open_count(codes=["MUG"])
    desk.count(sheet, MUG=3)
    desk.approve(sheet)
    return sheet


def write_off_of_quarantine(desk: Desk) -> int:
    return desk.release({"CUP": 1}, "write_off").document_id


ACTS: dict[str, Callable[[Desk], int]] = {
    "receipt": lambda desk: desk.receive({"MUG": 3, "SET": 1}).document_id,
    "adjustment": lambda desk: desk.adjust(MUG=-2, CUP=1).document_id,
    "count": count_of_mugs,
    "transfer": lambda desk: desk.sent({"MUG": 2, "CUP": 1}),
    "return": lambda desk: desk.take_back({"SET": 1}, "quarantine").document_id,
    "return of an order": return_of_order,
    "write-off on return": lambda desk: desk.take_back({"MUG": 2}, "write_off", line=desk.line("1")).document_id,
    "release": lambda desk: desk.release({"CUP": 1}).document_id,
    "write-off": write_off_of_quarantine,
}


@pytest.mark.parametrize("name", ACTS)
def test_everything_is_as_it_was_and_it_is_undone_once(desk: Desk, name: str) -> None:
    desk.sell("1", units=3, shipped=3)
    desk.take_back({"CUP": 2}, "quarantine")
    before = desk.levels()
    document = ACTS[name](desk)
    assert desk.levels() != before or name == "write-off on return"
    done = desk.undo(document)
    assert done.is_new
    assert desk.levels() == before
    again = desk.undo(document)
    assert (again.is_new, again.document_id, again.by) == (False, done.document_id, "Ada")
    assert desk.levels() == before
    assert listing_of(desk.conn, desk.world, "MUG")["desired_units"] == max(0, desk.level("MUG")[3])


def test_units_sold_meanwhile_refuse_it_by_name_and_number(desk: Desk) -> None:
    document = desk.receive({"MUG": 5, "CUP": 5}).document_id
    desk.sell("1", units=12)
    with pytest.raises(SoldMeanwhile, match=r"2 of MUG are sold or promised by now") as error, desk.conn.begin_nested():
        desk.undo(document)
    assert error.value.shortages == {"MUG": 2}
    assert desk.level("CUP")[0] == 10


def test_a_shortage_that_was_there_already_does_not_refuse_what_it_has_no_part_in(desk: Desk) -> None:
    desk.sell("1", units=12)
    taken = desk.adjust(MUG=-1).document_id
    desk.undo(taken)
    assert desk.level("MUG") == (10, 0, 0, -2)


def test_one_more_missing_through_an_undo_is_counted_as_one(desk: Desk) -> None:
    desk.sell("1", units=12)
    document = desk.receive({"MUG": 1}).document_id
    with pytest.raises(SoldMeanwhile) as error, desk.conn.begin_nested():
        desk.undo(document)
    assert error.value.shortages == {"MUG": 1}


@pytest.mark.parametrize("is_of_order", [True, False])
def test_what_left_quarantine_is_not_taken_out_of_it_again(desk: Desk, is_of_order: bool) -> None:
    line = desk.sell("1", units=3, shipped=3) if is_of_order else None
    document = desk.take_back({"MUG": 2}, "quarantine", line=line).document_id
    desk.release({"MUG": 1})
    with pytest.raises(NotApart, match="1 kept apart, 2 asked"), desk.conn.begin_nested():
        desk.undo(document)


def test_a_receipt_of_a_purchase_order_undone_is_expected_again(desk: Desk) -> None:
    order = desk.order_goods({"MUG": 10}).document_id
    first = desk.receive({"MUG": 8}, against_id=order).document_id
    second = desk.receive({"MUG": 5}, against_id=order).document_id
    assert (desk.state(order), desk.level("MUG")) == ("done", (23, 0, 0, 23))
    desk.undo(first)
    assert (desk.state(order), desk.level("MUG")) == ("open", (15, 0, 5, 15))
    desk.undo(second)
    assert (desk.state(order), desk.level("MUG")) == ("open", (10, 0, 10, 10))


def test_a_receipt_undone_after_its_order_was_closed_is_expected_again(desk: Desk) -> None:
    order = desk.order_goods({"MUG": 10}).document_id
    receipt = desk.receive({"MUG": 6}, against_id=order).document_id
    desk.close(order)
    desk.undo(receipt)
    assert (desk.state(order), desk.level("MUG")) == ("open", (10, 0, 6, 10))


def test_an_arrival_undone_is_on_its_way_again_and_then_the_sending_can_be_undone(desk: Desk) -> None:
    before = desk.levels()
    transfer = desk.sent({"MUG": 4})
    arrival = desk.receive({"MUG": 4}, at=desk.yard_id, against_id=transfer).document_id
    with pytest.raises(BadInput, match="undo its receipts first"):
        desk.undo(transfer)
    desk.undo(arrival)
    assert (desk.state(transfer), desk.level("MUG", desk.yard_id)) == ("sent", (0, 0, 4, 0))
    desk.undo(transfer)
    assert (desk.state(transfer), desk.levels()) == ("cancelled", before)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda desk: desk.order_goods({"MUG": 1}).document_id, "close it if it is no longer expected"),
        (lambda desk: desk.draft({"MUG": 1}).document_id, "has not left"),
        (lambda desk: desk.open_count(), "is not finished"),
        (lambda desk: desk.undo(desk.receive({"MUG": 1}).document_id).document_id, "is an undo itself"),
        (lambda desk: 999_999, "no document 999999"),
    ],
)
def test_what_cannot_be_undone_says_what_to_do_instead(desk: Desk, make: Callable[[Desk], int], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        desk.undo(make(desk))


def test_a_lost_transfer_is_not_undone(desk: Desk) -> None:
    transfer = desk.sent({"MUG": 1})
    desk.close(transfer)
    with pytest.raises(BadInput, match="closed as lost"):
        desk.undo(transfer)


def test_a_count_that_found_nothing_wrong_has_nothing_to_undo(desk: Desk) -> None:
    sheet = desk.open_count(codes=["MUG"])
    desk.count(sheet, MUG=10)
    desk.approve(sheet)
    with pytest.raises(BadInput, match="moved nothing"):
        desk.undo(sheet)


def test_a_return_undone_can_be_taken_back_again_and_no_more(desk: Desk) -> None:
    line = desk.sell("1", units=1, shipped=1)
    document = desk.take_back({"MUG": 1}, line=line).document_id
    desk.undo(document)
    assert reservation_of(desk.conn, desk.world, "1")["taken_back_units"] == 0
    desk.take_back({"MUG": 1}, line=line)
    assert desk.level("MUG")[0] == 10


def test_the_channels_refund_stands_when_the_desks_return_is_undone(desk: Desk) -> None:
    line = desk.sell("1", units=1, shipped=1)
    document = desk.take_back({"MUG": 1}, line=line).document_id
    desk.refund("1")
    assert desk.level("MUG")[0] == 10
    desk.undo(document)
    assert desk.level("MUG")[0] == 10


def test_the_database_undoes_once_too(desk: Desk) -> None:
    document = desk.receive({"MUG": 1}).document_id
    done = desk.undo(document)
    with pytest.raises(IntegrityError, match="uq_stock_documents_shop_id_undoes_id"), desk.conn.begin_nested():
        execute(
            desk.conn,
            """
            insert into stock_documents (shop_id, kind, state, location_id, undoes_id, business_key, reason,
                created_by, created_at, done_by, done_at)
            select shop_id, kind, state, location_id, undoes_id, 'another', reason, created_by, created_at, done_by,
                done_at from stock_documents where id = %(id)s
            """,
            id=done.document_id,
        )
    assert scalar(desk.conn, "select count(*) from stock_documents where undoes_id = %(id)s", id=document) == 1
