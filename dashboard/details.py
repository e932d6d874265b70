"""Drawers that show what a problem is made of, row by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from html import escape
from typing import Any

import streamlit as st

from dashboard import components, evidence, formats, people
from dashboard.problems import Problem

Row = Mapping[str, Any]
LIMIT = evidence.LIMIT


def show(problem: Problem) -> None:
    """Open the drawer with the rows behind a problem, and what to do about them."""
    components.open_dialog(partial(_draw, problem))


@st.dialog("What this is made of", width="medium", position="right", icon=":material/list_alt:")
def _draw(problem: Problem) -> None:
    viewer = people.viewer()
    st.markdown(f"**{problem.headline}**")
    st.markdown(problem.sentence)
    with components.panel(f"details-{problem.id}"):
        _DRAWERS[problem.id.partition("-")[0]](problem, viewer)


def _unmapped(problem: Problem, viewer: people.Viewer) -> None:
    found = evidence.unmapped(viewer.shop.id, problem.row["connection_id"], problem.row["currency"])
    body = [
        (
            escape(row["order_name"]),
            f'<span class="sy-code">{escape(row["code"] or formats.UNKNOWN)}</span><br>{escape(row["title"])}',
            components.number(row["units"]),
            escape(formats.money(row["total_minor"], problem.row["currency"])),
            escape(row["mapping_reason"]),
        )
        for row in found
    ]
    heads = [("Order", False), ("Code and title", False), ("Units", True), ("Total", True), ("Why", False)]
    components.table(heads, body, "Order lines without a SKU")
    _rest(problem.row["lines"], len(found))
    st.markdown("**Next**: give the listing its SKU; its order lines are then booked by themselves.")


def _unpublished(problem: Problem, viewer: people.Viewer) -> None:
    found = evidence.unpublished(viewer.shop.id, problem.row["connection_id"], problem.row["reason"])
    body = [
        (
            f'<span class="sy-code">{escape(row["channel_code"] or row["channel_ref"])}</span>',
            escape(row["title"]),
            escape(row["sku_code"] or formats.UNKNOWN),
            components.number(row["published_units"]),
        )
        for row in found
    ]
    components.table(
        [("Listing", False), ("Title", False), ("SKU", False), ("Shows", True)], body, "Listings not published"
    )
    _rest(problem.row["listings"], len(found))


def _unconfirmed(problem: Problem, viewer: people.Viewer) -> None:
    found = evidence.unconfirmed(viewer.shop.id, problem.row["connection_id"], problem.row["state"])
    body = [
        (
            components.link("orders", row["order_name"], viewer.where(order=str(row["order_id"]))),
            escape(row["package_ref"]),
            f'{escape(row["carrier"])}<br><span class="sy-code">{escape(row["tracking_number"])}</span>',
            escape(formats.exact(row["shipped_at"], viewer.shop.zone)),
            escape(" ".join(part for part in (row["last_code"], row["last_detail"]) if part)) or formats.UNKNOWN,
        )
        for row in found
    ]
    heads = [("Order", False), ("Package", False), ("Carrier", False), ("Left", False), ("Channel said", False)]
    components.table(heads, body, "Packages that are not confirmed")
    _rest(problem.row["packages"], len(found))
    st.markdown("**Next**: all of them, page by page:")
    st.code("switchyard confirm-shipment --list", language=None)


def _schedule(problem: Problem, viewer: people.Viewer) -> None:
    st.json(problem.row["result"] or {"result": "none was left"})
    if problem.row["violations"]:
        st.markdown("**Next**: see every broken figure with its facts:")
        st.code("switchyard audit", language=None)


def _rest(total: int, shown: int) -> None:
    if total > shown:
        st.caption(f"The newest {formats.count(shown)} of {formats.count(total)}.")


_DRAWERS: Mapping[str, Callable[[Problem, people.Viewer], None]] = {
    "unmapped": _unmapped,
    "unpublished": _unpublished,
    "unconfirmed": _unconfirmed,
    "schedule": _schedule,
}
