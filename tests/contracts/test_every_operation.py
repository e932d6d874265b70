"""Every document of the adapter, sent by the adapter's own client to a sandbox shop with something of everything.

The recorder holds each request and each answer against the vendor's schema; here each must come back with what it asked
for. Other tests reach most of them the long way; some are only for shops larger than a test should build.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from core.adapters.base import ConnectionConfig, Deps
from core.adapters.shopify import documents
from core.adapters.shopify.client import GraphQL
from tests.sandbox.outside import Inside, ShopSide


@dataclass
class Asking:
    """The adapter's client, and what was answered so far by the name of the document."""

    shop: ShopSide
    graphql: GraphQL
    item: str
    order: str
    answers: dict[str, Any] = field(default_factory=dict)

    def ask(self, name: str, **variables: Any) -> Any:
        kind = "once" if documents.ALL[name].lstrip().startswith("mutation") else "read"
        self.answers[name] = self.graphql.run(name, documents.ALL[name], variables, kind)  # type: ignore[arg-type]
        return self.answers[name]


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    """A shop with an order of two lines, of which one was shipped and one came back with a part of the carriage."""
    world = Inside(tmp_path)
    shop = world.shop()
    items = shop.stock("A", "B")
    lines = [{"sku": sku, "quantity": 2, "price": "2.50", "tax_rate": "0.20"} for sku in "AB"]
    noted = [{"name": "ref", "value": "maya"}]
    carriage = {"price": "3.95", "tax_rate": "0.20"}
    order = shop.place(lines=lines, shipping=carriage, discount_codes=["MAYA10"], note_attributes=noted)
    shop.ship(order, (0, 1))
    part = {"line_id": order["lines"][1]["id"], "quantity": 1, "restock_type": "cancel"}
    shop.control("refunds", refunds=[{"key": "r", "order_id": order["id"], "lines": [part], "shipping": "1.00"}])
    secrets = {name: shop.entry[name] for name in ("client_id", "client_secret")}
    base = f"{world.url}/shopify/{shop.domain}"
    config = ConnectionConfig(1, 1, "shopify", base, shop.domain, "GBP", {}, secrets)
    deps = Deps(lambda call: None, None, world.world, lambda: datetime.now(UTC), lambda seconds: None)
    yield Asking(shop, GraphQL(config, deps), items["A"], f"gid://shopify/Order/{order['id']}")
    world.stop()


def test_every_document_is_answered_in_full(asking: Asking) -> None:
    ask, order = asking.ask, asking.order
    assert ask("ABOUT")
    assert ask("LOCATIONS", after=None)["locations"]["nodes"]
    assert ask("VARIANTS", first=5, levels=1, query=None, after=None)["productVariants"]["nodes"]
    assert ask("VARIANT_COUNT")["productVariantsCount"]["count"] == 2
    assert ask("ITEMS", ids=[asking.item], levels=1)["nodes"][0]
    assert ask("ITEM_LEVELS", id=asking.item, after=None)["inventoryItem"]["inventoryLevels"]["nodes"]

    assert ask("ORDERS", query="updated_at:>='2020-01-01T00:00:00Z'", after=None)["orders"]["nodes"]
    assert ask("NEWEST_CHANGE")["orders"]["nodes"]
    assert ask("SOME_ORDERS", ids=[order])["nodes"][0]
    assert ask("ORDER_LINES", id=order, after=None)["order"]["lineItems"]["nodes"]
    assert ask("ORDER_DISCOUNTS", id=order, after=None)["order"]["lineItems"]["nodes"]
    parts = ask("ORDER_PARTS", id=order)["order"]
    assert ask("FULFILMENT_LINES", id=parts["fulfillments"][0]["id"], after=None)["node"]
    assert ask("REFUND_LINES", id=parts["refunds"][0]["id"], after=None)["node"]
    refunded = ask("REFUNDED_CARRIAGE", id=parts["refunds"][0]["id"], after=None)["node"]
    assert refunded["refundShippingLines"]["nodes"]
    routed = ask("FULFILMENT_ORDERS", id=order, after=None)["order"]["fulfillmentOrders"]["nodes"]
    assert ask("FULFILMENT_ORDER_LINES", id=routed[0]["id"], after=None)
    assert ask("ORDERS_BEHIND", ids=[routed[0]["id"]])["nodes"][0]

    started = ask("EXPORT", query=documents.EXPORTED_VARIANTS)["bulkOperationRunQuery"]
    assert started["userErrors"] == []
    # That one is sent within the other.
    asking.answers["EXPORTED_VARIANTS"] = started
    assert ask("EXPORT_STATE", id=started["bulkOperation"]["id"])["bulkOperation"]
    assert ask("EXPORTS")["bulkOperations"]["nodes"]

    element = asking.shop.element(asking.item, 3, None)
    given = {"name": "available", "reason": "correction", "quantities": [element]}
    assert ask("SET_QUANTITIES", input=given, key="k")["inventorySetQuantities"]["userErrors"] == []

    _products(asking)

    wanted = {"uri": "https://us.test/hooks"}
    assert ask("SUBSCRIBE", topic="ORDERS_CREATE", subscription=wanted)["webhookSubscriptionCreate"]
    (made,) = ask("SUBSCRIPTIONS", after=None)["webhookSubscriptions"]["nodes"]
    moved = {"uri": "https://us.test/elsewhere"}
    assert ask("RESUBSCRIBE", id=made["id"], subscription=moved)["webhookSubscriptionUpdate"]["userErrors"] == []
    assert ask("UNSUBSCRIBE", id=made["id"])["webhookSubscriptionDelete"]["userErrors"] == []

    top = ask("TAXONOMY_TOP", after=None)["taxonomy"]["categories"]["nodes"][0]
    assert ask("TAXONOMY_BELOW", id=top["id"], after=None)["taxonomy"]["categories"]["nodes"]

    assert asking.answers.keys() == documents.ALL.keys()


