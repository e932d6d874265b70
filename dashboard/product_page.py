"""One product: pictures and facts, its variants with their stock, its metafields, and all that became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import streamlit as st

from core.catalog.products.documents import Image, ProductDocument, VariantDocument
from core.catalog.products.fields import Definition
from core.catalog.products.queries import Stored
from dashboard import (
    catalogue_queries,
    catalogue_words,
    components,
    formats,
    people,
    product_history,
    publication_panels,
)

LIST = Path(__file__).parent / "screens" / "products.py"
VARIANTS_SHOWN = 100
_PICTURES = 8
_TEXT = 400


def draw(viewer: people.Viewer, product_id: int) -> None:
    """The page of one product, or of what is left of one that was removed."""
    st.button("All products", key="all-products", type="tertiary", icon=":material/arrow_back:", on_click=leave)
    shop, scope = viewer.shop.id, viewer.person.scope
    with components.panel("product"):
        stored, as_of = catalogue_queries.product(shop, scope, product_id)
        if stored is None:
            _draw_gone(viewer, product_id)
            return
        definitions, paths = catalogue_queries.names(shop, scope)
        _draw_head(viewer, stored, as_of)
        _draw_facts(viewer, stored.document, paths)
        st.subheader("Variants", anchor="variants")
        _draw_variants(viewer, stored)
        _draw_fields(stored.document, definitions)
    with components.panel("at-shopify"):
        publication_panels.draw_product(viewer, product_id)
    st.subheader("History", anchor="history")
    with components.panel("history"):
        product_history.draw(viewer, product_id)


def leave() -> None:
    """Back to the list."""
    for name in ("product", "edit", "new", "all", "history_before"):
        st.query_params.pop(name, None)


def _draw_gone(viewer: people.Viewer, product_id: int) -> None:
    found = catalogue_queries.history(viewer.shop.id, viewer.person.scope, product_id, None)
    if not found.changes:
        components.empty("There is no such product", "It never was here, or belongs to another shop.")
        return
    document = found.changes[0].before
    components.title(document.title if document else f"Product {product_id}", "removed")
    st.markdown(
        "This product was removed. Its SKUs stay, with their stock and listings. Take its removal back to have it."
    )
    st.subheader("History", anchor="history")
    product_history.draw(viewer, product_id)


def _draw_head(viewer: people.Viewer, stored: Stored, as_of: datetime) -> None:
    document = stored.document
    components.title(document.title, as_of=formats.as_of(as_of, viewer.shop.zone))
    with st.container(horizontal=True, vertical_alignment="center", key="product-acts"):
        st.markdown(_badge(document.status))
        st.button("Edit", key="edit-product", icon=":material/edit:", type="primary", on_click=_edit)
        if st.button("Remove…", key="remove-product", icon=":material/delete:"):
            product_history.open_remove(viewer, stored)
        if document.url:
            st.link_button("Its page", document.url, icon=":material/open_in_new:", type="tertiary")


def _edit() -> None:
    st.query_params["edit"] = "yes"


def _badge(status: str) -> str:
    state = {"active": "ok", "draft": "busy"}.get(status, "unknown")
    return formats.badge(state, catalogue_words.status(status))


# --- Facts ------------------------------------------------------------------------------------------------------------


def _draw_facts(viewer: people.Viewer, document: ProductDocument, paths: Mapping[int, str]) -> None:
    categories = [
        components.link("categories", paths.get(number, f"category {number}"), viewer.where(category=str(number)))
        for number in document.categories
    ]
    pairs = [
        ("Vendor", escape(document.vendor or "")),
        ("Type", escape(document.product_type or "")),
        ("Categories", "<br>".join(categories)),
        ("Tags", "".join(f"<span>{escape(tag)}</span>" for tag in document.tags)),
        ("Handle", escape(document.handle)),
        ("Search title", escape(document.seo_title or "")),
        ("Search description", escape(document.seo_description or "")),
    ]
    tags = {"Tags": "sy-chips"}
    rows = "".join(
        f'<dt>{escape(name)}</dt><dd class="{tags.get(name, "")}">{value}</dd>'
        if value
        else f'<dt>{escape(name)}</dt><dd class="sy-muted">{formats.UNKNOWN}</dd>'
        for name, value in pairs
    )
    components.html(
        f'<div class="sy-product">{_pictures(document.images)}<div><dl class="sy-facts">{rows}</dl>'
        f"{_description(document.description)}</div></div>"
    )


def _pictures(images: Sequence[Image]) -> str:
    if not images:
        return '<div class="sy-pictures"><i class="sy-picture-none">No picture</i></div>'
    first, others = images[0], images[1:_PICTURES]
    small = "".join(f'<img src="{escape(image.url)}" alt="{escape(image.alt)}" loading="lazy">' for image in others)
    more = len(images) - 1 - len(others)
    rest = f'<span class="sy-meta">and {more} more</span>' if more > 0 else ""
    return (
        f'<div class="sy-pictures"><img class="sy-picture" src="{escape(first.url)}" alt="{escape(first.alt)}">'
        f'<div class="sy-small-pictures">{small}{rest}</div></div>'
    )


def _description(text: str) -> str:
    plain = text_of(text)
    if not plain:
        return '<p class="sy-muted">No description.</p>'
    if len(plain) <= _TEXT:
        return f'<p class="sy-text">{escape(plain)}</p>'
    short = formats.shortened(plain, _TEXT)
    return f"<details class='sy-text'><summary>{escape(short)}</summary><p>{escape(plain)}</p></details>"


class _Text(HTMLParser):
    """Only what is read of markup."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("p", "div", "li", "h1", "h2", "h3", "br"):
            self.parts.append(" ")


