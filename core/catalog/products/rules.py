"""What a product must be, what two of its states differ by, and what is left of a change that is taken back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from core.catalog.barcodes import WORD_MAX
from core.catalog.products.documents import STATUSES, ProductDocument, VariantDocument
from core.catalog.products.fields import BadField, Definition, check
from core.money import CURRENCIES

TITLE_MAX = 255
HANDLE_MAX = 255
CODE_MAX = 255
NAMED_MAX = 255
"""Of a vendor or a type: lists go by them, and an index takes no longer ones."""
TAGS_MAX = 250
IMAGES_MAX = 250
OPTIONS_MAX = 3
"""As Shopify's; a product with more is several."""
VARIANTS_MAX = 2_048
"""As Shopify's (shopify.dev, productSet)."""
DESCRIPTION_MAX = 500_000
MINOR_MAX = 10**15
GRAMS_MAX = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something that a product cannot be. `code` is that of the variant, "" for the product; `field` as documents
    name it."""

    code: str
    field: str
    sentence: str


def flaws_of(document: ProductDocument, definitions: Mapping[tuple[str, str], Definition]) -> list[Flaw]:
    """Everything wrong with a product by itself; `definitions` by owner and key. Empty: it may be kept."""
    return [*_flaws_of_product(document, definitions), *_flaws_of_variants(document, definitions)]


def _flaws_of_product(document: ProductDocument, definitions: Mapping[tuple[str, str], Definition]) -> Iterator[Flaw]:
    for field, text, most in (("title", document.title, TITLE_MAX), ("handle", document.handle, HANDLE_MAX)):
        if not text.strip():
            yield Flaw("", field, f"has no {field}: give it one")
        elif len(text) > most:
            yield Flaw("", field, f"has a {field} of {len(text)} characters; at most {most} are allowed")
        elif text != text.strip() or not text.isprintable():
            yield Flaw("", field, f"its {field} begins or ends with a space, or has characters that cannot be seen")
    for field, named in (("vendor", document.vendor), ("product_type", document.product_type)):
        if named is not None and (not named.strip() or len(named) > NAMED_MAX):
            yield Flaw("", field, f"has a {field.removeprefix('product_')} that is empty or longer than {NAMED_MAX}")
    if "/" in document.handle or any(char.isspace() for char in document.handle):
        yield Flaw("", "handle", "its handle has a space or a slash, which addresses cannot have: write - instead")
    if document.status not in STATUSES:
        yield Flaw("", "status", f"“{document.status}” is no status: it is {', '.join(STATUSES)}")
    if len(document.description) > DESCRIPTION_MAX:
        yield Flaw("", "description", f"its description is longer than {DESCRIPTION_MAX:,} characters")
    for field, count, most in (
        ("tags", len(document.tags), TAGS_MAX),
        ("images", len(document.images), IMAGES_MAX),
        ("options", len(document.options), OPTIONS_MAX),
        ("variants", len(document.variants), VARIANTS_MAX),
    ):
        if count > most:
            yield Flaw("", field, f"has {count:,} {field}; at most {most:,} are allowed")
    if len(set(document.options)) < len(document.options) or not all(map(str.strip, document.options)):
        yield Flaw("", "options", "two of its options have the same name, or one has none")
    if len(set(document.categories)) < len(document.categories):
        yield Flaw("", "categories", "names a category twice")
    for address in (*(image.url for image in document.images), document.url):
        if address is not None and not _is_address(address):
            yield Flaw("", "images", f"“{address[:80]}” is no address: write it as https://…")
    yield from _flaws_of_fields("", "product", document.metafields, document, definitions)


def _flaws_of_variants(document: ProductDocument, definitions: Mapping[tuple[str, str], Definition]) -> Iterator[Flaw]:
    if not document.variants:
        yield Flaw("", "variants", "has no variant: a product without options has one")
    for code, count in Counter(variant.code for variant in document.variants).items():
        if count > 1:
            yield Flaw(code, "code", f"{code} names {count} of its variants: each needs a code of its own")
    for values, count in Counter(variant.option_values for variant in document.variants).items():
        if count > 1:
            yield Flaw("", "option_values", f"{count} of its variants are “{' / '.join(values) or 'the only one'}”")
    for variant in document.variants:
        yield from _flaws_of_variant(document, variant)
        yield from _flaws_of_fields(variant.code, "variant", variant.metafields, document, definitions)


def _flaws_of_variant(document: ProductDocument, variant: VariantDocument) -> Iterator[Flaw]:
    code = variant.code
    if not code.strip() or code != code.strip() or len(code) > CODE_MAX or not code.isprintable():
        yield Flaw(code, "code", f"“{code[:60]}” is no SKU code: 1 to {CODE_MAX} characters that can be seen")
    if len(variant.option_values) != len(document.options) or not all(map(str.strip, variant.option_values)):
        yield Flaw(
            code,
            "option_values",
            f"has {len(variant.option_values)} option values, and the product {len(document.options)} options:"
            " give one for each",
        )
    if variant.currency not in CURRENCIES:
        yield Flaw(code, "currency", f"“{variant.currency}” is no currency that people pay with")
    for field in ("price_minor", "compare_at_minor"):
        minor = getattr(variant, field)
        if minor is not None and not 0 <= minor <= MINOR_MAX:
            yield Flaw(code, field, "its price is below nothing or beyond all measure")
    if variant.weight_grams is not None and not 0 <= variant.weight_grams <= GRAMS_MAX:
        yield Flaw(code, "weight_grams", "its weight is below nothing or beyond all measure")
    if variant.barcode is not None and len(variant.barcode) > WORD_MAX:
        yield Flaw(
            code, "barcode", f"has a barcode of {len(variant.barcode):,} characters; at most {WORD_MAX} are kept"
        )
    if variant.image_url is not None and not _is_address(variant.image_url):
        yield Flaw(code, "image_url", f"“{variant.image_url[:80]}” is no address: write it as https://…")


def _flaws_of_fields(
    code: str,
    owner: str,
    values: Mapping[str, Any],
    document: ProductDocument,
    definitions: Mapping[tuple[str, str], Definition],
) -> Iterator[Flaw]:
    currency = document.variants[0].currency if document.variants else "GBP"
    for key, value in values.items():
        definition = definitions.get((owner, key))
        if definition is None:
            yield Flaw(code, f"metafields.{key}", f"{key} is no metafield of a {owner} yet: define it first")
            continue
        try:
            check(definition.type, value, currency)
        except BadField as error:
            yield Flaw(code, f"metafields.{key}", f"{definition.name}: {error}")


def _is_address(text: str) -> bool:
    return re.fullmatch(r"https?://[^\s<>\"]+", text) is not None and len(text) <= 2_000


# --- What differs --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that two states differ by. `code` is that of the variant, "" for the product; `field` as documents
    name it, metafields by their key. Values are plain; None: there is none."""

    code: str
    field: str
    before: Any
    after: Any


