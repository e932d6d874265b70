"""Orders and their changes in a browser, in every look."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import create_engine

from core import embedded
from tests.dashboard import browsing, change_worlds

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def site(
    servers: object, template_database: embedded.Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """The address of a server on a shop some of whose changes hang, and an order that does."""
    home: Path = servers.home  # type: ignore[attr-defined]
    database = embedded.create_database(home, "changes_browser", template=template_database.name)
    engine = create_engine(database.url)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        pair = change_worlds.full(conn)
        hanging = change_worlds.order_id(conn, pair, "1045")
    engine.dispose()
    with browsing.serve(database.url, "redis://127.0.0.1:1/0", tmp_path_factory.mktemp("changes")) as address:
        yield address, hanging
    embedded.drop_database(home, database.name)


LOOKS = [
    ("orders", "light", False),
    ("order", "dark", False),
    pytest.param("order", "light", True, marks=pytest.mark.long),
    pytest.param("sku", "light", False, marks=pytest.mark.long),
    pytest.param("overview", "light", False, marks=pytest.mark.long),
]


@pytest.mark.parametrize(("name", "scheme", "phone"), LOOKS)
def test_the_page_is_sound_in_every_look(
    site: tuple[str, str], browser: Browser, pictures: Path, name: str, scheme: str, phone: bool
) -> None:
    address, hanging = site
    where = {"overview": "/", "orders": "/orders", "order": f"/orders?order={hanging}", "sku": "/skus?sku=CUP#changes"}[
        name
    ]
    with browsing.visit(browser, f"{address}{where}", scheme, phone) as seen:
        expect(seen.page.get_by_text("in time" if name == "overview" else "Stuck").first).to_be_visible()
        seen.picture(pictures / f"changes-{name}-{scheme}{'-phone' if phone else ''}.png")
        browsing.assert_sound(seen)
