"""Products with one variant and one inventory item each."""

import re
from dataclasses import dataclass
from typing import Any

from sandbox.clock import utc_now
from sandbox.errors import Refused
from sandbox.money import is_price
from sandbox.store import Row, Store
from sandbox.vendors.shopify.shops import home_location

POLICIES = ("DENY", "CONTINUE")


@dataclass(frozen=True)
class Sample:
    """A product as the control API describes it."""

    title: str
    sku: str
    price: str
    barcode: str | None
    tracked: bool
    policy: str
    available: int
    vendor: str
    product_type: str

    @classmethod
    def read(cls, given: dict[str, Any]) -> "Sample":
        """Raises Refused on a field of the wrong form."""
        sku = given.get("sku")
        if not isinstance(sku, str) or not sku:
            raise Refused("invalid_sku", f"A product needs a sku, not {sku!r}.")
        if not is_price(given.get("price")):
            raise Refused("invalid_price", f"{sku}: the price must be a decimal string, not {given.get('price')!r}.")
        policy = str(given.get("inventory_policy", "DENY")).upper()
        if policy not in POLICIES:
            raise Refused("invalid_policy", f"{sku}: the inventory policy must be DENY or CONTINUE.")
        available = given.get("available", 0)
        if not isinstance(available, int) or isinstance(available, bool):
            raise Refused("invalid_quantity", f"{sku}: available must be a whole number.")
        return cls(
            title=str(given.get("title") or sku),
            sku=sku,
            price=given["price"],
            barcode=given.get("barcode"),
            tracked=bool(given.get("tracked", True)),
            policy=policy,
            available=available,
            vendor=str(given.get("vendor") or ""),
            product_type=str(given.get("product_type") or ""),
        )


@dataclass(frozen=True)
class Shelved:
    """What became of one sample."""

    variant_id: int
    product_id: int
    item_id: int
    sku: str
    created: bool
    changed: bool


def shelve(store: Store, shop: Row, samples: list[Sample]) -> list[Shelved]:
    """Adds unknown SKUs and brings the words and prices of known ones up to date; stock of known ones is left alone."""
    known = {
        row["sku"]: row
        for row in store.all(
            "select v.*, p.title, p.vendor, p.product_type from variants v join products p on p.id = v.product_id"
            " where v.shop_id = ?",
            (shop["id"],),
        )
    }
    now, location = utc_now(store), home_location(store, shop["id"])
    shelved: dict[str, Shelved] = {}
    for sample in samples:
        if sample.sku in shelved:
            continue
        found = known.get(sample.sku)
        if found is None:
            shelved[sample.sku] = _add(store, shop["id"], location, sample, now)
        else:
            shelved[sample.sku] = _refresh(store, found, sample, now)
    return [shelved[sample.sku] for sample in samples]


def _add(store: Store, shop_id: int, location: int, sample: Sample, now: str) -> Shelved:
    product, variant, item = (store.next_id(kind) for kind in ("product", "variant", "item"))
    store.insert(
        "products",
        id=product,
        shop_id=shop_id,
        title=sample.title,
        handle=_handle(sample.title),
        vendor=sample.vendor,
        product_type=sample.product_type,
        status="ACTIVE",
        created_at=now,
        updated_at=now,
    )
    store.insert(
        "variants",
        id=variant,
        shop_id=shop_id,
        product_id=product,
        item_id=item,
        sku=sample.sku,
        barcode=sample.barcode,
        price=sample.price,
        policy=sample.policy,
        tracked=sample.tracked,
        created_at=now,
        updated_at=now,
    )
    if sample.tracked:
        store.run(
            "insert into levels (item_id, location_id, shop_id, available, committed, opening, created_at, updated_at)"
            " values (?, ?, ?, ?, 0, ?, ?, ?)",
            (item, location, shop_id, sample.available, sample.available, now, now),
        )
    return Shelved(variant, product, item, sample.sku, True, True)


def _refresh(store: Store, found: Row, sample: Sample, now: str) -> Shelved:
    wanted = (sample.title, sample.vendor, sample.product_type, sample.price, sample.barcode, sample.policy)
    current = tuple(found[name] for name in ("title", "vendor", "product_type", "price", "barcode", "policy"))
    changed = wanted != current
    if changed:
        store.run(
            "update products set title = ?, vendor = ?, product_type = ?, updated_at = ? where id = ?",
            (*wanted[:3], now, found["product_id"]),
        )
        store.run(
            "update variants set price = ?, barcode = ?, policy = ?, updated_at = ? where id = ?",
            (*wanted[3:], now, found["id"]),
        )
    return Shelved(found["id"], found["product_id"], found["item_id"], sample.sku, False, changed)


def _handle(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
