"""One account's entries with the balance after each, and one transaction with what caused it and its seal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from core.commissions import wording
from dashboard import components, formats, money_queries, money_words, people

Row = Mapping[str, Any]

HOME = Path(__file__).parent / "screens" / "ledger.py"


def side(balance_minor: int, currency: str) -> str:
    """A balance on its side, as in a book: £12.00 Cr."""
    if not balance_minor:
        return formats.money(0, currency)
    return f"{formats.money(abs(balance_minor), currency)} {'Dr' if balance_minor > 0 else 'Cr'}"


def name_of(kind: str, row: Row) -> str:
    """An account's name: of whom, or of which channel, where it is of one."""
    whose = row.get("party") or row.get("connection")
    return f"{wording.account_kind(kind)}: {whose}" if whose else wording.account_kind(kind)


def _back(viewer: people.Viewer) -> None:
    st.page_link(HOME, label="Ledger", icon=":material/arrow_back:", query_params=viewer.where())


# --- an account -------------------------------------------------------------------------------------------------------


def _newest() -> None:
    st.query_params.pop("before", None)


def _older(number: int) -> Callable[[], None]:
    def go() -> None:
        st.query_params["before"] = str(number)

    return go


def draw_account(viewer: people.Viewer, text: str) -> None:
    """An account's entries, the newest first."""
    _back(viewer)
    with components.panel("account"):
        number = formats.number(text)
        found = None if number is None else money_queries.account(viewer.shop.id, number)
        if found is None:
            components.empty("There is no such account", "Accounts are listed in the ledger, by kind.")
            return
        before = formats.number(st.query_params.get("before", ""))
        entries, more = money_queries.account_entries(viewer.shop.id, found["account_id"], before)
        _draw_account(viewer, found, entries)
        if before is not None or more:
            components.pager(
                "entries",
                _newest if before is not None else None,
                _older(entries[-1]["transaction_id"]) if more else None,
                ("Newest", "Older"),
            )


def _draw_account(viewer: people.Viewer, row: Row, entries: Sequence[Row]) -> None:
    now, currency = money_queries.now(), row["currency"]
    components.title(name_of(row["kind"], row), currency, formats.as_of(now, viewer.shop.zone))
    components.html(f'<div class="sy-muted">{escape(wording.account_meaning(row["kind"]))}.</div>')
    components.figures(
        [
            (escape(side(row["balance_minor"], currency)), "balance"),
            (escape(formats.money(row["debit_minor"], currency)), "debits"),
            (escape(formats.money(row["credit_minor"], currency)), "credits"),
            (components.number(row["entries"]), "entries"),
        ],
        large=True,
    )
    if row["party_id"] is not None:
        st.page_link(
            "screens/sellers.py",
            label=f"Open {formats.plain(row['party'])}",
            icon=":material/storefront:",
            query_params=viewer.where(party=str(row["party_id"])),
        )
    body = [
        (
            components.when(one["recorded_at"], now, viewer.shop.zone),
            components.link("ledger", wording.cause(one["kind"]), viewer.where(transaction=str(one["transaction_id"]))),
            _of_order(viewer, one),
            escape(formats.money(one["amount_minor"], currency)) if one["amount_minor"] > 0 else "",
            escape(formats.money(-one["amount_minor"], currency)) if one["amount_minor"] < 0 else "",
            escape(side(one["balance_minor"], currency)),
        )
        for one in entries
    ]
    heads = [("Recorded", False), ("What", False), ("Of", False), ("Debit", True), ("Credit", True), ("Balance", True)]
    components.table(heads, body, "Entries of this account, the newest first", dense=True)


def _of_order(viewer: people.Viewer, row: Row) -> str:
    if row["order_id"] is None or row["order_name"] is None:
        return escape(row["note"])
    return components.link("orders", row["order_name"], viewer.where(order=str(row["order_id"])))


# --- a transaction ----------------------------------------------------------------------------------------------------


def draw_transaction(viewer: people.Viewer, text: str) -> None:
    """What a transaction moved, why, and where it is sealed."""
    _back(viewer)
    with components.panel("transaction"):
        number = formats.number(text)
        found = None if number is None else money_queries.transaction(viewer.shop.id, number)
        if found is None:
            components.empty("There is no such transaction", "Each line of a statement leads to its transaction.")
            return
        lines = money_queries.transaction_lines(viewer.shop.id, found["transaction_id"])
        _draw_head(viewer, found, lines)
        _draw_entries(viewer, lines)
        with components.panel("caused"):
            _draw_cause(viewer, found)
        with components.panel("seal"):
            _draw_seal(viewer, found)


