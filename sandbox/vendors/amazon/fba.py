"""What lies in Amazon's own warehouses: units by what may be done with them.

Sold is reserved first and gone when it ships; nobody but Amazon sets a quantity here.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from sandbox.clock import utc_now
from sandbox.errors import NotFound, Refused
from sandbox.store import Row, Store, marks
from sandbox.vendors.amazon.listings import Listings
from sandbox.vendors.amazon.marketplaces import MARKETPLACES
from sandbox.vendors.amazon.telling import Tell, nobody

AVAILABILITY_CHANGES = "FBA_INVENTORY_AVAILABILITY_CHANGES"
# By the last part of what the inventory API calls them.
INBOUND = ("inboundWorking", "inboundShipped", "inboundReceiving")
RESERVED = ("pendingCustomerOrder", "pendingTransshipment", "fcProcessing")
RESEARCHING = ("researchingShortTerm", "researchingMidTerm", "researchingLongTerm")
UNFULFILLABLE = (
    "customerDamaged", "warehouseDamaged", "distributorDamaged", "carrierDamaged", "defective", "expired"
)  # fmt: skip
OTHERS = (*INBOUND, *RESERVED, *RESEARCHING, *UNFULFILLABLE)
KINDS = ("fulfillable", *OTHERS)

Units = dict[str, int]
"""Units by each of KINDS."""


class Fba:
    """The inventory of all sellers. Every change is told of, and none takes a quantity below zero."""

    def __init__(self, store: Store, listings: Listings, tell: Tell = nobody) -> None:
        self._store = store
        self._listings = listings
        self._tell = tell

    # What buyers and their parcels do

    def sell(self, seller: Row, sku: str, quantity: int) -> Units:
        """An order took so many: they are reserved for it. Raises NotFound, and Refused when too few can be sent."""
        return self.move(seller, sku, {"fulfillable": -_positive(quantity), "pendingCustomerOrder": quantity})

    def ship(self, seller: Row, sku: str, quantity: int) -> Units:
        """Reserved units of an order have left. Raises NotFound, and Refused when fewer are reserved."""
        return self.move(seller, sku, {"pendingCustomerOrder": -_positive(quantity)})

    def release(self, seller: Row, sku: str, quantity: int) -> Units:
        """An order was cancelled: its units can be sold again. Raises NotFound, and Refused when fewer are reserved."""
        return self.move(seller, sku, {"pendingCustomerOrder": -_positive(quantity), "fulfillable": quantity})

    def act(self, seller: Row, given: dict[str, Any]) -> dict[str, Any]:
        """One thing that the control API asks for: `sku`, and one of `set`, `add` (quantities by KINDS), `sell`,
        `ship`, `release` (units); with none of them the item is only there. Raises NotFound and Refused."""
        sku = given.get("sku")
        if not isinstance(sku, str) or not sku:
            raise Refused("invalid_sku", f"An item needs a sku, not {sku!r}.")
        self.hold(seller, sku, given.get("name"))
        for name, act in (("set", self.count), ("add", self.move)):
            if name in given:
                act(seller, sku, _quantities(name, given[name]))
        for name, trade in (("sell", self.sell), ("ship", self.ship), ("release", self.release)):
            if name in given:
                trade(seller, sku, given[name])
        return self._described(seller, sku)

    def listed(self, seller: Row) -> list[dict[str, Any]]:
        """Every item with its quantities."""
        rows = self._store.all("select sku from fba_items where seller_id = ? order by sku", (seller["seller_id"],))
        return [self._described(seller, row["sku"]) for row in rows]

    def _described(self, seller: Row, sku: str) -> dict[str, Any]:
        row = self.find(seller, sku)
        assert row is not None
        return {"sku": sku, "asin": row["asin"], "fnsku": row["fnsku"], "quantities": units_of(row)}

    # What goes on in the warehouse

    def hold(self, seller: Row, sku: str, name: str | None = None) -> Row:
        """The item, with nothing in stock when it is new; a SKU that is not listed yet is listed for Amazon to ship."""
        with self._store.transaction():
            found = self.find(seller, sku)
            if found is not None:
                return found
            listing = self._listings.find(seller, sku)
            if listing is None:
                channel = MARKETPLACES[seller["marketplace_id"]].fba_channel
                self._listings.add(seller, [{"sku": sku, "title": name or sku, "channel": channel}])
                listing = self._listings.find(seller, sku)
                assert listing is not None
            now = utc_now(self._store)
            self._store.insert(
                "fba_items",
                seller_id=seller["seller_id"],
                sku=sku,
                asin=listing["asin"],
                fnsku=self._listings.label(seller, listing),
                name=name or listing["title"],
                condition="NewItem",
                fulfillable=0,
                quantities=orjson.dumps(dict.fromkeys(OTHERS, 0)).decode(),
                created_at=now,
                updated_at=now,
                changed_at=self._store.wall(),
            )
            item = self.find(seller, sku)
            assert item is not None
            return item

    def find(self, seller: Row, sku: str) -> Row | None:
        return self._store.one("select * from fba_items where seller_id = ? and sku = ?", (seller["seller_id"], sku))

    def move(self, seller: Row, sku: str, deltas: Mapping[str, int]) -> Units:
        """Adds to and takes from the quantities named; what there is then. Raises NotFound and Refused."""
        with self._store.transaction():
            row = self.find(seller, sku)
            if row is None:
                raise NotFound("item in Amazon's inventory", sku)
            units = units_of(row)
            return self._set(seller, row, {kind: units[_known(kind)] + delta for kind, delta in deltas.items()})

    def count(self, seller: Row, sku: str, quantities: Mapping[str, int]) -> Units:
        """Sets the quantities named; what there is then. Raises NotFound and Refused."""
        with self._store.transaction():
            row = self.find(seller, sku)
            if row is None:
                raise NotFound("item in Amazon's inventory", sku)
            return self._set(seller, row, {_known(kind): quantity for kind, quantity in quantities.items()})

    def _set(self, seller: Row, row: Row, changed: Units) -> Units:
        before = units_of(row)
        after = before | changed
        if short := [kind for kind, quantity in changed.items() if quantity < 0]:
            message = f"{row['sku']} has {before[short[0]]} units of {short[0]}: that is too few."
            raise Refused("out_of_stock", message, 409)
        if after == before:
            return after
        # Who asks for changes is not told of those in what is on its way.
        is_seen = any(after[kind] != before[kind] for kind in KINDS if kind not in INBOUND)
        self._store.run(
            "update fba_items set fulfillable = ?, quantities = ?, updated_at = ?, changed_at = ?"
            " where seller_id = ? and sku = ?",
            (
                after["fulfillable"],
                orjson.dumps({kind: after[kind] for kind in OTHERS}).decode(),
                utc_now(self._store),
                self._store.wall() if is_seen else row["changed_at"],
                row["seller_id"],
                row["sku"],
            ),
        )
        self._tell(seller, AVAILABILITY_CHANGES, _notice(seller, row, after))
        return after

    def add(self, seller: Row, token: str, items: list[tuple[str, int]]) -> None:
        """Puts units of each SKU on the shelf, once by a token. Raises NotFound, Refused for a token used otherwise."""
        digest = hashlib.sha256(orjson.dumps(items)).hexdigest()
        with self._store.transaction():
            who = (seller["seller_id"], token)
            before = self._store.value("select digest from fba_additions where seller_id = ? and token = ?", who)
            if before == digest:
                return
            if before is not None:
                raise Refused("token_reused", "The idempotency token was used for another request.")
            self._store.insert("fba_additions", seller_id=seller["seller_id"], token=token, digest=digest)
            for sku, quantity in items:
                self.move(seller, sku, {"fulfillable": _positive(quantity)})

    def remove(self, seller: Row, sku: str) -> None:
        """Forgets the item and what lies there of it. Raises NotFound."""
        with self._store.transaction():
            who = (seller["seller_id"], sku)
            if not self._store.run("delete from fba_items where seller_id = ? and sku = ?", who):
                raise NotFound("item in Amazon's inventory", sku)

    def page(
        self, seller: Row, skus: list[str] | None, since: float | None, after: str, size: int
    ) -> tuple[list[Row], bool]:
        """Items by SKU after one of them, and whether there are more; `since` compares seconds since 1970."""
        where, parameters = "seller_id = ? and sku > ?", [seller["seller_id"], after]
        if since is not None:
            where += " and changed_at >= ?"
            parameters.append(since)
        elif skus is not None:
            where += f" and sku in ({marks(skus)})"
            parameters += skus
        rows = self._store.all(f"select * from fba_items where {where} order by sku limit ?", (*parameters, size + 1))
        return rows[:size], len(rows) > size


def units_of(row: Row) -> Units:
    return {"fulfillable": row["fulfillable"], **orjson.loads(row["quantities"])}


def total(units: Units, kinds: tuple[str, ...] = KINDS) -> int:
    """All units, those on their way to Amazon included."""
    return sum(units[kind] for kind in kinds)


def _quantities(name: str, given: Any) -> Units:
    if not isinstance(given, dict) or not all(type(quantity) is int for quantity in given.values()):
        raise Refused("invalid_quantity", f"{name} takes whole numbers by {', '.join(KINDS)}.")
    return given


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise Refused("unknown_quantity", f"The quantity {kind!r} is none of {', '.join(KINDS)}.")
    return kind


def _positive(quantity: int) -> int:
    if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
        raise Refused("invalid_quantity", f"A quantity must be a positive whole number, not {quantity!r}.")
    return quantity


def _notice(seller: Row, row: Row, units: Units) -> dict[str, Any]:
    """The payload of FBA_INVENTORY_AVAILABILITY_CHANGES."""
    inventory = {
        "InboundQuantityBreakdown": {
            "Working": units["inboundWorking"],
            "Shipped": units["inboundShipped"],
            "Receiving": units["inboundReceiving"],
        },
        "Fulfillable": units["fulfillable"],
        "Unfulfillable": total(units, UNFULFILLABLE),
        "Researching": total(units, RESEARCHING),
        "ReservedQuantityBreakdown": {
            "WarehouseProcessing": units["fcProcessing"],
            "WarehouseTransfer": units["pendingTransshipment"],
            "PendingCustomerOrder": units["pendingCustomerOrder"],
        },
        "FutureSupplyBuyable": 0,
        "PendingCustomerOrderInTransit": 0,
    }
    place = {"MarketplaceId": seller["marketplace_id"], "ItemName": row["name"], "FulfillmentInventory": inventory}
    return {
        "SellerId": seller["seller_id"],
        "FNSKU": row["fnsku"],
        "ASIN": row["asin"],
        "SKU": row["sku"],
        "FulfillmentInventoryByMarketplace": [{**place, "Stores": []}],
    }
