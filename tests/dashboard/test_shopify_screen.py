"""The page of products at Shopify without a browser: none read, in step, waiting by cause, held; acts; one product."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection

from core.audit import Actor
from core.db import fetch, scalar
from core.publication.operations import NothingToRelease
from dashboard import publication_actions, publication_queries, publication_words
from dashboard.actions import application
from tests.dashboard import publication_worlds, seed
from tests.dashboard.conftest import Open, text_of

ADA = Actor("ada", "a test")


def test_no_products_read_says_how_that_begins(opened: Open, conn: Connection) -> None:
    seed.connection(conn, seed.shop(conn))
    page = opened("shopify")
    assert not page.exception
    assert "switchyard products read CONNECTION" in text_of(page)


def test_in_step(opened: Open, conn: Connection) -> None:
    publication_worlds.in_step(conn)
    page = opened("shopify")
    assert not page.exception
    said = text_of(page)
    assert "Nothing waits for a person." in said
    assert "One is listed here, with what to do, where only a person can decide" in said
    assert "What waits, by cause" not in said


def test_waiting_by_cause_a_page_at_a_time(opened: Open, conn: Connection) -> None:
    world = publication_worlds.waiting(conn)
    page = opened("shopify")
    assert not page.exception
    said = text_of(page)
    assert "37 products wait for a person." in said
    assert publication_words.CAUSES["unreadable"].head in said
    assert "30 products, the first" in said
    assert "variants.nodes.0.price" in said
    assert publication_queries.number_waiting(world.shop, "all") == 37
    page = opened("shopify", cause="unreadable")
    assert not page.exception
    # Those that wait longest first, each once.
    met = [button.key for button in page.button if button.key.startswith("release-8") or button.label == "Try again…"]
    assert len(met) == publication_queries.PAGE
    page.button("products-waiting-on").click().run()
    assert not page.exception
    rest = [button.key for button in page.button if button.label == "Try again…"]
    assert len(rest) == 5
    assert not set(met) & set(rest)
    page = opened("shopify", cause="fought", after="nonsense~7")
    assert "Nothing waits for that any more" in text_of(page)


def test_every_cause_has_words(conn: Connection) -> None:
    (row,) = fetch(conn, "select pg_get_constraintdef(oid) as said from pg_constraint where conname = "
                         "'ck_product_links_cause'")  # fmt: skip
    named = {cause for cause in publication_words.CAUSES if f"'{cause}'" in row["said"]}
    assert named == publication_words.CAUSES.keys() - {"other"}
    assert row["said"].count("::text") == len(named)


def test_what_holds_everything_is_one_card_and_no_products_fault(opened: Open, conn: Connection) -> None:
    world = publication_worlds.held(conn)
    page = opened("shopify")
    assert not page.exception
    said = text_of(page)
    assert "Nothing is written to Shopify UK." in said
    assert "the scope write_products is not granted" in said
    assert "Nothing is written there now." in said
    product = next(iter(world.catalogue.products.values()))
    page = opened("products", product=str(product))
    assert not page.exception
    assert "the scope write_products is not granted" in text_of(page)


def test_one_product_says_how_it_stands(opened: Open, conn: Connection) -> None:
    world = publication_worlds.waiting(conn)
    refused, deleted, other = (world.catalogue.products[name] for name in ("cup-0", "linen-shirt", "candle-1"))
    page = opened("products", product=str(refused))
    assert not page.exception
    said = text_of(page)
    assert "At Shopify" in said
    assert "another product of the shop has that handle" in said
    assert "Try again…" in {button.label for button in page.button}
    page = opened("products", product=str(other))
    assert "In step" in text_of(page)
    assert "Try again…" not in {button.label for button in page.button}
    assert "Deleted there" in text_of(opened("products", product=str(deleted)))


def test_products_are_tried_again_with_a_reason(settings: None, conn: Connection) -> None:
    world = publication_worlds.waiting(conn)
    links = fetch(conn, "select id, cause from product_links where shop_id = %(s)s and cause is not null", s=world.shop)
    by_cause = {row["cause"]: row["id"] for row in links}
    ids = [by_cause["refused"], by_cause["unclear"], by_cause["deleted"]]
    said = publication_actions.release(application(), world.shop, world.connection, ids, ADA)
    # The channel is not asked to make anew what it is master of.
    assert said.startswith("2 products will be tried again with the next turn. 1 product could not be")
    assert scalar(conn, "select state from product_links where id = %(id)s", id=by_cause["refused"]) == "differs"
    called = fetch(conn, "select channel_ref from product_calls where shop_id = %(s)s", s=world.shop)
    assert len(called) == 2
    reasons = fetch(conn, "select reason from audit_entries where act = 'release_product'")
    assert [row["reason"] for row in reasons] == ["a test"] * 2
    with pytest.raises(NothingToRelease):
        publication_actions.release(application(), world.shop, world.connection, [by_cause["deleted"]], ADA)


def test_one_that_is_gone_meanwhile_keeps_the_others_from_nothing(settings: None, conn: Connection) -> None:
    world = publication_worlds.waiting(conn)
    links = fetch(conn, "select id, cause from product_links where shop_id = %(s)s and cause is not null", s=world.shop)
    by_cause = {row["cause"]: row["id"] for row in links}
    unknown = max(by_cause.values()) + 1_000
    ids = [by_cause["refused"], by_cause["deleted"], unknown]
    said = publication_actions.release(application(), world.shop, world.connection, ids, ADA)
    assert said.startswith("1 product will be tried again with the next turn. 2 products could not be: ")
    title = scalar(
        conn,
        "select p.title from products p join product_links l on l.shop_id = p.shop_id and l.product_id = p.id"
        " where l.id = %(id)s",
        id=by_cause["deleted"],
    )
    assert f"{title} (the product was deleted there" in said
    assert "one that is not there any more" in said
    assert scalar(conn, "select state from product_links where id = %(id)s", id=by_cause["refused"]) == "differs"
    with pytest.raises(NothingToRelease, match="not there any more"):
        publication_actions.release(application(), world.shop, world.connection, [unknown], ADA)
