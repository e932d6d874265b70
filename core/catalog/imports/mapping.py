"""Which column of a file of one's own is which of our fields: a value that is kept as JSON and used again."""

from __future__ import annotations

import json
from collections.abc import Mapping as Dict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from core.catalog.imports.cells import Decimals
from core.errors import BadInput
from core.tables.values import normalized

WeightUnit = Literal["g", "kg", "lb", "oz"]

FIELDS: Dict[str, tuple[str, ...]] = {
    "handle": ("handle", "url handle", "slug", "product handle", "product id", "parent sku", "parent code", "style"),
    "title": ("title", "name", "product name", "product title", "product", "item name", "bezeichnung", "artikel"),
    "description": ("description", "body html", "long description", "text", "beschreibung", "details"),
    "vendor": ("vendor", "brand", "manufacturer", "maker", "brand name", "hersteller", "marke"),
    "product_type": ("product type", "type", "produkttyp"),
    "status": ("status", "product status"),
    "published": ("published", "is published", "active", "visible"),
    "tags": ("tags", "labels", "keywords", "product tags"),
    "categories": ("categories", "category", "product category", "category path", "kategorie"),
    "images": ("images", "image", "image url", "image src", "picture", "image link", "photo", "bild"),
    "url": ("url", "link", "product url", "product link"),
    "seo_title": ("seo title", "meta title", "page title"),
    "seo_description": ("seo description", "meta description"),
    "code": ("sku", "code", "sku code", "item number", "article number", "item code", "part number", "variant sku",
             "artikelnummer", "seller sku", "product code"),
    "barcode": ("barcode", "ean", "upc", "gtin", "isbn", "ean13", "ean code", "variant barcode", "bar code"),
    "price": ("price", "unit price", "sale price", "retail price", "preis", "rrp", "variant price", "selling price"),
    "compare_at": ("compare at price", "compare price", "list price", "was price", "msrp", "uvp", "regular price"),
    "cost": ("cost", "cost per item", "cost price", "purchase price", "unit cost", "ek", "einkaufspreis"),
    "weight": ("weight", "weight g", "weight kg", "grams", "weight lb", "weight lbs", "weight oz", "gewicht",
               "gewicht kg", "variant grams"),
    "weight_unit": ("weight unit", "variant weight unit", "unit of weight"),
    "units": ("stock", "quantity", "qty", "units", "on hand", "inventory", "stock quantity", "available", "bestand",
              "inventory quantity", "menge"),
    "is_tracked": ("track inventory", "tracked", "manage stock", "is tracked"),
    "requires_shipping": ("requires shipping", "shipping required", "physical"),
    "taxable": ("taxable", "charge tax", "is taxable"),
    "image_url": ("variant image", "variant image url"),
    "currency": ("currency", "currency code"),
}  # fmt: skip
"""Our fields, each with the heads, normalized, that usually mean it; the likeliest first."""

_OPTIONS = ("size", "color", "colour", "material", "style", "größe", "groesse", "farbe")


class BadMapping(BadInput):
    """A mapping that names a field or a column that is not there."""


@dataclass(frozen=True, slots=True)
class Mapping:
    """By our field, the head of its column. `options` are heads whose cells are values of the option of that name.

    `metafields` go by key (namespace.key). `decimals` is the decimal separator where numbers could be read in two ways,
    None to go by those that cannot; `weight_unit` counts where a weight names none. Lists in a cell (tags, images) are
    parted by `list_separator`.
    """

    columns: Dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    metafields: Dict[str, str] = field(default_factory=dict)
    weight_unit: WeightUnit = "g"
    decimals: Decimals = None
    list_separator: str = ","

    def to_json(self) -> str:
        return json.dumps(
            {
                "columns": dict(self.columns),
                "options": list(self.options),
                "metafields": dict(self.metafields),
                "weight_unit": self.weight_unit,
                "decimals": self.decimals,
                "list_separator": self.list_separator,
            },
            ensure_ascii=False,
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, text: str) -> Mapping:
        """Raises BadMapping where it is none."""
        try:
            told = json.loads(text)
        except ValueError:
            raise BadMapping("the mapping is no JSON: choose the columns again") from None
        if not isinstance(told, dict):
            raise BadMapping("the mapping is no JSON object: choose the columns again")
        mapping = cls(
            columns=_words(told, "columns"),
            options=_heads(told),
            metafields=_words(told, "metafields"),
            weight_unit=cast(WeightUnit, told.get("weight_unit") or "g"),
            decimals=cast(Decimals, told.get("decimals")),
            list_separator=str(told.get("list_separator") or ","),
        )
        mapping.check()
        return mapping

    def check(self) -> None:
        """Raises BadMapping where a field, a unit or a separator is none of ours."""
        for name in self.columns:
            if name not in FIELDS:
                raise BadMapping(f"the mapping names “{name}”, which is no field: there are {', '.join(FIELDS)}")
        if self.weight_unit not in get_args(WeightUnit):
            raise BadMapping(f"the mapping names “{self.weight_unit}” as unit of weight: use g, kg, lb or oz")
        if self.decimals not in (None, ".", ","):
            raise BadMapping(f"the mapping names “{self.decimals}” as decimal separator: use . or ,")

    def check_heads(self, heads: Sequence[str]) -> None:
        """Raises BadMapping where the file lacks a column that is named."""
        self.check()
        there = {normalized(head) for head in heads}
        for head in (*self.columns.values(), *self.options, *self.metafields.values()):
            if normalized(head) not in there:
                raise BadMapping(f"the file has no column “{head}”: choose the columns again")
        if not {"code", "barcode", "title", "handle"} & set(self.columns):
            raise BadMapping("no column names the products: choose the column of the SKU, the barcode or the title")


def _words(told: Dict[str, Any], key: str) -> dict[str, str]:
    found = told.get(key) or {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise BadMapping(f"“{key}” of the mapping is no list of columns: choose the columns again")
    return dict(found)


def _heads(told: Dict[str, Any]) -> tuple[str, ...]:
    found = told.get("options") or []
    if not isinstance(found, list) or not all(isinstance(head, str) for head in found):
        raise BadMapping("“options” of the mapping is no list of columns: choose the columns again")
    return tuple(found)


def suggested(heads: Sequence[str]) -> Mapping:
    """The mapping that the heads make likely; what is not sure is left to a person."""
    by_head: dict[str, str] = {}
    for head in heads:
        by_head.setdefault(normalized(head), head)
    columns: dict[str, str] = {}
    for name, aliases in FIELDS.items():
        found = next((alias for alias in aliases if alias in by_head), None)
        if found and by_head[found] not in columns.values():
            columns[name] = by_head[found]
    options = tuple(by_head[name] for name in _OPTIONS if name in by_head and by_head[name] not in columns.values())
    unit = next(
        (word for word in ("kg", "lb", "lbs", "oz") if columns.get("weight", "").casefold().find(word) > 0), "g"
    )
    # Options part a product's variants: without a column that holds them together they are facts of each.
    return Mapping(
        columns=columns,
        options=options if "handle" in columns else (),
        weight_unit=cast(WeightUnit, unit),
    )
