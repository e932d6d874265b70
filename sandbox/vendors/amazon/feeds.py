"""Feeds: a file of many submissions, taken up after a while, worked through piece by piece, and reported on.

One feed of a type and seller is in progress at a time; the others wait, behind a stuck one for as long as it is stuck.
"""

import gzip
import random
from collections.abc import Callable
from typing import Any

import orjson

from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.amazon.documents import Documents
from sandbox.vendors.amazon.feed_file import FeedFile, issue, read_file, read_message, schema_issue
from sandbox.vendors.amazon.item_view import item
from sandbox.vendors.amazon.listings import Listings, find_seller
from sandbox.vendors.amazon.patches import Issue
from sandbox.vendors.amazon.telling import Tell, nobody

LISTINGS_FEED = "JSON_LISTINGS_FEED"
# Removed on 31 July 2025: they are still taken, and end as FATAL.
REMOVED = (
    "POST_FLAT_FILE_BOOKLOADER_DATA",
    "POST_FLAT_FILE_CONVERGENCE_LISTINGS_DATA",
    "POST_FLAT_FILE_INVLOADER_DATA",
    "POST_FLAT_FILE_LISTINGS_DATA",
    "POST_FLAT_FILE_PRICEANDQUANTITYONLY_UPDATE_DATA",
    "POST_INVENTORY_AVAILABILITY_DATA",
    "POST_PRODUCT_DATA",
    "POST_PRODUCT_IMAGE_DATA",
    "POST_PRODUCT_OVERRIDES_DATA",
    "POST_PRODUCT_PRICING_DATA",
    "POST_PRODUCT_RELATIONSHIP_DATA",
    "POST_UIEE_BOOKLOADER_DATA",
)
FEED_TYPES = (LISTINGS_FEED, *REMOVED)
# Seconds of the sandbox clock: until a feed is taken up, to read it, and for each message.
QUEUED, READING, PER_MESSAGE = (2.0, 20.0), (3.0, 10.0), 0.01
# Messages that are worked through at once.
PIECE = 250
GZIP_FROM_BYTES = 4096
# Feeds that break off after none, some or all of their messages; there is no report of them.
FATES = ("feed_fatal_none", "feed_fatal_some", "feed_fatal_all")


