"""Oversell risk in a browser: the screen in every look, and its two acts as a person does them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import create_engine

from core import embedded
from core.db import fetch_one
from tests.dashboard import browsing, risk_worlds

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

NOWHERE = "redis://127.0.0.1:1/0"


@dataclass(frozen=True)
class Site:
    """A server on a shop with stock at risk."""

    address: str
    url: str


@pytest.fixture(scope="module")
def site(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    home: Path = servers.home  # type: ignore[attr-defined]
    database = embedded.create_database(home, "risk_browser", template=template_database.name)
    engine = create_engine(database.url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        risk_worlds.unwatched(conn)
    engine.dispose()
    with browsing.serve(database.url, NOWHERE, tmp_path_factory.mktemp("risk")) as address:
        yield Site(address, database.url)
    embedded.drop_database(home, database.name)


PAGES = {"oversell": "/oversell?sku=22423", "oversold": "/oversell?sku=CANDLE-FIG"}


@pytest.mark.parametrize(("name", "phone"), browsing.looks(PAGES))
def test_the_page_is_sound_in_every_look(site: Site, browser: Browser, pictures: Path, name: str, phone: bool) -> None:
    with browsing.visit(browser, site.address + PAGES[name], phone=phone) as seen:
        browsing.assert_each_look_is_sound(seen, pictures, name)


def test_a_sku_is_switched_to_escrow_with_a_preview_and_a_reason(site: Site, browser: Browser, pictures: Path) -> None:
    with browsing.visit(browser, f"{site.address}/oversell?sku=22423") as seen:
        seen.page.get_by_role("button", name="Switch to escrow…").click(delay=80)
        dialog = seen.page.get_by_role("dialog")
        expect(dialog.get_by_text("split over the channels")).to_be_visible()
        expect(dialog.get_by_text("Amazon UK is taken to")).to_be_visible()
        seen.page.screenshot(path=pictures / "oversell-escrow.png")
        assert browsing.serious(seen) == []
        dialog.get_by_label("Reason").fill("only a few are left")
        dialog.get_by_role("button", name="Switch 22423 to escrow").click(delay=80)
        expect(seen.page.get_by_text("22423 goes into escrow: version 1")).to_be_visible()
        assert seen.complaints == []
    engine = create_engine(site.url)
    with engine.connect() as conn:
        rule = fetch_one(conn, "select code, mode, saved_by, reason from channel_policy_list")
    engine.dispose()
    assert rule == {"code": "22423", "mode": "escrow", "saved_by": "ada", "reason": "only a few are left"}
