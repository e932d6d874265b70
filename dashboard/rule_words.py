"""How channel rules, their versions and previews read; the figure of now against then. No Streamlit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from core.policies.queries import ChannelPreview, ModePreview, Preview
from core.policies.rules import TERMS, Terms, describe, describe_scope
from dashboard import formats
from dashboard.charts import template
from dashboard.theme import Tokens

Row = Mapping[str, Any]

CHANNELS_MAX = 8


def scope(row: Row) -> str:
    """Amazon · category Candles."""
    return describe_scope(row["connection"], row["category"], row["code"])


def says(row: Row) -> str:
    """At most 20 % of the pool, buffer 2."""
    text = describe(Terms(**{name: row[name] for name in TERMS}))
    return text[:1].upper() + text[1:]


def count_of(changes: int) -> str:
    """1 rule, 17 rules."""
    return formats.plural(changes, "rule")


def did(row: Row) -> str:
    """What a version did to the rules."""
    begun, ended = row["begun"], row["ended"]
    parts = [f"{count_of(begun)} set"] if begun else []
    if ended > begun:
        parts.append(f"{count_of(ended - begun)} ended")
    text = ", ".join(parts) or "nothing"
    return f"undid version {row['undoes_id']}: {text}" if row["undoes_id"] else text


def undoing(restored: int, ended: int) -> str:
    """1 rule ends, 2 rules come back as they were."""
    parts = [f"{count_of(ended)} {'ends' if ended == 1 else 'end'}"] if ended else []
    if restored:
        parts.append(f"{count_of(restored)} {'comes back as it was' if restored == 1 else 'come back as they were'}")
    return ", ".join(parts) + "."


def progress(row: Row) -> str:
    """120 of 4,980 listings follow."""
    if row["finished_at"] is not None:
        return (
            f"{formats.plural(row['listings_done'], 'listing')} followed, "
            f"{formats.count(row['listings_changed'])} changed"
        )
    if row["listings_total"] is None:
        return "Waiting for a worker"
    return (
        f"{formats.count(row['listings_done'])} of {formats.plural(row['listings_total'], 'listing')}"
        f" · {formats.count(row['listings_changed'])} changed"
    )


def share_done(row: Row) -> float:
    """How far a version's re-plan is, 0 to 1."""
    total = row["listings_total"]
    return min(row["listings_done"] / total, 1.0) if total else float(row["finished_at"] is not None)


def sums(found: Preview) -> dict[str, int]:
    """A preview over all channels."""
    names = ("listings", "published", "up", "down", "to_zero", "same")
    return {name: sum(getattr(each, name) for each in found.channels) for name in names}


def answer(found: Preview) -> str:
    """A preview in one sentence."""
    total = sums(found)
    if not total["listings"]:
        return "It is for no listing yet: it applies as soon as one appears."
    changed = total["up"] + total["down"]
    if not changed:
        return f"No listing would show another number. It is for {formats.plural(total['listings'], 'listing')}."
    ways = [f"{formats.count(total[way])} {way}" for way in ("up", "down") if total[way]]
    zero = f", {formats.count(total['to_zero'])} of them to zero" if total["to_zero"] else ""
    return (
        f"{formats.count(changed)} of {formats.plural(total['listings'], 'listing')} would show another number: "
        f"{', '.join(ways)}{zero}."
    )


def sharing(found: ModePreview) -> str:
    """What a change would do to how pools are shared."""
    if not found.pools:
        return ""
    pools = formats.plural(found.pools, "SKU and place", "SKUs and places")
    if not found.escrow_now and not found.escrow_then:
        return f"Stock stays shared by all channels: none of {pools} would be in escrow."
    then = (
        f"**{formats.count(found.escrow_then)}** of {pools} would be in escrow now"
        f"{f', {formats.count(found.escrow_now)} are' if found.escrow_now else ', none is'}"
    )
    if found.escrow_then <= found.escrow_now:
        return f"{then}."
    return (
        f"{then}: there each unit is shown on one channel only. The numbers below are the most that each channel may "
        "show; in escrow it shows its share of them."
    )


def now_and_then(channels: Sequence[ChannelPreview], tokens: Tokens) -> go.Figure:
    """Units that each channel should show now, and would show then: two bars a channel."""
    shown = channels[:CHANNELS_MAX][::-1]
    places = list(range(len(shown)))
    figure = go.Figure(
        layout={
            "template": template(tokens),
            "height": 110 + 58 * len(shown),
            "barmode": "group",
            "bargap": 0.35,
            "legend": {"traceorder": "reversed"},
        }
    )
    bars = (
        ("Then", [each.would_units for each in shown], tokens.series[0]),
        ("Now", [each.desired_units for each in shown], tokens.bar),
    )
    for name, units, colour in bars:
        figure.add_bar(
            x=units,
            y=places,
            name=name,
            orientation="h",
            marker={"color": colour},
            text=[formats.count(value) for value in units],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{text} units<extra>" + name + "</extra>",
        )
    top = max((max(each.desired_units, each.would_units) for each in shown), default=1) or 1
    figure.update_xaxes(
        title={"text": "units shown", "font": {"color": tokens.muted, "size": 13}},
        range=[0, top * 1.15],
        showgrid=True,
        gridcolor=tokens.border,
    )
    # At numbers, not at names: a channel called 7 would be taken as the seventh place.
    figure.update_yaxes(tickvals=places, ticktext=[each.connection for each in shown], showgrid=False)
    return figure


def picture_says(channels: Sequence[ChannelPreview]) -> str:
    """The figure in words."""
    return " ".join(
        f"{each.connection}: {formats.count(each.desired_units)} units now, {formats.count(each.would_units)} then."
        for each in channels[:CHANNELS_MAX]
    )