class Feeds:
    def __init__(
        self, store: Store, outbox: Outbox, listings: Listings, documents: Documents, seed: int, tell: Tell = nobody
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._listings = listings
        self._documents = documents
        self._tell = tell
        self._random = random.Random(f"feeds-{seed}")
        self._open: tuple[int, FeedFile] | None = None

    def duties(self) -> dict[str, Callable[[int], None]]:
        """What falls due by itself: see Duties."""
        return {"feed_turn": self._take_up, "feed_work": self._work}

    def create(self, seller: Row, feed_type: str, marketplaces: list[str], document_id: str) -> int:
        """The id of a feed that waits for its turn."""
        with self._store.transaction():
            number = self._store.next_id("feed")
            self._store.insert(
                "feeds",
                id=number,
                seller_id=seller["seller_id"],
                feed_type=feed_type,
                marketplaces=orjson.dumps(marketplaces).decode(),
                document_id=document_id,
                status="IN_QUEUE",
                created_at=self._outbox.date(),
                made_at=self._outbox.now(),
            )
            self._outbox.owe("feed_turn", number, self._random.uniform(*QUEUED))
        return number

    def find(self, seller: Row, feed_id: int) -> Row | None:
        return self._store.one("select * from feeds where id = ? and seller_id = ?", (feed_id, seller["seller_id"]))

    def cancel(self, seller: Row, feed_id: int) -> bool:
        """Whether it was still in the queue. A feed that was cancelled is told of as one that has ended."""
        with self._store.transaction():
            changed = self._store.run(
                "update feeds set status = 'CANCELLED', ended_at = ? where id = ? and status = 'IN_QUEUE'",
                (self._outbox.date(), feed_id),
            )
            if changed:
                self._say(seller, feed_id)
                self._call_next(self._row(feed_id))
        return bool(changed)

    def _row(self, feed_id: int) -> Row:
        row = self._store.one("select * from feeds where id = ?", (feed_id,))
        assert row is not None
        return row

    def _take_up(self, feed_id: int) -> None:
        """In the order in which they came: the one before calls the next when it has ended."""
        feed = self._row(feed_id)
        before = self._store.one(
            "select 1 from feeds where seller_id = ? and feed_type = ?"
            " and (status = 'IN_PROGRESS' or status = 'IN_QUEUE' and id < ?)",
            (feed["seller_id"], feed["feed_type"], feed_id),
        )
        if feed["status"] != "IN_QUEUE" or before:
            return
        said = f"{feed['feed_type']} {feed['seller_id']} {feed['id']}"
        faults = self._outbox.faults
        fate = next((kind for kind in FATES if faults.strike(kind, said)), None)
        self._store.run(
            "update feeds set status = 'IN_PROGRESS', started_at = ?, fate = ? where id = ?",
            (self._outbox.date(), fate, feed["id"]),
        )
        stuck = faults.strike("feed_stuck", said)
        self._outbox.owe("feed_work", feed_id, self._random.uniform(*READING) + (stuck.seconds if stuck else 0.0))

    def _work(self, feed_id: int) -> None:
        """One piece of the file, or the end."""
        feed = self._row(feed_id)
        if feed["feed_type"] in REMOVED:
            self._end(feed, "FATAL", None)
            return
        found = self._file(feed)
        if found is None:
            # Nothing was ever put there.
            self._end(feed, "FATAL", None)
        elif found.problem is not None:
            self._note(feed["id"], found.problem)
            self._end(feed, "FATAL", found)
        elif feed["position"] >= (last := self._last(feed, found)):
            self._end(feed, "DONE" if feed["fate"] is None else "FATAL", found if feed["fate"] is None else None)
        else:
            self._piece(feed, found, min(feed["position"] + PIECE, last))

    def _file(self, feed: Row) -> FeedFile | None:
        """Read once for all of its pieces; and again after a restart."""
        if self._open is None or self._open[0] != feed["id"]:
            seller = find_seller(self._store, feed["seller_id"])
            document = self._documents.find(seller, feed["document_id"])
            if document is None or document["data"] is None:
                return None
            self._open = (feed["id"], read_file(document["data"], seller["seller_id"]))
        return self._open[1]

    @staticmethod
    def _last(feed: Row, found: FeedFile) -> int:
        """How many messages are worked through: of a feed that breaks off some, none or all."""
        whole = len(found.messages)
        return {"feed_fatal_none": 0, "feed_fatal_some": (whole + 1) // 2}.get(feed["fate"], whole)

    def _piece(self, feed: Row, found: FeedFile, until: int) -> None:
        seller = find_seller(self._store, feed["seller_id"])
        issues = [
            self._one(seller, found, number, message)
            for number, message in enumerate(found.messages[feed["position"] : until], start=feed["position"])
        ]
        for problems in issues:
            for problem in problems:
                self._note(feed["id"], problem)
        invalid = sum(1 for problems in issues if problems)
        self._store.run(
            "update feeds set position = ?, accepted = accepted + ?, invalid = invalid + ? where id = ?",
            (until, len(issues) - invalid, invalid, feed["id"]),
        )
        self._outbox.owe("feed_work", feed["id"], len(issues) * PER_MESSAGE)

    def _one(self, seller: Row, found: FeedFile, place: int, message: Any) -> list[Issue]:
        """Submits one message; or says what is wrong with it."""
        if problem := schema_issue(message):
            return [problem]
        named = {"messageId": message["messageId"], "sku": message["sku"]}
        if found.first_place(message["messageId"]) != place:
            return [issue("4002010", "The 'messageId' was used before in this feed.", **named)]
        if message["operationType"] == "UPDATE":
            said = "The operation 'UPDATE' is not available to this account: use 'PATCH' or 'PARTIAL_UPDATE'."
            return [issue("4002012", said, **named)]
        if message["operationType"] == "DELETE":
            self._listings.remove(seller, message["sku"])
            return []
        listing = self._listings.find(seller, message["sku"])
        if listing is None:
            return [issue("13013", "This SKU does not exist in the Amazon catalog.", **named)]
        reading = read_message(orjson.loads(listing["attributes"]), message)
        if reading.issues:
            return [_reported(problem, named) for problem in reading.issues]
        self._listings.submit(seller, message["sku"], reading, road="feed")
        return []

    def _note(self, feed_id: int, problem: Issue) -> None:
        number = self._store.next_id("feed_issue")
        self._store.insert("feed_issues", id=number, feed_id=feed_id, issue=orjson.dumps(problem).decode())

    def _end(self, feed: Row, status: str, found: FeedFile | None) -> None:
        """The report, the notification, and the next feed's turn. Without a file there is nothing to report."""
        seller = find_seller(self._store, feed["seller_id"])
        result = None if found is None else self._report(seller, feed, found)
        self._store.run(
            "update feeds set status = ?, ended_at = ?, result_id = ? where id = ?",
            (status, self._outbox.date(), result, feed["id"]),
        )
        self._store.run("delete from feed_issues where feed_id = ?", (feed["id"],))
        self._open = None
        self._say(seller, feed["id"])
        self._call_next(feed)

    def _call_next(self, feed: Row) -> None:
        waiting = self._store.value(
            "select min(id) from feeds where seller_id = ? and feed_type = ? and status = 'IN_QUEUE'",
            (feed["seller_id"], feed["feed_type"]),
        )
        if waiting is not None:
            self._outbox.owe("feed_turn", waiting)

    def _report(self, seller: Row, feed: Row, found: FeedFile) -> str:
        rows = self._store.all("select issue from feed_issues where feed_id = ? order by id", (feed["id"],))
        issues = [orjson.loads(row["issue"]) for row in rows]
        header = {"sellerId": str(found.header.get("sellerId", "")), "version": "2.0", "feedId": str(feed["id"])}
        summary: dict[str, Any] = {
            "errors": sum(1 for problem in issues if problem["severity"] == "ERROR"),
            "warnings": sum(1 for problem in issues if problem["severity"] == "WARNING"),
            "messagesProcessed": feed["accepted"] + feed["invalid"],
            "messagesAccepted": feed["accepted"],
            "messagesInvalid": feed["invalid"],
        }
        report: dict[str, Any] = {"header": header, "issues": issues, "summary": summary}
        if (wanted := found.header.get("report")) and found.problem is None:
            items = self._items(seller, found, issues, wanted["includedData"])
            header["report"] = wanted
            report["items"] = items
            summary["itemSummary"] = {"items": len(items), **_severities(items)}
        data = orjson.dumps(report)
        is_gzip = len(data) >= GZIP_FROM_BYTES
        # No time within, so that the same report makes the same bytes.
        packed = gzip.compress(data, mtime=0) if is_gzip else data
        return self._documents.keep(seller, "application/json; charset=UTF-8", packed, is_gzip=is_gzip)

    def _items(self, seller: Row, found: FeedFile, issues: list[Issue], included: list[str]) -> list[dict[str, Any]]:
        """The listings that the accepted messages were about, each once."""
        refused = {problem.get("messageId") for problem in issues}
        skus = dict.fromkeys(
            message["sku"]
            for message in found.messages
            if schema_issue(message) is None and message["messageId"] not in refused
        )
        rows = (self._listings.find(seller, sku) for sku in skus)
        return [item(row, seller, included) for row in rows if row is not None]

    def _say(self, seller: Row, feed_id: int) -> None:
        feed = self._row(feed_id)
        said = {
            "sellerId": seller["seller_id"],
            "accountId": f"amzn1.merchant.o.{seller['seller_id']}",
            "feedId": str(feed_id),
            "feedType": feed["feed_type"],
            "processingStatus": feed["status"],
        }
        if feed["result_id"] is not None:
            said["resultFeedDocumentId"] = feed["result_id"]
        self._tell(seller, "FEED_PROCESSING_FINISHED", {"feedProcessingFinishedNotification": said})


def _reported(problem: Issue, named: dict[str, Any]) -> Issue:
    """An issue of a patch in the words of a report, which knows one attribute and no categories."""
    said = {name: problem[name] for name in ("code", "severity", "message")}
    names = problem.get("attributeNames") or []
    return {**named, **said, **({"attributeName": names[0]} if names else {})}


def _severities(items: list[dict[str, Any]]) -> dict[str, int]:
    found = [problem["severity"] for entry in items for problem in entry.get("issues", [])]
    return {"errors": found.count("ERROR"), "warnings": found.count("WARNING")}
