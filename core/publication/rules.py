"""Who is master of a field, and what follows: what a product should be here, and what it should show there.

Pure. Both sides are compared whole: `taken` is our product with what the channel is master of as the channel shows it,
`wanted` the channel's with what we are master of as it is here. What nobody is master of is left alone on both sides.
Quantities are no part of it: `core.inventory` keeps them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, get_args

from core.catalog.products.documents import Image, ProductDocument, VariantDocument, digest_of
from core.catalog.products.fields import COST, KEY, BadField, Owner, check
from core.errors import BadInput
from core.product_ports import ShownField, ShownImage, ShownProduct, ShownVariant

Master = Literal["ours", "channel", "nobody"]
MASTERS: tuple[Master, ...] = get_args(Master)

_PLAIN = ("title", "handle", "description", "vendor", "product_type", "status", "seo_title", "seo_description")
_OF_VARIANT = {
    "barcode": "barcode",
    "price": "price_minor",
    "compare_at": "compare_at_minor",
    "weight": "weight_grams",
    "requires_shipping": "requires_shipping",
    "taxable": "taxable",
}
FIELDS: Mapping[str, str] = {
    "title": "the title",
    "handle": "the handle",
    "description": "the description",
    "vendor": "the vendor",
    "product_type": "the product type",
    "status": "the status",
    "url": "the address of its page",
    "tags": "the tags",
    "category": "the category, as ours is mapped to the channel's",
    "images": "the pictures",
    "seo_title": "the title for search engines",
    "seo_description": "the description for search engines",
    "variants": "which variants there are, their order and their options",
    "barcode": "the barcodes",
    "price": "the prices",
    "compare_at": "the prices before a reduction",
    "weight": "the weights",
    "requires_shipping": "whether variants are shipped",
    "taxable": "whether variants are taxed",
    "variant_image": "the pictures of variants",
    "cost": "what a unit costs us",
    "metafields": "the metafields",
}
"""What has a master, in words; a metafield may have one of its own, as metafields.KEY."""

CORRECTIONS_MAX = 3
"""So often the same is set right at a channel; then a person is asked."""

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
"""The version of what is not there yet."""


@dataclass(frozen=True, slots=True)
class Masters:
    """Who is master of each field at one connection: what was decided, and `default` of the rest."""

    default: Master
    decided: Mapping[str, Master] = field(default_factory=dict)

    def of(self, name: str) -> Master:
        """The master of a field; a metafield without one of its own has that of all metafields."""
        found = self.decided.get(name)
        if found is None and name.startswith("metafields."):
            found = self.decided.get("metafields")
        # Where a page lies is the channel's to say.
        return "channel" if name == "url" and (found or self.default) == "ours" else found or self.default


def check_master(name: str, master: str) -> Master:
    """The master, if the field may have it. Raises BadInput."""
    if name not in FIELDS and not (name.startswith("metafields.") and KEY.fullmatch(name.removeprefix("metafields."))):
        raise BadInput(f"“{name}” is no field with a master: there is {', '.join(FIELDS)}, and metafields.KEY for one")
    if master not in MASTERS:
        raise BadInput(f"“{master}” is no master: write {' or '.join(MASTERS)}")
    if name == "url" and master == "ours":
        raise BadInput("the address of a product's page is the channel's to say: write channel or nobody")
    found: Master = master
    return found


@dataclass(frozen=True, slots=True)
class Ground:
    """What both sides are judged by. `types` are those of the shop's metafields by owner and key, `names` the addresses
    that the channel's pictures were fetched from, `may_drop` the variants there that may be deleted, `categories` the
    channel's categories by ours."""

    masters: Masters
    types: Mapping[tuple[str, str], str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    may_drop: frozenset[str] = frozenset()
    categories: Mapping[int, str] = field(default_factory=dict)


def problem_of(shown: ShownProduct) -> str | None:
    """Why the variants of a channel's product cannot be told to be ours; None where they can."""
    nameless = sum(1 for variant in shown.variants if not variant.code)
    if nameless:
        many = "a variant has" if nameless == 1 else f"{nameless} variants have"
        return f"{many} no SKU at the channel: give each one there, then it is read"
    twice = [code for code, count in Counter(v.code for v in shown.variants).items() if count > 1]
    if twice:
        return f"several of its variants have the SKU {twice[0]} at the channel: give each its own there"
    return None


# --- What it should be here ------------------------------------------------------------------------------------------


def taken(ours: ProductDocument | None, shown: ShownProduct, ground: Ground) -> ProductDocument:
    """Our product as it should be by what the channel shows; one that is new is all of it the channel's."""

    def is_theirs(name: str) -> bool:
        return ours is None or ground.masters.of(name) == "channel"

    base = ours or ProductDocument(handle=shown.handle, title=shown.title, variants=())
    changed: dict[str, Any] = {name: getattr(shown, name) for name in (*_PLAIN, "url") if is_theirs(name)}
    if is_theirs("tags") and not _same_tags(base.tags, shown.tags):
        changed["tags"] = shown.tags
    if is_theirs("images") and all(image.url for image in shown.images):
        changed["images"] = tuple(Image(_name(image, ground), image.alt) for image in shown.images)
    changed["metafields"] = _fields_taken("product", base.metafields, shown.metafields, shown, ground, ours is None)
    if is_theirs("variants"):
        changed["options"] = shown.options
        known = {variant.code: variant for variant in base.variants}
        changed["variants"] = tuple(
            _variant_taken(known.get(variant.code or ""), variant, shown, ground) for variant in shown.variants
        )
    else:
        there = {variant.code: variant for variant in shown.variants if variant.code}
        changed["variants"] = tuple(
            _variant_taken(variant, there[variant.code], shown, ground, keeps_values=True)
            if variant.code in there
            else variant
            for variant in base.variants
        )
    return replace(base, **changed)


def _variant_taken(
    ours: VariantDocument | None,
    there: ShownVariant,
    shown: ShownProduct,
    ground: Ground,
    *,
    keeps_values: bool = False,
) -> VariantDocument:
    def is_theirs(name: str) -> bool:
        return ours is None or ground.masters.of(name) == "channel"

    base = ours or VariantDocument(str(there.code), shown.currency, is_stocked=there.is_stocked)
    changed: dict[str, Any] = {ours_: getattr(there, ours_) for name, ours_ in _OF_VARIANT.items() if is_theirs(name)}
    if not keeps_values:
        changed["option_values"] = there.option_values
    if ("price_minor" in changed or "compare_at_minor" in changed) and base.currency != shown.currency:
        changed["currency"] = shown.currency
    if is_theirs("variant_image"):
        pictures = {image.ref: image for image in shown.images}
        if there.image_ref is None:
            changed["image_url"] = None
        elif there.image_ref in pictures and pictures[there.image_ref].url:
            changed["image_url"] = _name(pictures[there.image_ref], ground)
    fields = _fields_taken("variant", base.metafields, there.metafields, shown, ground, ours is None)
    if is_theirs("cost"):
        fields.pop(COST, None)
        if there.cost_minor is not None:
            fields[COST] = {"amount_minor": there.cost_minor, "currency": shown.currency}
    return replace(base, **changed, metafields=fields)


def _fields_taken(
    owner: Owner,
    ours: Mapping[str, Any],
    there: Mapping[str, ShownField],
    shown: ShownProduct,
    ground: Ground,
    is_new: bool,
) -> dict[str, Any]:
    found = dict(ours)
    for key in {*ours, *there} - {COST}:
        if not is_new and ground.masters.of(f"metafields.{key}") != "channel":
            continue
        if key not in there:
            found.pop(key)
        elif _is_kept(owner, key, there[key], shown.currency, ground) and not _same(there[key], ours.get(key)):
            found[key] = there[key].value
    return found


def _is_kept(owner: Owner, key: str, value: ShownField, currency: str, ground: Ground) -> bool:
    """Whether a metafield of the channel's can be one here: of the type that it has here, if it has one."""
    if ground.types.get((owner, key), value.type) != value.type:
        return False
    try:
        check(value.type, value.value, currency)
    except BadField:
        return False
    return True


def undefined(shown: ShownProduct, ground: Ground, *, is_new: bool) -> set[tuple[Owner, str, str]]:
    """Metafields (owner, key, type) that are to be taken from the channel, and that the shop does not define yet."""
    found: set[tuple[Owner, str, str]] = set()
    owners: list[tuple[Owner, Mapping[str, ShownField]]] = [("product", shown.metafields)]
    owners += [("variant", variant.metafields) for variant in shown.variants]
    for owner, fields in owners:
        for key, value in fields.items():
            is_theirs = is_new or ground.masters.of(f"metafields.{key}") == "channel"
            if is_theirs and (owner, key) not in ground.types and _is_kept(owner, key, value, shown.currency, ground):
                found.add((owner, key, value.type))
    return found


def _name(image: ShownImage, ground: Ground) -> str:
    """The address of a picture here: where it was fetched from, if it came from us."""
    return ground.names.get(image.ref) or str(image.url)


# --- What it should show there ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a channel should show, and what stands in the way of more, in sentences for a person."""

    product: ShownProduct
    notes: tuple[str, ...] = ()


def wanted(ours: ProductDocument, shown: ShownProduct | None, ground: Ground, currency: str) -> Wanted:
    """The channel's product as it should be by ours; one that is not there yet is all of it ours."""
    base = shown or ShownProduct("", ours.handle, ours.title, currency, NEVER, ())

    def is_ours(name: str) -> bool:
        return shown is None or ground.masters.of(name) == "ours"

    changed: dict[str, Any] = {
        name: getattr(ours, name) for name in _PLAIN if is_ours(name) and _is_said(name, getattr(ours, name))
    }
    if is_ours("tags") and not _same_tags(ours.tags, base.tags):
        changed["tags"] = ours.tags
    if is_ours("category"):
        # The main one first. Where none of them is mapped, what stands there is left.
        known = (ground.categories[one] for one in ours.categories if one in ground.categories)
        changed["category"] = next(known, base.category)
    if is_ours("images"):
        changed["images"] = _images_wanted(ours.images, base.images, ground)
    changed["metafields"] = _fields_wanted("product", ours.metafields, base.metafields, ground, shown is None)
    notes: list[str] = []
    if is_ours("variants"):
        changed |= _set_wanted(ours, base, ground, shown is None, notes)
    else:
        here = {variant.code: variant for variant in ours.variants}
        changed["variants"] = tuple(
            _variant_wanted(here[v.code], v, base, ground, notes) if v.code in here else v for v in base.variants
        )
    return Wanted(replace(base, **changed), tuple(dict.fromkeys(notes)))


def _is_said(name: str, value: Any) -> bool:
    """A product without a vendor says nothing of it: channels put one in, such as the shop's name."""
    return name != "vendor" or value is not None


def _set_wanted(
    ours: ProductDocument, base: ShownProduct, ground: Ground, is_new: bool, notes: list[str]
) -> dict[str, Any]:
    """Our variants in our order. What is there beside them stays, at the end, until a person lets it go."""
    there = {variant.code: variant for variant in base.variants if variant.code}
    codes = {variant.code for variant in ours.variants}
    beside = [v for v in base.variants if v.code not in codes and v.ref not in ground.may_drop]
    if beside:
        said = ", ".join(variant.code or " / ".join(variant.option_values) for variant in beside[:3])
        notes.append(
            f"{len(beside)} of its variants at the channel are not here ({said}): add them here, or allow that they are"
            " deleted there"
        )
        if len(ours.options) != len(base.options):
            here = {variant.code: variant for variant in ours.variants}
            return {
                "variants": tuple(
                    _variant_wanted(here[v.code], v, base, ground, notes) if v.code in here else v
                    for v in base.variants
                )
            }
    found = []
    for variant in ours.variants:
        known = there.get(variant.code)
        blank = ShownVariant("", variant.code, is_stocked=variant.is_stocked)
        one = _variant_wanted(variant, known or blank, base, ground, notes, is_new=is_new or known is None)
        found.append(replace(one, option_values=variant.option_values))
    return {"options": ours.options, "variants": (*found, *beside)}


def _variant_wanted(
    ours: VariantDocument,
    there: ShownVariant,
    base: ShownProduct,
    ground: Ground,
    notes: list[str],
    *,
    is_new: bool = False,
) -> ShownVariant:
    def is_ours(name: str) -> bool:
        return is_new or ground.masters.of(name) == "ours"

    changed: dict[str, Any] = {ours_: getattr(ours, ours_) for name, ours_ in _OF_VARIANT.items() if is_ours(name)}
    if ours.currency != base.currency:
        if {"price_minor", "compare_at_minor"} & changed.keys():
            notes.append(f"{ours.code} is priced in {ours.currency}, and the channel sells in {base.currency}")
        changed = {name: value for name, value in changed.items() if name not in ("price_minor", "compare_at_minor")}
    if changed.get("price_minor", 0) is None:
        # What has no price here yet cannot be given none there.
        del changed["price_minor"]
    if is_ours("variant_image"):
        if ours.image_url is None:
            changed["image_ref"] = None
        elif (ref := _ref_of(ours.image_url, base.images, ground)) is not None:
            changed["image_ref"] = ref
    if is_ours("cost"):
        cost = ours.metafields.get(COST)
        if cost is None or cost["currency"] == base.currency:
            changed["cost_minor"] = None if cost is None else cost["amount_minor"]
    fields = _fields_wanted("variant", ours.metafields, there.metafields, ground, is_new)
    return replace(there, **changed, metafields=fields)


def _images_wanted(ours: Iterable[Image], there: tuple[ShownImage, ...], ground: Ground) -> tuple[ShownImage, ...]:
    """Ours in our order, each by the channel's reference where it has it already."""
    left = list(there)
    found = []
    for image in ours:
        known = next((one for one in left if image.url in (ground.names.get(one.ref), one.url)), None)
        if known is None:
            found.append(ShownImage("", image.url, image.alt))
        else:
            left.remove(known)
            found.append(replace(known, alt=image.alt))
    return tuple(found)


def _ref_of(url: str, images: Iterable[ShownImage], ground: Ground) -> str | None:
    return next((image.ref for image in images if url in (ground.names.get(image.ref), image.url)), None)


def _fields_wanted(
    owner: Owner, ours: Mapping[str, Any], there: Mapping[str, ShownField], ground: Ground, is_new: bool
) -> dict[str, ShownField]:
    """What other apps keep there under keys that the shop does not define is none of ours."""
    found = dict(there)
    for (whose, key), type_ in ground.types.items():
        if whose != owner or key == COST or not (is_new or ground.masters.of(f"metafields.{key}") == "ours"):
            continue
        if key not in ours:
            if key in found and found[key].type == type_:
                del found[key]
        elif key not in found or found[key].type != type_ or not _same(found[key], ours[key]):
            found[key] = ShownField(type_, ours[key])
    return found


def _same_tags(some: Iterable[str], others: Iterable[str]) -> bool:
    """Tags have no order, and channels keep none twice that differ by capitals alone."""
    return {tag.casefold() for tag in some} == {tag.casefold() for tag in others}


def _same(there: ShownField, ours: Any) -> bool:
    if there.type == "decimal" and isinstance(ours, str):
        return Decimal(there.value) == Decimal(ours)
    return bool(there.value == ours)


# --- What differs ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToDo:
    """One thing that a channel should show otherwise. `code` is the variant's, "" for the product; values plain."""

    code: str
    field: str
    there: Any
    should: Any


_COMPARED = (*_PLAIN, "tags", "category")
_VARIANT_COMPARED = (*_OF_VARIANT.values(), "image_ref", "cost_minor")


def to_do(want: ShownProduct, shown: ShownProduct | None) -> list[ToDo]:
    """What the channel is still to be brought to; [] where it shows what it should."""
    if shown is None:
        return [ToDo("", "product", None, want.title)]
    found = [
        ToDo("", name, getattr(shown, name), getattr(want, name))
        for name in _COMPARED
        if getattr(shown, name) != getattr(want, name)
    ]
    pictures = [[(image.ref or image.url, image.alt) for image in one.images] for one in (shown, want)]
    if pictures[0] != pictures[1]:
        found.append(ToDo("", "images", pictures[0], pictures[1]))
    sets = [(one.options, [(v.code, v.ref, v.option_values) for v in one.variants]) for one in (shown, want)]
    if sets[0] != sets[1]:
        found.append(ToDo("", "variants", _said(shown), _said(want)))
    found += _fields_to_do("", want.metafields, shown.metafields)
    there = {variant.ref: variant for variant in shown.variants}
    for variant in want.variants:
        if variant.ref in there:
            found += _variant_to_do(variant, there[variant.ref])
    return found


def _said(product: ShownProduct) -> list[list[str | None]]:
    return [[*product.options], *([variant.code, *variant.option_values] for variant in product.variants)]


def _variant_to_do(want: ShownVariant, there: ShownVariant) -> list[ToDo]:
    code = want.code or ""
    found = [
        ToDo(code, name, getattr(there, name), getattr(want, name))
        for name in _VARIANT_COMPARED
        if getattr(there, name) != getattr(want, name)
    ]
    return found + _fields_to_do(code, want.metafields, there.metafields)


def _fields_to_do(code: str, want: Mapping[str, ShownField], there: Mapping[str, ShownField]) -> list[ToDo]:
    return [
        ToDo(code, f"metafields.{key}", _value(there.get(key)), _value(want.get(key)))
        for key in sorted({*want, *there})
        if want.get(key) != there.get(key)
    ]


def _value(found: ShownField | None) -> Any:
    return None if found is None else found.value


def key_of(things: Iterable[ToDo]) -> str:
    """The same for the same things to do, whatever their order: how often it was done already is counted by it."""
    return digest_of(sorted([one.code, one.field, repr(one.there), repr(one.should)] for one in things))


def fields_said(things: Iterable[ToDo]) -> str:
    """Which fields are meant, for a sentence: "title, price_minor of MUG"."""
    said = dict.fromkeys(f"{one.field} of {one.code}" if one.code else one.field for one in things)
    return ", ".join(list(said)[:4]) + (f" and {len(said) - 4} more" if len(said) > 4 else "")


def names_learned(want: ShownProduct, shown: ShownProduct, names: Mapping[str, str]) -> dict[str, str]:
    """Where the channel's pictures came from, after it was given those of `want`: place by place, where they agree.

    A channel hosts pictures itself, under addresses of its own; names of pictures that are gone are forgotten.
    """
    refs = {image.ref for image in shown.images}
    found = {ref: name for ref, name in names.items() if ref in refs}
    pairs = list(zip(want.images, shown.images, strict=False))
    if len(want.images) == len(shown.images) and all(w.ref in ("", s.ref) for w, s in pairs):
        found |= {s.ref: w.url for w, s in pairs if not w.ref and w.url}
    return found
