"""A file goes from a real browser to a real API, past the dashboard; what goes wrong is said in a sentence."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine, create_engine

from core import embedded
from core.config import Settings
from core.connections.operations import new_key
from core.db import execute, fetch, unit_of_work
from tests.api.conftest import serving
from tests.dashboard import browsing
from tests.factories import make_shop

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

CONTENT = b"".join(b"%07d,a cup of some colour\n" % number for number in range(1_040_000))
"""30 MB, of which no two lines are alike."""


@dataclass(frozen=True)
class Site:
    """A page with a field for a file, and what the API that takes it is started with."""

    address: str
    engine: Engine
    settings: Settings
    files: Path

    @property
    def api_port(self) -> int:
        return int(self.settings.api_url.rpartition(":")[2])

    def file(self, name: str, content: bytes) -> Path:
        path = self.files / name
        path.write_bytes(content)
        return path

    def documents(self) -> list[tuple[str, str, int | None]]:
        with unit_of_work(self.engine) as conn:
            rows = fetch(conn, "select file_name, state, bytes from document_list order by document_id")
        return [(row["file_name"], row["state"], row["bytes"]) for row in rows]

    def begun(self) -> list[Path]:
        return list((self.settings.documents_dir / "incoming").glob("*.part"))


@pytest.fixture(scope="module")
def site(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    home: Path = servers.home  # type: ignore[attr-defined]
    folder = tmp_path_factory.mktemp("upload")
    database = embedded.create_database(home, "upload", template=template_database.name)
    engine = create_engine(database.url)
    with unit_of_work(engine) as conn:
        make_shop(conn)
    given = {
        "SWITCHYARD_HOME": str(folder),
        "SWITCHYARD_SECRET_KEYS": new_key(),
        "SWITCHYARD_API_URL": f"http://127.0.0.1:{browsing.free_port()}",
    }
    bell = servers.redis_url.rpartition("/")[0] + "/0"  # type: ignore[attr-defined]
    with browsing.serve(database.url, bell, folder, "tests/dashboard/upload_app.py", **given) as address:
        settings = Settings.from_environment({**given, "DATABASE_URL": database.url, "REDIS_URL": bell})
        yield Site(address, engine, replace(settings, dashboard_url=address), folder)
    engine.dispose()
    embedded.drop_database(home, database.name)


@pytest.fixture(autouse=True)
def no_documents(site: Site) -> None:
    with unit_of_work(site.engine) as conn:
        execute(conn, "update documents set state = 'deleted' where state = 'stored'")
        execute(conn, "delete from documents where state = 'awaiting'")


def choose(page: Page, path: Path) -> None:
    page.get_by_label("The supplier’s catalogue").set_input_files(path)


def settled(site: Site) -> list[tuple[str, str, int | None]]:
    """The documents that are not deleted."""
    return [document for document in site.documents() if document[1] != "deleted"]


def test_a_large_file_is_uploaded_past_the_dashboard_and_found_again(
    site: Site, browser: Browser, pictures: Path
) -> None:
    path = site.file("catalogue.csv", CONTENT)
    with serving(site.settings, site.api_port), browsing.visit(browser, site.address) as seen:
        page = seen.page
        expect(page.get_by_text("No file yet.")).to_be_visible()
        browsing.assert_sound(seen)
        choose(page, path)
        size = len(CONTENT)
        expect(page.get_by_text(f": catalogue.csv, {size} bytes, stored.")).to_be_visible()
        expect(page.get_by_role("status").get_by_text("catalogue.csv is uploaded (")).to_be_visible()
        browsing.assert_each_look_is_sound(seen, pictures, "upload")
        (key,) = [found for found in site.settings.documents_dir.rglob("*") if found.is_file()]
        assert hashlib.sha256(key.read_bytes()).digest() == hashlib.sha256(CONTENT).digest()
        assert settled(site) == [("catalogue.csv", "stored", size)]
        # Made use of: another may be chosen, and the same one again.
        page.get_by_role("button", name="Start anew").click()
        expect(page.get_by_text("No file yet.")).to_be_visible()
        choose(page, site.file("small.CSV", b"sku\nMUG\n"))
        expect(page.get_by_text(": small.CSV, 8 bytes, stored.")).to_be_visible()
        assert settled(site) == [("catalogue.csv", "stored", size), ("small.CSV", "stored", 8)]


def test_by_keyboard_on_a_phone_it_is_cancelled_and_done_again_while_the_page_runs(
    site: Site, browser: Browser, pictures: Path
) -> None:
    path = site.file("catalogue.csv", CONTENT)
    with serving(site.settings, site.api_port), browsing.visit(browser, site.address, phone=True) as seen:
        page = seen.page
        network = page.context.new_cdp_session(page)
        network.send("Network.enable")

        def throttle(bytes_a_second: int) -> None:
            speed = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_a_second}
            network.send("Network.emulateNetworkConditions", speed)

        throttle(2_000_000)
        field = page.get_by_label("The supplier’s catalogue")
        field.focus()
        with page.expect_file_chooser() as chooser:
            # The browser is told without waiting that choosers are ours; one that opens before is nobody's.
            expect(field).to_be_focused()
            page.keyboard.press("Enter")
        chooser.value.set_files(path)
        expect(page.get_by_role("progressbar")).to_be_visible()
        expect(page.get_by_text(f"of {len(CONTENT) / 1e6:.1f} MB")).to_be_visible()
        # Another run of the page, in the middle of it, changes nothing.
        page.get_by_role("button", name="Run again").click()
        expect(page.get_by_text("It ran again.")).to_be_visible()
        expect(page.get_by_role("progressbar")).to_be_visible()
        seen.picture(pictures / "upload-phone.png")
        browsing.assert_sound(seen)
        _until(lambda: bool(site.begun()))
        page.get_by_role("button", name="Cancel").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_text("Cancelled: nothing was stored.")).to_be_visible()
        expect(field).to_be_focused()
        _until(lambda: not site.begun())
        throttle(-1)
        choose(page, path)
        expect(page.get_by_text(f": catalogue.csv, {len(CONTENT)} bytes, stored.")).to_be_visible()


def test_what_cannot_be_taken_is_said_before_a_byte_leaves(site: Site, browser: Browser) -> None:
    with browsing.visit(browser, site.address) as seen:
        page = seen.page
        wrong = page.get_by_role("alert")
        choose(page, site.file("photo.png", b"x"))
        expect(wrong).to_have_text("photo.png cannot be read here: choose a file that ends in .csv or .xlsx.")
        choose(page, site.file("empty.csv", b""))
        expect(wrong).to_have_text("empty.csv is empty: choose another file.")
        choose(page, site.file("huge.csv", b"x" * 50_000_001))
        expect(wrong).to_have_text("huge.csv has 50.0 MB, and 50.0 MB is the most: choose a smaller file, or split it.")
        browsing.assert_sound(seen)
        assert not settled(site)


def test_an_api_that_is_away_and_a_link_that_is_over_are_said_and_tried_again(site: Site, browser: Browser) -> None:
    path = site.file("catalogue.csv", CONTENT)
    with browsing.visit(browser, site.address) as seen:
        page = seen.page
        wrong, again = page.get_by_role("alert"), page.get_by_role("button", name="Try again")
        choose(page, path)
        expect(wrong).to_contain_text(f"the API at {site.settings.api_url} cannot be reached")
        late = replace(site.settings, secret_keys=(new_key(),))
        with serving(late, site.api_port):
            again.click()
            expect(wrong).to_contain_text("The link for this upload has expired, or was used before")
        with serving(site.settings, site.api_port):
            again.click()
            expect(page.get_by_text(f": catalogue.csv, {len(CONTENT)} bytes, stored.")).to_be_visible()
            expect(wrong).to_have_count(0)


def test_a_page_that_is_opened_elsewhere_says_where_files_are_taken(site: Site, browser: Browser) -> None:
    elsewhere = replace(site.settings, dashboard_url="http://127.0.0.1:1")
    with serving(elsewhere, site.api_port):
        page = browser.new_page()
        page.goto(site.address.replace("127.0.0.1", "localhost"))
        choose(page, site.file("small.csv", b"sku\n"))
        expect(page.get_by_role("alert")).to_contain_text(f"files are taken from {site.address} only: open it there.")
        page.close()


def _until(holds: object) -> None:
    ends_at = time.monotonic() + 30
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < ends_at
        time.sleep(0.05)
