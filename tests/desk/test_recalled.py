"""A parcel comes back over the desk, and then its channel says that it never left: the goods are counted once.

On hand is what is physically there, whatever is said in whatever order; in each test ten mugs are there at first.
"""

from __future__ import annotations

import pytest
from sqlalchemy.exc import DBAPIError

from core import invariants
from core.db import execute
from core.desk.booking import NotApart, TooManyBack
from core.ports import Restock
from tests.desks import Desk
from tests.factories import NOW, later, make_fulfilment, make_order, reservation_of


def mugs(desk: Desk) -> tuple[int, int, int]:
    """On hand, kept apart, available; everything is explained."""
    findings = [item for item in invariants.check(desk.conn, NOW, shop_id=desk.shop_id) if item.rows]
    assert {item.name for item in findings} <= {"listing_is_converged_or_explained"}
    on_hand, apart, _, available = desk.level("MUG")
    return on_hand, apart, available


def parcel(desk: Desk, ref: str, units: int = 1, minute: int = 2, *, is_shipped: bool = True) -> None:
    """What the channel says of one fulfilment of order 1; a later minute replaces what it said before."""
    status = "success" if is_shipped else "cancelled"
    desk.tell(
        make_fulfilment("1", lines=[("1", units)], ref=ref, status=status, is_shipped=is_shipped, at=later(minute))
    )


def come_back(desk: Desk, disposition: str, units: int = 1) -> int:
    """A sale of so many is shipped, comes back over the desk, and its fulfilment is cancelled; the desk's document."""
    line = desk.sell("1", units=units)
    parcel(desk, "f", units)
    document = desk.take_back({"MUG": units}, disposition, line=line).document_id
    parcel(desk, "f", units, 3, is_shipped=False)
    return document


@pytest.mark.parametrize(
    ("disposition", "level"), [("restock", (10, 0, 9)), ("quarantine", (10, 1, 8)), ("write_off", (9, 0, 8))]
)
def test_goods_lie_where_the_desk_put_them_and_are_still_owed(
    desk: Desk, disposition: str, level: tuple[int, int, int]
) -> None:
    come_back(desk, disposition)
    assert mugs(desk) == level
    parcel(desk, "f", 1, 4, is_shipped=False)
    assert mugs(desk) == level


@pytest.mark.parametrize(
    ("disposition", "level"), [("restock", (9, 0, 9)), ("quarantine", (9, 1, 8)), ("write_off", (8, 0, 8))]
)
@pytest.mark.parametrize("is_told_first", [True, False])
def test_another_parcel_leaves_as_any_other(
    desk: Desk, disposition: str, level: tuple[int, int, int], is_told_first: bool
) -> None:
    """Whether the new parcel is told of before or after the old one is taken back."""
    line = desk.sell("1", units=1, shipped=1)
    desk.take_back({"MUG": 1}, disposition, line=line)
    told = [("again", 5, True), ("f-1", 4, False)] if is_told_first else [("f-1", 4, False), ("again", 5, True)]
    for ref, minute, is_shipped in told:
        parcel(desk, ref, 1, minute, is_shipped=is_shipped)
    assert mugs(desk) == level


@pytest.mark.parametrize("restock", ["cancel", "return", "legacy_restock", "no_restock"])
@pytest.mark.parametrize(
    ("disposition", "level"), [("restock", (10, 0, 10)), ("quarantine", (10, 1, 9)), ("write_off", (9, 0, 9))]
)
def test_a_refund_of_what_the_desk_has_releases_it_and_moves_nothing(
    desk: Desk, disposition: str, level: tuple[int, int, int], restock: Restock
) -> None:
    come_back(desk, disposition)
    desk.refund("1", 1, restock)
    assert mugs(desk) == level


def test_a_cancelled_order_owes_nothing_of_what_is_lost(desk: Desk) -> None:
    come_back(desk, "write_off")
    desk.tell(make_order("1", cancelled_at=later(6), version_at=later(6)))
    assert mugs(desk) == (9, 0, 9)


