"""The Import wizard: every step of a file on its way into the catalogue, as its page says it; and what people do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Block

from core import bootstrap
from core.audit import Actor
from core.catalog.imports.mapping import BadMapping, Mapping
from core.clock import utc_now
from core.connections.operations import new_key
from core.db import execute, fetch, read_only, unit_of_work
from core.desk.booking import Item
from core.desk.operations import adjust
from core.documents import NoDocument
from core.errors import Retryable
from core.files import operations as files
from core.importing import operations, queries
from core.importing.queries import Effect, Settings
from dashboard import import_actions, import_words
from tests.dashboard import import_worlds
from tests.dashboard.conftest import Open, text_of
from tests.dashboard.import_worlds import CHANGED, OWN, SHOPIFY, Imports

KILN = Mapping({"code": "Article no", "title": "Name", "price": "Preis", "units": "Lager"}, decimals=",")
ANNA = Actor("Anna", "The new season")


@pytest.fixture
def world(settings: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Imports:
    """A shop with a store of files of its own."""
    monkeypatch.setenv("SWITCHYARD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SWITCHYARD_SECRET_KEYS", new_key())
    return import_worlds.open_shop(bootstrap.application(), tmp_path)


def disabled(page: AppTest) -> dict[str, bool]:
    return {button.label: button.disabled for button in page.button}


def press(page: AppTest, label: str) -> AppTest:
    return next(button for button in page.button if button.label == label).click().run()


def says(page: AppTest, *sentences: str) -> None:
    assert not page.exception
    said = text_of(page)
    for sentence in sentences:
        assert sentence in said, sentence


def test_a_shop_that_never_imported_is_told_what_can_be(opened: Open, world: Imports) -> None:
    says(
        opened("imports"),
        "Nothing was imported yet",
        "Shopify, WooCommerce, Medusa or Spree",
        "Any other CSV, XLSX or JSON",
    )
    says(opened("imports", **{"import": "99"}), "There is no import 99")
    says(opened("imports", document="99"), "This file cannot be imported", "it was never uploaded")


def test_imports_are_listed_with_state_who_and_why_and_files_that_wait(opened: Open, world: Imports) -> None:
    import_id = world.read(CHANGED, "autumn.csv")
    world.discarded(world.read(SHOPIFY, "spring.csv"))
    world.upload(SHOPIFY, "left.csv")
    page = opened("imports")
    says(
        page,
        "1 file waits for a decision.",
        f"import?import={import_id}",
        "autumn.csv",
        "Waits for a decision",
        "3 new · 2 rejected",
        "ada: The supplier’s autumn list",
        "Discarded",
        "is uploaded and waits to be read",
    )
    says(press(page, "Go on"), "This is an export of products from Shopify.")


def test_imports_are_paged(opened: Open, world: Imports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.import_queries.PAGE", 1)
    world.read(SHOPIFY, "first.csv")
    world.read(SHOPIFY, "second.csv")
    page = opened("imports")
    assert "first.csv" not in text_of(page)
    page = press(page, "Older")
    says(page, "first.csv")
    assert "second.csv" not in text_of(page)


def test_a_known_form_is_read_as_it_is_said(opened: Open, world: Imports) -> None:
    document_id = world.upload(CHANGED, "autumn.csv")
    page = opened("imports", document=str(document_id))
    says(page, "This is an export of products from Shopify.", "there is nothing to map", "Dry run")
    assert "SKU" not in [box.label for box in page.selectbox]
    page.text_input(key=f"reason-{document_id}").set_value("The new season")
    page = press(page, "Read it, change nothing")
    says(page, "The file is read; ", "nothing is changed")
    assert "begins later" in page.toast[0].value
    (run,) = _runs(world)
    assert (run.state, run.created_by, run.reason, run.settings) == (
        "reading",
        "ada",
        "The new season",
        Settings("GBP"),
    )


def test_a_file_of_its_own_form_is_mapped_and_that_is_remembered(opened: Open, world: Imports) -> None:
    document_id = world.upload(OWN, "kiln.csv")
    key = f"import-{document_id}"
    page = opened("imports", document=str(document_id))
    says(page, "This file has 7 columns of its own.", "No column gives the **SKU**", "Not read: Article no, Lager")
    page.selectbox(key=f"{key}-field-code").set_value("Article no").run()
    assert "No column gives" not in text_of(page)
    says(page, "<span>A-1</span><span>A-2</span>")
    page.multiselect(key=f"{key}-metafields").set_value(["Lieferant"]).run()
    page.text_input(key=next(box.key for box in page.text_input if box.label == "Name of Lieferant")).set_value(
        "details.supplier_id"
    )
    page.radio(key=f"{key}-stock").set_value("Set it to the file’s numbers").run()
    says(page, "The file’s numbers are older than what was sold since it was written.")
    page.text_input(key=f"reason-{document_id}").set_value("The new supplier")
    page = press(page, "Read it, change nothing")
    (run,) = _runs(world)
    assert run.settings.location_id == world.place
    assert run.settings.mapping is not None
    assert run.settings.mapping.columns == {"title": "Name", "price": "Preis", "code": "Article no"}
    assert run.settings.mapping.metafields == {"details.supplier_id": "Lieferant"}
    again = world.upload(OWN, "kiln-next.csv")
    page = opened("imports", document=str(again))
    says(page, "Chosen as a file with these columns was mapped last.")
    assert page.selectbox(key=f"import-{again}-field-code").value == "Article no"


def test_a_column_is_taken_once(opened: Open, world: Imports) -> None:
    document_id = world.upload(OWN, "kiln.csv")
    key = f"import-{document_id}"
    page = opened("imports", document=str(document_id))
    page.multiselect(key=f"{key}-metafields").set_value(["Lieferant", "Season"]).run()
    page.selectbox(key=f"{key}-field-vendor").set_value("Lieferant").run()
    says(page, "Not read: Article no, Lager, Farbe.")
    page.multiselect(key=f"{key}-options").set_value(["Season"]).run()
    says(page, "Options need a column for **Product**")
    assert page.multiselect(key=f"{key}-metafields").value == []


def test_a_file_that_was_read_long_ago_says_so(opened: Open, world: Imports) -> None:
    import_id = world.read(SHOPIFY)
    assert "Read 20 min ago" not in text_of(opened("imports", **{"import": str(import_id)}))
    with unit_of_work(world.app.engine) as conn:
        execute(conn, "update import_runs set read_at = now() - interval '20 minutes'")
    says(opened("imports", **{"import": str(import_id)}), "Read 20 min ago. What was changed since is not overwritten")


def test_what_was_typed_stays_when_it_is_refused(opened: Open, world: Imports) -> None:
    document_id = world.upload("Colour;Size\nred;L\n", "odd.csv")
    page = opened("imports", document=str(document_id))
    page.text_input(key=f"reason-{document_id}").set_value("The new season")
    page = press(page, "Read it, change nothing")
    says(page, "choose the column of the SKU, the barcode or the title.")
    assert page.text_input(key=f"reason-{document_id}").value == "The new season"
    page.text_input(key=f"reason-{document_id}").set_value(" ")
    says(press(page, "Read it, change nothing"), "An act needs the name of who does it and a reason")
    assert _runs(world) == []


def test_a_file_of_something_else_says_what_to_upload_instead(opened: Open, world: Imports) -> None:
    page = opened("imports", document=str(world.upload("Lineitem name,Total\nMug,3\n", "sold.csv")))
    says(page, "sold.csv is a file of orders, not of products", "Nothing was changed.")
    says(press(page, "Choose another file"), "Nothing was imported yet")


def test_reading_shows_how_far_it_is_and_goes_on_after_a_reload(opened: Open, world: Imports) -> None:
    import_id = world.half_read(CHANGED)
    world.age(import_id, 600)
    for _ in range(2):
        page = opened("imports", **{"import": str(import_id)})
        says(page, "nothing is changed", "No worker has been at it for 10 min", "You may leave this page")
        assert page.get("progress")[0].proto.text == "2 of 6 rows compared"
        assert disabled(page)["Stop…"] is False
    world.work(import_id)
    says(opened("imports", **{"import": str(import_id)}), "Applying this file adds 3 products.")


def test_a_dry_run_says_what_comes_what_is_wrong_and_what_each_product_changes(opened: Open, world: Imports) -> None:
    world.applied(SHOPIFY)
    import_id = world.read(CHANGED, "autumn.csv")
    page = opened("imports", **{"import": str(import_id)})
    says(
        page,
        "Applying this file adds 1 product and changes 1 product.",
        "**1 SKU is** made.",
        "**1 price changes**.",
        "Stock is left alone",
        "“twelve” is not an amount",
        "→ write digits only, such as 12.50",
        "the column “Cost Center” is not read",
        "Title: <b>Mug → Mug of clay</b>",
        "Tags: <b>new added</b>",
        "Price of MUG-S: <b>£9.50 → £10.50</b>",
        "1 variant, £14.00, Active, by Kiln, SKU BOWL",
        "vase · Vase · Kiln",
        "Row 6, Variant Price",
    )
    assert disabled(page)["Apply…"] is False
    rejected = text_of(opened("imports", **{"import": str(import_id), "show": "reject"}))
    assert "vase · Vase · Kiln" in rejected
    assert "Mug of clay" not in rejected


def test_items_are_paged_by_position(opened: Open, world: Imports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.import_queries.ITEMS", 2)
    import_id = world.read(SHOPIFY + "vase,Vase,Kiln,Kitchen,,Title,Default Title,VASE,3.00,,active\n")
    page = opened("imports", **{"import": str(import_id)})
    assert "VASE" not in text_of(page)
    page = press(page, "Next")
    says(page, "VASE")
    assert "MUG-S" not in text_of(page)
    says(press(page, "From the beginning"), "MUG-S")


def test_stock_that_is_set_is_told_before_and_after(opened: Open, world: Imports) -> None:
    import_id = world.read(OWN, "kiln.csv", mapping=KILN, location_id=world.place)
    says(
        opened("imports", **{"import": str(import_id)}),
        "Stock on hand at **Main** is set for **2 SKUs**: +19 units.",
        "No listing shows that stock yet",
        "Stock of A-1 at Main: 0 → <b>12</b>",
    )


def test_a_file_that_changes_nothing_cannot_be_applied(opened: Open, world: Imports) -> None:
    world.applied(SHOPIFY)
    page = opened("imports", **{"import": str(world.read(SHOPIFY))})
    says(page, "Applying this file changes no product.")
    assert disabled(page)["Apply…"] is True


def test_new_categories_and_metafields_are_listed(opened: Open, world: Imports) -> None:
    text = "sku;name;category;Lieferant\nA-1;Cup;Kitchen > Cups;Kiln\n"
    mapping = Mapping({"code": "sku", "title": "name", "categories": "category"}, (), {"custom.maker": "Lieferant"})
    says(
        opened("imports", **{"import": str(world.read(text, mapping=mapping))}),
        "Category Kitchen \\> Cups",
        "Metafield custom.maker of the product, as text",
        "Categories that are made: Kitchen &gt; Cups",
    )


def test_a_file_that_cannot_be_read_is_read_again_with_its_columns(opened: Open, world: Imports) -> None:
    import_id = world.read(OWN, "kiln.csv")
    page = opened("imports", **{"import": str(import_id)})
    says(page, "kiln.csv has a form of its own", "Nothing was changed.")
    page = press(page, "Read again…")
    says(page, "is read again", "This file has 7 columns of its own.")
    document_id = world.run(import_id).document_id
    page.selectbox(key=f"import-{document_id}-field-code").set_value("Article no").run()
    page = press(page, "Read it, change nothing")
    says(page, "Being read")
    world.work(import_id)
    says(opened("imports", **{"import": str(import_id)}), "Applying this file adds 2 products.")


def test_applying_stopping_and_taking_back_say_how_far_they_are(opened: Open, world: Imports) -> None:
    import_id = world.half_applied(CHANGED)
    page = opened("imports", **{"import": str(import_id)})
    assert page.get("progress")[0].proto.text == "1 of 3 products applied"
    world.stopped(import_id)
    page = opened("imports", **{"import": str(import_id)})
    says(page, "**1 of 3 products are applied**", "<b>2</b> still to come", "Not applied yet")
    assert {"Go on…", "Undo…"} <= disabled(page).keys()
    world.act(operations.apply, import_id)
    world.work(import_id)
    page = opened("imports", **{"import": str(import_id)})
    says(page, "**3 products are applied**, by ada", "products?product=")
    world.half_undone(import_id)
    page = opened("imports", **{"import": str(import_id)})
    assert page.get("progress")[0].proto.text == "1 of 3 products taken back"
    world.stopped(import_id)
    page = opened("imports", **{"import": str(import_id)})
    says(page, "**1 product is taken back**, the rest is not.")
    assert "Undo the rest…" in disabled(page)
    assert "Go on…" not in disabled(page)
    world.undone(import_id)
    says(opened("imports", **{"import": str(import_id)}), "The catalogue is as it was before.")


def place_of(page: AppTest, label: str) -> int:
    """Which part of the page, counted from its top, has this button."""
    parts = {number: part for number, part in page.main.children.items() if isinstance(part, Block)}
    (found,) = (number for number, part in parts.items() if label in [button.label for button in part.get("button")])
    return found


def test_what_is_at_work_and_what_came_of_it_never_stand_in_one_place(opened: Open, world: Imports) -> None:
    """Else a browser shows what is in both until the page is complete, and buttons jump from under the pointer."""

    def places(*labels: str) -> list[int]:
        page = opened("imports", **{"import": str(import_id)})
        assert not page.exception
        return [place_of(page, label) for label in labels]

    import_id = world.read(CHANGED)
    (read,) = set(places("Discard…", "Apply…"))
    world.discarded(import_id)
    (discarded,) = places("Import this file again")
    import_id = world.half_applied(CHANGED)
    (at_work,) = places("Stop…")
    world.stopped(import_id)
    (stopped,) = set(places("Undo…", "Go on…"))
    world.act(operations.apply, import_id)
    world.work(import_id)
    (applied,) = places("Undo…")
    world.undone(import_id)
    (undone,) = places("Import this file again")
    assert len({read, discarded, at_work, stopped, applied, undone}) == 6


def test_what_was_not_applied_and_what_was_kept_says_why_and_what_to_do(opened: Open, world: Imports) -> None:
    late = world.read(CHANGED, "late.csv")
    first = world.applied(SHOPIFY)
    world.act(operations.apply, late)
    world.work(late)
    page = opened("imports", **{"import": str(late)})
    says(
        page,
        "Applied in part",
        "**2 products were not**",
        "another product has taken the handle since the file was read: mug",
        "→ import the file again",
    )
    # What stands in the way is what is looked at first.
    assert "BOWL" not in text_of(page)
    says(press(page, "Import this file again"), "This is an export of products from Shopify.")
    world.rename("mug", "Changed by hand")
    world.undone(first)
    says(
        opened("imports", **{"import": str(first)}),
        "**1 product was kept**",
        "the same was changed again after it was applied",
        "on the product’s own page",
    )


def test_what_was_not_applied_is_offered_as_a_file(opened: Open, world: Imports) -> None:
    late = world.read(CHANGED, "late.csv")
    world.applied(SHOPIFY)
    world.act(operations.apply, late)
    world.work(late)
    assert "Rejected rows as a file" in disabled(opened("imports", **{"import": str(late)}))


def test_stock_that_could_not_be_set_or_taken_back_is_told(opened: Open, world: Imports) -> None:
    head, one, two = "Handle,Title,Variant SKU,Variant Inventory Qty", "pan,Pan,PAN,5", "pot,Pot,POT,-2"
    import_id = world.applied(f"{head}\n{one}\n{two}\n", location_id=world.place)
    says(
        opened("imports", **{"import": str(import_id)}),
        "Stock not set",
        "not all of its stock could be set: POT: -2 is no number of units on hand",
    )
    with unit_of_work(world.app.engine) as conn:
        adjust(conn, world.shop_id, world.place, [Item("PAN", -1)], "sold", Actor("ada", "broken"), utc_now())
    world.undone(import_id)
    says(opened("imports", **{"import": str(import_id)}), "**Not all stock was taken back.** Document", "1 of PAN")


def test_a_discarded_file_changed_nothing(opened: Open, world: Imports) -> None:
    page = opened("imports", **{"import": str(world.discarded(world.read(CHANGED)))})
    says(page, "Nothing came of this file", "nothing was changed")


class App:
    """The application of the test, with a queue that keeps what was rung or is away."""

    def __init__(self, world: Imports, is_away: bool = False) -> None:
        self.engine, self.documents, self.queue = world.app.engine, world.app.documents, self
        self.is_away = is_away
        self.rings: list[tuple[str, dict[str, object]]] = []

    def enqueue(self, name: str, /, **arguments: object) -> None:
        if self.is_away:
            raise Retryable("the queue does not answer")
        self.rings.append((name, arguments))


@pytest.mark.parametrize("is_away", [False, True])
def test_every_act_is_done_once_rung_and_audited(world: Imports, is_away: bool) -> None:
    app, shop = App(world, is_away), world.shop_id
    document_id = world.upload(CHANGED)
    made = import_actions.begin(app, shop, document_id, Settings("GBP"), (), ANNA, remember=False)  # type: ignore[arg-type]
    assert ("begins later" in made.said) is is_away
    twice = import_actions.begin(app, shop, document_id, Settings("GBP"), (), ANNA, remember=False)  # type: ignore[arg-type]
    assert (twice.import_id, "imported already" in twice.said) == (made.import_id, True)
    world.work(made.import_id)
    for act, state in (
        (import_actions.apply, "applying"),
        (import_actions.undo, "undoing"),
    ):
        assert "begins" in act(app, shop, made.import_id, ANNA)  # type: ignore[arg-type]
        assert "Nothing was done: import" in act(app, shop, made.import_id, ANNA)  # type: ignore[arg-type]
        assert world.run(made.import_id).state == state
        world.work(made.import_id)
    assert "cannot be discarded: it is taken back" in import_actions.discard(app, shop, made.import_id, ANNA)  # type: ignore[arg-type]
    work = ("imports.work", {"shop_id": shop, "import_id": made.import_id})
    assert app.rings == ([] if is_away else [work] * 3)
    with read_only(world.app.engine) as conn:
        rows = fetch(
            conn,
            "select actor, act, reason from audit_entries where subject = %(s)s order by id",
            s=f"import:{made.import_id}",
        )
    assert [tuple(row.values()) for row in rows] == [
        ("Anna", act, "The new season") for act in ("begin_import", "apply_import", "undo_import")
    ]


def test_a_file_that_is_sent_by_several_clicks_at_once_is_imported_once(world: Imports) -> None:
    app, document_id = App(world), world.upload(CHANGED)

    def click(_: int) -> int:
        return import_actions.begin(
            app,
            world.shop_id,
            document_id,
            Settings("GBP"),
            (),
            ANNA,
            remember=False,  # type: ignore[arg-type]
        ).import_id

    with ThreadPoolExecutor(4) as hands:
        assert len(set(hands.map(click, range(4)))) == 1
    assert len(_runs(world)) == len(app.rings) == 1


def test_a_file_is_read_again_by_other_settings_and_not_twice_by_the_same(world: Imports) -> None:
    app, shop, import_id = App(world), world.shop_id, world.read(CHANGED)
    other = Settings("GBP", make_codes=True)
    for _ in range(2):
        import_actions.read_again(app, shop, import_id, other, (), ANNA, remember=False)  # type: ignore[arg-type]
    assert world.run(import_id).settings == other
    world.work(import_id)
    assert world.run(import_id).state == "read"
    with pytest.raises(BadMapping, match="the file has no column “Preis”"):
        import_actions.read_again(
            app,
            shop,
            import_id,
            replace(other, mapping=KILN),
            ("Article no", "Name"),
            ANNA,
            remember=True,  # type: ignore[arg-type]
        )
    assert world.run(import_id).settings == other


def test_rejected_rows_are_a_file_that_is_fetched_by_a_link(world: Imports) -> None:
    app, shop, import_id = App(world), world.shop_id, world.read(CHANGED, "autumn.csv")
    made = import_actions.prepare_rejected(app, shop, import_id, "ada")  # type: ignore[arg-type]
    assert made.file_name == "autumn-rejected.csv"
    with read_only(world.app.engine) as conn:
        (row,) = fetch(conn, "select id, key, file_name from documents where kind = 'catalogue_rejected'")
    with world.app.documents.open(row["key"]) as file:
        lines = file.read().decode("utf-8-sig").splitlines()
    assert lines[0] == CHANGED.splitlines()[0] + ",reason"
    assert [line.partition(",")[0] for line in lines[1:]] == ["vase", "lamp"]
    with unit_of_work(world.app.engine) as conn:
        files.forget(conn, world.app.documents, shop, world.run(import_id).document_id)
    with pytest.raises(NoDocument):
        import_actions.prepare_rejected(app, shop, import_id, "ada")  # type: ignore[arg-type]


def test_a_known_form_is_mapped_by_hand_and_the_next_file_likewise(opened: Open, world: Imports) -> None:
    document_id = world.upload(CHANGED, "autumn.csv")
    page = opened("imports", document=str(document_id))
    page.toggle(key=f"import-{document_id}-by-hand").set_value(True).run()
    says(page, "Which column is what")
    page.selectbox(key=f"import-{document_id}-field-vendor").set_value("Title")
    page.text_input(key=f"reason-{document_id}").set_value("Their export has the maker in the title")
    page = press(page, "Read it, change nothing")
    (run,) = _runs(world)
    assert run.settings.mapping is not None
    assert run.settings.mapping.columns["vendor"] == "Title"
    again = world.upload(CHANGED.replace("vase", "jar"), "winter.csv")
    page = opened("imports", document=str(again))
    assert page.toggle(key=f"import-{again}-by-hand").value is True
    says(page, "Chosen as a file with these columns was mapped last")
    page.toggle(key=f"import-{again}-by-hand").set_value(False).run()
    page.text_input(key=f"reason-{again}").set_value("As Shopify says after all")
    page = press(page, "Read it, change nothing")
    assert [one.settings.mapping is None for one in _runs(world)] == [True, False]
    third = world.upload(CHANGED.replace("vase", "pan"), "spring.csv")
    page = opened("imports", document=str(third))
    assert page.toggle(key=f"import-{third}-by-hand").value is False


def test_every_state_and_field_has_its_words() -> None:
    assert import_words._STATES.keys() == operations.STATES.keys()
    assert {name for fields in import_words.GROUPS.values() for name in fields} == import_words.FIELDS.keys()


def test_how_far_it_is_names_what_is_done_and_how_long_the_rest_takes(world: Imports) -> None:
    run = replace(world.run(world.half_applied(CHANGED)), state="applying")
    assert import_words.progress(run, 90.0) == "1 of 3 products applied · ≈ 1 min left"
    assert import_words.progress(run, None) == "1 of 3 products applied"
    assert import_words.share(run) == pytest.approx(1 / 3)
    unread = replace(run, state="reading", rows_total=None)
    assert (import_words.far(unread), import_words.share(unread)) == ((6, 0), 0.0)
    assert import_words.progress(unread, None).startswith("The file is looked through")


def test_connections_that_are_told_are_named() -> None:
    told = Effect(0, 0, 0, 0, 0, 0, {"Klaviyo": 1_200, "Shopify UK": 1})
    assert import_words.effects(told, None)[0] == (
        "Connections are told, as far as it is ours to decide there: **Klaviyo** of 1,200 products, **Shopify UK** of "
        "1 product."
    )


def _runs(world: Imports) -> list[queries.Run]:
    with read_only(world.app.engine) as conn:
        return queries.runs(conn, world.shop_id)
