"""What a product of a file makes of a product of ours: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from core.catalog.categories.operations import BadCategory, checked_path
from core.catalog.imports.drafts import ABSENT, Absent, ProductDraft, VariantDraft
from core.catalog.imports.problems import Problem
from core.catalog.products.documents import Image, ProductDocument, VariantDocument
from core.catalog.products.fields import COST, Definition
from core.catalog.products.rules import Flaw, flaws_of
from core.importing import metafields
from core.importing.metafields import Fields

_SHOWN_MAX = 60

FIXES: Mapping[str, str] = {
    "title": "give the product a title in the first of its rows",
    "handle": "write a handle of letters, digits and -",
    "options": "name each option once, at most three",
    "option_values": "give each variant a value for each option, and no two variants the same values",
    "variants": "split the product in several",
    "code": "give each variant a SKU of its own",
    "barcode": "write the number under the bars, of at most 64 characters",
    "currency": "import the file with the currency that its prices are in",
    "price_minor": "write the price as 12.50",
    "compare_at_minor": "write the price as 12.50",
    "weight_grams": "write the weight as a number, not below 0",
    "images": "write addresses that begin with https://",
    "image_url": "write an address that begins with https://",
    "status": "write active, draft or archived",
    "categories": "name each category once",
}
_FIX = "correct the cell, or clear it"


@dataclass(slots=True)
class Merged:
    """A product as the file wants it. `document` None where a problem is an error.

    `category_paths` None: the file says nothing of categories; `new_paths` are those of them that there are not yet.
    `defined` are metafields that there are not yet.
    """

    document: ProductDocument | None
    problems: list[Problem] = field(default_factory=list)
    category_paths: tuple[tuple[str, ...], ...] | None = None
    new_paths: tuple[tuple[str, ...], ...] = ()
    units: dict[str, int] = field(default_factory=dict)
    defined: dict[tuple[str, str], Definition] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KnownSku:
    """What is known of a SKU that belongs to no product yet: a channel or the desk brought it."""

    barcode: str | None
    is_stocked: bool


def merged(
    current: ProductDocument | None,
    draft: ProductDraft,
    fields: Fields,
    category_ids: Mapping[tuple[str, ...], int],
    currency: str,
    skus: Mapping[str, KnownSku] = MappingProxyType({}),
) -> Merged:
    """What the file tells is so afterwards, and what it does not tell stays; variants that it does not name stay too.

    A handle of ours is never changed by a file: addresses hang on it. `category_ids` are those known by path: what is
    not among them is made when the import is applied. `skus` are those of its codes that no product has: what the file
    does not tell of them stays, too.
    """
    found = Merged(None)
    if not isinstance(draft.categories, Absent):
        found.category_paths = _paths(found, draft, draft.categories)
        found.new_paths = tuple(path for path in found.category_paths if path not in category_ids)
    base = current or ProductDocument(draft.handle, "", ())
    document = replace(
        base,
        title=_title(draft.title, base.title),
        description=_text(draft.description, base.description),
        vendor=_or_none(draft.vendor, base.vendor),
        product_type=_or_none(draft.product_type, base.product_type),
        status=base.status if isinstance(draft.status, Absent) else draft.status,
        url=_or_none(draft.url, base.url),
        tags=base.tags if isinstance(draft.tags, Absent) else draft.tags,
        options=base.options if isinstance(draft.options, Absent) else draft.options,
        images=_images(draft, base),
        seo_title=_or_none(draft.seo_title, base.seo_title),
        seo_description=_or_none(draft.seo_description, base.seo_description),
        categories=_categories(found.category_paths, base, category_ids),
        metafields=metafields.read(
            *("product", draft.row, draft.metafields, base.metafields, fields, currency), found.defined, found.problems
        ),
        variants=_variants(found, draft, base, fields, skus),
    )
    known: dict[tuple[str, str], Definition] = {**fields.known, **found.defined}
    found.problems += _said(draft, flaws_of(document, known))
    if not any(problem.severity == "error" for problem in found.problems):
        found.document = document
    return found


def _paths(found: Merged, draft: ProductDraft, told: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    paths = []
    for path in told:
        try:
            paths.append(checked_path(path))
        except BadCategory as error:
            fix = "write the names from the top with > between them"
            found.problems.append(Problem(draft.row, "categories", " > ".join(path)[:_SHOWN_MAX], str(error), fix))
    return tuple(dict.fromkeys(paths))


def _title(told: str | Absent, before: str) -> str:
    return _or_none(told, before) or ""


def _text(told: str | Absent, before: str) -> str:
    return before if isinstance(told, Absent) or told.strip() == before.strip() else told.strip()


def _or_none(told: str | Absent, before: str | None) -> str | None:
    """A line as the file tells it; what differs from ours by its spaces alone is no change."""
    if isinstance(told, Absent) or (before is not None and _line(told) == _line(before)):
        return before
    return _line(told) or None


def _line(text: str) -> str:
    """One line as people see it: spaces of every kind are one space, and what cannot be seen is left out."""
    return "".join(char for char in " ".join(text.split()) if char.isprintable())


def _images(draft: ProductDraft, base: ProductDocument) -> tuple[Image, ...]:
    if isinstance(draft.images, Absent):
        return base.images
    before = {image.url: image.alt for image in base.images}
    ordered = sorted(draft.images, key=lambda image: image.position)
    return tuple(
        {
            image.url: Image(image.url, before.get(image.url, "") if isinstance(image.alt, Absent) else image.alt)
            for image in ordered
        }.values()
    )


def _categories(
    paths: Sequence[tuple[str, ...]] | None, base: ProductDocument, ids: Mapping[tuple[str, ...], int]
) -> tuple[int, ...]:
    return base.categories if paths is None else tuple(dict.fromkeys(ids[path] for path in paths if path in ids))


def _variants(
    found: Merged,
    draft: ProductDraft,
    base: ProductDocument,
    fields: Fields,
    skus: Mapping[str, KnownSku],
) -> tuple[VariantDocument, ...]:
    """Ours in their order, changed where the file tells of them; then those that are new."""
    kept = {variant.code: variant for variant in base.variants}
    has_options = draft.options is not ABSENT
    rows: dict[str, int] = {}
    for told in draft.variants:
        if told.code is None:
            found.problems.append(
                Problem(told.row, "", "", "the variant has no SKU", "give it one, or let codes be made of the handle")
            )
            continue
        if (row := rows.setdefault(told.code, told.row)) != told.row:
            shown = told.code[:_SHOWN_MAX]
            found.problems.append(Problem(told.row, "", shown, f"row {row} tells of {shown} too", FIXES["code"]))
            continue
        before = kept.get(told.code) or _of_sku(told, skus.get(told.code))
        is_ours = told.code in kept
        kept[told.code] = _variant(found, told, before, fields, has_options=has_options or not is_ours)
        if not isinstance(told.units, Absent) and told.units is not None:
            found.units[told.code] = told.units
    return tuple(kept.values())


def _of_sku(told: VariantDraft, known: KnownSku | None) -> VariantDocument:
    """A variant to begin with, of what is known of its SKU."""
    assert told.code is not None
    if known is not None:
        return VariantDocument(told.code, told.currency, barcode=known.barcode, is_stocked=known.is_stocked)
    is_stocked = True if isinstance(told.is_tracked, Absent) else told.is_tracked
    return VariantDocument(told.code, told.currency, is_stocked=is_stocked)


def _variant(
    found: Merged,
    told: VariantDraft,
    base: VariantDocument,
    fields: Fields,
    *,
    has_options: bool,
) -> VariantDocument:
    values = told.option_values if has_options else base.option_values
    is_priced = not isinstance(told.price_minor, Absent) or not isinstance(told.compare_at_minor, Absent)
    if is_priced and told.currency != base.currency:
        _refuse_half_a_change(found, told, base)
    facts = metafields.read(
        *("variant", told.row, told.metafields, base.metafields, fields, told.currency), found.defined, found.problems
    )
    is_told_apart = told.cost_minor is None and COST in told.metafields and told.metafields[COST].text.strip()
    if not isinstance(told.cost_minor, Absent) and not is_told_apart:
        facts.pop(COST, None)
        if told.cost_minor is not None:
            facts[COST] = {"amount_minor": told.cost_minor, "currency": told.currency}
    return replace(
        base,
        currency=told.currency if is_priced else base.currency,
        option_values=values,
        barcode=base.barcode if isinstance(told.barcode, Absent) else told.barcode or None,
        price_minor=_or_before(told.price_minor, base.price_minor),
        compare_at_minor=_or_before(told.compare_at_minor, base.compare_at_minor),
        weight_grams=_or_before(told.weight_grams, base.weight_grams),
        requires_shipping=base.requires_shipping
        if isinstance(told.requires_shipping, Absent)
        else told.requires_shipping,
        taxable=base.taxable if isinstance(told.taxable, Absent) else told.taxable,
        image_url=base.image_url if isinstance(told.image_url, Absent) else told.image_url or None,
        metafields=facts,
    )


def _refuse_half_a_change(found: Merged, told: VariantDraft, base: VariantDocument) -> None:
    """A price in another currency leaves no number of the old one behind."""
    for name, minor in (("price_minor", base.price_minor), ("compare_at_minor", base.compare_at_minor)):
        if minor is not None and isinstance(getattr(told, name), Absent):
            what = "price" if name == "price_minor" else "price before"
            found.problems.append(
                Problem(
                    told.row,
                    "",
                    base.code[:_SHOWN_MAX],
                    f"its {what} is in {base.currency}, and the file has prices in {told.currency} but not this one",
                    f"give the column of this price, too, or import the file with {base.currency}",
                )
            )


def _or_before(told: int | Absent | None, before: int | None) -> int | None:
    return before if isinstance(told, Absent) else told


def _said(draft: ProductDraft, flaws: Iterable[Flaw]) -> list[Problem]:
    """Flaws of the product, at the row that they come from."""
    rows = {variant.code: variant.row for variant in draft.variants if variant.code is not None}
    return [
        Problem(
            rows.get(flaw.code, draft.row),
            flaw.field.removeprefix("metafields."),
            flaw.code[:_SHOWN_MAX],
            flaw.sentence,
            FIXES.get(flaw.field, _FIX),
        )
        for flaw in flaws
    ]


def owner_of(
    draft: ProductDraft,
    by_handle: Mapping[str, int],
    by_code: Mapping[str, int | None],
    codes_of: Mapping[int, Sequence[str]],
) -> tuple[int | None, Problem | None]:
    """Which product of ours a draft is of, None for a new one; or the problem where that cannot be said.

    Codes go before handles: a code is a SKU's own name, while a handle is often made up by whoever exports. One that
    was made of a name finds nothing: two things may be called alike. `codes_of` are the SKUs of products by their ids.
    """
    named = {code: product_id for code in _codes(draft) if (product_id := by_code.get(code)) is not None}
    owners = set(named.values())
    handled = by_handle.get(draft.handle)
    if len(owners) > 1:
        codes = ", ".join(sorted(named)[:3])
        return None, Problem(
            draft.row,
            "",
            codes[:_SHOWN_MAX],
            "its SKUs are variants of different products of ours",
            "give the rows of each of those products a handle of their own",
        )
    if not owners and handled is not None and draft.handle_from:
        codes = ", ".join(codes_of.get(handled, ()))
        return None, Problem(
            draft.row,
            draft.handle_from,
            draft.handle[:_SHOWN_MAX],
            f"the handle made of it, {draft.handle}, is that of a product of ours with other SKUs ({codes})",
            "write the SKU of that product if it is the same, or add a column of handles",
        )
    if not owners:
        return handled, None
    owner = owners.pop()
    if handled is not None and handled != owner:
        code = min(named)
        return None, Problem(
            draft.row,
            "",
            code[:_SHOWN_MAX],
            f"{code} is a variant of another product than the one with the handle {draft.handle}",
            "use the handle of the product that the SKU belongs to",
        )
    return owner, None


def _codes(draft: ProductDraft) -> list[str]:
    return [variant.code for variant in draft.variants if variant.code is not None]
