"""One category: what it is in a taxonomy, what it may be, any other entry, and what was ever answered."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from core.catalog.taxonomies.queries import Mapped
from core.catalog.taxonomies.rules import Entry, Target
from dashboard import (
    category_mapping_dialogs,
    category_mapping_queries,
    category_mapping_words,
    components,
    formats,
    people,
    queries,
)

Row = dict[str, Any]
LIST = Path(__file__).parent / "screens" / "categories_mapping.py"


def draw(viewer: people.Viewer, target: Target, who: str, category_id: int) -> None:
    """The page of one category."""
    where = viewer.where(target=category_mapping_words.address(target))
    st.page_link(LIST, label="All categories", icon=":material/arrow_back:", query_params=where)
    with components.panel("category"):
        with st.skeleton(height=320):
            one, past = category_mapping_queries.one(viewer.shop.id, target, category_id)
            taxonomy = category_mapping_queries.living(viewer.shop.id, viewer.person.scope, target)
            as_of = queries.database_time()
        if one is None:
            components.empty("There is no such category", "It may have been removed. All of them are on the list.")
            return
        components.title(one.category, f"at {who}", formats.as_of(as_of, viewer.shop.zone))
        st.markdown(f"{category_mapping_words.badge(one)} {category_mapping_words.standing(one, who)}")
        st.caption(f"{formats.plural(one.products, 'product')} in it.")
        _draw_acts(viewer, target, who, one, past)
        if taxonomy is not None:
            _draw_suggestions(viewer, target, one, taxonomy["id"])
            _draw_search(viewer, target, who, one)
        else:
            st.caption(f"{who}’s taxonomy is not loaded yet: there is nothing to map it to.")
        _draw_history(viewer, past, as_of)


def _draw_acts(viewer: people.Viewer, target: Target, who: str, one: Mapped, past: Sequence[Row]) -> None:
    has_answer = one.of_id == one.category_id
    with st.container(horizontal=True, key="category-acts"):
        if past and st.button("Take the last answer back…", key="undo", icon=":material/undo:"):
            category_mapping_dialogs.undo(viewer, target, one)
        if has_answer and st.button("End its answer…", key="end", icon=":material/link_off:"):
            category_mapping_dialogs.end(viewer, target, who, one)
        if not (has_answer and one.state == "left_out") and st.button("Leave out…", key="out", icon=":material/block:"):
            category_mapping_dialogs.leave_out(viewer, target, who, one)
        if (
            target.kind == "klaviyo"
            and one.state != "own"
            and st.button("Its own…", key="own", icon=":material/label:")
        ):
            category_mapping_dialogs.keep_own(viewer, target, who, one)


def _draw_suggestions(viewer: people.Viewer, target: Target, one: Mapped, taxonomy_id: int) -> None:
    found = category_mapping_queries.suggest(viewer.shop.id, target, taxonomy_id, one.category)
    st.subheader("What it may be", anchor="may-be")
    if not found:
        st.caption("No entry has a word of its name: look for it below.")
    draw_suggestions(viewer, target, one, taxonomy_id)


def draw_suggestions(
    viewer: people.Viewer, target: Target, one: Mapped, taxonomy_id: int, is_first: bool = True
) -> None:
    """Every suggestion with how sure it is, why, and its button."""
    found = category_mapping_queries.suggest(viewer.shop.id, target, taxonomy_id, one.category)
    for place, each in enumerate(found):
        with st.container(
            border=True, key=f"item-suggestion-{one.category_id}-{place}", horizontal=True,
            horizontal_alignment="distribute", vertical_alignment="center",
        ):  # fmt: skip
            with st.container(width="stretch", gap="xxsmall"):
                st.markdown(f"**{each.score} %** {formats.plain(each.path)}")
                components.html(f'<div class="sy-meta">{escape("; ".join(each.why))}</div>')
            with st.container(width="content"):
                if one.ref == each.ref and one.state in ("mapped", "inherited"):
                    components.html('<span class="sy-meta">so it is</span>')
                elif st.button(
                    "Accept", key=f"accept-{one.category_id}-{place}", icon=":material/check:",
                    type="primary" if is_first and place == 0 else "secondary", help=f"Map it to {each.path}",
                ):  # fmt: skip
                    category_mapping_dialogs.accept(viewer, target, one, each)


def _draw_search(viewer: people.Viewer, target: Target, who: str, one: Mapped) -> None:
    """Any other entry, by the words of its path."""
    st.subheader("Any other entry", anchor="choose")
    text = st.text_input(
        f"Search {who}’s taxonomy", type="search", key="entry", bind="query-params",
        placeholder="Words of its path, or its id", icon=":material/search:", label_visibility="collapsed", width=380,
    )  # fmt: skip
    wanted = (text or "").strip()
    if not wanted:
        return
    found = category_mapping_queries.find(viewer.shop.id, target, wanted)
    if not found:
        st.caption(f"No entry has every word of “{formats.plain(wanted)}”.")
    for entry in found:
        _draw_found(viewer, target, who, one, entry)


def _draw_found(viewer: people.Viewer, target: Target, who: str, one: Mapped, entry: Entry) -> None:
    key = formats.key(entry.ref)
    with st.container(
        border=True, key=f"item-entry-{key}", horizontal=True, horizontal_alignment="distribute",
        vertical_alignment="center",
    ):  # fmt: skip
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(f"**{formats.plain(entry.name)}**")
            components.html(f'<div class="sy-meta">{escape(entry.path)} · {escape(entry.ref)}</div>')
        with st.container(width="content"):
            if st.button("Map…", key=f"map-{key}", help=f"Map it to {entry.path}"):
                category_mapping_dialogs.map_to(viewer, target, who, one, entry)


def _draw_history(viewer: people.Viewer, past: Sequence[Row], as_of: Any) -> None:
    st.subheader("History", anchor="history")
    if not past:
        st.caption("Nobody has answered yet. Every answer is kept here, with who, when and why.")
        return
    items = "".join(history_item(row, viewer.shop.zone, as_of) for row in past)
    components.html(f'<ol class="sy-timeline">{items}</ol>')


def history_item(row: Row, zone: str, as_of: Any, about: str = "") -> str:
    """One answer of a timeline as HTML; `about` is ready HTML."""
    look = "ok" if row["ended_at"] is None else "quiet-past"
    ended = (
        f'<div class="sy-meta">ended {escape(formats.moment(row["ended_at"], as_of, zone))} by '
        f"{escape(row['ended_by'])}: {escape(row['end_reason'])}</div>"
        if row["ended_at"]
        else ""
    )
    said = escape(category_mapping_words.said(row))
    told = f"{escape(category_mapping_words.source(row))} · {escape(row['mapped_by'])}: {escape(row['reason'])}"
    when = components.when(row["mapped_at"], as_of, zone)
    if about:
        said, told = about, f'{said}<div class="sy-meta">{told}</div>'
    return f'<li class="sy-is-{look}">{when}<b>{said}</b><span>{told}{ended}</span></li>'
