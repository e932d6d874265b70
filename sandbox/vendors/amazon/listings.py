"""Listings: what was submitted, what is in force, and the time between the two."""

import math
import random
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson

from sandbox.clock import as_utc, utc_now
from sandbox.errors import NotFound, Refused
from sandbox.outbox import Outbox
from sandbox.store import Row, Store, marks
from sandbox.vendors.amazon import marketplaces
from sandbox.vendors.amazon.item_view import is_blocked
from sandbox.vendors.amazon.new_listing import GTIN_DIGITS, TRADE_NUMBERS, NewListing
from sandbox.vendors.amazon.patches import DEFAULT_CHANNEL, Availability, Reading
from sandbox.vendors.amazon.telling import Tell, nobody

# Seconds of the sandbox clock that a submission waits before its number counts.
DELAY = (1.0, 8.0)
# Submissions come into force at so many moments a second.
TICKS = 2
# What rounding may do to a time that was put together of two.
HAIR = 1e-6
PAGE_MAX = 20
PAGED_MAX = 1000

QUANTITY_CHANGE = "LISTINGS_ITEM_MFN_QUANTITY_CHANGE"
# A listing, and what of it Amazon could send at once.
SELECT = (
    "select l.*, (select f.fulfillable from fba_items f where f.seller_id = l.seller_id and f.sku = l.sku)"
    " as fulfillable from listings l"
)


