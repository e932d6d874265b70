"""A file of products is read without effect, applied in batches, stopped, gone on with, and taken back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.catalog.imports.mapping import Mapping
from core.catalog.products import queries as products
from core.catalog.products.documents import VariantDocument
from core.catalog.products.fields import COST
from core.db import execute, fetch, scalar
from core.importing import holding, operations, queries
from core.importing.holding import AtAnotherStep
from core.importing.operations import NotNow
from core.importing.queries import Settings
from core.inventory.operations import open_location
from tests.catalog.conftest import ANNA, Catalogue
from tests.catalog.importer import Importer

HEADS = "Handle,Title,Vendor,Type,Tags,Option1 Name,Option1 Value,Variant SKU,Variant Price,Variant Barcode,Status"
MUGS = f"""{HEADS}
mug,Mug,Kiln,Kitchen,"blue, clay",Size,S,MUG-S,9.50,,active
mug,,,,,,L,MUG-L,11.00,4006381333931,
jug,Jug,Kiln,Kitchen,,Title,Default Title,JUG,20.00,,draft
"""


@pytest.fixture
def importer(catalogue: Catalogue, tmp_path: Path) -> Importer:
    return Importer(catalogue, tmp_path)


def test_reading_changes_nothing_and_says_what_applying_would(importer: Importer) -> None:
    import_id = importer.begin(MUGS)
    run = importer.read(import_id)
    assert (run.state, run.form) == ("read", "shopify")
    assert {n: run.counts[n] for n in ("rows_read", "items", "created", "updated", "unchanged", "rejected")} == {
        "rows_read": 3,
        "items": 2,
        "created": 2,
        "updated": 0,
        "unchanged": 0,
        "rejected": 0,
    }
    assert importer.documents() == {}
    effect = queries.effect(importer.conn, importer.catalogue.shop_id, import_id)
    assert (effect.new_skus, effect.counted_skus, effect.listings) == (3, 0, 0)


def test_what_was_read_is_applied(importer: Importer) -> None:
    run = importer.whole(MUGS)
    assert (run.state, run.counts["applied"], run.counts["refused"]) == ("applied", 2, 0)
    mug = importer.documents()["mug"]
    assert (mug.title, mug.vendor, mug.tags, mug.options) == ("Mug", "Kiln", ("blue", "clay"), ("Size",))
    assert mug.variants == (
        VariantDocument("MUG-S", "GBP", ("S",), price_minor=950),
        VariantDocument("MUG-L", "GBP", ("L",), price_minor=1100, barcode="4006381333931"),
    )
    assert importer.documents()["jug"].status == "draft"


def test_the_same_file_again_changes_nothing(importer: Importer) -> None:
    importer.whole(MUGS)
    again = importer.read(importer.begin(MUGS))
    assert (again.counts["unchanged"], again.counts["created"] + again.counts["updated"]) == (2, 0)
    applied = importer.apply(again.id)
    assert (applied.state, applied.counts["applied"]) == ("applied", 0)
    assert scalar(importer.conn, "select max(version) from product_versions where shop_id = %(s)s",
                  s=importer.catalogue.shop_id) == 1  # fmt: skip


def test_a_file_changes_what_it_tells_of_and_leaves_the_rest(importer: Importer) -> None:
    importer.whole(MUGS)
    run = importer.whole("Handle,Variant SKU,Variant Price,Cost per item\nother-handle,MUG-L,12.00,4.20\n")
    assert (run.counts["updated"], run.counts["applied"]) == (1, 1)
    mug = importer.documents()["mug"]
    assert [(v.code, v.price_minor) for v in mug.variants] == [("MUG-S", 950), ("MUG-L", 1200)]
    assert mug.variants[1].metafields == {COST: {"amount_minor": 420, "currency": "GBP"}}
    assert (mug.title, mug.tags) == ("Mug", ("blue", "clay"))


def test_a_killed_reading_goes_on_where_it_was(importer: Importer) -> None:
    text = HEADS + "\n" + "".join(f"p{n},P {n},,,,,,C{n},1.00,,\n" for n in range(7))
    import_id = importer.begin(text)
    assert importer.read(import_id, batches=2).counts["items"] == 4
    run = importer.read(import_id)
    assert (run.state, run.counts["items"], run.counts["created"]) == ("read", 7, 7)


def test_a_stopped_import_goes_on_or_is_taken_back(importer: Importer) -> None:
    text = HEADS + "\n" + "".join(f"p{n},P {n},,,,,,C{n},1.00,,\n" for n in range(7))
    import_id = importer.begin(text)
    importer.read(import_id)
    importer.apply(import_id, batches=2)
    conn, shop_id, now = importer.conn, importer.catalogue.shop_id, importer.catalogue.now
    operations.stop(conn, shop_id, import_id, ANNA, now)
    assert holding.granted_stop(conn, holding.held(conn, shop_id, import_id, "applying"), now)
    assert (importer.run(import_id).state, len(importer.documents())) == ("stopped", 4)
    with pytest.raises(AtAnotherStep):
        holding.held(conn, shop_id, import_id, "applying")
    assert (importer.apply(import_id).state, len(importer.documents())) == ("applied", 7)
    undone = importer.undo(import_id)
    assert (undone.state, undone.counts["undone"], undone.counts["kept"]) == ("undone", 7, 0)
    assert importer.documents() == {}


def test_an_import_is_taken_back_but_for_what_was_changed_again(importer: Importer) -> None:
    importer.whole(MUGS)
    before = importer.documents()
    dearer = MUGS.replace("9.50", "10.50").replace("20.00", "25.00").replace("Kiln", "Other kiln")
    run = importer.whole(dearer)
    catalogue = importer.catalogue
    product_id = products.ids_by_handle(importer.conn, catalogue.shop_id, ["jug"])["jug"]
    jug = importer.documents()["jug"]
    catalogue.save(replace(jug, vendor="A third"), product_id, 2)
    mug_id = products.ids_by_handle(importer.conn, catalogue.shop_id, ["mug"])["mug"]
    catalogue.save(replace(importer.documents()["mug"], seo_title="Mugs!"), mug_id, 2)
    undone = importer.undo(run.id)
    assert (undone.counts["undone"], undone.counts["kept"]) == (1, 1)
    assert importer.documents()["mug"] == replace(before["mug"], seo_title="Mugs!")
    assert importer.documents()["jug"] == replace(jug, vendor="A third")
    (kept,) = queries.items(importer.conn, catalogue.shop_id, run.id, "kept")
    assert kept.handle == "jug"


def test_what_changed_since_it_was_read_is_not_overwritten(importer: Importer) -> None:
    importer.whole(MUGS)
    import_id = importer.begin(MUGS.replace("9.50", "1.00").replace("20.00", "2.00"))
    importer.read(import_id)
    product_id = products.ids_by_handle(importer.conn, importer.catalogue.shop_id, ["mug"])["mug"]
    mine = replace(importer.documents()["mug"], title="Mine")
    importer.catalogue.save(mine, product_id, 1)
    run = importer.apply(import_id)
    assert (run.state, run.counts["applied"], run.counts["refused"]) == ("applied", 1, 1)
    assert importer.documents()["mug"] == mine
    (refused,) = queries.items(importer.conn, importer.catalogue.shop_id, import_id, "refused")
    assert (refused.handle, refused.fate) == ("mug", "stale")


def test_rows_that_cannot_be_are_rejected_alone_with_row_column_and_fix(importer: Importer) -> None:
    text = MUGS + "bad,,,,,,,BAD,1.00,,\nworse,Worse,,,,,,WORSE,-1.00,,\njug2,Jug 2,,,,,,JUG,2.00,,\n"
    import_id = importer.begin(text)
    run = importer.read(import_id)
    rejected = queries.items(importer.conn, importer.catalogue.shop_id, import_id, "reject")
    assert run.counts["rejected"] == len(rejected) >= 3
    for item in rejected:
        assert all(problem["row"] and problem["sentence"] and problem["fix"] for problem in item.problems)
    rows = queries.rejected(importer.conn, importer.catalogue.shop_id, import_id)
    numbers = [row.number for _, outcome in rows for row in outcome.rows]
    assert numbers == sorted(numbers)
    assert set(numbers) >= {5, 6, 7}
    assert importer.apply(import_id).counts["refused"] == 0
    assert "bad" not in importer.documents()


def test_skus_of_two_products_or_a_foreign_handle_are_not_guessed(importer: Importer) -> None:
    importer.whole(MUGS)
    text = "Handle,Title,Option1 Name,Option1 Value,Variant SKU\nset,Set,Kind,a,MUG-S\nset,,,b,JUG\njug,Jug,,,MUG-L\n"
    import_id = importer.begin(text)
    run = importer.read(import_id)
    assert run.counts["rejected"] == 2
    assert importer.problems(import_id) == [
        "its SKUs are variants of different products of ours",
        "MUG-L is a variant of another product than the one with the handle jug",
    ]


def test_stock_of_the_file_is_set_where_asked_and_taken_back(importer: Importer) -> None:
    conn, shop_id = importer.conn, importer.catalogue.shop_id
    location_id = open_location(conn, shop_id, "Main", importer.catalogue.now)
    text = "Handle,Title,Variant SKU,Variant Inventory Qty\nmug,Mug,MUG,7\npot,Pot,POT,0\n"
    import_id = importer.begin(text, location_id=location_id)
    importer.read(import_id)
    effect = queries.effect(conn, shop_id, import_id)
    assert (effect.counted_skus, effect.units_up, effect.units_down) == (1, 7, 0)
    importer.apply(import_id)

    def on_hand() -> dict[str, int]:
        rows = fetch(conn, "select s.code, k.on_hand from stock_levels k join skus s on s.shop_id = k.shop_id"
                           " and s.id = k.sku_id where k.shop_id = %(s)s and k.on_hand <> 0", s=shop_id)  # fmt: skip
        return {row["code"]: row["on_hand"] for row in rows}

    assert on_hand() == {"MUG": 7}
    again = importer.whole(text.replace(",7", ",3"), location_id=location_id)
    assert (again.counts["unchanged"], on_hand()) == (2, {"MUG": 3})
    importer.undo(again.id)
    assert on_hand() == {"MUG": 7}


def test_categories_and_metafields_of_the_file_are_made_when_it_is_applied(importer: Importer) -> None:
    text = "name;sku;price;category;colour name\nMug;MUG;9,50;Home > Kitchen;blue\n"
    mapping = Mapping(
        columns={"title": "name", "code": "sku", "price": "price", "categories": "category"},
        metafields={"details.colour_name": "colour name"},
        decimals=",",
    )
    import_id = importer.begin(text, mapping=mapping)
    run = importer.read(import_id)
    assert (list(run.new_categories), [told["key"] for told in run.new_metafields]) == (
        ["Home > Kitchen"],
        ["details.colour_name"],
    )
    count = "select count(*) from categories where shop_id = %(s)s"
    assert scalar(importer.conn, count, s=importer.catalogue.shop_id) == 0
    importer.apply(import_id)
    (mug,) = importer.documents().values()
    assert (mug.variants[0].price_minor, len(mug.categories)) == (950, 1)
    fields = {**mug.metafields, **mug.variants[0].metafields}
    assert fields == {"details.colour_name": "blue"}
    assert importer.read(importer.begin(text, mapping=mapping)).counts["unchanged"] == 1


def test_a_mapping_is_remembered_for_files_of_the_same_heads(importer: Importer) -> None:
    conn, shop_id, now = importer.conn, importer.catalogue.shop_id, importer.catalogue.now
    mapping = Mapping(columns={"title": "Name", "code": "Art. No"})
    operations.remember_mapping(conn, shop_id, ["Name", "Art. No", "x"], mapping, ANNA, now)
    assert queries.remembered_mapping(conn, shop_id, ["x", "art no", "NAME"]) == mapping
    assert queries.remembered_mapping(conn, shop_id, ["x", "Name"]) is None


def test_steps_out_of_turn_are_refused_in_words(importer: Importer) -> None:
    conn, shop_id, now = importer.conn, importer.catalogue.shop_id, importer.catalogue.now
    import_id = importer.begin(MUGS)
    with pytest.raises(NotNow, match="cannot be applied: it is being read"):
        operations.apply(conn, shop_id, import_id, ANNA, now)
    importer.read(import_id)
    with pytest.raises(NotNow, match="cannot be taken back: it is read and waits for a decision"):
        operations.undo(conn, shop_id, import_id, ANNA, now)
    operations.read_again(conn, shop_id, import_id, Settings("EUR"), ANNA, now)
    assert importer.read(import_id).counts["created"] == 2
    operations.discard(conn, shop_id, import_id, ANNA, now)
    with pytest.raises(NotNow, match="it is discarded"):
        operations.apply(conn, shop_id, import_id, ANNA, now)
    assert importer.documents() == {}


def test_what_a_channel_told_of_a_sku_stays_where_the_file_is_silent(importer: Importer) -> None:
    conn, shop_id = importer.conn, importer.catalogue.shop_id
    execute(
        conn,
        """
        insert into skus (shop_id, code, title, barcode, is_stocked, created_at)
        values (%(s)s, 'CH-1', 'Of the channel', '4006381333931', false, %(now)s)
        """,
        s=shop_id,
        now=importer.catalogue.now,
    )
    importer.whole("Handle,Title,Variant SKU,Variant Price\nchair,Chair,CH-1,12.00\n")
    (chair,) = importer.documents().values()
    assert chair.variants == (
        VariantDocument("CH-1", "GBP", barcode="4006381333931", price_minor=1200, is_stocked=False),
    )
    assert scalar(conn, "select barcode from skus where shop_id = %(s)s", s=shop_id) == "4006381333931"


def test_a_price_in_another_currency_leaves_no_number_of_the_old_one(importer: Importer) -> None:
    importer.whole("Handle,Title,Variant SKU,Variant Price,Variant Compare At Price\nmug,Mug,MUG,10.00,20.00\n")
    import_id = importer.begin("Handle,Variant SKU,Variant Price\nmug,MUG,1500\n", currency="JPY")
    assert importer.read(import_id).counts["rejected"] == 1
    assert "its price before is in GBP" in " ".join(importer.problems(import_id))
    both = importer.whole(
        "Handle,Variant SKU,Variant Price,Variant Compare At Price\nmug,MUG,1500,2000\n", currency="JPY"
    )
    assert both.counts["applied"] == 1
    (mug,) = importer.documents().values()
    assert mug.variants == (VariantDocument("MUG", "JPY", price_minor=1500, compare_at_minor=2000),)


def test_only_what_is_applied_defines_metafields(importer: Importer) -> None:
    head = "Handle,Title,Variant SKU,Colour (product.metafields.custom.colour),Note (product.metafields.custom.Note)"
    text = f'{head}\nbad,{"x" * 300},BAD,red,\ngood,Good,GOOD,"deep\nred",hello\n'
    import_id = importer.begin(text)
    run = importer.read(import_id)
    assert (run.counts["rejected"], run.counts["created"]) == (1, 1)
    importer.apply(import_id)
    found = products.definitions(importer.conn, importer.catalogue.shop_id)
    assert found["product", "custom.colour"].type == "multiline"
    good = importer.documents()["good"]
    assert good.metafields == {"custom.colour": "deep\nred"}
    product_id = products.ids_by_handle(importer.conn, importer.catalogue.shop_id, ["good"])["good"]
    assert importer.catalogue.save(replace(good, title="Better"), product_id, 1).fate == "done"
