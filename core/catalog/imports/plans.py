"""The forms of product files that are known by their heads, and what each column of a file is read as.

Sources: Shopify's "Using CSV files to import and export products" (the template of 2025 and the one before it) and
the older, wider template of its Transporter; WooCommerce's "Product CSV import schema"; Medusa's exports of versions
1 and 2; Spree's product import template. Currency and URL are columns of our own export in Shopify's form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from core.catalog.imports.cells import Decimals, slug
from core.catalog.imports.mapping import Mapping
from core.tables.values import UnreadableFile, normalized

Form = Literal["shopify", "woocommerce", "medusa", "spree", "mapped"]


_NUMBERS = ("price", "compare_at", "cost", "regular_price", "sale_price", "grams", "weight", "units")


class OptionColumns(NamedTuple):
    """Where an option's value stands, and where its name does: in a column (`named_in`) or, fixed, in `name`."""

    value_in: int
    named_in: int | None
    name: str = ""


class MetafieldColumn(NamedTuple):
    place: int
    key: str
    type: str
    is_of_variant: bool


@dataclass(slots=True)
class Plan:
    """What each column, by its place from 0, is read as. `columns` go by field; `unknown` are read as nothing.

    `images` hold an address each, `categories` a path each. `currencies` are those that a file has prices in, by the
    column of each, where it has several. `decimals` is what a person said, None to go by the file's numbers;
    `has_points`: a program wrote them, with points before the decimals.
    """

    form: Form
    heads: tuple[str, ...]
    columns: dict[str, int] = field(default_factory=dict)
    options: list[OptionColumns] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    categories: list[int] = field(default_factory=list)
    tags: list[int] = field(default_factory=list)
    metafields: list[MetafieldColumn] = field(default_factory=list)
    currencies: dict[str, int] = field(default_factory=dict)
    unknown: list[int] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)
    weight_unit: str = "g"
    decimals: Decimals = None
    has_points: bool = True
    list_separator: str = ","
    path_separator: str = ">"

    @property
    def makes_handles(self) -> bool:
        """Whether a product without a handle gets one of its SKU or its title: the other forms refuse it."""
        return self.form not in ("shopify", "spree")

    def numbers(self) -> list[int]:
        """The places of prices, weights and units."""
        named = (self.columns[name] for name in _NUMBERS if name in self.columns)
        return sorted({*named, *self.currencies.values()})


class NotProducts(UnreadableFile):
    """A table of something else."""


def recognised(name: str, heads: Sequence[str]) -> Form | None:
    """The form of a file by its heads; None for one of a form of its own. Raises NotProducts."""
    there = {normalized(head) for head in heads}
    if {"lineitem name", "lineitem quantity"} & there or {"financial status", "fulfillment status"} <= there:
        raise NotProducts(f"{name} is a file of orders, not of products: upload the export of the products")
    if {"accepts email marketing", "total orders"} & there:
        raise NotProducts(f"{name} is a file of customers, not of products: upload the export of the products")
    if "handle" in there and {"on hand", "available", "on hand current", "available not editable"} & there:
        raise NotProducts(f"{name} is a file of stock by location, not of products: count it in at the desk instead")
    if there & {"handle", "url handle"} and there & {"option1 name", "variant sku", "variant price", "body html"}:
        return "shopify"
    if {"type", "name"} <= there and there & {"regular price", "attribute 1 name", "tax status"}:
        return "woocommerce"
    if there & {"product handle", "product title"} and there & {"variant sku", "variant title", "variant id"}:
        return "medusa"
    if {"slug", "name"} <= there and there & {"option1 name", "track inventory", "inventory count"}:
        return "spree"
    return None


UNUSED = ""
"""A column that is known and says nothing that is kept."""

