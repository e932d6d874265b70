"""Products at a channel that cannot be read or that it told of, and the category that each has there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from core.catalog.categories import operations as categories
from core.catalog.products.documents import VariantDocument
from core.catalog.taxonomies import loading
from core.catalog.taxonomies import operations as taxonomies
from core.catalog.taxonomies.rules import Target
from core.clock import utc_now
from core.db import execute, read_only, unit_of_work
from core.product_ports import ProductChannel, ProductResult, ProductWrite
from core.publication import observing, operations, queries
from sandbox.vendors.shopify import taxonomy as sandbox_taxonomy
from tests.factories import ACTOR
from tests.integration.test_publication import placed, theirs
from tests.shelves import Shelf, make_document
from workers.products import write_one


def test_a_product_that_cannot_be_read_is_set_aside_and_the_others_go_on(shelf: Shelf) -> None:
    broken = shelf.put(handle="broken", **theirs("S"))
    for number in range(5):
        shelf.shop.stock(f"MUG-{number}")
    shelf.garble(broken)
    counts = shelf.read()
    assert (counts["created"], counts["unreadable"]) == (5, 1)
    (link,) = shelf.rows("select * from product_links where shop_id = %(shop)s and state = 'asks'")
    assert (link["cause"], link["product_id"], link["channel_ref"]) == ("unreadable", None, broken.rpartition("/")[2])
    assert "variants.nodes.0.price" in link["problem"]
    assert link["waits_since"] is not None
    # Read again at each look, and always the same one that waits.
    shelf.read()
    (again,) = shelf.rows("select * from product_links where shop_id = %(shop)s and state = 'asks'")
    assert (again["id"], again["waits_since"]) == (link["id"], link["waits_since"])
    shelf.garble()
    with unit_of_work(shelf.engine) as conn:
        operations.release_link(conn, shelf.row, link["id"], ACTOR, utc_now())
    counts = shelf.turn()
    assert (counts["created"], counts["asks"], counts["in_step"]) == (1, 0, 6)
    (link,) = shelf.rows("select * from product_links where shop_id = %(shop)s and id = %(id)s", id=link["id"])
    assert (link["cause"], link["waits_since"], link["is_unreadable"]) == (None, None, False)


def test_nothing_is_written_to_what_cannot_be_read(shelf: Shelf) -> None:
    mine, there = placed(shelf, title="ours")
    shelf.save(replace(shelf.ours(mine).document, title="Linen shirt"), mine)
    shelf.garble(there)
    for title in ("Linen shirt", "Cotton shirt"):
        shelf.save(replace(shelf.ours(mine).document, title=title), mine)
        assert shelf.turn()["asks"] == 1
    assert (shelf.pushes(), shelf.there(there)["title"]) == ([], "Shirt")
    shelf.garble()
    # As soon as it changes there it is read again, and goes on by itself.
    shelf.put(there, vendor="Them")
    assert shelf.turn()["in_step"] == 1
    assert shelf.there(there)["title"] == "Cotton shirt"


def test_what_stands_where_ours_is_to_be_made_is_not_written_over_while_it_cannot_be_read(shelf: Shelf) -> None:
    shelf.read()
    shelf.master(variants="ours", title="ours")
    mine = shelf.save(make_document())
    there = shelf.put(handle="shirt", **theirs("XL"))
    shelf.garble(there)
    shelf.turn()
    assert [(one["cause"], one["channel_ref"] is None) for one in shelf.rows(
        "select * from product_links where shop_id = %(shop)s order by id")] == [
        ("unreadable", False), ("unreadable", True)]  # fmt: skip
    assert shelf.pushes() == []
    shelf.garble()
    with unit_of_work(shelf.engine) as conn:
        operations.release(conn, shelf.row, mine, ACTOR, utc_now())
    shelf.turn()
    # Another product has that handle: that is what is said now.
    assert [variant["sku"] for variant in shelf.there(there)["variants"]["nodes"]] == ["SHIRT-XL"]
    assert shelf.link(mine)["cause"] == "refused"


def calls(shelf: Shelf) -> list[str]:
    return [row["channel_ref"] for row in shelf.rows("select * from product_calls where shop_id = %(shop)s order by 1")]


def call(shelf: Shelf, *products: str, at: timedelta = timedelta(0)) -> None:
    with unit_of_work(shelf.engine) as conn:
        operations.note_calls(conn, shelf.row, [one.rpartition("/")[2] for one in products], utc_now() + at)


def test_what_the_channel_told_of_is_read_whatever_it_is_by_then(shelf: Shelf) -> None:
    mine, there = placed(shelf)
    shelf.put(there, title="Linen shirt")
    # Told twice, and of what never was: read once, and no harm done.
    call(shelf, there, "gid://shopify/Product/1")
    call(shelf, there)
    assert len(calls(shelf)) == 2
    assert shelf.turn()["read"] == 1
    assert (shelf.ours(mine).document.title, calls(shelf)) == ("Linen shirt", [])
    for code in ("SHIRT-M", "SHIRT-L"):
        shelf.shop.control("deletion", sku=code)
    call(shelf, there)
    assert shelf.turn()["gone"] == 1
    assert shelf.link(mine)["cause"] == "deleted"
    # A word of before its end comes after it.
    call(shelf, there)
    shelf.turn()
    assert (shelf.link(mine)["state"], calls(shelf)) == ("gone", [])


def test_what_is_told_during_the_reading_is_read_again(shelf: Shelf) -> None:
    _, there = placed(shelf)
    call(shelf, there)
    with read_only(shelf.engine) as conn:
        read = queries.called(conn, shelf.row, 10)
    call(shelf, there, at=timedelta(seconds=1))
    with unit_of_work(shelf.engine) as conn:
        operations.forget_calls(conn, shelf.row, read)
    assert calls(shelf) == [there.rpartition("/")[2]]


def test_nothing_is_noted_of_products_that_nobody_asked_for(shelf: Shelf) -> None:
    call(shelf, "gid://shopify/Product/1")
    assert calls(shelf) == []


MUGS, TEAPOTS = (f"gid://shopify/TaxonomyCategory/hl-1-{number}" for number in (1, 2))
CATEGORY = "query($id: ID!) { product(id: $id) { category { id } } }"


def mapped(shelf: Shelf, category: int, ref: str | None) -> None:
    """Somebody says which of Shopify's a category of ours is, or that it is none."""
    with unit_of_work(shelf.engine) as conn:
        if ref is None:
            taxonomies.leave_out(conn, shelf.row.shop_id, Target("shopify"), category, ACTOR, utc_now())
        else:
            taxonomies.map_category(conn, shelf.row.shop_id, Target("shopify"), category, ref, ACTOR, utc_now())


