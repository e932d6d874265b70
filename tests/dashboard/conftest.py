"""A seeded database behind the pages, and a hand that opens them without a browser."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import streamlit as st
from playwright.sync_api import Browser, expect
from sqlalchemy import Connection, Engine
from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Block, Button, Markdown, Node
from streamlit.util import calc_hash

from core import bootstrap, embedded
from dashboard import queries
from tests.dashboard import browsing

MAIN = Path(__file__).resolve().parents[2] / "dashboard" / "main.py"

Open = Callable[..., AppTest]

ADDRESSES = {"imports": "import"}
"""Of pages whose file is called otherwise."""

# Each page under test looks through all that is installed for components: once is enough, it takes half a second.
manifest_scanner.scan_component_manifests = cache(manifest_scanner.scan_component_manifests)


def forget_all() -> None:
    """Nothing of another test's database: not its answers, not its pool."""
    st.cache_data.clear()
    with contextlib.suppress(Exception):
        queries.engine().dispose()
    queries.engine.clear()
    bootstrap._application_of.cache_clear()


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, database: embedded.Database) -> Iterator[None]:
    """The environment that the dashboard reads, pointing at this test's database."""
    forget_all()
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("SWITCHYARD_OPERATOR", "ada")
    yield
    forget_all()


@pytest.fixture
def conn(engine: Engine) -> Iterator[Connection]:
    """A connection that commits what the test seeds."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as open_connection:
        yield open_connection


@pytest.fixture
def opened(settings: None) -> Open:
    """Open a page: `opened()`, `opened("skus", sku="22423")`."""

    def go(screen: str | None = None, **where: str) -> AppTest:
        page = AppTest.from_file(str(MAIN), default_timeout=200)
        for name, value in where.items():
            page.query_params[name] = value
        if screen:
            # Straight to it, as a link leads there: a page has the name of its file, with hyphens for words.
            page.switch_page(f"screens/{screen}.py")
            page._page_hash = calc_hash(ADDRESSES.get(screen, screen.replace("_", "-")))
        return page.run()

    return go


def text_of(page: AppTest) -> str:
    """All that a page says, in order of its kinds."""
    kinds = ("html", "markdown", "caption", "subheader", "metric", "warning", "error")
    said: list[str] = []
    for kind in kinds:
        for element in page.get(kind):
            said.append(str(getattr(element, "value", None) or getattr(element.proto, "body", "")))
            said.append(str(getattr(element, "label", "") or ""))
    return "\n".join(said)


def assert_apart(before: tuple[AppTest, str], after: tuple[AppTest, str]) -> None:
    """What says the one on a page, and what says the other on the next, each has a place that the other keeps free.

    Else a browser shows what is in both until the page is complete, and buttons jump from under the pointer.
    """
    for (page, words), (other, _) in ((before, after), (after, before)):
        assert not page.exception
        way = _way_to(page.main, words)
        assert way, words
        is_kept_free = _is_kept_free(other.main, way)
        assert is_kept_free, (words, way)


def _way_to(block: Block, words: str) -> list[int]:
    """From block to block, by number among its siblings, to the first button or sentence with these words."""
    for number, node in block.children.items():
        if isinstance(node, Block):
            if way := _way_to(node, words):
                return [number, *way]
        elif words in (node.label if isinstance(node, Button) else node.value if isinstance(node, Markdown) else ""):
            return [number]
    return []


def _is_kept_free(block: Block, way: list[int]) -> bool:
    node: Node | None = block
    for number in way:
        node = node.children.get(number) if isinstance(node, Block) else node
    return getattr(node, "type", None) == "empty"


# On a machine that does other things too; what is there is found at once all the same.
expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: set SWITCHYARD_PICTURES to keep them."""
    folder = Path(browsing.KEPT) if browsing.KEPT else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
