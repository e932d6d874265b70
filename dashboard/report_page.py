"""One day's report in full, by its address: figures, pictures, what it is compared with, corrections, and its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from html import escape
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from core.reports import files, words
from core.reports.queries import ReportRow
from core.reports.rules import counted, sums
from core.reports.words import LABELS, MEANINGS
from dashboard import components, formats, people, report_actions, report_charts, report_queries, theme
from dashboard.charts import CONFIG
from dashboard.report_queries import Beside

Row = Mapping[str, Any]

_ICONS = {"xlsx": ":material/table:", "csv": ":material/csv:", "html": ":material/web:"}
_SHOWN = 12


def draw(viewer: people.Viewer, day: date, edition: int | None) -> None:
    """The day, or why there is nothing to show of it."""
    with components.panel("report"):
        with st.skeleton(height=520):
            report = report_queries.report(viewer.shop.id, viewer.person.scope, day, edition)
            beside = report_queries.beside(viewer.shop.id, viewer.person.scope, day)
        if report is None:
            _draw_absent(viewer, day, edition)
            return
        _draw_head(report)
        _draw_correction(viewer, report)
        currency = report_queries.main_currency(report, viewer.shop.currency)
        _draw_tiles(report, beside, currency)
        _draw_acts(viewer, report)
        _draw_hours(report, currency)
        _draw_markets(report, currency)
        _draw_skus(viewer, report, currency)
        _draw_stock(viewer, report)
        _draw_sync(report)
        _draw_alerts(report)


def turn(day: date | None) -> Callable[[], None]:
    """A callback that opens another day; None goes back to the list."""

    def go() -> None:
        st.query_params.pop("edition", None)
        if day is None:
            st.query_params.pop("day", None)
        else:
            st.query_params["day"] = day.isoformat()

    return go


def draw_ways(day: date) -> None:
    """Back to the list, and to the days beside this one."""
    with st.container(horizontal=True, key="report-ways"):
        st.button("All days", key="all-days", icon=":material/arrow_back:", type="tertiary", on_click=turn(None))
        st.button(
            "Day before",
            key="day-before",
            icon=":material/chevron_left:",
            type="tertiary",
            on_click=turn(day - timedelta(days=1)),
        )
        st.button(
            "Day after",
            key="day-after",
            icon=":material/chevron_right:",
            icon_position="right",
            type="tertiary",
            on_click=turn(day + timedelta(days=1)),
        )


def _draw_absent(viewer: people.Viewer, day: date, edition: int | None) -> None:
    components.title(words.long_day(day))
    last = report_queries.yesterday(report_queries.now(), viewer.shop.zone)
    if edition is not None:
        components.empty("There is no such edition", "Its newest one is shown without a number in the address.")
        st.button("Show the newest", key="newest", on_click=turn(day))
    elif day > last:
        components.empty(
            "This day is not over", f"It is reported when it has closed in {formats.place(viewer.shop.zone)}."
        )
    else:
        components.empty(
            "This day has no report", "It closed before reports were built, or the night's turn was missed."
        )
        if st.button("Build now…", key="build-now", type="primary", icon=":material/bar_chart:"):
            report_actions.ask_build(viewer.shop.id, day, viewer.shop.zone)


def _draw_head(report: ReportRow) -> None:
    built = f"Built {words.stamp(report.built_at, report.time_zone)} by {report.built_by}"
    name = f"edition {report.edition} of {report.editions}" if report.editions > 1 else ""
    components.title(words.long_day(report.day), name, built)
    components.html(f'<div class="sy-muted">{escape(words.summary(report))}</div>')


def _draw_correction(viewer: people.Viewer, report: ReportRow) -> None:
    """That this is a correction, or that there is one; what changed, and why."""
    if report.editions == 1:
        return
    if report.edition == 1:
        with components.card("attention", "edition"):
            st.markdown(f"{formats.badge('attention', 'Replaced')} {words.edition_said(report)}")
            _edition_buttons(viewer, report)
        return
    causes = " ".join(words.cause(each) for each in report.causes) or "No fact names the reason."
    with components.card("attention", "edition"):
        with st.container(width="stretch"):
            st.markdown(f"{formats.badge('attention', 'Correction')} **{formats.plain(words.edition_said(report))}**")
            st.markdown(formats.plain(causes))
            with st.expander(f"{formats.plural(len(report.changes), 'figure')} changed", key="report-changes"):
                _draw_changes(report)
        _edition_buttons(viewer, report)


def _draw_changes(report: ReportRow) -> None:
    body = [
        [
            escape(row["subject"]),
            escape(LABELS.get(row["measure"], row["measure"])),
            escape(_value(row, row["from"])),
            f"<b>{escape(_value(row, row['to']))}</b>",
        ]
        for row in report.changes
    ]
    components.table(
        [("Of", False), ("Figure", False), ("Was", True), ("Is", True)], body, "What changed since the edition before"
    )


def _value(change: Row, value: int | None) -> str:
    if change["measure"].endswith("_minor"):
        return formats.money(value, change["currency"] or "")
    return formats.count(value)


def _edition_buttons(viewer: people.Viewer, report: ReportRow) -> None:
    with st.container(width="content", horizontal=True, key="acts-editions"):
        for row in report_queries.editions(viewer.shop.id, viewer.person.scope, report.day):
            if row["edition"] != report.edition:
                word = "first" if row["edition"] == 1 else f"edition {row['edition']}"
                components.open_here(f"See {word}", f"edition-{row['edition']}", edition=str(row["edition"]))


# --- figures ----------------------------------------------------------------------------------------------------------


def _draw_tiles(report: ReportRow, beside: Beside, currency: str) -> None:
    """The day's figures with what they are against: the same weekday a week before, and the day before."""
    mine, totals = _sums_of(report, currency), counted(report.content["markets"])
    week, before = (_both(other, currency) for other in (beside.week_before, beside.day_before))
    others = [
        f"and {formats.money(each['revenue_minor'], name)}"
        for name, each in sums(report.content["markets"]).items()
        if name != currency
    ]
    tiles: list[tuple[str, str, int | None, str, bool]] = [
        ("orders", formats.count(totals["orders"]), totals["orders"], "", False),
        (
            "revenue_minor",
            formats.money(mine["revenue_minor"], currency),
            mine["revenue_minor"],
            " ".join(others),
            False,
        ),
        ("average_minor", formats.money(mine["average_minor"], currency), mine["average_minor"], "", False),
        ("units", formats.count(totals["units"]), totals["units"], "", False),
        ("refunds", formats.count(totals["refunds"]), totals["refunds"], _given_back(report), True),
        ("cancellations", formats.count(totals["cancellations"]), totals["cancellations"], "", True),
        *_machine_tiles(report),
    ]
    with st.grid(4, min_column_width=160):
        for name, shown, value, note, is_bad in tiles:
            with st.container(border=True, key=f"metric-{name}", height="stretch"):
                change = formats.delta(value, week.get(name))
                st.metric(
                    LABELS[name],
                    shown,
                    delta=change,
                    delta_color="inverse" if is_bad else "normal",
                    delta_description="v. last week" if change else None,
                    help=MEANINGS[name],
                )
                against = (
                    f"{_shown(name, before[name], currency)} the day before" if before.get(name) is not None else ""
                )
                said = " · ".join(filter(None, (note, against)))
                components.html(f'<div class="sy-note">{escape(said)}</div>')


