"""What webhooks say of products: REST-shaped, as the vendor delivers them."""

from collections.abc import Iterable
from typing import Any

import orjson

from sandbox.clock import utc_now, with_offset
from sandbox.outbox import Act, Outbox
from sandbox.store import Row, Store
from sandbox.vendors.shopify.shops import gid

Body = dict[str, Any]
DEFAULT_OPTION, DEFAULT_VALUE = "Title", "Default Title"


def options_of(product: Row) -> list[Body]:
    """The options of a product in order; one without any has the vendor's default one."""
    found: list[Body] = orjson.loads(product["options"])
    return found or [
        {
            "id": product["id"] + 1_000_000,
            "name": DEFAULT_OPTION,
            "values": [{"id": product["id"], "name": DEFAULT_VALUE}],
        }
    ]


def values_of(variant: Row) -> list[str]:
    found: list[str] = orjson.loads(variant["option_values"])
    return found or [DEFAULT_VALUE]


def media_of(product: Row) -> list[Body]:
    """The pictures of a product in order: id, url, alt."""
    found: list[Body] = orjson.loads(product["media"])
    return found


def announce(store: Store, outbox: Outbox, shop: Row, act: Act, product_id: int, is_new: bool = False) -> None:
    """A product changed: its date moves, and whoever listens is told."""
    store.run("update products set updated_at = ? where id = ?", (utc_now(store), product_id))
    for topic in ("products/create", "products/update") if is_new else ("products/update",):
        outbox.tell(shop, act, topic, lambda: product_body(store, shop, product_id))


def announce_all(store: Store, outbox: Outbox, shop: Row, products: Iterable[int]) -> None:
    act = outbox.act()
    for product_id in sorted(products):
        announce(store, outbox, shop, act, product_id)


def product_body(store: Store, shop: Row, product_id: int) -> Body:
    product = store.one("select * from products where id = ?", (product_id,))
    assert product is not None
    zone = shop["timezone"]
    variants = store.all(
        "select v.*, (select sum(available) from levels l where l.item_id = v.item_id) as available"
        " from variants v where product_id = ? order by position, id",
        (product_id,),
    )
    rendered = [_variant(row, position, zone) for position, row in enumerate(variants, 1)]
    images = [_image(product, place, zone) for place in range(len(media_of(product)))]
    options = [
        {
            "id": option["id"],
            "name": option["name"],
            "product_id": product_id,
            "position": position,
            "values": [value["name"] for value in option["values"]],
        }
        for position, option in enumerate(options_of(product), 1)
    ]
    return {
        "admin_graphql_api_id": gid("Product", product_id),
        "body_html": product["description_html"],
        "created_at": with_offset(product["created_at"], zone),
        "handle": product["handle"],
        "id": product_id,
        "product_type": product["product_type"],
        "published_at": with_offset(product["created_at"], zone),
        "template_suffix": None,
        "title": product["title"],
        "updated_at": with_offset(product["updated_at"], zone),
        "vendor": product["vendor"],
        "status": product["status"].lower(),
        "published_scope": "web",
        "tags": ", ".join(orjson.loads(product["tags"])),
        "variants": rendered,
        "options": options,
        "images": images,
        "image": images[0] if images else None,
        "media": [
            {
                "id": medium["id"],
                "position": position,
                "product_id": product_id,
                "alt": medium["alt"],
                "status": "READY",
                "media_content_type": "IMAGE",
                "admin_graphql_api_id": gid("MediaImage", medium["id"]),
            }
            for position, medium in enumerate(media_of(product), 1)
        ],
        "variant_gids": [
            {"admin_graphql_api_id": variant["admin_graphql_api_id"], "updated_at": variant["updated_at"]}
            for variant in rendered
        ],
        "has_variants_that_requires_components": False,
    }


def _image(product: Row, place: int, zone: str) -> Body:
    medium = media_of(product)[place]
    return {
        "id": medium["id"],
        "alt": medium["alt"],
        "position": place + 1,
        "product_id": product["id"],
        "created_at": with_offset(product["created_at"], zone),
        "updated_at": with_offset(product["updated_at"], zone),
        "admin_graphql_api_id": gid("ProductImage", medium["id"]),
        "width": 800,
        "height": 800,
        "src": medium["url"],
        "variant_ids": [],
    }


def _variant(row: Row, position: int, zone: str) -> Body:
    values = [*values_of(row), None, None, None][:3]
    return {
        "admin_graphql_api_id": gid("ProductVariant", row["id"]),
        "barcode": row["barcode"],
        "compare_at_price": row["compare_at"],
        "created_at": with_offset(row["created_at"], zone),
        "id": row["id"],
        "inventory_policy": row["policy"].lower(),
        "position": position,
        "price": row["price"],
        "product_id": row["product_id"],
        "sku": row["sku"] or None,
        "taxable": bool(row["taxable"]),
        "title": " / ".join(values_of(row)),
        "updated_at": with_offset(row["updated_at"], zone),
        "option1": values[0],
        "option2": values[1],
        "option3": values[2],
        "image_id": row["media_id"],
        "inventory_item_id": row["item_id"],
        "inventory_quantity": row["available"] or 0,
        "old_inventory_quantity": row["available"] or 0,
    }
