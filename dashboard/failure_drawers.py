"""Drawers of the Failures screen: where the code broke, and what a failed piece of work carried."""

from __future__ import annotations

from html import escape

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.errors import SwitchyardError
from core.logs import mask
from core.recovery.payloads import Payload
from dashboard import (
    components,
    failure_actions,
    failure_queries,
    failure_words,
    formats,
    people,
    previews,
)
from dashboard.failure_words import Row

_SEEN = "payload-seen"
_LANGUAGES = {"application/json": "json"}


def traceback(run_id: int, about: str) -> None:
    """Where the code broke in one run, and the other runs of its job."""

    @st.dialog("Traceback", width="medium", position="right", icon=":material/code:")
    def drawer() -> None:
        st.markdown(about)
        with components.panel("traceback"):
            run = failure_queries.run(people.viewer().shop.id, run_id)
            if run is None:
                components.empty("It is not kept any more", "Old runs are pruned; what was done about them stays.")
                return
            _draw_run(run)

    components.open_dialog(drawer)


def _draw_run(run: Row) -> None:
    zone = people.viewer().shop.zone
    text = run["traceback"] or run["error"] or "It left neither a traceback nor an error."
    st.code(mask(text), language=None, wrap_lines=True)
    st.caption(
        "Killed and abandoned jobs leave no traceback."
        if run["traceback"] is None
        else "Places and lines of code, no values: secrets and names of people are masked."
    )
    body = [
        (
            components.when(one["started_at"], run["as_of"], zone),
            components.pill(one["outcome"] or "running"),
            components.number(one["attempt"]),
            escape(one["worker"] or formats.UNKNOWN),
        )
        for one in failure_queries.attempts(people.viewer().shop.id, run["job_ref"])
    ]
    heads = [("Run", False), ("It ended", False), ("Attempt", True), ("Worker", False)]
    components.table(heads, body, "Runs of this job")
    st.caption(f"Job {formats.plain(run['job_ref'])} · {failure_words.function(run['function'])}")


def payload(row: Row, about: str) -> None:
    """What one failure carried, with what names people covered; in full, and mended, where somebody says why."""
    st.session_state.pop(_SEEN, None)

    @st.dialog("Payload", width="medium", position="right", icon=":material/data_object:")
    def drawer() -> None:
        st.markdown(f"{about} · {formats.plain(failure_words.title(row))}")
        with components.panel("payload"):
            _draw_payload(row)

    components.open_dialog(drawer)


def _draw_payload(row: Row) -> None:
    seen: Payload | None = st.session_state.get(_SEEN)
    found = seen or failure_actions.payload(
        failure_actions.application(), people.viewer().shop.id, row["source"], row["item_id"]
    )
    if seen is not None and found.is_editable:
        _draw_editor(row, found)
        return
    st.code(found.text, language=_LANGUAGES.get(found.media_type), wrap_lines=True)
    if found.is_masked:
        st.caption("What names people is covered. In full it is shown to who says why; that is on record.")
        _draw_way_to_all(row, found)
    if found.why_not:
        st.caption(f"It cannot be edited: {formats.plain(found.why_not)}.")


def _draw_way_to_all(row: Row, found: Payload) -> None:
    """The reason, then the whole; where it may be mended, mending begins there."""
    with st.form("show", border=False, enter_to_submit=True):
        reason = st.text_input(
            "Reason", required=True, placeholder="The buyer asks about this order", key="show-reason"
        )
        with st.container(horizontal=True, horizontal_alignment="right"):
            go = st.form_submit_button("Show in full and edit" if found.is_editable else "Show in full")
    if not go:
        return
    try:
        st.session_state[_SEEN] = failure_actions.show_payload(
            failure_actions.application(),
            people.viewer().shop.id,
            row["source"],
            row["item_id"],
            Actor(people.viewer().person.name, reason or ""),
        )
    except SwitchyardError as error:
        st.error(formats.plain(str(error)), icon=":material/error:")
        return
    st.rerun(scope="fragment")


def _draw_editor(row: Row, found: Payload) -> None:
    st.caption(
        "The original is kept word for word; a mended copy takes its place. Money, and which order it is about, are "
        "the channel’s to change."
    )
    with st.form("edit", border=False):
        text = st.text_area("Payload", found.text, height=420, key=f"edit-text-{row['item_id']}")
        reason = st.text_input("Reason", required=True, placeholder="The quantity was missing", key="edit-reason")
        with st.container(horizontal=True, horizontal_alignment="right"):
            go = st.form_submit_button("Requeue the mended copy", type="primary")
    if not go:
        return
    try:
        said = failure_actions.edit_and_requeue(
            failure_actions.application(),
            people.viewer().shop.id,
            row["item_id"],
            text,
            Actor(people.viewer().person.name, reason or ""),
        )
    except SwitchyardError as error:
        st.error(formats.plain(str(error)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "edit")
        return
    components.say_later(said)
    previews.look_again()
