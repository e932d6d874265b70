"""What happens between a dry run and its application, and what an undo leaves: categories, metafields, SKUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.catalog.categories import operations as categories
from core.catalog.products import operations as products
from core.catalog.products.fields import Definition
from core.db import execute, fetch, fetch_one
from core.importing import queries
from tests.catalog.conftest import ANNA, Catalogue
from tests.catalog.importer import Importer

HEAD = "Handle,Title,Product Category,Variant SKU\n"


@pytest.fixture
def importer(catalogue: Catalogue, tmp_path: Path) -> Importer:
    return Importer(catalogue, tmp_path)


def paths(importer: Importer) -> dict[str, int]:
    rows = fetch(importer.conn, "select path, id from categories where shop_id = %(s)s", s=importer.catalogue.shop_id)
    return {row["path"]: row["id"] for row in rows}


def rename(importer: Importer, path: str, name: str, parent: str | None = None) -> None:
    known = paths(importer)
    shop_id, now = importer.catalogue.shop_id, importer.catalogue.now
    categories.move(importer.conn, shop_id, known[path], known[parent] if parent else None, name, ANNA, now)


def make(importer: Importer, *wanted: tuple[str, ...]) -> None:
    categories.ensure_paths(importer.conn, importer.catalogue.shop_id, wanted, importer.catalogue.now)


def shown(importer: Importer) -> dict[str, list[str]]:
    """By handle, the categories that each product is in."""
    known = {number: path for path, number in paths(importer).items()}
    return {handle: [known[c] for c in document.categories] for handle, document in importer.documents().items()}


# --- Categories ------------------------------------------------------------------------------------------------------


def test_a_category_that_was_renamed_meanwhile_is_followed(importer: Importer) -> None:
    make(importer, ("Home", "Mugs"))
    import_id = importer.begin(HEAD + "mug,Mug,Home > Mugs,MUG\nnew,New,Home > Pots,POT\n")
    importer.read(import_id)
    rename(importer, "Home > Mugs", "Cups", parent="Home")
    rename(importer, "Home", "House")
    importer.apply(import_id)
    assert set(paths(importer)) == {"House", "House > Cups", "House > Pots"}
    assert shown(importer) == {"mug": ["House > Cups"], "new": ["House > Pots"]}


def test_a_category_that_was_moved_while_the_file_was_read_is_one(importer: Importer) -> None:
    make(importer, ("Mugs",))
    import_id = importer.begin(HEAD + "a,A,Mugs,A\nb,B,Mugs,B\n")
    importer.read(import_id, batch=1, batches=1)
    rename(importer, "Mugs", "Cups")
    run = importer.read(import_id, batch=1)
    assert list(run.new_categories) == []
    importer.apply(import_id)
    assert shown(importer) == {"a": ["Cups"], "b": ["Cups"]}


def test_a_category_that_the_import_made_is_followed_when_it_goes_on(importer: Importer) -> None:
    import_id = importer.begin(HEAD + "a,A,Toys > Cars,A\nb,B,Toys > Cars,B\nc,C,Toys > Dolls,C\n")
    importer.read(import_id)
    importer.apply(import_id, batches=1, limit=1)
    rename(importer, "Toys", "Games")
    importer.apply(import_id)
    assert set(paths(importer)) == {"Games", "Games > Cars", "Games > Dolls"}
    assert shown(importer) == {"a": ["Games > Cars"], "b": ["Games > Cars"], "c": ["Games > Dolls"]}


def test_a_category_that_is_gone_keeps_its_products_alone_from_being_applied(importer: Importer) -> None:
    make(importer, ("Mugs",))
    import_id = importer.begin(HEAD + "mug,Mug,Mugs,MUG\npot,Pot,Pots,POT\n")
    importer.read(import_id)
    categories.remove(importer.conn, importer.catalogue.shop_id, paths(importer)["Mugs"], ANNA, importer.catalogue.now)
    run = importer.apply(import_id)
    assert (run.counts["applied"], run.counts["refused"]) == (1, 1)
    assert set(paths(importer)) == {"Pots"}
    found = queries.refused(importer.conn, importer.catalogue.shop_id, import_id)
    assert found == {2: ("failed", "its category “Mugs” was removed after the file was read")}


def test_two_names_of_one_category_are_one(importer: Importer) -> None:
    make(importer, ("Mugs",))
    head = "Handle,Title,Category 1,Category 2,Variant SKU\n"
    import_id = importer.begin(head + "a,A,Mugs,,A\nb,B,Mugs,Cups,B\n")
    importer.read(import_id, batch=1, batches=1)
    rename(importer, "Mugs", "Cups")
    importer.read(import_id, batch=1)
    assert importer.apply(import_id).counts["refused"] == 0
    assert shown(importer) == {"a": ["Cups"], "b": ["Cups"]}


# --- Metafields ------------------------------------------------------------------------------------------------------

FIELD = "Metafield: custom.size"


def sized(importer: Importer, handle: str, type_: str, value: str, name: str) -> int:
    head = f"Handle,Title,Variant SKU,{FIELD} [{type_}]\n"
    return importer.begin(head + f"{handle},{handle},{handle},{value}\n", name=name)


def test_two_files_that_want_one_metafield_of_two_types_are_told(importer: Importer) -> None:
    first = sized(importer, "a", "integer", "7", "first.csv")
    importer.read(first)
    second = sized(importer, "b", "text", "large", "second.csv")
    importer.read(second)
    (problem,) = queries.items(importer.conn, importer.catalogue.shop_id, second)[0].problems
    assert problem["column"] == "custom.size"
    assert problem["sentence"] == (
        f"import {first} (first.csv), which is not applied yet, makes custom.size a metafield of whole numbers,"
        " and this file one of text"
    )
    assert problem["fix"] == f"apply or discard import {first} and read this file again, or give both the same type"
    assert problem["severity"] == "warning"


def test_what_does_not_fit_a_metafield_that_was_defined_meanwhile_is_not_applied(importer: Importer) -> None:
    first = sized(importer, "a", "integer", "7", "first.csv")
    importer.read(first)
    second = importer.begin(f"Handle,Title,Variant SKU,{FIELD} [text]\nb,B,B,large\nc,C,C,\n", name="second.csv")
    importer.read(second)
    importer.apply(first)
    run = importer.apply(second)
    assert (run.counts["applied"], run.counts["refused"]) == (1, 1)
    found = queries.refused(importer.conn, importer.catalogue.shop_id, second)
    why = "custom.size is a metafield of whole numbers by now: it was defined after the file was read"
    assert found == {2: ("failed", why)}


def test_a_file_that_names_another_type_than_the_metafield_has_is_told(importer: Importer) -> None:
    shop_id, now = importer.catalogue.shop_id, importer.catalogue.now
    definition = Definition("product", "custom.size", "Size", "integer")
    products.define_metafield(importer.conn, shop_id, definition, ANNA, now)
    import_id = sized(importer, "b", "text", "7", "goods.csv")
    assert importer.read(import_id).counts["created"] == 1
    (problem,) = queries.items(importer.conn, shop_id, import_id)[0].problems
    assert (problem["column"], problem["severity"]) == ("custom.size", "warning")
    assert problem["sentence"] == "the file calls custom.size text, and here it is a metafield of whole numbers"
    assert problem["fix"] == "it is read as what it is here; rename the column if it is another fact"


def test_a_file_that_contradicts_itself_about_a_type_is_told(importer: Importer) -> None:
    text = (
        "Handle,Title,Variant SKU,Metafield Namespace,Metafield Key,Metafield Value,Metafield Value Type\n"
        "a,A,A,,,,\na,,,custom,size,7,integer\nb,B,B,,,,\nb,,,custom,size,large,text\n"
    )
    import_id = importer.begin(text)
    importer.read(import_id)
    assert importer.problems(import_id)[0] == (
        "the file calls custom.size text, and in an earlier row it is a metafield of whole numbers"
    )


def test_types_are_known_by_shopifys_names(importer: Importer) -> None:
    importer.whole(f"Handle,Title,Variant SKU,{FIELD} [number_integer]\na,A,A,7\n")
    assert importer.documents()["a"].metafields == {"custom.size": 7}


# --- SKUs after an undo ----------------------------------------------------------------------------------------------


def of_channel(importer: Importer, code: str) -> None:
    execute(
        importer.conn,
        """
        insert into skus (shop_id, code, title, barcode, is_stocked, created_at)
        values (%(s)s, %(code)s, 'Of the channel', null, true, %(now)s)
        """,
        s=importer.catalogue.shop_id,
        code=code,
        now=importer.catalogue.now,
    )


def sku(importer: Importer, code: str) -> tuple[str, str | None]:
    row = fetch_one(
        importer.conn,
        "select title, barcode from skus where shop_id = %(s)s and code = %(code)s",
        s=importer.catalogue.shop_id,
        code=code,
    )
    assert row is not None
    return row["title"], row["barcode"]


CHAIR = "Handle,Title,Variant SKU,Variant Barcode\nchair,Chair,CH-1,4006381333931\n"


def test_an_undo_gives_a_sku_its_own_name_and_barcode_again(importer: Importer) -> None:
    of_channel(importer, "CH-1")
    run = importer.whole(CHAIR)
    assert sku(importer, "CH-1") == ("Chair", "4006381333931")
    importer.undo(run.id)
    assert sku(importer, "CH-1") == ("Of the channel", None)


def test_a_variant_that_is_taken_out_again_leaves_its_sku_as_it_was(importer: Importer) -> None:
    of_channel(importer, "CH-1")
    importer.whole("Handle,Title,Option1 Name,Option1 Value,Variant SKU\nchair,Chair,Size,S,CH-0\n")
    run = importer.whole("Handle,Title,Option1 Name,Option1 Value,Variant SKU\nchair,Chair,Size,L,CH-1\n")
    importer.undo(run.id)
    assert sku(importer, "CH-1") == ("Of the channel", None)
    assert sku(importer, "CH-0") == ("Chair – S", None)


def test_what_a_sku_was_called_since_stays(importer: Importer) -> None:
    of_channel(importer, "CH-1")
    run = importer.whole(CHAIR)
    execute(importer.conn, "update skus set title = 'Stool' where shop_id = %(s)s", s=importer.catalogue.shop_id)
    importer.undo(run.id)
    assert sku(importer, "CH-1") == ("Stool", None)
