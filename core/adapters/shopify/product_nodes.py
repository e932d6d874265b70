"""Products as the documents in `product_documents` ask for them, and what of them crosses our border."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator

from core.adapters.shopify import product_metafields
from core.adapters.shopify.fields import Amount, Flag, Gid, Id, Instant, OptionalAmount, OptionalText, OrEmpty
from core.adapters.shopify.nodes import Node, PageInfo
from core.money import to_minor
from core.product_ports import ShownField, ShownImage, ShownProduct, ShownStatus, ShownVariant

_GRAMS = {
    "GRAMS": Decimal(1),
    "KILOGRAMS": Decimal(1000),
    "OUNCES": Decimal("28.349523125"),
    "POUNDS": Decimal("453.59237"),
}
_STATUSES: dict[str, ShownStatus] = {"ACTIVE": "active", "UNLISTED": "active", "DRAFT": "draft", "ARCHIVED": "archived"}
# As core.catalog.products.fields has it; a key that is none is left to the channel.
_KEY = re.compile(r"[a-z0-9_-]{1,64}\.[a-z0-9_-]{1,64}")
_COST = "inventory.cost"
_DEFAULT = ("Title", "Default Title")
"""What Shopify calls the option and the value of a product without options."""

# Descriptions and metafields may be long, and are kept as they are.
Whole = Annotated[str, BeforeValidator(lambda value: "" if value is None else str(value).replace("\x00", ""))]


class Metafield(Node):
    namespace: str
    key: str
    type: str
    value: Whole


class Metafields(Node):
    page_info: PageInfo = PageInfo()
    nodes: Annotated[tuple[Metafield, ...], OrEmpty] = ()


class Picture(Node):
    url: str


class Medium(Node):
    id: str
    alt: Whole = ""
    media_content_type: str = ""
    image: Picture | None = None


class Media(Node):
    page_info: PageInfo = PageInfo()
    nodes: Annotated[tuple[Medium, ...], OrEmpty] = ()


class MediumRef(Node):
    id: Gid


class MediaRefs(Node):
    nodes: Annotated[tuple[MediumRef, ...], OrEmpty] = ()


class Weight(Node):
    value: float
    unit: str


class Measurement(Node):
    weight: Weight | None = None


class Cost(Node):
    amount: Amount
    currency_code: str


class Item(Node):
    tracked: Flag = False
    requires_shipping: Flag = False
    measurement: Measurement | None = None
    unit_cost: Cost | None = None


class Selected(Node):
    name: Whole
    value: Whole


class Variant(Node):
    legacy_resource_id: Id
    sku: OptionalText = None
    barcode: OptionalText = None
    price: Amount
    compare_at_price: OptionalAmount = None
    taxable: Flag = False
    selected_options: Annotated[tuple[Selected, ...], OrEmpty] = ()
    media: MediaRefs = MediaRefs()
    inventory_item: Item
    metafields: Metafields = Metafields()


class Variants(Node):
    page_info: PageInfo = PageInfo()
    nodes: Annotated[tuple[Variant, ...], OrEmpty] = ()


class Seo(Node):
    title: OptionalText = None
    description: OptionalText = None


class Category(Node):
    id: str


class Option(Node):
    name: Whole


class Product(Node):
    legacy_resource_id: Id
    handle: Whole
    title: Whole
    description_html: Whole = ""
    vendor: OptionalText = None
    product_type: OptionalText = None
    status: str
    tags: Annotated[tuple[Whole, ...], OrEmpty] = ()
    online_store_url: OptionalText = None
    updated_at: Instant
    seo: Seo = Seo()
    category: Category | None = None
    options: Annotated[tuple[Option, ...], OrEmpty] = ()
    media: Media = Media()
    metafields: Metafields = Metafields()
    variants: Variants

    @property
    def has_more(self) -> bool:
        """Whether a page of it does not show all that there is."""
        own = (self.media.page_info, self.metafields.page_info, self.variants.page_info)
        return any(page.has_next_page for page in (*own, *(one.metafields.page_info for one in self.variants.nodes)))


class Change(Node):
    legacy_resource_id: Id
    updated_at: Instant


def shown_of(node: Product, currency: str) -> ShownProduct:
    """A product that was read to its end."""
    options = tuple(option.name for option in node.options)
    is_plain = options == _DEFAULT[:1] and [_values(variant) for variant in node.variants.nodes] == [_DEFAULT[1:]]
    return ShownProduct(
        ref=node.legacy_resource_id,
        handle=node.handle,
        title=node.title,
        currency=currency,
        version_at=node.updated_at,
        variants=tuple(_variant(variant, currency, is_plain) for variant in node.variants.nodes),
        description=node.description_html,
        vendor=node.vendor,
        product_type=node.product_type,
        status=_STATUSES.get(node.status, "active"),
        url=node.online_store_url,
        tags=node.tags,
        options=() if is_plain else options,
        images=tuple(
            ShownImage(one.id.rpartition("/")[2], one.image.url if one.image else None, one.alt)
            for one in node.media.nodes
            if one.media_content_type == "IMAGE"
        ),
        other_media=tuple(one.id for one in node.media.nodes if one.media_content_type != "IMAGE"),
        metafields=_fields(node.metafields.nodes),
        seo_title=node.seo.title,
        seo_description=node.seo.description,
        category=node.category.id if node.category else None,
    )


def _variant(node: Variant, currency: str, is_plain: bool) -> ShownVariant:
    item = node.inventory_item
    weight = item.measurement.weight if item.measurement else None
    return ShownVariant(
        ref=node.legacy_resource_id,
        code=node.sku,
        option_values=() if is_plain else _values(node),
        barcode=node.barcode,
        price_minor=to_minor(node.price, currency),
        compare_at_minor=None if node.compare_at_price is None else to_minor(node.compare_at_price, currency),
        cost_minor=None if item.unit_cost is None else to_minor(item.unit_cost.amount, currency),
        weight_grams=_grams(weight),
        is_stocked=item.tracked,
        requires_shipping=item.requires_shipping,
        taxable=node.taxable,
        image_ref=node.media.nodes[0].id if node.media.nodes else None,
        metafields={key: field for key, field in _fields(node.metafields.nodes).items() if key != _COST},
    )


def _values(node: Variant) -> tuple[str, ...]:
    return tuple(option.value for option in node.selected_options)


def _grams(weight: Weight | None) -> int | None:
    """Whole grams; nothing at all is how Shopify says that nobody knows."""
    if weight is None or weight.value <= 0:
        return None
    grams = Decimal(str(weight.value)) * _GRAMS.get(weight.unit, Decimal(1))
    return int(grams.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def _fields(nodes: Sequence[Metafield]) -> dict[str, ShownField]:
    found: dict[str, Any] = {}
    for node in nodes:
        key = f"{node.namespace}.{node.key}"
        field = product_metafields.read(node.type, node.value) if _KEY.fullmatch(key) else None
        if field is not None:
            found[key] = field
    return found
