"""Orders, and where each change stands, without a browser: empty, full, not found, unreadable; their words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from dashboard import change_queries, change_words
from tests.dashboard import change_worlds, seed
from tests.dashboard.conftest import Open, forget_all, text_of

NOW = datetime(2026, 11, 27, 14, 32, tzinfo=UTC)


def test_a_shop_without_orders_says_when_there_will_be_some(opened: Open, conn: Connection) -> None:
    seed.shop(conn)
    page = opened("orders")
    assert not page.exception
    assert "There are no orders yet" in text_of(page)


def test_orders_are_listed_newest_first_with_where_they_stand_and_one_is_opened(opened: Open, conn: Connection) -> None:
    pair = change_worlds.full(conn)
    page = opened("orders")
    assert not page.exception
    table = page.dataframe[0].value
    assert list(table["Order"]) == ["#1046", "#1045", "#1044", "#1043", "#1042"]
    assert [words[0] for words in table["Channels"]] == ["Stuck", "Stuck", "Refused", "Cancelled", "Everywhere"]
    assert list(opened("orders", show="Stuck").dataframe[0].value["Order"]) == ["#1046", "#1045"]
    assert list(opened("orders", q="1042").dataframe[0].value["Order"]) == ["#1042"]
    assert "compared exactly" in text_of(opened("orders", q="104"))

    page = opened("orders", order=change_worlds.order_id(conn, pair, "1045"))
    assert not page.exception
    said = text_of(page)
    assert "#1045" in said
    assert "4 held" in said
    assert "Stuck" in said
    assert "The connection is paused. Resume the connection" in said
    assert "Nothing has moved yet" in said

    said = text_of(opened("orders", order=change_worlds.order_id(conn, pair, "1042")))
    assert "1 held, 2 shipped" in said
    assert "Shows 37, confirmed after 8 s." in said
    said = text_of(opened("orders", order=change_worlds.order_id(conn, pair, "1043")))
    assert "Taken back before it was reached." in said
    assert "Shows 25, confirmed" in said, "the channel that sold it had to be told too: it restocks nothing by itself"
    said = text_of(opened("orders", order=change_worlds.order_id(conn, pair, "1044")))
    assert "The channel refused the number. NOT_STOCKED_AT_LOCATION: the item is not stocked there." in said

    said = text_of(opened("skus", sku="CUP"))
    assert "Receipt 1" in said
    assert "Order #1043 cancelled" in said
    assert "1 leg is stuck." in said
    said = text_of(opened())
    assert "2 changes have not reached Shopify EU in time" in said


def test_an_orders_page_says_which_packages_its_channel_knows(opened: Open, conn: Connection) -> None:
    pair, number = change_worlds.packages(conn)
    page = opened("orders", order=number)
    assert not page.exception
    said = text_of(page)
    for words in ("1Z1", "1Z2", "Known there", "Refused", "InvalidInput: the carrier is", "Correct it with"):
        assert words in said, said
    assert "<b>not</b>" not in said
    kept = change_queries.packages(pair.shop_id, int(number))
    assert sorted((row["package_ref"], row["state"]) for row in kept) == [
        ("1", "known"), ("2", "refused"), ("9", "known"),
    ]  # fmt: skip
    page = opened()
    assert not page.exception
    assert "refuses to confirm 1 package" in text_of(page)


@pytest.mark.parametrize("number", ["999999", "nonsense", "9" * 40])
def test_an_order_that_is_not_there_is_said_to_be_not_there(opened: Open, conn: Connection, number: str) -> None:
    seed.shop(conn)
    page = opened("orders", order=number)
    assert not page.exception
    assert "There is no such order" in text_of(page)


def test_an_address_made_up_by_somebody_shows_the_first_page(opened: Open, conn: Connection) -> None:
    seed.order(conn, seed_shop := seed.shop(conn), seed.connection(conn, seed_shop), seed.ago(minutes=1))
    for after in ("x~1", "2026-11-27~1", "~", f"{NOW.isoformat()}~x"):
        page = opened("orders", after=after)
        assert not page.exception
        assert len(page.dataframe[0].value) == 1


def test_pages_follow_each_other_without_a_gap(opened: Open, conn: Connection, settings: None) -> None:
    shop = seed.shop(conn)
    channel = seed.connection(conn, shop)
    at = seed.ago(minutes=5)
    for number in range(60):
        seed.order(conn, shop, channel, at + timedelta(seconds=number // 7), f"#{number}")
    seen, after = [], None
    while True:
        page = change_queries.orders(shop, "all", "", after)
        seen += [row["order_id"] for row in page.rows]
        if not page.more:
            break
        after = (page.rows[-1]["placed_at"], page.rows[-1]["order_id"])
    assert len(seen) == len(set(seen)) == 60
    assert seen == sorted(seen, reverse=True)


def test_a_database_that_is_away_leaves_a_reason_and_no_figures(
    opened: Open, conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed.shop(conn)
    opened("orders")
    monkeypatch.setattr(change_queries, "rows", _away)
    page = opened("orders")
    forget_all()
    assert not page.exception
    assert "The database did not answer" in text_of(page)
    assert not page.dataframe


def _away(*_: object, **__: object) -> Any:
    from dashboard.queries import Unreadable

    raise Unreadable(OSError("gone"))


def leg(**more: Any) -> dict[str, Any]:
    values = {
        "state": "open",
        "reason": None,
        "detail": None,
        "stuck_at": None,
        "recorded_at": NOW,
        "ended_at": None,
        "write_id": None,
        "shown_units": None,
    }
    return {**values, **more}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (leg(), "On its way."),
        (
            leg(state="confirmed", ended_at=NOW + timedelta(seconds=4), write_id=7, shown_units=9),
            "Shows 9, confirmed after 4 s.",
        ),
        (
            leg(state="confirmed", ended_at=NOW + timedelta(minutes=9), write_id=7, shown_units=0, stuck_at=NOW),
            "Shows 0, confirmed after 9 min, late.",
        ),
        (leg(state="confirmed", ended_at=NOW), "Seen to show it."),
        (leg(state="compensated", reason="not_listed"), "Not listed or not published there any more."),
        (leg(state="stuck", reason="stopped", detail="a fire"), "Writes are stopped. A fire. Resume writes"),
        (leg(state="refused", reason="refused", detail="NO"), "The channel refused the number. NO. See the SKU"),
    ],
)
def test_what_became_of_a_leg_is_a_sentence(row: dict[str, Any], said: str) -> None:
    assert change_words.told(row).startswith(said)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"document_id": None, "order_name": "#1042", "kind": "order_refunded"}, "Order #1042 refunded"),
        ({"document_id": 17, "document_kind": "count", "undoes_id": None}, "Count 17"),
        ({"document_id": 18, "document_kind": "count", "undoes_id": 17}, "Undo of count 17"),
    ],
)
def test_a_cause_has_a_name(row: dict[str, Any], said: str) -> None:
    assert change_words.cause(row) == said
