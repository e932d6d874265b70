"""The entry points of the schema for mutations of products, variants and metafields."""

# graphql-core finds a resolver by the vendor's own name for the field and calls it with the vendor's argument names.
# ruff: noqa: A002, N802, N803

from typing import Any

from graphql import GraphQLResolveInfo

from sandbox.outbox import Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify import product_set, variant_lists
from sandbox.vendors.shopify.connections import bad_request
from sandbox.vendors.shopify.metafields import delete_many, set_many
from sandbox.vendors.shopify.product_bodies import announce_all
from sandbox.vendors.shopify.scopes import check
from sandbox.vendors.shopify.shops import gid
from sandbox.vendors.shopify.views import View, Views

Given = dict[str, Any]


class ProductMutations:
    """The part of the root value that writes what the shop sells."""

    _store: Store
    _outbox: Outbox
    _shop: Row
    _views: Views

    def productSet(
        self, info: GraphQLResolveInfo, input: Given, identifier: Given | None = None, synchronous: bool | None = True
    ) -> View:
        check(self._shop, "productSet", "write_products")
        if not synchronous:
            raise bad_request("This sandbox sets products synchronously only.")
        made, errors = product_set.put(self._store, self._outbox, self._shop, identifier, input)
        product = None if made is None else self._views.product_by_gid(gid("Product", made))
        return {"product": product, "userErrors": errors}

    def productVariantsBulkCreate(
        self, info: GraphQLResolveInfo, productId: str, variants: list[Given], strategy: str = "DEFAULT"
    ) -> View:
        check(self._shop, "productVariantsBulkCreate", "write_products")
        made, errors = variant_lists.create(self._store, self._outbox, self._shop, productId, variants, strategy)
        if errors:
            return {"product": None, "productVariants": None, "userErrors": errors}
        found = [self._views.variant_by_gid(gid("ProductVariant", number)) for number in made]
        return {"product": self._views.product_by_gid(productId), "productVariants": found, "userErrors": []}

    def productVariantsBulkDelete(self, info: GraphQLResolveInfo, productId: str, variantsIds: list[str]) -> View:
        check(self._shop, "productVariantsBulkDelete", "write_products")
        errors = variant_lists.delete(self._store, self._outbox, self._shop, productId, variantsIds)
        return {"product": None if errors else self._views.product_by_gid(productId), "userErrors": errors}

    def productVariantsBulkReorder(self, info: GraphQLResolveInfo, productId: str, positions: list[Given]) -> View:
        check(self._shop, "productVariantsBulkReorder", "write_products")
        errors = variant_lists.reorder(self._store, self._outbox, self._shop, productId, positions)
        return {"product": None if errors else self._views.product_by_gid(productId), "userErrors": errors}

    def productVariantsBulkUpdate(
        self, info: GraphQLResolveInfo, productId: str, variants: list[Given], allowPartialUpdates: bool | None = False
    ) -> View:
        check(self._shop, "productVariantsBulkUpdate", "write_products")
        if allowPartialUpdates:
            raise bad_request("This sandbox changes all variants of a call or none.")
        made, errors = product_set.change_variants(self._store, self._outbox, self._shop, productId, variants)
        if errors:
            return {"product": None, "productVariants": None, "userErrors": errors}
        changed = [self._views.variant_by_gid(gid("ProductVariant", number)) for number in made]
        return {"product": self._views.product_by_gid(productId), "productVariants": changed, "userErrors": []}

    def metafieldsSet(self, info: GraphQLResolveInfo, metafields: list[Given]) -> View:
        check(self._shop, "metafieldsSet", "write_products")
        with self._store.transaction():
            made, products, errors = set_many(self._store, self._shop, metafields)
            announce_all(self._store, self._outbox, self._shop, products)
        found = None if errors else [self._views.metafield(number) for number in made]
        return {"metafields": found, "userErrors": errors}

    def metafieldsDelete(self, info: GraphQLResolveInfo, metafields: list[Given]) -> View:
        check(self._shop, "metafieldsDelete", "write_products")
        with self._store.transaction():
            deleted, products, errors = delete_many(self._store, self._shop, metafields)
            announce_all(self._store, self._outbox, self._shop, products)
        return {"deletedMetafields": None if errors else deleted, "userErrors": errors}
