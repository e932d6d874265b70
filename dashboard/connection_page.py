"""One connection in full: what it is, what may be done to it, what needs somebody, and what it is doing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import (
    alert_problems,
    call_words,
    calls,
    comparison_panel,
    components,
    connection_dialogs,
    connection_panels,
    connection_queries,
    connection_test,
    connection_words,
    formats,
    oversell_queries,
    oversell_words,
    people,
    problem_cards,
    problems,
    queries,
    syncing,
)

Row = Mapping[str, Any]

_SCREENS = Path(__file__).parent / "screens"
CARDS_MAX = 6


def draw(viewer: people.Viewer, number: int) -> None:
    """The connection of that number; says so where there is none."""
    with components.panel("connection"):
        row = find(viewer, number)
        if row is None:
            components.empty(f"There is no connection {number}", "Choose one of those above.")
            return
    draw_head(number)
    with components.panel("connection-test"):
        connection_test.draw(viewer, number)
    if row["write_mode"] == "shadow":
        comparison_panel.draw(viewer, row)
    draw_state(number)
    connection_panels.draw(number)


def find(viewer: people.Viewer, number: int) -> Row | None:
    """The health of one connection, or None."""
    found = queries.connections(viewer.shop.id, viewer.person.scope)
    return next((row for row in found if row["connection_id"] == number), None)


# --- what it is, and what may be done to it ---------------------------------------------------------------------------


@st.fragment(run_every="10s", key="connection-head")
def draw_head(number: int) -> None:
    """Its name, how it stands and why, whether it is written to and why, and every act."""
    viewer = people.viewer()
    with components.panel("connection-head"):
        row = find(viewer, number)
        if row is None:
            return
        shop, scope, zone = viewer.shop.id, viewer.person.scope, viewer.shop.zone
        standing = connection_queries.switches(shop, scope)[number]
        account = connection_queries.accounts(shop, scope)[number]
        writing = connection_words.writing(standing)
        worst = "stopped" if writing == "stopped" else row["state"]
        with st.container(border=True, key=f"card-{formats.state(worst).look}-connection", gap="small"):
            components.html(
                f'<h2 class="sy-subject">{escape(row["name"])} <span>{escape(row["vendor"])} · '
                f"{escape(account['account_ref'])} · connected {escape(formats.day(account['connected_at'], zone))}"
                "</span></h2>"
            )
            if (row["state"], writing) != ("paused", "paused"):
                said = connection_words.standing(row, row["as_of"], zone)
                st.markdown(f"{formats.badge(row['state'])} {formats.plain(said)}")
            said = connection_words.writing_because(standing, row["as_of"], zone)
            st.markdown(f"{formats.badge(writing, _writes(writing))} {formats.plain(said)}")
            _draw_held(viewer, number)
            _draw_refusing(viewer, row)
            draw_acts(viewer, row, standing)
            _draw_parts(connection_words.is_shadow(standing), row["vendor"])


def _writes(writing: str) -> str:
    return {"live": "Written to", "shadow": "Shadow mode", "stopped": "Writes stopped"}.get(writing, "Not written to")


_PARTS = (
    ("comparison", "If it went live"),
    ("quota", "Quota"),
    ("subscriptions", "What it calls us for"),
    ("feeds", "Feeds"),
    ("queue", "Notifications"),
    ("operations", "Quota by operation"),
    ("orders", "Orders"),
    ("place", "Stock it keeps"),
    ("versions", "API version"),
    ("errors", "What went wrong"),
    ("guarantee", "What it guarantees"),
)


_OF_AMAZON = ("feeds", "queue", "operations", "orders", "place")


def _draw_parts(is_shadow: bool, vendor: str) -> None:
    """What is further down the page."""
    hidden = {*(() if is_shadow else ("comparison",)), *(() if vendor == "amazon" else _OF_AMAZON)}
    shown = [f'<a href="#{anchor}">{escape(words)}</a>' for anchor, words in _PARTS if anchor not in hidden]
    components.html(f'<nav class="sy-parts" aria-label="Parts of this page">{" · ".join(shown)}</nav>')


def _draw_held(viewer: people.Viewer, number: int) -> None:
    """What keeps its watermark from moving, while something does."""
    marks = oversell_queries.watermarks(viewer.shop.id, viewer.person.scope)
    mark = next(each for each in marks if each["connection_id"] == number)
    held = oversell_words.held_up_by(mark)
    if held:
        age = formats.duration((mark["as_of"] - mark["watermark_at"]).total_seconds())
        st.markdown(
            f"{formats.badge('attention', 'Held up')} Its orders are known only up to {age} ago: "
            f"{oversell_words.HELD[held]} holds it up, and what was exposed stays exposed."
        )


def _draw_refusing(viewer: people.Viewer, row: Row) -> None:
    """What it has said no to of late, though it answers otherwise."""
    shop, scope, number = viewer.shop.id, viewer.person.scope, row["connection_id"]
    party = next(each for each in calls.parties(shop, scope) if each["connection_id"] == number)
    failing = call_words.failing(party, calls.operations(shop, scope), row["as_of"] - timedelta(hours=1))
    if failing:
        st.markdown(f"{formats.badge('says_no')} {formats.plain(connection_words.refusing(failing))}")


def draw_acts(viewer: people.Viewer, row: Row, standing: Row) -> None:
    """A button for each act; what changes anything opens a preview first."""
    with st.container(horizontal=True, vertical_alignment="center", key="connection-acts"):
        if st.button("Test", key="test", icon=":material/network_check:", help="One call now that changes nothing"):
            connection_test.start(viewer, row)
        if st.button("Sync now…", key="sync", icon=":material/sync:"):
            syncing.ask(row)
        st.page_link(
            _SCREENS / "reconciliation.py", label="Reconcile", icon=":material/balance:",
            query_params=viewer.where(connection=row["name"]),
        )  # fmt: skip
        if row["switch"] == "paused":
            if st.button("Resume…", key="resume", icon=":material/play_arrow:", type="primary"):
                connection_dialogs.resume(viewer, row)
        elif st.button("Pause…", key="pause", icon=":material/pause_circle:"):
            connection_dialogs.pause(viewer, row)
        if standing["is_stopped_for_connection"]:
            if st.button("Resume its writes…", key="resume-writes", icon=":material/play_arrow:", type="primary"):
                connection_dialogs.resume_writes(viewer, row, standing)
        elif st.button("Stop its writes…", key="stop-writes", icon=":material/front_hand:"):
            connection_dialogs.stop_writes(viewer, row)
        if standing["write_mode"] == "live" and st.button(
            "Shadow mode…", key="to-shadow", icon=":material/visibility:"
        ):
            connection_dialogs.to_shadow(viewer, row)
        where = viewer.where(connection=str(row["connection_id"]))
        st.page_link(_SCREENS / "runs.py", label="Its last syncs", icon=":material/history:", query_params=where)


# --- what needs somebody, and four figures ----------------------------------------------------------------------------


@st.fragment(run_every="10s", key="connection-state")
def draw_state(number: int) -> None:
    """What needs somebody here, worst first, each with its next step; then its figures."""
    viewer = people.viewer()
    with components.panel("connection-state"):
        row = find(viewer, number)
        if row is None:
            return
        with st.skeleton(height=240):
            shop, scope = viewer.shop.id, viewer.person.scope
            found = queries.problems(shop, scope)
            pulse = queries.pulse(shop, scope).get(number, [])
            party = next(p for p in calls.parties(shop, scope) if p["connection_id"] == number)
            mark = next(m for m in oversell_queries.watermarks(shop, scope) if m["connection_id"] == number)
            hour = connection_queries.quota(shop, scope, number, connection_queries.WINDOWS["1 h"])
        draw_problems(viewer, row, found)
        with st.grid(4, min_column_width=160):
            _lag_card(viewer, row, pulse)
            _known_card(viewer, mark, pulse)
            _quota_card(viewer, row, party, hour)
            _writes_card(viewer, row, pulse)


def draw_problems(viewer: people.Viewer, row: Row, found: Mapping[str, Sequence[Row]]) -> None:
    """The cards of the Overview that are about this connection."""
    number = row["connection_id"]
    mine = {kind: [each for each in rows if each.get("connection_id") == number] for kind, rows in found.items()}
    own = problems.collect([row], mine, row["as_of"], viewer.shop.zone)
    cards = alert_problems.join(own, mine["alert"], row["as_of"], viewer.shop.zone)
    for place, problem in enumerate(cards[:CARDS_MAX]):
        # In shadow mode the one primary button is that which goes live.
        is_primary = place == 0 and row["write_mode"] == "live"
        problem_cards.draw(viewer, problem, {number: row}, row["as_of"], is_worst=is_primary)
    if len(cards) > CARDS_MAX:
        st.caption(f"{formats.count(len(cards) - CARDS_MAX)} more like these, less urgent.")


def _lag_card(viewer: people.Viewer, row: Row, pulse: Sequence[Row]) -> None:
    with st.container(border=True, key="metric-lag", height="stretch"):
        st.metric(
            "Lag",
            formats.duration(row["lag_seconds"]),
            help="Age of the oldest thing received and not handled, or to be written and not settled. "
            f"Up to {formats.duration(row['lag_allowed_seconds'])} is usual for its class.",
        )
        look = "danger" if row["state"] == "behind" else ""
        components.html(
            components.bars(
                [step["slowest_seconds"] for step in pulse] or [None] * 24,
                "Longest handling time per five minutes over the last two hours",
                look,
                full=row["lag_allowed_seconds"],
            )
        )
        _link(viewer, "jobs.py", f"{formats.count(row['received'])} to handle", "longest, 2 h")


def _known_card(viewer: people.Viewer, mark: Row, pulse: Sequence[Row]) -> None:
    at, now = mark["watermark_at"], mark["as_of"]
    with st.container(border=True, key="metric-known", height="stretch"):
        st.metric(
            "Orders known up to",
            formats.ago(at, now, viewer.shop.zone) if mark["reads_orders"] else formats.UNKNOWN,
            help="The watermark: every order of before is known and handled. What it sold since may not be booked yet, "
            "and stays exposed.",
        )
        components.html(
            components.bars(
                [step["events"] for step in pulse] or [None] * 24,
                "Messages that came per five minutes over the last two hours",
            )
        )
        _link(viewer, "oversell.py", "Oversell risk", "messages, 2 h")


def _quota_card(viewer: people.Viewer, row: Row, party: Row, hour: connection_queries.Quota) -> None:
    number, rest = call_words.quota_parts(party["quota_left"])
    steps: dict[Any, float] = {}
    for each in hour.rows:
        steps[each["bucket_at"]] = steps.get(each["bucket_at"], 0.0) + (
            each["calls"] if each["unit"] == "requests" else each["points"]
        )
    with st.container(border=True, key="metric-quota", height="stretch"):
        st.metric(
            "Quota left",
            number,
            help="What it said last that may still be asked of it now; it fills up again by itself.",
        )
        components.html(
            components.bars(
                [steps.get(at, 0) for at in hour.steps(connection_queries.WINDOWS["1 h"])],
                "What was used of the quota per five minutes over the last hour",
            )
        )
        _link(viewer, "calls.py", "API calls", rest or "used, 1 h", connection=str(row["name"]))


def _writes_card(viewer: people.Viewer, row: Row, pulse: Sequence[Row]) -> None:
    with st.container(border=True, key="metric-writes", height="stretch"):
        st.metric(
            "Open writes",
            formats.count(row["open_writes"]),
            help="Quantities that left, or are about to, and are not settled yet. One in doubt waits until it is seen "
            "what the channel shows.",
        )
        components.html(
            components.bars(
                [step["confirmed"] for step in pulse] or [None] * 24,
                "Confirmed writes per five minutes over the last two hours",
            )
        )
        doubts = f"{formats.count(row['doubtful_writes'])} in doubt"
        _link(viewer, "skus.py", f"{formats.count(row['listings_to_push'])} to write", doubts, show="Not in step")


def _link(viewer: people.Viewer, screen: str, label: str, note: str, **where: str) -> None:
    """What a figure is made of, and what its bars are."""
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.page_link(_SCREENS / screen, label=label, icon="", query_params=viewer.where(**where))
        components.html(f'<div class="sy-note">{escape(note)}</div>')
