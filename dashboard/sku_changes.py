"""What changed a SKU's stock, and which channels have followed."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import streamlit as st

from dashboard import change_queries, change_words, components, formats, people
from dashboard.history import Page

Row = Mapping[str, Any]

_HEADS = [
    ("When", False),
    ("Cause", False),
    ("Change", True),
    ("Channel", False),
    ("State", False),
    ("What became of it", False),
]


def draw(viewer: people.Viewer, sku: Row) -> None:
    """One line a channel that has to follow, the newest change first."""
    page = change_queries.legs_of_sku(viewer.shop.id, sku["sku_id"], _before())
    if not page.rows:
        words = (
            ("A bundle has none of its own", "What its parts changed stands on their pages.")
            if sku["is_bundle"]
            else (
                "Nothing had to reach another channel",
                "Sales, returns and documents that others must show are here.",
            )
        )
        components.empty(*words)
        return
    st.caption(change_words.summary(page.rows))
    zone = viewer.shop.zone
    body = [
        (
            components.when(row["recorded_at"], row["as_of"], zone),
            escape(change_words.cause(row)),
            escape(formats.signed(row["delta_units"])),
            f"<b>{escape(row['connection'])}</b>",
            components.pill(row["state"]),
            escape(change_words.told(row)),
        )
        for row in page.rows
    ]
    components.table(_HEADS, body, "Changes of this SKU and the channels that follow")
    _turn(page)


def _before() -> int | None:
    text = st.query_params.get("changes_before", "")
    return formats.number(text)


def _turn(page: Page) -> None:
    def newest() -> None:
        st.query_params.pop("changes_before", None)

    def older() -> None:
        st.query_params["changes_before"] = str(page.rows[-1]["change_id"])

    back = newest if _before() is not None else None
    if back is not None or page.more:
        components.pager("changes", back, older if page.more else None, ("Newest", "Older"))
