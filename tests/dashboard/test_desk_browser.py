"""The Desk in a browser: every look of it, and a morning of a warehouse person, with a scanner and without a mouse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine, create_engine

from core import embedded
from core.db import fetch, scalar, unit_of_work
from tests.dashboard import browsing, desk_worlds, seed

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

NOWHERE = "redis://127.0.0.1:1/0"


@dataclass(frozen=True)
class Sites:
    """Servers on a busy desk and on an empty shop."""

    busy: str
    empty: str
    world: desk_worlds.Busy


@pytest.fixture(scope="module")
def sites(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sites]:
    home: Path = servers.home  # type: ignore[attr-defined]
    found = {
        name: embedded.create_database(home, f"desk_{name}", template=template_database.name)
        for name in ("busy", "empty")
    }
    engine = create_engine(found["busy"].url)
    with engine.begin() as conn:
        world = desk_worlds.Busy(conn)
    engine.dispose()
    engine = create_engine(found["empty"].url)
    with engine.begin() as conn:
        seed.shop(conn)
    engine.dispose()
    folder = tmp_path_factory.mktemp("desk")
    for name in ("busy", "empty"):
        (folder / name).mkdir()
    with (
        browsing.serve(found["busy"].url, NOWHERE, folder / "busy") as busy,
        browsing.serve(found["empty"].url, NOWHERE, folder / "empty") as empty,
    ):
        yield Sites(busy, empty, world)
    for database in found.values():
        embedded.drop_database(home, database.name)


PAGES = {
    "desk": ("busy", "/desk"),
    "desk-empty": ("empty", "/desk"),
    "desk-receive": ("busy", "/desk?part=Receive"),
    "desk-count": ("busy", "/desk?part=Count"),
    "desk-return": ("busy", "/desk?part=Return&order=1042"),
    "desk-files": ("busy", "/desk?part=Files&file=Return"),
    "desk-journal": ("busy", "/desk?part=Journal"),
    "desk-order": ("busy", "/desk?document={order}"),
    "desk-sheet": ("busy", "/desk?document={count}"),
    "desk-transfer": ("busy", "/desk?document={draft}"),
}


@pytest.mark.parametrize(("name", "phone"), browsing.looks(PAGES))
def test_each_look_of_the_screen_is_sound(
    sites: Sites, browser: Browser, pictures: Path, name: str, phone: bool
) -> None:
    site, path = PAGES[name]
    address = getattr(sites, site) + path.format(**vars(sites.world))
    with browsing.visit(browser, address, phone=phone) as seen:
        browsing.assert_each_look_is_sound(seen, pictures, name)
        expect(seen.page.get_by_text("Cannot read")).to_have_count(0)


@pytest.fixture
def floor(engine: Engine, database: embedded.Database, tmp_path: Path) -> Iterator[str]:
    """A quiet desk of its own; yields its address."""
    with unit_of_work(engine) as conn:
        desk = desk_worlds.quiet(conn)
        desk.sell("1042", units=3, shipped=2)
        desk.receive({"MUG": 2})
    with browsing.serve(database.url, NOWHERE, tmp_path) as address:
        yield address


def on_hand(engine: Engine, code: str, place: str = "Main") -> int:
    with engine.connect() as conn:
        return scalar(
            conn,
            """
            select on_hand from sku_levels v join skus k on k.shop_id = v.shop_id and k.id = v.sku_id
            where k.code = %(code)s and v.location = %(place)s
            """,
            code=code,
            place=place,
        )


def scan(seen: browsing.Visit, *words: str) -> None:
    """A scanner: a keyboard that types a code and Enter, into whatever has the focus."""
    for word in words:
        seen.page.keyboard.type(word)
        seen.page.keyboard.press("Enter")
        seen.settle()


def confirm(page: Page, button: str, reason: str) -> None:
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name=button).click(delay=80)


def test_a_delivery_is_scanned_by_keyboard_alone_booked_and_undone(
    floor: str, engine: Engine, browser: Browser, pictures: Path
) -> None:
    with browsing.visit(browser, floor + "/desk?part=Receive") as seen:
        page = seen.page
        page.get_by_label("Scan or type a code").focus()
        scan(seen, "MUG", "5012345678900", "CUP", "NOPE", "MUG")
        expect(page.get_by_label("Units of MUG")).to_have_value("3")
        expect(page.get_by_label("Units of CUP")).to_have_value("1")
        expect(page.get_by_text("is no SKU code and no barcode of ours")).to_be_hidden()
        scan(seen, "NOPE")
        expect(page.get_by_text("is no SKU code and no barcode of ours")).to_be_visible()
        page.get_by_label("Units of CUP").focus()
        page.keyboard.press("Control+A")
        page.keyboard.type("9")
        page.keyboard.press("Enter")
        seen.settle()
        seen.picture(pictures / "desk-scanned.png")
        page.get_by_role("button", name="Receive…").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading", name="Receive at Main?")).to_be_visible()
        expect(dialog.get_by_role("button", name="Receive 12 units of 2 SKUs")).to_be_visible()
        page.screenshot(path=pictures / "desk-receive-preview.png")
        assert browsing.serious(seen) == []
        dialog.get_by_label("Reason").focus()
        page.keyboard.type("The morning's delivery")
        page.keyboard.press("Enter")
        expect(page.get_by_text("12 units of 2 SKUs received").first).to_be_visible(timeout=15_000)
        expect(page.get_by_text("Nothing scanned yet")).to_be_visible(timeout=15_000)
        assert (on_hand(engine, "MUG"), on_hand(engine, "CUP")) == (43, 34)
        seen.settle()
        page.get_by_role("button", name="Undo…").click(delay=80)
        expect(dialog.get_by_text("43 → 40").first).to_be_visible()
        page.screenshot(path=pictures / "desk-undo-preview.png")
        confirm(page, "Undo receipt", "The wrong van")
        expect(page.get_by_text("is undone: 12 units of 2 SKUs.")).to_be_visible(timeout=15_000)
        expect(page.get_by_role("dialog")).to_be_hidden(timeout=15_000)
        seen.settle()
        assert seen.complaints == []
    assert (on_hand(engine, "MUG"), on_hand(engine, "CUP")) == (40, 25)
    with engine.connect() as conn:
        rows = fetch(
            conn,
            """
            select actor, act, reason from audit_entries
            where subject like 'document:%%' and actor = 'ada' order by id
            """,
        )
    acts = [tuple(row.values()) for row in rows]
    assert acts == [
        ("ada", "book_receipt", "The morning's delivery"),
        ("ada", "undo_receipt", "The wrong van"),
    ]


@pytest.mark.long
def test_a_transfer_is_drafted_sent_and_received(floor: str, engine: Engine, browser: Browser, pictures: Path) -> None:
    with browsing.visit(browser, floor + "/desk?part=Transfer") as seen:
        page = seen.page
        page.get_by_label("Scan or type a code").focus()
        scan(seen, "CUP", "CUP")
        page.get_by_role("button", name="Draft…").click(delay=80)
        confirm(page, "Draft 2 units of 1 SKU", "To fill up the yard")
        expect(page.get_by_role("button", name="Send…")).to_be_visible(timeout=15_000)
        seen.settle()
        page.get_by_role("button", name="Send…").click(delay=80)
        confirm(page, "Send 2 units", "The van is here")
        expect(page.get_by_text("has left: 2 units of 1 SKU.").first).to_be_visible(timeout=15_000)
        seen.picture(pictures / "desk-sent.png")
        seen.settle()
        page.get_by_role("button", name="Receive…").click(delay=80)
        expect(page.get_by_role("button", name="Fill in all that is still to come")).to_be_enabled(timeout=15_000)
        seen.settle()
        page.get_by_role("button", name="Fill in all that is still to come").click(delay=80)
        expect(page.get_by_label("Units of CUP")).to_have_value("2")
        seen.settle()
        page.get_by_role("button", name="Receive…").click(delay=80)
        confirm(page, "Receive 2 units of 1 SKU", "All there")
        expect(page.get_by_text("2 units of 1 SKU received").first).to_be_visible(timeout=15_000)
        assert seen.complaints == []
    assert (on_hand(engine, "CUP"), on_hand(engine, "CUP", "Yard")) == (23, 2)


def test_a_shelf_is_counted_blind_and_its_variance_approved(
    floor: str, engine: Engine, browser: Browser, pictures: Path
) -> None:
    with browsing.visit(browser, floor + "/desk?part=Count", phone=True) as seen:
        page = seen.page
        page.get_by_role("button", name="Open a sheet…").click(delay=80)
        confirm(page, "Open the sheet", "The monthly count")
        expect(page.get_by_text("Still to count")).to_be_visible(timeout=15_000)
        seen.settle()
        page.get_by_label("Scan or type a code").focus()
        scan(seen, "MUG", "CUP")
        page.get_by_label("Units of MUG").fill("38")
        page.get_by_label("Units of MUG").press("Enter")
        seen.settle()
        page.get_by_label("Units of CUP").fill("25")
        page.get_by_label("Units of CUP").press("Enter")
        seen.settle()
        seen.picture(pictures / "desk-counting-phone.png")
        page.get_by_role("button", name="Enter 2 counts").click(delay=80)
        expect(page.get_by_text("2 counts entered").first).to_be_visible(timeout=15_000)
        seen.settle()
        page.get_by_role("radio", name="Decide").click(delay=80)
        expect(page.get_by_role("button", name="Approve 2 lines, −2…")).to_be_visible(timeout=15_000)
        seen.settle()
        seen.picture(pictures / "desk-variances-phone.png")
        # Streamlit's own toast has no name for axe: look at the page without it.
        page.get_by_test_id("stToast").get_by_role("button").click()
        expect(page.get_by_test_id("stToast")).to_have_count(0)
        browsing.assert_sound(seen)
        page.get_by_role("button", name="Approve 2 lines").click(delay=80)
        confirm(page, "Approve 2 lines", "Counted twice, the same")
        expect(page.get_by_role("dialog")).to_be_hidden(timeout=15_000)
        seen.settle()
    assert (on_hand(engine, "MUG"), on_hand(engine, "CUP")) == (38, 25)


def test_a_return_of_an_order_is_taken_back_and_undone(
    floor: str, engine: Engine, browser: Browser, pictures: Path
) -> None:
    with browsing.visit(browser, floor + "/desk?part=Return&order=1042") as seen:
        page = seen.page
        expect(page.get_by_text("it goes back to Main, where it left from")).to_be_visible()
        page.get_by_role("radio", name="Quarantine").click(delay=80)
        seen.settle()
        page.get_by_label("Scan or type a code").focus()
        scan(seen, "MUG", "MUG", "MUG")
        expect(page.get_by_text("No more of MUG can come back of order #1042")).to_be_visible()
        page.get_by_role("button", name="Take back…").click(delay=80)
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text("40 → 42")).to_be_visible()
        expect(dialog.get_by_text("0 → 2")).to_be_visible()
        page.screenshot(path=pictures / "desk-return-preview.png")
        confirm(page, "Take back 2 units of 1 SKU", "Did not fit")
        expect(page.get_by_text("2 units of 1 SKU taken back").first).to_be_visible(timeout=15_000)
        assert on_hand(engine, "MUG") == 42
        seen.settle()
        page.get_by_role("button", name="Undo…").click(delay=80)
        confirm(page, "Undo return", "Another customer's")
        expect(page.get_by_role("dialog")).to_be_hidden(timeout=15_000)
        seen.settle()
        assert seen.complaints == []
    assert on_hand(engine, "MUG") == 40


@pytest.mark.long
def test_a_delivery_by_file_and_a_count_and_a_return_are_each_undone(
    floor: str, engine: Engine, browser: Browser, pictures: Path
) -> None:
    with browsing.visit(browser, floor + "/desk") as seen:
        page = seen.page
        dialog = page.get_by_role("dialog")

        def look_at(part: str) -> None:
            page.get_by_role("radiogroup", name="Part").get_by_role("radio", name=part).click(delay=80)
            seen.settle()

        def undo(button: str) -> None:
            page.get_by_role("button", name="Undo…").click(delay=80)
            confirm(page, button, "It was a try")
            expect(page.get_by_text("is undone").first).to_be_visible(timeout=15_000)
            expect(dialog).to_be_hidden(timeout=15_000)
            seen.settle()

        look_at("Files")
        page.locator("input[type=file]").set_input_files(
            {"name": "van.csv", "mimeType": "text/csv", "buffer": b"SKU,Quantity\nMUG,7\nCUP,3\n"}
        )
        expect(page.get_by_role("button", name="Book 2 rows of van.csv")).to_be_visible(timeout=15_000)
        seen.settle()
        page.get_by_label("Reason").fill("The morning's delivery")
        page.get_by_role("button", name="Book 2 rows of van.csv").click(delay=80)
        expect(page.get_by_text("10 units of 2 SKUs received").first).to_be_visible(timeout=15_000)
        assert (on_hand(engine, "MUG"), on_hand(engine, "CUP")) == (47, 28)
        seen.settle()
        undo("Undo receipt")
        assert (on_hand(engine, "MUG"), on_hand(engine, "CUP")) == (40, 25)

        look_at("Count")
        page.get_by_role("button", name="Open a sheet…").click(delay=80)
        confirm(page, "Open the sheet", "The monthly count")
        expect(page.get_by_text("Still to count")).to_be_visible(timeout=15_000)
        seen.settle()
        page.get_by_label("Scan or type a code").focus()
        scan(seen, "MUG", "CUP", "JUG")
        for code, units in (("MUG", "38"), ("CUP", "26"), ("JUG", "8")):
            page.get_by_label(f"Units of {code}").fill(units)
            page.get_by_label(f"Units of {code}").press("Enter")
            seen.settle()
        page.get_by_role("button", name="Enter 3 counts").click(delay=80)
        expect(page.get_by_text("3 counts entered").first).to_be_visible(timeout=15_000)
        seen.settle()
        page.get_by_role("radio", name="Decide").click(delay=80)
        seen.settle()
        page.get_by_role("button", name="Approve 3 lines, −1…").click(delay=80)
        confirm(page, "Approve 3 lines", "Counted twice, the same")
        expect(dialog).to_be_hidden(timeout=15_000)
        seen.settle()
        assert (on_hand(engine, "MUG"), on_hand(engine, "CUP")) == (38, 26)
        seen.picture(pictures / "desk-count-done.png")
        undo("Undo count")
        assert (on_hand(engine, "MUG"), on_hand(engine, "CUP")) == (40, 25)
        page.get_by_role("button", name="Desk", exact=True).click(delay=80)
        seen.settle()

        look_at("Return")
        page.get_by_label("Order").fill("#1042")
        page.get_by_label("Order").press("Enter")
        seen.settle()
        page.get_by_label("Scan or type a code").focus()
        scan(seen, "MUG", "MUG")
        page.get_by_role("button", name="Take back…").click(delay=80)
        confirm(page, "Take back 2 units of 1 SKU", "Did not fit")
        expect(page.get_by_text("2 units of 1 SKU taken back").first).to_be_visible(timeout=15_000)
        assert on_hand(engine, "MUG") == 42
        seen.settle()
        undo("Undo return")
        assert seen.complaints == []
    assert (on_hand(engine, "MUG"), on_hand(engine, "CUP")) == (40, 25)


def test_a_file_with_errors_is_explained_and_a_right_one_booked(
    floor: str, engine: Engine, browser: Browser, pictures: Path
) -> None:
    with browsing.visit(browser, floor + "/desk?part=Files") as seen:
        page = seen.page
        upload = page.locator("input[type=file]")
        upload.set_input_files({"name": "bad.csv", "mimeType": "text/csv", "buffer": b"SKU;Qty\nMUG;1.000\nNOPE;2\n"})
        expect(page.get_by_text("2 things are wrong with bad.csv")).to_be_visible(timeout=15_000)
        expect(page.get_by_text("can be read in two ways")).to_be_visible()
        seen.picture(pictures / "desk-file-errors.png")
        browsing.assert_sound(seen)
        upload.set_input_files({"name": "good.csv", "mimeType": "text/csv", "buffer": b"SKU;Qty\nMUG;7\nSET;1\n"})
        expect(page.get_by_role("button", name="Book 2 rows of good.csv")).to_be_visible(timeout=15_000)
        seen.settle()
        seen.picture(pictures / "desk-file-plan.png")
        page.get_by_label("Reason").fill("The morning's delivery")
        page.get_by_role("button", name="Book 2 rows of good.csv").click(delay=80)
        expect(page.get_by_text("10 units of 2 SKUs received").first).to_be_visible(timeout=15_000)
        assert on_hand(engine, "MUG") == 49
        seen.settle()
        upload.set_input_files({"name": "good.csv", "mimeType": "text/csv", "buffer": b"SKU;Qty\nMUG;7\nSET;1\n"})
        expect(page.get_by_text("was booked by ada")).to_be_visible(timeout=15_000)
        assert seen.complaints == []
    assert on_hand(engine, "MUG") == 49
