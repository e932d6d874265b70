"""The catalogue as a file: what fits, with its progress, stopped, and imported again without effect."""

from __future__ import annotations

import csv
import errno
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from core.adapters.storage import LocalFolder
from core.audit import Actor
from core.catalog.categories.operations import ensure_paths
from core.catalog.exports import Layout
from core.catalog.products import queries as products
from core.catalog.products.fields import COST, Definition
from core.catalog.products.operations import define_metafield, save_product
from core.catalog.products.queries import Filters
from core.clock import utc_now
from core.connections.operations import new_key
from core.db import fetch_one, read_only, unit_of_work
from core.documents import DocumentStore
from core.errors import BadInput
from core.importing import exporting, scratch
from core.importing.exporting import Export, Kind
from tests.catalog.conftest import ANNA, Catalogue
from tests.catalog.importer import Importer
from tests.factories import BASELINE, make_shop

GOODS = (
    "Handle,Title,Vendor,Product Category,Option1 Name,Option1 Value,Variant SKU,Variant Price,Image Src,Status\n"
    'mug,"Mug, large",=Acme,Home > Mugs,Size,S,MUG-S,9.50,https://x.example/1.jpg,active\n'
    "mug,,,,,L,MUG-L,12.00,https://x.example/2.jpg,\n"
    "pot,Pot,Bolt,Home > Pots,,,POT,20.00,,draft\n"
    "jug,Jug,Bolt,,,,=JUG,1.00,,archived\n"
)


@dataclass
class Shop:
    """A shop whose catalogue is committed: exports read it in units of work of their own."""

    engine: Engine
    store: DocumentStore
    shop_id: int
    folder: Path

    def begin(self, kind: Kind = "csv", filters: Filters | None = None) -> int:
        with unit_of_work(self.engine) as conn:
            return exporting.begin(conn, self.shop_id, filters or Filters(), kind, ANNA, BASELINE)

    def write(self, export_id: int) -> Export:
        return exporting.write(self.engine, self.store, self.shop_id, export_id, lambda: BASELINE)

    def saved(self, export: Export) -> Path:
        """The file that a browser would save."""
        with read_only(self.engine) as conn:
            row = fetch_one(conn, "select key from documents where id = %(id)s", id=export.document_id)
        assert row is not None
        path = self.folder / str(export.file_name)
        with self.store.open(row["key"]) as source:
            path.write_bytes(source.read())
        return path


@pytest.fixture
def shop(catalogue_engine: Engine, tmp_path: Path) -> Shop:
    with unit_of_work(catalogue_engine) as conn:
        shop_id = make_shop(conn)
        Importer(Catalogue(conn, shop_id), tmp_path).whole(GOODS)
    store = LocalFolder(tmp_path / "documents", "http://127.0.0.1:1", (new_key(),))
    return Shop(catalogue_engine, store, shop_id, tmp_path)


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_an_export_imported_again_changes_nothing(shop: Shop, kind: Kind) -> None:
    found = shop.write(shop.begin(kind))
    assert (found.state, found.products_total, found.products_done, found.rows_done) == ("written", 3, 3, 4)
    path = shop.saved(found)
    with unit_of_work(shop.engine) as conn:
        importer = Importer(Catalogue(conn, shop.shop_id), shop.folder)
        run = importer.read(importer.begin_with(path.name))
    assert (run.counts["unchanged"], run.counts["rejected"], run.counts["warnings"]) == (3, 0, 0)


def test_only_what_fits_is_in_it_and_no_cell_is_run(shop: Shop) -> None:
    found = shop.write(shop.begin(filters=Filters(vendor="=Acme")))
    with shop.saved(found).open(encoding="utf-8-sig", newline="") as source:
        rows = list(csv.DictReader(source))
    assert [(row["Handle"], row["Vendor"], row["Option1 Value"]) for row in rows] == [
        ("mug", "'=Acme", "S"),
        ("mug", "", "L"),
    ]


def test_where_nothing_fits_nothing_is_begun(shop: Shop) -> None:
    with pytest.raises(BadInput, match="no product fits"):
        shop.begin(filters=Filters(vendor="Nobody"))


def test_one_that_is_stopped_leaves_no_file_and_stays_so(shop: Shop) -> None:
    export_id = shop.begin()
    with unit_of_work(shop.engine) as conn:
        assert exporting.stop(conn, shop.shop_id, export_id, ANNA, BASELINE)
        assert not exporting.stop(conn, shop.shop_id, export_id, ANNA, BASELINE)
    found = shop.write(export_id)
    assert (found.state, found.document_id) == ("stopped", None)