@pytest.mark.parametrize(("decision", "level"), [("restock", (10, 0, 10)), ("write_off", (9, 0, 9))])
def test_what_left_quarantine_stays_decided(desk: Desk, decision: str, level: tuple[int, int, int]) -> None:
    line = desk.sell("1", units=1, shipped=1)
    desk.take_back({"MUG": 1}, "quarantine", line=line)
    desk.release({"MUG": 1}, decision)
    parcel(desk, "f-1", 1, 4, is_shipped=False)
    desk.refund("1", 1, "cancel")
    assert mugs(desk) == level


def test_a_parcel_sent_after_one_that_never_left_comes_back_as_any_other(desk: Desk) -> None:
    """The desk took nothing of the first, so what it takes is the second's."""
    line = desk.sell("1", units=1, shipped=1)
    parcel(desk, "f-1", 1, 3, is_shipped=False)
    parcel(desk, "again", 1, 4)
    desk.take_back({"MUG": 1}, line=line)
    assert mugs(desk) == (10, 0, 10)


def test_each_time_it_was_sent_it_can_come_back_once(desk: Desk) -> None:
    line = desk.sell("1")
    for number in range(3):
        parcel(desk, f"f{number}", 1, 2)
        desk.take_back({"MUG": 1}, "write_off" if number == 1 else "restock", line=line)
        with pytest.raises(TooManyBack), desk.conn.begin_nested():
            desk.take_back({"MUG": 1}, line=line)
        parcel(desk, f"f{number}", 1, 3, is_shipped=False)
        with pytest.raises(TooManyBack), desk.conn.begin_nested():
            desk.take_back({"MUG": 1}, line=line)
    assert mugs(desk) == (9, 0, 8)
    row = reservation_of(desk.conn, desk.world, "1")
    assert (row["taken_back_units"], row["recalled_units"], row["written_off_units"]) == (3, 3, 1)


def test_more_sent_than_ordered_comes_back_and_never_left(desk: Desk) -> None:
    line = desk.sell("1")
    parcel(desk, "f", 2)
    desk.take_back({"MUG": 1}, "restock", line=line)
    desk.take_back({"MUG": 1}, "write_off", line=line)
    assert mugs(desk) == (9, 0, 9)
    parcel(desk, "f", 2, 3, is_shipped=False)
    assert mugs(desk) == (9, 0, 8)


def test_of_two_parcels_the_one_that_counts_as_left_is_the_one_that_came_back(desk: Desk) -> None:
    line = desk.sell("1", units=2)
    parcel(desk, "f")
    parcel(desk, "g")
    desk.take_back({"MUG": 1}, line=line)
    parcel(desk, "f", 1, 3, is_shipped=False)
    assert mugs(desk) == (10, 0, 9)
    parcel(desk, "g", 1, 3, is_shipped=False)
    assert mugs(desk) == (10, 0, 8)


@pytest.mark.parametrize("disposition", ["restock", "quarantine", "write_off"])
def test_a_return_undone_afterwards_was_never_there(desk: Desk, disposition: str) -> None:
    desk.undo(come_back(desk, disposition))
    assert mugs(desk) == (10, 0, 9)
    parcel(desk, "again", 1, 5)
    desk.take_back({"MUG": 1}, line=desk.line("1"))
    assert mugs(desk) == (10, 0, 10)


def test_what_left_quarantine_is_not_undone(desk: Desk) -> None:
    document = come_back(desk, "quarantine")
    desk.release({"MUG": 1})
    with pytest.raises(NotApart), desk.conn.begin_nested():
        desk.undo(document)
    assert mugs(desk) == (10, 0, 9)


def test_the_database_itself_takes_back_no_more_than_left(desk: Desk) -> None:
    line = desk.sell("1", units=3, shipped=1)
    sql = """
        insert into line_returns (shop_id, order_line_id, business_key, units, disposition, returned_at, recorded_by,
            recorded_at)
        select %(shop)s, %(line)s, 'by hand ' || n, 1, 'restock', now(), 'Ada', now() from generate_series(1, 2) n
    """
    with pytest.raises(DBAPIError, match="1 left and 1 came back: 1 more cannot"), desk.conn.begin_nested():
        execute(desk.conn, sql, shop=desk.shop_id, line=line)
