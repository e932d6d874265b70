"""Draft orders: written by staff, holding no stock until they are completed and become orders."""

from decimal import Decimal
from typing import Any

import orjson

from sandbox.clock import utc_now, with_offset
from sandbox.errors import NotFound
from sandbox.money import amount, line_total
from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import orders
from sandbox.vendors.shopify.orders import WantedOrder
from sandbox.vendors.shopify.shops import gid

SOURCE_NAME = "shopify_draft_order"


def create(store: Store, outbox: Outbox, shop: Row, given: dict[str, Any]) -> int:
    """Once per key; takes what an order takes. Raises Refused."""
    wanted = WantedOrder.read(given)
    with store.transaction():
        found = store.one("select id from drafts where shop_id = ? and key = ?", (shop["id"], wanted.key))
        if found is not None:
            return int(found["id"])
        # What is not sold here cannot be drafted either; whether there is enough of it is asked on completion.
        orders.find_goods(store, shop, wanted.key, {line.sku for line in wanted.lines})
        number, now = store.next_id("draft"), utc_now(store)
        count = 1 + store.value("select count(*) from drafts where shop_id = ?", (shop["id"],))
        store.insert(
            "drafts",
            id=number,
            shop_id=shop["id"],
            key=wanted.key,
            number=count,
            status="open",
            lines=orjson.dumps(given).decode(),
            created_at=now,
            updated_at=now,
        )
        outbox.tell(shop, outbox.act(), "draft_orders/create", lambda: body(store, shop, number))
    return number


def complete(store: Store, outbox: Outbox, shop: Row, key: str) -> int:
    """Makes the order and returns its id. Raises Refused when it cannot be served."""
    with store.transaction():
        draft = store.one("select * from drafts where shop_id = ? and key = ?", (shop["id"], key))
        if draft is None:
            raise NotFound("draft order", key)
        if draft["order_id"] is not None:
            return int(draft["order_id"])
        wanted = WantedOrder.read(orjson.loads(draft["lines"]) | {"key": f"draft/{key}", "source_name": SOURCE_NAME})
        order_id = orders.place(store, outbox, shop, wanted)
        now = utc_now(store)
        store.run(
            "update drafts set status = 'completed', order_id = ?, completed_at = ?, updated_at = ? where id = ?",
            (order_id, now, now, draft["id"]),
        )
        outbox.tell(shop, outbox.act(), "draft_orders/update", lambda: body(store, shop, draft["id"]))
    return order_id


def delete(store: Store, outbox: Outbox, shop: Row, key: str) -> None:
    """Raises NotFound."""
    with store.transaction():
        draft = store.one("select * from drafts where shop_id = ? and key = ?", (shop["id"], key))
        if draft is None:
            raise NotFound("draft order", key)
        store.run("delete from drafts where id = ?", (draft["id"],))
        outbox.tell(shop, outbox.act(), "draft_orders/delete", lambda: {"id": draft["id"]})


def body(store: Store, shop: Row, number: int) -> dict[str, Any]:
    """The REST form of a draft."""
    row = store.one("select * from drafts where id = ?", (number,))
    assert row is not None
    zone, given = shop["timezone"], orjson.loads(row["lines"])
    lines = [_line(store, shop, line) for line in given["lines"]]
    total = amount(sum((line_total(line["quantity"], line["price"]) for line in given["lines"]), Decimal(0)))
    return {
        "id": number,
        "admin_graphql_api_id": gid("DraftOrder", number),
        "name": f"#D{row['number']}",
        "status": row["status"],
        "note": None,
        "email": None,
        "tags": "",
        "currency": given.get("currency") or shop["currency"],
        "taxes_included": False,
        "tax_exempt": False,
        "invoice_sent_at": None,
        "created_at": with_offset(row["created_at"], zone),
        "updated_at": with_offset(row["updated_at"], zone),
        "completed_at": row["completed_at"] and with_offset(row["completed_at"], zone),
        "order_id": row["order_id"],
        "line_items": lines,
        "subtotal_price": total,
        "total_price": total,
        "total_tax": "0.00",
        "tax_lines": [],
        "applied_discount": None,
        "shipping_line": None,
        "shipping_address": None,
        "billing_address": None,
        "customer": None,
    }


def _line(store: Store, shop: Row, given: dict[str, Any]) -> dict[str, Any]:
    variant = store.one(
        "select v.*, p.title, p.vendor from variants v join products p on p.id = v.product_id"
        " where v.shop_id = ? and v.sku = ?",
        (shop["id"], given["sku"]),
    )
    return {
        "variant_id": variant and variant["id"],
        "product_id": variant and variant["product_id"],
        "title": given.get("title") or (variant["title"] if variant else given["sku"]),
        "sku": given["sku"],
        "vendor": variant and variant["vendor"],
        "quantity": given["quantity"],
        "price": given["price"],
        "requires_shipping": True,
        "taxable": True,
        "gift_card": False,
        "custom": False,
    }
