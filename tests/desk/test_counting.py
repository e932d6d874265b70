"""Counts: blind, remembered with what was on record at that moment, approved or refused line by line."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import DBAPIError

from core.db import execute, fetch
from core.desk import counting
from core.desk.counting import CountChanged, Seen
from core.errors import BadInput
from tests.desks import CLERK, Desk
from tests.factories import (
    NOW,
    first_sync,
    later,
    level_of,
    listing_of,
    make_channel_listing,
    make_sku,
    moved,
    take_in,
    world_of,
)


def test_a_sheet_lists_what_has_a_level_there_and_no_number_of_ours(desk: Desk) -> None:
    sheet = desk.open_count()
    rows = fetch(desk.conn, "select * from desk_lines where document_id = %(id)s order by ordinal", id=sheet)
    assert [row["code"] for row in rows] == ["CUP", "MUG"]
    assert {(row["on_hand_units"], row["units"], row["count_state"]) for row in rows} == {(None, None, "to_count")}


def test_a_sheet_of_a_category_or_of_some_skus(desk: Desk) -> None:
    execute(desk.conn, "update skus set category = 'Kitchen' where id = %(id)s", id=desk.world.skus["MUG"])
    for sheet in (desk.open_count(category="Kitchen"), desk.open_count(codes=["MUG", "MUG"])):
        rows = fetch(desk.conn, "select code from desk_lines where document_id = %(id)s", id=sheet)
        assert [row["code"] for row in rows] == ["MUG"]
    with pytest.raises(BadInput, match="nothing to count"):
        desk.open_count(category="Garden")


def test_a_variance_is_booked_when_it_is_approved_and_not_before(desk: Desk) -> None:
    sheet = desk.open_count()
    assert desk.count(sheet, MUG=8, CUP=5) == 2
    assert (desk.variances(sheet), desk.level("MUG")[0]) == ({"CUP": 0, "MUG": -2}, 10)
    done = desk.approve(sheet)
    assert (desk.level("MUG")[0], desk.level("CUP")[0], desk.state(sheet), done.units) == (8, 5, "done", 2)
    assert moved(desk.conn, desk.world, "MUG")["count"] == -2
    assert listing_of(desk.conn, desk.world, "MUG")["desired_units"] == 8


def test_what_is_sold_between_counting_and_approval_is_not_lost(desk: Desk) -> None:
    sheet = desk.open_count()
    desk.count(sheet, MUG=9)
    desk.sell("1", units=4, shipped=4)
    desk.receive({"MUG": 20})
    desk.approve(sheet)
    assert desk.level("MUG")[0] == 10 - 4 + 20 - 1


def test_an_entry_that_is_sent_again_later_is_not_entered_against_another_record(desk: Desk) -> None:
    sheet = desk.open_count()
    assert desk.count(sheet, key="entry:1", MUG=10) == 1
    desk.sell("1", units=4, shipped=4)
    assert desk.count(sheet, key="entry:1", MUG=10) == 0
    assert desk.variances(sheet) == {"MUG": 0}


def test_a_form_that_is_repeated_after_a_newer_one_changes_nothing(desk: Desk) -> None:
    sheet = desk.open_count(codes=["MUG"])
    desk.count(sheet, key="form:1", MUG=8)
    desk.count(sheet, key="form:2", MUG=9, CUP=5)
    assert desk.count(sheet, key="form:1", MUG=8) == 0
    assert desk.variances(sheet) == {"MUG": -1, "CUP": 0}
    assert desk.count(sheet, key="form:1", MUG=8, CUP=4) == 1
    assert desk.variances(sheet) == {"MUG": -1, "CUP": -1}
    desk.refuse(sheet)
    assert desk.count(sheet, key="form:2", MUG=9, CUP=5) == 0
    assert desk.variances(sheet) == {}


def test_which_forms_were_entered_is_only_added_to(desk: Desk) -> None:
    desk.count(desk.open_count(codes=["MUG"]), MUG=8)
    for statement in ("update count_entries set entry_key = 'other'", "delete from count_entries"):
        with pytest.raises(DBAPIError, match=r"are facts|permission denied"), desk.conn.begin_nested():
            execute(desk.conn, statement)


def test_counting_anew_replaces_the_count_and_its_record(desk: Desk) -> None:
    sheet = desk.open_count()
    desk.count(sheet, MUG=7)
    desk.sell("1", units=4, shipped=4)
    desk.count(sheet, MUG=6)
    assert desk.variances(sheet) == {"MUG": 0}


def test_lines_are_approved_one_by_one_and_the_last_finishes_the_count(desk: Desk) -> None:
    sheet = desk.open_count()
    desk.count(sheet, MUG=8, CUP=6)
    desk.approve(sheet, "MUG")
    assert (desk.level("MUG")[0], desk.level("CUP")[0], desk.state(sheet)) == (8, 5, "open")
    desk.approve(sheet, "CUP")
    assert (desk.level("CUP")[0], desk.state(sheet)) == (6, "done")


def test_a_refused_line_forgets_its_number_and_is_counted_again(desk: Desk) -> None:
    sheet = desk.open_count()
    desk.count(sheet, MUG=1, CUP=5)
    assert desk.refuse(sheet, "MUG") == 1
    rows = fetch(desk.conn, "select code, count_state, counted_units from desk_lines where document_id = %(id)s "
                            "order by code", id=sheet)  # fmt: skip
    assert [tuple(row.values()) for row in rows] == [("CUP", "counted", 5), ("MUG", "refused", None)]
    desk.count(sheet, MUG=10)
    desk.approve(sheet)
    assert (desk.level("MUG")[0], desk.state(sheet)) == (10, "done")


def test_what_changed_since_it_was_looked_at_is_not_approved(desk: Desk) -> None:
    sheet = desk.open_count()
    desk.count(sheet, MUG=8, CUP=5)
    seen = desk.seen(sheet)
    desk.count(sheet, MUG=3)
    with pytest.raises(CountChanged, match="MUG changed since you looked"):
        counting.approve(desk.conn, desk.shop_id, sheet, seen, CLERK, NOW)
    assert desk.level("MUG")[0] == 10


def test_approving_twice_books_once(desk: Desk) -> None:
    sheet = desk.open_count()
    desk.count(sheet, MUG=8)
    seen = desk.seen(sheet)
    first = counting.approve(desk.conn, desk.shop_id, sheet, seen, CLERK, NOW)
    again = counting.approve(desk.conn, desk.shop_id, sheet, seen, CLERK, NOW)
    assert (first.is_new, again.is_new, desk.level("MUG")[0]) == (True, False, 8)


def test_who_counted_and_who_approved_are_on_record(desk: Desk) -> None:
    sheet = desk.open_count(codes=["MUG"])
    desk.count(sheet, MUG=8)
    desk.approve(sheet)
    (row,) = fetch(desk.conn, "select counted_by, decided_by from desk_lines where document_id = %(id)s", id=sheet)
    assert tuple(row.values()) == ("Bea", "Cleo")
    (note,) = fetch(desk.conn, "select note from stock_movements where reason = 'count' and shop_id = %(s)s",
                    s=desk.shop_id)  # fmt: skip
    assert note["note"] == "counted by Bea, approved by Cleo"


def test_something_found_on_the_shelf_is_added_to_the_sheet(desk: Desk) -> None:
    loose = make_sku(desk.conn, desk.shop_id, "LOOSE")
    sheet = desk.open_count(codes=["MUG"])
    desk.count(sheet, LOOSE=3)
    assert desk.variances(sheet) == {"LOOSE": 3}
    desk.approve(sheet)
    assert desk.levels()[loose, desk.main_id] == (3, 0, 0, 0)
    assert desk.state(sheet) == "open"


def test_an_approved_line_and_a_finished_count_take_no_more_counts(desk: Desk) -> None:
    sheet = desk.open_count()
    desk.count(sheet, MUG=8)
    desk.approve(sheet)
    with pytest.raises(BadInput, match="that count is approved and booked"):
        desk.count(sheet, MUG=9)
    assert counting.finish(desk.conn, desk.shop_id, sheet, CLERK, NOW) == 1
    with pytest.raises(BadInput, match="is finished: open a new one"):
        desk.count(sheet, CUP=9)


def test_a_count_is_not_finished_while_something_waits_for_a_decision(desk: Desk) -> None:
    sheet = desk.open_count()
    desk.count(sheet, MUG=8)
    with pytest.raises(BadInput, match="1 counted lines wait"):
        counting.finish(desk.conn, desk.shop_id, sheet, CLERK, NOW)
    desk.refuse(sheet)
    counting.finish(desk.conn, desk.shop_id, sheet, CLERK, NOW)
    assert (desk.state(sheet), desk.level("MUG")[0]) == ("cancelled", 10)


def test_two_sheets_that_counted_the_same_loss_book_it_once(desk: Desk) -> None:
    first, second = desk.open_count(codes=["MUG", "CUP"]), desk.open_count(codes=["MUG", "CUP"])
    desk.count(first, MUG=8, CUP=5)
    desk.count(second, MUG=8, CUP=4)
    desk.approve(first)
    with pytest.raises(CountChanged, match=r"^MUG was counted and booked since the count of this sheet: .* again$"):
        desk.approve(second)
    assert (desk.level("MUG")[0], desk.level("CUP")[0]) == (8, 5)
    desk.approve(second, "CUP")
    desk.count(second, MUG=8)
    desk.approve(second)
    assert (desk.level("MUG")[0], desk.level("CUP")[0], desk.state(second)) == (8, 4, "done")


def test_what_was_counted_after_another_count_was_booked_is_booked_too(desk: Desk) -> None:
    first, second = desk.open_count(codes=["MUG"]), desk.open_count(codes=["MUG"])
    desk.count(first, MUG=8)
    desk.approve(first)
    desk.count(second, MUG=7)
    desk.approve(second)
    assert desk.level("MUG")[0] == 7


def test_a_count_booked_elsewhere_is_no_reason_to_count_again(desk: Desk) -> None:
    sheet = desk.open_count(codes=["MUG"])
    desk.count(sheet, MUG=8)
    yard = counting.open_count(desk.conn, desk.shop_id, desk.yard_id, "y", CLERK, NOW, codes=["MUG"]).document_id
    desk.count(yard, MUG=3)
    desk.approve(yard)
    desk.approve(sheet)
    assert (desk.level("MUG")[0], desk.level("MUG", desk.yard_id)[0]) == (8, 3)


def test_a_number_taken_over_since_it_was_counted_asks_for_a_new_count(desk: Desk) -> None:
    take_in(desk.conn, desk.world.connection, [make_channel_listing("PAN", 50, later(1))])
    sheet = desk.open_count(codes=["PAN"])
    desk.count(sheet, PAN=48)
    first_sync(desk.conn, desk.world.connection)
    with pytest.raises(CountChanged, match="PAN was counted"):
        desk.approve(sheet)
    desk.count(sheet, PAN=48)
    desk.approve(sheet)
    assert level_of(desk.conn, world_of(desk.conn, desk.world.connection), "PAN").on_hand == 48


@pytest.mark.parametrize("units", [-1, 1_000_001])
def test_a_number_that_is_no_count_is_refused(desk: Desk, units: int) -> None:
    with pytest.raises(BadInput, match="is no count"):
        desk.count(desk.open_count(), MUG=units)


def test_a_line_that_is_not_there_is_said_to_be_none(desk: Desk) -> None:
    with pytest.raises(BadInput, match="has no line 99"):
        counting.approve(desk.conn, desk.shop_id, desk.open_count(), [Seen(99, 0)], CLERK, NOW)


def test_a_count_may_show_that_more_is_sold_than_is_there(desk: Desk) -> None:
    desk.sell("1", units=8)
    sheet = desk.open_count(codes=["MUG"])
    desk.count(sheet, MUG=5)
    desk.approve(sheet)
    assert desk.level("MUG") == (5, 0, 0, -3)
    assert listing_of(desk.conn, desk.world, "MUG")["short_units"] == 3
