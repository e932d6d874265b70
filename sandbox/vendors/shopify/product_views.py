"""Products and variants as GraphQL objects."""

from collections.abc import Callable
from typing import Any

import orjson

from sandbox.store import Row
from sandbox.vendors.shopify import metafields, taxonomy
from sandbox.vendors.shopify.connections import Source
from sandbox.vendors.shopify.fulfilment_views import FulfilmentViews, View
from sandbox.vendors.shopify.product_bodies import options_of, values_of
from sandbox.vendors.shopify.shops import gid

VARIANTS = (
    "select v.*, p.title as product_title, p.status, p.vendor, p.product_type, p.options as product_options"
    " from variants v join products p on p.id = v.product_id"
)


class ProductViews(FulfilmentViews):
    """The part of a shop's objects that is about what it sells."""

    product_by_gid: Callable[[str], View | None]
    _item_of: Callable[[Row], View]
    _total_inventory: Callable[[int], int]

    def product(self, row: Row) -> View:
        product_id = row["id"]
        return {
            "__typename": "Product",
            "id": gid("Product", product_id),
            "legacyResourceId": product_id,
            "title": row["title"],
            "handle": row["handle"],
            "descriptionHtml": row["description_html"],
            "vendor": row["vendor"],
            "productType": row["product_type"],
            "status": row["status"],
            "tags": orjson.loads(row["tags"]),
            "category": taxonomy.category_of(row["category"]),
            "seo": {"title": row["seo_title"], "description": row["seo_description"]},
            "onlineStoreUrl": f"https://{self._shop['domain']}/products/{row['handle']}"
            if row["status"] == "ACTIVE"
            else None,
            "createdAt": row["created_at"],
            "updatedAt": row["updated_at"],
            "options": lambda info, first=None: self._options_of(row)[:first],
            "media": lambda info, **arguments: self._media_page("products", product_id, "", arguments),
            "variants": lambda info, **arguments: self._variants_of(product_id, arguments),
            "totalInventory": lambda info: self._total_inventory(product_id),
            "tracksInventory": lambda info: bool(
                self._store.value("select max(tracked) from variants where product_id = ?", (product_id,))
            ),
            **self._metafields("Product", product_id),
        }

    def variant(self, row: Row) -> View:
        values = values_of(row)
        names = [option["name"] for option in options_of(_product_part(row))]
        title = " / ".join(values)
        return {
            "__typename": "ProductVariant",
            "id": gid("ProductVariant", row["id"]),
            "legacyResourceId": row["id"],
            "sku": row["sku"] or None,
            "barcode": row["barcode"],
            "title": title,
            "displayName": row["product_title"]
            if row["option_values"] == "[]"
            else f"{row['product_title']} - {title}",
            "price": row["price"],
            "compareAtPrice": row["compare_at"],
            "taxable": bool(row["taxable"]),
            "selectedOptions": [{"name": name, "value": value} for name, value in zip(names, values, strict=False)],
            "position": row["position"],
            "inventoryPolicy": row["policy"],
            "createdAt": row["created_at"],
            "updatedAt": row["updated_at"],
            "media": lambda info, **arguments: self._media_page(
                "products", row["product_id"], f" and media.value ->> 'id' = {int(row['media_id'] or 0)}", arguments
            ),
            "inventoryQuantity": lambda info: self._total_inventory(row["product_id"]),
            "inventoryItem": lambda info: self._item_of(row),
            "product": lambda info: self.product_by_gid(gid("Product", row["product_id"])),
            **self._metafields("ProductVariant", row["id"]),
        }

    def measurement(self, row: Row) -> View:
        """How heavy the item of a variant is."""
        weight = {"value": float(row["weight_value"]), "unit": row["weight_unit"]}
        return {"id": gid("InventoryItemMeasurement", row["item_id"]), "weight": weight}

    def cost(self, row: Row) -> View | None:
        """What a unit of a variant costs the shop."""
        return None if row["cost"] is None else {"amount": row["cost"], "currencyCode": self._shop["currency"]}

    def metafield(self, number: int) -> View:
        row = self._store.one("select * from metafields where id = ?", (number,))
        assert row is not None
        return metafields.view(row)

    @staticmethod
    def _options_of(row: Row) -> list[View]:
        return [
            {
                "id": gid("ProductOption", option["id"]),
                "name": option["name"],
                "position": position,
                "values": [value["name"] for value in option["values"]],
                "optionValues": [
                    {"id": gid("ProductOptionValue", value["id"]), "name": value["name"], "hasVariants": True}
                    for value in option["values"]
                ],
            }
            for position, option in enumerate(options_of(row), 1)
        ]

    def _media_page(self, table: str, owner_id: int, narrowed: str, arguments: dict[str, Any]) -> View:
        """`table` and `narrowed` come from the methods above."""
        source = Source(
            "select media.key as place, media.value ->> 'id' as id, media.value ->> 'url' as url,"
            f" media.value ->> 'alt' as alt, t.created_at, t.updated_at from {table} t, json_each(t.media) media"
            f" where t.id = ?{narrowed}",
            [owner_id],
            "place",
            "place",
        )
        return self.page(source, arguments, _medium)

    def _metafields(self, owner: str, owner_id: int) -> View:
        return {
            "metafield": lambda info, key, namespace=None: self._metafield(owner, owner_id, namespace, key),
            "metafields": lambda info, **arguments: self._metafields_of(owner, owner_id, arguments),
        }

    def _metafield(self, owner: str, owner_id: int, namespace: str | None, key: str) -> View | None:
        row = metafields.find(self._store, owner, owner_id, namespace, key)
        return None if row is None else metafields.view(row)

    def _metafields_of(self, owner: str, owner_id: int, arguments: dict[str, Any]) -> View:
        source = Source("select * from metafields where owner = ? and owner_id = ?", [owner, owner_id], "id", "id")
        if arguments.get("namespace") is not None:
            source.narrow("namespace = ?", arguments["namespace"])
        if arguments.get("keys") is not None:
            marks = ", ".join("?" * len(arguments["keys"]))
            source.narrow(f"namespace || '.' || key in ({marks})", *arguments["keys"])
        return self.page(source, arguments, metafields.view)

    def _variants_of(self, product_id: int, arguments: dict[str, Any]) -> View:
        sort = "id" if arguments.get("sortKey") == "ID" else "position"
        source = Source(f"{VARIANTS} where v.product_id = ?", [product_id], sort, "id")
        return self.page(source, arguments, self.variant)


def _product_part(row: Row) -> Any:
    """What a variant's row knows of its product's options."""
    return {"id": row["product_id"], "options": row["product_options"]}


def _medium(row: Row) -> View:
    return {
        "__typename": "MediaImage",
        "id": gid("MediaImage", row["id"]),
        "alt": row["alt"],
        "mediaContentType": "IMAGE",
        "status": "READY",
        "createdAt": row["created_at"],
        "updatedAt": row["updated_at"],
        "image": {"id": gid("ImageSource", row["id"]), "url": row["url"], "altText": row["alt"]},
    }
