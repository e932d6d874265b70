"""A product as somebody types it, and back: prices as 12.50, weights as 250 g or 1.2 kg, metafields by their types.

What cannot be read is told by its field, all of it at once; nothing that was typed is changed or lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from core.catalog.products.documents import Image, ProductDocument, Status, VariantDocument
from core.catalog.products.fields import BadField, Definition, parsed, shown_safely
from core.catalog.products.rules import OPTIONS_MAX, Flaw, flaws_of
from core.money import exponent, to_major
from dashboard import catalogue_words

Definitions = Mapping[tuple[str, str], Definition]
Cells = Mapping[str, Any]

CODE, CURRENCY, BARCODE, PRICE, BEFORE, WEIGHT = "code", "currency", "barcode", "price", "before", "weight"
STOCKED, SHIPPED, TAXED, PICTURE = "is_stocked", "requires_shipping", "taxable", "image_url"
OPTION = "option_"
FIELD = "metafields."
_FLAGS = (STOCKED, SHIPPED, TAXED)


@dataclass(frozen=True, slots=True)
class Typed:
    """All that the form holds. `variants` are rows by column: the columns of `columns`, each a text or a flag."""

    texts: Mapping[str, str]
    status: str
    tags: tuple[str, ...]
    categories: tuple[int, ...]
    options: tuple[str, ...]
    images: tuple[tuple[str, str], ...]
    metafields: Mapping[str, str]
    variants: tuple[Cells, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """The document that was typed, or None and what is wrong with it, in order of the form."""

    document: ProductDocument | None
    flaws: tuple[Flaw, ...] = ()


@dataclass(slots=True)
class _Reader:
    """What is found wrong on the way."""

    currency: str
    definitions: Definitions
    flaws: list[Flaw] = field(default_factory=list)

    def say(self, code: str, name: str, sentence: str) -> None:
        self.flaws.append(Flaw(code, name, sentence))


TEXTS = ("title", "handle", "description", "vendor", "product_type", "url", "seo_title", "seo_description")
_REQUIRED = ("title", "handle", "description")


# --- As it is typed --------------------------------------------------------------------------------------------------


def columns(definitions: Definitions) -> tuple[str, ...]:
    """The columns of the variants' rows."""
    options = tuple(f"{OPTION}{number}" for number in range(1, OPTIONS_MAX + 1))
    fields = tuple(f"{FIELD}{key}" for owner, key in definitions if owner == "variant")
    return (CODE, *options, PRICE, BEFORE, BARCODE, WEIGHT, *_FLAGS, CURRENCY, PICTURE, *fields)


def typed(document: ProductDocument, definitions: Definitions) -> Typed:
    """A document as one would type it; `read` makes the same of it again."""
    return Typed(
        {name: getattr(document, name) or "" for name in TEXTS},
        document.status,
        document.tags,
        document.categories,
        document.options,
        tuple((image.url, image.alt) for image in document.images),
        {
            key: _shown(definition, document.metafields.get(key))
            for (owner, key), definition in definitions.items()
            if owner == "product"
        },
        tuple(_cells(variant, definitions) for variant in document.variants),
    )


def _cells(variant: VariantDocument, definitions: Definitions) -> dict[str, Any]:
    cells: dict[str, Any] = dict.fromkeys(columns(definitions), "")
    cells |= {
        CODE: variant.code,
        CURRENCY: variant.currency,
        BARCODE: variant.barcode or "",
        PRICE: amount(variant.price_minor, variant.currency),
        BEFORE: amount(variant.compare_at_minor, variant.currency),
        WEIGHT: "" if variant.weight_grams is None else str(variant.weight_grams),
        PICTURE: variant.image_url or "",
        **{name: getattr(variant, name) for name in _FLAGS},
    }
    cells |= {f"{OPTION}{place}": value for place, value in enumerate(variant.option_values[:OPTIONS_MAX], start=1)}
    cells |= {
        f"{FIELD}{key}": _shown(definition, variant.metafields.get(key))
        for (owner, key), definition in definitions.items()
        if owner == "variant"
    }
    return cells


def _shown(definition: Definition, value: Any) -> str:
    return "" if value is None else shown_safely(definition.type, value)


def amount(minor: int | None, currency: str) -> str:
    """12.50, of 1250; without the currency, which has a column of its own."""
    return "" if minor is None else str(to_major(minor, currency))


def empty(currency: str, sku: Mapping[str, Any]) -> ProductDocument:
    """What a new product begins as; `sku` is a row of the one that it is made of, {}: of none."""
    title = sku.get("title", "")
    variant = VariantDocument(
        sku.get("code", ""), currency, barcode=sku.get("barcode"), is_stocked=sku.get("is_stocked", True)
    )
    return ProductDocument(handle_of(title), title, (variant,))


def handle_of(title: str) -> str:
    """An address's part, of a title: linen-shirt, of "Linen shirt!"."""
    return "-".join(re.findall(r"\w+", title.casefold()))[:100]


# --- As it is meant --------------------------------------------------------------------------------------------------


