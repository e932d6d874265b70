"""Figures of daily reports. Rows in, Plotly figures out; no Streamlit here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from html import escape
from typing import Any

import plotly.graph_objects as go

from core.money import to_major
from core.reports.queries import ReportRow
from core.reports.rules import average_minor
from dashboard import formats
from dashboard.charts import local, template
from dashboard.theme import Tokens

Row = Mapping[str, Any]

HEIGHT = 240
BARS_MAX = 10


def by_hour(report: ReportRow, currency: str | None, tokens: Tokens) -> go.Figure:
    """Orders of each hour, or revenue of a currency, as bars; what is usual as a stepped line."""
    hours = report.content["by_hour"]
    places = list(range(len(hours)))
    labels = [row["label"] for row in hours]
    values, usual = [], []
    for row in hours:
        if currency is None:
            values.append(row["orders"])
            usual.append(row["usual_orders"])
        else:
            values.append(float(to_major(row["revenue"].get(currency, 0), currency)))
            known = row["usual_revenue"]
            usual.append(None if known is None else float(to_major(known.get(currency, 0), currency)))
    shown = "%{y:,}" if currency is None else f"%{{y:,.2f}} {currency}"
    figure = _figure(tokens, HEIGHT, "orders" if currency is None else currency)
    figure.add_bar(
        x=places,
        y=values,
        name="This day",
        customdata=labels,
        marker={"color": tokens.series[0]},
        hovertemplate=f"%{{customdata}}: {shown}<extra></extra>",
    )
    if any(each is not None for each in usual):
        figure.add_scatter(
            x=places,
            y=usual,
            name="Usual on this weekday",
            mode="lines",
            customdata=labels,
            line={"color": tokens.attention, "width": 2, "dash": "dot", "shape": "hvh"},
            hovertemplate=f"usual at %{{customdata}}: {shown}<extra></extra>",
        )
    ticks = [place for place in places if place % 3 == 0]
    figure.update_xaxes(tickvals=ticks, ticktext=[labels[place] for place in ticks], showline=True)
    figure.update_layout(bargap=0.25, showlegend=True)
    figure.update_yaxes(rangemode="tozero")
    return figure


def by_market(names: Sequence[str], minors: Sequence[int], currency: str, tokens: Tokens) -> go.Figure:
    """Revenue of each marketplace as lying bars, the greatest on top."""
    return _lying(names, [float(to_major(minor, currency)) for minor in minors], _money(minors, currency), tokens)


def top_skus(skus: Sequence[Row], currency: str, tokens: Tokens) -> go.Figure:
    """Revenue of the best SKUs as lying bars."""
    minors = [row["revenue_minor"] for row in skus]
    figures = [
        f"{money} · {formats.plural(row['units'], 'unit')}"
        for row, money in zip(skus, _money(minors, currency), strict=True)
    ]
    codes = [formats.shortened(row["code"], 18) for row in skus]
    return _lying(codes, [float(to_major(m, currency)) for m in minors], figures, tokens)


def stock_outs(report: ReportRow, found: Sequence[Row], tokens: Tokens) -> go.Figure:
    """When each SKU was out, over the day by the shop's clock."""
    zone = report.time_zone
    begins, ends = local(report.begins_at, zone), local(report.ends_at, zone)
    shown = list(found)[::-1]
    figure = _figure(tokens, 70 + 26 * len(shown), "")
    starts = [
        report.begins_at if row["reached_at"] is None else datetime.fromisoformat(row["reached_at"]) for row in shown
    ]
    lengths = [
        (report.ends_at - start) if row["is_still"] else timedelta(minutes=row["minutes"])
        for row, start in zip(shown, starts, strict=True)
    ]
    figure.add_bar(
        base=[local(start, zone) for start in starts],
        x=[max(length.total_seconds(), 120) * 1000 for length in lengths],
        y=list(range(len(shown))),
        orientation="h",
        marker={"color": tokens.danger},
        customdata=[f"{escape(row['code'])}: out for {formats.duration(row['minutes'] * 60)}" for row in shown],
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
    )
    figure.update_xaxes(type="date", range=[begins, ends], tickformat="%H:%M", showgrid=True, gridcolor=tokens.border)
    figure.update_yaxes(
        tickvals=list(range(len(shown))),
        ticktext=[f"{escape(formats.shortened(row['code'], 18))}  " for row in shown],
        showgrid=False,
    )
    figure.update_layout(bargap=0.45)
    return figure


