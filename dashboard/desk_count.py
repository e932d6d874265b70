"""Counts: sheets, counting blind, and the list of variances that somebody approves or sends back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any
from uuid import uuid4

import streamlit as st
from sqlalchemy.exc import SQLAlchemyError

from core.audit import Actor
from core.clock import utc_now
from core.desk import counting
from core.desk.counting import Seen
from core.errors import SwitchyardError
from dashboard import components, desk_actions, desk_dialogs, desk_queries, desk_words, formats, people
from dashboard.desk_basket import Basket, plain_line
from dashboard.desk_dialogs import Asked

_SHOWN = 50
_EVERYTHING = "Everything that lies there"


def draw_sheets(viewer: people.Viewer) -> None:
    """Open sheets, and the form for a new one."""
    found = desk_queries.locations(viewer.shop.id, viewer.person.scope)
    if not found:
        components.empty("There is no location yet", "Connect a channel: its place becomes the first location.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters-count"):
        place = st.selectbox("Location", list(found), format_func=found.__getitem__, key="count-place", width=240)
        kinds = [_EVERYTHING, *desk_queries.categories(viewer.shop.id, viewer.person.scope)]
        what = st.selectbox("What", kinds, key="count-what", width=260)
        go = st.button("Open a sheet…", type="primary", key="count-open")
    if go:
        _ask_open(viewer, int(place), found[place], None if what == _EVERYTHING else what)
    after = st.query_params.get("after", "0")
    page = desk_queries.open_documents(viewer.shop.id, viewer.person.scope, "count", formats.number(after) or 0)
    if not page.rows:
        components.empty("No count is open", "Open a sheet: who counts does not see our number.")
    for row in page.rows:
        draw_row(row, viewer.shop.zone)
    if page.more:
        components.open_here("More", "count-more", after=str(page.rows[-1]["document_id"]))


def draw_row(row: Mapping[str, Any], zone: str) -> None:
    """One open document as a card with the way to it."""
    look, words = desk_words.state(row)
    with components.card(look, f"document-{row['document_id']}"):
        with st.container(width="stretch", gap=None):
            st.markdown(
                f"{formats.badge(look, words)} **{desk_words.name(row['kind'], row['document_id'])}**, "
                f"{formats.plain(desk_words.route(row))}"
            )
            said = [formats.plain(row["reason"])]
            if row["reference"]:
                said.append(formats.plain(row["reference"]))
            if row["expected_on"]:
                said.append(f"expected {row['expected_on']:%d %b %Y}")
            said.append(f"{formats.plain(row['created_by'])}, {formats.ago(row['created_at'], row['as_of'], zone)}")
            st.caption(" · ".join(said))
        with st.container(width="content"):
            components.open_here("Open", f"open-{row['document_id']}", document=str(row["document_id"]), after="")


def _ask_open(viewer: people.Viewer, place: int, name: str, category: str | None) -> None:
    shop, key = viewer.shop.id, f"form:{uuid4().hex}"

    def after(done: Any) -> None:
        st.query_params["document"] = str(done.document_id)

    desk_dialogs.ask(
        Asked(
            f"Open a sheet for {name}?",
            ":material/checklist:",
            lambda conn, actor: counting.open_count(conn, shop, place, key, actor, utc_now(), category=category),
            "The monthly count",
            verb="Open the sheet",
            about=["Nothing moves until variances are approved. What is sold meanwhile is not lost."],
            after=after,
            is_undoable=False,
        )
    )


def draw(viewer: people.Viewer, row: Mapping[str, Any]) -> None:
    """One count: counting, then deciding."""
    # Who counts is not told how counts compare: that is for whoever decides.
    components.figures(
        [
            (formats.count(row["to_count"]), "to count"),
            (formats.count(row["counted"]), "to decide on"),
            (formats.count(row["approved"]), "approved"),
        ]
    )
    if row["done_at"] is not None:
        if row["undone_by_id"] is None and row["approved"] and st.button("Undo…", key="undo", icon=":material/undo:"):
            desk_dialogs.undo(row["document_id"], "count")
        _draw_decided(viewer, row)
        return
    views = ["Count", "Decide"]
    first = "Decide" if row["counted"] and not row["to_count"] else "Count"
    view = st.segmented_control(
        "View",
        views,
        default=first,
        required=True,
        key=f"count-view-{row['document_id']}",
        label_visibility="collapsed",
    )
    if view == "Decide":
        _draw_decisions(viewer, row)
    else:
        _draw_counting(viewer, row)


def _draw_counting(viewer: people.Viewer, row: Mapping[str, Any]) -> None:
    number = row["document_id"]
    basket = Basket(f"count-{number}", lowest=0)
    basket.draw_scan(plain_line(basket))
    basket.draw_lines()
    lines = basket.lines
    with st.container(horizontal=True, horizontal_alignment="left", key="confirm-count"):
        go = st.button(f"Enter {formats.plural(len(lines), 'count')}", type="primary", key="enter", disabled=not lines)
        st.button("Clear", key="clear-count", type="tertiary", disabled=not lines, on_click=basket.clear)
    if go:
        _enter(viewer, number, basket)
    after = st.query_params.get("after", "0")
    page = desk_queries.sheet(viewer.shop.id, number, formats.number(after) or 0)
    st.subheader("Still to count", anchor="to-count")
    if not page.rows:
        components.html('<div class="sy-muted">Every line of the sheet is counted.</div>')
        return
    body = [
        [
            f"<b>{escape(line['code'])}</b> {escape(line['title'])}",
            "Count again" if line["count_state"] == "refused" else "",
        ]
        for line in page.rows
    ]
    components.table([("SKU", False), ("", False)], body, "Still to count")
    if page.more:
        components.open_here("More", "sheet-more", after=str(page.rows[-1]["ordinal"]))


def _enter(viewer: people.Viewer, number: int, basket: Basket) -> None:
    counted = {line.code: line.units for line in basket.lines}
    try:
        said = desk_actions.enter_counts(
            desk_actions.application(),
            viewer.shop.id,
            number,
            counted,
            basket.key,
            Actor(viewer.person.name, f"counted on sheet {number}"),
        )
    except SwitchyardError as refused:
        st.error(formats.plain(str(refused)), icon=":material/error:")
        return
    except SQLAlchemyError as error:
        components.failed(error, "enter-counts")
        return
    basket.clear()
    desk_dialogs.look_again(said)


def _draw_decisions(viewer: people.Viewer, row: Mapping[str, Any]) -> None:
    found = desk_queries.variances(viewer.shop.id, row["document_id"])
    number = row["document_id"]
    if not found:
        components.empty("Nothing waits for a decision", "Counted lines appear here with what was on record then.")
        if st.button("Finish the count…", key="finish"):
            _ask_finish(viewer, row)
        return
    by_code = {line["code"]: line for line in found}
    only = st.multiselect("Only these", list(by_code), key=f"decide-{number}", placeholder="All of them", width=480)
    chosen = [by_code[code] for code in only] or found
    said = f"{row['differing']:,} of {row['counted']:,} differ from what was on record."
    if row["counted"] > len(found):
        said += f" At most {len(found):,} are decided on at a time, the largest variances first."
    components.html(f'<div class="sy-muted">{said}</div>')
    net = sum(line["variance_units"] for line in chosen)
    with st.container(horizontal=True, horizontal_alignment="left", key="decide"):
        approve = st.button(
            f"Approve {formats.plural(len(chosen), 'line')}, {formats.signed(net)}…", type="primary", key="approve"
        )
        refuse = st.button(f"Count {formats.plural(len(chosen), 'line')} again…", key="refuse")
    if approve:
        _ask_approve(viewer, number, chosen)
    elif refuse:
        _ask_refuse(viewer, number, chosen)
    _draw_variances(found, viewer.shop.zone, row)


def _draw_variances(found: Sequence[Mapping[str, Any]], zone: str, row: Mapping[str, Any]) -> None:
    body = [
        [
            f"<b>{escape(line['code'])}</b> {escape(line['title'])}",
            components.number(line["counted_units"]),
            components.number(line["on_hand_units"]),
            f"<b>{formats.signed(line['variance_units'])}</b>",
            f"{escape(line['counted_by'] or '')} {components.when(line['counted_at'], row['as_of'], zone)}",
        ]
        for line in found[:_SHOWN]
    ]
    heads = [("SKU", False), ("Counted", True), ("On record then", True), ("Variance", True), ("Counted by", False)]
    components.table(heads, body, "Variances, the largest first", dense=True)
    if len(found) > _SHOWN:
        said = f"The {_SHOWN} largest of {row['counted']:,}. Decide on these, and the next follow."
        components.html(f'<div class="sy-muted">{said}</div>')


def _draw_decided(viewer: people.Viewer, row: Mapping[str, Any]) -> None:
    after = st.query_params.get("after", "0")
    page = desk_queries.lines(viewer.shop.id, row["document_id"], formats.number(after) or 0)
    body = [
        [
            f"<b>{escape(line['code'])}</b> {escape(line['title'])}",
            components.number(line["counted_units"]),
            components.number(line["on_hand_units"]),
            formats.signed(line["variance_units"]),
            escape(f"{line['counted_by'] or '–'}, {line['decided_by'] or '–'}"),
        ]
        for line in page.rows
    ]
    heads = [
        ("SKU", False),
        ("Counted", True),
        ("On record then", True),
        ("Variance", True),
        ("Counted, approved", False),
    ]
    components.table(heads, body, "Lines of the count", dense=True)
    if page.more:
        components.open_here("More lines", "lines-more", after=str(page.rows[-1]["ordinal"]))


def _seen(chosen: Sequence[Mapping[str, Any]]) -> list[Seen]:
    return [Seen(line["ordinal"], line["variance_units"]) for line in chosen]


def _ask_approve(viewer: people.Viewer, number: int, chosen: Sequence[Mapping[str, Any]]) -> None:
    shop, seen = viewer.shop.id, _seen(chosen)
    desk_dialogs.ask(
        Asked(
            f"Approve {formats.plural(len(chosen), 'line')} of count {number}?",
            ":material/fact_check:",
            lambda conn, actor: counting.approve(conn, shop, number, seen, actor, utc_now()),
            "Counted twice, the same",
            verb=f"Approve {formats.plural(len(chosen), 'line')}",
            about=["The variance is booked, not the counted number: what moved since the count stays."],
            is_undoable=False,
        )
    )


def _ask_refuse(viewer: people.Viewer, number: int, chosen: Sequence[Mapping[str, Any]]) -> None:
    seen = _seen(chosen)
    desk_dialogs.simple(
        f"Count {formats.plural(len(chosen), 'line')} again?",
        ":material/replay:",
        "That cannot be",
        f"Send {formats.plural(len(chosen), 'line')} back",
        "They leave this list, and whoever counts sees them on the sheet again, without the number.",
        lambda actor: desk_actions.refuse_counts(desk_actions.application(), viewer.shop.id, number, seen, actor),
    )


def _ask_finish(viewer: people.Viewer, row: Mapping[str, Any]) -> None:
    number = row["document_id"]
    desk_dialogs.simple(
        f"Finish count {number}?",
        ":material/done_all:",
        "The rest is next week",
        "Finish",
        f"{formats.plural(row['to_count'], 'line')} not counted: they stay as they are.",
        lambda actor: desk_actions.finish_count(desk_actions.application(), viewer.shop.id, number, actor),
    )