_SHOPIFY = {
    "handle": "handle", "url handle": "handle", "title": "title", "body html": "description",
    "description": "description", "vendor": "vendor", "type": "product_type", "tags": "tags",
    "published": "published", "published on online store": "published", "status": "status",
    "product category": "categories", "variant sku": "code", "sku": "code", "variant grams": "grams",
    "weight value grams": "grams", "variant weight": "weight", "variant weight unit": "weight_unit",
    "variant inventory tracker": "tracker", "inventory tracker": "tracker", "variant inventory qty": "units",
    "inventory quantity": "units", "variant price": "price", "price": "price",
    "variant compare at price": "compare_at", "compare at price": "compare_at",
    "variant requires shipping": "requires_shipping", "requires shipping": "requires_shipping",
    "variant taxable": "taxable", "charge tax": "taxable", "variant barcode": "barcode", "barcode": "barcode",
    "image src": "image", "product image url": "image", "image position": "image_position",
    "image alt text": "image_alt", "variant image": "image_url", "variant image url": "image_url",
    "seo title": "seo_title", "seo description": "seo_description", "metafields global title tag": "seo_title",
    "metafields global description tag": "seo_description", "cost per item": "cost",
    "metafield namespace": "metafield_namespace", "metafield key": "metafield_key",
    "metafield value": "metafield_value", "metafield value type": "metafield_type", "currency": "currency",
    "url": "url",
    **dict.fromkeys(
        ("variant inventory policy", "continue selling when out of stock", "variant fulfillment service",
         "fulfillment service", "gift card", "variant tax code", "tax code", "weight unit for display",
         "template suffix", "published scope", "published at", "image attachment", "standard product type",
         "custom product type", "collection", "unit price total measure", "unit price total measure unit",
         "unit price base measure", "unit price base measure unit"), UNUSED),
}  # fmt: skip
_WOOCOMMERCE = {
    "id": "product_id", "type": "type", "sku": "code", "gtin upc ean or isbn": "barcode", "name": "title",
    "published": "published", "short description": "short_description", "description": "description",
    "date sale price starts": "sale_starts", "date sale price ends": "sale_ends", "tax status": "tax_status",
    "stock": "units", "sale price": "sale_price", "regular price": "regular_price", "categories": "categories",
    "tags": "tags", "images": "images", "parent": "parent", "external url": "external_url", "brands": "vendor",
    "cost of goods": "cost",
    **dict.fromkeys(
        ("is featured", "visibility in catalog", "tax class", "in stock", "low stock amount", "backorders allowed",
         "sold individually", "allow customer reviews", "purchase note", "shipping class", "download limit",
         "download expiry days", "grouped products", "upsells", "cross sells", "button text", "position"), UNUSED),
}  # fmt: skip
_MEDUSA = {
    "product handle": "handle", "product id": "product_id", "product title": "title",
    "product description": "description", "product status": "status", "product type": "product_type",
    "product type value": "product_type", "product tags": "tags", "variant sku": "code", "variant barcode": "barcode",
    "variant ean": "ean", "variant upc": "upc", "variant inventory quantity": "units",
    "variant manage inventory": "is_tracked", "variant weight": "weight",
    **dict.fromkeys(
        ("product thumbnail", "product collection id", "product collection title", "product collection handle",
         "product type id", "product discountable", "product external id", "product is giftcard",
         "product profile name", "product profile type", "product created at", "product updated at",
         "product deleted at", "variant id", "variant title", "variant allow backorder", "variant metadata",
         "variant product id", "variant variant rank", "variant created at", "variant updated at",
         "variant deleted at", *(f"{of} {what}" for of in ("product", "variant") for what in ("length", "width",
         "height")), "product weight"), UNUSED),
}  # fmt: skip
_SPREE = {
    "slug": "handle", "sku": "code", "name": "title", "status": "status", "brand name": "vendor",
    "description": "description", "meta title": "seo_title", "meta description": "seo_description", "tags": "tags",
    "price": "price", "compare at price": "compare_at", "currency": "currency", "weight": "weight",
    "weight unit": "weight_unit", "track inventory": "is_tracked", "inventory count": "units", "digital": "digital",
    "barcode": "barcode", "cost price": "cost",
    **dict.fromkeys(
        ("seller name", "vendor name", "meta keywords", "labels", "width", "height", "depth", "dimensions unit",
         "available on", "discontinue on", "inventory backorderable", "tax category", "shipping category"), UNUSED),
}  # fmt: skip
_TABLES: Dict[str, Dict[str, str]] = {
    "shopify": _SHOPIFY,
    "woocommerce": _WOOCOMMERCE,
    "medusa": _MEDUSA,
    "spree": _SPREE,
}

KNOWN_HEADS = frozenset(head for table in _TABLES.values() for head in table)
"""For telling which separator a CSV uses."""

_OPTION = re.compile(r"(?:variant )?(?:option|attribute) ?(\d+) (name|value s|value)")
_UNUSED = re.compile(
    r"option\d+ linked to|(included|price|compare at price) (international|\S+ ?\S*)"
    r"|attribute \d+ (visible|global|default)|download \d+ (id|name|url)"
    r"|(length|width|height) (mm|cm|m|in|inches|yd|yards)"
    r"|price \w[\w ]* region \w{3}"
    r"|price .+ [a-z]{3}|sales channel \d+ (name|description|id)|product sales channel \d+"
)
_IMAGE = re.compile(r"product image \d+|image \d+ url|image\d+ src|image \d+ src")
_CATEGORY = re.compile(r"product category \d+|category ?\d+")
_TAG = re.compile(r"product tag \d+")
_MEDUSA_PRICE = re.compile(r"(?:variant )?price ([a-z]{3})")
_WOO_WEIGHT = re.compile(r"weight (kg|g|lbs?|oz)")
_SHOPIFY_METAFIELD = re.compile(r".*\((product|variant)\.metafields\.([^.()]+)\.([^()]+)\)\s*")
_TYPED_METAFIELD = re.compile(r"(Variant )?Metafield: ([^\s\[\]]+)\s*(?:\[(.+)\])?", re.IGNORECASE)
_MEDUSA_FACT = re.compile(r"(product|variant) (subtitle|material|hs code|mid code|origin country)")


