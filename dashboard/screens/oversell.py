"""What could be sold that is not there, where, and how soon?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import (
    charts,
    components,
    formats,
    oversell_actions,
    oversell_charts,
    oversell_page,
    oversell_queries,
    oversell_words,
    people,
    theme,
)
from dashboard.oversell_queries import TREND_STEPS, Key

Row = Mapping[str, Any]

FAILURES = Path(__file__).parent / "failures.py"
OVERVIEW = Path(__file__).parent / "overview.py"
# What stands in the address is the word on the button, so the words are the options.
_FILTERS = {"All": "all", "At risk": "at risk", "Close": "close", "Unknown": "unknown"}
_SORTS = {"Most units first": "units", "Soonest gone first": "soonest"}
_COLOURS = {"danger": "red", "attention": "orange", "ok": "green", "unknown": "gray"}
_CHANNELS_MAX = 3


def leave_page() -> None:
    """A changed filter begins on the first page again."""
    for name in ("after", "before", "sku", "shortage"):
        st.query_params.pop(name, None)


def clear() -> None:
    """Show all."""
    leave_page()
    st.session_state["show"], st.session_state["q"] = "All", ""


def position() -> tuple[Key | None, bool]:
    """The row that this page begins after (or ends before), from the address: number~number~place~code."""
    for name in ("after", "before"):
        parts = st.query_params.get(name, "").split("~", 3)
        if len(parts) == 4 and all(re.fullmatch("-?[0-9]{1,15}", part) for part in parts[:3]):
            return (int(parts[0]), int(parts[1]), parts[3], int(parts[2])), name == "before"
    return None, False


def turn(row: Row, way: str) -> Callable[[], None]:
    """A callback that goes to the page after or before `row`."""

    def go() -> None:
        leave_page()
        st.query_params[way] = f"{row['sort_first']}~{row['sort_second']}~{row['location_id']}~{row['code']}"

    return go


# --- the answer -------------------------------------------------------------------------------------------------------


@st.fragment(run_every="10s", key="now")
def now() -> None:
    """The answer, the alert and what is not known, looked at every ten seconds; the list is left as it is."""
    viewer = people.viewer()
    shop, scope = viewer.shop.id, viewer.person.scope
    with components.panel("risk-now"):
        with st.skeleton(height=60):
            totals = oversell_queries.totals(shop, scope)
            marks = oversell_queries.watermarks(shop, scope)
            alerting = oversell_queries.alerting(shop, scope)
        answer, rest = oversell_words.headline(totals, marks)
        components.headline(answer, rest, totals["as_of"], viewer.shop.zone)
        draw_alert(viewer, totals, alerting)
        draw_unknown(viewer, marks)


def draw_alert(viewer: people.Viewer, totals: Row, found: Row) -> None:
    """Who is told when; the alert itself while it is open."""
    is_open = found["alert_id"] is not None and found["closed_at"] is None
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="risk-alert"
    ):
        with st.container(width="stretch"):
            said = oversell_words.alert_limit(found)
            if is_open:
                since = formats.moment(found["opened_at"], found["as_of"], viewer.shop.zone)
                st.markdown(f"{formats.badge('danger', f'Alert since {since}')} {said}")
            else:
                st.caption(said)
        with st.container(width="content"):
            if st.button("Alert limit…", key="alert-limit", icon=":material/notifications:"):
                oversell_actions.ask_limit(viewer, totals, found)


def draw_unknown(viewer: people.Viewer, marks: Sequence[Row]) -> None:
    """Connections whose sales are not known, or are held up, in words and with what to do."""
    for row in marks:
        if oversell_words.is_unwatched(row) and row["is_exposed"]:
            with components.card("unknown", f"watermark-{row['connection_id']}"):
                _draw_unwatched(row)
        elif held := oversell_words.held_up_by(row):
            with components.card("attention", f"watermark-{row['connection_id']}"):
                _draw_held(viewer, row, held)


def _draw_unwatched(row: Row) -> None:
    name = formats.plain(row["name"])
    why = (
        "Its orders are not read, so what it sells is known only when its number is read."
        if not row["reads_orders"]
        else "Its orders have not been read through yet."
    )
    kept = "; in escrow it is kept at 0" if row["guarantee_class"] != "A" else ""
    with st.container(width="stretch", gap="xxsmall"):
        st.markdown(f"{formats.badge('unknown')} **What {name} may have sold is not known**")
        st.markdown(f"{why} Figures that it is part of are at the least{kept}.")


def _draw_held(viewer: people.Viewer, row: Row, held: str) -> None:
    """What holds a watermark up, and where that is put right."""
    age = formats.duration((row["as_of"] - row["watermark_at"]).total_seconds())
    with st.container(width="stretch", gap="xxsmall"):
        st.markdown(
            f"{formats.badge('attention')} **Orders of {formats.plain(row['name'])} are known only up to {age} ago**"
        )
        st.markdown(f"{oversell_words.HELD[held]} holds it up: what was exposed stays exposed.")
    is_parked = held == "parked"
    where = {"parked": row["parked_cause"], "connection": str(row["connection_id"])} if is_parked else {}
    with st.container(width="content"):
        st.page_link(
            FAILURES if is_parked else OVERVIEW,
            label="Open messages" if is_parked else "Open lines",
            icon=":material/arrow_forward:",
            icon_position="right",
            query_params=viewer.where(**where),
        )


# --- the list ---------------------------------------------------------------------------------------------------------


def draw_filters() -> tuple[str, str, str]:
    """Filter, order and search, each in the address."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="filters"):
        show = st.segmented_control(
            "Show", list(_FILTERS), key="show", default="All", required=True, bind="query-params",
            on_change=leave_page, label_visibility="collapsed",
        )  # fmt: skip
        text = st.text_input(
            "SKU or title", type="search", key="q", bind="query-params", placeholder="SKU or title",
            icon=":material/search:", on_change=leave_page, label_visibility="collapsed", width=260,
        )  # fmt: skip
        sort = st.selectbox(
            "Sort by",
            list(_SORTS),
            key="sort",
            bind="query-params",
            on_change=leave_page,
            label_visibility="collapsed",
            width=200,
        )
    return _FILTERS[show or "All"], _SORTS[sort or "Most units first"], (text or "").strip()


