"""What goes wrong with one product of an import, its stock or its undo stays with that one, and is told by reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from core.catalog.imports.mapping import Mapping
from core.catalog.products import queries as products
from core.catalog.products.documents import VariantDocument
from core.catalog.products.operations import NothingToTakeBack
from core.db import execute, fetch, scalar
from core.desk.booking import Item
from core.desk.operations import adjust
from core.desk.rules import UNITS_MAX
from core.importing import applying, holding, operations, queries, undoing
from core.importing.holding import AtAnotherStep
from core.importing.operations import NotNow
from core.importing.queries import Settings, heads_key
from core.inventory.bundles import set_components
from core.inventory.operations import open_location
from tests.catalog.conftest import ANNA, Catalogue
from tests.catalog.importer import Importer

HEADS = "Handle,Title,Variant SKU,Variant Price,Variant Inventory Qty"
SHIRT = """Handle,Title,Option1 Name,Option1 Value,Variant SKU,Variant Price
shirt,Shirt,Size,{first},D1,9.50
"""


@pytest.fixture
def importer(catalogue: Catalogue, tmp_path: Path) -> Importer:
    return Importer(catalogue, tmp_path)


@pytest.fixture
def place(importer: Importer) -> int:
    return open_location(importer.conn, importer.catalogue.shop_id, "Main", importer.catalogue.now)


def goods(*units: int) -> str:
    return HEADS + "\n" + "".join(f"p{n},P {n},C{n},1.00,{number}\n" for n, number in enumerate(units))


def fates(importer: Importer, import_id: int) -> dict[str, tuple[str | None, str | None]]:
    found = queries.items(importer.conn, importer.catalogue.shop_id, import_id)
    return {item.handle: (item.fate, item.detail) for item in found}


def on_hand(importer: Importer) -> dict[str, int]:
    rows = fetch(
        importer.conn,
        """
        select s.code, k.on_hand from stock_levels k join skus s on s.shop_id = k.shop_id and s.id = k.sku_id
        where k.shop_id = %(s)s and k.on_hand <> 0
        """,
        s=importer.catalogue.shop_id,
    )
    return {row["code"]: row["on_hand"] for row in rows}


def spoil(importer: Importer, import_id: int, handles: Sequence[str], value: str) -> None:
    """Have what was read be what no database takes; no file of ours is read so, and the next form may be."""
    execute(
        importer.conn,
        """
        update import_items set document = jsonb_set(document, '{variants,0,price_minor}', %(value)s::jsonb)
        where shop_id = %(s)s and import_id = %(i)s and handle = any(%(handles)b::text[])
        """,
        s=importer.catalogue.shop_id,
        i=import_id,
        value=value,
        handles=handles,
    )


# --- applying ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [str(10**30), '"free"'])
@pytest.mark.parametrize("limit", [1, 3, 200])
def test_one_product_that_cannot_be_written_keeps_no_other_from_it(
    importer: Importer, place: int, value: str, limit: int
) -> None:
    import_id = importer.begin(goods(1, 2, 3, 4, 5, 6, 7), location_id=place)
    importer.read(import_id)
    spoil(importer, import_id, ["p1", "p5"], value)
    run = importer.apply(import_id, limit=limit)
    assert (run.state, run.counts["applied"], run.counts["refused"]) == ("applied", 5, 2)
    assert set(importer.documents()) == {"p0", "p2", "p3", "p4", "p6"}
    assert on_hand(importer) == {"C0": 1, "C2": 3, "C3": 4, "C4": 5, "C6": 7}
    told = fates(importer, import_id)
    assert [handle for handle, (fate, _) in told.items() if fate == "failed"] == ["p1", "p5"]
    assert "our program failed at it" in str(told["p1"][1])
    assert value.strip('"') not in str(told["p1"][1])
    assert queries.refused(importer.conn, importer.catalogue.shop_id, import_id).keys() == {3, 7}


def test_what_may_succeed_later_is_no_fault_of_a_product(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    import_id = importer.begin(goods(1, 2))
    importer.read(import_id)
    operations.apply(importer.conn, importer.catalogue.shop_id, import_id, ANNA, importer.catalogue.now)
    lost = OperationalError("update", {}, Exception("server closed the connection"), connection_invalidated=True)

    def losing(*_: object, **__: object) -> None:
        raise lost

    monkeypatch.setattr(applying, "put_products", losing)
    held = holding.held(importer.conn, importer.catalogue.shop_id, import_id, "applying")
    with pytest.raises(OperationalError):
        applying.apply_batch(importer.conn, held, importer.catalogue.now)
    assert {fate for fate, _ in fates(importer, import_id).values()} == {None}
    monkeypatch.undo()
    assert importer.apply(import_id).counts["applied"] == 2


# --- stock ------------------------------------------------------------------------------------------------------------


def test_stock_that_can_be_set_is_and_the_rest_is_told_of_its_product(importer: Importer, place: int) -> None:
    text = goods(4, -3, UNITS_MAX + 1, 6, UNITS_MAX)
    import_id = importer.begin(text, location_id=place)
    importer.read(import_id)
    run = importer.apply(import_id, limit=200)
    assert (run.counts["applied"], run.counts["refused"]) == (5, 0)
    assert on_hand(importer) == {"C0": 4, "C3": 6, "C4": UNITS_MAX}
    told = fates(importer, import_id)
    assert {handle: fate for handle, (fate, _) in told.items()} == {
        "p0": "done",
        "p1": "unbooked",
        "p2": "unbooked",
        "p3": "done",
        "p4": "done",
    }
    assert told["p1"][1] == "C1: -3 is no number of units on hand"
    assert "C2: from 0 to 1,000,001" in str(told["p2"][1])


def test_other_skus_of_the_same_product_are_set(importer: Importer, place: int) -> None:
    text = (
        "Handle,Title,Option1 Name,Option1 Value,Variant SKU,Variant Inventory Qty\n"
        "tee,Tee,Size,S,T-S,-2\ntee,,,M,T-M,8\n"
    )
    run = importer.whole(text, location_id=place)
    assert on_hand(importer) == {"T-M": 8}
    assert fates(importer, run.id) == {"tee": ("unbooked", "T-S: -2 is no number of units on hand")}


def test_numbers_of_what_has_no_stock_are_told(importer: Importer, place: int) -> None:
    importer.whole(goods(0, 0, 0))
    shop_id = importer.catalogue.shop_id
    set_components(importer.conn, shop_id, "C0", {"C2": 2}, ANNA, importer.catalogue.now)
    execute(importer.conn, "update skus set is_stocked = false where shop_id = %(s)s and code = 'C1'", s=shop_id)
    run = importer.whole(goods(5, 6, 7), location_id=place)
    assert on_hand(importer) == {"C2": 7}
    assert fates(importer, run.id) == {
        "p0": ("done", "C0 is a bundle, whose stock is that of its parts: 5 was not set"),
        "p1": ("done", "C1 is not stocked: 6 was not set"),
        "p2": ("done", None),
    }


# --- taking back ------------------------------------------------------------------------------------------------------


def undo_some(importer: Importer, import_id: int, batches: int) -> None:
    conn, shop_id, now = importer.conn, importer.catalogue.shop_id, importer.catalogue.now
    operations.undo(conn, shop_id, import_id, ANNA, now)
    for _ in range(batches):
        undoing.undo_batch(conn, holding.held(conn, shop_id, import_id, "undoing"), now, 2)


def stop(importer: Importer, import_id: int) -> None:
    conn, shop_id, now = importer.conn, importer.catalogue.shop_id, importer.catalogue.now
    operations.stop(conn, shop_id, import_id, ANNA, now)
    assert holding.granted_stop(conn, importer.run(import_id), now)


def test_goods_that_are_gone_keep_their_document_alone(importer: Importer, place: int) -> None:
    run = importer.whole(goods(5, 5, 5, 5, 5), location_id=place)
    catalogue = importer.catalogue
    adjust(importer.conn, catalogue.shop_id, place, [Item("C0", -1)], "sold", ANNA, catalogue.now)
    undone = importer.undo(run.id)
    assert (undone.state, undone.counts["undone"], undone.counts["kept"]) == ("undone", 5, 0)
    assert importer.documents() == {}
    assert on_hand(importer) == {"C0": 4, "C1": 5}
    (said,) = undone.stock_kept
    assert "cannot be undone" in said
    assert "C0" in said


def test_stock_is_taken_back_once_however_often_the_undo_is_stopped(
    importer: Importer, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undoing, "DOCUMENTS", 1)
    run = importer.whole(goods(1, 2, 3, 4, 5), location_id=place)
    undo_some(importer, run.id, 1)
    stop(importer, run.id)
    assert on_hand(importer) == {"C0": 1, "C1": 2, "C2": 3, "C3": 4}
    with pytest.raises(NotNow, match="cannot be applied: it is taken back in part"):
        operations.apply(importer.conn, importer.catalogue.shop_id, run.id, ANNA, importer.catalogue.now)
    undo_some(importer, run.id, 4)
    stop(importer, run.id)
    assert on_hand(importer) == {}
    assert 0 < importer.run(run.id).counts["undone"] < 5
    undone = importer.undo(run.id)
    assert (undone.state, undone.counts["undone"], undone.stock_kept) == ("undone", 5, [])
    assert importer.documents() == {}


def test_stock_of_products_that_stay_as_they_are_is_taken_back_too(importer: Importer, place: int) -> None:
    importer.whole(goods(1, 1))
    run = importer.whole(goods(3, 4), location_id=place)
    assert run.counts["unchanged"] == 2
    undo_some(importer, run.id, 1)
    stop(importer, run.id)
    assert importer.undo(run.id).state == "undone"
    assert on_hand(importer) == {}


def two_sizes(importer: Importer) -> tuple[int, int]:
    """A shirt whose size S an import made M, and to which S was added since: (product, import)."""
    importer.whole(SHIRT.format(first="S"))
    run = importer.whole(SHIRT.format(first="M"))
    catalogue = importer.catalogue
    product_id = products.ids_by_handle(importer.conn, catalogue.shop_id, ["shirt"])["shirt"]
    shirt = importer.documents()["shirt"]
    assert [v.option_values for v in shirt.variants] == [("M",)]
    more = replace(shirt, variants=(*shirt.variants, VariantDocument("D2", "GBP", ("S",), price_minor=950)))
    catalogue.save(more, product_id, 2)
    return product_id, run.id


def test_an_undo_writes_no_product_that_could_not_be_saved(importer: Importer) -> None:
    _, import_id = two_sizes(importer)
    before = importer.documents()
    undone = importer.undo(import_id)
    assert (undone.state, undone.counts["undone"], undone.counts["kept"]) == ("undone", 0, 1)
    assert importer.documents() == before
    (kept,) = queries.items(importer.conn, importer.catalogue.shop_id, import_id, "kept")
    assert (kept.undo_fate, kept.undo_detail) == ("barred", "the product 2 of its variants are “S”")


def test_a_version_is_not_taken_back_where_that_leaves_no_product(importer: Importer) -> None:
    product_id, _ = two_sizes(importer)
    before = importer.documents()
    with pytest.raises(NothingToTakeBack, match="could not be kept: the product 2 of its variants are “S”"):
        importer.catalogue.undo(product_id, 2)
    assert importer.documents() == before


# --- reading anew, mappings -------------------------------------------------------------------------------------------


def test_what_was_read_before_a_file_is_read_anew_is_not_noted(importer: Importer) -> None:
    conn, shop_id, now = importer.conn, importer.catalogue.shop_id, importer.catalogue.now
    import_id = importer.begin(goods(1))
    before = importer.run(import_id)
    operations.read_again(conn, shop_id, import_id, Settings("EUR"), ANNA, now)
    assert importer.run(import_id).generation == before.generation + 1
    with pytest.raises(AtAnotherStep):
        holding.held(conn, shop_id, import_id, "reading", 0, before.generation)
    assert holding.held(conn, shop_id, import_id, "reading", 0, before.generation + 1).settings.currency == "EUR"


def test_a_mapping_of_many_long_heads_is_remembered(importer: Importer) -> None:
    conn, shop_id, now = importer.conn, importer.catalogue.shop_id, importer.catalogue.now
    heads = ["Name", "Code", *(f"Column {n} {hash_of(n)}" for n in range(300))]
    mapping = Mapping(columns={"title": "Name", "code": "Code"})
    operations.remember_mapping(conn, shop_id, heads, mapping, ANNA, now)
    assert queries.remembered_mapping(conn, shop_id, list(reversed(heads))) == mapping
    assert queries.remembered_mapping(conn, shop_id, heads[:-1]) is None
    assert len(scalar(conn, "select heads_key from import_mappings where shop_id = %(s)s", s=shop_id)) == 64


def hash_of(number: int) -> str:
    """Letters that no index makes shorter."""
    return heads_key([f"head {number}"])
