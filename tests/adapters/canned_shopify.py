"""A Shopify that answers our own documents from a few dictionaries: enough for every case, and nothing hidden."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.adapters.canned_exports import CannedExports

NOW = "2026-11-20T10:00:00Z"
LOCATION = "24826418"


def money(amount: str) -> dict[str, Any]:
    return {"shopMoney": {"amount": amount}}


def connection(nodes: list[Any], first: int, after: str | None = None) -> dict[str, Any]:
    start = int(after or 0)
    end = start + first
    return {"nodes": nodes[start:end], "pageInfo": {"hasNextPage": end < len(nodes), "endCursor": str(end)}}


@dataclass
class CannedShop(CannedExports):
    """Ten variants with one level each; answers by operation name."""

    levels: dict[str, int] = field(default_factory=lambda: {str(5000 + n): 10 + n for n in range(10)})
    orders: list[dict[str, Any]] = field(default_factory=list)
    subscriptions: list[dict[str, Any]] = field(default_factory=list)
    routed: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    tells_first_only: bool = False
    inactive: set[str] = field(default_factory=set)
    subscribed: int = 0
    refused_topics: list[str] = field(default_factory=list)
    by_key: dict[str, tuple[str, bool]] = field(default_factory=dict)
    scopes: list[str] = field(default_factory=lambda: ["read_products", "write_inventory", "read_locations"])
    applied: int = 0
    tokens: int = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/admin/oauth/access_token"):
            self.tokens += 1
            return httpx.Response(200, json={"access_token": f"t{self.tokens}", "expires_in": 86399})
        if request.method == "GET":
            return self.give_file(request)
        asked = json.loads(request.content)
        name = asked["query"].split("(")[0].split("{")[0].split()[1]
        data = getattr(self, f"on_{name}")(asked["variables"])
        cost = {
            "requestedQueryCost": 10,
            "actualQueryCost": 10,
            "throttleStatus": {"maximumAvailable": 2000.0, "currentlyAvailable": 1990, "restoreRate": 100.0},
        }
        headers = {"X-Shopify-API-Version": "2026-10"}
        return httpx.Response(200, json={"data": data, "extensions": {"cost": cost}}, headers=headers)

    def on_About(self, v: dict[str, Any]) -> Any:
        plan = {"publicDisplayName": "Basic"}
        shop = {"name": "Mugs", "myshopifyDomain": "shop.test", "currencyCode": "GBP", "ianaTimezone": "Europe/London"}
        installation = {"accessScopes": [{"handle": scope} for scope in self.scopes]}
        return {"shop": {**shop, "plan": plan}, "currentAppInstallation": installation}

    def on_Locations(self, v: dict[str, Any]) -> Any:
        return {"locations": connection([{"legacyResourceId": LOCATION, "name": "Warehouse"}], 50)}

    def on_VariantCount(self, v: dict[str, Any]) -> Any:
        return {"productVariantsCount": {"count": len(self.levels)}}

    def on_Variants(self, v: dict[str, Any]) -> Any:
        nodes = [self._variant(item) for item in self.levels]
        return {"productVariants": connection(nodes, min(4, v["first"]), v["after"])}

    def _variant(self, item: str) -> dict[str, Any]:
        return {
            "legacyResourceId": str(int(item) + 1000),
            "title": "Default Title",
            "sku": f"SKU-{item}",
            "barcode": None,
            "updatedAt": NOW,
            "product": {
                "legacyResourceId": "77",
                "title": "Mug",
                "status": "ACTIVE",
                "productType": " Mugs ",
                "updatedAt": NOW,
            },
            "inventoryItem": self._item(item),
        }

    def _item(self, item: str) -> dict[str, Any]:
        level = {
            "updatedAt": NOW,
            "location": {"legacyResourceId": LOCATION},
            "quantities": [{"quantity": self.levels[item], "updatedAt": NOW}],
        }
        levels = [] if item in self.inactive else [level]
        return {"legacyResourceId": item, "tracked": True, "inventoryLevels": connection(levels, 50)}

    def _items(self) -> list[str]:
        return list(self.levels)

    def on_Items(self, v: dict[str, Any]) -> Any:
        refs = [gid.rpartition("/")[2] for gid in v["ids"]]
        return {"nodes": [self._item(ref) if ref in self.levels else None for ref in refs]}

    def on_SetQuantities(self, v: dict[str, Any]) -> Any:
        errors = self._set(v["key"], v["input"])
        changes = [
            {"item": {"id": one["inventoryItemId"]}, "location": {"id": one["locationId"]}}
            for one in v["input"]["quantities"]
            if one["inventoryItemId"].rpartition("/")[2] not in self.inactive
        ]
        group = {"id": "gid://shopify/InventoryAdjustmentGroup/1", "createdAt": NOW, "changes": changes}
        return {"inventorySetQuantities": {"inventoryAdjustmentGroup": None if errors else group, "userErrors": errors}}

    def _set(self, key: str, given: dict[str, Any]) -> list[dict[str, Any]]:
        digest = json.dumps(given, sort_keys=True)
        if key in self.by_key:
            before, failed = self.by_key[key]
            if before != digest:
                return [{"code": "IDEMPOTENCY_KEY_PARAMETER_MISMATCH", "field": None, "message": "other variables"}]
            if failed:
                return [{"code": "IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED", "field": None, "message": "failed before"}]
            return []
        errors = [error for place, one in enumerate(given["quantities"]) if (error := self._objection(place, one))]
        errors = errors[: 1 if self.tells_first_only else None]
        self.by_key[key] = (digest, bool(errors))
        if not errors:
            self.applied += 1
            for one in given["quantities"]:
                item = one["inventoryItemId"].rpartition("/")[2]
                if item not in self.inactive:
                    self.levels[item] = one["quantity"]
        return errors

    def _objection(self, place: int, one: dict[str, Any]) -> dict[str, Any] | None:
        code = None
        if one["locationId"] != f"gid://shopify/Location/{LOCATION}":
            code = "INVALID_LOCATION"
        elif one["changeFromQuantity"] not in (None, self.levels[one["inventoryItemId"].rpartition("/")[2]]):
            code = "CHANGE_FROM_QUANTITY_STALE"
        return (
            None
            if code is None
            else {"code": code, "field": ["input", "quantities", str(place), "quantity"], "message": "no"}
        )

    def place_order(
        self,
        ref: str,
        lines: int,
        fulfilments: int = 0,
        refunds: int = 0,
        discount: str = "0.00",
        at: str = NOW,
    ) -> None:
        self.orders.append(
            {
                "id": f"gid://shopify/Order/{ref}",
                "legacyResourceId": ref,
                "name": f"#{ref}",
                "createdAt": at,
                "processedAt": at,
                "updatedAt": at,
                "currencyCode": "GBP",
                "totalPriceSet": money(f"{lines}.00"),
                "totalDiscountsSet": money(discount),
                "lines": [self._line(ref, n) for n in range(lines)],
                "fulfilments": [self._part(ref, "Fulfillment", n, lines) for n in range(fulfilments)],
                "refunds": [self._part(ref, "Refund", n, lines) for n in range(refunds)],
            }
        )

    def _line(self, ref: str, n: int) -> dict[str, Any]:
        return {
            "id": f"gid://shopify/LineItem/{int(ref) * 1000 + n}",
            "name": "Mug",
            "sku": f"SKU-{n}",
            "quantity": 1,
            "variant": {"legacyResourceId": "6000"},
            "originalUnitPriceSet": money("1.00"),
            "totalDiscountSet": money("0.00"),
            "taxLines": [{"priceSet": money("0.10")}, {"priceSet": money("0.07")}],
        }

    def _part(self, ref: str, kind: str, n: int, lines: int) -> dict[str, Any]:
        number = str(int(ref) * 1000 + 500 + n)
        line = {
            "quantity": 1,
            "restockType": "RETURN",
            "subtotalSet": money("1.00"),
            "totalTaxSet": money("0.17"),
        }
        return {
            "id": f"gid://shopify/{kind}/{number}",
            "legacyResourceId": number,
            "status": "SUCCESS",
            "createdAt": NOW,
            "updatedAt": NOW,
            "processedAt": NOW,
            "totalRefundedSet": money("1.00"),
            "trackingInfo": [{"company": "UPS", "number": f"1Z{n}"}],
            "lines": [{**line, "lineItem": {"id": self._line(ref, place)["id"]}} for place in range(lines)],
            "carriage": [{"subtotalAmountSet": money("0.30"), "taxAmountSet": money("0.05")}] * 3,
        }

    def on_SomeOrders(self, v: dict[str, Any]) -> Any:
        by_id = {order["id"]: order for order in self.orders}
        return {"nodes": [self._order(by_id[gid]) if gid in by_id else None for gid in v["ids"]]}

    def route(self, ref: str, lines: int, holds: tuple[str, ...] = (), place: str | None = LOCATION) -> None:
        """The shop decides what is shipped of an order from where: one fulfilment order more."""
        number = sum(len(made) for made in self.routed.values()) + 1
        parts = [
            {
                "id": f"gid://shopify/FulfillmentOrderLineItem/{number * 1000 + n}",
                "totalQuantity": 2,
                "remainingQuantity": 1,
                "lineItem": {"id": f"gid://shopify/LineItem/{int(ref) * 1000 + n}"},
            }
            for n in range(lines)
        ]
        self.routed.setdefault(f"gid://shopify/Order/{ref}", []).append(
            {
                "id": f"gid://shopify/FulfillmentOrder/{number}",
                "orderId": f"gid://shopify/Order/{ref}",
                "status": "ON_HOLD" if holds else "OPEN",
                "requestStatus": "UNSUBMITTED",
                "updatedAt": NOW,
                "assignedLocation": {
                    "name": "Warehouse",
                    "location": None if place is None else {"legacyResourceId": place},
                },
                "fulfillmentHolds": [{"reason": hold} for hold in holds],
                "lines": parts,
            }
        )

    def on_FulfilmentOrders(self, v: dict[str, Any]) -> Any:
        may_see = any(scope.endswith("_fulfillment_orders") for scope in self.scopes)
        made = self.routed.get(v["id"], []) if may_see else []
        return {
            "order": {"fulfillmentOrders": connection([_shown(one, "lineItems", 30) for one in made], 10, v["after"])}
        }

    def on_FulfilmentOrderLines(self, v: dict[str, Any]) -> Any:
        one = next(one for made in self.routed.values() for one in made if one["id"] == v["id"])
        return {"fulfillmentOrder": {"lineItems": connection(one["lines"], 250, v["after"])}}

    def on_OrdersBehind(self, v: dict[str, Any]) -> Any:
        orders = {one["id"]: one["orderId"] for made in self.routed.values() for one in made}
        return {"nodes": [{"orderId": orders[gid]} if gid in orders else None for gid in v["ids"]]}

    def on_NewestChange(self, v: dict[str, Any]) -> Any:
        changed = sorted(order["updatedAt"] for order in self.orders)
        return {"orders": {"nodes": [{"updatedAt": changed[-1]}] if changed else []}}

    def on_Orders(self, v: dict[str, Any]) -> Any:
        return {"orders": connection([self._order(order) for order in self.orders], 4, v["after"])}

    def _order(self, order: dict[str, Any]) -> dict[str, Any]:
        shown = {key: value for key, value in order.items() if key not in ("lines", "fulfilments", "refunds")}
        return {
            **shown,
            "lineItems": connection([dict(line) for line in order["lines"]], 10),
            "fulfillments": [_shown(one, "fulfillmentLineItems", 10) for one in order["fulfilments"][:2]],
            "refunds": [
                _shown(one, "refundLineItems", 4) | {"refundShippingLines": connection(one["carriage"], 1)}
                for one in order["refunds"][:2]
            ],
        }

    def _found(self, gid: str) -> dict[str, Any]:
        return next(order for order in self.orders if order["id"] == gid)

    def on_OrderLines(self, v: dict[str, Any]) -> Any:
        lines = [dict(line) for line in self._found(v["id"])["lines"]]
        return {"order": {"lineItems": connection(lines, 98, v["after"])}}

    def on_OrderDiscounts(self, v: dict[str, Any]) -> Any:
        share = [{"allocatedAmountSet": money("0.10")}]
        lines = [{"id": line["id"], "discountAllocations": share} for line in self._found(v["id"])["lines"]]
        return {"order": {"lineItems": connection(lines, 40, v["after"])}}

    def on_OrderParts(self, v: dict[str, Any]) -> Any:
        order = self._found(v["id"])
        parts = {"fulfillments": order["fulfilments"], "refunds": order["refunds"]}
        own = ("lines", "carriage")
        return {"order": {k: [{a: b for a, b in p.items() if a not in own} for p in ps] for k, ps in parts.items()}}

    def on_FulfilmentLines(self, v: dict[str, Any]) -> Any:
        return self._part_lines(v, "fulfilments", "fulfillmentLineItems")

    def on_RefundLines(self, v: dict[str, Any]) -> Any:
        return self._part_lines(v, "refunds", "refundLineItems")

    def on_RefundedCarriages(self, v: dict[str, Any]) -> Any:
        refund = next(part for order in self.orders for part in order["refunds"] if part["id"] == v["id"])
        return {"node": {"refundShippingLines": connection(refund["carriage"], 50, v["after"])}}

    def _part_lines(self, v: dict[str, Any], kind: str, name: str) -> Any:
        part = next(part for order in self.orders for part in order[kind] if part["id"] == v["id"])
        return {"node": {name: connection(part["lines"], 148, v["after"])}}

    def on_Subscriptions(self, v: dict[str, Any]) -> Any:
        return {"webhookSubscriptions": connection(list(self.subscriptions), 100, v["after"])}

    def on_Subscribe(self, v: dict[str, Any]) -> Any:
        if v["topic"] in self.refused_topics:
            errors = [{"field": ["topic"], "message": "this"}, {"field": None, "message": "and that"}]
            return {"webhookSubscriptionCreate": {"webhookSubscription": None, "userErrors": errors}}
        self.subscribed += 1
        made = {"id": f"gid://s/{self.subscribed}", "topic": v["topic"], **v["subscription"]}
        self.subscriptions.append(made)
        return {"webhookSubscriptionCreate": {"webhookSubscription": {"id": made["id"]}, "userErrors": []}}

    def on_Resubscribe(self, v: dict[str, Any]) -> Any:
        next(one for one in self.subscriptions if one["id"] == v["id"]).update(v["subscription"])
        return {"webhookSubscriptionUpdate": {"webhookSubscription": {"id": v["id"]}, "userErrors": []}}

    def on_Unsubscribe(self, v: dict[str, Any]) -> Any:
        self.subscriptions = [one for one in self.subscriptions if one["id"] != v["id"]]
        return {"webhookSubscriptionDelete": {"deletedWebhookSubscriptionId": v["id"], "userErrors": []}}


def _shown(part: dict[str, Any], name: str, first: int) -> dict[str, Any]:
    return {**{k: v for k, v in part.items() if k not in ("lines", "carriage")}, name: connection(part["lines"], first)}
