"""Any history of a catalogue: what is kept is what was written, and taking back takes back that alone."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from core.audit import Actor
from core.catalog.imports.drafts import ABSENT, ImageDraft, ProductDraft, VariantDraft
from core.catalog.products import queries
from core.catalog.products.documents import Image, ProductDocument, VariantDocument, from_json, to_json
from core.catalog.products.fields import COST, STANDARD, SUPPLIER_ID, parsed, shown
from core.catalog.products.operations import NameTaken, NothingToTakeBack, save_product, undo_version
from core.catalog.products.rules import differences, flaws_of, taken_back
from core.catalog.products.words import tsquery_of, words_of
from core.db import fetch, scalar
from core.importing.metafields import Fields
from core.importing.rules import merged
from core.invariants import check
from tests.factories import BASELINE, make_shop

ANNA = Actor("Anna", "a property")
FIRST = ProductDocument("goods", "Goods", (VariantDocument("A", "GBP"),))
DEFINED = {(d.owner, d.key): d for d in STANDARD}

words = st.text("abcdefgåé -'\"<", min_size=1, max_size=12).map(lambda text: " ".join(text.split())).filter(bool)
alts = st.lists(st.sampled_from(["", "alt"]), max_size=2)
minor = st.none() | st.integers(0, 10**6)


@st.composite
def variants(draw: st.DrawFn, options: int, codes: tuple[str, ...]) -> tuple[VariantDocument, ...]:
    count = draw(st.integers(1, 3)) if options else 1
    picked = draw(st.permutations(codes))[:count]
    made = []
    for number, code in enumerate(picked):
        metafields = {}
        if draw(st.booleans()):
            metafields[COST] = {"amount_minor": draw(st.integers(0, 9999)), "currency": "GBP"}
        made.append(
            VariantDocument(
                code, "GBP", tuple(f"{draw(words)} {number}" for _ in range(options)),
                barcode=draw(st.none() | st.just("4006381333931")), price_minor=draw(minor),
                compare_at_minor=draw(minor), weight_grams=draw(st.none() | st.integers(0, 9000)),
                taxable=draw(st.booleans()), metafields=metafields,
            )
        )  # fmt: skip
    return tuple(made)


@st.composite
def documents(draw: st.DrawFn, handle: str = "goods", codes: tuple[str, ...] = ("A", "B", "C", "D")) -> ProductDocument:
    options = draw(st.sampled_from([(), ("Size",), ("Size", "Colour")]))
    return ProductDocument(
        handle, draw(words), draw(variants(len(options), codes)), description=draw(st.sampled_from(["", "<p>x</p>"])),
        vendor=draw(st.none() | words), status=draw(st.sampled_from(["active", "draft", "archived"])),
        tags=tuple(draw(st.lists(words, max_size=3, unique=True))), options=options,
        images=tuple(Image(f"https://x.example/{n}.jpg", alt) for n, alt in enumerate(draw(alts))),
        metafields={SUPPLIER_ID: "S-1"} if draw(st.booleans()) else {},
    )  # fmt: skip


@given(documents(), documents())
def test_states_differ_exactly_where_they_are_said_to(before: ProductDocument, after: ProductDocument) -> None:
    assert (differences(before, after) == []) == (before == after)
    assert flaws_of(before, DEFINED) == []
    assert from_json(to_json(before)) == before


@given(documents(), documents())
def test_a_change_taken_back_at_once_leaves_what_was(before: ProductDocument, after: ProductDocument) -> None:
    assert taken_back(before, after, after) == before


@given(documents(), documents(), words, st.sampled_from(["active", "draft"]))
def test_taking_back_leaves_what_others_changed(
    before: ProductDocument, after: ProductDocument, title: str, status: str
) -> None:
    after = replace(after, seo_title=before.seo_title)
    later = replace(after, seo_title=title + "!")
    found = taken_back(before, after, later)
    assert found == replace(before, seo_title=title + "!")
    assert taken_back(before, replace(after, title=before.title + "x"), replace(later, title="another")) is None


@given(documents())
def test_every_word_of_a_product_finds_it(document: ProductDocument) -> None:
    found = set(words_of(document))
    for text in (document.title, document.handle, document.vendor or "", *document.tags):
        query = tsquery_of(text)
        if query is not None:
            for part in query.split(" & "):
                assert any(word.startswith(part[1:-3]) for word in found)


def draft_of(document: ProductDocument) -> ProductDraft:
    """All of a document, as a file would tell it."""
    sold = tuple(
        VariantDraft(
            2, v.code, v.currency, v.option_values, barcode=v.barcode, price_minor=v.price_minor,
            compare_at_minor=v.compare_at_minor, weight_grams=v.weight_grams, taxable=v.taxable,
            cost_minor=v.metafields[COST]["amount_minor"] if COST in v.metafields else None,
        )
        for v in document.variants
    )  # fmt: skip
    return ProductDraft(
        2, document.handle, sold, title=document.title, description=document.description, vendor=document.vendor or "",
        status=document.status, tags=document.tags, options=document.options,
        images=tuple(ImageDraft(image.url, image.alt, n) for n, image in enumerate(document.images, 1)),
    )  # fmt: skip


@given(documents(), documents())
def test_a_file_of_all_there_is_makes_it_so_and_once_more_changes_nothing(
    current: ProductDocument, told: ProductDocument
) -> None:
    alone = merged(None, draft_of(told), Fields(DEFINED), {}, "GBP").document
    assert alone == replace(told, metafields={})
    both = merged(current, draft_of(told), Fields(DEFINED), {}, "GBP").document
    # A file that names other options, and not all of our variants, is told to be wrong.
    if both is not None:
        assert merged(both, draft_of(told), Fields(DEFINED), {}, "GBP").document == both
        assert {v.code for v in both.variants} == {v.code for v in (*current.variants, *told.variants)}


@given(documents())
def test_what_a_file_does_not_tell_stays(current: ProductDocument) -> None:
    silent = ProductDraft(2, current.handle, tuple(VariantDraft(2, v.code, "GBP") for v in current.variants))
    assert all(getattr(silent, f.name) is ABSENT for f in fields(silent) if f.name in ("title", "tags", "images"))
    assert merged(current, silent, Fields(DEFINED), {}, "GBP").document == current


amounts = st.builds(
    lambda minor, currency: {"amount_minor": minor, "currency": currency},
    st.integers(0, 10**12),
    st.sampled_from(["GBP", "JPY", "KWD"]),
)
plain = st.booleans() | st.integers(-9, 9) | st.text(max_size=5)
typed = st.one_of(
    st.tuples(st.just("integer"), st.integers(-(10**17), 10**17)),
    st.tuples(st.just("boolean"), st.booleans()),
    st.tuples(st.just("date"), st.dates().map(str)),
    st.tuples(st.just("decimal"), st.decimals(-(10**9), 10**9, places=4).map(lambda number: format(number, "f"))),
    st.tuples(st.just("money"), amounts),
    st.tuples(st.just("json"), plain | st.lists(plain, max_size=3)),
)


@given(typed)
def test_a_metafield_is_read_as_it_is_shown(told: tuple[str, object]) -> None:
    type_, value = told
    assert parsed(type_, shown(type_, value), "GBP") == value


# --- histories on the database --------------------------------------------------------------------------------------


acts = st.lists(
    st.one_of(
        st.tuples(st.just("save"), documents()),
        st.tuples(st.just("other"), documents("other", ("C", "D", "E"))),
        st.tuples(st.just("undo"), st.integers(1, 6)),
    ),
    max_size=7,
)


@settings(max_examples=60)
@given(acts)
def test_any_history_is_kept_as_a_plain_list_says(
    module_engine: Engine, history: list[tuple[str, ProductDocument | int]]
) -> None:
    with module_engine.connect() as conn, conn.begin() as transaction:
        shop_id = make_shop(conn)
        product_id = save_product(conn, shop_id, FIRST, ANNA, BASELINE).product_id
        assert product_id is not None
        _live(conn, shop_id, product_id, history)
        assert [(f.name, f.rows) for f in check(conn, BASELINE, shop_id=shop_id) if f.rows] == []
        transaction.rollback()


def _live(conn: Connection, shop_id: int, product_id: int, history: list[tuple[str, ProductDocument | int]]) -> None:
    versions: list[ProductDocument | None] = [None, FIRST]
    others: ProductDocument | None = None
    for act, told in history:
        now = versions[-1]
        if isinstance(told, int):
            _take_back(conn, shop_id, product_id, versions, told)
        elif act == "save" and now is not None:
            if _is_taken(told, others):
                with pytest.raises(NameTaken):
                    save_product(
                        conn, shop_id, told, ANNA, BASELINE, product_id=product_id, base_version=len(versions) - 1
                    )
                continue
            save_product(conn, shop_id, told, ANNA, BASELINE, product_id=product_id, base_version=len(versions) - 1)
            if told != now:
                versions.append(told)
        elif act == "other" and others is None and not (now is not None and _is_taken(told, now)):
            save_product(conn, shop_id, told, ANNA, BASELINE)
            others = told
        found = queries.stored(conn, shop_id, [product_id]).get(product_id)
        assert (None if found is None else found.document) == versions[-1]
    kept = [one.document for one in reversed(queries.history(conn, shop_id, product_id, limit=100))]
    assert kept == versions[1:]
    skus = scalar(conn, "select count(*) from skus where shop_id = %(s)s", s=shop_id)
    codes = {row["code"] for row in fetch(conn, "select code from skus where shop_id = %(s)s", s=shop_id)}
    assert skus == len(codes)


def _is_taken(one: ProductDocument, other: ProductDocument | None) -> bool:
    return other is not None and bool({v.code for v in one.variants} & {v.code for v in other.variants})


def _take_back(
    conn: Connection, shop_id: int, product_id: int, versions: list[ProductDocument | None], number: int
) -> None:
    try:
        undo_version(conn, shop_id, product_id, number, ANNA, BASELINE)
    except (NothingToTakeBack, NameTaken):
        return
    was, became, now = versions[number - 1], versions[number], versions[-1]
    if was is None or became is None or now is None:
        assert number == len(versions) - 1
        versions.append(was)
    else:
        versions.append(taken_back(was, became, now))
