"""One alert: as it stands, what became of it, to whom it was told, and the other times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import streamlit as st

from dashboard import alert_cards, alert_queries, alert_words, components, formats, notice_queries, people

Row = Mapping[str, Any]


@st.fragment(run_every="10s", key="alert")
def draw(alert_id: int) -> None:
    """The page of one alert, read afresh every ten seconds; dialogs are left alone."""
    viewer = people.viewer()
    shop, scope = viewer.shop.id, viewer.person.scope
    with components.panel("alert"):
        row = alert_queries.alert(shop, scope, alert_id)
        if row is None:
            components.title("Alert", str(alert_id))
            components.empty("There is no such alert", "It was forgotten with its time, or belongs to another shop.")
            return
        before = formats.number(st.query_params.get("before", ""))
        events = alert_queries.events(shop, scope, alert_id, before)
        said = notice_queries.said_of(shop, scope, alert_id) if before is None else ()
        others = alert_queries.episodes(shop, scope, row["fingerprint"], alert_id)
        components.title("Alert", str(alert_id), formats.as_of(row["as_of"], viewer.shop.zone))
        alert_cards.card(viewer, row, is_worst=True, is_alone=True)
        _draw_worst(row)
        st.subheader("What became of it", anchor="history")
        _draw_history(viewer, row, events, said)
        if others:
            st.subheader("Other times", anchor="episodes")
            _draw_others(viewer, row, others)


def _draw_worst(row: Row) -> None:
    found = alert_words.worst(row)
    if found:
        chips = "".join(f"<span>{escape(each)}</span>" for each in found)
        components.html(f'<div class="sy-meta">The worst of it</div><div class="sy-chips">{chips}</div>')


def _draw_history(viewer: people.Viewer, row: Row, events: alert_queries.Page, said: Sequence[Row]) -> None:
    if not events.rows and not said:
        components.empty("Nothing is on record", "It is from before the history of alerts was kept.")
        return
    components.html(alert_words.timeline(events.rows, said, row["as_of"], viewer.shop.zone))
    last = str(events.rows[-1]["event_id"]) if events.rows and events.more else None
    alert_cards.pager("events", "before", last, ("Newest", "Older"))


def _draw_others(viewer: people.Viewer, row: Row, others: Sequence[Row]) -> None:
    zone = viewer.shop.zone
    body = []
    for other in others:
        ended = other["closed_at"] or row["as_of"]
        words = formats.exact(other["opened_at"], zone)
        body.append(
            (
                components.link("alerts", words, viewer.where(alert=str(other["alert_id"]))),
                escape(formats.duration((ended - other["opened_at"]).total_seconds())),
                escape(alert_words.over(other) if other["closed_at"] else "open"),
                escape(other["acknowledged_by"] or formats.UNKNOWN),
                components.number(other["worst_units"]),
            )
        )
    heads = [("Opened", False), ("Lasted", False), ("Because", False), ("Who had it", False), ("At its worst", True)]
    components.table(heads, body, "Other times that the same was wrong")
