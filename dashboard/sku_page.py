"""One SKU: its number explained, each channel in words, its level over time, its movements and writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import (
    charts,
    components,
    failure_items,
    formats,
    history,
    people,
    queries,
    sku_bundles,
    sku_changes,
    sku_differences,
    sku_promises,
    sku_why,
    theme,
)
from dashboard.history import Page
from dashboard.listing_words import explain, explain_write, summary

Row = Mapping[str, Any]

LIST = Path(__file__).parent / "screens" / "skus.py"
RANGES = {"1 d": 1, "7 d": 7, "30 d": 30, "90 d": 90, "1 y": 365}


def draw(viewer: people.Viewer, code: str) -> None:
    """The page of one SKU."""
    st.page_link(LIST, label="All SKUs", icon=":material/arrow_back:", query_params=viewer.where())
    with components.panel("sku"):
        sku = queries.sku(viewer.shop.id, code)
        if sku is None:
            components.empty(f"There is no SKU {code}", "Codes are compared exactly, upper and lower case apart.")
            return
        listings = queries.sku_listings(viewer.shop.id, sku["sku_id"])
        levels = queries.sku_levels(viewer.shop.id, sku["sku_id"])
        _draw_now(viewer, sku, listings, levels)
    if sku is not None:
        _draw_past(viewer, sku)


def _draw_now(viewer: people.Viewer, sku: Row, listings: Sequence[Row], levels: Sequence[Row]) -> None:
    zone = viewer.shop.zone
    components.title(sku["code"], sku["title"], formats.as_of(sku["as_of"], zone))
    st.markdown(f"{formats.badge(sku['stock_state'])} {equation(sku)} {summary(listings)}")
    _draw_figures(sku)
    with components.panel("failures"):
        failure_items.draw_about_sku(viewer, sku["sku_id"])
    for row in listings:
        if row["write_doubt"]:
            _draw_doubt(row, zone)
    st.subheader("Channels", anchor="channels")
    _draw_listings(listings, zone)
    with components.panel("sku-differences"):
        sku_differences.draw(viewer, sku["code"], sku["as_of"])
    st.subheader("Why these numbers", anchor="why")
    with components.panel("why"):
        sku_why.draw(viewer, sku["code"])
    st.subheader("Places", anchor="places")
    _draw_levels(sku, levels)
    st.subheader("Bundles", anchor="bundles")
    with components.panel("bundles"):
        sku_bundles.draw(viewer, sku)


def equation(sku: Row) -> str:
    """The number term by term: 39 on hand − 4 reserved = **35 available**."""
    if sku["available"] is None:
        return "No place is known to have it, so its stock is not known."
    if sku["is_bundle"]:
        return f"A bundle: its components allow **{formats.count(sku['available'])} available**."
    terms = f"{formats.count(sku['on_hand'])} on hand − {formats.count(sku['reserved'])} reserved"
    if sku["unavailable"]:
        terms += f" − {formats.count(sku['unavailable'])} unavailable"
    return f"{terms} = **{formats.count(sku['available'])} available**."


def _draw_figures(sku: Row) -> None:
    names = ("available",) if sku["is_bundle"] else ("available", "on_hand", "reserved", "unavailable", "incoming")
    words = {"available": "available", "on_hand": "on hand"}
    pairs = []
    for name in names:
        value = sku[name]
        shown = components.number(value)
        pairs.append((shown, words.get(name, name)))
    components.figures(pairs, large=True)


def _draw_doubt(row: Row, zone: str) -> None:
    with components.card("doubtful", f"doubt-{row['write_id']}"), st.container(width="stretch", gap="xxsmall"):
        name = formats.plain(row["connection"])
        st.markdown(
            f"{formats.badge('doubtful')} **Nobody knows whether {name} took {formats.count(row['write_to'])}**"
        )
        st.markdown(explain_write(row, zone))
        st.caption(f"Write {row['write_id']} · {formats.plural(row['write_attempts'], 'attempt')}")


def _where(row: Row) -> dict[str, str]:
    return people.viewer().where(connection=str(row["connection_id"]))


def _draw_listings(listings: Sequence[Row], zone: str) -> None:
    if not listings:
        components.empty("No channel lists it", "It appears here when a channel's catalogue names its code.")
        return
    body = [
        (
            f"<b>{components.link('connections', row['connection'], _where(row))}</b><br>"
            f"<span class='sy-meta'>{escape(row['channel_code'] or row['channel_ref'])}</span>",
            components.pill(row["state"]),
            components.number(row["published_units"]),
            components.number(row["desired_units"]),
            explain(row, zone),
        )
        for row in listings
    ]
    heads = [("Channel", False), ("State", False), ("Shows", True), ("Should show", True), ("Why", False)]
    components.table(heads, body, "Listings of this SKU")


def _draw_levels(sku: Row, levels: Sequence[Row]) -> None:
    if not levels:
        components.empty("No place is known to have it", "A first receipt or count opens its level there.")
        return
    fields = ("on_hand", "reserved", "unavailable", "available", "incoming")
    # What a channel keeps is told, and is nothing that can be reserved or is available to us.
    theirs = ("on_hand",)
    body = [
        (
            _place(row),
            *(components.number(row[field] if field in theirs or not row["is_external"] else None) for field in fields),
        )
        for row in levels
    ]
    heads = [
        ("Place", False),
        ("On hand", True),
        ("Reserved", True),
        ("Unavailable", True),
        ("Available", True),
        ("Incoming", True),
    ]
    whole = "Ours" if any(row["is_external"] for row in levels) else "All places"
    foot = (whole, *(components.number(sku[field]) for field in fields)) if len(levels) > 1 else ()
    components.table(heads, body, "Levels of this SKU by place", foot)


def _place(row: Row) -> str:
    """A place, and whether what lies there is ours to promise."""
    note = "<br><small>the channel's own, not ours to promise</small>" if row["is_external"] else ""
    return f"<b>{escape(row['location'])}</b>{note}"


def _draw_past(viewer: people.Viewer, sku: Row) -> None:
    if not sku["is_bundle"]:
        _draw_own_past(viewer, sku)
    st.subheader("Changes that channels follow", anchor="changes")
    with components.panel("changes"):
        sku_changes.draw(viewer, sku)
    st.subheader("Writes to channels", anchor="writes")
    with components.panel("writes"):
        _draw_writes(viewer, sku)


def _draw_own_past(viewer: people.Viewer, sku: Row) -> None:
    """What a bundle has not: stock of its own that moves."""
    st.subheader("Over time", anchor="over-time")
    chosen = st.segmented_control(
        "Range",
        list(RANGES),
        key="range",
        default="30 d",
        required=True,
        bind="query-params",
        label_visibility="collapsed",
    )
    with components.panel("levels"):
        _draw_chart(viewer, sku, RANGES[chosen or "30 d"])
    st.subheader("Promises", anchor="promises")
    with components.panel("promises"):
        sku_promises.draw(viewer, sku)
    st.subheader("Movements", anchor="movements")
    with components.panel("movements"):
        _draw_movements(viewer, sku)


def _draw_chart(viewer: people.Viewer, sku: Row, days: int) -> None:
    with st.skeleton(height=280):
        past = history.levels_over_time(viewer.shop.id, sku["sku_id"], viewer.person.scope, days)
    if not past.points or past.points[0]["on_hand"] is None:
        components.empty("No level is known", "The figure begins with the first movement.")
        return
    figure = charts.levels(past.points, theme.tokens(), viewer.shop.zone)
    st.plotly_chart(figure, theme=None, key="levels", config=charts.CONFIG, alt=charts.describe(past.points))
    reach = (
        f" Looks back to {formats.exact(past.since, viewer.shop.zone)}: "
        f"its newest {formats.count(history.DEPTH)} movements."
        if past.since
        else ""
    )
    st.caption(
        f"Counted back from now by every movement; {formats.place(viewer.shop.zone)} time. "
        f"Promises count from their booking "
        f"until they were shipped; those cancelled since are left out.{reach}"
    )


def _draw_movements(viewer: people.Viewer, sku: Row) -> None:
    zone = viewer.shop.zone
    page = history.movements(viewer.shop.id, sku["sku_id"], _before("movements"))
    if not page.rows:
        components.empty("Nothing has moved", "Receipts, shipments, returns and counts are listed here.")
        return
    config = st.column_config
    st.dataframe(
        {
            "When": [formats.moment(row["recorded_at"], sku["as_of"], zone) for row in page.rows],
            "Change": [formats.signed(row["delta_units"]) for row in page.rows],
            "Reason": [formats.movement(row["reason"]) for row in page.rows],
            "Place": [row["location"] for row in page.rows],
            "Order": [row["order_name"] for row in page.rows],
            "Said by": [row["recorded_by"] for row in page.rows],
            "Note": [row["note"] for row in page.rows],
            "Fact": [row["business_key"] for row in page.rows],
        },
        hide_index=True,
        key=f"movements-{_before('movements')}",
        height="content",
        placeholder=formats.UNKNOWN,
        alt=f"{len(page.rows)} movements of {sku['code']}, newest first",
        column_config={
            "When": config.TextColumn(width=110),
            "Change": config.TextColumn(width=70, alignment="right"),
            "Order": config.TextColumn(width=90),
            "Fact": config.TextColumn(help="What it stands for: booked once, whatever arrives again"),
        },
    )
    _turn("movements", page, "movement_id")


def _draw_writes(viewer: people.Viewer, sku: Row) -> None:
    zone = viewer.shop.zone
    page = history.writes(viewer.shop.id, sku["sku_id"], _before("writes"))
    if not page.rows:
        components.empty("Nothing was written", "Quantities sent to channels are listed here with what became of them.")
        return
    words = [formats.state(_outcome(row)) for row in page.rows]
    st.dataframe(
        {
            "Planned": [formats.moment(row["planned_at"], sku["as_of"], zone) for row in page.rows],
            "Channel": [row["connection"] for row in page.rows],
            "Write": [f"{formats.count(row['from_units'])} → {formats.count(row['to_units'])}" for row in page.rows],
            "Outcome": [[word.word] for word in words],
            "Took": [_took(row) for row in page.rows],
            "Said": [row["doubt"] or row["outcome_detail"] or row["outcome_code"] for row in page.rows],
            "Write no.": [str(row["write_id"]) for row in page.rows],
        },
        hide_index=True,
        key=f"writes-{_before('writes')}",
        height="content",
        placeholder=formats.UNKNOWN,
        alt=f"{len(page.rows)} writes of {sku['code']}, newest first",
        column_config={
            "Write": st.column_config.TextColumn(alignment="right"),
            "Outcome": st.column_config.MultiselectColumn(
                options=sorted({w.word for w in words}),
                color=[w.colour for w in sorted(set(words))],
            ),
        },
    )
    _turn("writes", page, "write_id")


def _outcome(row: Row) -> str:
    if row["outcome"]:
        return str(row["outcome"])
    return "doubtful" if row["doubt"] else "open"


def _took(row: Row) -> str:
    if row["outcome_at"] is None or row["sent_at"] is None:
        return formats.UNKNOWN
    return formats.duration((row["outcome_at"] - row["sent_at"]).total_seconds())


def _before(what: str) -> int | None:
    text = st.query_params.get(f"{what}_before", "")
    return formats.number(text)


def _turn(what: str, page: Page, key: str) -> None:
    """Newest and older: a keyset never needs to count what it skips."""

    def newest() -> None:
        st.query_params.pop(f"{what}_before", None)

    def older() -> None:
        st.query_params[f"{what}_before"] = str(page.rows[-1][key])

    back: Callable[[], None] | None = newest if _before(what) is not None else None
    if back is None and not page.more:
        return
    components.pager(what, back, older if page.more else None, ("Newest", "Older"))
