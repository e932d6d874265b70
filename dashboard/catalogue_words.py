"""Differences between two states of a product as people read them: "Price of SHIRT-M: £45.00 → £47.00"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from core.catalog.products.documents import Image, ProductDocument
from core.catalog.products.fields import BadField, Definition, shown_safely
from core.catalog.products.rules import ORDER, VARIANT, Difference, differences
from core.money import shown
from dashboard import formats

NONE = "none"
LONG = 90
"""Longer values are shown from shortly before the place where they begin to differ."""
_LEAD = 24
_LISTED = 6

LABELS: Mapping[str, str] = {
    "handle": "Handle",
    "title": "Title",
    "description": "Description",
    "vendor": "Vendor",
    "product_type": "Type",
    "status": "Status",
    "url": "Address",
    "tags": "Tags",
    "options": "Options",
    "categories": "Categories",
    "images": "Pictures",
    "seo_title": "Search title",
    "seo_description": "Search description",
    "code": "Code",
    "currency": "Currency",
    "option_values": "Option values",
    "barcode": "Barcode",
    "price_minor": "Price",
    "compare_at_minor": "Price before",
    "weight_grams": "Weight",
    "is_stocked": "Stock is counted",
    "requires_shipping": "Needs shipping",
    "taxable": "Is taxed",
    "image_url": "Picture",
    VARIANT: "Variant",
    ORDER: "Order of the variants",
    "variants": "Variants",
}
"""What people call a field of documents."""
STATUS_WORDS = {"active": "Active", "draft": "Draft", "archived": "Archived"}
ACTS = {
    "created": "Created",
    "edited": "Edited",
    "imported": "Imported",
    "undone": "Took back",
    "read": "Read from a channel",
    "removed": "Removed",
}
"""What became of a product with a version."""


@dataclass(frozen=True, slots=True)
class Names:
    """What differences speak of: the currency of each variant before and after, metafields by owner and key, and the
    paths of categories by id."""

    before: Mapping[str, str] = field(default_factory=dict)
    after: Mapping[str, str] = field(default_factory=dict)
    definitions: Mapping[tuple[str, str], Definition] = field(default_factory=dict)
    categories: Mapping[int, str] = field(default_factory=dict)


class Saying(NamedTuple):
    """One difference in words. `about` is what differs, `before` and `after` its values; None: there was none."""

    about: str
    before: str | None
    after: str | None
    sentence: str


def names_of(
    before: ProductDocument | None,
    after: ProductDocument | None,
    definitions: Mapping[tuple[str, str], Definition],
    categories: Mapping[int, str],
) -> Names:
    """The names that the differences of two states need."""
    old, new = ({} if d is None else {v.code: v.currency for v in d.variants} for d in (before, after))
    return Names(old, new, definitions, categories)


def said(
    before: ProductDocument | None,
    after: ProductDocument | None,
    definitions: Mapping[tuple[str, str], Definition],
    categories: Mapping[int, str],
) -> list[Saying]:
    """All that two states of a product differ by, in the order of the document's fields."""
    names = names_of(before, after, definitions, categories)
    return [say(difference, names) for difference in differences(before, after)]


def say(difference: Difference, names: Names) -> Saying:
    """One difference in words."""
    if difference.field == VARIANT:
        return _of_variant(difference)
    if difference.field == "title" and None in (difference.before, difference.after):
        return _of_whole(difference)
    about = about_of(difference, names)
    before, after = (
        None if value is None or value in ((), "") else _value(difference, value, currencies, names)
        for value, currencies in ((difference.before, names.before), (difference.after, names.after))
    )
    if difference.field in _LISTS:
        return Saying(about, before, after, _of_list(about, difference, names))
    before, after = _where_they_part(before, after)
    return Saying(about, before, after, f"{about}: {before or NONE} → {after or NONE}")


def sentence(difference: Difference, names: Names) -> str:
    """ "Price of SHIRT-M: £45.00 → £47.00"."""
    return say(difference, names).sentence


def about_of(difference: Difference, names: Names) -> str:
    """What differs: "Price of SHIRT-M", "Supplier id"."""
    label = label_of(difference.code, difference.field, names.definitions)
    return f"{label} of {difference.code}" if difference.code else label


def label_of(code: str, name: str, definitions: Mapping[tuple[str, str], Definition]) -> str:
    """What people call a field; `code` is that of the variant, "" for a product's."""
    if not name.startswith("metafields."):
        return LABELS.get(name, name)
    key = name.removeprefix("metafields.")
    definition = definitions.get(("variant" if code else "product", key))
    return key if definition is None else definition.name


