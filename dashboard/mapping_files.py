"""The mapping table as a file: out at once; in with a dry run, every error by row and every effect, then loaded."""

from __future__ import annotations

from functools import partial
from html import escape

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.desk.sheets import BYTES_MAX
from core.errors import SwitchyardError
from core.identity.files import ROWS_MAX, DryRun, RowChange
from dashboard import components, file_problems, formats, mapping_actions, mapping_queries, mapping_words, people

_SHOWN = 50
_CHANGES = {
    "new": "Mapped",
    "confirms": "Confirmed",
    "repeats": "Left as found",
    "remaps": "Another SKU",
    "sets_aside": "Set aside",
    "unchanged": "As it is",
}
_LOOKS = {"new": "done", "confirms": "done", "remaps": "attention", "sets_aside": "paused", "unchanged": "idle",
          "repeats": "idle"}  # fmt: skip


def draw(viewer: people.Viewer, connection: tuple[int, str] | None) -> None:
    """Out: of the connection that is chosen, or all. In: one file at a time."""
    _draw_out(viewer, connection)
    st.subheader("Load a file", anchor="load")
    uploaded = st.file_uploader(
        "CSV or XLSX",
        type=["csv", "txt", "tsv", "xlsx"],
        key=f"mapping-upload-{st.session_state.get('mapping-upload', 0)}",
        help="Columns are found by name, in any order.",
    )
    st.caption(
        f"Columns: connection, kind, identifier, sku; ours (no sets aside) and reason where there is one. At most "
        f"{ROWS_MAX:,} rows and {BYTES_MAX // 1_000_000} MB. Nothing changes before you have seen what it does."
    )
    if uploaded is None:
        return
    data = uploaded.getvalue()
    with components.panel("mapping-dry-run"):
        with st.skeleton(height=200):
            plan = mapping_actions.dry_run(mapping_actions.application(), viewer.shop.id, uploaded.name, data)
        draw_plan(viewer, plan, data)


def _draw_out(viewer: people.Viewer, connection: tuple[int, str] | None) -> None:
    st.subheader("Take the table out", anchor="out")
    number, name = connection or (None, "every connection")
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="stack-mapping-out"
    ):
        with st.container(width="stretch"):
            st.markdown(
                f"What is answered for **{formats.plain(name)}**, set aside ones included. Change the file in a "
                "spreadsheet, and load it below."
            )
        with st.container(width="content"):
            st.download_button(
                "Download CSV",
                data=partial(mapping_queries.as_csv, viewer.shop.id, number),
                file_name="identifiers.csv",
                mime="text/csv",
                key="mapping-csv",
                icon=":material/download:",
                on_click="ignore",
            )


def draw_plan(viewer: people.Viewer, plan: DryRun, data: bytes) -> None:
    """What a file would do, or everything that is wrong with it; then the reason and the button."""
    name = formats.plain(plan.name)
    if plan.problems:
        file_problems.draw(plan.problems, name, "Nothing was loaded")
        return
    staying = plan.count("unchanged") + plan.count("repeats")
    changing = plan.rows - staying
    components.figures(
        [
            (formats.count(plan.rows), "row" if plan.rows == 1 else "rows"),
            (formats.count(plan.count("new")), "newly mapped"),
            (formats.count(plan.count("remaps")), "to another SKU"),
            (formats.count(plan.count("confirms")), "confirmed"),
            (formats.count(plan.count("sets_aside")), "set aside"),
            (formats.count(staying), "as they are"),
        ]
    )
    seen = plan.outcome
    lines = [*mapping_words.mapped_lines(seen)]
    if seen.moving or seen.staying:
        lines.append(
            f"**{formats.plural(len(seen.moving), 'open order line moves', 'open order lines move')}** to the other "
            f"SKU, {formats.plural(len(seen.staying), 'stays', 'stay')}."
        )
    st.markdown("\n".join(f"- {line}" for line in [*lines, *(formats.plain(note) for note in plan.notes)]))
    if worst := mapping_words.worst(seen):
        st.warning(worst, icon=":material/warning:")
    _draw_changes([change for change in plan.changes if change.change != "unchanged"])
    with st.form("load-mapping", border=False, enter_to_submit=True):
        reason = st.text_input("Reason", required=True, placeholder="The supplier’s list", key="mapping-file-reason")
        go = st.form_submit_button(
            f"Load {formats.plural(changing, 'change')} of {name}", type="primary", disabled=not changing
        )
    if go:
        _load(viewer, plan, data, reason or "")


def _draw_changes(changes: list[RowChange]) -> None:
    if not changes:
        st.caption("Every row says what is answered already.")
        return
    body = [
        (
            formats.count(each.row),
            f'<span class="sy-code">{escape(mapping_words.shown_value(each.kind, each.value))}</span>'
            f'<div class="sy-meta">{escape(mapping_words.kind(each.kind))} on {escape(each.connection)}</div>',
            f'<span class="sy-pill sy-pill-{formats.state(_LOOKS[each.change]).look}">{_CHANGES[each.change]}</span>',
            f"{escape(each.from_code or formats.UNKNOWN)} → {escape(each.to_code or 'not ours')}",
        )
        for each in changes[:_SHOWN]
    ]
    heads = [("Row", True), ("Identifier", False), ("What it does", False), ("SKU", False)]
    components.table(heads, body, "What the file changes", dense=True)
    if len(changes) > _SHOWN:
        st.caption(f"and {formats.count(len(changes) - _SHOWN)} more")


def _load(viewer: people.Viewer, plan: DryRun, data: bytes, reason: str) -> None:
    try:
        done = mapping_actions.load(
            mapping_actions.application(),
            viewer.shop.id,
            plan.name,
            data,
            plan.outcome.token(),
            Actor(viewer.person.name, reason),
        )
    except SwitchyardError as refused:
        st.error(formats.sentence(str(refused)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "load-mapping")
        return
    # A fresh uploader: the file that was loaded is not offered again.
    st.session_state["mapping-upload"] = st.session_state.get("mapping-upload", 0) + 1
    mapping_queries.forget()
    components.say_later(mapping_words.loaded(plan.name, done.rows, done.outcome))
    st.rerun()