def as_table(
    found: Sequence[Row], seats: Sequence[dict[str, Any]], changes: Sequence[dict[str, Any]], names: Sequence[str]
) -> dict[str, list[Any]]:
    """The page's pools as columns, one for each channel at the end."""
    several = len({row["location_id"] for row in found}) > 1
    moved = [oversell_queries.listed(changes, dict(row)) for row in found]
    columns: dict[str, list[Any]] = {
        "SKU": [row["code"] for row in found],
        "Risk": [[formats.state(row["risk_state"]).word] for row in found],
        "Over": [oversell_words.over(row) for row in found],
        "Exposed": [row["exposed_units"] for row in found],
        "Available": [row["available"] for row in found],
        "Cover": [oversell_words.cover(row["minutes_of_cover"]) for row in found],
        "1 h": [oversell_words.change_in_an_hour(each, TREND_STEPS) for each in moved],
        "Trend": [
            [level for level in oversell_words.levels(row["exposed_units"], each, TREND_STEPS) if level is not None]
            for row, each in zip(found, moved, strict=True)
        ],
    }
    if several:
        columns["Place"] = [row["location"] for row in found]
    for name in names:
        columns[name] = [_cell(oversell_queries.listed(seats, dict(row)), name) for row in found]
    columns["Title"] = [row["title"] for row in found]
    return columns


def _cell(seats: Sequence[Row], name: str) -> str:
    mine = [seat for seat in seats if seat["connection"] == name]
    if not mine:
        return ""
    units = sum(seat["units"] for seat in mine)
    if any(seat["is_unwatched"] for seat in mine):
        return f"≥ {formats.count(units)}" if units else formats.UNKNOWN
    return formats.count(units)


