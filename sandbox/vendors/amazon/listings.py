"""Listings: what was submitted, what is in force, and the time between the two."""

import random
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson

from sandbox.clock import AnyClock, as_utc, utc_now
from sandbox.errors import NotFound, Refused
from sandbox.store import Row, Store, marks
from sandbox.vendors.amazon.patches import AVAILABILITY, DEFAULT_CHANNEL, Attributes

# Seconds of the sandbox clock that a submission waits before its number counts.
DELAY = (1.0, 8.0)
PAGE_MAX = 20
PAGED_MAX = 1000

MARKETPLACES = {
    "A1F83G8C2ARO7P": ("Amazon.co.uk", "GB", "GBP", "en_GB", "www.amazon.co.uk"),
    "ATVPDKIKX0DER": ("Amazon.com", "US", "USD", "en_US", "www.amazon.com"),
    "A1PA6795UKMFR9": ("Amazon.de", "DE", "EUR", "de_DE", "www.amazon.de"),
    "A13V1IB3VIYZZH": ("Amazon.fr", "FR", "EUR", "fr_FR", "www.amazon.fr"),
}


def open_seller(store: Store, seller_id: str, name: str, marketplace_id: str) -> Row:
    """Opens the account once; the same id again returns it as it is. Raises Refused for an unknown marketplace."""
    if marketplace_id not in MARKETPLACES:
        raise Refused(
            "unknown_marketplace", f"The marketplace {marketplace_id!r} is none of {', '.join(MARKETPLACES)}."
        )
    with store.transaction():
        if store.one("select 1 from sellers where seller_id = ?", (seller_id,)) is None:
            store.insert(
                "sellers",
                seller_id=seller_id,
                name=name,
                marketplace_id=marketplace_id,
                client_id=f"amzn1.application-oa2-client.{secrets.token_hex(16)}",
                client_secret=f"amzn1.oa2-cs.v1.{secrets.token_hex(32)}",
                refresh_token=f"Atzr|{secrets.token_urlsafe(64)}",
            )
    return find_seller(store, seller_id)


def find_seller(store: Store, seller_id: str) -> Row:
    """Raises NotFound."""
    seller = store.one("select * from sellers where seller_id = ?", (seller_id,))
    if seller is None:
        raise NotFound("seller", seller_id)
    return seller


