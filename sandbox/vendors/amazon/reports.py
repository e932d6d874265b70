"""Reports: asked for, made after a while from what there is then, and kept as a packed file.

The columns of GET_MERCHANT_LISTINGS_ALL_DATA are those that sellers in the United Kingdom get; the vendor documents no
form of it.
"""

import gzip
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import orjson

from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.amazon.documents import Documents
from sandbox.vendors.amazon.item_view import status_of
from sandbox.vendors.amazon.listings import Listings, find_seller
from sandbox.vendors.amazon.patches import DEFAULT_CHANNEL
from sandbox.vendors.amazon.telling import Tell, nobody

ALL_LISTINGS = "GET_MERCHANT_LISTINGS_ALL_DATA"
COLUMNS = (
    "item-name", "item-description", "listing-id", "seller-sku", "price", "quantity", "open-date", "image-url",
    "item-is-marketplace", "product-id-type", "zshop-shipping-fee", "item-note", "item-condition", "zshop-category1",
    "zshop-browse-path", "zshop-storefront-feature", "asin1", "asin2", "asin3", "will-ship-internationally",
    "expedited-shipping", "zshop-boldface", "product-id", "bid-for-featured-placement", "add-delete",
    "pending-quantity", "fulfillment-channel", "merchant-shipping-group", "status",
)  # fmt: skip
# What `product-id` is: the first barcode of these kinds, else the ASIN.
PRODUCT_ID_TYPES = {"isbn": "2", "upc": "3", "ean": "4"}
ASIN_TYPE, NEW = "1", "11"
# Seconds of the sandbox clock until a report is begun, until it is made, and for each line.
QUEUED, MAKING, PER_LINE = (2.0, 20.0), (5.0, 30.0), 0.002
CONTENT_TYPE = "text/plain;charset=UTF-8"


class Reports:
    def __init__(
        self, store: Store, outbox: Outbox, listings: Listings, documents: Documents, seed: int, tell: Tell = nobody
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._listings = listings
        self._documents = documents
        self._tell = tell
        self._random = random.Random(f"reports-{seed}")

    def duties(self) -> dict[str, Callable[[int], None]]:
        """What falls due by itself: see Duties."""
        return {"report_begin": self._begin, "report_make": self._make}

    def create(self, seller: Row, report_type: str, marketplaces: list[str]) -> int:
        """The id of a report that waits for its turn."""
        with self._store.transaction():
            number = self._store.next_id("report")
            self._store.insert(
                "reports",
                id=number,
                seller_id=seller["seller_id"],
                report_type=report_type,
                marketplaces=orjson.dumps(marketplaces).decode(),
                status="IN_QUEUE",
                created_at=self._outbox.date(),
            )
            self._outbox.owe("report_begin", number, self._random.uniform(*QUEUED))
        return number

    def find(self, seller: Row, report_id: int) -> Row | None:
        return self._store.one("select * from reports where id = ? and seller_id = ?", (report_id, seller["seller_id"]))

    def _begin(self, report_id: int) -> None:
        seller = self._seller(report_id)
        self._store.run(
            "update reports set status = 'IN_PROGRESS', started_at = ? where id = ?", (self._outbox.date(), report_id)
        )
        lines = self._store.value("select count(*) from listings where seller_id = ?", (seller["seller_id"],))
        self._outbox.owe("report_make", report_id, self._random.uniform(*MAKING) + lines * PER_LINE)

    def _make(self, report_id: int) -> None:
        """What there is now. Where there is nothing to tell, the report is cancelled."""
        seller = self._seller(report_id)
        rows = self._listings.every(seller)
        document = None
        if rows:
            lines = "\n".join("\t".join(line) for line in _lines(rows))
            # No time within, so that the same report makes the same bytes.
            packed = gzip.compress(f"{lines}\n".encode(), mtime=0)
            document = self._documents.keep(seller, CONTENT_TYPE, packed, is_gzip=True, prefix="spdoc")
        status = "DONE" if rows else "CANCELLED"
        self._store.run(
            "update reports set status = ?, ended_at = ?, document_id = ? where id = ?",
            (status, self._outbox.date(), document, report_id),
        )
        self._say(seller, report_id, status, document)

    def _seller(self, report_id: int) -> Row:
        return find_seller(self._store, self._store.value("select seller_id from reports where id = ?", (report_id,)))

    def _say(self, seller: Row, report_id: int, status: str, document: str | None) -> None:
        said = {
            "sellerId": seller["seller_id"],
            "accountId": f"amzn1.merchant.o.{seller['seller_id']}",
            "reportId": str(report_id),
            "reportType": ALL_LISTINGS,
            "processingStatus": status,
        }
        if document is not None:
            said["reportDocumentId"] = document
        self._tell(seller, "REPORT_PROCESSING_FINISHED", {"reportProcessingFinishedNotification": said})


def _lines(rows: list[Row]) -> Iterator[list[str]]:
    yield list(COLUMNS)
    for row in rows:
        values = _values(row)
        yield [str(values.get(column, "")) for column in COLUMNS]


def _values(row: Row) -> dict[str, Any]:
    units: dict[str, int | None] = orjson.loads(row["in_force"])
    is_own = DEFAULT_CHANNEL in units
    kind, product = _product_id(row)
    return {
        # Nothing escapes a tab or a line break in this form.
        "item-name": " ".join(row["title"].split()),
        "seller-sku": row["sku"],
        "listing-id": f"{row['asin'][2:]}L",
        "quantity": units[DEFAULT_CHANNEL] if is_own else "",
        "open-date": _opened(row["created_at"]),
        "item-is-marketplace": "y",
        "product-id-type": kind,
        "item-condition": NEW,
        "asin1": row["asin"],
        "product-id": product,
        "pending-quantity": "0" if is_own else "",
        "fulfillment-channel": DEFAULT_CHANNEL if is_own else next(iter(units), ""),
        "merchant-shipping-group": "Migrated Template" if is_own else "",
        "status": "Active" if "BUYABLE" in status_of(row) else "Inactive",
    }


def _product_id(row: Row) -> tuple[str, str]:
    attributes = orjson.loads(row["attributes"])
    for entry in attributes.get("externally_assigned_product_identifier", []):
        if entry["type"] in PRODUCT_ID_TYPES:
            return PRODUCT_ID_TYPES[entry["type"]], entry["value"]
    return ASIN_TYPE, row["asin"]


def _opened(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone(UTC):%d/%m/%Y %H:%M:%S} GMT"