def _machine_tiles(report: ReportRow) -> list[tuple[str, str, int | None, str, bool]]:
    outs, over = report.content["stock_outs"], report.content["oversells"]
    together = f"{formats.duration(outs['minutes'] * 60)} together" if outs["skus"] else ""
    units = f"{formats.plural(over['units'], 'unit')} too many" if over["count"] else ""
    return [
        ("stock_outs", formats.count(outs["skus"]), outs["skus"], together, True),
        ("oversells", formats.count(over["count"]), over["count"], units, True),
    ]


def _both(report: ReportRow | None, currency: str) -> dict[str, int | None]:
    """What another day's tiles show, by name; empty where it is not reported."""
    if report is None:
        return {}
    return {
        **_sums_of(report, currency),
        **counted(report.content["markets"]),
        "stock_outs": report.content["stock_outs"]["skus"],
        "oversells": report.content["oversells"]["count"],
    }


def _sums_of(report: ReportRow, currency: str) -> dict[str, int | None]:
    none: dict[str, int | None] = {"revenue_minor": 0, "average_minor": None}
    return sums(report.content["markets"]).get(currency, none)


def _shown(name: str, value: int | None, currency: str) -> str:
    return formats.money(value, currency) if name.endswith("_minor") else formats.count(value)


def _given_back(report: ReportRow) -> str:
    back = sums(report.content["markets"]).items()
    return " and ".join(formats.money(each["refunded_minor"], name) for name, each in back if each["refunded_minor"])


