"""Files of the Desk: choose, dry run at once, every error by row and column, then apply exactly what was shown."""

from __future__ import annotations

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.desk.files import DryRun
from core.desk.rows import Act, Wanted
from core.desk.sheets import BYTES_MAX, ROWS_MAX
from core.errors import SwitchyardError
from dashboard import (
    components,
    desk_actions,
    desk_acts,
    desk_dialogs,
    desk_queries,
    desk_words,
    file_problems,
    formats,
    people,
)

_ACTS: dict[str, Act] = {
    "Receive": "receive",
    "Adjust": "adjust",
    "Count": "count",
    "Transfer": "transfer",
    "Return": "return",
}
_NEEDS: dict[str, str] = {
    "receive": "SKU (or barcode) and units",
    "adjust": "SKU (or barcode) and change, such as -2",
    "count": "SKU (or barcode) and counted units",
    "transfer": "SKU (or barcode) and units",
    "return": "SKU (or barcode), units, order and disposition (restock, quarantine, write off)",
}
_EACH_ROW = "As each row says"


def draw(viewer: people.Viewer) -> None:
    """One file at a time."""
    found = desk_queries.locations(viewer.shop.id, viewer.person.scope)
    if not found:
        components.empty("There is no location yet", "Connect a channel: its place becomes the first location.")
        return
    word = st.segmented_control(
        "What the file is", list(_ACTS), default="Receive", required=True, key="file", bind="query-params"
    )
    act = _ACTS[word or "Receive"]
    wanted = _wanted(viewer, act, found)
    uploaded = st.file_uploader(
        "CSV or XLSX",
        type=["csv", "txt", "tsv", "xlsx"],
        key=f"upload-{st.session_state.get('desk-upload', 0)}",
        help="Columns are found by name, in any order.",
    )
    st.caption(
        f"Columns: {_NEEDS[act]}; location and reason where rows differ. At most {ROWS_MAX:,} rows and "
        f"{BYTES_MAX // 1_000_000} MB. Nothing is booked before you have seen what it does."
    )
    if uploaded is None:
        return
    data = uploaded.getvalue()
    with components.panel("dry-run"):
        with st.skeleton(height=200):
            plan = desk_actions.dry_run(desk_actions.application(), viewer.shop.id, wanted, uploaded.name, data)
        _draw_plan(viewer, wanted, plan, data, found)


def _wanted(viewer: people.Viewer, act: Act, found: dict[int, str]) -> Wanted:
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters-file"):
        options: list[int | None] = [None, *found]
        names: dict[int | None, str] = dict([(None, _EACH_ROW), *found.items()])
        place = st.selectbox(
            "From" if act == "transfer" else "Location",
            options,
            index=1,
            format_func=names.__getitem__,
            key="file-place",
            width=240,
        )
        to = None
        if act == "transfer":
            to = st.selectbox("To", options, format_func=names.__getitem__, key="file-to", width=240)
        against = None
        if act == "receive" and place is not None:
            coming: dict[int | None, str] = {None: desk_acts.NO_DOCUMENT}
            for row in desk_queries.coming_to(viewer.shop.id, viewer.person.scope, place):
                coming[row["document_id"]] = desk_acts.source_word(row)
            against = st.selectbox(
                "Of", list(coming), index=0, format_func=coming.__getitem__, key="file-of", width=300
            )
    return Wanted(act, place, to, against_id=against)


def _draw_plan(viewer: people.Viewer, wanted: Wanted, plan: DryRun, data: bytes, found: dict[int, str]) -> None:
    name = formats.plain(plan.name)
    if plan.problems:
        file_problems.draw(plan.problems, name, "Nothing was booked")
        return
    components.figures(
        [
            (formats.count(plan.rows), "row" if plan.rows == 1 else "rows"),
            (formats.count(plan.skus), "SKU" if plan.skus == 1 else "SKUs"),
            (formats.count(plan.units), "unit" if plan.units == 1 else "units"),
        ]
    )
    later = {
        "count": "A sheet is opened and entered; stock changes when its variances are approved.",
        "transfer": "A transfer is drafted; stock changes when it is sent.",
    }.get(wanted.act)
    notes = [*([later] if later else []), *plan.notes]
    if notes:
        st.markdown("\n".join(f"- {formats.plain(note)}" for note in notes))
    desk_words.draw_changes([change for outcome in plan.outcomes for change in outcome.changes], found, 50)
    with st.form("load-file", border=False, enter_to_submit=True):
        reason = st.text_input("Reason", required=True, placeholder="The morning’s delivery", key="file-reason")
        go = st.form_submit_button(f"Book {formats.plural(plan.rows, 'row')} of {name}", type="primary")
    if go:
        _load(viewer, wanted, plan.name, data, reason or "")


def _load(viewer: people.Viewer, wanted: Wanted, name: str, data: bytes, reason: str) -> None:
    try:
        said, done = desk_actions.load(
            desk_actions.application(), viewer.shop.id, wanted, name, data, Actor(viewer.person.name, reason)
        )
    except SwitchyardError as refused:
        st.error(formats.plain(str(refused)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "load-file")
        return
    if len(done) == 1:
        desk_dialogs.remember(done[0])
    # A fresh uploader: the file that was booked is not offered again.
    st.session_state["desk-upload"] = st.session_state.get("desk-upload", 0) + 1
    desk_dialogs.look_again(said)
