"""The Desk: empty, quiet and busy; scans, refusals, and each part by its address."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine
from streamlit.testing.v1 import AppTest

from core.db import unit_of_work
from core.desk import documents, operations
from core.desk.booking import Item
from dashboard import desk_queries
from dashboard.queries import Unreadable
from tests.dashboard import desk_worlds, seed
from tests.dashboard.conftest import Open, text_of
from tests.desks import CLERK, Desk
from tests.factories import NOW, make_sku

PARTS = ["Open", "Receive", "Adjust", "Count", "Transfer", "Return", "Expect", "Files", "Journal"]


@pytest.fixture
def busy(engine: Engine) -> desk_worlds.Busy:
    with unit_of_work(engine) as conn:
        return desk_worlds.Busy(conn)


def part(page: AppTest, name: str) -> AppTest:
    page.segmented_control(key="part").set_value(name).run()
    assert not page.exception
    return page


def scan(page: AppTest, act: str, word: str) -> AppTest:
    page.text_input(key=f"scan-{act}-word").set_value(word)
    next(button for button in page.button if button.label == "Add").click().run()
    assert not page.exception
    return page


@pytest.mark.parametrize("name", PARTS)
def test_an_empty_shop_says_what_comes_first(opened: Open, conn: Connection, name: str) -> None:
    seed.shop(conn)
    page = part(opened("desk"), name)
    said = text_of(page)
    assert any(
        words in said
        for words in ("There is no stock yet", "There is no location yet", "only one location", "Nothing is booked yet")
    )


@pytest.mark.parametrize("name", PARTS)
def test_every_part_of_a_busy_desk_draws(opened: Open, busy: desk_worlds.Busy, name: str) -> None:
    page = opened("desk")
    assert "1 count open, 2 transfers open, 1 purchase order to come, 1 late, 2 units in quarantine" in text_of(page)
    part(page, name)
    assert "Cannot read" not in text_of(page)


def test_what_waits_is_listed_with_how_it_stands(opened: Open, busy: desk_worlds.Busy) -> None:
    said = text_of(opened("desk"))
    for words in ("2 to approve", "Draft", "On its way, 6 to come", "Late, 32 to come", "kept apart in Main"):
        assert words in said, words


def test_a_quiet_desk_says_so(opened: Open, engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        desk_worlds.quiet(conn)
    assert "Nothing waits at the desk" in text_of(opened("desk"))


@pytest.mark.parametrize("name", ["receipt", "part", "order", "draft", "sent", "count", "apart", "undone"])
def test_every_document_has_a_page(opened: Open, busy: desk_worlds.Busy, name: str) -> None:
    page = opened("desk", document=str(getattr(busy, name)))
    assert not page.exception
    assert str(getattr(busy, name)) in text_of(page) or name == "undone"


@pytest.mark.parametrize("number", ["999999", "x", "9" * 30])
def test_a_number_of_no_document_says_so(opened: Open, busy: desk_worlds.Busy, number: str) -> None:
    page = opened("desk", document=number)
    assert not page.exception
    assert "There is no document" in text_of(page)


def test_a_scan_adds_one_by_code_or_barcode_and_an_unknown_one_says_so(opened: Open, busy: desk_worlds.Busy) -> None:
    page = part(opened("desk"), "Receive")
    scan(page, "receive", "MUG")
    scan(page, "receive", "5012345678900")
    scan(page, "receive", "CUP")
    assert [field.value for field in page.number_input] == [1, 2]
    scan(page, "receive", "NOPE")
    assert "is no SKU code and no barcode of ours" in page.error[0].value
    assert [field.value for field in page.number_input] == [1, 2]
    scan(page, "receive", "MUG")
    assert [field.label for field in page.number_input] == ["Units of MUG", "Units of CUP"]
    assert [field.value for field in page.number_input] == [3, 1]
    assert not page.error


def test_a_quantity_that_was_typed_over_outlives_a_look_elsewhere(opened: Open, busy: desk_worlds.Busy) -> None:
    page = part(opened("desk"), "Adjust")
    scan(page, "adjust", "MUG")
    page.number_input[0].set_value(-7).run()
    part(page, "Journal")
    part(page, "Adjust")
    assert [field.value for field in page.number_input] == [-7]
    scan(page, "adjust", "MUG")
    assert [field.value for field in page.number_input] == [-8]


def test_a_page_that_is_loaded_again_goes_on_with_what_was_scanned(opened: Open, busy: desk_worlds.Busy) -> None:
    page = part(opened("desk"), "Receive")
    scan(page, "receive", "MUG")
    scan(page, "receive", "CUP")
    page.number_input[1].set_value(7).run()
    again = part(opened("desk"), "Receive")
    assert [(field.label, field.value) for field in again.number_input] == [("Units of CUP", 1), ("Units of MUG", 7)]
    next(button for button in again.button if button.label == "Clear").click().run()
    assert not part(opened("desk"), "Receive").number_input


def test_a_purchase_order_leads_to_its_receipt(opened: Open, busy: desk_worlds.Busy) -> None:
    page = opened("desk", document=str(busy.order))
    next(button for button in page.button if button.label == "Receive…").click().run()
    assert not page.exception
    assert page.selectbox(key="receive-of").value == busy.order
    next(button for button in page.button if button.label.startswith("Fill in all")).click().run()
    assert sorted((field.label, field.value) for field in page.number_input) == [
        ("Units of CUP", 6),
        ("Units of JUG", 14),
        ("Units of MUG", 12),
    ]


def test_what_is_coming_is_offered_by_kind_and_no_more_than_can_be_looked_through(
    opened: Open, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_queries, "COMING", 3)
    with unit_of_work(engine) as conn:
        desk = desk_worlds.quiet(conn)
        orders = [desk.order_goods({"MUG": 1}).document_id for _ in range(5)]
        desk.receive({"CUP": 2}, at=desk.yard_id)
        back = documents.draft_transfer(
            conn, desk.shop_id, desk.yard_id, desk.main_id, [Item("CUP", 2)], "t", CLERK, NOW
        ).document_id
        desk.send(back)
        desk.sent({"MUG": 1})
    chosen = part(opened("desk"), "Receive").selectbox(key="receive-of")
    assert [word.split(",")[0] for word in chosen.options] == [
        "Nothing in particular",
        *(f"Purchase order {number}" for number in orders[:3]),
        f"Transfer {back}",
    ]
    page = opened("desk", document=str(orders[4]))
    next(button for button in page.button if button.label == "Receive…").click().run()
    assert not page.exception
    assert page.selectbox(key="receive-of").value == orders[4]


def test_the_largest_variances_are_decided_on_first(
    opened: Open, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk_queries, "DECISIONS", 2)
    with unit_of_work(engine) as conn:
        desk = desk_worlds.quiet(conn)
        sheet = desk.open_count()
        desk.count(sheet, MUG=41, CUP=20, JUG=8)
    page = opened("desk", document=str(sheet))
    assert "2 of 3 differ from what was on record. At most 2 are decided on at a time" in text_of(page)
    assert "Approve 2 lines, −4…" in [button.label for button in page.button]


def test_a_return_of_an_order_takes_no_more_than_left(opened: Open, busy: desk_worlds.Busy) -> None:
    page = part(opened("desk"), "Return")
    page.text_input(key="order").set_value("1042").run()
    for _ in range(3):
        scan(page, "return", "MUG")
    assert [field.value for field in page.number_input if field.label == "Units of MUG"] == [2]
    assert "No more of MUG can come back" in page.error[0].value
    scan(page, "return", "CUP")
    assert "CUP is not on order" in page.error[0].value
    page.text_input(key="order").set_value("9999").run()
    assert "There is no order 9999" in page.error[0].value


def test_who_counts_sees_no_number_of_ours(opened: Open, engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        desk: Desk = desk_worlds.quiet(conn)
        desk.receive({"MUG": 38_377})
        sheet = desk.open_count()
    said = text_of(opened("desk", document=str(sheet)))
    assert "Still to count" in said
    assert not any(number in said for number in ("38,417", "38417"))
    assert "On record" not in said


def test_quarantine_is_paged_by_code_and_place_and_by_its_own_address(opened: Open, engine: Engine) -> None:
    with unit_of_work(engine) as conn:
        desk = desk_worlds.quiet(conn)
        for number in range(20):
            code = f"Q{number:02}"
            make_sku(conn, desk.shop_id, code)
            desk.take_back({code: 1}, "quarantine")
        items = [Item("Q19", 3, "quarantine")]
        operations.take_back(conn, desk.shop_id, desk.yard_id, items, "form:yard", CLERK, NOW)
    said = text_of(opened("desk"))
    assert "Q19" in said
    assert "kept apart in Yard" not in said
    page = opened("desk")
    next(button for button in page.button if button.label == "More").click().run()
    assert "kept apart in Yard" in text_of(page)
    assert "Q00" in text_of(opened("desk", of="transfer", after="9"))


def test_a_dead_database_shows_a_card_and_no_figures(
    opened: Open, busy: desk_worlds.Busy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> object:
        raise Unreadable(OSError("gone"))

    monkeypatch.setattr(desk_queries, "waiting", gone)
    page = opened("desk")
    assert not page.exception
    assert "The database did not answer within 5 s." in text_of(page)
