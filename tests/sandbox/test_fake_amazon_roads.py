"""Quantities by two roads that know nothing of each other: what lands, in which order, and what is told of it."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.errors import Refused
from tests.sandbox.amazon_bare import Bare
from tests.sandbox.amazon_files import Desk, quantity
from tests.sandbox.outside import Inside, availability

CHANGED = "LISTINGS_ITEM_MFN_QUANTITY_CHANGE"
SKUS, OPENING = ("A", "B", "c d"), 5


def test_trap_an_older_feed_lands_after_a_newer_patch(inside: Inside) -> None:
    desk = Desk(inside, {"sku": "A", "quantity": 10})
    feed_id = desk.feed(quantity(1, "A", 9))
    assert desk.seller.patch("A", availability("merge", quantity=1)).json()["status"] == "ACCEPTED"
    seen = [desk.all_units()["A"]]
    while desk.state(feed_id)["processingStatus"] != "DONE" or seen[-1] != 9:
        inside.clock.advance(0.5)
        seen.append(desk.all_units()["A"])
    assert list(dict.fromkeys(seen)) == [10, 1, 9]


def test_patch_after_patch_keeps_its_order_and_so_does_feed_after_feed() -> None:
    with Bare({"sku": "A", "quantity": 0}) as amazon:
        for number in range(1, 31):
            amazon.patch("A", number)
        amazon.advance(60)
        for number in range(41, 61):
            amazon.feed(("A", number), ("A", number + 100))
        amazon.advance(3600)
        landed = [payload["Quantity"] for kind, payload in amazon.told if kind == CHANGED]
        by_feed = [units for number in range(41, 61) for units in (number, number + 100)]
        assert landed == [*range(1, 31), *by_feed]


def test_what_was_submitted_and_what_is_in_force_are_two_things(inside: Inside) -> None:
    desk = Desk(inside, {"sku": "A", "quantity": 10})
    inside.faults(kind="late_submission", count=1, match="patch A", seconds=7200)
    desk.seller.patch("A", availability("merge", quantity=4))
    inside.clock.advance(3600 - 60)
    found = desk.seller.get("A", "attributes", "fulfillmentAvailability").json()
    assert found["attributes"]["fulfillment_availability"][0]["quantity"] == 4
    assert found["fulfillmentAvailability"][0]["quantity"] == 10
    inside.clock.advance(3600 + 120)
    assert desk.all_units() == {"A": 4}


def test_a_submission_may_never_land_and_nothing_says_so(inside: Inside) -> None:
    desk = Desk(inside, {"sku": "A", "quantity": 10})
    inside.faults(kind="lost_submission", count=1, match="patch A")
    assert desk.seller.patch("A", availability("merge", quantity=4)).json()["status"] == "ACCEPTED"
    inside.clock.advance(3600)
    assert desk.all_units() == {"A": 10}
    desk.http.headers["x-amz-access-token"] = desk.seller.grant().json()["access_token"]
    desk.seller.patch("A", availability("merge", quantity=3))
    inside.clock.advance(60)
    assert desk.all_units() == {"A": 3}


def test_another_attribute_brings_no_quantity_back(inside: Inside) -> None:
    """What was sold meanwhile stays sold when only the price is changed."""
    desk = Desk(inside, {"sku": "A", "quantity": 10})
    inside.post(f"/amazon/{desk.seller.id}/sales", sku="A", quantity=4)
    price = {"op": "replace", "path": "/attributes/list_price", "value": [{"currency": "GBP", "value": 3}]}
    assert desk.seller.patch("A", price).json()["status"] == "ACCEPTED"
    inside.clock.advance(60)
    assert desk.all_units() == {"A": 6}


def test_a_storm_of_throttles_passes(inside: Inside) -> None:
    desk = Desk(inside, {"sku": "A", "quantity": 10})
    inside.faults(kind="http_429", count=4, match=f"PATCH /amazon/listings/2021-08-01/items/{desk.seller.id}")
    answers = [desk.seller.patch("A", availability("merge", quantity=4)) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [429] * 4 + [200]
    assert answers[0].json()["errors"][0]["code"] == "QuotaExceeded"


moves = st.one_of(
    st.tuples(st.just("patch"), st.sampled_from(SKUS), st.integers(0, 6)),
    st.tuples(
        st.just("feed"), st.lists(st.tuples(st.sampled_from((*SKUS, "?")), st.integers(-1, 6)), min_size=1, max_size=6)
    ),
    st.tuples(st.just("sell"), st.sampled_from(SKUS), st.integers(1, 3)),
    st.tuples(st.just("advance"), st.sampled_from([0.4, 3.0, 20.0, 90.0])),
)


@settings(max_examples=30, deadline=None)
@given(st.lists(moves, max_size=25), st.integers(0, 3))
def test_in_force_is_what_landed_less_what_was_sold(history: list[tuple[Any, ...]], seed: int) -> None:
    """Every submission that was accepted lands once, in the order of its road; sales come off what is there."""
    submitted: dict[tuple[str, str], list[int]] = {}
    feeds: dict[int, list[tuple[str, int]]] = {}
    sold: set[int] = set()
    with Bare(*[{"sku": sku, "quantity": OPENING} for sku in SKUS], seed=seed) as amazon:
        for move, *arguments in history:
            before = len(amazon.told)
            if move == "patch":
                sku, units = arguments
                amazon.patch(sku, units)
                submitted.setdefault(("patch", sku), []).append(units)
            elif move == "feed":
                feeds[amazon.feed(*arguments[0])] = arguments[0]
                for sku, units in arguments[0]:
                    if sku in SKUS and units >= 0:
                        submitted.setdefault(("feed", sku), []).append(units)
            elif move == "sell":
                sold |= _bought(amazon, before, *arguments)
            else:
                amazon.advance(*arguments)
        amazon.advance(36_000)
        changes = [
            (payload["Sku"], payload["Quantity"], number in sold)
            for number, (kind, payload) in enumerate(amazon.told)
            if kind == CHANGED
        ]
        for sku in SKUS:
            roads = [submitted.get((road, sku), []) for road in ("patch", "feed")]
            seen = [(units, is_sale) for of, units, is_sale in changes if of == sku]
            assert _explains(roads[0], roads[1], seen)
            assert amazon.in_force(sku) == (seen[-1][0] if seen else OPENING)
        for feed_id, messages in feeds.items():
            _adds_up(amazon, feed_id, messages)


PARTIAL = {"messageId": 1, "sku": "A", "operationType": "PARTIAL_UPDATE", "productType": "P"}
plain = st.one_of(st.none(), st.booleans(), st.integers(-3, 2**40), st.sampled_from(["", "A", "DEFAULT", "PATCH"]))
anything = st.recursive(
    plain, lambda part: st.one_of(st.lists(part, max_size=2), st.dictionaries(st.text(max_size=3), part, max_size=2))
)
parts = st.sampled_from(["messageId", "sku", "operationType", "productType", "patches", "attributes", "requirements"])
paths = st.sampled_from(["/attributes/fulfillment_availability", "/attributes/brand", "/attributes/none", "x"])
entries = st.lists(
    st.dictionaries(st.sampled_from(["quantity", "fulfillment_channel_code", "value"]), anything, max_size=3),
    max_size=2,
)
odd_patches = st.fixed_dictionaries(
    {"op": st.sampled_from(["merge", "add", "replace", "delete"]), "path": paths}, optional={"value": entries}
)
odd_messages = st.one_of(
    anything,
    st.builds(lambda part, value: {**quantity(1, "A", 1), part: value}, parts, anything),
    st.builds(lambda found: quantity(1, "A", 1, patches=found), st.lists(odd_patches, min_size=1, max_size=3)),
    st.builds(
        lambda name, value: {**PARTIAL, "attributes": {name: value}},
        st.sampled_from(["fulfillment_availability", "brand", "none"]),
        st.one_of(anything, entries),
    ),
)  # fmt: skip


@settings(max_examples=10, deadline=None)
@given(st.lists(odd_messages, min_size=1, max_size=30))
def test_whatever_is_in_a_message_the_feed_ends_and_counts_it(odd: list[Any]) -> None:
    messages = [
        {**message, "messageId": number} if isinstance(message, dict) and message.get("messageId") == 1 else message
        for number, message in enumerate(odd, 1)
    ]
    with Bare({"sku": "A", "quantity": OPENING}) as amazon:
        feed_id = amazon.feed_of([*messages, quantity(77, "A", 3)])
        amazon.advance(3600)
        feed = amazon.feeds.find(amazon.seller, feed_id)
        assert feed is not None
        assert (feed["status"], feed["accepted"] + feed["invalid"]) == ("DONE", len(messages) + 1)
        # The good one at the end counts, unless an odd one ended the listing.
        assert amazon.listings.find(amazon.seller, "A") is None or amazon.in_force("A") == 3


def _bought(amazon: Bare, before: int, sku: str, units: int) -> set[int]:
    """The number of the notice of the sale: the last one, after those of whatever landed just before it."""
    try:
        amazon.listings.sell(amazon.seller, sku, units)
    except Refused:
        assert amazon.in_force(sku) < units
        return set()
    assert len(amazon.told) > before
    return {len(amazon.told) - 1}


def _explains(patched: list[int], fed: list[int], seen: Iterable[tuple[int, bool]]) -> bool:
    """Whether the two roads, each in its order, can have made these changes, with nothing left over."""

    def still(places: set[tuple[int, int]], current: int) -> set[tuple[int, int]]:
        """Places that may be reached by submissions of the number that is there already: these change nothing."""
        found, fresh = set(places), set(places)
        while fresh:
            fresh = _steps(patched, fed, fresh, current) - found
            found |= fresh
        return found

    current = OPENING
    places = still({(0, 0)}, current)
    for units, is_sale in seen:
        places = places if is_sale else _steps(patched, fed, places, units)
        current = units
        places = still(places, current)
    return (len(patched), len(fed)) in places


def _steps(patched: list[int], fed: list[int], places: set[tuple[int, int]], units: int) -> set[tuple[int, int]]:
    by_patch = {(at + 1, other) for at, other in places if at < len(patched) and patched[at] == units}
    by_feed = {(other, at + 1) for other, at in places if at < len(fed) and fed[at] == units}
    return by_patch | by_feed


def _adds_up(amazon: Bare, feed_id: int, messages: list[tuple[str, int]]) -> None:
    feed = amazon.feeds.find(amazon.seller, feed_id)
    assert feed is not None
    assert feed["status"] == "DONE"
    document = amazon.documents.find(amazon.seller, feed["result_id"])
    assert document is not None
    report = orjson.loads(gzip.decompress(document["data"]) if document["gzip"] else document["data"])
    refused = {number for number, (sku, units) in enumerate(messages, 1) if sku not in SKUS or units < 0}
    assert {issue["messageId"] for issue in report["issues"]} == refused
    summary = report["summary"]
    assert summary["messagesProcessed"] == len(messages)
    assert summary["messagesInvalid"] == len(refused)
    assert summary["messagesAccepted"] == len(messages) - len(refused)
    assert summary["errors"] == len(report["issues"])
