"""The field for a file without a browser: what is said of the document that was chosen, and what is not believed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from streamlit.testing.v1 import AppTest

from core.adapters.storage import LocalFolder
from core.clock import utc_now
from core.connections.operations import new_key
from core.db import unit_of_work
from core.errors import BadInput
from core.files import operations
from dashboard import upload
from tests.dashboard.conftest import text_of
from tests.factories import make_shop

PAGE = Path(__file__).with_name("upload_page.py")
WANTED = upload.Wanted("catalogue_import", "Catalogue", (".csv", ".xlsx"), 50_000_000)


def page_of(document_id: int) -> AppTest:
    page = AppTest.from_file(str(PAGE), default_timeout=200)
    page.session_state["upload-document-catalogue"] = {"document_id": document_id, "size": 3, "link": {}}
    return page.run()


@pytest.mark.usefixtures("settings")
def test_the_database_says_what_became_of_the_document_that_was_chosen(engine: Engine, tmp_path: Path) -> None:
    store, now = LocalFolder(tmp_path, "http://127.0.0.1:1", (new_key(),)), utc_now()
    with unit_of_work(engine) as conn:
        shop = make_shop(conn)
        made = operations.announce(conn, store, shop, "catalogue_import", "a.csv", "text/csv", 3, "ada", now)
        over = operations.announce(
            conn, store, shop, "catalogue_import", "b.csv", "text/csv", 3, "ada", now - timedelta(hours=1)
        )
    awaited = text_of(page_of(made.document_id))
    assert "No file yet." not in awaited
    assert "stored" not in awaited
    with unit_of_work(engine) as conn:
        operations.stored(conn, made.key, store.put(made.key, [b"abc"], 3), now)
    page = page_of(made.document_id)
    assert f"Document {made.document_id}: a.csv, 3 bytes, stored." in text_of(page)
    page.button[0].click().run()
    assert "No file yet." in text_of(page)
    for unknown in (over.document_id, 999):
        assert "No file yet." in text_of(page_of(unknown))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "a.html"}, r"a\.html cannot be read here: choose a file that ends in \.csv or \.xlsx"),
        ({"size": 50_000_001}, r"1 to 50,000,000 bytes, and a\.CSV has 50,000,001"),
        ({"size": 0}, "has 0"),
    ],
)
def test_what_a_browser_says_is_checked_again(changes: dict[str, Any], said: str) -> None:
    chosen = {"nonce": "1", "name": "a.CSV", "type": "text/csv", "size": 3}
    assert upload._checked(chosen, WANTED) == ("a.CSV", "text/csv", 3)
    with pytest.raises(BadInput, match=said):
        upload._checked({**chosen, **changes}, WANTED)