def planned(form: Form, heads: Sequence[str]) -> Plan:
    """The plan of a known form."""
    plan = Plan(form, tuple(heads), path_separator="->" if form == "spree" else ">")
    names: dict[int, int] = {}
    values: dict[int, int] = {}
    for place, head in enumerate(heads):
        word = normalized(head)
        if option := _OPTION.fullmatch(word):
            (names if option.group(2) == "name" else values).setdefault(int(option.group(1)), place)
        elif word:
            _place(plan, place, head, word)
    plan.options = [OptionColumns(values[slot], names.get(slot)) for slot in sorted(values)]
    return plan


def _place(plan: Plan, place: int, head: str, word: str) -> None:
    known = _TABLES[plan.form].get(word)
    if known == UNUSED:
        return
    if known:
        if known in plan.columns:
            plan.repeated.append(place)
        plan.columns.setdefault(known, place)
    elif metafield := _metafield(plan.form, place, head, word):
        plan.metafields.append(metafield)
    elif _IMAGE.fullmatch(word):
        plan.images.append(place)
    elif _CATEGORY.fullmatch(word):
        plan.categories.append(place)
    elif _TAG.fullmatch(word):
        plan.tags.append(place)
    elif plan.form == "medusa" and (price := _MEDUSA_PRICE.fullmatch(word)):
        plan.currencies.setdefault(price.group(1).upper(), place)
    elif plan.form == "woocommerce" and (weighed := _WOO_WEIGHT.fullmatch(word)):
        plan.columns["weight"] = place
        plan.weight_unit = weighed.group(1)
    elif not _UNUSED.fullmatch(word):
        plan.unknown.append(place)


def _metafield(form: Form, place: int, head: str, word: str) -> MetafieldColumn | None:
    if form == "shopify":
        if found := _SHOPIFY_METAFIELD.fullmatch(head):
            of, namespace, key = found.groups()
            return MetafieldColumn(place, f"{namespace}.{key}", "", of == "variant")
        if found := _TYPED_METAFIELD.fullmatch(head.strip()):
            return MetafieldColumn(place, found.group(2), found.group(3) or "", bool(found.group(1)))
        if word.startswith("google shopping "):
            return MetafieldColumn(place, f"google.{word[16:].replace(' ', '_')}", "", False)
    if form == "woocommerce" and head.casefold().startswith("meta:"):
        return MetafieldColumn(place, f"meta.{head[5:].strip()}", "", False)
    if form == "medusa" and (found := _MEDUSA_FACT.fullmatch(word)):
        return MetafieldColumn(place, f"medusa.{found.group(2).replace(' ', '_')}", "", found.group(1) == "variant")
    if form == "spree" and head.startswith("custom_field."):
        return MetafieldColumn(place, head.removeprefix("custom_field."), "", False)
    return None


def planned_by(mapping: Mapping, heads: Sequence[str], *, is_text: bool) -> Plan:
    """The plan of a mapping. `is_text`: numbers are as somebody wrote them. Raises BadMapping."""
    mapping.check_heads(heads)
    places: dict[str, int] = {}
    for place, head in enumerate(heads):
        places.setdefault(normalized(head), place)

    def at(head: str) -> int:
        return places[normalized(head)]

    of_variant = "handle" in mapping.columns
    plan = Plan(
        "mapped",
        tuple(heads),
        {name: at(head) for name, head in mapping.columns.items()},
        options=[OptionColumns(at(head), None, head.strip()) for head in mapping.options],
        metafields=[
            MetafieldColumn(at(head), key if "." in key else f"custom.{slug(key) or key}", "", of_variant)
            for key, head in mapping.metafields.items()
        ],
        weight_unit=mapping.weight_unit,
        decimals=mapping.decimals,
        has_points=not is_text,
        list_separator=mapping.list_separator,
    )
    used = {*plan.columns.values(), *(o.value_in for o in plan.options), *(m.place for m in plan.metafields)}
    plan.unknown = [place for place, head in enumerate(heads) if place not in used and head.strip()]
    return plan
