"""The Import wizard: every step of a file on its way into the catalogue, as its page says it; and what people do."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core import bootstrap
from core.audit import Actor
from core.catalog.imports.mapping import Mapping
from core.connections.operations import new_key
from core.db import fetch, read_only
from core.errors import BadInput, Retryable
from core.files import operations as files
from core.importing import queries
from core.importing.queries import Settings
from dashboard import import_actions
from tests.dashboard import import_worlds
from tests.dashboard.conftest import Open, text_of
from tests.dashboard.import_worlds import ADA, CHANGED, OWN, SHOPIFY, Imports


@pytest.fixture
def world(settings: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Imports:
    """A shop with a store of files of its own."""
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SWITCHYARD_SECRET_KEYS", new_key())
    return import_worlds.open_shop(bootstrap.application(), tmp_path)


def labels(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def disabled(page: AppTest) -> dict[str, bool]:
    return {button.label: button.disabled for button in page.button}


def test_a_shop_that_never_imported_is_told_what_can_be(opened: Open, world: Imports) -> None:
    page = opened("imports")
    assert not page.exception
    said = text_of(page)
    for sentence in (
        "Nothing was imported yet",
        "Shopify, WooCommerce, Medusa or Spree",
        "Any other CSV, XLSX or JSON",
    ):
        assert sentence in said, sentence


def test_imports_are_listed_with_state_who_and_why_and_files_that_wait(opened: Open, world: Imports) -> None:
    import_id = world.read(CHANGED, "autumn.csv")
    world.discarded(world.read(SHOPIFY, "spring.csv"))
    world.upload(SHOPIFY, "left.csv")
    page = opened("imports")
    assert not page.exception
    said = text_of(page)
    for sentence in (
        "1 file waits for a decision.",
        f"import?import={import_id}",
        "autumn.csv",
        "Waits for a decision",
        "3 new · 2 rejected",
        "ada: The supplier’s autumn list",
        "Discarded",
        "**left\\.csv** is uploaded and waits to be read" if False else "is uploaded and waits to be read",
    ):
        assert sentence in said, sentence
    assert "Go on" in labels(page)
