"""The Category mapping screen: empty, full, one click, many at once, files, history, what cannot be read."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine, create_engine
from streamlit.testing.v1 import AppTest

from core import embedded
from core.catalog.taxonomies import loading, queries
from core.clock import utc_now
from core.db import execute, fetch, unit_of_work
from dashboard import category_mapping_actions, category_mapping_queries
from tests.dashboard import category_worlds
from tests.dashboard.category_worlds import ADA, GOOGLE, HEAD, TEXT, There
from tests.dashboard.conftest import Open, text_of

SCREEN = "categories_mapping"


@pytest.fixture
def there(engine: Engine) -> There:
    with unit_of_work(engine) as conn:
        return category_worlds.busy(conn)


def press(page: AppTest, label: str) -> AppTest:
    """Press the first button of that name."""
    next(button for button in page.button if button.label == label).click().run()
    assert not page.exception
    return page


def show(page: AppTest, part: str) -> AppTest:
    page.segmented_control(key="show").set_value(part).run()
    assert not page.exception
    return page


def states(engine: Engine, there: There) -> dict[str, tuple[str, str | None]]:
    with engine.connect() as conn:
        return {each.category: (each.state, each.ref) for each in queries.effective(conn, there.shop_id, GOOGLE)}


def test_a_shop_without_anything_says_what_comes_first(opened: Open, conn: Connection) -> None:
    category_worlds.bare(conn)
    page = opened(SCREEN)
    assert not page.exception
    said = text_of(page)
    assert "There are no categories yet" in said
    assert "Google’s taxonomy is not loaded yet" in said
    assert "No taxonomy of Google’s is loaded yet" in said
    assert "Category mapping" in [link.proto.label for link in page.get("page_link")]


def test_the_answer_says_how_many_need_somebody_and_what_they_may_be(opened: Open, there: There) -> None:
    page = opened(SCREEN)
    assert not page.exception
    said = text_of(page)
    assert "Six of 9 categories need an answer for Google; <span>7 products in them.</span>" in said
    assert "<b>1</b> mapped" in said
    assert "<b>1</b> inherited" in said
    assert "<b>5</b> unmapped" in said
    assert "<b>1</b> broken" in said
    assert "<b>1</b> left out" in said
    assert said.index("Kitchen \\> Coffee Mugs** :gray") < said.index("Kitchen \\> Teapots** :gray"), (
        "most products first"
    )
    assert "the same name" in said
    assert "\\*B0LD\\* \\[x\\] \\<i" in said, "what is foreign is shown letter by letter"


def test_one_click_accepts_a_suggestion_with_its_reasons(opened: Open, there: There, engine: Engine) -> None:
    page = press(opened(SCREEN), "Accept")
    assert states(engine, there)["Kitchen > Coffee Mugs"] == ("mapped", "7")
    with engine.connect() as conn:
        (row,) = fetch(conn, "select actor, reason, details from audit_entries where subject = %(s)s",
                       s=f"category:{there.ids['Kitchen > Coffee Mugs']}")  # fmt: skip
    assert row["actor"] == "ada"
    assert row["reason"].startswith("suggested with ")
    assert "the same name" in row["reason"]
    assert "Five of 9 categories need an answer" in text_of(page)


def test_every_part_shows_what_is_in_it(opened: Open, there: There) -> None:
    page = show(opened(SCREEN), "Broken")
    assert "which Google’s taxonomy does not have any more" in text_of(page)
    assert "It has that from **Clothes**" in text_of(show(page, "Inherited"))
    assert "nothing is told to Google for it" in text_of(show(page, "Left out"))
    assert "At Google it is **Clothes & Shoes \\> Clothes**" in text_of(show(page, "Mapped"))
    assert "Gift cards" in text_of(show(page, "All"))
    history = text_of(show(page, "History"))
    assert "Left out" in history
    assert "A person · ada: Looked at the goods" in history
    files = text_of(show(page, "Taxonomy"))
    assert "2019-09-21" in files
    assert "2021-09-21" in files


def test_many_are_accepted_as_they_were_previewed_and_taken_back(opened: Open, there: There, engine: Engine) -> None:
    said = text_of(press(opened(SCREEN), "Accept all…"))
    assert "All of 85 % or more for Google" in said
    assert "<b>3</b> categories" in said
    picks = category_mapping_queries.acceptable(there.shop_id, GOOGLE, 85, False)
    batch, accepted = category_mapping_actions.accept_many(
        there.shop_id, GOOGLE, 85, False, queries.token_of(picks), ADA
    )
    assert accepted == 3
    assert states(engine, there)["Kitchen > Teapots"] == ("mapped", "10")
    page = show(opened(SCREEN), "History")
    assert "**3 suggestions accepted together**, 3 of them stand" in text_of(page)
    assert "3 categories are as they were before it" in text_of(press(page, "Take back…"))
    assert category_mapping_actions.undo_batch(there.shop_id, GOOGLE, batch, ADA) == 3
    assert states(engine, there)["Kitchen > Teapots"] == ("unmapped", None)


def test_a_category_has_its_page_with_a_search_and_its_acts(opened: Open, there: There, engine: Engine) -> None:
    shoes = there.ids["Clothes > Shoes"]
    page = opened(SCREEN, target="google", category=str(shoes))
    assert not page.exception
    said = text_of(page)
    assert "It was **Shoes of old**" in said
    assert "ada: Looked at the goods" in said
    page.text_input(key="entry").set_value("shoe").run()
    assert "Clothes &amp; Shoes &gt; Shoes · 4" in text_of(page)
    assert "At Google it becomes **" in text_of(press(page, "Map…"))
    here = (there.shop_id, GOOGLE, shoes)
    assert category_mapping_actions.map_to(*here, "4", ADA)
    assert states(engine, there)["Clothes > Shoes"] == ("mapped", "4")
    shown = text_of(press(opened(SCREEN, target="google", category=str(shoes)), "Take the last answer back…"))
    assert "It is as it was before its last answer" in shown
    category_mapping_actions.undo(*here, ADA)
    assert states(engine, there)["Clothes > Shoes"] == ("broken", "12")
    shown = text_of(press(opened(SCREEN, target="google", category=str(shoes)), "End its answer…"))
    assert "what the nearest category above it is" in shown
    category_mapping_actions.end(*here, ADA)
    assert states(engine, there)["Clothes > Shoes"] == ("inherited", "2")
    shown = text_of(press(opened(SCREEN, target="google", category=str(shoes)), "Leave out…"))
    assert "go to Google without a category" in shown
    category_mapping_actions.leave_out(*here, ADA)
    assert states(engine, there)["Clothes > Shoes"] == ("left_out", None)


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"category": "999999"}, "There is no such category"),
        ({"category": "x", "target": "ebay"}, "need an answer for Google"),
        ({"target": "klaviyo-999999"}, "need an answer for Google"),
        ({"target": "shopify"}, "Shopify’s taxonomy is not loaded yet"),
        ({"after": "x~y"}, "need an answer for Google"),
    ],
)
def test_any_address_leads_somewhere(opened: Open, there: There, where: dict[str, str], said: str) -> None:
    page = opened(SCREEN, **where)
    assert not page.exception
    assert said in text_of(page)


def test_at_klaviyo_each_is_its_own_until_somebody_says_otherwise(opened: Open, there: There, engine: Engine) -> None:
    address = f"klaviyo-{there.klaviyo.connection_id}"
    page = opened(SCREEN, target=address)
    said = text_of(page)
    assert "Every category is told to Klaviyo UK" in said
    assert "<b>9</b> its own there" in said
    assert "No categories of this account were read yet" in said
    with unit_of_work(engine) as conn:
        told = [("k-1", "Mugs and cups"), ("k-2", "Shirts")]
        loading.load_told(conn, there.shop_id, there.klaviyo, "Klaviyo UK", told, ADA, utc_now())
    category_mapping_queries.forget()
    page = opened(SCREEN, target=address)
    assert "Shirts" in text_of(page)
    assert "<b>0</b> mapped" in text_of(page)
    assert "<b>1</b> mapped" in text_of(press(page, "Accept"))
    mugs = there.ids["Kitchen > Coffee Mugs"]
    page = opened(SCREEN, target=address, category=str(mugs))
    assert "At Klaviyo UK it is **Mugs and cups**" in text_of(page)
    assert "whatever those above it are" in text_of(press(page, "Its own…"))
    category_mapping_actions.keep_own(there.shop_id, there.klaviyo, mugs, ADA)
    with engine.connect() as conn:
        (one,) = queries.effective(conn, there.shop_id, there.klaviyo, [mugs])
    assert (one.state, one.of_id) == ("own", mugs)


def test_a_file_says_what_it_does_before_it_is_loaded(opened: Open, there: There, engine: Engine) -> None:
    page = show(opened(SCREEN), "Taxonomy")
    page.get("file_uploader")[0].set_value(("t.txt", b"id,name\n1,Mugs\n", "text/plain")).run()
    assert "begins with “id,name”" in text_of(page).replace("\\", "")
    newer = HEAD.replace("2021", "2027") + TEXT.replace("2 - Clothes & Shoes > Clothes\n", "").replace(
        "3 - Clothes & Shoes > Clothes > Shirts & Tops\n", ""
    )
    page.get("file_uploader")[0].set_value(("newer.txt", newer.encode(), "text/plain")).run()
    said = text_of(page)
    assert "<b>2027-09-21</b> version" in said
    assert "<b>2</b> answers would be broken" in said
    category_mapping_actions.load_file(there.shop_id, "google", "newer.txt", newer.encode(), ADA)
    assert states(engine, there)["Clothes"] == ("broken", "2")
    page = press(show(opened(SCREEN), "Taxonomy"), "Take the load back…")
    assert "Version 2021-09-21 counts again" in text_of(page)
    category_mapping_actions.take_load_back(there.shop_id, GOOGLE, ADA)
    assert states(engine, there)["Clothes"] == ("mapped", "2")


def test_what_cannot_be_read_is_said_and_the_way_stays(opened: Open, there: There, database: embedded.Database) -> None:
    owner = create_engine(database.superuser_url)
    with owner.begin() as conn:
        execute(conn, "alter table category_mappings rename to category_mappings_gone")
    owner.dispose()
    page = opened(SCREEN)
    assert not page.exception
    assert "The database did not answer within 5 s." in text_of(page)
    assert "Category mapping" in [link.proto.label for link in page.get("page_link")]
