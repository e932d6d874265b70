"""Figures of outgoing calls: how many with which outcome, what did not succeed, how long they took. No Streamlit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import plotly.graph_objects as go

from dashboard import formats
from dashboard.calls import FAILURES, OUTCOMES, SAMPLE, Latency, Volume, Window
from dashboard.charts import POINTS_MAX, local, template
from dashboard.theme import Tokens

Row = Mapping[str, Any]

HEIGHT = 210
# A figure's points are bounded, so its channels are too: two lines of 48 steps each.
CHANNELS_MAX = 5

# Two outcomes may share a tone: the hatching and the word tell them apart.
_HATCHES = {"throttled": "/", "unknown": "x"}


def volume(counted: Volume, window: Window, tokens: Tokens, zone: str) -> go.Figure:
    """Calls by outcome as stacked bars; what was not counted is shaded, not drawn as none."""
    figure = _bars(counted, OUTCOMES, window, tokens, zone)
    reach = max(counted.reach.values(), default=None)
    if reach is not None and reach > counted.begins:
        figure.add_vrect(
            x0=local(counted.begins, zone),
            x1=local(reach, zone),
            fillcolor=tokens.unknown,
            opacity=0.14,
            line_width=0,
            annotation_text="not counted",
            annotation_position="top left",
            annotation_font_color=tokens.muted,
        )
    return figure


def failures(counted: Volume, window: Window, tokens: Tokens, zone: str) -> go.Figure:
    """Only what did not succeed, on a scale of its own."""
    return _bars(counted, FAILURES, window, tokens, zone)


def latency(
    taken: Latency,
    names: Mapping[int, str],
    colours: Mapping[int, str],
    window: Window,
    begins: datetime,
    tokens: Tokens,
    zone: str,
) -> go.Figure:
    """Median (solid) and 95th percentile (dotted) of each channel; a step without calls is a gap."""
    figure = _empty(tokens, "ms")
    figure.update_layout(height=HEIGHT + 40)
    shown = drawn_channels(taken, names)
    ends = begins + timedelta(seconds=window.seconds)
    first = min((row["bucket_at"] for row in taken.steps if row["connection_id"] in shown), default=ends)
    steps = _every(first, ends, window.slow_step)
    _bound(2 * len(steps) * len(shown))
    at = [local(step, zone) for step in steps]
    for number in shown:
        mine = {row["bucket_at"]: row for row in taken.steps if row["connection_id"] == number}
        for field, word, dash, width in (("median_ms", "median", "solid", 2.5), ("slow_ms", "95 %", "dot", 1.75)):
            figure.add_scatter(
                x=at,
                y=[mine[step][field] if step in mine else None for step in steps],
                name=f"{names[number]}, {word}",
                mode="lines+markers",
                line={"color": colours[number], "width": width, "dash": dash},
                marker={"size": 4, "color": colours[number]},
                hovertemplate="%{y:,} ms",
            )
    figure.update_layout(hovermode="x unified")
    figure.update_yaxes(rangemode="tozero")
    _frame(figure, begins, window, zone)
    return figure


def drawn_channels(taken: Latency, names: Mapping[int, str]) -> list[int]:
    """The channels that are drawn: the busiest, as many as a figure bears, in their usual order."""
    busiest = sorted((n for n in taken.whole if n in names), key=lambda n: -taken.whole[n]["calls"])
    return sorted(busiest[:CHANNELS_MAX])


def describe_volume(counted: Volume) -> str:
    """The stacked bars in one sentence."""
    parts = [
        f"{formats.count(counted.count(outcome))} {formats.state(outcome).word.lower()}"
        for outcome in OUTCOMES
        if counted.count(outcome)
    ]
    return f"Calls over time by outcome: {', '.join(parts)}." if parts else "No call was made."


def describe_failures(counted: Volume) -> str:
    """The failures in one sentence."""
    failed = counted.count(*FAILURES)
    if not failed:
        return "Every call succeeded."
    return f"{formats.plural(failed, 'call')} did not succeed: {_parts(counted)}."


def describe_latency(taken: Latency, names: Mapping[int, str]) -> str:
    """The lines in one sentence."""
    shown = drawn_channels(taken, names)
    if not shown:
        return "No call succeeded."
    parts = [
        f"{names[n]} median {formats.milliseconds(taken.whole[n]['median_ms'])}, "
        f"95 % within {formats.milliseconds(taken.whole[n]['slow_ms'])}"
        for n in shown
    ]
    return f"Milliseconds of calls that succeeded: {'; '.join(parts)}."


def is_sampled(taken: Latency) -> bool:
    """Whether some step held more calls than its percentiles come from."""
    return any(row["calls"] >= SAMPLE for row in taken.steps)


def _parts(counted: Volume) -> str:
    found = ((kind, counted.count(kind)) for kind in FAILURES)
    return ", ".join(f"{formats.count(n)} {formats.state(kind).word.lower()}" for kind, n in found if n)


def _bars(counted: Volume, outcomes: Sequence[str], window: Window, tokens: Tokens, zone: str) -> go.Figure:
    figure = _empty(tokens, f"calls per {formats.duration(window.step)}")
    # Several channels of one step and outcome are one bar.
    sums: dict[str, dict[datetime, int]] = {}
    for row in counted.rows:
        steps = sums.setdefault(row["outcome"], {})
        steps[row["bucket_at"]] = steps.get(row["bucket_at"], 0) + row["calls"]
    _bound(sum(len(steps) for outcome, steps in sums.items() if outcome in outcomes))
    for outcome in outcomes:
        if outcome not in sums:
            continue
        state = formats.state(outcome)
        steps = sums[outcome]
        figure.add_bar(
            x=[local(at, zone) for at in steps],
            y=list(steps.values()),
            name=state.word,
            offset=0,
            width=window.step * 1_000,
            marker={
                "color": getattr(tokens, state.look),
                "line": {"color": tokens.background, "width": 1},
                "pattern": {
                    "shape": _HATCHES.get(outcome, ""),
                    "fillmode": "overlay",
                    "fgcolor": tokens.background,
                    "size": 5,
                    "solidity": 0.35,
                },
            },
            hovertemplate="%{y:,}",
        )
    figure.update_layout(
        barmode="stack", hovermode="x unified", barcornerradius=2, showlegend=True, legend={"traceorder": "normal"}
    )
    figure.update_yaxes(rangemode="tozero", tickformat=",d", dtick=1 if _highest(sums, outcomes) <= 4 else None)
    _frame(figure, counted.begins, window, zone)
    return figure


def _highest(sums: Mapping[str, Mapping[datetime, int]], outcomes: Sequence[str]) -> int:
    heights: dict[datetime, int] = {}
    for outcome in outcomes:
        for at, calls in sums.get(outcome, {}).items():
            heights[at] = heights.get(at, 0) + calls
    return max(heights.values(), default=0)


def _empty(tokens: Tokens, unit: str) -> go.Figure:
    figure = go.Figure(layout={"template": template(tokens), "height": HEIGHT})
    figure.update_yaxes(title={"text": unit, "font": {"color": tokens.muted, "size": 13}})
    return figure


def _frame(figure: go.Figure, begins: datetime, window: Window, zone: str) -> None:
    """The whole window on the time axis, so that quiet stretches are seen as such."""
    first, last = (local(at, zone) for at in (begins, begins + timedelta(seconds=window.seconds)))
    figure.update_xaxes(
        showline=True,
        range=[first, last],
        tickformat="%H:%M" if first.date() == last.date() else "%H:%M\n%-d %b",
        hoverformat="%-d %b, %H:%M:%S",
        nticks=7,
    )


def _every(first: datetime, last: datetime, seconds: int) -> list[datetime]:
    steps = []
    while first < last:
        steps.append(first)
        first += timedelta(seconds=seconds)
    return steps


def _bound(points: int) -> None:
    if points > POINTS_MAX:
        raise ValueError(f"{points} points: bucket them in SQL to at most {POINTS_MAX}")
