"""The Catalogue in a browser: every page in every look, a product edited and that taken back, a category merged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import create_engine

from core import embedded
from core.db import scalar
from tests.dashboard import browsing, catalogue_worlds, seed

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

NOWHERE = "redis://127.0.0.1:1/0"


@dataclass(frozen=True)
class Site:
    """A server on a shop with a catalogue, and one on another shop that has none."""

    address: str
    url: str
    shirt: int
    home: int
    empty: int


@pytest.fixture(scope="module")
def site(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    home: Path = servers.home  # type: ignore[attr-defined]
    database = embedded.create_database(home, "catalogue_browser", template=template_database.name)
    with catalogue_worlds.pictures() as pictures:
        engine = create_engine(database.url)
        with engine.begin() as conn:
            world = catalogue_worlds.full(conn, pictures)
            empty = seed.shop(conn, "Nothing yet")
        engine.dispose()
        with browsing.serve(database.url, NOWHERE, tmp_path_factory.mktemp("catalogue")) as address:
            shirt, top = world.products["linen-shirt"], world.categories["Home"]
            yield Site(address, database.url, shirt, top, empty)
    embedded.drop_database(home, database.name)


PAGES = {
    "products": "/products?shop={shop}",
    "products-empty": "/products?shop={empty}",
    "products-nothing": "/products?shop={shop}&q=zzz",
    "products-skus": "/products?shop={shop}&show=SKUs+without+one",
    "product": "/products?shop={shop}&product={shirt}",
    "product-edit": "/products?shop={shop}&product={shirt}&edit=yes",
    "product-new": "/products?shop={shop}&new=POSTER-A2",
    "categories": "/categories?shop={shop}",
    "categories-one": "/categories?shop={shop}&category={home}",
    "categories-empty": "/categories?shop={empty}",
}


def address_of(site: Site, name: str) -> str:
    path = PAGES[name].format(shop=site.empty - 1, empty=site.empty, shirt=site.shirt, home=site.home)
    return site.address + path


@pytest.mark.parametrize(("name", "phone"), browsing.looks(PAGES))
def test_the_page_is_sound_in_every_look(site: Site, browser: Browser, pictures: Path, name: str, phone: bool) -> None:
    with browsing.visit(browser, address_of(site, name), phone=phone) as seen:
        browsing.assert_each_look_is_sound(seen, pictures, name)


PRICE_X = 430
"""Where the column of prices is, from the left edge of the table of variants."""


def type_in_cell(page: Page, row: int, x: int, text: str) -> None:
    """Into the table of variants: its cells are drawn, not elements."""
    table = page.get_by_test_id("stDataFrame").first
    # To the middle of the window: what floats at its edges would take the click.
    table.evaluate("element => element.scrollIntoView({block: 'center'})")
    page.wait_for_timeout(300)
    box = table.bounding_box()
    assert box is not None
    field = page.locator("#portal textarea, #portal input").first
    for _ in range(5):
        # A click that comes while the table takes the focus only selects the cell.
        page.mouse.dblclick(box["x"] + x, box["y"] + 35 * (row + 1) + 15, delay=60)
        page.wait_for_timeout(700)
        if field.is_visible():
            break
    field.fill(text)
    field.press("Enter")


def test_a_price_is_changed_a_mistake_is_explained_and_the_change_is_taken_back(
    site: Site, browser: Browser, pictures: Path
) -> None:
    with browsing.visit(browser, address_of(site, "product")) as seen:
        page = seen.page
        page.get_by_role("button", name="Edit").click(delay=80)
        seen.settle()
        page.get_by_label("Title", exact=True).fill("Linen shirt, soft")
        page.get_by_label("Title", exact=True).press("Enter")
        seen.settle()
        type_in_cell(page, 0, PRICE_X, "47,5")
        seen.settle()
        page.get_by_role("button", name="See what changes").click(delay=80)
        expect(page.get_by_text("1 thing is not right yet; nothing was saved")).to_be_visible()
        expect(page.get_by_text("write it as 12.50").first).to_be_visible()
        expect(page.get_by_label("Title", exact=True)).to_have_value("Linen shirt, soft")
        if browsing.KEPT:
            page.screenshot(path=pictures / "product-wrong.png")
        assert browsing.serious(seen) == []
        type_in_cell(page, 0, PRICE_X, "47.50")
        seen.settle()
        page.get_by_role("button", name="See what changes").click(delay=80)
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_text("£47.50")).to_be_visible()
        if browsing.KEPT:
            page.screenshot(path=pictures / "product-preview.png")
        assert browsing.serious(seen) == []
        dialog.get_by_label("Reason").fill("A new price")
        dialog.get_by_role("button", name="Save 2 changes").click(delay=80)
        expect(page.get_by_text("is saved as version 5.")).to_be_visible()
        expect(page.get_by_text("Price of SHIRT-SAN-S: £45.00 → £47.50")).to_be_visible()
        page.get_by_role("button", name="Take back").first.click(delay=80)
        expect(dialog.get_by_text("£47.50")).to_be_visible()
        if browsing.KEPT:
            page.screenshot(path=pictures / "product-undo.png")
        # Enter means the button, once that is there.
        expect(dialog.get_by_role("button", name="Take back 2 changes")).to_be_visible()
        dialog.get_by_label("Reason").fill("Too dear")
        dialog.get_by_label("Reason").press("Enter")
        expect(page.get_by_text("Version 5 is taken back")).to_be_visible()
        assert seen.complaints == []
    engine = create_engine(site.url)
    with engine.begin() as conn:
        assert scalar(conn, "select title from products where id = %(id)s", id=site.shirt) == "Linen shirt, washed"
    engine.dispose()


def test_a_category_is_merged_into_another_with_a_count_before(site: Site, browser: Browser, pictures: Path) -> None:
    with browsing.visit(browser, address_of(site, "categories")) as seen:
        page = seen.page
        page.get_by_role("link", name="Candles").click(delay=80)
        seen.settle()
        page.get_by_role("button", name="Remove…").click(delay=80)
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Reason").fill("Not used")
        dialog.get_by_role("button", name="Remove the category").click(delay=80)
        expect(dialog.get_by_text("was not removed: it has 18 products")).to_be_visible()
        assert browsing.serious(seen) == []
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Merge…").click(delay=80)
        dialog.get_by_label("Merge into").click()
        page.get_by_role("option", name="Sale").click()
        seen.settle()
        expect(dialog.get_by_role("button", name="Merge, and change 18 products")).to_be_visible()
        if browsing.KEPT:
            page.screenshot(path=pictures / "categories-merge.png")
        assert browsing.serious(seen) == []
        dialog.get_by_label("Reason").fill("They are on sale")
        dialog.get_by_role("button", name="Merge, and change 18 products").click(delay=80)
        expect(page.get_by_text("Candles is merged; 18 products changed.")).to_be_visible()
        assert seen.complaints == []
