"""Shopify as a channel: the same tests against canned replies and against the fake Shopify."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from core.adapters.http import Refused, ServerFault, Unauthorised, Unreachable
from core.adapters.shopify import SUBSCRIBED
from core.ports import ChannelListing, ChannelOrder, QuantityWrite, SalesChannel
from tests.adapters.accounts import Account, shopify_account
from tests.adapters.canned_shopify import LOCATION, CannedShop

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
SET = "inventorySetQuantities"


def test_reads_the_whole_catalogue_with_levels(shop: Account) -> None:
    channel = shop.channel()
    (place,) = channel.locations()
    listings = _listings(channel)
    assert [listing.code for listing in listings] == [f"SKU-{n}" for n in range(10)] or shop.kind == "canned"
    assert [listing.levels[0].units for listing in listings] == list(range(10, 20))
    assert {listing.levels[0].location_ref for listing in listings} == {place.ref}
    assert all(listing.is_tracked and listing.title == "Mug" and listing.ref.isdigit() for listing in listings)
    assert channel.listing_count() in (10, None)


def test_an_export_says_what_pages_show(shop: Account) -> None:
    channel = shop.channel()
    export = channel.begin_export()
    assert export is not None
    for _ in range(2000):
        if export.state != "running":
            break
        time.sleep(0.01)
        export = channel.export(export.ref)
        assert export is not None
    assert export.state == "written"
    exported = [listing for page in channel.exported(export) for listing in page]
    shown = [(item.ref, item.code, [(level.location_ref, level.units) for level in item.levels]) for item in exported]
    paged = _listings(channel)
    assert shown == [(item.ref, item.code, [(each.location_ref, each.units) for each in item.levels]) for item in paged]
    assert [item.title for item in exported] == ["Mug"] * 10


def test_the_account_answers(shop: Account) -> None:
    about = shop.channel().about()
    assert (about.ref, about.currency) == (shop.config.account_ref, "GBP")
    assert {"read_products", "read_inventory", "write_inventory"} <= (about.granted or set())


def test_what_is_to_be_shipped_is_told_once_an_order_is_routed(shop: Account) -> None:
    (ref,) = _place_orders(shop, [2])
    if shop.kind == "canned":
        shop.control.scopes.append("read_merchant_managed_fulfillment_orders")
        shop.control.route(ref, 2)
    channel = shop.channel()
    found = channel.fulfilment_orders(ref)
    for _ in range(2000):
        if found:
            break
        time.sleep(0.01)
        found = channel.fulfilment_orders(ref)
    (one,) = found
    (place,) = channel.locations()
    assert (one.order_ref, one.location_ref, one.status, one.holds) == (ref, place.ref, "open", ())
    assert len(one.lines) == 2
    assert all(0 < line.remaining_units <= line.units for line in one.lines)
    assert channel.orders_behind([one.ref, "999"]) == [ref]
    ((read,),) = channel.orders([ref])
    assert read[0] == ref


def test_levels_leaves_out_what_is_gone(shop: Account) -> None:
    channel = shop.channel()
    first = _listings(channel)[0]
    levels = channel.levels([first.inventory_ref or "", "999999"])
    assert [(level.inventory_ref, level.units) for level in levels] == [(first.inventory_ref, 10)]


def test_sets_many_quantities_in_one_call(shop: Account) -> None:
    channel = shop.channel()
    listings = _listings(channel)
    results = channel.set_quantities([_write(n, listings[n], 10 + n, 40 + n) for n in range(3)])
    assert [(result.write_id, result.outcome) for result in results] == [
        (0, "confirmed"),
        (1, "confirmed"),
        (2, "confirmed"),
    ]
    assert all(result.at is not None for result in results)
    assert len(shop.network.bodies(SET)) == 1
    assert _units(channel, listings[:3]) == [40, 41, 42]


def test_the_comparison_is_always_in_the_call(shop: Account) -> None:
    channel = shop.channel()
    listing = _listings(channel)[0]
    assert channel.set_quantities([_write(1, listing, None, 5)])[0].outcome == "confirmed"
    (body,) = shop.network.bodies(SET)
    assert body["variables"]["input"]["quantities"][0]["changeFromQuantity"] is None
    assert "@idempotent(key: $key)" in body["query"]


def test_a_stale_pair_stops_its_neighbours_and_says_what_is_shown(shop: Account) -> None:
    channel = shop.channel()
    listings = _listings(channel)
    stale, neighbour = channel.set_quantities([_write(1, listings[0], 99, 5), _write(2, listings[1], 11, 6)])
    assert (stale.outcome, stale.code, stale.observed_units) == ("stale", "CHANGE_FROM_QUANTITY_STALE", 10)
    assert (neighbour.outcome, neighbour.code) == ("refused", "NEIGHBOUR_STALE")
    assert _units(channel, listings[:2]) == [10, 11]


def test_a_refused_pair_stops_its_neighbours(shop: Account) -> None:
    channel = shop.channel()
    listings = _listings(channel)
    elsewhere = replace(_write(1, listings[0], 10, 5), location_ref="1")
    refused, neighbour = channel.set_quantities([elsewhere, _write(2, listings[1], 11, 6)])
    assert (refused.outcome, refused.code) == ("refused", "INVALID_LOCATION")
    assert (neighbour.outcome, neighbour.code) == ("refused", "NEIGHBOUR_REFUSED")
    assert _units(channel, listings[:2]) == [10, 11]


def test_a_repeated_key_applies_once(shop: Account) -> None:
    channel = shop.channel()
    listing = _listings(channel)[0]
    write = _write(1, listing, 10, 5)
    assert channel.set_quantities([write])[0].outcome == "confirmed"
    assert channel.set_quantities([write])[0].outcome == "confirmed"
    assert _units(channel, [listing]) == [5]


def test_a_key_with_other_variables_is_refused(shop: Account) -> None:
    channel = shop.channel()
    listing = _listings(channel)[0]
    channel.set_quantities([_write(1, listing, 10, 5)])
    (result,) = channel.set_quantities([_write(1, listing, 5, 7)])
    assert (result.outcome, result.code) == ("refused", "IDEMPOTENCY_KEY_PARAMETER_MISMATCH")


@pytest.mark.parametrize("mishap", ["lost_reply", "fault_after_effect"])
def test_a_lost_answer_is_asked_for_again_with_the_same_key(shop: Account, mishap: Any) -> None:
    channel = shop.channel()
    listing = _listings(channel)[0]
    shop.network.plan(mishap, SET)
    (result,) = channel.set_quantities([_write(1, listing, 10, 5)])
    assert result.outcome == "confirmed"
    first, second = shop.network.bodies(SET)
    assert first == second
    assert _units(channel, [listing]) == [5]
    assert [call.outcome for call in shop.log if call.operation == "set_quantities"] == ["unknown", "ok"]


def test_an_answer_that_never_comes_is_unknown(shop: Account) -> None:
    channel = shop.channel()
    listing = _listings(channel)[0]
    shop.network.plan("lost_reply", SET, times=99)
    (result,) = channel.set_quantities([_write(1, listing, 10, 5)])
    assert result.outcome == "unknown"
    assert 1 < len(shop.network.bodies(SET)) < 10


def test_a_refused_connection_after_a_lost_reply_is_still_unknown(shop: Account) -> None:
    channel = shop.channel()
    listing = _listings(channel)[0]
    shop.network.plan("lost_reply", SET)
    shop.network.plan("refused_connection", SET, times=99)
    assert channel.set_quantities([_write(1, listing, 10, 5)])[0].outcome == "unknown"


def test_a_refused_connection_is_unsent(shop: Account) -> None:
    channel = shop.channel()
    listing = _listings(channel)[0]
    shop.network.plan("refused_connection", SET, times=99)
    assert channel.set_quantities([_write(1, listing, 10, 5)])[0].outcome == "unsent"
    assert _units(channel, [listing]) == [10]


def test_throttling_waits_as_long_as_the_vendor_needs(shop: Account) -> None:
    shop = replace(shop, config=replace(shop.config, settings={**shop.config.settings, "clock_factor": 10}))
    channel = shop.channel()
    listing = _listings(channel)[0]
    shop.network.plan("throttled", SET)
    assert channel.set_quantities([_write(1, listing, 10, 5)])[0].outcome == "confirmed"
    # 752 points wanted, 311 there, 100 a second, on a clock that runs ten times faster: longer than our first pause.
    assert any(abs(pause - 0.441) < 0.001 for pause in shop.slept)
    assert "throttled" in [call.outcome for call in shop.log]


def test_an_expired_token_is_renewed_once(shop: Account) -> None:
    channel = shop.channel()
    shop.network.plan("unauthorised", "graphql.json")
    assert len(channel.locations()) == 1
    shop.network.plan("unauthorised", "graphql.json", times=2)
    with pytest.raises(Unauthorised):
        channel.locations()


def test_a_token_is_fetched_again_before_it_dies(shop: Account) -> None:
    channel = shop.channel()
    channel.locations()
    channel.locations()
    assert _token_calls(shop) == 1
    shop.later = timedelta(hours=23, minutes=56)
    channel.locations()
    assert _token_calls(shop) == 2


def test_wrong_credentials_are_refused_not_retried(shop: Account) -> None:
    shop.network.plan("unauthorised", "oauth/access_token", times=99)
    channel = shop.channel()
    with pytest.raises(Unauthorised):
        channel.locations()
    (result,) = channel.set_quantities([QuantityWrite(1, "1", "5000", LOCATION, 1, 2, "k")])
    assert (result.outcome, result.code) == ("refused", "UNAUTHORISED")


@pytest.mark.parametrize(
    ("mishap", "error"),
    [("refused_connection", Unreachable), ("lost_reply", ServerFault), ("not_json", ServerFault)],
)
def test_a_read_that_goes_wrong_is_tried_again_then_said(shop: Account, mishap: Any, error: type[Exception]) -> None:
    channel = shop.channel()
    shop.network.plan(mishap, "graphql.json", times=2)
    assert len(channel.locations()) == 1
    shop.network.plan(mishap, "graphql.json", times=99)
    with pytest.raises(error):
        channel.locations()


def test_polled_orders_come_whole_and_read_like_webhooks(shop: Account) -> None:
    refs = _place_orders(shop, [1, 30, 10, 2, 3, 4])
    channel = shop.channel()
    found = [order for page in channel.orders_since(LONG_AGO) for order in page.orders]
    assert sorted(ref for ref, _, _ in found) == sorted(refs)
    for ref, version, body in found:
        facts = channel.parse("poll/orders", body, None)
        assert facts is not None
        (order,) = facts.orders
        assert (order.ref, order.version_at) == (ref, version)
        assert len({line.ref for line in order.lines}) == refs[ref]
        assert order.total_minor == sum(line.total_minor for line in order.lines)


@pytest.mark.parametrize("shop", ["sandbox"], indirect=True)
def test_staff_edits_and_drafts_are_told_by_polls(shop: Account) -> None:
    (ref,) = _place_orders(shop, [1])
    path = f"/shopify/{shop.config.account_ref}"
    channel = shop.channel()
    before = {order.ref: order for order in _polled(channel)}[ref]
    assert (before.is_edited, before.is_by_staff, [line.units for line in before.lines]) == (False, False, [2])
    edit = {
        "key": "e1",
        "order_id": int(ref),
        "add": [{"sku": "SKU-1", "quantity": 3, "price": "1.00"}],
        "remove": [{"line_id": int(before.lines[0].ref), "quantity": 1}],
    }
    shop.control.post(f"{path}/edit", edit)
    shop.control.post(f"{path}/draft", {"key": "d1", "lines": [{"sku": "SKU-2", "quantity": 1, "price": "1.00"}]})
    shop.control.post(f"{path}/draft/completion", {"key": "d2", "draft": "d1"})
    after = {order.ref: order for order in _polled(channel)}
    assert (after[ref].is_edited, [line.units for line in after[ref].lines]) == (True, [1, 3])
    (draft,) = (order for order in after.values() if order.ref != ref)
    assert (draft.is_by_staff, draft.is_edited) == (True, False)


def test_subscriptions_are_made_once_moved_and_thinned(shop: Account) -> None:
    channel = shop.channel()
    known: set[str] = set()
    for address in ("https://one.test/hooks", "https://two.test/hooks"):
        made = channel.ensure_subscriptions(address, known=known)
        assert [one.topic for one in made if one.is_changed] == list(SUBSCRIBED)
        known = {str(one.ref) for one in made} | known
        assert len(known) == len(SUBSCRIBED)
        assert _changed(channel, address) == []


def test_every_attempt_is_on_record_without_secrets(shop: Account) -> None:
    channel = shop.channel()
    channel.locations()
    token, call = shop.log[0], shop.log[-1]
    assert (token.operation, call.operation, call.method, call.status, call.outcome) == (
        "shopify.token",
        "locations",
        "POST",
        200,
        "ok",
    )
    assert (call.api_version, call.attempt) == ("2026-10", 1)
    assert call.quota_left
    said = repr(shop.log) + repr(shop.config)
    assert not any(secret in said for secret in shop.config.secrets.values() if len(secret) > 8)


def test_parts_beyond_the_first_page_are_read_to_their_end() -> None:
    canned = CannedShop()
    canned.place_order("9007199254740993", 40, fulfilments=5, refunds=3)
    channel = shopify_account(canned).channel()
    ((_, _, body),) = next(channel.orders_since(LONG_AGO)).orders
    facts = channel.parse("poll/orders", body, None)
    assert facts is not None
    (order,) = facts.orders
    assert order.ref == "9007199254740993"
    assert [len(part.lines) for part in order.fulfilments] == [40] * 5
    assert [len(part.lines) for part in order.refunds] == [40] * 3
    assert [(part.shipping_minor, part.shipping_tax_minor) for part in order.refunds] == [(90, 15)] * 3
    assert {(line.tax_minor) for line in (*order.lines, *order.refunds[2].lines)} == {17}
    assert order.refunds[0].amount_minor == 100


def test_discounts_of_the_whole_order_reach_its_lines() -> None:
    canned = CannedShop()
    canned.place_order("1", 3, discount="0.30")
    channel = shopify_account(canned).channel()
    ((_, _, body),) = next(channel.orders_since(LONG_AGO)).orders
    facts = channel.parse("poll/orders", body, None)
    assert facts is not None
    assert [(line.discount_minor, line.total_minor) for line in facts.orders[0].lines] == [(10, 90)] * 3


def test_a_subscription_of_somebody_else_is_left_alone() -> None:
    canned = CannedShop()
    other = {"id": "gid://s/other", "topic": "ORDERS_CREATE", "uri": "https://erp.test", "name": None}
    ours = {"topic": "ORDERS_CREATE", "uri": "https://one.test", "name": "switchyard"}
    canned.subscriptions = [other, {**ours, "id": "gid://s/1"}, {**ours, "id": "gid://s/2"}]
    channel = shopify_account(canned).channel()
    assert _changed(channel, "https://one.test") == list(SUBSCRIBED)
    assert other in canned.subscriptions
    assert sum(one["topic"] == "ORDERS_CREATE" for one in canned.subscriptions) == 2


def test_while_an_earlier_attempt_runs_the_same_key_is_asked_again() -> None:
    canned = CannedShop()
    answers = iter([True, True, False])

    def busy(request: httpx.Request) -> httpx.Response:
        if SET in request.content.decode() and next(answers):
            errors = [{"code": "IDEMPOTENCY_CONCURRENT_REQUEST", "field": None, "message": "running"}]
            payload = {"inventorySetQuantities": {"inventoryAdjustmentGroup": None, "userErrors": errors}}
            return httpx.Response(200, json={"data": payload})
        return canned(request)

    account = shopify_account(busy)
    (result,) = account.channel().set_quantities([QuantityWrite(1, "6000", "5000", LOCATION, 10, 3, "k")])
    assert result.outcome == "confirmed"
    assert len({str(body) for body in account.network.bodies(SET)}) == 1


def test_an_attempt_that_failed_before_is_refused_for_all() -> None:
    canned = CannedShop()
    channel = shopify_account(canned).channel()
    writes = [QuantityWrite(n, "x", str(5000 + n), LOCATION, 99, 1, "k") for n in range(2)]
    channel.set_quantities(writes)
    results = channel.set_quantities(writes)
    assert [(r.outcome, r.code) for r in results] == [("refused", "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED")] * 2


def test_a_vendor_that_does_not_count_variants_says_none() -> None:
    canned = CannedShop()

    def without(request: httpx.Request) -> httpx.Response:
        if b"productVariantsCount" in request.content:
            error = {"message": "Field doesn't exist", "extensions": {"code": "undefinedField"}}
            return httpx.Response(200, json={"errors": [error]})
        return canned(request)

    assert shopify_account(without).channel().listing_count() is None


def test_a_missing_scope_is_a_permanent_refusal() -> None:
    def denied(request: httpx.Request) -> httpx.Response:
        if "oauth" in request.url.path:
            return httpx.Response(200, json={"access_token": "t", "expires_in": 100})
        error = {"message": "Access denied for locations", "extensions": {"code": "ACCESS_DENIED"}}
        return httpx.Response(200, json={"errors": [error], "data": None})

    with pytest.raises(Unauthorised, match="Access denied"):
        shopify_account(denied).channel().locations()


def test_a_locked_shop_is_a_permanent_refusal() -> None:
    def locked(request: httpx.Request) -> httpx.Response:
        if "oauth" in request.url.path:
            return httpx.Response(200, json={"access_token": "t", "expires_in": 100})
        return httpx.Response(423, json={"errors": "Shop is locked"})

    with pytest.raises(Refused, match="locked"):
        shopify_account(locked).channel().locations()


def _polled(channel: SalesChannel) -> list[ChannelOrder]:
    found = [order for page in channel.orders_since(LONG_AGO) for order in page.orders]
    said = [channel.parse("poll/orders", body, None) for _, _, body in found]
    return [order for facts in said if facts for order in facts.orders]


def _changed(channel: SalesChannel, address: str) -> list[str]:
    return [one.topic for one in channel.ensure_subscriptions(address) if one.is_changed]


def _listings(channel: SalesChannel) -> list[ChannelListing]:
    return [listing for page in channel.listings() for listing in page]


def _write(number: int, listing: ChannelListing, from_units: int | None, to_units: int) -> QuantityWrite:
    place = listing.levels[0].location_ref
    return QuantityWrite(number, listing.ref, listing.inventory_ref, place, from_units, to_units, "one-key")


def _units(channel: SalesChannel, listings: list[ChannelListing]) -> list[int | None]:
    levels = {
        level.inventory_ref: level.units for level in channel.levels([item.inventory_ref or "" for item in listings])
    }
    return [levels[item.inventory_ref or ""] for item in listings]


def _token_calls(shop: Account) -> int:
    return sum("oauth/access_token" in str(request.url) for request in shop.network.seen)


def _place_orders(shop: Account, sizes: list[int]) -> dict[str, int]:
    """Orders of so many lines each; returns lines by order ref."""
    if shop.kind == "canned":
        refs = {str(9007199254740993 + n): size for n, size in enumerate(sizes)}
        for ref, size in refs.items():
            shop.control.place_order(ref, size)
        return refs
    many = [{"title": "Pin", "sku": f"PIN-{n}", "price": "0.50", "available": 100} for n in range(max(sizes))]
    shop.control.post(f"/shopify/{shop.config.account_ref}/products", {"products": many})
    orders = [
        {"key": f"o{n}", "lines": [{"sku": f"PIN-{m}", "quantity": 2, "price": "0.50"} for m in range(size)]}
        for n, size in enumerate(sizes)
    ]
    placed = shop.control.post(f"/shopify/{shop.config.account_ref}/orders", {"orders": orders})["orders"]
    return {str(order["id"]): len(order["lines"]) for order in placed}
