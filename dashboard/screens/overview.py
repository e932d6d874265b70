"""Is everything in step, what needs me, how bad is it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import (
    alert_problems,
    components,
    connection_queries,
    connection_words,
    formats,
    people,
    problem_cards,
    problems,
    queries,
    syncing,
)
from dashboard.problems import Problem

Row = Mapping[str, Any]
SKUS = Path(__file__).parent / "skus.py"
CARDS_MAX = 12


def read(viewer: people.Viewer) -> dict[str, Any]:
    """Everything this page shows, read before anything is drawn."""
    shop, scope = viewer.shop.id, viewer.person.scope
    return {
        "connections": queries.connections(shop, scope),
        "switches": connection_queries.switches(shop, scope),
        "pulse": queries.pulse(shop, scope),
        "orders": queries.orders_today(shop, scope),
        "parked": queries.parked_by_hour(shop, scope),
        "problems": queries.problems(shop, scope),
    }


def draw_cards(viewer: people.Viewer, facts: Mapping[str, Any]) -> None:
    """Four figures, each with its past and what it is made of."""
    with st.grid(4, min_column_width=160):
        _lag_card(facts["connections"], facts["pulse"])
        _orders_card(facts["orders"], viewer.shop.zone, facts["connections"])
        _push_card(viewer, facts["connections"], facts["pulse"])
        _parked_card(facts["problems"], facts["parked"])


def _lag_card(connections: Sequence[Row], pulse: Mapping[int, Sequence[Row]]) -> None:
    known = [row for row in connections if row["lag_seconds"] is not None]
    slowest = max(known, key=lambda row: (row["lag_seconds"], row["connection_id"]), default=None)
    with st.container(border=True, key="metric-lag", height="stretch"):
        st.metric(
            "Slowest connection",
            formats.duration(slowest["lag_seconds"]) if slowest else formats.UNKNOWN,
            help="Age of the oldest thing received and not handled, or to be written and not settled.",
        )
        steps = pulse.get(slowest["connection_id"], ()) if slowest else ()
        look = "danger" if slowest and slowest["state"] == "behind" else ""
        components.html(
            components.bars(
                [row["slowest_seconds"] for row in steps] or [None] * 24,
                "Longest handling time per five minutes over the last two hours",
                look,
                full=slowest["lag_allowed_seconds"] if slowest else 0,
            )
            + _note(f"[{slowest['name']}](#connections)" if slowest else "No connection is known to be working", "2 h")
        )


def _orders_card(orders: Sequence[Row], zone: str, connections: Sequence[Row]) -> None:
    today = {row["hour"]: row for row in orders if row["days_ago"] == 0}
    now, before = (sum(row["orders_by_now"] for row in orders if row["days_ago"] == days) for days in (0, 7))
    hour = formats.hour(connections[0]["as_of"], zone) if connections else 23
    change = formats.delta(now, before)
    with st.container(border=True, key="metric-orders", height="stretch"):
        st.metric(
            "Orders today",
            formats.count(now),
            delta=change,
            delta_description="v. last week" if change else None,
            help="Bought today, in the shop's zone, against the same weekday last week up to this time of day. "
            "Test orders are left out.",
        )
        counts = [today[h]["orders"] if h in today else 0 for h in range(hour + 1)]
        components.html(
            components.bars(counts, "Orders per hour of today") + _note("", f"by hour, {formats.place(zone)}")
        )


def _push_card(viewer: people.Viewer, connections: Sequence[Row], pulse: Mapping[int, Sequence[Row]]) -> None:
    waiting = sum(row["listings_to_push"] for row in connections)
    total = sum(row["listings"] - row["listings_off"] for row in connections)
    with st.container(border=True, key="metric-push", height="stretch"):
        st.metric(
            "Listings to push",
            formats.count(waiting),
            help=f"Of {formats.plural(total, 'published listing')}, those whose channel shows another number "
            "than it should.",
        )
        components.html(
            components.bars(_sum_steps(pulse, "confirmed"), "Confirmed writes per five minutes over the last two hours")
        )
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
            st.page_link(SKUS, label="Open SKUs", icon="", query_params=viewer.where(show="Not in step"))
            components.html(_note("", "confirmed"))


def _sum_steps(pulse: Mapping[int, Sequence[Row]], field: str) -> list[float | None]:
    steps = zip(*pulse.values(), strict=False)
    found = [[row[field] for row in step] for step in steps]
    return [None if any(v is None for v in values) else sum(values) for values in found] or [None] * 24


def _parked_card(found: Mapping[str, Sequence[Row]], by_hour: Sequence[int]) -> None:
    messages = sum(row["messages"] for row in found["parked"])
    lines = sum(row["lines"] for row in found["unmapped"])
    with st.container(border=True, key="metric-parked", height="stretch"):
        st.metric(
            "Parked or unmapped",
            formats.count(messages + lines),
            help="Messages that could not be handled, and order lines that no SKU is known for. None is lost.",
        )
        look = "attention" if messages else ""
        made = (
            f"[{formats.plural(messages, 'message')}, {formats.plural(lines, 'line')}](#needs-you)"
            if messages + lines
            else ""
        )
        components.html(
            components.bars(by_hour, "Parked messages per hour of arrival over a day", look) + _note(made, "24 h")
        )


def _note(link: str, text: str) -> str:
    """What a card's bars are; a link within the page is written [words](#anchor)."""
    shown = ""
    if link.startswith("["):
        words, _, anchor = link[1:].partition("](")
        shown = f'<a href="{escape(anchor[:-1])}">{escape(words)}</a> · '
    elif link:
        shown = f"{escape(link)} · "
    return f'<div class="sy-note">{shown}{escape(text)}</div>'


