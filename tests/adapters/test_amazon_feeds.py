"""The bulk road of Amazon, from the document to its report, against canned replies."""

from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from core.adapters.amazon.feeds import CONTENT_TYPE, MESSAGES_MAX, document, unpacked
from core.adapters.http import Refused, ServerFault
from core.bulk import BulkRoad, BulkSubmission
from core.ports import QuantityWrite
from tests.adapters.accounts import Account, amazon_account
from tests.adapters.canned_feeds import STORE, CannedFeeds, an_error, report_of

SCHEMAS = Path(os.environ.get("SHARED_DIR", "../shared")) / "contracts" / "amazon" / "schemas" / "feeds"


@pytest.fixture
def canned() -> CannedFeeds:
    return CannedFeeds()


@pytest.fixture
def account(canned: CannedFeeds) -> Account:
    made = amazon_account(canned)
    cast(dict[str, Any], made.config.settings)["clock_factor"] = 100_000
    return made


@pytest.fixture
def bulk(account: Account) -> BulkRoad:
    road = account.channel().bulk
    assert road is not None
    return road


def _write(number: int, sku: str, units: int = 7) -> QuantityWrite:
    return QuantityWrite(number, sku, None, "", None, units, f"key:{number}")


WRITES = [_write(1, "SKU 1/%"), _write(2, "RED, LARGE", 12)]


def test_a_feed_from_its_document_to_its_report(bulk: BulkRoad, canned: CannedFeeds) -> None:
    document_ref = bulk.upload(WRITES)
    sent = bulk.submit(document_ref)
    assert (sent.outcome, list(canned.feeds)) == ("submitted", [sent.ref])
    ref = str(sent.ref)
    assert [(message["messageId"], message["sku"]) for message in canned.messages(ref)] == [
        (1, "SKU 1/%"),
        (2, "RED, LARGE"),
    ]
    assert bulk.submission(ref).state == "queued"
    canned.finish(ref, "DONE", report_of(2, an_error(2, "RED, LARGE")))
    seen = bulk.submission(ref)
    report = bulk.report(seen)
    assert (seen.state, report.processed, report.accepted, report.invalid) == ("done", 2, 1, 1)
    (issue,) = report.issues
    assert (issue.position, issue.severity, issue.code, issue.listing_ref) == (1, "error", "90220", "RED, LARGE")


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("IN_QUEUE", "queued"),
        ("in_progress", "running"),
        ("DONE", "done"),
        ("Fatal", "fatal"),
        ("CANCELLED", "cancelled"),
    ],
)
def test_every_processing_status_is_read(bulk: BulkRoad, canned: CannedFeeds, word: str, state: str) -> None:
    ref = str(bulk.submit(bulk.upload(WRITES)).ref)
    canned.finish(ref, word)
    assert bulk.submission(ref).state == state


def test_a_status_that_is_not_documented_says_nothing(bulk: BulkRoad, canned: CannedFeeds) -> None:
    ref = str(bulk.submit(bulk.upload(WRITES)).ref)
    canned.finish(ref, "HALF_DONE")
    with pytest.raises(ServerFault):
        bulk.submission(ref)


def test_trap_9_the_upload_has_the_very_content_type_that_was_signed_and_nothing_else_of_ours(
    bulk: BulkRoad, canned: CannedFeeds
) -> None:
    bulk.upload(WRITES)
    (request,) = canned.puts
    assert list(canned.types.values()) == [CONTENT_TYPE] == ["application/json; charset=UTF-8"]
    assert request.headers["content-type"] == CONTENT_TYPE
    assert set(request.headers) == {"host", "content-length", "content-type"}


def test_trap_13_an_address_that_has_died_takes_its_document_with_it(bulk: BulkRoad, canned: CannedFeeds) -> None:
    canned.dead = {"doc-0"}
    document_ref = bulk.upload(WRITES)
    assert document_ref == "doc-1"
    assert bulk.submit(document_ref).outcome == "submitted"
    assert [feed.document for feed in canned.feeds.values()] == ["doc-1"]
    assert canned.documents["doc-0"] is None


