"""Categories become entries of others' taxonomies: loaded, answered, inherited, accepted by the hundred, taken back."""

from __future__ import annotations

import gzip
import io

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from core.catalog.categories import operations as categories
from core.catalog.products.documents import ProductDocument, VariantDocument
from core.catalog.taxonomies import loading, operations, queries
from core.catalog.taxonomies.files import BadTaxonomy
from core.catalog.taxonomies.loading import AlreadyLoaded, NothingToBringBack
from core.catalog.taxonomies.operations import (
    NoEntry,
    NothingAnswered,
    NothingOfBatch,
    NotKlaviyo,
    SuggestionsChanged,
)
from core.catalog.taxonomies.rules import Target
from core.db import execute, fetch, scalar
from core.errors import BadInput
from tests.catalog.conftest import ANNA, Catalogue
from tests.factories import later, make_connection

GOOGLE = Target("google")
HEAD = "# Google_Product_Taxonomy_Version: 2021-09-21\n"
TEXT = """1 - Clothes & Shoes
2 - Clothes & Shoes > Clothes
3 - Clothes & Shoes > Clothes > Shirts & Tops
4 - Clothes & Shoes > Shoes
5 - House & Garden
6 - House & Garden > Kitchen
7 - House & Garden > Kitchen > Coffee Mugs
8 - House & Garden > Kitchen > Coffee Makers
9 - House & Garden > Kitchen > Coffee Maker Accessories
"""


def load(catalogue: Catalogue, text: str = HEAD + TEXT) -> loading.Loaded:
    data = io.BytesIO(text.encode())
    return loading.load_file(catalogue.conn, catalogue.shop_id, "google", "google.txt", data, ANNA, catalogue.now)


def tree(catalogue: Catalogue, *paths: str) -> dict[str, int]:
    """Categories by path, with those above them."""
    wanted = {tuple(path.split(" > ")[:depth]) for path in paths for depth in range(1, path.count(">") + 2)}
    made = categories.ensure_paths(catalogue.conn, catalogue.shop_id, wanted, catalogue.now)
    return {" > ".join(path): number for path, number in made.items()}


def answer(catalogue: Catalogue, category_id: int, ref: str, target: Target = GOOGLE) -> bool:
    return operations.map_category(
        catalogue.conn, catalogue.shop_id, target, category_id, ref, ANNA, later(since=catalogue.now)
    )


def states(catalogue: Catalogue, target: Target = GOOGLE) -> dict[str, tuple[str, str | None]]:
    found = queries.effective(catalogue.conn, catalogue.shop_id, target)
    return {each.category: (each.state, each.ref) for each in found}


# --- loading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_packed", [False, True])
def test_googles_file_is_loaded_as_it_is_published(catalogue: Catalogue, is_packed: bool) -> None:
    raw = ("\ufeff" + HEAD + TEXT.replace("\n", "\r\n")).encode()
    data = io.BytesIO(gzip.compress(raw, mtime=0) if is_packed else raw)
    done = loading.load_file(catalogue.conn, catalogue.shop_id, "google", "t", data, ANNA, catalogue.now)
    assert (done.version, done.entries, done.broken) == ("2021-09-21", 9, 0)
    rows = fetch(
        catalogue.conn,
        "select ref, name, parent_ref, is_leaf, words from taxonomy_entries where taxonomy_id = %(id)s order by ref",
        id=done.taxonomy_id,
    )
    assert tuple(rows[0].values()) == ("1", "Clothes & Shoes", None, False, ["clothing", "shoe"])
    assert tuple(rows[2].values()) == ("3", "Shirts & Tops", "2", True, ["clothing", "shoe", "shirt", "top"])
    (entry,) = fetch(catalogue.conn, "select act, actor, details from audit_entries where act = 'load_taxonomy'")
    assert (entry["actor"], entry["details"]["entries"], entry["details"]["version"]) == ("Anna", 9, "2021-09-21")


