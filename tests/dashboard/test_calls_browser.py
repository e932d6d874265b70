"""The screen of outgoing calls in a browser: looks, contrast, its address, its drawer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import Connection, create_engine

from core import embedded
from tests.dashboard import browsing, chatter, seed

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Sites:
    """Servers on a shop without channels, one whose channels were never called, and one on a talkative day."""

    none: str
    quiet: str
    day: str
    refused_call: int


def _quiet(conn: Connection) -> None:
    shop = seed.shop(conn)
    seed.connection(conn, shop)
    seed.connection(conn, shop, "Amazon UK", "amazon", "B")


def _day(conn: Connection) -> int:
    shop = seed.shop(conn)
    shopify = seed.connection(conn, shop)
    amazon = seed.connection(conn, shop, "Amazon UK", "amazon", "B")
    chatter.a_day(conn, shop, shopify, amazon)
    return int(
        conn.exec_driver_sql("select max(id) from api_calls where outcome = 'refused' and sync_run_id > 0").scalar_one()
    )


@pytest.fixture(scope="module")
def sites(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sites]:
    home: Path = servers.home  # type: ignore[attr-defined]
    bell: str = servers.redis_url  # type: ignore[attr-defined]
    found = {
        name: embedded.create_database(home, f"calls_{name}", template=template_database.name)
        for name in ("none", "quiet", "day")
    }
    made: dict[str, int] = {}
    for name, fill in (("none", seed.shop), ("quiet", _quiet), ("day", _day)):
        engine = create_engine(found[name].url)
        with engine.begin() as conn:
            made[name] = fill(conn) or 0
        engine.dispose()
    folder = tmp_path_factory.mktemp("servers")
    for name in found:
        (folder / name).mkdir()
    with (
        browsing.serve(found["none"].url, bell, folder / "none") as none,
        browsing.serve(found["quiet"].url, bell, folder / "quiet") as quiet,
        browsing.serve(found["day"].url, bell, folder / "day") as day,
    ):
        yield Sites(none, quiet, day, made["day"])
    for database in found.values():
        embedded.drop_database(home, database.name)


PAGES = {
    "calls": ("day", "/calls?window=24+h"),
    "calls-hour": ("day", "/calls?connection=Amazon+UK&show=Did+not+succeed"),
    "calls-none-matches": ("day", "/calls?show=Unknown&operation=Locations&connection=Amazon+UK"),
    "calls-quiet": ("quiet", "/calls"),
    "calls-empty": ("none", "/calls"),
}


@pytest.mark.parametrize(("name", "phone"), browsing.looks(PAGES))
def test_the_page_is_sound_in_every_look(
    sites: Sites, browser: Browser, pictures: Path, name: str, phone: bool
) -> None:
    site, path = PAGES[name]
    with browsing.visit(browser, getattr(sites, site) + path, phone=phone) as seen:
        browsing.assert_each_look_is_sound(seen, pictures, name)


def test_what_is_chosen_is_in_the_address_and_survives_a_reload(sites: Sites, browser: Browser) -> None:
    with browsing.visit(browser, sites.day + "/calls") as seen:
        seen.page.get_by_role("radio", name="24 h").click(delay=80)
        seen.settle()
        expect(seen.page.get_by_text("in the last day did not succeed.")).to_be_visible()
        seen.page.get_by_role("radio", name="Did not succeed").click(delay=80)
        seen.settle()
        seen.page.get_by_role("button", name="Older").click(delay=80)
        seen.settle()
        assert "window=24" in seen.page.url
        assert "show=Did" in seen.page.url
        assert "before=" in seen.page.url
        seen.page.get_by_role("radio", name="Refused").click(delay=80)
        seen.settle()
        assert "before=" not in seen.page.url
        assert "show=Refused" in seen.page.url
        seen.page.reload()
        seen.settle()
        expect(seen.page.get_by_role("radio", name="24 h")).to_be_checked(timeout=10_000)
        expect(seen.page.get_by_role("radio", name="Refused")).to_be_checked()
        assert seen.complaints == []


@pytest.mark.long
def test_choosing_a_row_opens_it_and_closing_lets_it_be_chosen_again(sites: Sites, browser: Browser) -> None:
    with browsing.visit(browser, f"{sites.day}/calls?show=Refused") as seen:
        seen.page.set_viewport_size({"width": 1280, "height": 3_400})
        seen.settle()
        for _ in range(2):
            # The table is a canvas: its first row's box lies below the head, at the left edge.
            place = seen.page.get_by_test_id("stDataFrame").bounding_box()
            assert place is not None
            seen.page.mouse.click(place["x"] + 18, place["y"] + 52, delay=80)
            dialog = seen.page.get_by_role("dialog")
            expect(dialog.get_by_text("it would say no again")).to_be_visible(timeout=10_000)
            assert f"call={sites.refused_call}" in seen.page.url
            dialog.get_by_role("button", name="Close").click(delay=80)
            expect(dialog).to_be_hidden()
            seen.settle()
            assert "call=" not in seen.page.url


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
def test_a_call_opens_by_its_address_survives_a_refresh_and_closes(
    sites: Sites, browser: Browser, pictures: Path, scheme: str
) -> None:
    with browsing.visit(browser, f"{sites.day}/calls?call={sites.refused_call}", scheme) as seen:
        dialog = seen.page.get_by_role("dialog")
        expect(dialog.get_by_text("it would say no again")).to_be_visible()
        expect(dialog.get_by_text("***@***")).to_be_visible()
        expect(dialog.get_by_text("Open sync run")).to_be_visible()
        expect(dialog.get_by_text("No address, header or body is kept")).to_be_visible()
        seen.page.wait_for_timeout(10_500)
        expect(dialog.get_by_text("it would say no again")).to_be_visible()
        seen.page.screenshot(path=pictures / f"calls-drawer-{scheme}.png")
        assert browsing.serious(seen) == []
        dialog.get_by_role("button", name="Close").click(delay=80)
        expect(dialog).to_be_hidden()
        seen.settle()
        assert "call=" not in seen.page.url
        assert seen.complaints == []