def test_a_store_that_takes_nothing_ends_the_upload(bulk: BulkRoad, canned: CannedFeeds) -> None:
    canned.dead = {f"doc-{n}" for n in range(9)}
    with pytest.raises(Refused):
        bulk.upload(WRITES)
    assert len(canned.documents) == 2
    assert not canned.feeds


def test_trap_12_the_header_is_an_object_and_the_document_follows_the_vendors_schema() -> None:
    if not SCHEMAS.is_dir():
        pytest.skip("needs SHARED_DIR with contracts/amazon/schemas/feeds")
    import jsonschema

    schema = json.loads((SCHEMAS / "listings-feed-schema-v2.json").read_text())
    skus = ["plain", "SKU 3/%", "RED, LARGE", 'a "quoted" one', "Größe 42", "\\", "x" * 40]
    body = json.loads(document("ATEST", "PRODUCT", [_write(n, sku, n * 1000) for n, sku in enumerate(skus)]))
    jsonschema.validate(body, schema)
    assert isinstance(body["header"], dict)
    assert [message["messageId"] for message in body["messages"]] == list(range(1, len(skus) + 1))
    assert [message["sku"] for message in body["messages"]] == skus


def test_trap_11_each_message_names_the_fulfilment_channel_and_merges_in_snake_case() -> None:
    (message,) = json.loads(document("ATEST", "PRODUCT", [_write(1, "MUG", 0)]))["messages"]
    value = [{"fulfillment_channel_code": "DEFAULT", "quantity": 0}]
    assert message["operationType"] == "PATCH"
    assert message["patches"] == [{"op": "merge", "path": "/attributes/fulfillment_availability", "value": value}]


def test_a_full_feed_is_within_the_size_and_more_is_refused() -> None:
    longest = [_write(n, f"{n:040}", 2**31 - 1) for n in range(MESSAGES_MAX)]
    assert len(document("ATEST", "PRODUCT", longest)) < 10 << 20
    with pytest.raises(Refused, match="25,001 messages"):
        document("ATEST", "PRODUCT", [*longest, _write(0, "one more")])
    with pytest.raises(Refused):
        document("ATEST", "PRODUCT", [])


def test_a_lost_reply_of_a_submission_is_never_tried_again(account: Account, canned: CannedFeeds) -> None:
    bulk = account.channel().bulk
    assert bulk is not None
    document_ref = bulk.upload(WRITES)
    account.network.plan("fault_after_effect", "POST https://sp-api.test/feeds/2021-06-30/feeds", times=5)
    assert bulk.submit(document_ref).outcome == "unknown"
    assert len(canned.feeds) == 1


@pytest.mark.parametrize("mishap", ["refused_connection", "throttled", "unauthorised"])
def test_a_submission_that_surely_did_not_leave_says_so(account: Account, canned: CannedFeeds, mishap: Any) -> None:
    bulk = account.channel().bulk
    assert bulk is not None
    document_ref = bulk.upload(WRITES)
    account.network.plan(mishap, "POST https://sp-api.test/feeds/2021-06-30/feeds", times=99)
    assert bulk.submit(document_ref).outcome == "unsent"
    assert not canned.feeds


def test_feeds_since_are_asked_for_page_by_page_with_the_token_alone(bulk: BulkRoad, canned: CannedFeeds) -> None:
    canned.page = 2
    refs = [str(bulk.submit(bulk.upload(WRITES)).ref) for _ in range(5)]
    canned.feeds[refs[0]].type = "OTHER"
    told = bulk.submissions_since(datetime.now(UTC) - timedelta(minutes=5))
    assert [one.ref for one in told] == refs[1:]


def test_a_feed_is_cancelled_only_from_the_queue(bulk: BulkRoad, canned: CannedFeeds) -> None:
    first, second = (str(bulk.submit(bulk.upload(WRITES)).ref) for _ in range(2))
    canned.finish(second, "IN_PROGRESS")
    assert (bulk.cancel(first), bulk.cancel(second)) == (True, False)
    assert bulk.submission(first).state == "cancelled"


