"""The entry points of the schema for queries; those for mutations are inherited."""

# graphql-core finds a resolver by the vendor's own name for the field and calls it with the vendor's argument names.
# ruff: noqa: A002, N802

from typing import Any

from graphql import GraphQLResolveInfo

from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import subscriptions
from sandbox.vendors.shopify.bulk import bulk_view
from sandbox.vendors.shopify.connections import Source, search
from sandbox.vendors.shopify.fulfilment_views import may_read_fulfilment_orders
from sandbox.vendors.shopify.mutations import Mutations
from sandbox.vendors.shopify.order_rows import order_horizon
from sandbox.vendors.shopify.product_views import VARIANTS
from sandbox.vendors.shopify.scopes import READS_FULFILMENT_ORDERS, check
from sandbox.vendors.shopify.taxonomy import Taxonomy
from sandbox.vendors.shopify.views import View, Views

ORDER_SORTS = {"ID": "id", "CREATED_AT": "created_at", "UPDATED_AT": "updated_at", "PROCESSED_AT": "processed_at"}
ORDER_TERMS = {
    "id": "id",
    "name": "name",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "processed_at": "processed_at",
    "source_identifier": "key",
}
VARIANT_SORTS = {"ID": "id", "POSITION": "id", "SKU": "sku", "TITLE": "product_title"}
VARIANT_TERMS = {
    "id": "id",
    "sku": "sku",
    "barcode": "barcode",
    "updated_at": "updated_at",
    "product_id": "product_id",
}
ITEM_TERMS = {"id": "item_id", "sku": "sku", "updated_at": "updated_at"}
FULFILMENT_ORDER_TERMS = {"id": "id", "status": "status", "updated_at": "updated_at", "created_at": "created_at"}
PRODUCT_SORTS = {"ID": "id", "TITLE": "title", "CREATED_AT": "created_at", "UPDATED_AT": "updated_at"}
PRODUCT_TERMS = {
    "id": "id",
    "title": "title",
    "handle": "handle",
    "status": "status",
    "vendor": "vendor",
    "created_at": "created_at",
    "updated_at": "updated_at",
}


BULK_SORTS = {"CREATED_AT": "created_at", "COMPLETED_AT": "completed_at"}
BULK_TERMS = {"id": "id", "status": "status", "created_at": "created_at", "operation_type": "type"}
# The living versions, oldest first.
VERSIONS = ("2026-07", "2026-10")


