"""Connections in a browser: the screen in every look, and the switch that stops every write as a person uses it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import create_engine

from core import embedded
from tests.dashboard import browsing, connection_worlds

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

NOWHERE = "redis://127.0.0.1:1/0"


@dataclass(frozen=True)
class Site:
    """A server on a shop with four connections, and which is which."""

    address: str
    world: connection_worlds.Connections


@pytest.fixture(scope="module")
def site(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    home: Path = servers.home  # type: ignore[attr-defined]
    database = embedded.create_database(home, "connections_browser", template=template_database.name)
    engine = create_engine(database.url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        world = connection_worlds.several(conn)
        connection_worlds.sells_at_amazon(conn, world)
    engine.dispose()
    with browsing.serve(database.url, NOWHERE, tmp_path_factory.mktemp("connections")) as address:
        yield Site(address, world)
    embedded.drop_database(home, database.name)


@pytest.mark.parametrize(
    ("name", "scheme", "phone"),
    [
        ("shopify", "light", False),
        ("shadow", "dark", False),
        pytest.param("amazon", "light", True, marks=pytest.mark.long),
    ],
)
def test_the_page_is_sound_in_every_look(
    site: Site, browser: Browser, pictures: Path, name: str, scheme: str, phone: bool
) -> None:
    which = f"connection={getattr(site.world, name)}"
    with browsing.visit(browser, f"{site.address}/connections?{which}", scheme, phone) as seen:
        seen.picture(pictures / f"connections-{name}-{scheme}{'-phone' if phone else ''}.png")
        browsing.assert_sound(seen)


def test_all_writes_are_stopped_which_every_page_says_and_resumed(site: Site, browser: Browser, pictures: Path) -> None:
    with browsing.visit(browser, f"{site.address}/connections") as seen:
        seen.page.get_by_role("button", name="Stop all writes…").click(delay=80)
        dialog = seen.page.get_by_role("dialog")
        expect(dialog.get_by_text("Nothing leaves that would change anything outside")).to_be_visible()
        seen.page.screenshot(path=pictures / "connections-stop-all.png")
        assert browsing.serious(seen) == []
        dialog.get_by_label("Reason").fill("Shopify shows wrong numbers")
        dialog.get_by_role("button", name="Stop all writes").click(delay=80)
        banner = seen.page.get_by_role("status").filter(has_text="All writes are stopped")
        expect(banner).to_contain_text("by ada: Shopify shows wrong numbers.")
        seen.page.get_by_role("link", name="Overview").click(delay=80)
        seen.settle()
        expect(banner).to_be_visible()
        seen.page.screenshot(path=pictures / "connections-stopped-overview.png")
        # What is said of the act itself is Streamlit's own, and has no name of its own.
        seen.page.get_by_test_id("stToast").get_by_role("button").click(delay=80)
        browsing.assert_sound(seen)
        seen.page.get_by_role("button", name="Resume writes…").click(delay=80)
        dialog.get_by_label("Reason").fill("they are right again")
        dialog.get_by_role("button", name="Resume writes").click(delay=80)
        expect(banner).to_be_hidden()
        assert seen.complaints == []