def test_shopifys_file_is_loaded_as_it_is_published(catalogue: Catalogue) -> None:
    text = (
        "# Shopify Product Taxonomy - Categories: 2024-07\n"
        "# Format: {GID} : {Ancestor name} > ... > {Category name}\n\n"
        "gid://shopify/TaxonomyCategory/hg        : House & Garden\n"
        "gid://shopify/TaxonomyCategory/hg-1-2    : House & Garden > Mugs\n"
    )
    loading.load_file(catalogue.conn, catalogue.shop_id, "shopify", "s", io.BytesIO(text.encode()), ANNA, catalogue.now)
    found = queries.find_entries(catalogue.conn, catalogue.shop_id, Target("shopify"), "hg-1-2")
    assert [(entry.ref, entry.path) for entry in found] == [
        ("gid://shopify/TaxonomyCategory/hg-1-2", "House & Garden > Mugs")
    ]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "t is empty: Google’s file with ids begins with “# Google_Product_Taxonomy_Version: …”"),
        (b"id,name\n1,Mugs\n", "t begins with “id,name”"),
        (b"# Shopify Product Taxonomy - Categories: 2024-07\n", "t is Shopify’s taxonomy: load it as that"),
        (HEAD.encode(), "t has its first line and no entries"),
        (HEAD.encode() + b"1 - Mugs\nMugs > Cups\n", "t, line 3: “Mugs > Cups” is no entry: “1604 - "),
        (HEAD.encode() + b"1 - Mugs\n1 - Cups\n", "t, line 3: 1 or its path is there twice"),
        (HEAD.encode() + b"1 - Mugs\n2 - Mugs > > Cups\n", "t, line 3: “2 - Mugs > > Cups” is no entry"),
        (HEAD.encode() + b"2 - Mugs > Cups\n", "t, line 2: “Mugs”, which is above it, is not in the file"),
        (HEAD.encode() + b"1 - " + b"x" * 3000, "t, line 2 is longer than 2,000 characters"),
        (HEAD.encode() + b"1 - M\xffgs\n", "t is no text in UTF-8"),
        (b"PK\x03\x04\xff\xff", "t is no text in UTF-8"),
        (gzip.compress(HEAD.encode() + b"1 - Mugs\n", mtime=0)[:-12], "t ends in the middle, or is damaged"),
    ],
)
def test_what_is_no_taxonomy_is_refused_with_the_line(catalogue: Catalogue, raw: bytes, said: str) -> None:
    with pytest.raises(BadTaxonomy) as refused:
        loading.load_file(catalogue.conn, catalogue.shop_id, "google", "t", io.BytesIO(raw), ANNA, catalogue.now)
    assert str(refused.value).startswith(said)
    assert queries.living(catalogue.conn, catalogue.shop_id, GOOGLE) is None


def test_a_packed_file_that_unpacks_without_end_is_refused(catalogue: Catalogue) -> None:
    raw = gzip.compress(HEAD.encode() + b"# " + b"\n".join([b"#" + b" " * 1900] * 12_000))
    assert len(raw) < 100_000
    with pytest.raises(BadTaxonomy, match="more than 20 MB of text"):
        loading.load_file(catalogue.conn, catalogue.shop_id, "google", "t", io.BytesIO(raw), ANNA, catalogue.now)


def test_a_newer_version_takes_the_place_and_loses_no_answer(catalogue: Catalogue) -> None:
    load(catalogue)
    mine = tree(catalogue, "Mugs", "Shirts")
    answer(catalogue, mine["Mugs"], "7")
    answer(catalogue, mine["Shirts"], "3")
    newer = HEAD.replace("2021", "2027") + TEXT.replace("7 - House & Garden > Kitchen > Coffee Mugs\n", "")
    done = load(catalogue, newer.replace("Shirts & Tops", "Tops"))
    assert done.broken == 1
    assert states(catalogue) == {"Mugs": ("broken", "7"), "Shirts": ("mapped", "3")}
    found = {each.category: each.path for each in queries.effective(catalogue.conn, catalogue.shop_id, GOOGLE)}
    assert found["Mugs"] == "House & Garden > Kitchen > Coffee Mugs", "what is gone is named as it was called"
    assert found["Shirts"] == "Clothes & Shoes > Clothes > Tops"
    assert queries.mapped(catalogue.conn, catalogue.shop_id, "google", mine.values()) == {
        mine["Mugs"]: None, mine["Shirts"]: "3",
    }  # fmt: skip
    back = loading.take_load_back(catalogue.conn, catalogue.shop_id, GOOGLE, ANNA, later(1, since=catalogue.now))
    assert (back.version, back.broken) == ("2021-09-21", 0)
    assert states(catalogue)["Mugs"] == ("mapped", "7")
    again = loading.take_load_back(catalogue.conn, catalogue.shop_id, GOOGLE, ANNA, later(2, since=catalogue.now))
    assert (again.version, again.broken) == ("2027-09-21", 1)


