"""`switchyard taxonomy`: a file loaded, how our categories stand, what each may be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine

from core import bootstrap, embedded
from core.catalog.categories import operations as categories
from core.db import unit_of_work
from tests.factories import ACTOR, BASELINE, make_connection, make_shop
from workers import console, taxonomy_cli

TEXT = "# Google_Product_Taxonomy_Version: 2021-09-21\n1 - Kitchen\n2 - Kitchen > Mugs\n3 - Kitchen > Teapots\n"


@pytest.fixture
def app(
    database: embedded.Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[bootstrap.Application]:
    monkeypatch.setenv("DATABASE_URL", database.url)
    monkeypatch.setenv("REDIS_URL", redis_url)
    bootstrap._application_of.cache_clear()
    yield bootstrap.application()
    bootstrap.application().engine.dispose()
    bootstrap._application_of.cache_clear()


def run(app: bootstrap.Application, *words: str, fails: str | None = None) -> str:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(console, "application", lambda: app)
        patched.setenv("SWITCHYARD_OPERATOR", "ada")
        done = CliRunner().invoke(taxonomy_cli.taxonomy, words)
    if fails is None:
        assert done.exception is None, done.output + repr(done.exception)
        return done.output
    assert fails in str(done.exception) + done.output, done.output
    return done.output


def test_from_a_file_to_suggestions(app: bootstrap.Application, engine: Engine, tmp_path: Path) -> None:
    with unit_of_work(engine) as conn:
        shop_id = make_shop(conn)
        account = make_connection(conn, shop_id, vendor="klaviyo", is_sku_source=False, locations={})
        categories.create(conn, shop_id, None, "Mugs", ACTOR, BASELINE)
        categories.create(conn, shop_id, None, "Gift cards", ACTOR, BASELINE)
    run(app, "suggest", "google", fails="is not loaded yet")
    path = tmp_path / "google.txt"
    path.write_text(TEXT)
    assert "3 entries of version 2021-09-21 are loaded." in run(
        app, "load", "google", "--file", str(path), "--reason", "new"
    )
    run(app, "load", "google", "--file", str(path), "--reason", "again", fails="says what version 2021-09-21 says")
    run(app, "load", "google", "--reason", "x", fails="give --file")
    run(app, "load", "google", "--connection", account.name, "--reason", "x", fails="Google's taxonomy is a file")
    run(app, "load", "shopify", "--connection", account.name, "--reason", "x", fails="tells no taxonomy")
    shown = run(app, "status")
    assert "Google: version 2021-09-21, 3 entries; 2 unmapped; 0 products need somebody" in shown
    assert f"Klaviyo ({account.name}): not loaded; 2 own" in shown
    assert [row["unmapped"] for row in json.loads(run(app, "status", "--json"))] == [2, 2, 0]
    said = run(app, "suggest", "google")
    assert "Kitchen > Mugs [2]: the same name" in said
    assert "no entry is like it" in said
    (first, *_) = json.loads(run(app, "suggest", "google", "--json", "--limit", "2"))[1:]
    assert (first["category"], first["suggestions"][0]["ref"]) == ("Mugs", "2")
    run(app, "suggest", "klaviyo", fails="give --connection")
