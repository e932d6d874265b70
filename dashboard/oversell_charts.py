"""Figures of oversell risk: exposure against available. Rows in, Plotly figures out; no Streamlit here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from dashboard import formats
from dashboard.charts import POINTS_MAX, local, template
from dashboard.theme import Tokens

Row = Mapping[str, Any]


def against_available(
    pools: Sequence[Row], seats: Sequence[Row], colours: Mapping[int, str], tokens: Tokens
) -> go.Figure:
    """Stacked bars of what each channel could sell, a mark at what is available, and what is over in words.

    `pools` worst first; `seats` as `oversell_queries.by_channel` has them.
    """
    shown = list(pools)[::-1]
    places = list(range(len(shown)))
    figure = go.Figure(
        layout={
            "template": template(tokens),
            "height": 110 + 34 * len(shown),
            "barmode": "stack",
            "bargap": 0.4,
            "hovermode": "closest",
            "legend": {"traceorder": "normal"},
        }
    )
    names = {seat["connection_id"]: seat["connection"] for seat in seats}
    by_pool = {(s["sku_id"], s["location_id"], s["connection_id"]): s["units"] for s in seats}
    for connection_id in sorted(names):
        figure.add_bar(
            x=[by_pool.get((row["sku_id"], row["location_id"], connection_id), 0) for row in shown],
            y=places,
            name=names[connection_id],
            orientation="h",
            marker={"color": colours.get(connection_id, tokens.bar), "line": {"color": tokens.background, "width": 1}},
            hovertemplate="%{x:,} units<extra>" + formats.plain(names[connection_id]) + "</extra>",
        )
    figure.add_scatter(
        x=[max(0, row["available"]) for row in shown],
        y=places,
        name="Available",
        mode="markers",
        marker={"symbol": "line-ns", "size": 20, "line": {"color": tokens.text, "width": 3}},
        hovertemplate="%{x:,} units<extra>Available</extra>",
    )
    for place, row in zip(places, shown, strict=True):
        if row["risk_units"]:
            figure.add_annotation(
                x=max(row["exposed_units"], row["available"], 0), y=place, text=f"<b>{_over(row)}</b>",
                showarrow=False, xanchor="left", xshift=9, font={"color": tokens.danger, "size": 13},
            )  # fmt: skip
    top = max((max(row["exposed_units"], row["available"], 1) for row in shown), default=1)
    figure.update_xaxes(
        title={"text": "units", "font": {"color": tokens.muted, "size": 13}},
        range=[0, top * 1.2],
        showgrid=True,
        gridcolor=tokens.border,
    )
    # At numbers, not at codes: a SKU called 22423 would be taken as a position.
    figure.update_yaxes(
        tickvals=places, ticktext=[row["code"] for row in shown], showgrid=False, range=[-0.6, len(shown) - 0.4]
    )
    return figure


def _over(row: Row) -> str:
    at_least = "≥ " if row["unwatched_listings"] else ""
    return f"{at_least}{formats.count(row['risk_units'])} over"


def picture_says(pools: Sequence[Row]) -> str:
    """The figure in words."""
    return " ".join(
        f"{row['code']}: {formats.count(row['exposed_units'])} exposed, {formats.count(row['available'])} available."
        for row in pools
    )


def over_time(points: Sequence[Row], tokens: Tokens, zone: str) -> go.Figure:
    """Available solid, exposed dotted, the stretch of exposed above available thick in danger.

    Rows have `at`, `available`, `exposed`.
    """
    if len(points) > 2 * POINTS_MAX:
        raise ValueError(f"{len(points)} points: bucket them in SQL")
    times = [local(point["at"], zone) for point in points]
    free, exposed = [int(p["available"]) for p in points], [int(p["exposed"]) for p in points]
    figure = go.Figure(layout={"template": template(tokens), "height": 290, "hovermode": "x unified"})
    figure.add_scatter(
        x=times, y=free, name="Available", mode="lines",
        line={"color": tokens.text, "width": 2.5, "shape": "hv"},
    )  # fmt: skip
    figure.add_scatter(
        x=times, y=exposed, name="Exposed", mode="lines",
        line={"color": tokens.attention, "width": 2, "shape": "hv", "dash": "dot"},
    )  # fmt: skip
    beyond = [e > max(0, f) for e, f in zip(exposed, free, strict=True)]
    short = [f < 0 for f in free]
    for name, dash, marked, values in (
        ("Exposed beyond available", "solid", beyond, exposed),
        ("Oversold", "dash", short, free),
    ):
        if any(marked):
            xs, ys = _stretches(times, marked, values)
            figure.add_scatter(
                x=xs, y=ys, name=name, mode="lines", connectgaps=False, hoverinfo="skip",
                line={"color": tokens.danger, "width": 4, "shape": "hv", "dash": dash},
            )  # fmt: skip
    low, high = min([0, *free]), max([1, *free, *exposed])
    figure.update_yaxes(
        title={"text": "units", "font": {"color": tokens.muted, "size": 13}}, range=[low * 1.08, high * 1.08]
    )
    span = (times[-1] - times[0]).total_seconds() if times else 0
    figure.update_xaxes(
        showline=True, tickformat="%H:%M" if span <= 2 * 86_400 else "%-d %b", hoverformat="%-d %b %Y, %H:%M"
    )
    return figure


def _stretches(
    times: Sequence[Any], marked: Sequence[bool], values: Sequence[int]
) -> tuple[list[Any], list[int | None]]:
    """The marked steps of a step line, each to the moment at which it ends."""
    xs: list[Any] = []
    ys: list[int | None] = []
    for place, (at, is_marked, value) in enumerate(zip(times, marked, values, strict=True)):
        if is_marked:
            xs.append(at)
            ys.append(value)
            if place + 1 < len(times) and not marked[place + 1]:
                xs += [times[place + 1], times[place + 1]]
                ys += [value, None]
    return xs, ys


def over_time_says(points: Sequence[Row]) -> str:
    """The figure in one sentence."""
    if not points:
        return "Nothing is known of it."
    first, last = points[0], points[-1]
    beyond = "Exposed is beyond available now." if last["exposed"] > last["available"] else ""
    return (
        f"Available went from {first['available']} to {last['available']} units, exposed from {first['exposed']} to "
        f"{last['exposed']}. {beyond}"
    ).strip()
