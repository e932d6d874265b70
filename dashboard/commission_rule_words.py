"""How commission rules, their versions and replays read; the figure of who would earn more or less. No Streamlit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from core.commissions.directory import Directory
from core.commissions.replaying import LINES_MAX, Earning, Replayed
from dashboard import formats
from dashboard.charts import template
from dashboard.theme import Tokens

Row = Mapping[str, Any]

KIND_HEADS = {
    "platform_fee": "Platform fees",
    "creator_commission": "Creator commissions",
    "referrer_fee": "Referrer fees",
    "channel_fee": "Channel fees",
}
BARS_MAX = 8


def did(row: Row) -> str:
    """What a version did."""
    parts = []
    for name in ("rule", "assignment"):
        for what, word in ((f"{name}s_begun", "begun"), (f"{name}s_ended", "ended")):
            if row[what]:
                parts.append(f"{formats.plural(row[what], name)} {word}")
    text = ", ".join(parts) or "nothing"
    return f"undid version {row['undoes_id']}: {text}" if row["undoes_id"] else text


def who(one: Earning, names: Directory) -> str:
    """Whose earning it is."""
    if one.who.role == "party":
        found = names.parties.get(one.who.id)
        return names.party(one.who.id) if found is None else found.name
    if one.who.role == "channel":
        return f"{names.connection(one.who.id)} (channel)"
    return "The platform" if one.who.role == "platform" else "Tax authority"


def signed_money(minor: int, currency: str) -> str:
    """+£12.00, −£3.10, £0.00."""
    return f"{'+' if minor > 0 else ''}{formats.money(minor, currency)}"


def answer(found: Replayed) -> str:
    """A replay in one sentence."""
    lines = formats.plural(found.lines, "line")
    if not found.lines:
        return "Nothing was sold in these days: there is nothing to try it on."
    if not found.changes:
        return f"Nobody would have earned another amount of {lines}."
    return (
        f"{formats.count(found.changed_lines)} of {lines} would have been shared otherwise; "
        f"{formats.plural(len({one.who for one in found.changes}), 'party', 'parties')} would have earned another "
        "amount, net of refunds."
    )


def notes(found: Replayed, zone: str) -> list[str]:
    """What one has to know of a replay's figures."""
    said = []
    if found.is_cut:
        said.append(
            f"There were more lines than {formats.count(LINES_MAX)}: only orders since "
            f"{formats.day(found.since, zone)} are counted. `switchyard commissions try --lines` counts more."
        )
    if found.is_volume_cut:
        said.append("Volumes of tiers are counted from then on, not from the beginning of that month.")
    if found.asked_at is not None:
        said.append(f"It holds from {formats.day(found.asked_at, zone)} on: orders are taken as if placed then.")
    if found.left_out:
        said.append(f"{formats.plural(found.left_out, 'line')} not mapped or not booked yet: left out.")
    return said


def more_or_less(changes: Sequence[Earning], names: Directory, tokens: Tokens) -> go.Figure:
    """What each would have earned more or less, one currency: bars to the right and to the left of nothing."""
    shown = changes[:BARS_MAX][::-1]
    places = list(range(len(shown)))
    figure = go.Figure(
        layout={"template": template(tokens), "height": 70 + 34 * len(shown), "bargap": 0.4, "showlegend": False}
    )
    figure.add_bar(
        x=[one.change_minor for one in shown],
        y=places,
        orientation="h",
        marker={"color": [tokens.series[0] if one.change_minor > 0 else tokens.series[1] for one in shown]},
        text=[signed_money(one.change_minor, one.currency) for one in shown],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{text}<extra></extra>",
    )
    top = max((abs(one.change_minor) for one in shown), default=1) or 1
    low = -1.8 * top if any(one.change_minor < 0 for one in shown) else 0
    high = 1.8 * top if any(one.change_minor > 0 for one in shown) else 0
    figure.update_xaxes(range=[low, high], showticklabels=False, showgrid=False)
    # At numbers, not at names: a party called 7 would be taken as the seventh place.
    figure.update_yaxes(tickvals=places, ticktext=[who(one, names) for one in shown], showgrid=False)
    figure.add_vline(x=0, line={"color": tokens.border, "width": 1})
    return figure


def picture_says(changes: Sequence[Earning], names: Directory) -> str:
    """The figure in words."""
    return " ".join(f"{who(one, names)}: {signed_money(one.change_minor, one.currency)}." for one in changes[:BARS_MAX])
