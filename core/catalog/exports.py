"""Products as rows of a file, in the form of Shopify's export: what is read of it again is what was written.

Columns beside Shopify's: Currency (of the row's prices), URL, and more than one category. What Shopify's form cannot
hold as it is, a comma in a tag for one, is written so that core.catalog.imports reads it back. Pure.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from core.catalog.imports import cells
from core.catalog.products import fields
from core.catalog.products.documents import Image, ProductDocument, VariantDocument
from core.catalog.products.fields import COST, Definition
from core.catalog.products.rules import OPTIONS_MAX
from core.money import to_major

_PRODUCT = ("Handle", "Title", "Body (HTML)", "Vendor")
_AFTER_CATEGORIES = ("Type", "Tags", "Published")
_VARIANT = (
    "Variant SKU",
    "Variant Grams",
    "Variant Inventory Tracker",
    "Variant Price",
    "Variant Compare At Price",
    "Currency",
    "Variant Requires Shipping",
    "Variant Taxable",
    "Variant Barcode",
    "Image Src",
    "Image Position",
    "Image Alt Text",
    "SEO Title",
    "SEO Description",
    "URL",
    "Variant Image",
    "Variant Weight Unit",
    "Cost per item",
    "Status",
)
_NO_OPTIONS = (("Title", "Default Title"),)
"""How Shopify writes a product without options."""
_SHOWN = 60


class TooNarrow(Exception):
    """A product has more to tell than the file has columns for."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one file: how many of categories, and which metafields. Nothing of a product is left out.

    `costs_apart`: some cost is in another currency than the price beside it, and stands in a column of its own.
    """

    categories: int
    definitions: Sequence[Definition]
    costs_apart: bool

    def heads(self) -> list[str]:
        """The first row."""
        more = [f"Category {number}" for number in range(2, self.categories + 1)]
        options = [f"Option{slot} {what}" for slot in range(1, OPTIONS_MAX + 1) for what in ("Name", "Value")]
        return [
            *_PRODUCT,
            "Product Category",
            *more,
            *_AFTER_CATEGORIES,
            *options,
            *_VARIANT,
            *(f"{_named(d)} ({d.owner}.metafields.{d.key})" for d in self._columns()),
        ]

    def rows(self, product: ProductDocument, paths: Mapping[int, str]) -> Iterator[list[str]]:
        """The rows of a product: one for each variant, with the pictures beside them. `paths`: categories by id.

        Raises TooNarrow where something of it would be left out.
        """
        self._check(product)
        heads = self.heads()
        for place, (variant, image) in enumerate(zip_longest(product.variants, product.images)):
            told = {"Handle": product.handle}
            if place == 0:
                told |= self._told(product, paths)
            if image is not None:
                told |= _pictured(image, place + 1)
            if variant is not None:
                told |= self._sold(product, variant, is_first=place == 0)
            yield [told.get(head, "") for head in heads]

    def _check(self, product: ProductDocument) -> None:
        columns = {(d.owner, d.key) for d in self._columns()}
        facts = {("product", key) for key in product.metafields}
        for variant in product.variants:
            facts |= {("variant", key) for key in _apart(variant)}
        if len(product.categories) > max(self.categories, 1) or not facts <= columns:
            raise TooNarrow

    def _columns(self) -> list[Definition]:
        return [d for d in self.definitions if d.key != COST or d.owner != "variant" or self.costs_apart]

    def _told(self, product: ProductDocument, paths: Mapping[int, str]) -> dict[str, str]:
        named = [_entities(paths[number]) for number in product.categories]
        heads = ("Product Category", *(f"Category {number}" for number in range(2, self.categories + 1)))
        return {
            "Title": _entities(product.title),
            "Body (HTML)": product.description,
            "Vendor": _entities(product.vendor or ""),
            "Type": _entities(product.product_type or ""),
            "Tags": ", ".join(map(_in_list, product.tags)),
            "Published": _truth(product.status == "active"),
            "SEO Title": _entities(product.seo_title or ""),
            "SEO Description": _entities(product.seo_description or ""),
            "URL": product.url or "",
            "Status": product.status,
            **dict(zip(heads[: len(named)], named, strict=True)),
            **self._facts("product", product.metafields),
        }

    def _sold(self, product: ProductDocument, variant: VariantDocument, *, is_first: bool) -> dict[str, str]:
        options = list(zip(product.options, variant.option_values, strict=True)) or _NO_OPTIONS
        told = {f"Option{slot} Value": _entities(value) for slot, (_, value) in enumerate(options, start=1)}
        if is_first:
            told |= {f"Option{slot} Name": _entities(name) for slot, (name, _) in enumerate(options, start=1)}
        apart = _apart(variant)
        cost = None if COST in apart else variant.metafields.get(COST)
        return told | {
            "Variant SKU": _as_text(variant.code),
            "Variant Grams": "" if variant.weight_grams is None else str(variant.weight_grams),
            "Variant Inventory Tracker": "shopify" if variant.is_stocked else "",
            "Variant Price": _money(variant.price_minor, variant.currency),
            "Variant Compare At Price": _money(variant.compare_at_minor, variant.currency),
            "Currency": variant.currency,
            "Variant Requires Shipping": _truth(variant.requires_shipping),
            "Variant Taxable": _truth(variant.taxable),
            "Variant Barcode": _as_text(variant.barcode or ""),
            "Variant Image": variant.image_url or "",
            "Variant Weight Unit": "g",
            "Cost per item": _money(cost["amount_minor"], cost["currency"]) if cost is not None else "",
            **self._facts("variant", apart),
        }

    def _facts(self, owner: str, values: Mapping[str, object]) -> dict[str, str]:
        return {
            f"{_named(d)} ({d.owner}.metafields.{d.key})": fields.shown(d.type, values.get(d.key))
            for d in self._columns()
            if d.owner == owner
        }


def _apart(variant: VariantDocument) -> Mapping[str, Any]:
    """The facts of a variant that stand in columns of their own: all but a cost in the currency of its price."""
    cost = variant.metafields.get(COST)
    is_beside = cost is not None and cost["currency"] == variant.currency
    return {key: value for key, value in variant.metafields.items() if key != COST or not is_beside}


def _named(definition: Definition) -> str:
    return " ".join(definition.name.split())[:_SHOWN]


def _pictured(image: Image, position: int) -> dict[str, str]:
    return {"Image Src": image.url, "Image Position": str(position), "Image Alt Text": _entities(image.alt)}


def _money(minor: int | None, currency: str) -> str:
    return "" if minor is None else f"{to_major(minor, currency):f}"


def _truth(is_so: bool) -> str:
    return "TRUE" if is_so else "FALSE"


def _entities(text: str) -> str:
    """A name whose ampersands are written so that they are read as they are: names are read with HTML's entities."""
    return text.replace("&", "&amp;") if html.unescape(text) != text else text


def _in_list(tag: str) -> str:
    """A tag in a list that commas part: its own are escaped, and none that follows is by its last character."""
    written = _entities(tag).replace(",", "\\,")
    return f"{written} " if written.endswith("\\") else written


_NUMBER_LIKE = re.compile(r"[\d.,]+[eE]\+?\d+", re.ASCII)


def _as_text(word: str) -> str:
    """A code that a spreadsheet, or reading, would take for something else, as a text: ="1E5"."""
    return f'="{word}"' if cells.plain(word) != word or _NUMBER_LIKE.fullmatch(word) else word
