"""A file in a browser from its upload to the catalogue and back again, by a real API and a real worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from core import embedded
from core.bootstrap import Application, make_application
from core.catalog.imports.mapping import Mapping
from core.config import Settings
from core.connections.operations import new_key
from core.db import fetch, read_only
from core.importing import operations
from tests.api.conftest import serving
from tests.dashboard import browsing, import_worlds
from tests.dashboard.import_worlds import CHANGED, OWN, SHOPIFY, Imports

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Site:
    """The dashboard of a shop with imports, and what the processes beside it are started with."""

    address: str
    settings: Settings
    given: dict[str, str]
    app: Application
    folder: Path
    world: Imports
    ids: dict[str, int]

    @property
    def api_port(self) -> int:
        return int(self.settings.api_url.rpartition(":")[2])

    @contextmanager
    def worker(self) -> Iterator[None]:
        """One that serves imports, as the keeper starts it."""
        command = [sys.executable, "-m", "workers.run", "--queue", "imports"]
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **self.given}, start_new_session=True)
        try:
            yield
        finally:
            # With its scheduler, which is a process of its own; it keeps nothing, and takes seconds to say goodbye.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


@pytest.fixture(scope="module")
def site(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    home: Path = servers.home  # type: ignore[attr-defined]
    folder = tmp_path_factory.mktemp("imports")
    database = embedded.create_database(home, "imports", template=template_database.name)
    given = {
        "DATABASE_URL": database.url,
        "REDIS_URL": servers.redis_url.rpartition("/")[0] + "/0",  # type: ignore[attr-defined]
        "SWITCHYARD_HOME": str(folder),
        "SWITCHYARD_SECRET_KEYS": new_key(),
        "SWITCHYARD_API_URL": f"http://127.0.0.1:{browsing.free_port()}",
    }
    settings = Settings.from_environment(given)
    app = make_application(settings)
    world = import_worlds.open_shop(app, folder)
    ids = seeded(world)
    more = {name: value for name, value in given.items() if name.startswith("SWITCHYARD")}
    with browsing.serve(database.url, given["REDIS_URL"], folder, **more) as address:
        yield Site(address, replace(settings, dashboard_url=address), given, app, folder, world, ids)
    app.engine.dispose()
    embedded.drop_database(home, database.name)


def seeded(world: Imports) -> dict[str, int]:
    """Imports that stand at one step each, by its name."""
    ids = {"applied": world.applied(SHOPIFY, "spring.csv"), "read": world.read(CHANGED, "autumn.csv")}
    ids["own"], ids["orders"] = world.upload(OWN, "kiln.csv"), world.upload("Lineitem name,Total\nMug,3\n", "sold.csv")
    mapping = Mapping({"code": "Article no", "title": "Name", "price": "Preis", "units": "Lager"}, decimals=",")
    ids["stock"] = world.read(OWN, "kiln.csv", mapping=mapping, location_id=world.place)
    ids["failed"] = world.read(OWN, "unknown.csv")
    ids["reading"] = world.half_read(renamed(CHANGED, "r"), "reading.csv")
    world.age(ids["reading"], 300)
    ids["stopped"] = world.stopped(world.half_applied(renamed(CHANGED, "s"), "stopped.csv"))
    ids["refused"] = world.read(renamed(CHANGED, "w"), "refused.csv")
    world.applied(renamed(SHOPIFY, "w"), "winter.csv")
    world.act(operations.apply, ids["refused"])
    world.work(ids["refused"])
    ids["undone"] = world.applied(renamed(CHANGED, "u"), "undone.csv")
    world.rename("umug", "Changed by hand")
    world.undone(ids["undone"])
    return ids


def renamed(text: str, mark: str) -> str:
    """The same products under handles and SKUs of their own."""
    for word in ("mug", "jug", "bowl", "vase", "lamp"):
        text = text.replace(word, mark + word).replace(word.upper(), mark.upper() + word.upper())
    return text.replace("4006381333931", "")


PAGES = {
    "import": "/import",
    "import-own": "/import?document={own}",
    "import-orders": "/import?document={orders}",
    "import-again": "/import?import={stock}&again=1",
    "import-reading": "/import?import={reading}",
    "import-read": "/import?import={read}",
    "import-stock": "/import?import={stock}",
    "import-failed": "/import?import={failed}",
    "import-stopped": "/import?import={stopped}",
    "import-applied": "/import?import={applied}",
    "import-refused": "/import?import={refused}",
    "import-undone": "/import?import={undone}",
}


@pytest.mark.parametrize(("name", "phone"), browsing.looks(PAGES))
def test_each_look_is_sound(site: Site, browser: Browser, pictures: Path, name: str, phone: bool) -> None:
    with browsing.visit(browser, site.address + PAGES[name].format(**site.ids), phone=phone) as seen:
        browsing.assert_each_look_is_sound(seen, pictures, name)
        expect(seen.page.get_by_text("Cannot read")).to_have_count(0)


def confirm(page: Page, opener: str, says: str, reason: str, verb: str, picture: Path | None = None) -> None:
    """Open a dialog, read it, give the reason, do it."""
    page.get_by_role("button", name=opener).click(delay=80)
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text(says)).to_be_visible()
    if picture is not None and browsing.KEPT:
        page.wait_for_timeout(500)
        page.screenshot(path=picture)
    dialog.get_by_label("Reason").fill(reason)
    dialog.get_by_role("button", name=verb).click(delay=80)
    expect(dialog).to_be_hidden()


def fields_of(page: Page) -> Locator:
    """The fields of a mapping, each with its column and samples."""
    return page.locator('[class*="st-key-stack-import"]')


def acts_of(site: Site, import_id: str) -> list[tuple[str, str, str]]:
    with read_only(site.app.engine) as conn:
        rows = fetch(
            conn,
            "select actor, act, reason from audit_entries where subject = %(subject)s order by id",
            subject=f"import:{import_id}",
        )
    return [(row["actor"], row["act"], row["reason"]) for row in rows]


def test_a_file_goes_the_whole_way_and_back(site: Site, browser: Browser, pictures: Path) -> None:
    path = site.folder / "new-season.csv"
    path.write_text(renamed(CHANGED, "n"), encoding="utf-8")
    with (
        serving(site.settings, site.api_port),
        site.worker(),
        browsing.visit(browser, f"{site.address}/import") as seen,
    ):
        page = seen.page
        page.get_by_label("A file of products").set_input_files(path)
        expect(page.get_by_text("This is an export of products from Shopify.")).to_be_visible()
        # The step is in the address: a reload goes on.
        page.reload()
        expect(page.get_by_text("This is an export of products from Shopify.")).to_be_visible()
        seen.settle()
        page.get_by_label("Reason").fill("The new season")
        page.get_by_role("button", name="Read it, change nothing").click(delay=80)
        expect(page.get_by_text("Applying this file adds 3 products.")).to_be_visible()
        import_id = page.url.rpartition("import=")[2].partition("&")[0]
        assert not {"nmug", "nbowl"} & site.world.handles()
        expect(page.get_by_text("→ write digits only, such as 12.50").first).to_be_visible()
        seen.picture(pictures / "import-dry-run.png")
        page.get_by_role("button", name="Rejected rows as a file").click(delay=80)
        with page.expect_download() as coming:
            page.get_by_role("link", name="Save new-season-rejected.csv").click(delay=80)
        rows = Path(coming.value.path()).read_text(encoding="utf-8-sig").splitlines()
        assert rows[0].endswith(",reason")
        assert [row.partition(",")[0] for row in rows[1:]] == ["nvase", "nlamp"]
        applies = pictures / "import-apply.png"
        confirm(page, "Apply…", "it may be stopped on the way", "Checked with the supplier", "Apply 3 new", applies)
        expect(page.get_by_text("3 products are applied")).to_be_visible()
        assert {"nmug", "njug", "nbowl"} <= site.world.handles()
        undoes = pictures / "import-undo.png"
        confirm(page, "Undo…", "No product was changed since", "The wrong season", "Take it back", undoes)
        expect(page.get_by_text("3 products are taken back")).to_be_visible()
        assert not {"nmug", "nbowl"} & site.world.handles()
        assert acts_of(site, import_id) == [
            ("ada", "begin_import", "The new season"),
            ("ada", "apply_import", "Checked with the supplier"),
            ("ada", "undo_import", "The wrong season"),
        ]
        assert seen.complaints == []


@pytest.mark.long
def test_a_file_of_its_own_form_is_mapped_and_the_next_one_is_known(
    site: Site, browser: Browser, pictures: Path
) -> None:
    document_id = site.world.upload(OWN, "kiln-2.csv")
    with site.worker(), browsing.visit(browser, f"{site.address}/import?document={document_id}") as seen:
        page = seen.page
        expect(page.get_by_text("No column gives the SKU")).to_be_visible()
        page.get_by_role("combobox", name="Column for SKU").click(delay=80)
        page.get_by_role("option", name="Article no").click(delay=80)
        expect(fields_of(page).get_by_text("A-1", exact=True)).to_be_visible()
        expect(page.get_by_text("No column gives the SKU")).to_be_hidden()
        seen.picture(pictures / "import-mapped.png")
        page.get_by_label("Reason").fill("A new supplier")
        page.get_by_role("button", name="Read it, change nothing").click(delay=80)
        expect(page.get_by_text("Applying this file adds 2 products.")).to_be_visible()
        assert seen.complaints == []
    again = site.world.upload(OWN, "kiln-3.csv")
    with browsing.visit(browser, f"{site.address}/import?document={again}") as seen:
        expect(seen.page.get_by_text("as a file with these columns was mapped last")).to_be_visible()
        expect(fields_of(seen.page).get_by_text("A-1", exact=True)).to_be_visible()


@pytest.mark.long
def test_progress_shows_without_a_reload_and_a_reading_is_stopped(site: Site, browser: Browser) -> None:
    with browsing.visit(browser, f"{site.address}/import?import={site.ids['reading']}") as seen:
        page = seen.page
        expect(page.get_by_text("2 of 6 rows compared")).to_be_visible()
        confirm(page, "Stop…", "nothing was changed", "It is the wrong file", "Stop it")
        expect(page.get_by_text("ada asked to stop it")).to_be_visible()
        # Its worker comes back, and finds that out.
        site.world.work(site.ids["reading"])
        expect(page.get_by_text("Nothing came of this file")).to_be_visible()
        assert seen.complaints == []
