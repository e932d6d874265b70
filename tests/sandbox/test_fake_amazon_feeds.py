"""Feeds: documents by presigned addresses, a feed's life, its report, what may be wrong with it, and its quota."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.vendors.amazon.documents import signature
from tests.sandbox.amazon_files import FEED_DOCUMENTS, FEEDS, Desk, quantity
from tests.sandbox.outside import Inside, Outside, availability, wait_for


@pytest.fixture
def desk(inside: Inside) -> Desk:
    return Desk(inside, *[{"sku": sku, "quantity": 10} for sku in ("A", "B", "C")])


def summary(errors: int, processed: int, accepted: int) -> dict[str, int]:
    counts = {"messagesProcessed": processed, "messagesAccepted": accepted, "messagesInvalid": processed - accepted}
    return {"errors": errors, "warnings": 0, **counts}


# Documents


def test_the_signature_is_the_one_that_aws_documents() -> None:
    """The example of docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html."""
    query = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request",
        "X-Amz-Date": "20130524T000000Z",
        "X-Amz-Expires": "86400",
        "X-Amz-SignedHeaders": "host",
    }
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    found = signature(secret, "GET", "/test.txt", query, {"host": "examplebucket.s3.amazonaws.com"})
    assert found == "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"


def test_what_is_put_at_the_address_can_be_fetched(desk: Desk) -> None:
    document = desk.document("text/plain")
    answer = desk.put(document["url"], b"words", "text/plain")
    assert (answer.status_code, answer.content) == (200, b"")
    assert desk.fetched(f"{FEED_DOCUMENTS}/{document['feedDocumentId']}") == b"words"


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "text/plain"])
def test_trap_another_content_type_than_the_signed_one_is_refused(desk: Desk, content_type: str) -> None:
    """A difference in nothing but the charset is enough."""
    document = desk.document()
    answer = desk.put(document["url"], b"{}", content_type)
    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("application/xml")
    assert "<Code>SignatureDoesNotMatch</Code>" in answer.text
    assert (
        "<Code>NoSuchKey</Code>"
        in desk.files.get(desk.http.get(f"{FEED_DOCUMENTS}/{document['feedDocumentId']}").json()["url"]).text
    )


def test_an_address_that_was_tampered_with_opens_nothing(desk: Desk) -> None:
    url, other = desk.document()["url"], desk.document()["url"]
    forged = [
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.replace("X-Amz-Expires=300", "X-Amz-Expires=3000"),
        url.split("?")[0] + "?" + other.split("?")[1],
    ]
    for address in forged:
        assert "SignatureDoesNotMatch" in desk.put(address, b"{}").text
    # Nor may it be used for another purpose.
    assert desk.files.get(url).status_code == 403


@pytest.mark.breaks_contract("credentials")
def test_no_access_token_belongs_at_the_address(desk: Desk) -> None:
    token = desk.http.headers["x-amz-access-token"]
    refused = desk.put(desk.document()["url"], b"{}", **{"x-amz-access-token": token})
    assert (refused.status_code, "<HeadersNotSigned>x-amz-access-token" in refused.text) == (403, True)
    assert desk.put(desk.document()["url"], b"{}", authorization=f"Bearer {token}").status_code == 400


def test_addresses_die_after_five_minutes(desk: Desk) -> None:
    early, late = desk.document(), desk.document()
    desk.world.clock.advance(299)
    assert desk.put(early["url"], b"{}").status_code == 200
    fetching = desk.http.get(f"{FEED_DOCUMENTS}/{early['feedDocumentId']}").json()["url"]
    desk.world.clock.advance(2)
    dead = desk.put(late["url"], b"{}")
    assert (dead.status_code, "Request has expired" in dead.text) == (403, True)
    assert desk.files.get(fetching).status_code == 200
    desk.world.clock.advance(300)
    assert desk.files.get(fetching).status_code == 403


def test_a_document_belongs_to_its_seller(desk: Desk, inside: Inside) -> None:
    document, stranger = desk.document(), Desk(inside)
    assert stranger.http.get(f"{FEED_DOCUMENTS}/{document['feedDocumentId']}").status_code == 404
    assert stranger.ask(document["feedDocumentId"]).status_code == 400


# A feed's life


def test_a_feed_waits_works_and_is_done(desk: Desk) -> None:
    feed_id = desk.feed(quantity(1, "A", 4), quantity(2, "B", 0))
    seen = [desk.state(feed_id)]
    assert set(seen[0]) == {"feedId", "feedType", "marketplaceIds", "createdTime", "processingStatus"}
    while seen[-1]["processingStatus"] not in ("DONE", "FATAL"):
        desk.world.clock.advance(0.5)
        seen.append(desk.state(feed_id))
    assert list(dict.fromkeys(feed["processingStatus"] for feed in seen)) == ["IN_QUEUE", "IN_PROGRESS", "DONE"]
    assert seen[-1]["createdTime"] <= seen[-1]["processingStartTime"] <= seen[-1]["processingEndTime"]
    report = desk.report(seen[-1])
    assert report["header"] == {"sellerId": desk.seller.id, "version": "2.0", "feedId": feed_id}
    assert (report["issues"], report["summary"]) == ([], summary(0, 2, 2))
    desk.world.clock.advance(30)
    assert desk.all_units() == {"A": 4, "B": 0, "C": 10}


def test_trap_done_is_not_success(desk: Desk) -> None:
    """What was refused stands in the report alone, line by line; the rest counts."""
    messages = [
        quantity(1, "A", 4),
        quantity(2, "B", -1),
        quantity(3, "NOBODY", 1),
        quantity(4, "C", 2, operationType="PARTIAL_UPDATE"),
        quantity(1, "C", 2),
        {"messageId": 6, "sku": "C", "operationType": "UPDATE", "productType": "P", "attributes": {"brand": [{}]}},
        {"sku": "C"},
        "nonsense",
    ]
    feed = desk.ended(desk.feed(*messages))
    assert feed["processingStatus"] == "DONE"
    report = desk.report(feed)
    told = [(issue.get("messageId"), issue.get("sku"), issue["code"]) for issue in report["issues"]]
    assert told == [
        (2, "B", "90244"),
        (3, "NOBODY", "13013"),
        (4, "C", "4002008"),
        (1, "C", "4002010"),
        (6, "C", "4002012"),
        (None, "C", "4002008"),
        (None, None, "4002008"),
    ]
    assert report["issues"][0]["attributeName"] == "fulfillment_availability"
    assert report["summary"] == summary(7, 8, 1)
    desk.world.clock.advance(30)
    assert desk.all_units() == {"A": 4, "B": 10, "C": 10}


def test_trap_a_channel_left_out_or_a_path_in_camel_case_is_invalid(desk: Desk) -> None:
    """By both roads: what is read in camelCase is written in snake_case."""
    value = [{"fulfillment_channel_code": "DEFAULT", "quantity": 4}]
    wrong = {
        "90220": {"op": "merge", "path": "/attributes/fulfillment_availability", "value": [{"quantity": 4}]},
        "90000900": {"op": "merge", "path": "/attributes/fulfillmentAvailability", "value": value},
    }
    for code, patch in wrong.items():
        answer = desk.seller.patch("A", patch)
        said = answer.json()
        assert (answer.status_code, said["status"], said["issues"][0]["code"]) == (200, "INVALID", code)
    messages = [quantity(number, "A", 4, patches=[patch]) for number, patch in enumerate(wrong.values(), 1)]
    report = desk.report(desk.ended(desk.feed(*messages)))
    assert [issue["code"] for issue in report["issues"]] == list(wrong)
    assert desk.all_units()["A"] == 10


def test_trap_a_header_that_is_a_list_has_no_merchant(desk: Desk) -> None:
    header = [{"sellerId": desk.seller.id, "version": "2.0"}]
    document_id = desk.upload(json.dumps({"header": header, "messages": [quantity(1, "A", 4)]}).encode())
    feed = desk.ended(str(desk.ask(document_id).json()["feedId"]))
    assert feed["processingStatus"] == "FATAL"
    report = desk.report(feed)
    message = "Attribute 'Merchant' is required, but not present."
    assert report["issues"] == [{"code": "4002005", "severity": "ERROR", "message": message}]
    assert report["summary"] == summary(1, 0, 0)
    assert desk.all_units()["A"] == 10


@pytest.mark.parametrize(
    "content",
    [
        b"not json",
        b"[]",
        b'{"header": {"sellerId": "SOMEBODY", "version": "2.0"}, "messages": [{}]}',
        b'{"header": {"sellerId": "SELLER", "version": "1.0"}, "messages": [{}]}',
        b'{"header": {"sellerId": "SELLER", "version": "2.0"}, "messages": []}',
        b'{"header": {"sellerId": "SELLER", "version": "2.0"}}',
        b'{"header": {"sellerId": "SELLER", "version": "2.0", "report": {"includedData": ["x"]}}, "messages": [{}]}',
    ],
)
def test_a_file_of_another_form_is_refused_whole(desk: Desk, content: bytes) -> None:
    document_id = desk.upload(content.replace(b'"SELLER"', json.dumps(desk.seller.id).encode()))
    feed = desk.ended(str(desk.ask(document_id).json()["feedId"]))
    report = desk.report(feed)
    assert feed["processingStatus"] == "FATAL"
    assert [issue.get("messageId") for issue in report["issues"]] == [None]
    assert report["summary"] == summary(1, 0, 0)


def test_more_than_25_000_messages_are_refused_whole(desk: Desk) -> None:
    feed = desk.ended(desk.feed(quantity(1, "A", 4), *[{}] * 25_000))
    assert feed["processingStatus"] == "FATAL"
    assert "25000" in desk.report(feed)["issues"][0]["message"]
    assert desk.all_units()["A"] == 10


def test_trap_a_feed_of_a_document_that_was_never_put_there_is_fatal(desk: Desk) -> None:
    """As of one whose address died before the upload, when a new document was made and the old id was named."""
    document = desk.document()
    desk.world.clock.advance(301)
    assert desk.put(document["url"], desk.body(quantity(1, "A", 4))).status_code == 403
    desk.upload(desk.body(quantity(1, "A", 4)))
    feed = desk.ended(str(desk.ask(document["feedDocumentId"]).json()["feedId"]))
    assert (feed["processingStatus"], "resultFeedDocumentId" in feed) == ("FATAL", False)
    assert desk.all_units()["A"] == 10


def test_removed_feed_types_are_taken_and_end_as_fatal(desk: Desk) -> None:
    answer = desk.ask(desk.upload(b"<xml/>"), "POST_INVENTORY_AVAILABILITY_DATA")
    assert answer.status_code == 202
    assert desk.ended(str(answer.json()["feedId"]))["processingStatus"] == "FATAL"


@pytest.mark.parametrize(
    "wrong",
    [
        {"feedType": "POST_NOTHING"},
        {"inputFeedDocumentId": "amzn1.tortuga.4.eu.nothing"},
        {"marketplaceIds": ["ATVPDKIKX0DER"]},
    ],
)
def test_a_feed_of_nothing_known_is_a_bad_request(desk: Desk, wrong: dict[str, Any]) -> None:
    answer = desk.ask(desk.upload(b"{}"), **wrong)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "InvalidInput")


@pytest.mark.breaks_contract("body")
def test_what_the_model_asks_for_is_needed(desk: Desk) -> None:
    assert desk.http.post(FEEDS, json={"feedType": "JSON_LISTINGS_FEED"}).status_code == 400
    assert desk.ask(desk.upload(b"{}"), marketplaceIds=[]).status_code == 400
    assert desk.http.post(FEED_DOCUMENTS, json={}).status_code == 400
    assert desk.http.post(FEEDS, json=[]).status_code == 400


def test_only_a_feed_in_the_queue_can_be_cancelled(desk: Desk) -> None:
    first, second = desk.feed(quantity(1, "A", 4)), desk.feed(quantity(1, "B", 4))
    cancelled = desk.http.delete(f"{FEEDS}/{second}")
    assert (cancelled.status_code, cancelled.content) == (200, b"")
    assert desk.ended(first)["processingStatus"] == "DONE"
    assert desk.http.delete(f"{FEEDS}/{first}").status_code == 400
    assert desk.state(second)["processingStatus"] == "CANCELLED"
    assert desk.http.delete(f"{FEEDS}/{second}").status_code == 400
    assert desk.http.delete(f"{FEEDS}/99").status_code == 404
    desk.world.clock.advance(60)
    assert desk.all_units() == {"A": 4, "B": 10, "C": 10}


def test_a_delete_ends_the_listing(desk: Desk) -> None:
    feed_id = desk.feed({"messageId": 1, "sku": "A", "operationType": "DELETE"}, quantity(2, "B", 1))
    assert desk.report(desk.ended(feed_id))["summary"] == summary(0, 2, 2)
    assert desk.seller.get("A").status_code == 404
    assert desk.all_units() == {"B": 1, "C": 10}


def test_a_partial_update_replaces_what_it_names(desk: Desk) -> None:
    value = [{"fulfillment_channel_code": "DEFAULT", "quantity": 3}]
    message = {"messageId": 1, "sku": "A", "operationType": "PARTIAL_UPDATE", "productType": "PRODUCT"}
    desk.ended(desk.feed(message | {"attributes": {"fulfillment_availability": value}}))
    assert desk.seller.get("A", "attributes").json()["attributes"]["fulfillment_availability"] == value
    assert desk.units("A") == 3


def test_the_report_lists_the_items_that_were_asked_for(desk: Desk) -> None:
    wanted = {"includedData": ["summaries", "fulfillmentAvailability"], "apiVersion": "2021-08-01"}
    report = desk.report(desk.ended(desk.feed(quantity(1, "A", 4), quantity(2, "B", -4), report=wanted)))
    assert [set(entry) for entry in report["items"]] == [{"sku", "summaries", "fulfillmentAvailability"}]
    assert report["header"]["report"] == wanted
    assert report["summary"]["itemSummary"] == {"items": 1, "errors": 0, "warnings": 0}


def test_a_long_report_is_packed(desk: Desk) -> None:
    feed = desk.ended(desk.feed(*[quantity(number, "NOBODY", 1) for number in range(1, 101)]))
    path = f"{FEED_DOCUMENTS}/{feed['resultFeedDocumentId']}"
    answer = desk.http.get(path).json()
    assert answer["compressionAlgorithm"] == "GZIP"
    assert desk.files.get(answer["url"]).content[:2] == b"\x1f\x8b"
    assert len(desk.report(feed)["issues"]) == 100
    # Whoever wants it is told of the compression by the header, and his client unpacks it.
    told = desk.http.get(path, params={"enableContentEncodingUrlHeader": "true"}).json()
    assert len(desk.files.get(told["url"]).json()["issues"]) == 100


# Many feeds


def test_feeds_are_listed_by_page_and_the_token_stands_alone(desk: Desk) -> None:
    made = [desk.feed(quantity(1, "A", 4)) for _ in range(4)]
    chosen = {"feedTypes": "JSON_LISTINGS_FEED", "pageSize": 3}
    page = desk.http.get(FEEDS, params=chosen).json()
    rest = desk.http.get(FEEDS, params={"nextToken": page["nextToken"]}).json()
    assert [feed["feedId"] for feed in page["feeds"] + rest["feeds"]] == made[::-1]
    assert "nextToken" not in rest
    assert desk.http.get(FEEDS, params={"nextToken": page["nextToken"], "pageSize": 3}).status_code == 400
    assert desk.http.get(FEEDS, params={"nextToken": "nothing"}).status_code == 400
    assert desk.http.get(FEEDS).status_code == 400
    done = desk.ended(made[0])
    finished = desk.http.get(FEEDS, params=chosen | {"processingStatuses": "DONE", "pageSize": 10}).json()["feeds"]
    assert done in finished
    none = {"createdUntil": "2020-01-01T00:00:00Z"}
    assert desk.http.get(FEEDS, params=chosen | none).json()["feeds"] == []
    assert desk.http.get(FEEDS, params=chosen | {"marketplaceIds": "ATVPDKIKX0DER"}).json()["feeds"] == []


def test_feeds_are_forgotten_after_ninety_days(desk: Desk) -> None:
    desk.feed(quantity(1, "A", 4))
    desk.world.clock.advance(91 * 86_400)
    desk.http.headers["x-amz-access-token"] = desk.seller.grant().json()["access_token"]
    assert desk.http.get(FEEDS, params={"feedTypes": "JSON_LISTINGS_FEED"}).json()["feeds"] == []


def test_five_listings_feeds_in_five_minutes_are_all(desk: Desk) -> None:
    document_id = desk.upload(desk.body(quantity(1, "A", 4)))
    answers = [desk.ask(document_id) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [202] * 5 + [429]
    assert answers[0].headers["x-amzn-RateLimit-Limit"] == "0.0083"
    desk.world.clock.advance(299)
    assert desk.ask(document_id).status_code == 429
    desk.world.clock.advance(2)
    # Of the fifteen of the plan seven are taken, one by a refusal.
    assert desk.ask(document_id).status_code == 202


def test_trap_a_stuck_feed_holds_up_the_next_ones(desk: Desk) -> None:
    desk.world.faults(kind="feed_stuck", count=1, match=desk.seller.id, seconds=3 * 86_400)
    stuck = desk.feed(quantity(1, "A", 4))
    behind = desk.feed(quantity(1, "B", 4))
    desk.world.clock.advance(3 * 86_400 - 60)
    desk.http.headers["x-amz-access-token"] = desk.seller.grant().json()["access_token"]
    assert [desk.state(feed)["processingStatus"] for feed in (stuck, behind)] == ["IN_PROGRESS", "IN_QUEUE"]
    assert desk.seller.patch("B", availability("merge", quantity=7)).json()["status"] == "ACCEPTED"
    assert desk.ended(stuck)["processingStatus"] == "DONE"
    desk.ended(behind)
    # What was patched meanwhile is older than what the feed says when it comes through at last.
    assert desk.all_units() == {"A": 4, "B": 4, "C": 10}


@pytest.mark.parametrize(("kind", "applied"), [("none", 0), ("some", 2), ("all", 3)])
def test_trap_fatal_may_have_applied_some_none_or_all(desk: Desk, kind: str, applied: int) -> None:
    desk.world.faults(kind=f"feed_fatal_{kind}", count=1, match=desk.seller.id)
    feed = desk.ended(desk.feed(*[quantity(number, sku, 1) for number, sku in enumerate("ABC", 1)]))
    assert (feed["processingStatus"], "resultFeedDocumentId" in feed) == ("FATAL", False)
    desk.world.clock.advance(30)
    assert sum(1 for units in desk.all_units().values() if units == 1) == applied


def test_trap_some_skus_keep_the_old_number_and_nothing_says_so(desk: Desk) -> None:
    desk.world.faults(kind="lost_submission", count=1, match="feed B")
    feed = desk.ended(desk.feed(*[quantity(number, sku, 1) for number, sku in enumerate("ABC", 1)]))
    assert desk.report(feed)["summary"] == summary(0, 3, 3)
    desk.world.clock.advance(86_400)
    assert desk.all_units() == {"A": 1, "B": 10, "C": 1}


def test_a_lost_reply_leaves_a_feed_behind(desk: Desk) -> None:
    document_id = desk.upload(desk.body(quantity(1, "A", 4)))
    desk.world.faults(kind="lost_reply", count=1, match=document_id)
    with pytest.raises(Exception, match="disconnected"):
        desk.ask(document_id)
    (feed,) = desk.http.get(FEEDS, params={"feedTypes": "JSON_LISTINGS_FEED"}).json()["feeds"]
    assert desk.ended(feed["feedId"])["processingStatus"] == "DONE"


def test_a_feed_goes_its_way_over_the_network(hurried: Outside) -> None:
    desk = Desk(hurried, {"sku": "A", "quantity": 10})
    feed_id = desk.feed(quantity(1, "A", 4))
    wait_for(lambda: desk.state(feed_id)["processingStatus"] == "DONE")
    assert desk.report(desk.state(feed_id))["summary"] == summary(0, 1, 1)
    assert wait_for(lambda: desk.all_units() == {"A": 4})


def test_a_feed_is_finished_after_a_restart(tmp_path: Any) -> None:
    first = Inside(tmp_path)
    desk = Desk(first, {"sku": "A", "quantity": 10})
    feed_id = desk.feed(*[quantity(number, "A", number) for number in range(1, 601)])
    first.clock.advance(25)
    desk.state(feed_id)
    first.stop()
    again = Inside(tmp_path)
    again.clock.advance(600)
    levels = again.get(f"/amazon/{desk.seller.id}/levels")["levels"]
    again.stop()
    assert levels[0]["in_force"] == {"DEFAULT": 600}
