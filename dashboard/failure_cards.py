"""A card for each group of failures: what happened, how far it reaches, and the one next step."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from dashboard import components, failure_dialogs, failure_drawers, failure_words, formats, people
from dashboard.failure_words import Row


def draw(viewer: people.Viewer, row: Row, is_worst: bool) -> None:
    """One group; `is_worst`: its button is the page's primary one."""
    name = formats.key(row["group_key"])
    with components.card(failure_words.state(row), f"group-{name}"):
        with st.container(width="stretch", gap="xxsmall"):
            draw_text(viewer, row)
        with st.container(width="content", horizontal=True, vertical_alignment="center", key=f"acts-group-{name}"):
            components.open_here("Open", f"open-{name}", group=row["group_key"])
            draw_more(row, name)
            draw_requeue(row, name, is_worst)


def draw_text(viewer: people.Viewer, row: Row) -> None:
    """What happened, the blast radius, where and when, and the next step."""
    kind, zone = failure_words.kind(row), viewer.shop.zone
    st.markdown(f"{failure_words.badge(row)} **{failure_words.headline(row)}**" + (f" · {kind}" if kind else ""))
    components.html(_reach(row))
    if happened := failure_words.happened(row):
        st.markdown(happened)
    st.caption(
        f"{failure_words.about(row)} · first {formats.ago(row['first_at'], row['as_of'], zone)}, "
        f"last {formats.ago(row['last_at'], row['as_of'], zone)}"
    )
    st.markdown(f"→ {failure_words.next_step(row)}")


def _reach(row: Row) -> str:
    """A day by the hour, and what it touches, in one line."""
    figures = "".join(
        f"<span><b>{escape(number)}</b> {escape(name)}</span>" for number, name in failure_words.figures(row)
    )
    look = failure_words.state(row)
    bars = components.bars(list(row["hours"]), "Failures per hour over a day", "danger" if look == "danger" else "")
    return f'<div class="sy-reach"><div class="sy-day">{bars}</div><div class="sy-row">{figures}</div></div>'


def draw_more(row: Row, name: str) -> None:
    """What else can be done about a group."""
    with st.popover("More", key=f"more-{name}"):
        if row["traceback_run_id"] is not None and st.button(
            "Traceback", key=f"trace-{name}", icon=":material/code:", type="tertiary"
        ):
            failure_drawers.traceback(row["traceback_run_id"], f"**{failure_words.headline(row)}**")
        if st.button("Discard…", key=f"discard-{name}", icon=":material/delete:", type="tertiary"):
            failure_dialogs.discard(failure_dialogs.group(row))


def draw_requeue(row: Row, name: str, is_worst: bool) -> None:
    """The button that opens the preview."""
    if st.button(
        "Requeue…", key=f"requeue-{name}", type="primary" if is_worst else "secondary", icon=":material/replay:"
    ):
        failure_dialogs.requeue(failure_dialogs.group(row))


def draw_gone(row: Row) -> None:
    """In the place of a group that was dealt with while it was being read: nothing moves up under the hand."""
    with components.card("superseded", f"gone-{formats.key(row['group_key'])}"):
        st.markdown(f"{formats.badge('superseded', 'Dealt with')} {failure_words.headline(row)}")


def draw_all(viewer: people.Viewer, shown: Sequence[tuple[Row, bool]]) -> None:
    """Groups in the order in which they were first read; the second of each pair says whether it is still open."""
    is_first = True
    for row, is_open in shown:
        if not is_open:
            draw_gone(row)
            continue
        draw(viewer, row, is_first)
        is_first = False