def _listed_at(seconds_ago: int) -> str:
    """Sellers list one article after another: no two of a call share a creation time."""
    return as_utc((datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat())


class Listings:
    """All listings of all sellers. Due submissions are settled whenever anybody looks or buys."""

    def __init__(self, store: Store, clock: AnyClock, seed: int) -> None:
        self._store = store
        self._clock = clock
        self._random = random.Random(f"listings-{seed}")

    def add(self, seller: Row, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Lists unknown SKUs; known ones stay as they are. Raises Refused on a field of the wrong form."""
        answers = []
        with self._store.transaction():
            for place, given in enumerate(wanted):
                sku, quantity = given.get("sku"), given.get("quantity", 0)
                if not isinstance(sku, str) or not sku:
                    raise Refused("invalid_sku", f"A listing needs a sku, not {sku!r}.")
                if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 0:
                    raise Refused("invalid_quantity", f"{sku}: the quantity must be a whole number of at least 0.")
                found = self.find(seller, sku)
                if found is None:
                    self._add(seller, sku, given, quantity, _listed_at(len(wanted) - place))
                    found = self.find(seller, sku)
                assert found is not None
                answers.append({"sku": sku, "asin": found["asin"]})
        return answers

    def _add(self, seller: Row, sku: str, given: dict[str, Any], quantity: int, now: str) -> None:
        asin = given.get("asin") or f"B0{self._store.next_id('asin'):08d}"
        title = str(given.get("title") or sku)
        marketplace = seller["marketplace_id"]
        attributes = {
            "item_name": [{"value": title, "marketplace_id": marketplace}],
            "condition_type": [{"value": "new_new", "marketplace_id": marketplace}],
            "merchant_suggested_asin": [{"value": asin, "marketplace_id": marketplace}],
            AVAILABILITY: [
                {"fulfillment_channel_code": DEFAULT_CHANNEL, "quantity": quantity, "lead_time_to_ship_max_days": 2}
            ],
        }
        self._store.insert(
            "listings",
            seller_id=seller["seller_id"],
            sku=sku,
            asin=asin,
            title=title,
            product_type="PRODUCT",
            attributes=orjson.dumps(attributes).decode(),
            in_force=orjson.dumps({DEFAULT_CHANNEL: quantity}).decode(),
            opening=quantity,
            created_at=now,
            updated_at=now,
        )

    def find(self, seller: Row, sku: str) -> Row | None:
        self._settle(seller)
        return self._store.one("select * from listings where seller_id = ? and sku = ?", (seller["seller_id"], sku))

    def every(self, seller: Row) -> list[Row]:
        self._settle(seller)
        return self._store.all("select * from listings where seller_id = ? order by sku", (seller["seller_id"],))

    def search(
        self,
        seller: Row,
        identifiers: list[str] | None,
        column: str,
        windows: list[tuple[str, str, str]],
        sort: tuple[str, str],
        offset: int,
        size: int,
    ) -> tuple[int, list[Row]]:
        """How many match, and one page of them; `column`, `sort` and what `windows` compare come from fixed lists.

        A window is (column, comparison, time in the form the store keeps).
        """
        self._settle(seller)
        where, parameters = "seller_id = ?", [seller["seller_id"]]
        for compared, comparison, instant in windows:
            where += f" and {compared} {comparison} ?"
            parameters.append(instant)
        if identifiers is not None:
            where += f" and {column} in ({marks(identifiers)})"
            parameters += identifiers
        found = self._store.value(f"select count(*) from listings where {where}", parameters)
        rows = self._store.all(
            f"select * from listings where {where} order by {sort[0]} {sort[1]}, sku {sort[1]} limit ? offset ?",
            (*parameters, min(size, max(0, PAGED_MAX - offset)), offset),
        )
        return int(found), rows

    def submit(self, seller: Row, sku: str, attributes: Attributes) -> str:
        """Shows the attributes at once and queues the quantities; returns the submission id."""
        submission_id = uuid4().hex
        availability = {
            entry["fulfillment_channel_code"]: entry["quantity"]
            for entry in attributes.get(AVAILABILITY, [])
            if "quantity" in entry
        }
        with self._store.transaction():
            self._store.run(
                "update listings set attributes = ?, updated_at = ? where seller_id = ? and sku = ?",
                (orjson.dumps(attributes).decode(), utc_now(self._store), seller["seller_id"], sku),
            )
            self._store.insert(
                "submissions",
                id=submission_id,
                seller_id=seller["seller_id"],
                sku=sku,
                availability=orjson.dumps(availability).decode(),
                due_at=self._due_at(seller, sku),
                ordinal=self._store.next_id("submission"),
            )
        return submission_id

    def _due_at(self, seller: Row, sku: str) -> float:
        """After the delay, but never before an earlier submission for the same SKU: the last accepted one wins."""
        before = self._store.value(
            "select max(due_at) from submissions where seller_id = ? and sku = ?", (seller["seller_id"], sku)
        )
        return max(self._clock.now() + self._random.uniform(*DELAY), before or 0.0)

    def sell(self, seller: Row, sku: str, quantity: int, key: str | None = None) -> dict[str, Any]:
        """A sale lowers the quantity in force. Raises Refused when too few are left."""
        if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
            raise Refused("invalid_quantity", f"A quantity must be a positive whole number, not {quantity!r}.")
        with self._store.transaction():
            if key is not None:
                who = (seller["seller_id"], key)
                earlier = self._store.value("select answer from sales where seller_id = ? and key = ?", who)
                if earlier is not None:
                    answer: dict[str, Any] = orjson.loads(earlier)
                    return answer
            answer = self._sell(seller, sku, quantity)
            if key is not None:
                self._store.insert(
                    "sales", seller_id=seller["seller_id"], key=key, answer=orjson.dumps(answer).decode()
                )
        return answer

    def _sell(self, seller: Row, sku: str, quantity: int) -> dict[str, Any]:
        row = self.find(seller, sku)
        if row is None:
            raise NotFound("listing", sku)
        in_force = orjson.loads(row["in_force"])
        left = in_force.get(DEFAULT_CHANNEL, 0) - quantity
        if left < 0:
            raise Refused("out_of_stock", f"{sku} has {left + quantity} units in force, {quantity} were wanted.", 409)
        self._put_in_force(seller["seller_id"], sku, {**in_force, DEFAULT_CHANNEL: left})
        return {"sku": sku, "quantity": quantity, "in_force": left}

    def _settle(self, seller: Row) -> None:
        """Brings every due submission into force, in the order of their times."""
        due = self._store.all(
            "select * from submissions where seller_id = ? and due_at <= ? order by due_at, ordinal",
            (seller["seller_id"], self._clock.now()),
        )
        if not due:
            return
        with self._store.transaction():
            for row in due:
                self._put_in_force(row["seller_id"], row["sku"], orjson.loads(row["availability"]))
                self._store.run("delete from submissions where id = ?", (row["id"],))

    def _put_in_force(self, seller_id: str, sku: str, in_force: dict[str, int]) -> None:
        self._store.run(
            "update listings set in_force = ?, updated_at = ? where seller_id = ? and sku = ?",
            (orjson.dumps(in_force).decode(), utc_now(self._store), seller_id, sku),
        )