def _products(asking: Asking) -> None:
    """A product made, changed and read to its end."""
    ask = asking.ask
    chosen = [{"optionName": "Size", "name": "M"}]
    variant = {"sku": "C-M", "price": "9.50", "optionValues": chosen, "inventoryItem": {"cost": "4.10"}}
    whole = {
        "title": "Shirt",
        "productOptions": [{"name": "Size", "values": [{"name": "M"}]}],
        "variants": [variant],
        "files": [{"originalSource": "https://pictures.test/a.jpg", "alt": "front"}],
    }
    made = ask("SET_PRODUCT", identifier=None, input=whole)["productSet"]
    assert made["userErrors"] == []
    product = f"gid://shopify/Product/{made['product']['legacyResourceId']}"
    assert ask("PRODUCT_OF_HANDLE", handle="shirt")["productByIdentifier"] == made["product"]
    assert len(ask("PRODUCT_CHANGES", query=None, after=None)["products"]["nodes"]) == 3
    (shown,) = ask("SOME_PRODUCTS", ids=[product])["nodes"]
    assert shown["media"]["nodes"][0]["image"]["url"].startswith("https://cdn.shopify.com/")
    assert ask("PRODUCT_MEDIA", id=product, after=None)["product"]["media"]["nodes"]
    (found,) = ask("PRODUCT_VARIANTS", id=product, after=None)["product"]["variants"]["nodes"]
    assert found["inventoryItem"]["unitCost"] == {"amount": "4.10", "currencyCode": "GBP"}
    changed = [{"id": f"gid://shopify/ProductVariant/{found['legacyResourceId']}", "price": "8.00"}]
    assert ask("CHANGE_VARIANTS", product=product, variants=changed)["productVariantsBulkUpdate"]["userErrors"] == []
    _variants(asking, product)
    key = {"ownerId": product, "namespace": "details", "key": "supplier_id"}
    field = {**key, "type": "single_line_text_field", "value": "ACME-7"}
    assert ask("SET_METAFIELDS", metafields=[field])["metafieldsSet"]["userErrors"] == []
    assert [node["value"] for node in ask("METAFIELDS", id=product, after=None)["node"]["metafields"]["nodes"]] == [
        "ACME-7"
    ]
    assert ask("DELETE_METAFIELDS", metafields=[key])["metafieldsDelete"]["deletedMetafields"] == [key]


def _variants(asking: Asking, product: str) -> None:
    """One comes, goes to the front, and goes away."""
    ask = asking.ask
    new = {"price": "9.50", "optionValues": [{"optionName": "Size", "name": "L"}], "inventoryItem": {"sku": "C-L"}}
    made = ask("ADD_VARIANTS", product=product, variants=[new])["productVariantsBulkCreate"]
    assert made["userErrors"] == []
    assert [one["sku"] for one in made["productVariants"]] == ["C-L"]
    variant = f"gid://shopify/ProductVariant/{made['productVariants'][0]['legacyResourceId']}"
    moved = ask("ORDER_VARIANTS", product=product, positions=[{"id": variant, "position": 1}])
    assert moved["productVariantsBulkReorder"]["userErrors"] == []
    assert ask("DROP_VARIANTS", product=product, variants=[variant])["productVariantsBulkDelete"]["userErrors"] == []
