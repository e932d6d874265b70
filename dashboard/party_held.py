"""What of a party is held, why, and until when."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

import streamlit as st

from dashboard import components, formats, money_queries, money_words, people

Row = Mapping[str, Any]


def draw(viewer: people.Viewer, party: Row, currency: str, held_minor: int, reasons: Sequence[Row]) -> None:
    """By reason first; then order by order, the next to become payable on top."""
    if not reasons:
        components.empty("Nothing is held", "What is sold is held until its buyer can no longer return it.")
        return
    now, zone = party["as_of"], viewer.shop.zone
    body = [
        (
            f"<b>{escape(money_words.REASONS[row['reason']])}</b><br>"
            f'<span class="sy-meta">{escape(money_words.REASON_STEPS[row["reason"]])}</span>',
            components.number(row["windows"]),
            escape(_dates(row, now, zone)),
            money_words.amount(row["amount_minor"], currency),
        )
        for row in reasons
    ]
    heads = [("Why", False), ("Orders", True), ("When", False), ("Held", True)]
    foot = [
        "Together",
        components.number(sum(row["windows"] for row in reasons)),
        "",
        money_words.amount(sum(row["amount_minor"] for row in reasons), currency),
    ]
    components.table(heads, body, "What is held, by reason", foot)
    other = held_minor - sum(row["amount_minor"] for row in reasons)
    if other:
        st.caption(f"{formats.plain(formats.money(other, currency))} more is held of what has no window.")
    if st.expander("Order by order", key="held-orders", on_change="rerun", expanded=_position() is not None).open:
        _draw_orders(viewer, party, currency)


def _dates(row: Row, now: datetime, zone: str) -> str:
    if row["reason"] != "time":
        return "not known yet"
    first, last = (money_words.day(row[name], now, zone) for name in ("next_at", "last_at"))
    if row["next_at"] <= now:
        return "due now" if row["last_at"] <= now else f"from now to {last}"
    return first if first == last else f"{first} to {last}"


def _position() -> tuple[datetime, int] | None:
    moment, _, number = st.query_params.get("held_after", "").partition("~")
    found = formats.number(number)
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return (at, found) if found is not None and at.tzinfo is not None else None


def _first() -> None:
    st.query_params.pop("held_after", None)


def _on(row: Row) -> Callable[[], None]:
    def go() -> None:
        st.query_params["held_after"] = f"{row['place'].isoformat()}~{row['order_id']}"

    return go


def _draw_orders(viewer: people.Viewer, party: Row, currency: str) -> None:
    after = _position()
    found = money_queries.held(viewer.shop.id, viewer.person.scope, party["party_id"], currency, after)
    body = [
        (
            components.link("orders", row["order_name"], viewer.where(order=str(row["order_id"]))),
            escape(money_words.window(row, party["as_of"], viewer.shop.zone)),
            money_words.amount(row["amount_minor"], currency),
        )
        for row in found.rows
    ]
    components.table([("Order", False), ("Why", False), ("Held", True)], body, "What is held, order by order")
    if after is not None or found.more:
        components.pager(
            "held",
            _first if after is not None else None,
            _on(found.rows[-1]) if found.more else None,
            ("First", "Next"),
        )
