"""Who earned how much of what was sold, and what is it made of?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from html import escape

import streamlit as st

from core.clock import business_day
from core.commissions import breakdowns, wording
from core.commissions.breakdowns import BYS, By, Chosen, Row
from dashboard import components, formats, money_charts, money_period, money_queries, money_words, people, theme
from dashboard.charts import CONFIG

_BY = {"Seller": "seller", "Creator": "creator", "Referrer": "referrer", "Channel": "channel", "Category": "category"}
_BASES: dict[str, breakdowns.Base | None] = {"All": None, "Items": "item", "Carriage": "shipping"}
ROWS_MAX = 100
_NARROWING: tuple[By, ...] = ("seller", "channel", "category")
"""What may be looked at alone, by its name in the address."""


def leave_page() -> None:
    """A changed choice begins on the first page again."""
    st.query_params.pop("before", None)


def narrow(**where: str | None) -> Callable[[], None]:
    """A callback that puts what is looked at into the address; None takes it out."""

    def go() -> None:
        leave_page()
        for name, value in where.items():
            if value is None:
                st.query_params.pop(name, None)
            else:
                st.query_params[name] = value

    return go


def draw_controls() -> tuple[By, breakdowns.Base | None]:
    """By what, and of what; each in the address."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="commission-controls"):
        by = st.segmented_control(
            "By", list(_BY), key="by", default="Seller", required=True, bind="query-params", on_change=leave_page,
            label_visibility="collapsed",
        )  # fmt: skip
        of = st.segmented_control(
            "Of", list(_BASES), key="of", default="All", required=True, bind="query-params", on_change=leave_page,
            label_visibility="collapsed",
        )  # fmt: skip
    chosen = _BY.get(by or "Seller", "seller")
    return next(each for each in BYS if each == chosen), _BASES[of or "All"]


# --- the answer -------------------------------------------------------------------------------------------------------


def sentence(sums: dict[str, int], currency: str, name: str) -> tuple[str, str]:
    """(what was sold, who has it) of one currency."""
    who = [
        f"{words} {formats.money(sums[part], currency)}"
        for part, words in (
            ("seller", "sellers earned"),
            ("creator", "creators"),
            ("referrer", "referrers"),
            ("platform", "the platform kept"),
        )
        if sums[part]
    ]
    rest = f"{money_words.listed(who)}." if who else ""
    return f"{formats.money(sums['gross'], currency)} was sold {name}.", f"{rest[:1].upper()}{rest[1:]}"


def draw_answer(viewer: people.Viewer, totals: dict[str, dict[str, int]], days: money_period.Days) -> None:
    """One line for each currency."""
    for currency, sums in totals.items():
        answer, rest = sentence(sums, currency, days.name)
        components.answer(escape(answer), escape(rest))
    unmapped = [(currency, sums["unassigned"]) for currency, sums in totals.items() if sums["unassigned"]]
    if unmapped:
        with components.card("attention", "unassigned"):
            with st.container(width="stretch", gap="xxsmall"):
                said = formats.plain(money_words.many(unmapped))
                st.markdown(f"{formats.badge('attention', 'Not mapped yet')} **{said} belongs to nobody yet**")
                st.markdown(
                    "Its lines have no SKU. Once they are mapped it is shared out by the rules of their orders."
                )
            with st.container(width="content", horizontal=True, key="acts-unassigned"):
                st.page_link("screens/mapping.py", label="Open mapping", query_params=viewer.where())


def draw_tiles(sums: dict[str, int], currency: str) -> None:
    """The shares of one currency, each with its part of what was sold."""
    tiles = (
        ("Sold", "gross", "What buyers paid, taxes included, less what was given back"),
        ("Sellers", "seller", "What sellers earned of it"),
        ("Creators", "creator", "Commissions of creators"),
        ("Referrers", "referrer", "Fees of referrers"),
        ("Platform", "platform", "The platform's share, and what it sells itself"),
        ("Channel fees", "channel", "What channels keep"),
        ("Taxes", "authority", "Collected for the authority"),
    )
    with st.grid(4, min_column_width=160):
        for label, part, meaning in tiles:
            if not sums[part] and part != "gross":
                continue
            with st.container(border=True, key=f"metric-{part}-{currency}", height="stretch"):
                st.metric(label, formats.money(sums[part], currency), help=meaning)
                note = (
                    f"{formats.money(sums['carriage'], currency)} of it carriage"
                    if part == "gross"
                    else f"{formats.percent(max(sums[part], 0), sums['gross'])} of what was sold"
                )
                components.html(f'<div class="sy-note">{escape(note)}</div>')


