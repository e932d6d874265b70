"""Rows in, Plotly figures out; no Streamlit here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import plotly.graph_objects as go

from dashboard.theme import Tokens

CONFIG = {"displayModeBar": False, "scrollZoom": False}
POINTS_MAX = 500


def template(tokens: Tokens) -> go.layout.Template:
    """The one look of all figures, built from the tokens."""
    axis = {"automargin": True, "zeroline": False, "linecolor": tokens.border, "tickfont": {"color": tokens.muted}}
    return go.layout.Template(
        layout={
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": '"Source Sans", sans-serif', "size": 13, "color": tokens.text},
            "colorway": list(tokens.series),
            "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
            "dragmode": False,
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
            "hoverlabel": {"bgcolor": tokens.raised, "bordercolor": tokens.border, "font": {"color": tokens.text}},
            "xaxis": {**axis, "showgrid": False},
            "yaxis": {**axis, "gridcolor": tokens.border, "gridwidth": 1},
        }
    )


def levels(points: Sequence[Mapping[str, Any]], tokens: Tokens, zone: str) -> go.Figure:
    """On hand and available as steps over time, zero always in sight; what is below zero is marked."""
    if len(points) > POINTS_MAX:
        raise ValueError(f"{len(points)} points: bucket them in SQL to at most {POINTS_MAX}")
    times = [local(point["at"], zone) for point in points]
    hand = [int(point["on_hand"]) for point in points]
    free = [int(point["available"]) for point in points]
    figure = go.Figure(layout={"template": template(tokens), "height": 280, "hovermode": "x unified"})
    figure.add_scatter(x=times, y=hand, name="On hand", mode="lines", line=_step(tokens.muted, 1.5, "dot"))
    figure.add_scatter(x=times, y=free, name="Available", mode="lines", line=_step(tokens.series[0], 2.5, "solid"))
    if min(free, default=0) < 0:
        short = [value if value < 0 else None for value in free]
        figure.add_scatter(x=times, y=short, name="Short", mode="lines", line=_step(tokens.danger, 4, "solid"))
    low, high = min([0, *free, *hand]), max([1, *hand, *free])
    figure.update_yaxes(
        title={"text": "units", "font": {"color": tokens.muted, "size": 13}}, range=[low * 1.08, high * 1.08]
    )
    span = (times[-1] - times[0]).total_seconds() if times else 0
    figure.update_xaxes(
        showline=True, tickformat="%H:%M" if span <= 2 * 86_400 else "%-d %b", hoverformat="%-d %b %Y, %H:%M"
    )
    return figure


def channel_colours(connection_ids: Sequence[int], tokens: Tokens) -> dict[int, str]:
    """A colour for each channel, the same on every screen: by the order in which they were connected; the rest share
    the colour of what is other."""
    ordered = sorted(connection_ids)
    return {
        number: tokens.series[place] if place < len(tokens.series) else tokens.bar
        for place, number in enumerate(ordered)
    }


def describe(points: Sequence[Mapping[str, Any]]) -> str:
    """The figure in one sentence, for those who do not see it."""
    if not points:
        return "No movement is known."
    first, last = points[0], points[-1]
    return (
        f"On hand went from {first['on_hand']} to {last['on_hand']} units, "
        f"available from {first['available']} to {last['available']}."
    )


def _step(colour: str, width: float, dash: str) -> dict[str, Any]:
    return {"color": colour, "width": width, "dash": dash, "shape": "hv"}


def local(instant: datetime, zone: str) -> datetime:
    """The shop's wall clock: Plotly knows no zones."""
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
