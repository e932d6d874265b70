"""Recoveries: how far each is, at what rate, when it will be done, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard import components, failure_dialogs, failure_words, formats, people
from dashboard.failure_words import Row

_CLOSED = "recoveries-closed"


def draw(viewer: people.Viewer, recoveries: Sequence[Row]) -> None:
    """A card for each recovery under way, and for each that ended lately until its reader closes it."""
    closed = st.session_state.get(_CLOSED, frozenset())
    for row in recoveries:
        if row["ended_at"] is None or row["recovery_id"] not in closed:
            _draw_card(viewer, row)


def _draw_card(viewer: people.Viewer, row: Row) -> None:
    name = f"recovery-{row['recovery_id']}"
    with components.card(failure_words.recovery_look(row), name):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(f"{formats.badge(failure_words.recovery_state(row))} **{formats.plain(row['name'])}**")
            st.progress(failure_words.recovery_share(row), text=failure_words.progress(row))
            st.caption(
                f"Asked for by {formats.plain(row['requested_by'])} "
                f"{formats.ago(row['requested_at'], row['as_of'], viewer.shop.zone)}: {formats.plain(row['reason'])}"
            )
        with st.container(width="content", horizontal=True, vertical_alignment="center"):
            if row["ended_at"] is not None:
                st.button("Close", key=f"close-{name}", on_click=_close, args=(row["recovery_id"],))
            elif row["state"] == "running" and st.button("Cancel…", key=f"cancel-{name}"):
                failure_dialogs.cancel(row)


def _close(recovery_id: int) -> None:
    st.session_state[_CLOSED] = st.session_state.get(_CLOSED, frozenset()) | {recovery_id}
