"""The traps of a single call to Shopify, each with a test of its own name; see also test_shopify_traps.py."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from core.adapters.http import Refused, ServerFault, Unauthorised
from core.adapters.shopify import access, documents, nodes, reading, verify_signature
from core.ports import QuantityWrite
from tests.adapters.accounts import Account, shopify_account
from tests.adapters.canned_shopify import LOCATION, CannedShop, connection

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
SET = "inventorySetQuantities"


def _write(number: int, from_units: int | None = 10, to_units: int = 5, key: str = "key") -> QuantityWrite:
    """The article that shows 10 + `number` units."""
    item = str(5000 + number)
    return QuantityWrite(number, "x", item, LOCATION, from_units, to_units, key)


def _answering(text: str, answer: Callable[[], httpx.Response], times: int = 99) -> tuple[CannedShop, Account]:
    """A shop that gives `answer` to the first requests with `text` in them."""
    canned, left = CannedShop(), [times]

    def respond(request: httpx.Request) -> httpx.Response:
        if text in request.content.decode() and left[0]:
            left[0] -= 1
            return answer()
        return canned(request)

    return canned, shopify_account(respond)


def _refusing(code: str, *, at_the_top: bool, times: int = 99) -> tuple[CannedShop, Account]:
    """A shop whose sets end in `code`: among the user errors, or among those of the whole request."""

    def answer() -> httpx.Response:
        if at_the_top:
            errors = [{"message": "no", "path": [SET], "extensions": {"code": code}}]
            return httpx.Response(200, json={"errors": errors, "data": None})
        errors = [{"code": code, "field": None, "message": "no"}]
        payload = {SET: {"inventoryAdjustmentGroup": None, "userErrors": errors}}
        return httpx.Response(200, json={"data": payload})

    return _answering(SET, answer, times)


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_the_top", [False, True])
def test_trap_a_concurrent_request_is_asked_again_with_its_key(at_the_top: bool) -> None:
    _, account = _refusing("IDEMPOTENCY_CONCURRENT_REQUEST", at_the_top=at_the_top, times=2)
    (result,) = account.channel().set_quantities([_write(0)])
    assert result.outcome == "confirmed"
    calls = account.network.bodies(SET)
    assert len(calls) == 3
    assert all(call == calls[0] for call in calls)


@pytest.mark.parametrize("at_the_top", [False, True])
def test_trap_a_request_that_goes_on_running_is_unknown_and_not_refused(at_the_top: bool) -> None:
    _, account = _refusing("IDEMPOTENCY_CONCURRENT_REQUEST", at_the_top=at_the_top)
    (result,) = account.channel().set_quantities([_write(0)])
    assert result.outcome == "unknown"


@pytest.mark.parametrize("at_the_top", [False, True])
@pytest.mark.parametrize("code", ["IDEMPOTENCY_KEY_PARAMETER_MISMATCH", "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED"])
def test_trap_a_used_up_key_is_a_sure_refusal_of_all_and_not_asked_again(code: str, at_the_top: bool) -> None:
    canned, account = _refusing(code, at_the_top=at_the_top)
    results = account.channel().set_quantities([_write(0), _write(1, 11)])
    assert [(result.outcome, result.code) for result in results] == [("refused", code)] * 2
    assert len(account.network.bodies(SET)) == 1
    assert canned.applied == 0


def test_trap_the_key_and_the_comparison_are_mandatory_at_run_time_only(shared_dir: Any) -> None:
    """The schema takes a document without them; what Shopify answers then is a refusal that says which it misses."""
    for sample in ("constructed_missing_idempotent", "constructed_missing_change_from_quantity"):
        said = json.loads((shared_dir / f"contracts/shopify/samples/{sample}.json").read_text())
        _, account = _answering(SET, lambda said=said: httpx.Response(200, json=said))  # type: ignore[misc]
        (result,) = account.channel().set_quantities([_write(0)])
        assert (result.outcome, result.code) == ("refused", said["errors"][0]["extensions"]["code"])
        assert said["errors"][0]["message"] in (result.detail or "")
        (body,) = account.network.bodies(SET)
        assert "@idempotent(key: $key)" in body["query"]
        assert body["variables"]["key"].strip()
        assert all("changeFromQuantity" in pair for pair in body["variables"]["input"]["quantities"])


# --- quantities -------------------------------------------------------------------------------------------------------


def test_trap_an_inactive_level_is_a_silent_no_op_so_it_is_read_back() -> None:
    canned = CannedShop(inactive={"5000"})
    channel = shopify_account(canned).channel()
    silent, neighbour = channel.set_quantities([_write(0), _write(1, 11, 6)])
    assert (silent.outcome, silent.code) == ("refused", "NOT_STOCKED_AT_LOCATION")
    assert "activate" in (silent.detail or "")
    assert neighbour.outcome == "confirmed"
    assert (canned.levels["5000"], canned.levels["5001"]) == (10, 6)


def test_trap_what_was_changed_by_an_earlier_attempt_is_no_silent_no_op() -> None:
    """A repeated key is answered from the present state: nothing among the changes, and the level is there."""
    group = {"id": "gid://shopify/InventoryAdjustmentGroup/1", "createdAt": "2026-11-20T10:00:00Z", "changes": []}
    answer = {"data": {SET: {"inventoryAdjustmentGroup": group, "userErrors": []}}}
    _, account = _answering(SET, lambda: httpx.Response(200, json=answer))
    (result,) = account.channel().set_quantities([_write(0)])
    assert result.outcome == "confirmed"


def test_trap_a_no_op_that_cannot_be_read_back_is_in_doubt() -> None:
    canned = CannedShop(inactive={"5000"})
    account = shopify_account(canned)
    channel = account.channel()
    account.network.plan("not_json", "query Items", times=99)
    assert [result.outcome for result in channel.set_quantities([_write(0)])] == ["unknown"]


def test_trap_item_not_stocked_is_gone_and_a_code_nobody_listed_is_said_as_it_is() -> None:
    _, account = _refusing("ITEM_NOT_STOCKED_AT_LOCATION", at_the_top=False)
    (result,) = account.channel().set_quantities([_write(0)])
    assert (result.outcome, result.code) == ("refused", "ITEM_NOT_STOCKED_AT_LOCATION")


@pytest.mark.parametrize("units", [-1, 1_000_000_001])
def test_trap_a_number_out_of_range_would_refuse_its_whole_call(units: int) -> None:
    account = shopify_account(CannedShop())
    bad, good = account.channel().set_quantities([_write(0, 10, units), _write(1, 11, 6)])
    assert (bad.outcome, bad.code, good.outcome) == ("refused", "QUANTITY_OUT_OF_RANGE", "confirmed")
    (body,) = account.network.bodies(SET)
    assert len(body["variables"]["input"]["quantities"]) == 1


def test_trap_the_same_pair_twice_would_refuse_its_whole_call() -> None:
    account = shopify_account(CannedShop())
    twin = replace(_write(0), write_id=7, listing_ref="y")
    results = account.channel().set_quantities([_write(0), twin, _write(1, 11, 6)])
    assert [(result.outcome, result.code) for result in results] == [
        ("confirmed", None),
        ("refused", "DUPLICATE_PAIR"),
        ("confirmed", None),
    ]


def test_trap_every_user_error_is_said_and_a_code_may_be_missing() -> None:
    def error(place: int | None, message: str, code: str | None = None) -> dict[str, Any]:
        path = None if place is None else ["input", "quantities", str(place), "quantity"]
        return {"field": path, "message": message} | ({"code": code} if code else {})

    def said(*errors: dict[str, Any]) -> list[Any]:
        payload = {SET: {"inventoryAdjustmentGroup": None, "userErrors": list(errors)}}
        _, account = _answering(SET, lambda: httpx.Response(200, json={"data": payload}))
        return list(account.channel().set_quantities([_write(0), _write(1, 11, 6)]))

    first, second = said(
        error(0, "no here", "INVALID_LOCATION"), error(0, "nor there", "INVALID_NAME"), error(1, "nor so")
    )
    assert (first.code, second.code) == ("INVALID_LOCATION", "USER_ERROR")
    assert re.search("no here.*; INVALID_NAME: .*nor there", first.detail)
    assert "nor so" in second.detail
    for one in said(error(None, "no here", "X"), error(None, "nor there", "Y")):
        assert re.search("no here.*; Y: .*nor there", one.detail)


def test_trap_of_writes_that_undo_more_than_they_say_only_product_set_is_sent() -> None:
    """Deltas add up when repeated, fulfilments and drafts take no key: they are never sent. What a list of productSet
    leaves out is deleted: it is sent with lists only where they were read whole (test_shopify_products). Variants take
    no key either, but their options tell them apart: one that came already is refused, one that went is gone."""
    sent = set()
    for text in documents.ALL.values():
        for operation in re.findall(r"mutation [^{]*\{\s*(\w+)", text):
            sent.add(operation)
    assert sent == {
        "inventorySetQuantities",
        "bulkOperationRunQuery",
        "webhookSubscriptionCreate",
        "webhookSubscriptionUpdate",
        "webhookSubscriptionDelete",
        "productSet",
        "productVariantsBulkCreate",
        "productVariantsBulkUpdate",
        "productVariantsBulkDelete",
        "productVariantsBulkReorder",
        "metafieldsSet",
        "metafieldsDelete",
    }


def test_trap_what_remains_of_a_fulfilment_order_is_read_anew_each_time() -> None:
    canned = CannedShop(scopes=["read_merchant_managed_fulfillment_orders"])
    canned.route("5", 1)
    channel = shopify_account(canned).channel()
    assert channel.fulfilment_orders("5")[0].lines[0].remaining_units == 1
    ((part,),) = (made["lines"] for made in canned.routed["gid://shopify/Order/5"])
    part["remainingQuantity"] = 0
    assert channel.fulfilment_orders("5")[0].lines[0].remaining_units == 0


# --- limits -----------------------------------------------------------------------------------------------------------


def test_trap_input_lists_hold_250_at_most_and_a_query_costs_1000_at_most() -> None:
    canned = CannedShop(levels={str(10_000 + n): n for n in range(600)})
    account = shopify_account(canned)
    channel = account.channel()
    assert len(channel.levels(list(canned.levels))) == 600
    sizes = [len(body["variables"]["ids"]) for body in account.network.bodies("query Items")]
    assert sum(sizes) == 600
    assert max(sizes) <= 250
    assert max(sizes) * 7 <= 1000
    assert channel.writes_per_call == 250
    assert len(channel.orders_behind([str(n) for n in range(1, 601)])) == 0
    assert [len(body["variables"]["ids"]) for body in account.network.bodies("OrdersBehind")] == [250, 250, 100]


class _Shallow(CannedShop):
    """Pages through six objects, then says that there are no more."""

    def on_Variants(self, v: dict[str, Any]) -> Any:
        after_id = int((v["query"] or "id:>0").removeprefix("id:>"))
        found = [self._variant(item) for item in self.levels if int(item) + 1000 > after_id]
        return {"productVariants": connection(found[:6], 3, v["after"])}

    def on_Orders(self, v: dict[str, Any]) -> Any:
        since = v["query"].partition("updated_at:>='")[2].removesuffix("'")
        found = [self._order(order) for order in self.orders if order["updatedAt"] >= since]
        return {"orders": connection(found[:6], 4, v["after"])}


def test_trap_pagination_stops_at_a_depth_and_looks_as_if_it_had_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "DEPTH_MAX", 6)
    shallow = _Shallow(levels={str(5000 + n): n for n in range(20)})
    for n in range(20):
        shallow.place_order(str(100 + n), 1)
        shallow.orders[-1]["updatedAt"] = f"2026-11-20T10:00:{n // 3:02}Z"
    channel = shopify_account(shallow).channel()
    listings = [listing.ref for page in channel.listings() for listing in page]
    assert listings == [str(6000 + n) for n in range(20)]
    orders = {ref for page in channel.orders_since(LONG_AGO) for ref, _, _ in page.orders}
    assert orders == {str(100 + n) for n in range(20)}
    still_open = [ref for page in channel.open_orders() for ref, _, _ in page.orders]
    assert sorted(still_open) == sorted(orders)


def test_trap_more_of_one_second_than_can_be_paged_is_said_and_not_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "DEPTH_MAX", 6)
    shallow = _Shallow()
    for n in range(7):
        shallow.place_order(str(100 + n), 1)
    with pytest.raises(ServerFault, match="share one sort key"):
        list(shopify_account(shallow).channel().orders_since(LONG_AGO))


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, Unauthorised), (403, Unauthorised), (404, Refused), (423, Refused), (430, Refused), (503, ServerFault)],
)
def test_trap_errors_of_the_transport_are_a_text_not_a_list(status: int, error: type[Exception]) -> None:
    _, account = _answering("query Locations", lambda: httpx.Response(status, json={"errors": "Something of theirs"}))
    with pytest.raises(error, match=r"Something of theirs|status 503"):
        account.channel().locations()


def test_trap_throttling_comes_with_status_200_and_says_how_long(shared_dir: Any) -> None:
    said = json.loads((shared_dir / "contracts/shopify/samples/constructed_graphql_throttled.json").read_text())
    _, account = _answering("query Locations", lambda: httpx.Response(200, json=said), times=1)
    account = replace(account, config=replace(account.config, settings={"clock_factor": 10}))
    assert len(account.channel().locations()) == 1
    cost = said["extensions"]["cost"]
    status = cost["throttleStatus"]
    wait = (cost["requestedQueryCost"] - status["currentlyAvailable"]) / status["restoreRate"]
    factor = account.config.clock_factor
    # Longer than our own first pause.
    assert wait / factor > 0.25
    assert any(pause == pytest.approx(wait / factor) for pause in account.slept)
    assert "throttled" in [call.outcome for call in account.log]


def test_trap_a_resource_throttle_is_a_429_with_its_own_wait() -> None:
    def answer() -> httpx.Response:
        return httpx.Response(429, json={"errors": "Too many new variants"}, headers={"Retry-After": "3"})

    _, account = _answering("query Locations", answer, times=1)
    assert len(account.channel().locations()) == 1
    assert 3.0 in account.slept


def test_trap_a_dead_version_does_not_fail_so_what_answered_is_on_record() -> None:
    headers = {"X-Shopify-API-Version": "2027-01", "X-Shopify-API-Deprecated-Reason": "Shop.products"}
    places = {"locations": connection([{"legacyResourceId": LOCATION, "name": "Warehouse"}], 50)}
    _, account = _answering("query Locations", lambda: httpx.Response(200, json={"data": places}, headers=headers))
    account.channel().locations()
    call = account.log[-1]
    assert (call.api_version, call.deprecation) == ("2027-01", "Shop.products")
    assert call.api_version != documents.API_VERSION


def test_trap_orders_older_than_60_days_are_invisible_without_a_scope_of_their_own() -> None:
    canned = CannedShop(scopes=list(access.NEEDED))
    about = shopify_account(canned).channel().about()
    assert about.missing == {}
    assert "60 days" in about.advised["read_all_orders"]


def test_trap_the_id_of_a_level_carries_a_query() -> None:
    """gid://shopify/InventoryLevel/{n}?inventory_item_id={m}"""
    operation = {"id": "gid://shopify/BulkOperation/9007199254740993?x=1", "status": "RUNNING"}
    read = nodes.BulkOperation.model_validate({**operation, "createdAt": "2026-11-20T10:00:00Z"})
    assert read.id == "9007199254740993"


def test_trap_the_signature_is_over_the_raw_body_by_the_old_or_the_new_secret() -> None:
    """The worked example; for up to an hour after a rotation Shopify signs with the former secret."""
    secret = "example-client-secret-not-real"
    body = '{"id":820982911946154508,"note":"café","total_price":"398.00"}'.encode()
    header = "Z6LA83zSRftUphtWqAS+N8xfg0DhZ8cIBThkafw1lDw="
    assert len(body) == 63
    assert verify_signature([secret], body, header)
    assert verify_signature(["the new one", secret], body, header)
    assert not verify_signature(["the new one"], body, header)
    assert not verify_signature([secret], json.dumps(json.loads(body)).encode(), header)
