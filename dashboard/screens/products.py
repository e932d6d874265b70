"""Which products are there, and for one of them: what is it, what became of it, and how is it changed?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import streamlit as st

from core.catalog.products.queries import COUNTED_MAX, Filters, Page, SkuPage
from dashboard import (
    catalogue_queries,
    catalogue_words,
    components,
    formats,
    people,
    product_editor,
    product_export,
    product_page,
)

Row = Mapping[str, Any]

_STATUSES = {"All": None, "Active": "active", "Draft": "draft", "Archived": "archived"}
WITHOUT_PRODUCT = "SKUs without one"
_CHOSEN = ("vendor", "type", "category")
NONE = "none"
"""The category of products that have none, in the address."""


def leave_page() -> None:
    """A changed filter begins on the first page again."""
    st.query_params.pop("after", None)


def clear() -> None:
    """Show all products."""
    leave_page()
    for name in _CHOSEN:
        st.query_params.pop(name, None)
    st.session_state["show"], st.session_state["q"] = "All", ""


# --- What is looked for -----------------------------------------------------------------------------------------------


def choose(name: str, label: str, choices: Mapping[str, str], width: int) -> str:
    """One of many, in the address; "" for all of them. What the address names is a choice even where it is no more."""
    key, now = f"choose-{name}", st.query_params.get(name, "")
    if now and now not in choices:
        choices = {now: now, **choices}

    def go() -> None:
        leave_page()
        st.query_params[name] = st.session_state[key]
        if not st.session_state[key]:
            del st.query_params[name]

    st.session_state[key] = now
    found: str = st.selectbox(
        label, ["", *choices], key=key, format_func=lambda value: choices.get(value, label), on_change=go, width=width,
        label_visibility="collapsed",
    )  # fmt: skip
    return found


def draw_filters(viewer: people.Viewer) -> tuple[str, Filters]:
    """Words, status, vendor, type and category, each in the address."""
    shop, scope = viewer.shop.id, viewer.person.scope
    with st.container(horizontal=True, vertical_alignment="bottom", key="product-filters"):
        text = st.text_input(
            "Name, code or barcode",
            type="search",
            key="q",
            bind="query-params",
            placeholder="Name, code or barcode",
            icon=":material/search:",
            on_change=leave_page,
            label_visibility="collapsed",
            width=280,
        )
        show = st.segmented_control(
            "Show", [*_STATUSES, WITHOUT_PRODUCT], key="show", default="All", required=True, bind="query-params",
            on_change=leave_page, label_visibility="collapsed",
        )  # fmt: skip
    if show == WITHOUT_PRODUCT:
        return WITHOUT_PRODUCT, Filters()
    paths = catalogue_queries.paths(shop, scope)
    with st.container(horizontal=True, vertical_alignment="bottom", key="product-choices"):
        vendor = choose("vendor", "Every vendor", _same(catalogue_queries.choices(shop, scope, "vendor")), 190)
        kind = choose("type", "Every type", _same(catalogue_queries.choices(shop, scope, "product_type")), 190)
        named = {NONE: "Without category", **{str(number): path for number, path in paths.items()}}
        category = choose("category", "Every category", named, 340)
    return show or "All", Filters(
        words=(text or "").strip(),
        status=_STATUSES.get(show or "All"),
        vendor=vendor or None,
        product_type=kind or None,
        # A category that is gone has no products: nothing fits, and the page says so.
        category_id=None if category in ("", NONE) else catalogue_queries.category_of(category, paths) or 0,
        without_category=category == NONE,
    )


def _same(names: Sequence[str]) -> dict[str, str]:
    return {name: name for name in names}


def position() -> tuple[str, int] | None:
    """The product that this page begins after, from the address: id~title."""
    number, _, title = st.query_params.get("after", "").partition("~")
    found = formats.number(number)
    return (title, found) if found is not None and title else None


def go_on(after: str) -> Callable[[], None]:
    """A callback that goes to the page after a row."""

    def go() -> None:
        st.query_params["after"] = after

    return go


# --- The list ---------------------------------------------------------------------------------------------------------


def picture(url: str | None) -> str:
    """A small picture as HTML, or the place where it would be."""
    if not url:
        return '<i class="sy-thumb sy-thumb-none"></i>'
    return f'<img class="sy-thumb" src="{escape(url)}" alt="" loading="lazy">'


def prices(row: Row) -> str:
    """£45.00, or £45.00–£52.00."""
    lowest, highest, currency = row["price_from_minor"], row["price_to_minor"], row["currency"]
    if lowest is None:
        return formats.UNKNOWN
    if lowest == highest:
        return formats.money(lowest, currency)
    return f"{formats.money(lowest, currency)}–{formats.money(highest, currency)}"


def codes(row: Row) -> str:
    """The first codes, and how many more there are."""
    shown = [code for code in row["codes"] or () if code]
    more = row["variant_count"] - len(shown)
    return ", ".join(shown) + (f" and {formats.count(more)} more" if more > 0 else "")


def draw_table(viewer: people.Viewer, rows: Sequence[Row]) -> None:
    """One page of products; its title leads to each."""
    as_of = catalogue_queries.now()
    body = [
        (
            f'<div class="sy-item">{picture(row["image_url"])}<div>'
            f"<b>{components.link('products', row['title'], viewer.where(product=str(row['id'])))}</b>"
            f'<br><span class="sy-meta">{escape(codes(row))}</span></div></div>',
            f'<span class="sy-nowrap">{escape(prices(row))}</span>',
            status_pill(row["status"]),
            escape(row["category"] or formats.UNKNOWN),
            escape(row["vendor"] or formats.UNKNOWN),
            components.when(row["updated_at"], as_of, viewer.shop.zone),
        )
        for row in rows
    ]
    heads = [("Product", False), ("Price", True), ("Status", False), ("Category", False), ("Vendor", False)]
    components.table([*heads, ("Changed", False)], body, f"{len(rows)} products by title", dense=True)


def status_pill(status: str) -> str:
    """Active, Draft or Archived as HTML."""
    look = {"active": "ok", "draft": "busy"}.get(status, "unknown")
    return f'<span class="sy-pill sy-pill-{look}">{escape(catalogue_words.status(status))}</span>'


def counted(found: Page) -> str:
    """1,284 products fit; more than 1,000 are not counted."""
    if found.counted > COUNTED_MAX:
        return f"More than {formats.count(COUNTED_MAX)} products"
    return formats.plural(found.counted, "product")


def draw_products(viewer: people.Viewer, filters: Filters) -> None:
    """One page of what fits."""
    after = position()
    with st.skeleton(height=480):
        found = catalogue_queries.products(viewer.shop.id, viewer.person.scope, filters, after)
    if not found.rows:
        _draw_nothing(viewer, filters, is_beyond=after is not None)
        return
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="list-found"
    ):
        with st.container(width="stretch"):
            components.html(f'<div class="sy-muted">{escape(counted(found))}, by title</div>')
        with st.container(width="content"):
            product_export.draw_button(viewer, filters)
    draw_table(viewer, found.rows)
    if after is not None or found.after is not None:
        beyond = None if found.after is None else go_on(f"{found.after[1]}~{found.after[0]}")
        components.pager("products", None if after is None else leave_page, beyond, ("First page", "Next"))


def _draw_nothing(viewer: people.Viewer, filters: Filters, *, is_beyond: bool) -> None:
    if filters == Filters() and not is_beyond and catalogue_queries.is_empty(viewer.shop.id, viewer.person.scope):
        components.empty(
            "There are no products yet",
            "Import a file of them, read them from Shopify, or make one of a SKU without one.",
        )
        return
    if is_beyond:
        components.empty("There are no more products", "They were changed or removed since this page was opened.")
        st.button("First page", key="first-page", on_click=leave_page)
        return
    components.empty("No product fits", "Every typed word must begin one of its words, codes or barcodes.")
    st.button("Show all", key="show-all", on_click=clear)


def draw_skus(viewer: people.Viewer) -> None:
    """SKUs that channels or counts brought, and that are no product yet."""
    after = st.query_params.get("after")
    with st.skeleton(height=480):
        found: SkuPage = catalogue_queries.without_product(viewer.shop.id, viewer.person.scope, after)
    if not found.rows:
        components.empty("Every SKU belongs to a product", "Those of a channel that none of them is yet appear here.")
        return
    components.html(
        '<div class="sy-muted">They have stock and listings, and no product: nothing of them is shown or exported from'
        " here.</div>"
    )
    body = [
        (
            f"<b>{components.link('skus', row['code'], viewer.where(sku=row['code']))}</b>",
            escape(row["title"]),
            escape(row["barcode"] or formats.UNKNOWN),
            components.link("products", "Make a product of it", viewer.where(new=row["code"])),
        )
        for row in found.rows
    ]
    components.table([("SKU", False), ("Title", False), ("Barcode", False), ("", False)], body, "SKUs without product")
    if after is not None or found.more:
        beyond = go_on(found.rows[-1]["code"]) if found.more else None
        components.pager("skus", None if after is None else leave_page, beyond, ("First page", "Next"))


def open_new() -> None:
    """Begin a new product."""
    st.query_params.clear()
    st.query_params.update(people.viewer().where(new="yes"))


def draw_list(viewer: people.Viewer) -> None:
    """Filters on top, then one page."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="list-head"):
        with st.container(width="stretch", gap="xxsmall"):
            components.title("Products")
            components.html('<div class="sy-muted">What we sell: what channels show of it is made from here.</div>')
        with st.container(width="content"):
            st.button("New product…", key="new-product", icon=":material/add:", on_click=open_new)
    product_export.draw(viewer)
    with components.panel("products"):
        show, filters = draw_filters(viewer)
        if show == WITHOUT_PRODUCT:
            draw_skus(viewer)
        else:
            draw_products(viewer, filters)


def draw() -> None:
    """One product, or a new one, where the address names it; else all of them."""
    viewer = people.viewer()
    number = formats.number(st.query_params.get("product", ""))
    if st.query_params.get("new"):
        product_editor.draw(viewer, None)
    elif number is not None and st.query_params.get("edit"):
        product_editor.draw(viewer, number)
    elif st.query_params.get("product"):
        product_page.draw(viewer, number or 0)
    else:
        draw_list(viewer)


draw()