def draw_problems(viewer: people.Viewer, found: Sequence[Problem], connections: Sequence[Row], as_of: datetime) -> None:
    """A card for each problem, worst first; only the worst has a primary button."""
    st.subheader("Needs you", anchor="needs-you")
    if not found:
        components.empty("Nothing needs you", "This page looks again every 10 seconds.")
        return
    by_id = {row["connection_id"]: row for row in connections}
    for place, problem in enumerate(found[:CARDS_MAX]):
        problem_cards.draw(viewer, problem, by_id, as_of, is_worst=place == 0)
    if len(found) > CARDS_MAX:
        st.caption(f"{formats.count(len(found) - CARDS_MAX)} more like these, less urgent.")


_HEADS = ("Connection", "State", "Lag", "Last event", "To push", "Open writes", "Events, 2 h", "Class")
_NUMBERS = (4, 5)


def draw_connections(
    viewer: people.Viewer,
    connections: Sequence[Row],
    pulse: Mapping[int, Sequence[Row]],
    switches: Mapping[int, Row],
) -> None:
    """Each connection in a row, with its button."""
    st.subheader("Connections", anchor="connections")
    if not connections:
        components.empty(
            "No channel is connected",
            "Connect the sandbox’s demo shop with “switchyard seed”; it appears here at once.",
        )
        return
    with st.container(border=True, key="connections-table", gap=None):
        with st.container(horizontal=True, wrap=False, key="connection-head", vertical_alignment="center"):
            components.html('<div class="sy-cells" aria-hidden="true">' + _head_cells() + "</div>")
            st.html('<div class="sy-go"></div>', width="content")
        for row in connections:
            _connection_row(viewer, row, pulse.get(row["connection_id"], ()), switches.get(row["connection_id"]))


def _head_cells() -> str:
    return "".join(f'<div class="{"sy-num" if place in _NUMBERS else ""}">{h}</div>' for place, h in enumerate(_HEADS))


def _cell_class(place: int) -> str:
    return "sy-num" if place in _NUMBERS else "sy-wide" if place in (0, 6) else ""


def _held(standing: Row | None) -> str:
    """That nothing is written to it, where its state does not say so already."""
    held = connection_words.HELD.get(connection_words.writing(standing)) if standing else None
    return f'<div class="sy-meta">{escape(held)}</div>' if held else ""


def _connection_row(viewer: people.Viewer, row: Row, steps: Sequence[Row], standing: Row | None) -> None:
    number, zone = row["connection_id"], viewer.shop.zone
    where = viewer.where(connection=str(number))
    cells = (
        f"<b>{components.link('connections', row['name'], where)}</b>{_held(standing)}",
        components.pill(row["state"]),
        escape(formats.duration(row["lag_seconds"])),
        components.when(row["last_event_at"], row["as_of"], zone),
        components.number(row["listings_to_push"]),
        components.number(row["open_writes"]),
        components.bars(
            [step["events"] for step in steps], f"Events of {row['name']} per five minutes over two hours", small=True
        ),
        escape(row["guarantee_class"]),
    )
    shown = "".join(
        f'<div class="{_cell_class(place)}">'
        f'<span class="{"sy-hidden" if place < 2 else "sy-label"}">{head}</span>{cell}</div>'
        for place, (head, cell) in enumerate(zip(_HEADS, cells, strict=True))
    )
    with st.container(horizontal=True, wrap=False, key=f"connection-row-{number}", vertical_alignment="center"):
        components.html(f'<div class="sy-cells">{shown}</div>')
        if st.button("Sync now…", key=f"sync-{number}", width=100):
            syncing.ask(row)


@st.fragment(run_every="10s", key="now")
def now() -> None:
    """The reading part, drawn afresh every ten seconds; forms and dialogs outside it are left alone."""
    viewer = people.viewer()
    with components.panel("overview"):
        with st.skeleton(height=480):
            facts = read(viewer)
        connections = facts["connections"]
        as_of = connections[0]["as_of"] if connections else queries.database_time()
        cards = problems.collect(connections, facts["problems"], as_of, viewer.shop.zone)
        found = alert_problems.join(cards, facts["problems"]["alert"], as_of, viewer.shop.zone)
        components.headline(*problems.headline(found, connections), as_of, viewer.shop.zone)
        draw_cards(viewer, facts)
        draw_problems(viewer, found, connections, as_of)
        draw_connections(viewer, connections, facts["pulse"], facts["switches"])


with components.panel("runs"):
    syncing.draw_runs(people.viewer())
now()
