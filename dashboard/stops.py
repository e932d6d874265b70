"""While writes of the whole shop are stopped: a banner on every page, with the way out of it."""

from __future__ import annotations

from html import escape

import streamlit as st

from dashboard import components, connection_dialogs, connection_queries, connection_words, formats, people


@st.fragment(run_every="10s", key="stops")
def banner() -> None:
    """Since when, by whom and why; looked at every ten seconds, so that a page left open says it too."""
    viewer = people.viewer()
    with components.panel("stops"):
        stop = connection_queries.shop_stop(viewer.shop.id, viewer.person.scope)
        if stop is None:
            return
        # The way back stands beside the words, not at the right edge, where a toast would lie on it.
        with st.container(border=True, horizontal=True, vertical_alignment="center", key="card-danger-banner"):
            with st.container(width="content", gap="xxsmall"):
                components.html(
                    '<div class="sy-banner" role="status"><b>All writes are stopped</b> '
                    f"{escape(connection_words.stop_banner(stop, viewer.shop.zone))}</div>"
                )
                st.caption(
                    f"Nothing is changed at any channel of {formats.plain(viewer.shop.name)}; all is read and booked."
                )
            with st.container(width="content"):
                if st.button("Resume writes…", key="resume-all", type="primary", icon=":material/play_arrow:"):
                    connection_dialogs.resume_all(viewer, stop)