def table_config(names: Sequence[str]) -> dict[str, Any]:
    """How each column is drawn."""
    config = st.column_config
    words = [formats.state(state) for state in oversell_words.STATES]
    return {
        "SKU": config.TextColumn(pinned=True, width=100),
        "Risk": config.MultiselectColumn(
            options=list(dict.fromkeys(s.word for s in words)),
            color=[_COLOURS[s.look] for s in {s.word: s for s in words}.values()],
            width=105,
        ),
        "Over": config.TextColumn(
            width=55, alignment="right", help="Exposed beyond available; ≥ where a channel’s sales are not known"
        ),
        "Exposed": config.NumberColumn(
            format="localized", width=70, help="The most that channels may still sell before we know of it"
        ),
        "Available": config.NumberColumn(format="localized", width=75),
        "Cover": config.TextColumn(width=100, alignment="right", help="How long it lasts at the current rate of sales"),
        "1 h": config.TextColumn(width=48, alignment="right", help="Change of what is exposed in an hour; up is worse"),
        "Trend": config.LineChartColumn(width=75, y_min=0, help="Exposed over the last hour"),
        "Place": config.TextColumn(width=90),
        "Title": config.TextColumn(width=220),
        **{name: config.TextColumn(width=85, alignment="right", help="Could still sell") for name in names},
    }


def by_age(seat: Row) -> int:
    """Channels in the order in which they were connected, as their colours are."""
    return int(seat["connection_id"])


def draw_table(viewer: people.Viewer, found: oversell_queries.RiskPage, seats: Sequence[Any], mark: str) -> None:
    """One page of pools, worst first; choosing a row opens it below."""
    shop, scope = viewer.shop.id, viewer.person.scope
    codes = [row["code"] for row in found.rows]
    changes = oversell_queries.trend(shop, scope, tuple(sorted({row["sku_id"] for row in found.rows})))
    names = list({s["connection_id"]: s["connection"] for s in sorted(seats, key=by_age)}.values())[:_CHANNELS_MAX]
    key = f"risk-{formats.key(mark)}"
    chosen_sku = st.query_params.get("sku")

    def pick() -> None:
        chosen = st.session_state[key].selection.rows
        if chosen:
            st.query_params.pop("shortage", None)
            st.query_params["sku"] = codes[chosen[0]]

    st.dataframe(
        as_table(found.rows, seats, changes, names),
        hide_index=True,
        key=key,
        column_config=table_config(names),
        height="content" if len(codes) <= 10 else 388,
        on_select=pick,
        selection_mode="single-row",
        selection_default={"selection": {"rows": [codes.index(chosen_sku)]}} if chosen_sku in codes else None,
        placeholder=formats.UNKNOWN,
        alt=f"{formats.plural(len(codes), 'SKU')} with what channels could sell of each against what is available, "
        "in the order chosen",
    )


def draw_list(viewer: people.Viewer) -> str | None:
    """Filters, the list and its picture; returns the code to look into when the address names none."""
    shop, scope = viewer.shop.id, viewer.person.scope
    show, sort, text = draw_filters()
    after, backwards = position()
    with st.skeleton(height=420):
        found = oversell_queries.page(shop, scope, show, sort, text, after, backwards)
        seats = oversell_queries.by_channel(shop, scope, tuple(sorted({row["sku_id"] for row in found.rows})))
    if not found.rows:
        _draw_nothing(show, text)
        return None
    draw_table(viewer, found, seats, f"{show}-{sort}-{text}-{after}-{backwards}")
    first, last = found.rows[0], found.rows[-1]
    has_worse, has_safer = after is not None and (not backwards or found.more), found.more or backwards
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        if has_worse or has_safer:
            components.pager(
                "risk",
                turn(first, "before") if has_worse else None,
                turn(last, "after") if has_safer else None,
                ("Worse", "Safer"),
            )
        st.caption(
            f"{formats.plural(len(found.rows), 'pool')} shown, {oversell_queries.PAGE} a page · "
            f"{formats.as_of(first['as_of'], viewer.shop.zone)}"
        )
    draw_picture(viewer, found.rows[: oversell_queries.PICTURED], seats)
    return first["code"] if first["risk_units"] else None