def open_seller(store: Store, seller_id: str, name: str, marketplace_id: str, *further: str) -> Row:
    """Opens the account once; the same id again returns it as it is. Listings are in the first marketplace.

    Raises Refused for a marketplace that does not exist, and for marketplaces of several regions.
    """
    marketplaces.check([marketplace_id, *further])
    with store.transaction():
        if store.one("select 1 from sellers where seller_id = ?", (seller_id,)) is None:
            store.insert(
                "sellers",
                seller_id=seller_id,
                name=name,
                marketplace_id=marketplace_id,
                further_marketplaces=orjson.dumps([entry for entry in further if entry != marketplace_id]).decode(),
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

    def __init__(self, store: Store, outbox: Outbox, seed: int, tell: Tell = nobody) -> None:
        self._store = store
        self._outbox = outbox
        self._tell = tell
        self._random = random.Random(f"listings-{seed}")

    def duties(self) -> dict[str, Callable[[int], None]]:
        """What falls due by itself: see Duties."""
        return {"land": lambda tick: self._land(self._outbox.now())}

    def add(self, seller: Row, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Lists unknown SKUs; known ones stay as they are. Raises Refused on a field of the wrong form."""
        answers = []
        with self._store.transaction():
            for place, given in enumerate(wanted):
                listed = NewListing.read(given)
                found = self.find(seller, listed.sku)
                if found is None:
                    self._add(seller, listed, _listed_at(len(wanted) - place))
                    found = self.find(seller, listed.sku)
                assert found is not None
                answers.append({"sku": listed.sku, "asin": found["asin"], "fnsku": found["fnsku"]})
        return answers

    def _add(self, seller: Row, listed: NewListing, now: str) -> None:
        asin = listed.asin or f"B0{self._store.next_id('asin'):08d}"
        fnsku = listed.fnsku
        if fnsku is None and listed.channel != DEFAULT_CHANNEL:
            fnsku = self._new_label()
        self._store.insert(
            "listings",
            seller_id=seller["seller_id"],
            sku=listed.sku,
            asin=asin,
            title=listed.title,
            product_type="PRODUCT",
            attributes=orjson.dumps(listed.attributes(seller["marketplace_id"], asin)).decode(),
            in_force=orjson.dumps({listed.channel: listed.quantity}).decode(),
            opening=listed.quantity or 0,
            created_at=now,
            updated_at=now,
            issues=orjson.dumps(listed.issues).decode(),
            fnsku=fnsku,
        )
        if fnsku is not None:
            self._identify(seller, listed.sku, "FNSKU", fnsku)
        for kind, value in listed.barcodes:
            self._identify(seller, listed.sku, kind.upper(), value)
            if kind in TRADE_NUMBERS:
                self._identify(seller, listed.sku, "GTIN", value.zfill(GTIN_DIGITS))

    def _identify(self, seller: Row, sku: str, kind: str, value: str) -> None:
        self._store.run(
            "insert or ignore into identifiers values (?, ?, ?, ?)", (seller["seller_id"], kind, value, sku)
        )

    def label(self, seller: Row, listing: Row) -> str:
        """The FNSKU by which Amazon's warehouses know the listing's goods; it gets one when it has none."""
        if listing["fnsku"]:
            return str(listing["fnsku"])
        with self._store.transaction():
            fnsku = self._new_label()
            self._store.run(
                "update listings set fnsku = ? where seller_id = ? and sku = ?",
                (fnsku, seller["seller_id"], listing["sku"]),
            )
            self._identify(seller, listing["sku"], "FNSKU", fnsku)
        return fnsku

    def _new_label(self) -> str:
        return f"X00{self._store.next_id('fnsku'):07d}"

    def find(self, seller: Row, sku: str) -> Row | None:
        self._settle()
        return self._store.one(f"{SELECT} where l.seller_id = ? and l.sku = ?", (seller["seller_id"], sku))

    def every(self, seller: Row) -> list[Row]:
        self._settle()
        return self._store.all(f"{SELECT} where l.seller_id = ? order by l.sku", (seller["seller_id"],))

    def search(
        self,
        seller: Row,
        identifiers: list[str] | None,
        kind: str,
        windows: list[tuple[str, str, str]],
        sort: tuple[str, str],
        offset: int,
        size: int,
        keep: Callable[[Row], bool] | None = None,
    ) -> tuple[int, list[Row]]:
        """How many match, and one page of them; `kind`, `sort` and what `windows` compare come from fixed lists.

        A window is (column, comparison, time in the form the store keeps). `keep` decides by more than columns.
        """
        self._settle()
        where, parameters = "l.seller_id = ?", [seller["seller_id"]]
        for compared, comparison, instant in windows:
            where += f" and l.{compared} {comparison} ?"
            parameters.append(instant)
        if identifiers is not None:
            chosen, values = _chosen(seller, kind, identifiers)
            where += f" and {chosen}"
            parameters += values
        asked = f"{SELECT} where {where} order by l.{sort[0]} {sort[1]}, l.sku {sort[1]}"
        size = min(size, max(0, PAGED_MAX - offset))
        if keep is not None:
            kept = [row for row in self._store.all(asked, parameters) if keep(row)]
            return len(kept), kept[offset : offset + size]
        found = self._store.value(f"select count(*) from listings l where {where}", parameters)
        return int(found), self._store.all(f"{asked} limit ? offset ?", (*parameters, size, offset))

    def submit(self, seller: Row, sku: str, reading: Reading, road: str = "patch") -> str:
        """Shows the attributes at once and queues the quantities; returns the submission id."""
        with self._store.transaction():
            self._store.run(
                "update listings set attributes = ?, updated_at = ? where seller_id = ? and sku = ?",
                (orjson.dumps(reading.attributes).decode(), utc_now(self._store), seller["seller_id"], sku),
            )
            return self._queue(seller, sku, reading.availability, road)

    def remove(self, seller: Row, sku: str, road: str = "feed") -> str:
        """Queues the end of a listing; a SKU that is not listed has ended already."""
        with self._store.transaction():
            return self._queue(seller, sku, None, road)

    def _queue(self, seller: Row, sku: str, availability: Availability | None, road: str) -> str:
        submission_id, said = uuid4().hex, f"{road} {sku}"
        if self._outbox.faults.strike("lost_submission", said):
            return submission_id
        due_at = self._due_at(seller, sku, road)
        if late := self._outbox.faults.strike("late_submission", said):
            due_at += late.seconds
        # Whole ticks, so that the many of a feed come into force together.
        tick = math.ceil(due_at * TICKS)
        self._store.insert(
            "submissions",
            id=submission_id,
            seller_id=seller["seller_id"],
            sku=sku,
            availability=orjson.dumps(availability).decode(),
            due_at=tick / TICKS,
            ordinal=self._store.next_id("submission"),
            road=road,
        )
        if self._store.one("select 1 from duties where kind = 'land' and subject = ?", (tick,)) is None:
            self._outbox.owe("land", tick, tick / TICKS - self._outbox.now())
        return submission_id

    def _due_at(self, seller: Row, sku: str, road: str) -> float:
        """After the delay, but never before an earlier submission for the same SKU by the same road.

        The roads know nothing of each other: what was submitted by one may land after what came later by the other.
        """
        before = self._store.value(
            "select max(due_at) from submissions where seller_id = ? and sku = ? and road = ?",
            (seller["seller_id"], sku, road),
        )
        return max(self._outbox.now() + self._random.uniform(*DELAY), before or 0.0)

    def landing(self, seller: Row) -> dict[str, int]:
        """By SKU the most that a submission on its way will bring into force of what the seller ships himself."""
        self._settle()
        most: dict[str, int] = {}
        for row in self._store.all("select * from submissions where seller_id = ?", (seller["seller_id"],)):
            said = (orjson.loads(row["availability"]) or {}).get(DEFAULT_CHANNEL) or {}
            most[row["sku"]] = max(most.get(row["sku"], 0), said.get("quantity") or 0)
        return most

    # What buyers and their orders do to what the seller ships himself

    def left(self, seller: Row, sku: str) -> int:
        """How many units somebody may buy now. Raises NotFound."""
        row = self._listed(seller, sku)
        return 0 if is_blocked(row) else orjson.loads(row["in_force"]).get(DEFAULT_CHANNEL) or 0

    def sell(self, seller: Row, sku: str, quantity: int) -> None:
        """A sale lowers the quantity in force. Raises NotFound, and Refused when too few are left."""
        left = self.left(seller, sku)
        if left < quantity:
            raise Refused("out_of_stock", f"{sku} has {left} units in force, {quantity} were wanted.", 409)
        self._move(seller, sku, -quantity)

    def release(self, seller: Row, sku: str, quantity: int) -> None:
        """A sale was called off, and its units may be sold again. A listing that has ended meanwhile gets none."""
        if self.find(seller, sku) is not None:
            self._move(seller, sku, quantity)

    def ship(self, seller: Row, sku: str, quantity: int) -> None:
        """Units were taken off when they were sold: when they leave nothing changes."""

    def _move(self, seller: Row, sku: str, delta: int) -> None:
        row = self._listed(seller, sku)
        units = (orjson.loads(row["in_force"]).get(DEFAULT_CHANNEL) or 0) + delta
        self._put_in_force(seller, row, {DEFAULT_CHANNEL: {"quantity": units}})

    def _listed(self, seller: Row, sku: str) -> Row:
        row = self.find(seller, sku)
        if row is None:
            raise NotFound("listing", sku)
        return row

    def _settle(self) -> None:
        """What has fallen due is in force before anybody looks, whether or not duties are done meanwhile."""
        self._land(self._outbox.now())

    def _land(self, now: float) -> None:
        """Brings every due submission into force, in the order of their times."""
        due = self._store.all("select * from submissions where due_at <= ? order by due_at, ordinal", (now + HAIR,))
        if not due:
            return
        with self._store.transaction():
            for row in due:
                self._store.run("delete from submissions where id = ?", (row["id"],))
                self._land_one(row)

    def _land_one(self, submission: Row) -> None:
        who = (submission["seller_id"], submission["sku"])
        listing = self._store.one("select * from listings where seller_id = ? and sku = ?", who)
        if listing is None:
            return
        availability = orjson.loads(submission["availability"])
        if availability is None:
            self._store.run("delete from listings where seller_id = ? and sku = ?", who)
            self._store.run("delete from identifiers where seller_id = ? and sku = ?", who)
        elif availability:
            self._put_in_force(find_seller(self._store, submission["seller_id"]), listing, availability)

    def _put_in_force(self, seller: Row, listing: Row, availability: Availability) -> None:
        before: dict[str, int | None] = orjson.loads(listing["in_force"])
        after = {channel: units for channel, units in before.items() if availability.get(channel, {}) is not None}
        after |= {channel: said.get("quantity") for channel, said in availability.items() if said is not None}
        self._store.run(
            "update listings set in_force = ?, updated_at = ? where seller_id = ? and sku = ?",
            (orjson.dumps(after).decode(), utc_now(self._store), listing["seller_id"], listing["sku"]),
        )
        units = after.get(DEFAULT_CHANNEL) or 0
        if units != (before.get(DEFAULT_CHANNEL) or 0):
            changed = {"SellerId": seller["seller_id"], "FulfillmentChannelCode": DEFAULT_CHANNEL}
            self._tell(seller, QUANTITY_CHANGE, {**changed, "Sku": listing["sku"], "Quantity": units})


def _chosen(seller: Row, kind: str, identifiers: list[str]) -> tuple[str, list[str]]:
    """The condition for listings with one of these identifiers, and its parameters."""
    if kind in ("SKU", "ASIN"):
        return f"l.{kind.lower()} in ({marks(identifiers)})", identifiers
    values = [value.zfill(GTIN_DIGITS) for value in identifiers] if kind == "GTIN" else identifiers
    inner = f"select sku from identifiers where seller_id = ? and kind = ? and value in ({marks(values)})"
    return f"l.sku in ({inner})", [seller["seller_id"], kind, *values]
