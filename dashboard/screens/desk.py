"""What waits at the Desk, and the warehouse's acts: receive, adjust, count, transfer, take back, load, undo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

import streamlit as st

from dashboard import (
    components,
    desk_acts,
    desk_count,
    desk_dialogs,
    desk_document,
    desk_files,
    desk_queries,
    desk_words,
    formats,
    people,
)

_KINDS = {"All": None, **{word: kind for kind, word in desk_words.KINDS.items()}}


def leave_page() -> None:
    """Another part begins on its first page."""
    for name in ("after", "before"):
        st.query_params.pop(name, None)


def draw_open(viewer: people.Viewer) -> None:
    """What waits for somebody, by kind."""
    waits = desk_queries.waiting(viewer.shop.id, viewer.person.scope)
    if not waits["has_stock"] and not any(waits[key] for key in ("counts", "transfers", "purchase_orders")):
        components.empty(
            "There is no stock yet", "Receive a first delivery, or connect a channel and take over its stock."
        )
        return
    is_calm = True
    for kind, head in (
        ("count", "Counts"),
        ("transfer", "Transfers"),
        ("purchase_order", "Purchase orders"),
    ):
        after = st.query_params.get("after", "0") if st.query_params.get("of") == kind else "0"
        page = desk_queries.open_documents(viewer.shop.id, viewer.person.scope, kind, formats.number(after) or 0)
        if not page.rows:
            continue
        is_calm = False
        st.subheader(head, anchor=kind)
        for row in page.rows:
            desk_count.draw_row(row, viewer.shop.zone)
        if page.more:
            components.open_here("More", f"more-{kind}", of=kind, after=str(page.rows[-1]["document_id"]))
    if waits["apart"]:
        is_calm = False
        st.subheader("Quarantine", anchor="quarantine")
        desk_acts.draw_quarantine(viewer)
    if is_calm:
        components.empty(
            "Nothing waits at the desk", "No count, transfer or purchase order is open; quarantine is empty."
        )


def answer(waits: Mapping[str, Any]) -> str:
    """The page's answer in one line."""
    parts = [
        formats.plural(waits[key], one, many)
        for key, one, many in (
            ("counts", "count open", "counts open"),
            ("transfers", "transfer open", "transfers open"),
            ("purchase_orders", "purchase order to come", "purchase orders to come"),
        )
        if waits[key]
    ]
    if waits["late"]:
        parts.append(f"{waits['late']:,} late")
    if waits["apart"]:
        parts.append(f"{formats.plural(waits['apart'], 'unit')} in quarantine")
    return ", ".join(parts) or "nothing waits"


def draw_journal(viewer: people.Viewer) -> None:
    """Every document, newest first."""
    word = st.selectbox("Kind", list(_KINDS), key="kind", bind="query-params", on_change=leave_page, width=240)
    before = st.query_params.get("before", "")
    page = desk_queries.journal(viewer.shop.id, viewer.person.scope, _KINDS[word or "All"], formats.number(before))
    if not page.rows:
        components.empty("Nothing is booked yet", "Every act of the desk is listed here, with its undo.")
        return
    for row in page.rows:
        _draw_entry(row, viewer.shop.zone)
    with st.container(horizontal=True, key="pager-journal"):
        st.button("Newest", key="journal-first", disabled=not before, on_click=leave_page)
        if page.more:
            components.open_here("Older", "journal-older", before=str(page.rows[-1]["document_id"]))


def _draw_entry(row: Mapping[str, Any], zone: str) -> None:
    number = row["document_id"]
    name = desk_words.name(row["kind"], number, row["undoes_id"])
    with components.card(desk_words.state(row)[0], f"entry-{number}"):
        with st.container(width="stretch", gap=None):
            what = (
                f"{desk_words.route(row)}: {formats.plural(row['skus'], 'SKU')}, {formats.signed(row['units'])} units"
            )
            components.html(f"<div>{desk_words.pill(row)} <b>{escape(name)}</b> {escape(what)}</div>")
            st.caption(
                f"{formats.plain(row['created_by'])}: {formats.plain(row['reason'])} · "
                f"{formats.moment(row['created_at'], row['as_of'], zone)}"
            )
        with st.container(horizontal=True, width="content"):
            is_undoable = (
                row["done_at"] is not None
                and row["undoes_id"] is None
                and row["undone_by_id"] is None
                and row["state"] == "done"
                and row["kind"] not in ("purchase_order", "transfer")
            )
            if is_undoable and st.button("Undo…", key=f"undo-{number}"):
                desk_dialogs.undo(number, row["kind"])
            components.open_here("Open", f"open-{number}", document=str(number), before="")


PARTS: dict[str, Callable[[people.Viewer], None]] = {
    "Open": draw_open,
    "Receive": desk_acts.draw_receive,
    "Adjust": desk_acts.draw_adjust,
    "Count": desk_count.draw_sheets,
    "Transfer": desk_acts.draw_transfer,
    "Return": desk_acts.draw_return,
    "Expect": desk_acts.draw_order,
    "Files": desk_files.draw,
    "Journal": draw_journal,
}


def draw() -> None:
    """The part that the address names, or one document."""
    viewer = people.viewer()
    number = st.query_params.get("document", "")
    with components.panel("desk"):
        if number:
            desk_dialogs.draw_done()
            desk_document.draw(viewer, number)
            return
        waits = desk_queries.waiting(viewer.shop.id, viewer.person.scope)
        is_open = st.query_params.get("part", "Open") == "Open"
        components.title("Desk", answer(waits) if is_open else "", formats.as_of(waits["as_of"], viewer.shop.zone))
        part = st.segmented_control(
            "Part",
            list(PARTS),
            key="part",
            default="Open",
            required=True,
            bind="query-params",
            on_change=leave_page,
            label_visibility="collapsed",
        )
        desk_dialogs.draw_done()
        components.one_of(PARTS, part or "Open", viewer)


draw()