def _draw_acts(viewer: people.Viewer, report: ReportRow) -> None:
    """Its files, each made only when it is asked for; send it; look again."""
    with st.container(horizontal=True, key="report-acts"):
        for format_ in files.FORMATS:
            st.download_button(
                format_.upper(),
                data=partial(_file, report, viewer.shop.name, format_),
                file_name=files.name_of(report, viewer.shop.name, format_),
                mime=files.media_type(format_),
                key=f"download-{format_}",
                icon=_ICONS[format_],
                on_click="ignore",
            )
        if st.button("Send…", key="send", icon=":material/send:"):
            report_actions.ask_send(report)
        if st.button("Look for changes…", key="look-again", icon=":material/update:"):
            report_actions.ask_correct(viewer.shop.id, report)


def _file(report: ReportRow, shop: str, format_: files.Format) -> bytes:
    return files.make(report, shop, format_).content


# --- pictures and tables ----------------------------------------------------------------------------------------------


def _plot(figure: go.Figure, key: str, alt: str) -> None:
    st.plotly_chart(figure, theme=None, key=key, config=CONFIG, alt=alt)


def _draw_hours(report: ReportRow, currency: str) -> None:
    st.markdown("### By hour")
    said = words.hours_said(report)
    usual = f"Usual: {MEANINGS['usual'][0].lower()}{MEANINGS['usual'][1:]}"
    st.caption(f"{said} {usual}".strip())
    tokens = theme.tokens()
    left, right = st.columns(2)
    with left:
        st.markdown("**Orders**")
        _plot(report_charts.by_hour(report, None, tokens), "hours-orders", report_charts.says_by_hour(report, None))
    with right:
        st.markdown(f"**Revenue**, {currency}")
        said = report_charts.says_by_hour(report, currency)
        _plot(report_charts.by_hour(report, currency, tokens), "hours-revenue", said)


def _draw_markets(report: ReportRow, currency: str) -> None:
    st.markdown("### By marketplace", help=MEANINGS["revenue_minor"])
    markets = report.content["markets"]
    if not markets:
        components.empty("Nothing was sold or given back", "No order, refund or cancellation fell on this day.")
        return
    sold = [row for row in markets if row["currency"] == currency and row["revenue_minor"]]
    if len(sold) > 1:
        names = [_market(row) for row in sold]
        minors = [row["revenue_minor"] for row in sold]
        shown = [formats.money(minor, currency) for minor in minors]
        alt = report_charts.says_bars("Revenue by marketplace", names, shown)
        _plot(report_charts.by_market(names, minors, currency, theme.tokens()), "markets", alt)
    heads = [
        ("Marketplace", False),
        *((LABELS[name], True) for name in ("orders", "units", "revenue_minor", "average_minor")),
        *((name, True) for name in ("Taxes", "Shipping", "Given back", "Cancelled")),
    ]
    body = [_market_cells(row) for row in markets]
    components.table(heads, body, "Orders, units and money by marketplace", dense=True)


def _market(row: Row) -> str:
    return f"{row['connection'] or words.NO_ORDER} · {row['country'] or 'country not told'}"


def _market_cells(row: Row) -> list[str]:
    currency = row["currency"]
    back = formats.money(row["refunded_minor"], currency) if row["refunds"] else ""
    return [
        f"<b>{escape(_market(row))}</b>",
        formats.count(row["orders"]),
        formats.count(row["units"]),
        escape(formats.money(row["revenue_minor"], currency)),
        escape(formats.money(report_charts.average(row), currency)),
        escape(formats.money(row["tax_minor"], currency)),
        escape(formats.money(row["shipping_minor"], currency)),
        escape(back),
        formats.count(row["cancellations"]) if row["cancellations"] else "",
    ]


