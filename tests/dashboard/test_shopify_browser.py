"""The page of products at Shopify in a browser: every state in every look, and a product tried again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import create_engine

from core import embedded
from core.db import execute, scalar
from tests.dashboard import browsing, publication_worlds, seed

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

WORLDS = {
    "step": publication_worlds.in_step,
    "waiting": publication_worlds.waiting,
    "held": publication_worlds.held,
}
NOWHERE = "redis://127.0.0.1:1/0"


@dataclass(frozen=True)
class Site:
    """A server on shops whose products at Shopify stand in a way each; by name, the shop, and a product of one."""

    address: str
    url: str
    shops: dict[str, int]
    product: int


@pytest.fixture(scope="module")
def site(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    home: Path = servers.home  # type: ignore[attr-defined]
    database = embedded.create_database(home, "shopify_browser", template=template_database.name)
    engine = create_engine(database.url)
    with engine.begin() as conn:
        worlds = {}
        for name, make in WORLDS.items():
            worlds[name] = make(conn)
            execute(conn, "update shops set name = %(name)s where shop_id = %(id)s", name=name, id=worlds[name].shop)
        shops = {name: world.shop for name, world in worlds.items()} | {"none": seed.shop(conn, "No products")}
        product = worlds["waiting"].catalogue.products["cup-0"]
    engine.dispose()
    with browsing.serve(database.url, NOWHERE, tmp_path_factory.mktemp("shopify")) as address:
        yield Site(address, database.url, shops, product)
    embedded.drop_database(home, database.name)


PAGES = {
    "shopify": ("waiting", "shopify", ""),
    "shopify-step": ("step", "shopify", ""),
    "shopify-held": ("held", "shopify", ""),
    "shopify-none": ("none", "shopify", ""),
    "shopify-cause": ("waiting", "shopify", "&cause=unreadable"),
    "shopify-product": ("waiting", "products", "&product=PRODUCT"),
}


def address_of(site: Site, name: str) -> str:
    shop, page, rest = PAGES[name]
    return f"{site.address}/{page}?shop={site.shops[shop]}{rest.replace('PRODUCT', str(site.product))}"


@pytest.mark.parametrize(("name", "phone"), browsing.looks(PAGES))
def test_the_page_is_sound_in_every_look(site: Site, browser: Browser, pictures: Path, name: str, phone: bool) -> None:
    with browsing.visit(browser, address_of(site, name), phone=phone) as seen:
        browsing.assert_each_look_is_sound(seen, pictures, name)


def test_a_product_is_found_by_its_cause_and_tried_again(site: Site, browser: Browser, pictures: Path) -> None:
    with browsing.visit(browser, address_of(site, "shopify")) as seen:
        page = seen.page
        page.locator('[class*="st-key-card-attention-products-refused"]').get_by_role("button", name="Show each").click(
            delay=80
        )
        page.get_by_role("button", name="Try again…").click(delay=80)
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Reason").fill("The other handle is free")
        if browsing.KEPT:
            page.screenshot(path=pictures / "shopify-release.png")
        assert browsing.serious(seen) == []
        dialog.get_by_role("button", name="Try 1 again").click(delay=80)
        expect(page.get_by_text("1 product will be tried again with the next turn.")).to_be_visible()
        expect(page.get_by_text("Nothing waits for that any more")).to_be_visible()
        assert seen.complaints == []
    engine = create_engine(site.url)
    with engine.begin() as conn:
        assert scalar(conn, "select reason from audit_entries where act = 'release_product'") == (
            "The other handle is free"
        )
    engine.dispose()
