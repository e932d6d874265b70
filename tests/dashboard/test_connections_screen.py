"""The screen of connections: its words, its states, its acts, and the banner on every page."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, create_engine
from streamlit.testing.v1 import AppTest

from core import embedded
from core.db import execute, scalar
from dashboard.connection_queries import behind
from tests.dashboard import connection_worlds, seed
from tests.dashboard.conftest import Open, text_of


def press(page: AppTest, label: str) -> AppTest:
    """Click the button of that label."""
    return next(button for button in page.button if button.label == label).click().run()


def labels(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def test_a_busy_connection_tells_everything(opened: Open, conn: Connection) -> None:
    world = connection_worlds.several(conn)
    page = opened("connections", connection=str(world.shopify))
    assert not page.exception
    said = text_of(page).replace("\\", "")
    for words in (
        "Two of four connections are in step. <span>Not written to: one paused and one in shadow mode.",
        "harbour-goods.myshopify.com",
        "It works, but it does not call us for 2 topics.",
        "Shopify UK does not call us for 2 topics",
        "What differs is written to it.",
        # the test that was made
        "It answered as Harbour Goods (harbour-goods.myshopify.com), plan Advanced, in 142 ms.",
        "read_all_orders is not granted. **Add it where you want to see changes of orders older than 60 days.**",
        "<span>write_inventory</span>",
        "Tested 6 min ago by ada",
        # quota
        "for writing quantities",
        "told to wait.",
        "Asking for orders",
        # subscriptions
        "Of 7 topics one is missing and one is refused",
        "gone for 3 h 00 min; made again at the next check",
        "repaired 2 times",
        "the app has no right to read fulfilments [read_fulfillments]",
        # versions
        "It answers as asked, with 2026-10, supported until 1 Oct 2027",
        "Order.oldTotal",
        # errors
        "Shopify is not available just now",
        "Nothing: the same has succeeded since.",
        # guarantee, and what people did
        "It compares before it sets, and refuses at zero.",
        "By 15 units in all. 4 units at 1 listing count as exposed",
        "Draft orders",
    ):
        assert words in said, words
    assert "Reference" not in said
    shown = {metric.label: metric.value for metric in page.metric}
    assert (shown["Lag"], shown["Open writes"]) == ("0 s", "0")
    assert shown["Orders known up to"].endswith("ago")
    assert shown["Quota left"].replace(",", "").isdigit()


def test_a_refusing_channel_says_why_and_what_to_do(opened: Open, conn: Connection) -> None:
    world = connection_worlds.several(conn)
    connection_worlds.stop(conn, world.shop, world.amazon, "prices are wrong [*there*]")
    seed.set_state(conn, "connections", world.amazon, last_error="it was refused", last_error_at=seed.now())
    page = opened("connections", connection=str(world.amazon))
    assert not page.exception
    said = text_of(page)
    assert r"Nothing is written to it\: stopped since " in said
    assert r"by ada\: prices are wrong \[\*there\*\]." in said
    assert "A right is missing: test to see which" in said
    assert "It sets what it is told, later, without comparing." in said
    assert "&lt;b&gt;" in said
    assert "*no*] <b>" not in said
    assert "Resume its writes…" in labels(page)
    assert "Stop its writes…" not in labels(page)
    assert {m.label: m.value for m in page.metric}["Quota left"] == "5/s"
    assert "All writes are stopped" not in said


def test_a_version_that_fell_forward_and_one_that_ends_soon_are_said(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    shopify = seed.connection(conn, shop)
    seed.call(conn, shop, shopify, seed.ago(minutes=1), asked_version="2025-07", api_version="2026-01")
    said = text_of(opened("connections"))
    assert r"Asked for 2025-07, it answers with 2026-01\: 2025-07 is not supported any more." in said
    assert "Fell forward" in said
    assert 'class="sy-warn">2026-01' in said


def test_without_a_connection_it_says_how_to_connect(opened: Open, conn: Connection) -> None:
    seed.shop(conn)
    page = opened("connections")
    assert not page.exception
    assert "No channel is connected yet." in text_of(page)
    assert page.code[0].value == "switchyard connect shopify"


def test_an_address_of_none_says_so(opened: Open, conn: Connection) -> None:
    seed.connection(conn, seed.shop(conn))
    page = opened("connections", connection="777")
    assert not page.exception
    assert "There is no connection 777" in text_of(page)


@pytest.mark.parametrize("screen", ["connections", "orders", "rules", "calls", "jobs", "desk"])
def test_what_only_looks_like_a_number_is_none(opened: Open, conn: Connection, screen: str) -> None:
    seed.connection(conn, seed.shop(conn))
    where = ("connection", "order", "rule", "call", "before", "after", "document", "run")
    page = opened(screen, **dict.fromkeys(where, "²"))
    assert not page.exception
    assert "Cannot read" not in text_of(page)


def test_a_name_is_shown_letter_by_letter_and_pages_keep_its_order(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    seed.connection(conn, shop, "**big** [shop](http://x.test)")
    page = opened("connections")
    assert any(label.startswith(r"\*\*big\*\*") for label in labels(page))
    found = [
        {"connection_id": place, "name": name} for place, name in enumerate(("apple", "Banana", "cherry"), start=1)
    ]
    assert [row["name"] for row in behind(found, 1)] == ["Banana", "cherry"]
    assert behind(found, 9) == behind(found, None) == found


def test_the_address_keeps_the_one_that_needed_somebody_most(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    calm, worse = seed.connection(conn, shop, "A calm one"), seed.connection(conn, shop, "B behind")
    for each in (calm, worse):
        seed.call(conn, shop, each, seed.ago(seconds=5))
    message = seed.message(conn, shop, worse, seed.ago(minutes=19), "received")
    page = opened("connections")
    assert page.query_params["connection"] == str(worse)
    assert "It is 19 min behind, where 2 min are usual." in text_of(page)
    seed.set_state(conn, "inbox_messages", message, state="handled", settled_at=seed.now())
    page.run()
    assert page.query_params["connection"] == str(worse)


def test_many_connections_come_by_page(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    for place in range(23):
        seed.connection(conn, shop, f"Shop {place:02d}")
    page = opened("connections", connection="1")
    shown = [label for label in labels(page) if label.startswith("Shop ")]
    assert (len(shown), shown[-1]) == (20, "Shop 19")
    press(page, "More")
    assert [label for label in labels(page) if label.startswith("Shop ")] == ["Shop 20", "Shop 21", "Shop 22"]


def test_a_click_on_test_asks_and_waits_for_the_answer(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    one = seed.connection(conn, shop)
    page = press(opened("connections", connection=str(one)), "Test")
    assert not page.exception
    assert "Shopify UK: waiting for a worker" in text_of(page)
    assert scalar(conn, "select act || ' ' || actor || ' ' || reason from audit_entries") == (
        "test_connection ada tested on the Connections page"
    )
    execute(
        conn,
        "update sync_runs set state = 'failed', ended_at = now(), error = 'about: not authorised: the token is bad'",
    )
    said = text_of(opened("connections", connection=str(one)))
    assert "Test failed" in said
    assert "Renew its credentials with “switchyard connect”, then test again." in said


def test_the_preview_of_the_switch_counts_what_stops(opened: Open, conn: Connection) -> None:
    world = connection_worlds.several(conn)
    execute(
        conn,
        "update listings set desired_units = desired_units + 3 where connection_id = %(c)s and id %% 4 = 1",
        c=world.shopify,
    )
    page = press(opened("connections", connection=str(world.shopify)), "Stop all writes…")
    assert not page.exception
    said = text_of(page)
    assert "<b>2</b> connections stop" in said
    assert "<b>10</b> quantities to write now" in said
    assert "Zeros are held up too" in said


def test_a_stop_of_the_shop_shows_on_every_page(opened: Open, conn: Connection) -> None:
    world = connection_worlds.several(conn)
    connection_worlds.stop(conn, world.shop, reason="Shopify shows <wrong> numbers")
    for screen in (None, "setup", "connections"):
        page = opened(screen)
        assert not page.exception
        said = text_of(page)
        assert "<b>All writes are stopped</b> since " in said, screen
        assert "by ada: Shopify shows &lt;wrong&gt; numbers." in said, screen
        if screen is None:
            assert f'href="connections?connection={world.shopify}" target="_self">Shopify UK</a></b>' in said
            assert said.count("writes stopped") == 4
    assert "Stop all writes…" not in labels(page)
    assert "All writes are stopped." in said
    press(page, "Resume writes…")
    assert not page.exception
    said = text_of(page)
    assert "<b>2</b> connections resume" in said
    assert "Shopify DE, Till Covent Gdn stay unwritten" in said


def test_in_shadow_mode_it_says_what_going_live_would_change(opened: Open, conn: Connection) -> None:
    world = connection_worlds.several(conn)
    page = opened("connections", connection=str(world.shadow))
    assert not page.exception
    said = text_of(page).replace("\\", "")
    for words in (
        "It is read and compared, and was heard",
        "nothing is written to it until it goes live.",
        "12 listings show what they should. Going live would write 6 numbers: 6 units up, 134 down, 2 listings to",
        'aria-label="12 equal, 2 would go to zero, 2 would be lowered, 2 would be raised, 2 not written"',
        "\N{MINUS SIGN}106",
    ):
        assert words in said, words
    assert "Reference" not in said
    assert said.index("\N{MINUS SIGN}106") < said.index("\N{MINUS SIGN}19") < said.index("\N{MINUS SIGN}7<")
    # It is behind with nothing: what differs is not to be written.
    assert "listings to push" not in said
    page.segmented_control(key="differs").set_value("To zero").run()
    assert "\N{MINUS SIGN}106" not in text_of(page)
    assert "\N{MINUS SIGN}7" in text_of(page)
    page.segmented_control(key="differs").set_value("Not written").run()
    assert "offered by no channel rule" in text_of(page)
    assert "**Writes nothing**. It is in shadow mode" in text_of(press(page, "Sync now…"))
    press(page, "Go live…")
    said = text_of(page)
    assert "<b>2</b> to zero, from 9 units" in said
    assert "<b>2</b> raised, by 6 units" in said


def test_it_cannot_go_live_before_the_comparison_is_known(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    shadow = seed.connection(conn, shop, write_mode="shadow", orders_polled_to=None, catalogue_read_at=None)
    page = opened("connections", connection=str(shadow))
    assert not page.exception
    said = text_of(page)
    assert "It has no listing yet" in said
    assert "Its catalogue and levels were never read to the end: sync it" in said.replace("\\", "")
    assert next(button for button in page.button if button.label == "Go live…").disabled


def test_what_differs_comes_by_page(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    shadow = seed.connection(conn, shop, write_mode="shadow")
    place = seed.location(conn, shop)
    for number in range(23):
        sku = seed.sku(conn, shop, f"S-{number:02d}")
        seed.listing(conn, shop, shadow, sku, place, published_units=100 + number, desired_units=50)
    page = opened("connections", connection=str(shadow))
    assert "S-22" in text_of(page)
    assert "S-02" not in text_of(page)
    press(page, "Smaller")
    said = text_of(page)
    assert ("S-03" in said, "S-02" in said, "S-00" in said) == (False, True, True)


def test_a_part_that_cannot_be_read_takes_nothing_else_with_it(
    opened: Open, conn: Connection, database: embedded.Database
) -> None:
    shop = seed.shop(conn)
    one = seed.connection(conn, shop)
    seed.call(conn, shop, one, seed.ago(seconds=5))
    owner = create_engine(database.migrate_url, isolation_level="AUTOCOMMIT")
    with owner.connect() as owned:
        execute(owned, "alter view connection_errors rename to connection_errors_elsewhere")
    owner.dispose()
    page = opened("connections", connection=str(one))
    assert not page.exception
    said = text_of(page)
    assert said.count("Cannot read") == 1
    assert "It shows what it should" in said
    assert "It compares before it sets" in said


def test_amazon_tells_of_feeds_its_queue_quotas_and_the_stock_it_keeps(opened: Open, conn: Connection) -> None:
    world = connection_worlds.several(conn)
    connection_worlds.sells_at_amazon(conn, world)
    page = opened("connections", connection=str(world.amazon))
    assert not page.exception
    said = text_of(page)
    for words in (
        # feeds and their reports
        "A feed of 800 messages is with Amazon for 4 min",
        "1,190 accepted, 14 refused",
        "1 not shown yet",
        "800 raises take 3 minutes one by one and 90 seconds in a feed",
        "the document is no JSON [*no*] &lt;b&gt;",
        "Being applied",
        "Came to nothing",
        # the queue
        "The queue was read 2 min ago; the last message came 3 min ago. 245 messages in 24 h.",
        "FBA_INVENTORY_AVAILABILITY_CHANGES",
        # quota
        "Each operation has a quota of its own",
        "<b>patchListingsItem</b>",
        "up to 5 calls a second",
        # orders
        "Its changed orders were last asked for 2 min ago; the answer has more pages, and the next asking goes on",
        # stock it keeps
        "Amazon UK warehouses",
        "mapping?connection=Amazon+UK",
    ):
        assert words in said, words


def test_what_the_channel_keeps_itself_is_no_problem_of_ours(opened: Open, conn: Connection) -> None:
    world = connection_worlds.several(conn)
    connection_worlds.sells_at_amazon(conn, world)
    assert "Kept by the channel itself" not in text_of(opened("connections", connection=str(world.amazon)))


def test_an_amazon_without_feeds_queue_or_warehouse_says_so(opened: Open, conn: Connection) -> None:
    shop = seed.shop(conn)
    amazon = seed.connection(conn, shop, "Amazon UK", "amazon", "B")
    page = opened("connections", connection=str(amazon))
    assert not page.exception
    said = text_of(page)
    assert "No feed was needed so far" in said
    assert "It puts its notifications into no queue of yours" in said
    assert "Nothing was asked of it in the last hour." in said
    assert "Its changed orders have not been asked for yet." in said
    assert "It keeps none of your stock" in said


def test_a_queue_that_cannot_be_read_says_why(opened: Open, conn: Connection) -> None:
    world = connection_worlds.several(conn)
    connection_worlds.sells_at_amazon(conn, world)
    execute(
        conn,
        """
        update channel_mailboxes set problem = 'the key may not read the queue: allow sqs:ReceiveMessage',
            problem_at = now() - interval '7 minutes'
        """,
    )
    said = text_of(opened("connections", connection=str(world.amazon)))
    assert "The queue cannot be read since 7 min." in said
    assert "allow sqs" in said


def test_only_amazon_has_feeds(opened: Open, conn: Connection) -> None:
    world = connection_worlds.several(conn)
    said = text_of(opened("connections", connection=str(world.shopify)))
    assert "Feeds, and what their reports said" not in said
    assert "#feeds" not in said