def test_the_same_and_what_is_older_is_not_loaded(catalogue: Catalogue) -> None:
    load(catalogue)
    with pytest.raises(AlreadyLoaded, match="says what version 2021-09-21 says, which is there"):
        load(catalogue)
    with pytest.raises(AlreadyLoaded, match="is version 2019-09-21, and Google’s version 2021-09-21 is there"):
        load(catalogue, HEAD.replace("2021", "2019") + TEXT)
    with pytest.raises(NothingToBringBack):
        loading.take_load_back(catalogue.conn, catalogue.shop_id, GOOGLE, ANNA, catalogue.now)


def test_only_the_load_before_is_kept_with_its_entries(catalogue: Catalogue) -> None:
    for year in (2021, 2022, 2023):
        load(catalogue, HEAD.replace("2021", str(year)) + TEXT + f"{year} - Things of {year}\n")
    known = queries.loads(catalogue.conn, catalogue.shop_id, GOOGLE)
    assert [(row["version"][:4], row["is_kept"], row["replaced_at"] is None) for row in known] == [
        ("2023", True, True), ("2022", True, False), ("2021", False, False),
    ]  # fmt: skip


# --- answers ----------------------------------------------------------------------------------------------------------


def test_a_category_is_what_the_nearest_above_it_is(catalogue: Catalogue) -> None:
    load(catalogue)
    mine = tree(catalogue, "Clothes > Shirts > Linen", "Clothes > Shirts > Gift cards", "Garden")
    answer(catalogue, mine["Clothes"], "2")
    answer(catalogue, mine["Clothes > Shirts"], "3")
    at = catalogue.now
    operations.leave_out(catalogue.conn, catalogue.shop_id, GOOGLE, mine["Clothes > Shirts > Gift cards"], ANNA, at)
    assert states(catalogue) == {
        "Clothes": ("mapped", "2"),
        "Clothes > Shirts": ("mapped", "3"),
        "Clothes > Shirts > Linen": ("inherited", "3"),
        "Clothes > Shirts > Gift cards": ("left_out", None),
        "Garden": ("unmapped", None),
    }
    operations.end_answer(catalogue.conn, catalogue.shop_id, GOOGLE, mine["Clothes > Shirts"], ANNA, at)
    assert states(catalogue)["Clothes > Shirts > Linen"] == ("inherited", "2")
    of = {each.category: each.of for each in queries.effective(catalogue.conn, catalogue.shop_id, GOOGLE)}
    assert of["Clothes > Shirts > Linen"] == "Clothes"
    categories.move(catalogue.conn, catalogue.shop_id, mine["Clothes > Shirts"], None, "Tops", ANNA, at)
    assert states(catalogue)["Tops > Linen"] == ("unmapped", None)
    sent = queries.mapped(catalogue.conn, catalogue.shop_id, "google", [*mine.values(), 10**12])
    assert set(sent) == set(mine.values())
    assert {number: ref for number, ref in sent.items() if ref} == {mine["Clothes"]: "2"}