def read(given: Typed, base: ProductDocument, definitions: Definitions, currency: str) -> Read:
    """The document that was typed over `base`: what the form does not show stays. `currency` is the shop's."""
    reader = _Reader(currency, definitions)
    texts: dict[str, Any] = {name: given.texts[name].strip() for name in TEXTS}
    texts |= {name: texts[name] or None for name in TEXTS if name not in _REQUIRED}
    if not texts["handle"]:
        texts["handle"] = handle_of(texts["title"])
    options = tuple(name.strip() for name in given.options if name.strip())
    status: Status = given.status  # type: ignore[assignment]  # flaws_of says where it is none
    document = ProductDocument(
        **texts,
        status=status,
        tags=tuple(dict.fromkeys(tag.strip() for tag in given.tags if tag.strip())),
        categories=given.categories,
        options=options,
        images=tuple(Image(url.strip(), alt.strip()) for url, alt in given.images if url.strip() or alt.strip()),
        metafields=_fields(reader, "", "product", given.metafields, base.metafields, currency),
        variants=_variants(reader, given.variants, base, len(options)),
    )
    found = [*reader.flaws, *flaws_of(document, definitions)]
    return Read(None if found else document, tuple(dict.fromkeys(found)))


def _variants(
    reader: _Reader, rows: Sequence[Cells], base: ProductDocument, options: int
) -> tuple[VariantDocument, ...]:
    known = {variant.code: variant for variant in base.variants}
    found = []
    for number, row in enumerate(rows, start=1):
        if not any(_text(row, name) for name in row if name not in (*_FLAGS, CURRENCY)):
            continue
        code = _text(row, CODE)
        if not code:
            reader.say("", CODE, f"row {number} of the variants has no code: give it one")
            continue
        found.append(_variant(reader, row, known.get(code), options))
    return tuple(found)


def _variant(reader: _Reader, row: Cells, known: VariantDocument | None, options: int) -> VariantDocument:
    before, is_known = known or VariantDocument(_text(row, CODE), reader.currency), known is not None
    code, currency = before.code, _text(row, CURRENCY).upper() or before.currency
    values = [_text(row, f"{OPTION}{place}") for place in range(1, OPTIONS_MAX + 1)]
    for value in values[options:]:
        if value:
            reader.say(code, "option_values", f"“{value}” belongs to an option without a name: name it, or empty it")
    if row.get(STOCKED) is not None and bool(row[STOCKED]) != before.is_stocked and is_known:
        reader.say(code, STOCKED, "whether its stock is counted was decided where it first appeared, and stays so")
    flags: dict[str, Any] = {name: bool(row[name]) for name in _FLAGS if row.get(name) is not None}
    return replace(
        before,
        currency=currency,
        option_values=tuple(values[:options]),
        barcode=_text(row, BARCODE) or None,
        price_minor=_minor(reader, code, "price_minor", _text(row, PRICE), currency),
        compare_at_minor=_minor(reader, code, "compare_at_minor", _text(row, BEFORE), currency),
        weight_grams=_grams(reader, code, _text(row, WEIGHT)),
        image_url=_text(row, PICTURE) or None,
        metafields=_fields(
            reader,
            code,
            "variant",
            {name.removeprefix(FIELD): _text(row, name) for name in row if name.startswith(FIELD)},
            before.metafields,
            currency,
        ),
        **flags,
    )


def _text(row: Cells, name: str) -> str:
    value = row.get(name)
    # An empty cell of a table is None, or not a number.
    return "" if value is None or value != value else str(value).strip()


def _minor(reader: _Reader, code: str, name: str, text: str, currency: str) -> int | None:
    if not text:
        return None
    label = catalogue_words.LABELS[name].lower()
    if not re.fullmatch(r"\d{1,16}(\.\d+)?", text):
        reader.say(code, name, f"“{text}” is no {label}: write it as 12.50, without the currency and with a point")
        return None
    scaled = Decimal(text).scaleb(exponent(currency))
    if scaled != scaled.to_integral_value():
        reader.say(code, name, f"its {label} {text} is finer than {currency} is counted: {exponent(currency)} decimals")
        return None
    return int(scaled)


_WEIGHT = re.compile(r"(\d{1,10}(?:\.\d+)?)\s*(g|kg)?", re.IGNORECASE)


def _grams(reader: _Reader, code: str, text: str) -> int | None:
    if not text:
        return None
    found = _WEIGHT.fullmatch(text)
    grams = Decimal(found[1]) * (1000 if (found[2] or "").lower() == "kg" else 1) if found else None
    if grams is None or grams != grams.to_integral_value():
        reader.say(code, "weight_grams", f"“{text}” is no weight in whole grams: write it as 250 or 1.2 kg")
        return None
    return int(grams)


def _fields(
    reader: _Reader, code: str, owner: str, given: Mapping[str, str], before: Mapping[str, Any], currency: str
) -> dict[str, Any]:
    found = dict(before)
    for key, text in given.items():
        definition = reader.definitions.get((owner, key))
        if definition is None:
            continue
        try:
            value = parsed(definition.type, text, currency)
        except BadField as error:
            reader.say(code, f"{FIELD}{key}", f"{definition.name}: {error}")
            continue
        if value is None:
            found.pop(key, None)
        else:
            found[key] = value
    return found