def _draw_skus(viewer: people.Viewer, report: ReportRow, currency: str) -> None:
    best = [row for row in report.content["skus"] if row["currency"] == currency]
    if not best:
        return
    st.markdown("### Top SKUs")
    st.caption(f"By revenue, of {formats.count(report.content['skus_sold'])} that sold.")
    left, right = st.columns([3, 2])
    with left:
        shown = [formats.money(row["revenue_minor"], currency) for row in best]
        alt = report_charts.says_bars("The best by revenue", [row["code"] for row in best], shown)
        _plot(report_charts.top_skus(best, currency, theme.tokens()), "skus", alt)
    with right:
        body = [
            [
                components.link("skus", row["code"], viewer.where(sku=row["code"])),
                escape(row["title"]),
                formats.count(row["units"]),
            ]
            for row in best
        ]
        components.table([("SKU", False), ("Title", False), ("Units", True)], body, "The best SKUs with their units")


def _draw_stock(viewer: people.Viewer, report: ReportRow) -> None:
    outs, over = report.content["stock_outs"], report.content["oversells"]
    st.markdown("### Stock-outs", help=MEANINGS["stock_outs"])
    shown = outs["rows"][:_SHOWN]
    if shown:
        said = f"{formats.plural(outs['skus'], 'SKU')} sold out, {formats.duration(outs['minutes'] * 60)} together"
        _plot(report_charts.stock_outs(report, shown, theme.tokens()), "stock-outs", f"{said}.")
        links = ", ".join(components.link("skus", row["code"], viewer.where(sku=row["code"])) for row in shown)
        more = f" and {formats.count(outs['skus'] - len(shown))} more" if outs["skus"] > len(shown) else ""
        components.html(f'<div class="sy-note">{said}. Open {links}{more}.</div>')
    else:
        st.caption("Nothing sold out.")
    if not over["rows"]:
        return
    st.markdown("### Oversells", help=MEANINGS["oversells"])
    body = [
        [
            components.link("oversell", row["code"], viewer.where(shortage=str(row["shortage_id"]))),
            escape(row["title"]),
            words.clock(row["began_at"], report.time_zone),
            components.number(-row["units"]),
        ]
        for row in over["rows"][:_SHOWN]
    ]
    heads = [("SKU", False), ("Title", False), ("Since", True), ("Available at worst", True)]
    components.table(heads, body, "What was sold that was not there")


def _draw_sync(report: ReportRow) -> None:
    st.markdown("### Sync", help=MEANINGS["sync"])
    heads = [
        ("Channel", False),
        ("Syncs that ended well", True),
        ("To confirm a quantity", True),
        ("To book an order", True),
        ("Refused", True),
        ("Calls", True),
    ]
    body = [
        [
            f"<b>{escape(row['connection'])}</b>",
            escape(words.ended_well(row)),
            _half(row["writes_p50_ms"], row["writes_p95_ms"]),
            _half(row["orders_p50_ms"], row["orders_p95_ms"]),
            formats.count(row["writes_refused"]),
            formats.count(row["calls"]),
        ]
        for row in report.content["sync"]
    ]
    components.table(heads, body, "How each channel was kept in step", dense=True)
    components.html(f'<div class="sy-note">Half within · 95 of 100 within. {escape(_compared(report))}</div>')


def _half(p50: int | None, p95: int | None) -> str:
    if p50 is None:
        return f'<span class="sy-muted">{words.NOT_MEASURED}</span>'
    return f"{words.span(p50)} · {words.span(p95)}"


def _compared(report: ReportRow) -> str:
    found = report.content["discrepancies"]
    if found is None:
        return "Discrepancies were not measured: nothing was compared with the channels on this day."
    return (
        f"Compared {formats.plural(found['comparisons'], 'time')}: {formats.count(found['found'])} discrepancies found,"
        f" {formats.count(found['healed'])} healed, {formats.count(found['still_open'])} open at the day's end."
    )


def _draw_alerts(report: ReportRow) -> None:
    found = report.content["alerts"]
    st.markdown("### Alerts", help=MEANINGS["alerts"])
    if not found["rows"]:
        st.caption("No alert was open on this day.")
        return
    strips: Sequence[list[str]] = [
        [
            escape(row["headline"] or row["kind"].replace("_", " ").capitalize()),
            words.clock(row["opened_at"], report.time_zone) if row["is_opened"] else "before",
            words.clock(row["closed_at"], report.time_zone) if row["is_closed"] else components.pill("open"),
            formats.duration(row["minutes"] * 60),
        ]
        for row in found["rows"][:_SHOWN]
    ]
    heads = [("Alert", False), ("Opened", True), ("Closed", True), ("Open for", True)]
    components.table(heads, strips, f"{formats.plural(found['opened'], 'alert')} opened, {found['closed']} closed")