def test_addresses_that_carry_a_signature_reach_no_log(account: Account, canned: CannedFeeds, lines: Any) -> None:
    bulk = account.channel().bulk
    assert bulk is not None
    canned.dead = {"doc-0"}
    ref = str(bulk.submit(bulk.upload(WRITES)).ref)
    canned.finish(ref, "DONE", report_of(2))
    bulk.report(bulk.submission(ref))
    canned.feeds[ref].report = None
    with pytest.raises(Refused) as told:
        bulk.report(BulkSubmission(ref, "done", datetime.now(UTC), None, f"report-{ref}"))
    said = f"{account.log!r} {lines()!r} {told.value} {told.value!r}"
    assert STORE not in said
    assert "secret" not in said
    assert {call.operation for call in account.log} >= {"uploadFeedDocument", "downloadFeedReport"}


def test_a_report_comes_packed_or_plain_and_damaged_ones_are_asked_for_again(
    bulk: BulkRoad, canned: CannedFeeds
) -> None:
    ref = str(bulk.submit(bulk.upload(WRITES)).ref)
    canned.feeds[ref].is_packed = False
    canned.finish(ref, "DONE", report_of(2))
    assert bulk.report(bulk.submission(ref)).accepted == 2
    canned.feeds[ref].is_packed = True
    canned.feeds[ref].report = gzip.compress(json.dumps(report_of(2)).encode())[:-9]
    with pytest.raises(ServerFault, match="damaged"):
        bulk.report(bulk.submission(ref))


@pytest.mark.parametrize("text", [b"", b"<html>", b"[]", b"{}", b'{"issues": 3}', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_report_proves_nothing(bulk: BulkRoad, canned: CannedFeeds, text: bytes) -> None:
    ref = str(bulk.submit(bulk.upload(WRITES)).ref)
    canned.finish(ref, "DONE", text)
    with pytest.raises(ServerFault):
        bulk.report(bulk.submission(ref))


def test_issues_are_read_as_far_as_they_can_be(bulk: BulkRoad, canned: CannedFeeds) -> None:
    ref = str(bulk.submit(bulk.upload(WRITES)).ref)
    found = [
        {"severity": "ERROR", "message": "whole"},
        {"messageId": "2", "severity": "error", "message": "m"},
        {"messageId": 1, "severity": "Warning"},
        {"messageId": 1, "severity": "GRAVE"},
        {"messageId": -1, "severity": "ERROR"},
        {"messageId": 0, "severity": "ERROR"},
        {"messageId": True, "severity": "ERROR"},
        "what?",
    ]
    canned.finish(ref, "DONE", {"issues": found})
    read = [(issue.position, issue.severity) for issue in bulk.report(bulk.submission(ref)).issues]
    assert read == [
        (None, "error"),
        (1, "error"),
        (0, "note"),
        (0, "unclear"),
        (None, "unclear"),
        (None, "unclear"),
        (None, "unclear"),
        (None, "unclear"),
    ]


def test_the_vendors_example_of_a_report_is_read(bulk: BulkRoad, canned: CannedFeeds) -> None:
    if not SCHEMAS.is_dir():
        pytest.skip("needs SHARED_DIR with contracts/amazon/schemas/feeds")
    ref = str(bulk.submit(bulk.upload(WRITES)).ref)
    canned.finish(ref, "DONE", (SCHEMAS / "listings-feed-processing-report-schema-v2.example.json").read_bytes())
    report = bulk.report(bulk.submission(ref))
    assert [(issue.position, issue.severity) for issue in report.issues] == [(3, "error"), (3, "error"), (4, "error")]
    assert (report.processed, report.accepted, report.invalid) == (4, 2, 2)


def test_unpacking_leaves_alone_what_was_unpacked_on_the_way(tmp_path: Path) -> None:
    file = (tmp_path / "report").open("w+b")
    with file:
        file.write(b"{}")
        assert unpacked(file, "GZIP") == b"{}"


def test_what_was_submitted_is_not_what_is_in_force(bulk: BulkRoad, canned: CannedFeeds) -> None:
    canned.submitted = {"SKU 1/%": 7, "SKU 2/%": 0}
    assert bulk.submitted(["SKU 1/%", "SKU 2/%", "SKU 3/%", "RED, LARGE"]) == {"SKU 1/%": 7, "SKU 2/%": 0}
