"""A product as one value, whole: what is edited, imported, compared, kept as a version and sent to channels.

Its JSON form is canonical: the same product has the same text, and so the same digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import orjson

Status = Literal["active", "draft", "archived"]
STATUSES: tuple[Status, ...] = ("active", "draft", "archived")


class Image(NamedTuple):
    """A picture by its address."""

    url: str
    alt: str = ""


@dataclass(frozen=True, slots=True)
class VariantDocument:
    """One thing that is sold. `code` is its SKU's and names it; money is in minor units of `currency`, weight in grams.

    `option_values` go with the product's options, one for each. Metafields are by key, each in the form of its type
    (see core.catalog.products.fields).
    """

    code: str
    currency: str
    option_values: tuple[str, ...] = ()
    barcode: str | None = None
    price_minor: int | None = None
    compare_at_minor: int | None = None
    weight_grams: int | None = None
    is_stocked: bool = True
    requires_shipping: bool = True
    taxable: bool = True
    image_url: str | None = None
    metafields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProductDocument:
    """A product with its variants in order. `categories` are ids of ours, the first is the main one."""

    handle: str
    title: str
    variants: tuple[VariantDocument, ...]
    description: str = ""
    vendor: str | None = None
    product_type: str | None = None
    status: Status = "active"
    url: str | None = None
    tags: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    categories: tuple[int, ...] = ()
    images: tuple[Image, ...] = ()
    metafields: Mapping[str, Any] = field(default_factory=dict)
    seo_title: str | None = None
    seo_description: str | None = None


_PRODUCT_PLAIN = (
    "handle",
    "title",
    "description",
    "vendor",
    "product_type",
    "status",
    "url",
    "seo_title",
    "seo_description",
)
_VARIANT_PLAIN = (
    "code",
    "currency",
    "barcode",
    "price_minor",
    "compare_at_minor",
    "weight_grams",
    "is_stocked",
    "requires_shipping",
    "taxable",
    "image_url",
)


def to_json(document: ProductDocument) -> dict[str, Any]:
    """Plain values, of which `from_json` makes the same document again."""
    found: dict[str, Any] = {name: getattr(document, name) for name in _PRODUCT_PLAIN}
    found["tags"] = list(document.tags)
    found["options"] = list(document.options)
    found["categories"] = list(document.categories)
    found["images"] = [{"url": image.url, "alt": image.alt} for image in document.images]
    found["metafields"] = dict(document.metafields)
    found["variants"] = [_variant_to_json(variant) for variant in document.variants]
    return found


def _variant_to_json(variant: VariantDocument) -> dict[str, Any]:
    found: dict[str, Any] = {name: getattr(variant, name) for name in _VARIANT_PLAIN}
    found["option_values"] = list(variant.option_values)
    found["metafields"] = dict(variant.metafields)
    return found


def from_json(found: Mapping[str, Any]) -> ProductDocument:
    """The document of its plain values; what a version from before a field existed does not have is its default."""
    return ProductDocument(
        **{name: found[name] for name in _PRODUCT_PLAIN if name in found},
        tags=tuple(found.get("tags", ())),
        options=tuple(found.get("options", ())),
        categories=tuple(found.get("categories", ())),
        images=tuple(Image(image["url"], image.get("alt", "")) for image in found.get("images", ())),
        metafields=dict(found.get("metafields", {})),
        variants=tuple(_variant_from_json(variant) for variant in found["variants"]),
    )


def _variant_from_json(found: Mapping[str, Any]) -> VariantDocument:
    return VariantDocument(
        **{name: found[name] for name in _VARIANT_PLAIN if name in found},
        option_values=tuple(found.get("option_values", ())),
        metafields=dict(found.get("metafields", {})),
    )


def digest_of(value: Any) -> str:
    """SHA-256, in hexadecimal, of the canonical text of plain values."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()


def title_of(document: ProductDocument, variant: VariantDocument) -> str:
    """What a variant is called where it stands alone: "Linen shirt – Blue / M"."""
    return titled(document.title, variant.option_values)


def titled(title: str, option_values: tuple[str, ...]) -> str:
    """The same of its parts."""
    return f"{title} – {' / '.join(option_values)}" if option_values else title