def tree(shelf: Shelf, *paths: str) -> dict[str, int]:
    """Categories of ours, and Shopify's taxonomy as the shop tells it."""
    told = [(one["id"], one["fullName"]) for one in sandbox_taxonomy.categories() if not one["isArchived"]]
    with unit_of_work(shelf.engine) as conn:
        loading.load_told(conn, shelf.row.shop_id, Target("shopify"), "Shopify", told, ACTOR, utc_now())
        made = categories.ensure_paths(conn, shelf.row.shop_id, [tuple(path.split(" > ")) for path in paths], utc_now())
        return {" > ".join(path): number for path, number in made.items()}


def test_the_category_goes_where_it_is_mapped_and_we_are_its_master(shelf: Shelf) -> None:
    mine, there = placed(shelf)
    known = tree(shelf, "Kitchen", "Kitchen > Mugs")
    shelf.save(replace(shelf.ours(mine).document, categories=(known["Kitchen > Mugs"],)), mine)

    def shown() -> str | None:
        assert shelf.turn()["differs"] == 0
        found = shelf.shop.data(CATEGORY, id=there)["product"]["category"]
        return None if found is None else str(found["id"])

    mapped(shelf, known["Kitchen"], MUGS)
    # The channel is master of it.
    assert shown() is None
    shelf.master(category="ours")
    assert shown() == MUGS
    assert [push["outcome"] for push in shelf.pushes()] == ["confirmed"]
    # Its own answer counts before the one above it; no product was saved for that.
    mapped(shelf, known["Kitchen > Mugs"], TEAPOTS)
    assert shown() == TEAPOTS
    # What staff choose there is set right, as we are master.
    shelf.put(there, category=MUGS)
    assert shown() == TEAPOTS
    # What is not mapped is not sent, and what stands there stays.
    mapped(shelf, known["Kitchen > Mugs"], None)
    shelf.put(there, category=MUGS)
    assert shown() == MUGS
    assert len(shelf.pushes()) == 3