_PRODUCT_FIELDS = tuple(f.name for f in fields(ProductDocument) if f.name not in ("variants", "metafields"))
_VARIANT_FIELDS = tuple(f.name for f in fields(VariantDocument) if f.name not in ("code", "metafields"))
VARIANT = "variant"
"""The field of a difference that is a whole variant, which came or went."""
ORDER = "variant_order"


def differences(before: ProductDocument | None, after: ProductDocument | None) -> list[Difference]:
    """What changed, in the order of the document's fields; [] where nothing did.

    A variant that came or went is one difference; so is another order of those that stayed.
    """
    if before is None or after is None:
        whole = after or before
        return [] if whole is None else _whole(whole, is_new=before is None)
    found = [
        Difference("", name, getattr(before, name), getattr(after, name))
        for name in _PRODUCT_FIELDS
        if getattr(before, name) != getattr(after, name)
    ]
    found += _of_fields("", before.metafields, after.metafields)
    return found + _of_variants(before.variants, after.variants)


def _whole(document: ProductDocument, *, is_new: bool) -> list[Difference]:
    def one(code: str, field: str, value: Any) -> Difference:
        return Difference(code, field, None, value) if is_new else Difference(code, field, value, None)

    found = [one("", "title", document.title)]
    return found + [one(variant.code, VARIANT, titled_values(variant)) for variant in document.variants]