# --- the figure, the table --------------------------------------------------------------------------------------------


def draw_trend(viewer: people.Viewer, chosen: Chosen, days: money_period.Days, currency: str) -> None:
    """Who had how much of each day or week."""
    found = money_queries.trend(viewer.shop.id, viewer.person.scope, chosen, days.is_weekly)
    st.markdown(f"**Who had how much**, {currency} by {'week' if days.is_weekly else 'day'}")
    st.plotly_chart(
        money_charts.trend(found, days.steps(), currency, days.is_weekly, theme.tokens()),
        theme=None,
        key=f"trend-{currency}",
        config=CONFIG,
        alt=money_charts.says_trend(found, currency, days.is_weekly),
    )


_HEADS = (
    ("Sold", True),
    ("Taxes", True),
    ("Platform", True),
    ("Creators", True),
    ("Referrers", True),
    ("Channel", True),
    ("Sellers", True),
)
_PARTS = ("tax", "platform", "creator", "referrer", "channel", "seller")


def draw_table(viewer: people.Viewer, by: By, rows: Sequence[Row], currency: str, chosen: Chosen) -> None:
    """One row for each, which leads to what it is made of, and the totals of one currency below."""
    mine = [row for row in rows if row.currency == currency]
    body = [
        [
            f"<b>{_link(viewer, by, row, chosen)}</b>",
            f"{money_words.amount(row.gross_minor, currency)}{_carriage(row)}",
            *(_share(getattr(row, f"{part}_minor"), currency) for part in _PARTS),
        ]
        for row in mine[:ROWS_MAX]
    ]
    sums = breakdowns.totals(mine)[currency]
    foot = ["All", money_words.amount(sums["gross"], currency), *(_share(sums[part], currency) for part in _PARTS)]
    label = f"Who has how much of what was sold, by {by}, in {currency}"
    components.table([(by.capitalize(), False), *_HEADS], body, label, foot, dense=True)
    if len(mine) > ROWS_MAX:
        st.caption(f"The first {ROWS_MAX} of {formats.count(len(mine))}; the CSV has all of them.")


def _share(minor: int, currency: str) -> str:
    return money_words.amount(minor, currency) if minor else '<span class="sy-muted">–</span>'


def _carriage(row: Row) -> str:
    if not row.carriage_minor or row.carriage_minor == row.gross_minor:
        return ""
    return f'<br><span class="sy-meta">carriage {escape(formats.money(row.carriage_minor, row.currency))}</span>'


def _link(viewer: people.Viewer, by: By, row: Row, chosen: Chosen) -> str:
    """A party leads to its page; the platform, a channel or a category to this page, of nothing else."""
    name = breakdowns.name_of(row, by)
    if by in ("seller", "creator", "referrer") and row.key is not None:
        return components.link("sellers", name, viewer.where(party=row.key))
    kept = {k: v for k, v in st.query_params.to_dict().items() if k in ("period", "from", "to", "of", *_NARROWING)}
    return components.link("commissions", name, viewer.where(**{**kept, by: row.key or ""}))


def draw_narrowed(chosen: Chosen, names: dict[str, str]) -> None:
    """What alone is looked at, each with the way back."""
    shown = [(name, getattr(chosen, name)) for name in _NARROWING if getattr(chosen, name) is not None]
    if not shown:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="narrowed"):
        st.markdown("Only")
        for name, value in shown:
            label = names.get(value, value) or breakdowns.NOBODY[name]
            st.button(
                formats.plain(label), key=f"without-{name}", icon=":material/close:", on_click=narrow(**{name: None})
            )


