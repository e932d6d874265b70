"""The figure of a connection's quota: what was used, when and by whom. Rows in, Plotly figures out; no Streamlit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import plotly.graph_objects as go

from dashboard import formats
from dashboard.calls import Window
from dashboard.charts import POINTS_MAX, local, template
from dashboard.connection_queries import Quota
from dashboard.connection_words import purpose
from dashboard.theme import Tokens

HEIGHT = 230
OTHER = "Others"
# Bars beside each other look the same to some: the hatching tells them apart too.
_HATCHES = ("", "/", "", "x", "")


def quota(used: Quota, window: Window, tokens: Tokens, zone: str) -> go.Figure:
    """Stacked bars of what was used, a bar for each purpose; beyond as many as have a colour they are one."""
    figure = go.Figure(
        layout={
            "template": template(tokens),
            "height": HEIGHT,
            "barmode": "stack",
            "hovermode": "x unified",
            "barcornerradius": 2,
            "showlegend": True,
            "legend": {"traceorder": "normal"},
        }
    )
    sums = _by_purpose(used)
    if sum(len(steps) for steps in sums.values()) > POINTS_MAX:
        raise ValueError(f"{len(used.rows)} rows: bucket them in SQL to at most {POINTS_MAX}")
    colours = (*tokens.series, tokens.bar)
    for place, (name, steps) in enumerate(sums.items()):
        is_other = name == OTHER
        figure.add_bar(
            x=[local(at, zone) for at in steps],
            y=list(steps.values()),
            name=name,
            offset=0,
            width=window.step * 1_000,
            marker={
                "color": tokens.bar if is_other else colours[place],
                "line": {"color": tokens.background, "width": 1},
                "pattern": {
                    "shape": "" if is_other else _HATCHES[place % len(_HATCHES)],
                    "fillmode": "overlay",
                    "fgcolor": tokens.background,
                    "size": 6,
                    "solidity": 0.2,
                },
            },
            hovertemplate="%{y:,.0f}",
        )
    unit = used.rows[0]["unit"] if _measure(used) == "points" and used.rows else "calls"
    figure.update_yaxes(
        title={"text": f"{unit} per {formats.duration(window.step)}", "font": {"color": tokens.muted, "size": 13}},
        rangemode="tozero",
        tickformat=",d",
    )
    first = local(used.begins, zone)
    last = local(used.begins + timedelta(seconds=window.seconds), zone)
    figure.update_xaxes(
        showline=True,
        range=[first, last],
        tickformat="%H:%M" if first.date() == last.date() else "%H:%M\n%-d %b",
        hoverformat="%-d %b, %H:%M",
        nticks=7,
    )
    return figure


def drawn_purposes(used: Quota, most: int = 5) -> list[str]:
    """The purposes that have a bar of their own, dearest first."""
    return [row["purpose"] for row in used.by_purpose()[:most]]


def quota_says(used: Quota) -> str:
    """The figure in one sentence."""
    found = used.by_purpose()
    if not found:
        return "Nothing of the quota was used."
    parts = [f"{purpose(row['purpose'])} {formats.count(round(row['points']))}" for row in found]
    return f"{found[0]['unit'].capitalize()} used over time by purpose: {'; '.join(parts)}."


def _by_purpose(used: Quota) -> dict[str, dict[datetime, float]]:
    own, measure = drawn_purposes(used), _measure(used)
    sums: dict[str, dict[datetime, float]] = {purpose(name): {} for name in own}
    for row in used.rows:
        steps = sums.setdefault(purpose(row["purpose"]) if row["purpose"] in own else OTHER, {})
        steps[row["bucket_at"]] = steps.get(row["bucket_at"], 0.0) + row[measure]
    return sums


def _measure(used: Quota) -> str:
    """What a bar's height is: points, or calls where nothing is known of what they cost."""
    return "points" if any(row["points"] for row in used.rows) else "calls"


def shares(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """Each row's points as a percentage of the dearest: how long its meter is."""
    points = [float(row["points"]) for row in rows]
    most = max(points, default=0.0)
    return [round(value / most * 100) if most else 0 for value in points]
