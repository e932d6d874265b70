"""Does each connection work, what is written to it, and what does it cost? One of them in full; stop and resume."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import streamlit as st

from dashboard import (
    call_words,
    calls,
    components,
    connection_dialogs,
    connection_page,
    connection_queries,
    connection_words,
    formats,
    oversell_queries,
    oversell_words,
    people,
    queries,
    syncing,
)

Row = Mapping[str, Any]

PAGE = 20
# Who is opened when the address names none: the one that needs somebody most.
_WORST_FIRST = ("behind", "attention", "unknown", "paused", "in_step")


def read(viewer: people.Viewer) -> dict[str, Any]:
    """Everything the list shows, read before anything is drawn."""
    shop, scope = viewer.shop.id, viewer.person.scope
    facts = {
        "switches": connection_queries.switches(shop, scope),
        "parties": {row["connection_id"]: row for row in calls.parties(shop, scope)},
        "used": connection_queries.used(shop, scope),
        "marks": {row["connection_id"]: row for row in oversell_queries.watermarks(shop, scope)},
        "topics": connection_queries.topics(shop, scope),
        "versions": connection_queries.versions(shop, scope),
    }
    # One that was connected a second ago may be known to some of the reads only: then it comes with the next look.
    known = facts["switches"].keys() & facts["parties"].keys() & facts["marks"].keys()
    return {
        **facts,
        "connections": [row for row in queries.connections(shop, scope) if row["connection_id"] in known],
    }


def chosen_one(connections: Sequence[Row]) -> int | None:
    """The connection that the address names; where it names none, the one that needs somebody most, put there.

    It is put there so that it stays the one being read, whatever happens to the others meanwhile.
    """
    named = st.query_params.get("connection", "")
    if (number := formats.number(named)) is not None:
        return number
    if not connections:
        return None
    worst = min(connections, key=lambda row: (_WORST_FIRST.index(row["state"]), row["name"]))
    st.query_params["connection"] = str(worst["connection_id"])
    return int(worst["connection_id"])


# --- the list ---------------------------------------------------------------------------------------------------------

_HEADS = ("State", "Writes", "Orders known", "Quota, last hour", "Calls us for", "API", "Class")
_ABOUT = {
    "Writes": "Whether what differs is written to it",
    "Orders known": "The time up to which every order of it is known and handled",
    "Quota, last hour": "What our calls took of what it allows, and what was left when it last said so",
    "Calls us for": "Topics it tells us of by itself, of those it should; the rest is asked for every minute",
    "API": "The version of its interface that it answered with",
    "Class": "What it guarantees when a number is written: see below",
}


@st.fragment(run_every="10s", key="connections-now")
def draw_now(number: int | None) -> None:
    """The answer, the switch of the shop, and each connection in a row; looked at every ten seconds."""
    viewer = people.viewer()
    with components.panel("connections-now"):
        with st.skeleton(height=220):
            facts = read(viewer)
        found = facts["connections"]
        as_of = found[0]["as_of"] if found else queries.database_time()
        answer, rest = connection_words.headline(found, facts["switches"])
        components.headline(answer, rest, as_of, viewer.shop.zone)
        if not found:
            draw_none()
            return
        draw_switch(viewer)
        draw_rows(facts, number, viewer.shop.zone)


def draw_none() -> None:
    """No connection: how to make one."""
    components.empty(
        "No channel is connected",
        "Connect one with the command below: it asks for the credentials, tries them, and begins in shadow mode.",
    )
    st.code("switchyard connect shopify", language=None)
    st.caption("Only looking? “switchyard seed” connects the sandbox’s demo shop; it appears here at once.")


def draw_switch(viewer: people.Viewer) -> None:
    """One switch that stops every write of the shop; while it is on the banner has the way back."""
    if connection_queries.shop_stop(viewer.shop.id, viewer.person.scope) is not None:
        return
    with st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="stack-stop-all"
    ):
        with st.container(width="stretch"):
            st.caption("Reading and booking go on while writes are stopped; what differs then is written afterwards.")
        with st.container(width="content"):
            if st.button("Stop all writes…", key="stop-all", icon=":material/front_hand:"):
                connection_dialogs.stop_all(viewer)


def draw_rows(facts: Mapping[str, Any], number: int | None, zone: str) -> None:
    """A page of connections by name; its name opens one."""
    found = facts["connections"]
    after = formats.number(st.query_params.get("after", ""))
    page = connection_queries.behind(found, after)[: PAGE + 1]
    with st.container(border=True, key="connections-table", gap=None):
        with st.container(horizontal=True, wrap=False, key="connection-head", vertical_alignment="center"):
            st.html('<div class="sy-name" aria-hidden="true">Connection</div>', width="content")
            heads = "".join(f'<div title="{escape(_ABOUT.get(head, ""))}">{escape(head)}</div>' for head in _HEADS)
            components.html(f'<div class="sy-cells sy-connections" aria-hidden="true">{heads}</div>')
        for row in page[:PAGE]:
            _draw_row(facts, row, row["connection_id"] == number, zone)
    is_first = page == found[: PAGE + 1]
    if len(page) > PAGE or not is_first:
        last = page[min(len(page), PAGE) - 1]["connection_id"] if page else None
        components.pager(
            "connections",
            None if is_first else _turn(None),
            _turn(last) if len(page) > PAGE else None,
            ("First", "More"),
        )


def _turn(after: int | None) -> Callable[[], None]:
    def go() -> None:
        st.query_params.pop("after", None)
        if after is not None:
            st.query_params["after"] = str(after)

    return go


def _draw_row(facts: Mapping[str, Any], row: Row, is_open: bool, zone: str) -> None:
    number = row["connection_id"]
    cells = (
        components.pill(row["state"]),
        components.pill(connection_words.writing(facts["switches"][number])),
        oversell_words.known_up_to(facts["marks"][number], zone),
        _quota_cell(facts["used"].get(number), facts["parties"][number]),
        _topics_cell(facts["topics"].get(number)),
        _version_cell(facts["versions"].get(number), facts["parties"][number]),
        escape(row["guarantee_class"]),
    )
    shown = "".join(
        f'<div><span class="{"sy-hidden" if place < 2 else "sy-label"}">{escape(head)}</span>{cell}</div>'
        for place, (head, cell) in enumerate(zip(_HEADS, cells, strict=True))
    )
    key = f"connection-row-{'open-' if is_open else ''}{number}"
    with st.container(horizontal=True, wrap=False, key=key, vertical_alignment="center"):
        with st.container(width="content", key=f"sy-name-{number}"):
            name = formats.plain(row["name"])
            if st.button(name, key=f"open-{number}", type="tertiary", help=f"Show all of {name} below"):
                st.query_params["connection"] = str(number)
                st.rerun()
        components.html(f'<div class="sy-cells sy-connections">{shown}</div>')


def _quota_cell(used: Row | None, party: Row) -> str:
    left = call_words.quota(party["quota_left"])
    taken = connection_words.taken(used)
    is_amount = " of " in (party["quota_left"] or "")
    rest = f"{left} left" if is_amount else left if party["quota_left"] else "not said what is left"
    return f'{escape(taken)}<div class="sy-meta">{escape(rest)}</div>'


def _topics_cell(topics: Row | None) -> str:
    if topics is None:
        return f'<span class="sy-muted">{formats.UNKNOWN}</span>'
    text = f"{formats.count(topics['standing'])} of {formats.count(topics['topics'])}"
    return escape(text) if topics["standing"] == topics["topics"] else f'<span class="sy-warn">{escape(text)}</span>'


def _version_cell(version: Row | None, party: Row) -> str:
    answered = version["answered_version"] if version else party["api_version"]
    if answered is None:
        return f'<span class="sy-muted">{formats.UNKNOWN}</span>'
    if version and version["fell_forward"]:
        return f'<span class="sy-warn">{escape(answered)}</span>'
    return escape(answered)


# --- the page ---------------------------------------------------------------------------------------------------------


def draw(viewer: people.Viewer) -> None:
    """The list, then the one that is open."""
    number = None
    with components.panel("connections"):
        found = queries.connections(viewer.shop.id, viewer.person.scope)
        number = chosen_one(found)
    with components.panel("runs"):
        syncing.draw_runs(viewer)
    draw_now(number)
    if number is not None:
        connection_page.draw(viewer, number)


draw(people.viewer())
