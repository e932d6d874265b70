"""What of a product is to be written, as Shopify's inputs: only what differs, and every list complete.

productSet deletes whatever of a given list is not in it (the description of productSet in the Admin schema). So the
values of variants that are there go by productVariantsBulkUpdate, variants come and go by productVariantsBulkCreate and
-Delete, and change places by -Reorder; metafields by metafieldsSet and metafieldsDelete: each leaves alone what it does
not name. Only where the options themselves are others, or values change hands, is the list of variants given, with
every variant that was read; and only where pictures differ that of the files, with the videos among them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.adapters.shopify.ids import gid
from core.adapters.shopify.product_metafields import written
from core.money import to_major
from core.product_ports import ProductWrite, ShownField, ShownProduct, ShownVariant

Input = dict[str, Any]
_PLAIN = {
    "title": "title",
    "handle": "handle",
    "description": "descriptionHtml",
    "vendor": "vendor",
    "product_type": "productType",
}
_SEO = {"seo_title": "title", "seo_description": "description"}

FIELDS: Mapping[str, str] = {
    **{theirs: ours for ours, theirs in _PLAIN.items()},
    "status": "status",
    "category": "category",
    "tags": "tags",
    "seo": "seo_title",
    "files": "images",
    "file": "image_url",
    "mediaId": "image_url",
    "productOptions": "options",
    "optionValues": "option_values",
    "metafields": "metafields",
    "price": "price_minor",
    "compareAtPrice": "compare_at_minor",
    "barcode": "barcode",
    "taxable": "taxable",
    "sku": "code",
    "cost": "metafields.inventory.cost",
    "weight": "weight_grams",
    "requiresShipping": "requires_shipping",
    "tracked": "is_stocked",
}
"""The field of our documents that an input's name is about; what is not here is about the variants as a whole."""


def product_input(write: ProductWrite) -> Input:
    """Of productSet; empty where nothing of it differs."""
    after, before = write.after, write.before
    found: Input = {
        theirs: getattr(after, ours) or ""
        for ours, theirs in _PLAIN.items()
        if before is None or getattr(after, ours) != getattr(before, ours)
    }
    if before is not None and "handle" in found:
        # Addresses that people know go on leading there.
        found["redirectNewHandle"] = True
    if before is None or after.status != before.status:
        found["status"] = after.status.upper()
    if after.category is not None and (before is None or after.category != before.category):
        found["category"] = after.category
    if before is None or after.tags != before.tags:
        found["tags"] = list(after.tags)
    if before is None or any(getattr(after, name) != getattr(before, name) for name in _SEO):
        found["seo"] = {theirs: getattr(after, ours) or "" for ours, theirs in _SEO.items()}
    if (after.images != before.images) if before is not None else after.images:
        found["files"] = [_file(image.ref, image.url, image.alt) for image in after.images]
        found["files"] += [{"id": ref} for ref in after.other_media]
    if before is None and after.metafields:
        found["metafields"] = _metafields(after.metafields)
    if is_listed(write):
        found["productOptions"] = _options(after)
        found["variants"] = [_listed(after, variant) for variant in after.variants]
    return found


def _file(ref: str, url: str | None, alt: str) -> Input:
    return (
        {"id": gid("MediaImage", ref), "alt": alt}
        if ref
        else {"originalSource": url, "alt": alt, "contentType": "IMAGE"}
    )


def is_listed(write: ProductWrite) -> bool:
    """Whether the whole list of variants has to be given: no single mutation leads there.

    That is where the product is new or its options are others, where no variant of before stays, and where one gets
    option values that another one had.
    """
    after, before = write.after, write.before
    if before is None or after.options != before.options:
        return True
    had = {variant.ref: variant.option_values for variant in before.variants}
    stays = {variant.ref for variant in after.variants if variant.ref in had}
    if had and not stays:
        return True
    taken = {values for ref, values in had.items() if ref in stays}
    return any(one.option_values in taken for one in after.variants if one.option_values != had.get(one.ref))


def added(write: ProductWrite) -> list[ShownVariant]:
    """Variants that come one by one."""
    return [] if is_listed(write) else [variant for variant in write.after.variants if not variant.ref]


def dropped(write: ProductWrite) -> list[ShownVariant]:
    """Variants that go one by one: of those that were read, never others."""
    if write.before is None or is_listed(write):
        return []
    stays = {variant.ref for variant in write.after.variants}
    return [variant for variant in write.before.variants if variant.ref not in stays]


def places(write: ProductWrite, made: Mapping[str, str]) -> list[Input]:
    """Of productVariantsBulkReorder, once variants came and went; [] where they stand in order. `made` are the
    references of the new ones by their codes."""
    if write.before is None or is_listed(write):
        return []
    refs = [variant.ref or made.get(variant.code or "", "") for variant in write.after.variants]
    wanted = [ref for ref in refs if ref]
    stood = [variant.ref for variant in write.before.variants if variant.ref in wanted]
    if wanted == [*stood, *(ref for ref in wanted if ref not in stood)]:
        return []
    return [{"id": gid("ProductVariant", ref), "position": place} for place, ref in enumerate(wanted, 1)]


