"""One document: what it is, its lines, how it stands, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import streamlit as st

from core.clock import utc_now
from core.desk import documents
from dashboard import components, desk_count, desk_dialogs, desk_queries, desk_words, formats, people
from dashboard.desk_dialogs import Asked


def leave() -> None:
    """Back to the desk."""
    for name in ("document", "after"):
        st.query_params.pop(name, None)


def draw(viewer: people.Viewer, number: str) -> None:
    """The page of one document, by its number."""
    st.button("Desk", key="desk-back", type="tertiary", icon=":material/arrow_back:", on_click=leave)
    row = desk_queries.document(viewer.shop.id, int(number)) if number.isdecimal() and len(number) < 18 else None
    if row is None:
        components.empty(f"There is no document {number}", "The journal lists documents with their numbers.")
        return
    zone = viewer.shop.zone
    components.title(
        desk_words.name(row["kind"], row["document_id"], row["undoes_id"]),
        desk_words.route(row),
        formats.as_of(row["as_of"], zone),
    )
    _draw_facts(row, zone)
    if row["kind"] == "count" and row["undoes_id"] is None:
        desk_count.draw(viewer, row)
    else:
        _draw_acts(viewer, row)
        _draw_lines(viewer, row)


def _draw_facts(row: Mapping[str, Any], zone: str) -> None:
    now = row["as_of"]
    facts = [desk_words.pill(row), escape(f"{row['created_by']}: {row['reason']}")]
    if row["reference"]:
        facts.append(escape(row["reference"]))
    if row["expected_on"]:
        facts.append(escape(f"expected {row['expected_on']:%d %b %Y}"))
    facts.append(components.when(row["created_at"], now, zone))
    if row["sent_at"]:
        facts.append(f"sent by {escape(row['sent_by'])} {components.when(row['sent_at'], now, zone)}")
    if row["closing_reason"]:
        facts.append(escape(f"closed by {row['done_by']}: {row['closing_reason']}"))
    components.html(f'<div class="sy-meta">{" · ".join(facts)}</div>')
    links = []
    if row["against_id"]:
        links.append(("of", row["against_kind"], row["against_id"]))
    if row["undoes_id"]:
        links.append(("undoes", row["kind"], row["undoes_id"]))
    if row["undone_by_id"]:
        links.append(("undone by", None, row["undone_by_id"]))
    for word, kind, number in links:
        name = desk_words.name(kind, number) if kind else f"document {number}"
        components.open_here(f"{word.capitalize()} {name.lower()}", f"to-{number}", document=str(number))


def _draw_acts(viewer: people.Viewer, row: Mapping[str, Any]) -> None:
    with st.container(horizontal=True, horizontal_alignment="left", key="document-acts"):
        if row["kind"] == "transfer" and row["state"] == "draft":
            if st.button("Send…", type="primary", key="send", icon=":material/local_shipping:"):
                _ask_send(viewer, row)
            if st.button("Cancel…", key="cancel"):
                _ask_cancel(viewer, row)
        elif row["kind"] in ("transfer", "purchase_order") and row["done_at"] is None:
            st.button(
                "Receive…", type="primary", key="receive", icon=":material/input:", on_click=_receive, args=(row,)
            )
            if st.button("Close what is outstanding…", key="close"):
                _ask_close(viewer, row)
            if row["kind"] == "transfer" and not row["received_units"] and st.button("Undo…", key="undo"):
                desk_dialogs.undo(row["document_id"], row["kind"])
        elif (
            row["undoes_id"] is None
            and row["undone_by_id"] is None
            and row["kind"] not in ("transfer", "purchase_order")
            and st.button("Undo…", key="undo", icon=":material/undo:")
        ):
            desk_dialogs.undo(row["document_id"], row["kind"])


def _receive(row: Mapping[str, Any]) -> None:
    """Go to Receive, with this document chosen."""
    leave()
    st.session_state["part"] = "Receive"
    st.session_state["receive-place"] = row["to_location_id"] or row["location_id"]
    st.session_state["receive-of"] = row["document_id"]


def _ask_send(viewer: people.Viewer, row: Mapping[str, Any]) -> None:
    shop, number = viewer.shop.id, row["document_id"]
    desk_dialogs.ask(
        Asked(
            f"Send transfer {number} to {row['to_location']}?",
            ":material/local_shipping:",
            lambda conn, actor: documents.send_transfer(conn, shop, number, actor, utc_now()),
            "The van is here",
            verb=f"Send {formats.plural(row['units'], 'unit')}",
            done=f"Transfer {number} has left",
            about=[f"They leave {row['location']} now and are incoming at {row['to_location']} until received."],
        )
    )


def _ask_cancel(viewer: people.Viewer, row: Mapping[str, Any]) -> None:
    shop, number = viewer.shop.id, row["document_id"]
    desk_dialogs.ask(
        Asked(
            f"Cancel transfer {number}?",
            ":material/cancel:",
            lambda conn, actor: documents.cancel_transfer(conn, shop, number, actor, utc_now()),
            "Not needed any more",
            verb=f"Cancel transfer {number}",
            done=f"Transfer {number} is cancelled",
            about=["Nothing has left, so nothing moves."],
            is_undoable=False,
        )
    )


def _ask_close(viewer: people.Viewer, row: Mapping[str, Any]) -> None:
    shop, number = viewer.shop.id, row["document_id"]
    is_transfer = row["kind"] == "transfer"
    what = "Lost on the way: gone for good." if is_transfer else "No longer expected from the supplier."
    desk_dialogs.ask(
        Asked(
            f"Close {desk_words.name(row['kind'], number).lower()}?",
            ":material/block:",
            lambda conn, actor: documents.close_outstanding(conn, shop, number, actor, utc_now()),
            "The parcel is lost" if is_transfer else "The supplier has no more",
            verb=f"Close {formats.plural(row['outstanding_units'], 'unit')}",
            done=f"{desk_words.name(row['kind'], number)} is closed",
            about=[what],
            is_undoable=False,
        )
    )


def _draw_lines(viewer: people.Viewer, row: Mapping[str, Any]) -> None:
    after = st.query_params.get("after", "0")
    page = desk_queries.lines(viewer.shop.id, row["document_id"], formats.number(after) or 0)
    is_expected = row["kind"] in ("transfer", "purchase_order") and row["undoes_id"] is None and row["state"] != "draft"
    heads = [("SKU", False), ("Units", True)]
    if is_expected:
        heads += [("Received", True), ("To come", True)]
        if row["dropped_units"]:
            heads.append(("Closed", True))
    elif row["kind"] in ("return", "release"):
        heads += [("What becomes of it", False), ("Order", False)]
    body = []
    for line in page.rows:
        of = f" as part of {escape(line['bundle_code'])}" if line["bundle_code"] else ""
        cells = [f"<b>{escape(line['code'])}</b> {escape(line['title'])}{of}", formats.signed(line["units"])]
        if is_expected:
            is_open = row["done_at"] is None
            cells[1] = components.number(line["units"])
            cells += [
                components.number(line["received_units"]),
                components.number(line["outstanding_units"] if is_open else 0),
            ]
            if row["dropped_units"]:
                cells.append(components.number(line["dropped_units"]))
        elif row["kind"] in ("return", "release"):
            cells += [escape(desk_words.disposition(line["disposition"])), escape(line["order_name"] or "–")]
        body.append(cells)
    components.table(heads, body, "Lines of the document", dense=True)
    if page.more:
        components.open_here("More lines", "lines-more", after=str(page.rows[-1]["ordinal"]))