def test_answers_are_kept_with_who_and_why_and_taken_back_one_by_one(catalogue: Catalogue) -> None:
    load(catalogue)
    mugs = tree(catalogue, "Mugs")["Mugs"]
    assert answer(catalogue, mugs, "7")
    assert not answer(catalogue, mugs, "7"), "twice is once"
    answer(catalogue, mugs, "8")
    for expected in (("mapped", "7"), ("mapped", "8"), ("mapped", "7")):
        operations.undo(catalogue.conn, catalogue.shop_id, GOOGLE, mugs, ANNA, catalogue.now)
        assert states(catalogue)["Mugs"] == expected
    operations.end_answer(catalogue.conn, catalogue.shop_id, GOOGLE, mugs, ANNA, catalogue.now)
    assert states(catalogue)["Mugs"] == ("unmapped", None)
    with pytest.raises(NothingAnswered):
        operations.end_answer(catalogue.conn, catalogue.shop_id, GOOGLE, mugs, ANNA, catalogue.now)
    operations.undo(catalogue.conn, catalogue.shop_id, GOOGLE, mugs, ANNA, catalogue.now)
    assert states(catalogue)["Mugs"] == ("mapped", "7")
    operations.undo(catalogue.conn, catalogue.shop_id, GOOGLE, mugs, ANNA, catalogue.now)
    assert states(catalogue)["Mugs"] == ("unmapped", None)
    past = queries.history(catalogue.conn, catalogue.shop_id, GOOGLE, mugs)
    assert [row["entry_ref"] for row in past] == ["7", "7", "8", "7", "8", "7"]
    assert all(row["mapped_by"] == row["ended_by"] == "Anna" and row["reason"] for row in past)
    acts = fetch(
        catalogue.conn, "select act from audit_entries where subject = %(s)s order by id", s=f"category:{mugs}"
    )
    assert [row["act"] for row in acts] == [
        *["map_category"] * 2, *["undo_category_mapping"] * 3, "end_category_mapping", *["undo_category_mapping"] * 2,
    ]  # fmt: skip


def test_what_cannot_be_answered_says_why(catalogue: Catalogue) -> None:
    mugs = tree(catalogue, "Mugs")["Mugs"]
    with pytest.raises(NoEntry, match="Google’s taxonomy has no entry 7"):
        answer(catalogue, mugs, "7")
    load(catalogue)
    with pytest.raises(categories.NoCategory):
        answer(catalogue, 10**12, "7")
    with pytest.raises(NotKlaviyo):
        operations.keep_own(catalogue.conn, catalogue.shop_id, GOOGLE, mugs, ANNA, catalogue.now)
    with pytest.raises(NothingAnswered):
        operations.undo(catalogue.conn, catalogue.shop_id, GOOGLE, mugs, ANNA, catalogue.now)
    for kind, connection in (("ebay", None), ("google", 1), ("klaviyo", None)):
        with pytest.raises(BadInput):
            Target(kind, connection)  # type: ignore[arg-type]


def test_a_category_that_is_removed_ends_its_answers(catalogue: Catalogue) -> None:
    load(catalogue)
    mugs = tree(catalogue, "Mugs")["Mugs"]
    answer(catalogue, mugs, "7")
    categories.remove(catalogue.conn, catalogue.shop_id, mugs, ANNA, catalogue.now)
    (row,) = queries.history(catalogue.conn, catalogue.shop_id, GOOGLE)
    assert (row["category_path"], row["ended_by"], row["end_reason"]) == (
        "Mugs", "switchyard", "the category was removed",
    )  # fmt: skip
    assert states(catalogue) == {}


@pytest.mark.parametrize(
    "change",
    [
        "update category_mappings set entry_ref = '8'",
        "update category_mappings set ended_at = null, ended_by = null, end_reason = null",
        "delete from category_mappings",
        "truncate category_mappings",
        "delete from taxonomies",
    ],
)
def test_answers_are_facts(catalogue: Catalogue, change: str) -> None:
    load(catalogue)
    mugs = tree(catalogue, "Mugs")["Mugs"]
    answer(catalogue, mugs, "7")
    operations.end_answer(catalogue.conn, catalogue.shop_id, GOOGLE, mugs, ANNA, catalogue.now)
    with pytest.raises(DBAPIError), catalogue.conn.begin_nested():
        execute(catalogue.conn, change)