def test_one_that_is_stopped_while_it_is_written_keeps_no_file(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    export_id = shop.begin()
    monkeypatch.setattr(exporting, "BATCH", 1)
    ticks = iter(range(100))

    def clock() -> datetime:
        if next(ticks) == 3:
            with unit_of_work(shop.engine) as conn:
                exporting.stop(conn, shop.shop_id, export_id, ANNA, BASELINE)
        return BASELINE

    found = exporting.write(shop.engine, shop.store, shop.shop_id, export_id, clock)
    assert (found.state, found.products_done, found.document_id) == ("stopped", 1, None)


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_one_that_is_stopped_or_fails_leaves_nothing_on_the_disk(
    shop: Shop, kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    seen: list[str] = []

    def broken(*_: object) -> int:
        seen.extend(path.parent.name for path in (tmp_path / "temp").rglob(f"*.{kind}"))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(exporting, "_write_all", broken)
    with pytest.raises(OSError, match="No space left"):
        shop.write(shop.begin(kind))
    # It was in a folder of its own, and with it all that the writing of a workbook takes besides.
    assert len(seen) == 1
    assert list((tmp_path / "temp").iterdir()) == []


def test_a_workbook_lies_in_the_folder_of_its_file_until_it_is_packed(shop: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    with read_only(shop.engine) as conn:
        layout = exporting.layout(conn, shop.shop_id)
    with exporting.written(folder / "goods.xlsx", "xlsx", layout):
        assert len(list(folder.iterdir())) == 2
    assert [path.name for path in folder.iterdir()] == ["goods.xlsx"]


def test_what_outgrows_the_file_while_it_is_written_is_in_it(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "BATCH", 1)
    seen: list[int] = []

    def tell(done: int, _rows: int) -> None:
        seen.append(done)
        if seen == [1]:
            outgrow(shop, "pot")

    path = shop.folder / "out.csv"
    assert exporting.write_file(shop.engine, shop.shop_id, Filters(), "csv", path, tell) == (3, 4)
    assert seen == [1, 1, 2, 3]
    with path.open(encoding="utf-8-sig", newline="") as source:
        pot = next(row for row in csv.DictReader(source) if row["Handle"] == "pot")
    assert [pot[head] for head in ("Product Category", "Category 2")] == ["Home > Pots", "Kitchen > New"]
    assert [pot[head] for head in pot if head.endswith(("(variant.metafields.inventory.cost)", ".hue)"))] == [
        "3.00 EUR",
        "red",
    ]
    with unit_of_work(shop.engine) as conn:
        importer = Importer(Catalogue(conn, shop.shop_id), shop.folder)
        assert importer.read(importer.begin_with("out.csv")).counts["unchanged"] == 3


def test_a_category_that_comes_meanwhile_is_in_the_file(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "BATCH", 1)

    def tell(done: int, _rows: int) -> None:
        if done == 1:
            with unit_of_work(shop.engine) as conn:
                jug = products.ids_by_handle(conn, shop.shop_id, ["jug"])["jug"]
                found = products.stored(conn, shop.shop_id, [jug])[jug]
                made = ensure_paths(conn, shop.shop_id, [("Kitchen", "New")], BASELINE)
                document = replace(found.document, categories=tuple(made.values()))
                save_product(conn, shop.shop_id, document, ANNA, BASELINE, product_id=jug, base_version=found.version)

    path = shop.folder / "out.csv"
    exporting.write_file(shop.engine, shop.shop_id, Filters(), "csv", path, tell)
    with path.open(encoding="utf-8-sig", newline="") as source:
        assert [row["Product Category"] for row in csv.DictReader(source) if row["Handle"] == "jug"] == [
            "Kitchen > New"
        ]


def test_a_catalogue_that_outgrows_its_file_for_ever_is_given_up(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    outgrow(shop, "pot")
    # As if what a batch tells were never there when the columns are chosen.
    monkeypatch.setattr(exporting, "layout", lambda *_: Layout(1, [], costs_apart=False))
    with pytest.raises(BadInput, match="added again and again while the file was written: export again when"):
        shop.write(shop.begin())


def outgrow(shop: Shop, handle: str) -> None:
    """Give a product another category, a cost in another currency, and a fact of a kind that was not there."""
    with unit_of_work(shop.engine) as conn:
        define_metafield(conn, shop.shop_id, Definition("product", "custom.hue", "Hue", "text"), ANNA, BASELINE)
        product_id = products.ids_by_handle(conn, shop.shop_id, [handle])[handle]
        found = products.stored(conn, shop.shop_id, [product_id])[product_id]
        made = ensure_paths(conn, shop.shop_id, [("Kitchen", "New")], BASELINE)
        cost = {"amount_minor": 300, "currency": "EUR"}
        document = replace(
            found.document,
            categories=(*found.document.categories, made[("Kitchen", "New")]),
            metafields={"custom.hue": "red"},
            variants=tuple(replace(v, metafields={COST: cost}) for v in found.document.variants),
        )
        save_product(conn, shop.shop_id, document, ANNA, BASELINE, product_id=product_id, base_version=found.version)


def test_one_that_was_begun_too_often_is_given_up(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    export_id = shop.begin()

    class Killed(BaseException):
        """What no worker lives to tell of."""

    def killed(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(exporting, "write_file", killed)
    for _ in range(3):
        with pytest.raises(Killed):
            shop.write(export_id)
    found = shop.write(export_id)
    assert (found.state, found.document_id) == ("failed", None)
    assert str(found.problem).startswith("writing it was begun 3 times and broke off each time without a word")


def test_what_a_killed_worker_left_is_swept_and_nothing_that_somebody_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = (
        "import os; from core.importing import scratch\n"
        "with scratch.folder('export') as folder:\n"
        "    (folder / 'costs.csv').write_text('x'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", ended], check=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    with scratch.folder("export") as held:
        (left,) = (path for path in tmp_path.iterdir() if path != held)
        assert scratch.sweep(utc_now() - timedelta(hours=1)) == 0
        assert scratch.sweep(utc_now() + timedelta(hours=1)) == 1
        assert not left.exists()
        assert held.exists()


def test_who_left_one_behind_is_found(shop: Shop) -> None:
    export_id = shop.begin()
    with read_only(shop.engine) as conn:
        assert (shop.shop_id, export_id) not in exporting.at_work(conn, BASELINE)
        assert (shop.shop_id, export_id) in exporting.at_work(conn, BASELINE + timedelta(minutes=2))
        found = exporting.latest(conn, shop.shop_id, ANNA.name, BASELINE)
        assert found is not None
        assert found.id == export_id
        assert exporting.latest(conn, shop.shop_id, Actor("Ben", "x").name, BASELINE) is None


def test_a_text_that_no_cell_of_a_sheet_holds_is_named(shop: Shop) -> None:
    with unit_of_work(shop.engine) as conn:
        long = f'Handle,Body (HTML)\npot,"{"x" * 40_000}"\n'.replace("Body (HTML)\n", "Body (HTML),Variant SKU\n")
        Importer(Catalogue(conn, shop.shop_id), shop.folder).whole(long.rstrip("\n") + ",POT\n")
    with pytest.raises(BadInput, match=r"pot has a text of more than 32,767 characters.*export as CSV"):
        shop.write(shop.begin("xlsx"))
    assert shop.write(shop.begin("csv")).state == "written"


def test_prices_and_costs_keep_their_own_currencies(shop: Shop) -> None:
    with unit_of_work(shop.engine) as conn:
        head = "Handle,Variant SKU,Variant Price,Variant Compare At Price,Currency,Cost (variant.metafields.inventory.cost)\n"  # noqa: E501
        Importer(Catalogue(conn, shop.shop_id), shop.folder).whole(head + "pot,POT,1500,2000,JPY,7.50 EUR\n")
    path = shop.saved(shop.write(shop.begin()))
    with path.open(encoding="utf-8-sig", newline="") as source:
        pot = next(row for row in csv.DictReader(source) if row["Handle"] == "pot")
    told = [pot[name] for name in ("Variant Price", "Currency", "Cost per item")]
    assert (told, pot["Cost (variant.metafields.inventory.cost)"]) == (["1500", "JPY", ""], "7.50 EUR")
    with unit_of_work(shop.engine) as conn:
        importer = Importer(Catalogue(conn, shop.shop_id), shop.folder)
        assert importer.read(importer.begin_with(path.name)).counts["unchanged"] == 3