def draw_picture(viewer: people.Viewer, pools: Sequence[Row], seats: Sequence[Row]) -> None:
    """Exposure against available, the worst of this page."""
    pools = [row for row in pools if row["exposed_units"] or row["available"] > 0]
    if not pools:
        return
    tokens = theme.tokens()
    ids = [row["connection_id"] for row in oversell_queries.watermarks(viewer.shop.id, viewer.person.scope)]
    keys = {(row["sku_id"], row["location_id"]) for row in pools}
    mine = [seat for seat in seats if (seat["sku_id"], seat["location_id"]) in keys]
    those = f", the first {formats.count(len(pools))}" if len(pools) > 1 else ""
    st.markdown(f"**Exposure against available**{those}, units")
    st.plotly_chart(
        oversell_charts.against_available(pools, mine, charts.channel_colours(ids, tokens), tokens),
        theme=None, key="against-available", config=charts.CONFIG, alt=oversell_charts.picture_says(pools),
    )  # fmt: skip


def _draw_nothing(show: str, text: str) -> None:
    if show == "all" and not text:
        components.empty(
            "No channel can sell anything yet",
            "What each channel could sell is listed here once a catalogue is read and its listings have their SKUs.",
        )
        return
    looked = " · ".join(part for part in (show.capitalize(), f"“{text}”" if text else "") if part)
    components.empty("Nothing at risk" if show == "at risk" and not text else "No SKU matches", looked)
    st.button("Show all", key="show-all", on_click=clear)


# --- what was oversold ------------------------------------------------------------------------------------------------


def draw_shortages(viewer: people.Viewer) -> None:
    """Every time that more was sold than there was, newest first, each with its story."""
    text = st.query_params.get("short_before", "")
    before = int(text) if re.fullmatch("[0-9]{1,15}", text) else None
    found = oversell_queries.shortages(viewer.shop.id, viewer.person.scope, before)
    st.subheader("Oversold", anchor="oversold")
    if not found.rows:
        st.caption("Nothing was oversold since this is on record. If it happens, it is told here: order, level, write.")
        return
    for row in found.rows:
        with st.container(
            border=True, key=f"item-shortage-{row['shortage_id']}", horizontal=True,
            horizontal_alignment="distribute", vertical_alignment="center",
        ):  # fmt: skip
            with st.container(width="stretch", gap="xxsmall"):
                st.markdown(
                    f"{formats.badge('oversold' if row['ended_at'] is None else 'ended')} "
                    f"**{formats.plain(row['code'])}** {formats.plain(row['title'])}"
                )
                st.caption(oversell_words.shortage(row, viewer.shop.zone))
            with st.container(width="content"):
                components.open_here(
                    "What happened", key=f"tell-{row['shortage_id']}", sku=row["code"],
                    shortage=str(row["shortage_id"]),
                )  # fmt: skip

    def newest() -> None:
        st.query_params.pop("short_before", None)

    def older() -> None:
        st.query_params["short_before"] = str(found.rows[-1]["shortage_id"])

    if found.more or before is not None:
        components.pager(
            "shortages", newest if before is not None else None, older if found.more else None, ("Newest", "Older")
        )


def draw() -> None:
    """The page."""
    viewer = people.viewer()
    worst: str | None = None
    components.title("Oversell risk")
    now()
    with components.panel("risk-list"):
        worst = draw_list(viewer)
    code = st.query_params.get("sku") or worst
    if code:
        oversell_page.draw(viewer, code)
    with components.panel("shortages"):
        draw_shortages(viewer)


draw()
