"""Rows as GraphQL objects: plain values are read at once, everything deeper only when it is asked for."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson

from sandbox.money import amount, line_total
from sandbox.store import Row
from sandbox.vendors.shopify import bodies, charges, inventory, subscriptions
from sandbox.vendors.shopify.bulk import bulk_view
from sandbox.vendors.shopify.connections import Source
from sandbox.vendors.shopify.fulfilment_views import View, may_read_fulfilment_orders, money_bag
from sandbox.vendors.shopify.order_rows import order_horizon
from sandbox.vendors.shopify.product_views import VARIANTS, ProductViews
from sandbox.vendors.shopify.scopes import check, listed
from sandbox.vendors.shopify.shops import gid, number_of

PLAN_NAMES = {"standard": "Basic", "advanced": "Advanced", "plus": "Shopify Plus", "enterprise": "Shopify Plus"}
# What the app needs to be shown a thing by its bare id.
NODE_SCOPES = {
    "InventoryItem": ("read_inventory", "read_products"),
    "InventoryLevel": ("read_inventory",),
    "Location": ("read_inventory", "read_locations"),
    "Order": ("read_orders",),
    "Product": ("read_products",),
    "ProductVariant": ("read_products",),
    "Refund": ("read_orders",),
}


def _tax_lines(line: Row, currency: str) -> list[View]:
    if not Decimal(line["tax"]):
        return []
    rate, price = float(line["tax_rate"]), money_bag(line["tax"], currency)
    return [{"title": charges.TAX_TITLE, "rate": rate, "ratePercentage": rate * 100, "priceSet": price}]


def _refunded_carriage(refund: Row, currency: str) -> View:
    return {
        "__typename": "RefundShippingLine",
        "id": gid("RefundShippingLine", refund["shipping_line_id"]),
        "subtotalAmountSet": money_bag(refund["shipping"], currency),
        "taxAmountSet": money_bag(refund["shipping_tax"], currency),
    }


class Views(ProductViews):
    """The objects of one shop, as its app may see them."""

    def shop(self) -> View:
        shop = self._shop
        return {
            "__typename": "Shop",
            "id": gid("Shop", shop["id"]),
            "name": shop["name"],
            "myshopifyDomain": shop["domain"],
            "ianaTimezone": shop["timezone"],
            "currencyCode": shop["currency"],
            "plan": {
                "partnerDevelopment": False,
                "publicDisplayName": PLAN_NAMES[shop["plan"]],
                "shopifyPlus": shop["plan"] in ("plus", "enterprise"),
            },
        }

    def installation(self) -> View:
        """The app as this shop has installed it."""
        shop = self._shop
        scopes = [{"handle": scope, "description": scope.replace("_", " ")} for scope in listed(shop)]
        return {"__typename": "AppInstallation", "id": gid("AppInstallation", shop["id"]), "accessScopes": scopes}

    def node(self, node_id: str) -> View | None:
        """Any object of ours by its GID; None when there is no such thing."""
        kind = node_id.removeprefix("gid://shopify/").split("/")[0]
        finders = {
            "Product": self.product_by_gid,
            "ProductVariant": self.variant_by_gid,
            "InventoryItem": self.item_by_gid,
            "InventoryLevel": self.level_by_gid,
            "Location": self.location_by_gid,
            "Order": self.order_by_gid,
            "BulkOperation": self.bulk_by_gid,
            "Fulfillment": self.fulfillment_by_gid,
            "FulfillmentOrder": self.fulfillment_order_by_gid,
            "Refund": self.refund_by_gid,
            "WebhookSubscription": self.subscription_by_gid,
        }
        if kind in NODE_SCOPES:
            check(self._shop, "node", *NODE_SCOPES[kind])
        if kind == "Shop":
            return self.shop() if node_id == gid("Shop", self._shop["id"]) else None
        finder = finders.get(kind)
        return None if finder is None else finder(node_id)

    def product_by_gid(self, product_gid: str) -> View | None:
        row = self._one("select * from products where shop_id = ? and id = ?", number_of(product_gid, "Product"))
        return None if row is None else self.product(row)

    def product_by_handle(self, handle: str) -> View | None:
        row = self._store.one("select * from products where shop_id = ? and handle = ?", (self._shop["id"], handle))
        return None if row is None else self.product(row)

    def variant_by_gid(self, variant_gid: str) -> View | None:
        row = self._one(f"{VARIANTS} where v.shop_id = ? and v.id = ?", number_of(variant_gid, "ProductVariant"))
        return None if row is None else self.variant(row)

    def item_by_gid(self, item_gid: str) -> View | None:
        row = self._one(f"{VARIANTS} where v.shop_id = ? and v.item_id = ?", number_of(item_gid, "InventoryItem"))
        return None if row is None else self.item(row)

    def level_by_gid(self, level_gid: str) -> View | None:
        place, _, item = level_gid.partition("?inventory_item_id=")
        location = number_of(place, "InventoryLevel")
        if location is None or not item.isdigit() or len(item) > 18:
            return None
        row = self._store.one(
            "select * from levels where shop_id = ? and item_id = ? and location_id = ?",
            (self._shop["id"], int(item), location),
        )
        return None if row is None else self.level(row)

    def location_by_gid(self, location_gid: str) -> View | None:
        row = self._one("select * from locations where shop_id = ? and id = ?", number_of(location_gid, "Location"))
        return None if row is None else self.location(row)

    def order_by_gid(self, order_gid: str) -> View | None:
        row = self._one("select * from orders where shop_id = ? and id = ?", number_of(order_gid, "Order"))
        horizon = order_horizon(self._store, self._shop)
        return None if row is None or (horizon and row["created_at"] < horizon) else self.order(row)

    def bulk_by_gid(self, bulk_gid: str) -> View | None:
        row = self._one("select * from bulks where shop_id = ? and id = ?", number_of(bulk_gid, "BulkOperation"))
        return None if row is None else bulk_view(self._store, row)

    def fulfillment_order_by_gid(self, order_gid: str) -> View | None:
        if not may_read_fulfilment_orders(self._shop):
            return None
        number = number_of(order_gid, "FulfillmentOrder")
        return self._part_of_order("fulfillment_orders", number, self.fulfillment_order)

    def fulfillment_by_gid(self, fulfillment_gid: str) -> View | None:
        return self._part_of_order("fulfillments", number_of(fulfillment_gid, "Fulfillment"), self.fulfillment)

    def refund_by_gid(self, refund_gid: str) -> View | None:
        return self._part_of_order("refunds", number_of(refund_gid, "Refund"), self.refund)

    def _part_of_order(self, table: str, number: int | None, view: Callable[[Row, Row], View]) -> View | None:
        """`table` comes from the callers above."""
        row = None if number is None else self._store.one(f"select * from {table} where id = ?", (number,))
        order = None if row is None else self._one("select * from orders where shop_id = ? and id = ?", row["order_id"])
        return None if row is None or order is None else view(row, order)

    def subscription_by_gid(self, subscription_gid: str) -> View | None:
        row = subscriptions.by_gid(self._store, self._shop, subscription_gid)
        return None if row is None else self.subscription(row)

    def location(self, row: Row) -> View:
        return {
            "__typename": "Location",
            "id": gid("Location", row["id"]),
            "legacyResourceId": row["id"],
            "name": row["name"],
            "isActive": bool(row["active"]),
            "fulfillsOnlineOrders": True,
            "shipsInventory": True,
        }

    def item(self, row: Row) -> View:
        """An inventory item out of its variant's row."""
        return {
            "__typename": "InventoryItem",
            "id": gid("InventoryItem", row["item_id"]),
            "legacyResourceId": row["item_id"],
            "sku": row["sku"] or None,
            "tracked": bool(row["tracked"]),
            "requiresShipping": bool(row["requires_shipping"]),
            "measurement": self.measurement(row),
            "unitCost": self.cost(row),
            "createdAt": row["created_at"],
            "updatedAt": row["updated_at"],
            "variant": lambda info: self.variant(row),
            "inventoryLevels": lambda info, **arguments: self._levels_of(row["item_id"], arguments),
            "inventoryLevel": lambda info, **arguments: self._level_at(
                row["item_id"], arguments["locationId"], bool(arguments.get("includeInactive"))
            ),
        }

    def _item_of(self, row: Row) -> View:
        check(self._shop, "inventoryItem", "read_inventory", "read_products")
        return self.item(row)

    def level(self, row: Row) -> View:
        level_gid = f"gid://shopify/InventoryLevel/{row['location_id']}?inventory_item_id={row['item_id']}"
        return {
            "__typename": "InventoryLevel",
            "id": level_gid,
            "isActive": bool(row["active"]),
            "createdAt": row["created_at"],
            "updatedAt": row["updated_at"],
            "item": lambda info: self.item_by_gid(gid("InventoryItem", row["item_id"])),
            "location": lambda info: self.location_by_gid(gid("Location", row["location_id"])),
            "quantities": lambda info, names: [self._quantity(row, level_gid, name) for name in names],
        }

    @staticmethod
    def _quantity(row: Row, level_gid: str, name: str) -> View:
        return {
            "__typename": "InventoryQuantity",
            "id": level_gid.replace("InventoryLevel", "InventoryQuantity", 1) + f"&name={name}",
            "name": name,
            "quantity": inventory.quantity(row, name),
            "updatedAt": row["updated_at"],
        }

    def order(self, row: Row) -> View:
        currency, order_id = row["currency"], row["id"]
        customer = row["customer_id"]
        return {
            "__typename": "Order",
            "id": gid("Order", order_id),
            "legacyResourceId": order_id,
            "name": row["name"],
            "number": row["number"],
            "createdAt": row["created_at"],
            "processedAt": row["processed_at"],
            "updatedAt": row["updated_at"],
            "cancelledAt": row["cancelled_at"],
            "cancelReason": row["cancel_reason"] and row["cancel_reason"].upper(),
            "closed": False,
            "test": False,
            "note": None,
            "tags": [],
            "currencyCode": currency,
            "sourceName": row["source_name"],
            "edited": bool(row["edited"]),
            "sourceIdentifier": row["key"],
            "totalPriceSet": money_bag(row["total"], currency),
            "subtotalPriceSet": lambda info: money_bag(
                amount(bodies.subtotal(row, bodies.lines_of(self._store, order_id))), currency
            ),
            "totalDiscountsSet": money_bag(row["discount"], currency),
            "totalTaxSet": lambda info: money_bag(
                amount(charges.total_tax(row, bodies.lines_of(self._store, order_id))), currency
            ),
            "totalShippingPriceSet": money_bag(row["shipping"], currency),
            "taxesIncluded": bool(row["taxes_included"]),
            "discountCodes": charges.codes_of(row),
            "customAttributes": [{"key": name, "value": value} for name, value in charges.attributes_of(row)],
            "totalRefundedSet": lambda info: money_bag(amount(self._refunded(order_id)), currency),
            "currentTotalPriceSet": lambda info: money_bag(self._current_total(row), currency),
            "customer": None
            if customer is None
            else {"__typename": "Customer", "id": gid("Customer", customer), "legacyResourceId": customer},
            "shippingAddress": None
            if row["country"] is None
            else {"id": f"gid://shopify/MailingAddress/{order_id}?model_name=Address", "countryCodeV2": row["country"]},
            "displayFinancialStatus": lambda info: self._financial_status(row),
            "displayFulfillmentStatus": lambda info: self._fulfillment_status(order_id),
            "lineItems": lambda info, **arguments: self._lines_of(row, arguments),
            "refunds": lambda info, first=None: self._refunds_of(row, first),
            "fulfillments": lambda info, first=None, query=None: self._fulfillments_of(row, first),
            "fulfillmentOrders": lambda info, **arguments: self._fulfillment_orders_of(row, arguments),
        }

    def line(self, row: Row, currency: str) -> View:
        total = money_bag(amount(line_total(row["quantity"], row["price"])), currency)
        unit = money_bag(row["price"], currency)
        left = bodies.current_quantity(row)
        return {
            "__typename": "LineItem",
            "id": gid("LineItem", row["id"]),
            "name": row["title"],
            "title": row["title"],
            "sku": row["sku"],
            "quantity": row["quantity"],
            "currentQuantity": left,
            "refundableQuantity": left,
            "unfulfilledQuantity": bodies.fulfillable(row),
            "requiresShipping": True,
            "isGiftCard": False,
            "variantTitle": None,
            "vendor": row["vendor"],
            "originalUnitPriceSet": unit,
            "discountedUnitPriceSet": unit,
            "originalTotalSet": total,
            "discountedTotalSet": total,
            "totalDiscountSet": money_bag("0.00", currency),
            "discountAllocations": [{"allocatedAmountSet": money_bag(row["discount"], currency)}]
            if Decimal(row["discount"])
            else [],
            "taxLines": lambda info, first=None: _tax_lines(row, currency)[:first],
            "variant": lambda info: self.variant_by_gid(gid("ProductVariant", row["variant_id"])),
            "product": lambda info: self.product_by_gid(gid("Product", row["product_id"])),
        }

    def refund(self, row: Row, order: Row) -> View:
        return {
            "__typename": "Refund",
            "id": gid("Refund", row["id"]),
            "legacyResourceId": row["id"],
            "createdAt": row["created_at"],
            "processedAt": row["processed_at"],
            "updatedAt": row["created_at"],
            "note": row["note"],
            "totalRefundedSet": money_bag(row["total"], order["currency"]),
            "order": lambda info: self.order(order),
            "refundLineItems": lambda info, **arguments: self._refund_lines_of(row, order, arguments),
            "refundShippingLines": lambda info, **arguments: self._refunded_carriage_of(row, order, arguments),
        }

    def subscription(self, row: Row) -> View:
        return {
            "__typename": "WebhookSubscription",
            "id": gid("WebhookSubscription", row["id"]),
            "legacyResourceId": row["id"],
            "topic": subscriptions.ENUM_OF[row["topic"]],
            "uri": row["uri"],
            "format": row["format"],
            "filter": row["filter"],
            "includeFields": orjson.loads(row["include_fields"]),
            "name": row["name"],
            "createdAt": row["created_at"],
            "updatedAt": row["updated_at"],
            "apiVersion": {"displayName": "2026-10", "handle": "2026-10", "supported": True},
        }

    def adjustment_group(self, group_id: str) -> View:
        row = self._store.one("select * from adjustment_groups where id = ?", (group_id,))
        assert row is not None
        return {
            "__typename": "InventoryAdjustmentGroup",
            "id": group_id,
            "createdAt": row["created_at"],
            "reason": row["reason"],
            "referenceDocumentUri": row["reference"],
            "changes": lambda info, **arguments: self._changes_of(group_id, arguments),
        }

    def _one(self, sql: str, number: int | None) -> Row | None:
        return None if number is None else self._store.one(sql, (self._shop["id"], number))

    def _total_inventory(self, product_id: int) -> int:
        total = self._store.value(
            "select sum(available) from levels where active"
            " and item_id in (select item_id from variants where product_id = ?)",
            (product_id,),
        )
        return int(total or 0)

    def _levels_of(self, item_id: int, arguments: dict[str, Any]) -> View:
        check(self._shop, "inventoryLevels", "read_inventory")
        active = "" if arguments.get("includeInactive") else " and active"
        source = Source(f"select * from levels where item_id = ?{active}", [item_id], "location_id", "location_id")
        return self.page(source, arguments, self.level)

    def _level_at(self, item_id: int, location_gid: str, include_inactive: bool) -> View | None:
        check(self._shop, "inventoryLevel", "read_inventory")
        location = number_of(location_gid, "Location")
        row = None if location is None else inventory.read_level(self._store, item_id, location)
        return None if row is None or not (row["active"] or include_inactive) else self.level(row)

    def _lines_of(self, order: Row, arguments: dict[str, Any]) -> View:
        source = Source("select * from lines where order_id = ?", [order["id"]], "position", "id")
        return self.page(source, arguments, lambda row: self.line(row, order["currency"]))

    def _refunds_of(self, order: Row, first: int | None) -> list[View]:
        rows = self._store.all("select * from refunds where order_id = ? order by id", (order["id"],))
        return [self.refund(row, order) for row in rows[:first]]

    def _refund_lines_of(self, refund: Row, order: Row, arguments: dict[str, Any]) -> View:
        source = Source("select * from refund_lines where refund_id = ?", [refund["id"]], "id", "id")
        return self.page(source, arguments, lambda row: self._refund_line(row, order))

    def _refunded_carriage_of(self, refund: Row, order: Row, arguments: dict[str, Any]) -> View:
        sql = "select * from refunds where id = ? and shipping_line_id is not null"
        source = Source(sql, [refund["id"]], "id", "id")
        return self.page(source, arguments, lambda row: _refunded_carriage(row, order["currency"]))

    def _refund_line(self, row: Row, order: Row) -> View:
        currency = order["currency"]
        line = self._store.one("select * from lines where id = ?", (row["line_id"],))
        assert line is not None
        location = row["location_id"]
        return {
            "__typename": "RefundLineItem",
            "id": gid("RefundLineItem", row["id"]),
            "quantity": row["quantity"],
            "restockType": row["restock_type"].upper(),
            "restocked": row["restock_type"] != "no_restock",
            "priceSet": money_bag(line["price"], currency),
            "subtotalSet": money_bag(row["subtotal"], currency),
            "totalTaxSet": money_bag(row["tax"], currency),
            "lineItem": self.line(line, currency),
            "location": None if location is None else self.location_by_gid(gid("Location", location)),
        }

    def _refunded(self, order_id: int) -> Decimal:
        rows = self._store.all("select total from refunds where order_id = ?", (order_id,))
        return sum((Decimal(row["total"]) for row in rows), Decimal(0))

    def _current_total(self, order: Row) -> str:
        refunds = self._store.all("select * from refunds where order_id = ?", (order["id"],))
        return amount(bodies.current_total(order, bodies.lines_of(self._store, order["id"]), refunds))

    def _financial_status(self, order: Row) -> str:
        return bodies.financial_status(Decimal(order["total"]), self._refunded(order["id"])).upper()

    def _changes_of(self, group_id: str, arguments: dict[str, Any]) -> list[View]:
        wanted = (
            ("name", arguments.get("quantityNames")),
            ("item", arguments.get("inventoryItemIds")),
            ("location", arguments.get("locationIds")),
        )
        changes = []
        for row in self._store.all("select * from adjustments where group_id = ? order by position", (group_id,)):
            named = {
                "name": row["name"],
                "item": gid("InventoryItem", row["item_id"]),
                "location": gid("Location", row["location_id"]),
            }
            if all(values is None or named[field] in values for field, values in wanted):
                changes.append(self._change(row, named))
        return changes

    def _change(self, row: Row, named: dict[str, str]) -> View:
        return {
            "name": row["name"],
            "delta": row["delta"],
            "quantityAfterChange": row["after"],
            "ledgerDocumentUri": None,
            "item": lambda info: self.item_by_gid(named["item"]),
            "location": lambda info: self.location_by_gid(named["location"]),
        }
