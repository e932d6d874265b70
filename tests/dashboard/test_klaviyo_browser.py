"""The Klaviyo page in a browser: every state in every look, and failures of a cause requeued."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import create_engine

from core import embedded
from core.db import execute, scalar
from tests.dashboard import browsing, seed, target_worlds

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

WORLDS = {
    "flight": target_worlds.in_flight,
    "failing": target_worlds.failing,
    "step": target_worlds.in_step,
    "stopped": target_worlds.stopped,
    "syncing": target_worlds.syncing,
}
NOWHERE = "redis://127.0.0.1:1/0"


@dataclass(frozen=True)
class Site:
    """A server on shops whose Klaviyo stands in a way each; by name, the shop."""

    address: str
    url: str
    shops: dict[str, int]


@pytest.fixture(scope="module")
def site(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    home: Path = servers.home  # type: ignore[attr-defined]
    database = embedded.create_database(home, "klaviyo_browser", template=template_database.name)
    engine = create_engine(database.url)
    with engine.begin() as conn:
        shops = {}
        for name, make in WORLDS.items():
            shops[name] = make(conn).shop
            execute(conn, "update shops set name = %(name)s where shop_id = %(id)s", name=name, id=shops[name])
        shops |= {"none": seed.shop(conn, "No Klaviyo"), "empty": seed.shop(conn, "Nothing yet")}
        target_worlds.connect(conn, shops["empty"])
    engine.dispose()
    with browsing.serve(database.url, NOWHERE, tmp_path_factory.mktemp("klaviyo")) as address:
        yield Site(address, database.url, shops)
    embedded.drop_database(home, database.name)


PAGES = {
    "klaviyo": ("failing", ""),
    "klaviyo-flight": ("flight", "&q=linen-shirt"),
    "klaviyo-step": ("step", ""),
    "klaviyo-stopped": ("stopped", ""),
    "klaviyo-syncing": ("syncing", ""),
    "klaviyo-none": ("none", ""),
    "klaviyo-empty": ("empty", ""),
    "klaviyo-cause": ("failing", "&cause=invalid"),
}


def address_of(site: Site, name: str) -> str:
    shop, rest = PAGES[name]
    return f"{site.address}/klaviyo?shop={site.shops[shop]}{rest}"


@pytest.mark.parametrize(("name", "phone"), browsing.looks(PAGES))
def test_the_page_is_sound_in_every_look(site: Site, browser: Browser, pictures: Path, name: str, phone: bool) -> None:
    with browsing.visit(browser, address_of(site, name), phone=phone) as seen:
        browsing.assert_each_look_is_sound(seen, pictures, name)


def test_a_cause_is_requeued_with_a_count_and_a_reason(site: Site, browser: Browser, pictures: Path) -> None:
    with browsing.visit(browser, address_of(site, "klaviyo")) as seen:
        page = seen.page
        page.get_by_role("button", name="Requeue 17…").click(delay=80)
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("button", name="Requeue 17")).to_be_visible()
        if browsing.KEPT:
            page.screenshot(path=pictures / "klaviyo-requeue.png")
        assert browsing.serious(seen) == []
        dialog.get_by_label("Reason").fill("The addresses are mended")
        dialog.get_by_role("button", name="Requeue 17").click(delay=80)
        expect(page.get_by_text("17 entries will be tried again with the next job.")).to_be_visible()
        expect(page.get_by_role("button", name="Requeue 17…")).not_to_be_visible()
        page.get_by_role("button", name="Sync all now…").click(delay=80)
        dialog.get_by_label("Reason").fill("Somebody changed items")
        dialog.get_by_role("button", name="Sync all").click(delay=80)
        expect(page.get_by_text("Full sync of Klaviyo asked for.")).to_be_visible()
        expect(page.get_by_text("Waiting for a worker")).to_be_visible()
        assert seen.complaints == []
    engine = create_engine(site.url)
    with engine.begin() as conn:
        said = scalar(conn, "select reason from audit_entries where act = 'requeue_target_entries'")
        assert said == "The addresses are mended"
    engine.dispose()
