"""Figures of reconciliation: drift over time, and causes. Rows in, Plotly figures out; no Streamlit here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from dashboard import formats, reconciliation_words
from dashboard.charts import POINTS_MAX, local, template
from dashboard.theme import Tokens

Row = Mapping[str, Any]

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def drift(points: Sequence[Row], colours: Mapping[int, str], tokens: Tokens, zone: str) -> go.Figure:
    """Step lines of the units that differed at each connection; one with more connections than fit shows the worst."""
    lines: dict[int, list[Row]] = {}
    for point in points:
        lines.setdefault(point["connection_id"], []).append(point)
    worst = sorted(lines, key=lambda number: -max(point["units"] for point in lines[number]))[: len(_DASHES)]
    if sum(len(lines[number]) for number in worst) > POINTS_MAX:
        raise ValueError(f"{len(points)} points: bucket them in SQL to at most {POINTS_MAX}")
    figure = go.Figure(
        layout={"template": template(tokens), "height": 250, "hovermode": "x unified", "showlegend": True}
    )
    for place, number in enumerate(sorted(worst)):
        mine = lines[number]
        figure.add_scatter(
            x=[local(point["at"], zone) for point in mine],
            y=[point["units"] for point in mine],
            name=mine[0]["connection"],
            mode="lines",
            line={
                "color": colours.get(number, tokens.bar),
                "width": 2.5,
                "dash": _DASHES[place % len(_DASHES)],
                "shape": "hv",
            },
            hovertemplate="%{y:,} units",
        )
    top = max((point["units"] for number in worst for point in lines[number]), default=0)
    figure.update_yaxes(
        title={"text": "units that differ", "font": {"color": tokens.muted, "size": 13}},
        range=[0, max(top, 1) * 1.1],
        tickformat=",d",
    )
    figure.update_xaxes(showline=True, tickformat="%-d %b", hoverformat="%-d %b %Y, %H:%M", nticks=8)
    return figure


def drift_says(points: Sequence[Row]) -> str:
    """The figure in one sentence."""
    last = {point["connection_id"]: point for point in points}
    if not last:
        return "Nothing has differed in the last seven days."
    said = "; ".join(
        f"{point['connection']} {formats.plural(point['units'], 'unit')} now, "
        f"at most {formats.count(max(p['units'] for p in points if p['connection_id'] == number))}"
        for number, point in last.items()
    )
    return f"Units that differed over the last seven days by connection: {said}."


def causes(found: Sequence[Row], tokens: Tokens) -> go.Figure:
    """Bars of what is open by cause, those that a person is asked about in another tone; at most eight."""
    shown = list(found)[:8][::-1]
    places = list(range(len(shown)))
    figure = go.Figure(
        layout={"template": template(tokens), "height": 250, "barmode": "stack", "bargap": 0.35, "showlegend": True}
    )
    asked = [row["asked"] for row in shown]
    rest = [row["discrepancies"] - row["asked"] for row in shown]
    for name, values, colour, pattern in (
        ("Needs you", asked, tokens.attention, ""),
        ("Looked after", rest, tokens.bar, "/"),
    ):
        figure.add_bar(
            x=values, y=places, name=name, orientation="h",
            marker={"color": colour, "line": {"color": tokens.background, "width": 1},
                    "pattern": {"shape": pattern, "fillmode": "overlay", "fgcolor": tokens.background, "size": 6,
                                "solidity": 0.2}},
            hovertemplate="%{x:,}<extra>" + name + "</extra>",
        )  # fmt: skip
    figure.update_xaxes(
        title={"text": "discrepancies", "font": {"color": tokens.muted, "size": 13}},
        rangemode="tozero", showgrid=True, gridcolor=tokens.border, tickformat=",d",
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=places,
        ticktext=[reconciliation_words.cause(row["cause"]) for row in shown],
        showgrid=False,
        range=[-0.6, max(len(shown), 1) - 0.4],
    )
    return figure


def causes_say(found: Sequence[Row]) -> str:
    """The figure in one sentence."""
    said = "; ".join(
        f"{reconciliation_words.cause(row['cause'])} {formats.count(row['discrepancies'])}"
        f" ({formats.count(row['asked'])} need you)"
        for row in found[:8]
    )
    return f"Open discrepancies by cause: {said}." if said else "Nothing is open."