def status(name: str) -> str:
    """Active, for active."""
    return STATUS_WORDS.get(name, name)


def _of_variant(difference: Difference) -> Saying:
    code = difference.code
    named = {None: None, code: code}
    before, after = (named.get(value, f"{code} ({value})") for value in (difference.before, difference.after))
    told = f"New variant: {after}" if before is None else f"Variant taken out: {before}"
    return Saying(f"Variant {code}", before, after, told)


def _of_whole(difference: Difference) -> Saying:
    before, after = difference.before, difference.after
    told = f"New product: {after}" if before is None else f"Product removed: {before}"
    return Saying("Product", before, after, told)


# --- Values ----------------------------------------------------------------------------------------------------------


def _value(difference: Difference, value: Any, currencies: Mapping[str, str], names: Names) -> str:
    name = difference.field
    if name in ("price_minor", "compare_at_minor"):
        return shown(value, currencies.get(difference.code, "GBP"))
    if name == "weight_grams":
        return f"{formats.count(value)} g"
    if name == "status":
        return status(value)
    if name.startswith("metafields."):
        return _field(difference, value, names)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "option_values":
        return " / ".join(value)
    if name in _LISTS:
        return _listed(_LISTS[name](value, names))
    return " ".join(str(value).split())


def _field(difference: Difference, value: Any, names: Names) -> str:
    owner = "variant" if difference.code else "product"
    definition = names.definitions.get((owner, difference.field.removeprefix("metafields.")))
    if definition is None:
        return str(value)
    return field_shown(definition.type, value)


def field_shown(type_: str, value: Any) -> str:
    """A metafield's value as people read it; what is not of its type's form is shown as it is."""
    try:
        if type_ == "money":
            return shown(value["amount_minor"], value["currency"])
        if type_ == "boolean":
            return "yes" if value else "no"
        if type_ == "list":
            return ", ".join(value)
        return shown_safely(type_, value)
    except (BadField, KeyError, TypeError):
        return str(value)


def _listed(parts: Sequence[str]) -> str:
    more = f" and {len(parts) - _LISTED} more" if len(parts) > _LISTED else ""
    return ", ".join(parts[:_LISTED]) + more


def _categories(value: Sequence[int], names: Names) -> list[str]:
    return [names.categories.get(number, f"category {number}, removed since") for number in value]


def _images(value: Sequence[Image], _names: Names) -> list[str]:
    return [f"{file_of(image.url)} “{image.alt}”" if image.alt else file_of(image.url) for image in value]


def file_of(url: str) -> str:
    """The file's name at the end of an address, which tells pictures apart; the address where there is none."""
    return url.partition("?")[0].rstrip("/").rpartition("/")[2] or url


def _texts(value: Sequence[str], _names: Names) -> list[str]:
    return list(value)


_LISTS: Mapping[str, Callable[[Any, Names], list[str]]] = {
    "tags": _texts,
    "options": _texts,
    ORDER: _texts,
    "categories": _categories,
    "images": _images,
}


def _of_list(about: str, difference: Difference, names: Names) -> str:
    """ "Tags: summer, linen added; winter taken out"."""
    old, new = (_LISTS[difference.field](value or (), names) for value in (difference.before, difference.after))
    added, gone = [part for part in new if part not in old], [part for part in old if part not in new]
    told = [f"{_listed(added)} added"] if added else []
    told += [f"{_listed(gone)} taken out"] if gone else []
    return f"{about}: {'; '.join(told)}" if told else f"{about}: now in the order {_listed(new)}"


def _where_they_part(before: str | None, after: str | None) -> tuple[str | None, str | None]:
    """Both from shortly before the place where they begin to differ, at most LONG characters."""
    if before is None or after is None or max(len(before), len(after)) <= LONG:
        return _short(before), _short(after)
    pairs = enumerate(zip(before, after, strict=False))
    same = next((place for place, (old, new) in pairs if old != new), min(len(before), len(after)))
    # At the beginning of a word, so that both read well; not far back, so that the difference is seen.
    begin = max(same - _LEAD, 0)
    begin = before.rfind(" ", max(begin - _LEAD, 0), begin) + 1 or begin
    lead = "…" if begin else ""
    return (_short(lead + before[begin:]), _short(lead + after[begin:]))


def _short(text: str | None) -> str | None:
    return None if text is None else formats.shortened(text, LONG)
