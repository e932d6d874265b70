"""What was said, and who has it?"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import streamlit as st

from dashboard import (
    alert_cards,
    alert_page,
    alert_queries,
    alert_words,
    components,
    formats,
    notice_panel,
    notice_queries,
    people,
    queries,
)
from dashboard.alert_queries import OpenKey, OverKey

_PARTS = ("Alerts", "What was said", "Who is told")
_SHOW = ("Open", "Nobody has it", "Over")
_EVERY_KIND, _EVERYWHERE = "Every kind", "Everywhere"


def first_page() -> None:
    """A changed filter begins on the first page again."""
    for name in ("after", "before"):
        st.query_params.pop(name, None)


def clear() -> None:
    """Show all that is open."""
    first_page()
    st.session_state["show"], st.session_state["kind"], st.session_state["where"] = "Open", _EVERY_KIND, _EVERYWHERE


def open_position() -> OpenKey | None:
    """Where this page of open alerts begins, from the address: severity~taken~microseconds~id."""
    parts = [formats.number(part) for part in st.query_params.get("after", "").split("~")]
    if len(parts) != 4 or None in parts:
        return None
    severity, taken, moment, alert_id = (int(part or 0) for part in parts)
    at = _moment(moment)
    return None if at is None else OpenKey(min(severity, 9), min(taken, 9), at, alert_id)


def over_position() -> OverKey | None:
    """The same of those that are over: microseconds~id."""
    parts = [formats.number(part) for part in st.query_params.get("after", "").split("~")]
    if len(parts) != 2 or None in parts:
        return None
    at = _moment(int(parts[0] or 0))
    return None if at is None else OverKey(at, int(parts[1] or 0))


def _moment(microseconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(microseconds // 1_000_000, UTC).replace(microsecond=microseconds % 1_000_000)
    except (OverflowError, ValueError, OSError):
        return None


def _microseconds(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000 + at.microsecond


def draw_filters(viewer: people.Viewer) -> tuple[str, str | None, int | None]:
    """(which, kind, connection) by the address; what is not there is not offered."""
    shop, scope = viewer.shop.id, viewer.person.scope
    kinds = {alert_words.kind(name): name for name in alert_queries.kinds(shop, scope)}
    places = {str(row["name"]): int(row["connection_id"]) for row in queries.connections(shop, scope)}
    with st.container(horizontal=True, vertical_alignment="center", key="stack-alert-filters"):
        show = st.segmented_control(
            "Show", _SHOW, key="show", default="Open", required=True, bind="query-params", on_change=first_page,
            label_visibility="collapsed",
        )  # fmt: skip
        kind = st.selectbox(
            "Kind", [_EVERY_KIND, *kinds], key="kind", bind="query-params", on_change=first_page,
            label_visibility="collapsed", width=210,
        )  # fmt: skip
        place = st.selectbox(
            "Connection", [_EVERYWHERE, *places], key="where", bind="query-params", on_change=first_page,
            label_visibility="collapsed", width=210,
        )  # fmt: skip
    return show or "Open", kinds.get(kind or ""), places.get(place or "")


def draw_figures(viewer: people.Viewer) -> None:
    """What is open in figures, and whether somebody hears."""
    shop, scope = viewer.shop.id, viewer.person.scope
    totals = alert_queries.totals(shop, scope)
    channels = notice_queries.channels(shop, scope)
    pairs = [
        (formats.count(totals["danger"]), "dangerous"),
        (formats.count(totals["unowned"]), "nobody has"),
        (formats.count(totals["regressed"]), "came back"),
        (formats.count(totals["closed_week"]), "closed in 7 days"),
        (formats.count(sum(row["held"] for row in channels)), "notices gathered for later"),
    ]
    components.figures(pairs)


@st.fragment(run_every="10s", key="now")
def now() -> None:
    """The answer and the alerts, looked at every ten seconds; dialogs are left alone."""
    viewer = people.viewer()
    with components.panel("alerts"):
        with st.skeleton(height=420):
            totals = alert_queries.totals(viewer.shop.id, viewer.person.scope)
        answer, rest = alert_words.headline(totals)
        components.headline(answer, rest, totals["as_of"], viewer.shop.zone)
        draw_figures(viewer)
        show, kind, connection = draw_filters(viewer)
        if show == "Over":
            draw_over(viewer, kind, connection)
        else:
            draw_open(viewer, kind, connection, show == "Nobody has it")


def draw_open(viewer: people.Viewer, kind: str | None, connection: int | None, is_unowned: bool) -> None:
    """What is open, worst first."""
    after = open_position()
    page = alert_queries.open_ones(viewer.shop.id, viewer.person.scope, kind, connection, is_unowned, after)
    if not page.rows:
        _draw_nothing(viewer, bool(kind or connection or is_unowned or after))
        return
    alert_cards.draw_open(viewer, page.rows)
    last = page.rows[-1]
    onward = f"{last['severity_rank']}~{last['taken_rank']}~{_microseconds(last['opened_at'])}~{last['alert_id']}"
    alert_cards.pager("open", "after", onward if page.more else None, ("Worst", "More"))


def _draw_nothing(viewer: people.Viewer, is_filtered: bool) -> None:
    if is_filtered:
        components.empty("No alert is like that", "What is open otherwise is not shown.")
        st.button("Show all that is open", key="show-all", on_click=clear)
        return
    components.empty(
        "Nothing needs you", "Conditions are looked at every minute; what opens stands here until it is over."
    )


def draw_over(viewer: people.Viewer, kind: str | None, connection: int | None) -> None:
    """What is over, the last one first."""
    page = alert_queries.over(viewer.shop.id, viewer.person.scope, kind, connection, over_position())
    if not page.rows:
        components.empty("No alert like that is over", "Alerts close by themselves when what is wrong has ended.")
        return
    alert_cards.draw_over(viewer, page.rows)
    last = page.rows[-1]
    onward = f"{_microseconds(last['closed_at'])}~{last['alert_id']}"
    alert_cards.pager("over", "after", onward if page.more else None, ("Newest", "Older"))


@st.fragment(run_every="10s", key="said")
def said() -> None:
    """What was said, looked at every ten seconds."""
    notice_panel.draw_log(people.viewer())


@st.fragment(run_every="10s", key="told")
def told() -> None:
    """Who is told, looked at every ten seconds: whether each still takes it; dialogs are left alone."""
    notice_panel.draw_channels(people.viewer())


def _back() -> None:
    def go() -> None:
        for name in ("alert", "before"):
            st.query_params.pop(name, None)

    st.button("All alerts", key="all-alerts", type="tertiary", icon=":material/arrow_back:", on_click=go)


def draw() -> None:
    """One alert, where the address names it; else one of three parts."""
    viewer = people.viewer()
    number = formats.number(st.query_params.get("alert", ""))
    components.places(
        partial(draw_parts, viewer) if number is None else None,
        None if number is None else partial(_draw_one, number),
    )


def _draw_one(number: int) -> None:
    _back()
    alert_page.draw(number)


def draw_parts(viewer: people.Viewer) -> None:
    """The part that is chosen."""
    components.title("Alerts")
    part = st.segmented_control(
        "Part", _PARTS, key="part", default="Alerts", required=True, bind="query-params", label_visibility="collapsed"
    )
    components.one_of(
        {"Alerts": now, "What was said": said, "Who is told": partial(_draw_told, viewer)}, part or "Alerts"
    )


def _draw_told(viewer: people.Viewer) -> None:
    with components.panel("trial"):
        notice_panel.draw_trial(viewer)
    told()


draw()
