"""Failures one by one: of a group, of those that were dealt with, and those that an order or a SKU hangs on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Any

import streamlit as st

from core.logs import mask
from dashboard import components, failure_dialogs, failure_drawers, failure_queries, failure_words, formats, people
from dashboard.failure_queries import ItemPosition, Page
from dashboard.failure_words import Row


def position(text: str) -> ItemPosition | None:
    """Where an address begins a list of failures; None for what is no position."""
    at, mark, item = text.rpartition("~")
    number = formats.number(item)
    if not mark or number is None:
        return None
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return None
    return None if moment.tzinfo is None else ItemPosition(moment, number)


def after(page: Page) -> str | None:
    """The position after a page, as an address says it."""
    return f"{page.rows[-1]['at'].isoformat()}~{page.rows[-1]['item_id']}" if page.more else None


def draw(viewer: people.Viewer, row: Row, usual: str = "", is_named: bool = False) -> None:
    """One failure with its buttons; its error only where it differs from the `usual` one; `is_named`: its cause too."""
    name = f"{row['source']}-{row['item_id']}"
    with st.container(
        border=True, key=f"item-{name}", horizontal=True, horizontal_alignment="distribute",
        vertical_alignment="center",
    ):  # fmt: skip
        with st.container(width="stretch", gap="xxsmall"):
            components.html(f'<div class="sy-row">{components.pill(row["state"])}{_facts(row, is_named)}</div>')
            said = formats.sentence(mask(row["error"] or "")) or "It left no error."
            if is_named or said != usual:
                st.markdown(said)
            st.caption(_meta(row, viewer.shop.zone))
        with st.container(width="content", horizontal=True, key=f"acts-item-{name}"):
            _draw_buttons(row, name)


def _draw_buttons(row: Row, name: str) -> None:
    about = f"**{failure_words.SOURCES[row['source']][1].capitalize()}** · {failure_words.about(row)}"
    if row["has_payload"] and st.button(
        "Payload", key=f"payload-{name}", type="tertiary", icon=":material/data_object:"
    ):
        failure_drawers.payload(row, about)
    if row["has_traceback"] and st.button("Traceback", key=f"trace-{name}", type="tertiary", icon=":material/code:"):
        failure_drawers.traceback(row["item_id"], about)
    if failure_words.is_open(row):
        target = failure_dialogs.item(row, about)
        if st.button("Discard…", key=f"discard-{name}"):
            failure_dialogs.discard(target)
        if st.button("Requeue…", key=f"requeue-{name}", icon=":material/replay:"):
            failure_dialogs.requeue(target)
    if row["state"] == "discarded" and st.button("Take back…", key=f"take-back-{name}", icon=":material/undo:"):
        failure_dialogs.take_back(failure_dialogs.item(row, about))


def _facts(row: Row, is_named: bool) -> str:
    found = [f"<span>{escape(failure_words.where(row))}</span>"] if is_named else []
    found.append(f"<span>{escape(failure_words.title(row))}</span>")
    for name, one, many in (("orders", "order", "orders"), ("skus", "SKU", "SKUs")):
        if row[name]:
            found.append(f"<span><b>{formats.count(row[name])}</b> {one if row[name] == 1 else many}</span>")
    return "".join(found)


def _meta(row: Row, zone: str) -> str:
    at, now = row["at"], row["as_of"]
    parts = [
        f"{formats.moment(at, now, zone)}, {formats.ago(at, now, zone)}",
        formats.plural(row["attempts"], "attempt"),
        f"job {formats.plain(row['job_ref'])}" if row["job_ref"] else "",
        f"in “{formats.plain(row['recovery'])}”" if row["recovery"] else "",
        f"dealt with {formats.ago(row['state_at'], now, zone)} by {formats.plain(row['settled_by'])}: "
        f"{formats.plain(row['settled_reason'])}"
        if row["settled_by"]
        else "",
        *(
            f"discarded {formats.ago(one['discarded_at'], now, zone)} by {formats.plain(one['discarded_by'])}: "
            f"{formats.plain(one['discarded_reason'])}, and taken back by {formats.plain(one['taken_back_by'])}: "
            f"{formats.plain(one['taken_back_reason'])}"
            for one in row["history"]
        ),
    ]
    return " · ".join(part for part in parts if part)


def draw_page(viewer: people.Viewer, page: Page, usual: str, turn: Any, is_later: bool) -> None:
    """A page of a group's failures; `turn` makes the callback that begins the list elsewhere."""
    for row in page.rows:
        draw(viewer, row, usual)
    _draw_pager("items", page, turn, is_later)


def draw_dealt_with(viewer: people.Viewer, page: Page, turn: Any, is_later: bool) -> None:
    """Failures that were dealt with, each with its cause, who did it and why."""
    for row in page.rows:
        draw(viewer, row, is_named=True)
    _draw_pager("dealt-with", page, turn, is_later)


def _draw_pager(key: str, page: Page, turn: Any, is_later: bool) -> None:
    if page.more or is_later:
        onward = after(page)
        components.pager(
            key,
            turn("before", None) if is_later else None,
            turn("before", onward) if onward else None,
            ("Newest", "Older"),
        )


def draw_about_order(viewer: people.Viewer, order_id: int) -> None:
    """What failed that an order hangs on; nothing where nothing did."""
    _draw_about(viewer, failure_queries.about_order(viewer.shop.id, order_id), "this order")


def draw_about_sku(viewer: people.Viewer, sku_id: int) -> None:
    """What failed that a SKU hangs on; nothing where nothing did."""
    _draw_about(viewer, failure_queries.about_sku(viewer.shop.id, sku_id), "this SKU")


def _draw_about(viewer: people.Viewer, found: Sequence[Row], subject: str) -> None:
    if not found:
        return
    st.subheader("What failed", anchor="failed")
    shown = found[: failure_queries.REFS_MAX]
    for row in shown:
        draw(viewer, row, is_named=True)
    if len(found) > len(shown):
        st.caption(f"The newest {formats.count(len(shown))} that {subject} hangs on; all are on Failures.")
