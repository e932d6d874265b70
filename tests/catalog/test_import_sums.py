"""What is counted while a file is read equals what counting it all says; a file is known by its first rows."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from core.adapters.storage import LocalFolder
from core.catalog.imports.plans import NotProducts
from core.db import execute, fetch
from core.files import operations as files
from core.importing import holding, operations, queries, reading, uploads
from core.importing.queries import Settings
from core.importing.uploads import Seen
from core.inventory.operations import open_location
from core.targets.queries import TARGET_CLASS
from tests.catalog.conftest import ANNA, Catalogue
from tests.catalog.test_importing import HEADS, MUGS, Importer
from tests.factories import make_connection

WRONG = f"""{HEADS},Cost Center
mug,Mug,,,,Size,S,MUG-S,twelve,,active,
mug,,,,,,M,MUG-M,eleven,12345,,
jug,Jug,,,,Title,Default Title,JUG,ten,54321,active,
bowl,Bowl,,,,Title,Default Title,BOWL,9.00,,shut,
vase,Vase,,,,Title,Default Title,VASE,9.00,,active,
"""


@pytest.fixture
def importer(catalogue: Catalogue, tmp_path: Path) -> Importer:
    return Importer(catalogue, tmp_path)


def counted(importer: Importer, import_id: int) -> dict[tuple[str, str, str], tuple[int, int]]:
    """Times and first row by severity, column and fix, as they were counted."""
    found: dict[tuple[str, str, str], tuple[int, int]] = {}
    for row in queries.problem_groups(importer.conn, importer.catalogue.shop_id, import_id):
        key = (row["severity"], row["column"], row["fix"])
        times, first = found.get(key, (0, row["first_row"]))
        found[key] = times + row["times"], min(first, row["first_row"])
    return found


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_problems_are_counted_as_they_come(importer: Importer, batch: int) -> None:
    import_id = importer.begin(WRONG)
    importer.read(import_id, batch)
    items = queries.items(importer.conn, importer.catalogue.shop_id, import_id)
    told = [problem for item in items for problem in item.problems]
    times = Counter((p["severity"], p["column"], p["fix"]) for p in told)
    assert times
    assert counted(importer, import_id) == {
        key: (number, min(p["row"] for p in told if (p["severity"], p["column"], p["fix"]) == key))
        for key, number in times.items()
    }
    groups = queries.problem_groups(importer.conn, importer.catalogue.shop_id, import_id)
    assert [g["severity"] for g in groups] == sorted(g["severity"] for g in groups)
    # Alike but for the cell itself; said as it is said of the first row.
    amount = next(g for g in groups if g["column"] == "Variant Price")
    assert (amount["sentence"], amount["times"], amount["first_row"]) == ("“twelve” is not an amount", 3, 2)


def test_what_is_read_again_is_counted_anew(importer: Importer) -> None:
    import_id = importer.begin(WRONG)
    importer.read(import_id)
    before = counted(importer, import_id)
    shop_id, now = importer.catalogue.shop_id, importer.catalogue.now
    operations.read_again(importer.conn, shop_id, import_id, Settings("GBP", make_codes=True), ANNA, now)
    assert counted(importer, import_id) == {}
    assert importer.run(import_id).effect is None
    importer.read(import_id)
    assert counted(importer, import_id) == before


def test_what_applying_would_do_is_kept_when_it_was_read_and_when_it_stops(importer: Importer) -> None:
    place = open_location(importer.conn, importer.catalogue.shop_id, "Main", importer.catalogue.now)
    head, *rows = MUGS.splitlines()
    text = "\n".join([f"{head},Variant Inventory Qty", *(f"{row},5" for row in rows), ""])
    import_id = importer.begin(text, location_id=place)
    run = importer.read(import_id)
    shop_id, now = importer.catalogue.shop_id, importer.catalogue.now
    assert run.effect == queries.effect(importer.conn, shop_id, import_id)
    assert run.effect is not None
    assert (run.effect.new_skus, run.effect.counted_skus, run.effect.units_up) == (3, 3, 15)
    importer.apply(import_id, batches=1, limit=1)
    operations.stop(importer.conn, shop_id, import_id, ANNA, now)
    assert holding.granted_stop(importer.conn, importer.run(import_id), now)
    stopped = importer.run(import_id)
    assert stopped.effect == queries.effect(importer.conn, shop_id, import_id)
    assert stopped.effect is not None
    assert (stopped.effect.new_skus, stopped.effect.counted_skus) == (1, 1)


def test_connections_that_would_be_told_are_counted(importer: Importer) -> None:
    importer.whole(MUGS)
    conn, shop_id = importer.conn, importer.catalogue.shop_id
    target = make_connection(
        conn, shop_id, guarantee_class=TARGET_CLASS, vendor="klaviyo", name="Klaviyo", locations={}
    )
    channel = make_connection(conn, shop_id, name="Shopify UK", locations={})
    make_connection(conn, shop_id, name="Told of nothing", locations={})
    for row in fetch(conn, "select id from products where shop_id = %(s)s", s=shop_id):
        execute(
            conn,
            """
            insert into product_links (shop_id, connection_id, product_id, state, next_at, created_at, updated_at)
            values (%(shop)s, %(connection)s, %(product)s, 'in_step', now(), now(), now())
            """,
            shop=shop_id,
            connection=channel.id,
            product=row["id"],
        )
    cups = "cup,Cup,,,,Title,Default Title,CUP,1.00,,active\n"
    import_id = importer.begin(MUGS.replace("9.50", "9.90") + cups)
    effect = importer.read(import_id).effect
    assert effect is not None
    assert effect.products_by_connection == {target.name: 2, channel.name: 1}
    assert importer.apply(import_id).counts["applied"] == 2
    assert queries.effect(conn, shop_id, import_id).products_by_connection == {}


def test_what_cannot_go_on_says_what_is_left(importer: Importer) -> None:
    import_id = importer.begin(MUGS)
    importer.read(import_id)
    importer.apply(import_id, batches=1, limit=1)
    holding.fail(importer.conn, importer.catalogue.shop_id, import_id, "the disk is full", importer.catalogue.now)
    run = importer.run(import_id)
    assert (run.state, run.problem) == ("stopped", "the disk is full")
    assert run.effect == queries.effect(importer.conn, importer.catalogue.shop_id, import_id)


# --- what a file is ---------------------------------------------------------------------------------------------------


def seen(catalogue: Catalogue, tmp_path: Path, data: bytes, name: str) -> Seen:
    """What an uploaded file of these bytes is."""
    store = LocalFolder(tmp_path / "documents", "http://127.0.0.1:9/documents", ("k" * 43 + "=",))
    made = files.announce(
        catalogue.conn, store, catalogue.shop_id, uploads.KIND, name, None, len(data), "ada", catalogue.now
    )
    files.stored(catalogue.conn, made.key, store.put(made.key, [data], len(data)), catalogue.now)
    return uploads.look(catalogue.conn, store, catalogue.shop_id, made.document_id, "GBP", catalogue.now)


def test_a_file_is_known_by_its_heads_and_shows_what_its_columns_hold(catalogue: Catalogue, tmp_path: Path) -> None:
    shopify = seen(catalogue, tmp_path, MUGS.encode(), "goods.csv")
    assert (shopify.form, shopify.has_reasons) == ("shopify", False)
    assert shopify.samples["Variant SKU"] == ["MUG-S", "MUG-L", "JUG"]
    assert shopify.samples["Vendor"] == ["Kiln"]
    own = seen(catalogue, tmp_path, "Artikelnummer;Bezeichnung;Preis;\nA-1;Tasse;'=9\n".encode("utf-16"), "own.txt")
    assert own.form is None
    assert own.suggested.columns == {"title": "Bezeichnung", "code": "Artikelnummer", "price": "Preis"}
    assert own.samples == {"Artikelnummer": ["A-1"], "Bezeichnung": ["Tasse"], "Preis": ["=9"]}
    with pytest.raises(NotProducts, match="a file of orders"):
        seen(catalogue, tmp_path, b"Lineitem name,Total\nMug,3\n", "sold.csv")


def test_of_a_large_file_only_the_beginning_is_copied(
    catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_BEGINNING", 2_000)
    text = MUGS + "".join(f"p-{n},Größe {n},,,,Title,Default Title,P-{n},1.00,,active\n" for n in range(2_000))
    store = LocalFolder(tmp_path / "documents", "http://127.0.0.1:9/documents", ("k" * 43 + "=",))
    for name, data in (("a.csv", text.encode()), ("a.csv.gz", gzip.compress(text.encode()))):
        found = seen(catalogue, tmp_path, data, name)
        assert (found.form, found.samples["Title"]) == ("shopify", ["Mug", "Jug", "Größe 0"])
        key = files.announce(
            catalogue.conn, store, catalogue.shop_id, uploads.KIND, name, None, len(data), "ada", catalogue.now
        ).key
        store.put(key, [data], len(data))
        with uploads.local_file(store, key, name, whole=False) as path:
            some = path.read_text(encoding="utf-8")
        assert text.startswith(some)
        assert some.endswith("\n")
        assert 1_500 < len(some.encode()) <= 2_000
    # The keys of JSON may come late: it is read to its end.
    many = [{"handle": f"p-{n}", "title": "A mug"} for n in range(200)] + [{"sku": "MUG", "price": "1.00"}]
    assert "price" in seen(catalogue, tmp_path, json.dumps(many).encode(), "a.json").heads


def test_a_file_is_begun_once_until_it_is_over(importer: Importer, tmp_path: Path) -> None:
    conn, shop_id, now = importer.conn, importer.catalogue.shop_id, importer.catalogue.now
    store = LocalFolder(tmp_path / "documents", "http://127.0.0.1:9/documents", ("k" * 43 + "=",))
    made = files.announce(conn, store, shop_id, uploads.KIND, "goods.csv", None, 10, "ada", now)
    files.stored(conn, made.key, store.put(made.key, [b"sku\nA\n"], 10), now)
    first, is_new = operations.begin_once(conn, shop_id, made.document_id, Settings("GBP"), ANNA, now)
    assert is_new
    assert operations.begin_once(conn, shop_id, made.document_id, Settings("GBP"), ANNA, now) == (first, False)
    execute(conn, "update import_runs set state = 'applied' where shop_id = %(s)s", s=shop_id)
    again, is_new = operations.begin_once(conn, shop_id, made.document_id, Settings("GBP"), ANNA, now)
    assert (again > first, is_new) == (True, True)
    assert reading.last_row(conn, queries.run(conn, shop_id, again)) == 0
    assert queries.run(conn, shop_id, again).created_at - now == timedelta()
