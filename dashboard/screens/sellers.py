"""What can each seller, creator and referrer be paid, what is held, and what changed?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from html import escape
from typing import Any

import streamlit as st

from core.clock import business_day
from dashboard import components, formats, money_actions, money_queries, money_words, party_page, people

Row = Mapping[str, Any]

_SHOW = {"All": "all", "Sellers": "sellers", "Creators": "creators", "Referrers": "referrers"}


def leave_page() -> None:
    """A changed filter begins on the first page again."""
    st.query_params.pop("after", None)


def clear() -> None:
    """Show all parties."""
    leave_page()
    st.session_state["show"], st.session_state["q"] = "All", ""


def draw_filters() -> tuple[str, str]:
    """Who, and a name; each in the address."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
        show = st.segmented_control(
            "Show", list(_SHOW), key="show", default="All", required=True, bind="query-params", on_change=leave_page,
            label_visibility="collapsed",
        )  # fmt: skip
        text = st.text_input(
            "Name or code",
            type="search",
            key="q",
            bind="query-params",
            placeholder="Name or code",
            icon=":material/search:",
            on_change=leave_page,
            label_visibility="collapsed",
            width=280,
        )
    return _SHOW[show or "All"], (text or "").strip()


def position() -> tuple[str, int] | None:
    """The party that this page begins after, from the address: id~name."""
    number, _, name = st.query_params.get("after", "").partition("~")
    found = formats.number(number)
    return (name, found) if found is not None and name else None


def turn(row: Row) -> Callable[[], None]:
    """A callback that goes to the page after `row`."""

    def go() -> None:
        st.query_params["after"] = f"{row['party_id']}~{row['name'].lower()}"

    return go


# --- the answer -------------------------------------------------------------------------------------------------------


def draw_answer(totals: Sequence[Row]) -> None:
    """What all together can be paid, and what is held of them."""
    owed = [(row["currency"], row["owed_minor"]) for row in totals if row["owed_minor"]]
    held = [(row["currency"], row["held_minor"]) for row in totals if row["held_minor"]]
    negative = sum(row["negative"] for row in totals)
    answer = f"{money_words.many(owed)} can be paid." if owed else "Nothing can be paid yet."
    rest = f"{money_words.many(held)} is held until buyers can no longer return it." if held else ""
    below = f" {formats.in_words(negative)} below zero, carried forward." if negative else ""
    components.answer(escape(answer), escape(f"{rest}{below}".strip()))


def draw_waiting(viewer: people.Viewer) -> None:
    """Adjustments that wait for a second person."""
    found = money_queries.waiting(viewer.shop.id, viewer.person.scope)
    for row in found:
        with components.card("attention", f"adjustment-{row['adjustment_id']}"):
            with st.container(width="stretch", gap="xxsmall"):
                money = money_words.signed(row["amount_minor"], row["currency"])
                about = formats.plain(f"{money} for {row['party']}")
                st.markdown(f"{formats.badge('attention', 'Waiting for approval')} **{about}**")
                asked = formats.ago(row["asked_at"], row["as_of"], viewer.shop.zone)
                st.markdown(f"{formats.sentence(row['reason'])} Asked by {formats.plain(row['asked_by'])} {asked}.")
            with st.container(width="content", horizontal=True, key=f"acts-adjustment-{row['adjustment_id']}"):
                if st.button("Approve…", key=f"approve-{row['adjustment_id']}", icon=":material/check:"):
                    money_actions.ask_approve(viewer.shop.id, row)
                if st.button("Refuse…", key=f"refuse-{row['adjustment_id']}", icon=":material/close:"):
                    money_actions.ask_refuse(viewer.shop.id, row)


# --- the list ---------------------------------------------------------------------------------------------------------


def draw_table(viewer: people.Viewer, rows: Sequence[Row], since: date) -> None:
    """One page of parties; the name opens the party."""
    body = [
        (
            f"<b>{_link(viewer, row)}</b> {_marks(row)}<br>"
            f'<span class="sy-meta">{escape(money_words.kind(row["kind"]))} · {escape(row["code"])}</span>',
            _amounts(row["balances"], "payable"),
            _change(row),
            _amounts(row["balances"], "held"),
            _amounts(row["earned"], "item"),
            _amounts(row["earned"], "shipping"),
        )
        for row in rows
    ]
    heads = [
        ("Party", False),
        ("Can be paid", True),
        (f"Since {since:%a} {since.day} {since:%b}", True),
        ("Held for returns", True),
        ("Items this month", True),
        ("Carriage this month", True),
    ]
    components.table(heads, body, "Parties with what they can be paid, what changed, and what is held", dense=True)


def _link(viewer: people.Viewer, row: Row) -> str:
    return components.link("sellers", row["name"], viewer.where(party=str(row["party_id"])))


def _amounts(found: Sequence[Row], name: str) -> str:
    """One line for each currency; nothing is summed over two."""
    lines = [money_words.amount(each[name], each["currency"]) for each in found if each[name]]
    return "<br>".join(lines) or '<span class="sy-muted">–</span>'


def _change(row: Row) -> str:
    lines = [money_words.change(each["payable"], each["currency"]) for each in row["changes"] if each["payable"]]
    return "<br>".join(lines) or '<span class="sy-muted">unchanged</span>'


def _marks(row: Row) -> str:
    marks = []
    if row["hold_id"] is not None:
        marks.append('<span class="sy-pill sy-pill-paused">On hold</span>')
    if any(each["payable"] < 0 for each in row["balances"]):
        marks.append('<span class="sy-pill sy-pill-attention">Carried forward</span>')
    if row["waiting_adjustments"]:
        marks.append('<span class="sy-pill sy-pill-busy">To approve</span>')
    if row["ended_at"] is not None:
        marks.append('<span class="sy-pill sy-pill-unknown">Ended</span>')
    return " ".join(marks)


def draw_list(viewer: people.Viewer) -> None:
    """All parties: the answer, what waits, then one page."""
    with components.panel("sellers"):
        now = money_queries.now()
        components.title("Sellers", as_of=formats.as_of(now, viewer.shop.zone))
        today = business_day(now, viewer.shop.zone)
        since = today - timedelta(days=7)
        place = st.container()
        show, text = draw_filters()
        after = position()
        with st.skeleton(height=420):
            totals = money_queries.totals(viewer.shop.id, viewer.person.scope)
            found = money_queries.parties(
                viewer.shop.id, viewer.person.scope, show, text, after, since, today.replace(day=1)
            )
        with place:
            draw_answer(totals)
            with components.panel("waiting"):
                draw_waiting(viewer)
        if not found.rows:
            _draw_nothing(viewer, show, text)
            return
        draw_table(viewer, found.rows, since)
        if after is None and not found.more:
            return
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            components.pager(
                "parties",
                leave_page if after is not None else None,
                turn(found.rows[-1]) if found.more else None,
                ("First", "Next"),
            )
            count = formats.plural(len(found.rows), "party", "parties")
            st.caption(f"{count} shown, {money_queries.PAGE} a page, by name")


def _draw_nothing(viewer: people.Viewer, show: str, text: str) -> None:
    if show == "all" and not text:
        components.empty(
            "Nothing is earned yet",
            "Earnings appear with the first order. Who sells and promotes what is said under Commission rules.",
        )
        return
    components.empty("Nobody matches", "A name and a code are looked through for what was typed.")
    st.button("Show all", key="show-all", on_click=clear)


viewer = people.viewer()
wanted = st.query_params.get("party")
if wanted:
    party_page.draw(viewer, wanted)
else:
    draw_list(viewer)
