"""The Category mapping screen in a browser: its looks from one load, one click, many at once and all taken back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine, create_engine

from core import embedded
from core.db import fetch, unit_of_work
from tests.dashboard import browsing, category_worlds
from tests.dashboard.category_worlds import There

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

PHONE = {"width": 390, "height": 844}


@dataclass(frozen=True)
class Site:
    """A dashboard on a shop with categories in every state, and the rows behind it."""

    address: str
    engine: Engine
    there: There


@pytest.fixture(scope="module")
def site(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    home: Path = servers.home  # type: ignore[attr-defined]
    bell = servers.redis_url.rpartition("/")[0] + "/0"  # type: ignore[attr-defined]
    database = embedded.create_database(home, "categories_full", template=template_database.name)
    engine = create_engine(database.url)
    with unit_of_work(engine) as conn:
        there = category_worlds.busy(conn)
    with browsing.serve(database.url, bell, tmp_path_factory.mktemp("categories")) as address:
        yield Site(address, engine, there)
    engine.dispose()
    embedded.drop_database(home, database.name)


def put_away(page: Page) -> None:
    """What was said: Streamlit's own toast has no name for axe."""
    page.get_by_test_id("stToast").get_by_role("button").first.click()
    expect(page.get_by_test_id("stToast")).to_have_count(0)


def look(seen: browsing.Visit, pictures: Path, name: str, on_phone: bool = False) -> None:
    """The page as it is now; and in the same load on a phone."""
    wide = seen.page.viewport_size
    for size, word in ((wide, ""), (PHONE, "-phone"))[: 2 if on_phone else 1]:
        seen.page.set_viewport_size(size)  # type: ignore[arg-type]
        seen.settle()
        seen.picture(pictures / f"{name}{word}.png")
        browsing.assert_sound(seen)
    seen.page.set_viewport_size(wide)  # type: ignore[arg-type]


def reason(page: Page, why: str, verb: str) -> None:
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill(why)
    dialog.get_by_role("button", name=verb).click(delay=80)


def test_suggestions_are_accepted_one_by_one_and_together_and_taken_back(
    site: Site, browser: Browser, pictures: Path
) -> None:
    with browsing.visit(browser, site.address + "/categories-mapping") as seen:
        page = seen.page
        expect(page.get_by_text("Six of 9 categories need an answer for Google;")).to_be_visible()
        look(seen, pictures, "categories", on_phone=True)
        page.get_by_role("button", name="Accept", exact=True).first.click(delay=80)
        expect(page.get_by_text("Five of 9 categories need an answer for Google;")).to_be_visible()
        put_away(page)
        page.get_by_role("button", name="Accept all…").click(delay=80)
        expect(page.get_by_role("dialog").get_by_text("All of 85 % or more for Google")).to_be_visible()
        look(seen, pictures, "categories-many")
        reason(page, "Looked through them", "Accept 2")
        expect(page.get_by_text("Three of 9 categories need an answer for Google;")).to_be_visible()
        put_away(page)
        for part in ("Broken", "Taxonomy", "History"):
            page.get_by_role("radio", name=part, exact=True).click(delay=80)
            look(seen, pictures, f"categories-{part.lower()}")
        page.get_by_role("button", name="Take back…").click(delay=80)
        reason(page, "Too early", "Take back")
        expect(page.get_by_text("Five of 9 categories need an answer for Google;")).to_be_visible()
        put_away(page)
        seen.darken()
        look(seen, pictures, "categories-history-dark")
        assert seen.complaints == []
    with site.engine.connect() as conn:
        acts = fetch(conn, "select act, actor, reason from audit_entries where reason in ('Looked through them',"
                           " 'Too early') order by id")  # fmt: skip
    assert [tuple(row.values()) for row in acts] == [
        ("accept_category_suggestions", "ada", "Looked through them"),
        ("undo_category_suggestions", "ada", "Too early"),
    ]


def test_one_category_is_searched_for_and_mapped_in_the_dark(site: Site, browser: Browser, pictures: Path) -> None:
    where = f"/categories-mapping?target=google&category={site.there.ids['Clothes > Shoes']}&entry=shoes"
    with browsing.visit(browser, site.address + where, "dark") as seen:
        page = seen.page
        expect(page.get_by_role("heading", name="Any other entry")).to_be_visible()
        look(seen, pictures, "category-dark", on_phone=True)
        page.get_by_role("button", name="Map…").last.click(delay=80)
        reason(page, "It is that", "Map it")
        expect(page.get_by_text("A person · ada: It is that")).to_be_visible()
        assert seen.complaints == []
