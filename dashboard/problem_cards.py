"""The card of a problem with its one next step; wherever it stands it says the same."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import components, details, formats, people, syncing
from dashboard.problems import Problem

Row = Mapping[str, Any]

_SCREENS = Path(__file__).parent / "screens"
CALLS = _SCREENS / "calls.py"
_PAGES = {
    kind: _SCREENS / f"{kind}.py"
    for kind in (
        *("skus", "jobs", "oversell", "connections", "mapping", "orders"),
        *("alerts", "calls", "runs", "failures", "schedules"),
    )
}


def draw(viewer: people.Viewer, problem: Problem, by_id: Mapping[int, Row], as_of: datetime, is_worst: bool) -> None:
    """One problem: its state, cause and since when, and the one next step."""
    connection = by_id.get(problem.row.get("connection_id", 0))
    with components.card(problem.state, problem.id):
        with st.container(width="stretch", gap="xxsmall"):
            st.markdown(f"{formats.badge(problem.state)} **{problem.headline}**")
            st.markdown(problem.sentence)
            since = f"Since {formats.moment(problem.since, as_of, viewer.shop.zone)}" if problem.since else ""
            st.caption(" · ".join(part for part in (since, *problem.meta) if part))
        with st.container(width="content", horizontal=True, vertical_alignment="center"):
            if connection is not None and problem.is_about_calls:
                where = {"connection": connection["name"], "show": "Did not succeed"}
                st.page_link(CALLS, label="See calls", icon=":material/swap_horiz:", query_params=viewer.where(**where))
            _step_button(viewer, problem, connection, is_worst)


def _step_button(viewer: people.Viewer, problem: Problem, connection: Row | None, is_worst: bool) -> None:
    step = problem.step
    if step.kind in _PAGES and is_worst:
        if st.button(step.label, key=f"do-{problem.id}", type="primary", icon=":material/arrow_forward:",
                     icon_position="right"):  # fmt: skip
            st.switch_page(_PAGES[step.kind], query_params=viewer.where(**step.where))
        return
    if step.kind in _PAGES:
        st.page_link(
            _PAGES[step.kind],
            label=step.label,
            icon=":material/arrow_forward:",
            icon_position="right",
            query_params=viewer.where(**step.where),
        )
        return
    if st.button(step.label, key=f"do-{problem.id}", type="primary" if is_worst else "secondary"):
        if step.kind == "sync" and connection is not None:
            syncing.ask(connection)
        else:
            details.show(problem)
