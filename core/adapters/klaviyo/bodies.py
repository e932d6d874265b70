"""Klaviyo's words for what is told and read: entries of jobs, and records of the catalogue.

Creates take the bare external id, everything else the compound one. What may be null is sent as null, so that an update
takes away what was there before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from core.adapters import loose
from core.adapters.klaviyo.operations import PLURALS, job_type
from core.catalogue_target import (
    CategoryContent,
    Content,
    ItemContent,
    Kind,
    TargetEntry,
    TargetRecord,
    VariantContent,
    Verb,
)

PREFIX = "$custom:::$default:::"
_HIDDEN_WITHOUT_STOCK, _SHOWN_ALWAYS = 1, 2


def compound(external_id: str) -> str:
    """The id by which everything but a create names one of ours."""
    return PREFIX + external_id


def external(compound_id: str) -> str:
    """The external id; of a record from another integration all of its id, which none of ours is equal to."""
    return compound_id.removeprefix(PREFIX)


def entry_body(kind: Kind, verb: Verb, entry: TargetEntry) -> dict[str, Any]:
    """One entry of a job."""
    body: dict[str, Any] = {"type": f"catalog-{kind}"}
    if verb != "create":
        body["id"] = compound(entry.external_id)
    content = entry.content
    if content is None or verb == "delete":
        return body
    body["attributes"] = _attributes(content)
    if verb == "create":
        body["attributes"]["external_id"] = entry.external_id
    if isinstance(content, ItemContent):
        body["relationships"] = {"categories": {"data": [_named("category", one) for one in content.categories]}}
    elif isinstance(content, VariantContent) and verb == "create":
        body["relationships"] = {"item": {"data": _named("item", content.item)}}
    return body


def job_body(kind: Kind, verb: Verb, entries: list[dict[str, Any]]) -> dict[str, Any]:
    """The request that hands in a job."""
    return {"data": {"type": job_type(kind, verb), "attributes": {PLURALS[kind]: {"data": entries}}}}


def _named(kind: Kind, external_id: str) -> dict[str, str]:
    return {"type": f"catalog-{kind}", "id": compound(external_id)}


def _attributes(content: Content) -> dict[str, Any]:
    if isinstance(content, CategoryContent):
        return {"name": content.name}
    first = content.images[0] if content.images else None
    said: dict[str, Any] = {
        "title": content.title,
        "description": content.description,
        "url": content.url,
        # Numbers, and no strings: Klaviyo says so.
        "price": None if content.price is None else float(content.price),
        "image_full_url": first,
        "image_thumbnail_url": first,
        "images": list(content.images),
        "published": content.is_published,
        "custom_metadata": dict(content.metadata),
    }
    if isinstance(content, VariantContent):
        policy = _HIDDEN_WITHOUT_STOCK if content.is_hidden_without_stock else _SHOWN_ALWAYS
        said |= {"sku": content.sku, "inventory_quantity": content.units, "inventory_policy": policy}
    return said


def record(kind: Kind, resource: Any) -> TargetRecord | None:
    """What Klaviyo holds of one thing; None for what has no id."""
    ref = loose.at(resource, "id")
    if not isinstance(ref, str):
        return None
    attributes = loose.at(resource, "attributes")
    known = attributes if isinstance(attributes, dict) else {}
    item = loose.at(resource, "relationships", "item", "data", "id")
    return TargetRecord(external(ref), _content(kind, known), external(item) if isinstance(item, str) else None)


def _content(kind: Kind, said: Mapping[str, Any]) -> Content | None:
    """None where it cannot be what we would write."""
    if kind == "category":
        name = said.get("name")
        return CategoryContent(name) if isinstance(name, str) else None
    price = _price(said.get("price"))
    common: dict[str, Any] = {
        "title": _text(said.get("title")),
        "description": _text(said.get("description")),
        "url": _text(said.get("url")),
        "images": tuple(str(one) for one in loose.each(said.get("images"))),
        "is_published": said.get("published") is not False,
        "metadata": dict(said.get("custom_metadata") or {}),
    }
    if kind == "item":
        return ItemContent(price=price, **common)
    units = said.get("inventory_quantity")
    if price is None or not isinstance(units, (int, float)) or not math.isfinite(units):
        return None
    return VariantContent(
        price=price,
        sku=_text(said.get("sku")),
        units=round(units),
        is_hidden_without_stock=said.get("inventory_policy") == _HIDDEN_WITHOUT_STOCK,
        **common,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _price(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return Decimal(str(value))
