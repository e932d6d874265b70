"""Stock in a browser: a SKU's page with its reasons, its promises and its bundles, in every look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import create_engine

from core import embedded
from tests.dashboard import browsing, stock_worlds

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

NOWHERE = "redis://127.0.0.1:1/0"


@dataclass(frozen=True)
class Site:
    """A server on a shop with everything that a stock desk knows."""

    address: str
    url: str


@pytest.fixture(scope="module")
def site(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    home: Path = servers.home  # type: ignore[attr-defined]
    database = embedded.create_database(home, "stock_browser", template=template_database.name)
    engine = create_engine(database.url)
    with engine.begin() as conn:
        stock_worlds.full(conn)
    engine.dispose()
    with browsing.serve(database.url, NOWHERE, tmp_path_factory.mktemp("stock")) as address:
        yield Site(address, database.url)
    embedded.drop_database(home, database.name)


PAGES = {"sku-plain": "/skus?sku=CANDLE-FIG", "sku-bundle": "/skus?sku=GIFT-TEA", "setup": "/setup"}


@pytest.mark.parametrize(("name", "phone"), browsing.looks(PAGES))
def test_the_page_is_sound_in_every_look(site: Site, browser: Browser, pictures: Path, name: str, phone: bool) -> None:
    with browsing.visit(browser, site.address + PAGES[name], phone=phone) as seen:
        browsing.assert_each_look_is_sound(seen, pictures, name)


def test_a_term_leads_to_its_rows_and_a_part_to_its_own_page(site: Site, browser: Browser) -> None:
    with browsing.visit(browser, f"{site.address}/skus?sku=GIFT-TEA") as seen:
        seen.page.get_by_role("link", name="as many as its scarcest part allows").first.click(delay=80)
        seen.settle()
        assert "sku=CUP-BLUE" in seen.page.url
        expect(seen.page.get_by_role("heading", name="CUP-BLUE")).to_be_visible()
        seen.page.get_by_role("link", name="promised to checkouts").first.click(delay=80)
        expect(seen.page.get_by_role("heading", name="Promises")).to_be_in_viewport()
        assert seen.complaints == []


def test_what_a_bundle_is_made_of_is_changed_with_a_reason_and_a_mistake_is_explained(
    site: Site, browser: Browser, pictures: Path
) -> None:
    with browsing.visit(browser, f"{site.address}/skus?sku=GIFT-TEA") as seen:
        seen.page.get_by_role("button", name="What it is made of…").click(delay=80)
        dialog = seen.page.get_by_role("dialog")
        typed = dialog.get_by_label("Components")
        expect(typed).to_have_value("2 x CUP-BLUE\n2 x SPOON\n2 x TEA-EARL")
        typed.fill("2 x CUP-BLUE\n3 x NO-SUCH")
        dialog.get_by_label("Reason").fill("One more spoon")
        dialog.get_by_role("button", name="Save what").click(delay=80)
        expect(dialog.get_by_text("no SKU has the code NO-SUCH")).to_be_visible(timeout=15_000)
        seen.page.screenshot(path=pictures / "components.png")
        assert browsing.serious(seen) == []
        typed.fill("2 x CUP-BLUE\n3 x SPOON\n2 x TEA-EARL")
        dialog.get_by_role("button", name="Save what").click(delay=80)
        expect(seen.page.get_by_text("GIFT-TEA is made of 3 components now.")).to_be_visible(timeout=15_000)
        assert seen.complaints == []
    engine = create_engine(site.url)
    with engine.begin() as conn:
        said = conn.exec_driver_sql(
            "select actor, reason from audit_entries where act = 'set_components' order by id desc limit 1"
        ).one()
        units = conn.exec_driver_sql("select sum(units) from bundle_parts").scalar()
    engine.dispose()
    assert tuple(said) == ("ada", "One more spoon")
    assert units == 7


def test_a_location_is_added_and_a_channel_is_served_from_it(site: Site, browser: Browser, pictures: Path) -> None:
    with browsing.visit(browser, f"{site.address}/setup") as seen:
        seen.page.get_by_role("button", name="Add a location…").click(delay=80)
        dialog = seen.page.get_by_role("dialog")
        dialog.get_by_label("Name").fill("main")
        dialog.get_by_label("Reason").fill("A second hall")
        dialog.get_by_role("button", name="Add the location").click(delay=80)
        expect(dialog.get_by_text("there is a location Main already")).to_be_visible(timeout=15_000)
        assert browsing.serious(seen) == []
        dialog.get_by_label("Name").fill("Leeds")
        dialog.get_by_role("button", name="Add the location").click(delay=80)
        expect(seen.page.get_by_text("Leeds is a location now.")).to_be_visible(timeout=15_000)
        seen.page.get_by_role("button", name="Serve a place from elsewhere…").click(delay=80)
        expect(dialog.get_by_text("would show less")).to_be_visible(timeout=15_000)
        dialog.get_by_role("combobox").last.click()
        seen.page.get_by_role("option", name="Leeds").click()
        seen.settle()
        expect(dialog.get_by_role("button", name="Serve 5 listings from there")).to_be_visible(timeout=15_000)
        seen.page.screenshot(path=pictures / "serve.png")
        dialog.get_by_label("Reason").fill("Leeds packs for it")
        dialog.get_by_role("button", name="Serve 5 listings from there").click(delay=80)
        expect(seen.page.get_by_text("5 listings served from there: 0 up, 5 down.")).to_be_visible(timeout=15_000)
        assert seen.complaints == []
    engine = create_engine(site.url)
    with engine.begin() as conn:
        acts = conn.exec_driver_sql("select act, reason from audit_entries order by id desc limit 2").all()
    engine.dispose()
    assert [tuple(entry) for entry in acts] == [
        ("serve_place", "Leeds packs for it"),
        ("add_location", "A second hall"),
    ]
