"""One SKU's risk: how it is shared and why, over time, channel by channel; and what led to a real oversell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from core.errors import SwitchyardError
from core.inventory.shortages import timeline
from dashboard import (
    components,
    formats,
    history,
    oversell_actions,
    oversell_charts,
    oversell_queries,
    oversell_words,
    people,
    theme,
)
from dashboard.charts import CONFIG

Row = Mapping[str, Any]

SKUS = Path(__file__).parent / "screens" / "skus.py"
RANGES = {"1 d": 1, "7 d": 7, "30 d": 30}


def draw(viewer: people.Viewer, code: str) -> None:
    """The drill-down of one SKU."""
    with components.panel("risk-sku"):
        pools = oversell_queries.pools(viewer.shop.id, code)
        if not pools:
            components.empty(f"No channel sells {code}", "A bundle’s risk is that of its parts: look at those.")
            return
        seats = oversell_queries.seats(viewer.shop.id, pools[0]["sku_id"])
        with st.container(border=True, key=f"card-{formats.state(pools[0]['risk_state']).look}-pool", gap="small"):
            _draw_head(viewer, pools, seats)
            _draw_over_time(viewer, pools[0])
            _draw_seats(seats, viewer.shop.zone)
    with components.panel("post-mortem"):
        _draw_post_mortem(viewer, pools[0])


def _draw_head(viewer: people.Viewer, pools: Sequence[Row], seats: Sequence[Row]) -> None:
    code, zone = pools[0]["code"], viewer.shop.zone
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="stack-risk-head"
    ):
        with st.container(width="stretch"):
            components.html(f'<h2 class="sy-subject">{escape(code)} <span>{escape(pools[0]["title"])}</span></h2>')
        with st.container(width="content", horizontal=True, vertical_alignment="center"):
            st.page_link(
                SKUS, label="Why this number?", icon=":material/function:", query_params=viewer.where(sku=code)
            )
            can_switch = any(row["mode"] != "escrow" for row in pools)
            if can_switch and st.button("Switch to escrow…", type="primary", key="to-escrow"):
                oversell_actions.ask_escrow(viewer, pools, seats)
    for row in pools:
        where = f"{formats.plain(row['location'])}: " if len(pools) > 1 else ""
        st.markdown(
            f"{formats.badge(row['risk_state'])} {where}{oversell_words.sentence(row)} "
            f"{formats.plain(oversell_words.mode(row, zone))} {oversell_words.lasting(row)}"
        )
        if row["edited_units"]:
            st.caption(
                f"{formats.plural(row['edited_units'], 'unit')} of it {'is' if row['edited_units'] == 1 else 'are'} "
                "numbers that nobody here wrote, until the channel’s orders are known up to them."
            )


def _draw_over_time(viewer: people.Viewer, row: Row) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown("**Exposed against available**, over time")
        chosen = st.segmented_control(
            "Range", list(RANGES), key="range", default="1 d", required=True, bind="query-params",
            label_visibility="collapsed",
        )  # fmt: skip
    days, scope = RANGES[chosen or "1 d"], viewer.person.scope
    with st.skeleton(height=290):
        levels = history.levels_over_time(viewer.shop.id, row["sku_id"], scope, days)
        exposed = oversell_queries.exposed_over_time(viewer.shop.id, row["sku_id"], scope, days)
    points = oversell_words.merged([point for point in levels.points if point["available"] is not None], exposed)
    if not points:
        st.caption("No change of it is on record yet: the figure begins with the first sale or write.")
        return
    st.plotly_chart(
        oversell_charts.over_time(points, theme.tokens(), viewer.shop.zone),
        theme=None, key="risk-over-time", config=CONFIG, alt=oversell_charts.over_time_says(points),
    )  # fmt: skip


def _draw_seats(seats: Sequence[Row], zone: str) -> None:
    places = len({seat["location"] for seat in seats}) > 1
    heads = [
        ("Channel", False), ("Could still sell", True), ("Shows", True), ("Last write", False),
        ("Unexplained", True), ("Orders known up to", False),
    ]  # fmt: skip
    most = max((seat["exposed_pool_units"] for seat in seats), default=0)
    body = [
        (
            _channel(seat, places),
            _exposed(seat, most),
            components.number(seat["published_units"]),
            oversell_words.write(seat, zone),
            components.number(seat["edited_units"]) if seat["edited_units"] else "0",
            oversell_words.known_up_to(seat, zone),
        )
        for seat in seats
    ]
    components.table(heads, body, "Channels that sell this SKU")


def _channel(seat: Row, places: bool) -> str:
    notes = [
        f"bundle {seat['listing_code']}, {formats.count(seat['units_each'])} in each" if seat["is_bundle"] else "",
        seat["location"] if places else "",
        "not written" if seat["publishing"] == "off" else "",
        "paused" if seat["switch"] == "paused" else "",
    ]
    note = " · ".join(part for part in notes if part)
    return f"<b>{escape(seat['connection'])}</b>" + (f'<br><span class="sy-meta">{escape(note)}</span>' if note else "")


def _exposed(seat: Row, most: int) -> str:
    units, known = seat["exposed_pool_units"], not seat["is_unwatched"]
    text = formats.count(units) if known else f"≥ {formats.count(units)}" if units else formats.UNKNOWN
    width = round(units / most * 100) if most else 0
    look = "" if known else " sy-dashed"
    return f'<span class="sy-meter{look}" aria-hidden="true"><i style="width:{width}%"></i></span>{escape(text)}'


def _number(name: str) -> int | None:
    text = st.query_params.get(name, "")
    return int(text) if re.fullmatch("[0-9]{1,15}", text) else None


def _draw_post_mortem(viewer: people.Viewer, row: Row) -> None:
    """The shortage that the address names, else the SKU's newest; nothing where it never had one."""
    found = oversell_queries.shortages(viewer.shop.id, viewer.person.scope, None, row["sku_id"]).rows
    if not found:
        return
    wanted = _number("shortage") or found[0]["shortage_id"]
    st.subheader("What happened", anchor="what-happened")
    try:
        told = oversell_queries.post_mortem(viewer.shop.id, wanted)
    except SwitchyardError as refused:
        st.caption(formats.sentence(str(refused)))
        return
    if told.shortage["sku_id"] != row["sku_id"]:
        st.caption(f"Shortage {wanted} is of another SKU: {formats.plain(told.shortage['code'])}.")
        return
    with st.container(border=True, key="item-post-mortem", gap="small"):
        short = told.shortage
        st.markdown(
            f"{formats.badge('oversold' if short['ended_at'] is None else 'ended')} "
            f"**{formats.plural(-short['worst_units'], 'unit')} more sold than there were**"
            f" · {oversell_words.shortage({**short, 'as_of': row['as_of']}, viewer.shop.zone)}"
        )
        st.markdown(formats.plain(told.verdict.because))
        st.markdown(f"**What would have prevented it**: {formats.plain(told.verdict.prevented_by)}")
        _draw_before(told.case.seats)
        components.html(oversell_words.timeline(timeline(told), row["as_of"], viewer.shop.zone))
        if len(found) > 1:
            st.caption("Others of this SKU:")
            for other in found:
                if other["shortage_id"] != wanted:
                    components.open_here(
                        oversell_words.shortage(other, viewer.shop.zone).replace("\\", ""),
                        key=f"shortage-{other['shortage_id']}", shortage=str(other["shortage_id"]), sku=row["code"],
                    )  # fmt: skip


def _draw_before(seats: Sequence[Any]) -> None:
    """What channels could sell just before."""
    if not seats:
        return
    components.figures(
        [(components.number(seat.exposed_units),
          f"{seat.connection} could sell just before{', and sold it' if seat.is_seller else ''}")
         for seat in seats]
    )  # fmt: skip
