"""Why is my payable lower than last week? The causes of a change, each with the orders that it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.commissions import wording
from core.commissions.explaining import CauseSum, Cursor, Explanation
from dashboard import components, formats, money_charts, money_queries, money_words, people, theme
from dashboard.charts import CONFIG
from dashboard.money_charts import Fall

Row = Mapping[str, Any]


def choose_since(leave: Callable[[], None], choices: Mapping[str, int]) -> str:
    """Since when; in the address."""
    names = list(choices)
    chosen = st.segmented_control(
        "Compared with", names, key="since", default=names[0], required=True, bind="query-params", on_change=leave
    )
    return chosen or names[0]


def since_words(at: datetime, now: datetime, zone: str) -> str:
    """Last Friday, of a week ago; else the day."""
    there = at.astimezone(ZoneInfo(zone))
    if now - at < timedelta(days=8):
        return f"last {there:%A}"
    return money_words.day(at, now, zone)


def draw(viewer: people.Viewer, party: Row, said: Explanation, since: str) -> None:
    """The answer in words, what the chosen cause is made of, the whole as a figure and as a table."""
    way = "lower" if said.payable_change < 0 else "higher" if said.payable_change > 0 else "as it was"
    than = f" than {since.lower()}" if said.payable_change else f" {since.lower()}"
    # Who comes by a link is taken to the heading when it appears, as far down as there is a page then: what was asked
    # for is there before it.
    head = st.container()
    if not said.causes:
        _draw_head(head, f"{way}{than}")
        components.empty("Nothing changed", "Nothing was recorded of this party in this time.")
        return
    # What was asked for comes first: below the figure it would be out of sight.
    kind = st.query_params.get("cause")
    if kind:
        with components.panel("cause"):
            _draw_orders(viewer, party, said, kind)
    _draw_head(head, f"{way}{than}")
    components.stay_at("why")
    left, right = st.columns([5, 6])
    with left:
        _draw_figure(said, party, viewer.shop.zone)
    with right:
        _draw_causes(viewer, party, said)


def _draw_head(place: DeltaGenerator, how: str) -> None:
    place.subheader(f"Why is payable {how}?", anchor="why")


def falls(said: Explanation, began: str) -> list[Fall]:
    """From what there was, by each cause that moved it, to what there is."""
    steps = [Fall(wording.cause(one.kind), one.payable_minor) for one in said.causes if one.payable_minor]
    return [
        Fall(began, said.before.payable_minor, is_total=True),
        *sorted(steps, key=lambda step: step.minor),
        Fall("Now", said.after.payable_minor, is_total=True),
    ]


def _draw_figure(said: Explanation, party: Row, zone: str) -> None:
    began = f"{since_words(said.period.begins_at, party['as_of'], zone)}"
    steps = falls(said, f"{began[:1].upper()}{began[1:]}")
    st.markdown(f"**What can be paid**, {said.currency}")
    st.plotly_chart(
        money_charts.waterfall(steps, said.currency, theme.tokens()),
        theme=None,
        key="why-figure",
        config=CONFIG,
        alt=money_charts.says_waterfall("What changed what can be paid", steps, said.currency),
    )


def _draw_causes(viewer: people.Viewer, party: Row, said: Explanation) -> None:
    currency = said.currency
    body = [
        (
            f"<b>{_cause_link(viewer, party, one)}</b><br>"
            f'<span class="sy-meta">{escape(wording.meaning(one.kind))}</span>',
            _moved(one.payable_minor, currency),
            _moved(one.held_minor, currency),
        )
        for one in said.causes
    ]
    foot = ["Together", _moved(said.payable_change, currency), _moved(said.held_change, currency)]
    heads = [("Cause", False), ("Payable", True), ("Held", True)]
    components.table(heads, body, "What changed payable and what is held, by cause", foot)


def _moved(minor: int, currency: str) -> str:
    if not minor:
        return '<span class="sy-muted">–</span>'
    text = escape(money_words.signed(minor, currency))
    return f'<span class="sy-negative">{text}</span>' if minor < 0 else text


def _cause_link(viewer: people.Viewer, party: Row, one: CauseSum) -> str:
    kept = {name: st.query_params[name] for name in ("since", "currency") if name in st.query_params}
    number = money_words.number(one)
    where = viewer.where(party=str(party["party_id"]), **kept, cause=one.kind)
    return components.link("sellers", f"{number[:1].upper()}{number[1:]}", where, "why")


# --- what a cause is made of ------------------------------------------------------------------------------------------


def _cursor() -> Cursor | None:
    first, _, second = st.query_params.get("causes_before", "").partition("~")
    numbers = formats.number(first), formats.number(second)
    return None if numbers[0] is None or numbers[1] is None else (numbers[0], numbers[1])


def _newest() -> None:
    st.query_params.pop("causes_before", None)


def _close() -> None:
    _newest()
    st.query_params.pop("cause", None)


def _older(row: Any) -> Callable[[], None]:
    def go() -> None:
        st.query_params["causes_before"] = f"{row.transaction_id}~{row.order_id or 0}"

    return go


def _draw_orders(viewer: people.Viewer, party: Row, said: Explanation, kind: str) -> None:
    before = _cursor()
    found, more = money_queries.cause_orders(
        viewer.shop.id, viewer.person.scope, party["party_id"], said.currency, said.period, kind, before
    )
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(f"**{formats.plain(wording.cause(kind))}**: what it is made of")
        st.button("Close", key="close-cause", icon=":material/close:", type="tertiary", on_click=_close)
    if not found:
        components.empty("Nothing of this kind", "No such thing was recorded in this time.")
        return
    body = [
        (
            components.when(row.recorded_at, party["as_of"], viewer.shop.zone),
            _order(viewer, row.order_id, row.order_name),
            components.link("ledger", row.note, viewer.where(transaction=str(row.transaction_id))),
            _moved(row.payable_minor, said.currency),
            _moved(row.held_minor, said.currency),
        )
        for row in found
    ]
    heads = [("Recorded", False), ("Order", False), ("Ledger", False), ("Payable", True), ("Held", True)]
    components.table(heads, body, f"What {wording.cause(kind).lower()} is made of")
    if before is not None or more:
        components.pager(
            "cause", _newest if before is not None else None, _older(found[-1]) if more else None, ("Newest", "Older")
        )


def _order(viewer: people.Viewer, order_id: int | None, name: str | None) -> str:
    if order_id is None or name is None:
        return '<span class="sy-muted">–</span>'
    return components.link("orders", name, viewer.where(order=str(order_id)))