def test_a_new_product_comes_with_its_category_and_one_that_shopify_has_not_is_said(shelf: Shelf) -> None:
    shelf.read()
    known = tree(shelf, "Mugs")
    mapped(shelf, known["Mugs"], MUGS)
    shelf.master(variants="ours", category="ours")
    mine = shelf.save(make_document(categories=(known["Mugs"],)))
    shelf.turn()
    assert shelf.shown(shelf.made()[0]).category == MUGS
    with unit_of_work(shelf.engine) as conn:
        # As of a newer version of the taxonomy than the shop has.
        execute(conn, "update product_readings set category_refs = jsonb_build_object(%(c)s::text, %(ref)s::text)"
                " where shop_id = %(s)s", c=str(known["Mugs"]), ref=MUGS + "-9", s=shelf.row.shop_id)  # fmt: skip
        execute(conn, "update product_links set judged_version = null where shop_id = %(s)s", s=shelf.row.shop_id)
        observing.judge(conn, shelf.row, [shelf.link(mine)["id"]], utc_now())
    assert write_one(shelf.app, shelf.row, shelf.reached, shelf.link(mine)["id"]) == "refused"
    assert "category" in shelf.link(mine)["problem"]


class Reached:
    """A channel at which something happens once, just before a write or after it."""

    def __init__(self, channel: ProductChannel, before: Callable[[], None], after: Callable[[], None]) -> None:
        self._channel = channel
        self._before = [before]
        self._after = [after]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def write_product(self, write: ProductWrite) -> ProductResult:
        while self._before:
            self._before.pop()()
        result = self._channel.write_product(write)
        while self._after:
            self._after.pop()()
        return result


def nothing() -> None:
    pass


def skus(shelf: Shelf, there: str) -> list[str]:
    return [variant["sku"] for variant in shelf.there(there)["variants"]["nodes"]]


def sized(shelf: Shelf, mine: int, *sizes: str) -> None:
    """Somebody sells our shirt in these sizes from now on."""
    document = shelf.ours(mine).document
    known = {variant.code: variant for variant in document.variants}
    variants = (known.get(f"SHIRT-{size}") or VariantDocument(f"SHIRT-{size}", "GBP", (size,), price_minor=2500)
                for size in sizes)  # fmt: skip
    shelf.save(replace(document, variants=tuple(variants)), mine)


@pytest.mark.parametrize("fault", ["lost_reply", "throttled", "http_502"])
@pytest.mark.parametrize("name", ["AddVariants", "OrderVariants"])
def test_a_variant_comes_once_whatever_happens_to_the_answer(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, fault: str, name: str
) -> None:
    mine, there = placed(shelf, variants="ours")
    sized(shelf, mine, "S", "M", "L")
    shelf.world.faults(kind=fault, match=name, count=1)
    for _ in range(40):
        # Turn by turn, until what was sent can arrive no more.
        shelf.turn()
        if shelf.link()["state"] == "in_step":
            break
        with unit_of_work(shelf.engine) as conn:
            execute(conn, "update product_links set next_at = now() where shop_id = %(s)s", s=shelf.row.shop_id)
    shelf.turn()
    assert skus(shelf, there) == ["SHIRT-S", "SHIRT-M", "SHIRT-L"]
    assert shelf.link()["state"] == "in_step"
    assert [push for push in shelf.pushes() if push["outcome"] is None] == []


def test_a_worker_that_is_killed_after_its_write_leaves_a_row_that_the_next_one_settles(shelf: Shelf) -> None:
    mine, there = placed(shelf, variants="ours")
    sized(shelf, mine, "M", "L", "XL")

    def killed() -> None:
        raise SystemExit

    shelf.reached = cast(ProductChannel, Reached(shelf.channel.products, nothing, killed))
    with pytest.raises(SystemExit):
        shelf.turn()
    (push,) = shelf.pushes()
    assert (push["outcome"], push["answered_at"]) == (None, None)
    assert shelf.turn()["in_step"] == 1
    assert [push["outcome"] for push in shelf.pushes()] == ["confirmed"]
    assert skus(shelf, there) == ["SHIRT-M", "SHIRT-L", "SHIRT-XL"]


def test_a_variant_that_staff_add_during_our_write_stays_and_a_person_is_asked(shelf: Shelf) -> None:
    mine, there = placed(shelf, variants="ours")
    sized(shelf, mine, "M", "L", "XL")

    def typed() -> None:
        kept = [
            {"id": one["id"], "optionValues": [{"optionName": "Size", "name": one["sku"].removeprefix("SHIRT-")}]}
            for one in shelf.there(there)["variants"]["nodes"]
        ]
        shelf.put(there, **theirs("M", "L", "XS") | {"variants": [*kept, theirs("XS")["variants"][0]]})

    shelf.reached = cast(ProductChannel, Reached(shelf.channel.products, typed, nothing))
    shelf.turn()
    assert sorted(skus(shelf, there)) == ["SHIRT-L", "SHIRT-M", "SHIRT-XL", "SHIRT-XS"]
    assert (shelf.link()["state"], shelf.link()["cause"]) == ("asks", "variants")
    # Nor is it dropped by any later turn.
    shelf.turn()
    assert "SHIRT-XS" in skus(shelf, there)