def week(monday: date, found: Sequence[Row | None], currency: str | None, tokens: Tokens) -> go.Figure:
    """Seven days as bars, orders or revenue of a currency; a mark at the same weekday of the week before."""
    days = [monday + timedelta(days=number) for number in range(7)]
    before, now = ([_value(row, currency) for row in part] for part in (found[:7], found[7:]))
    figure = _figure(tokens, HEIGHT, "orders" if currency is None else currency)
    shown = "%{y:,}" if currency is None else f"%{{y:,.2f}} {currency}"
    names = [f"{day:%a} {day.day}" for day in days]
    figure.add_bar(
        x=names,
        y=now,
        name="This week",
        marker={"color": tokens.series[0]},
        hovertemplate=f"%{{x}}: {shown}<extra></extra>",
    )
    figure.add_scatter(
        x=names,
        y=before,
        name="The week before",
        mode="markers",
        marker={"symbol": "line-ew", "size": 34, "line": {"color": tokens.attention, "width": 3}},
        hovertemplate=f"the week before: {shown}<extra></extra>",
    )
    figure.update_layout(bargap=0.35, showlegend=True)
    figure.update_yaxes(rangemode="tozero")
    return figure


def _value(row: Row | None, currency: str | None) -> float | None:
    if row is None:
        return None
    if currency is None:
        return float(row["orders"])
    return float(
        sum(to_major(each["revenue_minor"], currency) for each in row["money"] if each["currency"] == currency)
    )


def _lying(names: Sequence[str], values: Sequence[float], figures: Sequence[str], tokens: Tokens) -> go.Figure:
    shown = list(zip(names, values, figures, strict=True))[:BARS_MAX][::-1]
    places = list(range(len(shown)))
    figure = _figure(tokens, 44 + 28 * len(shown), "")
    figure.add_bar(
        x=[value for _, value, _ in shown],
        y=places,
        orientation="h",
        marker={"color": tokens.series[0]},
        text=[text for _, _, text in shown],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )
    top = max([1.0, *(value for _, value, _ in shown)])
    # Room for the words behind the longest bar.
    figure.update_xaxes(range=[0, top * 1.5], visible=False)
    figure.update_yaxes(tickvals=places, ticktext=[f"{escape(name)}  " for name, _, _ in shown], showgrid=False)
    figure.update_layout(bargap=0.4)
    return figure


def _figure(tokens: Tokens, height: int, unit: str) -> go.Figure:
    figure = go.Figure(layout={"template": template(tokens), "height": height, "hovermode": "closest"})
    figure.update_yaxes(title={"text": unit, "font": {"color": tokens.muted, "size": 13}})
    return figure


def _money(minors: Sequence[int], currency: str) -> list[str]:
    return [formats.money(minor, currency) for minor in minors]


# --- in one sentence, for those who do not see them -----------------------------------------------------------------


def says_by_hour(report: ReportRow, currency: str | None) -> str:
    """The bars of the hours."""
    hours = report.content["by_hour"]
    best = max(hours, key=lambda row: row["orders"] if currency is None else row["revenue"].get(currency, 0))
    orders = sum(row["orders"] for row in hours)
    if not orders:
        return "No orders on this day."
    if currency is None:
        return (
            f"Orders by hour: {formats.count(orders)} in all, most at {best['label']}, {formats.count(best['orders'])}."
        )
    whole = sum(row["revenue"].get(currency, 0) for row in hours)
    most = formats.money(best["revenue"].get(currency, 0), currency)
    return f"Revenue by hour: {formats.money(whole, currency)} in all, most at {best['label']}, {most}."


def says_bars(what: str, names: Sequence[str], figures: Sequence[str]) -> str:
    """Lying bars."""
    return f"{what}: {', '.join(f'{name} {figure}' for name, figure in zip(names, figures, strict=True))}."


def average(row: Row) -> int | None:
    """The mean order of a marketplace, in minor units."""
    return average_minor(row["revenue_minor"], row["orders"])