def titled_values(variant: VariantDocument) -> str:
    """What tells a variant from its neighbours."""
    return " / ".join(variant.option_values) or variant.code


def _of_fields(code: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    return [
        Difference(code, f"metafields.{key}", before.get(key), after.get(key))
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]


def _of_variants(before: Sequence[VariantDocument], after: Sequence[VariantDocument]) -> list[Difference]:
    old, new = ({variant.code: variant for variant in some} for some in (before, after))
    found = [Difference(code, VARIANT, titled_values(old[code]), None) for code in old if code not in new]
    for code, variant in new.items():
        if code not in old:
            found.append(Difference(code, VARIANT, None, titled_values(variant)))
            continue
        found += [
            Difference(code, name, getattr(old[code], name), getattr(variant, name))
            for name in _VARIANT_FIELDS
            if getattr(old[code], name) != getattr(variant, name)
        ]
        found += _of_fields(code, old[code].metafields, variant.metafields)
    stayed = [code for code in old if code in new], [code for code in new if code in old]
    if stayed[0] != stayed[1]:
        found.append(Difference("", ORDER, stayed[0], stayed[1]))
    return found


# --- Taking back -----------------------------------------------------------------------------------------------------


def taken_back(before: ProductDocument, after: ProductDocument, now: ProductDocument) -> ProductDocument | None:
    """`now` without the change from `before` to `after`; None where what it changed was changed again since.

    What others changed of the product meanwhile stays. A change of the set or order of variants is taken back only
    while the variants are as it left them.
    """
    if now == after:
        return before
    kept: dict[str, Any] = {}
    for name in _PRODUCT_FIELDS:
        old, new, current = getattr(before, name), getattr(after, name), getattr(now, name)
        if old != new:
            if current != new:
                return None
            kept[name] = old
    metafields = _fields_taken_back(before.metafields, after.metafields, now.metafields)
    variants = _variants_taken_back(before, after, now)
    if metafields is None or variants is None:
        return None
    return replace(now, **kept, metafields=metafields, variants=variants)


def _fields_taken_back(
    before: Mapping[str, Any], after: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, Any] | None:
    found = dict(now)
    for key in {*before, *after}:
        if before.get(key) == after.get(key):
            continue
        if now.get(key) != after.get(key):
            return None
        if key in before:
            found[key] = before[key]
        else:
            found.pop(key, None)
    return found


def _variants_taken_back(
    before: ProductDocument, after: ProductDocument, now: ProductDocument
) -> tuple[VariantDocument, ...] | None:
    was, became, is_now = ({v.code: v for v in d.variants} for d in (before, after, now))
    if list(was) != list(became):
        return before.variants if now.variants == after.variants else None
    found = []
    for code, variant in is_now.items():
        if code not in was or was[code] == became[code]:
            found.append(variant)
            continue
        one = _variant_taken_back(was[code], became[code], variant)
        if one is None:
            return None
        found.append(one)
    changed = {code for code in was if was[code] != became[code]}
    return tuple(found) if changed <= is_now.keys() else None


def _variant_taken_back(
    before: VariantDocument, after: VariantDocument, now: VariantDocument
) -> VariantDocument | None:
    kept: dict[str, Any] = {}
    for name in _VARIANT_FIELDS:
        if getattr(before, name) != getattr(after, name):
            if getattr(now, name) != getattr(after, name):
                return None
            kept[name] = getattr(before, name)
    metafields = _fields_taken_back(before.metafields, after.metafields, now.metafields)
    return None if metafields is None else replace(now, **kept, metafields=metafields)
