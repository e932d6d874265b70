"""The Mapping screen in a browser: its looks from one load, and an answer from the queue to its undoing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine, create_engine

from core import embedded
from core.db import fetch, unit_of_work
from tests.dashboard import browsing, mapping_worlds
from tests.factories import World

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Site:
    """A dashboard on a shop with identifiers in every state, the rows behind it, and its Amazon."""

    address: str
    engine: Engine
    there: World


@pytest.fixture(scope="module")
def site(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    home: Path = servers.home  # type: ignore[attr-defined]
    bell = servers.redis_url.rpartition("/")[0] + "/0"  # type: ignore[attr-defined]
    database = embedded.create_database(home, "mapping_full", template=template_database.name)
    engine = create_engine(database.url)
    with unit_of_work(engine) as conn:
        there = mapping_worlds.busy(conn)
    with browsing.serve(database.url, bell, tmp_path_factory.mktemp("mapping")) as address:
        yield Site(address, engine, there)
    engine.dispose()
    embedded.drop_database(home, database.name)


PHONE = {"width": 390, "height": 844}


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


def find(page: Page, text: str) -> None:
    page.get_by_role("searchbox", name="Find a SKU by code, barcode or title").fill(text)
    page.keyboard.press("Enter")


def test_a_remapping_and_the_queue_are_sound_in_the_dark(site: Site, browser: Browser, pictures: Path) -> None:
    where = f"/mapping?of={site.there.connection.id}&kind=variant&value=MUG-RED&sku=CUP"
    with browsing.visit(browser, site.address + where, "dark") as seen:
        page = seen.page
        page.get_by_role("button", name="Map to CUP…").first.click(delay=80)
        dialog = page.get_by_role("dialog")
        expect(dialog.get_by_role("heading", name="Map it to CUP instead?")).to_be_visible()
        expect(dialog.get_by_text("moves to CUP").first).to_be_visible()
        look(seen, pictures, "mapping-dark-remap")
        page.keyboard.press("Escape")
        page.get_by_role("link", name="All identifiers").click(delay=80)
        expect(page.get_by_text("identifiers are nobody’s yet")).to_be_visible()
        look(seen, pictures, "mapping-dark")


def test_an_answer_is_given_remapped_and_mapped_back(site: Site, browser: Browser, pictures: Path) -> None:
    """The looks of every part come on the way: one load of the page serves all."""
    with browsing.visit(browser, site.address + "/mapping") as seen:
        page = seen.page
        for part in ("Files", "Mapped", "To answer"):
            page.get_by_role("radio", name=part, exact=True).click(delay=80)
            look(seen, pictures, f"mapping-{part.replace(' ', '-').lower()}", on_phone=part == "To answer")
        page.get_by_role("button", name="Map to MUG-BLUE…").first.click(delay=80)
        expect(page.get_by_role("dialog").get_by_role("heading", name="Map it to MUG-BLUE?")).to_be_visible()
        look(seen, pictures, "mapping-preview")
        reason(page, "Looked at the label", "Map to MUG-BLUE")
        expect(page.get_by_text("2 order lines are booked.").first).to_be_visible()
        expect(page.get_by_text("Four identifiers are nobody’s yet;")).to_be_visible()
        page.get_by_role("button", name="Open it, or change it").click(delay=80)
        expect(page.get_by_role("heading", name="Map to another SKU")).to_be_visible()
        find(page, "CUP")
        page.get_by_role("button", name="Map to CUP…").first.click(delay=80)
        reason(page, "It is the cup", "Map to CUP")
        page.get_by_role("button", name="Map back to MUG-BLUE…").click(delay=80)
        reason(page, "No, the mug", "Map to MUG-BLUE")
        expect(page.get_by_text("It was CUP until it was mapped to MUG-BLUE.")).to_be_visible()
        assert seen.complaints == []
    with site.engine.connect() as conn:
        acts = fetch(conn, "select act, actor, reason from audit_entries where act like '%%map_identifier' order by id")
        held = fetch(conn, "select code, reserved from sku_stock where code in ('CUP', 'MUG-BLUE') order by code")
    assert [tuple(row.values()) for row in acts] == [
        ("map_identifier", "ada", "Looked at the label"),
        ("remap_identifier", "ada", "It is the cup"),
        ("remap_identifier", "ada", "No, the mug"),
    ]
    assert [row["reserved"] for row in held] == [0, 3]
