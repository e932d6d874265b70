"""Orders as rows: found, touched, and where each of their lines is served from."""

from typing import Any

from sandbox.clock import utc_at, utc_now
from sandbox.errors import NotFound
from sandbox.store import Row, Store
from sandbox.vendors.shopify.scopes import ALL_ORDERS, ORDER_DAYS, granted


def find_order(store: Store, shop: Row, order_id: Any) -> Row:
    """By number or GID. Raises NotFound."""
    text = str(order_id).removeprefix("gid://shopify/Order/")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    order = (
        store.one("select * from orders where id = ? and shop_id = ?", (number, shop["id"])) if number < 2**63 else None
    )
    if order is None:
        raise NotFound("order", order_id)
    return order


def touch(store: Store, order_id: int) -> None:
    store.run("update orders set updated_at = ? where id = ?", (utc_now(store), order_id))


def place_of(line: Row, order: Row) -> int:
    """Where a line is served from; a world of an earlier version knew one location per order."""
    return int(line["location_id"] or order["location_id"])


def order_horizon(store: Store, shop: Row) -> str | None:
    """The moment before which the app is shown no order; None when it may see them all."""
    return None if ALL_ORDERS in granted(shop) else utc_at(store.wall() - ORDER_DAYS * 86_400)
