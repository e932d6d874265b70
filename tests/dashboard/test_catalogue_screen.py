"""The Catalogue's pages without a browser: nothing yet, a catalogue that lived, what is not there, and refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Connection

from core.audit import Actor
from core.catalog.categories.operations import BadCategory, CategoryInUse
from core.catalog.products import operations
from core.catalog.products.operations import NameTaken, NothingToTakeBack, ProductChanged
from core.catalog.products.queries import Filters
from core.db import execute, fetch_one
from dashboard import catalogue_actions, catalogue_queries, people, product_editor, product_form, queries
from dashboard.actions import application
from tests.dashboard import catalogue_worlds, seed
from tests.dashboard.conftest import Open, text_of

ADA = Actor("ada", "a test")


def test_nothing_yet_says_what_comes(opened: Open, conn: Connection) -> None:
    seed.shop(conn)
    page = opened("products")
    assert not page.exception
    assert "There are no products yet" in text_of(page)
    assert "New product…" in {button.label for button in page.button}
    page = opened("products", show="SKUs without one")
    assert not page.exception
    page = opened("categories")
    assert not page.exception
    assert "There are no categories yet" in text_of(page)
    page = opened("products", new="yes")
    assert not page.exception
    assert "See what changes…" in {button.label for button in page.button}


@pytest.mark.parametrize(
    ("screen", "where", "says"),
    [
        ("products", {"product": "7"}, "There is no such product"),
        ("products", {"product": "x"}, "There is no such product"),
        ("products", {"product": "7", "edit": "yes"}, "There is no such product"),
        ("products", {"category": "99999999999999999999"}, "No product fits"),
        ("products", {"vendor": "1' or true --"}, "No product fits"),
        ("products", {"after": "9~zzzz"}, "There are no more products"),
        ("categories", {"category": "7"}, "There is no such category"),
        ("categories", {"category": "x"}, "There is no such category"),
    ],
)
def test_an_address_of_nothing_says_so(
    opened: Open, conn: Connection, screen: str, where: dict[str, str], says: str
) -> None:
    seed.shop(conn)
    page = opened(screen, **where)
    assert not page.exception
    assert says in text_of(page)


def test_a_database_that_does_not_answer_is_said(
    opened: Open, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed.shop(conn)

    def fails(*_: object, **__: object) -> None:
        raise queries.Unreadable(OSError("gone"))

    for screen, name, where in (
        ("products", "products", {}),
        ("products", "product", {"product": "1"}),
        ("categories", "totals", {}),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(catalogue_queries, name, fails)
            page = opened(screen, **where)
            assert not page.exception
            assert "The database did not answer within 5 s." in text_of(page)


def test_a_catalogue_on_every_page(opened: Open, conn: Connection) -> None:
    world = catalogue_worlds.full(conn)
    shirt = world.products["linen-shirt"]

    page = opened("products")
    assert not page.exception
    said = text_of(page)
    assert "60 products, by title" in said
    assert "Wool &amp; Sons &lt;Leeds&gt;" in said
    assert "Clothes &gt; Trousers" in said
    assert said.count("sy-thumb") >= 50
    page.button("products-on").click().run()
    said = text_of(page)
    assert "Trousers no. 56" in said
    assert f'href="products?product={shirt}"' not in said
    page.button("products-back").click().run()
    assert f'href="products?product={shirt}"' in text_of(page)

    for where, fits in (
        ({"category": str(world.categories["Home"])}, "36 products"),
        ({"category": "none"}, "6 products"),
        ({"vendor": "Wool & Sons <Leeds>", "type": "Cup"}, "10 products"),
    ):
        page = opened("products", **where)
        assert not page.exception
        assert f"{fits}, by title" in text_of(page)
    page = opened("products", category="none", vendor="nobody")
    assert "No product fits" in text_of(page)
    page.button("show-all").click().run()
    assert "60 products, by title" in text_of(page)
    page.selectbox("choose-vendor").select("Åkesson").run()
    assert "1 product, by title" in text_of(page)
    page.text_input("q").set_value("shirt-pin-m").run()
    assert "£45.00–£47.00" in text_of(page)

    page = opened("products", product=str(shirt))
    assert not page.exception
    said = text_of(page)
    assert "Horn buttons" in said
    assert 'href="skus?sku=SHIRT-SAN-S"' in said
    assert "£52.00" in said
    assert "#1B4D3E" in said
    assert "Price of SHIRT-SAN-S: £45.00 → £99.00" in said
    assert "Took back version 2" in said
    assert "New price list \\<of the supplier\\>" in said

    page = opened("products", product=str(shirt), edit="yes")
    assert not page.exception
    assert page.text_input[1].value == "Linen shirt, washed"

    page = opened("products", new="GIFT-WRAP")
    assert not page.exception
    assert page.text_input[1].value == "Gift wrapping"

    page = opened("categories")
    assert not page.exception
    said = text_of(page)
    assert "6 products are in no category" in said
    assert f'href="products?category={world.categories["Home > Candles"]}"' in said
    page = opened("categories", category=str(world.categories["Sale"]))
    assert {"Rename or move…", "Merge…", "Remove…", "Add below…"} <= {button.label for button in page.button}
    page = opened("categories", q="nothing of that name")
    page.text_input("q").set_value("cup").run()
    assert "Home &gt; Kitchen" in text_of(page)


def test_a_removed_product_shows_what_became_of_it(opened: Open, conn: Connection) -> None:
    world = catalogue_worlds.full(conn)
    cup = world.products["cup-0"]
    operations.remove_product(conn, world.shop, cup, 1, ADA, seed.now())
    page = opened("products", product=str(cup))
    assert not page.exception
    said = text_of(page)
    assert "Cup no. 00" in said
    assert "Product removed: Cup no. 00" in said
    catalogue_actions.undo(application(), world.shop, cup, 2, 2, ADA)
    catalogue_queries.forget()
    assert "Took back version 2" in text_of(opened("products", product=str(cup)))


def test_what_is_done_is_done_to_what_was_seen(conn: Connection, settings: None) -> None:
    world = catalogue_worlds.full(conn)
    app, shop, shirt = application(), world.shop, world.products["linen-shirt"]
    seen = catalogue_queries.newest(shop, shirt)
    assert seen is not None
    plan = catalogue_queries.undo(shop, shirt, 4)
    changed = replace(seen.document, title="Linen shirt, new")
    assert catalogue_actions.save(app, shop, changed, ADA, shirt, seen.version).version == 5
    with pytest.raises(ProductChanged):
        catalogue_actions.save(app, shop, changed, ADA, shirt, seen.version)
    with pytest.raises(ProductChanged):
        catalogue_actions.undo(app, shop, shirt, 3, plan.version, ADA)
    with pytest.raises(NothingToTakeBack, match="changed again since"):
        catalogue_queries.undo(shop, shirt, 4)
    with pytest.raises(NameTaken):
        catalogue_actions.save(app, shop, product_form.empty("GBP", {"code": "SHIRT-PIN-M", "title": "Another"}), ADA)
    at = world.categories
    with pytest.raises(CategoryInUse):
        catalogue_actions.remove_category(app, shop, at["Home"], ADA)
    with pytest.raises(BadCategory):
        catalogue_actions.move_category(app, shop, at["Home"], at["Home > Candles"], "Home", ADA)
    light = catalogue_actions.create_category(app, shop, at["Home"], "Light", ADA)
    catalogue_actions.move_category(app, shop, light, None, "Lights", ADA)
    assert catalogue_actions.merge_category(app, shop, at["Home > Candles"], light, ADA).products == 18
    catalogue_queries.forget()
    assert catalogue_queries.paths(shop, "all")[light] == "Lights"
    found = catalogue_queries.products(shop, "all", Filters(category_id=light), None)
    assert found.counted == 18


def test_what_is_typed_goes_on_top_of_what_others_changed_and_what_collides_is_said(
    conn: Connection, settings: None
) -> None:
    world = catalogue_worlds.full(conn)
    app, shop, shirt = application(), world.shop, world.products["linen-shirt"]
    viewer = people.Viewer(people.Person("ada", "admin", "all"), people.Shop(shop, "Harbour", "Europe/London", "GBP"))
    base = catalogue_queries.newest(shop, shirt)
    assert base is not None
    mine = replace(base.document, title="Mine")
    draft = product_editor.Draft(base, product_form.typed(mine, {}))
    assert product_editor.on_top(viewer, draft, mine) == (base, mine)
    theirs = replace(base.document, vendor="Theirs")
    catalogue_actions.save(app, shop, theirs, ADA, shirt, base.version)
    found = product_editor.on_top(viewer, draft, mine)
    assert found is not None
    assert (found[0].version, found[1]) == (base.version + 1, replace(theirs, title="Mine"))
    catalogue_actions.save(app, shop, replace(theirs, title="Theirs"), ADA, shirt, base.version + 1)
    assert product_editor.on_top(viewer, draft, mine) is None
    assert "Title: Linen shirt, washed → Theirs" in [one.sentence for one in draft.clash]
    catalogue_actions.remove(app, shop, shirt, base.version + 2, ADA)
    assert product_editor.on_top(viewer, draft, mine) is None
    assert draft.clash[0].sentence == "Product removed: Linen shirt, washed"


def test_products_are_written_to_a_file_as_they_are_narrowed(opened: Open, conn: Connection) -> None:
    catalogue_worlds.full(conn)
    page = opened("products", show="Draft")
    page.button(key="export-begin").click().run()
    assert not page.exception
    row = fetch_one(conn, "select * from catalogue_exports")
    assert row is not None
    assert (row["state"], row["kind"], row["filters"]["status"]) == ("writing", "csv", "draft")
    execute(conn, "update catalogue_exports set state = 'failed', problem = 'the disk is full', ended_at = now()")
    page = opened("products")
    assert "The file was not written:" in text_of(page)
    assert "the disk is full" in text_of(page)
    page.button(key="export-hide").click().run()
    assert "The file was not written:" not in text_of(page)
