"""A channel's product as plain values, for rows: of them the same product is made again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from core.product_ports import ShownField, ShownImage, ShownProduct, ShownVariant

_PRODUCT = tuple(
    f.name for f in fields(ShownProduct) if f.name not in ("version_at", "variants", "images", "metafields")
)
_VARIANT = tuple(f.name for f in fields(ShownVariant) if f.name != "metafields")
_TUPLES = ("tags", "options", "other_media", "option_values")


def to_json(product: ShownProduct) -> dict[str, Any]:
    """Plain values; its version aside, they are the same for a product that shows the same."""
    return {
        **_plain(product, _PRODUCT),
        "images": [{"ref": image.ref, "url": image.url, "alt": image.alt} for image in product.images],
        "metafields": _fields(product.metafields),
        "variants": [
            {**_plain(variant, _VARIANT), "metafields": _fields(variant.metafields)} for variant in product.variants
        ],
    }


def from_json(found: Mapping[str, Any], version_at: datetime) -> ShownProduct:
    """The product of its plain values."""
    return ShownProduct(
        **_read(found, _PRODUCT),
        version_at=version_at,
        images=tuple(ShownImage(**image) for image in found["images"]),
        metafields=_read_fields(found["metafields"]),
        variants=tuple(
            ShownVariant(**_read(one, _VARIANT), metafields=_read_fields(one["metafields"]))
            for one in found["variants"]
        ),
    )


def _plain(value: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: list(getattr(value, name)) if name in _TUPLES else getattr(value, name) for name in names}


def _read(found: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: tuple(found[name]) if name in _TUPLES else found[name] for name in names if name in found}


def _fields(metafields: Mapping[str, ShownField]) -> dict[str, Any]:
    return {key: {"type": field.type, "value": field.value} for key, field in metafields.items()}


def _read_fields(found: Mapping[str, Any]) -> dict[str, ShownField]:
    return {key: ShownField(**field) for key, field in found.items()}