def text_of(markup: str) -> str:
    """What a description says, without the markup that channels keep in it."""
    reader = _Text()
    reader.feed(markup)
    reader.close()
    return " ".join("".join(reader.parts).split())


# --- Variants and metafields ------------------------------------------------------------------------------------------


def _draw_variants(viewer: people.Viewer, stored: Stored) -> None:
    document = stored.document
    stock = catalogue_queries.stock(viewer.shop.id, viewer.person.scope, stored.product_id)
    is_all = len(document.variants) <= VARIANTS_SHOWN or st.query_params.get("all") == "yes"
    shown = document.variants if is_all else document.variants[:VARIANTS_SHOWN]
    body = [_variant(viewer, document, variant, stock.get(variant.code)) for variant in shown]
    heads = [("SKU", False), *((name, False) for name in document.options), ("Barcode", False)]
    heads += [("Price", True), ("Before", True), ("Weight", True), ("Available", True), ("Stock", False)]
    components.table(heads, body, f"Variants of {document.title}", dense=True)
    if not is_all:
        st.button(
            f"Show all {formats.count(len(document.variants))}", key="all-variants", type="tertiary",
            on_click=lambda: st.query_params.update({"all": "yes"}),
        )  # fmt: skip


def _variant(
    viewer: people.Viewer, document: ProductDocument, variant: VariantDocument, stock: Mapping[str, Any] | None
) -> tuple[str, ...]:
    weight = formats.UNKNOWN if variant.weight_grams is None else f"{formats.count(variant.weight_grams)} g"
    return (
        f"<b>{components.link('skus', variant.code, viewer.where(sku=variant.code))}</b>",
        *(escape(value) for value in variant.option_values[: len(document.options)]),
        escape(variant.barcode or formats.UNKNOWN),
        escape(formats.money(variant.price_minor, variant.currency)),
        escape(formats.money(variant.compare_at_minor, variant.currency)),
        escape(weight),
        components.number(None if stock is None else stock["available"]),
        components.pill("unknown" if stock is None else stock["stock_state"]),
    )


def _draw_fields(document: ProductDocument, definitions: Mapping[tuple[str, str], Definition]) -> None:
    if document.metafields:
        st.subheader("Metafields", anchor="metafields")
        body = [
            (_field_name(key, definition), escape(definition.type.capitalize() if definition else formats.UNKNOWN),
             _value(definition, value))
            for key, value in document.metafields.items()
            for definition in (definitions.get(("product", key)),)
        ]  # fmt: skip
        components.table([("Name", False), ("Type", False), ("Value", False)], body, "Metafields of the product")
    shown = [variant for variant in document.variants[:VARIANTS_SHOWN] if variant.metafields]
    if not shown:
        return
    st.subheader("Metafields of variants", anchor="variant-metafields")
    keys = sorted({key for variant in shown for key in variant.metafields})
    known = {key: definitions.get(("variant", key)) for key in keys}
    heads = [("SKU", False)]
    for key, definition in known.items():
        heads.append((definition.name if definition else key, definition is not None and definition.type in _NUMBERS))
    rows = [
        (f"<b>{escape(variant.code)}</b>", *(_value(known[key], variant.metafields.get(key)) for key in keys))
        for variant in shown
    ]
    components.table(heads, rows, "Metafields of the variants", dense=True)


_NUMBERS = ("integer", "decimal", "money")


def _field_name(key: str, definition: Definition | None) -> str:
    named = escape(definition.name if definition else key)
    return f"<b>{named}</b><br><span class='sy-meta'>{escape(key)}</span>"


def _value(definition: Definition | None, value: Any) -> str:
    if value is None:
        return formats.UNKNOWN
    shown = str(value) if definition is None else catalogue_words.field_shown(definition.type, value)
    if definition is not None and definition.type == "colour":
        return f'<i class="sy-swatch" style="background:{escape(shown)}"></i> {escape(shown)}'
    return escape(formats.shortened(shown, 200))
