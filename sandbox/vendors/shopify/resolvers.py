"""The entry points of the schema: queries and mutations of one shop for one app."""

# graphql-core finds a resolver by the vendor's own name for the field and calls it with the vendor's argument names.
# ruff: noqa: A002, N802, N803

from typing import Any

from graphql import (
    GraphQLError,
    GraphQLResolveInfo,
    get_directive_values,
)

from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import subscriptions
from sandbox.vendors.shopify.connections import Source, bad_request, connection, search
from sandbox.vendors.shopify.set_quantities import set_quantities
from sandbox.vendors.shopify.views import VARIANTS, View, Views

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
PRODUCT_SORTS = {"ID": "id", "TITLE": "title", "CREATED_AT": "created_at", "UPDATED_AT": "updated_at"}
PRODUCT_TERMS = {
    "id": "id",
    "title": "title",
    "vendor": "vendor",
    "created_at": "created_at",
    "updated_at": "updated_at",
}


class Root:
    """The root value of an execution; graphql-core calls the method named like the field."""

    def __init__(self, store: Store, outbox: Outbox, shop: Row) -> None:
        self._store = store
        self._outbox = outbox
        self._shop = shop
        self._views = Views(store, shop)

    def shop(self, info: GraphQLResolveInfo) -> View:
        return self._views.shop()

    def node(self, info: GraphQLResolveInfo, id: str) -> View | None:
        return self._views.node(id)

    def nodes(self, info: GraphQLResolveInfo, ids: list[str]) -> list[View | None]:
        return [self._views.node(node_id) for node_id in ids]

    def inventoryItem(self, info: GraphQLResolveInfo, id: str) -> View | None:
        return self._views.item_by_gid(id)

    def inventoryLevel(self, info: GraphQLResolveInfo, id: str) -> View | None:
        return self._views.level_by_gid(id)

    def product(self, info: GraphQLResolveInfo, id: str) -> View | None:
        return self._views.product_by_gid(id)

    def productVariant(self, info: GraphQLResolveInfo, id: str) -> View | None:
        return self._views.variant_by_gid(id)

    def order(self, info: GraphQLResolveInfo, id: str) -> View | None:
        return self._views.order_by_gid(id)

    def webhookSubscription(self, info: GraphQLResolveInfo, id: str) -> View | None:
        return self._views.subscription_by_gid(id)

    def location(self, info: GraphQLResolveInfo, id: str | None = None) -> View | None:
        if id is not None:
            return self._views.location_by_gid(id)
        rows = self._store.all("select * from locations where shop_id = ? order by id limit 1", (self._shop["id"],))
        return self._views.location(rows[0]) if rows else None

    def locations(self, info: GraphQLResolveInfo, **arguments: Any) -> View:
        source = self._source("select * from locations where shop_id = ?", {"ID": "id", "NAME": "name"}, arguments)
        search(source, arguments.get("query"), {"id": "id", "name": "name"})
        return connection(self._store, source, arguments, self._views.location)

    def products(self, info: GraphQLResolveInfo, **arguments: Any) -> View:
        source = self._source("select * from products where shop_id = ?", PRODUCT_SORTS, arguments)
        search(source, arguments.get("query"), PRODUCT_TERMS)
        return connection(self._store, source, arguments, self._views.product)

    def productVariants(self, info: GraphQLResolveInfo, **arguments: Any) -> View:
        source = self._source(f"{VARIANTS} where v.shop_id = ?", VARIANT_SORTS, arguments)
        search(source, arguments.get("query"), VARIANT_TERMS)
        return connection(self._store, source, arguments, self._views.variant)

    def productVariantsCount(self, info: GraphQLResolveInfo, **arguments: Any) -> View:
        source = self._source(f"{VARIANTS} where v.shop_id = ?", VARIANT_SORTS, {"sortKey": "ID"})
        search(source, arguments.get("query"), VARIANT_TERMS)
        found = " and ".join([source.sql, *source.conditions])
        count = int(self._store.value(f"select count(*) from ({found})", tuple(source.parameters)))
        limit = arguments.get("limit")
        if limit is not None and count > limit:
            return {"count": limit, "precision": "AT_LEAST"}
        return {"count": count, "precision": "EXACT"}

    def orders(self, info: GraphQLResolveInfo, **arguments: Any) -> View:
        source = self._source("select * from orders where shop_id = ?", ORDER_SORTS, arguments)
        search(source, arguments.get("query"), ORDER_TERMS)
        return connection(self._store, source, arguments, self._views.order)

    def webhookSubscriptions(self, info: GraphQLResolveInfo, **arguments: Any) -> View:
        sorts = {"ID": "id", "CREATED_AT": "created_at"}
        source = self._source("select * from subscriptions where shop_id = ?", sorts, arguments)
        if arguments.get("topics") is not None:
            topics = [subscriptions.TOPICS[topic] for topic in arguments["topics"]]
            source.narrow(f"topic in ({', '.join('?' * len(topics))})", *topics)
        for name in ("uri", "format"):
            if arguments.get(name) is not None:
                source.narrow(f"{name} = ?", arguments[name])
        return connection(self._store, source, arguments, self._views.subscription)

    def inventorySetQuantities(self, info: GraphQLResolveInfo, input: dict[str, Any]) -> View:
        key = _idempotency_key(info)
        for element in input["quantities"]:
            # An explicit null is an answer; leaving the key out is not, though the schema's types would allow it.
            if "changeFromQuantity" not in element:
                message = "InventoryQuantityInput must include the following argument: changeFromQuantity"
                raise GraphQLError(message, extensions={"code": "INVALID_FIELD_ARGUMENTS"})
        outcome = set_quantities(self._store, self._outbox, self._shop, self._shop["client_id"], key, input)
        group = None if outcome.group_id is None else self._views.adjustment_group(outcome.group_id)
        return {"inventoryAdjustmentGroup": group, "userErrors": outcome.errors}

    def webhookSubscriptionCreate(
        self, info: GraphQLResolveInfo, topic: str, webhookSubscription: dict[str, Any]
    ) -> View:
        made, errors = subscriptions.create(self._store, self._outbox, self._shop, topic, webhookSubscription)
        return {"webhookSubscription": made and self._views.subscription(made), "userErrors": errors}

    def webhookSubscriptionUpdate(self, info: GraphQLResolveInfo, id: str, webhookSubscription: dict[str, Any]) -> View:
        changed, errors = subscriptions.update(self._store, self._outbox, self._shop, id, webhookSubscription)
        return {"webhookSubscription": changed and self._views.subscription(changed), "userErrors": errors}

    def webhookSubscriptionDelete(self, info: GraphQLResolveInfo, id: str) -> View:
        deleted, errors = subscriptions.delete(self._store, self._outbox, self._shop, id)
        return {"deletedWebhookSubscriptionId": deleted, "userErrors": errors}

    def _source(self, sql: str, sorts: dict[str, str], arguments: dict[str, Any]) -> Source:
        return Source(sql, [self._shop["id"]], sorts[arguments["sortKey"]], "id")


def _idempotency_key(info: GraphQLResolveInfo) -> str:
    """Raises GraphQLError when the directive is missing or its key is blank."""
    directive = info.schema.get_directive("idempotent")
    assert directive is not None
    values = get_directive_values(directive, info.field_nodes[0], info.variable_values)
    if values is None:
        raise bad_request("The @idempotent directive is required for this mutation but was not provided.")
    if not values["key"].strip():
        raise bad_request("The key of the @idempotent directive must not be blank.")
    return str(values["key"])
