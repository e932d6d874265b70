"""A party's statement: lines in pages, the files of a period, and what was adjusted by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from html import escape
from typing import Any

import streamlit as st

from core.clock import business_day, utc_now
from core.commissions import statement_files, statements, wording
from core.commissions.statement_files import Format
from dashboard import components, formats, money_actions, money_period, money_queries, money_words, people
from dashboard.money_period import Days

Row = Mapping[str, Any]

_ICONS = {"xlsx": ":material/table:", "csv": ":material/csv:", "html": ":material/print:"}
_WORDS = {"xlsx": "XLSX", "csv": "CSV", "html": "To print"}
_STATES = {"waiting": ("Waiting", "attention"), "posted": ("Posted", "ok"), "refused": ("Refused", "unknown")}


def _newest() -> None:
    st.query_params.pop("before", None)


def _older(number: int) -> Callable[[], None]:
    def go() -> None:
        st.query_params["before"] = str(number)

    return go


def draw(viewer: people.Viewer, party: Row, currency: str) -> None:
    """Choose days, take them along as files, or read them here, the newest first."""
    today = business_day(party["as_of"], viewer.shop.zone)
    days = money_period.choose(today, _newest)
    _draw_files(viewer, party, days)
    period = statements.period_of(days.first, days.last, viewer.shop.zone)
    before = formats.number(st.query_params.get("before", ""))
    found = money_queries.statement_page(
        viewer.shop.id, viewer.person.scope, party["party_id"], currency, period, before
    )
    if not found.lines:
        components.empty(
            "Nothing changed in these days",
            f"What can be paid stood at {formats.money(found.after.payable_minor, currency)},"
            f" held was {formats.money(found.after.held_minor, currency)}.",
        )
        return
    payable, held, body = found.after.payable_minor, found.after.held_minor, []
    for line in found.lines:
        body.append(
            (
                components.when(line.recorded_at, party["as_of"], viewer.shop.zone),
                components.link("ledger", wording.cause(line.kind), viewer.where(transaction=str(line.transaction_id))),
                _note(viewer, line),
                _moved(line.payable_minor, currency),
                _moved(line.held_minor, currency),
                money_words.amount(payable, currency),
                money_words.amount(held, currency),
            )
        )
        payable, held = payable - line.payable_minor, held - line.held_minor
    heads = [
        ("Recorded", False),
        ("What", False),
        ("Of", False),
        ("Payable", True),
        ("Held", True),
        ("Payable after", True),
        ("Held after", True),
    ]
    foot = ["Before", "", "", "", "", money_words.amount(payable, currency), money_words.amount(held, currency)]
    components.table(heads, body, "Lines of the statement, the newest first", foot, dense=True)
    if before is not None or found.more:
        components.pager(
            "statement",
            _newest if before is not None else None,
            _older(found.lines[-1].transaction_id) if found.more else None,
            ("Newest", "Older"),
        )


def _note(viewer: people.Viewer, line: Any) -> str:
    if line.order_id is None or line.order_name is None:
        return escape(line.note)
    return components.link("orders", line.order_name, viewer.where(order=str(line.order_id)))


def _moved(minor: int, currency: str) -> str:
    return escape(money_words.signed(minor, currency)) if minor else '<span class="sy-muted">–</span>'


def _draw_files(viewer: people.Viewer, party: Row, days: Days) -> None:
    """Each is made only when it is asked for."""
    with st.container(horizontal=True, key="statement-files"):
        for format_ in statement_files.FORMATS:
            st.download_button(
                _WORDS[format_],
                data=partial(make_file, viewer.shop.id, party["party_id"], days, format_),
                file_name=statement_files.name_of(
                    party["code"], days.first.isoformat(), days.last.isoformat(), format_
                ),
                mime=statement_files.media_type(format_),
                key=f"statement-{format_}",
                icon=_ICONS[format_],
                on_click="ignore",
            )


def make_file(shop_id: int, party_id: int, days: Days, format_: Format) -> bytes:
    """The statement of some days as a file. Raises Unreadable."""
    now = utc_now()
    made = money_queries.read(lambda conn: statements.build(conn, shop_id, party_id, days.first, days.last, now))
    return statement_files.make(made, format_).content


def draw_adjustments(viewer: people.Viewer, party: Row) -> None:
    """What was given or taken by hand, and what became of it; those that wait can be decided here."""
    found = money_queries.adjustments(viewer.shop.id, viewer.person.scope, party["party_id"])
    if not found:
        return
    st.subheader("Adjustments", anchor="adjustments")
    for row in found:
        if row["state"] == "waiting":
            _draw_waiting(viewer, row)
    body = [
        (
            components.when(row["asked_at"], row["as_of"], viewer.shop.zone),
            _moved(row["amount_minor"], row["currency"]),
            _state(row),
            escape(row["reason"]),
            escape(_who(row)),
        )
        for row in found
    ]
    heads = [("Asked", False), ("Amount", True), ("State", False), ("Reason", False), ("By", False)]
    components.table(heads, body, "Adjustments of this party, the newest first")


def _state(row: Row) -> str:
    word, look = _STATES[row["state"]]
    return f'<span class="sy-pill sy-pill-{look}">{word}</span>'


def _who(row: Row) -> str:
    if row["decided_by"] is None:
        return str(row["asked_by"])
    verb = "approved" if row["state"] == "posted" else "refused"
    return f"{row['asked_by']}, {verb} by {row['decided_by']}"


def _draw_waiting(viewer: people.Viewer, row: Row) -> None:
    number = row["adjustment_id"]
    with components.card("attention", f"adjustment-{number}"):
        with st.container(width="stretch", gap="xxsmall"):
            money = formats.plain(money_words.signed(row["amount_minor"], row["currency"]))
            st.markdown(f"{formats.badge('attention', 'Waiting for approval')} **{money}**")
            st.markdown(f"{formats.sentence(row['reason'])} Asked by {formats.plain(row['asked_by'])}.")
        with st.container(width="content", horizontal=True, key=f"acts-adjustment-{number}"):
            if st.button("Approve…", key=f"approve-{number}", icon=":material/check:"):
                money_actions.ask_approve(viewer.shop.id, row)
            if st.button("Refuse…", key=f"refuse-{number}", icon=":material/close:"):
                money_actions.ask_refuse(viewer.shop.id, row)
