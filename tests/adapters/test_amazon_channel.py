"""Amazon as a channel: the same tests against canned replies and against the fake Amazon."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from core.adapters.amazon.channel import NoMarketplace
from core.adapters.amazon.envelopes import open_envelope
from core.adapters.base import Deps
from core.adapters.http import Refused, ServerFault, Throttled, Unauthorised
from core.adapters.registry import make_channel
from core.ports import QuantityWrite
from tests.adapters.accounts import Account, amazon_account
from tests.adapters.canned_amazon import CannedSeller

SKU = "SKU 3/%"


def test_the_seller_answers_or_the_credentials_do_not_hold(seller: Account) -> None:
    about = seller.channel().about()
    assert (about.ref, about.missing, about.advised, about.currency) == (seller.config.account_ref, {}, {}, "GBP")
    assert [(market.ref, market.is_open) for market in about.markets] == [("A1F83G8C2ARO7P", True)]
    seller.network.plan("unauthorised", "listings", times=9)
    with pytest.raises(Unauthorised):
        seller.channel().about()


def test_reads_every_listing_once_with_its_quantity(seller: Account) -> None:
    channel = seller.channel()
    listings = [listing for page in channel.listings() for listing in page]
    assert len(listings) == len({listing.ref for listing in listings}) == 25 == channel.listing_count()
    assert {listing.levels[0].units for listing in listings} == {30}
    assert all(listing.code == listing.ref and listing.title == f"Mug {listing.ref}" for listing in listings)
    assert all(listing.is_tracked and listing.status == "active" and listing.product_ref for listing in listings)
    assert [place.ref for place in channel.locations()] == [""]


def test_levels_by_sku_even_with_commas_slashes_and_percent_signs(seller: Account) -> None:
    wanted = [*(f"SKU {n}/%" for n in range(24)), "RED, LARGE", "not listed", "not, listed"]
    levels = seller.channel().levels(wanted)
    assert sorted(level.inventory_ref for level in levels) == sorted(wanted[:25])
    assert {(level.units, level.location_ref) for level in levels} == {(30, "")}


def test_an_accepted_quantity_is_in_force_later(seller: Account) -> None:
    channel = seller.channel()
    (result,) = channel.set_quantities([_write(SKU, 7)])
    assert (result.outcome, bool(result.submission_ref)) == ("accepted", True)
    until = time.monotonic() + 30
    while channel.levels([SKU])[0].units != 7:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_the_patch_merges_the_quantity_alone(seller: Account) -> None:
    seller.channel().set_quantities([_write("RED, LARGE", 7)])
    (request,) = [request for request in seller.network.seen if request.method == "PATCH"]
    assert request.url.raw_path.decode().partition("?")[0].endswith(f"/{seller.config.account_ref}/RED%2C%20LARGE")
    (body,) = seller.network.bodies("PATCH")
    value = [{"fulfillment_channel_code": "DEFAULT", "quantity": 7}]
    patch = {"op": "merge", "path": "/attributes/fulfillment_availability", "value": value}
    assert body == {"productType": "PRODUCT", "patches": [patch]}
    assert re.fullmatch(r"Switchyard/\S+ \(Language=Python/[\d.]+; Platform=\w+\)", request.headers["user-agent"])
    assert request.headers["x-amz-access-token"]


def test_trap_5_status_200_with_invalid_is_a_refusal_with_its_issue(seller: Account) -> None:
    (result,) = seller.channel().set_quantities([_write(SKU, -1)])
    assert result.outcome == "refused"
    assert result.code
    assert result.code in (result.detail or "")


def test_an_unknown_sku_is_refused(seller: Account) -> None:
    (result,) = seller.channel().set_quantities([_write("never listed", 1)])
    assert (result.outcome, result.code) == ("refused", "InvalidInput")


@pytest.mark.parametrize("mishap", ["lost_reply", "fault_after_effect", "not_json"])
def test_without_a_sure_answer_the_outcome_is_unknown_and_nothing_is_sent_again(seller: Account, mishap: Any) -> None:
    seller.network.plan(mishap, "PATCH")
    (result,) = seller.channel().set_quantities([_write(SKU, 9)])
    assert result.outcome == "unknown"
    assert len(seller.network.bodies("PATCH")) == 1


def test_a_refused_connection_is_tried_again_then_unsent(seller: Account) -> None:
    channel = seller.channel()
    seller.network.plan("refused_connection", "PATCH")
    assert channel.set_quantities([_write(SKU, 9)])[0].outcome == "accepted"
    seller.network.plan("refused_connection", "PATCH", times=99)
    assert channel.set_quantities([_write(SKU, 9)])[0].outcome == "unsent"


def test_throttling_waits_and_repeats_since_nothing_was_done(seller: Account) -> None:
    seller.network.plan("throttled", "PATCH", times=2)
    (result,) = seller.channel().set_quantities([_write(SKU, 9)])
    assert result.outcome == "accepted"
    assert [call.outcome for call in seller.log if call.operation == "patchListingsItem"] == [
        "throttled",
        "throttled",
        "ok",
    ]


def test_an_expired_token_is_renewed_once(seller: Account) -> None:
    channel = seller.channel()
    seller.network.plan("unauthorised", "PATCH")
    assert channel.set_quantities([_write(SKU, 9)])[0].outcome == "accepted"
    seller.network.plan("unauthorised", "PATCH", times=2)
    (result,) = channel.set_quantities([_write(SKU, 9)])
    assert (result.outcome, result.code) == ("refused", "UNAUTHORISED")


def test_a_withdrawn_consent_is_refused_not_retried(seller: Account) -> None:
    seller.network.plan("unauthorised", "auth/o2/token", times=99)
    channel = seller.channel()
    with pytest.raises(Unauthorised):
        channel.levels([SKU])
    assert channel.set_quantities([_write(SKU, 9)])[0].outcome == "refused"


def test_a_read_without_an_answer_is_said(seller: Account) -> None:
    channel = seller.channel()
    seller.network.plan("lost_reply", "GET", times=2)
    assert len(channel.levels([SKU])) == 1
    seller.network.plan("lost_reply", "GET", times=99)
    with pytest.raises(ServerFault):
        channel.levels([SKU])


def test_several_threads_share_one_channel(seller: Account) -> None:
    channel = seller.channel()
    with ThreadPoolExecutor(5) as pool:
        results = list(pool.map(lambda n: channel.set_quantities([_write(f"SKU {n}/%", 50 + n)])[0], range(20)))
    assert {result.outcome for result in results} == {"accepted"}
    assert len({result.submission_ref for result in results}) == 20
    assert sum(call.operation == "amazon.token" for call in seller.log) == 1


def test_the_quota_is_paced_on_the_vendors_clock() -> None:
    account = amazon_account(CannedSeller())
    channel = account.channel()
    began = time.monotonic()
    for n in range(20):
        channel.set_quantities([_write(f"SKU {n}/%", n)])
    # Five a second on a clock that runs a hundred times faster, starting from empty: 20 calls are never done in less
    # than 40 ms, however much of that the calls took themselves; by our own clock they would be told to wait 4 s.
    assert time.monotonic() - began >= 0.038
    assert sum(account.slept) < 0.5


def test_a_thousand_and_more_listings_are_read_in_windows() -> None:
    canned = CannedSeller(units={f"S{n:05}": n for n in range(2350)})

    def answer(request: httpx.Request) -> httpx.Response:
        """Creation times rise with the number; a search shows a thousand from `createdAfter` on."""
        after = request.url.params.get("createdAfter")
        start = int(datetime.fromisoformat(after).timestamp()) // 10 * 10 if after else 0
        part = CannedSeller(units={sku: units for sku, units in canned.units.items() if units >= start})
        reply = part(request)
        if "/listings/" not in request.url.path:
            return reply
        body = reply.json()
        for item in body.get("items", []):
            moment = datetime.fromtimestamp(part.units[item["sku"]] // 10 * 10, UTC)
            item["summaries"][0]["createdDate"] = moment.isoformat()
        return httpx.Response(200, json=body)

    account = amazon_account(answer)
    listings = [listing for page in account.channel().listings() for listing in page]
    assert sorted(listing.ref for listing in listings) == sorted(canned.units)


def test_listings_that_cannot_be_told_apart_by_time_are_said_not_dropped() -> None:
    account = amazon_account(CannedSeller(units={f"S{n:05}": n for n in range(1500)}))
    with pytest.raises(Refused, match="creation time"):
        list(account.channel().listings())


def test_what_has_no_quantity_is_not_counted() -> None:
    canned = CannedSeller(units={SKU: 0}, more={SKU: {"fulfillmentAvailability": []}})
    account = amazon_account(canned)
    (listing,) = [listing for page in account.channel().listings() for listing in page]
    assert (listing.is_tracked, listing.levels[0].units, listing.gone_places) == (False, None, ())


def test_a_quota_that_stays_used_up_is_said() -> None:
    account = amazon_account(CannedSeller())
    account.network.plan("throttled", "", times=10**6)
    account.config = replace(account.config, settings={**account.config.settings, "clock_factor": 0.001})
    with pytest.raises(Throttled):
        account.channel().levels([SKU])


def test_topics_that_are_not_used_say_nothing(seller: Account) -> None:
    assert seller.channel().parse("products/update", b"{}", None) is None


def test_a_marketplace_must_be_named() -> None:
    account = amazon_account(CannedSeller())
    with pytest.raises(NoMarketplace):
        make_channel(replace(account.config, settings={}), None)  # type: ignore[arg-type]


def _write(sku: str, units: int) -> QuantityWrite:
    return QuantityWrite(1, sku, None, "", None, units, "key")


@pytest.mark.parametrize(
    ("ours_ahead", "header", "dated"),
    [
        pytest.param(3.0, True, 0.0, id="our-clock-ahead"),
        pytest.param(-3.0, True, -3.0, id="our-clock-behind"),
        pytest.param(3.0, False, 3.0, id="an-answer-without-a-date"),
    ],
)
def test_a_number_that_is_taken_over_is_never_dated_later_than_amazons_clock(
    ours_ahead: float, header: bool, dated: float
) -> None:
    # What is sold right after the page was read bears Amazon's time: it must not look like sold before.
    canned, theirs, seconds = CannedSeller(), datetime(2026, 11, 26, 12, 0, 10, 700_000, tzinfo=UTC), [0.0]

    def wait(longer: float) -> None:
        seconds[0] += longer

    def answers(request: httpx.Request) -> httpx.Response:
        wait(0.4)
        answer = canned(request)
        if header:
            answer.headers["Date"] = format_datetime(theirs.replace(microsecond=0), usegmt=True)
        return answer

    account = amazon_account(answers)
    ours = theirs + timedelta(seconds=ours_ahead)
    channel = make_channel(
        account.config,
        Deps(account.log.append, None, account.network, lambda: ours, wait, clock=lambda: seconds[0]),
    )
    seen = {level.observed_at for page in channel.listings() for each in page for level in each.levels}
    assert all(at <= theirs + timedelta(seconds=dated) for at in seen)
    assert all(at > theirs + timedelta(seconds=dated - 2) for at in seen)
    # Whole seconds are cut off, and what the answer took may have passed before the page was looked up.
    if header and ours_ahead > 0:
        assert seen == {theirs.replace(microsecond=0) - timedelta(seconds=0.4)}


@pytest.mark.parametrize(("ahead", "is_believed"), [(30.0, True), (365 * 86400.0, False)])
def test_a_number_of_the_future_is_one_of_now(ahead: float, is_believed: bool) -> None:
    # It would be the last number that is believed until its time has come.
    now = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
    account = amazon_account(CannedSeller())
    channel = make_channel(account.config, Deps(account.log.append, None, account.network, lambda: now))
    told_at = now + timedelta(seconds=ahead)
    body = {
        "NotificationType": "LISTINGS_ITEM_MFN_QUANTITY_CHANGE",
        "EventTime": told_at.isoformat(),
        "Payload": {"Sku": SKU, "FulfillmentChannelCode": "DEFAULT", "Quantity": 4},
    }
    envelope = open_envelope(json.dumps(body).encode())
    assert envelope is not None
    facts = channel.parse(envelope.topic, json.dumps(body).encode(), envelope.event_at)
    assert facts is not None
    assert [level.observed_at for level in facts.levels] == [told_at if is_believed else now]