# --- Klaviyo ----------------------------------------------------------------------------------------------------------


def klaviyo(conn: Connection, shop_id: int) -> Target:
    connection = make_connection(conn, shop_id, vendor="klaviyo", is_sku_source=False, locations={})
    return Target("klaviyo", connection.id)


def test_at_klaviyo_each_is_one_of_its_own_unless_somebody_says_otherwise(catalogue: Catalogue) -> None:
    conn, shop_id, at = catalogue.conn, catalogue.shop_id, catalogue.now
    target = klaviyo(conn, shop_id)
    mine = tree(catalogue, "Clothes > Shirts", "Clothes > Coats", "Gift cards")
    assert set(states(catalogue, target).values()) == {("own", None)}
    with pytest.raises(NoEntry):
        answer(catalogue, mine["Clothes"], "c-1", target)
    told = [("c-1", "Spring sale"), ("c-2", "Wear"), ("c-1", "Spring sale")]
    assert loading.load_told(conn, shop_id, target, "Klaviyo", told, ANNA, at).entries == 2
    answer(catalogue, mine["Clothes"], "c-2", target)
    operations.leave_out(conn, shop_id, target, mine["Gift cards"], ANNA, at)
    operations.keep_own(conn, shop_id, target, mine["Clothes > Coats"], ANNA, at)
    assert states(catalogue, target) == {
        "Clothes": ("mapped", "c-2"),
        "Clothes > Shirts": ("inherited", "c-2"),
        "Clothes > Coats": ("own", None),
        "Gift cards": ("left_out", None),
    }
    assert states(catalogue)["Clothes"] == ("unmapped", None), "Google's is another taxonomy"
    assert (
        queries.mapped(conn, shop_id, "klaviyo", mine.values(), target.connection_id)[mine["Clothes > Shirts"]] == "c-2"
    )
    assert target in queries.targets(conn, shop_id)


def test_an_account_tells_its_categories_anew(catalogue: Catalogue) -> None:
    conn, shop_id, at = catalogue.conn, catalogue.shop_id, catalogue.now
    target = klaviyo(conn, shop_id)
    loading.load_told(conn, shop_id, target, "Klaviyo", [("c-1", "Wear")], ANNA, at)
    with pytest.raises(AlreadyLoaded):
        loading.load_told(conn, shop_id, target, "Klaviyo", [("c-1", "Wear")], ANNA, at)
    mine = tree(catalogue, "Clothes")
    answer(catalogue, mine["Clothes"], "c-1", target)
    assert loading.load_told(conn, shop_id, target, "Klaviyo", [], ANNA, at).broken == 1
    assert states(catalogue, target) == {"Clothes": ("broken", "c-1")}
    with pytest.raises(BadTaxonomy, match="without an id or a name"):
        loading.load_told(conn, shop_id, target, "Klaviyo", [("c-1", " ")], ANNA, at)
    with pytest.raises(BadInput, match="is no Klaviyo account of this shop"):
        loading.load_told(conn, shop_id, Target("klaviyo", 10**9), "Klaviyo", [], ANNA, at)


# --- lists and suggestions --------------------------------------------------------------------------------------------


def product(catalogue: Catalogue, code: str, category_id: int) -> None:
    """A product in a category."""
    variants = (VariantDocument(code, "GBP"),)
    catalogue.save(ProductDocument(handle=code, title=code, variants=variants, categories=(category_id,)))