def _draw_head(viewer: people.Viewer, row: Row, lines: Sequence[Row]) -> None:
    zone = viewer.shop.zone
    components.title(
        f"Transaction {row['transaction_id']}", wording.cause(row["kind"]), formats.as_of(row["as_of"], zone)
    )
    moved: dict[str, int] = {}
    for line in lines:
        if line["amount_minor"] > 0:
            moved[line["currency"]] = moved.get(line["currency"], 0) + line["amount_minor"]
    said = money_words.many(list(moved.items()))
    order = ""
    if row["order_id"] is not None:
        words = f"Open {row['order_name'] or 'order'}"
        order = f" · {components.link('orders', words, viewer.where(order=str(row['order_id'])))}"
    components.html(f'<div class="sy-money"><b>{escape(row["note"])}</b>: {escape(said)} moved{order}</div>')
    happened = formats.exact(row["event_at"], zone)
    recorded, by = formats.exact(row["recorded_at"], zone), formats.plain(row["recorded_by"])
    st.caption(
        f"Happened {happened}; recorded {recorded} by {by}."
        f" Its key is {formats.plain(row['key'])}: the same fact is never posted twice."
    )


def _draw_entries(viewer: people.Viewer, lines: Sequence[Row]) -> None:
    body = [
        (
            components.link("ledger", name_of(row["account_kind"], row), viewer.where(account=str(row["account_id"]))),
            escape(formats.money(row["amount_minor"], row["currency"])) if row["amount_minor"] > 0 else "",
            escape(formats.money(-row["amount_minor"], row["currency"])) if row["amount_minor"] < 0 else "",
        )
        for row in lines
    ]
    foot: list[str] = []
    if len({row["currency"] for row in lines}) == 1:
        currency = lines[0]["currency"]
        debit, credit = (sum(max(sign * row["amount_minor"], 0) for row in lines) for sign in (1, -1))
        foot = ["Together", escape(formats.money(debit, currency)), escape(formats.money(credit, currency))]
    components.table([("Account", False), ("Debit", True), ("Credit", True)], body, "Entries of this transaction", foot)


def _draw_cause(viewer: people.Viewer, row: Row) -> None:
    """The lines that it came of, or the orders whose windows it closed."""
    found = money_queries.transaction_accruals(viewer.shop.id, row["transaction_id"])
    released = money_queries.released_by(viewer.shop.id, row["transaction_id"]) if row["kind"] == "release" else []
    if found:
        st.subheader("Caused by")
        body = [
            (
                escape(one["sku_code"] or one["line_title"] or "The order as a whole"),
                escape(money_words.BASES[one["base"]]),
                escape(money_words.signed(one["net_minor"], one["currency"])),
                escape(money_words.signed(one["tax_minor"], one["currency"])) if one["tax_minor"] else "",
            )
            for one in found
        ]
        heads = [("Line", False), ("Of", False), ("Net", True), ("Taxes", True)]
        components.table(heads, body, "What changed of the order's lines")
    if released:
        st.subheader("Return windows that closed")
        closed = [
            (
                components.link("orders", one["order_name"], viewer.where(order=str(one["order_id"]))),
                formats.plural(one["days"], "day"),
                components.when(one["closes_at"], row["as_of"], viewer.shop.zone),
            )
            for one in released
        ]
        components.table([("Order", False), ("Window", False), ("Closed", False)], closed, "Orders that were released")
        if len(released) == money_queries.RELEASED_MAX:
            st.caption(f"The first {formats.count(len(released))}.")


def _draw_seal(viewer: people.Viewer, row: Row) -> None:
    seal = money_queries.seal_of(viewer.shop.id, row["transaction_id"])
    st.subheader("Seal")
    if seal is None:
        st.markdown(f"{formats.badge('unknown', 'Not sealed yet')} It is sealed with the next seal, within minutes.")
        return
    at = formats.exact(seal.sealed_at, viewer.shop.zone)
    st.markdown(f"{formats.badge('ok', f'Seal {seal.number}')} Sealed {at}.")
    components.html(
        f'<div class="sy-meta">Head of the chain with it: <span class="sy-code" style="overflow-wrap:anywhere">'
        f"{seal.head.hex()}</span></div>"
    )
