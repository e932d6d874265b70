"""Products kept in step with a channel, each field by its master, against the fake Shopify and real Postgres."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

import workers.products
from core.catalog.products.documents import Image, ProductDocument, VariantDocument
from core.catalog.products.fields import COST, Definition
from core.catalog.products.operations import define_metafield, remove_product, save_product
from core.clock import utc_now
from core.connections import switches
from core.connections.queries import ConnectionRow
from core.db import execute, read_only, unit_of_work
from core.errors import BadInput
from core.publication import linking, operations, queries, settling
from core.publication.operations import NothingToRelease
from tests.factories import ACTOR
from tests.sandbox.outside import Inside
from tests.shelves import Shelf, make_document
from workers.products import write_one


def theirs(*sizes: str, **more: Any) -> dict[str, Any]:
    """A shirt in the form of productSet."""
    return {
        "title": "Shirt",
        "productOptions": [{"name": "Size", "values": [{"name": size} for size in sizes]}],
        "variants": [
            {"sku": f"SHIRT-{size}", "price": "25.00", "optionValues": [{"optionName": "Size", "name": size}]}
            for size in sizes
        ],
        **more,
    }


def prices(shelf: Shelf, product: str) -> list[str]:
    return [variant["price"] for variant in shelf.there(product)["variants"]["nodes"]]


def placed(shelf: Shelf, **masters: str) -> tuple[int, str]:
    """A shirt that was read from the channel, and then masters decided: ours, theirs."""
    there = shelf.put(handle="shirt", **theirs("M", "L"))
    shelf.read()
    if masters:
        shelf.master(**masters)
    return int(shelf.link()["product_id"]), there


def coded(code: str) -> ProductDocument:
    """A product of one variant."""
    return make_document(handle=code.lower(), options=(), variants=(VariantDocument(code, "GBP", price_minor=2500),))


def test_an_existing_shop_gets_its_catalogue_by_reading_once(shelf: Shelf) -> None:
    fields = [{"namespace": "details", "key": "material", "type": "single_line_text_field", "value": "linen"}]
    shelf.put(handle="shirt", **theirs("M", "L", tags=["summer"], metafields=fields, vendor="Acme"))
    shelf.shop.stock("MUG")
    assert shelf.turn() == {"in_step": 0, "differs": 0, "asks": 0, "gone": 0, "open_pushes": 0}
    counts = shelf.read()
    assert (counts["read"], counts["created"], counts["in_step"]) == (2, 2, 2)
    shirt = next(one for one in shelf.all_ours() if one.document.title == "Shirt")
    document = shirt.document
    assert [v.code for v in document.variants] == ["SHIRT-M", "SHIRT-L"]
    assert (document.tags, document.options, document.vendor) == (("summer",), ("Size",), "Acme")
    # A metafield that nobody had defined here is defined as the channel has it.
    assert document.metafields == {"details.material": "linen"}
    acts = shelf.rows("select act, made_by from product_versions where shop_id = %(shop)s")
    assert {(one["act"], one["made_by"]) for one in acts} == {("read", "reading")}
    again = shelf.read()
    assert (again["created"], again["changed"], shelf.pushes()) == (0, 0, [])


def test_a_product_of_ours_is_found_by_the_codes_of_its_variants(shelf: Shelf) -> None:
    mine = shelf.save(make_document(title="Old name", handle="old-name"))
    there = shelf.put(handle="shirt", **theirs("M", "L"))
    assert shelf.read()["changed"] == 1
    assert shelf.link(mine)["channel_ref"] == there.rpartition("/")[2]
    assert (shelf.ours(mine).document.title, shelf.ours(mine).document.handle) == ("Shirt", "shirt")


def test_variants_without_a_code_are_reported_and_not_guessed(shelf: Shelf) -> None:
    given = theirs("M", "L")
    del given["variants"][1]["sku"]
    there = shelf.put(handle="shirt", **given)
    assert shelf.read()["asks"] == 1
    link = shelf.link()
    assert (link["product_id"], link["state"]) == (None, "asks")
    assert "a variant has no SKU" in link["problem"]
    assert shelf.all_ours() == []
    second = shelf.shown(there).variants[1].ref
    variant = f"gid://shopify/ProductVariant/{second}"
    shelf.put_variants(there, {"id": variant, "inventoryItem": {"sku": "SHIRT-L"}})
    assert shelf.read()["created"] == 1


def test_codes_of_two_products_are_not_brought_together(shelf: Shelf) -> None:
    one = replace(make_document().variants[0], option_values=())
    shelf.save(make_document(handle="a", options=(), variants=(one,)))
    other = replace(make_document().variants[1], option_values=())
    shelf.save(make_document(handle="b", options=(), variants=(other,)))
    shelf.put(handle="shirt", **theirs("M", "L"))
    shelf.read()
    assert "several products" in shelf.link()["problem"]
    assert len(shelf.all_ours()) == 2


def test_each_field_follows_its_master(shelf: Shelf) -> None:
    mine, there = placed(shelf, title="ours", price="ours", vendor="nobody")
    document = shelf.ours(mine).document
    cheap = tuple(replace(variant, price_minor=1999, barcode="111") for variant in document.variants)
    shelf.save(replace(document, title="Linen shirt", description="ours", vendor="Us", variants=cheap), mine)
    shelf.put(there, descriptionHtml="theirs", vendor="Them", title="Their shirt")
    shelf.turn()
    found, now = shelf.there(there), shelf.ours(mine).document
    assert (found["title"], found["descriptionHtml"], found["vendor"]) == ("Linen shirt", "theirs", "Them")
    assert prices(shelf, there) == ["19.99", "19.99"]
    assert (now.title, now.description, now.vendor) == ("Linen shirt", "theirs", "Us")
    # Barcodes are the channel's: what was typed here is as it is there.
    assert {variant.barcode for variant in now.variants} == {None}
    assert shelf.link()["state"] == "in_step"
    assert [push["outcome"] for push in shelf.pushes()] == ["confirmed"]


def test_every_field_of_ours_arrives(shelf: Shelf) -> None:
    mine, there = placed(shelf)
    with unit_of_work(shelf.engine) as conn:
        new = Definition("product", "details.care", "Care", "list")
        define_metafield(conn, shelf.row.shop_id, new, ACTOR, utc_now())
    shelf.master(**dict.fromkeys(
        ["title", "handle", "description", "vendor", "product_type", "status", "tags", "images", "seo_title",
         "seo_description", "variants", "barcode", "price", "compare_at", "weight", "requires_shipping", "taxable",
         "variant_image", "cost", "metafields"], "ours"))  # fmt: skip
    picture = "https://pictures.test/front.jpg"
    variants = (
        VariantDocument(
            "SHIRT-XL", "GBP", ("XL", "Blue"), "123", 2000, 3000, 300, requires_shipping=False, taxable=False,
            image_url=picture, metafields={COST: {"amount_minor": 800, "currency": "GBP"},
                                           "details.colour_code": "#1B4D3E"},
        ),
        VariantDocument("SHIRT-M", "GBP", ("M", "Blue"), price_minor=1900, weight_grams=10),
        VariantDocument("SHIRT-L", "GBP", ("L", "Red"), price_minor=1800, weight_grams=20),
    )  # fmt: skip
    document = make_document(
        handle="linen-shirt", title="Linen shirt", description="<p>Linen</p>", vendor="Us", product_type="Shirts",
        status="draft", tags=("b", "A"), images=(Image(picture, "front"), Image("https://pictures.test/b.jpg")),
        seo_title="seo", seo_description="words", options=("Size", "Colour"), variants=variants,
        metafields={"details.care": ["cold", "gentle"]},
    )  # fmt: skip
    shelf.save(document, mine)
    shelf.turn()
    assert (shelf.link()["state"], shelf.link()["problem"]) == ("in_step", None)
    # The variant's picture could only follow once the channel had it.
    assert [push["outcome"] for push in shelf.pushes()] == ["confirmed", "confirmed"]
    found = shelf.there(there)
    plain = ("title", "handle", "descriptionHtml", "vendor", "productType", "status", "tags")
    assert [found[name] for name in plain] == [
        "Linen shirt", "linen-shirt", "<p>Linen</p>", "Us", "Shirts", "DRAFT", ["A", "b"],
    ]  # fmt: skip
    assert found["seo"] == {"title": "seo", "description": "words"}
    assert [medium["alt"] for medium in found["media"]["nodes"]] == ["front", ""]
    first = found["variants"]["nodes"][0]
    assert (first["sku"], first["barcode"], first["price"], first["compareAtPrice"]) == (
        "SHIRT-XL", "123", "20.00", "30.00",
    )  # fmt: skip
    assert first["media"]["nodes"] == [{"id": found["media"]["nodes"][0]["id"]}]
    assert first["inventoryItem"] == {
        "requiresShipping": False, "tracked": True, "unitCost": {"amount": "8.00"},
        "measurement": {"weight": {"value": 300.0, "unit": "GRAMS"}},
    }  # fmt: skip
    assert shelf.ours(mine).document == document


def test_a_lost_reply_is_read_back_before_anything_is_sent_again(shelf: Shelf) -> None:
    mine, there = placed(shelf, title="ours")
    shelf.save(replace(shelf.ours(mine).document, title="Linen shirt"), mine)
    shelf.world.faults(kind="lost_reply", match="SetProduct", count=1)
    shelf.turn()
    assert shelf.there(there)["title"] == "Linen shirt"
    assert [(push["outcome"], push["answered_at"]) for push in shelf.pushes()] == [("confirmed", None)]
    assert shelf.link()["state"] == "in_step"


def test_what_never_arrived_is_lost_once_it_can_arrive_no_more(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, there = placed(shelf, title="ours")
    shelf.save(replace(shelf.ours(mine).document, title="Linen shirt"), mine)
    # Lost on the way there: nothing was done, and nobody can tell, however slow this machine is.
    monkeypatch.setattr("core.publication.settling.LATE", timedelta(days=1000))
    shelf.world.faults(kind="http_502", match="SetProduct", count=1)
    shelf.turn()
    (push,) = shelf.pushes()
    assert push["outcome"] is None
    assert shelf.there(there)["title"] == "Shirt"
    with unit_of_work(shelf.engine) as conn:
        # The vendor's two minutes are over; the row itself cannot be made older.
        monkeypatch.setattr("core.publication.settling.LATE", utc_now() - utc_now())
        execute(conn, "update product_links set next_at = now() where shop_id = %(shop)s", shop=shelf.row.shop_id)
    shelf.turn()
    assert [one["outcome"] for one in shelf.pushes()] == ["lost", "confirmed"]
    assert shelf.there(there)["title"] == "Linen shirt"


def test_what_staff_changed_meanwhile_is_kept_where_it_is_not_ours(shelf: Shelf) -> None:
    mine, there = placed(shelf, title="ours")
    shelf.save(replace(shelf.ours(mine).document, title="Linen shirt"), mine)
    # Not read before the write was planned from what was seen: the write looks again.
    shelf.put(there, vendor="Them")
    shelf.turn()
    assert (shelf.there(there)["title"], shelf.there(there)["vendor"]) == ("Linen shirt", "Them")
    assert shelf.ours(mine).document.vendor == "Them"


def test_what_is_changed_back_again_and_again_stops_and_asks(shelf: Shelf) -> None:
    mine, there = placed(shelf, title="ours")
    for corrected in (1, 2, 3):
        shelf.put(there, title="Their shirt")
        shelf.turn()
        assert shelf.there(there)["title"] == "Shirt"
        assert shelf.link()["corrections"] == corrected
    shelf.put(there, title="Their shirt")
    shelf.turn()
    link = shelf.link()
    assert (link["state"], shelf.there(there)["title"]) == ("asks", "Their shirt")
    assert "title was set right at the channel 3 times" in link["problem"]
    with unit_of_work(shelf.engine) as conn:
        operations.release(conn, shelf.row, mine, ACTOR, utc_now())
    shelf.turn()
    assert shelf.there(there)["title"] == "Shirt"
    with unit_of_work(shelf.engine) as conn, pytest.raises(NothingToRelease):
        operations.release(conn, shelf.row, mine, ACTOR, utc_now())


def test_variants_beside_ours_are_never_dropped_without_a_person(shelf: Shelf) -> None:
    mine, there = placed(shelf)
    shelf.master(variants="ours")
    first = shelf.ours(mine).document.variants[0]
    shelf.save(replace(shelf.ours(mine).document, variants=(first,)), mine)
    shelf.turn()
    link = shelf.link()
    assert link["state"] == "asks"
    assert "1 of its variants at the channel are not here (SHIRT-L)" in link["problem"]
    assert [variant["sku"] for variant in shelf.there(there)["variants"]["nodes"]] == ["SHIRT-M", "SHIRT-L"]
    with unit_of_work(shelf.engine) as conn:
        assert operations.allow_drops(conn, shelf.row, mine, ACTOR, utc_now()) == ["SHIRT-L"]
    shelf.turn()
    assert [variant["sku"] for variant in shelf.there(there)["variants"]["nodes"]] == ["SHIRT-M"]
    assert shelf.link()["state"] == "in_step"


def test_where_we_say_which_products_there_are_ours_are_made_there(shelf: Shelf) -> None:
    shelf.read()
    shelf.master(**dict.fromkeys(["title", "variants", "price", "weight"], "ours"))
    shelf.world.faults(kind="lost_reply", match="SetProduct", count=1)
    mine = shelf.save(make_document())
    shelf.turn()
    (there,) = shelf.made()
    # Made once, though nobody was told so, and found again by its handle.
    assert shelf.link(mine)["channel_ref"] == there.rpartition("/")[2]
    assert [variant["sku"] for variant in shelf.there(there)["variants"]["nodes"]] == ["SHIRT-M", "SHIRT-L"]
    shelf.turn()
    assert (shelf.link(mine)["state"], len(shelf.made())) == ("in_step", 1)
    shelf.shop.control("deletion", sku="SHIRT-M")
    shelf.shop.control("deletion", sku="SHIRT-L")
    shelf.read()
    assert shelf.link(mine)["state"] == "gone"
    shelf.turn()
    assert shelf.made() == []
    with unit_of_work(shelf.engine) as conn:
        operations.release(conn, shelf.row, mine, ACTOR, utc_now())
    shelf.turn()
    assert len(shelf.made()) == 1


def test_a_product_that_never_arrived_is_made_once_it_can_arrive_no_more(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.read()
    shelf.master(**dict.fromkeys(["title", "variants", "price", "weight"], "ours"))
    monkeypatch.setattr("core.publication.settling.LATE", timedelta(days=1))
    shelf.world.faults(kind="http_502", match="SetProduct", count=1)
    mine = shelf.save(make_document())
    shelf.turn()
    (push,) = shelf.pushes()
    assert (push["outcome"], push["before"], shelf.made()) == (None, None, [])
    # Left alone for as long as it may still arrive.
    assert shelf.link(mine)["next_at"] == push["sent_at"] + settling.late(shelf.row)
    # A new handle here does not make it be sought by that one only.
    shelf.save(replace(shelf.ours(mine).document, handle="linen-shirt"), mine)
    monkeypatch.setattr("core.publication.settling.LATE", timedelta())
    shelf.turn()
    assert [one["outcome"] for one in shelf.pushes()] == ["lost", "confirmed"]
    (there,) = shelf.made()
    assert shelf.link(mine)["channel_ref"] == there.rpartition("/")[2]


def test_a_product_that_arrived_late_is_found_by_the_handle_it_was_sent_with(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.read()
    shelf.master(**dict.fromkeys(["title", "variants", "price", "weight", "handle"], "ours"))
    monkeypatch.setattr("core.publication.settling.LATE", timedelta(days=1))
    shelf.world.faults(kind="http_502", match="SetProduct", count=1)
    mine = shelf.save(make_document())
    shelf.turn()
    there = shelf.put(handle="shirt", **theirs("M", "L"))
    shelf.save(replace(shelf.ours(mine).document, handle="linen-shirt"), mine)
    monkeypatch.setattr("core.publication.settling.LATE", timedelta())
    with unit_of_work(shelf.engine) as conn:
        execute(conn, "update product_links set next_at = now() where shop_id = %(shop)s", shop=shelf.row.shop_id)
    # Not by what changed there, which shows late.
    write_one(shelf.app, shelf.row, shelf.reached, shelf.link(mine)["id"])
    assert shelf.made() == [there]
    assert shelf.link(mine)["channel_ref"] == there.rpartition("/")[2]


def test_what_is_not_to_be_written_now_lets_the_others_pass(shelf: Shelf) -> None:
    mine, _ = placed(shelf, title="ours")
    shelf.save(replace(shelf.ours(mine).document, title="Linen shirt"), mine)
    with unit_of_work(shelf.engine) as conn:
        execute(
            conn,
            """
            update product_links set state = 'differs', next_at = now(), version_at = now() + interval '1 year'
            where shop_id = %(shop)s
            """,
            shop=shelf.row.shop_id,
        )
    link = shelf.link()
    # Not judged since it was saved, and what is read is older than what was seen.
    assert write_one(shelf.app, shelf.row, shelf.reached, link["id"]) == "nothing"
    with read_only(shelf.engine) as conn:
        assert queries.due(conn, shelf.row, utc_now()) == []
        assert queries.due(conn, shelf.row, shelf.link()["next_at"]) == [link["id"]]
        assert queries.due(conn, shelf.row, shelf.link()["next_at"], turned=[link["id"]]) == []


def test_new_products_are_linked_a_batch_at_a_time_from_where_the_last_ended(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.read()
    shelf.master(variants="ours")
    mine = [shelf.save(coded(f"NEW-{number}")) for number in range(5)]
    monkeypatch.setattr(workers.products, "LINK_AT_ONCE", 2)
    began, unlinked = [], queries.unlinked_products

    def breaking(conn: Connection, row: ConnectionRow, after: int, limit: int) -> list[int]:
        began.append(after)
        if len(began) == 3:
            raise ConnectionResetError
        return unlinked(conn, row, after, limit)

    monkeypatch.setattr(queries, "unlinked_products", breaking)
    with pytest.raises(ConnectionResetError):
        shelf.turn()
    # What was linked before stays, and is not looked at again.
    assert began == [0, mine[1], mine[3]]
    linked = "select product_id from product_links where shop_id = %(shop)s order by 1"
    assert [one["product_id"] for one in shelf.rows(linked)] == mine[:4]
    shelf.turn()
    assert [one["product_id"] for one in shelf.rows(linked)] == mine


def test_what_had_its_turns_leaves_its_place_to_the_next(shelf: Shelf) -> None:
    shelf.read()
    with unit_of_work(shelf.engine) as conn:
        mine = [
            save_product(conn, shelf.row.shop_id, one, ACTOR, utc_now()).product_id
            for one in (coded("A"), coded("B"), coded("C"))
        ]
        linking.link_new(conn, shelf.row, [one for one in mine if one], utc_now())
        first = queries.due(conn, shelf.row, utc_now(), limit=2)
        left = queries.due(conn, shelf.row, utc_now(), turned=first, limit=2)
    assert sorted([*first, *left]) == [one["id"] for one in shelf.rows(
        "select id from product_links where shop_id = %(shop)s order by id")]  # fmt: skip
    assert len(left) == 1


def test_what_the_channel_refuses_is_said_and_not_sent_again(shelf: Shelf) -> None:
    mine, there = placed(shelf, handle="ours")
    shelf.put(handle="taken", **theirs("S"))
    shelf.save(replace(shelf.ours(mine).document, handle="taken"), mine)
    shelf.turn()
    shelf.turn()
    link = shelf.link(mine)
    assert link["state"] == "asks"
    assert "another product of the shop has that handle" in link["problem"]
    assert [push["outcome"] for push in shelf.pushes()] == ["refused"]
    assert shelf.there(there)["handle"] == "shirt"
    shelf.save(replace(shelf.ours(mine).document, handle="free"), mine)
    shelf.turn()
    assert shelf.there(there)["handle"] == "free"


@pytest.mark.parametrize("how", ["shadow", "stop", "pause"])
def test_a_switch_holds_every_write(shelf: Shelf, how: str) -> None:
    mine, there = placed(shelf, title="ours")
    shop, connection = shelf.row.shop_id, shelf.row.id
    with unit_of_work(shelf.engine) as conn:
        if how == "shadow":
            switches.to_shadow(conn, shop, connection, ACTOR, utc_now())
        elif how == "stop":
            switches.stop_writes(conn, shop, None, ACTOR, utc_now())
        else:
            switches.pause(conn, shop, connection, ACTOR, utc_now())
    shelf.save(replace(shelf.ours(mine).document, title="Linen shirt"), mine)
    counts = shelf.turn()
    assert (counts["writes_stopped"], counts["differs"], shelf.pushes()) == (1, 1, [])
    assert shelf.there(there)["title"] == "Shirt"


def test_a_right_that_is_missing_is_the_connections_problem_and_no_products(shelf: Shelf) -> None:
    mine, there = placed(shelf, title="ours")
    second = shelf.put(handle="other", **theirs("S"))
    shelf.read()
    for one in shelf.all_ours():
        shelf.save(replace(one.document, title="Linen shirt"), one.product_id)
    found = shelf.shop.data("{ currentAppInstallation { accessScopes { handle } } }")
    scopes = [one["handle"] for one in found["currentAppInstallation"]["accessScopes"]]
    shelf.shop.control("app", scopes=[one for one in scopes if one != "write_products"])
    since = []
    for _ in range(3):
        counts = shelf.turn()
        assert (counts["writes_stopped"], counts["differs"], counts["asks"]) == (1, 2, 0)
        # Nothing is tried again to find out: what may be done is asked.
        assert [push["outcome"] for push in shelf.pushes()] == ["unsent"]
        (held,) = shelf.rows("select * from product_readings where shop_id = %(shop)s")
        assert "write_products" in held["writes_held_why"]
        since.append(held["writes_held_since"])
    assert since == since[:1] * 3
    (row,) = shelf.rows("select last_error from connections where shop_id = %(shop)s")
    assert "does not let us write products" in row["last_error"]
    assert "write_products" in row["last_error"]
    # Nobody does anything here.
    shelf.shop.control("app", scopes=scopes)
    assert shelf.turn()["in_step"] == 2
    assert (shelf.there(there)["title"], shelf.there(second)["title"]) == ("Linen shirt", "Linen shirt")
    assert shelf.link(mine)["failures"] == 0
    (held,) = shelf.rows("select * from product_readings where shop_id = %(shop)s")
    assert held["writes_held_since"] is None
    assert shelf.rows("select last_error from connections where shop_id = %(shop)s") == [{"last_error": None}]


def test_what_is_gone_on_either_side_asks(shelf: Shelf) -> None:
    mine, there = placed(shelf)
    with unit_of_work(shelf.engine) as conn:
        version = shelf.ours(mine).version
        remove_product(conn, shelf.row.shop_id, mine, version, ACTOR, utc_now())
    shelf.put(there, title="Changed")
    shelf.turn()
    assert "was removed here" in shelf.link()["problem"]
    assert shelf.all_ours() == []


def test_what_is_deleted_there_and_made_again_is_the_same_product(shelf: Shelf) -> None:
    mine, _ = placed(shelf)
    for code in ("SHIRT-M", "SHIRT-L"):
        shelf.shop.control("deletion", sku=code)
    shelf.read()
    assert (shelf.link()["state"], len(shelf.all_ours())) == ("gone", 1)
    again = shelf.put(handle="shirt", **theirs("M", "L", vendor="Acme"))
    shelf.turn()
    link = shelf.link()
    assert (link["product_id"], link["channel_ref"], link["state"]) == (mine, again.rpartition("/")[2], "in_step")
    assert shelf.ours(mine).document.vendor == "Acme"


def test_metafields_of_other_apps_stay_and_ours_come_and_go(shelf: Shelf) -> None:
    mine, there = placed(shelf, metafields="ours")
    other = {"ownerId": there, "namespace": "other", "key": "app", "type": "single_line_text_field", "value": "theirs"}
    shelf.shop.control("product", product=there, metafields=[other])
    document = shelf.ours(mine).document
    shelf.save(replace(document, metafields={"details.supplier_id": "ACME-7"}), mine)
    shelf.turn()
    found = {f"{one['namespace']}.{one['key']}": one["value"] for one in shelf.there(there)["metafields"]["nodes"]}
    assert found == {"other.app": "theirs", "details.supplier_id": "ACME-7"}
    shelf.save(document, mine)
    shelf.turn()
    assert [one["key"] for one in shelf.there(there)["metafields"]["nodes"]] == ["app"]


def test_who_is_master_is_decided_by_name_and_on_record(shelf: Shelf) -> None:
    with read_only(shelf.engine) as conn:
        assert queries.masters(conn, shelf.row).of("title") == "channel"
    shelf.master(title="ours", metafields__details__material="nobody")
    with read_only(shelf.engine) as conn:
        found = queries.masters(conn, shelf.row)
        said = {one["field"]: one for one in queries.masters_said(conn, shelf.row)}
    assert (found.of("title"), found.of("price"), found.of("url")) == ("ours", "channel", "channel")
    assert (found.of("metafields.details.material"), found.of("metafields.details.x")) == ("nobody", "channel")
    assert (said["title"]["decided_by"], said["price"]["decided_by"]) == ("Ada", None)
    (entry,) = shelf.rows("select details from audit_entries where shop_id = %(shop)s and act = 'set_product_masters'")
    assert entry["details"]["fields"]["title"] == {"before": "channel", "after": "ours"}
    for field, master in (("colour", "ours"), ("title", "me"), ("url", "ours")):
        with unit_of_work(shelf.engine) as conn, pytest.raises(BadInput):
            operations.set_masters(conn, shelf.row, {field: master}, ACTOR, utc_now())


def test_a_connection_that_is_no_source_has_no_masters_until_somebody_decides(
    outside: Inside, module_engine: Engine
) -> None:
    shelf = Shelf(outside, module_engine, is_sku_source=False)
    mine = shelf.save(make_document(title="Ours"))
    there = shelf.put(handle="shirt", **theirs("M", "L"))
    shelf.read()
    shelf.turn()
    assert (shelf.ours(mine).document.title, shelf.there(there)["title"]) == ("Ours", "Shirt")
    assert shelf.link(mine)["state"] == "in_step"


def test_the_intent_of_a_push_is_frozen_and_its_outcome_set_once(shelf: Shelf) -> None:
    mine, _ = placed(shelf, title="ours")
    shelf.save(replace(shelf.ours(mine).document, title="Linen shirt"), mine)
    shelf.turn()
    for change in ("wanted = '{}'", "outcome = 'lost'", "sent_at = now() + interval '1 hour'"):
        with pytest.raises(DBAPIError, match=r"set once|frozen|recorded once"), unit_of_work(shelf.engine) as conn:
            execute(conn, f"update product_pushes set {change} where shop_id = %(shop)s", shop=shelf.row.shop_id)
    with pytest.raises(DBAPIError), unit_of_work(shelf.engine) as conn:
        execute(conn, "delete from product_pushes where shop_id = %(shop)s", shop=shelf.row.shop_id)