def test_lists_come_by_page_with_most_products_first(catalogue: Catalogue) -> None:
    load(catalogue)
    mine = tree(catalogue, "Mugs", "Shirts", "Shoes", "Coffee Makers")
    for number, path in enumerate(["Shoes", "Shoes", "Mugs", "Shirts"]):
        product(catalogue, f"P-{number}", mine[path])
    answer(catalogue, mine["Shirts"], "3")
    conn, shop_id = catalogue.conn, catalogue.shop_id
    seen, after = [], None
    for _ in range(4):
        rows, after = queries.page(conn, shop_id, GOOGLE, after=after, limit=1)
        seen += [(row.category, row.products) for row in rows]
    assert seen == [("Shoes", 2), ("Mugs", 1), ("Shirts", 1), ("Coffee Makers", 0)]
    assert after is None
    assert [row.category for row in queries.page(conn, shop_id, GOOGLE, "unmapped")[0]] == [
        "Shoes", "Mugs", "Coffee Makers",
    ]  # fmt: skip
    figures = queries.figures(conn, shop_id, GOOGLE)
    assert (figures.by_state["mapped"], figures.by_state["unmapped"], figures.categories) == (1, 3, 4)
    assert (figures.products, figures.products_concerned) == (4, 3)


def test_the_taxonomy_is_searched_by_words_as_they_are_typed(catalogue: Catalogue) -> None:
    load(catalogue)

    def found(text: str) -> list[str]:
        return [entry.ref for entry in queries.find_entries(catalogue.conn, catalogue.shop_id, GOOGLE, text)]

    assert found("coffee mak") == ["8", "9"]
    assert found("MUGS kitchen") == ["7"]
    assert found("5") == ["5"]
    assert found("%") == found("") == found("spoons") == []


def test_many_suggestions_are_accepted_as_they_were_seen_and_taken_back_together(catalogue: Catalogue) -> None:
    load(catalogue)
    conn, shop_id, at = catalogue.conn, catalogue.shop_id, catalogue.now
    mine = tree(catalogue, "Kitchen > Coffee Mugs", "Kitchen > Coffee Makers", "Clothes > Shirts & Tops", "Gift cards")
    picks = queries.acceptable(conn, shop_id, GOOGLE, 80)
    assert {pick.category: pick.suggestion.ref for pick in picks} == {
        "Kitchen > Coffee Mugs": "7",
        "Kitchen > Coffee Makers": "8",
        "Clothes > Shirts & Tops": "3",
    }
    token = queries.token_of(picks)
    with pytest.raises(SuggestionsChanged):
        operations.accept(conn, shop_id, GOOGLE, 80, "other", ANNA, at)
    with pytest.raises(SuggestionsChanged):
        operations.accept(conn, shop_id, GOOGLE, 101, queries.token_of([]), ANNA, at)
    batch, accepted = operations.accept(conn, shop_id, GOOGLE, 80, token, ANNA, at)
    assert accepted == len(picks)
    with pytest.raises(SuggestionsChanged):
        operations.accept(conn, shop_id, GOOGLE, 80, token, ANNA, at)
    answer(catalogue, mine["Kitchen > Coffee Makers"], "9")
    (row,) = queries.batches(conn, shop_id, GOOGLE)
    assert (row["batch_id"], row["accepted"], row["standing"]) == (batch, accepted, accepted - 1)
    assert operations.undo_batch(conn, shop_id, GOOGLE, batch, ANNA, at) == accepted - 1
    assert states(catalogue)["Kitchen > Coffee Makers"] == ("mapped", "9"), "what was answered since stays"
    assert states(catalogue)["Kitchen > Coffee Mugs"][0] == "unmapped"
    with pytest.raises(NothingOfBatch):
        operations.undo_batch(conn, shop_id, GOOGLE, batch, ANNA, at)
    assert scalar(conn, "select count(*) from audit_entries where act = 'accept_category_suggestions'") == 1


def test_what_inherits_is_accepted_only_when_asked_for(catalogue: Catalogue) -> None:
    load(catalogue)
    mine = tree(catalogue, "Kitchen > Coffee Mugs")
    answer(catalogue, mine["Kitchen"], "6")
    conn, shop_id = catalogue.conn, catalogue.shop_id
    assert queries.acceptable(conn, shop_id, GOOGLE, 60) == []
    (pick,) = queries.acceptable(conn, shop_id, GOOGLE, 60, with_inherited=True)
    assert (pick.category, pick.suggestion.ref) == ("Kitchen > Coffee Mugs", "7")
