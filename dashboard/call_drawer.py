"""One call with everything known of it, in a drawer that has an address."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import call_words, calls, components, formats, people

Row = Mapping[str, Any]

_RUNS = Path(__file__).parent / "screens" / "runs.py"


def open_wanted(viewer: people.Viewer) -> None:
    """Open the call that the address names; closing it takes it out of the address."""
    wanted = st.query_params.get("call", "")
    if wanted.isdecimal() and len(wanted) < 19:
        _show(viewer, int(wanted))


def _close() -> None:
    st.query_params.pop("call", None)
    # The chosen row is chosen no more: the table is made anew.
    st.session_state["calls-closed"] = st.session_state.get("calls-closed", 0) + 1


@st.dialog("One call", width="medium", position="right", icon=":material/swap_horiz:", on_dismiss=_close)
def _show(viewer: people.Viewer, call_id: int) -> None:
    with components.panel("call"):
        row = calls.call(viewer.shop.id, call_id)
        if row is None:
            components.empty(f"There is no call {call_id}", "Calls are kept for a time and then forgotten.")
            return
        asked, party = formats.plain(row["operation"]), formats.plain(row["connection"])
        st.markdown(f"{formats.badge(row['outcome'])} **{asked}** · {party}")
        st.markdown(call_words.meaning(row["outcome"]))
        if row["outcome"] != "ok":
            st.code(call_words.error(row["error"], row["status"]), language=None, wrap_lines=True)
        components.table(
            [("What", False), ("Known", False)], facts(row, viewer.shop.zone), "All that is known of this call"
        )
        if row["sync_run_id"] is not None:
            st.page_link(
                _RUNS,
                label=f"Open sync run {row['sync_run_id']}",
                icon=":material/sync:",
                query_params=viewer.where(run=str(row["sync_run_id"])),
            )
        st.caption("No address, header or body is kept: neither what we sent nor what came back.")


def facts(row: Row, zone: str) -> list[tuple[str, str]]:
    """Names and values, each ready HTML."""
    status = "no answer came" if row["status"] is None else f"{row['status']}"
    known = (
        ("Called", formats.exact(row["called_at"], zone)),
        ("Channel", f"{row['connection']} ({row['vendor']})"),
        ("Operation", row["operation"]),
        ("Method", row["method"]),
        ("HTTP status", status),
        ("Outcome", formats.state(row["outcome"]).word),
        ("Took", f"{formats.count(row['elapsed_ms'])} ms"),
        ("Attempt", call_words.attempt(row["attempt"])),
        ("Quota left", call_words.quota(row["quota_left"])),
        ("API version", row["api_version"] or formats.UNKNOWN),
        ("Deprecation", row["deprecation"] or "no warning came with it"),
        ("Sync run", formats.UNKNOWN if row["sync_run_id"] is None else str(row["sync_run_id"])),
        ("Call no.", str(row["call_id"])),
    )
    return [(escape(name), escape(value)) for name, value in known]