def _options(product: ShownProduct) -> list[Input]:
    """Every option with every value that a variant has, each in the order of first use."""
    if not product.options:
        return [{"name": "Title", "values": [{"name": "Default Title"}]}]
    return [
        {
            "name": name,
            "values": [{"name": value} for value in dict.fromkeys(v.option_values[at] for v in product.variants)],
        }
        for at, name in enumerate(product.options)
    ]


def _listed(product: ShownProduct, variant: ShownVariant) -> Input:
    """A variant in the complete list: one that is there by its id, a new one whole."""
    if variant.ref:
        return {"id": gid("ProductVariant", variant.ref), "optionValues": _chosen(product, variant)}
    return {**_new(product, variant), "sku": variant.code}


def _chosen(product: ShownProduct, variant: ShownVariant) -> list[Input]:
    names, values = product.options or ("Title",), variant.option_values or ("Default Title",)
    return [{"optionName": name, "name": value} for name, value in zip(names, values, strict=True)]


def _new(product: ShownProduct, variant: ShownVariant) -> Input:
    found = {"optionValues": _chosen(product, variant), **_values(variant, None, product.currency)}
    found["inventoryItem"] = {**found.get("inventoryItem", {}), "tracked": variant.is_stocked}
    if variant.metafields:
        found["metafields"] = _metafields(variant.metafields)
    return found


def new_input(product: ShownProduct, variant: ShownVariant) -> Input:
    """Of productVariantsBulkCreate, which has no place for the SKU but the inventory item's."""
    found = _new(product, variant)
    return {**found, "inventoryItem": {**found["inventoryItem"], "sku": variant.code}}


def variant_inputs(write: ProductWrite) -> list[tuple[ShownVariant, Input]]:
    """Of productVariantsBulkUpdate, with the variant that each is of: values of variants that are there."""
    before = {} if write.before is None else {variant.ref: variant for variant in write.before.variants}
    found, has_list = [], is_listed(write)
    for variant in write.after.variants:
        if variant.ref in before:
            values = _values(variant, before[variant.ref], write.after.currency)
            if not has_list and variant.option_values != before[variant.ref].option_values:
                values["optionValues"] = _chosen(write.after, variant)
            if values:
                found.append((variant, {"id": gid("ProductVariant", variant.ref), **values}))
    return found


def _values(after: ShownVariant, before: ShownVariant | None, currency: str) -> Input:
    """What differs of a variant's values; of a new one all that it has."""

    def differs(name: str) -> bool:
        value = getattr(after, name)
        return value is not None if before is None else value != getattr(before, name)

    found: Input = {name: getattr(after, name) for name in ("barcode", "taxable") if differs(name)}
    if differs("price_minor") and after.price_minor is not None:
        found["price"] = _amount(after.price_minor, currency)
    if differs("compare_at_minor"):
        found["compareAtPrice"] = _amount(after.compare_at_minor, currency)
    if before is not None and differs("image_ref"):
        found["mediaId"] = None if after.image_ref is None else gid("MediaImage", after.image_ref)
    item: Input = {}
    if differs("cost_minor"):
        item["cost"] = _amount(after.cost_minor, currency)
    if differs("requires_shipping"):
        item["requiresShipping"] = after.requires_shipping
    if differs("weight_grams"):
        item["measurement"] = {"weight": {"value": float(after.weight_grams or 0), "unit": "GRAMS"}}
    return found | ({"inventoryItem": item} if item else {})


def _amount(minor: int | None, currency: str) -> str | None:
    return None if minor is None else format(to_major(minor, currency), "f")


def _metafields(fields: Mapping[str, ShownField]) -> list[Input]:
    found = []
    for full, field in sorted(fields.items()):
        namespace, key = full.split(".", 1)
        type_, value = written(field)
        found.append({"namespace": namespace, "key": key, "type": type_, "value": value})
    return found


def metafield_inputs(write: ProductWrite) -> tuple[list[tuple[str, Input]], list[Input]]:
    """What is to be set, each with the code of its variant ("" for the product), and what is to be deleted.

    Of what is there already: a new product, and a new variant, come with theirs.
    """
    if write.before is None:
        return [], []
    owners = [("", gid("Product", write.before.ref), write.before.metafields, write.after.metafields)]
    before = {variant.ref: variant for variant in write.before.variants}
    owners += [
        (variant.code or "", gid("ProductVariant", variant.ref), before[variant.ref].metafields, variant.metafields)
        for variant in write.after.variants
        if variant.ref in before
    ]
    set_, deleted = [], []
    for code, owner, old, new in owners:
        changed = {key: field for key, field in new.items() if old.get(key) != field}
        set_ += [(code, {"ownerId": owner, **one}) for one in _metafields(changed)]
        for full in sorted(old.keys() - new.keys()):
            namespace, key = full.split(".", 1)
            deleted.append({"ownerId": owner, "namespace": namespace, "key": key})
    return set_, deleted
