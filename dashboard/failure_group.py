"""One group of failures: what happened, and each of its failures with what became of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from core.logs import mask
from dashboard import components, failure_cards, failure_items, failure_queries, failure_words, formats, people

Turn = Callable[[str, str | None], Any]


def draw(viewer: people.Viewer, key: str, turn: Turn) -> None:
    """The page of one group; `turn` makes the callback that begins its list elsewhere."""
    text = st.query_params.get("before", "")
    before = failure_items.position(text)
    row = failure_queries.group(viewer.shop.id, key)
    page = failure_queries.items(viewer.shop.id, key, before)
    if row is None:
        _draw_settled(viewer, page, turn, before is not None)
        return
    components.title("Failures", failure_words.where(row), formats.as_of(row["as_of"], viewer.shop.zone))
    with components.card(failure_words.state(row), "group"):
        with st.container(width="stretch", gap="xxsmall"):
            failure_cards.draw_text(viewer, row)
            _draw_words(page)
        with st.container(width="content", horizontal=True, vertical_alignment="center", key="acts-group"):
            failure_cards.draw_more(row, "group")
            failure_cards.draw_requeue(row, "group", is_worst=True)
    st.subheader("Each of them", anchor="items")
    failure_items.draw_page(viewer, page, _usual(page), turn, before is not None)


def _draw_words(page: failure_queries.Page) -> None:
    """What the error says itself."""
    if said := _usual(page):
        st.caption(f"It says: {said}")


def _usual(page: failure_queries.Page) -> str:
    """The error that most of a page have, which is not said again with each."""
    said = [formats.sentence(mask(row["error"] or "")) for row in page.rows]
    return max(said, key=said.count) if said else ""


def _draw_settled(viewer: people.Viewer, page: failure_queries.Page, turn: Turn, is_later: bool) -> None:
    """Nothing is open any more: say so, and what became of each."""
    if not page.rows:
        components.title("Failures")
        components.empty(
            "There is no such group", "Its failures may have been pruned. All failures shows what is open."
        )
        return
    first = page.rows[0]
    components.title("Failures", failure_words.where(first), formats.as_of(first["as_of"], viewer.shop.zone))
    components.empty(
        "Nothing of this cause is open", "It was requeued or discarded, or a later run did the work. See below."
    )
    failure_items.draw_dealt_with(viewer, page, turn, is_later)
