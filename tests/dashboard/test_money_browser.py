"""The money screens in a browser: sound in every look, and from the list of sellers to the reason in two clicks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from openpyxl import load_workbook
from playwright.sync_api import Browser, expect
from sqlalchemy import create_engine

from core import embedded
from tests.dashboard import browsing, money_worlds
from tests.dashboard.money_worlds import Earned

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Site:
    """A server on a shop with money in it."""

    address: str
    world: Earned

    def of(self, name: str) -> str:
        """The address of a page under test."""
        oak, refunded = self.world.parties["OAK"], self.world.orders["refunded"]
        return (
            self.address
            + {
                "commissions": "/commissions?period=Last+30+days",
                "sellers": "/sellers",
                "sellers-party": f"/sellers?party={oak}",
                "sellers-cause": f"/sellers?party={self.world.parties['WOOL']}&cause=adjustment",
                "ledger": "/ledger",
                "ledger-account": "/ledger?account=1",
                "ledger-transaction": "/ledger?transaction=1",
                "orders-money": f"/orders?order={refunded}",
            }[name]
        )


@pytest.fixture(scope="module")
def site(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    home: Path = servers.home  # type: ignore[attr-defined]
    database = embedded.create_database(home, "money_browser", template=template_database.name)
    folder = tmp_path_factory.mktemp("money")
    engine = create_engine(database.url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        world = money_worlds.earned(conn)
    engine.dispose()
    with browsing.serve(database.url, "redis://127.0.0.1:1/0", folder) as address:
        yield Site(address, world)
    embedded.drop_database(home, database.name)


NAMES = (
    "commissions",
    "sellers",
    "sellers-party",
    "sellers-cause",
    "ledger",
    "ledger-account",
    "ledger-transaction",
    "orders-money",
)


@pytest.mark.parametrize(("name", "phone"), browsing.looks(NAMES))
def test_every_look_is_sound(site: Site, browser: Browser, pictures: Path, name: str, phone: bool) -> None:
    with browsing.visit(browser, site.of(name), phone=phone) as seen:
        browsing.assert_each_look_is_sound(seen, pictures, f"money-{name}")


def test_from_the_list_of_sellers_to_the_reason_in_two_clicks(site: Site, browser: Browser, pictures: Path) -> None:
    with browsing.visit(browser, site.of("sellers")) as seen:
        page = seen.page
        page.get_by_role("link", name="Woolgather").click(delay=80)
        # After one click it is said why; a second one opens what it is made of.
        expect(page.get_by_role("heading", name="Why is payable lower than a week ago?")).to_be_visible()
        expect(page.get_by_text("payable fell by")).to_be_visible()
        page.get_by_role("link", name="One adjustment").click(delay=80)
        expect(page.get_by_text("Adjustment: what it is made of")).to_be_in_viewport()
        # There it stays while the rest of the page, above it and below, gets its size.
        seen.settle()
        expect(page.get_by_text("Adjustment: what it is made of")).to_be_in_viewport()
        assert "cause=adjustment" in page.url
        assert (seen.strangers, seen.complaints) == ([], [])


def test_a_statement_is_taken_along_and_a_hold_is_placed(
    site: Site, browser: Browser, pictures: Path, tmp_path: Path
) -> None:
    with browsing.visit(browser, f"{site.address}/sellers?party={site.world.parties['MIRA']}") as seen:
        page = seen.page
        with page.expect_download() as taken:
            page.get_by_role("button", name="XLSX").click(delay=80)
        assert taken.value.suggested_filename.startswith("statement-mira-")
        taken.value.save_as(tmp_path / "statement.xlsx")
        assert load_workbook(tmp_path / "statement.xlsx").sheetnames == ["GBP"]
        page.get_by_role("button", name="Hold payouts…").click(delay=80)
        page.get_by_role("textbox", name="Reason").fill("The bank details changed")
        if browsing.KEPT:
            page.wait_for_timeout(400)
            page.screenshot(path=pictures / "money-hold-dialog.png")
        page.get_by_role("button", name="Hold payouts", exact=True).click(delay=80)
        expect(page.get_by_text("Nothing is paid out to Mira Okafor until the hold is lifted.")).to_be_visible()
        seen.settle()
        page.get_by_role("button", name="Adjust…").click(delay=80)
        page.get_by_role("spinbutton", name="Amount").fill("250")
        page.keyboard.press("Tab")
        expect(page.get_by_text("a second person has to approve it")).to_be_visible()
        if browsing.KEPT:
            page.screenshot(path=pictures / "money-adjust-dialog.png")
        page.get_by_role("textbox", name="Reason").fill("Goodwill")
        page.get_by_role("button", name="Ask for approval").click(delay=80)
        expect(page.get_by_text("waits for a second person’s approval.")).to_be_visible()
        assert seen.strangers == []