def draw_facts(viewer: people.Viewer, chosen: Chosen) -> None:
    """The newest facts of what is looked at: each line with the order that it is of."""
    before = formats.number(st.query_params.get("before", ""))
    found, more = money_queries.newest_accruals(viewer.shop.id, chosen, before)
    st.markdown("### Newest lines of it")
    if not found:
        components.empty("No line", "Nothing was booked of it yet.")
        return
    as_of = money_queries.now()
    body = [
        (
            components.when(row["event_at"], as_of, viewer.shop.zone),
            components.link("orders", row["order_name"], viewer.where(order=str(row["order_id"]))),
            f'{escape(row["sku_code"] or row["line_title"] or "")}<br><span class="sy-meta">'
            f"{escape(money_words.BASES[row['base']])} · {escape(wording.cause(row['cause']))}</span>",
            money_words.amount(row["net_minor"] + row["tax_minor"], row["currency"]),
            escape(row["seller"] or breakdowns.NOBODY["seller"]),
            _share(row["seller_minor"], row["currency"]),
        )
        for row in found
    ]
    heads = [("When", False), ("Order", False), ("Of", False), ("Sold", True), ("Seller", False), ("Earned", True)]
    components.table(heads, body, "The newest lines of this selection", dense=True)
    components.pager(
        "facts",
        leave_page if before is not None else None,
        narrow_before(found[-1]["accrual_id"]) if more else None,
        ("Newest", "Older"),
    )


def narrow_before(number: int) -> Callable[[], None]:
    """A callback that goes on to older lines."""

    def go() -> None:
        st.query_params["before"] = str(number)

    return go


def draw(viewer: people.Viewer) -> None:
    """The whole page."""
    now = money_queries.now()
    components.title("Commissions", as_of=formats.as_of(now, viewer.shop.zone))
    place, today = st.container(), business_day(now, viewer.shop.zone)
    by, base = draw_controls()
    days = money_period.choose(today, leave_page)
    chosen = Chosen(days.first, days.last, base, *(st.query_params.get(name) for name in _NARROWING))
    with st.skeleton(height=480):
        rows = money_queries.breakdown(viewer.shop.id, viewer.person.scope, by, chosen)
        # Not everything has a creator: what was sold in all is asked by seller.
        whole = money_queries.breakdown(viewer.shop.id, viewer.person.scope, "seller", chosen)
        channels = money_queries.breakdown(viewer.shop.id, viewer.person.scope, "channel", chosen)
    draw_narrowed(chosen, {row.key: breakdowns.name_of(row, "channel") for row in channels if row.key})
    if not whole:
        _draw_nothing(days)
        return
    totals = breakdowns.totals(whole)
    with place:
        draw_answer(viewer, totals, days)
    for currency, sums in totals.items():
        if len(totals) > 1:
            st.markdown(f"## {currency}")
        draw_tiles(sums, currency)
        with components.panel(f"trend-{currency}"):
            draw_trend(viewer, chosen, days, currency)
        st.markdown(f"### By {by}")
        if any(row.currency == currency for row in rows):
            draw_table(viewer, by, rows, currency, chosen)
        else:
            components.empty(f"Nothing was sold by a {by}", f"No line of these days has a {by}.")
    _draw_download(rows, by, chosen)
    if any(getattr(chosen, name) is not None for name in _NARROWING):
        with components.panel("facts"):
            draw_facts(viewer, chosen)


def _draw_download(rows: Sequence[Row], by: By, chosen: Chosen) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.download_button(
            "CSV",
            data=partial(breakdowns.as_csv, rows, by, chosen),
            file_name=f"commissions-by-{by}-{chosen.first}-to-{chosen.last}.csv",
            mime="text/csv; charset=utf-8",
            key="commissions-csv",
            icon=":material/csv:",
            on_click="ignore",
        )
        st.caption(
            "By the day on which it happened, in the shop’s zone. A refund lowers the day on which it was given."
        )


def _draw_nothing(days: money_period.Days) -> None:
    components.empty(
        "Nothing is earned yet",
        f"Earnings appear with the first order. Nothing was sold or given back {days.name}.",
    )


viewer = people.viewer()
with components.panel("commissions"):
    draw(viewer)
