"""The state of one product at Klaviyo: found by code, handle or title; each of its entries."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import streamlit as st

from dashboard import components, formats, people, target_queries, target_words
from dashboard.target_words import Row

Turn = Callable[[str, str | None], Callable[[], None]]


def begin() -> None:
    """Another search: what was found before is left."""
    for name in ("product", "entries"):
        st.query_params.pop(name, None)


def draw(viewer: people.Viewer, target: Row, turn: Turn) -> None:
    """The field, what it finds, and the one product that is meant."""
    st.subheader("One product", anchor="product")
    words = st.text_input(
        "Find a product", type="search", key="q", bind="query-params", on_change=begin, icon=":material/search:",
        placeholder="Code, handle or title", label_visibility="collapsed", width=380,
    )  # fmt: skip
    with components.panel("target-product"):
        _draw_found(viewer, target, (words or "").strip(), turn)


def _draw_found(viewer: people.Viewer, target: Row, words: str, turn: Turn) -> None:
    chosen = formats.number(st.query_params.get("product", ""))
    if not words:
        st.caption("Shows what each of its entries should be, what Klaviyo confirmed, and what it said last.")
        return
    found = target_queries.found(viewer.shop.id, viewer.person.scope, words)
    if not found.rows:
        components.empty("No product fits", f"“{formats.shortened(words, 60)}” is no code, handle or title.")
        return
    row = next((row for row in found.rows if row["product_id"] == chosen), None)
    if row is None and len(found.rows) == 1:
        row = found.rows[0]
    if row is None:
        st.caption("Which one?" + (" More fit: type more of it." if found.more else ""))
        for each in found.rows:
            components.open_here(
                formats.plain(f"{each['title']} ({each['handle']})"),
                f"choose-{each['product_id']}",
                product=str(each["product_id"]),
            )
        return
    _draw_entries(viewer, target, row, turn)


def _draw_entries(viewer: people.Viewer, target: Row, product: Row, turn: Turn) -> None:
    after = formats.number(st.query_params.get("entries", "")) or 0
    number = product["product_id"]
    page = target_queries.entries(viewer.shop.id, viewer.person.scope, target["connection_id"], number, after)
    link = components.link("products", product["title"], viewer.where(product=str(number)))
    components.html(
        f'<div class="sy-next"><b>{link}</b> <span class="sy-meta">{escape(product["handle"])}</span></div>'
    )
    if not page.rows:
        components.empty("Nothing of it was planned yet", "What is new is looked at within a minute.")
        return
    heads = [("Entry", False), ("State", False), ("Should be", False), ("Confirmed", False), ("Last job", False)]
    components.table(heads, [_entry(viewer, row) for row in page.rows], "Entries of the product", dense=True)
    st.caption("Should be and Confirmed are marks of contents: the same mark is the same content.")
    if page.more or after:
        on = turn("entries", str(page.rows[-1]["entry_id"])) if page.more else None
        components.pager("entries", turn("entries", None) if after else None, on, ("First", "More variants"))


def _entry(viewer: people.Viewer, row: Row) -> tuple[str, ...]:
    look, words = target_words.entry_state(row)
    zone = viewer.shop.zone
    if row["kind"] == "item":
        named = "<b>Item</b>"
    else:
        code = row["code"] or row["external_id"]
        named = f"<b>{components.link('skus', code, viewer.where(sku=code))}</b>"
    problem = f'<div class="sy-meta">{escape(row["problem"])}</div>' if row["problem"] else ""
    confirmed = escape(target_words.content(row["confirmed_hash"], "nothing known"))
    when = f' <span class="sy-meta">{components.when(row["confirmed_at"], row["as_of"], zone)}</span>'
    return (
        f'{named} <span class="sy-meta">id {escape(row["external_id"])}</span>',
        f'<span class="sy-pill sy-pill-{look}">{escape(words)}</span>{problem}',
        escape(target_words.content(row["desired_hash"], "not to be there")),
        confirmed + (when if row["confirmed_at"] is not None else ""),
        f'<span class="sy-meta">{escape(target_words.last_job(row, zone))}</span>',
    )
