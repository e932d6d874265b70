"""How did a day go, in one page?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any

import streamlit as st

from core.reports import words
from dashboard import components, formats, people, report_actions, report_charts, report_page, report_queries, theme
from dashboard.charts import CONFIG

Row = Mapping[str, Any]

_VIEWS = ("Days", "Weeks")


def day_named(text: str | None) -> date | None:
    """The day that an address names; None for what is none."""
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        return None


def leave_page() -> None:
    """The newest days again."""
    for name in ("before", "week"):
        st.query_params.pop(name, None)


def turn(name: str, day: date) -> Callable[[], None]:
    """A callback that puts a day into the address."""

    def go() -> None:
        st.query_params[name] = day.isoformat()

    return go


# --- days -------------------------------------------------------------------------------------------------------------


def draw_missing(viewer: people.Viewer) -> None:
    """Days that closed and have no report: with the button that makes it."""
    found = report_queries.missing(viewer.shop.id, viewer.person.scope)
    if not found:
        return
    newest = found[-1]
    with components.card("attention", "missing"):
        with st.container(width="stretch", gap="xxsmall"):
            count = (
                f"{formats.in_words(len(found))} closed {'day has' if len(found) == 1 else 'days have'} no report yet"
            )
            st.markdown(f"{formats.badge('attention', 'Not built')} **{count}**")
            st.markdown(
                "Each night builds them, in the hours after midnight in"
                f" {formats.place(viewer.shop.zone)}. {words.long_day(newest)} can be built now."
            )
        with st.container(width="content", horizontal=True, key="acts-missing"):
            if st.button("Build now…", key="build-newest", icon=":material/bar_chart:"):
                report_actions.ask_build(viewer.shop.id, newest, viewer.shop.zone)


def draw_days(viewer: people.Viewer) -> None:
    """One page of days, newest first; choosing one opens it."""
    before = day_named(st.query_params.get("before"))
    with st.skeleton(height=480):
        found = report_queries.days(viewer.shop.id, viewer.person.scope, before)
    if not found.rows:
        _draw_nothing(before)
        return
    _draw_table(found.rows, f"days-{before}")
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        components.pager(
            "days",
            leave_page if before is not None else None,
            turn("before", found.rows[-1]["day"]) if found.more else None,
            ("Newest", "Older"),
        )
        st.caption(
            f"{formats.plural(len(found.rows), 'day')} shown, {report_queries.PAGE} a page · "
            f"{formats.as_of(found.rows[0]['as_of'], viewer.shop.zone)}"
        )


def _draw_table(rows: Sequence[Row], key: str) -> None:
    days = [row["day"] for row in rows]

    def pick() -> None:
        chosen = st.session_state[key].selection.rows
        if chosen:
            st.query_params["day"] = days[chosen[0]].isoformat()

    config = st.column_config
    st.dataframe(
        {
            "Day": [f"{day:%a} {day.day} {day:%b %Y}" for day in days],
            "Orders": [row["orders"] for row in rows],
            "Units": [row["units"] for row in rows],
            "Revenue": [_money(row, "revenue_minor") for row in rows],
            "Refunds": [row["refunds"] for row in rows],
            "Given back": [_money(row, "refunded_minor") for row in rows],
            "Cancelled": [row["cancellations"] for row in rows],
            "Edition": [_mark(row) for row in rows],
        },
        hide_index=True,
        key=key,
        height="content",
        on_select=pick,
        selection_mode="single-row",
        placeholder=formats.UNKNOWN,
        alt=f"{len(rows)} days, the newest first, with orders and money of each",
        column_config={
            "Day": config.TextColumn(pinned=True, width=140),
            "Orders": config.NumberColumn(format="localized", width=80),
            "Units": config.NumberColumn(format="localized", width=90),
            "Revenue": config.TextColumn(width=150, alignment="right"),
            "Refunds": config.NumberColumn(format="localized", width=80),
            "Given back": config.TextColumn(width=130, alignment="right"),
            "Cancelled": config.NumberColumn(format="localized", width=90),
            "Edition": config.MultiselectColumn(
                options=["Correction", "23 h", "25 h"],
                color=["orange", "gray", "gray"],
                width=130,
                help="A correction says what changed after the day was first reported. Hours: the clocks changed",
            ),
        },
    )


def _money(row: Row, name: str) -> str:
    return " and ".join(formats.money(each[name], each["currency"]) for each in row["money"] if each[name])


def _mark(row: Row) -> list[str]:
    marks = ["Correction"] if row["edition"] > 1 else []
    return [*marks, f"{row['hours']:g} h"] if row["hours"] in (23, 25) else marks


def _draw_nothing(before: date | None) -> None:
    if before is not None:
        components.empty(
            "No older day is reported", "The first report is that of the day on which the shop was opened."
        )
        st.button("Show the newest", key="show-newest", on_click=leave_page)
    else:
        components.empty(
            "No day is reported yet",
            "The first report is built in the night after the shop's first whole day. What is mailed and to whom is"
            " set on Alerts, under Who is told.",
        )


# --- weeks ------------------------------------------------------------------------------------------------------------


def draw_week(viewer: people.Viewer) -> None:
    """Seven days against the seven before, from the reports that there are."""
    last = report_queries.yesterday(report_queries.now(), viewer.shop.zone)
    wanted = day_named(st.query_params.get("week")) or last
    monday = wanted - timedelta(days=wanted.weekday())
    with st.skeleton(height=480):
        found = report_queries.week(viewer.shop.id, viewer.person.scope, monday)
    now, before = report_queries.week_sums(found[7:]), report_queries.week_sums(found[:7])
    # A part of a week against a whole one would only frighten: the days that both weeks have.
    both = [number for number in range(7) if found[number] is not None and found[number + 7] is not None]
    fair = [report_queries.week_sums(found[number + shift] for number in both) for shift in (7, 0)]
    sunday = monday + timedelta(days=6)
    components.html(
        f'<h2 class="sy-subject">{monday.day} {monday:%b} to {sunday.day} {sunday:%b %Y}'
        f" <span>{formats.plural(now['days'], 'day')} reported, week {monday.isocalendar().week}</span></h2>"
    )
    currency = next(iter(now["money"]), viewer.shop.currency)
    _draw_week_tiles(now, fair[0], fair[1], currency)
    left, right = st.columns(2)
    tokens = theme.tokens()
    for place, name, kind in ((left, "Orders", None), (right, f"Revenue, {currency}", currency)):
        with place:
            st.markdown(f"**{name}**")
            st.plotly_chart(
                report_charts.week(monday, found, kind, tokens),
                theme=None,
                key=f"week-{kind}",
                config=CONFIG,
                alt=f"{name} of each day of the week; the same weekday of the week before is marked.",
            )
    components.pager(
        "week",
        turn("week", monday + timedelta(days=7)) if monday + timedelta(days=7) <= last else None,
        turn("week", monday - timedelta(days=7)) if before["days"] else None,
        ("Week after", "Week before"),
    )


def _draw_week_tiles(whole: Row, now: Row, before: Row, currency: str) -> None:
    """Sums of the whole week; changes between the days that both weeks have."""
    all_, revenue, was = (each["money"].get(currency, {}).get("revenue_minor", 0) for each in (whole, now, before))
    tiles = [
        ("orders", formats.count(whole["orders"]), now["orders"], before["orders"], False),
        ("revenue_minor", formats.money(all_, currency), revenue, was, False),
        ("units", formats.count(whole["units"]), now["units"], before["units"], False),
        ("refunds", formats.count(whole["refunds"]), now["refunds"], before["refunds"], True),
    ]
    with st.grid(4, min_column_width=160):
        for name, shown, value, old, is_bad in tiles:
            change = formats.delta(value, old)
            with st.container(border=True, key=f"metric-week-{name}", height="stretch"):
                st.metric(
                    words.LABELS[name],
                    shown,
                    delta=change,
                    delta_color="inverse" if is_bad else "normal",
                    delta_description="v. week before" if change else None,
                    help=words.MEANINGS[name],
                )


def draw_list(viewer: people.Viewer) -> None:
    """All days, or a week at a time."""
    components.title("Reports")
    components.html(
        '<div class="sy-muted">Each business day in the shop’s time zone, kept as it was reported. Choose a day.</div>'
    )
    view = st.segmented_control(
        "View",
        _VIEWS,
        key="view",
        default=_VIEWS[0],
        required=True,
        bind="query-params",
        on_change=leave_page,
        label_visibility="collapsed",
    )
    components.one_of(dict(zip(_VIEWS, (_draw_all_days, _draw_one_week), strict=True)), view, viewer)


def _draw_one_week(viewer: people.Viewer) -> None:
    with components.panel("week"):
        draw_week(viewer)


def _draw_all_days(viewer: people.Viewer) -> None:
    with components.panel("missing"):
        draw_missing(viewer)
    with components.panel("days"):
        draw_days(viewer)


def draw_day(viewer: people.Viewer, day: date) -> None:
    """One day, in the edition that the address names."""
    report_page.draw_ways(day)
    report_page.draw(viewer, day, formats.number(st.query_params.get("edition", "")))


viewer = people.viewer()
wanted = day_named(st.query_params.get("day"))
components.places(
    partial(draw_list, viewer) if wanted is None else None,
    None if wanted is None else partial(draw_day, viewer, wanted),
)