class Root(Mutations):
    """The root value of an execution; graphql-core calls the method named like the field."""

    def __init__(self, store: Store, outbox: Outbox, shop: Row, base_url: str = "", whole: bool = False) -> None:
        """`base_url` is what links to the sandbox begin with; `whole` is for bulk operations."""
        self._store = store
        self._outbox = outbox
        self._shop = shop
        self._base_url = base_url
        self._views = Views(store, shop, whole)

    def currentAppInstallation(self, info: GraphQLResolveInfo) -> View:
        return self._views.installation()

    def publicApiVersions(self, info: GraphQLResolveInfo) -> list[View]:
        return [{"displayName": version, "handle": version, "supported": True} for version in VERSIONS]

    def shop(self, info: GraphQLResolveInfo) -> View:
        return self._views.shop()

    def taxonomy(self, info: GraphQLResolveInfo) -> Taxonomy:
        return Taxonomy()

    def node(self, info: GraphQLResolveInfo, id: str) -> View | None:
        return self._views.node(id)

    def nodes(self, info: GraphQLResolveInfo, ids: list[str]) -> list[View | None]:
        return [self._views.node(node_id) for node_id in ids]

    def inventoryItem(self, info: GraphQLResolveInfo, id: str) -> View | None:
        check(self._shop, "inventoryItem", "read_inventory", "read_products")
        return self._views.item_by_gid(id)

    def inventoryLevel(self, info: GraphQLResolveInfo, id: str) -> View | None:
        check(self._shop, "inventoryLevel", "read_inventory")
        return self._views.level_by_gid(id)

    def product(self, info: GraphQLResolveInfo, id: str) -> View | None:
        check(self._shop, "product", "read_products")
        return self._views.product_by_gid(id)

    def productByIdentifier(self, info: GraphQLResolveInfo, identifier: dict[str, str]) -> View | None:
        check(self._shop, "productByIdentifier", "read_products")
        if "handle" in identifier:
            return self._views.product_by_handle(identifier["handle"])
        return self._views.product_by_gid(identifier["id"])

    def productVariant(self, info: GraphQLResolveInfo, id: str) -> View | None:
        check(self._shop, "productVariant", "read_products")
        return self._views.variant_by_gid(id)

    def order(self, info: GraphQLResolveInfo, id: str) -> View | None:
        check(self._shop, "order", "read_orders")
        return self._views.order_by_gid(id)

    def webhookSubscription(self, info: GraphQLResolveInfo, id: str) -> View | None:
        return self._views.subscription_by_gid(id)

    def location(self, info: GraphQLResolveInfo, id: str | None = None) -> View | None:
        check(self._shop, "location", "read_locations", "read_inventory")
        if id is not None:
            return self._views.location_by_gid(id)
        rows = self._store.all(
            "select * from locations where shop_id = ? and active order by id limit 1", (self._shop["id"],)
        )
        return self._views.location(rows[0]) if rows else None

    def locations(self, info: GraphQLResolveInfo, **arguments: Any) -> View:
        check(self._shop, "locations", "read_locations", "read_inventory")
        active = "" if arguments.get("includeInactive") else " and active"
        source = self._source(
            f"select * from locations where shop_id = ?{active}", {"ID": "id", "NAME": "name"}, arguments
        )
        search(source, arguments.get("query"), {"id": "id", "name": "name"})
        return self._views.page(source, arguments, self._views.location)

    def products(self, info: GraphQLResolveInfo, **arguments: Any) -> View:
        check(self._shop, "products", "read_products")
        source = self._source("select * from products where shop_id = ?", PRODUCT_SORTS, arguments)
        search(source, arguments.get("query"), PRODUCT_TERMS)
        return self._views.page(source, arguments, self._views.product)

    def productVariants(self, info: GraphQLResolveInfo, **arguments: Any) -> View:
        check(self._shop, "productVariants", "read_products")
        source = self._source(f"{VARIANTS} where v.shop_id = ?", VARIANT_SORTS, arguments)
        search(source, arguments.get("query"), VARIANT_TERMS)
        return self._views.page(source, arguments, self._views.variant)

    def productVariantsCount(self, info: GraphQLResolveInfo, **arguments: Any) -> View:
        check(self._shop, "productVariantsCount", "read_products")
        source = self._source(f"{VARIANTS} where v.shop_id = ?", VARIANT_SORTS, {"sortKey": "ID"})
        search(source, arguments.get("query"), VARIANT_TERMS)
        found = " and ".join([source.sql, *source.conditions])
        count = int(self._store.value(f"select count(*) from ({found})", tuple(source.parameters)))
        limit = arguments.get("limit")
        if limit is not None and count > limit:
            return {"count": limit, "precision": "AT_LEAST"}
        return {"count": count, "precision": "EXACT"}

    def orders(self, info: GraphQLResolveInfo, **arguments: Any) -> View:
        check(self._shop, "orders", "read_orders")
        source = self._source("select * from orders where shop_id = ?", ORDER_SORTS, arguments)
        search(source, arguments.get("query"), ORDER_TERMS)
        if horizon := order_horizon(self._store, self._shop):
            source.narrow("created_at >= ?", horizon)
        return self._views.page(source, arguments, self._views.order)

    def inventoryItems(self, info: GraphQLResolveInfo, **arguments: Any) -> View:
        check(self._shop, "inventoryItems", "read_inventory", "read_products")
        source = Source(f"{VARIANTS} where v.shop_id = ?", [self._shop["id"]], "item_id", "item_id")
        search(source, arguments.get("query"), ITEM_TERMS)
        return self._views.page(source, arguments, self._views.item)

    def refund(self, info: GraphQLResolveInfo, id: str) -> View | None:
        check(self._shop, "refund", "read_orders")
        return self._views.refund_by_gid(id)

    def fulfillment(self, info: GraphQLResolveInfo, id: str) -> View | None:
        check(self._shop, "fulfillment", "read_orders", *READS_FULFILMENT_ORDERS)
        return self._views.fulfillment_by_gid(id)

    def fulfillmentOrder(self, info: GraphQLResolveInfo, id: str) -> View | None:
        return self._views.fulfillment_order_by_gid(id)

    def fulfillmentOrders(self, info: GraphQLResolveInfo, **arguments: Any) -> View:
        sorts = {"ID": "id", "UPDATED_AT": "updated_at"}
        closed = "" if arguments.get("includeClosed") else " and status not in ('CLOSED', 'CANCELLED')"
        source = self._source(f"select * from fulfillment_orders where shop_id = ?{closed}", sorts, arguments)
        search(source, arguments.get("query"), FULFILMENT_ORDER_TERMS)
        # A missing scope is no error here: there is just nothing to see.
        if not may_read_fulfilment_orders(self._shop):
            source.narrow("false")
        return self._views.page(source, arguments, self._fulfillment_order)

    def _fulfillment_order(self, row: Row) -> View:
        order = self._store.one("select * from orders where id = ?", (row["order_id"],))
        assert order is not None
        return self._views.fulfillment_order(row, order)

    def bulkOperation(self, info: GraphQLResolveInfo, id: str) -> View | None:
        return self._views.bulk_by_gid(id)

    def bulkOperations(self, info: GraphQLResolveInfo, **arguments: Any) -> View:
        sql = "select b.*, 'query' as type from bulks b where shop_id = ?"
        source = self._source(sql, BULK_SORTS, arguments)
        search(source, arguments.get("query"), BULK_TERMS)
        return self._views.page(source, arguments, lambda row: bulk_view(self._store, row))

    def currentBulkOperation(self, info: GraphQLResolveInfo, type: str) -> View | None:
        row = self._store.one("select * from bulks where shop_id = ? order by id desc limit 1", (self._shop["id"],))
        return bulk_view(self._store, row) if row is not None and type == "QUERY" else None

    def webhookSubscriptions(self, info: GraphQLResolveInfo, **arguments: Any) -> View:
        sorts = {"ID": "id", "CREATED_AT": "created_at"}
        source = self._source("select * from subscriptions where shop_id = ?", sorts, arguments)
        if arguments.get("topics") is not None:
            topics = [subscriptions.TOPICS[topic] for topic in arguments["topics"]]
            source.narrow(f"topic in ({', '.join('?' * len(topics))})", *topics)
        for name in ("uri", "format"):
            if arguments.get(name) is not None:
                source.narrow(f"{name} = ?", arguments[name])
        return self._views.page(source, arguments, self._views.subscription)

    def _source(self, sql: str, sorts: dict[str, str], arguments: dict[str, Any]) -> Source:
        return Source(sql, [self._shop["id"]], sorts[arguments["sortKey"]], "id")
