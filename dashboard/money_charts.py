"""Figures of money. Rows in, Plotly figures out; no Streamlit here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from typing import Any, NamedTuple

import plotly.graph_objects as go

from core.money import to_major
from dashboard import formats
from dashboard.charts import template
from dashboard.theme import Tokens

Row = Mapping[str, Any]

SHARES = (
    ("seller", "Sellers"),
    ("platform", "Platform"),
    ("creator", "Creators"),
    ("referrer", "Referrers"),
    ("channel", "Channel fees"),
    ("authority", "Taxes"),
    ("unassigned", "Not mapped yet"),
)


class Fall(NamedTuple):
    """One step of a waterfall: what it is called, by how much it changes, or that it is a total."""

    label: str
    minor: int
    is_total: bool = False


def waterfall(falls: Sequence[Fall], currency: str, tokens: Tokens) -> go.Figure:
    """From a first total down (and up) to a last one; every step with its amount."""
    places = list(range(len(falls)))
    values = [float(to_major(fall.minor, currency)) for fall in falls]
    said = [formats.money(fall.minor, currency) if fall.is_total else _signed(fall.minor, currency) for fall in falls]
    figure = go.Figure(layout={"template": template(tokens), "height": 48 + 34 * len(falls), "hovermode": "closest"})
    # Bars in turn from where the last one ended: each way its own colour, and its amount beside it in words.
    running, bases, lengths, colours = 0.0, [], [], []
    for fall, value in zip(falls, values, strict=True):
        start = 0.0 if fall.is_total else running
        running = value if fall.is_total else running + value
        bases.append(start)
        lengths.append(running - start)
        colours.append(tokens.series[0] if fall.is_total else tokens.attention if value < 0 else tokens.ok)
    figure.add_bar(
        base=bases,
        x=lengths,
        y=places,
        orientation="h",
        marker={"color": colours},
        customdata=[f"{escape(fall.label)}: {text}" for fall, text in zip(falls, said, strict=True)],
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
    )
    ends = [max(base, base + length) for base, length in zip(bases, lengths, strict=True)]
    low = min([0.0, *(min(base, base + length) for base, length in zip(bases, lengths, strict=True))])
    high = max([*ends, low + 0.01])
    figure.add_scatter(
        x=ends,
        y=places,
        mode="text",
        text=[f"  {text}" for text in said],
        textposition="middle right",
        textfont={"color": tokens.text},
        cliponaxis=False,
        hoverinfo="skip",
        showlegend=False,
    )
    for place in places[1:]:
        # From where the step before ended to where this one begins.
        edge = bases[place] if not falls[place].is_total else bases[place] + lengths[place]
        figure.add_shape(
            type="line", x0=edge, x1=edge, y0=place - 1, y1=place, line={"color": tokens.border, "width": 1},
            layer="below",
        )  # fmt: skip
    # Room for the words behind the longest bar.
    figure.update_xaxes(range=[low * 1.05, high + (high - low) * 0.28], visible=False)
    figure.update_yaxes(
        tickvals=places,
        ticktext=[f"{escape(formats.shortened(fall.label, 30))}  " for fall in falls],
        autorange="reversed",
        showgrid=False,
    )
    figure.add_vline(x=0, line={"color": tokens.border, "width": 1})
    figure.update_layout(bargap=0.35)
    return figure


def _signed(minor: int, currency: str) -> str:
    return f"+{formats.money(minor, currency)}" if minor > 0 else formats.money(minor, currency)


def says_waterfall(what: str, falls: Sequence[Fall], currency: str) -> str:
    """The same in one sentence."""
    steps = ", ".join(
        f"{fall.label} {formats.money(fall.minor, currency) if fall.is_total else _signed(fall.minor, currency)}"
        for fall in falls
    )
    return f"{what}: {steps}."


def trend(found: Sequence[Row], days: Sequence[date], currency: str, is_weekly: bool, tokens: Tokens) -> go.Figure:
    """Who had how much of each day, or week, as stacked bars."""
    by_day = {row["day"]: row for row in found if row["currency"] == currency}
    figure = go.Figure(layout={"template": template(tokens), "height": 300, "hovermode": "x unified"})
    for number, (part, name) in enumerate(SHARES):
        minors = [by_day[day][f"{part}_minor"] if day in by_day else 0 for day in days]
        if not any(minors):
            continue
        figure.add_bar(
            x=list(days),
            y=[float(to_major(minor, currency)) for minor in minors],
            name=name,
            marker={
                "color": tokens.series[number] if number < len(tokens.series) else tokens.bar,
                "line": {"color": tokens.background, "width": 1},
                "pattern": {"shape": "/" if part == "unassigned" else ""},
            },
            hovertemplate=f"%{{y:,.2f}} {currency}",
        )
    figure.update_layout(barmode="relative", bargap=0.25, showlegend=True)
    figure.update_xaxes(
        type="date",
        tickformat="%-d %b",
        hoverformat="Week of %-d %b %Y" if is_weekly else "%a %-d %b %Y",
        showline=True,
    )
    figure.update_yaxes(title={"text": currency, "font": {"color": tokens.muted, "size": 13}})
    return figure


def says_trend(found: Sequence[Row], currency: str, is_weekly: bool) -> str:
    """The stacked bars in one sentence."""
    mine = [row for row in found if row["currency"] == currency]
    if not mine:
        return "Nothing was sold."
    best = max(mine, key=lambda row: row["gross_minor"])
    whole = sum(row["gross_minor"] for row in mine)
    step = "week of" if is_weekly else "on"
    return (
        f"Who had how much by {'week' if is_weekly else 'day'}: {formats.money(whole, currency)} in all, most {step}"
        f" {best['day'].day} {best['day']:%b}, {formats.money(best['gross_minor'], currency)}."
    )
